import type { ExpectedVersion } from './errors.ts'
import type { Message, MessageInput } from './message.ts'

/** Names a session: anything with these two, such as a `Session`. */
export interface SessionRef {
  readonly userId: string
  readonly id: string
}

/** Options of every call that writes to a session. */
export interface WriteOptions {
  /**
   * What the log must be like when the commit is stored; otherwise `VERSION_CONFLICT`, and nothing is stored.
   * @default 'any'
   */
  readonly expectedVersion?: ExpectedVersion | undefined
  /**
   * Makes a repeated call safe: the same key with the same content gives the session as of the first call and stores
   * nothing; with other content it is `IDEMPOTENCY_CONFLICT`. Holds until the session is purged. 1 to 512 characters.
   */
  readonly idempotencyKey?: string | undefined
  /**
   * What happens while a turn is open: `TURN_BUSY`, or waiting until it ends, in order of arrival.
   * @default 'throw'
   */
  readonly onBusy?: 'throw' | 'wait' | undefined
  /** Cancels the call as long as the store does not have it: it rejects with the signal's reason, and nothing is stored. */
  readonly signal?: AbortSignal | undefined
}

/** One change of a commit. */
export type Change<Input = MessageInput> =
  | { readonly type: 'append'; readonly messages: readonly Input[] }
  | { readonly type: 'put'; readonly message: Input }
  | { readonly type: 'truncate'; readonly length: number }
  | { readonly type: 'rewind'; readonly toVersion: number }
  | { readonly type: 'metadata'; readonly set?: object | undefined; readonly unset?: readonly string[] | undefined }

/** What is accepted where messages of type `M` are stored, if nothing else is said. */
export type InputOf<M> = [M, Message] extends [Message, M] ? MessageInput : M
