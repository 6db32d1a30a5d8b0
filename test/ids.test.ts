import { urlAlphabet } from 'nanoid'
import { expect, it } from 'vitest'
import { freshId } from '../src/ids.ts'

const COUNT = 20_000

it.each(['', 'msg_'])(
  'an id after %j has 21 letters of nanoid, each as often as the others, and never comes again',
  (prefix) => {
    const ids = Array.from({ length: COUNT }, () => freshId(prefix))
    const counts = new Map<string, number>()
    for (const id of ids) {
      expect(id.startsWith(prefix)).toBe(true)
      expect(id).toHaveLength(prefix.length + 21)
      for (const letter of id.slice(prefix.length)) counts.set(letter, (counts.get(letter) ?? 0) + 1)
    }
    expect(new Set(ids).size).toBe(COUNT)
    expect([...counts.keys()].toSorted()).toEqual([...urlAlphabet].toSorted())
    // Ten standard deviations: less likely than that two ids are the same.
    const mean = (COUNT * 21) / 64
    for (const count of counts.values()) expect(Math.abs(count - mean)).toBeLessThan(10 * Math.sqrt(mean))
  }
)
