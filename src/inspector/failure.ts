import type { Context } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import { withoutCredentials } from '../arguments.ts'
import { isTurnlogError, type TurnlogErrorCode } from '../errors.ts'
import type { Failure } from './wire.ts'

/** A request that makes no sense. */
export class InvalidRequest extends Error {}

/** The status of what the service throws. */
const STATUS: { readonly [code in TurnlogErrorCode]?: ContentfulStatusCode } = {
  SESSION_NOT_FOUND: 404,
  VERSION_NOT_FOUND: 404,
  INVALID_MESSAGE: 400,
  SESSION_EXISTS: 409,
  VERSION_CONFLICT: 409,
  FORMAT_MISMATCH: 409,
  NOTHING_TO_UNDO: 409,
  NOTHING_TO_REDO: 409,
  TURN_BUSY: 409,
  TOO_MANY_CONFLICTS: 409,
  COMMIT_TOO_LARGE: 409,
  STORE_UNAVAILABLE: 503,
  STOPPED: 503
}

/** An answer that says what is wrong. */
export function failure(c: Context, status: ContentfulStatusCode, code: string, message: string): Response {
  return c.json<Failure>({ error: { code, message } }, status)
}

/** What went wrong, as it is answered. What nobody has foreseen is warned of in the process, too: it is a fault of this server's. */
export function failureOf(error: unknown): Failure['error'] & { readonly status: ContentfulStatusCode } {
  const message = withoutCredentials(error instanceof Error ? error.message : String(error)).slice(0, LONGEST)
  if (isTurnlogError(error)) return { status: STATUS[error.code] ?? 500, code: error.code, message }
  if (error instanceof InvalidRequest) return { status: 400, code: 'INVALID_REQUEST', message }
  process.emitWarning(
    `turnlog inspector: ${withoutCredentials(error instanceof Error ? (error.stack ?? message) : message)}`
  )
  return { status: 500, code: 'UNEXPECTED', message }
}

/** A message may have an id in it, or what a schema says of a value. */
const LONGEST = 5_000
