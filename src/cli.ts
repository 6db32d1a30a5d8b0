#!/usr/bin/env node
// The turnlog command, as far as an old Node gets: what else there is imports what that does not have, and then it says no more
// than that. So nothing is imported before it was asked which Node this is.
try {
  await import('./node-version.ts')
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`)
  process.exit(1)
}
const { hushSqliteWarning } = await import('./stores/sqlite/hushed.ts')
hushSqliteWarning()
const { turnlog } = await import('./cli/program.ts')
await turnlog(process.argv.slice(2))
