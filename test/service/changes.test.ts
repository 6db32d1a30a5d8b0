import { describe, expect, it } from 'vitest'
import type { Change } from '../../src/index.ts'
import { ADA, eventsOf, fails, misuses, openAda, storesNothing, text, textsOf, typesOf } from './kit.ts'

const PROTO = JSON.parse('{"__proto__":{"polluted":1}}') as Record<string, unknown>

describe('updateMetadata', () => {
  it('sets keys to any JSON', async () => {
    const history = await openAda()
    const set = { title: 'Trip', tags: ['a', 'b'], state: { deep: [null, { x: 1.5 }] }, done: false, none: null }
    expect(await history.updateMetadata(ADA, { set })).toMatchObject({ version: 2, metadata: set })
    expect((await history.getSession('ada', 's1'))?.metadata).toEqual(set)
    expect((await history.listSessions('ada'))[0]?.metadata).toEqual(set)
  })

  it('is shallow: a key is set whole', async () => {
    const history = await openAda()
    await history.updateMetadata(ADA, { set: { state: { a: 1, b: 2 }, title: 'kept' } })
    const session = await history.updateMetadata(ADA, { set: { state: { c: 3 } } })
    expect(session?.metadata).toEqual({ state: { c: 3 }, title: 'kept' })
  })

  it('unsets keys', async () => {
    const history = await openAda()
    await history.updateMetadata(ADA, { set: { a: 1, b: 2, c: 3 } })
    const session = await history.updateMetadata(ADA, { set: { b: 4 }, unset: ['a', 'absent'] })
    expect(session?.metadata).toEqual({ b: 4, c: 3 })
    expect((await eventsOf(history)).at(-1)).toMatchObject({ type: 'metadata-changed', data: { set: { b: 4 } } })
  })

  it('leaves messages as they are, and old versions too', async () => {
    const history = await openAda()
    await history.appendMessage(ADA, text('one'))
    await history.updateMetadata(ADA, { set: { a: 1 } })
    expect(textsOf(await history.updateMetadata(ADA, { unset: ['a'] }))).toEqual(['one'])
    expect((await history.getSession('ada', 's1', { at: 3 }))?.metadata).toEqual({ a: 1 })
    expect((await history.getSession('ada', 's1', { at: 2 }))?.metadata).toEqual({})
  })

  it.each([
    {},
    { set: {} },
    { unset: [] },
    { unset: ['absent', 'constructor', '__proto__'] },
    { set: { a: 1 } },
    { set: { b: { y: [2], x: 1 } }, unset: ['absent'] },
    { set: { a: 1, none: undefined } }
  ])('where %j changes nothing has no effect', async (changes) => {
    const history = await openAda()
    const current = await history.updateMetadata(ADA, { set: { a: 1, b: { x: 1, y: [2] } } })
    expect(await storesNothing(history, () => history.updateMetadata(ADA, changes))).toEqual(current)
  })

  it.each([{ set: { a: '1' } }, { set: { a: null } }, { set: { a: [1] } }, { unset: ['a'] }])(
    'where %j changes something has an effect',
    async (changes) => {
      const history = await openAda()
      await history.updateMetadata(ADA, { set: { a: 1 } })
      expect(await history.updateMetadata(ADA, changes)).toMatchObject({ version: 3 })
    }
  )

  it('takes a key named __proto__ for a key like any other', async () => {
    const history = await openAda({ maxActiveSessions: 1 })
    const set = await history.updateMetadata(ADA, { set: PROTO })
    expect(Object.entries(set!.metadata)).toEqual([['__proto__', { polluted: 1 }]])
    await storesNothing(history, () => history.updateMetadata(ADA, { set: PROTO }))
    await history.createSession('ada', 'other')
    expect(Object.entries((await history.getSession('ada', 's1'))!.metadata)).toEqual([['__proto__', { polluted: 1 }]])
    expect(await history.updateMetadata(ADA, { unset: ['__proto__'] })).toMatchObject({ version: 3 })
    const { metadata } = (await history.getSession('ada', 's1'))!
    expect(Object.keys(metadata)).toEqual([])
    expect(Object.getPrototypeOf(metadata)).toBe(Object.prototype)
    expect(({} as { polluted?: number }).polluted).toBeUndefined()
  })

  it.each([
    [{ set: 'title' }, "'title'"],
    [{ set: [1] }, '1'],
    [{ set: null }, 'null'],
    [{ unset: 'title' }, "'title'"],
    [{ unset: [1] }, '1'],
    [{ unset: null }, 'null']
  ])('%j is a TypeError', async (changes, shown) => {
    const history = await openAda()
    await storesNothing(history, () => misuses(() => history.updateMetadata(ADA, changes as never), shown))
  })

  it('loses none of many that are made at once', async () => {
    const history = await openAda()
    await Promise.all(Array.from({ length: 50 }, (_, i) => history.updateMetadata(ADA, { set: { [`k${i}`]: i } })))
    expect(Object.keys((await history.getSession('ada', 's1'))!.metadata)).toHaveLength(50)
  })
})

describe('commit', () => {
  it('stores several changes, each upon the one before, as one commit', async () => {
    const history = await openAda()
    const session = await history.commit(ADA, [
      { type: 'append', messages: [{ id: 'a', ...text('one') }, text('two'), text('three')] },
      { type: 'put', message: { id: 'a', ...text('ONE') } },
      { type: 'truncate', length: 2 },
      { type: 'put', message: { id: 'b', ...text('new') } },
      { type: 'metadata', set: { title: 'x', gone: 1 } },
      { type: 'metadata', unset: ['gone'] }
    ])
    expect(textsOf(session)).toEqual(['ONE', 'two', 'new'])
    expect(session).toMatchObject({ version: 9, metadata: { title: 'x' } })
    expect(session?.metadata).not.toHaveProperty('gone')
    const [created, ...events] = await eventsOf(history)
    expect(events.map(({ type }) => type)).toEqual([
      'message-appended',
      'message-appended',
      'message-appended',
      'message-replaced',
      'messages-truncated',
      'message-appended',
      'metadata-changed',
      'metadata-changed'
    ])
    expect(new Set(events.map(({ commitId }) => commitId)).size).toBe(1)
    expect(events[0]?.commitId).not.toBe(created?.commitId)
    expect(new Set(events.map(({ at }) => at)).size).toBe(1)
  })

  it('is never seen in part by a read that races with it', async () => {
    const history = await openAda()
    const messages = Array.from({ length: 10 }, (_, i) => text(`${i}`))
    const calls = Array.from({ length: 20 }, () => [
      history.commit(ADA, [{ type: 'append', messages }]),
      history.getSession('ada', 's1')
    ]).flat()
    for (const session of await Promise.all(calls)) expect(session!.messages.length % 10).toBe(0)
  })

  it('of an empty list has no effect', async () => {
    const history = await openAda()
    const current = await history.getSession('ada', 's1')
    expect(await storesNothing(history, () => history.commit(ADA, []))).toEqual(current)
    expect(await storesNothing(history, () => history.commit(ADA, [{ type: 'append', messages: [] }]))).toEqual(current)
  })

  it('truncates to the first messages; metadata stays as it was', async () => {
    const history = await openAda()
    await history.updateMetadata(ADA, { set: { title: 'x' } })
    await history.appendMessage(ADA, ['a', 'b', 'c', 'd'].map(text))
    const session = await history.commit(ADA, [{ type: 'truncate', length: 1 }])
    expect(textsOf(session)).toEqual(['a'])
    expect(session?.metadata).toEqual({ title: 'x' })
    expect((await eventsOf(history)).at(-1)).toMatchObject({ type: 'messages-truncated', data: { length: 1 } })
    expect(textsOf(await history.appendMessage(ADA, text('B')))).toEqual(['a', 'B'])
    expect(textsOf(await history.getSession('ada', 's1', { at: 6 }))).toEqual(['a', 'b', 'c', 'd'])
    expect(textsOf(await history.commit(ADA, [{ type: 'truncate', length: 0 }]))).toEqual([])
  })

  it.each([2, 3, 1_000])('truncating 2 messages to %d has no effect', async (length) => {
    const history = await openAda()
    await history.appendMessage(ADA, [text('a'), text('b')])
    await storesNothing(history, () => history.commit(ADA, [{ type: 'truncate', length }]))
  })

  it.each([-1, 1.5, Number.NaN, Infinity, '1', null, undefined])('truncating to %s is a TypeError', async (length) => {
    const history = await openAda()
    await storesNothing(history, () =>
      misuses(() => history.commit(ADA, [{ type: 'truncate', length: length as number }]), String(length))
    )
  })

  it('leaves out changes that change nothing', async () => {
    const history = await openAda()
    await history.commit(ADA, [
      { type: 'metadata', set: { a: 1 } },
      { type: 'metadata', set: { a: 1 } },
      { type: 'put', message: { id: 'm', ...text('x') } },
      { type: 'put', message: { id: 'm', ...text('x') } },
      { type: 'truncate', length: 1 }
    ])
    expect(await typesOf(history)).toEqual(['created', 'metadata-changed', 'message-appended'])
  })

  it('keeps what leads back to where it began: each change is upon the one before', async () => {
    const history = await openAda()
    await history.commit(ADA, [
      { type: 'metadata', set: { a: 1 } },
      { type: 'metadata', unset: ['a'] }
    ])
    expect(await typesOf(history)).toEqual(['created', 'metadata-changed', 'metadata-changed'])
    expect((await history.getSession('ada', 's1'))?.metadata).toEqual({})
  })

  it.each([
    [{ type: 'explode' }, "'explode'"],
    [{ type: '__proto__' }, '__proto__'],
    [{ type: undefined }, 'undefined'],
    [{}, 'undefined'],
    [null, ''],
    ['append', ''],
    [{ type: 'append' }, 'undefined'],
    [{ type: 'append', messages: { 0: {} } }, ''],
    [{ type: 'metadata', set: 5 }, '5'],
    [{ type: 'metadata', unset: {} }, '']
  ])('with the change %j is a TypeError, and nothing of it is stored', async (change, shown) => {
    const history = await openAda()
    const good: Change = { type: 'append', messages: [text('good')] }
    await storesNothing(history, () => misuses(() => history.commit(ADA, [good, change as Change, good]), shown))
  })

  it.each([undefined, null, {}, 'append'])('with %j in place of the changes is a TypeError', async (changes) => {
    const history = await openAda()
    await storesNothing(history, () => misuses(() => history.commit(ADA, changes as never), ''))
  })

  it('stores all or none: one bad change refuses all', async () => {
    const history = await openAda()
    const good: Change = { type: 'append', messages: [text('good')] }
    const bad: Change = { type: 'put', message: { id: 'm', role: 'boss' as never } }
    await storesNothing(history, () =>
      fails(() => history.commit(ADA, [good, bad]), 'INVALID_MESSAGE', { path: [1, 'message', 'role'] })
    )
  })

  it('of a put without an id is INVALID_MESSAGE', async () => {
    const history = await openAda()
    await fails(() => history.commit(ADA, [{ type: 'put', message: {} }]), 'INVALID_MESSAGE', {
      path: [0, 'message', 'id']
    })
  })
})
