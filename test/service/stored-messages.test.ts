import { describe, expect, it } from 'vitest'
import type { MessageInput } from '../../src/index.ts'
import { ADA, eventsOf, fails, open, openAda, storesNothing, text, textsOf } from './kit.ts'

describe('what is stored is what is given back', () => {
  const deep = (depth: number): unknown =>
    depth === 0 ? 'end' : depth % 2 ? [deep(depth - 1)] : { d: deep(depth - 1) }
  const FAITHFUL: [string, unknown][] = [
    ['\\u0000', 'a\u0000b'],
    ['a lone surrogate', 'a\ud800b\udc00'],
    ['an empty string', ''],
    ['line separators', '\u2028\u2029\r\n\u007f\ufeff'],
    ['null', null],
    ['false', false],
    ['0', 0],
    ['the largest number', Number.MAX_VALUE],
    ['a small number', 5e-324],
    ['2^53 + 2', 2 ** 53 + 2],
    ['an empty list', []],
    ['an empty object', {}],
    ['nested empties', [[], {}, [[]], null, '']],
    ['a key named __proto__', JSON.parse('{"__proto__":{"a":1},"b":2}')],
    ['__proto__ nested and null', JSON.parse('{"x":[{"__proto__":null}]}')],
    ['keys of Object.prototype', { constructor: 1, toString: 'x', hasOwnProperty: null }],
    ['a key that is empty', { '': 1 }],
    ['keys that are numbers', { 2: 'b', 1: 'a' }],
    ['a toJSON that is data', { toJSON: 'x' }],
    ['deep nesting', deep(500)],
    ['a long string', 'ä'.repeat(100_000)]
  ]

  it.each(FAITHFUL)(
    '%s, in a message and in metadata, also when the session was dropped from memory',
    async (_, value) => {
      const history = await openAda({ maxActiveSessions: 1 })
      await history.appendMessage(ADA, { id: 'm', custom: value, content: [{ type: 'data', data: { value } }] })
      await history.updateMetadata(ADA, { set: { value } })
      const other = await history.createSession('ada', 'other', { metadata: { value } })
      await history.createSession('ada', 'third')
      const session = await history.getSession('ada', 's1')
      const json = JSON.stringify(value)
      expect(JSON.stringify((session!.messages[0] as unknown as { custom: unknown }).custom)).toBe(json)
      expect(session?.messages[0]?.content?.[0]).toEqual({ type: 'data', data: { value } })
      expect(JSON.stringify(session?.metadata['value'])).toBe(json)
      expect(JSON.stringify(other.metadata['value'])).toBe(json)
    }
  )

  it.each(['\u0000', '\ud83d', '', ' ', '\udc4d\ud83d'])('the text %j', async (content) => {
    const history = await openAda()
    expect(textsOf(await history.appendMessage(ADA, text(content)))).toEqual([content])
  })

  it('-0 becomes 0, and an undefined property is dropped', async () => {
    const history = await openAda()
    const session = await history.appendMessage(ADA, {
      id: 'm',
      zero: -0,
      list: [-0],
      none: undefined,
      in: { no: undefined }
    })
    const message = session!.messages[0] as unknown as { zero: number; list: number[] }
    expect(Object.is(message.zero, 0)).toBe(true)
    expect(Object.is(message.list[0], 0)).toBe(true)
    expect(message).not.toHaveProperty('none')
    expect(message).toMatchObject({ in: {} })
    expect(Object.keys((message as unknown as { in: object }).in)).toEqual([])
  })

  it('fields whose default is null stay absent, those given as null stay null, unknown fields stay', async () => {
    const history = await openAda()
    const session = await history.appendMessage(ADA, { id: 'm', role: null, usage: null, unknown: { kept: [true] } })
    expect(session?.messages[0]).toEqual({
      id: 'm',
      object: 'message',
      type: 'message',
      status: 'created',
      role: null,
      usage: null,
      unknown: { kept: [true] }
    })
  })

  it('a key named __proto__ at the top of a message and of metadata pollutes nothing', async () => {
    const history = await openAda({ maxActiveSessions: 1 })
    const hostile = JSON.parse('{"id":"m","__proto__":{"polluted":true}}') as MessageInput
    await history.appendMessage(ADA, hostile)
    await history.createSession('ada', 'other', { metadata: hostile })
    const message = (await history.getSession('ada', 's1'))!.messages[0]!
    expect(Object.hasOwn(message, '__proto__')).toBe(true)
    expect(Object.getPrototypeOf(message)).toBe(Object.prototype)
    expect(JSON.parse(JSON.stringify(message))).toEqual(JSON.parse(JSON.stringify({ ...message })))
    expect(Object.hasOwn((await history.getSession('ada', 'other'))!.metadata, '__proto__')).toBe(true)
    expect((await history.listSessions('ada')).some(({ metadata }) => Object.hasOwn(metadata, '__proto__'))).toBe(true)
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
  })
})

describe('a message that is refused', () => {
  class Own {
    readonly x = 1
  }
  const cycle: { self?: unknown } = {}
  cycle.self = [cycle]
  const getter = Object.defineProperty({}, 'x', { enumerable: true, get: () => 1 })

  /** What JSON cannot carry back, and where in it the fault is. */
  const NOT_JSON: [string, unknown, (string | number)[]][] = [
    ['a function', () => 1, []],
    ['a symbol', Symbol('s'), []],
    ['a bigint', 1n, []],
    ['NaN', Number.NaN, []],
    ['Infinity', Infinity, []],
    ['-Infinity', -Infinity, []],
    ['a Map', new Map(), []],
    ['a Set', new Set(), []],
    ['a Date', new Date(0), []],
    ['a RegExp', /x/, []],
    ['a class instance', new Own(), []],
    ['an Error', new Error('x'), []],
    ['a Uint8Array', new Uint8Array(1), []],
    ['a boxed string', Object('x'), []],
    ['a promise', Promise.resolve(), []],
    ['undefined in a list', [1, undefined], [1]],
    ['a hole in a list', Array.from({ length: 2, 0: 1 }), [1]],
    ['a getter', getter, ['x']],
    ['a cycle', cycle, ['self', 0]],
    ['a fault further down', { a: [{ b: [0, { c: 1n }] }] }, ['a', 0, 'b', 1, 'c']],
    ['a fault under __proto__', Object.fromEntries([['__proto__', { f: () => 1 }]]), ['__proto__', 'f']]
  ]

  /** What the schema refuses, and where. */
  const NOT_A_MESSAGE: [string, unknown, (string | number)[]][] = [
    ['a role it does not know', { role: 'boss' }, ['role']],
    ['a role that is a number', { role: 1 }, ['role']],
    ['an id that is a number', { id: 1 }, ['id']],
    ['a type that is null', { type: null }, ['type']],
    ['a status it does not know', { status: 'done' }, ['status']],
    ['content that is a number', { content: 5 }, ['content']],
    ['content that is an object', { content: { text: 'x' } }, ['content']],
    ['a content part that is a string', { content: ['x'] }, ['content', 0]],
    ['a content part of unknown type', { content: [{ type: 'text' }, { type: 'smell' }] }, ['content', 1, 'type']],
    ['a text that is a number', { content: [{ type: 'text', text: 5 }] }, ['content', 0, 'text']],
    ['data that is a string', { content: [{ type: 'data', data: 'x' }] }, ['content', 0, 'data']],
    ['a sequence number that is not whole', { sequence_number: 1.5 }, ['sequence_number']],
    ['usage that is a list', { usage: [] }, ['usage']],
    ['an error without a code', { error: { message: 'x' } }, ['error', 'code']],
    ['a string', 'Hello', []],
    ['a number', 5, []],
    ['null', null, []],
    ['true', true, []]
  ]

  const REFUSED = [
    ...NOT_A_MESSAGE,
    ...NOT_JSON.map(([name, value, path]): [string, unknown, (string | number)[]] => [
      `${name} in it`,
      { id: 'm', metadata: { x: value } },
      ['metadata', 'x', ...path]
    ]),
    ...NOT_JSON.filter(([name]) => !/list|getter/.test(name))
  ]

  it.each(REFUSED)(
    'for %s is INVALID_MESSAGE with the path of the fault; nothing of the call is stored',
    async (_, bad, path) => {
      const history = await openAda()
      const message = bad as MessageInput
      const good = text('good')
      await storesNothing(history, async () => {
        await fails(() => history.appendMessage(ADA, message), 'INVALID_MESSAGE', { path })
        await fails(() => history.appendMessage(ADA, [good, message, good]), 'INVALID_MESSAGE', { path: [1, ...path] })
        await fails(
          () =>
            history.commit(ADA, [
              { type: 'metadata', set: { a: 1 } },
              { type: 'append', messages: [good, message] }
            ]),
          'INVALID_MESSAGE',
          { path: [1, 'messages', 1, ...path] }
        )
      })
      expect(await history.appendMessage(ADA, good)).toMatchObject({ version: 2 })
    }
  )

  it.each(NOT_A_MESSAGE.filter(([, bad]) => typeof bad === 'object' && bad !== null && !('id' in bad)))(
    'by putMessage, for %s, is INVALID_MESSAGE with the path of the fault',
    async (_, bad, path) => {
      const history = await openAda()
      const message = { id: 'm', ...(bad as object) }
      await storesNothing(history, async () => {
        await fails(() => history.putMessage(ADA, message), 'INVALID_MESSAGE', { path })
        await fails(() => history.commit(ADA, [{ type: 'put', message }]), 'INVALID_MESSAGE', {
          path: [0, 'message', ...path]
        })
      })
    }
  )

  it.each(NOT_JSON)('%s in metadata is INVALID_MESSAGE, naming the path', async (_, value, path) => {
    const history = await openAda()
    const metadata = { ok: 1, x: value }
    await storesNothing(history, async () => {
      await fails(() => history.updateMetadata(ADA, { set: metadata }), 'INVALID_MESSAGE', {
        path: ['set', 'x', ...path]
      })
      await fails(() => history.commit(ADA, [{ type: 'metadata', set: metadata }]), 'INVALID_MESSAGE', {
        path: [0, 'set', 'x', ...path]
      })
      await fails(() => history.createSession('ada', 's1', { metadata }), 'INVALID_MESSAGE', {
        path: ['metadata', 'x', ...path]
      })
    })
  })

  it('in a list in place of a message is INVALID_MESSAGE', async () => {
    const history = await openAda()
    await storesNothing(history, () =>
      fails(() => history.appendMessage(ADA, [[text('x')]] as never), 'INVALID_MESSAGE', { path: [0] })
    )
  })

  it('because the call gives undefined is no message', async () => {
    const history = await openAda()
    await storesNothing(history, () => fails(() => history.appendMessage(ADA, undefined as never), 'INVALID_MESSAGE'))
  })

  it('names the first bad message of a list', async () => {
    const history = await openAda()
    const bad = { role: 'boss' } as never
    await fails(() => history.appendMessage(ADA, [text('x'), bad, bad]), 'INVALID_MESSAGE', { path: [1, 'role'] })
  })

  it('leaves an absent session absent, whatever missing.append says', async () => {
    const history = await open({ missing: { append: 'create' } })
    await fails(() => history.appendMessage(ADA, { role: 'boss' } as never), 'INVALID_MESSAGE', { path: ['role'] })
    expect(await eventsOf(history)).toEqual([])
  })

  it('does not have the same object in it twice: that is no cycle', async () => {
    const history = await openAda()
    const shared = { x: 1 }
    const session = await history.appendMessage(ADA, { id: 'm', metadata: { a: shared, b: [shared, shared] } })
    expect(session?.messages[0]?.metadata).toEqual({ a: { x: 1 }, b: [{ x: 1 }, { x: 1 }] })
  })
})

describe('maxMessageBytes', () => {
  const message = (padding: string): MessageInput => ({
    id: 'm',
    object: 'message',
    type: 'message',
    status: 'created',
    content: [{ type: 'text', text: padding }]
  })
  const overhead = Buffer.byteLength(JSON.stringify(message('')))

  it.each([
    ['ASCII', 'x', 100],
    ['two bytes each', 'é', 200],
    ['three bytes each', '漢', 300],
    ['four bytes each', '👍', 400],
    ['escaped', '"', 200],
    ['control characters', '\u0001', 600]
  ])('is counted in bytes of JSON in UTF-8: %s', async (_, character, bytes) => {
    const limit = overhead + bytes
    const exact = await openAda({ maxMessageBytes: limit })
    expect(await exact.appendMessage(ADA, message(character.repeat(100)))).toMatchObject({ version: 2 })
    const short = await openAda({ maxMessageBytes: limit - 1 })
    await storesNothing(short, () =>
      fails(() => short.appendMessage(ADA, [{}, message(character.repeat(100))]), 'INVALID_MESSAGE', {
        path: [1],
        size: limit,
        limit: limit - 1
      })
    )
  })

  it('is 16 MiB by default', async () => {
    const history = await openAda()
    const limit = 16 * 1024 * 1024
    const largest = message('x'.repeat(limit - overhead))
    expect(await history.appendMessage(ADA, largest)).toMatchObject({ version: 2 })
    await fails(() => history.appendMessage(ADA, message('x'.repeat(limit - overhead + 1))), 'INVALID_MESSAGE', {
      size: limit + 1,
      limit
    })
  })

  it('holds for putMessage and commit, too', async () => {
    const history = await openAda({ maxMessageBytes: 200 })
    const large = message('x'.repeat(200))
    await storesNothing(history, async () => {
      await fails(() => history.putMessage(ADA, large), 'INVALID_MESSAGE', { limit: 200 })
      await fails(() => history.commit(ADA, [{ type: 'append', messages: [large] }]), 'INVALID_MESSAGE', { limit: 200 })
    })
  })
})
