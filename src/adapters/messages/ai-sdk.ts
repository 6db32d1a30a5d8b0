import type { UIMessage } from 'ai'
import type { Json, JsonObject } from '../../json.ts'
import type { Message } from '../../message.ts'
import { messageOf, spokenOf, type Carried, type Dropped, type Piece, type Placed } from '../shared/pieces.ts'

/** What chats of the AI SDK have as their `format`. */
export const AI_SDK_FORMAT = 'ai-sdk'

/** What resumable streams have as their `format`. */
export const AI_SDK_STREAM_FORMAT = 'ai-sdk-stream'

type Part = JsonObject & { readonly type: string }

/**
 * UI messages as messages. An answer of several steps is several messages: what is said and asked, the outputs of its tools with the role `tool`, reasoning
 * of its own. The first has the id of the answer, the others that and their number. Sources, `data-*` and custom parts are `data` parts; what else has no place
 * (states, approvals, provider metadata) is in `metadata`. Of the same messages always the same.
 */
export function toMessages(items: readonly UIMessage[]): Message[] {
  return (items as unknown as readonly JsonObject[]).flatMap((item, i) => {
    if (!Array.isArray(item['parts']))
      return [messageOf([], { id: `item_${i + 1}`, role: 'assistant', others: [item] })]
    const writer = new Writer(typeof item['id'] === 'string' ? item['id'] : `item_${i + 1}`, roleOf(item['role']))
    if (item['metadata'] !== undefined) writer.keep({ metadata: item['metadata'] })
    for (const part of partsOf(item['parts'])) writer.add(part)
    return writer.end()
  })
}

// The messages of one UI message, in the order of its parts; outputs come after all calls of their step, as everywhere else.
class Writer {
  readonly #id: string
  readonly #role: Role
  readonly #messages: Message[] = []
  #pieces: Piece[] = []
  #others: JsonObject[] = []
  #rests: JsonObject[] = []
  #outputs: Piece[] = []
  #metadata: JsonObject = {}

  constructor(id: string, role: Role) {
    this.#id = id
    this.#role = role
  }

  keep(metadata: JsonObject): void {
    this.#metadata = { ...this.#metadata, ...metadata }
  }

  add(part: Part): void {
    const { type, state, text, ...rest } = part
    switch (type) {
      case 'text':
        this.#leaveReasoning()
        this.#say({ kind: 'text', text: textOf(text) }, withState(rest, state))
        return
      case 'reasoning':
        this.#leaveSpeech()
        this.#say({ kind: 'reasoning', text: textOf(text) }, withState(rest, state))
        return
      case 'file':
      case 'reasoning-file': {
        this.#leaveReasoning()
        const { url, filename, mediaType, ...others } = rest
        const piece = fileOf(textOf(url), textOf(mediaType), filename)
        const hasName = filename === undefined || (piece.kind === 'file' && piece.name !== undefined)
        this.#say(piece, {
          ...others,
          ...(mediaType !== undefined && { mediaType }),
          ...(!hasName && { filename }),
          ...(type !== 'file' && { type })
        })
        return
      }
      case 'step-start':
        this.#flush()
        return
      case 'steering-message': {
        this.#flush()
        const writer = new Writer(typeof rest['id'] === 'string' ? rest['id'] : this.#nextId(), 'user')
        for (const said of partsOf(rest['parts'])) writer.add(said)
        this.#messages.push(...writer.end())
        return
      }
      default:
        this.#leaveReasoning()
        if (typeof rest['toolCallId'] === 'string') this.#call(part)
        else this.#others.push(part)
    }
  }

  end(): Message[] {
    this.#flush()
    if (this.#messages.length === 0)
      this.#messages.push(messageOf([], { id: this.#id, role: this.#role, metadata: this.#taken() }))
    return this.#messages
  }

  #say(piece: Piece, rest: JsonObject): void {
    // After the outputs of tools something else begins, also where the SDK marks no step.
    if (this.#outputs.length > 0) this.#flush()
    if (Object.keys(rest).length > 0) this.#rests.push({ part: this.#pieces.length, ...rest })
    this.#pieces.push(piece)
  }

  #call(part: Part): void {
    const { type, toolCallId, toolName, state, input, rawInput, output, errorText, ...rest } = part
    const callId = textOf(toolCallId)
    const name = type === 'dynamic-tool' ? textOf(toolName) : type.replace(/^tool-/, '')
    const asked = input ?? rawInput
    // Of an input that still streams, as far as it has come.
    const given =
      asked === undefined ? '' : state === 'input-streaming' ? textOf(rawInput ?? asked) : JSON.stringify(asked)
    // What the model has written of an input that was read another way.
    const isTold = input === undefined || rawInput === undefined || state === 'input-streaming'
    const kept = withState({ ...(type === 'dynamic-tool' && { type }), ...(!isTold && { rawInput }), ...rest }, state)
    if (Object.keys(kept).length > 0) this.#rests.push({ part: this.#pieces.length, ...kept })
    this.#pieces.push({ kind: 'call', callId, name, arguments: given })
    const answer = outputOf(state, output, errorText, rest['approval'])
    if (answer !== undefined) this.#outputs.push({ kind: 'output', callId, name, output: answer })
  }

  #leaveReasoning(): void {
    if (this.#pieces.some(({ kind }) => kind === 'reasoning')) this.#flush()
  }

  #leaveSpeech(): void {
    if (this.#others.length > 0 || this.#pieces.some(({ kind }) => kind !== 'reasoning')) this.#flush()
  }

  #flush(): void {
    if (this.#pieces.length > 0 || this.#others.length > 0) {
      const id = this.#nextId()
      const others = this.#others
      this.#messages.push(messageOf(this.#pieces, { id, role: this.#role, others, metadata: this.#taken() }))
    }
    for (const output of this.#outputs) this.#messages.push(messageOf([output], { id: this.#nextId(), role: 'tool' }))
    this.#pieces = []
    this.#others = []
    this.#outputs = []
  }

  #nextId(): string {
    const count = this.#messages.length
    return count === 0 ? this.#id : `${this.#id}_${count + 1}`
  }

  #taken(): JsonObject {
    const own = { ...this.#metadata, ...(this.#rests.length > 0 && { parts: this.#rests }) }
    this.#metadata = {}
    this.#rests = []
    return Object.keys(own).length > 0 ? { [AI_SDK_FORMAT]: own } : {}
  }
}

type Role = 'user' | 'assistant' | 'system'

function roleOf(role: Json | undefined): Role {
  return role === 'user' || role === 'system' ? role : 'assistant'
}

function partsOf(parts: Json | undefined): readonly Part[] {
  return Array.isArray(parts) ? (parts as readonly Part[]) : []
}

// What is over is as expected: only other states say something.
function withState(rest: JsonObject, state: Json | undefined): JsonObject {
  const isOver = state === undefined || state === 'done' || state === 'output-available'
  return isOver ? rest : { ...rest, state }
}

function outputOf(
  state: Json | undefined,
  output: Json | undefined,
  errorText: Json | undefined,
  approval: Json | undefined
): Json | undefined {
  if (state === 'output-available') return output ?? null
  if (state === 'output-error') return textOf(errorText)
  if (state !== 'output-denied') return undefined
  const { reason } = (approval ?? {}) as { readonly reason?: Json }
  return typeof reason === 'string' ? reason : 'denied'
}

function fileOf(url: string, mediaType: string, filename: Json | undefined): Piece {
  const [kind, format] = mediaType.split('/')
  if (kind === 'image' || kind === 'video') return { kind, url }
  const data = /^data:[^,]*;base64,(.*)$/s.exec(url)?.[1]
  if (kind === 'audio' && data !== undefined) return { kind, data, ...(format && { format }) }
  return { kind: 'file', url, ...(typeof filename === 'string' && { name: filename }) }
}

function textOf(value: Json | undefined): string {
  return typeof value === 'string' ? value : value === undefined ? '' : JSON.stringify(value)
}

/** A stream's pieces as messages: each what was stored at once. */
export function streamToMessages(items: readonly { readonly text: string }[]): Message[] {
  return items.map(({ text }, i) => messageOf([{ kind: 'text', text }], { id: `piece_${i + 1}`, role: 'assistant' }))
}

/**
 * UI messages to go on from: what `messages` say, for `save` of a chat. Those of an assistant and its tools that follow each other are one, with a step
 * for each; calls are `dynamic-tool` parts. Each has an id of its own: where one is taken, or blank, a number is added. Files that are named by an id alone are dropped,
 * and a message of which nothing is left. What the system says stays: `streamText` takes it with `allowSystemInMessages`.
 *
 * @example
 * const { items, dropped } = fromMessages(toMessagesOfAnother(session.messages))
 * await uiMessageStore(history).open('continued').save(items)
 */
export function fromMessages(messages: readonly Message[]): Carried<UIMessage> {
  const { spoken, dropped: before } = spokenOf(messages)
  const dropped: Dropped[] = [...before]
  const items: UIMessage[] = []
  const ids = new Ids(spoken.map(({ id }) => id))
  // The answer at the end of the items.
  let answer: Answer | undefined
  const calls = new OpenCalls()
  for (const { id, role, pieces } of spoken) {
    if (role === 'user' || role === 'system') {
      const parts = pieces.flatMap((piece) => {
        if (piece.kind !== 'call' && piece.kind !== 'output') return partOf(piece, dropped)
        dropped.push({ path: piece.path, what: `a tool's ${piece.kind} in what the ${role} says` })
        return []
      })
      if (parts.length > 0) items.push({ id: ids.next(id), role, parts })
      answer = undefined
      continue
    }
    for (const piece of pieces) {
      if (piece.kind === 'output') {
        // Where a user has said something meanwhile, it is of an answer before that.
        if (!calls.answer(piece.callId, piece.output))
          dropped.push({ path: piece.path, what: `the output of ${piece.callId}, which nobody has asked for` })
        if (answer) answer.isNewStep = true
        continue
      }
      const parts = partOf(piece, dropped)
      if (parts.length === 0) continue
      if (!answer) {
        answer = { parts: [], isNewStep: true }
        items.push({ id: ids.next(id), role: 'assistant', parts: answer.parts })
      }
      if (answer.isNewStep) answer.parts.push({ type: 'step-start' })
      answer.isNewStep = false
      for (const part of parts) if (part.type === 'dynamic-tool') calls.ask(part)
      answer.parts.push(...parts)
    }
  }
  return { items, dropped }
}

interface Answer {
  readonly parts: UIMessage['parts']
  isNewStep: boolean
}

/** Ids that are given once: the chat tells messages by them. */
class Ids {
  readonly #given: ReadonlySet<string>
  readonly #used = new Set<string>()

  constructor(given: readonly string[]) {
    this.#given = new Set(given)
  }

  next(given: string): string {
    const wanted = given === '' ? 'message' : given
    let id = wanted
    // One that another message has is left to that.
    for (let n = 2; this.#used.has(id) || (id !== given && this.#given.has(id)); n++) id = `${wanted}_${n}`
    this.#used.add(id)
    return id
  }
}

/** Calls without an output; of one id that was asked for more than once, the first is answered first. */
class OpenCalls {
  readonly #open = new Map<string, ToolPart[]>()

  ask(part: ToolPart): void {
    const open = this.#open.get(part.toolCallId)
    if (open) open.push(part)
    else this.#open.set(part.toolCallId, [part])
  }

  answer(callId: string, output: Json): boolean {
    const call = this.#open.get(callId)?.shift()
    if (call) Object.assign(call, { state: 'output-available', output })
    return call !== undefined
  }
}

type ToolPart = Extract<UIMessage['parts'][number], { type: 'dynamic-tool' }>

function partOf(piece: Exclude<Placed, { kind: 'output' }>, dropped: Dropped[]): UIMessage['parts'] {
  switch (piece.kind) {
    case 'text':
    case 'refusal':
      return [{ type: 'text', text: piece.text }]
    case 'reasoning':
      return [{ type: 'reasoning', text: piece.text }]
    case 'image':
    case 'video':
      return [{ type: 'file', mediaType: mediaTypeOf(piece.url) ?? piece.kind, url: piece.url }]
    case 'audio': {
      const mediaType = `audio/${piece.format ?? 'wav'}`
      return [{ type: 'file', mediaType, url: `data:${mediaType};base64,${piece.data}` }]
    }
    case 'file': {
      const { url, data, name: filename } = piece
      const from = url ?? (data?.startsWith('data:') ? data : data && `data:application/octet-stream;base64,${data}`)
      if (from !== undefined) {
        const mediaType = mediaTypeOf(from) ?? 'application/octet-stream'
        return [{ type: 'file', mediaType, url: from, ...(filename !== undefined && { filename }) }]
      }
      dropped.push({ path: piece.path, what: 'a file that is named by an id alone' })
      return []
    }
    case 'call':
      return [
        {
          type: 'dynamic-tool',
          toolName: piece.name,
          toolCallId: piece.callId,
          state: 'input-available',
          input: inputOf(piece.arguments)
        }
      ]
  }
}

// What is no JSON is given to the tool as it was asked.
function inputOf(text: string): unknown {
  if (text === '') return {}
  try {
    return JSON.parse(text) as unknown
  } catch {
    return text
  }
}

function mediaTypeOf(url: string): string | undefined {
  return /^data:([^;,]+)/.exec(url)?.[1]
}
