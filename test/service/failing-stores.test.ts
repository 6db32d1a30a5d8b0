import { describe, expect, it } from 'vitest'
import {
  createSessionHistory,
  memoryStore,
  type AppendResult,
  type Commit,
  type EventStore,
  type SessionHistoryOptions,
  type SessionHistoryService,
  type StoredEvent
} from '../../src/index.ts'
import {
  ADA,
  eventsOf,
  failureOf,
  fails,
  hasty,
  hooked,
  openAda,
  text,
  textsOf,
  warnings,
  WRITES,
  type Hooks
} from './kit.ts'

const CAUSE = new Error('no disk')

interface Rig {
  readonly history: SessionHistoryService
  readonly inner: EventStore
  readonly hooks: Hooks
}

async function rig(options: SessionHistoryOptions = {}): Promise<Rig> {
  const inner = memoryStore()
  const hooks: Hooks = {}
  return { inner, hooks, history: await openAda({ ...options, store: hooked(hooks, inner) }) }
}

// A reason may be anything.
function rejected(reason: unknown): Promise<never> {
  return Promise.reject(reason)
}

/** Makes the next call fail, in each of the ways in which a store may. */
const WAYS: [string, unknown, <A>() => Promise<A>][] = [
  ['rejects', CAUSE, () => Promise.reject(CAUSE)],
  [
    'throws at once',
    CAUSE,
    () => {
      throw CAUSE
    }
  ],
  ['rejects with a string', 'no disk', () => rejected('no disk')],
  ['rejects with undefined', undefined, () => rejected(undefined)],
  ['rejects with null', null, () => rejected(null)]
]

function failingRead(fail: () => Promise<never>): EventStore['read'] {
  return async function* () {
    yield []
    await fail()
  }
}

describe.each(WAYS)('where the store %s', (_, cause, fail) => {
  it.each(WRITES)(
    'before storing, $name is STORE_UNAVAILABLE with the cause; the session goes on',
    async ({ write }) => {
      const { history, hooks } = await rig()
      hooks.append = () => {
        delete hooks.append
        return fail()
      }
      const error = await fails(() => write(history), 'STORE_UNAVAILABLE')
      expect(error.cause).toBe(cause)
      expect(['not-stored', 'unknown']).toContain((error as unknown as { outcome: string }).outcome)
      expect(await eventsOf(history)).toHaveLength(1)
      const session = (await write(history)) as { version: number }
      expect(await eventsOf(history)).toHaveLength(session.version)
      expect(await history.getSession('ada', 's1')).toEqual(session)
    }
  )

  it.each(WRITES)('after storing, $name finds the lost answer; nothing is stored twice', async ({ write }) => {
    const { history, hooks, inner } = await rig()
    hooks.append = async (commits) => {
      delete hooks.append
      await inner.append(commits)
      return fail()
    }
    const session = await write(history)
    expect(session).toEqual(await history.getSession('ada', 's1'))
    const events = await eventsOf(history)
    expect(new Set(events.map(({ commitId }) => commitId)).size).toBe(2)
    expect(await history.appendMessage(ADA, text('on'))).toMatchObject({ version: events.length + 1 })
  })

  it('on head, a call is STORE_UNAVAILABLE with the cause; then the session is read', async () => {
    const { history, hooks } = await rig({ maxActiveSessions: 1 })
    await history.appendMessage(ADA, text('one'))
    await history.createSession('ada', 'other')
    hooks.head = () => fail()
    const error = await fails(() => history.getSession('ada', 's1'), 'STORE_UNAVAILABLE')
    expect(error.cause).toBe(cause)
    expect((await fails(() => history.appendMessage(ADA, text('x')), 'STORE_UNAVAILABLE')).cause).toBe(cause)
    expect((await fails(() => eventsOf(history), 'STORE_UNAVAILABLE')).cause).toBe(cause)
    delete hooks.head
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(['one'])
    expect(await history.appendMessage(ADA, text('two'))).toMatchObject({ version: 3 })
  })

  it('on read, a call is STORE_UNAVAILABLE with the cause; then the session is read', async () => {
    const { history, hooks } = await rig({ maxActiveSessions: 1 })
    await history.appendMessage(ADA, text('one'))
    await history.createSession('ada', 'other')
    hooks.read = failingRead(fail)
    expect((await fails(() => history.getSession('ada', 's1'), 'STORE_UNAVAILABLE')).cause).toBe(cause)
    expect((await fails(() => history.appendMessage(ADA, text('x')), 'STORE_UNAVAILABLE')).cause).toBe(cause)
    expect((await fails(() => eventsOf(history), 'STORE_UNAVAILABLE')).cause).toBe(cause)
    delete hooks.read
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(['one'])
    expect(await history.appendMessage(ADA, text('two'))).toMatchObject({ version: 3 })
  })

  it('on list, listUsers and purge, the call is STORE_UNAVAILABLE with the cause', async () => {
    const { history, hooks } = await rig()
    Object.assign(hooks, { list: fail, listUsers: fail, purge: fail })
    for (const call of [
      () => history.listSessions('ada'),
      () => history.listUsers(),
      () => history.deleteUserSessions('ada'),
      () => history.purgeSession('ada', 's1')
    ]) {
      expect((await fails(call, 'STORE_UNAVAILABLE')).cause).toBe(cause)
    }
    for (const name of ['list', 'listUsers', 'purge'] as const) delete hooks[name]
    expect(await history.listUsers()).toEqual(['ada'])
    expect(await history.getSession('ada', 's1')).toMatchObject({ version: 1 })
    expect(await history.deleteUserSessions('ada')).toBe(1)
    await history.purgeSession('ada', 's1')
    expect(await eventsOf(history)).toEqual([])
  })

  it('at open, createSessionHistory is STORE_UNAVAILABLE with the cause', async () => {
    const error = await fails(() => createSessionHistory({ store: hooked({ open: fail }) }), 'STORE_UNAVAILABLE')
    expect(error.cause).toBe(cause)
  })

  it('at close, stop is STORE_UNAVAILABLE with the cause, and the service is stopped', async () => {
    const { history, hooks } = await rig()
    hooks.close = fail
    expect((await fails(() => history.stop(), 'STORE_UNAVAILABLE')).cause).toBe(cause)
    await fails(() => history.getSession('ada', 's1'), 'STOPPED')
    delete hooks.close
    await history.start()
    expect(await history.getSession('ada', 's1')).toMatchObject({ version: 1 })
  })
})

describe('a store that fails', () => {
  it('by throwing before read gives an iterable: STORE_UNAVAILABLE with the cause; then the session is read', async () => {
    const { history, hooks } = await rig({ maxActiveSessions: 1 })
    await history.createSession('ada', 'other')
    hooks.read = () => {
      throw CAUSE
    }
    expect((await fails(() => history.getSession('ada', 's1'), 'STORE_UNAVAILABLE')).cause).toBe(CAUSE)
    expect((await fails(() => eventsOf(history), 'STORE_UNAVAILABLE')).cause).toBe(CAUSE)
    delete hooks.read
    expect(await history.appendMessage(ADA, text('two'))).toMatchObject({ version: 2 })
  })

  it('leaves other sessions unharmed', async () => {
    const { history, hooks, inner } = await rig({ missing: { append: 'create' } })
    hooks.append = (commits) =>
      commits.some(({ key }) => key.sessionId === 's1') ? Promise.reject(CAUSE) : inner.append(commits)
    const refs = ['s1', 's2', 's3'].map((id) => ({ userId: 'ada', id }))
    const outcomes = await Promise.allSettled(
      Array.from({ length: 10 }, (_, n) => refs.map((ref) => history.appendMessage(ref, text(`${n}`)))).flat()
    )
    expect(outcomes.map(({ status }) => status)).toEqual(
      Array.from({ length: 10 }, () => ['rejected', 'fulfilled', 'fulfilled']).flat()
    )
    for (const id of ['s2', 's3']) expect((await history.getSession('ada', id))?.messages).toHaveLength(10)
    delete hooks.append
    expect(await history.appendMessage(ADA, text('on'))).toMatchObject({ version: 2 })
  })

  it('does not extend the session that was passed', async () => {
    const { history, hooks } = await rig()
    hooks.append = () => Promise.reject(CAUSE)
    const session = { userId: 'ada', id: 's1', messages: [] as unknown[] }
    await fails(() => history.appendMessage(session, text('x')), 'STORE_UNAVAILABLE')
    expect(session.messages).toEqual([])
  })

  it('moves no state: what a read gives is what the store has', async () => {
    const { history, hooks } = await rig()
    const before = await history.appendMessage(ADA, text('one'))
    hooks.append = () => Promise.reject(CAUSE)
    await failureOf(() => history.appendMessage(ADA, text('x')))
    expect(await history.getSession('ada', 's1')).toEqual(before)
    expect(await history.getSession('ada', 's1', { at: new Date(1e12) })).toEqual(before)
    await fails(() => history.getSession('ada', 's1', { at: 3 }), 'VERSION_NOT_FOUND', { actual: 2 })
  })

  it('fails every call of the batch, and a repetition with a key stores each once', async () => {
    const { history, hooks } = await rig()
    hooks.append = () => Promise.reject(CAUSE)
    const append = (i: number): Promise<unknown> =>
      history.appendMessage(ADA, text(`${i}`), { idempotencyKey: `k${i}` })
    const outcomes = await Promise.allSettled(Array.from({ length: 10 }, (_, i) => append(i)))
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'STORE_UNAVAILABLE', cause: CAUSE } })
    }
    delete hooks.append
    await Promise.all(Array.from({ length: 10 }, (_, i) => append(i)))
    await Promise.all(Array.from({ length: 10 }, (_, i) => append(i)))
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(Array.from({ length: 10 }, (_, i) => `${i}`))
  })

  it('says that the outcome is unknown where the answer is lost and the log cannot be read', async () => {
    const { history, hooks, inner } = await rig()
    hooks.append = async (commits) => {
      await inner.append(commits)
      hooks.head = () => Promise.reject(CAUSE)
      hooks.read = failingRead(() => Promise.reject(CAUSE))
      throw CAUSE
    }
    await fails(() => history.appendMessage(ADA, text('x'), { idempotencyKey: 'k' }), 'STORE_UNAVAILABLE', {
      outcome: 'unknown'
    })
    for (const name of ['append', 'head', 'read'] as const) delete hooks[name]
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(['x'])
    expect(await history.appendMessage(ADA, text('x'), { idempotencyKey: 'k' })).toMatchObject({ version: 2 })
    expect(await eventsOf(history)).toHaveLength(2)
  })

  it('loses answers half of the time, and every acknowledged append is there once', async () => {
    const { history, hooks, inner } = await rig()
    let calls = 0
    hooks.append = async (commits) => {
      if (++calls % 4 === 0) throw CAUSE
      const results = await inner.append(commits)
      if (calls % 4 === 2) throw CAUSE
      return results
    }
    const acknowledged: string[] = []
    for (let i = 0; i < 40; i++) {
      await history.appendMessage(ADA, text(`${i}`)).then(
        () => acknowledged.push(`${i}`),
        (error: unknown) => expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE' })
      )
    }
    expect(acknowledged.length).toBeGreaterThan(20)
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(acknowledged)
  })

  it('answers a commit with failed: STORE_UNAVAILABLE with its error and outcome', async () => {
    const { history, hooks } = await rig()
    hooks.append = async (commits) =>
      commits.map((): AppendResult => ({ status: 'failed', error: CAUSE, outcome: 'not-stored' }))
    const error = await fails(() => history.appendMessage(ADA, text('x')), 'STORE_UNAVAILABLE', {
      outcome: 'not-stored'
    })
    expect(error.cause).toBe(CAUSE)
    delete hooks.append
    expect(textsOf(await history.appendMessage(ADA, text('y')))).toEqual(['y'])
  })

  it('answers failed, unknown, and has it: the call resolves, stored once', async () => {
    const { history, hooks, inner } = await rig()
    hooks.append = async (commits) => {
      delete hooks.append
      await inner.append(commits)
      return commits.map((): AppendResult => ({ status: 'failed', error: CAUSE, outcome: 'unknown' }))
    }
    expect(textsOf(await history.appendMessage(ADA, text('x')))).toEqual(['x'])
    expect(await eventsOf(history)).toHaveLength(2)
  })

  it("fails one commit of a batch: the others are stored, as one's failure never fails another", async () => {
    const { history, hooks, inner } = await rig()
    let failed = 0
    hooks.append = async (commits: readonly Commit[]) => {
      const bad = commits.findIndex(({ events }) => JSON.stringify(events).includes('bad'))
      if (bad < 0 || failed++ > 0) return inner.append(commits)
      const stored = await inner.append(commits.slice(0, bad))
      const rest = commits.slice(bad + 1).map((): AppendResult => ({ status: 'conflict' }))
      return [...stored, { status: 'failed', error: CAUSE, outcome: 'not-stored' }, ...rest]
    }
    const outcomes = await Promise.allSettled(
      ['a', 'b', 'bad', 'c', 'd'].map((each) => history.appendMessage(ADA, text(each)))
    )
    expect(outcomes.map(({ status }) => status)).toEqual([
      'fulfilled',
      'fulfilled',
      'rejected',
      'fulfilled',
      'fulfilled'
    ])
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(['a', 'b', 'c', 'd'])
  })

  it('answers conflict again and again, though the log is as it was: the call ends with an error', async () => {
    const { history, hooks } = await rig({ clock: hasty() })
    hooks.append = async (commits) => commits.map((): AppendResult => ({ status: 'conflict' }))
    const call = (): unknown => history.appendMessage(ADA, text('x'), { expectedVersion: 1 })
    await fails(call, 'TOO_MANY_CONFLICTS', { conflicts: 100 })
    delete hooks.append
    expect(await history.appendMessage(ADA, text('x'))).toMatchObject({ version: 2 })
  })

  it('loses the answer to a purge: the call says so, and the session is gone', async () => {
    const { history, hooks, inner } = await rig({ missing: { get: 'null' } })
    hooks.purge = async (key) => {
      delete hooks.purge
      await inner.purge(key)
      throw CAUSE
    }
    await fails(() => history.purgeSession('ada', 's1'), 'STORE_UNAVAILABLE', { outcome: 'unknown' })
    expect(await history.getSession('ada', 's1')).toBeNull()
    expect(await history.createSession('ada', 's1')).toMatchObject({ version: 1 })
  })

  it('fails with an error of ours: it is passed on as it is', async () => {
    const { history, inner, hooks } = await rig()
    await inner.close()
    await fails(() => history.listUsers(), 'STORE_UNAVAILABLE', { outcome: 'not-stored' })
    await inner.open()
    expect(hooks).toEqual({})
    expect(await history.listUsers()).toEqual(['ada'])
  })

  it('fails while stop waits: stop ends all the same', async () => {
    const { history, hooks } = await rig()
    hooks.append = () => Promise.reject(CAUSE)
    const call = failureOf(() => history.appendMessage(ADA, text('x')))
    await history.stop()
    expect(await call).toMatchObject({ code: 'STORE_UNAVAILABLE' })
    delete hooks.append
    await history.start()
    expect(await history.getSession('ada', 's1')).toMatchObject({ version: 1 })
  })
})

describe('a log that is not one', () => {
  const damage: [string, (events: readonly StoredEvent[]) => readonly StoredEvent[], number][] = [
    ['lacks its first event', (events) => events.slice(1), 1],
    ['lacks an event', (events) => events.filter(({ version }) => version !== 2), 2],
    ['has an event twice', (events) => events.flatMap((event) => (event.version === 2 ? [event, event] : [event])), 3],
    ['lacks its end', (events) => events.slice(0, -1), 4],
    ['has events of another session', (events) => events.map((event) => ({ ...event, sessionId: 'other' })), 1],
    ['goes back in time', (events) => events.map((event) => (event.version === 3 ? { ...event, at: 0 } : event)), 3]
  ]

  it.each(damage)('because it %s is CORRUPT_LOG, naming session and version', async (_, change, version) => {
    const { history, hooks, inner } = await rig({ maxActiveSessions: 1 })
    await history.appendMessage(ADA, [text('a'), text('b'), text('c')])
    await history.createSession('ada', 'other')
    hooks.read = async function* (logId, range) {
      for await (const page of inner.read(logId, range)) yield change(page)
    }
    await fails(() => history.getSession('ada', 's1'), 'CORRUPT_LOG', { userId: 'ada', sessionId: 's1', version })
    delete hooks.read
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(['a', 'b', 'c'])
  })

  it.each([
    ['of a type it does not know', { type: 'exploded' }, { type: 'exploded', schemaVersion: 1 }],
    ['of a schema version newer than it knows', { schemaVersion: 99 }, { type: 'message-appended', schemaVersion: 99 }]
  ])('because of an event %s is UNKNOWN_EVENT, unless it may be skipped', async (_, change, fields) => {
    const { history, hooks, inner } = await rig({ maxActiveSessions: 1 })
    await history.appendMessage(ADA, [text('a'), text('b')])
    await history.createSession('ada', 'other')
    let skippable = {}
    hooks.read = async function* (logId, range) {
      for await (const page of inner.read(logId, range)) {
        yield page.map((event) =>
          event.version === 2 && event.sessionId === 's1' ? { ...event, ...change, ...skippable } : event
        )
      }
    }
    await fails(() => history.getSession('ada', 's1'), 'UNKNOWN_EVENT', { version: 2, ...fields })
    await fails(() => eventsOf(history), 'UNKNOWN_EVENT', { version: 2, ...fields })
    skippable = { skippable: true }
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(['b'])
    expect((await eventsOf(history)).map(({ version }) => version)).toEqual([1, 3])
    expect(await history.appendMessage(ADA, text('c'))).toMatchObject({ version: 4 })
  })
})

describe('what is given as store', () => {
  it('an address is NOT_A_STORE, and told what makes it one', async () => {
    const error = await fails(() => createSessionHistory({ store: 'postgres://a:b@c' as never }), 'NOT_A_STORE')
    expect(error.message).toContain('openStore(address)')
    expect(error.message).not.toContain('a:b')
  })

  it.each([[{}], [5], ['memory'], [[]], [() => memoryStore()]])('%o is NOT_A_STORE', async (store) => {
    await fails(() => createSessionHistory({ store: store as never }), 'NOT_A_STORE')
  })

  it.each([
    'open',
    'close',
    'health',
    'head',
    'append',
    'read',
    'list',
    'listUsers',
    'forks',
    'purge',
    'supports'
  ] as const)('without %s is NOT_A_STORE, naming it', async (name) => {
    const store = { ...memoryStore(), [name]: undefined }
    const error = await fails(() => createSessionHistory({ store }), 'NOT_A_STORE', { missing: [name] })
    expect(error.message).toContain(name)
  })

  it('needs watch where it says that it pushes, and only then', async () => {
    const store: EventStore = memoryStore()
    delete store.watch
    const supports = { durable: false, shared: false, push: true }
    await fails(() => createSessionHistory({ store: { ...store, supports } }), 'NOT_A_STORE', { missing: ['watch'] })
    const history = await createSessionHistory({
      store: { ...store, supports: { ...supports, push: false } },
      logger: warnings()
    })
    expect(await history.health()).toBe(true)
    await history.stop()
  })
})
