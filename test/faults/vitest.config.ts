import { defineConfig } from 'vitest/config'
import base from '../vitest.config.ts'

// What kills and cuts off processes and servers takes about as long as all other tests together, and is run by itself.
export default defineConfig({ ...base, test: { ...base.test, include: ['test/faults/**/*.test.ts'], exclude: [] } })
