import { expect, it } from 'vitest'
import { createSessionHistory, type StandardSchema } from '../../src/index.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { output, turnlog } from './kit.ts'

const anything: StandardSchema = {
  '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) }
}

// As their adapters store them.
const ITEMS: Readonly<Record<string, readonly unknown[]>> = {
  'ai-sdk': [
    { id: 'm1', role: 'user', parts: [{ type: 'text', text: 'A train to Oslo?' }] },
    {
      id: 'm2',
      role: 'assistant',
      parts: [
        {
          type: 'tool-find_trains',
          toolCallId: 'c1',
          state: 'output-available',
          input: { to: 'Oslo' },
          output: '["22:47"]'
        }
      ]
    },
    { id: 'm3', role: 'assistant', parts: [{ type: 'text', text: 'At 22:47.' }] }
  ],
  'openai-agents': [
    { role: 'user', content: 'A train to Oslo?' },
    { type: 'function_call', callId: 'c1', name: 'find_trains', arguments: '{"to":"Oslo"}', status: 'completed' },
    { type: 'function_call_result', callId: 'c1', name: 'find_trains', status: 'completed', output: '["22:47"]' },
    { role: 'assistant', status: 'completed', content: [{ type: 'output_text', text: 'At 22:47.' }] }
  ]
}

it.each(Object.entries(ITEMS))('what %s has stored is shown as a conversation', async (format, items) => {
  const store = `sqlite:${format}.db`
  const history = await createSessionHistory({ store: sqliteStore({ path: `${format}.db` }) })
  const stored = history.withMessage(anything, { format })
  await stored.appendMessage(await stored.createSession('ada', 'trip'), items)
  await history.stop()

  expect(await output(store, 'show', 'ada', 'trip')).toBe(`trip at version ${items.length + 1}, 4 messages

user
  A train to Oslo?

assistant
  → find_trains({"to":"Oslo"})

tool
  ← find_trains ["22:47"]

assistant
  At 22:47.
`)
  expect(await output(store, 'show', 'ada', 'trip', '--last', '1')).toMatch(/the newest 1 message\n\nassistant\n {2}At/)
  expect(await output(store, 'show', 'ada', 'trip', '--last', '0')).toMatch(/the newest 0 messages\n$/)
  const log = await output(store, 'log', 'ada', 'trip')
  for (const line of ['user: A train to Oslo?', 'assistant: → find_trains({"to":"Oslo"})', 'assistant: At 22:47.'])
    expect(log).toContain(line)
  expect(await output(store, 'diff', 'ada', 'trip@2', 'trip')).toMatch(
    /^ {2}1 message in common\n\+ assistant: \{"call_id"/
  )
  expect(JSON.parse(await output(store, 'export', 'ada', 'trip', '--format', 'openai'))).toMatchObject({
    messages: [
      { role: 'user', content: 'A train to Oslo?' },
      { role: 'assistant', tool_calls: [{ id: 'c1', function: { name: 'find_trains', arguments: '{"to":"Oslo"}' } }] },
      { role: 'tool', tool_call_id: 'c1', content: '["22:47"]' },
      { role: 'assistant', content: 'At 22:47.' }
    ]
  })
})

it.each(['ai-sdk', 'openai-agents', 'constructor', 'of-our-own'])(
  'items of %s that nobody knows are shown as they are',
  async (format) => {
    const store = `sqlite:strange-${format}.db`
    const history = await createSessionHistory({ store: sqliteStore({ path: `strange-${format}.db` }) })
    const stored = history.withMessage(anything, { format })
    await stored.appendMessage(await stored.createSession('ada', 'trip'), [null, ['x']])
    await history.stop()
    expect(await output(store, 'show', 'ada', 'trip')).toBe('trip at version 3, 2 messages\n\nnull\n\n[\n  "x"\n]\n')
    expect(await output(store, 'log', 'ada', 'trip')).toContain('["x"]')
    const { code, err } = await turnlog(store, ['export', 'ada', 'trip', '--format', 'openai'])
    expect(code).toBe(1)
    expect(err).toContain(`FORMAT_MISMATCH: The session holds messages of the format "${format}"`)
  }
)
