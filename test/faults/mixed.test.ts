import { expect, it } from 'vitest'
import { growthOf, mixedLoad } from '../soak/mixed.ts'

// As in npm run soak, for so many appends instead of minutes.
it(
  'three processes that do all that can be done to 100 sessions of one file lose and break nothing, though some are killed and all restarted',
  { timeout: 240_000 },
  async () => {
    const run = await mixedLoad(
      async (load, round) => {
        await load.goesOn(60)
        return round < 3
      },
      { samplesEvery: 100, restartsEvery: 150 }
    )
    expect(run.faults).toEqual([])
    expect(run.verified, run.verified.output).toMatchObject({ code: 0 })
    expect(run.acknowledged).toBeGreaterThan(4 * 3 * 60 - 1)
    expect(run.answers.get('done')).toBeGreaterThan(500)
    expect(run.memory.length).toBeGreaterThan(0)
  }
)

it('what memory grows by is told from what it varies by', () => {
  const samples = (bytes: (i: number) => number) =>
    Array.from({ length: 40 }, (_, i) => ({ calls: 100 * i, rss: bytes(i), heapUsed: 0 }))
  expect(
    growthOf(
      samples(() => 50),
      'rss'
    )
  ).toBe(0)
  // Growing at first only.
  expect(
    growthOf(
      samples((i) => Math.min(i, 20)),
      'rss'
    )
  ).toBe(0)
  expect(
    growthOf(
      samples((i) => 100 + i),
      'rss'
    )
  ).toBeCloseTo((100 * 19) / 129.5)
  expect(
    Math.abs(
      growthOf(
        samples((i) => 100 + 10 * (i % 2)),
        'rss'
      )
    )
  ).toBeLessThan(2)
})
