import { describe, expect, it } from 'vitest'
import { line, visible, visibleLine } from '../../src/cli/output.ts'
import { output, turnlog, write } from './kit.ts'

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
      const { out } = await turnlog(store, args, { columns: 80 })
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
      expect((await turnlog(store, args, { columns: 80 })).out).not.toMatch(/[\u007f-\u009f\u202e]/)
    const { err } = await turnlog(store, ['show', 'ada', 'no\u009b2J'])
    expect(err).toBe('turnlog: SESSION_NOT_FOUND: User "ada" has no session "no\\u{9b}2J"\n')
    expect((await turnlog(store, ['\u009b2J'])).err).toBe("turnlog: unknown command '\\u{9b}2J'\n")
  })
})
