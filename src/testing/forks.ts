import assert from 'node:assert/strict'
import type { EventStore, SessionKey } from '../store.ts'
import {
  append,
  assertEvents,
  assertLog,
  assertNoLog,
  begin,
  BOB,
  chain,
  follow,
  fork,
  idsOf,
  last,
  put,
  putLongLog,
  readAll,
  summariesOf,
  type Tests,
  TRIP,
  WORK
} from './kit.ts'

export const forks: Tests = {
  'are logs of their own': async (store) => {
    const parent = begin(TRIP, { count: 3 })
    const child = fork(parent, 2, WORK)
    await put(store, parent, child)
    const [parent2, child2] = [follow(parent), follow(child)]
    await put(store, parent2, child2)
    await assertLog(store, parent, parent2)
    await assertLog(store, child, child2)
  },

  'may begin at a version before the parent was deleted': async (store) => {
    const parent = begin(TRIP, { count: 3 })
    const child = fork(parent, 3, WORK)
    await put(store, parent, follow(parent, { deleted: true }))
    await put(store, child)
    await assertLog(store, child)
  },

  'are orphaned where the parent is absent, too short or purged': async (store) => {
    const [parent, purged] = [begin(TRIP, { count: 3 }), begin(BOB, { count: 3 })]
    await put(store, parent, purged)
    await store.purge(BOB)
    for (const orphan of [fork(begin(TRIP), 1, WORK), fork(parent, 4, WORK), fork(purged, 1, WORK)]) {
      assert.deepEqual(await append(store, orphan), ['orphaned'])
      await assertNoLog(store, orphan)
    }
    assert.deepEqual(idsOf(await store.list('ada')), ['trip'])
    assert.deepEqual(await store.forks(parent.logId), [])
    await put(store, fork(parent, 3, WORK))
  },

  'are listed by their parent in order of creation, deleted ones too, purged ones not': async (store) => {
    const parent = begin(TRIP, { count: 3 })
    const [c, a, d, b] = [
      fork(parent, 3, { userId: 'eve', sessionId: 'c' }),
      fork(parent, 1, { userId: 'eve', sessionId: 'a' }),
      fork(parent, 2, { userId: 'bob', sessionId: 'd' }),
      fork(parent, 1, { userId: 'ada', sessionId: 'b' })
    ]
    const ofC = fork(c, 1, WORK)
    await put(store, parent, begin(BOB))
    for (const child of [c, a, ofC, d, b]) await put(store, child)
    assert.deepEqual(await store.forks(parent.logId), summariesOf([c, a, d, b]))
    assert.deepEqual(await store.forks(c.logId), [ofC.summary])
    assert.deepEqual(await store.forks(ofC.logId), [])
    assert.deepEqual(await store.forks(begin(TRIP).logId), [])
    const [grown, deleted] = [follow(c), follow(a, { deleted: true })]
    await put(store, grown, deleted)
    await store.purge(d.key)
    assert.deepEqual(await store.forks(parent.logId), summariesOf([grown, deleted, b]))
  },

  'keep what they share of a parent that is purged, and no more': async (store) => {
    const parent = chain(begin(TRIP, { count: 3 }), 3, { count: 3 })
    const [short, long] = [fork(last(parent), 2, WORK), fork(last(parent), 5, BOB)]
    await put(store, ...parent, short, long)
    await store.purge(TRIP)
    assert.equal(await store.head(TRIP), null)
    assert.deepEqual(await store.list('ada'), [short.summary])
    const { logId } = short.parent
    const events = parent.flatMap((commit) => commit.events)
    assertEvents(await readAll(store, logId), events.slice(0, 5))
    assertEvents(await readAll(store, logId, { from: 2, to: 4 }), events.slice(1, 4))
    await assertLog(store, short)
    await assertLog(store, long)
    await store.purge(BOB)
    assertEvents(await readAll(store, logId), events.slice(0, 2))
    await assertLog(store, short)
  },

  'take what they share of a purged parent with the last of them': async (store) => {
    const parent = begin(TRIP, { count: 3 })
    const [one, other] = [fork(parent, 2, WORK), fork(parent, 2, BOB)]
    await put(store, parent, one, other)
    for (const { key } of [parent, one]) await store.purge(key)
    assertEvents(await readAll(store, parent.logId), parent.events.slice(0, 2))
    await store.purge(other.key)
    for (const commit of [parent, one, other]) await assertNoLog(store, commit)
  },

  'keep what they share in a chain whose beginnings are purged': async (store) => {
    const root = begin(TRIP, { count: 4 })
    const middle = fork(root, 3, WORK, { count: 4 })
    const leaf = fork(middle, 2, BOB)
    await put(store, root, middle, leaf)
    await store.purge(root.key)
    await assertLog(store, middle)
    await store.purge(middle.key)
    assertEvents(await readAll(store, root.logId), root.events.slice(0, 3))
    assertEvents(await readAll(store, middle.logId), middle.events.slice(0, 2))
    await assertLog(store, leaf)
    await store.purge(leaf.key)
    for (const commit of [root, middle, leaf]) await assertNoLog(store, commit)
  },

  'leave a parent that is not purged whole': async (store) => {
    const parent = begin(TRIP, { count: 3 })
    await put(store, parent, fork(parent, 2, WORK))
    await store.purge(WORK)
    await assertLog(store, parent)
    assert.deepEqual(await store.forks(parent.logId), [])
  },

  'keep what they share when the parent is begun again': async (store) => {
    const parent = begin(TRIP, { count: 3 })
    const child = fork(parent, 2, WORK)
    await put(store, parent, child)
    await store.purge(TRIP)
    const again = begin(TRIP, { count: 2 })
    await put(store, again)
    await store.purge(TRIP)
    assertEvents(await readAll(store, parent.logId), parent.events.slice(0, 2))
    await assertNoLog(store, again)
  },

  'have what they share or are orphaned, where the parent is purged at the same time': async (store) => {
    for (let round = 0; round < 20; round++) {
      const parent = begin({ userId: 'ada', sessionId: `parent${round}` }, { count: 3 })
      const child = fork(parent, 2, { userId: 'ada', sessionId: `child${round}` })
      await put(store, parent)
      const [status] = await whilePurging(store, parent.key, round % 2 === 0, () => append(store, child))
      assert.equal(await store.head(parent.key), null)
      if (status === 'stored') {
        await assertLog(store, child)
        assertEvents(await readAll(store, parent.logId), parent.events.slice(0, 2))
      } else {
        assert.equal(status, 'orphaned')
        await assertNoLog(store, child)
        await assertNoLog(store, parent)
      }
    }
  }
}

export const purging: Tests = {
  'leaves nothing of a session': async (store) => {
    const commits = await putLongLog(store)
    await store.purge(TRIP)
    await assertNoLog(store, last(commits))
    assert.deepEqual(await store.list('ada'), [])
    assert.deepEqual(await store.listUsers(), [])
  },

  'leaves nothing of a deleted session': async (store) => {
    const commits = chain(begin(TRIP), 2, { deleted: true })
    await put(store, ...commits)
    await store.purge(TRIP)
    await assertNoLog(store, last(commits))
  },

  'does nothing where there is no log': async (store) => {
    const other = begin(WORK)
    await put(store, other)
    await store.purge(TRIP)
    await store.purge(TRIP)
    await assertLog(store, other)
  },

  'does nothing where the log is another than the one named, or at another version': async (store) => {
    const first = begin(TRIP)
    const second = follow(first)
    await put(store, first, second)
    await store.purge(TRIP, { logId: first.logId, version: 1 })
    await store.purge(TRIP, { logId: begin(TRIP).logId, version: 2 })
    await assertLog(store, first, second)
    await store.purge(TRIP, { logId: first.logId, version: 2 })
    await assertNoLog(store, second)
  },

  'harms no other session': async (store) => {
    const others = [begin(WORK, { count: 2 }), begin(BOB), begin({ userId: 'ad', sessionId: 'atrip' })]
    await put(store, begin(TRIP), ...others)
    await store.purge(TRIP)
    for (const other of others) await assertLog(store, other)
    assert.deepEqual(idsOf(await store.list('ada')), ['work'])
  },

  'lets a new log begin that has nothing of the old': async (store) => {
    const old = begin(TRIP, { count: 3 })
    await put(store, old)
    await store.purge(TRIP)
    assert.deepEqual(await append(store, follow(old)), ['conflict'])
    const anew = begin(TRIP, { count: 3 })
    await put(store, anew)
    assert.deepEqual(await append(store, follow(old)), ['conflict'])
    assert.deepEqual(await readAll(store, old.logId), [])
    await assertLog(store, anew)
    assert.deepEqual(await store.list('ada'), [anew.summary])
  },

  'leaves nothing of a commit that is stored at the same time': async (store) => {
    for (let round = 0; round < 20; round++) {
      const first = begin({ userId: 'ada', sessionId: `s${round}` })
      await put(store, first)
      const [status] = await whilePurging(store, first.key, round % 2 === 0, () => append(store, follow(first)))
      assert(status === 'stored' || status === 'conflict', status)
      await assertNoLog(store, first)
    }
    assert.deepEqual(await store.list('ada'), [])
  }
}

/** Does both at once. Which of them begins is for the caller to say. */
async function whilePurging<T>(store: EventStore, key: SessionKey, first: boolean, call: () => Promise<T>): Promise<T> {
  if (first) return (await Promise.all([call(), store.purge(key)]))[0]
  return (await Promise.all([store.purge(key), call()]))[1]
}
