// Nothing is overwritten: what a session was at any version, or at any time, can be read.
import { createSessionHistory, type Session } from 'turnlog'

// A clock of our own, so that this prints the same every time. Without one it is the system's.
let now = Date.parse('2026-01-01T09:00:00Z')
const history = await createSessionHistory({ clock: { now: () => now } })
const passMinute = (): void => void (now += 60_000)

const trip = await history.createSession('ada', 'trip')
passMinute()
await history.appendMessage(trip, { id: 'question', role: 'user', content: 'A train to Oslo?' })
passMinute()
await history.appendMessage(trip, { id: 'answer', role: 'assistant', content: 'At 22:47.' })
passMinute()
await history.putMessage(trip, { id: 'question', role: 'user', content: 'A train to Bergen?' })
await history.commit(trip, [{ type: 'truncate', length: 1 }])
passMinute()
await history.deleteSession('ada', 'trip')

console.log('The log, which only grows:')
for await (const { version, at, type } of history.readEvents('ada', 'trip')) {
  console.log(`  ${version}  ${new Date(at).toISOString().slice(11, 16)}  ${type}`)
}

console.log('What was there:')
for (const version of [1, 2, 3, 4, 5, 6]) {
  show(`at version ${version}`, await history.getSession('ada', 'trip', { at: version }))
}
show('at 09:01:30', await history.getSession('ada', 'trip', { at: new Date('2026-01-01T09:01:30Z') }))
show('in 2025', await history.getSession('ada', 'trip', { at: new Date('2025-12-31') }))

await history.stop()

function show(when: string, session: Session | null): void {
  const texts = session?.messages.map(({ content }) => content?.map((part) => ('text' in part ? part.text : '')).join())
  console.log(`  ${when.padEnd(12)}`, texts ?? 'no session')
}
