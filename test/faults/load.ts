import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { createSessionHistory, isTurnlogError, type EventStore } from '../../src/index.ts'
import { eventsOf } from '../service/kit.ts'
import { faultsIn, type Append, type Fault, type Freshness, type History, type Read } from './checker.ts'

/** How processes open a store: what `factory` of the compiled `module` makes of `options`. */
export interface StoreRecipe {
  readonly module: string
  readonly factory: string
  readonly options: object
}

/** Several processes that append to the same sessions of one store, and all that they say. */
export interface Load extends History, AsyncDisposable {
  /** Starts so many more. Resolves when they are at work, which all of them begin at once. */
  start(count: number): Promise<void>
  /** Kills the one that has run the longest, as SIGKILL does, and starts another. */
  replaceOne(): Promise<void>
  /**
   * Resolves when each of those that run, or so many of them, has had `count` more appends acknowledged to a session for which all of
   * them race. Rejects when one has ended by itself.
   */
  goesOn(count: number, least?: number): Promise<void>
  /** How many appends were acknowledged. */
  acknowledged(): number
  /** Lets all finish what they do, and end. */
  end(): Promise<void>
}

export function loadOn(dist: string, recipe: StoreRecipe): Load {
  const load: { appends: Append[]; reads: Read[] } = { appends: [], reads: [] }
  const running: Writer[] = []
  let started = 0

  async function start(count: number): Promise<void> {
    const more = Array.from({ length: count }, () => new Writer(dist, recipe, `w${++started}`, started, load))
    running.push(...more)
    await Promise.all(more.map((writer) => writer.isReady))
    for (const writer of more) writer.begin()
  }

  return {
    ...load,
    start,
    async replaceOne() {
      await running.shift()!.kill()
      await start(1)
    },
    goesOn: (count, least = running.length) =>
      new Promise((resolve, reject) => {
        let done = 0
        for (const writer of running)
          writer.acknowledges(count).then(() => {
            if (++done === least) resolve()
          }, reject)
      }),
    acknowledged: () => load.appends.filter(({ outcome }) => outcome === 'stored').length,
    async end() {
      await Promise.all(running.splice(0).map((writer) => writer.end()))
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(running.splice(0).map((writer) => writer.kill()))
    }
  }
}

/** What is wrong with what a load has done, now that it has ended. `store` is opened for it. */
export async function faultsOf(load: History, store: EventStore, freshness: Freshness): Promise<readonly Fault[]> {
  const history = await createSessionHistory({ store, missing: { get: 'null' } })
  try {
    const finals = new Map<string, readonly string[]>()
    for (const session of new Set([...load.appends, ...load.reads].map((call) => call.session))) {
      const { found, events } = await answered(async () => ({
        found: await history.getSession('ada', session),
        events: await eventsOf(history, { userId: 'ada', id: session })
      }))
      const ids = found?.messages.map(({ id }) => id) ?? []
      finals.set(session, ids)
      // What is folded is what is stored, event by event.
      const stored: string[] = []
      let version = 0
      for (const event of events) {
        expect(event.version).toBe(++version)
        if (event.type === 'message-appended') stored.push(event.data.message.id)
      }
      expect([version, stored]).toEqual([found?.version ?? 0, ids])
    }
    return faultsIn(load, finals, freshness)
  } finally {
    await history.stop()
  }
}

// A server that was broken may not have all together yet, and says so.
async function answered<T>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask()
    } catch (error) {
      if (!isTurnlogError(error, 'STORE_UNAVAILABLE')) throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

/** A line that a writer says. */
type Line =
  | { readonly is: 'ready' }
  | ({ readonly is: 'append'; readonly call: number } & Pick<Append, 'session' | 'ids' | 'from'>)
  | ({ readonly is: 'appended'; readonly call: number; readonly odd?: string } & Pick<
      Append,
      'to' | 'outcome' | 'length' | 'why'
    >)
  | ({ readonly is: 'read' } & Omit<Read, 'process'>)
  | { readonly is: 'odd'; readonly odd: string }

class Writer {
  readonly isReady: Promise<void>
  readonly #child: ChildProcess
  readonly #closed: Promise<unknown>
  readonly #name: string
  /** By number; replaced, in the history too, when they are answered. */
  readonly #places = new Map<number, number>()
  readonly #history: { readonly appends: Append[]; readonly reads: Read[] }
  #acknowledged = 0
  /** Who waits until so many are acknowledged, or for the end. */
  readonly #waiting = new Set<() => void>()
  #isClosed = false
  /** What it has said that it should not. */
  #odd = ''

  constructor(
    dist: string,
    recipe: StoreRecipe,
    name: string,
    seed: number,
    history: { readonly appends: Append[]; readonly reads: Read[] }
  ) {
    this.#name = name
    this.#history = history
    const program = fileURLToPath(new URL('writer.mjs', import.meta.url))
    const input = JSON.stringify({ dist, ...recipe, name, seed, turnoverAt: 150 })
    this.#child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program, input])
    this.#child.stderr!.on('data', (chunk) => (this.#odd += String(chunk)))
    let hasBegun!: () => void
    const begins = new Promise<void>((resolve) => (hasBegun = resolve))
    createInterface({ input: this.#child.stdout! }).on('line', (text) => {
      const line = parsed(text)
      if (line?.is === 'ready') hasBegun()
      if (line) this.#hear(line)
      for (const look of this.#waiting) look()
    })
    this.#closed = once(this.#child, 'close').then(() => {
      this.#isClosed = true
      for (const look of this.#waiting) look()
    })
    this.isReady = Promise.race([begins, this.#closed]).then(() => this.#assertRuns())
  }

  begin(): void {
    this.#child.stdin!.write('go\n')
  }

  acknowledges(count: number): Promise<void> {
    const goal = this.#acknowledged + count
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (this.#acknowledged < goal && !this.#isClosed) return
        this.#waiting.delete(look)
        try {
          this.#assertRuns()
          resolve()
        } catch (error) {
          reject(error)
        }
      }
      this.#waiting.add(look)
      look()
    })
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#closed
    expect(this.#odd).toBe('')
  }

  async end(): Promise<void> {
    this.#assertRuns()
    this.#child.stdin!.end()
    await this.#closed
    expect([this.#child.exitCode, this.#odd]).toEqual([0, ''])
  }

  #assertRuns(): void {
    if (this.#isClosed) throw new Error(`The writer ${this.#name} has ended: ${this.#odd}`)
  }

  #hear(line: Line): void {
    const { appends, reads } = this.#history
    switch (line.is) {
      case 'append':
        this.#places.set(line.call, appends.length)
        appends.push({
          process: this.#name,
          session: line.session,
          ids: line.ids,
          from: line.from,
          to: Infinity,
          outcome: 'unknown'
        })
        break
      case 'appended': {
        const place = this.#places.get(line.call)!
        const { to, outcome, length, why, odd } = line
        appends[place] = {
          ...appends[place]!,
          to,
          outcome,
          ...(length !== undefined && { length }),
          ...(why !== undefined && { why })
        }
        if (outcome === 'stored' && appends[place].session.startsWith('hot')) this.#acknowledged++
        this.#odd += odd ?? ''
        break
      }
      case 'read':
        reads.push({ process: this.#name, session: line.session, ids: line.ids, from: line.from, to: line.to })
        break
      case 'odd':
        this.#odd += line.odd
    }
  }
}

// The last line of one that was killed may be torn.
function parsed(text: string): Line | undefined {
  try {
    return JSON.parse(text) as Line
  } catch {
    return undefined
  }
}
