import { InMemoryChatMessageHistory } from '@langchain/core/chat_history'
import { AIMessage, HumanMessage, type BaseMessage } from '@langchain/core/messages'
import { roleOf, versionOf, type Conversation, type Role, type Subject } from '../subjects.ts'

/** Gives out its own array, of the objects that it was given: whoever has it can change the history. The floor. */
export const chatHistory: Subject = {
  name: 'ChatMessageHistory',
  version: versionOf('@langchain/core'),
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
  const history = new InMemoryChatMessageHistory()
  return {
    append: (role, text) => history.addMessage(messageOf(role, text)),
    load: (texts) => history.addMessages(texts.map((text, i) => messageOf(roleOf(i), text))),
    read: () => history.getMessages()
  }
}

export function messageOf(role: Role, text: string): BaseMessage {
  return role === 'user' ? new HumanMessage(text) : new AIMessage(text)
}
