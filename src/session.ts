import { Immer } from 'immer'
import { isTurnlogError, turnlogError, type ExpectedVersion } from './errors.ts'
import { upcast, type Envelope, type Fact, type ForkOrigin, type SessionEvent, type StoredEvent } from './event.ts'
import { equalJson, type Json, type JsonObject } from './json.ts'
import type { Message } from './message.ts'
import { MessageLog } from './message-log.ts'
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
}

/** What is known after a prefix of a log: what {@link evolve} folds events into. Messages are `unknown`: the format checks them. */
export interface SessionState {
  readonly userId: string
  readonly id: string
  readonly version: number
  readonly isLive: boolean
  readonly createdAt: number
  readonly updatedAt: number
  readonly messages: MessageLog<Json>
  readonly metadata: JsonObject
  readonly format: string
  readonly forkedFrom: ForkOrigin | undefined
  readonly keys: IdempotencyKeys
}

/** One change of a commit. */
export type SessionChange =
  | { readonly type: 'append'; readonly messages: readonly Json[] }
  | { readonly type: 'put'; readonly message: Json }
  | { readonly type: 'truncate'; readonly length: number }
  | { readonly type: 'metadata'; readonly set: JsonObject; readonly unset: readonly string[] }

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
      readonly changes: readonly SessionChange[]
      readonly format: string
      readonly expectedVersion: ExpectedVersion
      readonly idempotency: { readonly key: string; readonly contentHash: string } | undefined
      readonly ifAbsent: 'nothing' | 'create' | 'throw'
    }
  | { readonly type: 'delete'; readonly reason: string | undefined }

/**
 * What a command comes to: facts to store, one or more; or, where nothing is to be stored, the version that answers it
 * (`null`: there is no session, and the caller is content with that).
 */
export type Decision = { readonly facts: readonly Fact<Json>[] } | { readonly answer: number | null }

/** A session of which there is no log. */
export function initialState({ userId, sessionId }: SessionKey): SessionState {
  return Object.freeze({
    userId,
    id: sessionId,
    version: 0,
    isLive: false,
    createdAt: 0,
    updatedAt: 0,
    messages: NOTHING.messages,
    metadata: NOTHING.metadata,
    format: '',
    forkedFrom: undefined,
    keys: IdempotencyKeys.none
  })
}

/**
 * What `command` comes to in `state`. Pure; looks for the idempotency key first, then at `expectedVersion`, then at
 * whether there is a session.
 *
 * @throws `IDEMPOTENCY_CONFLICT`, `VERSION_CONFLICT`, `SESSION_NOT_FOUND`, `FORMAT_MISMATCH`
 */
export function decide(state: SessionState, command: Command): Decision {
  switch (command.type) {
    case 'create':
      checkExpectedVersion(state, command.expectedVersion)
      return { facts: [created(command.format, command.metadata)] }

    case 'delete': {
      if (!state.isLive) return { answer: null }
      const { reason } = command
      return { facts: [{ type: 'deleted', data: reason === undefined ? {} : { reason } }] }
    }

    case 'commit': {
      const repeated = repeatOf(state, command.idempotency)
      if (repeated !== undefined) return { answer: repeated }
      checkExpectedVersion(state, command.expectedVersion)
      if (state.isLive) {
        checkFormat(state, command.format)
        const facts = factsOf(command.changes, state)
        return facts.length > 0 ? { facts } : { answer: state.version }
      }
      if (command.ifAbsent === 'throw') throw sessionNotFound(state)
      if (command.ifAbsent === 'nothing') return { answer: null }
      return { facts: [created(command.format, undefined), ...factsOf(command.changes, NOTHING)] }
    }
  }
}

/** The state after `event`. Pure; `state` stays as it is. */
export function evolve(state: SessionState, event: SessionEvent<Json>): SessionState {
  return next(state, event, (draft) => {
    switch (event.type) {
      case 'created':
        draft.isLive = true
        draft.createdAt = event.at
        draft.format = event.data.format
        draft.messages = NOTHING.messages
        draft.metadata = event.data.metadata ?? NOTHING.metadata
        draft.forkedFrom = event.data.forkedFrom
        break
      case 'deleted':
        draft.isLive = false
        draft.messages = NOTHING.messages
        draft.metadata = NOTHING.metadata
        break
      default: {
        const { messages, metadata } = apply(state, event)
        draft.messages = messages
        draft.metadata = metadata
      }
    }
  })
}

/**
 * The state after what a store gave as the next event: checked for its place, brought to the form of this release.
 *
 * @throws `CORRUPT_LOG`, `UNKNOWN_EVENT`
 */
export function fold(state: SessionState, stored: StoredEvent): SessionState {
  if (!isNext(state, stored)) throw corruptLog(state)
  const event = upcast(stored)
  try {
    return event ? evolve(state, event as SessionEvent<Json>) : next(state, stored)
  } catch (error) {
    // Its data are not those of its type.
    throw isTurnlogError(error) ? error : corruptLog(state)
  }
}

/** The snapshot of a state; `last`: only that many of the newest messages. */
export function toSession(state: SessionState, last = Infinity): Session<Json> {
  const { userId, id, version, createdAt, updatedAt, metadata, format, forkedFrom } = state
  const known = { userId, id, version, createdAt, updatedAt, metadata, format }
  return withMessages(forkedFrom ? { ...known, forkedFrom } : known, state.messages, last)
}

/** What a list shows of a session in this state. */
export function toSummary(state: SessionState): Summary {
  const { userId, id: sessionId, version, createdAt, updatedAt, isLive, format, metadata, forkedFrom } = state
  const summary = { userId, sessionId, version, createdAt, updatedAt, deleted: !isLive, format, metadata }
  return Object.freeze(forkedFrom ? { ...summary, forkedFrom } : summary)
}

/** The error for a call that needs a session where there is none. */
export function sessionNotFound({ userId, id }: { readonly userId: string; readonly id: string }): Error {
  const message = `User ${JSON.stringify(userId)} has no session ${JSON.stringify(id)}`
  return turnlogError('SESSION_NOT_FOUND', message, { userId, sessionId: id })
}

/** @throws `FORMAT_MISMATCH` where the messages of a session are not of the format `expected`. */
export function checkFormat({ format: actual }: { readonly format: string }, expected: string): void {
  if (actual === expected) return
  const message = `The session holds messages of the format ${JSON.stringify(actual)}, not ${JSON.stringify(expected)}`
  throw turnlogError('FORMAT_MISMATCH', message, { expected, actual })
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

/** The part of a state that changes in a commit. */
type Content = Pick<SessionState, 'messages' | 'metadata'>

type ContentFact = Exclude<Fact<Json>, { type: 'created' | 'deleted' }>

const NOTHING: Content = { messages: MessageLog.empty<Json>(), metadata: Object.freeze({}) }

// An instance of our own: the settings of immer's global one are the application's. What enters a state is frozen
// already, so immer need not look for things to freeze.
const { produce } = new Immer({ autoFreeze: false })

function next(
  state: SessionState,
  { version, at, idempotencyKey, contentHash }: Envelope,
  change?: (draft: Draft) => void
): SessionState {
  const recipe = (draft: Draft): void => {
    draft.version = version
    draft.updatedAt = at
    // Also of an event that is passed over: its commit must not be repeated.
    if (idempotencyKey !== undefined && contentHash !== undefined) {
      draft.keys = state.keys.with(idempotencyKey, contentHash, version)
    }
    change?.(draft)
  }
  return Object.freeze(produce(state, recipe as (draft: unknown) => void))
}

// What the changes of a commit come to, one upon the other; what changes nothing comes to no fact.
function factsOf(changes: readonly SessionChange[], content: Content): ContentFact[] {
  const facts: ContentFact[] = []
  let applied = 0
  // Only where it is looked at: what is pushed here goes into the room of the list that evolve would push into.
  const current = (): Content => {
    for (; applied < facts.length; applied++) content = apply(content, facts[applied]!)
    return content
  }
  for (const change of changes) {
    switch (change.type) {
      case 'append':
        for (const message of change.messages) facts.push({ type: 'message-appended', data: { message } })
        break
      case 'put': {
        const { message } = change
        const { messages } = current()
        const index = lastOfSameId(messages, message)
        if (index < 0) facts.push({ type: 'message-appended', data: { message } })
        else if (!equalJson(messages.get(index), message)) facts.push({ type: 'message-replaced', data: { message } })
        break
      }
      case 'truncate': {
        const { length } = change
        if (length < current().messages.length) facts.push({ type: 'messages-truncated', data: { length } })
        break
      }
      case 'metadata': {
        const fact = metadataChanged(current().metadata, change.set, change.unset)
        if (fact) facts.push(fact)
      }
    }
  }
  return facts
}

function apply({ messages, metadata }: Content, { type, data }: ContentFact): Content {
  switch (type) {
    case 'message-appended':
      return { messages: messages.push(data.message), metadata }
    case 'message-replaced':
      return { messages: messages.replace(indexOfSameId(messages, data.message), data.message), metadata }
    case 'messages-truncated':
      return { messages: messages.take(data.length), metadata }
    case 'metadata-changed': {
      const changed: Record<string, Json> = { ...metadata, ...data.set }
      for (const key of data.unset) delete changed[key]
      return { messages, metadata: Object.freeze(changed) }
    }
  }
}

function metadataChanged(metadata: JsonObject, set: JsonObject, unset: readonly string[]): ContentFact | undefined {
  const changes = Object.entries(set).filter(
    ([key, value]) => !Object.hasOwn(metadata, key) || !equalJson(metadata[key], value)
  )
  const gone = [...new Set(unset)].filter((key) => Object.hasOwn(metadata, key))
  if (changes.length === 0 && gone.length === 0) return undefined
  return {
    type: 'metadata-changed',
    data: { set: Object.freeze(Object.fromEntries(changes)), unset: Object.freeze(gone) }
  }
}

function lastOfSameId(messages: MessageLog<Json>, message: Json): number {
  const { id } = message as JsonObject
  // Of a format of its own, a message may be any JSON, null too.
  return messages.findLastIndex((other) => (other as JsonObject | null)?.['id'] === id)
}

function indexOfSameId(messages: MessageLog<Json>, message: Json): number {
  const index = lastOfSameId(messages, message)
  if (index < 0) throw new RangeError('There is no message of that id')
  return index
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
export function corruptLog({ userId, id, version }: SessionState): Error {
  const message = `The log of session ${JSON.stringify(id)} of user ${JSON.stringify(userId)} is damaged at version ${version + 1}`
  return turnlogError('CORRUPT_LOG', message, { userId, sessionId: id, version: version + 1 })
}

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
  #messages: readonly Json[] | undefined

  constructor(object: object, log: MessageLog<Json>, last: number) {
    super(object)
    this.#log = log
    this.#last = last
  }

  static read(session: LazyMessages): readonly Json[] {
    const log = session.#log
    return (session.#messages ??= Object.freeze(log.toArray(Math.max(0, log.length - session.#last))))
  }
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

function withMessages(known: Omit<Session<Json>, 'messages'>, log: MessageLog<Json>, last: number): Session<Json> {
  new LazyMessages(known, log, last)
  Object.defineProperty(known, 'messages', MESSAGES)
  Object.defineProperty(known, Symbol.for('nodejs.util.inspect.custom'), INSPECT)
  return Object.freeze(known) as Session<Json>
}
