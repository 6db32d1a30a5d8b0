// Follow a session: all events from a version on, then live. The reader may stop, and go on later from where it was.
import { createSessionHistory } from 'turnlog'

const history = await createSessionHistory()
const session = { userId: 'ada', id: 'live' }

/** Prints what happens in a session from a version on; its `next` resolves once it has printed one event more. */
async function* follow(from: number): AsyncGenerator<number> {
  for await (const { version, type } of history.subscribe('ada', 'live', { from })) {
    console.log(`    event ${version}: ${type}`)
    yield version
  }
}

async function say(content: string): Promise<void> {
  console.log(`writes "${content}"`)
  await history.appendMessage(session, { role: 'user', content })
}

// Begun before the session exists: it is waited for, and each event comes as it is stored.
console.log('follows from version 1')
let events = follow(1)
console.log('creates the session')
await Promise.all([events.next(), history.createSession('ada', 'live')])
for (const content of ['one', 'two']) await Promise.all([events.next(), say(content)])
await events.return(undefined)

console.log('is away')
for (const content of ['three', 'four']) await say(content)

console.log('follows from version 4: first what is in the log')
events = follow(4)
for (const _ of ['three', 'four']) await events.next()
console.log('then live')
await Promise.all([events.next(), say('five')])
console.log('deletes the session')
await Promise.all([events.next(), history.deleteSession('ada', 'live')])
console.log('stops: the subscription ends, without an error')
const [{ done }] = await Promise.all([events.next(), history.stop()])
console.log('ended:', done)
