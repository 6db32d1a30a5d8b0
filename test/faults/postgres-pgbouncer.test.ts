import { afterAll, describe, expect, it } from 'vitest'
import { createSessionHistory, type EventStore } from '../../src/index.ts'
import { postgresStore } from '../../src/stores/postgres.ts'
import { testEventStore } from '../../src/testing.ts'
import { pgbouncerMissing, pgbouncerTo } from '../servers/pgbouncer.ts'
import { postgresServer } from '../servers/postgres.ts'
import { text, textsOf } from '../service/kit.ts'

const server = pgbouncerMissing === undefined ? await postgresServer() : undefined
const pooler = server && (await pgbouncerTo(server, 'transaction'))
afterAll(async () => {
  await pooler?.[Symbol.asyncDispose]()
  await server?.stop()
})
// Vitest shows the titles of what is skipped.
const describeThere: typeof describe | typeof describe.skip = pgbouncerMissing === undefined ? describe : describe.skip
const because = pgbouncerMissing === undefined ? '' : ` (skipped: ${pgbouncerMissing})`

const schemas = new WeakMap<EventStore, string>()
let made = 0

function storeIn(schema: string): EventStore {
  const store = postgresStore({ connectionString: pooler!.url, schema, maxConnections: 4 })
  schemas.set(store, schema)
  return store
}

testEventStore(
  { describe: describeThere, it },
  {
    name: `postgresStore through PgBouncer${because}`,
    create: () => storeIn(`turnlog ${++made}`),
    reopen: (store) => storeIn(schemas.get(store)!)
  }
)

describeThere(`postgresStore${because}`, () => {
  it('keeps what several services write at once through PgBouncer, and tells of it', async () => {
    const schema = `turnlog ${++made}`
    const histories = await Promise.all(
      Array.from({ length: 4 }, () => createSessionHistory({ store: storeIn(schema) }))
    )
    const ids = ['a', 'b', 'c', 'd', 'e', 'f']
    for (const id of ids) await histories[0]!.createSession('ada', id)
    const said = histories.flatMap((_, writer) => Array.from({ length: 5 }, (__, i) => `${writer} ${i}`))
    await Promise.all(
      histories.map(async (history, writer) => {
        for (let i = 0; i < 5; i++)
          await Promise.all(ids.map((id) => history.appendMessage({ userId: 'ada', id }, text(`${writer} ${i}`))))
      })
    )
    for (const id of ids)
      expect(
        textsOf(await histories[1]!.getSession('ada', id))
          .map(String)
          .toSorted()
      ).toEqual(said)
    const events = histories[2]!.subscribe('ada', 'a', { from: said.length + 2 })[Symbol.asyncIterator]()
    const next = events.next()
    await histories[3]!.appendMessage({ userId: 'ada', id: 'a' }, text('last'))
    expect((await next).value).toMatchObject({ version: said.length + 2 })
    await histories[0]!.purgeSession('ada', 'b')
    expect((await histories[1]!.listSessions('ada')).map(({ id }) => id)).not.toContain('b')
    await Promise.all(histories.map((history) => history.stop()))
  })

  it('says so where PgBouncer allows no transactions', async () => {
    await using statements = await pgbouncerTo(server!, 'statement')
    const store = postgresStore({ connectionString: statements.url, schema: `turnlog ${++made}` })
    const error = await store.open().catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', outcome: 'not-stored' })
    expect(String(error)).toContain('statement pooling')
  })
})
