import { knownOptions, misuse, objectOf, requiredWholeNumber, wholeNumber, type OptionKeys } from '../arguments.ts'
import { turnlogError } from '../errors.ts'
import type { StoredEvent } from '../event.ts'
import type { AppendResult, Commit, EventStore, Head, Page, ReadRange, SessionKey, Summary } from '../store.ts'
import { Connections, inTime, storeError, type PostgresPool } from './postgres/connections.ts'
import { hashOf } from './postgres/encode.ts'
import { LogReader } from './postgres/reader.ts'
import { namesIn, prepareSchema, type Names } from './postgres/schema.ts'
import { Watchers } from './postgres/watchers.ts'
import { WriteQueue } from './postgres/write-queue.ts'
import { LogWriter } from './postgres/writer.ts'

export type { PostgresClient, PostgresNotification, PostgresPool, PostgresQuery } from './postgres/connections.ts'

/** Options of {@link postgresStore}: where the server is, or a pool of connections to it. */
export type PostgresStoreOptions = PostgresSettings &
  (
    | {
        /** Where the server is, such as `postgres://user:password@host:5432/database`. Needs the package `pg`. */
        readonly connectionString: string
        /**
         * How many connections there may be at once, from 1.
         * @default 10
         */
        readonly maxConnections?: number | undefined
        readonly pool?: undefined
      }
    | {
        /**
         * A pool of yours, by node-postgres: it stays yours to end. While somebody subscribes, one of its connections is kept for what the
         * server tells; of a pool of one, none is, and the server is asked instead.
         */
        readonly pool: PostgresPool
        readonly connectionString?: undefined
        readonly maxConnections?: never
      }
  )

/** Settings of {@link postgresStore}. */
export interface PostgresSettings {
  /**
   * The schema that the tables are in, 1 to 63 bytes in UTF-8. It is made where it is not there, for which the role has to be allowed to;
   * where it is there, the role needs no more than to own it.
   * @default 'turnlog'
   */
  readonly schema?: string | undefined
  /**
   * Into how many partitions the tables are split, by hash, when they are first made: users' sessions by their user, events by their session.
   * 0: none. They stay as they are made: another number later fails with `STORE_UNAVAILABLE`. What is asked for by session costs
   * the same; a walk over all users or sessions looks into all partitions.
   * @default as they are; when they are first made, 0
   */
  readonly partitions?: number | undefined
  /**
   * How long to wait for a connection, or for an answer of the server, in ms from 1 to 2,147,483,647 (24 days), before a call fails with
   * `STORE_UNAVAILABLE`.
   * @default 30_000
   */
  readonly timeoutMs?: number | undefined
  /**
   * Whether subscribers are to hear by LISTEN. Where nothing comes through, that is noticed, and the server is asked instead; `false` spares
   * the tries.
   * @default true
   */
  readonly listen?: boolean | undefined
}

/**
 * A store in a PostgreSQL database, version 12 or later, by node-postgres (`pg` 8). Acknowledged means committed, as durably as the
 * server is configured to. Any number of services and processes may share it; a read is never older than what was acknowledged before.
 *
 * Commits that arrive together share one statement, with rows locked in one order: writers of several processes do not deadlock, and one
 * that conflicts fails no other. Connections that are lost are replaced by the next call. Where the connection was lost after a
 * commit was sent, its outcome is `unknown`.
 *
 * Subscribers hear by LISTEN and NOTIFY; where that does not come through, as behind PgBouncer, the server is asked ten times a second. Nothing
 * is set for a session, and what it prepares it can do without: transaction pooling is fine. Statement pooling is not, as it allows no
 * transactions.
 *
 * What is purged is deleted; it is out of the files when PostgreSQL has vacuumed, and its write-ahead log and backups have gone.
 *
 * @throws `TypeError`; when it is opened `STORE_UNAVAILABLE`, `STORE_TOO_NEW`
 * @example
 * const history = await createSessionHistory({ store: postgresStore({ connectionString: 'postgres://localhost/app' }) })
 */
export function postgresStore(options: PostgresStoreOptions): EventStore {
  const given = knownOptions(objectOf(options, 'options', 'an object with pool or connectionString'), OPTIONS)
  const { pool, connectionString, schema = 'turnlog', listen = true } = given
  if ((pool === undefined) === (connectionString === undefined))
    throw misuse('postgresStore', 'given pool or connectionString', options)
  if (connectionString !== undefined && (typeof connectionString !== 'string' || connectionString === ''))
    throw misuse('connectionString', 'the address of a server', connectionString)
  if (pool !== undefined && (typeof pool.connect !== 'function' || typeof pool.on !== 'function'))
    throw misuse('pool', 'a pool by node-postgres', pool)
  const { maxConnections = 10 } = given
  if (pool !== undefined && given.maxConnections !== undefined)
    throw misuse('maxConnections', 'left out where a pool is given', maxConnections)
  if (typeof schema !== 'string' || schema === '' || schema.includes('\0') || Buffer.byteLength(schema) > 63)
    throw misuse('schema', 'a name of 1 to 63 bytes', schema)
  if (typeof listen !== 'boolean') throw misuse('listen', 'true or false', listen)
  return new PostgresStore({
    pool,
    connectionString,
    schema,
    maxConnections: requiredWholeNumber('maxConnections', maxConnections, 1),
    partitions: wholeNumber('partitions', given.partitions, 0),
    timeoutMs: requiredWholeNumber('timeoutMs', given.timeoutMs ?? 30_000, 1, LONGEST_TIMEOUT_MS),
    listens: listen
  })
}

const OPTIONS: OptionKeys<PostgresStoreOptions> = {
  pool: true,
  connectionString: true,
  maxConnections: true,
  schema: true,
  partitions: true,
  timeoutMs: true,
  listen: true
}

/** Node counts them in 32 bits. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1

/** A server that is there answers sooner, and one that is not is noticed within a second. */
const HEALTH_MS = 800

interface Settings {
  readonly pool: PostgresPool | undefined
  readonly connectionString: string | undefined
  readonly schema: string
  readonly maxConnections: number
  readonly partitions: number | undefined
  readonly timeoutMs: number
  readonly listens: boolean
}

class PostgresStore implements EventStore {
  readonly supports = { durable: true, shared: true, push: true } as const
  readonly #settings: Settings
  readonly #names: Names
  readonly #connections: Connections
  readonly #reader: LogReader
  readonly #writer: LogWriter
  readonly #writes: WriteQueue
  readonly #watchers: Watchers
  /** `open` and `close` take effect one after the other. */
  #turnover: Promise<unknown> = Promise.resolve()
  #isOpen = false
  #checking: Promise<boolean> | undefined

  constructor(settings: Settings) {
    this.#settings = settings
    this.#names = namesIn(settings.schema, `turnlog_${hashOf(settings.schema).toString('hex', 0, 8)}`)
    this.#connections = new Connections(settings)
    this.#reader = new LogReader(this.#connections, this.#names)
    this.#writer = new LogWriter(this.#connections, this.#names)
    this.#writes = new WriteQueue(this.#writer)
    this.#watchers = new Watchers(this.#connections, this.#reader, settings.listens ? this.#names.channel : undefined)
  }

  open(): Promise<void> {
    return this.#afterTurnover(async () => {
      if (this.#isOpen) return
      try {
        await this.#connections.open()
        await prepareSchema(this.#connections, this.#names, this.#settings.partitions)
      } catch (error) {
        await this.#connections.close()
        throw storeError(error)
      }
      this.#isOpen = true
    })
  }

  close(): Promise<void> {
    return this.#afterTurnover(async () => {
      if (!this.#isOpen) return
      this.#isOpen = false
      this.#watchers.end()
      await this.#writes.end()
      await this.#connections.close()
    })
  }

  async health(): Promise<boolean> {
    if (!this.#isOpen) return false
    // Where the server does not answer, one question at a time is enough.
    this.#checking ??= inTime(this.#reader.check(), HEALTH_MS, 'no answer')
      .then(
        () => true,
        () => false
      )
      .finally(() => (this.#checking = undefined))
    return (await this.#checking) && this.#isOpen
  }

  head(key: SessionKey): Promise<Head | null> {
    return this.#answer(() => this.#reader.head(key))
  }

  append(commits: readonly Commit[]): Promise<readonly AppendResult[]> {
    return this.#answer(() => this.#writes.append(commits))
  }

  async *read(logId: string, { from = 1, to = Infinity, signal }: ReadRange = {}): AsyncGenerator<StoredEvent[]> {
    for (let next = from; ;) {
      signal?.throwIfAborted()
      const { events, isLast } = await this.#answer(() => this.#reader.events(logId, next, to))
      if (events.length === 0) return
      next = events.at(-1)!.version + 1
      yield events
      if (isLast) return
    }
  }

  list(userId: string, page: Page<Pick<Summary, 'updatedAt' | 'sessionId'>> = {}): Promise<Summary[]> {
    return this.#answer(() => this.#reader.list(userId, page))
  }

  listUsers(page: Page<string> = {}): Promise<string[]> {
    return this.#answer(() => this.#reader.users(page))
  }

  forks(logId: string): Promise<Summary[]> {
    return this.#answer(() => this.#reader.forks(logId))
  }

  heads(page: Page<string> = {}): Promise<Head[]> {
    return this.#answer(() => this.#reader.heads(page))
  }

  touch(logId: string, at: number): Promise<void> {
    return this.#answer(() => this.#writer.touch(logId, at))
  }

  purge(key: SessionKey, end?: Pick<Head, 'logId' | 'version'>): Promise<void> {
    return this.#answer(() => this.#writer.purge(key, end))
  }

  async *watch(key: SessionKey, signal: AbortSignal): AsyncGenerator<number> {
    this.#assertOpen()
    try {
      yield* this.#watchers.watch(key, signal)
    } catch (error) {
      throw storeError(error)
    }
  }

  async #answer<T>(ask: () => Promise<T>): Promise<T> {
    this.#assertOpen()
    try {
      return await ask()
    } catch (error) {
      throw storeError(error)
    }
  }

  #assertOpen(): void {
    if (this.#isOpen) return
    throw turnlogError('STORE_UNAVAILABLE', 'The PostgreSQL store is closed', { outcome: 'not-stored' })
  }

  #afterTurnover(work: () => Promise<void>): Promise<void> {
    const done = this.#turnover.then(work)
    this.#turnover = done.catch(() => undefined)
    return done
  }
}
