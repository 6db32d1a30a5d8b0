// npm run soak: what takes too long for every run of the tests.
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { BOUND, memoryOfSessions } from './memory-run.ts'

const megabytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MB`

console.log('1,000 of 100,000 sessions of 20 messages active, written and read at random')
const { base, peak, bytes, compared } = memoryOfSessions(100_000, 200_000, 'inherit')
console.log(`  ${megabytes(bytes)} of sessions in the file, ${compared.toLocaleString('en')} came back equal`)
console.log(`  resident at most ${megabytes(peak)}, ${megabytes(base)} before; bound ${megabytes(BOUND)}`)
if (peak > BOUND) process.exitCode = 1

console.log('Writers and servers that are killed, stopped and cut off, many times')
const vitest = fileURLToPath(new URL('../../node_modules/vitest/vitest.mjs', import.meta.url))
execFileSync(process.execPath, [vitest, 'run', '-c', 'test/faults/vitest.config.ts'], {
  stdio: 'inherit',
  env: { ...process.env, TURNLOG_SOAK: '1' }
})
