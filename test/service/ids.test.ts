import { describe, expect, it } from 'vitest'
import type { SessionHistoryService } from '../../src/index.ts'
import { ADA, eventsOf, misuses, open, openAda, text, textsOf } from './kit.ts'

const HOSTILE = [
  '__proto__',
  'constructor',
  'hasOwnProperty',
  'toString',
  'a.b',
  '*',
  '>',
  '/',
  '../..',
  '1:a',
  '%00',
  '\u0000',
  "'; drop table",
  ' a',
  'a ',
  'é',
  'e\u0301',
  '👩‍👩‍👧',
  '漢'.repeat(512),
  'x'.repeat(512),
  '👍'.repeat(256)
]

describe('two users', () => {
  it('may use one session id, and see nothing of each other', async () => {
    const history = await open()
    for (const userId of ['ada', 'bob']) {
      await history.createSession(userId, 's1')
      await history.appendMessage({ userId, id: 's1' }, text(userId))
    }
    await history.updateMetadata(ADA, { set: { title: 'mine' } })
    expect(textsOf(await history.getSession('bob', 's1'))).toEqual(['bob'])
    expect(await history.getSession('bob', 's1')).toMatchObject({ version: 2, metadata: {} })
    await history.deleteSession('ada', 's1')
    await history.purgeSession('ada', 's1')
    expect(textsOf(await history.getSession('bob', 's1'))).toEqual(['bob'])
    expect((await history.listSessions('bob')).map(({ userId, id }) => [userId, id])).toEqual([['bob', 's1']])
    expect(await history.listSessions('ada')).toEqual([])
    expect(await history.listUsers()).toEqual(['bob'])
  })

  it.each([
    [
      ['a', 'bc'],
      ['ab', 'c']
    ],
    [
      ['a.b', 'c'],
      ['a', 'b.c']
    ],
    [
      ['a/b', 'c'],
      ['a', 'b/c']
    ],
    [
      ['1', '1:11'],
      ['1:1', '11']
    ],
    [
      ['a\u0000', 'b'],
      ['a', '\u0000b']
    ]
  ])('are told apart from each other: %j and %j', async (one, other) => {
    const history = await open()
    for (const [userId, id] of [one, other] as [string, string][]) {
      await history.createSession(userId, id)
      await history.appendMessage({ userId, id }, text(userId))
    }
    for (const [userId, id] of [one, other] as [string, string][]) {
      expect(textsOf(await history.getSession(userId, id))).toEqual([userId])
      expect(await history.listSessions(userId)).toHaveLength(1)
    }
  })
})

describe('an id', () => {
  it.each(HOSTILE.map((id) => [id.length > 40 ? `${id.slice(0, 2)}… of ${id.length}` : JSON.stringify(id), id]))(
    'may be %s: plain data',
    async (_, id) => {
      const history = await open({ missing: { get: 'null' } })
      // Of a session id, createSession takes the spaces away; getSession does not.
      const session = { userId: id, id: id.trim() }
      expect(await history.getSession(id, session.id)).toBeNull()
      expect(await history.createSession(id, id)).toMatchObject({ userId: id, id: session.id, version: 1 })
      await history.appendMessage(session, text('one'))
      expect(textsOf(await history.getSession(id, session.id))).toEqual(['one'])
      expect(await history.listUsers()).toEqual([id])
      expect((await history.listSessions(id)).map((listed) => listed.id)).toEqual([session.id])
      expect((await eventsOf(history, session)).map(({ userId, sessionId }) => [userId, sessionId])).toEqual([
        [id, session.id],
        [id, session.id]
      ])
      await history.deleteSession(id, session.id)
      expect(await history.getSession(id, session.id)).toBeNull()
      await history.purgeSession(id, session.id)
      expect(await eventsOf(history, session)).toEqual([])
    }
  )

  it('of many hostile ones names one session each', async () => {
    const history = await open()
    const keys = HOSTILE.flatMap((userId) => HOSTILE.map((id) => ({ userId, id: id.trim() })))
    const distinct = new Map(keys.map((key) => [JSON.stringify(key), key]))
    await Promise.all([...distinct.values()].map(({ userId, id }) => history.createSession(userId, id)))
    for (const [name, key] of distinct) await history.appendMessage(key, text(name))
    for (const [name, { userId, id }] of distinct) {
      expect(textsOf(await history.getSession(userId, id))).toEqual([name])
    }
    expect((await history.listUsers()).sort()).toEqual(HOSTILE.toSorted())
  })

  it('pollutes nothing', async () => {
    const history = await open()
    await history.createSession('__proto__', '__proto__', { metadata: JSON.parse('{"__proto__":{"bad":1}}') as object })
    await history.appendMessage({ userId: '__proto__', id: '__proto__' }, text('x'))
    expect(({} as { bad?: number }).bad).toBeUndefined()
    expect(Object.getPrototypeOf({})).toBe(Object.prototype)
  })
})

const CALLS: [string, (history: SessionHistoryService, userId: string, id: string) => unknown][] = [
  ['getSession', (history, userId, id) => history.getSession(userId, id)],
  ['appendMessage', (history, userId, id) => history.appendMessage({ userId, id }, text('x'))],
  ['putMessage', (history, userId, id) => history.putMessage({ userId, id }, { id: 'm' })],
  ['updateMetadata', (history, userId, id) => history.updateMetadata({ userId, id }, { set: { a: 1 } })],
  ['commit', (history, userId, id) => history.commit({ userId, id }, [])],
  ['readEvents', (history, userId, id) => eventsOf(history, { userId, id })],
  ['deleteSession', (history, userId, id) => history.deleteSession(userId, id)],
  ['purgeSession', (history, userId, id) => history.purgeSession(userId, id)]
]

const OF_USERS: typeof CALLS = [
  ['createSession', (history, userId) => history.createSession(userId, 's1')],
  ['listSessions', (history, userId) => history.listSessions(userId)],
  ['deleteUserSessions', (history, userId) => history.deleteUserSessions(userId)],
  ...CALLS
]

const REFUSED: [string, unknown, string][] = [
  ['an empty string', '', "''"],
  ['a blank string', ' \t', "' \\t'"],
  ['513 characters', 'y'.repeat(513), 'yyyyyyyy'],
  ['a lone high surrogate', 'a\ud800', "'a\\uD800'"],
  ['a lone low surrogate', '\udc00b', "'\\uDC00b'"],
  ['a number', 42, '42'],
  ['null', null, 'null'],
  ['undefined', undefined, 'undefined'],
  ['an object', { toString: () => 's1' }, 'toString'],
  ['a list', ['s1'], 's1']
]

describe.each(REFUSED)('%s', (_, value, shown) => {
  it.each(OF_USERS)('as user id of %s is a TypeError that shows the value', async (_name, call) => {
    const history = await openAda()
    await misuses(() => call(history, value as string, 's1'), shown)
    expect(await history.listUsers()).toEqual(['ada'])
  })

  it.each(CALLS)('as session id of %s is a TypeError that shows the value', async (_name, call) => {
    const history = await openAda()
    await misuses(() => call(history, 'ada', value as string), shown)
    expect((await history.listSessions('ada')).map(({ id }) => id)).toEqual(['s1'])
  })
})

// Blank and absent are not refused there: they give a fresh id.
it.each(REFUSED.filter(([name]) => !/empty|blank|null|undefined/.test(name)))(
  '%s as session id of createSession is a TypeError that shows the value',
  async (_, value, shown) => {
    const history = await open()
    await misuses(() => history.createSession('ada', value as string), shown)
    expect(await history.listUsers()).toEqual([])
  }
)

it.each([
  [undefined, 'undefined'],
  [null, 'null'],
  [5, '5'],
  ['ada', "'ada'"],
  [{}, 'undefined'],
  [{ userId: 'ada' }, 'undefined'],
  [{ id: 's1' }, 'undefined']
])('%j in place of a session is a TypeError', async (session, shown) => {
  const history = await openAda()
  await misuses(() => history.appendMessage(session as never, text('x')), shown)
  await misuses(() => history.putMessage(session as never, { id: 'm' }), shown)
  await misuses(() => history.updateMetadata(session as never, {}), shown)
  await misuses(() => history.commit(session as never, []), shown)
})

it('a session is anything with userId and id', async () => {
  const history = await openAda()
  class Ref {
    get userId(): string {
      return 'ada'
    }
    get id(): string {
      return 's1'
    }
  }
  expect(await history.appendMessage(new Ref(), text('x'))).toMatchObject({ version: 2 })
})
