import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createSessionHistory, openStore } from '../src/index.ts'
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
    undefined
  ])('refuses %j', async (url) => {
    await misuses(() => openStore(url as string), 'must be')
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
