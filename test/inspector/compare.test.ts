import { setImmediate } from 'node:timers/promises'
import { afterEach, expect, it, vi } from 'vitest'
import { readerOf } from '../../src/adapters/shared/reading.ts'
import { createSessionHistory, memoryStore, type Json, type Message } from '../../src/index.ts'
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
      content: [{ type: 'text' as const, text: `m${i}` }]
    })
  )
  return { messages, items: messages }
}

/** Calls and outputs, of which each notes that it was looked at. */
function watchedReading(): { readonly reading: Reading; readonly looked: Set<unknown> } {
  const looked = new Set<unknown>()
  const list = (): Message[] =>
    Array.from({ length: 1_000 }, (_, i) => {
      const isCall = i % 2 === 0
      const type = isCall ? 'function_call' : 'function_call_output'
      // Every hundredth call stays open.
      const id = isCall && i % 200 === 0 ? `open ${i}` : `${i >> 1}`
      const message = {
        id: `m${i}`,
        object: 'message',
        status: 'completed' as const,
        content: [
          { type: 'data' as const, data: { call_id: id, ...(isCall ? { name: 'find' } : { output: 'found' }) } }
        ]
      }
      return Object.defineProperty(message, 'type', {
        enumerable: true,
        get() {
          looked.add(message)
          return type
        }
      }) as unknown as Message
    })
  return { reading: { messages: list(), items: list() as unknown as Json[] }, looked }
}

/** By this clock, looking at the time takes a millisecond, and nothing else takes any: in a slice there is room for ten. */
function tickWhenAsked(): void {
  let now = 0
  vi.spyOn(performance, 'now').mockImplementation(() => now++)
}

afterEach(() => vi.restoreAllMocks())

// How often others are answered until it is over. `meanwhile`: one of them.
async function turnsDuring(work: Promise<unknown>, meanwhile?: () => void): Promise<number> {
  let isOver = false
  const over = work.finally(() => (isOver = true))
  let turns = 0
  for (; !isOver; turns++) {
    await setImmediate()
    meanwhile?.()
  }
  await over
  return turns
}

it('others are answered while long sessions are compared', async () => {
  tickWhenAsked()
  const alignment = align(readingOf('a'), readingOf('b'))
  expect(await turnsDuring(alignment)).toBeGreaterThanOrEqual(4_000 / 10)
  expect((await alignment).counts).toEqual({ same: 2_000, changed: 0, a: 0, b: 0 })
})

it('others are answered while a long session is counted', async () => {
  tickWhenAsked()
  const facts = factsOf(readingOf('a'))
  expect(await turnsDuring(facts)).toBeGreaterThanOrEqual(2_000 / 10)
  expect(await facts).toMatchObject({ messages: 2_000, roles: { user: 2_000 } })
})

it.each(['all of it is new', 'all of it is known'])('a long session is counted in slices where %s', async (which) => {
  const { reading, looked } = watchedReading()
  if (which === 'all of it is known') await factsOf(reading)
  looked.clear()
  tickWhenAsked()
  const facts = factsOf(reading)
  let [most, sum] = [looked.size, looked.size]
  looked.clear()
  await turnsDuring(facts, () => {
    most = Math.max(most, looked.size)
    sum += looked.size
    looked.clear()
  })
  expect(most).toBeLessThanOrEqual(10)
  expect(sum).toBeGreaterThanOrEqual(1_000)
  const open = [0, 200, 400, 600, 800].map((message) => ({ message, part: 0, name: 'find' }))
  expect(await facts).toMatchObject({ messages: 1_000, toolCalls: 500, openCount: 5, open })
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
