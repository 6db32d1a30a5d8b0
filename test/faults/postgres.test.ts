import { describe } from 'vitest'
import { postgresStore } from '../../src/stores/postgres.ts'
import { postgresMissing, postgresServer } from '../servers/postgres.ts'
import { testFaults } from './scenarios.ts'

if (postgresMissing !== undefined) process.stderr.write(`Skipped: ${postgresMissing}\n`)

describe.skipIf(postgresMissing !== undefined)('PostgreSQL', () => {
  let url = ''
  const options = (port: number, name: string) => {
    const address = new URL(url)
    address.port = String(port)
    return { connectionString: address.href, schema: name }
  }
  testFaults({
    freshness: 'real-time',
    async startServer() {
      const server = await postgresServer()
      url = server.url
      return server
    },
    recipe: (port, name) => ({
      module: 'stores/postgres.js',
      factory: 'postgresStore',
      options: options(port, name)
    }),
    store: (port, name) => postgresStore(options(port, name))
  })
})
