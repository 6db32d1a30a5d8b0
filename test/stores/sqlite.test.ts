import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { createSessionHistory, type EventStore } from '../../src/index.ts'
import { openDatabase, type SqliteDatabase } from '../../src/stores/sqlite/database.ts'
import { LogWriter } from '../../src/stores/sqlite/writer.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { testEventStore } from '../../src/testing.ts'
import { COMPILED } from '../compiled.ts'
import { text } from '../service/kit.ts'

const directory = mkdtempSync(join(tmpdir(), 'turnlog-'))
afterAll(() => rmSync(directory, { recursive: true }))

const paths = new WeakMap<EventStore, string>()
const databases = new WeakMap<EventStore, SqliteDatabase>()
let made = 0

function newPath(): string {
  return join(directory, `${++made}.db`)
}

function storeAt(path: string): EventStore {
  const store = sqliteStore({ path })
  paths.set(store, path)
  return store
}

testEventStore(
  { describe, it },
  {
    name: 'sqliteStore by path',
    create: () => storeAt(newPath()),
    reopen: (store) => storeAt(paths.get(store)!),
    dispose: (store) => rmSync(paths.get(store)!, { force: true })
  }
)

// A connection cannot be made at once, as its driver is imported: as many as the suite asks for wait here.
const connections: { readonly path: string; readonly database: SqliteDatabase }[] = []
for (let i = 0; i < 150; i++) {
  const path = newPath()
  connections.push({ path, database: await openDatabase(path, { mustExist: false }) })
}
afterAll(() => {
  for (const { database } of connections) database.close()
})

function storeOver({ path, database }: (typeof connections)[number]): EventStore {
  // That the disk has it was tested by path.
  const store = sqliteStore({ database, synchronous: 'normal' })
  paths.set(store, path)
  databases.set(store, database)
  return store
}

testEventStore(
  { describe, it },
  {
    name: 'sqliteStore by database',
    create: () => storeOver(connections.shift()!),
    reopen: (store) => storeOver({ path: paths.get(store)!, database: databases.get(store)! }),
    dispose: (store) => {
      databases.get(store)!.close()
      rmSync(paths.get(store)!, { force: true })
    }
  }
)

describe('sqliteStore', () => {
  it('stores what comes together in one transaction, and a conflict in it harms no other', async () => {
    const path = newPath()
    const database = await openDatabase(path, { mustExist: false })
    let commits = 0
    const counting: SqliteDatabase = {
      exec: (sql) => database.exec(sql),
      close: () => database.close(),
      prepare(sql) {
        const statement = database.prepare(sql)
        if (sql !== 'COMMIT') return statement
        return {
          run: (...values) => {
            commits++
            return statement.run(...values)
          },
          get: (...values) => statement.get(...values),
          all: (...values) => statement.all(...values)
        }
      }
    }
    const store = sqliteStore({ database: counting })
    const history = await createSessionHistory({ store, missing: { append: 'create' } })
    const rival = await createSessionHistory({ store, missing: { append: 'create' } })
    const sessions = Array.from({ length: 64 }, (_, i) => ({ userId: 'ada', id: `s${i}` }))
    await Promise.all(sessions.map((session) => history.appendMessage(session, text('one'))))
    // This one does not know of it, and meets a conflict.
    await rival.appendMessage(sessions[0]!, text('two'))
    const before = commits
    const stored = await Promise.all(sessions.map((session) => history.appendMessage(session, text('three'))))
    expect(stored.map((session) => session?.messages.length)).toEqual([3, ...sessions.slice(1).map(() => 2)])
    expect(commits - before).toBeLessThan(8)
    await Promise.all([history.stop(), rival.stop()])
    database.close()
  })

  it('does not let its write-ahead log grow without end, and leaves none', async () => {
    const path = newPath()
    const history = await createSessionHistory({ store: sqliteStore({ path, synchronous: 'normal' }) })
    const session = await history.createSession('ada')
    let largest = 0
    for (let i = 0; i < 6_000; i++) {
      await history.appendMessage(session, text(`${i} `.padEnd(2_000, 'x')))
      if (i % 100 === 0) largest = Math.max(largest, statSync(`${path}-wal`).size)
    }
    expect(statSync(path).size).toBeGreaterThan(8_000_000)
    expect(largest).toBeLessThan(40_000_000)
    await history.stop()
    expect(existsSync(`${path}-wal`)).toBe(false)
  })

  it('does not let it grow where many write a little and go, and one stays', async () => {
    const path = newPath()
    const staying = await createSessionHistory({ store: sqliteStore({ path }) })
    const session = await staying.createSession('ada')
    let largest = 0
    for (let i = 0; i < 12; i++) {
      const going = await createSessionHistory({ store: sqliteStore({ path, synchronous: 'normal' }) })
      for (let j = 0; j < 17; j++) await going.appendMessage(session, text('x'.repeat(60_000)))
      await going.stop()
      largest = Math.max(largest, statSync(`${path}-wal`).size)
    }
    expect((await staying.getSession('ada', session.id))?.messages).toHaveLength(204)
    await staying.stop()
    expect(statSync(path).size).toBeGreaterThan(12_000_000)
    expect(largest).toBeLessThan(6_000_000)
  })

  it('reads lists by indexes, and never events', async () => {
    const path = newPath()
    const database = await openDatabase(path, { mustExist: false })
    const asked: string[] = []
    const store = sqliteStore({
      database: {
        exec: (sql) => database.exec(sql),
        close: () => database.close(),
        prepare(sql) {
          if (sql.includes('SELECT')) asked.push(sql)
          return database.prepare(sql)
        }
      }
    })
    const history = await createSessionHistory({ store })
    const session = await history.createSession('ada', 'trip')
    asked.length = 0
    await history.listSessions('ada')
    await history.listSessions('ada', { limit: 10 })
    await history.listUsers()
    await history.forks(session)
    await store.heads()
    expect(asked.length).toBeGreaterThan(4)
    for (const sql of asked) {
      expect(sql).not.toContain('turnlog_events')
      const plan = database.prepare(`EXPLAIN QUERY PLAN ${sql.replaceAll('?', '1')}`).all() as { detail: string }[]
      const scans = plan.filter(({ detail }) => detail.startsWith('SCAN') && !detail.includes('users'))
      expect(scans, sql).toEqual([])
      expect(plan.map(({ detail }) => detail).join(), sql).not.toContain('TEMP B-TREE')
    }
    await history.stop()
    database.close()
  })

  it('reads a long log in pages, between which others get their turn', async () => {
    const path = newPath()
    const history = await createSessionHistory({ store: sqliteStore({ path }) })
    const session = await history.createSession('ada', 'long')
    await history.appendMessage(
      session,
      Array.from({ length: 5_000 }, (_, i) => text(`${i}`))
    )
    await history.stop()
    await history.start()
    let turns = 0
    const loading = history.getSession('ada', 'long')
    let isLoaded = false
    void loading.then(() => (isLoaded = true))
    while (!isLoaded) {
      await new Promise((resolve) => setImmediate(resolve))
      turns++
    }
    expect((await loading)?.messages).toHaveLength(5_000)
    expect(turns).toBeGreaterThanOrEqual(10)
    await history.stop()
  })

  describe('closed while rows of what was purged are being removed', () => {
    const key = { userId: 'ada', sessionId: 'long' }

    /** A store that is open, over a file with a log of 20,000 events: four steps' worth. */
    async function longLog(): Promise<{ path: string; store: EventStore }> {
      const path = newPath()
      const store = sqliteStore({ path, synchronous: 'normal' })
      const history = await createSessionHistory({ store, missing: { append: 'create' } })
      const messages = Array.from({ length: 20_000 }, (_, i) => text(`${i}`))
      await history.appendMessage({ userId: key.userId, id: key.sessionId }, messages)
      await history.stop()
      await store.open()
      return { path, store }
    }

    async function rowsIn(path: string): Promise<{ events: number; garbage: number }> {
      const database = await openDatabase(path, { mustExist: true })
      const count = (table: string): number =>
        (database.prepare(`SELECT count(*) AS n FROM ${table}`).get() as { n: number }).n
      const rows = { events: count('turnlog_events'), garbage: count('turnlog_garbage') }
      database.close()
      return rows
    }

    it('finishes a purge that was asked for', async () => {
      const { path, store } = await longLog()
      let isPurged = false
      const purged = store.purge(key).then(() => (isPurged = true))
      await store.close()
      expect(isPurged).toBe(true)
      await purged
      expect(await rowsIn(path)).toEqual({ events: 0, garbage: 0 })
      expect(existsSync(`${path}-wal`)).toBe(false)
    })

    it('finishes what another has left behind', async () => {
      const { path, store } = await longLog()
      await store.close()
      const database = await openDatabase(path, { mustExist: true })
      new LogWriter(database).run({ type: 'purge', ...key, end: undefined })
      database.close()
      await store.open()
      await store.close()
      expect(await rowsIn(path)).toEqual({ events: 0, garbage: 0 })
      expect(existsSync(`${path}-wal`)).toBe(false)
    })
  })

  describe('purged text', () => {
    const SECRET = 'the launch code'

    /** Where the text can be read in the files of the store. */
    function found(path: string): string[] {
      return [path, `${path}-wal`].filter((file) => existsSync(file) && readFileSync(file).includes(SECRET))
    }

    /** Two sessions that are written side by side, small and large; the one that is purged has the text in all that is kept of it. */
    async function purgedIn(
      path: string,
      beforePurge: () => Promise<void> = async () => {}
    ): Promise<() => Promise<void>> {
      const history = await createSessionHistory({ store: sqliteStore({ path, synchronous: 'normal' }) })
      const kept = await history.createSession('ada', 'kept')
      const purged = await history.createSession('ada', `of ${SECRET}`, { metadata: { title: SECRET } })
      for (let i = 0; i < 60; i++) {
        await history.appendMessage(kept, text('x'.repeat((i * 397) % 3_000)))
        await history.appendMessage(purged, text(SECRET + 'y'.repeat((i * 1_201) % 9_000)))
        await history.updateMetadata(purged, { set: { title: SECRET.repeat(i % 30) } })
        await history.createSession('bob', `session ${i}`, { metadata: { title: 'z'.repeat(i * 10) } })
      }
      // Large enough for the worker.
      await history.appendMessage(
        purged,
        Array.from({ length: 500 }, () => text(SECRET.repeat(20)))
      )
      expect(found(path)).not.toEqual([])
      await beforePurge()
      await history.purgeSession('ada', purged.id)
      return () => history.stop()
    }

    it('is in the file and its write-ahead log no more', async () => {
      const path = newPath()
      const stop = await purgedIn(path)
      expect(existsSync(`${path}-wal`)).toBe(true)
      expect(found(path)).toEqual([])
      await stop()
      expect(found(path)).toEqual([])
    })

    it('is there as long as somebody reads what was before, and is gone when the store is closed after that', async () => {
      const path = newPath()
      const reader = await openDatabase(path, { mustExist: false })
      const stop = await purgedIn(path, async () => {
        reader.exec('BEGIN')
        reader.prepare('SELECT count(*) FROM turnlog_events').get()
      })
      expect(found(path)).toContain(path)
      reader.exec('COMMIT')
      await stop()
      expect(found(path)).toEqual([])
      reader.close()
    })
  })

  it('reads a page of events as of one moment', async () => {
    const path = newPath()
    const history = await createSessionHistory({ store: sqliteStore({ path }), missing: { append: 'create' } })
    await history.appendMessage(
      { userId: 'ada', id: 'trip' },
      Array.from({ length: 5_010 }, (_, i) => text(`${i}`))
    )
    await history.stop()

    // Another process purges the session, and removes the first 5,000 rows, whenever this one has read something.
    const [database, other] = [
      await openDatabase(path, { mustExist: true }),
      await openDatabase(path, { mustExist: true })
    ]
    const rival = new LogWriter(other)
    let purge: (() => void) | undefined
    const interrupted: SqliteDatabase = {
      exec: (sql) => database.exec(sql),
      close: () => database.close(),
      prepare(sql) {
        const statement = database.prepare(sql)
        return {
          run: (...values) => statement.run(...values),
          get: (...values) => {
            const row = statement.get(...values)
            purge?.()
            return row
          },
          all: (...values) => {
            const rows = statement.all(...values)
            purge?.()
            return rows
          }
        }
      }
    }
    const store = sqliteStore({ database: interrupted })
    await store.open()
    const { logId } = (await store.head({ userId: 'ada', sessionId: 'trip' }))!
    purge = () => {
      purge = undefined
      rival.run({ type: 'purge', userId: 'ada', sessionId: 'trip', end: undefined })
      rival.run({ type: 'reclaim' })
    }
    const versions: number[] = []
    for await (const page of store.read(logId)) versions.push(...page.map(({ version }) => version))
    expect(purge).toBeUndefined()
    expect(versions).toEqual(Array.from({ length: 500 }, (_, i) => i + 1))
    await store.close()
    for (const each of [database, other]) each.close()
  })

  it('keeps no process alive, with a worker thread or without', () => {
    const program = (calls: string): string => `
      const { createSessionHistory } = await import('${COMPILED}/index.js')
      const { sqliteStore } = await import('${COMPILED}/stores/sqlite.js')
      const history = await createSessionHistory({ store: sqliteStore({ path: '${newPath()}' }), missing: { append: 'create' } })
      ${calls}
      console.log('done')`
    const one = "await history.appendMessage({ userId: 'ada', id: 'a' }, { content: 'x' })"
    const many =
      "await Promise.all([1, 2, 3].map((i) => history.appendMessage({ userId: 'ada', id: 'a' + i }, { content: 'x' })))"
    for (const calls of [one, many, `${many}; await history.stop()`]) {
      const args = ['--input-type=module', '-e', program(calls)]
      expect(execFileSync(process.execPath, args, { encoding: 'utf8', timeout: 15_000 })).toBe('done\n')
    }
  })
})
