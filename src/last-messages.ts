import { upcast, type SessionEvent, type StoredEvent } from './event.ts'
import { idIn } from './content.ts'
import type { Json } from './json.ts'
import type { EventStore } from './store.ts'

/** How many events are read at first; then twice as many each time. */
const FIRST_STEP = 64
const LARGEST_STEP = 1_024

/**
 * The newest `count` messages that a live session has at a version, oldest first, read from the end of its log: back over rewinds,
 * and from forks into their parents. `undefined` where the end does not tell: of what a truncation has left, only the
 * beginning of the log knows the end.
 *
 * @throws what the store throws; `UNKNOWN_EVENT`
 */
export async function readLastMessages(
  store: EventStore,
  logId: string,
  version: number,
  count: number
): Promise<readonly Json[] | undefined> {
  const log = new BackwardLog(store, logId)
  const newestFirst: Json[] = []
  // What the last message of an id has become, until that message is met.
  const replaced = new Map<string, Json>()
  const take = (message: Json): void => {
    const id = idIn(message)
    const become = id === undefined ? undefined : replaced.get(id)
    newestFirst.push(become ?? message)
    if (become !== undefined) replaced.delete(id!)
  }
  for (let at = version; at > 0 && newestFirst.length < count;) {
    const event = await log.event(at)
    if (event === undefined) return undefined
    at--
    switch (event?.type) {
      case 'message-appended':
        take(event.data.message)
        break
      case 'message-replaced': {
        const id = idIn(event.data.message)
        if (id !== undefined && !replaced.has(id)) replaced.set(id, event.data.message)
        break
      }
      case 'rewound':
        at = event.data.toVersion
        break
      case 'messages-truncated':
        if (event.data.length > 0) return undefined
        at = 0
        break
      case 'created': {
        const { messages = [], forkedFrom, parentLogId } = event.data
        for (const message of messages.slice(Math.max(0, messages.length - count)).toReversed()) take(message)
        at = 0
        if (forkedFrom && parentLogId !== undefined) {
          log.goTo(parentLogId)
          at = forkedFrom.version
        }
      }
    }
  }
  return newestFirst.slice(0, count).toReversed()
}

/** Events one by one, of which those before are asked for next; read in steps that grow. */
class BackwardLog {
  readonly #store: EventStore
  #logId: string
  #events: StoredEvent[] = []
  #first = 0
  #step = FIRST_STEP

  constructor(store: EventStore, logId: string) {
    this.#store = store
    this.#logId = logId
  }

  goTo(logId: string): void {
    this.#logId = logId
    this.#events = []
  }

  /** `null`: one to pass over; `undefined`: there is none. */
  async event(version: number): Promise<SessionEvent<Json> | null | undefined> {
    if (!this.#events[version - this.#first]) {
      this.#first = Math.max(1, version - this.#step + 1)
      this.#step = Math.min(2 * this.#step, LARGEST_STEP)
      this.#events = []
      const range = { from: this.#first, to: version }
      for await (const page of this.#store.read(this.#logId, range)) this.#events.push(...page)
    }
    const stored = this.#events[version - this.#first]
    if (stored?.version !== version) return undefined
    return upcast(stored) as SessionEvent<Json> | null
  }
}
