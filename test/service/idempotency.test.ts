import { describe, expect, it } from 'vitest'
import type { MessageInput, SessionHistoryService, WriteOptions } from '../../src/index.ts'
import { ADA, eventsOf, fails, misuses, open, openAda, storesNothing, text, textsOf, WRITES } from './kit.ts'

const KEY: WriteOptions = { idempotencyKey: 'k' }

describe.each(WRITES)('$name with an idempotency key', ({ write }) => {
  it('gives the first result again, and stores nothing', async () => {
    const history = await openAda()
    const first = await write(history, KEY)
    expect(await storesNothing(history, () => write(history, KEY))).toEqual(first)
  })

  it('gives the session as of its commit, also when later writes came between', async () => {
    const history = await openAda()
    const first = await write(history, KEY)
    const copy = structuredClone(first)
    await history.appendMessage(ADA, text('later'))
    await history.commit(ADA, [{ type: 'truncate', length: 0 }])
    expect(await storesNothing(history, () => write(history, KEY))).toEqual(copy)
  })

  it('with other content is IDEMPOTENCY_CONFLICT', async () => {
    const history = await openAda()
    await write(history, KEY)
    const { type, ...fields } = { type: 'k', idempotencyKey: 'k' }
    await storesNothing(history, async () => {
      await fails(
        () => history.appendMessage(ADA, text('other'), { idempotencyKey: type }),
        'IDEMPOTENCY_CONFLICT',
        fields
      )
      await fails(() => history.putMessage(ADA, { id: 'other' }, KEY), 'IDEMPOTENCY_CONFLICT', fields)
      await fails(() => history.updateMetadata(ADA, { set: { other: 1 } }, KEY), 'IDEMPOTENCY_CONFLICT', fields)
      await fails(() => history.commit(ADA, [{ type: 'truncate', length: 0 }], KEY), 'IDEMPOTENCY_CONFLICT', fields)
      await fails(() => history.appendMessage(ADA, [], KEY), 'IDEMPOTENCY_CONFLICT', fields)
    })
  })

  it('looks for the key before expectedVersion', async () => {
    const history = await openAda()
    const first = await write(history, { ...KEY, expectedVersion: 1 })
    await storesNothing(history, async () => {
      for (const expectedVersion of [0, 1, 99, 'none'] as const) {
        expect(await write(history, { ...KEY, expectedVersion })).toEqual(first)
        await fails(
          () => history.appendMessage(ADA, text('other'), { ...KEY, expectedVersion }),
          'IDEMPOTENCY_CONFLICT'
        )
      }
    })
  })

  it('made 20 times at once is stored once', async () => {
    const history = await openAda()
    const sessions = await Promise.all(Array.from({ length: 20 }, () => write(history, KEY)))
    const events = await eventsOf(history, ADA, { from: 2 })
    expect(new Set(events.map(({ commitId }) => commitId)).size).toBe(1)
    for (const session of sessions) expect(session).toEqual(sessions[0])
  })

  it('survives that the session is dropped from memory', async () => {
    const history = await openAda({ maxActiveSessions: 1 })
    const first = await write(history, KEY)
    await history.appendMessage(ADA, text('later'))
    await history.createSession('ada', 'other')
    await history.getSession('ada', 'other')
    expect(await storesNothing(history, () => write(history, KEY))).toEqual(first)
    await history.getSession('ada', 'other')
    await fails(() => history.putMessage(ADA, { id: 'other' }, KEY), 'IDEMPOTENCY_CONFLICT')
  })

  it.each(['start-over', 'delete', 'delete and creation'])('survives a %s', async (what) => {
    const history = await openAda()
    const first = await write(history, KEY)
    if (what !== 'start-over') await history.deleteSession('ada', 's1')
    if (what !== 'delete') await history.createSession('ada', 's1')
    expect(await storesNothing(history, () => write(history, KEY))).toEqual(first)
    await fails(() => history.putMessage(ADA, { id: 'other' }, KEY), 'IDEMPOTENCY_CONFLICT')
  })

  it('is forgotten by a purge', async () => {
    const history = await openAda()
    await write(history, KEY)
    await history.purgeSession('ada', 's1')
    await history.createSession('ada', 's1')
    expect(await history.putMessage(ADA, { id: 'other' }, KEY)).toMatchObject({ version: 2 })
    await fails(() => write(history, KEY), 'IDEMPOTENCY_CONFLICT')
  })

  it('that makes an absent session gives it again', async () => {
    const history = await open({ missing: { append: 'create' } })
    const first = await write(history, KEY)
    expect(await storesNothing(history, () => write(history, KEY))).toEqual(first)
  })

  it('is not used up by a call that is refused', async () => {
    const history = await openAda()
    await fails(() => write(history, { ...KEY, expectedVersion: 9 }), 'VERSION_CONFLICT')
    await fails(() => history.appendMessage(ADA, { role: 'boss' } as never, KEY), 'INVALID_MESSAGE')
    expect(await history.putMessage(ADA, { id: 'other' }, KEY)).toMatchObject({ version: 2 })
  })

  it('is not used up where there was no session', async () => {
    const history = await open()
    expect(await write(history, KEY)).toBeNull()
    await history.createSession('ada', 's1')
    expect(await history.putMessage(ADA, { id: 'other' }, KEY)).toMatchObject({ version: 2 })
  })
})

describe('an idempotency key', () => {
  it('is of one log: another session may use it', async () => {
    const history = await openAda()
    const others = [
      { userId: 'ada', id: 's2' },
      { userId: 'bob', id: 's1' }
    ]
    await history.appendMessage(ADA, text('one'), KEY)
    for (const other of others) {
      await history.createSession(other.userId, other.id)
      expect(textsOf(await history.appendMessage(other, text('two'), KEY))).toEqual(['two'])
    }
  })

  it.each(['__proto__', 'constructor', 'a b', ' k ', 'k'.repeat(512), '👍', '\u0000'])(
    'may be %j',
    async (idempotencyKey) => {
      const history = await openAda({ maxActiveSessions: 1 })
      const first = await history.appendMessage(ADA, text('x'), { idempotencyKey })
      expect(first).toMatchObject({ version: 2 })
      await history.createSession('ada', 'other')
      expect(await history.appendMessage(ADA, text('x'), { idempotencyKey })).toEqual(first)
      expect((await eventsOf(history))[1]?.idempotencyKey).toBe(idempotencyKey)
    }
  )

  it('is compared as it is: case and space matter', async () => {
    const history = await openAda()
    for (const idempotencyKey of ['k', 'K', 'k ', ' k']) await history.appendMessage(ADA, text('x'), { idempotencyKey })
    expect(await eventsOf(history)).toHaveLength(5)
  })

  it.each([
    ['', "''"],
    ['  ', "'  '"],
    ['y'.repeat(513), 'yyyyyy'],
    ['a\ud800', "'a\\uD800'"],
    [5, '5'],
    [null, 'null'],
    [{}, '{}']
  ])('that is %j is a TypeError that shows the value', async (idempotencyKey, shown) => {
    const history = await openAda()
    for (const { write } of WRITES) {
      await storesNothing(history, () =>
        misuses(() => write(history, { idempotencyKey: idempotencyKey as string }), shown)
      )
    }
  })

  it('is not recorded by a call without effect', async () => {
    const history = await openAda()
    await history.commit(ADA, [
      { type: 'put', message: { id: 'm' } },
      { type: 'metadata', set: { a: 1 } }
    ])
    const idle: ((history: SessionHistoryService) => Promise<unknown>)[] = [
      () => history.appendMessage(ADA, [], KEY),
      () => history.putMessage(ADA, { id: 'm' }, KEY),
      () => history.updateMetadata(ADA, { set: { a: 1 } }, KEY),
      () => history.commit(ADA, [], KEY)
    ]
    for (const call of idle) await storesNothing(history, () => call(history))
    expect(await history.appendMessage(ADA, text('x'), KEY)).toMatchObject({ version: 4 })
    for (const call of idle) await fails(() => call(history), 'IDEMPOTENCY_CONFLICT')
  })

  it('of calls at once with other content goes to one of them', async () => {
    const history = await openAda()
    const outcomes = await Promise.allSettled(
      Array.from({ length: 10 }, (_, i) => history.appendMessage(ADA, text(`${i}`), KEY))
    )
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'IDEMPOTENCY_CONFLICT' })
    }
    expect(await eventsOf(history)).toHaveLength(2)
  })

  it('stands for a commit of many events', async () => {
    const history = await openAda()
    const messages = Array.from({ length: 10 }, (_, i) => text(`${i}`))
    const first = await history.appendMessage(ADA, messages, KEY)
    await history.appendMessage(ADA, text('later'))
    const again = await history.appendMessage(ADA, messages, KEY)
    expect(again).toEqual(first)
    expect(again).toMatchObject({ version: 11 })
    expect(textsOf(again)).toHaveLength(10)
  })
})

describe('the content', () => {
  it.each<[string, MessageInput & object, MessageInput & object]>([
    ['of messages without an id, judged before defaults', {}, {}],
    ['with its keys in another order', { role: 'user', content: 'x' }, { content: 'x', role: 'user' }],
    ['with a property that is undefined', { content: 'x' }, { content: 'x', other: undefined }],
    ['with -0 for 0', { n: 0, metadata: { n: 0 } }, { n: -0, metadata: { n: -0 } }],
    [
      'with keys in another order further down',
      { metadata: { a: { b: 1, c: 2 } } },
      { metadata: { a: { c: 2, b: 1 } } }
    ]
  ])('%s is the same', async (_, one, same) => {
    const history = await openAda()
    const first = await history.appendMessage(ADA, one, KEY)
    expect(await storesNothing(history, () => history.appendMessage(ADA, same, KEY))).toEqual(first)
  })

  it.each<[string, MessageInput | MessageInput[], MessageInput | MessageInput[]]>([
    ['a default that is given', {}, { status: 'created' }],
    ['null for an absent field', {}, { role: null }],
    ['a string for a part', { content: 'x' }, { content: [{ type: 'text', text: 'x' }] }],
    ['parts in another order', { metadata: { l: [1, 2] } }, { metadata: { l: [2, 1] } }],
    ['a number for a string', { metadata: { l: 1 } }, { metadata: { l: '1' } }],
    ['an empty list for an empty object', { metadata: { l: [] } }, { metadata: { l: {} } }],
    ['another lone surrogate', { content: '\ud800' }, { content: '\ud801' }],
    ['a lone surrogate for the replacement character', { content: '\ud800' }, { content: '\ufffd' }],
    ['one message more', [{}], [{}, {}]],
    ['a key named __proto__', {}, JSON.parse('{"__proto__":1}') as MessageInput]
  ])('with %s is other content', async (_, one, other) => {
    const history = await openAda()
    await history.appendMessage(ADA, one, KEY)
    await storesNothing(history, () => fails(() => history.appendMessage(ADA, other, KEY), 'IDEMPOTENCY_CONFLICT'))
  })

  it('of an append and of a put of one message is not the same', async () => {
    const history = await openAda()
    await history.appendMessage(ADA, { id: 'm' }, KEY)
    await fails(() => history.putMessage(ADA, { id: 'm' }, KEY), 'IDEMPOTENCY_CONFLICT')
  })

  it('of a call and of the commit that it is short for is the same', async () => {
    const history = await openAda()
    const message = { id: 'm', ...text('x') }
    const pairs: [() => Promise<unknown>, () => Promise<unknown>][] = [
      [
        () => history.appendMessage(ADA, message, { idempotencyKey: 'a' }),
        () => history.commit(ADA, [{ type: 'append', messages: [message] }], { idempotencyKey: 'a' })
      ],
      [
        () => history.putMessage(ADA, { id: 'p' }, { idempotencyKey: 'p' }),
        () => history.commit(ADA, [{ type: 'put', message: { id: 'p' } }], { idempotencyKey: 'p' })
      ],
      [
        () => history.updateMetadata(ADA, { set: { a: 1 } }, { idempotencyKey: 'm' }),
        () => history.commit(ADA, [{ type: 'metadata', set: { a: 1 } }], { idempotencyKey: 'm' })
      ]
    ]
    for (const [call, commit] of pairs) {
      const first = await call()
      expect(await storesNothing(history, commit)).toEqual(first)
    }
  })
})
