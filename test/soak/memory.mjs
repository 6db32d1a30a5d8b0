// How much memory a service takes whose store has far more sessions than it keeps active: node memory.mjs DIST SESSIONS CALLS
// Writes and reads sessions at random, checks what comes back, and prints the peak of the resident memory as JSON. Plain
// JavaScript, over the compiled package, as what would compile it takes as much memory as what is measured.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SingleBar } from 'cli-progress'

const [dist, sessions, calls] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])]
const { createSessionHistory } = await import(`${dist}/index.js`)
const { sqliteStore } = await import(`${dist}/stores/sqlite.js`)

const ACTIVE = 1_000
const MESSAGES = 20
const AT_ONCE = 8

const directory = mkdtempSync(join(tmpdir(), 'turnlog-soak-'))
const path = join(directory, 'sessions.db')
const history = await createSessionHistory({
  store: sqliteStore({ path, synchronous: 'normal' }),
  maxActiveSessions: ACTIVE,
  missing: { get: 'null', append: 'throw' }
})

const base = process.memoryUsage.rss()
let peak = base
// What each session came to when it was last written, in 8 bytes of a hash: all of it would be the memory that is measured.
const digests = Buffer.alloc(8 * sessions)
const bar = new SingleBar({ format: '  {bar} {value} of {total} {what}', stream: process.stderr })
const random = generator(42)

await run('sessions made', sessions, async (i) => {
  const session = await history.createSession(userOf(i), `s${i}`)
  const messages = Array.from({ length: MESSAGES }, (_, k) => message(`m${k}`, k))
  note(i, await history.appendMessage(session, messages))
})

let compared = 0
await run('calls', calls, async () => {
  const i = Math.floor(random() * sessions)
  const ref = { userId: userOf(i), id: `s${i}` }
  switch (Math.floor(random() * 4)) {
    case 0:
      return note(i, await history.putMessage(ref, message(`m${Math.floor(random() * MESSAGES)}`, random())))
    case 1: {
      const last = message(`m${MESSAGES - 1}`, random())
      const changes = [
        { type: 'truncate', length: MESSAGES - 1 },
        { type: 'append', messages: [last] }
      ]
      return note(i, await history.commit(ref, changes))
    }
    default: {
      const before = digestAt(i)
      const session = await history.getSession(ref.userId, ref.id)
      // Unless it was written meanwhile, by one of the other callers.
      if (!before.equals(digestAt(i))) return undefined
      assert(before.equals(digest(session)), `Session ${ref.id} has come back as another`)
      compared++
    }
  }
  return undefined
})

const bytes = statSync(path).size
await history.stop()
rmSync(directory, { recursive: true })
process.stdout.write(`${JSON.stringify({ base, peak, bytes, compared })}\n`)

/** Calls `call` with 0, 1, …, some of them at once. */
async function run(what, total, call) {
  if (process.stderr.isTTY) bar.start(total, 0, { what })
  let next = 0
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (next < total) {
        const i = next++
        await call(i)
        if (i % 100 !== 0) continue
        peak = Math.max(peak, process.memoryUsage.rss())
        bar.update(i)
      }
    })
  )
  bar.stop()
}

function message(id, seed) {
  return { id, role: 'user', content: `${seed} `.padEnd(200, 'what is said in a conversation ') }
}

function note(i, session) {
  digest(session).copy(digests, 8 * i)
}

function digestAt(i) {
  return Buffer.from(digests.subarray(8 * i, 8 * i + 8))
}

function digest(session) {
  return createHash('sha256').update(JSON.stringify(session)).digest().subarray(0, 8)
}

function userOf(i) {
  return `user ${Math.floor(i / 50)}`
}

/** Numbers from 0 to 1 that look random, the same in every run: mulberry32. */
function generator(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
