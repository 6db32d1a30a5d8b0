import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk'
import { misuse } from '../../arguments.ts'
import { hashJson, type Json, type JsonObject } from '../../json.ts'
import type { Message } from '../../message.ts'
import { grouped } from '../shared/grouped.ts'
import { isObject, objectOf, stringOf } from '../shared/loose.ts'
import {
  messageOf,
  spokenOf,
  type Carried,
  type Dropped,
  type Piece,
  type Placed,
  type Told
} from '../shared/pieces.ts'

/** What sessions of the Claude Agent SDK have as their `format`. */
export const CLAUDE_AGENT_FORMAT = 'claude-agent'

/**
 * Transcript entries as messages: blocks in their order, what was thought as messages of type `reasoning`, results of tools as `function_call_output`s. What has no place there
 * (where it was said, by which model, signatures) is kept in `metadata`. Attachments, notices and titles are messages of their own type. What Claude Code writes for
 * itself only (queues, modes, costs, snapshots of files) is left out. Of the same entries always the same: an entry without a `uuid` has its position.
 */
export function toMessages(items: readonly SessionStoreEntry[]): Message[] {
  if (!Array.isArray(items)) throw misuse('items', 'a list, such as the messages of a session', items)
  const messages = (items as readonly JsonObject[]).flatMap((entry, i) => {
    const type = stringOf(entry['type'])
    if (OF_ITS_OWN.has(type)) return []
    const { type: _, uuid, message, ...rest } = entry
    const id = typeof uuid === 'string' ? uuid : `entry_${i + 1}`
    if ((type === 'user' || type === 'assistant') && isObject(message)) return spoken(rest, message, id, type)
    if (type === 'attachment' && isObject(entry['attachment'])) return attached(entry, entry['attachment'], id)
    return [noticed(entry, id, type)]
  })
  return withNames(messages)
}

// A result does not say of which tool it is.
function withNames(messages: readonly Message[]): Message[] {
  const names = new Map<unknown, Json>()
  return messages.map((message) => {
    if (message.type !== 'function_call' && message.type !== 'function_call_output') return message
    const content = message.content?.map((part) => {
      const { call_id: callId, name, ...data } = (part.type === 'data' ? (part.data ?? {}) : {}) as JsonObject
      if (name !== undefined) names.set(callId, name)
      const known = names.get(callId)
      return callId === undefined || name !== undefined || known === undefined
        ? part
        : { ...part, data: { call_id: callId, name: known, ...data } }
    })
    return { ...message, content: content as Message['content'] }
  })
}

/** Nobody reads them, and nothing in them is said. */
const OF_ITS_OWN: ReadonlySet<string> = new Set([
  'atis-latch',
  'cost-state',
  'file-history-snapshot',
  'last-prompt',
  'mode',
  'permission-mode',
  'progress',
  'queue-operation',
  'tools-used'
])

/** Pieces that are one message, with the blocks that are none, and what blocks have beside. */
function spoken(rest: JsonObject, message: JsonObject, id: string, type: 'user' | 'assistant'): Message[] {
  const { role: _, content, ...about } = message
  const groups = grouped(blocksOf(content), pieceOf, ({ type: kind }) => stringOf(kind).endsWith('thinking'))
  if (groups.length === 0) groups.push({ kind: 'said', pieces: [], others: [], beside: [] })
  return groups.map(({ kind, pieces, others, beside }, n) => {
    const known = { ...(n === 0 && { ...rest, ...(Object.keys(about).length > 0 && { message: about }) }) }
    const blocks = beside.some((each) => Object.keys(each).length > 0) ? { blocks: beside } : {}
    return messageOf(pieces, {
      id: n === 0 ? id : `${id}_${n + 1}`,
      role: kind === 'output' ? 'tool' : type,
      ...(kind === 'thought' && { type: 'reasoning' }),
      others,
      metadata: metadataOf({ ...known, ...blocks })
    })
  })
}

// What is no object is kept, too: of a text it is a block of text.
function blocksOf(content: Json | undefined): readonly JsonObject[] {
  if (content === undefined || content === null) return []
  const blocks = Array.isArray(content) ? (content as readonly Json[]) : [content as Json]
  return blocks.map((block) => {
    if (isObject(block)) return block
    return typeof block === 'string' ? { type: 'text', text: block } : { block }
  })
}

// The piece, and what of the block is not in it.
function pieceOf(block: JsonObject): [piece: Piece | undefined, beside: JsonObject] {
  const { type, ...members } = block
  const kind = stringOf(type)
  if (kind === 'text' && typeof block['text'] === 'string') {
    const { text: _, ...beside } = members
    return [{ kind: 'text', text: block['text'] }, beside]
  }
  if (kind === 'thinking' && typeof block['thinking'] === 'string') {
    const { thinking: _, ...beside } = members
    return [{ kind: 'reasoning', text: block['thinking'] }, beside]
  }
  if (kind === 'image' || kind === 'document') return mediaOf(kind, members)
  const { id, tool_use_id: answered, name } = members
  if (kind.endsWith('tool_use') && typeof id === 'string' && typeof name === 'string') {
    const { id: _, name: __, input, ...beside } = members
    const call: Piece = { kind: 'call', callId: id, name, arguments: JSON.stringify(input ?? {}) }
    return [call, kind === 'tool_use' ? beside : { type: kind, ...beside }]
  }
  if (kind.endsWith('tool_result') && typeof answered === 'string') {
    const { tool_use_id: _, content, ...beside } = members
    const output: Piece = { kind: 'output', callId: answered, name: undefined, output: outputOf(content) }
    return [output, kind === 'tool_result' ? beside : { type: kind, ...beside }]
  }
  return [undefined, {}]
}

// A text alone stands for itself, if nothing is beside it.
function outputOf(content: Json | undefined): Json {
  const [first, ...more] = Array.isArray(content) ? (content as readonly Json[]) : []
  if (more.length > 0 || !isObject(first) || Object.keys(first).length > 2) return content ?? ''
  return first['type'] === 'text' && typeof first['text'] === 'string' ? first['text'] : (content ?? '')
}

function mediaOf(kind: 'image' | 'document', members: JsonObject): [piece: Piece | undefined, beside: JsonObject] {
  const { source, title, ...others } = members
  const beside =
    title === undefined || (kind === 'document' && typeof title === 'string') ? others : { title, ...others }
  const { type, media_type: media, data, url, file_id: id } = objectOf(source)
  const named = kind === 'document' && typeof title === 'string' ? { name: title } : {}
  if (type === 'file' && typeof id === 'string') return [{ kind: 'file', id, ...named }, beside]
  const bytes = typeof data === 'string' ? data : undefined
  const at =
    type === 'base64' && bytes !== undefined
      ? `data:${stringOf(media)};base64,${bytes}`
      : type === 'text' && bytes !== undefined
        ? `data:text/plain;base64,${Buffer.from(bytes).toString('base64')}`
        : type === 'url' && typeof url === 'string'
          ? url
          : undefined
  if (at === undefined) return [undefined, {}]
  if (kind === 'image') return [{ kind, url: at }, beside]
  return [{ kind: 'file', ...(type === 'url' ? { url: at } : { data: at }), ...named }, beside]
}

// A prompt that came while the model was at work is an attachment, too.
function attached(entry: JsonObject, attachment: JsonObject, id: string): Message[] {
  const { type: _, uuid: __, attachment: ___, ...rest } = entry
  const { prompt, ...members } = attachment
  if (members['type'] === 'queued_command' && prompt !== undefined)
    return spoken({ ...rest, attachment: members }, { content: prompt }, id, 'user')
  const told: Told = { id, role: 'system', type: 'attachment', metadata: metadataOf(rest) }
  return [messageOf([], { ...told, others: [attachment] })]
}

// Of a notice or a summary the text; of what else there is, such as titles, all.
function noticed(entry: JsonObject, id: string, type: string): Message {
  const { type: _, uuid: __, ...rest } = entry
  const said = SAID[type]
  const text = said === undefined ? undefined : rest[said]
  const told: Told = { id, role: 'system', type }
  if (said === undefined || typeof text !== 'string') return messageOf([], { ...told, others: [entry] })
  const { [said]: ___, ...beside } = rest
  return messageOf([{ kind: 'text', text }], { ...told, metadata: metadataOf(beside) })
}

const SAID: Readonly<Record<string, string>> = { summary: 'summary', system: 'content' }

function metadataOf(rest: JsonObject): JsonObject {
  return Object.keys(rest).length > 0 ? { [CLAUDE_AGENT_FORMAT]: rest } : {}
}

/**
 * Entries to resume from: what `messages` say, to append to a session that has none. Ids of entries and calls are made of what is said, so of the same messages they
 * are the same, and given twice they are stored once. Names of tools that the API refuses are changed, and arguments that are no object put into one; `dropped` names that, too. Reasoning is dropped, as the API takes back only what it has signed; what the system says, as the SDK has its own prompt.
 *
 * @example
 * const { items, dropped } = fromMessages(toMessagesOfAnother(session.messages))
 * const sessionId = randomUUID()
 * await store.append({ projectKey, sessionId }, items)
 * for await (const message of query({ prompt: 'Go on', options: { sessionStore: store, resume: sessionId } })) continue
 */
export function fromMessages(messages: readonly Message[]): Carried<SessionStoreEntry> {
  const { spoken: all, dropped: before } = spokenOf(messages)
  const dropped: Dropped[] = [...before]
  const ids = new CallIds()
  const items: SessionStoreEntry[] = []
  const say = (role: 'user' | 'assistant', content: readonly JsonObject[]): void => {
    if (content.length === 0) return
    const parentUuid = items.at(-1)?.uuid ?? null
    const uuid = uuidOf([parentUuid, role, content])
    const message = role === 'user' ? { role, content } : { ...ASSISTANT, id: `msg_${uuid}`, content }
    items.push({ type: role, uuid, parentUuid, isSidechain: false, userType: 'external', message })
  }
  for (const { role, pieces } of all) {
    // In the order of the pieces: calls are asked by the model, outputs answered by the user.
    let content: JsonObject[] = []
    let speaker: 'user' | 'assistant' | undefined
    for (const piece of pieces) {
      const block = blockOf(piece, role, ids)
      if (typeof block === 'string') {
        dropped.push({ path: piece.path, what: block })
        continue
      }
      if (piece.kind === 'call') for (const what of changedIn(piece)) dropped.push({ path: piece.path, what })
      const next = piece.kind === 'call' ? 'assistant' : piece.kind === 'output' || role !== 'assistant' ? 'user' : role
      if (speaker !== undefined && next !== speaker) {
        say(speaker, content)
        content = []
      }
      speaker = next
      content.push(block)
    }
    if (speaker !== undefined) say(speaker, content)
  }
  return { items, dropped }
}

const ASSISTANT = {
  type: 'message',
  role: 'assistant',
  model: 'unknown',
  stop_reason: null,
  stop_sequence: null
} as const

// The block, or what is dropped.
function blockOf(piece: Placed, role: string, ids: CallIds): JsonObject | string {
  const isUser = role === 'user'
  switch (piece.kind) {
    case 'call':
      return {
        type: 'tool_use',
        id: ids.asked(piece.callId),
        name: toolName(piece.name),
        input: inputOf(piece.arguments)
      }
    case 'output': {
      const id = ids.answered(piece.callId)
      const { output } = piece
      if (id === undefined) return `the output of ${piece.callId}, which nobody has called`
      return {
        type: 'tool_result',
        tool_use_id: id,
        content: typeof output === 'string' ? output : JSON.stringify(output)
      }
    }
    case 'text':
    case 'refusal':
      // The API refuses a text that is blank.
      if (piece.text.trim() === '') return 'a text that is blank'
      return role === 'system' ? 'what the system says' : { type: 'text', text: piece.text }
    case 'image': {
      const source = isUser ? sourceOf(piece.url) : undefined
      return source ? { type: 'image', source } : `an image ${isUser ? 'that is at no address' : `of the ${role}`}`
    }
    case 'file': {
      const at = piece.url ?? piece.data
      const source = isUser && at !== undefined ? sourceOf(at) : undefined
      if (!source) return isUser ? 'a file that is at no address' : `a file of the ${role}`
      return { type: 'document', source, ...(piece.name !== undefined && { title: piece.name }) }
    }
    default:
      return piece.kind
  }
}

function sourceOf(address: string): JsonObject | undefined {
  if (/^https?:/.test(address)) return { type: 'url', url: address }
  const [, media, data] = /^data:([^;,]+);base64,(.*)$/s.exec(address) ?? []
  if (media === undefined || data === undefined) return undefined
  if (media === 'text/plain') return { type: 'text', media_type: media, data: Buffer.from(data, 'base64').toString() }
  return { type: 'base64', media_type: media, data }
}

/** Ids of calls as the API takes them: of few characters, each once. An output is that of the first call of its id that has none. */
class CallIds {
  readonly #used = new Set<string>()
  readonly #open = new Map<string, string[]>()

  asked(callId: string): string {
    const plain = callId.replaceAll(/[^\w-]/g, '_') || 'call'
    let id = plain
    for (let n = 2; this.#used.has(id); n++) id = `${plain}_${n}`
    this.#used.add(id)
    const open = this.#open.get(callId)
    if (open) open.push(id)
    else this.#open.set(callId, [id])
    return id
  }

  answered(callId: string): string | undefined {
    return this.#open.get(callId)?.shift()
  }
}

function toolName(name: string): string {
  return name.replaceAll(/[^\w-]/g, '_').slice(0, 128) || 'unknown'
}

// The API takes objects only.
function inputOf(text: string): JsonObject {
  const input = parsed(text)
  return isObject(input) ? input : { input: input === undefined ? text : input }
}

function parsed(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json
  } catch {
    return undefined
  }
}

// What of a call is not as it was.
function changedIn({ name, arguments: given }: Extract<Piece, { kind: 'call' }>): string[] {
  const changed: string[] = []
  const renamed = toolName(name)
  if (renamed !== name) changed.push(`the name ${name} of a tool, which is called ${renamed}`)
  if (!isObject(parsed(given))) changed.push('arguments that are no object, which are put into one, as input')
  return changed
}

function uuidOf(value: Json): string {
  const hex = hashJson(value)
  const [a, b, c, d, e] = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(13, 16), hex.slice(17, 20), hex.slice(20, 32)]
  return `${a}-${b}-8${c}-8${d}-${e}`
}
