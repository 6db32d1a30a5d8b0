import { afterAll, describe, it } from 'vitest'
import { natsStore } from '../../src/stores/nats.ts'
import { postgresStore } from '../../src/stores/postgres.ts'
import { natsMissing, natsServer } from '../servers/nats.ts'
import { postgresMissing, postgresServer } from '../servers/postgres.ts'
import { scenario as adk } from '../adapters/adk-scenario.ts'
import { scenario as aiSdk } from '../adapters/ai-sdk-scenario.ts'
import { missingBinary } from '../adapters/claude-agent-kit.ts'
import { scenario as claudeAgent } from '../adapters/claude-agent-scenario.ts'
import { openOver, type Open, type Scenario } from '../adapters/kit.ts'
import { scenario as langgraph } from '../adapters/langgraph-scenario.ts'
import { scenario as openaiAgents } from '../adapters/openai-agents-scenario.ts'

/** What is run, and why it cannot be here. */
const SCENARIOS: readonly {
  readonly name: string
  readonly scenario: Scenario
  readonly lacks?: string | undefined
}[] = [
  { name: 'adk', scenario: adk },
  { name: 'ai-sdk', scenario: aiSdk },
  { name: 'claude-agent', scenario: claudeAgent, lacks: missingBinary() },
  { name: 'langgraph', scenario: langgraph },
  { name: 'openai-agents', scenario: openaiAgents }
]

const postgres = postgresMissing === undefined ? await postgresServer() : undefined
const nats = natsMissing === undefined ? await natsServer() : undefined
afterAll(async () => {
  await postgres?.stop()
  await nats?.[Symbol.asyncDispose]()
}, 60_000)

let made = 0

/** Stores on the servers, fresh for each test. */
const SERVERS: readonly { readonly name: string; readonly missing: string | undefined; readonly open: () => Open }[] = [
  {
    name: 'PostgreSQL',
    missing: postgresMissing,
    open: () => {
      const schema = `adapter_${++made}`
      return openOver(() => postgresStore({ connectionString: postgres!.url, schema, maxConnections: 4 }))
    }
  },
  {
    name: 'NATS',
    missing: natsMissing,
    open: () => {
      const prefix = `adapter${++made}`
      return openOver(() => natsStore({ servers: nats!.url, prefix }))
    }
  }
]

describe.each(SERVERS)('over $name, the real runner', ({ missing, open }) => {
  it.for(SCENARIOS)(
    'of $name goes through its scenario',
    { timeout: 60_000 },
    async ({ scenario, lacks }, { skip }) => {
      skip(missing !== undefined, missing)
      skip(lacks !== undefined, lacks)
      await scenario(open())
    }
  )
})
