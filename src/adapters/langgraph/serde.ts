import { JsonPlusSerializer, type BaseCheckpointSaver } from '@langchain/langgraph-checkpoint'
import {
  AIMessage,
  AIMessageChunk,
  ChatMessage,
  ChatMessageChunk,
  FunctionMessage,
  FunctionMessageChunk,
  HumanMessage,
  HumanMessageChunk,
  RemoveMessage,
  SystemMessage,
  SystemMessageChunk,
  ToolMessage,
  ToolMessageChunk
} from '@langchain/core/messages'
import type { Path } from '../../errors.ts'
import { turnlogError } from '../../errors.ts'
import type { Json } from '../../json.ts'
import { invalid } from '../../message.ts'
import { thawed } from '../shared/thawed.ts'
import { jsonOf, type Value } from './thread.ts'

/** What LangGraph's savers put values through. */
export type Serde = BaseCheckpointSaver['serde']

/** What a serializer made of a value: JSON, or bytes. */
export type Dumped = { readonly json: Json } | { readonly type: string; readonly base64: string }

/**
 * What `serde` makes of a value as it is now: all of it is asked for before this gives its promise, so that what is changed meanwhile has no effect.
 *
 * Members of a list that are known, and have not changed since, are not asked for again. That is for speed alone: each is compared.
 *
 * @throws `INVALID_MESSAGE` where LangGraph's own serializer would give a text of its own in place of the value, such as for a bigint
 */
export async function dump(serde: Serde, value: unknown, path: Path): Promise<Dumped> {
  if (!Array.isArray(value) || !isDefault(serde)) return dumpWhole(serde, value, path)
  // Not `await` in between: see above.
  const members = Array.from(value as unknown[], (member, i) => dumpMember(serde, member, [...path, i]))
  return {
    json: members.some((member) => member instanceof Promise) ? await Promise.all(members) : (members as Json[])
  }
}

async function dumpWhole(serde: Serde, value: unknown, path: Path): Promise<Dumped> {
  const [type, bytes] = await serde.dumpsTyped(value)
  const json = type === 'json' ? parsed(bytes) : undefined
  if (json === undefined) return { type, base64: Buffer.from(bytes).toString('base64') }
  assertCarried(json, value, path)
  return { json }
}

// A promise only where the serializer is asked: that of thousands of members costs.
function dumpMember(serde: Serde, member: unknown, path: Path): Json | Promise<Json> {
  if (typeof member === 'string' || typeof member === 'boolean' || member === null) return member
  if (typeof member === 'number' && Number.isFinite(member)) return member === 0 ? 0 : member
  const known = typeof member === 'object' ? KNOWN.get(member) : undefined
  if (known && isSame(member, known.copy)) return known.json
  const copy = copied(member)
  const dumping = serde.dumpsTyped([member])
  return dumping.then(([, bytes]) => {
    const json = parsed(bytes)!
    assertCarried(json, member, path)
    const [dumped] = json as [Json]
    if (typeof member === 'object' && copy !== NO_COPY) KNOWN.set(member, { json: dumped, copy })
    return dumped
  })
}

function parsed(bytes: Uint8Array): Json | undefined {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()) as Json
  } catch {
    // Of a serializer that calls something else JSON.
    return undefined
  }
}

// What the serializer gives where it fails. It is stored by other savers, in place of the value.
function assertCarried(json: Json, value: unknown, path: Path): void {
  if (json === UNABLE && value !== UNABLE) throw invalid("LangGraph's serializer cannot carry it", path)
}

const UNABLE = '[unable to serialize, circular reference is too complex to analyze]'

/**
 * The value as `serde` gives it back; fresh, for the caller to change.
 *
 * @throws `CORRUPT_LOG` where what it shares with the checkpoint before is not there
 */
export async function load(serde: Serde, value: Value, thread: Place): Promise<unknown> {
  if (!value.isWhole) throw incomplete(thread)
  const { stored } = value
  if (!('json' in stored)) return serde.loadsTyped(stored.type, Buffer.from(stored.base64, 'base64'))
  const json = jsonOf(value)!
  if (!isDefault(serde)) return serde.loadsTyped('json', new TextEncoder().encode(JSON.stringify(json)))
  if (Array.isArray(json)) {
    const members = (json as Json[]).map((member) => loadMember(serde, member))
    return members.some((member) => member instanceof Promise) ? Promise.all(members) : members
  }
  return isPlain(json) ? thawed(json) : serde.loadsTyped('json', JSON.stringify(json))
}

/** Where a value is: a session, as it is at a version. */
export interface Place {
  readonly userId: string
  readonly id: string
  readonly version: number
}

function incomplete({ userId, id: sessionId, version }: Place): Error {
  const message = `Thread ${JSON.stringify(sessionId)} of user ${JSON.stringify(userId)} lacks earlier items that a checkpoint refers to; does the service keep back messages (retention.maxMessages)?`
  return turnlogError('CORRUPT_LOG', message, { userId, sessionId, version })
}

function loadMember(serde: Serde, json: Json): unknown {
  if (typeof json !== 'object' || json === null) return json
  const revived = REVIVED.get(json)
  if (revived !== undefined) return remembered(copied(revived) as object, json, revived)
  if (isPlain(json)) return remembered(thawed(json), json, json)
  return serde.loadsTyped('json', JSON.stringify(json)).then((value: unknown) => {
    const copy = copied(value)
    if (typeof value !== 'object' || value === null || copy === NO_COPY) return value
    REVIVED.set(json, copy as object)
    return remembered(value, json, copy)
  })
}

function remembered<T extends object>(value: T, json: Json, copy: unknown): T {
  KNOWN.set(value, { json, copy })
  return value
}

// Whether the serializer gives it back as it is: nothing in it stands for something else.
function isPlain(json: Json): boolean {
  if (typeof json !== 'object' || json === null) return true
  if (Array.isArray(json)) return (json as Json[]).every(isPlain)
  for (const key of Object.keys(json)) {
    if (key === 'lc' || !isPlain((json as { readonly [key: string]: Json })[key]!)) return false
  }
  return true
}

// How LangGraph's own serializer, and no other, deals with members of lists is known.
function isDefault(serde: Serde): boolean {
  const { dumpsTyped, loadsTyped } = JsonPlusSerializer.prototype
  return serde.dumpsTyped === dumpsTyped && serde.loadsTyped === loadsTyped
}

interface Known {
  readonly json: Json
  /** What the value was then. */
  readonly copy: unknown
}

/** Values that were dumped or loaded: what they are in JSON. */
const KNOWN = new WeakMap<object, Known>()
/** What the serializer has made of stored values; never given to anybody. */
const REVIVED = new WeakMap<object, object>()

// Messages whose state is in their own properties.
const MESSAGES: ReadonlySet<unknown> = new Set(
  [
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    ChatMessageChunk,
    FunctionMessage,
    FunctionMessageChunk,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk
  ].map(({ prototype }) => prototype as unknown)
)

/** Says that a value has more to it than what can be copied. */
const NO_COPY = Symbol('no copy')

// A copy of plain data and messages, with nothing shared.
function copied(value: unknown, depth = 0): unknown {
  // Or it has itself in it.
  if (depth > 100) return NO_COPY
  switch (typeof value) {
    case 'function':
    case 'symbol':
    case 'bigint':
      return NO_COPY
    case 'object':
      break
    default:
      return value
  }
  if (value === null) return null
  if (Array.isArray(value)) {
    const list: unknown[] = []
    for (const member of value) {
      const copy = copied(member, depth + 1)
      if (copy === NO_COPY) return NO_COPY
      list.push(copy)
    }
    return list
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  const isMessage = MESSAGES.has(prototype)
  if ((!isMessage && prototype !== Object.prototype) || Object.hasOwn(value, '__proto__')) return NO_COPY
  const from = value as Record<string, unknown>
  const copy: Record<string, unknown> = Object.assign(Object.create(prototype as object) as object, from)
  for (const key of Object.keys(copy)) {
    const member = from[key]
    if (typeof member !== 'object' || member === null) {
      if (typeof member === 'function' || typeof member === 'bigint' || typeof member === 'symbol') return NO_COPY
      continue
    }
    // What a message was made with is mostly what it has.
    const made = isMessage && key === 'lc_kwargs' ? undefined : copied(member, depth + 1)
    if (made === NO_COPY) return NO_COPY
    copy[key] = made
  }
  if (isMessage) {
    const kwargs = copiedKwargs(from, copy, depth)
    if (kwargs === NO_COPY) return NO_COPY
    copy['lc_kwargs'] = kwargs
  }
  return copy
}

function copiedKwargs(from: Record<string, unknown>, copy: Record<string, unknown>, depth: number): unknown {
  const given = from['lc_kwargs'] as Record<string, unknown>
  if (Object.getPrototypeOf(given) !== Object.prototype) return NO_COPY
  const kwargs: Record<string, unknown> = {}
  for (const key of Object.keys(given)) {
    const member = given[key]
    const made = member === from[key] ? copy[key] : copied(member, depth + 1)
    if (made === NO_COPY) return NO_COPY
    kwargs[key] = made
  }
  return kwargs
}

// Whether a value is what its copy was made of.
function isSame(value: unknown, copy: unknown): boolean {
  if (value === copy) return true
  if (typeof value !== 'object' || typeof copy !== 'object' || value === null || copy === null)
    return value !== value && copy !== copy
  if (Array.isArray(value)) {
    if (!Array.isArray(copy) || value.length !== copy.length) return false
    for (let i = 0; i < value.length; i++) if (!isSame(value[i], copy[i])) return false
    return true
  }
  if (Object.getPrototypeOf(value) !== Object.getPrototypeOf(copy)) return false
  const keys = Object.keys(value)
  const others = Object.keys(copy)
  if (keys.length !== others.length) return false
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i]!
    if (key !== others[i]) return false
    const [member, other] = [(value as Record<string, unknown>)[key], (copy as Record<string, unknown>)[key]]
    if (member !== other && !isSame(member, other)) return false
  }
  return true
}
