import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { crc32 } from 'node:zlib'
import { createSessionHistory, type SessionHistoryService } from '../../dist/index.js'
import { sqliteStore } from '../../dist/stores/sqlite.js'
import { Database } from './driver.ts'
import { turnlogMessage, roleOf, textOf } from './subjects.ts'

/** A folder on the file system of the repository, for as long as a workload takes. */
export class Place {
  readonly #directory: string
  #files = 0

  private constructor(directory: string) {
    this.#directory = directory
  }

  static async make(): Promise<Place> {
    return new Place(mkdtempSync(join(dirname(fileURLToPath(import.meta.url)), 'tmp-')))
  }

  /** One that no one else has. */
  fresh(): string {
    return this.path(`${this.#files++}.db`)
  }

  path(name: string): string {
    return join(this.#directory, name)
  }

  history(name: string): Promise<SessionHistoryService> {
    return createSessionHistory({ store: sqliteStore({ path: this.path(name) }) })
  }

  async sizeAfterCheckpoint(name: string): Promise<number> {
    const database = new Database(this.path(name))
    database.pragma('wal_checkpoint(TRUNCATE)')
    database.close()
    return statSync(this.path(name)).size
  }

  async [Symbol.asyncDispose](): Promise<void> {
    rmSync(this.#directory, { recursive: true })
  }
}

/** The statements of an append, by hand. */
export class Bare {
  readonly #database: Database
  readonly #append: (session: number) => void
  readonly #transaction: (from: number, count: number) => void
  #next = 0

  constructor(path: string, sessions: number) {
    const database = (this.#database = tables(path))
    fillSessions(
      database,
      Array.from({ length: sessions }, (_, i): [string, string] => ['ada', `s${i}`])
    )
    const follow = database.prepare(
      `UPDATE turnlog_sessions SET version = ?, updated = ?, deleted = ?, summary = ?, checksum = ?
       WHERE log_id = ? AND user = ? AND session = ? AND version = ? RETURNING key`
    )
    const insert = database.prepare('INSERT INTO turnlog_events (session, version, body, checksum) VALUES (?, ?, ?, ?)')
    const versions = Array.from({ length: sessions }, () => 1)
    this.#append = (i) => {
      const version = versions[i]!++
      const id = `s${i}`
      const { key } = follow.get(version + 1, TIME + version, 0, SUMMARY, 1, `log-${i}`, 'ada', id, version) as {
        key: number
      }
      insert.run(key, version + 1, EVENT, 1)
    }
    const [begin, commit] = [database.prepare('BEGIN IMMEDIATE'), database.prepare('COMMIT')]
    this.#transaction = (from, count) => {
      begin.run()
      for (let i = from; i < from + count; i++) this.#append(i % sessions)
      commit.run()
    }
  }

  commits(count: number, perCommit: number): void {
    for (let i = 0; i < count; i += perCommit, this.#next += perCommit) this.#transaction(this.#next, perCommit)
  }

  close(): void {
    this.#database.close()
  }
}

const TIME = 1_763_856_000_000

export const SUMMARY = JSON.stringify({
  userId: 'ada',
  sessionId: 's12',
  version: 1,
  createdAt: TIME,
  updatedAt: TIME,
  deleted: false,
  format: 'message',
  metadata: {}
})

/** What each message has. */
const MESSAGE = { object: 'message', type: 'message', status: 'created' } as const

export const EVENT = JSON.stringify({
  id: 'V1StGXR8_Z5jdHi6B-myT',
  userId: 'ada',
  sessionId: 's12',
  version: 12,
  type: 'message-appended',
  at: TIME,
  data: {
    message: {
      id: 'msg_V1StGXR8_Z5jdHi6B-myT',
      ...MESSAGE,
      ...turnlogMessage(roleOf(12), textOf(12))
    }
  },
  schemaVersion: 1,
  commitId: 'V1StGXR8_Z5jdHi6B-myT'
})

/** A file with the tables of the store. */
function tables(path: string): Database {
  const database = new Database(path)
  database.pragma('journal_mode = WAL')
  database.pragma('synchronous = FULL')
  const template = new Database(templatePath)
  for (const { sql } of template
    .prepare("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'")
    .all() as {
    sql: string
  }[])
    database.exec(sql)
  template.close()
  return database
}

/** A file that the store has made: the bare loops have the very tables. */
const templatePath = await (async () => {
  const directory = mkdtempSync(join(dirname(fileURLToPath(import.meta.url)), 'tmp-template-'))
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
  const path = join(directory, 'template.db')
  const history = await createSessionHistory({ store: sqliteStore({ path }) })
  await history.stop()
  return path
})()

/** `busy` gets `own` sessions, users `u0`, `u1`, … 50 each until there are `total`. */
export function fill(path: string, own: number, total: number): void {
  const names = Array.from({ length: total }, (_, i): [string, string] =>
    i % Math.floor(total / own) === 0 ? ['busy', `s${i}`] : [`u${Math.floor(i / 50)}`, `s${i}`]
  )
  // The user that is asked for has 50 whatever the others lost to the busy one.
  const given = names.filter(([user]) => user !== 'u7')
  const database = new Database(path)
  database.pragma('synchronous = OFF')
  fillSessions(database, [...given, ...Array.from({ length: 50 }, (_, i): [string, string] => ['u7', `x${i}`])])
  database.close()
}

/** `total` sessions that can be read: `s0`, `s1`, … with a turn each, of users `u0`, `u1`, … with 50 each. */
export function fillTurns(path: string, total: number): void {
  const database = new Database(path)
  database.pragma('synchronous = OFF')
  fillSessions(
    database,
    Array.from({ length: total }, (_, i): [string, string] => [`u${Math.floor(i / 50)}`, `s${i}`]),
    2
  )
  database.pragma('wal_checkpoint(TRUNCATE)')
  database.close()
}

function fillSessions(database: Database, names: readonly (readonly [string, string])[], messages = 0): void {
  const session = database.prepare(
    `INSERT INTO turnlog_sessions (log_id, user, session, version, updated, deleted, summary, checksum)
     VALUES (?, ?, ?, ?, ?, 0, ?, ?)`
  )
  const event = database.prepare('INSERT INTO turnlog_events (session, version, body, checksum) VALUES (?, ?, ?, ?)')
  const version = 1 + messages
  database.transaction(() => {
    for (const [i, [userId, sessionId]] of names.entries()) {
      const summary = JSON.stringify({ ...JSON.parse(SUMMARY), userId, sessionId, version })
      const { lastInsertRowid: key } = session.run([
        `log-${i}`,
        userId,
        sessionId,
        version,
        TIME + i,
        summary,
        crc32(summary)
      ])
      if (messages === 0) continue
      const known = { userId, sessionId, at: TIME, schemaVersion: 1 }
      const bodies = [
        { id: `log-${i}`, ...known, version: 1, type: 'created', data: { format: 'message' }, commitId: `log-${i}` },
        ...Array.from({ length: messages }, (_, k) => {
          const id = `log-${i}-${k}`
          const message = { ...MESSAGE, id: `msg-${i}-${k}`, ...turnlogMessage(roleOf(k), textOf(k)) }
          return { id, ...known, version: 2 + k, type: 'message-appended', data: { message }, commitId: id }
        })
      ]
      for (const [k, each] of bodies.entries()) {
        const body = JSON.stringify(each)
        event.run(key, 1 + k, body, crc32(body))
      }
    }
  })()
}
