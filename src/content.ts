import { turnlogError } from './errors.ts'
import type { Fact, RewindKind } from './event.ts'
import { equalJson, type Json, type JsonObject } from './json.ts'
import { MessageLog } from './message-log.ts'

/** The part of a session that its users change, and that can be set back. */
export interface Content {
  readonly messages: MessageLog<Json>
  readonly metadata: JsonObject
  readonly format: string
}

/** One change of a commit. */
export type SessionChange =
  | { readonly type: 'append'; readonly messages: readonly Json[] }
  | { readonly type: 'put'; readonly message: Json }
  | { readonly type: 'truncate'; readonly length: number }
  | { readonly type: 'metadata'; readonly set: JsonObject; readonly unset: readonly string[] }
  | { readonly type: 'rewind'; readonly toVersion: number; readonly kind: RewindKind; readonly reason?: string }

/** The content at an earlier version; `undefined` where there was no session. */
export type PastContent = (version: number) => Content | undefined

/** A fact about content. */
export type ContentFact = Extract<
  Fact<Json>,
  { type: 'message-appended' | 'message-replaced' | 'messages-truncated' | 'metadata-changed' | 'rewound' }
>

/** No messages, no metadata. */
export const NOTHING: Content = Object.freeze({
  messages: MessageLog.empty<Json>(),
  metadata: Object.freeze({}),
  format: ''
})

/**
 * What changes come to, each upon the one before; what changes nothing comes to no fact.
 *
 * @throws `VERSION_NOT_FOUND` for a rewind to where there was no session, `FORMAT_MISMATCH` to where it had another format
 */
export function factsOf(
  changes: readonly SessionChange[],
  content: Content,
  past: PastContent,
  version: number
): ContentFact[] {
  const facts: ContentFact[] = []
  let applied = 0
  // Only where it is looked at: what is pushed here goes into the room of the list that evolve would push into.
  const current = (): Content => {
    for (; applied < facts.length; applied++) content = contentAfter(content, facts[applied]!, past)
    return content
  }
  for (const change of changes) {
    switch (change.type) {
      case 'append':
        for (const message of change.messages) facts.push({ type: 'message-appended', data: { message } })
        break
      case 'put': {
        const { message } = change
        const { messages } = current()
        const index = lastOfSameId(messages, message)
        if (index < 0) facts.push({ type: 'message-appended', data: { message, put: true } })
        else if (!equalJson(messages.get(index), message)) facts.push({ type: 'message-replaced', data: { message } })
        break
      }
      case 'truncate': {
        const { length } = change
        const dropped = current().messages.length - length
        if (dropped > 0) facts.push({ type: 'messages-truncated', data: { length, dropped } })
        break
      }
      case 'metadata': {
        const fact = metadataChanged(current().metadata, change.set, change.unset)
        if (fact) facts.push(fact)
        break
      }
      case 'rewind': {
        const { toVersion, kind, reason } = change
        const target = past(toVersion)
        if (!target) throw noSessionThen(toVersion, version)
        const { messages, metadata, format } = current()
        checkFormat(target, format)
        // Undoing and redoing move along the steps even where the content is the same.
        if (kind === 'rewind' && messages === target.messages && metadata === target.metadata) break
        facts.push({ type: 'rewound', data: reason === undefined ? { toVersion, kind } : { toVersion, kind, reason } })
      }
    }
  }
  return facts
}

/** The content after a fact. */
export function contentAfter(content: Content, { type, data }: ContentFact, past: PastContent): Content {
  const { messages, metadata, format } = content
  switch (type) {
    case 'message-appended':
      return { messages: messages.push(data.message), metadata, format }
    case 'message-replaced':
      return { messages: messages.replace(indexOfSameId(messages, data.message), data.message), metadata, format }
    case 'messages-truncated': {
      const { length, dropped } = data
      if (dropped !== undefined && length + dropped !== messages.length)
        throw new RangeError('There are not so many messages to drop')
      return { messages: messages.take(length), metadata, format }
    }
    case 'metadata-changed': {
      const changed: Record<string, Json> = { ...metadata, ...data.set }
      for (const key of data.unset) delete changed[key]
      return { messages, metadata: Object.freeze(changed), format }
    }
    case 'rewound':
      return past(data.toVersion) ?? content
  }
}

/** @throws `FORMAT_MISMATCH` where the messages of a session are not of the format `expected`. */
export function checkFormat({ format: actual }: { readonly format: string }, expected: string): void {
  if (actual === expected) return
  const message = `The session holds messages of the format ${JSON.stringify(actual)}, not ${JSON.stringify(expected)}`
  throw turnlogError('FORMAT_MISMATCH', message, { expected, actual })
}

/** As an option of `readEvents` and `subscribe`: events come whatever their format is. For the inspector; no option of the package. */
export const IN_ANY_FORMAT = Symbol('in any format')

/** The error for a version that a log does not have, or at which there was no session; `time` where that was asked for. */
export function noSessionThen(version: number, actual: number, time?: Date): Error {
  const what = version > actual ? `does not exist; the newest is ${actual}` : 'is one at which there was no session'
  const message = time ? `There was no session at ${time.toISOString()}` : `Version ${version} ${what}`
  return turnlogError('VERSION_NOT_FOUND', message, { version, actual })
}

function metadataChanged(metadata: JsonObject, set: JsonObject, unset: readonly string[]): ContentFact | undefined {
  const changes = Object.entries(set).filter(
    ([key, value]) => !Object.hasOwn(metadata, key) || !equalJson(metadata[key], value)
  )
  const gone = [...new Set(unset)].filter((key) => Object.hasOwn(metadata, key))
  if (changes.length === 0 && gone.length === 0) return undefined
  return {
    type: 'metadata-changed',
    data: { set: Object.freeze(Object.fromEntries(changes)), unset: Object.freeze(gone) }
  }
}

/** The id of a message, if it has one that is a string. Of a format of its own, a message may be any JSON. */
export function idIn(message: Json): string | undefined {
  const { id } = (message ?? {}) as { readonly id?: unknown }
  return typeof id === 'string' ? id : undefined
}

function lastOfSameId(messages: MessageLog<Json>, message: Json): number {
  const { id } = message as JsonObject
  // Of a format of its own, a message may be any JSON, null too.
  return messages.findLastIndex((other) => (other as JsonObject | null)?.['id'] === id)
}

function indexOfSameId(messages: MessageLog<Json>, message: Json): number {
  const index = lastOfSameId(messages, message)
  if (index < 0) throw new RangeError('There is no message of that id')
  return index
}
