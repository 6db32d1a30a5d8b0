import { Pool } from 'pg'
import { createSessionHistory, type SessionHistoryService } from '../../dist/index.js'
import { postgresStore } from '../../dist/stores/postgres.js'
import { postgresMissing, postgresServer } from '../servers/postgres.ts'
import { median, ratios, rounds, timed, type Contender } from './rounds.ts'
import { roleOf, textOf } from './subjects.ts'
import type { Row, Workload } from './workloads.ts'

// Each on a server of its own, on this machine, as durable as it is by itself, against bare statements over the same pool in the same round.

export const postgresWorkloads: readonly Workload[] = (
  [
    { name: 'postgres-64', run: many },
    { name: 'postgres-read', run: read },
    { name: 'postgres-growth', run: growth }
  ] satisfies Workload[]
).filter(({ name }) => {
  if (postgresMissing !== undefined) console.warn(`${name} is left out: ${postgresMissing}`)
  return postgresMissing === undefined
})

const SESSIONS = 64

interface Options {
  readonly isQuick: boolean
}

async function many({ isQuick }: Options): Promise<Row[]> {
  await using place = await Place.make()
  const { history, pool } = place
  const refs = await sessionsOf(history, SESSIONS)
  await pool.query('CREATE TABLE bare (session integer, version integer, body text, PRIMARY KEY (session, version))')
  const versions = refs.map(() => 0)
  const body = JSON.stringify({ data: messageOf(0), padding: 'x'.repeat(60) })
  const each = 100
  const perRound = (append: (session: number, i: number) => Promise<unknown>): Contender => {
    return () =>
      timed(SESSIONS * each, () =>
        Promise.all(
          refs.map(async (_, session) => {
            for (let i = 0; i < each; i++) await append(session, i)
          })
        )
      )
  }
  const micros = await rounds(isQuick ? 5 : 15, {
    turnlog: perRound((session, i) => history.appendMessage(refs[session]!, messageOf(i))),
    bare: perRound((session) => {
      const values = [session, ++versions[session]!, body]
      return pool.query({ name: 'bare', text: 'INSERT INTO bare VALUES ($1, $2, $3)', values })
    })
  })
  const results = { turnlog: micros.turnlog.map((value) => 1e6 / value), bare: micros.bare.map((value) => 1e6 / value) }
  const ratio = median(ratios(results.turnlog, results.bare))
  return [
    {
      measure: 'PostgreSQL: appends of 64 sessions at once',
      unit: '/s',
      results,
      target: '50 % of bare prepared inserts',
      reached: `${(100 * ratio).toFixed(0)} %`,
      isMet: ratio >= 0.5
    }
  ]
}

async function read({ isQuick }: Options): Promise<Row[]> {
  await using place = await Place.make()
  const { history, pool } = place
  const [session] = await sessionsOf(history, 1)
  for (let i = 0; i < 100; i++) await history.appendMessage(session!, messageOf(i))
  const count = 300
  const oneByOne = (ask: () => Promise<unknown>): Contender => {
    return () =>
      timed(count, async () => {
        for (let i = 0; i < count; i++) await ask()
      })
  }
  const text = 'SELECT log_id, version, summary FROM turnlog.turnlog_sessions WHERE session = $1 LIMIT 1'
  const results = await rounds(isQuick ? 5 : 25, {
    'turnlog': oneByOne(() => history.getSession('ada', session!.id)),
    'bare prepared select': oneByOne(() => pool.query({ name: 'bare', text, values: [Buffer.alloc(32)] }))
  })
  const ratio = median(ratios(results.turnlog, results['bare prepared select']))
  return [
    {
      measure: 'PostgreSQL: a read of an unchanged session',
      unit: 'µs',
      results,
      // Two would cost twice as much.
      target: 'one round trip: under 2 ×',
      reached: `${ratio.toFixed(2)} ×`,
      isMet: ratio < 2
    }
  ]
}

async function growth({ isQuick }: Options): Promise<Row[]> {
  await using small = await Place.make()
  await using large = await Place.make()
  const total = isQuick ? 100_000 : 1_000_000
  const contender = async ({ history, pool }: Place, sessions: number): Promise<Contender> => {
    await fill(pool, sessions)
    const refs = await sessionsOf(history, SESSIONS)
    return () =>
      timed(SESSIONS * 50, () =>
        Promise.all(
          refs.map(async (session) => {
            for (let i = 0; i < 50; i++) await history.appendMessage(session, messageOf(i))
          })
        )
      )
  }
  const byNumber = await rounds(isQuick ? 5 : 15, {
    'turnlog': await contender(large, total),
    'of 10,000': await contender(small, 10_000)
  })
  const [long, short] = await sessionsOf(small.history, 2)
  for (let i = 0; i < (isQuick ? 10 : 100); i++)
    await small.history.appendMessage(
      long!,
      Array.from({ length: 1_000 }, (_, k) => messageOf(k))
    )
  const appendsTo = (session: { userId: string; id: string }): Contender => {
    return () =>
      timed(200, async () => {
        for (let i = 0; i < 200; i++) await small.history.appendMessage(session, messageOf(i))
      })
  }
  const byLength = await rounds(isQuick ? 5 : 15, { 'turnlog': appendsTo(long!), 'a new one': appendsTo(short!) })
  const number = median(ratios(byNumber.turnlog, byNumber['of 10,000']))
  const length = median(ratios(byLength.turnlog, byLength['a new one']))
  return [
    {
      measure: `PostgreSQL: an append, of ${total.toLocaleString('en')} sessions`,
      unit: 'µs',
      results: byNumber,
      target: 'at most 1.5 ×',
      reached: `${number.toFixed(2)} ×`,
      isMet: number <= 1.5
    },
    {
      measure: `and to a session of ${isQuick ? '10,000' : '100,000'} messages`,
      unit: 'µs',
      results: byLength,
      target: 'does not grow: at most 1.2 ×',
      reached: `${length.toFixed(2)} ×`,
      isMet: length <= 1.2
    }
  ]
}

/** Rows as the store makes them: `total` sessions of one event, of 50 a user. */
async function fill(pool: Pool, total: number): Promise<void> {
  const name = `format('["user %s","session %s"]', i / 50, i)`
  const summary = `format('{"userId":"user %s","sessionId":"session %s","version":1,"createdAt":1,"updatedAt":1,"deleted":false,"format":"openai","metadata":{"title":"A trip to Rome in the spring"}}', i / 50, i)`
  const hash = (text: string): string => `sha256(convert_to(format('${text}', i), 'UTF8'))`
  const owner = `sha256(convert_to(format('user %s', i / 50), 'UTF8'))`
  await pool.query(`
    INSERT INTO turnlog.turnlog_sessions (owner, session, version, updated, deleted, place, log_id, name, summary)
    SELECT ${owner}, ${hash('session %s')}, 1, i, false, convert_to(format('session %s', i), 'UTF8'), format('"log %s"', i), ${name}, ${summary}
    FROM generate_series(1, ${total}) AS i`)
  await pool.query(`
    INSERT INTO turnlog.turnlog_logs (log, key, owner, session)
    SELECT sha256(convert_to(log_id::json #>> '{}', 'UTF8')), key, owner, session FROM turnlog.turnlog_sessions`)
  await pool.query(`
    INSERT INTO turnlog.turnlog_events (key, version, body)
    SELECT key, 1, repeat('x', 350) FROM turnlog.turnlog_sessions`)
  await pool.query('VACUUM ANALYZE')
  await pool.query('CHECKPOINT')
}

/** A server with a service, for as long as a workload takes. */
class Place {
  readonly pool: Pool
  readonly history: SessionHistoryService
  readonly #stop: () => Promise<void>

  static async make(): Promise<Place> {
    const server = await postgresServer()
    const pool = new Pool({ connectionString: server.url, max: 10 })
    pool.on('error', () => undefined)
    return new Place(pool, await createSessionHistory({ store: postgresStore({ pool }) }), () => server.stop())
  }

  private constructor(pool: Pool, history: SessionHistoryService, stop: () => Promise<void>) {
    this.pool = pool
    this.history = history
    this.#stop = stop
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.history.stop()
    await this.pool.end()
    await this.#stop()
  }
}

async function sessionsOf(history: SessionHistoryService, count: number): Promise<{ userId: string; id: string }[]> {
  return Promise.all(Array.from({ length: count }, () => history.createSession('ada')))
}

function messageOf(i: number): { role: 'user' | 'assistant'; content: { type: 'text'; text: string }[] } {
  return { role: roleOf(i), content: [{ type: 'text', text: textOf(i) }] }
}
