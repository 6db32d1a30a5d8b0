// The AI SDK with its chats in turnlog, and nothing else: no table of messages, no Redis. A tab comes in the midst of an answer; after a restart that is
// made anew, both can be read, and the old one is gone on from. A real runner, and a model that answers from a list.
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as ai from 'ai'
import { MockLanguageModelV4 } from 'ai/test'
import { createSessionHistory, type SessionHistoryService } from 'turnlog'
import { createResumableStreamContext, uiMessageStore, type ChatRequest } from 'turnlog/ai-sdk'
import { sqliteStore } from 'turnlog/sqlite'

const store = { path: join(mkdtempSync(join(tmpdir(), 'turnlog-')), 'chats.db') }
type Text = ReadableStream<string> | null | undefined
const textOf = (stream: Text) => new Response(stream!.pipeThrough(new TextEncoderStream())).text()

// As a route does it: `request` is what useChat sends, and what comes back is the stream for it.
async function post(history: SessionHistoryService, request: ChatRequest, model: MockLanguageModelV4) {
  const chat = uiMessageStore(history).open('trip')
  const messages = await chat.receive(request)
  const { stream } = ai.streamText({ model, messages: await ai.convertToModelMessages(messages) })
  const handlers = { generateMessageId: ai.generateId, onStepEnd: chat.onStepEnd, onEnd: chat.onEnd }
  const answer = ai.toUIMessageStream({ stream, originalMessages: messages, ...handlers })
  const makeStream = () => answer.pipeThrough(new ai.JsonToSseTransformStream())
  return createResumableStreamContext({ history }).createNewResumableStream('stream-1', makeStream)
}

// One process: an answer, and a tab that is opened in the midst of it.
const history = await createSessionHistory({ store: sqliteStore(store) })
const question: ai.UIMessage = { id: 'q1', role: 'user', parts: [{ type: 'text', text: 'A train to Oslo?' }] }
let open = (): void => undefined
const isOpened = new Promise<void>((resolve) => (open = resolve))
const first = await post(history, { message: question }, speaking(['One ', 'at 22:47.'], isOpened))
const second = await createResumableStreamContext({ history }).resumeExistingStream('stream-1')
open()
const [one, other] = await Promise.all([textOf(first), textOf(second)])
console.log(`the other tab has the same: ${one === other}, to the end: ${other.endsWith('data: [DONE]\n\n')}`)
await history.stop()

// Another, later: the answer is made anew.
const later = await createSessionHistory({ store: sqliteStore(store) })
await textOf(await post(later, { trigger: 'regenerate-message', messages: [question] }, speaking(['No, none.'])))
const chats = uiMessageStore(later)
const [old] = await chats.open('trip').replaced()
const fork = await chats.history.fork({ userId: chats.userId, id: 'trip' }, { at: old!.version })
await chats.open(fork.id).save({ ...question, id: 'q2', parts: [{ type: 'text', text: 'Two seats, please.' }] })
for (const id of ['trip', fork.id])
  for (const { parts } of await chats.open(id).load()) console.log(id === 'trip' ? 'now:' : 'in a fork:', parts.at(-1))
await later.stop()

function speaking(words: string[], until?: Promise<void>): MockLanguageModelV4 {
  const usage = { inputTokens: {}, outputTokens: {} } as never
  async function* parts() {
    yield { type: 'text-start' as const, id: 't' }
    for (const delta of words) yield { type: 'text-delta' as const, id: 't', delta }
    await until
    yield { type: 'text-end' as const, id: 't' }
    yield { type: 'finish' as const, finishReason: { unified: 'stop' as const, raw: undefined }, usage }
  }
  return new MockLanguageModelV4({ doStream: async () => ({ stream: ReadableStream.from(parts()) }) })
}
