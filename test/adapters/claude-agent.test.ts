import { randomUUID } from 'node:crypto'
import {
  deleteSession,
  foldSessionSummary,
  forkSession,
  getSessionMessages,
  getSubagentMessages,
  InMemorySessionStore,
  listSessions,
  listSubagents,
  renameSession,
  type SessionKey,
  type SessionStoreEntry
} from '@anthropic-ai/claude-agent-sdk'
import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CLAUDE_AGENT_FORMAT, fromMessages, toMessages, TurnlogSessionStore } from '../../src/adapters/claude-agent.ts'
import { createSessionHistory, memoryStore, messageSchema, type SessionHistoryService } from '../../src/index.ts'
import { fails, misuses } from '../service/kit.ts'
import { calls, claude, missingBinary, says, type Claude } from './claude-agent-kit.ts'
import { scenario, textsOf } from './claude-agent-scenario.ts'
import { freshStore, STORES } from './kit.ts'

const missing = missingBinary()
const KEY: SessionKey = { projectKey: '-home-ada', sessionId: 's1' }
const SUB: SessionKey = { ...KEY, subpath: 'subagents/agent-1' }

const said = (text: string, more: object = {}): SessionStoreEntry => ({
  type: 'user',
  uuid: `u-${text}`,
  timestamp: '2026-01-01T00:00:00.000Z',
  message: { role: 'user', content: text },
  ...more
})
const titled = (title: string): SessionStoreEntry => ({ type: 'custom-title', customTitle: title })

describe.each(STORES)('a session store of the Claude Agent SDK over %s', (kind) => {
  async function begin(): Promise<{
    history: SessionHistoryService
    store: TurnlogSessionStore
    again: () => Promise<SessionHistoryService>
  }> {
    const again = freshStore(kind)
    const history = await again()
    return { history, store: new TurnlogSessionStore({ history, userId: 'ada' }), again }
  }

  it('goes through what it does in every store', async ({ skip }) => {
    skip(missing !== undefined, missing)
    await scenario(freshStore(kind))
  }, 60_000)

  it('does what the SDK has in memory, also over restarts', async () => {
    const runs = kind === 'memory' ? 40 : 8
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        const open = freshStore(kind)
        let history = await open()
        let store = new TurnlogSessionStore({ history, userId: 'ada' })
        const reference = new InMemorySessionStore()
        for (const [i, one] of steps.entries()) {
          if (one.does === 'restart') {
            await history.stop()
            history = await open()
            store = new TurnlogSessionStore({ history, userId: 'ada' })
          } else if (one.does === 'delete') {
            await store.delete(one.key)
            await reference.delete(one.key)
          } else {
            // The reference knows no uuids: here, none comes twice.
            const given = one.entries.map((entry, j) => ({ ...entry, ...(entry.uuid && { uuid: `${i}.${j}` }) }))
            await store.append(one.key, structuredClone(given))
            await reference.append(one.key, structuredClone(given))
          }
        }
        for (const projectKey of PROJECTS) {
          const listed = await store.listSessions(projectKey)
          const summaries = await store.listSessionSummaries(projectKey)
          expect(ids(listed)).toEqual(ids(await reference.listSessions(projectKey)))
          expect(dataOf(summaries)).toEqual(dataOf(await reference.listSessionSummaries(projectKey)))
          expect(timesOf(summaries)).toEqual(timesOf(listed))
        }
        for (const key of KEYS) {
          expect(await store.load(key)).toEqual(await reference.load(key))
          expect((await store.listSubkeys(key)).sort()).toEqual((await reference.listSubkeys(key)).sort())
        }
        await history.stop()
      }),
      { numRuns: runs }
    )
  })

  it('has each uuid once, however often a batch is given, and what has none each time', async () => {
    const { history, store, again } = await begin()
    const batch = [said('a'), titled('A'), said('b'), said('a', { message: 'twice in a batch' })]
    await store.append(KEY, batch)
    const versionNow = async () => (await store.history.getSession('ada/-home-ada', 's1'))!.version
    const version = await versionNow()
    await store.append(KEY, [said('b'), said('a')])
    expect(await versionNow(), 'nothing is stored').toBe(version)
    await history.stop()

    const later = await again()
    const resumed = new TurnlogSessionStore({ history: later, userId: 'ada' })
    await resumed.append(KEY, [...batch, said('c')])
    expect(await resumed.load(KEY)).toEqual([said('a'), titled('A'), said('b'), titled('A'), said('c')])
    await later.stop()
  })

  it('loses nothing of appends side by side, and keeps the order of each', async () => {
    const { history, store, again } = await begin()
    const second = kind === 'memory' ? history : await again()
    const other = new TurnlogSessionStore({ history: second, userId: 'ada' })
    const given = Array.from({ length: 12 }, (_, i) => [said(`${i}`), titled(`${i}`)])
    // Both are given everything, and each stores what the other has not.
    await Promise.all(given.flatMap((batch) => [store.append(KEY, batch), other.append(KEY, batch.slice(0, 1))]))
    const entries = (await store.load(KEY))!
    const uuids = entries.flatMap(({ uuid }) => uuid ?? [])
    expect(uuids).toEqual(given.map(([first]) => first!.uuid))
    expect(entries.filter(({ type }) => type === 'custom-title')).toEqual(given.map(([, title]) => title))
    const [summary] = await store.listSessionSummaries(KEY.projectKey)
    expect(summary!.data).toEqual(foldSessionSummary(undefined, KEY, entries).data)
    await second.stop()
    await history.stop()
  })

  it('has the copies that are asked for, and gives no others away', async () => {
    const { history, store } = await begin()
    const entry = said('a', {
      nested: { list: [1, { deep: '\u0000' }], none: null },
      proto: JSON.parse('{"__proto__":{"a":1}}')
    })
    await store.append(KEY, [entry])
    const [loaded] = (await store.load(KEY))!
    expect(loaded).toEqual(entry)
    loaded!['nested'] = 'changed'
    expect(await store.load(KEY)).toEqual([entry])
    const [summary] = await store.listSessionSummaries(KEY.projectKey)
    summary!.data['firstPrompt'] = 'changed'
    expect((await store.listSessionSummaries(KEY.projectKey))[0]!.data['firstPrompt']).toBe('a')
    await history.stop()
  })

  it('deletes what is below, too, and what it has deleted can be brought back', async () => {
    const { history, store } = await begin()
    const elsewhere: SessionKey = { projectKey: '-home-ada', sessionId: 's10', subpath: 'subagents/agent-1' }
    for (const key of [KEY, SUB, elsewhere]) await store.append(key, [said('a')])
    const { userId, id } = store.refOf(KEY)
    const { version } = (await store.history.getSession(userId, id))!
    await store.delete(KEY)
    for (const key of [KEY, SUB]) expect(await store.load(key)).toBeNull()
    expect(await store.listSubkeys(KEY)).toEqual([])
    expect(await store.load(elsewhere)).toEqual([said('a')])
    await store.delete(KEY)

    for (const key of [KEY, SUB]) await store.history.rewind(store.refOf(key), version)
    expect(await store.load(KEY)).toEqual([said('a')])
    expect(await store.listSubkeys(KEY)).toEqual(['subagents/agent-1'])
    await store.delete(KEY)
    // Begun anew, it has nothing of before.
    await store.append(KEY, [said('b')])
    expect(await store.load(KEY)).toEqual([said('b')])
    expect(dataOf(await store.listSessionSummaries(KEY.projectKey))).toEqual([
      ['s1', expect.objectContaining({ firstPrompt: 'b' })]
    ])
    await history.stop()
  })

  it('goes on from wherever it was set back to, and its summary with it', async () => {
    const { history, store } = await begin()
    await store.append(KEY, [said('a'), titled('A'), said('b'), titled('B')])
    const at = (await store.versionOf(KEY, 'u-a'))!
    expect(await store.versionOf(KEY, 'u-none')).toBeUndefined()
    const ref = store.refOf(KEY)
    await store.history.fork(ref, { at, sessionId: 'forked' })
    await store.history.rewind(ref, at)
    expect(ids(await store.listSessions(KEY.projectKey))).toEqual(['forked', 's1'])
    for (const sessionId of ['s1', 'forked']) {
      const key = { ...KEY, sessionId }
      expect(await store.load(key)).toEqual([said('a')])
      // What is gone may come again.
      await store.append(key, [said('b'), said('a')])
      expect(await store.load(key)).toEqual([said('a'), said('b')])
    }
    const summaries = await store.listSessionSummaries(KEY.projectKey)
    for (const { data } of summaries) {
      expect(data).toEqual(foldSessionSummary(undefined, KEY, [said('a'), said('b')]).data)
    }
    expect(ids(summaries)).toEqual(['forked', 's1'])
    await history.stop()
  })

  it('has no summary of what others have replaced, also in a fork', async () => {
    const { history, store } = await begin()
    await store.append(KEY, [said('a')])
    const ref = store.refOf(KEY)
    await store.append(KEY, [titled('A')])
    const { version, metadata } = (await store.history.getSession(ref.userId, ref.id))!
    expect(metadata, 'else each append would read all').toMatchObject({ 'claude-agent': { version } })
    const forked = await store.history.fork(ref, { sessionId: 'forked' })
    for (const session of [ref, forked]) {
      // As many entries as before; and the fork comes to the version that its parent had.
      await store.history.commit(session, [
        { type: 'truncate', length: 0 },
        { type: 'append', messages: [said('b'), titled('B')] },
        { type: 'metadata', set: { title: 'B' } }
      ])
      await store.append({ ...KEY, sessionId: session.id }, [said('c')])
    }
    const { data } = foldSessionSummary(undefined, KEY, [said('b'), titled('B'), said('c')])
    expect(dataOf(await store.listSessionSummaries(KEY.projectKey))).toEqual([
      ['forked', data],
      ['s1', data]
    ])
    await history.stop()
  })

  it('deletes what another process begins meanwhile below what is deleted', async () => {
    const { history, store } = await begin()
    await store.append(KEY, [said('a')])
    const remove = store.history.deleteSession
    store.history.deleteSession = async (userId, id) => {
      await new TurnlogSessionStore({ history, userId: 'ada' }).append(SUB, [said(id)])
      store.history.deleteSession = remove
      await remove.call(store.history, userId, id)
    }
    await store.delete(KEY)
    expect(await store.load(KEY)).toBeNull()
    expect(await store.listSubkeys(KEY)).toEqual([])
    await history.stop()
  })

  it('lists of forks those that it can load', async () => {
    const { history, store } = await begin()
    await store.append(KEY, [said('a')])
    for (const id of ['try 100%', 'a%20b', '%2f', store.refOf({ ...KEY, sessionId: 'try 50%' }).id])
      await store.history.fork(store.refOf(KEY), { sessionId: id })
    expect(ids(await store.listSessions(KEY.projectKey))).toEqual(['s1', 'try 50%'])
    expect(ids(await store.listSessionSummaries(KEY.projectKey))).toEqual(['s1', 'try 50%'])
    expect(await store.load({ ...KEY, sessionId: 'try 50%' })).toEqual([said('a')])
    await history.stop()
  })

  it('is as if never written where a process has ended before anything was stored', async () => {
    const { history, store } = await begin()
    expect(await store.load(KEY)).toBeNull()
    await store.delete(KEY)
    await store.delete(SUB)
    expect(await history.listUsers(), 'reading makes nothing').toEqual([])
    for (const key of [KEY, SUB]) {
      const { userId, id } = store.refOf(key)
      await store.history.createSession(userId, id)
      expect(await store.load(key)).toBeNull()
    }
    expect(await store.listSessions(KEY.projectKey)).toEqual([])
    expect(await store.listSubkeys(KEY)).toEqual([])
    await store.append(KEY, [said('a')])
    await store.append(SUB, [])
    expect(await store.load(KEY)).toEqual([said('a')])
    expect(await store.load(SUB)).toEqual([])
    await history.stop()
  })

  it('waits while somebody holds a turn', async () => {
    const { history, store } = await begin()
    await store.append(KEY, [said('a')])
    const turn = await store.history.beginTurn(store.refOf(KEY))
    const appended = store.append(KEY, [said('b'), said('c')])
    expect(await store.load(KEY)).toEqual([said('a')])
    await turn.append(said('c'))
    await turn.end()
    await appended
    expect(await store.load(KEY)).toEqual([said('a'), said('c'), said('b')])
    await history.stop()
  })

  it('refuses what it cannot keep, before anything is stored', async () => {
    const { history, store } = await begin()
    await fails(() => store.append(KEY, [said('a'), said('b', { at: { when: new Date(0) } })]), 'INVALID_MESSAGE', {
      path: [1, 'at', 'when']
    })
    for (const none of [null, 5, 'x', [], { uuid: 'u' }, { type: 7 }])
      await fails(() => store.append(KEY, [said('a'), none as never]), 'INVALID_MESSAGE', { path: [1] })
    await misuses(() => store.append(KEY, {} as never), 'entries')
    await misuses(() => store.append({ ...KEY, subpath: '' }, []), 'key.subpath')
    await misuses(() => store.append({ ...KEY, sessionId: undefined } as never, []), 'key.sessionId')
    await misuses(() => store.load({ ...KEY, sessionId: 's'.repeat(513) }), 'key.sessionId')
    await misuses(() => store.load({ ...KEY, projectKey: 'p'.repeat(512) }), 'userId')
    await misuses(() => store.load({ ...KEY, projectKey: '\uD800' }), 'userId')
    await misuses(() => store.load(undefined as never), 'key')
    await misuses(() => new TurnlogSessionStore({ history, userId: ' ' }), 'userId')
    await misuses(() => new TurnlogSessionStore({ history: {} as never, userId: 'ada' }), 'history')
    await misuses(() => new TurnlogSessionStore({ history, userID: 'ada' } as never), 'userId')
    expect(await history.listUsers()).toEqual([])
    // What another has written is another's.
    await history.createSession('ada/-home-ada', 's1')
    await fails(() => store.load(KEY), 'FORMAT_MISMATCH', { expected: 'claude-agent', actual: 'message' })
    await fails(() => store.append(KEY, [said('a')]), 'FORMAT_MISMATCH')
    expect(await store.listSessions(KEY.projectKey)).toEqual([])
    await history.stop()
  })
})

it('no two keys are the same session, and each is listed under its own name', async () => {
  const history = await createSessionHistory()
  const part = fc
    .array(fc.constantFrom('a', '/', '%', '%2F', ' ', '.', '25', '\t'), { maxLength: 3 })
    .map((all) => all.join(''))
  const key = fc.record({
    userId: part.filter((id) => id.trim() !== ''),
    projectKey: part,
    sessionId: part,
    subpath: fc.option(part.filter(Boolean), { nil: undefined })
  })
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(key, { selector: (each) => JSON.stringify(each), maxLength: 6 }), async (keys) => {
      const refs = keys.map(({ userId, ...rest }) =>
        new TurnlogSessionStore({ history, userId }).refOf(rest as SessionKey)
      )
      expect(new Set(refs.map((ref) => JSON.stringify(ref))).size).toBe(keys.length)
    }),
    { numRuns: 300 }
  )
  await fc.assert(
    fc.asyncProperty(key, async ({ userId, ...rest }) => {
      const store = new TurnlogSessionStore({ history, userId })
      await store.append(rest as SessionKey, [said('a')])
      const listed =
        rest.subpath === undefined ? ids(await store.listSessions(rest.projectKey)) : await store.listSubkeys(rest)
      expect(listed).toContain(rest.subpath ?? rest.sessionId)
      expect(await store.load(rest as SessionKey)).toEqual([said('a')])
    }),
    { numRuns: 60 }
  )
  await history.stop()
})

it('what a store does not take at once is stored in parts', async () => {
  const inner = memoryStore()
  const small = { ...inner, supports: { ...inner.supports, maxCommitBytes: 2500 } }
  const history = await createSessionHistory({ store: small })
  const store = new TurnlogSessionStore({ history, userId: 'ada' })
  const given = Array.from({ length: 20 }, (_, i) => said(`${i}`))
  await store.append(KEY, given)
  expect(await store.load(KEY)).toEqual(given)
  const [summary] = await store.listSessionSummaries(KEY.projectKey)
  expect(summary!.data).toEqual(foldSessionSummary(undefined, KEY, given).data)
  await fails(() => store.append(KEY, [said('x'.repeat(5000))]), 'COMMIT_TOO_LARGE')
  // As the SDK does: three times.
  for (const key of [KEY, KEY, KEY, SUB])
    await fails(() => store.append(key, [titled('A'), ...given, said('x'.repeat(5000))]), 'COMMIT_TOO_LARGE')
  expect(await store.load(KEY)).toEqual(given)
  expect(await store.load(SUB)).toBeNull()

  // Around what just fits: all or nothing, and all where one after the other is.
  const isStored = (sessionId: string, batch: SessionStoreEntry[]): Promise<boolean> =>
    store.append({ ...KEY, sessionId }, batch).then(
      () => true,
      () => false
    )
  const fitting: boolean[] = []
  for (let length = 1780; length < 1830; length++) {
    const long = said('a', { long: 'x'.repeat(length) })
    await store.append({ ...KEY, sessionId: `a${length}` }, [titled('A')])
    const fits = await isStored(`a${length}`, [long])
    expect(await isStored(`b${length}`, [titled('A'), long])).toBe(fits)
    expect(await store.load({ ...KEY, sessionId: `b${length}` })).toEqual(fits ? [titled('A'), long] : null)
    fitting.push(fits)
  }
  expect(new Set(fitting).size, 'both happens').toBe(2)
  await history.stop()
})

it.each(['create', 'null', 'throw'] as const)(
  'whatever is done about missing sessions (%s), it is the same',
  async (get) => {
    const history = await createSessionHistory({ missing: { get, append: get === 'create' ? 'create' : 'throw' } })
    const store = new TurnlogSessionStore({ history, userId: 'ada' })
    expect(await store.load(KEY)).toBeNull()
    await store.append(KEY, [said('a')])
    expect(await store.load(KEY)).toEqual([said('a')])
    await store.delete(KEY)
    expect(await store.load(KEY)).toBeNull()
    await history.stop()
  }
)

it('the functions of the SDK find in it what they look for', async () => {
  const history = await createSessionHistory()
  const sessionStore = new TurnlogSessionStore({ history, userId: 'ada' })
  const [sessionId, dir] = [randomUUID(), '/home/ada']
  const key = { projectKey: '-home-ada', sessionId }
  await sessionStore.append(key, [said('a', { uuid: randomUUID(), parentUuid: null, sessionId })])
  await renameSession(sessionId, 'Trains', { sessionStore, dir })
  expect(await listSessions({ sessionStore, dir })).toMatchObject([{ sessionId, summary: 'Trains', firstPrompt: 'a' }])
  expect(await getSessionMessages(sessionId, { sessionStore, dir })).toMatchObject([{ type: 'user' }])
  const fork = await forkSession(sessionId, { sessionStore, dir })
  expect(textsOf(await sessionStore.load({ ...key, sessionId: fork.sessionId }))).toEqual(['a'])
  await deleteSession(sessionId, { sessionStore, dir })
  expect((await listSessions({ sessionStore, dir })).map((session) => session.sessionId)).toEqual([fork.sessionId])
  await history.stop()
})

describe(
  `the real runner${missing === undefined ? '' : ` (skipped: ${missing})`}`,
  { timeout: 60_000, skip: missing !== undefined },
  () => {
    let runner: Claude
    let history: SessionHistoryService
    let store: TurnlogSessionStore
    beforeAll(async () => {
      runner = await claude()
      history = await createSessionHistory()
      store = new TurnlogSessionStore({ history, userId: 'ada' })
    })
    afterAll(async () => {
      await runner.close()
      await history.stop()
    })
    const begin = () => ({ projectKey: runner.projectKey, sessionId: randomUUID() })

    // One session for all three, as each run takes its time.
    it('asks for approvals, goes on after it was aborted, and runs twice at once', async () => {
      const key = begin()
      const resume = { sessionStore: store, resume: key.sessionId }
      runner.will(
        [...calls('toolu_1', 'pay', { sum: 5 }), ...calls('toolu_2', 'pay', { sum: 500 })],
        says('Half of it.')
      )
      const { error } = await runner.run('Pay 5 and 500.', {
        sessionStore: store,
        sessionId: key.sessionId,
        allowedTools: [],
        canUseTool: async (_, input) =>
          input['sum'] === 5 ? { behavior: 'allow', updatedInput: input } : { behavior: 'deny', message: 'too much' }
      })
      expect(error).toBeUndefined()
      const approved = (await store.load(key))!
      const texts = textsOf(approved)
      expect(texts).toEqual(expect.arrayContaining(['mcp__clerk__pay({"sum":500})', '= 5 paid', '= too much']))
      expect([texts[0], texts.at(-1)]).toEqual(['Pay 5 and 500.', 'Half of it.'])

      runner.will('nothing')
      const abortController = new AbortController()
      const asked = runner.nextRequest()
      const run = runner.run('Are you there?', { ...resume, abortController })
      await asked
      abortController.abort()
      expect((await run).error).toBeDefined()
      runner.will(says('Here.'))
      await runner.run('And now?', resume)
      const aborted = (await store.load(key))!
      expect(aborted.slice(0, approved.length)).toEqual(approved)
      expect(textsOf(aborted).slice(-2)).toEqual(['And now?', 'Here.'])
      expect(runner.heard()[0]).toBe('Pay 5 and 500.')

      runner.will(says('Yes.'), says('Yes.'))
      await Promise.all(['Left?', 'Right?'].map((prompt) => runner.run(prompt, resume)))
      const entries = (await store.load(key))!
      expect(entries.slice(0, aborted.length)).toEqual(aborted)
      expect(textsOf(entries)).toEqual(expect.arrayContaining(['Left?', 'Right?']))
      expect(textsOf(entries).filter((text) => text === 'Yes.')).toHaveLength(2)
      const uuids = entries.flatMap(({ uuid }) => uuid ?? [])
      expect(new Set(uuids).size).toBe(uuids.length)
    })

    it('keeps what a subagent did beside it', async () => {
      const key = begin()
      const input = { description: 'times', prompt: 'Look it up', subagent_type: 'helper', run_in_background: false }
      runner.will([{ type: 'tool_use', id: 'toolu_1', name: 'Agent', input }], says('At 22:47.'), says('It is late.'))
      await runner.run('When?', {
        sessionStore: store,
        sessionId: key.sessionId,
        tools: ['Agent'],
        allowedTools: ['Agent'],
        agents: { helper: { description: 'helps', prompt: 'You help.', tools: [] } }
      })
      const [subpath] = await store.listSubkeys(key)
      expect(textsOf(await store.load({ ...key, subpath: subpath! }))).toEqual(['Look it up', 'At 22:47.'])
      expect(textsOf(await store.load(key)).at(-1)).toBe('It is late.')
      const where = { sessionStore: store, dir: runner.dir }
      const [agent] = await listSubagents(key.sessionId, where)
      expect(subpath).toBe(`subagents/agent-${agent}`)
      expect(await getSubagentMessages(key.sessionId, agent!, where)).toHaveLength(2)
    })

    it('goes on with what was begun elsewhere', async () => {
      const key = begin()
      const { items } = fromMessages(
        [
          { role: 'user', content: 'A train to Oslo?' },
          { role: 'assistant', type: 'function_call', content: [call('c:1', 'find trains', '{"to":"Oslo"}')] },
          { role: 'tool', type: 'function_call_output', content: [output('c:1', ['22:47'])] },
          { role: 'assistant', content: 'At 22:47.' }
        ].map((message, i) => messageSchema.parse({ id: `m${i}`, ...message }))
      )
      await store.append(key, items)
      runner.will(says('On track 4.'))
      await runner.run('Where?', { sessionStore: store, resume: key.sessionId })
      expect(runner.heard()).toEqual([
        'A train to Oslo?',
        'find_trains({"to":"Oslo"})',
        '= "[\\"22:47\\"]"',
        'At 22:47.',
        'Where?'
      ])
    })
  }
)

describe('transcripts as messages', () => {
  const entryOf = (type: string, content: unknown, more: object = {}): SessionStoreEntry => ({
    type,
    uuid: `${type} 1`,
    parentUuid: null,
    message: { role: type, content },
    ...more
  })
  const shown = (entries: SessionStoreEntry[]) =>
    toMessages(entries).map((message) => {
      expect(messageSchema.parse(structuredClone(message))).toEqual(message)
      const { id, type, role, content } = message
      return { id, type, role, content }
    })

  it('have what is said, thought, called and answered, each in its place', () => {
    const content = [
      { type: 'thinking', thinking: 'Trains run at night.', signature: 'abc' },
      { type: 'redacted_thinking', data: 'xyz' },
      { type: 'text', text: 'I look.', citations: [] },
      { type: 'tool_use', id: 't1', name: 'find', input: { to: 'Oslo' } },
      { type: 'server_tool_use', id: 's1', name: 'web_search', input: {} },
      {
        type: 'web_search_tool_result',
        tool_use_id: 's1',
        content: [{ type: 'web_search_result', url: 'https://x.y' }]
      }
    ]
    const entry = entryOf('assistant', content, {
      message: { id: 'msg_1', role: 'assistant', model: 'claude', content }
    })
    expect(shown([entry])).toEqual([
      {
        id: 'assistant 1',
        type: 'reasoning',
        role: 'assistant',
        content: [
          { type: 'text', text: 'Trains run at night.' },
          { type: 'data', data: { type: 'redacted_thinking', data: 'xyz' } }
        ]
      },
      {
        id: 'assistant 1_2',
        type: 'function_call',
        role: 'assistant',
        content: [
          { type: 'text', text: 'I look.' },
          call('t1', 'find', '{"to":"Oslo"}'),
          call('s1', 'web_search', '{}')
        ]
      },
      {
        id: 'assistant 1_3',
        type: 'function_call_output',
        role: 'tool',
        content: [output('s1', [{ type: 'web_search_result', url: 'https://x.y' }], 'web_search')]
      }
    ])
    const metadata = toMessages([entry]).map((message) => message.metadata?.[CLAUDE_AGENT_FORMAT])
    expect(metadata).toEqual([
      { parentUuid: null, message: { id: 'msg_1', model: 'claude' }, blocks: [{ signature: 'abc' }] },
      { blocks: [{ citations: [] }, {}, { type: 'server_tool_use' }] },
      { blocks: [{ type: 'web_search_tool_result' }] }
    ])
  })

  it('have results, images and documents of the user', () => {
    const content = [
      { type: 'tool_result', tool_use_id: 't1', content: [{ type: 'text', text: '22:47' }] },
      { type: 'tool_result', tool_use_id: 't2', is_error: true, content: 'none' },
      { type: 'text', text: 'See' },
      { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } },
      { type: 'image', source: { type: 'url', url: 'https://x.y/z.png' } },
      { type: 'document', title: 'times', source: { type: 'base64', media_type: 'application/pdf', data: 'BBBB' } },
      { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'é' } },
      { type: 'document', source: { type: 'file', file_id: 'file_1' } },
      { type: 'of tomorrow', value: 1 }
    ]
    const entries = [entryOf('user', content)]
    expect(shown(entries).map((message) => [message.role, message.content])).toEqual([
      ['tool', [output('t1', '22:47'), output('t2', 'none')]],
      [
        'user',
        [
          { type: 'text', text: 'See' },
          { type: 'image', image_url: 'data:image/png;base64,AAAA' },
          { type: 'image', image_url: 'https://x.y/z.png' },
          { type: 'file', filename: 'times', file_data: 'data:application/pdf;base64,BBBB' },
          { type: 'file', file_data: 'data:text/plain;base64,w6k=' },
          { type: 'file', file_id: 'file_1' },
          { type: 'data', data: { type: 'of tomorrow', value: 1 } }
        ]
      ]
    ])
    expect(toMessages(entries)[0]!.metadata).toMatchObject({ 'claude-agent': { blocks: [{}, { is_error: true }] } })
    const back = fromMessages(
      toMessages([
        entryOf('assistant', [
          { type: 'tool_use', id: 't1', name: 'a', input: {} },
          { type: 'tool_use', id: 't2', name: 'a', input: {} }
        ]),
        ...entries
      ])
    )
    const blocks = back.items.flatMap(({ message }) => (message as { content: object[] }).content)
    // What can be said comes back as it was.
    expect(blocks.slice(4)).toEqual(content.slice(2, 7))
    expect(blocks.slice(2, 4)).toEqual([
      { type: 'tool_result', tool_use_id: 't1', content: '22:47' },
      { type: 'tool_result', tool_use_id: 't2', content: 'none' }
    ])
    expect(back.dropped.map(({ path, what }) => [path.join('.'), what])).toEqual(
      expect.arrayContaining([
        ['2.content.5', 'a file that is at no address'],
        ['2.content.6', 'a part of type data']
      ])
    )
  })

  it('have notices, summaries, attachments and prompts that came meanwhile, and nothing of what is for Claude Code alone', () => {
    expect(
      shown([
        { type: 'queue-operation', operation: 'enqueue', content: 'Hi' },
        { type: 'system', uuid: 'n', subtype: 'compact_boundary', content: 'Conversation compacted' },
        { type: 'summary', summary: 'Of trains', leafUuid: 'x' },
        titled('Trains'),
        { type: 'attachment', uuid: 'q', attachment: { type: 'queued_command', prompt: 'And back?' } },
        { type: 'attachment', uuid: 'a', attachment: { type: 'date', date: '2026-01-01' } },
        entryOf('user', 'plain', { isSidechain: true }),
        { type: 'assistant', uuid: 'none', message: { role: 'assistant', content: [] } }
      ]).map(({ id, type, role, content }) => [
        id,
        type,
        role,
        content?.map((part) => ('text' in part ? part.text : part.type))
      ])
    ).toEqual([
      ['n', 'system', 'system', ['Conversation compacted']],
      ['entry_3', 'summary', 'system', ['Of trains']],
      ['entry_4', 'custom-title', 'system', ['data']],
      ['q', 'message', 'user', ['And back?']],
      ['a', 'attachment', 'system', ['data']],
      ['user 1', 'message', 'user', ['plain']],
      ['none', 'message', 'assistant', []]
    ])
  })

  it('lose nothing that is beside what is said, or has no form that is known', () => {
    const image = { type: 'image', source: { type: 'url', url: 'https://x.y/z.png' }, title: 'a cat' }
    const beside = { title: 'a cat', cache_control: { type: 'ephemeral' } }
    const prompt = [{ ...image, ...beside }, { type: 'text', text: 'See' }, 'loose', 7]
    const marked = [{ type: 'text', text: '22:47', citations: [] }]
    const entries = [
      { type: 'attachment', uuid: 'q', cwd: '/', attachment: { type: 'queued_command', prompt, origin: 'ada' } },
      { type: 'attachment', uuid: 'n', attachment: 'none' },
      entryOf('user', ['loose', 7, { type: 'document', title: 1, source: { type: 'file', file_id: 'f' } }]),
      entryOf('user', 7),
      entryOf('user', [
        { type: 'tool_result', tool_use_id: 't1', content: marked },
        { type: 'tool_result', tool_use_id: 't2', content: ['loose', ...marked] },
        { type: 'tool_result', tool_use_id: 't3', content: [{ type: 'text', text: '22:47' }] }
      ])
    ]
    const data = (value: object) => ({ type: 'data', data: value })
    const text = (value: string) => ({ type: 'text', text: value })
    expect(shown(entries).map(({ content }) => content)).toEqual([
      [{ type: 'image', image_url: 'https://x.y/z.png' }, text('See'), text('loose'), data({ block: 7 })],
      [data(entries[1]!)],
      [text('loose'), { type: 'file', file_id: 'f' }, data({ block: 7 })],
      [data({ block: 7 })],
      [output('t1', marked), output('t2', ['loose', ...marked]), output('t3', '22:47')]
    ])
    const [asked, , listed] = toMessages(entries).map((message) => message.metadata?.[CLAUDE_AGENT_FORMAT])
    const attachment = { type: 'queued_command', origin: 'ada' }
    expect(asked).toEqual({ cwd: '/', attachment, blocks: [beside, {}, {}] })
    expect(listed).toEqual({ parentUuid: null, blocks: [{}, { title: 1 }] })
  })

  it('become entries that follow each other, of the same messages the same', () => {
    const messages = [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Twice, please' },
      {
        role: 'assistant',
        type: 'function_call',
        content: [{ type: 'text', text: 'I do' }, call('same', 'math.add', '[1]'), call('same', 'add', 'no JSON')]
      },
      {
        role: 'tool',
        type: 'function_call_output',
        content: [output('same', 1), output('same', '2'), output('nobody', 3)]
      },
      { role: 'assistant', content: ' ' },
      {
        role: 'assistant',
        content: [
          { type: 'image', image_url: 'https://x.y/z.png' },
          { type: 'text', text: 'Done' }
        ]
      }
    ].map((message, i) => messageSchema.parse({ id: `m${i}`, ...message }))
    const { items, dropped } = fromMessages(messages)
    expect(items.map(({ message }) => message)).toEqual([
      { role: 'user', content: [{ type: 'text', text: 'Twice, please' }] },
      expect.objectContaining({
        role: 'assistant',
        content: [
          { type: 'text', text: 'I do' },
          { type: 'tool_use', id: 'same', name: 'math_add', input: { input: [1] } },
          { type: 'tool_use', id: 'same_2', name: 'add', input: { input: 'no JSON' } }
        ]
      }),
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 'same', content: '1' },
          { type: 'tool_result', tool_use_id: 'same_2', content: '2' }
        ]
      },
      expect.objectContaining({ role: 'assistant', content: [{ type: 'text', text: 'Done' }] })
    ])
    expect(dropped.map(({ path, what }) => [path.join('.'), what])).toEqual([
      ['0.content.0', 'what the system says'],
      ['2.content.1', 'the name math.add of a tool, which is called math_add'],
      ['2.content.1', 'arguments that are no object, which are put into one, as input'],
      ['2.content.2', 'arguments that are no object, which are put into one, as input'],
      ['3.content.2', 'the output of nobody, which nobody has called'],
      ['4.content.0', 'a text that is blank'],
      ['5.content.0', 'an image of the assistant']
    ])
    expect(items.map(({ parentUuid }) => parentUuid)).toEqual([null, ...items.slice(0, -1).map(({ uuid }) => uuid)])
    for (const { uuid } of items) expect(uuid).toMatch(/^[\da-f]{8}-[\da-f]{4}-8[\da-f]{3}-8[\da-f]{3}-[\da-f]{12}$/)
    expect(fromMessages(messages)).toEqual({ items, dropped })
    const others = fromMessages(messages.slice(2)).items
    expect(others.map(({ uuid }) => uuid)).not.toContain(items.at(-1)!.uuid)
  })
})

const call = (callId: string, name: string, input: string) =>
  ({ type: 'data', data: { call_id: callId, name, arguments: input } }) as const
const output = (callId: string, value: unknown, name?: string) =>
  ({ type: 'data', data: { call_id: callId, ...(name !== undefined && { name }), output: value } }) as const

const PROJECTS = ['p', '-home-ada']
const KEYS: SessionKey[] = PROJECTS.flatMap((projectKey) =>
  ['s', 't'].flatMap((sessionId) => [
    { projectKey, sessionId },
    { projectKey, sessionId, subpath: 'subagents/agent-1' },
    { projectKey, sessionId, subpath: 'subagents/workflows/run/agent-2' }
  ])
)

const entry: fc.Arbitrary<SessionStoreEntry> = fc.oneof(
  fc.record({
    type: fc.constantFrom('user', 'assistant', 'system'),
    uuid: fc.constant('given later'),
    timestamp: fc.constantFrom('2026-01-01T00:00:00.000Z', 'no time'),
    isSidechain: fc.boolean(),
    cwd: fc.constantFrom('/home/ada', ''),
    message: fc.record({ role: fc.constant('user'), content: fc.oneof(fc.string(), fc.constant('/clear')) })
  }),
  fc.record({ type: fc.constant('custom-title'), customTitle: fc.string() }),
  fc.record({ type: fc.constant('tag'), tag: fc.constantFrom('', 'travel') }),
  fc.record({ type: fc.constant('last-prompt'), lastPrompt: fc.string() }),
  fc.record({ type: fc.constant('of tomorrow'), data: fc.jsonValue().filter((value) => !hasMinusZero(value)) })
)

const key = fc.constantFrom(...KEYS)
const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ does: fc.constant('append' as const), key, entries: fc.array(entry, { maxLength: 4 }) })
  },
  { weight: 2, arbitrary: fc.record({ does: fc.constant('delete' as const), key }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('restart' as const) }) }
)

// What JSON has no sign for.
function hasMinusZero(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return Object.is(value, -0)
  return Object.values(value).some(hasMinusZero)
}

const ids = (listed: readonly { sessionId: string }[]): string[] => listed.map(({ sessionId }) => sessionId).sort()
const dataOf = (listed: readonly { sessionId: string; data: object }[]): [string, object][] =>
  listed.map(({ sessionId, data }): [string, object] => [sessionId, data]).sort(([a], [b]) => (a < b ? -1 : 1))
const timesOf = (listed: readonly { sessionId: string; mtime: number }[]): [string, number][] =>
  listed.map(({ sessionId, mtime }): [string, number] => [sessionId, mtime]).sort(([a], [b]) => (a < b ? -1 : 1))
