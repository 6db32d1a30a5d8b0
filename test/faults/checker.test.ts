import { describe, expect, it } from 'vitest'
import { faultsIn, racersIn, type Append, type FaultKind, type Freshness, type Read } from './checker.ts'

/** An append of `ids`, such as `'a'` or `'a b'`. */
function append(ids: string, from: number, to: number, more: Partial<Append> = {}): Append {
  return { process: 'p', session: 's', ids: ids.split(' '), from, to, outcome: 'stored', ...more }
}

function read(ids: string, from: number, to: number, more: Partial<Read> = {}): Read {
  return { process: 'p', session: 's', ids: ids.split(' ').filter(Boolean), from, to, ...more }
}

function kindsIn(calls: readonly (Append | Read)[], final: string, freshness: Freshness = 'real-time'): FaultKind[] {
  const appends = calls.filter((call) => 'outcome' in call)
  const reads = calls.filter((call) => !('outcome' in call))
  const finals = new Map([['s', final.split(' ').filter(Boolean)]])
  return faultsIn({ appends, reads }, finals, freshness).map(({ kind }) => kind)
}

const UNKNOWN = { outcome: 'unknown' } as const
const REFUSED = { outcome: 'not-stored' } as const

describe('the checker', () => {
  it.each<[string, (Append | Read)[], string]>([
    ['nothing at all', [], ''],
    ['one after the other', [append('a', 1, 2, { length: 1 }), append('b', 3, 4, { length: 2 })], 'a b'],
    ['two at once, in either order', [append('a', 1, 4), append('b', 2, 3)], 'b a'],
    ['one that ended just as the other began', [append('a', 1, 2), append('b', 2, 3)], 'b a'],
    ['several in a commit', [append('a b c', 1, 2, { length: 3 }), append('d', 1, 2, { length: 4 })], 'a b c d'],
    ['an unknown outcome that is there', [append('a', 1, 2), append('b', 3, 4, UNKNOWN)], 'a b'],
    ['one that is not', [append('a', 1, 2), append('b', 3, 4, UNKNOWN)], 'a'],
    ['one that got there late', [append('a', 1, 2, UNKNOWN), append('b', 3, 4)], 'b a'],
    ['no answer at all', [append('a', 1, Infinity, UNKNOWN), append('b', 3, 4)], 'b a'],
    ['a refusal', [append('a', 1, 2, REFUSED), append('b', 3, 4)], 'b'],
    [
      'reads of each time',
      [append('a', 1, 2), append('b', 3, 6), read('', 0, 1), read('a', 2, 4), read('a b', 5, 6)],
      'a b'
    ],
    ['a read that ran while it was appended', [append('a', 1, 9), read('a', 2, 3), read('a', 4, 5)], 'a'],
    ['an old answer to a read that began before', [append('a', 2, 3), read('', 1, 9)], 'a'],
    ['an unknown outcome that was read', [append('a', 1, 2, UNKNOWN), read('a', 3, 4)], 'a']
  ])('finds nothing in %s', (_, calls, final) => {
    expect(kindsIn(calls, final)).toEqual([])
    expect(kindsIn(calls, final, 'prefix')).toEqual([])
  })

  it.each<[string, FaultKind, (Append | Read)[], string]>([
    ['an acknowledged append that is not there', 'lost', [append('a', 1, 2), append('b', 3, 4)], 'b'],
    ['a session that is gone', 'lost', [append('a', 1, 2)], ''],
    ['an acknowledged append that is there twice', 'twice', [append('a', 1, 2), append('b', 1, 2)], 'a b a'],
    ['an unknown one that is there twice', 'twice', [append('a', 1, 2, UNKNOWN)], 'a a'],
    ['a refused one that is there', 'stored after all', [append('a', 1, 2, REFUSED)], 'a'],
    ['what nobody has appended', 'made up', [append('a', 1, 2)], 'a x'],
    ['half of a commit', 'torn', [append('a b', 1, 2)], 'a'],
    ['the other half', 'torn', [append('a b', 1, 2)], 'b'],
    ['half of an unknown one', 'torn', [append('a b', 1, 2, UNKNOWN)], 'a'],
    ['a commit in the midst of another', 'torn', [append('a b', 1, 2), append('c', 1, 2)], 'a c b'],
    ['a commit the wrong way round', 'torn', [append('a b', 1, 2)], 'b a'],
    ['one that is elsewhere than it was said', 'moved', [append('a', 1, 2, { length: 1 }), append('b', 1, 2)], 'b a'],
    [
      'two acknowledged in one place',
      'moved',
      [append('a', 1, 2, { length: 1 }), append('b', 1, 2, { length: 1 })],
      'a b'
    ],
    ['one before what was acknowledged before it', 'out of order', [append('a', 1, 2), append('b', 3, 4)], 'b a'],
    [
      'one that is unknown, before what was acknowledged before it',
      'out of order',
      [append('a', 1, 2), append('b', 3, 4, UNKNOWN)],
      'b a'
    ],
    [
      'one before another that is far from it',
      'out of order',
      [append('a', 1, 2), append('b', 1, 9), append('c', 3, 4)],
      'b c a'
    ],
    ['a read of what is not there', 'no prefix', [append('a', 1, 2), append('b', 1, 2, UNKNOWN), read('b', 3, 4)], 'a'],
    ['a read in another order', 'no prefix', [append('a', 1, 9), append('b', 1, 9), read('b a', 3, 4)], 'a b'],
    ['a read with a gap', 'no prefix', [append('a', 1, 9), append('b', 1, 9), read('b', 3, 4)], 'a b'],
    ['a read of half a commit', 'torn', [append('a b', 1, 9), read('a', 3, 4)], 'a b'],
    ['a read of what was not yet appended', 'from the future', [append('a', 5, 6), read('a', 3, 4)], 'a'],
    ['a read without what was acknowledged', 'stale', [append('a', 1, 2, { length: 1 }), read('', 3, 4)], 'a'],
    ['a read that goes back', 'stale', [append('a', 1, 9, { length: 1 }), read('a', 2, 3), read('', 4, 5)], 'a'],
    [
      'a read that goes back behind what was unknown',
      'stale',
      [append('a', 1, 9, UNKNOWN), read('a', 2, 3), read('', 4, 5)],
      'a'
    ]
  ])('finds %s: %s', (_, kind, calls, final) => {
    expect([...new Set(kindsIn(calls, final))]).toEqual([kind])
    // All by one service, which a store with replicas holds to the same.
    expect([...new Set(kindsIn(calls, final, 'prefix'))]).toEqual([kind])
  })

  it('holds a store that promises a prefix only to what the same service knows', () => {
    const other = { process: 'other' }
    const calls = [append('a', 1, 2, { length: 1 }), read('a', 2, 3), read('', 4, 5, other), read('a', 6, 7, other)]
    expect(kindsIn(calls, 'a')).toEqual(['stale'])
    expect(kindsIn(calls, 'a', 'prefix')).toEqual([])
    expect(kindsIn([...calls, read('', 8, 9, other)], 'a', 'prefix')).toEqual(['stale'])
    expect(kindsIn([...calls, read('', 8, 9)], 'a', 'prefix')).toEqual(['stale'])
    // What is read is a prefix all the same.
    expect(kindsIn([...calls, read('x', 8, 9, other)], 'a', 'prefix')).toEqual(['no prefix'])
  })

  it('judges each session by itself, also one that has no end', () => {
    const appends = [append('a', 1, 2), append('b', 3, 4, { session: 't' }), append('c', 5, 6, { session: 'u' })]
    const finals = new Map([
      ['s', ['a']],
      ['t', ['b']]
    ])
    expect(faultsIn({ appends, reads: [] }, finals, 'real-time')).toMatchObject([{ kind: 'lost', session: 'u' }])
  })

  it('names who did what, and when', () => {
    const finals = new Map([['s', ['b', 'a']]])
    const [fault] = faultsIn({ appends: [append('a', 1, 2), append('b', 3, 4)], reads: [] }, finals, 'real-time')
    expect(fault!.what).toBe(
      "p's append of b (stored) from 3.000 to 4.000 stands before p's append of a (stored) from 1.000 to 2.000"
    )
  })

  it('counts who races: had appends to one session under way at once, which were acknowledged', () => {
    const by = (process: string, ids: string, from: number, to: number, more: Partial<Append> = {}): Append =>
      append(ids, from, to, { process, ...more })
    const racers = (...appends: Append[]): number => racersIn({ appends, reads: [] })
    expect(racers()).toBe(0)
    expect(racers(by('p', 'a', 1, 9), by('q', 'b', 2, 3), by('r', 'c', 4, 5))).toBe(2)
    expect(racers(by('p', 'a', 1, 9), by('q', 'b', 2, 5), by('r', 'c', 4, 5))).toBe(3)
    expect(racers(by('p', 'a', 1, 9), by('p', 'b', 2, 5))).toBe(1)
    expect(racers(by('p', 'a', 1, 9), by('q', 'b', 2, 5, { session: 't' }))).toBe(1)
    expect(racers(by('p', 'a', 1, 9), by('q', 'b', 2, 5, UNKNOWN), by('r', 'c', 2, 5, REFUSED))).toBe(1)
  })
})
