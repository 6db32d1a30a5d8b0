import { fileURLToPath } from 'node:url'
import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/**
 * Those that wait for servers, browsers and processes come first: they take the longest, however small their files are, by which Vitest sorts
 * where it has not seen them run.
 */
class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLong = ({ moduleId }: TestSpecification): boolean =>
      /\/test\/(?:faults|stores|inspector\/browser)\/|claude-agent|copy|examples|property/.test(moduleId)
    return (await super.sort(files)).toSorted((a, b) => Number(isLong(b)) - Number(isLong(a)))
  }
}

/** What tests are run with, here and by npm run test:faults. */
export const common: TestProjectInlineConfiguration & { readonly root: string } = {
  root: fileURLToPath(new URL('..', import.meta.url)),
  // Examples and README blocks import by package name.
  resolve: { tsconfigPaths: true },
  test: {
    testTimeout: 20_000,
    // What is waited for comes; how soon depends on what else the machine does.
    expect: { poll: { timeout: 20_000 } },
    // Threads of the source.
    execArgv: ['--import', new URL('threads.mjs', import.meta.url).href]
  }
}

/** One more than Vitest takes of a small machine: much of the time goes to waiting for disks and processes. */
export const MAX_WORKERS = 2

/** Once for a run: what is compiled. */
export const globalSetup: string[] = [fileURLToPath(new URL('global-setup.ts', import.meta.url))]

// Tests that leave their process as it was, one file after the other in the same: to import the source takes most of them longer than to run.
const QUIET = [
  'test/service/**/*.test.ts',
  'test/inspector/!(command).test.ts',
  'test/{diff,event,json,last-messages,message,message-log,openai,registry-actor,session,session-actor,testing,tool-calls,types}.test.ts'
]

export default defineConfig({
  root: common.root,
  test: {
    maxWorkers: MAX_WORKERS,
    sequence: { sequencer: LongFirst },
    globalSetup,
    projects: [
      {
        ...common,
        test: {
          ...common.test,
          name: 'alone',
          include: ['test/**/*.test.ts'],
          // Those with the faults have a configuration of their own: npm run test:faults.
          exclude: ['test/bench/**', 'test/faults/**', ...QUIET]
        }
      },
      { ...common, test: { ...common.test, name: 'together', isolate: false, include: QUIET } }
    ]
  }
})
