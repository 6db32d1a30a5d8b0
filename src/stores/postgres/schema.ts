import { turnlogError } from '../../errors.ts'
import type { Connection, Connections } from './connections.ts'

/** Names in one schema, ready to stand in a statement. */
export interface Names {
  readonly schema: string
  readonly sessions: string
  readonly logs: string
  readonly events: string
  readonly version: string
  /** What tells of commits; not quoted. */
  readonly channel: string
}

export function namesIn(schema: string, channel: string): Names {
  const within = (name: string): string => `${quoted(schema)}.turnlog_${name}`
  return {
    schema,
    sessions: within('sessions'),
    logs: within('logs'),
    events: within('events'),
    version: within('schema'),
    channel
  }
}

/**
 * The tables. `owner`, `session` and `log` are SHA-256 of the user id, the session id and the log id: ids may be longer than an index
 * takes, and hold \u0000, which PostgreSQL's text does not. So ids are kept in JSON, as `name` and `log_id`. `place` is what a list orders
 * sessions of the same time by: the beginning of the session id.
 *
 * `sessions` has a row for each that is not purged, with what each commit changes; `logs` what does not change: it finds a session
 * by the id of its log. A log without an owner was purged: it stays as long as forks need its first `kept` events. Events are named by
 * a number, as in an index of their own it takes less room than a hash, and has those of new sessions side by side.
 */
const MIGRATIONS: readonly ((names: Names, partitions: number) => string)[] = [
  (names, partitions) => `
    CREATE SEQUENCE ${names.sessions}_key;
    CREATE TABLE ${names.sessions} (
      owner bytea NOT NULL,
      session bytea NOT NULL,
      key bigint NOT NULL DEFAULT nextval('${names.sessions.replaceAll("'", "''")}_key'),
      version integer NOT NULL,
      updated double precision NOT NULL,
      touched double precision,
      deleted boolean NOT NULL,
      place bytea NOT NULL,
      log_id text NOT NULL,
      name text NOT NULL,
      summary text NOT NULL,
      PRIMARY KEY (owner, session)
    )${partitioned(names.sessions, 'owner', partitions)};
    CREATE INDEX turnlog_sessions_by_activity ON ${names.sessions} (owner, updated DESC, place, session) WHERE NOT deleted;
    CREATE TABLE ${names.logs} (
      log bytea NOT NULL PRIMARY KEY,
      key bigint NOT NULL,
      owner bytea,
      session bytea,
      parent bytea,
      base integer,
      kept integer
    )${partitioned(names.logs, 'log', partitions)};
    CREATE INDEX turnlog_logs_by_parent ON ${names.logs} (parent, key) WHERE parent IS NOT NULL;
    CREATE TABLE ${names.events} (
      key bigint NOT NULL,
      version integer NOT NULL,
      body text NOT NULL,
      PRIMARY KEY (key, version)
    )${partitioned(names.events, 'key', partitions)};`
]

/**
 * Makes the tables what this release needs, in a schema that is made where it is not there.
 *
 * @throws `STORE_TOO_NEW`; {@link ServerError}
 */
export async function prepareSchema(
  connections: Connections,
  names: Names,
  partitions: number | undefined,
  migrations = MIGRATIONS
): Promise<void> {
  const state = await connections.with((connection) => stateOf(connection, names, migrations.length))
  if (state?.version === migrations.length) return assertPartitions(state, partitions)
  await connections.transaction(async (connection) => {
    await connection.ask('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [`turnlog ${names.schema}`])
    // Another process may have been quicker.
    const found = await stateOf(connection, names, migrations.length)
    const count = found?.partitions ?? partitions ?? 0
    assertPartitions({ partitions: count }, partitions)
    if (!found) await makeSchema(connection, names)
    for (const migration of migrations.slice(found?.version ?? 0)) await connection.ask(migration(names, count))
    await connection.ask(`DELETE FROM ${names.version}`)
    await connection.ask(`INSERT INTO ${names.version} (version, partitions) VALUES ($1, $2)`, [
      migrations.length,
      count
    ])
    return true
  })
}

interface State {
  readonly version: number
  readonly partitions: number
}

async function stateOf(connection: Connection, names: Names, known: number): Promise<State | undefined> {
  const [there] = await connection.ask(
    'SELECT 1 FROM pg_namespace AS schema JOIN pg_class ON relnamespace = schema.oid ' +
      "WHERE nspname = $1 AND relname = 'turnlog_schema'",
    [names.schema]
  )
  if (!there) return undefined
  const [state] = await connection.ask<State>(`SELECT version, partitions FROM ${names.version}`)
  if (!state || state.version <= known) return state
  const message = `The database is of a newer release of turnlog: its tables are version ${state.version}, this release knows ${known}`
  throw turnlogError('STORE_TOO_NEW', message, { found: state.version, known })
}

function assertPartitions(state: Pick<State, 'partitions'>, wanted: number | undefined): void {
  if (wanted === undefined || wanted === state.partitions) return
  throw new Error(
    `its tables have ${state.partitions} partitions since they were made; the option partitions says ${wanted}`
  )
}

async function makeSchema(connection: Connection, names: Names): Promise<void> {
  const [{ encoding } = { encoding: '' }] = await connection.ask<{ encoding: string }>(
    "SELECT current_setting('server_encoding') AS encoding"
  )
  if (encoding !== 'UTF8') throw new Error(`the encoding of the database is ${encoding}; it must be UTF8`)
  // A role that may make none may have one.
  const [there] = await connection.ask('SELECT 1 FROM pg_namespace WHERE nspname = $1', [names.schema])
  if (!there) await connection.ask(`CREATE SCHEMA ${quoted(names.schema)}`)
  await connection.ask(`CREATE TABLE ${names.version} (version integer NOT NULL, partitions integer NOT NULL)`)
}

function partitioned(table: string, column: string, partitions: number): string {
  if (partitions === 0) return ''
  const parts = Array.from({ length: partitions }, (_, i) => {
    return `CREATE TABLE ${table}_${i} PARTITION OF ${table} FOR VALUES WITH (MODULUS ${partitions}, REMAINDER ${i})`
  })
  return ` PARTITION BY HASH (${column});\n${parts.join(';\n')}`
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
