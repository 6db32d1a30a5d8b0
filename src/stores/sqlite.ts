import { resolve as absolute } from 'node:path'
import { knownOptions, misuse, objectOf, oneOf, requiredWholeNumber, type OptionKeys } from '../arguments.ts'
import { isTurnlogError, turnlogError } from '../errors.ts'
import type { StoredEvent } from '../event.ts'
import type { AppendResult, Commit, EventStore, Head, Page, ReadRange, SessionKey, Summary } from '../store.ts'
import {
  fileAt,
  forgetPages,
  later,
  openDatabase,
  resultCode,
  RETRY_MS,
  walBytes,
  type SqliteDatabase
} from './sqlite/database.ts'
import { LogReader, PAGE_SIZE } from './sqlite/reader.ts'
import { Watchers } from './sqlite/watchers.ts'
import { WriteQueue } from './sqlite/write-queue.ts'
import { JobError, LogWriter, prepareFile } from './sqlite/writer.ts'

export type { SqliteDatabase, SqliteStatement, SqliteValue } from './sqlite/database.ts'

/** Options of {@link sqliteStore}: a file, or a connection. */
export type SqliteStoreOptions = SqliteSettings &
  (
    | {
        /** The file; made where it is not there yet, in a folder that is. `-wal` and `-shm` stand beside it while it is in use. */
        readonly path: string
        readonly database?: undefined
      }
    | {
        /**
         * A connection of yours, by better-sqlite3 or `node:sqlite`: it stays yours to close. It is given a write-ahead log,
         * `synchronous` and `secure_delete`. Writes fail while it is in a transaction of yours. All runs on the thread that it is of, so that large batches hold the event loop up; with `path` they do not.
         */
        readonly database: SqliteDatabase
        readonly path?: undefined
      }
  )

/** Settings of {@link sqliteStore}. */
export interface SqliteSettings {
  /**
   * SQLite's `synchronous`. With `'full'` a commit that was acknowledged is on the disk. With `'normal'` it is with the operating
   * system: it survives the death of the process, but a power cut may take the newest commits of all sessions, whole, from some
   * point in time on; nothing is damaged.
   * @default 'full'
   */
  readonly synchronous?: 'full' | 'normal' | undefined
  /**
   * How long to wait for another process that writes, in ms from 0 to 2,147,483,647 (24 days), before a call fails with
   * `STORE_UNAVAILABLE`. The event loop goes on meanwhile; that of a `database` does as far as the connection's own
   * `busy_timeout` lets it. A call's `signal` does not end that wait: the store has the call then.
   * @default 5_000
   */
  readonly busyTimeoutMs?: number | undefined
}

/**
 * A store in an SQLite file, by better-sqlite3 or `node:sqlite`. Acknowledged means on disk. Several services and processes of one
 * machine may share the file; it must not be on a network file system.
 *
 * Commits that arrive together share one transaction. One alone is written at once, on the calling thread; more are written by a
 * worker thread. Every row has a checksum: one that does not fit is `CORRUPT_LOG` when its session is read.
 *
 * What is purged is overwritten with zeros, and removed from the write-ahead log as soon as nobody reads it there. A piece of it may
 * be left in a page from which SQLite has moved it when it removed what was beside it: `VACUUM` takes that. Copies of the file, and
 * what file systems and disks keep of what is written over, are out of reach.
 *
 * A file that was deleted or replaced is noticed by the first call 10 ms later; until it is back, calls fail with `STORE_UNAVAILABLE`. Take the `-wal` beside it
 * away, too: SQLite would take it for that of the new file.
 *
 * @throws `TypeError`; when it is opened `STORE_UNAVAILABLE`, `STORE_TOO_NEW`
 * @example
 * const history = await createSessionHistory({ store: sqliteStore({ path: 'sessions.db' }) })
 */
export function sqliteStore(options: SqliteStoreOptions): EventStore {
  const { path, database } = knownOptions(objectOf(options, 'options', 'an object with path or database'), OPTIONS)
  if ((path === undefined) === (database === undefined)) throw misuse('sqliteStore', 'given path or database', options)
  if (
    path !== undefined &&
    (typeof path !== 'string' || path === '' || path.startsWith(':memory:') || path.includes('\0'))
  )
    throw misuse('path', 'the path of a file', path)
  if (database !== undefined && (typeof database.prepare !== 'function' || typeof database.exec !== 'function'))
    throw misuse('database', 'a connection by better-sqlite3 or node:sqlite', database)
  return new SqliteStore({
    // A process may change its directory.
    path: path === undefined ? undefined : absolute(path),
    database,
    synchronous: oneOf('synchronous', options.synchronous ?? 'full', ['full', 'normal']),
    busyTimeoutMs: requiredWholeNumber('busyTimeoutMs', options.busyTimeoutMs ?? 5_000, 0, LONGEST_TIMEOUT_MS)
  })
}

const OPTIONS: OptionKeys<SqliteStoreOptions> = { path: true, database: true, synchronous: true, busyTimeoutMs: true }

interface Settings {
  readonly path: string | undefined
  readonly database: SqliteDatabase | undefined
  readonly synchronous: 'full' | 'normal'
  readonly busyTimeoutMs: number
}

class SqliteStore implements EventStore {
  readonly supports = { durable: true, shared: true, push: true } as const
  readonly #settings: Settings
  #connection: Connection | undefined
  #connecting: Promise<Connection> | undefined
  /** `open` and `close` take effect one after the other. */
  #turnover: Promise<unknown> = Promise.resolve()
  #isOpen = false
  /** What removes rows. `close` waits until they have. */
  readonly #purges = new Set<Promise<void>>()
  readonly #writes: WriteQueue
  readonly #watchers: Watchers

  constructor(settings: Settings) {
    this.#settings = settings
    this.#writes = new WriteQueue({ ...settings, connected: () => this.#connected() })
    this.#watchers = new Watchers((question) => this.#read(question))
  }

  open(): Promise<void> {
    return this.#afterTurnover(async () => {
      if (this.#isOpen) return
      const hasGarbage = await this.#answer(async () => {
        try {
          return await this.#whenFree(async () =>
            (this.#connection ?? (await this.#connect(false))).reader.hasGarbage()
          )
        } catch (error) {
          this.#disconnect()
          throw error
        }
      })
      this.#isOpen = true
      const { path } = this.#settings
      // Those who write a little and go, while others stay, copy nothing into the file.
      if (path !== undefined && walBytes(path) > LONG_WAL_BYTES)
        void this.#writes.run({ type: 'checkpoint' }).catch(() => undefined)
      // What a purge has left behind when its process ended. Where it cannot be removed now, it will be another time.
      if (hasGarbage) void this.#ending(this.#writes.reclaim()).catch(() => undefined)
    })
  }

  close(): Promise<void> {
    return this.#afterTurnover(async () => {
      if (!this.#isOpen) return
      this.#isOpen = false
      this.#watchers.end()
      await Promise.allSettled(this.#purges)
      await this.#writes.end()
      await this.#connecting?.catch(() => undefined)
      this.#disconnect()
    })
  }

  async health(): Promise<boolean> {
    if (!this.#isOpen) return false
    try {
      await this.#read((reader) => reader.check())
      return true
    } catch {
      return false
    }
  }

  head(key: SessionKey): Promise<Head | null> {
    return this.#read((reader) => reader.head(key))
  }

  async append(commits: readonly Commit[]): Promise<readonly AppendResult[]> {
    this.#assertOpen()
    let results: readonly AppendResult[]
    try {
      results = await this.#writes.append(commits)
    } catch (error) {
      throw this.#failure(error)
    }
    if (this.#watchers.isWatching) {
      for (const [i, { key }] of commits.entries()) if (results[i]!.status === 'stored') this.#watchers.notify(key)
    }
    return results
  }

  async *read(logId: string, { from = 1, to = Infinity, signal }: ReadRange = {}): AsyncGenerator<StoredEvent[]> {
    for (let next = from; ;) {
      signal?.throwIfAborted()
      const { events, isLast } = await this.#read((reader) => reader.events(logId, next, to))
      if (events.length === 0) return
      next = events.at(-1)!.version + 1
      yield events
      if (isLast) return
      // A log that is long does not hold the others up.
      await immediate()
    }
  }

  async list(
    userId: string,
    { limit, after }: Page<Pick<Summary, 'updatedAt' | 'sessionId'>> = {}
  ): Promise<Summary[]> {
    if (limit !== undefined && limit <= PAGE_SIZE) return this.#read((reader) => reader.list(userId, limit, after))
    // Which ones they are is of one moment; what they say is read in steps.
    const places = await this.#read((reader) => reader.listPlaces(userId, limit, after))
    const summaries: Summary[] = []
    for (let from = 0; from < places.length; from += PAGE_SIZE) {
      if (from > 0) await immediate()
      const step = places.slice(from, from + PAGE_SIZE)
      summaries.push(...(await this.#read((reader) => reader.listed(step))))
    }
    return summaries
  }

  listUsers({ limit, after = '' }: Page<string> = {}): Promise<string[]> {
    return this.#inPages(
      limit,
      after,
      (reader, count, place) => reader.users(count, place),
      (userId) => userId
    )
  }

  forks(logId: string): Promise<Summary[]> {
    return this.#read((reader) => reader.forks(logId))
  }

  heads({ limit, after = '' }: Page<string> = {}): Promise<Head[]> {
    return this.#inPages(
      limit,
      after,
      (reader, count, place) => reader.heads(count, place),
      ({ logId }) => logId
    )
  }

  async touch(logId: string, at: number): Promise<void> {
    this.#assertOpen()
    await this.#answer(() => this.#writes.run({ type: 'touch', logId, at }))
  }

  async purge(key: SessionKey, end?: Pick<Head, 'logId' | 'version'>): Promise<void> {
    this.#assertOpen()
    await this.#ending(this.#purge(key, end))
  }

  async #purge({ userId, sessionId }: SessionKey, end?: Pick<Head, 'logId' | 'version'>): Promise<void> {
    const ending = end && { logId: end.logId, version: end.version }
    await this.#answer(() => this.#writes.run({ type: 'purge', userId, sessionId, end: ending }))
    this.#watchers.notify({ userId, sessionId })
    await this.#answer(async () => {
      try {
        await this.#writes.reclaim()
      } catch (error) {
        // The session is gone; its rows are not.
        throw new JobError(error, 'unknown')
      }
    })
  }

  async *watch(key: SessionKey, signal: AbortSignal): AsyncGenerator<number> {
    this.#assertOpen()
    yield* this.#watchers.watch(key, signal)
  }

  async #inPages<T>(
    limit = Infinity,
    after: string,
    read: (reader: LogReader, count: number, after: string) => readonly T[],
    placeOf: (item: T) => string
  ): Promise<T[]> {
    const items: T[] = []
    for (let place = after; items.length < limit; await immediate()) {
      const count = Math.min(PAGE_SIZE, limit - items.length)
      const page = await this.#read((reader) => read(reader, count, place))
      items.push(...page)
      if (page.length < count) break
      place = placeOf(items.at(-1)!)
    }
    return items
  }

  async #read<T>(question: (reader: LogReader) => T): Promise<T> {
    return this.#answer(() =>
      this.#whenFree(async () => {
        this.#assertOpen()
        const connection = this.#connected()
        // At once: meanwhile somebody else may find that it has to be given up.
        return question((connection instanceof Promise ? await connection : connection).reader)
      })
    )
  }

  // Again and again while another process has a lock on the file.
  async #whenFree<T>(ask: () => Promise<T>): Promise<T> {
    const deadline = performance.now() + this.#settings.busyTimeoutMs
    for (;;) {
      try {
        return await ask()
      } catch (error) {
        if (resultCode(error) !== 'BUSY' || performance.now() > deadline) throw error
      }
      await later(RETRY_MS)
    }
  }

  async #answer<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask()
    } catch (error) {
      throw this.#failure(error)
    }
  }

  // An error of ours for one of the driver's; a connection that may be the cause is given up.
  #failure(error: unknown): Error {
    if (isTurnlogError(error)) return error
    const { path, database } = this.#settings
    const { code, message, outcome } = error instanceof JobError ? error : new JobError(error, 'not-stored')
    if (GIVEN_UP.has(code)) {
      if (database) forgetPages(database)
      this.#disconnect()
      this.#writes.restart()
    }
    const where = path === undefined ? 'The SQLite database' : `The SQLite file ${path}`
    return turnlogError('STORE_UNAVAILABLE', `${where} failed: ${message}`, { outcome }, { cause: error })
  }

  #connected(): Connection | Promise<Connection> {
    const { path } = this.#settings
    if (path !== undefined && this.#connection && !this.#connection.isOf(path)) this.#disconnect()
    return this.#connection ?? this.#connect(true)
  }

  #connect(mustExist: boolean): Promise<Connection> {
    this.#connecting ??= this.#newConnection(mustExist)
      .then((connection) => (this.#connection = connection))
      .finally(() => (this.#connecting = undefined))
    return this.#connecting
  }

  async #newConnection(mustExist: boolean): Promise<Connection> {
    const { path, database, synchronous } = this.#settings
    return this.#whenFree(async () => {
      const opened = database ?? (await openDatabase(path!, { mustExist }))
      try {
        // No waiting on this thread, if it is for us to say.
        const busy = path === undefined ? undefined : 0
        prepareFile(opened, { synchronous, busyTimeoutMs: busy, checkpoints: path === undefined })
        return new Connection(opened, path === undefined ? undefined : fileAt(path))
      } catch (error) {
        if (!database) opened.close()
        if (path === undefined || !['READONLY', 'CANTOPEN'].includes(resultCode(error))) throw error
        const message = `${(error as Error).message}; SQLite writes beside a file also to read it: copy it to a folder that can be written`
        throw new JobError(error, 'not-stored', message)
      }
    })
  }

  #disconnect(): void {
    const connection = this.#connection
    this.#connection = undefined
    if (this.#settings.path === undefined) return
    try {
      connection?.database.close()
    } catch {
      // It is of no use in any case.
    }
  }

  // A purge is several jobs: between two of them nothing may be waiting to be written.
  async #ending(purge: Promise<void>): Promise<void> {
    this.#purges.add(purge)
    try {
      await purge
    } finally {
      this.#purges.delete(purge)
    }
  }

  #assertOpen(): void {
    if (this.#isOpen) return
    throw turnlogError('STORE_UNAVAILABLE', 'The SQLite store is closed', { outcome: 'not-stored' })
  }

  #afterTurnover(work: () => Promise<void>): Promise<void> {
    const done = this.#turnover.then(work)
    this.#turnover = done.catch(() => undefined)
    return done
  }
}

/** The length of a write-ahead log beyond which it is copied into the file when that is opened: SQLite's own measure. */
const LONG_WAL_BYTES = 1_000 * 4_096

/** SQLite counts them in 32 bits; of more it would make none at all. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1

/** After these the next call opens the file anew: it may have been made writable, or put back, meanwhile. */
const GIVEN_UP: ReadonlySet<string> = new Set(['READONLY', 'IOERR', 'CANTOPEN', 'NOTADB', 'CORRUPT'])

/** A connection, and what reads and writes through it. */
class Connection {
  readonly database: SqliteDatabase
  readonly reader: LogReader
  readonly writer: LogWriter
  /** Which file that is, if it is one that was opened here. */
  readonly #file: string | undefined
  #lookedAt = performance.now()

  constructor(database: SqliteDatabase, file: string | undefined) {
    this.database = database
    this.#file = file
    this.reader = new LogReader(database)
    this.writer = new LogWriter(database)
  }

  /** Whether it is of the file that is at `path`, looking now and then: each time costs as much as a small read. */
  isOf(path: string): boolean {
    const now = performance.now()
    if (now - this.#lookedAt < LOOK_MS) return true
    this.#lookedAt = now
    return this.#file === fileAt(path)
  }
}

/** How often it is looked at whether the file is still the one that was opened. */
const LOOK_MS = 10

function immediate(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
