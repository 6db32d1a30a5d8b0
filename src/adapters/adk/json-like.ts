/**
 * What ADK's database service makes of a value: what has a `toJSON`, such as a `Date`, is what that says, and an object of a class is what it has. What would be
 * lost by that (maps, sets, errors, binary data, functions) is left as it is, for others to refuse. The same value where there is nothing to be done.
 */
export function jsonLike(value: unknown): unknown {
  return converted(value, [])
}

// Deeper ones, and cycles, are refused by who comes next.
const MAX_DEPTH = 1000

function converted(value: unknown, ancestors: object[]): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (ancestors.length >= MAX_DEPTH || ancestors.includes(value)) return value
  ancestors.push(value)
  const result = Array.isArray(value) ? ofList(value, ancestors) : ofObject(value, ancestors)
  ancestors.pop()
  return result
}

function ofList(list: readonly unknown[], ancestors: object[]): unknown {
  let copy: unknown[] | undefined
  for (let i = 0; i < list.length; i++) {
    const item = converted(list[i], ancestors)
    if (item !== list[i]) (copy ??= [...list])[i] = item
  }
  return copy ?? list
}

function ofObject(object: object, ancestors: object[]): unknown {
  if (ArrayBuffer.isView(object) || object instanceof Error) return object
  const { toJSON } = object as { toJSON?: unknown }
  if (typeof toJSON === 'function') {
    const said = (toJSON as () => unknown).call(object)
    // An invalid date has nothing to say.
    return said === null || said === object ? object : converted(said, ancestors)
  }
  const keys = Object.keys(object)
  let copy: Record<string, unknown> | undefined
  if (!isPlain(object)) {
    if (keys.length === 0) return object
    copy = ownOf(object, keys)
  }
  for (const key of keys) {
    const given = (object as Record<string, unknown>)[key]
    const member = converted(given, ancestors)
    if (member !== given) define((copy ??= ownOf(object, keys)), key, member)
  }
  return copy ?? object
}

function isPlain(object: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(object)
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null
}

function ownOf(object: object, keys: readonly string[]): Record<string, unknown> {
  const copy: Record<string, unknown> = {}
  for (const key of keys) define(copy, key, (object as Record<string, unknown>)[key])
  return copy
}

// An assignment to `__proto__` would not make a property.
function define(object: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, enumerable: true, writable: true, configurable: true })
}
