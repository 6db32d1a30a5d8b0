import { misuse, objectOf } from './arguments.ts'
import { equalJson, type Json } from './json.ts'
import type { Session } from './session.ts'

/** How two snapshots differ. Plain data; `String(diff)` is a form for people. */
export interface SessionDiff<M> {
  /** How many messages they begin with alike. */
  readonly common: number
  /** The messages of the first after those. */
  readonly a: readonly M[]
  /** The messages of the second after those. */
  readonly b: readonly M[]
  /** The keys whose values differ, with the value in each that has one. */
  readonly metadata: { readonly [key: string]: { readonly a?: Json; readonly b?: Json } }
  /** For people: a line for each message and value, long ones shortened. */
  toString(): string
}

/**
 * How two snapshots differ: two versions of a session, or two sessions, with a common ancestor or none. Messages are alike
 * if they are equal as JSON, with their ids: the same words said in two sessions are two messages, unless one is a fork of
 * the other. Where they come from one service, those that were never copied are compared at no cost.
 *
 * @throws `TypeError` where one is no session
 * @example
 * String(diff(before, after))
 * // =>
 * //   2 messages in common
 * // - assistant: The flight is full.
 * // + assistant: There is one seat left.
 */
export function diff<M>(
  a: Pick<Session<M>, 'messages' | 'metadata'>,
  b: Pick<Session<M>, 'messages' | 'metadata'>
): SessionDiff<M> {
  checkSession('a', a)
  checkSession('b', b)
  const [left, right] = [a.messages, b.messages]
  const shorter = Math.min(left.length, right.length)
  let common = 0
  while (common < shorter && equalJson(left[common] as Json, right[common] as Json)) common++
  const keys = new Set([...Object.keys(a.metadata), ...Object.keys(b.metadata)])
  const differing = [...keys].filter((key) => !equalJson(own(a.metadata, key), own(b.metadata, key)))
  const result = {
    common,
    a: left.slice(common),
    b: right.slice(common),
    metadata: Object.fromEntries(
      differing.map((key) => [key, { ...side('a', a.metadata, key), ...side('b', b.metadata, key) }])
    )
  }
  // Not enumerable: the difference stays plain data.
  return Object.defineProperty(result, 'toString', { value: () => print(result) })
}

function own(metadata: Session['metadata'], key: string): Json | undefined {
  return Object.hasOwn(metadata, key) ? metadata[key] : undefined
}

function side(name: 'a' | 'b', metadata: Session['metadata'], key: string): object {
  return Object.hasOwn(metadata, key) ? { [name]: metadata[key] } : {}
}

function checkSession(name: string, session: Pick<Session<unknown>, 'messages' | 'metadata'>): void {
  const what = 'a session, with messages and metadata'
  const { messages, metadata } = objectOf(session, name, what)
  if (!Array.isArray(messages)) throw misuse(name, what, session)
  objectOf(metadata, `${name}.metadata`)
}

function print({ common, a, b, metadata }: SessionDiff<unknown>): string {
  const values = Object.entries(metadata).flatMap(([key, sides]) => [
    ...('a' in sides ? [`- metadata.${fieldName(key)}: ${JSON.stringify(sides.a)}`] : []),
    ...('b' in sides ? [`+ metadata.${fieldName(key)}: ${JSON.stringify(sides.b)}`] : [])
  ])
  const isSame = a.length + b.length + values.length === 0
  const before = new Map(a.map((message) => [idOf(message), message]))
  return [
    `  ${common} ${common === 1 ? 'message' : 'messages'} in common${isSame ? '; no difference' : ''}`,
    ...a.map((message) => `- ${line(message)}`),
    ...b.map((message) => `+ ${line(message)}${unseen(before.get(idOf(message)), message)}`),
    ...values.map(short)
  ]
    .map((text) => oneLine(text.trimEnd()))
    .join('\n')
}

function idOf(message: unknown): unknown {
  return (message as { id?: unknown } | null)?.id
}

// Where two messages of one id say the same, the fields that tell them apart.
function unseen(before: unknown, after: unknown): string {
  if (idOf(after) === undefined || idOf(before) !== idOf(after) || line(before) !== line(after)) return ''
  const [left, right] = [before, after] as [Session['metadata'], Session['metadata']]
  const fields = [...new Set([...Object.keys(left), ...Object.keys(right)])]
  const differing = fields.filter((field) => !equalJson(own(left, field), own(right, field)))
  return differing.length > 0 ? ` (${differing.map(fieldName).join(', ')})` : ''
}

// What a message says, on one line; of one that has another form than ours, its JSON.
function line(message: unknown): string {
  const { role, type, content } = (message ?? {}) as { role?: unknown; type?: unknown; content?: unknown }
  const parts = Array.isArray(content) ? (content as { text?: unknown; data?: unknown }[]) : []
  const said = parts.map((part) => (typeof part?.text === 'string' ? part.text : JSON.stringify(part?.data ?? part)))
  const text = said.length > 0 ? said.join(' ') : JSON.stringify(message)
  const speaker = typeof role === 'string' ? role : typeof type === 'string' ? type : 'message'
  return short(`${speaker}: ${text}`.replaceAll(/\s+/g, ' ').trim())
}

// The name of a field, which may have line feeds and more: as JSON, unless it is plain.
function fieldName(key: string): string {
  return /^[\p{L}\p{N}_$.-]+$/u.test(key) ? key : JSON.stringify(key)
}

// Of what ends a line by other means than a line feed, its number.
function oneLine(text: string): string {
  return text.replaceAll(
    /[\n\v\f\r\u0085\u2028\u2029]/g,
    (end) => `\\u${end.charCodeAt(0).toString(16).padStart(4, '0')}`
  )
}

function short(text: string): string {
  // Not between the two halves of a character.
  return text.length <= LONGEST_LINE ? text : `${text.slice(0, LONGEST_LINE).replace(/[\uD800-\uDBFF]$/, '')}…`
}

const LONGEST_LINE = 200
