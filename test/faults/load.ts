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
  /** Kills the one that has run the longest, but for the first `kept`, as SIGKILL does, and starts another. */
  replaceOne(kept?: number): Promise<void>
  /**
   * Resolves when each of those that run, or so many of them, has had `count` more appends acknowledged to a session for which all of
   * them race, or to any where all are mixed. Rejects when one has ended by itself.
   */
  goesOn(count: number, least?: number): Promise<void>
  /** How many appends were acknowledged. */
  acknowledged(): number
  /** How many calls of what kind were answered how: `done`, or with a code. */
  readonly answers: ReadonlyMap<string, number>
  /** What the first process has said of its memory. */
  readonly memory: readonly Memory[]
  /** Lets all finish what they do, and end. */
  end(): Promise<void>
}

/** What a process takes after a full collection, in bytes. */
export interface Memory {
  readonly calls: number
  readonly rss: number
  readonly heapUsed: number
}

/** What processes run: a program beside this file or at a URL, and what it is given. */
export interface Program {
  readonly url: URL
  readonly input: object
}

/** Appends and reads, all of them racing for one session until it is long. */
const RACE: Program = { url: new URL('writer.mjs', import.meta.url), input: { turnoverAt: 150 } }

/** What is heard of processes. */
interface Heard {
  readonly appends: Append[]
  readonly reads: Read[]
  readonly answers: Map<string, number>
  readonly memory: Memory[]
}

export function loadOn(dist: string, recipe: StoreRecipe, program: Program = RACE): Load {
  const load: Heard = { appends: [], reads: [], answers: new Map(), memory: [] }
  const running: Writer[] = []
  let started = 0

  async function start(count: number): Promise<void> {
    const more = Array.from({ length: count }, () => new Writer(dist, recipe, program, ++started, load))
    running.push(...more)
    await Promise.all(more.map((writer) => writer.isReady))
    for (const writer of more) writer.begin()
  }

  return {
    ...load,
    start,
    async replaceOne(kept = 0) {
      await running.splice(kept, 1)[0]!.kill()
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

/**
 * What is wrong with what a load has done, now that it has ended. `store` is opened for it. Where messages are only appended, a session
 * has them all; else they are those that its log has.
 */
export async function faultsOf(
  load: History,
  store: EventStore,
  freshness: Freshness,
  { isMixed = false } = {}
): Promise<readonly Fault[]> {
  const history = await createSessionHistory({ store, missing: { get: 'null' } })
  try {
    const finals = new Map<string, readonly string[]>()
    for (const session of new Set([...load.appends, ...load.reads].map((call) => call.session))) {
      const { found, events } = await answered(async () => ({
        found: await history.getSession('ada', session),
        events: await eventsOf(history, { userId: 'ada', id: session })
      }))
      // What is folded is what is stored, event by event.
      const stored: string[] = []
      let version = 0
      for (const event of events) {
        expect(event.version).toBe(++version)
        if (event.type === 'message-appended' && !event.data.put) stored.push(event.data.message.id)
      }
      finals.set(session, stored)
      if (found || !isMixed) expect(found?.version ?? 0).toBe(version)
      if (!isMixed) expect(found?.messages.map(({ id }) => id) ?? []).toEqual(stored)
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
  | { readonly is: 'done' }
  | { readonly is: 'refused'; readonly code: string }
  | ({ readonly is: 'memory' } & Memory)
  | { readonly is: 'odd'; readonly odd: string }

class Writer {
  readonly isReady: Promise<void>
  readonly #child: ChildProcess
  readonly #closed: Promise<unknown>
  readonly #name: string
  /** By number; replaced, in the history too, when they are answered. */
  readonly #places = new Map<number, number>()
  readonly #heard: Heard
  readonly #isFirst: boolean
  #acknowledged = 0
  /** Who waits until so many are acknowledged, or for the end. */
  readonly #waiting = new Set<() => void>()
  #isClosed = false
  /** What it has said that it should not. */
  #odd = ''

  constructor(dist: string, recipe: StoreRecipe, { url, input }: Program, seed: number, heard: Heard) {
    this.#name = `w${seed}`
    this.#isFirst = seed === 1
    this.#heard = heard
    const given = JSON.stringify({ dist, ...recipe, ...input, name: this.#name, seed })
    const options = ['--disable-warning=ExperimentalWarning', '--expose-gc']
    this.#child = spawn(process.execPath, [...options, fileURLToPath(url), given])
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
    const { appends, reads, answers, memory } = this.#heard
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
        if (outcome === 'stored' && !appends[place].session.startsWith('cold')) this.#acknowledged++
        this.#odd += odd ?? ''
        break
      }
      case 'read':
        reads.push({ process: this.#name, session: line.session, ids: line.ids, from: line.from, to: line.to })
        break
      case 'done':
      case 'refused': {
        const answer = line.is === 'done' ? line.is : line.code
        answers.set(answer, (answers.get(answer) ?? 0) + 1)
        break
      }
      case 'memory':
        if (this.#isFirst) memory.push(line)
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
