import { defineConfig } from 'vitest/config'
import base from '../vitest.config.ts'

// What kills and cuts off processes and servers, or needs several servers, takes longer than all other tests together, and is run by itself; so is ten times
// as much of what tries out sequences of calls.
export default defineConfig({
  ...base,
  test: {
    ...base.test,
    include: ['test/faults/**/*.test.ts', 'test/property.test.ts'],
    exclude: [],
    env: { TURNLOG_TIMES: '10' }
  }
})
