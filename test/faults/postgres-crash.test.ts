import { Pool } from 'pg'
import { expect, it } from 'vitest'
import { createSessionHistory, isTurnlogError } from '../../src/index.ts'
import { postgresStore } from '../../src/stores/postgres.ts'
import { postgresMissing, postgresServer } from '../servers/postgres.ts'
import { text, textsOf } from '../service/kit.ts'

const because = postgresMissing === undefined ? '' : ` (skipped: ${postgresMissing})`

it.skipIf(postgresMissing)(
  `keeps what was acknowledged when the server is killed, knows that it is gone, and goes on by itself${because}`,
  async () => {
    await using server = await postgresServer()
    const connectionString = server.url
    // As of a caller who listens to no errors of its pool.
    const pool = new Pool({ connectionString })
    const stores = Array.from({ length: 3 }, (_, i) =>
      i === 0 ? postgresStore({ pool }) : postgresStore({ connectionString })
    )
    const histories = await Promise.all(stores.map((store) => createSessionHistory({ store })))
    const sessions = ['a', 'b', 'c', 'd'].map((id) => ({ userId: 'ada', id }))
    for (const { id } of sessions) await histories[0]!.createSession('ada', id)
    const stop = new AbortController()
    const hints = stores[2]!.watch!({ userId: 'ada', sessionId: 'a' }, stop.signal)[Symbol.asyncIterator]()
    expect(await hints.next()).toEqual({ done: false, value: 1 })
    const [acknowledged, unknown] = [new Set<unknown>(), new Set<unknown>()]
    let isOver = false
    let isUp: Promise<void> = Promise.resolve()
    let [progress, onProgress] = [0, (): void => undefined]
    const writing = histories.flatMap((history, writer) =>
      sessions.map(async (session) => {
        for (let i = 0; !isOver; i++) {
          const said = `${session.id} ${writer} ${i}`
          try {
            await history.appendMessage(session, text(said))
            acknowledged.add(said)
            progress++
            onProgress()
          } catch (error) {
            if (isTurnlogError(error, 'STORE_UNAVAILABLE') && error.outcome === 'unknown') unknown.add(said)
            else if (!isTurnlogError(error, 'STORE_UNAVAILABLE') && !isTurnlogError(error, 'VERSION_CONFLICT'))
              throw error
            await isUp
          }
        }
      })
    )
    const written = async (count: number): Promise<void> => {
      for (const goal = progress + count; progress < goal;) await new Promise<void>((resolve) => (onProgress = resolve))
    }
    for (let round = 0; round < 2; round++) {
      await written(40)
      let comesUp = (): void => undefined
      isUp = new Promise((resolve) => (comesUp = resolve))
      await server.kill()
      expect(await Promise.all(stores.map((store) => store.health()))).toEqual([false, false, false])
      await server.restart()
      comesUp()
      await written(40)
      expect(await Promise.all(stores.map((store) => store.health()))).toEqual([true, true, true])
    }
    isOver = true
    await Promise.all(writing)
    const reader = await createSessionHistory({ store: postgresStore({ connectionString }) })
    const said = (await Promise.all(sessions.map(({ id }) => reader.getSession('ada', id)))).flatMap(textsOf)
    expect(new Set(said).size).toBe(said.length)
    expect([...acknowledged].filter((each) => !said.includes(each))).toEqual([])
    expect(said.filter((each) => !acknowledged.has(each) && !unknown.has(each))).toEqual([])
    const end = await reader.getSession('ada', 'a')
    for (let version = 1; version !== end?.version;) version = (await hints.next()).value as number
    stop.abort()
    await Promise.all([...histories, reader].map((history) => history.stop()))
    // It is the caller's own again; its connections are still being closed when it has ended.
    pool.on('error', () => undefined)
    await pool.end()
  }
)
