import { CLASSES } from './messages.ts'

/**
 * What a value was at a moment: plain data, or a message of LangChain with all its state in its own properties. It tells whether a value still is what it was, and
 * makes others like it. That takes a hundredth of what LangGraph's serializer does, and a run asks thousands of times.
 */
export class Print {
  /** `undefined` of lists. */
  readonly #prototype: object | undefined
  readonly #keys: readonly string[]
  /** Prints where they are objects. */
  readonly #members: readonly unknown[]
  /** Where in the members prints are, and what is the owner's. */
  readonly #inner: readonly number[]
  /** The members, as far as they are no objects. */
  readonly #flat: object
  /** It is what a message was made with, of which it has all itself, too: what the message has is what counts. */
  readonly #isAllOwners: boolean

  /** `undefined` where there is more to the value, or it has itself in it. */
  static of(value: object): Print | undefined {
    return printOf(value, undefined, 0)
  }

  constructor(
    prototype: object | undefined,
    keys: readonly string[],
    members: readonly unknown[],
    inner: readonly number[],
    flat: object,
    isAllOwners = false
  ) {
    this.#prototype = prototype
    this.#keys = keys
    this.#members = members
    this.#inner = inner
    this.#flat = flat
    this.#isAllOwners = isAllOwners
  }

  matches(value: unknown): boolean {
    if (typeof value !== 'object' || value === null) return false
    const members = this.#members
    if (this.#prototype === undefined) {
      if (!Array.isArray(value) || value.length !== members.length) return false
      for (let i = 0; i < members.length; i++) {
        const was = members[i]
        const now: unknown = value[i]
        if (now !== was && !isStill(was, now)) return false
      }
      return true
    }
    if (Object.getPrototypeOf(value) !== this.#prototype) return false
    const keys = this.#keys
    let i = 0
    // With `for … in`, V8 has each member at its place, and makes no list. It would give inherited ones, too: then it is not what it was.
    for (const key in value) {
      if (i === keys.length || key !== keys[i]) return false
      if (!this.#isAllOwners) {
        const was = members[i]
        const now: unknown = (value as Record<string, unknown>)[key]
        if (now !== was && !isStill(was, now)) return false
      }
      i++
    }
    return i === keys.length
  }

  make(owner?: Record<string, unknown>): object {
    const members = this.#members
    const inner = this.#inner
    if (this.#prototype === undefined) {
      const list = members.slice()
      for (let i = 0; i < inner.length; i++) list[inner[i]!] = (members[inner[i]!] as Print).make()
      return list
    }
    const made = { ...this.#flat } as Record<string, unknown>
    if (this.#prototype !== Object.prototype) Object.setPrototypeOf(made, this.#prototype)
    for (let i = 0; i < inner.length; i++) {
      const key = this.#keys[inner[i]!]!
      const member = members[inner[i]!]
      made[key] = member === OWNERS ? owner![key] : (member as Print).make(made)
    }
    return made
  }
}

/** What a message has of what it was made with. Mostly it has all of that itself, too. */
const KWARGS = 'lc_kwargs'

/** Says that a member is the same object as the owner's of that name. */
const OWNERS = Symbol("the owner's")

function isStill(was: unknown, member: unknown): boolean {
  return was instanceof Print ? was.matches(member) : Number.isNaN(was) && Number.isNaN(member)
}

function printOf(value: object, owner: object | undefined, depth: number): Print | undefined {
  if (depth > 100) return undefined
  const isList = Array.isArray(value)
  const prototype = Object.getPrototypeOf(value) as object
  const isOfLangChain = MESSAGES.has(prototype)
  const isPlain = isList || prototype === Object.prototype || isOfLangChain
  if (!isPlain || (!isList && Object.hasOwn(value, '__proto__'))) return undefined
  const keys = Object.keys(value)
  // A list with holes, or with more than members.
  if (isList && keys.length !== value.length) return undefined
  const isAllOwners = owner !== undefined && keys.every((key) => key in owner)
  const members: unknown[] = []
  const inner: number[] = []
  // Of what is inside it has nothing: that is the caller's.
  const flat: Record<string, unknown> = isList ? {} : { ...(value as Record<string, unknown>) }
  for (const [i, key] of keys.entries()) {
    const member: unknown = (value as Record<string, unknown>)[key]
    if (typeof member === 'function' || typeof member === 'symbol' || typeof member === 'bigint') return undefined
    if (typeof member === 'object' && member !== null) {
      const isOwners = isAllOwners && Object.hasOwn(owner, key) && (owner as Record<string, unknown>)[key] === member
      const print = isOwners ? OWNERS : printOf(member, isOfLangChain && key === KWARGS ? value : undefined, depth + 1)
      if (!print) return undefined
      members.push(print)
      inner.push(i)
      flat[key] = null
    } else members.push(member)
  }
  // It is made after what it shares.
  if (isOfLangChain) inner.sort((a, b) => Number(keys[a] === KWARGS) - Number(keys[b] === KWARGS))
  if (isList) return new Print(undefined, [], members, inner, flat)
  return new Print(prototype, keys, members, inner, flat, isAllOwners)
}

/** Whether it is a message of LangChain: of its own class, and of none made of it. */
export function isMessage(value: object): boolean {
  return MESSAGES.has(Object.getPrototypeOf(value))
}

const MESSAGES: ReadonlySet<unknown> = new Set(CLASSES.map(({ prototype }) => prototype as unknown))
