import type { Json, JsonObject } from '../json.ts'
import type { Message } from '../message.ts'
import { openToolCalls } from '../tool-calls.ts'
import { cutJson } from './cut.ts'
import type { Facts, Item, Kind } from './wire.ts'

// What a session's messages come to on the page. Where the format is unknown they are items: JSON that is shown as it is.

/** Messages as they are shown, and the items that they are stored as. */
export interface Reading {
  /** `undefined` where the format is unknown. */
  readonly messages: readonly Message[] | undefined
  readonly items: readonly Json[]
}

/** How many there are to show. */
export function countOf({ messages, items }: Reading): number {
  return (messages ?? items).length
}

/** An answer has room for so many bytes of messages, and each message for so many. */
const WINDOW_BYTES = 140_000
const ITEM_BYTES = 24_000
/** How far from a window the other half of a tool call is looked for, in messages. */
const NEAR = 200

/** The messages from a place on, at most `count` and as many as there is room for, at least one. */
export function itemsOf(reading: Reading, from: number, count: number): Item[] {
  const { messages } = reading
  const pairs = messages && pairsIn(messages, Math.max(0, from - NEAR), from + count + NEAR)
  const shown: Item[] = []
  let left = WINDOW_BYTES
  for (
    let index = from;
    index < Math.min(from + count, countOf(reading)) && (left > 0 || shown.length === 0);
    index++
  ) {
    const item = itemOf(reading, index, Math.min(left, ITEM_BYTES), pairs)
    left -= Buffer.byteLength(JSON.stringify(item))
    shown.push(item)
  }
  return shown
}

/** One message. */
export function itemOf({ messages, items }: Reading, index: number, budget = ITEM_BYTES, pairs?: Pairs): Item {
  if (!messages) {
    const { value, cuts } = cutJson(items[index]!, budget)
    return { index, raw: value, cuts }
  }
  const message = messages[index]!
  const { value, cuts } = cutJson(message as unknown as Json, budget)
  const problem = problemOf(message)
  const outputs = pairs?.outputs.get(index)
  const calls = pairs?.calls.get(index)
  return {
    index,
    message: value as unknown as Message,
    cuts,
    ...(outputs && { outputs }),
    ...(calls && { calls }),
    ...(problem !== undefined && { problem })
  }
}

/** The items as they are stored. */
export function rawItemsOf({ items }: Reading, from: number, count: number): Item[] {
  return itemsOf({ messages: undefined, items }, from, count)
}

interface Place {
  readonly message: number
  readonly part: number
}

type Places = { [part: number]: Place }

interface Pairs {
  readonly outputs: ReadonlyMap<number, Places>
  readonly calls: ReadonlyMap<number, Places>
}

// As `openToolCalls` pairs them: an output belongs to the oldest open call before it of the same id.
function pairsIn(messages: readonly Message[], from: number, to: number): Pairs {
  const open = new Map<unknown, Place[]>()
  const [outputs, calls] = [new Map<number, Places>(), new Map<number, Places>()]
  const note = (places: Map<number, Places>, of: Place, other: Place): void => {
    const known = places.get(of.message) ?? {}
    known[of.part] = other
    places.set(of.message, known)
  }
  for (let message = from; message < Math.min(to, messages.length); message++) {
    const { type, content } = messages[message]!
    for (const { part, data } of dataParts(content)) {
      const place = { message, part }
      const callId = data['call_id']
      if (type.endsWith('_call')) open.set(callId, [...(open.get(callId) ?? []), place])
      else if (type.endsWith('_call_output')) {
        const call = open.get(callId)?.shift()
        if (!call) continue
        note(outputs, call, place)
        note(calls, place, call)
      }
    }
  }
  return { outputs, calls }
}

function dataParts(content: Message['content']): { readonly part: number; readonly data: JsonObject }[] {
  return (Array.isArray(content) ? content : []).flatMap((piece, part) =>
    piece?.type === 'data' && piece.data ? [{ part, data: piece.data as JsonObject }] : []
  )
}

/** Why a message is looked at first by whoever looks for what went wrong; `undefined` where nothing says so. */
export function problemOf(message: Message): string | undefined {
  const { type, status, error, content } = message
  if (error) return `error: ${error.message}`
  if (type === 'error') return typeof message.message === 'string' ? `error: ${message.message}` : 'an error'
  if (status === 'failed' || status === 'rejected' || status === 'incomplete' || status === 'canceled') return status
  for (const piece of Array.isArray(content) ? content : []) {
    if (piece?.type === 'refusal') return 'a refusal'
    if (piece?.error) return `error: ${piece.error.message}`
    const output = piece?.type === 'data' ? outputOf(piece.data as JsonObject | null | undefined) : undefined
    if (output !== undefined && /^\s*["{[]*\s*["']?(?:error|exception|traceback|failed)\b/i.test(output))
      return 'the output of a tool is an error'
  }
  return undefined
}

function outputOf(data: JsonObject | null | undefined): string | undefined {
  const output = data?.['output']
  if (output === undefined) return undefined
  return typeof output === 'string' ? output.slice(0, 200) : JSON.stringify(output).slice(0, 200)
}

/** Who speaks in a message, as the timeline has it. */
export function kindOf({ role, type }: Message): Kind {
  if (type.endsWith('_call_output') || role === 'tool') return 'tool'
  return role === 'user' || role === 'assistant' || role === 'system' ? role : 'message'
}

/** Counts over all of them. */
export function factsOf(reading: Reading): Facts {
  const { messages, items } = reading
  const roles: Record<string, number> = {}
  const sums = { input: 0, output: 0, total: 0 }
  const problems: { message: number; what: string }[] = []
  let [carriesUsage, toolCalls] = [false, 0]
  for (const [index, message] of (messages ?? []).entries()) {
    const speaker = message.role ?? message.type
    roles[speaker] = (Object.hasOwn(roles, speaker) ? roles[speaker]! : 0) + 1
    const usage = message.usage as Readonly<Record<string, unknown>> | null | undefined
    if (usage) {
      carriesUsage = true
      const [input, output] = [tokens(usage, INPUT), tokens(usage, OUTPUT)]
      sums.input += input
      sums.output += output
      sums.total += tokens(usage, TOTAL) || input + output
    }
    if (message.type.endsWith('_call')) toolCalls += dataParts(message.content).length
    const what = problems.length < MOST ? problemOf(message) : undefined
    if (what !== undefined) problems.push({ message: index, what })
  }
  const open = messages ? openToolCalls({ messages }) : []
  return {
    messages: countOf(reading),
    bytes: items.reduce<number>((sum, item) => sum + bytesOf(item), 0),
    roles,
    ...(carriesUsage && { tokens: sums }),
    toolCalls,
    openCount: open.length,
    open: open
      .slice(0, MOST)
      .map(({ message, part, name }) => ({ message, part, ...(name !== undefined && { name }) })),
    problems
  }
}

const MOST = 100

// What frameworks call them.
const INPUT = ['input_tokens', 'inputTokens', 'prompt_tokens', 'promptTokens', 'promptTokenCount']
const OUTPUT = ['output_tokens', 'outputTokens', 'completion_tokens', 'completionTokens', 'candidatesTokenCount']
const TOTAL = ['total_tokens', 'totalTokens', 'totalTokenCount']

function tokens(usage: Readonly<Record<string, unknown>>, names: readonly string[]): number {
  for (const name of names) {
    const count = usage[name]
    if (typeof count === 'number' && Number.isFinite(count)) return count
  }
  return 0
}

// Items are frozen, and shared by the versions of a session: what one takes is counted once.
const SIZES = new WeakMap<object, number>()

/** What a value takes as JSON in UTF-8. */
export function bytesOf(value: Json): number {
  if (typeof value !== 'object' || value === null) return Buffer.byteLength(JSON.stringify(value))
  let size = SIZES.get(value)
  if (size === undefined) SIZES.set(value, (size = Buffer.byteLength(JSON.stringify(value))))
  return size
}

/** The places of the messages from `from` on that contain a text, in either case of letters; at most `limit`. */
export function placesOf(
  { messages, items }: Reading,
  text: string,
  from: number,
  limit: number
): { readonly places: number[]; readonly next?: number } {
  const sought = text.toLowerCase()
  const places: number[] = []
  const all: readonly unknown[] = messages ?? items
  for (let i = from; i < all.length; i++) {
    if (!containsText(all[i] as Json, sought)) continue
    if (places.length === limit) return { places, next: i }
    places.push(i)
  }
  return { places }
}

function containsText(value: Json, sought: string): boolean {
  if (typeof value === 'string') return value.toLowerCase().includes(sought)
  if (typeof value !== 'object' || value === null) return String(value) === sought
  return Object.values(value).some((each) => containsText(each as Json, sought))
}

/** A message or an item on a line of at most 200 characters. */
export function lineOf(value: unknown): string {
  const { content } = (value ?? {}) as Partial<Message>
  const parts = Array.isArray(content) ? content.map(partLine).filter(Boolean) : []
  const said = parts.join(' ') || (value as Partial<Message> | null)?.message
  return short(typeof said === 'string' && said !== '' ? said : (JSON.stringify(value) ?? ''))
}

function partLine(piece: NonNullable<Message['content']>[number]): string {
  if (piece.type === 'text') return (piece.text ?? '').slice(0, 400)
  if (piece.type === 'refusal') return `refused: ${piece.refusal ?? ''}`.slice(0, 400)
  if (piece.type !== 'data') return `[${piece.type}]`
  const { name = '', arguments: given, input, output } = (piece.data ?? {}) as JsonObject
  const say = (value: Json): string => (typeof value === 'string' ? value : JSON.stringify(value)).slice(0, 400)
  if (output !== undefined) return `← ${say(name)} ${say(output)}`
  return given === undefined && input === undefined
    ? say((piece.data ?? {}) as Json)
    : `→ ${say(name)}(${say(given ?? input ?? '')})`
}

/** A text on one line of at most 200 characters. */
export function short(text: string): string {
  const line = text.slice(0, 1_000).replaceAll(/\s+/g, ' ').trim()
  return line.length <= 200 ? line : `${line.slice(0, 199).replace(/[\uD800-\uDBFF]$/, '')}…`
}
