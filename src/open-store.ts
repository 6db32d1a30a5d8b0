import { misuse } from './arguments.ts'
import type { EventStore } from './store.ts'
import { memoryStore } from './stores/memory.ts'
import { sqliteStore } from './stores/sqlite.ts'

const SCHEMES: Readonly<Record<string, (rest: string) => EventStore>> = {
  memory: () => memoryStore(),
  sqlite: (path) => sqliteStore({ path })
}

/**
 * The store that an address names; it is opened by the service that gets it, or with `open`.
 *
 * - `memory:`, a new one in memory
 * - `sqlite:PATH`, such as `sqlite:sessions.db` or `sqlite:/var/lib/app/sessions.db`: the file, as it is named
 *
 * @throws `TypeError` where the address names none
 */
export function openStore(url: string): EventStore {
  const [, scheme = '', rest = ''] = /^([a-z]+):(.*)$/s.exec(url) ?? []
  const open = Object.hasOwn(SCHEMES, scheme) ? SCHEMES[scheme] : undefined
  if (!open || (scheme === 'memory' && rest !== ''))
    throw misuse('the address of a store', "'memory:' or 'sqlite:PATH'", url)
  return open(rest)
}

/**
 * The store that the environment variable `TURNLOG_STORE` names.
 *
 * @throws `TypeError` where it is not set, or names none
 */
export function storeOfEnvironment(): EventStore {
  const url = process.env['TURNLOG_STORE']
  if (!url) throw misuse('TURNLOG_STORE', 'set to the address of a store, such as sqlite:sessions.db', url)
  return openStore(url)
}
