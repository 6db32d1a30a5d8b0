import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { natsStore } from '../../src/stores/nats.ts'
import { compile } from '../compiled.ts'
import { natsMissing, natsServer, type NatsNode, type NatsServer } from '../servers/nats.ts'
import { faultsOf, loadOn, type Load } from './load.ts'
import { PATIENCE, ROUNDS } from './scenarios.ts'

if (natsMissing !== undefined) console.warn(`Skipped: ${natsMissing}`)

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

  it('four processes lose nothing and store nothing twice where one server stops, and goes on later', PATIENCE, () =>
    underLoad('stopped', async (load, leader) => {
      for (let round = 1; round <= ROUNDS; round++) {
        const leading = await leader()
        // By turns one that follows and the one that leads.
        const { pid } = round % 2 === 1 ? cluster.nodes.find((node) => node !== leading)! : leading
        process.kill(pid, 'SIGSTOP')
        try {
          await load.goesOn(5)
        } finally {
          process.kill(pid, 'SIGCONT')
        }
        await load.goesOn(5)
      }
    })
  )

  it('nor where the one that leads is killed, and comes back', PATIENCE, () =>
    underLoad('killed', async (load, leader) => {
      for (let round = 1; round <= Math.ceil(ROUNDS / 2); round++) {
        const leading = await leader()
        await leading.kill()
        await load.goesOn(5)
        await leading.restart()
        await load.goesOn(5)
      }
    })
  )

  it('nor where all are killed, and come back', PATIENCE, () =>
    underLoad('all', async (load) => {
      for (let round = 1; round <= Math.ceil(ROUNDS / 2); round++) {
        await cluster.kill()
        await cluster.restart()
        await load.goesOn(5)
      }
    })
  )
})
