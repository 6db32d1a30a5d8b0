import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { Pool, type PoolClient } from 'pg'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { createSessionHistory, isTurnlogError, type EventStore, type SessionHistoryService } from '../../src/index.ts'
import type { Commit } from '../../src/store.ts'
import {
  postgresStore,
  type PostgresClient,
  type PostgresPool,
  type PostgresQuery,
  type PostgresSettings,
  type PostgresStoreOptions
} from '../../src/stores/postgres.ts'
import { hashOf } from '../../src/stores/postgres/encode.ts'
import { testEventStore } from '../../src/testing.ts'
import { postgresMissing, postgresServer } from '../servers/postgres.ts'
import { text as saying, textsOf as textsIn, timeOf } from '../service/kit.ts'

const server = postgresMissing === undefined ? await postgresServer() : undefined
const url = server?.url ?? 'postgres://localhost'
const admin = new Pool({ connectionString: url })
admin.on('error', () => undefined)
afterAll(async () => {
  await admin.end()
  await server?.stop()
  // It writes all that the tests have made to the disk, which others may keep busy.
}, 60_000)
// Vitest shows the titles of what is skipped.
const describeThere: typeof describe | typeof describe.skip = postgresMissing === undefined ? describe : describe.skip
const because = postgresMissing === undefined ? '' : ` (skipped: ${postgresMissing})`

const schemas = new WeakMap<EventStore, string>()
let made = 0

function newSchema(): string {
  return `turnlog "${++made}"`
}

function conformance(name: string, storeIn: (schema: string) => EventStore): void {
  // A schema takes longer to make than most tests to run: those that a test is done with are emptied for another.
  const free: string[] = []
  const remembered = (schema: string): EventStore => {
    const store = storeIn(schema)
    schemas.set(store, schema)
    return store
  }
  testEventStore(
    { describe: describeThere, it },
    {
      name: name + because,
      create: () => remembered(free.pop() ?? newSchema()),
      reopen: (store) => remembered(schemas.get(store)!),
      async dispose(store) {
        const schema = schemas.get(store)!
        const tables = ['sessions', 'logs', 'events'].map((table) => `${quoted(schema)}.turnlog_${table}`)
        await admin.query(tables.map((table) => `DELETE FROM ${table}`).join('; '))
        free.push(schema)
      }
    }
  )
}

conformance('postgresStore by connectionString', (schema) =>
  postgresStore({ connectionString: url, schema, maxConnections: 4 })
)
conformance('postgresStore by pool', (schema) => postgresStore({ pool: admin, schema }))
conformance('postgresStore with partitions', (schema) => postgresStore({ pool: admin, schema, partitions: 3 }))

describeThere(`postgresStore${because}`, () => {
  it('stores what comes together in one statement, and a conflict in it harms no other', async () => {
    const schema = newSchema()
    let statements = 0
    const pool = watched(({ text }) => {
      if (text.includes('followed AS')) statements++
    })
    const history = await createSessionHistory({
      store: postgresStore({ pool, schema }),
      missing: { append: 'create' }
    })
    const rival = await createSessionHistory({ store: postgresStore({ pool: admin, schema }) })
    const sessions = Array.from({ length: 64 }, (_, i) => ({ userId: 'ada', id: `s${i}` }))
    await Promise.all(sessions.map((session) => history.appendMessage(session, saying('one'))))
    // This one does not know of it, and meets a conflict.
    await rival.appendMessage(sessions[0]!, saying('two'))
    statements = 0
    const stored = await Promise.all(sessions.map((session) => history.appendMessage(session, saying('three'))))
    expect(stored.map((session) => session?.messages.length)).toEqual([3, ...sessions.slice(1).map(() => 2)])
    expect(statements).toBeLessThan(4)
    await Promise.all([history.stop(), rival.stop()])
  })

  it('asks once to read a loaded session that has not changed', async () => {
    let statements = 0
    const pool = watched(() => void statements++)
    const history = await createSessionHistory({ store: postgresStore({ pool, schema: newSchema() }) })
    const session = await history.createSession('ada')
    await history.appendMessage(session, saying('one'))
    statements = 0
    expect((await history.getSession('ada', session.id))?.messages).toHaveLength(1)
    expect(statements).toBe(1)
    await history.stop()
  })

  it('finds all by indexes, and lists without reading events', async () => {
    const asked: PostgresQuery[] = []
    const pool = watched((query) => void asked.push(query))
    const schema = newSchema()
    const history = await createSessionHistory({ store: postgresStore({ pool, schema }) })
    await Promise.all(Array.from({ length: 300 }, (_, i) => history.createSession(`user ${i % 30}`, `s${i}`)))
    const session = { userId: 'user 1', id: 's1' }
    await history.appendMessage(session, saying('one'))
    await admin.query(`ANALYZE ${quoted(schema)}.turnlog_sessions, ${quoted(schema)}.turnlog_events`)
    asked.length = 0
    await history.listSessions('user 1', { limit: 5 })
    await history.listUsers({ limit: 5 })
    await history.forks(session)
    const lists = asked.length
    expect(lists).toBeGreaterThanOrEqual(3)
    await history.appendMessage(session, saying('two'))
    await all(history.readEvents('user 1', 's1'))
    const client = await admin.connect()
    try {
      await client.query('BEGIN; SET LOCAL enable_seqscan = off')
      for (const [i, query] of asked.entries()) {
        if (i < lists) expect(query.text).not.toContain('turnlog_events')
        const { rows } = await client.query(`EXPLAIN ${query.text}`, query.values)
        const plan = (rows as { 'QUERY PLAN': string }[]).map((row) => row['QUERY PLAN']).join('\n')
        expect(plan, query.text).not.toContain('Seq Scan')
        if (i < lists) expect(plan, query.text).not.toMatch(/Sort Key: .*(updated|owner)/)
      }
    } finally {
      await client.query('ROLLBACK')
      client.release()
    }
    await history.stop()
  })

  it.each([0, 3])(
    'walks over all sessions page by page, in %i partitions, without looking at all for each',
    async (partitions) => {
      const asked: PostgresQuery[] = []
      const pool = watched((query) => void asked.push(query))
      const schema = newSchema()
      const store = postgresStore({ pool, schema, partitions })
      await store.open()
      const [sessions, logs] = ['sessions', 'logs'].map((name) => `${quoted(schema)}.turnlog_${name}`)
      await admin.query(`
      INSERT INTO ${sessions} (owner, session, version, updated, deleted, place, log_id, name, summary)
      SELECT sha256((i % 500)::text::bytea), sha256(i::text::bytea), 1, i, false, i::text::bytea, to_json(i::text), '["u","s"]',
        '{"version":1}' FROM generate_series(1, 20000) AS i`)
      await admin.query(`
      INSERT INTO ${logs} (log, key, owner, session)
      SELECT sha256((log_id::json #>> '{}')::bytea), key, owner, session FROM ${sessions}`)
      await admin.query(`ANALYZE ${sessions}, ${logs}`)
      asked.length = 0
      const page = await store.heads({ limit: 1_000 })
      expect(page).toHaveLength(1_000)
      const seen = new Set(page.map(({ logId }) => logId))
      const next = await store.heads({ limit: 1_000, after: page.at(-1)!.logId })
      expect(next.filter(({ logId }) => seen.has(logId))).toEqual([])
      await store.listUsers({ limit: 100 })
      for (const { text, values } of asked) {
        const { rows } = await admin.query(`EXPLAIN ${text}`, values)
        const plan = (rows as { 'QUERY PLAN': string }[]).map((row) => row['QUERY PLAN']).join('\n')
        expect(plan, text).not.toMatch(/Seq Scan|Hash Join/)
      }
      await store.close()
    }
  )

  it('reads large messages a few at a time', async () => {
    const store = postgresStore({ pool: admin, schema: newSchema() })
    const history = await createSessionHistory({ store })
    const session = await history.createSession('ada')
    for (let i = 0; i < 4; i++) await history.appendMessage(session, saying(`${i}`.repeat(3_000_000)))
    const [head] = await store.heads()
    const pages = await all(store.read(head!.logId))
    expect(pages.map((page) => page.map(({ version }) => version))).toEqual([[1, 2, 3, 4], [5]])
    await history.stop()
  })

  it('keeps ids of any characters, and of any length that the service takes', async () => {
    const history = await createSessionHistory({ store: postgresStore({ pool: admin, schema: newSchema() }) })
    const ids = ['\0', 'a\0b', '漢'.repeat(512), `${'漢'.repeat(511)}字`, '😀'.repeat(256), "'; DROP TABLE x; --"]
    for (const userId of ids) for (const id of ids) await history.createSession(userId, id, { metadata: { title: id } })
    await history.stop()
    await history.start()
    expect((await history.listUsers()).toSorted()).toEqual(ids.toSorted())
    for (const userId of ids) {
      const sessions = await history.listSessions(userId)
      expect(sessions.map(({ id }) => id).toSorted()).toEqual(ids.toSorted())
      expect(sessions.every(({ id, metadata }) => metadata['title'] === id)).toBe(true)
    }
    await history.stop()
  })

  it('loses and doubles nothing of what several processes write at once', async () => {
    const schema = newSchema()
    const histories = await Promise.all(
      Array.from({ length: 4 }, () =>
        createSessionHistory({ store: postgresStore({ connectionString: url, schema, maxConnections: 3 }) })
      )
    )
    const sessions = Array.from({ length: 12 }, (_, i) => ({ userId: 'ada', id: `s${i}` }))
    for (const { id } of sessions) await histories[0]!.createSession('ada', id)
    const acknowledged = new Set<string>()
    await Promise.all(
      histories.map(async (history, writer) => {
        for (let round = 0; round < 6; round++) {
          // Each comes in an order of its own.
          const own = sessions.map((_, i) => sessions[(i * [1, 5, 7, 11][writer]! + round) % sessions.length]!)
          await Promise.all(
            own.map(async (session) => {
              const said = `${session.id} ${writer} ${round}`
              try {
                await history.appendMessage(session, saying(said))
                acknowledged.add(said)
              } catch (error) {
                // Whoever never comes first gives up.
                if (!isTurnlogError(error, 'VERSION_CONFLICT') && !isTurnlogError(error, 'STORE_UNAVAILABLE'))
                  throw error
              }
            })
          )
        }
      })
    )
    const said = (await Promise.all(sessions.map(({ id }) => textsOf(histories[1]!, id)))).flat()
    expect(said.toSorted()).toEqual([...acknowledged].sort())
    expect(said.length).toBeGreaterThan(12)
    await Promise.all(histories.map((history) => history.stop()))
  })

  it('locks sessions in the order of their keys, so that no two writers wait for each other', async () => {
    const schema = newSchema()
    const history = await createSessionHistory({ store: postgresStore({ pool: admin, schema }) })
    const [first, second] = ['a', 'b'].toSorted((a, b) => Buffer.compare(hashOf(a), hashOf(b))) as [string, string]
    // Made and written in the other order: that is how they are found where nobody sees to it.
    for (const id of [second, first]) await history.createSession('ada', id)
    const row = `SELECT name FROM ${quoted(schema)}.turnlog_sessions WHERE session = $1 FOR UPDATE`
    const [blocker, observer] = [await admin.connect(), await admin.connect()]
    await blocker.query('BEGIN')
    await blocker.query(row, [hashOf(first)])
    const writing = Promise.all([second, first].map((id) => history.appendMessage({ userId: 'ada', id }, saying('x'))))
    for (let waiting = 0; waiting === 0;) {
      const { rows } = await admin.query("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
      waiting = rows.length
    }
    // It waits for the first, and has not locked the second yet.
    expect((await observer.query(`${row} SKIP LOCKED`, [hashOf(second)])).rows).toHaveLength(1)
    await blocker.query('COMMIT')
    for (const client of [blocker, observer]) client.release()
    expect((await writing).map((session) => session?.version)).toEqual([2, 2])
    await history.stop()
  })

  it('leaves nothing of a log that is purged at the same time as its last fork', async () => {
    const schema = newSchema()
    let purging: (() => Promise<unknown>) | undefined
    const pool = watched(async ({ text }) => {
      if (!text.startsWith('DELETE') || !text.includes('version >')) return
      await purging?.()
    })
    const history = await createSessionHistory({ store: postgresStore({ pool, schema }) })
    const other = await createSessionHistory({ store: postgresStore({ pool: admin, schema }) })
    const session = await history.createSession('ada', 'trip')
    await history.appendMessage(session, saying('one'))
    await history.fork(session, { sessionId: 'fork' })
    // The first has seen that the fork needs it, and has not said so.
    let purged: Promise<void> | undefined
    purging = async () => {
      purging = undefined
      let isOver = false
      purged = other.purgeSession('ada', 'fork').finally(() => (isOver = true))
      for (let isWaiting = false; !isWaiting && !isOver;) {
        const { rows } = await admin.query("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        isWaiting = rows.length > 0
      }
    }
    await history.purgeSession('ada', 'trip')
    await purged
    for (const table of ['sessions', 'logs', 'events'])
      expect((await admin.query(`SELECT FROM ${quoted(schema)}.turnlog_${table}`)).rows, table).toHaveLength(0)
    await Promise.all([history.stop(), other.stop()])
  })

  it('tries again where the server has it give way to another', async () => {
    let failures = 0
    const pool = watched(({ text }) => {
      if (!text.includes('begun AS') || failures === 2) return
      failures++
      throw Object.assign(new Error('deadlock detected'), { code: '40P01' })
    })
    const history = await createSessionHistory({ store: postgresStore({ pool, schema: newSchema() }) })
    await history.createSession('ada', 'trip')
    expect(failures).toBe(2)
    await history.stop()
  })

  describe('where transactions are usually stricter than READ COMMITTED', () => {
    /** A database whose owner has set it so. */
    async function strictDatabase(level: string): Promise<string> {
      const name = `strict_${++made}`
      await admin.query(`CREATE DATABASE ${name}`)
      await admin.query(`ALTER DATABASE ${name} SET default_transaction_isolation = '${level}'`)
      return `${url.slice(0, url.lastIndexOf('/'))}/${name}`
    }

    it.each(['repeatable read', 'serializable'])('is opened by many, and writes, at once: %s', async (level) => {
      const connectionString = await strictDatabase(level)
      const histories = await Promise.all(
        Array.from({ length: 4 }, () => createSessionHistory({ store: postgresStore({ connectionString }) }))
      )
      const ids = ['a', 'b', 'c', 'd']
      for (const id of ids) await histories[0]!.createSession('ada', id)
      const stored = await Promise.all(
        histories.flatMap((history, i) => ids.map((id) => history.appendMessage({ userId: 'ada', id }, saying(`${i}`))))
      )
      expect(stored.map((session) => session!.version).toSorted((a, b) => a - b)).toEqual(
        [2, 3, 4, 5].flatMap((version) => ids.map(() => version))
      )
      await Promise.all(histories.map((history) => history.stop()))
    })

    it('a purge leaves what a fork has come to share while it was under way', async () => {
      const own = new Pool({ connectionString: await strictDatabase('repeatable read') })
      own.on('error', () => undefined)
      let meanwhile = (): Promise<unknown> => Promise.resolve()
      const pool = watched(
        async ({ text }) => {
          if (text.includes('SET owner = NULL')) await meanwhile()
        },
        { pool: own }
      )
      const history = await createSessionHistory({ store: postgresStore({ pool }) })
      const forker = await createSessionHistory({ store: postgresStore({ pool: own }) })
      const session = await history.createSession('ada', 'trip')
      for (const said of ['one', 'two']) await history.appendMessage(session, saying(said))
      // It has looked at the tables, and not locked the log.
      meanwhile = () => forker.fork(session, { sessionId: 'fork' })
      await history.purgeSession('ada', 'trip')
      await forker.stop()
      expect(await textsOf(history, 'fork', 'ada')).toEqual(['one', 'two'])
      await history.stop()
      await own.end()
    })

    it('a statement that had to give way is tried again as READ COMMITTED', async () => {
      let isCommitted = false
      let failures = 0
      const pool = watched(({ text }) => {
        if (text.startsWith('BEGIN')) isCommitted = text.includes('READ COMMITTED')
        if (!text.includes('followed AS') || isCommitted) return
        failures++
        throw Object.assign(new Error('could not serialize access'), { code: '40001' })
      })
      const history = await createSessionHistory({ store: postgresStore({ pool, schema: newSchema() }) })
      const session = await history.createSession('ada', 'trip')
      isCommitted = false
      expect((await history.appendMessage(session, saying('one')))?.version).toBe(2)
      expect(failures).toBe(1)
      await history.stop()
    })
  })

  it('harms no commit of others with one that the server refuses', async () => {
    const store = postgresStore({ pool: admin, schema: newSchema() })
    const history = await createSessionHistory({ store, ids: { event: eventIds() } })
    await history.createSession('ada', 'first')
    const [head] = await store.heads()
    const first = await all(store.read(head!.logId))
    const begin = (sessionId: string, logId: string): Commit => {
      const key = { userId: 'ada', sessionId }
      const events = first.flat().map((event) => ({ ...event, ...key }))
      return { key, logId, expectedVersion: 0, events, summary: { ...head!.summary, ...key } }
    }
    // Two calls, so that they are no commits of one log in one call.
    const results = await Promise.all([
      store.append([begin('a', 'log a')]),
      store.append([begin('twice', head!.logId)]),
      store.append([begin('b', 'log b')])
    ])
    expect(results.flat().map(({ status }) => status)).toEqual(['stored', 'failed', 'stored'])
    expect(results[1][0]).toMatchObject({ outcome: 'not-stored', error: { code: 'STORE_UNAVAILABLE' } })
    expect(await store.head({ userId: 'ada', sessionId: 'twice' })).toBe(null)
    await history.stop()
  })

  describe('where there are rows that cannot be right', () => {
    async function damaged(...statements: string[]): Promise<SessionHistoryService> {
      const schema = newSchema()
      const history = await createSessionHistory({ store: postgresStore({ pool: admin, schema }) })
      for (const id of ['trip', 'work']) {
        await history.createSession('ada', id)
        for (let i = 0; i < 3; i++) await history.appendMessage({ userId: 'ada', id }, saying(`${i}`))
      }
      await history.stop()
      const key = `(SELECT key FROM ${quoted(schema)}.turnlog_sessions WHERE name = '["ada","trip"]')`
      for (const statement of statements)
        await admin.query(statement.replaceAll('turnlog_', `${quoted(schema)}.turnlog_`).replace(':trip', key))
      await history.start()
      return history
    }

    it.each([
      ['no JSON', "UPDATE turnlog_events SET body = '{' WHERE key = :trip AND version = 3"],
      ['missing', 'DELETE FROM turnlog_events WHERE key = :trip AND version = 3'],
      ['of another version', 'UPDATE turnlog_events SET version = 9 WHERE key = :trip AND version = 3'],
      ['null', "UPDATE turnlog_events SET body = 'null' WHERE key = :trip AND version = 3"]
    ])('tells of an event that is %s', async (_, statement) => {
      const history = await damaged(statement)
      const error = await history.getSession('ada', 'trip').catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({ code: 'CORRUPT_LOG', userId: 'ada', sessionId: 'trip', version: 3 })
      expect((await history.getSession('ada', 'trip', { at: 2 }))?.messages).toHaveLength(1)
      expect((await history.getSession('ada', 'work'))?.messages).toHaveLength(3)
      await history.stop()
    })

    it('tells of a summary when the session is read, and lists the others', async () => {
      const history = await damaged("UPDATE turnlog_sessions SET summary = 'x' WHERE key = :trip")
      const error = await history.getSession('ada', 'trip').catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({ code: 'CORRUPT_LOG', userId: 'ada', sessionId: 'trip', version: 4 })
      expect((await history.listSessions('ada')).map(({ id }) => id)).toEqual(['work', 'trip'])
      await history.stop()
    })
  })

  describe('opened', () => {
    it('by many at once, makes its tables once', async () => {
      const schema = newSchema()
      const stores = Array.from({ length: 6 }, (_, i) =>
        postgresStore({ connectionString: url, schema, maxConnections: 1, ...(i % 2 === 0 && { partitions: 2 }) })
      )
      // Those that say nothing of partitions may be first.
      const opened = await Promise.allSettled(stores.map((store) => store.open()))
      expect(opened.filter(({ status }) => status === 'fulfilled').length).toBeGreaterThanOrEqual(3)
      for (const result of opened)
        if (result.status === 'rejected') expect(String(result.reason)).toContain('partitions')
      await Promise.all(stores.map((store) => store.close()))
    })

    it('by a role that may do nothing but what it owns the schema for', async () => {
      const schema = newSchema()
      await admin.query(`CREATE ROLE modest LOGIN PASSWORD 'modest'; REVOKE ALL ON DATABASE postgres FROM public;
        GRANT CONNECT ON DATABASE postgres TO modest; REVOKE ALL ON SCHEMA public FROM public`)
      const connectionString = url.replace('postgres:secret', 'modest:modest')
      const refused = postgresStore({ connectionString, schema })
      await expect(refused.open()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', outcome: 'not-stored' })
      await admin.query(`CREATE SCHEMA ${quoted(schema)} AUTHORIZATION modest`)
      const history = await createSessionHistory({ store: postgresStore({ connectionString, schema, partitions: 2 }) })
      const session = await history.createSession('ada')
      await history.appendMessage(session, saying('one'))
      const events = history.subscribe('ada', session.id, { from: 2 })[Symbol.asyncIterator]()
      expect((await events.next()).value).toMatchObject({ version: 2 })
      await history.fork(session)
      await history.purgeSession('ada', session.id)
      await history.stop()
    })

    it('over tables of a newer release, refuses', async () => {
      const schema = newSchema()
      const store = postgresStore({ pool: admin, schema })
      await store.open()
      await store.close()
      await admin.query(`UPDATE ${quoted(schema)}.turnlog_schema SET version = 1000`)
      await expect(store.open()).rejects.toMatchObject({ code: 'STORE_TOO_NEW', found: 1000, known: 1 })
    })

    it('with another number of partitions than the tables have, refuses, and with none says nothing of it', async () => {
      const schema = newSchema()
      const open = async (partitions?: number): Promise<void> => {
        const store = postgresStore({ pool: admin, schema, partitions })
        await store.open()
        await store.close()
      }
      await open(4)
      const { rows } = await admin.query(
        "SELECT count(*)::integer AS count FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND relkind = 'r'",
        [schema]
      )
      expect(rows).toEqual([{ count: 12 }])
      await open()
      await open(4)
      await expect(open(8)).rejects.toThrow('4 partitions')
    })

    it('with a wrong password, or where there is no server or database, says so', async () => {
      for (const [connectionString, reason] of [
        [url.replace('secret', 'wrong'), 'password authentication failed'],
        [url.replace(/:\d+\//, ':1/'), 'ECONNREFUSED'],
        [`${url}nowhere`, 'does not exist']
      ] as const) {
        const store = postgresStore({ connectionString })
        const error = await store.open().catch((thrown: unknown) => thrown)
        expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', outcome: 'not-stored' })
        expect(String(error)).toContain(reason)
        expect(String(error)).not.toContain('wrong')
        expect(await store.health()).toBe(false)
      }
    })
  })

  describe('told of changes', () => {
    /** Takes hints until one is of `version`. */
    async function hintOf(hints: AsyncIterator<number>, version: number): Promise<void> {
      for (;;) {
        const { value, done } = await hints.next()
        if (done) throw new Error('watch has ended')
        if (value === version) return
      }
    }

    async function hearsOfAppends(
      pool: PostgresPool,
      schema: string,
      settings: PostgresSettings = {},
      between = async (): Promise<void> => {}
    ): Promise<void> {
      const store = postgresStore({ ...settings, pool, schema })
      const writer = await createSessionHistory({ store: postgresStore({ pool: admin, schema }) })
      await store.open()
      const session = await writer.createSession('ada', 'trip')
      const stop = new AbortController()
      const hints = store.watch!({ userId: 'ada', sessionId: 'trip' }, stop.signal)[Symbol.asyncIterator]()
      for (let version = 1; version < 8; version++) {
        await hintOf(hints, version)
        if (version === 4) await between()
        await writer.appendMessage(session, saying('more'))
      }
      stop.abort()
      await store.close()
      await writer.stop()
    }

    it('asks for them where NOTIFY does not come through', async () => {
      const deaf = watched(() => undefined, { isDeaf: true })
      await hearsOfAppends(deaf, newSchema())
    })

    it('asks for them where there is no connection to spare', async () => {
      const one = new Pool({ connectionString: url, max: 1 })
      await hearsOfAppends(one, newSchema())
      await one.end()
    })

    it('keeps one connection at most of a pool of two, however many stores share it', async () => {
      let listening = 0
      const pool = watched(({ text }) => {
        if (text.startsWith('LISTEN')) listening++
      })
      let waiting = 0
      let goOn = (): void => undefined
      const isThere = new Promise<void>((resolve) => (goOn = resolve))
      const untilAll = async (): Promise<void> => {
        if (++waiting === 3) goOn()
        await isThere
        // From here on, one may end and leave its connection to another.
        expect(listening).toBe(1)
      }
      const three = [newSchema(), newSchema(), newSchema()]
      await Promise.all(three.map((schema) => hearsOfAppends(pool, schema, {}, untilAll)))
    })

    it('asks for them where it is not to listen', async () => {
      const asked: string[] = []
      const pool = watched(({ text }) => void asked.push(text))
      await hearsOfAppends(pool, newSchema(), { listen: false })
      expect(asked.filter((text) => text.includes('LISTEN'))).toEqual([])
    })

    it('hears of them without asking', async () => {
      // Without the timer, what is not told is never asked for.
      vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
      try {
        await hearsOfAppends(admin, newSchema())
      } finally {
        vi.useRealTimers()
      }
    })

    it('goes on where the connection that listens is cut', async () => {
      let probes = 0
      let heard = (): void => undefined
      const pool = watched(({ text, values }) => {
        if (!text.startsWith('SELECT pg_notify') || !String(values[1]).startsWith('!')) return
        probes++
        heard()
      })
      await hearsOfAppends(pool, newSchema(), {}, async () => {
        while (probes === 0) await new Promise<void>((resolve) => (heard = resolve))
        const cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
        expect((await admin.query(cut)).rows.length).toBeGreaterThan(0)
      })
    })
  })

  describe('without its connections', () => {
    it('says of a commit under way that it may be stored, and goes on', async () => {
      const schema = newSchema()
      const store = postgresStore({ connectionString: url, schema })
      const history = await createSessionHistory({ store })
      const session = await history.createSession('ada', 'trip')
      const [head] = await store.heads()
      const [[event] = []] = await all(store.read(head!.logId))
      const blocker = await admin.connect()
      await blocker.query(`BEGIN; SELECT FROM ${quoted(schema)}.turnlog_sessions FOR UPDATE`)
      const commit: Commit = {
        key: { userId: 'ada', sessionId: 'trip' },
        logId: head!.logId,
        expectedVersion: 1,
        events: [{ ...event!, version: 2 }],
        summary: { ...head!.summary, version: 2 }
      }
      const under = store.append([commit])
      // When it waits for the lock, it is with the server.
      for (let found = 0; found === 0;) {
        const { rows } = await admin.query(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        )
        found = rows.length
      }
      expect(await under).toMatchObject([
        { status: 'failed', outcome: 'unknown', error: { code: 'STORE_UNAVAILABLE' } }
      ])
      await blocker.query('COMMIT')
      blocker.release()
      expect((await history.appendMessage(session, saying('one')))?.version).toBe(2)
      await history.stop()
    })

    it('gives up on a server that does not answer, and is not healthy meanwhile', async () => {
      const schema = newSchema()
      let isHung = false
      const pool = watched(() => isHung)
      const store = postgresStore({ pool, schema, timeoutMs: 700 })
      await store.open()
      expect(await store.health()).toBe(true)
      isHung = true
      await expect(store.heads()).rejects.toThrow('did not answer')
      expect(await store.health()).toBe(false)
      isHung = false
      expect(await store.health()).toBe(true)
      await store.close()
    })

    it('says within a second that a server does not answer', async () => {
      let isHung = false
      const store = postgresStore({ pool: watched(() => isHung), schema: newSchema() })
      await store.open()
      isHung = true
      expect(await timeOf(async () => expect(await store.health()).toBe(false))).toBe(800)
      await store.close()
    })

    it('says so where a new one is ended as soon as it is there', async () => {
      const uncaught: unknown[] = []
      const note = (error: unknown): void => void uncaught.push(error)
      process.on('uncaughtException', note)
      const ready = Buffer.from('5a0000000549', 'hex')
      const fields = ['SFATAL', 'C57P01', 'Mterminating connection due to administrator command', '', ''].join('\0')
      const ending = Buffer.concat([Buffer.from('E'), Buffer.alloc(4), Buffer.from(fields)])
      ending.writeInt32BE(ending.length - 1, 1)
      // In one piece, as where this process has been busy.
      await using relay = await relayTo(server!.port, (client, upstream) => {
        client.pipe(upstream)
        upstream.on('data', (chunk: Buffer) => {
          if (chunk.subarray(-ready.length).equals(ready)) client.end(Buffer.concat([chunk, ending]))
          else client.write(chunk)
        })
      })
      const store = postgresStore({ connectionString: relay.url, schema: newSchema() })
      await expect(store.open()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', outcome: 'not-stored' })
      process.off('uncaughtException', note)
      expect(uncaught).toEqual([])
    })

    it('does not wait for new ones that are never answered', async () => {
      let isAnswering = true
      const clients = new Set<Socket>()
      await using relay = await relayTo(server!.port, (client, upstream) => {
        clients.add(client)
        if (isAnswering) client.pipe(upstream).pipe(client)
      })
      const store = postgresStore({
        connectionString: relay.url,
        schema: newSchema(),
        maxConnections: 1,
        timeoutMs: 500
      })
      await store.open()
      isAnswering = false
      for (const client of clients) client.destroy()
      for (let failures = 0; failures < 2; failures++)
        await expect(store.heads()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
      isAnswering = true
      // The place in the pool may take a moment to be free again.
      while (!(await store.health()));
      expect(await store.heads()).toEqual([])
      await store.close()
    })

    it('does not keep those to a server that only reads', async () => {
      await admin.query('CREATE DATABASE failover')
      const set = (isReadOnly: boolean): Promise<unknown> =>
        admin.query(`ALTER DATABASE failover SET default_transaction_read_only = ${isReadOnly}`)
      const connectionString = `${url.slice(0, url.lastIndexOf('/'))}/failover`
      const history = await createSessionHistory({ store: postgresStore({ connectionString, maxConnections: 1 }) })
      const session = await history.createSession('ada', 'trip')
      await set(true)
      await admin.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'failover'")
      // The connection that was cut may be the first to be asked.
      for (let isRefused = false; !isRefused;) {
        const error = await history.appendMessage(session, saying('one')).catch((thrown: unknown) => thrown)
        expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE' })
        isRefused = String(error).includes('read-only transaction')
      }
      expect((await history.getSession('ada', 'trip'))?.version).toBe(1)
      await set(false)
      await history.appendMessage(session, saying('two')).catch(() => undefined)
      expect((await history.appendMessage(session, saying('three')))?.messages.length).toBeGreaterThan(0)
      await history.stop()
    })

    it('takes no code of the operating system for one of the server', async () => {
      let isCut = false
      const pool = watched(() => {
        if (isCut) throw Object.assign(new Error('write EPERM'), { code: 'EPERM' })
      })
      const store = postgresStore({ pool, schema: newSchema() })
      const history = await createSessionHistory({ store })
      await history.createSession('ada', 'trip')
      const [head] = await store.heads()
      const [[event] = []] = await all(store.read(head!.logId))
      isCut = true
      const commit = { expectedVersion: 1, events: [{ ...event!, version: 2 }], summary: head!.summary }
      const results = await store.append([{ key: head!.summary, logId: head!.logId, ...commit }])
      expect(results).toMatchObject([{ status: 'failed', outcome: 'unknown' }])
      isCut = false
      await history.stop()
    })

    it('does without prepared statements where they get lost', async () => {
      const schema = newSchema()
      let lost = 0
      const pool = watched(async ({ name }, client) => {
        if (name === undefined) return
        lost++
        await client.query({ text: 'DEALLOCATE ALL', values: [] })
      })
      const history = await createSessionHistory({ store: postgresStore({ pool, schema }) })
      const session = await history.createSession('ada')
      for (let i = 0; i < 5; i++) await history.appendMessage(session, saying(`${i}`))
      expect(await textsOf(history, session.id, 'ada')).toEqual(['0', '1', '2', '3', '4'])
      expect(lost).toBeGreaterThan(0)
      await history.stop()
    })
  })
})

it('postgresStore refuses what makes no sense', () => {
  const pool = { connect: async () => Promise.reject(new Error('unused')), on: () => undefined, off: () => undefined }
  for (const options of [
    {},
    undefined,
    { connectionString: '' },
    { connectionString: 5 },
    { pool: {} },
    { pool, connectionString: 'postgres://localhost' },
    { pool, maxConnections: 3 },
    { connectionString: 'x', maxConnections: 0 },
    { connectionString: 'x', schema: '' },
    { connectionString: 'x', schema: 'a\0' },
    { connectionString: 'x', schema: '漢'.repeat(22) },
    { connectionString: 'x', partitions: -1 },
    { connectionString: 'x', timeoutMs: 0 },
    { connectionString: 'x', timeoutMs: 2 ** 31 },
    { connectionString: 'x', listen: 'yes' },
    { connectionString: 'x', partition: 3 }
  ])
    expect(() => postgresStore(options as unknown as PostgresStoreOptions), JSON.stringify(options)).toThrow(TypeError)
})

/**
 * The pool of these tests, with something done before each statement: what throws fails it, and `true` leaves it without an answer. A
 * deaf one gets no notifications.
 */
function watched(
  before: (query: PostgresQuery, client: PostgresClient) => unknown,
  { isDeaf = false, pool = admin } = {}
): PostgresPool {
  const wrapped = (client: PoolClient): PostgresClient => ({
    query: async (query) => {
      const isLost = await before(query, client)
      return isLost === true ? new Promise(() => undefined) : client.query(query)
    },
    release: (destroy) => client.release(destroy),
    on: (event: string, listener: (value: never) => void) =>
      isDeaf && event === 'notification' ? undefined : client.on(event as 'end', listener as () => void),
    off: (event: string, listener: (value: never) => void) => client.off(event, listener as () => void)
  })
  return {
    connect: async () => wrapped(await pool.connect()),
    on: () => undefined,
    off: () => undefined
  }
}

/** Stands between clients and the server, with `link` between the two ends of each connection. */
async function relayTo(
  target: number,
  link: (client: Socket, upstream: Socket) => void
): Promise<AsyncDisposable & { readonly url: string }> {
  const sockets = new Set<Socket>()
  const relay = createServer((client) => {
    const upstream = connect(target, '127.0.0.1')
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client]
    ] as const) {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.once('close', () => {
        sockets.delete(socket)
        other.destroy()
      })
    }
    link(client, upstream)
  })
  relay.listen(0, '127.0.0.1')
  await once(relay, 'listening')
  return {
    url: url.replace(/:\d+\//, `:${(relay.address() as AddressInfo).port}/`),
    async [Symbol.asyncDispose]() {
      relay.close()
      for (const socket of sockets) socket.destroy()
      await once(relay, 'close')
    }
  }
}

async function textsOf(history: SessionHistoryService, id: string, userId = 'ada'): Promise<string[]> {
  return textsIn(await history.getSession(userId, id)).map(String)
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const item of items) found.push(item)
  return found
}

function eventIds(): () => string {
  let count = 0
  return () => `event ${++count}`
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
