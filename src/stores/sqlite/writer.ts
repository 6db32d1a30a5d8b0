// Not by name: of an old Node, which has no crc32, ../../node-version.ts is to say so.
import zlib from 'node:zlib'
import { turnlogError } from '../../errors.ts'
import { forgetPages, resultCode, type SqliteDatabase, type SqliteStatement } from './database.ts'

// What writes to the file. It is synchronous, and runs on the main thread and in the worker alike.

/** A commit as it is written: events and summary are JSON. */
export interface EncodedCommit {
  readonly userId: string
  readonly sessionId: string
  readonly logId: string
  readonly expectedVersion: number
  readonly version: number
  readonly updatedAt: number
  readonly deleted: boolean
  readonly summary: string
  readonly events: readonly string[]
  readonly parent: { readonly logId: string; readonly version: number } | undefined
}

/** Something to write. What stands in one `append` is one transaction. */
export type Job =
  | { readonly type: 'append'; readonly commits: readonly EncodedCommit[] }
  | { readonly type: 'touch'; readonly logId: string; readonly at: number }
  | {
      readonly type: 'purge'
      readonly userId: string
      readonly sessionId: string
      readonly end: { readonly logId: string; readonly version: number } | undefined
    }
  | { readonly type: 'reclaim' }
  /** `cuts`: so that nothing is left in the write-ahead log, if nobody reads what is in it. */
  | { readonly type: 'checkpoint'; readonly cuts?: boolean }

/** Whether each of the commits was stored. */
export type Outcome = 'stored' | 'conflict' | 'orphaned'

/** What a job came to: outcomes for `append`; whether there is more to do for `reclaim`, and for a `checkpoint` that cuts. */
export interface JobResult {
  readonly outcomes?: readonly Outcome[]
  readonly hasMore?: boolean
}

/** A job that failed: SQLite's result code, if it was SQLite, and whether it may be done all the same. */
export class JobError extends Error {
  readonly code: string
  readonly outcome: 'not-stored' | 'unknown'

  constructor(
    cause: unknown,
    outcome: 'not-stored' | 'unknown',
    message = cause instanceof Error ? cause.message : String(cause)
  ) {
    super(message, { cause })
    this.code = resultCode(cause)
    this.outcome = outcome
  }
}

/** How the file is written. */
export interface WriterOptions {
  readonly synchronous: 'full' | 'normal'
  /** How long to wait for another writer, blocking this thread; `undefined`: leave it as it is. */
  readonly busyTimeoutMs: number | undefined
  /** Whether commits may checkpoint the write-ahead log. */
  readonly checkpoints: boolean
}

/**
 * The tables. Events have a place of their own in one long table, so that commits of many sessions are written side by
 * side; sessions are rows beside it, with the summary that a list shows. A session without a name was purged: it stays as long
 * as forks need its first `version` events. No key is given twice: where a row of sessions was lost by damage, its events wait for
 * no other session. `garbage` names the sessions of which rows are still to be removed.
 */
const MIGRATIONS: readonly string[] = [
  `CREATE TABLE turnlog_sessions (
     key INTEGER PRIMARY KEY AUTOINCREMENT,
     log_id TEXT NOT NULL UNIQUE,
     user TEXT,
     session TEXT,
     version INTEGER NOT NULL,
     updated INTEGER NOT NULL,
     deleted INTEGER NOT NULL,
     touched INTEGER,
     parent INTEGER,
     base INTEGER,
     summary TEXT NOT NULL,
     checksum INTEGER NOT NULL
   );
   CREATE UNIQUE INDEX turnlog_sessions_by_name ON turnlog_sessions (user, session) WHERE user IS NOT NULL;
   CREATE INDEX turnlog_sessions_by_activity ON turnlog_sessions (user, updated DESC, session) WHERE deleted = 0;
   CREATE INDEX turnlog_sessions_by_parent ON turnlog_sessions (parent) WHERE parent IS NOT NULL;
   CREATE TABLE turnlog_events (
     pos INTEGER PRIMARY KEY,
     session INTEGER NOT NULL,
     version INTEGER NOT NULL,
     body TEXT NOT NULL,
     checksum INTEGER NOT NULL
   );
   CREATE UNIQUE INDEX turnlog_events_by_version ON turnlog_events (session, version);
   CREATE TABLE turnlog_garbage (session INTEGER PRIMARY KEY);`
]

/** A whole number; a connection may be set to give bigints. */
type Key = number | bigint

/** Rows that are removed in one transaction. */
const RECLAIM_ROWS = 5_000

/** Rows beyond those that are blanked, too: removing rows moves those beside them to other places, and leaves them in the old ones. */
const ROWS_AHEAD = 1_000

/** Pages of the write-ahead log beyond which a checkpoint also cuts it: 64 MB. */
const LONG_WAL_PAGES = 16_384

/**
 * Makes a connection fit to write, and the tables what this release needs.
 *
 * @throws `STORE_TOO_NEW`; what the driver throws
 */
export function prepareFile(
  database: SqliteDatabase,
  { synchronous, busyTimeoutMs, checkpoints }: WriterOptions,
  migrations: readonly string[] = MIGRATIONS
): void {
  if (busyTimeoutMs !== undefined) database.exec(`PRAGMA busy_timeout = ${busyTimeoutMs}`)
  const { journal_mode: mode } = database.prepare('PRAGMA journal_mode = WAL').get() as { journal_mode: string }
  if (mode !== 'wal') throw new Error(`The database cannot have a write-ahead log; its journal mode is ${mode}`)
  // What is deleted or overwritten is zeros from then on: a purge is to leave nothing in the file.
  database.exec(`PRAGMA synchronous = ${synchronous}; PRAGMA secure_delete = ON`)
  if (!checkpoints) database.exec('PRAGMA wal_autocheckpoint = 0')
  if (knownVersion(database, migrations) === migrations.length) return
  database.exec('BEGIN IMMEDIATE')
  try {
    // Another process may have been quicker.
    const found = knownVersion(database, migrations)
    if (found === 0) database.exec('CREATE TABLE turnlog_schema (version INTEGER NOT NULL)')
    for (const migration of migrations.slice(found)) database.exec(migration)
    database.exec(
      `DELETE FROM turnlog_schema; INSERT INTO turnlog_schema (version) VALUES (${migrations.length}); COMMIT`
    )
  } catch (error) {
    rollBack(database)
    throw error
  }
}

function knownVersion(database: SqliteDatabase, { length: known }: readonly string[]): number {
  const found = schemaVersion(database)
  if (found <= known) return found
  const message = `The database is of a newer release of turnlog: its tables are version ${found}, this release knows ${known}`
  throw turnlogError('STORE_TOO_NEW', message, { found, known })
}

function schemaVersion(database: SqliteDatabase): number {
  const hasSchema = database.prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'turnlog_schema'")
  if (!hasSchema.get()) return 0
  return Number((database.prepare('SELECT version FROM turnlog_schema').get() as { version: Key }).version)
}

/** Writes through one connection. */
export class LogWriter {
  readonly #database: SqliteDatabase
  readonly #statements: Record<keyof typeof STATEMENTS, SqliteStatement>

  constructor(database: SqliteDatabase) {
    this.#database = database
    const prepared = Object.entries(STATEMENTS).map(([name, sql]) => [name, database.prepare(sql)])
    this.#statements = Object.fromEntries(prepared) as Record<keyof typeof STATEMENTS, SqliteStatement>
  }

  /** @throws {JobError} */
  run(job: Job): JobResult {
    switch (job.type) {
      case 'append':
        return this.#transaction(() => {
          let broken: Set<string> | undefined
          const outcomes = job.commits.map((commit) => {
            const outcome = broken?.has(commit.logId) ? 'conflict' : this.#append(commit)
            if (outcome !== 'stored') (broken ??= new Set()).add(commit.logId)
            return outcome
          })
          return { outcomes }
        })
      case 'touch':
        return this.#transaction(() => {
          this.#statements.touch.run(job.at, job.logId, job.at)
          return {}
        })
      case 'purge':
        return this.#transaction(() => this.#purge(job))
      case 'reclaim':
        return this.#transaction(() => this.#reclaim())
      case 'checkpoint':
        return this.#checkpoint(job.cuts ?? false)
    }
  }

  #append(commit: EncodedCommit): Outcome {
    const { begin, parentOf, named, follow, event } = this.#statements
    const { userId, sessionId, logId, expectedVersion, version, updatedAt, summary, events, parent } = commit
    const deleted = Number(commit.deleted)
    const checksum = zlib.crc32(summary)
    let key: Key
    if (expectedVersion === 0) {
      const trunk = parent && (parentOf.get(parent.logId, parent.version) as { key: Key } | undefined)
      if (parent && !trunk) return named.get(userId, sessionId) ? 'conflict' : 'orphaned'
      const base = parent ? parent.version : null
      const of = trunk ? trunk.key : null
      const begun = begin.run(logId, userId, sessionId, version, updatedAt, deleted, of, base, summary, checksum)
      if (Number(begun.changes) === 0) return 'conflict'
      key = begun.lastInsertRowid
    } else {
      const place = [logId, userId, sessionId, expectedVersion] as const
      const followed = follow.get(version, updatedAt, deleted, summary, checksum, ...place) as { key: Key } | undefined
      if (!followed) return 'conflict'
      ;({ key } = followed)
    }
    let next = expectedVersion
    for (const body of events) event.run(key, ++next, body, zlib.crc32(body))
    return 'stored'
  }

  // The name goes at once, and what no fork needs can no longer be read; the rows go later, in steps.
  #purge({ userId, sessionId, end }: Extract<Job, { type: 'purge' }>): JobResult {
    const { named, unname, needed, trunk, cut, discard } = this.#statements
    const found = named.get(userId, sessionId) as { key: Key; log_id: string; version: Key } | undefined
    if (!found || (end && (found.log_id !== end.logId || Number(found.version) !== end.version))) return {}
    unname.run(found.key)
    for (let key: Key | null = found.key; key !== null;) {
      const { version } = needed.get(key) as { version: Key }
      cut.run(version, key)
      discard.run(key)
      // Of a log that nobody needs any more, its own beginning goes, too, unless it is needed or has a name.
      const above: { parent: Key | null } | undefined =
        Number(version) === 0 ? (trunk.get(key) as { parent: Key | null } | undefined) : undefined
      key = above?.parent ?? null
    }
    return { hasMore: true }
  }

  #reclaim(): JobResult {
    const { garbage, blank, removeEvents, removeSession, forget } = this.#statements
    const found = garbage.get() as { session: Key; version: Key } | undefined
    if (!found) return { hasMore: false }
    blank.run(found.session, found.version, RECLAIM_ROWS + ROWS_AHEAD)
    const { changes } = removeEvents.run(found.session, found.version, RECLAIM_ROWS)
    if (Number(changes) < RECLAIM_ROWS) {
      forget.run(found.session)
      removeSession.run(found.session)
    }
    return { hasMore: true }
  }

  // Passive, as no reader is to be waited for; the file is cut where it has become long and nobody reads what is in it.
  #checkpoint(cuts: boolean): JobResult {
    const pragma = (text: string): unknown => this.#database.prepare(`PRAGMA ${text}`).get()
    try {
      const { log } = pragma('wal_checkpoint(PASSIVE)') as { log: Key }
      if (log <= LONG_WAL_PAGES && !cuts) return {}
      const { timeout } = pragma('busy_timeout') as { timeout: Key }
      this.#database.exec('PRAGMA busy_timeout = 0')
      try {
        const { busy } = pragma('wal_checkpoint(TRUNCATE)') as { busy: Key }
        return { hasMore: Number(busy) !== 0 }
      } finally {
        this.#database.exec(`PRAGMA busy_timeout = ${timeout}`)
      }
    } catch (error) {
      throw new JobError(error, 'not-stored')
    }
  }

  #transaction(work: () => JobResult, isAgain = false): JobResult {
    let result: JobResult
    try {
      this.#statements.beginTransaction.run()
    } catch (error) {
      // Nothing is rolled back: on a connection of the caller's, it may be in a transaction of its own.
      throw new JobError(error, 'not-stored')
    }
    try {
      result = work()
    } catch (error) {
      rollBack(this.#database)
      if (resultCode(error) === 'CORRUPT' && !isAgain) {
        // The damage may be in memory alone.
        forgetPages(this.#database)
        return this.#transaction(work, true)
      }
      throw new JobError(error, 'not-stored')
    }
    try {
      this.#statements.commitTransaction.run()
      return result
    } catch (error) {
      rollBack(this.#database)
      // Where the disk is full, the end of the commit cannot have been written. After another error it may be in the file, to be
      // found when that is next opened.
      const isUndone = ['FULL', 'BUSY'].includes(resultCode(error))
      throw new JobError(error, isUndone ? 'not-stored' : 'unknown')
    }
  }
}

const STATEMENTS = {
  beginTransaction: 'BEGIN IMMEDIATE',
  commitTransaction: 'COMMIT',
  begin: `INSERT INTO turnlog_sessions (log_id, user, session, version, updated, deleted, parent, base, summary, checksum)
          VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
  follow: `UPDATE turnlog_sessions SET version = ?, updated = ?, deleted = ?, summary = ?, checksum = ?
           WHERE log_id = ? AND user = ? AND session = ? AND version = ? RETURNING key`,
  event: 'INSERT INTO turnlog_events (session, version, body, checksum) VALUES (?, ?, ?, ?)',
  parentOf: 'SELECT key FROM turnlog_sessions WHERE log_id = ? AND version >= ?',
  named: 'SELECT key, log_id, version FROM turnlog_sessions WHERE user = ? AND session = ?',
  touch: 'UPDATE turnlog_sessions SET touched = ? WHERE log_id = ? AND user IS NOT NULL AND ifnull(touched, 0) < ?',
  unname: `UPDATE turnlog_sessions SET user = NULL, session = NULL, touched = NULL, deleted = 1, summary = '', checksum = 0
           WHERE key = ?`,
  // Those that have neither a name nor a version are gone but for their rows.
  needed: `SELECT ifnull(max(base), 0) AS version FROM turnlog_sessions
           WHERE parent = ? AND (user IS NOT NULL OR version > 0)`,
  trunk: `SELECT parent.key AS parent FROM turnlog_sessions AS child JOIN turnlog_sessions AS parent ON parent.key = child.parent
          WHERE child.key = ? AND parent.user IS NULL`,
  cut: 'UPDATE turnlog_sessions SET version = ? WHERE key = ?',
  discard: 'INSERT OR IGNORE INTO turnlog_garbage (session) VALUES (?)',
  garbage: `SELECT turnlog_garbage.session, ifnull(turnlog_sessions.version, 0) AS version
            FROM turnlog_garbage LEFT JOIN turnlog_sessions ON key = turnlog_garbage.session LIMIT 1`,
  // As long as it was, so that it is written over where it is.
  blank: `UPDATE turnlog_events SET body = zeroblob(length(CAST(body AS BLOB))) WHERE typeof(body) = 'text' AND pos IN
          (SELECT pos FROM turnlog_events WHERE session = ? AND version > ? ORDER BY version LIMIT ?)`,
  removeEvents: `DELETE FROM turnlog_events WHERE pos IN
                 (SELECT pos FROM turnlog_events WHERE session = ? AND version > ? ORDER BY version LIMIT ?)`,
  removeSession: 'DELETE FROM turnlog_sessions WHERE key = ? AND user IS NULL AND version = 0',
  forget: 'DELETE FROM turnlog_garbage WHERE session = ?'
} as const

function rollBack(database: SqliteDatabase): void {
  try {
    database.exec('ROLLBACK')
  } catch {
    // SQLite has done so itself.
  }
}
