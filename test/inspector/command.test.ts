import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { beforeAll, describe, expect, it } from 'vitest'
import { output, start, turnlog, writeTalk } from '../cli/kit.ts'

const STORE = 'sqlite:inspect.db'

beforeAll(async () => void (await output(STORE, 'import', writeTalk(), '--user', 'ada')))

/** The link that it prints. */
async function linkOf(child: ReturnType<typeof start>): Promise<URL> {
  for await (const line of createInterface({ input: child.stdout })) {
    const link = /^ {2}(http:\S+)$/.exec(line)?.[1]
    if (link !== undefined) return new URL(link)
  }
  throw new Error(await text(child.stderr))
}

describe('turnlog inspect', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)(
    'shows the store until %s, which ends it with what is open',
    async (signal) => {
      // As the argument, not of the environment.
      const child = start('sqlite:none.db', ['inspect', STORE, ...(signal === 'SIGINT' ? ['--allow-edit'] : [])])
      const errors = text(child.stderr)
      const link = await linkOf(child)
      const entered = await fetch(link, { redirect: 'manual' })
      const cookie = entered.headers.get('set-cookie')!.split(';')[0]!
      const ask = (path: string): Promise<Response> => fetch(link.origin + path, { headers: { cookie } })
      expect(await (await ask('/api/about')).json()).toMatchObject({
        store: STORE,
        allowEdit: signal === 'SIGINT',
        actors: true
      })
      expect(await (await ask('/api/users')).json()).toEqual({ users: ['ada'] })
      expect(await (await ask('/')).text()).toContain('<html')
      const open = await Promise.all([ask('/api/follow?user=ada&session=trip'), ask('/api/actors')])
      const ends = open.map(({ body }) => text(body!).catch(() => 'cut off'))
      child.kill(signal)
      expect(await once(child, 'close')).toEqual([0, null])
      await Promise.all(ends)
      expect(await errors).toBe('')
    }
  )

  it('takes a port, a host and a token, of the environment, too', async () => {
    const token = 'sixteen letters!'
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    expect(await turnlog(STORE, ['inspect', '--port', String(port)])).toEqual({
      code: 1,
      out: '',
      err: `turnlog: port ${port} is in use: --port takes another, and without it any that is free\n`
    })
    taken.close()
    for (const [args, message] of [
      [['--host', '0.0.0.0'], /token must be given/],
      [['--token', 'short'], /at least 16 characters/],
      [['--port', '70000'], /port must be a whole number from 0 to 65535/],
      [['--port', 'x'], /"x" is not a whole number/],
      [['--allow-host', 'box:80'], /names without ports/],
      [['--allow'], /unknown option '--allow'/]
    ] as const) {
      const { code, out, err } = await turnlog(STORE, ['inspect', ...args])
      expect({ code, out, lines: err.split('\n').length }).toEqual({ code: 2, out: '', lines: 2 })
      expect(err).toMatch(message)
    }
    const given = `process.env.TURNLOG_TOKEN = ${JSON.stringify(token)}`
    const child = start(STORE, ['inspect', '--host', '0.0.0.0', '--allow-host', 'box.example'], given)
    const link = await linkOf(child)
    expect(link.searchParams.get('token')).toBe(token)
    child.kill()
    await once(child, 'close')
  })

  it('needs a store that is there', async () => {
    expect(await turnlog('', ['inspect'])).toMatchObject({
      code: 2,
      out: '',
      err: expect.stringMatching(/^turnlog: where are the sessions\?.*\n$/)
    })
    expect(await turnlog('', ['inspect', 'sqlite:none.db'])).toEqual({
      code: 1,
      out: '',
      err: 'turnlog: there is no file none.db\n'
    })
    expect(await turnlog('', ['inspect', 'nothing'])).toMatchObject({ code: 2, out: '' })
  })

  it('says how it is used', async () => {
    const { code, out } = await turnlog('', ['inspect', '--help'])
    expect(code).toBe(0)
    for (const option of [
      '--port',
      '--host',
      '--token',
      '--allow-host',
      '--allow-edit',
      'TURNLOG_TOKEN',
      'turnlog inspect sqlite:sessions.db'
    ])
      expect(out).toContain(option)
  })
})
