import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  createSessionHistory,
  fromOpenAIMessage,
  memoryStore,
  type AppendResult,
  type Commit
} from '../../src/index.ts'
import { fold as foldWith, initialState } from '../../src/session.ts'
import { gatedStore } from '../stores/gated.ts'

const SESSION = { userId: 'ada', id: 's' }

const fold = (
  ...[state, event]: [Parameters<typeof foldWith>[0], Parameters<typeof foldWith>[1]]
): ReturnType<typeof foldWith> => foldWith(state, event, () => state)

function isDeeplyFrozen(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true
  return Object.isFrozen(value) && Object.values(value).every(isDeeplyFrozen)
}

describe('at the edges', () => {
  it('a purge that fails leaves no read without an answer', async () => {
    const store = gatedStore()
    const history = await createSessionHistory({ store })
    await history.createSession('ada', 's')
    const gate = store.hold('head')
    store.fail('purge', 'before', new Error('away'))
    const read = history.getSession('ada', 's')
    await gate.reached
    await expect(history.purgeSession('ada', 's')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    gate.open()
    expect((await read)?.version).toBe(1)
    await history.stop()
  })

  it('putMessage refuses a schema that drops the id, instead of replacing another message', async () => {
    const history = await createSessionHistory({ message: z.object({ text: z.string() }) })
    await history.createSession('ada', 's')
    await history.appendMessage(SESSION, { text: 'one' })
    const put = { id: 'new', text: 'two' } as { text: string }
    await expect(history.putMessage(SESSION, put)).rejects.toMatchObject({ code: 'INVALID_MESSAGE', path: ['id'] })
    expect((await history.getSession('ada', 's'))?.messages).toEqual([{ text: 'one' }])
  })

  it('commits and events are deeply frozen, whatever they say', async () => {
    const commits: Commit[] = []
    const inner = memoryStore()
    const store = { ...inner, append: (given: readonly Commit[]) => (commits.push(...given), inner.append(given)) }
    const history = await createSessionHistory({ store })
    await history.createSession('ada', 's', { metadata: { a: { b: [1] }, x: 1, y: 2 } })
    await history.commit(
      SESSION,
      [
        { type: 'append', messages: [{ content: 'a' }, { id: 'm' }] },
        { type: 'put', message: { id: 'm', content: 'b' } },
        { type: 'truncate', length: 1 },
        { type: 'metadata', set: { z: { deep: [] } }, unset: ['x'] }
      ],
      { idempotencyKey: 'k' }
    )
    await history.deleteSession('ada', 's')
    expect(commits).toHaveLength(3)
    expect(commits.every(isDeeplyFrozen)).toBe(true)
    for await (const event of history.readEvents('ada', 's')) expect(isDeeplyFrozen(event)).toBe(true)
  })

  it.each([0, 1, 31, 32, 33, 64, 1024, 1056])('the last none of %i messages are none', async (count) => {
    const history = await createSessionHistory()
    await history.createSession('ada', 's')
    await history.appendMessage(
      SESSION,
      Array.from({ length: count }, () => ({}))
    )
    expect((await history.getSession('ada', 's', { last: 0 }))?.messages).toEqual([])
  })

  it('stop waits for calls that ask more than once', async () => {
    const history = await createSessionHistory()
    for (const id of ['a', 'b']) await history.createSession('ada', id)
    const calls = [
      history.getSession('ada', 'new'),
      history.deleteUserSessions('ada'),
      history.fork({ userId: 'ada', id: 'a' }, { at: 1, sessionId: 'c' })
    ] as const
    await history.stop()
    expect(await Promise.all(calls)).toMatchObject([{ id: 'new', version: 1 }, 2, { id: 'c', version: 1 }])
    await expect(history.getSession('ada', 'new')).rejects.toMatchObject({ code: 'STOPPED' })
  })

  it('a hole in a list is refused', async () => {
    const history = await createSessionHistory()
    await history.createSession('ada', 's')
    // oxlint-disable-next-line no-sparse-arrays
    const withHole = [, {}] as Record<string, unknown>[]
    await expect(history.appendMessage(SESSION, withHole)).rejects.toMatchObject({ code: 'INVALID_MESSAGE', path: [0] })
    const changes = [, { type: 'truncate', length: 0 }] as never // oxlint-disable-line no-sparse-arrays
    await expect(history.commit(SESSION, changes)).rejects.toThrow(TypeError)
    expect((await history.getSession('ada', 's'))?.version).toBe(1)
  })

  it('a list that the caller goes on to fill is what it was when it was given', async () => {
    const history = await createSessionHistory()
    const session = { ...structuredClone(await history.createSession('ada', 's')), messages: [] as unknown[] }
    const buffer = [{ id: 'a' }]
    const appended = history.appendMessage(session, buffer)
    buffer.push({ id: 'late' })
    await appended
    expect(session.messages).toMatchObject([{ id: 'a' }])
  })

  it('one commit whose outcome is unknown leaves the others theirs', async () => {
    const store = gatedStore()
    const history = await createSessionHistory({ store })
    await history.createSession('ada', 's')
    const gate = store.hold('append')
    const first = history.appendMessage(SESSION, { id: 'first' })
    await gate.reached
    const unknown = history.appendMessage(SESSION, { id: 'unknown' })
    const other = history.appendMessage(SESSION, { id: 'other' })
    const append = store.append
    store.append = async (commits): Promise<readonly AppendResult[]> => {
      store.append = append
      return commits.map((_, i) =>
        i === 0 ? { status: 'failed', error: new Error('?'), outcome: 'unknown' } : { status: 'conflict' }
      )
    }
    const reason = unknown.catch((error: unknown) => error)
    gate.open()
    await first
    expect(await reason).toMatchObject({ code: 'STORE_UNAVAILABLE', outcome: 'unknown' })
    expect((await other)?.messages.map(({ id }) => id)).toEqual(['first', 'other'])
  })

  it('a chat message with many fields of its own converts in time that grows with them', () => {
    const fields = Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`field${i}`, i]))
    const { metadata } = fromOpenAIMessage({ role: 'user', content: 'x', ...fields })
    expect(Object.keys((metadata as { openai: { set: object } }).openai.set)).toHaveLength(20_000)
  })

  it('a signal that is none is a TypeError, and nothing waits for it', async () => {
    const history = await createSessionHistory()
    await history.createSession('ada', 's')
    for (const signal of [5, {}, { throwIfAborted: () => undefined }]) {
      await expect(history.appendMessage(SESSION, {}, { signal: signal as AbortSignal })).rejects.toThrow(
        'signal must be'
      )
    }
    await history.stop()
  })

  it('a clock that fails in a sweep, or when a timer is set, harms nobody', async () => {
    let fails = false
    const timers: (() => void)[] = []
    const clock = {
      now: () => (fails ? raise('now') : 1000),
      setTimeout: (callback: () => void) => (fails ? raise('timer') : timers.push(callback)),
      clearTimeout: () => undefined
    }
    const history = await createSessionHistory({ clock })
    await history.createSession('ada', 's')
    fails = true
    timers[0]!()
    await expect(history.createSession('ada', 'refused')).rejects.toThrow('now')
    fails = false
    expect((await history.listSessions('ada')).map(({ id }) => id)).toEqual(['s'])
    expect((await history.getSession('ada', 's'))?.version).toBe(1)
  })

  it('data that are not those of the type are a damaged log', () => {
    const state = initialState({ userId: 'ada', sessionId: 's' })
    const place = { id: 'e', userId: 'ada', sessionId: 's', version: 1, at: 1, schemaVersion: 1, commitId: 'e' }
    const corrupt = expect.objectContaining({ code: 'CORRUPT_LOG', version: 1 }) as Error
    expect(() => fold(state, { ...place, type: 'created', data: null as never })).toThrow(corrupt)
    expect(() => fold(state, { ...place, type: 'message-replaced', data: { message: { id: 'x' } } })).toThrow(corrupt)
    expect(() => fold(state, { ...place, type: 'metadata-changed', data: {} })).toThrow(corrupt)
  })

  it('an event that is passed over keeps its key', () => {
    const state = initialState({ userId: 'ada', sessionId: 's' })
    const place = { id: 'e', userId: 'ada', sessionId: 's', version: 1, at: 1, schemaVersion: 1, commitId: 'e' }
    const passed = { ...place, type: 'newer', data: {}, skippable: true, idempotencyKey: 'k', contentHash: 'h' }
    expect(fold(state, passed).keys.get('k')).toMatchObject({ contentHash: 'h', version: 1 })
  })

  it('events of another format, before a start-over, are FORMAT_MISMATCH', async () => {
    const history = await createSessionHistory()
    const numbers = history.withMessage(z.number(), { format: 'number' })
    await history.createSession('ada', 's')
    await history.appendMessage(SESSION, { id: 'm' })
    await numbers.createSession('ada', 's')
    const read = async (service: { readEvents: typeof numbers.readEvents }, from: number): Promise<string[]> => {
      const types: string[] = []
      for await (const { type } of service.readEvents('ada', 's', { from })) types.push(type)
      return types
    }
    await expect(read(numbers, 1)).rejects.toMatchObject({
      code: 'FORMAT_MISMATCH',
      expected: 'number',
      actual: 'message'
    })
    expect(await read(numbers, 3)).toEqual(['created'])
  })
})

function raise(message: string): never {
  throw new Error(message)
}
