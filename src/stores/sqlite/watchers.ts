import { keyString, type SessionKey } from '../../store.ts'
import type { LogEnd } from './reader.ts'

/** How often the file is looked at for commits of other processes while somebody watches. */
const POLL_MS = 50

/** Tells those who wait for a session to change: of commits here at once, of those of other processes by looking. */
export class Watchers {
  readonly #topics = new Map<string, Topic>()
  readonly #endOf: (key: SessionKey) => LogEnd | undefined
  readonly #dataVersion: () => string | undefined
  #seen: string | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(endOf: (key: SessionKey) => LogEnd | undefined, dataVersion: () => string | undefined) {
    this.#endOf = endOf
    this.#dataVersion = dataVersion
  }

  async *watch(key: SessionKey, signal: AbortSignal): AsyncGenerator<number> {
    const name = keyString(key)
    const topic = this.#topics.get(name) ?? { key, end: this.#endOf(key), listeners: new Set(), hasEnded: false }
    this.#topics.set(name, topic)
    let wake = (): void => undefined
    const listener = (): void => wake()
    topic.listeners.add(listener)
    signal.addEventListener('abort', listener)
    this.#timer ??= setInterval(() => this.#look(), POLL_MS)
    try {
      for (let seen: LogEnd | undefined | null = null; !topic.hasEnded && !signal.aborted;) {
        const { end } = topic
        if (seen !== null && seen?.logId === end?.logId && seen?.version === end?.version) {
          await new Promise<void>((resolve) => (wake = resolve))
        } else {
          seen = end
          yield end?.version ?? 0
        }
      }
    } finally {
      signal.removeEventListener('abort', listener)
      topic.listeners.delete(listener)
      if (topic.listeners.size === 0 && this.#topics.get(name) === topic) this.#topics.delete(name)
      if (this.#topics.size === 0) this.#stop()
    }
  }

  notify(key: SessionKey): void {
    const topic = this.#topics.get(keyString(key))
    if (topic) this.#refresh(topic)
  }

  end(): void {
    this.#stop()
    for (const topic of this.#topics.values()) {
      topic.hasEnded = true
      for (const wake of topic.listeners) wake()
    }
    this.#topics.clear()
  }

  #look(): void {
    try {
      const version = this.#dataVersion()
      if (version === this.#seen) return
      for (const topic of this.#topics.values()) this.#refresh(topic)
      this.#seen = version
    } catch {
      // The file cannot be read now; the next look may find more.
    }
  }

  #refresh(topic: Topic): void {
    topic.end = this.#endOf(topic.key)
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
