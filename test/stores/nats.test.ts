import { connect, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, describe, expect, it } from 'vitest'
import type { EventStore, SessionHistoryService } from '../../src/index.ts'
import { natsStore, type NatsStoreOptions } from '../../src/stores/nats.ts'
import {
  assertLog,
  begin,
  BOB,
  chain,
  follow,
  fork,
  last,
  put,
  readAll,
  TRIP,
  watch,
  WORK,
  hintOf
} from '../../src/testing/kit.ts'
import { testEventStore } from '../../src/testing.ts'
import { natsMissing, natsServer, suspend } from '../servers/nats.ts'
import { eventsOf, fails, misuses, open, text, textsOf, timeOf } from '../service/kit.ts'

const server = natsMissing === undefined ? await natsServer() : undefined
const url = server?.url ?? 'nats://localhost'
afterAll(() => server?.[Symbol.asyncDispose]())

const prefixes = new WeakMap<EventStore, string>()
let made = 0

function newPrefix(): string {
  return `t${++made}`
}

function storeOf(prefix = newPrefix(), options: Partial<NatsStoreOptions> = {}): EventStore {
  const store = natsStore({ servers: url, prefix, ...options } as NatsStoreOptions)
  prefixes.set(store, prefix)
  return store
}

async function opened<T extends EventStore>(store: T): Promise<T & AsyncDisposable> {
  await store.open()
  return Object.assign(store, { [Symbol.asyncDispose]: () => store.close() })
}

/** What a stream has: a subject and a text for each message. */
async function messagesIn(stream: string): Promise<{ subject: string; text: string }[]> {
  const connection = await connect({ servers: url })
  const messages: { subject: string; text: string }[] = []
  for (let seq = 1; ;) {
    const question = JSON.stringify({ next_by_subj: '>', seq })
    const { data } = await connection.request(`$JS.API.STREAM.MSG.GET.${stream}`, question)
    const { message } = JSON.parse(Buffer.from(data).toString()) as {
      message?: { subject: string; seq: number; data?: string; hdrs: string }
    }
    if (!message) break
    const body = Buffer.from(message.hdrs, 'base64').toString() + Buffer.from(message.data ?? '', 'base64').toString()
    messages.push({ subject: message.subject, text: body })
    seq = message.seq + 1
  }
  await connection.close()
  return messages
}

describe('natsStore', () => {
  it('takes servers or a connection, and says what else is wrong', async () => {
    const wrong = (options: object): (() => unknown) => {
      return () => natsStore(options as NatsStoreOptions)
    }
    await misuses(wrong({}), 'servers or connection')
    await misuses(wrong({ servers: 'nats://a', connection: {} }), 'servers or connection')
    await misuses(wrong({ servers: [] }), 'addresses')
    await misuses(wrong({ servers: 'nats://ada:secret@a' }), '{ user, pass }')
    await misuses(wrong({ connection: {} }), 'a connection by')
    await misuses(wrong({ servers: 'nats://a', prefix: 'a.b' }), 'letters')
    await misuses(wrong({ servers: 'nats://a', replicas: 0 }), 'replicas')
    await misuses(wrong({ servers: 'nats://a', stream: 2 }), 'is streams meant?')
  })

  it('fails to open where there is no server', async () => {
    const store = natsStore({ servers: 'nats://127.0.0.1:1', timeoutMs: 1_000 })
    await fails(() => store.open(), 'STORE_UNAVAILABLE', { outcome: 'not-stored' })
    expect(await store.health()).toBe(false)
    await store.close()
  })
})

describe.skipIf(natsMissing !== undefined)(
  `NATS${natsMissing === undefined ? '' : ` (skipped: ${natsMissing})`}`,
  () => {
    testEventStore(
      { describe, it },
      { name: 'natsStore on one server', create: () => storeOf(), reopen: (store) => storeOf(prefixes.get(store)) }
    )

    // What a test of the suite makes is in one stream or the other.
    testEventStore(
      { describe, it },
      {
        name: 'natsStore over three streams',
        create: () => storeOf(newPrefix(), { streams: 3 }),
        reopen: (store) => storeOf(prefixes.get(store))
      }
    )

    describe('streams', () => {
      it('spread users, for good', async () => {
        const prefix = newPrefix()
        await using store = await opened(storeOf(prefix, { streams: 4 }))
        const sessions = Array.from({ length: 40 }, (_, i) => begin({ userId: `u${i}`, sessionId: 's' }))
        await put(store, ...sessions)
        for (let i = 0; i < 4; i++) expect((await messagesIn(`${prefix}-${i}`)).length).toBeGreaterThan(0)
        await misuses(() => storeOf(prefix, { streams: 5 }).open(), '4')
        await misuses(() => storeOf(prefix, { replicas: 3 }).open(), '1')
        await using again = await opened(storeOf(prefix))
        expect((await again.listUsers()).length).toBe(40)
      })

      it('of a newer release are left alone', async () => {
        const connection = await connect({ servers: url })
        const config = { name: 'newer-0', subjects: ['newer.>'], description: 'turnlog 2, over 1' }
        await connection.request('$JS.API.STREAM.CREATE.newer-0', JSON.stringify(config))
        await connection.close()
        await fails(() => storeOf('newer').open(), 'STORE_TOO_NEW', { found: 2, known: 1 })
      })

      it('name no ids, however long and strange they are', async () => {
        const prefix = newPrefix()
        await using store = await opened(storeOf(prefix))
        const names = ['a.b', '*', '>', 'a b', '$JS.API.>', '漢'.repeat(512), '\u0000']
        const commits = names.flatMap((userId) => names.map((sessionId) => begin({ userId, sessionId })))
        await put(store, ...commits)
        for (const { key, summary } of commits) expect((await store.head(key))?.summary).toEqual(summary)
        for (const { subject } of await messagesIn(`${prefix}-0`)) expect(subject).toMatch(/^[\w-]+(\.[\w-]+){4}$/)
      })
    })

    describe('a connection', () => {
      it('that is given stays the user’s', async () => {
        const connection = await connect({ servers: url })
        const store = natsStore({ connection, prefix: newPrefix() })
        await store.open()
        await put(store, begin(TRIP))
        await store.close()
        expect(connection.isClosed()).toBe(false)
        expect(await store.health()).toBe(false)
        await store.open()
        expect((await store.head(TRIP))?.version).toBe(1)
        await store.close()
        await connection.close()
      })
    })

    describe('content', () => {
      it('that looks like a header of the server hides none', async () => {
        const prefix = newPrefix()
        await using store = await opened(storeOf(prefix))
        await using other = await opened(storeOf(prefix))
        const metadata = { 'Nats-Expected-Last-Subject-Sequence: 1': '\r\nNats-Msg-Id: 1\r\nNats-Rollup: sub\r\n' }
        const first = begin(TRIP, { metadata })
        const second = follow(first, { metadata })
        await put(store, first)
        await put(other, second)
        // It does not know, and has to be told by the server.
        expect(await store.append([follow(first, { metadata })])).toEqual([{ status: 'conflict' }])
        expect(await readAll(store, first.logId)).toEqual([...first.events, ...second.events])
        expect(await store.list('ada')).toEqual([second.summary])
      })

      it('of a purged session is nowhere, with what forks had copied once they are gone', async () => {
        const prefix = newPrefix()
        await using store = await opened(storeOf(prefix))
        const parent = chain(begin(TRIP, { messages: ['secret'] }), 5)
        const child = fork(last(parent), 3, BOB)
        await put(store, ...parent, child)
        await store.touch(last(parent).logId, 5)
        await store.purge(TRIP)
        expect((await messagesIn(`${prefix}-0`)).some(({ text: body }) => body.includes('secret'))).toBe(true)
        await store.purge(BOB)
        expect(await messagesIn(`${prefix}-0`)).toEqual([])
        expect(await messagesIn(`${prefix}-forks`)).toEqual([])
      })

      it('whose purge has ended before its time goes with the next list', async () => {
        const prefix = newPrefix()
        // Its process dies between the two steps.
        const connection = await connect({ servers: url })
        const dying = await opened(
          natsStore({
            prefix,
            timeoutMs: 200,
            connection: behind(connection, (subject) => (subject.includes('STREAM.PURGE') ? 'drop' : undefined))
          })
        )
        const first = begin(TRIP)
        await put(dying, first)
        await fails(() => dying.purge(TRIP), 'STORE_UNAVAILABLE', { outcome: 'unknown' })
        await dying.close()
        await connection.close()
        await using store = await opened(storeOf(prefix))
        expect(await store.head(TRIP)).toBeNull()
        expect(await readAll(store, first.logId)).toEqual([])
        const anew = begin(WORK)
        await put(store, anew)
        expect(await store.list('ada')).toEqual([anew.summary])
        await expect.poll(async () => (await messagesIn(`${prefix}-0`)).length).toBe(1)
      })
    })

    describe('a commit that is too large', () => {
      it('is refused before anything is stored', async () => {
        await using small = await natsServer({ config: 'max_payload: 65536' })
        const store = natsStore({ servers: small.url })
        const history = await open({ store })
        const session = await history.createSession('ada', 's')
        const limit = store.supports.maxCommitBytes!
        expect(limit).toBeLessThan(65_536)
        await fails(() => history.appendMessage(session, text('x'.repeat(65_536))), 'COMMIT_TOO_LARGE', { limit })
        await history.appendMessage(session, text('x'.repeat(limit - 1_000)))
        // Metadata goes with each commit, so that lists read no messages.
        await history.updateMetadata(session, { set: { note: 'y'.repeat(30_000) } })
        await fails(() => history.appendMessage(session, text('x'.repeat(limit - 1_000))), 'COMMIT_TOO_LARGE')
        // Those that come at once are one message, if they fit in one.
        const texts = Array.from({ length: 30 }, (_, i) => `${i} ${'z'.repeat(5_000)}`)
        await Promise.all(texts.map((each) => history.appendMessage(session, text(each))))
        expect(textsOf(await history.getSession('ada', 's')).slice(1)).toEqual(texts)
        expect((await eventsOf(history, session)).length).toBe(33)
        await history.stop()
      })
    })

    describe('an answer that was lost', () => {
      it('is found again, and nothing is stored twice', async () => {
        const connection = await connect({ servers: url })
        let isLosing = false
        const losing = behind(connection, (subject) => {
          if (!isLosing || subject.startsWith('$JS')) return undefined
          isLosing = false
          return 'lose'
        })
        const history = await open({ store: natsStore({ connection: losing, prefix: newPrefix(), timeoutMs: 200 }) })
        const session = await history.createSession('ada', 's')
        for (let i = 0; i < 5; i++) {
          isLosing = true
          await written(history, `text ${i}`)
        }
        expect(textsOf(await history.getSession('ada', 's'))).toEqual([0, 1, 2, 3, 4].map((i) => `text ${i}`))
        expect((await eventsOf(history, session)).length).toBe(6)
        await history.stop()
        await connection.close()
      })

      it('is found by the server, where the same commit is stored again', async () => {
        const connection = await connect({ servers: url })
        let isLosing = false
        const losing = behind(connection, (subject) => (isLosing && !subject.startsWith('$JS') ? 'lose' : undefined))
        await using store = await opened(natsStore({ connection: losing, prefix: newPrefix(), timeoutMs: 200 }))
        const first = begin(TRIP)
        isLosing = true
        expect(await store.append([first])).toMatchObject([{ status: 'failed', outcome: 'unknown' }])
        isLosing = false
        await put(store, first)
        expect(await readAll(store, first.logId)).toEqual(first.events)
        // Not where it was purged since.
        await store.purge(TRIP)
        await put(store, first)
        expect(await readAll(store, first.logId)).toEqual(first.events)
        await store.close()
        await connection.close()
      })
    })

    describe('a server that refuses', () => {
      it('is told of at once, with its reason', async () => {
        const users = [
          '{ user: reader, password: p, permissions: { publish: ["$JS.API.STREAM.INFO.>"], subscribe: "_INBOX.>" } }',
          '{ user: deaf, password: p, permissions: { publish: ">", subscribe: "nothing" } }',
          '{ user: all, password: p }'
        ]
        const config = `accounts { A: { jetstream: enabled, users: [${users.join()}] } }`
        await using guarded = await natsServer({ config: `${config}\nno_auth_user: all` })
        const as = (user: string, more: object = {}): EventStore => {
          const options = { servers: guarded.url, connect: { user, pass: 'p' }, timeoutMs: 15_000, ...more }
          return natsStore(options)
        }
        const refuses = async (store: EventStore, why: string): Promise<void> => {
          const refused = await store.open().then(
            () => undefined,
            (error: unknown) => error
          )
          expect(refused).toMatchObject({ code: 'STORE_UNAVAILABLE', outcome: 'not-stored' })
          expect((refused as Error).message).toContain(why)
          await store.close()
        }
        await refuses(as('nobody'), 'Authorization Violation')
        await refuses(as('reader'), 'Permissions Violation for Publish to "$JS.API.STREAM.CREATE.turnlog-0"')
        await refuses(as('deaf'), 'Permissions Violation for Subscription to "_INBOX.')
        await refuses(as('all', { replicas: 3 }), 'replicas > 1 not supported')
        await using _ = await opened(as('all'))
        await using reading = await opened(as('reader'))
        expect(await reading.health()).toBe(false)
        const [result] = await reading.append([begin(TRIP)])
        expect(result).toMatchObject({ status: 'failed', outcome: 'not-stored' })
      })

      it('as it has no room, too', async () => {
        await using small = await natsServer({ room: '200K' })
        await using store = await opened(natsStore({ servers: small.url }))
        const commits = chain(begin(TRIP, { messages: ['x'.repeat(9_000)] }), 30, { messages: ['x'.repeat(9_000)] })
        const results = []
        for (const commit of commits) results.push(...(await store.append([commit])))
        expect(results.find(({ status }) => status !== 'stored')).toMatchObject({
          status: 'failed',
          outcome: 'not-stored'
        })
        expect((await store.head(TRIP))!.version).toBeLessThan(30)
      })

      it('as the connection was closed, too', async () => {
        const connection = await connect({ servers: url })
        const store = await opened(natsStore({ connection }))
        await connection.close()
        expect(await store.health()).toBe(false)
        await expect(store.head(TRIP)).rejects.toMatchObject({ message: 'NATS failed: the connection is closed' })
        await store.close()
        await fails(() => store.open(), 'STORE_UNAVAILABLE', { outcome: 'not-stored' })
      })
    })

    describe('a consumer that is put where nobody is any more', () => {
      it('is asked for again: reads and subscriptions go on', async () => {
        const connection = await connect({ servers: url })
        let dropped = 0
        const losing = behind(connection, (subject) =>
          subject.includes('CONSUMER.CREATE') && dropped++ < 7 ? 'drop' : undefined
        )
        await using store = await opened(natsStore({ connection: losing, prefix: newPrefix() }))
        const commits = chain(begin(TRIP), 20)
        for (const commit of commits) await put(store, commit)
        await assertLog(store, ...commits)
        dropped = 6
        await hintOf(watch(store, TRIP), 20)
        expect(dropped).toBeGreaterThan(7)
        await store.close()
        await connection.close()
      })
    })

    describe('a hint', () => {
      it('is not lost where the session cannot be read when it comes', async () => {
        const connection = await connect({ servers: url })
        let isMuted = false
        const muted = behind(connection, (subject) => {
          if (!isMuted || !subject.includes('MSG.GET')) return undefined
          isMuted = false
          return 'drop'
        })
        const prefix = newPrefix()
        await using store = await opened(natsStore({ connection: muted, prefix, timeoutMs: 200 }))
        await using other = await opened(storeOf(prefix))
        const first = begin(TRIP)
        await put(other, first)
        const hints = watch(store, TRIP)
        await hintOf(hints, 1)
        isMuted = true
        await put(other, follow(first))
        await hintOf(hints, 2)
        expect(isMuted).toBe(false)
        await store.close()
        await connection.close()
      })
    })

    describe('a server that dies', () => {
      it('is told of by health within a second, also where it only does not answer', async () => {
        await using store = await opened(storeOf())
        await suspend(server!.pids[0]!)
        try {
          expect(await timeOf(async () => expect(await store.health()).toBe(false))).toBe(900)
        } finally {
          process.kill(server!.pids[0]!, 'SIGCONT')
        }
        expect(await store.health()).toBe(true)
      })

      it('is told of by health, and work goes on when it is there again, with all that was acknowledged', async () => {
        await using mortal = await natsServer()
        const history = await open({ store: natsStore({ servers: mortal.url, timeoutMs: 2_000 }) })
        const other = natsStore({ servers: mortal.url })
        await other.open()
        const hints = watch(other, { userId: 'ada', sessionId: 's' })
        await history.createSession('ada', 's')
        await hintOf(hints, 1)
        const acknowledged: string[] = []
        let isRunning = true
        const writers = Array.from({ length: 4 }, async (_, i) => {
          for (let n = 0; isRunning; n++) {
            await written(history, `${i}:${n}`)
            acknowledged.push(`${i}:${n}`)
          }
        })
        for (let round = 0; round < 3; round++) {
          const before = acknowledged.length
          await expect.poll(() => acknowledged.length).toBeGreaterThan(before + 20)
          await mortal.kill()
          expect(await history.health()).toBe(false)
          await mortal.restart()
          await expect.poll(() => history.health(), { timeout: 10_000 }).toBe(true)
        }
        isRunning = false
        await Promise.all(writers)
        const texts = textsOf(await history.getSession('ada', 's'))
        expect(new Set(texts)).toEqual(new Set(acknowledged))
        expect(texts.length).toBe(acknowledged.length)
        // One who watched is told, too.
        await hintOf(hints, texts.length + 1)
        await other.close()
        await history.stop()
      })
    })
  }
)

/** A connection that does not send what `change` says `drop` to, and to `lose` sends it where the answer is not heard. */
function behind(connection: NatsConnection, change: (subject: string) => 'drop' | 'lose' | undefined): NatsConnection {
  return new Proxy(connection, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name)
      if (name === 'publish')
        return (...[subject, payload, options]: Parameters<NatsConnection['publish']>) => {
          const what = change(subject)
          if (what === 'lose') target.publish(subject, payload, { ...options, reply: 'nowhere' })
          else if (what === undefined) target.publish(subject, payload, options)
        }
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    }
  })
}

/** Appends a message, again and again until that is acknowledged; what is not known is told apart by its key. */
async function written(history: SessionHistoryService, content: string): Promise<void> {
  for (;;) {
    try {
      await history.appendMessage({ userId: 'ada', id: 's' }, text(content), { idempotencyKey: content })
      return
    } catch (error) {
      expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE' })
    }
  }
}
