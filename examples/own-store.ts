// A store of your own: each call that changes something is written to the end of a file, then done in memory.
import { appendFileSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'
import { createSessionHistory, memoryStore, type Commit, type EventStore, type SessionKey } from 'turnlog'

type Entry = { readonly append: readonly Commit[] } | { readonly purge: SessionKey }

/** Keeps its logs in a file that only grows. For one service in one process. */
export function fileStore(path: string): EventStore {
  const memory = memoryStore()
  let state: 'new' | 'open' | 'closed' | 'in doubt' = 'new'
  async function write<T>(entry: Entry, act: () => Promise<T>): Promise<T> {
    if (state !== 'open') throw new Error(`The store of ${path} is ${state}`)
    try {
      appendFileSync(path, `\n${JSON.stringify(entry)}\t`, { flush: true })
    } catch (error) {
      state = 'in doubt' // The file may have it or not: who opens it next will know.
      await memory.close()
      throw error
    }
    return act()
  }
  return {
    ...memory,
    supports: { ...memory.supports, durable: true, shared: false },
    async open() {
      if (state === 'in doubt') throw new Error(`The store of ${path} is in doubt`)
      await memory.open()
      if (state === 'new') load(path, memory)
      state = 'open'
    },
    async close() {
      if (state === 'open') state = 'closed'
      await memory.close()
    },
    append: (commits) => write({ append: commits }, () => memory.append(commits)),
    purge: (key) => write({ purge: key }, () => memory.purge(key))
  }
}

// The same calls in the same order come to the same logs, conflicts and all. A memory store is done when it returns.
function load(path: string, memory: EventStore): void {
  for (const line of readFileSync(path, { encoding: 'utf8', flag: 'a+' }).split('\n')) {
    if (!line.endsWith('\t')) continue // It was cut off, and never acknowledged.
    const entry = JSON.parse(line, (_, value: unknown) => Object.freeze(value)) as Entry
    void ('append' in entry ? memory.append(entry.append) : memory.purge(entry.purge))
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const path = `${tmpdir()}/turnlog-${process.pid}.jsonl`
  for (const run of [1, 2, 3]) {
    const history = await createSessionHistory({ store: fileStore(path), missing: { append: 'create' } })
    const trip = await history.appendMessage({ userId: 'ada', id: 'trip' }, { role: 'user', content: 'Hello again' })
    console.log(`After run ${run}: ${trip?.messages.length} messages`)
    await history.stop()
  }
  rmSync(path)
}
