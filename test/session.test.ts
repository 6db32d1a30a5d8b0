import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import type { Fact, SessionEvent, StoredEvent } from '../src/event.ts'
import type { SessionChange } from '../src/content.ts'
import type { Json } from '../src/json.ts'
import {
  decide as decideWith,
  evolve as evolveWith,
  fold as foldWith,
  initialState,
  toSession,
  toSummary,
  type Command,
  type Decision,
  type SessionState
} from '../src/session.ts'

const KEY = { userId: 'ada', sessionId: 's' }

// Where nothing goes back, nobody looks at the past.
const NO_PAST = (): never => expect.unreachable('the past')
const decide = (state: SessionState, command: Command): Decision =>
  decideWith(state, command, { now: 2000, past: NO_PAST })
const evolve = (state: SessionState, event: SessionEvent<Json>): SessionState => evolveWith(state, event, NO_PAST)
const fold = (state: SessionState, event: StoredEvent): SessionState => foldWith(state, event, NO_PAST)

/** The state after facts, one a millisecond. */
function given(...facts: readonly (Fact<Json> & { idempotencyKey?: string; contentHash?: string })[]): SessionState {
  return facts.reduce<SessionState>((state, fact) => evolve(state, eventOf(state, fact)), initialState(KEY))
}

function eventOf(state: SessionState, fact: Fact<Json>): SessionEvent<Json> {
  const version = state.version + 1
  const place = { id: `e${version}`, ...KEY, version, at: 1000 + version, schemaVersion: 1, commitId: `e${version}` }
  return { ...place, ...fact }
}

const created: Fact<Json> = { type: 'created', data: { format: 'message' } }
const deleted: Fact<Json> = { type: 'deleted', data: {} }
const appended = (id: string, text = id): Fact<Json> => ({ type: 'message-appended', data: { message: { id, text } } })

function commit(
  changes: readonly SessionChange[],
  options: Partial<Extract<Command, { type: 'commit' }>> = {}
): Command {
  const defaults = {
    format: 'message',
    expectedVersion: 'any',
    idempotency: undefined,
    ifAbsent: 'nothing',
    turnId: undefined
  } as const
  return { type: 'commit', changes, ...defaults, ...options }
}

const append = (...ids: string[]): SessionChange => ({ type: 'append', messages: ids.map((id) => ({ id, text: id })) })
const code = (name: string): unknown => expect.objectContaining({ code: name })
const idsOf = (state: SessionState): unknown[] =>
  state.messages.toArray().map((message) => (message as { id: string }).id)

describe('decide', () => {
  it('creates, starts over, and deletes what is there', () => {
    const create = { type: 'create', format: 'message', metadata: { a: 1 }, expectedVersion: 'any' } as const
    const facts = [{ type: 'created', data: { metadata: { a: 1 }, format: 'message' } }]
    expect(decide(initialState(KEY), create)).toEqual({ facts })
    expect(decide(given(created, appended('m')), create)).toEqual({ facts })
    const remove = { type: 'delete' } as const
    expect(decide(given(created), remove)).toEqual({ facts: [{ type: 'deleted', data: {} }] })
    expect(decide(given(created, deleted), remove)).toEqual({ answer: null })
    expect(decide(initialState(KEY), remove)).toEqual({ answer: null })
  })

  it('puts among messages that are no objects', () => {
    const message = { id: 'x' }
    const state = given(
      created,
      ...[null, 3, 'x'].map((other) => ({ type: 'message-appended', data: { message: other } }) as const)
    )
    expect(decide(state, commit([{ type: 'put', message }]))).toEqual({
      facts: [{ type: 'message-appended', data: { message, put: true } }]
    })
  })

  it('appends each message of a list as an event', () => {
    expect(decide(given(created), commit([append('a', 'b')]))).toEqual({ facts: [appended('a'), appended('b')] })
  })

  it.each<[string, SessionChange[]]>([
    ['an empty list', [append()]],
    ['no change at all', []],
    ['an equal put', [{ type: 'put', message: { text: 'b', id: 'b' } }]],
    ['a truncation to the length there is', [{ type: 'truncate', length: 2 }]],
    ['a truncation to more', [{ type: 'truncate', length: 9 }]],
    ['unchanged metadata', [{ type: 'metadata', set: { a: { x: 1 } }, unset: ['gone'] }]]
  ])('comes to nothing with %s', (_, changes) => {
    const facts: Fact<Json>[] = [
      { type: 'created', data: { format: 'message', metadata: { a: { x: 1 } } } },
      appended('a'),
      appended('b')
    ]
    expect(decide(given(...facts), commit(changes))).toEqual({ answer: 3 })
  })

  it('puts a message in place of the last one of that id, or at the end', () => {
    const state = given(created, appended('a', 'first'), appended('b'), appended('a', 'second'))
    const message = { id: 'a', text: 'third' }
    expect(decide(state, commit([{ type: 'put', message }]))).toEqual({
      facts: [{ type: 'message-replaced', data: { message } }]
    })
    expect(decide(state, commit([{ type: 'put', message: { id: 'c' } }]))).toEqual({
      facts: [{ type: 'message-appended', data: { message: { id: 'c' }, put: true } }]
    })
  })

  it('takes each change upon the one before', () => {
    const changes: SessionChange[] = [
      { type: 'truncate', length: 0 },
      append('x'),
      { type: 'put', message: { id: 'x', text: 'x' } },
      { type: 'put', message: { id: 'x', text: 'y' } },
      { type: 'metadata', set: { a: 1 }, unset: [] },
      { type: 'metadata', set: { a: 1, b: 2 }, unset: [] },
      { type: 'metadata', set: {}, unset: ['a', 'a', 'never'] }
    ]
    expect(decide(given(created, appended('m')), commit(changes))).toEqual({
      facts: [
        { type: 'messages-truncated', data: { length: 0, dropped: 1 } },
        appended('x'),
        { type: 'message-replaced', data: { message: { id: 'x', text: 'y' } } },
        { type: 'metadata-changed', data: { set: { a: 1 }, unset: [] } },
        { type: 'metadata-changed', data: { set: { b: 2 }, unset: [] } },
        { type: 'metadata-changed', data: { set: {}, unset: ['a'] } }
      ]
    })
  })

  it('does what ifAbsent says where there is no session', () => {
    for (const state of [initialState(KEY), given(created, appended('m'), deleted)]) {
      expect(decide(state, commit([append('a')]))).toEqual({ answer: null })
      expect(decide(state, commit([append('a')], { ifAbsent: 'create' }))).toEqual({ facts: [created, appended('a')] })
      expect(decide(state, commit([append()], { ifAbsent: 'create' }))).toEqual({ facts: [created] })
      expect(() => decide(state, commit([append('a')], { ifAbsent: 'throw' }))).toThrow(
        expect.objectContaining({ code: 'SESSION_NOT_FOUND', ...KEY })
      )
    }
  })

  it.each<[string, SessionState, readonly unknown[], readonly unknown[]]>([
    ['no log', initialState(KEY), [0, 'none', 'any'], [1, 'exists']],
    ['a live session', given(created, appended('m')), [2, 'exists', 'any'], [0, 1, 3, 'none']],
    ['a deleted session', given(created, deleted), [2, 'none', 'any'], [0, 1, 3, 'exists']]
  ])('checks what is expected of %s, before ifAbsent', (_, state, met, unmet) => {
    for (const expectedVersion of met as (number | 'any')[]) {
      const command = commit([append('a')], { expectedVersion, ifAbsent: 'create' })
      expect(decide(state, command)).toHaveProperty('facts')
      expect(decide(state, { type: 'create', format: 'message', metadata: undefined, expectedVersion })).toHaveProperty(
        'facts'
      )
    }
    for (const expectedVersion of unmet as (number | 'any')[]) {
      const conflict = expect.objectContaining({
        code: 'VERSION_CONFLICT',
        expected: expectedVersion,
        actual: state.version
      })
      expect(() => decide(state, commit([append('a')], { expectedVersion, ifAbsent: 'throw' }))).toThrow(conflict)
      expect(() => decide(state, { type: 'create', format: 'm', metadata: undefined, expectedVersion })).toThrow(
        conflict
      )
    }
  })

  it('refuses to write messages of one format into a session of another', () => {
    expect(() => decide(given(created), commit([append('a')], { format: 'other' }))).toThrow(
      expect.objectContaining({ code: 'FORMAT_MISMATCH', expected: 'other', actual: 'message' })
    )
  })

  it('looks for the idempotency key first', () => {
    const state = given(created, { ...appended('a'), idempotencyKey: 'k', contentHash: 'h' }, appended('b'))
    const again = { key: 'k', contentHash: 'h' }
    expect(decide(state, commit([append('a')], { idempotency: again, expectedVersion: 0 }))).toEqual({ answer: 2 })
    expect(() =>
      decide(state, commit([], { idempotency: { key: 'k', contentHash: 'x' }, expectedVersion: 0 }))
    ).toThrow(expect.objectContaining({ code: 'IDEMPOTENCY_CONFLICT', idempotencyKey: 'k' }))
    expect(decide(state, commit([append('c')], { idempotency: { key: 'other', contentHash: 'h' } }))).toHaveProperty(
      'facts'
    )
    const afterwards = evolve(state, eventOf(state, deleted))
    expect(decide(afterwards, commit([append('a')], { idempotency: again, ifAbsent: 'throw' }))).toEqual({ answer: 2 })
  })

  it('knows the keys of its own branch only', () => {
    const trunk = given(created, { ...appended('a'), idempotencyKey: 'k1', contentHash: 'h' })
    const key = (state: SessionState, name: string): SessionState =>
      evolve(state, { ...eventOf(state, appended('m')), idempotencyKey: name, contentHash: 'h' })
    const discarded = key(trunk, 'k2')
    const kept = key(key(trunk, 'k3'), 'k2')
    const knows = (state: SessionState, name: string): boolean => state.keys.get(name) !== undefined
    expect(['k1', 'k2', 'k3'].map((name) => knows(trunk, name))).toEqual([true, false, false])
    expect(['k1', 'k2', 'k3'].map((name) => knows(discarded, name))).toEqual([true, true, false])
    expect(['k1', 'k2', 'k3'].map((name) => kept.keys.get(name)?.version)).toEqual([2, 4, 3])
  })
})

describe('evolve', () => {
  it('starts over with created and hides with deleted; versions go on', () => {
    const state = given(created, appended('a'), deleted, {
      type: 'created',
      data: { format: 'other', metadata: { t: 1 } }
    })
    expect(toSummary(state)).toEqual({
      ...KEY,
      version: 4,
      createdAt: 1004,
      updatedAt: 1004,
      deleted: false,
      format: 'other',
      metadata: { t: 1 }
    })
    expect(idsOf(state)).toEqual([])
    expect(toSummary(given(created, appended('a'), deleted))).toMatchObject({
      deleted: true,
      version: 3,
      createdAt: 1001
    })
  })

  it('never changes the state it starts from, and freezes what it makes', () => {
    const before = given(created, appended('a'))
    const branches = [
      { type: 'message-appended', data: { message: { id: 'b' } } },
      { type: 'message-replaced', data: { message: { id: 'a', text: 'new' } } },
      { type: 'messages-truncated', data: { length: 0, dropped: 1 } },
      { type: 'metadata-changed', data: { set: { x: 1 }, unset: [] } },
      deleted,
      created
    ] satisfies Fact<Json>[]
    const after = branches.map((fact) => evolve(before, eventOf(before, fact)))
    expect(after.map(idsOf)).toEqual([['a', 'b'], ['a'], [], ['a'], [], []])
    expect(after.every((state) => Object.isFrozen(state))).toBe(true)
    expect(before).toMatchObject({ version: 2, metadata: {}, isLive: true })
    expect(toSession(before).messages).toEqual([{ id: 'a', text: 'a' }])
  })

  it('shares the messages of one version with the next', () => {
    const before = given(created, appended('a'))
    const after = evolve(before, eventOf(before, appended('b')))
    expect(after.messages.get(0)).toBe(before.messages.get(0))
  })

  it('sets metadata shallowly, and takes __proto__ for a key like any other', () => {
    const set = JSON.parse('{"__proto__": {"polluted": true}, "a": {"y": 2}}') as Record<string, Json>
    const state = given(
      { type: 'created', data: { format: 'message', metadata: { a: { x: 1 }, b: 1 } } },
      { type: 'metadata-changed', data: { set, unset: ['b'] } }
    )
    expect(JSON.stringify(state.metadata)).toBe('{"a":{"y":2},"__proto__":{"polluted":true}}')
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
    const without = evolve(state, eventOf(state, { type: 'metadata-changed', data: { set: {}, unset: ['__proto__'] } }))
    expect(JSON.stringify(without.metadata)).toBe('{"a":{"y":2}}')
  })
})

describe('fold', () => {
  const state = given(created)
  const next = eventOf(state, appended('a')) as unknown as StoredEvent

  it('takes the next event', () => {
    expect(idsOf(fold(state, next))).toEqual(['a'])
  })

  it.each<[string, Partial<StoredEvent>]>([
    ['a version is missing', { version: 3 }],
    ['a version comes again', { version: 1 }],
    ['time goes back', { at: 1 }],
    ['the time is none', { at: null as unknown as number }],
    ['it is of another session', { sessionId: 'other' }],
    ['it is of another user', { userId: 'other' }],
    ['it has no data', { data: undefined as unknown as { [key: string]: Json } }]
  ])('fails with CORRUPT_LOG where %s', (_, changes) => {
    expect(() => fold(state, { ...next, ...changes })).toThrow(
      expect.objectContaining({ code: 'CORRUPT_LOG', ...KEY, version: 2 })
    )
  })

  it('fails on an unknown event, and passes over one that may be skipped', () => {
    expect(() => fold(state, { ...next, type: 'message-pinned' })).toThrow(code('UNKNOWN_EVENT'))
    const passed = fold(state, { ...next, type: 'message-pinned', skippable: true })
    expect(toSession(passed)).toMatchObject({ version: 2, updatedAt: 1002, messages: [] })
  })
})

describe('toSession', () => {
  const state = given(
    { type: 'created', data: { format: 'message', metadata: { a: [1] } } },
    appended('a'),
    appended('b')
  )
  const expected = {
    userId: 'ada',
    id: 's',
    version: 3,
    createdAt: 1001,
    updatedAt: 1003,
    metadata: { a: [1] },
    format: 'message',
    messages: [
      { id: 'a', text: 'a' },
      { id: 'b', text: 'b' }
    ]
  }

  it('is plain data, also for spread, JSON, structuredClone and equality', () => {
    const session = toSession(state)
    expect(session).toStrictEqual(expected)
    expect({ ...session }).toStrictEqual(expected)
    expect(structuredClone(session)).toStrictEqual(expected)
    expect(JSON.parse(JSON.stringify(session))).toStrictEqual(expected)
    expect(Object.getPrototypeOf(session)).toBe(Object.prototype)
  })

  it('shows its messages when it is printed', () => {
    expect(inspect(toSession(state))).toBe(inspect(expected))
  })

  it('is frozen, and makes messages once', () => {
    const session = toSession(state)
    expect(Object.isFrozen(session) && Object.isFrozen(session.messages)).toBe(true)
    expect(session.messages).toBe(session.messages)
    expect({ ...session }.messages).toBe(session.messages)
  })

  it('leaves all but the last messages out where asked', () => {
    expect(toSession(state, 1).messages).toEqual([{ id: 'b', text: 'b' }])
    expect(toSession(state, 0).messages).toEqual([])
    expect(toSession(state, 9).messages).toEqual(expected.messages)
  })

  it('names the parent of a fork, and begins with what it had', () => {
    const forkedFrom = { userId: 'u', sessionId: 'p', version: 4 }
    const parent = given({ type: 'created', data: { format: 'message', metadata: { a: 1 } } }, appended('a'))
    const begun = initialState(KEY, parent)
    const event = eventOf(begun, { type: 'created', data: { format: 'message', forkedFrom, parentLogId: 'log' } })
    const session = toSession(evolveWith(begun, event, () => begun))
    expect(session).toMatchObject({ version: 1, forkedFrom, metadata: { a: 1 }, messages: [{ id: 'a', text: 'a' }] })
  })
})
