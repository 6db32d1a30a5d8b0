import {
  expectation,
  idOf,
  knownOptions,
  misuse,
  objectOf,
  oneOf,
  optionsOf,
  pointInLog,
  requiredWholeNumber,
  signalOf,
  type OptionKeys,
  wholeNumber
} from './arguments.ts'
import { Engine, type WriteSettings } from './engine.ts'
import { isTurnlogError, type ExpectedVersion, type Path, type TurnlogError } from './errors.ts'
import { upcast, type SessionEvent } from './event.ts'
import { hashJson, type Json, type JsonObject } from './json.ts'
import {
  checkSize,
  defaultFormat,
  invalid,
  plain,
  schemaFormat,
  type Message,
  type MessageFormat,
  type MessageInput,
  type SchemaInput,
  type SchemaOutput,
  type StandardSchema
} from './message.ts'
import type { Change, SessionRef, WriteOptions } from './calls.ts'
import { checkFormat, idIn, IN_ANY_FORMAT, noSessionThen, type SessionChange } from './content.ts'
import {
  newestMessages,
  sessionExists,
  sessionNotFound,
  sessionOf,
  toSummary,
  type Command,
  type Session
} from './session.ts'
import { mostMessages } from './retention.ts'
import { HeldTurn, type Turn, type TurnOptions } from './turn.ts'
import type { Written } from './session-actor.ts'
import type { SessionHistoryOptions, SessionHistoryService } from './service.ts'
import { storeFailure, type Page, type SessionKey, type Summary } from './store.ts'
import { exportLines, readImport, type ImportSource } from './transfer.ts'

/**
 * A started service; with no options it keeps everything in memory.
 *
 * @throws `NOT_A_STORE`, `STORE_UNAVAILABLE`
 * @example
 * const history = await createSessionHistory()
 * const session = await history.createSession('ada')
 * await history.appendMessage(session, { role: 'user', content: 'Hello' })
 */
export async function createSessionHistory<S extends StandardSchema>(
  options: SessionHistoryOptions<S> & { readonly message: S }
): Promise<SessionHistoryService<SchemaOutput<S>, SchemaInput<S>>>
export async function createSessionHistory(options?: SessionHistoryOptions): Promise<SessionHistoryService>
export async function createSessionHistory(
  given?: SessionHistoryOptions<StandardSchema>
): Promise<SessionHistoryService> {
  const options = knownOptions(optionsOf(given), OPTIONS)
  const engine = new Engine(options)
  const format = options.message ? schemaFormat(options.message, 'custom') : defaultFormat(engine.newMessageId)
  const service = new SessionHistory<Message, MessageInput>(engine, format)
  await service.start()
  return service
}

const OPTIONS: OptionKeys<SessionHistoryOptions> = {
  store: true,
  message: true,
  missing: true,
  clock: true,
  ids: true,
  logger: true,
  maxActiveSessions: true,
  maxActiveBytes: true,
  idleMs: true,
  maxMessageBytes: true,
  retention: true,
  inspect: true
}

const MISSING = ['create', 'null', 'throw'] as const

/** What becomes of a read of a session that is not there. */
type Missing = (typeof MISSING)[number]

// Inside, messages are JSON; that those of a session are of type M is what its format says.
class SessionHistory<M, Input> implements SessionHistoryService<M, Input> {
  readonly #engine: Engine
  readonly #format: MessageFormat
  // How many of the newest messages its snapshots have.
  readonly #maxMessages: number

  constructor(engine: Engine, format: MessageFormat, maxMessages = engine.maxMessages) {
    this.#engine = engine
    this.#format = format
    this.#maxMessages = maxMessages
  }

  start(): Promise<void> {
    return this.#engine.start()
  }

  stop(): Promise<void> {
    return this.#engine.stop()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#engine.stop()
  }

  health(): Promise<boolean> {
    return this.#engine.health()
  }

  async createSession(
    userId: string,
    sessionId?: string | null,
    options?: { readonly metadata?: object | undefined; readonly expectedVersion?: ExpectedVersion | undefined }
  ): Promise<Session<M>> {
    const { metadata, expectedVersion } = optionsOf(options)
    const { session } = await this.#send(this.#newKey(userId, sessionId), {
      type: 'create',
      format: this.#format.name,
      metadata: metadata === undefined ? undefined : record('metadata', metadata),
      expectedVersion: expectation(expectedVersion)
    })
    return this.#typed(session!)
  }

  async getSession(
    userId: string,
    sessionId: string,
    options?: {
      readonly at?: number | Date | undefined
      readonly last?: number | undefined
      readonly missing?: Missing | undefined
      readonly countsAsUse?: boolean | undefined
    }
  ): Promise<Session<M> | null> {
    const key = keyOf(userId, sessionId)
    const given = optionsOf(options)
    const at = pointInLog(given.at)
    const last = Math.min(wholeNumber('last', given.last, 0) ?? Infinity, this.#maxMessages)
    const missing = oneOf('missing', given.missing ?? this.#engine.missing.get, MISSING)
    const isUse = given.countsAsUse ?? true
    if (typeof isUse !== 'boolean') throw misuse('countsAsUse', 'true or false', isUse)
    const session =
      at === undefined
        ? await this.#engine.during(
            async () =>
              (await this.#engine.read(key, { last, isAccepted: true, isUse })) ?? this.#missing(key, last, missing)
          )
        : await this.#engine.read(key, { at, last, isUse })
    return session && this.#typed(session)
  }

  async listSessions(
    userId: string,
    options?: { readonly limit?: number | undefined; readonly after?: Pick<Session, 'id' | 'updatedAt'> | undefined }
  ): Promise<Session<M>[]> {
    idOf('userId', userId)
    const { limit, after } = optionsOf(options)
    const last = after === undefined ? undefined : objectOf(after, 'after')
    const cursor = last && {
      updatedAt: requiredWholeNumber('after.updatedAt', last.updatedAt, 0),
      sessionId: idOf('after.id', last.id)
    }
    const page = pageOf(limit, cursor)
    const summaries = await this.#engine.list(userId, page)
    return summaries.map((summary) => listed<M>(summary))
  }

  async listUsers(options?: {
    readonly limit?: number | undefined
    readonly after?: string | undefined
  }): Promise<string[]> {
    const { limit, after } = optionsOf(options)
    const page = pageOf(limit, after === undefined ? undefined : idOf('after', after))
    return [...(await this.#engine.ask((store) => store.listUsers(page)))]
  }

  appendMessage(
    session: SessionRef,
    message: Input | readonly Input[],
    options?: WriteOptions
  ): Promise<Session<M> | null> {
    return this.#appendMessage(session, message, options)
  }

  // Which turn a write is part of is no option: only its holder may say so.
  async #appendMessage(
    session: SessionRef,
    message: Input | readonly Input[],
    options?: WriteOptions,
    turn?: HeldTurn<M, Input>
  ): Promise<Session<M> | null> {
    const key = refKey(session)
    const append = isList(message) ? this.#append(message, (i) => [i]) : this.#append([message], () => [])
    const written = await this.#write(key, [append], options, { turn })
    const updated = this.#written(session, written)
    const count = append.change.messages.length
    if (written.session && count > 0) extend(session, written.session, count)
    return updated
  }

  putMessage(session: SessionRef, message: Input, options?: WriteOptions): Promise<Session<M> | null> {
    return this.#putMessage(session, message, options)
  }

  async #putMessage(
    session: SessionRef,
    message: Input,
    options?: WriteOptions,
    turn?: HeldTurn<M, Input>
  ): Promise<Session<M> | null> {
    const key = refKey(session)
    return this.#written(session, await this.#write(key, [this.#put(message, [])], options, { turn }))
  }

  async updateMetadata(
    session: SessionRef,
    changes: { readonly set?: object | undefined; readonly unset?: readonly string[] | undefined },
    options?: WriteOptions
  ): Promise<Session<M> | null> {
    const key = refKey(session)
    return this.#written(session, await this.#write(key, [metadataChange(changes, [])], options))
  }

  commit(session: SessionRef, changes: readonly Change<Input>[], options?: WriteOptions): Promise<Session<M> | null> {
    return this.#commit(session, changes, options)
  }

  async #commit(
    session: SessionRef,
    changes: readonly Change<Input>[],
    options?: WriteOptions,
    turn?: HeldTurn<M, Input>
  ): Promise<Session<M> | null> {
    const key = refKey(session)
    if (!Array.isArray(changes)) throw misuse('changes', 'a list', changes)
    const given = Array.from(changes as readonly Change<Input>[], (change, i) => this.#change(change, i))
    return this.#written(session, await this.#write(key, given, options, { turn }))
  }

  async rewind(
    session: SessionRef,
    toVersion: number,
    options?: WriteOptions & { readonly reason?: string | undefined }
  ): Promise<Session<M>> {
    const { reason } = optionsOf(options)
    if (reason !== undefined && typeof reason !== 'string') throw misuse('reason', 'a string', reason)
    const change = { ...rewindTo('toVersion', toVersion), ...(reason !== undefined && { reason }) }
    return this.#typed((await this.#write(refKey(session), [{ change, given: change }], options, THROWS)).session!)
  }

  async undo(session: SessionRef, options?: WriteOptions): Promise<Session<M>> {
    return this.#typed((await this.#write(refKey(session), 'undo', options, THROWS)).session!)
  }

  async redo(session: SessionRef, options?: WriteOptions): Promise<Session<M>> {
    return this.#typed((await this.#write(refKey(session), 'redo', options, THROWS)).session!)
  }

  async fork(
    session: SessionRef,
    options?: { readonly at?: number | Date | undefined; readonly sessionId?: string | undefined }
  ): Promise<Session<M>> {
    const parent = refKey(session)
    const { at, sessionId } = optionsOf(options)
    const when = pointInLog(at)
    const child = this.#newKey(parent.userId, sessionId)
    const forked = await this.#engine.during(() => this.#fork(parent, child, when))
    return this.#typed(forked)
  }

  async #fork(parent: SessionKey, child: SessionKey, when: number | Date | undefined): Promise<Session<Json>> {
    const { logId, newest, state } = await this.#engine.origin(parent, when, true)
    if (logId === null || (when === undefined && !state.isLive)) throw sessionNotFound(state)
    if (!state.isLive) throw noSessionThen(state.version, newest, when instanceof Date ? when : undefined)
    checkFormat(state, this.#format.name)
    const { version, messages, metadata, format } = state
    const command = {
      type: 'fork' as const,
      origin: { ...parent, version },
      parentLogId: logId,
      inherited: { messages, metadata, format }
    }
    return (await this.#send(child, command, { isAccepted: true })).session!
  }

  async forks(session: SessionRef): Promise<Session<M>[]> {
    const key = refKey(session)
    const summaries = await this.#engine.forks(key)
    // One that has started over is a fork no more, though its log is.
    return summaries
      .filter(
        ({ deleted, forkedFrom }) =>
          !deleted && forkedFrom?.userId === key.userId && forkedFrom.sessionId === key.sessionId
      )
      .map((summary) => listed<M>(summary))
  }

  async beginTurn(session: SessionRef, options?: TurnOptions): Promise<Turn<M, Input>> {
    const key = refKey(session)
    const given = optionsOf(options)
    const { owner } = given
    const signal = signalOf(given.signal)
    if (owner !== undefined && typeof owner !== 'string') throw misuse('owner', 'a string', owner)
    const onBusy = oneOf('onBusy', given.onBusy ?? 'throw', ['throw', 'wait', 'takeover'])
    const ttlMs = wholeNumber('ttlMs', given.ttlMs, 1) ?? 60_000
    const turnId = this.#engine.newEventId()
    const ref = { userId: key.userId, id: key.sessionId }
    const write = async (command: Command, settings?: WriteSettings): Promise<Session<M>> =>
      this.#typed((await this.#send(key, command, settings)).session!)
    const turn: HeldTurn<M, Input> = new HeldTurn<M, Input>(
      turnId,
      {
        append: (message, settings) => this.#appendMessage(ref, message, settings, turn),
        put: (message, settings) => this.#putMessage(ref, message, settings, turn),
        commit: (changes, settings) => this.#commit(ref, changes, settings, turn),
        start: (mode) =>
          mode === 'renewal'
            ? write({ type: 'start-turn', turnId, owner, ttlMs, mode }, { holder: turn })
            : write(
                { type: 'start-turn', turnId, owner, ttlMs, mode: onBusy === 'takeover' ? onBusy : mode },
                // What waits, and may be cancelled, is the beginning.
                { holder: turn, signal, waits: onBusy === 'wait' }
              ),
        end: (outcome, setsBack) => write({ type: 'end-turn', turnId, outcome, setsBack })
      },
      this.#engine.clock
    )
    await turn.begin()
    return turn
  }

  readEvents(
    userId: string,
    sessionId: string,
    options?: {
      readonly from?: number | undefined
      readonly to?: number | undefined
      readonly signal?: AbortSignal | undefined
    }
  ): AsyncIterable<SessionEvent<M>> {
    const key = keyOf(userId, sessionId)
    const { from, to, signal } = optionsOf(options)
    const range = { from: wholeNumber('from', from, 1) ?? 1, to: wholeNumber('to', to, 0) }
    return this.#events(key, range, signalOf(signal), false, isInAnyFormat(options))
  }

  subscribe(
    userId: string,
    sessionId: string,
    options?: { readonly from?: number | undefined; readonly signal?: AbortSignal | undefined }
  ): AsyncIterable<SessionEvent<M>> {
    const key = keyOf(userId, sessionId)
    const { from, signal } = optionsOf(options)
    const range = { from: wholeNumber('from', from, 1) ?? 1, to: undefined }
    return this.#events(key, range, signalOf(signal), true, isInAnyFormat(options))
  }

  #events(
    key: SessionKey,
    range: EventRange,
    signal: AbortSignal | undefined,
    follows: boolean,
    inAnyFormat: boolean
  ): Events<M> {
    return {
      [Symbol.asyncIterator]: () => {
        const left = new AbortController()
        const events = this.#read(key, range, [signal, left.signal], follows, inAnyFormat)
        return {
          next: () => events.next(),
          // A generator would first wait for a `next` that is under way, and so for an event that may never come.
          return: () => {
            left.abort()
            return events.return(undefined)
          }
        }
      }
    }
  }

  // Ends with the first of `causes`: where it `follows` the log silently, else by throwing the reason.
  async *#read(
    key: SessionKey,
    { from, to }: EventRange,
    causes: readonly (AbortSignal | undefined)[],
    follows: boolean,
    inAnyFormat: boolean
  ): AsyncGenerator<SessionEvent<M>, undefined> {
    const span = this.#engine.span(causes)
    const { store } = this.#engine
    let logId: string | undefined
    let next = from
    try {
      span.signal.throwIfAborted()
      for await (const _ of follows ? this.#engine.changes(key, span.signal) : ONCE) {
        const head = await this.#engine.ask(() => store.head(key))
        // Purged, or begun again since: another log.
        if (logId !== undefined && head?.logId !== logId) return
        if (!head) continue
        // From the first event on, each `created` tells the format of what follows; else that of the newest has to do.
        if (logId === undefined && from > 1 && !inAnyFormat) checkFormat(head.summary, this.#format.name)
        logId = head.logId
        const range = { from: next, ...(to !== undefined && { to }), signal: span.signal }
        for await (const page of store.read(logId, range)) {
          for (const stored of page) {
            if (span.hasEnded) throw span.signal.reason
            next = stored.version + 1
            const event = upcast(stored)
            if (event?.type === 'created' && !inAnyFormat) checkFormat(event.data, this.#format.name)
            if (event) yield event as SessionEvent<M>
          }
        }
      }
    } catch (error) {
      if (!span.hasEnded) throw storeFailure(error, 'not-stored')
      if (!follows) throw span.signal.reason
    } finally {
      span.end()
    }
  }

  async deleteSession(userId: string, sessionId: string): Promise<void> {
    await this.#engine.write(keyOf(userId, sessionId), DELETE)
  }

  async deleteUserSessions(userId: string): Promise<number> {
    idOf('userId', userId)
    return this.#engine.during(async () => {
      const sessions = await this.#engine.ask((store) => store.list(userId), true)
      const results = await Promise.all(
        sessions.map(({ sessionId }) => this.#engine.write({ userId, sessionId }, DELETE, { isAccepted: true }))
      )
      return results.filter(({ hasStored }) => hasStored).length
    })
  }

  async purgeSession(userId: string, sessionId: string): Promise<void> {
    await this.#engine.purge(keyOf(userId, sessionId))
  }

  exportSession(
    userId: string,
    sessionId?: string,
    options?: { readonly signal?: AbortSignal | undefined }
  ): AsyncIterable<string> {
    idOf('userId', userId)
    if (sessionId !== undefined) idOf('sessionId', sessionId)
    const signal = signalOf(optionsOf(options).signal)
    return { [Symbol.asyncIterator]: () => exportLines(this.#engine, userId, sessionId, signal) }
  }

  async importSession(
    source: ImportSource,
    options?: {
      readonly file?: string | undefined
      readonly userId?: string | undefined
      readonly sessionId?: string | undefined
      readonly onInvalid?: ((error: TurnlogError) => void) | undefined
      readonly onExisting?: 'throw' | 'skip' | undefined
      readonly signal?: AbortSignal | undefined
    }
  ): Promise<Session<M>[]> {
    const given = optionsOf(options)
    const { file = 'input', userId, sessionId, onInvalid, onExisting = 'throw' } = given
    const skipsExisting = oneOf('onExisting', onExisting, ['throw', 'skip']) === 'skip'
    const signal = signalOf(given.signal)
    // A line that is neither the first of an export nor followed by another.
    if (typeof source === 'string' && /^[^{\n]+$/.test(source))
      throw misuse('source', 'the content of an export; createReadStream(path) gives that of a file', source)
    if (typeof file !== 'string') throw misuse('file', 'a string', file)
    if (onInvalid !== undefined && typeof onInvalid !== 'function') throw misuse('onInvalid', 'a function', onInvalid)
    if (userId !== undefined) idOf('userId', userId)
    const name = sessionId === undefined ? undefined : idOf('sessionId', sessionId).trim()
    const { newEventId } = this.#engine
    this.#engine.assertAccepting()
    const sessions = await readImport(source, { file, userId, sessionId: name, newEventId, onInvalid, signal })
    return this.#engine.during(async () => {
      const existing = await Promise.all(
        sessions.map(async ({ key }) => {
          const head = await this.#engine.ask((store) => store.head(key), true)
          if (head && !skipsExisting) throw sessionExists({ userId: key.userId, id: key.sessionId })
          return head !== null
        })
      )
      const imported: Session<M>[] = []
      // One after the other: after the first that fails, none.
      for (const [i, { key, events, states }] of sessions.entries()) {
        signal?.throwIfAborted()
        if (existing[i]) continue
        await this.#engine.write(key, { type: 'import', events, states }, { isAccepted: true })
        const summary = toSummary(states.at(-1)!)
        if (!summary.deleted) imported.push(listed(summary))
      }
      return imported
    })
  }

  withMessage<S extends StandardSchema>(
    schema: S,
    options: { readonly format: string; readonly maxMessages?: number | undefined }
  ): SessionHistoryService<SchemaOutput<S>, SchemaInput<S>> {
    const { format, maxMessages } = objectOf(options, 'options')
    const shown = maxMessages === undefined ? this.#maxMessages : mostMessages('maxMessages', maxMessages)
    return new SessionHistory(this.#engine, schemaFormat(schema, idOf('format', format)), shown)
  }

  // The id of a new session is trimmed, as in the seed; blank or absent gives a fresh one.
  #newKey(userId: string, sessionId: string | null | undefined): SessionKey {
    const given = typeof sessionId === 'string' ? sessionId.trim() : (sessionId ?? '')
    return keyOf(userId, given === '' ? this.#engine.newSessionId() : given)
  }

  async #missing(key: SessionKey, last: number, missing: Missing): Promise<Session<Json> | null> {
    switch (missing) {
      case 'null':
        return null
      case 'throw':
        throw sessionNotFound({ userId: key.userId, id: key.sessionId })
      case 'create':
        try {
          const command = {
            type: 'create',
            format: this.#format.name,
            metadata: undefined,
            expectedVersion: 'none'
          } as const
          return (await this.#send(key, command, { isAccepted: true })).session
        } catch (error) {
          // Somebody else was first, and may have appended already.
          if (isTurnlogError(error, 'VERSION_CONFLICT')) return this.#engine.read(key, { last, isAccepted: true })
          throw error
        }
    }
  }

  #write(
    key: SessionKey,
    changes: readonly Given[] | 'undo' | 'redo',
    options: WriteOptions | undefined,
    { turn, missing = this.#engine.missing.append }: WriteTerms<M, Input> = {}
  ): Promise<Written> {
    const { expectedVersion, idempotencyKey, signal, onBusy = 'throw' } = optionsOf(options)
    const settings = {
      signal: signalOf(signal),
      waits: oneOf('onBusy', onBusy, ON_BUSY) === 'wait',
      holder: turn,
      maxMessages: this.#maxMessages
    }
    const isStep = typeof changes === 'string'
    const command = {
      type: 'commit' as const,
      changes: isStep ? changes : changes.map(({ change }) => change),
      format: this.#format.name,
      expectedVersion: expectation(expectedVersion),
      idempotency:
        idempotencyKey === undefined
          ? undefined
          : {
              key: idOf('idempotencyKey', idempotencyKey),
              contentHash: hashJson(isStep ? changes : changes.map(({ given }) => given))
            },
      ifAbsent: missing === 'warn' ? ('nothing' as const) : missing,
      turnId: turn?.id
    }
    return this.#engine.write(key, command, settings)
  }

  #send(key: SessionKey, command: Command, settings?: WriteSettings): Promise<Written> {
    return this.#engine.write(key, command, { ...settings, maxMessages: this.#maxMessages })
  }

  #written({ userId, id }: SessionRef, { session }: Written): Session<M> | null {
    if (session) return this.#typed(session)
    const name = `user ${JSON.stringify(userId)} has no session ${JSON.stringify(id)}`
    this.#engine.logger.warn(`turnlog: ${name}; nothing was stored`)
    return null
  }

  #change(change: Change<Input>, index: number): Given {
    switch (change?.type) {
      case 'append':
        if (!Array.isArray(change.messages)) throw misuse(`changes[${index}].messages`, 'a list', change.messages)
        return this.#append(change.messages, (i) => [index, 'messages', i])
      case 'put':
        return this.#put(change.message, [index, 'message'])
      case 'truncate': {
        const length = requiredWholeNumber(`changes[${index}].length`, change.length, 0)
        return { change: { type: 'truncate', length }, given: { type: 'truncate', length } }
      }
      case 'rewind': {
        const rewind = rewindTo(`changes[${index}].toVersion`, change.toVersion)
        return { change: rewind, given: rewind }
      }
      case 'metadata':
        return metadataChange(change, [index])
      default:
        throw misuse(
          `changes[${index}].type`,
          "'append', 'put', 'truncate', 'rewind' or 'metadata'",
          (change as Change | undefined)?.type
        )
    }
  }

  #append(
    messages: readonly Input[],
    pathOf: (index: number) => Path
  ): Given & { readonly change: { readonly messages: readonly Json[] } } {
    const copies: Json[] = []
    const complete: Json[] = []
    // By number, to come upon holes: no list of messages may have any.
    for (let i = 0; i < messages.length; i++) copies.push(plain(messages[i], pathOf(i)))
    for (let i = 0; i < copies.length; i++) complete.push(this.#complete(copies[i]!, pathOf(i)))
    return { change: { type: 'append', messages: complete }, given: { type: 'append', messages: copies } }
  }

  #put(message: Input, path: Path): Given {
    const copy = plain(message, path)
    const id = idIn(copy)
    if (id === undefined) throw invalid('putMessage needs an id, a string', [...path, 'id'])
    const complete = this.#complete(copy, path)
    // A schema may have dropped it, or answer with something else.
    if (idIn(complete) !== id) throw invalid('putMessage needs a schema that keeps the id', [...path, 'id'])
    return { change: { type: 'put', message: complete }, given: { type: 'put', message: copy } }
  }

  #complete(copy: Json, path: Path): Json {
    const message = this.#format.complete(copy, path)
    checkSize(message, this.#engine.maxMessageBytes, path)
    return message
  }

  #typed(session: Session<Json>): Session<M> {
    checkFormat(session, this.#format.name)
    return session as Session<unknown> as Session<M>
  }
}

/** A change as it is stored, and the canonical form of what the caller gave for it. */
interface Given {
  readonly change: SessionChange
  readonly given: Json
}

/** What the service itself says of a write. */
interface WriteTerms<M, Input> {
  readonly turn?: HeldTurn<M, Input> | undefined
  readonly missing?: 'warn' | 'create' | 'throw'
}

function isInAnyFormat(options: object | undefined): boolean {
  return options !== undefined && IN_ANY_FORMAT in options
}

/** Versions, both ends inclusive. */
interface EventRange {
  readonly from: number
  readonly to: number | undefined
}

type Events<M> = AsyncIterable<SessionEvent<M>>

const ON_BUSY = ['throw', 'wait'] as const

const THROWS = { missing: 'throw' } as const

const ONCE = [undefined]

const DELETE = { type: 'delete' } as const

const NO_MESSAGES: readonly never[] = Object.freeze([])

function refKey(session: SessionRef): SessionKey {
  const { userId, id } = objectOf(session, 'session', 'an object with userId and id')
  return keyOf(userId, id)
}

function rewindTo(name: string, version: unknown): Extract<SessionChange, { type: 'rewind' }> {
  return { type: 'rewind', toVersion: requiredWholeNumber(name, version, 0), kind: 'rewind' }
}

function keyOf(userId: string, sessionId: string): SessionKey {
  return Object.freeze({ userId: idOf('userId', userId), sessionId: idOf('sessionId', sessionId) })
}

function pageOf<After>(limit: number | undefined, after: After | undefined): Page<After> {
  wholeNumber('limit', limit, 1)
  return { ...(limit !== undefined && { limit }), ...(after !== undefined && { after }) }
}

function listed<M>(summary: Summary): Session<M> {
  return sessionOf(summary, NO_MESSAGES) as Session<unknown> as Session<M>
}

function metadataChange(
  changes: { readonly set?: object | undefined; readonly unset?: readonly string[] | undefined },
  path: Path
): Given {
  const { set = {}, unset = [] } = objectOf(changes, 'changes', 'an object with set or unset')
  const values = record('set', set, path)
  if (!Array.isArray(unset) || !unset.every((key) => typeof key === 'string'))
    throw misuse('unset', 'a list of strings', unset)
  const both = unset.find((key) => Object.hasOwn(values, key))
  if (both !== undefined) throw misuse('unset', 'without the keys of set', both)
  const change = { type: 'metadata', set: values, unset: Object.freeze([...unset]) } as const
  return { change, given: change }
}

function record(name: string, value: unknown, path: Path = []): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw misuse(name, 'an object', value)
  return plain(value, [...path, name]) as JsonObject
}

// As the seed does; but never a snapshot, whose messages would be made just to find that they are frozen.
function extend(session: SessionRef, updated: Session<Json>, count: number): void {
  const messages: unknown = Object.getOwnPropertyDescriptor(session, 'messages')?.value
  if (!Array.isArray(messages) || !canGrow(messages)) return
  // One by one: as arguments of one push, there may be too many.
  for (const message of newestMessages(updated, count)) messages.push(message)
}

function canGrow(list: readonly unknown[]): boolean {
  return Object.isExtensible(list) && Object.getOwnPropertyDescriptor(list, 'length')!.writable === true
}

function isList<T>(value: T | readonly T[]): value is readonly T[] {
  return Array.isArray(value)
}
