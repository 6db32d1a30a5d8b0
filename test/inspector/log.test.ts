import { describe, expect } from 'vitest'
import { Logs } from '../../src/inspector/log.ts'
import { messageSchema, type SessionEvent } from '../../src/index.ts'
import { ADA, text } from '../service/kit.ts'
import { it } from './kit.ts'

describe('a log', () => {
  it('that grows meanwhile has no later version at a time than the newest that was asked for', async ({ begin }) => {
    const { history } = await begin()
    await history.createSession('ada', 's1')
    const log = new Logs(history).of('ada', 's1')
    const newest = await log.newest()
    await history.appendMessage(ADA, text('later'))
    expect(await log.versionOf(new Date(Date.now() + 1_000_000), newest)).toBe(1)
  })

  it('that is begun anew while it is read is of one log', async ({ begin }) => {
    const { history } = await begin()
    const beginAnew = async (): Promise<void> => {
      await history.purgeSession('ada', 's1')
      await history.createSession('ada', 's1')
      for (let i = 0; i < 5; i++) await history.updateMetadata(ADA, { set: { i } })
    }
    await history.createSession('ada', 's1')
    await history.appendMessage(ADA, [text('one'), text('two')])
    let isDue = true
    const service = history.withMessage(messageSchema, { format: 'message', maxMessages: Infinity })
    const racing = new Proxy(service, {
      get: (target, key) => {
        if (key === 'withMessage') return () => racing
        if (key !== 'readEvents') return (target[key as keyof typeof target] as () => unknown).bind(target)
        return async function* (...asked: Parameters<typeof target.readEvents>): AsyncGenerator<SessionEvent<unknown>> {
          // Of what is new, after it was seen that the log is the same.
          if (asked[2]?.from === 4 && isDue) {
            isDue = false
            await beginAnew()
          }
          yield* target.readEvents(...asked)
        }
      }
    })
    const log = new Logs(racing).of('ada', 's1')
    await log.outline(1, Infinity, 100)
    await history.appendMessage(ADA, text('three'))
    const { buckets } = await log.outline(1, Infinity, 100)
    expect(isDue).toBe(false)
    expect(buckets).toEqual([{ created: 1 }, ...Array.from({ length: 5 }, () => ({ metadata: 1 }))])
  })
})
