import { execFileSync, spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  createReadStream,
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { text as textOfStream } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { conversationLine, readConversations } from '../src/cli/conversations.ts'
import { line, visible, visibleLine } from '../src/cli/output.ts'
import { verify } from '../src/cli/verify.ts'
import {
  createSessionHistory,
  fromOpenAIMessage,
  memoryStore,
  openStore,
  type OpenAIMessage,
  type Session
} from '../src/index.ts'
import type { EventStore, Summary } from '../src/store.ts'
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
function start(store: string, args: readonly string[], before = ''): ChildProcessWithoutNullStreams {
  const env = { ...process.env, TURNLOG_STORE: store, NO_COLOR: '1', TZ: 'UTC' }
  const program = ['--import', `data:text/javascript,${encodeURIComponent(before)}`, join(compiled.path, 'cli.js')]
  return spawn(process.execPath, [...program, ...args], { cwd: directory, env })
}

/** `before`: a module that is run first, in the same process. */
async function turnlog(
  store: string,
  args: readonly string[],
  { input = '', before = '' }: { readonly input?: string; readonly before?: string } = {}
): Promise<Result> {
  const child = start(store, args, before)
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

function write(name: string, content: string | Uint8Array): string {
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
      events: 13,
      damaged: [{ userId: 'ada', sessionId: 'trip', code: 'CORRUPT_LOG', version: 7 }]
    })
    expect(await turnlog(own, ['show', 'ada', 'trip'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('CORRUPT_LOG')
    })
    expect(await output(own, 'show', 'bob', 'trip')).toContain('At 22:47.')
  })

  it('show what was called and what it gave in the log, too', async () => {
    const shown = await output(store, 'log', 'ada', 'trip', '--from', '5', '--to', '6')
    expect(shown).toMatch(/5 .*assistant: → find\(\{"to":"Oslo"\}\)\n.*6 .*tool: ← find \["22:47"\]\n/)
  })

  it('show nothing of what was not said beside the messages', async () => {
    const own = 'sqlite:facts.db'
    await output(own, 'import', write('plain.jsonl', LINE), '--user', 'ada')
    expect(await output(own, 'show', 'ada', 'plain-1')).not.toContain('facts')
    expect(await output(store, 'show', 'ada', 'trip')).toContain('facts: {"session_id":"trip","reward":1}')
  })

  it('tell a time before a session from one that is not there', async () => {
    expect((await turnlog(store, ['show', 'ada', 'trip', '--at', '0'])).err).toBe(
      'turnlog: VERSION_NOT_FOUND: Version 0 is one at which there was no session\n'
    )
    expect((await turnlog(store, ['show', 'ada', 'trip', '--at', '2020-01-01'])).err).toBe(
      'turnlog: VERSION_NOT_FOUND: There was no session at 2020-01-01T00:00:00.000Z\n'
    )
    expect((await turnlog(store, ['show', 'ada', 'nobody', '--at', '0'])).err).toContain('SESSION_NOT_FOUND')
    expect((await turnlog(store, ['diff', 'ada', 'trip@0', 'trip'])).err).toContain('VERSION_NOT_FOUND')
  })

  it('say that there is no difference', async () => {
    expect(await output(store, 'diff', 'ada', 'trip', 'trip')).toBe('  5 messages in common; no difference\n')
  })

  it('purge all of a user, and no one else', async () => {
    const own = 'sqlite:purge-all.db'
    await output(own, 'import', write('two.jsonl', `${LINE}\n${LINE}\n`), '--user', 'ada')
    await output(own, 'import', 'two.jsonl', '--user', 'bob')
    await output(own, 'delete', 'ada', 'two-1')
    expect(await turnlog(own, ['purge', 'ada'])).toMatchObject({ code: 2, err: expect.stringContaining('--yes') })
    expect(await output(own, 'purge', 'ada', '--yes')).toBe('2 sessions erased\n')
    expect(JSON.parse(await output(own, 'stats', '--json'))).toMatchObject({ users: 1, sessions: 2, deleted: 0 })
    expect(JSON.parse(await output(own, 'purge', 'bob', '--yes', '--json'))).toEqual({ purged: 2 })
  })

  it.each([
    [2, ['log', 'ada', 'trip', '--from', '5', '--to', '3']],
    [2, ['nonsense']],
    [2, ['show', 'ada']],
    [2, ['show', 'ada', 'trip', '--at', 'soon']],
    [2, ['rewind', 'ada', 'trip', '-1']],
    [2, ['--store', 'redis:x', 'users']],
    [1, ['--store', 'sqlite:/nowhere/at/all.db', 'users']],
    [1, ['rewind', 'ada', 'trip', '99999999']],
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

  it('change no file that is not a store', async () => {
    const database = await openDatabase(join(directory, 'foreign.db'), { mustExist: false })
    database.exec('CREATE TABLE things (name TEXT)')
    database.close()
    write('empty.db', '')
    write('words.db', 'no database, but long enough to be one '.repeat(50))
    for (const [file, args] of [
      ['foreign.db', ['users']],
      ['foreign.db', ['import', 'talk.jsonl']],
      ['empty.db', ['users']],
      ['empty.db', ['purge', 'ada', 'trip', '--yes']],
      ['words.db', ['verify']],
      ['words.db', ['import', 'talk.jsonl']]
    ] as const) {
      const before = readFileSync(join(directory, file))
      expect(await turnlog(`sqlite:${file}`, args)).toEqual({
        code: 1,
        out: '',
        err: `turnlog: ${file} is no turnlog store\n`
      })
      expect(readFileSync(join(directory, file))).toEqual(before)
      expect(existsSync(join(directory, `${file}-wal`))).toBe(false)
    }
    await output('sqlite:empty.db', 'import', 'talk.jsonl', '--user', 'ada')
    expect(await output('sqlite:empty.db', 'users')).toContain('ada')
  })

  it('say which Node they need', async () => {
    const before = `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '18.20.8' } })`
    expect(await turnlog(store, ['users'], { before })).toEqual({
      code: 1,
      out: '',
      err: 'turnlog needs Node 20.19 or later, and this is Node 18.20.8\n'
    })
    // An old Node would not get that far if it were told to import more than it has.
    expect(readFileSync(join(compiled.path, 'cli.js'), 'utf8')).not.toMatch(/^import /m)
  })

  it('do not say that the SQLite of Node is experimental, but what else Node warns of', async () => {
    const before = `process.once('beforeExit', () => {
      process.emitWarning('SQLite is an experimental feature and might change at any time', 'ExperimentalWarning')
      process.emitWarning('Something else is, too', 'ExperimentalWarning')
    })`
    const { err } = await turnlog(store, ['users'], { before })
    expect(err).toContain('ExperimentalWarning: Something else is, too')
    expect(err).not.toContain('SQLite')
  })

  it('explain themselves, with examples', async () => {
    expect(await output(store, 'show', '--help')).toContain('--store <url>')
    expect(await output(store, 'undo', '--help')).toContain('an imported conversation is one as a whole')
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

/** As on a terminal that is so wide. */
const terminal = (columns: number): string => `Object.assign(process.stdout, { isTTY: true, columns: ${columns} })`

const LINE = JSON.stringify({ messages: TALK })

const LEFT_OUT = 'turnlog: 1 deleted session left out; --deleted takes them, too\n'

describe('the whole store', () => {
  const store = 'sqlite:whole.db'

  beforeAll(async () => {
    await output(store, 'import', write('some.jsonl', `${LINE}\n${LINE}\n`), '--user', 'bob')
    await output(store, 'import', 'some.jsonl', '--user', 'ada')
    await output(store, 'fork', 'ada', 'some-1', '--as', 'again')
    await output(store, 'delete', 'ada', 'some-2')
  })

  it('is exported into one file, which gives the same bytes once it is imported', async () => {
    expect(await turnlog(store, ['export', '-o', 'whole.jsonl'])).toEqual({
      code: 0,
      out: 'whole.jsonl: 4 sessions\n',
      err: LEFT_OUT
    })
    const bytes = readFileSync(join(directory, 'whole.jsonl'), 'utf8')
    expect(await turnlog(store, ['export'])).toEqual({ code: 0, out: bytes, err: LEFT_OUT })
    expect(await output('sqlite:whole-copy.db', 'import', 'whole.jsonl')).toContain('2 sessions of user ada')
    expect(await output('sqlite:whole-copy.db', 'export')).toBe(bytes)
    expect(await output('sqlite:whole-copy.db', 'verify')).toContain('4 sessions with 22 events read; all sound')
    // Of one user: as the library has it.
    const history = await createSessionHistory({ store: openStore(`sqlite:${join(directory, 'whole.db')}`) })
    const { out } = await turnlog(store, ['export', 'ada'])
    expect(out).toBe(await textOfStream(Readable.from(history.exportSession('ada'))))
    await history.stop()
  })

  it('gains what is missing from an export of which it has the rest', async () => {
    await turnlog(store, ['export', '-o', 'rest.jsonl'])
    const own = 'sqlite:whole-rest.db'
    await output(own, 'import', 'some.jsonl', '--user', 'bob')
    const before = await output(own, 'export', 'bob')
    expect(await turnlog(own, ['import', 'rest.jsonl'])).toMatchObject({ code: 1 })
    expect(JSON.parse(await output(own, 'import', 'rest.jsonl', '--skip-existing', '--json'))).toEqual([
      { userId: 'ada', id: 'again', version: 1 },
      { userId: 'ada', id: 'some-1', version: 7 }
    ])
    expect(await output(own, 'export', 'bob')).toBe(before)
    expect(await output(own, 'import', 'rest.jsonl', '--skip-existing')).toBe('nothing was imported\n')
  })

  it('is exported with the deleted sessions where they are asked for, and one that is named in any case', async () => {
    await output(store, 'export', '--deleted', '-o', 'deleted.jsonl')
    const own = 'sqlite:whole-deleted.db'
    expect(await output(own, 'import', 'deleted.jsonl')).toBe(
      '2 sessions of user ada, such as again\n2 sessions of user bob, such as some-1\n1 deleted session of user ada: some-2\n'
    )
    expect(await output(own, 'export', '--deleted')).toBe(readFileSync(join(directory, 'deleted.jsonl'), 'utf8'))
    await output(store, 'export', 'ada', 'some-2', '-o', 'one-deleted.jsonl')
    const imported = await output('sqlite:one-deleted.db', 'import', 'one-deleted.jsonl', '--json')
    expect(JSON.parse(imported)).toEqual([{ userId: 'ada', id: 'some-2', version: 8, deleted: true }])
    expect((await turnlog(store, ['export', 'ada', '--format', 'openai'])).err).toBe(
      'turnlog: 1 deleted session left out\n'
    )
    expect(await turnlog(store, ['export', '--deleted', '--format', 'openai'])).toMatchObject({ code: 2, out: '' })
  })

  it('has nothing of a user whose name was mistyped', async () => {
    for (const command of ['sessions', 'verify', 'export', 'delete', 'purge'])
      for (const json of command === 'export' ? [[]] : [[], ['--json']])
        expect(await turnlog(store, [command, 'nobody', ...json])).toEqual({
          code: 1,
          out: '',
          err: 'turnlog: User "nobody" has no sessions\n'
        })
    const own = 'sqlite:whole-none.db'
    await output(own, 'import', 'some.jsonl', '--user', 'ada')
    await output(own, 'delete', 'ada', '--yes')
    for (const command of ['sessions', 'export'])
      expect(await turnlog(own, [command, 'ada'])).toMatchObject({
        code: 1,
        err: 'turnlog: User "ada" has no sessions, but 2 deleted ones\n'
      })
  })

  it('is not exported for a user or a session that is not there', async () => {
    for (const args of [
      ['nobody'],
      ['ada', 'nobody'],
      ['ada', 'nobody', '--format', 'openai'],
      ['ada', 'some-2', '--format', 'openai']
    ])
      expect(await turnlog(store, ['export', ...args])).toMatchObject({ code: 1, out: '' })
  })

  it('is left alone by a command that is not sure', async () => {
    expect(await turnlog(store, ['delete', 'bob'])).toMatchObject({ code: 2, err: expect.stringContaining('--yes') })
    expect(await turnlog(store, ['delete', 'ada', 'some-2'])).toMatchObject({ code: 1 })
    expect(await turnlog(store, ['export', '-o', 'whole.db', '--force'])).toMatchObject({ code: 2 })
    expect(await output(store, 'verify')).toContain('all sound')
  })
})

describe('a damaged store', () => {
  const store = 'sqlite:rescue.db'

  beforeAll(async () => {
    const lines = ['bad', 'good', 'lost', 'worse'].map((id) => JSON.stringify({ id, messages: TALK }))
    await output(store, 'import', write('rescue.jsonl', lines.join('\n')), '--user', 'ada')
    await output(store, 'import', 'talk.jsonl', '--user', 'bob')
    // Of what was sound when it was forked.
    await output(store, 'fork', 'ada', 'worse', '--at', '4', '--as', 'child')
    await output(store, 'delete', 'ada', 'lost')
    const database = await openDatabase(join(directory, 'rescue.db'), { mustExist: true })
    const of = (id: string): string => `(SELECT key FROM turnlog_sessions WHERE user = 'ada' AND session = '${id}')`
    const damage = (id: string, version: number): unknown =>
      database.exec(`UPDATE turnlog_events SET body = body || ' ' WHERE session = ${of(id)} AND version = ${version}`)
    damage('bad', 6)
    damage('worse', 2)
    database.exec("UPDATE turnlog_sessions SET summary = summary || ' ' WHERE user = 'ada' AND session = 'lost'")
    database.close()
  })

  it('shows the events of a session up to the damage', async () => {
    const { code, out, err } = await turnlog(store, ['log', 'ada', 'bad', '--json'])
    expect(
      out
        .trim()
        .split('\n')
        .map((each) => (JSON.parse(each) as { version: number }).version)
    ).toEqual([1, 2, 3, 4, 5])
    expect({ code, err }).toEqual({
      code: 1,
      err: 'turnlog: CORRUPT_LOG: The log of session "bad" of user "ada" is damaged at version 6\n'
    })
    expect((await turnlog(store, ['log', 'ada', 'bad', '--from', '4', '--follow'])).out).toMatch(
      /4 .*user: A train[^]*5 /
    )
    expect((await turnlog(store, ['log', 'ada', 'bad', '--from', '7'])).out).toMatch(/7 .*At 22:47/)
  })

  it('is exported as far as it is sound', async () => {
    expect(await turnlog(store, ['export', 'ada', '-o', 'rescued.jsonl'])).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringContaining('version 6; --skip-damaged writes what is sound\n')
    })
    expect(existsSync(join(directory, 'rescued.jsonl'))).toBe(false)
    const args = ['export', '--skip-damaged', '--deleted', '-o', 'rescued.jsonl', '--json']
    const { code, out, err } = await turnlog(store, args)
    expect({ code, lines: err.split('\n') }).toEqual({
      code: 1,
      lines: [
        'turnlog: CORRUPT_LOG: The log of session "bad" of user "ada" is damaged at version 6: its events up to version 5 are written',
        'turnlog: CORRUPT_LOG: The log of session "worse" of user "ada" is damaged at version 2: nothing of it is written',
        'turnlog: CORRUPT_LOG: The log of session "worse" of user "ada" is damaged at version 2: its events up to version 1 are written',
        ''
      ]
    })
    expect(JSON.parse(out)).toMatchObject({
      sessions: 5,
      damaged: [
        { userId: 'ada', sessionId: 'bad', code: 'CORRUPT_LOG', written: 5 },
        { sessionId: 'child', written: 0 },
        { sessionId: 'worse', written: 1 }
      ]
    })
    const own = 'sqlite:rescued.db'
    expect(await output(own, 'import', 'rescued.jsonl')).toBe(
      '3 sessions of user ada, such as bad\n1 session of user bob: trip\n1 deleted session of user ada: lost\n'
    )
    expect(await output(own, 'verify')).toContain('5 sessions with 28 events read; all sound')
    expect(await output(own, 'show', 'ada', 'bad')).toContain('at version 5, 3 messages')
    expect(await output(own, 'export', 'ada', 'good')).toBe(await output(store, 'export', 'ada', 'good'))
    expect(await output(own, 'show', 'ada', 'lost', '--at', '7')).toContain('At 22:47.')
  })

  it('is exported as far as it is sound as conversations, too', async () => {
    const { code, out, err } = await turnlog(store, ['export', 'ada', '--format', 'openai', '--skip-damaged'])
    expect(code).toBe(1)
    expect(err.match(/CORRUPT_LOG/g)).toHaveLength(3)
    expect(
      out
        .trim()
        .split('\n')
        .map((each) => JSON.parse(each) as unknown)
    ).toEqual([
      { id: 'bad', messages: TALK.slice(0, 3) },
      { id: 'good', messages: TALK },
      { session_id: 'worse', messages: [] }
    ])
    expect(await turnlog(store, ['export', 'ada', 'good', '--skip-damaged'])).toMatchObject({ code: 0, err: '' })
    expect(await turnlog(store, ['export', 'ada', 'none', '--skip-damaged'])).toMatchObject({ code: 1, out: '' })
  })

  it('is verified with the events that are sound', async () => {
    const { out } = await turnlog(store, ['verify'])
    // 5 of bad, 7 of good and of trip, 8 of lost, 1 of worse.
    expect(out).toContain('6 sessions with 28 events read; 4 damaged\n')
    expect(out).toContain('CORRUPT_LOG: ada bad: The log of')
  })

  it('loses what can be deleted, and at last what cannot', async () => {
    expect(await turnlog(store, ['delete', 'ada', '--yes', '--json'])).toMatchObject({
      code: 1,
      out: '{"deleted":1}\n',
      err: expect.stringMatching(/"bad" .*: it is not deleted, but can be purged\n/)
    })
    expect(await output(store, 'purge', 'ada', 'lost', '--yes')).toBe('erased\n')
    expect(await output(store, 'purge', 'ada', '--yes')).toBe('4 sessions erased\n')
    expect(await output(store, 'verify')).toContain('1 session with 7 events read; all sound')
  })
})

describe('export --output', () => {
  const store = 'sqlite:files.db'

  beforeAll(async () => {
    await output(store, 'import', write('files.jsonl', `${LINE}\n`), '--user', 'ada')
  })

  it('writes to what is no file as it is', async () => {
    expect(await output(store, 'export', 'ada', '-o', '/dev/null')).toBe('/dev/null: 1 session\n')
    expect(statSync('/dev/null').isCharacterDevice()).toBe(true)
    execFileSync('mkfifo', [join(directory, 'pipe')])
    const read = textOfStream(createReadStream(join(directory, 'pipe')))
    await output(store, 'export', 'ada', '-o', 'pipe')
    expect(await read).toBe(await output(store, 'export', 'ada', '-o', '-'))
    expect(statSync(join(directory, 'pipe')).isFIFO()).toBe(true)
  })

  it('keeps links and modes of what it replaces', async () => {
    write('secret.jsonl', 'old')
    chmodSync(join(directory, 'secret.jsonl'), 0o600)
    symlinkSync('secret.jsonl', join(directory, 'link.jsonl'))
    symlinkSync('later.jsonl', join(directory, 'dangling.jsonl'))
    expect(await turnlog(store, ['export', 'ada', '-o', 'link.jsonl'])).toMatchObject({ code: 2 })
    const { out } = await turnlog(store, ['export', 'ada'])
    await output(store, 'export', 'ada', '-o', 'link.jsonl', '--force')
    await output(store, 'export', 'ada', '-o', 'dangling.jsonl')
    for (const name of ['secret.jsonl', 'later.jsonl']) expect(readFileSync(join(directory, name), 'utf8')).toBe(out)
    expect(lstatSync(join(directory, 'link.jsonl')).isSymbolicLink()).toBe(true)
    expect(statSync(join(directory, 'secret.jsonl')).mode & 0o777).toBe(0o600)
    expect(await turnlog(store, ['export', 'ada', '-o', '.', '--force'])).toMatchObject({ code: 2 })
  })

  it('leaves no half of a file when it is interrupted', async () => {
    write('whole.txt', 'old')
    // The signal has come before the file is open.
    const before = `
      import fs from 'node:fs/promises'
      import { syncBuiltinESMExports } from 'node:module'
      const { open } = fs
      fs.open = async (...args) => {
        const file = await open(...args)
        const told = new Promise((resolve) => process.once('SIGINT', resolve))
        // Waiting for a signal alone keeps no process.
        const alive = setInterval(() => undefined, 1000)
        process.kill(process.pid, 'SIGINT')
        await told
        clearInterval(alive)
        return file
      }
      syncBuiltinESMExports()`
    const args = ['export', 'ada', '-o', 'whole.txt', '--force']
    expect(await turnlog(store, args, { before })).toEqual({ code: 130, out: '', err: 'turnlog: interrupted\n' })
    expect(readFileSync(join(directory, 'whole.txt'), 'utf8')).toBe('old')
    expect(readdirSync(directory).filter((name) => name.endsWith('.tmp'))).toEqual([])
  })

  it('and what goes to a pipe end quietly where nobody reads on', async () => {
    const own = 'sqlite:long.db'
    const long = Array.from({ length: 500 }, () => ({ role: 'user', content: 'x'.repeat(2000) }))
    await output(own, 'import', write('long.json', JSON.stringify(long)), '--user', 'ada')
    for (const args of [
      ['export'],
      ['export', 'ada', '--format', 'openai'],
      ['log', 'ada', 'long', '--json'],
      ['show', 'ada', 'long']
    ]) {
      const child = start(own, args)
      const errors = textOfStream(child.stderr)
      const over = once(child, 'close')
      await once(child.stdout, 'data')
      child.stdout.destroy()
      expect([await over, await errors]).toEqual([[0, null], ''])
    }
  })

  it.skipIf(!existsSync('/dev/full'))('says in a line what the disk says (skipped without /dev/full)', async () => {
    expect(await turnlog(store, ['export', 'ada', '-o', '/dev/full'])).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^turnlog: ENOSPC.*\n$/)
    })
    const command = [process.execPath, join(compiled.path, 'cli.js'), 'users'].map((each) => `'${each}'`).join(' ')
    const child = spawn('sh', ['-c', `${command} > /dev/full`], {
      cwd: directory,
      env: { ...process.env, TURNLOG_STORE: store }
    })
    expect(await textOfStream(child.stderr)).toMatch(/^turnlog: ENOSPC.*\n$/)
  })
})

describe('what people ask for', () => {
  const store = 'sqlite:asked.db'
  const odd = '-a b 😀'

  beforeAll(async () => {
    await output(store, 'import', write('odd.jsonl', LINE), '--user', 'ada', `--session=${odd}`)
  })

  it('may have any name', async () => {
    expect(await output(store, 'show', '--last', '1', '--', 'ada', odd)).toContain('At 22:47.')
    await output(store, 'fork', '--as=x@3', '--', 'ada', odd)
    await output(store, 'fork', '--as=x', '--at=4', '--', 'ada', odd)
    expect(await output(store, 'diff', 'ada', 'x@3', 'x')).toContain('- assistant: At 22:47.')
    expect(await output(store, 'sessions', 'ada')).toContain(`${odd}@7`)
    expect(await output('memory:', 'help')).toContain('turnlog show -- -ada runs-1')
  })

  it('may be as it was at a date', async () => {
    const events = (await output(store, 'log', '--json', '--', 'ada', odd)).trim().split('\n')
    const { at } = JSON.parse(events.at(-1)!) as { at: number }
    const shown = new Date(at).toISOString()
    // As `log` shows it, with TZ=UTC.
    expect(await output(store, 'log', '--', 'ada', odd)).toContain(shown.replace('T', ' ').replace('Z', ''))
    for (const date of [shown, shown.replace('T', ' ').replace('Z', ''), shown.replace('Z', '+00:00')])
      expect(await output(store, 'show', '--at', date, '--', 'ada', odd)).toContain('version 7')
    expect(await turnlog(store, ['show', '--at', '2020-01-01', '--', 'ada', odd])).toMatchObject({ code: 1 })
    for (const date of ['v5', '2026-02-30', 'yesterday', '2026-1-1', '1e3'])
      expect(await turnlog(store, ['show', '--at', date, '--', 'ada', odd])).toMatchObject({ code: 2 })
  })

  it('fits on a narrow terminal, wide characters, too', async () => {
    const own = 'sqlite:narrow.db'
    const wide = { session_id: '日本語'.repeat(30), messages: [{ role: 'user', content: '😀'.repeat(60) }] }
    await output(own, 'import', write('wide.jsonl', JSON.stringify(wide)), '--user', 'ada')
    const { out } = await turnlog(own, ['sessions', 'ada'], { before: terminal(60) })
    const [, row = ''] = out.split('\n')
    const columns = Array.from(row).reduce((sum, char) => sum + (/[日本語😀]/u.test(char) ? 2 : 1), 0)
    expect(columns).toBeLessThanOrEqual(60)
    expect(row).toMatch(/^ (日本語)+日?本?… .*😀+…$/)
    expect(await output(own, 'sessions', 'ada')).toContain(wide.session_id)
  })

  it('is guessed where it is not there, in one line', async () => {
    expect(await turnlog(store, ['shwo'])).toEqual({
      code: 2,
      out: '',
      err: "turnlog: unknown command 'shwo' (Did you mean show?)\n"
    })
    expect(await turnlog(store, ['help', 'shwo'])).toMatchObject({ code: 2, out: '' })
    expect(await turnlog('', ['users'])).toMatchObject({ code: 2, err: expect.stringContaining('TURNLOG_STORE') })
  })
})

describe('verify', () => {
  it('reads each event once, and compares what it folds into with what is said of it', async () => {
    const memory = memoryStore()
    const history = await createSessionHistory({ store: memory })
    for (const id of ['one', 'two']) await history.createSession('ada', id, { metadata: { title: id } })
    await history.appendMessage({ userId: 'ada', id: 'one' }, [{ content: 'a' }, { content: 'b' }])
    let reads = 0
    const check = async (
      changes: Partial<EventStore>
    ): Promise<{ readonly isSound: boolean; readonly said: string }> => {
      const store = new Proxy(memory, {
        get: (target, name) => (changes as typeof target)[name as keyof EventStore] ?? Reflect.get(target, name)
      })
      const printed = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
      try {
        const signal = new AbortController().signal
        const isSound = await verify({ store, history, path: undefined, signal }, undefined, {})
        return { isSound, said: printed.mock.calls.map(([text]) => String(text)).join('') }
      } finally {
        printed.mockRestore()
      }
    }
    const read: EventStore['read'] = async function* (...args) {
      for await (const page of memory.read(...args)) {
        reads += page.length
        yield page
      }
    }
    expect(await check({ read })).toEqual({ isSound: true, said: '2 sessions with 4 events read; all sound\n' })
    expect(reads).toBe(4)
    const other = (summary: Summary): Summary => ({ ...summary, metadata: { title: 'another' } })
    const head: EventStore['head'] = async (key) => {
      const found = await memory.head(key)
      return found && key.sessionId === 'two' ? { ...found, summary: other(found.summary) } : found
    }
    expect(await check({ head })).toMatchObject({
      isSound: false,
      said: expect.stringContaining('not what its log comes to')
    })
    const list: EventStore['list'] = async (...args) => (await memory.list(...args)).map(other)
    expect(await check({ list })).toMatchObject({ isSound: false, said: expect.stringContaining('not what it is') })
    expect(await check({ list: async () => [] })).toMatchObject({
      isSound: false,
      said: expect.stringContaining('does not list session')
    })
    expect(await check({ listUsers: async () => [] })).toMatchObject({
      isSound: false,
      said: expect.stringContaining('does not list user "ada"')
    })
    await history.stop()
  })
})

describe('import', () => {
  it('takes nothing that is not UTF-8 for what it is not', async () => {
    const store = 'sqlite:bytes.db'
    const bad = Buffer.from(LINE.replace('Oslo?', 'Osl\u0001?'))
    bad[bad.indexOf(1)] = 0xff
    const file = write('bytes.jsonl', Buffer.concat([Buffer.from(`${LINE}\n`), bad, Buffer.from(`\n${LINE}\n`)]))
    expect(await turnlog(store, ['import', file])).toMatchObject({
      code: 1,
      err: 'turnlog: INVALID_IMPORT: bytes.jsonl:2: is not UTF-8\n'
    })
    expect(await output(store, 'users')).toBe('no users\n')
    const { code, out, err } = await turnlog(store, ['import', file, '--skip-invalid', '--json'])
    expect({ code, err }).toEqual({ code: 1, err: 'turnlog: left out: bytes.jsonl:2: is not UTF-8\n' })
    expect(JSON.parse(out)).toMatchObject([{ id: 'bytes-1' }, { id: 'bytes-3' }])
    // One value over several lines.
    const pretty = Buffer.from(JSON.stringify({ messages: TALK }, null, 1).replace('Oslo?', 'Osl\u0001?'))
    pretty[pretty.indexOf(1)] = 0xff
    const at = pretty.subarray(0, pretty.indexOf(0xff)).toString().split('\n').length
    expect(await turnlog(store, ['import', write('pretty.json', pretty)])).toMatchObject({
      code: 1,
      err: `turnlog: INVALID_IMPORT: pretty.json:${at}: is not UTF-8\n`
    })
  })

  it('refuses a line that could not be stored before it stores one', async () => {
    const store = 'sqlite:refused.db'
    const deep = '['.repeat(1200) + ']'.repeat(1200)
    for (const [i, each] of [
      `{"facts":${deep},"messages":[]}`,
      `{"messages":[{"role":"user","content":${deep}}]}`,
      '{"messages":[{"role":"user","content":"","n":1e999}]}',
      '{"id":"refused-1","messages":[]}'
    ].entries()) {
      const file = write('refused.jsonl', `${LINE}\n${each}\n`)
      expect((await turnlog(store, ['import', file])).err, String(i)).toMatch(
        /^turnlog: INVALID_IMPORT: refused.jsonl:2: .*\n$/
      )
    }
    expect(await output(store, 'users')).toBe('no users\n')
  })

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
    expect(taken.code).toBe(1)
    expect(taken.err.split('\n').filter(Boolean)).toHaveLength(2)
    expect(await output(store, 'export', 'imported', '--format', 'openai')).toBe(
      `${JSON.stringify({ messages: TALK })}\n${JSON.stringify({ messages: TALK })}\n`
    )
  })

  it('tells of lines with one and the same fault once', async () => {
    const lines = [LINE, 'x', 'y', '[7]', '{}', '{}', '{}', LINE]
    const { code, out, err } = await turnlog('sqlite:repeats.db', [
      'import',
      write('r.jsonl', lines.join('\n')),
      '--skip-invalid'
    ])
    expect({ code, out }).toEqual({ code: 1, out: '2 sessions of user imported, such as r-1\n' })
    expect(err.split('\n')).toEqual([
      'turnlog: left out: r.jsonl:2 to 3: is not JSON: a list or an object',
      expect.stringMatching(/^turnlog: left out: r\.jsonl:4: messages\[0\]/),
      'turnlog: left out: r.jsonl:5 to 7: has no list of messages',
      ''
    ])
  })

  it('tells what is stored where a later file is refused', async () => {
    const store = 'sqlite:several.db'
    write('first.json', LINE)
    write('second.jsonl', `${LINE}\n{`)
    expect(await turnlog(store, ['import', 'first.json', 'second.jsonl'])).toEqual({
      code: 1,
      out: '1 session of user imported: first\n',
      err:
        'turnlog: 1 session of the files before is stored; --skip-existing leaves it\n' +
        'turnlog: INVALID_IMPORT: second.jsonl:2: is not JSON: a list or an object\n'
    })
    write('second.jsonl', LINE)
    expect(await output(store, 'import', 'first.json', 'second.jsonl', '--skip-existing')).toBe(
      '1 session of user imported: second-1\n'
    )
  })

  it('leaves whole conversations when it is interrupted, and goes on where it was', { timeout: 60_000 }, async () => {
    const store = 'sqlite:interrupted.db'
    write('many.jsonl', `${LINE}\n`.repeat(64 * 40))
    // Ctrl-C after some batches were stored; it is noticed before the next but one, at the latest.
    const before = `
      const { throwIfAborted } = AbortSignal.prototype
      let calls = 0
      AbortSignal.prototype.throwIfAborted = function () {
        if (++calls === 3) process.kill(process.pid, 'SIGINT')
        throwIfAborted.call(this)
      }`
    const { code, out, err } = await turnlog(store, ['import', 'many.jsonl', '--user', 'ada', '--json'], { before })
    expect(code).toBe(130)
    const stored = (JSON.parse(out) as unknown[]).length
    expect(stored % 64).toBe(0)
    expect(stored).toBeGreaterThan(0)
    expect(stored).toBeLessThan(64 * 40)
    expect(err).toBe(
      `turnlog: ${stored} sessions of many.jsonl are stored; --skip-existing leaves those\nturnlog: interrupted\n`
    )
    expect(await output(store, 'verify')).toBe(`${stored} sessions with ${stored * 7} events read; all sound\n`)
    const rest = await output(store, 'import', 'many.jsonl', '--user', 'ada', '--skip-existing', '--json')
    expect(JSON.parse(rest)).toHaveLength(64 * 40 - stored)
  })

  it('says what another system has made of an export', async () => {
    const store = 'sqlite:commands.db'
    const exported = await output(store, 'export')
    write('crlf.jsonl', exported.replaceAll('\n', '\r\n'))
    write('mark.jsonl', `\ufeff${exported}`)
    expect(await turnlog('sqlite:changed.db', ['import', 'crlf.jsonl'])).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^turnlog: INVALID_IMPORT: crlf\.jsonl:1: it ends with CR LF/)
    })
    expect(await turnlog('sqlite:changed.db', ['import', 'mark.jsonl'])).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^turnlog: INVALID_IMPORT: mark\.jsonl:1: it begins with a byte order mark/)
    })
    await output('sqlite:changed.db', 'import', write('marked.jsonl', `\ufeff${LINE}\r\n`))
  })

  it('warns where nothing of it will be left', async () => {
    expect(await turnlog('memory:', ['import', 'talk.jsonl'])).toMatchObject({
      code: 0,
      err: expect.stringContaining('in memory')
    })
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
    const piped = await turnlog(store, ['import', '-', '--user', 'ada', '--session', 'two', '--json'], { input: talk })
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

describe('conversations of a file', () => {
  const named = async (file: string, ...pieces: (string | Uint8Array)[]): Promise<string[]> =>
    (await readConversations(pieces, file)).map((each) => `${each.id}:${each.line}`)

  it('are called as they say; else after the file and the line, or the file where it is one conversation', async () => {
    expect(await named('x.jsonl', LINE)).toEqual(['x-1:1'])
    expect(await named('x.jsonl', `\n${LINE}\n\n${LINE}`)).toEqual(['x-2:2', 'x-4:4'])
    expect(await named('x.json', LINE)).toEqual(['x:1'])
    expect(await named('x.JSON', LINE, '\n', LINE)).toEqual(['x-1:1', 'x-2:2'])
    expect(await named('x.jsonl', JSON.stringify(TALK, null, 2))).toEqual(['x:1'])
    expect(await named('x.jsonl', '{"id":"a","messages":[]}\n{"session_id":" ","messages":[]}')).toEqual([
      'a:1',
      'x-2:2'
    ])
  })

  it('are read by lines, in whatever pieces, with marks and line ends of other systems', async () => {
    const bytes = Buffer.from(`\ufeff${LINE}\r\n${LINE.replace('Oslo', '京都')}\r\n`)
    const found = await readConversations(
      Array.from(bytes, (byte) => Uint8Array.of(byte)),
      'x.jsonl'
    )
    expect(found.map(({ content }) => JSON.stringify(content().messages[1]?.content))).toEqual([
      expect.stringContaining('A train to Oslo?'),
      expect.stringContaining('A train to 京都?')
    ])
  })
})

describe('text', () => {
  it('can do nothing to a terminal', () => {
    expect(visible('\u001b[31mred\u0007 \u202eback\u0000\r\nnext\t.')).toBe(
      '\\u{1b}[31mred\\u{7} \\u{202e}back\\u{0}\\u{d}\nnext\t.'
    )
    expect(visibleLine('a\nb')).toBe('a\\u{a}b')
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

  it('is other JSON for a terminal, and as it is for programs', async () => {
    const store = 'sqlite:escapes.db'
    const id = 'a\u009b31m'
    const said = 'del \u007f, C1 \u009b2J, \u202eback'
    await output(
      store,
      'import',
      write('c1.jsonl', JSON.stringify({ id, messages: [{ role: 'user', content: said }] })),
      '--user',
      'ada'
    )
    for (const args of [
      ['show', 'ada', id, '--json'],
      ['sessions', 'ada', '--json'],
      ['log', 'ada', id, '--json'],
      ['export', 'ada'],
      ['export', 'ada', '--format', 'openai']
    ]) {
      const piped = await output(store, ...args)
      expect(piped).toContain('\u009b')
      const { out } = await turnlog(store, args, { before: terminal(80) })
      expect(out).not.toMatch(/[\u007f-\u009f\u202e]/)
      const values = (text: string): unknown[] =>
        text
          .trim()
          .split('\n')
          .map((each) => JSON.parse(each) as unknown)
      expect(values(out)).toEqual(values(piped))
    }
    for (const args of [
      ['show', 'ada', id],
      ['log', 'ada', id],
      ['sessions', 'ada'],
      ['diff', 'ada', `${id}@2`, id]
    ])
      expect((await turnlog(store, args, { before: terminal(80) })).out).not.toMatch(/[\u007f-\u009f\u202e]/)
    const { err } = await turnlog(store, ['show', 'ada', 'no\u009b2J'])
    expect(err).toBe('turnlog: SESSION_NOT_FOUND: User "ada" has no session "no\\u{9b}2J"\n')
    expect((await turnlog(store, ['\u009b2J'])).err).toBe("turnlog: unknown command '\\u{9b}2J'\n")
  })
})
