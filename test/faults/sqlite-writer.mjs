// A process that writes to a store in SQLite until it is killed, or its input ends: node sqlite-writer.mjs DIST PATH NAME SEED
// Says on its standard output what it is about to do, and what was acknowledged, a line of JSON each, before it goes on.
import { writeSync } from 'node:fs'

const [, , dist, path, name, seed] = process.argv
const { createSessionHistory } = await import(`${dist}/index.js`)
const { sqliteStore } = await import(`${dist}/stores/sqlite.js`)

const history = await createSessionHistory({
  store: sqliteStore({ path }),
  missing: { append: 'create' },
  logger: { warn: () => undefined }
})
const random = generator(Number(seed))
let isOver = false
process.stdin.on('end', () => (isOver = true)).resume()

let count = 0
await Promise.all(Array.from({ length: 8 }, (_, loop) => write(loop)))
await history.stop()

async function write(loop) {
  while (!isOver) {
    const session = `s${loop % 5}`
    const key = `${name}-${++count}`
    switch (Math.floor(random() * 8)) {
      case 0:
        await forkAndPurge(key)
        break
      default: {
        const parts = 1 + Math.floor(random() * 4)
        say({ tries: key, session, parts })
        const { version } = await history.appendMessage({ userId: 'ada', id: session }, messagesOf(key, parts), {
          idempotencyKey: key
        })
        say({ did: key, session, parts, version })
      }
    }
  }
}

// A session of its own, of which only what its fork shares is left.
async function forkAndPurge(key) {
  const parent = { userId: 'bob', id: `${key}-parent` }
  await history.appendMessage(parent, messagesOf(key, 3))
  const { id } = await history.fork(parent, { at: 3, sessionId: `${key}-fork` })
  say({ forked: id })
  await history.purgeSession(parent.userId, parent.id)
  say({ purged: parent.id })
}

function messagesOf(key, parts) {
  return Array.from({ length: parts }, (_, i) => ({ id: `${key}/${i}/${parts}`, role: 'user', content: key }))
}

function say(what) {
  // The pipe is full while its reader is busy; a line is written whole or not at all.
  for (;;) {
    try {
      return writeSync(1, `${JSON.stringify(what)}\n`)
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error
    }
  }
}

function generator(state) {
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    return state / 2 ** 31
  }
}
