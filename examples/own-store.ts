// A store of your own: each call that changes something is written to the end of a file, then done in memory.
import { appendFileSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'
import { createSessionHistory, memoryStore, type EventStore } from 'turnlog'

type Name = 'append' | 'touch' | 'purge'

/** Keeps its logs in a file that only grows. For one service in one process. */
export function fileStore(path: string): EventStore {
  const memory = memoryStore()
  let state: 'new' | 'open' | 'closed' | 'in doubt' = 'new'
  async function write<N extends Name>(name: N, ...args: Parameters<EventStore[N]>): Promise<void> {
    if (state !== 'open') throw new Error(`The store of ${path} is ${state}`)
    try {
      appendFileSync(path, `\n${JSON.stringify([name, ...args])}\t`, { flush: true })
    } catch (error) {
      state = 'in doubt' // The file may have it or not: who opens it next will know.
      await memory.close()
      throw error
    }
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
    append: (commits) => write('append', commits).then(() => memory.append(commits)),
    touch: (logId, at) => write('touch', logId, at).then(() => memory.touch(logId, at)),
    purge: (key, end) => write('purge', key, end).then(() => memory.purge(key, end))
  }
}

// The same calls in the same order come to the same logs, conflicts and all. A memory store is done when it returns.
function load(path: string, memory: EventStore): void {
  for (const line of readFileSync(path, { encoding: 'utf8', flag: 'a+' }).split('\n')) {
    if (!line.endsWith('\t')) continue // It was cut off, and never acknowledged.
    const [name, ...args] = JSON.parse(line, (_, value: unknown) => Object.freeze(value)) as [Name, ...never[]]
    void (memory[name] as (...args: never[]) => unknown)(...args)
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
