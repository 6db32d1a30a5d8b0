import type { AgentInputItem } from '@openai/agents-core'
import { misuse } from '../../arguments.ts'
import type { Json, JsonObject } from '../../json.ts'
import type { Message } from '../../message.ts'
import { objectOf, objectsOf, stringOf } from '../shared/loose.ts'
import {
  messageOf,
  spokenOf,
  type Carried,
  type Dropped,
  type Piece,
  type Placed,
  type Told
} from '../shared/pieces.ts'

/** What sessions of the Agents SDK have as their `format`. */
export const OPENAI_AGENTS_FORMAT = 'openai-agents'

/**
 * Items as messages: calls of any kind of tool are `function_call`s (of a shell, a computer, a patch by that name, with what they do as
 * their arguments), results `function_call_output`s. What has no place there (provider data, compactions) is kept in `metadata` or as a `data` part. Of the same
 * items always the same: an item without an id has its position.
 */
export function toMessages(items: readonly AgentInputItem[]): Message[] {
  if (!Array.isArray(items)) throw misuse('items', 'a list, such as the messages of a session', items)
  return (items as readonly JsonObject[]).flatMap((item, i) => {
    const { id, role, status } = item
    const told = {
      id: typeof id === 'string' ? id : `item_${i + 1}`,
      status: STATUSES.has(status) ? (status as Message['status']) : 'completed',
      metadata: restOf(item)
    }
    if (typeof role === 'string') return [spoken(item, { ...told, role: role as Told['role'] })]
    return acted(item, told)
  })
}

const STATUSES: ReadonlySet<unknown> = new Set(['in_progress', 'incomplete', 'failed'])

function spoken({ content }: JsonObject, told: Told): Message {
  if (typeof content === 'string') return messageOf([{ kind: 'text', text: content }], told)
  const pieces: Piece[] = []
  const others: JsonObject[] = []
  const beside: JsonObject[] = []
  for (const part of objectsOf(content)) {
    const piece = pieceOf(part)
    if (!piece) {
      others.push(part)
      continue
    }
    pieces.push(piece)
    const rest = Object.entries(part).filter(([key]) => !OF_PARTS.test(key))
    // A file is what an image or a sound is that has only an id.
    const isFile = piece.kind === 'file' && part['type'] !== 'input_file'
    beside.push({ ...Object.fromEntries(rest), ...(isFile && { type: part['type']! }) })
  }
  if (beside.every((each) => Object.keys(each).length === 0)) return messageOf(pieces, { ...told, others })
  const known = objectOf(told.metadata?.[OPENAI_AGENTS_FORMAT])
  return messageOf(pieces, { ...told, others, metadata: { [OPENAI_AGENTS_FORMAT]: { ...known, parts: beside } } })
}

const OF_PARTS = /^(?:type|text|refusal|image|file|filename|audio|format)$/

function acted(item: JsonObject, told: Omit<Told, 'role'>): Message[] {
  const type = stringOf(item['type']) || 'unknown'
  if (type === 'reasoning') {
    const texts = [...objectsOf(item['content']), ...objectsOf(item['rawContent'])]
    const pieces = texts.map(({ text }): Piece => ({ kind: 'reasoning', text: typeof text === 'string' ? text : '' }))
    return [messageOf(pieces, { ...told, role: 'assistant', type })]
  }
  const callId = stringOf(item['callId'] ?? item['call_id']) || told.id
  const name = stringOf(item['name']) || type.replace(/_(?:call|call_output|call_result|output)$/, '')
  if (/_(?:result|output)$/.test(type)) {
    const output: Piece = { kind: 'output', callId, name, output: outputOf(item['output'] ?? item['tools']) }
    return [messageOf([output], { ...told, role: 'tool' })]
  }
  if (/_call$|^program$/.test(type)) {
    const asked = item['arguments'] ?? item['action'] ?? item['operation'] ?? item['code'] ?? {}
    const call: Piece = { kind: 'call', callId, name, arguments: textOf(asked) }
    const asking = messageOf([call], { ...told, role: 'assistant' })
    // A tool that the provider runs has its output in the call.
    const { output } = item
    if (output === undefined) return [asking]
    const answer: Piece = { kind: 'output', callId, name, output }
    return [asking, messageOf([answer], { id: `${told.id}_output`, role: 'tool' })]
  }
  return [messageOf([], { id: told.id, role: 'assistant', type, others: [item] })]
}

function pieceOf({ type, text, refusal, image, file, filename, audio, format }: JsonObject): Piece | undefined {
  if (typeof text === 'string') return { kind: 'text', text }
  if (typeof refusal === 'string') return { kind: 'refusal', text: refusal }
  if (typeof image === 'string') return { kind: 'image', url: type === 'image' ? dataUrl(image) : image }
  if (typeof audio === 'string') return { kind: 'audio', data: audio, ...(typeof format === 'string' && { format }) }
  const named = typeof filename === 'string' ? { name: filename } : {}
  if (type === 'input_file' && typeof file === 'string') return { kind: 'file', data: file, ...named }
  const { id, url } = objectOf(file ?? image ?? audio)
  if (typeof url === 'string') return { kind: 'file', url, ...named }
  return typeof id === 'string' ? { kind: 'file', id, ...named } : undefined
}

// A text alone stands for itself.
function outputOf(output: Json | undefined): Json {
  const { type, text } = objectOf(output)
  return type === 'text' && typeof text === 'string' ? text : (output ?? null)
}

const IN_ITSELF =
  /^(?:type|id|role|status|content|rawContent|callId|call_id|name|arguments|action|operation|code|output|tools)$/

function restOf(item: JsonObject): JsonObject {
  const rest = Object.fromEntries(Object.entries(item).filter(([key]) => !IN_ITSELF.test(key)))
  return Object.keys(rest).length > 0 ? { [OPENAI_AGENTS_FORMAT]: rest } : {}
}

/**
 * Items to go on from: what `messages` say, to add to a session of the Agents SDK. Reasoning is dropped, as a provider takes back only its own.
 *
 * @example
 * const { items, dropped } = fromMessages(toMessagesOfAnother(session.messages))
 * await new TurnlogSession({ history, userId: 'ada' }).addItems(items)
 */
export function fromMessages(messages: readonly Message[]): Carried<AgentInputItem> {
  const { spoken: all, dropped: before } = spokenOf(messages)
  const dropped: Dropped[] = [...before]
  const names = new Map<string, string>()
  const items: AgentInputItem[] = []
  for (const { role, pieces } of all) {
    // In the order of the pieces: what is said before a call comes before it.
    let said: { readonly piece: Placed; readonly part: object }[] = []
    const flush = (): void => {
      if (said.length > 0) items.push(messageItem(role, said, dropped))
      said = []
    }
    for (const piece of pieces) {
      if (piece.kind === 'call') {
        const { callId, name } = piece
        flush()
        names.set(callId, name)
        items.push({ type: 'function_call', callId, name, arguments: piece.arguments, status: 'completed' })
      } else if (piece.kind === 'output') {
        const { callId, output } = piece
        flush()
        const name = piece.name ?? names.get(callId) ?? 'unknown'
        items.push({ type: 'function_call_result', callId, name, status: 'completed', output: textOf(output) })
      } else {
        const part = partOf(piece, role)
        if (part) said.push({ piece, part })
        else dropped.push({ path: piece.path, what: `${piece.kind} of ${role === 'user' ? 'a user' : `the ${role}`}` })
      }
    }
    flush()
  }
  return { items, dropped }
}

function messageItem(
  role: 'assistant' | 'system' | 'user' | 'tool',
  said: readonly { readonly piece: Placed; readonly part: object }[],
  dropped: Dropped[]
): AgentInputItem {
  if (role === 'assistant')
    return { role, status: 'completed', content: said.map(({ part }) => part) } as AgentInputItem
  if (role === 'system') {
    for (const { piece } of said)
      if (piece.kind !== 'text') dropped.push({ path: piece.path, what: `${piece.kind} of the system` })
    return { role, content: said.flatMap(({ piece }) => (piece.kind === 'text' ? [piece.text] : [])).join('\n') }
  }
  const [first] = said
  const content = said.length === 1 && first?.piece.kind === 'text' ? first.piece.text : said.map(({ part }) => part)
  return { role: 'user', content } as AgentInputItem
}

function partOf(piece: Piece, role: string): object | undefined {
  const isOut = role === 'assistant'
  if (role === 'tool') return undefined
  switch (piece.kind) {
    case 'text':
      return { type: isOut ? 'output_text' : 'input_text', text: piece.text }
    case 'refusal':
      return isOut ? { type: 'refusal', refusal: piece.text } : undefined
    case 'image':
      return isOut ? { type: 'image', image: piece.url } : { type: 'input_image', image: piece.url }
    case 'audio': {
      const { data: audio, format } = piece
      return { type: 'audio', audio, ...(format !== undefined && { format }) }
    }
    case 'file': {
      const { url, id, data, name: filename } = piece
      const file = url !== undefined ? { url } : id !== undefined ? { id } : data
      if (isOut || file === undefined) return undefined
      return { type: 'input_file', file, ...(filename !== undefined && { filename }) }
    }
    default:
      return undefined
  }
}

function textOf(value: Json): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function dataUrl(base64: string): string {
  return /^(?:data|https?):/.test(base64) ? base64 : `data:image/png;base64,${base64}`
}
