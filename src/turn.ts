import { misuse, optionsOf } from './arguments.ts'
import type { Change, InputOf, WriteOptions } from './calls.ts'
import { backgroundTimer, type Clock } from './clock.ts'
import { isTurnlogError, turnlogError } from './errors.ts'
import type { Message } from './message.ts'
import type { Session } from './session.ts'
import type { TurnHolder } from './open-turn.ts'

/**
 * The right to write to a session: as long as it is open, every commit that is not its own is `TURN_BUSY`, or waits. Reads
 * and forks are free; deleting, purging and starting over end it. It expires `ttlMs` after its newest event; its holder may
 * still go on then, until somebody else has written. What a turn has written stays when it expires or is taken over: only its
 * own `abort` sets it back.
 *
 * Its calls throw `TURN_FENCED` when somebody else has written or holds a turn since it expired or was taken over, and
 * `TURN_ENDED` when its holder has ended it. Disposing a turn that is open aborts it, as long as the service is not stopped.
 */
export interface Turn<M = Message, Input = InputOf<M>> extends AsyncDisposable {
  readonly id: string
  /** The session after the newest of its writes. */
  readonly session: Session<M>
  /**
   * Aborted when the turn is fenced, expires or ends, or the service stops; the reason is a `TURN_FENCED`, whose message says
   * "has expired" where that is why, a `TURN_ENDED` or a `STOPPED`. Where another process has taken over, that is when this one
   * next reads or writes the session, or when the turn would have expired. It stays aborted, also where the turn goes on: a
   * holder may write after it has expired or after a restart, and the answers tell whether it is still in time.
   */
  readonly signal: AbortSignal
  /** As `commit` of the service, within the turn. */
  commit(changes: readonly Change<Input>[], options?: TurnWriteOptions): Promise<Session<M>>
  /** As `appendMessage`. */
  append(message: Input | readonly Input[], options?: TurnWriteOptions): Promise<Session<M>>
  /** As `putMessage`. */
  put(message: Input, options?: TurnWriteOptions): Promise<Session<M>>
  /** Puts the end off: it expires `ttlMs` from now. Writing does so, too. Stored as one more `turn-started`. */
  renew(): Promise<Session<M>>
  /** Lets others write. May be called again where it has failed with `STORE_UNAVAILABLE`. */
  end(): Promise<Session<M>>
  /** Ends it and sets the session back to where it began, in one commit; with `keep` it only ends. */
  abort(options?: { readonly keep?: boolean | undefined }): Promise<Session<M>>
}

/** Options of a turn's writes. */
export type TurnWriteOptions = Omit<WriteOptions, 'onBusy'>

/** Options of `beginTurn`. */
export interface TurnOptions {
  /**
   * What happens where another turn is open: `TURN_BUSY`, waiting for its end in order of arrival, or fencing its holder.
   * @default 'throw'
   */
  readonly onBusy?: 'throw' | 'wait' | 'takeover' | undefined
  /**
   * After how many ms without an event of the turn others may write: a whole number from 1. A turn expires at
   * 8,640,000,000,000,000 ms since the Unix epoch, the last date that there is, at the latest.
   * @default 60_000
   */
  readonly ttlMs?: number | undefined
  /** Who holds it: shown to others in `session.turn` and in their `TURN_BUSY`. */
  readonly owner?: string | undefined
  /** Cancels waiting. */
  readonly signal?: AbortSignal | undefined
}

/** What a turn asks of the service. */
export interface TurnService<M, Input> {
  append(message: Input | readonly Input[], options: WriteOptions | undefined): Promise<Session<M> | null>
  put(message: Input, options: WriteOptions | undefined): Promise<Session<M> | null>
  commit(changes: readonly Change<Input>[], options: WriteOptions | undefined): Promise<Session<M> | null>
  /** Stores that the turn has begun, or goes on. */
  start(mode: 'begin' | 'renewal'): Promise<Session<M>>
  end(outcome: 'completed' | 'aborted', setsBack: boolean): Promise<Session<M>>
}

/** A turn that was begun by this process. */
export class HeldTurn<M, Input> implements Turn<M, Input>, TurnHolder {
  readonly id: string
  readonly #service: TurnService<M, Input>
  readonly #clock: Clock
  /** Made, as its timer, only where somebody asks for the signal: they are as much work as a write. */
  #controller: AbortController | undefined
  /** Why the signal is aborted, or would be if there were one. */
  #reason: (() => unknown) | undefined
  #session: Session<M> | undefined
  #hasEnded = false
  #timer: unknown

  constructor(id: string, service: TurnService<M, Input>, clock: Clock) {
    this.id = id
    this.#service = service
    this.#clock = clock
  }

  get session(): Session<M> {
    return this.#session!
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#noteExpiry()
      this.#controller = new AbortController()
      if (this.#reason) this.#controller.abort(this.#reason())
      else this.#expireLater()
    }
    return this.#controller.signal
  }

  begin(): Promise<Session<M>> {
    return this.#write(() => this.#service.start('begin'))
  }

  renew(): Promise<Session<M>> {
    return this.#write(() => this.#service.start('renewal'))
  }

  append(message: Input | readonly Input[], options?: TurnWriteOptions): Promise<Session<M>> {
    return this.#write(() => this.#service.append(message, options))
  }

  put(message: Input, options?: TurnWriteOptions): Promise<Session<M>> {
    return this.#write(() => this.#service.put(message, options))
  }

  commit(changes: readonly Change<Input>[], options?: TurnWriteOptions): Promise<Session<M>> {
    return this.#write(() => this.#service.commit(changes, options))
  }

  end(): Promise<Session<M>> {
    return this.#end('completed', false)
  }

  async abort(options?: { readonly keep?: boolean | undefined }): Promise<Session<M>> {
    const { keep = false } = optionsOf(options)
    if (typeof keep !== 'boolean') throw misuse('keep', 'a boolean', keep)
    return this.#end('aborted', !keep)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#hasEnded) return
    try {
      await this.abort()
    } catch (error) {
      // It has ended, and there is nothing left to set back; or nobody can, as the service is stopped.
      const isOver = (['TURN_FENCED', 'TURN_ENDED', 'STOPPED'] as const).some((code) => isTurnlogError(error, code))
      if (!isOver) throw error
    }
  }

  noticeEnd(reason?: unknown): void {
    // Of an end that is under way its answer will tell whose it was.
    if (this.#hasEnded) return
    this.#noteExpiry()
    this.#over(() => reason ?? fenced(this.id, 'somebody else has ended it'))
  }

  async #write(call: () => Promise<Session<M> | null>): Promise<Session<M>> {
    if (this.#hasEnded) throw ended(this.id)
    const session = (await this.#noticing(call))!
    // A call that is repeated is answered with the session as of then.
    if (!this.#session || session.version >= this.#session.version) {
      this.#session = session
      this.#expireLater()
    }
    return session
  }

  async #end(outcome: 'completed' | 'aborted', setsBack: boolean): Promise<Session<M>> {
    if (this.#hasEnded) throw ended(this.id)
    this.#hasEnded = true
    try {
      this.#session = await this.#noticing(() => this.#service.end(outcome, setsBack))
    } catch (error) {
      // Where the end was not stored, it may be tried again; of a fenced turn the log says so each time.
      this.#hasEnded = false
      throw error
    }
    this.#over(() => ended(this.id))
    return this.#session
  }

  // What noticed the end may be gone: it does not outlast a stop of the service.
  async #noticing<T>(call: () => Promise<T>): Promise<T> {
    try {
      const answer = await call()
      this.#noteExpiry()
      return answer
    } catch (error) {
      this.#noteExpiry()
      if (isTurnlogError(error, 'TURN_FENCED') || isTurnlogError(error, 'TURN_ENDED')) this.#over(() => error)
      throw error
    }
  }

  // Whether somebody has asked for the signal in time or asks later, it says the same.
  #noteExpiry(): void {
    const turn = this.#session?.turn
    if (this.#reason || turn?.id !== this.id || this.#clock.now() < turn.expiresAt) return
    this.#over(() => fenced(this.id, 'it has expired'))
  }

  #expireLater(): void {
    // A timer that is too early by now looks again.
    if (!this.#controller || this.#reason || this.#timer !== undefined) return
    const { turn } = this.session
    if (turn?.id !== this.id) return
    const look = (): void => {
      this.#timer = undefined
      this.#noteExpiry()
      this.#expireLater()
    }
    this.#timer = backgroundTimer(this.#clock, look, turn.expiresAt - this.#clock.now())
  }

  #over(reason: () => unknown): void {
    this.#clock.clearTimeout(this.#timer)
    this.#reason ??= reason
    if (this.#controller && !this.#controller.signal.aborted) this.#controller.abort(this.#reason())
  }
}

function ended(turnId: string): Error {
  return turnlogError('TURN_ENDED', 'The turn was ended by its holder', { turnId })
}

function fenced(turnId: string, why: string): Error {
  return turnlogError('TURN_FENCED', `The turn is over: ${why}`, { turnId })
}
