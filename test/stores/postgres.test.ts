import { Pool } from 'pg'
import { afterAll, describe, it } from 'vitest'
import type { EventStore } from '../../src/index.ts'
import { postgresStore } from '../../src/stores/postgres.ts'
import { testEventStore } from '../../src/testing.ts'
import { postgresMissing, postgresServer } from '../servers/postgres.ts'

const server = postgresMissing === undefined ? await postgresServer() : undefined
const url = server?.url ?? 'postgres://localhost'
const admin = new Pool({ connectionString: url })
admin.on('error', () => undefined)
afterAll(async () => {
  await admin.end()
  await server?.stop()
})
// Vitest shows the titles of what is skipped.
const describeThere: typeof describe | typeof describe.skip = postgresMissing === undefined ? describe : describe.skip
const because = postgresMissing === undefined ? '' : ` (skipped: ${postgresMissing})`

const schemas = new WeakMap<EventStore, string>()
let made = 0

function newSchema(): string {
  return `turnlog "${++made}"`
}

function conformance(name: string, storeIn: (schema: string) => EventStore): void {
  const remembered = (schema: string): EventStore => {
    const store = storeIn(schema)
    schemas.set(store, schema)
    return store
  }
  testEventStore(
    { describe: describeThere, it },
    { name: name + because, create: () => remembered(newSchema()), reopen: (store) => remembered(schemas.get(store)!) }
  )
}

conformance('postgresStore by connectionString', (schema) =>
  postgresStore({ connectionString: url, schema, maxConnections: 4 })
)
conformance('postgresStore by pool', (schema) => postgresStore({ pool: admin, schema }))
conformance('postgresStore with partitions', (schema) => postgresStore({ pool: admin, schema, partitions: 3 }))
