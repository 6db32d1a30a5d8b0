import { misuse, objectOf } from './arguments.ts'
import type { JsonObject } from './json.ts'
import type { Message } from './message.ts'

/** A tool call that has no output. */
export interface OpenToolCall {
  /** The id that its output has to name; other calls may have had it before. */
  readonly callId: string | undefined
  readonly name: string | undefined
  /** The part's data, whole: `arguments` and what else there is. */
  readonly data: JsonObject
  /** The place of its message in `messages`, and of its part in the message's `content`. */
  readonly message: number
  readonly part: number
}

/**
 * The tool calls of a session that have no output yet, in order. Calls are the `data` parts of messages whose type ends in
 * `_call`, outputs those of types that end in `_call_output`. An output belongs to the oldest open call before it of the
 * same `call_id`: models use ids again (24 of the 100 runs in tau-bench's airline data do). Also counted are those of a turn
 * that has expired or was taken over, as what it wrote stays.
 *
 * @throws `TypeError` where it is no session, or one of its messages is no message
 */
export function openToolCalls(session: { readonly messages: readonly Message[] }): OpenToolCall[] {
  const { messages } = objectOf(session, 'session', SESSION)
  if (!Array.isArray(messages)) throw misuse('session', SESSION, session)
  const open = new Map<unknown, OpenToolCall[]>()
  for (const [message, given] of (messages as readonly Message[]).entries()) {
    const { type, content } = objectOf(given, `messages[${message}]`, MESSAGE)
    if (typeof type !== 'string') throw misuse(`messages[${message}]`, MESSAGE, given)
    for (const [part, piece] of (Array.isArray(content) ? content : []).entries()) {
      if (piece?.type !== 'data' || !piece.data) continue
      const data = piece.data as JsonObject
      const callId = data['call_id']
      if (type.endsWith('_call_output')) open.get(callId)?.shift()
      else if (type.endsWith('_call')) {
        const call = { callId: textOf(callId), name: textOf(data['name']), data, message, part }
        const sameId = open.get(callId)
        if (sameId) sameId.push(call)
        else open.set(callId, [call])
      }
    }
  }
  return [...open.values()].flat().sort((a, b) => a.message - b.message || a.part - b.part)
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

const SESSION = 'a session, with messages'

const MESSAGE = 'a message, with a type'
