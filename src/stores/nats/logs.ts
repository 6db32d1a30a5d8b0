import { turnlogError } from '../../errors.ts'
import { CODES, JetStreamError, failure, type Connection } from './connection.ts'
import { remember, type Place } from './layout.ts'
import { pull } from './pull.ts'
import { HEADER, noteIn, noteText, type Ending, type Note, type Stored } from './records.ts'

/** How a subject ends. */
export interface End {
  /** The sequence of the message that the next one follows; 0 where a log begins. */
  readonly at: number
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
export const NONE: KnownEnd = { at: 0, last: 0, logId: '', version: 0, touchedAt: undefined, fork: undefined }

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

const EMPTY = new Uint8Array()

/** Messages of single subjects, by the leaders of their streams. */
export class Logs {
  readonly #connection: Connection
  /** By stream: whether it has replicas, so that what is acknowledged may not count. */
  readonly #replicated: ReadonlyMap<string, boolean>
  readonly #known = new Map<string, KnownEnd>()

  constructor(connection: Connection, replicated: ReadonlyMap<string, boolean>) {
    this.#connection = connection
    this.#replicated = replicated
  }

  /** What was last seen of the end of a log, if it is remembered. */
  known({ subject }: Place): KnownEnd | undefined {
    return this.#known.get(subject)
  }

  forget({ subject }: Place): void {
    this.#known.delete(subject)
  }

  /** The end as it is now. One round trip where it is known or has no replicas. */
  async end(place: Place): Promise<End> {
    const last = await this.#last(place)
    if (!last) {
      this.forget(place)
      return { at: 0, last: 0, newest: undefined }
    }
    const isKnown = this.known(place)?.last === last.seq && this.known(place)?.at === last.seq
    const newest = isKnown || !this.#replicated.get(place.stream) ? last : await this.#newestThatCounts(place, last)
    const end: End = { at: newest && newest.note.kind !== 'purged' ? newest.seq : 0, last: last.seq, newest }
    if (hasLog(end)) remember(this.#known, place.subject, knownIn(end))
    else this.forget(place)
    return end
  }

  /**
   * Stores a message after the one that `note` names, if `last` is the newest of the subject. Gives its sequence, or `undefined`
   * where something else came first. It is stored once for one `id`.
   *
   * @throws as `Connection.store`
   */
  async put(
    place: Place,
    last: number,
    note: Note,
    body: Uint8Array = EMPTY,
    id?: string
  ): Promise<number | undefined> {
    const { subject, stream } = place
    const text = noteText(note)
    const room = this.#connection.maxPayload - Buffer.byteLength(text) - SERVER_HEADERS
    if (body.length > room) {
      const message = `A commit of ${body.length} bytes does not fit in a message: with its summary, the server takes ${Math.max(room, 0)}`
      throw turnlogError('COMMIT_TOO_LARGE', message, { size: body.length, limit: Math.max(room, 0) })
    }
    const headers = {
      [HEADER]: text,
      'Nats-Expected-Last-Subject-Sequence': String(last),
      ...(id !== undefined && { 'Nats-Msg-Id': `${id} ${last}` })
    }
    let seq: number
    try {
      const acknowledged = await this.#connection.store(subject, body, headers)
      ;({ seq } = acknowledged)
      // What had been stored may have been purged since.
      if (acknowledged.duplicate && (await this.#at(place, seq)) === undefined)
        ({ seq } = await this.#connection.store(subject, body, { ...headers, 'Nats-Msg-Id': '' }))
    } catch (error) {
      if (error instanceof JetStreamError && error.code === CODES.wrongSequence) return undefined
      throw refused(error)
    }
    if (this.#replicated.get(stream) && !(await this.#counts(place, seq, note.after))) {
      this.forget(place)
      this.#mend(place).catch(() => undefined)
      return undefined
    }
    if (note.kind === 'commit' || note.kind === 'touch') {
      const { logId, summary, touchedAt, fork } = note
      remember(this.#known, subject, { at: seq, last: seq, logId, version: summary.version, touchedAt, fork })
    } else this.forget(place)
    return seq
  }

  /** Ends what a subject has, if it still ends like this, and removes it; gives whether it did. */
  async clear(place: Place, { at, last }: End): Promise<boolean> {
    // From this message on it is no more: what is written at the same time comes before it and goes, or conflicts.
    const seq = await this.put(place, last, { kind: 'purged', after: at })
    if (seq !== undefined) await this.erase(place, seq)
    return seq !== undefined
  }

  /** Removes what a subject has up to a sequence. */
  async erase({ stream, subject }: Place, upTo: number): Promise<void> {
    await this.#connection.api(`STREAM.PURGE.${stream}`, { filter: subject, seq: upTo + 1 }, 'unknown')
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
    yield* this.counting(place, start?.note.after ?? 0, (start?.note.after ?? 0) + 1, end.at)
  }

  /** Those from `seq` to `upTo` that count, where the first of them follows `after`. */
  async *counting(place: Place, after: number, seq: number, upTo = Infinity): AsyncGenerator<readonly Stored[]> {
    let at = after
    const config = { filter_subject: place.subject, deliver_policy: 'by_start_sequence', opt_start_seq: seq }
    let last = 0
    const lagging = this.#replicated.get(place.stream) && upTo < Infinity ? upTo : undefined
    for await (const page of pull(this.#connection, place.stream, config, lagging)) {
      last = page.at(-1)!.seq
      const counting: Stored[] = []
      for (const message of page) {
        if (message.note.after !== at || message.seq > upTo) continue
        at = message.note.kind === 'purged' ? 0 : message.seq
        counting.push(message)
      }
      if (counting.length > 0) yield counting
      if (last >= upTo) return
    }
    if (lagging !== undefined && (await this.#at(place, upTo)))
      throw failure('a replica is too far behind', 'not-stored')
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
      if (note.after === 0 || (note.kind === 'commit' && note.from <= from)) return few
      message = await this.#at(place, note.after)
      // Purged, meanwhile.
      if (!message) return []
    }
    return undefined
  }

  // A message before the one that has version `from`, or that one: by halves of the stream.
  async #startFor(place: Place, from: number, end: LogEnd): Promise<Stored | undefined> {
    let start: Stored | undefined
    for (let [low, high] = [1, end.at]; high - low > NEAR;) {
      const middle = Math.floor((low + high) / 2)
      const message = await this.next(place, middle)
      if (!message || message.seq >= high) high = middle
      else if (versionIn(message, end.newest.note.logId) >= from) high = middle
      else {
        start = message
        low = message.seq + 1
      }
    }
    return start
  }

  // Whether a message is the first that follows `after`, and that is still there.
  async #counts(place: Place, seq: number, after: number): Promise<boolean> {
    const [before, next] = await Promise.all([after === 0 ? true : this.#at(place, after), this.next(place, after + 1)])
    if (!before) return false
    return next?.seq === seq || (await this.#walk(place, after, seq))?.seq === seq
  }

  // Every message was written after one that counts: so only those between need to be looked at.
  async #newestThatCounts(place: Place, last: Stored): Promise<Stored | undefined> {
    const { after } = last.note
    const [before, next] = await Promise.all([
      after === 0 ? undefined : this.#at(place, after),
      this.next(place, after + 1)
    ])
    if ((before || after === 0) && next?.seq === last.seq) return last
    return before ? ((await this.#walk(place, after, last.seq)) ?? before) : this.#walk(place, 0, last.seq)
  }

  // The newest that counts of those from `after` to `upTo`.
  async #walk(place: Place, after: number, upTo: number): Promise<Stored | undefined> {
    let newest: Stored | undefined
    for (let at = after, seq = after + 1; seq <= upTo;) {
      const message = await this.next(place, seq)
      if (!message) break
      seq = message.seq + 1
      if (message.note.after !== at || message.seq > upTo) continue
      at = message.note.kind === 'purged' ? 0 : message.seq
      newest = message
    }
    return newest
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

interface Got {
  readonly message: { readonly subject: string; readonly seq: number; readonly hdrs?: string; readonly data?: string }
}

/** A no of the server is an error of ours: nothing was stored, unless it does not know itself. */
export function refused(error: unknown): unknown {
  if (!(error instanceof JetStreamError)) return error
  return failure(error.message, error.code === CODES.unavailable ? 'unknown' : 'not-stored', error)
}

// The newest version of a log that a message tells of; 0 where it is of another.
function versionIn({ note }: Stored, logId: string): number {
  return (note.kind === 'commit' || note.kind === 'touch') && note.logId === logId ? note.summary.version : 0
}
