import { createSessionHistory, type Message, type Session } from 'turnlog'

const history = await createSessionHistory()
const created: Session = await history.createSession('ada')
await history.appendMessage(created, { role: 'user', content: 'Hello' })
const session = await history.getSession('ada', created.id)
await history.stop()

const messages: readonly Message[] = session?.messages ?? []
const text = JSON.stringify(messages[0]?.content)
if (messages.length !== 1 || text !== '[{"type":"text","text":"Hello"}]') throw new Error(`It gave back ${text}`)
console.log(`${created.userId} said ${text}`)
