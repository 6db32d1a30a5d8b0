import assert from 'node:assert/strict'
import { assertStore, type EventStore } from '../store.ts'
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
  HOSTILE_VALUES,
  last,
  put,
  race,
  readAll,
  rejectsWhileClosed,
  START,
  type Tests,
  TRIP,
  WORK
} from './kit.ts'

export const opening: Tests = {
  'has every call of the protocol, and watch if it pushes': async (store) => {
    assertStore(store)
    assert.equal(typeof store.watch === 'function', store.supports.push)
  },

  'is healthy while it is open, and only then': async (_, { create }) => {
    const store = create()
    assert.equal(await store.health(), false, 'before open')
    await store.open()
    assert.equal(await store.health(), true, 'after open')
    await store.close()
    assert.equal(await store.health(), false, 'after close')
    await store.open()
    assert.equal(await store.health(), true, 'after open again')
  },

  'keeps what it has over close and open': async (store) => {
    const verify = await fill(store)
    await store.close()
    await store.open()
    await verify(store)
  },

  'is not changed by a second open or a second close': async (store) => {
    const verify = await fill(store)
    await store.open()
    await verify(store)
    await store.close()
    await store.close()
    assert.equal(await store.health(), false)
    await store.open()
    await verify(store)
  }
}

/** `watch` is among the tests of watching. */
export const closed: Tests = {
  ...rejectsWhileClosed('head', (store, { key }) => store.head(key)),
  ...rejectsWhileClosed('append', (store, first) => store.append([follow(first)])),
  ...rejectsWhileClosed('read', (store, { logId }) => readAll(store, logId)),
  ...rejectsWhileClosed('list', (store, { key }) => store.list(key.userId)),
  ...rejectsWhileClosed('listUsers', (store) => store.listUsers()),
  ...rejectsWhileClosed('forks', (store, { logId }) => store.forks(logId)),
  ...rejectsWhileClosed('heads', (store) => store.heads()),
  ...rejectsWhileClosed('touch', (store, { logId }) => store.touch(logId, START)),
  ...rejectsWhileClosed('purge', (store, { key }) => store.purge(key))
}

export const durability: Tests = {
  'has all that was acknowledged': async (store, { reopen }) => {
    const verify = await fill(store)
    await store.close()
    const again = reopen()
    await again.open()
    await verify(again)
  },

  'goes on where the other ended': async (store, { reopen }) => {
    const first = begin(TRIP)
    const second = follow(first)
    const third = follow(second)
    await put(store, first, second)
    await store.close()
    const again = reopen()
    await again.open()
    assert.deepEqual(await append(again, begin(TRIP)), ['conflict'])
    assert.deepEqual(await append(again, follow(first)), ['conflict'])
    await put(again, third)
    await assertLog(again, first, second, third)
  }
}

export const sharing: Tests = {
  'see at once what the other has stored or purged': async (store, { reopen }) => {
    const other = reopen()
    await other.open()
    const commits = chain(begin(TRIP, { count: 2 }), 6)
    for (const [i, commit] of commits.entries()) {
      const [writer, reader] = i % 2 === 0 ? [store, other] : [other, store]
      await put(writer, commit)
      await assertLog(reader, ...commits.slice(0, i + 1))
      assert.deepEqual(await reader.list('ada'), [commit.summary])
      assert.deepEqual(await reader.listUsers(), ['ada'])
    }
    await other.purge(TRIP)
    await assertNoLog(store, last(commits))
  },

  'store one of many commits of both that expect the same version': async (store, { reopen }) => {
    const other = reopen()
    await other.open()
    await race([store, other])
  }
}

/** Puts something of everything into a store. What it gives asserts that it is all there. */
async function fill(store: EventStore): Promise<(store: EventStore) => Promise<void>> {
  const trip = chain(begin(TRIP, { messages: HOSTILE_VALUES }), 3, { metadata: { title: 'Rome' } })
  const work = chain(begin(WORK), 2, { deleted: true })
  const purged = begin(BOB, { count: 3 })
  const child = fork(purged, 2, { userId: 'eve', sessionId: 'fork' })
  await put(store, ...trip, ...work, purged, child)
  await store.purge(BOB)
  await store.touch(child.logId, START + 5)
  return async (again) => {
    await assertLog(again, ...trip)
    await assertLog(again, ...work)
    assertEvents(await readAll(again, child.logId), child.events)
    assert.equal(await again.head(BOB), null)
    assert.equal((await again.head(child.key))?.touchedAt, START + 5)
    assertEvents(await readAll(again, purged.logId), purged.events.slice(0, 2))
    assert.deepEqual(await again.list('ada'), [last(trip).summary])
    assert.deepEqual((await again.listUsers()).toSorted(), ['ada', 'eve'])
  }
}
