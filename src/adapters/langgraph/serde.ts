import { JsonPlusSerializer, type BaseCheckpointSaver } from '@langchain/langgraph-checkpoint'
import type { Path } from '../../errors.ts'
import { turnlogError } from '../../errors.ts'
import type { Json } from '../../json.ts'
import { invalid } from '../../message.ts'
import { thawed } from '../shared/thawed.ts'
import { messageOf } from './messages.ts'
import { isMessage, Print } from './print.ts'
import { isMember, jsonOf, memberOf, type Dumped, type Member, type Stored, type Value } from './thread.ts'

/** What LangGraph's savers put values through. */
export type Serde = BaseCheckpointSaver['serde']

/**
 * What `serde` makes of a value as it is now: all of it is asked for before this answers, so that what is changed meanwhile has no effect. It answers at once where
 * it need not ask.
 *
 * Members of a list that are known, and have not changed since, are not asked for again. That is for speed alone: each is compared.
 *
 * @throws `INVALID_MESSAGE`, by its promise, where LangGraph's own serializer would give a text of its own in place of the value, such as for a bigint; where it is nested too
 * deep for the serializer
 */
export function dump(serde: Serde, value: unknown, path: Path): Dumped | Stored | Promise<Dumped | Stored> {
  if (!isDefault(serde) || !Array.isArray(value)) return dumpWhole(serde, value, path)
  const before = Roster.of(value)
  const roster = new Roster()
  const dumping: Promise<void>[] = []
  const members: (Member | Json)[] = Array.from({ length: value.length })
  for (let i = 0; i < value.length; i++) {
    const given: unknown = value[i]
    if (isPrimitive(given)) {
      members[i] = given
      continue
    }
    const known = before?.find(i, given as object) ?? knownAs(given as object)
    const member = known ?? dumpMember(serde, given, path, roster, i)
    if (member instanceof Promise) dumping.push(member.then((made) => void (members[i] = made)))
    else members[i] = member
    if (known) roster.note(i, given as object, known)
  }
  roster.keepFor(value)
  return dumping.length > 0 ? Promise.all(dumping).then(() => ({ members })) : { members }
}

function dumpWhole(serde: Serde, value: unknown, path: Path): Dumped | Stored | Promise<Dumped | Stored> {
  const json = isDefault(serde) ? plainJson(value, 0) : undefined
  return json === undefined ? dumpSerialized(serde, value, path) : { json }
}

async function dumpSerialized(serde: Serde, value: unknown, path: Path): Promise<Dumped | Stored> {
  const [type, bytes] = await serialized(serde, value, path)
  const json = type === 'json' ? parsed(bytes) : undefined
  if (json === undefined) return { type, base64: Buffer.from(bytes).toString('base64') }
  assertCarried(json, value, path)
  return { json }
}

// What LangGraph's own serializer makes of plain data and messages of LangChain, by a tenth of its work; `undefined` where there is more to the value.
function plainJson(value: unknown, depth: number): Json | undefined {
  if (isPrimitive(value)) return value === 0 ? 0 : value
  if (value === undefined) return { lc: 2, type: 'undefined' }
  if (typeof value === 'number') return null
  if (typeof value !== 'object' || value === null || depth > 100) return undefined
  if (Array.isArray(value)) {
    const list: Json[] = []
    for (let i = 0; i < value.length; i++) {
      const member = plainJson(value[i], depth + 1)
      if (member === undefined) return undefined
      list.push(member)
    }
    return list
  }
  let members = value as Record<string, unknown>
  if (isMessage(value)) {
    if (Object.hasOwn(value, 'toJSON')) return undefined
    try {
      members = (value as { toJSON(): Record<string, unknown> }).toJSON()
    } catch {
      // The serializer says what becomes of it.
      return undefined
    }
  } else if (Object.getPrototypeOf(value) !== Object.prototype) return undefined
  const copy: Record<string, Json> = {}
  for (const key of Object.keys(members)) {
    // An object that has a way of its own to be serialized, that stands for a task, or that an assignment would change.
    if (key === 'toJSON' || key === 'lg_name' || key === '__proto__') return undefined
    const member = plainJson(members[key], depth + 1)
    if (member === undefined) return undefined
    copy[key] = member
  }
  return copy
}

// What JSON has as it is.
function isPrimitive(value: unknown): value is string | number | boolean | null {
  return typeof value === 'string' || typeof value === 'boolean' || value === null || Number.isFinite(value)
}

function dumpMember(
  serde: Serde,
  value: unknown,
  path: Path,
  roster: Roster,
  place: number
): Member | Json | Promise<Member | Json> {
  const print = typeof value === 'object' ? Print.of(value!) : undefined
  const noted = (json: Json): Member | Json => {
    const member = memberOf(json)
    if (print && isMember(member)) {
      member.print = print
      roster.note(place, value as object, member)
      DUMPED.set(value as object, member)
    }
    return member
  }
  const json = print && plainJson(value, 0)
  if (json !== undefined) return noted(json)
  const at = [...path, place]
  return serialized(serde, [value], at).then(([, bytes]) => {
    const list = parsed(bytes)!
    assertCarried(list, value, at)
    return noted((list as [Json])[0])
  })
}

async function serialized(serde: Serde, value: unknown, path: Path): Promise<[string, Uint8Array]> {
  try {
    return await serde.dumpsTyped(value)
  } catch (error) {
    // It is nested too deep, or its text would be too long.
    if (error instanceof RangeError) throw invalid(`the serializer cannot carry it: ${error.message}`, path)
    throw error
  }
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
  if (!('json' in stored)) return serde.loadsTyped(stored.type, new Uint8Array(Buffer.from(stored.base64, 'base64')))
  if (value.list && isDefault(serde)) return loadList(serde, value.list.toArray())
  const json = jsonOf(value)!
  if (!isDefault(serde)) return serde.loadsTyped('json', new TextEncoder().encode(JSON.stringify(json)))
  return isPlain(json) ? thawed(json) : serde.loadsTyped('json', JSON.stringify(json))
}

/** Where a value is: a session, as it is at a version. */
export interface Place {
  readonly userId: string
  readonly id: string
  readonly version: number
}

function incomplete({ userId, id: sessionId, version }: Place): Error {
  const name = `Thread ${JSON.stringify(sessionId)} of user ${JSON.stringify(userId)}`
  const message = `${name} lacks items that a checkpoint refers to`
  return turnlogError('CORRUPT_LOG', message, { userId, sessionId, version })
}

function loadList(serde: Serde, members: readonly (Member | Json)[]): unknown[] | Promise<unknown[]> {
  const roster = new Roster()
  const loading: Promise<void>[] = []
  const list: unknown[] = Array.from({ length: members.length })
  const noted = (value: unknown, member: Member, place: number): void => {
    list[place] = value
    member.print = typeof value === 'object' && value !== null ? Print.of(value) : undefined
    if (member.print) roster.note(place, value as object, member)
  }
  for (let i = 0; i < members.length; i++) {
    const member = members[i]!
    if (!isMember(member)) list[i] = member
    else if (member.print) roster.note(i, (list[i] = member.print.make()), member)
    else {
      const { json } = member
      const value = isPlain(json) ? thawed(json) : messageOf(json, thawed)
      if (value !== undefined) noted(value, member, i)
      else loading.push(serde.loadsTyped('json', JSON.stringify(json)).then((loaded) => noted(loaded, member, i)))
    }
  }
  const keep = (): unknown[] => {
    roster.keepFor(list)
    return list
  }
  return loading.length > 0 ? Promise.all(loading).then(keep) : keep()
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
  return Object.getPrototypeOf(serde) === JsonPlusSerializer.prototype && Object.keys(serde).length === 0
}

/** What the members of a list, that was dumped or was loaded and given to somebody, are in JSON, and were when that was seen. */
class Roster {
  readonly #values: object[] = []
  readonly #members: Member[] = []
  #places: Map<object, number> | undefined
  /** Something else was found at a place than what was there. */
  #isShifted = false

  /** That of a list with the same first member. */
  static of(list: readonly unknown[]): Roster | undefined {
    return ROSTERS.get(list[0] as object)
  }

  keepFor(list: readonly unknown[]): void {
    const [first] = list
    if (typeof first === 'object' && first !== null) ROSTERS.set(first, this)
  }

  note(place: number, value: object, member: Member): void {
    this.#values[place] = value
    this.#members[place] = member
  }

  /** What `value` is known as, if it has not changed since. It was at that place, or at another. */
  find(place: number, value: object): Member | undefined {
    if (this.#values[place] === value) return this.#ifSame(place, value)
    // What is added at the end was nowhere.
    if (place >= this.#values.length && !this.#isShifted) return undefined
    this.#isShifted = true
    this.#places ??= new Map(this.#values.map((each, i) => [each, i]))
    const found = this.#places.get(value)
    return found === undefined ? undefined : this.#ifSame(found, value)
  }

  #ifSame(place: number, value: object): Member | undefined {
    const member = this.#members[place]!
    return member.print!.matches(value) ? member : undefined
  }
}

const ROSTERS = new WeakMap<object, Roster>()
/** What was dumped as a member of a list, as that of a write, is soon one of another list. */
const DUMPED = new WeakMap<object, Member>()

function knownAs(value: object): Member | undefined {
  const member = DUMPED.get(value)
  return member?.print!.matches(value) ? member : undefined
}
