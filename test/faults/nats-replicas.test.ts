import { connect } from '@nats-io/transport-node'
import { afterAll, describe, expect, it } from 'vitest'
import type { EventStore } from '../../src/index.ts'
import { natsStore } from '../../src/stores/nats.ts'
import { append, assertLog, begin, BOB, follow, last, put, TRIP } from '../../src/testing/kit.ts'
import type { Commit } from '../../src/store.ts'
import { testEventStore } from '../../src/testing.ts'
import { natsMissing, natsServer } from '../servers/nats.ts'

const cluster = natsMissing === undefined ? await natsServer({ nodes: 3 }) : undefined
afterAll(() => cluster?.[Symbol.asyncDispose]())

// Streams with replicas take long to make: those that a test is done with are emptied for another.
const free: string[] = []
const prefixes = new WeakMap<EventStore, string>()
let made = 0

function storeOf(prefix: string, servers = cluster?.url.split(',') ?? 'nats://localhost'): EventStore {
  const store = natsStore({ servers, prefix, replicas: 3 })
  prefixes.set(store, prefix)
  return store
}

async function empty(prefix: string): Promise<void> {
  const connection = await connect({ servers: cluster!.url.split(',') })
  for (const stream of [`${prefix}-0`, `${prefix}-forks`]) await connection.request(`$JS.API.STREAM.PURGE.${stream}`)
  await connection.close()
  free.push(prefix)
}

const title = `NATS${natsMissing === undefined ? '' : ` (skipped: ${natsMissing})`}`
describe.skipIf(natsMissing !== undefined)(title, () => {
  testEventStore(
    { describe, it },
    {
      name: 'natsStore on three servers',
      create: () => storeOf(free.pop() ?? `t${++made}`),
      reopen: (store) => storeOf(prefixes.get(store)!),
      dispose: (store) => empty(prefixes.get(store)!)
    }
  )

  describe('nine writers with one expected version', () => {
    it('have one winner in every round, which is what everybody reads', { timeout: 40_000 }, async () => {
      const prefix = 'nine'
      const stores = Array.from({ length: 9 }, () => storeOf(prefix))
      for (const store of stores) await store.open()
      const won: Commit[] = [begin(TRIP)]
      await put(stores[0]!, ...won)
      for (let round = 0; round < 60; round++) {
        // So that each of them knows the end, and comes at the same time.
        await Promise.all(stores.map((store) => store.head(TRIP)))
        const rivals = stores.map(() => follow(last(won)))
        const results = await Promise.all(stores.map((store, i) => append(store, rivals[i]!)))
        const winners = rivals.filter((_, i) => results[i]![0] === 'stored')
        expect(winners.length, `round ${round}: ${results.join()}`).toBe(1)
        won.push(...winners)
      }
      for (const store of stores) await assertLog(store, ...won)
      // Lists see newest messages only: those that lost are not among them for long.
      await expect.poll(() => stores[0]!.list('ada')).toEqual([last(won).summary])
      for (const store of stores) await store.close()
    })

    it('are as many as the server takes in, so that this has something to prove', async () => {
      const connection = await connect({ servers: cluster!.url.split(',') })
      const question = JSON.stringify({ subjects_filter: '>' })
      const { data } = await connection.request('$JS.API.STREAM.INFO.nine-0', question)
      await connection.close()
      const { state } = JSON.parse(Buffer.from(data).toString()) as { state: { messages: number } }
      expect(state.messages).toBeGreaterThan(61)
    })
  })

  describe('the death of a leader', () => {
    it('loses nothing that was acknowledged, and work goes on by itself', { timeout: 60_000 }, async () => {
      const prefix = 'leader'
      const store = storeOf(prefix)
      await store.open()
      let newest = begin(BOB)
      const commits = [newest]
      await put(store, newest)
      const leader = await cluster!.leaderOf(`${prefix}-0`)
      let wasAway = false
      for (let i = 0; i < 40; i++) {
        if (i === 10) await leader.kill()
        newest = follow(newest)
        // The same commit, until it is there: where it was stored already, the server or the log says so.
        for (;;) {
          const [result] = await store.append([newest])
          const isThere = (await store.head(BOB).catch(() => null))?.version === newest.summary.version
          if (result!.status === 'stored' || isThere) break
          wasAway = true
        }
        commits.push(newest)
      }
      expect(wasAway).toBe(true)
      // Servers put the consumers that read them anywhere, also where nobody is.
      for (let i = 0; i < 4; i++) {
        await assertLog(store, ...commits)
        expect(await store.list('bob')).toEqual([newest.summary])
      }
      await leader.restart()
      await store.close()
    })
  })
})
