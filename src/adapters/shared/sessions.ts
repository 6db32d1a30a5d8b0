import { misuse } from '../../arguments.ts'
import type { SessionRef } from '../../calls.ts'
import { isTurnlogError } from '../../errors.ts'
import type { StandardSchema } from '../../message.ts'
import type { SessionHistoryService } from '../../service.ts'
import type { Session } from '../../session.ts'

/** What an adapter takes as its history. */
export type AnyHistory = Pick<SessionHistoryService, 'withMessage'>

/**
 * The service as one of an adapter's items; of those none is hidden, as what is stored is made of all.
 *
 * @throws `TypeError` where it is none
 */
export function serviceOf<Item>(
  history: AnyHistory,
  items: StandardSchema<Item, Item>,
  format: string
): SessionHistoryService<Item, Item> {
  if (typeof (history as Partial<AnyHistory> | undefined)?.withMessage !== 'function')
    throw misuse('history', 'a service of createSessionHistory', history)
  return history.withMessage(items, { format, maxMessages: Infinity })
}

/** The session as it is now, or `null`: none is made, whatever the service's option `missing` says. Of the same state it is the same object. */
export function readSession<Item>(
  history: Pick<SessionHistoryService<Item, Item>, 'getSession'>,
  { userId, id }: SessionRef
): Promise<Session<Item> | null> {
  return history.getSession(userId, id, { missing: 'null' })
}

/** Makes a session where there is none; `null` where another was faster. */
export function makeSession<Item>(
  history: Pick<SessionHistoryService<Item, Item>, 'createSession'>,
  { userId, id }: SessionRef
): Promise<Session<Item> | null> {
  return unlessConflict(history.createSession(userId, id, { expectedVersion: 'none' }))
}

/** What the call gives; `null` where the session is not as its `expectedVersion` says, and nothing was stored. */
export async function unlessConflict<T>(call: Promise<T>): Promise<T | null> {
  try {
    return await call
  } catch (error) {
    if (isTurnlogError(error, 'VERSION_CONFLICT')) return null
    throw error
  }
}
