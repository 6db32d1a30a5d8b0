// node zipf-process.mjs FILE SESSIONS OPERATIONS SEED: prints what it measured, as JSON. In JavaScript, so that nothing that compiles it
// is in the memory of the process.
import { createSessionHistory } from '../../../dist/index.js'
import { sqliteStore } from '../../../dist/stores/sqlite.js'

const [path = '', sessions = 0, operations = 0, seed = 0] = process.argv
  .slice(2)
  .map((arg, i) => (i ? Number(arg) : arg))
const WORKERS = 64
const random = randoms(Number(seed))
// As somebody would have it who has 300 MB: of the default of 256 MB for sessions alone, garbage comes on top.
const bounds = { maxActiveSessions: 1_000, maxActiveBytes: 64 * 2 ** 20 }
const history = await createSessionHistory({ store: sqliteStore({ path: String(path) }), ...bounds })
const kinds = {
  'a turn': turn,
  'a past version': past,
  'a first page': page,
  'a fork': fork,
  'a rewind': rewind
}
const taken = new Map(Object.keys(kinds).map((kind) => [kind, []]))

// What is compiled and what is active at first is not counted.
await load(Number(operations) / 10)
for (const times of taken.values()) times.length = 0
const start = performance.now()
await load(Number(operations))
const seconds = (performance.now() - start) / 1000
// The VmRSS of /proc.
const residentBytes = process.memoryUsage.rss()
const latencies = Object.fromEntries(
  [...taken].map(([kind, times]) => [kind, { p50: at(times, 0.5), p99: at(times, 0.99) }])
)
await history.stop()
console.log(JSON.stringify({ perSecond: operations / seconds, latencies, residentBytes }))

async function load(count) {
  let left = count
  await Promise.all(
    Array.from({ length: WORKERS }, async () => {
      while (left-- > 0) {
        const kind = chosen()
        const begun = performance.now()
        await kinds[kind](ref())
        taken.get(kind).push(performance.now() - begun)
      }
    })
  )
}

function chosen() {
  const one = random()
  if (one < 0.8) return 'a turn'
  if (one < 0.9) return 'a past version'
  if (one < 0.95) return 'a first page'
  return one < 0.975 ? 'a fork' : 'a rewind'
}

/** Zipf's law: the k-th of them is asked for in proportion to 1/k; those that are asked for most lie apart. */
function ref() {
  const rank = Math.floor(Math.exp(random() * Math.log(sessions)))
  const i = (rank * 618_033) % sessions
  return { userId: `u${Math.floor(i / 50)}`, id: `s${i}` }
}

async function turn(session) {
  await read(session)
  for (const role of ['user', 'assistant']) {
    const text = `The agent looks up the booking at ${random()}, `.padEnd(
      220,
      'finds that the fare cannot be refunded, '
    )
    await history.appendMessage(session, { role, content: [{ type: 'text', text }] })
  }
}

async function past(session) {
  const { version } = await read(session)
  await history.getSession(session.userId, session.id, { at: Math.ceil(random() * version) })
}

async function page({ userId }) {
  if ((await history.listSessions(userId, { limit: 50 })).length !== 50) throw new Error('Sessions are missing')
}

async function fork(session) {
  await history.fork(session)
}

/** To before the newest turn, but the first is kept. */
async function rewind(session) {
  const { version } = await read(session)
  await history.rewind(session, Math.max(3, version - 2))
}

async function read({ userId, id }) {
  const session = await history.getSession(userId, id)
  if (session.version < 3) throw new Error(`${id} of ${userId} is at version ${session.version}`)
  return session
}

function at(times, share) {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length * share)]
}

/** The same each time: mulberry32. */
function randoms(from) {
  let state = from + 1
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
