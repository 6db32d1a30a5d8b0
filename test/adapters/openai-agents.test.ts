import {
  Agent,
  MemorySession,
  OutputGuardrailTripwireTriggered,
  RunState,
  run,
  tool,
  user,
  type AgentInputItem,
  type FunctionCallItem,
  type SessionHistoryTransaction
} from '@openai/agents-core'
import { assistantMessage, functionCall, modelError, modelResponder, ScriptedModel } from '@openai/agents-core/testing'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { fromMessages, toMessages, TurnlogSession } from '../../src/adapters/openai-agents.ts'
import {
  createSessionHistory,
  messageSchema,
  openToolCalls,
  type SessionHistoryService,
  type TurnlogErrorCode
} from '../../src/index.ts'
import { fails, misuses } from '../service/kit.ts'
import { freshStore, STORES } from './kit.ts'
import { add, scenario, textsOf } from './openai-agents-scenario.ts'

const said = (text: string) => assistantMessage(text)

describe.each(STORES)('a session of the Agents SDK over %s', (kind) => {
  async function begin(): Promise<{ history: SessionHistoryService; again: () => Promise<SessionHistoryService> }> {
    const again = freshStore(kind)
    return { history: await again(), again }
  }

  it('goes through what it does in every store', () => scenario(freshStore(kind)))

  it('is made by what is first written, and goes on after a restart', async () => {
    const { history, again } = await begin()
    const model = new ScriptedModel([[said('At 22:47.')], [said('On track 4.')]])
    const agent = new Agent({ name: 'clerk', model })
    const session = new TurnlogSession({ history, userId: 'ada', sessionId: 'trip' })
    expect(await history.listSessions('ada')).toEqual([])
    await run(agent, 'When?', { session })
    const items = await session.getItems()
    await history.stop()

    const later = await again()
    const resumed = new TurnlogSession({ history: later, userId: 'ada', sessionId: 'trip' })
    expect(await resumed.getItems()).toEqual(items)
    await run(agent, 'Where?', { session: resumed })
    expect(textsOf(await resumed.getItems())).toEqual(['When?', 'At 22:47.', 'Where?', 'On track 4.'])
    expect(textsOf(model.lastCall!.request.input as AgentInputItem[])).toEqual(['When?', 'At 22:47.', 'Where?'])
    expect(textsOf(await resumed.getItems(2))).toEqual(['Where?', 'On track 4.'])
    for (const limit of [0, -1, 0.5]) expect(await resumed.getItems(limit)).toEqual([])
    await later.stop()
  })

  it('has what tools were asked and have answered, as it comes in a stream', async () => {
    const { history } = await begin()
    const session = new TurnlogSession({ history, userId: 'ada' })
    const model = new ScriptedModel([[functionCall('add', { a: 1, b: 2 }, { callId: 'c1' })], [said('3')]])
    const agent = new Agent({ name: 'clerk', model, tools: [add] })
    const result = await run(agent, 'What is 1 + 2?', { session, stream: true })
    for await (const _ of result) continue
    await result.completed
    expect(textsOf(await session.getItems())).toEqual(['What is 1 + 2?', 'add({"a":1,"b":2})', '= 3', '3'])
    await history.stop()
  })

  it('has what the SDK keeps of a run whose model fails in the midst, and goes on', async () => {
    const { history } = await begin()
    const session = new TurnlogSession({ history, userId: 'ada' })
    const reference = new MemorySession()
    for (const one of [session, reference]) {
      const model = new ScriptedModel([
        [functionCall('add', { a: 1, b: 2 }, { callId: 'c1' })],
        modelError(new Error('overloaded')),
        [said('3')]
      ])
      const agent = new Agent({ name: 'clerk', model, tools: [add] })
      await expect(run(agent, 'What is 1 + 2?', { session: one })).rejects.toThrow('overloaded')
      await run(agent, 'Well?', { session: one })
    }
    const texts = textsOf(await session.getItems())
    expect(texts).toEqual(textsOf(await reference.getItems()))
    expect(texts.slice(-2)).toEqual(['Well?', '3'])
    await history.stop()
  })

  it('waits for an approval, also over a restart', async () => {
    const { history, again } = await begin()
    const model = new ScriptedModel([[functionCall('pay', { sum: 5 }, { callId: 'c1' })], [said('Paid.')]])
    const pay = tool({
      name: 'pay',
      description: '',
      parameters: z.object({ sum: z.number() }),
      needsApproval: true,
      execute: ({ sum }) => `${sum} paid`
    })
    const agent = new Agent({ name: 'clerk', model, tools: [pay] })
    const first = await run(agent, 'Pay 5.', {
      session: new TurnlogSession({ history, userId: 'ada', sessionId: 's' })
    })
    expect(first.interruptions).toHaveLength(1)
    const text = first.state.toString()
    await history.stop()

    const later = await again()
    const session = new TurnlogSession({ history: later, userId: 'ada', sessionId: 's' })
    const state = await RunState.fromString(agent, text)
    for (const interruption of state.getInterruptions()) state.approve(interruption)
    await run(agent, state, { session })
    expect(textsOf(await session.getItems())).toEqual(['Pay 5.', 'pay({"sum":5})', '= 5 paid', 'Paid.'])
    await later.stop()
  })

  it('has the beginning of a run that was aborted', async () => {
    const { history } = await begin()
    const session = new TurnlogSession({ history, userId: 'ada' })
    const controller = new AbortController()
    const model = new ScriptedModel([
      modelResponder(() => {
        controller.abort()
        return [said('too late')]
      }),
      [said('Here.')]
    ])
    const agent = new Agent({ name: 'clerk', model })
    await run(agent, 'Are you there?', { session, signal: controller.signal }).catch(() => undefined)
    await run(agent, 'And now?', { session })
    expect(textsOf(await session.getItems()).slice(-2)).toEqual(['And now?', 'Here.'])
    await history.stop()
  })

  it('loses nothing of runs side by side', async () => {
    const { history } = await begin()
    const runs = Array.from({ length: 8 }, (_, i) => {
      const agent = new Agent({ name: 'clerk', model: new ScriptedModel([[said(`answer ${i}`)]]) })
      return run(agent, `question ${i}`, { session: new TurnlogSession({ history, userId: 'ada', sessionId: 'one' }) })
    })
    await Promise.all(runs)
    const texts = textsOf(await new TurnlogSession({ history, userId: 'ada', sessionId: 'one' }).getItems())
    expect(texts).toHaveLength(16)
    for (let i = 0; i < 8; i++) expect(texts.indexOf(`answer ${i}`)).toBeGreaterThan(texts.indexOf(`question ${i}`))
    await history.stop()
  })

  it('keeps a tool call whose answer a guardrail has blocked', async () => {
    const { history } = await begin()
    const session = new TurnlogSession({ history, userId: 'ada' })
    const model = new ScriptedModel([[functionCall('add', { a: 1, b: 2 }, { callId: 'c1' })], [said('a secret')]])
    const agent = new Agent({
      name: 'clerk',
      model,
      tools: [add],
      outputGuardrails: [
        { name: 'no secrets', execute: async () => ({ tripwireTriggered: true, outputInfo: undefined }) }
      ]
    })
    await expect(run(agent, 'What is 1 + 2?', { session })).rejects.toBeInstanceOf(OutputGuardrailTripwireTriggered)
    const texts = textsOf(await session.getItems())
    expect(texts.slice(0, 3)).toEqual(['What is 1 + 2?', 'add({"a":1,"b":2})', '= 3'])
    expect(texts).not.toContain('a secret')
    await history.stop()
  })

  it('takes away what it is told to, and nothing is lost', async () => {
    const { history } = await begin()
    const session = new TurnlogSession({ history, userId: 'ada' })
    expect(await session.popItem()).toBeUndefined()
    await session.addItems([user('one'), user('two'), user('three')])
    expect(textsOf([(await session.popItem())!])).toEqual(['three'])
    await session.replaceHistoryWithCompaction([user('in short'), user('two')])
    expect(textsOf(await session.getItems())).toEqual(['in short', 'two'])
    await session.clearSession()
    expect(await session.getItems()).toEqual([])
    expect(await session.getSessionId()).toBe(session.id)
    const versions = await Promise.all(
      [4, 5, 7].map(async (at) => textsOf((await session.history.getSession('ada', session.id, { at }))!.messages))
    )
    expect(versions).toEqual([['one', 'two', 'three'], ['one', 'two'], ['in short']])
    await session.history.rewind(session, 4)
    expect(textsOf(await session.getItems())).toEqual(['one', 'two', 'three'])
    const fork = await session.history.fork(session, { at: 3 })
    const other = new TurnlogSession({ history, userId: 'ada', sessionId: fork.id })
    expect(textsOf(await other.getItems())).toEqual(['one', 'two'])
    await history.stop()
  })

  it('has all items, however few messages snapshots of the service show', async () => {
    const history = await createSessionHistory({ retention: { maxMessages: 2 } })
    const session = new TurnlogSession({ history, userId: 'ada' })
    await session.addItems(['1', '2', '3', '4', '5'].map((text) => user(text)))
    await session.popItem()
    expect(textsOf(await session.getItems())).toEqual(['1', '2', '3', '4'])
    await history.stop()
  })

  it('pops each item once, however many pop at once', async () => {
    const { history } = await begin()
    const session = new TurnlogSession({ history, userId: 'ada' })
    await session.addItems(Array.from({ length: 6 }, (_, i) => user(`${i}`)))
    const popped = await Promise.all(Array.from({ length: 8 }, () => session.popItem()))
    expect(textsOf(popped.filter((item) => item !== undefined)).toSorted()).toEqual(['0', '1', '2', '3', '4', '5'])
    await history.stop()
  })

  it('rewrites calls as the SDK does', async () => {
    const { history } = await begin()
    const session = new TurnlogSession({ history, userId: 'ada' })
    const reference = new MemorySession()
    const call = (name: string): FunctionCallItem => functionCall(name, {}, { callId: 'c1' })
    for (const one of [session, reference]) {
      await one.addItems([user('go'), call('a'), user('and'), call('b')])
      await one.applyHistoryMutations({
        mutations: [{ type: 'replace_function_call', callId: 'c1', replacement: call('c') }]
      })
      await one.applyHistoryMutations({ mutations: [] })
    }
    expect(await session.getItems()).toEqual(await reference.getItems())
    await history.stop()
  })

  describe('a transaction', () => {
    const append = { type: 'append_items' as const, items: [user('x')] }

    it('is applied once', async () => {
      const { history, again } = await begin()
      const session = new TurnlogSession({ history, userId: 'ada', sessionId: 's' })
      for (let i = 0; i < 2; i++) await session.applyHistoryTransaction({ operationId: 'a', transaction: append })
      const replace = {
        type: 'replace_suffix' as const,
        expectedSuffix: [user('x')],
        replacement: [user('y'), user('z')]
      }
      for (let i = 0; i < 2; i++) await session.applyHistoryTransaction({ operationId: 'b', transaction: replace })
      await session.addItems([user('more')])
      await history.stop()
      // A retry may come much later, in another process.
      const later = await again()
      const resumed = new TurnlogSession({ history: later, userId: 'ada', sessionId: 's' })
      await resumed.applyHistoryTransaction({ operationId: 'a', transaction: append })
      await resumed.applyHistoryTransaction({ operationId: 'b', transaction: replace })
      await resumed.addItems([user('x')])
      await resumed.applyHistoryTransaction({ operationId: 'b', transaction: replace })
      expect(textsOf(await resumed.getItems())).toEqual(['y', 'z', 'more', 'x'])
      await later.stop()
    })

    it('changes nothing where the id was used for another, or the end is not what it expects', async () => {
      const { history } = await begin()
      const session = new TurnlogSession({ history, userId: 'ada' })
      await session.addItems([user('one'), user('two')])
      const replace = (expected: string, by: string) => ({
        type: 'replace_suffix' as const,
        expectedSuffix: [user(expected)],
        replacement: [user(by)]
      })
      await session.applyHistoryTransaction({ operationId: 'a', transaction: append })
      await session.applyHistoryTransaction({ operationId: 'b', transaction: replace('x', 'y') })
      const before = await session.getItems()
      for (const [operationId, transaction, code] of [
        ['a', { ...append, items: [user('other')] }, 'IDEMPOTENCY_CONFLICT'],
        ['b', replace('x', 'other'), 'IDEMPOTENCY_CONFLICT'],
        ['b', replace('y', 'other'), 'IDEMPOTENCY_CONFLICT'],
        ['a', replace('two', 'z'), 'IDEMPOTENCY_CONFLICT'],
        ['c', replace('two', 'z'), 'VERSION_CONFLICT']
      ] satisfies [string, SessionHistoryTransaction, TurnlogErrorCode][])
        await fails(() => session.applyHistoryTransaction({ operationId, transaction }), code)
      expect(await session.getItems()).toEqual(before)
      await history.stop()
    })

    it('makes the session, also one that was deleted, and is known again if it changed nothing', async () => {
      const { history } = await begin()
      const session = new TurnlogSession({ history, userId: 'ada' })
      const replace = (replacement: AgentInputItem[]): SessionHistoryTransaction => ({
        type: 'replace_suffix',
        expectedSuffix: [],
        replacement
      })
      for (const operationId of ['a', 'b']) {
        await session.applyHistoryTransaction({ operationId, transaction: replace([user(operationId)]) })
        expect(textsOf(await session.getItems())).toEqual([operationId])
        await history.deleteSession('ada', session.id)
      }
      const nothing: SessionHistoryTransaction = { type: 'append_items', items: [] }
      for (const [operationId, transaction] of [
        ['c', nothing],
        ['d', replace([])]
      ] as const) {
        for (let i = 0; i < 2; i++) await session.applyHistoryTransaction({ operationId, transaction })
        const other = { operationId, transaction: append }
        await fails(() => session.applyHistoryTransaction(other), 'IDEMPOTENCY_CONFLICT')
      }
      expect(await session.getItems()).toEqual([])
      await history.stop()
    })

    it('is held against what the SDK has for items', async () => {
      const { history } = await begin()
      const session = new TurnlogSession({ history, userId: 'ada' })
      for (const item of [
        { type: 'banana' },
        { role: 'wizard', content: 'x' },
        { type: 'function_call' },
        { role: 'user' }
      ]) {
        const transaction: SessionHistoryTransaction = { type: 'append_items', items: [user('a'), item as never] }
        const path = ['transaction', 'items', 1]
        await fails(() => session.applyHistoryTransaction({ operationId: 'a', transaction }), 'INVALID_MESSAGE', {
          path
        })
      }
      for (const args of [null, undefined, { operationId: 'a', transaction: { type: 'constructor', items: [] } }])
        await expect(session.applyHistoryTransaction(args as never)).rejects.toBeInstanceOf(TypeError)
      expect(await history.listSessions('ada')).toEqual([])
      await history.stop()
    })

    it('of several at once, one replaces the same end', async () => {
      const { history } = await begin()
      const session = new TurnlogSession({ history, userId: 'ada' })
      await session.addItems([user('end')])
      const ends = await Promise.allSettled(
        Array.from({ length: 6 }, (_, i) =>
          session.applyHistoryTransaction({
            operationId: `op ${i}`,
            transaction: { type: 'replace_suffix', expectedSuffix: [user('end')], replacement: [user(`${i}`)] }
          })
        )
      )
      expect(ends.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
      expect(await session.getItems()).toHaveLength(1)
      await history.stop()
    })
  })

  it('refuses what it cannot keep, before anything is stored', async () => {
    const { history } = await begin()
    const session = new TurnlogSession({ history, userId: 'ada' })
    const image = { type: 'message', role: 'user', content: [{ type: 'input_image', image: new Uint8Array(3) }] }
    await fails(() => session.addItems([user('a'), image as never]), 'INVALID_MESSAGE', {
      path: [1, 'content', 0, 'image']
    })
    await fails(() => session.addItems([{ content: 'no role' } as never]), 'INVALID_MESSAGE')
    for (const none of [undefined, 'x', {}]) {
      await misuses(() => session.addItems(none as never), 'items')
      await misuses(() => session.replaceHistoryWithCompaction(none as never), 'replacement')
    }
    for (const transaction of [
      undefined,
      { type: 'append_items' },
      { type: 'append_items', items: [], more: 1 },
      { type: 'other', items: [] },
      { type: 'replace_suffix', expectedSuffix: [], replacement: 'x' }
    ])
      await expect(session.applyHistoryTransaction({ operationId: 'a', transaction } as never)).rejects.toThrow()
    await misuses(
      () =>
        session.applyHistoryTransaction({
          operationId: ' ',
          transaction: { type: 'append_items', items: [user('a')] }
        }),
      'operationId'
    )
    expect(await history.listSessions('ada')).toEqual([])
    // What another has written is another's.
    await history.createSession('ada', 'chat')
    const chat = new TurnlogSession({ history, userId: 'ada', sessionId: 'chat' })
    await fails(() => chat.getItems(), 'FORMAT_MISMATCH', { expected: 'openai-agents', actual: 'message' })
    await fails(() => chat.addItems([user('a')]), 'FORMAT_MISMATCH')
    await history.stop()
  })
})

const empty = { id: 'm', object: 'message', type: 'message', status: 'completed', role: 'user' } as const

describe('items as messages', () => {
  const items: AgentInputItem[] = [
    { role: 'system', content: 'Be brief.' },
    {
      role: 'user',
      content: [
        { type: 'input_text', text: 'What is it?' },
        { type: 'input_image', image: 'https://a.b/c.png' }
      ]
    },
    {
      type: 'reasoning',
      id: 'rs_1',
      content: [{ type: 'input_text', text: 'A cat.' }],
      providerData: { encrypted: 'x' }
    },
    { type: 'function_call', name: 'look', arguments: '{"deep":true}', callId: 'c1', status: 'completed' },
    {
      type: 'function_call_result',
      name: 'look',
      callId: 'c1',
      status: 'completed',
      output: { type: 'text', text: 'a cat' }
    },
    { type: 'shell_call', callId: 'c2', action: { commands: ['ls'] } },
    {
      type: 'shell_call_output',
      callId: 'c2',
      output: [{ stdout: 'cat', stderr: '', outcome: { type: 'exit', exitCode: 0 } }]
    },
    { type: 'hosted_tool_call', id: 'h1', name: 'web_search_call', arguments: '{}', output: 'found' },
    { type: 'compaction', encrypted_content: 'zzz' },
    {
      role: 'assistant',
      id: 'm1',
      status: 'completed',
      content: [
        { type: 'output_text', text: 'A cat.' },
        { type: 'refusal', refusal: 'No more.' }
      ]
    }
  ]

  it('have what a person reads, and calls with their outputs', () => {
    const messages = toMessages(items)
    expect(messages.map(({ type, role }) => `${type} ${role}`)).toEqual([
      'message system',
      'message user',
      'reasoning assistant',
      'function_call assistant',
      'function_call_output tool',
      'function_call assistant',
      'function_call_output tool',
      'function_call assistant',
      'function_call_output tool',
      'compaction assistant',
      'message assistant'
    ])
    for (const message of messages) expect(messageSchema.parse(message)).toEqual(message)
    expect(messages[1]!.content).toEqual([
      { type: 'text', text: 'What is it?' },
      { type: 'image', image_url: 'https://a.b/c.png' }
    ])
    expect(messages[2]).toMatchObject({
      id: 'rs_1',
      metadata: { 'openai-agents': { providerData: { encrypted: 'x' } } }
    })
    expect(messages[4]!.content).toEqual([{ type: 'data', data: { call_id: 'c1', name: 'look', output: 'a cat' } }])
    expect(messages[5]!.content).toEqual([
      { type: 'data', data: { call_id: 'c2', name: 'shell', arguments: '{"commands":["ls"]}' } }
    ])
    expect(messages[9]!.content).toEqual([{ type: 'data', data: items[8] }])
    expect(openToolCalls({ messages })).toEqual([])
    expect(toMessages(items)).toEqual(messages)
  })

  it('keep what a message has no place for', () => {
    const [message] = toMessages([
      {
        role: 'assistant',
        status: 'incomplete',
        content: [
          { type: 'output_text', text: 'It is', providerData: { annotations: [1] } },
          { type: 'audio', audio: 'AA==', format: 'mp3', transcript: 'so' }
        ]
      }
    ])
    expect(message).toMatchObject({
      status: 'incomplete',
      content: [{ type: 'text' }, { type: 'audio', data: 'AA==', format: 'mp3' }],
      metadata: { 'openai-agents': { parts: [{ providerData: { annotations: [1] } }, { transcript: 'so' }] } }
    })
    const image = { type: 'input_image', image: { id: 'file_1' }, detail: 'low' } as const
    expect(toMessages([{ role: 'user', content: [image] }])[0]).toMatchObject({
      content: [{ type: 'file', file_id: 'file_1' }],
      metadata: { 'openai-agents': { parts: [{ type: 'input_image', detail: 'low' }] } }
    })
  })

  it('of what is none of them, nothing is left out without being named', () => {
    const call = { call_id: 'c', name: 'look', arguments: '{}', output: 'seen', server: 's' }
    const { items: made, dropped } = fromMessages([
      { ...empty, content: [{ type: 'text', text: 'a', annotations: [1] }], status: 'failed', usage: { tokens: 1 } },
      { ...empty, type: 'mcp_call', role: 'assistant', content: [{ type: 'data', data: call }] },
      { ...empty, content: [] }
    ])
    expect(made.map((item) => item.type ?? 'message')).toEqual(['message', 'function_call', 'function_call_result'])
    expect(dropped.map(({ path }) => path.join('.'))).toEqual([
      '0.content.0.annotations',
      '0.usage',
      '0.status',
      '1.content.0.data.server',
      '2'
    ])
  })

  it('become items again, and what does not is named', () => {
    const { items: again, dropped } = fromMessages(toMessages(items))
    expect(again.map((item) => item.type ?? (item as { role: string }).role)).toEqual([
      'system',
      'user',
      'function_call',
      'function_call_result',
      'function_call',
      'function_call_result',
      'function_call',
      'function_call_result',
      'assistant'
    ])
    expect(again.slice(0, 2)).toEqual(items.slice(0, 2))
    expect(again[3]).toMatchObject({ callId: 'c1', name: 'look', output: 'a cat' })
    expect(dropped).toEqual([
      { path: [2, 'metadata', 'openai-agents'], what: 'what openai-agents alone knows of it' },
      { path: [9, 'content', 0], what: 'a part of type data' },
      { path: [2, 'content', 0], what: 'reasoning of the assistant' }
    ])
  })
})
