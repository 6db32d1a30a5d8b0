import { describe, expect, it, vi } from 'vitest'
import { verify } from '../../src/cli/verify.ts'
import { createSessionHistory, memoryStore } from '../../src/index.ts'
import type { EventStore, Summary } from '../../src/store.ts'

describe('verify', () => {
  it('reads each event once, and compares what it folds into with what is said of it', async () => {
    const memory = memoryStore()
    const history = await createSessionHistory({ store: memory })
    for (const id of ['one', 'two']) await history.createSession('ada', id, { metadata: { title: id } })
    await history.appendMessage({ userId: 'ada', id: 'one' }, [{ content: 'a' }, { content: 'b' }])
    let reads = 0
    const check = async (
      changes: Partial<EventStore>
    ): Promise<{ readonly isSound: boolean; readonly said: string }> => {
      const store = new Proxy(memory, {
        get: (target, name) => (changes as typeof target)[name as keyof EventStore] ?? Reflect.get(target, name)
      })
      const printed = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
      try {
        const signal = new AbortController().signal
        const isSound = await verify({ store, history, path: undefined, signal }, undefined, {})
        return { isSound, said: printed.mock.calls.map(([text]) => String(text)).join('') }
      } finally {
        printed.mockRestore()
      }
    }
    const read: EventStore['read'] = async function* (...args) {
      for await (const page of memory.read(...args)) {
        reads += page.length
        yield page
      }
    }
    expect(await check({ read })).toEqual({ isSound: true, said: '2 sessions with 4 events read; all sound\n' })
    expect(reads).toBe(4)
    const other = (summary: Summary): Summary => ({ ...summary, metadata: { title: 'another' } })
    const head: EventStore['head'] = async (key) => {
      const found = await memory.head(key)
      return found && key.sessionId === 'two' ? { ...found, summary: other(found.summary) } : found
    }
    expect(await check({ head })).toMatchObject({
      isSound: false,
      said: expect.stringContaining('not what its log comes to')
    })
    const list: EventStore['list'] = async (...args) => (await memory.list(...args)).map(other)
    expect(await check({ list })).toMatchObject({ isSound: false, said: expect.stringContaining('not what it is') })
    expect(await check({ list: async () => [] })).toMatchObject({
      isSound: false,
      said: expect.stringContaining('does not list session')
    })
    expect(await check({ listUsers: async () => [] })).toMatchObject({
      isSound: false,
      said: expect.stringContaining('does not list user "ada"')
    })
    await history.stop()
  })
})
