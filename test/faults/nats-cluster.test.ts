import { afterAll, beforeAll, describe, it } from 'vitest'
import { natsStore } from '../../src/stores/nats.ts'
import { compile } from '../compiled.ts'
import { natsMissing, natsServer, type NatsNode, type NatsServer } from '../servers/nats.ts'
import type { Load } from './load.ts'
import { networkOf, proxyTo, type Proxy } from './proxy.ts'
import { cutOff, IS_SOAK, PATIENCE, slowDown, underLoad } from './scenarios.ts'

const CLUSTER_ROUNDS = IS_SOAK ? 4 : 1

if (natsMissing !== undefined) process.stderr.write(`Skipped: ${natsMissing}\n`)

describe.skipIf(natsMissing !== undefined)('NATS JetStream, three servers', () => {
  let cluster: NatsServer
  let proxies: readonly Proxy[] = []
  let compiled: ReturnType<typeof compile>

  beforeAll(async () => {
    compiled = compile()
    cluster = await natsServer({ nodes: 3 })
    proxies = await Promise.all(cluster.ports.map(proxyTo))
  }, 60_000)

  afterAll(async () => {
    for (const proxy of proxies) await proxy[Symbol.asyncDispose]()
    await cluster?.[Symbol.asyncDispose]()
    compiled.remove()
  })

  /** Through the proxies: the servers tell clients of their own addresses, and they would go around those. */
  function options(prefix: string, ports = proxies.map(({ port }) => port)) {
    const servers = ports.map((port) => `nats://127.0.0.1:${port}`)
    return { servers, prefix, replicas: 3, connect: { ignoreClusterUpdates: true } }
  }

  function loaded(prefix: string, fault: (load: Load, leader: () => Promise<NatsNode>) => Promise<void>) {
    return underLoad(
      compiled.path,
      { module: 'stores/nats.js', factory: 'natsStore', options: options(prefix) },
      { freshness: 'prefix', store: () => natsStore(options(prefix, [...cluster.ports])) },
      (load) => fault(load, () => cluster.leaderOf(`${prefix}-0`))
    )
  }

  it(
    'four processes lose nothing and store nothing twice where a writer is killed, one server stops for a while, and another is killed',
    PATIENCE,
    () =>
      loaded('one', async (load, leader) => {
        for (let round = 1; round <= CLUSTER_ROUNDS; round++) {
          await load.replaceOne()
          const leading = await leader()
          const [following] = cluster.nodes.filter((node) => node !== leading)
          // Clients that it served take some 10 s to find another.
          await stopDuring(following!, () => load.goesOn(5, IS_SOAK ? 4 : 1))
          await load.goesOn(5)
          const killed = await leader()
          await killed.kill()
          await load.goesOn(5)
          await killed.restart()
          await load.goesOn(5)
        }
      })
  )

  it('nor where connections are cut between a request and its answer, or anywhere', PATIENCE, () =>
    loaded('cut', (load) => cutOff(load, networkOf(proxies)))
  )

  it('nor where the network is slow, or passes nothing for a while', PATIENCE, () =>
    loaded('slow', (load) => slowDown(load, networkOf(proxies), natsStore(options('slow')), CLUSTER_ROUNDS))
  )

  // It takes the servers some 20 seconds to find a new leader where the old one only stops, and as long to come back all.
  it.runIf(IS_SOAK)('nor where the one that leads stops, and goes on later', PATIENCE, () =>
    loaded('leader', async (load, leader) => {
      for (let round = 1; round <= CLUSTER_ROUNDS; round++) {
        await stopDuring(await leader(), () => load.goesOn(5))
        await load.goesOn(5)
      }
    })
  )

  it.runIf(IS_SOAK)('nor where all are killed, and come back', PATIENCE, () =>
    loaded('all', async (load) => {
      for (let round = 1; round <= CLUSTER_ROUNDS; round++) {
        await cluster.kill()
        await cluster.restart()
        await load.goesOn(5)
      }
    })
  )
})

async function stopDuring({ pid }: NatsNode, work: () => Promise<void>): Promise<void> {
  process.kill(pid, 'SIGSTOP')
  try {
    await work()
  } finally {
    process.kill(pid, 'SIGCONT')
  }
}
