import { nanoid } from 'nanoid'
import { createActor, type ActorOptions, type AnyActorLogic } from 'xstate'
import { oneOf, positive } from './arguments.ts'
import { turnlogError } from './errors.ts'
import type { Json } from './json.ts'
import { registryLogic, type Clock, type RegistryActor } from './registry-actor.ts'
import type { Command, Session } from './session.ts'
import type { SessionRequest } from './session-actor.ts'
import { assertStore, storeFailure, type EventStore, type SessionKey } from './store.ts'
import { memoryStore } from './stores/memory.ts'

/** Options of a service, whatever the type of its messages. Copied; later changes have no effect. */
export interface EngineOptions {
  /**
   * Where the logs are kept.
   * @default memoryStore()
   */
  readonly store?: EventStore
  /** What a call does where there is no session: never created, or deleted, or purged. */
  readonly missing?: {
    /**
     * `getSession` without `at`: make an empty one, give `null`, or throw `SESSION_NOT_FOUND`.
     * @default 'create'
     */
    readonly get?: 'create' | 'null' | 'throw'
    /**
     * `appendMessage`, `putMessage`, `updateMetadata` and `commit`: log a warning and give `null`, make the session in the
     * same commit, or throw `SESSION_NOT_FOUND`.
     * @default 'warn'
     */
    readonly append?: 'warn' | 'create' | 'throw'
  }
  /**
   * Where time comes from; what is left out is the system's. xstate's `SimulatedClock` fits.
   * @default Date.now, setTimeout, clearTimeout
   */
  readonly clock?: Partial<Clock>
  /**
   * Where ids come from: each must give a new one on each call, those of events unique among all processes.
   * @default nanoid(); for messages with `msg_` before it
   */
  readonly ids?: { readonly event?: () => string; readonly session?: () => string; readonly message?: () => string }
  /**
   * Who is told of what is odd but no error.
   * @default console
   */
  readonly logger?: { warn(message: string): void }
  /**
   * How many sessions are kept in memory, folded. Of the others, those that were not used lately are dropped, and read from
   * the store when they are asked for. Busy ones may exceed it for a moment.
   * @default 10_000
   */
  readonly maxActiveSessions?: number
  /**
   * After how many ms without a request a session is dropped from memory. `Infinity`: never.
   * @default 300_000
   */
  readonly idleMs?: number
  /**
   * The largest message, in bytes of its JSON in UTF-8.
   * @default 16_777_216
   */
  readonly maxMessageBytes?: number
  /**
   * xstate's `inspect`: is told of every actor, event and snapshot.
   * @see https://stately.ai/docs/inspection
   */
  readonly inspect?: NonNullable<ActorOptions<AnyActorLogic>['inspect']>
}

/** The running parts of a service: its store and its actors. Knows nothing of the types of messages. */
export class Engine {
  readonly store: EventStore
  readonly missing: { readonly get: 'create' | 'null' | 'throw'; readonly append: 'warn' | 'create' | 'throw' }
  readonly logger: { warn(message: string): void }
  readonly maxMessageBytes: number
  readonly newMessageId: () => string
  readonly newSessionId: () => string
  readonly #newRegistry: () => RegistryActor
  #registry: RegistryActor | undefined
  #isAccepting = false
  /** `start` and `stop` take effect one after the other. */
  #turnover: Promise<void> = Promise.resolve()
  /** Calls that were accepted and are not answered yet. */
  #underWay = 0
  #onIdle: (() => void) | undefined

  constructor({
    store,
    missing,
    clock,
    ids,
    logger,
    maxActiveSessions,
    idleMs,
    maxMessageBytes,
    inspect
  }: EngineOptions) {
    this.store = store ?? memoryStore()
    assertStore(this.store)
    this.missing = {
      get: oneOf('missing.get', missing?.get ?? 'create', ['create', 'null', 'throw']),
      append: oneOf('missing.append', missing?.append ?? 'warn', ['warn', 'create', 'throw'])
    }
    this.logger = logger ?? console
    this.maxMessageBytes = positive('maxMessageBytes', maxMessageBytes ?? 16 * 1024 * 1024)
    this.newMessageId = ids?.message ?? (() => `msg_${nanoid()}`)
    this.newSessionId = ids?.session ?? (() => nanoid())
    const time = systemClock(clock)
    const input = {
      environment: { store: this.store, now: () => time.now(), newEventId: ids?.event ?? (() => nanoid()) },
      clock: time,
      maxActiveSessions: positive('maxActiveSessions', maxActiveSessions ?? 10_000),
      idleMs: positive('idleMs', idleMs ?? 300_000),
      inspect
    }
    this.#newRegistry = () => createActor(registryLogic, { input, id: 'registry', ...(inspect && { inspect }) })
  }

  start(): Promise<void> {
    return this.#afterTurnover(async () => {
      if (!this.#registry) {
        await this.ask(() => this.store.open())
        this.#registry = this.#newRegistry()
        this.#registry.start()
      }
      this.#isAccepting = true
    })
  }

  stop(): Promise<void> {
    this.#isAccepting = false
    return this.#afterTurnover(async () => {
      this.#isAccepting = false
      if (this.#underWay > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve))
      if (!this.#registry) return
      this.#registry.send({ type: 'stop' })
      this.#registry.stop()
      this.#registry = undefined
      await this.ask(() => this.store.close())
    })
  }

  async health(): Promise<boolean> {
    try {
      return this.#isAccepting && (await this.store.health())
    } catch {
      return false
    }
  }

  /**
   * A call of the service, which `stop` waits for.
   *
   * @throws `STOPPED`
   */
  async run<T>(call: () => Promise<T>): Promise<T> {
    this.assertAccepting()
    this.#underWay++
    try {
      return await call()
    } finally {
      if (--this.#underWay === 0) this.#onIdle?.()
    }
  }

  /** @throws `STOPPED` */
  assertAccepting(): void {
    if (!this.#isAccepting) throw turnlogError('STOPPED', 'The service is stopped', {})
  }

  /** A question to the store that stores nothing. */
  async ask<A>(question: () => Promise<A>): Promise<A> {
    try {
      return await question()
    } catch (error) {
      throw storeFailure(error, 'not-stored')
    }
  }

  read(key: SessionKey, at?: number | Date, last?: number): Promise<Session<Json> | null> {
    return new Promise((resolve, reject) => this.#send(key, { type: 'read', at, last, resolve, reject }))
  }

  write(key: SessionKey, command: Command, signal?: AbortSignal): Promise<Written> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted()
      const request: SessionRequest = {
        type: 'write',
        command,
        signal,
        isSent: false,
        conflicts: 0,
        resolve: (session, hasStored) => {
          signal?.removeEventListener('abort', cancel)
          resolve({ session, hasStored })
        },
        reject: (reason) => {
          signal?.removeEventListener('abort', cancel)
          reject(reason)
        }
      }
      const cancel = (): void => {
        if (!request.isSent) request.reject(signal!.reason)
      }
      signal?.addEventListener('abort', cancel)
      this.#send(key, request)
    })
  }

  purge(key: SessionKey): Promise<void> {
    return new Promise((resolve, reject) => this.#send(key, { type: 'purge', resolve, reject }))
  }

  #send(key: SessionKey, request: SessionRequest): void {
    this.#registry!.send({ type: 'request', key, request })
  }

  #afterTurnover(work: () => Promise<void>): Promise<void> {
    const done = this.#turnover.then(work)
    this.#turnover = done.catch(() => undefined)
    return done
  }
}

/** What a write came to: the session after it, and whether it has stored something. */
export interface Written {
  readonly session: Session<Json> | null
  readonly hasStored: boolean
}

function systemClock(given: Partial<Clock> = {}): Clock {
  return {
    now: () => (given.now ? given.now() : Date.now()),
    setTimeout: (callback, ms) => (given.setTimeout ? given.setTimeout(callback, ms) : setTimeout(callback, ms)),
    clearTimeout: (timer) =>
      given.clearTimeout ? given.clearTimeout(timer) : clearTimeout(timer as NodeJS.Timeout | undefined)
  }
}
