import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/**
 * Those that wait for servers and processes come first: they take the longest, however small their files are, by which Vitest sorts
 * where it has not seen them run.
 */
class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLong = ({ moduleId }: TestSpecification): boolean => /\/test\/(?:faults|stores)\/|property/.test(moduleId)
    return (await super.sort(files)).toSorted((a, b) => Number(isLong(b)) - Number(isLong(a)))
  }
}

export default defineConfig({
  root: fileURLToPath(new URL('..', import.meta.url)),
  // Examples and README blocks import by package name.
  resolve: { tsconfigPaths: true },
  test: {
    include: ['test/**/*.test.ts'],
    // Those have a configuration of their own: npm run test:faults.
    exclude: ['test/bench/**', 'test/faults/**'],
    testTimeout: 20_000,
    // What is waited for comes; how soon depends on what else the machine does.
    expect: { poll: { timeout: 20_000 } },
    // One more than Vitest takes of a small machine: much of the time goes to waiting for disks and processes.
    maxWorkers: 2,
    sequence: { sequencer: LongFirst },
    // Threads of the source.
    globalSetup: [fileURLToPath(new URL('global-setup.ts', import.meta.url))],
    execArgv: ['--import', new URL('threads.mjs', import.meta.url).href]
  }
})
