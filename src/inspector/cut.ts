import type { Json } from '../json.ts'
import type { Cut, Shown } from './wire.ts'

/** The longest text that is shown at once, in UTF-16 code units, and when there is little room left. */
const TEXT_LENGTH = 2_000
const SHORT_LENGTH = 100
/** How deep lists and objects are shown. */
const DEPTH = 40

/**
 * A copy of a value for which there is room: long texts have their beginning, and lists and objects their first entries once what they take in
 * JSON has reached `budget` bytes. What was cut is named.
 */
export function cutJson<T extends Json>(value: T, budget: number): Shown<T> {
  const cuts: Cut[] = []
  let left = budget
  const copy = (part: Json, path: Cut['path']): Json => {
    if (typeof part === 'string') return copyText(part, path)
    if (typeof part !== 'object' || part === null) {
      left -= 8
      return part
    }
    const entries = Object.entries(part)
    const isList = Array.isArray(part)
    const kept: [string, Json][] = []
    for (const [key, each] of entries) {
      if ((left <= 0 && kept.length > 0) || path.length >= DEPTH) {
        cuts.push({ path, what: isList ? 'list' : 'object', size: entries.length })
        break
      }
      left -= 4 + (isList ? 0 : Buffer.byteLength(key))
      // A key may itself be longer than all there is room for.
      if (key.length > TEXT_LENGTH) cuts.push({ path, what: 'object', size: entries.length })
      else kept.push([key, copy(each, [...path, isList ? Number(key) : key])])
    }
    return isList ? kept.map(([, each]) => each) : Object.fromEntries(kept)
  }
  const copyText = (text: string, path: Cut['path']): string => {
    if (isPicture(text)) {
      cuts.push({ path, what: 'image', size: text.length })
      return ''
    }
    const shown =
      text.length > TEXT_LENGTH || left <= 0 ? beginningOf(text, left > 0 ? TEXT_LENGTH : SHORT_LENGTH) : text
    if (shown.length < text.length) cuts.push({ path, what: 'text', size: text.length })
    // As JSON: control characters and lone surrogates take six bytes.
    left -= Buffer.byteLength(JSON.stringify(shown))
    return shown
  }
  return { value: copy(value, []) as T, cuts }
}

/** The beginning of a text, not ending between the two halves of a character. */
export function beginningOf(text: string, length: number): string {
  return text.length <= length ? text : text.slice(0, length).replace(/[\uD800-\uDBFF]$/, '')
}

/** The pictures that are shown: what they are, a browser knows to be harmless. */
const PICTURE = /^data:(image\/(?:png|jpeg|gif|webp|avif));base64,/

/** Whether a text is the `data:` address of a picture that is shown as one. */
export function isPicture(text: string): boolean {
  return PICTURE.test(text)
}

/** A picture's type and bytes. */
export function pictureOf(address: string): { readonly type: string; readonly bytes: Buffer } | undefined {
  const [prefix, type] = PICTURE.exec(address) ?? []
  return prefix && type ? { type, bytes: Buffer.from(address.slice(prefix.length), 'base64') } : undefined
}

/** What stands at a path of a value. */
export function atPath(value: Json, path: Cut['path']): Json | undefined {
  let part: Json | undefined = value
  for (const key of path) {
    if (typeof part !== 'object' || part === null || !Object.hasOwn(part, key)) return undefined
    part = (part as { readonly [key: string]: Json })[String(key)]
  }
  return part
}
