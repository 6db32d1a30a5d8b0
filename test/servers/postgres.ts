import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Why there can be no server; `undefined`: there can. In CI that is a failure. */
export const postgresMissing: string | undefined = programs() ? undefined : missing()

/** A server of a test's own, with a database `postgres` in a temporary folder, durable as PostgreSQL is by itself. */
export interface PostgresServer extends AsyncDisposable {
  /** As its superuser, with the password. */
  readonly url: string
  readonly port: number
  /** Of the server's first process, as it is now. */
  readonly pid: number
  /** Ends it and removes its folder. */
  stop(): Promise<void>
  /** SIGKILL to all of its processes at once, as in a crash of the machine that loses nothing of the disk. Resolves when they are gone. */
  kill(): Promise<void>
  /** Starts it again, on the same port, after `kill`; otherwise ends it before. Resolves when it answers. */
  restart(): Promise<void>
}

/** Starts a server on a free port. */
export async function postgresServer(): Promise<PostgresServer> {
  if (postgresMissing !== undefined) throw new Error(postgresMissing)
  const directory = mkdtempSync(join(tmpdir(), 'turnlog-postgres-'))
  const identity = postgresUser()
  if (identity) chownSync(directory, identity.uid, identity.gid)
  const data = join(directory, 'data')
  const passwords = join(directory, 'password')
  writeFileSync(passwords, `${PASSWORD}\n`)
  if (identity) chownSync(passwords, identity.uid, identity.gid)
  const own = { ...identity, cwd: directory }
  const args = ['-D', data, '-U', 'postgres', '-A', 'scram-sha-256', `--pwfile=${passwords}`, '-E', 'UTF8']
  // How durable a server is does not depend on how it was made.
  execFileSync(join(programs()!, 'initdb'), [...args, '--locale=C', '--no-sync'], { ...own, stdio: 'pipe' })
  const port = await freePort()
  let running = await start()
  const removeAtExit = (): void => {
    running.kill('SIGKILL')
    rmSync(directory, { recursive: true, force: true })
  }
  process.on('exit', removeAtExit)

  // After a crash, what is left of the old processes holds the new one up for a moment.
  async function start(tries = 50): Promise<ChildProcess> {
    const settings = [
      'listen_addresses=127.0.0.1',
      'unix_socket_directories=',
      'max_connections=200',
      'log_checkpoints=off'
    ]
    const child = spawn(
      join(programs()!, 'postgres'),
      ['-D', data, '-p', String(port), ...settings.flatMap((setting) => ['-c', setting])],
      { ...own, stdio: ['ignore', 'ignore', 'pipe'] }
    )
    let log = ''
    const isReady = await new Promise<boolean>((resolve) => {
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        log = (log + text).slice(-10_000)
        if (log.includes('ready to accept connections')) resolve(true)
      })
      child.once('close', () => resolve(false))
    })
    if (isReady) return child
    if (tries > 0 && /lock file|shared memory|in use/.test(log)) return start(tries - 1)
    throw new Error(`PostgreSQL does not start:\n${log}`)
  }

  async function end(signal: 'SIGINT' | 'SIGKILL'): Promise<void> {
    if (running.exitCode !== null || running.signalCode !== null) return
    const ended = new Promise((resolve) => running.once('close', resolve))
    const all = signal === 'SIGKILL' ? childrenOf(running.pid!) : []
    for (const pid of [running.pid!, ...all]) killProcess(pid, signal)
    await ended
  }

  // One after the other, also where a test has given up on one of them.
  let last: Promise<unknown> = Promise.resolve()
  function next(work: () => Promise<void>): Promise<void> {
    const done = last.then(work)
    last = done.catch(() => undefined)
    return done
  }

  const stop = (): Promise<void> =>
    next(async () => {
      await end('SIGINT')
      process.off('exit', removeAtExit)
      rmSync(directory, { recursive: true, force: true })
    })

  return {
    url: `postgres://postgres:${PASSWORD}@127.0.0.1:${port}/postgres`,
    port,
    get pid() {
      return running.pid!
    },
    stop,
    kill: () => next(() => end('SIGKILL')),
    restart: () =>
      next(async () => {
        await end('SIGINT')
        running = await start()
      }),
    [Symbol.asyncDispose]: stop
  }
}

const PASSWORD = 'secret'

function missing(): string {
  const reason =
    'PostgreSQL is not installed (there is no /usr/lib/postgresql/*/bin/postgres): apt-get install postgresql'
  if (process.env['CI']) throw new Error(reason)
  return reason
}

/** Where Debian has the programs of the newest release that is there. */
function programs(): string | undefined {
  const root = '/usr/lib/postgresql'
  const releases = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)) : []
  return releases.map((release) => join(root, release, 'bin')).find((bin) => existsSync(join(bin, 'postgres')))
}

/** PostgreSQL refuses to run as root. */
export function postgresUser(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  const id = (option: string): number => Number(execFileSync('id', [option, 'postgres'], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}

function childrenOf(pid: number): number[] {
  const list = `/proc/${pid}/task/${pid}/children`
  return existsSync(list) ? readFileSync(list, 'utf8').split(' ').filter(Boolean).map(Number) : []
}

function killProcess(pid: number, signal: 'SIGINT' | 'SIGKILL'): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It has gone by itself.
  }
}
