import { describe, expect, it } from 'vitest'
import { memoryStore, type Session, type SessionHistoryService, type Summary } from '../../src/index.ts'
import { ADA, clockOf, hooked, misuses, open, openAda, text } from './kit.ts'

const idsOf = (sessions: readonly Session[]): string[] => sessions.map(({ id }) => id)

async function pagesOf(history: SessionHistoryService, userId: string, limit: number): Promise<Session[][]> {
  const pages: Session[][] = []
  for (let after: Session | undefined; ; after = pages.at(-1)!.at(-1)) {
    const page = await history.listSessions(userId, { limit, ...(after && { after }) })
    if (page.length === 0) return pages
    pages.push(page)
  }
}

describe('listSessions', () => {
  it('gives every session of that user, and of no other', async () => {
    const history = await open()
    for (const id of ['a', 'b', 'c']) await history.createSession('ada', id)
    await history.createSession('bob', 'd')
    expect(idsOf(await history.listSessions('ada')).sort()).toEqual(['a', 'b', 'c'])
    expect(idsOf(await history.listSessions('bob'))).toEqual(['d'])
    expect(await history.listSessions('eve')).toEqual([])
    expect(await history.listUsers()).not.toContain('eve')
  })

  it('gives sessions as getSession does, but with messages empty', async () => {
    const history = await openAda()
    await history.appendMessage(ADA, [text('one'), text('two')])
    const session = await history.updateMetadata(ADA, { set: { title: 'x', state: { a: [1] } } })
    const [listed] = await history.listSessions('ada')
    expect({ ...listed }).toEqual({ ...session, messages: [] })
  })

  it('gives more sessions than a call can have arguments', async () => {
    const inner = memoryStore()
    const count = 200_000
    const list = async (userId: string): Promise<readonly Summary[]> => {
      const [summary] = await inner.list(userId)
      return Array.from({ length: count }, () => summary!)
    }
    const history = await openAda({ store: hooked({ list }, inner) })
    expect(await history.listSessions('ada')).toHaveLength(count)
  })

  it('gives the newest activity first', async () => {
    const history = await open()
    const refs = ['a', 'b', 'c', 'd'].map((id) => ({ userId: 'ada', id }))
    for (const { id } of refs) await history.createSession('ada', id)
    expect(idsOf(await history.listSessions('ada'))).toEqual(['d', 'c', 'b', 'a'])
    await history.appendMessage(refs[0]!, text('x'))
    await history.updateMetadata(refs[2]!, { set: { a: 1 } })
    expect(idsOf(await history.listSessions('ada'))).toEqual(['c', 'a', 'd', 'b'])
    await history.createSession('ada', 'b')
    expect(idsOf(await history.listSessions('ada'))).toEqual(['b', 'c', 'a', 'd'])
    await history.getSession('ada', 'd')
    expect(idsOf(await history.listSessions('ada'))).toEqual(['b', 'c', 'a', 'd'])
  })

  it('orders by id where the time is the same', async () => {
    const history = await open({ clock: clockOf(() => 5) })
    for (const id of ['b', 'd', 'a', 'e', 'c']) await history.createSession('ada', id)
    expect(idsOf(await history.listSessions('ada'))).toEqual(['a', 'b', 'c', 'd', 'e'])
  })

  it.each([1, 2, 3, 7, 10, 11])('gives pages of %d that make up the whole', async (limit) => {
    let now = 0
    const history = await open({ clock: clockOf(() => now) })
    for (let i = 0; i < 10; i++) {
      now = Math.floor(i / 3)
      await history.createSession('ada', `s${(i * 7) % 10}`)
    }
    const all = await history.listSessions('ada')
    const pages = await pagesOf(history, 'ada', limit)
    expect(pages.flat()).toEqual(all)
    expect(all).toHaveLength(10)
    expect(pages.slice(0, -1).every((page) => page.length === limit)).toBe(true)
    expect(pages.at(-1)!.length).toBeLessThanOrEqual(limit)
  })

  it('gives pages where all times are the same, and ids are hostile', async () => {
    const history = await open({ clock: clockOf(() => 5) })
    const ids = ['__proto__', '/', '>', '*', 'a.b', '👍', 'é', 'z', 'Z', '10', '9']
    for (const id of ids) await history.createSession('ada', id)
    for (const limit of [1, 2, 4]) {
      const listed = (await pagesOf(history, 'ada', limit)).flat()
      expect(idsOf(listed).sort()).toEqual(ids.toSorted())
      expect(listed).toEqual(await history.listSessions('ada'))
    }
  })

  it('goes on after a session that is gone by then', async () => {
    const history = await open()
    for (const id of ['a', 'b', 'c', 'd']) await history.createSession('ada', id)
    const [, after] = await history.listSessions('ada', { limit: 2 })
    await history.deleteSession('ada', after!.id)
    expect(idsOf(await history.listSessions('ada', { after: after! }))).toEqual(['b', 'a'])
    await history.purgeSession('ada', after!.id)
    expect(idsOf(await history.listSessions('ada', { after: after!, limit: 1 }))).toEqual(['b'])
  })

  it('after the last is empty', async () => {
    const history = await openAda()
    const [last] = await history.listSessions('ada')
    expect(await history.listSessions('ada', { after: last! })).toEqual([])
  })

  it('has no limit by default', async () => {
    const history = await open()
    await Promise.all(Array.from({ length: 300 }, (_, i) => history.createSession('ada', `s${i}`)))
    expect(await history.listSessions('ada')).toHaveLength(300)
  })

  it.each([0, -1, 1.5, Number.NaN, '1', null])('with limit %s is a TypeError that shows the value', async (limit) => {
    const history = await openAda()
    await misuses(() => history.listSessions('ada', { limit: limit as number }), String(limit))
    await misuses(() => history.listUsers({ limit: limit as number }), String(limit))
  })

  it.each([
    [{}, 'undefined'],
    [{ id: 's1' }, 'undefined'],
    [{ id: 's1', updatedAt: 'x' }, "'x'"],
    [{ id: '', updatedAt: 1 }, "''"]
  ])('after %j is a TypeError that shows the value', async (after, shown) => {
    const history = await openAda()
    await misuses(() => history.listSessions('ada', { after: after as never }), shown)
  })
})

describe('listUsers', () => {
  it('gives each user that has sessions, once', async () => {
    const history = await open()
    expect(await history.listUsers()).toEqual([])
    for (const userId of ['ada', 'bob', 'ada', 'eve']) await history.createSession(userId)
    expect((await history.listUsers()).sort()).toEqual(['ada', 'bob', 'eve'])
    await history.deleteUserSessions('ada')
    expect((await history.listUsers()).sort()).toEqual(['bob', 'eve'])
  })

  it.each([1, 2, 3, 9, 10])('gives pages of %d that make up the whole', async (limit) => {
    const history = await open()
    for (let i = 0; i < 9; i++) await history.createSession(`user ${(i * 5) % 9}`, 's1')
    const all = await history.listUsers()
    const seen: string[] = []
    for (let page = await history.listUsers({ limit }); page.length > 0;) {
      expect(page.length).toBeLessThanOrEqual(limit)
      seen.push(...page)
      page = await history.listUsers({ limit, after: page.at(-1)! })
    }
    expect(seen).toEqual(all)
    expect(seen.toSorted()).toEqual(Array.from({ length: 9 }, (_, i) => `user ${i}`))
  })

  it('goes on after a user who is gone by then', async () => {
    const history = await open()
    for (const userId of ['a', 'b', 'c', 'd']) await history.createSession(userId, 's1')
    const all = await history.listUsers()
    await history.purgeSession(all[1]!, 's1')
    expect(await history.listUsers({ after: all[1]! })).toEqual(all.slice(2))
  })

  it('gives a list of its own that may be changed', async () => {
    const history = await openAda()
    ;(await history.listUsers()).push('eve')
    ;(await history.listSessions('ada')).length = 0
    expect(await history.listUsers()).toEqual(['ada'])
    expect(await history.listSessions('ada')).toHaveLength(1)
  })

  it.each([
    ['', "''"],
    [5, '5'],
    [null, 'null']
  ])('after %j is a TypeError that shows the value', async (after, shown) => {
    const history = await openAda()
    await misuses(() => history.listUsers({ after: after as string }), shown)
  })
})
