import { existsSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import {
  createSdkMcpServer,
  query,
  tool,
  type Options,
  type SDKMessage,
  type SDKUserMessage
} from '@anthropic-ai/claude-agent-sdk'
import { z } from 'zod'

/** What the model says to one request: blocks of content, an error, or nothing at all until the request is given up. */
export type Answer =
  | readonly Block[]
  | { readonly status: number; readonly type: string; readonly message: string }
  | 'nothing'

export type Block =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'tool_use'; readonly id: string; readonly name: string; readonly input: object }

export interface Asked {
  readonly messages: readonly { readonly role: string; readonly content: string | readonly AskedBlock[] }[]
}

export interface AskedBlock {
  readonly type: string
  readonly text?: string
  readonly name?: string
  readonly input?: unknown
  readonly content?: unknown
}

export const says = (text: string): readonly Block[] => [{ type: 'text', text }]
export const calls = (id: string, name: string, input: object): readonly Block[] => [
  { type: 'tool_use', id, name: `mcp__clerk__${name}`, input }
]

/** Why the real runner cannot run here, or `undefined`: it is a binary for each platform, which is an optional dependency. */
export function missingBinary(): string | undefined {
  const name = `@anthropic-ai/claude-agent-sdk-${process.platform}-${process.arch}`
  const sdk = createRequire(import.meta.url).resolve('@anthropic-ai/claude-agent-sdk')
  const file = process.platform === 'win32' ? 'claude.exe' : 'claude'
  return existsSync(join(dirname(sdk), '..', name.split('/')[1]!, file)) ? undefined : `${name} is not installed`
}

/** A Messages API on this machine that answers from a list, and runs of the real Claude Code against it. */
export interface Claude {
  /** What the SDK makes of the folder of all runs. */
  readonly projectKey: string
  /** That folder, for the functions of the SDK that ask for one. */
  readonly dir: string
  readonly asked: Asked[]
  /** What is answered from now on; what was left of before is forgotten. */
  will(...answers: readonly Answer[]): void
  /** Runs the real `query` to its end. Each run has a folder of its own for what Claude Code keeps, so it has nothing but what its store has. */
  run(
    prompt: string | AsyncIterable<SDKUserMessage>,
    options: Options,
    onMessage?: (message: SDKMessage) => void
  ): Promise<Run>
  /** Resolves with the next request. */
  nextRequest(): Promise<void>
  /** What was said in the newest request, without what Claude Code adds. */
  heard(): string[]
  close(): Promise<void>
}

export interface Run {
  readonly messages: readonly SDKMessage[]
  /** What went wrong in the end, if anything. */
  readonly error?: unknown
}

export async function claude(): Promise<Claude> {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'turnlog-claude-')))
  const answers: Answer[] = []
  const asked: Asked[] = []
  const waiting: (() => void)[] = []
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => {
      if (!request.url?.startsWith('/v1/messages?')) return response.writeHead(404).end('{}')
      asked.push(JSON.parse(body) as Asked)
      for (const resolve of waiting.splice(0)) resolve()
      const answer = answers.shift() ?? { status: 500, type: 'api_error', message: 'no answer is left' }
      if (answer === 'nothing') return undefined
      return reply(response, answer, asked.length)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo

  return {
    projectKey: directory.replaceAll(/[^A-Za-z0-9]/g, '-'),
    dir: directory,
    asked,
    will: (...more) => void answers.splice(0, Infinity, ...more),
    async run(prompt, options, onMessage) {
      const home = mkdtempSync(join(directory, 'home-'))
      const messages: SDKMessage[] = []
      const given: Options = {
        // Nothing of this machine: no settings, no tools, no network.
        cwd: directory,
        settingSources: [],
        tools: [],
        allowedTools: ['mcp__clerk__add'],
        mcpServers: { clerk: clerk() },
        env: {
          PATH: process.env['PATH'],
          HOME: home,
          CLAUDE_CONFIG_DIR: home,
          ANTHROPIC_BASE_URL: `http://127.0.0.1:${port}`,
          ANTHROPIC_API_KEY: 'none',
          CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
          CLAUDE_CODE_MAX_RETRIES: '0',
          DISABLE_TELEMETRY: '1',
          DISABLE_AUTOUPDATER: '1'
        },
        ...options
      }
      try {
        for await (const message of query({ prompt, options: given })) {
          messages.push(message)
          onMessage?.(message)
        }
        return { messages }
      } catch (error) {
        return { messages, error }
      }
    },
    nextRequest: () => new Promise((resolve) => void waiting.push(resolve)),
    heard: () => asked.at(-1)?.messages.flatMap(heardOf) ?? [],
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      rmSync(directory, { recursive: true, force: true })
    }
  }
}

function clerk(): NonNullable<Options['mcpServers']>[string] {
  const numbers = { a: z.number(), b: z.number() }
  const answer = (text: string) => ({ content: [{ type: 'text' as const, text }] })
  return createSdkMcpServer({
    name: 'clerk',
    tools: [
      tool('add', 'adds two numbers', numbers, async ({ a, b }) => answer(String(a + b))),
      tool('pay', 'pays a sum', { sum: z.number() }, async ({ sum }) => answer(`${sum} paid`))
    ]
  })
}

function heardOf({ role, content }: Asked['messages'][number]): string[] {
  if (role === 'system') return []
  if (typeof content === 'string') return [content]
  return content.flatMap(({ type, text, name, input, content: output }) => {
    if (type === 'tool_use') return [`${name}(${JSON.stringify(input)})`]
    if (type === 'tool_result') return [`= ${JSON.stringify(output)}`]
    return text === undefined || text.startsWith('<system-reminder>') ? [] : [text]
  })
}

// As the Messages API streams: each block in two pieces.
function reply(response: ServerResponse, answer: Exclude<Answer, 'nothing'>, count: number): void {
  if ('status' in answer) {
    const { status, type, message } = answer
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ type: 'error', error: { type, message } }))
    return
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  const send = (type: string, data: object): void =>
    void response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`)
  const usage = { input_tokens: 1, output_tokens: 1 }
  const message = { id: `msg_${count}`, type: 'message', role: 'assistant', model: 'claude-fake', content: [] }
  send('message_start', { message: { ...message, stop_reason: null, stop_sequence: null, usage } })
  for (const [index, block] of answer.entries()) {
    const whole = block.type === 'text' ? block.text : JSON.stringify(block.input)
    const half = Math.floor(whole.length / 2)
    const begun = block.type === 'text' ? { ...block, text: '' } : { ...block, input: {} }
    send('content_block_start', { index, content_block: begun })
    for (const piece of [whole.slice(0, half), whole.slice(half)]) {
      const delta =
        block.type === 'text' ? { type: 'text_delta', text: piece } : { type: 'input_json_delta', partial_json: piece }
      send('content_block_delta', { index, delta })
    }
    send('content_block_stop', { index })
  }
  const stop = answer.some(({ type }) => type === 'tool_use') ? 'tool_use' : 'end_turn'
  send('message_delta', { delta: { stop_reason: stop, stop_sequence: null }, usage: { output_tokens: 5 } })
  send('message_stop', {})
  response.end()
}
