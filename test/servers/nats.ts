import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type NatsConnection } from '@nats-io/transport-node'

/** Why there is no server to test with, where that is so. */
export const natsMissing: string | undefined =
  spawnSync('nats-server', ['--version']).status === 0 ? undefined : 'nats-server is not on the PATH'

if (natsMissing !== undefined && process.env['CI']) throw new Error(natsMissing)

/** One server. */
export interface NatsNode {
  readonly name: string
  readonly url: string
  readonly port: number
  readonly pid: number
  /** SIGKILL. */
  kill(): Promise<void>
  /** Ends it in order. */
  stop(): Promise<void>
  /** Starts it again, with what it has stored. */
  restart(): Promise<void>
}

/** A server, or a cluster of three. */
export interface NatsServer extends AsyncDisposable {
  /** Of all nodes, with commas between them. */
  readonly url: string
  readonly ports: readonly number[]
  readonly pids: readonly number[]
  readonly nodes: readonly NatsNode[]
  kill(): Promise<void>
  stop(): Promise<void>
  restart(): Promise<void>
  /** The node that leads a stream. */
  leaderOf(stream: string): Promise<NatsNode>
}

const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** Starts servers with JetStream on free ports, in a temporary folder that goes with them. */
export async function natsServer({
  nodes: count = 1,
  config = '',
  room = ''
}: { readonly nodes?: 1 | 3; readonly config?: string; readonly room?: string } = {}): Promise<NatsServer> {
  const directory = mkdtempSync(join(tmpdir(), 'turnlog-nats-'))
  const ports = await freePorts(2 * count)
  const routes = ports.slice(count).map((port) => `nats://127.0.0.1:${port}`)
  const nodes = Array.from({ length: count }, (_, i) => {
    const cluster =
      count === 1
        ? ''
        : `cluster { name: test, listen: "127.0.0.1:${ports[count + i]}", routes: ${JSON.stringify(routes)} }`
    const file = join(directory, `${i}.conf`)
    writeFileSync(
      file,
      `listen: "127.0.0.1:${ports[i]}"\nserver_name: n${i}\njetstream { store_dir: ${JSON.stringify(join(directory, `${i}`))}${room && `, max_file_store: ${room}`} }\n${cluster}\n${config}\n`
    )
    return new Node(`n${i}`, ports[i]!, file)
  })
  const url = nodes.map((node) => node.url).join(',')
  async function all(act: (node: Node) => Promise<void>): Promise<void> {
    await Promise.all(nodes.map(act))
  }
  async function start(): Promise<void> {
    await all((node) => node.start())
    await all((node) => ready(node.url, count))
  }
  try {
    await start()
  } catch (error) {
    await all((node) => node.kill())
    throw error
  }
  return {
    url,
    ports: ports.slice(0, count),
    get pids() {
      return nodes.map(({ pid }) => pid)
    },
    nodes,
    kill: () => all((node) => node.kill()),
    stop: () => all((node) => node.stop()),
    restart: start,
    async leaderOf(stream) {
      const leader = await asked(url, `STREAM.INFO.${stream}`, (answer) => answer.cluster?.leader)
      return nodes.find(({ name }) => name === leader)!
    },
    async [Symbol.asyncDispose]() {
      await all((node) => node.kill())
      rmSync(directory, { recursive: true, force: true })
    }
  }
}

class Node implements NatsNode {
  readonly name: string
  readonly port: number
  readonly #file: string
  #child: ChildProcess | undefined

  constructor(name: string, port: number, file: string) {
    this.name = name
    this.port = port
    this.#file = file
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  async start(): Promise<void> {
    if (this.#child?.exitCode === null && this.#child.signalCode === null) return
    const child = spawn('nats-server', ['-c', this.#file], { stdio: 'ignore' })
    this.#child = child
    running.add(child)
    child.once('exit', () => running.delete(child))
    await once(child, 'spawn')
  }

  async restart(): Promise<void> {
    await this.start()
    await ready(this.url, 1)
  }

  kill(): Promise<void> {
    return this.#end('SIGKILL')
  }

  stop(): Promise<void> {
    return this.#end('SIGTERM')
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const exit = once(child, 'exit')
    child.kill(signal)
    await exit
  }
}

interface Answer {
  readonly error?: unknown
  readonly cluster?: { readonly leader?: string }
}

/** Until JetStream answers there, and in a cluster sees all nodes. */
async function ready(url: string, nodes: number): Promise<void> {
  await asked(url, 'INFO', (answer) => (answer.error === undefined ? true : undefined))
  // A stream with as many replicas is made as soon as all nodes can take one.
  if (nodes === 1) return
  await asked(url, `STREAM.CREATE.ready`, (answer) => (answer.error === undefined ? true : undefined), {
    name: 'ready',
    subjects: ['ready'],
    num_replicas: nodes,
    storage: 'memory'
  })
}

/** Asks until there is an answer that will do. */
async function asked<T>(
  url: string,
  call: string,
  accept: (answer: Answer) => T | undefined,
  question: object = {}
): Promise<T> {
  const deadline = performance.now() + 30_000
  for (;;) {
    let connection: NatsConnection | undefined
    try {
      connection = await connect({ servers: url.split(','), reconnect: false, timeout: 1_000 })
      const { data } = await connection.request(`$JS.API.${call}`, JSON.stringify(question), { timeout: 2_000 })
      const accepted = accept(JSON.parse(Buffer.from(data).toString()) as Answer)
      if (accepted !== undefined) return accepted
    } catch (error) {
      if (performance.now() > deadline) throw error
    } finally {
      await connection?.close().catch(() => undefined)
    }
    if (performance.now() > deadline) throw new Error(`${url} does not become ready`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** Ports that were free, all at one time. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => once(server.close(), 'close')))
  return ports
}

/** Stops a process as SIGSTOP does, until SIGCONT. A signal takes effect some time after it was sent, thread by thread: until then the process may answer. */
export async function suspend(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP')
  while (!threadsOf(pid).every((state) => state === 'T')) await new Promise((resolve) => setImmediate(resolve))
}

// Their states; none where the system does not tell them in files.
function threadsOf(pid: number): string[] {
  const threads = `/proc/${pid}/task`
  if (!existsSync(threads)) return []
  // After the name, in parentheses, which may have any characters.
  return readdirSync(threads).map((id) => /\) (\w)/.exec(readFileSync(`${threads}/${id}/stat`, 'utf8'))?.[1] ?? '')
}
