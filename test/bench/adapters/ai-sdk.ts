import { convertToModelMessages, generateId, isStepCount, streamText, tool, toUIMessageStream } from 'ai'
import { MockLanguageModelV4 } from 'ai/test'
import { z } from 'zod'
import { uiMessageStore } from '../../../dist/adapters/ai-sdk.js'
import type { SessionHistoryService } from '../../../dist/index.js'
import { timed } from './timed.ts'

type Part = Awaited<ReturnType<MockLanguageModelV4['doStream']>>['stream'] extends ReadableStream<infer P> ? P : never

/** Turns of an agent with a tool call each, in one chat: how many ms were spent in its methods. */
export async function turns(history: SessionHistoryService, count: number): Promise<number> {
  const { timed: chat, spent } = timed(uiMessageStore(history).open('c'))
  const look = tool({ description: '', inputSchema: z.object({ i: z.number() }), execute: async ({ i }) => `${i}` })
  for (let i = 0; i < count; i++) {
    const steps = [
      stepOf([{ type: 'tool-call', toolCallId: `c${i}`, toolName: 'look', input: `{"i":${i}}` }], 'tool-calls'),
      stepOf(
        [
          { type: 'text-start', id: 't' },
          { type: 'text-delta', id: 't', delta: `${i}` },
          { type: 'text-end', id: 't' }
        ],
        'stop'
      )
    ]
    const model = new MockLanguageModelV4({ doStream: async () => ({ stream: steps.shift()! }) })
    const messages = await chat.receive({
      message: { id: `u${i}`, role: 'user', parts: [{ type: 'text', text: `Look at ${i}.` }] }
    })
    const result = streamText({
      model,
      tools: { look },
      messages: await convertToModelMessages(messages),
      stopWhen: isStepCount(5)
    })
    const { onStepEnd, onEnd } = chat
    const stream = toUIMessageStream({
      stream: result.stream,
      originalMessages: messages,
      generateMessageId: generateId,
      onStepEnd,
      onEnd
    })
    for await (const _ of stream) continue
  }
  return spent()
}

function stepOf(parts: readonly Part[], unified: 'stop' | 'tool-calls'): ReadableStream<Part> {
  const usage = {
    inputTokens: { total: 1, noCache: 1, cacheRead: undefined, cacheWrite: undefined },
    outputTokens: { total: 1, text: 1, reasoning: undefined }
  }
  return new ReadableStream({
    start(controller) {
      for (const part of parts) controller.enqueue(part)
      controller.enqueue({ type: 'finish', finishReason: { unified, raw: undefined }, usage })
      controller.close()
    }
  })
}
