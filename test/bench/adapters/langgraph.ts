import { BaseChatModel } from '@langchain/core/language_models/chat_models'
import { AIMessage, HumanMessage, type BaseMessage } from '@langchain/core/messages'
import type { ChatResult } from '@langchain/core/outputs'
import { tool } from '@langchain/core/tools'
import { MessagesAnnotation, START, StateGraph } from '@langchain/langgraph'
import {
  BaseCheckpointSaver,
  MemorySaver,
  type Checkpoint,
  type CheckpointMetadata,
  type CheckpointPendingWrite,
  type CheckpointTuple,
  type PendingWrite
} from '@langchain/langgraph-checkpoint'
import { ToolNode, toolsCondition } from '@langchain/langgraph/prebuilt'
import { z } from 'zod'
import { TurnlogSaver } from '../../../dist/adapters/langgraph.js'
import type { SessionHistoryService } from '../../../dist/index.js'
import { timed } from './timed.ts'

/** What `count` turns took, in ms. */
export interface Run {
  /** The whole run, LangGraph's part, too. */
  readonly whole: number
  /** For how long any method of the checkpointer was under way: of what LangGraph does meanwhile, too. */
  readonly inMethods: number
}

/** Turns of an agent with a tool call each, in one thread of turnlog. */
export function run(history: SessionHistoryService, count: number): Promise<Run> {
  return runWith(new TurnlogSaver({ history, userId: 'ada' }), count)
}

/** The same with the saver in memory that LangGraph ships. */
export function runInMemorySaver(count: number): Promise<Run> {
  return runWith(new MemorySaver(), count)
}

/** The same with a saver that does nothing: what is left is LangGraph's own. */
export function runWithout(count: number): Promise<Run> {
  return runWith(new KeepsReferences(), count)
}

async function runWith(saver: BaseCheckpointSaver, count: number): Promise<Run> {
  const { timed: checkpointer, spent } = timed(saver)
  const agent = agentOf(checkpointer)
  globalThis.gc?.({ type: 'minor' })
  const start = performance.now()
  let length = 0
  for (let i = 0; i < count; i++) {
    const input = { messages: [new HumanMessage(`Look at ${i}.`)] }
    // The steps after it wait for it: nothing of it is hidden behind them.
    const { messages } = await agent.invoke(input, { configurable: { thread_id: 'looks' }, durability: 'sync' })
    length = messages.length
  }
  const whole = performance.now() - start
  if (length !== 4 * count) throw new Error(`${length} messages after ${count} turns`)
  return { whole, inMethods: spent() }
}

function agentOf(checkpointer: BaseCheckpointSaver) {
  const look = tool(({ i }) => `${i}`, { name: 'look', description: '', schema: z.object({ i: z.number() }) })
  const model = new Looking({})
  return new StateGraph(MessagesAnnotation)
    .addNode('model', async ({ messages }) => ({ messages: [await model.invoke(messages)] }))
    .addNode('tools', new ToolNode([look]))
    .addEdge(START, 'model')
    .addConditionalEdges('model', toolsCondition)
    .addEdge('tools', 'model')
    .compile({ checkpointer })
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

/** Of one thread, the objects themselves: as little as a saver can do. */
class KeepsReferences extends BaseCheckpointSaver {
  #newest: CheckpointTuple | undefined
  #pending: CheckpointPendingWrite[] = []

  override async getTuple(): Promise<CheckpointTuple | undefined> {
    return this.#newest && { ...this.#newest, pendingWrites: this.#pending }
  }

  override async *list(): AsyncGenerator<CheckpointTuple> {
    if (this.#newest) yield this.#newest
  }

  override async put(
    config: CheckpointTuple['config'],
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata
  ): Promise<CheckpointTuple['config']> {
    const own = { configurable: { thread_id: 'looks', checkpoint_ns: '', checkpoint_id: checkpoint.id } }
    this.#newest = { config: own, checkpoint, metadata, ...(this.#newest && { parentConfig: config }) }
    this.#pending = []
    return own
  }

  override async putWrites(_: CheckpointTuple['config'], writes: PendingWrite[], taskId: string): Promise<void> {
    for (const [channel, value] of writes) this.#pending.push([taskId, channel, value])
  }

  override async deleteThread(): Promise<void> {
    this.#newest = undefined
  }
}
