import { defineConfig } from 'vitest/config'
import { common, globalSetup, MAX_WORKERS } from '../vitest.config.ts'

// What kills and cuts off processes and servers, or needs several servers, takes longer than all other tests together, and is run by itself; so is ten times
// as much of what tries out sequences of calls.
export default defineConfig({
  ...common,
  test: {
    ...common.test,
    include: ['test/faults/**/*.test.ts', 'test/property.test.ts'],
    env: { TURNLOG_TIMES: '10' },
    maxWorkers: MAX_WORKERS,
    globalSetup
  }
})
