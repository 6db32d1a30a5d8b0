import { createEvent, type Event } from '@google/adk'
import { knownOptions, optionsOf, type OptionKeys } from '../../arguments.ts'
import type { JsonObject } from '../../json.ts'
import type { Message } from '../../message.ts'
import { isObject } from '../shared/loose.ts'
import { spokenOf, type Carried, type Dropped, type Placed, type Spoken } from '../shared/pieces.ts'

/** Options of {@link fromMessages}. */
export interface FromMessagesOptions {
  /**
   * The name of the agent that goes on: what another has said, ADK tells it as a report.
   * @default 'model'
   */
  readonly author?: string | undefined
}

type Content = NonNullable<Event['content']>
type Part = NonNullable<Content['parts']>[number]

const OPTIONS: OptionKeys<FromMessagesOptions> = { author: true }

/**
 * Messages as events of ADK, to append to a session: one each, and an invocation for each that is the user's. ADK has no system messages, as its agents have instructions; what
 * else has no place is named, too: references to files by an id, arguments that are no object, results of tools whose name is not known.
 */
export function fromMessages(messages: readonly Message[], options?: FromMessagesOptions): Carried<Event> {
  const { author = 'model' } = knownOptions(optionsOf(options), OPTIONS)
  const { spoken, dropped: unspoken } = spokenOf(messages)
  const dropped: Dropped[] = [...unspoken]
  const names = new Map<string, string>()
  const used = new Set<string>()
  let invocationId = ''
  const items = spoken.flatMap((each): Event[] => {
    const { role } = each
    // Of what says nothing there is none here: places are those of the messages.
    const place = Number(each.pieces[0]!.path[0])
    if (role === 'system') {
      dropped.push({ path: [place], what: 'a system message: an agent has instructions of its own' })
      return []
    }
    const parts = each.pieces.flatMap((piece): Part[] => {
      const part = partOf(piece, names)
      if (typeof part !== 'string') return [part]
      dropped.push({ path: piece.path, what: part })
      return []
    })
    const id = unused(each, place, used)
    if (role === 'user' || invocationId === '') invocationId = `e-${id}`
    if (parts.length === 0) return []
    const content: Content = { role: role === 'assistant' ? 'model' : 'user', parts }
    return [createEvent({ id, invocationId, author: role === 'user' ? 'user' : author, content })]
  })
  return { items, dropped }
}

// An event replaces that of its id, and ids of messages may repeat.
function unused({ id }: Spoken, place: number, used: Set<string>): string {
  let name = id === '' ? `message_${place + 1}` : id
  for (let n = 2; used.has(name); n++) name = `${id}_${n}`
  used.add(name)
  return name
}

// The part, or what is dropped.
function partOf(piece: Placed, names: Map<string, string>): Part | string {
  switch (piece.kind) {
    case 'text':
    case 'refusal':
      return { text: piece.text }
    case 'reasoning':
      return { text: piece.text, thought: true }
    case 'image':
    case 'video':
      return mediaOf(piece.url)
    case 'audio':
      return { inlineData: { mimeType: `audio/${piece.format ?? 'wav'}`, data: piece.data } }
    case 'file': {
      const source = piece.url ?? piece.data
      if (source === undefined) return 'a file that only its id tells'
      if (piece.url === undefined && !DATA.test(source)) return 'a file of which it is not told what type it is'
      return mediaOf(source, piece.name)
    }
    case 'call': {
      const args = argumentsOf(piece.arguments)
      if (!args) return 'arguments that are no object'
      names.set(piece.callId, piece.name)
      return { functionCall: { id: piece.callId, name: piece.name, args } }
    }
    case 'output': {
      const name = piece.name ?? names.get(piece.callId)
      if (name === undefined) return 'a result of a tool whose name is not known'
      const { output } = piece
      const response = (isObject(output) ? output : { result: output }) as Record<string, unknown>
      return { functionResponse: { id: piece.callId, name, response } }
    }
  }
}

const DATA = /^data:([^;,]+);base64,([^]*)$/

function mediaOf(url: string, displayName?: string): Part {
  const [, mimeType, data] = DATA.exec(url) ?? []
  const named = displayName === undefined ? {} : { displayName }
  if (mimeType !== undefined && data !== undefined) return { inlineData: { mimeType, data, ...named } }
  const extension = /\.(\w+)(?:[?#].*)?$/.exec(url)?.[1]?.toLowerCase() ?? ''
  const known = TYPES[extension]
  return { fileData: { fileUri: url, ...(known !== undefined && { mimeType: known }), ...named } }
}

const TYPES: Readonly<Record<string, string>> = {
  gif: 'image/gif',
  jpeg: 'image/jpeg',
  jpg: 'image/jpeg',
  mov: 'video/quicktime',
  mp4: 'video/mp4',
  pdf: 'application/pdf',
  png: 'image/png',
  txt: 'text/plain',
  webm: 'video/webm',
  webp: 'image/webp'
}

function argumentsOf(text: string): JsonObject | undefined {
  try {
    const value: unknown = text === '' ? {} : JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined
  } catch {
    return undefined
  }
}
