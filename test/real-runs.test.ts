import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import {
  createSessionHistory,
  fromOpenAIMessage,
  toOpenAIMessages,
  type OpenAIMessage,
  type Session,
  type SessionHistoryService,
  type SessionRef
} from '../src/index.ts'
import { warnings } from './service/kit.ts'

interface Run {
  readonly task_id: number
  readonly trial: number
  readonly messages: readonly OpenAIMessage[]
}

const FILE = fileURLToPath(new URL('../../shared/data/tau-airline.jsonl', import.meta.url))
const isPresent = existsSync(FILE)
const title = 'come out as they went in'

if (!isPresent && !process.env['CI']) it.skip(`100 real runs ${title} (skipped: there is no ${FILE})`)
else {
  const runs = (): Run[] =>
    readFileSync(FILE, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Run)

  it(`100 real runs ${title}, several at once, through sessions that are stopped and brought back`, async () => {
    const all = runs()
    expect(all).toHaveLength(100)
    const history = await createSessionHistory({ maxActiveSessions: 10, missing: { get: 'throw' }, logger: warnings() })
    const refs = all.map((run, i): SessionRef => ({
      userId: `task ${run.task_id}`,
      id: `trial ${run.trial} of run ${i}`
    }))
    await Promise.all(
      [0, 1, 2, 3, 4, 5, 6, 7].map(async (worker) => {
        for (let i = worker; i < all.length; i += 8) await store(history, refs[i]!, all[i]!.messages, i % 2 === 0)
      })
    )
    for (const [i, { messages }] of all.entries()) {
      const session = await history.getSession(refs[i]!.userId, refs[i]!.id)
      expect(session?.version).toBe(messages.length + 1)
      expect(toOpenAIMessages(session!.messages)).toEqual(messages)
    }
    const users = await history.listUsers()
    expect(new Set(users)).toEqual(new Set(refs.map(({ userId }) => userId)))
    const lists = await Promise.all(users.map((user) => history.listSessions(user)))
    expect(lists.flat()).toHaveLength(100)
    await history.stop()
  })

  it(`the strings of a real run ${title}, to the last character`, async () => {
    const history = await createSessionHistory()
    const ref = { userId: 'ada', id: 's1' }
    for (const { messages } of runs().slice(0, 10)) {
      await store(history, ref, messages, true)
      const session = await history.getSession(ref.userId, ref.id)
      expect(toOpenAIMessages(session!.messages)).toStrictEqual(messages)
    }
    await history.stop()
  })

  it('every past version of a real run has exactly its first messages', async () => {
    const history = await createSessionHistory({ maxActiveSessions: 1, logger: warnings() })
    const { messages } = runs().reduce((longest, run) =>
      run.messages.length > longest.messages.length ? run : longest
    )
    const ref = { userId: 'ada', id: 's1' }
    await store(history, ref, messages, false)
    await history.createSession('ada', 'another')
    for (let n = 0; n <= messages.length; n++) {
      const session = await history.getSession(ref.userId, ref.id, { at: n + 1 })
      expect(toOpenAIMessages(session!.messages)).toEqual(messages.slice(0, n))
    }
    expect(messages.length).toBeGreaterThan(40)
    await history.stop()
  })
}

async function store(
  history: SessionHistoryService,
  { userId, id }: SessionRef,
  messages: readonly OpenAIMessage[],
  asOneList: boolean
): Promise<void> {
  let session: Session | null = await history.createSession(userId, id)
  const given = messages.map((message) => fromOpenAIMessage(message))
  if (asOneList) return void (await history.appendMessage(session, given))
  for (const message of given) session = await history.appendMessage(session!, message)
  expect(session?.messages).toHaveLength(messages.length)
}
