import { createHash } from 'node:crypto'
import type { Path } from './errors.ts'

/** What JSON can carry. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json }

/** An object that JSON can carry. */
export type JsonObject = { readonly [key: string]: Json }

/** Deeper values are refused: parsers and serializers of other programs give up at about this depth. */
const MAX_DEPTH = 1000

/** What {@link copyJson} refuses, and where. */
export class NotJson extends Error {
  readonly what: string
  readonly path: Path
  constructor(what: string, path: Path) {
    super(`${what} at ${formatPath(path)}`)
    this.what = what
    this.path = path
  }
}

/**
 * A deeply frozen copy of `value` that JSON gives back as it is: the same strings, whole objects with their keys in
 * order (`__proto__` is a key like any other), lists without holes. As JSON does it, properties that are `undefined` or
 * not enumerable are dropped, names on a list too, and -0 becomes 0.
 *
 * @throws {NotJson} at what JSON would drop or change: functions, symbols (as keys, too), bigints, NaN and infinities,
 * `undefined` or a hole in a list, getters, cycles, objects that are not plain (`Date`, `Map`, instances of classes);
 * and at what is nested more than 1000 deep.
 */
export function copyJson(value: unknown): Json {
  return copy(value, [])
}

// `ancestors` holds object, key, object, key, …: enough to find cycles and to name the path, with nothing allocated on
// the way when all is well.
function copy(value: unknown, ancestors: unknown[]): Json {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value
    case 'number':
      if (Number.isFinite(value)) return value === 0 ? 0 : value
      throw new NotJson(`${value} is not JSON`, pathOf(ancestors))
    case 'object':
      if (value === null) return null
      return Array.isArray(value) ? copyList(value, ancestors) : copyObject(value, ancestors)
    case 'undefined':
      throw new NotJson('undefined is not JSON', pathOf(ancestors))
    default:
      throw new NotJson(`a ${typeof value} is not JSON`, pathOf(ancestors))
  }
}

function copyList(list: readonly unknown[], ancestors: unknown[]): Json {
  enter(list, ancestors)
  const result: Json[] = []
  const place = ancestors.push(list, -1) - 1
  for (let i = 0; i < list.length; i++) {
    ancestors[place] = i
    result.push(copy(ownValue(list, i, ancestors), ancestors))
  }
  leave(ancestors)
  return Object.freeze(result)
}

function copyObject(object: object, ancestors: unknown[]): Json {
  enter(object, ancestors)
  const prototype: unknown = Object.getPrototypeOf(object)
  // Object.prototype of another realm (a vm, a test runner) is one without a prototype, too.
  if (prototype !== null && prototype !== Object.prototype && Object.getPrototypeOf(prototype) !== null) {
    throw new NotJson(`${describe(object)} is not a plain object`, pathOf(ancestors))
  }
  if (Object.getOwnPropertySymbols(object).length > 0) {
    throw new NotJson('a property named by a symbol is not JSON', pathOf(ancestors))
  }
  const result: Record<string, Json> = {}
  const place = ancestors.push(object, '') - 1
  for (const key of Object.keys(object)) {
    ancestors[place] = key
    const value = ownValue(object, key, ancestors)
    if (value !== undefined) {
      const copied = copy(value, ancestors)
      if (key === '__proto__') {
        Object.defineProperty(result, key, { value: copied, enumerable: true, configurable: true, writable: true })
      } else result[key] = copied
    }
  }
  leave(ancestors)
  return Object.freeze(result)
}

// Setting the length takes longer.
function leave(ancestors: unknown[]): void {
  ancestors.pop()
  ancestors.pop()
}

function enter(object: object, ancestors: unknown[]): void {
  if (ancestors.length > 2 * MAX_DEPTH) throw new NotJson(`nesting deeper than ${MAX_DEPTH}`, pathOf(ancestors))
  for (let i = 0; i < ancestors.length; i += 2) {
    if (ancestors[i] === object) throw new NotJson('a cycle is not JSON', pathOf(ancestors))
  }
}

function ownValue(object: object, key: PropertyKey, ancestors: unknown[]): unknown {
  const property = Object.getOwnPropertyDescriptor(object, key)
  if (property?.get || property?.set) throw new NotJson('a getter is not JSON', pathOf(ancestors))
  return property?.value
}

function pathOf(ancestors: readonly unknown[]): Path {
  return ancestors.filter((_, i) => i % 2 === 1) as (string | number)[]
}

function describe(object: object): string {
  const name: unknown = object.constructor?.name
  return typeof name === 'string' && name !== '' ? `an instance of ${name}` : 'an object with a prototype'
}

/** `path` as one reads it in code: `[0].content[2].text`; the value itself is `the value`. Long ones are cut in the middle. */
export function formatPath(path: Path): string {
  const text = path
    .map((key) => (typeof key === 'string' && /^[A-Za-z_$][\w$]*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`))
    .join('')
  if (text === '') return 'the value'
  return text.length > 200 ? `${text.slice(0, 120)} … ${text.slice(-60)}` : text.replace(/^\./, '')
}

/** Freezes a value that came from JSON, deeply. What is frozen is taken for deeply frozen. */
export function freezeJson<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  for (const key of Object.keys(value)) freezeJson((value as Record<string, unknown>)[key])
  return Object.freeze(value)
}

/** Whether two values are the same JSON, whatever the order of their keys. */
export function equalJson(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (isList(a) || isList(b)) {
    return isList(a) && isList(b) && a.length === b.length && a.every((item, i) => equalJson(item, b[i]))
  }
  const keys = Object.keys(a)
  return (
    keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && equalJson(a[key], b[key]))
  )
}

/** The SHA-256, as hex, of a value's {@link canonical} JSON. */
export function hashJson(value: Json): string {
  return createHash('sha256').update(canonical(value)).digest('hex')
}

/** A value's canonical JSON: keys sorted by code unit, no white space. Equal values, equal texts. */
export function canonical(value: Json): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (isList(value)) return `[${value.map(canonical).join(',')}]`
  const members = Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonical(value[key]!)}`)
  return `{${members.join(',')}}`
}

/**
 * The size of a value as JSON in UTF-8, in bytes, if that is over `limit`; otherwise 0. A cheap upper bound comes
 * first, so that small values are never serialized.
 */
export function bytesOver(value: Json, limit: number): number {
  if (upperBound(value, limit) <= limit) return 0
  const size = Buffer.byteLength(JSON.stringify(value))
  return size > limit ? size : 0
}

// The longest that a code unit becomes is `\u0000`: 6 bytes; the longest number, -0.0000012345678901234567, has 25.
function upperBound(value: Json, limit: number): number {
  if (typeof value === 'string') return 6 * value.length + 2
  if (typeof value !== 'object' || value === null) return 25
  let size = 2
  if (isList(value)) {
    for (const item of value) if ((size += 1 + upperBound(item, limit)) > limit) break
    return size
  }
  // for … in makes no array of the keys; what it might inherit only makes the bound higher.
  for (const key in value) if ((size += 6 * key.length + 4 + upperBound(value[key]!, limit)) > limit) break
  return size
}

/**
 * About how many bytes a value takes in memory, rather more than less: to keep a bound, not to account. Two a code unit of a string, as
 * looking what is in it would make V8 copy those that share their beginnings. Strings that are shared are counted each time.
 */
export function memoryOf(value: Json): number {
  if (typeof value === 'string') return 16 + 2 * value.length
  if (typeof value !== 'object' || value === null) return 8
  let size = 40
  if (isList(value)) {
    for (const item of value) size += 8 + memoryOf(item)
    return size
  }
  for (const key in value) size += 8 + memoryOf(value[key]!)
  return size
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value)
}
