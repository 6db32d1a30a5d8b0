// The OpenAI Agents SDK with its history in turnlog: a payment stays known, though a guardrail has blocked the answer and the process
// has ended; and a run can be tried again beside the first. A real runner, and a model that answers from a list.
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Agent, run, setTracingDisabled, tool, type AgentInputItem } from '@openai/agents-core'
import { assistantMessage, functionCall, ScriptedModel, type ScriptedModelInput } from '@openai/agents-core/testing'
import { createSessionHistory } from 'turnlog'
import { TurnlogSession } from 'turnlog/openai-agents'
import { sqliteStore } from 'turnlog/sqlite'
import { z } from 'zod'

setTracingDisabled(true)
const store = { path: join(mkdtempSync(join(tmpdir(), 'turnlog-')), 'sessions.db') }
const pay = tool({
  name: 'pay',
  description: 'Pays a bill',
  parameters: z.object({ euros: z.number() }),
  execute: ({ euros }) => `${euros} euros paid`
})
const noAccounts = {
  name: 'no account numbers',
  execute: async ({ agentOutput }: { agentOutput: unknown }) => ({
    tripwireTriggered: /NL\d\d/.test(String(agentOutput)),
    outputInfo: 'an account number'
  })
}
const clerk = (...answers: ScriptedModelInput[]): Agent =>
  new Agent({ name: 'clerk', model: new ScriptedModel(answers), tools: [pay], outputGuardrails: [noAccounts] })

// One process: the bill is paid, and the answer is blocked.
const history = await createSessionHistory({ store: sqliteStore(store) })
const blocked = clerk(
  [functionCall('pay', { euros: 40 }, { callId: 'c1' })],
  [assistantMessage('Paid from NL91 ABNA.')]
)
const bill = new TurnlogSession({ history, userId: 'ada', sessionId: 'bill' })
await run(blocked, 'Pay 40 euros.', { session: bill }).catch((error: unknown) => console.log((error as Error).message))
await history.stop()

// Another, later: what was done is known, so nothing is paid twice.
const later = await createSessionHistory({ store: sqliteStore(store) })
const session = new TurnlogSession({ history: later, userId: 'ada', sessionId: 'bill' })
show('after a restart', await session.getItems())
await run(clerk([assistantMessage('Yes: 40 euros.')]), 'Is it paid?', { session })
show('and on', await session.getItems())

// The same question again, beside the first answer.
const { version } = (await session.history.getSession('ada', 'bill'))!
const { id } = await session.history.fork(session, { at: version - 2 })
const other = new TurnlogSession({ history: later, userId: 'ada', sessionId: id })
await run(clerk([assistantMessage('It was paid today.')]), 'Is it paid?', { session: other })
show('in a fork', (await other.getItems()).slice(-2))
await later.stop()

function show(title: string, items: readonly AgentInputItem[]): void {
  console.log(`${title}: ${items.map((item) => ('role' in item ? item.role : item.type)).join(', ')}`)
}
