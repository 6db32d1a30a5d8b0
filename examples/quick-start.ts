// Keep a conversation, read it back, send it to a model.
import { createSessionHistory, fromOpenAIMessage, toOpenAIMessages } from 'turnlog'

const history = await createSessionHistory()

const session = await history.createSession('ada', 'trip', { metadata: { title: 'To Oslo' } })
await history.appendMessage(session, { role: 'user', content: 'Is there a train to Oslo tonight?' })

// A list is one commit: all of it is stored, or nothing.
await history.appendMessage(session, [
  fromOpenAIMessage({
    role: 'assistant',
    content: null,
    tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'find_trains', arguments: '{"to":"Oslo"}' } }]
  }),
  fromOpenAIMessage({ role: 'tool', tool_call_id: 'call_1', name: 'find_trains', content: '["22:47"]' })
])

// A reply that grows: the last message of that id is replaced.
for (const content of ['Yes', 'Yes: one at', 'Yes: one at 22:47.']) {
  await history.putMessage(session, { id: 'reply', role: 'assistant', content })
}

const now = await history.getSession('ada', 'trip')
console.log(`${now?.messages.length} messages after ${now?.version} events`)
console.log('For the next call of the model:')
for (const message of toOpenAIMessages(now?.messages ?? [])) console.log(' ', JSON.stringify(message))

await history.updateMetadata(session, { set: { tags: ['travel'] } })
for (const { id, metadata } of await history.listSessions('ada')) console.log(id, metadata)

await history.stop()
