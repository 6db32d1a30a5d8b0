import { createActor } from 'xstate'
import { knownOptions, misuse, oneOf, optionsOf, positive, unwarned, type OptionKeys } from './arguments.ts'
import { isTurnlogError, turnlogError } from './errors.ts'
import { freshId } from './ids.ts'
import type { Json } from './json.ts'
import type { EngineOptions, InspectionListener } from './options.ts'
import { readBefore, type FoldedLog } from './folded-log.ts'
import { clockOf, POLL_MS, type Clock } from './clock.ts'
import { registryLogic, type RegistryActor } from './registry-actor.ts'
import type { Import } from './prepare.ts'
import { sessionOf, type Command, type Session, type SessionState } from './session.ts'
import type { Reply, SessionCall, WriteRequest, Written } from './session-actor.ts'
import { readLastMessages } from './last-messages.ts'
import {
  hasExpired,
  isWorthNoting,
  lastUsed,
  noteUse,
  retentionRules,
  Sweeper,
  type RetentionRules
} from './retention.ts'
import {
  assertStore,
  keyString,
  storeFailure,
  type EventStore,
  type Head,
  type Page,
  type SessionKey,
  type Summary
} from './store.ts'
import { memoryStore } from './stores/memory.ts'
import { storeOfEnvironment } from './open-store.ts'

/** The running parts of a service: its store and its actors. Knows nothing of the types of messages. */
export class Engine {
  readonly store: EventStore
  readonly missing: { readonly get: 'create' | 'null' | 'throw'; readonly append: 'warn' | 'create' | 'throw' }
  readonly logger: { warn(message: string): void }
  readonly maxMessageBytes: number
  readonly newMessageId: () => string
  readonly newSessionId: () => string
  readonly newEventId: () => string
  readonly clock: Clock
  readonly #retention: RetentionRules
  readonly #newRegistry: () => RegistryActor
  #registry: RegistryActor | undefined
  #sweeper: Sweeper | undefined
  #isAccepting = false
  /** Aborted when the service stops. */
  #life = newLife()
  /** `start` and `stop` take effect one after the other. */
  #turnover: Promise<void> = Promise.resolve()
  /** Calls that were accepted and are not answered yet. */
  #underWay = 0
  #onIdle: (() => void) | undefined
  /** Sessions that somebody has found expired, to be deleted. */
  readonly #expired = new Map<string, SessionKey>()
  #isRetiring = false

  constructor({
    store: givenStore = memoryStore(),
    missing: givenMissing,
    clock,
    ids: givenIds,
    logger,
    maxActiveSessions,
    maxActiveBytes,
    idleMs,
    maxMessageBytes,
    retention,
    inspect
  }: EngineOptions) {
    const store = givenStore === 'env' ? storeOfEnvironment() : givenStore
    assertStore(store)
    const missing = knownOptions(optionsOf(givenMissing, 'missing'), MISSING, 'missing')
    const ids = knownOptions(optionsOf(givenIds, 'ids'), IDS, 'ids')
    this.store = store
    this.missing = {
      get: oneOf('missing.get', missing.get ?? 'create', ['create', 'null', 'throw']),
      append: oneOf('missing.append', missing.append ?? 'warn', ['warn', 'create', 'throw'])
    }
    this.logger = quiet(logger ?? console)
    this.maxMessageBytes = positive('maxMessageBytes', maxMessageBytes ?? 16 * 1024 * 1024)
    this.newMessageId = generator('message', ids.message) ?? (() => freshId('msg_'))
    this.newSessionId = generator('session', ids.session) ?? freshId
    this.newEventId = generator('event', ids.event) ?? freshId
    this.clock = clockOf(clock)
    this.#retention = retentionRules(retention)
    const input = {
      environment: {
        store: this.store,
        clock: this.clock,
        newEventId: this.newEventId,
        retention: this.#retention,
        onExpired: (key: SessionKey) => this.#retire(key)
      },
      maxActiveSessions: positive('maxActiveSessions', maxActiveSessions ?? 10_000),
      maxActiveBytes: positive('maxActiveBytes', maxActiveBytes ?? 256 * 1024 * 1024),
      idleMs: positive('idleMs', idleMs ?? 300_000),
      inspect: inspect && inspector(inspect, this.logger)
    }
    this.#newRegistry = () =>
      createActor(registryLogic, { input, id: 'registry', ...(input.inspect && { inspect: input.inspect }) })
  }

  start(): Promise<void> {
    return this.#afterTurnover(async () => {
      if (!this.#registry) {
        await storeAnswer(() => openShared(this.store))
        this.#life = newLife()
        this.#registry = this.#newRegistry()
        this.#registry.start()
        this.#sweeper = this.#newSweeper()
      }
      this.#isAccepting = true
    })
  }

  stop(): Promise<void> {
    const refuse = (): void => {
      this.#isAccepting = false
      this.#life.abort(stopped())
    }
    refuse()
    return this.#afterTurnover(async () => {
      // A start may have come before.
      refuse()
      this.#sweeper?.stop()
      // Turns do not end while nobody can write: those who wait for that would wait in vain.
      this.#registry?.send({ type: 'release', reason: stopped() })
      if (this.#underWay > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve))
      if (!this.#registry) return
      this.#registry.send({ type: 'stop' })
      this.#registry.stop()
      this.#registry = undefined
      await storeAnswer(() => closeShared(this.store))
    })
  }

  async health(): Promise<boolean> {
    if (!this.#isAccepting) return false
    let timer: unknown
    // A server that hangs gives no answer at all.
    const late = new Promise<false>((resolve) => {
      timer = this.clock.setTimeout(() => resolve(false), HEALTH_MS)
    })
    try {
      return await Promise.race([this.store.health(), late])
    } catch {
      return false
    } finally {
      this.clock.clearTimeout(timer)
    }
  }

  get isAccepting(): boolean {
    return this.#isAccepting
  }

  /** @throws `STOPPED` */
  assertAccepting(): void {
    if (!this.#isAccepting) throw stopped()
  }

  /**
   * Runs a call that asks more than once: it is accepted as a whole, and `stop` waits for all of it. What it asks is to be
   * marked as accepted.
   *
   * @throws `STOPPED`
   */
  async during<T>(call: () => Promise<T>): Promise<T> {
    this.#accept(false)
    try {
      return await call()
    } finally {
      this.#answered()
    }
  }

  /**
   * A question to the store itself, which stores nothing.
   *
   * @throws `STOPPED`, `STORE_UNAVAILABLE`
   */
  async ask<A>(question: (store: EventStore) => Promise<A>, isAccepted = false): Promise<A> {
    this.#accept(isAccepted)
    try {
      return await storeAnswer(() => question(this.store))
    } finally {
      this.#answered()
    }
  }

  /** What the store lists, without what is known to have expired. */
  list(userId: string, { limit = Infinity, after }: ListPage, isAccepted = false): Promise<Summary[]> {
    return this.ask(async (store) => {
      const summaries: Summary[] = []
      for (let place = after; ;) {
        const left = limit - summaries.length
        const page = { ...(left !== Infinity && { limit: left }), ...(place && { after: place }) }
        const found = await store.list(userId, page)
        // One by one: as arguments of one push, there may be too many.
        for (const summary of await this.#withoutExpired(found)) summaries.push(summary)
        // Others come in the place of what is left out: only the last page is short.
        if (found.length < left || summaries.length >= limit) return summaries
        place = found.at(-1)
      }
    }, isAccepted)
  }

  /** The forks of a session that the store lists, without what is known to have expired. */
  forks(key: SessionKey): Promise<readonly Summary[]> {
    return this.ask(async (store) => {
      const head = await store.head(key)
      return head ? this.#withoutExpired(await store.forks(head.logId)) : []
    })
  }

  // A summary tells when a session was last written to. When it was read is asked for only where that was too long ago.
  async #withoutExpired(summaries: readonly Summary[]): Promise<readonly Summary[]> {
    if (this.#retention.ttlMs === Infinity) return summaries
    const now = this.clock.now()
    const current: Summary[] = []
    for (const summary of summaries) {
      const mayHave = !summary.deleted && hasExpired(summary.updatedAt, now, this.#retention)
      const head = mayHave ? await this.store.head(keyOf(summary)).catch(unlessCorrupt) : null
      if (!head || head.summary.deleted || !hasExpired(lastUsed(head), now, this.#retention)) current.push(summary)
      else this.#retire(keyOf(summary))
    }
    return current
  }

  /** How many of the newest messages snapshots have, where nothing else is said. */
  get maxMessages(): number {
    return this.#retention.maxMessages
  }

  /** The session at a version or time, with at most `last` of its messages; `null` where there was none. */
  async read(key: SessionKey, options: ReadSettings = {}): Promise<Session<Json> | null> {
    const { at, last = Infinity, isAccepted = false, isUse = true } = options
    const isShort = at === undefined && last !== Infinity && this.#isAccepting
    if (isShort && !this.#registry!.getSnapshot().context.isActive(key)) {
      const session = await this.#readEnd(key, last, isAccepted, isUse)
      if (session) return session
    }
    return this.#read(key, at, at, isAccepted, (log, state) => log.session(state, last), isUse)
  }

  // `answer` is given the log, and its state at `at`; where that is `undefined`, of the newest version. A log that is damaged after
  // `needed` is read up to there.
  async #read<A>(
    key: SessionKey,
    at: number | Date | undefined,
    needed: number | Date | undefined,
    isAccepted: boolean,
    answer: (log: FoldedLog, state: SessionState) => A,
    isUse = true
  ): Promise<A> {
    this.#accept(isAccepted)
    try {
      return await this.#request(key, undefined, true, (resolve, reject) => ({
        type: 'read',
        at,
        isUse,
        resolve: (log, state) => resolve(answer(log, state)),
        reject
      }))
    } catch (error) {
      if (needed === undefined || !isTurnlogError(error, 'CORRUPT_LOG')) throw error
      const log = await storeAnswer(() => readBefore(error, this.store, key, needed))
      return answer(log, log.at(needed))
    } finally {
      this.#answered()
    }
  }

  // Of a long log that is not in memory, the end is enough for few messages. `undefined` where it is not, or there is more to do.
  #readEnd(key: SessionKey, count: number, isAccepted: boolean, isUse: boolean): Promise<Session<Json> | undefined> {
    return this.ask(async (store) => {
      const head = await store.head(key)
      // What a fork begins with may be long, however short its own log is.
      if (!head || head.summary.deleted || (head.version <= SHORT_LOG && !head.summary.forkedFrom)) return undefined
      const [now, usedAt] = [this.clock.now(), lastUsed(head)]
      if (hasExpired(usedAt, now, this.#retention)) return undefined
      const messages = await readLastMessages(store, head.logId, head.version, count)
      if (!messages) return undefined
      if (isUse && isWorthNoting(usedAt, now, this.#retention)) noteUse(store, head.logId, now)
      return sessionOf(head.summary, messages)
    }, isAccepted)
  }

  /** The state at a version or time, and the log that it is of, to fork from. */
  origin(key: SessionKey, at?: number | Date, isAccepted = false): Promise<Origin> {
    return this.#read(key, undefined, at, isAccepted, (log, newest) => {
      const { logId, version } = log
      // Where there is no log, no version of it is missing.
      return { logId, newest: version, state: logId === null || at === undefined ? newest : log.at(at) }
    })
  }

  write(key: SessionKey, command: Command | Import, options: WriteSettings = {}): Promise<Written> {
    const { signal, waits = false, holder, isAccepted = false, maxMessages = Infinity } = options
    return this.#request(key, signal, isAccepted, (resolve, reject) => ({
      type: 'write',
      command,
      signal,
      isSent: false,
      conflicts: 0,
      arrival: 0,
      waits,
      maxMessages,
      onCancel: undefined,
      holder,
      resolve,
      reject
    }))
  }

  /** With `end`, only where the log ends so. */
  purge(key: SessionKey, end?: Pick<Head, 'logId' | 'version'>): Promise<void> {
    return this.#request(key, undefined, false, (resolve, reject) => ({
      type: 'purge',
      end,
      arrival: 0,
      resolve,
      reject
    }))
  }

  /**
   * A time that ends with the first of `causes`, or when the service stops, or by its `end`.
   *
   * @throws `STOPPED`
   */
  span(causes: readonly (AbortSignal | undefined)[]): Span {
    this.assertAccepting()
    return new Span([...causes, this.#life.signal])
  }

  /** Hints that a session's log may have changed, beginning with one at once. Ends when `signal` is aborted. */
  async *changes(key: SessionKey, signal: AbortSignal): AsyncGenerator<void> {
    if (this.store.watch) {
      for await (const _ of this.store.watch(key, signal)) yield
      return
    }
    while (!signal.aborted) {
      yield
      if (signal.aborted) return
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.clock.clearTimeout(timer)
          signal.removeEventListener('abort', wake)
          resolve()
        }
        const timer = this.clock.setTimeout(wake, POLL_MS)
        signal.addEventListener('abort', wake)
      })
    }
  }

  #request<T>(
    key: SessionKey,
    signal: AbortSignal | undefined,
    isAccepted: boolean,
    make: (resolve: Reply<T>['resolve'], reject: Reply<T>['reject']) => SessionCall
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      // Another library's signal need not have throwIfAborted.
      if (signal?.aborted) throw signal.reason
      this.#accept(isAccepted)
      let isAnswered = false
      let cancel: (() => void) | undefined
      const isFirstAnswer = (): boolean => {
        if (isAnswered) return false
        isAnswered = true
        if (cancel) signal!.removeEventListener('abort', cancel)
        this.#answered()
        return true
      }
      const request = make(
        (value) => void (isFirstAnswer() && resolve(value)),
        (reason) => void (isFirstAnswer() && reject(reason))
      )
      if (signal) {
        cancel = () => {
          if (request.type === 'write' && request.isSent) return
          request.reject(signal.reason)
          if (request.type === 'write') request.onCancel?.()
        }
        signal.addEventListener('abort', cancel)
      }
      this.#registry!.send({ type: 'request', key, request })
    })
  }

  #newSweeper(): Sweeper {
    return new Sweeper(this.#retention, this.clock, (question) => this.ask(question), {
      expire: ({ summary }) => this.write(keyOf(summary), { type: 'expire' }),
      purge: ({ summary, logId, version }) => this.purge(keyOf(summary), { logId, version }),
      warn: (message) => this.logger.warn(message)
    })
  }

  // Stores that a session has expired, if it still has; part of the call that has found it.
  #retire(key: SessionKey): void {
    this.#expired.set(keyString(key), key)
    if (this.#isRetiring) return
    this.#isRetiring = true
    this.#underWay++
    void this.#retireAll()
  }

  async #retireAll(): Promise<void> {
    while (this.#expired.size > 0) {
      // Who has come upon it may be about to begin it anew, which says so in the same commit.
      await new Promise((resolve) => setImmediate(resolve))
      const some: Promise<Written>[] = []
      // Not copied: there may be very many.
      for (const [name, key] of this.#expired) {
        this.#expired.delete(name)
        some.push(this.write(key, { type: 'expire' }, { isAccepted: true }))
        if (some.length === RETIRED_AT_ONCE) break
      }
      // What fails will be come upon again.
      await Promise.allSettled(some)
    }
    this.#isRetiring = false
    this.#answered()
  }

  // What is accepted is answered, also while stopping.
  #accept(isAccepted: boolean): void {
    if (!isAccepted) this.assertAccepting()
    this.#underWay++
  }

  #answered(): void {
    if (--this.#underWay === 0) this.#onIdle?.()
  }

  #afterTurnover(work: () => Promise<void>): Promise<void> {
    const done = this.#turnover.then(work)
    this.#turnover = done.catch(() => undefined)
    return done
  }
}

/**
 * A time that ends when one of its causes is aborted, or by `end`. It listens to them only until then: `AbortSignal.any`
 * would for as long as they live, and knows no signals but Node's own.
 */
class Span {
  /** Asking a signal takes longer than giving an event. */
  hasEnded = false
  readonly #controller = new AbortController()
  readonly #listeners: (() => void)[] = []

  constructor(causes: readonly (AbortSignal | undefined)[]) {
    for (const cause of causes) {
      if (!cause || this.hasEnded) continue
      const listener = (): void => this.end(cause.reason)
      if (cause.aborted) listener()
      else {
        cause.addEventListener('abort', listener)
        this.#listeners.push(() => cause.removeEventListener('abort', listener))
      }
    }
  }

  /** Aborted when it ends, with the reason of what ended it. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  end(reason?: unknown): void {
    if (this.hasEnded) return
    this.hasEnded = true
    for (const remove of this.#listeners) remove()
    this.#controller.abort(reason)
  }
}

function newLife(): AbortController {
  const life = new AbortController()
  unwarned(life.signal)
  return life
}

/** A store that says nothing for so long is not well: `health` tells within a second. */
const HEALTH_MS = 900

/** A log of so many events is as well read whole. */
const SHORT_LOG = 500

const MISSING: OptionKeys<NonNullable<EngineOptions['missing']>> = { get: true, append: true }
const IDS: OptionKeys<NonNullable<EngineOptions['ids']>> = { event: true, session: true, message: true }

/** Each is read whole for it. */
const RETIRED_AT_ONCE = 8

type ListPage = Page<Pick<Summary, 'updatedAt' | 'sessionId'>>

function unlessCorrupt(error: unknown): null {
  if (isTurnlogError(error, 'CORRUPT_LOG')) return null
  throw error
}

function keyOf({ userId, sessionId }: Summary): SessionKey {
  return { userId, sessionId }
}

/** The services that use a store, and the opening or closing that is under way. */
interface Uses {
  services: number
  turnover: Promise<void>
}

// Several services may be given one store: the first opens it and the last closes it, one after the other.
const usesOf = new WeakMap<EventStore, Uses>()

function openShared(store: EventStore): Promise<void> {
  return inTurn(store, async (uses) => {
    await store.open()
    uses.services++
  })
}

function closeShared(store: EventStore): Promise<void> {
  return inTurn(store, async (uses) => {
    if (--uses.services === 0) await store.close()
  })
}

function inTurn(store: EventStore, work: (uses: Uses) => Promise<void>): Promise<void> {
  const uses = usesOf.get(store) ?? { services: 0, turnover: Promise.resolve() }
  usesOf.set(store, uses)
  const done = uses.turnover.then(() => work(uses))
  uses.turnover = done.catch(() => undefined)
  return done
}

// A call, as a store may throw before it gives a promise.
async function storeAnswer<A>(call: () => Promise<A>): Promise<A> {
  try {
    return await call()
  } catch (error) {
    throw storeFailure(error, 'not-stored')
  }
}

// What a logger throws would reach the caller in place of the answer.
function quiet(logger: { warn(message: string): void }): { warn(message: string): void } {
  if (typeof logger.warn !== 'function') throw misuse('logger', 'an object with warn', logger)
  return {
    warn(message) {
      try {
        logger.warn(message)
      } catch {
        // There is nobody left to tell.
      }
    }
  }
}

// What an inspector throws would end up in the middle of an actor, and leave callers waiting.
function inspector(
  inspect: NonNullable<EngineOptions['inspect']>,
  logger: { warn(message: string): void }
): InspectionListener {
  if (typeof inspect !== 'function' && typeof inspect.next !== 'function') {
    throw misuse('inspect', 'a function, or an observer with next', inspect)
  }
  let hasWarned = false
  return (event) => {
    try {
      if (typeof inspect === 'function') inspect(event)
      else inspect.next?.(event)
    } catch (error) {
      if (hasWarned) return
      hasWarned = true
      logger.warn(`turnlog: the option inspect has thrown (${String(error)}); this is said once`)
    }
  }
}

function generator(name: string, generate: (() => string) | undefined): (() => string) | undefined {
  if (generate !== undefined && typeof generate !== 'function') throw misuse(`ids.${name}`, 'a function', generate)
  return generate
}

/** A log, its newest version, and a state of it. */
export interface Origin {
  readonly logId: string | null
  readonly newest: number
  readonly state: SessionState
}

/** What is read of a session. */
export interface ReadSettings {
  /** By default the newest version. */
  readonly at?: number | Date | undefined
  /** How many of the newest messages, by default all. */
  readonly last?: number
  /** Part of a call that was accepted: see {@link Engine.during}. */
  readonly isAccepted?: boolean
  /** Whether it renews the time of `retention`; by default it does. */
  readonly isUse?: boolean
}

/** How a write is done, beside what is written. */
export type WriteSettings = Partial<Pick<WriteRequest, 'waits' | 'holder' | 'maxMessages'>> & {
  readonly signal?: AbortSignal | undefined
  /** Part of a call that was accepted: see {@link Engine.during}. */
  readonly isAccepted?: boolean
}

function stopped(): Error {
  return turnlogError('STOPPED', 'The service is stopped', {})
}
