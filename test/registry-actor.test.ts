import { SimulatedClock } from 'xstate'
import { describe, expect, it } from 'vitest'
import {
  createSessionHistory,
  memoryStore,
  type SessionHistoryOptions,
  type SessionHistoryService
} from '../src/index.ts'
import { hooked, type Hooks } from './service/kit.ts'
import { gatedStore } from './stores/gated.ts'

/** A service, and which sessions have an actor, in the order in which those began. */
async function begin(
  options: Omit<SessionHistoryOptions, 'message'> = {}
): Promise<{ history: SessionHistoryService; active: () => string[] }> {
  const actors = new Set<{ readonly id: string; readonly _processingStatus: number }>()
  const history = await createSessionHistory({
    ...options,
    inspect: ({ actorRef }) => void actors.add(actorRef as never)
  })
  const sessions = (): { readonly id: string; readonly _processingStatus: number }[] =>
    [...actors].filter(({ id }) => id !== 'registry')
  // xstate inspects no stop, and the snapshot of a stopped actor stays as it was.
  const active = (): string[] =>
    sessions()
      .filter(({ _processingStatus }) => _processingStatus === RUNNING)
      .map(({ id }) => id.slice('ada/'.length))
  return { history, active }
}

const RUNNING = 1

const session = (id: string): { userId: string; id: string } => ({ userId: 'ada', id })

describe('the registry', () => {
  it('tells inspect of the registry, the sessions and what they are sent', async () => {
    const seen = new Set<string>()
    const history = await createSessionHistory({
      inspect: (event) => void seen.add(`${event.type} ${(event.actorRef as unknown as { id: string }).id}`)
    })
    await history.createSession('ada', 's')
    const types = ['@xstate.actor', '@xstate.event', '@xstate.snapshot']
    expect(seen).toEqual(new Set(['registry', 'ada/s'].flatMap((id) => types.map((type) => `${type} ${id}`))))
  })

  it('shows inspectors how an actor changes, and not all that it knows', async () => {
    const shown: { id: string; snapshot: { context: unknown } }[] = []
    const history = await createSessionHistory({
      inspect: (event) => {
        if (event.type === '@xstate.snapshot')
          shown.push({ id: (event.actorRef as never as { id: string }).id, snapshot: event.snapshot as never })
      }
    })
    await history.createSession('ada', 's')
    // Inspectors may keep the snapshots and look at them later.
    const contexts = (id: string): unknown[] =>
      shown.filter((each) => each.id === id).map(({ snapshot }) => JSON.parse(JSON.stringify(snapshot.context)))
    expect(contexts('registry').at(-1)).toEqual({ activeSessions: 1, activeBytes: expect.any(Number) })
    expect(contexts('ada/s')).toEqual([
      { status: 'unloaded', version: 0, waiting: 0 },
      { status: 'loading', version: 0, waiting: 1 },
      { status: 'storing', version: 0, waiting: 0 },
      { status: 'ready', version: 1, waiting: 0 }
    ])
  })

  it('keeps no more sessions than maxActiveSessions, those that were used lately', async () => {
    const { history, active } = await begin({ maxActiveSessions: 3 })
    for (const id of ['a', 'b', 'c']) await history.createSession('ada', id)
    await history.getSession('ada', 'a')
    await history.createSession('ada', 'd')
    expect(active()).toEqual(['a', 'c', 'd'])
    for (let i = 0; i < 100; i++) await history.createSession('ada', `s${i}`)
    expect(active().length).toBe(3)
  })

  it('brings a stopped session back equal, in all its versions', async () => {
    const { history, active } = await begin({ maxActiveSessions: 1 })
    await history.createSession('ada', 'a', { metadata: { title: 'A' } })
    for (let i = 0; i < 5; i++) await history.appendMessage(session('a'), { id: `m${i}`, content: `${i}` })
    await history.updateMetadata(session('a'), { set: { tags: ['x'] } }, { idempotencyKey: 'k' })
    const before = await Promise.all([1, 3, 7, undefined].map((at) => history.getSession('ada', 'a', at ? { at } : {})))
    await history.createSession('ada', 'b')
    expect(active()).toEqual(['b'])
    const after = await Promise.all([1, 3, 7, undefined].map((at) => history.getSession('ada', 'a', at ? { at } : {})))
    expect(after).toEqual(before)
    expect(after[3]?.messages).not.toBe(before[3]?.messages)
    const again = await history.updateMetadata(session('a'), { set: { tags: ['x'] } }, { idempotencyKey: 'k' })
    expect(again).toEqual(before[3])
  })

  it('does not stop a session that is busy', async () => {
    const store = gatedStore()
    const { history, active } = await begin({ maxActiveSessions: 1, store })
    await history.createSession('ada', 'a')
    const gate = store.hold('append')
    const appended = history.appendMessage(session('a'), { id: 'm' })
    await gate.reached
    await history.createSession('ada', 'b')
    expect(active()).toEqual(['a', 'b'])
    gate.open()
    expect((await appended)?.version).toBe(2)
    await history.createSession('ada', 'c')
    expect(active()).toEqual(['c'])
  })

  it('comes back to maxActiveSessions after many were busy at once', async () => {
    const { history, active } = await begin({ maxActiveSessions: 5 })
    await Promise.all(Array.from({ length: 200 }, (_, i) => history.createSession('ada', `s${i}`)))
    for (let i = 0; i < 200; i++) await history.createSession('ada', `t${i}`)
    expect(active().length).toBeLessThanOrEqual(5)
  })

  it('keeps one session that takes more than maxActiveBytes as long as no other is used', async () => {
    let loads = 0
    const inner = memoryStore()
    const read: typeof inner.read = (logId, range) => {
      loads++
      return inner.read(logId, range)
    }
    const store = { ...inner, read }
    const { history, active } = await begin({ maxActiveBytes: 20_000, store })
    await history.createSession('ada', 'large')
    for (let i = 0; i < 50; i++) await history.appendMessage(session('large'), { content: 'x'.repeat(1_000) })
    expect((await history.getSession('ada', 'large'))?.version).toBe(51)
    expect(active()).toEqual(['large'])
    expect(loads).toBe(0)
    await history.createSession('ada', 'small')
    expect(active()).toEqual(['small'])
  })

  it('keeps account of the memory that sessions take: none is left when none is active, whatever was done', async () => {
    const clock = new SimulatedClock()
    const shown: { activeSessions: number; activeBytes: number }[] = []
    const hooks: Hooks = {}
    const inner = memoryStore()
    const history = await createSessionHistory({
      store: hooked(hooks, inner),
      clock,
      idleMs: 1_000,
      maxActiveSessions: 3,
      maxActiveBytes: 30_000,
      inspect: ({ type, actorRef, snapshot }) => {
        if (type === '@xstate.snapshot' && actorRef.id === 'registry')
          shown.push({ ...(snapshot as { context: { activeSessions: number; activeBytes: number } }).context })
      }
    })
    for (let i = 0; i < 60; i++) {
      const [id, other] = [`s${i % 5}`, `s${(i + 3) % 5}`]
      await history.createSession('ada', id)
      await history.appendMessage(session(id), { content: 'x'.repeat(100 * i) })
      await history.fork(session(id), { sessionId: `fork ${i}` })
      hooks.read = () => {
        throw new Error('away')
      }
      await Promise.allSettled([history.getSession('ada', other), history.appendMessage(session(other), {})])
      delete hooks.read
      hooks.append = async (commits) => {
        await inner.append(commits)
        throw new Error('lost')
      }
      await Promise.allSettled([history.appendMessage(session(other), {}), history.appendMessage(session(id), {})])
      delete hooks.append
      await history.commit(session(id), [{ type: 'truncate', length: 1 }])
      if (i % 7 === 0) await history.purgeSession('ada', id)
    }
    expect(Math.max(...shown.map(({ activeBytes }) => activeBytes))).toBeGreaterThan(30_000)
    clock.increment(1_000)
    clock.increment(1_000)
    expect(shown.at(-1)).toEqual({ activeSessions: 0, activeBytes: 0 })
  })

  it('stops sessions that were not used for idleMs, and no others', async () => {
    const clock = new SimulatedClock()
    const { history, active } = await begin({ idleMs: 1000, clock })
    await history.createSession('ada', 'a')
    clock.increment(600)
    await history.createSession('ada', 'b')
    expect(active()).toEqual(['a', 'b'])
    clock.increment(399)
    expect(active()).toEqual(['a', 'b'])
    clock.increment(1)
    expect(active()).toEqual(['b'])
    clock.increment(400)
    await history.getSession('ada', 'b')
    clock.increment(999)
    expect(active()).toEqual(['b'])
    clock.increment(1001)
    expect(active()).toEqual([])
    expect((await history.getSession('ada', 'a'))?.version).toBe(1)
    clock.increment(1000)
    expect(active()).toEqual([])
  })

  it('leaves a busy session alone however long it takes', async () => {
    const clock = new SimulatedClock()
    const store = gatedStore()
    const { history, active } = await begin({ idleMs: 1000, clock, store })
    await history.createSession('ada', 'a')
    const gate = store.hold('append')
    const appended = history.appendMessage(session('a'), { id: 'm' })
    await gate.reached
    clock.increment(10_000)
    expect(active()).toEqual(['a'])
    gate.open()
    await appended
    clock.increment(10_000)
    expect(active()).toEqual([])
  })

  it('never stops a session for idleness where idleMs is Infinity', async () => {
    const clock = new SimulatedClock()
    const { history, active } = await begin({ idleMs: Infinity, clock })
    await history.createSession('ada', 'a')
    clock.increment(1e9)
    expect(active()).toEqual(['a'])
  })

  it('stops all when the service stops, and begins anew when it starts', async () => {
    const { history, active } = await begin()
    await history.createSession('ada', 'a')
    await history.stop()
    expect(active()).toEqual([])
    await history.start()
    expect((await history.getSession('ada', 'a'))?.version).toBe(1)
    expect(active()).toEqual(['a'])
  })
})
