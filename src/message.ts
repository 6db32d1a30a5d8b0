import { z } from 'zod'
import { misuse } from './arguments.ts'
import { turnlogError, type Path } from './errors.ts'
import { freshId } from './ids.ts'
import { bytesOver, copyJson, formatPath, NotJson, type Json } from './json.ts'

const status = z.enum([
  'created',
  'in_progress',
  'completed',
  'canceled',
  'failed',
  'rejected',
  'unknown',
  'queued',
  'incomplete'
])

const roles = z.enum(['assistant', 'system', 'user', 'tool'])

const fault = z.looseObject({ code: z.string(), message: z.string() })

const inEveryPart = {
  object: z.string().nullish(),
  index: z.int().nullish(),
  delta: z.boolean().nullish(),
  msg_id: z.string().nullish(),
  sequence_number: z.int().nullish(),
  status: status.nullish(),
  error: fault.nullish()
}

/**
 * One part of a message's content, told apart by `type`. Every field but `type` is optional and none is filled in;
 * unknown fields are kept.
 */
export const contentPartSchema = z.discriminatedUnion('type', [
  z.looseObject({ type: z.literal('text'), text: z.string().nullish(), ...inEveryPart }),
  z.looseObject({ type: z.literal('image'), image_url: z.string().nullish(), ...inEveryPart }),
  /** Carries tool calls (`call_id`, `name`, `arguments` as a JSON string) and their outputs (`call_id`, `name`, `output`). */
  z.looseObject({ type: z.literal('data'), data: z.looseObject({}).nullish(), ...inEveryPart }),
  z.looseObject({ type: z.literal('audio'), data: z.string().nullish(), format: z.string().nullish(), ...inEveryPart }),
  z.looseObject({ type: z.literal('video'), video_url: z.string().nullish(), ...inEveryPart }),
  z.looseObject({
    type: z.literal('file'),
    file_url: z.string().nullish(),
    file_id: z.string().nullish(),
    filename: z.string().nullish(),
    file_data: z.string().nullish(),
    ...inEveryPart
  }),
  z.looseObject({ type: z.literal('refusal'), refusal: z.string().nullish(), ...inEveryPart })
])

/** A part of a message's content. */
export type ContentPart = z.output<typeof contentPartSchema>

/** The types that the seed's service knows; any other string is accepted. */
export type MessageType =
  | 'message'
  | 'function_call'
  | 'function_call_output'
  | 'plugin_call'
  | 'plugin_call_output'
  | 'component_call'
  | 'component_call_output'
  | 'mcp_list_tools'
  | 'mcp_approval_request'
  | 'mcp_call'
  | 'mcp_approval_response'
  | 'mcp_call_output'
  | 'reasoning'
  | 'heartbeat'
  | 'error'
  | 'a2ui_response'
  | 'a2ui_action'

/**
 * The default message. Every field has a default, so `{}` is one: `id` (`msg_` and a fresh id), `object` (`'message'`),
 * `type` (`'message'`) and `status` (`'created'`) are filled in, a string as `content` becomes one text part, and the
 * others stay absent unless given. Unknown fields are kept.
 */
export const messageSchema = z.looseObject({
  id: z.string().default(() => freshId('msg_')),
  object: z.string().default('message'),
  type: (z.string() as z.ZodType<MessageType | (string & {}), MessageType | (string & {})>).default('message'),
  status: status.default('created'),
  role: roles.nullish(),
  content: z.union([z.string().transform((text) => textContent(text)), z.array(contentPartSchema)]).nullish(),
  code: z.string().nullish(),
  message: z.string().nullish(),
  usage: z.looseObject({}).nullish(),
  metadata: z.looseObject({}).nullish(),
  sequence_number: z.int().nullish(),
  error: fault.nullish()
})

/** A message as it is stored and read. */
export interface Message extends z.output<typeof messageSchema> {}

/** A message as it may be given: everything is optional, and `content` may be a string. */
export interface MessageInput extends z.input<typeof messageSchema> {}

function textContent(text: string): ContentPart[] {
  return [{ type: 'text', text }]
}

/**
 * What is asked of a schema library: `validate`, answering at once. zod, valibot, arktype and others fit.
 *
 * @see https://standardschema.dev
 */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => StandardResult<Output> | Promise<StandardResult<Output>>
    readonly types?: { readonly input: Input; readonly output: Output } | undefined
  }
}

type StandardResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly StandardIssue[] }

interface StandardIssue {
  readonly message: string
  readonly path?: IssuePath | undefined
}

type IssuePath = readonly (PropertyKey | { readonly key: PropertyKey })[]

/** What a schema makes of its input: the type of the messages that are read. */
export type SchemaOutput<S extends StandardSchema> = NonNullable<S['~standard']['types']>['output']

/** What a schema accepts: the type of the messages that are given. */
export type SchemaInput<S extends StandardSchema> = NonNullable<S['~standard']['types']>['input']

/** How the messages of a session are checked and completed, under the name that is kept with the session. */
export interface MessageFormat {
  readonly name: string
  /** The frozen message to store, from a frozen copy of what the caller gave. `path` is where that was found. */
  complete(copy: Json, path: Path): Json
}

/** The format of {@link Message}. */
export function defaultFormat(newId: () => string): MessageFormat {
  // Defaults and string contents are filled in before: then the schema need not try one form after the other. And as zod
  // only judges, it need not copy the unknown fields.
  const [first, ...others] = contentPartSchema.options
  const part = z.discriminatedUnion('type', [first.strip(), ...others.map((option) => option.strip())])
  const judge = messageSchema
    .extend({ id: z.string(), content: z.array(part, 'expected a string or a list of content parts').nullish() })
    .strip()
  return {
    name: 'message',
    complete(copy, path) {
      // What zod gives back has lost keys that are named `__proto__`, too.
      const message =
        typeof copy === 'object' && copy !== null && !Array.isArray(copy) ? filledIn(copy as MessageInput, newId) : copy
      if (!isPlainText(message)) check(judge, message, path)
      return Object.freeze(message)
    }
  }
}

// What nearly every message is: text, and nothing that need be looked at closely. For that the schema takes several times as long.
function isPlainText(message: Json): boolean {
  const { id, object, type, status: state, role: speaker, content } = (message ?? {}) as Readonly<Record<string, Json>>
  if (typeof id !== 'string' || typeof object !== 'string' || typeof type !== 'string') return false
  if (!STATUSES.has(state) || !ROLES.has(speaker) || !Array.isArray(content)) return false
  for (const key in message as object) if (!PLAIN_KEYS.has(key)) return false
  for (const part of content as readonly Json[]) {
    if (typeof part !== 'object' || part === null) return false
    const { type: kind, text } = part as Readonly<Record<string, Json>>
    if (kind !== 'text' || typeof text !== 'string' || Object.keys(part).length !== 2) return false
  }
  return true
}

const STATUSES: ReadonlySet<unknown> = new Set(status.options)
const ROLES: ReadonlySet<unknown> = new Set(roles.options)
const PLAIN_KEYS: ReadonlySet<string> = new Set(['id', 'object', 'type', 'status', 'role', 'content'])

function filledIn(given: MessageInput, newId: () => string): Json {
  const message = { id: given.id ?? newId(), object: 'message', type: 'message', status: 'created', ...given }
  if (typeof message.content === 'string') {
    message.content = Object.freeze(textContent(message.content).map((part) => Object.freeze(part))) as ContentPart[]
  }
  return message as Json
}

/** The format of messages that `schema` describes: what it answers is what is stored. */
export function schemaFormat(schema: StandardSchema, name: string): MessageFormat {
  const standard: unknown = (schema as Partial<StandardSchema> | null | undefined)?.['~standard']
  if (typeof (standard as StandardSchema['~standard'] | undefined)?.validate !== 'function') {
    throw misuse('The message schema', 'a Standard Schema, with ["~standard"].validate', schema)
  }
  if (name === 'message' && schema !== messageSchema) {
    throw misuse('format', "another name than 'message', which is that of the default Message", name)
  }
  return {
    name,
    complete(copy, path) {
      const output = check(schema, copy, path)
      return output === copy ? copy : plain(output, path)
    }
  }
}

/**
 * A frozen copy of `value`, found at `path` of a call's arguments.
 *
 * @throws `INVALID_MESSAGE` with the path of what JSON cannot carry.
 */
export function plain(value: unknown, path: Path): Json {
  try {
    return copyJson(value)
  } catch (error) {
    if (!(error instanceof NotJson)) throw error
    throw invalid(error.what, [...path, ...error.path])
  }
}

/** @throws `INVALID_MESSAGE` where `message` is larger than `limit` bytes. */
export function checkSize(message: Json, limit: number, path: Path): void {
  const size = bytesOver(message, limit)
  if (size > 0) throw invalid(`${size} bytes of JSON, and ${limit} are allowed`, path, { size, limit })
}

function check(schema: StandardSchema, copy: Json, path: Path): unknown {
  const result = schema['~standard'].validate(copy)
  if ('then' in result) {
    result.then(undefined, () => undefined)
    throw new TypeError('The message schema validates asynchronously; turnlog needs one that answers at once')
  }
  if (!result.issues) return result.value
  const issue = deepest(result.issues)
  throw invalid(issue.message, [...path, ...keysOf(issue.path)])
}

/** The error `INVALID_MESSAGE`, to throw. */
export function invalid(reason: string, path: Path, sizes?: { size: number; limit: number }): Error {
  const place = path.length === 0 ? 'the message' : formatPath(path)
  return turnlogError('INVALID_MESSAGE', `Refused at ${place}: ${reason}`, { path, ...sizes })
}

// zod reports a union as one issue with a list per branch in `errors`; the branch that got furthest is the one meant.
function deepest(issues: readonly StandardIssue[], prefix: IssuePath = []): { message: string; path: IssuePath } {
  const [first] = issues
  if (!first) return { message: 'the schema refused it without a reason', path: prefix }
  const here = { message: first.message, path: [...prefix, ...(first.path ?? [])] }
  const branches = (first as { errors?: unknown }).errors
  if (!Array.isArray(branches)) return here
  return (branches as (readonly StandardIssue[])[])
    .filter((branch) => branch.length > 0)
    .map((branch) => deepest(branch, here.path))
    .reduce((best, next) => (next.path.length > best.path.length ? next : best), here)
}

function keysOf(path: IssuePath): Path {
  return path.map((segment) => {
    const key = typeof segment === 'object' ? segment.key : segment
    return typeof key === 'symbol' ? String(key) : key
  })
}
