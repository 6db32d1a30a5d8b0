import type { Change, InputOf, SessionRef, WriteOptions } from './calls.ts'
import { backgroundTimer, type Clock } from './clock.ts'
import { isTurnlogError, turnlogError } from './errors.ts'
import type { Message } from './message.ts'
import type { Session } from './session.ts'

/**
 * The right to write to a session: as long as it is open, every commit that is not its own is `TURN_BUSY`, or waits. Reads
 * and forks are free; deleting, purging and starting over end it. It expires `ttlMs` after its newest event; its holder may
 * still go on then, until somebody else has written.
 *
 * Its calls throw `TURN_FENCED` when somebody else has written or holds a turn since it expired or was taken over, and
 * `TURN_ENDED` when its holder has ended it. Disposing a turn that is open aborts it.
 */
export interface Turn<M = Message, Input = InputOf<M>> extends AsyncDisposable {
  readonly id: string
  /** The session after the newest of its writes. */
  readonly session: Session<M>
  /**
   * Aborted when the turn is fenced, expires or ends; the reason is a `TURN_FENCED` or `TURN_ENDED`. Where another process has
   * taken over, that is when this one next reads or writes the session, or when the turn would have expired.
   */
  readonly signal: AbortSignal
  /** As `commit` of the service, within the turn. */
  commit(changes: readonly Change<Input>[], options?: TurnWriteOptions): Promise<Session<M>>
  /** As `appendMessage`. */
  append(message: Input | readonly Input[], options?: TurnWriteOptions): Promise<Session<M>>
  /** As `putMessage`. */
  put(message: Input, options?: TurnWriteOptions): Promise<Session<M>>
  /** Puts the end off: it expires `ttlMs` from now. Writing does so, too. */
  renew(): Promise<Session<M>>
  /** Lets others write. */
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
   * After how many ms without an event of the turn others may write.
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
  appendMessage(session: SessionRef, message: Input | readonly Input[], options: TurnId): Promise<Session<M> | null>
  putMessage(session: SessionRef, message: Input, options: TurnId): Promise<Session<M> | null>
  commit(session: SessionRef, changes: readonly Change<Input>[], options: TurnId): Promise<Session<M> | null>
  /** Stores that the turn has begun, or goes on. */
  startTurn(mode: 'begin' | 'renewal'): Promise<Session<M>>
  endTurn(outcome: 'completed' | 'aborted', setsBack: boolean): Promise<Session<M>>
}

/** Says in which turn something is written. Not an option of the public calls. */
export interface TurnId extends WriteOptions {
  readonly turnId: string
}

/** A turn that was begun by this process. */
export class HeldTurn<M, Input> implements Turn<M, Input> {
  readonly id: string
  readonly #ref: SessionRef
  readonly #service: TurnService<M, Input>
  readonly #clock: Clock
  /** Made, as its timer, only where somebody asks for the signal: they are as much work as a write. */
  #controller: AbortController | undefined
  /** Why it is over, once it is. */
  #reason: (() => Error) | undefined
  #session: Session<M> | undefined
  #hasEnded = false
  #timer: unknown

  constructor(id: string, ref: SessionRef, service: TurnService<M, Input>, clock: Clock) {
    this.id = id
    this.#ref = ref
    this.#service = service
    this.#clock = clock
  }

  get session(): Session<M> {
    return this.#session!
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController()
      if (this.#reason) this.#controller.abort(this.#reason())
      else this.#expireLater()
    }
    return this.#controller.signal
  }

  begin(): Promise<Session<M>> {
    return this.#write(() => this.#service.startTurn('begin'))
  }

  renew(): Promise<Session<M>> {
    return this.#write(() => this.#service.startTurn('renewal'))
  }

  append(message: Input | readonly Input[], options?: TurnWriteOptions): Promise<Session<M>> {
    return this.#write(() => this.#service.appendMessage(this.#ref, message, { ...options, turnId: this.id }))
  }

  put(message: Input, options?: TurnWriteOptions): Promise<Session<M>> {
    return this.#write(() => this.#service.putMessage(this.#ref, message, { ...options, turnId: this.id }))
  }

  commit(changes: readonly Change<Input>[], options?: TurnWriteOptions): Promise<Session<M>> {
    return this.#write(() => this.#service.commit(this.#ref, changes, { ...options, turnId: this.id }))
  }

  end(): Promise<Session<M>> {
    return this.#end('completed', false)
  }

  abort({ keep = false }: { readonly keep?: boolean | undefined } = {}): Promise<Session<M>> {
    return this.#end('aborted', !keep)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#hasEnded) return
    try {
      await this.abort()
    } catch (error) {
      // Somebody else has ended it: there is nothing left to set back.
      if (!isTurnlogError(error, 'TURN_FENCED')) throw error
    }
  }

  /** The log says that the turn is no longer open. */
  noticeEnd(): void {
    // Of an end that is under way its answer will tell whose it was.
    if (!this.#hasEnded) this.#over(() => fenced(this.id, 'somebody else has ended it'))
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
      this.#session = await this.#noticing(() => this.#service.endTurn(outcome, setsBack))
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
      return await call()
    } catch (error) {
      if (isTurnlogError(error, 'TURN_FENCED')) this.#over(() => error)
      throw error
    }
  }

  #expireLater(): void {
    // A timer that is too early by now looks again.
    if (!this.#controller || this.#controller.signal.aborted || this.#timer !== undefined) return
    const { turn } = this.session
    if (turn?.id !== this.id) return
    const left = turn.expiresAt - this.#clock.now()
    if (left <= 0) return this.#over(() => fenced(this.id, 'it has expired'))
    const look = (): void => {
      this.#timer = undefined
      this.#expireLater()
    }
    this.#timer = backgroundTimer(this.#clock, look, left)
  }

  #over(reason: () => Error): void {
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
