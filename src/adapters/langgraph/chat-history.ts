import { BaseListChatMessageHistory } from '@langchain/core/chat_history'
import { mapStoredMessageToChatMessage, type BaseMessage, type StoredMessage } from '@langchain/core/messages'
import { idOf, knownOptions, objectOf, type OptionKeys } from '../../arguments.ts'
import { freshId } from '../../ids.ts'
import { invalid, type StandardSchema } from '../../message.ts'
import type { SessionHistoryService } from '../../service.ts'
import { LANGCHAIN_FORMAT, type StoredChatMessage } from '../messages/langgraph.ts'
import { warnIfUntested } from '../shared/framework.ts'
import { makeSession, readSession, serviceOf, unlessConflict, type AnyHistory } from '../shared/sessions.ts'
import { thawed } from '../shared/thawed.ts'

/** Options of {@link TurnlogChatMessageHistory}. */
export interface TurnlogChatMessageHistoryOptions {
  /** Any service. */
  readonly history: AnyHistory
  readonly userId: string
  /** The session to go on with, or to begin. @default a fresh id */
  readonly sessionId?: string | undefined
}

const OPTIONS: OptionKeys<TurnlogChatMessageHistoryOptions> = { history: true, userId: true, sessionId: true }

/**
 * A chat history of LangChain (`@langchain/core` 1) that keeps its messages in turnlog, and only there, as LangChain stores them. Making one does nothing yet: the
 * session is made by what is first written.
 *
 * What is added in one call, as `RunnableWithMessageHistory` does it with a turn, is one commit. `clear` is a truncation: the messages stay readable at their
 * versions. It has `userId` and `id`, so it can be given to `rewind`, `fork`, `beginTurn` and the others of {@link history}.
 *
 * Methods reject with `INVALID_MESSAGE` where a message is of a type that LangChain cannot restore, or JSON cannot carry it; `FORMAT_MISMATCH` where another
 * adapter has written the session; and as those of the service.
 */
export class TurnlogChatMessageHistory extends BaseListChatMessageHistory {
  override lc_namespace = ['langchain', 'stores', 'message', 'turnlog']
  readonly userId: string
  readonly id: string
  /** The service as one of stored messages: `at`, `rewind`, `fork` and turns of this session go through it. */
  readonly history: SessionHistoryService<StoredChatMessage>

  constructor(options: TurnlogChatMessageHistoryOptions) {
    // Not the options: the base class keeps what it is given to be serialized.
    super()
    const { history, userId, sessionId } = knownOptions(objectOf(options, 'options'), OPTIONS)
    this.userId = idOf('userId', userId)
    this.id = sessionId === undefined ? freshId() : idOf('sessionId', sessionId).trim()
    this.history = serviceOf(history, storedMessages, LANGCHAIN_FORMAT)
    warnIfUntested('@langchain/core', '1')
  }

  /** Oldest first; fresh ones, for the caller to change. */
  override async getMessages(): Promise<BaseMessage[]> {
    const session = await readSession(this.history, this)
    return (session?.messages ?? []).map((message) =>
      mapStoredMessageToChatMessage(thawed(message) as object as StoredMessage)
    )
  }

  override async addMessage(message: BaseMessage): Promise<void> {
    await this.addMessages([message])
  }

  override async addMessages(messages: BaseMessage[]): Promise<void> {
    if (messages.length === 0) return
    const added = messages.map(stored)
    const ref = { userId: this.userId, id: this.id }
    while (!(await unlessConflict(this.history.appendMessage(ref, added, EXISTS))))
      await makeSession(this.history, this)
  }

  /** Takes all messages away. They stay in the log, and the session is the same. */
  override async clear(): Promise<void> {
    // Where there is no session, none is made.
    await unlessConflict(this.history.commit(this, [{ type: 'truncate', length: 0 }], EXISTS))
  }
}

const EXISTS = { expectedVersion: 'exists' } as const

function stored(message: BaseMessage, i: number): StoredChatMessage {
  const { type, data } = message.toDict() as object as StoredChatMessage
  if (RESTORED.test(type)) return { type, data }
  throw invalid(`LangChain restores no message of type ${JSON.stringify(type)}`, [i, 'type'])
}

const RESTORED = /^(?:human|ai|system|function|tool|generic)$/

const storedMessages: StandardSchema<StoredChatMessage, StoredChatMessage> = {
  '~standard': {
    version: 1,
    vendor: 'turnlog',
    validate(value) {
      const { type, data } = (typeof value === 'object' && value !== null ? value : {}) as Partial<
        Record<string, unknown>
      >
      return typeof type === 'string' && typeof data === 'object' && data !== null
        ? { value: value as StoredChatMessage }
        : { issues: [{ message: 'a stored message has a type and data' }] }
    }
  }
}
