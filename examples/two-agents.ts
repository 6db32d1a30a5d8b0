// Two agents at work on one session at once: turns keep their tool calls from mixing.
import { createSessionHistory, isTurnlogError, openToolCalls } from 'turnlog'

const history = await createSessionHistory()
const session = await history.createSession('ada', 'shared')
await history.appendMessage(session, { role: 'user', content: 'Book a train, and a hotel.' })

/** Calls a tool in a turn of its own: all of a run, or none of it. */
async function agent(owner: string, call: string, tool: () => Promise<string>): Promise<void> {
  console.log(`${owner}: asks for a turn`)
  // Disposed without an end, as when the tool fails, the turn sets the session back: half a run is no run.
  await using turn = await history.beginTurn(session, { owner, onBusy: 'wait' })
  console.log(`${owner}: has it, after ${turn.session.messages.length} messages`)
  const data = { call_id: call, name: call }
  await turn.append({ type: 'function_call', role: 'assistant', content: [{ type: 'data', data }] })
  const output = await tool()
  await turn.append({
    type: 'function_call_output',
    role: 'tool',
    content: [{ type: 'data', data: { ...data, output } }]
  })
  console.log(`${owner}: ends it, after ${turn.session.messages.length} messages`)
  await turn.end()
}

// A tool takes its time: here, as long as others need to try to write.
async function bookTrain(): Promise<string> {
  const { turn } = (await history.getSession('ada', 'shared'))!
  console.log(`everybody sees that ${turn?.owner} holds the session`)
  const error: unknown = await history.appendMessage(session, { content: 'Me too!' }).catch((reason: unknown) => reason)
  if (isTurnlogError(error, 'TURN_BUSY')) console.log(`the user, who does not wait: ${error.code} by ${error.owner}`)
  return 'ok'
}

async function bookTaxi(): Promise<string> {
  throw new Error('no taxi at night')
}

await Promise.all([
  agent('trains', 'book_train', bookTrain),
  agent('hotels', 'book_hotel', async () => 'ok'),
  agent('taxis', 'book_taxi', bookTaxi).catch((error: unknown) => console.log('taxis:', String(error)))
])

const { messages } = (await history.getSession('ada', 'shared'))!
for (const { type, content } of messages.slice(1)) {
  for (const { data } of content ?? []) console.log(`  ${type} ${(data as { name: string }).name}`)
}
console.log('open calls:', openToolCalls({ messages }).length)
await history.stop()
