// A process that does to sessions what can be done to them until it is killed, or its input ends: node --expose-gc mixed-writer.mjs JSON
// Says what it appends, before it begins and with its outcome, and some of what it reads; each of `samplesEvery` calls how much memory
// it takes; and anything that it did not expect.
import { generator, now, say } from '../faults/writer-kit.mjs'

const input = JSON.parse(process.argv[2])
const { dist, module, factory, options, name, seed, sessions, turnoverAt, restartsEvery, samplesEvery } = input
const { createSessionHistory } = await import(`${dist}/index.js`)
const { [factory]: makeStore } = await import(`${dist}/${module}`)

const LOOPS = 4

/** What may be said to one who is not alone, or whose service is stopped. */
const EXPECTED = new Set([
  'VERSION_CONFLICT',
  'TOO_MANY_CONFLICTS',
  'TURN_BUSY',
  'TURN_FENCED',
  'TURN_ENDED',
  'NOTHING_TO_UNDO',
  'NOTHING_TO_REDO',
  'SESSION_NOT_FOUND',
  'VERSION_NOT_FOUND',
  'STORE_UNAVAILABLE',
  'STOPPED'
])

const random = generator(seed)
let isOver = false
process.stdin.on('end', () => (isOver = true)).resume()

/** Zipf: the first session is used twice as often as the second, three times as often as the third. */
const shares = Array.from({ length: sessions }, (_, i) => 1 / (i + 1))
const total = shares.reduce((sum, share) => sum + share)
/** A session that has become long is left for a new one of its place: the load is to be the same in the end as in the beginning. */
const generations = shares.map(() => 0)

const CALLS = [
  [40, append],
  [8, put],
  [8, (ref) => ofVersion(ref, (version) => history.rewind(ref, 1 + pick(version)))],
  [8, (ref) => history[pick(2) === 0 ? 'undo' : 'redo'](ref)],
  [4, fork],
  [4, turn],
  [1, (ref) => history.deleteSession(ref.userId, ref.id)],
  [1, forkAndPurge],
  [4, (ref) => history.updateMetadata(ref, { set: { [`key ${pick(5)}`]: random() } })],
  [12, readPast],
  [8, readLast],
  [2, readEvents],
  [2, follow],
  [4, list]
]
const weights = CALLS.reduce((sum, [weight]) => sum + weight, 0)

let history = await open()
let restarting
let calls = 0
let appends = 0
say({ is: 'ready' })
// All begin at once.
await new Promise((resolve) => process.stdin.once('data', resolve))
await Promise.all(Array.from({ length: LOOPS }, work))
await history.stop()

/** Few sessions are kept in memory, and not for long: they come and go. */
function open() {
  return createSessionHistory({
    store: makeStore(options),
    missing: { append: 'create', get: 'null' },
    logger: { warn: () => undefined },
    maxActiveSessions: 20,
    idleMs: 500
  })
}

async function work() {
  while (!isOver) {
    if (++calls % restartsEvery === 0) restarting ??= restart()
    if (calls % samplesEvery === 0) sample()
    let at = pick(weights)
    const [, call] = CALLS.find(([weight]) => (at -= weight) < 0)
    try {
      await call(someSession())
      say({ is: 'done' })
    } catch (error) {
      if (EXPECTED.has(error.code)) say({ is: 'refused', code: error.code })
      else say({ is: 'odd', odd: String(error.stack) })
      // Until it is there again.
      if (error.code === 'STOPPED') await restarting
    }
  }
}

// The others meet one that is stopped.
async function restart() {
  await history.stop()
  history = await open()
  restarting = undefined
}

function sample() {
  globalThis.gc()
  const { rss, heapUsed } = process.memoryUsage()
  say({ is: 'memory', calls, rss, heapUsed })
}

function someSession() {
  let at = random() * total
  let place = shares.findIndex((share) => (at -= share) < 0)
  if (place < 0) place = 0
  return { userId: 'ada', id: `s${place}.${generations[place]}`, place }
}

function note({ place }, version) {
  if (version >= turnoverAt && place !== undefined) generations[place]++
}

/** An append as the checker has it; `what` stores messages of those ids, in one commit. */
async function noted(session, count, what) {
  const call = ++appends
  const ids = Array.from({ length: count }, (_, i) => `${name}-${call}${i > 0 ? `.${i}` : ''}`)
  say({ is: 'append', call, session, ids, from: now() })
  try {
    const stored = await what(ids.map(messageOf))
    say({ is: 'appended', call, to: now(), outcome: 'stored' })
    return stored
  } catch (error) {
    const isKnown = EXPECTED.has(error.code) && error.code !== 'STORE_UNAVAILABLE'
    const outcome = isKnown ? 'not-stored' : (error.outcome ?? 'unknown')
    say({ is: 'appended', call, to: now(), outcome, why: String(error.code ?? error) })
    throw error
  }
}

async function append(ref) {
  const settings = {
    ...(pick(3) === 0 && { idempotencyKey: `${name} ${calls}` }),
    ...(pick(2) === 0 && { onBusy: 'wait' })
  }
  const { version } = await noted(ref.id, 1 + pick(3), (messages) => history.appendMessage(ref, messages, settings))
  note(ref, version)
}

async function put(ref) {
  const id = `${name} puts ${pick(3)}`
  for (const content of ['At', 'At 22:', 'At 22:47.']) await history.putMessage(ref, { id, role: 'assistant', content })
}

async function fork(ref) {
  const { id } = await history.fork(ref)
  const child = { userId: 'ada', id }
  await noted(id, 1, (messages) => history.appendMessage(child, messages))
  expect((await history.getSession('ada', id))?.forkedFrom?.sessionId === ref.id, 'a fork without its parent')
}

async function turn(ref) {
  // One of a process that is killed is not to keep the others out for long.
  const run = await history.beginTurn(ref, { ttlMs: 2_000, onBusy: ['wait', 'throw', 'takeover'][pick(3)] })
  await noted(ref.id, 1, (messages) => run.append(messages))
  await noted(ref.id, 2, (messages) => run.append(messages))
  if (pick(2) === 0) await run.end()
  else await run.abort()
}

async function forkAndPurge() {
  const parent = { userId: 'bob', id: `${name} ${calls}` }
  await history.appendMessage(parent, [messageOf('a'), messageOf('b')])
  const { id } = await history.fork(parent)
  await history.purgeSession(parent.userId, parent.id)
  expect((await history.getSession(parent.userId, parent.id)) === null, 'a session that was purged')
  expect((await history.getSession('bob', id))?.messages.length === 2, 'a fork that has lost what it shares')
}

async function readPast(ref) {
  await ofVersion(ref, async (version) => {
    const at = 1 + pick(version)
    const then = await history.getSession(ref.userId, ref.id, { at })
    expect(then === null || then.version === at, `version ${then?.version} for ${at}`)
  })
}

async function readLast(ref) {
  const last = await history.getSession(ref.userId, ref.id, { last: 5 })
  expect(last === null || last.messages.length <= 5, 'more than the last 5')
}

// What was ever appended, whatever was undone since: it only grows.
async function readEvents(ref) {
  const from = now()
  const ids = []
  let version = 0
  for await (const event of history.readEvents(ref.userId, ref.id)) {
    expect(event.version === ++version, `event ${event.version} for ${version}`)
    if (event.type === 'message-appended' && !event.data.put) ids.push(event.data.message.id)
  }
  say({ is: 'read', session: ref.id, from, to: now(), ids })
  note(ref, version)
}

async function follow(ref) {
  await ofVersion(ref, async (newest) => {
    let version = 0
    for await (const event of history.subscribe(ref.userId, ref.id)) {
      expect(event.version === ++version, `heard ${event.version} for ${version}`)
      if (version >= newest) break
    }
    // A service that stops ends it.
    if (version < newest) await history.getSession(ref.userId, ref.id)
  })
}

async function list() {
  const page = await history.listSessions('ada', { limit: 20 })
  expect(
    page.every(({ updatedAt }, i) => i === 0 || updatedAt <= page[i - 1].updatedAt),
    'a list out of order'
  )
}

async function ofVersion(ref, what) {
  const session = await history.getSession(ref.userId, ref.id, { last: 0 })
  if (session) await what(session.version)
}

function messageOf(id) {
  return { id, role: 'user', content: `${id} `.padEnd(200, 'what is said in a conversation ') }
}

function expect(isSo, what) {
  if (!isSo) throw new Error(`Got ${what}`)
}

function pick(count) {
  return Math.floor(random() * count)
}
