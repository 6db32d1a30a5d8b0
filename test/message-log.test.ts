import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ArrayMaker, MessageLog } from '../src/message-log.ts'

function logOf(length: number): MessageLog<number> {
  let log = MessageLog.empty<number>()
  for (let i = 0; i < length; i++) log = log.push(i)
  return log
}

const upTo = (length: number): number[] => Array.from({ length }, (_, i) => i)

// A thousand times as fast as toEqual.
function isSame(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i])
}

// Around the ends of blocks (32), of a tree of one level (32 * 32 + 32) and of two.
const LENGTHS = [0, 1, 31, 32, 33, 63, 64, 65, 1023, 1024, 1055, 1056, 1057, 1089, 32_800, 32_801, 33_900]

describe('a message log', () => {
  it.each(LENGTHS)('of %i items gives them back in order', (length) => {
    const log = logOf(length)
    expect(log.length).toBe(length)
    expect(log.toArray()).toEqual(upTo(length))
    expect([log.get(0), log.get(length - 1), log.get(length)]).toEqual([
      upTo(length)[0],
      upTo(length)[length - 1],
      undefined
    ])
  })

  it.each(LENGTHS)('made of a list of %i items copies it, and is as one that they were pushed to', (length) => {
    const items = upTo(length)
    const log = MessageLog.of(items)
    const longer = log.push(-1)
    items.fill(7)
    expect(log.toArray()).toEqual(upTo(length))
    expect(longer.toArray()).toEqual([...upTo(length), -1])
  })

  it.each(LENGTHS)('of %i items is what its prefix was, and grows in two branches', (length) => {
    const log = logOf(length)
    for (const cut of new Set([0, 1, length >> 1, length - 33, length - 1].filter((n) => n >= 0 && n <= length))) {
      const prefix = log.take(cut)
      let branch = prefix
      for (let i = 0; i < 70; i++) branch = branch.push(-i)
      expect(prefix.toArray()).toEqual(upTo(cut))
      expect(branch.toArray()).toEqual([...upTo(cut), ...upTo(70).map((i) => -i)])
    }
    expect(log.toArray()).toEqual(upTo(length))
  })

  it.each(LENGTHS.filter((length) => length > 0))('of %i items replaces any of them, and stays as it was', (length) => {
    const log = logOf(length)
    for (const index of new Set([0, length >> 1, length - 1])) {
      const expected = upTo(length)
      expected[index] = -1
      expect(log.replace(index, -1).toArray()).toEqual(expected)
      expect(log.get(index)).toBe(index)
    }
  })

  it('gives an array from any place on', () => {
    const log = logOf(1100)
    for (const start of [0, 1, 31, 32, 33, 1055, 1056, 1057, 1088, 1099, 1100]) {
      expect(log.toArray(start)).toEqual(upTo(1100).slice(start))
    }
  })

  it('finds the last item that matches', () => {
    const log = logOf(1100)
    expect(log.findLastIndex((item) => item % 100 === 7)).toBe(1007)
    expect(log.findLastIndex((item) => item < 3)).toBe(2)
    expect(log.findLastIndex((item) => item < 0)).toBe(-1)
    expect(log.take(500).findLastIndex(() => true)).toBe(499)
    expect(MessageLog.empty<number>().findLastIndex(() => true)).toBe(-1)
  })

  it('keeps items that are lists as they are', () => {
    const log = MessageLog.empty<number[]>().push([1, 2]).push([])
    expect(log.toArray()).toEqual([[1, 2], []])
  })

  it('does as arrays do that are copied each time, and no earlier one changes', () => {
    const step = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({ type: fc.constant('push' as const), count: fc.integer({ min: 1, max: 80 }) })
      },
      {
        weight: 2,
        arbitrary: fc.record({ type: fc.constant('take' as const), share: fc.double({ min: 0, max: 1, noNaN: true }) })
      },
      {
        weight: 2,
        arbitrary: fc.record({
          type: fc.constant('replace' as const),
          share: fc.double({ min: 0, max: 0.999, noNaN: true })
        })
      },
      // Goes on from an earlier one: a second branch.
      {
        weight: 2,
        arbitrary: fc.record({
          type: fc.constant('back' as const),
          share: fc.double({ min: 0, max: 0.999, noNaN: true })
        })
      }
    )
    let next = 0
    fc.assert(
      fc.property(fc.constantFrom(0, 3_000), fc.array(step, { maxLength: 40 }), (begun, steps) => {
        const seen: [MessageLog<number>, number[]][] = [[MessageLog.of(upTo(begun)), upTo(begun)]]
        const arrays = new ArrayMaker<number>()
        let [log, model] = seen[0]!
        for (const action of steps) {
          if (action.type === 'push') {
            const items = Array.from({ length: action.count }, () => next++)
            for (const item of items) log = log.push(item)
            model = [...model, ...items]
          } else if (action.type === 'take') {
            const length = Math.round(action.share * model.length)
            log = log.take(length)
            model = model.slice(0, length)
          } else if (action.type === 'replace' && model.length > 0) {
            const index = Math.floor(action.share * model.length)
            log = log.replace(index, next)
            model = model.with(index, next++)
          } else if (action.type === 'back') [log, model] = seen[Math.floor(action.share * seen.length)]!
          seen.push([log, model])
          expect(isSame(arrays.arrayOf(log), model)).toBe(true)
        }
        for (const [earlier, expected] of seen) expect(isSame(earlier.toArray(), expected)).toBe(true)
      }),
      { numRuns: 300 }
    )
  })

  it.each([1_100, 33_000])('of %i items tells what it begins with from what it does not', (length) => {
    const log = logOf(length)
    const { settled } = log
    let grown = log
    for (let i = 0; i < 2_000; i++) grown = grown.push(i)
    expect(grown.startsAs(log, settled)).toBe(true)
    expect(log.startsAs(grown, settled)).toBe(true)
    expect(grown.replace(40, -1).startsAs(log, settled)).toBe(false)
    expect(grown.replace(40, -1).startsAs(log, 32)).toBe(true)
    expect(grown.replace(settled, -1).startsAs(log, settled)).toBe(true)
    expect(logOf(length).startsAs(log, settled)).toBe(false)
  })

  it('gives arrays of its own to all who read one list after the other', () => {
    const arrays = new ArrayMaker<number>()
    let log = logOf(2_000)
    const given: number[][] = []
    for (let i = 2_000; i < 5_000; i += 700) {
      given.push(arrays.arrayOf(log))
      for (let k = 0; k < 700; k++) log = log.push(i + k)
    }
    for (const [i, array] of given.entries()) expect(array).toEqual(upTo(2_000 + i * 700))
    given[0]!.fill(-1)
    expect(arrays.arrayOf(log)).toEqual(upTo(log.length))
  })
})
