import { type Json, type JsonObject } from './json.ts'
import { misuse } from './arguments.ts'
import { invalid, plain, type MessageInput } from './message.ts'

/** A message in the format of OpenAI's chat API. Fields that are not named here are carried along, too. */
export interface OpenAIMessage {
  role: 'system' | 'developer' | 'user' | 'assistant' | 'tool' | 'function'
  content?: string | OpenAIPart[] | null
  name?: string
  tool_calls?: OpenAIToolCall[]
  tool_call_id?: string
}

/** A part of an {@link OpenAIMessage}'s content: `text`, `image_url`, `input_audio`, `file`, `refusal` and so on. */
export interface OpenAIPart {
  type: string
  text?: string
  image_url?: { url: string; detail?: string }
}

/** A call that an assistant asks for, of type `function` or `custom`. `arguments` is JSON as a string. */
export interface OpenAIToolCall {
  id: string
  type: string
  function?: { name: string; arguments: string }
  custom?: { name: string; input: string }
}

/**
 * The message to store for a chat message: plain data of its own, that shares nothing with `message`.
 *
 * - An assistant message with `tool_calls` becomes a `function_call`: its text first, then a `data` part per call
 *   (`call_id`, `name`, `arguments`; a custom call has `input` in place of `arguments`).
 * - A `tool` message becomes a `function_call_output` with one `data` part (`call_id`, `name`, `output`).
 * - Any other becomes a `message`; the role `developer` becomes `system`.
 * - A string as content becomes one `text` part; of a list, `text` parts become `text`, `image_url` parts `image`, and
 *   all others `data`. Null stays null, absent absent.
 *
 * {@link toOpenAIMessages} gives a deep-equal chat message back, whatever fields it has. What a message cannot carry is
 * kept for that as `metadata.openai`: `{ set?, unset?, parts? }`, where `set` holds values by JSON pointer, `unset` is
 * a list of pointers, and `parts` says that a content which could be a string was a list. Most messages need none of it.
 *
 * @throws `INVALID_MESSAGE` if `message` is not an object, has no `role`, or holds what JSON cannot carry; `path` says where.
 *
 * @example
 * await history.appendMessage(session, fromOpenAIMessage({ role: 'developer', content: 'Be brief.' }))
 * // => role 'system', content [{ type: 'text', text: 'Be brief.' }], metadata { openai: { set: { '/role': 'developer' } } }
 */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- so a literal, and its parts, may have fields that are not named above
export function fromOpenAIMessage<M extends OpenAIMessage>(message: M): MessageInput {
  const original = plain(message, [])
  if (!isObject(original)) throw invalid('an OpenAI message is an object', [])
  if (typeof original['role'] !== 'string') throw invalid('an OpenAI message has a role', ['role'])
  const result = fresh(toMessage(original)) as MessageInput
  const kept = lost(original, result)
  return kept ? { ...result, metadata: { openai: kept } } : result
}

/**
 * The chat messages that `messages` stand for, in order, to send to OpenAI's chat API: plain data of their own.
 *
 * Those made by {@link fromOpenAIMessage} come back deep-equal to what they were made from. If you change the content
 * of one, remove its `metadata.openai`. Of all others:
 *
 * - A `message` has its role, or `user` without one. A single text part becomes a string, more become a list. A `data`
 *   part whose data has a `type` is taken for an OpenAI part, any other becomes text: its JSON. Videos become
 *   `video_url` parts, which only some compatible servers take.
 * - A message of a type that ends in `_call` becomes one assistant message with a tool call per `data` part. Messages are
 *   never merged: what is called in parallel belongs in one message.
 * - One that ends in `_call_output` becomes one tool message per `data` part; an output that is neither a string nor a
 *   list of parts becomes its JSON.
 * - Messages of all other types (`reasoning`, `heartbeat`, `error`, …) have no place in a chat and are left out; so are
 *   fields that the chat API does not know (`id`, `status`, `usage`, `metadata`, …).
 *
 * @throws `INVALID_MESSAGE` if one is not an object; `path` says which.
 */
export function toOpenAIMessages(messages: readonly MessageInput[]): OpenAIMessage[] {
  const given: unknown = messages
  if (!Array.isArray(given)) throw misuse('messages', 'a list', given)
  return messages.flatMap((message, i) => {
    if (!isObject(message)) throw invalid('a message is an object', [i])
    const kept = keptOf(message)
    const chat = fresh(toChat(message, kept.parts === true)) as OpenAIMessage[]
    const [only] = chat
    if (only && chat.length === 1) restore(only as object as JsonObject, kept)
    return chat
  })
}

function toMessage(original: JsonObject): object {
  const { role, content, name, tool_calls, tool_call_id } = original
  if (role === 'tool' || role === 'function') {
    const output = dataPart({ call_id: tool_call_id, name, output: content })
    return { type: 'function_call_output', role: 'tool', content: [output] }
  }
  if (role === 'assistant' && isList(tool_calls) && tool_calls.length > 0) {
    const said = toParts(content) ?? []
    return { type: 'function_call', role, content: [...said, ...tool_calls.map((call) => dataPart(callData(call)))] }
  }
  return { type: 'message', role: messageRole(role), content: toParts(content) }
}

function messageRole(role: Json | undefined): Json {
  if (role === 'developer') return 'system'
  return role === 'system' || role === 'user' || role === 'assistant' ? role : null
}

function toParts(content: Json | undefined): object[] | null | undefined {
  if (typeof content === 'string') return [{ type: 'text', text: content }]
  if (isList(content)) return content.map(toPart)
  return content === undefined ? undefined : null
}

function toPart(part: Json): object {
  const { type, text, image_url } = members(part)
  if (type === 'text' && typeof text === 'string') return { type, text }
  const { url } = members(image_url)
  if (type === 'image_url' && typeof url === 'string') return { type: 'image', image_url: url }
  return dataPart(members(part))
}

function dataPart(data: object): object {
  return { type: 'data', data }
}

function callData(call: Json): object {
  const { id, type, custom, function: called } = members(call)
  if (type === 'custom') return { call_id: id, name: members(custom)['name'], input: members(custom)['input'] }
  return { call_id: id, name: members(called)['name'], arguments: members(called)['arguments'] }
}

function toChat(message: MessageInput, asList: boolean): object[] {
  const { type = 'message', role, content } = message
  const parts = typeof content === 'string' ? [{ type: 'text', text: content }] : (content as Part[] | null | undefined)
  if (type.endsWith('_call')) return [callMessage(parts ?? [], asList)]
  if (type.endsWith('_call_output')) {
    const outputs = parts?.filter((part) => part.type === 'data') ?? []
    if (outputs.length > 0) return outputs.map((part) => toolMessage(part, asList))
    return [{ role: 'tool', content: chatContent(parts, asList) }]
  }
  if (type !== 'message') return []
  return [{ role: role ?? 'user', content: chatContent(parts, asList), ...chatFields(message) }]
}

// What a chat message has that was appended as it is, without fromOpenAIMessage: else its calls would get lost.
function chatFields(message: MessageInput): object {
  return Object.fromEntries(
    CHAT_FIELDS.filter((field) => Object.hasOwn(message, field)).map((field) => [field, message[field]])
  )
}

const CHAT_FIELDS = ['name', 'tool_calls', 'tool_call_id', 'refusal', 'function_call', 'audio']

/** A content part, of any type, with whatever fields it has. */
type Part = { readonly type: string } & { readonly [field: string]: Json | undefined }

function callMessage(parts: readonly Part[], asList: boolean): object {
  const calls = parts.filter(isCall)
  const said = parts.filter((part) => !isCall(part))
  return {
    role: 'assistant',
    content: said.length > 0 || asList ? chatContent(said, asList) : null,
    tool_calls: calls.length > 0 ? calls.map(toolCall) : undefined
  }
}

function isCall({ type, data }: Part): boolean {
  return type === 'data' && (members(data)['call_id'] !== undefined || !isOpenAIPart(data))
}

function toolCall({ data }: Part): object {
  const { call_id: id, name, arguments: given, input } = members(data)
  if (input !== undefined && given === undefined) return { id, type: 'custom', custom: { name, input: asText(input) } }
  return { id, type: 'function', function: { name, arguments: asText(given ?? {}) } }
}

function toolMessage({ data }: Part, asList: boolean): object {
  const { call_id: tool_call_id, name, output } = members(data)
  const isContent = isList(output) && (asList || (output.length > 0 && output.every(isOpenAIPart)))
  return { role: 'tool', tool_call_id, name, content: isContent ? output : asText(output ?? '') }
}

function chatContent(parts: readonly Part[] | null | undefined, asList: boolean): unknown {
  if (!parts) return parts
  if (asList || parts.length > 1 || parts.some((part) => part.type !== 'text')) return parts.map(chatPart)
  return parts[0]?.['text'] ?? ''
}

function chatPart(part: Part): unknown {
  const { type, text, image_url, video_url, data, format, file_id, file_url, filename, file_data, refusal } = part
  switch (type) {
    case 'text':
      return { type, text: text ?? '' }
    case 'image':
      return { type: 'image_url', image_url: { url: image_url ?? '' } }
    case 'audio':
      return { type: 'input_audio', input_audio: { data, format } }
    case 'video':
      return { type: 'video_url', video_url: { url: video_url } }
    case 'file':
      return { type, file: { file_id, file_url, filename, file_data } }
    case 'refusal':
      return { type, refusal: refusal ?? '' }
    default:
      return isOpenAIPart(data) ? data : { type: 'text', text: asText(data ?? {}) }
  }
}

function isOpenAIPart(value: Json | undefined): boolean {
  return typeof members(value)['type'] === 'string'
}

function asText(value: Json): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** What to do to the chat message that a message stands for, to get the one it was made from. */
interface Kept {
  parts?: true
  set?: { [pointer: string]: Json }
  unset?: string[]
}

function lost(original: JsonObject, message: MessageInput): Kept | undefined {
  const kept: Kept = {}
  if (isList(original['content']) && !isList(soleChat(message, false)['content'])) kept.parts = true
  differ(original, soleChat(message, kept.parts === true), '', kept)
  return Object.keys(kept).length > 0 ? kept : undefined
}

function soleChat(message: MessageInput, asList: boolean): JsonObject {
  return fresh(toChat(message, asList)[0]) as JsonObject
}

function differ(original: Json, made: Json, pointer: string, kept: Kept): void {
  if (original === made) return
  if (!haveMembers(original, made)) {
    ;(kept.set ??= {})[pointer] = fresh(original) as Json
    return
  }
  const [wanted, found] = [original as JsonObject, made as JsonObject]
  for (const key of Object.keys(found)) {
    if (!Object.hasOwn(wanted, key)) (kept.unset ??= []).push(child(pointer, key))
  }
  for (const [key, value] of Object.entries(wanted)) {
    if (Object.hasOwn(found, key)) differ(value, found[key]!, child(pointer, key), kept)
    else (kept.set ??= {})[child(pointer, key)] = fresh(value) as Json
  }
}

// Lists of unequal length differ as a whole.
function haveMembers(original: Json, made: Json): boolean {
  if (isList(original)) return isList(made) && original.length === made.length
  return isObject(original) && isObject(made)
}

// The metadata may be anybody's, and the content may have changed since: what does not fit is passed over.
function keptOf({ metadata }: MessageInput): Kept {
  const { parts, set, unset } = members(members(metadata as Json | undefined)['openai'])
  return {
    ...(parts === true && { parts }),
    ...(isObject(set) && { set: fresh(set) as { [pointer: string]: Json } }),
    ...(isList(unset) && { unset: unset.filter((pointer) => typeof pointer === 'string') })
  }
}

function restore(chat: JsonObject, { set = {}, unset = [] }: Kept): void {
  for (const pointer of unset) {
    const { parent, key } = locate(chat, pointer)
    if (isObject(parent)) Reflect.deleteProperty(parent, key)
  }
  for (const [pointer, value] of Object.entries(set)) {
    const { parent, key } = locate(chat, pointer)
    if (!isObject(parent) && !(isList(parent) && Object.keys(parent).includes(key))) continue
    // An assignment to `__proto__` would not make a property.
    Object.defineProperty(parent, key, { value, enumerable: true, configurable: true, writable: true })
  }
}

function locate(root: JsonObject, pointer: string): { parent: Json | undefined; key: string } {
  const path = pointer.split('/').slice(1).map(decode)
  const key = path.pop()
  if (key === undefined) return { parent: undefined, key: '' }
  let parent: Json | undefined = root
  for (const step of path) {
    const branch = (typeof parent === 'object' ? (parent ?? {}) : {}) as JsonObject
    parent = Object.hasOwn(branch, step) ? branch[step] : undefined
  }
  return { parent, key }
}

/** @see https://www.rfc-editor.org/rfc/rfc6901 */
function child(pointer: string, key: string): string {
  return `${pointer}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`
}

function decode(key: string): string {
  return key.replaceAll('~1', '/').replaceAll('~0', '~')
}

// Snapshots are frozen, and what is given out may be changed.
function fresh(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value))
}

function members(value: Json | undefined): JsonObject {
  return isObject(value) ? value : {}
}

function isObject<T>(value: T): value is T & JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isList(value: unknown): value is readonly Json[] {
  return Array.isArray(value)
}
