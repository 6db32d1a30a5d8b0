import type { Json, JsonObject } from '../json.ts'
import type { Message } from '../message.ts'
import { bytesOfJson, cutJson, fitting } from './cut.ts'
import { inSlices } from './slices.ts'
import type { Facts, Item, Kind } from './wire.ts'

// What a session's messages come to on the page. Where the format is unknown they are items: JSON that is shown as it is.

/** Messages as they are shown, and the items that they are stored as. */
export interface Reading {
  /** `undefined` where the format is unknown. Those of an import may be anything: see {@link isMessage}. */
  readonly messages: readonly Message[] | undefined
  readonly items: readonly Json[]
}

/** What there is to show. */
export function shownOf({ messages, items }: Reading): readonly unknown[] {
  return messages ?? items
}

/** Whether two lists have the very same in them: messages are frozen, so nothing tells two readings of them apart. */
export function areSame(a: readonly unknown[], b: readonly unknown[]): boolean {
  // From the end, where most differ.
  return a === b || (a.length === b.length && a.findLastIndex((each, i) => each !== b[i]) === -1)
}

/** Whether a value can be taken for a message: an import takes whatever it is given. */
export function isMessage(value: unknown): value is Message {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string'
}

/** An answer has room for so many bytes of messages, and each message for so many. */
const WINDOW_BYTES = 90_000
const ITEM_BYTES = 24_000

/** The messages from a place on, at most `count` and as many as there is room for, at least one. */
export function itemsOf(reading: Reading, from: number, count: number): Item[] {
  const { messages } = reading
  const pairs = messages && pairsIn(messages, from, from + count)
  const shown: Item[] = []
  let left = WINDOW_BYTES
  for (let index = from; index < Math.min(from + count, shownOf(reading).length) && left > 0; index++) {
    const item = itemOf(reading, index, ITEM_BYTES, pairs)
    left -= bytesOfJson(item)
    shown.push(item)
  }
  return shown
}

/** One message, or where it is none that is known, what is stored. */
export function itemOf(reading: Reading, index: number, budget: number, pairs?: Pairs): Item {
  const message = shownOf(reading)[index]
  const places = { outputs: pairs?.outputs.get(index), calls: pairs?.calls.get(index) }
  // A message may have thousands of calls: of the room, those take half at most.
  const { value, cuts } = cutJson(message as Json, budget - Math.min(bytesOfJson(places), budget / 2))
  if (!reading.messages || !isMessage(message)) return { index, raw: value, cuts }
  const problem = problemOf(message)
  const outputs = placesIn(value, places.outputs)
  const calls = placesIn(value, places.calls)
  return {
    index,
    // By its type it is shown, also where that comes after what takes all the room.
    message: { ...(value as unknown as Message), type: short(message.type) },
    cuts,
    ...(outputs && { outputs }),
    ...(calls && { calls }),
    ...(problem !== undefined && { problem })
  }
}

// Of the parts that are shown.
function placesIn(shown: Json, places: Places | undefined): Places | undefined {
  const { content } = shown as { readonly content?: Json }
  if (!places || !Array.isArray(content)) return undefined
  const kept = Object.entries(places).filter(([part]) => Number(part) < content.length)
  return kept.length > 0 ? Object.fromEntries(kept) : undefined
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

// Only what has a half in the window is paired, however far away the other half is.
function pairsIn(messages: readonly unknown[], from: number, to: number): Pairs {
  const sought = new Set(messages.slice(from, to).flatMap((each) => halvesOf(each).map(({ callId }) => callId)))
  const pairing = new Pairing()
  const [outputs, calls] = [new Map<number, Places>(), new Map<number, Places>()]
  const note = (places: Map<number, Places>, of: Place, { message, part }: Place): void => {
    if (of.message < from || of.message >= to) return
    const known = places.get(of.message) ?? {}
    known[of.part] = { message, part }
    places.set(of.message, known)
  }
  for (let message = 0; message < messages.length && sought.size > 0; message++) {
    for (const half of halvesOf(messages[message])) {
      if (!sought.has(half.callId)) continue
      const call = pairing.add(half, message)
      if (!call) continue
      const output = { message, part: half.part }
      note(outputs, call, output)
      note(calls, output, call)
    }
  }
  return { outputs, calls }
}

/** A call without an output. */
type OpenCall = Place & { readonly name?: string }

/** Pairs calls and outputs as they come, in order, as `openToolCalls` does: an output belongs to the oldest open call before it of the same id. */
class Pairing {
  readonly #open = new Set<OpenCall>()
  // Of ids that have open calls.
  readonly #byId = new Map<unknown, { readonly calls: OpenCall[]; answered: number }>()

  /** In order. */
  get open(): ReadonlySet<OpenCall> {
    return this.#open
  }

  /** Gives the call that an output belongs to. */
  add({ half, part, callId, name }: Half, message: number): OpenCall | undefined {
    const sameId = this.#byId.get(callId)
    if (half === 'call') {
      const opened = { message, part, ...(name !== undefined && { name }) }
      this.#open.add(opened)
      if (sameId) sameId.calls.push(opened)
      else this.#byId.set(callId, { calls: [opened], answered: 0 })
      return undefined
    }
    if (!sameId) return undefined
    const call = sameId.calls[sameId.answered++]!
    this.#open.delete(call)
    if (sameId.answered === sameId.calls.length) this.#byId.delete(callId)
    return call
  }
}

/** A call or an output of a tool, in a message. */
interface Half {
  readonly half: 'call' | 'output'
  readonly part: number
  readonly callId: unknown
  readonly name?: string
}

// Messages are frozen, and shared by the versions of a session: each is looked at once.
const halves = new WeakMap<object, readonly Half[]>()
const NO_HALVES: readonly Half[] = []

function halvesOf(message: unknown): readonly Half[] {
  const half = isMessage(message) ? halfOf(message) : undefined
  if (!half) return NO_HALVES
  const given = message as Message
  let known = halves.get(given)
  if (!known) {
    known = dataParts(given.content).map(({ part, data: { call_id: callId, name } }) => ({
      half,
      part,
      callId,
      ...(typeof name === 'string' && { name: short(name) })
    }))
    halves.set(given, known)
  }
  return known
}

function halfOf({ type }: Message): 'call' | 'output' | undefined {
  if (type.endsWith('_call_output')) return 'output'
  return type.endsWith('_call') ? 'call' : undefined
}

function dataParts(content: Message['content']): { readonly part: number; readonly data: JsonObject }[] {
  return (Array.isArray(content) ? content : []).flatMap((piece, part) =>
    piece?.type === 'data' && isObject(piece.data) ? [{ part, data: piece.data as JsonObject }] : []
  )
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

/** Why a message is looked at first by whoever looks for what went wrong; `undefined` where nothing says so. */
export function problemOf(message: Message): string | undefined {
  const { type, status, error, content } = message
  if (error) return short(`error: ${error.message}`)
  if (type === 'error') return typeof message.message === 'string' ? short(`error: ${message.message}`) : 'an error'
  if (status === 'failed' || status === 'rejected' || status === 'incomplete' || status === 'canceled') return status
  for (const piece of Array.isArray(content) ? content : []) {
    if (piece?.type === 'refusal') return 'a refusal'
    if (piece?.error) return short(`error: ${piece.error.message}`)
    const output = piece?.type === 'data' ? outputOf(piece.data as JsonObject | null | undefined) : undefined
    if (output !== undefined && /^\s*["{[]*\s*["']?(?:error|exception|traceback|failed)\b/i.test(output))
      return 'the output of a tool is an error'
  }
  return undefined
}

function outputOf(data: JsonObject | null | undefined): string | undefined {
  const output = data?.['output']
  if (output === undefined) return undefined
  if (typeof output === 'string') return output.slice(0, 200)
  // The first key says it, if any does.
  return isObject(output) ? (Object.keys(output)[0] ?? '').slice(0, 200) : undefined
}

/** Who speaks in a message, as the timeline has it. */
export function kindOf({ role, type }: Message): Kind {
  if (type.endsWith('_call_output') || role === 'tool') return 'tool'
  return role === 'user' || role === 'assistant' || role === 'system' ? role : 'message'
}

/** Counts over all of them. Of many it takes a while, in which others are answered. */
export async function factsOf(reading: Reading): Promise<Facts> {
  const { items } = reading
  const messages: readonly unknown[] = reading.messages ?? []
  const roles = new Map<string, number>()
  const sums = { input: 0, output: 0, total: 0 }
  const problems: { message: number; what: string }[] = []
  const pairing = new Pairing()
  let [bytes, carriesUsage, toolCalls] = [0, false, 0]
  const isStoredSo = messages === items
  if (!isStoredSo) await inSlices(items, (item) => (bytes += noted(item).bytes))
  await inSlices(messages, (message, index) => {
    const { bytes: size, speaker, usage, calls, problem } = noted(message as Json)
    if (isStoredSo) bytes += size
    if (speaker !== undefined) roles.set(speaker, (roles.get(speaker) ?? 0) + 1)
    if (usage) {
      carriesUsage = true
      sums.input += usage.input
      sums.output += usage.output
      sums.total += usage.total
    }
    toolCalls += calls
    if (problem !== undefined && problems.length < MOST) problems.push({ message: index, what: problem })
    for (const half of halvesOf(message)) pairing.add(half, index)
  })
  const { open } = pairing
  return {
    messages: shownOf(reading).length,
    bytes,
    // Of types there may be any number, and texts of control characters take six bytes for each.
    roles: Object.fromEntries(fitting([...roles].slice(0, MOST), LIST_BYTES).kept),
    ...(carriesUsage && { tokens: sums }),
    toolCalls,
    openCount: open.size,
    open: fitting([...open].slice(0, MOST), LIST_BYTES).kept,
    problems: fitting(problems, LIST_BYTES).kept
  }
}

/** Of roles, of open calls and of problems: so many each, in so many bytes. */
const MOST = 100
const LIST_BYTES = 50_000

/** What a message adds to the counts. */
interface Note {
  readonly bytes: number
  readonly speaker: string | undefined
  readonly usage: NonNullable<Facts['tokens']> | undefined
  readonly calls: number
  readonly problem: string | undefined
}

// Messages are frozen, and shared by the versions of a session: each is looked at once.
const notes = new WeakMap<object, Note>()

function noted(item: Json): Note {
  if (!isObject(item)) return noteOf(item)
  let note = notes.get(item)
  if (!note) notes.set(item, (note = noteOf(item)))
  return note
}

function noteOf(item: Json): Note {
  const bytes = bytesOfJson(item)
  if (!isMessage(item)) return { bytes, speaker: undefined, usage: undefined, calls: 0, problem: undefined }
  const { role, type, usage, content } = item
  const [input, output] = [tokens(usage, INPUT), tokens(usage, OUTPUT)]
  return {
    bytes,
    speaker: short(String(role ?? type)),
    usage: isObject(usage) ? { input, output, total: tokens(usage, TOTAL) || input + output } : undefined,
    calls: halfOf(item) === 'call' ? dataParts(content).length : 0,
    problem: problemOf(item)
  }
}

// What frameworks call them.
const INPUT = ['input_tokens', 'inputTokens', 'prompt_tokens', 'promptTokens', 'promptTokenCount']
const OUTPUT = ['output_tokens', 'outputTokens', 'completion_tokens', 'completionTokens', 'candidatesTokenCount']
const TOTAL = ['total_tokens', 'totalTokens', 'totalTokenCount']

function tokens(usage: Message['usage'], names: readonly string[]): number {
  for (const name of names) {
    const count = usage?.[name]
    if (typeof count === 'number' && Number.isFinite(count)) return count
  }
  return 0
}

/**
 * The places of the messages from `from` on that contain a text, in either case of letters; at most `limit`. `next` where not all was looked at: it
 * stops after a while, so that others are answered.
 */
export function placesOf(
  reading: Reading,
  text: string,
  from: number,
  limit: number
): { readonly places: number[]; readonly next?: number } {
  const sought = text.toLowerCase()
  const places: number[] = []
  const all = shownOf(reading)
  const until = performance.now() + LONGEST_MS
  for (let i = from; i < all.length; i++) {
    if (places.length === limit || (i > from && performance.now() > until)) return { places, next: i }
    if (containsText(all[i], sought)) places.push(i)
  }
  return { places }
}

const LONGEST_MS = 100

function containsText(value: unknown, sought: string): boolean {
  if (typeof value === 'string') return value.toLowerCase().includes(sought)
  if (!isObject(value)) return String(value) === sought
  return Object.values(value).some((each) => containsText(each, sought))
}

/** A message or an item on a line of at most 200 characters. */
export function lineOf(value: unknown): string {
  const { content, message } = (value ?? {}) as { readonly content?: unknown; readonly message?: unknown }
  const parts = Array.isArray(content) ? content.slice(0, 20).map(partLine).filter(Boolean) : []
  const said = parts.join(' ') || message
  return short(typeof said === 'string' && said !== '' ? said : say(value))
}

function partLine(piece: unknown): string {
  const { type, text, refusal, data } = (piece ?? {}) as Readonly<Record<string, unknown>>
  if (type === 'text') return typeof text === 'string' ? text.slice(0, 400) : ''
  if (type === 'refusal') return `refused: ${typeof refusal === 'string' ? refusal.slice(0, 400) : ''}`
  if (type !== 'data') return `[${say(type)}]`
  const { name = '', arguments: given, input, output } = (isObject(data) ? data : {}) as JsonObject
  if (output !== undefined) return `← ${say(name)} ${say(output)}`
  return given === undefined && input === undefined ? say(data) : `→ ${say(name)}(${say(given ?? input)})`
}

// The beginning of a text, or of what a value is as JSON, of which no more is made than is shown.
function say(value: unknown): string {
  if (typeof value === 'string') return value.slice(0, 400)
  return value === undefined ? '' : JSON.stringify(cutJson(value as Json, 1_000).value).slice(0, 400)
}

/** A text on one line of at most 200 characters. */
export function short(text: string): string {
  const line = text.slice(0, 1_000).replaceAll(/\s+/g, ' ').trim()
  return line.length <= 200 ? line : `${line.slice(0, 199).replace(/[\uD800-\uDBFF]$/, '')}…`
}
