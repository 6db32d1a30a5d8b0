import { turnlogError } from '../../errors.ts'
import { freshId } from '../../ids.ts'
import { CODES, JetStreamError, failure, refused, type Connection } from './connection.ts'
import { remember, type Place } from './layout.ts'
import { newestOfEach, pull } from './pull.ts'
import {
  HEADER,
  linkAfter,
  linkTo,
  noteIn,
  noteText,
  seqIn,
  type Ending,
  type Link,
  type NewNote,
  type Note,
  type Stored
} from './records.ts'

/** How a subject ends. */
export interface End {
  /** Names the message that the next one follows; `''` where a log begins. */
  readonly at: Link
  /** The sequence of the newest message, which is what the server compares. */
  readonly last: number
  /** What the newest message that counts says; `undefined`: there is none. */
  readonly newest: Stored | undefined
}

/** An end that has a log. */
export type LogEnd = End & { readonly newest: Stored & { readonly note: Ending } }

export function hasLog(end: End): end is LogEnd {
  return end.newest?.note.kind === 'commit' || end.newest?.note.kind === 'touch'
}

/** What an end was when it was last seen: enough to append to it. */
export type KnownEnd = Pick<End, 'at' | 'last'> &
  Pick<Ending, 'logId' | 'touchedAt' | 'fork'> & { readonly version: number }

/** What is known where nothing is. */
export const NONE: KnownEnd = { at: '', last: 0, logId: '', version: 0, touchedAt: undefined, fork: undefined }

/** What there is to know of an end. */
export function knownIn(end: End): KnownEnd {
  if (!hasLog(end)) return { ...NONE, at: end.at, last: end.last }
  const { logId, summary, touchedAt, fork } = end.newest.note
  return { at: end.at, last: end.last, logId, version: summary.version, touchedAt, fork }
}

/** How many messages at the end of a log are got one by one rather than by a consumer, which costs about as much as these. */
const STEPS = 8

/** Within how many messages of the stream the place to begin at is not searched further. */
const NEAR = 256

/** At most so many bytes of a message are headers other than ours. */
const SERVER_HEADERS = 1024

/** After how long what a message that does not count has hidden is said again; up to twice that. */
const MEND_MS = 200

/** How often a leader that is behind is asked, and how long between. */
const LEADER_TRIES = 200
const LEADER_MS = 5

/** An answer that takes longer may be that of another leader. */
const DISTURBED_MS = 200

/** How often an end is looked at that is purged while it is. */
const TRIES = 10

const EMPTY = new Uint8Array()

/** Messages of single subjects, by the leaders of their streams. */
export class Logs {
  readonly #connection: Connection
  /** By stream: whether it has replicas, so that what is acknowledged may not count. */
  readonly #replicated: ReadonlyMap<string, boolean>
  readonly #known = new Map<string, KnownEnd>()
  /** By subject, where there are replicas: the newest sequence that was seen, also when nothing else is known any more. */
  readonly #seen = new Map<string, number>()
  readonly #mending = new Map<string, NodeJS.Timeout>()

  /** By stream that has replicas. */
  readonly #trails = new Map<string, Trail>()

  constructor(connection: Connection, replicated: ReadonlyMap<string, boolean>) {
    this.#connection = connection
    this.#replicated = replicated
  }

  close(): void {
    for (const timer of this.#mending.values()) clearTimeout(timer)
    this.#mending.clear()
  }

  /** What was last seen of the end of a log, if it is remembered. */
  known({ subject }: Place): KnownEnd | undefined {
    return this.#known.get(subject)
  }

  forget({ subject }: Place): void {
    this.#known.delete(subject)
  }

  forgetAll(): void {
    this.#known.clear()
    this.#trails.clear()
  }

  /** The end as it is now, never before what was seen here. One round trip where it is known or has no replicas. */
  async end(place: Place): Promise<End> {
    for (let tries = 1; ; tries++) {
      const last = await this.#newest(place)
      if (!last) {
        this.forget(place)
        return { at: '', last: 0, newest: undefined }
      }
      const isKnown = this.known(place)?.at === linkTo(last)
      const isSure = isKnown || !this.#replicated.get(place.stream)
      const newest = isSure ? last : await this.#newestThatCounts(place, last)
      if (newest === 'gone') {
        if (tries === TRIES) throw failure('a server lacks messages for now', 'not-stored')
        continue
      }
      const end: End = { at: newest ? linkAfter(newest) : '', last: last.seq, newest }
      if (hasLog(end)) remember(this.#known, place.subject, knownIn(end))
      else this.forget(place)
      return end
    }
  }

  /**
   * Stores a message after the one that `note` names, if `last` is the newest of the subject. Gives the link to it, or `undefined`
   * where something else came first. It is stored once for one `id`.
   *
   * @throws as `Connection.store`
   */
  async put(
    place: Place,
    last: number,
    newNote: NewNote,
    body: Uint8Array = EMPTY,
    id?: string
  ): Promise<Link | undefined> {
    const { subject, stream } = place
    const note: Note = { ...newNote, id: id ?? freshId() }
    const text = noteText(note)
    const room = this.#connection.maxPayload - Buffer.byteLength(text) - SERVER_HEADERS
    if (body.length > room) {
      const message = `A commit of ${body.length} bytes does not fit in a message: with its summary, the server takes ${Math.max(room, 0)}`
      throw turnlogError('COMMIT_TOO_LARGE', message, { size: body.length, limit: Math.max(room, 0) })
    }
    const headers = {
      [HEADER]: [text],
      'Nats-Expected-Last-Subject-Sequence': [String(last)],
      ...(id !== undefined && { 'Nats-Msg-Id': [`${id} ${last}`] })
    }
    const begun = performance.now()
    let seq: number
    try {
      const acknowledged = await this.#connection.store(subject, body, headers)
      ;({ seq } = acknowledged)
      // What had been stored may have been purged since.
      if (acknowledged.duplicate && (await this.#isErased(place, seq).catch(inDoubt)))
        ({ seq } = await this.#connection.store(subject, body, { ...headers, 'Nats-Msg-Id': [] }))
    } catch (error) {
      if (error instanceof JetStreamError && error.code === CODES.wrongSequence) return undefined
      throw refused(error)
    }
    this.#see(place, seq)
    if (this.#replicated.get(stream) && !(await this.#readBack(place, { seq, note }, begun).catch(inDoubt))) {
      this.forget(place)
      this.#mendLater(place)
      return undefined
    }
    if (note.kind === 'commit' || note.kind === 'touch') {
      const { logId, summary, touchedAt, fork } = note
      remember(this.#known, subject, {
        at: linkTo({ seq, note }),
        last: seq,
        logId,
        version: summary.version,
        touchedAt,
        fork
      })
    } else this.forget(place)
    return linkTo({ seq, note })
  }

  /**
   * Waits until the leader of a stream has a sequence: another replica may have it, and tell of it, before; and who leads since just now, or
   * no more, may be behind.
   *
   * @throws `STORE_UNAVAILABLE` where that takes long
   */
  async reached(stream: string, seq: number): Promise<void> {
    for (let tries = 0; tries < LEADER_TRIES; tries++) {
      const { state } = await this.#ledInfo(stream, {})
      if (state.last_seq >= seq) return
      await new Promise((resolve) => setTimeout(resolve, LEADER_MS))
    }
    throw failure('the server that leads is behind for now', 'not-stored')
  }

  /** Ends what a subject has, if it still ends like this, and removes it; gives whether it did. */
  async clear(place: Place, { at, last }: End): Promise<boolean> {
    // From this message on it is no more: what is written at the same time comes before it and goes, or conflicts.
    const purged = await this.put(place, last, { kind: 'purged', after: at })
    if (purged !== undefined) await this.erase(place, seqIn(purged))
    return purged !== undefined
  }

  /** Removes what a subject has up to a sequence. */
  async erase({ stream, subject }: Place, upTo: number): Promise<void> {
    await this.#connection.api(`STREAM.PURGE.${stream}`, { filter: subject, seq: upTo + 1 }, 'unknown').catch(refuse)
  }

  /** Removes a log whose purge has begun with the message `seq`, if that counts. */
  async erasePurged(place: Place, seq: number): Promise<void> {
    if (!this.#replicated.get(place.stream)) return this.erase(place, seq)
    const { newest } = await this.end(place)
    if (newest?.note.kind === 'purged') await this.erase(place, newest.seq)
  }

  /** The first message of a subject, or of all that fit it, from a sequence on. */
  async next({ stream, subject }: Place, seq: number): Promise<Stored | undefined> {
    return this.#get(stream, { next_by_subj: subject, seq })
  }

  /**
   * The messages of a log that count, in pages, from one that has the event of version `from`, or is before it, up to `end`.
   */
  async *from(place: Place, from: number, end: LogEnd): AsyncGenerator<readonly Stored[]> {
    const few = await this.#lastFew(place, from, end)
    if (few) {
      yield few
      return
    }
    const start = from === 1 ? undefined : await this.#startFor(place, from, end)
    const after = start?.note.after ?? ''
    yield* this.counting(place, after, seqIn(after) + 1, end.at)
  }

  /** Those from the sequence `seq` to the message `end` that count, where the first of them follows `after`. */
  async *counting(place: Place, after: Link, seq: number, end: Link): AsyncGenerator<readonly Stored[]> {
    let at = after
    const upTo = seqIn(end)
    const config = { filter_subject: place.subject, deliver_policy: 'by_start_sequence', opt_start_seq: seq }
    const isReplicated = this.#replicated.get(place.stream)
    for await (const page of pull(this.#connection, place.stream, config, isReplicated ? upTo : undefined)) {
      const counting: Stored[] = []
      let last = at
      for (const message of page) {
        if (message.note.after !== last || message.seq > upTo) continue
        last = linkAfter(message)
        counting.push(message)
      }
      // Where the leader has the last of them, it has all: each names the one before it.
      if (isReplicated && last !== end && counting.length > 0 && !(await this.#has(place, counting.at(-1)!))) break
      at = last
      if (counting.length > 0) yield counting
      if (page.at(-1)!.seq >= upTo) break
    }
    if (!isReplicated) return
    // A replica that was away may be behind, or lack some in the midst, or have others. The leader has them.
    for (let next = Math.max(seq, seqIn(at) + 1); at !== end;) {
      const message = await this.next(place, next)
      if (!message || message.seq > upTo) return this.assertPurged(place, upTo)
      next = message.seq + 1
      if (message.note.after !== at) continue
      at = linkAfter(message)
      yield [message]
    }
  }

  /**
   * The newest message of each subject that fits. With replicas a consumer may fall on one that is behind or has lost some: those of a user are
   * told by name by the leader, and got from it where they are missing; of a whole stream it tells how many there are, and where there are
   * fewer, another consumer is asked for. A subject may come again, newer.
   *
   * @throws `STORE_UNAVAILABLE` where none has them all
   */
  async *newestOfEach(all: Place): AsyncGenerator<readonly Stored[]> {
    const newest = new Map<string, number>()
    for (let tries = 1; tries <= TRIES; tries++) {
      const before = await this.#subjectsOf(all)
      const there = new Set<string>()
      let [seq, behind] = [0, 0]
      for await (const page of newestOfEach(this.#connection, all)) {
        seq = page.at(-1)!.seq
        const news = page.filter((message) => message.seq > (newest.get(message.subject) ?? 0))
        for (const { subject } of page) there.add(subject)
        for (const message of news) newest.set(message.subject, message.seq)
        if (news.length > 0) yield news
      }
      for (; seq < before.lastSeq && behind <= NEAR; behind++) {
        const message = await this.next(all, seq + 1)
        if (!message || message.seq > before.lastSeq) break
        seq = message.seq
        there.add(message.subject)
        newest.set(message.subject, seq)
        yield [message]
      }
      if (behind > NEAR) continue
      if (before.names) {
        for (const subject of before.names) {
          const missing = there.has(subject) ? undefined : await this.#last({ stream: all.stream, subject })
          if (missing) yield [missing]
        }
        return
      }
      // Of those that come or go meanwhile none can be said to be missing.
      if (there.size >= before.count || there.size >= (await this.#subjectsOf(all)).count) return
    }
    throw failure('a server lacks messages for now', 'not-stored')
  }

  // How many that fit have messages, by the leader; of those of a user also which, as far as one answer tells.
  async #subjectsOf({ stream, subject }: Place): Promise<{
    readonly lastSeq: number
    readonly count: number
    readonly names: readonly string[] | undefined
  }> {
    const isWhole = subject.endsWith('.*.*')
    const { total = 0, state } = await this.#ledInfo(stream, isWhole ? {} : { subjects_filter: subject })
    const { last_seq: lastSeq, num_subjects: all = 0, subjects = {} } = state
    const names = Object.keys(subjects)
    // Newer servers give them in pages, and how many there are.
    if (isWhole || total > names.length) return { lastSeq, count: isWhole ? all : total, names: undefined }
    return { lastSeq, count: names.length, names }
  }

  // While nobody leads, whoever is asked may answer.
  async #ledInfo(stream: string, question: object): Promise<StreamState> {
    for (let tries = 1; tries <= LEADER_TRIES; tries++) {
      const info = await this.#connection.api<StreamState>(`STREAM.INFO.${stream}`, question).catch(refuse)
      if (!info.cluster || info.cluster.leader) return info
      await new Promise((resolve) => setTimeout(resolve, LEADER_MS))
    }
    throw failure('no server leads for now', 'not-stored')
  }

  async #has(place: Place, message: Pick<Stored, 'seq' | 'note'>): Promise<boolean> {
    const found = await this.#at(place, message.seq)
    return found !== undefined && linkTo(found) === linkTo(message)
  }

  /** What a log had is not there: it was purged meanwhile, with its newest message. @throws where the server that answers lacks it for now */
  async assertPurged(place: Place, newest: number): Promise<void> {
    if (!(await this.#isErased(place, newest))) throw failure('a server lacks messages for now', 'not-stored')
  }

  // Whether a message that was there is no more.
  async #isErased(place: Place, seq: number): Promise<boolean> {
    if (await this.#at(place, seq)) return false
    await this.reached(place.stream, seq)
    return !(await this.#at(place, seq))
  }

  // Not at once: who has come first, or comes again, has mended it by then.
  #mendLater(place: Place): void {
    if (this.#mending.has(place.subject)) return
    const timer = setTimeout(
      () => {
        this.#mending.delete(place.subject)
        this.#mend(place).catch(() => undefined)
      },
      MEND_MS * (1 + Math.random())
    )
    timer.unref()
    this.#mending.set(place.subject, timer)
  }

  // Lists see the newest messages alone: after one that does not count, says again what does. (It cannot be deleted: where the newest
  // of a subject was, server 2.9 thinks that the subject has none.)
  async #mend(place: Place): Promise<void> {
    const end = await this.end(place)
    if (end.last === end.newest?.seq) return
    if (hasLog(end)) await this.put(place, end.last, { ...end.newest.note, kind: 'touch', after: end.at })
    else if (end.newest?.note.kind !== 'part') await this.clear(place, end)
  }

  // From the end backwards, each by the sequence that the one after it names.
  async #lastFew(place: Place, from: number, { newest }: LogEnd): Promise<Stored[] | undefined> {
    const few: Stored[] = []
    for (let message: Stored | undefined = newest; few.length < STEPS;) {
      few.unshift(message)
      const { note } = message
      if (note.after === '' || (note.kind === 'commit' && note.from <= from)) return few
      message = await this.#at(place, seqIn(note.after))
      if (!message || linkTo(message) !== note.after) {
        await this.assertPurged(place, newest.seq)
        return []
      }
    }
    return undefined
  }

  // A message before the one that has version `from`, or that one: by halves of the stream.
  async #startFor(place: Place, from: number, end: LogEnd): Promise<Stored | undefined> {
    let start: Stored | undefined
    for (let [low, high] = [1, seqIn(end.at)]; high - low > NEAR;) {
      const middle = Math.floor((low + high) / 2)
      const message = await this.next(place, middle)
      if (!message || message.seq >= high) high = middle
      else if ((await this.#versionBy(place, message, end.newest.note.logId)) >= from) high = middle
      else {
        start = message
        low = message.seq + 1
      }
    }
    return start
  }

  // The newest version of a log that a message tells of. A purge that does not count is one after a message that does.
  async #versionBy(place: Place, message: Stored, logId: string): Promise<number> {
    const { kind, after } = message.note
    const telling = kind === 'purged' ? await this.#at(place, seqIn(after)) : message
    return telling ? versionIn(telling, logId) : 0
  }

  // Whether a message that was acknowledged counts. Who acknowledged it may lead no more, and have lost it, or the one that it follows. A new
  // leader takes its time: after an answer that did, nothing is known any more.
  async #readBack(place: Place, stored: Pick<Stored, 'seq' | 'note'>, begun: number): Promise<boolean> {
    const isNext = this.#isNext(place, stored.seq, seqIn(stored.note.after))
    if (performance.now() - begun > DISTURBED_MS) this.forgetAll()
    else if (isNext && (await this.#has(place, stored))) return true
    return this.#counts(place, stored)
  }

  // Whether all between the two are messages that were stored from here, of other subjects: then nothing came between.
  #isNext({ stream, subject }: Place, seq: number, after: number): boolean {
    const trail = this.#trails.get(stream) ?? new Trail()
    this.#trails.set(stream, trail)
    trail.add(seq, subject)
    return after > 0 && trail.isFree(subject, after, seq)
  }

  // Whether a message is the first that follows `after`, and that is still there. Who is asked may be behind: that something is not there
  // is certain only from one who has what comes after it.
  async #counts(place: Place, stored: Pick<Stored, 'seq' | 'note'>): Promise<boolean> {
    const { seq, note } = stored
    const link = linkTo(stored)
    const [first, second] = await this.#around(place, seqIn(note.after))
    if (isAt(first, note.after)) {
      if (second && linkTo(second) === link) return true
      const newest = await this.#walk(place, first, seq)
      if (newest !== 'gone') return newest !== undefined && linkTo(newest) === link
    } else if (first && first.seq <= seq) return false
    // It was acknowledged: who is asked is behind, or the log was purged.
    throw failure('the server does not see what was stored', 'unknown')
  }

  // Every message was written after one that counts: so only those between need to be looked at.
  async #newestThatCounts(place: Place, last: Stored): Promise<Stored | undefined | 'gone'> {
    const { after } = last.note
    const [first, second] = await this.#around(place, seqIn(after))
    if (!isAt(first, after)) return this.#walk(place, undefined, last.seq)
    return second?.seq === last.seq ? last : this.#walk(place, first, last.seq)
  }

  // The first message from `after` on, and the first after it. Before the first of all is none. The second is asked for before the first:
  // what is asked together is answered in order, and where the first is still there, what comes between was not erased either.
  async #around(place: Place, after: number): Promise<[Stored | undefined, Stored | undefined]> {
    const second = this.next(place, after + 1)
    const first = after === 0 ? undefined : this.next(place, after)
    const found = await Promise.all([second, first])
    return [found[1], found[0]]
  }

  // The newest that counts from `base`, which does, to the message `upTo`; `gone`: that is not seen.
  async #walk(place: Place, base: Stored | undefined, upTo: number): Promise<Stored | undefined | 'gone'> {
    let newest = base
    let first = base?.seq
    for (let at = base ? linkTo(base) : '', seq = base?.seq ?? 0; seq < upTo;) {
      const message = await this.next(place, seq + 1)
      if (!message || message.seq > upTo) return 'gone'
      ;({ seq } = message)
      first ??= seq
      if (message.note.after !== at) continue
      at = linkAfter(message)
      newest = message
    }
    // Where the first of them were erased meanwhile, it may have missed some that others follow.
    return first === upTo || (await this.#at(place, first!)) ? newest : this.#walk(place, undefined, upTo)
  }

  // The newest message of a subject, by a leader that has what was seen of it.
  async #newest(place: Place): Promise<Stored | undefined> {
    let last = await this.#last(place)
    for (let tries = 1; ; tries++) {
      const seen = this.#seen.get(place.subject) ?? 0
      if ((last?.seq ?? 0) >= seen) break
      if (tries === LEADER_TRIES) throw failure('a server lacks messages for now', 'not-stored')
      if (await this.#isErased(place, seen)) {
        if (this.#seen.get(place.subject) === seen) this.#seen.delete(place.subject)
      } else await new Promise((resolve) => setTimeout(resolve, LEADER_MS))
      last = await this.#last(place)
    }
    if (last) this.#see(place, last.seq)
    return last
  }

  #see({ stream, subject }: Place, seq: number): void {
    if (this.#replicated.get(stream) && seq > (this.#seen.get(subject) ?? 0)) remember(this.#seen, subject, seq)
  }

  async #at({ stream, subject }: Place, seq: number): Promise<Stored | undefined> {
    const message = await this.#get(stream, { seq })
    return message?.subject === subject ? message : undefined
  }

  #last({ stream, subject }: Place): Promise<Stored | undefined> {
    return this.#get(stream, { last_by_subj: subject })
  }

  // Of the leader: what others have may be older.
  async #get(stream: string, question: object): Promise<Stored | undefined> {
    try {
      const { message } = await this.#connection.api<Got>(`STREAM.MSG.GET.${stream}`, question)
      const note = noteIn(Buffer.from(message.hdrs ?? '', 'base64').toString())
      return { subject: message.subject, seq: message.seq, note, body: Buffer.from(message.data ?? '', 'base64') }
    } catch (error) {
      if (error instanceof JetStreamError && error.code === CODES.noMessage) return undefined
      throw refused(error)
    }
  }
}

/** What was lately stored in a stream from here: its subjects by sequence. */
class Trail {
  readonly #sequences = new Float64Array(TRAIL)
  readonly #subjects: string[] = Array.from({ length: TRAIL }, () => '')

  add(seq: number, subject: string): void {
    this.#sequences[seq % TRAIL] = seq
    this.#subjects[seq % TRAIL] = subject
  }

  /** Whether nothing between two sequences can be of that subject. */
  isFree(subject: string, after: number, before: number): boolean {
    if (before - after > TRAIL) return false
    for (let seq = after + 1; seq < before; seq++) {
      if (this.#sequences[seq % TRAIL] !== seq || this.#subjects[seq % TRAIL] === subject) return false
    }
    return true
  }
}

/** As many as a process has under way at once, and some. */
const TRAIL = 4096

interface StreamState {
  readonly total?: number
  readonly state: { readonly last_seq: number; readonly num_subjects?: number; readonly subjects?: object }
  /** Where there are several servers. */
  readonly cluster?: { readonly leader?: string }
}

interface Got {
  readonly message: { readonly subject: string; readonly seq: number; readonly hdrs?: string; readonly data?: string }
}

// Whether what was found is the message that another follows, which is none where that is the first.
function isAt(found: Stored | undefined, after: Link): boolean {
  return (found ? linkTo(found) : '') === after
}

function refuse(error: unknown): never {
  throw refused(error)
}

// The message is with the server: that it cannot be asked about does not make it unstored.
function inDoubt(error: unknown): never {
  throw failure('what became of a message cannot be asked', 'unknown', error)
}

// The newest version of a log that a message tells of; 0 where it is of another.
function versionIn({ note }: Stored, logId: string): number {
  return (note.kind === 'commit' || note.kind === 'touch') && note.logId === logId ? note.summary.version : 0
}
