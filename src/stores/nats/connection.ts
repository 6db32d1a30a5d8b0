import type * as transport from '@nats-io/transport-node'
import { turnlogError } from '../../errors.ts'

/** What is needed of a connection to NATS: that of `@nats-io/transport-node` and `wsconnect` have it. */
export interface NatsConnection {
  readonly info?: { readonly max_payload: number } | undefined
  publish(subject: string, payload?: Uint8Array | string, options?: { readonly reply?: string }): void
  request(
    subject: string,
    payload?: Uint8Array | string,
    options?: { readonly timeout: number; readonly headers?: object }
  ): Promise<NatsMessage>
  subscribe(
    subject: string,
    options?: { readonly callback?: (error: Error | null, message: NatsMessage) => void }
  ): NatsSubscription
  status(): AsyncIterable<{ readonly type: string }>
  isClosed(): boolean
  close(): Promise<void>
}

/** A message as the connection gives it. */
export interface NatsMessage {
  readonly subject: string
  readonly reply?: string | undefined
  readonly data: Uint8Array
  readonly headers?: { readonly code: number; get(name: string): string } | undefined
}

/** What ends a subscription. */
export interface NatsSubscription {
  unsubscribe(): void
}

/** An answer of JetStream that says no; `code` is its `err_code`. */
export class JetStreamError extends Error {
  readonly code: number
  constructor({ err_code, description }: { readonly err_code?: number; readonly description?: string }) {
    super(`${description ?? 'JetStream refused'} (${err_code ?? 'no code'})`)
    this.code = err_code ?? 0
  }
}

/** Codes that are told apart here. @see https://github.com/nats-io/nats-server/blob/main/server/errors.json */
export const CODES = { noMessage: 10037, noStream: 10059, wrongSequence: 10071, unavailable: 10008 } as const

/** The end of a call that was under way when the connection broke, or that nobody answered. */
type Outcome = 'not-stored' | 'unknown'

export interface ConnectionSettings {
  readonly servers: readonly string[] | undefined
  readonly connection: NatsConnection | undefined
  readonly options: object | undefined
  readonly timeoutMs: number
}

type Driver = Pick<typeof transport, 'connect' | 'headers' | 'createInbox'>

export const API = '$JS.API'

/** A connection to NATS that tells what became of each request: also of those that were under way when it broke. */
export class Connection {
  readonly #nats: NatsConnection
  readonly #driver: Driver
  readonly #isOwn: boolean
  readonly #timeoutMs: number
  /** What ends those who wait for an answer. */
  readonly #waiting = new Set<(error: Error) => void>()
  /** What goes on when there is a connection again. */
  readonly #resuming = new Set<() => void>()
  readonly #onReconnect = new Set<() => void>()
  #isConnected = true
  #isEnded = false
  #maxPayload: number

  /** @throws `STORE_UNAVAILABLE` */
  static async open({ servers, connection, options, timeoutMs }: ConnectionSettings): Promise<Connection> {
    const driver = await loadDriver()
    if (connection) return new Connection(connection, driver, false, timeoutMs)
    let own: NatsConnection
    try {
      own = await driver.connect({
        timeout: timeoutMs,
        reconnectTimeWait: 100,
        reconnectJitter: 100,
        // A server that no longer answers is noticed, and left for another.
        pingInterval: 2_000,
        maxPingOut: 2,
        ...options,
        servers: [...servers!],
        maxReconnectAttempts: -1,
        noAsyncTraces: true
      })
    } catch (error) {
      throw failure(`cannot be reached: ${(error as Error).message}`, 'not-stored', error)
    }
    return new Connection(own, driver, true, timeoutMs)
  }

  constructor(nats: NatsConnection, driver: Driver, isOwn: boolean, timeoutMs: number) {
    this.#nats = nats
    this.#driver = driver
    this.#isOwn = isOwn
    this.#timeoutMs = timeoutMs
    this.#maxPayload = nats.info?.max_payload ?? 2 ** 20
    void this.#follow()
  }

  /** The most bytes that a message may have, with its headers. */
  get maxPayload(): number {
    return this.#maxPayload
  }

  get isClosed(): boolean {
    return this.#nats.isClosed()
  }

  /** Calls `resume` each time that there is a connection again; what it gives ends that. */
  onReconnect(resume: () => void): () => void {
    this.#onReconnect.add(resume)
    return () => this.#onReconnect.delete(resume)
  }

  /** Asks the server's API. @throws {JetStreamError} at a no, `STORE_UNAVAILABLE` with `outcome` where no answer comes */
  async api<T>(call: string, question: object, outcome: Outcome = 'not-stored', timeoutMs?: number): Promise<T> {
    const { data } = await this.#request(`${API}.${call}`, JSON.stringify(question), undefined, outcome, timeoutMs)
    return answerIn(data) as T
  }

  /** Stores a message. @throws as `api`; the outcome is `unknown` where no answer comes */
  async store(
    subject: string,
    body: Uint8Array,
    headers: Readonly<Record<string, string>>
  ): Promise<{ readonly seq: number; readonly duplicate?: boolean }> {
    const given = this.#driver.headers()
    for (const [name, value] of Object.entries(headers)) given.set(name, value)
    const { data } = await this.#request(subject, body, given, 'unknown')
    return answerIn(data) as { readonly seq: number; readonly duplicate?: boolean }
  }

  /** Messages to an inbox of its own, and a way to ask for them. */
  inbox(receive: (message: NatsMessage) => void): { readonly subject: string; readonly end: () => void } {
    const subject = this.#driver.createInbox()
    const subscription = this.subscribe(subject, receive)
    return { subject, end: subscription }
  }

  subscribe(subject: string, receive: (message: NatsMessage) => void): () => void {
    const subscription = this.#nats.subscribe(subject, {
      callback: (error, message) => {
        if (!error) receive(message)
      }
    })
    return () => {
      if (!this.#nats.isClosed()) subscription.unsubscribe()
    }
  }

  publish(subject: string, payload?: string, reply?: string): void {
    if (!this.#nats.isClosed()) this.#nats.publish(subject, payload, reply === undefined ? undefined : { reply })
  }

  /** Settles as `answer`, or is rejected when the connection breaks. */
  whileConnected<T>(
    answer: (reject: (error: Error) => void, resolve: (value: T) => void) => void,
    outcome: Outcome
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const waiting = this.#waiting
      function broken(error: Error): void {
        waiting.delete(broken)
        reject(failure(error.message, outcome, error))
      }
      waiting.add(broken)
      answer(
        (error) => {
          waiting.delete(broken)
          reject(error)
        },
        (value) => {
          waiting.delete(broken)
          resolve(value)
        }
      )
    })
  }

  /** Ends the connection, unless it is the user's, and those who wait. */
  async close(): Promise<void> {
    this.#isEnded = true
    this.#break('the store was closed')
    for (const resume of this.#resuming) resume()
    this.#onReconnect.clear()
    if (this.#isOwn) await this.#nats.close().catch(() => undefined)
  }

  async #request(
    subject: string,
    payload: Uint8Array | string,
    headers: object | undefined,
    outcome: Outcome,
    timeoutMs = this.#timeoutMs
  ): Promise<NatsMessage> {
    if (!this.#isConnected) await this.#reconnected(timeoutMs)
    if (this.#isEnded || this.#nats.isClosed()) throw failure('the connection is closed', 'not-stored')
    return this.whileConnected<NatsMessage>((reject, resolve) => {
      const options = headers ? { timeout: timeoutMs, headers } : { timeout: timeoutMs }
      this.#nats.request(subject, payload, options).then(resolve, (error: unknown) => {
        // Nobody listens: it went nowhere.
        const isUnheard = isNoResponders(error)
        const what = isUnheard ? 'JetStream does not answer here' : (error as Error).message
        reject(failure(what, isUnheard ? 'not-stored' : outcome, error))
      })
    }, outcome)
  }

  async #reconnected(timeoutMs: number): Promise<void> {
    const isBack = await new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => end(false), timeoutMs)
      const resume = (): void => end(true)
      const end = (value: boolean): void => {
        clearTimeout(timer)
        this.#resuming.delete(resume)
        resolve(value)
      }
      this.#resuming.add(resume)
    })
    if (!isBack) throw failure('there is no connection', 'not-stored')
  }

  async #follow(): Promise<void> {
    for await (const { type } of this.#nats.status()) {
      if (this.#isEnded) return
      if (type === 'disconnect' || type === 'close') {
        this.#isConnected = false
        this.#break('the connection broke')
      } else if (type === 'reconnect') {
        this.#isConnected = true
        this.#maxPayload = this.#nats.info?.max_payload ?? this.#maxPayload
        for (const resume of [...this.#resuming, ...this.#onReconnect]) resume()
      }
    }
  }

  #break(why: string): void {
    const error = new Error(why)
    for (const end of this.#waiting) end(error)
  }
}

/** An error of ours: `what` of NATS, and what became of the call. */
export function failure(what: string, outcome: Outcome, cause?: unknown): Error {
  return turnlogError('STORE_UNAVAILABLE', `NATS failed: ${what}`, { outcome }, { cause })
}

function answerIn(data: Uint8Array): unknown {
  const answer = JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString()) as {
    readonly error?: { readonly err_code?: number; readonly description?: string }
  }
  if (answer.error) throw new JetStreamError(answer.error)
  return answer
}

function isNoResponders(error: unknown): boolean {
  const { name, cause } = (error ?? {}) as { readonly name?: string; readonly cause?: { readonly name?: string } }
  return name === 'NoRespondersError' || cause?.name === 'NoRespondersError'
}

async function loadDriver(): Promise<Driver> {
  try {
    return await import('@nats-io/transport-node')
  } catch (error) {
    throw failure('it needs a driver: install @nats-io/transport-node (3)', 'not-stored', error)
  }
}
