import { turnlogError } from '../../errors.ts'

/** What is needed of a connection to NATS: that of `@nats-io/transport-node` and `wsconnect` have it. */
export interface NatsConnection {
  readonly info?: { readonly max_payload: number } | undefined
  publish(
    subject: string,
    payload?: Uint8Array | string,
    options?: { readonly reply?: string; readonly headers?: object }
  ): void
  subscribe(
    subject: string,
    options?: { readonly callback?: (error: Error | null, message: NatsMessage) => void }
  ): NatsSubscription
  status(): AsyncIterable<{ readonly type: string; readonly error?: unknown }>
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

/** Somebody who waits for an answer. */
interface Asked {
  readonly subject: string
  readonly answer: (message: NatsMessage) => void
  /** As `outcome` of the request, unless it says another. */
  readonly fail: (what: string, outcome?: Outcome, cause?: unknown) => void
}

/** The status of an answer that says that nobody listens. */
const NOBODY = 503

/** What is needed of `@nats-io/transport-node`; its own types would have to be there for whoever compiles against these. */
interface Driver {
  connect(options: object): Promise<NatsConnection>
  createInbox(): string
  readonly MsgHdrsImpl: { fromRecord(headers: Record<string, string[]>): object }
}

export const API = '$JS.API'

/** A connection to NATS that tells what became of each request: also of those that were under way when it broke. */
export class Connection {
  readonly #nats: NatsConnection
  readonly #driver: Driver
  readonly #isOwn: boolean
  readonly #timeoutMs: number
  /** Those who wait for an answer, by the end of the subject that it comes to. */
  readonly #asked = new Map<string, Asked>()
  readonly #inbox: { readonly subject: string; readonly end: () => void }
  #requests = 0
  /** What is sent together: then it is one write to the socket. */
  #unsent: (() => void)[] | undefined
  /** What ends those who wait for more than an answer. */
  readonly #waiting = new Set<(error: Error) => void>()
  /** What goes on when there is a connection again. */
  readonly #resuming = new Set<() => void>()
  readonly #onReconnect = new Set<() => void>()
  #isConnected = true
  /** Why no answer can be heard. */
  #denied: Error | undefined
  #isEnded = false
  #maxPayload: number

  /** @throws `STORE_UNAVAILABLE` */
  static async open({ servers, connection, options, timeoutMs }: ConnectionSettings): Promise<Connection> {
    const driver = await loadDriver()
    if (connection) {
      if (connection.isClosed()) throw failure('the connection is closed', 'not-stored')
      return new Connection(connection, driver, false, timeoutMs)
    }
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
    this.#inbox = this.inbox((message) => {
      const { subject, headers, data } = message
      const asked = this.#asked.get(subject.slice(subject.lastIndexOf('.') + 1))
      // Nobody listens: it went nowhere.
      if (data.length === 0 && headers?.code === NOBODY) asked?.fail('JetStream does not answer here', 'not-stored')
      else asked?.answer(message)
    }, '.*')
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
    headers: Record<string, string[]>
  ): Promise<{ readonly seq: number; readonly duplicate?: boolean }> {
    const given = this.#driver.MsgHdrsImpl.fromRecord(headers)
    const { data } = await this.#request(subject, body, given, 'unknown')
    return answerIn(data) as { readonly seq: number; readonly duplicate?: boolean }
  }

  /** Messages to an inbox of its own, and a way to ask for them. */
  inbox(receive: (message: NatsMessage) => void, rest = ''): { readonly subject: string; readonly end: () => void } {
    const subject = this.#driver.createInbox()
    return { subject, end: this.subscribe(`${subject}${rest}`, receive) }
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
    this.#inbox.end()
    if (this.#isOwn) await this.#nats.close().catch(() => undefined)
  }

  async #request(
    subject: string,
    payload: Uint8Array | string,
    headers: object | undefined,
    outcome: Outcome,
    timeoutMs = this.#timeoutMs
  ): Promise<NatsMessage> {
    if (!this.#isConnected && !this.#nats.isClosed()) await this.#reconnected(timeoutMs)
    if (this.#denied) throw failure(this.#denied.message, 'not-stored', this.#denied)
    if (this.#isEnded || this.#nats.isClosed()) throw failure('the connection is closed', 'not-stored')
    return new Promise((resolve, reject) => {
      const token = (this.#requests++).toString(36)
      const timer = setTimeout(() => fail(`no answer in ${timeoutMs} ms`, outcome), timeoutMs)
      const end = (): void => {
        clearTimeout(timer)
        this.#asked.delete(token)
      }
      const fail = (what: string, became: Outcome = outcome, cause?: unknown): void => {
        end()
        reject(failure(what, became, cause))
      }
      const answer = (message: NatsMessage): void => {
        end()
        resolve(message)
      }
      this.#asked.set(token, { subject, answer, fail })
      this.#send(() => {
        try {
          const reply = `${this.#inbox.subject}.${token}`
          this.#nats.publish(subject, payload, headers ? { reply, headers } : { reply })
        } catch (error) {
          fail((error as Error).message, 'not-stored', error)
        }
      })
    })
  }

  // One alone at once, several when all that is to be done now has been done.
  #send(publish: () => void): void {
    if (this.#unsent) this.#unsent.push(publish)
    else if (this.#asked.size === 1) publish()
    else {
      this.#unsent = [publish]
      setImmediate(() => {
        const unsent = this.#unsent!
        this.#unsent = undefined
        for (const each of unsent) each()
      })
    }
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
    for await (const { type, error } of this.#nats.status()) {
      if (this.#isEnded) return
      if (type === 'error') this.#deny(error)
      if (type === 'disconnect' || type === 'close') {
        this.#isConnected = false
        this.#break('the connection broke')
      } else if (type === 'reconnect') {
        this.#isConnected = true
        this.#denied = undefined
        this.#maxPayload = this.#nats.info?.max_payload ?? this.#maxPayload
        for (const resume of [...this.#resuming, ...this.#onReconnect]) resume()
      }
    }
  }

  // What is not allowed has no answer, but is told of: and was not done.
  #deny(error: unknown): void {
    if (!isDenial(error)) return
    const { operation, subject, message } = error
    if (operation === 'subscription' && subject.startsWith(this.#inbox.subject)) this.#denied = error
    for (const asked of this.#asked.values())
      if (this.#denied || (operation === 'publish' && asked.subject === subject))
        asked.fail(message, 'not-stored', error)
  }

  #break(why: string): void {
    const error = new Error(why)
    for (const { fail } of this.#asked.values()) fail(why)
    for (const end of this.#waiting) end(error)
  }
}

/** An error of ours: `what` of NATS, and what became of the call. */
export function failure(what: string, outcome: Outcome, cause?: unknown): Error {
  return turnlogError('STORE_UNAVAILABLE', `NATS failed: ${what}`, { outcome }, { cause })
}

/** Whether an error says that something is not allowed. */
export function isDenial(error: unknown): error is Error & { readonly operation: string; readonly subject: string } {
  return error instanceof Error && error.name === 'PermissionViolationError'
}

/** A no of the server is an error of ours: nothing was stored, unless it does not know itself. */
export function refused(error: unknown): unknown {
  if (!(error instanceof JetStreamError)) return error
  return failure(error.message, error.code === CODES.unavailable ? 'unknown' : 'not-stored', error)
}

function answerIn(data: Uint8Array): unknown {
  const answer = JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString()) as {
    readonly error?: { readonly err_code?: number; readonly description?: string }
  }
  if (answer.error) throw new JetStreamError(answer.error)
  return answer
}

async function loadDriver(): Promise<Driver> {
  try {
    return await import('@nats-io/transport-node')
  } catch (error) {
    throw failure('it needs a driver: install @nats-io/transport-node (3)', 'not-stored', error)
  }
}
