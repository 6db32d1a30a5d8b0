import { describe, expect, it } from 'vitest'
import { eventSchema, memoryStore, type SessionHistoryService } from '../../src/index.ts'
import { ADA, clockOf, eventsOf, failureOf, fails, misuses, open, openAda, text, textsOf, typesOf } from './kit.ts'

/** A log with a life: its versions and times are those that the tables below name. */
async function lived(options: Parameters<typeof open>[0] = {}): Promise<SessionHistoryService> {
  let now = 1_000
  const history = await open({ ...options, clock: clockOf(() => now) })
  await history.createSession('ada', 's1', { metadata: { title: 'first' } }) // 1 at 1000
  await history.appendMessage(ADA, text('one')) // 2 at 1000
  now = 2_000
  await history.appendMessage(ADA, [text('two'), text('three')]) // 3, 4 at 2000
  now = 3_000
  await history.deleteSession('ada', 's1') // 5 at 3000
  now = 4_000
  await history.createSession('ada', 's1') // 6 at 4000
  await history.putMessage(ADA, { id: 'm', ...text('new') }) // 7 at 4000
  now = 5_000
  await history.createSession('ada', 's1') // 8 at 5000: starts over
  now = 6_000
  await history.appendMessage(ADA, [text('a'), text('b')]) // 9, 10 at 6000
  await history.commit(ADA, [{ type: 'truncate', length: 1 }]) // 11 at 6000
  return history
}

const VERSIONS: [number, string[] | null][] = [
  [0, null],
  [1, []],
  [2, ['one']],
  [3, ['one', 'two']],
  [4, ['one', 'two', 'three']],
  [5, null],
  [6, []],
  [7, ['new']],
  [8, []],
  [9, ['a']],
  [10, ['a', 'b']],
  [11, ['a']]
]

const TIMES: [string, number, string[] | null, number?][] = [
  ['long before the first event', -1e12, null],
  ['just before the first event', 999, null],
  ['of several events', 1_000, ['one'], 2],
  ['between events', 1_999, ['one'], 2],
  ['of a commit', 2_000, ['one', 'two', 'three'], 4],
  ['just before the deletion', 2_999, ['one', 'two', 'three'], 4],
  ['of the deletion', 3_000, null],
  ['while it was deleted', 3_999, null],
  ['when it was created again', 4_000, ['new'], 7],
  ['of the start-over', 5_000, [], 8],
  ['of the last events', 6_000, ['a'], 11],
  ['after the last event', 8.64e15, ['a'], 11]
]

describe.each([
  ['loaded', {}],
  ['dropped from memory', { maxActiveSessions: 1 }]
])('getSession of a session that is %s', (_, options) => {
  it.each(VERSIONS)('at version %d', async (at, texts) => {
    const history = await lived(options)
    await history.createSession('other', 'other')
    const session = await history.getSession('ada', 's1', { at })
    expect(session && textsOf(session)).toEqual(texts)
    if (!session) return
    expect(session.version).toBe(at)
    expect(session.metadata).toEqual(at < 5 ? { title: 'first' } : {})
    expect(session.createdAt).toBe(at < 5 ? 1_000 : at < 8 ? 4_000 : 5_000)
  })

  it.each(TIMES)('at the time %s', async (_name, at, texts, version) => {
    const history = await lived(options)
    await history.createSession('other', 'other')
    const session = await history.getSession('ada', 's1', { at: new Date(at) })
    expect(session && textsOf(session)).toEqual(texts)
    expect(session?.version).toBe(version)
  })

  it('at a version beyond the last is VERSION_NOT_FOUND', async () => {
    const history = await lived(options)
    await history.createSession('other', 'other')
    for (const at of [12, 13, 1e9, Number.MAX_SAFE_INTEGER]) {
      await fails(() => history.getSession('ada', 's1', { at }), 'VERSION_NOT_FOUND', { version: at, actual: 11 })
    }
  })
})

describe('getSession', () => {
  it.each([
    [-1, '-1'],
    [1.5, '1.5'],
    [Number.NaN, 'NaN'],
    [Infinity, 'Infinity'],
    [-Infinity, '-Infinity'],
    [2 ** 53, '9007199254740992'],
    ['1', "'1'"],
    [null, 'null'],
    [{}, '{}'],
    [true, 'true'],
    [1n, '1n'],
    [new Date(Number.NaN), 'Invalid Date'],
    ['2024-01-01', "'2024-01-01'"]
  ])('at %s is a TypeError that shows the value', async (at, shown) => {
    const history = await openAda()
    await misuses(() => history.getSession('ada', 's1', { at: at as number }), shown)
  })

  it.each([-1, 1.5, Number.NaN, Infinity, '1', null])(
    'with last: %s is a TypeError that shows the value',
    async (last) => {
      const history = await openAda()
      await misuses(() => history.getSession('ada', 's1', { last: last as number }), String(last))
    }
  )

  it.each([
    [0, []],
    [1, ['c']],
    [2, ['b', 'c']],
    [3, ['a', 'b', 'c']],
    [4, ['a', 'b', 'c']],
    [Number.MAX_SAFE_INTEGER, ['a', 'b', 'c']]
  ])('with last: %d gives only that many of the newest messages', async (last, texts) => {
    const history = await openAda()
    const whole = await history.appendMessage(ADA, ['a', 'b', 'c'].map(text))
    const session = await history.getSession('ada', 's1', { last })
    expect(textsOf(session)).toEqual(texts)
    expect({ ...session, messages: [] }).toEqual({ ...whole, messages: [] })
    expect(Object.isFrozen(session?.messages)).toBe(true)
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(['a', 'b', 'c'])
  })

  it('with last and at gives the newest messages of that version', async () => {
    const history = await openAda()
    await history.appendMessage(ADA, ['a', 'b', 'c'].map(text))
    expect(textsOf(await history.getSession('ada', 's1', { at: 3, last: 1 }))).toEqual(['b'])
    expect(textsOf(await history.getSession('ada', 's1', { at: new Date(1e12), last: 2 }))).toEqual(['b', 'c'])
    expect(await history.getSession('ada', 's1', { at: 0, last: 2 })).toBeNull()
  })

  it('at a Date takes the Date as it is when the call is made', async () => {
    const history = await lived()
    const at = new Date(2_000)
    const call = history.getSession('ada', 's1', { at })
    at.setTime(0)
    expect((await call)?.version).toBe(4)
  })

  it('at the current version is the current session', async () => {
    const history = await lived()
    expect(await history.getSession('ada', 's1', { at: 11 })).toEqual(await history.getSession('ada', 's1'))
  })

  it('at any version of a long log is what it was when it was the newest', async () => {
    const history = await openAda({ maxActiveSessions: 1 })
    const seen = [await history.getSession('ada', 's1')]
    for (let i = 0; i < 150; i++) {
      seen.push(
        i % 7 === 6
          ? await history.commit(ADA, [{ type: 'truncate', length: i % 5 }])
          : i % 3 === 2
            ? await history.putMessage(ADA, { id: `m${i % 4}`, ...text(`put ${i}`) })
            : await history.appendMessage(ADA, { id: `m${i % 4}`, ...text(`${i}`) })
      )
    }
    await history.createSession('ada', 'other')
    for (const session of seen) {
      expect(await history.getSession('ada', 's1', { at: session!.version })).toEqual(session)
    }
  })
})

describe('readEvents', () => {
  it.each([
    [{}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]],
    [{ from: 1, to: 1 }, [1]],
    [{ from: 2, to: 4 }, [2, 3, 4]],
    [{ to: 3 }, [1, 2, 3]],
    [{ from: 10 }, [10, 11]],
    [{ from: 11 }, [11]],
    [{ from: 12 }, []],
    [{ from: 9, to: 1_000 }, [9, 10, 11]],
    [{ from: 5, to: 4 }, []],
    [{ to: 0 }, []]
  ])('of the range %j: both ends are inclusive', async (range, versions) => {
    const history = await lived()
    expect((await eventsOf(history, ADA, range)).map(({ version }) => version)).toEqual(versions)
  })

  it.each([-1, 1.5, Number.NaN, '1', null])('from or to %s is a TypeError that shows the value', async (bad) => {
    const history = await openAda()
    await misuses(() => eventsOf(history, ADA, { from: bad as number }), String(bad))
    await misuses(() => eventsOf(history, ADA, { to: bad as number }), String(bad))
  })

  it('gives the events of a deleted session, too', async () => {
    const history = await openAda()
    await history.deleteSession('ada', 's1')
    expect(await typesOf(history)).toEqual(['created', 'deleted'])
  })

  it('gives none where there is no log, and creates none', async () => {
    const history = await open()
    expect(await eventsOf(history)).toEqual([])
    expect(await history.listUsers()).toEqual([])
  })

  it('gives a log of many pages whole and in order', async () => {
    const history = await openAda()
    await history.appendMessage(
      ADA,
      Array.from({ length: 2_500 }, (_, i) => ({ id: `${i}` }))
    )
    const events = await eventsOf(history)
    expect(events.map(({ version }) => version)).toEqual(Array.from({ length: 2_501 }, (_, i) => i + 1))
    expect((await eventsOf(history, ADA, { from: 999, to: 1_003 })).map(({ version }) => version)).toEqual([
      999, 1_000, 1_001, 1_002, 1_003
    ])
  })

  it('may be left early, and begun again', async () => {
    const history = await lived()
    const events = history.readEvents('ada', 's1')
    for await (const { version } of events) if (version === 2) break
    expect(await eventsOf(history)).toHaveLength(11)
  })

  it('rejects with the reason of a signal that is aborted already', async () => {
    const history = await lived()
    const reason = new Error('enough')
    expect(await failureOf(() => eventsOf(history, ADA, { signal: AbortSignal.abort(reason) }))).toBe(reason)
  })

  it('rejects with the reason of a signal that is aborted between two events', async () => {
    const history = await lived()
    const controller = new AbortController()
    const seen: number[] = []
    const error = await failureOf(async () => {
      for await (const { version } of history.readEvents('ada', 's1', { signal: controller.signal })) {
        seen.push(version)
        if (version === 3) controller.abort('enough')
      }
    })
    expect(error).toBe('enough')
    expect(seen).toEqual([1, 2, 3])
  })

  it('gives events that are deeply frozen', async () => {
    const history = await lived()
    const frozen = (value: unknown): boolean =>
      typeof value !== 'object' || value === null || (Object.isFrozen(value) && Object.values(value).every(frozen))
    for (const event of await eventsOf(history)) expect(frozen(event)).toBe(true)
  })
})

describe('an event', () => {
  it('of each type has the envelope and the data of the contract', async () => {
    let [event, now] = [0, 10]
    const history = await open({ ids: { event: () => `e${++event}`, message: () => 'm' }, clock: clockOf(() => now++) })
    await history.createSession('ada', 's1', { metadata: { a: 1 } })
    await history.appendMessage(ADA, {}, { idempotencyKey: 'key' })
    await history.putMessage(ADA, { id: 'm', ...text('x') })
    await history.commit(ADA, [
      { type: 'truncate', length: 0 },
      { type: 'metadata', set: { b: 2 }, unset: ['a'] }
    ])
    await history.deleteSession('ada', 's1')
    await history.createSession('ada', 's1')
    const message = { id: 'm', object: 'message', type: 'message', status: 'created' }
    const events = await eventsOf(history)
    const ids = events.map(({ id }) => id)
    expect(new Set(ids).size).toBe(7)
    const said = [
      { type: 'created', data: { metadata: { a: 1 }, format: 'message' }, commitId: ids[0] },
      { type: 'message-appended', data: { message }, commitId: ids[1], idempotencyKey: 'key' },
      {
        type: 'message-replaced',
        data: { message: { ...message, role: 'user', content: [{ type: 'text', text: 'x' }] } },
        commitId: ids[2]
      },
      { type: 'messages-truncated', data: { length: 0, dropped: 1 }, commitId: ids[3] },
      { type: 'metadata-changed', data: { set: { b: 2 }, unset: ['a'] }, commitId: ids[3] },
      { type: 'deleted', data: {}, commitId: ids[5] },
      { type: 'created', data: { format: 'message' }, commitId: ids[6] }
    ]
    expect(events.map(({ id: _id, at: _at, contentHash: _hash, ...rest }) => rest)).toEqual(
      said.map((each, i) => ({ userId: 'ada', sessionId: 's1', version: i + 1, schemaVersion: 1, ...each }))
    )
    for (const [i, { at }] of events.entries()) expect(at).toBeGreaterThanOrEqual(events[i - 1]?.at ?? 10)
    for (const each of events) expect(eventSchema.parse(each)).toEqual(each)
  })

  it('has ids of its own, unless they are given', async () => {
    const history = await openAda()
    await history.appendMessage(
      ADA,
      Array.from({ length: 50 }, () => ({}))
    )
    expect(new Set((await eventsOf(history)).map(({ id }) => id)).size).toBe(51)
  })

  it('has its idempotency key on every event of the commit', async () => {
    const history = await openAda()
    await history.appendMessage(ADA, [text('a'), text('b')], { idempotencyKey: 'key' })
    await history.appendMessage(ADA, text('c'))
    expect((await eventsOf(history)).map(({ idempotencyKey }) => idempotencyKey)).toEqual([
      undefined,
      'key',
      'key',
      undefined
    ])
  })

  it('has a time that never decreases, also when the clock goes back', async () => {
    const times = [5_000, 4_000, 6_000, 0, -7, 6_001]
    let now = 0
    const history = await open({ clock: clockOf(() => now) })
    now = 5_000
    await history.createSession('ada', 's1')
    for (now of times) await history.appendMessage(ADA, text(`${now}`))
    expect((await eventsOf(history)).map(({ at }) => at)).toEqual([5_000, 5_000, 5_000, 6_000, 6_000, 6_000, 6_001])
    expect((await history.getSession('ada', 's1'))?.updatedAt).toBe(6_001)
  })

  it('has a time that never decreases over two services with other clocks', async () => {
    const store = memoryStore()
    const ahead = await open({ store, clock: clockOf(() => 9_000) })
    const behind = await open({ store, clock: clockOf(() => 1_000) })
    await ahead.createSession('ada', 's1')
    expect(await behind.appendMessage(ADA, text('x'))).toMatchObject({ createdAt: 9_000, updatedAt: 9_000 })
    expect(textsOf(await ahead.appendMessage(ADA, text('y')))).toEqual(['x', 'y'])
  })
})
