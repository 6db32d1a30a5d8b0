import { describe, expect, it } from 'vitest'
import { JetStreamError, type Connection } from '../../src/stores/nats/connection.ts'
import { hasLog, Logs, type End } from '../../src/stores/nats/logs.ts'
import {
  HEADER,
  linkAfter,
  linkTo,
  parseNote,
  seqIn,
  type Ending,
  type Link,
  type NewNote
} from '../../src/stores/nats/records.ts'
import { begin, TRIP } from '../../src/testing/kit.ts'

// Servers with replicas do what no server does when it is asked to: they take in rivals, and who leads changes between two questions.

const PLACE = { stream: 'logs', subject: 'log' }

interface Message {
  readonly seq: number
  readonly text: string
}

/** A stream of one subject, and what those who are asked about it see of it. */
class Stream {
  /** All that was ever stored. */
  readonly messages: Message[] = []
  /** How many there were when those up to a sequence were erased. */
  readonly erasures: { readonly after: number; readonly upTo: number }[] = []
  /** Whether a message is taken in that comes after another than is said. */
  takes: () => boolean = () => false
  /** How many the one has that is asked now. */
  has: () => number = () => this.messages.length
  /** What happens before a question is answered. */
  onAsk: (call: string, question: Question) => void | Promise<void> = () => undefined

  /** What one has who has as many messages as that, and what was done until then. */
  seenBy(count: number): Message[] {
    const erased = this.erasures.map(({ after, upTo }) => (after <= count ? upTo : 0))
    return this.messages.slice(Math.max(0, ...erased), count)
  }

  erase(upTo: number): void {
    this.erasures.push({ after: this.messages.length, upTo })
  }

  /** Those that count, also where they were erased since. */
  get counting(): number[] {
    const counting: number[] = []
    let at: Link = ''
    for (const { seq, text } of this.messages) {
      const note = parseNote(text)
      if (note.after !== at) continue
      counting.push(seq)
      at = linkAfter({ subject: PLACE.subject, seq, note, body: new Uint8Array() })
    }
    return counting
  }

  add(note: NewNote): Link {
    const seq = this.messages.length + 1
    const named = { ...note, id: `m${seq}` }
    this.messages.push({ seq, text: JSON.stringify(named) })
    return linkTo({ seq, note: named })
  }

  /** One connection: what it asks is answered in order. */
  connection(): Connection {
    let before: Promise<unknown> = Promise.resolve()
    const api = (call: string, question: Question): Promise<object> => {
      const answer = before.then(() => this.#api(call, question))
      before = answer.catch(() => undefined)
      return answer
    }
    return {
      maxPayload: 2 ** 20,
      api,
      store: async (_: string, __: Uint8Array, headers: Record<string, string[]>) => {
        const expected = Number(headers['Nats-Expected-Last-Subject-Sequence']![0])
        const seq = this.messages.length + 1
        if (expected !== (this.seenBy(seq).at(-1)?.seq ?? 0) && !this.takes())
          throw new JetStreamError({ err_code: 10071 })
        this.messages.push({ seq, text: headers[HEADER]![0]! })
        await this.onAsk('STORED', {})
        return { seq }
      }
    } as unknown as Connection
  }

  async #api(call: string, question: Question): Promise<object> {
    await this.onAsk(call, question)
    if (call.startsWith('STREAM.PURGE')) {
      this.erase(question.seq! - 1)
      return {}
    }
    const count = this.has()
    if (call.startsWith('STREAM.INFO')) return { state: { last_seq: count } }
    const there = this.seenBy(count)
    const found =
      question.last_by_subj !== undefined
        ? there.at(-1)
        : there.find(({ seq }) => (question.next_by_subj === undefined ? seq === question.seq : seq >= question.seq!))
    if (!found) throw new JetStreamError({ err_code: 10037 })
    const hdrs = Buffer.from(`NATS/1.0\r\n${HEADER}: ${found.text}\r\n\r\n`).toString('base64')
    return { message: { subject: PLACE.subject, seq: found.seq, hdrs } }
  }
}

interface Question {
  readonly seq?: number
  readonly last_by_subj?: string
  readonly next_by_subj?: string
}

function logsOf(stream: Stream): Logs {
  return new Logs(stream.connection(), new Map([[PLACE.stream, true]]))
}

function commit(after: Link, logId = 'one', version = 1): Omit<Ending, 'id'> {
  return { kind: 'commit', after, logId, from: version, summary: { ...begin(TRIP).summary, version } }
}

/** A log of five commits, and their end. */
function addPurged(stream: Stream): Link {
  let after: Link = ''
  for (let version = 1; version <= 5; version++) after = stream.add(commit(after, 'one', version))
  return stream.add({ kind: 'purged', after })
}

describe('what NATS has acknowledged', () => {
  it('is not said to have lost where the one that is asked does not know what it follows', async () => {
    const stream = new Stream()
    const first = stream.add(commit(''))
    const logs = logsOf(stream)
    await logs.end(PLACE)
    // A rival of another process is between, so that it has to be asked; and who answers is far behind.
    stream.onAsk = (call) => {
      if (call === 'STORED') stream.has = () => 0
    }
    stream.add({ kind: 'part', after: '7 x', logId: 'x', from: 1, to: 1 })
    stream.takes = () => true
    await expect(logs.put(PLACE, 1, commit(first, 'one', 2))).rejects.toMatchObject({ outcome: 'unknown' })
  })

  it('is not where the first of a log that was purged are erased while it looks', async () => {
    const stream = new Stream()
    const purged = addPurged(stream)
    const logs = logsOf(stream)
    stream.onAsk = (_, { next_by_subj: next, seq }) => {
      if (next && seq === 4) stream.erase(seqIn(purged))
    }
    expect(seqIn((await logs.put(PLACE, seqIn(purged), commit('', 'two')))!)).toBe(7)
    stream.onAsk = () => undefined
    expect((await logsOf(stream).end(PLACE)).newest?.seq).toBe(7)
  })

  it('is seen where the first of a log that was purged are erased while it looks', async () => {
    const stream = new Stream()
    const purged = addPurged(stream)
    stream.add(commit('', 'two'))
    stream.onAsk = (_, { next_by_subj: next, seq }) => {
      if (next && seq === 4) stream.erase(seqIn(purged))
    }
    expect((await logsOf(stream).end(PLACE)).newest).toMatchObject({ seq: 7, note: { logId: 'two' } })
  })
})

describe('the end of a log', () => {
  it('does not go back to what a new leader has, also after a failure; it is waited for', async () => {
    const stream = new Stream()
    const first = stream.add(commit(''))
    const logs = logsOf(stream)
    expect(seqIn((await logs.put(PLACE, 1, commit(first, 'one', 2)))!)).toBe(2)
    logs.forget(PLACE)
    for (const count of [0, 1]) {
      let asked = 0
      stream.has = () => (++asked > 3 ? 2 : count)
      expect((await logs.end(PLACE)).last).toBe(2)
    }
  })

  it('is none once it was purged', async () => {
    const stream = new Stream()
    stream.add(commit(''))
    const [one, other] = [logsOf(stream), logsOf(stream)]
    const end = await one.end(PLACE)
    await other.end(PLACE)
    expect(await one.clear(PLACE, end)).toBe(true)
    for (const logs of [one, other])
      for (let i = 0; i < 2; i++) expect(await logs.end(PLACE)).toEqual({ at: '', last: 0, newest: undefined })
  })
})

describe.each([
  { title: 'many who write and purge at once, by servers that take in rivals', purging: 0.15, lagging: 0 },
  { title: 'many who write at once, by servers of which some are behind', purging: 0, lagging: 0.05 }
])('$title', ({ purging, lagging }) => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'are told that their message counts if and only if it does, and see only what does (%i)',
    async (seed) => {
      const random = generator(seed)
      const stream = new Stream()
      stream.takes = () => random() < 0.5
      stream.onAsk = async () => {
        for (let i = Math.floor(random() * 4); i > 0; i--) await Promise.resolve()
      }
      // Now and then somebody answers who is behind.
      stream.has = () => {
        const count = stream.messages.length
        return random() < lagging ? Math.max(0, count - Math.floor(random() * 5)) : count
      }
      const faults: string[] = []
      await Promise.all(
        Array.from({ length: 5 }, async (_, process) => {
          const logs = logsOf(stream)
          for (let round = 0, floor = 0; round < 60; round++) {
            let end: End
            try {
              end = await logs.end(PLACE)
            } catch {
              continue
            }
            if (end.newest && !stream.counting.includes(end.newest.seq))
              faults.push(`${process} sees ${end.newest.seq}, which does not count`)
            if (hasLog(end) && seqIn(end.at) < floor) faults.push(`${process} goes back from ${floor} to ${end.at}`)
            floor = Math.max(floor, seqIn(end.at))
            const isPurge = hasLog(end) && random() < purging
            const name = `${process}-${round}`
            const version = hasLog(end) ? end.newest.note.summary.version + 1 : 1
            try {
              if (isPurge) await logs.clear(PLACE, end)
              else {
                const seq = await logs.put(PLACE, end.last, commit(end.at, name, version))
                const mine = stream.messages.find(
                  ({ text }) => parseNote(text).kind === 'commit' && text.includes(`"${name}"`)
                )
                const counts = mine !== undefined && stream.counting.includes(mine.seq)
                if (counts !== (seq !== undefined)) faults.push(`${name}: ${seq} is said of ${mine?.seq}`)
              }
            } catch (error) {
              if ((error as { code?: string }).code !== 'STORE_UNAVAILABLE') throw error
            }
          }
          logs.close()
        })
      )
      expect(faults).toEqual([])
      // It has something to prove.
      expect(stream.counting.length).toBeGreaterThan(50)
      expect(stream.messages.length).toBeGreaterThan(stream.counting.length + 5)
    }
  )
})

function generator(state: number): () => number {
  return () => (state = (state * 1_103_515_245 + 12_345) % 2 ** 31) / 2 ** 31
}
