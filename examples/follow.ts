// Follow a session: all events from a version on, then live. The reader may stop, and go on later from where it was.
import { createSessionHistory, type SessionHistoryService } from 'turnlog'

const history = await createSessionHistory()

/** Prints what happens in a session from a version on, until `last`; gives the version to go on from. */
async function follow(from: number, last: number): Promise<number> {
  let next = from
  for await (const event of history.subscribe('ada', 'live', { from })) {
    console.log(`  ${event.version} ${event.type}`)
    next = event.version + 1
    if (next > last) break
  }
  return next
}

async function write(service: SessionHistoryService, texts: readonly string[]): Promise<void> {
  for (const content of texts) await service.appendMessage({ userId: 'ada', id: 'live' }, { role: 'user', content })
}

// Begun before the session exists: it is waited for.
console.log('following from version 1')
const first = follow(1, 3)
await history.createSession('ada', 'live')
await write(history, ['one', 'two', 'three', 'four'])
const next = await first

console.log(`away until version ${next}: what came meanwhile is read from the log, then it is live again`)
const second = follow(next, 8)
await history.updateMetadata({ userId: 'ada', id: 'live' }, { set: { title: 'Followed' } })
await write(history, ['five'])
await history.deleteSession('ada', 'live')
console.log(`seen up to version ${(await second) - 1}: none left out, none twice`)
await history.stop()
