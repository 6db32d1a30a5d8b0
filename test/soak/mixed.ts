import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { compile } from '../compiled.ts'
import type { Fault } from '../faults/checker.ts'
import { faultsOf, loadOn, type Load, type Memory } from '../faults/load.ts'

/** By how much memory may grow over the second half of a run, in percent of its mean there: what is active varies by about half as much. */
export const GROWTH_BOUND = { heapUsed: 10, rss: 10 } as const

/** What a mixed load has come to. */
export interface MixedRun {
  /** How many calls were answered how. */
  readonly answers: ReadonlyMap<string, number>
  readonly acknowledged: number
  readonly kills: number
  readonly faults: readonly Fault[]
  /** What `turnlog verify` said of the file, and its exit code. */
  readonly verified: { readonly code: number | null; readonly output: string }
  /** Of the file, in bytes. */
  readonly bytes: number
  readonly memory: readonly Memory[]
}

/**
 * Three processes over one SQLite file do all that can be done to sessions, as `goesOn` says. One lives from the beginning to the end; after
 * each round one of the others is killed, and another comes. The service of each is stopped and made anew every now and then, and
 * has room for a fifth of the sessions.
 */
export async function mixedLoad(
  goesOn: (load: Load, round: number) => Promise<boolean>,
  { samplesEvery = 250, restartsEvery = 1_000 } = {}
): Promise<MixedRun> {
  const compiled = compile()
  const directory = mkdtempSync(join(tmpdir(), 'turnlog-mixed-'))
  const path = join(directory, 'mixed.db')
  try {
    const recipe = { module: 'stores/sqlite.js', factory: 'sqliteStore', options: { path } }
    const program = {
      url: new URL('mixed-writer.mjs', import.meta.url),
      input: { sessions: 100, turnoverAt: 60, restartsEvery, samplesEvery }
    }
    await using load = loadOn(compiled.path, recipe, program)
    await load.start(3)
    let kills = 0
    while (await goesOn(load, kills)) {
      await load.replaceOne(1)
      kills++
    }
    await load.end()
    const faults = await faultsOf(load, sqliteStore({ path }), 'real-time', { isMixed: true })
    const env = { ...process.env, TURNLOG_STORE: `sqlite:${path}` }
    const verify = spawnSync(process.execPath, [join(compiled.path, 'cli.js'), 'verify'], { env, encoding: 'utf8' })
    return {
      answers: load.answers,
      acknowledged: load.acknowledged(),
      kills,
      faults,
      verified: { code: verify.status, output: verify.stdout + verify.stderr },
      bytes: statSync(path).size,
      memory: load.memory
    }
  } finally {
    compiled.remove()
    rmSync(directory, { recursive: true })
  }
}

/** By how many percent of its mean there a measure grows over the second half, by a line through it: least squares. */
export function growthOf(memory: readonly Memory[], measure: 'rss' | 'heapUsed'): number {
  const half = memory.slice(memory.length >> 1)
  const mean = (of: (sample: Memory) => number): number => half.reduce((sum, each) => sum + of(each), 0) / half.length
  const [calls, bytes] = [mean((each) => each.calls), mean((each) => each[measure])]
  const slope =
    mean((each) => (each.calls - calls) * (each[measure] - bytes)) / mean((each) => (each.calls - calls) ** 2)
  return (100 * slope * (half.at(-1)!.calls - half[0]!.calls)) / bytes
}
