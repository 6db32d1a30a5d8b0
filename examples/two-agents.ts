// Two agents and one session: a turn keeps their tool calls from mixing.
import { createSessionHistory, isTurnlogError, openToolCalls, type Turn } from 'turnlog'

const history = await createSessionHistory()
const session = await history.createSession('ada', 'shared')
await history.appendMessage(session, { role: 'user', content: 'Book a train, and a hotel.' })

async function work(turn: Turn, call: string): Promise<void> {
  const data = { call_id: call, name: call }
  await turn.append({ type: 'function_call', role: 'assistant', content: [{ type: 'data', data }] })
  await turn.append({
    type: 'function_call_output',
    role: 'tool',
    content: [{ type: 'data', data: { ...data, output: 'ok' } }]
  })
}

const trains = await history.beginTurn(session, { owner: 'trains' })
const seen = (await history.getSession('ada', 'shared'))!
console.log('the session is held by', seen.turn?.owner, 'for', seen.turn!.expiresAt - seen.updatedAt, 'ms')

// The other one is told so, or waits for its turn.
const busy: unknown = await history.appendMessage(session, { content: 'Me too!' }).catch((reason: unknown) => reason)
if (isTurnlogError(busy, 'TURN_BUSY')) console.log('the hotel agent:', busy.code, 'by', busy.owner)
const waiting = history.beginTurn(session, { owner: 'hotels', onBusy: 'wait' })

await work(trains, 'book_train')
await trains.end()
const hotels = await waiting
await work(hotels, 'book_hotel')
await hotels.end()

// A turn that is left without an end is set back: half a run is no run.
{
  await using stray = await history.beginTurn(session, { owner: 'taxis' })
  await stray.append({
    type: 'function_call',
    content: [{ type: 'data', data: { call_id: 'taxi', name: 'book_taxi' } }]
  })
  console.log('open calls within the turn:', openToolCalls(stray.session).length)
}

const { messages } = (await history.getSession('ada', 'shared'))!
const calls = messages.flatMap(({ type, content }) =>
  content?.map(({ data }) => `${type} ${(data as { name?: string } | undefined)?.name ?? ''}`)
)
console.log(calls.slice(1).join('\n'))
console.log('open calls:', openToolCalls({ messages }).length)
await history.stop()
