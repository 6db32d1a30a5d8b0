import { isNear, misuse } from './arguments.ts'
import type { EventStore } from './store.ts'
import { memoryStore } from './stores/memory.ts'
import { natsStore } from './stores/nats.ts'
import { postgresStore } from './stores/postgres.ts'
import { sqliteStore } from './stores/sqlite.ts'

// Without slashes: what hides credentials hides all from them to an @.
const KINDS = "'memory:', 'sqlite:PATH', 'postgres:…' or 'nats:…'"

/** A store's address, taken apart. Drivers are imported when the store is opened. */
interface Address {
  /** What two addresses of one store have in common; without credentials. */
  readonly place: string
  open(): EventStore
}

const SCHEMES: Readonly<Record<string, (url: string) => Address | undefined>> = {
  memory: (url) => (url === 'memory:' ? { place: url, open: memoryStore } : undefined),
  sqlite: (url) => ({ place: url, open: () => sqliteStore({ path: url.slice('sqlite:'.length) }) }),
  postgres: postgresAddress,
  postgresql: postgresAddress,
  nats: natsAddress
}

/**
 * The store that an address names; it is opened by the service that gets it, or with `open`.
 *
 * - `memory:`, a new one in memory
 * - `sqlite:PATH`, such as `sqlite:sessions.db` or `sqlite:/var/lib/app/sessions.db`: the file, as it is named
 * - `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, with the parameters that node-postgres knows; beside them `schema` and `partitions`
 *   are those of `postgresStore`. `postgresql:` is the same
 * - `nats://HOST:PORT`, or several with commas between them; before the first `USER:PASSWORD@` or `TOKEN@`. The parameters `prefix`,
 *   `replicas` and `streams` are those of `natsStore`
 *
 * In credentials and parameters, what would end them is encoded: `%40` for an `@`. Errors do not show credentials.
 *
 * @throws `TypeError` where the address names none
 * @example
 * openStore('postgres://app:secret@db.example/app?schema=turnlog')
 * openStore('nats://one:4222,two:4222,three:4222?replicas=3&streams=16')
 */
export function openStore(url: string): EventStore {
  return addressOf(url).open()
}

/** Whether two addresses are known to name one store. They may do so without it: of two names of one host nothing is known. */
export function nameOneStore(a: string, b: string): boolean {
  const [one, other] = [addressOf(a).place, addressOf(b).place]
  return one === other && one !== 'memory:'
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

function addressOf(url: string): Address {
  const scheme = /^([a-z]+):/.exec(url)?.[1] ?? ''
  const address = Object.hasOwn(SCHEMES, scheme) ? SCHEMES[scheme]!(url) : undefined
  if (address) return address
  // Also where a slash is missing: what is before the last @ may be a password.
  const shown: unknown = typeof url === 'string' ? url.replace(/(?<=^\w+:\/*)[^/].*@/s, '***@') : url
  throw misuse('the address of a store', KINDS, shown)
}

function postgresAddress(url: string): Address | undefined {
  // What URL throws has the address in it.
  if (!/^\w+:\/\//.test(url) || !URL.canParse(url)) return undefined
  const { hostname, port, pathname, username, searchParams } = new URL(url)
  const { schema, partitions, ...others } = Object.fromEntries(searchParams)
  // All others are for the driver, which passes over what it does not know.
  for (const key of Object.keys(others)) {
    const meant = ['schema', 'partitions'].find((each) => isNear(key.toLowerCase(), each))
    if (meant !== undefined) throw new TypeError(`${key} is no parameter of an address: is ${meant} meant?`)
  }
  const host = hostname || searchParams.get('host')
  return {
    // Without a database, it is the one that has the name of the user.
    place: `postgres://${host}:${port || (searchParams.get('port') ?? 5432)}${pathname.length > 1 ? pathname : `/${username}`} ${schema ?? 'turnlog'}`,
    open: () =>
      postgresStore({
        connectionString: withoutParameters(url, ['schema', 'partitions']),
        schema,
        partitions: partitions === undefined ? undefined : Number(partitions)
      })
  }
}

function natsAddress(url: string): Address | undefined {
  const [, credentials, hosts, query] = /^nats:\/\/(?:([^@/?#]*)@)?([^@/?#\s]+)\/?(?:\?([^#]*))?$/.exec(url) ?? []
  if (hosts === undefined || !isEncoded(credentials ?? '')) return undefined
  const { prefix, replicas, streams, ...others } = Object.fromEntries(new URLSearchParams(query))
  const [unknown] = Object.keys(others)
  if (unknown !== undefined) throw misuse('a parameter of nats://', 'prefix, replicas or streams', unknown)
  const servers = hosts.split(',').map((host) => (/:\d+$/.test(host) ? host : `${host}:4222`))
  return {
    place: `nats://${servers.toSorted().join()} ${prefix ?? ''}`,
    open: () =>
      natsStore({
        servers: servers.map((server) => `nats://${server}`),
        connect: credentials === undefined ? undefined : credentialsOf(credentials),
        prefix,
        replicas: replicas === undefined ? undefined : Number(replicas),
        streams: streams === undefined ? undefined : Number(streams)
      })
  }
}

function credentialsOf(text: string): object {
  const [first = '', ...rest] = text.split(':').map((part) => decodeURIComponent(part))
  return rest.length === 0 ? { token: first } : { user: first, pass: rest.join(':') }
}

function isEncoded(text: string): boolean {
  try {
    return decodeURIComponent(text) !== undefined
  } catch {
    return false
  }
}

// As it was written but for those: what is not ours is not for us to encode anew.
function withoutParameters(url: string, names: readonly string[]): string {
  const [before = '', query = ''] = url.split(/\?(.*)/s)
  const kept = query.split('&').filter((parameter) => !names.includes(parameter.split('=')[0]!))
  return kept.join('') === '' ? before : `${before}?${kept.join('&')}`
}
