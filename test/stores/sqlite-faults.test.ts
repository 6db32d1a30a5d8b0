import { execFileSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
  readFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { Worker } from 'node:worker_threads'
import { afterAll, afterEach, beforeEach, describe, expect, it, vi, type TestContext } from 'vitest'
import {
  createSessionHistory,
  type Commit,
  type EventStore,
  type SessionKey,
  type SessionHistoryService,
  type SessionRef
} from '../../src/index.ts'
import { openDatabase, type SqliteDatabase } from '../../src/stores/sqlite/database.ts'
import { LogReader } from '../../src/stores/sqlite/reader.ts'
import { LogWriter, prepareFile } from '../../src/stores/sqlite/writer.ts'
import { sqliteStore, type SqliteStoreOptions } from '../../src/stores/sqlite.ts'
import { compile } from '../compiled.ts'
import { fails, misuses, text, textsOf } from '../service/kit.ts'

const directory = mkdtempSync(join(tmpdir(), 'turnlog-faults-'))
afterAll(() => rmSync(directory, { recursive: true }))

let path = ''
let made = 0
beforeEach(() => void (path = join(directory, `${++made}.db`)))

const ADA = { userId: 'ada', id: 'trip' }
const BOB = { userId: 'bob', id: 'trip' }

function open(options: Partial<SqliteStoreOptions> = {}): Promise<SessionHistoryService> {
  return createSessionHistory({
    store: sqliteStore({ path, ...options } as SqliteStoreOptions),
    missing: { get: 'null', append: 'create' }
  })
}

/** A store with two sessions of three messages each, closed. */
async function filled(): Promise<void> {
  const history = await open()
  for (const session of [ADA, BOB]) await history.appendMessage(session, ['one', 'two', 'three'].map(text))
  await history.stop()
}

function driver(): Promise<SqliteDatabase> {
  return openDatabase(path, { mustExist: true })
}

/** Changes the file behind the store's back. */
async function change(sql: string): Promise<void> {
  const database = await driver()
  database.exec(sql)
  database.close()
}

const NOT_STORED = { outcome: 'not-stored' }

describe('a file that is no store', () => {
  it('of something else is STORE_UNAVAILABLE, and stays as it is', async () => {
    writeFileSync(path, 'This is a letter, and no database. '.repeat(100))
    await fails(() => open(), 'STORE_UNAVAILABLE', NOT_STORED)
    expect(readFileSync(path, 'utf8')).toMatch(/^This is a letter/)
  })

  it('in a folder that is not there is STORE_UNAVAILABLE', async () => {
    path = join(directory, 'no', 'such', 'folder.db')
    await fails(() => open(), 'STORE_UNAVAILABLE', NOT_STORED)
  })

  it('that is a folder is STORE_UNAVAILABLE', async () => {
    mkdirSync(path)
    await fails(() => open(), 'STORE_UNAVAILABLE', NOT_STORED)
  })

  it('and empty becomes one', async () => {
    writeFileSync(path, '')
    const history = await open()
    expect((await history.createSession('ada')).version).toBe(1)
    await history.stop()
  })

  it('of another program is shared with that', async () => {
    const database = await openDatabase(path, { mustExist: false })
    database.exec("CREATE TABLE notes (text); INSERT INTO notes VALUES ('theirs'); PRAGMA user_version = 7")
    database.close()
    await filled()
    const after = await driver()
    expect(after.prepare('SELECT text FROM notes').get()).toEqual({ text: 'theirs' })
    expect(after.prepare('PRAGMA user_version').get()).toEqual({ user_version: 7 })
    after.close()
  })

  it('of a newer release is STORE_TOO_NEW, and stays as it is', async () => {
    await filled()
    await change('UPDATE turnlog_schema SET version = 99')
    await fails(() => open(), 'STORE_TOO_NEW', { found: 99, known: 1 })
    await change('UPDATE turnlog_schema SET version = 1')
    const history = await open()
    expect((await history.getSession('ada', 'trip'))?.messages).toHaveLength(3)
    await history.stop()
  })

  it('of an older release is brought to the form of this one, once, by two at once', async () => {
    await filled()
    const options = { synchronous: 'full', busyTimeoutMs: 5_000, checkpoints: true } as const
    const [one, other] = [await driver(), await driver()]
    const MIGRATIONS = ['never run again', 'CREATE TABLE turnlog_more (x); INSERT INTO turnlog_more VALUES (1)']
    for (const database of [one, other]) prepareFile(database, options, MIGRATIONS)
    expect(other.prepare('SELECT count(*) AS n FROM turnlog_more').get()).toEqual({ n: 1 })
    for (const database of [one, other]) database.close()
    await fails(() => open(), 'STORE_TOO_NEW', { found: 2, known: 1 })
  })
})

describe('damage', () => {
  const INTACT = ['one', 'two', 'three']

  /** Expects `CORRUPT_LOG` of one session, and the other to be as it was and to go on. */
  async function harmsOne(version: number): Promise<void> {
    const history = await open()
    const fields = { userId: 'ada', sessionId: 'trip', version }
    await fails(() => history.getSession('ada', 'trip'), 'CORRUPT_LOG', fields)
    await fails(() => history.appendMessage(ADA, text('more')), 'CORRUPT_LOG', fields)
    expect(textsOf(await history.getSession('bob', 'trip'))).toEqual(INTACT)
    expect(textsOf(await history.appendMessage(BOB, text('more')))).toEqual([...INTACT, 'more'])
    expect((await history.listSessions('ada')).map(({ id }) => id)).toEqual(['trip'])
    await history.stop()
  }

  it.each([
    [
      'a changed letter of an event',
      3,
      'UPDATE turnlog_events SET body = replace(body, \'"two"\', \'"twp"\') WHERE session = 1'
    ],
    ['a changed checksum', 2, 'UPDATE turnlog_events SET checksum = checksum + 1 WHERE session = 1 AND version = 2'],
    [
      'an event that is no text',
      4,
      'UPDATE turnlog_events SET body = CAST(body AS BLOB) WHERE session = 1 AND version = 4'
    ],
    ['an event that is no JSON', 4, "UPDATE turnlog_events SET body = '{' WHERE session = 1 AND version = 4"],
    [
      'an event in the place of another',
      3,
      'UPDATE turnlog_events SET body = (SELECT body FROM turnlog_events WHERE session = 1 AND version = 2), checksum = (SELECT checksum FROM turnlog_events WHERE session = 1 AND version = 2) WHERE session = 1 AND version = 3'
    ],
    ['an event that is missing', 3, 'DELETE FROM turnlog_events WHERE session = 1 AND version = 3'],
    ['the last event missing', 4, 'DELETE FROM turnlog_events WHERE session = 1 AND version = 4'],
    [
      'a changed summary',
      4,
      "UPDATE turnlog_sessions SET summary = replace(summary, 'message', 'massage') WHERE key = 1"
    ],
    ['a summary that is no text', 4, 'UPDATE turnlog_sessions SET summary = CAST(summary AS BLOB) WHERE key = 1'],
    ['a changed version', 5, 'UPDATE turnlog_sessions SET version = 5 WHERE key = 1']
  ])('%s is CORRUPT_LOG, with the session and its version', async (_, version, sql) => {
    await filled()
    await change(sql)
    await harmsOne(version)
  })

  describe('in the middle of a long log', () => {
    /** At one ms each, from version 2 on. */
    async function long(): Promise<void> {
      let now = 1_000
      const clock = { now: () => now, setTimeout: () => undefined, clearTimeout: () => undefined }
      const history = await createSessionHistory({ store: sqliteStore({ path }), clock })
      await history.createSession('ada', 'trip')
      for (let i = 2; i <= 701; i++) {
        now = 1_000 + i
        await history.appendMessage(ADA, text(`${i}`))
      }
      await history.stop()
    }

    async function givesWhatIsBefore(version: number): Promise<void> {
      const fields = { userId: 'ada', sessionId: 'trip', version }
      const history = await open()
      const seen: number[] = []
      const read = async (events: AsyncIterable<{ version: number }>): Promise<void> => {
        seen.splice(0)
        for await (const event of events) seen.push(event.version)
      }
      const sound = Array.from({ length: version - 1 }, (_, i) => i + 1)
      await fails(() => read(history.readEvents('ada', 'trip')), 'CORRUPT_LOG', fields)
      expect(seen).toEqual(sound)
      await fails(() => read(history.subscribe('ada', 'trip')), 'CORRUPT_LOG', fields)
      expect(seen).toEqual(sound)
      await read(history.readEvents('ada', 'trip', { to: version - 1 }))
      expect(seen).toEqual(sound)
      for (const at of [version - 1, new Date(1_000 + version - 2)]) {
        const session = await history.getSession('ada', 'trip', { at, last: 1 })
        const newest = typeof at === 'number' ? at : version - 2
        expect([session?.version, textsOf(session)]).toEqual([newest, [`${newest}`]])
        const fork = await history.fork(ADA, { at })
        expect(fork.messages).toHaveLength(newest - 1)
        const again = await open()
        expect((await again.getSession('ada', fork.id))?.messages).toHaveLength(newest - 1)
        await again.stop()
      }
      // Whether there was more at that time cannot be told.
      for (const at of [version, 701, 702, undefined, new Date(1_000 + version - 1), new Date(9_999)]) {
        await fails(() => history.getSession('ada', 'trip', { at }), 'CORRUPT_LOG', fields)
        await fails(() => history.fork(ADA, { at }), 'CORRUPT_LOG', fields)
      }
      await history.stop()
    }

    it('leaves what is before to be read and forked', async () => {
      await long()
      await change('UPDATE turnlog_events SET checksum = checksum + 1 WHERE session = 1 AND version = 650')
      await givesWhatIsBefore(650)
    })

    it('leaves what is before to be read and forked also where it is of a page', async () => {
      await long()
      const whole = readFileSync(path)
      const page = Math.floor(whole.indexOf('"version":640,') / 4_096)
      const file = openSync(path, 'r+')
      writeSync(file, Buffer.alloc(4_096, 0xa5), 0, 4_096, 4_096 * page)
      closeSync(file)
      const inPage = whole.subarray(4_096 * page, 4_096 * (page + 1)).toString('latin1')
      await givesWhatIsBefore(Math.min(...Array.from(inPage.matchAll(/"version":(\d+),/g), ([, n]) => Number(n))))
    })
  })

  it('that takes a session away leaves its events to no other', async () => {
    await filled()
    await change("DELETE FROM turnlog_sessions WHERE user = 'bob'")
    const history = await open()
    expect(await history.getSession('bob', 'trip')).toBeNull()
    expect(textsOf(await history.appendMessage(BOB, text('anew')))).toEqual(['anew'])
    await history.stop()
    const again = await open()
    expect(textsOf(await again.getSession('bob', 'trip'))).toEqual(['anew'])
    await again.stop()
  })

  it('of pages of the file is an error of ours, whichever it is', async () => {
    await filled()
    const { size } = statSync(path)
    for (let page = 1; page < size / 4096; page++) {
      const whole = readFileSync(path)
      const file = openSync(path, 'r+')
      writeSync(file, Buffer.alloc(2_048, 0xa5), 0, 2_048, 4096 * page + 1_024)
      closeSync(file)
      const history = await open().catch((error: unknown) => error)
      if (!(history instanceof Error)) {
        const service = history as SessionHistoryService
        for (const session of [ADA, BOB]) {
          const read = await service.getSession(session.userId, session.id).catch((error: unknown) => error)
          if (read instanceof Error)
            expect(['CORRUPT_LOG', 'STORE_UNAVAILABLE']).toContain((read as { code?: string }).code)
          else if (read !== null) expect(textsOf(read as never)).toEqual(INTACT)
        }
        await service.stop()
      } else expect(['CORRUPT_LOG', 'STORE_UNAVAILABLE']).toContain((history as { code?: string }).code)
      for (const suffix of ['-wal', '-shm']) rmSync(path + suffix, { force: true })
      writeFileSync(path, whole)
    }
    const mended = await open()
    expect(textsOf(await mended.getSession('ada', 'trip'))).toEqual(INTACT)
    await mended.stop()
  })
})

describe('damage that is mended while the file is open', () => {
  function overwrite(at: number, bytes: Buffer): void {
    const file = openSync(path, 'r+')
    writeSync(file, bytes, 0, bytes.length, at)
    closeSync(file)
  }

  const nameOf = ({ userId, id }: SessionRef): SessionKey => ({ userId, sessionId: id })

  /** What a store answers to all that changes nothing. */
  async function answers(store: EventStore, logIds: readonly string[]): Promise<unknown[]> {
    const eventsOf = async (logId: string): Promise<unknown[]> => {
      const events: unknown[] = []
      for await (const page of store.read(logId)) events.push(...page)
      return events
    }
    // Two that conflict, which a thread looks at, without writing anything.
    const late = logIds.map((logId, i): Commit => {
      const key = nameOf([ADA, BOB][i]!)
      const summary = { ...key, version: 100, createdAt: 1, updatedAt: 1, deleted: false, format: 'x', metadata: {} }
      return { key, logId, expectedVersion: 100, events: [], summary }
    })
    const asked = await Promise.allSettled([
      ...[ADA, BOB].map((session) => store.head(nameOf(session))),
      ...logIds.map(eventsOf),
      store.list('ada'),
      store.list('ada', { limit: 10 }),
      store.listUsers(),
      store.heads(),
      ...logIds.map((logId) => store.forks(logId)),
      store.append(late),
      store.append(late.slice(1))
    ])
    return asked.map((answer) => (answer.status === 'fulfilled' ? answer.value : 'failed'))
  }

  const places: readonly [what: string, places: (file: Buffer) => readonly number[], damage: Buffer][] = [
    [
      'of any page',
      (file) => Array.from({ length: file.length / 4_096 - 1 }, (_, i) => 4_096 * (i + 1)),
      Buffer.alloc(4_096, 0xa5)
    ],
    ['of a letter of an event', (file) => [file.indexOf('"text":"two"')], Buffer.from('"text":"twp"')],
    ['of a letter of a summary', (file) => [file.indexOf('"message","metadata"')], Buffer.from('"massage","metadata"')]
  ]

  describe.each(['path', 'database'] as const)('by %s', (kind) => {
    it.each(places)('%s is over', async (_what, placesIn, damage) => {
      await filled()
      let own = kind === 'database' ? await driver() : undefined
      let store = sqliteStore(own ? { database: own } : { path })
      await store.open()
      const logIds = await Promise.all([ADA, BOB].map(async (session) => (await store.head(nameOf(session)))!.logId))
      const before = await answers(store, logIds)
      expect(before).not.toContain('failed')
      let noticed = 0
      // A thread, which is one more with each file, takes long to start.
      const spots = placesIn(readFileSync(path)).filter((_, i) => kind === 'database' || i % 4 === 0)
      for (const at of spots) {
        await store.close()
        own?.close()
        own = kind === 'database' ? await driver() : undefined
        store = sqliteStore(own ? { database: own } : { path })
        await store.open()
        const sound = readFileSync(path).subarray(at, at + damage.length)
        overwrite(at, damage)
        if (!isDeepStrictEqual(await answers(store, logIds), before)) noticed++
        overwrite(at, sound)
        expect(await answers(store, logIds)).toEqual(before)
      }
      await store.close()
      own?.close()
      // Not all pages are read.
      expect(noticed).toBeGreaterThan(spots.length / 2)
      const history = await open()
      for (const session of [ADA, BOB])
        expect(textsOf(await history.appendMessage(session, text('four')))).toEqual(['one', 'two', 'three', 'four'])
      await history.stop()
    })
  })
})

describe('a file that another process has locked', () => {
  it('for longer than busyTimeoutMs is STORE_UNAVAILABLE; nothing is stored, reads go on, and so do writes later', async () => {
    await filled()
    const history = await open({ busyTimeoutMs: 50 })
    const other = await driver()
    other.exec('BEGIN IMMEDIATE')
    await fails(() => history.appendMessage(ADA, text('late')), 'STORE_UNAVAILABLE', NOT_STORED)
    expect(textsOf(await history.getSession('ada', 'trip'))).toEqual(['one', 'two', 'three'])
    other.exec('ROLLBACK')
    other.close()
    expect(textsOf(await history.appendMessage(ADA, text('four')))).toEqual(['one', 'two', 'three', 'four'])
    await history.stop()
  })

  it('is meant, not one that this one has: who does not wait for others never fails for itself', async () => {
    const store = sqliteStore({ path, busyTimeoutMs: 0 })
    const history = await createSessionHistory({ store })
    const sessions = await Promise.all(Array.from({ length: 40 }, () => history.createSession('ada')))
    const { logId } = (await store.head({ userId: 'ada', sessionId: sessions[0]!.id }))!
    let isDone = false
    const touch = async (): Promise<void> => {
      for (let at = 1; !isDone; at++) {
        await store.touch(logId, at)
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    const touched = touch()
    // Of the batches that they come to, the thread has the next one before it is done with the one at hand.
    const add = async (session: SessionRef): Promise<void> => {
      for (let i = 0; i < 30; i++) await history.appendMessage(session, text(`${i}`))
    }
    const added = await Promise.allSettled(sessions.map(add))
    isDone = true
    expect(added.filter(({ status }) => status === 'rejected')).toEqual([])
    await touched
    await history.stop()
  })

  it.each(['path', 'database'] as const)('for less is waited for, and the event loop goes on (%s)', async (kind) => {
    await filled()
    const own = kind === 'database' ? await driver() : undefined
    own?.exec('PRAGMA busy_timeout = 0')
    const history = await open(own ? { path: undefined, database: own } : {})
    const other = await driver()
    other.exec('BEGIN IMMEDIATE')
    const appended = history.appendMessage(ADA, text('four'))
    let isStored = false
    void appended.then(() => (isStored = true))
    // Turns of the event loop, in which the append is tried again and again.
    for (let i = 0; i < 2_000; i++) await new Promise((resolve) => setImmediate(resolve))
    expect(isStored).toBe(false)
    other.exec('ROLLBACK')
    other.close()
    expect(textsOf(await appended)).toEqual(['one', 'two', 'three', 'four'])
    await history.stop()
    own?.close()
  })
})

describe('a disk that is full', () => {
  /** Fills, fails, and goes on when there is room: whatever was acknowledged is there. */
  async function fillsUp(history: SessionHistoryService, makeRoom: () => void): Promise<void> {
    let stored = 0
    const large = 'x'.repeat(20_000)
    const fill = async (): Promise<void> => {
      for (; stored < 10_000; stored++) await history.appendMessage(ADA, text(`${stored} ${large}`))
    }
    await fails(fill, 'STORE_UNAVAILABLE', NOT_STORED)
    expect(stored).toBeGreaterThan(3)
    expect(textsOf(await history.getSession('ada', 'trip'))).toHaveLength(stored)
    makeRoom()
    expect((await history.appendMessage(ADA, text('after')))?.messages).toHaveLength(stored + 1)
    expect((await history.appendMessage(BOB, text('other')))?.messages).toHaveLength(1)
    await history.stop()
    const again = await open()
    expect((await again.getSession('ada', 'trip'))?.messages).toHaveLength(stored + 1)
    await again.stop()
  }

  it('for real, on a file system of 1 MB', async (context: TestContext) => {
    const small = join(directory, 'small')
    mkdirSync(small)
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', small], { stdio: 'pipe' })
    } catch {
      return context.skip('a file system cannot be mounted here')
    }
    try {
      path = join(small, 'full.db')
      await fillsUp(await open(), () => execFileSync('mount', ['-o', 'remount,size=16m', small]))
    } finally {
      execFileSync('umount', ['-l', small])
    }
  })

  it('as far as SQLite may grow', async () => {
    await (await open()).stop()
    const database = await driver()
    database.exec('PRAGMA max_page_count = 100')
    const history = await open({ path: undefined, database })
    await fillsUp(history, () => database.exec('PRAGMA max_page_count = 100000'))
    database.close()
  })
})

describe('a file that may only be read', () => {
  it('in a folder that cannot be written says where it could be read', async (context: TestContext) => {
    const folder = join(directory, 'backups')
    mkdirSync(folder)
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', folder], { stdio: 'pipe' })
    } catch {
      return context.skip('a file system cannot be mounted here')
    }
    try {
      path = join(folder, 'backup.db')
      await filled()
      execFileSync('mount', ['-o', 'remount,ro', folder])
      const error = await fails(() => open(), 'STORE_UNAVAILABLE', NOT_STORED)
      expect(error.message).toContain('copy it to a folder that can be written')
    } finally {
      execFileSync('umount', ['-l', folder])
    }
  })

  it('can be read, refuses writes with STORE_UNAVAILABLE, and is written when it may be', async () => {
    await filled()
    const database = await driver()
    const history = await open({ path: undefined, database })
    database.exec('PRAGMA query_only = ON')
    await fails(() => history.appendMessage(ADA, text('four')), 'STORE_UNAVAILABLE', NOT_STORED)
    expect(textsOf(await history.getSession('ada', 'trip'))).toEqual(['one', 'two', 'three'])
    database.exec('PRAGMA query_only = OFF')
    expect((await history.appendMessage(ADA, text('four')))?.messages).toHaveLength(4)
    await history.stop()
    database.close()
  })

  it.skipIf(process.getuid?.() !== 0)(
    'by another user of the machine is STORE_UNAVAILABLE for that one (only root can try)',
    async (context: TestContext) => {
      const other = { uid: 65_534, gid: 65_534, encoding: 'utf8' } as const
      try {
        execFileSync(process.execPath, ['-e', ''], other)
      } catch {
        return context.skip('another user cannot run Node here')
      }
      await filled()
      const compiled = compile()
      execFileSync('chmod', ['-R', 'a+rX', compiled.path, directory])
      const program = `
      const { createSessionHistory } = await import('${compiled.path}/index.js')
      const { sqliteStore } = await import('${compiled.path}/stores/sqlite.js')
      try {
        const history = await createSessionHistory({ store: sqliteStore({ path: '${path}' }), missing: { append: 'create' } })
        await history.appendMessage({ userId: 'ada', id: 'trip' }, { content: 'x' })
      } catch (error) { console.log(error.code, error.outcome) }`
      const output = execFileSync(process.execPath, ['--input-type=module', '-e', program], other)
      compiled.remove()
      return expect(output.trim()).toBe('STORE_UNAVAILABLE not-stored')
    }
  )
})

describe('a worker thread that dies', () => {
  const SESSIONS = Array.from({ length: 8 }, (_, i) => ({ userId: 'ada', id: `s${i}` }))
  let threads: Worker[] = []
  const listener = (thread: Worker): number => threads.push(thread)
  beforeEach(() => {
    threads = []
    process.on('worker', listener)
  })
  afterEach(() => void process.off('worker', listener))

  it('while it has nothing to do is replaced, and nobody notices', async () => {
    const history = await open()
    const add = (word: string) => Promise.all(SESSIONS.map((session) => history.appendMessage(session, text(word))))
    await add('one')
    expect(threads).toHaveLength(1)
    await threads[0]!.terminate()
    const run = vi.spyOn(LogWriter.prototype, 'run')
    for (const session of await add('two')) expect(textsOf(session)).toEqual(['one', 'two'])
    // The batch was written by a thread, not by this one.
    expect(threads).toHaveLength(2)
    expect(run).not.toHaveBeenCalled()
    run.mockRestore()
    await threads[1]!.terminate()
    await history.stop()
    const again = await open()
    for (const { userId, id } of SESSIONS) expect(textsOf(await again.getSession(userId, id))).toEqual(['one', 'two'])
    await again.stop()
  })

  it('at any moment loses nothing, and what it may have stored is not stored twice', async () => {
    const history = await open()
    await Promise.all(SESSIONS.map(({ userId, id }) => history.createSession(userId, id)))
    const ROUNDS = 12
    let failures = 0
    for (let round = 0; round < ROUNDS; round++) {
      const add = async (session: SessionRef): Promise<void> => {
        for (;;) {
          try {
            await history.appendMessage(session, text(`${round}`), { idempotencyKey: `${round}` })
            return
          } catch (error) {
            expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE' })
            failures++
          }
        }
      }
      const added = Promise.all(SESSIONS.map(add))
      for (let turn = 0; turn < 3 * round; turn++) await new Promise((resolve) => setImmediate(resolve))
      await threads.at(-1)?.terminate()
      await added
    }
    expect(threads.length).toBeGreaterThan(ROUNDS / 4)
    expect(failures).toBeGreaterThan(0)
    await history.stop()
    const again = await open()
    for (const { userId, id } of SESSIONS)
      expect(textsOf(await again.getSession(userId, id))).toEqual(Array.from({ length: ROUNDS }, (_, i) => `${i}`))
    await again.stop()
  })
})

describe('opening', () => {
  it('waits for whoever has locked the file once more', async () => {
    await filled()
    const hasGarbage = vi.spyOn(LogReader.prototype, 'hasGarbage')
    hasGarbage.mockImplementationOnce(() => {
      throw Object.assign(new Error('database is locked'), { code: 'SQLITE_BUSY_RECOVERY' })
    })
    const history = await open()
    expect(hasGarbage).toHaveBeenCalledTimes(2)
    hasGarbage.mockRestore()
    expect((await history.getSession('ada', 'trip'))?.version).toBe(4)
    await history.stop()
  })

  it('that fails leaves no connection', async () => {
    await filled()
    const hasGarbage = vi.spyOn(LogReader.prototype, 'hasGarbage').mockImplementation(() => {
      throw Object.assign(new Error('interrupted'), { code: 'SQLITE_INTERRUPT' })
    })
    await fails(() => open(), 'STORE_UNAVAILABLE', NOT_STORED)
    hasGarbage.mockRestore()
    // The last connection that is closed takes the write-ahead log along.
    await change('DELETE FROM turnlog_garbage')
    expect(existsSync(`${path}-wal`)).toBe(false)
    const history = await open()
    await history.stop()
  })
})

describe('a connection that is given up', () => {
  it('is taken from nobody who is about to read', async () => {
    await filled()
    const store = sqliteStore({ path })
    await store.open()
    const head = vi.spyOn(LogReader.prototype, 'head').mockImplementationOnce(() => {
      throw Object.assign(new Error('database disk image is malformed'), { code: 'SQLITE_CORRUPT' })
    })
    const failed = store.head({ userId: 'ada', sessionId: 'trip' }).catch((error: unknown) => error)
    const lists: Promise<unknown>[] = []
    for (let i = 0; i < 20; i++) {
      lists.push(store.list('bob'))
      await Promise.resolve()
    }
    expect(await failed).toMatchObject({ code: 'STORE_UNAVAILABLE' })
    head.mockRestore()
    for (const list of await Promise.all(lists)) expect(list).toMatchObject([{ sessionId: 'trip' }])
    await store.close()
  })
})

describe('a file that is gone', () => {
  it('is not made anew behind the back of its users, and is used again when it is back', async () => {
    await filled()
    const history = await open()
    expect((await history.getSession('ada', 'trip'))?.version).toBe(4)
    await history.stop()
    renameSync(path, `${path}.away`)
    const store = sqliteStore({ path })
    renameSync(`${path}.away`, path)
    const again = await createSessionHistory({ store })
    expect(await again.health()).toBe(true)
    await again.stop()
    expect(await again.health()).toBe(false)
  })
})

describe('a relative path', () => {
  it('is of the directory in which the store was made', async () => {
    const before = process.cwd()
    process.chdir(directory)
    try {
      path = basename(path)
      const history = await open()
      process.chdir('/')
      await Promise.all([ADA, BOB].map((session) => history.appendMessage(session, text('one'))))
      expect(textsOf(await history.getSession('ada', 'trip'))).toEqual(['one'])
      await history.stop()
      expect(existsSync(join(directory, path))).toBe(true)
    } finally {
      process.chdir(before)
    }
  })
})

describe('bad options', () => {
  it.each([
    {},
    { path: '' },
    { path: ':memory:' },
    { path: 7 },
    { path: 'x.db', database: {} },
    { database: {} },
    { path: 'x.db', synchronous: 'off' },
    { path: 'x.db', busyTimeoutMs: -1 },
    { path: 'x.db', busyTimeoutMs: '1' },
    { path: 'x.db', busyTimeoutMs: 2 ** 31 }
  ])('%j are misuse', async (options) => {
    await misuses(() => sqliteStore(options as SqliteStoreOptions), 'must be')
  })

  it('are misuse where they are none', async () => {
    await misuses(() => sqliteStore(undefined as never), 'options must be an object with path or database')
    await misuses(() => sqliteStore({ path, syncronous: 'full' } as never), 'is synchronous meant?')
  })

  it('busyTimeoutMs may be as long as SQLite can wait', async () => {
    await filled()
    const history = await open({ busyTimeoutMs: 2 ** 31 - 1 })
    const other = await driver()
    other.exec('BEGIN IMMEDIATE')
    const appended = history.appendMessage(ADA, text('four'))
    for (let i = 0; i < 200; i++) await new Promise((resolve) => setImmediate(resolve))
    other.exec('ROLLBACK')
    other.close()
    expect((await appended)?.messages).toHaveLength(4)
    await history.stop()
  })

  it('a database in memory is refused: it would not last', async () => {
    const database = await openDatabase(':memory:', { mustExist: false })
    await fails(() => createSessionHistory({ store: sqliteStore({ database }) }), 'STORE_UNAVAILABLE', NOT_STORED)
    database.close()
  })
})
