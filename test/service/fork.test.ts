import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  createSessionHistory,
  isTurnlogError,
  memoryStore,
  type Session,
  type SessionHistoryService,
  type SessionRef
} from '../../src/index.ts'
import {
  ADA,
  deferred,
  eventsOf,
  failureOf,
  fails,
  hooked,
  misuses,
  open,
  openAda,
  storesNothing,
  text,
  textsOf,
  typesOf,
  warnings,
  type Hooks
} from './kit.ts'

const CHILD: SessionRef = { userId: 'ada', id: 'child' }

/** A service whose session has `count` messages, "1" and so on, each a commit: message n at version n + 1. */
async function withMessages(count: number, options = {}): Promise<SessionHistoryService> {
  const history = await openAda(options)
  for (let i = 1; i <= count; i++) await history.appendMessage(ADA, text(`${i}`))
  return history
}

async function readTexts(history: SessionHistoryService, { userId, id }: SessionRef): Promise<unknown[]> {
  return textsOf(await history.getSession(userId, id))
}

describe('a fork', () => {
  it('begins with the messages and metadata of its parent, at version 1', async () => {
    const history = await withMessages(2)
    await history.updateMetadata(ADA, { set: { title: 'T', state: { deep: [1] } } })
    const parent = await history.getSession('ada', 's1')
    const child = await history.fork(ADA, { sessionId: 'child' })
    expect(child).toMatchObject({
      userId: 'ada',
      id: 'child',
      version: 1,
      metadata: parent?.metadata,
      format: 'message'
    })
    expect(child.messages).toEqual(parent?.messages)
    expect(child.forkedFrom).toEqual({ userId: 'ada', sessionId: 's1', version: 4 })
    expect(child.createdAt).toBeGreaterThan(parent!.updatedAt)
    expect(await history.getSession('ada', 'child')).toEqual(child)
  })

  it.each([1, 2, 3, 4])('may be of version %j', async (at) => {
    const history = await withMessages(3)
    const child = await history.fork(ADA, { at })
    expect(textsOf(child)).toEqual(['1', '2', '3'].slice(0, at - 1))
    expect(child.forkedFrom?.version).toBe(at)
  })

  it('may be of a time', async () => {
    const history = await withMessages(3)
    const { updatedAt } = (await history.getSession('ada', 's1', { at: 2 }))!
    const child = await history.fork(ADA, { at: new Date(updatedAt) })
    expect(textsOf(child)).toEqual(['1'])
    expect(child.forkedFrom?.version).toBe(2)
  })

  it('gets an id of its own where none is given; a given one is trimmed', async () => {
    const history = await withMessages(1)
    const [one, two] = [await history.fork(ADA), await history.fork(ADA, { sessionId: '  ' })]
    expect(new Set([one.id, two.id, 's1']).size).toBe(3)
    expect((await history.fork(ADA, { sessionId: ' child ' })).id).toBe('child')
  })

  it('copies no message: they are the very same while both are in memory', async () => {
    const history = await withMessages(40)
    const child = await history.fork(ADA, { at: 36 })
    const parent = await history.getSession('ada', 's1')
    for (const [i, message] of child.messages.entries()) expect(message).toBe(parent?.messages[i])
  })

  it('and its parent go on apart', async () => {
    const history = await withMessages(2)
    const child = await history.fork(ADA, { sessionId: 'child' })
    await history.appendMessage(ADA, text('parent'))
    await history.appendMessage(child, text('child'))
    await history.putMessage(child, { ...child.messages[0]!, content: [{ type: 'text', text: 'edited' }] })
    await history.updateMetadata(child, { set: { only: 'child' } })
    await history.commit(ADA, [{ type: 'truncate', length: 1 }])
    expect(await readTexts(history, ADA)).toEqual(['1'])
    expect(await readTexts(history, CHILD)).toEqual(['edited', '2', 'child'])
    expect((await history.getSession('ada', 's1'))?.metadata).toEqual({})
    expect(textsOf(await history.getSession('ada', 's1', { at: 4 }))).toEqual(['1', '2', 'parent'])
  })

  it('has versions and events of its own; those of the parent cannot be read through it', async () => {
    const history = await withMessages(3)
    const child = await history.fork(ADA, { sessionId: 'child' })
    await history.appendMessage(child, text('4'))
    expect(await typesOf(history, CHILD)).toEqual(['created', 'message-appended'])
    expect((await eventsOf(history, CHILD))[0]?.data).toMatchObject({ forkedFrom: { sessionId: 's1', version: 4 } })
    expect(textsOf(await history.getSession('ada', 'child', { at: 1 }))).toEqual(['1', '2', '3'])
    expect(await history.getSession('ada', 'child', { at: 0 })).toBeNull()
    await fails(() => history.getSession('ada', 'child', { at: 3 }), 'VERSION_NOT_FOUND')
    await fails(() => history.rewind(child, 3), 'VERSION_NOT_FOUND')
    expect(textsOf(await history.rewind(child, 1))).toEqual(['1', '2', '3'])
  })

  it('of a fork, and of that, at version 1, have what the first has', async () => {
    const history = await withMessages(3)
    let session: Session = await history.fork(ADA, { at: 3, sessionId: 'fork 0' })
    for (let i = 1; i <= 20; i++) {
      session = await history.fork(session, { at: 1, sessionId: `fork ${i}` })
      expect(textsOf(session)).toEqual(['1', '2'])
      expect(session.forkedFrom).toEqual({ userId: 'ada', sessionId: `fork ${i - 1}`, version: 1 })
    }
  })

  it('of a fork that went on has that, too', async () => {
    const history = await withMessages(1)
    const child = await history.fork(ADA, { sessionId: 'child' })
    await history.appendMessage(child, text('2'))
    await history.rewind(child, 1)
    const grandchild = await history.fork(child, { at: 2 })
    await history.appendMessage(grandchild, text('3'))
    expect(await readTexts(history, grandchild)).toEqual(['1', '2', '3'])
    expect(await readTexts(history, CHILD)).toEqual(['1'])
  })

  it('may truncate, put and rewind what it inherited', async () => {
    const history = await withMessages(3)
    const child = await history.fork(ADA, { sessionId: 'child' })
    await history.commit(child, [{ type: 'truncate', length: 1 }])
    expect(textsOf(await history.undo(child))).toEqual(['1', '2', '3'])
    expect(textsOf(await history.redo(child))).toEqual(['1'])
  })

  it('that starts over has no messages and no parent, and can go back', async () => {
    const history = await withMessages(2)
    await history.fork(ADA, { sessionId: 'child' })
    const fresh = await history.createSession('ada', 'child')
    expect(fresh).toMatchObject({ version: 2, messages: [], metadata: {} })
    expect(fresh).not.toHaveProperty('forkedFrom')
    expect(textsOf(await history.rewind(CHILD, 1))).toEqual(['1', '2'])
  })

  it('that is deleted can be brought back', async () => {
    const history = await withMessages(2)
    await history.fork(ADA, { sessionId: 'child' })
    await history.deleteSession('ada', 'child')
    expect(textsOf(await history.rewind(CHILD, 1))).toEqual(['1', '2'])
  })

  it('has neither the keys nor the turn nor the steps of its parent', async () => {
    const history = await openAda()
    await history.appendMessage(ADA, text('1'), { idempotencyKey: 'k' })
    await history.beginTurn(ADA)
    const child = await history.fork(ADA)
    expect(child).not.toHaveProperty('turn')
    expect(textsOf(await history.appendMessage(child, text('other'), { idempotencyKey: 'k' }))).toEqual(['1', 'other'])
    await history.undo(child)
    await fails(() => history.undo(child), 'NOTHING_TO_UNDO')
  })

  it('is listed with what it inherited', async () => {
    const history = await openAda()
    await history.updateMetadata(ADA, { set: { title: 'T' } })
    const child = await history.fork(ADA, { sessionId: 'child' })
    const [listed] = await history.listSessions('ada')
    expect(listed).toEqual({ ...child, messages: [] })
  })
})

describe('what cannot be forked', () => {
  it('is a session that there is not: SESSION_NOT_FOUND', async () => {
    const history = await open({ missing: { append: 'create', get: 'create' } })
    await fails(() => history.fork(ADA), 'SESSION_NOT_FOUND')
    await fails(() => history.fork(ADA, { at: 1 }), 'SESSION_NOT_FOUND')
    expect(await history.listSessions('ada')).toEqual([])
  })

  it('is a version that there is not, or at which there was no session: VERSION_NOT_FOUND', async () => {
    const history = await withMessages(1)
    await history.deleteSession('ada', 's1')
    await history.createSession('ada', 's1')
    for (const at of [0, 3, 5, 1_000]) {
      await fails(() => history.fork(ADA, { at, sessionId: 'child' }), 'VERSION_NOT_FOUND', { version: at, actual: 4 })
    }
    const early = { at: new Date(0), sessionId: 'child' }
    const error = await fails(() => history.fork(ADA, early), 'VERSION_NOT_FOUND', { version: 0, actual: 4 })
    expect(error.message).toBe('There was no session at 1970-01-01T00:00:00.000Z')
    expect(await eventsOf(history, CHILD)).toEqual([])
  })

  it('is a deleted session as it is now; at an old version it can be', async () => {
    const history = await withMessages(2)
    await history.deleteSession('ada', 's1')
    await fails(() => history.fork(ADA), 'SESSION_NOT_FOUND')
    const child = await history.fork(ADA, { at: 3 })
    expect(textsOf(child)).toEqual(['1', '2'])
    expect(await history.getSession('ada', 's1', { at: 4 })).toBeNull()
  })

  it('is onto an id that has a session, or had one that was deleted: SESSION_EXISTS', async () => {
    const history = await withMessages(1)
    await history.createSession('ada', 'child')
    await fails(() => history.fork(ADA, { sessionId: 'child' }), 'SESSION_EXISTS', {
      userId: 'ada',
      sessionId: 'child'
    })
    await fails(() => history.fork(ADA, { sessionId: 's1' }), 'SESSION_EXISTS')
    await history.deleteSession('ada', 'child')
    await storesNothing(history, () => fails(() => history.fork(ADA, { sessionId: 'child' }), 'SESSION_EXISTS'), CHILD)
    await history.purgeSession('ada', 'child')
    expect(textsOf(await history.fork(ADA, { sessionId: 'child' }))).toEqual(['1'])
  })

  it('is twice onto one id, also at once and by two services: one of them is SESSION_EXISTS', async () => {
    const store = memoryStore()
    const one = await withMessages(1, { store })
    const other = await open({ store })
    const forks = await Promise.allSettled([
      one.fork(ADA, { sessionId: 'child' }),
      other.fork(ADA, { sessionId: 'child' }),
      one.fork(ADA, { sessionId: 'child' })
    ])
    expect(forks.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const fork of forks) {
      if (fork.status === 'rejected') expect(isTurnlogError(fork.reason, 'SESSION_EXISTS')).toBe(true)
    }
    expect(await eventsOf(other, CHILD)).toHaveLength(1)
  })

  it('is of another format: FORMAT_MISMATCH', async () => {
    const history = await withMessages(1)
    const notes = history.withMessage(z.object({ body: z.string() }), { format: 'note' })
    await fails(() => notes.fork(ADA, { sessionId: 'child' }), 'FORMAT_MISMATCH')
    expect(await eventsOf(history, CHILD)).toEqual([])
    await notes.createSession('ada', 's1')
    await notes.appendMessage(ADA, { body: 'x' })
    await fails(() => history.fork(ADA), 'FORMAT_MISMATCH')
    expect((await notes.fork(ADA)).messages).toEqual([{ body: 'x' }])
    expect(textsOf(await history.fork(ADA, { at: 2 }))).toEqual(['1'])
  })

  it('is anything at a point that makes no sense', async () => {
    const history = await withMessages(1)
    await misuses(() => history.fork(ADA, { at: -1 }), 'at')
    await misuses(() => history.fork(ADA, { at: 1.5 }), 'at')
    await misuses(() => history.fork(ADA, { at: new Date(Number.NaN) }), 'at')
    await misuses(() => history.fork(ADA, { sessionId: 5 as never }), 'sessionId')
    await misuses(() => history.fork(undefined as never), 'session')
    expect(await history.listSessions('ada')).toHaveLength(1)
  })
})

describe('forks', () => {
  it('are the children of a session, in order of their creation, without messages', async () => {
    const history = await withMessages(2)
    const a = await history.fork(ADA, { sessionId: 'z' })
    const b = await history.fork(ADA, { sessionId: 'a', at: 1 })
    await history.fork(a, { sessionId: 'grandchild' })
    await history.appendMessage(a, text('x'))
    const forks = await history.forks(ADA)
    expect(forks.map(({ id }) => id)).toEqual(['z', 'a'])
    expect(forks[1]).toEqual({ ...b, messages: [] })
    expect(forks[0]).toMatchObject({ version: 2, messages: [], forkedFrom: { sessionId: 's1', version: 3 } })
    expect((await history.forks(a)).map(({ id }) => id)).toEqual(['grandchild'])
    expect(await history.forks(b)).toEqual([])
  })

  it('are none where there is no session, and leave deleted and purged ones out', async () => {
    const history = await withMessages(1)
    expect(await history.forks({ userId: 'ada', id: 'none' })).toEqual([])
    for (const sessionId of ['a', 'b', 'c']) await history.fork(ADA, { sessionId })
    await history.deleteSession('ada', 'a')
    await history.purgeSession('ada', 'b')
    expect((await history.forks(ADA)).map(({ id }) => id)).toEqual(['c'])
  })

  it('leave out one that has started over, as it is a fork no more', async () => {
    const history = await withMessages(1)
    for (const sessionId of ['a', 'b']) await history.fork(ADA, { sessionId })
    const over = await history.createSession('ada', 'a')
    expect((await history.forks(ADA)).map(({ id }) => id)).toEqual(['b'])
    expect(over).not.toHaveProperty('forkedFrom')
  })

  it('of a deleted session are listed, too; of a purged one there is nothing to ask', async () => {
    const history = await withMessages(1)
    await history.fork(ADA, { sessionId: 'child' })
    await history.deleteSession('ada', 's1')
    expect((await history.forks(ADA)).map(({ id }) => id)).toEqual(['child'])
    await history.purgeSession('ada', 's1')
    expect(await history.forks(ADA)).toEqual([])
    await history.createSession('ada', 's1')
    expect(await history.forks(ADA)).toEqual([])
  })
})

describe('purging', () => {
  it('a parent leaves its forks as they are, also for a service that reads them from the store', async () => {
    const store = memoryStore()
    const history = await withMessages(3, { store })
    const child = await history.fork(ADA, { at: 3, sessionId: 'child' })
    await history.appendMessage(child, text('x'))
    const grandchild = await history.fork(child, { at: 1, sessionId: 'grandchild' })
    await history.purgeSession('ada', 's1')
    await history.purgeSession('ada', 'child')
    expect(await history.getSession('ada', 's1', { at: 0 })).toBeNull()
    expect(await readTexts(history, grandchild)).toEqual(['1', '2'])
    const other = await createSessionHistory({ store, logger: warnings() })
    expect(await other.getSession('ada', 'grandchild')).toEqual(await history.getSession('ada', 'grandchild'))
    expect(textsOf(await other.appendMessage(grandchild, text('y')))).toEqual(['1', '2', 'y'])
  })

  it('a parent leaves its forks as they are when they are brought back to memory', async () => {
    const history = await withMessages(3, { maxActiveSessions: 1 })
    const child = await history.fork(ADA, { sessionId: 'child' })
    await history.purgeSession('ada', 's1')
    await history.createSession('ada', 'another')
    expect(await readTexts(history, CHILD)).toEqual(['1', '2', '3'])
    await history.createSession('ada', 's1')
    await history.appendMessage(ADA, text('new'))
    expect(textsOf(await history.appendMessage(child, text('4')))).toEqual(['1', '2', '3', '4'])
    await history.getSession('ada', 'another')
    expect(textsOf(await history.getSession('ada', 'child', { at: 1 }))).toEqual(['1', '2', '3'])
  })

  it('a fork leaves its parent as it is, and frees its id', async () => {
    const history = await withMessages(2)
    const child = await history.fork(ADA, { sessionId: 'child' })
    await history.appendMessage(child, text('x'))
    await history.purgeSession('ada', 'child')
    expect(await readTexts(history, ADA)).toEqual(['1', '2'])
    expect(await eventsOf(history, CHILD)).toEqual([])
    expect(textsOf(await history.fork(ADA, { sessionId: 'child' }))).toEqual(['1', '2'])
  })

  it('a fork that is purged while it is being read is absent, not damaged', async () => {
    const inner = memoryStore()
    const history = await withMessages(2, { store: inner })
    await history.fork(ADA, { sessionId: 'child' })
    await history.purgeSession('ada', 's1')
    let reads = 0
    const hooks: Hooks = {
      async *read(logId, range) {
        // The fork's own events come first, then those that it begins with.
        if (++reads === 2) await inner.purge({ userId: 'ada', sessionId: 'child' })
        yield* inner.read(logId, range)
      }
    }
    const other = await createSessionHistory({ store: hooked(hooks, inner), missing: { get: 'null' } })
    expect(await other.getSession('ada', 'child')).toBeNull()
    expect(reads).toBe(2)
  })

  it('the last fork erases what was kept of a purged parent for it', async () => {
    const store = memoryStore()
    const history = await withMessages(2, { store })
    const { logId } = (await store.head({ userId: 'ada', sessionId: 's1' }))!
    const kept = async (): Promise<number> => {
      let count = 0
      for await (const page of store.read(logId)) count += page.length
      return count
    }
    await history.fork(ADA, { at: 2, sessionId: 'a' })
    await history.fork(ADA, { at: 1, sessionId: 'b' })
    await history.purgeSession('ada', 's1')
    expect(await kept()).toBe(2)
    await history.purgeSession('ada', 'a')
    expect(await kept()).toBe(1)
    expect(await readTexts(history, { userId: 'ada', id: 'b' })).toEqual([])
    await history.purgeSession('ada', 'b')
    expect(await kept()).toBe(0)
  })

  it('while a fork is made: the fork has its messages, or fails with SESSION_NOT_FOUND', async () => {
    for (let hops = 0; hops < 40; hops++) {
      const store = memoryStore()
      const one = await withMessages(2, { store })
      const other = await open({ store })
      const fork = one.fork(ADA, { sessionId: 'child' })
      const outcome = fork.then(textsOf, (error: unknown) => isTurnlogError(error, 'SESSION_NOT_FOUND'))
      for (let i = 0; i < hops; i++) await Promise.resolve()
      await other.purgeSession('ada', 's1')
      const result = await outcome
      expect([true, ['1', '2']]).toContainEqual(result)
      expect(await readTexts(await open({ store, missing: { get: 'null' } }), CHILD)).toEqual(
        result === true ? [] : ['1', '2']
      )
      expect(await eventsOf(one, CHILD)).toHaveLength(result === true ? 0 : 1)
    }
  })

  it('before the store has the fork: SESSION_NOT_FOUND, and the id is free', async () => {
    const inner = memoryStore()
    const hooks: Hooks = {}
    const history = await withMessages(2, { store: hooked(hooks, inner) })
    const [reached, purged] = [deferred(), deferred()]
    hooks.append = async (commits) => {
      delete hooks.append
      reached.resolve()
      await purged.promise
      return inner.append(commits)
    }
    const failure = failureOf(() => history.fork(ADA, { sessionId: 'child' }))
    await reached.promise
    const appended = history.appendMessage(CHILD, text('meanwhile'))
    await history.purgeSession('ada', 's1')
    purged.resolve()
    expect(await failure).toMatchObject({ code: 'SESSION_NOT_FOUND', userId: 'ada', sessionId: 's1' })
    expect(await appended).toBeNull()
    expect(await eventsOf(history, CHILD)).toEqual([])
    const fresh = await history.createSession('ada', 'child')
    expect(fresh).toMatchObject({ version: 1, messages: [] })
    expect(fresh).not.toHaveProperty('forkedFrom')
  })
})

describe('a fork, when calls fail or meet', () => {
  it('whose answer is lost is stored once and found again', async () => {
    const inner = memoryStore()
    const hooks: Hooks = {}
    const history = await withMessages(2, { store: hooked(hooks, inner) })
    hooks.append = async (commits) => {
      delete hooks.append
      await inner.append(commits)
      throw new Error('the answer was lost')
    }
    const child = await history.fork(ADA, { sessionId: 'child' })
    expect(textsOf(child)).toEqual(['1', '2'])
    expect(await eventsOf(history, CHILD)).toHaveLength(1)
  })

  it('and an append to it made at once take effect in that order', async () => {
    const inner = memoryStore()
    const hooks: Hooks = {}
    const history = await withMessages(2, { store: hooked(hooks, inner) })
    const [reached, stored] = [deferred(), deferred()]
    hooks.append = async (commits) => {
      delete hooks.append
      reached.resolve()
      await stored.promise
      return inner.append(commits)
    }
    const fork = history.fork(ADA, { sessionId: 'child' })
    await reached.promise
    const [append, undo] = [history.appendMessage(CHILD, text('3')), history.undo(CHILD)]
    stored.resolve()
    const [child, a, b] = await Promise.all([fork, append, undo])
    expect(child.version).toBe(1)
    expect(textsOf(a)).toEqual(['1', '2', '3'])
    expect(textsOf(b)).toEqual(['1', '2'])
  })

  it('and a createSession of one id at once leave one log', async () => {
    const history = await withMessages(2)
    const [fork, created] = await Promise.allSettled([
      history.fork(ADA, { sessionId: 'child' }),
      history.createSession('ada', 'child')
    ])
    expect(created.status).toBe('fulfilled')
    const events = await eventsOf(history, CHILD)
    expect(events).toHaveLength(fork.status === 'fulfilled' ? 2 : 1)
    const session = (await history.getSession('ada', 'child'))!
    expect(session.messages).toEqual([])
  })

  it('reads the same at every version from memory and from the store, through rewinds', async () => {
    const store = memoryStore()
    const history = await withMessages(3, { store })
    await history.rewind(ADA, 2)
    await history.updateMetadata(ADA, { set: { x: 1 } })
    const child = await history.fork(ADA, { sessionId: 'child' })
    await history.appendMessage(child, text('a'))
    await history.updateMetadata(child, { set: { y: 1 }, unset: ['x'] })
    await history.undo(child)
    await history.rewind(child, 1)
    await history.createSession('ada', 'child')
    await history.rewind(child, 3)
    const other = await createSessionHistory({ store, logger: warnings() })
    for (let at = 1; at <= 7; at++) {
      expect(await other.getSession('ada', 'child', { at })).toEqual(await history.getSession('ada', 'child', { at }))
    }
    expect((await other.getSession('ada', 'child'))?.metadata).toEqual({ y: 1 })
  })
})
