import {
  BaseLlm,
  FunctionTool,
  LlmAgent,
  LogLevel,
  Runner,
  setLogLevel,
  type BaseSessionService,
  type BaseLlmConnection,
  type Event,
  type LlmRequest,
  type LlmResponse,
  type ToolUnion
} from '@google/adk'
import { expect } from 'vitest'
import { z } from 'zod'
import { TurnlogSessionService } from '../../src/adapters/adk.ts'
import type { Scenario } from './kit.ts'

setLogLevel(LogLevel.ERROR)

/** What a model answers to one request: in pieces, if there are several; or an error that it throws. */
export type Answer = readonly LlmResponse[] | Error | ((request: LlmRequest) => readonly LlmResponse[])

/** Answers from a list, and keeps what it was asked. */
class ListModel extends BaseLlm {
  readonly asked: string[][] = []
  readonly #answers: Answer[]

  constructor(answers: readonly Answer[]) {
    super({ model: 'list' })
    this.#answers = [...answers]
  }

  override async *generateContentAsync(request: LlmRequest): AsyncGenerator<LlmResponse, void> {
    this.asked.push(request.contents.map((content) => spoken(content)))
    const answer = this.#answers.shift() ?? new Error('nothing more to say')
    if (answer instanceof Error) throw answer
    yield* typeof answer === 'function' ? answer(request) : answer
  }

  override connect(): Promise<BaseLlmConnection> {
    throw new Error('not live')
  }
}

export const said = (text: string): LlmResponse[] => [{ content: { role: 'model', parts: [{ text }] } }]

export const called = (name: string, args: Record<string, unknown>, id?: string): LlmResponse[] => [
  { content: { role: 'model', parts: [{ functionCall: { name, args, ...(id !== undefined && { id }) } }] } }
]

function spoken(content: Event['content']): string {
  const texts = (content?.parts ?? []).map(({ text, functionCall, functionResponse }) => {
    if (functionCall) return `${functionCall.name}(${JSON.stringify(functionCall.args)})`
    if (functionResponse) return `= ${JSON.stringify(functionResponse.response)}`
    return text ?? '?'
  })
  return texts.join(' | ')
}

/** What events say, each as a line. */
export function textsOf(events: readonly Event[]): string[] {
  return events.map(({ content }) => spoken(content))
}

export const add = new FunctionTool({
  name: 'add',
  description: 'Adds two numbers',
  parameters: z.object({ a: z.number(), b: z.number() }),
  execute: ({ a, b }, context) => {
    context!.state.set('sums', (context!.state.get<number>('sums') ?? 0) + 1)
    context!.state.set('user:last', a + b)
    context!.state.set('app:sums', (context!.state.get<number>('app:sums') ?? 0) + 1)
    context!.state.set('temp:sum', a + b)
    return a + b
  }
})

export const KEY = { appName: 'sums', userId: 'ada', sessionId: 's' }

/** A runner whose agent answers from a list. */
export function runnerOf(sessionService: BaseSessionService, answers: readonly Answer[], tools: ToolUnion[] = [add]) {
  const model = new ListModel(answers)
  const agent = new LlmAgent({ name: 'clerk', model, tools })
  return { model, runner: new Runner({ appName: KEY.appName, agent, sessionService }) }
}

type Run = Parameters<Runner['runAsync']>[0]

/** Runs to the end, and gives the events. */
export async function ask(
  runner: Runner,
  question: string | Run['newMessage'],
  { sessionId = KEY.sessionId, ...more }: Partial<Run> = {}
): Promise<Event[]> {
  const newMessage = typeof question === 'string' ? { role: 'user', parts: [{ text: question }] } : question
  const events: Event[] = []
  for await (const event of runner.runAsync({ userId: KEY.userId, sessionId, newMessage, ...more })) events.push(event)
  return events
}

export const scenario: Scenario = async (open) => {
  const history = await open()
  const service = new TurnlogSessionService({ history })
  await service.createSession({ ...KEY, state: { unit: 'km' } })
  const { runner } = runnerOf(service, [called('add', { a: 1, b: 2 }), said('3')])
  const [first] = await ask(runner, 'What is 1 + 2?')
  const failing = runnerOf(service, [called('add', { a: 3, b: 4 }), new Error('overloaded')])
  await ask(failing.runner, 'And 3 + 4?')
  const before = (await service.getSession(KEY))!
  const texts = ['What is 1 + 2?', 'add({"a":1,"b":2})', '= {"result":3}', '3', 'And 3 + 4?', 'add({"a":3,"b":4})']
  expect(textsOf(before.events).slice(0, 6)).toEqual(texts)
  expect(before.state).toEqual({ 'unit': 'km', 'sums': 2, 'app:sums': 2, 'user:last': 7 })
  await history.stop()

  const later = await open()
  const resumed = new TurnlogSessionService({ history: later })
  expect(await resumed.getSession(KEY)).toEqual(before)
  await Promise.all([0, 1, 2].map((i) => ask(runnerOf(resumed, [said(`answer ${i}`)]).runner, `question ${i}`)))
  const { events } = (await resumed.getSession(KEY))!
  expect(events).toHaveLength(before.events.length + 6)
  const all = textsOf(events)
  for (let i = 0; i < 3; i++) expect(all.indexOf(`answer ${i}`)).toBeGreaterThan(all.indexOf(`question ${i}`))

  const ref = resumed.refOf(KEY)
  const { version } = (await resumed.history.getSession(ref.userId, ref.id))!
  const fork = await resumed.history.fork(ref, { at: version })
  const { invocationId } = events.find(({ content }) => spoken(content) === 'And 3 + 4?')!
  const rewound = await resumed.rewind({ ...KEY, rewindBeforeInvocationId: invocationId })
  expect(textsOf(rewound.events)).toEqual(texts.slice(0, 4))
  expect(rewound.state).toEqual({ 'unit': 'km', 'sums': 1, 'app:sums': 2, 'user:last': 7 })
  const again = runnerOf(resumed, [said('It was 3.')])
  await ask(again.runner, 'What was it?')
  expect(again.model.asked).toEqual([[...texts.slice(0, 4), 'What was it?']])
  expect((await resumed.getSession({ ...KEY, sessionId: fork.id }))?.events).toEqual(events)
  await expect(resumed.rewind({ ...KEY, rewindBeforeInvocationId: invocationId })).rejects.toThrow(TypeError)
  const empty = await resumed.rewind({ ...KEY, rewindBeforeInvocationId: first!.invocationId })
  expect([empty.events, empty.state['unit'], empty.state['sums']]).toEqual([[], 'km', undefined])
  const { sessions } = await resumed.listSessions({ appName: KEY.appName, order: 'desc' })
  expect(sessions.map(({ id }) => id)).toEqual([KEY.sessionId, fork.id])
  await later.stop()
}
