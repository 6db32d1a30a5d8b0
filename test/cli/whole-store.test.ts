import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { text as textOfStream } from 'node:stream/consumers'
import { beforeAll, describe, expect, it } from 'vitest'
import { createSessionHistory, openStore } from '../../src/index.ts'
import { directory, LINE, output, turnlog, write } from './kit.ts'

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
