import { describe, expect, it } from 'vitest'
import { eventSchema, upcast, type StoredEvent } from '../src/event.ts'

const stored = (changes: Partial<StoredEvent> = {}): StoredEvent => ({
  id: 'e1',
  userId: 'ada',
  sessionId: 's',
  version: 1,
  type: 'message-appended',
  at: 1000,
  data: { message: { id: 'm' } },
  schemaVersion: 1,
  commitId: 'e1',
  ...changes
})

describe('upcast', () => {
  it('gives an event of this release as it is', () => {
    const event = stored()
    expect(upcast(event)).toBe(event)
  })

  it('freezes what comes unfrozen from a store, deeply', () => {
    const event = upcast(stored({ data: { message: { id: 'm', content: [{ type: 'text' }] } } }))
    const data = event?.data
    const { message } = data as unknown as { message: { content: object[] } }
    expect([event, data, message, message.content, message.content[0]].every(Object.isFrozen)).toBe(true)
  })

  it('takes old data through each step to its present form, and leaves the stored event alone', () => {
    const upcasts = {
      'message-appended': [
        (data: object) => ({ ...data, second: true }),
        (data: object) => ({ ...data, third: Object.keys(data).length })
      ]
    }
    const event = Object.freeze(stored())
    expect(upcast(event, upcasts)).toEqual(
      stored({ schemaVersion: 3, data: { message: { id: 'm' }, second: true, third: 2 } })
    )
    expect(upcast(stored({ schemaVersion: 2 }), upcasts)?.data).toEqual({ message: { id: 'm' }, third: 1 })
    expect(event).toEqual(stored())
  })

  it.each([
    ['type', stored({ type: 'message-pinned' })],
    ['type that objects inherit', stored({ type: 'constructor' })],
    ['schema version', stored({ schemaVersion: 2 })]
  ])('fails with UNKNOWN_EVENT on a newer %s', (_, event) => {
    const { version, type, schemaVersion } = event
    expect(() => upcast(event)).toThrow(
      expect.objectContaining({ code: 'UNKNOWN_EVENT', version, type, schemaVersion })
    )
  })

  it('passes over a newer event that says that it may be skipped', () => {
    expect(upcast(stored({ type: 'message-pinned', skippable: true }))).toBeNull()
    expect(upcast(stored({ schemaVersion: 2, skippable: true }))).toBeNull()
  })
})

describe('eventSchema', () => {
  it.each<[string, object]>([
    ['created', { format: 'message' }],
    ['created', { format: 'message', metadata: { a: 1 }, forkedFrom: { userId: 'u', sessionId: 's', version: 3 } }],
    ['created', { format: 'message', messages: [{}, null] }],
    ['message-appended', { message: {} }],
    ['message-replaced', { message: { id: 'a' } }],
    ['messages-truncated', { length: 0 }],
    ['metadata-changed', { set: { a: 1 }, unset: ['b'] }],
    ['deleted', {}],
    ['deleted', { reason: 'expired' }]
  ])('accepts %s with %j', (type, data) => {
    expect(eventSchema.safeParse({ ...stored(), type, data }).success).toBe(true)
  })

  it.each<[string, object]>([
    ['an unknown type', { type: 'message-pinned' }],
    ['other data than the type has', { type: 'created' }],
    ['a version below 1', { version: 0 }],
    ['a missing message', { data: {} }],
    ['a blank id', { id: '' }]
  ])('refuses %s', (_, changes) => {
    expect(eventSchema.safeParse({ ...stored(), ...changes }).success).toBe(false)
  })
})
