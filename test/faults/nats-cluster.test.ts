import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { natsStore } from '../../src/stores/nats.ts'
import { compile } from '../compiled.ts'
import { natsMissing, natsServer, type NatsNode, type NatsServer } from '../servers/nats.ts'
import { faultsOf, loadOn, type Load } from './load.ts'
import { IS_SOAK, PATIENCE } from './scenarios.ts'

const CLUSTER_ROUNDS = IS_SOAK ? 4 : 1

if (natsMissing !== undefined) process.stderr.write(`Skipped: ${natsMissing}\n`)

describe.skipIf(natsMissing !== undefined)('NATS JetStream, three servers', () => {
  let cluster: NatsServer
  let compiled: ReturnType<typeof compile>

  beforeAll(async () => {
    compiled = compile()
    cluster = await natsServer({ nodes: 3 })
  }, 60_000)

  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]()
    compiled.remove()
  })

  async function underLoad(prefix: string, fault: (load: Load, leader: () => Promise<NatsNode>) => Promise<void>) {
    const options = { servers: cluster.url.split(','), prefix, replicas: 3 }
    await using load = loadOn(compiled.path, { module: 'stores/nats.js', factory: 'natsStore', options })
    await load.start(4)
    await load.goesOn(3)
    await fault(load, () => cluster.leaderOf(`${prefix}-0`))
    await load.goesOn(3)
    await load.end()
    expect(await faultsOf(load, natsStore(options), 'prefix')).toEqual([])
  }

  it(
    'four processes lose nothing and store nothing twice where one server stops for a while, and another is killed',
    PATIENCE,
    () =>
      underLoad('one', async (load, leader) => {
        for (let round = 1; round <= CLUSTER_ROUNDS; round++) {
          const leading = await leader()
          const [following] = cluster.nodes.filter((node) => node !== leading)
          await stopDuring(following!, () => load.goesOn(5))
          await load.goesOn(5)
          const killed = await leader()
          await killed.kill()
          await load.goesOn(5)
          await killed.restart()
          await load.goesOn(5)
        }
      })
  )

  // It takes the servers some 20 seconds to find a new leader where the old one only stops, and as long to come back all.
  it.runIf(IS_SOAK)('nor where the one that leads stops, and goes on later', PATIENCE, () =>
    underLoad('leader', async (load, leader) => {
      for (let round = 1; round <= CLUSTER_ROUNDS; round++) {
        await stopDuring(await leader(), () => load.goesOn(5))
        await load.goesOn(5)
      }
    })
  )

  it.runIf(IS_SOAK)('nor where all are killed, and come back', PATIENCE, () =>
    underLoad('all', async (load) => {
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
