import { stat } from 'node:fs/promises'
import { diff } from '../diff.ts'
import { isTurnlogError } from '../errors.ts'
import type { SessionEvent } from '../event.ts'
import type { Message } from '../message.ts'
import type { Session } from '../session.ts'
import type { Head } from '../store.ts'
import { openToolCalls } from '../tool-calls.ts'
import { historyOf, pointOf, sessionOf, versionedOf, type Context } from './context.ts'
import { textOf } from './conversations.ts'
import { line, paint, print, printJson, printTable, time, visible, withProgress } from './output.ts'

/** Lists who has sessions. */
export async function users({ history }: Context, { json }: { readonly json?: boolean }): Promise<void> {
  const ids = await history.listUsers()
  if (json) return printJson(ids)
  printTable(
    ['user'],
    ids.map((id) => [visible(id, { isLine: true })]),
    'no users'
  )
}

/** Lists the sessions of a user. */
export async function sessions(
  { history }: Context,
  userId: string,
  { limit, json }: { readonly limit?: number; readonly json?: boolean }
): Promise<void> {
  const listed = await history.listSessions(userId, { limit })
  if (json) return printJson(listed.map(({ messages: _, ...session }) => session))
  const rows = listed.map(({ id, version, updatedAt, metadata, forkedFrom, turn }) => [
    visible(id, { isLine: true }),
    String(version),
    time(updatedAt),
    line(typeof metadata['title'] === 'string' ? metadata['title'] : '', 50),
    forkedFrom ? `${visible(forkedFrom.sessionId, { isLine: true })}@${forkedFrom.version}` : '',
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
  const session = await sessionOf(context, userId, sessionId, { at: at === undefined ? undefined : pointOf(at), last })
  if (json) return printJson(session)
  const { version, metadata, forkedFrom, turn, messages } = session
  const origin = forkedFrom
    ? `, forked from ${visible(forkedFrom.sessionId, { isLine: true })}@${forkedFrom.version}`
    : ''
  print(
    paint('bold', `${visible(sessionId, { isLine: true })} at version ${version}${origin}, ${messages.length} messages`)
  )
  if (turn)
    print(`a turn${turn.owner === undefined ? '' : ` of ${line(turn.owner)}`} is open until ${time(turn.expiresAt)}`)
  for (const [key, value] of Object.entries(metadata))
    print(paint('dim', `${line(key)}: ${line(JSON.stringify(value), 100)}`))
  const open = new Set(
    isOfMessages(session) ? openToolCalls(session).map(({ message, part }) => `${message}.${part}`) : []
  )
  for (const [i, message] of messages.entries()) {
    print()
    if (isOfMessages(session)) printMessage(message as Message, (part) => open.has(`${i}.${part}`))
    else print(visible(JSON.stringify(message, null, 2)))
  }
}

const ROLES = { user: 'cyan', assistant: 'green', system: 'magenta', tool: 'yellow' } as const

function printMessage({ role, type, content, code, message }: Message, isOpen: (part: number) => boolean): void {
  const name = role ?? type
  print(paint(role ? ROLES[role] : 'blue', visible(name, { isLine: true })))
  if (message !== undefined && message !== null) print(visible(`  ${code ?? ''} ${message}`))
  for (const [i, part] of (content ?? []).entries()) {
    const shown = part.type === 'text' ? part.text : part.type === 'refusal' ? `refused: ${part.refusal}` : undefined
    if (typeof shown === 'string') print(visible(indented(shown)))
    else if (part.type === 'data') print(dataLine(part.data as Readonly<Record<string, unknown>>, isOpen(i)))
    else print(`  [${visible(part.type, { isLine: true })}]`)
  }
}

function dataLine(data: Readonly<Record<string, unknown>>, isOpen: boolean): string {
  const { name = '', arguments: args, input, output } = data
  if (output !== undefined) return visible(indented(`← ${said(name)} ${said(output)}`))
  if (args === undefined && input === undefined) return visible(indented(JSON.stringify(data)))
  return visible(`  → ${said(name)}(${said(args ?? input)})`) + (isOpen ? paint('red', '  no output yet') : '')
}

function said(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function indented(text: string): string {
  return text.replaceAll(/^/gm, '  ')
}

function isOfMessages(session: Session<unknown>): session is Session {
  return session.format === 'message'
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
  const history = await historyOf(context, userId, sessionId)
  if (!follow) {
    const rows: string[][] = []
    for await (const event of history.readEvents(userId, sessionId, { from, to })) {
      if (json) printJson(event)
      else rows.push(rowOf(event))
    }
    if (!json) printTable(['version', 'time', 'type', 'what'], rows, 'no events')
    return
  }
  const stopped = new AbortController()
  const stop = (): void => stopped.abort()
  process.once('SIGINT', stop).once('SIGTERM', stop)
  for await (const event of history.subscribe(userId, sessionId, { from, signal: stopped.signal })) {
    if (json) printJson(event)
    else print(rowOf(event).join('  '))
    if (to !== undefined && event.version >= to) break
  }
  process.off('SIGINT', stop).off('SIGTERM', stop)
}

function rowOf(event: SessionEvent<unknown>): string[] {
  return [String(event.version), time(event.at), event.type, line(whatOf(event), 70)]
}

function whatOf({ type, data }: SessionEvent<unknown>): string {
  switch (type) {
    case 'created':
      return data.forkedFrom ? `fork of ${data.forkedFrom.sessionId}@${data.forkedFrom.version}` : data.format
    case 'message-appended':
    case 'message-replaced':
      return preview(data.message)
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

function preview(message: unknown): string {
  const { role, type, content } = (message ?? {}) as Partial<Message>
  if (!Array.isArray(content)) return JSON.stringify(message)
  const text = textOf({ content })
  return `${role ?? type ?? ''}: ${text || JSON.stringify(content)}`
}

/** Shows how two versions or sessions differ. */
export async function compare(
  context: Context,
  userId: string,
  a: string,
  b: string,
  { json }: { readonly json?: boolean }
): Promise<void> {
  const [left, right] = [versionedOf(a), versionedOf(b)]
  const difference = diff(
    await sessionOf(context, userId, left.id, { at: left.at }),
    await sessionOf(context, userId, right.id, { at: right.at })
  )
  if (json) return printJson(difference)
  print(visible(String(difference)))
}

/** Reads everything, and tells what is damaged. Gives whether nothing is. */
export async function verify(
  context: Context,
  userId: string | undefined,
  { json }: { readonly json?: boolean }
): Promise<boolean> {
  const heads = (await allHeads(context)).filter(({ summary }) => userId === undefined || summary.userId === userId)
  const damaged: { userId: string; sessionId: string; code: string; version?: number; message: string }[] = []
  let events = 0
  await withProgress('verify', heads.length, async (advance) => {
    for (const { summary } of heads) {
      const { userId: user, sessionId } = summary
      try {
        events += await verifySession(context, user, sessionId)
      } catch (error) {
        const code = isTurnlogError(error) ? error.code : 'ERROR'
        const version = isTurnlogError(error, 'CORRUPT_LOG') ? { version: error.version } : {}
        damaged.push({ userId: user, sessionId, code, ...version, message: (error as Error).message })
      }
      advance()
    }
  })
  if (json) printJson({ sessions: heads.length, events, damaged })
  else {
    for (const { message, code } of damaged) print(`${paint('red', code)} ${visible(message, { isLine: true })}`)
    print(
      `${heads.length} sessions with ${events} events read; ${damaged.length === 0 ? 'all sound' : `${damaged.length} damaged`}`
    )
  }
  return damaged.length === 0
}

// Each version of a log is read with its checksum and folded; what the head says has to be what the log comes to.
async function verifySession(context: Context, userId: string, sessionId: string): Promise<number> {
  const history = await historyOf(context, userId, sessionId)
  let events = 0
  // As it is stored, so that no format of messages matters: an export refuses what is missing.
  for await (const each of context.history.exportSession(userId, sessionId)) if (each !== '') events++
  const head = await context.store.head({ userId, sessionId })
  const session = head && (await history.getSession(userId, sessionId, { at: head.version }))
  if (!head || (head.summary.deleted ? session !== null : session?.version !== head.summary.version))
    throw new Error(`What the store says of session ${JSON.stringify(sessionId)} is not what its log comes to`)
  // A header and a last line.
  return events - 2
}

async function allHeads({ store }: Context): Promise<Head[]> {
  return [...(await store.heads())]
}

/** Counts what there is. */
export async function stats(context: Context, url: string, { json }: { readonly json?: boolean }): Promise<void> {
  const heads = await allHeads(context)
  const path = /^sqlite:(.*)$/s.exec(url)?.[1]
  const sizes = await Promise.all(
    path === undefined
      ? []
      : ['', '-wal'].map((suffix) =>
          stat(path + suffix).then(
            ({ size }) => size,
            () => 0
          )
        )
  )
  const live = heads.filter(({ summary }) => !summary.deleted)
  const counts = {
    users: new Set(live.map(({ summary }) => summary.userId)).size,
    sessions: live.length,
    deleted: heads.length - live.length,
    forks: live.filter(({ summary }) => summary.forkedFrom).length,
    events: heads.reduce((sum, { version }) => sum + version, 0),
    ...(path !== undefined && { bytes: sizes.reduce((sum, size) => sum + size, 0) })
  }
  if (json) return printJson(counts)
  printTable(
    ['what', 'how many'],
    Object.entries(counts).map(([what, count]) => [what, count.toLocaleString('en')]),
    ''
  )
}
