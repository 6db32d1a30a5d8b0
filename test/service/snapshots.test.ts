import { inspect } from 'node:util'
import { produce } from 'immer'
import { describe, expect, it } from 'vitest'
import { memoryStore, type Session } from '../../src/index.ts'
import { ADA, eventsOf, hooked, open, openAda, text, textsOf } from './kit.ts'

function isDeeplyFrozen(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true
  return Object.isFrozen(value) && Reflect.ownKeys(value).every((key) => isDeeplyFrozen(Reflect.get(value, key)))
}

/** A service, and the snapshots that each way of asking gives. */
async function snapshots(): Promise<[string, Session][]> {
  const history = await openAda()
  await history.updateMetadata(ADA, { set: { state: { list: [{ a: 1 }] } } })
  const message = { id: 'm', content: [{ type: 'data' as const, data: { deep: [{ x: {} }] } }] }
  return [
    ['createSession', await history.createSession('ada', 's2', { metadata: { tags: [['a']] } })],
    ['appendMessage', (await history.appendMessage(ADA, [message, text('two')]))!],
    ['putMessage', (await history.putMessage(ADA, { ...message, metadata: { y: [] } }))!],
    ['updateMetadata', (await history.updateMetadata(ADA, { set: { other: { z: [0] } } }))!],
    ['commit', (await history.commit(ADA, [{ type: 'append', messages: [message] }]))!],
    ['getSession', (await history.getSession('ada', 's1'))!],
    ['getSession at', (await history.getSession('ada', 's1', { at: 4 }))!],
    ['getSession last', (await history.getSession('ada', 's1', { last: 1 }))!],
    ['listSessions', (await history.listSessions('ada'))[0]!]
  ]
}

describe('a snapshot', () => {
  it('is deeply frozen, whichever call gave it', async () => {
    for (const [call, session] of await snapshots()) expect([call, isDeeplyFrozen(session)]).toEqual([call, true])
  })

  it('is deeply frozen, as events are, also where the store gives data that is not', async () => {
    const inner = memoryStore()
    const store = hooked(
      {
        head: async (key) => structuredClone(await inner.head(key)),
        list: async (userId, page) => structuredClone(await inner.list(userId, page)),
        read: async function* (logId, range) {
          for await (const page of inner.read(logId, range)) yield structuredClone(page)
        }
      },
      inner
    )
    const writer = await openAda({ store })
    await writer.appendMessage(ADA, { id: 'm', metadata: { deep: [{ x: 1 }] } })
    await writer.updateMetadata(ADA, { set: { deep: [{ x: 1 }] } })
    const reader = await open({ store })
    expect(isDeeplyFrozen(await reader.getSession('ada', 's1'))).toBe(true)
    expect(isDeeplyFrozen(await reader.getSession('ada', 's1', { at: 2 }))).toBe(true)
    expect((await reader.listSessions('ada')).map(isDeeplyFrozen)).toEqual([true])
    expect((await eventsOf(reader)).map(isDeeplyFrozen)).toEqual([true, true, true])
  })

  it("may be the base of immer's produce", async () => {
    const history = await openAda()
    const session = (await history.appendMessage(ADA, text('x')))!
    const next = produce(session as unknown as { version: number; messages: unknown[] }, (draft) => {
      draft.version = 9
      draft.messages.push('more')
    })
    expect(next).toMatchObject({ version: 9, messages: [{}, 'more'] })
    expect(session.messages).toHaveLength(1)
  })

  it('cannot be changed', async () => {
    for (const [, session] of await snapshots()) {
      const before = structuredClone(session)
      expect(() => Object.assign(session, { version: 0 })).toThrow(TypeError)
      expect(() => Object.assign(session, { messages: [] })).toThrow(TypeError)
      expect(() => (session.messages as unknown[]).push(1)).toThrow(TypeError)
      expect(() => Object.assign(session.metadata, { a: 1 })).toThrow(TypeError)
      for (const message of session.messages) expect(() => Object.assign(message, { id: 'x' })).toThrow(TypeError)
      expect(() => Reflect.deleteProperty(session, 'messages') || expect.fail()).toThrow()
      expect(structuredClone(session)).toEqual(before)
    }
  })

  it('is plain data: messages are in a spread, JSON, structuredClone and Object.keys', async () => {
    for (const [, session] of await snapshots()) {
      const copy = { ...session }
      expect(Object.getPrototypeOf(session)).toBe(Object.prototype)
      expect(Object.keys(session).sort()).toEqual(
        ['userId', 'id', 'version', 'createdAt', 'updatedAt', 'messages', 'metadata', 'format'].sort()
      )
      expect(copy.messages).toBe(session.messages)
      expect(copy).toEqual(session)
      expect(JSON.parse(JSON.stringify(session))).toEqual(copy)
      const clone = structuredClone(session)
      expect(clone).toEqual(copy)
      expect(Array.isArray(clone.messages)).toBe(true)
      expect(Object.entries(session).find(([key]) => key === 'messages')?.[1]).toBe(session.messages)
      const { messages } = session
      expect(messages).toBe(session.messages)
      expect('messages' in session && Object.hasOwn(session, 'messages')).toBe(true)
    }
  })

  it('gives its messages as an array', async () => {
    for (const [, session] of await snapshots()) {
      expect(Array.isArray(session.messages)).toBe(true)
      expect([...session.messages]).toEqual(session.messages)
    }
  })

  it('makes its messages once', async () => {
    const history = await openAda()
    const session = await history.appendMessage(ADA, [text('a'), text('b')])
    const { messages } = session!
    expect(session!.messages).toBe(messages)
    await history.appendMessage(ADA, text('c'))
    expect(session!.messages).toBe(messages)
    expect({ ...session! }.messages).toBe(messages)
  })

  it('is the same object for the same version, however often it is asked for', async () => {
    const history = await openAda()
    const appended = await history.appendMessage(ADA, text('a'))
    const read = await history.getSession('ada', 's1')
    expect(read).toBe(appended)
    expect(await history.getSession('ada', 's1')).toBe(read)
    expect(await history.appendMessage(ADA, [])).toBe(read)
  })

  it('shares its messages with the versions before and after it', async () => {
    const history = await openAda()
    const one = (await history.appendMessage(ADA, [text('a'), text('b')]))!
    const two = (await history.appendMessage(ADA, text('c')))!
    const three = (await history.putMessage(ADA, { ...two.messages[1]!, content: 'B' }))!
    const four = (await history.updateMetadata(ADA, { set: { a: 1 } }))!
    const five = (await history.commit(ADA, [{ type: 'truncate', length: 1 }]))!
    const past = (await history.getSession('ada', 's1', { at: 4 }))!
    expect(two.messages[0]).toBe(one.messages[0])
    expect(two.messages[1]).toBe(one.messages[1])
    expect(three.messages[0]).toBe(one.messages[0])
    expect(three.messages[1]).not.toBe(one.messages[1])
    expect(three.messages[2]).toBe(two.messages[2])
    expect(four.messages[2]).toBe(two.messages[2])
    expect(five.messages[0]).toBe(one.messages[0])
    expect(past.messages[1]).toBe(one.messages[1])
    expect(past).toEqual(two)
  })

  it('never changes after later writes', async () => {
    const history = await openAda()
    const given = [await history.appendMessage(ADA, { id: 'm', ...text('first') })]
    const writes = [
      () => history.appendMessage(ADA, text('more')),
      () => history.putMessage(ADA, { id: 'm', ...text('changed') }),
      () => history.updateMetadata(ADA, { set: { a: { b: 1 } } }),
      () => history.commit(ADA, [{ type: 'truncate', length: 1 }]),
      () => history.createSession('ada', 's1'),
      () =>
        history.appendMessage(
          ADA,
          Array.from({ length: 100 }, () => text('many'))
        )
    ]
    const copies = given.map((session) => structuredClone(session))
    for (const write of writes) {
      given.push(await write())
      copies.push(structuredClone(given.at(-1)!))
      expect(given).toEqual(copies)
    }
    await history.deleteSession('ada', 's1')
    await history.purgeSession('ada', 's1')
    await history.stop()
    expect(given).toEqual(copies)
  })

  it('never changes, also where its messages are first read after later writes', async () => {
    const history = await openAda()
    const early = await history.appendMessage(ADA, { id: 'm', ...text('first') })
    await history.putMessage(ADA, { id: 'm', ...text('changed') })
    await history.commit(ADA, [{ type: 'truncate', length: 0 }])
    await history.appendMessage(ADA, text('other'))
    await history.purgeSession('ada', 's1')
    await history.stop()
    expect(textsOf(early)).toEqual(['first'])
  })

  it('shows its messages when it is inspected or logged', async () => {
    const history = await openAda()
    const session = await history.appendMessage(ADA, text('Hello there'))
    for (const shown of [inspect(session), inspect(session, { depth: 5 }), inspect({ session }, { depth: 6 })]) {
      expect(shown).toContain('messages: [')
      expect(shown).not.toContain('Getter')
    }
    expect(inspect(session, { depth: 5 })).toContain('Hello there')
  })

  it('of many messages has them all, in order', async () => {
    const history = await open()
    await history.createSession('ada', 's1')
    const ids = Array.from({ length: 5_000 }, (_, i) => `${i}`)
    const session = await history.appendMessage(
      ADA,
      ids.map((id) => ({ id }))
    )
    expect(session!.messages.map(({ id }) => id)).toEqual(ids)
  })
})
