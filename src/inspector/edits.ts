import { z } from 'zod'
import { turnlogError } from '../errors.ts'
import type { JsonObject } from '../json.ts'
import { sessionNotFound } from '../session.ts'
import { InvalidRequest } from './failure.ts'
import type { Logs } from './log.ts'
import { id, named } from './query.ts'
import type { Edited } from './wire.ts'

const versionNumber = z.int().min(1)

/** What a request to change something has to be. */
export const edit = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('fork'), ...named, at: versionNumber, as: id.optional() }),
  z.strictObject({
    type: z.literal('rewind'),
    ...named,
    toVersion: versionNumber,
    expectedVersion: versionNumber,
    reason: z.string().max(10_000).optional()
  }),
  z.strictObject({ type: z.enum(['undo', 'redo']), ...named, expectedVersion: versionNumber }),
  z.strictObject({
    type: z.literal('metadata'),
    ...named,
    // JSON it is: it was parsed.
    set: z.custom<JsonObject>((value) => typeof value === 'object' && value !== null, 'not an object'),
    unset: z.array(z.string()),
    expectedVersion: versionNumber
  }),
  z.strictObject({ type: z.literal('delete'), ...named, expectedVersion: versionNumber })
])

/** Changes a session. @throws what the service does; {@link InvalidRequest} for what it calls misuse */
export async function edited(logs: Logs, change: z.output<typeof edit>): Promise<Edited> {
  const log = logs.of(change.user, change.session)
  const { ref } = log
  // Of what is absent, some calls say nothing, and some would make it.
  const { latest, session, isExpired } = await log.newest()
  try {
    switch (change.type) {
      case 'fork': {
        const options = { at: change.at, sessionId: change.as }
        const fork = await log.with((history) => history.fork(ref, options))
        return { userId: fork.userId, id: fork.id, version: fork.version }
      }
      case 'rewind': {
        const { toVersion, expectedVersion, reason } = change
        const { version } = await log.with((history) => history.rewind(ref, toVersion, { expectedVersion, reason }))
        return { ...ref, version }
      }
      case 'undo':
      case 'redo': {
        const { type, expectedVersion } = change
        const { version } = await log.with((history) => history[type](ref, { expectedVersion }))
        return { ...ref, version }
      }
      case 'metadata': {
        if (!session || isExpired) throw sessionNotFound(ref)
        const { set, unset, expectedVersion } = change
        const after = await log.with((history) => history.updateMetadata(ref, { set, unset }, { expectedVersion }))
        return { ...ref, version: after?.version ?? latest }
      }
      case 'delete':
        // The service deletes whatever there is: what was written since it was shown would be hidden unseen.
        if (latest !== change.expectedVersion) throw hasMoved(change.expectedVersion, latest)
        await log.with((history) => history.deleteSession(log.userId, log.sessionId))
        return { ...ref, version: (await log.newest()).latest }
    }
  } catch (error) {
    throw error instanceof TypeError ? new InvalidRequest(error.message) : error
  }
}

function hasMoved(expected: number, actual: number): Error {
  const message = `Expected version ${expected}; the log is at version ${actual}`
  return turnlogError('VERSION_CONFLICT', message, { expected, actual })
}
