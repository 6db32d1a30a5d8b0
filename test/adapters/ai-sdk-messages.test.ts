import { convertToModelMessages, validateUIMessages, type UIMessage } from 'ai'
import { expect, it } from 'vitest'
import { fromMessages, toMessages, uiMessageStore } from '../../src/adapters/ai-sdk.ts'
import { readingOf } from '../../src/adapters/shared/reading.ts'
import {
  createSessionHistory,
  messageSchema,
  openToolCalls,
  toOpenAIMessages,
  type Json,
  type Message
} from '../../src/index.ts'
import { ask, modelOf, tools, user } from './ai-sdk-kit.ts'

type Part = UIMessage['parts'][number]

const answerOf = (...parts: readonly object[]): UIMessage => ({ id: 'a', role: 'assistant', parts: parts as Part[] })
const call = (state: string, more: object = {}): object => ({
  type: 'tool-add',
  toolCallId: 'c1',
  state,
  input: { a: 1 },
  ...more
})
const ASKED = { type: 'data', data: { call_id: 'c1', name: 'add', arguments: '{"a":1}' } }

/** What messages have of the SDK's own. */
const keptOf = ({ metadata }: Message): unknown => (metadata as { 'ai-sdk'?: unknown } | undefined)?.['ai-sdk']

it('an answer of several steps is what was said and asked, and what tools have answered', () => {
  const messages = toMessages([
    { ...user('1 + 2?', 'u'), metadata: { from: 'web' } },
    answerOf(
      { type: 'step-start' },
      { type: 'reasoning', text: 'Hm.', state: 'done', providerMetadata: { x: { signature: 's' } } },
      { type: 'text', text: 'Let me see.', state: 'done' },
      call('output-available', { output: { sum: 3 } }),
      { ...call('output-error', { errorText: 'no such town' }), type: 'tool-find', toolCallId: 'c2' },
      { type: 'step-start' },
      { type: 'text', text: 'It is 3.', state: 'done' }
    )
  ])
  expect(messages.map(({ id, role, type }) => `${id} ${role} ${type}`)).toEqual([
    'u user message',
    'a assistant reasoning',
    'a_2 assistant function_call',
    'a_3 tool function_call_output',
    'a_4 tool function_call_output',
    'a_5 assistant message'
  ])
  expect(messages[2]!.content).toEqual([
    { type: 'text', text: 'Let me see.' },
    ASKED,
    { type: 'data', data: { call_id: 'c2', name: 'find', arguments: '{"a":1}' } }
  ])
  expect(messages.slice(3, 5).map(({ content }) => content)).toEqual([
    [{ type: 'data', data: { call_id: 'c1', name: 'add', output: { sum: 3 } } }],
    [{ type: 'data', data: { call_id: 'c2', name: 'find', output: 'no such town' } }]
  ])
  expect(messages.map(keptOf)).toEqual([
    { metadata: { from: 'web' } },
    { parts: [{ part: 0, providerMetadata: { x: { signature: 's' } } }] },
    { parts: [{ part: 2, state: 'output-error' }] },
    undefined,
    undefined,
    undefined
  ])
  for (const message of messages) expect(messageSchema.parse(message)).toEqual(message)
  expect(openToolCalls({ messages })).toEqual([])
  expect(toOpenAIMessages(messages).map(({ role }) => role)).toEqual(['user', 'assistant', 'tool', 'tool', 'assistant'])
})

it.each<[string, object, content: object[], kept: object | undefined, outputs?: Json[]]>([
  [
    'a text that streams',
    { type: 'text', text: 'a', state: 'streaming' },
    [{ type: 'text', text: 'a' }],
    { state: 'streaming' }
  ],
  [
    'an image',
    { type: 'file', mediaType: 'image/png', url: 'https://x/y' },
    [{ type: 'image', image_url: 'https://x/y' }],
    { mediaType: 'image/png' }
  ],
  [
    'a video',
    { type: 'file', mediaType: 'video/mp4', url: 'https://x/y' },
    [{ type: 'video', video_url: 'https://x/y' }],
    { mediaType: 'video/mp4' }
  ],
  [
    'sound',
    { type: 'file', mediaType: 'audio/mpeg', url: 'data:audio/mpeg;base64,QQ==' },
    [{ type: 'audio', data: 'QQ==', format: 'mpeg' }],
    { mediaType: 'audio/mpeg' }
  ],
  [
    'sound that is elsewhere',
    { type: 'file', mediaType: 'audio/wav', url: 'https://x/y' },
    [{ type: 'file', file_url: 'https://x/y' }],
    { mediaType: 'audio/wav' }
  ],
  [
    'a file',
    { type: 'file', mediaType: 'text/plain', filename: 'y.txt', url: 'https://x/y' },
    [{ type: 'file', file_url: 'https://x/y', filename: 'y.txt' }],
    { mediaType: 'text/plain' }
  ],
  [
    'an image that has a name',
    { type: 'file', mediaType: 'image/png', filename: 'a.png', url: 'https://x/y' },
    [{ type: 'image', image_url: 'https://x/y' }],
    { mediaType: 'image/png', filename: 'a.png' }
  ],
  [
    'sound that has a name',
    { type: 'file', mediaType: 'audio/mpeg', filename: 'a.mp3', url: 'data:audio/mpeg;base64,QQ==' },
    [{ type: 'audio', data: 'QQ==', format: 'mpeg' }],
    { mediaType: 'audio/mpeg', filename: 'a.mp3' }
  ],
  [
    'a tool whose input was read in another way',
    call('output-error', { rawInput: '{a:1', errorText: 'e' }),
    [ASKED],
    { state: 'output-error', rawInput: '{a:1' },
    ['e']
  ],
  [
    'a file of reasoning',
    { type: 'reasoning-file', mediaType: 'image/png', url: 'https://x/y' },
    [{ type: 'image', image_url: 'https://x/y' }],
    { mediaType: 'image/png', type: 'reasoning-file' }
  ],
  [
    'a tool whose input streams',
    call('input-streaming', { input: { a: 1 }, rawInput: '{"a":1,' }),
    [{ type: 'data', data: { call_id: 'c1', name: 'add', arguments: '{"a":1,' } }],
    { state: 'input-streaming' }
  ],
  ['a tool that runs', call('input-available'), [ASKED], { state: 'input-available' }],
  [
    'a tool that asks',
    call('approval-requested', { approval: { id: 'p' } }),
    [ASKED],
    { state: 'approval-requested', approval: { id: 'p' } }
  ],
  [
    'a tool that may',
    call('approval-responded', { approval: { id: 'p', approved: true } }),
    [ASKED],
    { state: 'approval-responded', approval: { id: 'p', approved: true } }
  ],
  [
    'a tool that may not',
    call('output-denied', { approval: { id: 'p', approved: false, reason: 'too dear' } }),
    [ASKED],
    { state: 'output-denied', approval: { id: 'p', approved: false, reason: 'too dear' } },
    ['too dear']
  ],
  ['a tool that may not, for no reason', call('output-denied'), [ASKED], { state: 'output-denied' }, ['denied']],
  [
    'a tool with a first output',
    call('output-available', { output: '', preliminary: true }),
    [ASKED],
    { preliminary: true },
    ['']
  ],
  ['a tool without an output', call('output-available'), [ASKED], undefined, [null]],
  [
    'a tool without a valid input',
    call('output-error', { input: undefined, rawInput: 'x', errorText: 'e' }),
    [{ type: 'data', data: { call_id: 'c1', name: 'add', arguments: '"x"' } }],
    { state: 'output-error' },
    ['e']
  ],
  [
    'a dynamic tool',
    { ...call('output-available', { output: 1 }), type: 'dynamic-tool', toolName: 'add' },
    [ASKED],
    { type: 'dynamic-tool' },
    [1]
  ]
])('%s', (_, part, content, kept, outputs = []) => {
  const [message, ...rest] = toMessages([answerOf(part)])
  expect(message!.content).toEqual(content)
  expect(keptOf(message!)).toEqual(kept && { parts: [{ part: 0, ...kept }] })
  expect(rest.map((each) => (each.content![0] as { data?: { output?: unknown } }).data?.output)).toEqual(outputs)
})

it.each([
  { type: 'source-url', sourceId: 's', url: 'https://x/y', title: 'Y' },
  { type: 'source-document', sourceId: 's', mediaType: 'text/plain', title: 'Y' },
  { type: 'data-weather', id: 'w', data: { town: 'Oslo' } },
  { type: 'custom', kind: 'x.y', providerMetadata: { x: { y: 1 } } }
])('a part of type $type is a data part', (part) => {
  const [message] = toMessages([answerOf({ type: 'text', text: 'a' }, part)])
  expect(message!.content).toEqual([
    { type: 'text', text: 'a' },
    { type: 'data', data: part }
  ])
})

it('what a user says in the midst of an answer is what a user says', () => {
  const steering = { type: 'steering-message', id: 'st', parts: [{ type: 'text', text: 'In euros!' }] }
  const messages = toMessages([
    answerOf({ type: 'text', text: 'a' }, steering, { type: 'text', text: 'b' }),
    answerOf()
  ])
  expect(messages.map(({ id, role }) => `${id} ${role}`)).toEqual([
    'a assistant',
    'st user',
    'a_3 assistant',
    'a assistant'
  ])
})

it('an answer comes back as it was, and what does not is named', async () => {
  const history = await createSessionHistory()
  const chat = uiMessageStore(history).open('c')
  await ask(chat, '1 + 2?', modelOf({ call: 'add', input: { a: 1, b: 2 } }, 'It is 3.'))
  await ask(chat, 'Thanks.', modelOf('Welcome.'))
  const before = await chat.load()
  const messages = toMessages(before)
  const { items, dropped } = fromMessages(messages)
  expect(dropped).toEqual([])
  const model = await convertToModelMessages(await validateUIMessages({ messages: items }))
  expect(model).toEqual(await convertToModelMessages(before, { tools }))
  expect(items.map(({ id, role }) => ({ id, role }))).toEqual(before.map(({ id, role }) => ({ id, role })))
  // And it is something to go on from.
  const other = uiMessageStore(history).open('continued')
  await other.save(items)
  await ask(other, 'And 2 + 2?', modelOf('4.'))
  expect(await other.load()).toHaveLength(6)
  // Asked for as a session, as the command line does.
  const { messages: stored } = (await uiMessageStore(history).history.getSession('default', 'c'))!
  expect((await readingOf('ai-sdk'))!(stored as never)).toEqual(messages)
  expect((await readingOf('ai-sdk-stream'))!([{ text: 'a' }])).toMatchObject([{ content: [{ text: 'a' }] }])
  await history.stop()
})

it('messages of others become UI messages, and what cannot be carried is named', async () => {
  const message = (id: string, role: Message['role'], content: object[], more: object = {}): Message =>
    ({ id, object: 'message', type: 'message', status: 'completed', role, content, ...more }) as Message
  const output = (callId: string, value: Json): object => ({ type: 'data', data: { call_id: callId, output: value } })
  const { items, dropped } = fromMessages([
    message('1', 'system', [{ type: 'text', text: 'Be brief.' }]),
    message('2', 'user', [
      { type: 'image', image_url: 'data:image/png;base64,QQ==' },
      { type: 'image', image_url: 'https://x/y.jpg' },
      { type: 'audio', data: 'QQ==', format: 'mp3' },
      { type: 'file', file_data: 'QQ==', filename: 'a.bin' },
      { type: 'file', file_url: 'https://x/a.pdf' },
      { type: 'file', file_id: 'f' }
    ]),
    message('3', 'assistant', [{ type: 'text', text: 'Hm.' }], { type: 'reasoning' }),
    message('4', 'assistant', [ASKED, { type: 'data', data: { call_id: 'c2', name: 'add', arguments: 'no JSON' } }], {
      metadata: { other: { x: 1 } }
    }),
    message('5', 'tool', [output('c1', 3), output('c9', 1)]),
    message('6', 'assistant', [{ type: 'refusal', refusal: 'No.' }]),
    message('7', 'tool', []),
    message('8', 'user', [{ type: 'text', text: 'Why?' }, ASKED, output('c2', 0)]),
    message('9', 'tool', [output('c2', 4), output('c2', 5)])
  ])
  expect(items).toEqual([
    { id: '1', role: 'system', parts: [{ type: 'text', text: 'Be brief.' }] },
    {
      id: '2',
      role: 'user',
      parts: [
        { type: 'file', mediaType: 'image/png', url: 'data:image/png;base64,QQ==' },
        { type: 'file', mediaType: 'image', url: 'https://x/y.jpg' },
        { type: 'file', mediaType: 'audio/mp3', url: 'data:audio/mp3;base64,QQ==' },
        {
          type: 'file',
          mediaType: 'application/octet-stream',
          url: 'data:application/octet-stream;base64,QQ==',
          filename: 'a.bin'
        },
        { type: 'file', mediaType: 'application/octet-stream', url: 'https://x/a.pdf' }
      ]
    },
    {
      id: '3',
      role: 'assistant',
      parts: [
        { type: 'step-start' },
        { type: 'reasoning', text: 'Hm.' },
        {
          type: 'dynamic-tool',
          toolName: 'add',
          toolCallId: 'c1',
          state: 'output-available',
          input: { a: 1 },
          output: 3
        },
        {
          type: 'dynamic-tool',
          toolName: 'add',
          toolCallId: 'c2',
          state: 'output-available',
          input: 'no JSON',
          output: 4
        },
        { type: 'step-start' },
        { type: 'text', text: 'No.' }
      ]
    },
    { id: '8', role: 'user', parts: [{ type: 'text', text: 'Why?' }] }
  ])
  expect(dropped.map(({ path }) => path.join('.'))).toEqual([
    '3.metadata.other',
    '6',
    '1.content.5',
    '4.content.1',
    '7.content.1',
    '7.content.2',
    '8.content.1'
  ])
  await convertToModelMessages(await validateUIMessages({ messages: items }))
})

it('ids are given once, and outputs go to their calls', async () => {
  const message = (id: string, role: Message['role'], content: object[]): Message =>
    ({ id, object: 'message', type: 'message', status: 'completed', role, content }) as Message
  const text = (said: string): object => ({ type: 'text', text: said })
  const asked = (n: number): object => ({ type: 'data', data: { call_id: 'c', name: 'f', arguments: `{"n":${n}}` } })
  const output = (value: string): object => ({ type: 'data', data: { call_id: 'c', output: value } })
  const { items, dropped } = fromMessages([
    message('x', 'user', [text('one')]),
    message('x', 'user', [text('two')]),
    message('x_2', 'user', [text('three')]),
    message('', 'user', [text('four')]),
    message('f', 'user', [{ type: 'file', file_id: 'f1' }]),
    message('', 'assistant', [asked(1), asked(2)]),
    message('t', 'tool', [output('first')]),
    message('t', 'tool', [output('second')])
  ])
  expect(items.map(({ id }) => id)).toEqual(['x', 'x_3', 'x_2', 'message', 'message_2'])
  expect(dropped).toEqual([{ path: [4, 'content', 0], what: 'a file that is named by an id alone' }])
  expect(items.at(-1)!.parts.slice(1)).toMatchObject([
    { input: { n: 1 }, output: 'first' },
    { input: { n: 2 }, output: 'second' }
  ])
  await validateUIMessages({ messages: items })
  const history = await createSessionHistory()
  const chat = uiMessageStore(history).open('c')
  await chat.save(items)
  expect(await chat.load()).toEqual(items)
  await history.stop()
})
