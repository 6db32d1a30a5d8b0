import assert from 'node:assert/strict'
import { copyJson } from '../json.ts'
import type { Commit, EventStore, ReadRange } from '../store.ts'
import {
  append,
  assertEvents,
  assertHead,
  assertLog,
  assertNoLog,
  begin,
  BOB,
  chain,
  follow,
  fork,
  HOSTILE_NAMES,
  HOSTILE_OBJECT,
  HOSTILE_VALUES,
  idsOf,
  last,
  put,
  putLongLog,
  race,
  readAll,
  sizeOf,
  type Tests,
  TRIP,
  vandalize,
  WORK
} from './kit.ts'

export const appending: Tests = {
  'gives one result for each commit, at its place': async (store) => {
    assert.deepEqual(await append(store), [])
    const statuses = await append(store, begin(TRIP), begin(TRIP), begin(WORK), begin(BOB))
    assert.deepEqual(statuses, ['stored', 'conflict', 'stored', 'stored'])
  },

  'stores all events of a commit, in order': async (store) => {
    const first = begin(TRIP, { count: 3 })
    const second = follow(first, { count: 4 })
    await put(store, first)
    await assertLog(store, first)
    await put(store, second)
    await assertLog(store, first, second)
  },

  'begins a log only where there is none, not even a deleted one': async (store) => {
    const first = begin(TRIP)
    const end = follow(first, { deleted: true })
    await put(store, first)
    assert.deepEqual(await append(store, begin(TRIP)), ['conflict'])
    await put(store, end)
    assert.deepEqual(await append(store, begin(TRIP)), ['conflict'])
    await assertLog(store, first, end)
  },

  'continues a log only at its version': async (store) => {
    const first = begin(TRIP)
    const second = follow(first)
    const third = follow(second)
    await put(store, first, second)
    assert.deepEqual(await append(store, follow(first)), ['conflict'], 'behind')
    assert.deepEqual(await append(store, follow(third)), ['conflict'], 'ahead')
    assert.deepEqual(await append(store, follow(begin(WORK))), ['conflict'], 'no log')
    await assertLog(store, first, second)
    await assertNoLog(store, begin(WORK))
    await put(store, third)
    await assertLog(store, first, second, third)
  },

  'continues only the log that the commit names': async (store) => {
    const first = begin(TRIP)
    const other = begin(WORK)
    await put(store, first, other)
    assert.deepEqual(await append(store, follow({ ...first, logId: begin(TRIP).logId })), ['conflict'])
    assert.deepEqual(await append(store, follow({ ...first, logId: other.logId })), ['conflict'])
    await assertLog(store, first)
    await assertLog(store, other)
  },

  'stores nothing of a commit in conflict': async (store) => {
    const first = begin(TRIP)
    const second = follow(first)
    const refused = follow(first, { count: 3, metadata: { title: 'refused' } })
    await put(store, first, second)
    assert.deepEqual(await append(store, refused), ['conflict'])
    await assertLog(store, first, second)
    assert.deepEqual(await store.list('ada'), [second.summary])
  },

  'stores several commits of one log in one call': async (store) => {
    const commits = chain(begin(TRIP, { count: 2 }), 5)
    await put(store, ...commits)
    await assertLog(store, ...commits)
  },

  'stores commits of several sessions in one call': async (store) => {
    const [trip, work, bob] = [begin(TRIP), begin(WORK, { count: 2 }), begin(BOB)]
    const [trip2, work2, bob2] = [follow(trip), follow(work, { count: 2 }), follow(bob, { count: 3 })]
    await put(store, trip, work, work2, bob, trip2, bob2)
    await assertLog(store, trip, trip2)
    await assertLog(store, work, work2)
    await assertLog(store, bob, bob2)
  },

  'lets a conflict in a batch harm no other log': async (store) => {
    const [trip, work, bob] = [begin(TRIP), begin(WORK), begin(BOB)]
    const [trip2, work2, bob2] = [follow(trip), follow(work), follow(bob)]
    await put(store, trip, work, bob, work2)
    assert.deepEqual(await append(store, trip2, follow(work), bob2), ['stored', 'conflict', 'stored'])
    await assertLog(store, trip, trip2)
    await assertLog(store, work, work2)
    await assertLog(store, bob, bob2)
  },

  'refuses what builds on a conflict in its batch, though the version fits': async (store) => {
    const first = begin(TRIP)
    const second = follow(first)
    const late = follow(first)
    await put(store, first, second)
    assert.deepEqual(await append(store, late, follow(late)), ['conflict', 'conflict'])
    await assertLog(store, first, second)
  },

  'stores one of many commits that expect the same version': async (store) => {
    await race([store])
  },

  'lets many sessions grow at once': async (store) => {
    const logs = Array.from({ length: 40 }, (_, i) => chain(begin({ userId: `u${i % 7}`, sessionId: `s${i}` }), 4))
    await Promise.all(
      logs.map(async (commits) => {
        for (const commit of commits) await put(store, commit)
      })
    )
    for (const commits of logs) await assertLog(store, ...commits)
  },

  'shows whole commits from the first on to those who read meanwhile': async (store) => {
    const commits = chain(begin(TRIP, { count: 3 }), 30, { count: 3 })
    const all = commits.flatMap(({ events }) => events)
    let acknowledged = 0
    async function write(): Promise<void> {
      for (const commit of commits) {
        await put(store, commit)
        acknowledged = commit.summary.version
      }
    }
    async function readOften(): Promise<void> {
      for (const { logId } of commits) {
        const atLeast = acknowledged
        const events = await readAll(store, logId)
        assertEvents(events, all.slice(0, events.length))
        assert(events.length >= atLeast, `${events.length} events are read after ${atLeast} were acknowledged`)
        assert.equal(events.length % 3, 0, 'a part of a commit is read')
      }
    }
    await Promise.all([write(), readOften(), readOften()])
  }
}

export const contents: Tests = {
  'gives messages back equal, whatever is in them': async (store) => {
    const first = begin(TRIP, { messages: HOSTILE_VALUES })
    await put(store, first)
    await assertLog(store, first)
  },

  'gives metadata back equal, whatever is in it': async (store) => {
    const first = begin(TRIP, { metadata: { values: HOSTILE_VALUES, ...HOSTILE_OBJECT } })
    await put(store, first)
    await assertLog(store, first)
    assert.deepEqual(await store.list('ada'), [first.summary])
  },

  'carries events of types, versions and fields that it does not know': async (store) => {
    const first = begin(TRIP)
    const [event] = first.events
    const strange = {
      ...event,
      type: '',
      schemaVersion: 99,
      skippable: true,
      idempotencyKey: '\u0000',
      color: { x: [] }
    }
    const commit = copyJson({ ...first, events: [strange] }) as unknown as Commit
    await put(store, commit)
    await assertLog(store, commit)
  },

  'carries a commit of 1 MB, or of maxCommitBytes if that is less': async (store) => {
    const size = Math.min(2 ** 20, store.supports.maxCommitBytes ?? Infinity)
    const empty = sizeOf(begin(TRIP, { messages: [''] }))
    const text = '漢'.repeat(Math.floor((size - empty - 10) / 3))
    const first = begin(TRIP, { messages: [text] })
    const padded = text + '.'.repeat(size - sizeOf(first))
    const commit = copyJson({
      ...first,
      events: [{ ...first.events[0], data: { message: padded } }]
    }) as unknown as Commit
    assert.equal(sizeOf(commit), size)
    await put(store, commit)
    const [event] = await readAll(store, commit.logId)
    const message = event?.data['message']
    // Not one assertion on the text: its message would be as long.
    assert.equal(typeof message === 'string' && message.length, padded.length)
    assert(message === padded, 'the text has changed')
  },

  'is not changed by changes to what it gives out': async (store) => {
    const first = begin(TRIP, { messages: HOSTILE_VALUES, metadata: { tags: ['a'] } })
    const child = fork(first, 1, WORK)
    await put(store, first, child)
    for await (const page of store.read(first.logId)) vandalize(page)
    vandalize(await store.head(TRIP))
    vandalize(await store.list('ada'))
    vandalize(await store.listUsers())
    vandalize(await store.forks(first.logId))
    await assertLog(store, first)
    await assertLog(store, child)
    assert.deepEqual(await store.list('ada'), [first.summary, child.summary])
    assert.deepEqual(await store.listUsers(), ['ada'])
    assert.deepEqual(await store.forks(first.logId), [child.summary])
  }
}

export const heads: Tests = {
  'are null where there is no log': async (store) => {
    await put(store, begin(TRIP))
    assert.equal(await store.head(WORK), null)
    assert.equal(await store.head(BOB), null)
  },

  'have the version and the summary of the newest commit': async (store) => {
    const commits = chain(begin(TRIP, { metadata: { title: 'Rome' } }), 4, { metadata: { title: 'Paris' }, count: 2 })
    for (const commit of commits) {
      await put(store, commit)
      await assertHead(store, commit)
    }
  },

  'are there also when the session is deleted': async (store) => {
    const commits = chain(begin(TRIP), 2, { deleted: true })
    await put(store, ...commits)
    await assertHead(store, last(commits))
  }
}

export const reading: Tests = {
  'gives thousands of events in order, in pages that are not empty': async (store) => {
    const commits = await putLongLog(store)
    await assertLog(store, ...commits)
  },

  'gives a range, both ends inclusive': async (store) => {
    const commits = await putLongLog(store)
    const { logId, summary } = last(commits)
    const end = summary.version
    const all = commits.flatMap(({ events }) => events)
    const ranges: ReadRange[] = [{ from: 1 }, { from: 2 }, { from: end }, { to: 1 }, { to: end - 1 }, { to: end }]
    for (const edge of [1, 2, 100, 128, 250, 256, 500, 512, 1000, 1024, 2000, 2048]) {
      ranges.push({ from: edge, to: edge }, { from: edge, to: edge + 1 }, { from: edge + 1, to: 2 * edge })
    }
    ranges.push({ from: end - 1, to: end + 1 }, { from: end, to: 10 * end }, { from: 1, to: Number.MAX_SAFE_INTEGER })
    for (const range of ranges) {
      const { from = 1, to = end } = range
      assertEvents(await readAll(store, logId, range), all.slice(from - 1, to), `of the range ${JSON.stringify(range)}`)
    }
  },

  'gives nothing beyond the end, backwards or of an unknown log': async (store) => {
    const first = begin(TRIP, { count: 5 })
    await put(store, first)
    assert.deepEqual(await readAll(store, first.logId, { from: 6 }), [])
    assert.deepEqual(await readAll(store, first.logId, { from: 6, to: 9 }), [])
    assert.deepEqual(await readAll(store, first.logId, { from: 4, to: 3 }), [])
    assert.deepEqual(await readAll(store, first.logId, { to: 0 }), [])
    assert.deepEqual(await readAll(store, begin(TRIP).logId), [])
  },

  'may be left before the end': async (store) => {
    const commits = await putLongLog(store)
    for await (const page of store.read(last(commits).logId)) {
      assert.equal(page[0]?.version, 1)
      break
    }
    await assertLog(store, ...commits)
  },

  'rejects with the reason of a signal that is aborted': async (store) => {
    const first = begin(TRIP)
    await put(store, first)
    const reason = new Error('enough')
    const signal = AbortSignal.abort(reason)
    await assert.rejects(readAll(store, first.logId, { signal }), (error) => error === reason)
    await assert.rejects(readAll(store, first.logId, { from: 7, signal }), (error) => error === reason)
    await assert.rejects(readAll(store, begin(WORK).logId, { signal }), (error) => error === reason)
    await assertLog(store, first)
  },

  'rejects with the reason of a signal that is aborted between two pages': async (store) => {
    const commits = await putLongLog(store)
    const { logId, summary } = last(commits)
    const reason = new Error('enough')
    const stop = new AbortController()
    const pages = store.read(logId, { signal: stop.signal })[Symbol.asyncIterator]()
    const page = await pages.next()
    stop.abort(reason)
    // A store that gives all at once has nothing left to refuse.
    const isWhole = !page.done && page.value.length === summary.version
    if (!isWhole) await assert.rejects(pages.next(), (error) => error === reason)
    await assertLog(store, ...commits)
  }
}

export const names: Tests = {
  'may be any strings': async (store) => {
    const commits = HOSTILE_NAMES.flatMap((name) => [
      begin({ userId: name, sessionId: 'plain' }),
      begin({ userId: 'plain', sessionId: name }, { count: 2 }),
      begin({ userId: name, sessionId: name })
    ])
    await assertApart(store, commits)
  },

  'collide neither when put together nor with separators': async (store) => {
    const marks = ['', '.', '/', ':', '|', ',', ' ', '-', '_', '%', '*', '>', '\u0000', '\n', '","', '1:', '漢']
    const commits = marks.flatMap((mark) => [
      begin({ userId: `a${mark}b`, sessionId: 'c' }),
      begin({ userId: 'a', sessionId: `b${mark}c` }, { count: 2 })
    ])
    await assertApart(store, commits)
  }
}

/** Each of these logs is there, whatever becomes of the others. */
async function assertApart(store: EventStore, commits: readonly Commit[]): Promise<void> {
  await put(store, ...commits)
  await assertExactly(store, commits)
  const [purged, left] = [commits.filter((_, i) => i % 2 === 0), commits.filter((_, i) => i % 2 !== 0)]
  for (const { key } of purged) await store.purge(key)
  for (const commit of purged) await assertNoLog(store, commit)
  await assertExactly(store, left)
}

async function assertExactly(store: EventStore, commits: readonly Commit[]): Promise<void> {
  const byUser = new Map<string, string[]>()
  for (const commit of commits) {
    await assertLog(store, commit)
    byUser.set(commit.key.userId, [...(byUser.get(commit.key.userId) ?? []), commit.key.sessionId])
  }
  assert.deepEqual((await store.listUsers()).toSorted(), Array.from(byUser.keys()).sort())
  for (const [userId, ids] of byUser) assert.deepEqual(idsOf(await store.list(userId)).sort(), ids.sort())
}
