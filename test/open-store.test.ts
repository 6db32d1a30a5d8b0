import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createSessionHistory, openStore } from '../src/index.ts'
import { nameOneStore } from '../src/open-store.ts'
import { postgresStore } from '../src/stores/postgres.ts'
import { misuses } from './service/kit.ts'

const directory = mkdtempSync(join(tmpdir(), 'turnlog-'))
afterEach(() => vi.unstubAllEnvs())

describe('openStore', () => {
  it('gives a store in memory, a new one each time', async () => {
    const [one, other] = [openStore('memory:'), openStore('memory:')]
    expect(one.supports.durable).toBe(false)
    expect(one).not.toBe(other)
  })

  it('gives the SQLite store of a path, whatever is in it', async () => {
    for (const name of ['plain.db', 'with space?x=1#y%20.db', 'a:b.db']) {
      const url = `sqlite:${join(directory, name)}`
      const history = await createSessionHistory({ store: openStore(url) })
      await history.createSession('ada', 'trip')
      await history.stop()
      const again = await createSessionHistory({ store: openStore(url), missing: { get: 'null' } })
      expect((await again.getSession('ada', 'trip'))?.version).toBe(1)
      await again.stop()
    }
    rmSync(directory, { recursive: true })
  })

  it.each([
    '',
    'memory',
    'memory:x',
    'sqlite',
    'sqlite:',
    'sqlite::memory:',
    'redis:x',
    'toString:x',
    'SQLITE:x',
    'postgres',
    'postgres:app',
    'postgres://host:port/app',
    'postgres://host/app?partitions=many',
    'nats:localhost',
    'nats://',
    'nats://host?replicas=no',
    'nats://host?replica=3',
    undefined
  ])('refuses %j', async (url) => {
    await misuses(() => openStore(url as string), 'must be')
  })

  it('shows no credentials where it refuses an address', () => {
    const long = 'secret'.repeat(20)
    for (const url of [
      'postgress://user:secret@host/app',
      'postgres://user:secret@host:port/app',
      `postgres://user:${long}@host:port/app`,
      'nats://user:sec/ret@host',
      'postgres:/user:secret@host/app',
      'postgres:user:secret@host/app',
      'nats://user:%zzsecret@host',
      'nats://user:%ffsecret@host',
      'nats://secret@',
      'redis://host?password=secret'
    ]) {
      const error = thrown(() => openStore(url))
      expect(error, url).toBeInstanceOf(TypeError)
      expect(inspect(error, { depth: Infinity })).not.toMatch(/secret|sec.ret/)
    }
    for (const options of [
      { connectionString: `postgres://user:${long}@host/app`, pool: {} },
      { connectionString: 'postgres://user:secret@host/app', pool: {} }
    ])
      expect(inspect(thrown(() => postgresStore(options as never)))).not.toContain('secret')
  })

  it('tells of a parameter that was meant to be one of ours: the driver would pass over it', () => {
    expect(thrown(() => openStore('postgres://host/app?shema=mine'))).toMatchObject({
      message: 'shema is no parameter of an address: is schema meant?'
    })
    expect(thrown(() => openStore('nats://host?prefx=mine'))).toBeInstanceOf(TypeError)
    openStore('postgres://host/app?sslmode=require&application_name=mine&schema=mine&options=-c')
  })

  it('imports no driver before the store is opened', async () => {
    const loaded: string[] = []
    vi.doMock('pg', () => loaded.push('pg') && {})
    vi.doMock('@nats-io/transport-node', () => loaded.push('nats') && {})
    vi.resetModules()
    const { openStore: open } = await import('../src/index.ts')
    const stores = ['memory:', 'sqlite:never.db', 'postgres://127.0.0.1:1/app', 'nats://127.0.0.1:1'].map((url) =>
      open(url)
    )
    expect(loaded).toEqual([])
    // They are, then.
    for (const store of stores.slice(2)) await store.open().catch(() => undefined)
    expect(loaded.sort()).toEqual(['nats', 'pg'])
    for (const driver of ['pg', '@nats-io/transport-node']) vi.doUnmock(driver)
    vi.resetModules()
  })

  it('knows one store by its addresses', () => {
    for (const [one, other, isOne] of [
      ['postgres://a:b@host/app', 'postgresql://c@host:5432/app?sslmode=require', true],
      ['postgres://host/app', 'postgres://host/app?schema=other', false],
      ['postgres://host/app', 'postgres://host/other', false],
      ['nats://one,two:4222', 'nats://a:b@two,one', true],
      ['nats://one', 'nats://one?prefix=other', false],
      ['sqlite:a.db', 'sqlite:a.db', true],
      ['memory:', 'memory:', false],
      ['postgres://a@host/app', 'postgres://b@host/app?schema=turnlog', true],
      ['postgres://a@host', 'postgres://b@host', false],
      ['postgres://a@host', 'postgres://b@host/a', true]
    ] as const)
      expect(nameOneStore(one, other), `${one} ${other}`).toBe(isOne)
  })
})

describe("the option store: 'env'", () => {
  it('takes the store that TURNLOG_STORE names', async () => {
    vi.stubEnv('TURNLOG_STORE', 'memory:')
    const history = await createSessionHistory({ store: 'env' })
    expect((await history.createSession('ada')).version).toBe(1)
  })

  it.each([undefined, '', 'nonsense'])('is a TypeError where that is %j', async (url) => {
    vi.stubEnv('TURNLOG_STORE', url)
    await misuses(() => createSessionHistory({ store: 'env' }), 'must be')
  })
})

function thrown(call: () => unknown): unknown {
  try {
    call()
  } catch (error) {
    return error
  }
  throw new Error('it does not throw')
}
