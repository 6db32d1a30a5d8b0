import { createSessionHistory } from '../../dist/index.js'
import { roleOf, textOf } from './subjects.ts'

// Prints the bytes of heap per session, per event or per message alone. Everything is loaded and warm before the heap is first
// looked at, and the messages alone are made as a service gives them back: frozen, with an id, from the same texts.

const SESSIONS = 5000
const EVENTS = 40_000
const PER_SESSION = 2000

const works: Record<string, { readonly count: number; readonly fill: () => Promise<unknown> }> = {
  sessions: {
    count: SESSIONS,
    async fill() {
      const history = await createSessionHistory()
      for (let i = 0; i < SESSIONS; i++) await history.createSession('user')
      return history
    }
  },
  events: {
    count: EVENTS,
    async fill() {
      const history = await createSessionHistory()
      for (let i = 0; i < EVENTS; i += PER_SESSION) {
        const session = await history.createSession('user')
        for (let k = 0; k < PER_SESSION; k++) {
          const content = [{ type: 'text' as const, text: textOf(i + k) }]
          await history.appendMessage(session, { role: roleOf(k), content })
        }
      }
      return history
    }
  },
  messages: {
    count: EVENTS,
    async fill() {
      const messages: object[] = []
      for (let i = 0; i < EVENTS; i++) {
        const part = Object.freeze({ type: 'text', text: textOf(i) })
        const id = Buffer.from(`msg_${String(i).padStart(21, '0')}`).toString('latin1')
        const content = Object.freeze([part])
        const known = { id, object: 'message', type: 'message', status: 'created', role: roleOf(i), content }
        messages.push(Object.freeze(known))
      }
      return messages
    }
  }
}

const { count, fill } = works[process.argv[2] ?? '']!
// What is compiled and cached once for all is no matter of how many there are.
const kept = [await fill()]
const before = heapUsed()
kept.push(await fill())
const bytes = heapUsed() - before
console.log(kept.length === 2 ? bytes / count : NaN)

function heapUsed(): number {
  for (let i = 0; i < 3; i++) globalThis.gc!()
  return process.memoryUsage().heapUsed
}
