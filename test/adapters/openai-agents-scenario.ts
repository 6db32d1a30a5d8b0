import { Agent, run, setTracingDisabled, tool, type AgentInputItem } from '@openai/agents-core'
import {
  assistantMessage,
  functionCall,
  modelError,
  ScriptedModel,
  type ScriptedModelInput
} from '@openai/agents-core/testing'
import { expect } from 'vitest'
import { z } from 'zod'
import { TurnlogSession } from '../../src/adapters/openai-agents.ts'
import type { Scenario } from './kit.ts'

setTracingDisabled(true)

export const add = tool({
  name: 'add',
  description: '',
  parameters: z.object({ a: z.number(), b: z.number() }),
  execute: ({ a, b }) => String(a + b)
})

/** What items say, each as a line. */
export const textsOf = (items: readonly AgentInputItem[]): string[] =>
  items.map((item) => {
    if (item.type === 'function_call') return `${item.name}(${item.arguments})`
    if (item.type === 'function_call_result')
      return `= ${typeof item.output === 'string' ? item.output : (item.output as { text?: string }).text}`
    const { content } = item as { content: string | { text?: string }[] }
    return typeof content === 'string' ? content : content.map((part) => part.text).join('')
  })

export const scenario: Scenario = async (open) => {
  const ids = { userId: 'ada', sessionId: 'sums' }
  const agent = (...answers: ScriptedModelInput[]) =>
    new Agent({ name: 'clerk', model: new ScriptedModel(answers), tools: [add] })
  const sum = (a: number, b: number) => [functionCall('add', { a, b }, { callId: `c${a}` })]

  const history = await open()
  const session = new TurnlogSession({ history, ...ids })
  await run(agent(sum(1, 2), [assistantMessage('3')]), 'What is 1 + 2?', { session })
  const failing = agent(sum(3, 4), modelError(new Error('overloaded')))
  await expect(run(failing, 'And 3 + 4?', { session })).rejects.toThrow('overloaded')
  const items = await session.getItems()
  expect(textsOf(items).slice(0, 4)).toEqual(['What is 1 + 2?', 'add({"a":1,"b":2})', '= 3', '3'])
  await history.stop()

  const later = await open()
  const resumed = new TurnlogSession({ history: later, ...ids })
  expect(await resumed.getItems()).toEqual(items)
  await Promise.all(
    [0, 1, 2].map((i) => run(agent([assistantMessage(`answer ${i}`)]), `question ${i}`, { session: resumed }))
  )
  const texts = textsOf(await resumed.getItems())
  expect(texts).toHaveLength(items.length + 6)
  for (let i = 0; i < 3; i++) expect(texts.indexOf(`answer ${i}`)).toBeGreaterThan(texts.indexOf(`question ${i}`))

  const fork = await resumed.history.fork(resumed, { at: 5 })
  await resumed.history.rewind(resumed, 5)
  const other = new TurnlogSession({ history: later, userId: 'ada', sessionId: fork.id })
  for (const one of [resumed, other]) {
    await run(agent([assistantMessage('It was 3.')]), 'What was it?', { session: one })
    expect(textsOf(await one.getItems()).slice(3)).toEqual(['3', 'What was it?', 'It was 3.'])
  }
  await later.stop()
}
