import { describe, expect, it } from 'vitest'
import { createSessionHistory, memoryStore, type Commit, type SessionHistoryService } from '../../src/index.ts'
import {
  ADA,
  clockOf,
  deferred,
  eventsOf,
  failureOf,
  fails,
  hooked,
  misuses,
  open,
  openAda,
  storesNothing,
  text,
  textsOf,
  warnings,
  WRITES,
  type Hooks
} from './kit.ts'

/** A service whose store answers no append until `release` is called. */
async function held(): Promise<{
  history: SessionHistoryService
  hooks: Hooks
  release: () => void
  reached: Promise<void>
}> {
  const inner = memoryStore()
  const hooks: Hooks = {}
  const history = await openAda({ store: hooked(hooks, inner) })
  const [reached, released] = [deferred(), deferred()]
  hooks.append = async (commits) => {
    reached.resolve()
    await released.promise
    return inner.append(commits)
  }
  return { history, hooks, reached: reached.promise, release: () => released.resolve() }
}

const CALLS: [string, (history: SessionHistoryService) => unknown][] = [
  ['createSession', (history) => history.createSession('ada', 's1')],
  ['getSession', (history) => history.getSession('ada', 's1')],
  ['getSession at', (history) => history.getSession('ada', 's1', { at: 1 })],
  ['listSessions', (history) => history.listSessions('ada')],
  ['listUsers', (history) => history.listUsers()],
  ['readEvents', (history) => eventsOf(history)],
  ['deleteSession', (history) => history.deleteSession('ada', 's1')],
  ['deleteUserSessions', (history) => history.deleteUserSessions('ada')],
  ['purgeSession', (history) => history.purgeSession('ada', 's1')],
  ...WRITES.map(({ name, write }): (typeof CALLS)[number] => [name, write])
]

describe('stop', () => {
  it.each(CALLS)('refuses %s after it with STOPPED', async (_, call) => {
    const history = await openAda()
    await history.stop()
    await fails(() => call(history), 'STOPPED')
    await history.start()
    expect(await eventsOf(history)).toHaveLength(1)
  })

  it.each(CALLS)('refuses %s with STOPPED while it is under way', async (_, call) => {
    const { history, release } = await held()
    const accepted = history.appendMessage(ADA, text('accepted'))
    const stopped = history.stop()
    await fails(() => call(history), 'STOPPED')
    release()
    await Promise.all([accepted, stopped])
    await history.start()
    expect(await eventsOf(history)).toHaveLength(2)
  })

  it('finishes what was accepted', async () => {
    const { history, reached, release } = await held()
    const settled: string[] = []
    const first = history.appendMessage(ADA, text('first'))
    await reached
    const calls = [
      first,
      history.appendMessage(ADA, text('second')),
      history.updateMetadata(ADA, { set: { a: 1 } }),
      history.getSession('ada', 's1'),
      history.createSession('ada', 'other')
    ]
    const stopped = history.stop().then(() => settled.push('stop'))
    for (const call of calls) void call.then(() => settled.push('call'))
    release()
    const sessions = await Promise.all(calls)
    await stopped
    expect(settled).toEqual(['call', 'call', 'call', 'call', 'call', 'stop'])
    expect(sessions[2]).toMatchObject({ version: 4, metadata: { a: 1 } })
    await history.start()
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(['first', 'second'])
  })

  it('finishes appends to many sessions', async () => {
    const history = await open({ missing: { append: 'create' } })
    const refs = Array.from({ length: 50 }, (_, i) => ({ userId: 'ada', id: `s${i}` }))
    const calls = refs.map((ref) => history.appendMessage(ref, text('x')))
    await history.stop()
    expect((await Promise.all(calls)).every((session) => session?.version === 2)).toBe(true)
  })

  it('leaves the data of the store in memory as it was: start again works', async () => {
    const history = await openAda()
    const session = await history.appendMessage(ADA, text('one'), { idempotencyKey: 'k' })
    for (let round = 0; round < 3; round++) {
      await history.stop()
      await history.start()
      expect(await history.getSession('ada', 's1')).toEqual(session)
    }
    expect(await history.appendMessage(ADA, text('one'), { idempotencyKey: 'k' })).toEqual(session)
    expect(await history.appendMessage(ADA, text('two'))).toMatchObject({ version: 3 })
  })

  it('may be called twice, and at once', async () => {
    const history = await openAda()
    await Promise.all([history.stop(), history.stop(), history.stop()])
    await history.stop()
    await fails(() => history.getSession('ada', 's1'), 'STOPPED')
  })

  it('closes the store, and start opens it', async () => {
    const store = memoryStore()
    const history = await open({ store })
    expect(await store.health()).toBe(true)
    await history.stop()
    expect(await store.health()).toBe(false)
    await history.start()
    expect(await store.health()).toBe(true)
  })

  it('of one of two services over one store leaves the other at work', async () => {
    const store = memoryStore()
    const [one, two] = [await openAda({ store }), await open({ store })]
    await one.stop()
    expect(await two.health()).toBe(true)
    expect(await two.appendMessage(ADA, text('x'))).toMatchObject({ version: 2 })
    await two.stop()
    expect(await store.health()).toBe(false)
  })

  it('of one service while another is started over the same store leaves the other at work', async () => {
    const inner = memoryStore()
    const slow = async (): Promise<void> => {
      for (let hops = 0; hops < 20; hops++) await Promise.resolve()
    }
    const store = hooked({ open: () => slow().then(inner.open), close: () => slow().then(inner.close) }, inner)
    let history = await openAda({ store })
    for (let round = 0; round < 3; round++) {
      const [, next] = await Promise.all([history.stop(), open({ store })])
      history = next
      expect(await history.health()).toBe(true)
      expect(await history.getSession('ada', 's1')).toMatchObject({ version: 1 })
    }
  })

  it('by way of what withMessage gave stops the one service', async () => {
    const history = await openAda()
    const { messageSchema } = await import('../../src/index.ts')
    const view = history.withMessage(messageSchema, { format: 'message' })
    await view.stop()
    expect(await history.health()).toBe(false)
    await fails(() => history.getSession('ada', 's1'), 'STOPPED')
    await fails(() => view.getSession('ada', 's1'), 'STOPPED')
    await history.start()
    expect(await view.getSession('ada', 's1')).toMatchObject({ version: 1 })
  })

  // Stores give events in pages: the end of one may be anywhere.
  it.each([0, 1, 999, 1_000, 1_001])('ends a readEvents that has given %d events with STOPPED', async (count) => {
    const history = await openAda()
    await history.appendMessage(
      ADA,
      Array.from({ length: 1_500 }, () => ({ id: 'm' }))
    )
    const events = history.readEvents('ada', 's1')[Symbol.asyncIterator]()
    for (let i = 1; i <= count; i++) expect((await events.next()).value).toMatchObject({ version: i })
    await history.stop()
    await fails(() => events.next(), 'STOPPED')
  })
})

describe('start', () => {
  it('of a started service changes nothing', async () => {
    const history = await openAda()
    await Promise.all([history.start(), history.start()])
    expect(await history.getSession('ada', 's1')).toMatchObject({ version: 1 })
    await history.stop()
    await fails(() => history.getSession('ada', 's1'), 'STOPPED')
  })

  it('and stop at once take effect in the order of the calls', async () => {
    const history = await openAda()
    await Promise.all([history.stop(), history.start()])
    expect(await history.getSession('ada', 's1')).toMatchObject({ version: 1 })
    await Promise.all([history.stop(), history.start(), history.stop()])
    await fails(() => history.getSession('ada', 's1'), 'STOPPED')
    await Promise.all([history.start(), history.stop(), history.start()])
    expect(await history.appendMessage(ADA, text('x'))).toMatchObject({ version: 2 })
  })

  it('while calls that were accepted before stop are under way loses none of them', async () => {
    const { history, release } = await held()
    const accepted = history.appendMessage(ADA, text('accepted'))
    const turnover = [history.stop(), history.start()]
    release()
    await Promise.all(turnover)
    expect(await accepted).toMatchObject({ version: 2 })
    expect(await history.appendMessage(ADA, text('after'))).toMatchObject({ version: 3 })
  })

  it('that failed may be repeated', async () => {
    const hooks: Hooks = {}
    const history = await openAda({ store: hooked(hooks) })
    await history.stop()
    const cause = new Error('no disk')
    hooks.open = () => Promise.reject(cause)
    expect(await fails(() => history.start(), 'STORE_UNAVAILABLE')).toMatchObject({ cause })
    await fails(() => history.getSession('ada', 's1'), 'STOPPED')
    expect(await history.health()).toBe(false)
    delete hooks.open
    await history.start()
    expect(await history.getSession('ada', 's1')).toMatchObject({ version: 1 })
  })
})

describe('health', () => {
  it('is true while the service is started, and only then', async () => {
    const history = await open()
    expect(await history.health()).toBe(true)
    await history.stop()
    expect(await history.health()).toBe(false)
    await history.start()
    expect(await history.health()).toBe(true)
  })

  it.each<[string, NonNullable<Hooks['health']>]>([
    ['says false', async () => false],
    ['rejects', () => Promise.reject(new Error('x'))],
    [
      'throws',
      () => {
        throw new Error('x')
      }
    ]
  ])('is false where the store %s, and does not reject', async (_, health) => {
    const hooks: Hooks = {}
    const history = await open({ store: hooked(hooks) })
    hooks.health = health
    expect(await history.health()).toBe(false)
    delete hooks.health
    expect(await history.health()).toBe(true)
  })

  it('is false as soon as stop was called', async () => {
    const { history, release } = await held()
    const accepted = history.appendMessage(ADA, text('x'))
    const stopped = history.stop()
    expect(await history.health()).toBe(false)
    release()
    await Promise.all([accepted, stopped])
  })
})

describe('Symbol.asyncDispose', () => {
  it('stops the service at the end of its block', async () => {
    const store = memoryStore()
    let kept: SessionHistoryService
    {
      await using history = await open({ store })
      await history.createSession('ada', 's1')
      kept = history
    }
    expect(await store.health()).toBe(false)
    await fails(() => kept.getSession('ada', 's1'), 'STOPPED')
  })

  it('finishes what was accepted', async () => {
    const { history, release } = await held()
    const accepted = history.appendMessage(ADA, text('x'))
    const disposed = history[Symbol.asyncDispose]()
    release()
    await disposed
    expect(await accepted).toMatchObject({ version: 2 })
  })
})

describe.each(WRITES)('the signal of $name', ({ write }) => {
  it.each([
    ['an error', new Error('enough')],
    ['a string', 'enough'],
    ['null', null],
    ['0', 0]
  ])('that is aborted before, with %s, rejects with its reason; nothing is stored', async (_, reason) => {
    const history = await openAda()
    await storesNothing(history, async () => {
      expect(await failureOf(() => write(history, { signal: AbortSignal.abort(reason) }))).toBe(reason)
    })
    expect(await write(history)).toMatchObject({ userId: 'ada' })
  })

  it('that is aborted without a reason rejects with an AbortError', async () => {
    const history = await openAda()
    const error = await failureOf(() => write(history, { signal: AbortSignal.abort() }))
    expect(error).toMatchObject({ name: 'AbortError' })
  })

  it('that is aborted while the call waits for another rejects at once; nothing is stored', async () => {
    const { history, reached, release } = await held()
    const first = history.appendMessage(ADA, text('first'))
    await reached
    const controller = new AbortController()
    const call = failureOf(() => write(history, { signal: controller.signal, idempotencyKey: 'k' }))
    const last = history.appendMessage(ADA, text('last'))
    controller.abort('enough')
    expect(await call).toBe('enough')
    release()
    await Promise.all([first, last])
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(['first', 'last'])
    expect(await eventsOf(history)).toHaveLength(3)
    expect(await history.appendMessage(ADA, text('k'), { idempotencyKey: 'k' })).toMatchObject({ version: 4 })
  })

  it('that is aborted once it is stored has no effect', async () => {
    const history = await openAda()
    const controller = new AbortController()
    const session = await write(history, { signal: controller.signal })
    controller.abort()
    expect(await history.getSession('ada', 's1')).toEqual(session)
    expect(await history.appendMessage(ADA, text('on'))).toMatchObject({ userId: 'ada' })
  })

  it('that is aborted while the store has it does not lie: resolved and stored, or rejected and not', async () => {
    const { history, reached, release } = await held()
    const controller = new AbortController()
    const outcome = Promise.allSettled([write(history, { signal: controller.signal })])
    await reached
    controller.abort('enough')
    release()
    const [{ status }] = await outcome
    expect((await eventsOf(history)).length > 1).toBe(status === 'fulfilled')
  })

  it('that is never aborted keeps no listener', async () => {
    const history = await openAda()
    const { signal } = new AbortController()
    let listeners = 0
    const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)]
    signal.addEventListener = (...args: Parameters<typeof add>) => (listeners++, add(...args))
    signal.removeEventListener = (...args: Parameters<typeof remove>) => (listeners--, remove(...args))
    await write(history, { signal })
    await failureOf(() => write(history, { signal, expectedVersion: 99 }))
    expect(listeners).toBe(0)
  })
})

describe('the option inspect', () => {
  it("is xstate's: it is told of the actors of a running program", async () => {
    const told: string[] = []
    const history = await openAda({ inspect: (event) => void told.push(event.type) })
    await history.appendMessage(ADA, text('x'))
    expect(told).toContain('@xstate.actor')
    expect(told).toContain('@xstate.event')
  })
})

describe('the options', () => {
  it.each([Number.NaN, Infinity, 'noon', undefined])(
    'a clock that says %s is a TypeError; nothing is stored',
    async (wrong) => {
      let now: unknown = 5
      const history = await openAda({ clock: clockOf(() => now as number) })
      now = wrong
      await storesNothing(history, () => misuses(() => history.appendMessage(ADA, text('x')), 'clock'))
      now = 6
      expect(await history.appendMessage(ADA, text('x'))).toMatchObject({ version: 2, updatedAt: 6 })
    }
  )

  it.each([
    ['', "''"],
    [5, '5'],
    ['a\ud800', "'a\\uD800'"]
  ])('ids that give %j are a TypeError; nothing is stored', async (id, shown) => {
    const [ids, made] = [{ session: () => id as string }, ['e1']]
    await misuses(async () => (await open({ ids })).createSession('ada'), shown)
    const history = await openAda({ ids: { event: () => made.shift() ?? (id as string) } })
    await storesNothing(history, () => misuses(() => history.appendMessage(ADA, text('x')), shown))
  })

  it.each([
    ['maxActiveSessions', 0],
    ['maxActiveSessions', -1],
    ['maxActiveSessions', Number.NaN],
    ['maxActiveSessions', '5'],
    ['idleMs', 0],
    ['idleMs', -1],
    ['maxMessageBytes', 0],
    ['maxMessageBytes', '1 MB']
  ])('%s: %j is a TypeError', async (name, value) => {
    await misuses(() => createSessionHistory({ [name]: value }), name)
  })

  it('maxActiveSessions: 1 keeps every call right over many sessions at once', async () => {
    const history = await open({ maxActiveSessions: 1, missing: { append: 'create' }, logger: warnings() })
    const refs = Array.from({ length: 20 }, (_, i) => ({ userId: 'ada', id: `s${i}` }))
    await Promise.all(
      Array.from({ length: 10 }, (_, n) => refs.map((ref) => history.appendMessage(ref, text(`${n}`)))).flat()
    )
    for (const { userId, id } of refs) {
      expect(textsOf(await history.getSession(userId, id))).toEqual(Array.from({ length: 10 }, (_, n) => `${n}`))
    }
  })

  it('idleMs drops sessions from memory by the clock that is given; what they were comes back', async () => {
    let now = 0
    let callbacks: (() => void)[] = []
    const clock = {
      now: () => now,
      setTimeout: (callback: () => void) => callbacks.push(callback),
      clearTimeout: () => undefined
    }
    const inner = memoryStore()
    let reads = 0
    const store = hooked({ read: (logId, range) => (reads++, inner.read(logId, range)) }, inner)
    const history = await open({ store, clock, idleMs: 1_000 })
    await history.createSession('ada', 's1')
    const session = await history.appendMessage(ADA, text('one'))
    expect(callbacks.length).toBeGreaterThan(0)
    for (now = 0; now <= 10_000; now += 500) {
      const due = callbacks
      callbacks = []
      for (const callback of due) callback()
    }
    reads = 0
    expect(await history.getSession('ada', 's1')).toEqual(session)
    expect(reads).toBeGreaterThan(0)
    await history.stop()
  })

  it('store gets what it stores in one batch for all that arrived while the last was being stored', async () => {
    const inner = memoryStore()
    const batches: number[] = []
    const store = hooked(
      {
        append: (commits: readonly Commit[]) => {
          batches.push(commits.length)
          return inner.append(commits)
        }
      },
      inner
    )
    const history = await openAda({ store })
    batches.length = 0
    await Promise.all(Array.from({ length: 100 }, (_, i) => history.appendMessage(ADA, text(`${i}`))))
    expect(batches.reduce((sum, size) => sum + size, 0)).toBe(100)
    expect(batches.length).toBeLessThan(10)
  })
})
