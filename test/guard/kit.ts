import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import type * as turnlog from '../../src/index.ts'
import type { EventStore, SessionHistoryService } from '../../src/index.ts'
import type * as sqlite from '../../src/stores/sqlite.ts'

/** The compiled package, as far as it is measured. */
export type Turnlog = Pick<typeof turnlog, 'createSessionHistory' | 'memoryStore'> & Pick<typeof sqlite, 'sqliteStore'>

/** How a promise would be broken: what calls of the service or of the store would do instead. */
export interface Flaw {
  readonly history?: (history: SessionHistoryService) => Partial<SessionHistoryService>
  readonly store?: (store: EventStore) => Partial<EventStore>
}

/** What was done so far. */
export interface Counts {
  /** Calls of the store, of whatever kind. */
  calls: number
  /** Events that the store has given. */
  events: number
  /** SQL that was executed. */
  statements: string[]
}

export interface Opened extends AsyncDisposable {
  readonly history: SessionHistoryService
  readonly counts: Counts
  /** What the file has grown to, with all that is in its write-ahead log. */
  bytes(): number
  /** Another service over the same store, with nothing in memory. */
  reopen(): Promise<Opened>
}

/** Opens services whose stores are counted, and that have a flaw if it is given. */
export class Kit {
  readonly #turnlog: Turnlog
  readonly #flaw: Flaw

  constructor(turnlog: Turnlog, flaw: Flaw = {}) {
    this.#turnlog = turnlog
    this.#flaw = flaw
  }

  async memory(): Promise<Opened> {
    return this.#open(this.#turnlog.memoryStore(), noCounts(), () => 0)
  }

  /** One connection for reading and writing, so that all of its statements are seen. */
  async sqlite(): Promise<Opened> {
    const directory = mkdtempSync(join(tmpdir(), 'turnlog-guard-'))
    const path = join(directory, 'guard.db')
    const counts = noCounts()
    const database = new Database(path, { verbose: (sql) => void counts.statements.push(String(sql)) })
    const bytes = (): number => {
      database.pragma('wal_checkpoint(TRUNCATE)')
      return statSync(path).size
    }
    return this.#open(this.#turnlog.sqliteStore({ database }), counts, bytes, () => {
      database.close()
      rmSync(directory, { recursive: true })
    })
  }

  async #open(store: EventStore, counts: Counts, bytes: () => number, dispose?: () => void): Promise<Opened> {
    const counted = countedStore(store, counts)
    const flawed = this.#flaw.store ? { ...counted, ...this.#flaw.store(counted) } : counted
    const service = await this.#turnlog.createSessionHistory({ store: flawed, missing: { get: 'null' } })
    const flaws: Partial<SessionHistoryService> = this.#flaw.history?.(service) ?? {}
    const history = new Proxy(service, {
      get(target, name: keyof SessionHistoryService) {
        const method = flaws[name] ?? target[name]
        return method.bind(target)
      }
    })
    return {
      history,
      counts,
      bytes,
      reopen: () => this.#open(store, counts, bytes),
      async [Symbol.asyncDispose]() {
        await service.stop()
        dispose?.()
      }
    }
  }
}

function noCounts(): Counts {
  return { calls: 0, events: 0, statements: [] }
}

function countedStore(store: EventStore, counts: Counts): EventStore {
  const counted = <A extends unknown[], R>(call: (...args: A) => R) => {
    return (...args: A): R => {
      counts.calls++
      return call(...args)
    }
  }
  async function* read(...args: Parameters<EventStore['read']>): ReturnType<EventStore['read']> {
    for await (const events of store.read(...args)) {
      counts.events += events.length
      yield events
    }
  }
  return {
    supports: store.supports,
    open: () => store.open(),
    close: () => store.close(),
    health: () => store.health(),
    head: counted((key) => store.head(key)),
    append: counted((commits) => store.append(commits)),
    read: counted(read),
    list: counted((userId, page) => store.list(userId, page)),
    listUsers: counted((page) => store.listUsers(page)),
    forks: counted((logId) => store.forks(logId)),
    heads: counted((page) => store.heads(page)),
    touch: counted((logId, at) => store.touch(logId, at)),
    purge: counted((key, end) => store.purge(key, end)),
    ...(store.watch && { watch: (key, signal) => store.watch!(key, signal) })
  }
}
