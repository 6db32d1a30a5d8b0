import * as core from '@langchain/core/messages'
import type { BaseMessage } from '@langchain/core/messages'
import type { Json } from '../../json.ts'
import { isObject } from '../shared/loose.ts'

/** LangChain's own messages: what they have is all in properties, and what they are made with is what they give. */
export const CLASSES = [
  core.AIMessage,
  core.AIMessageChunk,
  core.ChatMessage,
  core.ChatMessageChunk,
  core.FunctionMessage,
  core.FunctionMessageChunk,
  core.HumanMessage,
  core.HumanMessageChunk,
  core.RemoveMessage,
  core.SystemMessage,
  core.SystemMessageChunk,
  core.ToolMessage,
  core.ToolMessageChunk
] as const

type Class = new (fields: Record<string, unknown>) => BaseMessage

const BY_NAME = new Map(CLASSES.map((each) => [each.lc_name(), each as unknown as Class]))

/**
 * The message that LangChain's `load` makes of this, which asks for a promise a member; `undefined` where there is more in it than plain data.
 *
 * @param thawed gives a copy of a member, for the caller to change
 */
export function messageOf(json: Json, thawed: (json: Json) => unknown): BaseMessage | undefined {
  if (!isObject(json)) return undefined
  const { lc, type, id, kwargs } = json
  if (lc !== 1 || type !== 'constructor' || !Array.isArray(id) || id.length !== 3 || Object.keys(json).length !== 4)
    return undefined
  const [first, second, name] = id as readonly Json[]
  const made = first === 'langchain_core' && second === 'messages' ? BY_NAME.get(name as string) : undefined
  if (!made || !isObject(kwargs)) return undefined
  const fields: Record<string, unknown> = {}
  for (const key of Object.keys(kwargs)) {
    const value = kwargs[key]!
    // What stands for `undefined` is lost on the way to `load`.
    if (isObject(value) && value['lc'] === 2 && value['type'] === 'undefined') continue
    const field = SNAKE.test(key) ? fieldOf(made, key) : undefined
    if (field === undefined || !isPlainWithin(value, 40)) return undefined
    fields[field] = thawed(value)
  }
  try {
    return new made(fields)
  } catch {
    // LangChain says why.
    return undefined
  }
}

// What others call a field is more than its words joined.
const SNAKE = /^[a-z]+(?:_[a-z]+)*$/

function fieldOf(made: Class, key: string): string {
  let fields = FIELDS.get(made)
  if (!fields) FIELDS.set(made, (fields = aliasesOf(made)))
  return fields.get(key) ?? key.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase())
}

const FIELDS = new Map<Class, ReadonlyMap<string, string>>()

// The names of its fields by those that they have in JSON; those of the classes that it is made of count more.
function aliasesOf(made: Class): ReadonlyMap<string, string> {
  const aliases: Record<string, string> = {}
  for (
    let each = made as unknown as Function | null;
    each?.prototype;
    each = Object.getPrototypeOf(each) as Function | null
  )
    Object.assign(aliases, (each.prototype as { readonly lc_aliases?: object }).lc_aliases)
  return new Map(Object.entries(aliases).map(([field, key]) => [key, field]))
}

// Nothing in it stands for something else, nor is it nested too deep for `load`.
function isPlainWithin(json: Json, depth: number): boolean {
  if (typeof json !== 'object' || json === null) return true
  if (depth === 0) return false
  if (Array.isArray(json)) return (json as readonly Json[]).every((member) => isPlainWithin(member, depth - 1))
  return Object.keys(json).every(
    (key) =>
      key !== 'lc' &&
      key !== '__lc_escaped__' &&
      key !== '__proto__' &&
      isPlainWithin((json as { readonly [key: string]: Json })[key]!, depth - 1)
  )
}
