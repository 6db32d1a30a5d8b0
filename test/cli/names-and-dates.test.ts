import { beforeAll, describe, expect, it } from 'vitest'
import { LINE, output, turnlog, write } from './kit.ts'

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
    const { out } = await turnlog(own, ['sessions', 'ada'], { columns: 60 })
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
