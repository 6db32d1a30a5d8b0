// The Claude Agent SDK with its transcripts in turnlog: a session goes on after a restart, with nothing on the disk of the one who resumes it; and
// one that was deleted comes back, as it was after its first answer. The real Claude Code, and a model on this machine that answers from a list.
import { mkdtempSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import { deleteSession, getSessionMessages, query } from '@anthropic-ai/claude-agent-sdk'
import { createSessionHistory } from 'turnlog'
import { TurnlogSessionStore } from 'turnlog/claude-agent'
import { sqliteStore } from 'turnlog/sqlite'

const answers = ['At 22:47.', 'At 6:10.', 'On track 4.']
const model = createServer((request, response) => void answer(request, response))
async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { messages } = (await json(request)) as { messages: { role: string; content: string | { text: string }[] }[] }
  const said = messages.flatMap(({ role, content }) => (role === 'system' ? [] : [content].flat()))
  console.log(`the model hears: ${said.map((part) => (typeof part === 'string' ? part : part.text)).join(' | ')}`)
  const message = { id: 'msg_1', type: 'message', role: 'assistant', model: 'fake', content: [], usage: {} }
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  for (const event of [
    { type: 'message_start', message },
    { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
    { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: answers.shift() } },
    { type: 'content_block_stop', index: 0 },
    { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: {} },
    { type: 'message_stop' }
  ])
    response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
  response.end()
}
await new Promise<void>((resolve) => void model.listen(0, '127.0.0.1', resolve))
const ANTHROPIC_BASE_URL = `http://127.0.0.1:${(model.address() as AddressInfo).port}`
const offline = { ANTHROPIC_BASE_URL, ANTHROPIC_API_KEY: 'none', CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1' }
const folder = (): string => mkdtempSync(join(tmpdir(), 'turnlog-'))
const [path, cwd, sessionId] = [join(folder(), 'sessions.db'), folder(), '1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed']

// Each run has an empty folder where Claude Code keeps its sessions: what it resumes is in the store.
async function ask(prompt: string, sessionStore: TurnlogSessionStore, resume?: string): Promise<void> {
  const env = { PATH: process.env['PATH'], CLAUDE_CONFIG_DIR: folder(), ...offline }
  const session = resume === undefined ? { sessionId } : { resume }
  const options = { ...session, sessionStore, cwd, env, settingSources: [], tools: [] }
  for await (const each of query({ prompt, options }))
    if (each.type === 'result' && each.subtype === 'success') console.log(`${prompt} ${each.result}`)
}
const history = await createSessionHistory({ store: sqliteStore({ path }) })
await ask('A train to Oslo?', new TurnlogSessionStore({ history, userId: 'ada' }))
await history.stop()
const later = await createSessionHistory({ store: sqliteStore({ path }) })
const store = new TurnlogSessionStore({ history: later, userId: 'ada' })
await ask('And back?', store, sessionId)
const [, first] = await getSessionMessages(sessionId, { sessionStore: store, dir: cwd })
await deleteSession(sessionId, { sessionStore: store, dir: cwd })
const key = { projectKey: cwd.replaceAll(/[^A-Za-z0-9]/g, '-'), sessionId }
console.log('deleted:', await store.load(key))
await store.history.rewind(store.refOf(key), (await store.versionOf(key, first!.uuid))!)
await ask('Where?', store, sessionId)
await later.stop()
model.close()
