import { randomUUID } from 'node:crypto'
import type { SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk'
import { expect } from 'vitest'
import { toMessages, TurnlogSessionStore } from '../../src/adapters/claude-agent.ts'
import { calls, claude, says } from './claude-agent-kit.ts'
import type { Scenario } from './kit.ts'

/** What is said in entries, each message as a line, without what Claude Code adds. */
export const textsOf = (entries: readonly SessionStoreEntry[] | null): string[] =>
  toMessages(entries ?? []).flatMap(({ role, content }) =>
    (content ?? []).flatMap((part) => {
      if (part.type === 'text') return role === 'system' ? [] : [part.text ?? '']
      const { name, arguments: input, output } = (part.type === 'data' ? part.data : undefined) ?? {}
      if (typeof name === 'string' && typeof input === 'string') return [`${name}(${input})`]
      if (output === undefined) return []
      return [`= ${typeof output === 'string' ? output : JSON.stringify(output)}`]
    })
  )

const SUM = ['What is 1 + 2?', 'mcp__clerk__add({"a":1,"b":2})', '= 3', 'It is 3.']

export const scenario: Scenario = async (open) => {
  const runner = await claude()
  try {
    const history = await open()
    const store = new TurnlogSessionStore({ history, userId: 'ada' })
    const key = { projectKey: runner.projectKey, sessionId: randomUUID() }
    runner.will(calls('toolu_1', 'add', { a: 1, b: 2 }), says('It is 3.'))
    const first = await runner.run('What is 1 + 2?', {
      sessionStore: store,
      // Each entry as it comes.
      sessionStoreFlush: 'eager',
      includePartialMessages: true,
      sessionId: key.sessionId
    })
    expect(first.error).toBeUndefined()
    expect(first.messages.some(({ type }) => type === 'stream_event')).toBe(true)
    expect(textsOf(await store.load(key))).toEqual(SUM)

    const overloaded = { status: 529, type: 'overloaded_error', message: 'too many' }
    runner.will(calls('toolu_2', 'add', { a: 3, b: 4 }), overloaded, overloaded)
    const failed = await runner.run('And 3 + 4?', { sessionStore: store, resume: key.sessionId })
    expect(failed.error).toBeDefined()
    const entries = await store.load(key)
    expect(textsOf(entries).slice(4, 7)).toEqual(['And 3 + 4?', 'mcp__clerk__add({"a":3,"b":4})', '= 7'])
    await history.stop()

    const later = await open()
    const resumed = new TurnlogSessionStore({ history: later, userId: 'ada' })
    expect(await resumed.load(key)).toEqual(entries)

    // Back to the first answer, in a fork and in the session itself.
    const answer = entries!.filter(({ type }) => type === 'assistant')[1]!
    const at = (await resumed.versionOf(key, answer.uuid!))!
    const fork = await resumed.history.fork(resumed.refOf(key), { at, sessionId: randomUUID() })
    await resumed.history.rewind(resumed.refOf(key), at)
    for (const sessionId of [fork.id, key.sessionId]) {
      // Each run has a folder of its own: what is sent of what was before is from the store.
      runner.will(says('I added them.'))
      await runner.run('How?', { sessionStore: resumed, resume: sessionId })
      expect(runner.heard()).toEqual([...SUM.slice(0, 2), '= [{"type":"text","text":"3"}]', SUM[3], 'How?'])
      const there = await resumed.load({ ...key, sessionId })
      expect(textsOf(there)).toEqual([...SUM, 'How?', 'I added them.'])
    }
    expect((await resumed.listSessions(key.projectKey)).map(({ sessionId }) => sessionId).sort()).toEqual(
      [fork.id, key.sessionId].sort()
    )
    await later.stop()
  } finally {
    await runner.close()
  }
}
