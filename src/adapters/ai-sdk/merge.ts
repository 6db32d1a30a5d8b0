import { randomUUID } from 'node:crypto'
import type { UIMessage } from 'ai'
import type { Change } from '../../calls.ts'
import { turnlogError, type Path } from '../../errors.ts'
import { equalJson, type Json, type JsonObject } from '../../json.ts'
import { invalid, plain, type StandardSchema } from '../../message.ts'
import type { Session } from '../../session.ts'
import { AI_SDK_FORMAT } from '../messages/ai-sdk.ts'

/** What has to be known of a chat, and which ids were taken away from it. */
export type Known<UI> = Pick<Session<UI>, 'version' | 'messages'> & { readonly gone: ReadonlySet<string> }

/**
 * What a client has sent comes to: new messages are appended, in their order; the last of the list replaces the one of its id, unless it is
 * behind that; any other replaces it only where it has grown. What the list lacks stays, and what was taken away stays away. Where the last one
 * is a user's and of `editedId`, what came after it is taken away.
 *
 * @throws `INVALID_MESSAGE` with the path in the list; `VERSION_CONFLICT` where what is edited was taken away
 */
export function submitted<UI extends UIMessage>(chat: Known<UI>, list: readonly UI[], editedId?: string): Change<UI>[] {
  const last = list.at(-1)
  // The same text again is an edit, too: it is to be answered anew.
  if (editedId === undefined || last?.id !== editedId || last.role !== 'user') return merged(chat, list, true)
  const i = placeOf(chat, editedId)
  const length = i < 0 ? chat.messages.length : i + 1
  return [...askedAnew(chat, length), ...merged(without(chat, length), list, true)]
}

/**
 * What an answer that is to be made anew comes to: that of `id`, or of a user's message the one after it; without an id the one after the list, which
 * is all that a client says then; without either the last one. A message of the chat that is a user's stays as it is.
 *
 * @throws `INVALID_MESSAGE` with the path in the list; `VERSION_CONFLICT` where it was taken away, or others have gone on after it
 */
export function regenerated<UI extends UIMessage>(chat: Known<UI>, list: readonly UI[], id?: string): Change<UI>[] {
  const length = lengthToAnswer(chat, list.at(-1)?.id, id)
  return [...askedAnew(chat, length), ...merged(without(chat, length), list, false)]
}

function lengthToAnswer<UI extends UIMessage>(
  chat: Known<UI>,
  lastId: string | undefined,
  id: string | undefined
): number {
  const { messages } = chat
  const named = id === undefined ? -1 : placeOf(chat, id)
  if (named >= 0) return messages[named]!.role === 'assistant' ? named : named + 1
  // An answer whose run failed before it had begun was never stored: what it was to answer tells its place.
  if (lastId !== undefined) {
    const last = placeOf(chat, lastId)
    const after = last < 0 ? [] : messages.slice(last + 1)
    if (after.length > 1 || after.some(({ role }) => role !== 'assistant'))
      throw conflict(chat, `Others have gone on after message ${JSON.stringify(lastId)}`)
    return messages.length - after.length
  }
  return id === undefined && messages.at(-1)?.role === 'assistant' ? messages.length - 1 : messages.length
}

/** An answer as far as it has come, and what its run knows. */
export interface Answer<UI> {
  readonly message: UI
  /** Where the message is in what was given. */
  readonly path: Path
  /** What it answers, where that is known. */
  readonly before: UI | undefined
  /** The chat as the run got it. */
  readonly seen: Session<UI> | undefined
  /** It was stored before. */
  readonly wasStored: boolean
  /** It is taken also where it has become less. */
  readonly isFinal: boolean
}

/**
 * What an answer comes to. One that is there is replaced; a new one is appended only where it answers what is there: not where that was taken away or edited,
 * nor where the answer was, or another one was asked for since.
 *
 * @throws `INVALID_MESSAGE`
 */
export function answered<UI extends UIMessage>(
  chat: Known<UI> & Pick<Session<UI>, 'createdAt' | 'metadata'>,
  { message: given, path, before, seen, wasStored, isFinal }: Answer<UI>
): Change<UI>[] {
  const stored = chat.messages.findLast(({ id }) => id === given.id)
  const message = copyOf(given, path)
  if (stored) {
    const stays = isEqual(message, stored) || (!isFinal && isBehind(message, stored))
    return stays ? [] : [{ type: 'put', message }]
  }
  if (wasStored || chat.gone.has(given.id)) return []
  if (seen) {
    if (seen.createdAt !== chat.createdAt || askedOf(seen) !== askedOf(chat)) return []
    if (seen.messages.some(({ id }) => id === given.id)) return []
  }
  if (before) {
    const now = chat.messages.findLast(({ id }) => id === before.id)
    // As it was given to be answered: what has become of it on the way to the model is no edit.
    const then = seen?.messages.findLast(({ id }) => id === before.id)
    if (!now || (then && !isEqual(now, then))) return []
  }
  return [{ type: 'append', messages: [message] }]
}

/** Names the newest time that an answer was asked for anew, or a message was edited; of the same time it is the same object. */
export function askedOf({ metadata }: { readonly metadata: JsonObject }): string | undefined {
  const asked = (metadata[AI_SDK_FORMAT] as { readonly asked?: Json } | undefined)?.asked
  return typeof asked === 'string' ? asked : undefined
}

// Runs that were to answer what was there before can tell by it, also where nothing is taken away.
function askedAnew<UI extends UIMessage>({ messages }: Known<UI>, length: number): Change<UI>[] {
  if (messages.length === 0) return []
  const asked: Change<UI> = { type: 'metadata', set: { [AI_SDK_FORMAT]: { asked: randomUUID() } } }
  return length < messages.length ? [asked, { type: 'truncate', length }] : [asked]
}

function without<UI extends UIMessage>(chat: Known<UI>, length: number): Known<UI> {
  if (length === chat.messages.length) return chat
  const gone = new Set(chat.gone)
  for (const { id } of chat.messages.slice(length)) gone.add(id)
  return { ...chat, messages: chat.messages.slice(0, length), gone }
}

function merged<UI extends UIMessage>(
  { messages, gone }: Known<UI>,
  list: readonly UI[],
  takesLast: boolean
): Change<UI>[] {
  const known = new Map(messages.map((message) => [message.id, message]))
  return list.flatMap((given, i): Change<UI>[] => {
    const stored = known.get(given.id)
    const isTaken = takesLast && i === list.length - 1
    if (stored ? !isTaken && !mayHaveGrown(stored, given) : gone.has(given.id)) return []
    const message = copyOf(given, [i])
    if (stored && isEqual(message, stored)) return []
    if (stored && (isTaken ? isBehind(message, stored) : !isBehind(stored, message))) return []
    known.set(message.id, message)
    return [stored ? { type: 'put', message } : { type: 'append', messages: [message] }]
  })
}

// Where a message is, or -1 where it is not there yet.
function placeOf<UI extends UIMessage>(chat: Known<UI>, id: string): number {
  const place = chat.messages.findLastIndex((message) => message.id === id)
  if (place < 0 && chat.gone.has(id))
    throw conflict(chat, `Message ${JSON.stringify(id)} has been taken away before, by another request`)
  return place
}

function conflict({ version }: { readonly version: number }, message: string): Error {
  return turnlogError('VERSION_CONFLICT', message, { expected: 'any', actual: version })
}

function copyOf<UI extends UIMessage>(message: UI, path: Path): UI {
  return plain(message, path) as unknown as UI
}

function isEqual(a: UIMessage, b: UIMessage): boolean {
  return equalJson(a as unknown as Json, b as unknown as Json)
}

/**
 * Whether an answer is an earlier state of another, as a second tab may have it: fewer parts, less text of one that still streams, a
 * tool that has not got as far. Only answers grow; of a user's message any change is an edit.
 */
function isBehind(earlier: UIMessage, later: UIMessage): boolean {
  if (earlier.role !== 'assistant' || earlier.parts.length > later.parts.length) return false
  let hasGrown = earlier.parts.length < later.parts.length
  for (const [i, part] of (earlier.parts as readonly JsonPart[]).entries()) {
    const grown = (later.parts as readonly JsonPart[])[i]!
    if (equalJson(part, grown)) continue
    if (!isPartBehind(part, grown)) return false
    hasGrown = true
  }
  return hasGrown
}

type JsonPart = JsonObject & { readonly type: string }

function isPartBehind(earlier: JsonPart, later: JsonPart): boolean {
  if (earlier.type !== later.type) return false
  const isStreaming = earlier['state'] === 'streaming'
  if (typeof earlier['text'] === 'string') return isStreaming && isBeginning(earlier['text'], later['text'])
  const { toolCallId } = earlier
  if (typeof toolCallId !== 'string' || toolCallId !== later['toolCallId']) return false
  const [before, after] = [stageOf(earlier), stageOf(later)]
  if (before === after && before === 0) return isBeginning(earlier['rawInput'] ?? '', later['rawInput'])
  return before < after
}

function isBeginning(text: Json, of: Json | undefined): boolean {
  return typeof text === 'string' && typeof of === 'string' && of.startsWith(text)
}

const STAGES = ['input-streaming', 'input-available', 'approval-requested', 'approval-responded', 'preliminary']

// Outputs and errors come last, whatever they are called.
function stageOf({ state, preliminary }: JsonPart): number {
  const stage = STAGES.indexOf(preliminary === true ? 'preliminary' : (state as string))
  return stage < 0 ? STAGES.length : stage
}

// Most of a list is as it was: what cannot have grown is not copied.
function mayHaveGrown(stored: UIMessage, given: UIMessage): boolean {
  if (given.role !== 'assistant' || given.parts.length < stored.parts.length) return false
  if (given.parts.length > stored.parts.length) return true
  return (stored.parts as readonly JsonPart[]).some((part, i) => {
    const now = (given.parts as readonly JsonPart[])[i]!
    return ['text', 'state', 'preliminary', 'rawInput'].some((key) => part[key] !== now[key])
  })
}

/** What all messages of the SDK have in common. What else is in their parts is for the SDK to judge: `validateUIMessages`. */
export const uiMessages: StandardSchema<UIMessage, UIMessage> = {
  '~standard': {
    version: 1,
    vendor: 'turnlog',
    validate(value) {
      const fault = faultOf(value)
      return fault ? { issues: [fault] } : { value: value as UIMessage }
    }
  }
}

/** @throws `INVALID_MESSAGE` where one is none of the SDK's */
export function checkMessage(value: unknown, path: Path): void {
  const fault = faultOf(value)
  if (fault) throw invalid(fault.message, [...path, ...fault.path])
}

function faultOf(value: unknown): { readonly message: string; readonly path: Path } | undefined {
  if (typeof value !== 'object' || value === null) return { message: 'a message is an object', path: [] }
  const { id, role, parts } = value as { id?: unknown; role?: unknown; parts?: unknown }
  if (typeof id !== 'string' || id === '')
    return {
      message: 'a message has an id; an answer has one with `generateMessageId` of toUIMessageStream',
      path: ['id']
    }
  if (role !== 'user' && role !== 'assistant' && role !== 'system')
    return { message: 'a role is system, user or assistant', path: ['role'] }
  if (!Array.isArray(parts)) return { message: 'a message has a list of parts', path: ['parts'] }
  const i = parts.findIndex((part) => typeof (part as { type?: unknown } | null | undefined)?.type !== 'string')
  return i < 0 ? undefined : { message: 'a part has a type', path: ['parts', i] }
}
