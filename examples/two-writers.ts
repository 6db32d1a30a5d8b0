// Several writers, one session: nothing is lost, nothing comes twice, and nobody builds on what is no longer so.
import { createSessionHistory, isTurnlogError, memoryStore } from 'turnlog'

// Two services over one store, as two processes would have it.
const store = memoryStore()
const [here, there] = [await createSessionHistory({ store }), await createSessionHistory({ store })]
const session = await here.createSession('ada', 'trip')

// 1. By default appends go in whatever others have written meanwhile, in one order for all.
await Promise.all(
  Array.from({ length: 100 }, (_, i) =>
    (i % 2 ? here : there).appendMessage(session, { role: 'user', content: `note ${i}` })
  )
)
const seen = await here.getSession('ada', 'trip')
const texts = new Set(seen?.messages.map(({ content }) => JSON.stringify(content)))
console.log(`1. ${seen?.messages.length} messages, ${texts.size} different ones, at version ${seen?.version}`)

// 2. With an expected version, a write is refused if someone else was first.
await there.appendMessage(session, { role: 'user', content: 'Make it Bergen.' })
const answer = { role: 'assistant', content: 'Booked: Oslo, 22:47.' } as const
try {
  await here.appendMessage(session, answer, { expectedVersion: seen?.version ?? 0 })
} catch (error) {
  if (!isTurnlogError(error, 'VERSION_CONFLICT')) throw error
  console.log(`2. refused: expected version ${error.expected}, the log is at ${error.actual}`)
}

// 3. With a key, a call can be made again when its answer was lost.
const first = await here.appendMessage(session, answer, { idempotencyKey: 'booking-7' })
const again = await there.appendMessage(session, answer, { idempotencyKey: 'booking-7' })
console.log(`3. stored once: version ${first?.version}, and again version ${again?.version}`)
try {
  await here.appendMessage(session, { role: 'assistant', content: 'Booked: Bergen.' }, { idempotencyKey: 'booking-7' })
} catch (error) {
  if (!isTurnlogError(error, 'IDEMPOTENCY_CONFLICT')) throw error
  console.log(`   refused: ${error.message}`)
}

// 4. Of many who would begin a session, one does.
const begun = await Promise.allSettled(
  [here, there, here, there].map((service) => service.createSession('ada', 'new', { expectedVersion: 'none' }))
)
console.log(
  '4.',
  begun
    .map((result) => (result.status === 'fulfilled' ? 'begun' : 'refused'))
    .toSorted()
    .join(', ')
)

await Promise.all([here.stop(), there.stop()])
