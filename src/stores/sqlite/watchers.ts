import { keyString, type SessionKey } from '../../store.ts'
import type { LogEnd, LogReader } from './reader.ts'

/** How often the file is looked at for commits of other processes while somebody watches. */
const POLL_MS = 50

/** Tells those who wait for a session to change: of commits here at once, of those of other processes by looking. */
export class Watchers {
  readonly #topics = new Map<string, Topic>()
  readonly #read: <T>(question: (reader: LogReader) => T) => Promise<T>
  /** By whom, and at which of their changes, the file was last looked at. */
  #seen: { readonly reader: LogReader; readonly changes: string } | undefined
  #timer: NodeJS.Timeout | undefined
  #isLooking = false

  constructor(read: <T>(question: (reader: LogReader) => T) => Promise<T>) {
    this.#read = read
  }

  async *watch(key: SessionKey, signal: AbortSignal): AsyncGenerator<number> {
    const name = keyString(key)
    const topic = this.#topics.get(name) ?? { key, end: undefined, listeners: new Set(), hasEnded: false }
    this.#topics.set(name, topic)
    let wake = (): void => undefined
    const listener = (): void => wake()
    topic.listeners.add(listener)
    signal.addEventListener('abort', listener)
    this.#timer ??= setInterval(() => void this.#look(), POLL_MS)
    try {
      await this.#refresh(topic)
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
      // Closed while the file was being read.
      if (!topic.hasEnded && !signal.aborted) throw error
    } finally {
      signal.removeEventListener('abort', listener)
      topic.listeners.delete(listener)
      if (topic.listeners.size === 0 && this.#topics.get(name) === topic) this.#topics.delete(name)
      if (this.#topics.size === 0) this.#stop()
    }
  }

  /** Whether there is anybody to notify. */
  get isWatching(): boolean {
    return this.#topics.size > 0
  }

  /** Something was written to a session here. */
  notify(key: SessionKey): void {
    const topic = this.#topics.get(keyString(key))
    // Where the file cannot be read now, the next look finds it.
    if (topic) this.#refresh(topic).catch(() => (this.#seen = undefined))
  }

  end(): void {
    this.#stop()
    for (const topic of this.#topics.values()) {
      topic.hasEnded = true
      for (const wake of topic.listeners) wake()
    }
    this.#topics.clear()
  }

  async #look(): Promise<void> {
    if (this.#isLooking) return
    this.#isLooking = true
    try {
      const found = await this.#read((reader) => ({ reader, changes: reader.changes() }))
      if (found.reader === this.#seen?.reader && found.changes === this.#seen.changes) return
      this.#seen = found
      for (const topic of this.#topics.values()) await this.#refresh(topic)
    } catch {
      // The file cannot be read now; the next look may find more.
      this.#seen = undefined
    } finally {
      this.#isLooking = false
    }
  }

  async #refresh(topic: Topic): Promise<void> {
    topic.end = await this.#read((reader) => reader.end(topic.key))
    for (const wake of topic.listeners) wake()
  }

  #stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}

interface Topic {
  readonly key: SessionKey
  end: LogEnd | undefined
  readonly listeners: Set<() => void>
  hasEnded: boolean
}
