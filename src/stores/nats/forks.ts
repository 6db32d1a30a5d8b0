import type { StoredEvent } from '../../event.ts'
import type { Connection } from './connection.ts'
import type { Layout, Place } from './layout.ts'
import { hasLog, type End, type LogEnd, type Logs } from './logs.ts'
import { HEADER, noteText, seqIn, type ForkNote, type Link, type Stored } from './records.ts'

/** What was copied for a fork that is not there yet. */
export interface Copy {
  readonly fork: ForkNote
  /** Links to its parts. */
  readonly parts: readonly Link[]
}

/** What a message may have beside the events of a part. */
const PART_HEADROOM = 4096

/**
 * Forks and what they share. Nothing in JetStream keeps a log as long as others need it, so a fork holds a copy of all that it begins
 * with, in the messages before its first commit; pointers lead to it from each log that it has events of.
 */
export class Forks {
  readonly #connection: Connection
  readonly #logs: Logs
  readonly #layout: Layout

  constructor(connection: Connection, logs: Logs, layout: Layout) {
    this.#connection = connection
    this.#logs = logs
    this.#layout = layout
  }

  /** The logs that hold a copy of this one, in order of their creation, and where this one is or was. */
  async of(logId: string): Promise<{ origin: Place | undefined; holders: { place: Place; end: LogEnd }[] }> {
    const all = this.#layout.pointer(logId)
    const places: Place[] = []
    let origin: Place | undefined
    for (let seq = 1; ;) {
      const pointer = await this.#logs.next(all, seq)
      if (!pointer) break
      seq = pointer.seq + 1
      places.push(this.#layout.forkAt(pointer.subject))
      if (pointer.note.kind === 'pointer') origin = this.#layout.placeAt(pointer.note.origin)
    }
    const holders: { place: Place; end: LogEnd }[] = []
    for (const place of places) {
      const end = await this.#logs.end(place)
      if (hasLog(end) && end.newest.note.fork?.ancestors.some((each) => each.logId === logId))
        holders.push({ place, end })
    }
    return { origin, holders }
  }

  /**
   * Copies the events of a log up to a version, and all that it has copies of itself, to the place of a fork, which ends as `end`.
   * `conflict`: something else was written there.
   */
  async copy(
    origin: Place,
    originEnd: LogEnd,
    version: number,
    place: Place,
    end: End
  ): Promise<Copy | 'orphaned' | 'conflict'> {
    const { logId, fork } = originEnd.newest.note
    const parts: Link[] = []
    let after = end.at
    let last = end.last
    const write = async (of: string, from: number, to: number, body: Uint8Array): Promise<boolean> => {
      const part = await this.#logs.put(place, last, { kind: 'part', after, logId: of, from, to }, body)
      if (part === undefined) return false
      parts.push(part)
      after = part
      last = seqIn(part)
      return true
    }
    const undo = async <T>(why: T): Promise<T> => {
      await this.remove(place, { fork: { parent: logId, base: 0, ancestors: [] }, parts })
      return why
    }

    if (fork) {
      for await (const page of this.parts(origin, fork.base, originEnd))
        for (const { note, body } of page)
          if (note.kind === 'part' && !(await write(note.logId, note.from, note.to, body))) return undo('conflict')
      // Purged meanwhile.
      if (parts.length === 0) return undo('orphaned')
    }
    const most = this.#connection.maxPayload - PART_HEADROOM
    let packed: string[] = []
    let [from, to, size] = [1, 0, 0]
    const flush = async (): Promise<boolean> => {
      if (packed.length > 0 && !(await write(logId, from, to, Buffer.from(`[${packed.join()}]`)))) return false
      packed = []
      from = to + 1
      size = 0
      return true
    }
    reading: for await (const page of this.#logs.from(origin, 1, originEnd)) {
      for (const { note, body } of page) {
        if (note.kind !== 'commit' || note.logId !== logId) continue
        const text = listIn(body, note.from, version)
        if (size > 0 && size + text.length > most && !(await flush())) return undo('conflict')
        packed.push(text)
        size += Buffer.byteLength(text) + 1
        to = Math.min(note.summary.version, version)
        if (to === version) break reading
      }
    }
    // Purged while it was read.
    if (to < version) return undo('orphaned')
    if (!(await flush())) return undo('conflict')

    const copied = [...(fork?.ancestors ?? []), { logId, version, origin: origin.subject }]
    const ancestors = await Promise.all(
      copied.map(async (each) => ({ ...each, pointer: await this.#point(each.logId, each.origin, place) }))
    )
    return { fork: { parent: logId, base: seqIn(parts[0]!), ancestors }, parts }
  }

  /** Removes what was copied for a fork that was not made; what another log has begun after goes with that. */
  async remove(place: Place, { fork, parts }: Copy): Promise<void> {
    const end = await this.#logs.end(place)
    if (end.newest?.note.kind === 'part' && end.at === parts.at(-1)) await this.#logs.clear(place, end)
    await this.removePointers(fork, place)
  }

  async removePointers({ ancestors }: ForkNote, fork: Place): Promise<void> {
    for (const { logId, pointer } of ancestors) await this.#logs.erase(this.#layout.pointer(logId, fork), pointer)
  }

  /** The messages before the first commit of a fork that ends like this, in pages, from the one with the sequence `base` on. */
  async *parts(place: Place, base: number, end: LogEnd): AsyncGenerator<readonly Stored[]> {
    const first = await this.#logs.next(place, base)
    if (first?.seq !== base) return this.#logs.assertPurged(place, seqIn(end.at))
    for await (const page of this.#logs.counting(place, first.note.after, base, end.at)) {
      const rest = page.findIndex(({ note }) => note.kind !== 'part')
      yield rest < 0 ? page : page.slice(0, rest)
      if (rest >= 0) return
    }
  }

  async #point(logId: string, origin: string, fork: Place): Promise<number> {
    const { subject } = this.#layout.pointer(logId, fork)
    const headers = { [HEADER]: [noteText({ kind: 'pointer', id: '', after: '', origin })] }
    return (await this.#connection.store(subject, new Uint8Array(), headers)).seq
  }
}

// The events of a commit up to a version, as JSON without the brackets.
function listIn(body: Uint8Array, from: number, upTo: number): string {
  const text = Buffer.from(body).toString()
  const events = JSON.parse(text) as StoredEvent[]
  return from + events.length - 1 <= upTo
    ? text.slice(1, -1)
    : JSON.stringify(events.slice(0, upTo - from + 1)).slice(1, -1)
}
