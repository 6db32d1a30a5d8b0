import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

/** Stands between clients and a server on this machine, on a port of its own. */
export interface Proxy extends Network, AsyncDisposable {
  readonly port: number
}

/** What is between clients and one server, or several. */
export interface Network {
  /** Ends all connections at once. */
  cut(): void
  /**
   * Ends each connection that there is once `bytes` more of answers have come through it; with 0, where the next answer would begin: what
   * it answers has been done. Resolves when the first is cut.
   */
  cutAfter(bytes: number): Promise<void>
  /** From now on, all that comes in goes out so much later, in each direction. */
  delay(ms: number): void
  /** Passes nothing any more, and ends nothing: as where a cable is pulled. New connections are made and hear nothing. */
  hold(): void
  /** Passes all that was held back, and what comes. */
  release(): void
}

export async function proxyTo(target: number): Promise<Proxy> {
  const links = new Set<Link>()
  const circumstances: Circumstances = { delayMs: 0, isHeld: false }
  const server = createServer((client) => {
    const link = new Link(client, target, circumstances, () => links.delete(link))
    links.add(link)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = (): void => {
    for (const link of links) link.cut()
  }
  const letFlow = (isHeld: boolean): void => {
    circumstances.isHeld = isHeld
    for (const link of links) link.flow()
  }
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    cutAfter: (bytes) =>
      new Promise((resolve) => {
        for (const link of links) link.cutAfter(bytes, resolve)
      }),
    delay: (ms) => void (circumstances.delayMs = ms),
    hold: () => letFlow(true),
    release: () => letFlow(false),
    async [Symbol.asyncDispose]() {
      server.close()
      cut()
      await once(server, 'close')
    }
  }
}

/** Several as one network. `cutAfter` resolves when the first connection of any is cut. */
export function networkOf(proxies: readonly Network[]): Network {
  return {
    cut() {
      for (const proxy of proxies) proxy.cut()
    },
    cutAfter: (bytes) => Promise.race(proxies.map((proxy) => proxy.cutAfter(bytes))),
    delay(ms) {
      for (const proxy of proxies) proxy.delay(ms)
    },
    hold() {
      for (const proxy of proxies) proxy.hold()
    },
    release() {
      for (const proxy of proxies) proxy.release()
    }
  }
}

interface Circumstances {
  delayMs: number
  isHeld: boolean
}

/** One client's connection, and the one to the server for it. */
class Link {
  readonly #sockets: readonly [client: Socket, server: Socket]
  readonly #circumstances: Circumstances
  /** How many bytes of answers still come through, and who is told when no more do. */
  #limit: { left: number; readonly onCut: () => void } | undefined

  constructor(client: Socket, target: number, circumstances: Circumstances, onEnd: () => void) {
    const server = connect({ port: target, host: '127.0.0.1' })
    this.#sockets = [client, server]
    this.#circumstances = circumstances
    for (const socket of this.#sockets) {
      socket.setNoDelay()
      socket.on('error', () => undefined)
      socket.once('close', () => {
        onEnd()
        this.cut()
      })
    }
    this.#pass(client, server, (chunk) => chunk)
    this.#pass(server, client, (chunk) => this.#admit(chunk))
    this.flow()
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  cutAfter(bytes: number, onCut: () => void): void {
    this.#limit = { left: bytes, onCut }
  }

  flow(): void {
    for (const socket of this.#sockets) {
      if (this.#circumstances.isHeld) socket.pause()
      else socket.resume()
    }
  }

  // In order, however the delay changes.
  #pass(from: Socket, to: Socket, admit: (chunk: Buffer) => Buffer): void {
    let due = 0
    const write = (chunk: Buffer): void => {
      if (to.destroyed) return
      const admitted = admit(chunk)
      if (admitted.length > 0) to.write(admitted)
      if (admitted.length < chunk.length) this.cut()
    }
    from.on('data', (chunk: Buffer) => {
      const now = performance.now()
      due = Math.max(due, now + this.#circumstances.delayMs)
      if (due > now) setTimeout(write, due - now, chunk)
      else write(chunk)
    })
  }

  #admit(chunk: Buffer): Buffer {
    if (!this.#limit || this.#limit.left >= chunk.length) {
      if (this.#limit) this.#limit.left -= chunk.length
      return chunk
    }
    this.#limit.onCut()
    return chunk.subarray(0, this.#limit.left)
  }
}
