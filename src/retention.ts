import { knownOptions, optionsOf, positive, requiredWholeNumber, type OptionKeys } from './arguments.ts'
import { backgroundTimer, type Clock } from './clock.ts'
import type { EventStore, Head } from './store.ts'

/** How long sessions are kept, and how much of them is shown. By default for ever, and all. */
export interface Retention {
  /**
   * A session that nobody has written to or read for so many ms has expired: it is absent, and is deleted with the reason
   * `expired` by whatever process comes upon it: when it is read, written to or listed, or in a sweep over all sessions, which begins with
   * the service and comes again after a tenth of this time (at least a second, at most an hour). `getSession` and `fork` renew the
   * time, noted beside the log and up to a tenth of it late; lists, events, exports and `getSession` with `countsAsUse: false` do not. An import begins it, however old the
   * session is. Until a sweep has come, `listUsers` may name who has expired sessions only, and `readEvents` and exports give them.
   */
  readonly ttlMs?: number | undefined
  /** A session that was deleted, for whatever reason, is purged by the first sweep that comes so many ms later. */
  readonly purgeAfterMs?: number | undefined
  /** How many of the newest messages `messages` shows; of every snapshot, but those of an adapter for a framework. Nothing else changes: the log, forks and rewinds have all. */
  readonly maxMessages?: number | undefined
}

/** Retention as it is applied. */
export interface RetentionRules {
  readonly ttlMs: number
  readonly purgeAfterMs: number
  readonly maxMessages: number
}

/** @throws `TypeError` */
export function retentionRules(retention: Retention | undefined): RetentionRules {
  const { ttlMs, purgeAfterMs, maxMessages } = knownOptions(optionsOf(retention, 'retention'), RULES, 'retention')
  return {
    ttlMs: ttlMs === undefined ? Infinity : positive('retention.ttlMs', ttlMs),
    purgeAfterMs: purgeAfterMs === undefined ? Infinity : positive('retention.purgeAfterMs', purgeAfterMs),
    maxMessages: maxMessages === undefined ? Infinity : mostMessages('retention.maxMessages', maxMessages)
  }
}

/** A whole number of messages, or `Infinity`. */
export function mostMessages(name: string, value: unknown): number {
  return value === Infinity ? Infinity : requiredWholeNumber(name, value, 0)
}

const RULES: OptionKeys<Retention> = { ttlMs: true, purgeAfterMs: true, maxMessages: true }

/** Whether a session that is live and was last used at a time has expired. */
export function hasExpired(usedAt: number, now: number, { ttlMs }: RetentionRules): boolean {
  return now - usedAt >= ttlMs
}

/** Whether a read is worth noting: seldom, as each time is a write to the store. */
export function isWorthNoting(usedAt: number, now: number, { ttlMs }: RetentionRules): boolean {
  return now - usedAt >= ttlMs / 10 && ttlMs !== Infinity
}

/** When the session of a log was last used, as far as the store knows. */
export function lastUsed({ summary, touchedAt = 0 }: Head): number {
  return Math.max(summary.updatedAt, touchedAt)
}

/** Notes beside a log that its session is in use. Not waited for: a note that is lost is made by a later read. */
export function noteUse(store: EventStore, logId: string, now: number): void {
  void (async () => store.touch(logId, Math.floor(now)))().catch(() => undefined)
}

/** What a sweep asks of the service. */
export interface SweepActions {
  /** Deletes the session if it still is expired. */
  readonly expire: (head: Head) => Promise<unknown>
  /** Purges the session if it is still as in `head`. */
  readonly purge: (head: Head) => Promise<unknown>
  readonly warn: (message: string) => void
}

/** Logs that are looked at together. */
const PAGE = 100

/** A sweep is not begun more often, nor less often, than this. */
const SHORTEST_MS = 1_000
const LONGEST_MS = 3_600_000

/** Goes over all logs from time to time, and does to the old ones what the rules say. */
export class Sweeper {
  readonly #rules: RetentionRules
  readonly #clock: Clock
  readonly #ask: <A>(question: (store: EventStore) => Promise<A>) => Promise<A>
  readonly #actions: SweepActions
  #timer: unknown
  #isStopped = false

  constructor(
    rules: RetentionRules,
    clock: Clock,
    ask: <A>(question: (store: EventStore) => Promise<A>) => Promise<A>,
    actions: SweepActions
  ) {
    this.#rules = rules
    this.#clock = clock
    this.#ask = ask
    this.#actions = actions
    this.#later(0)
  }

  stop(): void {
    this.#isStopped = true
    this.#clock.clearTimeout(this.#timer)
  }

  // The first begins at once, beside what the service was started for: not every process lives for long.
  #later(ms: number): void {
    const { ttlMs, purgeAfterMs } = this.#rules
    if (this.#isStopped || Math.min(ttlMs, purgeAfterMs) === Infinity) return
    try {
      this.#timer = backgroundTimer(
        this.#clock,
        () => void this.#sweep().finally(() => this.#later(this.#intervalMs)),
        ms
      )
    } catch (error) {
      this.#actions.warn(`turnlog: what has expired is looked for no more (${String(error)})`)
    }
  }

  get #intervalMs(): number {
    const { ttlMs, purgeAfterMs } = this.#rules
    return Math.min(LONGEST_MS, Math.max(SHORTEST_MS, Math.min(ttlMs, purgeAfterMs) / 10))
  }

  async #sweep(): Promise<void> {
    try {
      for (let after: string | undefined; ;) {
        const page = { limit: PAGE, ...(after !== undefined && { after }) }
        const heads = await this.#ask((store) => store.heads(page))
        for (const head of heads) {
          if (this.#isStopped) return
          await this.#apply(head)
        }
        if (heads.length < PAGE) return
        after = heads.at(-1)!.logId
      }
    } catch (error) {
      // The next sweep may fare better.
      if (!this.#isStopped) this.#actions.warn(`turnlog: what has expired could not be looked for (${String(error)})`)
    }
  }

  // One session that fails does not keep the others.
  async #apply(head: Head): Promise<void> {
    const now = this.#clock.now()
    const { deleted, updatedAt, sessionId } = head.summary
    try {
      if (deleted && now - updatedAt >= this.#rules.purgeAfterMs) await this.#actions.purge(head)
      if (!deleted && hasExpired(lastUsed(head), now, this.#rules)) await this.#actions.expire(head)
    } catch (error) {
      if (!this.#isStopped)
        this.#actions.warn(`turnlog: session ${JSON.stringify(sessionId)} is not retired (${String(error)})`)
    }
  }
}
