import { randomUUID } from 'node:crypto'
import {
  BaseSessionService,
  createSession,
  type AppendEventRequest,
  type CompositeSessionKey,
  type CreateSessionRequest,
  type Event,
  type GetSessionRequest,
  type ListSessionsRequest,
  type ListSessionsResponse,
  type Session as AdkSession
} from '@google/adk'
import { idOf, knownOptions, misuse, objectOf, wholeNumber, type OptionKeys } from '../arguments.ts'
import type { Change, SessionRef } from '../calls.ts'
import { isTurnlogError, turnlogError } from '../errors.ts'
import type { JsonObject } from '../json.ts'
import { plain } from '../message.ts'
import type { SessionHistoryService } from '../service.ts'
import type { Session } from '../session.ts'
import { equal, events, keyOf, restored, storedEvent } from './adk/events.ts'
import { jsonLike } from './adk/json-like.ts'
import { escaped, escapedApp, fitting, HASHED, hashedOf, namesOf, sessionIdOf, STATE, userOf } from './adk/names.ts'
import { inherited, originAfter, type Origin } from './adk/origins.ts'
import {
  catchUp,
  changesOf,
  isOfOneLog,
  keepTemporary,
  lastUpdateTimeOf,
  mergedState,
  overtaken,
  pointOf,
  seenOf,
  stateBefore,
  stateOf,
  withoutTemporary,
  type Point,
  type Seen,
  type StateChanges,
  type States
} from './adk/state.ts'
import { ADK_FORMAT } from './messages/adk.ts'
import { warnIfUntested } from './shared/framework.ts'
import { makeSession, readSession, serviceOf, type AnyHistory } from './shared/sessions.ts'

export { fromMessages, type FromMessagesOptions } from './adk/from-messages.ts'
export { ADK_FORMAT, toMessages } from './messages/adk.ts'
export type { Carried, Dropped } from './shared/pieces.ts'

/** Options of {@link TurnlogSessionService}. */
export interface TurnlogSessionServiceOptions {
  /** Any service; of a store that lasts, what a run has added is there after a restart. */
  readonly history: AnyHistory
}

const OPTIONS: OptionKeys<TurnlogSessionServiceOptions> = { history: true }

/** What {@link TurnlogSessionService.rewind} is told. */
export interface RewindRequest extends CompositeSessionKey {
  /** The first event of this invocation, and all after it, are taken away. */
  readonly rewindBeforeInvocationId: string
}

/**
 * A session service of Google's ADK (`@google/adk` 2) that keeps sessions in turnlog, and only there: one session of turnlog for each of ADK's, one for the
 * `app:` state of an app and one for the `user:` state of a user of it. `temp:` state is in the session object that the runner holds, and never stored.
 *
 * It does what the database service of ADK does, but events are in the order in which they were stored, also within a millisecond, and a writer that had not
 * seen what others wrote loses nothing: it writes after them, and its session object gets what they wrote.
 *
 * **What is atomic.** An event and the session's own state are one commit. State of the app and the user is in other logs, and stored *before* the event: an
 * event that is there has had all its effects. Where the process ends between, or the event is refused then, that state may be there without the event; who appends
 * the same event again completes it. An event that is there as it is changes nothing when it is appended again. One that is not there, because it never came to be, or was
 * rewound or deleted, has its effects, also those it had before; only where the session is as it was when the state was stored, that is not stored again.
 * `createSession`, too, stores state of the app and the user first.
 *
 * **What grows.** The state of an app is one log for all its users, to which each change adds an event, and the first call that needs it after a restart folds all of them:
 * with 8,000 changes that took 750 ms on SQLite, later calls are as fast as ever. Where each run changes `app:` state, keep counters and the like elsewhere, or in `user:` state.
 *
 * Names are ids: `appName`, `userId` and `sessionId` are strings that are not blank, of at most 512 UTF-16 code units with paired surrogates. Methods reject with
 * `INVALID_MESSAGE` and the path where an event or a state has what JSON cannot carry, `SESSION_EXISTS` where a session is to be created that there is,
 * `SESSION_NOT_FOUND` where there is none to append to, `FORMAT_MISMATCH` where another adapter has written it, and as those of the service.
 *
 * @example
 * const runner = new Runner({ appName: 'trains', agent, sessionService: new TurnlogSessionService({ history }) })
 */
export class TurnlogSessionService extends BaseSessionService {
  /** The service as one of ADK's events: versions, `rewind`, `undo`, `fork` and turns of {@link refOf} a session go through it. */
  readonly history: SessionHistoryService<Event>
  // Of session objects that were given out: what they have seen. It saves reading, and is no more than a hint.
  readonly #seen = new WeakMap<AdkSession, Seen>()

  constructor(options: TurnlogSessionServiceOptions) {
    super()
    const { history } = knownOptions(objectOf(options, 'options'), OPTIONS)
    warnIfUntested('@google/adk', '2')
    this.history = serviceOf(history, events, ADK_FORMAT)
  }

  /** The session of turnlog that has the events and the state of a session of ADK: its names, or a session object. */
  refOf(session: CompositeSessionKey | Pick<AdkSession, 'appName' | 'userId' | 'id'>): SessionRef {
    const { appName, userId } = objectOf(session, 'session')
    const id = idOf('sessionId', 'sessionId' in session ? session.sessionId : session.id)
    return { userId: userOf(appName, userId), id: escaped(id) }
  }

  /** The session of turnlog whose metadata is the `app:` state of an app, each key after `state:`. There is one once there is such state. */
  appStateOf(appName: string): SessionRef {
    return { userId: fitting(`adk/${escapedApp(appName)}`, [appName]), id: STATE }
  }

  /** The session of turnlog whose metadata is the `user:` state that an app has of a user, each key after `state:`. It is one of that user's. */
  userStateOf(appName: string, userId: string): SessionRef {
    return { userId: userOf(appName, userId), id: STATE }
  }

  override async createSession(request: CreateSessionRequest): Promise<AdkSession> {
    const { appName, userId, state } = objectOf(request, 'request')
    const sessionId = request.sessionId === undefined || request.sessionId === '' ? randomUUID() : request.sessionId
    const ref = this.refOf({ appName, userId, sessionId })
    const { app, user, own } = changesOf(state, plain(jsonLike(withoutTemporary(state)), ['state']) as JsonObject)
    if (await this.#read(ref)) throw exists(ref, sessionId)
    const states = await this.#states({ appName, userId }, { app, user })
    const names = hashedOf(ref, appName, userId, sessionId)
    const metadata = { lastUpdateTime: Date.now(), ...names, ...own.set }
    try {
      const created = await this.history.createSession(ref.userId, ref.id, { metadata, expectedVersion: 'none' })
      return this.#given({ appName, userId, sessionId }, created, states, created.messages)
    } catch (error) {
      // Another was faster.
      throw isTurnlogError(error, 'VERSION_CONFLICT') ? exists(ref, sessionId) : error
    }
  }

  override async getOrCreateSession(request: CreateSessionRequest): Promise<AdkSession> {
    try {
      return await super.getOrCreateSession(request)
    } catch (error) {
      const { appName, userId, sessionId } = request
      if (!sessionId || !isTurnlogError(error, 'SESSION_EXISTS')) throw error
      const session = await this.getSession({ appName, userId, sessionId })
      if (session) return session
      throw error
    }
  }

  /** With `numRecentEvents` the newest so many of those that are later than `afterTimestamp`, in order; its state is that of now. */
  override async getSession({ config, ...key }: GetSessionRequest): Promise<AdkSession | undefined> {
    const numRecentEvents = wholeNumber('config.numRecentEvents', config?.numRecentEvents, 0)
    const { afterTimestamp = 0 } = config ?? {}
    if (!Number.isFinite(afterTimestamp)) throw misuse('config.afterTimestamp', 'a number of ms', afterTimestamp)
    const [session, states] = await Promise.all([this.#read(this.refOf(key)), this.#states(key)])
    if (!session) return undefined
    let { messages } = session
    if (afterTimestamp) messages = messages.filter(({ timestamp }) => timestamp > afterTimestamp)
    if (numRecentEvents !== undefined) messages = messages.slice(Math.max(0, messages.length - numRecentEvents))
    return this.#given(key, session, states, messages)
  }

  /**
   * The sessions of a user of an app, or of all its users, with their state and without events; no other user's or app's are read. Without `order` by when they
   * were created. Of all users of an app it asks for the users of the whole store.
   */
  override async listSessions(request: ListSessionsRequest): Promise<ListSessionsResponse> {
    const { appName, userId, order } = objectOf(request, 'request')
    const limit = wholeNumber('limit', request.limit, 0)
    const offset = wholeNumber('offset', request.offset, 0) ?? 0
    const page = wholeNumber('page', request.page, 1)
    const [app, users] = await Promise.all([
      this.#state(this.appStateOf(appName)),
      userId === undefined ? this.#usersOf(appName) : [userOf(appName, userId)]
    ])
    const all: Listed[] = []
    for (const user of users) for (const each of await this.#listed(appName, user, app)) all.push(each)
    all.sort(ORDERS[order ?? 'none'])
    const totalItems = all.length
    if (limit === undefined) {
      const sessions = all.slice(offset).map(({ session }) => session)
      return { sessions, page: 1, limit: totalItems, totalItems, totalPages: totalItems === 0 ? 0 : 1 }
    }
    const start = page === undefined ? offset : (page - 1) * limit
    return {
      sessions: all.slice(start, start + limit).map(({ session }) => session),
      page: page ?? (limit === 0 ? 1 : Math.floor(start / limit) + 1),
      limit,
      totalItems,
      totalPages: limit === 0 ? 0 : Math.ceil(totalItems / limit)
    }
  }

  /** Hides a session; its log stays, and can be read and rewound through {@link history}, or purged. Nothing happens where there is none. */
  override async deleteSession(key: CompositeSessionKey): Promise<void> {
    const ref = this.refOf(key)
    if (await this.#read(ref)) await this.history.deleteSession(ref.userId, ref.id)
  }

  /**
   * Stores an event, or replaces that of its id, with the state it changes, and brings the session object up to date. Partial events are not stored. Where others have
   * written since, the event comes after theirs.
   */
  override async appendEvent({ session, event }: AppendEventRequest): Promise<Event> {
    if (event.partial) return event
    const ref = this.refOf(session)
    const stored = storedEvent(event)
    const delta = stored.actions.stateDelta as JsonObject
    const changes = changesOf(event.actions?.stateDelta, delta)
    const { upon, written, states } = await this.#append(session, ref, stored, changes)
    // What follows is of this moment: of appends to one object side by side, the answers may come in any order.
    const seen = this.#seen.get(session)
    let now = seenOf(written, states, seen?.isWhole === true)
    if (!seen || !isOfOneLog(seen, now) || seen.version < now.version) {
      const isNext = seen && isOfOneLog(seen, now) && seen.version === upon.version
      // Of an object that is not from here it is known only how new it says it is.
      const hasMissed = seen ? !isNext : upon.lastUpdateTime > session.lastUpdateTime
      if (hasMissed) {
        session.events = written.messages.map(restored)
        now = { ...now, isWhole: true }
      }
      // Before the event's own changes, which came after these.
      if (seen || hasMissed) catchUp(session.state, seen, now, event.actions?.stateDelta ?? {})
      this.#seen.set(session, now)
    } else now = seen
    // Before ADK, which takes what is temporary out of the event.
    keepTemporary(session.state, event)
    await super.appendEvent({ session, event })
    // After ADK, which has set what the event changed, whatever others have changed since.
    overtaken(session.state, delta, now)
    session.lastUpdateTime = now.lastUpdateTime
    return event
  }

  /**
   * Sets a session back to before an invocation: its events and its own state, as one commit; `app:` and `user:` state and artifacts stay as they are. Events before it
   * that were completed later stay complete, with the state that they changed. Nothing is lost: what was taken away is readable at its versions, and
   * `history.undo(refOf(session))` brings it back.
   *
   * Of what a fork began with, or an import brought as a whole, there are no versions to go back to: there, keys of the state that later events changed get the value
   * that the events before gave them, or go.
   *
   * @throws `TypeError` where the session has no event of that invocation; `SESSION_NOT_FOUND`
   */
  async rewind({ rewindBeforeInvocationId, ...key }: RewindRequest): Promise<AdkSession> {
    const ref = this.refOf(key)
    for (;;) {
      const session = await this.#read(ref)
      if (!session) throw notFound(ref, key.sessionId)
      const { messages, version } = session
      const length = messages.findIndex(({ invocationId }) => invocationId === rewindBeforeInvocationId)
      if (length < 0) throw misuse('rewindBeforeInvocationId', 'an invocation of the session', rewindBeforeInvocationId)
      const toVersion = await this.#versionBefore(ref, version, length)
      const changes: Change<Event>[] =
        toVersion === undefined
          ? [{ type: 'truncate', length }, stateBefore(messages, length)]
          : [{ type: 'rewind', toVersion }, ...(await this.#completedSince(session, toVersion, length))]
      const set = { lastUpdateTime: Date.now() }
      try {
        await this.history.commit(ref, [...changes, { type: 'metadata', set }], { expectedVersion: version })
      } catch (error) {
        if (isTurnlogError(error, 'VERSION_CONFLICT')) continue
        throw error
      }
      const rewound = await this.getSession(key)
      if (rewound) return rewound
      throw notFound(ref, key.sessionId)
    }
  }

  #read(ref: SessionRef): Promise<Session<Event> | null> {
    return readSession(this.history, ref)
  }

  // It is null where there is none, without an error, which would take most of the time of an append.
  #state({ userId, id }: SessionRef): Promise<Session<Event> | null> {
    return this.history.getSession(userId, id, { at: LATEST })
  }

  // State of an app and of a user of it, after changes if there are any. A key that was used before was for the same change, or for that of an event whose place another took.
  #states(
    { appName, userId }: Pick<AdkSession, 'appName' | 'userId'>,
    { app, user }: Partial<Pick<StateChanges, 'app' | 'user'>> = {},
    key?: string
  ): Promise<States> {
    return Promise.all([
      this.#changeState(this.appStateOf(appName), app, key),
      this.#changeState(this.userStateOf(appName, userId), user, key)
    ])
  }

  async #changeState(ref: SessionRef, change: Change<Event> | undefined, key?: string): Promise<Session<Event> | null> {
    if (!change) return this.#state(ref)
    for (let idempotencyKey = key; ;) {
      try {
        const changed = await this.history.commit(ref, [change], { expectedVersion: 'exists', idempotencyKey })
        // Of a commit that was made before, the answer is as old as that.
        return idempotencyKey === undefined ? changed : await this.#state(ref)
      } catch (error) {
        if (isTurnlogError(error, 'IDEMPOTENCY_CONFLICT')) idempotencyKey = undefined
        else if (isTurnlogError(error, 'VERSION_CONFLICT')) await makeSession(this.history, ref)
        else throw error
      }
    }
  }

  // Nothing where the session has the event as it is, whoever appends it again. Else state of the app and the user, then the event, upon exactly what was known of the session.
  async #append(
    session: AdkSession,
    ref: SessionRef,
    stored: Event,
    { app, user, own }: StateChanges
  ): Promise<Appended> {
    const seen = this.#seen.get(session)
    // It saves a look at all events.
    const isNew = seen?.isWhole === true && !session.events.some(({ id }) => id === stored.id)
    const set = { lastUpdateTime: stored.timestamp, ...own.set }
    // The state first: at whatever version an event is there, its effects are.
    const changes = [{ type: 'metadata', set, unset: own.unset } as const, { type: 'put', message: stored } as const]
    let changed: States | undefined
    for (let known = isNew && !app && !user ? seen : undefined; ; known = undefined) {
      const current = known ? null : await this.#read(ref)
      if (!known && !current) throw notFound(ref, session.id)
      const upon = known ?? pointOf(current!)
      const isAsSeen = isNew && isOfOneLog(seen, upon) && seen.version === upon.version
      if (current && !isAsSeen && current.messages.some((each) => each.id === stored.id && equal(each, stored)))
        return { upon, written: current, states: await this.#states(session) }
      if (app || user) changed ??= await this.#states(session, { app, user }, keyOf(ref, upon, stored))
      try {
        const [written, states] = await Promise.all([
          this.history.commit(ref, changes, { expectedVersion: upon.version }),
          changed ?? this.#states(session)
        ])
        if (!written) throw notFound(ref, session.id)
        return { upon, written, states }
      } catch (error) {
        // Others have written since: the event comes after theirs.
        if (!isTurnlogError(error, 'VERSION_CONFLICT')) throw error
      }
    }
  }

  #given(
    { appName, userId, sessionId }: CompositeSessionKey,
    session: Session<Event>,
    states: States,
    messages: readonly Event[]
  ): AdkSession {
    const seen = seenOf(session, states, messages === session.messages)
    const given = createSession({
      id: sessionId,
      appName,
      userId,
      state: mergedState(seen),
      events: messages.map(restored),
      lastUpdateTime: seen.lastUpdateTime
    })
    this.#seen.set(given, seen)
    return given
  }

  // The users of turnlog in whose names an app has sessions, or may have.
  async #usersOf(appName: string): Promise<string[]> {
    const prefix = `adk/${escapedApp(appName)}/`
    const found: string[] = []
    for (let after: string | undefined; ;) {
      const users = await this.history.listUsers({ limit: 1000, after })
      for (const user of users) if (user.startsWith(prefix) || user.startsWith(HASHED)) found.push(user)
      if (users.length < 1000) return found
      after = users.at(-1)
    }
  }

  async #listed(appName: string, user: string, app: Session<Event> | null): Promise<Listed[]> {
    const sessions = (await this.history.listSessions(user)).filter(({ format }) => format === ADK_FORMAT)
    const userState = sessions.find(({ id }) => id === STATE)?.metadata ?? {}
    return sessions.flatMap((session) => {
      const { metadata, createdAt } = session
      const names = namesOf(session)
      const sessionId = sessionIdOf(session)
      if (names?.[0] !== appName || sessionId === undefined) return []
      const state = mergedState({ own: metadata, app: app?.metadata ?? {}, user: userState })
      const lastUpdateTime = lastUpdateTimeOf(session)
      return [
        { createdAt, session: createSession({ id: sessionId, appName, userId: names[1], state, lastUpdateTime }) }
      ]
    })
  }

  // The messages before a place as they are now, where they are not so at the version before it; and the state that they have changed.
  async #completedSince(session: Session<Event>, version: number, length: number): Promise<Change<Event>[]> {
    const { userId, id, messages } = session
    const then = (await this.history.getSession(userId, id, { at: version }))?.messages ?? []
    const completed = messages.slice(0, length).filter((each, i) => !then[i] || !equal(each, then[i]))
    if (completed.length === 0) return []
    return [stateOf(completed, session, length), ...completed.map((message) => ({ type: 'put', message }) as const)]
  }

  // The version before the commit that brought the message at a place; `undefined` where that is in none of its own.
  async #versionBefore({ userId, id }: SessionRef, version: number, place: number): Promise<number | undefined> {
    const origins: (Origin | undefined)[] = [undefined]
    let commitId: string | undefined
    let before = 0
    for await (const event of this.history.readEvents(userId, id, { to: version })) {
      if (event.commitId !== commitId) before = event.version - 1
      commitId = event.commitId
      const isWhole = event.type === 'created' && (event.data.forkedFrom ?? event.data.messages) !== undefined
      const begun = isWhole ? await this.history.getSession(userId, id, { at: event.version }) : null
      origins[event.version] = begun ? inherited(begun.messages.length) : originAfter(event, origins, before)
      // What comes after it in its commit was appended to what this has left.
      if (event.type === 'rewound' || event.type === 'messages-truncated') before = event.version
    }
    let origin = origins[version]
    while (origin && origin.place > place) origin = origin.previous
    return origin?.place === place ? origin.before : undefined
  }
}

/** As late as a time can be: a read of the past, which makes nothing where there is nothing. */
const LATEST = new Date(8.64e15)

/** What an event was stored upon, the session with it, and the states then. */
interface Appended {
  readonly upon: Point
  readonly written: Session<Event>
  readonly states: States
}

/** A listed session, and when it was created. */
interface Listed {
  readonly session: AdkSession
  readonly createdAt: number
}

const ORDERS = {
  none: (a: Listed, b: Listed) => a.createdAt - b.createdAt || byName(a, b),
  asc: (a: Listed, b: Listed) => a.session.lastUpdateTime - b.session.lastUpdateTime || byName(a, b),
  desc: (a: Listed, b: Listed) => b.session.lastUpdateTime - a.session.lastUpdateTime || byName(a, b)
}

function byName({ session: a }: Listed, { session: b }: Listed): number {
  if (a.id !== b.id) return a.id < b.id ? -1 : 1
  return a.userId < b.userId ? -1 : 1
}

// In messages an id is as it was given; `error.sessionId` is that of turnlog's session.
function exists({ userId, id }: SessionRef, sessionId: string): Error {
  const message = `There is a session ${JSON.stringify(sessionId)} of user ${JSON.stringify(userId)} already`
  return turnlogError('SESSION_EXISTS', message, { userId, sessionId: id })
}

function notFound({ userId, id }: SessionRef, sessionId: string): Error {
  const message = `There is no session ${JSON.stringify(sessionId)} of user ${JSON.stringify(userId)} to write to`
  return turnlogError('SESSION_NOT_FOUND', message, { userId, sessionId: id })
}
