import { spawn } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort, postgresMissing, postgresUser, type PostgresServer } from './postgres.ts'

const PROGRAM = '/usr/sbin/pgbouncer'

/** Why there can be no pooler; `undefined`: there can. In CI that is a failure. */
export const pgbouncerMissing: string | undefined = postgresMissing ?? (existsSync(PROGRAM) ? undefined : missing())

/** A pooler of a test's own, with three connections to its server. */
export interface Pgbouncer extends AsyncDisposable {
  readonly url: string
}

/** Starts one on a free port. `mode`: for how long a client has a connection of the server to itself. */
export async function pgbouncerTo(server: PostgresServer, mode: 'transaction' | 'statement'): Promise<Pgbouncer> {
  const directory = mkdtempSync(join(tmpdir(), 'turnlog-pgbouncer-'))
  const port = await freePort()
  const { username, password, pathname } = new URL(server.url)
  const settings = join(directory, 'pgbouncer.ini')
  writeFileSync(
    settings,
    `[databases]
* = host=127.0.0.1 port=${server.port} user=${username} password=${password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = ${mode}
default_pool_size = 3
max_client_conn = 500
`
  )
  // It refuses to run as root, too.
  const identity = postgresUser()
  if (identity) for (const path of [directory, settings]) chownSync(path, identity.uid, identity.gid)
  const child = spawn(PROGRAM, [settings], { ...identity, cwd: directory, stdio: ['ignore', 'ignore', 'pipe'] })
  const removeAtExit = (): void => {
    child.kill('SIGKILL')
    rmSync(directory, { recursive: true, force: true })
  }
  process.on('exit', removeAtExit)
  let log = ''
  await new Promise<void>((resolve, reject) => {
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      log = (log + text).slice(-10_000)
      if (log.includes('process up')) resolve()
    })
    child.once('close', () => reject(new Error(`PgBouncer does not start:\n${log}`)))
  })
  return {
    url: `postgres://${username}@127.0.0.1:${port}${pathname}`,
    async [Symbol.asyncDispose]() {
      const ended = new Promise((resolve) => child.once('close', resolve))
      child.kill('SIGKILL')
      await ended
      process.off('exit', removeAtExit)
      rmSync(directory, { recursive: true, force: true })
    }
  }
}

function missing(): string {
  const reason = `PgBouncer is not installed (there is no ${PROGRAM}): apt-get install pgbouncer`
  if (process.env['CI']) throw new Error(reason)
  return reason
}
