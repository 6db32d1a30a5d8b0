import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  createSessionHistory,
  toOpenAIMessages,
  type SessionHistoryService,
  type StandardSchema
} from '../../src/index.ts'
import { misuses, open } from './kit.ts'

const SESSION = { userId: 'ada', id: 's' }

describe('what the caller gives to be called', () => {
  it('may throw in inspect: calls and stop are answered as without it, and the logger is told once', async () => {
    for (let fatal = 1; fatal <= 30; fatal++) {
      let seen = 0
      const warnings: string[] = []
      const history = await createSessionHistory({
        logger: { warn: (message) => void warnings.push(message) },
        inspect: () => {
          if (++seen >= fatal) throw new Error('a bug of the inspector')
        }
      })
      await history.createSession('ada', 's')
      expect((await history.appendMessage(SESSION, { id: 'a' }))?.version).toBe(2)
      expect((await history.getSession('ada', 's'))?.messages.map(({ id }) => id)).toEqual(['a'])
      await history.stop()
      expect(warnings).toEqual(seen >= fatal ? [expect.stringContaining('a bug of the inspector')] : [])
    }
  })

  it('may be an observer, as xstate takes one', async () => {
    const types = new Set<string>()
    const history = await createSessionHistory({ inspect: { next: ({ type }) => void types.add(type) } })
    await history.createSession('ada')
    expect(types).toContain('@xstate.snapshot')
  })

  it('may throw in the logger', async () => {
    const logger = {
      warn: () => {
        throw new Error('a bug of the logger')
      }
    }
    const history = await createSessionHistory({ logger })
    expect(await history.appendMessage(SESSION, { id: 'a' })).toBeNull()
  })
})

describe('options that make no sense', () => {
  it.each<[string, object]>([
    ['an inspect that is nothing to call', { inspect: 5 }],
    ['an inspect without next', { inspect: {} }],
    ['a logger without warn', { logger: {} }],
    ['ids that are no functions', { ids: { event: 5 } }],
    ['a message that is no schema', { message: {} }]
  ])('are a TypeError: %s', async (_, options) => {
    await expect(createSessionHistory(options as never)).rejects.toThrow(TypeError)
  })

  const OPTIONS: readonly [string, (history: SessionHistoryService, options: never) => unknown][] = [
    ['createSession', (history, options) => history.createSession('ada', 's', options)],
    ['getSession', (history, options) => history.getSession('ada', 's', options)],
    ['listSessions', (history, options) => history.listSessions('ada', options)],
    ['listUsers', (history, options) => history.listUsers(options)],
    ['appendMessage', (history, options) => history.appendMessage(SESSION, { id: 'a' }, options)],
    ['putMessage', (history, options) => history.putMessage(SESSION, { id: 'a' }, options)],
    ['updateMetadata', (history, options) => history.updateMetadata(SESSION, {}, options)],
    ['commit', (history, options) => history.commit(SESSION, [], options)],
    ['rewind', (history, options) => history.rewind(SESSION, 1, options)],
    ['undo', (history, options) => history.undo(SESSION, options)],
    ['redo', (history, options) => history.redo(SESSION, options)],
    ['fork', (history, options) => history.fork(SESSION, options)],
    ['beginTurn', (history, options) => history.beginTurn(SESSION, options)],
    ['readEvents', (history, options) => history.readEvents('ada', 's', options)],
    ['subscribe', (history, options) => history.subscribe('ada', 's', options)],
    ['exportSession', (history, options) => history.exportSession('ada', 's', options)],
    ['importSession', (history, options) => history.importSession([], options)],
    ['withMessage', (history, options) => history.withMessage(z.string(), options)],
    ['createSessionHistory', (_, options) => createSessionHistory(options)]
  ]

  it.each(OPTIONS)('are a TypeError of %s where they are no object', async (_, call) => {
    const history = await createSessionHistory()
    await history.createSession('ada', 's')
    for (const options of [null, 5, 'text', true]) {
      await misuses(() => call(history, options as never), `options must be an object; it is ${inspect(options)}`)
    }
    expect(await history.getSession('ada', 's')).toMatchObject({ version: 1 })
  })

  it.each(['missing', 'ids', 'clock'])('are a TypeError where %s is no object', async (name) => {
    for (const value of [null, 'text']) {
      await misuses(() => createSessionHistory({ [name]: value }), `${name} must be an object; it is ${inspect(value)}`)
    }
  })

  it('are a TypeError where a page begins after what is no session', async () => {
    const history = await createSessionHistory()
    for (const after of [null, 0, 'text']) {
      await misuses(
        () => history.listSessions('ada', { after: after as never }),
        `after must be an object; it is ${inspect(after)}`
      )
    }
  })

  it('are a TypeError of the writes of a turn where they are no object', async () => {
    const history = await createSessionHistory()
    await history.createSession('ada', 's')
    const turn = await history.beginTurn(SESSION)
    await misuses(() => turn.append({}, null as never), 'options must be an object; it is null')
    await misuses(() => turn.put({ id: 'a' }, 5 as never), 'options must be an object; it is 5')
    await misuses(() => turn.commit([], 'x' as never), "options must be an object; it is 'x'")
    expect((await turn.end()).version).toBe(3)
  })

  it('are NOT_A_STORE where the store is null', async () => {
    await expect(createSessionHistory({ store: null as never })).rejects.toMatchObject({ code: 'NOT_A_STORE' })
  })

  it('are a TypeError where another schema takes the name of the default format', async () => {
    const history = await createSessionHistory()
    expect(() => history.withMessage(z.string(), { format: 'message' })).toThrow(TypeError)
    expect(() => history.withMessage({} as StandardSchema, { format: 'mine' })).toThrow(TypeError)
    expect(() => history.withMessage(z.string(), undefined as never)).toThrow(TypeError)
  })

  it('are a TypeError where metadata changes are missing', async () => {
    const history = await createSessionHistory()
    await history.createSession('ada', 's')
    await expect(history.updateMetadata(SESSION, undefined as never)).rejects.toThrow('changes must be')
    expect(() => toOpenAIMessages({ messages: [] } as never)).toThrow('messages must be a list')
  })
})

describe('readEvents', () => {
  it('can be gone through more than once', async () => {
    const history = await createSessionHistory()
    await history.createSession('ada', 's')
    const events = history.readEvents('ada', 's')
    for (let i = 0; i < 2; i++) {
      const types: string[] = []
      for await (const { type } of events) types.push(type)
      expect(types).toEqual(['created'])
    }
  })
})

describe('chat messages that were appended as they are', () => {
  it('keep their calls on the way back', async () => {
    const chat = [
      {
        role: 'assistant' as const,
        content: null,
        tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } }]
      },
      { role: 'tool' as const, tool_call_id: 'c', name: 'f', content: 'out' }
    ]
    const history = await createSessionHistory()
    const session = await history.createSession('ada', 's')
    const after = await history.appendMessage(session, chat)
    expect(toOpenAIMessages(after!.messages)).toEqual(chat)
  })
})

it('names a long path in short', async () => {
  const history = await createSessionHistory()
  await history.createSession('ada', 's')
  let deep: unknown = 1n
  for (let i = 0; i < 900; i++) deep = { deeper: deep }
  const error: unknown = await history
    .appendMessage(SESSION, { metadata: deep as Record<string, unknown> })
    .catch((reason: unknown) => reason)
  expect(error).toMatchObject({ code: 'INVALID_MESSAGE', path: expect.objectContaining({ length: 901 }) })
  expect((error as Error).message.length).toBeLessThan(300)
})

describe('options that there are not', () => {
  it.each([
    [{ Store: 'env' }, 'Store is no option: is store meant?'],
    [{ maxActiveByte: 5 }, 'maxActiveByte is no option: is maxActiveBytes meant?'],
    [{ timeout: undefined }, 'timeout is no option: there are store, message,'],
    [{ toString: 1 }, 'toString is no option: there are'],
    [{ retention: { ttl: 5 } }, 'retention.ttl is no option: is retention.ttlMs meant?'],
    [{ missing: { read: 'null' } }, 'missing.read is no option: there are get, append'],
    [{ ids: { sessions: () => 'a' } }, 'ids.sessions is no option: is ids.session meant?']
  ])('%j is misuse', async (options, shown) => {
    await misuses(() => createSessionHistory(options as never), shown)
  })
})

describe('a session that is none', () => {
  it('is judged before what is to be written', async () => {
    const history = await open()
    const shown = "session must be an object with userId and id; it is 'ada'"
    const session = 'ada' as never
    await misuses(() => history.appendMessage(session, 'x' as never, {}), shown)
    await misuses(() => history.putMessage(session, {}), shown)
    await misuses(() => history.updateMetadata(session, 5 as never), shown)
    await misuses(() => history.commit(session, 5 as never), shown)
  })
})
