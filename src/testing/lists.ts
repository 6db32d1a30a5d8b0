import assert from 'node:assert/strict'
import type { EventStore, Head, Summary } from '../store.ts'
import {
  assertEvents,
  assertHead,
  assertNoLog,
  at,
  begin,
  BOB,
  follow,
  fork,
  idsOf,
  last,
  put,
  readAll,
  START,
  summariesOf,
  type Tests,
  TRIP,
  WORK
} from './kit.ts'

export const listingSessions: Tests = {
  'gives the sessions of a user, newest activity first, then by session id': async (store) => {
    const sessions = await putManySessions(store)
    assert.deepEqual(await store.list('ada'), sessions)
  },

  'gives what their newest commits say': async (store) => {
    const [trip, work] = [begin(TRIP, { at: START }), begin(WORK, { at: START + 1 })]
    await put(store, trip, work)
    assert.deepEqual(await store.list('ada'), [work.summary, trip.summary])
    const grown = follow(trip, { at: START + 2, metadata: { title: 'Rome' } })
    await put(store, grown)
    assert.deepEqual(await store.list('ada'), [grown.summary, work.summary])
  },

  'leaves out deleted sessions until they begin again': async (store) => {
    const [trip, work] = [begin(TRIP), begin(WORK)]
    const deleted = follow(trip, { deleted: true })
    await put(store, trip, work, deleted)
    assert.deepEqual(await store.list('ada'), [work.summary])
    const again = follow(deleted)
    await put(store, again)
    assert.deepEqual(await store.list('ada'), [again.summary, work.summary])
  },

  'never gives the sessions of another user': async (store) => {
    const mine = begin(TRIP)
    await put(
      store,
      mine,
      begin(BOB),
      begin({ userId: 'ad', sessionId: 'atrip' }),
      begin({ userId: 'Ada', sessionId: 'x' })
    )
    assert.deepEqual(await store.list('ada'), [mine.summary])
    assert.deepEqual(await store.list('eve'), [])
  },

  'gives at most limit, after a place': async (store) => {
    const sessions = await putManySessions(store)
    assert.deepEqual(await store.list('ada', { limit: 100 }), sessions)
    assert.deepEqual(await store.list('ada', { limit: 4 }), sessions.slice(0, 4))
    assert.deepEqual(await store.list('ada', { after: at(sessions, 5) }), sessions.slice(6))
    assert.deepEqual(await store.list('ada', { after: last(sessions) }), [])
  },

  'neither skips nor repeats sessions of the same time between pages': async (store) => {
    const sessions = await putManySessions(store)
    for (const limit of [1, 2, 3, 4, 7, sessions.length]) {
      const paged: Summary[] = []
      for (let page = await store.list('ada', { limit }); page.length > 0 && paged.length <= sessions.length;) {
        paged.push(...page)
        const { updatedAt, sessionId } = last(page)
        page = await store.list('ada', { limit, after: { updatedAt, sessionId } })
      }
      assert.deepEqual(idsOf(paged), idsOf(sessions), `in pages of ${limit}`)
    }
  },

  'goes on after a session that is gone': async (store) => {
    const sessions = await putManySessions(store)
    const gone = at(sessions, 6)
    await store.purge(gone)
    assert.deepEqual(await store.list('ada', { after: gone, limit: 3 }), sessions.slice(7, 10))
  }
}

export const listingUsers: Tests = {
  'gives every user once': async (store) => {
    assert.deepEqual(await store.listUsers(), [])
    await put(store, begin(TRIP), begin(WORK), begin(BOB))
    assert.deepEqual((await store.listUsers()).toSorted(), ['ada', 'bob'])
  },

  'leaves out users whose sessions are all deleted or purged': async (store) => {
    const [trip, work, bob] = [begin(TRIP), begin(WORK), begin(BOB)]
    const bobDeleted = follow(bob, { deleted: true })
    await put(store, trip, work, follow(trip, { deleted: true }), bob, bobDeleted)
    assert.deepEqual(await store.listUsers(), ['ada'])
    await store.purge(WORK)
    assert.deepEqual(await store.listUsers(), [])
    await put(store, follow(bobDeleted))
    assert.deepEqual(await store.listUsers(), ['bob'])
  },

  'covers all in pages, each once, in one order': async (store) => {
    const users = await putManyUsers(store)
    const all = await store.listUsers()
    assert.deepEqual(all.toSorted(), users.toSorted())
    for (const limit of [1, 2, 5, users.length]) {
      const paged: string[] = []
      for (let page = await store.listUsers({ limit }); page.length > 0 && paged.length <= all.length;) {
        assert(page.length <= limit, `${page.length} users in a page of ${limit}`)
        paged.push(...page)
        page = await store.listUsers({ limit, after: last(page) })
      }
      assert.deepEqual(paged, all, `in pages of ${limit}`)
    }
  },

  'goes on after a user who is gone': async (store) => {
    await putManyUsers(store)
    const all = await store.listUsers()
    await store.purge({ userId: at(all, 3), sessionId: 'only' })
    assert.deepEqual(await store.listUsers({ after: at(all, 3) }), all.slice(4))
  }
}

export const listingHeads: Tests = {
  'gives the head of every log, also of deleted sessions, and not of purged ones': async (store) => {
    assert.deepEqual(await store.heads(), [])
    const [trip, work, bob] = [begin(TRIP, { count: 2 }), begin(WORK, { deleted: true }), begin(BOB, { count: 3 })]
    const child = fork(bob, 2, { userId: 'eve', sessionId: 'fork' })
    await put(store, trip, work, bob, child)
    await store.purge(BOB)
    const heads = await store.heads()
    assert.deepEqual(heads.map(({ logId }) => logId).toSorted(), [trip, work, child].map(({ logId }) => logId).sort())
    for (const head of heads) assert.deepEqual(head, await store.head(head.summary))
  },

  'gives all heads in pages, each once, in one order, also after one that is gone': async (store) => {
    const sessions = Array.from({ length: 12 }, (_, i) => begin({ userId: `u${i % 3}`, sessionId: `s${i}` }))
    await put(store, ...sessions)
    const all = await store.heads()
    assert.equal(new Set(all.map(({ logId }) => logId)).size, sessions.length)
    for (const limit of [1, 5, sessions.length]) {
      const paged: Head[] = []
      for (let page = await store.heads({ limit }); page.length > 0 && paged.length <= all.length;) {
        assert(page.length <= limit, `${page.length} heads in a page of ${limit}`)
        paged.push(...page)
        page = await store.heads({ limit, after: last(page).logId })
      }
      assert.deepEqual(paged, all, `in pages of ${limit}`)
    }
    const gone = at(all, 4)
    await store.purge(gone.summary)
    assert.deepEqual(await store.heads({ after: gone.logId }), all.slice(5))
  }
}

export const touching: Tests = {
  'is told by the head, and changes nothing else': async (store) => {
    const commit = begin(TRIP, { count: 2 })
    await put(store, commit, begin(WORK))
    await store.touch(commit.logId, START + 9)
    const { logId, summary } = commit
    const head = { logId, version: 2, summary, touchedAt: START + 9 }
    assert.deepEqual(await store.head(TRIP), head)
    assert.deepEqual(
      (await store.heads()).find((each) => each.logId === logId),
      head
    )
    assert.equal((await store.head(WORK))?.touchedAt, undefined)
    assert.deepEqual(idsOf(await store.list('ada')), ['trip', 'work'])
    assertEvents(await readAll(store, logId), commit.events)
    const grown = follow(commit)
    await put(store, grown)
    assert.deepEqual(await store.head(TRIP), { ...head, version: 3, summary: grown.summary })
  },

  'keeps the latest of the times': async (store) => {
    const commit = begin(TRIP)
    await put(store, commit)
    for (const time of [START + 5, START + 9, START + 7]) await store.touch(commit.logId, time)
    assert.equal((await store.head(TRIP))?.touchedAt, START + 9)
  },

  'does nothing where there is no such log, and ends with it': async (store) => {
    const commit = begin(TRIP)
    await store.touch(commit.logId, START)
    await assertNoLog(store, commit)
    await put(store, commit)
    await store.touch(commit.logId, START + 1)
    await store.purge(TRIP)
    const anew = begin(TRIP)
    await put(store, anew)
    await store.touch(commit.logId, START + 2)
    await assertHead(store, anew)
  }
}

/** 15 sessions of one user, four at a time of one time, with deleted ones between them. Gives what a list of them is. */
async function putManySessions(store: EventStore): Promise<Summary[]> {
  const sessions = Array.from({ length: 15 }, (_, i) => {
    return begin({ userId: 'ada', sessionId: `s${10 + i}` }, { at: START - Math.floor(i / 4) })
  })
  const deleted = ['s00', 's12b', 's15b', 's99'].map((sessionId, i) => {
    return begin({ userId: 'ada', sessionId }, { at: START - i, deleted: true })
  })
  // Not in the order of the list: 7 and 15 have no common divisor.
  const shuffled = sessions.map((_, i) => at(sessions, (7 * i) % sessions.length))
  await put(store, begin(BOB, { at: START }), ...shuffled, ...deleted)
  return summariesOf(sessions)
}

async function putManyUsers(store: EventStore): Promise<string[]> {
  const users = ['eve', 'ada', 'Bob', 'bob', '9', '10', 'ä', '漢', '😀', 'a b', 'a']
  const gone = ['b', 'ad', 'z', '\u0000'].map((userId) => begin({ userId, sessionId: 'only' }, { deleted: true }))
  await put(store, ...gone, ...users.map((userId) => begin({ userId, sessionId: 'only' })))
  return users
}
