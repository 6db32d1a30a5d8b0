import type { Path } from '../../errors.ts'
import type { Json, JsonObject } from '../../json.ts'
import type { ContentPart, Message } from '../../message.ts'

/** What could not be carried over to another framework: `path` begins with the position of its message. */
export interface Dropped {
  readonly path: Path
  readonly what: string
}

/** What a framework's items become of messages, and what has no place in them. */
export interface Carried<T> {
  readonly items: T[]
  readonly dropped: readonly Dropped[]
}

/** What a message says, part by part, as each framework has it in one form or another. */
export type Piece =
  | { readonly kind: 'text' | 'refusal' | 'reasoning'; readonly text: string }
  | { readonly kind: 'image' | 'video'; readonly url: string }
  | { readonly kind: 'audio'; readonly data: string; readonly format?: string }
  | {
      readonly kind: 'file'
      readonly url?: string
      readonly id?: string
      readonly name?: string
      readonly data?: string
    }
  /** `arguments` is JSON as a string. */
  | { readonly kind: 'call'; readonly callId: string; readonly name: string; readonly arguments: string }
  | { readonly kind: 'output'; readonly callId: string; readonly name: string | undefined; readonly output: Json }

/** A piece, and where in the messages it is: so what has no place can be named. */
export type Placed = Piece & { readonly path: Path }

/** A message as its pieces. */
export interface Spoken {
  readonly id: string
  readonly role: 'assistant' | 'system' | 'user' | 'tool'
  readonly pieces: readonly Placed[]
}

/**
 * Messages as their pieces, and what is none: parts of other types, and what only the framework understands that wrote them. A message of which
 * nothing is left is left out.
 */
export function spokenOf(messages: readonly Message[]): {
  readonly spoken: readonly Spoken[]
  readonly dropped: readonly Dropped[]
} {
  const dropped: Dropped[] = []
  const spoken = messages.flatMap((message, i): Spoken[] => {
    const { id, type, metadata } = message
    const isReasoning = type === 'reasoning'
    const pieces = (message.content ?? []).flatMap((part, j): Placed[] => {
      const path = [i, 'content', j]
      const piece = pieceOf(part, isReasoning)
      if (piece) return [{ ...piece, path }]
      dropped.push({ path, what: `a part of type ${part.type}${isReasoning ? ' in reasoning' : ''}` })
      return []
    })
    for (const key of Object.keys(metadata ?? {}))
      dropped.push({ path: [i, 'metadata', key], what: `what ${key} alone knows of it` })
    if (pieces.length > 0) return [{ id, role: roleOf(message), pieces }]
    if ((message.content ?? []).length === 0) dropped.push({ path: [i], what: 'a message that says nothing' })
    return []
  })
  return { spoken, dropped }
}

function roleOf({ role, type }: Message): Spoken['role'] {
  return role ?? (type.endsWith('_output') ? 'tool' : type === 'message' ? 'user' : 'assistant')
}

function pieceOf(part: ContentPart, isReasoning: boolean): Piece | undefined {
  switch (part.type) {
    case 'text':
      return { kind: isReasoning ? 'reasoning' : 'text', text: part.text ?? '' }
    case 'refusal':
      return { kind: 'refusal', text: part.refusal ?? '' }
    case 'image':
      return typeof part.image_url === 'string' ? { kind: 'image', url: part.image_url } : undefined
    case 'video':
      return typeof part.video_url === 'string' ? { kind: 'video', url: part.video_url } : undefined
    case 'audio': {
      const { data, format } = part
      return typeof data === 'string'
        ? { kind: 'audio', data, ...(typeof format === 'string' && { format }) }
        : undefined
    }
    case 'file': {
      const { file_url: url, file_id: id, filename: name, file_data: data } = part
      const given = Object.entries({ url, id, name, data }).filter(([, value]) => typeof value === 'string')
      return { kind: 'file', ...Object.fromEntries(given) }
    }
    case 'data':
      return toolPiece((part.data ?? {}) as JsonObject)
  }
}

function toolPiece({ call_id: callId, name, arguments: given, input, output }: JsonObject): Piece | undefined {
  if (typeof callId !== 'string') return undefined
  if (output !== undefined) return { kind: 'output', callId, name: typeof name === 'string' ? name : undefined, output }
  const asked = given ?? input
  if (typeof name !== 'string' || asked === undefined) return undefined
  return { kind: 'call', callId, name, arguments: typeof asked === 'string' ? asked : JSON.stringify(asked) }
}

/** What {@link messageOf} is told beside the pieces. */
export interface Told {
  readonly id: string
  readonly role: Spoken['role']
  /** By default `function_call`, `function_call_output` or `reasoning` where it has such a piece, else `message`. */
  readonly type?: string
  /** Parts that are no piece: what only its framework understands. */
  readonly others?: readonly JsonObject[]
  /** The fields of an item that have no place in a message, under the name of its format. */
  readonly metadata?: JsonObject
}

/** The message of pieces: the opposite of {@link spokenOf}. */
export function messageOf(pieces: readonly Piece[], { id, role, type, others = [], metadata }: Told): Message {
  return {
    id,
    object: 'message',
    type: type ?? typeOf(pieces),
    status: 'completed',
    role,
    content: [...pieces.map(partOf), ...others.map((data): ContentPart => ({ type: 'data', data }))],
    ...(metadata && Object.keys(metadata).length > 0 && { metadata })
  }
}

function typeOf(pieces: readonly Piece[]): string {
  const has = (kind: Piece['kind']): boolean => pieces.some((piece) => piece.kind === kind)
  if (has('call')) return 'function_call'
  if (has('output')) return 'function_call_output'
  return pieces.length > 0 && pieces.every(({ kind }) => kind === 'reasoning') ? 'reasoning' : 'message'
}

function partOf(piece: Piece): ContentPart {
  switch (piece.kind) {
    case 'text':
    case 'reasoning':
      return { type: 'text', text: piece.text }
    case 'refusal':
      return { type: 'refusal', refusal: piece.text }
    case 'image':
      return { type: 'image', image_url: piece.url }
    case 'video':
      return { type: 'video', video_url: piece.url }
    case 'audio':
      return { type: 'audio', data: piece.data, ...(piece.format !== undefined && { format: piece.format }) }
    case 'file':
      return {
        type: 'file',
        ...(piece.url !== undefined && { file_url: piece.url }),
        ...(piece.id !== undefined && { file_id: piece.id }),
        ...(piece.name !== undefined && { filename: piece.name }),
        ...(piece.data !== undefined && { file_data: piece.data })
      }
    case 'call':
      return { type: 'data', data: { call_id: piece.callId, name: piece.name, arguments: piece.arguments } }
    case 'output':
      return {
        type: 'data',
        data: { call_id: piece.callId, ...(piece.name !== undefined && { name: piece.name }), output: piece.output }
      }
  }
}
