import { setImmediate } from 'node:timers/promises'

/** After so long others are answered before it goes on. */
const SLICE_MS = 10

/** Does something with each item, in order. Of many that takes a while, in which others are answered about every 10 ms. */
export async function inSlices<T>(items: Iterable<T>, each: (item: T, index: number) => void): Promise<void> {
  let until = performance.now() + SLICE_MS
  let index = 0
  for (const item of items) {
    each(item, index++)
    if (performance.now() < until) continue
    await setImmediate()
    until = performance.now() + SLICE_MS
  }
}
