import { AIMessage, HumanMessage, SystemMessage, ToolMessage, type BaseMessage } from '@langchain/core/messages'
import type { JsonObject } from '../../json.ts'
import type { Message } from '../../message.ts'
import { spokenOf, type Carried, type Dropped, type Placed, type Spoken } from '../shared/pieces.ts'

/**
 * Messages to go on from, as LangChain has them: what `messages` say, for `graph.invoke({ messages: items })` or a chat history. Reasoning is dropped, as a
 * provider takes back only its own.
 *
 * @example
 * const { items, dropped } = fromMessages(toMessagesOfAnother(session.messages))
 * await graph.updateState({ configurable: { thread_id: 'trip' } }, { messages: items })
 */
export function fromMessages(messages: readonly Message[]): Carried<BaseMessage> {
  const { spoken, dropped: before } = spokenOf(messages)
  const dropped: Dropped[] = [...before]
  const items: BaseMessage[] = []
  for (const each of spoken) {
    if (each.role === 'assistant') {
      const made = answerOf(each, dropped)
      const last = items.at(-1)
      // Providers want the calls that are answered together in one message.
      const isOneWithLast = made?.content === '' && calls(made) && last instanceof AIMessage && calls(last)
      if (isOneWithLast) items.splice(-1, 1, joined(last, made))
      else if (made) items.push(made)
      continue
    }
    const given = each.pieces.filter(({ kind }) => kind !== 'output')
    if (each.role === 'tool') for (const { kind, path } of given) dropped.push({ path, what: `${kind} of a tool` })
    else {
      const said = carriedOf(given, dropped, each.role)
      const fields = { id: each.id, content: contentOf(said) }
      if (said.length > 0) items.push(each.role === 'system' ? new SystemMessage(fields) : new HumanMessage(fields))
    }
    items.push(...outputsOf(each))
  }
  return { items, dropped }
}

function answerOf(each: Spoken, dropped: Dropped[]): AIMessage | undefined {
  const { id, pieces } = each
  const rest: Placed[] = []
  const tool_calls: { type: 'tool_call'; id: string; name: string; args: JsonObject }[] = []
  const invalid_tool_calls: { type: 'invalid_tool_call'; id: string; name: string; args: string; error: string }[] = []
  let refusal: string | undefined
  for (const piece of pieces) {
    if (piece.kind === 'call') {
      const { callId, name } = piece
      const args = argumentsOf(piece.arguments)
      if (args) tool_calls.push({ type: 'tool_call', id: callId, name, args })
      else
        invalid_tool_calls.push({
          type: 'invalid_tool_call',
          id: callId,
          name,
          args: piece.arguments,
          error: 'no object'
        })
    } else if (piece.kind === 'refusal') refusal = `${refusal ?? ''}${piece.text}`
    else if (piece.kind === 'reasoning') dropped.push({ path: piece.path, what: 'reasoning' })
    else if (piece.kind === 'output') dropped.push({ path: piece.path, what: 'output of the assistant' })
    else rest.push(piece)
  }
  const said = carriedOf(rest, dropped, 'assistant')
  const isNothing = said.length + tool_calls.length + invalid_tool_calls.length === 0 && refusal === undefined
  if (isNothing) return undefined
  return new AIMessage({
    id,
    content: contentOf(said),
    tool_calls,
    invalid_tool_calls,
    ...(refusal !== undefined && { additional_kwargs: { refusal } })
  })
}

function calls({ tool_calls = [], invalid_tool_calls = [] }: AIMessage): boolean {
  return tool_calls.length + invalid_tool_calls.length > 0
}

function joined(first: AIMessage, second: AIMessage): AIMessage {
  return new AIMessage({
    ...(first.id !== undefined && { id: first.id }),
    content: first.content,
    additional_kwargs: first.additional_kwargs,
    tool_calls: [...(first.tool_calls ?? []), ...(second.tool_calls ?? [])],
    invalid_tool_calls: [...(first.invalid_tool_calls ?? []), ...(second.invalid_tool_calls ?? [])]
  })
}

function argumentsOf(text: string): JsonObject | undefined {
  try {
    const args: unknown = JSON.parse(text === '' ? '{}' : text)
    return typeof args === 'object' && args !== null && !Array.isArray(args) ? (args as JsonObject) : undefined
  } catch {
    return undefined
  }
}

function outputsOf({ id, pieces }: Spoken): ToolMessage[] {
  const outputs = pieces.filter((piece) => piece.kind === 'output')
  return outputs.map(
    ({ callId, name, output }, i) =>
      new ToolMessage({
        id: i === 0 ? id : `${id}_${i + 1}`,
        tool_call_id: callId,
        content: typeof output === 'string' ? output : JSON.stringify(output),
        ...(name !== undefined && { name })
      })
  )
}

function carriedOf(pieces: readonly Placed[], dropped: Dropped[], role: string): Placed[] {
  return pieces.filter((piece) => {
    const isCarried = blockOf(piece) !== undefined
    if (!isCarried) dropped.push({ path: piece.path, what: `${piece.kind} of the ${role}` })
    return isCarried
  })
}

// Of pieces that are carried.
function contentOf(pieces: readonly Placed[]): string | ContentBlock[] {
  const [first] = pieces
  if (!first) return ''
  return pieces.length === 1 && first.kind === 'text' ? first.text : pieces.map((piece) => blockOf(piece)!)
}

type ContentBlock = { type: string } & Record<string, unknown>

function blockOf(piece: Placed): ContentBlock | undefined {
  switch (piece.kind) {
    case 'text':
      return { type: 'text', text: piece.text }
    case 'image':
      return { type: 'image_url', image_url: { url: piece.url } }
    case 'video':
      return { type: 'video', url: piece.url }
    case 'audio':
      return {
        type: 'input_audio',
        input_audio: { data: piece.data, ...(piece.format !== undefined && { format: piece.format }) }
      }
    case 'file': {
      const { url, id, data, name } = piece
      const file =
        url !== undefined ? { url } : id !== undefined ? { fileId: id } : data !== undefined ? { data } : undefined
      return file && { type: 'file', ...file, ...(name !== undefined && { metadata: { filename: name } }) }
    }
    default:
      return undefined
  }
}
