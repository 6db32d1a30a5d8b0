import { jetstream } from '@nats-io/jetstream'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { createSessionHistory, type SessionHistoryService } from '../../dist/index.js'
import { natsStore } from '../../dist/stores/nats.js'
import { natsMissing, natsServer, type NatsServer } from '../servers/nats.ts'
import { median, ratios, rounds, timed } from './rounds.ts'
import type { Row, Workload } from './workloads.ts'

// Each against the client's own publishes in the same round, to the same servers: an expected sequence, a subject a loop, a body as
// long as that of a commit with one message.

export const natsWorkloads: readonly Workload[] =
  natsMissing === undefined
    ? [
        { name: 'nats-64', run: (options) => many(options, 1) },
        { name: 'nats-64-replicas', run: (options) => many(options, 3) },
        { name: 'nats-read', run: read },
        { name: 'nats-length', run: lengths },
        { name: 'nats-sessions', run: sessions }
      ]
    : []

interface Options {
  readonly isQuick: boolean
}

async function many({ isQuick }: Options, nodes: 1 | 3): Promise<Row[]> {
  await using server = await natsServer({ nodes })
  const history = await historyOf(server, nodes)
  const loops = 64
  const count = loops * (nodes === 1 ? 100 : 30)
  const refs = await Promise.all(Array.from({ length: loops }, (_, i) => history.createSession('ada', `s${i}`)))
  await using bare = await Bare.open(server, loops, nodes)
  const micros = await rounds(isQuick ? 5 : 21, {
    turnlog: () =>
      timed(count, () =>
        Promise.all(
          refs.map(async (session) => {
            for (let i = 0; i < count / loops; i++) await history.appendMessage(session, messageOf(i))
          })
        )
      ),
    bare: () =>
      timed(count, () =>
        Promise.all(
          refs.map(async (_, loop) => {
            for (let i = 0; i < count / loops; i++) await bare.publish(loop)
          })
        )
      )
  })
  await history.stop()
  const results = { turnlog: micros.turnlog.map((v) => 1e6 / v), bare: micros.bare.map((v) => 1e6 / v) }
  const ratio = median(ratios(results.turnlog, results.bare))
  const target = nodes === 1 ? 0.7 : 0.35
  return [
    {
      measure: `JetStream, ${nodes === 1 ? 'one server' : 'three'}: 64 sessions at once`,
      unit: '/s',
      results,
      target: `${target * 100} % of bare publishes`,
      reached: percent(ratio),
      isMet: ratio >= target
    }
  ]
}

async function read({ isQuick }: Options): Promise<Row[]> {
  await using server = await natsServer()
  const connection = await connect({ servers: server.url })
  const [counting, requests] = counted(connection)
  const history = await createSessionHistory({ store: natsStore({ connection: counting }) })
  const { userId, id } = await history.createSession('ada', 's')
  for (let i = 0; i < 100; i++) await history.appendMessage({ userId, id }, messageOf(i))
  const subject = await subjectIn(connection)
  const count = 300
  const before = requests()
  await history.getSession(userId, id)
  const trips = requests() - before
  const results = await rounds(isQuick ? 5 : 21, {
    'turnlog': () =>
      timed(count, async () => {
        for (let i = 0; i < count; i++) await history.getSession(userId, id)
      }),
    'a bare get': () =>
      timed(count, async () => {
        for (let i = 0; i < count; i++)
          await connection.request('$JS.API.STREAM.MSG.GET.turnlog-0', JSON.stringify({ last_by_subj: subject }))
      })
  })
  await history.stop()
  await connection.close()
  return [
    {
      measure: 'JetStream: a loaded session, read again',
      unit: 'µs',
      results,
      target: '1 round trip',
      reached: `${trips}; ${median(ratios(results.turnlog, results['a bare get'])).toFixed(2)} of a bare one`,
      isMet: trips === 1
    }
  ]
}

async function lengths({ isQuick }: Options): Promise<Row[]> {
  await using server = await natsServer()
  const history = await historyOf(server, 1)
  const [short, long] = [await history.createSession('ada', 'short'), await history.createSession('ada', 'long')]
  const length = isQuick ? 10_000 : 100_000
  for (let i = 0; i < length; i += 64)
    await Promise.all(Array.from({ length: 64 }, (_, k) => history.appendMessage(long, messageOf(i + k))))
  const count = 300
  const results = await rounds(isQuick ? 5 : 21, {
    [`of ${length.toLocaleString('en')}`]: () => appends(history, long, count),
    'of few messages': () => appends(history, short, count)
  })
  await history.stop()
  const [a, b] = Object.values(results)
  const ratio = median(ratios(a!, b!))
  return [
    {
      measure: 'JetStream: an append, by length',
      unit: 'µs',
      results,
      target: 'the same (1.2 times at most)',
      reached: `${ratio.toFixed(2)} times`,
      isMet: ratio <= 1.2
    }
  ]
}

async function sessions({ isQuick }: Options): Promise<Row[]> {
  const [few, lots] = isQuick ? [1_000, 100_000] : [10_000, 1_000_000]
  await using small = await natsServer()
  await using large = await natsServer()
  const [ofFew, ofLots] = [await historyOf(small, 1), await historyOf(large, 1)]
  const [inFew, inLots] = [await ofFew.createSession('ada', 's'), await ofLots.createSession('ada', 's')]
  await fill(small, few)
  await fill(large, lots)
  const count = 300
  const results = await rounds(isQuick ? 5 : 21, {
    [`of ${lots.toLocaleString('en')}`]: () => appends(ofLots, inLots, count),
    [`of ${few.toLocaleString('en')}`]: () => appends(ofFew, inFew, count)
  })
  await ofFew.stop()
  await ofLots.stop()
  const [a, b] = Object.values(results)
  const ratio = median(ratios(a!, b!))
  return [
    {
      measure: 'JetStream: an append, by sessions',
      unit: 'µs',
      results,
      target: '4 times at most',
      reached: `${ratio.toFixed(2)} times`,
      isMet: ratio <= 4
    }
  ]
}

function historyOf({ url }: NatsServer, replicas: number): Promise<SessionHistoryService> {
  return createSessionHistory({ store: natsStore({ servers: url.split(','), replicas }) })
}

function appends(
  history: SessionHistoryService,
  session: { readonly userId: string; readonly id: string },
  count: number
): Promise<number> {
  return timed(count, async () => {
    for (let i = 0; i < count; i++) await history.appendMessage(session, messageOf(i))
  })
}

/** The client's own publishes. */
class Bare {
  readonly #connection: NatsConnection
  readonly #publish: (subject: string, expected: number) => Promise<number>
  readonly #sequences: number[]

  private constructor(connection: NatsConnection, loops: number) {
    this.#connection = connection
    const client = jetstream(connection)
    const body = new TextEncoder().encode('x'.repeat(BODY))
    this.#publish = async (subject, lastSubjectSequence) =>
      (await client.publish(subject, body, { expect: { lastSubjectSequence } })).seq
    this.#sequences = Array.from({ length: loops }, () => 0)
  }

  static async open({ url }: NatsServer, loops: number, replicas: number): Promise<Bare> {
    const connection = await connect({ servers: url.split(',') })
    const config = { name: 'bare', subjects: ['bare.*'], num_replicas: replicas, storage: 'file' }
    await connection.request('$JS.API.STREAM.CREATE.bare', JSON.stringify(config), { timeout: 10_000 })
    return new Bare(connection, loops)
  }

  async publish(loop: number): Promise<void> {
    this.#sequences[loop] = await this.#publish(`bare.${loop}`, this.#sequences[loop]!)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connection.close()
  }
}

/** Other sessions, as many subjects: what is in them does not matter here. */
async function fill({ url }: NatsServer, count: number): Promise<void> {
  const connection = await connect({ servers: url })
  const body = new TextEncoder().encode('x'.repeat(BODY))
  const atOnce = 500
  for (let i = 0; i < count; i += atOnce) {
    await Promise.all(
      Array.from({ length: atOnce }, (_, k) =>
        connection.request(`turnlog.log.0.filler${Math.floor(i / 50_000)}.${i + k}`.padEnd(90, 'x'), body, {
          timeout: 20_000
        })
      )
    )
  }
  await connection.close()
}

async function subjectIn(connection: NatsConnection): Promise<string> {
  const { data } = await connection.request(
    '$JS.API.STREAM.MSG.GET.turnlog-0',
    JSON.stringify({ next_by_subj: '>', seq: 1 })
  )
  return (JSON.parse(Buffer.from(data).toString()) as { message: { subject: string } }).message.subject
}

function counted(connection: NatsConnection): [NatsConnection, () => number] {
  let requests = 0
  const counting = new Proxy(connection, {
    get(target, name) {
      if (name === 'publish') requests++
      const value: unknown = Reflect.get(target, name)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    }
  })
  return [counting, () => requests]
}

/** About as long as the event of a message of a real run. */
const BODY = 350

function messageOf(i: number): { role: 'user' | 'assistant'; content: { type: 'text'; text: string }[] } {
  return { role: i % 2 === 0 ? 'user' : 'assistant', content: [{ type: 'text', text: `${i} ${'x'.repeat(90)}` }] }
}

function percent(ratio: number): string {
  return `${Math.round(ratio * 100)} %`
}
