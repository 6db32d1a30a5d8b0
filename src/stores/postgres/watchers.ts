import { keyString, type SessionKey } from '../../store.ts'
import type { Connection, Connections, PostgresNotification } from './connections.ts'
import { hashesOf } from './encode.ts'
import type { LogEnd, LogReader } from './reader.ts'

/** How often the server is asked where it does not tell by itself. */
const POLL_MS = 100

/** How often it is made sure that the server still tells. */
const PROBE_MS = 5_000

/** How long it may take to hear of a probe. */
const HEARING_MS = 2_000

/** Between two tries to be told, at first and at most. */
const RETRY_MS = 500
const LONGEST_RETRY_MS = 60_000

/** Bytes of a session in a notification, in hexadecimal. */
const TAG_LENGTH = 16

/**
 * Tells those who wait for a session to change. The server tells by `NOTIFY`, to a connection that does nothing else. Whether it
 * does is not taken for granted: behind a pooler such as PgBouncer nothing may come, and a connection may be cut without a word. So a probe
 * is sent by another connection, now and then, and as long as it has not been heard, the server is asked.
 */
export class Watchers {
  readonly #connections: Connections
  readonly #reader: LogReader
  /** `undefined`: nobody listens. */
  readonly #channel: string | undefined
  readonly #topics = new Map<string, Topic>()
  readonly #byTag = new Map<string, Set<Topic>>()
  readonly #stale = new Set<Topic>()
  #looking: Promise<unknown> = Promise.resolve()
  #coming: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #isPolling = false
  #hasMissed = false
  #ear: Ear | undefined
  #isPreparing = false
  #retryAt = 0
  #retryMs = RETRY_MS

  constructor(connections: Connections, reader: LogReader, channel: string | undefined) {
    this.#connections = connections
    this.#reader = reader
    this.#channel = channel
  }

  async *watch(key: SessionKey, signal: AbortSignal): AsyncGenerator<number> {
    const topic = this.#topicOf(key)
    let wake = (): void => undefined
    const listener = (): void => wake()
    topic.listeners.add(listener)
    signal.addEventListener('abort', listener)
    this.#timer ??= setInterval(() => this.#tick(), POLL_MS)
    this.#tick()
    try {
      await this.#look([topic])
      for (let seen: LogEnd | undefined | null = null; !topic.hasEnded && !signal.aborted;) {
        const { end } = topic
        if (seen !== null && seen?.logId === end?.logId && seen?.version === end?.version) {
          await new Promise<void>((resolve) => (wake = resolve))
        } else {
          seen = end
          yield end?.version ?? 0
        }
      }
    } catch (error) {
      // Closed while it was asked.
      if (!topic.hasEnded && !signal.aborted) throw error
    } finally {
      signal.removeEventListener('abort', listener)
      topic.listeners.delete(listener)
      if (topic.listeners.size === 0) this.#forget(topic)
    }
  }

  end(): void {
    for (const topic of this.#topics.values()) {
      topic.hasEnded = true
      for (const wake of topic.listeners) wake()
      this.#forget(topic)
    }
    this.#retryMs = RETRY_MS
    this.#retryAt = 0
  }

  #topicOf(key: SessionKey): Topic {
    const name = keyString(key)
    const found = this.#topics.get(name)
    if (found) return found
    const { owner, session } = hashesOf(key)
    const tag = owner.toString('hex', 0, TAG_LENGTH / 4) + session.toString('hex', 0, TAG_LENGTH / 4)
    const topic: Topic = { key, name, tag, end: undefined, listeners: new Set(), hasEnded: false }
    this.#topics.set(name, topic)
    const alike = this.#byTag.get(tag) ?? new Set()
    this.#byTag.set(tag, alike.add(topic))
    return topic
  }

  #forget(topic: Topic): void {
    if (this.#topics.get(topic.name) !== topic) return
    this.#topics.delete(topic.name)
    const alike = this.#byTag.get(topic.tag)!
    alike.delete(topic)
    if (alike.size === 0) this.#byTag.delete(topic.tag)
    if (this.#topics.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#stopListening()
  }

  #tick(): void {
    const now = performance.now()
    const ear = this.#ear
    if (!ear) {
      const canListen = this.#channel !== undefined && this.#connections.canKeepOne
      if (canListen && now >= this.#retryAt && !this.#isPreparing) void this.#listen(this.#channel)
    } else if (ear.probedAt + HEARING_MS < now && ear.heardAt < ear.probedAt) this.#stopListening()
    else if (ear.probedAt + PROBE_MS < now) this.#probe(ear)
    if (!this.#ear?.isHearing || this.#hasMissed) void this.#poll()
  }

  async #poll(): Promise<void> {
    if (this.#isPolling) return
    this.#isPolling = true
    try {
      this.#hasMissed = false
      await this.#look(this.#topics.values())
    } catch {
      // The server is away; the next time may find more.
      this.#hasMissed = true
    } finally {
      this.#isPolling = false
    }
  }

  async #listen(channel: string): Promise<void> {
    this.#isPreparing = true
    this.#retryAt = performance.now() + this.#retryMs
    this.#retryMs = Math.min(2 * this.#retryMs, LONGEST_RETRY_MS)
    let connection: Connection | undefined
    try {
      connection = await this.#connections.takeToKeep()
      const ear = new Ear(connection, channel)
      ear.onTags = (tags) => this.#noteTags(tags)
      ear.onHearing = () => {
        this.#retryMs = RETRY_MS
        // What came before is not told any more.
        void this.#poll()
      }
      ear.onEnd = () => {
        if (this.#ear === ear) this.#stopListening()
      }
      await ear.listen()
      if (this.#topics.size === 0) return connection.release(true)
      this.#ear = ear
      this.#probe(ear)
    } catch {
      connection?.release(true)
    } finally {
      this.#isPreparing = false
    }
  }

  #probe(ear: Ear): void {
    ear.probedAt = performance.now()
    const values = [ear.channel, ear.probe]
    // Where it cannot be sent, it is not heard.
    this.#connections.ask('SELECT pg_notify($1, $2)', values).catch(() => undefined)
  }

  #stopListening(): void {
    const ear = this.#ear
    this.#ear = undefined
    ear?.close()
  }

  #noteTags(tags: string): void {
    const topics: Topic[] = []
    for (let i = 0; i < tags.length; i += TAG_LENGTH)
      topics.push(...(this.#byTag.get(tags.slice(i, i + TAG_LENGTH)) ?? []))
    if (topics.length > 0) this.#look(topics).catch(() => (this.#hasMissed = true))
  }

  // One question after the other: what was asked before is not to be taken for what is newer.
  #look(topics: Iterable<Topic>): Promise<void> {
    for (const topic of topics) this.#stale.add(topic)
    this.#coming ??= this.#looking.then(async () => {
      this.#coming = undefined
      const stale = [...this.#stale]
      this.#stale.clear()
      if (stale.length === 0) return
      const ends = await this.#reader.ends(stale.map(({ key }) => key))
      for (const [i, topic] of stale.entries()) {
        topic.end = ends[i]
        for (const wake of topic.listeners) wake()
      }
    })
    this.#looking = this.#coming.catch(() => undefined)
    return this.#coming
  }
}

interface Topic {
  readonly key: SessionKey
  readonly name: string
  /** What a notification calls the session. */
  readonly tag: string
  end: LogEnd | undefined
  readonly listeners: Set<() => void>
  hasEnded: boolean
}

let ears = 0

/** A connection that listens. */
class Ear {
  readonly channel: string
  readonly #connection: Connection
  /** Of no other process. */
  readonly probe = `!${process.pid}.${++ears}.${Math.random().toString(36).slice(2)}`
  probedAt = 0
  heardAt = -1
  /** Notifications have come through. */
  isHearing = false
  onTags: (tags: string) => void = () => undefined
  onHearing: () => void = () => undefined
  onEnd: () => void = () => undefined

  constructor(connection: Connection, channel: string) {
    this.#connection = connection
    this.channel = channel
  }

  async listen(): Promise<void> {
    const { client } = this.#connection
    client.on('notification', this.#hear)
    client.on('error', this.#end)
    client.on('end', this.#end)
    await this.#connection.ask(`LISTEN "${this.channel}"`)
  }

  close(): void {
    const { client } = this.#connection
    client.off('notification', this.#hear)
    client.off('end', this.#end)
    // It listens: it is of no use for anything else.
    this.#connection.release(true)
    client.off('error', this.#end)
  }

  readonly #hear = ({ channel, payload = '' }: PostgresNotification): void => {
    if (channel !== this.channel) return
    if (!payload.startsWith('!')) this.onTags(payload)
    else if (payload === this.probe) {
      this.heardAt = performance.now()
      if (this.isHearing) return
      this.isHearing = true
      this.onHearing()
    }
  }

  readonly #end = (): void => this.onEnd()
}
