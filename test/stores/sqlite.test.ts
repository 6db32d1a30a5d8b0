import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, it } from 'vitest'
import type { EventStore } from '../../src/store.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { testEventStore } from '../../src/testing.ts'

const directory = mkdtempSync(join(tmpdir(), 'turnlog-'))
afterAll(() => rmSync(directory, { recursive: true }))

const paths = new WeakMap<EventStore, string>()
let made = 0

function storeAt(path: string): EventStore {
  const store = sqliteStore({ path })
  paths.set(store, path)
  return store
}

testEventStore(
  { describe, it },
  {
    name: 'sqliteStore by path',
    create: () => storeAt(join(directory, `${++made}.db`)),
    reopen: (store) => storeAt(paths.get(store)!),
    dispose: (store) => rmSync(paths.get(store)!, { force: true })
  }
)
