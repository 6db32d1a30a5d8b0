import { monitorEventLoopDelay } from 'node:perf_hooks'
import { type EventStore, type SessionHistoryService, type StoredEvent, type Summary } from '../../dist/index.js'
import { sqliteStore } from '../../dist/stores/sqlite.js'
import { Database } from './driver.ts'
import { Bare, EVENT, fill, Place, SUMMARY } from './files.ts'
import { median, ratios, rounds, timed } from './rounds.ts'
import { roleOf, textOf } from './subjects.ts'
import type { Row, Workload } from './workloads.ts'

// Each against a bare loop in the same round: the same driver, tables, statements, sessions and file system, with texts that
// were made before.

export const sqliteWorkloads: readonly Workload[] = [
  { name: 'sqlite-single', run: single },
  { name: 'sqlite-64', run: many },
  { name: 'sqlite-load', run: load },
  { name: 'sqlite-list', run: lists },
  { name: 'sqlite-fork', run: forks }
]

interface Options {
  readonly isQuick: boolean
}

async function single({ isQuick }: Options): Promise<Row[]> {
  await using place = await Place.make()
  const history = await place.history('ours.db')
  const session = await history.createSession('ada', 's0')
  const bare = new Bare(place.path('bare.db'), 1)
  await using alone = await StoreAlone.open(place.path('alone.db'), 1)
  const count = 300
  const results = await rounds(isQuick ? 5 : 41, {
    'turnlog': () =>
      timed(count, async () => {
        for (let i = 0; i < count; i++) await history.appendMessage(session, messageOf(i))
      }),
    'its store alone': () =>
      timed(count, async () => {
        for (let i = 0; i < count; i++) await alone.append(0)
      }),
    'bare': () => timed(count, async () => bare.commits(count, 1))
  })
  bare.close()
  await history.stop()
  const ratio = median(ratios(results.bare, results.turnlog))
  return [
    {
      measure: 'SQLite: an awaited append, one at a time',
      unit: 'µs',
      results,
      target: '80 % of the bare rate',
      reached: percent(ratio),
      isMet: ratio >= 0.8
    }
  ]
}

async function many({ isQuick }: Options): Promise<Row[]> {
  await using place = await Place.make()
  const history = await place.history('ours.db')
  const sessions = 64
  const count = sessions * 100
  const refs = await Promise.all(
    Array.from({ length: sessions }, (_, i) => history.createSession('ada', `s${i}`).then(({ id }) => ref(id)))
  )
  const [bare, bareOne] = [new Bare(place.path('bare.db'), sessions), new Bare(place.path('one.db'), 1)]
  const delays: number[] = []
  const ours = async (): Promise<number> => {
    const delay = monitorEventLoopDelay({ resolution: 1 })
    delay.enable()
    const micros = await timed(count, () =>
      Promise.all(
        refs.map(async (session) => {
          for (let i = 0; i < count / sessions; i++) await history.appendMessage(session, messageOf(i))
        })
      )
    )
    delay.disable()
    // What is measured begins at the resolution.
    delays.push(delay.percentile(99) / 1e6)
    return micros
  }
  await using alone = await StoreAlone.open(place.path('alone.db'), sessions)
  const micros = await rounds(isQuick ? 3 : 15, {
    'turnlog': ours,
    'its store alone': () =>
      timed(count, () =>
        Promise.all(
          refs.map(async (_, session) => {
            for (let i = 0; i < count / sessions; i++) await alone.append(session)
          })
        )
      ),
    'bare': () => timed(count, async () => bare.commits(count, 100)),
    'bare, one session': () => timed(count, async () => bareOne.commits(count, 100))
  })
  for (const each of [bare, bareOne]) each.close()
  await history.stop()
  const results = Object.fromEntries(Object.entries(micros).map(([name, values]) => [name, values.map((v) => 1e6 / v)]))
  const ratio = median(ratios(results['turnlog']!, results['bare']!))
  // The first is of the round that does not count.
  const counted = delays.slice(1)
  const delay = median(counted)
  return [
    {
      measure: 'SQLite: appends of 64 sessions at once',
      unit: '/s',
      results,
      target: '50 % of bare in commits of 100',
      reached: percent(ratio),
      isMet: ratio >= 0.5
    },
    {
      measure: 'and the event loop meanwhile, 99th percentile',
      unit: 'ms',
      results: { turnlog: counted },
      target: '20 ms',
      reached: `${delay.toFixed(1)} ms`,
      isMet: delay <= 20
    }
  ]
}

async function load({ isQuick }: Options): Promise<Row[]> {
  await using place = await Place.make()
  const count = 100_000
  const writing = await place.history('ours.db')
  const session = await writing.createSession('ada', 'long')
  for (let i = 0; i < count; i += 1_000) {
    await writing.appendMessage(
      session,
      Array.from({ length: 1_000 }, (_, k) => messageOf(i + k))
    )
  }
  await writing.stop()
  const results = await rounds(isQuick ? 3 : 9, {
    turnlog: async () => {
      const history = await place.history('ours.db')
      const micros = await timed(1_000, async () => {
        const { messages } = (await history.getSession('ada', 'long'))!
        if (messages.length !== count) throw new Error(`${messages.length} of ${count} messages`)
      })
      await history.stop()
      return micros
    },
    bare: async () => {
      const database = new Database(place.path('ours.db'))
      const micros = await timed(1_000, async () => {
        const rows = database
          .prepare('SELECT version, body, checksum FROM turnlog_events WHERE session = 1 ORDER BY version')
          .all() as { body: string }[]
        const events = rows.map(({ body }) => JSON.parse(body) as object)
        if (events.length !== count + 1) throw new Error(`${events.length} events`)
      })
      database.close()
      return micros
    }
  })
  const ratio = median(ratios(results.bare, results.turnlog))
  return [
    {
      measure: 'SQLite: loading 100,000 messages',
      unit: 'ms',
      results,
      target: '50 % of the bare rate',
      reached: percent(ratio),
      isMet: ratio >= 0.5
    }
  ]
}

async function lists({ isQuick }: Options): Promise<Row[]> {
  await using place = await Place.make()
  const total = isQuick ? 100_000 : 1_000_000
  await (await place.history('ours.db')).stop()
  fill(place.path('ours.db'), 10_000, total)
  const history = await place.history('ours.db')
  const page = (user: string) => (): Promise<number> =>
    timed(20_000, async () => {
      for (let i = 0; i < 20; i++) {
        const sessions = await history.listSessions(user, { limit: 50 })
        if (sessions.length !== 50) throw new Error(`${sessions.length} of 50 sessions`)
      }
    })
  const results = await rounds(isQuick ? 5 : 15, {
    'turnlog': page('busy'),
    'user of 50': page('u7')
  })
  await history.stop()
  const [one, all] = [median(results.turnlog), median(results['user of 50'])]
  return [
    {
      measure: `SQLite: first page of 50, ${total.toLocaleString('en')} sessions in file`,
      unit: 'ms',
      results,
      target: '5 ms (user of 10,000), 10 ms',
      reached: `${one.toFixed(2)} ms, ${all.toFixed(2)} ms`,
      isMet: one <= 5 && all <= 10
    }
  ]
}

async function forks({ isQuick }: Options): Promise<Row[]> {
  await using place = await Place.make()
  const history = await place.history('ours.db')
  const session = await history.createSession('ada', 'long')
  for (let i = 0; i < 100; i++) {
    await history.appendMessage(
      session,
      Array.from({ length: 1_000 }, (_, k) => messageOf(i + k))
    )
  }
  await history.getSession('ada', 'long')
  const before = await place.sizeAfterCheckpoint('ours.db')
  let forked = 0
  const results = await rounds(isQuick ? 9 : 99, {
    turnlog: () => timed(10_000, async () => void (forked += await forkAll(history, 10)))
  })
  while (forked < 1_000) forked += await forkAll(history, 10)
  const bytes = ((await place.sizeAfterCheckpoint('ours.db')) - before) / forked
  await history.stop()
  const ms = median(results.turnlog)
  return [
    {
      measure: 'SQLite: a fork of 100,000 messages',
      unit: 'ms',
      results,
      target: '10 ms',
      reached: `${ms.toFixed(2)} ms`,
      isMet: ms <= 10
    },
    {
      measure: `and its bytes in the file, over ${forked} forks`,
      unit: 'bytes',
      results: { turnlog: [bytes] },
      target: '1 KB',
      reached: `${Math.round(bytes)} bytes`,
      isMet: bytes <= 1024
    }
  ]
}

async function forkAll(history: SessionHistoryService, count: number): Promise<number> {
  for (let i = 0; i < count; i++) await history.fork(ref('long'))
  return count
}

/** The store, called by hand with commits that are ready. */
class StoreAlone {
  readonly #store: EventStore
  readonly #versions: number[]

  private constructor(store: EventStore, sessions: number) {
    this.#store = store
    this.#versions = Array.from({ length: sessions }, () => 0)
  }

  static async open(path: string, sessions: number): Promise<StoreAlone> {
    const store = sqliteStore({ path })
    await store.open()
    const alone = new StoreAlone(store, sessions)
    for (let i = 0; i < sessions; i++) await alone.append(i)
    return alone
  }

  async append(session: number): Promise<void> {
    const version = this.#versions[session]!++
    const [result] = await this.#store.append([
      {
        key: { userId: 'ada', sessionId: `s${session}` },
        logId: `log-${session}`,
        expectedVersion: version,
        events: [{ ...READY_EVENT, version: version + 1 }],
        summary: { ...READY_SUMMARY, version: version + 1 }
      }
    ])
    if (result!.status !== 'stored') throw new Error(result!.status)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#store.close()
  }
}

const READY_EVENT = JSON.parse(EVENT) as StoredEvent
const READY_SUMMARY = JSON.parse(SUMMARY) as Summary

function messageOf(i: number): { role: 'user' | 'assistant'; content: { type: 'text'; text: string }[] } {
  return { role: roleOf(i), content: [{ type: 'text', text: textOf(i) }] }
}

function ref(id: string): { userId: string; id: string } {
  return { userId: 'ada', id }
}

function percent(ratio: number): string {
  return `${(100 * ratio).toFixed(0)} %`
}
