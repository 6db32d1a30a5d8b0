import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { fromOpenAIMessage, openToolCalls, type Message, type OpenAIMessage } from '../src/index.ts'
import { ADA, openAda, text } from './service/kit.ts'

const FILE = fileURLToPath(new URL('../../shared/data/tau-airline.jsonl', import.meta.url))

function call(callId: string, name = 'search'): Message {
  const data = { call_id: callId, name, arguments: `{"of":"${callId}"}` }
  return message('function_call', { type: 'data', data })
}

function output(callId: string): Message {
  return message('function_call_output', { type: 'data', data: { call_id: callId, output: '' } })
}

function message(type: string, ...content: object[]): Message {
  return { id: 'm', object: 'message', status: 'created', type, content } as Message
}

/** The ids of the open calls. */
function open(...messages: Message[]): unknown[] {
  return openToolCalls({ messages }).map(({ callId }) => callId)
}

describe('openToolCalls', () => {
  it('are the calls without an output, in order, with their names, their data and where they are', () => {
    const messages = [call('a'), call('b', 'book'), call('c'), output('a')]
    expect(openToolCalls({ messages })).toEqual([
      { callId: 'b', name: 'book', data: { call_id: 'b', name: 'book', arguments: '{"of":"b"}' }, message: 1, part: 0 },
      {
        callId: 'c',
        name: 'search',
        data: { call_id: 'c', name: 'search', arguments: '{"of":"c"}' },
        message: 2,
        part: 0
      }
    ])
  })

  it('are none of no messages, of messages without content and of those that are no calls', () => {
    expect(open()).toEqual([])
    expect(open({ id: 'm', object: 'message', type: 'message', status: 'created' })).toEqual([])
    expect(open(message('message', { type: 'data', data: { call_id: 'a' } }))).toEqual([])
    expect(open(message('function_call', { type: 'text', text: 'a' }))).toEqual([])
  })

  it('pair each output with the oldest open call of its id, as ids are used again', () => {
    expect(open(call('a'), output('a'), call('a'))).toEqual(['a'])
    expect(open(call('a'), output('a'), call('a'), output('a'))).toEqual([])
    const twice = openToolCalls({ messages: [call('a', 'first'), call('a', 'second'), output('a')] })
    expect(twice).toMatchObject([{ name: 'second', message: 1 }])
  })

  it('do not pair an output with a call after it', () => {
    expect(open(output('a'), call('a'))).toEqual(['a'])
    expect(open(call('a'), output('a'), output('a'), call('a'))).toEqual(['a'])
  })

  it('are several of one message, in the order of its parts', () => {
    const { content } = call('b')
    const both = message(
      'plugin_call',
      ...call('a').content!,
      { type: 'text', text: 'and' },
      ...content!,
      ...call('a').content!
    )
    expect(openToolCalls({ messages: [both, output('a')] })).toMatchObject([
      { callId: 'b', message: 0, part: 2 },
      { callId: 'a', message: 0, part: 3 }
    ])
  })

  it('may have no id or no name, and ids such as __proto__', () => {
    const bare = message('mcp_call', { type: 'data', data: { arguments: '{}' } })
    expect(openToolCalls({ messages: [bare] })).toEqual([
      { callId: undefined, name: undefined, data: { arguments: '{}' }, message: 0, part: 0 }
    ])
    expect(open(call('__proto__'), call('toString'), output('toString'))).toEqual(['__proto__'])
  })

  it('are of a session as it was at any version, through rewinds and turns', async () => {
    const history = await openAda()
    const turn = await history.beginTurn(ADA)
    await turn.append([text('go'), call('a'), call('b')])
    const session = await turn.append(output('a'))
    expect(openToolCalls(session).map(({ callId }) => callId)).toEqual(['b'])
    expect(openToolCalls((await history.getSession('ada', 's1', { at: 5 }))!)).toHaveLength(2)
    expect(openToolCalls(await turn.abort())).toEqual([])
  })
})

const title = 'of the real runs are those that a naive loop finds, at each of their messages'
if (!existsSync(FILE) && !process.env['CI']) it.skip(`${title} (skipped: there is no ${FILE})`)
else {
  it(title, () => {
    let [most, reused] = [0, 0]
    for (const line of readFileSync(FILE, 'utf8').trim().split('\n')) {
      const run = JSON.parse(line) as { readonly messages: readonly OpenAIMessage[] }
      const messages = run.messages.map((each) => fromOpenAIMessage(each)) as Message[]
      const waiting: string[] = []
      const seen = new Set<string>()
      for (const [i, each] of run.messages.entries()) {
        for (const { id } of each.tool_calls ?? []) {
          waiting.push(id)
          if (seen.has(id)) reused++
          seen.add(id)
        }
        const answered = each.role === 'tool' ? waiting.indexOf(each.tool_call_id!) : -1
        if (answered >= 0) waiting.splice(answered, 1)
        const found = openToolCalls({ messages: messages.slice(0, i + 1) }).map(({ callId }) => callId)
        expect(found).toEqual(waiting)
        most = Math.max(most, found.length)
      }
    }
    expect(most).toBeGreaterThan(0)
    expect(reused).toBeGreaterThan(0)
  })
}

it.each<[unknown, string]>([
  [undefined, 'session must be a session, with messages; it is undefined'],
  [{}, 'session must be a session, with messages; it is {}'],
  [{ messages: [null] }, 'messages[0] must be a message, with a type; it is null'],
  [{ messages: [call('a'), 'text'] }, "messages[1] must be a message, with a type; it is 'text'"],
  [{ messages: [{ role: 'user' }] }, "messages[0] must be a message, with a type; it is { role: 'user' }"]
])('of %j are misuse', (session, shown) => {
  expect(() => openToolCalls(session as { messages: Message[] })).toThrow(new TypeError(shown))
})

it('passes over content that is none', () => {
  expect(
    open({ ...message('function_call'), content: [null] as never }, { ...message('x'), content: 'text' as never })
  ).toEqual([])
})
