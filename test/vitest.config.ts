import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  root: fileURLToPath(new URL('..', import.meta.url)),
  // Examples and README blocks import by package name.
  resolve: { tsconfigPaths: true },
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/bench/**'],
    testTimeout: 20_000,
    // One more than Vitest takes of a small machine: much of the time goes to waiting for disks and processes.
    maxWorkers: 2,
    // So that worker threads run the source, too.
    execArgv: ['--import', new URL('threads.mjs', import.meta.url).href]
  }
})
