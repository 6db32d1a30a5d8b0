import { describe, expect, it } from 'vitest'
import { differenceAt, type DiffEntry, entriesOf } from '../../src/inspector/page/diff-entries.ts'

describe('what a comparison shows of its rows', () => {
  it('folds what is the same, but for two rows around what differs', () => {
    const entries = entriesOf({ length: 30, places: [10, 25], lengths: [2, 1] }, new Set())
    expect(shown(entries)).toEqual([
      '8 folded from 0',
      8,
      9,
      10,
      11,
      12,
      13,
      '9 folded from 14',
      23,
      24,
      25,
      26,
      27,
      28,
      29
    ])
  })

  it('does not fold what is short', () => {
    expect(shown(entriesOf({ length: 8, places: [4], lengths: [1] }, new Set()))).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
  })

  it('shows what was opened', () => {
    const entries = entriesOf({ length: 12, places: [8], lengths: [4] }, new Set([0]))
    expect(shown(entries)).toEqual(Array.from({ length: 12 }, (_, row) => row))
  })

  it('folds all where all is the same, and nothing of which it is not known', () => {
    expect(shown(entriesOf({ length: 9, places: [], lengths: [] }, new Set()))).toEqual(['9 folded from 0'])
    expect(shown(entriesOf({ length: 9, places: [0], lengths: [1] }, new Set(), 1))).toHaveLength(9)
  })
})

it('each row that differs is gone to, in turn', () => {
  const runs = { places: [2, 9], lengths: [3, 1] }
  expect([0, 1, 2, 3, 4].map((n) => differenceAt(runs, n))).toEqual([2, 3, 4, 9, undefined])
})

function shown(entries: readonly DiffEntry[]): (number | string)[] {
  return entries.map((entry) => ('row' in entry ? entry.row : `${entry.count} folded from ${entry.fold}`))
}
