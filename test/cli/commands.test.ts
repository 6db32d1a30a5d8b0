import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { text as textOfStream } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import { createSessionHistory, openStore } from '../../src/index.ts'
import { openDatabase } from '../../src/stores/sqlite/database.ts'
import { PROGRAM } from '../compiled.ts'
import { asProcess, directory, LINE, output, start, turnlog, write, writeTalk } from './kit.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

describe('the commands', () => {
  const store = 'sqlite:commands.db'

  beforeAll(async () => {
    await output(store, 'import', writeTalk(), '--user', 'ada')
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
    const result = await asProcess(store, args)
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
    expect(await asProcess(store, ['users'], before)).toEqual({
      code: 1,
      out: '',
      err: 'turnlog needs Node 20.19 or later, and this is Node 18.20.8\n'
    })
    // An old Node would not get that far if it were told to import more than it has.
    expect(readFileSync(PROGRAM, 'utf8')).not.toMatch(/^import /m)
  })

  it('do not say that the SQLite of Node is experimental, but what else Node warns of', async () => {
    const before = `process.once('beforeExit', () => {
      process.emitWarning('SQLite is an experimental feature and might change at any time', 'ExperimentalWarning')
      process.emitWarning('Something else is, too', 'ExperimentalWarning')
    })`
    const { err } = await asProcess(store, ['users'], before)
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
