import { createHash } from 'node:crypto'
import type { Commit, SessionKey } from '../../store.ts'
import type { PostgresValue } from './connections.ts'

/** A commit as it is written: ids are hashes, events and summary JSON. */
export interface EncodedCommit {
  readonly owner: Buffer
  readonly session: Buffer
  readonly place: Buffer
  readonly name: string
  readonly logId: string
  readonly expectedVersion: number
  readonly version: number
  readonly updatedAt: number
  readonly deleted: boolean
  readonly summary: string
  readonly events: readonly string[]
  readonly parent: { readonly logId: string; readonly version: number } | undefined
  /** Characters, roughly. */
  readonly size: number
}

export function encode({ key, logId, expectedVersion, events, summary, parent }: Commit): EncodedCommit {
  const bodies = events.map((event) => JSON.stringify(event))
  const summaryText = JSON.stringify(summary)
  let size = summaryText.length
  for (const body of bodies) size += body.length
  return {
    ...hashesOf(key),
    place: placeOf(key.sessionId),
    name: JSON.stringify([key.userId, key.sessionId]),
    logId,
    expectedVersion,
    version: expectedVersion + events.length,
    updatedAt: summary.updatedAt,
    deleted: summary.deleted,
    summary: summaryText,
    events: bodies,
    parent: parent && { logId: parent.logId, version: parent.version },
    size
  }
}

/** What a session is found by. */
export function hashesOf({ userId, sessionId }: SessionKey): { readonly owner: Buffer; readonly session: Buffer } {
  return { owner: hashOf(userId), session: hashOf(sessionId) }
}

/** Where a list has a session among those of the same time; those that begin alike are in the order of their hashes. */
export function placeOf(sessionId: string): Buffer {
  return Buffer.from(sessionId).subarray(0, 64)
}

/** The SHA-256 of an id. Half of a surrogate pair counts as such: as UTF-8 all of them would be one. */
export function hashOf(id: string): Buffer {
  return createHash('sha256')
    .update(id.isWellFormed() ? id : JSON.stringify(id))
    .digest()
}

/**
 * A list as PostgreSQL reads it. Made here, as what cannot be made then was certainly not sent.
 *
 * @see https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
 */
export function arrayOf(values: readonly PostgresValue[]): string {
  const items = values.map((value) => {
    if (value === null) return 'NULL'
    if (typeof value === 'string') return `"${value.replace(/["\\]/g, '\\$&')}"`
    return Buffer.isBuffer(value) ? `"\\\\x${value.toString('hex')}"` : String(value)
  })
  return `{${items.join(',')}}`
}
