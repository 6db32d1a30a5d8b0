import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  createSessionHistory,
  memoryStore,
  type Change,
  type EventStore,
  type SessionRef,
  type StoredEvent
} from '../src/index.ts'
import { readLastMessages } from '../src/last-messages.ts'
import { ADA, hooked, open, text, textsOf, type Hooks } from './service/kit.ts'

const step = fc.oneof(
  fc.record({ type: fc.constant('append' as const), count: fc.integer({ min: 1, max: 70 }) }),
  fc.record({ type: fc.constant('append' as const), count: fc.integer({ min: 1, max: 3 }) }),
  fc.record({ type: fc.constant('put' as const), id: fc.constantFrom('a', 'b', 'c') }),
  fc.record({ type: fc.constant('truncate' as const), part: fc.double({ min: 0, max: 1, noNaN: true }) }),
  fc.record({ type: fc.constant('rewind' as const), part: fc.double({ min: 0, max: 1, noNaN: true }) }),
  fc.record({ type: fc.constantFrom('undo' as const, 'redo' as const, 'title' as const, 'turn' as const) }),
  fc.record({ type: fc.constantFrom('start over' as const, 'delete' as const, 'fork' as const, 'clear' as const) })
)

describe('readLastMessages', () => {
  it('gives what the whole log comes to, whatever is in the log', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
        const store = memoryStore()
        const history = await open({ store, missing: { append: 'create' } })
        let session: SessionRef = ADA
        let made = 0
        const fresh = () => ({ ...text(`text ${++made}`), ...(made % 5 === 0 && { id: 'a' }) })
        for (const each of steps) {
          const now = await history.getSession(session.userId, session.id)
          // What does not fit now is left out.
          const done = async (): Promise<unknown> => {
            switch (each.type) {
              case 'append':
                return history.appendMessage(session, Array.from({ length: each.count }, fresh))
              case 'put':
                return history.putMessage(session, { ...fresh(), id: each.id })
              case 'truncate':
                return history.commit(session, [
                  { type: 'truncate', length: Math.floor(each.part * (now?.messages.length ?? 0)) }
                ])
              case 'clear':
                return history.commit(session, [{ type: 'truncate', length: 0 }])
              case 'rewind':
                return history.rewind(session, Math.max(1, Math.ceil(each.part * (now?.version ?? 0))))
              case 'undo':
              case 'redo':
                return history[each.type](session)
              case 'title':
                return history.updateMetadata(session, { set: { title: `${++made}` } })
              case 'turn': {
                const turn = await history.beginTurn(session)
                await turn.append(fresh())
                return made % 2 === 0 ? turn.end() : turn.abort()
              }
              case 'start over':
                return history.createSession(session.userId, session.id)
              case 'delete':
                return history.deleteSession(session.userId, session.id)
              case 'fork':
                return (session = await history.fork(session))
            }
          }
          await done().catch(() => undefined)
        }
        const now = (await history.getSession(session.userId, session.id))!
        const { logId, version } = (await store.head({ userId: session.userId, sessionId: session.id }))!
        for (const count of [0, 1, 2, 7, 100, 10_000]) {
          expect(await readLastMessages(store, logId, version, count)).toEqual(
            count === 0 ? [] : now.messages.slice(-count)
          )
        }
      }),
      { numRuns: 150 }
    )
  })

  it('reads over truncations, and tells which of two messages of one id was replaced', async () => {
    const store = memoryStore()
    const history = await open({ store, missing: { append: 'create' } })
    const put = (id: string, content: string): object => ({ type: 'put', message: { id, ...text(content) } })
    const append = (id: string, content: string): object => ({
      type: 'append',
      messages: [{ id, ...text(content) }]
    })
    const truncate = (length: number): object => ({ type: 'truncate', length })
    const changes = [
      [append('x', '1'), append('y', '2'), append('x', '3'), put('y', '4')],
      [truncate(2), put('x', '5'), append('z', '6'), append('x', '7'), put('y', '8'), put('x', '9'), truncate(3)],
      [append('y', '10'), put('y', '11'), append('w', '12'), truncate(4), put('z', '13'), put('y', '14')]
    ].flat()
    for (const change of changes) {
      const { messages, version } = (await history.commit(ADA, [change as Change]))!
      const { logId } = (await store.head({ userId: 'ada', sessionId: 's1' }))!
      for (let count = 0; count <= 6; count++)
        expect(await readLastMessages(store, logId, version, count)).toEqual(count === 0 ? [] : messages.slice(-count))
    }
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(['5', '8', '13', '14'])
  })

  it('gives up after a truncation that left some and does not say how many it dropped', async () => {
    const store = memoryStore()
    const history = await open({ store, missing: { append: 'create' } })
    await history.appendMessage(ADA, ['one', 'two', 'three'].map(text))
    await history.commit(ADA, [{ type: 'truncate', length: 1 }])
    const { logId } = (await store.head({ userId: 'ada', sessionId: 's1' }))!
    const old: EventStore = {
      ...store,
      async *read(id, range) {
        for await (const page of store.read(id, range))
          yield page.map((event) =>
            event.type === 'messages-truncated' ? { ...event, data: { length: event.data['length']! } } : event
          )
      }
    }
    expect(await readLastMessages(old, logId, 5, 2)).toBeUndefined()
    expect(await readLastMessages(store, logId, 5, 2)).toMatchObject([{ content: [{ text: 'one' }] }])
    await history.commit(ADA, [{ type: 'truncate', length: 0 }])
    expect(await readLastMessages(old, logId, 6, 2)).toEqual([])
    await history.appendMessage(ADA, text('four'))
    expect(await readLastMessages(old, logId, 7, 2)).toMatchObject([{ content: [{ text: 'four' }] }])
  })
})

describe('getSession with last, of a long session that is not in memory', () => {
  /** A store with a session of 5,000 messages, of whose events it counts those that are read. */
  async function long(): Promise<{ store: EventStore; hooks: Hooks; read: () => number }> {
    let read = 0
    const inner = memoryStore()
    const hooks: Hooks = {
      async *read(logId, range) {
        for await (const page of inner.read(logId, range)) {
          read += page.length
          yield page
        }
      }
    }
    const store = hooked(hooks, inner)
    const history = await open({ store, missing: { append: 'create' } })
    const turn = Array.from({ length: 5_000 }, (_, i) => text(`text ${i}`))
    await history.appendMessage(ADA, turn)
    await history.updateMetadata(ADA, { set: { title: 'Long' } })
    await history.beginTurn(ADA, { owner: 'me', ttlMs: 1e9 })
    return { store, hooks, read: () => read }
  }

  it('reads the end of it, and gives the session as it is', async () => {
    const { store, read } = await long()
    const whole = await (await open({ store })).getSession('ada', 's1')
    const before = read()
    const session = await (await open({ store })).getSession('ada', 's1', { last: 3 })
    expect(read() - before).toBeLessThan(200)
    expect(session).toEqual({ ...whole, messages: whole!.messages.slice(-3) })
    expect(textsOf(session)).toEqual(['text 4997', 'text 4998', 'text 4999'])
    const parts = [session, session?.messages, session?.messages[0], session?.metadata, session?.turn]
    expect(parts.map(Object.isFrozen)).toEqual([true, true, true, true, true])
    expect(Object.isFrozen((await (await open({ store })).getSession('ada', 's1', { last: 0 }))?.messages)).toBe(true)
  })

  it('does so for maxMessages, too, and of a fork', async () => {
    const { store, read } = await long()
    const shown = await open({ store, retention: { maxMessages: 2 } })
    const before = read()
    expect(textsOf(await shown.getSession('ada', 's1'))).toEqual(['text 4998', 'text 4999'])
    expect(read() - before).toBeLessThan(200)
    const child = await shown.fork(ADA, { at: 4_000 })
    for (let i = 0; i < 600; i++) await shown.updateMetadata(child, { set: { i } })
    const other = await open({ store })
    expect(textsOf(await other.getSession('ada', child.id, { last: 1 }))).toEqual(['text 3998'])
  })

  it('does so after a truncation that left some', async () => {
    const { store, read } = await long()
    const history = await open({ store })
    await history.beginTurn(ADA, { onBusy: 'takeover' })
    const turn = await history.beginTurn(ADA, { onBusy: 'takeover' })
    await turn.commit([{ type: 'truncate', length: 4_900 }])
    const before = read()
    expect(textsOf(await (await open({ store })).getSession('ada', 's1', { last: 1 }))).toEqual(['text 4899'])
    expect(read() - before).toBeLessThan(400)
  })

  it('does so for a fork that is short itself, and for a fork of that', async () => {
    const { store, read } = await long()
    const history = await open({ store })
    const child = await history.fork(ADA)
    await history.appendMessage(child, text('child'))
    const grandchild = await history.fork(child)
    const before = read()
    const other = await open({ store })
    expect(textsOf(await other.getSession('ada', child.id, { last: 2 }))).toEqual(['text 4999', 'child'])
    expect(textsOf(await other.getSession('ada', grandchild.id, { last: 2 }))).toEqual(['text 4999', 'child'])
    expect(read() - before).toBeLessThan(400)
  })

  it('gives null, makes or throws for what is deleted, as without it', async () => {
    const { store } = await long()
    const history = await open({ store })
    await history.deleteSession('ada', 's1')
    const other = await createSessionHistory({ store, missing: { get: 'null' } })
    expect(await other.getSession('ada', 's1', { last: 3 })).toBeNull()
  })

  it('fails as the store does, and reads on', async () => {
    const { store, hooks } = await long()
    const history = await open({ store })
    const { read } = hooks
    hooks.read = async function* (): AsyncGenerator<StoredEvent[]> {
      yield []
      throw new Error('away')
    }
    await expect(history.getSession('ada', 's1', { last: 3 })).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    hooks.read = read!
    expect((await history.getSession('ada', 's1', { last: 3 }))?.messages).toHaveLength(3)
  })
})
