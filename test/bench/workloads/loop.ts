import { adk } from '../peers/adk.ts'
import { emmett } from '../peers/emmett.ts'
import { chatHistory } from '../peers/langchain.ts'
import { memorySaver } from '../peers/langgraph.ts'
import { memorySession } from '../peers/openai.ts'
import { contest, fastest, LeftOut, median, ratios, rounds, timed, type Contender } from '../rounds.ts'
import { textOf, texts, turnlog, type Conversation, type Subject } from '../subjects.ts'
import type { Options, Row, Workload } from '../workloads.ts'

export const loopWorkloads: readonly Workload[] = [
  { name: 'loop', run: agentLoop },
  { name: 'growth', run: growth }
]

/** They give out copies: what a reader does to what it has read is not done to the history. */
const ISOLATING = [memorySession, adk, memorySaver]
const OTHERS = [emmett, chatHistory]

const LENGTHS = [10, 100, 200, 1_000, 3_000, 6_000, 10_000, 30_000]

/** How many times as fast as the fastest peer that isolates, by the number of messages. */
const TARGETS: Readonly<Record<number, number>> = { 200: 5, 6_000: 200 }

async function agentLoop({ isQuick }: Options): Promise<Row[]> {
  const subjects: readonly Subject[] = [turnlog, ...ISOLATING, ...OTHERS]
  for (const subject of subjects) await warmUp(subject)
  const rows: Row[] = []
  for (const length of isQuick ? [10, 100, 200, 1_000, 6_000, 30_000] : LENGTHS) {
    const contenders = Object.fromEntries(
      subjects.map((subject): [string, Contender] => [subject.name, atLength(subject, length, isQuick ? 60 : 200)])
    )
    const { results, notes } = await contest(isQuick ? 3 : 9, contenders)
    const isolating = fastest(
      results,
      ISOLATING.map(({ name }) => name)
    )
    const ratio = median(ratios(isolating, results['turnlog']!))
    const target = TARGETS[length]
    rows.push({
      measure: `a turn at ${length.toLocaleString('en')} messages`,
      unit: 'µs',
      results,
      ...(target !== undefined && { target: `${target} × fastest that isolates`, isMet: ratio >= target }),
      reached: Number.isNaN(ratio)
        ? ''
        : `${ratio.toFixed(1)} ×${target === undefined ? ' fastest that isolates' : ''}`,
      notes,
      chart: { name: 'loop', x: length }
    })
  }
  return rows
}

/** Takes as many turns in a round as take about `budgetMs`, at most 100. */
function atLength(subject: Subject, length: number, budgetMs: number): Contender {
  let count = 0
  return async () => {
    if (count > 0) return turnsAt(subject, length, count)
    const first = await turnsAt(subject, length, 1)
    if (first > 1e6) throw new LeftOut(`a turn takes ${(first / 1e6).toFixed(1)} s`)
    count = Math.min(100, Math.max(1, Math.floor((budgetMs * 1000) / first)))
    return turnsAt(subject, length, count)
  }
}

async function growth({ isQuick }: Options): Promise<Row[]> {
  await warmUp(turnlog)
  const results = await rounds(isQuick ? 7 : 15, {
    'turnlog': () => turnsAt(turnlog, 8_000, 100),
    'at 100 turns': () => turnsAt(turnlog, 200, 100)
  })
  const ratio = median(ratios(results.turnlog, results['at 100 turns']))
  return [
    {
      measure: 'a turn at 4,000 turns, against one at 100',
      unit: 'µs',
      results,
      target: 'at most 2 ×',
      reached: `${ratio.toFixed(2)} ×`,
      isMet: ratio <= 2
    }
  ]
}

/**
 * µs per turn (read all, append two), of `count` turns. Sessions are about `length` messages long: so many turns are taken in
 * one that it is half as long in the beginning, and half as long again in the end, at most.
 */
async function turnsAt(subject: Subject, length: number, count: number): Promise<number> {
  const service = await subject.open('')
  const perSession = Math.min(count, Math.max(1, Math.floor(length / 2)))
  const before = length - 2 * Math.ceil(perSession / 2)
  const conversations: Conversation[] = []
  for (let turns = 0; turns < count; turns += perSession) {
    const conversation = await service.begin()
    await conversation.load(texts(before))
    conversations.push(conversation)
  }
  const said = texts(2 * perSession * conversations.length)
  let k = 0
  const perTurn = await timed(said.length / 2, async () => {
    for (const conversation of conversations) {
      for (let had = before; had < before + 2 * perSession; had += 2) {
        const messages = await conversation.read()
        if (messages[had - 1] === undefined || messages.length !== had) throw new Error('a message is missing')
        await conversation.append('user', said[k++]!)
        await conversation.append('assistant', said[k++]!)
      }
    }
  })
  await service.close()
  return perTurn
}

/**
 * V8 compiles what is called thousands of times: so often no subject runs a turn in the few rounds, but those that take long for one. And as in a running
 * program, something stays alive.
 */
export async function warmUp(subject: Subject): Promise<void> {
  try {
    const start = performance.now()
    for (let i = 0; i < 30 && performance.now() - start < 1_000; i++) await turnsAt(subject, 200, 100)
    const conversation = await (await subject.open('')).begin()
    await conversation.load(texts(2))
    await conversation.append('user', textOf(2))
    await conversation.read()
    alive.push(conversation)
  } catch (error) {
    // Another's failure is told where it is measured.
    if (subject === turnlog) throw error
  }
}

const alive: Conversation[] = []
