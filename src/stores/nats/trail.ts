import type { Connection } from './connection.ts'
import { Feed } from './feed.ts'

/** As many as a process has under way at once, and some. */
const TRAIL = 4096

/**
 * Of so many messages of others for each from here, and fewer, it is told; more cost more than to ask. And of how many in a row it is told
 * where none is from here any more.
 */
const OTHERS = 16
const IDLE = 512

/** How long it is waited for what was stored to be told of: mostly that comes with the answer. */
const WAIT_MS = 50

/** After how long it is tried again to be told, where that has failed. */
const AGAIN_MS = 10_000

/**
 * What was lately stored in a stream, its subjects by sequence: from here, and where others write about as much, from there, as a consumer
 * tells. It costs the server much less than to be asked about each message.
 */
export class Trail {
  readonly #connection: Connection
  readonly #stream: string
  readonly #sequences = new Float64Array(TRAIL)
  readonly #subjects: string[] = Array.from({ length: TRAIL }, () => '')
  /** How many messages of the stream there are for each from here, about. */
  #spread = 4 * OTHERS
  /** The newest from here, and the newest that was told of. */
  #own = 0
  #told = 0
  #feed: Feed | undefined
  #failedAt = -Infinity
  /** Whether it has been waited in vain since it was last told. */
  #isSilent = false
  readonly #waiting = new Set<() => void>()

  constructor(connection: Connection, stream: string) {
    this.#connection = connection
    this.#stream = stream
  }

  /**
   * Whether nothing of a subject is between `after`, which is one of it, and `seq`, which was stored from here just now. `false`: that
   * is not known.
   */
  async isNext(subject: string, after: number, seq: number): Promise<boolean> {
    this.#add(seq, subject)
    this.#spread += (Math.abs(seq - this.#own) - this.#spread) / OTHERS
    this.#own = Math.max(this.#own, seq)
    if (after === 0 || seq - after > TRAIL) return false
    if (this.#isFree(subject, after, seq)) return true
    if (this.#spread < OTHERS) this.#begin()
    return (await this.#reaches(seq)) && this.#isFree(subject, after, seq)
  }

  end(): void {
    this.#feed?.end()
    this.#feed = undefined
    this.#told = 0
    for (const wake of this.#waiting) wake()
  }

  #isFree(subject: string, after: number, before: number): boolean {
    for (let seq = after + 1; seq < before; seq++) {
      if (this.#sequences[seq % TRAIL] !== seq || this.#subjects[seq % TRAIL] === subject) return false
    }
    return true
  }

  #add(seq: number, subject: string): void {
    this.#sequences[seq % TRAIL] = seq
    this.#subjects[seq % TRAIL] = subject
  }

  #begin(): void {
    if (this.#feed || performance.now() - this.#failedAt < AGAIN_MS) return
    const tell = (subject: string, seq: number): void => {
      this.#add(seq, subject)
      this.#told = seq
      this.#isSilent = false
      for (const wake of this.#waiting) wake()
      if (seq - this.#own > IDLE) this.end()
    }
    const feed = new Feed(this.#connection, this.#stream, tell, () => undefined)
    this.#feed = feed
    feed.started.catch(() => {
      if (this.#feed === feed) this.#feed = undefined
      this.#failedAt = performance.now()
    })
  }

  // Whether it is told of all up to `seq`, or will be in a moment.
  #reaches(seq: number): Promise<boolean> {
    // Not before it has been told once: what was stored before it began does not come.
    if (this.#told === 0 || this.#isSilent) return Promise.resolve(false)
    if (this.#told >= seq) return Promise.resolve(true)
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer)
        this.#waiting.delete(wake)
        resolve(this.#told >= seq)
      }
      const wake = (): void => {
        if (this.#told >= seq || !this.#feed) end()
      }
      const timer = setTimeout(() => {
        this.#isSilent = true
        end()
      }, WAIT_MS)
      this.#waiting.add(wake)
    })
  }
}
