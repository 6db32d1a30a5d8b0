import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text as textOfStream } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { conversationLine, readConversations } from '../src/cli/conversations.ts'
import { line, visible } from '../src/cli/output.ts'
import { createSessionHistory, fromOpenAIMessage, openStore, type OpenAIMessage, type Session } from '../src/index.ts'
import { compile } from './compiled.ts'
import { openDatabase } from '../src/stores/sqlite/database.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const DATA = join(ROOT, '../shared/data/tau-airline.jsonl')

const directory = mkdtempSync(join(tmpdir(), 'turnlog-cli-'))
const compiled = compile()
afterAll(() => {
  compiled.remove()
  rmSync(directory, { recursive: true })
})

interface Result {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

/** The command as a process of its own, with its files in {@link directory}. */
function start(store: string, args: readonly string[]): ChildProcessWithoutNullStreams {
  const env = { ...process.env, TURNLOG_STORE: store, NO_COLOR: '1', TZ: 'UTC' }
  return spawn(process.execPath, [join(compiled.path, 'cli.js'), ...args], { cwd: directory, env })
}

async function turnlog(store: string, args: readonly string[], input = ''): Promise<Result> {
  const child = start(store, args)
  child.stdin.end(input)
  const [out, err, [code]] = await Promise.all([
    textOfStream(child.stdout),
    textOfStream(child.stderr),
    once(child, 'close') as Promise<[number | null]>
  ])
  return { code, out, err }
}

/** What a command that must do prints. */
async function output(store: string, ...args: string[]): Promise<string> {
  const { code, out, err } = await turnlog(store, args)
  expect({ code, err }).toEqual({ code: 0, err: '' })
  return out
}

function write(name: string, content: string): string {
  writeFileSync(join(directory, name), content)
  return name
}

const TALK: OpenAIMessage[] = [
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

describe('what a new user does with real conversations', () => {
  it.skipIf(!existsSync(DATA) && !process.env['CI'])(
    'imports them, looks at them, forks, rewinds and exports: all comes back equal (skipped without ../shared/data)',
    { timeout: 60_000 },
    async () => {
      const store = 'sqlite:journey.db'
      expect(await output(store, 'import', DATA, '--user', 'ada')).toContain('100 sessions')
      expect(JSON.parse(await output(store, 'users', '--json'))).toEqual(['ada'])
      const listed = JSON.parse(await output(store, 'sessions', 'ada', '--json')) as Session[]
      expect(listed).toHaveLength(100)
      const lines = readFileSync(DATA, 'utf8').trim().split('\n')
      const exported = (await output(store, 'export', 'ada', '--format', 'openai')).trim().split('\n')
      expect(exported.map((each) => JSON.parse(each) as unknown)).toEqual(
        lines.map((each) => JSON.parse(each) as unknown)
      )

      expect(await output(store, 'show', 'ada', 'tau-airline-1', '--last', '2')).toContain('assistant')
      expect(await output(store, 'fork', 'ada', 'tau-airline-1', '--at', '5', '--as', 'again')).toContain(
        'with 3 messages'
      )
      expect(await output(store, 'diff', 'ada', 'tau-airline-1', 'again')).toContain('3 messages in common')
      expect(await output(store, 'rewind', 'ada', 'tau-airline-1', '4', '--reason', 'too far')).toContain(
        'with 2 messages'
      )
      expect(await output(store, 'log', 'ada', 'tau-airline-1')).toContain('rewind to 4: too far')
      expect(await output(store, 'verify')).toContain('all sound')

      await output(store, 'export', 'ada', '--output', 'ada.jsonl')
      await output('sqlite:copy.db', 'import', 'ada.jsonl')
      await output('sqlite:copy.db', 'export', 'ada', '-o', 'again.jsonl')
      expect(readFileSync(join(directory, 'again.jsonl'))).toEqual(readFileSync(join(directory, 'ada.jsonl')))
    }
  )
})

describe('the commands', () => {
  const store = 'sqlite:commands.db'

  beforeAll(async () => {
    const facts = { session_id: 'trip', reward: 1 }
    await output(store, 'import', write('talk.jsonl', JSON.stringify({ ...facts, messages: TALK })), '--user', 'ada')
  })

  it('show a conversation, its calls beside their outputs, and those without', async () => {
    const whole = await output(store, 'show', 'ada', 'trip')
    expect(whole).toMatch(/→ find\(\{"to":"Oslo"\}\)\n\ntool\n {2}← find \["22:47"\]\n\nassistant\n {2}At 22:47\./)
    expect(whole).toContain('trip at version 7, 5 messages')
    expect(whole).toContain('title: "A train to Oslo?"')
    expect(await output(store, 'show', 'ada', 'trip', '--at', '5')).toContain('no output yet')
    expect(JSON.parse(await output(store, 'show', 'ada', 'trip', '--json'))).toMatchObject({ id: 'trip', version: 7 })
  })

  it('list events, users, sessions and counts', async () => {
    expect(await output(store, 'log', 'ada', 'trip', '--from', '3', '--to', '4')).toMatch(
      /3 .*system: Be brief\.\n.*4 .*user: A train/
    )
    const events = (await output(store, 'log', 'ada', 'trip', '--json')).trim().split('\n')
    expect(events.map((each) => (JSON.parse(each) as { version: number }).version)).toEqual([1, 2, 3, 4, 5, 6, 7])
    expect(await output(store, 'sessions', 'ada', '--limit', '1')).toMatch(/trip +7 .*A train to Oslo\?/)
    expect(await output(store, 'sessions', 'nobody')).toBe('no sessions\n')
    expect(JSON.parse(await output(store, 'stats', '--json'))).toMatchObject({ users: 1, sessions: 1, events: 7 })
  })

  it('undo, redo, delete and purge', async () => {
    const own = 'sqlite:changes.db'
    await output(own, 'import', 'talk.jsonl', '--user', 'ada')
    await output(own, 'rewind', 'ada', 'trip', '4')
    expect(await output(own, 'undo', 'ada', 'trip')).toContain('with 5 messages')
    expect(JSON.parse(await output(own, 'redo', 'ada', 'trip', '--json'))).toMatchObject({ version: 10, messages: 2 })
    expect(await output(own, 'delete', 'ada', 'trip')).toContain('deleted')
    expect(await turnlog(own, ['show', 'ada', 'trip'])).toMatchObject({ code: 1 })
    expect(await output(own, 'show', 'ada', 'trip', '--at', '7')).toContain('At 22:47.')
    expect(await turnlog(own, ['purge', 'ada', 'trip'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('--yes')
    })
    expect(await output(own, 'purge', 'ada', 'trip', '--yes')).toBe('erased\n')
    expect(await turnlog(own, ['log', 'ada', 'trip'])).toMatchObject({ code: 1 })
  })

  it('follow a session that another process writes to, until they are interrupted', async () => {
    const child = start(store, ['log', 'ada', 'trip', '--from', '7', '--follow', '--json'])
    const seen = (async () => {
      let out = ''
      for await (const chunk of child.stdout) {
        out += String(chunk)
        if (out.includes('"version":8')) return out
      }
      return out
    })()
    const history = await createSessionHistory({ store: openStore(`sqlite:${join(directory, 'commands.db')}`) })
    await history.updateMetadata({ userId: 'ada', id: 'trip' }, { set: { title: 'Followed' } })
    await history.stop()
    expect(await seen).toContain('"title":"Followed"')
    child.kill('SIGINT')
    expect(await once(child, 'close')).toEqual([0, null])
  })

  it('end quietly where nobody reads on', async () => {
    const child = start(store, ['log', 'ada', 'trip', '--json', '--follow'])
    await once(child.stdout, 'data')
    child.stdout.destroy()
    const history = await createSessionHistory({ store: openStore(`sqlite:${join(directory, 'commands.db')}`) })
    const over = once(child, 'close')
    let isOver = false
    void over.then(() => (isOver = true))
    const errors = textOfStream(child.stderr)
    for (let i = 0; !isOver; i++) await history.updateMetadata({ userId: 'ada', id: 'trip' }, { set: { i } })
    await history.stop()
    expect([await over, await errors]).toEqual([[0, null], ''])
  })

  it('tell what is damaged, and go on with the others', async () => {
    const own = 'sqlite:damaged.db'
    await output(own, 'import', 'talk.jsonl', '--user', 'ada')
    await output(own, 'import', 'talk.jsonl', '--user', 'bob')
    const database = await openDatabase(join(directory, 'damaged.db'), { mustExist: true })
    database.exec("UPDATE turnlog_events SET body = replace(body, 'At 22', 'At 23') WHERE session = 1")
    database.close()
    const { code, out } = await turnlog(own, ['verify', '--json'])
    expect(code).toBe(1)
    expect(JSON.parse(out)).toMatchObject({
      sessions: 2,
      events: 7,
      damaged: [{ userId: 'ada', sessionId: 'trip', code: 'CORRUPT_LOG', version: 7 }]
    })
    expect(await turnlog(own, ['show', 'ada', 'trip'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('CORRUPT_LOG')
    })
    expect(await output(own, 'show', 'bob', 'trip')).toContain('At 22:47.')
  })

  it.each([
    [2, ['nonsense']],
    [2, ['show', 'ada']],
    [2, ['show', 'ada', 'trip', '--at', 'soon']],
    [2, ['rewind', 'ada', 'trip', '-1']],
    [2, ['--store', 'redis:x', 'users']],
    [1, ['--store', 'sqlite:/nowhere/at/all.db', 'users']],
    [1, ['rewind', 'ada', 'trip', '99']],
    [1, ['fork', 'ada', 'trip', '--as', 'trip']],
    [1, ['show', 'ada', 'nobody']],
    [1, ['import', 'missing.jsonl']]
  ])('exit with %i: %j', async (code, args) => {
    const result = await turnlog(store, args)
    expect(result).toMatchObject({ code, out: '' })
    expect(result.err).toMatch(/^turnlog: .+\n$/)
  })

  it('make no file where there is none, but for import', async () => {
    expect(await turnlog('sqlite:mistyped.db', ['users'])).toMatchObject({
      code: 1,
      err: 'turnlog: there is no file mistyped.db\n'
    })
    expect(existsSync(join(directory, 'mistyped.db'))).toBe(false)
  })

  it('explain themselves, with examples', async () => {
    expect(await output(store, '--help')).toContain('Examples:')
    expect(await output(store, 'fork', '--help')).toContain('turnlog fork ada runs-1 --at 5 --as other-try')
    expect(await output(store, '--version')).toBe(
      `${(JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }).version}\n`
    )
  })
})

it('the README names every command, as it is', async () => {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')
  const [, section = ''] = /\n## Command line\n([^]*?)\n## /.exec(readme) ?? []
  const named = Array.from(section.matchAll(/^\| `([^`]+)` \|/gm), ([, usage]) => usage)
  const help = await output('memory:', '--help')
  const commands = Array.from(
    help.matchAll(/^ {2}(\w+)( \[options\])?((?: [<[][^ ]+[>\]])*) {2}/gm),
    ([, name, , args]) => `${name}${args}`
  )
  expect(named).toEqual(commands.filter((usage) => !usage.startsWith('help')))
})

describe('import', () => {
  it('stores nothing of a file with a line that is none, and what is sound where it may', async () => {
    const store = 'sqlite:import.db'
    const file = write(
      'bad.jsonl',
      `${JSON.stringify({ messages: TALK })}\n{"messages": [\n${JSON.stringify(TALK)}\n{"messages":[{"role":7}]}\n`
    )
    const refused = await turnlog(store, ['import', file])
    expect(refused).toMatchObject({ code: 1, err: expect.stringContaining('INVALID_IMPORT: bad.jsonl:2: is not JSON') })
    expect(await output(store, 'users')).toBe('no users\n')
    const taken = await turnlog(store, ['import', file, '--skip-invalid'])
    expect(taken.code).toBe(0)
    expect(taken.err.split('\n').filter(Boolean)).toHaveLength(2)
    expect(await output(store, 'export', 'imported', '--format', 'openai')).toBe(
      `${JSON.stringify({ messages: TALK })}\n${JSON.stringify({ messages: TALK })}\n`
    )
  })

  it('is told of sessions that exist, and leaves them where it may', async () => {
    const store = 'sqlite:twice.db'
    const talk = JSON.stringify(TALK)
    write('twice.json', JSON.stringify({ id: 'one', messages: TALK }, null, 2))
    await output(store, 'import', 'twice.json', '--user', 'ada')
    expect(await turnlog(store, ['import', 'twice.json', '--user', 'ada'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('SESSION_EXISTS')
    })
    expect(await output(store, 'import', 'twice.json', '--user', 'ada', '--skip-existing')).toBe(
      'nothing was imported\n'
    )
    const piped = await turnlog(store, ['import', '-', '--user', 'ada', '--session', 'two', '--json'], talk)
    expect(JSON.parse(piped.out)).toEqual([{ userId: 'ada', id: 'two', version: 7 }])
  })

  it('and export refuse to replace a file, unless they are forced', async () => {
    const store = 'sqlite:commands.db'
    await output(store, 'export', 'ada', '-o', 'once.jsonl')
    expect(await turnlog(store, ['export', 'ada', '-o', 'once.jsonl'])).toMatchObject({ code: 2 })
    await output(store, 'export', 'ada', '-o', 'once.jsonl', '--force')
    writeFileSync(
      join(directory, 'once.jsonl'),
      readFileSync(join(directory, 'once.jsonl'), 'utf8').replace('Oslo', 'Rome')
    )
    expect(await turnlog('sqlite:torn.db', ['import', 'once.jsonl'])).toMatchObject({
      code: 1,
      err: expect.stringMatching(/INVALID_IMPORT: once\.jsonl:\d+: /)
    })
  })
})

describe('conversations', () => {
  it('come back as the lines that they were, whatever was said beside the messages', async () => {
    const lines = [{ title: 'mine', n: 1, messages: TALK }, { facts: { a: 1 }, messages: [] }, { messages: TALK }]
    const text = lines.map((each) => JSON.stringify(each)).join('\n')
    const found = await readConversations([text], 'x.jsonl')
    expect(found.map(({ id }) => id)).toEqual(['x-1', 'x-2', 'x-3'])
    expect(found[0]?.content().messages).toHaveLength(TALK.length)
    expect(found[0]?.content().messages[1]).toEqual(fromOpenAIMessage(TALK[1]!))
    const session = {
      id: 's',
      metadata: { facts: { n: 1 } },
      messages: found[2]!.content().messages
    } as unknown as Session
    expect(JSON.parse(conversationLine(session))).toEqual({ n: 1, messages: TALK })
  })
})

describe('text', () => {
  it('can do nothing to a terminal', () => {
    expect(visible('\u001b[31mred\u0007 \u202eback\u0000\r\nnext\t.')).toBe(
      '\\u{1b}[31mred\\u{7} \\u{202e}back\\u{0}\\u{d}\nnext\t.'
    )
    expect(visible('a\nb', { isLine: true })).toBe('a\\u{a}b')
    expect(visible('\ud800 😀 é')).toBe('\\u{d800} 😀 é')
    expect(line(` one\n two ${'😀'.repeat(80)}`, 12)).toBe('one two 😀…')
  })

  it('of a hostile conversation is shown as it is', async () => {
    const store = 'sqlite:hostile.db'
    const hostile = [{ role: 'user', content: '\u001b]0;owned\u0007\u001b[2J' }]
    await output(
      store,
      'import',
      write('hostile.json', JSON.stringify({ id: 'a\u001b[31mb', messages: hostile })),
      '--user',
      'e\u0007ve'
    )
    for (const args of [
      ['users'],
      ['sessions', 'e\u0007ve'],
      ['show', 'e\u0007ve', 'a\u001b[31mb'],
      ['log', 'e\u0007ve', 'a\u001b[31mb']
    ])
      // oxlint-disable-next-line no-control-regex -- they are what must not be there
      expect(await output(store, ...args)).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f]/)
  })
})
