import { nanoid } from 'nanoid'

/**
 * A fresh id of 21 characters after `prefix`. nanoid adds it up letter by letter, and V8 would keep it so, as a tree of six
 * times the size, until somebody looks into it: normalizing does.
 */
export function freshId(prefix = ''): string {
  return `${prefix}${nanoid()}`.normalize()
}
