import type { EventType, ForkOrigin, RewindKind } from '../event.ts'
import type { Json, JsonObject } from '../json.ts'
import type { Message } from '../message.ts'

// What the server answers and the page reads. Types only: the page has nothing else of the server's.

/** What was left out of a value, to be fetched when it is opened. */
export interface Cut {
  /** Where in the value: property names and list positions, outermost first. */
  readonly path: readonly (string | number)[]
  /** `text`: a text of `size` UTF-16 code units, of which the value has the beginning; `image`: one that is a picture's `data:` address, left out
   * whole; `list` and `object`: of their `size` entries the value has the first. */
  readonly what: 'text' | 'image' | 'list' | 'object'
  readonly size: number
}

/** A value with its long texts and lists cut. */
export interface Shown<T> {
  readonly value: T
  readonly cuts: readonly Cut[]
}

/** `GET /api/about` */
export interface About {
  /** Of turnlog. */
  readonly version: string
  /** What the store is called, for people; without credentials. */
  readonly store?: string
  /** Whether the calls that write are allowed. */
  readonly allowEdit: boolean
  /** Whether the actors are told of: `GET /api/actors`. */
  readonly actors: boolean
}

/** `GET /api/users?search&after` */
export interface UserPage {
  readonly users: readonly string[]
  /** What to give as `after` for the next page; absent on the last. */
  readonly after?: string
}

/** A session in a list. */
export interface SessionLine {
  readonly userId: string
  readonly id: string
  /** The newest. */
  readonly version: number
  readonly createdAt: number
  readonly updatedAt: number
  readonly title?: string
  /** What else of its metadata fits on a line: `reward` `0`. */
  readonly facts: readonly (readonly [key: string, value: string])[]
  readonly format: string
  readonly forkedFrom?: ForkOrigin
  /** The turn that is open. */
  readonly turn?: { readonly owner?: string; readonly expiresAt: number }
  readonly isDeleted?: true
}

/** `GET /api/sessions?user&search&after` : newest activity first. */
export interface SessionPage {
  readonly sessions: readonly SessionLine[]
  /** What to give as `after` for the next page; absent on the last. */
  readonly after?: string
}

/** A message as the page shows it. */
export interface Item {
  /** Its place in `messages`. */
  readonly index: number
  /** As a message; where the format is unknown, `raw` in its place. */
  readonly message?: Message
  readonly raw?: Json
  readonly cuts: readonly Cut[]
  /** Of each tool call in it, by the place of the part: where its output is. A call that is shown and not named here has none; of rows
   * of a comparison none is named. */
  readonly outputs?: { readonly [part: number]: { readonly message: number; readonly part: number } }
  /** Of each tool output in it: where its call is. */
  readonly calls?: { readonly [part: number]: { readonly message: number; readonly part: number } }
  /** Why it is looked at first by whoever looks for what went wrong. */
  readonly problem?: string
}

/** Messages from `from` on: as many as fit into an answer, at least one where there is one. `GET /api/messages?user&session&at&from&count[&raw]` */
export interface Window {
  readonly from: number
  readonly items: readonly Item[]
}

/** What an event did to the messages: `removed` messages from `at` on are gone, and `added` are in their place. */
export interface Change {
  readonly at: number
  readonly removed: number
  readonly added: number
  readonly metadata: readonly MetadataChange[]
}

/** A key of the metadata whose values differ; a side that does not have it is absent. */
export interface MetadataChange {
  readonly key: string
  readonly a?: Shown<Json>
  readonly b?: Shown<Json>
}

/** An event, whole but for what is long. `GET /api/event?user&session&version` */
export type EventShown = Shown<JsonObject> & { readonly line: EventLine }

/**
 * A session at a version, and what the event of that version did. `GET /api/moment?user&session[&at][&from&count][&brief=1]`; with `brief`, and neither `at` nor `from`, it
 * may be brief.
 */
export interface Moment {
  readonly userId: string
  readonly id: string
  /** The version that is shown. */
  readonly version: number
  /** The newest version of the log. */
  readonly latest: number
  /** Which event that is: `after` of what follows. */
  readonly latestId?: string
  /** The first version that cannot be read, as the log is damaged: `latest` is the one before, and no more is known. */
  readonly damagedAt?: number
  /** `false` where it is deleted at this version. */
  readonly isLive: boolean
  readonly createdAt: number
  readonly updatedAt: number
  readonly format: string
  readonly title?: string
  readonly forkedFrom?: ForkOrigin
  readonly turn?: { readonly owner?: string; readonly expiresAt: number }
  readonly metadata: Shown<JsonObject>
  /**
   * Read from the end of a log that is long and was not read yet, which takes a moment: `window` has the newest messages as if there were no others, of which none
   * is cut; which outputs belong to which calls is not said. To be asked for again.
   */
  readonly isBrief?: true
  /** How many messages there are. */
  readonly count: number
  readonly event: EventShown
  readonly change: Change
  /** Around what the event changed, or from `from` on. */
  readonly window: Window
}

/** Counts over all messages at a version. `GET /api/facts?user&session&at` */
export interface Facts {
  readonly messages: number
  /** Of their JSON in UTF-8. */
  readonly bytes: number
  /** How many of each role, of at most a hundred; those without one under their type. */
  readonly roles: { readonly [role: string]: number }
  /** Sums over the messages that carry `usage`; absent where none does. */
  readonly tokens?: { readonly input: number; readonly output: number; readonly total: number }
  readonly toolCalls: number
  /** Tool calls without an output: how many, and the first hundred, or as many as there is room for. */
  readonly openCount: number
  readonly open: readonly { readonly message: number; readonly part: number; readonly name?: string }[]
  /** The first hundred messages that carry a problem, or as many as there is room for. */
  readonly problems: readonly { readonly message: number; readonly what: string }[]
}

/** What an event is on the timeline. Those of messages are told apart by who speaks. */
export type Kind =
  | 'created'
  | 'user'
  | 'assistant'
  | 'tool'
  | 'system'
  | 'message'
  | 'replaced'
  | 'truncated'
  | 'metadata'
  | 'rewound'
  | 'turn'
  | 'deleted'

/** An event in a list. */
export interface EventLine {
  readonly version: number
  readonly at: number
  readonly type: EventType
  readonly kind: Kind
  /** What it says, on a line of at most 200 characters. */
  readonly what: string
  /** Of its JSON in UTF-8. */
  readonly bytes: number
  readonly commitId: string
  readonly turnId?: string
  readonly toVersion?: number
  readonly problem?: string
}

/** `GET /api/events?user&session&from&count`: as many as fit into an answer. */
export interface EventPage {
  readonly events: readonly EventLine[]
  readonly latest: number
}

/** The events of a log as an overview. `GET /api/outline?user&session[&from&to][&buckets]`: at most 1,000 buckets of one event each, or 700 of several. */
export interface Outline {
  readonly latest: number
  readonly from: number
  readonly to: number
  /** How many versions a bucket has; 1 where each event has its own. */
  readonly span: number
  /** How many events of each kind each bucket has, and how many with a problem. */
  readonly buckets: readonly ({ readonly [kind in Kind]?: number } & { readonly problem?: number })[]
  /** When the first and the last event were. */
  readonly fromAt: number
  readonly toAt: number
  /** Events that are few and matter, at most 500: rewinds, turns, deletions, starts over. */
  readonly marks: readonly {
    readonly version: number
    readonly kind: Kind
    readonly toVersion?: number
    readonly rewind?: RewindKind
    readonly turn?: 'begins' | 'ends'
  }[]
}

/** Where a text that was cut is found whole: in a message as it is shown, in an item as it is stored, in an event, or in the metadata. */
export type Source = 'message' | 'item' | 'event' | 'metadata'

/**
 * A piece of a text, never ending between the two halves of a character. `GET /api/text?user&session&at&of&index&path&offset`; `path` is JSON, `index` that of the message. `GET /api/file` with the
 * same is all of it, as a file; `GET /api/image` a picture.
 */
export interface Text {
  readonly text: string
  readonly offset: number
  /** Of all of it, in UTF-16 code units. */
  readonly length: number
}

/** A row of a comparison: what the two sides have at this place. */
export interface DiffRow {
  /** `same`; `changed`: one in place of the other; `a` and `b`: only there. */
  readonly kind: 'same' | 'changed' | 'a' | 'b'
  readonly a?: Item
  readonly b?: Item
}

/** One side of a comparison. */
export interface DiffSide {
  readonly userId: string
  readonly id: string
  readonly version: number
  readonly latest: number
  readonly title?: string
  readonly count: number
}

/** `GET /api/diff?user&session&at&otherUser&otherSession&otherAt&from&count`: rows from `from` on, as many as fit. */
export interface Diff {
  readonly a: DiffSide
  readonly b: DiffSide
  readonly counts: { readonly same: number; readonly changed: number; readonly a: number; readonly b: number }
  readonly metadata: readonly MetadataChange[]
  /** All rows, of which `rows` has those from `from` on. */
  readonly length: number
  /** The places of the first rows of each run that differs, at most 1,000. */
  readonly places: readonly number[]
  /** How many rows each of these runs has. */
  readonly lengths: readonly number[]
  readonly from: number
  readonly rows: readonly DiffRow[]
}

/** A session in the tree of forks. */
export interface TreeSession extends DiffSide {
  readonly forkedFrom?: ForkOrigin
  readonly isDeleted?: true
  /** Only its name is known: it was purged, or cannot be read. */
  readonly isGone?: true
  /** Neither its messages were counted nor its rewinds read: the tree is large. */
  readonly isBrief?: true
  /** How many older rewinds are left out. */
  readonly earlierRewinds?: number
  /** In order of their versions. */
  readonly rewinds: readonly { readonly version: number; readonly toVersion: number; readonly kind: RewindKind }[]
  /** What the events say that are worth a row, by their versions, as far as there is time: where branches end and begin, of the newest. */
  readonly said?: { readonly [version: number]: string }
}

/** `GET /api/tree?user&session`: all that has one origin, parents before their forks; `more` where not all of it is here. */
export interface Tree {
  readonly sessions: readonly TreeSession[]
  readonly more: boolean
}

/** `GET /api/find?user&session&at&text&from`: places of messages that contain a text, in either case of letters. */
export interface Found {
  readonly messages: readonly number[]
  /** From where to go on; absent where all was looked at. */
  readonly next?: number
}

/**
 * `GET /api/follow?user&session&from&after`, server-sent, from a version or after an event that is known: `following` once it is known that there is such a session, then `events` with an
 * {@link EventPage} of at most sixty events that are there at once, whose id is for `Last-Event-ID`; `gone` where the session was purged, or purged
 * and begun anew while nobody listened; `failure` with a {@link Failure}. After the last two the server ends the answer, and a browser asks again by itself
 * unless it is closed. `beat` comes every 15 s.
 */
export type Followed = EventPage

/** `GET /api/actors`, server-sent: `actors` with this, at most ten times a second. */
export interface Actors {
  /** How many run. */
  readonly running: number
  /** Of those the 500 that did something last, the last first. */
  readonly actors: readonly ActorLine[]
  /** What is new since the update before, oldest first; at first the newest 500. */
  readonly events: readonly ActorEvent[]
}

export interface ActorLine {
  /** xstate's, unique in the process. */
  readonly ref: string
  /** `registry`, or the user's and the session's id with a slash between them. */
  readonly id: string
  readonly status: string
  readonly version?: number
  readonly waiting?: number
  /** How many events it has got. */
  readonly events: number
}

export interface ActorEvent {
  readonly number: number
  readonly at: number
  readonly ref: string
  readonly id: string
  readonly type: string
}

/** What the calls that write take, as the JSON of a `POST` to `/api/edit`. `expectedVersion` is the newest version that was shown; a fork needs none. */
export type Edit = { readonly user: string; readonly session: string } & (
  | { readonly type: 'fork'; readonly at: number; readonly as?: string }
  | {
      readonly type: 'rewind'
      readonly toVersion: number
      readonly expectedVersion: number
      readonly reason?: string
    }
  | { readonly type: 'undo' | 'redo'; readonly expectedVersion: number }
  | {
      readonly type: 'metadata'
      readonly set: JsonObject
      readonly unset: readonly string[]
      readonly expectedVersion: number
    }
  | { readonly type: 'delete'; readonly expectedVersion: number }
)

/** What an edit came to: the session to look at then. */
export interface Edited {
  readonly userId: string
  readonly id: string
  readonly version: number
}

/**
 * Every answer that is none. Beside the service's own codes: 400 `INVALID_REQUEST`, which names the parameter; 401 `UNAUTHORIZED`; 403 `UNKNOWN_HOST`,
 * `FOREIGN_ORIGIN` and `READ_ONLY`; 404 `NOT_FOUND`; 405 `METHOD_NOT_ALLOWED`. The service's have 400 (`INVALID_MESSAGE`), 404 (what is not found), 409 (an
 * edit that cannot be made now), 503 (`STORE_UNAVAILABLE`, `STOPPED`) or 500: `CORRUPT_LOG` where nothing of a log can be read, or at a version after the damage.
 */
export interface Failure {
  readonly error: { readonly code: string; readonly message: string }
}
