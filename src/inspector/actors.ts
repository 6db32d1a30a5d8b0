import type { InspectionEvent, InspectionObserver } from '../options.ts'
import { fitting } from './cut.ts'
import type { ActorEvent, ActorLine, Actors } from './wire.ts'

/** How many events are kept, and how many actors are shown. */
const EVENTS = 500
const ACTORS = 500
/** Ids may be long: of each, fewer are given where they take more. */
const BYTES = 90_000

/**
 * Remembers what the actors of a service do, for the inspector to show: the actors that run, and the newest 500 events; of events their types
 * alone. It goes as `inspect` to `createSessionHistory`, and as `actors` to `startInspector`; of one service, as it can be watched by one.
 *
 * @example
 * const actors = new ActorLog()
 * const history = await createSessionHistory({ inspect: actors })
 * const inspector = await startInspector(history, { actors })
 */
export class ActorLog implements InspectionObserver {
  readonly #actors = new Map<string, ActorLine>()
  readonly #events: ActorEvent[] = []
  readonly #listeners = new Set<() => void>()
  #count = 0

  /** Is told by xstate of every actor, event and snapshot. */
  next = ({ type, actorRef, event, snapshot }: InspectionEvent): void => {
    const { sessionId: ref, id = '' } = actorRef
    const known = this.#actors.get(ref) ?? { ref, id, status: '', events: 0 }
    const { status, context } = (snapshot ?? {}) as { readonly status?: string; readonly context?: Partial<ActorLine> }
    const actor = {
      ...known,
      ...(context?.status !== undefined && { status: context.status }),
      ...(context?.version !== undefined && { version: context.version }),
      ...(context?.waiting !== undefined && { waiting: context.waiting }),
      events: known.events + (type === '@xstate.event' ? 1 : 0)
    }
    this.#actors.delete(ref)
    // Of its end there is no event, only the last snapshot.
    const isOver = event?.type === 'xstate.stop' || (status !== undefined && status !== 'active')
    if (!isOver) this.#actors.set(ref, actor)
    if (type === '@xstate.event' || isOver) {
      this.#events.push({ number: ++this.#count, at: Date.now(), ref, id, type: event?.type ?? '' })
      if (this.#events.length > 2 * EVENTS) this.#events.splice(0, EVENTS)
    }
    for (const listener of this.#listeners) listener()
  }

  /** What there is to show: those that did something last, and the events after `after`. */
  state(after: number): Actors {
    const actors = [...this.#actors.values()].slice(-ACTORS).toReversed()
    const events = this.#events.slice(-EVENTS).filter(({ number }) => number > after)
    return {
      running: this.#actors.size,
      actors: fitting(actors, BYTES).kept,
      events: fitting(events.toReversed(), BYTES).kept.toReversed()
    }
  }

  /** Calls `listener` whenever there is something new, until it is called off. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}
