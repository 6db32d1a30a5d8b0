import { z } from 'zod'
import { turnlogError } from './errors.ts'
import { freezeJson, type JsonObject } from './json.ts'
import type { Message } from './message.ts'

/** The version of a session that another one was forked from. */
export interface ForkOrigin {
  readonly userId: string
  readonly sessionId: string
  readonly version: number
}

/** What each type of event says. */
export interface EventData<M = Message> {
  /** A session begins, or starts over: no messages, or those and the metadata of the parent at that version. */
  'created': {
    readonly metadata?: JsonObject
    readonly format: string
    readonly forkedFrom?: ForkOrigin
    /** With `forkedFrom`: the parent's log, which its name may no longer lead to. */
    readonly parentLogId?: string
    /** In place of `parentLogId` where the fork was imported: the messages that it begins with; `metadata` has all of it, too. */
    readonly messages?: readonly M[]
  }
  /** One more message; `put` where a reply may go on to grow, by `message-replaced`. */
  'message-appended': { readonly message: M; readonly put?: true }
  /** The last message of that id has this content. */
  'message-replaced': { readonly message: M }
  /** Only the first `length` messages, without the `dropped` ones after them; metadata as it was. */
  'messages-truncated': { readonly length: number; readonly dropped?: number }
  /** Keys of `set` replace those of the metadata, whole; the keys in `unset` are gone. */
  'metadata-changed': { readonly set: JsonObject; readonly unset: readonly string[] }
  /** Messages and metadata as they were at `toVersion`. */
  'rewound': { readonly toVersion: number; readonly kind: RewindKind; readonly reason?: string }
  /** Until the turn ends or expires, only it may write. Again for a turn that is open: it is renewed. */
  'turn-started': { readonly turnId: string; readonly owner?: string; readonly ttlMs: number }
  /** `completed` or `aborted` by its holder; `expired` or `taken-over`, as the one who writes next says. */
  'turn-ended': { readonly turnId: string; readonly outcome: TurnOutcome }
  /** The session is hidden, until it is created again. */
  'deleted': { readonly reason?: string }
}

/** Why a session went back: what was asked of it. */
export type RewindKind = 'rewind' | 'undo' | 'redo' | 'abort'

/** How a turn ended. */
export type TurnOutcome = 'completed' | 'aborted' | 'expired' | 'taken-over'

/** The types of events. */
export type EventType = keyof EventData

/** What every event carries beside its type and data. Frozen, deeply, as all of an event. */
export interface Envelope {
  /** Unique over all events. */
  readonly id: string
  readonly userId: string
  readonly sessionId: string
  /** The place of the event in its log, from 1. */
  readonly version: number
  /** Milliseconds since the Unix epoch; never less than that of the event before. */
  readonly at: number
  /** The version of the form of `data`, from 1. */
  readonly schemaVersion: number
  /** What was stored by one call has one commit id: the id of the commit's first event. */
  readonly commitId: string
  /** The key that the call gave. */
  readonly idempotencyKey?: string
  /** SHA-256 of the canonical content of the call that gave the key; on the last event of the commit. */
  readonly contentHash?: string
  /** The turn that the event was written in. */
  readonly turnId?: string
  /** Readers that do not know the event may pass over it. */
  readonly skippable?: boolean
}

/** A fact about a session; `type` tells which `data` it has. */
export type SessionEvent<M = Message> = { [T in EventType]: EventOf<T, M> }[EventType]

/** An event of one type. */
export type EventOf<T extends EventType, M = Message> = Envelope & { readonly type: T; readonly data: EventData<M>[T] }

/** What an event says, before it has a place in a log. */
export type Fact<M = Message> = { [T in EventType]: { readonly type: T; readonly data: EventData<M>[T] } }[EventType]

/** An event as a store has it: perhaps of an older or newer release. Plain JSON. */
export type StoredEvent = Envelope & { readonly type: string; readonly data: JsonObject }

const forkOriginSchema = z.object({ userId: z.string(), sessionId: z.string(), version: z.int().positive() })
const record = z.custom<JsonObject>((value) => typeof value === 'object' && value !== null && !Array.isArray(value))
const message = z.custom<unknown>((value) => value !== undefined)
const messageWithId = z.custom<JsonObject>((value) => typeof (value as JsonObject | null)?.['id'] === 'string')

const dataSchemas = {
  'created': z.object({
    metadata: record.optional(),
    format: z.string(),
    forkedFrom: forkOriginSchema.optional(),
    parentLogId: z.string().optional(),
    messages: z.array(message).optional()
  }),
  'message-appended': z.object({ message, put: z.literal(true).optional() }),
  'message-replaced': z.object({ message: messageWithId }),
  'messages-truncated': z.object({ length: z.int().nonnegative(), dropped: z.int().nonnegative().optional() }),
  'metadata-changed': z.object({ set: record, unset: z.array(z.string()) }),
  'rewound': z.object({
    toVersion: z.int().positive(),
    kind: z.enum(['rewind', 'undo', 'redo', 'abort']),
    reason: z.string().optional()
  }),
  'turn-started': z.object({ turnId: z.string().min(1), owner: z.string().optional(), ttlMs: z.int().positive() }),
  'turn-ended': z.object({
    turnId: z.string().min(1),
    outcome: z.enum(['completed', 'aborted', 'expired', 'taken-over'])
  }),
  'deleted': z.object({ reason: z.string().optional() })
} satisfies Record<EventType, z.ZodType>

const envelope = {
  id: z.string().min(1),
  userId: z.string().min(1),
  sessionId: z.string().min(1),
  version: z.int().positive(),
  at: z.int(),
  schemaVersion: z.int().positive(),
  commitId: z.string().min(1),
  idempotencyKey: z.string().optional(),
  contentHash: z.string().optional(),
  turnId: z.string().optional(),
  skippable: z.boolean().optional()
}

/** The form of an event of any release; of its data no more than that there are some. */
export const storedEventSchema = z.object({ ...envelope, type: z.string(), data: record })

function eventOf<T extends EventType>(type: T) {
  return z.object({ ...envelope, type: z.literal(type), data: dataSchemas[type] })
}

/** The form of an event of this release; messages are taken as they are. For what comes from outside; logs are trusted. */
export const eventSchema = z.discriminatedUnion('type', [
  eventOf('created'),
  eventOf('message-appended'),
  eventOf('message-replaced'),
  eventOf('messages-truncated'),
  eventOf('metadata-changed'),
  eventOf('rewound'),
  eventOf('turn-started'),
  eventOf('turn-ended'),
  eventOf('deleted')
])

/** How the data of each type came to its present form: the first takes version 1 to 2, and so on. */
export type Upcasts = Readonly<Record<string, readonly ((data: JsonObject) => JsonObject)[]>>

const UPCASTS = {
  'created': [],
  'message-appended': [],
  'message-replaced': [],
  'messages-truncated': [],
  'metadata-changed': [],
  'rewound': [],
  'turn-started': [],
  'turn-ended': [],
  'deleted': []
} satisfies Record<EventType, Upcasts[string]>

/** The version that new events of a type are written in. */
export function schemaVersionOf(type: EventType): number {
  return UPCASTS[type].length + 1
}

/**
 * A stored event in the form of this release, deeply frozen, or `null` where it is unknown and may be passed over. The log is not
 * rewritten.
 *
 * @throws `UNKNOWN_EVENT` where it is unknown and may not be passed over: a newer release has written to the log.
 */
export function upcast(stored: StoredEvent, upcasts: Upcasts = UPCASTS): SessionEvent<unknown> | null {
  const { type, schemaVersion, version } = stored
  const steps = Object.hasOwn(upcasts, type) ? upcasts[type] : undefined
  if (!steps || schemaVersion > steps.length + 1) {
    if (stored.skippable) return null
    throw turnlogError(
      'UNKNOWN_EVENT',
      `Event ${version} of session ${JSON.stringify(stored.sessionId)} is of a newer release: type ${JSON.stringify(type)}, schema version ${schemaVersion}`,
      { version, type, schemaVersion }
    )
  }
  if (schemaVersion === steps.length + 1) return freezeJson(stored) as SessionEvent<unknown>
  const data = steps.slice(schemaVersion - 1).reduce((old, step) => step(old), stored.data)
  return freezeJson({ ...stored, data, schemaVersion: steps.length + 1 }) as SessionEvent<unknown>
}
