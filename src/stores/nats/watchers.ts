import type { Connection } from './connection.ts'
import { Feed } from './feed.ts'
import type { Layout, Place } from './layout.ts'
import { hasLog, type End } from './logs.ts'

/** Tells those who wait for a session to change: one consumer a stream for all of them, which is told of every commit. */
export class Watchers {
  readonly #connection: Connection
  readonly #layout: Layout
  readonly #endOf: (place: Place) => Promise<End>
  readonly #topics = new Map<string, Topic>()
  readonly #feeds = new Map<string, Feed>()
  #endPurges: (() => void) | undefined

  constructor(connection: Connection, layout: Layout, endOf: (place: Place) => Promise<End>) {
    this.#connection = connection
    this.#layout = layout
    this.#endOf = endOf
  }

  async *watch(place: Place, signal: AbortSignal): AsyncGenerator<number> {
    const { subject } = place
    const topic = this.#topics.get(subject) ?? new Topic(place, this.#endOf)
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
        for (const topic of this.#topics.values())
          if (topic.place.stream === stream) void topic.refresh().catch(() => undefined)
      }
      feed = new Feed(this.#connection, stream, (subject) => this.#changed(subject), ofStream)
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

  #changed(subject: string): void {
    // Where it cannot be read now, that is done when there is a connection again.
    this.#topics
      .get(subject)
      ?.refresh()
      .catch(() => undefined)
  }
}

/** A session that is watched. */
class Topic {
  readonly place: Place
  readonly listeners = new Set<() => void>()
  logId = ''
  version = 0
  hasEnded = false
  readonly #endOf: (place: Place) => Promise<End>
  #refreshing: Promise<void> | undefined
  #isOld = false

  constructor(place: Place, endOf: (place: Place) => Promise<End>) {
    this.place = place
    this.#endOf = endOf
  }

  /** Looks again; what changes while it looks is looked at after that. */
  async refresh(): Promise<void> {
    this.#isOld = true
    this.#refreshing ??= this.#refresh().finally(() => (this.#refreshing = undefined))
    await this.#refreshing
  }

  async #refresh(): Promise<void> {
    while (this.#isOld) {
      this.#isOld = false
      const end = await this.#endOf(this.place)
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
