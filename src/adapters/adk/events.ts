import { createEvent, type Event } from '@google/adk'
import type { SessionRef } from '../../calls.ts'
import { equalJson, type Json } from '../../json.ts'
import { invalid, plain, type StandardSchema } from '../../message.ts'
import { thawed } from '../shared/thawed.ts'
import { jsonLike } from './json-like.ts'
import { digest } from './names.ts'
import { withoutTemporary, type Point } from './state.ts'

export const events: StandardSchema<Event, Event> = {
  '~standard': {
    version: 1,
    vendor: 'turnlog',
    validate(value) {
      const { id, timestamp } = (value ?? {}) as Partial<Event>
      if (typeof id !== 'string' || id === '')
        return { issues: [{ message: 'an event has an id, a string that is not empty', path: ['id'] }] }
      if (typeof timestamp !== 'number')
        return { issues: [{ message: 'an event has a timestamp, a number of ms', path: ['timestamp'] }] }
      return { value: value as Event }
    }
  }
}

// As JSON, without what is temporary, before anything is stored.
export function storedEvent(event: Event): Event {
  const { actions } = event
  // Its brand is a symbol.
  const members = Object.fromEntries(Object.entries(event))
  const stateDelta = withoutTemporary(actions?.stateDelta)
  const copy = plain(jsonLike({ ...members, actions: { ...actions, stateDelta } }), ['event'])
  const { issues } = events['~standard'].validate(copy) as { issues?: readonly { message: string; path: string[] }[] }
  if (issues) throw invalid(issues[0]!.message, ['event', ...issues[0]!.path])
  return copy as unknown as Event
}

const BLANK = createEvent()
const BRAND = Object.fromEntries(Object.getOwnPropertySymbols(BLANK).map((symbol) => [symbol, true]))
const ACTIONS = Object.keys(BLANK.actions)

// What createEvent makes of it. That takes five times as long as the rest, and of an event that it has made once only the brand is missing.
export function restored(stored: Event): Event {
  const event = thawed(stored)
  const { actions, longRunningToolIds, timestamp } = event
  const isWhole = longRunningToolIds && actions && ACTIONS.every((key) => Object.hasOwn(actions, key))
  if (isWhole) return Object.assign(event, BRAND)
  const made = createEvent(event)
  // Of 0 it would make the time of now.
  made.timestamp = timestamp
  return made
}

export function equal(a: Event, b: Event): boolean {
  return equalJson(a as unknown as Json, b as unknown as Json)
}

// Of one event in all sessions, as an app's state is changed by those of many; and of what it was to be stored upon: what was rewound or deleted since can come again.
export function keyOf({ userId, id }: SessionRef, { createdAt, version }: Point, event: Event): string {
  return digest([userId, id, createdAt, version, event.id])
}
