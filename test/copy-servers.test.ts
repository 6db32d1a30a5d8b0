import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { CopyCounts } from '../src/cli/store-copy.ts'
import { openStore } from '../src/index.ts'
import { compile, compileExamples } from './compiled.ts'
import { fill, seen } from './copy-kit.ts'
import { natsMissing, natsServer, type NatsServer } from './servers/nats.ts'
import { postgresMissing, postgresServer, type PostgresServer } from './servers/postgres.ts'

const missing = postgresMissing ?? natsMissing

describe.skipIf(missing !== undefined)(
  `the command line over servers${missing ? ` (skipped: ${missing})` : ''}`,
  () => {
    let directory: string
    let compiled: ReturnType<typeof compile>
    let postgres: PostgresServer
    let nats: NatsServer
    beforeAll(async () => {
      directory = mkdtempSync(join(tmpdir(), 'turnlog-servers-'))
      compiled = compile()
      ;[postgres, nats] = await Promise.all([postgresServer(), natsServer()])
    }, 60_000)
    afterAll(async () => {
      await Promise.all([postgres?.stop(), nats?.stop()])
      compiled.remove()
      rmSync(directory, { recursive: true })
    })

    interface Result {
      readonly code: number | null
      readonly signal: NodeJS.Signals | null
      readonly out: string
      readonly err: string
    }

    async function run(args: readonly string[], cwd: string): Promise<Result> {
      const env = { ...process.env, NO_COLOR: '1', TMPDIR: directory }
      const child = spawn(process.execPath, args, { cwd, env })
      const [out, err, [code, signal]] = await Promise.all([
        text(child.stdout),
        text(child.stderr),
        once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>
      ])
      return { code, signal, out, err }
    }

    /** `killedAt`: it kills itself when it begins the so many-th log. */
    function turnlog(args: readonly string[], { killedAt }: { readonly killedAt?: number } = {}): Promise<Result> {
      const before = `
      const { throwIfAborted } = AbortSignal.prototype
      let calls = 0
      AbortSignal.prototype.throwIfAborted = function () {
        // One log more is begun: 32 are under way at once, so the others are there by then.
        if (new Error().stack.split('\\n')[2].includes('at worker ') && ++calls === ${killedAt}) process.kill(process.pid, 'SIGKILL')
        throwIfAborted.call(this)
      }`
      return run(
        [
          '--import',
          `data:text/javascript,${encodeURIComponent(killedAt === undefined ? '' : before)}`,
          join(compiled.path, 'cli.js'),
          ...args
        ],
        directory
      )
    }

    async function seenAt(url: string): Promise<unknown> {
      const store = openStore(url)
      await store.open()
      try {
        return await seen(store)
      } finally {
        await store.close()
      }
    }

    it('copies to each, killed in between, and back: all is as it was', { timeout: 120_000 }, async () => {
      const source = `sqlite:${join(directory, 'source.db')}`
      const store = openStore(source)
      await store.open()
      await fill(store)
      await store.close()
      const all = await seenAt(source)
      const way = [
        source,
        `${postgres.url}?schema=copied&partitions=4`,
        `${nats.url}?prefix=copied&streams=3`,
        `sqlite:${join(directory, 'back.db')}`
      ]
      for (const [i, to] of way.slice(1).entries()) {
        const args = ['copy', way[i]!, to, '--json']
        expect(await turnlog(args, { killedAt: 45 })).toMatchObject({ signal: 'SIGKILL', out: '' })
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
        const store = openStore(url)
        await store.open()
        await fill(store)
        await store.close()
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
      const examples = compileExamples(compiled.path)
      for (const url of [`${postgres.url}?schema=demo`, `${nats.url}?prefix=demo`]) {
        const { code, out, err } = await run([join(examples, 'demo.js'), '--store', url], directory)
        expect({ code, err }).toEqual({ code: 0, err: '' })
        expect(out).toContain('✓ all 100 are there, each once')
        expect(out).toContain('✓ 28 of 28 messages came back as they went in')
        expect(out).not.toContain('✗')
        expect(out).not.toContain('secret')
      }
    })
  }
)
