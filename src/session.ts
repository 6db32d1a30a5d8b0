import { Immer } from 'immer'
import { isTurnlogError, turnlogError, type ExpectedVersion } from './errors.ts'
import {
  upcast,
  type Envelope,
  type EventOf,
  type Fact,
  type ForkOrigin,
  type SessionEvent,
  type StoredEvent
} from './event.ts'
import { checkFormat, contentAfter, factsOf, NOTHING, type Content, type SessionChange } from './content.ts'
import { freezeJson, type Json, type JsonObject } from './json.ts'
import type { Message } from './message.ts'
import { MessageLog, type ArrayMaker } from './message-log.ts'
import {
  checkHolder,
  endedTurnAfter,
  endOfOther,
  turnAfter,
  type EndedTurn,
  type OpenTurn,
  type TurnState
} from './open-turn.ts'
import { NO_STEPS, stepsAfter, type Steps } from './steps.ts'
import type { SessionKey, Summary } from './store.ts'

/**
 * A session at one version: plain, deeply frozen data that never changes. `messages` is made when it is first read, once;
 * spreading, `JSON.stringify` and `structuredClone` include it.
 */
export interface Session<M = Message> {
  readonly userId: string
  readonly id: string
  /** How many events the log had had. */
  readonly version: number
  /** Milliseconds since the Unix epoch, of the newest `created` event. */
  readonly createdAt: number
  /** Milliseconds since the Unix epoch, of the newest event. */
  readonly updatedAt: number
  readonly messages: readonly M[]
  /** Title, tags, custom state: any JSON. */
  readonly metadata: JsonObject
  /** Names the type of the messages. */
  readonly format: string
  readonly forkedFrom?: ForkOrigin
  /** The turn that is open: nobody else may write. */
  readonly turn?: OpenTurn
}

/** What is known after a prefix of a log: what {@link evolve} folds events into. Messages are JSON: the format checks them. */
export interface SessionState extends Content {
  readonly userId: string
  readonly id: string
  readonly version: number
  readonly isLive: boolean
  readonly createdAt: number
  readonly updatedAt: number
  readonly forkedFrom: ForkOrigin | undefined
  readonly turn: TurnState | undefined
  /** The last turn that its holder has ended. */
  readonly endedTurn: EndedTurn | undefined
  readonly steps: Steps
  readonly keys: IdempotencyKeys
}

/** What may be asked of a session. Messages and metadata are frozen copies that have been checked. */
export type Command =
  | {
      readonly type: 'create'
      readonly format: string
      readonly metadata: JsonObject | undefined
      readonly expectedVersion: ExpectedVersion
    }
  | {
      readonly type: 'commit'
      /** `undo` and `redo` go one step back and forth. */
      readonly changes: readonly SessionChange[] | 'undo' | 'redo'
      readonly format: string
      readonly expectedVersion: ExpectedVersion
      readonly idempotency: { readonly key: string; readonly contentHash: string } | undefined
      readonly ifAbsent: 'nothing' | 'create' | 'throw'
      /** The turn in which it is written. */
      readonly turnId: string | undefined
    }
  | { readonly type: 'delete' }
  /** Deletes what nobody has used for too long, and nothing else. */
  | { readonly type: 'expire' }
  | {
      readonly type: 'fork'
      readonly origin: ForkOrigin
      readonly parentLogId: string
      /** What the parent had then. */
      readonly inherited: Content
    }
  | {
      readonly type: 'start-turn'
      readonly turnId: string
      readonly owner: string | undefined
      readonly ttlMs: number
      /** A takeover ends the turn of another; a renewal is for the one that is open. */
      readonly mode: 'begin' | 'takeover' | 'renewal'
    }
  | {
      readonly type: 'end-turn'
      readonly turnId: string
      readonly outcome: 'completed' | 'aborted'
      readonly setsBack: boolean
    }

/** What a decision needs to know beside the state. */
export interface Circumstances {
  /** Milliseconds since the Unix epoch. */
  readonly now: number
  /** The state at a version of the same log, up to that of the state at hand. */
  readonly past: Past
  /** Nobody has used the session for longer than it is kept: it is absent, and the first thing to be stored says so. */
  readonly isExpired?: boolean
}

/** The state at an earlier version of a log. Of a fork, that at 0 has the content that it begins with. */
export type Past = (version: number) => SessionState

/**
 * What a command comes to: facts to store, one or more; or, where nothing is to be stored, the version that answers it
 * (`null`: there is no session, and the caller is content with that).
 */
export type Decision = { readonly facts: readonly Fact<Json>[] } | { readonly answer: number | null }

/** A session of which there is no log; `inherited` is what a fork begins with. */
export function initialState({ userId, sessionId }: SessionKey, inherited: Content = NOTHING): SessionState {
  return Object.freeze({
    userId,
    id: sessionId,
    version: 0,
    isLive: false,
    createdAt: 0,
    updatedAt: 0,
    messages: inherited.messages,
    metadata: inherited.metadata,
    format: '',
    forkedFrom: undefined,
    turn: undefined,
    endedTurn: undefined,
    steps: NO_STEPS,
    keys: IdempotencyKeys.none
  })
}

/**
 * What `command` comes to in `state`. Pure. Of a commit it looks for the idempotency key first, then at `expectedVersion`,
 * then at whether there is a session, then at who may write.
 *
 * @throws `IDEMPOTENCY_CONFLICT`, `VERSION_CONFLICT`, `SESSION_NOT_FOUND`, `SESSION_EXISTS`, `TURN_BUSY`, `TURN_FENCED`,
 * `TURN_ENDED`, `FORMAT_MISMATCH`, `VERSION_NOT_FOUND`, `NOTHING_TO_UNDO`, `NOTHING_TO_REDO`
 */
export function decide(state: SessionState, command: Command, circumstances: Circumstances): Decision {
  if (!circumstances.isExpired) return decideIn(state, command, circumstances)
  const decision = decideIn(expired(state), command, circumstances)
  if ('answer' in decision) return decision
  return { facts: [{ type: 'deleted', data: { reason: 'expired' } }, ...decision.facts] }
}

/** A session as it is seen once it has expired: as if it were deleted already. */
export function expired(state: SessionState): SessionState {
  return { ...state, ...NOTHING, isLive: false, turn: undefined }
}

function decideIn(state: SessionState, command: Command, { now, past, isExpired }: Circumstances): Decision {
  switch (command.type) {
    case 'create':
      checkExpectedVersion(state, command.expectedVersion)
      return { facts: [created(command.format, command.metadata)] }

    case 'delete':
    case 'expire':
      // The fact that says so deletes it.
      if (isExpired) return { facts: [] }
      return state.isLive && command.type === 'delete' ? { facts: [{ type: 'deleted', data: {} }] } : { answer: null }

    case 'fork': {
      if (state.version > 0) throw sessionExists(state)
      const { inherited, origin: forkedFrom, parentLogId } = command
      return { facts: [{ type: 'created', data: { format: inherited.format, forkedFrom, parentLogId } }] }
    }

    case 'commit':
      return decideCommit(state, command, now, past)

    case 'start-turn': {
      if (command.mode === 'renewal') checkHolder(state, command.turnId)
      if (!state.isLive) throw sessionNotFound(state)
      const { turnId, owner, ttlMs, mode } = command
      const started = { type: 'turn-started', data: { turnId, ttlMs, ...(owner !== undefined && { owner }) } } as const
      return { facts: mode === 'renewal' ? [started] : [...endOfOther(state.turn, now, mode === 'takeover'), started] }
    }

    case 'end-turn': {
      const { turnId, outcome, setsBack } = command
      const { endedTurn } = state
      // Asked again, as the first answer was lost.
      if (endedTurn?.id === turnId && endedTurn.outcome === outcome) return { answer: endedTurn.version }
      checkHolder(state, turnId)
      const toVersion = state.turn!.version
      // Whatever the turn has written is a step, also where it has come back to the same content.
      const hasChanged = state.steps !== past(toVersion).steps
      const ended = { type: 'turn-ended', data: { turnId, outcome } } as const
      if (!setsBack || !hasChanged) return { facts: [ended] }
      return { facts: [{ type: 'rewound', data: { toVersion, kind: 'abort' } }, ended] }
    }
  }
}

function decideCommit(
  state: SessionState,
  command: Extract<Command, { type: 'commit' }>,
  now: number,
  past: Past
): Decision {
  const repeated = repeatOf(state, command.idempotency)
  if (repeated !== undefined) return { answer: repeated }
  checkExpectedVersion(state, command.expectedVersion)
  const { format, turnId } = command
  if (turnId !== undefined) checkHolder(state, turnId)
  // Which step is the newest is known only once nobody else may write.
  else if (typeof command.changes === 'string') endOfOther(state.turn, now)
  const changes = typeof command.changes === 'string' ? [step(state, command.changes)] : command.changes
  const contentAt = (version: number): Content | undefined => {
    const then = version > 0 && version <= state.version ? past(version) : undefined
    return then?.isLive ? then : undefined
  }
  if (state.isLive) {
    checkFormat(state, format)
    const facts = factsOf(changes, state, contentAt, state.version)
    if (facts.length === 0) return { answer: state.version }
    return { facts: turnId === undefined ? [...endOfOther(state.turn, now), ...facts] : facts }
  }
  if (changes[0]?.type === 'rewind' && state.version > 0) {
    // Of its own identity: bringing back a session without messages is an effect, too.
    const nothing = { ...NOTHING, metadata: Object.freeze({}), format }
    return { facts: factsOf(changes, nothing, contentAt, state.version) }
  }
  if (command.ifAbsent === 'throw') throw sessionNotFound(state)
  if (command.ifAbsent === 'nothing') return { answer: null }
  return { facts: [created(format, undefined), ...factsOf(changes, { ...NOTHING, format }, contentAt, state.version)] }
}

/**
 * The state after `event`. Pure; `state` stays as it is. `past` gives the states of the log up to it.
 *
 * @throws `CORRUPT_LOG` where the event goes back to where there was no session
 */
export function evolve(state: SessionState, event: SessionEvent<Json>, past: Past): SessionState {
  if (event.type === 'message-appended' && state.isLive) return appended(state, event, past)
  return next(state, event, (draft) => {
    const steps = stepsAfter(state.steps, event, state.isLive, past)
    const turn = turnAfter(state.turn, event)
    const endedTurn = endedTurnAfter(state.endedTurn, event)
    // Each assignment to a draft costs, also of what is there already.
    if (steps !== state.steps) draft.steps = steps
    if (turn !== state.turn) draft.turn = turn
    if (endedTurn !== state.endedTurn) draft.endedTurn = endedTurn
    switch (event.type) {
      case 'created': {
        const { format, forkedFrom, parentLogId, metadata, messages } = event.data
        const begun = parentLogId === undefined ? NOTHING : past(0)
        draft.isLive = true
        draft.createdAt = event.at
        draft.format = format
        draft.messages = messages ? MessageLog.of(messages) : begun.messages
        draft.metadata = metadata ?? begun.metadata
        draft.forkedFrom = forkedFrom
        break
      }
      case 'deleted':
        draft.isLive = false
        draft.messages = NOTHING.messages
        draft.metadata = NOTHING.metadata
        break
      case 'turn-started':
      case 'turn-ended':
        break
      default: {
        if (event.type === 'rewound' && !isPast(event.data.toVersion, state, past)) throw corruptLog(state)
        const { messages, metadata, format } = contentAfter(state, event, past)
        if (messages !== state.messages) draft.messages = messages
        if (metadata !== state.metadata) draft.metadata = metadata
        if (format !== state.format) draft.format = format
        if (!state.isLive) draft.isLive = true
      }
    }
  })
}

/**
 * The state after what a store gave as the next event: checked for its place, brought to the form of this release.
 *
 * @throws `CORRUPT_LOG`, `UNKNOWN_EVENT`
 */
export function fold(state: SessionState, stored: StoredEvent, past: Past): SessionState {
  if (!isNext(state, stored)) throw corruptLog(state)
  const event = upcast(stored)
  try {
    return event ? evolve(state, event as SessionEvent<Json>, past) : next(state, stored)
  } catch (error) {
    // Its data are not those of its type.
    throw isTurnlogError(error) ? error : corruptLog(state)
  }
}

/** The snapshot of a state; `last`: only that many of the newest messages; `arrays`: what made those of the states before it. */
export function toSession(state: SessionState, last = Infinity, arrays?: ArrayMaker<Json>): Session<Json> {
  const { userId, id, version, createdAt, updatedAt, metadata, format, forkedFrom, turn } = state
  const known: Known = { userId, id, version, createdAt, updatedAt, metadata, format }
  // Assigned, not spread: V8 makes dictionaries of objects that conditional spreads have made.
  if (forkedFrom) known.forkedFrom = forkedFrom
  if (turn) known.turn = turn.shown
  return withMessages(known, state.messages, last, arrays)
}

/** The session that a summary is of, with these messages. */
export function sessionOf(summary: Summary, messages: readonly Json[]): Session<Json> {
  const { userId, sessionId: id, version, createdAt, updatedAt, metadata, format, forkedFrom, turn } = summary
  const session: Mutable<Session<Json>> = {
    userId,
    id,
    version,
    createdAt,
    updatedAt,
    messages,
    // What a store reads from disk is fresh, and not frozen.
    metadata: freezeJson(metadata),
    format
  }
  if (forkedFrom) session.forkedFrom = freezeJson(forkedFrom)
  if (turn) session.turn = freezeJson(turn)
  return Object.freeze(session)
}

/** What a list shows of a session in this state. */
export function toSummary(state: SessionState): Summary {
  const { userId, id: sessionId, version, createdAt, updatedAt, isLive, format, metadata, forkedFrom, turn } = state
  const summary: Mutable<Summary> = {
    userId,
    sessionId,
    version,
    createdAt,
    updatedAt,
    deleted: !isLive,
    format,
    metadata
  }
  if (forkedFrom) summary.forkedFrom = forkedFrom
  if (turn) summary.turn = turn.shown
  return Object.freeze(summary)
}

/** The error for a call that needs a session where there is none. */
export function sessionNotFound({ userId, id }: { readonly userId: string; readonly id: string }): Error {
  const message = `User ${JSON.stringify(userId)} has no session ${JSON.stringify(id)}`
  return turnlogError('SESSION_NOT_FOUND', message, { userId, sessionId: id })
}

/** The error for a log that cannot begin, as there is one of that name. */
export function sessionExists({ userId, id }: { readonly userId: string; readonly id: string }): Error {
  const message = `User ${JSON.stringify(userId)} has, or has had, a session ${JSON.stringify(id)}`
  return turnlogError('SESSION_EXISTS', message, { userId, sessionId: id })
}

/**
 * The idempotency keys that a log has used. Immutable in the manner of the message log: all that grew from one another
 * share one map, and each sees as many of its entries as it had when it was made.
 */
class IdempotencyKeys {
  static readonly none = new IdempotencyKeys(new Map(), 0)

  readonly #uses: Map<string, Use & { readonly place: number }>
  readonly #size: number

  private constructor(uses: Map<string, Use & { readonly place: number }>, size: number) {
    this.#uses = uses
    this.#size = size
  }

  get(key: string): Use | undefined {
    const use = this.#uses.get(key)
    return use && use.place < this.#size ? use : undefined
  }

  with(key: string, contentHash: string, version: number): IdempotencyKeys {
    const isShared = this.#size === 0 || this.#uses.size > this.#size
    const uses = isShared ? new Map([...this.#uses].slice(0, this.#size)) : this.#uses
    uses.set(key, { contentHash, version, place: this.#size })
    return new IdempotencyKeys(uses, this.#size + 1)
  }
}

/** A commit that had an idempotency key: what was asked, and the version that it led to. */
interface Use {
  readonly contentHash: string
  readonly version: number
}

/** A state while it is being changed: its values are replaced, whole. */
type Draft = { -readonly [K in keyof SessionState]: SessionState[K] }

// An instance of our own: the settings of immer's global one are the application's. What enters a state is frozen
// already, so immer need not look for things to freeze.
const { produce } = new Immer({ autoFreeze: false })

function next(state: SessionState, envelope: Envelope, change?: (draft: Draft) => void): SessionState {
  const { version, at } = envelope
  const keys = keysAfter(state.keys, envelope)
  const recipe = (draft: Draft): void => {
    draft.version = version
    draft.updatedAt = at
    // Also of an event that is passed over: its commit must not be repeated.
    if (keys !== state.keys) draft.keys = keys
    change?.(draft)
  }
  return Object.freeze(produce(state, recipe as (draft: unknown) => void))
}

function keysAfter(keys: IdempotencyKeys, { version, idempotencyKey, contentHash }: Envelope): IdempotencyKeys {
  const isKeyed = idempotencyKey !== undefined && contentHash !== undefined
  return isKeyed ? keys.with(idempotencyKey, contentHash, version) : keys
}

// Nearly all events are of this type, and a draft takes as long as the rest of an append: the same, written out.
function appended(state: SessionState, event: EventOf<'message-appended', Json>, past: Past): SessionState {
  const { version, at } = event
  return Object.freeze({
    userId: state.userId,
    id: state.id,
    version,
    isLive: true,
    createdAt: state.createdAt,
    updatedAt: at,
    messages: state.messages.push(event.data.message),
    metadata: state.metadata,
    format: state.format,
    forkedFrom: state.forkedFrom,
    turn: turnAfter(state.turn, event),
    endedTurn: state.endedTurn,
    steps: stepsAfter(state.steps, event, true, past),
    keys: keysAfter(state.keys, event)
  })
}

function isPast(version: number, state: SessionState, past: Past): boolean {
  return version > 0 && version <= state.version && past(version).isLive
}

// The step that undo or redo takes, as a change.
function step({ steps, userId, id, isLive }: SessionState, kind: 'undo' | 'redo'): SessionChange {
  if (!isLive) throw sessionNotFound({ userId, id })
  const toVersion = kind === 'undo' ? steps.undo?.from : steps.redo?.to
  if (toVersion !== undefined) return { type: 'rewind', toVersion, kind }
  const code = kind === 'undo' ? 'NOTHING_TO_UNDO' : 'NOTHING_TO_REDO'
  throw turnlogError(code, `Session ${JSON.stringify(id)} has nothing to ${kind}`, { userId, sessionId: id })
}

function created(format: string, metadata: JsonObject | undefined): Fact<Json> {
  return { type: 'created', data: metadata ? { metadata, format } : { format } }
}

function repeatOf(
  { keys }: SessionState,
  idempotency: { readonly key: string; readonly contentHash: string } | undefined
): number | undefined {
  const use = idempotency && keys.get(idempotency.key)
  if (!use || use.contentHash === idempotency.contentHash) return use?.version
  const message = `The idempotency key ${JSON.stringify(idempotency.key)} was used before, with other content`
  throw turnlogError('IDEMPOTENCY_CONFLICT', message, { idempotencyKey: idempotency.key })
}

function checkExpectedVersion({ version, isLive }: SessionState, expected: ExpectedVersion): void {
  const isMet =
    expected === 'any' || (expected === 'none' ? !isLive : expected === 'exists' ? isLive : expected === version)
  if (isMet) return
  const message = `Expected ${typeof expected === 'number' ? `version ${expected}` : `"${expected}"`}; the log is at version ${version}`
  throw turnlogError('VERSION_CONFLICT', message, { expected, actual: version })
}

function isNext(state: SessionState, { version, at, userId, sessionId, data }: StoredEvent): boolean {
  return (
    version === state.version + 1 &&
    typeof at === 'number' &&
    at >= state.updatedAt &&
    userId === state.userId &&
    sessionId === state.id &&
    typeof data === 'object' &&
    data !== null
  )
}

/** The error for a log whose next event is missing or cannot be right. */
export function corruptLog({ userId, id, version }: Pick<SessionState, 'userId' | 'id' | 'version'>): Error {
  const message = `The log of session ${JSON.stringify(id)} of user ${JSON.stringify(userId)} is damaged at version ${version + 1}`
  return turnlogError('CORRUPT_LOG', message, { userId, sessionId: id, version: version + 1 })
}

/** A session before it gets its messages. */
type Known = Mutable<Omit<Session<Json>, 'messages'>>

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

class GivenObject {
  constructor(object: object) {
    return object
  }
}

/**
 * Gives an object the property `messages`, made when it is first read. An own, enumerable getter: unlike one of a class it
 * is taken along by spread, JSON and `structuredClone`. What it reads sits in private fields, and the getter is the same
 * function for all, as V8 makes objects with getters of their own into slow dictionaries.
 */
class LazyMessages extends GivenObject {
  readonly #log: MessageLog<Json>
  readonly #last: number
  #arrays: ArrayMaker<Json> | undefined
  #messages: readonly Json[] | undefined

  constructor(object: object, log: MessageLog<Json>, last: number, arrays: ArrayMaker<Json> | undefined) {
    super(object)
    this.#log = log
    this.#last = last
    this.#arrays = arrays
  }

  static read(session: LazyMessages): readonly Json[] {
    if (session.#messages) return session.#messages
    const log = session.#log
    const isWhole = session.#last >= log.length
    const messages =
      isWhole && session.#arrays ? session.#arrays.arrayOf(log) : LazyMessages.newest(session, session.#last)
    LazyMessages.letGo(session)
    return (session.#messages = Object.freeze(messages))
  }

  static letGo(session: LazyMessages): void {
    session.#arrays = undefined
  }

  static newest(session: LazyMessages, count: number): Json[] {
    const log = session.#log
    return log.toArray(Math.max(0, log.length - count))
  }
}

/** The newest messages of a session that a write has given, also those that it does not show. */
export function newestMessages(session: Session<Json>, count: number): readonly Json[] {
  return LazyMessages.newest(session as object as LazyMessages, count)
}

/** Says that there is a newer snapshot: what makes arrays has what came later, which whoever keeps this one must not keep. */
export function makeOld(session: Session<Json>): void {
  LazyMessages.letGo(session as object as LazyMessages)
}

const MESSAGES = {
  enumerable: true,
  get(this: LazyMessages) {
    return LazyMessages.read(this)
  }
}

// Node would show [Getter].
const INSPECT = {
  value(this: Session<Json>): object {
    return { ...this }
  }
}

function withMessages(
  known: Omit<Session<Json>, 'messages'>,
  log: MessageLog<Json>,
  last: number,
  arrays: ArrayMaker<Json> | undefined
): Session<Json> {
  new LazyMessages(known, log, last, arrays)
  Object.defineProperty(known, 'messages', MESSAGES)
  Object.defineProperty(known, Symbol.for('nodejs.util.inspect.custom'), INSPECT)
  return Object.freeze(known) as Session<Json>
}
