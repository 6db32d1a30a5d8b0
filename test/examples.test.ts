import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { fileStore } from '../examples/own-store.ts'
import type { EventStore } from '../src/index.ts'
import { testEventStore } from '../src/testing.ts'
import { missingBinary } from './adapters/claude-agent-kit.ts'
import { COMPILED_EXAMPLES } from './compiled.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const REAL_RUNS = join(ROOT, '../shared/data/tau-airline.jsonl')

const directory = mkdtempSync(join(tmpdir(), 'turnlog-examples-'))
afterAll(() => rmSync(directory, { recursive: true }))

const noClaude = missingBinary()

/** What the output of each example has to have. */
const TELLING: Readonly<Record<string, readonly string[]>> = {
  'quick-start': [
    '4 messages after 7 events',
    '{"role":"assistant","content":null,"tool_calls":[{"id":"call_1"',
    '{"role":"tool","tool_call_id":"call_1","name":"find_trains","content":"[\\"22:47\\"]"}',
    '{"role":"assistant","content":"Yes: one at 22:47."}',
    "trip { title: 'To Oslo', tags: [ 'travel' ] }"
  ],
  'ai-sdk': [
    'the other tab has the same: true, to the end: true',
    `now: { type: 'text', text: 'A train to Oslo?' }
now: { type: 'text', text: 'No, none.', state: 'done' }
in a fork: { type: 'text', text: 'A train to Oslo?' }
in a fork: { type: 'text', text: 'One at 22:47.', state: 'done' }
in a fork: { type: 'text', text: 'Two seats, please.' }`
  ],
  'adk': [
    'Book the late one.: 6 events, state: {"booked":"21:10"}',
    `rewound: 2 events, state: {}
  the model is asked, with 3 contents
  the model is asked, with 5 contents
Book the 22:47.: 6 events, state: {"booked":"22:47"}
in the fork: 6 events, state: {"booked":"21:10"}`
  ],
  'openai-agents': [
    'Output guardrail triggered: "an account number"',
    'after a restart: user, function_call, function_call_result',
    'and on: user, function_call, function_call_result, user, assistant',
    'in a fork: user, assistant'
  ],
  'langgraph': [
    'asked: Pay the bill. It is 40 euros.',
    'approved: Pay the bill. It is 40 euros. Paid.',
    'in a fork: Pay the bill. It is 40 euros. Not paid.',
    'deleted: undefined',
    'back, as it waited: Pay the bill. It is 40 euros.'
  ],
  'claude-agent': [
    'And back? At 6:10.',
    'deleted: null',
    'the model hears: A train to Oslo? | At 22:47. | Where?',
    'Where? On track 4.'
  ],
  'read-the-past': [
    '6  09:04  deleted',
    "at version 2 [ 'A train to Oslo?' ]",
    "at version 4 [ 'A train to Bergen?', 'At 22:47.' ]",
    'at version 6 no session',
    "at 09:01:30  [ 'A train to Oslo?' ]",
    'in 2025      no session'
  ],
  'two-writers': [
    '1. 100 messages, 100 different ones, at version 101',
    '2. refused: expected version 101, the log is at 102',
    '3. stored once: version 103, and again version 103',
    '   refused: ',
    '4. begun, refused, refused, refused'
  ],
  'own-message-type': [
    'caller (calm): My train was cancelled.',
    'agent (90 % sure): I am sorry.',
    'Refused, both of them: 1.confidence',
    "[ { note: 'call back at 9' } ]",
    'Refused: '
  ],
  'fork-and-compare': [
    "open calls: [ 'find_trains (call_1)' ]",
    'run-2 was forked from run-1 at version 3',
    '- assistant: There is no train.',
    '+ assistant: There is one at 22:47.',
    'after the purge of run-1: 4 messages'
  ],
  'undo-and-redo': [
    'undo again: the reply    version 8: Write a line about trains.',
    'redo                     version 9: Write a line about trains. | Trains run at night.',
    'undo of the rewind       version 11: Write a line about trains. | Trains run at night.',
    'redo after a write: NOTHING_TO_REDO',
    '  8 rewound to version 2: undo',
    '  9 rewound to version 7: redo',
    '  10 rewound to version 2: rewind (start from the question)',
    'as it was at version 6   version 6: Write a line about trains. | Trains run at night. | Shorter!'
  ],
  'two-agents': [
    `trains: asks for a turn
hotels: asks for a turn
taxis: asks for a turn
trains: has it, after 1 messages
everybody sees that trains holds the session
the user, who does not wait: TURN_BUSY by trains
trains: ends it, after 3 messages
hotels: has it, after 3 messages
hotels: ends it, after 5 messages
taxis: has it, after 5 messages
taxis: Error: no taxi at night
  function_call book_train
  function_call_output book_train
  function_call book_hotel
  function_call_output book_hotel
open calls: 0`
  ],
  'follow': [
    `creates the session
    event 1: created
writes "one"
    event 2: message-appended
writes "two"
    event 3: message-appended
is away
writes "three"
writes "four"
follows from version 4: first what is in the log
    event 4: message-appended
    event 5: message-appended
then live
writes "five"
    event 6: message-appended
deletes the session
    event 7: deleted
stops: the subscription ends, without an error
ended: true`
  ],
  'own-store': ['After run 1: 1 messages', 'After run 2: 2 messages', 'After run 3: 3 messages']
}

describe('the examples', () => {
  const names = readdirSync(join(ROOT, 'examples')).filter((file) => file.endsWith('.ts') && file !== 'demo.ts')

  it('are those that are known here', () => {
    expect(names.sort()).toEqual(
      Object.keys(TELLING)
        .map((name) => `${name}.ts`)
        .sort()
    )
  })

  it.for(Object.entries(TELLING))('%s does what it says', async ([name, lines], { skip }) => {
    if (name === 'claude-agent') skip(noClaude !== undefined, noClaude)
    const { code, stdout, stderr } = await run(`${name}.js`)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    for (const line of lines) expect(stdout).toContain(line)
  })

  it.each(names)('%s has at most 60 lines', (name) => {
    const lines = readFileSync(join(ROOT, 'examples', name), 'utf8')
      .trimEnd()
      .split('\n')
    expect(lines.length).toBeLessThanOrEqual(60)
  })
})

describe('the demo', () => {
  it('gives a small conversation of our own back as it came', async () => {
    const { code, stdout, stderr } = await run('demo.js')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toContain('3 conversations with 28 messages, read and stored in')
    expect(stdout).toMatch(/line-1 +11 +3 +1 {2}Hi! Can I keep/)
    expect(stdout).toContain('✓ the 12 events come to the 11 messages of the session')
    for (const version of [3, 6, 9]) expect(stdout).toContain(`✓ at version ${version}: ${version - 1} messages`)
    expect(stdout).toContain('✓ all 100 are there, each once')
    expect(stdout).toContain('✓ each has a version of its own, 13 to 112')
    expect(stdout).toContain('✓ the 11 messages before them are as they were')
    expect(stdout).toContain('✓ 28 of 28 messages came back as they went in')
    expect(stdout).not.toContain('✗')
    expect(stdout, 'no colours where there is no terminal').not.toContain('\u001B')
  })

  it('has what it stored the time before', async () => {
    const { stdout } = await run('demo.js')
    const runs = Number(/(\d+) sessions/.exec(stdout)?.[1])
    expect(runs).toBeGreaterThan(0)
    const again = await run('demo.js')
    expect(again.stdout).toMatch(/✓ run-\d+ is still there: 3 sessions, 128 messages/)
    expect(again.stdout).not.toContain('✗')
  })

  it('runs over the store that is named', async () => {
    const url = `sqlite:${join(directory, 'named.db')}`
    expect((await run('demo.js', '--store', url)).stdout).toContain(`${url}: new`)
    expect((await run('demo.js', '--store', url)).stdout).toContain('run-1 is still there')
    const { code, stdout } = await run('demo.js', '--store', 'memory:')
    expect(code).toBe(0)
    expect(stdout).toContain('memory:: new')
    expect(stdout).not.toContain('✗')
  })

  const isAbsent = !existsSync(REAL_RUNS) && !process.env['CI']
  it(`gives 100 real runs back as they came${isAbsent ? ` (skipped: there is no ${REAL_RUNS})` : ''}`, async ({
    skip
  }) => {
    skip(isAbsent, `there is no ${REAL_RUNS}`)
    const { code, stdout, stderr } = await run('demo.js', REAL_RUNS)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toContain('100 sessions')
    expect(stdout).toContain('… 88 more')
    expect(stdout).toContain('✓ 2658 of 2658 messages came back as they went in')
    expect(stdout).not.toContain('✗')
  })

  const good = '{"messages":[{"role":"user","content":"Hello"}]}'
  it.each([
    ['is not there', undefined, ': cannot be read (ENOENT'],
    ['is empty', '', ': has no conversations'],
    ['has a line that is no JSON', `${good}\n\n{"messages":`, ':3: is not JSON ('],
    ['has a line without messages', `${good}\n{"task_id":1}\n`, ':2: has no list of messages'],
    ['has a line that is null', 'null', ':1: has no list of messages'],
    ['has a message without a role', `${good}\n{"messages":[{"content":"Hello"}]}`, ':2: '],
    ['has a message that is none', `{"messages":[null]}`, ':1: ']
  ])('says so in one line when the file %s', async (what, content, complaint) => {
    const file = join(directory, `${what.replaceAll(' ', '-')}.jsonl`)
    if (content !== undefined) writeFileSync(file, content)
    const { code, stderr } = await run('demo.js', file)
    expect(stderr.startsWith(`${file}${complaint}`), stderr).toBe(true)
    expect(stderr.trimEnd().split('\n')).toHaveLength(1)
    expect(code).toBe(1)
  })

  // JSON has a -0, and what is stored is 0.
  it('fails when a message does not come back as it came', async () => {
    const file = join(directory, 'minus-zero.jsonl')
    writeFileSync(file, '{"messages":[{"role":"user","content":"Hello","weight":-0}]}')
    const { code, stdout } = await run('demo.js', file)
    expect(stdout).toContain(`✗ ${file}:1: message 0 came back as {"role":"user","content":"Hello","weight":0}`)
    expect(stdout).toContain('✗ 0 of 1 messages came back as they went in')
    expect(code).toBe(1)
  })

  it('shows in the browser what it has stored, until Ctrl-C', async () => {
    const demo = spawn(process.execPath, [join(COMPILED_EXAMPLES, 'demo.js'), '--store', 'memory:', '--inspect'], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'inherit']
    })
    const ended = once(demo, 'close')
    let printed = ''
    for await (const text of demo.stdout.setEncoding('utf8')) {
      printed += text
      if (printed.includes('Ctrl-C ends it.')) break
    }
    expect(printed).not.toContain('✗')
    const link = new URL(/http:\S+/.exec(printed)![0])
    const entry = await fetch(link, { redirect: 'manual' })
    expect(entry.headers.get('location')).toBe('/?user=run-1')
    const cookie = entry.headers.get('set-cookie')!.split(';')[0]!
    const ask = async (path: string): Promise<Response> => fetch(new URL(path, link), { headers: { cookie } })
    expect((await ask('/?user=run-1')).status).toBe(200)
    expect(await (await ask('/api/sessions?user=run-1')).json()).toMatchObject({ sessions: { length: 3 } })
    expect(await (await ask('/api/about')).json()).toMatchObject({ actors: true, allowEdit: true, store: 'memory:' })
    demo.kill('SIGINT')
    expect(await ended).toEqual([0, null])
  })

  it('says so when it is given a directory', async () => {
    expect(await run('demo.js', directory)).toMatchObject({ code: 1, stderr: `${directory}: is a directory\n` })
  })
})

const paths = new WeakMap<EventStore, string>()
let made = 0
function fileStoreAt(path: string): EventStore {
  const store = fileStore(path)
  paths.set(store, path)
  return store
}

testEventStore(
  { describe, it },
  {
    name: 'fileStore of examples/own-store.ts',
    create: () => fileStoreAt(join(directory, `${made++}.jsonl`)),
    reopen: (store) => fileStoreAt(paths.get(store)!)
  }
)

interface Outcome {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

function run(example: string, ...args: string[]): Promise<Outcome> {
  const { NO_COLOR: _, FORCE_COLOR: __, ...env } = process.env
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [join(COMPILED_EXAMPLES, example), ...args],
      // What they leave in the folder for temporary files goes with that of these tests.
      { cwd: ROOT, env: { ...env, TMPDIR: directory } },
      (error, stdout, stderr) => resolve({ code: Number(error?.code ?? 0), stdout, stderr })
    )
  })
}
