import { API, JetStreamError, type Connection } from './connection.ts'
import { positionOf } from './pull.ts'

/** How often the server says that it is there, and after how long without a word it is asked anew. */
const HEARTBEAT_MS = 1_000
const SILENCE_MS = 3_000

/** How often a consumer is asked for, and how long each but the last of these may take. */
const TRIES = 6
const TRY_MS = 1_000

const CONFIG = {
  ack_policy: 'none',
  deliver_policy: 'by_start_sequence',
  headers_only: true,
  flow_control: true,
  idle_heartbeat: HEARTBEAT_MS * 1e6,
  mem_storage: true,
  num_replicas: 1
}

/**
 * Tells of each message that is stored in a stream from now on, by a consumer that is made anew when it has gone: with the connection, with its
 * server, or because messages were lost.
 */
export class Feed {
  /** When it tells of all that is stored. */
  readonly started: Promise<void>
  readonly #connection: Connection
  readonly #stream: string
  readonly #tell: (subject: string, seq: number) => void
  readonly #tellAll: () => void
  readonly #endReconnect: () => void
  #endInbox: (() => void) | undefined
  #consumer: string | undefined
  #timer: NodeJS.Timeout | undefined
  /** The newest message that was told of. */
  #seen: number | undefined
  #hasEnded = false

  /** `tell` gets the subject and the sequence; `tellAll` is called when anything may have happened. */
  constructor(
    connection: Connection,
    stream: string,
    tell: (subject: string, seq: number) => void,
    tellAll: () => void
  ) {
    this.#connection = connection
    this.#stream = stream
    this.#tell = tell
    this.#tellAll = tellAll
    this.#endReconnect = connection.onReconnect(() => this.#restart())
    this.started = this.#begin()
    this.started.catch(() => this.end())
  }

  end(): void {
    this.#hasEnded = true
    this.#endReconnect()
    this.#stop()
  }

  async #begin(): Promise<void> {
    if (this.#seen === undefined) {
      const { state } = await this.#connection.api<{ readonly state: { readonly last_seq: number } }>(
        `STREAM.INFO.${this.#stream}`,
        {}
      )
      this.#seen = state.last_seq
    }
    for (let tries = 1; ; tries++) {
      this.#stop()
      const deliver_subject = this.#receive()
      try {
        const { name } = await this.#connection.api<{ readonly name: string }>(
          `CONSUMER.CREATE.${this.#stream}`,
          { stream_name: this.#stream, config: { ...CONFIG, opt_start_seq: this.#seen + 1, deliver_subject } },
          'not-stored',
          tries < TRIES ? TRY_MS : undefined
        )
        this.#consumer = name
        break
      } catch (error) {
        // It may have been put where nobody is any more.
        if (tries === TRIES || this.#hasEnded || error instanceof JetStreamError) throw error
      }
    }
    if (this.#hasEnded) this.#stop()
    else this.#listen()
  }

  // At an inbox of its own, where nothing comes of a consumer before it.
  #receive(): string {
    let delivered = 0
    const inbox = this.#connection.inbox((message) => {
      this.#listen()
      const position = positionOf(message)
      if (position) {
        // What was lost comes again from a new consumer.
        if (++delivered !== position.delivery) return this.#restart()
        this.#seen = position.seq
        this.#tell(message.subject, position.seq)
      } else if (message.headers?.code === HEARTBEAT) {
        if (message.reply) this.#connection.publish(message.reply)
        const last = message.headers.get('Nats-Last-Consumer')
        if (last !== '' && Number(last) !== delivered) this.#restart()
      }
    })
    this.#endInbox = inbox.end
    return inbox.subject
  }

  #restart(): void {
    if (this.#hasEnded) return
    this.#begin().then(
      () => this.#tellAll(),
      // No connection, or no leader: once more when it was silent for as long again.
      () => this.#listen()
    )
  }

  #listen(): void {
    clearTimeout(this.#timer)
    if (!this.#hasEnded) this.#timer = setTimeout(() => this.#restart(), SILENCE_MS)
  }

  #stop(): void {
    clearTimeout(this.#timer)
    this.#endInbox?.()
    this.#endInbox = undefined
    if (this.#consumer !== undefined)
      this.#connection.publish(`${API}.CONSUMER.DELETE.${this.#stream}.${this.#consumer}`)
    this.#consumer = undefined
  }
}

/** The status of a word of the server between messages: that it is there, or with an address to answer to, that it waits. */
const HEARTBEAT = 100
