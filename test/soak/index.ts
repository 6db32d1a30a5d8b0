// npm run soak -- [--minutes N] [--only PART]...: what takes too long for every run of the tests.
import { execFileSync } from 'node:child_process'
import { setTimeout as later } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { BOUND, memoryOfSessions } from './memory-run.ts'
import { GROWTH_BOUND, growthOf, mixedLoad } from './mixed.ts'

const PARTS = { memory, mixed, faults }

/** Of a run of which there are fewer samples of memory, nothing can be said. */
const LEAST_SAMPLES = 20

/** How long a process lives that is killed in the end, in ms. */
const ROUND_MS = 15_000

const { values: args } = parseArgs({
  options: { minutes: { type: 'string', default: '10' }, only: { type: 'string', multiple: true, default: [] } }
})
const minutes = Number(args.minutes)
const only = args.only.filter((name): name is keyof typeof PARTS => Object.hasOwn(PARTS, name))
if (!(minutes > 0) || only.length < args.only.length) {
  console.error(`npm run soak -- [--minutes N] [--only PART]...

--minutes N    how long the mixed load goes on; by default 10
--only PART    one of ${Object.keys(PARTS).join(', ')}; may be repeated`)
  process.exit(2)
}
for (const [name, run] of Object.entries(PARTS)) if (args.only.length === 0 || args.only.includes(name)) await run()

function memory(): void {
  console.log('1,000 of 100,000 sessions of 20 messages active, written and read at random')
  const { base, peak, bytes, compared } = memoryOfSessions(100_000, 200_000, 'inherit')
  console.log(`  ${megabytes(bytes)} of sessions in the file, ${shown(compared)} came back equal`)
  judge(`resident at most ${megabytes(peak)}, ${megabytes(base)} before; bound ${megabytes(BOUND)}`, peak <= BOUND)
}

async function mixed(): Promise<void> {
  console.log(`All that can be done to 100 sessions of one SQLite file, by 3 processes, for ${minutes} min`)
  const end = performance.now() + 60_000 * minutes
  const run = await mixedLoad(async (load, round) => {
    // One that ends by itself ends all.
    await Promise.all([later(Math.max(0, Math.min(ROUND_MS, end - performance.now()))), load.goesOn(1)])
    if (process.stderr.isTTY) process.stderr.write(`  ${shown(load.acknowledged())} appends, ${round} kills\r`)
    return performance.now() < end
  })
  const { answers, acknowledged, kills, faults: found, verified, memory: samples } = run
  const counts = [...answers].toSorted(([, a], [, b]) => b - a).map(([answer, count]) => `${shown(count)} ${answer}`)
  console.log(`  calls: ${counts.join(', ')}`)
  console.log(
    `  ${shown(acknowledged)} appends acknowledged, ${kills} processes killed, ${megabytes(run.bytes)} in the file`
  )
  judge(
    found.length === 0 ? 'nothing lost, twice, torn or out of order' : JSON.stringify(found.slice(0, 5)),
    !found.length
  )
  judge(`turnlog verify: ${verified.output.trim().split('\n').at(-1)}`, verified.code === 0)
  if (samples.length < LEAST_SAMPLES)
    return console.log(`  ${samples.length} samples of memory: too few to judge its growth`)
  for (const measure of ['heapUsed', 'rss'] as const) {
    const [first, last] = [samples[samples.length >> 1]!, samples.at(-1)!]
    const [growth, bound] = [growthOf(samples, measure), GROWTH_BOUND[measure]]
    const span = `${megabytes(first[measure])} to ${megabytes(last[measure])} in ${shown(last.calls - first.calls)} calls`
    judge(`${measure} in the second half: ${span}, ${growth.toFixed(1)} % by a line; bound ${bound} %`, growth <= bound)
  }
}

function faults(): void {
  console.log('Writers and servers that are killed, stopped and cut off, many times')
  const vitest = fileURLToPath(new URL('../../node_modules/vitest/vitest.mjs', import.meta.url))
  execFileSync(process.execPath, [vitest, 'run', '-c', 'test/faults/vitest.config.ts'], {
    stdio: 'inherit',
    env: { ...process.env, TURNLOG_SOAK: '1' }
  })
}

function judge(what: string, isKept: boolean): void {
  console.log(`  ${isKept ? '' : 'BROKEN: '}${what}`)
  if (!isKept) process.exitCode = 1
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MB`
}

function shown(count: number): string {
  return count.toLocaleString('en')
}
