import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { StoreCopy, type CopyCounts } from '../src/cli/store-copy.ts'
import type { StoredEvent } from '../src/event.ts'
import { memoryStore, openStore } from '../src/index.ts'
import type { Commit, EventStore } from '../src/store.ts'
import { PROGRAM } from './compiled.ts'
import { eventsOf, fill, filled, headsOf, historyOf, run, seen, seenAt, signalled, type Result } from './copy-kit.ts'

const directory = mkdtempSync(join(tmpdir(), 'turnlog-copy-'))
afterAll(() => rmSync(directory, { recursive: true }))

let made = 0
/** An open store in a new file. */
async function sqlite(): Promise<EventStore> {
  const store = openStore(`sqlite:${join(directory, `${made++}.db`)}`)
  await store.open()
  return store
}

async function memory(): Promise<EventStore> {
  const store = memoryStore()
  await store.open()
  return store
}

async function copied(
  from: EventStore,
  to: EventStore,
  { userId, verify = true, signal = new AbortController().signal }: Partial<StoreCopyOptions> = {}
): Promise<CopyCounts> {
  const copying = new StoreCopy(from, to, { userId, verify, signal })
  await copying.copy(() => undefined)
  await copying.finish(() => undefined)
  return copying.counts
}

type StoreCopyOptions = ConstructorParameters<typeof StoreCopy>[2]

/** As `store`, but for what is given. */
function changed(store: EventStore, change: Partial<EventStore>): EventStore {
  return {
    supports: store.supports,
    open: () => store.open(),
    close: () => store.close(),
    health: () => store.health(),
    head: (key) => store.head(key),
    append: (commits) => store.append(commits),
    read: (logId, range) => store.read(logId, range),
    list: (userId, page) => store.list(userId, page),
    listUsers: (page) => store.listUsers(page),
    forks: (logId) => store.forks(logId),
    heads: (page) => store.heads(page),
    touch: (logId, at) => store.touch(logId, at),
    purge: (key, end) => store.purge(key, end),
    ...change
  }
}

/** Fails with the commit after so many. */
function failingAfter(store: EventStore, count: number): EventStore {
  let left = count
  return changed(store, {
    append: (commits) => (left-- > 0 ? store.append(commits) : Promise.reject(new Error('killed')))
  })
}

describe.each([
  ['memory', 'SQLite', memory, sqlite],
  ['SQLite', 'memory', sqlite, memory],
  ['SQLite', 'SQLite', sqlite, sqlite]
] as const)('a copy from %s to %s', (_, __, one, other) => {
  it('is all that can be seen of the source, and is done once', async () => {
    const [from, to] = [await one(), await other()]
    await fill(from)
    const counts = await copied(from, to)
    const sessions = (await from.heads()).length
    expect(counts).toMatchObject({ copied: sessions, continued: 0, same: 0, refused: [], verified: { sessions } })
    expect(await seen(to)).toEqual(await seen(from))
    expect(await copied(from, to)).toMatchObject({ copied: 0, same: sessions, events: 0, verified: counts.verified })
    for (const store of [from, to]) await store.close()
  })

  it('keeps what forks share of a log that was purged, and lets it go with the last of them', async () => {
    const [from, to] = [await one(), await other()]
    await fill(from)
    const [first] = await eventsOf(from, (await from.head({ userId: 'bob', sessionId: 'of-gone' }))!.logId)
    const parent = first!.data['parentLogId'] as string
    await copied(from, to)
    expect(await eventsOf(to, parent)).toEqual(await eventsOf(from, parent))
    expect(await eventsOf(to, parent)).toHaveLength(2)
    await to.purge({ userId: 'bob', sessionId: 'of-gone' })
    expect(await eventsOf(to, parent)).toEqual([])
    for (const store of [from, to]) await store.close()
  })
})

describe('a copy', () => {
  it('goes on where it was, after any commit, and what is there by then is sound', { timeout: 60_000 }, async () => {
    const from = await memory()
    await fill(from)
    const logs = (await from.heads()).length
    let ends = 0
    for (let commits = 0; ; commits += 7) {
      const to = await memory()
      const ended = await copied(from, failingAfter(to, commits)).then(
        () => false,
        (error: unknown) => (error as Error).message === 'killed'
      )
      if (!ended) break
      ends++
      const history = await historyOf(to)
      for (const { summary } of await to.heads()) {
        // Each is read whole; what is said of it is what it comes to.
        if (summary.userId === ' ') continue
        const session = await history.getSession(summary.userId, summary.sessionId)
        expect(session?.version ?? summary.version).toBe(summary.version)
        if (session) expect(session.metadata).toEqual(summary.metadata)
      }
      expect(await to.list(' ')).toEqual([])
      await history.stop()
      await to.open()
      const counts = await copied(from, to)
      expect(counts.copied + counts.continued + counts.same).toBe(logs)
      expect(await seen(to)).toEqual(await seen(from))
    }
    expect(ends).toBeGreaterThan(10)
  })

  it('continues a log that is longer now', async () => {
    const [from, to] = [await memory(), await memory()]
    await fill(from)
    await copied(from, to)
    const history = await historyOf(from)
    await history.appendMessage({ userId: 'ada', id: 'long' }, { content: 'one more' })
    await history.createSession('ada', 'new')
    await history.stop()
    await from.open()
    expect(await copied(from, to)).toMatchObject({ copied: 1, continued: 1, events: 2, refused: [] })
    expect(await seen(to)).toEqual(await seen(from))
  })

  it('leaves a log alone that is another there, tells of it, and copies the others', async () => {
    const [from, to] = [await memory(), await memory()]
    await fill(from)
    await copied(from, to)
    const [here, there] = [await historyOf(from), await historyOf(to)]
    // Both go on; only the copy does; purged and made again.
    await here.appendMessage({ userId: 'bob', id: 'trip-3' }, [{ content: 'here' }, { content: 'and here' }])
    await there.appendMessage({ userId: 'bob', id: 'trip-3' }, { content: 'there' })
    await there.appendMessage({ userId: 'bob', id: 'trip-4' }, { content: 'there' })
    await there.purgeSession('bob', 'trip-5')
    await there.createSession('bob', 'trip-5')
    await there.purgeSession('bob', 'trip-6')
    await here.updateMetadata({ userId: 'bob', id: 'trip-7' }, { set: { a: 'here' } })
    await there.updateMetadata({ userId: 'bob', id: 'trip-7' }, { set: { a: 'there' } })
    for (const history of [here, there]) await history.stop()
    for (const store of [from, to]) await store.open()
    const before = await to.heads()
    const { refused, copied: fresh } = await copied(from, to)
    expect(refused.toSorted((a, b) => (a.sessionId < b.sessionId ? -1 : 1))).toEqual([
      { userId: 'bob', sessionId: 'trip-3', message: 'event 3 is another there' },
      { userId: 'bob', sessionId: 'trip-4', message: 'there it has 3 events, and here 2' },
      { userId: 'bob', sessionId: 'trip-5', message: 'another log is there under its name' },
      { userId: 'bob', sessionId: 'trip-7', message: 'what is said of it there is something else' }
    ])
    expect(fresh).toBe(1)
    expect((await to.heads()).length).toBe(before.length + 1)
    for (const head of before) expect(await to.head(head.summary)).toEqual(head)
  })

  it('reads a bounded number of logs at once, however many forks one has', async () => {
    const [from, to] = await Promise.all([memory(), memory()])
    const history = await historyOf(from)
    const session = await history.createSession('ada', 'trip')
    const count = 300
    for (let i = 0; i < count; i++) await history.fork(session, { sessionId: `fork-${i}` })
    await history.stop()
    await from.open()
    let [reading, most] = [0, 0]
    const source = changed(from, {
      // The youngest first.
      heads: async () => (await from.heads()).toReversed(),
      async *read(logId, range) {
        most = Math.max(most, ++reading)
        try {
          yield* from.read(logId, range)
        } finally {
          reading--
        }
      }
    })
    expect(await copied(source, to)).toMatchObject({ copied: count + 1, refused: [] })
    expect(most).toBeLessThan(50)
    const { logId } = (await to.head({ userId: 'ada', sessionId: 'trip' }))!
    expect(await to.forks(logId)).toEqual(await from.forks(logId))
  })

  it('is of one user where one is named', async () => {
    const [from, to] = [await memory(), await memory()]
    await fill(from)
    await copied(from, to, { userId: 'bob' })
    expect(new Set((await to.heads()).map(({ summary }) => summary.userId))).toEqual(new Set(['bob']))
    const ofBob = (await headsOf(from)).filter(({ summary }) => summary.userId === 'bob')
    expect(await headsOf(to)).toEqual(ofBob)
  })

  it('makes no commit larger than the target takes, and tells of an event that is', async () => {
    const [from, into] = [await memory(), await memory()]
    await fill(from)
    const history = await historyOf(from)
    const large = await history.createSession('ada', 'large')
    await history.appendMessage(large, [{ content: 'small' }, { content: 'x'.repeat(10_000) }, { content: 'small' }])
    await history.stop()
    await from.open()
    const maxCommitBytes = 5_000
    const sizes: number[] = []
    const to = changed(into, {
      supports: { ...into.supports, maxCommitBytes },
      append: (commits: readonly Commit[]) => {
        for (const { events } of commits) sizes.push(Buffer.byteLength(JSON.stringify(events)))
        return into.append(commits)
      }
    })
    const { refused } = await copied(from, to)
    expect(refused).toEqual([
      {
        userId: 'ada',
        sessionId: 'large',
        message: expect.stringMatching(/^event 3 takes 10\d\d\d bytes, and a commit there at most 5000/)
      }
    ])
    expect(Math.max(...sizes)).toBeLessThanOrEqual(maxCommitBytes)
    expect(Math.max(...sizes)).toBeGreaterThan(maxCommitBytes * 0.9)
    await from.purge({ userId: 'ada', sessionId: 'large' })
    await into.purge({ userId: 'ada', sessionId: 'large' })
    expect(await seen(into)).toEqual(await seen(from))
  })

  it('notices what was not stored as it was copied', async () => {
    const [from, into] = [await memory(), await memory()]
    await fill(from)
    const lost = (await from.head({ userId: 'ada', sessionId: 'trip-5' }))!.logId
    const trunk = (await eventsOf(from, (await from.head({ userId: 'bob', sessionId: 'of-gone' }))!.logId))[0]!.data[
      'parentLogId'
    ]
    const swapped = (await from.head({ userId: 'ada', sessionId: 'trip-6' }))!.logId
    const bad = (event: StoredEvent): StoredEvent => ({ ...event, data: { ...event.data, message: { content: 'x' } } })
    const to = changed(into, {
      append: (commits) =>
        into.append(
          commits.map((commit) =>
            commit.logId === swapped || commit.logId === trunk
              ? { ...commit, events: commit.events.map((event) => (event.version === 2 ? bad(event) : event)) }
              : commit
          )
        ),
      heads: async (page) => (await into.heads(page)).filter(({ logId }) => logId !== lost)
    })
    const { refused, verified } = await copied(from, to)
    expect(refused.toSorted((a, b) => (a.sessionId < b.sessionId ? -1 : 1))).toEqual([
      { userId: 'bob', sessionId: 'gone', message: 'event 2 was read back as another' },
      { userId: 'ada', sessionId: 'trip-5', message: 'it is not there any more' },
      { userId: 'ada', sessionId: 'trip-6', message: 'event 2 was read back as another' }
    ])
    expect(verified.sessions).toBe((await from.heads()).length - 2)
    expect(await copied(from, to, { verify: false })).toMatchObject({ refused: [], verified: { sessions: 0 } })
  })

  it('copies what is sound of a store that is damaged', async () => {
    const [inner, to] = [await memory(), await memory()]
    await fill(inner)
    const damaged = (await inner.head({ userId: 'ada', sessionId: 'long' }))!.logId
    const from = changed(inner, {
      async *read(logId, range) {
        for await (const page of inner.read(logId, range))
          yield logId === damaged ? page.filter(({ version }) => version !== 250) : page
      }
    })
    const { refused } = await copied(from, to)
    const told = refused.map(({ sessionId, code, message }) => `${sessionId}: ${code}: ${message}`).sort()
    expect(told[0]).toBe('fork-0: undefined: what it was forked from could not be copied')
    expect(told.filter((each) => each.includes('CORRUPT_LOG'))).toEqual([
      expect.stringMatching(/^long: CORRUPT_LOG: .* is damaged at version 250$/)
    ])
    expect((await to.heads()).length).toBe((await inner.heads()).length - refused.length)
  })
})

describe('turnlog copy', () => {
  const turnlog = (args: readonly string[], before?: string): Promise<Result> => run(PROGRAM, args, directory, before)
  const at = (name: string): string => `sqlite:${join(directory, name)}`

  it('ends with 130 after Ctrl-C, and goes on after that', async () => {
    await filled(at('ctrl-c.db'))
    const args = ['copy', 'sqlite:ctrl-c.db', 'sqlite:ctrl-c-copy.db']
    expect(await turnlog(args, signalled('SIGINT', 50))).toMatchObject({
      code: 130,
      out: '',
      err: expect.stringMatching(
        /^turnlog: \d+ sessions? copied so far; the same command goes on from there\nturnlog: interrupted\n$/
      )
    })
    const { code, out } = await turnlog(args)
    expect(code).toBe(0)
    expect(out).toMatch(
      /^\d+ sessions? copied, .*\d+ events? stored\n\d+ sessions with \d+ events read back: as they were\n$/
    )
    expect(await seenAt(at('ctrl-c-copy.db'))).toEqual(await seenAt(at('ctrl-c.db')))
  })

  it('tells of what is another there, and exits with 1', async () => {
    await filled(at('one.db'))
    await turnlog(['copy', 'sqlite:one.db', 'sqlite:other.db', '--no-verify'])
    await turnlog(['undo', 'bob', 'trip-0', '--store', 'sqlite:other.db'])
    const { code, out, err } = await turnlog(['copy', 'sqlite:one.db', 'sqlite:other.db', 'bob'])
    expect({ code, err }).toEqual({ code: 1, err: 'turnlog: bob trip-0: there it has 3 events, and here 2\n' })
    expect(out).toContain('1 not as they should be')
  })

  it('refuses one store twice, a source that is not there and a user who has nothing', async () => {
    await filled(at('same.db'))
    symlinkSync('same.db', join(directory, 'link.db'))
    for (const [from, to] of [
      ['sqlite:same.db', 'sqlite:same.db'],
      ['sqlite:same.db', `sqlite:${join(directory, 'same.db')}`],
      ['sqlite:link.db', 'sqlite:same.db']
    ] as const)
      expect(await turnlog(['copy', from, to])).toMatchObject({
        code: 2,
        err: 'turnlog: FROM and TO are the same store\n'
      })
    expect(await turnlog(['copy', 'sqlite:absent.db', 'sqlite:new.db'])).toMatchObject({
      code: 1,
      err: 'turnlog: there is no file absent.db\n'
    })
    expect(await turnlog(['copy', 'sqlite:same.db', 'sqlite:new.db', 'aad'])).toMatchObject({
      code: 1,
      err: 'turnlog: User "aad" has no sessions\n'
    })
  })
})
