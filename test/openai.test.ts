import { deepStrictEqual } from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isTurnlogError } from '../src/errors.ts'
import { copyJson } from '../src/json.ts'
import { defaultFormat, type Message, type MessageInput } from '../src/message.ts'
import { fromOpenAIMessage, toOpenAIMessages, type OpenAIMessage } from '../src/openai.ts'

const format = defaultFormat(() => 'msg_1')

const callOf = (id: string, name: string, args: string) => ({
  id,
  type: 'function',
  function: { name, arguments: args }
})

const filePart = { type: 'file', file: { file_id: 'f' } }

describe('fromOpenAIMessage', () => {
  it.each<{ given: string; chat: OpenAIMessage; message: MessageInput }>([
    {
      given: 'a string content',
      chat: { role: 'user', content: 'Hello' },
      message: { type: 'message', role: 'user', content: [{ type: 'text', text: 'Hello' }] }
    },
    {
      given: 'an empty string',
      chat: { role: 'system', content: '' },
      message: { type: 'message', role: 'system', content: [{ type: 'text', text: '' }] }
    },
    {
      given: 'a null content',
      chat: { role: 'assistant', content: null },
      message: { type: 'message', role: 'assistant', content: null }
    },
    {
      given: 'an absent content',
      chat: { role: 'assistant' },
      message: { type: 'message', role: 'assistant' }
    },
    {
      given: 'tool calls and a null content',
      chat: { role: 'assistant', content: null, tool_calls: [callOf('a', 'f', '{}'), callOf('b', 'g', '')] },
      message: {
        type: 'function_call',
        role: 'assistant',
        content: [
          { type: 'data', data: { call_id: 'a', name: 'f', arguments: '{}' } },
          { type: 'data', data: { call_id: 'b', name: 'g', arguments: '' } }
        ]
      }
    },
    {
      given: 'text and a tool call',
      chat: { role: 'assistant', content: 'Let me look.', tool_calls: [callOf('a', 'f', '{"x":1}')] },
      message: {
        type: 'function_call',
        role: 'assistant',
        content: [
          { type: 'text', text: 'Let me look.' },
          { type: 'data', data: { call_id: 'a', name: 'f', arguments: '{"x":1}' } }
        ]
      }
    },
    {
      given: 'a custom tool call',
      chat: {
        role: 'assistant',
        content: null,
        tool_calls: [{ id: 'a', type: 'custom', custom: { name: 'sql', input: 'select 1' } }]
      },
      message: {
        type: 'function_call',
        role: 'assistant',
        content: [{ type: 'data', data: { call_id: 'a', name: 'sql', input: 'select 1' } }]
      }
    },
    {
      given: 'a tool message',
      chat: { role: 'tool', tool_call_id: 'a', name: 'f', content: '' },
      message: {
        type: 'function_call_output',
        role: 'tool',
        content: [{ type: 'data', data: { call_id: 'a', name: 'f', output: '' } }]
      }
    },
    {
      given: 'a tool output of parts',
      chat: { role: 'tool', tool_call_id: 'a', content: [{ type: 'text', text: '12 °C' }] },
      message: {
        type: 'function_call_output',
        role: 'tool',
        content: [{ type: 'data', data: { call_id: 'a', output: [{ type: 'text', text: '12 °C' }] } }]
      }
    },
    {
      given: 'text, image_url and other parts',
      chat: {
        role: 'user',
        content: [
          { type: 'text', text: 'What is this?' },
          { type: 'image_url', image_url: { url: 'https://x/y.png' } },
          filePart
        ]
      },
      message: {
        type: 'message',
        role: 'user',
        content: [
          { type: 'text', text: 'What is this?' },
          { type: 'image', image_url: 'https://x/y.png' },
          { type: 'data', data: filePart }
        ]
      }
    }
  ])('given $given, then there is a message without metadata', ({ chat, message }) => {
    expect(fromOpenAIMessage(chat)).toStrictEqual(message)
    expect(roundTrip([chat])).toStrictEqual([chat])
  })

  it.each<{ given: string; chat: object; kept: object }>([
    {
      given: 'the role developer',
      chat: { role: 'developer', content: 'Be brief.' },
      kept: { set: { '/role': 'developer' } }
    },
    {
      given: 'the role function',
      chat: { role: 'function', name: 'f', content: '1' },
      kept: { set: { '/role': 'function' } }
    },
    { given: 'a role of its own', chat: { role: 'critic', content: 'No.' }, kept: { set: { '/role': 'critic' } } },
    {
      given: 'the name of a user',
      chat: { role: 'user', content: 'Hi', name: 'ada' },
      kept: { set: { '/name': 'ada' } }
    },
    {
      given: 'what a response has beside its content',
      chat: { role: 'assistant', content: 'Hi', refusal: null, annotations: [], audio: { id: 'a' }, tool_calls: null },
      kept: { set: { '/refusal': null, '/annotations': [], '/audio': { id: 'a' }, '/tool_calls': null } }
    },
    {
      given: 'an empty list of tool calls',
      chat: { role: 'assistant', content: 'Hi', tool_calls: [] },
      kept: { set: { '/tool_calls': [] } }
    },
    {
      given: 'a legacy function call',
      chat: { role: 'assistant', content: null, function_call: { name: 'f', arguments: '{}' } },
      kept: { set: { '/function_call': { name: 'f', arguments: '{}' } } }
    },
    {
      given: 'tool calls without a content',
      chat: { role: 'assistant', tool_calls: [callOf('a', 'f', '{}')] },
      kept: { unset: ['/content'] }
    },
    {
      given: 'a list of one text',
      chat: { role: 'user', content: [{ type: 'text', text: 'Hi' }] },
      kept: { parts: true }
    },
    { given: 'an empty list', chat: { role: 'user', content: [] }, kept: { parts: true } },
    {
      given: 'an empty list beside tool calls',
      chat: { role: 'assistant', content: [], tool_calls: [callOf('a', 'f', '{}')] },
      kept: { parts: true }
    },
    { given: 'an empty tool output', chat: { role: 'tool', tool_call_id: 'a', content: [] }, kept: { parts: true } },
    {
      given: 'a null tool output',
      chat: { role: 'tool', tool_call_id: 'a', content: null },
      kept: { set: { '/content': null } }
    },
    { given: 'an absent tool output', chat: { role: 'tool', tool_call_id: 'a' }, kept: { unset: ['/content'] } },
    {
      given: 'fields of parts',
      chat: {
        role: 'user',
        content: [
          { type: 'text', text: 'Hi', cache_control: { type: 'ephemeral' } },
          { type: 'image_url', image_url: { url: 'data:,', detail: 'low' } }
        ]
      },
      kept: { set: { '/content/0/cache_control': { type: 'ephemeral' }, '/content/1/image_url/detail': 'low' } }
    },
    {
      given: 'fields of tool calls',
      chat: { role: 'assistant', content: null, tool_calls: [{ 'index': 0, ...callOf('a', 'f', '{}'), 'a/b~c': 1 }] },
      kept: { set: { '/tool_calls/0/index': 0, '/tool_calls/0/a~1b~0c': 1 } }
    },
    {
      given: 'a call that lacks everything',
      chat: { role: 'assistant', content: null, tool_calls: [{}] },
      kept: { unset: ['/tool_calls/0/type', '/tool_calls/0/function'] }
    }
  ])('given $given, then metadata.openai keeps what a message cannot carry', ({ chat, kept }) => {
    const message = fromOpenAIMessage(chat as OpenAIMessage)
    expect(message.metadata).toStrictEqual({ openai: kept })
    expect(roundTrip([chat])).toStrictEqual([chat])
  })

  it('takes a literal with fields that its type does not name', () => {
    const message = fromOpenAIMessage({
      role: 'user',
      content: [{ type: 'text', text: 'Hi', cache_control: null }],
      extra: 1
    })
    expect(message.content).toStrictEqual([{ type: 'text', text: 'Hi' }])
  })

  it('takes messages typed by interfaces, as the openai package does', () => {
    interface TextParam {
      text: string
      type: 'text'
    }
    interface UserParam {
      content: string | TextParam[]
      role: 'user'
      name?: string
    }
    const chat: UserParam = { role: 'user', content: 'Hi' }
    expect(fromOpenAIMessage(chat).role).toBe('user')
  })

  it('neither changes nor shares what it is given', () => {
    const chat = { role: 'user' as const, content: [{ type: 'x', list: [1] }], extra: { list: [2] } }
    const before = structuredClone(chat)
    const message = fromOpenAIMessage(chat)
    const changed = message as unknown as { content: { data: { list: number[] } }[]; metadata: Record<string, object> }
    changed.content[0]!.data.list.push(3)
    changed.metadata['openai'] = {}
    expect(chat).toStrictEqual(before)
  })

  it.each([
    { given: 'undefined', chat: undefined, path: [] },
    { given: 'null', chat: null, path: [] },
    { given: 'a string', chat: 'Hello', path: [] },
    { given: 'a list', chat: [{ role: 'user' }], path: [] },
    { given: 'no role', chat: { content: 'Hello' }, path: ['role'] },
    { given: 'a role that is not a string', chat: { role: null }, path: ['role'] },
    { given: 'a date', chat: { role: 'user', content: [{ type: 'x', at: new Date(0) }] }, path: ['content', 0, 'at'] }
  ])('given $given, then INVALID_MESSAGE at $path', ({ chat, path }) => {
    const error = thrownBy(() => fromOpenAIMessage(chat as unknown as OpenAIMessage))
    expect(isTurnlogError(error, 'INVALID_MESSAGE') && error.path).toStrictEqual(path)
  })
})

describe('toOpenAIMessages', () => {
  const data = (value: object) => ({ type: 'data' as const, data: value as Record<string, unknown> })

  it.each<{ given: string; messages: MessageInput[]; chat: object[] }>([
    { given: 'no messages', messages: [], chat: [] },
    {
      given: 'a content that is a string',
      messages: [{ role: 'user', content: 'Hi' }],
      chat: [{ role: 'user', content: 'Hi' }]
    },
    {
      given: 'no role',
      messages: [{ content: [{ type: 'text', text: 'Hi' }] }],
      chat: [{ role: 'user', content: 'Hi' }]
    },
    {
      given: 'no parts',
      messages: [{ role: 'user', content: [] }],
      chat: [{ role: 'user', content: '' }]
    },
    {
      given: 'a text part without a text',
      messages: [{ role: 'user', content: [{ type: 'text' }] }],
      chat: [{ role: 'user', content: '' }]
    },
    {
      given: 'several texts, with fields of a message part',
      messages: [
        {
          role: 'assistant',
          content: [
            { type: 'text', text: 'a', index: 0, status: 'completed' },
            { type: 'text', text: null }
          ]
        }
      ],
      chat: [
        {
          role: 'assistant',
          content: [
            { type: 'text', text: 'a' },
            { type: 'text', text: '' }
          ]
        }
      ]
    },
    {
      given: 'every other type of part',
      messages: [
        {
          role: 'user',
          content: [
            { type: 'image', image_url: 'data:,' },
            { type: 'audio', data: 'AAAA', format: 'wav' },
            { type: 'video', video_url: 'https://x/y.mp4' },
            { type: 'file', file_id: 'f' },
            { type: 'refusal', refusal: 'No.' },
            data({ seat: '12A' }),
            data({ type: 'file', file: { file_id: 'g' } }),
            { type: 'image' },
            { type: 'refusal' },
            { type: 'data' }
          ]
        }
      ],
      chat: [
        {
          role: 'user',
          content: [
            { type: 'image_url', image_url: { url: 'data:,' } },
            { type: 'input_audio', input_audio: { data: 'AAAA', format: 'wav' } },
            { type: 'video_url', video_url: { url: 'https://x/y.mp4' } },
            { type: 'file', file: { file_id: 'f' } },
            { type: 'refusal', refusal: 'No.' },
            { type: 'text', text: '{"seat":"12A"}' },
            { type: 'file', file: { file_id: 'g' } },
            { type: 'image_url', image_url: { url: '' } },
            { type: 'refusal', refusal: '' },
            { type: 'text', text: '{}' }
          ]
        }
      ]
    },
    {
      given: 'calls made in parallel, in one message and in two',
      messages: [
        {
          type: 'function_call',
          content: [data({ call_id: 'a', name: 'f', arguments: '{}' }), data({ call_id: 'b', name: 'g' })]
        },
        { type: 'function_call', content: [data({ call_id: 'c', name: 'h', arguments: { x: 1 } })] }
      ],
      chat: [
        { role: 'assistant', content: null, tool_calls: [callOf('a', 'f', '{}'), callOf('b', 'g', '{}')] },
        { role: 'assistant', content: null, tool_calls: [callOf('c', 'h', '{"x":1}')] }
      ]
    },
    {
      given: 'a call that is still empty',
      messages: [{ type: 'function_call', role: 'assistant' }],
      chat: [{ role: 'assistant', content: null }]
    },
    ...['plugin', 'component', 'mcp', 'my'].map((kind) => ({
      given: `a ${kind}_call and its output`,
      messages: [
        { type: `${kind}_call`, content: [data({ call_id: 'a', name: 'f', arguments: '{}' })] },
        { type: `${kind}_call_output`, content: [data({ call_id: 'a', output: 'ok' })] }
      ],
      chat: [
        { role: 'assistant', content: null, tool_calls: [callOf('a', 'f', '{}')] },
        { role: 'tool', tool_call_id: 'a', content: 'ok' }
      ]
    })),
    {
      given: 'several outputs in one message, of every kind',
      messages: [
        {
          type: 'function_call_output',
          role: 'tool',
          content: [
            data({ call_id: 'a', output: { ok: true } }),
            data({ call_id: 'b', output: [1] }),
            data({ call_id: 'c', output: [{ type: 'text', text: 'x' }] }),
            data({ call_id: 'd', output: [] }),
            data({ call_id: 'e', output: null }),
            data({ call_id: 'f' })
          ]
        }
      ],
      chat: [
        { role: 'tool', tool_call_id: 'a', content: '{"ok":true}' },
        { role: 'tool', tool_call_id: 'b', content: '[1]' },
        { role: 'tool', tool_call_id: 'c', content: [{ type: 'text', text: 'x' }] },
        { role: 'tool', tool_call_id: 'd', content: '[]' },
        { role: 'tool', tool_call_id: 'e', content: '' },
        { role: 'tool', tool_call_id: 'f', content: '' }
      ]
    },
    {
      given: 'an output that is text',
      messages: [{ type: 'function_call_output', content: 'ok' }],
      chat: [{ role: 'tool', content: 'ok' }]
    },
    {
      given: 'types that have no place in a chat',
      messages: [
        { type: 'reasoning', role: 'assistant', content: 'Hm.' },
        { type: 'heartbeat' },
        { type: 'error', code: 'x', message: 'y' },
        { type: 'mcp_list_tools' },
        { type: 'a2ui_action', content: [data({ type: 'click' })] },
        { role: 'user', content: 'Hi' }
      ],
      chat: [{ role: 'user', content: 'Hi' }]
    },
    ...[
      { openai: 'gpt' },
      { openai: { set: 1, unset: 'x', parts: 1 } },
      { openai: { set: { a: 1 }, unset: [1, '', 'a'] } }
    ].map((metadata) => ({
      given: `metadata of somebody else's: ${JSON.stringify(metadata)}`,
      messages: [{ role: 'user' as const, content: 'Hi', metadata }],
      chat: [{ role: 'user', content: 'Hi' }]
    })),
    {
      given: 'kept values that no longer fit the content',
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'a' },
            { type: 'text', text: 'b' }
          ],
          metadata: {
            openai: {
              set: { '/content/1/image_url/detail': 'low', '/content/2': 1, '/content/length': 0 },
              unset: ['/content/0', '/x/y']
            }
          }
        }
      ],
      chat: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'a' },
            { type: 'text', text: 'b' }
          ]
        }
      ]
    }
  ])('given $given, then what a chat can show', ({ messages, chat }) => {
    expect(toOpenAIMessages(messages)).toStrictEqual(chat)
    const stored = messages.map((message) => complete(message))
    expect(toOpenAIMessages(stored)).toStrictEqual(chat)
  })

  it('gives plain data of its own, from frozen messages', () => {
    const chat = {
      role: 'tool' as const,
      tool_call_id: 'a',
      content: [{ type: 'text', text: 'x', list: [1] }],
      extra: { list: [2] }
    }
    const stored = [complete(fromOpenAIMessage(chat))]
    const first = toOpenAIMessages(stored) as (typeof chat)[]
    first[0]!.content[0]!.list.push(3)
    first[0]!.extra.list.push(4)
    expect(toOpenAIMessages(stored)).toStrictEqual([chat])
  })

  it.each([null, 'Hello', undefined, []])('given %j as a message, then INVALID_MESSAGE at its position', (value) => {
    const error = thrownBy(() => toOpenAIMessages([{}, value as unknown as Message]))
    expect(isTurnlogError(error, 'INVALID_MESSAGE') && error.path).toStrictEqual([1])
  })
})

describe('there and back', () => {
  const runs = new URL('../../shared/data/tau-airline.jsonl', import.meta.url)
  const absent = !existsSync(runs)
  if (absent && !process.env['CI']) process.stdout.write(`skipped: no real conversations at ${runs.pathname}\n`)

  it.skipIf(absent && !process.env['CI'])('gives 100 real conversations back deep-equal, with no metadata', () => {
    const conversations = readFileSync(runs, 'utf8')
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { messages: OpenAIMessage[] }).messages)
    expect(conversations).toHaveLength(100)
    for (const chat of conversations) {
      expect(roundTrip(chat)).toStrictEqual(chat)
      expect(chat.filter((message) => fromOpenAIMessage(message).metadata)).toStrictEqual([])
    }
  })

  it('gives any chat messages back deep-equal', () => {
    fc.assert(
      fc.property(fc.array(anyChatMessage(), { maxLength: 4 }), (chat) => {
        const given = JSON.parse(JSON.stringify(chat)) as OpenAIMessage[]
        deepStrictEqual(roundTrip(chat), given)
      }),
      { numRuns: 1000 }
    )
  })

  it.each(['role', 'content', 'tool_calls', 'tool_call_id', 'name'])('keeps __proto__ beside and in %s', (field) => {
    const odd = JSON.parse('{"__proto__":{"x":[{"__proto__":1}]},"constructor":2,"toString":null}') as object
    const own = { role: field === 'role' ? '__proto__' : 'assistant', ...odd, [field === 'role' ? 'x' : field]: [odd] }
    deepStrictEqual(roundTrip([own]), [own])
    deepStrictEqual(roundTrip([{ ...own, role: 'tool' }]), [{ ...own, role: 'tool' }])
  })
})

function roundTrip(chat: readonly object[]): OpenAIMessage[] {
  return toOpenAIMessages(chat.map((message) => complete(fromOpenAIMessage(message as OpenAIMessage))))
}

function complete(message: MessageInput): Message {
  return format.complete(copyJson(message), []) as Message
}

function thrownBy(call: () => unknown): unknown {
  try {
    call()
  } catch (error) {
    return error
  }
  return undefined
}

/** Messages of the documented form, with fields missing, null, of the wrong kind, and unknown ones anywhere. */
function anyChatMessage(): fc.Arbitrary<object> {
  const json = fc.jsonValue({ maxDepth: 2 })
  const extra = fc.dictionary(fc.oneof(fc.string(), fc.constantFrom('__proto__', 'detail', 'index', 'a/b~1')), json, {
    maxKeys: 2,
    noNullPrototype: true
  })
  const open = (fields: Record<string, fc.Arbitrary<unknown>>) =>
    fc
      .tuple(fc.oneof({ weight: 3, arbitrary: fc.constant({}) }, extra), fc.record(fields, { requiredKeys: [] }))
      .map(([others, named]) => ({ ...others, ...named }))
  const text = fc.oneof({ weight: 4, arbitrary: fc.string() }, json)
  const part = fc.oneof(
    open({ type: fc.constant('text'), text }),
    open({ type: fc.constant('image_url'), image_url: fc.oneof(open({ url: text, detail: text }), json) }),
    open({ type: fc.constantFrom('input_audio', 'file', 'refusal', 'data', 'image'), data: json, refusal: text }),
    open({ call_id: text, type: fc.string() }),
    json
  )
  const content = fc.oneof(fc.constant(null), fc.constant(''), text, fc.array(part, { maxLength: 3 }))
  const call = fc.oneof(
    open({ id: text, type: fc.constant('function'), function: open({ name: text, arguments: text }) }),
    open({ id: text, type: fc.constant('custom'), custom: open({ name: text, input: text }) }),
    json
  )
  const role = fc.oneof(
    fc.constantFrom('system', 'developer', 'user', 'assistant', 'assistant', 'tool', 'function'),
    fc.string()
  )
  const fields = open({
    content,
    name: text,
    tool_calls: fc.oneof(fc.array(call, { maxLength: 3 }), json),
    tool_call_id: text,
    function_call: json,
    refusal: text,
    metadata: json
  })
  return fc.tuple(fields, role).map(([others, own]) => ({ ...others, role: own }))
}
