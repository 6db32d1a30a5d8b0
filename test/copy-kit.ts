import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import type { StoredEvent } from '../src/event.ts'
import { createSessionHistory, openStore, type SessionHistoryService } from '../src/index.ts'
import type { EventStore, Head } from '../src/store.ts'

// A store with sessions of all kinds, all that can be seen of one, and the command that copies it as a process.

/** What comes of a process. */
export interface Result {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly out: string
  readonly err: string
}

/** Runs a program with Node, in a folder that it also has for temporary files. `before`: a module that is run first in it. */
export async function run(program: string, args: readonly string[], cwd: string, before = ''): Promise<Result> {
  const first = ['--import', `data:text/javascript,${encodeURIComponent(before)}`]
  const env = { ...process.env, NO_COLOR: '1', TMPDIR: cwd }
  const child = spawn(process.execPath, [...first, program, ...args], { cwd, env })
  const [out, err, [code, signal]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>
  ])
  return { code, signal, out, err }
}

/** Run before `turnlog copy`: it gets a signal when it begins the so many-th log. 32 are under way at once, so the others are there by then. */
export function signalled(signal: NodeJS.Signals, count: number): string {
  return `
    const { throwIfAborted } = AbortSignal.prototype
    let calls = 0
    AbortSignal.prototype.throwIfAborted = function () {
      if (new Error().stack.split('\\n')[2].includes('at worker ') && ++calls === ${count}) process.kill(process.pid, '${signal}')
      throwIfAborted.call(this)
    }`
}

/** Fills the store at an address, and closes it. */
export async function filled(address: string): Promise<void> {
  const store = openStore(address)
  await store.open()
  await fill(store)
  await store.close()
}

/** All that can be seen of the store at an address. */
export async function seenAt(address: string): Promise<unknown> {
  const store = openStore(address)
  await store.open()
  try {
    return await seen(store)
  } finally {
    await store.close()
  }
}

export async function historyOf(store: EventStore): Promise<SessionHistoryService> {
  return createSessionHistory({ store, missing: { get: 'null' } })
}

/** Sessions of all kinds, with another store's events in none. `store` stays open. */
export async function fill(store: EventStore): Promise<void> {
  const history = await historyOf(store)
  const long = await history.createSession('ada', 'long', { metadata: { title: 'Long' } })
  await history.appendMessage(
    long,
    Array.from({ length: 700 }, (_, i) => ({ content: `message ${i}` }))
  )
  await history.updateMetadata(long, { set: { title: 'Longer', __proto__: 1 } })
  await history.rewind(long, 300)
  await history.appendMessage(
    long,
    Array.from({ length: 700 }, (_, i) => ({ content: `then ${i} \u0000 "ü" 漢` })),
    { idempotencyKey: 'once' }
  )
  for (const userId of ['ada', 'bob', 'Zoë \u0000'])
    for (let i = 0; i < 20; i++) {
      const session = await history.createSession(userId, `trip-${i}`)
      await history.appendMessage(session, { role: 'user', content: `Trip ${i}` })
    }
  await history.deleteSession('ada', 'trip-1')
  await history.deleteSession('ada', 'trip-2')
  await history.createSession('ada', 'trip-2', { metadata: { again: true } })
  const open = await history.beginTurn({ userId: 'bob', id: 'trip-1' }, { owner: 'somebody' })
  await open.append({ content: 'not yet' })
  // A log that forks share is there without a name, also where that is a fork; and its name has a new log.
  for (let i = 0; i < 5; i++) await history.fork(long, { at: 100 * (i + 1), sessionId: `fork-${i}` })
  const middle = await history.fork({ userId: 'ada', id: 'fork-4' }, { sessionId: 'middle' })
  await history.appendMessage(
    middle,
    Array.from({ length: 600 }, (_, i) => ({ content: `middle ${i}` }))
  )
  await history.fork(middle, { at: 550, sessionId: 'leaf' })
  await history.fork(middle, { at: 2, sessionId: 'twig' })
  await history.purgeSession('ada', 'middle')
  await history.createSession('ada', 'middle', { metadata: { new: true } })
  const gone = await history.createSession('bob', 'gone')
  await history.appendMessage(gone, [{ content: 'one' }, { content: 'two' }])
  await history.fork(gone, { at: 2, sessionId: 'of-gone' })
  await history.purgeSession('bob', 'gone')
  await store.touch((await store.head({ userId: 'bob', sessionId: 'of-gone' }))!.logId, 1_700_000_000_000)
  await history.stop()
  await store.open()
}

export async function headsOf(store: EventStore): Promise<Head[]> {
  return (await store.heads()).toSorted((a, b) => (a.logId < b.logId ? -1 : 1))
}

export async function eventsOf(store: EventStore, logId: string): Promise<StoredEvent[]> {
  const events: StoredEvent[] = []
  for await (const page of store.read(logId)) events.push(...page)
  return events
}

// Short, so that what is different can be read.
function digest(value: unknown): string {
  return createHash('sha256')
    .update(JSON.stringify(value) ?? '')
    .digest('hex')
}

/** All that can be seen of a store. */
export async function seen(store: EventStore): Promise<unknown> {
  const heads = await headsOf(store)
  const logs = await Promise.all(
    heads.map(async (head) => ({
      head,
      events: digest(await eventsOf(store, head.logId)),
      forks: await store.forks(head.logId)
    }))
  )
  const history = await historyOf(store)
  const users = (await history.listUsers()).toSorted()
  const sessions = await Promise.all(
    heads.map(({ summary }) =>
      history
        .getSession(summary.userId, summary.sessionId)
        .then((session) => ({ ...session, messages: digest(session?.messages) }))
    )
  )
  await history.stop()
  await store.open()
  return structuredClone({ logs, users, sessions })
}
