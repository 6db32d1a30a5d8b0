import { expect, it, vi } from 'vitest'
import { postgresStore } from '../../src/stores/postgres.ts'

vi.mock('pg', () => {
  throw new Error("Cannot find package 'pg'")
})

it('a driver that is not there is to be installed', async () => {
  const store = postgresStore({ connectionString: 'postgres://localhost' })
  const error = await store.open().catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', outcome: 'not-stored' })
  expect(String(error)).toContain('the driver is missing: npm install pg')
})
