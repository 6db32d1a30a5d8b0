import { isTurnlogError, turnlogError } from '../../errors.ts'
import { hashOf } from './encode.ts'

/** What is needed of a pool of connections: the `Pool` of node-postgres (`pg`) has it. */
export interface PostgresPool {
  connect(): Promise<PostgresClient>
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'connect', listener: (client: PostgresClient) => void): unknown
  off(event: 'error', listener: (error: Error) => void): unknown
  off(event: 'connect', listener: (client: PostgresClient) => void): unknown
  readonly options?: { readonly max?: number | undefined }
}

/** A connection of a {@link PostgresPool}. */
export interface PostgresClient {
  query(query: PostgresQuery): Promise<{ readonly rows: unknown[] }>
  /** Gives it back; with `true` it is closed. */
  release(destroy?: boolean): void
  on(event: 'error' | 'end', listener: (error?: Error) => void): unknown
  on(event: 'notification', listener: (message: PostgresNotification) => void): unknown
  off(event: 'error' | 'end', listener: (error?: Error) => void): unknown
  off(event: 'notification', listener: (message: PostgresNotification) => void): unknown
}

/** A statement; with a name the connection prepares it, once. */
export interface PostgresQuery {
  readonly text: string
  readonly values: unknown[]
  readonly name?: string
}

/** What came by `NOTIFY`. */
export interface PostgresNotification {
  readonly channel: string
  readonly payload?: string | undefined
}

/** What is bound to a statement. */
export type PostgresValue = string | number | boolean | Uint8Array | null

/** A failure: PostgreSQL's SQLSTATE, if it was the server that spoke, and whether what was asked may be done all the same. */
export class ServerError extends Error {
  readonly code: string
  readonly outcome: 'not-stored' | 'unknown'

  constructor(cause: unknown, outcome: 'not-stored' | 'unknown', message = textOf(cause)) {
    super(message, { cause })
    this.code = sqlState(cause)
    this.outcome = outcome
  }
}

/** Where connections come from: a pool of the caller's, or one of our own from `open` to `close`. */
export interface ConnectionsOptions {
  readonly pool: PostgresPool | undefined
  readonly connectionString: string | undefined
  readonly maxConnections: number
  readonly timeoutMs: number
}

/** How many connections of a pool those who listen keep: several stores may share it. */
const keptOf = new WeakMap<PostgresPool, number>()

/** Asks the server, and tells of each failure whether it may have done what it was asked. */
export class Connections {
  readonly #options: ConnectionsOptions
  #pool: PostgresPool | undefined
  #end: (() => Promise<void>) | undefined
  #canPrepare = true
  readonly #statementNames = new Map<string, string>()

  constructor(options: ConnectionsOptions) {
    this.#options = options
  }

  /** Whether one connection more may be kept, and others still be had. */
  get canKeepOne(): boolean {
    const pool = this.#pool
    return pool !== undefined && (keptOf.get(pool) ?? 0) + 1 < (pool.options?.max ?? 2)
  }

  /** As {@link take}; until it is given back, it counts as kept. */
  async takeToKeep(): Promise<Connection> {
    const pool = this.#pool
    const count = (change: number): void => void (pool && keptOf.set(pool, (keptOf.get(pool) ?? 0) + change))
    count(1)
    try {
      return await this.take(() => count(-1))
    } catch (error) {
      count(-1)
      throw error
    }
  }

  async open(): Promise<void> {
    const { pool, connectionString, maxConnections } = this.#options
    if (pool) this.#pool = pool
    else {
      const Pool = await importPool()
      const own = new Pool({
        connectionString,
        max: maxConnections,
        // What is never answered would take a place of the pool for good.
        connectionTimeoutMillis: this.#options.timeoutMs,
        // Connections that do nothing let the process end.
        allowExitOnIdle: true
      })
      this.#pool = own
      this.#end = () => own.end()
    }
    // Without a listener, a connection that is lost while nobody uses it ends the process.
    this.#pool.on('error', ignore)
    this.#pool.on('connect', guardNew)
  }

  /** Resolves when all connections are given back. */
  async close(): Promise<void> {
    const [pool, end] = [this.#pool, this.#end]
    this.#pool = undefined
    this.#end = undefined
    // Of our own, connections are still being closed when it has ended, and may be lost until they are.
    if (end) return end()
    pool?.off('error', ignore)
    pool?.off('connect', guardNew)
  }

  /** One statement, which is a transaction of its own. */
  async ask<Row>(text: string, values: readonly PostgresValue[] = [], name?: string): Promise<Row[]> {
    try {
      return await this.with((connection) => connection.ask<Row>(text, values, { name, settles: true }))
    } catch (error) {
      if (!(error instanceof ServerError && error.code === NOT_SERIALIZABLE)) throw error
    }
    // Transactions are not usually READ COMMITTED here: another was quicker, and the statement has not looked at what that has left.
    let rows: Row[] = []
    await this.transaction(async (connection) => {
      rows = await connection.ask<Row>(text, values, { name })
      return true
    })
    return rows
  }

  /** The same, for a statement that comes again and again: each connection prepares it, where that can be. */
  async askPrepared<Row>(text: string, values: readonly PostgresValue[]): Promise<Row[]> {
    if (this.#canPrepare) {
      let name = this.#statementNames.get(text)
      // A pooler may hand the connection of one to another: of that name there is no other statement.
      if (!name) this.#statementNames.set(text, (name = `turnlog_${hashOf(text).toString('hex', 0, 12)}`))
      try {
        return await this.ask<Row>(text, values, name)
      } catch (error) {
        if (!(error instanceof ServerError && UNPREPARED.has(error.code))) throw error
        this.#canPrepare = false
      }
    }
    return this.ask<Row>(text, values)
  }

  /**
   * What `work` does, all or nothing; nothing where it gives `false`. Each statement sees what was committed before it, whatever is usual in
   * the database: who waited for a lock has to see what was done under it.
   */
  async transaction(work: (connection: Connection) => Promise<boolean>): Promise<void> {
    await this.with(async (connection) => {
      let isToBeStored: boolean
      try {
        await connection.ask('BEGIN ISOLATION LEVEL READ COMMITTED')
        isToBeStored = await work(connection)
      } catch (error) {
        await connection.rollBack()
        throw error
      }
      if (isToBeStored) await connection.ask('COMMIT', [], { settles: true })
      else await connection.rollBack()
    })
  }

  /**
   * A connection, to be given back with `release`.
   *
   * @throws {ServerError} `not-stored`
   */
  async take(onRelease?: () => void): Promise<Connection> {
    if (!this.#pool) throw new ServerError(new Error('it is closed'), 'not-stored')
    const { timeoutMs } = this.#options
    let isLate = false
    const coming = this.#pool.connect().then((client) => {
      if (isLate) client.release()
      return client
    })
    try {
      return new Connection(await inTime(coming, timeoutMs, 'there was no connection'), timeoutMs, onRelease)
    } catch (error) {
      isLate = true
      throw new ServerError(error, 'not-stored')
    }
  }

  /** @throws {ServerError}; what `work` throws */
  async with<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    const connection = await this.take()
    try {
      return await work(connection)
    } finally {
      connection.release()
    }
  }
}

/** A connection that was taken from the pool. */
export class Connection {
  readonly client: PostgresClient
  readonly #timeoutMs: number
  readonly #onRelease: (() => void) | undefined
  #isBroken = false
  #isReleased = false

  constructor(client: PostgresClient, timeoutMs: number, onRelease?: () => void) {
    this.client = client
    this.#timeoutMs = timeoutMs
    this.#onRelease = onRelease
    client.on('error', this.#breaks)
  }

  /**
   * `settles`: what is asked for is stored with this statement, and not by a later one.
   *
   * @throws {ServerError}
   */
  async ask<Row>(
    text: string,
    values: readonly PostgresValue[] = [],
    { name, settles = false }: { readonly name?: string | undefined; readonly settles?: boolean } = {}
  ): Promise<Row[]> {
    try {
      const query = { text, values: [...values], ...(name !== undefined && { name }) }
      return (await inTime(this.client.query(query), this.#timeoutMs, 'the server did not answer')).rows as Row[]
    } catch (error) {
      const isCertain = isRefusal(error)
      if (!isCertain || IS_OVER.has(sqlState(error))) this.#isBroken = true
      throw new ServerError(error, isCertain || !settles ? 'not-stored' : 'unknown')
    }
  }

  async rollBack(): Promise<void> {
    // A connection that is closed rolls back, too.
    if (!this.#isBroken) await this.ask('ROLLBACK').catch(() => (this.#isBroken = true))
  }

  /** Gives it back, or closes it where it is of no use any more or `destroy` is given. */
  release(destroy = false): void {
    if (this.#isReleased) return
    this.#isReleased = true
    this.client.release(destroy || this.#isBroken)
    this.client.off('error', this.#breaks)
    this.#onRelease?.()
  }

  // Without a listener, a connection that is lost ends the process.
  readonly #breaks = (): void => {
    this.#isBroken = true
  }
}

/**
 * Nothing was done, and the connection is of no use any more: it was idle in a transaction for too long, or the transaction took too long;
 * or it leads to a server that only reads, and after a failover another may lead to the one that writes.
 */
const IS_OVER: ReadonlySet<string> = new Set(['25P03', '25P04', '25006'])

/** There is no such prepared statement, or there is already: a pooler has changed the connection. Nothing was done. */
const UNPREPARED: ReadonlySet<string> = new Set(['26000', '42P05'])

/** Does not come where transactions are READ COMMITTED, but for what a standby that reads has to give up. */
const NOT_SERIALIZABLE = '40001'

/** Rejects when `promise` takes too long; what becomes of that is nobody's concern then. */
export function inTime<T>(promise: Promise<T>, ms: number, failure: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${failure} within ${ms} ms`)), ms)
    promise.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

/** An error of ours for one of the driver's. */
export function storeError(error: unknown): Error {
  if (isTurnlogError(error)) return error
  const { message, outcome } = error instanceof ServerError ? error : new ServerError(error, 'not-stored')
  return turnlogError('STORE_UNAVAILABLE', `The PostgreSQL store failed: ${message}`, { outcome }, { cause: error })
}

/** A commit, one statement or more, of which nothing was kept: the server says so, and goes on. */
function isRefusal(error: unknown): boolean {
  const code = sqlState(error)
  // After these (the server ends or has lost the connection, or does not know itself) it may have been committed before.
  return code !== '' && !/^(08|57P|40003|XX)/.test(code)
}

/** @see https://www.postgresql.org/docs/current/errcodes-appendix.html */
function sqlState(error: unknown): string {
  const { code } = (error ?? {}) as { readonly code?: unknown }
  // Node's own codes are longer, or begin with an E.
  return typeof code === 'string' && /^[0-9FHPX][0-9A-Z]{4}$/.test(code) ? code : ''
}

// Where no connection was to be had at any of several addresses, the error has no text of its own.
function textOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(textOf).join('; ')
  return error instanceof Error ? error.message : String(error)
}

type PoolConstructor = new (options: {
  readonly connectionString: string | undefined
  readonly max: number
  readonly connectionTimeoutMillis: number
  readonly allowExitOnIdle: boolean
}) => PostgresPool & { end(): Promise<void> }

async function importPool(): Promise<PoolConstructor> {
  // What is imported is not known to the types: it may be missing.
  const name = 'pg'
  try {
    return ((await import(name)) as { readonly default: { readonly Pool: PoolConstructor } }).default.Pool
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error)
    throw new Error(`the driver is missing: npm install pg (${reason})`, { cause: error })
  }
}

function ignore(): void {}

// The pool has stopped to listen for errors of a new connection, and whoever waits for it has not begun to: what comes along with the end of
// the handshake, as where the server is shutting down, would end the process.
function guardNew(client: PostgresClient): void {
  client.on('error', ignore)
  setImmediate(() => client.off('error', ignore))
}
