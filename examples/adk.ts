// Google's ADK with its sessions in turnlog: after a restart, an agent that has booked the wrong train is set back to before that question, as ADK can in Python
// and not in TypeScript, and the first try stays beside it in a fork. A real runner, and a model that answers from a list.
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BaseLlm, FunctionTool, LlmAgent, Runner } from '@google/adk'
import type { LlmRequest, LlmResponse, Session } from '@google/adk'
import { createSessionHistory } from 'turnlog'
import { TurnlogSessionService } from 'turnlog/adk'
import { sqliteStore } from 'turnlog/sqlite'
import { z } from 'zod'

type Part = { text: string } | { functionCall: { name: string; args: { time: string } } }

class ListModel extends BaseLlm {
  readonly answers: Part[] = []
  override async *generateContentAsync({ contents }: LlmRequest): AsyncGenerator<LlmResponse, void> {
    console.log(`  the model is asked, with ${contents.length} contents`)
    yield { content: { role: 'model', parts: [this.answers.shift()!] } }
  }
  override connect(): never {
    throw new Error('not live')
  }
}

const store = { path: join(mkdtempSync(join(tmpdir(), 'turnlog-')), 'sessions.db') }
const key = { appName: 'trains', userId: 'ada', sessionId: 'trip' }
const book = new FunctionTool({
  name: 'book',
  description: 'Books a train',
  parameters: z.object({ time: z.string() }),
  execute: ({ time }, context) => context?.state.set('booked', time)
})
const booking = (time: string): Part[] => [{ functionCall: { name: 'book', args: { time } } }, { text: 'Booked.' }]

async function ask(sessionService: TurnlogSessionService, text: string, answers: Part[]): Promise<void> {
  const model = new ListModel({ model: 'list' })
  model.answers.push(...answers)
  const runner = new Runner({ ...key, agent: new LlmAgent({ name: 'clerk', model, tools: [book] }), sessionService })
  for await (const _ of runner.runAsync({ ...key, newMessage: { role: 'user', parts: [{ text }] } })) continue
  show(text, (await sessionService.getSession(key))!)
}

const before = new TurnlogSessionService({ history: await createSessionHistory({ store: sqliteStore(store) }) })
await before.createSession(key)
await ask(before, 'A train to Oslo?', [{ text: 'At 21:10 or at 22:47.' }])
await ask(before, 'Book the late one.', booking('21:10'))
await before.history.stop()

const service = new TurnlogSessionService({ history: await createSessionHistory({ store: sqliteStore(store) }) })
const fork = await service.history.fork(service.refOf(key))
const { events } = (await service.getSession(key))!
show('rewound', await service.rewind({ ...key, rewindBeforeInvocationId: events.at(-1)!.invocationId }))
await ask(service, 'Book the 22:47.', booking('22:47'))
show('in the fork', (await service.getSession({ ...key, sessionId: fork.id }))!)
await service.history.stop()

function show(title: string, session: Session): void {
  console.log(`${title}: ${session.events.length} events, state: ${JSON.stringify(session.state)}`)
}
