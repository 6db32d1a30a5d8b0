import { randomUUID } from 'node:crypto'
import { Agent, run } from '@openai/agents-core'
import { assistantMessage, functionCall, ScriptedModel } from '@openai/agents-core/testing'
import { HumanMessage, type BaseMessage } from '@langchain/core/messages'
import { tool } from '@langchain/core/tools'
import { createReactAgent } from '@langchain/langgraph/prebuilt'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import * as adk from '../../src/adapters/adk.ts'
import * as aiSdk from '../../src/adapters/ai-sdk.ts'
import * as claudeAgent from '../../src/adapters/claude-agent.ts'
import * as langgraph from '../../src/adapters/langgraph.ts'
import * as openaiAgents from '../../src/adapters/openai-agents.ts'
import { readingOf } from '../../src/adapters/shared/reading.ts'
import type { Dropped } from '../../src/adapters/shared/pieces.ts'
import {
  createSessionHistory,
  messageSchema,
  openToolCalls,
  type Message,
  type SessionHistoryService,
  type SessionRef,
  type StandardSchema
} from '../../src/index.ts'
import { fails } from '../service/kit.ts'
import * as adkKit from './adk-scenario.ts'
import * as aiSdkKit from './ai-sdk-kit.ts'
import * as claudeKit from './claude-agent-kit.ts'
import * as langgraphKit from './langgraph-scenario.ts'
import { add } from './openai-agents-scenario.ts'

/** A framework with its adapter, by its real runner. */
interface Framework {
  readonly name: string
  readonly format: string
  readonly lacks?: string | undefined
  /** Asks what 1 + 2 is: a call of a tool, its output, and the answer. */
  begin(history: SessionHistoryService): Promise<SessionRef>
  /** Goes on from messages with a question: what its model then hears, and what was not carried over. */
  goOn(history: SessionHistoryService, messages: readonly Message[]): Promise<Continued>
  /** Reads, or writes, a session of another. */
  open(history: SessionHistoryService, session: SessionRef): Promise<unknown>
}

interface Continued {
  readonly heard: string
  readonly dropped: readonly Dropped[]
  readonly session: SessionRef
}

const QUESTION = 'What is 1 + 2?'
const IDS = { userId: 'ada', sessionId: 'sums' }

const FRAMEWORKS: readonly Framework[] = [
  {
    name: 'the OpenAI Agents SDK',
    format: openaiAgents.OPENAI_AGENTS_FORMAT,
    async begin(history) {
      const session = new openaiAgents.TurnlogSession({ history, ...IDS })
      const model = new ScriptedModel([
        [functionCall('add', { a: 1, b: 2 }, { callId: 'c1' })],
        [assistantMessage('It is 3.')]
      ])
      await run(new Agent({ name: 'clerk', model, tools: [add] }), QUESTION, { session })
      return session
    },
    async goOn(history, messages) {
      const { items, dropped } = openaiAgents.fromMessages(messages)
      const session = new openaiAgents.TurnlogSession({ history, userId: 'ada' })
      await session.addItems(items)
      const model = new ScriptedModel([[assistantMessage('Done.')]])
      await run(new Agent({ name: 'clerk', model, tools: [add] }), 'And now?', { session })
      return { heard: JSON.stringify(model.lastCall!.request.input), dropped, session }
    },
    open: (history, { userId, id }) =>
      new openaiAgents.TurnlogSession({ history, userId, sessionId: id }).addItems([{ role: 'user', content: 'x' }])
  },
  {
    name: 'LangGraph',
    format: langgraph.LANGGRAPH_FORMAT,
    async begin(history) {
      const checkpointer = new langgraph.TurnlogSaver({ history, userId: 'ada' })
      await graphOf(checkpointer, new Listening([langgraphKit.sum(1, 2), 'It is 3.'])).invoke(
        { messages: [new HumanMessage(QUESTION)] },
        { configurable: { thread_id: 'sums' } }
      )
      return { userId: 'ada', id: 'sums' }
    },
    async goOn(history, messages) {
      const { items, dropped } = langgraph.fromMessages(messages)
      const checkpointer = new langgraph.TurnlogSaver({ history, userId: 'ada' })
      const model = new Listening(['Done.'])
      await graphOf(checkpointer, model).invoke(
        { messages: [...items, new HumanMessage('And now?')] },
        { configurable: { thread_id: 'continued' } }
      )
      return { heard: model.heard, dropped, session: { userId: 'ada', id: 'continued' } }
    },
    open: (history, { userId, id }) =>
      new langgraph.TurnlogSaver({ history, userId }).getTuple({ configurable: { thread_id: id } })
  },
  {
    name: 'the Claude Agent SDK',
    format: claudeAgent.CLAUDE_AGENT_FORMAT,
    lacks: claudeKit.missingBinary(),
    async begin(history) {
      const runner = await claudeKit.claude()
      try {
        const sessionStore = new claudeAgent.TurnlogSessionStore({ history, userId: 'ada' })
        const key = { projectKey: runner.projectKey, sessionId: randomUUID() }
        runner.will(claudeKit.calls('toolu_1', 'add', { a: 1, b: 2 }), claudeKit.says('It is 3.'))
        await runner.run(QUESTION, { sessionStore, sessionId: key.sessionId })
        return sessionStore.refOf(key)
      } finally {
        await runner.close()
      }
    },
    async goOn(history, messages) {
      const { items, dropped } = claudeAgent.fromMessages(messages)
      const runner = await claudeKit.claude()
      try {
        const sessionStore = new claudeAgent.TurnlogSessionStore({ history, userId: 'ada' })
        const key = { projectKey: runner.projectKey, sessionId: randomUUID() }
        await sessionStore.append(key, items)
        runner.will(claudeKit.says('Done.'))
        await runner.run('And now?', { sessionStore, resume: key.sessionId })
        return { heard: runner.heard().join('\n'), dropped, session: sessionStore.refOf(key) }
      } finally {
        await runner.close()
      }
    },
    open: (history, { userId, id }) => {
      // A user who is one of its scopes.
      const [user, projectKey = ''] = userId.split('/')
      return new claudeAgent.TurnlogSessionStore({ history, userId: user! }).append({ projectKey, sessionId: id }, [
        { type: 'user' }
      ])
    }
  },
  {
    name: 'the AI SDK',
    format: aiSdk.AI_SDK_FORMAT,
    async begin(history) {
      const chat = aiSdk.uiMessageStore(history).open('sums', { userId: 'ada' })
      await aiSdkKit.ask(chat, QUESTION, aiSdkKit.modelOf({ call: 'add', input: { a: 1, b: 2 } }, 'It is 3.'))
      return chat
    },
    async goOn(history, messages) {
      const { items, dropped } = aiSdk.fromMessages(messages)
      const chat = aiSdk.uiMessageStore(history).open('continued', { userId: 'ada' })
      await chat.save(items)
      const model = aiSdkKit.modelOf('Done.')
      await aiSdkKit.ask(chat, 'And now?', model)
      return { heard: JSON.stringify(model.doStreamCalls.at(-1)!.prompt), dropped, session: chat }
    },
    open: (history, { userId, id }) => aiSdk.uiMessageStore(history).open(id, { userId }).save(aiSdkKit.user('x'))
  },
  {
    name: 'ADK',
    format: adk.ADK_FORMAT,
    async begin(history) {
      const service = new adk.TurnlogSessionService({ history })
      await service.createSession(adkKit.KEY)
      const answers = [adkKit.called('add', { a: 1, b: 2 }), adkKit.said('It is 3.')]
      await adkKit.ask(adkKit.runnerOf(service, answers).runner, QUESTION)
      return service.refOf(adkKit.KEY)
    },
    async goOn(history, messages) {
      const { items, dropped } = adk.fromMessages(messages, { author: 'clerk' })
      const service = new adk.TurnlogSessionService({ history })
      const key = { ...adkKit.KEY, sessionId: 'continued' }
      const session = await service.createSession(key)
      for (const event of items) await service.appendEvent({ session, event })
      const { runner, model } = adkKit.runnerOf(service, [adkKit.said('Done.')])
      await adkKit.ask(runner, 'And now?', { sessionId: key.sessionId })
      return { heard: model.asked.at(-1)!.join('\n'), dropped, session: service.refOf(key) }
    },
    open: async (history, { userId, id }) => {
      const [appName = '', user = ''] = userId.split('/')
      await new adk.TurnlogSessionService({ history }).getSession({ appName, userId: user, sessionId: id })
    }
  }
]

/** A model of LangChain that keeps what it heard. */
class Listening extends langgraphKit.Scripted {
  heard = ''

  override _generate(messages: BaseMessage[] = []): ReturnType<langgraphKit.Scripted['_generate']> {
    this.heard = JSON.stringify(messages)
    // oxlint-disable-next-line no-underscore-dangle -- LangChain's name
    return super._generate()
  }
}

function graphOf(checkpointer: langgraph.TurnlogSaver, llm: Listening) {
  const schema = z.object({ a: z.number(), b: z.number() })
  const sum = tool(({ a, b }) => String(a + b), { name: 'add', description: '', schema })
  // oxlint-disable-next-line typescript/no-deprecated -- what is in its place is one more package
  return createReactAgent({ llm, tools: [sum], checkpointer })
}

const anything: StandardSchema = { '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) } }

/** What the command line and the inspector make of a session. */
async function readAs(format: string, history: SessionHistoryService, { userId, id }: SessionRef): Promise<Message[]> {
  const session = await history.withMessage(anything, { format }).getSession(userId, id)
  return (await readingOf(format))!(session!.messages as never)
}

describe.each(FRAMEWORKS)('what $name has written', ({ format, lacks, begin }) => {
  let written: Promise<Message[]> | undefined
  // Once: a run takes some time.
  const read = (): Promise<Message[]> =>
    (written ??= (async () => {
      const history = await createSessionHistory()
      const messages = await readAs(format, history, await begin(history))
      await history.stop()
      return messages
    })())

  it('reads as messages', async ({ skip }) => {
    skip(lacks !== undefined, lacks)
    const messages = await read()
    for (const message of messages) expect(messageSchema.parse(message)).toEqual(message)
    const spoken = messages.filter(({ type }) => /^(?:message|function_call|function_call_output)$/.test(type))
    expect(spoken.map(({ type, role }) => `${role} ${type}`)).toEqual([
      'user message',
      'assistant function_call',
      'tool function_call_output',
      'assistant message'
    ])
    expect(openToolCalls({ messages })).toEqual([])
    expect(JSON.stringify(spoken[0])).toContain(QUESTION)
    expect(spoken[3]!.content).toMatchObject([{ type: 'text', text: 'It is 3.' }])
  })

  it.for(FRAMEWORKS)('is gone on from in $name', { timeout: 60_000 }, async (other, { skip }) => {
    skip(lacks !== undefined, lacks)
    skip(other.lacks !== undefined, other.lacks)
    const history = await createSessionHistory()
    const messages = await read()
    const { heard, dropped, session } = await other.goOn(history, messages)
    for (const said of [QUESTION, 'add', '3', 'It is 3.', 'And now?']) expect(heard).toContain(said)
    // What is dropped is what the first framework alone knows, or its notices: nothing that was said.
    for (const { path, what } of dropped) {
      const { type } = messages[path[0] as number]!
      if (/^(?:message|function_call|function_call_output)$/.test(type))
        expect([path[1], what]).toEqual(['metadata', expect.stringContaining('alone knows')])
    }
    const after = await readAs(other.format, history, session)
    const texts = after.flatMap(({ content }) => (content ?? []).map((part) => ('text' in part ? part.text : '')))
    expect(texts).toEqual(expect.arrayContaining([expect.stringContaining(QUESTION), 'It is 3.', 'And now?', 'Done.']))
    await history.stop()
  })
})

it.each(FRAMEWORKS)('$name refuses a session of another adapter', async ({ format, open }) => {
  const history = await createSessionHistory()
  // Where each of them would have it.
  const session =
    format === claudeAgent.CLAUDE_AGENT_FORMAT
      ? { userId: 'ada/project', id: 'sums' }
      : format === adk.ADK_FORMAT
        ? new adk.TurnlogSessionService({ history }).refOf(adkKit.KEY)
        : { userId: 'ada', id: 'sums' }
  const others = history.withMessage(anything, { format: 'of-another' })
  await others.createSession(session.userId, session.id)
  const opened = format === adk.ADK_FORMAT ? adkOpen(history) : open(history, session)
  await fails(() => opened, 'FORMAT_MISMATCH', { expected: format, actual: 'of-another' })
  await history.stop()
})

async function adkOpen(history: SessionHistoryService): Promise<void> {
  await new adk.TurnlogSessionService({ history }).getSession(adkKit.KEY)
}
