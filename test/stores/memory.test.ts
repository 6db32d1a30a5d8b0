import { getEventListeners } from 'node:events'
import { describe, expect, it } from 'vitest'
import type { Commit, EventStore } from '../../src/store.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { testEventStore } from '../../src/testing.ts'

testEventStore({ describe, it }, { name: 'memoryStore', create: memoryStore })

describe('memoryStore', () => {
  it('is not durable: another object has nothing', async () => {
    const store = await opened()
    await store.append([COMMIT])
    expect(store.supports).toEqual({ durable: false, shared: true, push: true })
    expect(await (await opened()).head(KEY)).toBeNull()
  })

  it('gives back the very events and summaries that it was given, not copies', async () => {
    const store = await opened()
    await store.append([COMMIT])
    for await (const page of store.read('log')) expect(page[0]).toBe(COMMIT.events[0])
    expect((await store.head(KEY))?.summary).toBe(COMMIT.summary)
    expect((await store.list('ada'))[0]).toBe(COMMIT.summary)
  })

  it('rejects with STORE_UNAVAILABLE while it is closed: nothing was stored', async () => {
    const closed = { code: 'STORE_UNAVAILABLE', outcome: 'not-stored' }
    await expect(memoryStore().append([COMMIT])).rejects.toMatchObject(closed)
    await expect(memoryStore().head(KEY)).rejects.toMatchObject(closed)
  })

  it('leaves nothing behind at the signal of a watch that has ended', async () => {
    const store = await opened()
    const stop = new AbortController()
    const versions: number[] = []
    for await (const version of store.watch?.(KEY, stop.signal) ?? []) {
      versions.push(version)
      expect(getEventListeners(stop.signal, 'abort')).toHaveLength(1)
      if (version === 1) stop.abort()
      else await store.append([COMMIT])
    }
    expect(versions).toEqual([0, 1])
    expect(getEventListeners(stop.signal, 'abort')).toEqual([])
  })
})

const KEY = Object.freeze({ userId: 'ada', sessionId: 'trip' })

const COMMIT: Commit = {
  key: KEY,
  logId: 'log',
  expectedVersion: 0,
  events: [
    {
      id: 'event',
      ...KEY,
      version: 1,
      type: 'created',
      at: 1,
      data: Object.freeze({ format: 'test' }),
      schemaVersion: 1,
      commitId: 'event'
    }
  ],
  summary: { ...KEY, version: 1, createdAt: 1, updatedAt: 1, deleted: false, format: 'test', metadata: {} }
}

async function opened(): Promise<EventStore> {
  const store = memoryStore()
  await store.open()
  return store
}
