import { urlAlphabet } from 'nanoid'
import { expect, it } from 'vitest'
import { freshId } from '../src/ids.ts'

const COUNT = 20_000

it.each(['', 'msg_'])(
  'ids after %j have 21 letters of nanoid, each as often as the others; none comes again',
  (prefix) => {
    const ids = Array.from({ length: COUNT }, () => freshId(prefix))
    expect(ids.filter((id) => !id.startsWith(prefix) || id.length !== prefix.length + 21)).toEqual([])
    expect(new Set(ids).size).toBe(COUNT)
    const letters = Buffer.from(ids.map((id) => id.slice(prefix.length)).join(''))
    const counts = new Uint32Array(128)
    for (const letter of letters) counts[letter]!++
    const found = String.fromCharCode(...[...counts.keys()].filter((letter) => counts[letter]! > 0))
    expect(found).toBe(urlAlphabet.split('').toSorted().join(''))
    // Ten standard deviations: less likely than that two ids are the same.
    const mean = letters.length / urlAlphabet.length
    const farthest = Math.max(...urlAlphabet.split('').map((letter) => Math.abs(counts[letter.charCodeAt(0)]! - mean)))
    expect(farthest).toBeLessThan(10 * Math.sqrt(mean))
  }
)
