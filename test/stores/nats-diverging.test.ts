import { afterEach, describe, expect, it, vi } from 'vitest'
import { JetStreamError, type Connection } from '../../src/stores/nats/connection.ts'
import { hasLog, Logs, type LogEnd } from '../../src/stores/nats/logs.ts'
import { HEADER, linkTo, type Ending, type Stored } from '../../src/stores/nats/records.ts'
import { begin, TRIP } from '../../src/testing/kit.ts'

// A consumer falls on any server of a cluster. One that was away may lack messages, or have others at the same sequences: seen of
// server 2.9.10, where nodes were killed one after the other.

const PLACE = { stream: 'logs', subject: 'log' }

/** What the server has that a consumer falls on, one after the other; the last again and again. */
let replicas: Stored[][] = []
let consumers = 0

vi.mock('../../src/stores/nats/pull.ts', () => ({
  async *pull(_: unknown, __: string, { opt_start_seq: from = 0 }: { opt_start_seq?: number }) {
    const messages = replicas[Math.min(consumers++, replicas.length - 1)]!.filter(({ seq }) => seq >= from)
    for (let i = 0; i < messages.length; i += 4) yield messages.slice(i, i + 4)
  },
  async *newestOfEach() {
    const newest = new Map(replicas[Math.min(consumers++, replicas.length - 1)]!.map((each) => [each.subject, each]))
    if (newest.size > 0) yield Array.from(newest.values())
  }
}))

afterEach(() => {
  consumers = 0
})

describe('a log of which a replica', () => {
  const log = chain(30)

  it.each<[string, Stored[]]>([
    ['has all', log],
    ['has nothing', []],
    ['lacks the end', log.slice(0, 11)],
    ['lacks the beginning', log.slice(11)],
    ['lacks some in the midst', [...log.slice(0, 9), ...log.slice(14)]],
    ['has another in the midst', log.with(13, { ...log[13]!, note: { ...log[13]!.note, id: 'another' } as Ending })],
    ['has others from there on', [...log.slice(0, 6), ...chain(30, 'x').slice(6)]],
    ['has others that follow', [...log.slice(0, 6), ...chain(24, 'x', log[5])]]
  ])('%s, is read as the leader has it', async (_, replica) => {
    replicas = [replica]
    const logs = logsOf(log)
    const end = await logs.end(PLACE)
    const read: Stored[] = []
    for await (const page of logs.from(PLACE, 1, end as LogEnd)) read.push(...page)
    expect(hasLog(end)).toBe(true)
    expect(read.map(linkTo)).toEqual(log.map(linkTo))
  })
})

describe('a purge that does not count', () => {
  // Another writer was first, and the server has acknowledged both.
  const log = chain(400)
  const purged = (seq: number, after: Stored): Stored => ({
    subject: PLACE.subject,
    seq,
    note: { kind: 'purged', id: 'late', after: linkTo(after) },
    body: new Uint8Array()
  })

  it('erases nothing', async () => {
    const logs = logsOf([...log, purged(401, log[398]!)])
    await logs.erasePurged(PLACE, 401)
    expect(purges).toEqual([])
  })

  // Other sessions have what is between, so that a search by halves comes upon it.
  it.each([50, 150, 300])('hides nothing of a read that begins in the midst (%i others before it)', async (others) => {
    const moved = log.slice(201).map((each) => ({ ...each, seq: each.seq + others }))
    const all = relinked([...log.slice(0, 201), ...moved])
    const messages = [...all.slice(0, 201), purged(201 + others, all[199]!), ...all.slice(201)]
    replicas = [messages]
    const logs = logsOf(messages)
    for (const from of [50, 150, 199, 200, 201, 300]) {
      const read: number[] = []
      for await (const page of logs.from(PLACE, from, (await logs.end(PLACE)) as LogEnd))
        for (const { note } of page) if (note.kind === 'commit') read.push(note.summary.version)
      expect(read.filter((version) => version >= from)).toEqual(Array.from({ length: 401 - from }, (_, i) => from + i))
    }
  })
})

describe('a list', () => {
  const all = Array.from({ length: 6 }, (_, i) => stored(i + 1, `m${i}`, '', 1, `log.ada.${i}`))

  it('of a user has the sessions that the leader has, whatever the server lacks', async () => {
    replicas = [all.slice(2, 4)]
    const seen = new Set<string>()
    for await (const page of logsOf(all).newestOfEach({ stream: 'logs', subject: 'log.ada.*' }))
      for (const { subject } of page) seen.add(subject)
    expect(seen.size).toBe(6)
  })

  it('is asked for again where the server lacks sessions that the leader has', async () => {
    replicas = [all.slice(3), all.slice(0, 4), all]
    const seen = new Map<string, number>()
    for await (const page of logsOf(all).newestOfEach({ stream: 'logs', subject: 'log.*.*' }))
      for (const { subject, seq } of page) seen.set(subject, seq)
    expect(Array.from(seen.values()).toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6])
  })

  it('fails where all servers lack them, instead of being short', async () => {
    replicas = [all.slice(3)]
    const listing = logsOf(all).newestOfEach({ stream: 'logs', subject: 'log.*.*' })
    const whole = async (): Promise<void> => {
      for await (const _ of listing) continue
    }
    await expect(whole()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', outcome: 'not-stored' })
  })
})

/** Commits of one log, each after the one before. */
function chain(count: number, name = 'm', base?: Stored): Stored[] {
  const log: Stored[] = []
  for (let i = 1; i <= count; i++) {
    const before = log.at(-1) ?? base
    const seq = (base?.seq ?? 0) + i
    log.push(stored(seq, `${name}${seq}`, before ? linkTo(before) : '', seq))
  }
  return log
}

function stored(seq: number, id: string, after: string, version: number, subject = PLACE.subject): Stored {
  const note: Ending = {
    kind: 'commit',
    id,
    after,
    logId: 'one',
    from: version,
    summary: { ...begin(TRIP).summary, version }
  }
  return { subject, seq, note, body: new Uint8Array() }
}

/** The same messages, each of which names the one before it as it is now. */
function relinked(messages: readonly Stored[]): Stored[] {
  const log: Stored[] = []
  for (const message of messages)
    log.push({ ...message, note: { ...message.note, after: log.length === 0 ? '' : linkTo(log.at(-1)!) } as Ending })
  return log
}

/** Calls that erase something. */
let purges: object[] = []

interface Question {
  readonly seq?: number
  readonly last_by_subj?: string
  readonly next_by_subj?: string
  readonly subjects_filter?: string
}

/** By a leader that has these messages. */
function logsOf(messages: readonly Stored[]): Logs {
  purges = []
  const api = async (call: string, question: Question): Promise<object> => {
    const { seq, last_by_subj: last, next_by_subj: next, subjects_filter: filter } = question
    if (call.startsWith('STREAM.PURGE')) return { purged: purges.push(question) }
    if (call.startsWith('STREAM.INFO')) {
      const subjects = new Set(messages.map((each) => each.subject))
      const named = filter !== undefined && { subjects: Object.fromEntries(Array.from(subjects, (name) => [name, 1])) }
      return { state: { last_seq: messages.at(-1)!.seq, num_subjects: subjects.size, ...named } }
    }
    const found =
      last === undefined
        ? messages.find((each) => (next === undefined ? each.seq === seq : each.seq >= seq!))
        : messages.findLast((each) => each.subject === last)
    if (!found) throw new JetStreamError({ err_code: 10037 })
    const hdrs = Buffer.from(`NATS/1.0\r\n${HEADER}: ${JSON.stringify(found.note)}\r\n\r\n`).toString('base64')
    return { message: { subject: found.subject, seq: found.seq, hdrs } }
  }
  return new Logs({ maxPayload: 2 ** 20, api } as unknown as Connection, new Map([[PLACE.stream, true]]))
}
