import type { Connection } from './connection.ts'
import { Feed } from './feed.ts'
import type { Layout, Place } from './layout.ts'
import { hasLog, type Logs } from './logs.ts'

/** Tells those who wait for a session to change: one consumer a stream for all of them, which is told of every commit. */
export class Watchers {
  readonly #connection: Connection
  readonly #layout: Layout
  readonly #logs: Pick<Logs, 'end' | 'reached'>
  readonly #topics = new Map<string, Topic>()
  readonly #feeds = new Map<string, Feed>()
  #endPurges: (() => void) | undefined

  constructor(connection: Connection, layout: Layout, logs: Pick<Logs, 'end' | 'reached'>) {
    this.#connection = connection
    this.#layout = layout
    this.#logs = logs
  }

  async *watch(place: Place, signal: AbortSignal): AsyncGenerator<number> {
    const { subject } = place
    const topic = this.#topics.get(subject) ?? new Topic(place, this.#logs)
    this.#topics.set(subject, topic)
    let wake = (): void => undefined
    const listener = (): void => wake()
    topic.listeners.add(listener)
    signal.addEventListener('abort', listener)
    try {
      await this.#feed(place.stream).started
      await topic.refresh()
      for (let seen: string | undefined; !topic.hasEnded && !signal.aborted;) {
        const { logId, version } = topic
        if (seen === `${version} ${logId}`) await new Promise<void>((resolve) => (wake = resolve))
        else {
          seen = `${version} ${logId}`
          yield version
        }
      }
    } catch (error) {
      // Closed while it was being read.
      if (!topic.hasEnded && !signal.aborted) throw error
    } finally {
      signal.removeEventListener('abort', listener)
      topic.listeners.delete(listener)
      if (topic.listeners.size === 0 && this.#topics.get(subject) === topic) this.#topics.delete(subject)
      this.#endFeeds()
    }
  }

  end(): void {
    const topics = [...this.#topics.values()]
    this.#topics.clear()
    this.#endFeeds()
    for (const topic of topics) topic.end()
  }

  #feed(stream: string): Feed {
    this.#endPurges ??= this.#connection.subscribe(this.#layout.purged(), ({ subject }) =>
      this.#changed(this.#layout.purgedAt(subject))
    )
    let feed = this.#feeds.get(stream)
    if (!feed) {
      const ofStream = (): void => {
        for (const topic of this.#topics.values()) if (topic.place.stream === stream) this.#refresh(topic)
      }
      feed = new Feed(this.#connection, stream, (subject, seq) => this.#changed(subject, seq), ofStream)
      this.#feeds.set(stream, feed)
      // A feed that cannot begin is no feed: the next who watches tries again.
      feed.started.catch(() => this.#feeds.delete(stream))
    }
    return feed
  }

  // Those that nobody needs any more.
  #endFeeds(): void {
    const needed = new Set(Array.from(this.#topics.values(), ({ place }) => place.stream))
    for (const [stream, feed] of this.#feeds) {
      if (needed.has(stream)) continue
      feed.end()
      this.#feeds.delete(stream)
    }
    if (needed.size > 0) return
    this.#endPurges?.()
    this.#endPurges = undefined
  }

  #changed(subject: string, seq = 0): void {
    const topic = this.#topics.get(subject)
    if (topic) this.#refresh(topic, seq)
  }

  // Where it cannot be read now, as while a stream has no leader, again a while later: no other hint may come.
  #refresh(topic: Topic, seq = 0): void {
    topic.refresh(seq).catch(() => {
      setTimeout(() => {
        if (this.#topics.get(topic.place.subject) === topic) this.#refresh(topic)
      }, AGAIN_MS).unref()
    })
  }
}

/** After how long it is read again. */
const AGAIN_MS = 500

/** A session that is watched. */
class Topic {
  readonly place: Place
  readonly listeners = new Set<() => void>()
  logId = ''
  version = 0
  hasEnded = false
  readonly #logs: Pick<Logs, 'end' | 'reached'>
  #refreshing: Promise<void> | undefined
  #isOld = false
  #newest = 0

  constructor(place: Place, logs: Pick<Logs, 'end' | 'reached'>) {
    this.place = place
    this.#logs = logs
  }

  /** Looks again, for the message of that sequence where one is given; what changes while it looks is looked at after that. */
  async refresh(seq = 0): Promise<void> {
    this.#isOld = true
    this.#newest = Math.max(this.#newest, seq)
    this.#refreshing ??= this.#refresh().finally(() => (this.#refreshing = undefined))
    await this.#refreshing
  }

  async #refresh(): Promise<void> {
    while (this.#isOld) {
      this.#isOld = false
      const newest = this.#newest
      let end = await this.#logs.end(this.place)
      if (end.last < newest) {
        // It was purged, or the leader does not have it yet.
        await this.#logs.reached(this.place.stream, newest)
        end = await this.#logs.end(this.place)
      }
      this.logId = hasLog(end) ? end.newest.note.logId : ''
      this.version = hasLog(end) ? end.newest.note.summary.version : 0
      for (const wake of this.listeners) wake()
    }
  }

  end(): void {
    this.hasEnded = true
    for (const wake of this.listeners) wake()
  }
}
