import { turnlogError } from '../errors.ts'
import type { StoredEvent } from '../event.ts'
import {
  keyString,
  newestFirst,
  type AppendResult,
  type Commit,
  type EventStore,
  type Head,
  type Page,
  type ReadRange,
  type SessionKey,
  type Summary
} from '../store.ts'

const STORED: AppendResult = Object.freeze({ status: 'stored' })

/** Events of a log that are read at once. */
const PAGE_SIZE = 1000

/**
 * A store in the memory of this process. What it has is gone with the object, and stays over `close` and `open`. Several
 * services may share one.
 */
export function memoryStore(): EventStore {
  const logs = new Map<string, Log>()
  const logsById = new Map<string, Log>()
  const users = new Map<string, Set<Log>>()
  const watchers = new Map<string, Set<() => void>>()
  // The ids of all logs in order, also of some that were purged since: made anew only when one has begun, as a sweep asks for
  // page after page.
  let order: readonly string[] | undefined
  // One object for the time from `open` to `close`, so that what began in one such time ends with it.
  let opening: object | undefined

  function assertOpen(): void {
    if (opening) return
    throw turnlogError('STORE_UNAVAILABLE', 'The memory store is closed', { outcome: 'not-stored' })
  }

  function appendOne(commit: Commit): AppendResult {
    if (commit.expectedVersion === 0) {
      const name = keyString(commit.key)
      if (logs.has(name)) return { status: 'conflict' }
      const parent = commit.parent && logsById.get(commit.parent.logId)
      if (commit.parent && !(parent && parent.events.length >= commit.parent.version)) return { status: 'orphaned' }
      begin(name, commit, parent)
    } else {
      const log = logsById.get(commit.logId)
      if (!log || !isNamed(log, commit.key) || log.events.length !== commit.expectedVersion)
        return { status: 'conflict' }
      for (const event of commit.events) log.events.push(event)
      log.summary = commit.summary
    }
    if (watchers.size > 0) notify(keyString(commit.key))
    return STORED
  }

  function begin(name: string, { key, logId, events, summary, parent: origin }: Commit, parent?: Log): void {
    const log: Log = {
      logId,
      events: [...events],
      summary,
      parent,
      base: origin?.version ?? 0,
      forks: undefined,
      touchedAt: undefined,
      purged: false
    }
    logs.set(name, log)
    logsById.set(logId, log)
    order = undefined
    const ofUser = users.get(key.userId)
    if (ofUser) ofUser.add(log)
    else users.set(key.userId, new Set([log]))
    if (parent) (parent.forks ??= new Set()).add(log)
  }

  // A purged log stays, without a name, as long as forks need its beginning.
  function release(log: Log): void {
    let needed = 0
    for (const fork of log.forks ?? []) needed = Math.max(needed, fork.base)
    if (needed > 0) {
      log.events = log.events.slice(0, needed)
      return
    }
    logsById.delete(log.logId)
    log.events = []
    const { parent } = log
    parent?.forks?.delete(log)
    if (parent?.purged) release(parent)
  }

  function notify(name: string): void {
    for (const wake of watchers.get(name) ?? []) wake()
  }

  return {
    supports: { durable: false, shared: true, push: true },

    async open() {
      opening ??= {}
    },

    async close() {
      opening = undefined
      for (const name of watchers.keys()) notify(name)
    },

    async health() {
      return opening !== undefined
    },

    async head(key): Promise<Head | null> {
      assertOpen()
      const log = logs.get(keyString(key))
      return log ? headOf(log) : null
    },

    async append(commits) {
      assertOpen()
      let broken: Set<string> | undefined
      return commits.map((commit): AppendResult => {
        const result = broken?.has(commit.logId) ? ({ status: 'conflict' } as const) : appendOne(commit)
        if (result.status !== 'stored') broken = (broken ?? new Set()).add(commit.logId)
        return result
      })
    },

    async *read(logId, { from = 1, to = Infinity, signal }: ReadRange = {}) {
      for (let next = from; ; next += PAGE_SIZE) {
        signal?.throwIfAborted()
        assertOpen()
        const page = logsById.get(logId)?.events.slice(next - 1, Math.min(next - 1 + PAGE_SIZE, to)) ?? []
        if (page.length > 0) yield page
        if (page.length < PAGE_SIZE) return
      }
    },

    async list(userId, { limit = Infinity, after }: Page<Pick<Summary, 'updatedAt' | 'sessionId'>> = {}) {
      assertOpen()
      const live: Summary[] = []
      for (const { summary } of users.get(userId) ?? []) {
        if (!summary.deleted && (!after || newestFirst(after, summary) < 0)) live.push(summary)
      }
      return live.sort(newestFirst).slice(0, limit)
    },

    async listUsers({ limit = Infinity, after }: Page<string> = {}) {
      assertOpen()
      const withSessions: string[] = []
      for (const [userId, ofUser] of users) {
        if ((after === undefined || userId > after) && hasLive(ofUser)) withSessions.push(userId)
      }
      return withSessions.sort().slice(0, limit)
    },

    async forks(logId) {
      assertOpen()
      return Array.from(logsById.get(logId)?.forks ?? [])
        .filter((fork) => !fork.purged)
        .map((fork) => fork.summary)
    },

    async heads({ limit = Infinity, after }: Page<string> = {}) {
      assertOpen()
      const heads: Head[] = []
      order ??= [...logsById.keys()].sort()
      for (let i = after === undefined ? 0 : placeAfter(order, after); i < order.length && heads.length < limit; i++) {
        const log = logsById.get(order[i]!)
        if (log && !log.purged) heads.push(headOf(log))
      }
      return heads
    },

    async touch(logId, at) {
      assertOpen()
      const log = logsById.get(logId)
      if (log && !(log.touchedAt! >= at)) log.touchedAt = at
    },

    async purge(key, end) {
      assertOpen()
      const name = keyString(key)
      const log = logs.get(name)
      if (!log || (end && (log.logId !== end.logId || log.events.length !== end.version))) return
      logs.delete(name)
      const ofUser = users.get(key.userId)
      ofUser?.delete(log)
      if (ofUser?.size === 0) users.delete(key.userId)
      log.purged = true
      release(log)
      notify(name)
    },

    async *watch(key, signal) {
      const name = keyString(key)
      const begunIn = opening
      let wake = (): void => undefined
      const listener = (): void => wake()
      const ofKey = watchers.get(name) ?? new Set()
      watchers.set(name, ofKey.add(listener))
      signal.addEventListener('abort', listener)
      try {
        assertOpen()
        for (let seen: Log | undefined, version = -1; opening === begunIn && !signal.aborted;) {
          const log = logs.get(name)
          const now = log?.events.length ?? 0
          if (log === seen && now === version) await new Promise<void>((resolve) => (wake = resolve))
          else {
            seen = log
            version = now
            yield version
          }
        }
      } finally {
        signal.removeEventListener('abort', listener)
        ofKey.delete(listener)
        if (ofKey.size === 0) watchers.delete(name)
      }
    }
  }
}

interface Log {
  readonly logId: string
  /** By version: event 1 is at 0. */
  events: StoredEvent[]
  summary: Summary
  readonly parent: Log | undefined
  /** How many events of the parent it shows. */
  readonly base: number
  forks: Set<Log> | undefined
  touchedAt: number | undefined
  purged: boolean
}

function headOf({ logId, events, summary, touchedAt }: Log): Head {
  return { logId, version: events.length, summary, ...(touchedAt !== undefined && { touchedAt }) }
}

function isNamed({ summary, purged }: Log, { userId, sessionId }: SessionKey): boolean {
  return !purged && summary.sessionId === sessionId && summary.userId === userId
}

/** Where those begin that are greater. */
function placeAfter(order: readonly string[], id: string): number {
  let [low, high] = [0, order.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (order[middle]! > id) high = middle
    else low = middle + 1
  }
  return low
}

function hasLive(logs: Iterable<Log>): boolean {
  for (const { summary } of logs) if (!summary.deleted) return true
  return false
}
