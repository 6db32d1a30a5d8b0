import { connect } from '@nats-io/transport-node'
import { afterAll, describe, it } from 'vitest'
import type { EventStore } from '../../src/index.ts'
import { natsStore } from '../../src/stores/nats.ts'
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

describe.skipIf(natsMissing !== undefined)(
  `NATS${natsMissing === undefined ? '' : ` (skipped: ${natsMissing})`}`,
  () => {
    testEventStore(
      { describe, it },
      {
        name: 'natsStore on three servers',
        create: () => storeOf(free.pop() ?? `t${++made}`),
        reopen: (store) => storeOf(prefixes.get(store)!),
        dispose: (store) => empty(prefixes.get(store)!)
      }
    )
  }
)
