// A run went wrong: fork it from the message before, try again there, and compare. The first run stays as it was.
import { createSessionHistory, diff, fromOpenAIMessage, openToolCalls } from 'turnlog'

const history = await createSessionHistory()
const run = await history.createSession('ada', 'run-1', { metadata: { title: 'A train to Oslo' } })

await history.appendMessage(run, { role: 'user', content: 'A train to Oslo tonight, please.' })
const asked = await history.appendMessage(
  run,
  fromOpenAIMessage({
    role: 'assistant',
    content: null,
    tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'find_trains', arguments: '{"to":"Oslo"}' } }]
  })
)
console.log(
  'open calls:',
  openToolCalls(asked!).map(({ name, callId }) => `${name} (${callId})`)
)

await history.appendMessage(run, fromOpenAIMessage({ role: 'tool', tool_call_id: 'call_1', content: '[]' }))
const failed = await history.appendMessage(run, { role: 'assistant', content: 'There is no train.' })

// The tool was down. Version 3 is the session as it was when the call was open.
const retry = await history.fork(run, { at: 3, sessionId: 'run-2' })
await history.appendMessage(retry, fromOpenAIMessage({ role: 'tool', tool_call_id: 'call_1', content: '["22:47"]' }))
const better = await history.appendMessage(retry, { role: 'assistant', content: 'There is one at 22:47.' })

console.log(`${retry.id} was forked from ${retry.forkedFrom?.sessionId} at version ${retry.forkedFrom?.version}`)
console.log(String(diff(failed!, better!)))
console.log(
  'forks:',
  (await history.forks(run)).map(({ id }) => id)
)

// What a fork shows outlives its parent.
await history.purgeSession('ada', 'run-1')
console.log('after the purge of run-1:', (await history.getSession('ada', 'run-2'))?.messages.length, 'messages')
await history.stop()
