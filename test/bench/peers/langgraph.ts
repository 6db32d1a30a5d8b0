import type { BaseMessage } from '@langchain/core/messages'
import {
  MemorySaver,
  uuid6,
  type BaseCheckpointSaver,
  type Checkpoint,
  type CheckpointMetadata
} from '@langchain/langgraph-checkpoint'
import { Database } from '../driver.ts'
import { roleOf, versionOf, type Conversation, type Service, type Subject } from '../subjects.ts'
import { messageOf } from './langchain.ts'

/** Gives out what it makes anew of its serialized checkpoints: isolates. */
export const memorySaver: Subject = {
  name: 'MemorySaver',
  version: versionOf('@langchain/langgraph-checkpoint'),
  open: async () => serviceOver(new MemorySaver(), async () => undefined)
}

/** In its favour, it uses the driver as it is compiled for turnlog. */
export const sqliteSaver: Subject = {
  name: 'SqliteSaver',
  version: versionOf('@langchain/langgraph-checkpoint-sqlite'),
  open: (path) => inFile(path, 'FULL')
}

/** The driver's own `synchronous` with a log is NORMAL: the newest checkpoints may be gone when the power was. */
export const sqliteSaverDefault: Subject = {
  name: 'SqliteSaver, as it is',
  version: sqliteSaver.version,
  open: (path) => inFile(path)
}

async function inFile(path: string, synchronous?: string): Promise<Service> {
  const { SqliteSaver } = await import('@langchain/langgraph-checkpoint-sqlite')
  const database = new Database(path)
  const saver = new SqliteSaver(database)
  // Makes the tables, and the log.
  await saver.getTuple({ configurable: { thread_id: 'none' } })
  if (synchronous !== undefined) database.pragma(`synchronous = ${synchronous}`)
  return {
    ...serviceOver(saver, async () => void database.close()),
    settings: async () => ({
      journal_mode: database.pragma('journal_mode', { simple: true }) as string,
      synchronous: database.pragma('synchronous', { simple: true }) as number
    })
  }
}

function serviceOver(saver: BaseCheckpointSaver, close: () => Promise<void>): Service {
  let count = 0
  return {
    begin: async (id = `thread-${count++}`) => new Thread(saver, id),
    find: (id) => new Thread(saver, id),
    close
  }
}

/**
 * A thread, used as LangGraph's loop uses it: a run gets the newest checkpoint; what is said makes a checkpoint, and what is
 * answered the next, each with all messages so far, in an array of its own as the reducer makes it. In LangGraph's favour, the
 * writes that its loop stores before each checkpoint, and its other channels, are left out, and a thread that is appended to
 * without being read between goes on with the checkpoint that it made.
 */
export class Thread implements Conversation {
  readonly #saver: BaseCheckpointSaver
  readonly #id: string
  readonly #checkpoints: (readonly [count: number, id: string])[] = []
  #newest: Checkpoint | undefined
  #step = -1

  constructor(saver: BaseCheckpointSaver, id: string) {
    this.#saver = saver
    this.#id = id
  }

  append(role: 'user' | 'assistant', text: string): Promise<unknown> {
    return this.add([messageOf(role, text)], role === 'user' ? 'input' : 'loop')
  }

  load(texts: readonly string[]): Promise<unknown> {
    return this.add(
      texts.map((text, i) => messageOf(roleOf(i), text)),
      'loop'
    )
  }

  async add(messages: readonly BaseMessage[], source: CheckpointMetadata['source']): Promise<void> {
    const before = this.#newest
    const all = [...messagesOf(before), ...messages]
    const version = ((before?.channel_versions['messages'] as number | undefined) ?? 0) + 1
    const step = this.#step++
    const checkpoint: Checkpoint = {
      v: 4,
      id: uuid6(step),
      ts: new Date().toISOString(),
      channel_values: { messages: all },
      channel_versions: { messages: version },
      versions_seen: { model: { messages: version } }
    }
    this.#newest = checkpoint
    this.#checkpoints.push([all.length, checkpoint.id])
    await this.#saver.put(this.#config(before?.id), checkpoint, { source, step, parents: {} }, { messages: version })
  }

  async read(): Promise<readonly unknown[]> {
    this.#newest = (await this.#saver.getTuple(this.#config()))?.checkpoint
    return messagesOf(this.#newest)
  }

  async readAt(count: number): Promise<readonly unknown[]> {
    return messagesOf(await this.#at(count))
  }

  /** A run from an old checkpoint: what it makes has that one for its parent. */
  async rewind(count: number): Promise<readonly unknown[]> {
    this.#newest = await this.#at(count)
    await this.add([], 'fork')
    return this.read()
  }

  async #at(count: number): Promise<Checkpoint> {
    const id = this.#checkpoints.findLast(([length]) => length === count)![1]
    return (await this.#saver.getTuple(this.#config(id)))!.checkpoint
  }

  #config(id?: string) {
    return { configurable: { thread_id: this.#id, checkpoint_ns: '', ...(id !== undefined && { checkpoint_id: id }) } }
  }
}

function messagesOf(checkpoint: Checkpoint | undefined): readonly BaseMessage[] {
  return (checkpoint?.channel_values['messages'] as BaseMessage[] | undefined) ?? []
}
