import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { createSessionHistory, memoryStore, type EventStore, type SessionHistoryService } from '../../src/index.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'

/** Opens a service on the same store as the last time: what was there before a restart is there after it. Stop one before the next. */
export type Open = () => Promise<SessionHistoryService>

/** What each adapter's tests run over, in each file of tests; servers have a file of their own. */
export const STORES = ['memory', 'SQLite'] as const

/** A fresh store of that kind. Files go after the tests of the file that asks. */
export function freshStore(kind: (typeof STORES)[number]): Open {
  if (kind === 'memory') {
    const store = memoryStore()
    return openOver(() => store)
  }
  const directory = mkdtempSync(join(tmpdir(), 'turnlog-adapter-'))
  afterAll(() => rmSync(directory, { recursive: true, force: true }))
  return openOver(() => sqliteStore({ path: join(directory, 'sessions.db') }))
}

/** Opens services over what `store` gives. */
export function openOver(store: () => EventStore): Open {
  return () => createSessionHistory({ store: store(), logger: { warn: () => undefined } })
}

/**
 * What a framework's real runner does in all stores: several turns with tool calls, one that fails in the middle, a restart of the process
 * between two, and what turnlog adds (a fork, a rewind). It throws, or fails an expectation, where something is not as it should be.
 */
export type Scenario = (open: Open) => Promise<void>
