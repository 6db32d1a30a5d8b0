import { setImmediate } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { align } from '../../src/inspector/compare.ts'
import type { Reading } from '../../src/inspector/messages.ts'

it('others are answered while long sessions are compared', async () => {
  const reading = (name: string): Reading => {
    const messages = Array.from({ length: 2_000 }, (_, i) =>
      Object.freeze({
        id: `${name}${i}`,
        object: 'message',
        type: 'message',
        status: 'completed' as const,
        role: 'user' as const,
        content: [{ type: 'text' as const, text: `m${i} `.repeat(20) }]
      })
    )
    return { messages, items: [] }
  }
  let isOver = false
  const alignment = align(reading('a'), reading('b')).finally(() => (isOver = true))
  let turns = 0
  for (; !isOver; turns++) await setImmediate()
  expect(turns).toBeGreaterThan(2)
  expect((await alignment).counts).toEqual({ same: 2_000, changed: 0, a: 0, b: 0 })
})
