import { BaseChatModel } from '@langchain/core/language_models/chat_models'
import { AIMessage, HumanMessage, type BaseMessage } from '@langchain/core/messages'
import type { ChatResult } from '@langchain/core/outputs'
import { tool } from '@langchain/core/tools'
import { MessagesAnnotation, START, StateGraph } from '@langchain/langgraph'
import { ToolNode, toolsCondition } from '@langchain/langgraph/prebuilt'
import { z } from 'zod'
import { TurnlogSaver } from '../../../dist/adapters/langgraph.js'
import type { SessionHistoryService } from '../../../dist/index.js'
import { timed } from './timed.ts'

/** Turns of an agent with a tool call each, in one thread: how many ms were spent in the checkpointer's methods. */
export async function turns(history: SessionHistoryService, count: number): Promise<number> {
  const { timed: checkpointer, spent } = timed(new TurnlogSaver({ history, userId: 'ada' }))
  const look = tool(({ i }) => `${i}`, { name: 'look', description: '', schema: z.object({ i: z.number() }) })
  const model = new Looking({})
  const agent = new StateGraph(MessagesAnnotation)
    .addNode('model', async ({ messages }) => ({ messages: [await model.invoke(messages)] }))
    .addNode('tools', new ToolNode([look]))
    .addEdge(START, 'model')
    .addConditionalEdges('model', toolsCondition)
    .addEdge('tools', 'model')
    .compile({ checkpointer })
  for (let i = 0; i < count; i++) {
    const input = { messages: [new HumanMessage(`Look at ${i}.`)] }
    // The steps after it wait for it: what they do is not counted as the checkpointer's.
    await agent.invoke(input, { configurable: { thread_id: 'looks' }, durability: 'sync' })
  }
  return spent()
}

/** Looks at what it is told to, and says what it saw. */
class Looking extends BaseChatModel {
  override _llmType(): string {
    return 'looking'
  }

  override bindTools(): this {
    return this
  }

  override async _generate(messages: BaseMessage[]): Promise<ChatResult> {
    const { text, type } = messages.at(-1)!
    const i = Number(/\d+/.exec(text))
    const call = { type: 'tool_call', id: `c${i}`, name: 'look', args: { i } } as const
    const message = type === 'tool' ? new AIMessage(text) : new AIMessage({ content: '', tool_calls: [call] })
    return { generations: [{ text: message.text, message }] }
  }
}
