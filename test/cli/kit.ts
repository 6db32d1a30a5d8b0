import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { afterAll, expect, vi } from 'vitest'
import { turnlog as run } from '../../src/cli/program.ts'
import type { OpenAIMessage } from '../../src/index.ts'
import { hushSqliteWarning } from '../../src/stores/sqlite/hushed.ts'
import { PROGRAM } from '../compiled.ts'

/** Where commands run, and have their files. */
export const directory = mkdtempSync(join(tmpdir(), 'turnlog-cli-'))
process.chdir(directory)
// As the command does.
hushSqliteWarning()
vi.stubEnv('NO_COLOR', '1')
vi.stubEnv('TZ', 'UTC')

afterAll(() => {
  process.chdir('/')
  rmSync(directory, { recursive: true })
})

export interface Result {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** Runs the command in this process, one at a time. `columns`: as on a terminal that is so wide. */
export async function turnlog(
  store: string,
  args: readonly string[],
  { input = '', columns }: { readonly input?: string; readonly columns?: number } = {}
): Promise<Result> {
  const [out, err] = [new Printed(), new Printed()]
  const replaced = [
    vi.spyOn(process, 'stdin', 'get').mockReturnValue(Readable.from([Buffer.from(input)]) as typeof process.stdin),
    vi
      .spyOn(process, 'stdout', 'get')
      .mockReturnValue(
        Object.assign(out, columns !== undefined && { isTTY: true, columns }) as unknown as typeof process.stdout
      ),
    vi.spyOn(process, 'stderr', 'get').mockReturnValue(err as unknown as typeof process.stderr)
  ]
  vi.stubEnv('TURNLOG_STORE', store)
  try {
    await run(args)
    return { code: Number(process.exitCode ?? 0), out: out.text, err: err.text }
  } finally {
    process.exitCode = undefined
    for (const each of replaced) each.mockRestore()
  }
}

/** What a command that must do prints. */
export async function output(store: string, ...args: string[]): Promise<string> {
  const { code, out, err } = await turnlog(store, args)
  expect({ code, err }).toEqual({ code: 0, err: '' })
  return out
}

/** Starts the command as a process of its own. `before`: a module that is run first in it. */
export function start(store: string, args: readonly string[], before = ''): ChildProcessWithoutNullStreams {
  const env = { ...process.env, TURNLOG_STORE: store }
  const first = ['--import', `data:text/javascript,${encodeURIComponent(before)}`]
  return spawn(process.execPath, [...first, PROGRAM, ...args], { cwd: directory, env })
}

/** As `turnlog`, in a process of its own: for signals, what Node does before and after, and what nobody reads. */
export async function asProcess(store: string, args: readonly string[], before = ''): Promise<Result> {
  const child = start(store, args, before)
  child.stdin.end()
  const [out, err, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number | null]>
  ])
  return { code, out, err }
}

/** As `output`, in a process of its own. */
export async function outputOfProcess(store: string, ...args: string[]): Promise<string> {
  const { code, out, err } = await asProcess(store, args)
  expect({ code, err }).toEqual({ code: 0, err: '' })
  return out
}

export function write(name: string, content: string | Uint8Array): string {
  writeFileSync(join(directory, name), content)
  return name
}

export const TALK: OpenAIMessage[] = [
  { role: 'system', content: 'Be brief.' },
  { role: 'user', content: 'A train to Oslo?' },
  {
    role: 'assistant',
    content: null,
    tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'find', arguments: '{"to":"Oslo"}' } }]
  },
  { role: 'tool', tool_call_id: 'call_1', name: 'find', content: '["22:47"]' },
  { role: 'assistant', content: 'At 22:47.' }
]

/** {@link TALK} as a line of a file. */
export const LINE = JSON.stringify({ messages: TALK })

/** Writes a file with {@link TALK} as the session `trip`. */
export function writeTalk(): string {
  return write('talk.jsonl', JSON.stringify({ session_id: 'trip', reward: 1, messages: TALK }))
}

/** Keeps what is written to it. */
class Printed extends Writable {
  readonly #decoder = new TextDecoder()
  text = ''

  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    this.text += this.#decoder.decode(chunk, { stream: true })
    done()
  }
}
