import { Agent, run, setTracingDisabled, tool } from '@openai/agents-core'
import { assistantMessage, functionCall, ScriptedModel } from '@openai/agents-core/testing'
import { z } from 'zod'
import { TurnlogSession } from '../../../dist/adapters/openai-agents.js'
import type { SessionHistoryService } from '../../../dist/index.js'
import { timed } from './timed.ts'

setTracingDisabled(true)

/** Turns of an agent with a tool call each, in one session: how many ms were spent in its methods. */
export async function turns(history: SessionHistoryService, count: number): Promise<number> {
  const { timed: session, spent } = timed(new TurnlogSession({ history, userId: 'ada' }))
  const look = tool({
    name: 'look',
    description: '',
    parameters: z.object({ i: z.number() }),
    execute: ({ i }) => `${i}`
  })
  for (let i = 0; i < count; i++) {
    const model = new ScriptedModel([[functionCall('look', { i }, { callId: `c${i}` })], [assistantMessage(`${i}`)]])
    await run(new Agent({ name: 'clerk', model, tools: [look] }), `Look at ${i}.`, { session })
  }
  return spent()
}
