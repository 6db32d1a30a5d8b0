import { turnlogError } from '../../errors.ts'
import type { StoredEvent } from '../../event.ts'
import type { Head, Page, SessionKey, Summary } from '../../store.ts'
import type { Connections } from './connections.ts'
import { arrayOf, hashesOf, hashOf, placeOf } from './encode.ts'
import type { Names } from './schema.ts'

/** Rows that are read at once, at most. */
const PAGE_SIZE = 1_000

/** What events of a page may have of bytes, before the last of them. */
const PAGE_BYTES = 8_000_000

/** PostgreSQL's `integer`. */
const LARGEST_VERSION = 2 ** 31 - 1

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

/** Reads the tables, each call in one statement, and so as of one moment. */
export class LogReader {
  readonly #connections: Connections
  readonly #statements: Readonly<Record<StatementName, string>>

  constructor(connections: Connections, names: Names) {
    this.#connections = connections
    this.#statements = statementsFor(names)
  }

  /** @throws `CORRUPT_LOG` */
  async head(key: SessionKey): Promise<Head | null> {
    const { owner, session } = hashesOf(key)
    const [row] = await this.#ask<SessionRow>('head', owner, session)
    return row ? headOf(row) : null
  }

  /** Of each of the sessions, in the same order. */
  async ends(keys: readonly SessionKey[]): Promise<(LogEnd | undefined)[]> {
    const hashes = keys.map(hashesOf)
    const [owners, sessions] = [hashes.map(({ owner }) => owner), hashes.map(({ session }) => session)]
    const places = keys.map((_, place) => place)
    const rows = await this.#ask<EndRow>('ends', arrayOf(places), arrayOf(owners), arrayOf(sessions))
    const ends: (LogEnd | undefined)[] = keys.map(() => undefined)
    for (const { nr, log_id: logId, version } of rows) ends[nr] = { logId, version }
    return ends
  }

  /**
   * Events of a log from a version on, up to `to` or the page's size; `isLast` where there are no more. Those before one that is
   * damaged are given first: then the page is short.
   *
   * @throws `CORRUPT_LOG` where the first is damaged
   */
  async events(logId: string, from: number, to: number): Promise<EventPage> {
    const log = hashOf(logId)
    const range = [from, to].map((version) => Math.min(version, LARGEST_VERSION)) as [number, number]
    const rows = from > LARGEST_VERSION ? [] : await this.#ask<EventRow>('events', log, ...range)
    const events: StoredEvent[] = []
    for (const { version, body } of rows) {
      const event = parsed(body) as StoredEvent | undefined
      const isSound = version === from + events.length && event?.version === version
      if (isSound) events.push(event)
      else if (events.length > 0) return { events, isLast: false }
      else throw await this.#corruptLog(logId, log, from)
    }
    const end = rows.at(-1)
    const isFull = rows.length === PAGE_SIZE || (end && Number(end.bytes) >= PAGE_BYTES)
    return { events, isLast: !isFull }
  }

  async list(userId: string, { limit, after }: Page<Pick<Summary, 'updatedAt' | 'sessionId'>>): Promise<Summary[]> {
    const { updatedAt, sessionId } = after ?? { updatedAt: Infinity, sessionId: '' }
    const place = [placeOf(sessionId), hashOf(sessionId)] as const
    const rows = await this.#ask<SessionRow>('list', hashOf(userId), updatedAt, ...place, limit ?? null)
    return rows.map(listed)
  }

  async users({ limit, after }: Page<string>): Promise<string[]> {
    const rows = await this.#ask<{ name: string }>(
      'users',
      after === undefined ? NO_HASH : hashOf(after),
      limit ?? null
    )
    return rows.map(({ name }) => keyOf(name).userId)
  }

  async forks(logId: string): Promise<Summary[]> {
    return (await this.#ask<SessionRow>('forks', hashOf(logId))).map(listed)
  }

  async heads({ limit, after }: Page<string>): Promise<Head[]> {
    const place = after === undefined ? NO_HASH : hashOf(after)
    const rows = await this.#ask<SessionRow>('heads', place, limit ?? null)
    return rows.map((row) => headWith(row, listed(row)))
  }

  /** @throws where the tables cannot be read */
  async check(): Promise<void> {
    await this.#ask('check')
  }

  // A log that only its forks need has no name any more.
  async #corruptLog(logId: string, log: Buffer, version: number): Promise<Error> {
    const [row] = await this.#ask<{ name: string }>('nameOf', log)
    const { userId, sessionId } = row ? keyOf(row.name) : { userId: '', sessionId: logId }
    const message = `The log of session ${JSON.stringify(sessionId)} of user ${JSON.stringify(userId)} is damaged at version ${version}`
    return turnlogError('CORRUPT_LOG', message, { userId, sessionId, version })
  }

  #ask<Row>(statement: StatementName, ...values: (string | number | Buffer | null)[]): Promise<Row[]> {
    return this.#connections.askPrepared<Row>(this.#statements[statement], values)
  }
}

/** Before all others. */
const NO_HASH = Buffer.alloc(0)

type StatementName = 'head' | 'ends' | 'events' | 'list' | 'users' | 'forks' | 'heads' | 'check' | 'nameOf'

function statementsFor({ sessions, logs, events, version }: Names): Readonly<Record<StatementName, string>> {
  const columns = 'log_id, log.version, updated, touched, deleted, name, summary'
  // From each user straight to the next: SELECT DISTINCT would read a row for each session.
  const userAfter = (owner: string): string =>
    `(SELECT owner FROM ${sessions} AS next WHERE owner > ${owner} AND NOT deleted ORDER BY owner LIMIT 1)`
  return {
    head: `SELECT ${columns} FROM ${sessions} AS log WHERE owner = $1 AND session = $2`,
    ends: `
      SELECT nr, log_id, version FROM unnest($1::integer[], $2::bytea[], $3::bytea[]) AS given (nr, owner, session)
      JOIN ${sessions} USING (owner, session)`,
    events: `
      SELECT version, body, bytes FROM (
        SELECT version, body, sum(octet_length(body)) OVER (ORDER BY version) AS bytes, octet_length(body) AS own FROM ${events}
        WHERE key = (SELECT key FROM ${logs} WHERE log = $1) AND version BETWEEN $2 AND $3
        ORDER BY version LIMIT ${PAGE_SIZE}
      ) AS page WHERE bytes - own < ${PAGE_BYTES} ORDER BY version`,
    list: `
      SELECT ${columns} FROM ${sessions} AS log
      WHERE owner = $1 AND NOT deleted AND updated <= $2 AND (updated < $2 OR (place, session) > ($3, $4))
      ORDER BY updated DESC, place, session LIMIT $5`,
    users: `
      WITH RECURSIVE users (owner) AS (
        SELECT ${userAfter('$1::bytea')}
        UNION ALL SELECT ${userAfter('users.owner')} FROM users WHERE users.owner IS NOT NULL
      )
      SELECT (SELECT name FROM ${sessions} AS log WHERE log.owner = users.owner AND NOT deleted LIMIT 1) AS name
      FROM users WHERE owner IS NOT NULL LIMIT $2`,
    forks: `
      SELECT ${columns} FROM ${logs} AS fork JOIN ${sessions} AS log USING (owner, session)
      WHERE fork.parent = $1 ORDER BY fork.key`,
    // The page first, and its rows one by one: of a join, PostgreSQL expects that next to none of the sessions are found, and looks at all.
    heads: `
      SELECT ${columns} FROM (
        SELECT own.log AS id, owner, session FROM ${logs} AS own WHERE own.log > $1 AND owner IS NOT NULL ORDER BY own.log LIMIT $2
      ) AS page
      CROSS JOIN LATERAL (
        SELECT * FROM ${sessions} AS named WHERE named.owner = page.owner AND named.session = page.session OFFSET 0
      ) AS log ORDER BY id`,
    check: `SELECT version FROM ${version}`,
    nameOf: `SELECT name FROM ${logs} AS own JOIN ${sessions} USING (owner, session) WHERE own.log = $1`
  }
}

interface EndRow {
  readonly nr: number
  readonly log_id: string
  readonly version: number
}

interface EventRow {
  readonly version: number
  readonly body: string
  /** Of all bodies of the page up to this one. */
  readonly bytes: string
}

interface SessionRow {
  readonly log_id: string
  readonly version: number
  readonly updated: number
  readonly touched: number | null
  readonly deleted: boolean
  readonly name: string
  readonly summary: string
}

function headOf(row: SessionRow): Head {
  const summary = soundSummary(row)
  if (summary) return headWith(row, summary)
  const { userId, sessionId } = keyOf(row.name)
  const message = `What the store has of session ${JSON.stringify(sessionId)} of user ${JSON.stringify(userId)} is damaged`
  throw turnlogError('CORRUPT_LOG', message, { userId, sessionId, version: row.version })
}

function headWith({ log_id: logId, version, touched }: SessionRow, summary: Summary): Head {
  const head = { logId: JSON.parse(logId) as string, version, summary }
  return touched === null ? head : { ...head, touchedAt: touched }
}

// Of a damaged row a list shows what its columns say, so that the other sessions are listed; reading the session tells.
function listed(row: SessionRow): Summary {
  const { version, updated, deleted } = row
  const shown = { version, createdAt: updated, updatedAt: updated, deleted, format: '', metadata: {} }
  return soundSummary(row) ?? { ...keyOf(row.name), ...shown }
}

function soundSummary({ summary: text, version }: SessionRow): Summary | undefined {
  const summary = parsed(text) as Summary | undefined
  return summary?.version === version ? summary : undefined
}

function keyOf(name: string): SessionKey {
  const [userId = '', sessionId = ''] = (parsed(name) ?? []) as string[]
  return { userId, sessionId }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) ?? undefined
  } catch {
    return undefined
  }
}
