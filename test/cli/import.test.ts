import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { asProcess, directory, LINE, output, TALK, turnlog, write, writeTalk } from './kit.ts'

describe('import', () => {
  beforeAll(async () => {
    await output('sqlite:commands.db', 'import', writeTalk(), '--user', 'ada')
  })

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
    const { code, out, err } = await asProcess(store, ['import', 'many.jsonl', '--user', 'ada', '--json'], before)
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
