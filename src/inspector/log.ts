import { DEFAULT_FORMAT, readerOf } from '../adapters/shared/reading.ts'
import { IN_ANY_FORMAT, noSessionThen } from '../content.ts'
import { isTurnlogError } from '../errors.ts'
import type { SessionEvent } from '../event.ts'
import { equalJson, type Json } from '../json.ts'
import { messageSchema, type Message, type StandardSchema } from '../message.ts'
import type { SessionHistoryService } from '../service.ts'
import { sessionNotFound, type Session } from '../session.ts'
import { areSame, shownOf, type Reading } from './messages.ts'
import { eventLine, LogOutline } from './outline.ts'
import type { Change, EventLine, Outline } from './wire.ts'

/** A service, with sessions of whatever messages. */
export type AnyHistory = SessionHistoryService<unknown, unknown>

/** What is stored is taken as it is. */
const ANYTHING: StandardSchema = { '~standard': { version: 1, vendor: 'turnlog', validate: (value) => ({ value }) } }

// A log has messages of as many formats as it was begun with.
const ANY_FORMAT = { [IN_ANY_FORMAT]: true } as const

/** How many logs are kept, more than a tree has, and how many events they may have; and how many messages that had to be read as such, of two versions at least. */
const KEPT = 300
const KEPT_EVENTS = 1_000_000
const KEPT_MESSAGES = 100_000

/** The logs of a service, each read in the format that it has. Keeps what it has read for a while; nothing that matters. */
export class Logs {
  readonly #history: AnyHistory
  readonly #byFormat = new Map<string, AnyHistory>()
  readonly #logs = new Map<string, Log>()
  /** The one that was used last is the last. */
  #readings: { readonly format: string; readonly reading: Reading }[] = []

  constructor(history: AnyHistory) {
    this.#history = history
  }

  /** The log of a session; it need not exist. */
  of(userId: string, sessionId: string): Log {
    const key = JSON.stringify([userId, sessionId])
    const log = this.#logs.get(key) ?? new Log(this, userId, sessionId)
    // The one that was used last is the last.
    this.#logs.delete(key)
    this.#logs.set(key, log)
    let events = [...this.#logs.values()].reduce((sum, each) => sum + each.known, 0)
    for (const [name, oldest] of this.#logs) {
      if (oldest === log || (this.#logs.size <= KEPT && events <= KEPT_EVENTS)) break
      this.#logs.delete(name)
      events -= oldest.known
    }
    return log
  }

  /** The service for sessions of a format, which shows all of their messages. */
  withFormat(format: string): AnyHistory {
    const known = this.#byFormat.get(format)
    if (known) return known
    const schema: StandardSchema = format === DEFAULT_FORMAT ? messageSchema : ANYTHING
    const history: AnyHistory = this.#history.withMessage(schema, { format, maxMessages: Infinity })
    this.#byFormat.set(format, history)
    return history
  }

  /** The messages of a state. */
  async reading(session: Session<unknown> | null): Promise<Reading> {
    if (!session) return { messages: [], items: [] }
    const items = session.messages as readonly Json[]
    if (session.format === DEFAULT_FORMAT) return { messages: items as unknown as readonly Message[], items }
    const { format } = session
    // By the items themselves, which are frozen: a log that was purged and begun anew may have others at the same version and time.
    const known = this.#readings.find((each) => each.format === format && areSame(each.reading.items, items))
    const reading = known?.reading ?? { messages: (await readerOf(format))(items), items }
    this.#readings = [...this.#readings.filter((each) => each !== known), { format, reading }]
    let count = this.#readings.reduce((sum, each) => sum + each.reading.items.length, 0)
    while ((count > KEPT_MESSAGES && this.#readings.length > 2) || this.#readings.length > KEPT)
      count -= this.#readings.shift()!.reading.items.length
    return reading
  }
}

/** How far a log goes, and the session as it is. */
export interface Newest {
  readonly latest: number
  /** `null`: it is deleted. */
  readonly session: Session<unknown> | null
  /** Nobody has used it for longer than it is kept: it is about to be deleted, but is not yet at `latest`. */
  readonly isExpired?: true
  /** The first version that cannot be read: then `latest` is the one before. */
  readonly damagedAt?: number
}

/** The log of one session: what its events are, and its states. Reading it makes no session, and does not count as use. */
export class Log {
  readonly userId: string
  readonly sessionId: string
  readonly #logs: Logs
  /** Of which the session was when it was last asked for. */
  #format = DEFAULT_FORMAT
  #outline = new LogOutline()
  #syncing: Promise<LogOutline> | undefined
  /** Whether the service has been asked for all of it: then it is likely to be in memory. */
  #isRead = false

  constructor(logs: Logs, userId: string, sessionId: string) {
    this.#logs = logs
    this.userId = userId
    this.sessionId = sessionId
  }

  /** Of how many events it keeps something. */
  get known(): number {
    return this.#outline.latest
  }

  get ref(): { readonly userId: string; readonly id: string } {
    return { userId: this.userId, id: this.sessionId }
  }

  /** The log of another session. */
  sibling({ userId, sessionId }: { readonly userId: string; readonly sessionId: string }): Log {
    return this.#logs.of(userId, sessionId)
  }

  /** Asks the service that knows the format of the session. */
  async with<T>(ask: (history: AnyHistory) => Promise<T>): Promise<T> {
    const asked = this.#format
    try {
      return await ask(this.#logs.withFormat(asked))
    } catch (error) {
      if (!isTurnlogError(error, 'FORMAT_MISMATCH') || error.actual === asked) throw error
      this.#format = error.actual
      return ask(this.#logs.withFormat(error.actual))
    }
  }

  /**
   * The session at a version; `null` where it was deleted then.
   *
   * @throws `VERSION_NOT_FOUND`, `CORRUPT_LOG`
   */
  at(version: number): Promise<Session<unknown> | null> {
    return this.with((history) => history.getSession(this.userId, this.sessionId, { at: version, countsAsUse: false }))
  }

  /** The state before an event: `null` where there was no session. */
  before(version: number): Promise<Session<unknown> | null> {
    return version <= 1 ? Promise.resolve(null) : this.at(version - 1)
  }

  /**
   * The newest state that can be read.
   *
   * @throws `SESSION_NOT_FOUND` where there is no log; `CORRUPT_LOG` where nothing of it can be read
   */
  async newest(): Promise<Newest> {
    try {
      const session = await this.with((history) =>
        history.getSession(this.userId, this.sessionId, { missing: 'null', countsAsUse: false })
      )
      this.#isRead = true
      if (session) return { latest: session.version, session }
      const latest = await this.#latestOfAbsent()
      // What has expired is absent, and yet there is a session at each version until the event that says so.
      const then = await this.at(latest)
      return { latest, session: then, ...(then && { isExpired: true as const }) }
    } catch (error) {
      if (!isTurnlogError(error, 'CORRUPT_LOG') || error.version <= 1) throw error
      // What is before the damage is still given. Of a fork, it may be the parent that is damaged: then nothing is.
      const latest = error.version - 1
      return { latest, session: await this.at(latest), damagedAt: error.version }
    }
  }

  /** The newest messages alone, where the log is long and was not read as a whole here: mostly that takes less. Of what is damaged there is none. */
  async end(count: number): Promise<Session<unknown> | undefined> {
    if (this.#isRead) return undefined
    const options = { last: count, missing: 'null', countsAsUse: false } as const
    try {
      const session = await this.with((history) => history.getSession(this.userId, this.sessionId, options))
      return session && session.version >= LONG ? session : undefined
    } catch (error) {
      if (isTurnlogError(error, 'CORRUPT_LOG')) return undefined
      throw error
    }
  }

  // The error for a version that there cannot be knows how far the log goes.
  async #latestOfAbsent(): Promise<number> {
    const latest = await this.at(Number.MAX_SAFE_INTEGER).then(
      () => 0,
      (error: unknown) => {
        if (isTurnlogError(error, 'VERSION_NOT_FOUND')) return error.actual
        throw error
      }
    )
    if (latest === 0) throw sessionNotFound(this.ref)
    return latest
  }

  /**
   * The version that a version, a time or nothing stands for.
   *
   * @throws `VERSION_NOT_FOUND`
   */
  async versionOf(at: number | Date | undefined, { latest }: Newest): Promise<number> {
    if (at === undefined) return latest
    // What was appended since is in the outline, and not in what is answered with.
    const version = typeof at === 'number' ? at : Math.min((await this.#synced()).versionAt(at.getTime()), latest)
    if (version < 1 || version > latest) throw noSessionThen(version, latest, at instanceof Date ? at : undefined)
    return version
  }

  /** The messages of a state. */
  reading(session: Session<unknown> | null): Promise<Reading> {
    return this.#logs.reading(session)
  }

  /** What an event did to the messages of the state before it. */
  async change(
    event: SessionEvent<unknown>,
    before: Session<unknown> | null,
    after: Session<unknown> | null
  ): Promise<Omit<Change, 'metadata'>> {
    const reading = await this.reading(after)
    const count = shownOf(reading).length
    // Most events append a message, and then there is nothing to compare.
    if (event.type === 'message-appended' && after?.format === DEFAULT_FORMAT)
      return { at: count - 1, removed: 0, added: 1 }
    if (UNMOVED.has(event.type)) return { at: count, removed: 0, added: 0 }
    return difference(shownOf(await this.reading(before)), shownOf(reading))
  }

  /** The events of versions `from` to `to`, of whatever formats. */
  events(from: number, to: number): AsyncIterable<SessionEvent<unknown>> {
    const range = { from, to: Math.max(to, from - 1), ...ANY_FORMAT }
    return this.#logs.withFormat(DEFAULT_FORMAT).readEvents(this.userId, this.sessionId, range)
  }

  /**
   * The events from a version on, and then each that is stored. Ends when the session is purged, `signal` is aborted or the
   * service stops.
   */
  live(from: number, signal: AbortSignal): AsyncIterable<SessionEvent<unknown>> {
    const range = { from, signal, ...ANY_FORMAT }
    return this.#logs.withFormat(DEFAULT_FORMAT).subscribe(this.userId, this.sessionId, range)
  }

  /**
   * One event.
   *
   * @throws `SESSION_NOT_FOUND`, `VERSION_NOT_FOUND`
   */
  async event(version: number): Promise<SessionEvent<unknown>> {
    for await (const event of this.events(version, version)) if (event.version === version) return event
    // Which of the two it is, this tells.
    throw noSessionThen(version, (await this.newest()).latest)
  }

  /** Lines for events that follow each other; `format`: of the first, if it is known. */
  lines(format?: string): (event: SessionEvent<unknown>) => Promise<EventLine> {
    return async (event) => {
      if (event.type === 'created') format = event.data.format
      else if (format === undefined || event.type === 'rewound') format = (await this.at(event.version))?.format
      return eventLine(event, await readerOf(format ?? DEFAULT_FORMAT))
    }
  }

  /**
   * The events of versions `from` to `to`, counted in at most `buckets`.
   *
   * @throws `SESSION_NOT_FOUND`
   */
  async outline(from: number, to: number, buckets: number): Promise<Outline> {
    return (await this.#synced()).counted(from, to, buckets)
  }

  /**
   * The rewinds of the log, in order.
   *
   * @throws `SESSION_NOT_FOUND`
   */
  async rewinds(): Promise<Outline['marks']> {
    return (await this.#synced()).rewinds
  }

  /** What events say, as far as there is time until then: by their versions, of the log as its rewinds were read last. */
  async said(versions: Iterable<number>, until: number): Promise<ReadonlyMap<number, string>> {
    const { said } = this.#outline
    const given = new Map<number, string>()
    for (const version of versions) {
      if (version < 1 || version > this.#outline.latest) continue
      if (!said.has(version)) {
        if (performance.now() > until) continue
        // One of a newer release may not be readable.
        const line = await this.event(version).then(this.lines(), () => undefined)
        said.set(version, line?.what ?? '')
      }
      given.set(version, said.get(version)!)
    }
    return given
  }

  // Reads what is new of the events; once at a time.
  #synced(): Promise<LogOutline> {
    this.#syncing ??= this.#sync().finally(() => {
      this.#syncing = undefined
    })
    return this.#syncing
  }

  async #sync(): Promise<LogOutline> {
    const { latest } = await this.newest()
    if (!(await this.#isStill(latest))) this.#outline = new LogOutline()
    const { latest: known } = this.#outline
    await this.#outline.add(this.events(known + 1, latest), latest)
    // It was purged meanwhile.
    if (this.#outline.latest === 0) throw sessionNotFound(this.ref)
    // Or purged and begun anew: then what was added is of another log.
    const hasGrown = known > 0 && this.#outline.latest > known
    return hasGrown && !(await this.#isStill(latest)) ? this.#sync() : this.#outline
  }

  // Where the first or the last event that is known is another now, the session was purged, and begun anew.
  async #isStill(latest: number): Promise<boolean> {
    const { first, last } = this.#outline
    if (!first || !last) return true
    return last.version <= latest && (await this.#isThere(first)) && (await this.#isThere(last))
  }

  async #isThere({ version, id }: SessionEvent<unknown>): Promise<boolean> {
    for await (const event of this.events(version, version)) return event.id === id
    return false
  }
}

/** So many events take about a tenth of a second to read. */
const LONG = 10_000

/** Events that leave the messages as they are. */
const UNMOVED = new Set<string>(['metadata-changed', 'turn-started', 'turn-ended'])

// Where the two begin alike and end alike, and what is between. Messages are frozen and shared by the versions of a session: most are the
// same object; those of adapters are made by each reading.
function difference(a: readonly unknown[], b: readonly unknown[]): Omit<Change, 'metadata'> {
  const shorter = Math.min(a.length, b.length)
  let at = 0
  while (at < shorter && equalJson(a[at] as Json, b[at] as Json)) at++
  let end = 0
  while (end < shorter - at && equalJson(a[a.length - 1 - end] as Json, b[b.length - 1 - end] as Json)) end++
  return { at, removed: a.length - at - end, added: b.length - at - end }
}
