import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, vi } from 'vitest'
import {
  createSessionHistory,
  memoryStore,
  type Json,
  type MessageInput,
  type SessionHistoryService
} from '../../src/index.ts'
import { startInspector } from '../../src/inspector.ts'
import type { Item, Moment, SessionLine } from '../../src/inspector/wire.ts'
import { openDatabase } from '../../src/stores/sqlite/database.ts'
import type { Summary } from '../../src/store.ts'
import { clockOf, eventsOf, hooked } from '../service/kit.ts'
import { ANYTHING, Asked, it, LARGEST, S1, STORES, stringOf, TOKEN } from './kit.ts'

const ADA = { userId: 'ada', id: 's1' }

function say(...texts: readonly string[]): MessageInput[] {
  return texts.map((content) => ({ role: 'user', content }))
}

function textOf({ message }: Item): string {
  return (message?.content ?? []).map((part) => (part.type === 'text' ? (part.text ?? '') : part.type)).join('|')
}

function textsOf({ window }: Moment): string[] {
  return window.items.map(textOf)
}

function call(id: string, name = 'find'): MessageInput {
  return {
    type: 'function_call',
    role: 'assistant',
    content: [{ type: 'data', data: { call_id: id, name, arguments: '{"to":"Oslo"}' } }]
  }
}

function output(id: string, text = '22:47'): MessageInput {
  return {
    type: 'function_call_output',
    role: 'tool',
    content: [{ type: 'data', data: { call_id: id, output: text } }]
  }
}

describe.for(Object.keys(STORES) as (keyof typeof STORES)[])('over %s', (kind) => {
  it('each event has its moment: what was, and what it changed', async ({ begin, file }) => {
    const { history, asked } = await begin({ store: STORES[kind](file) })
    await history.createSession('ada', 's1', { metadata: { title: 'A trip', tags: ['a'] } })
    await history.appendMessage(ADA, [...say('one', 'two'), { id: 'm3', role: 'assistant', content: 'three' }])
    await history.putMessage(ADA, { id: 'm3', role: 'assistant', content: 'four' })
    await history.commit(ADA, [{ type: 'truncate', length: 1 }])
    await history.updateMetadata(ADA, { set: { title: 'Trip', n: 1 }, unset: ['tags'] })
    await history.rewind(ADA, 3, { reason: 'wrong' })
    await history.undo(ADA)
    await history.redo(ADA)
    const turn = await history.beginTurn(ADA, { owner: 'planner' })
    await turn.end()
    await history.deleteSession('ada', 's1')
    const custom = history.withMessage(ANYTHING, { format: 'notes' })
    await custom.createSession('ada', 's1')
    await custom.appendMessage(ADA, { note: 'five' })

    const moments = await Promise.all(Array.from({ length: 15 }, (_, i) => asked.get('moment', { ...S1, at: i + 1 })))
    const none = { at: 0, removed: 0, added: 0 }
    expect(
      moments.map(({ event: { line }, count, change: { metadata: _, ...change } }) => [
        line.type,
        line.kind,
        line.what,
        count,
        change
      ])
    ).toEqual([
      ['created', 'created', 'message', 0, none],
      ['message-appended', 'user', 'one', 1, { at: 0, removed: 0, added: 1 }],
      ['message-appended', 'user', 'two', 2, { at: 1, removed: 0, added: 1 }],
      ['message-appended', 'assistant', 'three', 3, { at: 2, removed: 0, added: 1 }],
      ['message-replaced', 'replaced', 'four', 3, { at: 2, removed: 1, added: 1 }],
      ['messages-truncated', 'truncated', 'the first 1 messages are left', 1, { at: 1, removed: 2, added: 0 }],
      ['metadata-changed', 'metadata', 'title n -tags', 1, { at: 1, removed: 0, added: 0 }],
      ['rewound', 'rewound', 'rewind to version 3: wrong', 2, { at: 1, removed: 0, added: 1 }],
      ['rewound', 'rewound', 'undo to version 7', 1, { at: 1, removed: 1, added: 0 }],
      ['rewound', 'rewound', 'redo to version 8', 2, { at: 1, removed: 0, added: 1 }],
      ['turn-started', 'turn', 'a turn of planner begins', 2, { at: 2, removed: 0, added: 0 }],
      ['turn-ended', 'turn', 'the turn is completed', 2, { at: 2, removed: 0, added: 0 }],
      ['deleted', 'deleted', '', 0, { at: 0, removed: 2, added: 0 }],
      ['created', 'created', 'notes', 0, none],
      ['message-appended', 'message', '{"note":"five"}', 1, { at: 0, removed: 0, added: 1 }]
    ])
    expect(moments[0]!.change.metadata).toEqual([
      { key: 'title', b: { value: 'A trip', cuts: [] } },
      { key: 'tags', b: { value: ['a'], cuts: [] } }
    ])
    expect(moments[6]!.change.metadata).toEqual([
      { key: 'title', a: { value: 'A trip', cuts: [] }, b: { value: 'Trip', cuts: [] } },
      { key: 'tags', a: { value: ['a'], cuts: [] } },
      { key: 'n', b: { value: 1, cuts: [] } }
    ])
    expect(textsOf(moments[4]!)).toEqual(['one', 'two', 'four'])
    expect(moments[4]).toMatchObject({
      version: 5,
      latest: 15,
      isLive: true,
      format: 'message',
      title: 'A trip',
      metadata: { value: { title: 'A trip', tags: ['a'] } }
    })
    expect(moments[10]!.turn).toMatchObject({ owner: 'planner' })
    expect(moments[12]!.createdAt).toBe(moments[11]!.createdAt)
    expect(moments[12]).toMatchObject({ isLive: false, format: '', window: { from: 0, items: [] } })
    expect(moments[14]!.window.items).toEqual([{ index: 0, raw: { note: 'five' }, cuts: [] }])
    // The newest by default; and by time.
    expect(await asked.get('moment', S1)).toEqual(moments[14])
    const future = '2999-01-01T00:00:00Z'
    expect(await asked.get('moment', { ...S1, at: future })).toEqual(moments[14])
    expect(await asked.failed('moment', { ...S1, at: '1999-01-01T00:00:00Z' })).toMatchObject([
      404,
      'VERSION_NOT_FOUND',
      expect.any(String)
    ])
    expect(await asked.failed('moment', { ...S1, at: 16 })).toMatchObject([
      404,
      'VERSION_NOT_FOUND',
      expect.any(String)
    ])
    // As a list of events they are the same.
    const { events, latest } = await asked.get('events', { ...S1 })
    expect(latest).toBe(15)
    expect(events).toEqual(moments.map(({ event }) => event.line))
    expect(await asked.get('events', { ...S1, from: 5, count: 2 })).toEqual({ events: events.slice(4, 6), latest: 15 })
    expect(await asked.get('events', { ...S1, from: 16 })).toEqual({ events: [], latest: 15 })
    expect(await asked.get('event', { ...S1, version: 5 })).toEqual(moments[4]!.event)
    expect(await asked.failed('event', { ...S1, version: 16 })).toMatchObject([
      404,
      'VERSION_NOT_FOUND',
      expect.any(String)
    ])
    // And all of them counted.
    const outline = await asked.get('outline', S1)
    expect(outline).toMatchObject({ latest: 15, from: 1, to: 15, span: 1 })
    expect(outline.buckets).toEqual(events.map(({ kind: each }) => ({ [each]: 1 })))
    expect(outline.marks.map(({ version, kind: each }) => [version, each])).toEqual([
      [1, 'created'],
      [6, 'truncated'],
      [8, 'rewound'],
      [9, 'rewound'],
      [10, 'rewound'],
      [11, 'turn'],
      [12, 'turn'],
      [13, 'deleted'],
      [14, 'created']
    ])
    expect(outline.marks[2]).toEqual({ version: 8, kind: 'rewound', toVersion: 3, rewind: 'rewind' })
    expect([outline.fromAt, outline.toAt]).toEqual([events[0]!.at, events[14]!.at])
    const coarse = await asked.get('outline', { ...S1, from: 2, to: 13, buckets: 5 })
    expect(coarse).toMatchObject({ from: 2, to: 13, span: 3 })
    expect(coarse.buckets).toEqual([
      { user: 2, assistant: 1 },
      { replaced: 1, truncated: 1, metadata: 1 },
      { rewound: 3 },
      { turn: 2, deleted: 1 }
    ])
  })

  it('it sees what others write, delete, purge and begin anew', async ({ begin, file }) => {
    const store = STORES[kind](file)
    const { history, asked } = await begin({ store })
    // A service of its own, as another process has it.
    const { history: other } = await begin({ store: kind === 'memory' ? store : STORES[kind](file) })
    await other.createSession('ada', 's1')
    expect(await asked.get('outline', S1)).toMatchObject({ latest: 1 })
    await other.appendMessage(ADA, say('one', 'two'))
    expect(await asked.get('moment', S1)).toMatchObject({ latest: 3, count: 2 })
    expect(await asked.get('outline', S1)).toMatchObject({
      latest: 3,
      buckets: [{ created: 1 }, { user: 1 }, { user: 1 }]
    })
    await other.deleteSession('ada', 's1')
    expect(await asked.get('moment', S1)).toMatchObject({ latest: 4, isLive: false })
    expect((await asked.get('sessions', { user: 'ada' })).sessions).toEqual([])
    expect((await asked.get('sessions', { user: 'ada', search: 's1' })).sessions).toMatchObject([
      { id: 's1', version: 4, isDeleted: true }
    ])
    await other.purgeSession('ada', 's1')
    for (const path of ['moment', 'outline', 'events', 'tree'])
      expect(await asked.failed(path, S1), path).toMatchObject([404, 'SESSION_NOT_FOUND', expect.any(String)])
    for (const path of ['messages', 'facts']) expect((await asked.failed(path, { ...S1, at: 2 }))[0], path).toBe(404)
    await other.createSession('ada', 's1')
    await other.appendMessage(ADA, [{ role: 'assistant', content: 'new' }, ...say('a', 'b', 'c')])
    expect(await asked.get('outline', S1)).toMatchObject({
      latest: 5,
      buckets: [{ created: 1 }, { assistant: 1 }, { user: 1 }, { user: 1 }, { user: 1 }]
    })
    expect(textsOf(await asked.get('moment', S1))).toEqual(['new', 'a', 'b', 'c'])
    expect(await history.listUsers()).toEqual(['ada'])
  })

  it('edits append what they say', async ({ begin, file }) => {
    const { history, asked } = await begin({ store: STORES[kind](file), inspector: { allowEdit: true } })
    await history.createSession('ada', 's1')
    await history.appendMessage(ADA, say('one'))
    await history.appendMessage(ADA, say('two'))
    expect(await asked.edit({ type: 'fork', ...S1, at: 2, as: 'other' })).toEqual({
      userId: 'ada',
      id: 'other',
      version: 1
    })
    expect((await history.getSession('ada', 'other'))!.messages).toHaveLength(1)
    const fresh = await asked.edit({ type: 'fork', ...S1, at: 3 })
    expect(await history.forks(ADA)).toHaveLength(2)
    expect(fresh.id).not.toBe('other')
    expect(await asked.edit({ type: 'undo', ...S1, expectedVersion: 3 })).toMatchObject({ version: 4 })
    expect(await asked.edit({ type: 'redo', ...S1, expectedVersion: 4 })).toMatchObject({ version: 5 })
    expect(await asked.edit({ type: 'rewind', ...S1, toVersion: 1, expectedVersion: 5, reason: 'why' })).toMatchObject({
      version: 6
    })
    expect(
      await asked.edit({ type: 'metadata', ...S1, set: { title: 'T' }, unset: ['x'], expectedVersion: 6 })
    ).toMatchObject({ version: 7 })
    expect((await eventsOf(history)).slice(3).map(({ type, data }) => ({ type, data }))).toMatchObject([
      { type: 'rewound', data: { kind: 'undo', toVersion: 2 } },
      { type: 'rewound', data: { kind: 'redo', toVersion: 3 } },
      { type: 'rewound', data: { kind: 'rewind', toVersion: 1, reason: 'why' } },
      { type: 'metadata-changed', data: { set: { title: 'T' }, unset: [] } }
    ])
    // What was shown is not what is there: nothing is appended.
    for (const edit of [
      { type: 'rewind', ...S1, toVersion: 2, expectedVersion: 6 },
      { type: 'undo', ...S1, expectedVersion: 6 },
      { type: 'redo', ...S1, expectedVersion: 6 },
      { type: 'metadata', ...S1, set: {}, unset: [], expectedVersion: 6 },
      { type: 'delete', ...S1, expectedVersion: 6 }
    ])
      expect((await asked.refused(edit)).slice(0, 2)).toEqual([409, 'VERSION_CONFLICT'])
    expect((await asked.refused({ type: 'fork', ...S1, at: 2, as: 'other' })).slice(0, 2)).toEqual([
      409,
      'SESSION_EXISTS'
    ])
    expect((await asked.refused({ type: 'fork', ...S1, at: 99 })).slice(0, 2)).toEqual([404, 'VERSION_NOT_FOUND'])
    expect((await asked.refused({ type: 'redo', ...S1, expectedVersion: 7 })).slice(0, 2)).toEqual([
      409,
      'NOTHING_TO_REDO'
    ])
    await using turn = await history.beginTurn(ADA)
    for (const edit of [
      { type: 'rewind', ...S1, toVersion: 2, expectedVersion: 8 },
      { type: 'undo', ...S1, expectedVersion: 8 },
      { type: 'metadata', ...S1, set: { a: 1 }, unset: [], expectedVersion: 8 }
    ])
      expect((await asked.refused(edit)).slice(0, 2)).toEqual([409, 'TURN_BUSY'])
    await turn.end()
    expect(await asked.edit({ type: 'delete', ...S1, expectedVersion: 9 })).toMatchObject({ version: 10 })
    expect(await history.listSessions('ada')).toHaveLength(2)
    // Of a deleted session only a rewind makes one; of none, nothing.
    for (const type of ['undo', 'redo', 'metadata'])
      expect(
        (
          await asked.refused({
            type,
            ...S1,
            ...(type === 'metadata' && { set: { a: 1 }, unset: [] }),
            expectedVersion: 10
          })
        ).slice(0, 2),
        type
      ).toEqual([404, 'SESSION_NOT_FOUND'])
    expect(await asked.edit({ type: 'delete', ...S1, expectedVersion: 10 })).toMatchObject({ version: 10 })
    expect(await asked.edit({ type: 'rewind', ...S1, toVersion: 2, expectedVersion: 10 })).toMatchObject({
      version: 11
    })
    for (const edit of [
      { type: 'fork', at: 1 },
      { type: 'rewind', toVersion: 1, expectedVersion: 1 },
      { type: 'undo', expectedVersion: 1 },
      { type: 'metadata', set: {}, unset: [], expectedVersion: 1 },
      { type: 'delete', expectedVersion: 1 }
    ])
      expect((await asked.refused({ ...edit, user: 'ada', session: 'none' })).slice(0, 2)).toEqual([
        404,
        'SESSION_NOT_FOUND'
      ])
    expect(await history.listSessions('ada')).toHaveLength(3)
  })

  it('users and sessions come in pages, and are found', async ({ begin, file }) => {
    const { history, asked } = await begin({ store: STORES[kind](file) })
    for (let i = 0; i < 230; i++) await history.createSession(`user ${i % 115}`, `s${i}`)
    const users: string[] = []
    let pages = 0
    for (let after: string | undefined; ; pages++) {
      const page = await asked.get('users', { after })
      users.push(...page.users)
      if (page.after === undefined) break
      after = page.after
    }
    expect([users.length, new Set(users).size, pages]).toEqual([115, 115, 1])
    expect((await asked.get('users', { search: 'USER 11' })).users.toSorted()).toEqual([
      'user 11',
      'user 110',
      'user 111',
      'user 112',
      'user 113',
      'user 114'
    ])
    expect(await asked.get('users', { search: 'nobody' })).toEqual({ users: [] })
    await history.createSession('user 0', 'run', {
      metadata: { title: 'Über Oslo', facts: { reward: 0, nested: { a: 1 } }, list: [1] }
    })
    const { sessions } = await asked.get('sessions', { user: 'user 0' })
    expect(sessions.map(({ id }) => id)).toEqual(['run', 's115', 's0'])
    expect(sessions[0]).toMatchObject({
      userId: 'user 0',
      version: 1,
      title: 'Über Oslo',
      facts: [['reward', '0']],
      format: 'message'
    })
    const found = async (search: string): Promise<string[]> =>
      (await asked.get('sessions', { user: 'user 0', search })).sessions.map(({ id }) => id)
    expect(await found('über')).toEqual(['run'])
    expect(await found(' REWARD 0 ')).toEqual(['run'])
    expect(await found('s1')).toEqual(['s115'])
    for (const [search, isFound] of [
      ['reward=0', true],
      ['Reward:0', true],
      ['reward=', false],
      ['reward=00', false]
    ] as const)
      expect(await found(search), search).toEqual(isFound ? ['run'] : [])
    expect(await found('nothing')).toEqual([])
    expect(await asked.get('sessions', { user: 'nobody' })).toEqual({ sessions: [] })
  })
})

it('of ten thousand sessions one page is asked for', async ({ begin }) => {
  const all = Array.from({ length: 10_000 }, (_, i): Summary => {
    const at = 10_000 - i
    return {
      userId: 'ada',
      sessionId: `s${i}`,
      version: 1,
      createdAt: at,
      updatedAt: at,
      deleted: false,
      format: 'message',
      metadata: {}
    }
  })
  const lists: number[] = []
  const store = hooked({
    list: (_, { limit = Infinity, after } = {}) => {
      const from = after ? all.findIndex(({ sessionId }) => sessionId === after.sessionId) + 1 : 0
      const found = all.slice(from, from + limit)
      lists.push(found.length)
      return Promise.resolve(found)
    }
  })
  const { asked } = await begin({ store })
  const ids = new Set<string>()
  let after: string | undefined
  for (let page = 0; page < 3; page++) {
    const { sessions, after: next } = await asked.get('sessions', { user: 'ada', after })
    for (const { id } of sessions) ids.add(id)
    after = next
  }
  expect(ids.size).toBe(300)
  expect(lists.reduce((a, b) => a + b)).toBeLessThanOrEqual(600)
  // A search looks at so many, and says from where it goes on.
  const searched: SessionLine[] = []
  let [asks, cursor] = [0, undefined as string | undefined]
  do {
    const page = await asked.get('sessions', { user: 'ada', search: 's1234', after: cursor })
    searched.push(...page.sessions)
    cursor = page.after
    asks++
  } while (cursor !== undefined)
  expect([searched.map(({ id }) => id).toSorted(), asks]).toEqual([['s1234'], expect.toSatisfy((n: number) => n <= 4)])
})

describe('messages', () => {
  it('come as a window around what the event changed, or from where they are asked for', async ({ begin }) => {
    const { history, asked } = await begin()
    await history.createSession('ada', 's1')
    await history.appendMessage(ADA, say(...Array.from({ length: 300 }, (_, i) => `m${i}`)))
    expect((await asked.get('moment', S1)).window).toMatchObject({ from: 260 })
    const moment = await asked.get('moment', { ...S1, at: 151 })
    expect(moment.window.from).toBe(110)
    await history.putMessage(ADA, { ...(await history.getSession('ada', 's1'))!.messages[100]!, content: 'changed' })
    const changed = await asked.get('moment', { ...S1, count: 10 })
    expect([changed.change.at, changed.window.from, textsOf(changed)[5 - 1 + 1]]).toEqual([100, 96, 'm101'])
    expect(textsOf(changed)).toContain('changed')
    expect((await asked.get('moment', { ...S1, from: 7, count: 2 })).window.items.map(textOf)).toEqual(['m7', 'm8'])
    expect((await asked.get('messages', { ...S1, at: 302, from: 298 })).items.map(textOf)).toEqual(['m298', 'm299'])
    expect((await asked.get('messages', { ...S1, at: 302, from: 300 })).items).toEqual([])
    expect((await asked.get('messages', { ...S1, at: 302, count: 1_000 })).items).toHaveLength(100)
  })

  it('have their calls beside their outputs, also of ids that are used again', async ({ begin }) => {
    const { history, asked } = await begin()
    await history.createSession('ada', 's1')
    await history.appendMessage(ADA, [
      call('c'),
      output('c'),
      call('c'),
      call('d', 'book'),
      output('c', 'Error: none'),
      output('x')
    ])
    const { items } = await asked.get('messages', { ...S1, at: 7 })
    expect(items.map(({ outputs, calls }) => [outputs?.[0]?.message, calls?.[0]?.message])).toEqual([
      [1, undefined],
      [undefined, 0],
      [4, undefined],
      [undefined, undefined],
      [undefined, 2],
      [undefined, undefined]
    ])
    const facts = await asked.get('facts', { ...S1, at: 7 })
    expect(facts).toMatchObject({
      messages: 6,
      toolCalls: 3,
      openCount: 1,
      open: [{ message: 3, part: 0, name: 'book' }],
      problems: [{ message: 4, what: 'the output of a tool is an error' }],
      roles: { assistant: 3, tool: 3 }
    })
    expect(facts.tokens).toBeUndefined()
    await history.appendMessage(ADA, [
      { role: 'assistant', content: 'x', usage: { input_tokens: 5, output_tokens: 7 } },
      { role: 'assistant', content: 'y', usage: { promptTokens: 1, totalTokens: 4 } },
      { role: 'assistant', status: 'failed', error: { code: 'E', message: 'boom' } },
      { role: 'assistant', content: [{ type: 'refusal', refusal: 'no' }] }
    ])
    const later = await asked.get('facts', { ...S1, at: 11 })
    expect(later.tokens).toEqual({ input: 6, output: 7, total: 16 })
    expect(later.problems.map(({ what }) => what)).toEqual([
      'the output of a tool is an error',
      'error: boom',
      'a refusal'
    ])
    const session = (await history.getSession('ada', 's1'))!
    expect(later.bytes).toBe(
      session.messages.reduce((sum, message) => sum + Buffer.byteLength(JSON.stringify(message)), 0)
    )
  })

  it('have their calls and outputs also far away', async ({ begin }) => {
    const { history, asked } = await begin()
    await history.createSession('ada', 's1')
    // The first is answered by what comes last: an output in between, of its id, would be taken for its.
    const words = say(...Array.from({ length: 300 }, (_, i) => `m${i}`))
    await history.appendMessage(ADA, [call('c'), call('d'), ...words, call('c'), ...words, output('c'), output('d')])
    const at = (from: number) => asked.get('messages', { ...S1, at: 606, from, count: 2 })
    expect((await at(0)).items.map(({ outputs }) => outputs)).toEqual([
      { 0: { message: 603, part: 0 } },
      { 0: { message: 604, part: 0 } }
    ])
    expect((await at(302)).items.map(({ outputs }) => outputs)).toEqual([undefined, undefined])
    expect((await at(603)).items.map(({ calls }) => calls)).toEqual([
      { 0: { message: 0, part: 0 } },
      { 0: { message: 1, part: 0 } }
    ])
    expect((await asked.get('facts', { ...S1, at: 606 })).open).toMatchObject([{ message: 302 }])
  })

  it('are found by what they say', async ({ begin }) => {
    const { history, asked } = await begin()
    await history.createSession('ada', 's1')
    await history.appendMessage(ADA, [...say('Oslo', 'Bergen', 'to OSLO'), call('c')])
    expect(await asked.get('find', { ...S1, at: 5, text: 'oslo' })).toEqual({ messages: [0, 2, 3] })
    expect(await asked.get('find', { ...S1, at: 5, text: 'oslo', from: 1 })).toEqual({ messages: [2, 3] })
    expect(await asked.get('find', { ...S1, at: 2, text: 'bergen' })).toEqual({ messages: [] })
  })

  it('of each format that an adapter writes read as messages, and have what is stored beside', async ({ begin }) => {
    const { history, asked } = await begin()
    for (const [format, items] of Object.entries(ITEMS)) {
      const stored = history.withMessage(ANYTHING, { format })
      await stored.appendMessage(await stored.createSession('ada', format), items)
      const at = items.length + 1
      const moment = await asked.get('moment', { user: 'ada', session: format })
      const said = JSON.stringify(moment.window.items.map(({ message }) => message))
      expect([
        format,
        moment.format,
        moment.count > 0,
        said.includes('A train to Oslo?'),
        said.includes('At 22:47.')
      ]).toEqual([format, format, true, true, true])
      const raw = await asked.get('messages', { user: 'ada', session: format, at, raw: 1 })
      expect(raw.items.map(({ raw: item }) => item)).toEqual(items)
      const facts = await asked.get('facts', { user: 'ada', session: format, at })
      expect([facts.messages, facts.openCount]).toEqual([moment.count, 0])
      const { events } = await asked.get('events', { user: 'ada', session: format })
      expect(events[1], format).toMatchObject({ kind: 'user', what: expect.stringContaining('A train to Oslo?') })
      const path = JSON.stringify(pathTo(items[0] as Json, 'A train to Oslo?'))
      expect(await asked.get('text', { user: 'ada', session: format, at, of: 'item', path })).toMatchObject({
        text: 'A train to Oslo?'
      })
      expect(await asked.get('find', { user: 'ada', session: format, at, text: 'a train' })).toEqual({ messages: [0] })
    }
    // Of others, and what is not as its adapter writes it, nothing but what is stored is known.
    for (const format of ['notes', 'langgraph']) {
      const custom = history.withMessage(ANYTHING, { format })
      await custom.appendMessage(await custom.createSession('bob', format), [null, 'text', { lc: 'no' }])
      const { window } = await asked.get('moment', { user: 'bob', session: format })
      expect(
        window.items.map(({ raw }) => raw),
        format
      ).toEqual([null, 'text', { lc: 'no' }])
    }
  })
})

// As their adapters store them.
const ITEMS: Readonly<Record<string, readonly unknown[]>> = {
  'ai-sdk': [
    { id: 'm1', role: 'user', parts: [{ type: 'text', text: 'A train to Oslo?' }] },
    {
      id: 'm2',
      role: 'assistant',
      parts: [
        { type: 'tool-find', toolCallId: 'c1', state: 'output-available', input: {}, output: '["22:47"]' },
        { type: 'text', text: 'At 22:47.' }
      ]
    }
  ],
  'openai-agents': [
    { role: 'user', content: 'A train to Oslo?' },
    { type: 'function_call', callId: 'c1', name: 'find', arguments: '{}', status: 'completed' },
    { type: 'function_call_result', callId: 'c1', name: 'find', status: 'completed', output: '["22:47"]' },
    { role: 'assistant', status: 'completed', content: [{ type: 'output_text', text: 'At 22:47.' }] }
  ],
  'langchain': [
    { type: 'human', data: { content: 'A train to Oslo?' } },
    { type: 'ai', data: { content: 'At 22:47.' } }
  ]
}

function pathTo(value: Json, text: string): (string | number)[] | undefined {
  if (value === text) return []
  if (typeof value !== 'object' || value === null) return undefined
  for (const [key, each] of Object.entries(value)) {
    const rest = pathTo(each, text)
    if (rest) return [Array.isArray(value) ? Number(key) : key, ...rest]
  }
  return undefined
}

describe('what is long', () => {
  it('is cut, and comes whole in pieces and as a file', async ({ begin }) => {
    const { history, asked } = await begin()
    // Characters of two halves, lone halves, and what JSON escapes, at every seam.
    const long = 'x' + '😀'.repeat(40_000) + '\uD83D'.repeat(3) + '\u0000'.repeat(35_000) + '\uDE00' + 'é'.repeat(10)
    await history.createSession('ada', 's1', { metadata: { long } })
    await history.appendMessage(ADA, say('short', long))
    const { items } = await asked.get('messages', { ...S1, at: 3 })
    expect(items[1]!.cuts).toEqual([{ path: ['content', 0, 'text'], what: 'text', size: long.length }])
    expect(long.startsWith(textOf(items[1]!))).toBe(true)
    const path = JSON.stringify(['content', 0, 'text'])
    for (const where of [
      { of: 'message', index: 1, path, at: 3 },
      { of: 'item', index: 1, path, at: 3 },
      { of: 'event', path: JSON.stringify(['data', 'message', 'content', 0, 'text']), at: 3 },
      { of: 'metadata', path: '["long"]', at: 1 }
    ]) {
      let whole = ''
      for (let pieces = 0; whole.length < long.length && pieces < 20; pieces++) {
        const piece = await asked.get('text', { ...S1, ...where, offset: whole.length })
        expect([piece.offset, piece.length]).toEqual([whole.length, long.length])
        if (whole.length + piece.text.length < long.length) expect(piece.text).not.toMatch(/[\uD800-\uDBFF]$/)
        whole += piece.text
      }
      expect(whole === long, where.of).toBe(true)
      const file = await asked.ask(`/api/file?${stringOf({ ...S1, ...where })}`)
      expect(file.body === long.toWellFormed(), where.of).toBe(true)
    }
    for (const wrong of [
      '["content"]',
      '["content",0,"none"]',
      '["content",9]',
      '["__proto__"]',
      '["length"]',
      '["content","length"]'
    ])
      expect(await asked.failed('text', { ...S1, at: 3, of: 'message', index: 1, path: wrong })).toEqual([
        400,
        'INVALID_REQUEST',
        'There is no text at that path'
      ])
    expect(await asked.failed('text', { ...S1, at: 3, of: 'message', index: 2, path })).toMatchObject([
      400,
      'INVALID_REQUEST',
      expect.any(String)
    ])
  })

  it('is a picture only where a browser knows it to be harmless', async ({ begin }) => {
    const { history, asked } = await begin()
    await history.createSession('ada', 's1')
    const bytes = Buffer.from([0, 255, 1, 254])
    const image = (type: string): MessageInput => ({
      role: 'user',
      content: [{ type: 'image', image_url: `data:${type};base64,${bytes.toString('base64')}` }]
    })
    const types = [
      'image/png',
      'image/jpeg',
      'image/gif',
      'image/webp',
      'image/avif',
      'image/svg+xml',
      'text/html',
      'image/png;x'
    ]
    await history.appendMessage(ADA, types.map(image))
    const { items } = await asked.get('messages', { ...S1, at: 9 })
    expect(items.map(({ cuts }) => cuts[0]?.what)).toEqual([
      ...Array<string>(5).fill('image'),
      undefined,
      undefined,
      undefined
    ])
    const path = encodeURIComponent('["content",0,"image_url"]')
    for (const [index, type] of types.entries()) {
      const { status, headers } = await asked.ask(
        `/api/image?user=ada&session=s1&at=9&of=message&index=${index}&path=${path}`
      )
      expect([type, status, headers['content-type']]).toEqual([
        type,
        ...(index < 5 ? [200, type] : [400, 'application/json'])
      ])
    }
  })
})

it('the outline of a long log has a bucket for each event of a part, and the same numbers in all', async ({
  begin
}) => {
  const { history, asked } = await begin()
  await history.createSession('ada', 's1')
  for (let i = 0; i < 3; i++) {
    await history.appendMessage(ADA, say(...Array.from({ length: 1_000 }, (_, n) => `m${n}`)))
    await history.appendMessage(ADA, [output('c', 'Error: no'), { role: 'assistant', content: 'x' }])
    const { latest, span, buckets } = await asked.get('outline', { ...S1, buckets: 100 })
    expect([latest, span]).toEqual([(i + 1) * 1_002 + 1, Math.ceil(((i + 1) * 1_002 + 1) / 100)])
    const sums: Record<string, number> = {}
    for (const [kind, count] of buckets.flatMap((bucket) => Object.entries(bucket)))
      sums[kind] = (sums[kind] ?? 0) + count
    const n = i + 1
    expect(sums).toEqual({ created: 1, user: 1_000 * n, assistant: n, tool: n, problem: n })
  }
  const part = await asked.get('outline', { ...S1, from: 1_000, to: 1_999, buckets: 5_000 })
  expect([part.from, part.span, part.buckets.length, part.buckets[2]]).toEqual([
    1_000,
    1,
    1_000,
    { tool: 1, problem: 1 }
  ])
  expect(await asked.get('outline', { ...S1, buckets: 5_000 })).toMatchObject({ span: 5 })
})

describe('two sides', () => {
  it('are set side by side by what they say', async ({ begin }) => {
    const { history, asked } = await begin()
    await history.createSession('ada', 's1', { metadata: { title: 'A', reward: 0 } })
    await history.appendMessage(ADA, [...say('hello'), call('a1'), output('a1'), ...say('thanks', 'bye')])
    await history.createSession('bob', 'r', { metadata: { title: 'B', reward: 0 } })
    await history.appendMessage({ userId: 'bob', id: 'r' }, [
      ...say('hello'),
      call('b7'),
      output('b7', 'none'),
      ...say('so what', 'thanks')
    ])
    const others = { otherUser: 'bob', otherSession: 'r' }
    const diff = await asked.get('diff', { ...S1, ...others })
    expect(diff.rows.map(({ kind, a, b }) => [kind, a?.index, b?.index])).toEqual([
      ['same', 0, undefined],
      // Ids of calls tell runs apart, and nothing else.
      ['same', 1, undefined],
      ['changed', 2, 2],
      ['b', undefined, 3],
      ['same', 3, undefined],
      ['a', 4, undefined]
    ])
    expect(diff).toMatchObject({
      counts: { same: 3, changed: 1, a: 1, b: 1 },
      places: [2, 5],
      lengths: [2, 1],
      length: 6,
      from: 0,
      a: { version: 6, count: 5, title: 'A' },
      b: { userId: 'bob', title: 'B' }
    })
    expect(diff.metadata.map(({ key }) => key)).toEqual(['title'])
    expect((await asked.get('diff', { ...S1, ...others, from: 4, count: 1 })).rows).toMatchObject([
      { kind: 'same', a: { index: 3 } }
    ])
    // Versions of one session.
    const own = await asked.get('diff', { ...S1, at: 2, otherUser: 'ada', otherSession: 's1', otherAt: 4 })
    expect([own.counts, own.places]).toEqual([{ same: 1, changed: 0, a: 0, b: 2 }, [1]])
    const same = await asked.get('diff', { ...S1, otherUser: 'ada', otherSession: 's1' })
    expect([same.counts, same.places, same.metadata]).toEqual([{ same: 5, changed: 0, a: 0, b: 0 }, [], []])
    expect(await asked.failed('diff', { ...S1, otherUser: 'ada', otherSession: 'none' })).toMatchObject([
      404,
      'SESSION_NOT_FOUND',
      expect.any(String)
    ])
  })

  it('are those of a log that was begun anew, also at the same versions and times', async ({ begin }) => {
    const { history, asked } = await begin({ service: { clock: clockOf(() => 1_000) } })
    const others = { otherUser: 'ada', otherSession: 'other' }
    const custom = history.withMessage(ANYTHING, { format: 'openai-agents' })
    const item = (content: string) => ({ role: 'user', content })
    const seen: unknown[] = []
    await custom.appendMessage(await custom.createSession('ada', 'other'), [item('one'), item('two'), item('three')])
    for (const texts of [['one', 'two', 'three'], ['one', 'TWO', 'three'], []]) {
      await custom.createSession('ada', 's1')
      if (texts.length > 0) await custom.appendMessage(ADA, texts.map(item))
      for (let n = texts.length; n < 3; n++) await custom.updateMetadata(ADA, { set: { n } })
      const { rows, counts } = await asked.get('diff', { ...S1, ...others })
      const { items } = await asked.get('messages', { ...S1, at: 4 })
      seen.push([counts, rows.length, items.map(textOf)])
      await history.purgeSession('ada', 's1')
    }
    expect(seen).toEqual([
      [{ same: 3, changed: 0, a: 0, b: 0 }, 3, ['one', 'two', 'three']],
      [{ same: 2, changed: 1, a: 0, b: 0 }, 3, ['one', 'TWO', 'three']],
      [{ same: 0, changed: 0, a: 0, b: 3 }, 3, []]
    ])
  })

  it('of five thousand messages each, alike or not at all, are no work', async ({ begin }) => {
    const { history, asked } = await begin()
    const count = 5_000
    const texts = Array.from({ length: count }, (_, i) => `m${i}`)
    for (const [name, list] of Object.entries({
      a: texts,
      b: texts.map((text) => `${text}!`),
      back: texts.toReversed(),
      odd: texts.filter((_, i) => i % 2)
    }))
      await history.appendMessage(await history.createSession('ada', name), say(...list))
    const compare = (session: string, other: string) =>
      asked.get('diff', { user: 'ada', session, otherUser: 'ada', otherSession: other })
    expect((await compare('a', 'b')).counts).toEqual({ same: 0, changed: count, a: 0, b: 0 })
    expect((await compare('a', 'odd')).counts).toEqual({ same: 2_500, changed: 0, a: 2_500, b: 0 })
    // What takes too long is set side by side as it comes.
    const { counts } = await compare('a', 'back')
    expect(counts.same + counts.changed + counts.a).toBe(count)
  })
})

describe('the tree', () => {
  const ref = (id: string) => ({ userId: 'ada', id })
  const idsOf = async (asked: Asked, session: string) => {
    const { sessions, more } = await asked.get('tree', { user: 'ada', session })
    expect(more).toBe(false)
    return sessions.map(({ id, forkedFrom, isDeleted, isGone }) =>
      [
        id,
        ...(forkedFrom ? [`${forkedFrom.sessionId}@${forkedFrom.version}`] : []),
        ...(isDeleted ? ['deleted'] : []),
        ...(isGone ? ['gone'] : [])
      ].join(' ')
    )
  }

  it('has forks of forks, and rewinds', async ({ begin }) => {
    const { history, asked } = await begin()
    await history.createSession('ada', 'root', { metadata: { title: 'Root' } })
    await history.appendMessage(ref('root'), say('one', 'two', 'three'))
    await history.fork(ref('root'), { at: 3, sessionId: 'b' })
    await history.fork(ref('root'), { at: 2, sessionId: 'c' })
    await history.appendMessage(ref('b'), say('b'))
    await history.fork(ref('b'), { sessionId: 'd' })
    await history.rewind(ref('root'), 2)
    await history.undo(ref('root'))
    const expected = ['root', 'b root@3', 'c root@2', 'd b@2']
    for (const from of ['root', 'b', 'c', 'd']) expect(await idsOf(asked, from)).toEqual(expected)
    const [root, b] = (await asked.get('tree', { user: 'ada', session: 'd' })).sessions
    expect(root).toMatchObject({
      title: 'Root',
      version: 6,
      latest: 6,
      count: 3,
      rewinds: [
        { version: 5, toVersion: 2, kind: 'rewind' },
        { version: 6, toVersion: 4, kind: 'undo' }
      ],
      // Where it went back to, what was left behind, and where there are forks.
      said: { 2: 'one', 3: 'two', 4: 'three' }
    })
    expect(b).toMatchObject({ count: 3, version: 2, rewinds: [] })
  })

  it('is told in a moment, however long its states take: of those above, what their names say', async ({ begin }) => {
    const { history, asked } = await begin()
    await history.appendMessage(await history.createSession('ada', 'c0'), say('one'))
    for (let i = 1; i <= 6; i++) {
      await history.fork(ref(`c${i - 1}`), { sessionId: `c${i}` })
      await history.updateMetadata(ref(`c${i}`), { set: { title: `T${i}` } })
    }
    let time = performance.now()
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => (time += 400))
    const { sessions } = await asked.get('tree', { user: 'ada', session: 'c6' })
    clock.mockRestore()
    expect(sessions.map(({ id }) => id)).toEqual(['c0', 'c1', 'c2', 'c3', 'c4', 'c5', 'c6'])
    expect(sessions.slice(1).map(({ version, title }) => `${version} ${title}`)).toEqual(
      [1, 2, 3, 4, 5, 6].map((i) => `2 T${i}`)
    )
    // A fork's state takes those of its parents.
    expect(sessions.flatMap(({ id, isBrief }) => (isBrief ? [id] : []))).toEqual(['c1', 'c2', 'c3'])
  })

  it('has the session that was asked for, however many have the same origin', async ({ begin }) => {
    const { history, asked } = await begin()
    await history.createSession('ada', 'root')
    for (let i = 0; i < 203; i++) await history.fork(ref('root'), { sessionId: `f${i}` })
    await history.fork(ref('f202'), { sessionId: 'last' })
    const { sessions, more } = await asked.get('tree', { user: 'ada', session: 'last' })
    expect(more).toBe(true)
    expect(sessions).toHaveLength(200)
    expect(sessions[0]).toMatchObject({ id: 'root' })
    expect(sessions.slice(-2).map(({ id }) => id)).toEqual(['f202', 'last'])
  })

  it('has no other session in the place of a parent that was purged', async ({ begin }) => {
    const { history, asked } = await begin()
    await history.appendMessage(await history.createSession('ada', 'root'), say('one'))
    await history.fork(ref('root'), { sessionId: 'b' })
    await history.purgeSession('ada', 'root')
    await history.createSession('ada', 'root')
    await history.fork(ref('root'), { sessionId: 'stranger' })
    expect(await idsOf(asked, 'b')).toEqual(['root gone', 'b root@2'])
    expect(await idsOf(asked, 'root')).toEqual(['root', 'stranger root@1'])
  })

  it('goes through what was deleted, and ends at what was purged', async ({ begin }) => {
    const { history, asked } = await begin()
    await history.appendMessage(await history.createSession('ada', 'root'), say('one'))
    await history.fork(ref('root'), { sessionId: 'b' })
    await history.fork(ref('b'), { sessionId: 'c' })
    await history.fork(ref('c'), { sessionId: 'd' })
    await history.fork(ref('root'), { sessionId: 'e' })
    await history.deleteSession('ada', 'b')
    await history.deleteSession('ada', 'c')
    expect(await idsOf(asked, 'd')).toEqual(['root', 'e root@2', 'b root@2 deleted', 'c b@1 deleted', 'd c@1'])
    expect(await idsOf(asked, 'root')).toEqual(['root', 'e root@2'])
    await history.purgeSession('ada', 'b')
    expect(await idsOf(asked, 'd')).toEqual(['b gone', 'c b@1 deleted', 'd c@1'])
    // By its name, the parent may be a descendant.
    await history.fork(ref('d'), { sessionId: 'b' })
    expect(await idsOf(asked, 'd')).toEqual(['b d@1', 'c b@1 deleted', 'd c@1'])
  })
})

describe('ids', () => {
  it.for([
    'a/b',
    '?x=1',
    '%2F',
    '..',
    '../..',
    '__proto__',
    'constructor',
    '😀',
    ' spaced ',
    'a&b=c',
    '#',
    '"',
    'a\nb',
    'é'.repeat(512),
    '\u0001'.repeat(512)
  ])('%j are names', async (name, { begin }) => {
    const { history, asked } = await begin({ inspector: { allowEdit: true } })
    const session = await history
      .withMessage(ANYTHING, { format: name })
      .createSession(name, name.trim() === '' || name !== name.trim() ? 's' : name)
    const where = { user: name, session: session.id }
    expect((await asked.get('users')).users).toEqual([name])
    expect((await asked.get('sessions', { user: name })).sessions).toMatchObject([{ userId: name, id: session.id }])
    expect(await asked.get('moment', where)).toMatchObject({ userId: name, id: session.id, latest: 1 })
    expect((await asked.get('tree', where)).sessions).toMatchObject([{ id: session.id }])
    expect(await asked.edit({ type: 'fork', ...where, at: 1, as: `${name.slice(0, 500)}2` })).toMatchObject({
      userId: name
    })
  })
})

describe('reading', () => {
  it('makes no session, and does not count as use of one', async ({ begin }) => {
    let now = 1_000
    const clock = { now: () => now, setTimeout: () => undefined, clearTimeout: () => undefined }
    const store = memoryStore()
    const touched: string[] = []
    const touch = store.touch.bind(store)
    store.touch = (logId, at) => {
      touched.push(logId)
      return touch(logId, at)
    }
    const { history, asked } = await begin({
      store,
      service: { clock, retention: { ttlMs: 100, maxMessages: 1 }, missing: { get: 'create', append: 'create' } }
    })
    await history.createSession('ada', 's1')
    await history.appendMessage(ADA, say('one', 'two'))
    now += 60
    // All of the messages, though the service shows the newest alone.
    expect(textsOf(await asked.get('moment', S1))).toEqual(['one', 'two'])
    for (const path of ['outline', 'tree', 'events'] as const) await asked.get(path, S1)
    for (const path of ['messages', 'facts'] as const) await asked.get(path, { ...S1, at: 2 })
    await asked.get('diff', { ...S1, otherUser: 'ada', otherSession: 's1', otherAt: 1 })
    await asked.get('sessions', { user: 'ada' })
    expect(touched).toEqual([])
    for (const path of ['moment', 'outline', 'tree', 'events', 'follow'])
      await asked.ask(`/api/${path === 'follow' ? 'events' : path}?user=ada&session=none`)
    expect((await history.listSessions('ada')).map(({ id }) => id)).toEqual(['s1'])
    now += 60
    expect(await history.listSessions('ada')).toEqual([])
    expect((await asked.get('moment', S1)).isLive).toBe(false)
  })
})

it('what has expired is shown as it is at its newest version, until the event that deletes it', async ({ begin }) => {
  let now = 1_000
  const { history, asked } = await begin({ service: { clock: clockOf(() => now), retention: { ttlMs: 100 } } })
  await history.createSession('ada', 's1')
  await history.appendMessage(ADA, say('one', 'two'))
  now += 1_000
  const moment = await asked.get('moment', S1)
  expect(moment).toMatchObject({ version: 3, latest: 3, isLive: true, count: 2, change: { removed: 0, added: 1 } })
  expect(textsOf(moment)).toEqual(['one', 'two'])
  // To come upon it deletes it, as everywhere.
  await expect.poll(async () => (await asked.get('moment', S1)).latest, { interval: 1 }).toBe(4)
  expect(await asked.get('moment', S1)).toMatchObject({ isLive: false, event: { line: { what: 'expired' } } })
})

describe('a request that makes no sense', () => {
  it.for<[string, string]>([
    ['moment', 'user'],
    ['moment?user=ada', 'session'],
    ['moment?user=&session=s1', 'user'],
    [`moment?user=ada&session=${'x'.repeat(513)}`, 'session'],
    ['moment?user=ada&session=s1&at=0', 'at'],
    ['moment?user=ada&session=s1&at=-1', 'at'],
    ['moment?user=ada&session=s1&at=1.5', 'at'],
    ['moment?user=ada&session=s1&at=1e3', 'at'],
    ['moment?user=ada&session=s1&at=9999999999999999', 'at'],
    ['moment?user=ada&session=s1&at=yesterday', 'at'],
    ['moment?user=ada&session=s1&count=0', 'count'],
    ['moment?user=ada&session=s1&from=x', 'from'],
    ['messages?user=ada&session=s1', 'at'],
    ['messages?user=ada&session=s1&at=1&raw=yes', 'raw'],
    ['event?user=ada&session=s1', 'version'],
    ['outline?user=ada&session=s1&buckets=0', 'buckets'],
    ['text?user=ada&session=s1&at=1&path=[]', 'of'],
    ['text?user=ada&session=s1&at=1&of=all&path=[]', 'of'],
    ['text?user=ada&session=s1&at=1&of=event&path=x', 'path'],
    ['text?user=ada&session=s1&at=1&of=event&path={}', 'path'],
    ['text?user=ada&session=s1&at=1&of=event&path=[null]', 'path'],
    ['text?user=ada&session=s1&at=1&of=event', 'path'],
    ['diff?user=ada&session=s1', 'otherUser'],
    ['find?user=ada&session=s1&at=1', 'text'],
    ['find?user=ada&session=s1&at=1&text=', 'text'],
    [`users?search=${'x'.repeat(1_001)}`, 'search'],
    ['sessions?user=ada&after=x', 'after'],
    ['sessions?user=ada&after={"id":"","updatedAt":1}', 'after'],
    ['follow?user=ada&session=s1&from=0', 'from']
  ])('is told what is wrong: %s', async ([path, name], { begin }) => {
    const { asked } = await begin()
    const { status, body } = await asked.ask(`/api/${path}`)
    expect([status, JSON.parse(body)]).toEqual([
      400,
      { error: { code: 'INVALID_REQUEST', message: expect.stringMatching(new RegExp(`^${name}: .`)) } }
    ])
  })

  it('as an edit is told, and changes nothing', async ({ begin }) => {
    const { asked, history } = await begin({ inspector: { allowEdit: true } })
    await history.createSession('ada', 's1')
    const deep =
      '{"type":"metadata","user":"ada","session":"s1","unset":[],"expectedVersion":1,"set":{"a":' +
      '['.repeat(100_000) +
      ']'.repeat(100_000) +
      '}}'
    const cases: [string, RegExp][] = [
      ['', /no JSON/],
      ['{', /no JSON/],
      ['null', /./],
      ['[]', /./],
      ['{"type":"none"}', /^type: /],
      ['{"type":"delete","user":"ada"}', /^session: /],
      ['{"type":"delete","user":"ada","session":5}', /^session: /],
      ['{"type":"delete","user":"ada","session":"s1","expectedVersion":1,"extra":1}', /extra/],
      ['{"type":"rewind","user":"ada","session":"s1","toVersion":1}', /^expectedVersion: /],
      ['{"type":"rewind","user":"ada","session":"s1","toVersion":0,"expectedVersion":1}', /^toVersion: /],
      ['{"type":"fork","user":"ada","session":"s1","at":1.5}', /^at: /],
      ['{"type":"fork","user":"ada","session":"s1","at":1,"as":" "}', /^as: /],
      ['{"type":"metadata","user":"ada","session":"s1","set":5,"unset":[],"expectedVersion":1}', /^set: /],
      ['{"type":"metadata","user":"ada","session":"s1","set":[],"unset":[],"expectedVersion":1}', /^set/],
      [
        '{"type":"metadata","user":"ada","session":"s1","set":{"a":1},"unset":["a"],"expectedVersion":1}',
        /^unset must be/
      ],
      [JSON.stringify({ type: 'delete', ...S1, user: 'x'.repeat(1_100_000) }), /too large/],
      [deep, /./]
    ]
    for (const [body, message] of cases) {
      const answer = await asked.post(undefined, { body })
      expect([body.slice(0, 90), answer.status]).toEqual([body.slice(0, 90), 400])
      expect((JSON.parse(answer.body) as { error: { message: string } }).error.message).toMatch(message)
    }
    expect(await eventsOf(history)).toHaveLength(1)
    await asked.edit({
      type: 'metadata',
      ...S1,
      set: JSON.parse('{"__proto__":{"a":1}}') as Record<string, Json>,
      unset: [],
      expectedVersion: 1
    })
    expect(Object.keys((await asked.get('moment', S1)).metadata.value)).toEqual(['__proto__'])
  })
})

describe('hostile sessions', () => {
  it('of thousands of calls in one message are no larger answers', async ({ begin }) => {
    const { history, asked } = await begin()
    await history.createSession('ada', 's1')
    const content = Array.from({ length: 8_000 }, (_, n) => ({ type: 'data' as const, data: { call_id: `c${n}` } }))
    await history.appendMessage(ADA, [
      { type: 'function_call', role: 'assistant', content },
      { type: 'function_call_output', role: 'tool', content }
    ])
    const { items } = (await asked.get('moment', S1)).window
    for (const [i, item] of items.entries()) {
      // Each part that is shown is told of its other half.
      const places = Object.entries((i === 0 ? item.outputs : item.calls) ?? {})
      const shown = item.message!.content!.length
      expect(shown).toBeGreaterThan(100)
      expect(places).toEqual(Array.from({ length: shown }, (_, part) => [String(part), { message: 1 - i, part }]))
      expect(JSON.stringify(item).length).toBeLessThan(30_000)
    }
    expect(items).toHaveLength(2)
  })

  it('of roles, tools and errors that are long have facts with room', async ({ begin }) => {
    const { history, asked } = await begin()
    await history.createSession('ada', 's1')
    const long = '\u0001'.repeat(195)
    await history.appendMessage(
      ADA,
      Array.from({ length: 120 }, (_, n): MessageInput => ({
        type: `${n}${long}_call`,
        error: { code: 'x', message: long },
        content: [{ type: 'data', data: { call_id: `c${n}`, name: long } }]
      }))
    )
    const facts = await asked.get('facts', { ...S1, at: 121 })
    expect([facts.messages, facts.openCount]).toEqual([120, 120])
    for (const list of [facts.open, facts.problems, Object.keys(facts.roles)]) expect(list.length).toBeGreaterThan(30)
  })

  let history: SessionHistoryService
  let asked: Asked
  const SESSIONS = [
    'text',
    'wide',
    'deep',
    'keys',
    'halves',
    'proto',
    'zeros',
    'parts',
    'nested',
    'imported',
    'rewinds'
  ]

  beforeAll(async () => {
    history = await createSessionHistory({ maxMessageBytes: Infinity, logger: { warn: () => undefined } })
    const data = (value: object): MessageInput => ({
      role: 'user',
      content: [{ type: 'data', data: value as never }]
    })
    let deep: Json = 'end'
    for (let i = 0; i < 990; i++) deep = i % 2 ? [deep] : { deep }
    const hostile: Record<string, MessageInput[]> = {
      text: say('x'.repeat(10_000_000), '<script>'),
      wide: [data(Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`key ${i}`, { i }])))],
      deep: [{ role: 'user', deep }],
      keys: [
        data({
          ['k'.repeat(1_000_000)]: 1,
          ['\u0002'.repeat(1_900)]: { ['\u0003'.repeat(1_900)]: Array.from({ length: 5_000 }, () => 'y'.repeat(3_000)) }
        })
      ],
      halves: say('\uD800'.repeat(5_000), '\uDFFF'.repeat(5_000)),
      proto: [
        data(
          JSON.parse('{"__proto__":{"x":1},"constructor":{"prototype":1},"toString":5,"hasOwnProperty":null}') as object
        )
      ],
      zeros: say(...Array.from({ length: 500 }, () => '\u0000'.repeat(4_000))),
      parts: [
        { role: 'assistant', content: Array.from({ length: 50_000 }, () => ({ type: 'text' as const, text: 'z' })) }
      ],
      nested: [
        data({ list: Array.from({ length: 50 }, () => Array.from({ length: 50 }, () => ['\u0004'.repeat(500)])) })
      ]
    }
    for (const [name, messages] of Object.entries(hostile)) {
      const metadata = {
        title: '\u0005'.repeat(10_000),
        ...(name !== 'text' && name !== 'wide' && { [name]: messages[0] as never }),
        ...(name === 'zeros' &&
          Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`\u0006${i}`, '\u0006'.repeat(2_000)])))
      }
      await history.appendMessage(await history.createSession('ada', name, { metadata }), messages)
    }
    // Whatever is imported is taken as a message.
    const plain = await history.createSession('ada', 'plain')
    await history.appendMessage(plain, say(...Array.from({ length: 8 }, (_, i) => `m${i}`)))
    const odd: Json[] = [
      null,
      5,
      'text',
      [],
      {},
      { type: 5, content: 'x' },
      {
        type: 'message',
        content: [null, 5, { type: 'text', text: 5 }, { type: 'data', data: 'x' }, { type: 5 }],
        role: 7
      },
      { type: 'function_call', error: 5, content: [{ type: 'data', data: { call_id: [], name: {} } }] }
    ]
    await importAs(history, 'imported', odd)
    const rewound = await history.createSession('ada', 'rewinds')
    await history.appendMessage(rewound, say('one', 'two'))
    for (let i = 0; i < 300; i++) await history.rewind(rewound, 2 + (i % 2))
    const inspector = await startInspector(history, { token: TOKEN })
    asked = new Asked(inspector)
  }, 60_000)

  afterAll(async () => {
    await asked.inspector.stop()
    await history.stop()
  })

  it.for(SESSIONS)('%s: every answer is JSON, and small', async (session) => {
    const where = { user: 'ada', session }
    const moment = await asked.get('moment', where)
    const at = moment.latest
    expect((await asked.get('moment', { ...where, at: 1 })).event.line.kind).toBe('created')
    await asked.get('messages', { ...where, at, count: 100 })
    await asked.get('messages', { ...where, at, count: 100, raw: 1 })
    await asked.get('facts', { ...where, at })
    await asked.get('events', { ...where, count: 100 })
    await asked.get('event', { ...where, version: 2 })
    await asked.get('outline', { ...where, buckets: 5_000 })
    await asked.get('tree', where)
    await asked.get('find', { ...where, at, text: 'z' })
    await asked.get('diff', { ...where, otherUser: 'ada', otherSession: 'plain', count: 100 })
    await asked.get('diff', { ...where, at: 1, otherUser: 'ada', otherSession: session, count: 100 })
    await asked.get('sessions', { user: 'ada' })
    // What was cut is there: at least one message, and its place.
    expect(moment.window.items.length).toBeGreaterThan(0)
    for (const { message, raw } of moment.window.items)
      expect(message ? typeof message.type : 'string', JSON.stringify(raw)).toBe('string')
    for (const { path } of moment.window.items.flatMap(({ cuts }) => cuts)) expect(path.length).toBeLessThanOrEqual(40)
  })

  it('of anything at all, no request gives more than an error', async () => {
    const names = [
      'user',
      'session',
      'at',
      'from',
      'count',
      'raw',
      'version',
      'to',
      'buckets',
      'of',
      'index',
      'path',
      'offset',
      'otherUser',
      'otherSession',
      'otherAt',
      'text',
      'search',
      'after'
    ]
    const value = fc.oneof(
      fc.constantFrom('ada', ...SESSIONS, 'none'),
      fc.integer({ min: -2, max: 1_100 }).map(String),
      fc.constantFrom(
        'message',
        'item',
        'event',
        'metadata',
        '[]',
        '["content",0,"text"]',
        '["data","message"]',
        '["title"]',
        '1',
        '2026-11-22T10:00:00Z',
        '{"id":"text","updatedAt":1}',
        '999999999999999'
      ),
      fc.string({ maxLength: 30 }),
      fc.string({ unit: 'binary', maxLength: 5 })
    )
    const query = fc.dictionary(fc.constantFrom(...names), value, { maxKeys: 12 })
    const path = fc.constantFrom(
      'users',
      'sessions',
      'moment',
      'messages',
      'facts',
      'find',
      'event',
      'events',
      'outline',
      'text',
      'diff',
      'tree',
      'about'
    )
    await fc.assert(
      fc.asyncProperty(path, query, fc.boolean(), async (name, given, isNamed) => {
        const all = {
          ...(isNamed && {
            user: 'ada',
            session: 'proto',
            at: '2',
            of: 'message',
            path: '[]',
            otherUser: 'ada',
            otherSession: 'zeros'
          }),
          ...given
        }
        const { status, body } = await asked.ask(
          `/api/${name}?${stringOf(Object.fromEntries(Object.entries(all).map(([key, each]) => [key, each.toWellFormed()])))}`
        )
        expect([200, 400, 404]).toContain(status)
        expect(Buffer.byteLength(body)).toBeLessThan(LARGEST)
        JSON.parse(body)
      }),
      { numRuns: 100 }
    )
    // As no browser sends them.
    for (const text of [
      '%',
      '%zz',
      '%00',
      '%ff%fe',
      '&&&',
      '=',
      'user',
      'user=ada&user=bob',
      '[]=1',
      '__proto__=1',
      'user=%F0%9F'
    ])
      expect((await asked.ask(`/api/moment?${text}`)).status, text).toBe(400)
  })
})

// Puts other messages into an export.
async function importAs(history: SessionHistoryService, id: string, messages: readonly Json[]): Promise<void> {
  const lines: string[] = []
  for await (const line of history.exportSession('ada', 'plain')) lines.push(line)
  const odd = lines.map((line) => {
    const parsed = JSON.parse(line) as { type?: string; version?: number; data?: { message: Json } }
    if (parsed.type === 'message-appended') parsed.data = { message: messages[parsed.version! - 2]! }
    return `${JSON.stringify(parsed)}\n`
  })
  await history.importSession(odd, { sessionId: id, onInvalid: () => undefined })
}

it('of a damaged log what is before the damage is shown, and the damage is told of', async ({ begin, file }) => {
  const store = STORES.SQLite(file)
  const { history } = await begin({ store })
  for (const id of ['bad', 'worst'])
    await history.appendMessage(await history.createSession('ada', id), say('one', 'two', 'three'))
  const database = await openDatabase(file, { mustExist: true })
  for (const [id, version] of [
    ['bad', 4],
    ['worst', 1]
  ])
    database.exec(
      `UPDATE turnlog_events SET body = body || ' ' WHERE version = ${version} AND session = (SELECT key FROM turnlog_sessions WHERE session = '${id}')`
    )
  database.close()
  const { asked } = await begin({ store: STORES.SQLite(file) })
  const where = { user: 'ada', session: 'bad' }
  const moment = await asked.get('moment', where)
  expect(moment).toMatchObject({ version: 3, latest: 3, damagedAt: 4, isLive: true })
  expect(textsOf(moment)).toEqual(['one', 'two'])
  // As the page asks at first.
  expect(await asked.get('moment', { ...where, brief: 1 })).toEqual(moment)
  expect(await asked.get('moment', { ...where, at: 2 })).toMatchObject({ version: 2, damagedAt: 4 })
  expect((await asked.get('events', where)).events).toHaveLength(3)
  expect(await asked.get('outline', where)).toMatchObject({ latest: 3 })
  expect((await asked.get('tree', where)).sessions).toMatchObject([{ id: 'bad', latest: 3 }])
  expect((await asked.get('sessions', { user: 'ada' })).sessions).toHaveLength(2)
  expect(await asked.failed('messages', { ...where, at: 4 })).toMatchObject([
    500,
    'CORRUPT_LOG',
    expect.stringContaining('damaged at version 4')
  ])
  expect(await asked.failed('moment', { ...where, at: 4 })).toMatchObject([
    404,
    'VERSION_NOT_FOUND',
    expect.any(String)
  ])
  for (const path of ['moment', 'outline', 'events', 'tree'])
    expect(await asked.failed(path, { user: 'ada', session: 'worst' }), path).toMatchObject([
      500,
      'CORRUPT_LOG',
      expect.any(String)
    ])
})

describe('a long session that was not read yet', () => {
  const where = { user: 'ada', session: 's1' }
  const long = Array.from({ length: 10_000 }, (_, i) => `m${i + 1}`)

  it('is shown by its end at first, and whole when it is asked for again', async ({ begin }) => {
    const store = memoryStore()
    const { history } = await begin({ store })
    await history.createSession('ada', 's1', { metadata: { title: 'Long' } })
    await history.appendMessage(ADA, say('x'.repeat(100_000), ...long, 'the last'))
    const { asked } = await begin({ store })
    const brief = await asked.get('moment', { ...where, count: 3, brief: 1 })
    expect(brief).toMatchObject({
      isBrief: true,
      version: 10_003,
      latest: 10_003,
      title: 'Long',
      count: 3,
      change: { at: 2, removed: 0, added: 1, metadata: [] },
      event: { line: { version: 10_003, what: 'the last' } }
    })
    expect(brief.window.items.map((item) => [item.index, textOf(item).slice(0, 10), item.cuts])).toEqual([
      [0, 'm9999', []],
      [1, 'm10000', []],
      [2, 'the last', []]
    ])
    // What comes then goes on from the same event.
    const { isBrief, count, latestId } = await asked.get('moment', { ...where, count: 3 })
    expect([isBrief, count, latestId]).toEqual([undefined, 10_002, brief.latestId])
    expect(await asked.get('moment', { ...where, count: 3, brief: 1 })).toMatchObject({ count: 10_002 })
  })

  it('has none that had to be cut, and nothing before those', async ({ begin }) => {
    const { history, asked } = await begin()
    await history.createSession('ada', 's1')
    await history.appendMessage(ADA, say(...long, 'x'.repeat(100_000), 'the last'))
    const { count, window } = await asked.get('moment', { ...where, brief: 1 })
    expect([count, window.items.map(textOf)]).toEqual([1, ['the last']])
    await history.createSession('ada', 's2')
    await history.appendMessage({ userId: 'ada', id: 's2' }, say(...long, 'x'.repeat(100_000)))
    expect(await asked.get('moment', { ...where, session: 's2', brief: 1 })).toMatchObject({ count: 10_001 })
  })

  it('is damaged, and what is before the damage is shown', async ({ begin, file }) => {
    const { history } = await begin({ store: STORES.SQLite(file) })
    await history.createSession('ada', 's1')
    await history.appendMessage(ADA, say(...long))
    const database = await openDatabase(file, { mustExist: true })
    database.exec(`UPDATE turnlog_events SET body = body || ' ' WHERE version = 9990`)
    database.close()
    const { asked } = await begin({ store: STORES.SQLite(file) })
    expect(await asked.get('moment', { ...where, brief: 1 })).toMatchObject({ latest: 9_989, damagedAt: 9_990 })
  })

  it('has as many of the last messages as there is room for', async ({ begin }) => {
    const { history, asked } = await begin()
    await history.createSession('ada', 's1')
    await history.appendMessage(ADA, say(...long, ...Array.from({ length: 90 }, (_, i) => `${i}`.padEnd(1_900, 'x'))))
    const { count, window, isBrief } = await asked.get('moment', { ...where, count: 90, brief: 1 })
    expect(isBrief).toBe(true)
    expect(count).toBe(window.items.length)
    expect(window.items.map((item) => [item.index, Number.parseInt(textOf(item), 10)])).toEqual(
      window.items.map((_, i) => [i, 90 - count + i])
    )
    expect(count).toBeGreaterThan(2)
  })

  it('is read whole where its end does not tell what its last event did', async ({ begin }) => {
    const { history, asked } = await begin()
    await history.createSession('ada', 's1')
    await history.appendMessage(ADA, say(...long))
    await history.updateMetadata(ADA, { set: { n: 1 } })
    const moment = await asked.get('moment', { ...where, brief: 1 })
    expect(moment).toMatchObject({ count: 10_000, change: { metadata: [{ key: 'n' }] } })
    expect(moment).not.toHaveProperty('isBrief')
  })

  it('is read whole where it is not long', async ({ begin }) => {
    const { history, asked } = await begin()
    await history.createSession('ada', 's1')
    await history.appendMessage(ADA, say(...long.slice(0, 1_000)))
    expect(await asked.get('moment', { ...where, brief: 1 })).toMatchObject({ count: 1_000 })
  })
})
