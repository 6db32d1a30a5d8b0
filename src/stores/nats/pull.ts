import { API, failure, JetStreamError, refused, type Connection, type NatsMessage } from './connection.ts'
import type { Place } from './layout.ts'
import { HEADER, parseNote, type Stored } from './records.ts'

/** How many messages are asked for at once, and of how many bytes. */
const BATCH = 256
const BATCH_BYTES = 4 * 2 ** 20

/** How long a consumer stays that nobody asks, in ns. */
const IDLE_NS = 30e9

/** How long a batch may be waited for, and how long a replica that is behind. */
const PATIENCE_MS = 5_000
const LAG_MS = 1_000

/** The status that ends a request after its time. */
const EXPIRED = 408

/**
 * The messages that a consumer of `config` gives, in pages: those that there are now; where `upTo` is given, it waits for a while
 * for a replica that is behind to have that sequence.
 *
 * @throws `STORE_UNAVAILABLE`
 */
export async function* pull(
  connection: Connection,
  stream: string,
  config: object,
  upTo?: number
): AsyncGenerator<readonly Stored[]> {
  const consumer = await create(connection, stream, config)
  let timer: NodeJS.Timeout | undefined
  let receive: (message: NatsMessage) => void = () => undefined
  const inbox = connection.inbox((message) => receive(message))
  const bytes = Math.max(BATCH_BYTES, 2 * connection.maxPayload)
  try {
    let pending = consumer.num_pending
    let last = 0
    let delivered = 0
    while (pending > 0 || (upTo !== undefined && last < upTo)) {
      const wanted = Math.min(BATCH, Math.max(pending, 1))
      const waitMs = pending > 0 ? PATIENCE_MS : LAG_MS
      const page: Stored[] = []
      const batch = connection.whileConnected<void>((reject, resolve) => {
        timer = setTimeout(() => reject(failure('a consumer does not answer', 'not-stored')), waitMs + 1_000)
        receive = (message) => {
          const position = positionOf(message)
          if (position) {
            if (++delivered !== position.delivery) reject(failure('messages were lost on the way', 'not-stored'))
            last = position.seq
            pending = position.pending
            page.push(storedOf(message, last))
            if (page.length === wanted) resolve()
          } else if (page.length > 0 || message.headers?.code === EXPIRED) resolve()
          else reject(failure(`a consumer has ended (${message.headers?.code})`, 'not-stored'))
        }
        const request = JSON.stringify({ batch: wanted, max_bytes: bytes, expires: waitMs * 1e6 })
        connection.publish(`${API}.CONSUMER.MSG.NEXT.${stream}.${consumer.name}`, request, inbox.subject)
      }, 'not-stored')
      await batch.finally(() => clearTimeout(timer))
      if (page.length === 0) return
      yield page
    }
  } finally {
    inbox.end()
    remove(connection, stream, consumer)
  }
}

interface Consumer {
  readonly name: string
  readonly num_pending: number
}

// In a cluster it is put on any server, for half a minute also on one that is gone, and then nobody answers: so it is asked for again and
// again, until one answers; others that do are removed.
async function create(connection: Connection, stream: string, settings: object): Promise<Consumer> {
  const more = { ack_policy: 'none', inactive_threshold: IDLE_NS, mem_storage: true, num_replicas: 1 }
  const question = { stream_name: stream, config: { ...settings, ...more } }
  let [tries, unanswered, isOver] = [0, 0, false]
  let timer: NodeJS.Timeout | undefined
  const end = (): void => {
    isOver = true
    clearTimeout(timer)
  }
  return new Promise<Consumer>((resolve, reject) => {
    const ask = (): void => {
      unanswered++
      clearTimeout(timer)
      if (++tries < TRIES) timer = setTimeout(ask, TRY_MS)
      connection.api<Consumer>(`CONSUMER.CREATE.${stream}`, question).then(
        (consumer) => {
          if (isOver) return remove(connection, stream, consumer)
          end()
          resolve(consumer)
        },
        (error: unknown) => {
          unanswered--
          if (isOver) return
          if (error instanceof JetStreamError || (unanswered === 0 && tries === TRIES)) {
            end()
            reject(refused(error))
          } else if (unanswered === 0) ask()
        }
      )
    }
    ask()
  })
}

function remove(connection: Connection, stream: string, { name }: Consumer): void {
  connection.api(`CONSUMER.DELETE.${stream}.${name}`, {}).catch(() => undefined)
}

/** How often a consumer is asked for, and how long after each other. */
const TRIES = 15
const TRY_MS = 300

/** The newest message of each subject that fits, without its body, oldest first, in pages; as the server has them that a consumer falls on. */
export function newestOfEach(connection: Connection, { stream, subject }: Place): AsyncGenerator<readonly Stored[]> {
  return pull(connection, stream, { filter_subject: subject, deliver_policy: 'last_per_subject', headers_only: true })
}

/** Where in its stream a message of a consumer is; `undefined` where it is none, but the server's word. */
export function positionOf({
  reply
}: NatsMessage): { readonly seq: number; readonly delivery: number; readonly pending: number } | undefined {
  // $JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<delivery>.<time>.<pending>, with two more before the stream and one at
  // the end where there are domains.
  const parts = reply?.split('.') ?? []
  if (parts[1] !== 'ACK') return undefined
  const first = parts.length > 9 ? 7 : 5
  return { seq: Number(parts[first]), delivery: Number(parts[first + 1]), pending: Number(parts[first + 3]) }
}

function storedOf(message: NatsMessage, seq: number): Stored {
  return { subject: message.subject, seq, note: parseNote(message.headers!.get(HEADER)), body: message.data }
}
