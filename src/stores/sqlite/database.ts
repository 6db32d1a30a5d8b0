import { realpathSync, statSync } from 'node:fs'

/**
 * What is needed of a connection to SQLite: better-sqlite3's `Database` and the `DatabaseSync` of `node:sqlite` have it.
 */
export interface SqliteDatabase {
  exec(sql: string): unknown
  prepare(sql: string): SqliteStatement
  close(): unknown
}

/** A prepared statement. */
export interface SqliteStatement {
  run(...values: SqliteValue[]): { readonly changes: number | bigint; readonly lastInsertRowid: number | bigint }
  get(...values: SqliteValue[]): unknown
  all(...values: SqliteValue[]): unknown[]
}

/** What is bound to a statement. */
export type SqliteValue = string | number | bigint | null

/** The drivers by preference. What is imported is not known to the types: either may be missing. */
const DRIVERS: readonly { readonly name: string; readonly driverIn: (module: object) => Driver }[] = [
  { name: 'better-sqlite3', driverIn: (module) => (module as { default: Driver }).default },
  { name: 'node:sqlite', driverIn: (module) => (module as { DatabaseSync: Driver }).DatabaseSync }
]

type Driver = new (path: string) => SqliteDatabase

/**
 * A connection to the file at `path`, by the driver that is there.
 *
 * @throws as the driver; an error that says what to install where there is none
 */
export async function openDatabase(path: string, { mustExist }: { mustExist: boolean }): Promise<SqliteDatabase> {
  // A file that has gone would be made anew, empty.
  if (mustExist && fileAt(path) === undefined) throw new Error(`The file ${path} is gone`)
  const reasons: string[] = []
  let isUnbuilt = false
  for (const { name, driverIn } of DRIVERS) {
    let driver: Driver
    let isThere = false
    try {
      driver = driverIn((await import(name)) as object)
      isThere = true
      // better-sqlite3 loads its binary with the first connection; it may be one for another Node.
      new driver(':memory:').close()
    } catch (error) {
      isUnbuilt ||= isThere && name === 'better-sqlite3'
      reasons.push(`${name}: ${(error as Error).message.split('\n')[0]!.replace(/[:.;, ]+(Tried:)?$/, '')}`)
      continue
    }
    return new driver(path)
  }
  const remedy = isUnbuilt ? BUILD : 'install better-sqlite3 (12 on Node 20)'
  throw new Error(`SQLite needs a driver: ${remedy}, or use Node 22.13 or later, which has one (${reasons.join('; ')})`)
}

const BUILD =
  'better-sqlite3 is installed, but its binary is missing or is one for another Node; `npm rebuild better-sqlite3` makes it ' +
  '(npm 11 first asks for `npm approve-scripts better-sqlite3`)'

/**
 * Names the file that is at `path` now; `undefined`: there is none. A connection goes on with a file that was deleted or
 * replaced: what it writes is lost.
 */
export function fileAt(path: string): string | undefined {
  const file = statSync(path, { throwIfNoEntry: false })
  return file && `${file.dev}:${file.ino}`
}

/** How long the write-ahead log of the file at `path` is; 0 where there is none. */
export function walBytes(path: string): number {
  try {
    return statSync(`${realpathSync(path)}-wal`).size
  } catch {
    return 0
  }
}

/** SQLite's primary result codes that are told apart here, by number, as `node:sqlite` gives them. */
const CODES: Readonly<Record<number, string>> = {
  5: 'BUSY',
  6: 'LOCKED',
  8: 'READONLY',
  10: 'IOERR',
  11: 'CORRUPT',
  13: 'FULL',
  14: 'CANTOPEN',
  26: 'NOTADB'
}

/**
 * SQLite's primary result code for an error of either driver, such as `BUSY`; empty for an error that is not SQLite's.
 *
 * @see https://sqlite.org/rescode.html
 */
export function resultCode(error: unknown): string {
  const { code, errcode } = (error ?? {}) as { readonly code?: unknown; readonly errcode?: unknown }
  if (typeof errcode === 'number') return CODES[errcode & 0xff] ?? ''
  return typeof code === 'string' ? (/^SQLITE_([A-Z]+)/.exec(code)?.[1] ?? '') : ''
}

/**
 * Drops the pages that a connection has read: where one was damaged, the file may have been mended, which SQLite cannot notice.
 */
export function forgetPages(database: SqliteDatabase): void {
  try {
    database.exec('PRAGMA shrink_memory')
  } catch {
    // Another failure has been told of.
  }
}

/** How often a lock of another process is tried again where no thread may wait for it. */
export const RETRY_MS = 5

/** Resolves after so many ms. */
export function later(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
