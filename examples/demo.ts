// Real conversations go in, and come out as they went in, also the next time: npm run demo -- FILE [--store URL] [--inspect]
// With --inspect, they are looked at in the browser then. They are kept in the store that URL names, such as sqlite:sessions.db, postgres://localhost/mine or nats://localhost:4222; by default in
// an SQLite file in the folder for temporary files.
// FILE has one conversation a line: { task_id, trial, reward, messages }, the messages in OpenAI's chat format.
import { once } from 'node:events'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isDeepStrictEqual as same, parseArgs, styleText } from 'node:util'
import { SingleBar } from 'cli-progress'
import { createSessionHistory, fromOpenAIMessage, isTurnlogError, openStore, toOpenAIMessages } from 'turnlog'
import type { Message, OpenAIMessage, Session, SessionHistoryService } from 'turnlog'
import type { ActorLog } from 'turnlog/inspector'

interface Conversation {
  readonly id: string
  readonly place: string
  readonly facts: object
  readonly messages: readonly OpenAIMessage[]
}

class InputError extends Error {} // Shown as one line, without a stack.

const ROWS = 12
let user = ''

try {
  const { file, url, isInspected } = given()
  await demo(file, url, isInspected)
} catch (error) {
  if (!(error instanceof InputError) && !isTurnlogError(error)) throw error
  console.error(error.message)
  process.exitCode = 1
}

function given(): { readonly file: string; readonly url: string; readonly isInspected: boolean } {
  try {
    const { values, positionals } = parseArgs({
      options: { store: { type: 'string' }, inspect: { type: 'boolean', default: false } },
      allowPositionals: true
    })
    const [file = fileURLToPath(new URL('conversation.jsonl', import.meta.url))] = positionals
    const url = values.store ?? `sqlite:${join(tmpdir(), 'turnlog-demo.db')}`
    openStore(url)
    return { file, url, isInspected: values.inspect }
  } catch (error) {
    throw new InputError(`${(error as Error).message}\nnpm run demo -- [FILE] [--store ADDRESS] [--inspect]`)
  }
}

async function demo(path: string, url: string, isInspected: boolean): Promise<void> {
  const actors = isInspected ? new (await import('turnlog/inspector')).ActorLog() : undefined
  // Two services over one store, as two processes would have it: both race.
  const [history, rival] = await openHistories(url, actors)
  await showKept(history, url)
  const ids = await storeAll(history, path)
  await showStored(history, ids)
  await replay(history, ids[0]!)
  await readThePast(history, ids[0]!)
  await race([history, rival], ids[0]!)
  await compareAll(history, path)
  if (actors) await inspect(history, actors, url)
  await Promise.all([history.stop(), rival.stop()])
}

async function openHistories(
  url: string,
  actors: ActorLog | undefined
): Promise<[SessionHistoryService, SessionHistoryService]> {
  const store = openStore(url)
  // What is in memory is one object's.
  const other = url === 'memory:' ? store : openStore(url)
  return [await createSessionHistory({ store, inspect: actors }), await createSessionHistory({ store: other })]
}

// Each run is a user of its own; those of before are still there.
async function showKept(history: SessionHistoryService, url: string): Promise<void> {
  const runs = await history.listUsers()
  user = `run-${runs.length + 1}`
  heading(`${withoutPassword(url)}: ${runs.length === 0 ? 'new' : `${runs.length} runs before this one`}`)
  for (const run of runs.slice(-3)) {
    const kept = await history.listSessions(run)
    const whole = await Promise.all(kept.map(({ id }) => history.getSession(run, id)))
    const count = whole.reduce((sum, session) => sum + (session?.messages.length ?? 0), 0)
    check(`${run} is still there: ${kept.length} sessions, ${count} messages`, whole.every(Boolean))
  }
}

async function storeAll(history: SessionHistoryService, path: string): Promise<string[]> {
  heading(`Storing ${basename(path)}`)
  const start = performance.now()
  const ids: string[] = []
  let count = 0
  for await (const { id, place, facts, messages } of conversations(path)) {
    try {
      const toStore = messages.map(fromOpenAIMessage)
      const title = cut(textOf(messages.find(({ role }) => role === 'user') ?? {}), 50)
      const session = await history.createSession(user, id, { metadata: { ...facts, title } })
      await history.appendMessage(session, toStore)
    } catch (error) {
      throw new InputError(`${place}: ${(error as Error).message}`)
    }
    ids.push(id)
    count += messages.length
  }
  if (ids.length === 0) throw new InputError(`${path}: has no conversations`)
  console.log(
    `  ${ids.length} conversations with ${count} messages, read and stored in ${Math.round(performance.now() - start)} ms`
  )
  return ids
}

async function showStored(history: SessionHistoryService, ids: readonly string[]): Promise<void> {
  const listed = await history.listSessions(user)
  heading(`${listed.length} sessions`)
  console.log(paint('dim', '  session   messages     calls    reward  title'))
  for (const id of ids.slice(0, ROWS)) {
    const { messages, metadata } = await sessionOf(history, id)
    const calls = toOpenAIMessages(messages).flatMap((message) => message.tool_calls ?? []).length
    const { reward = '', title } = metadata as Readonly<Record<string, string | number>>
    const cells = [messages.length, calls, reward].map((cell) => String(cell).padStart(10)).join('')
    console.log(`  ${id.padEnd(8)}${cells}  ${title}`)
  }
  if (ids.length > ROWS) console.log(`  … ${ids.length - ROWS} more`)
  check('every conversation has its session', same(listed.map(({ id }) => id).sort(), ids.toSorted()))
}

async function replay(history: SessionHistoryService, id: string): Promise<void> {
  heading(`Replay of ${id}, event by event`)
  const replayed: Message[] = []
  let version = 0
  for await (const event of history.readEvents(user, id)) {
    version = event.version
    if (event.type === 'message-appended') replayed.push(event.data.message)
    const [message] = toOpenAIMessages(replayed.slice(version - 2))
    if (version <= ROWS) console.log(`  ${String(version).padStart(4)}  ${message ? describe(message, 9) : event.type}`)
  }
  if (version > ROWS) console.log(`  … ${version - ROWS} more`)
  const { messages } = await sessionOf(history, id)
  check(`the ${version} events come to the ${messages.length} messages of the session`, same(replayed, messages))
}

async function readThePast(history: SessionHistoryService, id: string): Promise<void> {
  heading(`${id} as it was`)
  const now = await sessionOf(history, id)
  for (const quarter of [1, 2, 3]) {
    const past = await sessionOf(history, id, Math.ceil((now.version * quarter) / 4))
    const [last] = toOpenAIMessages(past.messages.slice(-1))
    const what = `at version ${past.version}: ${past.messages.length} messages, the last ${last ? describe(last) : ''}`
    check(what, same(past.messages, now.messages.slice(0, past.messages.length)))
  }
}

async function race(services: readonly SessionHistoryService[], id: string): Promise<void> {
  heading(`100 appends at once to ${id}, by two services over one store`)
  const before = await sessionOf(services[0]!, id)
  const racers = Array.from({ length: 100 }, (_, i) => `racer ${i}`)
  const racing = racers.map((content, i) => services[i % 2]!.appendMessage(before, { id: content, content }))
  const versions = (await Promise.all(racing)).map((session) => session?.version ?? 0).sort((a, b) => a - b)
  const after = await sessionOf(services[0]!, id)
  const added = after.messages.slice(before.messages.length).map((message) => message.id)
  check('all 100 are there, each once', same(added.sort(), racers.toSorted()))
  const consecutive = racers.map((_, i) => before.version + 1 + i)
  check(`each has a version of its own, ${versions[0]} to ${versions.at(-1)}`, same(versions, consecutive))
  const untouched = same(after.messages.slice(0, before.messages.length), before.messages)
  check(`the ${before.messages.length} messages before them are as they were`, untouched)
}

async function compareAll(history: SessionHistoryService, path: string): Promise<void> {
  heading('Compared with the file')
  let [equal, total] = [0, 0]
  for await (const { id, place, messages } of conversations(path)) {
    // As it was before the race: one event for the session, one for each message.
    const stored = toOpenAIMessages((await sessionOf(history, id, 1 + messages.length)).messages)
    for (const [i, message] of messages.entries()) {
      if (same(stored[i], message)) equal++
      else check(`${place}: message ${i} came back as ${JSON.stringify(stored[i])}`, false)
    }
    total += messages.length
  }
  check(`${equal} of ${total} messages came back as they went in`, equal === total)
}

async function inspect(history: SessionHistoryService, actors: ActorLog, url: string): Promise<void> {
  const { startInspector } = await import('turnlog/inspector')
  const inspector = await startInspector(history, { actors, allowEdit: true, store: withoutPassword(url) })
  heading('In the browser')
  console.log(`  ${inspector.url}&user=${user}\n  Ctrl-C ends it.`)
  await once(process, 'SIGINT')
  await inspector.stop()
}

/** Line by line, so that a file may be larger than memory. */
async function* conversations(path: string): AsyncGenerator<Conversation> {
  const file = await open(path).catch((error: unknown) => {
    throw new InputError(`${path}: cannot be read (${(error as Error).message})`)
  })
  const stats = await file.stat()
  if (stats.isDirectory()) throw new InputError(`${path}: is a directory`)
  const bar = new SingleBar({ format: '  {bar} {percentage} %', stream: process.stderr, clearOnComplete: true })
  if (process.stderr.isTTY && stats.size > 256 * 1024) bar.start(stats.size, 0)
  let line = 0
  try {
    for await (const text of file.readLines()) {
      line++
      if (text.trim()) yield { id: `line-${line}`, ...parse(text, `${path}:${line}`) }
      bar.increment(Buffer.byteLength(text) + 1)
    }
  } finally {
    bar.stop()
    await file.close()
  }
}

function parse(text: string, place: string): Omit<Conversation, 'id'> {
  try {
    const { messages, ...facts } = (JSON.parse(text) ?? {}) as { messages?: OpenAIMessage[] }
    if (Array.isArray(messages)) return { place, facts, messages }
  } catch (error) {
    throw new InputError(`${place}: is not JSON (${(error as Error).message})`)
  }
  throw new InputError(`${place}: has no list of messages`)
}

async function sessionOf(history: SessionHistoryService, id: string, at?: number): Promise<Session> {
  return (await history.getSession(user, id, at === undefined ? {} : { at }))!
}

function describe({ role, tool_calls: calls = [], ...rest }: OpenAIMessage, width = 0): string {
  const called = calls.map((call) => `${call.function?.name}(${call.function?.arguments})`)
  return `${role.padEnd(width)}  ${cut([textOf(rest), ...called].filter(Boolean).join(' → ') || '""', 80)}`
}

function textOf({ content }: Pick<OpenAIMessage, 'content'>): string {
  return typeof content === 'string' ? content : (content ?? []).map(({ type, text }) => text ?? `[${type}]`).join(' ')
}

function cut(text: string, length: number): string {
  const line = text.replaceAll(/\s+/g, ' ').trim()
  return line.length > length ? `${line.slice(0, length - 1)}…` : line
}

function withoutPassword(url: string): string {
  return url.replace(/\/\/.*@/s, '//…@')
}

function heading(text: string): void {
  console.log(`\n${paint('bold', text)}`)
}

function check(what: string, isSo: boolean): void {
  console.log(`  ${isSo ? paint('green', '✓') : paint('red', '✗')} ${what}`)
  if (!isSo) process.exitCode = 1
}

function paint(style: 'bold' | 'dim' | 'green' | 'red', text: string): string {
  return process.stdout.isTTY && !process.env['NO_COLOR'] ? styleText(style, text) : text
}
