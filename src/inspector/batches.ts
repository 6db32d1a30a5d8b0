import { setImmediate } from 'node:timers/promises'

/** What comes one by one, in lists of what is there at once: at most `most`, at least one. */
export async function* batches<T>(source: AsyncIterable<T>, most: number): AsyncGenerator<T[], undefined> {
  const values = source[Symbol.asyncIterator]()
  try {
    for (let next = values.next(); ;) {
      const first = await next
      if (first.done) return
      const batch = [first.value]
      next = values.next()
      // It may fail while nobody waits for it; then the next turn is told.
      next.catch(() => undefined)
      while (batch.length < most) {
        const early = await Promise.race([next, setImmediate(undefined)]).catch(() => undefined)
        if (!early || early.done) break
        batch.push(early.value)
        next = values.next()
        next.catch(() => undefined)
      }
      yield batch
    }
  } finally {
    // Not waited for for long: a generator first waits for a `next` that is under way, and so for what may never come.
    await Promise.race([values.return?.(), setImmediate(undefined)])
  }
}
