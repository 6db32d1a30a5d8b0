import type { Json } from '../json.ts'
import type { Cut, Shown } from './wire.ts'

/** The longest text that is shown at once, in UTF-16 code units, and when there is little room left. */
const TEXT_LENGTH = 2_000
const SHORT_LENGTH = 100
/** How deep lists and objects are shown. */
const DEPTH = 40

/**
 * A copy of a value for which there is room: long texts have their beginning, and lists and objects their first entries, until all of it with
 * the list of cuts takes about `budget` bytes of JSON, of which it takes at most a few hundred more. What was cut is named.
 */
export function cutJson<T extends Json>(value: T, budget: number): Shown<T> {
  const cuts: Cut[] = []
  let left = budget
  const note = (cut: Cut): void => {
    cuts.push(cut)
    left -= bytesOfJson(cut)
  }
  const copy = (part: Json, path: Cut['path']): Json => {
    if (typeof part === 'string') return copyText(part, path)
    if (typeof part !== 'object' || part === null) {
      left -= 8
      return part
    }
    return isList(part) ? copyList(part, path) : copyObject(part, path)
  }
  const copyList = (list: readonly Json[], path: Cut['path']): Json => {
    const kept: Json[] = []
    left -= 2
    for (const [i, each] of list.entries()) {
      if (left <= 0 || path.length >= DEPTH) {
        note({ path, what: 'list', size: list.length })
        break
      }
      left -= 1
      kept.push(copy(each, [...path, i]))
    }
    return kept
  }
  const copyObject = (object: { readonly [key: string]: Json }, path: Cut['path']): Json => {
    const keys = Object.keys(object)
    const kept: [string, Json][] = []
    left -= 2
    for (const key of keys) {
      // A key may itself be longer than all there is room for.
      const size = key.length > roomFor(left) ? Infinity : bytesOfJson(key) + 2
      if (size > left || path.length >= DEPTH) {
        note({ path, what: 'object', size: keys.length })
        break
      }
      left -= size
      kept.push([key, copy(object[key]!, [...path, key])])
    }
    // Also a key that is called __proto__ becomes one of the copy's own.
    return Object.fromEntries(kept)
  }
  const copyText = (text: string, path: Cut['path']): string => {
    if (isPicture(text)) {
      left -= 2
      note({ path, what: 'image', size: text.length })
      return ''
    }
    const shown = beginningOf(text, roomFor(left))
    left -= bytesOfJson(shown)
    if (shown.length < text.length) note({ path, what: 'text', size: text.length })
    return shown
  }
  return { value: copy(value, []) as T, cuts }
}

// As JSON, control characters and lone surrogates take six bytes each.
function roomFor(left: number): number {
  return Math.min(TEXT_LENGTH, Math.max(SHORT_LENGTH, Math.floor(left / 6)))
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value)
}

/** What a value takes as JSON in UTF-8. */
export function bytesOfJson(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value))
}

/** The first of some values, as many as there is room for in so many bytes of JSON. `isFull`: there are more. */
export function fitting<T>(values: Iterable<T>, budget: number): { readonly kept: T[]; readonly isFull: boolean } {
  const kept: T[] = []
  let left = budget
  for (const value of values) {
    left -= bytesOfJson(value) + 1
    if (left < 0) return { kept, isFull: true }
    kept.push(value)
  }
  return { kept, isFull: false }
}

/** The beginning of a text, not ending between the two halves of a character. */
export function beginningOf(text: string, length: number): string {
  return text.length <= length ? text : text.slice(0, length).replace(/[\uD800-\uDBFF]$/, '')
}

/** The pictures that are shown: what they are, a browser knows to be harmless. */
const PICTURE = /^data:(image\/(?:png|jpeg|gif|webp|avif));base64,/

/** Whether a text is the `data:` address of a picture that is shown as one. */
function isPicture(text: string): boolean {
  return PICTURE.test(text)
}

/** A picture's type and bytes. */
export function pictureOf(address: string): { readonly type: string; readonly bytes: Buffer } | undefined {
  const [prefix, type] = PICTURE.exec(address) ?? []
  return prefix && type ? { type, bytes: Buffer.from(address.slice(prefix.length), 'base64') } : undefined
}

/** What stands at a path of a value; `undefined` where there is nothing. */
export function atPath(value: Json | undefined, path: Cut['path']): Json | undefined {
  let part = value
  for (const key of path) {
    if (typeof part !== 'object' || part === null || !Object.hasOwn(part, key)) return undefined
    part = (part as { readonly [key: string]: Json })[String(key)]
  }
  return part
}
