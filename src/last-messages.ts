import { upcast, type SessionEvent, type StoredEvent } from './event.ts'
import { idIn } from './content.ts'
import type { Json } from './json.ts'
import type { EventStore } from './store.ts'

/** How many events are read at first; then twice as many each time. */
const FIRST_STEP = 64
const LARGEST_STEP = 1_024

/**
 * The newest `count` messages that a live session has at a version, oldest first, read from the end of its log: back over rewinds
 * and truncations, and from forks into their parents. Frozen. `undefined` where the end does not tell: not every truncation
 * says how many messages it has dropped.
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
  const kept: Layer = { left: count, replaced: new Map() }
  // Of the messages that are met next, those of the last layer come first: each truncation adds one, of what it has dropped.
  const layers = [kept]
  const take = (message: Json): void => {
    const layer = layers.at(-1)!
    const id = idIn(message)
    const become = id === undefined ? undefined : layer.replaced.get(id)
    if (become !== undefined) layer.replaced.delete(id!)
    if (layer === kept) newestFirst.push(become ?? message)
    layer.left--
    if (layer === kept || layer.left > 0) return
    layers.pop()
    // What has been replaced and not been met is further down; what was put there since came later.
    const { replaced } = layers.at(-1)!
    for (const [other, content] of layer.replaced) if (!replaced.has(other)) replaced.set(other, content)
  }
  for (let at = version; at > 0 && kept.left > 0;) {
    const event = await log.event(at)
    if (event === undefined) return undefined
    at--
    switch (event?.type) {
      case 'message-appended':
        take(event.data.message)
        break
      case 'message-replaced': {
        const id = idIn(event.data.message)
        const { replaced } = layers.at(-1)!
        if (id !== undefined && !replaced.has(id)) replaced.set(id, event.data.message)
        break
      }
      case 'rewound':
        at = event.data.toVersion
        break
      case 'messages-truncated': {
        const { length, dropped } = event.data
        if (length === 0) at = 0
        else if (dropped === undefined) return undefined
        else if (dropped > 0) layers.push({ left: dropped, replaced: new Map() })
        break
      }
      case 'created': {
        const { messages = [], forkedFrom, parentLogId } = event.data
        for (let i = messages.length - 1; i >= 0 && kept.left > 0; i--) take(messages[i]!)
        at = 0
        if (forkedFrom && parentLogId !== undefined) {
          log.goTo(parentLogId)
          at = forkedFrom.version
        }
      }
    }
  }
  return Object.freeze(newestFirst.toReversed())
}

/** Messages that stand together and share a fate: to be dropped, or to be kept. */
interface Layer {
  /** How many of them are still to be met. */
  left: number
  /** What the last of an id among them or before them has become, until that is met. */
  readonly replaced: Map<string, Json>
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
