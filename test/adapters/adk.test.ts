import { Socket } from 'node:net'
import {
  createEvent,
  createSession,
  FunctionTool,
  getPendingUserInputRequests,
  InMemorySessionService,
  LongRunningFunctionTool,
  State,
  StreamingMode,
  type BaseSessionService,
  type Event,
  type Session
} from '@google/adk'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import {
  fromMessages,
  toMessages,
  TurnlogSessionService,
  type TurnlogSessionServiceOptions
} from '../../src/adapters/adk.ts'
import { stateBefore } from '../../src/adapters/adk/state.ts'
import { readingOf } from '../../src/adapters/shared/reading.ts'
import { createSessionHistory, memoryStore, type EventStore, type MessageInput } from '../../src/index.ts'
import { fails, misuses } from '../service/kit.ts'
import { add, ask, called, KEY, runnerOf, said, scenario, textsOf } from './adk-scenario.ts'
import { freshStore, STORES } from './kit.ts'

afterEach(() => vi.restoreAllMocks())

const quiet = { logger: { warn: () => undefined } }
const event = (id: string, delta: Record<string, unknown> = {}, more: Partial<Event> = {}): Event =>
  createEvent({
    id,
    invocationId: `of ${id}`,
    author: 'user',
    content: { role: 'user', parts: [{ text: id }] },
    actions: { stateDelta: delta },
    ...more
  })
const idsOf = (session: Session | undefined): string[] => session!.events.map(({ id }) => id)

async function begin(store?: EventStore): Promise<TurnlogSessionService> {
  return new TurnlogSessionService({ history: await createSessionHistory({ ...quiet, ...(store && { store }) }) })
}

describe.each(STORES)('the session service of ADK over %s', (kind) => {
  it('goes through its scenario, and reaches for no network', async () => {
    const connect = vi.spyOn(Socket.prototype, 'connect')
    await scenario(freshStore(kind))
    expect(connect).not.toHaveBeenCalled()
  })

  it('waits for an approval, also over a restart', async () => {
    const open = freshStore(kind)
    let paid = 0
    const pay = new FunctionTool({
      name: 'pay',
      description: 'Pays',
      parameters: z.object({ euros: z.number() }),
      requireConfirmation: true,
      execute: ({ euros }) => `${(paid += euros)} paid`
    })
    const history = await open()
    const service = new TurnlogSessionService({ history })
    await service.createSession(KEY)
    await ask(runnerOf(service, [called('pay', { euros: 5 })], [pay]).runner, 'Pay 5.')
    expect(paid).toBe(0)
    await history.stop()

    const later = await open()
    const resumed = new TurnlogSessionService({ history: later })
    const [request] = getPendingUserInputRequests((await resumed.getSession(KEY))!.events)
    const response = { id: request!.interruptId, name: request!.functionCallName, response: { confirmed: true } }
    const { runner, model } = runnerOf(resumed, [said('Paid.')], [pay])
    await ask(runner, { role: 'user', parts: [{ functionResponse: response }] })
    expect(paid).toBe(5)
    expect(model.asked).toEqual([['Pay 5.', 'pay({"euros":5})', '= {"result":"5 paid"}']])
    const { events } = (await resumed.getSession(KEY))!
    expect(textsOf(events).slice(-2)).toEqual(['= {"result":"5 paid"}', 'Paid.'])
    expect(new Set(events.map(({ id }) => id)).size).toBe(events.length)
    await later.stop()
  })

  it('has the answer of a tool that took longer than the process', async () => {
    const open = freshStore(kind)
    const order = new LongRunningFunctionTool({
      name: 'order',
      description: 'Orders',
      parameters: z.object({}),
      execute: () => ({ status: 'pending' })
    })
    const history = await open()
    const service = new TurnlogSessionService({ history })
    await service.createSession(KEY)
    await ask(runnerOf(service, [called('order', {}), said('Ordered.')], [order]).runner, 'Order it.')
    await history.stop()

    const later = await open()
    const resumed = new TurnlogSessionService({ history: later })
    const { events } = (await resumed.getSession(KEY))!
    const [id] = events.flatMap(({ longRunningToolIds }) => longRunningToolIds ?? [])
    const { runner, model } = runnerOf(resumed, [said('It came.')], [order])
    const functionResponse = { id: id!, name: 'order', response: { status: 'delivered' } }
    await ask(runner, { role: 'user', parts: [{ functionResponse }] })
    expect(model.asked[0]).toContain('= {"status":"delivered"}')
    expect(textsOf((await resumed.getSession(KEY))!.events).at(-1)).toBe('It came.')
    await later.stop()
  })

  it('has the whole of an answer that came in pieces, once', async () => {
    const history = await freshStore(kind)()
    const service = new TurnlogSessionService({ history })
    await service.createSession(KEY)
    const piece = (text: string) => ({ ...said(text)[0]!, partial: true })
    const { runner } = runnerOf(service, [[piece('At '), piece('22:47'), ...said('At 22:47')]])
    const events = await ask(runner, 'When?', { runConfig: { streamingMode: StreamingMode.SSE } })
    expect(textsOf(events)).toEqual(['At ', '22:47', 'At 22:47'])
    expect(textsOf((await service.getSession(KEY))!.events)).toEqual(['When?', 'At 22:47'])
    await history.stop()
  })

  it('has the beginning of a run that was aborted', async () => {
    const history = await freshStore(kind)()
    const service = new TurnlogSessionService({ history })
    await service.createSession(KEY)
    const controller = new AbortController()
    const aborts = () => {
      controller.abort()
      return said('too late')
    }
    await ask(runnerOf(service, [aborts]).runner, 'Are you there?', { abortSignal: controller.signal })
    await ask(runnerOf(service, [said('Here.')]).runner, 'And now?')
    const texts = textsOf((await service.getSession(KEY))!.events)
    expect([texts[0], ...texts.slice(-2)]).toEqual(['Are you there?', 'And now?', 'Here.'])
    await history.stop()
  })

  it('loses nothing of runs side by side, nor of what is appended to one session object', async () => {
    const history = await freshStore(kind)()
    const service = new TurnlogSessionService({ history })
    const live = await service.createSession(KEY)
    const runs = Array.from({ length: 8 }, (_, i) =>
      ask(runnerOf(service, [called('add', { a: i, b: 0 }), said(`answer ${i}`)]).runner, `question ${i}`)
    )
    const appended = Array.from({ length: 8 }, (_, i) => service.appendEvent({ session: live, event: event(`e${i}`) }))
    await Promise.all([...runs, ...appended])
    const session = (await service.getSession(KEY))!
    const texts = textsOf(session.events)
    expect(texts).toHaveLength(8 * 4 + 8)
    for (let i = 0; i < 8; i++) {
      expect(texts.indexOf(`answer ${i}`)).toBeGreaterThan(texts.indexOf(`question ${i}`))
      expect(texts).toContain(`e${i}`)
    }
    await service.appendEvent({ session: live, event: event('last') })
    expect(live).toEqual(await service.getSession(KEY))
    await history.stop()
  })
})

describe('the session service of ADK', () => {
  it('stores an event once, however often it is appended, and completes what a failure has left', async () => {
    const inner = memoryStore()
    let isFailing: 'before' | 'after' | undefined
    // As a process that ends before the event is stored, or after, before anybody knows.
    const append: EventStore['append'] = async (commits) => {
      const isFatal = isFailing && commits.some(({ key }) => key.sessionId === KEY.sessionId)
      if (isFatal && isFailing === 'before') throw new Error('the power went')
      const results = await inner.append(commits)
      if (isFatal) throw new Error('the power went')
      return results
    }
    const service = await begin(Object.assign(Object.create(inner) as EventStore, { append }))
    const live = await service.createSession(KEY)
    const others = await service.createSession({ ...KEY, sessionId: 'other' })
    const given = event('e1', { 'n': 1, 'app:n': 1, 'user:n': 1, 'temp:n': 1 })
    isFailing = 'before'
    await fails(() => service.appendEvent({ session: live, event: given }), 'STORE_UNAVAILABLE')
    isFailing = undefined
    expect((await service.getSession(KEY))!.state).toEqual({ 'app:n': 1, 'user:n': 1 })
    expect(live.events).toEqual([])
    await service.appendEvent({ session: others, event: event('e1', { 'app:n': 2 }) })
    for (const session of [live, live, (await service.getSession(KEY))!]) {
      await service.appendEvent({ session, event: given })
      expect(idsOf(session)).toEqual(['e1'])
      expect(session.state).toMatchObject({ 'n': 1, 'app:n': 2, 'user:n': 1 })
    }
    const { userId, id } = service.refOf(KEY)
    expect((await service.history.getSession(userId, id))!.version).toBe(3)
    expect((await service.getSession(KEY))!.state).toEqual({ 'n': 1, 'app:n': 2, 'user:n': 1 })

    isFailing = 'after'
    const unknown = event('e2', { n: 2 })
    await service.appendEvent({ session: live, event: unknown }).catch(() => undefined)
    isFailing = undefined
    await service.appendEvent({ session: live, event: unknown })
    expect(idsOf(live)).toEqual(['e1', 'e2'])
    expect(await service.getSession(KEY)).toEqual({ ...live, state: { 'n': 2, 'app:n': 2, 'user:n': 1 } })
  })

  it('gives an event that was deleted or rewound all its effects again', async () => {
    const service = await begin()
    const begin2 = async () => (await service.getSession(KEY)) ?? service.createSession(KEY)
    const given = () => event('e1', { 'n': 1, 'app:n': 1, 'user:n': 1 }, { timestamp: 5 })
    const states: unknown[] = []
    for (const away of [
      () => service.deleteSession(KEY),
      () => service.rewind({ ...KEY, rewindBeforeInvocationId: 'of e1' }),
      () => service.history.undo(service.refOf(KEY)),
      () => service.history.purgeSession(service.refOf(KEY).userId, service.refOf(KEY).id)
    ]) {
      await service.appendEvent({ session: await begin2(), event: given() })
      await away()
      await service.appendEvent({ session: await begin2(), event: event('e2', { 'app:n': 2, 'user:n': 2 }) })
      await service.appendEvent({ session: await begin2(), event: given() })
      states.push((await service.getSession(KEY))!.state)
      await service.deleteSession(KEY)
    }
    expect(states).toEqual(Array.from({ length: 4 }, () => ({ 'n': 1, 'app:n': 1, 'user:n': 1 })))
  })

  it('changes nothing for an event that is there, whoever appends it again', async () => {
    const service = await begin()
    const live = await service.createSession(KEY)
    const part = async () => (await service.getSession({ ...KEY, config: { numRecentEvents: 1 } }))!
    const given = (id: string, n: number) =>
      event(id, { 'n': n, 'app:n': n, 'user:n': n, ...(n === 1 && { 'gone': n, 'app:gone': n }) }, { timestamp: n })
    await service.appendEvent({ session: live, event: given('e1', 1) })
    const stale = (await service.getSession(KEY))!
    const own = (id: string) => event(id, { m: id }, { timestamp: 7 })
    await service.appendEvent({ session: live, event: own('m1') })
    await service.appendEvent({ session: live, event: own('m2') })
    const gone = { 'gone': undefined, 'app:gone': undefined }
    const second = given('e2', 2)
    Object.assign(second.actions.stateDelta, gone)
    await service.appendEvent({ session: live, event: second })
    const now = (await service.getSession(KEY))!
    expect(now.state).toEqual({ 'n': 2, 'm': 'm2', 'app:n': 2, 'user:n': 2 })
    const foreign = createSession({ ...KEY, id: KEY.sessionId })
    for (const session of [live, stale, await part(), foreign]) {
      await service.appendEvent({ session, event: given('e1', 1) })
      await service.appendEvent({ session, event: own('m1') })
      expect(await service.getSession(KEY)).toEqual(now)
      expect([session.state, Object.keys(session.state), session.lastUpdateTime]).toEqual([
        now.state,
        expect.not.arrayContaining(['gone', 'app:gone']),
        2
      ])
    }
    expect(stale).toEqual(now)
  })

  it('knows a session that was purged and created again from the one before', async () => {
    const clock = vi.spyOn(Date, 'now').mockReturnValue(1_000)
    const service = await begin()
    const live = await service.createSession(KEY)
    await service.appendEvent({ session: live, event: event('old', { a: 1 }) })
    const { userId, id } = service.refOf(KEY)
    await service.history.purgeSession(userId, id)
    clock.mockReturnValue(2_000)
    const other = await service.createSession(KEY)
    await service.appendEvent({ session: other, event: event('new', { b: 1 }) })
    expect((await service.history.getSession(userId, id))!.version).toBe(3)
    await service.appendEvent({ session: live, event: event('next', { c: 1 }) })
    expect(idsOf(live)).toEqual(['new', 'next'])
    expect(live).toEqual(await service.getSession(KEY))
  })

  it('has state of the app and the user in sessions of their own, and what is temporary nowhere', async () => {
    const service = await begin()
    const state = { 'n': 1, 'app:n': 2, 'user:n': 3, 'temp:n': 4, '__proto__x': 5, 'app:__proto__': 6, 'app:user:n': 7 }
    const { 'temp:n': _, ...kept } = state
    const live = await service.createSession({ ...KEY, state })
    expect(live.state).toEqual(kept)
    expect(Object.hasOwn(live.state, 'app:__proto__')).toBe(true)
    const appOf = (appName: string) =>
      service.createSession({ appName, userId: 'bob' }).then((session) => session.state)
    expect(await appOf('sums')).toEqual({ 'app:n': 2, 'app:__proto__': 6, 'app:user:n': 7 })
    expect(await appOf('other')).toEqual({})
    const ofUser = await service.createSession({ appName: 'sums', userId: 'ada' })
    expect(ofUser.state['user:n']).toBe(3)

    await service.appendEvent({ session: live, event: event('e', { 'temp:x': 1, 'n': undefined, 'app:n': null }) })
    expect(live.state).toMatchObject({ 'temp:x': 1, 'app:n': null })
    const stored = (await service.getSession(KEY))!
    expect(Object.keys(stored.state)).not.toContain('n')
    expect(stored.state['app:n']).toBeNull()
    expect(stored.events[0]!.actions.stateDelta).toEqual({ 'app:n': null })
    expect(JSON.stringify(await lines(service.history.exportSession(service.refOf(KEY).userId)))).not.toContain('temp:')
    const { userId, id } = service.userStateOf('sums', 'ada')
    expect((await service.history.getSession(userId, id))?.metadata).toEqual({ 'state:n': 3 })
    const app = service.appStateOf('sums')
    const past = await service.history.getSession(app.userId, app.id, { at: 2 })
    expect(past?.metadata).toEqual({ 'state:n': 2, 'state:__proto__': 6, 'state:user:n': 7 })
  })

  it('lets the tools of a run read what is temporary, and what others change meanwhile', async () => {
    const service = await begin()
    const live = await service.createSession(KEY)
    const bobs = await service.createSession({ ...KEY, userId: 'bob' })
    const seen: unknown[] = []
    const look = new FunctionTool({
      name: 'look',
      description: 'Looks',
      parameters: z.object({}),
      execute: async (_, context) => {
        seen.push(['temp:given', 'temp:sum', 'app:news'].map((key) => context!.state.get(key)))
        await service.appendEvent({ session: bobs, event: event(`b${seen.length}`, { 'app:news': seen.length }) })
        return 'seen'
      }
    })
    const answers = [called('look', {}), called('add', { a: 1, b: 2 }), called('look', {}), said('Done.')]
    const { runner } = runnerOf(service, answers, [add, look])
    await ask(runner, 'Look.', { stateDelta: { 'temp:given': 'yes' } })
    expect(seen).toEqual([
      ['yes', undefined, undefined],
      ['yes', 3, 1]
    ])
    await service.appendEvent({ session: live, event: event('late', { own: 1 }) })
    expect(live.state).toEqual({ 'sums': 1, 'own': 1, 'user:last': 3, 'app:sums': 1, 'app:news': 2 })
    expect(live.events).toHaveLength(9)
  })

  it('brings a session object up to date with what others wrote, and leaves alone what tools are about to write', async () => {
    const service = await begin()
    const live = await service.createSession({ ...KEY, state: { a: 1, b: 1, c: 1 } })
    const held = live.state
    new State(live.state, {}).set('c', 'not stored yet')
    const other = (await service.getSession(KEY))!
    await service.appendEvent({ session: other, event: event('e1', { 'a': 2, 'user:a': 2, 'b': undefined }) })
    await service.appendEvent({ session: live, event: event('e2', { d: 1 }) })
    expect(idsOf(live)).toEqual(['e1', 'e2'])
    expect(live.state).toBe(held)
    expect(live.state).toEqual({ 'a': 2, 'c': 'not stored yet', 'd': 1, 'user:a': 2 })
    // Of one that is not from here, it is known how new it says it is.
    for (const [lastUpdateTime, ids] of [
      [0, ['e1', 'e2', 'f1']],
      [Infinity, ['f2']]
    ] as const) {
      const session = createSession({ ...KEY, id: KEY.sessionId, state: { 'temp:x': 1 }, lastUpdateTime })
      await service.appendEvent({ session, event: event(ids.at(-1)!) })
      expect(idsOf(session)).toEqual(ids)
      expect(session.state['temp:x']).toBe(1)
    }
    expect(idsOf(await service.getSession(KEY))).toEqual(['e1', 'e2', 'f1', 'f2'])
  })

  it('has events in order of their storing, and of them those that are asked for', async () => {
    const service = await begin()
    const session = await service.createSession(KEY)
    for (const [i, timestamp] of [10, 10, 10, 20, 20, 0].entries())
      await service.appendEvent({ session, event: { ...event(`e${i}`), timestamp } })
    const ids = async (config?: { numRecentEvents?: number; afterTimestamp?: number }) =>
      idsOf(await service.getSession({ ...KEY, ...(config && { config }) })).join(' ')
    expect(await ids()).toBe('e0 e1 e2 e3 e4 e5')
    expect(await ids({ numRecentEvents: 4 })).toBe('e2 e3 e4 e5')
    expect(await ids({ numRecentEvents: 9 })).toBe('e0 e1 e2 e3 e4 e5')
    expect(await ids({ numRecentEvents: 0 })).toBe('')
    expect(await ids({ afterTimestamp: 10 })).toBe('e3 e4')
    expect(await ids({ afterTimestamp: 9, numRecentEvents: 3 })).toBe('e2 e3 e4')
    expect(await ids({ afterTimestamp: 0 })).toBe('e0 e1 e2 e3 e4 e5')
    expect(session.lastUpdateTime).toBe(0)
    const { events } = (await service.getSession(KEY))!
    expect(events[5]!.timestamp).toBe(0)
    expect(Object.getOwnPropertySymbols(events[0]!)).toEqual(Object.getOwnPropertySymbols(event('x')))
    events[0]!.content!.parts![0]!.text = 'ours to change'
    expect(textsOf((await service.getSession(KEY))!.events)[0]).toBe('e0')
    await service.appendEvent({ session, event: { ...event('e1', { n: 1 }), timestamp: 30 } })
    expect(await ids()).toBe('e0 e1 e2 e3 e4 e5')
    expect((await service.getSession(KEY))!.events[1]!.timestamp).toBe(30)
  })

  it('agrees with the service in memory that ADK ships, where that agrees with the one over a database', async () => {
    const services: BaseSessionService[] = [await begin(), new InMemorySessionService()]
    const random = randomly(5)
    let at = Date.now() + 1_000_000
    const begun = at
    const live: Record<string, Session>[] = [{}, {}]
    const plain = (value: unknown) =>
      JSON.parse(JSON.stringify(value ?? null), (key, each: unknown) =>
        key === 'lastUpdateTime' && Number(each) < begun ? 'of its creation' : each
      ) as unknown
    for (let step = 0; step < 400; step++) {
      const key = { appName: 'ab'[random(2)]!, userId: 'uv'[random(2)]!, sessionId: `s${random(3)}` }
      const name = Object.values(key).join()
      const delta = Object.fromEntries(['x', 'y', 'app:x', 'user:y'].map((each) => [each, random(4)]))
      const given = { ...event(`e${step}`, delta), timestamp: ++at }
      const page = [{}, { limit: 1 }, { limit: 2, page: 2 }, { offset: 1 }, { limit: 1, offset: 1 }][random(5)]
      const order = (['asc', 'desc'] as const)[random(2)]!
      const choice = random(8)
      const answers = await Promise.all(
        services.map(async (service, i): Promise<unknown> => {
          const session = live[i]![name]
          if (choice === 0 && session) {
            delete live[i]![name]
            return service.deleteSession(key)
          }
          if (choice === 1) {
            const { sessions, ...rest } = await service.listSessions({ appName: key.appName, ...page, order })
            // Those without events were created at about the same time.
            const newest = sessions.filter(({ lastUpdateTime }) => lastUpdateTime > begun)
            return [page && Object.keys(page).length > 0 ? 'some' : newest.map(({ id, userId }) => [id, userId]), rest]
          }
          if (choice === 2) return service.getSession(key)
          if (!session) {
            live[i]![name] = await service.createSession({ ...key, state: { z: step } })
            return live[i]![name]
          }
          const copy = structuredClone(given)
          return [await service.appendEvent({ session, event: copy }), session.events, session.lastUpdateTime]
        })
      )
      expect(plain(answers[0])).toEqual(plain(answers[1]))
    }
  })

  it('lists the sessions of a user or of all, by pages, with their state', async () => {
    const service = await begin()
    const begin1 = async (userId: string, sessionId: string, timestamp: number, appName = 'sums') => {
      const session = await service.createSession({ appName, userId, sessionId, state: { of: sessionId } })
      const given = event('e', { 'user:last': sessionId, 'app:all': 1 })
      await service.appendEvent({ session, event: { ...given, timestamp } })
    }
    for (const [i, id] of ['c', 'a', 'b'].entries()) await begin1('ada', id, 50 - 10 * i)
    await begin1('ada/x', 'd', 45)
    await begin1('ada', 'e', 1, 'sums/ada')
    await begin1('ada', 'f', 1, 'sum')
    const ids = async (request: object) => {
      const { sessions, ...rest } = await service.listSessions({ appName: 'sums', ...request })
      return [sessions.map(({ id }) => id).join(''), ...Object.values(rest)]
    }
    expect(await ids({ userId: 'ada', order: 'asc' })).toEqual(['bac', 1, 3, 3, 1])
    expect(await ids({ order: 'desc' })).toEqual(['cdab', 1, 4, 4, 1])
    expect(await ids({ order: 'desc', limit: 3 })).toEqual(['cda', 1, 3, 4, 2])
    expect(await ids({ order: 'desc', limit: 3, page: 2 })).toEqual(['b', 2, 3, 4, 2])
    expect(await ids({ order: 'asc', limit: 2, offset: 2 })).toEqual(['dc', 2, 2, 4, 2])
    expect(await ids({ order: 'asc', offset: 3 })).toEqual(['c', 1, 4, 4, 1])
    expect(await ids({ limit: 0 })).toEqual(['', 1, 0, 4, 0])
    expect(await ids({ userId: 'bob', limit: 5, page: 3 })).toEqual(['', 3, 5, 0, 0])
    expect(await ids({ appName: 'sums/ada' })).toEqual(['e', 1, 1, 1, 1])
    const { sessions } = await service.listSessions({ appName: 'sums', userId: 'ada', order: 'asc', limit: 1 })
    const state = { 'of': 'b', 'user:last': 'b', 'app:all': 1 }
    expect(sessions).toEqual([{ appName: 'sums', userId: 'ada', id: 'b', state, events: [], lastUpdateTime: 30 }])
    expect(await ids({ userId: 'ada' })).toEqual([expect.stringMatching(/^[abc]{3}$/), 1, 3, 3, 1])
  })

  it('reads no other user to list those of one', async () => {
    const service = await begin()
    await service.createSession(KEY)
    await service.createSession({ ...KEY, userId: 'bob' })
    const [list, users] = [vi.spyOn(service.history, 'listSessions'), vi.spyOn(service.history, 'listUsers')]
    await service.listSessions({ appName: 'sums', userId: 'ada' })
    expect(list.mock.calls).toEqual([[service.refOf(KEY).userId]])
    expect(users).not.toHaveBeenCalled()
  })

  it('tells all names apart', async () => {
    const service = await begin()
    const odd = ['a', 'a/b', '/', '%', '%state', '%2F', ' a', 'a ', 'adk', '__proto__', '日本', '\u{FEFF}a', 'a\n']
    const long = ['x'.repeat(512), `${'x'.repeat(511)}y`, '日'.repeat(512)]
    const keys = [...odd, ...long].flatMap((appName) =>
      [...odd, ...long].map((userId, i) => ({ appName, userId, sessionId: odd[i] ?? long[i - odd.length]! }))
    )
    const names = new Set(keys.map((key) => JSON.stringify(service.refOf(key))))
    for (const { appName, userId } of keys) {
      names.add(JSON.stringify(service.appStateOf(appName)))
      names.add(JSON.stringify(service.userStateOf(appName, userId)))
    }
    expect(names.size).toBe(2 * keys.length + odd.length + long.length)
    for (const key of keys)
      await service.createSession({ ...key, state: { 'user:is': key.userId, 'app:is': key.appName } })
    for (const appName of [...odd, ...long]) {
      const { sessions } = await service.listSessions({ appName })
      const found = sessions.map(({ userId, id, state }) => [userId, id, state['user:is'], state['app:is']])
      const expected = keys
        .filter((key) => key.appName === appName)
        .map(({ userId, sessionId }) => [userId, sessionId, userId, appName])
      expect(new Set(found.map(String))).toEqual(new Set(expected.map(String)))
    }
    for (const name of ['', ' ', '\uD800', 'x'.repeat(513), 5 as unknown as string, undefined as unknown as string]) {
      await misuses(async () => service.refOf({ ...KEY, appName: name }), 'appName must be')
      await misuses(async () => service.refOf({ ...KEY, userId: name }), 'userId must be')
      await misuses(() => service.getSession({ ...KEY, sessionId: name }), 'sessionId must be')
    }
    await misuses(() => service.listSessions({ appName: 'a', userId: '' }), 'userId must be not blank')
  })

  it('takes every id of a session up to its length, however it is escaped', async () => {
    const service = await begin()
    const ids = ['%'.repeat(170), '%'.repeat(171), '%'.repeat(512), `${' '.repeat(511)}x`, `${' '.repeat(510)}xx`]
    for (const sessionId of ids) {
      const session = await service.createSession({ ...KEY, sessionId, state: { n: ids.indexOf(sessionId) } })
      await service.appendEvent({ session, event: event('e', { m: 1 }) })
    }
    for (const [n, sessionId] of ids.entries())
      expect(await service.getSession({ ...KEY, sessionId })).toMatchObject({ id: sessionId, state: { n, m: 1 } })
    const { id } = await service.history.fork(service.refOf({ ...KEY, sessionId: ids[1]! }), { sessionId: 'fork' })
    const { sessions } = await service.listSessions({ appName: KEY.appName })
    expect(new Set(sessions.map((each) => each.id))).toEqual(new Set([...ids, id]))
    const error = await service.createSession({ ...KEY, sessionId: ids[2]! }).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'SESSION_EXISTS' })
    expect((error as Error).message).toContain(`"${ids[2]!}"`)
    await misuses(() => service.getSession({ ...KEY, sessionId: '%'.repeat(513) }), 'sessionId must be at most 512')
  })

  it('creates a session once, and begins anew where one was deleted', async () => {
    const service = await begin()
    expect(await service.getSession(KEY)).toBeUndefined()
    const both = await Promise.all([service.getOrCreateSession(KEY), service.getOrCreateSession(KEY)])
    expect(both[0]).toEqual(both[1])
    await fails(() => service.createSession({ ...KEY, state: { 'app:n': 1 } }), 'SESSION_EXISTS')
    expect((await service.getSession(KEY))!.state).toEqual({})
    expect((await service.createSession({ appName: 'sums', userId: 'ada' })).id).toMatch(/^[\da-f-]{36}$/)
    const [live] = both
    await service.appendEvent({ session: live, event: event('e1', { n: 1 }) })
    await service.deleteSession(KEY)
    await service.deleteSession(KEY)
    expect(await service.getSession(KEY)).toBeUndefined()
    await fails(() => service.appendEvent({ session: live, event: event('e2', { 'app:n': 1 }) }), 'SESSION_NOT_FOUND')
    await fails(() => service.appendEvent({ session: live, event: event('e2') }), 'SESSION_NOT_FOUND')
    await fails(() => service.rewind({ ...KEY, rewindBeforeInvocationId: 'of e1' }), 'SESSION_NOT_FOUND')
    const begun = await service.createSession(KEY)
    expect([begun.events, begun.state]).toEqual([[], {}])
    await service.appendEvent({ session: live, event: event('e3') })
    expect(idsOf(live)).toEqual(['e3'])
    const { userId, id } = service.refOf(KEY)
    expect((await service.history.getSession(userId, id, { at: 3 }))?.messages).toHaveLength(1)
  })

  it('rewinds also what was edited, forked and rewound before, and can be undone', async () => {
    const service = await begin()
    const live = await service.createSession({ ...KEY, state: { n: 0, kept: 0 } })
    const ref = service.refOf(KEY)
    for (let i = 1; i <= 4; i++) await service.appendEvent({ session: live, event: event(`e${i}`, { n: i }) })
    await service.appendEvent({ session: live, event: event('e2', { n: 'edited' }) })
    const before = async (name: string, sessionId = KEY.sessionId) => {
      const session = await service.rewind({ ...KEY, sessionId, rewindBeforeInvocationId: `of ${name}` })
      return [idsOf(session).join(' '), session.state['n']]
    }
    expect(await before('e4')).toEqual(['e1 e2 e3', 3])
    expect(await before('e3')).toEqual(['e1 e2', 'edited'])
    // The session object knows of none of that.
    await service.appendEvent({ session: live, event: event('e5', { m: 5 }) })
    expect([idsOf(live).join(' '), live.state]).toEqual(['e1 e2 e5', { kept: 0, n: 'edited', m: 5 }])
    const { id } = await service.history.fork(ref)
    const forked = (await service.getSession({ ...KEY, sessionId: id }))!
    await service.appendEvent({ session: forked, event: event('e6', { n: 6 }) })
    expect(await before('e6', id)).toEqual(['e1 e2 e5', 'edited'])
    expect(await before('e2', id)).toEqual(['e1', 1])
    await service.history.undo({ ...ref, id })
    expect(idsOf(await service.getSession({ ...KEY, sessionId: id }))).toEqual(['e1', 'e2', 'e5'])
    expect(await before('e1', id)).toEqual(['', undefined])
    expect(await before('e1')).toEqual(['', 0])
    await service.appendEvent({ session: live, event: event('e1', { n: 'again' }) })
    expect(idsOf(await service.getSession(KEY))).toEqual(['e1'])
    await misuses(() => before('e9'), 'rewindBeforeInvocationId must be')
  })

  it('rewinds no event of before that was completed since, nor its state, in a fork as in its parent', async () => {
    const service = await begin()
    const session = await service.createSession({ ...KEY, state: { n: 0, kept: 0 } })
    const append = (id: string, delta: object, text = id) => {
      const content = { role: 'user', parts: [{ text }] }
      return service.appendEvent({ session, event: event(id, { ...delta }, { content }) })
    }
    await append('job', { status: 'pending' })
    await append('e1', { n: 1 })
    await append('e2', { n: 2, late: 2 })
    await append('job', { 'status': 'done', 'other': 1, 'n': 'job', 'app:n': 1 }, 'done')
    const ref = service.refOf(KEY)
    const fork = await service.history.fork(ref)
    const before = async (name: string, sessionId = KEY.sessionId) => {
      const rewound = await service.rewind({ ...KEY, sessionId, rewindBeforeInvocationId: `of ${name}` })
      return [textsOf(rewound.events), rewound.state]
    }
    const { version } = (await service.history.getSession(ref.userId, ref.id))!
    const expected = [['done', 'e1'], { 'status': 'done', 'other': 1, 'n': 1, 'kept': 0, 'app:n': 1 }]
    expect(await before('e2')).toEqual(expected)
    expect(await before('e2', fork.id)).toEqual(expected)
    expect(await before('e1')).toEqual([['done'], { 'status': 'done', 'other': 1, 'n': 'job', 'kept': 0, 'app:n': 1 }])
    await service.history.undo(ref)
    await service.history.undo(ref)
    const { messages, metadata } = (await service.history.getSession(ref.userId, ref.id))!
    const past = (await service.history.getSession(ref.userId, ref.id, { at: version }))!
    expect({ messages, metadata }).toEqual({ messages: past.messages, metadata: past.metadata })
    // Of what came with a commit that did more than append.
    const [e1, e2] = messages.slice(1)
    for (const change of [{ type: 'rewind', toVersion: 2 } as const, { type: 'truncate', length: 0 } as const]) {
      await service.history.appendMessage({ ...ref }, [e2!])
      await service.history.commit(ref, [change, { type: 'append', messages: [messages[0]!, e1!, e2!] }])
      expect((await before('e2'))[0]).toEqual(['done', 'e1'])
    }
    expect((await before('job'))[0]).toEqual([])
  })

  it('knows the state before an event of however many', () => {
    const messages = Array.from({ length: 200_001 }, () => ({ actions: { stateDelta: { n: 1 } } }) as unknown as Event)
    messages[200_000] = event('last', { n: 2, m: 2 })
    const unset = ['state:m']
    expect(stateBefore(messages, 200_000)).toEqual({ type: 'metadata', set: { 'state:n': 1 }, unset })
  })

  it('rewinds what is there, whoever writes meanwhile', async () => {
    const service = await begin()
    const live = await service.createSession(KEY)
    for (let i = 0; i < 5; i++) await service.appendEvent({ session: live, event: event(`e${i}`) })
    const others = await Promise.all(Array.from({ length: 5 }, () => service.getSession(KEY)))
    const appended = others.map((session, i) => service.appendEvent({ session: session!, event: event(`f${i}`) }))
    await Promise.all([service.rewind({ ...KEY, rewindBeforeInvocationId: 'of e2' }), ...appended])
    const ids = idsOf(await service.getSession(KEY))
    expect(ids.slice(0, 2)).toEqual(['e0', 'e1'])
    expect(ids).not.toContain('e2')
  })

  it('refuses what JSON cannot carry, with its path, before anything is stored', async () => {
    const service = await begin()
    const session = await service.createSession(KEY)
    const delta = ['actions', 'stateDelta']
    const response = (value: unknown): Partial<Event> => ({
      content: { role: 'user', parts: [{ functionResponse: { name: 'f', response: { value } } }] }
    })
    const path = ['content', 'parts', 0, 'functionResponse', 'response', 'value']
    for (const [given, where] of [
      [event('e', { 'app:ok': 1, 'n': () => 1 }), [...delta, 'n']],
      [event('e', { 'app:n': 1n }), [...delta, 'app:n']],
      [event('e', { 'user:n': [Number.NaN] }), [...delta, 'user:n', 0]],
      [event('e', { 'app:ok': 1 }, response(new Map())), path],
      [event('e', {}, response(new Error('x'))), path],
      [event('e', {}, response(Buffer.from('x'))), path],
      [event('e', {}, response([undefined])), [...path, 0]],
      [event('e', {}, response(new Date(Number.NaN))), path],
      [{ ...event('e'), id: '' }, ['id']],
      [{ ...event('e'), timestamp: 'now' as unknown as number }, ['timestamp']]
    ] as const) {
      const error = await service.appendEvent({ session, event: given }).catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({ code: 'INVALID_MESSAGE', path: ['event', ...where] })
    }
    const cycle: Record<string, unknown> = {}
    cycle['self'] = { cycle }
    await fails(() => service.appendEvent({ session, event: event('e', { cycle }) }), 'INVALID_MESSAGE')
    await fails(
      () => service.createSession({ ...KEY, sessionId: 't', state: { 'app:n': Symbol('x') } }),
      'INVALID_MESSAGE'
    )
    expect(session.events).toEqual([])
    expect(await service.getSession(KEY)).toEqual(session)
    expect(session.state).toEqual({})
    expect(await service.getSession({ ...KEY, sessionId: 't' })).toBeUndefined()

    class Sum {
      readonly value = 3
      readonly at = new Date(0)
    }
    await service.appendEvent({
      session,
      event: event('e', { 'sum': new Sum(), 'temp:f': () => 1 }, response(new Sum()))
    })
    const stored = (await service.getSession(KEY))!
    expect(stored.state).toEqual({ sum: { value: 3, at: '1970-01-01T00:00:00.000Z' } })
    expect(stored.events[0]!.content!.parts![0]!.functionResponse!.response!['value']).toEqual(stored.state['sum'])
  })

  it('tells of misuse, and of sessions of others', async () => {
    const history = await createSessionHistory(quiet)
    for (const [options, shown] of [
      [undefined, 'options must be'],
      [{}, 'history must be'],
      [{ history: {} }, 'history must be'],
      [{ history, userId: 'ada' }, 'userId is no option']
    ] as const)
      await misuses(async () => new TurnlogSessionService(options as unknown as TurnlogSessionServiceOptions), shown)
    const service = new TurnlogSessionService({ history })
    const { userId, id } = service.refOf(KEY)
    await history.createSession(userId, id)
    for (const call of [
      () => service.getSession(KEY),
      () => service.createSession(KEY),
      () => service.deleteSession(KEY),
      () => service.appendEvent({ session: createSession({ ...KEY, id }), event: event('e') }),
      () => service.rewind({ ...KEY, rewindBeforeInvocationId: 'x' })
    ])
      await fails(call, 'FORMAT_MISMATCH')
    expect((await service.listSessions({ appName: 'sums' })).sessions).toEqual([])
    for (const config of [{ numRecentEvents: -1 }, { numRecentEvents: 0.5 }, { afterTimestamp: Number.NaN }])
      await misuses(() => service.getSession({ ...KEY, sessionId: 'other', config }), 'config.')
    for (const page of [{ limit: -1 }, { offset: -1 }, { page: 0 }, { limit: 0.5 }])
      await misuses(() => service.listSessions({ appName: 'sums', ...page }), 'must be a whole')
  })
})

describe('events of ADK as messages', () => {
  const parts = [
    { text: 'hm', thought: true, thoughtSignature: 'sig' },
    { text: 'Look:' },
    { inlineData: { mimeType: 'image/png', data: 'AAAA' } },
    { inlineData: { mimeType: 'application/pdf', data: 'AAAA', displayName: 'a.pdf' } },
    { inlineData: { mimeType: 'audio/mp3', data: 'AAAA' } },
    { fileData: { fileUri: 'gs://b/a.mp4', mimeType: 'video/mp4' } },
    { fileData: { fileUri: 'https://x/a.txt', mimeType: 'text/plain', displayName: 'a.txt' } },
    { functionCall: { id: 'c1', name: 'add', args: { a: 1 } } }
  ]

  it('keep what a person would read, and the rest in metadata', async () => {
    const items = [
      event('q'),
      event('a', { n: 1 }, { author: 'clerk', content: { role: 'model', parts } }),
      event(
        'o',
        {},
        {
          author: 'clerk',
          content: { role: 'user', parts: [{ functionResponse: { id: 'c1', name: 'add', response: { result: 3 } } }] }
        }
      ),
      event('x', {}, { author: 'clerk', content: { role: 'model', parts: [{ executableCode: { code: '1+1' } }] } }),
      { ...event('f'), content: undefined, errorCode: 'QUOTA', errorMessage: 'too much' },
      { ...event('s', { n: 2 }), content: undefined }
    ] as Event[]
    const messages = toMessages(items)
    expect(messages.map(({ id, type, role }) => [id, type, role])).toEqual([
      ['q', 'message', 'user'],
      ['a', 'reasoning', 'assistant'],
      ['a_2', 'function_call', 'assistant'],
      ['o', 'function_call_output', 'tool'],
      ['x', 'message', 'assistant'],
      ['f', 'error', 'user'],
      ['s', 'event', 'user']
    ])
    expect(messages[2]!.content).toEqual([
      { type: 'text', text: 'Look:' },
      { type: 'image', image_url: 'data:image/png;base64,AAAA' },
      { type: 'file', file_data: 'data:application/pdf;base64,AAAA', filename: 'a.pdf' },
      { type: 'audio', data: 'AAAA', format: 'mp3' },
      { type: 'video', video_url: 'gs://b/a.mp4' },
      { type: 'file', file_url: 'https://x/a.txt', filename: 'a.txt' },
      { type: 'data', data: { call_id: 'c1', name: 'add', arguments: '{"a":1}' } }
    ])
    expect(messages[3]!.content).toEqual([{ type: 'data', data: { call_id: 'c1', name: 'add', output: 3 } }])
    expect(messages[4]!.content).toEqual([{ type: 'data', data: { executableCode: { code: '1+1' } } }])
    expect(messages[5]!.content).toEqual([{ type: 'text', text: 'too much' }])
    expect(messages[1]!.metadata).toMatchObject({
      adk: {
        author: 'clerk',
        invocationId: 'of a',
        actions: { stateDelta: { n: 1 } },
        parts: [{ thoughtSignature: 'sig' }]
      }
    })
    expect((await readingOf('adk'))!(JSON.parse(JSON.stringify(items)))).toEqual(messages)
    const history = await createSessionHistory(quiet)
    const session = await history.createSession('ada')
    expect((await history.appendMessage(session, messages))!.messages).toEqual(messages)

    const { items: back, dropped } = fromMessages(messages, { author: 'clerk' })
    expect(back.map(({ id, author }) => [id, author])).toEqual([
      ['q', 'user'],
      ['a', 'clerk'],
      ['a_2', 'clerk'],
      ['o', 'clerk'],
      ['f', 'user']
    ])
    const [{ thoughtSignature: _, ...thought }, ...others] = parts as unknown as [{ thoughtSignature: string }]
    expect(back.slice(1, 4).flatMap(({ content }) => content!.parts)).toEqual([
      thought,
      ...others,
      ...items[2]!.content!.parts!
    ])
    expect(dropped.map(({ path }) => path.join('.'))).toContain('4.content.0')
  })

  it('come from messages of others, with what is dropped named', async () => {
    const spoken = (id: string, role: 'assistant' | 'system' | 'tool' | 'user', content: MessageInput['content']) =>
      ({ id, role, content, type: 'message' }) satisfies MessageInput
    const data = (value: Record<string, unknown>) => [{ type: 'data' as const, data: value }]
    const history = await createSessionHistory(quiet)
    const session = await history.appendMessage(await history.createSession('ada'), [
      spoken('m', 'system', 'Be brief.'),
      spoken('m', 'user', 'Hello'),
      spoken('m', 'assistant', [
        { type: 'image', image_url: 'https://x/a.png?b' },
        { type: 'file', file_id: 'f1' }
      ]),
      spoken('n', 'assistant', data({ call_id: 'c', name: 'f', arguments: '{"a":1}' })),
      spoken('o', 'tool', data({ call_id: 'c', output: [1] })),
      spoken('p', 'assistant', data({ call_id: 'd', name: 'f', arguments: '[1]' })),
      spoken('q', 'tool', data({ call_id: 'e', output: 'x' }))
    ])
    const { items, dropped } = fromMessages(session!.messages)
    expect(items.map(({ id, author, invocationId }) => [id, author, invocationId])).toEqual([
      ['m', 'user', 'e-m'],
      ['m_2', 'model', 'e-m'],
      ['n', 'model', 'e-m'],
      ['o', 'model', 'e-m']
    ])
    expect(items.slice(1).flatMap(({ content }) => content!.parts)).toEqual([
      { fileData: { fileUri: 'https://x/a.png?b', mimeType: 'image/png' } },
      { functionCall: { id: 'c', name: 'f', args: { a: 1 } } },
      { functionResponse: { id: 'c', name: 'f', response: { result: [1] } } }
    ])
    expect(dropped.map(({ path }) => path.join('.'))).toEqual(['0', '2.content.1', '5.content.0', '6.content.0'])
    const [empty, system] = [session!.messages[1]!, session!.messages[0]!]
    const late = fromMessages([{ ...empty, content: [] }, { ...empty, id: '' }, system])
    expect(late.items.map(({ id }) => id)).toEqual(['message_2'])
    expect(late.dropped.map(({ path }) => path)).toEqual([[0], [2]])
    const service = new TurnlogSessionService({ history })
    const live = await service.createSession(KEY)
    for (const item of items) await service.appendEvent({ session: live, event: item })
    const { runner, model } = runnerOf(service, [said('Hi.')])
    await ask(runner, 'Again?')
    expect(model.asked[0]).toHaveLength(5)
    await misuses(async () => fromMessages([], { autor: 'x' } as object), 'is author meant?')
  })
})

async function lines(source: AsyncIterable<string>): Promise<string[]> {
  const all: string[] = []
  for await (const line of source) all.push(line)
  return all
}

// The same numbers each time.
function randomly(seed: number): (below: number) => number {
  return (below) => {
    seed = (seed + 0x6d2b79f5) | 0
    let x = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) % below
  }
}
