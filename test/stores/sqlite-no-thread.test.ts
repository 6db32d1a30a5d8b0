import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it, vi } from 'vitest'
import type { EventStore } from '../../src/store.ts'
import { testEventStore } from '../../src/testing.ts'

const threads = vi.hoisted(() => ({ asked: 0 }))

// As in a bundle, which has not taken the worker's file along.
vi.mock('node:worker_threads', () => ({
  Worker: class {
    constructor() {
      threads.asked++
      throw new Error('there is no such file')
    }
  }
}))

const { sqliteStore } = await import('../../src/stores/sqlite.ts')

const directory = mkdtempSync(join(tmpdir(), 'turnlog-'))
afterAll(() => rmSync(directory, { recursive: true }))

const paths = new WeakMap<EventStore, string>()
let made = 0

function storeAt(path: string): EventStore {
  const store = sqliteStore({ path, synchronous: 'normal' })
  paths.set(store, path)
  return store
}

testEventStore(
  { describe, it },
  {
    name: 'sqliteStore where no thread can be started',
    create: () => storeAt(join(directory, `${++made}.db`)),
    reopen: (store) => storeAt(paths.get(store)!)
  }
)

describe('sqliteStore where no thread can be started', () => {
  it('was tested as such', () => {
    expect(threads.asked).toBeGreaterThan(20)
  })
})
