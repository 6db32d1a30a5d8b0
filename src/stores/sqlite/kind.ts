import { openDatabase, resultCode } from './database.ts'

/**
 * What the file at `path` is: a store, an SQLite database without any table, or something else. It is read, and not changed.
 *
 * @throws what the driver throws, but for a file that is no database
 */
export async function kindOfFile(path: string): Promise<'store' | 'empty' | 'foreign'> {
  const database = await openDatabase(path, { mustExist: true })
  try {
    database.exec('PRAGMA busy_timeout = 5000')
    const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all() as { name: string }[]
    if (tables.some(({ name }) => name === 'turnlog_schema')) return 'store'
    return tables.length === 0 ? 'empty' : 'foreign'
  } catch (error) {
    if (resultCode(error) === 'NOTADB') return 'foreign'
    throw error
  } finally {
    database.close()
  }
}
