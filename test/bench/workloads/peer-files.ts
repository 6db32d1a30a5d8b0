import { Bare, Place } from '../files.ts'
import { adkSqlite, adkSqliteDefault } from '../peers/adk.ts'
import { emmettSqlite } from '../peers/emmett.ts'
import { sqliteSaver, sqliteSaverDefault } from '../peers/langgraph.ts'
import { contest, fastest, LeftOut, median, perSecond, ratios, timed, type Contender } from '../rounds.ts'
import { roleOf, texts, turnlogSqlite, type Conversation, type Subject } from '../subjects.ts'
import type { Options, Row, Workload } from '../workloads.ts'

// Those that keep conversations in an SQLite file, at the same durability: what was acknowledged is on the disk.

export const peerFileWorkloads: readonly Workload[] = [
  { name: 'sqlite-peers', run: at64 },
  { name: 'append-sessions-sqlite', run: bySessions },
  { name: 'loading', run: loading }
]

/** Who appends to `sessions` sessions at once, and how many messages in a round to all of them: so many that it takes a second or two. */
interface Entry {
  readonly subject: Subject
  readonly messages: number
}

const EQUAL: readonly Entry[] = [
  { subject: turnlogSqlite, messages: 6_400 },
  { subject: emmettSqlite, messages: 640 },
  // In its favour, few to a session: each of its checkpoints has all messages so far.
  { subject: sqliteSaver, messages: 640 },
  { subject: adkSqlite, messages: 128 }
]

const AS_THEY_ARE: readonly Entry[] = [
  { subject: sqliteSaverDefault, messages: 640 },
  { subject: adkSqliteDefault, messages: 64 }
]

const OWN_POOL =
  'emmett has one connection, and a call at a time: with its own pool calls at once fail with SQLITE_BUSY, or within a transaction of another'

async function at64({ isQuick }: Options): Promise<Row[]> {
  await using place = await Place.make()
  const named = new Map<Subject, string>()
  for (const { subject } of [...EQUAL, ...AS_THEY_ARE]) named.set(subject, await withSettings(subject, place))
  const contenders = Object.fromEntries([
    ...[...EQUAL, ...AS_THEY_ARE].map(({ subject, messages }): [string, Contender] => [
      named.get(subject)!,
      () => appendAtOnce(subject, 64, messages, place)
    ]),
    ['bare, commits of 100', () => bareAppends(64, 6_400, place)]
  ])
  const { results: micros, notes } = await contest(isQuick ? 3 : 9, contenders)
  const results = perSecond(micros)
  const ours = results[named.get(turnlogSqlite)!]!
  const times = [emmettSqlite, sqliteSaver].map((subject) => {
    const theirs = results[named.get(subject)!]
    return theirs === undefined ? NaN : median(ratios(ours, theirs))
  })
  return [
    {
      measure: 'SQLite: 64 sessions appending at once',
      unit: '/s',
      results,
      target: '5 × emmett, 5 × SqliteSaver',
      reached: times.map((ratio) => (Number.isNaN(ratio) ? 'not measured' : `${ratio.toFixed(1)} ×`)).join(', '),
      isMet: times.every((ratio) => ratio >= 5),
      notes: [...notes, OWN_POOL]
    }
  ]
}

async function bySessions({ isQuick }: Options): Promise<Row[]> {
  await using place = await Place.make()
  const rows: Row[] = []
  for (const sessions of [1, 8, 64, 512]) {
    const contenders = Object.fromEntries([
      ...EQUAL.map(({ subject, messages }): [string, Contender] => {
        // A single loop waits for the disk after each.
        const count = Math.max(sessions, sessions === 1 ? Math.min(messages, 200) : isQuick ? messages / 2 : messages)
        return [subject.name, () => appendAtOnce(subject, sessions, count, place)]
      }),
      ['bare, commits of 100', () => bareAppends(sessions, 6_400, place)]
    ])
    const { results: micros, notes } = await contest(isQuick ? 2 : 7, contenders)
    const results = perSecond(micros)
    const peers = EQUAL.slice(1).map(({ subject }) => subject.name)
    const ratio = median(ratios(results[turnlogSqlite.name]!, mostOf(results, peers)))
    rows.push({
      measure: `SQLite: appends, ${counted(sessions, 'session')} at once`,
      unit: '/s',
      results,
      reached: `${ratio.toFixed(1)} × the fastest peer`,
      notes,
      chart: { name: 'append-sqlite', x: sessions }
    })
  }
  return rows
}

/** Round by round the highest rate. */
export function mostOf(rates: Row['results'], names: readonly string[]): number[] {
  const micros = Object.fromEntries(Object.entries(rates).map(([name, values]) => [name, values.map((v) => 1 / v)]))
  return fastest(micros, names).map((value) => 1 / value)
}

export function counted(count: number, what: string): string {
  return `${count.toLocaleString('en')} ${what}${count === 1 ? '' : 's'}`
}

/** µs per append of `messages` in all, a loop for each of `sessions` that waits for each. */
export async function appendAtOnce(
  subject: Subject,
  sessions: number,
  messages: number,
  place: Place
): Promise<number> {
  const service = await subject.open(place.fresh())
  try {
    const each = Math.ceil(messages / sessions)
    const said = (): string[][] => Array.from({ length: sessions }, () => texts(each))
    const begun = async (name: string): Promise<Conversation[]> => {
      const conversations: Conversation[] = []
      for (let i = 0; i < sessions; i++) conversations.push(await service.begin(`${name}-${i}`))
      return conversations
    }
    const appendAll = (conversations: readonly Conversation[], all: readonly string[][]): Promise<unknown> =>
      Promise.all(
        conversations.map(async (conversation, session) => {
          for (const [i, text] of all[session]!.entries()) await conversation.append(roleOf(i), text)
        })
      )
    // As much again before, to other sessions: whoever has just been opened, a thread above all, has yet to compile what it does.
    await appendAll(await begun('before'), said())
    const conversations = await begun('session')
    const all = said()
    const micros = await timed(each * sessions, () => appendAll(conversations, all))
    const stored = (await conversations.at(-1)!.read()).length
    if (stored !== each) throw new Error(`of ${each} messages of a session, ${stored} are there`)
    return micros
  } finally {
    await service.close()
  }
}

async function bareAppends(sessions: number, count: number, place: Place): Promise<number> {
  const bare = new Bare(place.fresh(), sessions)
  const micros = await timed(count, async () => bare.commits(count, 100))
  bare.close()
  return micros
}

const SYNCHRONOUS = ['OFF', 'NORMAL', 'FULL', 'EXTRA']

/** Its name, with what its own connection says of how it is durable. */
async function withSettings(subject: Subject, place: Place): Promise<string> {
  try {
    const service = await subject.open(place.fresh())
    const { journal_mode, synchronous } = await service.settings!()
    await service.close()
    return `${subject.name} (${journal_mode}, ${SYNCHRONOUS[synchronous]})`
  } catch {
    // It fails again where it is measured, and why is said there.
    return subject.name
  }
}

async function loading({ isQuick }: Options): Promise<Row[]> {
  await using place = await Place.make()
  const rows: Row[] = []
  // ADK appends one by one; of SqliteSaver's, reading takes many seconds.
  const most = new Map([
    [adkSqlite, isQuick ? 1_000 : 10_000],
    [sqliteSaver, isQuick ? 10_000 : 100_000]
  ])
  for (const length of [1_000, 10_000, 100_000]) {
    const paths = new Map<Subject, string>()
    const contenders = Object.fromEntries(
      [turnlogSqlite, emmettSqlite, sqliteSaver, adkSqlite].map((subject): [string, Contender] => [
        subject.name,
        async () => {
          if (!paths.has(subject))
            paths.set(subject, await filled(subject, length, most.get(subject) ?? Infinity, place))
          return firstRead(subject, paths.get(subject)!, length)
        }
      ])
    )
    const { results, notes } = await contest(isQuick ? 2 : 7, contenders)
    const peers = Object.keys(results).slice(1)
    const ratio = median(ratios(fastest(results, peers), results[turnlogSqlite.name]!))
    rows.push({
      measure: `SQLite: first read of ${length.toLocaleString('en')} messages`,
      unit: 'ms',
      results,
      reached: `${ratio.toFixed(2)} × as fast as the fastest peer`,
      notes,
      chart: { name: 'loading', x: length }
    })
  }
  return rows
}

async function filled(subject: Subject, length: number, most: number, place: Place): Promise<string> {
  if (length > most) throw new LeftOut('with so many messages it takes minutes')
  const path = place.fresh()
  const service = await subject.open(path)
  const conversation = await service.begin('long')
  // A statement of emmett's has but so many values. SqliteSaver, in its favour, gets all at once: one checkpoint.
  const atOnce = subject === sqliteSaver ? length : 1_000
  for (let i = 0; i < length; i += atOnce) await conversation.load(texts(atOnce))
  await service.close()
  return path
}

/** ms, from a file that is not open. The pages are with the operating system. */
async function firstRead(subject: Subject, path: string, length: number): Promise<number> {
  const service = await subject.open(path)
  const conversation = service.find('long')
  const micros = await timed(1_000, async () => {
    const found = (await conversation.read()).length
    if (found !== length) throw new Error(`${found} of ${length} messages`)
  })
  await service.close()
  return micros
}
