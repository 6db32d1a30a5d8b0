import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createSessionHistory, toOpenAIMessages, type StandardSchema } from '../../src/index.ts'

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
