import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { compile } from '../compiled.ts'
import { racersIn } from './checker.ts'
import { faultsOf, loadOn } from './load.ts'

const ROUNDS = process.env['TURNLOG_SOAK'] ? 60 : 4

const compiled = compile()
const directory = mkdtempSync(join(tmpdir(), 'turnlog-faults-'))
afterAll(() => {
  compiled.remove()
  rmSync(directory, { recursive: true })
})

describe('four processes that write to the same sessions of one file', () => {
  it(
    'lose nothing and store nothing twice, in one order, while one after the other is killed',
    { timeout: 30_000 * ROUNDS },
    async () => {
      const path = join(directory, 'shared.db')
      await using load = loadOn(compiled.path, {
        module: 'stores/sqlite.js',
        factory: 'sqliteStore',
        options: { path }
      })
      await load.start(4)
      for (let round = 1; round <= ROUNDS; round++) {
        await load.goesOn(20)
        await load.replaceOne()
      }
      await load.goesOn(20)
      await load.end()
      expect(await faultsOf(load, sqliteStore({ path }), 'real-time')).toEqual([])
      expect(racersIn(load)).toBeGreaterThanOrEqual(4)
      expect(load.acknowledged()).toBeGreaterThan(80 * ROUNDS)
    }
  )
})
