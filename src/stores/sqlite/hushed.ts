/**
 * Keeps this thread from saying that `node:sqlite` is experimental, which Node says in each that loads it; all other warnings
 * are given. For threads and processes of which nobody but turnlog makes use.
 */
export function hushSqliteWarning(): void {
  const emitWarning = process.emitWarning.bind(process)
  process.emitWarning = (warning: string | Error, ...options: []) => {
    if (!String(warning).startsWith('SQLite is an experimental feature')) emitWarning(warning, ...options)
  }
}
