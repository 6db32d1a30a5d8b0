import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createSessionHistory, memoryStore, type SessionHistoryService, type StandardSchema } from '../../src/index.ts'
import {
  ADA,
  eventsOf,
  failureOf,
  fails,
  misuses,
  open,
  openAda,
  storesNothing,
  text,
  textsOf,
  ticking,
  WRITES
} from './kit.ts'

/** Input and output differ: a default, a transform, and a field that is dropped. */
const note = z.object({
  id: z.string().optional(),
  body: z.string().transform((body) => body.toUpperCase()),
  stars: z.number().default(3)
})

/** As a library other than zod would write it. */
function handWritten(
  validate: (
    value: unknown
  ) => ReturnType<StandardSchema<{ n: string | number }, { n: number }>['~standard']['validate']>
): StandardSchema<{ n: string | number }, { n: number }> {
  return { '~standard': { version: 1, vendor: 'hand', validate } }
}

const numbers = handWritten((value) => {
  const n = Number((value as { n: unknown }).n)
  return Number.isFinite(n) ? { value: { n } } : { issues: [{ message: 'no number', path: [{ key: 'n' }] }] }
})

describe('the option message', () => {
  it('takes a zod schema: what it answers is what is stored', async () => {
    const history = await createSessionHistory({ message: note, clock: ticking() })
    await history.createSession('ada', 's1')
    const session = await history.appendMessage(ADA, [{ body: 'a' }, { body: 'b', stars: 5, dropped: 1 } as never])
    expect(session?.messages).toEqual([
      { body: 'A', stars: 3 },
      { body: 'B', stars: 5 }
    ])
    expect(session?.format).toBe('custom')
    expect((await eventsOf(history)).map(({ data }) => data)).toEqual([
      { format: 'custom' },
      { message: { body: 'A', stars: 3 } },
      { message: { body: 'B', stars: 5 } }
    ])
  })

  it('takes a hand-written Standard Schema', async () => {
    const history = await createSessionHistory({ message: numbers, clock: ticking() })
    await history.createSession('ada', 's1')
    expect((await history.appendMessage(ADA, [{ n: '1' }, { n: 2 }]))?.messages).toEqual([{ n: 1 }, { n: 2 }])
    await storesNothing(history, () =>
      fails(() => history.appendMessage(ADA, [{ n: 3 }, { n: 'x' }]), 'INVALID_MESSAGE', { path: [1, 'n'] })
    )
  })

  it('of messages that are no objects stores them as they are', async () => {
    const history = await createSessionHistory({ message: z.string(), clock: ticking() })
    await history.createSession('ada', 's1')
    const session = await history.appendMessage(ADA, ['a', ''])
    expect(session?.messages).toEqual(['a', ''])
    await history.commit(ADA, [{ type: 'truncate', length: 1 }])
    expect((await history.getSession('ada', 's1'))?.messages).toEqual(['a'])
  })

  it('refuses what its output cannot be as JSON', async () => {
    const dates = z.object({ at: z.string().transform((at) => new Date(at)) })
    const history = await createSessionHistory({ message: dates, clock: ticking() })
    await history.createSession('ada', 's1')
    await storesNothing(history, () =>
      fails(() => history.appendMessage(ADA, { at: '2026-01-01' }), 'INVALID_MESSAGE', { path: ['at'] })
    )
  })

  it('stores nothing that its schema still holds', async () => {
    const kept: { n: number }[] = []
    const keeping = handWritten((value) => {
      kept.push(value as { n: number })
      kept.push({ n: 1 })
      return { value: kept.at(-1)! }
    })
    const history = await createSessionHistory({ message: keeping, clock: ticking() })
    await history.createSession('ada', 's1')
    const given = { n: 0 }
    const session = await history.appendMessage(ADA, given)
    kept[1]!.n = 99
    given.n = 99
    expect(kept[1]).toEqual({ n: 99 })
    expect(session?.messages).toEqual([{ n: 1 }])
    expect((await history.getSession('ada', 's1'))?.messages).toEqual([{ n: 1 }])
  })

  it.each<[string, StandardSchema]>([
    ['zod', z.object({ body: z.string() }).refine(async () => true)],
    ['hand-written', handWritten(async (value) => ({ value: value as { n: number } }))],
    ['hand-written and rejecting', handWritten(() => Promise.reject(new Error('late')))]
  ])('that validates asynchronously (%s) is a TypeError; nothing is stored', async (_, message) => {
    const history = await createSessionHistory({ message, clock: ticking() })
    await history.createSession('ada', 's1')
    await storesNothing(history, async () => {
      await misuses(() => history.appendMessage(ADA, { body: 'x' }), 'async')
      await misuses(() => history.putMessage(ADA, { id: 'm', body: 'x' }), 'async')
    })
  })

  it('that throws rejects the call with what it throws; the session goes on', async () => {
    const cause = new Error('bug in the schema')
    let isBroken = true
    const message = handWritten((value) => {
      if (isBroken) throw cause
      return { value: value as { n: number } }
    })
    const history = await createSessionHistory({ message, clock: ticking() })
    await history.createSession('ada', 's1')
    await storesNothing(history, async () =>
      expect(await failureOf(() => history.appendMessage(ADA, { n: 1 }))).toBe(cause)
    )
    isBroken = false
    expect(await history.appendMessage(ADA, { n: 1 })).toMatchObject({ version: 2 })
  })

  it('of putMessage finds the last message of that id, and an equal one has no effect', async () => {
    const history = await createSessionHistory({ message: note, clock: ticking() })
    await history.createSession('ada', 's1')
    await history.putMessage(ADA, { id: 'a', body: 'x' })
    const current = await history.putMessage(ADA, { id: 'a', body: 'y' })
    expect(current?.messages).toEqual([{ id: 'a', body: 'Y', stars: 3 }])
    expect(await history.putMessage(ADA, { id: 'a', body: 'y', stars: 3 })).toEqual(current)
    await fails(() => history.putMessage(ADA, { body: 'z' }), 'INVALID_MESSAGE', { path: ['id'] })
  })

  it('is not asked again on reading', async () => {
    const store = memoryStore()
    let calls = 0
    const counting = handWritten((value) => {
      calls++
      return { value: value as { n: number } }
    })
    const history = await createSessionHistory({ message: counting, store, clock: ticking(), maxActiveSessions: 1 })
    await history.createSession('ada', 's1')
    await history.appendMessage(ADA, [{ n: 1 }, { n: 2 }])
    await history.createSession('ada', 'other')
    calls = 0
    expect((await history.getSession('ada', 's1'))?.messages).toHaveLength(2)
    expect(await eventsOf(history)).toHaveLength(3)
    expect(calls).toBe(0)
  })
})

describe('withMessage', () => {
  const withNotes = (
    history: SessionHistoryService
  ): SessionHistoryService<z.output<typeof note>, z.input<typeof note>> => history.withMessage(note, { format: 'note' })

  it('is the same service: the same sessions, listed by both', async () => {
    const history = await openAda()
    const notes = withNotes(history)
    const session = await notes.createSession('ada', 'n1')
    expect(session.format).toBe('note')
    expect((await notes.appendMessage(session, { body: 'x' }))?.messages).toEqual([{ body: 'X', stars: 3 }])
    for (const view of [history, notes]) {
      const listed = await view.listSessions('ada')
      expect(listed.map(({ id, format }) => [id, format])).toEqual([
        ['n1', 'note'],
        ['s1', 'message']
      ])
    }
  })

  it('refuses sessions of another format with FORMAT_MISMATCH, naming both; nothing is stored', async () => {
    const history = await openAda()
    await history.appendMessage(ADA, text('x'))
    const notes = withNotes(history)
    const fields = { expected: 'note', actual: 'message' }
    await storesNothing(history, async () => {
      for (const call of [
        () => notes.getSession('ada', 's1'),
        () => notes.getSession('ada', 's1', { at: 2 }),
        () => notes.getSession('ada', 's1', { at: new Date(1e12) }),
        () => notes.getSession('ada', 's1', { last: 1 }),
        () => notes.appendMessage(ADA, { body: 'x' }),
        () => notes.putMessage(ADA, { id: 'a', body: 'x' }),
        () => notes.updateMetadata(ADA, { set: { a: 1 } }),
        () => notes.commit(ADA, [{ type: 'truncate', length: 0 }]),
        () => eventsOf(notes)
      ]) {
        const error = await fails(call, 'FORMAT_MISMATCH', fields)
        expect(error.message).toContain('note')
        expect(error.message).toContain('message')
      }
    })
    await notes.createSession('ada', 'n1')
    for (const { write } of WRITES) expect(await write(history)).toMatchObject({ format: 'message' })
    await fails(() => history.getSession('ada', 'n1'), 'FORMAT_MISMATCH', { expected: 'message', actual: 'note' })
    await fails(() => history.appendMessage({ userId: 'ada', id: 'n1' }, text('x')), 'FORMAT_MISMATCH', {
      expected: 'message',
      actual: 'note'
    })
  })

  it('refuses a call without effect, too', async () => {
    const history = await openAda()
    await fails(() => withNotes(history).appendMessage(ADA, []), 'FORMAT_MISMATCH')
    await fails(() => withNotes(history).updateMetadata(ADA, {}), 'FORMAT_MISMATCH')
  })

  it('of the same format in two services reads the same sessions', async () => {
    const store = memoryStore()
    const [one, two] = [withNotes(await open({ store })), withNotes(await open({ store }))]
    await one.createSession('ada', 's1')
    const session = await one.appendMessage(ADA, { body: 'x' })
    expect(await two.getSession('ada', 's1')).toEqual(session)
  })

  it('starts a session over in its own format; the versions before stay with theirs', async () => {
    const history = await openAda()
    const old = await history.appendMessage(ADA, text('old'))
    const notes = withNotes(history)
    expect(await notes.createSession('ada', 's1')).toMatchObject({ version: 3, format: 'note' })
    expect((await notes.appendMessage(ADA, { body: 'new' }))?.messages).toEqual([{ body: 'NEW', stars: 3 }])
    await fails(() => history.getSession('ada', 's1'), 'FORMAT_MISMATCH', { expected: 'message', actual: 'note' })
    await fails(() => notes.getSession('ada', 's1', { at: 2 }), 'FORMAT_MISMATCH', {
      expected: 'note',
      actual: 'message'
    })
    expect(await history.getSession('ada', 's1', { at: 2 })).toEqual(old)
  })

  it('creates what is absent in its own format', async () => {
    const history = await open({ missing: { append: 'create' } })
    const notes = withNotes(history)
    expect(await notes.getSession('ada', 's1')).toMatchObject({ format: 'note' })
    expect(await notes.appendMessage({ userId: 'ada', id: 's2' }, { body: 'x' })).toMatchObject({ format: 'note' })
    expect((await eventsOf(notes))[0]?.data).toEqual({ format: 'note' })
  })

  it('deletes and purges sessions of any format', async () => {
    const history = await openAda()
    const notes = withNotes(history)
    await notes.deleteSession('ada', 's1')
    expect(await history.listSessions('ada')).toEqual([])
    await history.createSession('ada', 's1')
    expect(await notes.deleteUserSessions('ada')).toBe(1)
    await notes.purgeSession('ada', 's1')
    expect(await eventsOf(history)).toEqual([])
  })

  it('judges content and idempotency keys as any other', async () => {
    const notes = withNotes(await openAda())
    await notes.createSession('ada', 'n1')
    const ref = { userId: 'ada', id: 'n1' }
    const first = await notes.appendMessage(ref, { body: 'x' }, { idempotencyKey: 'k' })
    expect(await notes.appendMessage(ref, { body: 'x' }, { idempotencyKey: 'k' })).toEqual(first)
    await fails(() => notes.appendMessage(ref, { body: 'X' }, { idempotencyKey: 'k' }), 'IDEMPOTENCY_CONFLICT')
    await fails(
      () => notes.appendMessage(ref, { body: 'x', stars: 3 }, { idempotencyKey: 'k' }),
      'IDEMPOTENCY_CONFLICT'
    )
  })

  it('can be seen through again', async () => {
    const history = await openAda()
    const strings = withNotes(history).withMessage(z.string(), { format: 'string' })
    await strings.createSession('ada', 'n1')
    expect((await strings.appendMessage({ userId: 'ada', id: 'n1' }, 'x'))?.messages).toEqual(['x'])
  })

  it.each([
    ['', "''"],
    [' ', "' '"],
    [5, '5'],
    [undefined, 'undefined']
  ])('with the format %j is a TypeError that shows the value', async (format, shown) => {
    const history = await openAda()
    await misuses(() => history.withMessage(note, { format: format as string }), shown)
  })

  it("of a service's own format reads its sessions", async () => {
    const history = await openAda()
    await history.appendMessage(ADA, text('x'))
    const { messageSchema } = await import('../../src/index.ts')
    const same = history.withMessage(messageSchema, { format: 'message' })
    expect(textsOf(await same.getSession('ada', 's1'))).toEqual(['x'])
  })
})
