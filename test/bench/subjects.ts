import { createRequire } from 'node:module'
import { getInMemoryEventStore } from '@event-driven-io/emmett'
// The published entry point loads all of ADK; these two paths are exported, too.
import { createEvent } from '@google/adk/dist/web/events/event.js'
import { InMemorySessionService } from '@google/adk/dist/web/sessions/in_memory_session_service.js'
import { MemorySession } from '@openai/agents-core'
import { createSessionHistory } from '../../dist/index.js'

/** Something that keeps conversations. What it is given is as fresh as what the others get, in the form that it wants. */
export interface Subject {
  readonly name: string
  readonly version: string
  /** A service with nothing in it; what it needs is made anew. */
  open(): Promise<Service>
}

export interface Service {
  begin(): Promise<Conversation>
  close(): Promise<void>
}

/** Gives the subject's own promises: a layer of ours would cost the fast ones more than the slow ones. */
export interface Conversation {
  append(role: Role, text: string): Promise<unknown>
  /** As fast as the subject can, without timing. */
  load(texts: readonly string[]): Promise<unknown>
  /** All messages, as an array. */
  read(): Promise<readonly unknown[]>
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

export const turnlog: Subject = {
  name: 'turnlog',
  version: versionOf('../../package.json'),
  async open() {
    const history = await createSessionHistory()
    return {
      async begin() {
        const session = await history.createSession('user')
        const ref = { userId: session.userId, id: session.id }
        return {
          append: (role, text) => history.appendMessage(ref, turnlogMessage(role, text)),
          load: (texts) =>
            history.appendMessage(
              ref,
              texts.map((text, i) => turnlogMessage(roleOf(i), text))
            ),
          read: async () => (await history.getSession(ref.userId, ref.id))!.messages
        }
      },
      close: () => history.stop()
    }
  }
}

export const memorySession: Subject = {
  name: 'MemorySession',
  version: versionOf('@openai/agents-core'),
  async open() {
    return {
      async begin() {
        const session = new MemorySession()
        return {
          append: (role, text) => session.addItems([openAIItem(role, text)]),
          load: (texts) => session.addItems(texts.map((text, i) => openAIItem(roleOf(i), text))),
          read: () => session.getItems()
        }
      },
      async close() {}
    }
  }
}

export const emmett: Subject = {
  name: 'emmett',
  version: versionOf('@event-driven-io/emmett'),
  async open() {
    return {
      // In emmett's favour, a store for each conversation: an append walks over all the streams of its store.
      async begin() {
        const store = getInMemoryEventStore()
        return {
          append: (role, text) => store.appendToStream('session', [emmettEvent(role, text)]),
          load: (texts) =>
            store.appendToStream(
              'session',
              texts.map((text, i) => emmettEvent(roleOf(i), text))
            ),
          read: async () => (await store.readStream('session')).events
        }
      },
      async close() {}
    }
  }
}

export const adk: Subject = {
  name: 'ADK',
  version: versionOf('@google/adk'),
  async open() {
    const service = new InMemorySessionService()
    return {
      async begin() {
        const key = { appName: 'bench', userId: 'user' }
        // As its runner does: a run gets the session and appends to that object. In ADK's favour, one object for all appends
        // where nothing is read between them.
        let session = await service.createSession(key)
        const append = (role: Role, text: string): Promise<unknown> =>
          service.appendEvent({ session, event: adkEvent(role, text) })
        return {
          append,
          async load(texts) {
            for (const [i, text] of texts.entries()) await append(roleOf(i), text)
          },
          async read() {
            session = (await service.getSession({ ...key, sessionId: session.id }))!
            return session.events
          }
        }
      },
      async close() {}
    }
  }
}

function turnlogMessage(role: Role, text: string) {
  return { role, content: [{ type: 'text' as const, text }] }
}

function openAIItem(role: Role, text: string) {
  return role === 'user'
    ? { role, content: [{ type: 'input_text' as const, text }] }
    : { role, status: 'completed' as const, content: [{ type: 'output_text' as const, text }] }
}

function emmettEvent(role: Role, text: string) {
  return { type: 'message-appended', data: { message: turnlogMessage(role, text) } }
}

// The runner makes an event for each message, with an id and a time, as the others do inside.
function adkEvent(role: Role, text: string) {
  return createEvent({ author: role, content: { role, parts: [{ text }] } })
}

function versionOf(name: string): string {
  const require = createRequire(import.meta.url)
  if (name.startsWith('.')) return (require(name) as { version: string }).version
  const found = require.resolve.paths(name)!.map((path) => `${path}/${name}/package.json`)
  for (const path of found) {
    try {
      return (require(path) as { version: string }).version
    } catch {}
  }
  return 'unknown'
}
