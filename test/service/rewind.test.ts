import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createSessionHistory, memoryStore, type Session, type SessionHistoryService } from '../../src/index.ts'
import { ADA, eventsOf, fails, misuses, open, openAda, storesNothing, text, textsOf, typesOf, warnings } from './kit.ts'

/** A service whose session has `count` messages, "1" and so on, each a commit: message n at version n + 1. */
async function withMessages(count: number, options = {}): Promise<SessionHistoryService> {
  const history = await openAda(options)
  for (let i = 1; i <= count; i++) await history.appendMessage(ADA, text(`${i}`))
  return history
}

function contentOf({ messages, metadata }: Session): unknown {
  return { messages: [...messages], metadata }
}

function put(history: SessionHistoryService, id: string, content: string): Promise<Session | null> {
  return history.putMessage(ADA, { id, ...text(content) })
}

describe('rewind', () => {
  it('sets messages and metadata back by one event, and loses nothing', async () => {
    const history = await withMessages(2)
    await history.updateMetadata(ADA, { set: { title: 'T', state: { deep: [1] } } })
    const old = await history.getSession('ada', 's1')
    await history.commit(ADA, [
      { type: 'truncate', length: 1 },
      { type: 'append', messages: [text('3')] },
      { type: 'metadata', set: { title: 'U' }, unset: ['state'] }
    ])
    const session = await history.rewind(ADA, 4, { reason: 'a wrong turn' })
    expect(contentOf(session)).toEqual(contentOf(old!))
    expect(session.version).toBe(8)
    expect((await eventsOf(history)).at(-1)).toMatchObject({
      type: 'rewound',
      data: { toVersion: 4, kind: 'rewind', reason: 'a wrong turn' }
    })
    expect(textsOf(await history.getSession('ada', 's1', { at: 7 }))).toEqual(['1', '3'])
    expect(textsOf(await history.appendMessage(session, text('on')))).toEqual(['1', '2', 'on'])
    expect(textsOf(await history.getSession('ada', 's1', { at: 6 }))).toEqual(['1', '3'])
  })

  it('may go forth again, to what was left', async () => {
    const history = await withMessages(3)
    expect(textsOf(await history.rewind(ADA, 1))).toEqual([])
    expect(textsOf(await history.rewind(ADA, 4))).toEqual(['1', '2', '3'])
    expect(textsOf(await history.rewind(ADA, 5))).toEqual([])
  })

  it('to the present stores nothing, wherever the same content was', async () => {
    const history = await withMessages(2)
    const now = await history.getSession('ada', 's1')
    expect(await storesNothing(history, () => history.rewind(ADA, 3))).toEqual(now)
    await history.rewind(ADA, 2)
    expect((await storesNothing(history, () => history.rewind(ADA, 2))).version).toBe(4)
    expect((await storesNothing(history, () => history.rewind(ADA, 4))).version).toBe(4)
  })

  it.each([0, 4, 1_000])('to version %j of 3 is VERSION_NOT_FOUND, and nothing is stored', async (version) => {
    const history = await withMessages(2)
    await storesNothing(history, () =>
      fails(() => history.rewind(ADA, version), 'VERSION_NOT_FOUND', { version, actual: 3 })
    )
  })

  it('to where the session was deleted is VERSION_NOT_FOUND', async () => {
    const history = await withMessages(1)
    await history.deleteSession('ada', 's1')
    await history.createSession('ada', 's1')
    await storesNothing(history, () => fails(() => history.rewind(ADA, 3), 'VERSION_NOT_FOUND', { version: 3 }))
  })

  it.each([-1, 1.5, '2', null, undefined, Number.NaN])('to %j is misuse', async (version) => {
    const history = await withMessages(2)
    await storesNothing(history, () => misuses(() => history.rewind(ADA, version as number), 'toVersion'))
  })

  it('with a reason that is no string is misuse', async () => {
    const history = await withMessages(2)
    await storesNothing(history, () => misuses(() => history.rewind(ADA, 1, { reason: 5 as never }), 'reason'))
  })

  it('across a start-over goes to what was before, and back', async () => {
    const history = await withMessages(2)
    await history.updateMetadata(ADA, { set: { life: 1 } })
    await history.createSession('ada', 's1', { metadata: { life: 2 } })
    await history.appendMessage(ADA, text('new'))
    const first = await history.rewind(ADA, 4)
    expect(textsOf(first)).toEqual(['1', '2'])
    expect(first.metadata).toEqual({ life: 1 })
    const second = await history.rewind(ADA, 6)
    expect(textsOf(second)).toEqual(['new'])
    expect(second.metadata).toEqual({ life: 2 })
  })

  it('from a deleted session to before brings it back, also where it was empty', async () => {
    const history = await withMessages(1)
    await history.deleteSession('ada', 's1')
    const back = await history.rewind(ADA, 2)
    expect(textsOf(back)).toEqual(['1'])
    expect(back.version).toBe(4)
    expect((await history.listSessions('ada')).map(({ id }) => id)).toEqual(['s1'])
    await history.deleteSession('ada', 's1')
    const empty = await history.rewind(ADA, 1)
    expect(empty).toMatchObject({ version: 6, messages: [], metadata: {} })
    expect(textsOf(await history.appendMessage(ADA, text('on')))).toEqual(['on'])
    expect(await typesOf(history)).toEqual([
      'created',
      'message-appended',
      'deleted',
      'rewound',
      'deleted',
      'rewound',
      'message-appended'
    ])
  })

  it('from a deleted session to where there was none is VERSION_NOT_FOUND', async () => {
    const history = await withMessages(1)
    await history.deleteSession('ada', 's1')
    await storesNothing(history, async () => {
      await fails(() => history.rewind(ADA, 3), 'VERSION_NOT_FOUND')
      await fails(() => history.rewind(ADA, 0), 'VERSION_NOT_FOUND')
      await fails(() => history.rewind(ADA, 4), 'VERSION_NOT_FOUND')
    })
    expect(await history.getSession('ada', 's1', { at: 3 })).toBeNull()
  })

  it.each(['warn', 'create', 'throw'] as const)(
    'of a session without a log is SESSION_NOT_FOUND, also with missing.append %j',
    async (append) => {
      const history = await open({ missing: { append } })
      await fails(() => history.rewind(ADA, 1), 'SESSION_NOT_FOUND')
      await fails(() => history.rewind(ADA, 0), 'SESSION_NOT_FOUND')
      expect(await eventsOf(history)).toEqual([])
      await history.createSession('ada', 's1')
      await history.purgeSession('ada', 's1')
      await fails(() => history.rewind(ADA, 1), 'SESSION_NOT_FOUND')
      expect(await eventsOf(history)).toEqual([])
    }
  )

  it('checks expectedVersion first', async () => {
    const history = await withMessages(2)
    await storesNothing(history, async () => {
      await fails(() => history.rewind(ADA, 1, { expectedVersion: 2 }), 'VERSION_CONFLICT', { actual: 3 })
      await fails(() => history.rewind(ADA, 99, { expectedVersion: 'none' }), 'VERSION_CONFLICT')
      await fails(() => history.undo(ADA, { expectedVersion: 2 }), 'VERSION_CONFLICT', { actual: 3 })
      await fails(() => history.redo(ADA, { expectedVersion: 2 }), 'VERSION_CONFLICT', { actual: 3 })
    })
    expect((await history.rewind(ADA, 1, { expectedVersion: 3 })).version).toBe(4)
  })

  it('with an idempotencyKey is done once', async () => {
    const history = await withMessages(2)
    const first = await history.rewind(ADA, 1, { idempotencyKey: 'k' })
    await history.appendMessage(ADA, text('since'))
    expect(await storesNothing(history, () => history.rewind(ADA, 1, { idempotencyKey: 'k' }))).toEqual(first)
    await fails(() => history.rewind(ADA, 2, { idempotencyKey: 'k' }), 'IDEMPOTENCY_CONFLICT')
    await fails(() => history.rewind(ADA, 1, { idempotencyKey: 'k', reason: 'r' }), 'IDEMPOTENCY_CONFLICT')
    await fails(() => history.undo(ADA, { idempotencyKey: 'k' }), 'IDEMPOTENCY_CONFLICT')
  })

  it('restores neither keys nor turns nor forkedFrom', async () => {
    const history = await withMessages(1)
    const turn = await history.beginTurn(ADA)
    await turn.end()
    const written = await history.appendMessage(ADA, text('once'), { idempotencyKey: 'k' })
    await history.rewind(ADA, 1)
    expect(
      await storesNothing(history, () => history.appendMessage(ADA, text('once'), { idempotencyKey: 'k' }))
    ).toEqual(written)
    expect(await history.rewind(ADA, 3)).not.toHaveProperty('turn')
    const child = await history.fork(ADA, { sessionId: 'child' })
    await history.createSession('ada', 'child')
    const back = await history.rewind(child, 1)
    expect(textsOf(back)).toEqual(['1'])
    expect(back).not.toHaveProperty('forkedFrom')
  })

  it('keeps createdAt, and is new activity', async () => {
    const history = await withMessages(1)
    const { createdAt, updatedAt } = (await history.getSession('ada', 's1'))!
    const session = await history.rewind(ADA, 1)
    expect(session.createdAt).toBe(createdAt)
    expect(session.updatedAt).toBeGreaterThan(updatedAt)
  })

  it('is a change of commit, upon those before it and before those after it', async () => {
    const history = await withMessages(2)
    const session = await history.commit(ADA, [
      { type: 'append', messages: [text('gone')] },
      { type: 'rewind', toVersion: 2 },
      { type: 'append', messages: [text('on')] }
    ])
    expect(textsOf(session)).toEqual(['1', 'on'])
    expect(session?.version).toBe(6)
    await storesNothing(history, async () => {
      await fails(() => history.commit(ADA, [{ type: 'rewind', toVersion: 7 }]), 'VERSION_NOT_FOUND')
      const both = [
        { type: 'append' as const, messages: [text('x')] },
        { type: 'rewind' as const, toVersion: 7 }
      ]
      await fails(() => history.commit(ADA, both), 'VERSION_NOT_FOUND')
      await misuses(() => history.commit(ADA, [{ type: 'rewind' } as never]), 'changes[0].toVersion')
    })
  })

  it('as the first change of a commit brings a deleted session back; as a later one it does not', async () => {
    const history = await withMessages(1)
    await history.deleteSession('ada', 's1')
    expect(
      await storesNothing(history, () =>
        history.commit(ADA, [
          { type: 'append', messages: [text('x')] },
          { type: 'rewind', toVersion: 2 }
        ])
      )
    ).toBeNull()
    const session = await history.commit(ADA, [
      { type: 'rewind', toVersion: 2 },
      { type: 'append', messages: [text('2')] }
    ])
    expect(textsOf(session)).toEqual(['1', '2'])
  })

  it('at once with others is decided upon what they stored', async () => {
    const history = await withMessages(1)
    const [appended, rewound, undone] = await Promise.all([
      history.appendMessage(ADA, text('2')),
      history.rewind(ADA, 3),
      history.undo(ADA)
    ])
    expect(appended?.version).toBe(3)
    expect(rewound.version).toBe(3)
    expect(textsOf(undone)).toEqual(['1'])
  })

  it('reads the same from the store', async () => {
    const store = memoryStore()
    const history = await withMessages(3, { store })
    await history.rewind(ADA, 2)
    await history.undo(ADA)
    await history.undo(ADA)
    await history.redo(ADA)
    await history.appendMessage(ADA, text('4'))
    await history.deleteSession('ada', 's1')
    await history.rewind(ADA, 3)
    const other = await createSessionHistory({ store, logger: warnings() })
    for (let at = 1; at <= 11; at++) {
      expect(await other.getSession('ada', 's1', { at })).toEqual(await history.getSession('ada', 's1', { at }))
    }
    expect(await other.getSession('ada', 's1')).toEqual(await history.getSession('ada', 's1'))
  })

  it('to where the messages were of another format is FORMAT_MISMATCH, and nothing is stored', async () => {
    const history = await withMessages(1)
    const notes = history.withMessage(z.object({ body: z.string() }), { format: 'note' })
    await notes.createSession('ada', 's1')
    await notes.appendMessage(ADA, { body: 'x' })
    await fails(() => notes.rewind(ADA, 2), 'FORMAT_MISMATCH')
    await fails(() => history.rewind(ADA, 2), 'FORMAT_MISMATCH')
    expect((await notes.getSession('ada', 's1'))?.version).toBe(4)
    await notes.deleteSession('ada', 's1')
    await fails(() => notes.rewind(ADA, 2), 'FORMAT_MISMATCH')
    expect(textsOf(await history.rewind(ADA, 2))).toEqual(['1'])
    expect(await history.getSession('ada', 's1')).toMatchObject({ format: 'message', version: 6 })
  })

  it('gives snapshots that share their messages with those that they go back to', async () => {
    const history = await withMessages(3)
    const before = await history.getSession('ada', 's1')
    await history.appendMessage(ADA, text('4'))
    const session = await history.rewind(ADA, 4)
    for (const [i, message] of session.messages.entries()) expect(message).toBe(before?.messages[i])
  })
})

describe('undo', () => {
  it('goes back a commit at a time, until there is nothing left', async () => {
    const history = await openAda()
    await history.appendMessage(ADA, text('1'))
    await history.appendMessage(ADA, [text('2'), text('3')])
    await history.updateMetadata(ADA, { set: { title: 'T' } })
    await history.commit(ADA, [
      { type: 'truncate', length: 1 },
      { type: 'metadata', unset: ['title'] },
      { type: 'append', messages: [text('4')] }
    ])
    expect(await history.undo(ADA)).toMatchObject({ metadata: { title: 'T' } })
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(['1', '2', '3'])
    expect((await history.undo(ADA)).metadata).toEqual({})
    expect(textsOf(await history.undo(ADA))).toEqual(['1'])
    expect(textsOf(await history.undo(ADA))).toEqual([])
    const error = await storesNothing(history, () => fails(() => history.undo(ADA), 'NOTHING_TO_UNDO'))
    expect(error).toMatchObject({ userId: 'ada', sessionId: 's1' })
  })

  it('is an event with its kind and where it went', async () => {
    const history = await withMessages(2)
    await history.undo(ADA)
    await history.undo(ADA)
    await history.redo(ADA)
    const rewound = (await eventsOf(history)).filter(({ type }) => type === 'rewound')
    expect(rewound.map(({ data }) => data)).toMatchObject([
      { kind: 'undo', toVersion: 2 },
      { kind: 'undo', toVersion: 1 },
      { kind: 'redo' }
    ])
  })

  it('of a session that was just created is NOTHING_TO_UNDO', async () => {
    const history = await openAda()
    await storesNothing(history, () => fails(() => history.undo(ADA), 'NOTHING_TO_UNDO'))
  })

  it('takes puts of one message that follow each other as one step', async () => {
    const history = await withMessages(1)
    for (const content of ['a', 'ab', 'abc']) await put(history, 'r', content)
    expect(textsOf(await history.undo(ADA))).toEqual(['1'])
    expect(textsOf(await history.redo(ADA))).toEqual(['1', 'abc'])
    expect(textsOf(await history.undo(ADA))).toEqual(['1'])
    expect(textsOf(await history.undo(ADA))).toEqual([])
  })

  it('takes puts upon a message that was appended as a step of their own', async () => {
    const history = await openAda()
    await history.appendMessage(ADA, { id: 'r', ...text('appended') })
    await put(history, 'r', 'edited')
    await put(history, 'r', 'edited again')
    expect(textsOf(await history.undo(ADA))).toEqual(['appended'])
    expect(textsOf(await history.undo(ADA))).toEqual([])
  })

  it('takes puts of another message as another step', async () => {
    const history = await openAda()
    await put(history, 'a', 'a')
    await put(history, 'b', 'b')
    await put(history, 'b', 'bb')
    await put(history, 'a', 'aa')
    expect(textsOf(await history.undo(ADA))).toEqual(['a', 'bb'])
    expect(textsOf(await history.undo(ADA))).toEqual(['a'])
    expect(textsOf(await history.undo(ADA))).toEqual([])
  })

  it('takes puts with something between them as two steps', async () => {
    const history = await openAda()
    await put(history, 'a', 'a')
    await history.updateMetadata(ADA, { set: { x: 1 } })
    await put(history, 'a', 'aa')
    expect(textsOf(await history.undo(ADA))).toEqual(['a'])
    expect((await history.undo(ADA)).metadata).toEqual({})
    expect(textsOf(await history.undo(ADA))).toEqual([])
  })

  it('takes puts with a turn, a rewind, an undo or a redo between them as two steps', async () => {
    const history = await openAda()
    await put(history, 'a', '1')
    await history.beginTurn(ADA).then((turn) => turn.end())
    await put(history, 'a', '2')
    expect(textsOf(await history.undo(ADA))).toEqual(['1'])
    await put(history, 'a', '3')
    expect(textsOf(await history.undo(ADA))).toEqual(['1'])
    expect(textsOf(await history.redo(ADA))).toEqual(['3'])
    await put(history, 'a', '4')
    expect(textsOf(await history.undo(ADA))).toEqual(['3'])
    await history.rewind(ADA, 2)
    await put(history, 'a', '5')
    expect(textsOf(await history.undo(ADA))).toEqual(['1'])
  })

  it('takes equal puts for nothing', async () => {
    const history = await openAda()
    await put(history, 'a', '1')
    await storesNothing(history, () => put(history, 'a', '1'))
    await put(history, 'a', '2')
    expect(textsOf(await history.undo(ADA))).toEqual([])
  })

  it('takes a put with another change in its commit as a step of its own', async () => {
    const history = await openAda()
    const both = (content: string): Promise<Session | null> =>
      history.commit(ADA, [
        { type: 'put', message: { id: 'a', ...text(content) } },
        { type: 'metadata', set: { at: content } }
      ])
    await put(history, 'a', '1')
    await both('2')
    await both('3')
    await put(history, 'a', '4')
    expect(textsOf(await history.undo(ADA))).toEqual(['3'])
    expect(textsOf(await history.undo(ADA))).toEqual(['2'])
    expect(textsOf(await history.undo(ADA))).toEqual(['1'])
    expect(textsOf(await history.undo(ADA))).toEqual([])
  })

  it('takes a commit that ends with a put, or puts two messages, as a step of its own', async () => {
    const history = await openAda()
    await put(history, 'a', '1')
    await history.commit(ADA, [
      { type: 'append', messages: [text('x')] },
      { type: 'put', message: { id: 'a', ...text('2') } }
    ])
    await put(history, 'a', '3')
    await history.commit(ADA, [
      { type: 'put', message: { id: 'a', ...text('4') } },
      { type: 'put', message: { id: 'b', ...text('b') } }
    ])
    await put(history, 'b', 'bb')
    expect(textsOf(await history.undo(ADA))).toEqual(['4', 'x', 'b'])
    expect(textsOf(await history.undo(ADA))).toEqual(['3', 'x'])
    expect(textsOf(await history.undo(ADA))).toEqual(['2', 'x'])
    expect(textsOf(await history.undo(ADA))).toEqual(['1'])
    expect(textsOf(await history.undo(ADA))).toEqual([])
  })

  it('takes a commit of several puts of one message as puts that follow each other', async () => {
    const history = await openAda()
    await put(history, 'a', '1')
    await history.commit(ADA, [
      { type: 'put', message: { id: 'a', ...text('2') } },
      { type: 'put', message: { id: 'a', ...text('3') } }
    ])
    await put(history, 'a', '4')
    expect(textsOf(await history.undo(ADA))).toEqual([])
  })

  it('takes a whole turn as one step, whatever it did', async () => {
    const history = await withMessages(1)
    await put(history, 'a', 'before')
    const turn = await history.beginTurn(ADA)
    await turn.put({ id: 'a', ...text('in') })
    await turn.append([text('x'), text('y')])
    await turn.renew()
    await turn.commit([{ type: 'metadata', set: { title: 'T' } }])
    await turn.put({ id: 'b', ...text('b') })
    await turn.put({ id: 'b', ...text('bb') })
    await turn.commit([{ type: 'rewind', toVersion: 3 }])
    await turn.append(text('z'))
    const done = await turn.end()
    await put(history, 'b', 'after')
    expect(contentOf(await history.undo(ADA))).toEqual(contentOf(done))
    const undone = await history.undo(ADA)
    expect(textsOf(undone)).toEqual(['1', 'before'])
    expect(undone.metadata).toEqual({})
    expect(contentOf(await history.redo(ADA))).toEqual(contentOf(done))
    await history.undo(ADA)
    expect(textsOf(await history.undo(ADA))).toEqual(['1'])
  })

  it('takes two turns as two steps, and one that wrote nothing as none', async () => {
    const history = await openAda()
    for (const content of ['one', 'two']) {
      const turn = await history.beginTurn(ADA)
      await turn.append(text(content))
      await turn.append(text(content))
      await turn.end()
    }
    await history.beginTurn(ADA).then((turn) => turn.end())
    expect(textsOf(await history.undo(ADA))).toEqual(['one', 'one'])
    expect(textsOf(await history.undo(ADA))).toEqual([])
    await fails(() => history.undo(ADA), 'NOTHING_TO_UNDO')
  })

  it('takes a rewind as a step', async () => {
    const history = await withMessages(3)
    await history.rewind(ADA, 2)
    expect(textsOf(await history.undo(ADA))).toEqual(['1', '2', '3'])
    expect(textsOf(await history.undo(ADA))).toEqual(['1', '2'])
    expect(textsOf(await history.redo(ADA))).toEqual(['1', '2', '3'])
    expect(textsOf(await history.redo(ADA))).toEqual(['1'])
    await fails(() => history.redo(ADA), 'NOTHING_TO_REDO')
  })

  it('begins afresh with a start-over, a deletion, a session brought back and a fork', async () => {
    const history = await withMessages(2)
    await history.createSession('ada', 's1')
    await fails(() => history.undo(ADA), 'NOTHING_TO_UNDO')
    await history.appendMessage(ADA, text('x'))
    await history.deleteSession('ada', 's1')
    await storesNothing(history, async () => {
      await fails(() => history.undo(ADA), 'SESSION_NOT_FOUND')
      await fails(() => history.redo(ADA), 'SESSION_NOT_FOUND')
    })
    await history.rewind(ADA, 5)
    await fails(() => history.undo(ADA), 'NOTHING_TO_UNDO')
    await fails(() => history.redo(ADA), 'NOTHING_TO_REDO')
    const child = await history.fork(ADA)
    await fails(() => history.undo(child), 'NOTHING_TO_UNDO')
  })

  it('is of the first message, too, where the append made the session', async () => {
    const history = await open({ missing: { append: 'create' } })
    await history.appendMessage(ADA, text('1'))
    expect(textsOf(await history.undo(ADA))).toEqual([])
    await fails(() => history.undo(ADA), 'NOTHING_TO_UNDO')
    await fails(() => history.undo({ userId: 'ada', id: 'none' }), 'SESSION_NOT_FOUND')
    await fails(() => history.redo({ userId: 'ada', id: 'none' }), 'SESSION_NOT_FOUND')
  })

  it('with an idempotencyKey is done once', async () => {
    const history = await withMessages(3)
    const first = await history.undo(ADA, { idempotencyKey: 'k' })
    expect(await storesNothing(history, () => history.undo(ADA, { idempotencyKey: 'k' }))).toEqual(first)
    await fails(() => history.redo(ADA, { idempotencyKey: 'k' }), 'IDEMPOTENCY_CONFLICT')
    expect(textsOf(await history.undo(ADA, { idempotencyKey: 'k2' }))).toEqual(['1'])
  })

  it('works at once, many times, each upon the one before', async () => {
    const history = await withMessages(20)
    const sessions = await Promise.all(Array.from({ length: 15 }, () => history.undo(ADA)))
    expect(sessions.map(({ messages }) => messages.length)).toEqual(Array.from({ length: 15 }, (_, i) => 19 - i))
  })

  it('of two services over one store goes on from what either did', async () => {
    const store = memoryStore()
    const one = await withMessages(3, { store })
    const other = await open({ store })
    expect(textsOf(await other.undo(ADA))).toEqual(['1', '2'])
    expect(textsOf(await one.undo(ADA))).toEqual(['1'])
    expect(textsOf(await other.redo(ADA))).toEqual(['1', '2'])
    expect(textsOf(await one.redo(ADA))).toEqual(['1', '2', '3'])
    await fails(() => other.redo(ADA), 'NOTHING_TO_REDO')
  })
})

describe('redo', () => {
  it('takes back each undo, in turn', async () => {
    const history = await withMessages(4)
    const all = await history.getSession('ada', 's1')
    for (let i = 3; i >= 0; i--) expect((await history.undo(ADA)).messages).toHaveLength(i)
    for (let i = 1; i <= 4; i++) expect((await history.redo(ADA)).messages).toHaveLength(i)
    expect(contentOf((await history.getSession('ada', 's1'))!)).toEqual(contentOf(all!))
    const error = await storesNothing(history, () => fails(() => history.redo(ADA), 'NOTHING_TO_REDO'))
    expect(error).toMatchObject({ userId: 'ada', sessionId: 's1' })
  })

  it.each([
    ['an append', (history: SessionHistoryService) => history.appendMessage(ADA, text('x'))],
    ['a put', (history: SessionHistoryService) => put(history, 'x', 'x')],
    ['metadata', (history: SessionHistoryService) => history.updateMetadata(ADA, { set: { x: 1 } })],
    ['a truncation', (history: SessionHistoryService) => history.commit(ADA, [{ type: 'truncate', length: 0 }])],
    ['a rewind', (history: SessionHistoryService) => history.rewind(ADA, 1)],
    ['a start-over', (history: SessionHistoryService) => history.createSession('ada', 's1')]
  ])('is gone after %s', async (_, write) => {
    const history = await withMessages(2)
    await history.undo(ADA)
    await write(history)
    await storesNothing(history, () => fails(() => history.redo(ADA), 'NOTHING_TO_REDO'))
  })

  it('is not gone after what stores nothing, nor after a turn without a write', async () => {
    const history = await withMessages(2)
    await history.undo(ADA)
    await history.appendMessage(ADA, [])
    await history.rewind(ADA, 2)
    await history.beginTurn(ADA).then((turn) => turn.end())
    expect(textsOf(await history.redo(ADA))).toEqual(['1', '2'])
  })

  it('without an undo is NOTHING_TO_REDO', async () => {
    const history = await withMessages(1)
    await storesNothing(history, () => fails(() => history.redo(ADA), 'NOTHING_TO_REDO'))
  })

  it('after an undo is as if neither had been, for undo, too', async () => {
    const history = await withMessages(3)
    await put(history, 'a', '4')
    await put(history, 'a', '4, grown')
    for (let i = 0; i < 4; i++) {
      const before = await history.getSession('ada', 's1')
      await history.undo(ADA)
      expect(contentOf(await history.redo(ADA))).toEqual(contentOf(before!))
      await history.undo(ADA)
    }
    await fails(() => history.undo(ADA), 'NOTHING_TO_UNDO')
  })
})
