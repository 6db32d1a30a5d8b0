import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSessionHistory, memoryStore, type EventStore, type SessionHistoryService } from '../../dist/index.js'
import { sqliteStore } from '../../dist/stores/sqlite.js'
import { turns as adk } from './adapters/adk.ts'
import { turns as aiSdk } from './adapters/ai-sdk.ts'
import { turns as claudeAgent } from './adapters/claude-agent.ts'
import { turns as langgraph } from './adapters/langgraph.ts'
import { turns as openaiAgents } from './adapters/openai-agents.ts'
import { median, rounds, type Contender } from './rounds.ts'
import type { Row, Workload } from './workloads.ts'

/** What is spent in an adapter during `count` turns of its framework's real runner, in ms. */
type Turns = (history: SessionHistoryService, count: number) => Promise<number>

const TURNS = 100

export const adapterWorkloads: readonly Workload[] = [
  workload('adk', adk),
  workload('ai-sdk', aiSdk),
  workload('claude-agent', claudeAgent),
  workload('langgraph', langgraph),
  workload('openai-agents', openaiAgents)
]

function workload(name: string, turns: Turns): Workload {
  return {
    name,
    run: async ({ isQuick }): Promise<Row[]> => {
      const directory = mkdtempSync(join(tmpdir(), 'turnlog-bench-'))
      let files = 0
      const results = await rounds(isQuick ? 3 : 9, {
        memory: over(() => memoryStore(), turns),
        SQLite: over(() => sqliteStore({ path: join(directory, `${files++}.db`) }), turns)
      })
      rmSync(directory, { recursive: true })
      const [inMemory, onDisk] = [median(results.memory) / 1000, median(results.SQLite) / 1000]
      return [
        {
          measure: `${name}: turnlog's part of a turn, of ${TURNS}`,
          unit: 'µs',
          results,
          target: 'at most 1 ms, 3 ms',
          reached: `${inMemory.toFixed(2)} ms, ${onDisk.toFixed(2)} ms`,
          isMet: inMemory <= 1 && onDisk <= 3
        }
      ]
    }
  }
}

function over(store: () => EventStore, turns: Turns): Contender {
  return async () => {
    const history = await createSessionHistory({ store: store() })
    const spent = await turns(history, TURNS)
    await history.stop()
    return (spent * 1000) / TURNS
  }
}
