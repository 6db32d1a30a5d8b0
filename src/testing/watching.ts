import assert from 'node:assert/strict'
import { assertEnded, begin, chain, hintOf, put, rejectsWhileClosed, type Tests, TRIP, watch, WORK } from './kit.ts'

export const watching: Tests = {
  ...rejectsWhileClosed('watch', (store, { key }) => watch(store, key).next()),

  'begins with the version as it is': async (store) => {
    const commits = chain(begin(TRIP, { count: 3 }), 2, { deleted: true })
    await put(store, ...commits)
    assert.deepEqual(await watch(store, TRIP).next(), { done: false, value: 4 })
    assert.deepEqual(await watch(store, WORK).next(), { done: false, value: 0 })
  },

  'tells one who waits of the newest version': async (store) => {
    const hints = watch(store, TRIP)
    await hintOf(hints, 0)
    for (const commit of chain(begin(TRIP), 20, { count: 2 })) {
      await Promise.all([hintOf(hints, commit.summary.version), put(store, commit)])
    }
  },

  'tells one who was busy of the newest version': async (store) => {
    const hints = watch(store, TRIP)
    await hintOf(hints, 0)
    const commits = chain(begin(TRIP), 20)
    for (let i = 0; i < commits.length; i += 4) {
      for (const commit of commits.slice(i, i + 4)) await put(store, commit)
      await hintOf(hints, i + 4)
    }
  },

  'tells everyone who watches': async (store) => {
    const watchers = Array.from({ length: 5 }, () => watch(store, TRIP))
    await Promise.all(watchers.map((hints) => hintOf(hints, 0)))
    await Promise.all([...watchers.map((hints) => hintOf(hints, 3)), put(store, ...chain(begin(TRIP), 3))])
  },

  'tells nothing of other sessions': async (store) => {
    const mine = begin({ userId: 'ab', sessionId: 'c' })
    const [other, another] = [begin({ userId: 'a', sessionId: 'bc' }), begin({ userId: 'ab', sessionId: 'd' })]
    const hints = watch(store, mine.key)
    await hintOf(hints, 0)
    const [taken] = await Promise.all([hintOf(hints, 1), put(store, ...chain(other, 7), ...chain(another, 8), mine)])
    assert.equal(Math.max(...taken), 1)
  },

  'gives 0 when the session is purged, and goes on when it is begun again': async (store) => {
    const hints = watch(store, TRIP)
    await put(store, begin(TRIP, { count: 3 }))
    await hintOf(hints, 3)
    await Promise.all([hintOf(hints, 0), store.purge(TRIP)])
    await put(store, begin(TRIP, { count: 2 }))
    await hintOf(hints, 2)
  },

  'ends when the signal is aborted': async (store) => {
    const stop = new AbortController()
    const [waiting, busy] = [watch(store, TRIP, stop.signal), watch(store, TRIP, stop.signal)]
    await Promise.all([hintOf(waiting, 0), hintOf(busy, 0)])
    const ended = waiting.next()
    stop.abort(new Error('enough'))
    await put(store, begin(TRIP))
    await assertEnded(ended)
    await assertEnded(busy.next())
    await assertEnded(watch(store, TRIP, stop.signal).next())
  },

  'ends when the store is closed, also for one who was busy until it was open again': async (store) => {
    const [waiting, busy] = [watch(store, TRIP), watch(store, TRIP)]
    await Promise.all([hintOf(waiting, 0), hintOf(busy, 0)])
    const ended = waiting.next()
    await store.close()
    await assertEnded(ended)
    await store.open()
    await put(store, begin(TRIP))
    await assertEnded(busy.next())
  }
}

export const sharedWatching: Tests = {
  'tells of what the other has stored or purged': async (store, { reopen }) => {
    const other = reopen()
    await other.open()
    const hints = watch(store, TRIP)
    await hintOf(hints, 0)
    for (const commit of chain(begin(TRIP), 5)) {
      await Promise.all([hintOf(hints, commit.summary.version), put(other, commit)])
    }
    await Promise.all([hintOf(hints, 0), other.purge(TRIP)])
  }
}
