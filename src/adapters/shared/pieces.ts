import { misuse } from '../../arguments.ts'
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
  if (!Array.isArray(messages)) throw misuse('messages', 'a list', messages)
  const dropped: Dropped[] = []
  const drop = (path: Path, members: object, carried: ReadonlySet<string>): void => {
    for (const [key, value] of Object.entries(members))
      if (!carried.has(key) && value !== null && value !== undefined) dropped.push({ path: [...path, key], what: key })
  }
  const spoken = (messages as readonly Message[]).flatMap((message, i): Spoken[] => {
    const { id, type, status, metadata } = message
    const isReasoning = type === 'reasoning'
    const pieces = (message.content ?? []).flatMap((part, j): Placed[] => {
      const path = [i, 'content', j]
      const found = piecesOf(part, isReasoning)
      if (found.length === 0) {
        dropped.push({ path, what: `a part of type ${part.type}${isReasoning ? ' in reasoning' : ''}` })
        return []
      }
      drop(path, part, OF_PARTS)
      if (part.type === 'data') drop([...path, 'data'], part.data ?? {}, OF_CALLS)
      return found.map((piece) => ({ ...piece, path }))
    })
    drop([i], message, OF_MESSAGES)
    if (status !== 'completed' && status !== 'created') dropped.push({ path: [i, 'status'], what: `status ${status}` })
    for (const key of Object.keys(metadata ?? {}))
      dropped.push({ path: [i, 'metadata', key], what: `what ${key} alone knows of it` })
    if (pieces.length > 0) return [{ id, role: roleOf(message), pieces }]
    if ((message.content ?? []).length === 0) dropped.push({ path: [i], what: 'a message that says nothing' })
    return []
  })
  return { spoken, dropped }
}

// What is carried, or was of the stream alone in which it came.
const OF_STREAMS = ['object', 'type', 'status', 'sequence_number']
const OF_MESSAGES: ReadonlySet<string> = new Set([...OF_STREAMS, 'id', 'role', 'content', 'metadata'])
const OF_PARTS: ReadonlySet<string> = new Set([
  ...OF_STREAMS,
  'index',
  'delta',
  'msg_id',
  'text',
  'refusal',
  'image_url',
  'video_url',
  'data',
  'format',
  'file_url',
  'file_id',
  'filename',
  'file_data'
])
const OF_CALLS: ReadonlySet<string> = new Set(['call_id', 'name', 'arguments', 'input', 'output'])

function roleOf({ role, type }: Message): Spoken['role'] {
  return role ?? (type.endsWith('_output') ? 'tool' : type === 'message' ? 'user' : 'assistant')
}

// A tool that its provider runs may have its call and its output in one.
function piecesOf(part: ContentPart, isReasoning: boolean): readonly Piece[] {
  if (part.type === 'data') return toolPieces((part.data ?? {}) as JsonObject)
  const piece = pieceOf(part, isReasoning)
  return piece ? [piece] : []
}

function pieceOf(part: Exclude<ContentPart, { type: 'data' }>, isReasoning: boolean): Piece | undefined {
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
  }
}

function toolPieces({ call_id: callId, name, arguments: given, input, output }: JsonObject): readonly Piece[] {
  if (typeof callId !== 'string') return []
  const pieces: Piece[] = []
  const asked = given ?? input
  if (typeof name === 'string' && asked !== undefined)
    pieces.push({ kind: 'call', callId, name, arguments: typeof asked === 'string' ? asked : JSON.stringify(asked) })
  if (output !== undefined)
    pieces.push({ kind: 'output', callId, name: typeof name === 'string' ? name : undefined, output })
  return pieces
}

/** What {@link messageOf} is told beside the pieces. */
export interface Told {
  readonly id: string
  readonly role: Spoken['role']
  /** By default `function_call`, `function_call_output` or `reasoning` where it has such a piece, else `message`. */
  readonly type?: string
  /** @default 'completed' */
  readonly status?: Message['status']
  /** Parts that are no piece: what only its framework understands. */
  readonly others?: readonly JsonObject[]
  /** The fields of an item that have no place in a message, under the name of its format. */
  readonly metadata?: JsonObject
}

/** The message of pieces: the opposite of {@link spokenOf}. */
export function messageOf(
  pieces: readonly Piece[],
  { id, role, type, status = 'completed', others = [], metadata }: Told
): Message {
  return {
    id,
    object: 'message',
    type: type ?? typeOf(pieces),
    status,
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
