import { DEFAULT_FORMAT, readerOf } from '../adapters/shared/reading.ts'
import type { SessionEvent } from '../event.ts'
import { bytesOfJson } from './cut.ts'
import { isMessage, kindOf, lineOf, problemOf, short } from './messages.ts'
import type { EventLine, Kind, Outline } from './wire.ts'

/** How items read as messages. */
export type Reader = Awaited<ReturnType<typeof readerOf>>

/** The events of a log, each as a few numbers. Only grows. */
export class LogOutline {
  readonly #kinds: number[] = []
  readonly #times: number[] = []
  readonly #problems = new Set<number>()
  readonly #marks: Outline['marks'][number][] = []
  /** From which version on messages are of which format. */
  readonly #formats: { readonly from: number; readonly format: string }[] = []
  #read: Reader | undefined
  /** What some events say, kept by whoever asked. */
  readonly said = new Map<number, string>()
  /** The first event that was given. */
  first: SessionEvent<unknown> | undefined
  /** The newest event that was given. */
  last: SessionEvent<unknown> | undefined

  /** The newest version. */
  get latest(): number {
    return this.#kinds.length
  }

  /** Adds the events after the newest, in order, up to a version. */
  async add(events: AsyncIterable<SessionEvent<unknown>>, to: number): Promise<void> {
    for await (const event of events) {
      this.#passOver(event.version - 1)
      const format = this.#formatAfter(event)
      if (format !== this.#formats.at(-1)?.format || !this.#read) {
        this.#formats.push({ from: event.version, format })
        this.#read = await readerOf(format)
      }
      this.#add(event, this.#read)
    }
    if (this.latest > 0) this.#passOver(to)
  }

  // Events of a newer release that say that they may be passed over are not given.
  #passOver(to: number): void {
    while (this.latest < to) {
      this.#kinds.push(KINDS.indexOf('message'))
      this.#times.push(this.#times.at(-1) ?? 0)
    }
  }

  #formatAfter(event: SessionEvent<unknown>): string {
    if (event.type === 'created') return event.data.format
    // Back to before it has started over.
    const version = event.type === 'rewound' ? event.data.toVersion : event.version
    return this.#formats.findLast(({ from }) => from <= version)?.format ?? DEFAULT_FORMAT
  }

  #add(event: SessionEvent<unknown>, read: Reader): void {
    const { version, at } = event
    const { kind, problem } = kindAndProblem(event, read)
    this.#kinds.push(KINDS.indexOf(kind))
    this.#times.push(at)
    this.first ??= event
    this.last = event
    if (problem !== undefined) this.#problems.add(version)
    if (event.type === 'rewound')
      this.#marks.push({ version, kind, toVersion: event.data.toVersion, rewind: event.data.kind })
    else if (event.type === 'turn-started') this.#marks.push({ version, kind, turn: 'begins' })
    else if (event.type === 'turn-ended') this.#marks.push({ version, kind, turn: 'ends' })
    else if (MARKED.has(kind)) this.#marks.push({ version, kind })
  }

  /** The version of the last event that is not later than a time; 0 where there is none. */
  versionAt(time: number): number {
    let [low, high] = [0, this.latest]
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      // Times never decrease along a log.
      if (this.#times[middle - 1]! <= time) low = middle
      else high = middle - 1
    }
    return low
  }

  /** The rewinds, in order. */
  get rewinds(): Outline['marks'] {
    return this.#marks.filter(({ kind }) => kind === 'rewound')
  }

  /** The events of versions `from` to `to`, counted in at most `buckets`. */
  counted(from: number, to: number, buckets: number): Outline {
    const { latest } = this
    const last = Math.min(to, latest)
    const first = Math.min(from, last)
    const count = last - first + 1
    const span = count <= Math.min(buckets, MOST_EVENTS) ? 1 : Math.ceil(count / Math.min(buckets, MOST_BUCKETS))
    const counted: Partial<Record<Kind | 'problem', number>>[] = []
    for (let start = first; start <= last; start += span) {
      const bucket: Partial<Record<Kind | 'problem', number>> = {}
      for (let version = start; version < Math.min(start + span, last + 1); version++) {
        const kind = KINDS[this.#kinds[version - 1]!]!
        bucket[kind] = (bucket[kind] ?? 0) + 1
        if (this.#problems.has(version)) bucket.problem = (bucket.problem ?? 0) + 1
      }
      counted.push(bucket)
    }
    return {
      latest,
      from: first,
      to: last,
      span,
      buckets: counted,
      fromAt: this.#times[first - 1]!,
      toAt: this.#times[last - 1]!,
      marks: this.#marks.filter(({ version }) => version >= first && version <= last).slice(-MARKS)
    }
  }
}

/** How many events have a bucket each, and how many buckets there are otherwise: they take more room. */
const MOST_EVENTS = 1_000
const MOST_BUCKETS = 700
/** How many marks are given, the newest. */
const MARKS = 500

const KINDS: readonly Kind[] = [
  'created',
  'user',
  'assistant',
  'tool',
  'system',
  'message',
  'replaced',
  'truncated',
  'metadata',
  'rewound',
  'turn',
  'deleted'
]

const MARKED = new Set<Kind>(['created', 'deleted', 'truncated'])

/** An event on a line; `read` is for messages of the format that it has. */
export function eventLine(event: SessionEvent<unknown>, read: Reader): EventLine {
  const { version, at, type, commitId, turnId, data } = event
  const { kind, problem } = kindAndProblem(event, read)
  return {
    version,
    at,
    type,
    kind,
    what: short(whatOf(event, read)),
    bytes: bytesOf(event),
    // Those of an import may be of any length.
    commitId: commitId.slice(0, LONGEST_ID),
    ...(turnId !== undefined && { turnId: turnId.slice(0, LONGEST_ID) }),
    ...(type === 'rewound' && { toVersion: data.toVersion }),
    ...(problem !== undefined && { problem })
  }
}

const LONGEST_ID = 200

// Events are frozen, and a store may give the same to all who follow a session.
const sizes = new WeakMap<object, number>()

function bytesOf(event: SessionEvent<unknown>): number {
  let size = sizes.get(event)
  if (size === undefined) sizes.set(event, (size = bytesOfJson(event)))
  return size
}

const KIND_OF = {
  'created': 'created',
  'messages-truncated': 'truncated',
  'metadata-changed': 'metadata',
  'rewound': 'rewound',
  'turn-started': 'turn',
  'turn-ended': 'turn',
  'deleted': 'deleted'
} as const

function kindAndProblem(
  event: SessionEvent<unknown>,
  read: Reader
): { readonly kind: Kind; readonly problem?: string | undefined } {
  if (event.type !== 'message-appended' && event.type !== 'message-replaced') return { kind: KIND_OF[event.type] }
  const message = messageOf(event.data.message, read)
  const speaker = isMessage(message) ? kindOf(message) : 'message'
  return {
    kind: event.type === 'message-appended' ? speaker : 'replaced',
    problem: isMessage(message) ? problemOf(message) : undefined
  }
}

// The message that an item reads as by itself; where it is none, the item.
function messageOf(item: unknown, read: Reader): unknown {
  return read([item])?.[0] ?? item
}

function whatOf(event: SessionEvent<unknown>, read: Reader): string {
  switch (event.type) {
    case 'message-appended':
    case 'message-replaced':
      return lineOf(messageOf(event.data.message, read))
    case 'created': {
      const { forkedFrom, format } = event.data
      return forkedFrom ? `fork of ${forkedFrom.sessionId}@${forkedFrom.version}` : format
    }
    case 'messages-truncated':
      return `the first ${event.data.length} messages are left`
    case 'metadata-changed':
      return [...Object.keys(event.data.set), ...event.data.unset.map((key) => `-${key}`)].slice(0, 100).join(' ')
    case 'rewound': {
      const { kind, toVersion, reason } = event.data
      return `${kind} to version ${toVersion}${reason === undefined ? '' : `: ${reason}`}`
    }
    case 'turn-started':
      return `a turn of ${event.data.owner ?? event.data.turnId} begins`
    case 'turn-ended':
      return `the turn is ${event.data.outcome}`
    case 'deleted':
      return event.data.reason ?? ''
  }
}
