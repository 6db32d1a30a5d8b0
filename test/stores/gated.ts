import type { EventStore } from '../../src/store.ts'
import { memoryStore } from '../../src/stores/memory.ts'

type Method = 'head' | 'append' | 'purge'

/** What happens to the next call of a method: it waits for `open`, before or after it takes effect; or it fails. */
export interface GatedStore extends EventStore {
  /** Calls made so far. */
  readonly calls: { readonly method: Method; readonly count: number }[]
  /** Holds the next call of `method` back until the gate is opened. */
  hold(method: Method): Gate
  /** Lets the next call of `method` fail: `'before'` it takes effect or `'after'`. */
  fail(method: Method, when: 'before' | 'after', error: unknown): void
}

export interface Gate {
  /** Resolves once a call has come to the gate. */
  readonly reached: Promise<void>
  open(): void
}

/** A memory store whose calls are held back or fail, as a test says. */
export function gatedStore(inner: EventStore = memoryStore()): GatedStore {
  const plans: { method: Method; before?: () => Promise<void>; after?: () => void }[] = []
  const calls: GatedStore['calls'] = []

  async function run<T>(method: Method, count: number, call: () => Promise<T>): Promise<T> {
    calls.push({ method, count })
    const index = plans.findIndex((plan) => plan.method === method)
    const [plan] = index < 0 ? [] : plans.splice(index, 1)
    await plan?.before?.()
    const result = await call()
    plan?.after?.()
    return result
  }

  return {
    ...inner,
    calls,
    head: (key) => run('head', 1, () => inner.head(key)),
    append: (commits) => run('append', commits.length, () => inner.append(commits)),
    purge: (key) => run('purge', 1, () => inner.purge(key)),
    hold(method) {
      const gate = deferred()
      const reached = deferred()
      plans.push({
        method,
        before: () => {
          reached.resolve()
          return gate.promise
        }
      })
      return { reached: reached.promise, open: gate.resolve }
    },
    fail(method, when, error) {
      const raise = (): never => {
        throw error
      }
      plans.push(when === 'before' ? { method, before: async () => raise() } : { method, after: raise })
    }
  }
}

function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve!: () => void
  const promise = new Promise<void>((done) => (resolve = done))
  return { promise, resolve }
}
