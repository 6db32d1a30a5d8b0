// A process that appends to sessions and reads them until it is killed, or its input ends: node writer.mjs JSON
// Says on its standard output what it does, a line of JSON each: an append before it begins, and with its outcome. Times are those of
// the machine's monotonic clock, in ms.
import { generator, now, say } from './writer-kit.mjs'

const { dist, module, factory, options, name, seed, turnoverAt } = JSON.parse(process.argv[2])
const { createSessionHistory } = await import(`${dist}/index.js`)
const { [factory]: makeStore } = await import(`${dist}/${module}`)

const history = await createSessionHistory({
  store: makeStore(options),
  missing: { append: 'create', get: 'null' },
  logger: { warn: () => undefined }
})
const random = generator(seed)
let isOver = false
process.stdin.on('end', () => (isOver = true)).resume()

/** All race on one session. When it is long, they go on to the next. */
let hot = 0
let appends = 0
/** What this process knows of the versions of sessions. */
const versions = new Map()

say({ is: 'ready' })
// All begin at once.
await new Promise((resolve) => process.stdin.once('data', resolve))
await Promise.all(Array.from({ length: 3 }, (_, loop) => work(loop)))
await history.stop()

async function work(loop) {
  while (!isOver) {
    const session = loop < 2 ? `hot-${hot}` : `cold-${pick(3)}-${Math.floor(hot / 2)}`
    const isWell = pick(4) === 0 ? await read(session) : await append(session)
    // As a program does that has not got through: it tries again a little later. Others have more to do, too; but not always.
    if (!isWell || pick(2) === 0) await new Promise((resolve) => setTimeout(resolve, 10 + pick(20)))
  }
}

async function append(session) {
  const call = ++appends
  const ids = Array.from({ length: pick(3) === 0 ? 3 : 1 }, (_, i) => `${name}-${call}${i > 0 ? `.${i}` : ''}`)
  const messages = ids.map((id) => ({ id, role: 'user', content: id }))
  const kind = pick(4)
  const settings = {
    ...(kind === 0 && { idempotencyKey: `${name}-${call}` }),
    ...(kind === 1 && versions.has(session) && { expectedVersion: versions.get(session) })
  }
  say({ is: 'append', call, session, ids, from: now() })
  for (let isDoubtful = false; ;) {
    const { outcome, ...answer } = await attempt(session, messages, settings)
    // Whatever comes later, the first try may be stored, and may get there yet.
    isDoubtful ||= outcome === 'unknown'
    const isOpen = isDoubtful && outcome !== 'stored'
    // With its key, it may be asked for until it is known.
    if (isOpen && settings.idempotencyKey && !answer.odd && !isOver) {
      await new Promise((resolve) => setTimeout(resolve, 10 + pick(20)))
      continue
    }
    say({ is: 'appended', call, to: now(), outcome: isOpen ? 'unknown' : outcome, ...answer })
    if (answer.length >= turnoverAt && session === `hot-${hot}`) hot++
    return outcome === 'stored'
  }
}

async function attempt(session, messages, settings) {
  try {
    const { version, messages: all } = await history.appendMessage({ userId: 'ada', id: session }, messages, settings)
    versions.set(session, version)
    return { outcome: 'stored', length: all.length }
  } catch (error) {
    if (error.code === 'STORE_UNAVAILABLE') return { outcome: error.outcome, why: String(error.cause ?? error) }
    if (error.code === 'VERSION_CONFLICT') versions.set(session, error.actual)
    const isKnown = error.code === 'VERSION_CONFLICT' || error.code === 'TOO_MANY_CONFLICTS'
    return isKnown ? { outcome: 'not-stored', why: error.code } : { outcome: 'unknown', odd: String(error.stack) }
  }
}

async function read(session) {
  const from = now()
  try {
    const found = await history.getSession('ada', session)
    const ids = found ? found.messages.map(({ id }) => id) : []
    say({ is: 'read', session, from, to: now(), ids })
    if (found) versions.set(session, found.version)
    return true
  } catch (error) {
    if (error.code !== 'STORE_UNAVAILABLE') say({ is: 'odd', odd: String(error.stack) })
    return false
  }
}

function pick(count) {
  return Math.floor(random() * count)
}
