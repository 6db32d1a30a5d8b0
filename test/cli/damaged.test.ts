import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { openDatabase } from '../../src/stores/sqlite/database.ts'
import { directory, output, TALK, turnlog, write, writeTalk } from './kit.ts'

describe('a damaged store', () => {
  const store = 'sqlite:rescue.db'

  beforeAll(async () => {
    const lines = ['bad', 'good', 'lost', 'worse'].map((id) => JSON.stringify({ id, messages: TALK }))
    await output(store, 'import', write('rescue.jsonl', lines.join('\n')), '--user', 'ada')
    await output(store, 'import', writeTalk(), '--user', 'bob')
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
