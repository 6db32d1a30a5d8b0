import type { Json, JsonObject } from '../../json.ts'
import type { Message } from '../../message.ts'
import { jsonOf, Thread, type Checkpointed, type ThreadItem } from '../langgraph/thread.ts'
import { objectOf, stringOf } from '../shared/loose.ts'
import { messageOf, type Piece, type Told } from '../shared/pieces.ts'

/** What the threads of LangGraph have as their `format`. */
export const LANGGRAPH_FORMAT = 'langgraph'

/** What the sessions of a LangChain chat history have as their `format`. */
export const LANGCHAIN_FORMAT = 'langchain'

/** A message of LangChain as it is stored, by `toDict`. */
export interface StoredChatMessage {
  readonly type: string
  readonly data: JsonObject
}

/**
 * What a person would read of a thread: the `messages` of the newest checkpoint of the graph itself, or, where it has none, its state as one message of
 * type `state`. Or the messages of a chat history. What has no place there (usage, metadata of the response) is kept in `metadata`. Of the same items always the
 * same: a message without an id has its position.
 */
export function toMessages(items: readonly ThreadItem[] | readonly StoredChatMessage[]): Message[] {
  if (!isThread(items)) return items.flatMap((item, i) => messageFrom(item as object as Json, i, LANGCHAIN_FORMAT))
  const thread = Thread.of(items)
  const newest = thread.get('')
  if (!newest) return []
  const messages = messagesAt(thread, newest)
  if (messages) return messages.flatMap((message, i) => messageFrom(message, i, LANGGRAPH_FORMAT))
  const state = stateOf(newest)
  const told = { id: newest.item.checkpointId, role: 'assistant', type: 'state' } as const
  return Object.keys(state).length > 0 ? [messageOf([], { ...told, others: [state] })] : []
}

function isThread(items: readonly ThreadItem[] | readonly StoredChatMessage[]): items is readonly ThreadItem[] {
  return items[0] !== undefined && 'kind' in items[0]
}

function stateOf({ channels }: Checkpointed): JsonObject {
  const state = [...channels].flatMap(([channel, { value }]) =>
    // Not what the runner keeps for itself.
    value && !/^__|^branch:/.test(channel) ? [[channel, jsonOf(value) ?? null] as const] : []
  )
  return Object.fromEntries(state)
}

// A delta channel has its value at some checkpoint before, and what was written since.
function messagesAt(thread: Thread, newest: Checkpointed): readonly Json[] | undefined {
  if (!newest.channels.has('messages')) return undefined
  const writes: Json[][] = []
  for (let each: Checkpointed | undefined = newest; each;) {
    const value = each.channels.get('messages')?.value
    const json = value && jsonOf(value)
    if (json !== undefined) {
      const { lc, type, value: snapshot } = objectOf(json)
      const seed = lc === 2 && type === 'delta_snapshot' ? snapshot : json
      return Array.isArray(seed) || seed === null
        ? written((seed ?? []) as Json[], writes.toReversed().flat())
        : undefined
    }
    const { ns, parentId }: { ns: string; parentId?: string } = each.item
    if (parentId === undefined) break
    const pending = thread.pending(ns, parentId).filter(({ channel }) => channel === 'messages')
    const keys = pending.map((write) => ({ write, key: [write.taskPath, write.taskId, write.idx] as const }))
    keys.sort((a, b) => compare(a.key[0], b.key[0]) || compare(a.key[1], b.key[1]) || a.key[2] - b.key[2])
    writes.push(keys.map(({ write }) => jsonOf(write.value) ?? null))
    each = thread.get(ns, parentId)
  }
  return written([], writes.toReversed().flat())
}

// As LangGraph's reducer of messages has it.
function written(before: readonly Json[], writes: readonly Json[]): Json[] {
  let messages = [...before]
  for (const write of writes) {
    const { __overwrite__: overwriting } = objectOf(write)
    if (overwriting !== undefined) messages = []
    for (const message of listOf(overwriting ?? write)) {
      const { name, fields } = partsOf(message)
      const id = fields['id']
      const at = typeof id === 'string' ? messages.findIndex((each) => partsOf(each).fields['id'] === id) : -1
      if (name === 'remove') messages = id === '__remove_all__' ? [] : messages.filter((_, i) => i !== at)
      else if (at >= 0) messages[at] = message
      else messages.push(message)
    }
  }
  return messages
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

// A message in any of the forms that LangChain has for it.
function partsOf(message: Json): { readonly name: string; readonly fields: JsonObject } {
  if (typeof message === 'string') return { name: 'human', fields: { content: message } }
  const { lc, id, kwargs, type, role, data, ...rest } = objectOf(message)
  if (lc === 1 && Array.isArray(id)) {
    const name = stringOf((id as readonly Json[]).at(-1)).replace(/(?:Message)?(?:Chunk)?$/, '')
    return { name: name.toLowerCase(), fields: objectOf(kwargs) }
  }
  if (typeof type === 'string' && data !== undefined) return { name: type, fields: objectOf(data) }
  const name = typeof role === 'string' ? role : typeof type === 'string' ? type : 'generic'
  return { name, fields: { ...rest, ...(id !== undefined && { id }) } }
}

const ROLES: ReadonlyMap<string, Told['role']> = new Map([
  ['human', 'user'],
  ['user', 'user'],
  ['ai', 'assistant'],
  ['assistant', 'assistant'],
  ['system', 'system'],
  ['developer', 'system'],
  ['tool', 'tool'],
  ['function', 'tool']
])

function messageFrom(message: Json, i: number, format: string): Message[] {
  const { name, fields } = partsOf(message)
  const { id: given, content = '', role, tool_calls, invalid_tool_calls, additional_kwargs, ...rest } = fields
  const known = ROLES.get(name) ?? ROLES.get(stringOf(role))
  const { tool_call_id: toolCallId, name: toolName, ...others } = rest
  const isTool = known === 'tool'
  const { refusal, ...kwargs } = objectOf(additional_kwargs)
  const hasRefusal = typeof refusal === 'string'
  const told = {
    id: typeof given === 'string' && given !== '' ? given : `item_${i + 1}`,
    role: known ?? 'user',
    metadata: metadataOf(format, {
      ...(isTool ? others : rest),
      additional_kwargs: hasRefusal ? kwargs : (additional_kwargs ?? {}),
      ...(!known && { role: role ?? name })
    })
  }
  if (isTool) {
    const callId = typeof toolCallId === 'string' ? toolCallId : told.id
    const output: Piece = {
      kind: 'output',
      callId,
      name: typeof toolName === 'string' ? toolName : undefined,
      output: content
    }
    return [messageOf([output], told)]
  }
  const calls = [...listOf(tool_calls ?? []), ...listOf(invalid_tool_calls ?? [])].map((call) =>
    callOf(objectOf(call), told.id)
  )
  const called = new Set(calls.map((call) => call.kind === 'call' && call.callId))
  const pieces: Piece[] = []
  const parts: JsonObject[] = []
  for (const part of typeof content === 'string' ? (content === '' ? [] : [content]) : listOf(content)) {
    // Some providers have their calls among what is said, too.
    if (
      /^(?:tool_call|tool_use|function_call)$/.test(stringOf(objectOf(part)['type'])) &&
      called.has(stringOf(objectOf(part)['id']))
    )
      continue
    const piece = pieceOf(part)
    if (piece) pieces.push(piece)
    else parts.push(objectOf(part))
  }
  if (hasRefusal) pieces.push({ kind: 'refusal', text: refusal })
  const thoughts = pieces.filter(({ kind }) => kind === 'reasoning')
  const said = [...pieces.filter(({ kind }) => kind !== 'reasoning'), ...calls]
  if (thoughts.length === 0) return [messageOf(said, { ...told, others: parts })]
  const isAll = said.length + parts.length === 0
  const thinking = { role: 'assistant', type: 'reasoning', id: isAll ? told.id : `${told.id}_reasoning` } as const
  const thought = messageOf(thoughts, isAll ? { ...told, ...thinking } : thinking)
  return isAll ? [thought] : [thought, messageOf(said, { ...told, others: parts })]
}

function metadataOf(format: string, fields: JsonObject): JsonObject {
  const left = Object.entries(fields).filter(
    ([key, value]) => !isEmpty(value) && !(key === 'status' && value === 'success')
  )
  return left.length > 0 ? { [format]: Object.fromEntries(left) } : {}
}

function isEmpty(value: Json): boolean {
  return value === null || (typeof value === 'object' && Object.keys(value).length === 0) || 'lc' in objectOf(value)
}

function callOf({ id, name, args, input }: JsonObject, messageId: string): Piece {
  const given = args ?? input ?? {}
  return {
    kind: 'call',
    callId: typeof id === 'string' ? id : messageId,
    name: typeof name === 'string' ? name : 'unknown',
    arguments: typeof given === 'string' ? given : JSON.stringify(given)
  }
}

// LangChain's own blocks, and those of the providers that it passes on.
function pieceOf(part: Json): Piece | undefined {
  if (typeof part === 'string') return { kind: 'text', text: part }
  const block = objectOf(part)
  const { type, text, data } = block
  if (typeof text === 'string' && /text/.test(stringOf(type))) return { kind: 'text', text }
  const url = urlOf(block)
  switch (type) {
    case 'refusal':
      return { kind: 'refusal', text: stringOf(block['refusal']) }
    case 'reasoning':
    case 'thinking': {
      const thought = block['reasoning'] ?? block['thinking']
      return typeof thought === 'string' ? { kind: 'reasoning', text: thought } : undefined
    }
    case 'image':
    case 'image_url':
      return url === undefined ? undefined : { kind: 'image', url }
    case 'video':
      return url === undefined ? undefined : { kind: 'video', url }
    case 'audio':
    case 'input_audio': {
      const { data: inner, format } = objectOf(block['input_audio'] ?? block)
      const sound = inner ?? data
      const kindOf = format ?? mimeOf(block)?.split('/')[1]
      return typeof sound === 'string'
        ? { kind: 'audio', data: sound, ...(typeof kindOf === 'string' && { format: kindOf }) }
        : undefined
    }
    case 'file': {
      const file = objectOf(block['file'])
      const name = file['filename'] ?? objectOf(block['metadata'])['filename']
      const id = file['file_id'] ?? block['fileId'] ?? block['id']
      const bytes = file['file_data'] ?? data
      const given = { url: block['url'], id, name, data: bytes }
      const strings = Object.entries(given).filter(([, value]) => typeof value === 'string')
      return strings.length > 0 ? { kind: 'file', ...Object.fromEntries(strings) } : undefined
    }
    case 'tool_call':
    case 'tool_use':
      return callOf(block, 'call')
    default:
      return undefined
  }
}

function urlOf(block: JsonObject): string | undefined {
  const { url, image_url: image, data } = block
  const given = url ?? (typeof image === 'string' ? image : objectOf(image)['url'])
  if (typeof given === 'string') return given
  return typeof data === 'string' ? `data:${mimeOf(block) ?? 'image/png'};base64,${data}` : undefined
}

function mimeOf(block: JsonObject): string | undefined {
  const type = block['mimeType'] ?? block['mime_type']
  return typeof type === 'string' ? type : undefined
}

function listOf(value: Json): readonly Json[] {
  return Array.isArray(value) ? (value as readonly Json[]) : [value]
}
