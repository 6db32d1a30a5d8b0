import { expect, vi } from 'vitest'
import {
  createSessionHistory,
  memoryStore,
  TurnlogError,
  type Clock,
  type EventStore,
  type SessionEvent,
  type SessionHistoryOptions,
  type SessionHistoryService,
  type SessionRef,
  type TurnlogErrorCode,
  type WriteOptions
} from '../../src/index.ts'

export const ADA: SessionRef = { userId: 'ada', id: 's1' }

/** A service whose clock has no timers, and whose warnings are kept: each test makes its own. */
export async function open(options: SessionHistoryOptions = {}): Promise<SessionHistoryService> {
  return createSessionHistory({ clock: ticking(), logger: warnings(), ...options })
}

/** A service with one empty session, {@link ADA}, at version 1. */
export async function openAda(options: SessionHistoryOptions = {}): Promise<SessionHistoryService> {
  const history = await open(options)
  await history.createSession(ADA.userId, ADA.id)
  return history
}

/** A clock that stands still between calls and goes on by 1 ms with each. */
export function ticking(start = 1_000): Clock {
  let now = start
  return clockOf(() => now++)
}

/** A clock whose timers fire as soon as they can. */
export function hasty(): Clock {
  return {
    now: () => 1_000,
    setTimeout: (callback) => setImmediate(callback),
    clearTimeout: (timer) => clearImmediate(timer as NodeJS.Immediate)
  }
}

/** A clock without timers. */
export function clockOf(now: () => number): Clock {
  return { now, setTimeout: () => undefined, clearTimeout: () => undefined }
}

export function warnings(): { readonly messages: string[]; warn(message: string): void } {
  const messages: string[] = []
  return { messages, warn: (message) => void messages.push(message) }
}

export function text(content: string): { role: 'user'; content: string } {
  return { role: 'user', content }
}

/** The texts of messages whose content is one text part. */
export function textsOf(session: { readonly messages: readonly unknown[] } | null): unknown[] {
  return (session?.messages ?? []).map((message) => {
    const [part] = (message as { content: { text: unknown }[] }).content
    return part?.text
  })
}

export async function eventsOf<M>(
  history: Pick<SessionHistoryService<M>, 'readEvents'>,
  { userId, id }: SessionRef = ADA,
  range?: { from?: number; to?: number; signal?: AbortSignal }
): Promise<SessionEvent<M>[]> {
  const events: SessionEvent<M>[] = []
  for await (const event of history.readEvents(userId, id, range)) events.push(event)
  return events
}

export async function typesOf(history: SessionHistoryService, session = ADA): Promise<string[]> {
  return (await eventsOf(history, session)).map(({ type }) => type)
}

/** What a call is rejected with, or throws. */
export async function failureOf(call: () => unknown): Promise<unknown> {
  try {
    await call()
  } catch (error) {
    return error
  }
  throw new Error('The call did not fail')
}

/** Expects a {@link TurnlogError} of that code with those fields. */
export async function fails(call: () => unknown, code: TurnlogErrorCode, fields: object = {}): Promise<TurnlogError> {
  const error = await failureOf(call)
  expect(error).toBeInstanceOf(TurnlogError)
  expect(Object.fromEntries(Object.entries(error as TurnlogError))).toMatchObject({ code, ...fields })
  return error as TurnlogError
}

/** Expects a `TypeError` whose text has `shown` in it. */
export async function misuses(call: () => unknown, shown: string): Promise<void> {
  const error = await failureOf(call)
  expect(error).toBeInstanceOf(TypeError)
  // Newer versions of Node show `\\uD800` where older ones show `\\ud800`.
  expect((error as TypeError).message.toLowerCase()).toContain(shown.toLowerCase())
}

/** Expects that the log of a session is the same after `call` as before. */
export async function storesNothing<T>(
  history: Pick<SessionHistoryService<unknown>, 'readEvents'>,
  call: () => Promise<T>,
  session = ADA
): Promise<T> {
  const before = await eventsOf(history, session)
  const result = await call()
  expect(await eventsOf(history, session)).toEqual(before)
  return result
}

/** The calls that write to a session, each with an effect of its own. */
export const WRITES: readonly {
  readonly name: string
  readonly type: SessionEvent['type']
  readonly write: (history: SessionHistoryService, options?: WriteOptions) => Promise<unknown>
}[] = [
  {
    name: 'appendMessage',
    type: 'message-appended',
    write: (history, options) => history.appendMessage(ADA, { id: 'w', ...text('written') }, options)
  },
  {
    name: 'putMessage',
    type: 'message-appended',
    write: (history, options) => history.putMessage(ADA, { id: 'put', ...text('written') }, options)
  },
  {
    name: 'updateMetadata',
    type: 'metadata-changed',
    write: (history, options) => history.updateMetadata(ADA, { set: { title: 'written' } }, options)
  },
  {
    name: 'commit',
    type: 'message-appended',
    write: (history, options) =>
      history.commit(ADA, [{ type: 'append', messages: [text('written'), text('again')] }], options)
  }
]

/** A promise, and what settles it. */
export function deferred<T = void>(): {
  readonly promise: Promise<T>
  resolve(value: T): void
  reject(reason: unknown): void
} {
  let [resolve, reject]: [(value: T) => void, (reason: unknown) => void] = [() => undefined, () => undefined]
  const promise = new Promise<T>((yes, no) => ([resolve, reject] = [yes, no]))
  return { promise, resolve, reject }
}

/** A signal as another library may have it, that knows its listeners. */
export function foreignSignal(): {
  readonly signal: AbortSignal
  readonly listeners: Set<() => void>
  abort: () => void
} {
  const listeners = new Set<() => void>()
  const own = {
    aborted: false,
    reason: undefined as unknown,
    addEventListener: (_: string, listener: () => void) => listeners.add(listener),
    removeEventListener: (_: string, listener: () => void) => listeners.delete(listener)
  }
  const abort = (): void => {
    own.aborted = true
    own.reason = new Error('enough')
    for (const listener of listeners) listener()
  }
  return { signal: own as object as AbortSignal, listeners, abort }
}

/** What stands between a service and its store; a method that is set is called in place of the store's. */
export type Hooks = { -readonly [K in keyof EventStore]?: EventStore[K] }

/** A store, `inner` behind hooks that may be set and removed at any time. */
export function hooked(hooks: Hooks, inner: EventStore = memoryStore()): EventStore {
  return {
    supports: inner.supports,
    open: () => (hooks.open ?? inner.open)(),
    close: () => (hooks.close ?? inner.close)(),
    health: () => (hooks.health ?? inner.health)(),
    head: (key) => (hooks.head ?? inner.head)(key),
    append: (commits) => (hooks.append ?? inner.append)(commits),
    read: (logId, range) => (hooks.read ?? inner.read)(logId, range),
    list: (userId, page) => (hooks.list ?? inner.list)(userId, page),
    listUsers: (page) => (hooks.listUsers ?? inner.listUsers)(page),
    forks: (logId) => (hooks.forks ?? inner.forks)(logId),
    heads: (page) => (hooks.heads ?? inner.heads)(page),
    touch: (logId, at) => (hooks.touch ?? inner.touch)(logId, at),
    purge: (key, end) => (hooks.purge ?? inner.purge)(key, end),
    watch: (key, signal) => (hooks.watch ?? inner.watch!)(key, signal)
  }
}

/** How many ms a call takes that only waits: by a clock that nothing else on the machine holds up. */
export async function timeOf(call: () => Promise<unknown>): Promise<number> {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  try {
    let isOver = false
    const over = call().finally(() => (isOver = true))
    let ms = 0
    for (; !isOver; ms++) await vi.advanceTimersByTimeAsync(1)
    await over
    // What it has left to be given up later is given up.
    await vi.runOnlyPendingTimersAsync()
    return ms
  } finally {
    vi.useRealTimers()
  }
}
