import { equalJson, type Json } from '../../json.ts'
import { MessageLog } from '../../message-log.ts'
import type { Print } from './print.ts'

// What the items of a thread are, and what they come to. Knows nothing of LangGraph's classes: whoever reads a session has no need of them.

/** A value as it is stored: what LangGraph's serializer made of it. */
export type Stored =
  | {
      readonly json: Json
      /** Lists in `json` that begin and end like one that the checkpoint before has, and have only what is between. */
      readonly lists?: readonly SharedList[]
    }
  /** Of another type than `json`, such as `bytes`. */
  | { readonly type: string; readonly base64: string }

/** A list that is stored as what it has beside the first and last members of a channel's. */
export interface SharedList {
  /** Where in `json` it is. */
  readonly at: readonly (string | number)[]
  readonly channel: string
  readonly first: number
  readonly last: number
}

/** What `put` stores. */
export interface CheckpointItem {
  readonly kind: 'checkpoint'
  readonly ns: string
  readonly checkpointId: string
  readonly parentId?: string
  /** The checkpoint without its values. */
  readonly checkpoint: StoredCheckpoint
  readonly metadata: Stored
  /** Of the channels that have changed; `null` of those that have no value any more. */
  readonly values: { readonly [channel: string]: Stored | null }
}

/** What of a checkpoint is stored as it is. */
export interface StoredCheckpoint {
  readonly v: number
  readonly id: string
  readonly ts: string
  readonly channel_versions: { readonly [channel: string]: string | number }
  readonly versions_seen: { readonly [node: string]: { readonly [channel: string]: string | number } }
}

/** What `putWrites` stores. */
export interface WritesItem {
  readonly kind: 'writes'
  readonly ns: string
  readonly checkpointId: string
  readonly taskId: string
  readonly taskPath: string
  readonly writes: readonly { readonly idx: number; readonly channel: string; readonly value: Stored }[]
}

/** What a session that {@link TurnlogSaver} writes consists of, as its messages. */
export type ThreadItem = CheckpointItem | WritesItem

/** A member of a list that is an object or a list. Those who know what it is where LangGraph runs note it here: it is for speed alone. */
export interface Member {
  json: Json & object
  print: Print | undefined
}

/** A list of a channel, member by member; strings, numbers and the like stand for themselves. */
export type Members = MessageLog<Member | Json>

/** A value as it was put; it is not whole where what it shares is not there. */
export interface Value {
  readonly stored: Stored
  /** Of a value that is a list. */
  readonly list: Members | undefined
  /** Lists in it, as they were put. */
  readonly inner: readonly { readonly at: SharedList['at']; readonly list: Members }[]
  readonly isWhole: boolean
}

/** A channel's value at a version; `undefined`: it had none. */
interface Versioned {
  readonly version: string | number | undefined
  readonly value: Value | undefined
}

/** A checkpoint with the values of its channels. */
export interface Checkpointed {
  readonly item: CheckpointItem
  readonly metadata: Value
  readonly channels: ReadonlyMap<string, Versioned>
}

/** A write that is pending at a checkpoint. */
export interface Pending {
  readonly taskId: string
  readonly taskPath: string
  readonly idx: number
  readonly channel: string
  readonly value: Value
}

/**
 * A thread as its items have it so far. Each value is what it was when it was put, whatever comes later: members are shared, and none is copied. A value
 * is found along the parents of its checkpoint, so that those of two branches are never taken for one another.
 */
export class Thread {
  /** How many items it is made of. */
  length = 0
  readonly #namespaces = new Map<string, Map<string, Checkpointed>>()
  readonly #newest = new Map<string, string>()
  readonly #writes = new Map<string, Map<string, Pending>>()

  readonly #base: Thread | undefined

  /** With `base` one that begins with what that has, and leaves it as it is. To look for checkpoints and writes by their ids: the others it has not. */
  constructor(base?: Thread) {
    this.#base = base
  }

  static of(items: readonly ThreadItem[]): Thread {
    const thread = new Thread()
    for (const item of items) thread.add(item)
    return thread
  }

  /** The checkpoint, by default the newest of its namespace: that of the greatest id. */
  get(ns: string, id: string | undefined = this.#newest.get(ns)): Checkpointed | undefined {
    return id === undefined ? undefined : (this.#namespaces.get(ns)?.get(id) ?? this.#base?.get(ns, id))
  }

  /** Newest first; of one namespace or of all. */
  checkpoints(ns?: string): Checkpointed[] {
    const all =
      ns === undefined
        ? [...this.#namespaces.values()].flatMap((each) => [...each.values()])
        : [...this.#checkpointsOf(ns)]
    return all.sort((a, b) => (a.item.checkpointId < b.item.checkpointId ? 1 : -1))
  }

  /** In no order. */
  pending(ns: string, id: string): readonly Pending[] {
    return [...(this.#writes.get(keyOf(ns, id))?.values() ?? [])]
  }

  write(ns: string, id: string, taskId: string, idx: number): Pending | undefined {
    return this.#writes.get(keyOf(ns, id))?.get(keyOf(taskId, String(idx))) ?? this.#base?.write(ns, id, taskId, idx)
  }

  add(item: ThreadItem): void {
    this.length++
    if (item.kind === 'checkpoint') this.#addCheckpoint(item)
    else this.#addWrites(item)
  }

  #addCheckpoint(item: CheckpointItem): void {
    const { ns, checkpointId: id, parentId, values } = item
    const parent = parentId === undefined ? undefined : this.get(ns, parentId)
    const channels = new Map<string, Versioned>()
    const { channel_versions: versions } = item.checkpoint
    for (const channel of Object.keys(values)) {
      const stored = values[channel]!
      const value = stored === null ? undefined : valueOf(stored, parent)
      channels.set(channel, { version: versions[channel], value })
    }
    for (const channel of Object.keys(versions)) {
      if (channels.has(channel)) continue
      const version = versions[channel]!
      const before = parent?.channels.get(channel)
      const found = before?.version === version ? before : this.#find(ns, parentId, channel, version)
      if (found) channels.set(channel, found)
    }
    let checkpoints = this.#namespaces.get(ns)
    if (!checkpoints) this.#namespaces.set(ns, (checkpoints = new Map<string, Checkpointed>()))
    checkpoints.set(id, { item, metadata: valueOf(item.metadata, undefined), channels })
    const newest = this.#newest.get(ns)
    if (newest === undefined || id > newest) this.#newest.set(ns, id)
  }

  // A copy of a checkpoint has the parent of that, and the values of neither: then its versions tell. Those that are numbers may be those of
  // another branch, so it looks among the children of the parent first.
  #find(ns: string, parentId: string | undefined, channel: string, version: string | number): Versioned | undefined {
    let found: Versioned | undefined
    for (const { item, channels } of this.#checkpointsOf(ns)) {
      const candidate = channels.get(channel)
      if (candidate?.version !== version) continue
      if (item.parentId === parentId) return candidate
      found = candidate
    }
    return found
  }

  #checkpointsOf(ns: string): readonly Checkpointed[] {
    return [...(this.#base ? this.#base.#checkpointsOf(ns) : []), ...(this.#namespaces.get(ns)?.values() ?? [])]
  }

  #addWrites({ ns, checkpointId, taskId, taskPath, writes }: WritesItem): void {
    const key = keyOf(ns, checkpointId)
    let pending = this.#writes.get(key)
    if (!pending) this.#writes.set(key, (pending = new Map<string, Pending>()))
    const checkpoint = this.get(ns, checkpointId)
    for (const { idx, channel, value } of writes) {
      const place = keyOf(taskId, String(idx))
      // An error, an interrupt or an answer to one takes the place of what was there; of what a task has written, the first stays.
      if (idx >= 0 && pending.has(place)) continue
      pending.set(place, { taskId, taskPath, idx, channel, value: valueOf(value, checkpoint) })
    }
  }
}

function keyOf(a: string, b: string): string {
  return JSON.stringify([a, b])
}

function valueOf(stored: Stored, base: Checkpointed | undefined): Value {
  if (!('json' in stored)) return { stored, list: undefined, inner: [], isWhole: true }
  let list: Members | undefined
  let isWhole = true
  const inner: { at: SharedList['at']; list: Members }[] = []
  for (const { at, channel, first, last } of stored.lists ?? []) {
    const shared = base?.channels.get(channel)?.value?.list
    const between = at.reduce<Json | undefined>((value, key) => (value as { [key: string]: Json })?.[key], stored.json)
    if (!shared || shared.length < first + last || !Array.isArray(between)) {
      isWhole = false
      continue
    }
    let grown = shared.take(first)
    for (const member of between as Json[]) grown = grown.push(memberOf(member))
    for (let i = shared.length - last; i < shared.length; i++) grown = grown.push(shared.get(i)!)
    if (at.length === 0) list = grown
    else inner.push({ at, list: grown })
  }
  // With lists left out of its members, it is none to share.
  if (Array.isArray(stored.json) && inner.length === 0) list ??= MessageLog.of((stored.json as Json[]).map(memberOf))
  return { stored, list, inner, isWhole }
}

/** A member of that JSON. */
export function memberOf(json: Json): Member | Json {
  return typeof json === 'object' && json !== null ? new ObjectMember(json) : json
}

/** Whether it is one that is not what it stands for. */
export function isMember(member: Member | Json | undefined): member is Member {
  return member instanceof ObjectMember
}

class ObjectMember implements Member {
  json: Json & object
  print: Print | undefined
  constructor(json: Json & object) {
    this.json = json
    this.print = undefined
  }
}

function jsonOfMember(member: Member | Json): Json {
  return isMember(member) ? member.json : member
}

/** The JSON of a value, with what it shares; a list is fresh, its members are not. `undefined` where it is not JSON. */
export function jsonOf({ stored, list, inner }: Value): Json | undefined {
  if (list) return list.toArray().map(jsonOfMember)
  if (!('json' in stored)) return undefined
  let { json } = stored
  for (const { at, list: members } of inner) json = replaced(json, at, members.toArray().map(jsonOfMember))
  return json
}

function replaced(json: Json, at: SharedList['at'], list: Json): Json {
  const [key, ...rest] = at
  if (key === undefined) return list
  if (Array.isArray(json))
    return (json as Json[]).map((member, i) => (i === key ? replaced(member, rest, list) : member))
  const copy: Record<string, Json> = { ...(json as { readonly [key: string]: Json }) }
  copy[key] = replaced(copy[key]!, rest, list)
  return copy
}

/** A value to be stored: JSON, or a list member by member. */
export type Dumped = { readonly json: Json } | { readonly members: readonly (Member | Json)[] }

/**
 * What is to be stored of a value: a list that begins or ends like the one that `channel` has at a checkpoint is stored as what is between; and so are lists
 * in it whose key is the name of a channel, as what is sent to a tool is the whole state.
 */
export function withoutShared(dumped: Dumped, channel: string, base: Checkpointed | undefined): Stored {
  const lists: SharedList[] = []
  const members =
    'members' in dumped ? dumped.members : Array.isArray(dumped.json) ? (dumped.json as Json[]).map(memberOf) : []
  const json = (): Json => ('json' in dumped ? dumped.json : members.map(jsonOfMember))
  if (!base) return { json: json() }
  if (members.length > 0 && listOf(base, channel)) {
    const between = cut(members, channel, [], base, lists)
    if (lists.length > 0) return { json: between, lists }
  }
  const whole = json()
  const rest = walk(whole, [], base, lists)
  return lists.length === 0 ? { json: whole } : { json: rest, lists }
}

// Gives what it was given where nothing in it is shared.
function walk(json: Json, at: readonly (string | number)[], base: Checkpointed, lists: SharedList[]): Json {
  // An assignment would not copy a key `__proto__`.
  if (typeof json !== 'object' || json === null || at.length > DEEPEST || Object.hasOwn(json, '__proto__')) return json
  let copy: Json[] | Record<string, Json> | undefined
  for (const [key, member] of Object.entries(json)) {
    const place = [...at, Array.isArray(json) ? Number(key) : key]
    const before = lists.length
    const isShared = Array.isArray(member) && listOf(base, key) !== undefined
    const rest = isShared
      ? cut((member as Json[]).map(memberOf), key, place, base, lists)
      : walk(member, place, base, lists)
    if (lists.length === before) continue
    copy ??= Array.isArray(json) ? [...(json as Json[])] : { ...(json as { readonly [key: string]: Json }) }
    ;(copy as Record<string, Json>)[key] = rest
  }
  return copy ?? json
}

/** What is sent is at `[i].args.messages` of its channel. */
const DEEPEST = 3

function listOf(base: Checkpointed, channel: string): Members | undefined {
  return base.channels.get(channel)?.value?.list
}

function cut(
  members: readonly (Member | Json)[],
  channel: string,
  at: readonly (string | number)[],
  base: Checkpointed,
  lists: SharedList[]
): Json {
  const shared = listOf(base, channel)!
  const most = Math.min(members.length, shared.length)
  let first = 0
  while (first < most && isEqual(members[first]!, shared.get(first)!)) first++
  let last = 0
  while (last < most - first && isEqual(members.at(-1 - last)!, shared.get(shared.length - 1 - last)!)) last++
  if (first + last > 0) lists.push({ at, channel, first, last })
  return members.slice(first, members.length - last).map(jsonOfMember)
}

function isEqual(member: Member | Json, other: Member | Json): boolean {
  if (!isMember(member) || !isMember(other)) return member === other
  if (member.json === other.json) return true
  if (!equalJson(member.json, other.json)) return false
  // It need not be compared again.
  member.json = other.json
  return true
}
