// Messages of your own: any Standard Schema (zod, valibot, arktype, …) checks them, and the types follow it.
import { createSessionHistory, isTurnlogError, type StandardSchema } from 'turnlog'
import { z } from 'zod'

const turn = z.discriminatedUnion('speaker', [
  z.object({ speaker: z.literal('caller'), said: z.string().min(1), mood: z.enum(['calm', 'cross']).default('calm') }),
  z.object({ speaker: z.literal('agent'), said: z.string().min(1), confidence: z.number().min(0).max(1) })
])

const calls = await createSessionHistory({ message: turn })
const call = await calls.createSession('ada', 'call')
await calls.appendMessage(call, { speaker: 'caller', said: 'My train was cancelled.' })
const updated = await calls.appendMessage(call, { speaker: 'agent', said: 'I am sorry.', confidence: 0.9 })
for (const message of updated?.messages ?? []) {
  // The compiler knows which fields each speaker has.
  const note = message.speaker === 'caller' ? message.mood : `${message.confidence * 100} % sure`
  console.log(`${message.speaker} (${note}): ${message.said}`)
}

try {
  await calls.appendMessage(call, [
    { speaker: 'caller', said: 'This one is fine …' },
    { speaker: 'agent', said: '… but this one is not.', confidence: 7 }
  ])
} catch (error) {
  if (!isTurnlogError(error, 'INVALID_MESSAGE')) throw error
  console.log(`Refused, both of them: ${error.path.join('.')}`)
}

// A schema by hand, and a second format over the same store: `withMessage` names it.
interface Note {
  readonly note: string
}
const noteSchema: StandardSchema<Note> = {
  '~standard': {
    version: 1,
    vendor: 'by hand',
    validate: (value) =>
      typeof (value as Note | null)?.note === 'string'
        ? { value: { note: (value as Note).note.trim() } }
        : { issues: [{ message: 'a note is a string', path: ['note'] }] }
  }
}
const notes = calls.withMessage(noteSchema, { format: 'note' })
const pad = await notes.createSession('ada', 'pad')
console.log((await notes.appendMessage(pad, { note: '  call back at 9  ' }))?.messages)

// A session is read by those who know its format.
await notes.getSession('ada', 'call').catch((error: unknown) => {
  if (isTurnlogError(error, 'FORMAT_MISMATCH')) console.log(`Refused: ${error.message}`)
})
await calls.stop()
