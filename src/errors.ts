/** Where in a caller's value a fault is: property names and list positions, outermost first. */
export type Path = readonly (string | number)[]

/**
 * What a write expects of the log: a version (0: there is no log), `'none'` (no live session; a deleted one counts as
 * none), `'exists'` (a live one) or `'any'`.
 */
export type ExpectedVersion = number | 'none' | 'exists' | 'any'

/** The fields that an error of each code carries beside `code` and `message`. */
export interface TurnlogErrorFields {
  /** A message or metadata that is refused; nothing of the call is stored. `size` and `limit` are bytes, given where that is the reason. */
  INVALID_MESSAGE: { readonly path: Path; readonly size?: number; readonly limit?: number }
  /** There is no such session, and the call or the option `missing` asks for an error. */
  SESSION_NOT_FOUND: { readonly userId: string; readonly sessionId: string }
  /** A session of that name exists, or has existed and was not purged. */
  SESSION_EXISTS: { readonly userId: string; readonly sessionId: string }
  /** The log is not at the version that the caller expects. `actual` is the version it is at; 0: no log. */
  VERSION_CONFLICT: { readonly expected: ExpectedVersion; readonly actual: number }
  /** A version that the log does not have, or at which there was no session. `actual` is its newest version. */
  VERSION_NOT_FOUND: { readonly version: number; readonly actual: number }
  /** The key was used before in this log, with other content. */
  IDEMPOTENCY_CONFLICT: { readonly idempotencyKey: string }
  /** There is no step to undo. */
  NOTHING_TO_UNDO: { readonly userId: string; readonly sessionId: string }
  /** There is no step to redo: nothing was undone, or something was written since. */
  NOTHING_TO_REDO: { readonly userId: string; readonly sessionId: string }
  /** Another turn is open: who holds it, and until when if it writes no more (ms since the Unix epoch). */
  TURN_BUSY: { readonly turnId: string; readonly owner?: string; readonly expiresAt: number }
  /**
   * Somebody else has written, or holds a turn, since the turn expired or was taken over. As the reason of a turn's signal also:
   * it has expired, and the message says so; then its holder may go on until somebody else has written.
   */
  TURN_FENCED: { readonly turnId: string }
  /** The turn was ended by its holder. */
  TURN_ENDED: { readonly turnId: string }
  /** What is to be stored at once is more than the store takes: `size` and `limit` are bytes. Nothing of the call is stored. */
  COMMIT_TOO_LARGE: { readonly size: number; readonly limit: number }
  /** Others have written to the session first, `conflicts` times in a row. Nothing of the call is stored; it may be made again. */
  TOO_MANY_CONFLICTS: { readonly conflicts: number }
  /** The session holds messages of another format. */
  FORMAT_MISMATCH: { readonly expected: string; readonly actual: string }
  /** The store failed; `cause` says how. `not-stored`: nothing of the call is in the log. `unknown`: it may be, or may get there. */
  STORE_UNAVAILABLE: { readonly outcome: 'not-stored' | 'unknown' }
  /** The store was written by a newer release: its form is version `found`, this release knows those up to `known`. */
  STORE_TOO_NEW: { readonly found: number; readonly known: number }
  /** The value given as `store` lacks `missing`. */
  NOT_A_STORE: { readonly missing: readonly string[] }
  /** What the store gave is not a log: `version` is the first event that cannot be right. */
  CORRUPT_LOG: { readonly userId: string; readonly sessionId: string; readonly version: number }
  /** An event of a type or schema version that this release does not know. */
  UNKNOWN_EVENT: { readonly version: number; readonly type: string; readonly schemaVersion: number }
  /** A line of `file` that is not as an export has it; `line` counts from 1. `cause` says more where there is more to say. */
  INVALID_IMPORT: { readonly file: string; readonly line: number }
  /** The service was stopped, or has not been started again. */
  STOPPED: Record<never, never>
}

/** Codes are stable; texts may change. */
export type TurnlogErrorCode = keyof TurnlogErrorFields

/** A {@link TurnlogError} of one code, with its fields. */
export type TurnlogErrorOf<C extends TurnlogErrorCode> = {
  [K in C]: TurnlogError & { readonly code: K } & TurnlogErrorFields[K]
}[C]

/**
 * Every failure that a caller can meet without misusing the library; misuse is a `TypeError`, cancellation the
 * signal's reason. Tell them apart with {@link isTurnlogError}.
 */
export class TurnlogError extends Error {
  override readonly name = 'TurnlogError'
  readonly code: TurnlogErrorCode

  constructor(code: TurnlogErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options)
    this.code = code
  }
}

/** Makes a {@link TurnlogError} with the fields of its code. */
export function turnlogError<C extends TurnlogErrorCode>(
  code: C,
  message: string,
  fields: TurnlogErrorFields[C],
  options?: { readonly cause?: unknown }
): TurnlogErrorOf<C> {
  return Object.assign(new TurnlogError(code, message, options), fields) as TurnlogErrorOf<C>
}

/**
 * Whether `error` is a {@link TurnlogError}, and of `code` where one is given. Goes by name and code, not by class, so
 * it holds when two copies of the package are loaded.
 *
 * @example
 * if (isTurnlogError(error, 'VERSION_CONFLICT')) retryFrom(error.actual)
 */
export function isTurnlogError<C extends TurnlogErrorCode = TurnlogErrorCode>(
  error: unknown,
  code?: C
): error is TurnlogErrorOf<C> {
  if (!(error instanceof Error) || error.name !== 'TurnlogError' || !('code' in error)) return false
  return code === undefined || error.code === code
}
