import { createHash } from 'node:crypto'
import type { Event } from '@google/adk'
import { idOf } from '../../arguments.ts'
import type { SessionRef } from '../../calls.ts'
import type { JsonObject } from '../../json.ts'
import type { Session } from '../../session.ts'

// Names. `/` and `%` of an app are escaped, so that of a user of turnlog the second `/` ends the app, and none has a state's name.

export const STATE = '%state'
export const HASHED = 'adk%'
// What is escaped has two hexadecimal digits after each `%`.
const HASHED_ID = '%id/'

export function userOf(appName: string, userId: string): string {
  return fitting(`adk/${escapedApp(appName)}/${idOf('userId', userId)}`, [appName, userId])
}

export function escapedApp(appName: string): string {
  const name = idOf('appName', appName)
  return /[%/]/.test(name) ? name.replaceAll(/[%/]/g, encodeURIComponent) : name
}

export function fitting(name: string, names: readonly string[]): string {
  return name.length <= 512 ? name : HASHED + digest(names)
}

export function digest(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('base64url')
}

export function namesOf({ userId, metadata }: Session<Event>): readonly [appName: string, userId: string] | undefined {
  if (userId.startsWith(HASHED)) return metadata['names'] as [string, string] | undefined
  const [, app, user] = /^adk\/([^/]*)\/([^]*)$/.exec(userId) ?? []
  return app === undefined || user === undefined ? undefined : [decodeURIComponent(app), user]
}

// turnlog trims the ids of sessions; and `%` makes room for names that no session has.
export function escaped(sessionId: string): string {
  const id = sessionId.replaceAll(/%|^\s+|\s+$/g, encodeURIComponent)
  return id.length <= 512 ? id : HASHED_ID + digest(sessionId)
}

// Of the metadata of a session, what its own names do not tell. State has other keys.
export function hashedOf({ userId, id }: SessionRef, appName: string, user: string, sessionId: string): JsonObject {
  return {
    ...(userId.startsWith(HASHED) && { names: [appName, user] }),
    ...(id.startsWith(HASHED_ID) && { sessionId })
  }
}

export function sessionIdOf({ id, metadata }: Session<Event>): string | undefined {
  if (id.startsWith(HASHED_ID)) return metadata['sessionId'] as string | undefined
  try {
    return decodeURIComponent(id)
  } catch {
    return undefined
  }
}
