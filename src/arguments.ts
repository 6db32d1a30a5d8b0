import { setMaxListeners } from 'node:events'
import { inspect } from 'node:util'
import type { ExpectedVersion } from './errors.ts'

// What callers may give. Each function gives its value back, or throws a TypeError that shows it.

/** Options: an object. Left out, they are an empty one. */
export function optionsOf<T extends object>(value: T | undefined, name = 'options'): Partial<T> {
  return value === undefined ? {} : objectOf(value, name)
}

/** Keys of options, each of which the types know. */
export type OptionKeys<T> = Readonly<Record<keyof T, true>>

/** Options without keys that there are not: what is misspelt would have no effect, and nobody would notice. */
export function knownOptions<T extends object>(options: T, known: Readonly<Record<string, true>>, name?: string): T {
  const keys = Object.keys(known)
  for (const key of Object.keys(options)) {
    if (Object.hasOwn(known, key)) continue
    const nameOf = (each: string): string => (name === undefined ? each : `${name}.${each}`)
    const meant = keys.find((each) => isNear(key.toLowerCase(), each.toLowerCase()))
    const guess = meant === undefined ? `there are ${keys.join(', ')}` : `is ${nameOf(meant)} meant?`
    throw new TypeError(`${nameOf(key)} is no option: ${guess}`)
  }
  return options
}

// Whether one becomes the other by at most two letters more, less or changed.
export function isNear(a: string, b: string): boolean {
  let distances = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const changed = distances[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(changed, distances[j]! + 1, next[j - 1]! + 1))
    }
    distances = next
  }
  return distances[b.length]! <= 2
}

/** An object: what it has is for others to check. */
export function objectOf<T extends object>(value: T, name: string, what = 'an object'): T {
  if (typeof value !== 'object' || (value as unknown) === null) throw misuse(name, what, value)
  return value
}

/** An id: 1 to 512 UTF-16 code units with paired surrogates, not blank. */
export function idOf(name: string, value: unknown): string {
  if (typeof value !== 'string') throw misuse(name, 'a string', value)
  if (value.trim() === '') throw misuse(name, 'not blank', value)
  if (value.length > 512) throw misuse(name, 'at most 512 UTF-16 code units long', value)
  if (!value.isWellFormed()) throw misuse(name, 'without unpaired surrogates', value)
  return value
}

/** A whole number that is at least `least`, or `undefined`. */
export function wholeNumber(name: string, value: unknown, least: number): number | undefined {
  return value === undefined ? undefined : requiredWholeNumber(name, value, least)
}

/** A whole number that is at least `least` and at most `most`. */
export function requiredWholeNumber(name: string, value: unknown, least: number, most = Infinity): number {
  if (Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most) return value as number
  throw misuse(name, `a whole number from ${least}${most === Infinity ? '' : ` to ${most}`}`, value)
}

/** A number of ms or things above 0, or `Infinity`. */
export function positive(name: string, value: unknown): number {
  if (typeof value === 'number' && value > 0) return value
  throw misuse(name, 'a positive number', value)
}

/** A version from 0, a valid date, or `undefined`. */
export function pointInLog(value: unknown): number | Date | undefined {
  if (!(value instanceof Date)) return wholeNumber('at', value, 0)
  if (Number.isNaN(value.getTime())) throw misuse('at', 'a valid date', value)
  return new Date(value)
}

/** What a write expects; `'any'` by default. */
export function expectation(value: unknown): ExpectedVersion {
  switch (value) {
    case undefined:
      return 'any'
    case 'any':
    case 'none':
    case 'exists':
      return value
    default:
      if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number
      throw misuse('expectedVersion', "a whole number from 0, 'none', 'exists' or 'any'", value)
  }
}

/** A signal, or `undefined`. */
export function signalOf(value: unknown): AbortSignal | undefined {
  const signal = value as Partial<AbortSignal> | null | undefined
  if (signal === undefined) return undefined
  // By what it can do: there may be more than one AbortSignal.
  const listens = typeof signal?.addEventListener === 'function' && typeof signal.removeEventListener === 'function'
  if (listens && typeof signal.aborted === 'boolean') return unwarned(signal as AbortSignal)
  throw misuse('signal', 'an AbortSignal', value)
}

/** A signal that any number of calls may listen to: Node warns of a leak after ten, and each of ours ends with its call. */
export function unwarned(signal: AbortSignal): AbortSignal {
  if (signal instanceof AbortSignal) setMaxListeners(0, signal)
  return signal
}

/** One of `choices`. */
export function oneOf<T extends string>(name: string, value: unknown, choices: readonly T[]): T {
  if (choices.includes(value as T)) return value as T
  throw misuse(name, choices.map((choice) => `'${choice}'`).join(' or '), value)
}

/** The error for an argument that makes no sense; of an address it shows no credentials. */
export function misuse(name: string, what: string, value: unknown): TypeError {
  // Before anything is cut off: what is cut may be where they end.
  const harmless = typeof value === 'string' ? withoutCredentials(value) : value
  const shown = inspect(harmless, { depth: 0, maxStringLength: 60, breakLength: Infinity })
  return new TypeError(`${name} must be ${what}; it is ${withoutCredentials(shown)}`)
}

/** A text without the credentials of addresses in it. */
export function withoutCredentials(text: string): string {
  return text
    .replace(/(?<=:\/\/).*@/s, '***@')
    .replaceAll(/(?<=:\/\/)[^'"*]*(?='\.\.\. \d+ more char)/g, '***')
    .replaceAll(/(?<=[?&][^=&\s]*(?:pass|token|secret)[^=&\s]*=)[^&\s]+/gi, '***')
}
