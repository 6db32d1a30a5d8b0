import { expect, it } from 'vitest'
import { BOUND, memoryOfSessions } from '../soak/memory-run.ts'

// The same bound as in npm run soak, with fewer sessions that are not active.
it(
  '1,000 of 4,000 sessions of 20 messages active stay within 300 MB, and come back equal',
  { timeout: 120_000 },
  () => {
    const { peak, compared } = memoryOfSessions(4_000, 8_000)
    expect(compared).toBeGreaterThan(3_000)
    expect(peak).toBeLessThan(BOUND)
  }
)
