import type { EventStore, SessionHistoryService } from '../../src/index.ts'
import type { Flaw, Kit, Opened } from './kit.ts'
import type { MeasureName } from './limits.ts'

/** What is held against a limit, and a flaw with which it has to be broken. */
export interface Measure {
  readonly run: (kit: Kit) => Promise<number>
  readonly flaw: Flaw
}

const ref = { userId: 'ada', id: 'trip' }

const copiesOnAppend: Flaw = {
  history: (history) => ({
    async appendMessage(...args) {
      const session = await history.appendMessage(...args)
      structuredClone(session!.messages)
      return session
    }
  })
}

const copiesOnRead: Flaw = {
  history: (history) => ({
    async getSession(...args) {
      return structuredClone(await history.getSession(...args))
    }
  })
}

/** Work for each message that is there, which leaves nothing behind. */
const walksOnAppend: Flaw = {
  history: (history) => ({
    async appendMessage(...args) {
      const session = await history.appendMessage(...args)
      let fields = 0
      for (const each of session!.messages) fields += Object.entries(each).length
      if (fields === 0) throw new Error('A message is missing')
      return session
    }
  })
}

const keepsCopies: Flaw = {
  store: (store) => {
    const kept: unknown[] = []
    return {
      append(commits) {
        for (let i = 0; i < 4; i++) kept.push(structuredClone(commits))
        return store.append(commits)
      }
    }
  }
}

const asksTwice: Flaw = {
  store: (store) => ({
    async head(key) {
      await store.head(key)
      return store.head(key)
    },
    async append(commits) {
      await store.head(commits[0]!.key)
      return store.append(commits)
    }
  })
}

const appendsOneByOne: Flaw = {
  store: (store) => ({
    async append(commits) {
      const results = []
      for (const commit of commits) results.push(...(await store.append([commit])))
      return results
    }
  })
}

/** One call waits for the other. */
const appendsInTurn: Flaw = {
  store: (store) => {
    let last: Promise<unknown> = Promise.resolve()
    return {
      append(commits) {
        const done = last.then(() => store.append(commits))
        last = done.catch(() => undefined)
        return done
      }
    }
  }
}

const readsAll: Flaw = {
  store: (store) => ({
    async *read(logId, { from = 1, to = Infinity } = {}) {
      for await (const events of store.read(logId)) {
        const wanted = events.filter(({ version }) => version >= from && version <= to)
        if (wanted.length > 0) yield wanted
      }
    }
  })
}

const readsInSmallPages: Flaw = {
  store: (store) => ({
    async *read(logId, { from = 1, to = Infinity } = {}) {
      for (let next = from; next <= to; next += 50) {
        let isThere = false
        for await (const events of store.read(logId, { from: next, to: Math.min(to, next + 49) })) {
          isThere = true
          yield events
        }
        if (!isThere) return
      }
    }
  })
}

const replays: Flaw = {
  history: (history) => ({
    async getSession(userId, sessionId, options) {
      for await (const _ of history.readEvents(userId, sessionId));
      return history.getSession(userId, sessionId, options)
    }
  })
}

const listsWithMessages: Flaw = {
  store: (store) => ({
    async list(...args) {
      const summaries = await store.list(...args)
      for (const summary of summaries) await readWhole(store, (await store.head(summary))!.logId)
      return summaries
    }
  })
}

const forksByCopying: Flaw = {
  history: (history) => ({
    async fork(session) {
      const events = []
      for await (const event of history.readEvents(session.userId, session.id)) events.push(event)
      const messages = events.flatMap((event) => (event.type === 'message-appended' ? [event.data.message] : []))
      return (await history.appendMessage(await history.createSession(session.userId), messages))!
    }
  })
}

export const MEASURES: Readonly<Record<MeasureName, Measure>> = {
  appendBytesGrowth: {
    async run(kit) {
      await using short = await withMessages(await kit.memory(), 100)
      await using long = await withMessages(await kit.memory(), 4_000)
      return (await allocated(() => appends(long, 10))) / (await allocated(() => appends(short, 10)))
    },
    flaw: copiesOnAppend
  },
  appendBytes: {
    async run(kit) {
      await using opened = await withMessages(await kit.memory(), 50)
      return (await allocated(() => appends(opened, 20))) / 20
    },
    flaw: copiesOnAppend
  },
  turnBytesPerMessage: {
    async run(kit) {
      await using short = await withMessages(await kit.memory(), 100)
      await using long = await withMessages(await kit.memory(), 4_000)
      return ((await allocated(() => turns(long, 5))) - (await allocated(() => turns(short, 5)))) / 5 / 3_900
    },
    flaw: copiesOnRead
  },
  turnTimeGrowth: {
    async run(kit) {
      await using short = await withMessages(await kit.memory(), 100)
      await using long = await withMessages(await kit.memory(), 8_000)
      return await ratioOfTimes(
        9,
        () => turns(long, 20),
        () => turns(short, 20)
      )
    },
    flaw: walksOnAppend
  },
  turnsWhileCopied: {
    async run(kit) {
      await using opened = await withMessages(await kit.memory(), 6_000)
      const copied = JSON.parse(JSON.stringify((await read(opened)).messages)) as object
      const perTurn = await ratioOfTimes(
        9,
        async () => structuredClone(copied),
        () => turns(opened, 10)
      )
      return 10 * perTurn
    },
    flaw: copiesOnRead
  },
  unchangedSnapshots: {
    async run(kit) {
      await using opened = await withMessages(await kit.memory(), 100)
      const found = new Set<unknown>()
      for (let i = 0; i < 100; i++) found.add(await read(opened))
      return found.size
    },
    flaw: copiesOnRead
  },
  unchangedReadBytes: {
    async run(kit) {
      await using opened = await withMessages(await kit.memory(), 4_000)
      const bytes = await allocated(async () => {
        for (let i = 0; i < 50; i++) if ((await read(opened)).messages.length !== 4_000) throw new Error('Too few')
      })
      return bytes / 50
    },
    flaw: copiesOnRead
  },
  pastReadEvents: {
    async run(kit) {
      await using opened = await withMessages(await kit.memory(), 1_000)
      const before = opened.counts.events
      await pastReads(opened, 100, 1_000)
      return opened.counts.events - before
    },
    flaw: replays
  },
  pastReadBytes: {
    async run(kit) {
      await using opened = await withMessages(await kit.memory(), 4_000)
      return (await allocated(() => pastReads(opened, 200, 4_000))) / 200
    },
    flaw: replays
  },
  appendCalls: {
    async run(kit) {
      await using opened = await withMessages(await kit.memory(), 100)
      const before = opened.counts.calls
      await appends(opened, 100)
      return (opened.counts.calls - before) / 100
    },
    flaw: asksTwice
  },
  burstCalls: {
    async run(kit) {
      await using opened = await withMessages(await kit.memory(), 100)
      const before = opened.counts.calls
      await Promise.all(Array.from({ length: 1_000 }, (_, i) => opened.history.appendMessage(ref, message(i))))
      return opened.counts.calls - before
    },
    flaw: appendsOneByOne
  },
  sessionBytes: {
    run: (kit) =>
      retained(2_000, kit, async ({ history }) => {
        for (let i = 0; i < 2_000; i++) await history.createSession('ada')
      }),
    flaw: keepsCopies
  },
  eventBytes: {
    run: (kit) =>
      retained(8_000, kit, async ({ history }) => {
        for (let i = 0; i < 4; i++) {
          const session = await history.createSession('ada')
          for (let k = 0; k < 2_000; k++) await history.appendMessage(session, message(k))
        }
      }),
    flaw: keepsCopies
  },
  subscribedEvents: {
    async run(kit) {
      await using opened = await withMessages(await kit.memory(), 1_000)
      const { history, counts } = opened
      const heard = history.subscribe('ada', 'trip', { from: 1_001 })[Symbol.asyncIterator]()
      await heard.next()
      const before = counts.events
      for (let i = 0; i < 100; i++) {
        await history.appendMessage(ref, message(i))
        await heard.next()
      }
      await heard.return?.()
      return (counts.events - before) / 100
    },
    flaw: readsAll
  },
  sqliteAppendStatements: {
    async run(kit) {
      await using opened = await withMessages(await kit.sqlite(), 100)
      return (await statements(opened, () => appends(opened, 100))) / 100
    },
    flaw: asksTwice
  },
  sqliteReadStatements: {
    async run(kit) {
      await using opened = await withMessages(await kit.sqlite(), 100)
      await read(opened)
      return await statements(opened, () => read(opened))
    },
    flaw: asksTwice
  },
  sqliteListStatements: {
    async run(kit) {
      await using opened = await withSessions(await kit.sqlite(), 200)
      return await statements(opened, () => firstPage(opened))
    },
    flaw: listsWithMessages
  },
  sqliteListEvents: {
    async run(kit) {
      await using opened = await withSessions(await kit.sqlite(), 200)
      const before = opened.counts.events
      await firstPage(opened)
      return opened.counts.events - before
    },
    flaw: listsWithMessages
  },
  sqliteTransactions: {
    async run(kit) {
      await using opened = await withSessions(await kit.sqlite(), 64)
      const { history, counts } = opened
      counts.statements = []
      await Promise.all(
        Array.from({ length: 64 }, async (_, session) => {
          for (let i = 0; i < 10; i++) await history.appendMessage({ userId: 'ada', id: `s${session}` }, message(i))
        })
      )
      return counts.statements.filter((sql) => sql.startsWith('BEGIN')).length
    },
    flaw: appendsInTurn
  },
  sqliteForkEvents: {
    async run(kit) {
      await using opened = await withMessages(await kit.sqlite(), 5_000)
      const before = opened.counts.events
      await opened.history.fork(ref)
      return opened.counts.events - before
    },
    flaw: forksByCopying
  },
  sqliteForkStatements: {
    async run(kit) {
      await using opened = await withMessages(await kit.sqlite(), 5_000)
      return await statements(opened, () => opened.history.fork(ref))
    },
    flaw: forksByCopying
  },
  sqliteForkBytes: {
    async run(kit) {
      await using opened = await withMessages(await kit.sqlite(), 1_000)
      const forks = 40
      // The first may fill a page that is there, or begin one.
      await opened.history.fork(ref)
      const before = opened.bytes()
      for (let i = 0; i < forks; i++) await opened.history.fork(ref)
      return (opened.bytes() - before) / forks
    },
    flaw: forksByCopying
  },
  sqliteLastEvents: {
    async run(kit) {
      await using written = await withMessages(await kit.sqlite(), 5_000)
      await using opened = await written.reopen()
      const before = opened.counts.events
      const session = await opened.history.getSession('ada', 'trip', { last: 10 })
      if (session?.messages.length !== 10) throw new Error('Not the 10 newest messages')
      return opened.counts.events - before
    },
    flaw: readsAll
  },
  sqliteLoadStatements: {
    async run(kit) {
      await using written = await withMessages(await kit.sqlite(), 5_000)
      await using opened = await written.reopen()
      return await statements(opened, async () => {
        if ((await read(opened)).messages.length !== 5_000) throw new Error('A message is missing')
      })
    },
    flaw: readsInSmallPages
  }
}

/** V8 compiles what is called thousands of times: it is to have done so before anything is measured. */
export async function warmUp(kit: Kit): Promise<void> {
  await using opened = await withMessages(await kit.memory(), 100)
  for (let i = 0; i < 50; i++) {
    await turns(opened, 50)
    await pastReads(opened, 50, 100)
  }
}

/** A text that makes a message of about 300 bytes of JSON. */
function message(i: number): { role: 'user'; content: [{ type: 'text'; text: string }] } {
  const text = Buffer.from(`${i}: `.padEnd(220, 'the agent looks up the booking and asks the traveller. ')).toString(
    'latin1'
  )
  return { role: 'user', content: [{ type: 'text', text }] }
}

async function withMessages(opened: Opened, count: number): Promise<Opened> {
  await opened.history.createSession('ada', 'trip')
  await opened.history.appendMessage(
    ref,
    Array.from({ length: count }, (_, i) => message(i))
  )
  return opened
}

/** `s0`, `s1`, … with 3 messages each. */
async function withSessions(opened: Opened, count: number): Promise<Opened> {
  await Promise.all(
    Array.from({ length: count }, async (_, i) =>
      opened.history.appendMessage(await opened.history.createSession('ada', `s${i}`), [0, 1, 2].map(message))
    )
  )
  return opened
}

async function firstPage({ history }: Opened): Promise<void> {
  const { length } = await history.listSessions('ada', { limit: 50 })
  if (length !== 50) throw new Error(`A page of ${length}`)
}

async function read({
  history
}: Opened): Promise<NonNullable<Awaited<ReturnType<SessionHistoryService['getSession']>>>> {
  return (await history.getSession('ada', 'trip'))!
}

async function readWhole(store: EventStore, logId: string): Promise<void> {
  for await (const _ of store.read(logId));
}

async function appends({ history }: Opened, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await history.appendMessage(ref, message(i))
}

/** Each reads all and appends two, as an agent does. What was appended is taken back: the history stays as long as it was. */
async function turns(opened: Opened, count: number): Promise<void> {
  const { length } = (await read(opened)).messages
  for (let i = 0; i < count; i++) {
    const { messages } = await read(opened)
    if (messages.length !== length + 2 * i) throw new Error('A message is missing')
    await appends(opened, 2)
  }
  await opened.history.commit(ref, [{ type: 'truncate', length }])
}

/** Of versions all over the log. */
async function pastReads({ history }: Opened, count: number, versions: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const at = 1 + ((i * 617) % versions)
    if ((await history.getSession('ada', 'trip', { at }))?.version !== at) throw new Error(`Not version ${at}`)
  }
}

async function statements({ counts }: Opened, work: () => Promise<unknown>): Promise<number> {
  const before = counts.statements.length
  await work()
  return counts.statements.length - before
}

/**
 * Bytes of heap that `work` allocates, the least of a few times: what the compiler allocates, when it comes to it, is not its own.
 * Young objects have so much room that none are collected meanwhile.
 */
async function allocated(work: () => Promise<unknown>): Promise<number> {
  const bytes: number[] = []
  for (let round = 0; round < 7; round++) {
    globalThis.gc!()
    const before = process.memoryUsage().heapUsed
    await work()
    bytes.push(process.memoryUsage().heapUsed - before)
  }
  return Math.min(...bytes)
}

/** Bytes of heap for each of `count` things that a service is made to keep, beside what a first service of that kind has left. */
async function retained(count: number, kit: Kit, fill: (opened: Opened) => Promise<void>): Promise<number> {
  const used = (): number => {
    for (let i = 0; i < 3; i++) globalThis.gc!()
    return process.memoryUsage().heapUsed
  }
  await using first = await kit.memory()
  await fill(first)
  const before = used()
  await using second = await kit.memory()
  await fill(second)
  return (used() - before) / count
}

/** How many times as long `a` takes as `b`: the median of rounds in which they take turns, after some that do not count. */
async function ratioOfTimes(rounds: number, a: () => Promise<unknown>, b: () => Promise<unknown>): Promise<number> {
  const timed = async (work: () => Promise<unknown>): Promise<number> => {
    globalThis.gc!({ type: 'minor' })
    const start = performance.now()
    await work()
    return performance.now() - start
  }
  const ratios: number[] = []
  for (let round = -3; round < rounds; round++) {
    const isFirst = round % 2 === 0
    const first = await timed(isFirst ? a : b)
    const second = await timed(isFirst ? b : a)
    if (round >= 0) ratios.push(isFirst ? first / second : second / first)
  }
  return ratios.toSorted((x, y) => x - y)[rounds >> 1]!
}
