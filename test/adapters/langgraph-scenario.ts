import { BaseChatModel } from '@langchain/core/language_models/chat_models'
import { AIMessage, HumanMessage, type BaseMessage } from '@langchain/core/messages'
import type { ChatResult } from '@langchain/core/outputs'
import { tool } from '@langchain/core/tools'
import { Command, INTERRUPT, interrupt, MessagesAnnotation, START, StateGraph } from '@langchain/langgraph'
import { ToolNode, toolsCondition } from '@langchain/langgraph/prebuilt'
import { expect } from 'vitest'
import { z } from 'zod'
import { TurnlogSaver } from '../../src/adapters/langgraph.ts'
import type { SessionHistoryService } from '../../src/index.ts'
import type { Scenario } from './kit.ts'

/** A model that answers from a list: what it says, the tools it calls, or how it fails. */
export class Scripted extends BaseChatModel {
  readonly #answers: (string | Error | Calls)[]

  constructor(answers: readonly (string | Error | Calls)[]) {
    super({})
    this.#answers = [...answers]
  }

  override _llmType(): string {
    return 'scripted'
  }

  override bindTools(): this {
    return this
  }

  override async _generate(): Promise<ChatResult> {
    const answer = this.#answers.shift() ?? 'nothing more'
    if (answer instanceof Error) throw answer
    const message =
      typeof answer === 'string' ? new AIMessage(answer) : new AIMessage({ content: '', tool_calls: answer })
    return { generations: [{ text: message.text, message }] }
  }
}

export type Calls = { type: 'tool_call'; id: string; name: string; args: Record<string, unknown> }[]

export const sum = (a: number, b: number): Calls => [{ type: 'tool_call', id: `c${a}`, name: 'add', args: { a, b } }]

/** What messages say, each as a line. */
export const textsOf = (messages: readonly BaseMessage[]): string[] =>
  messages.map((message) => {
    const { tool_calls: calls = [] } = message as AIMessage
    if (calls.length > 0) return calls.map(({ name, args }) => `${name}(${JSON.stringify(args)})`).join(' ')
    return message.type === 'tool' ? `= ${message.text}` : message.text
  })

const schema = z.object({ a: z.number(), b: z.number() })

export const scenario: Scenario = async (open) => {
  const config = { configurable: { thread_id: 'sums' } }
  let added = 0
  const add = tool(({ a, b }) => `${++added && a + b}`, { name: 'add', description: '', schema })
  const pay = tool(({ a }) => (interrupt(`pay ${a}?`) === 'yes' ? `paid ${a}` : 'not paid'), {
    name: 'pay',
    description: '',
    schema
  })
  const saverOf = (history: SessionHistoryService) => new TurnlogSaver({ history, userId: 'ada' })
  const agent = (checkpointer: TurnlogSaver, ...answers: (string | Error | Calls)[]) => {
    const model = new Scripted(answers)
    return new StateGraph(MessagesAnnotation)
      .addNode('model', async ({ messages }) => ({ messages: [await model.invoke(messages)] }))
      .addNode('tools', new ToolNode([add, pay]))
      .addEdge(START, 'model')
      .addConditionalEdges('model', toolsCondition)
      .addEdge('tools', 'model')
      .compile({ checkpointer })
  }
  const ask = (text: string) => ({ messages: [new HumanMessage(text)] })
  const messagesOf = async (saver: TurnlogSaver, place: object = config) =>
    ((await agent(saver).getState(place)).values as { messages: BaseMessage[] }).messages

  const history = await open()
  const saver = saverOf(history)
  await agent(saver, sum(1, 2), '3').invoke(ask('What is 1 + 2?'), config)
  await expect(agent(saver, sum(3, 4), new Error('overloaded')).invoke(ask('And 3 + 4?'), config)).rejects.toThrow(
    'overloaded'
  )
  const before = await messagesOf(saver)
  await history.stop()

  // What was done before the failure is not done again.
  const later = await open()
  const resumed = saverOf(later)
  expect(await messagesOf(resumed)).toEqual(before)
  await agent(resumed, '7').invoke(null, config)
  const lines = ['What is 1 + 2?', 'add({"a":1,"b":2})', '= 3', '3', 'And 3 + 4?', 'add({"a":3,"b":4})', '= 7', '7']
  expect(textsOf(await messagesOf(resumed))).toEqual(lines)
  expect(added).toBe(2)

  // Asked for in one process, approved in another.
  const calls: Calls = [{ type: 'tool_call', id: 'p', name: 'pay', args: { a: 7, b: 0 } }]
  const asked = await agent(resumed, calls).invoke(ask('Pay it.'), config)
  expect((asked as { [INTERRUPT]?: { value: unknown }[] })[INTERRUPT]?.[0]?.value).toBe('pay 7?')
  await later.stop()
  const last = await open()
  const approving = saverOf(last)
  await agent(approving, 'Done.').invoke(new Command({ resume: 'yes' }), config)
  expect(textsOf(await messagesOf(approving)).slice(-3)).toEqual(['pay({"a":7,"b":0})', '= paid 7', 'Done.'])

  // Each run is a branch, from where it began; none has what another says.
  const running = [0, 1, 2].map((i) => agent(approving, `answer ${i}`).invoke(ask(`question ${i}`), config))
  const results = (await Promise.all(running)) as { messages: BaseMessage[] }[]
  for (const [i, { messages }] of results.entries()) {
    const texts = textsOf(messages)
    expect(texts.slice(-2)).toEqual([`question ${i}`, `answer ${i}`])
    expect(texts.filter((text) => text.startsWith('answer'))).toHaveLength(1)
  }
  const stored: string[][] = []
  for await (const { checkpoint } of approving.list(config)) {
    const texts = textsOf((checkpoint.channel_values['messages'] ?? []) as BaseMessage[])
    if (texts.at(-1)?.startsWith('answer')) stored.push(texts)
  }
  for (let i = 0; i < 3; i++)
    expect(stored).toContainEqual([...lines, ...textsOf(results[i]!.messages).slice(lines.length)])

  // The thread as it was after its first turn: in a fork, and set back to it.
  const session = { userId: 'ada', id: 'sums' }
  const states = []
  for await (const state of agent(approving).getStateHistory(config)) states.push(state)
  const first = states.find(
    ({ values }) => textsOf((values as { messages?: BaseMessage[] }).messages ?? []).length === 4
  )!
  const at = (await approving.versionOf(first.config))!
  await approving.history.fork(session, { at, sessionId: 'other sums' })
  await approving.history.rewind(session, at)
  for (const thread_id of ['sums', 'other sums']) {
    const place = { configurable: { thread_id } }
    expect(await messagesOf(approving, place)).toEqual(before.slice(0, 4))
    await agent(approving, `in ${thread_id}`).invoke(ask('What was it?'), place)
    expect(textsOf(await messagesOf(approving, place)).slice(3)).toEqual(['3', 'What was it?', `in ${thread_id}`])
  }
  await last.stop()
}
