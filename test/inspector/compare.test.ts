import { setImmediate } from 'node:timers/promises'
import { expect, it, vi } from 'vitest'
import { readerOf } from '../../src/adapters/shared/reading.ts'
import { createSessionHistory, memoryStore } from '../../src/index.ts'
import { align } from '../../src/inspector/compare.ts'
import { failureOf, InvalidRequest } from '../../src/inspector/failure.ts'
import { factsOf, type Reading } from '../../src/inspector/messages.ts'
import { eventLine } from '../../src/inspector/outline.ts'
import { eventsOf } from '../service/kit.ts'

// As they are stored: frozen.
function readingOf(name: string): Reading {
  const messages = Array.from({ length: 2_000 }, (_, i) =>
    Object.freeze({
      id: `${name}${i}`,
      object: 'message',
      type: 'message',
      status: 'completed' as const,
      role: 'user' as const,
      content: [{ type: 'text' as const, text: `m${i} `.repeat(200) }]
    })
  )
  return { messages, items: messages }
}

// How often others are answered until it is over.
async function turnsDuring(work: Promise<unknown>): Promise<number> {
  let isOver = false
  const over = work.finally(() => (isOver = true))
  let turns = 0
  for (; !isOver; turns++) await setImmediate()
  await over
  return turns
}

it('others are answered while long sessions are compared', async () => {
  const alignment = align(readingOf('a'), readingOf('b'))
  expect(await turnsDuring(alignment)).toBeGreaterThan(2)
  expect((await alignment).counts).toEqual({ same: 2_000, changed: 0, a: 0, b: 0 })
})

it('others are answered while a long session is counted', async () => {
  const facts = factsOf(readingOf('a'))
  expect(await turnsDuring(facts)).toBeGreaterThan(1)
  expect(await facts).toMatchObject({ messages: 2_000, roles: { user: 2_000 } })
})

it('an event is written as JSON once for all who follow', async () => {
  const history = await createSessionHistory()
  await history.appendMessage(await history.createSession('ada', 's1'), { role: 'user', content: 'one' })
  const read = await readerOf('message')
  const [event] = await eventsOf(history, { userId: 'ada', id: 's1' }, { from: 2 })
  const [again] = await eventsOf(history, { userId: 'ada', id: 's1' }, { from: 2 })
  const written = vi.spyOn(JSON, 'stringify')
  const lines = [eventLine(event!, read), eventLine(again!, read)]
  expect(written).toHaveBeenCalledTimes(1)
  written.mockRestore()
  expect(lines[0]!.bytes).toBe(Buffer.byteLength(JSON.stringify(event)))
  expect(lines[1]).toEqual(lines[0])
  await history.stop()
})

it('an error that nobody has foreseen is warned of', () => {
  const told = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
  expect(failureOf(new InvalidRequest('no'))).toMatchObject({ status: 400 })
  expect(told).not.toHaveBeenCalled()
  expect(failureOf(new Error('a fault at postgres://ada:secret@box'))).toMatchObject({ code: 'UNEXPECTED' })
  expect(told).toHaveBeenCalledWith(expect.stringMatching(/^turnlog inspector: Error: a fault at /))
  expect(told).not.toHaveBeenCalledWith(expect.stringContaining('secret'))
  told.mockRestore()
})

it('of a long log the newest messages are read alone, also where that counts as no use', async () => {
  const store = memoryStore()
  const history = await createSessionHistory({ store })
  const session = await history.createSession('ada', 's1')
  await history.appendMessage(
    session,
    Array.from({ length: 600 }, (_, i) => ({ role: 'user' as const, content: `m${i}` }))
  )
  const other = await createSessionHistory({ store, retention: { ttlMs: 1_000_000_000 } })
  const [read, touch] = [vi.spyOn(store, 'read'), vi.spyOn(store, 'touch')]
  const end = await other.getSession('ada', 's1', { last: 2, countsAsUse: false })
  expect(end!.messages).toHaveLength(2)
  expect(read).toHaveBeenCalled()
  for (const [, range] of read.mock.calls) expect(range!.from).toBeGreaterThan(1)
  expect(touch).not.toHaveBeenCalled()
  await Promise.all([history.stop(), other.stop()])
})
