import { describe } from 'vitest'
import { natsStore } from '../../src/stores/nats.ts'
import { natsMissing, natsServer } from '../servers/nats.ts'
import { testFaults } from './scenarios.ts'

if (natsMissing !== undefined) process.stderr.write(`Skipped: ${natsMissing}\n`)

describe.skipIf(natsMissing !== undefined)('NATS JetStream, one server', () => {
  const options = (port: number, name: string) => ({
    servers: `nats://127.0.0.1:${port}`,
    prefix: name,
    // A server tells clients of its own address, and they would go around the proxy.
    connect: { ignoreClusterUpdates: true }
  })
  testFaults({
    freshness: 'real-time',
    async startServer() {
      const server = await natsServer()
      return { ...server, port: server.ports[0]!, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
    },
    recipe: (port, name) => ({ module: 'stores/nats.js', factory: 'natsStore', options: options(port, name) }),
    store: (port, name) => natsStore(options(port, name))
  })
})
