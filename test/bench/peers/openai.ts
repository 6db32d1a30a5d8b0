import { MemorySession } from '@openai/agents-core'
import { roleOf, versionOf, type Conversation, type Role, type Subject } from '../subjects.ts'

/** Copies what it is given and what it gives out. */
export const memorySession: Subject = {
  name: 'MemorySession',
  version: versionOf('@openai/agents-core'),
  async open() {
    const sessions = new Map<string, Conversation>()
    return {
      async begin(id = `${sessions.size}`) {
        const begun = conversation()
        sessions.set(id, begun)
        return begun
      },
      find: (id) => sessions.get(id)!,
      async close() {}
    }
  }
}

function conversation(): Conversation {
  const session = new MemorySession()
  return {
    append: (role, text) => session.addItems([item(role, text)]),
    load: (texts) => session.addItems(texts.map((text, i) => item(roleOf(i), text))),
    read: () => session.getItems(),
    // The one way back that it has. In its favour, nothing but the copies that it makes.
    async rewind(count) {
      const items = await session.getItems()
      await session.clearSession()
      await session.addItems(items.slice(0, count))
      return session.getItems()
    },
    async fork() {
      const fork = new MemorySession()
      await fork.addItems(await session.getItems())
      return fork
    }
  }
}

function item(role: Role, text: string) {
  return role === 'user'
    ? { role, content: [{ type: 'input_text' as const, text }] }
    : { role, status: 'completed' as const, content: [{ type: 'output_text' as const, text }] }
}
