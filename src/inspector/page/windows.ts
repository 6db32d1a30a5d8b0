import { signal } from '@preact/signals'

/** So many entries are asked for at once, and kept. */
const ASKED = 40
const KEPT = 1_000
/** Whoever scrolls fast is past many entries before they would be here. */
const REST_MS = 40
const AGAIN_MS = 5_000

/** The stamp of entries whose places are not known yet: with another stamp, nothing of them stays. */
export const PROVISIONAL = -1

interface Entry<T> {
  readonly value: T
  readonly since: number
  readonly stamp: number
}

/**
 * Entries of a long list, of which only those are fetched that come into view. Entries of an older stamp are shown until those of the present one are
 * here: then nothing flickers.
 */
export class Windows<T> {
  readonly #fetch: (from: number, count: number, signal: AbortSignal) => Promise<readonly T[]>
  readonly #entries = new Map<number, Entry<T>>()
  /** Grows whenever there are others. */
  readonly #changes = signal(0)
  #stamp = 0
  #count = 0
  #seen: readonly [first: number, last: number] = [0, -1]
  #flight: AbortController | undefined
  #timer: ReturnType<typeof setTimeout> | undefined
  #again: ReturnType<typeof setTimeout> | undefined

  constructor(fetch: (from: number, count: number, signal: AbortSignal) => Promise<readonly T[]>) {
    this.#fetch = fetch
  }

  /** An entry, as far as it is here. Whoever draws it is drawn again when there are others. */
  get(index: number): T | undefined {
    void this.#changes.value
    return index < this.#count ? this.#entries.get(index)?.value : undefined
  }

  /** The stamp with which an entry, as it is, came first. */
  sinceOf(index: number): number | undefined {
    return this.#entries.get(index)?.since
  }

  /** What the list is now: how long, and whether entries that were fetched before are still those. */
  become(count: number, stamp: number): void {
    if (count === this.#count && stamp === this.#stamp) return
    if (stamp !== this.#stamp) this.#flight?.abort()
    if (this.#stamp === PROVISIONAL) this.#entries.clear()
    this.#count = count
    this.#stamp = stamp
    this.#soon()
    this.#changes.value++
  }

  /** Takes entries that have come otherwise. */
  put(from: number, values: readonly T[], stamp = this.#stamp): void {
    for (const [i, value] of values.entries()) {
      const known = this.#entries.get(from + i)
      // What is the same stays the same object: then it need not be drawn again.
      const isSame = known !== undefined && JSON.stringify(known.value) === JSON.stringify(value)
      // Of what was cut only the beginning is known to be the same.
      const since = isSame && !isCut(value) ? known.since : stamp
      this.#entries.set(from + i, { value: isSame ? known.value : value, since, stamp })
    }
    this.#forget()
    this.#changes.value++
  }

  /** Says which entries are in view. */
  readonly see = (first: number, last: number): void => {
    this.#seen = [first, last]
    this.#soon()
  }

  clear(): void {
    this.#flight?.abort()
    clearTimeout(this.#timer)
    clearTimeout(this.#again)
    this.#timer = undefined
    this.#entries.clear()
    this.#count = 0
    this.#seen = [0, -1]
    this.#changes.value++
  }

  #soon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      void this.#load()
    }, REST_MS)
  }

  async #load(): Promise<void> {
    if (this.#flight) return
    const from = this.#missing()
    if (from === undefined) return
    const flight = (this.#flight = new AbortController())
    const stamp = this.#stamp
    try {
      const values = await this.#fetch(from, ASKED, flight.signal)
      if (!flight.signal.aborted && values.length > 0) this.put(from, values, stamp)
      // Otherwise it would be asked for again and again.
      else if (!flight.signal.aborted) return
    } catch {
      // What is wrong with the session, the moment says; whoever scrolls on asks again at once.
      if (!flight.signal.aborted) {
        clearTimeout(this.#again)
        this.#again = setTimeout(() => this.#soon(), AGAIN_MS)
        return
      }
    } finally {
      this.#flight = undefined
    }
    this.#soon()
  }

  // The first in view, or near it, that is not here as it is now.
  #missing(): number | undefined {
    const [first, last] = this.#seen
    if (last < first) return undefined
    for (let i = Math.max(0, first - 4); i <= Math.min(last + 4, this.#count - 1); i++)
      if (this.#entries.get(i)?.stamp !== this.#stamp) return i
    return undefined
  }

  #forget(): void {
    if (this.#entries.size <= KEPT) return
    const [first, last] = this.#seen
    for (const index of this.#entries.keys()) {
      if (this.#entries.size <= KEPT / 2) return
      if (index < first - ASKED || index > last + ASKED) this.#entries.delete(index)
    }
  }
}

function isCut(value: unknown): boolean {
  const { cuts } = value as { readonly cuts?: readonly unknown[] }
  return cuts !== undefined && cuts.length > 0
}
