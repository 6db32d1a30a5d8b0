import { crc32 } from 'node:zlib'
import { Worker } from 'node:worker_threads'
import { misuse, oneOf, requiredWholeNumber } from '../arguments.ts'
import { isTurnlogError, turnlogError } from '../errors.ts'
import type { StoredEvent } from '../event.ts'
import {
  keyString,
  type AppendResult,
  type Commit,
  type EventStore,
  type Head,
  type Page,
  type ReadRange,
  type SessionKey,
  type Summary
} from '../store.ts'
import { openDatabase, resultCode, type SqliteDatabase, type SqliteStatement } from './sqlite-database.ts'
import {
  LogWriter,
  prepareFile,
  type EncodedCommit,
  type Job,
  type JobFailure,
  type JobResult,
  type Outcome
} from './sqlite-log.ts'
import type { WorkerAnswer, WorkerInput } from './sqlite-worker.ts'

export type { SqliteDatabase, SqliteStatement, SqliteValue } from './sqlite-database.ts'

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
         * A connection of yours, by better-sqlite3 or `node:sqlite`: it stays yours to close. It is given a write-ahead log and
         * `synchronous`. All runs on the thread that it is of, so that large batches hold the event loop up; with `path` they do not.
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
   * How long to wait for another process that writes, in ms, before a call fails with `STORE_UNAVAILABLE`.
   * @default 5_000
   */
  readonly busyTimeoutMs?: number | undefined
}

/** Events of a log that are read at once, and rows of a list. */
const PAGE_SIZE = 500

/** What is written on the main thread is one commit of at most so many characters; what is more goes to the worker. */
const SMALL_COMMIT = 65_536

/** Commits that share a transaction, at most. */
const LARGEST_BATCH = 1_000

/** After so many commits on the main thread, which does not checkpoint, the worker is asked to. */
const COMMITS_BETWEEN_CHECKPOINTS = 250

/** How often the file is looked at for commits of other processes while somebody watches. */
const POLL_MS = 50

/** How often a lock of another process is tried again where no thread may wait for it. */
const RETRY_MS = 5

/**
 * A store in an SQLite file, by better-sqlite3 or `node:sqlite`. Acknowledged means on disk. Several services and processes of one
 * machine may share the file; it must not be on a network file system.
 *
 * Commits that arrive together share one transaction. One alone is written at once, on the calling thread; more are written by a
 * worker thread. Every row has a checksum: one that does not fit is `CORRUPT_LOG` when its session is read.
 *
 * What is purged is overwritten when SQLite uses its place again; `PRAGMA secure_delete` of a connection of yours does it at once.
 *
 * @throws `TypeError`; when it is opened `STORE_UNAVAILABLE`, `STORE_TOO_NEW`
 * @example
 * const history = await createSessionHistory({ store: sqliteStore({ path: 'sessions.db' }) })
 */
export function sqliteStore(options: SqliteStoreOptions): EventStore {
  const { path, database } = options
  if ((path === undefined) === (database === undefined)) throw misuse('sqliteStore', 'given path or database', options)
  if (
    path !== undefined &&
    (typeof path !== 'string' || path === '' || path.startsWith(':memory:') || path.includes('\0'))
  )
    throw misuse('path', 'the path of a file', path)
  if (database !== undefined && (typeof database.prepare !== 'function' || typeof database.exec !== 'function'))
    throw misuse('database', 'a connection by better-sqlite3 or node:sqlite', database)
  return new SqliteStore({
    path,
    database,
    synchronous: oneOf('synchronous', options.synchronous ?? 'full', ['full', 'normal']),
    busyTimeoutMs: requiredWholeNumber('busyTimeoutMs', options.busyTimeoutMs ?? 5_000, 0)
  })
}

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
  /** `open` and `close` take effect one after the other. */
  #turnover: Promise<unknown> = Promise.resolve()
  #isOpen = false
  readonly #writes: WriteQueue
  readonly #watchers: Watchers

  constructor(settings: Settings) {
    this.#settings = settings
    this.#writes = new WriteQueue(settings, () => this.#connected())
    this.#watchers = new Watchers(
      (key) => this.#end(key),
      () => Number((this.#connection?.statement('PRAGMA data_version').get() as { data_version: number }).data_version)
    )
  }

  open(): Promise<void> {
    return this.#afterTurnover(async () => {
      if (this.#isOpen) return
      await this.#answer(() => this.#connect(false))
      this.#isOpen = true
      // What a purge has left behind when its process ended.
      void this.#writes.reclaim().catch(() => undefined)
    })
  }

  close(): Promise<void> {
    return this.#afterTurnover(async () => {
      if (!this.#isOpen) return
      this.#isOpen = false
      this.#watchers.end()
      await this.#writes.end()
      this.#disconnect()
    })
  }

  async health(): Promise<boolean> {
    if (!this.#isOpen) return false
    try {
      await this.#read((connection) => connection.statement('SELECT version FROM turnlog_schema').get())
      return true
    } catch {
      return false
    }
  }

  async head({ userId, sessionId }: SessionKey): Promise<Head | null> {
    const row = (await this.#read((connection) => connection.statement(HEAD).get(userId, sessionId))) as
      | HeadRow
      | undefined
    return row ? headOf(row, { userId, sessionId }) : null
  }

  async append(commits: readonly Commit[]): Promise<readonly AppendResult[]> {
    this.#assertOpen()
    return await this.#answer(async () => {
      const results = await this.#writes.append(commits)
      for (const [i, { key }] of commits.entries()) if (results[i]!.status === 'stored') this.#watchers.notify(key)
      return results
    })
  }

  async *read(logId: string, { from = 1, to = Infinity, signal }: ReadRange = {}): AsyncGenerator<StoredEvent[]> {
    let next = from
    for (;;) {
      signal?.throwIfAborted()
      // A log may be purged, or cut to what its forks need, between two pages.
      const found = await this.#read((connection) => {
        const log = connection.statement(LOG).get(logId) as LogRow | undefined
        if (!log) return undefined
        const last = Math.min(to, Number(log.version))
        if (next > last) return undefined
        try {
          return { log, last, rows: connection.statement(EVENTS).all(log.key, next, last, PAGE_SIZE) as EventRow[] }
        } catch (error) {
          throw resultCode(error) === 'CORRUPT' ? corruptLog(log, logId, next) : error
        }
      })
      if (!found || found.rows.length === 0) return
      const page = found.rows.map((row) => eventOf(row, found.log, logId))
      next = page.at(-1)!.version + 1
      yield page
      if (next > found.last && found.last === to) return
      await immediate()
    }
  }

  async list(
    userId: string,
    { limit, after }: Page<Pick<Summary, 'updatedAt' | 'sessionId'>> = {}
  ): Promise<Summary[]> {
    const { updatedAt, sessionId } = after ?? { updatedAt: Number.MAX_SAFE_INTEGER, sessionId: '' }
    const place = [userId, updatedAt, updatedAt, sessionId] as const
    if (limit !== undefined && limit <= PAGE_SIZE) {
      const rows = await this.#read((connection) => connection.statement(LIST).all(...place, limit))
      return (rows as SummaryRow[]).map(summaryOf)
    }
    // Which ones they are is of one moment; what they say is read in steps.
    const keys = await this.#read((connection) => connection.statement(LIST_KEYS).all(...place, limit ?? -1))
    return this.#inSteps(keys as { key: number }[], ({ key }, connection) => {
      const row = connection.statement(SUMMARY).get(key) as SummaryRow | undefined
      return row && summaryOf(row)
    })
  }

  async listUsers({ limit = Infinity, after = '' }: Page<string> = {}): Promise<string[]> {
    const users: string[] = []
    for (let next = after; users.length < limit;) {
      const count = Math.min(PAGE_SIZE, limit - users.length)
      const rows = await this.#read((connection) => connection.statement(USERS).all(next, count))
      for (const { user } of rows as { user: Uint8Array }[]) users.push(textOf(user))
      if (rows.length < count) break
      next = users.at(-1)!
      await immediate()
    }
    return users
  }

  async forks(logId: string): Promise<Summary[]> {
    const rows = await this.#read((connection) => connection.statement(FORKS).all(logId))
    return (rows as SummaryRow[]).map(summaryOf)
  }

  async heads({ limit = Infinity, after = '' }: Page<string> = {}): Promise<Head[]> {
    const heads: Head[] = []
    for (let next = after; heads.length < limit;) {
      const count = Math.min(PAGE_SIZE, limit - heads.length)
      const rows = (await this.#read((connection) => connection.statement(HEADS).all(next, count))) as (HeadRow &
        SummaryRow)[]
      for (const row of rows) heads.push(headWith(row, summaryOf(row)))
      if (rows.length < count) break
      next = heads.at(-1)!.logId
      await immediate()
    }
    return heads
  }

  async touch(logId: string, at: number): Promise<void> {
    this.#assertOpen()
    await this.#answer(() => this.#writes.run({ type: 'touch', logId, at }))
  }

  async purge({ userId, sessionId }: SessionKey, end?: Pick<Head, 'logId' | 'version'>): Promise<void> {
    this.#assertOpen()
    await this.#answer(async () => {
      await this.#writes.run({
        type: 'purge',
        userId,
        sessionId,
        end: end && { logId: end.logId, version: end.version }
      })
      this.#watchers.notify({ userId, sessionId })
      await this.#writes.reclaim()
    })
  }

  async *watch(key: SessionKey, signal: AbortSignal): AsyncGenerator<number> {
    this.#assertOpen()
    yield* this.#watchers.watch(key, signal)
  }

  // What there is now of a session, in short.
  #end({ userId, sessionId }: SessionKey): { readonly logId: string; readonly version: number } | undefined {
    const row = this.#connection?.statement(END).get(userId, sessionId) as
      | { log_id: string; version: number }
      | undefined
    return row && { logId: row.log_id, version: Number(row.version) }
  }

  async #inSteps<T, R>(items: readonly T[], read: (item: T, connection: Connection) => R | undefined): Promise<R[]> {
    const results: R[] = []
    for (let from = 0; from < items.length; from += PAGE_SIZE) {
      if (from > 0) await immediate()
      const step = items.slice(from, from + PAGE_SIZE)
      const read1 = await this.#read((connection) => step.map((item) => read(item, connection)))
      for (const result of read1) if (result !== undefined) results.push(result)
    }
    return results
  }

  async #read<T>(question: (connection: Connection) => T): Promise<T> {
    this.#assertOpen()
    return this.#answer(async () => {
      const deadline = performance.now() + this.#settings.busyTimeoutMs
      for (;;) {
        try {
          return question(await this.#connected())
        } catch (error) {
          if (resultCode(error) !== 'BUSY' || performance.now() > deadline) throw error
        }
        await later(RETRY_MS)
        this.#assertOpen()
      }
    })
  }

  // An error of ours for one of the driver's; a connection that may be the cause is given up.
  async #answer<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask()
    } catch (error) {
      if (isTurnlogError(error) || error instanceof TypeError) throw error
      const { code, message, outcome } = isFailure(error)
        ? error
        : {
            code: resultCode(error),
            message: error instanceof Error ? error.message : String(error),
            outcome: 'not-stored' as const
          }
      if (this.#settings.path !== undefined && GIVEN_UP.has(code)) {
        this.#disconnect()
        this.#writes.restart()
      }
      const where = this.#settings.path === undefined ? 'The SQLite database' : `The SQLite file ${this.#settings.path}`
      throw turnlogError('STORE_UNAVAILABLE', `${where} failed: ${message}`, { outcome }, { cause: error })
    }
  }

  async #connected(): Promise<Connection> {
    if (!this.#connection) await this.#connect(true)
    return this.#connection!
  }

  async #connect(mustExist: boolean): Promise<void> {
    const { path, database, synchronous, busyTimeoutMs } = this.#settings
    const deadline = performance.now() + busyTimeoutMs
    for (;;) {
      const opened = database ?? (await openDatabase(path!, { mustExist }))
      try {
        // No waiting on this thread, if it is for us to say.
        const busy = path === undefined ? undefined : 0
        prepareFile(opened, { synchronous, busyTimeoutMs: busy, checkpoints: path === undefined })
        // Another call may have been quicker.
        if (this.#connection && !database) opened.close()
        else this.#connection = new Connection(opened)
        return
      } catch (error) {
        if (!database) opened.close()
        if (resultCode(error) !== 'BUSY' || performance.now() > deadline) throw error
      }
      await later(RETRY_MS)
    }
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

/** After these the next call opens the file anew: it may have been made writable, or put back, meanwhile. */
const GIVEN_UP: ReadonlySet<string> = new Set(['READONLY', 'IOERR', 'CANTOPEN', 'NOTADB', 'CORRUPT'])

/** A connection, its statements, and what writes through it. */
class Connection {
  readonly database: SqliteDatabase
  readonly writer: LogWriter
  readonly #statements = new Map<string, SqliteStatement>()

  constructor(database: SqliteDatabase) {
    this.database = database
    this.writer = new LogWriter(database)
  }

  statement(sql: string): SqliteStatement {
    let statement = this.#statements.get(sql)
    if (!statement) this.#statements.set(sql, (statement = this.database.prepare(sql)))
    return statement
  }
}

/** A commit that waits to be written, and where its outcome goes. */
interface Waiting {
  readonly commits: readonly EncodedCommit[]
  readonly resolve: (outcomes: readonly Outcome[]) => void
  readonly reject: (failure: unknown) => void
}

/**
 * What is to be written, one batch at a time: so the two connections of a process never wait for each other. All that came
 * while a batch was being written is the next one.
 */
class WriteQueue {
  readonly #settings: Settings
  readonly #connected: () => Promise<Connection>
  #appends: Waiting[] = []
  #jobs: {
    readonly job: Job
    readonly resolve: (result: JobResult) => void
    readonly reject: (failure: unknown) => void
  }[] = []
  #isScheduled = false
  #isWriting = false
  #onIdle: (() => void)[] = []
  #thread: WriterThread | undefined
  /** A thread cannot be started here: its file is not beside this one, as in a bundle. */
  #hasNoThread = false
  #commitsSinceCheckpoint = 0
  #isReclaiming: Promise<void> | undefined

  constructor(settings: Settings, connected: () => Promise<Connection>) {
    this.#settings = settings
    this.#connected = connected
  }

  async append(commits: readonly Commit[]): Promise<AppendResult[]> {
    const encoded: EncodedCommit[] = []
    const results: (AppendResult | undefined)[] = []
    const broken = new Set<string>()
    for (const commit of commits) {
      try {
        if (broken.has(commit.logId)) results.push({ status: 'conflict' })
        else {
          encoded.push(encode(commit))
          results.push(undefined)
        }
      } catch (error) {
        // More than a string can hold.
        broken.add(commit.logId)
        results.push({ status: 'failed', error, outcome: 'not-stored' })
      }
    }
    const outcomes =
      encoded.length === 0
        ? []
        : await new Promise<readonly Outcome[]>((resolve, reject) => {
            this.#appends.push({ commits: encoded, resolve, reject })
            this.#schedule()
          })
    let answered = 0
    return results.map((result) => result ?? RESULTS[outcomes[answered++]!])
  }

  run(job: Job): Promise<JobResult> {
    return new Promise((resolve, reject) => {
      this.#jobs.push({ job, resolve, reject })
      this.#schedule()
    })
  }

  /** Removes the rows of what was purged, in steps between which others write. */
  reclaim(): Promise<void> {
    const work = async (): Promise<void> => {
      while ((await this.run({ type: 'reclaim' })).hasMore);
    }
    const done = (this.#isReclaiming ?? Promise.resolve()).catch(() => undefined).then(work)
    this.#isReclaiming = done
    return done
  }

  /** Gives up the worker's connection; the next batch makes another. */
  restart(): void {
    this.#thread?.end()
    this.#thread = undefined
  }

  /** Resolves when all is written and the worker has ended. */
  async end(): Promise<void> {
    while (this.#isBusy) await new Promise<void>((resolve) => this.#onIdle.push(resolve))
    await this.#thread?.end()
    this.#thread = undefined
  }

  get #isBusy(): boolean {
    return this.#isWriting || this.#isScheduled || this.#appends.length > 0 || this.#jobs.length > 0
  }

  // In setImmediate, so that all that is called in one turn of the event loop comes together, and input and output go on.
  #schedule(): void {
    if (this.#isScheduled || this.#isWriting) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      void this.#write()
    })
  }

  async #write(): Promise<void> {
    this.#isWriting = true
    await this.#writeAppends()
    const next = this.#jobs.shift()
    if (next) await this.#perform(next.job).then(next.resolve, next.reject)
    if (this.#commitsSinceCheckpoint > COMMITS_BETWEEN_CHECKPOINTS) {
      this.#commitsSinceCheckpoint = 0
      // The log of the file grows until the next time.
      await this.#perform({ type: 'checkpoint' }).catch(() => undefined)
    }
    this.#isWriting = false
    if (this.#appends.length > 0 || this.#jobs.length > 0) this.#schedule()
    else for (const resolve of this.#onIdle.splice(0)) resolve()
  }

  async #writeAppends(): Promise<void> {
    const batch: Waiting[] = []
    let count = 0
    while (this.#appends.length > 0 && count < LARGEST_BATCH) {
      const next = this.#appends.shift()!
      batch.push(next)
      count += next.commits.length
    }
    if (batch.length === 0) return
    try {
      const { outcomes } = await this.#perform({ type: 'append', commits: batch.flatMap(({ commits }) => commits) })
      let answered = 0
      for (const { commits, resolve } of batch) resolve(outcomes!.slice(answered, (answered += commits.length)))
    } catch (failure) {
      for (const { reject } of batch) reject(failure)
    }
  }

  async #perform(job: Job): Promise<JobResult> {
    const { path, synchronous, busyTimeoutMs } = this.#settings
    if (path === undefined || this.#hasNoThread) return this.#performHere(job)
    if (isSmall(job)) {
      try {
        const { writer } = await this.#connected()
        const result = writer.run(job)
        this.#commitsSinceCheckpoint++
        return result
      } catch (error) {
        // The worker may wait for the other process; this thread may not.
        if (!isFailure(error) || error.code !== 'BUSY') throw error
      }
    }
    this.#thread ??= new WriterThread({ path, synchronous, busyTimeoutMs, checkpoints: true })
    const thread = this.#thread
    if (!(await thread.isReady)) {
      this.#hasNoThread = true
      return this.#performHere(job)
    }
    if (job.type === 'append') this.#commitsSinceCheckpoint = 0
    try {
      return await thread.run(job)
    } finally {
      if (thread.hasEnded && this.#thread === thread) this.#thread = undefined
    }
  }

  async #performHere(job: Job): Promise<JobResult> {
    const deadline = performance.now() + this.#settings.busyTimeoutMs
    for (;;) {
      try {
        return (await this.#connected()).writer.run(job)
      } catch (error) {
        if (!isFailure(error) || error.code !== 'BUSY' || performance.now() > deadline) throw error
      }
      await later(RETRY_MS)
    }
  }
}

/** The worker thread, as it is seen from here. Keeps the process alive only while it works. */
class WriterThread {
  readonly #worker: Worker | undefined
  readonly #exited: Promise<void>
  /** Whether it runs, or never will. */
  readonly isReady: Promise<boolean>
  #answered: { resolve(result: JobResult): void; reject(failure: unknown): void } | undefined
  hasEnded = false

  constructor(input: WorkerInput) {
    // Beside this file, and of its kind: the source in tests, else what was compiled.
    const file = import.meta.url.endsWith('.ts') ? './sqlite-worker.ts' : './sqlite-worker.js'
    let worker: Worker
    try {
      worker = new Worker(new URL(file, import.meta.url), { workerData: input, name: 'turnlog-sqlite' })
    } catch {
      this.isReady = Promise.resolve(false)
      this.#exited = Promise.resolve()
      this.hasEnded = true
      return
    }
    this.#worker = worker
    this.isReady = new Promise((resolve) => {
      worker.on('message', (answer: WorkerAnswer) => {
        if (answer === 'ready') resolve(true)
        else if ('result' in answer) this.#answered?.resolve(answer.result)
        else this.#answered?.reject(answer.failure)
      })
      worker.on('exit', () => resolve(false))
    })
    worker.on('error', (error) => this.#fail(error))
    this.#exited = new Promise((resolve) =>
      worker.on('exit', () => {
        this.#fail(new Error('The thread that writes has ended'))
        resolve()
      })
    )
  }

  /** One job at a time. */
  async run(job: Job): Promise<JobResult> {
    this.#worker?.ref()
    try {
      return await new Promise((resolve, reject) => {
        this.#answered = { resolve, reject }
        if (this.hasEnded) this.#fail(new Error('The thread that writes has ended'))
        else this.#worker!.postMessage(job)
      })
    } finally {
      this.#answered = undefined
      this.#worker?.unref()
    }
  }

  end(): Promise<void> {
    if (!this.hasEnded) {
      this.hasEnded = true
      this.#worker!.ref()
      this.#worker!.postMessage('close')
    }
    return this.#exited
  }

  #fail(error: unknown): void {
    this.hasEnded = true
    const message = error instanceof Error ? error.message : String(error)
    // What it was doing may be done.
    this.#answered?.reject({ code: resultCode(error), message, outcome: 'unknown' } satisfies JobFailure)
  }
}

/** Tells those who wait for a session to change: of commits here at once, of those of other processes by looking. */
class Watchers {
  readonly #topics = new Map<string, Topic>()
  readonly #endOf: (key: SessionKey) => LogEnd | undefined
  readonly #dataVersion: () => number
  #seen = -1
  #timer: NodeJS.Timeout | undefined

  constructor(endOf: (key: SessionKey) => LogEnd | undefined, dataVersion: () => number) {
    this.#endOf = endOf
    this.#dataVersion = dataVersion
  }

  async *watch(key: SessionKey, signal: AbortSignal): AsyncGenerator<number> {
    const name = keyString(key)
    const topic = this.#topics.get(name) ?? { key, end: this.#endOf(key), listeners: new Set(), hasEnded: false }
    this.#topics.set(name, topic)
    let wake = (): void => undefined
    const listener = (): void => wake()
    topic.listeners.add(listener)
    signal.addEventListener('abort', listener)
    this.#timer ??= setInterval(() => this.#look(), POLL_MS)
    try {
      for (let seen: LogEnd | undefined | null = null; !topic.hasEnded && !signal.aborted;) {
        const { end } = topic
        if (seen !== null && seen?.logId === end?.logId && seen?.version === end?.version) {
          await new Promise<void>((resolve) => (wake = resolve))
        } else {
          seen = end
          yield end?.version ?? 0
        }
      }
    } finally {
      signal.removeEventListener('abort', listener)
      topic.listeners.delete(listener)
      if (topic.listeners.size === 0 && this.#topics.get(name) === topic) this.#topics.delete(name)
      if (this.#topics.size === 0) this.#stop()
    }
  }

  notify(key: SessionKey): void {
    const topic = this.#topics.get(keyString(key))
    if (topic) this.#refresh(topic)
  }

  end(): void {
    this.#stop()
    for (const topic of this.#topics.values()) {
      topic.hasEnded = true
      for (const wake of topic.listeners) wake()
    }
    this.#topics.clear()
  }

  #look(): void {
    try {
      const version = this.#dataVersion()
      if (version === this.#seen) return
      for (const topic of this.#topics.values()) this.#refresh(topic)
      this.#seen = version
    } catch {
      // The file cannot be read now; the next look may find more.
    }
  }

  #refresh(topic: Topic): void {
    topic.end = this.#endOf(topic.key)
    for (const wake of topic.listeners) wake()
  }

  #stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}

interface Topic {
  readonly key: SessionKey
  end: LogEnd | undefined
  readonly listeners: Set<() => void>
  hasEnded: boolean
}

interface LogEnd {
  readonly logId: string
  readonly version: number
}

const RESULTS: Readonly<Record<Outcome, AppendResult>> = {
  stored: Object.freeze({ status: 'stored' }),
  conflict: Object.freeze({ status: 'conflict' }),
  orphaned: Object.freeze({ status: 'orphaned' })
}

function encode({ key, logId, expectedVersion, events, summary, parent }: Commit): EncodedCommit {
  return {
    userId: key.userId,
    sessionId: key.sessionId,
    logId,
    expectedVersion,
    version: expectedVersion + events.length,
    updatedAt: summary.updatedAt,
    deleted: summary.deleted,
    summary: JSON.stringify(summary),
    events: events.map((event) => JSON.stringify(event)),
    parent: parent && { logId: parent.logId, version: parent.version }
  }
}

function isSmall(job: Job): boolean {
  if (job.type === 'touch') return true
  if (job.type !== 'append' || job.commits.length > 1) return false
  let size = 0
  for (const body of job.commits[0]!.events) if ((size += body.length + 100) > SMALL_COMMIT) return false
  return true
}

function isFailure(error: unknown): error is JobFailure {
  return typeof error === 'object' && error !== null && 'outcome' in error && !(error instanceof Error)
}

// Ids are read as bytes: before Node 24 `node:sqlite` cuts text at \u0000.
const NAME = 'CAST(user AS BLOB) AS user, CAST(session AS BLOB) AS session'
const SUMMARY_COLUMNS = `${NAME}, version, updated, deleted, summary, checksum`
const PLACE =
  'user = ? AND deleted = 0 AND updated <= ? AND (updated < ? OR session > ?) ORDER BY updated DESC, session LIMIT ?'

const HEAD = 'SELECT log_id, version, touched, summary, checksum FROM turnlog_sessions WHERE user = ? AND session = ?'
const END = 'SELECT log_id, version FROM turnlog_sessions WHERE user = ? AND session = ?'
const LOG = `SELECT key, version, ${NAME} FROM turnlog_sessions WHERE log_id = ?`
const EVENTS = `SELECT version, body, checksum FROM turnlog_events WHERE session = ? AND version BETWEEN ? AND ?
                ORDER BY version LIMIT ?`
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
  readonly version: number
  readonly touched: number | null
  readonly summary: string
  readonly checksum: number
}

interface SummaryRow {
  readonly user: Uint8Array
  readonly session: Uint8Array
  readonly version: number
  readonly updated: number
  readonly deleted: number
  readonly summary: string
  readonly checksum: number
}

interface LogRow {
  readonly key: number
  readonly version: number
  readonly user: Uint8Array | null
  readonly session: Uint8Array | null
}

interface EventRow {
  readonly version: number
  readonly body: string
  readonly checksum: number
}

function headOf(row: HeadRow, { userId, sessionId }: SessionKey): Head {
  const summary = soundSummary(row)
  if (summary) return headWith(row, summary)
  const message = `What the store has of session ${JSON.stringify(sessionId)} of user ${JSON.stringify(userId)} is damaged`
  throw turnlogError('CORRUPT_LOG', message, { userId, sessionId, version: Number(row.version) })
}

function headWith({ log_id: logId, version, touched }: HeadRow, summary: Summary): Head {
  const head = { logId, version: Number(version), summary }
  return touched === null ? head : { ...head, touchedAt: Number(touched) }
}

// Of a damaged row a list shows what its columns say, so that the other sessions are listed; reading the session tells.
function summaryOf(row: SummaryRow): Summary {
  return (
    soundSummary(row) ?? {
      userId: textOf(row.user),
      sessionId: textOf(row.session),
      version: Number(row.version),
      createdAt: Number(row.updated),
      updatedAt: Number(row.updated),
      deleted: Number(row.deleted) === 1,
      format: '',
      metadata: {}
    }
  )
}

function soundSummary({
  summary: text,
  checksum,
  version
}: Pick<HeadRow, 'summary' | 'checksum' | 'version'>): Summary | undefined {
  if (crc32(text) !== Number(checksum)) return undefined
  const summary = JSON.parse(text) as Summary
  return summary.version === Number(version) ? summary : undefined
}

function eventOf({ version, body, checksum }: EventRow, log: LogRow, logId: string): StoredEvent {
  if (crc32(body) !== Number(checksum)) throw corruptLog(log, logId, Number(version))
  const event = JSON.parse(body) as StoredEvent
  if (event.version !== Number(version)) throw corruptLog(log, logId, Number(version))
  return event
}

// A log that only its forks need has no name any more.
function corruptLog({ user, session }: LogRow, logId: string, version: number): Error {
  const [userId, sessionId] = [user ? textOf(user) : '', session ? textOf(session) : logId]
  const message = `The log of session ${JSON.stringify(sessionId)} of user ${JSON.stringify(userId)} is damaged at version ${version}`
  return turnlogError('CORRUPT_LOG', message, { userId, sessionId, version })
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

function textOf(bytes: Uint8Array): string {
  return decoder.decode(bytes)
}

function immediate(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

function later(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
