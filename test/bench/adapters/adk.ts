import {
  BaseLlm,
  FunctionTool,
  LlmAgent,
  LogLevel,
  Runner,
  setLogLevel,
  type BaseLlmConnection,
  type LlmResponse
} from '@google/adk'
import { z } from 'zod'
import { TurnlogSessionService } from '../../../dist/adapters/adk.js'
import type { SessionHistoryService } from '../../../dist/index.js'
import { timed } from './timed.ts'

setLogLevel(LogLevel.ERROR)

/** Asks for the tool where the last is a question, and answers where it is the tool's. */
class Model extends BaseLlm {
  override async *generateContentAsync(request: {
    contents: { parts?: { functionResponse?: unknown }[] }[]
  }): AsyncGenerator<LlmResponse, void> {
    const isAnswered = request.contents.at(-1)?.parts?.[0]?.functionResponse !== undefined
    const part = isAnswered ? { text: 'seen' } : { functionCall: { name: 'look', args: { at: 'it' } } }
    yield { content: { role: 'model', parts: [part] } }
  }

  override connect(): Promise<BaseLlmConnection> {
    throw new Error('not live')
  }
}

/** Turns of an agent with a tool call each, in one session: how many ms were spent in its methods. */
export async function turns(history: SessionHistoryService, count: number): Promise<number> {
  const { timed: sessionService, spent } = timed(new TurnlogSessionService({ history }))
  const look = new FunctionTool({
    name: 'look',
    description: 'Looks',
    parameters: z.object({ at: z.string() }),
    execute: ({ at }) => at
  })
  const agent = new LlmAgent({ name: 'clerk', model: new Model({ model: 'list' }), tools: [look] })
  const runner = new Runner({ appName: 'bench', agent, sessionService })
  const { id: sessionId } = await sessionService.createSession({ appName: 'bench', userId: 'ada' })
  for (let i = 0; i < count; i++) {
    const newMessage = { role: 'user', parts: [{ text: `Look at ${i}.` }] }
    for await (const _ of runner.runAsync({ userId: 'ada', sessionId, newMessage })) continue
  }
  return spent()
}
