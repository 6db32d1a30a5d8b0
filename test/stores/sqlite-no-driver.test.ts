import { join } from 'node:path'
import { tmpdir } from 'node:os'
import { expect, it, vi } from 'vitest'

const better = vi.hoisted(() => ({ isInstalled: true }))

// As bindings, which finds the binary of better-sqlite3, where the install script was not run.
vi.mock('better-sqlite3', () => ({
  get default() {
    if (!better.isInstalled) throw new Error("Cannot find package 'better-sqlite3'")
    return class {
      constructor() {
        throw new Error('Could not locate the bindings file. Tried:\n → /build/better_sqlite3.node\n → /lib')
      }
    }
  }
}))
vi.mock('node:sqlite', () => {
  throw new Error('No such built-in module: node:sqlite')
})

const { openDatabase } = await import('../../src/stores/sqlite/database.ts')

function message(): Promise<string> {
  return openDatabase(join(tmpdir(), 'none.db'), { mustExist: false }).then(String, String)
}

it('a driver that is installed and not built is to be built', async () => {
  better.isInstalled = true
  expect(await message()).toMatch(
    /is installed.*npm rebuild better-sqlite3.*approve-scripts.*Could not locate the bindings file;/
  )
})

it('a driver that is not there is to be installed', async () => {
  better.isInstalled = false
  expect(await message()).toMatch(/needs a driver: install better-sqlite3 \(12 on Node 20\), or use Node 22\.13/)
})
