import { randomFillSync } from 'node:crypto'
import { urlAlphabet } from 'nanoid'

/** Of nanoid's alphabet, which has 64 letters: 126 bits at random. */
const LENGTH = 21

/** How many ids are made at once: one alone, after something else, takes several times as long. */
const AT_ONCE = 256

const letters = Buffer.from(urlAlphabet)
const made = new Map<string, string[]>()

/**
 * A fresh id of 21 characters after `prefix`, which is ASCII, as nanoid makes them: nanoid itself adds them up letter by letter, which takes several times
 * as long.
 */
export function freshId(prefix = ''): string {
  let ids = made.get(prefix)
  if (!ids) made.set(prefix, (ids = []))
  if (ids.length === 0) make(ids, prefix)
  return ids.pop()!
}

function make(ids: string[], prefix: string): void {
  const bytes = randomFillSync(Buffer.allocUnsafe(AT_ONCE * LENGTH))
  const width = prefix.length + LENGTH
  // In one piece: V8 keeps what is added up as a tree until somebody looks into it.
  const texts = Buffer.alloc(AT_ONCE * width, prefix.padEnd(width), 'latin1')
  for (let n = 0; n < AT_ONCE; n++) {
    const end = (n + 1) * width
    for (let i = 1; i <= LENGTH; i++) texts[end - i] = letters[bytes[n * LENGTH + i - 1]! & 63]!
    ids.push(texts.toString('latin1', end - width, end))
  }
}
