import type { Clock } from './clock.ts'
import type { Retention } from './retention.ts'
import type { EventStore } from './store.ts'

// Apart from what they are for: the types of a program with turnlog are not to need those of xstate.

/** Options of a service, whatever the type of its messages. Copied; later changes have no effect. */
export interface EngineOptions {
  /**
   * Where the logs are kept; `'env'`: in the store that the environment variable `TURNLOG_STORE` names, as for `openStore`.
   * @default memoryStore()
   */
  readonly store?: EventStore | 'env' | undefined
  /** What a call does where there is no session: never created, or deleted, or purged. */
  readonly missing?: {
    /**
     * `getSession` without `at`: make an empty one, give `null`, or throw `SESSION_NOT_FOUND`.
     * @default 'create'
     */
    readonly get?: 'create' | 'null' | 'throw' | undefined
    /**
     * `appendMessage`, `putMessage`, `updateMetadata` and `commit`: log a warning and give `null`, make the session in the
     * same commit, or throw `SESSION_NOT_FOUND`.
     * @default 'warn'
     */
    readonly append?: 'warn' | 'create' | 'throw' | undefined
  }
  /**
   * Where time comes from; what is left out is the system's. xstate's `SimulatedClock` fits.
   * @default Date.now, setTimeout, clearTimeout
   */
  readonly clock?: Partial<Clock> | undefined
  /**
   * Where ids come from: each must give a new one on each call, those of events unique among all processes.
   * @default as nanoid() makes them; for messages with `msg_` before it
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
  readonly maxActiveSessions?: number | undefined
  /**
   * About how much memory the sessions in it may take, in bytes, with their messages. As with their number, busy ones may exceed it
   * for a moment, and one that is larger does as long as it is in use.
   * @default 268_435_456
   */
  readonly maxActiveBytes?: number | undefined
  /**
   * After how many ms without a request a session is dropped from memory. `Infinity`: never.
   * @default 300_000
   */
  readonly idleMs?: number | undefined
  /**
   * The largest message, in bytes of its JSON in UTF-8, as it is stored: with its defaults.
   * @default 16_777_216
   */
  readonly maxMessageBytes?: number | undefined
  /**
   * How long sessions are kept, and how much of them is shown: `ttlMs`, `purgeAfterMs`, `maxMessages`.
   * @default none: for ever, and all
   */
  readonly retention?: Retention | undefined
  /**
   * xstate's `inspect`: is told of every actor, event and snapshot. What it throws is logged, once, and changes nothing.
   * @see https://stately.ai/docs/inspection
   */
  readonly inspect?: InspectionListener | InspectionObserver | undefined
}

/** What `inspect` is told: xstate's `InspectionEvent`, as far as it tells something here. */
export interface InspectionEvent {
  /** `@xstate.actor`, `@xstate.event`, `@xstate.snapshot`, … */
  readonly type: string
  readonly rootId: string
  /** `id` is `registry`, or the user id and the session id with a slash between them. */
  readonly actorRef: { readonly sessionId: string; readonly id?: string }
  readonly event?: { readonly type: string }
  readonly snapshot?: object
}

/** An observer, as xstate takes one. */
export type InspectionObserver = { next?: InspectionListener }

/** Takes functions for xstate's own events, too: hence a method's type, whose parameter may be narrower. */
export type InspectionListener = { call(event: InspectionEvent): void }['call']
