import type { UIMessage } from 'ai'
import type { Change } from '../../calls.ts'
import type { Path } from '../../errors.ts'
import { equalJson, type Json, type JsonObject } from '../../json.ts'
import { invalid, plain, type StandardSchema } from '../../message.ts'
import type { Session } from '../../session.ts'
import { AI_SDK_FORMAT } from '../messages/ai-sdk.ts'

/** What is to be stored of a list of messages, which may be older or newer than the chat. */
export interface Wish<UI> {
  readonly messages: readonly UI[]
  /** After how many messages of the chat the rest is taken away; by default nothing is. */
  readonly lengthOf?: ((session: Known<UI>) => number) | undefined
  /** The last of the messages is what a run has come to: it is taken, also where it has become less. Those before it are what it began with. */
  readonly isAnswer?: boolean
}

/** What has to be known of a chat. */
export type Known<UI> = Pick<Session<UI>, 'id' | 'version' | 'messages' | 'metadata'>

/** Messages that were taken away to answer anew, and where they are. */
export interface Replaced {
  readonly sessionId: string
  /** The version at which they were last there. */
  readonly version: number
  readonly ids: readonly string[]
}

/**
 * What a wish comes to in a chat. New messages are appended, in their order; the last of the list replaces the one of its id, unless it is
 * behind that; any other replaces it only where it has grown. What the list lacks stays, and what was taken away stays away.
 *
 * @throws `INVALID_MESSAGE` with the path in the list
 */
export function changesOf<UI extends UIMessage>(
  session: Known<UI>,
  { messages, lengthOf, isAnswer = false }: Wish<UI>
): Change<UI>[] {
  const there = session.messages
  const length = lengthOf?.(session) ?? there.length
  const isCut = length < there.length
  const known = new Map<string, UI>()
  for (const message of isCut ? there.slice(0, length) : there) known.set(message.id, message)
  const replaced = replacedOf(session)
  const gone = new Set(replaced.flatMap(({ ids }) => ids))
  const changes: Change<UI>[] = []
  if (isCut) {
    const ids = there.slice(length).map(({ id }) => id)
    for (const id of ids) gone.add(id)
    const entry: Replaced = { sessionId: session.id, version: session.version, ids }
    changes.push({ type: 'truncate', length })
    changes.push({ type: 'metadata', set: { [AI_SDK_FORMAT]: { replaced: [...replaced, entry] } } })
  }
  messages.forEach((given, i) => {
    const stored = known.get(given.id)
    const isLast = i === messages.length - 1
    if (stored ? !isLast && (isAnswer || !mayHaveGrown(stored, given)) : gone.has(given.id)) return
    checkMessage(given, [i])
    const message = plain(given, [i]) as unknown as UI
    if (!stored) changes.push({ type: 'append', messages: [message] })
    else if (equalJson(message as unknown as Json, stored as unknown as Json)) return
    else if (!isLast ? !isBehind(stored, message) : !isAnswer && isBehind(message, stored)) return
    else changes.push({ type: 'put', message })
    known.set(message.id, message)
  })
  return changes
}

/** What was taken away of a chat to answer anew, oldest first. */
export function replacedOf({ metadata }: { readonly metadata: JsonObject }): readonly Replaced[] {
  const own = metadata[AI_SDK_FORMAT] as { readonly replaced?: readonly Replaced[] } | undefined
  return own?.replaced ?? []
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
