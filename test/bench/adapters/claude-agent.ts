import { randomUUID } from 'node:crypto'
import type { SDKUserMessage, SessionKey, SessionStoreEntry } from '@anthropic-ai/claude-agent-sdk'
import { TurnlogSessionStore } from '../../../dist/adapters/claude-agent.js'
import type { SessionHistoryService } from '../../../dist/index.js'
import { calls, claude, says } from '../../adapters/claude-agent-kit.ts'
import { timed } from './timed.ts'

/**
 * Turns of the real Claude Code with a tool call each, in one session and one process: how many ms its store's methods take for what it appended. They are called again,
 * under another key, once it has ended: while it runs, its own threads have the processor, and its answers come in between.
 */
export async function turns(history: SessionHistoryService, count: number): Promise<number> {
  const { timed: store, spent } = timed(new TurnlogSessionStore({ history, userId: 'ada' }))
  const appended: [SessionKey, SessionStoreEntry[]][] = []
  const recording = {
    append: (key: SessionKey, entries: SessionStoreEntry[]) => {
      appended.push([key, entries])
      return store.append(key, entries)
    },
    load: (key: SessionKey) => store.load(key)
  }
  const runner = await claude()
  try {
    const all = Array.from({ length: count }, (_, i) => i)
    runner.will(...all.flatMap((i) => [calls(`toolu_${i}`, 'add', { a: i, b: 1 }), says(`It is ${i + 1}.`)]))
    let answered = (): void => undefined
    async function* prompts(): AsyncIterable<SDKUserMessage> {
      for (const i of all) {
        const done = new Promise<void>((resolve) => (answered = resolve))
        yield { type: 'user', message: { role: 'user', content: `What is ${i} + 1?` }, parent_tool_use_id: null }
        await done
      }
    }
    const options = { sessionStore: recording, sessionId: randomUUID() }
    const { error } = await runner.run(prompts(), options, ({ type }) => type === 'result' && answered())
    if (error !== undefined) throw error
  } finally {
    await runner.close()
  }
  const before = spent()
  for (const [key, entries] of appended) await store.append({ ...key, projectKey: 'again' }, entries)
  return spent() - before
}
