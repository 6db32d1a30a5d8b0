import { createRequire } from 'node:module'
import { createSessionHistory, isTurnlogError, type EventStore, type SessionHistoryService } from '../../dist/index.js'
import { sqliteStore } from '../../dist/stores/sqlite.js'
import { Database } from './driver.ts'

/** Something that keeps conversations. What it is given is as fresh as what the others get, in the form that it wants. */
export interface Subject {
  readonly name: string
  readonly version: string
  /** Those in memory begin with nothing; the others go on with what is in the file, or make it. */
  open(path: string): Promise<Service>
}

export interface Service {
  /** A new session. */
  begin(id?: string): Promise<Conversation>
  /** One that is there. */
  find(id: string): Conversation
  /** The newest `count` sessions of the one user that there is. */
  list?(count: number): Promise<readonly unknown[]>
  /** What its own connection says of `journal_mode` and `synchronous`. */
  settings?(): Promise<Settings>
  close(): Promise<void>
}

/** Gives the subject's own promises: a layer of ours would cost the fast ones more than the slow ones. */
export interface Conversation {
  append(role: Role, text: string): Promise<unknown>
  /** As fast as the subject can, without timing. */
  load(texts: readonly string[]): Promise<unknown>
  /** All messages, as an array. */
  read(): Promise<readonly unknown[]>
  /** As they were when there were `count` of them. */
  readAt?(count: number): Promise<readonly unknown[]>
  /** Appends if there are exactly `count` messages; says whether it did. */
  appendIf?(count: number, role: Role, text: string): Promise<boolean>
  /** Another session with these messages; each goes its own way from there. */
  fork?(): Promise<unknown>
  /** Sets it back to what it was when there were `count` messages, and reads it. */
  rewind?(count: number): Promise<readonly unknown[]>
}

export interface Settings {
  readonly journal_mode: string
  /** 1 is NORMAL, 2 FULL. */
  readonly synchronous: number
}

export type Role = 'user' | 'assistant'

export function roleOf(index: number): Role {
  return index % 2 === 0 ? 'user' : 'assistant'
}

/** A text that makes a message of about 300 bytes of JSON; no two are the same object. */
export function textOf(index: number): string {
  const text = `${index}: The agent looks up the booking, finds that the fare cannot be refunded and asks the traveller which `
  return Buffer.from(text.padEnd(220, 'of the later flights would be acceptable instead. ')).toString('latin1')
}

export function texts(count: number): string[] {
  return Array.from({ length: count }, (_, i) => textOf(i))
}

export const turnlog = {
  name: 'turnlog',
  version: versionOf('../../package.json'),
  open: () => serviceOver()
} satisfies Subject

export const turnlogSqlite: Subject = {
  name: 'turnlog',
  version: turnlog.version,
  open: async (path) => ({
    ...(await serviceOver(sqliteStore({ path }))),
    // It writes on a thread of its own. A connection that is given to it is prepared as that of the thread is, and can be asked.
    async settings() {
      const database = new Database(`${path}-asked`)
      await (await serviceOver(sqliteStore({ database }))).close()
      const pragma = (name: string): unknown => database.pragma(name, { simple: true })
      const settings = { journal_mode: pragma('journal_mode') as string, synchronous: pragma('synchronous') as number }
      database.close()
      return settings
    }
  })
}

async function serviceOver(store?: EventStore): Promise<Service> {
  const history = await createSessionHistory({ store })
  return {
    begin: async (id) => conversation(history, (await history.createSession('user', id)).id),
    find: (id) => conversation(history, id),
    list: (count) => history.listSessions('user', { limit: count }),
    close: () => history.stop()
  }
}

function conversation(history: SessionHistoryService, id: string): Conversation {
  const ref = { userId: 'user', id }
  return {
    append: (role, text) => history.appendMessage(ref, turnlogMessage(role, text)),
    load: (all) =>
      history.appendMessage(
        ref,
        all.map((text, i) => turnlogMessage(roleOf(i), text))
      ),
    read: async () => (await history.getSession(ref.userId, ref.id))!.messages,
    // The first event is `created`.
    readAt: async (count) => (await history.getSession(ref.userId, ref.id, { at: count + 1 }))!.messages,
    async appendIf(count, role, text) {
      try {
        await history.appendMessage(ref, turnlogMessage(role, text), { expectedVersion: count + 1 })
        return true
      } catch (error) {
        if (isTurnlogError(error, 'VERSION_CONFLICT')) return false
        throw error
      }
    },
    fork: () => history.fork(ref),
    rewind: async (count) => (await history.rewind(ref, count + 1)).messages
  }
}

export function turnlogMessage(role: Role, text: string) {
  return { role, content: [{ type: 'text' as const, text }] }
}

/** Of a package, or of a file that is a package's. */
export function versionOf(name: string): string {
  const require = createRequire(import.meta.url)
  if (name.startsWith('.')) return (require(name) as { version: string }).version
  const found = require.resolve.paths(name)!.map((path) => `${path}/${name}/package.json`)
  for (const path of found) {
    try {
      return (require(path) as { version: string }).version
    } catch {}
  }
  return 'not installed'
}
