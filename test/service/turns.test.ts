import { describe, expect, it } from 'vitest'
import { SimulatedClock } from 'xstate'
import {
  createSessionHistory,
  isTurnlogError,
  memoryStore,
  type Clock,
  type EventStore,
  type InspectionEvent,
  type SessionHistoryOptions,
  type SessionHistoryService,
  type Turn
} from '../../src/index.ts'
import {
  ADA,
  deferred,
  eventsOf,
  failureOf,
  fails,
  hooked,
  misuses,
  storesNothing,
  text,
  textsOf,
  typesOf,
  warnings
} from './kit.ts'

/** A service with one empty session, {@link ADA}, whose time goes on only when a test says so. */
async function begin(
  options: SessionHistoryOptions = {}
): Promise<{ history: SessionHistoryService; clock: SimulatedClock }> {
  const clock = new SimulatedClock()
  const history = await createSessionHistory({ clock: forTurnlog(clock), logger: warnings(), ...options })
  await history.createSession('ada', 's1')
  return { history, clock }
}

/** Two services over one store, as two processes have it. */
async function beginTwo(
  store: EventStore = memoryStore()
): Promise<{ one: SessionHistoryService; other: SessionHistoryService; clock: SimulatedClock }> {
  const { history: one, clock } = await begin({ store })
  const other = await createSessionHistory({ store, clock: forTurnlog(clock), logger: warnings() })
  return { one, other, clock }
}

function forTurnlog(clock: SimulatedClock): Clock {
  return {
    now: () => clock.now(),
    setTimeout: (callback, ms) => clock.setTimeout(callback, ms),
    clearTimeout: (timer) => clock.clearTimeout(timer as number)
  }
}

/** Lets happen what can happen without time going on. */
async function quiet(): Promise<void> {
  for (let i = 0; i < 200; i++) await Promise.resolve()
}

/** Whether a call has been answered by now. */
async function isAnswered(call: Promise<unknown>): Promise<boolean> {
  let answered = false
  const note = (): void => void (answered = true)
  call.then(note, note)
  await quiet()
  return answered
}

/** A clock by `clock`, and its timers that are set and have not fired. */
function counting(clock: SimulatedClock): { readonly counted: Clock; readonly timers: ReadonlySet<number> } {
  const timers = new Set<number>()
  const counted: Clock = {
    now: () => clock.now(),
    setTimeout: (callback, ms) => {
      const timer: number = clock.setTimeout(() => {
        timers.delete(timer)
        callback()
      }, ms)
      timers.add(timer)
      return timer
    },
    clearTimeout: (timer) => {
      timers.delete(timer as number)
      clock.clearTimeout(timer as number)
    }
  }
  return { counted, timers }
}

/** A store that others may write to, and that cannot tell of it. */
function withoutWatch(inner: EventStore = memoryStore()): EventStore {
  const { watch: _, ...rest } = inner
  return { ...rest, supports: { ...inner.supports, push: false } }
}

/** An inspector that notes how many sessions are in memory, each time. */
function noteActive(active: number[]): (event: InspectionEvent) => void {
  return (event) => {
    const { context } = (event.type === '@xstate.snapshot' ? event.snapshot : {}) as {
      context?: { activeSessions?: number }
    }
    if (context?.activeSessions !== undefined) active.push(context.activeSessions)
  }
}

const OTHERS: readonly [string, (history: SessionHistoryService) => Promise<unknown>][] = [
  ['appendMessage', (history) => history.appendMessage(ADA, text('other'))],
  ['putMessage', (history) => history.putMessage(ADA, { id: 'other', ...text('other') })],
  ['updateMetadata', (history) => history.updateMetadata(ADA, { set: { other: true } })],
  ['commit', (history) => history.commit(ADA, [{ type: 'truncate', length: 0 }])],
  ['rewind', (history) => history.rewind(ADA, 1)],
  ['undo', (history) => history.undo(ADA)],
  ['beginTurn', (history) => history.beginTurn(ADA)]
]

describe('while a turn is open', () => {
  it.each(OTHERS)('%s by anybody else is TURN_BUSY, with who holds it and until when', async (_, write) => {
    const { history } = await begin()
    const turn = await history.beginTurn(ADA, { owner: 'planner', ttlMs: 500 })
    await turn.append(text('mine'))
    const { id: turnId } = turn
    await storesNothing(history, () =>
      fails(() => write(history), 'TURN_BUSY', { turnId, owner: 'planner', expiresAt: 500 })
    )
  })

  it('the error has no owner where the turn has none', async () => {
    const { history } = await begin()
    await history.beginTurn(ADA)
    const error = await fails(() => history.appendMessage(ADA, text('other')), 'TURN_BUSY', { expiresAt: 60_000 })
    expect(error).not.toHaveProperty('owner')
  })

  it('everybody sees in the session who holds it and until when', async () => {
    const { one, other, clock } = await beginTwo()
    clock.increment(10)
    const turn = await one.beginTurn(ADA, { owner: 'planner', ttlMs: 100 })
    const shown = { id: turn.id, owner: 'planner', startedAt: 10, expiresAt: 110 }
    expect(turn.session.turn).toEqual(shown)
    expect((await one.getSession('ada', 's1'))?.turn).toEqual(shown)
    expect((await other.getSession('ada', 's1'))?.turn).toEqual(shown)
    expect(Object.isFrozen(turn.session.turn)).toBe(true)
    expect(structuredClone(turn.session).turn).toEqual(shown)
    clock.increment(50)
    await turn.append(text('mine'))
    expect((await other.getSession('ada', 's1'))?.turn).toEqual({ ...shown, expiresAt: 160 })
    await turn.end()
    expect(await other.getSession('ada', 's1')).not.toHaveProperty('turn')
    expect(turn.session).not.toHaveProperty('turn')
  })

  it('reads, forks, lists and subscriptions are free, and a fork has no turn', async () => {
    const { history } = await begin()
    const turn = await history.beginTurn(ADA)
    await turn.append(text('mine'))
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(['mine'])
    expect(await history.getSession('ada', 's1', { at: 1 })).toMatchObject({ messages: [] })
    const fork = await history.fork(ADA, { sessionId: 'branch' })
    expect(fork).not.toHaveProperty('turn')
    expect(textsOf(await history.appendMessage(fork, text('there')))).toEqual(['mine', 'there'])
    expect(await history.listSessions('ada')).toHaveLength(2)
    expect(await eventsOf(history)).toHaveLength(3)
    await turn.end()
  })

  it('a commit without effect of somebody else is TURN_BUSY no more than it is stored', async () => {
    const { history } = await begin()
    await history.beginTurn(ADA)
    await storesNothing(history, () => history.appendMessage(ADA, []))
  })

  it('its id lets nobody else in', async () => {
    const { history } = await begin()
    const { id: turnId } = await history.beginTurn(ADA)
    const options = { turnId } as object
    await storesNothing(history, async () => {
      await fails(() => history.appendMessage(ADA, text('x'), options), 'TURN_BUSY')
      await fails(() => history.putMessage(ADA, { id: 'x', ...text('x') }, options), 'TURN_BUSY')
      await fails(() => history.commit(ADA, [{ type: 'append', messages: [text('x')] }], options), 'TURN_BUSY')
    })
  })

  it('a repeated call with an idempotency key from before is answered', async () => {
    const { history } = await begin()
    await history.appendMessage(ADA, text('before'), { idempotencyKey: 'k' })
    await history.beginTurn(ADA)
    const again = await history.appendMessage(ADA, text('before'), { idempotencyKey: 'k' })
    expect(again?.version).toBe(2)
  })

  it('of two turns that begin at once one is TURN_BUSY, in one service and in two', async () => {
    const { one, other } = await beginTwo()
    const results = await Promise.allSettled([one.beginTurn(ADA), other.beginTurn(ADA), one.beginTurn(ADA)])
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const result of results) {
      if (result.status === 'rejected') expect(isTurnlogError(result.reason, 'TURN_BUSY')).toBe(true)
    }
    expect(await typesOf(one)).toEqual(['created', 'turn-started'])
  })
})

describe('a turn', () => {
  it('writes by append, put and commit, as the calls of the service do', async () => {
    const { history } = await begin()
    const turn = await history.beginTurn(ADA)
    await turn.append(text('one'))
    await turn.append([text('two'), text('three')])
    await turn.put({ id: 'p', ...text('put') })
    const session = await turn.commit([
      { type: 'truncate', length: 2 },
      { type: 'metadata', set: { title: 'T' } }
    ])
    expect(turn.session).toBe(session)
    expect(textsOf(session)).toEqual(['one', 'two'])
    expect(session.metadata).toEqual({ title: 'T' })
    await turn.end()
    const events = await eventsOf(history)
    expect(events.slice(1).every(({ turnId }) => turnId === turn.id)).toBe(true)
    expect(events[0]).not.toHaveProperty('turnId')
  })

  it('costs two events: its start and its end', async () => {
    const { history } = await begin()
    const turn = await history.beginTurn(ADA, { owner: 'planner', ttlMs: 7 })
    await turn.append(text('one'))
    await turn.end()
    expect(await eventsOf(history)).toMatchObject([
      { type: 'created' },
      { type: 'turn-started', data: { turnId: turn.id, owner: 'planner', ttlMs: 7 } },
      { type: 'message-appended' },
      { type: 'turn-ended', data: { turnId: turn.id, outcome: 'completed' } }
    ])
  })

  it('takes the options of writes', async () => {
    const { history } = await begin()
    const turn = await history.beginTurn(ADA)
    await fails(() => turn.append(text('x'), { expectedVersion: 1 }), 'VERSION_CONFLICT', { expected: 1, actual: 2 })
    const first = await turn.append(text('x'), { expectedVersion: 2, idempotencyKey: 'k' })
    expect(await turn.append(text('x'), { idempotencyKey: 'k' })).toEqual(first)
    await fails(() => turn.append(text('y'), { idempotencyKey: 'k' }), 'IDEMPOTENCY_CONFLICT')
    const reason = new Error('enough')
    expect(await failureOf(() => turn.append(text('z'), { signal: AbortSignal.abort(reason) }))).toBe(reason)
    expect(textsOf(turn.session)).toEqual(['x'])
  })

  it('keeps its newest session and its time where a call is a repeated one', async () => {
    const { history, clock } = await begin()
    await history.appendMessage(ADA, text('before'), { idempotencyKey: 'before' })
    const turn = await history.beginTurn(ADA, { ttlMs: 100 })
    const first = await turn.append(text('x'), { idempotencyKey: 'k' })
    clock.increment(90)
    const renewed = await turn.renew()
    clock.increment(20)
    expect(await turn.append(text('x'), { idempotencyKey: 'k' })).toEqual(first)
    expect((await turn.append(text('before'), { idempotencyKey: 'before' })).version).toBe(2)
    expect(turn.session).toBe(renewed)
    clock.increment(79)
    expect(turn.signal.aborted).toBe(false)
    clock.increment(1)
    expect(turn.signal.aborted).toBe(true)
  })

  it('is open after a write of its that failed', async () => {
    const { history } = await begin()
    const turn = await history.beginTurn(ADA)
    await fails(() => turn.append({ role: 'boss' } as never), 'INVALID_MESSAGE')
    expect(turn.signal.aborted).toBe(false)
    expect(textsOf(await turn.append(text('x')))).toEqual(['x'])
  })

  it('gives writes of no effect the session as it is', async () => {
    const { history } = await begin()
    const turn = await history.beginTurn(ADA)
    await storesNothing(history, () => turn.append([]))
    expect(turn.session.version).toBe(2)
  })

  it.each([0, -1, 1.5, Number.NaN, Infinity, '5'])('of ttlMs %j is misuse, and nothing is stored', async (ttlMs) => {
    const { history } = await begin()
    await storesNothing(history, () => misuses(() => history.beginTurn(ADA, { ttlMs: ttlMs as number }), 'ttlMs'))
  })

  it('with another onBusy or an owner that is no string is misuse', async () => {
    const { history } = await begin()
    await storesNothing(history, async () => {
      await misuses(() => history.beginTurn(ADA, { onBusy: 'explode' as never }), 'onBusy')
      await misuses(() => history.beginTurn(ADA, { owner: 5 as never }), 'owner')
      await misuses(() => history.appendMessage(ADA, text('x'), { onBusy: 'takeover' as never }), 'onBusy')
    })
  })

  it('needs a session: SESSION_NOT_FOUND where there is none, whatever missing says', async () => {
    const { history } = await begin({ missing: { append: 'create' } })
    await fails(() => history.beginTurn({ userId: 'ada', id: 'none' }), 'SESSION_NOT_FOUND')
    expect(await eventsOf(history, { userId: 'ada', id: 'none' })).toEqual([])
    await history.deleteSession('ada', 's1')
    await storesNothing(history, () => fails(() => history.beginTurn(ADA), 'SESSION_NOT_FOUND'))
  })

  it('may rewind by commit', async () => {
    const { history } = await begin()
    const turn = await history.beginTurn(ADA)
    await turn.append(text('one'))
    const { version } = turn.session
    await turn.append(text('two'))
    expect(textsOf(await turn.commit([{ type: 'rewind', toVersion: version }]))).toEqual(['one'])
    expect(turn.session.turn?.id).toBe(turn.id)
  })

  it('is fine with expectations of others', async () => {
    const { history } = await begin()
    await history.beginTurn(ADA)
    await fails(() => history.appendMessage(ADA, text('x'), { expectedVersion: 1 }), 'VERSION_CONFLICT', { actual: 2 })
  })
})

describe('an end', () => {
  it('lets others write, and the turn is TURN_ENDED from then on', async () => {
    const { history } = await begin()
    const turn = await history.beginTurn(ADA)
    await turn.append(text('mine'))
    await turn.end()
    expect(textsOf(await history.appendMessage(ADA, text('theirs')))).toEqual(['mine', 'theirs'])
    const { id: turnId } = turn
    await storesNothing(history, async () => {
      await fails(() => turn.append(text('late')), 'TURN_ENDED', { turnId })
      await fails(() => turn.put({ id: 'x', ...text('late') }), 'TURN_ENDED', { turnId })
      await fails(() => turn.commit([]), 'TURN_ENDED', { turnId })
      await fails(() => turn.renew(), 'TURN_ENDED', { turnId })
      await fails(() => turn.end(), 'TURN_ENDED', { turnId })
      await fails(() => turn.abort(), 'TURN_ENDED', { turnId })
      await turn[Symbol.asyncDispose]()
    })
  })

  it('aborts the signal with TURN_ENDED, once', async () => {
    const { history } = await begin()
    const turn = await history.beginTurn(ADA)
    let aborts = 0
    turn.signal.addEventListener('abort', () => aborts++)
    expect(turn.signal.aborted).toBe(false)
    await turn.end()
    expect(isTurnlogError(turn.signal.reason, 'TURN_ENDED')).toBe(true)
    expect(aborts).toBe(1)
  })

  it('comes after the writes that were called before it, and before those called after it', async () => {
    const { history } = await begin()
    const turn = await history.beginTurn(ADA)
    const written = turn.append(text('in time'))
    const end = turn.end()
    const late = failureOf(() => turn.append(text('late')))
    expect(textsOf(await end)).toEqual(['in time'])
    await written
    expect(isTurnlogError(await late, 'TURN_ENDED')).toBe(true)
  })

  it('leaves no timer behind', async () => {
    const { counted, timers } = counting(new SimulatedClock())
    const { history } = await begin({ clock: counted, idleMs: Infinity })
    const turn = await history.beginTurn(ADA)
    expect(turn.signal.aborted).toBe(false)
    const waiting = history.appendMessage(ADA, text('waits'), { onBusy: 'wait' })
    await quiet()
    await turn.append(text('mine'))
    await turn.renew()
    expect(timers.size).toBe(2)
    await turn.end()
    await waiting
    expect(timers.size).toBe(0)
    const aborted = await history.beginTurn(ADA)
    expect(aborted.signal.aborted).toBe(false)
    await aborted.abort()
    expect(timers.size).toBe(0)
    const fenced = await history.beginTurn(ADA)
    expect(fenced.signal.aborted).toBe(false)
    await history.beginTurn(ADA, { onBusy: 'takeover' }).then((other) => other.end())
    expect(timers.size).toBe(0)
    await history.stop()
  })

  it('may be tried again where the store did not store it', async () => {
    const inner = memoryStore()
    const hooks: Parameters<typeof hooked>[0] = {}
    const { history } = await begin({ store: hooked(hooks, inner) })
    const turn = await history.beginTurn(ADA)
    hooks.append = async () => [{ status: 'failed', error: new Error('full'), outcome: 'not-stored' }]
    await fails(() => turn.end(), 'STORE_UNAVAILABLE')
    delete hooks.append
    expect(turn.signal.aborted).toBe(false)
    await turn.end()
    expect(await typesOf(history)).toEqual(['created', 'turn-started', 'turn-ended'])
  })
})

describe('an end that was stored, and whose answer was lost', () => {
  /** A turn whose next append is stored, while the store answers nothing more until `heal`. */
  async function losing(): Promise<{ history: SessionHistoryService; turn: Turn; lose: () => void; heal: () => void }> {
    const inner = memoryStore()
    const hooks: Parameters<typeof hooked>[0] = {}
    const { history } = await begin({ store: hooked(hooks, inner) })
    const turn = await history.beginTurn(ADA)
    await turn.append(text('mine'))
    const lose = (): void => {
      hooks.append = async (commits) => {
        hooks.head = () => Promise.reject(new Error('away'))
        await inner.append(commits)
        throw new Error('the answer was lost')
      }
    }
    const heal = (): void => {
      delete hooks.append
      delete hooks.head
    }
    return { history, turn, lose, heal }
  }

  it.each(['end', 'abort'] as const)('gives the session of then when %s is called again', async (name) => {
    const { history, turn, lose, heal } = await losing()
    lose()
    await fails(() => turn[name](), 'STORE_UNAVAILABLE', { outcome: 'unknown' })
    heal()
    const { version } = (await history.getSession('ada', 's1'))!
    await history.appendMessage(ADA, text('theirs'))
    const session = await storesNothing(history, () => turn[name]())
    expect(session.version).toBe(version)
    expect(textsOf(session)).toEqual(name === 'end' ? ['mine'] : [])
    await fails(() => turn[name](), 'TURN_ENDED')
  })

  it('is TURN_ENDED for all else that its holder does, and disposing it changes nothing', async () => {
    const { history, turn, lose, heal } = await losing()
    lose()
    await fails(() => turn.end(), 'STORE_UNAVAILABLE')
    heal()
    await storesNothing(history, async () => {
      await fails(() => turn.append(text('late')), 'TURN_ENDED', { turnId: turn.id })
      await fails(() => turn.abort(), 'TURN_ENDED')
      await turn[Symbol.asyncDispose]()
    })
  })
})

describe('an abort', () => {
  it('sets messages and metadata back to where the turn began, in one commit', async () => {
    const { history } = await begin()
    await history.commit(ADA, [
      { type: 'append', messages: [text('before')] },
      { type: 'metadata', set: { title: 'before' } }
    ])
    const before = await history.getSession('ada', 's1')
    const turn = await history.beginTurn(ADA)
    await turn.append(text('mine'))
    await turn.commit([{ type: 'metadata', set: { title: 'mine', more: 1 } }])
    const session = await turn.abort()
    expect(session.messages).toEqual(before?.messages)
    expect(session.metadata).toEqual(before?.metadata)
    expect(session).not.toHaveProperty('turn')
    const events = (await eventsOf(history)).slice(-2)
    expect(events).toMatchObject([
      { type: 'rewound', data: { toVersion: 4, kind: 'abort' }, turnId: turn.id },
      { type: 'turn-ended', data: { turnId: turn.id, outcome: 'aborted' }, turnId: turn.id }
    ])
    expect(events[0]?.commitId).toBe(events[1]?.commitId)
    expect(isTurnlogError(turn.signal.reason, 'TURN_ENDED')).toBe(true)
  })

  it('with keep only ends', async () => {
    const { history } = await begin()
    const turn = await history.beginTurn(ADA)
    await turn.append(text('mine'))
    expect(textsOf(await turn.abort({ keep: true }))).toEqual(['mine'])
    expect(await typesOf(history)).toEqual(['created', 'turn-started', 'message-appended', 'turn-ended'])
  })

  it('of a turn that wrote nothing only ends', async () => {
    const { history } = await begin()
    const turn = await history.beginTurn(ADA)
    await turn.abort()
    expect(await eventsOf(history)).toMatchObject([{}, {}, { type: 'turn-ended', data: { outcome: 'aborted' } }])
  })

  it('goes back to where the turn began also after a renewal', async () => {
    const { history } = await begin()
    const turn = await history.beginTurn(ADA)
    await turn.append(text('mine'))
    await turn.renew()
    await turn.append(text('mine, too'))
    expect(textsOf(await turn.abort())).toEqual([])
  })

  it('leaves what can be undone as it was before the turn', async () => {
    const { history } = await begin()
    await history.appendMessage(ADA, text('one'))
    await history.appendMessage(ADA, text('two'))
    const turn = await history.beginTurn(ADA)
    await turn.append(text('mine'))
    await turn.abort()
    expect(textsOf(await history.undo(ADA))).toEqual(['one'])
    expect(textsOf(await history.redo(ADA))).toEqual(['one', 'two'])
  })

  it('does so also where the turn came back to the same content by itself', async () => {
    const { history } = await begin()
    await history.appendMessage(ADA, text('one'))
    await history.appendMessage(ADA, text('two'))
    await history.undo(ADA)
    const turn = await history.beginTurn(ADA)
    await turn.commit([{ type: 'rewind', toVersion: 1 }])
    await turn.commit([{ type: 'rewind', toVersion: 2 }])
    expect(textsOf(await turn.abort())).toEqual(['one'])
    expect(textsOf(await history.redo(ADA))).toEqual(['one', 'two'])
    await history.undo(ADA)
    expect(textsOf(await history.undo(ADA))).toEqual([])
  })

  it.each([0, 'yes', null])('with keep %j is misuse', async (keep) => {
    const { history } = await begin()
    const turn = await history.beginTurn(ADA)
    await storesNothing(history, async () => {
      await misuses(() => turn.abort({ keep: keep as never }), 'keep must be a boolean')
      await misuses(() => turn.abort(keep as never), 'options must be an object')
    })
    await turn.abort({ keep: undefined })
  })

  it('is what disposing an open turn does', async () => {
    const { history } = await begin()
    const use = async (): Promise<void> => {
      await using turn = await history.beginTurn(ADA)
      await turn.append(text('mine'))
      throw new Error('the agent failed')
    }
    await expect(use()).rejects.toThrow('the agent failed')
    expect(await history.getSession('ada', 's1')).toMatchObject({ messages: [] })
    expect((await eventsOf(history)).at(-1)).toMatchObject({ type: 'turn-ended', data: { outcome: 'aborted' } })
  })

  it('is not what disposing an ended, kept or fenced turn does', async () => {
    const { history } = await begin()
    {
      await using turn = await history.beginTurn(ADA)
      await turn.append(text('ended'))
      await turn.end()
    }
    {
      await using turn = await history.beginTurn(ADA)
      await turn.append(text('kept'))
      await turn.abort({ keep: true })
    }
    {
      await using turn = await history.beginTurn(ADA)
      await turn.append(text('fenced'))
      await history.beginTurn(ADA, { onBusy: 'takeover' }).then((other) => other.end())
    }
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(['ended', 'kept', 'fenced'])
  })
})

describe('waiting', () => {
  it('is for the end of the turn, in order of arrival, writes and turns alike', async () => {
    const { history } = await begin()
    const turn = await history.beginTurn(ADA)
    const order: string[] = []
    const note = <T>(name: string, call: Promise<T>): Promise<T> =>
      call.then((value) => {
        order.push(name)
        return value
      })
    const first = note('first', history.appendMessage(ADA, text('first'), { onBusy: 'wait' }))
    const second = note('second', history.beginTurn(ADA, { onBusy: 'wait', owner: 'second' }))
    const third = note('third', history.putMessage(ADA, { id: '3', ...text('third') }, { onBusy: 'wait' }))
    const fourth = note('fourth', history.beginTurn(ADA, { onBusy: 'wait' }))
    const fifth = note('fifth', history.updateMetadata(ADA, { set: { fifth: true } }, { onBusy: 'wait' }))
    expect(await isAnswered(Promise.race([first, second, third, fourth, fifth]))).toBe(false)
    await turn.append(text('mine'))
    expect(await isAnswered(first)).toBe(false)
    await turn.end()
    const held = await second
    expect(await isAnswered(third)).toBe(false)
    expect(textsOf(held.session)).toEqual(['mine', 'first'])
    await held.append(text('second'))
    await held.end()
    const last = await fourth
    expect(await isAnswered(fifth)).toBe(false)
    expect(textsOf(last.session)).toEqual(['mine', 'first', 'second', 'third'])
    await last.end()
    await fifth
    expect(order).toEqual(['first', 'second', 'third', 'fourth', 'fifth'])
  })

  it('goes before a call that comes when the turn has ended', async () => {
    const { history } = await begin()
    const turn = await history.beginTurn(ADA)
    const waits = history.appendMessage(ADA, text('waits'), { onBusy: 'wait' })
    await quiet()
    const ends = turn.end()
    const later = history.appendMessage(ADA, text('later'))
    await Promise.allSettled([ends, waits, later])
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(['waits', 'later'])
  })

  it.each(['before the end', 'with the end'])('that began %s goes before what comes with the end', async (when) => {
    const { history } = await begin()
    const turn = await history.beginTurn(ADA)
    const waits = [1, 2].map((i) => history.appendMessage(ADA, text(`waits ${i}`), { onBusy: 'wait' }))
    if (when === 'before the end') await quiet()
    // The first keeps the store busy: what follows is decided at once.
    const writes = [turn.append(text('mine')), turn.end()]
    const later = [
      history.appendMessage(ADA, text('later')),
      history.appendMessage(ADA, text('waits 3'), { onBusy: 'wait' })
    ]
    await Promise.all([...waits, ...writes, ...later])
    const texts = textsOf(await history.getSession('ada', 's1'))
    expect(texts).toEqual(['mine', 'waits 1', 'waits 2', 'later', 'waits 3'])
  })

  it('goes before a turn that is begun with the end', async () => {
    const { history } = await begin()
    const turn = await history.beginTurn(ADA)
    const waits = history.beginTurn(ADA, { onBusy: 'wait', owner: 'first' })
    await quiet()
    const writes = [turn.append(text('mine')), turn.end()]
    const late = failureOf(() => history.beginTurn(ADA, { owner: 'late' }))
    await Promise.all(writes)
    expect((await waits).session.turn?.owner).toBe('first')
    expect(await late).toMatchObject({ code: 'TURN_BUSY', owner: 'first' })
  })

  it('stays in order where those who wait are decided anew while others begin to', async () => {
    const inner = memoryStore()
    const [told, reached, stored] = [deferred(), deferred(), deferred()]
    const hooks: Parameters<typeof hooked>[0] = {
      // Tells late of the version that the log had when the wait began.
      watch: async function* (key, signal) {
        for await (const version of inner.watch!(key, signal)) {
          await told.promise
          yield version
        }
      }
    }
    const { history } = await begin({ store: hooked(hooks, inner) })
    const turn = await history.beginTurn(ADA)
    const first = history.appendMessage(ADA, text('first'), { onBusy: 'wait' })
    await quiet()
    await turn.append(text('a'))
    let batches = 0
    hooks.append = async (commits) => {
      if (++batches === 2) {
        reached.resolve()
        await stored.promise
      }
      return inner.append(commits)
    }
    // The second is decided with `c`, and waits once that is stored.
    const [b, c] = [turn.append(text('b')), turn.append(text('c'))]
    const second = history.appendMessage(ADA, text('second'), { onBusy: 'wait' })
    await reached.promise
    told.resolve()
    await quiet()
    stored.resolve()
    await Promise.all([b, c])
    await quiet()
    await turn.end()
    await Promise.all([first, second])
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(['a', 'b', 'c', 'first', 'second'])
  })

  it('and a purge each come to their end where the turn expires while the store purges', async () => {
    const inner = memoryStore()
    const hooks: Parameters<typeof hooked>[0] = {}
    const { history, clock } = await begin({ store: hooked(hooks, inner) })
    await history.beginTurn(ADA, { ttlMs: 100 })
    const waits = history.appendMessage(ADA, text('waits'), { onBusy: 'wait' })
    await quiet()
    let purges = 0
    let open = (): void => undefined
    hooks.purge = async (key) => {
      purges++
      await new Promise<void>((resolve) => (open = resolve))
      return inner.purge(key)
    }
    const purged = history.purgeSession('ada', 's1')
    await quiet()
    clock.increment(100)
    open()
    await purged
    expect(await waits).toBeNull()
    expect(purges).toBe(1)
  })

  it.each(['its end', 'its cancellation', 'stop', 'a failure of the store'])(
    'leaves no timer and no watch after %s',
    async (how) => {
      const inner = memoryStore()
      let watching = 0
      const hooks: Parameters<typeof hooked>[0] = {
        watch: async function* (key, signal) {
          watching++
          yield* inner.watch!(key, signal)
          watching--
        }
      }
      const { counted, timers } = counting(new SimulatedClock())
      const { history } = await begin({ store: hooked(hooks, inner), clock: counted, idleMs: Infinity })
      const turn = await history.beginTurn(ADA)
      const cancel = new AbortController()
      const options = { onBusy: 'wait', signal: cancel.signal } as const
      const waits = [1, 2].map(() =>
        history.appendMessage(ADA, text('waits'), options).catch((error: unknown) => error)
      )
      await quiet()
      expect([timers.size, watching]).toEqual([1, 1])
      if (how === 'its end') await turn.end()
      if (how === 'its cancellation') cancel.abort()
      if (how === 'stop') await history.stop()
      if (how === 'a failure of the store') {
        hooks.append = () => Promise.reject(new Error('away'))
        hooks.head = () => Promise.reject(new Error('away'))
        await fails(() => turn.append(text('mine')), 'STORE_UNAVAILABLE')
      }
      await Promise.all(waits)
      await quiet()
      expect([timers.size, watching]).toEqual([0, 0])
    }
  )

  it('that was cancelled does not keep its session in memory', async () => {
    const store = memoryStore()
    const { history, clock } = await begin({ store })
    await history.beginTurn(ADA)
    const active: number[] = []
    const options = { store, clock: forTurnlog(clock), idleMs: 1_000, logger: warnings(), inspect: noteActive(active) }
    const other = await createSessionHistory(options)
    const cancel = new AbortController()
    const waits = failureOf(() => other.appendMessage(ADA, text('x'), { onBusy: 'wait', signal: cancel.signal }))
    await quiet()
    expect(active.at(-1)).toBe(1)
    cancel.abort()
    await waits
    clock.increment(1_000)
    expect(active.at(-1)).toBe(0)
  })

  it('may be for undo, redo and rewind, too', async () => {
    const { history } = await begin()
    await history.appendMessage(ADA, text('one'))
    const turn = await history.beginTurn(ADA)
    const undone = history.undo(ADA, { onBusy: 'wait' })
    const redone = history.redo(ADA, { onBusy: 'wait' })
    const rewound = history.rewind(ADA, 1, { onBusy: 'wait' })
    expect(await isAnswered(Promise.race([undone, redone, rewound]))).toBe(false)
    await turn.end()
    expect(textsOf(await undone)).toEqual([])
    expect(textsOf(await redone)).toEqual(['one'])
    expect(textsOf(await rewound)).toEqual([])
  })

  it('ends when the turn expires', async () => {
    const { history, clock } = await begin()
    const turn = await history.beginTurn(ADA, { ttlMs: 100 })
    const waits = history.appendMessage(ADA, text('waits'), { onBusy: 'wait' })
    clock.increment(60)
    await turn.renew()
    clock.increment(60)
    expect(await isAnswered(waits)).toBe(false)
    clock.increment(39)
    expect(await isAnswered(waits)).toBe(false)
    clock.increment(1)
    expect(textsOf(await waits)).toEqual(['waits'])
    expect((await eventsOf(history)).slice(-2)).toMatchObject([
      { type: 'turn-ended', data: { turnId: turn.id, outcome: 'expired' } },
      { type: 'message-appended' }
    ])
  })

  it('goes before a call that comes when the turn has expired and no timer has told of it yet', async () => {
    let now = 1_000
    const history = await createSessionHistory({
      clock: { now: () => now, setTimeout: () => undefined, clearTimeout: () => undefined },
      logger: warnings()
    })
    await history.createSession('ada', 's1')
    await history.beginTurn(ADA, { ttlMs: 100 })
    const waits = history.appendMessage(ADA, text('waits'), { onBusy: 'wait' })
    await quiet()
    now += 100
    const later = history.appendMessage(ADA, text('later'))
    await Promise.all([waits, later])
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(['waits', 'later'])
  })

  it('ends with a takeover only when that turn has ended, too', async () => {
    const { history } = await begin()
    await history.beginTurn(ADA)
    const waits = history.appendMessage(ADA, text('waits'), { onBusy: 'wait' })
    await quiet()
    const other = await history.beginTurn(ADA, { onBusy: 'takeover' })
    expect(await isAnswered(waits)).toBe(false)
    await other.end()
    expect(textsOf(await waits)).toEqual(['waits'])
  })

  it.each([
    ['deleted', 'SESSION_NOT_FOUND'],
    ['purged', 'SESSION_NOT_FOUND']
  ] as const)('for a session that is %s is %s', async (how, code) => {
    const { history } = await begin()
    await history.beginTurn(ADA)
    const waits = failureOf(() => history.beginTurn(ADA, { onBusy: 'wait' }))
    const written = history.appendMessage(ADA, text('x'), { onBusy: 'wait' })
    await quiet()
    await (how === 'deleted' ? history.deleteSession('ada', 's1') : history.purgeSession('ada', 's1'))
    expect(isTurnlogError(await waits, code)).toBe(true)
    expect(await written).toBeNull()
  })

  it('for a session that starts over goes on in the new one', async () => {
    const { history } = await begin()
    const turn = await history.beginTurn(ADA)
    await turn.append(text('old'))
    const waits = history.appendMessage(ADA, text('waits'), { onBusy: 'wait' })
    await quiet()
    await history.createSession('ada', 's1')
    expect(textsOf(await waits)).toEqual(['waits'])
  })

  it('is cancelled by its signal, with its reason, and nothing is stored', async () => {
    const { history } = await begin()
    const turn = await history.beginTurn(ADA)
    const [write, start] = [new AbortController(), new AbortController()]
    const written = failureOf(() => history.appendMessage(ADA, text('x'), { onBusy: 'wait', signal: write.signal }))
    const started = failureOf(() => history.beginTurn(ADA, { onBusy: 'wait', signal: start.signal }))
    const last = history.appendMessage(ADA, text('last'), { onBusy: 'wait' })
    await quiet()
    const reasons = [new Error('one'), new Error('two')]
    await storesNothing(history, async () => {
      write.abort(reasons[0])
      start.abort(reasons[1])
      expect(await written).toBe(reasons[0])
      expect(await started).toBe(reasons[1])
    })
    await turn.end()
    expect(textsOf(await last)).toEqual(['last'])
    await history.beginTurn(ADA)
  })

  it('is STOPPED when the service stops, and stop does not hang', async () => {
    const { history } = await begin()
    const turn = await history.beginTurn(ADA)
    const waits = [
      failureOf(() => history.appendMessage(ADA, text('x'), { onBusy: 'wait' })),
      failureOf(() => history.beginTurn(ADA, { onBusy: 'wait' }))
    ]
    await quiet()
    await history.stop()
    for (const error of await Promise.all(waits)) expect(isTurnlogError(error, 'STOPPED')).toBe(true)
    await fails(() => turn.append(text('late')), 'STOPPED')
    await history.start()
    await fails(() => history.appendMessage(ADA, text('x')), 'TURN_BUSY')
    expect(textsOf(await turn.append(text('still mine')))).toEqual(['still mine'])
    await turn.end()
  })

  it('is STOPPED also where the call was made just before stop', async () => {
    const { history } = await begin()
    await history.beginTurn(ADA)
    const waits = failureOf(() => history.appendMessage(ADA, text('x'), { onBusy: 'wait' }))
    await history.stop()
    expect(isTurnlogError(await waits, 'STOPPED')).toBe(true)
  })

  it('holds up neither other sessions nor writers who do not wait', async () => {
    const { history } = await begin()
    await history.beginTurn(ADA)
    const waits = history.appendMessage(ADA, text('x'), { onBusy: 'wait' })
    await quiet()
    await fails(() => history.appendMessage(ADA, text('y')), 'TURN_BUSY')
    await history.createSession('ada', 'other')
    expect(await isAnswered(waits)).toBe(false)
  })

  it('is all that its signal cancels: the turn can be renewed afterwards', async () => {
    const { history } = await begin()
    const stop = new AbortController()
    const turn = await history.beginTurn(ADA, { onBusy: 'wait', signal: stop.signal })
    stop.abort(new Error('no longer wanted'))
    const { version } = await turn.renew()
    expect(version).toBe(3)
    expect(turn.signal.aborted).toBe(false)
    await misuses(() => history.beginTurn(ADA, { signal: {} as AbortSignal }), 'signal must be an AbortSignal')
  })

  it('survives many who wait', async () => {
    const { history } = await begin()
    const turn = await history.beginTurn(ADA)
    const waits = Array.from({ length: 200 }, (_, i) =>
      i % 2 === 0
        ? history.appendMessage(ADA, text(`${i}`), { onBusy: 'wait' })
        : history.beginTurn(ADA, { onBusy: 'wait' }).then(async (own) => {
            await own.append(text(`${i}`))
            return own.end()
          })
    )
    await turn.end()
    await Promise.all(waits)
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(Array.from({ length: 200 }, (_, i) => `${i}`))
  })
})

describe('a takeover', () => {
  it('fences the holder: TURN_FENCED, and its signal is aborted at once', async () => {
    const { history } = await begin()
    const turn = await history.beginTurn(ADA, { owner: 'slow' })
    await turn.append(text('slow'))
    const other = await history.beginTurn(ADA, { onBusy: 'takeover', owner: 'quick' })
    expect(isTurnlogError(turn.signal.reason, 'TURN_FENCED')).toBe(true)
    const { id: turnId } = turn
    await storesNothing(history, async () => {
      await fails(() => turn.append(text('late')), 'TURN_FENCED', { turnId })
      await fails(() => turn.renew(), 'TURN_FENCED', { turnId })
      await fails(() => turn.end(), 'TURN_FENCED', { turnId })
    })
    expect(other.signal.aborted).toBe(false)
    expect(textsOf(await other.append(text('quick')))).toEqual(['slow', 'quick'])
    const [, , , ended, started] = await eventsOf(history)
    expect(ended).toMatchObject({ type: 'turn-ended', data: { turnId, outcome: 'taken-over' } })
    expect(started).toMatchObject({ type: 'turn-started', data: { owner: 'quick' } })
    expect(ended?.commitId).toBe(started?.commitId)
  })

  it.each(['end', 'abort'] as const)('stays TURN_FENCED for its holder after %s', async (name) => {
    const { history } = await begin()
    const turn = await history.beginTurn(ADA)
    const { signal, id: turnId } = turn
    const takeover = history.beginTurn(ADA, { onBusy: 'takeover' })
    await fails(() => turn[name](), 'TURN_FENCED', { turnId })
    await takeover
    await storesNothing(history, async () => {
      await fails(() => turn.append(text('late')), 'TURN_FENCED', { turnId })
      await fails(() => turn[name](), 'TURN_FENCED', { turnId })
      await turn[Symbol.asyncDispose]()
    })
    expect(isTurnlogError(signal.reason, 'TURN_FENCED')).toBe(true)
  })

  it('where there is no turn just begins one', async () => {
    const { history } = await begin()
    await history.beginTurn(ADA, { onBusy: 'takeover' })
    expect(await typesOf(history)).toEqual(['created', 'turn-started'])
  })

  it('by another process fences the holder at its next call', async () => {
    const { one, other } = await beginTwo()
    const turn = await one.beginTurn(ADA)
    await turn.append(text('one'))
    const taken = await other.beginTurn(ADA, { onBusy: 'takeover' })
    await storesNothing(other, () => fails(() => turn.append(text('late')), 'TURN_FENCED', { turnId: turn.id }))
    expect(isTurnlogError(turn.signal.reason, 'TURN_FENCED')).toBe(true)
    expect(textsOf(await taken.append(text('other')))).toEqual(['one', 'other'])
    await turn[Symbol.asyncDispose]()
    expect(textsOf(await one.getSession('ada', 's1'))).toEqual(['one', 'other'])
  })

  it('by another process aborts the signal as soon as this one notices', async () => {
    const { one, other } = await beginTwo()
    const turn = await one.beginTurn(ADA)
    await other.beginTurn(ADA, { onBusy: 'takeover' })
    await one.getSession('ada', 's1')
    expect(isTurnlogError(turn.signal.reason, 'TURN_FENCED')).toBe(true)
  })

  it('at once with a write of the holder leaves no write of the holder after it', async () => {
    const { one, other } = await beginTwo()
    const turn = await one.beginTurn(ADA)
    const writes = Array.from({ length: 10 }, (_, i) => turn.append(text(`${i}`)))
    const taken = other.beginTurn(ADA, { onBusy: 'takeover' })
    await Promise.allSettled(writes)
    const { id } = await taken
    const events = await eventsOf(other)
    const start = events.findIndex(({ type, turnId }) => type === 'turn-started' && turnId === id)
    expect(events.slice(start).every(({ turnId }) => turnId === id)).toBe(true)
  })
})

describe('expiry', () => {
  it('is ttlMs after the newest event of the turn, and then others may write', async () => {
    const { history, clock } = await begin()
    const turn = await history.beginTurn(ADA, { ttlMs: 100 })
    clock.increment(99)
    await fails(() => history.appendMessage(ADA, text('early')), 'TURN_BUSY', { expiresAt: 100 })
    await turn.append(text('mine'))
    clock.increment(99)
    await fails(() => history.appendMessage(ADA, text('early')), 'TURN_BUSY', { expiresAt: 199 })
    await turn.renew()
    clock.increment(99)
    expect(turn.signal.aborted).toBe(false)
    await fails(() => history.appendMessage(ADA, text('early')), 'TURN_BUSY', { expiresAt: 298 })
    clock.increment(1)
    expect(isTurnlogError(turn.signal.reason, 'TURN_FENCED')).toBe(true)
    expect(textsOf(await history.appendMessage(ADA, text('theirs')))).toEqual(['mine', 'theirs'])
    await storesNothing(history, () => fails(() => turn.append(text('late')), 'TURN_FENCED', { turnId: turn.id }))
  })

  it('aborts the signal whenever it was first asked for', async () => {
    const { history, clock } = await begin()
    const turn = await history.beginTurn(ADA, { ttlMs: 100 })
    const { signal } = turn
    clock.increment(50)
    await turn.renew()
    clock.increment(99)
    expect(signal.aborted).toBe(false)
    clock.increment(1)
    expect(signal.aborted).toBe(true)
    const late = await history.beginTurn(ADA, { ttlMs: 100 })
    clock.increment(100)
    expect(isTurnlogError(late.signal.reason, 'TURN_FENCED')).toBe(true)
    const fenced = await history.beginTurn(ADA)
    await history.beginTurn(ADA, { onBusy: 'takeover' })
    await fails(() => fenced.end(), 'TURN_FENCED')
    expect(isTurnlogError(fenced.signal.reason, 'TURN_FENCED')).toBe(true)
  })

  it('is 60 seconds by default', async () => {
    const { history, clock } = await begin()
    await history.beginTurn(ADA)
    clock.increment(59_999)
    await fails(() => history.beginTurn(ADA), 'TURN_BUSY')
    clock.increment(1)
    await history.beginTurn(ADA)
  })

  it('lets the holder go on where nobody else has written', async () => {
    const { one, other, clock } = await beginTwo()
    const turn = await one.beginTurn(ADA, { ttlMs: 100 })
    clock.increment(1_000)
    expect(textsOf(await turn.append(text('late, but first')))).toEqual(['late, but first'])
    expect((await other.getSession('ada', 's1'))?.turn).toMatchObject({ id: turn.id, expiresAt: 1_100 })
    await fails(() => other.appendMessage(ADA, text('x')), 'TURN_BUSY')
    clock.increment(1_000)
    await turn.renew()
    clock.increment(1_000)
    expect(textsOf(await turn.end())).toEqual(['late, but first'])
  })

  it('ends the turn for all when another process has written: TURN_FENCED', async () => {
    const { one, other, clock } = await beginTwo()
    const turn = await one.beginTurn(ADA, { ttlMs: 100 })
    clock.increment(100)
    await other.appendMessage(ADA, text('theirs'))
    await fails(() => turn.append(text('late')), 'TURN_FENCED', { turnId: turn.id })
    await fails(() => turn.end(), 'TURN_FENCED')
    expect(textsOf(await one.getSession('ada', 's1'))).toEqual(['theirs'])
  })

  it('aborts the signal of a turn that began again with another ttlMs only then', async () => {
    const { history, clock } = await begin()
    const short = await history.beginTurn(ADA, { ttlMs: 10 })
    clock.increment(10)
    const long = await history.beginTurn(ADA, { ttlMs: 1_000 })
    expect(isTurnlogError(short.signal.reason, 'TURN_FENCED')).toBe(true)
    clock.increment(999)
    expect(long.signal.aborted).toBe(false)
    clock.increment(1)
    expect(long.signal.aborted).toBe(true)
  })

  it('of more ms than a timer can wait does not come early', async () => {
    const { history, clock } = await begin()
    const turn = await history.beginTurn(ADA, { ttlMs: 2 ** 32 })
    const waits = history.appendMessage(ADA, text('waits'), { onBusy: 'wait' })
    await quiet()
    clock.increment(2 ** 31)
    expect(await isAnswered(waits)).toBe(false)
    expect(turn.signal.aborted).toBe(false)
    clock.increment(2 ** 31)
    await quiet()
    expect(await isAnswered(waits)).toBe(true)
  })

  it('is at the last date that there is at the latest', async () => {
    const store = memoryStore()
    const { history, clock } = await begin({ store })
    clock.increment(1_000)
    const turn = await history.beginTurn(ADA, { ttlMs: Number.MAX_SAFE_INTEGER })
    const expiresAt = 8_640_000_000_000_000
    expect(turn.session.turn?.expiresAt).toBe(expiresAt)
    expect(turn.signal.aborted).toBe(false)
    await turn.append(text('mine'))
    await fails(() => history.appendMessage(ADA, text('x')), 'TURN_BUSY', { expiresAt })
    const other = await createSessionHistory({ store, clock: forTurnlog(clock), logger: warnings() })
    await fails(() => other.appendMessage(ADA, text('x')), 'TURN_BUSY', { expiresAt })
    await turn.end()
  })

  it('is told as such by the reason of the signal, whenever that was first asked for, and stays', async () => {
    const { history, clock } = await begin()
    for (const isEager of [true, false]) {
      const turn = await history.beginTurn(ADA, { ttlMs: 100 })
      if (isEager) expect(turn.signal.aborted).toBe(false)
      clock.increment(100)
      await turn.append(text('late, but first'))
      expect(turn.signal.aborted).toBe(true)
      await history.beginTurn(ADA, { onBusy: 'takeover' }).then((other) => other.end())
      await fails(() => turn.append(text('too late')), 'TURN_FENCED')
      expect(turn.signal.reason).toMatchObject({ code: 'TURN_FENCED', message: 'The turn is over: it has expired' })
    }
  })

  it('is no later for those who wait where the holder cannot be told of time', async () => {
    const { history, clock } = await begin()
    await history.beginTurn(ADA, { ttlMs: 100 })
    const waits = history.beginTurn(ADA, { onBusy: 'wait', ttlMs: 100 })
    const next = history.appendMessage(ADA, text('x'), { onBusy: 'wait' })
    await quiet()
    clock.increment(100)
    await waits
    expect(await isAnswered(next)).toBe(false)
    clock.increment(100)
    expect(textsOf(await next)).toEqual(['x'])
  })
})

describe('what goes through a turn and ends it', () => {
  const WAYS: readonly [string, (history: SessionHistoryService) => Promise<unknown>][] = [
    ['deleteSession', (history) => history.deleteSession('ada', 's1')],
    ['deleteUserSessions', (history) => history.deleteUserSessions('ada')],
    ['purgeSession', (history) => history.purgeSession('ada', 's1')],
    ['createSession', (history) => history.createSession('ada', 's1')]
  ]

  it.each(WAYS)('%s', async (_, call) => {
    const { history } = await begin()
    const turn = await history.beginTurn(ADA)
    await turn.append(text('mine'))
    await call(history)
    expect(isTurnlogError(turn.signal.reason, 'TURN_FENCED')).toBe(true)
    await storesNothing(history, async () => {
      await fails(() => turn.append(text('late')), 'TURN_FENCED')
      await fails(() => turn.end(), 'TURN_FENCED')
      await turn[Symbol.asyncDispose]()
    })
    await history.createSession('ada', 's1')
    expect(textsOf(await history.appendMessage(ADA, text('free')))).toEqual(['free'])
  })

  it.each(WAYS)('%s by another process', async (_, call) => {
    const { one, other } = await beginTwo()
    const turn = await one.beginTurn(ADA)
    await call(other)
    await fails(() => turn.append(text('late')), 'TURN_FENCED')
    expect(isTurnlogError(turn.signal.reason, 'TURN_FENCED')).toBe(true)
  })

  it('rewinding to before a deleted does not bring its turn back', async () => {
    const { history } = await begin()
    const turn = await history.beginTurn(ADA)
    await turn.append(text('mine'))
    await history.deleteSession('ada', 's1')
    const session = await history.rewind(ADA, 3)
    expect(textsOf(session)).toEqual(['mine'])
    expect(session).not.toHaveProperty('turn')
    await fails(() => turn.append(text('late')), 'TURN_FENCED')
  })
})

describe('turns of several processes', () => {
  it('one waits while the other holds, and is told of the end without time going on', async () => {
    const { one, other } = await beginTwo()
    const turn = await one.beginTurn(ADA)
    const waits = other.appendMessage(ADA, text('other'), { onBusy: 'wait' })
    const starts = other.beginTurn(ADA, { onBusy: 'wait' })
    expect(await isAnswered(waits)).toBe(false)
    await turn.append(text('one'))
    expect(await isAnswered(waits)).toBe(false)
    await turn.end()
    expect(textsOf(await waits)).toEqual(['one', 'other'])
    const held = await starts
    await fails(() => one.appendMessage(ADA, text('x')), 'TURN_BUSY', { turnId: held.id })
  })

  it('of a store without watch, the end is found by asking, by the clock', async () => {
    const { one, other, clock } = await beginTwo(withoutWatch())
    const turn = await one.beginTurn(ADA)
    const waits = other.appendMessage(ADA, text('other'), { onBusy: 'wait' })
    await quiet()
    await turn.append(text('one'))
    await turn.end()
    expect(await isAnswered(waits)).toBe(false)
    clock.increment(1_000)
    expect(await isAnswered(waits)).toBe(true)
    expect(textsOf(await waits)).toEqual(['one', 'other'])
  })

  it('of a store without watch, the end in the same process is noticed at once', async () => {
    const { history } = await begin({ store: withoutWatch() })
    const turn = await history.beginTurn(ADA)
    const waits = history.appendMessage(ADA, text('x'), { onBusy: 'wait' })
    await quiet()
    await turn.end()
    expect(await isAnswered(waits)).toBe(true)
  })

  it('of a store whose watch fails, expiry still ends the waiting', async () => {
    const inner = memoryStore()
    const store = hooked(
      {
        watch: () => {
          throw new Error('no watch today')
        }
      },
      inner
    )
    const { history, clock } = await begin({ store })
    await history.beginTurn(ADA, { ttlMs: 100 })
    const waits = history.appendMessage(ADA, text('x'), { onBusy: 'wait' })
    await quiet()
    clock.increment(100)
    expect(await isAnswered(waits)).toBe(true)
    expect(textsOf(await waits)).toEqual(['x'])
  })
})

describe('a turn and what is kept in memory', () => {
  it('is noticed to be over although other sessions are used meanwhile', async () => {
    const { history } = await begin({ maxActiveSessions: 1 })
    const turn = await history.beginTurn(ADA)
    for (let i = 0; i < 5; i++) await history.createSession('ada', `other ${i}`)
    await turn.append(text('mine'))
    for (let i = 0; i < 5; i++) await history.getSession('ada', `other ${i}`)
    await fails(() => history.appendMessage(ADA, text('x')), 'TURN_BUSY')
    await history.beginTurn(ADA, { onBusy: 'takeover' })
    expect(isTurnlogError(turn.signal.reason, 'TURN_FENCED')).toBe(true)
  })

  it('goes on with a service that was stopped and started, and is over where that of another took its place', async () => {
    const { one, other, clock } = await beginTwo()
    const turn = await one.beginTurn(ADA)
    await turn.append(text('one'))
    await one.stop()
    await one.start()
    expect(textsOf(await turn.append(text('two')))).toEqual(['one', 'two'])
    await one.stop()
    clock.increment(60_000)
    await other.appendMessage(ADA, text('three'))
    await one.start()
    await fails(() => turn.append(text('four')), 'TURN_FENCED')
    expect(isTurnlogError(turn.signal.reason, 'STOPPED')).toBe(true)
  })

  it('has a signal that aborts with STOPPED when the service stops, and stays so, whenever it was first asked for', async () => {
    for (const isEager of [true, false]) {
      const { history } = await begin()
      const turn = await history.beginTurn(ADA)
      if (isEager) expect(turn.signal.aborted).toBe(false)
      await history.stop()
      if (isEager) expect(isTurnlogError(turn.signal.reason, 'STOPPED')).toBe(true)
      await history.start()
      await turn.append(text('goes on'))
      await history.beginTurn(ADA, { onBusy: 'takeover' })
      await fails(() => turn.append(text('late')), 'TURN_FENCED')
      expect(isTurnlogError(turn.signal.reason, 'STOPPED')).toBe(true)
    }
  })

  it('that begins while the service stops has such a signal, too', async () => {
    const { history } = await begin()
    const begins = history.beginTurn(ADA)
    await history.stop()
    expect(isTurnlogError((await begins).signal.reason, 'STOPPED')).toBe(true)
  })

  it('is left as it is by disposing it when the service has stopped', async () => {
    const { history } = await begin()
    {
      await using turn = await history.beginTurn(ADA)
      await turn.append(text('mine'))
      await history.stop()
    }
    await history.start()
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(['mine'])
    await fails(() => history.appendMessage(ADA, text('x')), 'TURN_BUSY')
  })

  it('that is ended while the service stops, and cannot be, is told of a takeover after the next write', async () => {
    const inner = memoryStore()
    const hooks: Parameters<typeof hooked>[0] = {}
    const { history } = await begin({ store: hooked(hooks, inner) })
    const turn = await history.beginTurn(ADA)
    const { signal } = turn
    hooks.append = async () => [{ status: 'failed', error: new Error('full'), outcome: 'not-stored' }]
    const ends = failureOf(() => turn.end())
    await Promise.all([ends, history.stop()])
    delete hooks.append
    await history.start()
    expect(signal.aborted).toBe(false)
    await turn.append(text('goes on'))
    await history.beginTurn(ADA, { onBusy: 'takeover' })
    expect(isTurnlogError(signal.reason, 'TURN_FENCED')).toBe(true)
  })

  it('is read from the log by a service that knows nothing of it', async () => {
    const store = memoryStore()
    const { history, clock } = await begin({ store })
    const turn = await history.beginTurn(ADA, { owner: 'gone', ttlMs: 50 })
    const other = await createSessionHistory({ store, clock: forTurnlog(clock), logger: warnings() })
    await fails(() => other.appendMessage(ADA, text('x')), 'TURN_BUSY', { owner: 'gone', expiresAt: 50 })
    clock.increment(50)
    await other.appendMessage(ADA, text('x'))
    await fails(() => turn.end(), 'TURN_FENCED')
  })

  it('that was abandoned does not keep its session in memory for ever', async () => {
    const clock = new SimulatedClock()
    const active: number[] = []
    const history = await createSessionHistory({
      clock: forTurnlog(clock),
      idleMs: 1_000,
      logger: warnings(),
      inspect: noteActive(active)
    })
    await history.createSession('ada', 's1')
    const turn = await history.beginTurn(ADA, { ttlMs: 100 })
    clock.increment(10_000)
    await quiet()
    expect(active.at(-1)).toBe(0)
    expect(textsOf(await turn.append(text('late, but first')))).toEqual(['late, but first'])
    await turn.end()
  })
})

it('two agents that take turns never mix their messages', async () => {
  const { one, other } = await beginTwo()
  const agent = async (history: SessionHistoryService, name: string): Promise<void> => {
    for (let i = 0; i < 5; i++) {
      const turn: Turn = await history.beginTurn(ADA, { onBusy: 'wait', owner: name })
      for (let j = 0; j < 3; j++) {
        await turn.append(text(`${name} ${i}.${j}`))
        await quiet()
      }
      await turn.end()
    }
  }
  await Promise.all([agent(one, 'a'), agent(one, 'b'), agent(other, 'c'), agent(other, 'd')])
  const texts = textsOf(await one.getSession('ada', 's1')) as string[]
  expect(texts).toHaveLength(60)
  for (let i = 0; i < texts.length; i += 3) {
    const run = texts[i]!.slice(0, -1)
    expect(texts.slice(i, i + 3)).toEqual([`${run}0`, `${run}1`, `${run}2`])
  }
})
