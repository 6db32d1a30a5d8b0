// Not by name: of an old Node, which has no crc32, ../../node-version.ts is to say so.
import zlib from 'node:zlib'
import { isTurnlogError, turnlogError } from '../../errors.ts'
import type { StoredEvent } from '../../event.ts'
import type { Head, Page, SessionKey, Summary } from '../../store.ts'
import { forgetPages, resultCode, type SqliteDatabase, type SqliteStatement, type SqliteValue } from './database.ts'

/** Rows that are read at once, at most. */
export const PAGE_SIZE = 500

/** The end of a log, in short. */
export interface LogEnd {
  readonly logId: string
  readonly version: number
}

/** Some events of a log, and whether there are no more. */
export interface EventPage {
  readonly events: StoredEvent[]
  readonly isLast: boolean
}

/** Reads through one connection, each call at once and of one moment. Checks that rows are as they were written. */
export class LogReader {
  readonly #database: SqliteDatabase
  readonly #statements = new Map<string, SqliteStatement>()

  constructor(database: SqliteDatabase) {
    this.#database = database
  }

  /** @throws `CORRUPT_LOG` */
  head({ userId, sessionId }: SessionKey): Head | null {
    return this.#reliably(() => {
      const row = this.#get(HEAD, userId, sessionId) as HeadRow | undefined
      return row ? headOf(row, { userId, sessionId }) : null
    })
  }

  end({ userId, sessionId }: SessionKey): LogEnd | undefined {
    const row = this.#get(END, userId, sessionId) as { log_id: string; version: Int } | undefined
    return row && { logId: row.log_id, version: Number(row.version) }
  }

  /**
   * Events of a log from a version on, up to `to` or the page's size; `isLast` where there are no more. Those before one that is
   * damaged are given first: then the page is short.
   *
   * @throws `CORRUPT_LOG` where the first is damaged
   */
  events(logId: string, from: number, to: number): EventPage {
    return this.#reliably((isCertain) => {
      const last = Math.min(to, Number.MAX_SAFE_INTEGER)
      const { rows, isLast } = isCertain ? this.#soundRows(logId, from, last) : this.#rows(logId, from, last, PAGE_SIZE)
      const events: StoredEvent[] = []
      for (const row of rows) {
        const event = soundEvent(row)
        if (event) events.push(event)
        else if (isCertain && events.length > 0) return { events, isLast: false }
        else throw this.#corruptLog(logId, Number(row.version))
      }
      return { events, isLast }
    })
  }

  #rows(logId: string, from: number, to: number, limit: number): EventRows {
    const rows = this.#all<EventRow>(EVENTS, logId, from, to, limit)
    return { rows, isLast: rows.length < limit }
  }

  // Where the file is damaged, one by one, as far as that goes.
  #soundRows(logId: string, from: number, to: number): EventRows {
    let limit = PAGE_SIZE
    const rows: EventRow[] = []
    for (;;) {
      const next = rows.length === 0 ? from : Number(rows.at(-1)!.version) + 1
      try {
        const found = this.#rows(logId, next, to, limit)
        rows.push(...found.rows)
        if (found.isLast || rows.length >= PAGE_SIZE) return { rows, isLast: found.isLast }
      } catch (error) {
        if (resultCode(error) !== 'CORRUPT') throw error
        if (limit > 1) limit = 1
        else if (rows.length > 0) return { rows, isLast: false }
        else throw this.#corruptLog(logId, next)
      }
    }
  }

  /** At most {@link PAGE_SIZE}. */
  list(userId: string, limit: number, after: After | undefined): Summary[] {
    return this.#summaries(LIST, ...placeOf(userId, after), limit)
  }

  /** Where the summaries of a list are, to be read in steps. */
  listPlaces(userId: string, limit: number | undefined, after: After | undefined): number[] {
    return this.#all<{ key: Int }>(LIST_KEYS, ...placeOf(userId, after), limit ?? -1).map(({ key }) => Number(key))
  }

  /** Of those places; without those where there is no live session any more. */
  listed(places: readonly number[]): Summary[] {
    return places.flatMap((key) => this.#summaries(SUMMARY, key))
  }

  users(limit: number, after: string): string[] {
    return this.#all<{ user: Uint8Array }>(USERS, after, limit).map(({ user }) => textOf(user))
  }

  forks(logId: string): Summary[] {
    return this.#summaries(FORKS, logId)
  }

  heads(limit: number, after: string): Head[] {
    return this.#reliably((isCertain) =>
      this.#all<HeadRow & SummaryRow>(HEADS, after, limit).map((row) => headWith(row, summaryOf(row, isCertain)))
    )
  }

  /** Changes with every commit that another connection has made, and with what is written through this one. */
  changes(): string {
    const { data_version: others } = this.#get('PRAGMA data_version') as { data_version: Int }
    const { own } = this.#get('SELECT total_changes() AS own') as { own: Int }
    return `${others} ${own}`
  }

  /** Whether rows of what was purged are still to be removed. */
  hasGarbage(): boolean {
    return this.#get('SELECT 1 FROM turnlog_garbage') !== undefined
  }

  /** @throws where the file cannot be read */
  check(): void {
    this.#get('SELECT version FROM turnlog_schema')
  }

  // A log that only its forks need has no name any more.
  #corruptLog(logId: string, version: number): Error {
    const { user_id: user, session_id: session } = (this.#get(LOG_NAME, logId) ?? {}) as Partial<LogNameRow>
    const [userId, sessionId] = [textOf(user ?? null), session ? textOf(session) : logId]
    const message = `The log of session ${JSON.stringify(sessionId)} of user ${JSON.stringify(userId)} is damaged at version ${version}`
    return turnlogError('CORRUPT_LOG', message, { userId, sessionId, version })
  }

  #summaries(sql: string, ...values: SqliteValue[]): Summary[] {
    return this.#reliably((isCertain) => this.#all<SummaryRow>(sql, ...values).map((row) => summaryOf(row, isCertain)))
  }

  // What looks damaged is read once more, from the file: that may have been mended since, and SQLite goes on with the pages that it has.
  #reliably<T>(read: (isCertain: boolean) => T): T {
    try {
      return read(false)
    } catch (error) {
      if (resultCode(error) !== 'CORRUPT' && !isTurnlogError(error, 'CORRUPT_LOG')) throw error
      forgetPages(this.#database)
      return read(true)
    }
  }

  #get(sql: string, ...values: SqliteValue[]): unknown {
    return this.#reliably(() => this.#statement(sql).get(...values))
  }

  #all<Row>(sql: string, ...values: SqliteValue[]): Row[] {
    return this.#reliably(() => this.#statement(sql).all(...values) as Row[])
  }

  #statement(sql: string): SqliteStatement {
    let statement = this.#statements.get(sql)
    if (!statement) this.#statements.set(sql, (statement = this.#database.prepare(sql)))
    return statement
  }
}

type After = NonNullable<Page<Pick<Summary, 'updatedAt' | 'sessionId'>>['after']>

function placeOf(userId: string, after: After | undefined): SqliteValue[] {
  const { updatedAt, sessionId } = after ?? { updatedAt: Number.MAX_SAFE_INTEGER, sessionId: '' }
  return [userId, updatedAt, updatedAt, sessionId]
}

/** A connection may be set to give bigints. */
type Int = number | bigint

// Ids are read as bytes: before Node 24 `node:sqlite` cuts text at \u0000.
// Under names of their own, as ORDER BY would take those of the columns for them.
const NAME = 'CAST(user AS BLOB) AS user_id, CAST(session AS BLOB) AS session_id'
const SUMMARY_COLUMNS = `${NAME}, version, updated, deleted, summary, checksum`
const PLACE =
  'user = ? AND deleted = 0 AND updated <= ? AND (updated < ? OR session > ?) ORDER BY updated DESC, session LIMIT ?'

const HEAD = 'SELECT log_id, version, touched, summary, checksum FROM turnlog_sessions WHERE user = ? AND session = ?'
const END = 'SELECT log_id, version FROM turnlog_sessions WHERE user = ? AND session = ?'
const LOG_NAME = `SELECT ${NAME} FROM turnlog_sessions WHERE log_id = ?`
// In one statement, so of one moment. A log that was purged may have more rows than its forks need. A cross join is done in the
// order that it is written in.
const EVENTS = `SELECT event.version, body, event.checksum
                FROM turnlog_sessions AS log CROSS JOIN turnlog_events AS event ON event.session = log.key
                WHERE log_id = ? AND event.version BETWEEN ? AND min(?, log.version)
                ORDER BY event.version LIMIT ?`
const LIST = `SELECT ${SUMMARY_COLUMNS} FROM turnlog_sessions WHERE ${PLACE}`
const LIST_KEYS = `SELECT key FROM turnlog_sessions WHERE ${PLACE}`
const SUMMARY = `SELECT ${SUMMARY_COLUMNS} FROM turnlog_sessions WHERE key = ? AND deleted = 0 AND user IS NOT NULL`
const FORKS = `SELECT ${SUMMARY_COLUMNS} FROM turnlog_sessions
               WHERE parent = (SELECT key FROM turnlog_sessions WHERE log_id = ?) AND user IS NOT NULL ORDER BY key`
const HEADS = `SELECT log_id, touched, ${SUMMARY_COLUMNS} FROM turnlog_sessions
               WHERE log_id > ? AND user IS NOT NULL ORDER BY log_id LIMIT ?`
// From each user straight to the next: SELECT DISTINCT would read a row for each session.
const USERS = `WITH RECURSIVE users (user) AS (
                 SELECT min(user) FROM turnlog_sessions WHERE user > ? AND deleted = 0
                 UNION ALL
                 SELECT (SELECT min(user) FROM turnlog_sessions WHERE user > users.user AND deleted = 0) FROM users
                 WHERE users.user IS NOT NULL
               ) SELECT CAST(user AS BLOB) AS user FROM users WHERE user IS NOT NULL LIMIT ?`

interface HeadRow {
  readonly log_id: string
  readonly version: Int
  readonly touched: Int | null
  readonly summary: string
  readonly checksum: Int
}

interface SummaryRow {
  readonly user_id: Uint8Array | null
  readonly session_id: Uint8Array | null
  readonly version: Int
  readonly updated: Int
  readonly deleted: Int
  readonly summary: string
  readonly checksum: Int
}

interface LogNameRow {
  readonly user_id: Uint8Array | null
  readonly session_id: Uint8Array | null
}

interface EventRows {
  readonly rows: EventRow[]
  readonly isLast: boolean
}

interface EventRow {
  readonly version: Int
  readonly body: string
  readonly checksum: Int
}

function headOf(row: HeadRow, key: SessionKey): Head {
  const summary = soundSummary(row)
  if (!summary) throw corruptSession(key, row.version)
  return headWith(row, summary)
}

function corruptSession({ userId, sessionId }: SessionKey, version: Int): Error {
  const message = `What the store has of session ${JSON.stringify(sessionId)} of user ${JSON.stringify(userId)} is damaged`
  return turnlogError('CORRUPT_LOG', message, { userId, sessionId, version: Number(version) })
}

function headWith({ log_id: logId, version, touched }: HeadRow, summary: Summary): Head {
  const head = { logId, version: Number(version), summary }
  return touched === null ? head : { ...head, touchedAt: Number(touched) }
}

// Of a damaged row a list shows what its columns say, so that the other sessions are listed; reading the session tells.
function summaryOf(row: SummaryRow, isCertain: boolean): Summary {
  const summary = soundSummary(row)
  if (summary) return summary
  const [userId, sessionId] = [textOf(row.user_id), textOf(row.session_id)]
  if (!isCertain) throw corruptSession({ userId, sessionId }, row.version)
  return {
    userId,
    sessionId,
    version: Number(row.version),
    createdAt: Number(row.updated),
    updatedAt: Number(row.updated),
    deleted: Number(row.deleted) === 1,
    format: '',
    metadata: {}
  }
}

function soundSummary({
  summary: text,
  checksum,
  version
}: Pick<HeadRow, 'summary' | 'checksum' | 'version'>): Summary | undefined {
  if (!isWhole(text, checksum)) return undefined
  const summary = JSON.parse(text) as Summary
  return summary.version === Number(version) ? summary : undefined
}

function soundEvent({ version, body, checksum }: EventRow): StoredEvent | undefined {
  if (!isWhole(body, checksum)) return undefined
  const event = JSON.parse(body) as StoredEvent
  return event.version === Number(version) ? event : undefined
}

// Damage may have made something else of a text.
function isWhole(text: unknown, checksum: Int): boolean {
  return typeof text === 'string' && zlib.crc32(text) === Number(checksum)
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

function textOf(bytes: Uint8Array | null): string {
  return bytes ? decoder.decode(bytes) : ''
}
