import { afterAll, describe, it } from 'vitest'
import type { EventStore } from '../../src/index.ts'
import { natsStore } from '../../src/stores/nats.ts'
import { testEventStore } from '../../src/testing.ts'
import { natsMissing, natsServer } from '../servers/nats.ts'

const server = natsMissing === undefined ? await natsServer() : undefined
afterAll(() => server?.[Symbol.asyncDispose]())

const prefixes = new WeakMap<EventStore, string>()
let made = 0

function storeOf(prefix = `t${++made}`): EventStore {
  const store = natsStore({ servers: server?.url ?? 'nats://localhost', prefix })
  prefixes.set(store, prefix)
  return store
}

describe.skipIf(natsMissing !== undefined)(
  `NATS${natsMissing === undefined ? '' : ` (skipped: ${natsMissing})`}`,
  () => {
    testEventStore(
      { describe, it },
      { name: 'natsStore on one server', create: () => storeOf(), reopen: (store) => storeOf(prefixes.get(store)) }
    )
  }
)
