import { getInMemoryEventStore, type EventStore, isExpectedVersionConflictError } from '@event-driven-io/emmett'
import type { SQLiteConnection, SQLiteConnectionPool } from '@event-driven-io/emmett-sqlite'
import {
  roleOf,
  turnlogMessage,
  versionOf,
  type Conversation,
  type Role,
  type Service,
  type Settings,
  type Subject
} from '../subjects.ts'

/** Gives out the objects that it keeps, in a new array: no isolation. */
export const emmett: Subject = {
  name: 'emmett',
  version: versionOf('@event-driven-io/emmett'),
  async open() {
    const sessions = new Map<string, Conversation>()
    return {
      // In emmett's favour, a store for each conversation: an append walks over all the streams of its store.
      async begin(id = `${sessions.size}`) {
        const begun = conversation(getInMemoryEventStore(), 'session')
        sessions.set(id, begun)
        return begun
      },
      find: (id) => sessions.get(id)!,
      async close() {}
    }
  }
}

/**
 * As it is by itself, it opens a connection for each call and closes it again. In its favour, it gets a pool that keeps one, and
 * gives it to one call at a time: two appends that have the connection at once would be one transaction, the first of them
 * said to be stored before that is committed.
 */
export const emmettSqlite: Subject = {
  name: 'emmett',
  version: `${versionOf('@event-driven-io/emmett-sqlite')} (sqlite3 ${versionOf('sqlite3')})`,
  async open(path) {
    const { sqliteConnection } = await import('@event-driven-io/emmett-sqlite')
    const connection = sqliteConnection({ fileName: path })
    await connection.command('PRAGMA synchronous = FULL')
    return serviceIn(path, {
      connection: async () => connection,
      withConnection: oneAtATime((handle) => handle(connection)),
      close: async () => connection.close()
    })
  }
}

type WithConnection = SQLiteConnectionPool['withConnection']

function oneAtATime(withConnection: WithConnection): WithConnection {
  let last: Promise<unknown> = Promise.resolve()
  return (handle) => {
    const result = last.then(() => withConnection(handle))
    last = result.catch(() => undefined)
    return result
  }
}

async function serviceIn(path: string, pool: SQLiteConnectionPool): Promise<Service> {
  const { getSQLiteEventStore } = await import('@event-driven-io/emmett-sqlite')
  const store = getSQLiteEventStore({ fileName: path, pool })
  await store.schema.migrate()
  let count = 0
  return {
    begin: async (id = `session-${count++}`) => conversation(store, id),
    find: (id) => conversation(store, id),
    settings: () => pool.withConnection(settingsOf),
    // Not before the call that is under way, and none leaves a connection that has yet to look at its file.
    close: () => pool.withConnection(settingsOf).then(() => pool.close())
  }
}

async function settingsOf(connection: SQLiteConnection): Promise<Settings> {
  const { synchronous } = (await connection.querySingle<{ synchronous: number }>('PRAGMA synchronous'))!
  const { journal_mode } = (await connection.querySingle<{ journal_mode: string }>('PRAGMA journal_mode'))!
  return { journal_mode, synchronous }
}

function conversation(store: Pick<EventStore, 'appendToStream' | 'readStream'>, stream: string): Conversation {
  return {
    append: (role, text) => store.appendToStream(stream, [event(role, text)]),
    load: (texts) =>
      store.appendToStream(
        stream,
        texts.map((text, i) => event(roleOf(i), text))
      ),
    read: async () => (await store.readStream(stream)).events,
    readAt: async (count) => (await store.readStream(stream, { to: BigInt(count) })).events,
    async appendIf(count, role, text) {
      try {
        const expectedStreamVersion = count === 0 ? 'STREAM_DOES_NOT_EXIST' : BigInt(count)
        await store.appendToStream(stream, [event(role, text)], { expectedStreamVersion })
        return true
      } catch (error) {
        if (isExpectedVersionConflictError(error)) return false
        throw error
      }
    }
  }
}

function event(role: Role, text: string) {
  return { type: 'message-appended', data: { message: turnlogMessage(role, text) } }
}
