import { isTurnlogError } from '../errors.ts'
import type { EventData, ForkOrigin, StoredEvent } from '../event.ts'
import { FoldedLog, inheritedBy } from '../folded-log.ts'
import { copyJson, equalJson } from '../json.ts'
import { corruptLog, toSummary } from '../session.ts'
import { storeFailure, type Commit, type EventStore, type Head, type SessionKey, type Summary } from '../store.ts'
import { headsOf } from './context.ts'

// Logs go from store to store as they are: the same ids, versions, times, names of logs. So a fork goes on to refer to the log
// that it was forked from, which is copied before it. Whatever is there is the beginning of what is to be there, so a copy
// that ended anywhere goes on where it was.

/** What is copied, and how it is told of. */
export interface CopyOptions {
  /** Of all users by default. */
  readonly userId: string | undefined
  /** Whether every log is read back at the end, and compared with that in the source. */
  readonly verify: boolean
  readonly signal: AbortSignal
}

/** How far a copy has come. */
export interface CopyCounts {
  /** Logs that were not there, that were there in part, and that were there. */
  copied: number
  continued: number
  same: number
  /** Events that were stored. */
  events: number
  readonly refused: RefusedLog[]
  /** Logs that were read back and are as they were when they were copied, and their events. */
  verified: { sessions: number; events: number }
}

/** A log that could not be copied, or not all of it, or is not what it should be; and why. */
export interface RefusedLog {
  readonly userId: string
  readonly sessionId: string
  readonly code?: string
  readonly message: string
}

/** How a log was found, and the version at which it is there now. */
interface Ending {
  /** `gone`: purged since it was listed. */
  readonly outcome: 'copied' | 'continued' | 'same' | 'gone'
  readonly version: number
}

/** The forks of a log, in order of their creation. */
interface Forks {
  readonly keys: readonly SessionKey[]
  /** So many of them have been copied, or cannot be. */
  done: number
  /** The one after those is on its way. */
  next: Promise<void> | undefined
}

/** Why one log is left as it is; the others go on. */
class Refusal extends Error {}

/** What is to be stored under a key. */
interface Log {
  readonly key: SessionKey
  readonly logId: string
  /** How many events of it; all that there are by default. */
  readonly version?: number
  /** After events that follow those of the call before; with the last of the log, `isWhole`. */
  readonly summary: (events: readonly StoredEvent[], isWhole: boolean) => Promise<Summary>
}

/** A copy of one store to another. Both are open. */
export class StoreCopy {
  readonly counts: CopyCounts = {
    copied: 0,
    continued: 0,
    same: 0,
    events: 0,
    refused: [],
    verified: { sessions: 0, events: 0 }
  }
  readonly #from: EventStore
  readonly #to: EventStore
  readonly #options: CopyOptions
  /** Logs that are on their way, or have been copied for their forks and are not counted yet. */
  readonly #logs = new Map<string, Promise<Ending>>()
  readonly #trunks = new Map<string, Promise<void>>()
  readonly #forks = new Map<string, Promise<Forks>>()
  /** What was copied, and is to be read back: versions by log. About 100 bytes each. */
  readonly #done = new Map<string, number>()

  constructor(from: EventStore, to: EventStore, options: CopyOptions) {
    this.#from = from
    this.#to = to
    this.#options = options
  }

  /**
   * Copies all; those that cannot be are told of in `counts`.
   *
   * @throws `STORE_UNAVAILABLE`, the signal's reason: what is stored by then stays
   */
  async copy(advance: () => void): Promise<void> {
    await this.#each(headsOf({ store: this.#from }, this.#options.userId), async (head) => {
      try {
        const { outcome, version } = await this.#once(head)
        if (outcome === 'gone') return
        this.counts[outcome]++
        this.#done.set(head.logId, version)
      } finally {
        this.#logs.delete(head.logId)
        advance()
      }
    })
  }

  /**
   * Reads back what was copied, and takes away what was only there for the time of copying.
   *
   * @throws as {@link copy}
   */
  async finish(advance: () => void): Promise<void> {
    const helpers: Head[] = []
    /** The versions of logs without a name that forks begin with. */
    const shared = new Map<string, { readonly origin: ForkOrigin; version: number }>()
    const left = new Map(this.#options.verify ? this.#done : [])
    await this.#each(headsOf({ store: this.#to }, undefined), async (head) => {
      if (head.summary.userId === NOBODY) helpers.push(head)
      const version = left.get(head.logId)
      if (version === undefined) return
      left.delete(head.logId)
      advance()
      const first = await this.#compare(head.logId, version)
      this.counts.verified.sessions++
      this.counts.verified.events += version
      const { parent, origin } = first ? parentOf(first) : {}
      if (parent && origin && !this.#done.has(parent.logId)) {
        const known = shared.get(parent.logId)
        if (!known || known.version < parent.version) shared.set(parent.logId, { origin, version: parent.version })
      }
    })
    for (const { logId, version, summary } of helpers) await this.#to.purge(summary, { logId, version })
    for (const [logId, { origin, version }] of shared)
      await this.#reported(origin, async () => void (await this.#compare(logId, version)))
    if (left.size === 0) return
    for await (const { logId, summary } of headsOf({ store: this.#from }, this.#options.userId))
      if (left.has(logId)) this.#refuse(summary, new Refusal('it is not there any more'))
  }

  // Some at once, as the time goes to waiting.
  async #each(heads: AsyncGenerator<Head>, work: (head: Head) => Promise<void>): Promise<void> {
    const worker = async (): Promise<void> => {
      // All of them take from one generator; the first that fails ends it for all.
      for await (const head of heads) {
        this.#options.signal.throwIfAborted()
        await this.#reported(head.summary, () => work(head))
      }
    }
    const ends = await Promise.allSettled(Array.from({ length: AT_ONCE }, worker))
    for (const end of ends) if (end.status === 'rejected') throw end.reason
  }

  async #reported(of: Pick<Summary, 'userId' | 'sessionId'>, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.#options.signal.throwIfAborted()
      if (!isOfOneLog(error)) throw error
      this.#refuse(of, error)
    }
  }

  #refuse({ userId, sessionId }: Pick<Summary, 'userId' | 'sessionId'>, error: Error): void {
    const { message } = error
    this.counts.refused.push({ userId, sessionId, ...(isTurnlogError(error) && { code: error.code }), message })
  }

  #once(head: Head): Promise<Ending> {
    const known = this.#logs.get(head.logId)
    if (known) return known
    const copying = this.#log(head)
    this.#logs.set(head.logId, copying)
    return copying
  }

  async #log({ logId, summary: listed }: Head): Promise<Ending> {
    const key = { userId: listed.userId, sessionId: listed.sessionId }
    // A list may be older, and say something of a log that is damaged.
    const head = await this.#from.head(key)
    if (head?.logId !== logId) return { outcome: 'gone', version: 0 }
    const { version, summary, touchedAt } = head
    const there = await this.#to.head(key)
    if (there && there.logId !== logId) throw new Refusal('another log is there under its name')
    if (there && there.version > version) throw new Refusal(`there it has ${there.version} events, and here ${version}`)
    const isThere = there?.version === version
    if (isThere && !isEqual(there.summary, summary)) throw new Refusal('what is said of it there is something else')
    if (!isThere) {
      const log = { key, logId, version, summary: summariesOf(this.#from, head) }
      await this.#events(log, there?.version ?? 0)
    }
    if (touchedAt !== undefined && (there?.touchedAt ?? -Infinity) < touchedAt) await this.#to.touch(logId, touchedAt)
    return { outcome: isThere ? 'same' : there ? 'continued' : 'copied', version }
  }

  // Stores the events of a log of which `stored` are there, once those are known to be the same.
  async #events({ key, logId, version, summary }: Log, stored: number): Promise<void> {
    const there = flat(this.#to.read(logId, { to: stored }))
    const most = this.#to.supports.maxCommitBytes ?? Infinity
    const room = Math.min(most, COMMIT_BYTES)
    let before: StoredEvent[] = []
    let events: StoredEvent[] = []
    let bytes = EMPTY_BYTES
    let seen = 0
    let parent: Commit['parent']
    const store = async (isWhole: boolean): Promise<void> => {
      const expectedVersion = seen - events.length
      const after = await summary([...before, ...events], isWhole)
      const fork = expectedVersion === 0 && parent ? { parent } : {}
      await this.#store({ key, logId, expectedVersion, events, summary: after, ...fork }, origin)
      this.counts.events += events.length
      before = []
      events = []
      bytes = EMPTY_BYTES
    }
    let origin: ForkOrigin | undefined
    for await (const event of flat(
      this.#from.read(logId, { signal: this.#options.signal, ...(version !== undefined && { to: version }) })
    )) {
      if (event.version !== seen + 1) throw corruptLog({ userId: event.userId, id: event.sessionId, version: seen })
      if (seen === 0) {
        ;({ parent, origin } = parentOf(event))
        if (parent && stored === 0) await this.#elder(parent.logId, key)
      }
      if (seen < stored) {
        const { value } = await there.next()
        if (!value || !isEqual(value, event)) throw new Refusal(`event ${event.version} is another there`)
        seen++
        before.push(event)
        continue
      }
      const size = Buffer.byteLength(JSON.stringify(event)) + COMMA_BYTES
      if (size + EMPTY_BYTES > most)
        throw new Refusal(
          `event ${event.version} takes ${size} bytes, and a commit there at most ${most}; what is before it is there`
        )
      if (events.length === COMMIT_EVENTS || bytes + size > room) await store(false)
      events.push(event)
      bytes += size
      seen++
    }
    if (version !== undefined && seen < version) {
      if ((await this.#from.head(key))?.logId !== logId) throw new Refusal('it was purged here meanwhile')
      throw corruptLog({ userId: key.userId, id: key.sessionId, version: seen })
    }
    if (events.length > 0) await store(true)
  }

  async #store(commit: Commit, origin: ForkOrigin | undefined): Promise<void> {
    for (let hasParent = false; ; hasParent = true) {
      this.#options.signal.throwIfAborted()
      const result = (await this.#to.append([commit]))[0]!
      if (result.status === 'stored') return
      if (result.status === 'conflict') throw new Refusal('it was changed there meanwhile')
      if (result.status === 'failed') throw storeFailure(result.error, result.outcome)
      if (hasParent) throw new Refusal('what it was forked from could not be copied')
      await this.#parent(commit.parent!.logId, origin!)
    }
  }

  // A store gives forks in order of their creation: so before one come those that were created before it. One after the other, as each has
  // read a page of its log: there may be many thousands.
  async #elder(parentLogId: string, { userId, sessionId }: SessionKey): Promise<void> {
    let coming = this.#forks.get(parentLogId)
    if (!coming) {
      coming = this.#from.forks(parentLogId).then((all) => ({
        keys: all.map((fork) => ({ userId: fork.userId, sessionId: fork.sessionId })),
        done: 0,
        next: undefined
      }))
      this.#forks.set(parentLogId, coming)
    }
    const forks = await coming
    const place = forks.keys.findIndex((fork) => fork.sessionId === sessionId && fork.userId === userId)
    while (forks.done < place) await (forks.next ??= this.#nextOf(forks))
  }

  async #nextOf(forks: Forks): Promise<void> {
    try {
      await this.#early(await this.#from.head(forks.keys[forks.done]!))
      forks.done++
    } finally {
      forks.next = undefined
    }
  }

  /** Copies a log before its turn; where that cannot be, it is told of when it is its turn. */
  async #early(head: Head | null): Promise<void> {
    if (!head || this.#done.has(head.logId)) return
    try {
      await this.#once(head)
    } catch (error) {
      if (!isOfOneLog(error)) throw error
    }
  }

  async #parent(logId: string, { userId, sessionId }: ForkOrigin): Promise<void> {
    const head = await this.#from.head({ userId, sessionId })
    if (head?.logId === logId) return this.#early(head)
    const trunk = this.#trunks.get(logId) ?? this.#trunk(logId)
    this.#trunks.set(logId, trunk)
    return trunk
  }

  // What forks share of a log that was purged. For the time of copying it has a name that no session can have, and is hidden;
  // that is purged once all forks are there.
  async #trunk(logId: string): Promise<void> {
    const key = { userId: NOBODY, sessionId: logId }
    const head = await this.#to.head(key)
    if (!head)
      for await (const page of this.#to.read(logId, { to: 1 }))
        if (page.length > 0) throw new Refusal('of what it was forked from, less is there than it begins with')
    const summary = async (events: readonly StoredEvent[]): Promise<Summary> => {
      const { version, at } = events.at(-1)!
      return { ...key, version, createdAt: at, updatedAt: at, deleted: true, format: '', metadata: {} }
    }
    await this.#events({ key, logId, summary }, head?.version ?? 0)
  }

  /** Gives the first event, once those up to a version are known to be the same in both. */
  async #compare(logId: string, version: number): Promise<StoredEvent | undefined> {
    const range = { to: version, signal: this.#options.signal }
    const there = flat(this.#to.read(logId, range))
    let first: StoredEvent | undefined
    let seen = 0
    for await (const event of flat(this.#from.read(logId, range))) {
      const { value } = await there.next()
      seen++
      if (!value || event.version !== seen || !isEqual(value, event))
        throw new Refusal(`event ${seen} was read back as another`)
      first ??= event
    }
    if (seen < version) throw new Refusal(`here it has only ${seen} events any more`)
    return first
  }
}

/** Logs that are copied at once. */
const AT_ONCE = 32

/** A commit is no larger, but for one event that is. */
const COMMIT_EVENTS = 500
const COMMIT_BYTES = 512 * 1024
/** Of an empty list, and of what is between two of its events. */
const EMPTY_BYTES = 2
const COMMA_BYTES = 1

/** Ids of the service are not blank. */
const NOBODY = ' '

// When the store fails there is no going on.
function isOfOneLog(error: unknown): error is Error {
  return error instanceof Refusal || (isTurnlogError(error) && error.code !== 'STORE_UNAVAILABLE')
}

// After part of a log, what that folds into: then at any moment what is there is sound.
function summariesOf(from: EventStore, { logId, summary }: Head): Log['summary'] {
  let log = new FoldedLog(summary, logId)
  return async (events, isWhole) => {
    if (isWhole) return summary
    for (const event of events) {
      const inherited = event.version === 1 ? await inheritedBy(from, event) : undefined
      if (inherited) log = new FoldedLog(summary, logId, inherited)
      log.fold(event)
    }
    return toSummary(log.state)
  }
}

function parentOf({ data }: StoredEvent): { readonly parent?: Commit['parent']; readonly origin?: ForkOrigin } {
  const { forkedFrom: origin, parentLogId: logId } = data as Partial<EventData['created']>
  return origin && logId !== undefined ? { parent: { logId, version: origin.version }, origin } : {}
}

async function* flat<T>(pages: AsyncIterable<readonly T[]>): AsyncGenerator<T, undefined> {
  for await (const page of pages) yield* page
}

function isEqual(a: StoredEvent | Summary, b: StoredEvent | Summary): boolean {
  return JSON.stringify(a) === JSON.stringify(b) || equalJson(copyJson(a), copyJson(b))
}
