import { once } from 'node:events'
import { stat } from 'node:fs/promises'
import { DEFAULT_FORMAT, readerOf } from '../adapters/shared/reading.ts'
import { diff } from '../diff.ts'
import type { SessionEvent } from '../event.ts'
import type { Message } from '../message.ts'
import type { Session } from '../session.ts'
import type { Head } from '../store.ts'
import { openToolCalls } from '../tool-calls.ts'
import { checkUser, headsOf, historyOf, pointOf, sessionOf, UsageError, versionedOf, type Context } from './context.ts'
import { textOf } from './conversations.ts'
import {
  columns,
  counted,
  jsonLine,
  line,
  paint,
  print,
  printJson,
  printTable,
  time,
  visible,
  visibleLine
} from './output.ts'

/** Lists who has sessions. */
export async function users({ history }: Context, { json }: { readonly json?: boolean }): Promise<void> {
  const ids = await history.listUsers()
  if (json) return printJson(ids)
  printTable(
    ['user'],
    ids.map((id) => [visibleLine(id)]),
    'no users'
  )
}

/** Lists the sessions of a user. */
export async function sessions(
  context: Context,
  userId: string,
  { limit, json }: { readonly limit?: number; readonly json?: boolean }
): Promise<void> {
  const listed = await context.history.listSessions(userId, { limit })
  if (listed.length === 0) await checkUser(context, userId)
  if (json) return printJson(listed.map(({ messages: _, ...session }) => session))
  const rows = listed.map(({ id, version, updatedAt, metadata, forkedFrom, turn }) => [
    visibleLine(id),
    String(version),
    time(updatedAt),
    line(typeof metadata['title'] === 'string' ? metadata['title'] : '', 50),
    forkedFrom ? `${visibleLine(forkedFrom.sessionId)}@${forkedFrom.version}` : '',
    turn ? `until ${time(turn.expiresAt)}` : ''
  ])
  printTable(['session', 'version', 'last written', 'title', 'forked from', 'turn'], rows, 'no sessions')
}

/** Shows a session as a conversation. */
export async function show(
  context: Context,
  userId: string,
  sessionId: string,
  { at, last, json }: { readonly at?: string; readonly last?: number; readonly json?: boolean }
): Promise<void> {
  const point = at === undefined ? undefined : pointOf(at)
  // What an adapter has stored reads as a whole: its items need not be messages.
  const head = await context.store.head({ userId, sessionId })
  const isShort = json === true || head?.summary.format === DEFAULT_FORMAT
  const session = await sessionOf(context, userId, sessionId, { at: point, last: isShort ? last : undefined })
  if (json) return printJson(session)
  const { version, metadata, forkedFrom, turn, format, messages: items } = session
  const read = (await readerOf(format))(items)
  const messages = last === undefined ? read : read?.slice(Math.max(0, read.length - last))
  const count = counted(messages?.length ?? items.length, 'message')
  const origin = forkedFrom ? `, forked from ${visibleLine(forkedFrom.sessionId)}@${forkedFrom.version}` : ''
  print(
    paint(
      'bold',
      `${visibleLine(sessionId)} at version ${version}${origin}, ${last === undefined ? '' : 'the newest '}${count}`
    )
  )
  if (turn)
    print(`a turn${turn.owner === undefined ? '' : ` of ${line(turn.owner)}`} is open until ${time(turn.expiresAt)}`)
  for (const [key, value] of Object.entries(metadata)) {
    // What an import makes of a conversation of which nothing else was said.
    if (key === 'facts' && JSON.stringify(value) === '{}') continue
    print(paint('dim', `${line(key)}: ${line(JSON.stringify(value), 100)}`))
  }
  if (!messages) {
    for (const item of items) print(visible(`\n${JSON.stringify(item, null, 2)}`))
    return
  }
  const open = new Set(openToolCalls({ messages }).map(({ message, part }) => `${message}.${part}`))
  for (const [i, message] of messages.entries()) {
    print()
    printMessage(message, (part) => open.has(`${i}.${part}`))
  }
}

const ROLES = { user: 'cyan', assistant: 'green', system: 'magenta', tool: 'yellow' } as const

function printMessage({ role, type, content, code, message }: Message, isOpen: (part: number) => boolean): void {
  const name = role ?? type
  print(paint(role ? ROLES[role] : 'blue', visibleLine(name)))
  if (message !== undefined && message !== null) print(visible(`  ${code ?? ''} ${message}`))
  for (const [i, part] of (content ?? []).entries()) {
    const shown = part.type === 'text' ? part.text : part.type === 'refusal' ? `refused: ${part.refusal}` : undefined
    if (typeof shown === 'string') print(visible(indented(shown)))
    else if (part.type === 'data') print(dataLine(part.data as Readonly<Record<string, unknown>>, isOpen(i)))
    else print(`  [${visibleLine(part.type)}]`)
  }
}

function dataLine(data: Readonly<Record<string, unknown>>, isOpen: boolean): string {
  return visible(indented(shownData(data))) + (isOpen ? paint('red', '  no output yet') : '')
}

// A call, or what it gave; anything else as JSON.
function shownData(data: Readonly<Record<string, unknown>>): string {
  const { name = '', arguments: args, input, output } = data
  if (output !== undefined) return `← ${said(name)} ${said(output)}`
  return args === undefined && input === undefined ? JSON.stringify(data) : `→ ${said(name)}(${said(args ?? input)})`
}

function said(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function indented(text: string): string {
  return text.replaceAll(/^/gm, '  ')
}

/** Shows the events of a session, and then those that come if asked to. */
export async function log(
  context: Context,
  userId: string,
  sessionId: string,
  {
    from,
    to,
    follow,
    json
  }: { readonly from?: number; readonly to?: number; readonly follow?: boolean; readonly json?: boolean }
): Promise<void> {
  if (from !== undefined && to !== undefined && from > to)
    throw new UsageError(`there is nothing from version ${from} up to version ${to}`)
  const history = await historyOf(context, userId, sessionId)
  const { signal } = context
  const events = follow
    ? history.subscribe(userId, sessionId, { from, signal })
    : history.readEvents(userId, sessionId, { from, to, signal })
  const head = await context.store.head({ userId, sessionId })
  const read = await readerOf(head?.summary.format ?? DEFAULT_FORMAT)
  const shown = (async function* () {
    let isFirst = !json
    for await (const event of events) {
      if (isFirst) yield `${paint('bold', rowOf(head, ['version', 'time', 'type', 'what']))}\n`
      isFirst = false
      if (json) yield jsonLine(event)
      else
        yield `${rowOf(head, [String(event.version), time(event.at, { isExact: true }), event.type, whatOf(event, read)])}\n`
      if (to !== undefined && event.version >= to) return
    }
    if (isFirst && !follow) yield 'no events\n'
  })()
  // Not as fast as they are read: of a long log that is more than fits into memory.
  for await (const text of shown) if (!process.stdout.write(text)) await once(process.stdout, 'drain', { signal })
}

// Columns that fit whatever comes: lines are shown as they are read.
function rowOf(head: Head | null, [version, at, type, what]: readonly [string, string, string, string]): string {
  const beginning = ` ${version.padEnd(Math.max(7, String(head?.version).length))}   ${at.padEnd(23)}   ${type.padEnd(18)}   `
  return `${beginning}${line(what, Math.max(10, Math.min(70, columns() - beginning.length)))}`.trimEnd()
}

function whatOf({ type, data }: SessionEvent<unknown>, read: Awaited<ReturnType<typeof readerOf>>): string {
  switch (type) {
    case 'created':
      return data.forkedFrom ? `fork of ${data.forkedFrom.sessionId}@${data.forkedFrom.version}` : data.format
    case 'message-appended':
    case 'message-replaced':
      return preview(read([data.message]) ?? [data.message])
    case 'messages-truncated':
      return `the first ${data.length} are left`
    case 'metadata-changed':
      return [...Object.keys(data.set), ...data.unset.map((key) => `-${key}`)].join(' ')
    case 'rewound':
      return `${data.kind} to ${data.toVersion}${data.reason === undefined ? '' : `: ${data.reason}`}`
    case 'turn-started':
      return `${data.owner ?? data.turnId} for ${data.ttlMs} ms`
    case 'turn-ended':
      return data.outcome
    case 'deleted':
      return data.reason ?? ''
  }
}

function preview(messages: readonly unknown[]): string {
  return messages
    .map((message) => {
      const { role, type, content } = (message ?? {}) as Partial<Message>
      if (!Array.isArray(content)) return JSON.stringify(message)
      const parts = content.map((part) =>
        part.type === 'data' ? shownData(part.data as Readonly<Record<string, unknown>>) : textOf({ content: [part] })
      )
      return `${role ?? type ?? ''}: ${parts.filter(Boolean).join(' ') || JSON.stringify(content)}`
    })
    .join(' ')
}

/** Shows how two versions or sessions differ. */
export async function compare(
  context: Context,
  userId: string,
  a: string,
  b: string,
  { json }: { readonly json?: boolean }
): Promise<void> {
  const [left, right] = [await versionedOf(context, userId, a), await versionedOf(context, userId, b)]
  if (json) return printJson(diff(left, right))
  print(visible(String(diff(await asRead(left), await asRead(right)))))
}

// As a conversation, where it reads as one.
async function asRead({
  format,
  messages,
  metadata
}: Session<unknown>): Promise<Pick<Session<unknown>, 'messages' | 'metadata'>> {
  return { messages: (await readerOf(format))(messages) ?? messages, metadata }
}

/** Counts what there is. */
export async function stats(context: Context, { json }: { readonly json?: boolean }): Promise<void> {
  const { path } = context
  const owners = new Set<string>()
  const counts = { users: 0, sessions: 0, deleted: 0, forks: 0, events: 0 }
  for await (const { version, summary } of headsOf(context)) {
    counts.events += version
    if (summary.deleted) counts.deleted++
    else {
      counts.sessions++
      owners.add(summary.userId)
      if (summary.forkedFrom) counts.forks++
    }
  }
  counts.users = owners.size
  const files = path === undefined ? [] : ['', '-wal', '-shm'].map((suffix) => path + suffix)
  const sizes = await Promise.all(files.map(sizeOf))
  const all = { ...counts, ...(path !== undefined && { bytes: sizes.reduce((sum, size) => sum + size, 0) }) }
  if (json) return printJson(all)
  printTable(
    ['what', 'how many'],
    Object.entries(all).map(([what, count]) => [what, count.toLocaleString('en')]),
    ''
  )
}

async function sizeOf(file: string): Promise<number> {
  return stat(file).then(
    ({ size }) => size,
    () => 0
  )
}
