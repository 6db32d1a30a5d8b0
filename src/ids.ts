import { nanoid } from 'nanoid'

/** How many ids are made at once: one alone, after something else, takes several times as long. */
const AT_ONCE = 64

const made = new Map<string, string[]>()

/**
 * A fresh id of 21 characters after `prefix`. nanoid adds it up letter by letter, and V8 would keep it so, as a tree of six
 * times the size, until somebody looks into it: normalizing does.
 */
export function freshId(prefix = ''): string {
  let ids = made.get(prefix)
  if (!ids) made.set(prefix, (ids = []))
  if (ids.length === 0) for (let i = 0; i < AT_ONCE; i++) ids.push(`${prefix}${nanoid()}`.normalize())
  return ids.pop()!
}
