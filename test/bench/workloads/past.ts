import { createSessionHistory } from '../../../dist/index.js'
import { Place } from '../files.ts'
import { adk, adkSqlite } from '../peers/adk.ts'
import { emmett } from '../peers/emmett.ts'
import { memorySaver } from '../peers/langgraph.ts'
import { memorySession } from '../peers/openai.ts'
import { contest, fastest, LeftOut, median, ratios, rounds, timed, type Contender, type Results } from '../rounds.ts'
import {
  roleOf,
  textOf,
  texts,
  turnlog,
  turnlogMessage,
  turnlogSqlite,
  type Conversation,
  type Service,
  type Subject
} from '../subjects.ts'
import type { Options, Row, Workload } from '../workloads.ts'

// What else is asked of a history than its newest messages.

export const pastWorkloads: readonly Workload[] = [
  { name: 'past', run: past },
  { name: 'fork', run: forks },
  { name: 'rewind', run: rewinds },
  { name: 'listing', run: listing },
  { name: 'race', run: race }
]

async function past({ isQuick }: Options): Promise<Row[]> {
  const history = await createSessionHistory()
  const session = await history.createSession('user', 'past')
  const said = texts(1000)
  // The first event is `created`.
  for (let i = 0; i < 100; i++) {
    const messages = said.map((text, k) => turnlogMessage(roleOf(k), text))
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
    },
    await pastOfPeers(isQuick)
  ]
}

/** Short, as MemorySaver keeps all messages with each version. */
async function pastOfPeers(isQuick: boolean): Promise<Row> {
  const length = 300
  const { results, notes } = await contest(
    isQuick ? 5 : 15,
    Object.fromEntries(
      [turnlog, emmett, memorySaver].map((subject): [string, Contender] => {
        let made: Promise<Conversation> | undefined
        const count = subject === memorySaver ? 50 : 2_000
        return [
          subject.name,
          async () => {
            const conversation = await (made ??= appended(subject, length))
            const lengths = Array.from({ length: count }, () => 1 + Math.floor(Math.random() * length))
            return timed(count, async () => {
              for (const at of lengths) {
                const then = (await conversation.readAt!(at)).length
                if (then !== at) throw new Error(`asked for ${at} messages, got ${then}`)
              }
            })
          }
        ]
      })
    )
  )
  return {
    measure: `and of ${length} messages`,
    unit: 'µs',
    results,
    reached: `${timesOf(results, ['MemorySaver'])} as fast as MemorySaver`,
    notes
  }
}

async function appended(subject: Subject, length: number): Promise<Conversation> {
  const conversation = await (await subject.open('')).begin()
  for (const [i, text] of texts(length).entries()) await conversation.append(roleOf(i), text)
  return conversation
}

async function forks({ isQuick }: Options): Promise<Row[]> {
  const rows: Row[] = []
  for (const length of [1_000, 10_000, 100_000]) {
    const array = texts(length).map((text, i) => turnlogMessage(roleOf(i), text))
    const forked = (subject: Subject, count: number): Contender => {
      let made: Promise<Conversation> | undefined
      return async () => {
        const conversation = await (made ??= loaded(subject, length))
        return timed(count, async () => {
          for (let i = 0; i < count; i++) await conversation.fork!()
        })
      }
    }
    const copies: unknown[] = []
    const copied = (count: number, copy: () => unknown): Contender => {
      return () =>
        timed(count, async () => {
          for (let i = 0; i < count; i++) copies[0] = copy()
        })
    }
    const { results, notes } = await contest(isQuick ? 3 : 9, {
      'turnlog': forked(turnlog, 100),
      'MemorySession, copied': forked(memorySession, length > 10_000 ? 1 : 5),
      'bare: the array': copied(100, () => array.slice()),
      'bare: structuredClone': copied(length > 10_000 ? 1 : 5, () => structuredClone(array))
    })
    rows.push({
      measure: `a fork of ${length.toLocaleString('en')} messages`,
      unit: 'µs',
      results,
      reached: `${timesOf(results, ['MemorySession, copied'])} as fast as a copied MemorySession`,
      notes,
      chart: { name: 'fork', x: length }
    })
  }
  return rows
}

/** Back by one message, again and again, and what is left is read. */
async function rewinds({ isQuick }: Options): Promise<Row[]> {
  const rows: Row[] = []
  for (const length of [300, 3_000]) {
    const contender = (subject: Subject, count: number): Contender => {
      return async () => {
        // LangGraph goes back to checkpoints, which only what was appended makes; all of them at 3,000 do not fit in memory.
        if (subject === memorySaver && length > 300) throw new LeftOut('its checkpoints would take gigabytes')
        const conversation = await (subject === memorySaver ? appended : loaded)(subject, length)
        return timed(count, async () => {
          for (let left = length - 1; left >= length - count; left--) {
            const found = (await conversation.rewind!(left)).length
            if (found !== left) throw new Error(`${found} messages are left instead of ${left}`)
          }
        })
      }
    }
    const { results, notes } = await contest(isQuick ? 3 : 9, {
      turnlog: contender(turnlog, 200),
      MemorySession: contender(memorySession, 20),
      MemorySaver: contender(memorySaver, 20)
    })
    rows.push({
      measure: `back by one of ${length.toLocaleString('en')} messages, and read`,
      unit: 'µs',
      results,
      reached: `${timesOf(results, ['MemorySession', 'MemorySaver'])} as fast as the fastest peer`,
      notes,
      chart: { name: 'rewind', x: length }
    })
  }
  return rows
}

async function loaded(subject: Subject, length: number): Promise<Conversation> {
  const conversation = await (await subject.open('')).begin()
  await conversation.load(texts(length))
  return conversation
}

async function listing({ isQuick }: Options): Promise<Row[]> {
  await using place = await Place.make()
  const rows: Row[] = []
  for (const sessions of [10, 1_000, 10_000]) {
    const open: Service[] = []
    const contender = (subject: Subject, count: number, most: number): Contender => {
      let made: Promise<Service> | undefined
      return async () => {
        if (sessions > most) throw new LeftOut('to make so many sessions takes minutes')
        const service = await (made ??= withSessions(subject, sessions, place))
        if (!open.includes(service)) open.push(service)
        return timed(count, async () => {
          for (let i = 0; i < count; i++) {
            const found = (await service.list!(50)).length
            if (found !== Math.min(50, sessions)) throw new Error(`${found} sessions`)
          }
        })
      }
    }
    const { results, notes } = await contest(isQuick ? 3 : 9, {
      'turnlog': contender(turnlog, 50, Infinity),
      'turnlog, SQLite': contender(turnlogSqlite, 50, Infinity),
      'ADK': contender(adk, sessions > 1_000 ? 3 : 20, Infinity),
      'ADK, SQLite': contender(adkSqlite, 20, isQuick ? 10 : 1_000)
    })
    await Promise.all(open.map((service) => service.close()))
    const inMemory = timesOf(results, ['ADK'])
    const onDisk = median(ratios(results['ADK, SQLite'] ?? [], results['turnlog, SQLite']!))
    rows.push({
      measure: `first page of 50, of ${sessions.toLocaleString('en')} sessions`,
      unit: 'µs',
      results,
      reached: `${inMemory} as fast as ADK${Number.isNaN(onDisk) ? '' : `; SQLite: ${onDisk.toFixed(1)} ×`}`,
      notes,
      chart: { name: 'listing', x: sessions }
    })
  }
  return rows
}

async function withSessions(subject: Subject, count: number, place: Place): Promise<Service> {
  const service = await subject.open(place.fresh())
  const begin = (i: number): Promise<Conversation> => service.begin(`session-${i}`)
  // At once, the first two of ADK's user would both make what it keeps of a user, and one of them fails.
  await begin(0)
  for (let i = 1; i < count; i += 100)
    await Promise.all(Array.from({ length: Math.min(100, count - i) }, (_, k) => begin(i + k)))
  return service
}

/** 8 writers read and append to the same 64 sessions. What is not there in the end was acknowledged, and is lost. */
async function race({ isQuick }: Options): Promise<Row[]> {
  const [writers, sessions, each] = [8, 64, 2]
  const appends = writers * sessions * each
  const lost = new Map<string, number>()
  const subjects = [turnlog, emmett, memorySession, adk, memorySaver]
  const contenders = Object.fromEntries(
    subjects.map((subject): [string, Contender] => [
      subject.name,
      async () => {
        const service = await subject.open('')
        const ids = Array.from({ length: sessions }, (_, i) => `session-${i}`)
        const begun: Conversation[] = []
        for (const id of ids) begun.push(await service.begin(id))
        const micros = await timed(appends, () =>
          Promise.all(
            Array.from({ length: writers }, async (_, writer) => {
              for (const id of ids) {
                const conversation = service.find(id)
                for (let i = 0; i < each; i++) await appendOnce(conversation, textOf(writer))
              }
            })
          )
        )
        let stored = 0
        for (const conversation of begun) stored += (await conversation.read()).length
        lost.set(subject.name, Math.max(lost.get(subject.name) ?? 0, appends - stored))
        await service.close()
        return micros
      }
    ])
  )
  const { results, notes } = await contest(isQuick ? 5 : 15, contenders)
  const ours = lost.get('turnlog')!
  return [
    {
      measure: '8 writers, the same 64 sessions: an append',
      unit: 'µs',
      results,
      target: 'nothing is lost',
      reached: `${ours} of ${appends.toLocaleString('en')} lost`,
      isMet: ours === 0,
      notes: [
        ...notes,
        'turnlog and emmett: with the version that was read, again after a conflict; the others have no such condition',
        ...[...lost].slice(1).map(([name, count]) => `${name}: ${count} of ${appends.toLocaleString('en')} lost`)
      ]
    }
  ]
}

async function appendOnce(conversation: Conversation, text: string): Promise<void> {
  for (;;) {
    const messages = await conversation.read()
    if (!conversation.appendIf) return void (await conversation.append('user', text))
    if (await conversation.appendIf(messages.length, 'user', text)) return
  }
}

/** How many times as fast as the fastest of them ours is. */
function timesOf(results: Results, names: readonly string[]): string {
  const ratio = median(ratios(fastest(results, names), results['turnlog']!))
  return Number.isNaN(ratio) ? 'not measured' : `${ratio.toFixed(1)} ×`
}
