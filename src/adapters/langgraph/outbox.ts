import type { Thread, ThreadItem } from './thread.ts'

/** What a call stores in a thread as it is, or nothing; `isAsOf`: it is true only of that. */
export type Make = (thread: Thread) => { readonly item: ThreadItem; readonly isAsOf: boolean } | undefined

/** Stores what these come to, one after the other, in one commit. */
type Store = (makes: readonly Make[]) => Promise<void>

// As it was when this was loaded: tests that replace the timers would wait for ever.
const inNextRound = setImmediate

interface Waiting {
  readonly kind: 'put' | 'writes' | 'deletion'
  /** Not there yet where values are being dumped. */
  run: Make | (() => Promise<void>) | undefined
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/**
 * What is to be stored in a thread: puts one after the other, and what is written to a checkpoint after it, so that what they share is there then. A deletion
 * comes after all that was asked for before it.
 *
 * It is stored in the next round of the event loop, together with what has come in until then: a graph writes what a task gives, and then puts the checkpoint
 * made of it, without waiting for the first.
 */
export class Outbox {
  readonly #store: Store
  readonly #onEmpty: () => void
  readonly #waiting: Waiting[] = []
  readonly #asked = new Set<Promise<void>>()
  #isStoring = false

  /** `onEmpty` is called when all is stored. */
  constructor(store: Store, onEmpty: () => void) {
    this.#store = store
    this.#onEmpty = onEmpty
  }

  /** Resolves when it is stored. Of what cannot be made it is heard at once, whatever is before it. */
  add<Made>(kind: 'put' | 'writes', making: Made | Promise<Made>, makeOf: (made: Made) => Make): Promise<void> {
    return this.#wait(kind, (waiting) => {
      if (!(making instanceof Promise)) {
        waiting.run = makeOf(making)
        this.#wake()
        return
      }
      making.then(
        (made) => {
          waiting.run = makeOf(made)
          this.#wake()
        },
        (error: unknown) => {
          this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
          waiting.reject(error)
          this.#wake()
        }
      )
    })
  }

  addDeletion(run: () => Promise<void>): Promise<void> {
    return this.#wait('deletion', (waiting) => {
      waiting.run = run
      this.#wake()
    })
  }

  /** When all that was asked for until now is stored, or has failed. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#asked)
  }

  #wait(kind: Waiting['kind'], begin: (waiting: Waiting) => void): Promise<void> {
    const asked = new Promise<void>((resolve, reject) => {
      const waiting: Waiting = { kind, run: undefined, resolve, reject }
      this.#waiting.push(waiting)
      begin(waiting)
    })
    this.#asked.add(asked)
    const forget = (): void => void this.#asked.delete(asked)
    asked.then(forget, forget)
    return asked
  }

  #wake(): void {
    if (this.#isStoring) return
    this.#isStoring = true
    inNextRound(() => void this.#run())
  }

  async #run(): Promise<void> {
    const taken = this.#take()
    for (const each of taken) this.#waiting.splice(this.#waiting.indexOf(each), 1)
    if (taken[0]?.kind === 'deletion') await settle(taken[0], taken[0].run as () => Promise<void>)
    else if (taken.length > 0) await this.#storeAll(taken)
    this.#isStoring = false
    if (this.#waiting.length === 0) this.#onEmpty()
    else if (taken.length > 0) this.#wake()
  }

  // What may be stored now.
  #take(): Waiting[] {
    const taken: Waiting[] = []
    for (const each of this.#waiting) {
      if (each.kind === 'deletion') return each === this.#waiting[0] ? [each] : taken
      if (each.run) taken.push(each)
      // Writes hold nobody up but a deletion.
      else if (each.kind === 'put') break
    }
    return taken
  }

  async #storeAll(taken: readonly Waiting[]): Promise<void> {
    const makes = taken.map(({ run }) => run as Make)
    try {
      await this.#store(makes)
      for (const { resolve } of taken) resolve()
    } catch (error) {
      if (taken.length === 1) taken[0]!.reject(error)
      // Whose fault it was is known when each is stored by itself. What is there already is not stored again.
      else for (const [i, each] of taken.entries()) await settle(each, () => this.#store([makes[i]!]))
    }
  }
}

async function settle({ resolve, reject }: Waiting, run: () => Promise<void>): Promise<void> {
  try {
    await run()
    resolve()
  } catch (error) {
    reject(error)
  }
}
