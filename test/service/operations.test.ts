import { describe, expect, it } from 'vitest'
import { clockOf, ADA, eventsOf, fails, misuses, open, openAda, storesNothing, text, textsOf, typesOf } from './kit.ts'

describe('createSession', () => {
  it('gives the new session: empty, at version 1, with the time of its event', async () => {
    const history = await open({ clock: clockOf(() => 1_234) })
    expect({ ...(await history.createSession('ada', 's1')) }).toEqual({
      userId: 'ada',
      id: 's1',
      version: 1,
      createdAt: 1_234,
      updatedAt: 1_234,
      messages: [],
      metadata: {},
      format: 'message'
    })
  })

  it.each([' s1', 's1 ', '\t s1 \n', 's1'])('strips the session id %j', async (given) => {
    const history = await open()
    expect((await history.createSession('ada', given)).id).toBe('s1')
    expect(await typesOf(history)).toEqual(['created'])
  })

  it.each([undefined, null, '', '   ', '\t\n'])('makes a fresh id for %j', async (given) => {
    let made = 0
    const history = await open({ ids: { session: () => `fresh-${++made}` } })
    expect((await history.createSession('ada', given as string)).id).toBe('fresh-1')
    expect((await history.createSession('ada', given as string)).id).toBe('fresh-2')
  })

  it('makes ids of its own that never repeat', async () => {
    const history = await open()
    const sessions = await Promise.all(Array.from({ length: 50 }, () => history.createSession('ada')))
    expect(new Set(sessions.map(({ id }) => id)).size).toBe(50)
    expect(await history.listSessions('ada')).toHaveLength(50)
  })

  it('does not strip the user id', async () => {
    const history = await open({ missing: { get: 'null' } })
    expect((await history.createSession(' ada ', 's1')).userId).toBe(' ada ')
    expect(await history.getSession('ada', 's1')).toBeNull()
  })

  it('stores the metadata it is given', async () => {
    const history = await open()
    const metadata = { title: 'Trip', tags: ['a', 'b'], state: { step: 1, done: null } }
    expect((await history.createSession('ada', 's1', { metadata })).metadata).toEqual(metadata)
    expect((await history.getSession('ada', 's1'))?.metadata).toEqual(metadata)
    expect((await eventsOf(history))[0]?.data).toEqual({ metadata, format: 'message' })
  })

  it.each([[['a']], ['title'], [5], [null]])('refuses %j as metadata', async (metadata) => {
    const history = await open()
    await misuses(() => history.createSession('ada', 's1', { metadata: metadata as object }), 'metadata')
    expect(await eventsOf(history)).toEqual([])
  })

  it('over an existing session starts over: an empty snapshot, and the log goes on', async () => {
    const history = await openAda()
    await history.appendMessage(ADA, [text('one'), text('two')])
    await history.updateMetadata(ADA, { set: { title: 'old' } })
    const session = await history.createSession('ada', 's1')
    expect(session).toMatchObject({ version: 5, messages: [], metadata: {} })
    expect(await history.getSession('ada', 's1')).toEqual(session)
    expect(await typesOf(history)).toEqual([
      'created',
      'message-appended',
      'message-appended',
      'metadata-changed',
      'created'
    ])
  })

  it('over an existing session leaves the replaced history readable by version', async () => {
    const history = await openAda()
    await history.appendMessage(ADA, text('one'))
    const old = await history.updateMetadata(ADA, { set: { title: 'old' } })
    await history.createSession('ada', 's1')
    await history.appendMessage(ADA, text('new'))
    expect(await history.getSession('ada', 's1', { at: 3 })).toEqual(old)
    expect(textsOf(await history.getSession('ada', 's1', { at: 3 }))).toEqual(['one'])
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(['new'])
  })

  it("gives a snapshot whose createdAt is that of its newest 'created'", async () => {
    let now = 100
    const history = await open({ clock: clockOf(() => now) })
    await history.createSession('ada', 's1')
    now = 200
    await history.appendMessage(ADA, text('one'))
    now = 300
    await history.createSession('ada', 's1')
    now = 400
    expect(await history.appendMessage(ADA, text('two'))).toMatchObject({ createdAt: 300, updatedAt: 400 })
    expect(await history.getSession('ada', 's1', { at: 2 })).toMatchObject({ createdAt: 100, updatedAt: 200 })
  })
})

describe('getSession', () => {
  it('of an absent session creates it, empty', async () => {
    const history = await open()
    expect(await history.getSession('ada', 's1')).toMatchObject({ id: 's1', userId: 'ada', version: 1, messages: [] })
    expect(await typesOf(history)).toEqual(['created'])
    expect(await history.getSession('ada', 's1')).toMatchObject({ version: 1 })
    expect((await history.listSessions('ada')).map(({ id }) => id)).toEqual(['s1'])
  })

  it('does not strip ids', async () => {
    const history = await openAda()
    expect((await history.getSession('ada', ' s1 '))?.id).toBe(' s1 ')
    expect((await history.listSessions('ada')).map(({ id }) => id).sort()).toEqual([' s1 ', 's1'])
  })

  it('reads its own writes', async () => {
    const history = await openAda()
    for (let i = 1; i <= 5; i++) {
      await history.appendMessage(ADA, text(`${i}`))
      expect(textsOf(await history.getSession('ada', 's1'))).toHaveLength(i)
    }
  })

  it('stores nothing where there is a session', async () => {
    const history = await openAda()
    await storesNothing(history, () => history.getSession('ada', 's1'))
  })
})

describe('deleteSession', () => {
  it('hides the session by an event; reading and listing no longer show it', async () => {
    const history = await openAda({ missing: { get: 'null' } })
    await history.appendMessage(ADA, text('one'))
    expect(await history.deleteSession('ada', 's1')).toBeUndefined()
    expect(await history.getSession('ada', 's1')).toBeNull()
    expect(await history.listSessions('ada')).toEqual([])
    expect(await history.listUsers()).toEqual([])
    expect(await typesOf(history)).toEqual(['created', 'message-appended', 'deleted'])
  })

  it('leaves old versions readable', async () => {
    const history = await openAda()
    await history.appendMessage(ADA, text('one'))
    await history.deleteSession('ada', 's1')
    expect(textsOf(await history.getSession('ada', 's1', { at: 2 }))).toEqual(['one'])
  })

  it('of an absent session does nothing', async () => {
    const history = await open()
    await history.deleteSession('ada', 's1')
    expect(await eventsOf(history)).toEqual([])
    expect(await history.listUsers()).toEqual([])
  })

  it('of a deleted session does nothing', async () => {
    const history = await openAda()
    await history.deleteSession('ada', 's1')
    await storesNothing(history, () => history.deleteSession('ada', 's1'))
  })

  it('twice at once stores one event', async () => {
    const history = await openAda()
    await Promise.all([1, 2, 3].map(() => history.deleteSession('ada', 's1')))
    expect(await typesOf(history)).toEqual(['created', 'deleted'])
  })

  it('does not strip ids', async () => {
    const history = await openAda()
    await storesNothing(history, () => history.deleteSession('ada', ' s1 '))
  })

  it.each(['createSession', 'getSession'] as const)('and then %s: empty again, and the log goes on', async (call) => {
    const history = await openAda()
    await history.appendMessage(ADA, text('one'))
    await history.updateMetadata(ADA, { set: { title: 'old' } })
    await history.deleteSession('ada', 's1')
    expect(await history[call]('ada', 's1')).toMatchObject({ version: 5, messages: [], metadata: {} })
    expect(await history.appendMessage(ADA, text('two'))).toMatchObject({ version: 6 })
    expect(textsOf(await history.getSession('ada', 's1', { at: 3 }))).toEqual(['one'])
    expect(await history.getSession('ada', 's1', { at: 4 })).toBeNull()
    expect(textsOf(await history.getSession('ada', 's1'))).toEqual(['two'])
  })

  it('deletes and creates many times over, and every version stays', async () => {
    const history = await open()
    for (let round = 0; round < 5; round++) {
      await history.createSession('ada', 's1')
      await history.appendMessage(ADA, text(`${round}`))
      await history.deleteSession('ada', 's1')
    }
    for (let round = 0; round < 5; round++) {
      expect(textsOf(await history.getSession('ada', 's1', { at: 3 * round + 2 }))).toEqual([`${round}`])
      expect(await history.getSession('ada', 's1', { at: 3 * round + 3 })).toBeNull()
    }
  })
})

describe('deleteUserSessions', () => {
  it('deletes the sessions of a user, one commit each, and tells how many it deleted', async () => {
    const history = await open({ missing: { get: 'null' } })
    for (const id of ['a', 'b', 'c', 'd']) await history.createSession('ada', id)
    await history.createSession('bob', 'a')
    await history.deleteSession('ada', 'd')
    expect(await history.deleteUserSessions('ada')).toBe(3)
    expect(await history.listSessions('ada')).toEqual([])
    const commits = new Set<string>()
    for (const id of ['a', 'b', 'c']) {
      const events = await eventsOf(history, { userId: 'ada', id })
      expect(events.map(({ type }) => type)).toEqual(['created', 'deleted'])
      commits.add(events[1]!.commitId)
    }
    expect(commits.size).toBe(3)
    expect(await typesOf(history, { userId: 'ada', id: 'd' })).toEqual(['created', 'deleted'])
    expect(await history.getSession('bob', 'a')).toMatchObject({ version: 1 })
  })

  it('tells 0 where there is none, also the second time', async () => {
    const history = await openAda()
    expect(await history.deleteUserSessions('bob')).toBe(0)
    expect(await history.deleteUserSessions('ada')).toBe(1)
    expect(await history.deleteUserSessions('ada')).toBe(0)
  })

  it('counts a session once over calls that are made at once', async () => {
    const history = await open({ missing: { get: 'null' } })
    await Promise.all(Array.from({ length: 10 }, (_, i) => history.createSession('ada', `s${i}`)))
    const counts = await Promise.all([1, 2, 3].map(() => history.deleteUserSessions('ada')))
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(10)
  })

  it('deletes sessions that are not in memory', async () => {
    const history = await open({ maxActiveSessions: 1 })
    for (let i = 0; i < 20; i++) await history.createSession('ada', `s${i}`)
    expect(await history.deleteUserSessions('ada')).toBe(20)
    expect(await history.listUsers()).toEqual([])
  })
})

describe('purgeSession', () => {
  it('erases the log; created again, it has a new one that begins at version 1', async () => {
    const history = await openAda({ missing: { get: 'null' } })
    await history.appendMessage(ADA, [text('one'), text('two')])
    expect(await history.purgeSession('ada', 's1')).toBeUndefined()
    expect(await history.getSession('ada', 's1')).toBeNull()
    expect(await eventsOf(history)).toEqual([])
    expect(await history.listSessions('ada')).toEqual([])
    expect(await history.listUsers()).toEqual([])
    expect(await history.createSession('ada', 's1')).toMatchObject({ version: 1, messages: [] })
    expect(await typesOf(history)).toEqual(['created'])
    await fails(() => history.getSession('ada', 's1', { at: 2 }), 'VERSION_NOT_FOUND', { version: 2, actual: 1 })
  })

  it('leaves old versions unreadable', async () => {
    const history = await openAda()
    await history.appendMessage(ADA, text('one'))
    await history.purgeSession('ada', 's1')
    for (const at of [1, 2]) {
      await fails(() => history.getSession('ada', 's1', { at }), 'VERSION_NOT_FOUND', { version: at, actual: 0 })
    }
    expect(await history.getSession('ada', 's1', { at: new Date(9_999) })).toBeNull()
  })

  it('erases the log of a deleted session, too', async () => {
    const history = await openAda()
    await history.deleteSession('ada', 's1')
    await history.purgeSession('ada', 's1')
    expect(await eventsOf(history)).toEqual([])
    expect(await history.createSession('ada', 's1', { expectedVersion: 0 })).toMatchObject({ version: 1 })
  })

  it('of an absent session does nothing', async () => {
    const history = await open()
    await history.purgeSession('ada', 's1')
    await history.purgeSession('ada', 's1')
    expect(await eventsOf(history)).toEqual([])
  })

  it('leaves other sessions unharmed', async () => {
    const history = await openAda()
    const others = [
      { userId: 'ada', id: 's2' },
      { userId: 'bob', id: 's1' }
    ]
    for (const other of others) {
      await history.createSession(other.userId, other.id)
      await history.appendMessage(other, text(other.id))
    }
    const before = await Promise.all(others.map((other) => eventsOf(history, other)))
    await history.purgeSession('ada', 's1')
    expect(await Promise.all(others.map((other) => eventsOf(history, other)))).toEqual(before)
    for (const other of others) expect(await history.appendMessage(other, text('on'))).toMatchObject({ version: 3 })
  })

  it('leaves a snapshot that was given out as it was', async () => {
    const history = await openAda()
    const session = await history.appendMessage(ADA, text('one'))
    await history.purgeSession('ada', 's1')
    expect(textsOf(session)).toEqual(['one'])
  })

  it('waits for its turn among the calls of the session', async () => {
    const history = await openAda({ missing: { append: 'create' } })
    const [before, , after] = await Promise.all([
      history.appendMessage(ADA, text('before')),
      history.purgeSession('ada', 's1'),
      history.appendMessage(ADA, text('after'))
    ])
    expect(before).toMatchObject({ version: 2 })
    expect(after).toMatchObject({ version: 2 })
    expect(textsOf(after)).toEqual(['after'])
    expect(await typesOf(history)).toEqual(['created', 'message-appended'])
  })
})
