import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { SimulatedClock } from 'xstate'
import {
  createSessionHistory,
  memoryStore,
  messageSchema,
  type Clock,
  type EventStore,
  type Session,
  type SessionHistoryOptions,
  type SessionHistoryService,
  type Turn
} from '../../src/index.ts'
import { ADA, deferred, eventsOf, fails, hooked, misuses, text, textsOf, typesOf, warnings, type Hooks } from './kit.ts'

const TTL = 100_000

/** A service with one session, {@link ADA}, of one message; time goes on only when a test says so. */
async function begin(
  options: SessionHistoryOptions = {}
): Promise<{ history: SessionHistoryService; clock: SimulatedClock; store: EventStore; log: string[] }> {
  const clock = new SimulatedClock()
  const logger = warnings()
  const store = memoryStore()
  const history = await createSessionHistory({
    store,
    clock: forTurnlog(clock),
    logger,
    retention: { ttlMs: TTL },
    missing: { get: 'null' },
    ...options
  })
  await history.createSession('ada', 's1')
  await history.appendMessage(ADA, text('one'))
  return { history, clock, store, log: logger.messages }
}

function forTurnlog(clock: SimulatedClock): Clock {
  return {
    now: () => clock.now(),
    setTimeout: (callback, ms) => clock.setTimeout(callback, ms),
    clearTimeout: (timer) => clock.clearTimeout(timer as number)
  }
}

/** Time goes on, but no timer fires: as for a process that was asleep, or has just been started. */
function sleeping(): { clock: Clock; now: number } {
  const world = { now: 0, clock: { now: () => world.now, setTimeout: () => undefined, clearTimeout: () => undefined } }
  return world
}

/** Lets happen what can happen without time going on. */
async function quiet(): Promise<void> {
  for (let i = 0; i < 300; i++) await Promise.resolve()
}

describe('ttlMs', () => {
  it('is for ever by default', async () => {
    const { history, clock } = await begin({ retention: {} })
    clock.increment(1e12)
    await quiet()
    expect((await history.getSession('ada', 's1'))?.version).toBe(2)
  })

  it('deletes with the reason expired what nobody has used, without being asked', async () => {
    const { history, clock } = await begin()
    clock.increment(TTL - 1)
    await quiet()
    expect(await typesOf(history)).toEqual(['created', 'message-appended'])
    clock.increment(TTL / 10)
    await quiet()
    const last = (await eventsOf(history)).at(-1)
    expect(last).toMatchObject({ type: 'deleted', data: { reason: 'expired' } })
    expect(await history.getSession('ada', 's1')).toBeNull()
    expect(await history.listSessions('ada')).toEqual([])
    // It is the past of a session like any other.
    expect(textsOf(await history.getSession('ada', 's1', { at: 2 }))).toEqual(['one'])
    expect(textsOf(await history.rewind(ADA, 2))).toEqual(['one'])
  })

  it('is renewed by writes', async () => {
    const { history, clock } = await begin()
    for (let i = 0; i < 5; i++) {
      clock.increment(TTL - 1)
      await quiet()
      await history.updateMetadata(ADA, { set: { i } })
    }
    expect((await history.getSession('ada', 's1'))?.version).toBe(7)
  })

  it('is renewed by reads, which write nothing to the log and seldom to the store', async () => {
    const hooks: Hooks = {}
    const inner = memoryStore()
    let touches = 0
    hooks.touch = (logId, at) => {
      touches++
      return inner.touch(logId, at)
    }
    const { history, clock } = await begin({ store: hooked(hooks, inner) })
    for (let i = 0; i < 100; i++) {
      clock.increment(TTL / 20)
      await quiet()
      expect((await history.getSession('ada', 's1'))?.version).toBe(2)
    }
    expect(touches).toBeGreaterThan(10)
    expect(touches).toBeLessThanOrEqual(50)
    expect(await typesOf(history)).toEqual(['created', 'message-appended'])
  })

  it('is renewed by reads of the end of a long log, and ends for them, too', async () => {
    const { history, clock, store } = await begin()
    await history.appendMessage(
      ADA,
      Array.from({ length: 600 }, (_, i) => text(`${i}`))
    )
    await history.stop()
    const again = await createSessionHistory({
      store,
      clock: forTurnlog(clock),
      retention: { ttlMs: TTL },
      missing: { get: 'null' }
    })
    clock.increment(TTL - 1)
    expect((await again.getSession('ada', 's1', { last: 1 }))?.messages).toHaveLength(1)
    expect((await store.head({ userId: 'ada', sessionId: 's1' }))?.touchedAt).toBe(TTL - 1)
    const late = sleeping()
    late.now = 2 * TTL
    const other = await createSessionHistory({
      store,
      clock: late.clock,
      retention: { ttlMs: TTL },
      missing: { get: 'null' }
    })
    expect(await other.getSession('ada', 's1', { last: 1 })).toBeNull()
  })

  it('is renewed by the reads of another process', async () => {
    const { history: one, clock, store } = await begin()
    const other = await createSessionHistory({ store, clock: forTurnlog(clock), retention: { ttlMs: TTL } })
    for (let i = 0; i < 10; i++) {
      clock.increment(TTL / 2)
      await quiet()
      await other.getSession('ada', 's1')
    }
    // This one has last heard of the session long ago.
    expect((await one.appendMessage(ADA, text('two')))?.version).toBe(3)
  })

  it('is renewed by a read also where the store cannot note it, for that time', async () => {
    const hooks: Hooks = {}
    const store = hooked(hooks)
    const { history, clock } = await begin({ store })
    await history.appendMessage(
      ADA,
      Array.from({ length: 600 }, (_, i) => text(`${i}`))
    )
    hooks.touch = () => Promise.reject(new Error('read-only'))
    clock.increment(TTL / 2)
    expect((await history.getSession('ada', 's1'))?.version).toBe(602)
    // As one who reads only its end.
    const other = await createSessionHistory({ store, clock: forTurnlog(clock), retention: { ttlMs: TTL } })
    expect((await other.getSession('ada', 's1', { last: 1 }))?.messages).toHaveLength(1)
  })

  it('begins with the import of a session, however old that is', async () => {
    const { history } = await begin()
    const file: string[] = []
    for await (const line of history.exportSession('ada')) file.push(line)
    for (const retention of [{}, { ttlMs: TTL }]) {
      const late = sleeping()
      late.now = 5 * TTL
      const store = memoryStore()
      const options = { store, clock: late.clock, missing: { get: 'null' } } as const
      const importer = await createSessionHistory({ ...options, retention })
      await importer.importSession(file)
      late.now += TTL - 1
      const reader = await createSessionHistory({ ...options, retention: { ttlMs: TTL } })
      expect(textsOf(await reader.getSession('ada', 's1'))).toEqual(['one'])
    }
  })

  describe('of a session that has expired, before anybody has deleted it', () => {
    async function expired(options: SessionHistoryOptions = {}): Promise<SessionHistoryService> {
      const world = sleeping()
      const { history } = await begin({ clock: world.clock, ...options })
      world.now += TTL
      return history
    }

    it('a read finds none', async () => {
      expect(await (await expired()).getSession('ada', 's1')).toBeNull()
      await fails(
        () => expired({ missing: { get: 'throw' } }).then((history) => history.getSession('ada', 's1')),
        'SESSION_NOT_FOUND'
      )
    })

    it('a read that makes one gives an empty one, in a commit that says what became of the other', async () => {
      const history = await expired({ missing: { get: 'create' } })
      expect(textsOf(await history.getSession('ada', 's1'))).toEqual([])
      const events = await eventsOf(history)
      expect(events.map(({ type }) => type)).toEqual(['created', 'message-appended', 'deleted', 'created'])
      expect(events[2]?.commitId).toBe(events[3]?.commitId)
      expect(events[2]?.data).toEqual({ reason: 'expired' })
    })

    it('writes follow missing.append', async () => {
      const warned = await expired()
      expect(await warned.appendMessage(ADA, text('two'))).toBeNull()
      const made = await expired({ missing: { append: 'create' } })
      expect(textsOf(await made.appendMessage(ADA, text('two')))).toEqual(['two'])
      expect(await typesOf(made)).toEqual(['created', 'message-appended', 'deleted', 'created', 'message-appended'])
      await fails(
        async () => (await expired({ missing: { append: 'throw' } })).appendMessage(ADA, text('two')),
        'SESSION_NOT_FOUND'
      )
    })

    it('counts as none for expectedVersion, and its log is at its version', async () => {
      const history = await expired({ missing: { append: 'create' } })
      await fails(() => history.appendMessage(ADA, text('x'), { expectedVersion: 'exists' }), 'VERSION_CONFLICT', {
        actual: 2
      })
      await history.createSession('ada', 's1', { expectedVersion: 'none' })
      expect(await typesOf(history)).toEqual(['created', 'message-appended', 'deleted', 'created'])
    })

    it('fork, turns, undo need a session; a fork of a version and a rewind do not', async () => {
      const history = await expired()
      await fails(() => history.fork(ADA), 'SESSION_NOT_FOUND')
      await fails(() => history.beginTurn(ADA), 'SESSION_NOT_FOUND')
      await fails(() => history.undo(ADA), 'SESSION_NOT_FOUND')
      expect(textsOf(await history.fork(ADA, { at: 2 }))).toEqual(['one'])
      expect(textsOf(await history.rewind(ADA, 2))).toEqual(['one'])
      expect(await typesOf(history)).toEqual(['created', 'message-appended', 'deleted', 'rewound'])
    })

    it('reading its past does not bring it back', async () => {
      const history = await expired()
      expect(textsOf(await history.getSession('ada', 's1', { at: 2 }))).toEqual(['one'])
      expect(textsOf(await history.getSession('ada', 's1', { at: new Date(1) }))).toEqual(['one'])
      expect(await history.getSession('ada', 's1')).toBeNull()
    })

    it('who deletes it finds it expired; it is no longer listed, and counted', async () => {
      const one = await expired()
      await one.deleteSession('ada', 's1')
      expect((await eventsOf(one)).slice(2)).toMatchObject([{ type: 'deleted', data: { reason: 'expired' } }])
      const all = await expired()
      expect(await all.deleteUserSessions('ada')).toBe(1)
      expect(await all.listSessions('ada')).toEqual([])
    })

    it.each([
      ['a read', (history: SessionHistoryService) => history.getSession('ada', 's1')],
      ['a read of the past', (history: SessionHistoryService) => history.getSession('ada', 's1', { at: 2 })],
      ['a write', (history: SessionHistoryService) => history.appendMessage(ADA, text('two'))],
      ['a call that fails', (history: SessionHistoryService) => history.undo(ADA).catch(() => undefined)],
      ['a list', (history: SessionHistoryService) => history.listSessions('ada')]
    ])('%s stores that, also where the service is stopped at once', async (_, call) => {
      const store = memoryStore()
      const history = await expired({ store })
      await call(history)
      await history.stop()
      await store.open()
      const head = await store.head({ userId: 'ada', sessionId: 's1' })
      expect(head).toMatchObject({ version: 3, summary: { deleted: true } })
      for await (const page of store.read(head!.logId, { from: 3 }))
        expect(page[0]?.data).toEqual({ reason: 'expired' })
    })

    it('comes also where a session was only looked at: what does not count as use renews nothing', async () => {
      const { history, clock, store } = await begin()
      clock.increment(TTL / 2)
      for (const at of [undefined, 2, new Date(0)])
        expect(await history.getSession('ada', 's1', { at, countsAsUse: false })).not.toBeNull()
      await quiet()
      expect((await store.head({ userId: 'ada', sessionId: 's1' }))?.touchedAt).toBeUndefined()
      clock.increment(TTL / 2)
      expect(await history.getSession('ada', 's1', { countsAsUse: false })).toBeNull()
      await misuses(() => history.getSession('ada', 's1', { countsAsUse: 'no' } as never), "'no'")
    })

    it('that cannot be stored is left to whoever comes upon it next', async () => {
      const world = sleeping()
      let [failures, left] = [0, 0]
      const event = (): string => {
        if (left-- > 0) throw new Error(`no id ${++failures}`)
        return randomUUID()
      }
      const { history } = await begin({ clock: world.clock, ids: { event } })
      world.now = TTL
      left = 10
      expect(await history.listSessions('ada')).toEqual([])
      await history.stop()
      expect(failures).toBe(1)
      await history.start()
      left = 0
      await history.listSessions('ada')
      await history.stop()
      await history.start()
      expect((await eventsOf(history)).at(-1)).toMatchObject({ type: 'deleted', data: { reason: 'expired' } })
    })

    it('lists leave it out, and others come in its place', async () => {
      const world = sleeping()
      const { history } = await begin({ clock: world.clock })
      const ids: string[] = []
      for (let i = 0; i < 10; i++) {
        world.now = i < 5 ? i : TTL / 2
        ids.push((await history.createSession('bob', `${i}`)).id)
      }
      const child = await history.fork({ userId: 'bob', id: '9' }, { sessionId: 'child' })
      // It is read later, not written to.
      world.now = TTL / 2
      await history.getSession('bob', '1')
      world.now = TTL + 10
      const pages: string[][] = []
      for (let after: Session | undefined; ;) {
        const page: Session[] = await history.listSessions('bob', { limit: 3, ...(after && { after }) })
        pages.push(page.map(({ id }) => id))
        after = page.at(-1)
        if (page.length < 3) break
      }
      expect(pages).toEqual([['5', '6', '7'], ['8', '9', 'child'], ['1']])
      expect((await history.forks({ userId: 'bob', id: '9' })).map(({ id }) => id)).toEqual([child.id])
      world.now = TTL / 2 + TTL
      expect(await history.listSessions('bob')).toEqual([])
      expect(await history.forks({ userId: 'bob', id: '9' })).toEqual([])
    })

    it('a turn that was open is over', async () => {
      const world = sleeping()
      const { history } = await begin({ clock: world.clock })
      const turn = await history.beginTurn(ADA, { ttlMs: 10 * TTL })
      world.now += TTL
      await fails(() => turn.append(text('late')), 'TURN_FENCED')
    })
  })
})

describe('purgeAfterMs', () => {
  it('purges what was deleted so long ago, by whomever', async () => {
    const { history, clock, store } = await begin({ retention: { purgeAfterMs: 50_000 } })
    await history.createSession('ada', 'kept')
    await history.deleteSession('ada', 's1')
    clock.increment(49_999)
    await quiet()
    expect(await eventsOf(history)).toHaveLength(3)
    clock.increment(10_000)
    await quiet()
    expect(await eventsOf(history)).toEqual([])
    expect(await store.head({ userId: 'ada', sessionId: 's1' })).toBeNull()
    expect((await history.getSession('ada', 'kept'))?.version).toBe(1)
  })

  it('comes after ttlMs', async () => {
    const { history, clock } = await begin({ retention: { ttlMs: TTL, purgeAfterMs: TTL } })
    for (let i = 0; i < 15; i++) {
      clock.increment(TTL / 10)
      await quiet()
    }
    expect((await eventsOf(history)).at(-1)?.type).toBe('deleted')
    for (let i = 0; i < 10; i++) {
      clock.increment(TTL / 10)
      await quiet()
    }
    expect(await eventsOf(history)).toEqual([])
  })

  it('spares a session that has begun again since it was looked at', async () => {
    const inner = memoryStore()
    const hooks: Hooks = {}
    const store = hooked(hooks, inner)
    const { history, clock } = await begin({ store, retention: { purgeAfterMs: 50_000 } })
    await history.deleteSession('ada', 's1')
    const other = await createSessionHistory({ store, clock: forTurnlog(clock) })
    hooks.purge = async (key, end) => {
      delete hooks.purge
      await other.createSession('ada', 's1')
      await inner.purge(key, end)
    }
    clock.increment(60_000)
    await quiet()
    expect(hooks.purge).toBeUndefined()
    expect((await history.getSession('ada', 's1'))?.version).toBe(4)
  })

  it('leaves a turn alone that was begun since it was looked at', async () => {
    const hooks: Hooks = {}
    const inner = memoryStore()
    const { history, clock } = await begin({ store: hooked(hooks, inner), retention: { purgeAfterMs: 50_000 } })
    await history.deleteSession('ada', 's1')
    const turns: Turn[] = []
    const purged = deferred()
    hooks.heads = async (page) => {
      const heads = await inner.heads(page)
      await history.createSession('ada', 's1')
      const turn = await history.beginTurn(ADA)
      expect(turn.signal.aborted).toBe(false)
      turns.push(turn)
      return heads
    }
    hooks.purge = async (key, end) => {
      await inner.purge(key, end)
      purged.resolve()
    }
    clock.increment(60_000)
    await purged.promise
    await quiet()
    expect(turns[0]!.signal.aborted).toBe(false)
    expect((await turns[0]!.append(text('on'))).version).toBe(6)
  })
})

describe('a sweep', () => {
  it('begins with the service, in the background', async () => {
    const { history, clock, store } = await begin({ retention: { ttlMs: TTL, purgeAfterMs: TTL } })
    await history.createSession('ada', 'gone')
    await history.deleteSession('ada', 'gone')
    await history.stop()
    clock.increment(TTL)
    const again = await createSessionHistory({
      store,
      clock: forTurnlog(clock),
      retention: { ttlMs: TTL, purgeAfterMs: TTL }
    })
    expect((await store.heads()).filter(({ summary }) => !summary.deleted)).toHaveLength(1)
    clock.increment(0)
    await quiet()
    expect((await store.heads()).map(({ summary }) => [summary.sessionId, summary.deleted])).toEqual([['s1', true]])
    await again.stop()
  })

  it('goes over all pages, and does not stop at a session that fails', async () => {
    const inner = memoryStore()
    const hooks: Hooks = {}
    const { history, clock, log } = await begin({ store: hooked(hooks, inner) })
    for (let i = 0; i < 250; i++) await history.createSession('ada', `more ${i}`)
    hooks.append = async (commits) => {
      if (commits.some(({ key }) => key.sessionId === 'more 7')) throw new Error('away')
      return inner.append(commits)
    }
    clock.increment(TTL)
    for (let i = 0; i < 100; i++) await quiet()
    expect((await inner.list('ada')).map(({ sessionId }) => sessionId)).toEqual(['more 7'])
    expect(log.join()).toContain('more 7')
  })

  it('tells the logger where the store fails, and comes again', async () => {
    const inner = memoryStore()
    const hooks: Hooks = { heads: () => Promise.reject(new Error('away')) }
    const { history, clock, log } = await begin({ store: hooked(hooks, inner) })
    clock.increment(TTL)
    await quiet()
    expect(log.join()).toContain('away')
    delete hooks.heads
    clock.increment(TTL / 10)
    await quiet()
    expect((await eventsOf(history)).at(-1)?.type).toBe('deleted')
  })

  it('tells the logger where the clock fails, and harms nobody', async () => {
    const timers: (() => void)[] = []
    let hasFailed = false
    const raise = (): never => {
      throw new Error('no time')
    }
    const clock: Clock = {
      now: () => (hasFailed ? raise() : 0),
      setTimeout: (callback) => (hasFailed ? raise() : timers.push(callback)),
      clearTimeout: () => undefined
    }
    const { history, log } = await begin({ clock, idleMs: Infinity })
    hasFailed = true
    timers[0]!()
    await quiet()
    hasFailed = false
    expect(log).toEqual([expect.stringContaining('could not be looked for'), expect.stringContaining('no more')])
    expect((await history.getSession('ada', 's1'))?.version).toBe(2)
    await history.stop()
  })

  it('ends with the service, and begins with it again', async () => {
    const { history, clock, store } = await begin()
    await history.stop()
    clock.increment(10 * TTL)
    await quiet()
    await store.open()
    expect(await store.list('ada')).toHaveLength(1)
    await history.start()
    clock.increment(TTL)
    await quiet()
    expect(await store.list('ada')).toHaveLength(0)
    await history.stop()
  })
})

describe('maxMessages', () => {
  it('limits what every snapshot shows, and nothing else', async () => {
    const { history, store } = await begin({ retention: { maxMessages: 2 } })
    const appended = await history.appendMessage(ADA, ['two', 'three', 'four'].map(text))
    expect(textsOf(appended)).toEqual(['three', 'four'])
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(['three', 'four'])
    expect(textsOf(await history.getSession('ada', 's1', { last: 1 }))).toEqual(['four'])
    expect(textsOf(await history.getSession('ada', 's1', { last: 3 }))).toEqual(['three', 'four'])
    expect(textsOf(await history.getSession('ada', 's1', { at: 3 }))).toEqual(['one', 'two'])
    expect(textsOf(await history.rewind(ADA, 3))).toEqual(['one', 'two'])
    expect(textsOf(await history.undo(ADA))).toEqual(['three', 'four'])
    const fork = await history.fork(ADA)
    expect(textsOf(fork)).toEqual(['three', 'four'])
    expect(await eventsOf(history)).toHaveLength(7)
    const whole = history.withMessage(messageSchema, { format: 'message', maxMessages: Infinity })
    const four = ['one', 'two', 'three', 'four']
    expect(textsOf(await whole.getSession('ada', 's1'))).toEqual(four)
    expect(textsOf(await whole.getSession('ada', 's1', { last: 3 }))).toEqual(four.slice(1))
    expect(textsOf(await whole.updateMetadata(ADA, { set: { title: 'T' } }))).toEqual(four)
    expect(textsOf(await whole.fork(ADA))).toEqual(four)
    expect(textsOf(await whole.withMessage(messageSchema, { format: 'message' }).getSession('ada', 's1'))).toEqual(four)
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(four.slice(2))
    for (const maxMessages of [-1, 1.5, '1', null])
      await misuses(
        () => history.withMessage(messageSchema, { format: 'message', maxMessages } as never),
        'maxMessages'
      )
    const all = await createSessionHistory({ store })
    expect(textsOf(await all.getSession('ada', 's1'))).toEqual(['one', 'two', 'three', 'four'])
    expect(textsOf(await all.getSession('ada', fork.id))).toEqual(['one', 'two', 'three', 'four'])
  })
})

describe('maxMessages and an array of the caller', () => {
  it('extends it by all that was appended', async () => {
    const { history } = await begin({ retention: { maxMessages: 2 } })
    const mine = { ...ADA, messages: [] as unknown[] }
    const messages = ['two', 'three', 'four'].map((content) => ({ id: content, ...text(content) }))
    for (let i = 0; i < 2; i++) {
      const shown = await history.appendMessage(mine, messages, { idempotencyKey: 'k' })
      expect(textsOf(shown)).toEqual(['three', 'four'])
      expect(textsOf({ messages: mine.messages.splice(0) })).toEqual(['two', 'three', 'four'])
    }
  })
})

describe('bad retention', () => {
  it.each([
    { ttlMs: 0 },
    { ttlMs: -1 },
    { ttlMs: Number.NaN },
    { ttlMs: '1' },
    { purgeAfterMs: 0 },
    { purgeAfterMs: null },
    { maxMessages: 1.5 },
    { maxMessages: -1 },
    null,
    'all'
  ])('%j is misuse', async (retention) => {
    await misuses(() => createSessionHistory({ retention } as SessionHistoryOptions), 'retention')
  })
})
