import { State, type Event } from '@google/adk'
import type { Change } from '../../calls.ts'
import { equalJson, type Json, type JsonObject } from '../../json.ts'
import type { Session } from '../../session.ts'
import { thawed } from '../shared/thawed.ts'

/** A version of a session. */
export interface Point {
  /** Tells logs of one name apart: after a purge, versions begin again. */
  readonly createdAt: number
  readonly version: number
  readonly lastUpdateTime: number
}

/** What a session object has seen: a version of its session, and the metadata of the three that its state is made of. */
export interface Seen extends Point {
  /** Whether it has all events up to then. */
  readonly isWhole: boolean
  readonly own: JsonObject
  readonly app: JsonObject
  readonly user: JsonObject
}

/** Of an app, and of a user of it. */
export type States = readonly [app: Session<Event> | null, user: Session<Event> | null]

export function pointOf(session: Session<Event>): Point {
  const { createdAt, version } = session
  return { createdAt, version, lastUpdateTime: lastUpdateTimeOf(session) }
}

export function seenOf(session: Session<Event>, [app, user]: States, isWhole: boolean): Seen {
  const [own, ofApp, ofUser] = [session.metadata, app?.metadata ?? {}, user?.metadata ?? {}]
  return { ...pointOf(session), isWhole, own, app: ofApp, user: ofUser }
}

export function isOfOneLog(a: Point, b: Point): boolean {
  return a.createdAt === b.createdAt
}

const PREFIX = 'state:'

export interface StateChanges {
  readonly app: Change<Event> | undefined
  readonly user: Change<Event> | undefined
  readonly own: { readonly set: JsonObject; readonly unset: readonly string[] }
}

// By whom a change of state concerns. What is `undefined` is no JSON: such a key goes.
export function changesOf(given: Record<string, unknown> | undefined, copy: JsonObject): StateChanges {
  const app = { set: {} as Record<string, Json>, unset: [] as string[] }
  const user = { set: {} as Record<string, Json>, unset: [] as string[] }
  const own = { set: {} as Record<string, Json>, unset: [] as string[] }
  for (const key of Object.keys(given ?? {})) {
    if (key.startsWith(State.TEMP_PREFIX)) continue
    const [scope, name] = scopeOf(key)
    const changes = { app, user, own }[scope]
    if (Object.hasOwn(copy, key)) changes.set[PREFIX + name] = copy[key]!
    else changes.unset.push(PREFIX + name)
  }
  const changeOf = ({ set, unset }: typeof app): Change<Event> | undefined =>
    Object.keys(set).length + unset.length > 0 ? { type: 'metadata', set, unset } : undefined
  return { app: changeOf(app), user: changeOf(user), own }
}

function scopeOf(key: string): readonly [scope: 'own' | 'app' | 'user', name: string] {
  if (key.startsWith(State.APP_PREFIX)) return ['app', key.slice(State.APP_PREFIX.length)]
  if (key.startsWith(State.USER_PREFIX)) return ['user', key.slice(State.USER_PREFIX.length)]
  return ['own', key]
}

export function withoutTemporary(state: Record<string, unknown> | undefined): Record<string, unknown> {
  const kept: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(state ?? {})) if (!key.startsWith(State.TEMP_PREFIX)) put(kept, key, value)
  return kept
}

const SCOPES = [
  ['own', ''],
  ['app', State.APP_PREFIX],
  ['user', State.USER_PREFIX]
] as const

export function mergedState(parts: Pick<Seen, 'own' | 'app' | 'user'>): Record<string, unknown> {
  const state: Record<string, unknown> = {}
  for (const [scope, prefix] of SCOPES)
    for (const [name, value] of Object.entries(parts[scope]))
      if (name.startsWith(PREFIX)) put(state, prefix + name.slice(PREFIX.length), thawed(value))
  return state
}

// What others have changed since, and nothing else: tools that are at work may have changed the rest. In place, as they hold it.
export function catchUp(state: Record<string, unknown>, seen: Seen | undefined, now: Seen, delta: object): void {
  if (!seen) for (const key of Object.keys(state)) if (!key.startsWith(State.TEMP_PREFIX)) delete state[key]
  for (const [scope, prefix] of SCOPES) {
    const [before, after] = [seen?.[scope] ?? {}, now[scope]]
    if (before === after) continue
    for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
      if (!name.startsWith(PREFIX)) continue
      const key = prefix + name.slice(PREFIX.length)
      if (Object.hasOwn(delta, key) || equalJson(before[name], after[name])) continue
      if (Object.hasOwn(after, name)) put(state, key, thawed(after[name]))
      else delete state[key]
    }
  }
}

// Of an event that was stored before, others may have changed since what it changed.
export function overtaken(state: Record<string, unknown>, delta: JsonObject, now: Seen): void {
  for (const [key, value] of Object.entries(delta)) {
    const [scope, name] = scopeOf(key)
    const kept = now[scope][PREFIX + name]
    if (kept === undefined) delete state[key]
    else if (!equalJson(kept, value)) put(state, key, thawed(kept))
  }
}

// As ADK has it in Python: agents of the same run can read it, though no event will have it.
export function keepTemporary(state: Record<string, unknown>, { actions }: Event): void {
  for (const [key, value] of Object.entries(actions?.stateDelta ?? {}))
    if (key.startsWith(State.TEMP_PREFIX) && !Object.hasOwn(state, key)) put(state, key, value)
}

// An assignment to `__proto__` would not make a property.
function put(state: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(state, key, { value, enumerable: true, writable: true, configurable: true })
}

type MetadataChange = Extract<Change<Event>, { type: 'metadata' }> & StateChanges['own']

function deltaOf({ actions }: Event): JsonObject {
  return changesOf(actions?.stateDelta, (actions?.stateDelta ?? {}) as JsonObject).own.set
}

// The state before the message at a place, where no version has it: what later ones changed is what those before made it.
export function stateBefore(messages: readonly Event[], length: number): MetadataChange {
  const before = new Map<string, Json>()
  for (const each of messages.slice(0, length))
    for (const [name, value] of Object.entries(deltaOf(each))) before.set(name, value)
  const names = new Set(messages.slice(length).flatMap((each) => Object.keys(deltaOf(each))))
  return changeTo(before, names)
}

// What some of the messages before a place have changed, as it is now without the later ones.
export function stateOf(
  some: readonly Event[],
  { messages, metadata }: Session<Event>,
  length: number
): MetadataChange {
  const { set, unset } = stateBefore(messages, length)
  const now = new Map(Object.entries({ ...metadata, ...set }))
  for (const name of unset) now.delete(name)
  return changeTo(now, new Set(some.flatMap((each) => Object.keys(deltaOf(each)))))
}

function changeTo(state: ReadonlyMap<string, Json>, names: ReadonlySet<string>): MetadataChange {
  const all = [...names]
  const set = Object.fromEntries(all.filter((name) => state.has(name)).map((name) => [name, state.get(name)!]))
  return { type: 'metadata', set, unset: all.filter((name) => !state.has(name)) }
}

export function lastUpdateTimeOf({ metadata, updatedAt }: Session<Event>): number {
  const { lastUpdateTime } = metadata
  return typeof lastUpdateTime === 'number' ? lastUpdateTime : updatedAt
}
