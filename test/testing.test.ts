import { describe, expect, it } from 'vitest'
import type { StoredEvent } from '../src/event.ts'
import type { Json } from '../src/json.ts'
import type { AppendResult, Commit, EventStore, SessionKey, Summary } from '../src/store.ts'
import { memoryStore } from '../src/stores/memory.ts'
import { testEventStore, type EventStoreTestOptions, type TestRunner } from '../src/testing.ts'

describe('testEventStore', () => {
  it('passes a store that is right', async () => {
    expect(await failuresOf({ create: memoryStore })).toEqual([])
  })

  it('passes a durable and shared store that is right', async () => {
    const create = (): EventStore => ({ ...memoryStore(), supports: { durable: true, shared: true, push: true } })
    expect(await failuresOf({ create, reopen: (store) => ({ ...store }) })).toEqual([])
  })

  it('passes a store that carries commits of 64 KB, if it says so', async () => {
    const maxCommitBytes = 65_536
    const create = broken((store) => ({
      supports: { ...store.supports, maxCommitBytes },
      append: (commits) => {
        const tooLarge = commits.some(({ events }) => Buffer.byteLength(JSON.stringify(events)) > maxCommitBytes)
        return tooLarge ? Promise.reject(new Error('too large')) : store.append(commits)
      }
    }))
    expect(await failuresOf({ create })).toEqual([])
  })

  it('skips what is not supported, with the reason in the title', () => {
    const titles = titlesOf({
      create: () => ({ ...memoryStore(), supports: { durable: false, shared: false, push: false } })
    })
    expect(titles).toContain('has all that was acknowledged (skipped: the store is not durable)')
    expect(titles).toContain('see at once what the other has stored or purged (skipped: the store is not shared)')
    expect(titles).toContain('begins with the version as it is (skipped: the store does not push)')
  })

  it('skips a test or a group that is excused, with the reason in the title', () => {
    const skip = { 'gives every user once': 'users are not known', 'forks': 'issue 7' }
    const skipped = titlesOf({ create: memoryStore, skip }).filter((title) => /users are not known|issue 7/.test(title))
    expect(skipped).toContain('gives every user once (skipped: users are not known)')
    expect(skipped).toContain('are logs of their own (skipped: issue 7)')
    expect(titlesOf({ create: memoryStore }).filter((title) => title.includes('issue 7'))).toEqual([])
  })

  it('refuses to skip without a reason, and what there is not', () => {
    expect(() => titlesOf({ create: memoryStore, skip: { forks: ' ' } })).toThrow(TypeError)
    expect(() => titlesOf({ create: memoryStore, skip: { spoons: 'bent' } })).toThrow('there is no such test')
  })

  it('wants to see another object over the data of a store that says it is durable', async () => {
    const create = broken(({ supports }) => ({ supports: { ...supports, durable: true } }))
    expect(await failuresOf({ create })).toEqual(['has all that was acknowledged', 'goes on where the other ended'])
  })

  it('gives each test a store of its own, closes what it opened and disposes of what it made', async () => {
    const made: EventStore[] = []
    const disposed: EventStore[] = []
    const create = (): EventStore => {
      const store = memoryStore()
      made.push(store)
      return store
    }
    const dispose = async (store: EventStore): Promise<void> => {
      expect(await store.health()).toBe(false)
      disposed.push(store)
    }
    expect(await failuresOf({ create, dispose })).toEqual([])
    // The first was only asked what it supports.
    expect(disposed).toEqual(made.slice(1))
    expect(new Set(disposed).size).toBe(disposed.length)
  })

  it('gives titles that no two tests share', () => {
    const titles = titlesOf({ create: memoryStore })
    expect(titles.length).toBeGreaterThan(50)
    expect(new Set(titles).size).toBe(titles.length)
  })
})

describe('testEventStore catches a store that', () => {
  catches('has no watch, and says that it has', 'has every call of the protocol, and watch if it pushes', () => ({
    watch: undefined as unknown as Watch
  }))

  catches('says that it is healthy when it is closed', 'is healthy while it is open, and only then', () => ({
    health: async () => true
  }))

  catches('forgets when it is closed', 'keeps what it has over close and open', (store) =>
    remembering(store, (keys) => ({
      close: async () => {
        if (!(await store.health())) return
        for (const key of keys()) await store.purge(key)
        await store.close()
      }
    }))
  )

  catches(
    'answers calls when it is closed',
    ['head', 'append', 'read', 'list', 'listUsers', 'forks', 'heads', 'touch', 'purge', 'watch'].map(
      (call) => `rejects ${call} before open and after close, and changes nothing`
    ),
    (store) => {
      void store.open()
      let isOpen = false
      return {
        open: async () => void (isOpen = true),
        close: async () => void (isOpen = false),
        health: async () => isOpen
      }
    }
  )

  catches('gives results in another order', 'gives one result for each commit, at its place', (store) => ({
    append: async (commits) => (await store.append(commits)).toReversed()
  }))

  catches('stores a part of a commit', 'stores all events of a commit, in order', (store) => ({
    append: appending(store, (commit) => ({ ...commit, events: commit.events.slice(0, 1) }))
  }))

  catches(
    'checks no versions',
    ['begins a log only where there is none, not even a deleted one', 'continues a log only at its version'],
    (store) => ({ append: inTurn((commit) => force(store, commit)) })
  )

  catches(
    'checks versions but not logs',
    ['continues only the log that the commit names', 'lets a new log begin that has nothing of the old'],
    (store) => ({
      append: inTurn(async (commit) => {
        const head = await store.head(commit.key)
        return appendOne(store, head && commit.expectedVersion > 0 ? { ...commit, logId: head.logId } : commit)
      })
    })
  )

  catches('writes the summary of a commit in conflict', 'stores nothing of a commit in conflict', (store) => {
    const refused = new Map<string, Summary>()
    return {
      append: async (commits) => {
        const results = await store.append(commits)
        for (const [i, { logId, summary }] of commits.entries()) {
          if (results[i]?.status === 'conflict') refused.set(logId, summary)
          else refused.delete(logId)
        }
        return results
      },
      head: async (key) => {
        const head = await store.head(key)
        return head && { ...head, summary: refused.get(head.logId) ?? head.summary }
      }
    }
  })

  catches('fails a batch for one conflict', 'lets a conflict in a batch harm no other log', (store) => ({
    append: async (commits) => {
      const versions = new Map<string, number>()
      for (const { key, expectedVersion, summary } of commits) {
        const name = JSON.stringify(key)
        const version = versions.get(name) ?? (await store.head(key))?.version ?? 0
        if (version !== expectedVersion) return commits.map(() => ({ status: 'conflict' }))
        versions.set(name, summary.version)
      }
      return store.append(commits)
    }
  }))

  catches(
    'stores commits one by one, whatever became of those before',
    'refuses what builds on a conflict in its batch, though the version fits',
    (store) => ({ append: inTurn((commit) => appendOne(store, commit)) })
  )

  catches(
    'writes some time after it has checked the version',
    'stores one of many commits that expect the same version',
    (store) => ({
      append: inTurn(async (commit) => {
        const head = await store.head(commit.key)
        const fits = (head?.version ?? 0) === commit.expectedVersion && (!head || head.logId === commit.logId)
        await store.health()
        return fits ? force(store, commit) : { status: 'conflict' }
      })
    })
  )

  catches(
    'writes the events of a commit one after the other',
    'shows whole commits from the first on to those who read meanwhile',
    (store) => ({
      append: inTurn(async (commit) => {
        for (const event of commit.events) {
          const expectedVersion = event.version - 1
          const part = { ...commit, expectedVersion, events: [event] }
          const result = await appendOne(store, expectedVersion > 0 ? withoutParent(part) : part)
          if (result.status !== 'stored') return result
        }
        return { status: 'stored' }
      })
    })
  )

  catches(
    'drops \\u0000',
    ['gives messages back equal, whatever is in them', 'gives metadata back equal, whatever is in it'],
    (store) => ({
      append: appending(store, (commit) => mapStrings(commit, (text) => text.replaceAll('\u0000', '')))
    })
  )

  catches('replaces lone surrogates', 'gives messages back equal, whatever is in them', (store) => ({
    append: appending(store, (commit) => mapStrings(commit, (text) => Buffer.from(text).toString()))
  }))

  catches('takes empty strings for null', 'gives messages back equal, whatever is in them', (store) => ({
    append: appending(store, (commit) => mapStrings(commit, (text) => text || null))
  }))

  catches(
    'copies objects by assignment, so that __proto__ is lost',
    'gives messages back equal, whatever is in them',
    (store) => ({
      append: appending(store, (commit) => JSON.parse(JSON.stringify(commit), assigned) as Commit)
    })
  )

  catches(
    'keeps only the fields that it knows',
    'carries events of types, versions and fields that it does not know',
    (store) => ({
      append: appending(store, (commit) => ({ ...commit, events: commit.events.map(knownFields) }))
    })
  )

  catches('cuts long messages', 'carries a commit of 1 MB, or of maxCommitBytes if that is less', (store) => ({
    append: appending(store, (commit) => mapStrings(commit, (text) => text.slice(0, 65_535)))
  }))

  catches('gives out what it has', 'is not changed by changes to what it gives out', (store) => ({
    append: appending(store, (commit) => structuredClone(commit))
  }))

  catches(
    'keeps the first summary',
    ['have the version and the summary of the newest commit', 'gives what their newest commits say'],
    (store) => {
      const first = new Map<string, Summary>()
      return {
        append: appending(store, (commit) => {
          const summary = first.get(commit.logId) ?? commit.summary
          first.set(commit.logId, summary)
          return { ...commit, summary }
        })
      }
    }
  )

  catches('has no head of a deleted session', 'are there also when the session is deleted', (store) => ({
    head: async (key) => {
      const head = await store.head(key)
      return head?.summary.deleted ? null : head
    }
  }))

  catches('reads in another order', 'gives thousands of events in order, in pages that are not empty', (store) => ({
    read: pages(store, (page) => page.toReversed())
  }))

  catches('gives empty pages', 'gives thousands of events in order, in pages that are not empty', (store) => ({
    async *read(logId, range) {
      yield* store.read(logId, range)
      yield []
    }
  }))

  catches('gives only the first page', 'gives thousands of events in order, in pages that are not empty', (store) => ({
    async *read(logId, range) {
      for await (const page of store.read(logId, range)) {
        yield page
        return
      }
    }
  }))

  catches('reads all but the newest event', 'stores all events of a commit, in order', (store) => ({
    async *read(logId, range) {
      const versions: number[] = []
      for await (const page of store.read(logId)) versions.push(...page.map(({ version }) => version))
      const to = Math.min(versions.length - 1, range?.to ?? Infinity)
      yield* store.read(logId, { ...range, to })
    }
  }))

  catches('takes the end of a range for exclusive', 'gives a range, both ends inclusive', (store) => ({
    read: (logId, { to = Infinity, ...range } = {}) => store.read(logId, { ...range, to: to - 1 })
  }))

  catches('takes the beginning of a range for exclusive', 'gives a range, both ends inclusive', (store) => ({
    read: (logId, { from = 0, ...range } = {}) => store.read(logId, { ...range, from: from + 1 })
  }))

  catches(
    'reads backwards where from is after to',
    'gives nothing beyond the end, backwards or of an unknown log',
    (store) => ({
      read: (logId, { from = 1, to = Infinity, ...range } = {}) =>
        store.read(logId, { ...range, from: Math.min(from, to), to: Math.max(from, to) })
    })
  )

  catches(
    'reads on when the signal is aborted',
    [
      'rejects with the reason of a signal that is aborted',
      'rejects with the reason of a signal that is aborted between two pages'
    ],
    (store) => ({ read: (logId, { from = 1, to = Infinity } = {}) => store.read(logId, { from, to }) })
  )

  catches(
    'asks for the signal only once',
    'rejects with the reason of a signal that is aborted between two pages',
    (store) => ({
      async *read(logId, { signal, ...range } = {}) {
        signal?.throwIfAborted()
        yield* store.read(logId, range)
      }
    })
  )

  catches('rejects with an error of its own', 'rejects with the reason of a signal that is aborted', (store) => ({
    async *read(logId, { signal, ...range } = {}) {
      if (signal?.aborted) throw new Error('aborted')
      yield* store.read(logId, range)
    }
  }))

  catches(
    'lists the oldest first',
    'gives the sessions of a user, newest activity first, then by session id',
    (store) => ({ list: async (userId, page) => (await store.list(userId, page)).toReversed() })
  )

  catches('lists deleted sessions', 'leaves out deleted sessions until they begin again', (store) =>
    remembering(store, (keys) => ({ list: (userId) => allOf(store, keys(), userId) }))
  )

  catches('lists sessions of others', 'never gives the sessions of another user', (store) => ({
    list: async (userId, page) => [
      ...(await store.list(userId, page)),
      ...(await store.list(userId === 'ada' ? 'Ada' : 'ada', page))
    ]
  }))

  catches(
    'goes on at a time and so skips ties',
    'neither skips nor repeats sessions of the same time between pages',
    (store) => ({
      list: async (userId, { limit, after } = {}) =>
        (await store.list(userId)).filter((at) => !after || at.updatedAt < after.updatedAt).slice(0, limit)
    })
  )

  catches(
    'goes on at a time and so repeats ties',
    'neither skips nor repeats sessions of the same time between pages',
    (store) => ({
      list: async (userId, { limit, after } = {}) =>
        (await store.list(userId)).filter((at) => !after || at.updatedAt <= after.updatedAt).slice(0, limit)
    })
  )

  catches('finds its place only by a session that is there', 'goes on after a session that is gone', (store) => ({
    list: async (userId, { limit, after } = {}) => {
      const all = await store.list(userId)
      const start = after ? all.findIndex(({ sessionId }) => sessionId === after.sessionId) + 1 : 0
      return all.slice(start).slice(0, limit)
    }
  }))

  catches('counts deleted sessions in a page', 'gives at most limit, after a place', (store) =>
    remembering(store, (keys) => ({
      list: async (userId, { limit, after } = {}) => {
        if (after) return store.list(userId, { after })
        return (await allOf(store, keys(), userId)).slice(0, limit).filter(({ deleted }) => !deleted)
      }
    }))
  )

  catches('gives a user for each session', 'gives every user once', (store) =>
    remembering(store, (keys) => ({ listUsers: async () => keys().map(({ userId }) => userId) }))
  )

  catches('gives users without sessions', 'leaves out users whose sessions are all deleted or purged', (store) =>
    remembering(store, (keys) => ({
      listUsers: async () => Array.from(new Set(keys().map(({ userId }) => userId)))
    }))
  )

  catches(
    'begins each page of users with the last of the page before',
    'covers all in pages, each once, in one order',
    (store) => ({
      listUsers: async ({ limit, after } = {}) =>
        (await store.listUsers()).filter((userId) => after === undefined || userId >= after).slice(0, limit)
    })
  )

  catches('finds its place only by a user who is there', 'goes on after a user who is gone', (store) => ({
    listUsers: async ({ limit, after } = {}) => {
      const all = await store.listUsers()
      return all.slice(after === undefined ? 0 : all.indexOf(after) + 1).slice(0, limit)
    }
  }))

  catches(
    'lists heads of live sessions only',
    'gives the head of every log, also of deleted sessions, and not of purged ones',
    (store) => ({ heads: async (page) => (await store.heads(page)).filter(({ summary }) => !summary.deleted) })
  )

  catches(
    'finds its place only by a log that is there',
    'gives all heads in pages, each once, in one order, also after one that is gone',
    (store) => ({
      heads: async ({ limit, after } = {}) => {
        const all = await store.heads()
        return all.slice(after === undefined ? 0 : all.findIndex(({ logId }) => logId === after) + 1).slice(0, limit)
      }
    })
  )

  catches('does not note when a session was in use', 'is told by the head, and changes nothing else', () => ({
    touch: async () => undefined
  }))

  catches('notes the last time it was told', 'keeps the latest of the times', (store) => touched(store, () => 0))

  catches('notes times by name', 'does nothing where there is no such log, and ends with it', (store) =>
    touched(store, Math.max)
  )

  catches(
    'purges whatever log is there',
    'does nothing where the log is another than the one named, or at another version',
    (store) => ({ purge: (key) => store.purge(key) })
  )

  catches('takes forks of anything', 'are orphaned where the parent is absent, too short or purged', (store) => ({
    append: inTurn(async (commit) => {
      const result = await appendOne(store, commit)
      return result.status === 'orphaned' ? appendOne(store, withoutParent(commit)) : result
    })
  }))

  catches(
    'writes a fork some time after it has looked for the parent',
    'have what they share or are orphaned, where the parent is purged at the same time',
    (store) => ({
      append: inTurn(async (commit) => {
        const { parent } = commit
        if (!parent) return appendOne(store, commit)
        for await (const page of store.read(parent.logId, { from: parent.version, to: parent.version })) {
          if (page.length === 0) continue
          const result = await appendOne(store, commit)
          return result.status === 'orphaned' ? appendOne(store, withoutParent(commit)) : result
        }
        return { status: 'orphaned' }
      })
    })
  )

  catches(
    'lists forks by name',
    'are listed by their parent in order of creation, deleted ones too, purged ones not',
    (store) => ({
      forks: async (logId) => (await store.forks(logId)).toSorted((a, b) => (a.sessionId < b.sessionId ? -1 : 1))
    })
  )

  catches(
    'hides deleted forks',
    'are listed by their parent in order of creation, deleted ones too, purged ones not',
    (store) => ({ forks: async (logId) => (await store.forks(logId)).filter(({ deleted }) => !deleted) })
  )

  catches(
    'purges what forks share',
    [
      'keep what they share of a parent that is purged, and no more',
      'keep what they share in a chain whose beginnings are purged'
    ],
    (store) => {
      const purged = new Set<string>()
      return {
        purge: async (key) => {
          purged.add((await store.head(key))?.logId ?? '')
          await store.purge(key)
        },
        async *read(logId, range) {
          if (!purged.has(logId)) yield* store.read(logId, range)
        }
      }
    }
  )

  catches(
    'keeps all of a purged log that has a fork',
    'keep what they share of a parent that is purged, and no more',
    (store) => keepingPurged(store, async (logId) => (await store.forks(logId)).length > 0)
  )

  catches(
    'never lets go of what forks have shared',
    'take what they share of a purged parent with the last of them',
    (store) => {
      const parents = new Set<string>()
      return {
        ...keepingPurged(store, async (logId) => parents.has(logId)),
        append: appending(store, (commit) => {
          if (commit.parent) parents.add(commit.parent.logId)
          return commit
        })
      }
    }
  )

  catches(
    'purges the name but not the events',
    [
      'leaves nothing of a session',
      'leaves nothing of a deleted session',
      'lets a new log begin that has nothing of the old'
    ],
    (store) => keepingPurged(store, async () => true)
  )

  catches('purges all sessions of the user', 'harms no other session', (store) => ({
    purge: async (key) => {
      await store.purge(key)
      for (const { userId, sessionId } of await store.list(key.userId)) await store.purge({ userId, sessionId })
    }
  }))

  catches('fails to purge what there is not', 'does nothing where there is no log', (store) => ({
    purge: async (key) => {
      if (!(await store.head(key))) throw new Error('not found')
      await store.purge(key)
    }
  }))

  catches('puts the parts of a name together', 'collide neither when put together nor with separators', (store) =>
    named(store, ({ userId, sessionId }) => userId + sessionId)
  )

  catches(
    'puts a separator between the parts of a name',
    'collide neither when put together nor with separators',
    (store) => named(store, ({ userId, sessionId }) => `${userId}:${sessionId}`)
  )

  catches('cleans names', 'may be any strings', (store) =>
    named(store, (key) => JSON.stringify(key).replaceAll(/[^\w",]/g, '_'))
  )

  catches('cuts names', 'may be any strings', (store) =>
    named(store, ({ userId, sessionId }) => JSON.stringify([userId.slice(0, 255), sessionId.slice(0, 255)]))
  )

  catches('takes names of any case for the same', 'may be any strings', (store) =>
    named(store, (key) => JSON.stringify(key).toLowerCase())
  )

  catches('keeps users as properties of an object', 'may be any strings', (store) => ({
    listUsers: async (page) => {
      const users: Record<string, unknown> = {}
      for (const userId of await store.listUsers(page)) users[userId] = true
      return Object.keys(users)
    }
  }))

  catches('begins to watch with the next version', 'begins with the version as it is', (store) => ({
    watch: hints(store, (version, isFirst) => (isFirst ? undefined : version))
  }))

  catches('tells of the version before', 'tells one who waits of the newest version', (store) => {
    let before = 0
    return {
      watch: hints(store, (version, isFirst) => {
        const told = isFirst ? version : before
        before = version
        return told
      })
    }
  })

  catches('tells only those who wait', 'tells one who was busy of the newest version', (store) => ({
    async *watch(key, signal) {
      for (let skip = 0; !signal.aborted; skip = 1) {
        let seen = 0
        for await (const version of watchOf(store)(key, signal)) {
          if (seen++ < skip) continue
          yield version
          break
        }
      }
    }
  }))

  catches('tells only the last who asked', 'tells everyone who watches', (store) => {
    let newest = 0
    return {
      async *watch(key, signal) {
        const mine = ++newest
        for await (const version of watchOf(store)(key, signal)) if (mine === newest || version === 0) yield version
      }
    }
  })

  catches('tells of other sessions', 'tells nothing of other sessions', (store) =>
    remembering(store, (keys) => ({
      watch: hints(store, async (version) => {
        const heads = await Promise.all(keys().map((key) => store.head(key)))
        return Math.max(version, ...heads.map((head) => head?.version ?? 0))
      })
    }))
  )

  catches(
    'does not tell of a purge',
    'gives 0 when the session is purged, and goes on when it is begun again',
    (store) => ({
      watch: hints(store, (version, isFirst) => (version > 0 || isFirst ? version : undefined))
    })
  )

  catches('watches on when the signal is aborted', 'ends when the signal is aborted', (store) => ({
    watch: (key) => watchOf(store)(key, new AbortController().signal)
  }))

  catches(
    'watches on when it is closed',
    'ends when the store is closed, also for one who was busy until it was open again',
    (store) => ({
      async *watch(key, signal) {
        while (!signal.aborted) yield* watchOf(store)(key, signal)
      }
    })
  )

  it('says that it is durable, acknowledges, and forgets', async () => {
    const create = broken(({ supports }) => ({ supports: { ...supports, durable: true, shared: false } }))
    expect(await failuresOf({ create, reopen: create })).toEqual([
      'has all that was acknowledged',
      'goes on where the other ended'
    ])
  })

  it('says that it is shared, and is not', async () => {
    expect(await failuresOf({ create: memoryStore, reopen: memoryStore })).toEqual([
      'see at once what the other has stored or purged',
      'store one of many commits of both that expect the same version',
      'tells of what the other has stored or purged'
    ])
  })
})

type Broken = (store: EventStore) => Partial<EventStore>

/** One test: a memory store broken in this way fails these tests of the suite, in their order. */
function catches(how: string, tests: string | readonly string[], breaking: Broken): void {
  it(how, async () => {
    const titles = [tests].flat()
    expect(await failuresOf({ create: broken(breaking) }, titles)).toEqual(titles)
  })
}

function broken(breaking: Broken): () => EventStore {
  return () => {
    const store = memoryStore()
    return { ...store, ...breaking(store) }
  }
}

// Running the suite

interface Collected {
  readonly title: string
  readonly run: () => Promise<void>
}

/** The titles of the tests that fail, of all or of those named. */
async function failuresOf(options: Omit<EventStoreTestOptions, 'name'>, only?: readonly string[]): Promise<string[]> {
  const failures: string[] = []
  for (const { title, run } of collect(options)) {
    if (only && !only.includes(title)) continue
    // Nothing here waits for input, output or time. So what has not ended by the next turn of the event loop never will.
    const hung = new Promise<boolean>((resolve) => setImmediate(resolve, false))
    const passed = run().then(
      () => true,
      () => false
    )
    if (!(await Promise.race([passed, hung]))) failures.push(title)
  }
  return failures
}

function titlesOf(options: Omit<EventStoreTestOptions, 'name'>): string[] {
  return collect(options).map(({ title }) => title)
}

function collect(options: Omit<EventStoreTestOptions, 'name'>): Collected[] {
  const tests: Collected[] = []
  const runner: TestRunner = {
    describe: (_, define) => define(),
    it: (title, run) => tests.push({ title, run })
  }
  testEventStore(runner, { name: 'a store', ...options })
  return tests
}

// Breaking stores

type Watch = NonNullable<EventStore['watch']>

async function appendOne(store: EventStore, commit: Commit): Promise<AppendResult> {
  const [result] = await store.append([commit])
  return result ?? { status: 'conflict' }
}

/** Appends whatever version the commit expects. */
async function force(store: EventStore, commit: Commit): Promise<AppendResult> {
  for (;;) {
    const head = await store.head(commit.key)
    const forced = { ...commit, logId: head?.logId ?? commit.logId, expectedVersion: head?.version ?? 0 }
    const result = await appendOne(store, forced)
    if (result.status !== 'conflict') return result
  }
}

function inTurn(one: (commit: Commit) => Promise<AppendResult>): EventStore['append'] {
  return async (commits) => {
    const results: AppendResult[] = []
    for (const commit of commits) results.push(await one(commit))
    return results
  }
}

function appending(store: EventStore, change: (commit: Commit) => Commit): EventStore['append'] {
  return (commits) => store.append(commits.map(change))
}

function withoutParent({ key, logId, expectedVersion, events, summary }: Commit): Commit {
  return { key, logId, expectedVersion, events, summary }
}

function mapStrings(commit: Commit, change: (text: string) => Json): Commit {
  return JSON.parse(JSON.stringify(commit), (_, value: Json) =>
    typeof value === 'string' ? change(value) : value
  ) as Commit
}

function assigned(_: string, value: Json): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  const copy: Record<string, Json> = {}
  for (const [key, member] of Object.entries(value)) copy[key] = member
  return copy
}

function knownFields({
  id,
  userId,
  sessionId,
  version,
  type,
  at,
  data,
  schemaVersion,
  commitId
}: StoredEvent): StoredEvent {
  return { id, userId, sessionId, version, type, at, data, schemaVersion, commitId }
}

function pages(
  store: EventStore,
  change: (page: readonly StoredEvent[]) => readonly StoredEvent[]
): EventStore['read'] {
  return async function* (logId, range) {
    for await (const page of store.read(logId, range)) yield change(page)
  }
}

function watchOf(store: EventStore): Watch {
  return (key, signal) => {
    const versions = store.watch?.(key, signal)
    if (!versions) throw new Error('no watch')
    return versions
  }
}

function hints(
  store: EventStore,
  change: (version: number, isFirst: boolean) => number | undefined | Promise<number>
): Watch {
  return async function* (key, signal) {
    let isFirst = true
    for await (const version of watchOf(store)(key, signal)) {
      const told = await change(version, isFirst)
      isFirst = false
      if (told !== undefined) yield told
    }
  }
}

/** Knows the keys of all that was ever given to it. */
function remembering(
  store: EventStore,
  breaking: (keys: () => SessionKey[]) => Partial<EventStore>
): Partial<EventStore> {
  const keys = new Map<string, SessionKey>()
  return {
    append: appending(store, (commit) => {
      keys.set(JSON.stringify(commit.key), commit.key)
      return commit
    }),
    ...breaking(() => Array.from(keys.values()))
  }
}

/** The sessions of a user, deleted ones too. */
async function allOf(store: EventStore, keys: readonly SessionKey[], userId: string): Promise<Summary[]> {
  const heads = await Promise.all(keys.filter((key) => key.userId === userId).map((key) => store.head(key)))
  return heads
    .flatMap((head) => (head ? [head.summary] : []))
    .sort((a, b) => b.updatedAt - a.updatedAt || (a.sessionId < b.sessionId ? -1 : 1))
}

/** Still gives the events of a purged log, if `keeps` says so. */
function keepingPurged(store: EventStore, keeps: (logId: string) => Promise<boolean>): Partial<EventStore> {
  const kept = new Map<string, StoredEvent[]>()
  return {
    purge: async (key) => {
      const head = await store.head(key)
      const events: StoredEvent[] = []
      if (head) for await (const page of store.read(head.logId)) events.push(...page)
      if (head) kept.set(head.logId, events)
      await store.purge(key)
    },
    async *read(logId, range) {
      const events = kept.get(logId)
      if (!events || !(await keeps(logId))) yield* store.read(logId, range)
      else if (events.length > 0) yield events.slice((range?.from ?? 1) - 1, range?.to)
    }
  }
}

/** Notes times for names, not for logs; `earlier` tells what of an earlier time stays. */
function touched(store: EventStore, earlier: (before: number, at: number) => number): Partial<EventStore> {
  const times = new Map<string, number>()
  const names = new Map<string, string>()
  return {
    append: appending(store, (commit) => {
      names.set(commit.logId, JSON.stringify([commit.key.userId, commit.key.sessionId]))
      return commit
    }),
    touch: async (logId, at) => {
      const name = names.get(logId) ?? ''
      times.set(name, earlier(times.get(name) ?? 0, at) || at)
    },
    head: async (key) => {
      const head = await store.head(key)
      const touchedAt = times.get(JSON.stringify([key.userId, key.sessionId]))
      return head && touchedAt !== undefined ? { ...head, touchedAt } : head
    }
  }
}

/** Takes two keys of the same name for one. */
function named(store: EventStore, nameOf: (key: SessionKey) => string): Partial<EventStore> {
  const first = new Map<string, SessionKey>()
  function same(key: SessionKey): SessionKey {
    const name = nameOf(key)
    const known = first.get(name) ?? key
    first.set(name, known)
    return known
  }
  return {
    head: (key) => store.head(same(key)),
    append: appending(store, (commit) => ({ ...commit, key: same(commit.key) })),
    purge: (key, end) => store.purge(same(key), end),
    watch: (key, signal) => watchOf(store)(same(key), signal)
  }
}
