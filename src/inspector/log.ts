import { DEFAULT_FORMAT, readerOf } from '../adapters/shared/reading.ts'
import { isTurnlogError } from '../errors.ts'
import type { SessionEvent } from '../event.ts'
import type { Json } from '../json.ts'
import { messageSchema, type Message, type StandardSchema } from '../message.ts'
import type { SessionHistoryService } from '../service.ts'
import { sessionNotFound, type Session } from '../session.ts'
import { countOf, kindOf, lineOf, problemOf, short, type Reading } from './messages.ts'
import type { Change, EventLine, Kind, Outline } from './wire.ts'

/** A service, with sessions of whatever messages. */
export type AnyHistory = SessionHistoryService<unknown, unknown>

type Reader = Awaited<ReturnType<typeof readerOf>>

/** What is stored is taken as it is. */
const ANYTHING: StandardSchema = { '~standard': { version: 1, vendor: 'turnlog', validate: (value) => ({ value }) } }

/** Later than all events: reads the newest state as one of the past, which does not count as use of the session. */
const END_OF_TIME = new Date(8.64e15)

/** How many outlines and readings are kept. */
const KEPT = 16

/** The logs of a service, each read in the format that it has. Keeps what it has read for a while; nothing that matters. */
export class Logs {
  readonly #history: AnyHistory
  readonly #byFormat = new Map<string, AnyHistory>()
  readonly #logs = new Map<string, Log>()

  constructor(history: SessionHistoryService<unknown, unknown>) {
    this.#history = history
  }

  /** The log of a session; it need not exist. */
  of(userId: string, sessionId: string): Log {
    const key = JSON.stringify([userId, sessionId])
    const log = this.#logs.get(key) ?? new Log(this, userId, sessionId)
    // The one that was used last is the last.
    this.#logs.delete(key)
    this.#logs.set(key, log)
    for (const oldest of this.#logs.keys()) {
      if (this.#logs.size <= KEPT) break
      this.#logs.delete(oldest)
    }
    return log
  }

  /** The service for sessions of a format. */
  withFormat(format: string | undefined): AnyHistory {
    if (format === undefined) return this.#history
    const known = this.#byFormat.get(format)
    if (known) return known
    const schema: StandardSchema = format === DEFAULT_FORMAT ? messageSchema : ANYTHING
    const history: AnyHistory = this.#history.withMessage(schema, { format, maxMessages: Infinity })
    this.#byFormat.set(format, history)
    return history
  }
}

/** The log of one session: what its events are, and its states. */
export class Log {
  readonly userId: string
  readonly sessionId: string
  readonly #logs: Logs
  #format: string | undefined
  /** Of the events up to {@link latest}. */
  #outline = emptyOutline()
  #syncing: Promise<void> | undefined
  readonly #readings = new Map<string, Promise<Reading>>()

  constructor(logs: Logs, userId: string, sessionId: string) {
    this.#logs = logs
    this.userId = userId
    this.sessionId = sessionId
  }

  get ref(): { readonly userId: string; readonly id: string } {
    return { userId: this.userId, id: this.sessionId }
  }

  /** The log of another session. */
  sibling({ userId, sessionId }: { readonly userId: string; readonly sessionId: string }): Log {
    return this.#logs.of(userId, sessionId)
  }

  /** The service that knows the format of the session, asked again with the right one where it has changed. */
  async with<T>(ask: (history: AnyHistory) => Promise<T>): Promise<T> {
    try {
      return await ask(this.#logs.withFormat(this.#format))
    } catch (error) {
      if (!isTurnlogError(error, 'FORMAT_MISMATCH') || error.actual === this.#format) throw error
      this.#format = error.actual
      return ask(this.#logs.withFormat(this.#format))
    }
  }

  /** The session at a version or time, by default now; `null` where it was deleted then. @throws `VERSION_NOT_FOUND` */
  async session(at: number | Date = END_OF_TIME): Promise<Session<unknown> | null> {
    const session = await this.with((history) => history.getSession(this.userId, this.sessionId, { at }))
    if (session) this.#format ??= session.format
    return session
  }

  /** The newest version. @throws `SESSION_NOT_FOUND` where there is no log */
  async latest(): Promise<number> {
    const session = await this.session()
    if (session) return session.version
    // One that is deleted, or none: the error knows how far the log goes.
    const version = await this.session(Number.MAX_SAFE_INTEGER).then(
      () => 0,
      (error: unknown) => {
        if (isTurnlogError(error, 'VERSION_NOT_FOUND')) return error.actual
        throw error
      }
    )
    if (version === 0) throw sessionNotFound(this.ref)
    return version
  }

  /** The messages of a state. */
  async reading(session: Session<unknown> | null): Promise<Reading> {
    if (!session) return { messages: [], items: [] }
    if (session.format === DEFAULT_FORMAT) {
      const messages = session.messages as readonly Message[]
      return { messages, items: messages as unknown as readonly Json[] }
    }
    const key = `${session.version} ${session.createdAt} ${session.updatedAt}`
    const reading = this.#readings.get(key) ?? read(session)
    this.#readings.delete(key)
    this.#readings.set(key, reading)
    for (const oldest of this.#readings.keys()) {
      if (this.#readings.size <= KEPT) break
      this.#readings.delete(oldest)
    }
    return reading
  }

  /** What an event did to the messages and the metadata of the version before. */
  async change(event: SessionEvent<unknown>, after: Session<unknown> | null): Promise<Omit<Change, 'metadata'>> {
    const reading = await this.reading(after)
    const count = countOf(reading)
    // Most events append a message, and then there is nothing to compare.
    if (event.type === 'message-appended' && after?.format === DEFAULT_FORMAT)
      return { at: count - 1, removed: 0, added: 1 }
    if (['metadata-changed', 'turn-started', 'turn-ended'].includes(event.type))
      return { at: count, removed: 0, added: 0 }
    const before = await this.reading(await this.before(event.version))
    return difference(before, reading)
  }

  /** The state before an event: `null` where there was no session. */
  before(version: number): Promise<Session<unknown> | null> {
    return version <= 1 ? Promise.resolve(null) : this.session(version - 1)
  }

  /** The events of versions `from` to `to`, of whatever formats. */
  async *events(
    from: number,
    to: number | undefined,
    signal?: AbortSignal
  ): AsyncGenerator<SessionEvent<unknown>, undefined> {
    let format = this.#format
    for (let next = from; ;) {
      try {
        const history = this.#logs.withFormat(format)
        for await (const event of history.readEvents(this.userId, this.sessionId, { from: next, to, signal })) {
          next = event.version + 1
          yield event
        }
        return
      } catch (error) {
        // It has started over with messages of another format; or this is the first that is asked.
        if (!isTurnlogError(error, 'FORMAT_MISMATCH') || error.actual === format) throw error
        format = error.actual
        if (next === from) this.#format = format
      }
    }
  }

  /** The events from a version on, and then each that is stored. Ends when the session is purged, or `signal` is aborted. */
  async *live(from: number, signal: AbortSignal): AsyncGenerator<SessionEvent<unknown>, undefined> {
    // What is there, in whatever formats; then the format is known.
    await this.latest()
    let next = from
    for await (const event of this.events(from, undefined, signal)) {
      next = event.version + 1
      yield event
    }
    yield* this.#logs.withFormat(this.#format).subscribe(this.userId, this.sessionId, { from: next, signal })
  }

  /** One event. @throws `SESSION_NOT_FOUND`, `VERSION_NOT_FOUND` */
  async event(version: number): Promise<SessionEvent<unknown>> {
    for await (const event of this.events(version, version)) return event
    // Which of the two it is, these tell.
    const latest = await this.latest()
    await this.session(Math.max(version, latest + 1))
    throw sessionNotFound(this.ref)
  }

  /** An event on a line. */
  async line(event: SessionEvent<unknown>, bytes = Buffer.byteLength(JSON.stringify(event))): Promise<EventLine> {
    const read = await readerOf(this.#format ?? DEFAULT_FORMAT)
    const { version, at, type, commitId, turnId, data } = event
    const { kind, what, problem } = described(event, read)
    return {
      version,
      at,
      type,
      kind,
      what: short(what),
      bytes,
      commitId,
      ...(turnId !== undefined && { turnId }),
      ...(type === 'rewound' && { toVersion: data.toVersion }),
      ...(problem !== undefined && { problem })
    }
  }

  /** The events of versions `from` to `to`, counted in at most `buckets`. @throws `SESSION_NOT_FOUND` */
  async outline(from: number, to: number, buckets: number): Promise<Outline> {
    // By this the format is known.
    await this.latest()
    await this.sync()
    const { kinds, times, problems, marks } = this.#outline
    const latest = kinds.length
    if (latest === 0) throw sessionNotFound(this.ref)
    const last = Math.min(to, latest)
    const first = Math.max(1, Math.min(from, last))
    const span = Math.max(1, Math.ceil((last - first + 1) / buckets))
    const counted: Partial<Record<Kind | 'problem', number>>[] = []
    for (let start = first; start <= last; start += span) {
      const bucket: Partial<Record<Kind | 'problem', number>> = {}
      for (let version = start; version < Math.min(start + span, last + 1); version++) {
        const kind = KINDS[kinds[version - 1]!]!
        bucket[kind] = (bucket[kind] ?? 0) + 1
        if (problems.has(version)) bucket.problem = (bucket.problem ?? 0) + 1
      }
      counted.push(bucket)
    }
    return {
      latest,
      from: first,
      to: last,
      span,
      buckets: counted,
      fromAt: times[first - 1]!,
      toAt: times[last - 1]!,
      marks: marks.filter(({ version }) => version >= first && version <= last).slice(-500)
    }
  }

  /** The rewinds of the log, in order. */
  async rewinds(): Promise<Outline['marks']> {
    await this.sync()
    return this.#outline.marks.filter(({ kind }) => kind === 'rewound')
  }

  /** Reads what is new of the events; once at a time. */
  sync(): Promise<void> {
    this.#syncing ??= this.#sync().finally(() => {
      this.#syncing = undefined
    })
    return this.#syncing
  }

  async #sync(): Promise<void> {
    const { kinds, lastId } = this.#outline
    if (kinds.length > 0) {
      // The last that is known again: where it is another, the session was purged, and begun anew.
      let isSame = false
      for await (const event of this.events(kinds.length, undefined)) {
        if (event.version === kinds.length && event.id === lastId) isSame = true
        else if (!isSame) break
        else await this.#note(event)
      }
      if (isSame) return
      this.#outline = emptyOutline()
      this.#readings.clear()
    }
    for await (const event of this.events(1, undefined)) await this.#note(event)
  }

  async #note(event: SessionEvent<unknown>): Promise<void> {
    const read = (this.#reader ??= await readerOf(this.#format ?? DEFAULT_FORMAT))
    const { kind, problem } = described(event, read, false)
    const { kinds, times, problems, marks } = this.#outline
    kinds.push(KINDS.indexOf(kind))
    times.push(event.at)
    this.#outline.lastId = event.id
    if (problem !== undefined) problems.add(event.version)
    if (event.type === 'rewound')
      marks.push({ version: event.version, kind, toVersion: event.data.toVersion, rewind: event.data.kind })
    else if (event.type === 'turn-started') marks.push({ version: event.version, kind, turn: 'begins' })
    else if (event.type === 'turn-ended') marks.push({ version: event.version, kind, turn: 'ends' })
    else if (MARKED.has(kind)) marks.push({ version: event.version, kind })
  }

  #reader: Reader | undefined
}

const KINDS: readonly Kind[] = [
  'created',
  'user',
  'assistant',
  'tool',
  'system',
  'message',
  'replaced',
  'truncated',
  'metadata',
  'rewound',
  'turn',
  'deleted'
]

const MARKED = new Set<Kind>(['created', 'rewound', 'turn', 'deleted', 'truncated'])

function emptyOutline(): {
  readonly kinds: number[]
  readonly times: number[]
  readonly problems: Set<number>
  readonly marks: Outline['marks'][number][]
  lastId: string
} {
  return { kinds: [], times: [], problems: new Set(), marks: [], lastId: '' }
}

async function read({ format, messages }: Session<unknown>): Promise<Reading> {
  const items = messages as readonly Json[]
  return { messages: (await readerOf(format))(items), items }
}

// Where the two begin alike and end alike, and what is between. Messages are frozen and shared by the versions of a session: most are the
// same object; those of adapters are made by each reading.
function difference(before: Reading, after: Reading): Omit<Change, 'metadata'> {
  const [a, b] = [before.messages ?? before.items, after.messages ?? after.items] as [readonly Json[], readonly Json[]]
  const isSame = (i: number, j: number): boolean => a[i] === b[j] || JSON.stringify(a[i]) === JSON.stringify(b[j])
  const shorter = Math.min(a.length, b.length)
  let at = 0
  while (at < shorter && isSame(at, at)) at++
  let end = 0
  while (end < shorter - at && isSame(a.length - 1 - end, b.length - 1 - end)) end++
  return { at, removed: a.length - at - end, added: b.length - at - end }
}

function described(
  event: SessionEvent<unknown>,
  read: Reader,
  isWhole = true
): { readonly kind: Kind; readonly what: string; readonly problem?: string } {
  switch (event.type) {
    case 'message-appended':
    case 'message-replaced': {
      const item = event.data.message
      const message = read([item])?.[0]
      const problem = message && problemOf(message)
      const speaker = message ? kindOf(message) : 'message'
      return {
        kind: event.type === 'message-appended' ? speaker : 'replaced',
        what: isWhole ? lineOf(message ?? item) : '',
        ...(problem !== undefined && { problem })
      }
    }
    case 'created': {
      const { forkedFrom, format } = event.data
      return { kind: 'created', what: forkedFrom ? `fork of ${forkedFrom.sessionId}@${forkedFrom.version}` : format }
    }
    case 'messages-truncated':
      return { kind: 'truncated', what: `the first ${event.data.length} messages are left` }
    case 'metadata-changed':
      return {
        kind: 'metadata',
        what: [...Object.keys(event.data.set), ...event.data.unset.map((key) => `-${key}`)].join(' ')
      }
    case 'rewound': {
      const { kind, toVersion, reason } = event.data
      return { kind: 'rewound', what: `${kind} to version ${toVersion}${reason === undefined ? '' : `: ${reason}`}` }
    }
    case 'turn-started':
      return { kind: 'turn', what: `a turn of ${event.data.owner ?? event.data.turnId} begins` }
    case 'turn-ended':
      return { kind: 'turn', what: `the turn is ${event.data.outcome}` }
    case 'deleted':
      return { kind: 'deleted', what: event.data.reason ?? '' }
  }
}
