import { basename, extname } from 'node:path'
import { isTurnlogError, turnlogError, type TurnlogError } from '../errors.ts'
import type { Json, JsonObject } from '../json.ts'
import { messageSchema, type Message, type MessageInput } from '../message.ts'
import { fromOpenAIMessage, toOpenAIMessages, type OpenAIMessage } from '../openai.ts'
import type { Session } from '../session.ts'

// Conversations in OpenAI's chat format, in files: a line each, `{ "messages": […], …facts }` or just the list of messages; or a file
// that is one such value.

/** One conversation of a file. */
export interface Conversation {
  /** Its `session_id` or `id`, if that is a text; else made of the file's name and the line. */
  readonly id: string
  /** What the file says of it beside the messages. */
  readonly facts: JsonObject
  readonly messages: readonly MessageInput[]
}

/**
 * The conversations of a file. What is not one goes to `onInvalid`, or is thrown.
 *
 * @throws `INVALID_IMPORT`
 */
export function readConversations(
  text: string,
  file: string,
  onInvalid: (error: TurnlogError) => void = (error) => {
    throw error
  }
): Conversation[] {
  const whole = parsed(text)
  // A line that is a list of messages is JSON, too; so is a file of one line.
  const lines = whole === undefined ? text.split('\n') : [text]
  const conversations: Conversation[] = []
  const name = basename(file, extname(file)) || 'conversation'
  for (const [i, line] of lines.entries()) {
    if (line.trim() === '') continue
    try {
      const value = whole ?? parsed(line)
      if (value === undefined) throw new Error('is not JSON')
      conversations.push(conversationOf(value, whole === undefined ? `${name}-${i + 1}` : name))
    } catch (error) {
      onInvalid(invalidLine(file, i + 1, error))
    }
  }
  if (conversations.length === 0 && !text.trim()) onInvalid(invalidLine(file, 1, new Error('has no conversations')))
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
export function metadataOf({ facts, messages }: Conversation): JsonObject {
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

function conversationOf(value: Json, name: string): Conversation {
  const { messages, ...facts } = (Array.isArray(value) ? { messages: value } : value) as JsonObject
  if (!Array.isArray(messages)) throw new Error('has no list of messages')
  const id = facts['session_id'] ?? facts['id']
  return {
    id: typeof id === 'string' && id.trim() !== '' && id.length <= 512 ? id : name,
    facts,
    messages: (messages as unknown as OpenAIMessage[]).map(toStore)
  }
}

// Checked here, so that nothing is stored of a file of which a later line is refused.
function toStore(message: OpenAIMessage, i: number): MessageInput {
  if (typeof message !== 'object' || message === null || typeof message.role !== 'string')
    throw new Error(`messages[${i}] has no role`)
  try {
    const converted = fromOpenAIMessage(message)
    messageSchema.parse(converted) satisfies Message
    return converted
  } catch (error) {
    throw new Error(`messages[${i}]: ${isTurnlogError(error) ? error.message : 'is no message'}`, { cause: error })
  }
}

function parsed(text: string): Json | undefined {
  try {
    const value = JSON.parse(text) as Json
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

function invalidLine(file: string, line: number, error: unknown): TurnlogError {
  const message = `${file}:${line}: ${error instanceof Error ? error.message : String(error)}`
  return turnlogError('INVALID_IMPORT', message, { file, line }, { cause: error })
}
