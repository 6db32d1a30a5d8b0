import { noSessionThen, type Content } from './content.ts'
import { isTurnlogError, type TurnlogErrorOf } from './errors.ts'
import type { EventData, ForkOrigin, StoredEvent } from './event.ts'
import { memoryOf, type Json } from './json.ts'
import { corruptLog, fold, initialState, makeOld, toSession, type Session, type SessionState } from './session.ts'
import { ArrayMaker } from './message-log.ts'
import type { EventStore, Head, SessionKey } from './store.ts'

/**
 * A log that has been read: the state at each of its versions, so that any of them is at hand without replaying. The
 * states share what they have in common. Only grows.
 */
export class FoldedLog {
  readonly key: SessionKey
  /** `null`: there is no log. */
  readonly logId: string | null
  /** By version; at 0 the state without a log. */
  readonly #states: SessionState[]
  #newest: Session<Json> | undefined
  /** The same with fewer messages. */
  #shortened: Session<Json> | undefined
  readonly #arrays = new ArrayMaker<Json>()
  /** How many. */
  #shown = Infinity
  /** When the session was last read, as far as is known, in ms since the Unix epoch. */
  touchedAt = 0
  /** About how much memory it takes. */
  bytes = SESSION_BYTES

  /** `inherited`: what the log begins with, where it is a fork's. */
  constructor(key: SessionKey, logId: string | null, inherited?: Content) {
    this.key = key
    this.logId = logId
    this.#states = [initialState(key, inherited)]
  }

  /** The newest state. */
  get state(): SessionState {
    return this.#states[this.#states.length - 1]!
  }

  get version(): number {
    return this.#states.length - 1
  }

  /** Whether the log is as new as `head`, or newer. */
  reaches(head: Head | null): boolean {
    return head === null ? this.logId === null : this.logId === head.logId && this.version >= head.version
  }

  /** Whether `head` is the end of this log as it is here. */
  endsAt(head: Head | null): boolean {
    return this.reaches(head) && this.version === (head?.version ?? 0)
  }

  /** Adds the states after the newest, in order, and what the events add to them. */
  add(states: readonly SessionState[], events: readonly StoredEvent[]): void {
    for (const state of states) this.#states.push(state)
    for (const { data } of events) this.bytes += STATE_BYTES + memoryOf(data)
  }

  /** Takes over from a head of this log when that was last read. */
  noteTouch(head: Head | null): void {
    if (head?.touchedAt !== undefined && head.logId === this.logId && head.touchedAt > this.touchedAt)
      this.touchedAt = head.touchedAt
  }

  /** @throws `CORRUPT_LOG`, `UNKNOWN_EVENT` */
  fold(event: StoredEvent): void {
    this.#states.push(fold(this.state, event, (version) => this.#states[version]!))
    this.bytes += STATE_BYTES + memoryOf(event.data)
  }

  /**
   * The state at a version or time, by default the newest; version 0 is before the first event.
   *
   * @throws `VERSION_NOT_FOUND` beyond the newest version.
   */
  at(when?: number | Date): SessionState {
    if (when === undefined) return this.state
    if (typeof when !== 'number') return this.#states[this.#versionAt(when.getTime())]!
    const state = this.#states[when]
    if (state) return state
    throw noSessionThen(when, this.version)
  }

  /** The snapshot of a state of this log; of the newest it is one and the same object. `null` where there is no session then. */
  session(state: SessionState, last = Infinity): Session<Json> | null {
    if (!state.isLive) return null
    if (state !== this.state) return toSession(state, last)
    if (last !== Infinity) {
      if (this.#shortened?.version !== state.version || this.#shown !== last) this.#shortened = toSession(state, last)
      this.#shown = last
      return this.#shortened
    }
    if (this.#newest?.version !== state.version) {
      if (this.#newest) makeOld(this.#newest)
      this.#newest = toSession(state, last, this.#arrays)
    }
    return this.#newest
  }

  // The version of the last event not later than `time`: times never decrease along a log.
  #versionAt(time: number): number {
    let low = 0
    let high = this.version
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      if (this.#states[middle]!.updatedAt <= time) low = middle
      else high = middle - 1
    }
    return low
  }
}

/** About how much memory an active session takes before its first event, and each event beyond its data. See test/bench. */
const SESSION_BYTES = 5_400
const STATE_BYTES = 800

/**
 * The log as it is in the store: `log` itself, grown by what is new, or another where it was purged. `onEvent` is told of
 * each event that was read.
 *
 * @throws what the store throws; `CORRUPT_LOG`, `UNKNOWN_EVENT`
 */
export async function catchUp(
  store: EventStore,
  log: FoldedLog,
  onEvent?: (event: StoredEvent) => void
): Promise<FoldedLog> {
  for (let seen: Head | null = null; ;) {
    const head = await store.head(log.key)
    if (!head) return new FoldedLog(log.key, null)
    if (head.logId !== log.logId || head.version < log.version) log = new FoldedLog(log.key, head.logId)
    try {
      log = await grow(store, log, head.logId, Infinity, onEvent)
    } catch (error) {
      // What a fork begins with is erased with the last fork: it may be this one that was purged meanwhile.
      if (isTurnlogError(error, 'CORRUPT_LOG') && (await store.head(log.key))?.logId !== head.logId) continue
      throw error
    }
    log.noteTouch(head)
    if (log.version >= head.version) return log
    // Events are missing: the log was purged meanwhile, and then the head is another; or they are lost.
    if (seen?.logId === head.logId) throw corruptLog(log.state)
    seen = head
  }
}

/**
 * The log up to a version or time, where it cannot be read as a whole: the state then is sound if the damage comes later.
 *
 * @throws `damage` where it does not, or that cannot be told; as {@link catchUp}
 */
export async function readBefore(
  damage: TurnlogErrorOf<'CORRUPT_LOG'>,
  store: EventStore,
  key: SessionKey,
  at: number | Date
): Promise<FoldedLog> {
  // Of a fork, it may be the parent that is damaged.
  const isOwn = damage.userId === key.userId && damage.sessionId === key.sessionId
  const head = await store.head(key)
  if (!head || !isOwn || (typeof at === 'number' && at >= damage.version)) throw damage
  const to = typeof at === 'number' ? at : damage.version - 1
  const log = await grow(store, new FoldedLog(key, head.logId), head.logId, to)
  // That an event is the last at a time shows from the one after it.
  const reachesIt = typeof at === 'number' ? log.version === at : log.state.updatedAt > at.getTime()
  if (!reachesIt) throw damage
  return log
}

async function grow(
  store: EventStore,
  log: FoldedLog,
  logId: string,
  to: number,
  onEvent?: (event: StoredEvent) => void
): Promise<FoldedLog> {
  for await (const page of store.read(logId, { from: log.version + 1, to })) {
    for (const event of page) {
      const inherited = event.version === 1 ? await inheritedBy(store, event) : undefined
      if (inherited) {
        log = new FoldedLog(log.key, logId, inherited)
        // Here it shares with no parent.
        for (const message of inherited.messages.toArray()) log.bytes += memoryOf(message)
      }
      log.fold(event)
      onEvent?.(event)
    }
  }
  return log
}

/**
 * What a log begins with if its first event says that it is in another log: the parent's content where the fork was made. The
 * parent may be a fork, too, and may have lost its name.
 *
 * @throws what the store throws; `CORRUPT_LOG`, `UNKNOWN_EVENT`
 */
export async function inheritedBy(store: EventStore, first: StoredEvent): Promise<Content | undefined> {
  const { forkedFrom, parentLogId } = (first.data as Partial<EventData['created']> | undefined) ?? {}
  return forkedFrom && parentLogId !== undefined ? contentOf(store, parentLogId, forkedFrom) : undefined
}

async function contentOf(
  store: EventStore,
  logId: string,
  { userId, sessionId, version }: ForkOrigin
): Promise<Content> {
  const parent = await grow(store, new FoldedLog({ userId, sessionId }, logId), logId, version)
  if (parent.version < version) throw corruptLog(parent.state)
  return parent.state
}
