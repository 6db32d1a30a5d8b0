import { createHash } from 'node:crypto'
import type { Event } from '@google/adk'
import { idOf } from '../../arguments.ts'
import type { Session } from '../../session.ts'

// Names. `/` and `%` of an app are escaped, so that of a user of turnlog the second `/` ends the app, and none has a state's name.

export const STATE = '%state'
export const HASHED = 'adk%'

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

// turnlog trims the ids of sessions; and `%` makes room for a name that no session has.
export function escaped(sessionId: string): string {
  return sessionId.replaceAll(/%|^\s+|\s+$/g, encodeURIComponent)
}

export function unescaped(id: string): string | undefined {
  try {
    return decodeURIComponent(id)
  } catch {
    return undefined
  }
}
