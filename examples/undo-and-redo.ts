// Undo and redo are events, too: nothing is lost, and every version stays readable.
import { createSessionHistory, isTurnlogError, type Session } from 'turnlog'

const history = await createSessionHistory()
const session = await history.createSession('ada', 'draft')
const show = (what: string, { version, messages }: Session): void => {
  const texts = messages.map(({ content }) => content?.map((part) => (part.type === 'text' ? part.text : '')).join(''))
  console.log(`${what.padEnd(24)} version ${version}: ${texts.join(' | ')}`)
}

await history.appendMessage(session, { role: 'user', content: 'Write a line about trains.' })
// A reply that grows while it streams: the puts of one message are one step.
for (const text of ['Trains', 'Trains run', 'Trains run at night.']) {
  await history.putMessage(session, { id: 'reply', role: 'assistant', content: text })
}
const written = await history.appendMessage(session, { role: 'user', content: 'Shorter!' })
show('written', written!)

show('undo', await history.undo(session))
show('undo again: the reply', await history.undo(session))
show('redo', await history.redo(session))

const rewound = await history.rewind(session, 2, { reason: 'start from the question' })
show('rewind to version 2', rewound)
show('undo of the rewind', await history.undo(session))

await history.appendMessage(session, { role: 'user', content: 'In Norwegian, please.' })
const error: unknown = await history.redo(session).catch((reason: unknown) => reason)
console.log('redo after a write:', isTurnlogError(error) && error.code)

console.log('the log:')
for await (const { version, type, data } of history.readEvents('ada', 'draft')) {
  const how =
    type === 'rewound' ? ` to version ${data.toVersion}: ${data.kind}${data.reason ? ` (${data.reason})` : ''}` : ''
  console.log(`  ${version} ${type}${how}`)
}
show('as it was at version 6', (await history.getSession('ada', 'draft', { at: 6 }))!)
await history.stop()
