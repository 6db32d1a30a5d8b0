import { describe, expect, it } from 'vitest'
import type { JsonObject, Message, MessageInput, Session } from '../../src/index.ts'
import { ADA, eventsOf, fails, hooked, openAda, storesNothing, text, textsOf, typesOf } from './kit.ts'

describe('appendMessage', () => {
  it('appends one message and gives the new session', async () => {
    const history = await openAda()
    const session = await history.appendMessage(ADA, { id: 'm1', role: 'user', content: 'Hello' })
    expect(session).toMatchObject({ userId: 'ada', id: 's1', version: 2 })
    expect(session?.messages).toEqual([
      {
        id: 'm1',
        object: 'message',
        type: 'message',
        status: 'created',
        role: 'user',
        content: [{ type: 'text', text: 'Hello' }]
      }
    ])
    expect(await history.getSession('ada', 's1')).toEqual(session)
  })

  it('appends a list in order as one commit', async () => {
    const history = await openAda()
    const session = await history.appendMessage(ADA, [text('one'), text('two'), text('three')])
    expect(session).toMatchObject({ version: 4 })
    expect(textsOf(session)).toEqual(['one', 'two', 'three'])
    const [, ...events] = await eventsOf(history)
    expect(events.map(({ type }) => type)).toEqual(['message-appended', 'message-appended', 'message-appended'])
    expect(new Set(events.map(({ commitId }) => commitId)).size).toBe(1)
  })

  it('of an empty list has no effect and gives the current session', async () => {
    const history = await openAda()
    const current = await history.appendMessage(ADA, text('one'))
    expect(await storesNothing(history, () => history.appendMessage(ADA, []))).toEqual(current)
  })

  it('takes {} for a message: every field has a default', async () => {
    const history = await openAda({ ids: { message: () => 'made' } })
    const session = await history.appendMessage(ADA, {})
    expect(session?.messages).toEqual([{ id: 'made', object: 'message', type: 'message', status: 'created' }])
  })

  it('makes ids of messages that begin with msg_ and do not repeat', async () => {
    const history = await openAda()
    const session = await history.appendMessage(
      ADA,
      Array.from({ length: 20 }, () => ({}))
    )
    const ids = session!.messages.map(({ id }) => id)
    for (const id of ids) expect(id).toMatch(/^msg_.+/)
    expect(new Set(ids).size).toBe(20)
  })

  it('lets ids of messages repeat', async () => {
    const history = await openAda()
    const session = await history.appendMessage(ADA, [
      { id: 'm', ...text('one') },
      { id: 'm', ...text('two') }
    ])
    expect(textsOf(session)).toEqual(['one', 'two'])
  })

  it('takes effect in the order of the calls', async () => {
    const history = await openAda()
    const sessions = await Promise.all(Array.from({ length: 100 }, (_, i) => history.appendMessage(ADA, text(`${i}`))))
    expect(sessions.map((session) => session?.version)).toEqual(Array.from({ length: 100 }, (_, i) => i + 2))
    expect(textsOf(sessions[99]!)).toEqual(Array.from({ length: 100 }, (_, i) => `${i}`))
    expect(textsOf(sessions[9]!)).toHaveLength(10)
  })
})

describe('the session that is passed to appendMessage', () => {
  it('is extended with the stored messages, where it is a structuredClone of a snapshot', async () => {
    const history = await openAda()
    const snapshot = await history.appendMessage(ADA, text('one'))
    const session = structuredClone(snapshot!) as Session & { messages: Message[] }
    const two = await history.appendMessage(session, text('two'))
    expect(session.messages).toEqual(two?.messages)
    const four = await history.appendMessage(session, [text('three'), text('four')])
    expect(session.messages).toEqual(four?.messages)
    expect(textsOf(session)).toEqual(['one', 'two', 'three', 'four'])
    expect(textsOf(snapshot)).toEqual(['one'])
  })

  it('is extended where it is a plain object, with what was appended and nothing else', async () => {
    const history = await openAda()
    await history.appendMessage(ADA, text('before'))
    const session = { userId: 'ada', id: 's1', messages: [] as Message[] }
    await history.appendMessage(session, text('one'))
    expect(session.messages).toMatchObject([{ object: 'message', status: 'created', content: [{ text: 'one' }] }])
  })

  it('is extended as the seed does also where its messages are others than those stored', async () => {
    const history = await openAda()
    const session = { userId: 'ada', id: 's1', messages: ['own'] as unknown[] }
    await history.appendMessage(session, text('one'))
    expect(session.messages).toHaveLength(2)
    expect(session.messages[0]).toBe('own')
  })

  it('is left alone where its messages are frozen', async () => {
    const history = await openAda()
    const messages: Message[] = []
    const session = Object.freeze({ userId: 'ada', id: 's1', messages: Object.freeze(messages) })
    expect(await history.appendMessage(session, text('one'))).toMatchObject({ version: 2 })
    const snapshot = await history.getSession('ada', 's1')
    expect(await history.appendMessage(snapshot!, text('two'))).toMatchObject({ version: 3 })
    expect(messages).toEqual([])
    expect(textsOf(snapshot)).toEqual(['one'])
  })

  it.each([
    ['sealed', Object.seal(['own'])],
    ['not extensible', Object.preventExtensions(['own'])],
    ['of a fixed length', Object.defineProperty(['own'], 'length', { writable: false })]
  ])('is left alone where its messages are %s', async (_, messages) => {
    const history = await openAda()
    const session = { userId: 'ada', id: 's1', messages }
    expect(await history.appendMessage(session, text('one'))).toMatchObject({ version: 2 })
    expect(messages).toEqual(['own'])
  })

  it.each([[undefined], [null], ['text'], [{}]])('is left alone where its messages are %j', async (messages) => {
    const history = await openAda()
    const session = { userId: 'ada', id: 's1', messages }
    expect(await history.appendMessage(session, text('one'))).toMatchObject({ version: 2 })
    expect(session).toEqual({ userId: 'ada', id: 's1', messages })
  })

  it('is not extended before the store has said yes', async () => {
    const session = { userId: 'ada', id: 's1', messages: [] as Message[] }
    const lengths: number[] = []
    const hooks: Parameters<typeof hooked>[0] = {}
    const store = hooked(hooks)
    const { append } = { ...store }
    const history = await openAda({ store })
    hooks.append = async (commits) => {
      delete hooks.append
      const results = await append(commits)
      lengths.push(session.messages.length)
      return results
    }
    await history.appendMessage(session, text('one'))
    expect(lengths).toEqual([0])
    expect(session.messages).toHaveLength(1)
  })

  it('is not extended where nothing was stored', async () => {
    const history = await openAda()
    const session = { userId: 'ada', id: 's1', messages: [] as Message[] }
    await fails(() => history.appendMessage(session, text('x'), { expectedVersion: 9 }), 'VERSION_CONFLICT')
    await fails(() => history.appendMessage(session, [text('x'), { role: 'bad' } as never]), 'INVALID_MESSAGE')
    await history.appendMessage(session, [])
    expect(session.messages).toEqual([])
    const absent = { userId: 'ada', id: 'absent', messages: [] as Message[] }
    expect(await history.appendMessage(absent, text('x'))).toBeNull()
    expect(absent.messages).toEqual([])
  })

  it('is extended in the order of the calls', async () => {
    const history = await openAda()
    const session = structuredClone(await history.getSession('ada', 's1')) as Session & { messages: Message[] }
    await Promise.all(Array.from({ length: 20 }, (_, i) => history.appendMessage(session, text(`${i}`))))
    expect(session.messages).toEqual((await history.getSession('ada', 's1'))?.messages)
  })

  it('is extended with a list of any length', async () => {
    const history = await openAda()
    const session = { userId: 'ada', id: 's1', messages: [] as Message[] }
    const message = { id: 'm', object: 'message', type: 'message', status: 'created' as const }
    const list = Array.from({ length: 150_000 }, () => message)
    expect(await history.appendMessage(session, list)).toMatchObject({ version: 150_001 })
    expect(session.messages).toHaveLength(150_000)
  })

  it('is not changed otherwise', async () => {
    const history = await openAda()
    const session = { userId: 'ada', id: 's1', version: 1, extra: {}, messages: [] as Message[] }
    await history.appendMessage(session, text('one'))
    expect(Object.keys(session)).toEqual(['userId', 'id', 'version', 'extra', 'messages'])
    expect(session.version).toBe(1)
  })
})

describe("the caller's own objects", () => {
  const given = (): MessageInput & JsonObject => ({
    id: 'm1',
    role: 'user',
    content: [{ type: 'data', data: { deep: { list: [1, { x: 1 }] } } }],
    metadata: { tags: ['a'] }
  })

  it('are not those that are stored: a later change does not leak in', async () => {
    const history = await openAda()
    const message = given()
    const metadata = { state: { step: 1 } }
    const session = await history.appendMessage(ADA, message)
    await history.putMessage(ADA, Object.assign(message, { id: 'm2' }))
    await history.updateMetadata(ADA, { set: metadata })
    const before = structuredClone(await history.getSession('ada', 's1'))
    const events = structuredClone(await eventsOf(history))
    message.id = 'changed'
    ;(message.metadata as { tags: string[] }).tags.push('changed')
    ;(message.content as unknown as { data: { deep: { list: unknown[] } } }[])[0]!.data.deep.list.length = 0
    metadata.state.step = 2
    expect(await history.getSession('ada', 's1')).toEqual(before)
    expect(await eventsOf(history)).toEqual(events)
    expect(session?.messages).toHaveLength(1)
    expect(session?.messages[0]).toMatchObject({ id: 'm1', metadata: { tags: ['a'] } })
  })

  it('may be changed as soon as the call was made', async () => {
    const history = await openAda()
    const message = { id: 'm1', ...text('before') }
    const list = [message]
    const call = history.appendMessage(ADA, list)
    message.content = 'after'
    list.push(message)
    expect(textsOf(await call)).toEqual(['before'])
  })

  it('are neither frozen nor changed', async () => {
    const history = await openAda()
    const message = given()
    const list = [message]
    const changes = [{ type: 'append' as const, messages: list }]
    const metadata = { set: { state: { step: 1 } }, unset: ['gone'] }
    const options = { expectedVersion: 'any' as const, idempotencyKey: 'k' }
    await history.appendMessage(ADA, message)
    await history.appendMessage(ADA, list, options)
    await history.putMessage(ADA, message)
    await history.commit(ADA, changes)
    await history.updateMetadata(ADA, metadata)
    expect(message).toEqual(given())
    expect(metadata).toEqual({ set: { state: { step: 1 } }, unset: ['gone'] })
    const all = [
      message,
      message.content,
      (message.content as object[])[0],
      message.metadata,
      list,
      changes,
      changes[0],
      metadata,
      metadata.set,
      metadata.set.state,
      metadata.unset,
      options
    ]
    for (const object of all) expect(Object.isFrozen(object)).toBe(false)
  })

  it('may be frozen, deeply', async () => {
    const history = await openAda()
    const message = Object.freeze({ role: 'user' as const, content: Object.freeze([]) as never })
    expect(await history.appendMessage(ADA, Object.freeze([message]))).toMatchObject({ version: 2 })
  })

  it('may be messages of a snapshot', async () => {
    const history = await openAda()
    const session = await history.appendMessage(ADA, [text('one'), text('two')])
    await history.createSession('ada', 'copy')
    const copy = await history.appendMessage({ userId: 'ada', id: 'copy' }, session!.messages)
    expect(copy?.messages).toEqual(session?.messages)
  })
})

describe('putMessage', () => {
  it('appends where no message has that id', async () => {
    const history = await openAda()
    await history.appendMessage(ADA, { id: 'a', ...text('one') })
    const session = await history.putMessage(ADA, { id: 'b', ...text('two') })
    expect(textsOf(session)).toEqual(['one', 'two'])
    expect(await typesOf(history)).toEqual(['created', 'message-appended', 'message-appended'])
  })

  it('replaces the last message of that id, whole', async () => {
    const history = await openAda()
    await history.appendMessage(ADA, [
      { id: 'a', ...text('first'), metadata: { keep: 1 } },
      { id: 'a', ...text('second'), metadata: { keep: 1 } },
      { id: 'b', ...text('third') }
    ])
    const session = await history.putMessage(ADA, { id: 'a', ...text('new') })
    expect(textsOf(session)).toEqual(['first', 'new', 'third'])
    expect(session?.messages[1]).not.toHaveProperty('metadata')
    expect((await eventsOf(history)).at(-1)).toMatchObject({
      version: 5,
      type: 'message-replaced',
      data: { message: { id: 'a', content: [{ type: 'text', text: 'new' }] } }
    })
    expect(textsOf(await history.getSession('ada', 's1', { at: 4 }))).toEqual(['first', 'second', 'third'])
  })

  it('lets a reply grow while it streams', async () => {
    const history = await openAda()
    for (const reply of ['H', 'Hel', 'Hello']) await history.putMessage(ADA, { id: 'r', ...text(reply) })
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(['Hello'])
    expect(await typesOf(history)).toEqual(['created', 'message-appended', 'message-replaced', 'message-replaced'])
  })

  it('has no effect if equal, in whatever order the keys are', async () => {
    const history = await openAda()
    const current = await history.putMessage(ADA, { id: 'a', role: 'user', content: 'x', metadata: { a: 1, b: [0] } })
    const same = [
      { id: 'a', role: 'user', content: 'x', metadata: { a: 1, b: [0] } },
      { metadata: { b: [-0], a: 1, c: undefined }, content: [{ text: 'x', type: 'text' }], role: 'user', id: 'a' },
      current!.messages[0]!
    ] as MessageInput[]
    for (const message of same) {
      expect(await storesNothing(history, () => history.putMessage(ADA, message))).toEqual(current)
    }
  })

  it.each([
    { metadata: { a: 1 } },
    { metadata: { a: 1, b: [0], c: null } },
    { metadata: { a: 1, b: {} } },
    { metadata: null },
    { content: 'y' },
    { content: null },
    { status: 'completed' as const },
    { other: 0 }
  ])('has an effect where %j differs', async (difference) => {
    const history = await openAda()
    const message = { id: 'a', content: 'x', metadata: { a: 1, b: [0] } }
    await history.putMessage(ADA, message)
    expect(await history.putMessage(ADA, { ...message, ...difference })).toMatchObject({ version: 3 })
  })

  it.each([[{}], [{ id: 5 }], [{ id: null }], [{ id: undefined, content: 'x' }]])(
    'needs an id: %j is INVALID_MESSAGE',
    async (message) => {
      const history = await openAda()
      await storesNothing(history, () =>
        fails(() => history.putMessage(ADA, message as MessageInput), 'INVALID_MESSAGE', { path: ['id'] })
      )
    }
  )

  it.each(['__proto__', 'constructor', '', ' '])('takes the id %j of a message for what it is', async (id) => {
    const history = await openAda()
    await history.putMessage(ADA, { id, ...text('one') })
    expect(textsOf(await history.putMessage(ADA, { id, ...text('two') }))).toEqual(['two'])
  })
})
