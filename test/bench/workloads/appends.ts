import { Place } from '../files.ts'
import { adk } from '../peers/adk.ts'
import { emmett } from '../peers/emmett.ts'
import { chatHistory } from '../peers/langchain.ts'
import { memorySaver } from '../peers/langgraph.ts'
import { memorySession } from '../peers/openai.ts'
import { contest, fastest, median, perSecond, ratios, rounds, timed, type Contender } from '../rounds.ts'
import { roleOf, texts, turnlog, type Conversation, type Subject } from '../subjects.ts'
import type { Options, Row, Workload } from '../workloads.ts'
import { warmUp } from './loop.ts'
import { appendAtOnce, counted, mostOf } from './peer-files.ts'

export const appendWorkloads: readonly Workload[] = [
  { name: 'append', run: shortAppends },
  { name: 'append-sessions', run: bySessions },
  { name: 'burst', run: burst }
]

async function shortAppends({ isQuick }: Options): Promise<Row[]> {
  const subjects = [turnlog, memorySession, emmett, adk, chatHistory]
  for (const subject of subjects) await warmUp(subject)
  const { results, notes } = await contest(
    isQuick ? 9 : 25,
    Object.fromEntries(
      subjects.map((subject): [string, Contender] => [subject.name, () => appendsTo(subject, 200, 50)])
    )
  )
  const ours = results['turnlog']!
  const ratio = median(ratios(ours, results['MemorySession']!))
  const toOthers = median(ratios(ours, fastest(results, ['emmett', 'ADK'])))
  return [
    {
      measure: 'an awaited append, 50 to a session',
      unit: 'µs',
      results,
      target: '3 × MemorySession (aim: 2 ×)',
      reached: `${ratio.toFixed(2)} ×`,
      isMet: ratio <= 3,
      notes
    },
    {
      measure: 'the same, against emmett and ADK',
      unit: 'µs',
      results: { turnlog: ours },
      target: 'faster of emmett and ADK',
      reached: `${toOthers.toFixed(2)} ×`,
      isMet: toOthers <= 1
    }
  ]
}

/** µs per append, one after the other; sessions are begun before. */
async function appendsTo(subject: Subject, sessions: number, perSession: number): Promise<number> {
  const service = await subject.open('')
  const conversations: Conversation[] = []
  for (let i = 0; i < sessions; i++) conversations.push(await service.begin())
  const said = texts(sessions * perSession)
  const perAppend = await timed(said.length, async () => {
    let i = 0
    for (const conversation of conversations) {
      for (let k = 0; k < perSession; k++) await conversation.append(roleOf(k), said[i++]!)
    }
  })
  await service.close()
  return perAppend
}

async function bySessions({ isQuick }: Options): Promise<Row[]> {
  await using place = await Place.make()
  const subjects = [turnlog, memorySession, emmett, adk, memorySaver, chatHistory]
  for (const subject of subjects) await warmUp(subject)
  const rows: Row[] = []
  for (const sessions of [1, 8, 64, 512]) {
    const contenders = Object.fromEntries(
      subjects.map((subject): [string, Contender] => {
        // In its favour, few to a session: each of its checkpoints has all messages so far.
        const messages = subject === memorySaver ? Math.max(20, 2 * sessions) : 5_120
        return [subject.name, () => appendAtOnce(subject, sessions, messages, place)]
      })
    )
    const { results: micros, notes } = await contest(isQuick ? 5 : 15, contenders)
    const results = perSecond(micros)
    const isolating = [memorySession, adk, memorySaver].map(({ name }) => name)
    const ratio = median(ratios(results['turnlog']!, mostOf(results, isolating)))
    rows.push({
      measure: `in memory: appends, ${counted(sessions, 'session')} at once`,
      unit: '/s',
      results,
      reached: `${ratio.toFixed(2)} × the fastest that isolates`,
      notes,
      chart: { name: 'append-memory', x: sessions }
    })
  }
  return rows
}

async function burst({ isQuick }: Options): Promise<Row[]> {
  const at20000 = (subject: Subject) => async (): Promise<number> => {
    const service = await subject.open('')
    const conversation = await service.begin()
    const said = texts(20_000)
    const perAppend = await timed(said.length, () =>
      Promise.all(said.map((text, i) => conversation.append(roleOf(i), text)))
    )
    const stored = (await conversation.read()).length
    if (stored !== said.length) throw new Error(`${subject.name} has ${stored} of ${said.length} messages`)
    await service.close()
    return perAppend
  }
  for (const subject of [turnlog, memorySession]) await warmUp(subject)
  const micros = await rounds(isQuick ? 3 : 9, { turnlog: at20000(turnlog), MemorySession: at20000(memorySession) })
  const results = perSecond(micros)
  const rate = median(results['turnlog']!)
  return [
    {
      measure: '20,000 appends at once to one session',
      unit: '/s',
      results,
      target: '50,000/s',
      reached: `${Math.round(rate).toLocaleString('en')}/s`,
      isMet: rate >= 50_000
    }
  ]
}
