import assert from 'node:assert/strict'
import type { StoredEvent } from './event.ts'
import { copyJson, type Json, type JsonObject } from './json.ts'
import { assertStore, type Commit, type EventStore, type ReadRange, type SessionKey, type Summary } from './store.ts'

/**
 * What the suite needs of a test runner: vitest, jest, mocha, `node:test` and `bun:test` have it. It asserts with
 * `node:assert`, so an `expect` may be there but is not used.
 */
export interface TestRunner {
  readonly describe: (title: string, define: () => void) => unknown
  readonly it: ((title: string, test: () => Promise<void>) => unknown) & {
    /** How skipped tests are reported; without it they pass, by their title as skipped. */
    readonly skip?: (title: string, test: () => Promise<void>) => unknown
  }
  readonly expect?: unknown
}

/** Which store is tested, and how the suite gets one. */
export interface EventStoreTestOptions {
  /** Stands in the title of the suite. */
  readonly name: string
  /**
   * Makes a store that is empty and not yet open: one for each test, and one when the tests are defined, which is only
   * asked what it supports and is never opened.
   */
  readonly create: () => EventStore
  /**
   * Makes another object, not yet open, over the data of `store`, which is closed or, if it is shared, may be open.
   * Required of a store that is durable; of one that is only shared, what needs a second object is skipped without it.
   */
  readonly reopen?: (store: EventStore) => EventStore
  /** Removes the data of a store that `create` made, after its test. All objects over the data are closed by then. */
  readonly dispose?: (store: EventStore) => void | Promise<void>
  /**
   * What the store is excused from: the title of a test or of a group of tests, and the reason, which is shown.
   *
   * @default {} What it does not support, by its own `supports`, is skipped in any case, with that as the reason.
   */
  readonly skip?: Readonly<Record<string, string>>
}

/**
 * Defines the tests that every {@link EventStore} has to pass; their titles are the specification. A hint of `watch` that
 * never comes is a test that never ends: the time limit is the runner's.
 *
 * @throws `TypeError` where `skip` gives no reason or names no test.
 *
 * @example
 * import { describe, it } from 'vitest'
 * import { testEventStore } from 'turnlog/testing'
 *
 * testEventStore({ describe, it }, { name: 'myStore', create: () => myStore() })
 */
export function testEventStore({ describe, it }: TestRunner, options: EventStoreTestOptions): void {
  const skip = new Map(Object.entries(options.skip ?? {}))
  const groups = groupsFor(options.create().supports, options.reopen !== undefined)
  const titles = new Set(groups.flatMap(({ title, tests }) => [title, ...Object.keys(tests)]))
  for (const [title, reason] of skip) {
    if (!titles.has(title)) throw new TypeError(`The option skip names ${JSON.stringify(title)}: there is no such test`)
    if (!reason.trim()) throw new TypeError(`The option skip gives no reason for ${JSON.stringify(title)}`)
  }

  describe(`${options.name} as an event store`, () => {
    for (const { title: groupTitle, lacks, tests } of groups) {
      describe(groupTitle, () => {
        for (const [title, test] of Object.entries(tests)) {
          const reason = lacks ?? skip.get(groupTitle) ?? skip.get(title)
          if (reason === undefined) it(title, () => runTest(test, options))
          else if (it.skip) it.skip(`${title} (skipped: ${reason})`, () => runTest(test, options))
          else it(`${title} (skipped: ${reason})`, async () => undefined)
        }
      })
    }
  })
}

interface Group {
  readonly title: string
  readonly tests: Tests
  /** What the store does not support and the tests need. */
  readonly lacks?: string | undefined
}

type Tests = Readonly<Record<string, Test>>

/** Gets an empty store that is open, and a way to further objects, which are not. */
type Test = (store: EventStore, more: Record<'create' | 'reopen', () => EventStore>) => Promise<void>

function groupsFor({ durable, shared, push }: EventStore['supports'], canReopen: boolean): readonly Group[] {
  const silent = push ? undefined : 'the store does not push'
  const alone = !shared ? 'the store is not shared' : canReopen ? undefined : 'the option reopen is not given'
  return [
    { title: 'opening and closing', tests: opening },
    { title: 'a closed store', tests: closed },
    { title: 'appending', tests: appending },
    { title: 'content', tests: contents },
    { title: 'heads', tests: heads },
    { title: 'reading', tests: reading },
    { title: 'listing sessions', tests: listingSessions },
    { title: 'listing users', tests: listingUsers },
    { title: 'forks', tests: forks },
    { title: 'purging', tests: purging },
    { title: 'names', tests: names },
    { title: 'watching', tests: watching, lacks: silent },
    {
      title: 'a new object over the same data',
      tests: durability,
      lacks: durable ? undefined : 'the store is not durable'
    },
    { title: 'two objects over the same data', tests: sharing, lacks: alone },
    { title: 'watching between two objects', tests: sharedWatching, lacks: alone ?? silent }
  ]
}

async function runTest(test: Test, { create, reopen, dispose }: EventStoreTestOptions): Promise<void> {
  const store = create()
  const created = [store]
  const objects = [store]
  try {
    await store.open()
    await test(store, {
      create() {
        const another = create()
        created.push(another)
        objects.push(another)
        return another
      },
      reopen() {
        assert(reopen, 'the suite needs the option reopen')
        const again = reopen(store)
        objects.push(again)
        return again
      }
    })
  } finally {
    for (const object of objects) await object.close()
    for (const object of created) await dispose?.(object)
  }
}

// The tests

const opening: Tests = {
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

/** What every call does while the store is closed; that of `watch` is among the tests of watching. */
const closed: Tests = {
  ...rejectsWhileClosed('head', (store, { key }) => store.head(key)),
  ...rejectsWhileClosed('append', (store, first) => store.append([follow(first)])),
  ...rejectsWhileClosed('read', (store, { logId }) => readAll(store, logId)),
  ...rejectsWhileClosed('list', (store, { key }) => store.list(key.userId)),
  ...rejectsWhileClosed('listUsers', (store) => store.listUsers()),
  ...rejectsWhileClosed('forks', (store, { logId }) => store.forks(logId)),
  ...rejectsWhileClosed('purge', (store, { key }) => store.purge(key))
}

const appending: Tests = {
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

const contents: Tests = {
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

const heads: Tests = {
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

const reading: Tests = {
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
    await assert.rejects(readAll(store, first.logId, { signal }), reason)
    await assert.rejects(readAll(store, first.logId, { from: 7, signal }), reason)
    await assert.rejects(readAll(store, begin(WORK).logId, { signal }), reason)
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
    if (!isWhole) await assert.rejects(pages.next(), reason)
    await assertLog(store, ...commits)
  }
}

const listingSessions: Tests = {
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

const listingUsers: Tests = {
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

const forks: Tests = {
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

const purging: Tests = {
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

const names: Tests = {
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

const watching: Tests = {
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

const durability: Tests = {
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

const sharing: Tests = {
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

const sharedWatching: Tests = {
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

// What several tests do

function rejectsWhileClosed(name: string, call: (store: EventStore, first: Commit) => Promise<unknown>): Tests {
  return {
    [`rejects ${name} before open and after close, and changes nothing`]: async (store, { create }) => {
      const first = begin(TRIP)
      await assert.rejects(call(create(), first), 'before open')
      await put(store, first)
      await store.close()
      await assert.rejects(call(store, first), 'after close')
      await store.open()
      await assertLog(store, first)
    }
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
  return async (again) => {
    await assertLog(again, ...trip)
    await assertLog(again, ...work)
    await assertLog(again, child)
    assert.equal(await again.head(BOB), null)
    assertEvents(await readAll(again, purged.logId), purged.events.slice(0, 2))
    assert.deepEqual(await again.list('ada'), [last(trip).summary])
    assert.deepEqual((await again.listUsers()).toSorted(), ['ada', 'eve'])
  }
}

/** Rivals expect one version, round after round; in every other round each of them comes with a commit that builds on it. */
async function race(stores: readonly EventStore[]): Promise<void> {
  const won: Commit[] = []
  for (let round = 0; round < 20; round++) {
    const rivals = Array.from({ length: 16 }, () => {
      const newest = won.at(-1)
      return chain(newest ? follow(newest) : begin(TRIP), 1 + (round % 2))
    })
    const statuses = await Promise.all(rivals.map((commits, i) => append(at(stores, i % stores.length), ...commits)))
    const winners = rivals.filter((_, i) => statuses[i]?.[0] === 'stored')
    assert.equal(winners.length, 1, `${winners.length} commits are stored that all expect version ${won.length}`)
    for (const [i, commits] of rivals.entries()) {
      const status = winners.includes(commits) ? 'stored' : 'conflict'
      assert.deepEqual(
        statuses[i],
        commits.map(() => status)
      )
    }
    won.push(...winners.flat())
  }
  for (const store of stores) await assertLog(store, ...won)
}

/** Does both at once. Which of them begins is for the caller to say. */
async function whilePurging<T>(store: EventStore, key: SessionKey, first: boolean, call: () => Promise<T>): Promise<T> {
  if (first) return (await Promise.all([call(), store.purge(key)]))[0]
  return (await Promise.all([store.purge(key), call()]))[1]
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

async function putLongLog(store: EventStore): Promise<Commit[]> {
  const commits = chain(begin(TRIP, { count: 250 }), 12, { count: 250 })
  await put(store, ...commits)
  return commits
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

// Asking the store

async function append(store: EventStore, ...commits: readonly Commit[]): Promise<string[]> {
  const results = await store.append(commits)
  return results.map((result) => (result.status === 'failed' ? `failed: ${String(result.error)}` : result.status))
}

async function put(store: EventStore, ...commits: readonly Commit[]): Promise<void> {
  const statuses = await append(store, ...commits)
  assert.deepEqual(
    statuses,
    commits.map(() => 'stored')
  )
}

async function readAll(store: EventStore, logId: string, range?: ReadRange): Promise<StoredEvent[]> {
  const events: StoredEvent[] = []
  for await (const page of store.read(logId, range)) {
    assert.notEqual(page.length, 0, 'a page is empty')
    events.push(...page)
  }
  return events
}

/** Ends with the store, unless a signal is given. */
function watch(store: EventStore, key: SessionKey, signal = new AbortController().signal): AsyncIterator<number> {
  const hints = store.watch?.(key, signal)
  assert(hints, 'the store has no watch')
  return hints[Symbol.asyncIterator]()
}

/** Takes hints up to one of `version`, and gives them. */
async function hintOf(hints: AsyncIterator<number>, version: number): Promise<number[]> {
  const taken: number[] = []
  while (taken.at(-1) !== version) {
    const next = await hints.next()
    assert(!next.done, `watch ended before it told of version ${version}`)
    taken.push(next.value)
    assert(taken.length < 1000, `watch does not tell of version ${version}`)
  }
  return taken
}

async function assertEnded(next: Promise<IteratorResult<number>>): Promise<void> {
  const { done } = await next
  assert.equal(done, true, 'watch goes on')
}

/** The log of these commits has their events, all of them and no others, and ends as the last of them says. */
async function assertLog(store: EventStore, ...commits: readonly Commit[]): Promise<void> {
  const newest = last(commits)
  await assertHead(store, newest)
  assertEvents(
    await readAll(store, newest.logId),
    commits.flatMap(({ events }) => events)
  )
}

async function assertHead(store: EventStore, { key, logId, summary }: Commit): Promise<void> {
  assert.deepEqual(await store.head(key), { logId, version: summary.version, summary })
}

async function assertNoLog(store: EventStore, { key, logId }: Commit): Promise<void> {
  assert.equal(await store.head(key), null)
  assert.deepEqual(await readAll(store, logId), [])
}

/** Versions first: where these differ, the rest would be thousands of lines. */
function assertEvents(actual: readonly StoredEvent[], expected: readonly StoredEvent[], of = 'of the log'): void {
  const [versions, wanted] = [actual, expected].map((events) => events.map(({ version }) => version).join())
  assert(versions === wanted, `the events ${of} are ${abridged(versions)} and not ${abridged(wanted)}`)
  for (const [i, event] of actual.entries()) assert.deepEqual(event, expected[i])
}

function abridged(versions = ''): string {
  return versions.length > 100 ? `${versions.slice(0, 50)} … ${versions.slice(-50)}` : versions || 'none'
}

// Making commits

/** What a commit says. Unless said otherwise: one event, a time unit after the commit before. */
interface Content {
  readonly count?: number
  /** One event each. */
  readonly messages?: readonly Json[]
  readonly at?: number
  readonly deleted?: boolean
  readonly metadata?: JsonObject
}

/** Any time will do, as long as it is not that of the clock. */
const START = 1_700_000_000_000

const TRIP: SessionKey = { userId: 'ada', sessionId: 'trip' }
const WORK: SessionKey = { userId: 'ada', sessionId: 'work' }
const BOB: SessionKey = { userId: 'bob', sessionId: 'trip' }

// Split at spaces, so that what holds none of them takes no line for each.
const HOSTILE_NAMES = [
  '__proto__ constructor toString hasOwnProperty null undefined true NaN 0 -1 1: 1:a a A',
  "a.b . .. * > $ / \\ // ../../etc/passwd : :: # ? & = % %00 %2F _ ?1 $1 :id ' \" ` '; {} [] ${x}",
  '\u0000 a\u0000 a\u0000b \n a\nb \r\n \t \u007f \u2028 \ufeff \uffff \ue000 😀 👩‍👩‍👧 é e\u0301 ß ss',
  `${'x'.repeat(512)} ${'漢'.repeat(512)} ${'漢'.repeat(511)}字 ${'\u0000'.repeat(512)} ${'😀'.repeat(256)}`
]
  .flatMap((line) => line.split(' '))
  .concat('a b', 'a  b', ' a', 'a ')

/** All are properties of its own, as JSON has them. */
const HOSTILE_OBJECT = JSON.parse(
  '{ "__proto__": { "x": true }, "constructor": { "prototype": 1 }, "toString": null, "length": -1, "": { "": "" },' +
    ' "10": 1, "9": 2, "a.b": "$1", "\\u0000": "\\u0000", "\\ud800": [] }'
) as JsonObject

const HOSTILE_VALUES: readonly Json[] = [
  '| |x|\u0000|a\u0000b|\\u0000|\ud800|\udc00\ud800|😀|\ufeff|\u2028|\uffff|e\u0301|\'|"|\\|%s|{}|[]|null|1'.split('|'),
  '\n|\r\n|\t| a |2026-01-01T00:00:00.000Z|</script>|\u001b[31m'.split('|'),
  [null, true, false, 0, -1, 0.1, 1e21, 1e-7, 5e-324, Number.MAX_VALUE, Number.MAX_SAFE_INTEGER],
  [[], [[]], [null, [null]], {}, { a: {} }, HOSTILE_OBJECT, [HOSTILE_OBJECT], nested(500)]
].flat()

type Fork = Commit & Required<Pick<Commit, 'parent'>>

let made = 0

function begin(key: SessionKey, content: Content = {}): Commit {
  return make(key, `log${++made}`, undefined, content)
}

function follow({ key, logId, summary }: Commit, content: Content = {}): Commit {
  return make(key, logId, summary, content)
}

function fork(parent: Commit, version: number, key: SessionKey, content: Content = {}): Fork {
  const commit = begin(key, { at: parent.summary.updatedAt, ...content })
  const summary = { ...commit.summary, forkedFrom: { ...parent.key, version } }
  return copyJson({ ...commit, summary, parent: { logId: parent.logId, version } }) as unknown as Fork
}

/** `first` and those that follow it. */
function chain(first: Commit, length: number, content?: Content): Commit[] {
  const commits = [first]
  while (commits.length < length) commits.push(follow(last(commits), content))
  return commits
}

function make(key: SessionKey, logId: string, before: Summary | undefined, content: Content): Commit {
  const { count = 1, messages = Array.from({ length: count }, () => `text ${++made}`), deleted = false } = content
  const time = content.at ?? (before ? before.updatedAt + 1 : START)
  const expectedVersion = before?.version ?? 0
  const version = expectedVersion + messages.length
  const commitId = `commit${++made}`
  const events = messages.map((message, i) => ({
    id: `event${++made}`,
    ...key,
    version: expectedVersion + i + 1,
    type: deleted && expectedVersion + i + 1 === version ? 'deleted' : 'message-appended',
    at: time,
    data: { message },
    schemaVersion: 1,
    commitId
  }))
  const summary = {
    ...key,
    version,
    createdAt: before?.createdAt ?? time,
    updatedAt: time,
    deleted,
    format: 'test',
    metadata: content.metadata ?? {}
  }
  return copyJson({ key, logId, expectedVersion, events, summary }) as unknown as Commit
}

function nested(depth: number): Json {
  let value: Json = ''
  for (let i = 0; i < depth; i++) value = i % 2 === 0 ? [value] : { value }
  return value
}

function sizeOf({ events }: Commit): number {
  return Buffer.byteLength(JSON.stringify(events))
}

// Small things

/** Changes everything that can be changed in a value and what it holds. */
function vandalize(value: unknown): void {
  if (typeof value !== 'object' || value === null) return
  for (const key of Object.keys(value)) {
    vandalize(Reflect.get(value, key))
    Reflect.set(value, key, 'changed')
    Reflect.deleteProperty(value, key)
  }
  Reflect.set(value, 'added', true)
}

function idsOf(summaries: readonly Summary[]): string[] {
  return summaries.map(({ sessionId }) => sessionId)
}

function summariesOf(commits: readonly Commit[]): Summary[] {
  return commits.map(({ summary }) => summary)
}

function at<T>(list: readonly T[], index: number): T {
  const item = list[index]
  assert(item !== undefined, `there is nothing at ${index} of ${list.length}`)
  return item
}

function last<T>(list: readonly T[]): T {
  return at(list, list.length - 1)
}
