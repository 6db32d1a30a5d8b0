import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { createSessionHistory, type SessionHistoryService } from '../../dist/index.js'
import { sqliteStore } from '../../dist/stores/sqlite.js'
import { exponentOf, median, timed } from './rounds.ts'
import { roleOf, textOf } from './subjects.ts'
import type { Row, Workload } from './workloads.ts'

// What one operation costs as something grows, over orders of magnitude: points that take turns, and the exponent b of cost ~ n^b.

export const growthWorkloads: readonly Workload[] = [
  { name: 'growth-history', run: inHistory },
  { name: 'growth-stored', run: inStored },
  { name: 'growth-active', run: inActive },
  { name: 'growth-subscribers', run: inSubscribers },
  { name: 'growth-processes', run: inProcesses }
]

interface Options {
  readonly isQuick: boolean
}

/** One thing that grows, and what is measured at each size. */
interface Sweep {
  /** For the chart, and `--only`. */
  readonly chart: string
  readonly measure: (x: number) => string
  readonly unit: Row['unit']
  readonly points: readonly number[]
  readonly rounds: number
  /** One round at one point: the cost of each operation, by its name. */
  readonly at: (x: number) => Promise<Readonly<Record<string, number>>>
  /** Why an operation is not flat, by its name. */
  readonly because?: Readonly<Record<string, string>>
}

/** A row for each point, and one for the exponents. */
async function sweep({ chart, measure, unit, points, rounds, at, because = {} }: Sweep): Promise<Row[]> {
  const found = new Map<number, Record<string, number[]>>(points.map((x) => [x, {}]))
  // The first round does not count; each begins with another point, so that what drifts, drifts for all.
  for (let round = -1; round < rounds; round++) {
    for (let turn = 0; turn < points.length; turn++) {
      const x = points[(round + 1 + turn) % points.length]!
      const costs = await at(x)
      if (round < 0) continue
      for (const [name, cost] of Object.entries(costs)) (found.get(x)![name] ??= []).push(cost)
    }
  }
  const rows = points.map((x): Row => ({
    measure: measure(x),
    unit,
    results: found.get(x)!,
    reached: '',
    chart: { name: chart, x }
  }))
  const fits = Object.keys(found.get(points[0]!)!).map((name) => {
    const series = points.map((x) => found.get(x)![name]!)
    const exponents = Array.from({ length: rounds }, (_, round) =>
      exponentOf(
        points,
        series.map((costs) => costs[round]!)
      )
    )
    return { name, exponents, ratio: median(series.at(-1)!) / median(series[0]!) }
  })
  const said = fits.map(({ name, exponents, ratio }) => {
    const b = median(exponents)
    const isFlat = Math.abs(b) <= FLAT
    const why = isFlat ? 'flat' : (because[name] ?? (b < 0 ? 'falls' : 'grows'))
    return `${name}: ${why} (last/first ${ratio.toFixed(2)})`
  })
  return [
    ...rows,
    {
      measure: `${chart}: b of ${unit === '/s' ? 'rate' : 'cost'} ~ n^b`,
      unit: '',
      results: Object.fromEntries(fits.map(({ name, exponents }) => [name, exponents])),
      reached: said.join('; ')
    }
  ]
}

/** An exponent up to which a cost is called flat: 2 times over three orders of magnitude. */
const FLAT = 0.1

/**
 * Messages in the session. Each round at each point is made anew, as what is measured grows. Around 16,384 messages there are more
 * points: V8 gives an array of more elements a mapping of its own, whose pages the kernel makes when they are first written to, and
 * takes back when the array is collected. That is what the array of all messages costs from there on; no append makes one.
 */
async function inHistory({ isQuick }: Options): Promise<Row[]> {
  const faults = new Map<number, number[]>()
  const rows = await sweep({
    chart: 'growth-history',
    measure: (x) => `at ${shown(x)} messages`,
    unit: 'µs',
    points: isQuick
      ? [10, 100, 1_000, 8_000, 16_000, 17_000, 30_000]
      : [10, 30, 100, 300, 1_000, 4_000, 8_000, 16_000, 17_000, 24_000, 30_000, 100_000],
    rounds: isQuick ? 5 : 15,
    at: (x) => atLength(x, (perRead) => void faults.set(x, [...(faults.get(x) ?? []), perRead])),
    because: {
      'append two, read all': 'with the array of all, a pointer a message; above 16,384 it is a mapping of its own'
    }
  })
  const around = { '16,000 messages': faults.get(16_000)!, '17,000 messages': faults.get(17_000)! }
  const [below, above] = [median(around['16,000 messages']), median(around['17,000 messages'])]
  return [
    ...rows,
    {
      measure: 'page faults of a turn that reads all',
      unit: '',
      results: around,
      reached: `${below.toFixed(0)}, then ${above.toFixed(0)}: 4 KB each, ${shown(Math.round((above - below) * 4_096))} bytes of array`
    }
  ]
}

async function atLength(length: number, onFaults: (perRead: number) => void): Promise<Record<string, number>> {
  const history = await createSessionHistory({ maxActiveBytes: 2 ** 40 })
  // Of short ones many, so that none becomes another by what is appended.
  const perSession = Math.max(1, Math.min(50, Math.floor(length / 10)))
  const refs = await Promise.all(
    Array.from({ length: 50 / perSession }, async (_, i) => {
      const ref = await history.createSession('ada', `s${i}`)
      await history.appendMessage(
        { userId: 'ada', id: ref.id },
        Array.from({ length }, (__, k) => messageOf(k))
      )
      return { userId: 'ada', id: ref.id }
    })
  )
  const each = async (
    count: number,
    work: (ref: { userId: string; id: string }) => Promise<unknown>
  ): Promise<number> =>
    timed(refs.length * count, async () => {
      for (const ref of refs) for (let i = 0; i < count; i++) await work(ref)
    })
  const messages = Array.from({ length: 200 }, (_, i) => messageOf(i))
  let next = 0
  const append = (ref: { userId: string; id: string }): Promise<unknown> =>
    history.appendMessage(ref, messages[next++ % messages.length]!)
  const all = async (ref: { userId: string; id: string }): Promise<void> => {
    const { messages: found } = (await history.getSession(ref.userId, ref.id))!
    if (found.length < length) throw new Error(`${found.length} of ${length} messages`)
  }
  const appended = await each(perSession, append)
  const before = process.resourceUsage().minorPageFault
  const turn = await each(perSession, async (ref) => {
    await all(ref)
    await append(ref)
    await append(ref)
  })
  onFaults((process.resourceUsage().minorPageFault - before) / (refs.length * perSession))
  const costs = {
    'append': appended,
    'append two, read all': turn,
    'read, unchanged': await each(perSession, async (ref) => all(ref)),
    'past version': await each(perSession, async (ref) => {
      const at = 1 + Math.floor(Math.random() * length)
      if ((await history.getSession(ref.userId, ref.id, { at }))?.version !== at) throw new Error(`Not version ${at}`)
    })
  }
  await history.stop()
  return costs
}

/** Sessions in an SQLite file, of two messages each, 50 to a user. */
async function inStored({ isQuick }: Options): Promise<Row[]> {
  const points = isQuick ? [1_000, 10_000, 100_000] : [1_000, 10_000, 100_000, 1_000_000]
  const directory = mkdtempSync(join(dirname(fileURLToPath(import.meta.url)), 'tmp-growth-'))
  const pathOf = (x: number): string => join(directory, `${x}.db`)
  const services = new Map<number, SessionHistoryService>()
  try {
    let there = 0
    for (const x of points) {
      if (there > 0) copyFileSync(pathOf(there), pathOf(x))
      await fill(pathOf(x), there, x)
      there = x
    }
    for (const x of points) {
      // So few that what is read at random is not in memory.
      const history = await createSessionHistory({ store: sqliteStore({ path: pathOf(x) }), maxActiveSessions: 10 })
      services.set(x, history)
    }
    return await sweep({
      chart: 'growth-stored',
      measure: (x) => `SQLite: with ${shown(x)} sessions in the file`,
      unit: 'µs',
      points,
      rounds: isQuick ? 7 : 25,
      async at(x) {
        const history = services.get(x)!
        const random = (): number => Math.floor(Math.random() * x)
        const hot = random()
        await history.getSession(userOf(hot), `s${hot}`)
        return {
          'append to one in memory': await timed(100, async () => {
            for (let i = 0; i < 100; i++)
              await history.appendMessage({ userId: userOf(hot), id: `s${hot}` }, messageOf(i))
          }),
          'read one that is not': await timed(100, async () => {
            for (let i = 0; i < 100; i++) {
              const session = random()
              const found = await history.getSession(userOf(session), `s${session}`)
              if (found!.messages.length < 2) throw new Error('A message is missing')
            }
          }),
          'first page of 50': await timed(20, async () => {
            for (let i = 0; i < 20; i++) {
              const { length } = await history.listSessions(userOf(random()), { limit: 50 })
              if (length !== 50) throw new Error(`A page of ${length}`)
            }
          })
        }
      },
      because: { 'read one that is not': 'pages that are not in its cache come from the file; about log n' }
    })
  } finally {
    for (const history of services.values()) await history.stop()
    rmSync(directory, { recursive: true })
  }
}

/** Through the service, as any that are there: the sessions from `from` to `to`. */
async function fill(path: string, from: number, to: number): Promise<void> {
  const history = await createSessionHistory({
    store: sqliteStore({ path, synchronous: 'normal' }),
    missing: { append: 'create' },
    maxActiveSessions: 1_000
  })
  let next = from
  await Promise.all(
    Array.from({ length: 512 }, async () => {
      while (next < to) {
        const i = next++
        await history.appendMessage({ userId: userOf(i), id: `s${i}` }, [messageOf(0), messageOf(1)])
      }
    })
  )
  await history.stop()
}

function userOf(session: number): string {
  return `user ${Math.floor(session / 50)}`
}

/** Sessions in memory, of one message each. All services stay, so that each round is over the same heap. */
async function inActive({ isQuick }: Options): Promise<Row[]> {
  const points = isQuick ? [100, 1_000, 10_000] : [100, 1_000, 10_000, 100_000]
  const services = new Map<number, SessionHistoryService>()
  for (const x of points) {
    const history = await createSessionHistory({
      maxActiveSessions: 2 * x,
      maxActiveBytes: 2 ** 40,
      idleMs: Infinity,
      missing: { append: 'create' }
    })
    for (let i = 0; i < x; i++) await history.appendMessage({ userId: 'ada', id: `s${i}` }, messageOf(i))
    services.set(x, history)
  }
  const rows = await sweep({
    chart: 'growth-active',
    measure: (x) => `with ${shown(x)} sessions in memory`,
    unit: 'µs',
    points,
    rounds: isQuick ? 7 : 25,
    async at(x) {
      const history = services.get(x)!
      const some = Array.from({ length: 500 }, () => ({ userId: 'ada', id: `s${Math.floor(Math.random() * x)}` }))
      return {
        'append to one of them': await timed(some.length, async () => {
          for (const [i, ref] of some.entries()) await history.appendMessage(ref, messageOf(i))
        }),
        'read one of them': await timed(some.length, async () => {
          for (const { userId, id } of some) await history.getSession(userId, id)
        })
      }
    },
    because: {
      'append to one of them': "misses of the processor's cache",
      'read one of them': "misses of the processor's cache"
    }
  })
  for (const history of services.values()) await history.stop()
  return rows
}

/** Subscribers of one session: from an append until each of them has the event. */
async function inSubscribers({ isQuick }: Options): Promise<Row[]> {
  return sweep({
    chart: 'growth-subscribers',
    measure: (x) => `an append until ${shown(x)} have heard of it`,
    unit: 'µs',
    points: isQuick ? [1, 10, 100, 1_000] : [1, 3, 10, 30, 100, 300, 1_000],
    rounds: isQuick ? 7 : 25,
    async at(x) {
      const history = await createSessionHistory()
      const ref = { userId: 'ada', id: 'trip' }
      await history.createSession('ada', 'trip')
      const ears = Array.from({ length: x }, () => history.subscribe('ada', 'trip')[Symbol.asyncIterator]())
      await Promise.all(ears.map((ear) => ear.next()))
      const appends = Math.max(5, Math.min(100, Math.floor(2_000 / x)))
      const cost = await timed(appends, async () => {
        for (let i = 0; i < appends; i++) {
          const heard = Promise.all(ears.map((ear) => ear.next()))
          await history.appendMessage(ref, messageOf(i))
          await heard
        }
      })
      await Promise.all(ears.map((ear) => ear.return!()))
      await history.stop()
      return { 'all of them': cost, 'for each': cost / x }
    },
    because: {
      'all of them': 'each reads the log for itself, so that a slow one holds nobody up',
      'for each': 'falls: the append itself is shared'
    }
  })
}

/** Processes that append to sessions of their own in one SQLite file, each to 8 at once. Those that do not take part wait. */
async function inProcesses({ isQuick }: Options): Promise<Row[]> {
  const directory = mkdtempSync(join(dirname(fileURLToPath(import.meta.url)), 'tmp-growth-'))
  const points = [1, 2, 4, 8]
  const appends = isQuick ? 2_000 : 8_000
  const writers = new Map(
    points.map((x) => [x, Array.from({ length: x }, (_, i) => new Writer(join(directory, `${x}.db`), `w${i}`))])
  )
  try {
    // The sessions, and the threads that write.
    for (const each of writers.values()) await Promise.all(each.map((writer) => writer.appends(80)))
    return await sweep({
      chart: 'growth-processes',
      measure: (x) => `SQLite: appends of ${x === 1 ? '1 process' : `${x} processes`} to one file`,
      unit: '/s',
      points,
      rounds: isQuick ? 3 : 15,
      async at(x) {
        const start = performance.now()
        await Promise.all(writers.get(x)!.map((writer) => writer.appends(appends / x)))
        const perSecond = (1_000 * appends) / (performance.now() - start)
        return { 'all of them': perSecond, 'each': perSecond / x }
      },
      because: {
        'all of them': 'SQLite has one writer at a time',
        'each': 'a share: SQLite has one writer at a time'
      }
    })
  } finally {
    await Promise.all([...writers.values()].flat().map((writer) => writer.end()))
    rmSync(directory, { recursive: true })
  }
}

/** A process of growth-writer.mjs. */
class Writer {
  readonly #child: ChildProcess
  readonly #closed: Promise<unknown>
  readonly #lines: AsyncIterator<string>

  constructor(path: string, name: string) {
    const script = fileURLToPath(new URL('growth-writer.mjs', import.meta.url))
    this.#child = spawn(process.execPath, [script, path, name], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#closed = once(this.#child, 'close')
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]()
  }

  /** Resolves when they are stored. */
  async appends(count: number): Promise<void> {
    this.#child.stdin!.write(`${count}\n`)
    const { done } = await this.#lines.next()
    if (done) throw new Error('A writer has ended')
  }

  async end(): Promise<void> {
    this.#child.stdin!.end()
    await this.#closed
  }
}

function messageOf(i: number): { role: 'user' | 'assistant'; content: { type: 'text'; text: string }[] } {
  return { role: roleOf(i), content: [{ type: 'text', text: textOf(i) }] }
}

function shown(count: number): string {
  return count.toLocaleString('en')
}
