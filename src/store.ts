import { isTurnlogError, turnlogError, type TurnlogError } from './errors.ts'
import type { ForkOrigin, StoredEvent } from './event.ts'
import type { JsonObject } from './json.ts'
import type { OpenTurn } from './open-turn.ts'

/** The name of a session. Any strings; see the design's section 4 for what the service lets through. */
export interface SessionKey {
  readonly userId: string
  readonly sessionId: string
}

/**
 * What a list shows of a session. Written with each commit, so that no list reads events. A store may keep more of a
 * log beside it but changes nothing in it.
 */
export interface Summary {
  readonly userId: string
  readonly sessionId: string
  /** How many events the log has had. */
  readonly version: number
  readonly createdAt: number
  readonly updatedAt: number
  /** Deleted sessions are not listed. */
  readonly deleted: boolean
  readonly format: string
  readonly metadata: JsonObject
  readonly forkedFrom?: ForkOrigin
  /** The turn that is open. */
  readonly turn?: OpenTurn
}

/** The end of a log. */
export interface Head {
  /** Names one log for good: a session that was purged and created again has another. */
  readonly logId: string
  readonly version: number
  readonly summary: Summary
  /** The latest time that `touch` was given for this log, if it was. */
  readonly touchedAt?: number
}

/** What one caller's call stores: all of its events or none. Plain data, deeply frozen: a store may keep it as it is. */
export interface Commit {
  readonly key: SessionKey
  readonly logId: string
  /** The version that the log must have; 0: there must be no log of that key, and this commit begins it. */
  readonly expectedVersion: number
  /** One or more, with the versions that follow `expectedVersion`. */
  readonly events: readonly StoredEvent[]
  /** The summary after the commit. */
  readonly summary: Summary
  /**
   * Where the log is a fork: the log and version that its messages begin with. Only with `expectedVersion` 0. From
   * then on the store keeps the parent's events up to that version, whatever is purged.
   */
  readonly parent?: { readonly logId: string; readonly version: number }
}

/**
 * How a commit ended. `conflict`: the log is not the one or not at the version expected. `orphaned`: the parent does not
 * have that version, or no longer. Nothing was stored in either case. `failed`: `error` says why, `outcome` whether it may
 * be stored all the same.
 */
export type AppendResult =
  | { readonly status: 'stored' }
  | { readonly status: 'conflict' }
  | { readonly status: 'orphaned' }
  | { readonly status: 'failed'; readonly error: unknown; readonly outcome: 'not-stored' | 'unknown' }

/** Versions of a log, both ends inclusive; by default all. */
export interface ReadRange {
  readonly from?: number
  readonly to?: number
  readonly signal?: AbortSignal
}

/** One page of a list: at most `limit`, those that come after `after`; by default all. */
export interface Page<After> {
  readonly limit?: number
  readonly after?: After
}

/**
 * Where logs are kept. A store keeps bytes and order and compares numbers; what goes in has been checked, and is given
 * back equal. It makes no use of the clock and retries nothing.
 *
 * Every call may be made while others are under way. All but `open`, `close` and `health` reject while the store is
 * closed, with any error, and then change nothing. What is given out may be frozen; if it is not, changing it changes
 * nothing in the store.
 *
 * @see `turnlog/testing` for the suite that a store has to pass.
 */
export interface EventStore {
  readonly supports: {
    /** Survives the end of the process. */
    readonly durable: boolean
    /** Others may write the same logs: processes, or services in this one. Then the service asks for the head before each read. */
    readonly shared: boolean
    /** Has `watch`. */
    readonly push: boolean
    /** The largest commit that can be stored, where there is a limit: the bytes of `JSON.stringify(events)` in UTF-8. */
    readonly maxCommitBytes?: number
  }
  /**
   * Makes the store usable, also again after `close`; of an open store, changes nothing. What was stored before is there
   * if the store is durable, or the object the same.
   */
  open(): Promise<void>
  /** Ends what watches; of a closed store, changes nothing. */
  close(): Promise<void>
  /** Whether a call made now would be answered. Does not reject. */
  health(): Promise<boolean>
  /** The end of the log of that key, also of one that ends with `deleted`; `null` where there is none. */
  head(key: SessionKey): Promise<Head | null>
  /**
   * Stores commits in the order given and answers each for itself, at its place. One that is not stored fails no other,
   * except those after it with the same `logId`: they build on it, so they conflict, even where the log happens to be at
   * the version that they expect. Once answered with `stored`, every read sees it, and none sees a part of it.
   * Rejecting says nothing of any of them.
   */
  append(commits: readonly Commit[]): Promise<readonly AppendResult[]>
  /**
   * The events of a log in order, in pages of any size that is not 0; none where there is no such log. Of a log that
   * was purged, those that a fork shares are still there. Where one is damaged, all before it are given first; then it
   * rejects with `CORRUPT_LOG`. Rejects with the signal's reason when it is aborted, before the
   * first page or between two.
   */
  read(logId: string, range?: ReadRange): AsyncIterable<readonly StoredEvent[]>
  /** The sessions of a user that are not deleted: newest activity first, `updatedAt` descending, then `sessionId` ascending in an order of the store's own. */
  list(userId: string, page?: Page<Pick<Summary, 'updatedAt' | 'sessionId'>>): Promise<readonly Summary[]>
  /** The users that have sessions that are not deleted, each once, in an order that is the store's own and does not change. */
  listUsers(page?: Page<string>): Promise<readonly string[]>
  /** The forks of a log, in order of their creation, also deleted ones; without those that were purged. */
  forks(logId: string): Promise<readonly Summary[]>
  /** The ends of all logs, also of deleted sessions, in an order that is the store's own and does not change; `after` is the `logId` of one of them. */
  heads(page?: Page<string>): Promise<readonly Head[]>
  /** Notes beside a log that its session was in use at `at`, in ms since the Unix epoch. Nothing happens where there is no such log, or it was noted to be in use later. */
  touch(logId: string, at: number): Promise<void>
  /**
   * Erases the log of that key and its name, for good, but for the events that forks share; those go with the last such
   * fork. Nothing happens where there is none, or where `end` is given and the log is another or has another version.
   */
  purge(key: SessionKey, end?: Pick<Head, 'logId' | 'version'>): Promise<void>
  /**
   * The version of the session's log each time it has grown or was purged (then 0), as a hint to read: some may be left
   * out, but never the newest. Begins with the version as it is now. Ends, without an error, when `signal` is aborted or
   * the store closes.
   */
  watch?(key: SessionKey, signal: AbortSignal): AsyncIterable<number>
}

/** One string per key; no two keys share one. */
export function keyString({ userId, sessionId }: SessionKey): string {
  return `${userId.length}:${userId}${sessionId}`
}

/** The order of `list`. */
export function newestFirst(
  a: Pick<Summary, 'updatedAt' | 'sessionId'>,
  b: Pick<Summary, 'updatedAt' | 'sessionId'>
): number {
  if (a.updatedAt !== b.updatedAt) return b.updatedAt - a.updatedAt
  if (a.sessionId === b.sessionId) return 0
  return a.sessionId < b.sessionId ? -1 : 1
}

const METHODS = [
  'open',
  'close',
  'health',
  'head',
  'append',
  'read',
  'list',
  'listUsers',
  'forks',
  'heads',
  'touch',
  'purge'
] as const

/** @throws `NOT_A_STORE`, naming what `value` lacks of an {@link EventStore}. */
export function assertStore(value: unknown): asserts value is EventStore {
  const store = (typeof value === 'object' && value !== null ? value : {}) as Partial<EventStore>
  const missing: string[] = METHODS.filter((method) => typeof store[method] !== 'function')
  if (typeof store.supports !== 'object' || store.supports === null) missing.unshift('supports')
  else if (store.supports.push && typeof store.watch !== 'function') missing.push('watch')
  if (missing.length > 0) {
    const message =
      typeof value === 'string'
        ? 'The option store is a string: of an address, openStore(address) makes a store'
        : `The option store is not an event store: it lacks ${missing.join(', ')}`
    throw turnlogError('NOT_A_STORE', message, { missing })
  }
}

/** What a caller gets when the store failed with `cause`: an error of ours as it is, any other as `STORE_UNAVAILABLE`. */
export function storeFailure(cause: unknown, outcome: 'not-stored' | 'unknown'): TurnlogError {
  if (isTurnlogError(cause)) return cause
  const what = outcome === 'unknown' ? 'whether the call was stored is not known' : 'nothing of the call was stored'
  const message = `The store failed (${cause instanceof Error ? cause.message : String(cause)}); ${what}`
  return turnlogError('STORE_UNAVAILABLE', message, { outcome }, { cause })
}
