import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { memoryStore, type ExpectedVersion, type SessionHistoryService } from '../../src/index.ts'
import { ADA, eventsOf, failureOf, fails, misuses, open, openAda, storesNothing, text, textsOf, WRITES } from './kit.ts'

const CALLS = [
  ...WRITES,
  {
    name: 'createSession',
    write: (history: SessionHistoryService, options?: { expectedVersion?: ExpectedVersion }) =>
      history.createSession('ada', 's1', options)
  }
]

async function never(): Promise<void> {}

async function live(history: SessionHistoryService): Promise<void> {
  await history.createSession('ada', 's1')
  await history.appendMessage(ADA, text('one'))
}

async function deleted(history: SessionHistoryService): Promise<void> {
  await live(history)
  await history.deleteSession('ada', 's1')
}

async function purged(history: SessionHistoryService): Promise<void> {
  await live(history)
  await history.purgeSession('ada', 's1')
}

const STATES: [
  string,
  (history: SessionHistoryService) => Promise<void>,
  number,
  ExpectedVersion[],
  ExpectedVersion[]
][] = [
  ['no log', never, 0, [0, 'none', 'any'], [1, 5, 'exists']],
  ['a live session at version 2', live, 2, [2, 'exists', 'any'], [0, 1, 3, 'none']],
  ['a session deleted at version 3', deleted, 3, [3, 'none', 'any'], [0, 2, 4, 'exists']],
  ['a log that was purged', purged, 0, [0, 'none', 'any'], [2, 3, 'exists']]
]

describe.each(STATES)('with %s', (_, make, actual, met, violated) => {
  const met4 = met.flatMap((expectedVersion) => CALLS.map((call) => ({ ...call, expectedVersion })))
  const violated4 = violated.flatMap((expectedVersion) => CALLS.map((call) => ({ ...call, expectedVersion })))

  it.each(met4)('$name that expects $expectedVersion is stored', async ({ write, expectedVersion }) => {
    const history = await open({ missing: { append: 'create' } })
    await make(history)
    const session = (await write(history, { expectedVersion })) as { version: number }
    expect(session.version).toBeGreaterThan(actual)
    expect(await eventsOf(history)).toHaveLength(session.version)
  })

  it.each(violated4)('$name that expects $expectedVersion is VERSION_CONFLICT', async ({ write, expectedVersion }) => {
    for (const append of ['create', 'warn', 'throw'] as const) {
      const history = await open({ missing: { append } })
      await make(history)
      const error = await storesNothing(history, () =>
        fails(() => write(history, { expectedVersion }), 'VERSION_CONFLICT', { expected: expectedVersion, actual })
      )
      expect(error.message).toContain(`${actual}`)
    }
  })
})

describe.each(CALLS)('$name', ({ write }) => {
  it.each([-1, 1.5, Number.NaN, Infinity, 'all', '1', '', null, {}, '__proto__'])(
    'that expects %j is a TypeError that shows the value',
    async (expectedVersion) => {
      const history = await openAda()
      await storesNothing(history, () =>
        misuses(() => write(history, { expectedVersion: expectedVersion as number }), inspect(expectedVersion))
      )
    }
  )

  it('of ten at once that expect one version stores one; the others are VERSION_CONFLICT', async () => {
    const history = await openAda()
    const calls = Array.from({ length: 10 }, () => write(history, { expectedVersion: 1 }))
    const outcomes = await Promise.allSettled(calls)
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    const { version } = (await history.getSession('ada', 's1'))!
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') {
        expect(outcome.reason).toMatchObject({ code: 'VERSION_CONFLICT', expected: 1, actual: version })
      }
    }
    expect(new Set((await eventsOf(history, ADA, { from: 2 })).map(({ commitId }) => commitId)).size).toBe(1)
  })
})

describe('expectedVersion', () => {
  it('is checked before a call turns out to have no effect', async () => {
    const history = await openAda()
    await history.putMessage(ADA, { id: 'm' })
    const stale = { expectedVersion: 1 }
    await fails(() => history.appendMessage(ADA, [], stale), 'VERSION_CONFLICT', { expected: 1, actual: 2 })
    await fails(() => history.commit(ADA, [], stale), 'VERSION_CONFLICT', { actual: 2 })
    await fails(() => history.putMessage(ADA, { id: 'm' }, stale), 'VERSION_CONFLICT', { actual: 2 })
    await fails(() => history.updateMetadata(ADA, {}, stale), 'VERSION_CONFLICT', { actual: 2 })
    expect(await history.appendMessage(ADA, [], { expectedVersion: 2 })).toMatchObject({ version: 2 })
  })

  it('of the version of a snapshot chains writes', async () => {
    const history = await openAda()
    let session = (await history.getSession('ada', 's1'))!
    for (let i = 0; i < 10; i++) {
      session = (await history.appendMessage(session, text(`${i}`), { expectedVersion: session.version }))!
    }
    expect(session.version).toBe(11)
  })

  it('is checked against the log as it is when the commit is stored, after the calls before it', async () => {
    const history = await openAda()
    const [first, second, third] = await Promise.allSettled([
      history.appendMessage(ADA, text('a'), { expectedVersion: 1 }),
      history.appendMessage(ADA, text('b'), { expectedVersion: 2 }),
      history.appendMessage(ADA, text('c'), { expectedVersion: 2 })
    ])
    expect([first.status, second.status, third.status]).toEqual(['fulfilled', 'fulfilled', 'rejected'])
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(['a', 'b'])
  })

  it("of one call fails no other: 'any' next to it is stored", async () => {
    const history = await openAda()
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, (_, i) =>
        history.appendMessage(ADA, text(`${i}`), { expectedVersion: i % 2 ? 'any' : 99 })
      )
    )
    expect(outcomes.map(({ status }) => status)).toEqual(
      Array.from({ length: 20 }, (_, i) => (i % 2 ? 'fulfilled' : 'rejected'))
    )
    expect(await eventsOf(history)).toHaveLength(11)
  })

  it('survives that the session is dropped from memory', async () => {
    const history = await openAda({ maxActiveSessions: 1 })
    await history.createSession('ada', 'other')
    await fails(() => history.appendMessage(ADA, text('x'), { expectedVersion: 0 }), 'VERSION_CONFLICT', { actual: 1 })
    expect(await history.appendMessage(ADA, text('x'), { expectedVersion: 1 })).toMatchObject({ version: 2 })
  })
})

describe('two services over one store', () => {
  const both = async (): Promise<[SessionHistoryService, SessionHistoryService]> => {
    const store = memoryStore()
    const one = await openAda({ store })
    return [one, await open({ store })]
  }

  it('see the writes of each other at once', async () => {
    const [one, two] = await both()
    for (let i = 0; i < 10; i++) {
      const [writer, reader] = i % 2 ? [one, two] : [two, one]
      const session = await writer.appendMessage(ADA, text(`${i}`))
      expect(await reader.getSession('ada', 's1')).toEqual(session)
      expect(await eventsOf(reader)).toHaveLength(i + 2)
      expect((await reader.listSessions('ada'))[0]?.version).toBe(i + 2)
    }
  })

  it('see deletions, start-overs and purges of each other at once', async () => {
    const store = memoryStore()
    const [one, two] = [
      await open({ store, missing: { get: 'null' } }),
      await open({ store, missing: { get: 'null' } })
    ]
    await one.createSession('ada', 's1')
    await two.appendMessage(ADA, text('x'))
    await one.deleteSession('ada', 's1')
    expect(await two.getSession('ada', 's1')).toBeNull()
    await two.createSession('ada', 's1')
    expect(await one.getSession('ada', 's1')).toMatchObject({ version: 4, messages: [] })
    await one.purgeSession('ada', 's1')
    expect(await two.getSession('ada', 's1')).toBeNull()
    await one.createSession('ada', 's1')
    expect(await two.getSession('ada', 's1')).toMatchObject({ version: 1 })
    expect(textsOf(await two.appendMessage(ADA, text('new')))).toEqual(['new'])
    expect(textsOf(await one.getSession('ada', 's1'))).toEqual(['new'])
  })

  it('that race append all and lose nothing, duplicate nothing; versions are consecutive', async () => {
    const [one, two] = await both()
    const calls = Array.from({ length: 100 }, (_, i) => (i % 2 ? one : two).appendMessage(ADA, text(`${i}`)))
    const sessions = await Promise.all(calls)
    const events = await eventsOf(one)
    expect(events.map(({ version }) => version)).toEqual(Array.from({ length: 101 }, (_, i) => i + 1))
    const texts = textsOf(await two.getSession('ada', 's1')) as string[]
    expect(texts.toSorted((a, b) => Number(a) - Number(b))).toEqual(Array.from({ length: 100 }, (_, i) => `${i}`))
    for (const [i, session] of sessions.entries()) {
      const seen = textsOf(session)
      expect(seen.at(-1)).toBe(`${i}`)
      expect(seen).toEqual(texts.slice(0, seen.length))
    }
  })

  it.each<[string, (stale: SessionHistoryService) => Promise<unknown>, object]>([
    ['an empty list', (stale) => stale.appendMessage(ADA, []), { version: 4 }],
    ['an equal put', (stale) => stale.putMessage(ADA, { id: 'm' }), { version: 4 }],
    ['unchanged metadata', (stale) => stale.updateMetadata(ADA, { unset: ['a'] }), { version: 5 }],
    ['the version of the other', (stale) => stale.appendMessage(ADA, [], { expectedVersion: 4 }), { version: 4 }],
    ['the key of the other', (stale) => stale.appendMessage(ADA, {}, { idempotencyKey: 'k' }), { version: 4 }],
    ['a truncation', (stale) => stale.commit(ADA, [{ type: 'truncate', length: 1 }]), { version: 5 }]
  ])('decide upon the log as it is, not as one of them last saw it: %s', async (_, call, expected) => {
    const [one, two] = await both()
    await one.getSession('ada', 's1')
    await two.commit(ADA, [
      { type: 'metadata', set: { a: 1 } },
      { type: 'put', message: { id: 'm' } }
    ])
    await two.appendMessage(ADA, {}, { idempotencyKey: 'k' })
    expect(await call(one)).toMatchObject(expected)
  })

  it('find a session that the other has created, or miss one that it has deleted, without reading before', async () => {
    const store = memoryStore()
    const [one, two] = [await open({ store }), await open({ store })]
    expect(await one.appendMessage(ADA, text('x'))).toBeNull()
    await two.createSession('ada', 's1')
    expect(await one.appendMessage(ADA, text('x'))).toMatchObject({ version: 2 })
    await two.deleteSession('ada', 's1')
    expect(await storesNothing(two, () => one.appendMessage(ADA, text('x')))).toBeNull()
    expect(await storesNothing(two, () => one.deleteSession('ada', 's1'))).toBeUndefined()
    await two.createSession('ada', 's1')
    await one.deleteSession('ada', 's1')
    expect(await eventsOf(two)).toHaveLength(5)
  })

  it('tell a stale expectedVersion, with the version of the log as it is', async () => {
    const [one, two] = await both()
    await one.getSession('ada', 's1')
    await two.appendMessage(ADA, [text('a'), text('b')])
    await storesNothing(one, () =>
      fails(() => one.appendMessage(ADA, text('x'), { expectedVersion: 1 }), 'VERSION_CONFLICT', {
        expected: 1,
        actual: 3
      })
    )
    expect(await one.appendMessage(ADA, text('x'), { expectedVersion: 3 })).toMatchObject({ version: 4 })
  })

  it('that race with one expected version have one winner', async () => {
    const [one, two] = await both()
    for (let version = 1; version < 20; version++) {
      const outcomes = await Promise.allSettled(
        [one, two].map((history) => history.appendMessage(ADA, text(`${version}`), { expectedVersion: version }))
      )
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
      const { reason } = outcomes.find((outcome) => outcome.status === 'rejected')!
      expect(reason).toMatchObject({ code: 'VERSION_CONFLICT', expected: version, actual: version + 1 })
    }
    expect(await eventsOf(two)).toHaveLength(20)
  })

  it("that race to create with 'none' have one winner", async () => {
    const store = memoryStore()
    const services = [await open({ store }), await open({ store })]
    const outcomes = await Promise.allSettled(
      services.map((history) => history.createSession('ada', 's1', { expectedVersion: 'none' }))
    )
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect(await eventsOf(services[0]!)).toHaveLength(1)
  })

  it('that race with one idempotency key store once', async () => {
    const [one, two] = await both()
    const sessions = await Promise.all(
      Array.from({ length: 20 }, (_, i) => (i % 2 ? one : two).appendMessage(ADA, text('x'), { idempotencyKey: 'k' }))
    )
    expect(await eventsOf(one)).toHaveLength(2)
    for (const session of sessions) expect(session).toEqual(sessions[0])
    const error = await failureOf(() => two.appendMessage(ADA, text('y'), { idempotencyKey: 'k' }))
    expect(error).toMatchObject({ code: 'IDEMPOTENCY_CONFLICT', idempotencyKey: 'k' })
  })

  it('append while the other deletes, creates and purges, and the log stays whole', async () => {
    const store = memoryStore()
    const [one, two] = [
      await open({ store, missing: { append: 'create' } }),
      await open({ store, missing: { append: 'create' } })
    ]
    const calls = Array.from({ length: 60 }, (_, i): Promise<unknown> => {
      const history = i % 2 ? one : two
      if (i % 10 === 3) return history.deleteSession('ada', 's1')
      if (i % 10 === 6) return history.createSession('ada', 's1')
      if (i % 20 === 9) return history.purgeSession('ada', 's1')
      return history.appendMessage(ADA, text(`${i}`))
    })
    await Promise.all(calls)
    const events = await eventsOf(one)
    expect(events.map(({ version }) => version)).toEqual(events.map((_, i) => i + 1))
    expect(await two.getSession('ada', 's1')).toEqual(await one.getSession('ada', 's1'))
  })
})
