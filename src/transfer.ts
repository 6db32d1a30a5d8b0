import { createHash } from 'node:crypto'
import { idOf, misuse } from './arguments.ts'
import type { Content } from './content.ts'
import type { Engine } from './engine.ts'
import { isTurnlogError, turnlogError, type TurnlogError } from './errors.ts'
import { eventSchema, storedEventSchema, upcast, type StoredEvent } from './event.ts'
import { FoldedLog, inheritedBy } from './folded-log.ts'
import { freezeJson, type JsonObject } from './json.ts'
import type { Import } from './prepare.ts'
import { corruptLog, fold, initialState, sessionNotFound, type SessionState } from './session.ts'
import { keyString, storeFailure, type EventStore, type Head, type SessionKey } from './store.ts'

// A file is a header, the events of one session after the other, and an end. Each line is the JSON of one object, to the
// byte as JSON.stringify makes it: so what is imported is exported again as it was, and no number, key or string can have
// changed on the way without being seen.
const HEADER = { turnlog: 'export', formatVersion: 1 } as const
/** What an export begins with, and its last line. */
export const EXPORT_MARK = '{"turnlog":'
const MARK = Buffer.from(EXPORT_MARK)

/** What is read from: text or UTF-8, in pieces that may end anywhere. A Node stream fits. */
export type ImportSource = AsyncIterable<string | Uint8Array> | Iterable<string | Uint8Array>

/** A session as a file has it: ready to be stored under `key`. */
export interface ImportedSession extends Pick<Import, 'events' | 'states'> {
  readonly key: SessionKey
}

/** How a file is read. */
export interface ReadOptions {
  readonly file: string
  readonly userId: string | undefined
  readonly sessionId: string | undefined
  readonly newEventId: () => string
  readonly onInvalid: ((error: TurnlogError) => void) | undefined
  readonly signal: AbortSignal | undefined
}

/**
 * The lines of an export, each with its line feed: of one session, also a deleted one, or of all live sessions of a user in
 * order of their ids. Each session is of the moment in which it is begun. Holds a page of events, and of a fork what it
 * inherited.
 *
 * @throws `SESSION_NOT_FOUND` where one is named that has no log, or is purged meanwhile
 */
export async function* exportLines(
  engine: Engine,
  userId: string,
  sessionId: string | undefined,
  signal: AbortSignal | undefined
): AsyncGenerator<string> {
  const span = engine.span([signal])
  try {
    span.signal.throwIfAborted()
    const named = sessionId === undefined ? undefined : await headOf(engine, { userId, sessionId })
    if (named === null) throw sessionNotFound({ userId, id: sessionId! })
    for await (const line of framed(eventLines(engine, named ? [named] : liveHeads(engine, userId), span.signal))) {
      if (span.hasEnded) throw span.signal.reason
      yield line
    }
  } catch (error) {
    // Of a store that was closed meanwhile there is no more to say.
    throw span.hasEnded ? span.signal.reason : error
  } finally {
    span.end()
  }
}

/** One export of several, with or without their first and last lines: the sessions of the first, then those of the next. No two may have a session of one name. */
export function joinedExports(exports: AsyncIterable<AsyncIterable<string>>): AsyncGenerator<string> {
  return framed(bareLines(exports))
}

/** An event of a log, and what that comes to with it. */
export interface SoundEvent {
  /** The line that an export has for it. */
  readonly line: string
  readonly state: SessionState
}

/**
 * The events of a log as far as they are sound: the first that cannot be read, or does not fit those before it, is the end. What
 * is the matter then goes to `onDamage`. A commit may be cut in two: what an import stored is one, however long it is.
 *
 * @throws what the store throws but for damage; the signal's reason
 */
export async function* soundEvents(
  store: EventStore,
  { logId, version: to, summary }: Head,
  signal: AbortSignal,
  onDamage: (error: TurnlogError) => void
): AsyncGenerator<SoundEvent> {
  const { userId, sessionId } = summary
  let log = new FoldedLog({ userId, sessionId }, logId)
  try {
    for await (const page of store.read(logId, { to, signal }))
      for (const stored of page) {
        const inherited = stored.version === 1 ? await inheritedBy(store, stored) : undefined
        if (inherited) log = new FoldedLog({ userId, sessionId }, logId, inherited)
        log.fold(stored)
        yield { line: lineOf(inherited ? withContent(stored, inherited) : stored), state: log.state }
      }
    if (log.version < to) throw corruptLog(log.state)
  } catch (error) {
    if (!isTurnlogError(error, 'CORRUPT_LOG') && !isTurnlogError(error, 'UNKNOWN_EVENT')) throw error
    onDamage(error)
  }
}

/**
 * Reads a file whole before it gives anything: the sessions that it holds, in its order, checked down to what each log comes
 * to. With `onInvalid` it leaves what is not sound, and tells of each line in order.
 *
 * @throws `INVALID_IMPORT`; what the source throws; the signal's reason
 */
export async function readImport(source: ImportSource, options: ReadOptions): Promise<ImportedSession[]> {
  const reader = new Reader(options)
  options.signal?.throwIfAborted()
  for await (const line of linesOf(source)) {
    options.signal?.throwIfAborted()
    reader.read(line)
  }
  return reader.finish()
}

// Exporting

async function* framed(lines: AsyncIterable<string>): AsyncGenerator<string> {
  const hash = createHash('sha256')
  const counted = (line: string): string => {
    hash.update(line)
    return line
  }
  yield counted(lineOf(HEADER))
  let events = 0
  for await (const line of lines) {
    events++
    yield counted(line)
  }
  yield lineOf({ turnlog: 'end', events, sha256: hash.digest('hex') })
}

function lineOf(value: object): string {
  return `${JSON.stringify(value)}\n`
}

async function* eventLines(
  engine: Engine,
  heads: Iterable<Head> | AsyncIterable<Head>,
  signal: AbortSignal
): AsyncGenerator<string> {
  for await (const head of heads) for await (const event of eventsOf(engine, head, signal)) yield lineOf(event)
}

// Without their first and last lines.
async function* bareLines(exports: AsyncIterable<AsyncIterable<string>>): AsyncGenerator<string> {
  for await (const lines of exports) for await (const line of lines) if (!line.startsWith(EXPORT_MARK)) yield line
}

async function* liveHeads(engine: Engine, userId: string): AsyncGenerator<Head> {
  const summaries = await engine.ask((store) => store.list(userId))
  for (const sessionId of summaries.map((summary) => summary.sessionId).sort()) {
    const head = await headOf(engine, { userId, sessionId })
    // It may have been deleted or purged since.
    if (head && !head.summary.deleted) yield head
  }
}

function headOf(engine: Engine, key: SessionKey): Promise<Head | null> {
  return engine.ask((store) => store.head(key))
}

async function* eventsOf(engine: Engine, head: Head, signal: AbortSignal): AsyncGenerator<StoredEvent> {
  const { logId, version: to, summary } = head
  const { userId, sessionId } = summary
  const log = { userId, id: sessionId, version: 0 }
  try {
    for await (const page of engine.store.read(logId, { to, signal })) {
      for (const event of page) {
        if (event.version !== log.version + 1) throw corruptLog(log)
        log.version++
        yield log.version === 1 ? await whole(engine, event) : event
      }
    }
    if (log.version < to) throw corruptLog(log)
  } catch (error) {
    const isGone = isTurnlogError(error, 'CORRUPT_LOG') && (await headOf(engine, summary))?.logId !== logId
    throw isGone ? sessionNotFound(log) : storeFailure(error, 'not-stored')
  }
}

// The log that a fork refers to need not be where it is imported.
async function whole(engine: Engine, first: StoredEvent): Promise<StoredEvent> {
  const inherited = await inheritedBy(engine.store, first)
  return inherited ? withContent(first, inherited) : first
}

function withContent(first: StoredEvent, inherited: Content): StoredEvent {
  const { parentLogId: _, ...data } = first.data
  const messages = inherited.messages.toArray()
  return { ...first, data: { ...data, metadata: data['metadata'] ?? inherited.metadata, messages } }
}

// Importing

const LINE_FEED = 10
const CARRIAGE_RETURN = 13

/** Lines with their line feeds; the last may have none. */
export async function* linesOf(source: ImportSource): AsyncGenerator<Buffer> {
  let pieces: Uint8Array[] = []
  for await (const bytes of bytesOf(source)) {
    let start = 0
    for (let end = bytes.indexOf(LINE_FEED); end >= 0; end = bytes.indexOf(LINE_FEED, start)) {
      yield Buffer.concat([...pieces, bytes.subarray(start, end + 1)])
      pieces = []
      start = end + 1
    }
    // A copy, as whoever gave the piece may use its memory again.
    if (start < bytes.length) pieces.push(bytes.slice(start))
  }
  if (pieces.length > 0) yield Buffer.concat(pieces)
}

async function* bytesOf(source: ImportSource): AsyncGenerator<Uint8Array> {
  const given: object | string = typeof source === 'object' && source !== null ? source : [source]
  if (!(Symbol.asyncIterator in given) && !(Symbol.iterator in given)) throw misuse('source', 'iterable', source)
  let half = ''
  for await (const piece of given as ImportSource) {
    if (typeof piece === 'string') {
      // A piece may end between the two halves of a pair.
      const text = half + piece
      half = /[\uD800-\uDBFF]$/.test(text) ? text.slice(-1) : ''
      yield encoded(half ? text.slice(0, -1) : text)
    } else if (piece instanceof Uint8Array) {
      if (half) yield encoded(half)
      half = ''
      yield piece
    } else throw misuse('source', 'made of strings and Uint8Arrays', piece)
  }
  if (half) yield encoded(half)
}

// Half of a pair has no place in UTF-8, and becomes a byte that has none either; U+FFFD would pass for what was meant.
function encoded(text: string): Uint8Array {
  if (text.isWellFormed()) return Buffer.from(text)
  const parts = text.split(/\p{Surrogate}/u).map((part) => Buffer.from(part))
  return Buffer.concat(parts.flatMap((part, i) => (i === 0 ? [part] : [NOT_UTF8, part])))
}

const NOT_UTF8 = Uint8Array.of(0xff)

/** What is wrong with a line. */
class Fault extends Error {}

/** A session while its lines are read. */
interface Reading {
  readonly key: SessionKey
  /** Its name in the file is another. */
  readonly isRenamed: boolean
  readonly events: StoredEvent[]
  /** By version; at 0 that before the first event. */
  readonly states: SessionState[]
  /** The line of its first event; those of the others follow. */
  readonly firstLine: number
  /** Of its newest event, as the file has it. */
  commitId: string | undefined
  /** The line from which on nothing of it is taken. */
  brokenAt: number | undefined
}

class Reader {
  readonly #options: ReadOptions
  readonly #hash = createHash('sha256')
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  /** By name in the file. */
  readonly #sessions = new Map<string, Reading>()
  /** The names that they are to have. */
  readonly #names = new Set<string>()
  /** By the id of an event in the file, the one that it is to have. */
  readonly #ids = new Map<string, string>()
  /** The session of the line before. */
  #current: Reading | undefined
  #line = 0
  #events = 0
  #hasEnded = false
  #lastReported = 0

  constructor(options: ReadOptions) {
    this.#options = options
  }

  /** Takes the next line. */
  read(bytes: Buffer): void {
    this.#line++
    try {
      if (this.#hasEnded) throw new Fault('nothing may come after the last line of an export')
      // Also where it is cut short: no event begins like this.
      if (!bytes.subarray(0, MARK.length).equals(MARK)) this.#event(bytes)
      else if (this.#line === 1) this.#header(bytes)
      else this.#end(bytes)
    } catch (error) {
      if (!(error instanceof Fault)) throw error
      this.#report(error)
    }
  }

  /** What the lines come to. */
  finish(): ImportedSession[] {
    this.#line++
    if (!this.#hasEnded) {
      const fault = new Fault(
        this.#line === 1 ? 'the file is empty' : 'the file ends before the last line of an export'
      )
      // What comes last may be the beginning of a commit.
      this.#breakOff(this.#current)
      this.#report(fault)
    }
    return Array.from(this.#sessions.values())
      .filter(({ events }) => events.length > 0)
      .map(({ key, events, states }) => ({ key, events: Object.freeze(events), states: states.slice(1) }))
  }

  #header(bytes: Buffer): void {
    this.#hash.update(bytes)
    const { turnlog, formatVersion, ...others } = this.#parse(bytes)
    if (turnlog !== HEADER.turnlog) throw new Fault(NO_HEADER)
    if (formatVersion === HEADER.formatVersion && Object.keys(others).length === 0) return
    const shown = JSON.stringify(formatVersion)
    const fault = new Fault(
      `this release reads format version ${HEADER.formatVersion} of exports, and this is ${shown}`
    )
    // Of the lines of a newer format nobody here can say whether they are sound.
    if (typeof formatVersion === 'number' && formatVersion > HEADER.formatVersion) throw this.#invalid(fault)
    throw fault
  }

  #end(bytes: Buffer): void {
    this.#hasEnded = true
    const { turnlog, events, sha256, ...others } = this.#parse(bytes)
    if (turnlog !== 'end' || typeof events !== 'number' || typeof sha256 !== 'string' || Object.keys(others).length > 0)
      throw new Fault('this is not the last line of an export')
    if (events !== this.#events) throw new Fault(`${events} events were exported, and ${this.#events} are there`)
    if (sha256 !== this.#hash.digest('hex'))
      throw new Fault('the file is not as it was exported: its SHA-256 is another')
  }

  #event(bytes: Buffer): void {
    this.#hash.update(bytes)
    this.#events++
    if (this.#line === 1) this.#report(new Fault(NO_HEADER))
    let reading = this.#current
    let value: JsonObject | undefined
    try {
      value = this.#parse(bytes)
      reading = this.#readingOf(value)
      if (reading.brokenAt !== undefined)
        throw new Fault(`of its session, nothing is taken from line ${reading.brokenAt} on`)
      if (reading !== this.#current)
        throw new Fault(`the events of its session stand together, from line ${reading.firstLine}`)
      this.#add(reading, value)
    } catch (error) {
      if (error instanceof Fault) this.#breakOff(reading, value)
      throw error
    }
  }

  #parse(bytes: Buffer): JsonObject {
    if (bytes.at(-1) !== LINE_FEED) throw new Fault('it is cut short: there is no line feed at its end')
    if (bytes.at(-2) === CARRIAGE_RETURN)
      throw new Fault('it ends with CR LF, but lines of an export end with LF: something has changed its line ends')
    const text = attempt('it is not UTF-8', () => this.#decoder.decode(bytes.subarray(0, -1)))
    const value = attempt('it is not JSON', () => JSON.parse(text) as unknown)
    if (!isObject(value)) throw new Fault('it is not a JSON object')
    const again = attempt('it is nested too deep', () => JSON.stringify(freezeJson(value)))
    if (again !== text) throw new Fault('it would not be given back as it is: JSON.stringify writes it in another way')
    return value
  }

  /** The session that an event is of; where it is new, it is the current one. */
  #readingOf({ userId, sessionId }: JsonObject): Reading {
    const named = attempt('it is not an event', () => keyOf(userId, sessionId))
    const name = keyString(named)
    const known = this.#sessions.get(name)
    if (known) return known
    const key = Object.freeze({
      userId: this.#options.userId ?? named.userId,
      sessionId: this.#options.sessionId ?? named.sessionId
    })
    if (this.#names.has(keyString(key))) {
      const shown = `session ${JSON.stringify(key.sessionId)} of user ${JSON.stringify(key.userId)}`
      throw this.#invalid(new Fault(`a second session of the file would be ${shown}`))
    }
    this.#names.add(keyString(key))
    this.#current = {
      key,
      isRenamed: keyString(key) !== name,
      events: [],
      states: [initialState(key)],
      firstLine: this.#line,
      commitId: undefined,
      brokenAt: undefined
    }
    this.#sessions.set(name, this.#current)
    return this.#current
  }

  #add(reading: Reading, value: JsonObject): void {
    const { key, isRenamed, events, states } = reading
    const state = states.at(-1)!
    const stored = checkedEvent(value, state)
    const { id, commitId } = stored
    if (this.#ids.has(id)) throw new Fault('an event before it has the same id')
    if (commitId !== id && commitId !== reading.commitId)
      throw new Fault('the event that its commit begins with is not before it')
    this.#ids.set(id, isRenamed ? idOf('ids.event()', this.#options.newEventId()) : id)
    const ids = { id: this.#ids.get(id)!, commitId: this.#ids.get(commitId)! }
    const event = isRenamed ? Object.freeze({ ...stored, ...key, ...ids }) : stored
    states.push(
      attempt('it does not fit the events before it', () => fold(state, event, (version) => states[version]!))
    )
    events.push(event)
    reading.commitId = commitId
  }

  // Nothing of the session is taken from this line on, which may have `value`. Its last commit is left, too, unless it is
  // known to be whole: a line that cannot be read may be of it.
  #breakOff(reading: Reading | undefined, value?: JsonObject): void {
    if (!reading || reading.brokenAt !== undefined || !this.#options.onInvalid) return
    reading.brokenAt = this.#line
    const { events, states, firstLine } = reading
    const last = events.at(-1)
    if (!last || last.contentHash !== undefined || beginsCommit(value, reading)) return
    const begin = events.findIndex(({ commitId }) => commitId === last.commitId)
    for (let line = firstLine + begin; line < firstLine + events.length; line++)
      this.#report(new Fault(`its commit may not be whole: its session breaks off at line ${this.#line}`), line)
    events.length = begin
    states.length = begin + 1
  }

  #report(fault: Fault, line = this.#line): void {
    const error = this.#invalid(fault, line)
    const { onInvalid } = this.#options
    if (!onInvalid) throw error
    if (line !== this.#lastReported) onInvalid(error)
    this.#lastReported = line
  }

  #invalid({ message, cause }: Fault, line = this.#line): TurnlogError {
    const { file } = this.#options
    return turnlogError(
      'INVALID_IMPORT',
      `${file}:${line}: ${message}`,
      { file, line },
      cause === undefined ? {} : { cause }
    )
  }
}

const NO_HEADER = 'this is not the first line of an export'

// The event as it is, once all is checked that can be without the events before it, but for its place and the session's life.
function checkedEvent(value: JsonObject, { version, updatedAt, isLive }: SessionState): StoredEvent {
  const { success, error } = storedEventSchema.safeParse(value)
  if (!success) throw new Fault(`it is not an event: ${shownIssue(error)}`)
  const stored = value as unknown as StoredEvent
  if (stored.version !== version + 1)
    throw new Fault(`version ${stored.version} follows on version ${version} of its session`)
  if (stored.at < updatedAt) throw new Fault('it is earlier than the event before it')
  if (stored.at > LATEST_TIME) throw new Fault('it is later than any time there is')
  attempt('its ids are not as they must be', () => {
    idOf('id', stored.id)
    idOf('commitId', stored.commitId)
    if (stored.idempotencyKey !== undefined) idOf('idempotencyKey', stored.idempotencyKey)
  })
  const event = attempt('it is not known here', () => upcast(stored))
  // Of a newer release, but one that may be passed over.
  if (!event) return stored
  const ofType = eventSchema.safeParse(event)
  if (!ofType.success) throw new Fault(`it is not a ${event.type} event: ${shownIssue(ofType.error)}`)
  if (event.type === 'created') {
    if (event.data.parentLogId !== undefined) throw new Fault('what it begins with is in another log')
  } else if (!isLive && event.type !== 'rewound') throw new Fault('there is no session that it could be of')
  return stored
}

// Whether what is left off begins with a new commit, right after the events that were taken.
function beginsCommit(value: JsonObject | undefined, { states, commitId: last }: Reading): boolean {
  const { version, commitId } = value ?? {}
  return version === states.length && typeof commitId === 'string' && commitId !== last
}

function shownIssue({
  issues
}: {
  readonly issues: readonly { readonly path: readonly PropertyKey[]; readonly message: string }[]
}): string {
  const [issue] = issues
  return issue ? `${issue.path.map(String).join('.')}: ${issue.message}` : 'its form is another'
}

function keyOf(userId: unknown, sessionId: unknown): SessionKey {
  return { userId: idOf('userId', userId), sessionId: idOf('sessionId', sessionId) }
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function attempt<T>(fault: string, call: () => T): T {
  try {
    return call()
  } catch (cause) {
    throw new Fault(`${fault} (${cause instanceof Error ? cause.message : String(cause)})`, { cause })
  }
}

/** The latest that a `Date` can be. */
const LATEST_TIME = 8.64e15
