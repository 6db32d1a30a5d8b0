import { execFileSync } from 'node:child_process'
import { copyFileSync, createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { MemorySession, type AgentInputItem } from '@openai/agents-core'
import { AIMessage, HumanMessage, SystemMessage, ToolMessage, type BaseMessage } from '@langchain/core/messages'
import { MemorySaver } from '@langchain/langgraph-checkpoint'
import { createSessionHistory, fromOpenAIMessage, memoryStore, type EventStore } from '../../../dist/index.js'
import type { OpenAIMessage } from '../../../dist/index.js'
import { sqliteStore } from '../../../dist/stores/sqlite.js'
import { fillTurns, Place } from '../files.ts'
import { Thread } from '../peers/langgraph.ts'
import { contest, fastest, median, ratios, timed } from '../rounds.ts'
import type { Options, Row, Workload } from '../workloads.ts'

export const mixedWorkloads: readonly Workload[] = [
  { name: 'zipf', run: zipf },
  { name: 'runs', run: realRuns }
]

/** What zipf-process.mjs prints; times in ms. */
interface Measured {
  readonly perSecond: number
  readonly latencies: Readonly<Record<string, { readonly p50: number; readonly p99: number }>>
  readonly residentBytes: number
}

const MEGABYTE = 1024 * 1024

/** In a process of its own, which has nothing else in it: see zipf-process.mjs. */
async function zipf({ isQuick }: Options): Promise<Row[]> {
  await using place = await Place.make()
  const sessions = isQuick ? 100_000 : 1_000_000
  const path = place.path('zipf.db')
  await (await place.history('zipf.db')).stop()
  fillTurns(path, sessions)
  const script = fileURLToPath(new URL('zipf-process.mjs', import.meta.url))
  const operations = isQuick ? 10_000 : 30_000
  const runs = Array.from({ length: isQuick ? 1 : 3 }, (_, run) => {
    // Each of its own file: what a run appends, above all to those that are asked for most, would be in the memory of the next.
    const own = place.path(`zipf-${run}.db`)
    copyFileSync(path, own)
    const args = [script, own, `${sessions}`, `${operations}`, `${run}`]
    return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' })) as Measured
  })
  const resident = runs.map(({ residentBytes }) => residentBytes / MEGABYTE)
  const kinds = Object.keys(runs[0]!.latencies)
  const name = `${sessions.toLocaleString('en')} sessions`
  return [
    {
      measure: `SQLite: mixed load, ${name}`,
      unit: '/s',
      results: { turnlog: runs.map(({ perSecond }) => perSecond) },
      reached: `of ${operations.toLocaleString('en')}, 64 at once`
    },
    ...kinds.map((kind): Row => ({
      measure: `of it, ${kind}`,
      unit: 'ms',
      results: {
        'turnlog, half take at most': runs.map(({ latencies }) => latencies[kind]!.p50),
        'turnlog, 99 % take at most': runs.map(({ latencies }) => latencies[kind]!.p99)
      },
      reached: ''
    })),
    {
      measure: 'and its resident memory, 1,000 active of at most 64 MB',
      unit: 'MB',
      results: { turnlog: resident },
      target: '300 MB',
      reached: `${Math.max(...resident).toFixed(0)} MB at most`,
      isMet: Math.max(...resident) <= 300
    }
  ]
}

/** All runs at once; each is appended turn by turn, and read after each. */
async function realRuns({ isQuick, runs }: Options): Promise<Row[]> {
  if (runs === undefined) return []
  await using place = await Place.make()
  const conversations = await turnsOf(runs)
  const turns = conversations.flat().length
  const count = conversations.flat(2).length
  const inStore = async (store: EventStore): Promise<number> => {
    const history = await createSessionHistory({ store })
    const made = conversations.map((conversation) => conversation.map((turn) => turn.map(fromOpenAIMessage)))
    const micros = await timed(turns, () =>
      each(made, async (conversation, session) => {
        const { userId, id } = await history.createSession('user', `run-${session}`)
        let length = 0
        for (const turn of conversation) {
          await history.appendMessage({ userId, id }, turn)
          check((await history.getSession(userId, id))!.messages, (length += turn.length))
        }
      })
    )
    await history.stop()
    return micros
  }
  const { results, notes } = await contest(isQuick ? 3 : 9, {
    'turnlog': () => inStore(memoryStore()),
    'turnlog, SQLite': () => inStore(sqliteStore({ path: place.fresh() })),
    'MemorySession': async () => {
      const made = conversations.map((conversation) => conversation.map((turn) => turn.flatMap(agentItems)))
      return timed(turns, () =>
        each(made, async (conversation) => {
          const session = new MemorySession()
          let length = 0
          for (const turn of conversation) {
            await session.addItems(turn)
            check(await session.getItems(), (length += turn.length))
          }
        })
      )
    },
    'MemorySaver': async () => {
      const made = conversations.map((conversation) => conversation.map((turn) => turn.map(langchainMessage)))
      const saver = new MemorySaver()
      return timed(turns, () =>
        each(made, async (conversation, session) => {
          const thread = new Thread(saver, `run-${session}`)
          let length = 0
          for (const turn of conversation) {
            // In its favour one checkpoint for all of the turn.
            await thread.add(turn, 'loop')
            check(await thread.read(), (length += turn.length))
          }
        })
      )
    }
  })
  const ratio = median(ratios(fastest(results, ['MemorySession', 'MemorySaver']), results['turnlog']!))
  return [
    {
      measure: `a turn of ${conversations.length} real runs`,
      unit: 'µs',
      results,
      reached: `${ratio.toFixed(2)} × as fast as the fastest peer`,
      notes: [...notes, `${turns.toLocaleString('en')} turns with ${count.toLocaleString('en')} messages`]
    }
  ]
}

async function each<T>(all: readonly T[], work: (one: T, index: number) => Promise<void>): Promise<void> {
  await Promise.all(all.map(work))
}

function check(messages: readonly unknown[], length: number): void {
  if (messages.length !== length) throw new Error(`${messages.length} of ${length} messages`)
}

/** A turn begins with what the user says. */
async function turnsOf(path: string): Promise<OpenAIMessage[][][]> {
  const conversations: OpenAIMessage[][][] = []
  for await (const line of createInterface({ input: createReadStream(path) })) {
    if (line.trim() === '') continue
    const { messages } = JSON.parse(line) as { messages: OpenAIMessage[] }
    const turns: OpenAIMessage[][] = []
    for (const message of messages) {
      if (turns.length === 0 || message.role === 'user') turns.push([])
      turns.at(-1)!.push(message)
    }
    conversations.push(turns)
  }
  return conversations
}

function agentItems(message: OpenAIMessage): AgentInputItem[] {
  const text = textIn(message)
  if (message.role === 'tool') {
    const output = { type: 'text' as const, text }
    return [{ type: 'function_call_result', callId: message.tool_call_id ?? '', name: '', status: 'completed', output }]
  }
  if (message.role !== 'assistant') return [{ role: message.role === 'user' ? 'user' : 'system', content: text }]
  const calls = callsOf(message).map(({ id, ...call }): AgentInputItem => ({
    type: 'function_call',
    callId: id,
    ...call
  }))
  const said: AgentInputItem = { role: 'assistant', status: 'completed', content: [{ type: 'output_text', text }] }
  return text === '' ? calls : [said, ...calls]
}

function langchainMessage(message: OpenAIMessage): BaseMessage {
  const text = textIn(message)
  if (message.role === 'tool') return new ToolMessage({ content: text, tool_call_id: message.tool_call_id ?? '' })
  if (message.role === 'user') return new HumanMessage(text)
  if (message.role !== 'assistant') return new SystemMessage(text)
  const calls = callsOf(message).map(({ id, name, arguments: args }) => ({
    type: 'tool_call' as const,
    id,
    name,
    args: JSON.parse(args) as Record<string, unknown>
  }))
  return new AIMessage({ content: text, tool_calls: calls })
}

function callsOf({ tool_calls: calls }: OpenAIMessage) {
  return (calls ?? []).flatMap(({ id, function: called }) => (called ? [{ id, ...called }] : []))
}

function textIn({ content }: OpenAIMessage): string {
  return typeof content === 'string' ? content : content ? JSON.stringify(content) : ''
}
