// The published entry point loads all of ADK; these two paths are exported, too.
import { createEvent } from '@google/adk/dist/web/events/event.js'
import { InMemorySessionService } from '@google/adk/dist/web/sessions/in_memory_session_service.js'
import type { MikroORM } from '@mikro-orm/core'
import { Database } from '../driver.ts'
import { roleOf, versionOf, type Conversation, type Role, type Service, type Subject } from '../subjects.ts'

export const adk: Subject = {
  name: 'ADK',
  version: versionOf('@google/adk'),
  open: async () => serviceOver(new InMemorySessionService(), async () => undefined)
}

/** As it is by itself, the journal is rolled back: as durable as a log written ahead, and slower. In its favour, the file has a log. */
export const adkSqlite: Subject = {
  name: 'ADK',
  version: `${adk.version} (MikroORM ${versionOf('@mikro-orm/sqlite')})`,
  async open(path) {
    const file = new Database(path)
    file.pragma('journal_mode = WAL')
    file.close()
    return inFile(path)
  }
}

export const adkSqliteDefault: Subject = {
  name: 'ADK, as it is',
  version: adkSqlite.version,
  open: (path) => inFile(path)
}

async function inFile(path: string): Promise<Service> {
  const { DatabaseSessionService } = await import('@google/adk/sessions/database')
  const { SqliteDriver } = await import('@mikro-orm/sqlite')
  const service = new DatabaseSessionService({ driver: SqliteDriver, dbName: path })
  await service.init()
  // Private: the one way to its connection.
  const { orm } = service as unknown as { readonly orm: MikroORM }
  const connection = orm.em.getConnection()
  const pragma = async (name: string): Promise<unknown> => {
    const rows = (await connection.execute(`PRAGMA ${name}`)) as unknown as Readonly<Record<string, unknown>>[]
    return rows[0]![name]
  }
  return {
    ...serviceOver(service, () => orm.close()),
    settings: async () => ({
      journal_mode: (await pragma('journal_mode')) as string,
      synchronous: (await pragma('synchronous')) as number
    })
  }
}

type Sessions = Pick<InMemorySessionService, 'createSession' | 'getSession' | 'appendEvent' | 'listSessions'>

const KEY = { appName: 'bench', userId: 'user' }

function serviceOver(service: Sessions, close: () => Promise<void>): Service {
  return {
    begin: async (sessionId) =>
      conversation(service, await service.createSession({ ...KEY, ...(sessionId !== undefined && { sessionId }) })),
    find: (sessionId) => conversation(service, { id: sessionId }),
    async list(count) {
      const { sessions } = await service.listSessions({ ...KEY, limit: count, order: 'desc' })
      return sessions
    },
    close
  }
}

type Session = Awaited<ReturnType<Sessions['createSession']>>

// As its runner does: a run gets the session and appends to that object. In ADK's favour, one object for all appends
// where nothing is read between them.
function conversation(service: Sessions, begun: Session | Pick<Session, 'id'>): Conversation {
  let session = 'events' in begun ? begun : undefined
  const read = async (): Promise<Session> => (session = (await service.getSession({ ...KEY, sessionId: begun.id }))!)
  const append = async (role: Role, text: string): Promise<unknown> =>
    service.appendEvent({ session: session ?? (await read()), event: eventOf(role, text) })
  return {
    append,
    async load(texts) {
      for (const [i, text] of texts.entries()) await append(roleOf(i), text)
    },
    read: async () => (await read()).events
  }
}

// The runner makes an event for each message, with an id and a time, as the others do inside.
function eventOf(role: Role, text: string) {
  return createEvent({ author: role, content: { role, parts: [{ text }] } })
}
