import type { Summary } from '../../store.ts'

/**
 * Names a message of a stream: its sequence and its id. By its sequence alone it would be any that a replica has there: one that was
 * away may have others. `''` names none.
 */
export type Link = string

/**
 * What the header of a message says. `id` is its own; `after` names the message of the same subject that it follows, `''` where it is the
 * first, or the first after a purge. Of several messages that follow one, the first in the stream counts and the others are
 * passed over, with all that follows them: replicas may take in more than one.
 */
export type Note = Ending | PartNote | PurgedNote | PointerNote

/** A note before it is stored. */
export type NewNote = Unnamed<Ending> | Unnamed<PartNote> | Unnamed<PurgedNote>

type Unnamed<N> = Omit<N, 'id'>

/** The newest state of a log: in a commit, or in a message that only tells of use. */
export interface Ending {
  /** `commit`: the body is the events, of which the first has version `from`. `touch`: there is none. */
  readonly kind: 'commit' | 'touch'
  readonly id: string
  readonly after: Link
  readonly logId: string
  readonly from: number
  readonly summary: Summary
  readonly touchedAt?: number | undefined
  readonly fork?: ForkNote | undefined
}

/** Goes from the first commit of a fork to all later ones. */
export interface ForkNote {
  /** The log that it was forked from. */
  readonly parent: string
  /** The sequence of the first of the parts before the first commit. */
  readonly base: number
  /** What the parts hold copies of, the parent last. */
  readonly ancestors: readonly Ancestor[]
}

/** A log of which a fork has a copy of so many events. */
export interface Ancestor {
  readonly logId: string
  readonly version: number
  /** The subject that it has or had. */
  readonly origin: string
  /** The sequence of the pointer to the fork. */
  readonly pointer: number
}

/** A copy of events of another log, from one version to another; they stand before the first commit of a fork. */
export interface PartNote {
  readonly kind: 'part'
  readonly id: string
  readonly after: Link
  readonly logId: string
  readonly from: number
  readonly to: number
}

/** The log before it is no more. */
export interface PurgedNote {
  readonly kind: 'purged'
  readonly id: string
  readonly after: Link
}

/** Of a log to a fork that holds a copy of its beginning; the subject says to which. */
export interface PointerNote {
  readonly kind: 'pointer'
  readonly id: ''
  readonly after: ''
  /** The subject that the log has or had. */
  readonly origin: string
}

/** A message of a log. */
export interface Stored {
  readonly subject: string
  readonly seq: number
  readonly note: Note
  readonly body: Uint8Array
}

/** The link to a message. */
export function linkTo({ seq, note }: Pick<Stored, 'seq' | 'note'>): Link {
  return `${seq} ${note.id}`
}

/** What the message after this one names, where this one counts. */
export function linkAfter(message: Stored): Link {
  return message.note.kind === 'purged' ? '' : linkTo(message)
}

/** The sequence of the message that a link names; 0 of none. */
export function seqIn(link: Link): number {
  return link === '' ? 0 : Number(link.slice(0, link.indexOf(' ')))
}

export const HEADER = 'Turnlog'

/** Servers take the first place in all headers where the name of one of theirs stands, and where that is not one, there is none. */
export function noteText(note: Note): string {
  return JSON.stringify(note).replaceAll('Nats-', String.raw`\u004eats-`)
}

export function parseNote(text: string): Note {
  return JSON.parse(text) as Note
}

/** The note in a block of headers as the server stores it. */
export function noteIn(block: string): Note {
  const start = block.indexOf(`\r\n${HEADER}:`) + HEADER.length + 3
  return parseNote(block.slice(start, block.indexOf('\r\n', start)))
}
