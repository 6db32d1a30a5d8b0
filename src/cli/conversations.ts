import { constants } from 'node:buffer'
import { basename, extname } from 'node:path'
import { idOf } from '../arguments.ts'
import { turnlogError, type TurnlogError } from '../errors.ts'
import { copyJson, type Json, type JsonObject } from '../json.ts'
import { defaultFormat, plain, type MessageInput } from '../message.ts'
import { fromOpenAIMessage, toOpenAIMessages, type OpenAIMessage } from '../openai.ts'
import type { Session } from '../session.ts'
import { linesOf, type ImportSource } from '../transfer.ts'

// Conversations in OpenAI's chat format, in files: a line each, `{ "messages": […], …facts }` or just the list of messages; or a file
// that is one such value.

/** One conversation of a file. */
export interface Conversation {
  /** Its `session_id` or `id`, if that can be one; else made of the file's name and the line. */
  readonly id: string
  /** Where it begins, counted from 1. */
  readonly line: number
  /** What it says; read anew each time, as all of a large file would be too much to hold but as bytes. */
  content(): ConversationContent
}

/** What a conversation says. */
export interface ConversationContent {
  /** What the file says of it beside the messages. */
  readonly facts: JsonObject
  readonly messages: readonly MessageInput[]
}

/**
 * The conversations of a file, checked so that each can be stored. What is not one goes to `onInvalid`, or is thrown. A file
 * of lines names those that have no id after itself and the line, `runs-1`, `runs-2`; one that is a single value, over several
 * lines or as a `.json`, just after itself.
 *
 * @throws `INVALID_IMPORT`
 */
export async function readConversations(
  source: ImportSource,
  file: string,
  onInvalid: (error: TurnlogError) => void = (error) => {
    throw error
  }
): Promise<Conversation[]> {
  const extension = extname(file)
  const name = basename(file, extension).trim() || 'conversation'
  const conversations: Conversation[] = []
  const take = (bytes: Uint8Array, line: number, id: string): void => {
    try {
      conversations.push(conversationOf(bytes, line, id))
    } catch (error) {
      onInvalid(invalidLine(file, line, error))
    }
  }
  // Those from the first on, as long as they may be parts of one value, or one may be all.
  let held: { readonly bytes: Buffer; readonly line: number }[] | undefined = []
  let line = 0
  for await (const bytes of linesOf(source)) {
    line++
    if (isBlank(bytes)) continue
    if (held?.length === 1 && isValue(held[0]!.bytes)) {
      take(held[0]!.bytes, held[0]!.line, `${name}-${held[0]!.line}`)
      held = undefined
    }
    if (held) held.push({ bytes, line })
    else take(bytes, line, `${name}-${line}`)
  }
  const [first, ...others] = held ?? []
  if (held && !first) onInvalid(invalidLine(file, 1, new Error('has no conversations')))
  if (!held || !first) return conversations
  const whole = others.length > 0 ? wholeOf(held.map(({ bytes }) => bytes)) : undefined
  if (whole) {
    const unreadable = held.find(({ bytes }) => attempt(() => decoded(bytes)) === undefined)
    if (unreadable) onInvalid(invalidLine(file, unreadable.line, new Error(NOT_UTF8)))
    else take(whole, first.line, name)
  } else if (others.length === 0 && extension.toLowerCase() === '.json') take(first.bytes, first.line, name)
  else for (const each of held) take(each.bytes, each.line, `${name}-${each.line}`)
  return conversations
}

/** A session as a line of such a file: what its file said of it, and its messages. */
export function conversationLine(session: Session): string {
  const { facts } = session.metadata
  const isFromFile = typeof facts === 'object' && facts !== null && !Array.isArray(facts)
  const said = isFromFile ? (facts as JsonObject) : { session_id: session.id, ...session.metadata }
  return `${JSON.stringify({ ...said, messages: toOpenAIMessages(session.messages) })}\n`
}

/** What is kept of a conversation beside its messages. */
export function metadataOf({ facts, messages }: ConversationContent): JsonObject {
  const first = messages.find(({ role }) => role === 'user')
  const title = first && textOf(first)
  return { ...(title ? { title } : {}), facts }
}

/** The beginning of what a message says. */
export function textOf({ content }: Pick<MessageInput, 'content'>): string {
  const text =
    typeof content === 'string' ? content : (content ?? []).map((part) => ('text' in part ? part.text : '')).join(' ')
  return text.replaceAll(/\s+/g, ' ').trim().slice(0, 80)
}

function conversationOf(bytes: Uint8Array, line: number, name: string): Conversation {
  const content = contentOf(bytes)
  checkMetadata(metadataOf(content))
  // Checked here, so that nothing is stored of a file of which a later line is refused.
  for (const [i, message] of content.messages.entries()) checked(i, () => FORMAT.complete(plain(message, []), []))
  const id = content.facts['session_id'] ?? content.facts['id']
  return { id: isId(id) ? id : name, line, content: () => contentOf(bytes) }
}

function contentOf(bytes: Uint8Array): ConversationContent {
  const text = decoded(bytes)
  const value = attempt(() => JSON.parse(text) as Json)
  if (typeof value !== 'object' || value === null) throw new Error('is not JSON: a list or an object')
  const { messages, ...facts } = (Array.isArray(value) ? { messages: value } : value) as JsonObject
  if (!Array.isArray(messages)) throw new Error('has no list of messages')
  return {
    facts,
    messages: (messages as unknown as OpenAIMessage[]).map((message, i) => checked(i, () => fromOpenAIMessage(message)))
  }
}

// Their ids are not those that are stored.
const FORMAT = defaultFormat(() => 'msg')

function checked<T>(i: number, call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw new Error(`messages[${i}]: ${(error as Error).message}`, { cause: error })
  }
}

function checkMetadata(metadata: JsonObject): void {
  try {
    copyJson(metadata)
  } catch (error) {
    throw new Error(`what it says beside the messages: ${(error as Error).message}`, { cause: error })
  }
}

function isId(value: Json | undefined): value is string {
  return attempt(() => idOf('id', value)) !== undefined
}

/** Strict, but for a byte order mark. */
const DECODER = new TextDecoder('utf-8', { fatal: true })

function decoded(bytes: Uint8Array): string {
  if (bytes.length > constants.MAX_STRING_LENGTH)
    throw new Error(`is longer than ${constants.MAX_STRING_LENGTH} bytes, and cannot be read`)
  const text = attempt(() => DECODER.decode(bytes))
  if (text === undefined) throw new Error(NOT_UTF8)
  return text
}

const NOT_UTF8 = 'is not UTF-8'

function isBlank(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d))
}

function isValue(bytes: Uint8Array): boolean {
  return attempt(() => JSON.parse(decoded(bytes)) as unknown) !== undefined
}

// All lines together where they are one value, even if a text in it is not UTF-8.
function wholeOf(lines: readonly Uint8Array[]): Buffer | undefined {
  const length = lines.reduce((sum, bytes) => sum + bytes.length, 0)
  if (length > constants.MAX_STRING_LENGTH) return undefined
  const whole = Buffer.concat(lines)
  return attempt(() => JSON.parse(new TextDecoder().decode(whole)) as unknown) === undefined ? undefined : whole
}

function attempt<T>(call: () => T): T | undefined {
  try {
    return call()
  } catch {
    return undefined
  }
}

function invalidLine(file: string, line: number, error: unknown): TurnlogError {
  const message = `${file}:${line}: ${error instanceof Error ? error.message : String(error)}`
  return turnlogError('INVALID_IMPORT', message, { file, line }, { cause: error })
}
