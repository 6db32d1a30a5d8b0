import { describe, expect, it, vi } from 'vitest'
import { createSessionHistory, memoryStore, type SessionHistoryService } from '../../src/index.ts'
import {
  ADA,
  clockOf,
  eventsOf,
  fails,
  misuses,
  open,
  storesNothing,
  text,
  textsOf,
  typesOf,
  warnings,
  WRITES
} from './kit.ts'

/** The ways in which a session can be absent, and the version that its log has then. */
const ABSENT: { name: string; version: number; make: (history: SessionHistoryService) => Promise<unknown> }[] = [
  { name: 'never created', version: 0, make: async () => undefined },
  {
    name: 'deleted',
    version: 3,
    make: async (history) => {
      await history.createSession('ada', 's1', { metadata: { title: 'old' } })
      await history.appendMessage(ADA, text('old'))
      await history.deleteSession('ada', 's1')
    }
  },
  {
    name: 'purged',
    version: 0,
    make: async (history) => {
      await history.createSession('ada', 's1')
      await history.purgeSession('ada', 's1')
    }
  }
]

describe.each(ABSENT)('where the session was $name', ({ version, make }) => {
  it.each([{ missing: { get: 'create' as const } }, { missing: {} }, {}])(
    'getSession with %j creates it',
    async (options) => {
      const history = await open(options)
      await make(history)
      expect(await history.getSession('ada', 's1')).toMatchObject({ version: version + 1, messages: [], metadata: {} })
      expect((await eventsOf(history)).at(-1)).toMatchObject({ type: 'created', data: { format: 'message' } })
    }
  )

  it("getSession with missing.get: 'null' gives null", async () => {
    const history = await open({ missing: { get: 'null' } })
    await make(history)
    expect(await storesNothing(history, () => history.getSession('ada', 's1'))).toBeNull()
    expect(await storesNothing(history, () => history.getSession('ada', 's1', { last: 1 }))).toBeNull()
  })

  it("getSession with missing.get: 'throw' is SESSION_NOT_FOUND", async () => {
    const history = await open({ missing: { get: 'throw' } })
    await make(history)
    const fields = { userId: 'ada', sessionId: 's1' }
    await storesNothing(history, () => fails(() => history.getSession('ada', 's1'), 'SESSION_NOT_FOUND', fields))
  })

  it('getSession does what it is told itself', async () => {
    for (const get of ['create', 'null', 'throw'] as const) {
      const history = await open({ missing: { get } })
      await make(history)
      const fields = { userId: 'ada', sessionId: 's1' }
      const read = (missing?: 'null' | 'throw' | 'create') => history.getSession('ada', 's1', { missing })
      expect(await storesNothing(history, () => read('null'))).toBeNull()
      await storesNothing(history, () => fails(() => read('throw'), 'SESSION_NOT_FOUND', fields))
      await misuses(() => read('never' as 'null'), 'missing')
      expect(await read('create')).toMatchObject({ version: version + 1, messages: [] })
    }
  })

  it.each(['create', 'null', 'throw'] as const)(
    'getSession with at never creates it (missing.get: %j)',
    async (get) => {
      const history = await open({ missing: { get } })
      await make(history)
      await storesNothing(history, async () => {
        expect(await history.getSession('ada', 's1', { at: 0 })).toBeNull()
        expect(await history.getSession('ada', 's1', { at: new Date(1e12) })).toBeNull()
        expect(await history.getSession('ada', 's1', { at: new Date(0) })).toBeNull()
        if (version > 0) expect(await history.getSession('ada', 's1', { at: version })).toBeNull()
        await fails(() => history.getSession('ada', 's1', { at: version + 1 }), 'VERSION_NOT_FOUND', {
          version: version + 1,
          actual: version
        })
      })
    }
  )

  it.each(WRITES)('$name by default warns once, gives null and stores nothing', async ({ write }) => {
    const logger = warnings()
    const history = await open({ logger })
    await make(history)
    expect(await storesNothing(history, () => write(history))).toBeNull()
    expect(logger.messages).toHaveLength(1)
    expect(logger.messages[0]).toContain('s1')
  })

  it.each(WRITES)(
    "$name with missing.append: 'create' makes the session in the same commit",
    async ({ write, type }) => {
      const logger = warnings()
      const history = await open({ missing: { append: 'create' }, logger })
      await make(history)
      const session = await write(history)
      const events = await eventsOf(history, ADA, { from: version + 1 })
      expect(events.slice(0, 2).map((event) => event.type)).toEqual(['created', type])
      expect(new Set(events.map(({ commitId }) => commitId)).size).toBe(1)
      expect(session).toMatchObject({ version: version + events.length })
      expect(await history.getSession('ada', 's1')).toEqual(session)
      expect(logger.messages).toEqual([])
    }
  )

  it.each(WRITES)("$name with missing.append: 'throw' is SESSION_NOT_FOUND", async ({ write }) => {
    const history = await open({ missing: { append: 'throw' } })
    await make(history)
    const fields = { userId: 'ada', sessionId: 's1' }
    await storesNothing(history, () => fails(() => write(history), 'SESSION_NOT_FOUND', fields))
  })
})

describe('the option missing', () => {
  it('has two halves, each with a default of its own', async () => {
    const logger = warnings()
    const history = await open({ missing: { append: 'throw' }, logger })
    expect(await history.getSession('ada', 's1')).toMatchObject({ version: 1 })
    const other = await open({ missing: { get: 'throw' }, logger })
    expect(await other.appendMessage(ADA, text('x'))).toBeNull()
    expect(logger.messages).toHaveLength(1)
  })

  it.each([
    [{ get: 'make' }, "'make'"],
    [{ append: 'null' }, "'null'"],
    [{ get: 'warn' }, "'warn'"],
    [{ append: '__proto__' }, "'__proto__'"]
  ])('%j is a TypeError', async (missing, shown) => {
    await misuses(() => createSessionHistory({ missing: missing as never }), shown)
  })

  it('is copied: later changes have no effect', async () => {
    const missing: { get: 'null' | 'create' } = { get: 'null' }
    const options = { missing }
    const history = await open(options)
    missing.get = 'create'
    expect(await history.getSession('ada', 's1')).toBeNull()
  })

  it('warns on the console by default', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => undefined)
    try {
      const history = await createSessionHistory({ clock: clockOf(() => 1) })
      expect(await history.appendMessage(ADA, text('x'))).toBeNull()
      expect(warn).toHaveBeenCalledTimes(1)
      expect(warn.mock.calls[0]![0]).toContain('s1')
    } finally {
      warn.mockRestore()
    }
  })
})

describe('a creation that is implied', () => {
  it('by a read does not wipe a first append that races with it', async () => {
    const history = await open({ missing: { append: 'create' } })
    const results = await Promise.all([
      history.getSession('ada', 's1'),
      history.appendMessage(ADA, text('one')),
      history.getSession('ada', 's1'),
      history.appendMessage(ADA, text('two')),
      history.getSession('ada', 's1')
    ])
    expect(results.every((session) => session !== null)).toBe(true)
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(['one', 'two'])
    expect((await typesOf(history)).filter((type) => type === 'created')).toHaveLength(1)
  })

  it('by many reads at once happens once', async () => {
    const history = await open()
    const sessions = await Promise.all(Array.from({ length: 20 }, () => history.getSession('ada', 's1')))
    expect(new Set(sessions.map((session) => session?.version))).toEqual(new Set([1]))
    expect(await typesOf(history)).toEqual(['created'])
  })

  it('by many appends at once happens once', async () => {
    const history = await open({ missing: { append: 'create' } })
    await Promise.all(Array.from({ length: 20 }, (_, i) => history.appendMessage(ADA, text(`${i}`))))
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(Array.from({ length: 20 }, (_, i) => `${i}`))
    expect((await typesOf(history)).filter((type) => type === 'created')).toHaveLength(1)
  })

  it('by two services over one store loses nothing', async () => {
    const store = memoryStore()
    const [one, two] = [
      await open({ store, missing: { append: 'create' } }),
      await open({ store, missing: { append: 'create' } })
    ]
    const results = await Promise.all([
      one.getSession('ada', 's1'),
      two.appendMessage(ADA, text('two')),
      one.appendMessage(ADA, text('one')),
      two.getSession('ada', 's1')
    ])
    expect(results.every((session) => session !== null)).toBe(true)
    expect(new Set(textsOf(await one.getSession('ada', 's1')))).toEqual(new Set(['one', 'two']))
    expect((await typesOf(two)).filter((type) => type === 'created')).toHaveLength(1)
  })

  it('of a deleted session does not wipe an append that races with it', async () => {
    const history = await open({ missing: { append: 'create' } })
    await history.createSession('ada', 's1')
    await history.deleteSession('ada', 's1')
    await Promise.all([
      history.getSession('ada', 's1'),
      history.appendMessage(ADA, text('one')),
      history.getSession('ada', 's1')
    ])
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(['one'])
  })
})
