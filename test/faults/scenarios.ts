import { afterAll, beforeAll, expect, it } from 'vitest'
import { createSessionHistory, isTurnlogError, type EventStore, type SessionHistoryService } from '../../src/index.ts'
import { compile } from '../compiled.ts'
import { racersIn, type Freshness } from './checker.ts'
import { faultsOf, loadOn, type Load, type StoreRecipe } from './load.ts'
import { proxyTo, type Network, type Proxy } from './proxy.ts'

export const IS_SOAK = Boolean(process.env['TURNLOG_SOAK'])

/** How often each fault comes. */
const ROUNDS = IS_SOAK ? 20 : 1

/** A limit on the time of a scenario: on a machine that does much else it takes many times as long as usual. */
export const PATIENCE = { timeout: 240_000 * ROUNDS }

/** A server that scenarios break. */
export interface Server extends AsyncDisposable {
  readonly port: number
  kill(): Promise<void>
  restart(): Promise<void>
}

/** A kind of store with a server, and how new its reads have to be. */
export interface Subject {
  readonly freshness: Freshness
  readonly startServer: () => Promise<Server>
  /** How the store that is on `port` is opened by a process, and here; each call names a store that was not there before. */
  readonly recipe: (port: number, name: string) => StoreRecipe
  readonly store: (port: number, name: string) => EventStore
}

/** Four processes race on one session of a store through a fault, and no promise is broken. `store` is opened afterwards. */
export async function underLoad(
  dist: string,
  recipe: StoreRecipe,
  { freshness, store }: { readonly freshness: Freshness; readonly store: () => EventStore },
  fault: (load: Load) => Promise<void>
): Promise<void> {
  await using load = loadOn(dist, recipe)
  await load.start(4)
  await load.goesOn(5)
  await fault(load)
  await load.goesOn(5)
  await load.end()
  expect(await faultsOf(load, store(), freshness)).toEqual([])
  expect(racersIn(load)).toBeGreaterThanOrEqual(4)
}

/** Connections are cut between a request and its answer, in an answer, and at any time. */
export async function cutOff(load: Load, network: Network): Promise<void> {
  for (const bytes of Array.from({ length: ROUNDS }, () => [0, 7, 300]).flat()) {
    await network.cutAfter(bytes)
    await load.goesOn(2)
  }
  network.cut()
  await load.goesOn(2)
}

/** The network is slow, or passes nothing for a while. `store` is opened through it. */
export async function slowDown(
  load: Load,
  network: Network,
  store: EventStore,
  rounds = Math.max(ROUNDS, 2)
): Promise<void> {
  const history = await createSessionHistory({ store })
  try {
    for (let round = 1; round <= rounds; round++) {
      // Who has won wins again for a while: it knows what to follow, and the others have to ask.
      network.delay(10)
      await load.goesOn(2)
      network.delay(0)
      network.hold()
      await isUnhealthy(history)
      // Half of the time with connections that are as before, half of the time with new ones.
      if (round % 2 === 0) network.cut()
      network.release()
      await load.goesOn(5)
      await until(() => history.health())
    }
  } finally {
    network.delay(0)
    network.release()
    await history.stop()
  }
}

// That it takes less than a second is shown in test/stores, by a clock that nothing else holds up. Other calls wait for 5 s.
async function isUnhealthy(history: SessionHistoryService): Promise<void> {
  const from = performance.now()
  expect(await history.health()).toBe(false)
  expect(performance.now() - from).toBeLessThan(4_000)
}

/** The faults of a single server, each under the load of four processes; and what two processes see of each other. */
export function testFaults({ freshness, startServer, recipe, store }: Subject): void {
  let server: Server
  let proxy: Proxy
  let compiled: ReturnType<typeof compile>
  let made = 0

  beforeAll(async () => {
    compiled = compile()
    server = await startServer()
    proxy = await proxyTo(server.port)
  }, 60_000)

  afterAll(async () => {
    await proxy?.[Symbol.asyncDispose]()
    await server?.[Symbol.asyncDispose]()
    compiled.remove()
  })

  function loaded(fault: (load: Load, name: string) => Promise<void>): Promise<void> {
    const name = `load${++made}`
    const judged = { freshness, store: () => store(server.port, name) }
    return underLoad(compiled.path, recipe(proxy.port, name), judged, (load) => fault(load, name))
  }

  it(
    'four processes lose nothing and store nothing twice where writers are killed, and the server, which comes back',
    PATIENCE,
    () =>
      loaded(async (load, name) => {
        const history = await createSessionHistory({ store: store(server.port, name) })
        try {
          for (let round = 1; round <= ROUNDS; round++) {
            await load.replaceOne()
            await load.goesOn(10)
            await server.kill()
            await isUnhealthy(history)
            await server.restart()
            await load.goesOn(10)
            await until(() => history.health())
          }
        } finally {
          await history.stop()
        }
      })
  )

  it('nor where connections are cut between a request and its answer, or anywhere', PATIENCE, () =>
    loaded((load) => cutOff(load, proxy))
  )

  it('nor where the network is slow, or passes nothing for a while', PATIENCE, () =>
    loaded((load, name) => slowDown(load, proxy, store(proxy.port, name)))
  )

  it(
    'two processes see what the other does: turns, purges, and events as they come, also after the server was away',
    PATIENCE,
    async () => {
      const name = `pair${++made}`
      const one = await createSessionHistory({ store: store(server.port, name), logger: { warn: () => undefined } })
      const other = await createSessionHistory({ store: store(server.port, name), logger: { warn: () => undefined } })
      try {
        await seeEachOther(one, other, async () => {
          await server.kill()
          await server.restart()
        })
      } finally {
        await one.stop()
        await other.stop()
      }
    }
  )
}

async function seeEachOther(
  one: SessionHistoryService,
  other: SessionHistoryService,
  breakServer: () => Promise<void>
): Promise<void> {
  const session = await one.createSession('ada', 'talk')
  const heard: string[] = []
  const left = new AbortController()
  const following = follow(other, heard, left.signal)

  // A turn keeps the other out, and is fenced by it.
  const turn = await one.beginTurn(session, { owner: 'one' })
  await turn.append({ id: 'a', content: 'a' })
  await expect(other.appendMessage(session, { id: 'x', content: 'x' })).rejects.toMatchObject({ code: 'TURN_BUSY' })
  const waiting = other.appendMessage(session, { id: 'b', content: 'b' }, { onBusy: 'wait' })
  await turn.end()
  await waiting
  const taken = await one.beginTurn(session)
  const mine = await other.beginTurn(session, { onBusy: 'takeover' })
  await expect(taken.append({ id: 'x', content: 'x' })).rejects.toMatchObject({ code: 'TURN_FENCED' })
  expect(taken.signal.aborted).toBe(true)
  await mine.end()
  await until(() => heard.join('') === 'ab')

  await breakServer()
  await until(() => one.health())
  // The first call after it may meet a connection that has gone.
  await until(async () => {
    try {
      await one.appendMessage(session, { id: 'c', content: 'c' }, { idempotencyKey: 'c' })
      return true
    } catch (error) {
      if (isTurnlogError(error, 'STORE_UNAVAILABLE')) return false
      throw error
    }
  })
  await until(() => heard.join('') === 'abc')
  expect((await other.getSession('ada', 'talk'))?.messages.map(({ id }) => id)).toEqual(['a', 'b', 'c'])

  // Another log of that name.
  await one.purgeSession('ada', 'talk')
  await one.createSession('ada', 'talk')
  expect((await other.appendMessage(session, { id: 'd', content: 'd' }))?.version).toBe(2)
  expect(await following).toBe('ended')
  left.abort()
}

/** Follows a session as a program does that is to hear everything: after a failure, from where it was. */
async function follow(history: SessionHistoryService, heard: string[], signal: AbortSignal): Promise<'ended'> {
  let next = 1
  for (;;) {
    try {
      for await (const event of history.subscribe('ada', 'talk', { from: next, signal })) {
        next = event.version + 1
        if (event.type === 'message-appended') heard.push(event.data.message.id)
      }
      return 'ended'
    } catch (error) {
      if (!isTurnlogError(error, 'STORE_UNAVAILABLE')) throw error
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}

/** Resolves when it is so. What it waits for is done by others: there is nothing to listen to. */
async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 10))
}
