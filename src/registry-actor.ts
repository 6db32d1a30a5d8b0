import { createActor, type ActorOptions, type ActorRefFrom } from 'xstate'
import { fromContext } from './actor-logic.ts'
import { sessionLogic, type SessionActor, type SessionEnvironment, type SessionCall } from './session-actor.ts'
import { keyString, type SessionKey } from './store.ts'
import { backgroundTimer } from './clock.ts'

/** What the registry is made with. */
export interface RegistryInput {
  readonly environment: SessionEnvironment
  readonly maxActiveSessions: number
  readonly maxActiveBytes: number
  readonly idleMs: number
  readonly inspect: ActorOptions<typeof sessionLogic>['inspect']
}

/** Finds or starts the actor of a session and hands it the request; stops those that are idle or too many. */
export type RegistryActor = ActorRefFrom<typeof registryLogic>

export const registryLogic = fromContext(
  (context: RegistryContext, event: RegistryEvent, self) => context.after(event, self),
  (input: RegistryInput) => new RegistryContext(new Registry(input))
)

type RegistryEvent =
  | { readonly type: 'request'; readonly key: SessionKey; readonly request: SessionCall }
  | { readonly type: 'sweep' }
  /** More memory is taken than may be. */
  | { readonly type: 'crowded' }
  | { readonly type: 'release'; readonly reason: unknown }
  | { readonly type: 'stop' }

interface Entry {
  readonly actor: SessionActor
  /** When it last got a request, in ms of the clock. */
  usedAt: number
  /** Got a request since the hand passed it. */
  isRecent: boolean
}

/** What inspectors see of the registry: made anew with each event. */
class RegistryContext {
  readonly activeSessions: number
  /** About how much memory their logs take. */
  readonly activeBytes: number
  readonly #registry: Registry

  constructor(registry: Registry) {
    this.activeSessions = registry.activeSessions
    this.activeBytes = registry.activeBytes
    this.#registry = registry
  }

  /** Whether there is an actor of that session. */
  isActive(key: SessionKey): boolean {
    return this.#registry.isActive(key)
  }

  after(event: RegistryEvent, self: RegistryTarget): RegistryContext {
    this.#registry.receive(event, self)
    return new RegistryContext(this.#registry)
  }
}

type RegistryTarget = { send(event: RegistryEvent): void }

class Registry {
  readonly #sessions = new Map<string, Entry>()
  // Second chance, the hand of a clock going round: an order by last use would cost a delete and a set of the map on each request,
  // which is slow on a key that is hot.
  #next: MapIterator<[string, Entry]> = this.#sessions.entries()
  #sweepTimer: unknown
  activeBytes = 0
  /** The one that got the latest request. */
  #latest: Entry | undefined
  #isCrowded = false
  readonly #environment: SessionEnvironment
  readonly #input: RegistryInput
  #self!: RegistryTarget

  constructor(input: RegistryInput) {
    this.#input = input
    this.#environment = { ...input.environment, onMemory: (bytes) => this.#noteMemory(bytes) }
  }

  isActive(key: SessionKey): boolean {
    return this.#sessions.has(keyString(key))
  }

  get activeSessions(): number {
    return this.#sessions.size
  }

  receive(event: RegistryEvent, self: RegistryTarget): void {
    this.#self = self
    // Thrown from here, an error of the clock would end the actor and leave the caller waiting.
    try {
      switch (event.type) {
        case 'request':
          this.#hand(event.key, event.request)
          break
        case 'release':
          for (const { actor } of this.#sessions.values()) actor.send(event)
          break
        case 'sweep':
          this.#sweep()
          break
        case 'crowded':
          this.#isCrowded = false
          // Not the one that is being used: where it alone takes too much, it would be read anew for each call.
          this.#makeRoom(0, this.#latest)
          break
        case 'stop':
          this.#stop()
      }
    } catch (error) {
      if (event.type === 'request') event.request.reject(error)
    }
  }

  #hand(key: SessionKey, request: SessionCall): void {
    const name = keyString(key)
    let entry = this.#sessions.get(name)
    if (!entry) {
      if (this.#sessions.size >= this.#input.maxActiveSessions) this.#makeRoom(1)
      entry = { actor: this.#begin(key), usedAt: 0, isRecent: false }
      this.#sessions.set(name, entry)
    } else entry.isRecent = true
    this.#latest = entry
    entry.usedAt = this.#input.environment.clock.now()
    this.#sweepTimer ??= this.#sweepAfter(this.#input.idleMs)
    entry.actor.send(request)
  }

  // Stops sessions that have been idle for so long, and comes back when the next one may be.
  #sweep(): void {
    const { environment, idleMs } = this.#input
    this.#sweepTimer = undefined
    const now = environment.clock.now()
    let oldest = Infinity
    for (const [name, { actor, usedAt }] of this.#sessions) {
      if (now - usedAt >= idleMs && isIdle(actor)) this.#end(name, actor)
      else oldest = Math.min(oldest, usedAt)
    }
    this.#sweepTimer = oldest === Infinity ? undefined : this.#sweepAfter(Math.max(oldest + idleMs - now, idleMs / 10))
  }

  #stop(): void {
    this.#input.environment.clock.clearTimeout(this.#sweepTimer)
    this.#sweepTimer = undefined
    for (const [name, { actor }] of this.#sessions) this.#end(name, actor)
  }

  #begin(key: SessionKey): SessionActor {
    const { inspect } = this.#input
    // A root of its own: a child of this actor could not be stopped, and spawning costs by the number of children.
    const options = { input: { key, environment: this.#environment }, id: `${key.userId}/${key.sessionId}` }
    return createActor(sessionLogic, inspect ? { ...options, inspect } : options).start()
  }

  #end(name: string, actor: SessionActor): void {
    this.activeBytes -= actor.getSnapshot().context.bytes
    actor.stop()
    this.#sessions.delete(name)
    if (this.#latest?.actor === actor) this.#latest = undefined
  }

  // Gives up after some steps, so that a round in which all are busy or recent is paid for by many calls.
  #makeRoom(places: number, spared?: Entry): void {
    const { maxActiveSessions, maxActiveBytes } = this.#input
    const isFull = (): boolean => this.#sessions.size + places > maxActiveSessions || this.activeBytes > maxActiveBytes
    for (let left = 64; left > 0 && isFull(); left--) {
      let next = this.#next.next()
      if (next.done) next = (this.#next = this.#sessions.entries()).next()
      if (next.done) return
      const [name, entry] = next.value
      if (!entry.isRecent && entry !== spared && isIdle(entry.actor)) this.#end(name, entry.actor)
      else entry.isRecent = false
    }
  }

  // Told in the middle of an actor's work, which may be what takes the memory: room is made after it.
  #noteMemory(bytes: number): void {
    this.activeBytes += bytes
    if (this.activeBytes <= this.#input.maxActiveBytes || this.#isCrowded) return
    this.#isCrowded = true
    this.#self.send({ type: 'crowded' })
  }

  #sweepAfter(ms: number): unknown {
    if (ms === Infinity) return undefined
    return backgroundTimer(this.#input.environment.clock, () => this.#self.send({ type: 'sweep' }), ms)
  }
}

function isIdle(actor: SessionActor): boolean {
  return actor.getSnapshot().context.isIdle
}
