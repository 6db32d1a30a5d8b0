import {
  convertToModelMessages,
  generateId,
  isStepCount,
  streamText,
  toUIMessageStream,
  tool,
  type UIMessage,
  type UIMessageChunk
} from 'ai'
import { MockLanguageModelV4 } from 'ai/test'
import { z } from 'zod'
import type { UIChat } from '../../src/adapters/ai-sdk.ts'
import type { Clock } from '../../src/index.ts'

/** What the model answers to one call: a text, a call of a tool, or an error in the midst of a text. */
export type Answer =
  | string
  | { readonly call: string; readonly input: object; readonly id?: string }
  | { readonly text: string; readonly error: Error }

type StreamPart =
  Awaited<ReturnType<MockLanguageModelV4['doStream']>>['stream'] extends ReadableStream<infer P> ? P : never

const USAGE = {
  inputTokens: { total: 1, noCache: 1, cacheRead: undefined, cacheWrite: undefined },
  outputTokens: { total: 1, text: 1, reasoning: undefined }
}

/** A model that answers from a list, a text word by word. */
export function modelOf(...answers: readonly Answer[]): MockLanguageModelV4 {
  const rest = [...answers]
  return new MockLanguageModelV4({
    doStream: async () => ({ stream: streamOf(partsOf(rest.shift() ?? 'Nothing more.')) })
  })
}

export function partsOf(given: Answer): StreamPart[] {
  const finish = (unified: 'stop' | 'tool-calls'): StreamPart => ({
    type: 'finish',
    finishReason: { unified, raw: undefined },
    usage: USAGE
  })
  if (typeof given === 'object' && 'call' in given) {
    const { call: toolName, input, id: toolCallId = 'call_1' } = given
    return [{ type: 'tool-call', toolCallId, toolName, input: JSON.stringify(input) }, finish('tool-calls')]
  }
  const text = typeof given === 'string' ? given : given.text
  const words = text.split(/(?<= )/).map((delta): StreamPart => ({ type: 'text-delta', id: 't', delta }))
  if (typeof given === 'object')
    return [{ type: 'text-start', id: 't' }, ...words, { type: 'error', error: given.error }]
  return [{ type: 'text-start', id: 't' }, ...words, { type: 'text-end', id: 't' }, finish('stop')]
}

/** Until what has begun is over, where nothing tells. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
}

export function streamOf<T>(chunks: readonly T[]): ReadableStream<T> {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk)
      controller.close()
    }
  })
}

export const tools = {
  add: tool({
    description: 'Adds',
    inputSchema: z.object({ a: z.number(), b: z.number() }),
    execute: async ({ a, b }) => a + b
  }),
  pay: tool({
    description: 'Pays',
    inputSchema: z.object({ euros: z.number() }),
    execute: async ({ euros }) => `${euros} euros paid`
  })
}

export interface RunOptions {
  readonly abortSignal?: AbortSignal
  readonly approves?: boolean
  readonly onError?: (error: unknown) => string
}

/** One answer of the real runner to what is in the chat, as a stream of chunks for the client. */
export async function answer<UI extends UIMessage>(
  chat: UIChat<UI>,
  messages: UI[],
  model: MockLanguageModelV4,
  { abortSignal, approves = false, onError = String }: RunOptions = {}
): Promise<ReadableStream<UIMessageChunk>> {
  const result = streamText({
    model,
    tools,
    messages: await convertToModelMessages(messages, { tools }),
    stopWhen: isStepCount(5),
    onError: () => undefined,
    ...(abortSignal && { abortSignal }),
    ...(approves && { toolApproval: { pay: 'user-approval' as const } })
  })
  return toUIMessageStream<typeof tools, UI>({
    stream: result.stream,
    originalMessages: messages,
    generateMessageId: generateId,
    onError,
    onStepEnd: chat.onStepEnd,
    onEnd: chat.onEnd
  })
}

/** Asks, and reads the answer to its end. */
export async function ask(chat: UIChat, text: string, model: MockLanguageModelV4, options?: RunOptions): Promise<void> {
  await drained(await answer(chat, await chat.receive({ message: user(text) }), model, options))
}

let users = 0
export function user(text: string, id = `u${++users}`): UIMessage {
  return { id, role: 'user', parts: [{ type: 'text', text }] }
}

export async function drained<T>(stream: ReadableStream<T>): Promise<T[]> {
  const all: T[] = []
  for await (const chunk of stream) all.push(chunk)
  return all
}

/** What is said in messages, in short. */
export function said(messages: readonly UIMessage[]): string[] {
  return messages.map(({ parts }) =>
    parts
      .flatMap((part) => {
        if (part.type === 'text') return [part.text]
        if (part.type === 'step-start') return []
        const { state, output } = part as { state?: string; output?: unknown }
        return [
          `${part.type}${state === undefined ? '' : `: ${state === 'output-available' ? `= ${String(output)}` : state}`}`
        ]
      })
      .join(' | ')
  )
}

/** A clock that goes on when it is told. */
export function manual(): Clock & { go(ms: number): void; timers(): number } {
  let now = 1_000
  const timers = new Map<object, { readonly at: number; readonly callback: () => void }>()
  return {
    now: () => now,
    setTimeout: (callback, ms) => {
      const timer = {}
      timers.set(timer, { at: now + ms, callback })
      return timer
    },
    clearTimeout: (timer) => void timers.delete(timer as object),
    go(ms) {
      now += ms
      for (const [timer, { at, callback }] of Array.from(timers))
        if (at <= now) {
          timers.delete(timer)
          callback()
        }
    },
    timers: () => timers.size
  }
}
