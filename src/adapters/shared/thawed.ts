/** A copy of plain data that its reader may change: what is stored is frozen. */
export function thawed<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(thawed) as T
  const copy: Record<string, unknown> = {}
  for (const key of Object.keys(value)) {
    const member = thawed((value as Record<string, unknown>)[key])
    // An assignment to `__proto__` would not make a property.
    if (key === '__proto__')
      Object.defineProperty(copy, key, { value: member, enumerable: true, writable: true, configurable: true })
    else copy[key] = member
  }
  return copy as T
}
