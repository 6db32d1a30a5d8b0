import { createSessionHistory } from '../../dist/index.js'
import { median, ratios, rounds, timed, type Contender, type Results } from './rounds.ts'
import { adapterWorkloads } from './adapters.ts'
import { growthWorkloads } from './growth.ts'
import { inspectorWorkloads } from './inspector.ts'
import { memoryWorkloads } from './memory.ts'
import { natsWorkloads } from './nats.ts'
import { postgresWorkloads } from './postgres.ts'
import { sqliteWorkloads } from './sqlite.ts'
import { adk, emmett, memorySession, roleOf, textOf, turnlog, type Conversation, type Subject } from './subjects.ts'

/** One measure, with its target. */
export interface Workload {
  /** For `--only`. */
  readonly name: string
  readonly run: (options: { readonly isQuick: boolean }) => Promise<Row[]>
}

/** A row of the table. The first result is ours. */
export interface Row {
  readonly measure: string
  readonly unit: 'µs' | 'ms' | '/s' | 'bytes' | ''
  readonly results: Results
  /** What was to be reached, if anything was. */
  readonly target?: string
  /** What is held against the target, and how it came out; without a target, what the row comes to in a word. */
  readonly reached: string
  /** Where there is a target. */
  readonly isMet?: boolean
  /** The point of a chart that the row is: rows of one chart differ in `x`, and have a line for each of their results. */
  readonly chart?: { readonly name: string; readonly x: number }
}

export const workloads: readonly Workload[] = [
  { name: 'loop', run: agentLoop },
  { name: 'growth', run: growth },
  { name: 'append', run: shortAppends },
  { name: 'burst', run: burst },
  { name: 'past', run: past },
  ...memoryWorkloads,
  ...growthWorkloads,
  ...sqliteWorkloads,
  ...postgresWorkloads,
  ...natsWorkloads,
  ...adapterWorkloads,
  ...inspectorWorkloads
]

async function agentLoop({ isQuick }: { readonly isQuick: boolean }): Promise<Row[]> {
  for (const subject of [turnlog, memorySession, adk, emmett]) await warmUp(subject)
  const results = await rounds(isQuick ? 3 : 9, {
    turnlog: () => turnsAt(turnlog, 3000, 100),
    MemorySession: () => turnsAt(memorySession, 3000, isQuick ? 4 : 10),
    ADK: () => turnsAt(adk, 3000, isQuick ? 2 : 4),
    // Gives out the stored objects themselves: no isolation.
    emmett: () => turnsAt(emmett, 3000, 100)
  })
  const ratio = median(ratios(results.MemorySession, results.turnlog))
  return [
    {
      measure: 'agent loop, a turn at 3,000 turns',
      unit: 'µs',
      results,
      target: '200 × MemorySession',
      reached: `${ratio.toFixed(0)} ×`,
      isMet: ratio >= 200
    }
  ]
}

async function growth({ isQuick }: { readonly isQuick: boolean }): Promise<Row[]> {
  await warmUp(turnlog)
  const results = await rounds(isQuick ? 7 : 15, {
    'turnlog': () => turnsAt(turnlog, 3000, 100),
    'at 100 turns': () => turnsAt(turnlog, 100, 100)
  })
  const ratio = median(ratios(results.turnlog, results['at 100 turns']))
  return [
    {
      measure: 'the same, against a turn at 100 turns',
      unit: 'µs',
      results,
      target: 'at most 2.5 ×',
      reached: `${ratio.toFixed(2)} ×`,
      isMet: ratio <= 2.5
    }
  ]
}

// µs per turn (read all, append two), `count` turns of which the one in the middle is the `turn`-th of its session.
async function turnsAt(subject: Subject, turn: number, count: number): Promise<number> {
  const service = await subject.open()
  const conversation = await service.begin()
  const before = 2 * (turn - count / 2)
  await conversation.load(texts(before))
  const said = texts(2 * count)
  const perTurn = await timed(count, async () => {
    for (let i = 0; i < said.length; i += 2) {
      const messages = await conversation.read()
      if (messages[before + i - 1] === undefined || messages.length !== before + i)
        throw new Error('A message is missing')
      await conversation.append('user', said[i]!)
      await conversation.append('assistant', said[i + 1]!)
    }
  })
  await service.close()
  return perTurn
}

// V8 compiles what is called thousands of times: so often no subject runs a turn in the few rounds. And as in a running
// program, something stays alive.
async function warmUp(subject: Subject): Promise<void> {
  for (let i = 0; i < 20; i++) await turnsAt(subject, 100, 150)
  const conversation = await (await subject.open()).begin()
  await conversation.load(texts(2))
  await conversation.append('user', textOf(2))
  await conversation.read()
  alive.push(conversation)
}

const alive: Conversation[] = []

async function shortAppends({ isQuick }: { readonly isQuick: boolean }): Promise<Row[]> {
  const subjects = [turnlog, emmett, adk, memorySession]
  for (const subject of subjects) await warmUp(subject)
  const contenders = Object.fromEntries(
    subjects.map((subject): [string, Contender] => [subject.name, () => appendsTo(subject, 200, 50)])
  )
  const results = await rounds(isQuick ? 9 : 25, contenders)
  const fastest = results['emmett']!.map((value, i) => Math.min(value, results['ADK']![i]!))
  const ratio = median(ratios(results['turnlog']!, fastest))
  const aim = median(ratios(results['turnlog']!, results['MemorySession']!))
  return [
    {
      measure: 'an awaited append, 50 to a session',
      unit: 'µs',
      results,
      target: 'faster of emmett and ADK',
      reached: `${ratio.toFixed(2)} × (${aim.toFixed(2)} × MemorySession; aim: 2 ×)`,
      isMet: ratio <= 1
    }
  ]
}

// µs per append, one after the other; sessions are begun before.
async function appendsTo(subject: Subject, sessions: number, perSession: number): Promise<number> {
  const service = await subject.open()
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

async function burst({ isQuick }: { readonly isQuick: boolean }): Promise<Row[]> {
  const at20000 = (subject: Subject) => async (): Promise<number> => {
    const service = await subject.open()
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
  const results = { turnlog: perSecond(micros.turnlog), MemorySession: perSecond(micros.MemorySession) }
  const rate = median(results.turnlog)
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

async function past({ isQuick }: { readonly isQuick: boolean }): Promise<Row[]> {
  const history = await createSessionHistory()
  const session = await history.createSession('user', 'past')
  const said = texts(1000)
  // The first event is `created`.
  for (let i = 0; i < 100; i++) {
    const messages = said.map((text, k) => ({ role: roleOf(k), content: [{ type: 'text' as const, text }] }))
    await history.appendMessage(session, i < 99 ? messages : messages.slice(1))
  }
  const versions = Array.from({ length: 10_000 }, () => 1 + Math.floor(Math.random() * 100_000))
  const results = await rounds(isQuick ? 7 : 15, {
    turnlog: () =>
      timed(versions.length, async () => {
        for (const at of versions) {
          const then = await history.getSession('user', 'past', { at })
          if (then?.version !== at) throw new Error(`Asked for version ${at}, got ${then?.version}`)
        }
      })
  })
  await history.stop()
  const reached = median(results.turnlog)
  return [
    {
      measure: 'any past version of 100,000 events',
      unit: 'µs',
      results,
      target: '10 µs',
      reached: `${reached.toFixed(1)} µs`,
      isMet: reached <= 10
    }
  ]
}

function texts(count: number): string[] {
  return Array.from({ length: count }, (_, i) => textOf(i))
}

function perSecond(micros: readonly number[]): number[] {
  return micros.map((value) => 1e6 / value)
}
