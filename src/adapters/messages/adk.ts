import type { Event } from '@google/adk'
import type { Json, JsonObject } from '../../json.ts'
import type { Message } from '../../message.ts'
import { grouped } from '../shared/grouped.ts'
import { isObject, objectOf, objectsOf, stringOf } from '../shared/loose.ts'
import { messageOf, type Piece } from '../shared/pieces.ts'

/** What sessions of Google's ADK have as their `format`. */
export const ADK_FORMAT = 'adk'

/**
 * Events of ADK as messages: their parts in order, thoughts as messages of type `reasoning`, results of tools as `function_call_output`s. Code that the model has run, and
 * other parts that have no place there, are data as they are; the rest of an event (author, invocation, state changes, signatures) is in `metadata` under `adk`. An event
 * without content is a message of type `event`, or `error` where it tells of one. Of the same events always the same.
 */
export function toMessages(items: readonly Event[]): Message[] {
  return (items as readonly unknown[] as readonly JsonObject[]).flatMap(messagesOf)
}

function messagesOf(event: JsonObject, place: number): Message[] {
  const { id, content, ...about } = event
  const name = typeof id === 'string' && id !== '' ? id : `event_${place + 1}`
  const { parts, role, ...rest } = objectOf(content)
  const isUser = about['author'] === 'user' || (about['author'] === undefined && role === 'user')
  const groups = grouped(objectsOf(parts), pieceOf)
  const told = toldOf(about)
  if (groups.length === 0) groups.push({ kind: 'said', pieces: told.pieces, others: [], beside: [] })
  const known = withoutEmpty({ ...about, ...(Object.keys(rest).length > 0 && { content: rest }) })
  return groups.map(({ kind, pieces, others, beside }, n) =>
    messageOf(pieces, {
      id: n === 0 ? name : `${name}_${n + 1}`,
      role: kind === 'output' ? 'tool' : isUser ? 'user' : 'assistant',
      ...(kind === 'thought' && { type: 'reasoning' }),
      ...(parts === undefined && { type: told.type }),
      others,
      metadata: metadataOf({
        ...(n === 0 && known),
        ...(beside.some((each) => Object.keys(each).length > 0) && { parts: beside })
      })
    })
  )
}

// The piece, and what of the part is not in it.
function pieceOf(part: JsonObject): [piece: Piece | undefined, beside: JsonObject] {
  const { text, thought, functionCall, functionResponse, inlineData, fileData, ...beside } = part
  if (typeof text === 'string') return [{ kind: thought === true ? 'reasoning' : 'text', text }, beside]
  if (isObject(functionCall)) {
    const { id, name, args, ...more } = functionCall
    const called = stringOf(name)
    const given = JSON.stringify(args ?? {})
    return [
      { kind: 'call', callId: stringOf(id) || called, name: called, arguments: given },
      { ...beside, ...more }
    ]
  }
  if (isObject(functionResponse)) {
    const { id, name, response, ...more } = functionResponse
    const called = stringOf(name)
    const output: Piece = { kind: 'output', callId: stringOf(id) || called, name: called, output: outputOf(response) }
    return [output, { ...beside, ...more }]
  }
  if (isObject(inlineData) && typeof inlineData['data'] === 'string') return inlined(inlineData, beside)
  if (isObject(fileData) && typeof fileData['fileUri'] === 'string') return linked(fileData, beside)
  return [undefined, {}]
}

function inlined({ data, mimeType, displayName, ...more }: JsonObject, beside: JsonObject): [Piece, JsonObject] {
  const type = stringOf(mimeType)
  const url = `data:${type};base64,${data as string}`
  const name = typeof displayName === 'string' ? displayName : undefined
  const named = name === undefined ? {} : { displayName: name }
  if (type.startsWith('image/'))
    return [
      { kind: 'image', url },
      { ...beside, ...more, ...named }
    ]
  if (type.startsWith('video/'))
    return [
      { kind: 'video', url },
      { ...beside, ...more, ...named }
    ]
  if (type.startsWith('audio/')) {
    const piece: Piece = { kind: 'audio', data: data as string, format: type.slice('audio/'.length) }
    return [piece, { ...beside, ...more, ...named }]
  }
  return [
    { kind: 'file', data: url, ...(name !== undefined && { name }) },
    { ...beside, ...more }
  ]
}

function linked({ fileUri, mimeType, displayName, ...more }: JsonObject, beside: JsonObject): [Piece, JsonObject] {
  const url = fileUri as string
  const type = stringOf(mimeType)
  const rest = { ...beside, ...more, ...(type !== '' && { mimeType: type }) }
  const named = typeof displayName === 'string' ? { displayName } : {}
  if (type.startsWith('image/'))
    return [
      { kind: 'image', url },
      { ...rest, ...named }
    ]
  if (type.startsWith('video/'))
    return [
      { kind: 'video', url },
      { ...rest, ...named }
    ]
  return [{ kind: 'file', url, ...(typeof displayName === 'string' && { name: displayName }) }, rest]
}

// What is no object, ADK puts into one as `result`.
function outputOf(response: Json | undefined): Json {
  const { result, ...more } = objectOf(response)
  return result !== undefined && typeof result !== 'object' && Object.keys(more).length === 0
    ? result
    : (response ?? '')
}

// What an event without content says.
function toldOf(about: JsonObject): { readonly type: string; readonly pieces: Piece[] } {
  const texts = [
    about['errorMessage'],
    about['compactedContent'],
    objectOf(about['inputTranscription'])['text'],
    objectOf(about['outputTranscription'])['text']
  ]
  const pieces = texts.flatMap((text): Piece[] =>
    typeof text === 'string' && text !== '' ? [{ kind: 'text', text }] : []
  )
  const isError = about['errorCode'] !== undefined || about['errorMessage'] !== undefined
  return { pieces, type: isError ? 'error' : pieces.length > 0 ? 'message' : 'event' }
}

// Of the members that each event has, those that tell something.
function withoutEmpty(about: JsonObject): JsonObject {
  const actions = Object.entries(objectOf(about['actions'])).filter(([, value]) => !isEmpty(value))
  const members = Object.entries(about).filter(([key, value]) => key !== 'actions' && !isEmpty(value))
  return { ...Object.fromEntries(members), ...(actions.length > 0 && { actions: Object.fromEntries(actions) }) }
}

function isEmpty(value: Json): boolean {
  return typeof value === 'object' ? value === null || Object.keys(value).length === 0 : value === ''
}

function metadataOf(known: JsonObject): JsonObject {
  return Object.keys(known).length > 0 ? { [ADK_FORMAT]: known } : {}
}
