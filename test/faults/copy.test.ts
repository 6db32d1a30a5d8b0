import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { CopyCounts } from '../../src/cli/store-copy.ts'
import { openStore } from '../../src/index.ts'
import { COMPILED_EXAMPLES, PROGRAM } from '../compiled.ts'
import { filled, run, seenAt, signalled, type Result } from '../copy-kit.ts'
import { natsMissing, natsServer, type NatsServer } from '../servers/nats.ts'
import { postgresMissing, postgresServer, type PostgresServer } from '../servers/postgres.ts'

const missing = postgresMissing ?? natsMissing

const directory = mkdtempSync(join(tmpdir(), 'turnlog-copies-'))
afterAll(() => rmSync(directory, { recursive: true }))

const turnlog = (args: readonly string[], before?: string): Promise<Result> => run(PROGRAM, args, directory, before)
const at = (name: string): string => `sqlite:${join(directory, name)}`

it(
  'turnlog copy goes on where it was killed, as often as that is, and gives all in the end',
  { timeout: 60_000 },
  async () => {
    await filled(at('source.db'))
    const args = ['copy', 'sqlite:source.db', 'sqlite:killed.db', '--json']
    let kills = 0
    let before = 0
    for (const count of [34, 40, 50, 68]) {
      const { signal, out } = await turnlog(args, signalled('SIGKILL', count))
      expect({ signal, out }).toEqual({ signal: 'SIGKILL', out: '' })
      kills++
      const store = openStore(at('killed.db'))
      await store.open()
      const now = (await store.heads()).length
      await store.close()
      expect(now).toBeGreaterThanOrEqual(before)
      before = now
    }
    expect(kills).toBe(4)
    expect(before).toBeGreaterThan(0)
    const { code, out, err } = await turnlog(args)
    expect({ code, err }).toEqual({ code: 0, err: '' })
    const counts = JSON.parse(out) as CopyCounts
    expect(counts.same + counts.continued).toBeGreaterThan(0)
    expect(counts.refused).toEqual([])
    expect(await seenAt(at('killed.db'))).toEqual(await seenAt(at('source.db')))
    expect((await turnlog(['verify', '--store', 'sqlite:killed.db'])).out).toContain('all sound')
  }
)

describe.skipIf(missing !== undefined)(
  `the command line over servers${missing ? ` (skipped: ${missing})` : ''}`,
  () => {
    let postgres: PostgresServer
    let nats: NatsServer
    beforeAll(async () => {
      ;[postgres, nats] = await Promise.all([postgresServer(), natsServer()])
    }, 60_000)
    afterAll(async () => {
      await Promise.all([postgres?.stop(), nats?.[Symbol.asyncDispose]()])
    })

    it('copies to each, killed in between, and back: all is as it was', { timeout: 120_000 }, async () => {
      const source = at('servers.db')
      await filled(source)
      const all = await seenAt(source)
      const way = [
        source,
        `${postgres.url}?schema=copied&partitions=4`,
        `${nats.url}?prefix=copied&streams=3`,
        at('back.db')
      ]
      for (const [i, to] of way.slice(1).entries()) {
        const args = ['copy', way[i]!, to, '--json']
        expect(await turnlog(args, signalled('SIGKILL', 45))).toMatchObject({ signal: 'SIGKILL', out: '' })
        const { code, out, err } = await turnlog(args)
        expect({ code, err }).toEqual({ code: 0, err: '' })
        const counts = JSON.parse(out) as CopyCounts
        expect(counts.refused).toEqual([])
        expect(counts.same + counts.continued).toBeGreaterThan(0)
        expect(counts.verified.sessions).toBe(counts.same + counts.continued + counts.copied)
        expect(await seenAt(to)).toEqual(all)
        expect(await turnlog(['verify', '--store', to])).toMatchObject({
          code: 0,
          out: expect.stringContaining('all sound')
        })
      }
    })

    it('does the rest over them, too, and refuses one store twice', { timeout: 60_000 }, async () => {
      for (const url of [`${postgres.url}?schema=cli`, `${nats.url}?prefix=cli`]) {
        await filled(url)
        expect(await turnlog(['users', '--json', '--store', url])).toMatchObject({ code: 0, err: '' })
        expect((await turnlog(['show', 'bob', 'trip-3', '--store', url])).out).toContain('Trip 3')
        expect((await turnlog(['undo', 'bob', 'trip-3', '--store', url])).code).toBe(0)
        expect((await turnlog(['export', 'bob', '-o', 'bob.jsonl', '--force', '--store', url])).out).toContain(
          'sessions'
        )
        expect(await turnlog(['copy', url, url])).toEqual({
          code: 2,
          signal: null,
          out: '',
          err: 'turnlog: FROM and TO are the same store\n'
        })
      }
    })

    it('never says a password', { timeout: 60_000 }, async () => {
      const password = 'pass-word'
      const url = `postgres://somebody:${password}@127.0.0.1:${postgres.port}/postgres`
      for (const args of [
        ['users', '--store', url],
        ['users', '--store', url.replace('postgres', 'postgress')],
        ['users', `--stor=${url}`],
        ['--help', '--store', url],
        ['copy', url, url.replace('postgres:', 'postgresql:')],
        ['copy', url, 'memory:'],
        ['users', '--store', nats.url.replace('//', `//somebody:${password}@`).replace(/:\d+$/, ':1')],
        ['users', '--store', `nats://somebody:${password}@`]
      ]) {
        const { out, err, code } = await turnlog(args)
        expect(out + err).not.toContain(password)
        if (args[0] !== '--help') expect(code, err).toBeGreaterThan(0)
      }
    })

    it('and the demo runs over both with one flag', { timeout: 60_000 }, async () => {
      for (const url of [`${postgres.url}?schema=demo`, `${nats.url}?prefix=demo`]) {
        const { code, out, err } = await run(join(COMPILED_EXAMPLES, 'demo.js'), ['--store', url], directory)
        expect({ code, err }).toEqual({ code: 0, err: '' })
        expect(out).toContain('✓ all 100 are there, each once')
        expect(out).toContain('✓ 28 of 28 messages came back as they went in')
        expect(out).not.toContain('✗')
        expect(out).not.toContain('secret')
      }
    })
  }
)
