import type { RunnableConfig } from '@langchain/core/runnables'
import {
  BaseCheckpointSaver,
  compareWritesSortKeys,
  getCheckpointId,
  maxChannelVersion,
  TASKS,
  WRITES_IDX_MAP,
  writesSortKey,
  type ChannelVersions,
  type Checkpoint,
  type CheckpointListOptions,
  type CheckpointMetadata,
  type CheckpointPendingWrite,
  type CheckpointTuple,
  type DeltaChannelHistory,
  type PendingWrite
} from '@langchain/langgraph-checkpoint'
import { randomInt } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { idOf, knownOptions, misuse, objectOf, type OptionKeys } from '../arguments.ts'
import { isTurnlogError } from '../errors.ts'
import { equalJson, type Json } from '../json.ts'
import { plain, type StandardSchema } from '../message.ts'
import type { SessionHistoryService } from '../service.ts'
import type { Session } from '../session.ts'
import { Outbox, type Make } from './langgraph/outbox.ts'
import { dump, load, type Place, type Serde } from './langgraph/serde.ts'
import {
  Thread,
  withoutShared,
  type Checkpointed,
  type CheckpointItem,
  type Dumped,
  type Stored,
  type StoredCheckpoint,
  type ThreadItem,
  type WritesItem
} from './langgraph/thread.ts'
import { LANGGRAPH_FORMAT } from './messages/langgraph.ts'
import { warnIfUntested } from './shared/framework.ts'
import { makeSession, readSession, serviceOf, type AnyHistory } from './shared/sessions.ts'
import { thawed } from './shared/thawed.ts'

export { TurnlogChatMessageHistory, type TurnlogChatMessageHistoryOptions } from './langgraph/chat-history.ts'
export { fromMessages } from './langgraph/from-messages.ts'
export type { CheckpointItem, ThreadItem, WritesItem } from './langgraph/thread.ts'
export { LANGCHAIN_FORMAT, LANGGRAPH_FORMAT, toMessages, type StoredChatMessage } from './messages/langgraph.ts'
export type { Carried, Dropped } from './shared/pieces.ts'

/** Options of {@link TurnlogSaver}. */
export interface TurnlogSaverOptions {
  /** Any service; of a store that lasts, a run goes on after a restart where it was. */
  readonly history: AnyHistory
  /** Whose sessions the threads are. */
  readonly userId: string
  /** What values are put through. @default LangGraph's `JsonPlusSerializer` */
  readonly serde?: Serde | undefined
}

const OPTIONS: OptionKeys<TurnlogSaverOptions> = { history: true, userId: true, serde: true }

/**
 * A checkpointer of LangGraph (`@langchain/langgraph-checkpoint` 1.2) that keeps its threads in turnlog, and only there: a thread is a session of `userId`
 * with the thread's id, with all its namespaces. Thread ids are as ids of sessions: 1 to 512 UTF-16 code units, with no white space around them.
 *
 * A `put` or `putWrites` is stored whole or not at all, and is stored once it has resolved; those of one round of the event loop share a commit. Of a checkpoint the channels that have changed are stored, and of a list what is
 * between the members that it begins and ends with alike: a state of 10,000 messages that gets one more stores one. Values are found along the parents of
 * their checkpoint, so what two branches of a thread have is never mixed. Repeated, neither call stores anything.
 *
 * `deleteThread` hides the session, and its log stays: `history.rewind` brings it back, and `history.purgeSession` erases it.
 *
 * Calls reject with a `TypeError` where the config names no thread, or one that cannot be; `INVALID_MESSAGE` where JSON or the serializer cannot carry a
 * value, with its path; `FORMAT_MISMATCH` where another adapter has written the session; and as those of the service.
 *
 * @example
 * const graph = workflow.compile({ checkpointer: new TurnlogSaver({ history, userId: 'ada' }) })
 * await graph.invoke({ messages: [new HumanMessage('A train to Oslo?')] }, { configurable: { thread_id: 'trip' } })
 */
export class TurnlogSaver extends BaseCheckpointSaver {
  readonly userId: string
  /** The service as one of the items that threads consist of: `rewind`, `fork`, `undo` and the past of a thread, by `userId` and its id, go through it. */
  readonly history: SessionHistoryService<ThreadItem>
  /** Of each thread, what is being stored. */
  readonly #outboxes = new Map<string, Outbox>()

  constructor(options: TurnlogSaverOptions) {
    const { history, userId, serde } = knownOptions(objectOf(options, 'options'), OPTIONS)
    super(serde)
    this.userId = idOf('userId', userId)
    this.history = serviceOf(history, threadItems, LANGGRAPH_FORMAT)
    warnIfUntested('@langchain/langgraph-checkpoint', '1.2')
  }

  override async getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    const { thread_id: threadId, checkpoint_ns: ns = '' } = placeOf(config)
    if (threadId === undefined) return undefined
    const session = await this.#readAfterPuts(threadIdOf(threadId))
    if (!session) return undefined
    const thread = threadOf(session.messages)
    const checkpoint = thread.get(ns, getCheckpointId(config) || undefined)
    return checkpoint && this.#tuple(session, thread, checkpoint)
  }

  /**
   * Newest first within each thread; without a `thread_id`, of all threads of the user. A checkpoint that lacks what it was made of (`CORRUPT_LOG`, where it is
   * asked for itself) is left out: the others are to be had.
   */
  override async *list(config: RunnableConfig, options: CheckpointListOptions = {}): AsyncGenerator<CheckpointTuple> {
    const { thread_id: threadId, checkpoint_ns: ns, checkpoint_id: id } = placeOf(config)
    const { before, filter = {} } = options
    const end = before && getCheckpointId(before)
    let left = options.limit ?? Infinity
    const threads = threadId === undefined ? await this.#threads() : [threadIdOf(threadId)]
    for (const each of threads) {
      if (left <= 0) return
      const session = await this.#readAfterPuts(each)
      if (!session) continue
      const thread = threadOf(session.messages)
      for (const checkpoint of thread.checkpoints(ns)) {
        if (left <= 0) return
        const { checkpointId } = checkpoint.item
        if ((id && checkpointId !== id) || (end && checkpointId >= end)) continue
        const metadata = (await load(this.serde, checkpoint.metadata, session)) as Record<string, unknown>
        if (!Object.entries(filter).every(([key, value]) => isDeepStrictEqual(metadata[key], value))) continue
        const tuple = await this.#tuple(session, thread, checkpoint).catch((error: unknown) => {
          if (id || !isTurnlogError(error, 'CORRUPT_LOG')) throw error
        })
        if (!tuple) continue
        left--
        yield tuple
      }
    }
  }

  override async put(
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    newVersions: ChannelVersions = checkpoint.channel_versions
  ): Promise<RunnableConfig> {
    const { thread_id, checkpoint_ns: ns = '', checkpoint_id: parentId } = placeOf(config)
    const threadId = threadIdOf(thread_id)
    // All of it as it is now: the graph goes on meanwhile.
    const { channel_values: given, ...rest } = checkpoint
    const copy = plain(rest, ['checkpoint']) as unknown as StoredCheckpoint
    const changed = Object.keys(newVersions)
    const values = changed.map((channel) =>
      Object.hasOwn(given, channel)
        ? dump(this.serde, given[channel as never], ['checkpoint', 'channel_values', channel])
        : null
    )
    const dumping = allOf([dump(this.serde, metadata, ['metadata']), ...values])
    await this.#outbox(threadId).add('put', dumping, ([dumpedMetadata, ...dumped]) => (thread) => {
      const parent = parentId === undefined ? undefined : thread.get(ns, parentId)
      const stored = changed.map((channel, i) => [channel, dumped[i]! && storedOf(dumped[i], channel, parent)])
      const item: CheckpointItem = {
        kind: 'checkpoint',
        ns,
        checkpointId: copy.id,
        ...(parentId !== undefined && { parentId }),
        checkpoint: copy,
        metadata: storedOf(dumpedMetadata!, ''),
        values: Object.fromEntries(stored) as CheckpointItem['values']
      }
      const isThere = equalJson(thread.get(ns, copy.id)?.item as Json | undefined, item as unknown as Json)
      return isThere ? undefined : { item, isAsOf: true }
    })
    return configOf(threadId, ns, copy.id)
  }

  override async putWrites(
    config: RunnableConfig,
    writes: PendingWrite[],
    taskId: string,
    taskPath = ''
  ): Promise<void> {
    const { thread_id, checkpoint_ns: ns = '', checkpoint_id: checkpointId } = placeOf(config)
    const threadId = threadIdOf(thread_id)
    if (checkpointId === undefined) throw misuse('configurable.checkpoint_id', 'a string', checkpointId)
    const dumping = allOf(writes.map(([, value], i) => dump(this.serde, value, ['writes', i, 1])))
    const places = writes.map(([channel], i) => ({
      idx: Object.hasOwn(WRITES_IDX_MAP, channel) ? WRITES_IDX_MAP[channel]! : i,
      channel
    }))
    await this.#outbox(threadId).add('writes', dumping, (all) => {
      // Of two with one place the later has it.
      const dumped = [...new Map(all.map((made, i) => [places[i]!.idx, { ...places[i]!, made }])).values()]
      return (thread) => {
        const checkpoint = thread.get(ns, checkpointId)
        const added = dumped
          .map(({ idx, channel, made }) => ({ idx, channel, value: storedOf(made, channel, checkpoint) }))
          .filter(({ idx, value }) => {
            const there = thread.write(ns, checkpointId, taskId, idx)
            if (!there) return true
            // An error, an interrupt or an answer to one takes the place of another.
            return idx < 0 && (there.taskPath !== taskPath || !equalJson(there.value.stored as Json, value as Json))
          })
        if (added.length === 0) return undefined
        const item: WritesItem = { kind: 'writes', ns, checkpointId, taskId, taskPath, writes: added }
        // That a write is there already is true only of the thread as it is: it may be rewound meanwhile.
        return { item, isAsOf: added.length < dumped.length || added.some(({ value }) => 'lists' in value) }
      }
    })
  }

  /** After what is being put. Hides the thread's session; its log stays, and a rewind brings it back. `history.purgeSession` erases it. */
  override async deleteThread(threadId: string): Promise<void> {
    const id = threadIdOf(threadId)
    await this.#outbox(id).addDeletion(async () => {
      if (await this.#read(id)) await this.history.deleteSession(this.userId, id)
    })
  }

  override async getDeltaChannelHistory(options: {
    config: RunnableConfig
    channels: string[]
  }): Promise<Record<string, DeltaChannelHistory>> {
    const { thread_id: threadId, checkpoint_ns: ns = '' } = placeOf(options.config)
    const session = threadId === undefined ? null : await this.#readAfterPuts(threadIdOf(threadId))
    const thread = threadOf(session?.messages ?? [])
    const target = thread.get(ns, getCheckpointId(options.config) || undefined)
    const histories = options.channels.map(async (channel): Promise<[string, DeltaChannelHistory]> => {
      // All of it at once: the thread may grow meanwhile.
      const steps: Promise<CheckpointPendingWrite[]>[] = []
      let seed: Promise<unknown> | undefined
      for (let each = parentOf(thread, target); each && !seed; each = parentOf(thread, each)) {
        steps.push(this.#writes(session!, thread, each.item, channel))
        const value = each.channels.get(channel)?.value
        if (value) seed = load(this.serde, value, session!)
      }
      const [writes, loaded] = await Promise.all([Promise.all(steps.toReversed()), seed])
      return [channel, { writes: writes.flat(), ...(seed && { seed: loaded }) }]
    })
    return Object.fromEntries(await Promise.all(histories))
  }

  /**
   * A version that sorts after `current`, and is that of no other branch: 24 digits. Threads that were begun by another saver with numbers go on with
   * numbers, as LangGraph compares the two as what they are.
   */
  override getNextVersion(current: number | string | undefined): number {
    if (typeof current === 'number') return Math.floor(current) + 1
    const count =
      current === undefined ? 0 : Number.parseInt(current.slice(0, current.length === 24 ? 12 : undefined), 10)
    const next = `${(Number.isNaN(count) ? 0 : count) + 1}`.padStart(12, '0')
    const chance = `${randomInt(1e12)}`.padStart(12, '0')
    // LangGraph's types have numbers in all savers, and its runner takes strings, too.
    return (next + chance) as unknown as number
  }

  /**
   * The version of the thread's session with which it got a checkpoint, or its newest one, to be given to `history`: to fork or rewind the thread at it, or to
   * read it. Of what a fork began with it is the version of its beginning; `undefined` where there is no such checkpoint.
   *
   * @example
   * const at = await saver.versionOf(state.config)
   * await saver.history.fork({ userId: 'ada', id: 'trip' }, { at, sessionId: 'another trip' })
   */
  async versionOf(config: RunnableConfig): Promise<number | undefined> {
    const { thread_id: threadId, checkpoint_ns: ns = '' } = placeOf(config)
    const session = await this.#readAfterPuts(threadIdOf(threadId))
    const item = session && threadOf(session.messages).get(ns, getCheckpointId(config) || undefined)?.item
    if (!item) return undefined
    let version: number | undefined
    let begun = 1
    for await (const event of this.history.readEvents(this.userId, session.id, { to: session.version })) {
      if (event.type === 'created') begun = event.version
      else if (
        event.type === 'message-appended' &&
        equalJson(event.data.message as unknown as Json, item as unknown as Json)
      )
        version = event.version
    }
    return version ?? begun
  }

  // With what has been put here before: who goes on with a run that was aborted need not have waited for its puts.
  async #readAfterPuts(threadId: string): Promise<Session<ThreadItem> | null> {
    await this.#outboxes.get(threadId)?.settled()
    return this.#read(threadId)
  }

  #read(threadId: string): Promise<Session<ThreadItem> | null> {
    return readSession(this.history, { userId: this.userId, id: threadId })
  }

  async #threads(): Promise<string[]> {
    const sessions = await this.history.listSessions(this.userId)
    return sessions.filter(({ format }) => format === LANGGRAPH_FORMAT).map(({ id }) => id)
  }

  #outbox(threadId: string): Outbox {
    let outbox = this.#outboxes.get(threadId)
    if (!outbox) {
      const empty = (): void => void this.#outboxes.delete(threadId)
      this.#outboxes.set(threadId, (outbox = new Outbox((makes) => this.#append(threadId, makes), empty)))
    }
    return outbox
  }

  // What is stored is made of the thread as it is. It is read each time: versions of a thread that was purged and begun again are those of another, so one
  // that is remembered would be taken for it.
  async #append(threadId: string, makes: readonly Make[]): Promise<void> {
    const ref = { userId: this.userId, id: threadId }
    for (;;) {
      const session = (await this.#read(threadId)) ?? (await makeSession(this.history, ref))
      // Another has made it.
      if (!session) continue
      const stored = threadOf(session.messages)
      // Each is made of those before it, too.
      const thread = makes.length > 1 ? new Thread(stored) : stored
      const items: ThreadItem[] = []
      let isAsOf = makes.length > 1
      for (const make of makes) {
        const made = make(thread)
        if (!made) continue
        items.push(made.item)
        isAsOf ||= made.isAsOf
        if (thread !== stored) thread.add(made.item)
      }
      if (items.length === 0) return
      try {
        const expectedVersion = isAsOf ? session.version : 'exists'
        const [first] = items
        if (await this.history.appendMessage(ref, items.length > 1 ? items : first!, { expectedVersion })) return
      } catch (error) {
        // It has changed, or expired, meanwhile.
        if (!isTurnlogError(error, 'VERSION_CONFLICT') && !isTurnlogError(error, 'SESSION_NOT_FOUND')) throw error
      }
    }
  }

  async #tuple(session: Session<ThreadItem>, thread: Thread, checkpointed: Checkpointed): Promise<CheckpointTuple> {
    const { item, channels } = checkpointed
    const { ns, checkpointId, parentId } = item
    // All of it is asked for at once: the thread may grow meanwhile.
    const isOld = item.checkpoint.v < 4 && parentId !== undefined
    const [values, metadata, pendingWrites, sends] = await Promise.all([
      Promise.all(
        [...channels].flatMap(([channel, { value }]) =>
          value ? [load(this.serde, value, session).then((loaded) => [channel, loaded] as const)] : []
        )
      ),
      load(this.serde, checkpointed.metadata, session),
      this.#writes(session, thread, item),
      isOld ? this.#writes(session, thread, { ns, checkpointId: parentId }, TASKS) : []
    ])
    const checkpoint: Checkpoint = { ...thawed(item.checkpoint), channel_values: Object.fromEntries(values) }
    if (isOld) {
      const versions = Object.values(checkpoint.channel_versions)
      checkpoint.channel_values[TASKS] = sends.map(([, , value]) => value)
      checkpoint.channel_versions[TASKS] =
        versions.length > 0 ? maxChannelVersion(...versions) : this.getNextVersion(undefined)
    }
    return {
      config: configOf(session.id, ns, checkpointId),
      checkpoint,
      metadata: metadata as CheckpointMetadata,
      ...(parentId !== undefined && { parentConfig: configOf(session.id, ns, parentId) }),
      pendingWrites
    }
  }

  // In the order in which a run applies them.
  #writes(
    place: Place,
    thread: Thread,
    { ns, checkpointId }: Pick<CheckpointItem, 'ns' | 'checkpointId'>,
    ofChannel?: string
  ): Promise<CheckpointPendingWrite[]> {
    const pending = thread
      .pending(ns, checkpointId)
      .filter(({ channel }) => ofChannel === undefined || channel === ofChannel)
      .map((write) => ({ write, key: writesSortKey(write.taskPath, write.taskId, write.idx) }))
      .sort((a, b) => compareWritesSortKeys(a.key, b.key))
    return Promise.all(
      pending.map(async ({ write: { taskId, channel, value } }): Promise<CheckpointPendingWrite> => [
        taskId,
        channel,
        await load(this.serde, value, place)
      ])
    )
  }
}

interface ConfigPlace {
  readonly thread_id?: unknown
  readonly checkpoint_ns?: string | undefined
  readonly checkpoint_id?: string | undefined
}

function placeOf(config: RunnableConfig): ConfigPlace {
  const { thread_id, checkpoint_ns, checkpoint_id } = (config.configurable ?? {}) as Record<string, unknown>
  for (const [name, value] of Object.entries({ checkpoint_ns, checkpoint_id }))
    if (value !== undefined && typeof value !== 'string') throw misuse(`configurable.${name}`, 'a string', value)
  return {
    thread_id,
    checkpoint_ns: checkpoint_ns as string | undefined,
    // As LangGraph's own savers have it, none where it is empty.
    checkpoint_id: checkpoint_id === '' ? undefined : (checkpoint_id as string | undefined)
  }
}

function threadIdOf(value: unknown): string {
  const threadId = idOf('configurable.thread_id', value)
  // A session's id has none, so it would be another thread's.
  if (threadId.trim() !== threadId) throw misuse('configurable.thread_id', 'without white space around it', threadId)
  return threadId
}

function configOf(thread_id: string, checkpoint_ns: string, checkpoint_id: string): RunnableConfig {
  return { configurable: { thread_id, checkpoint_ns, checkpoint_id } }
}

function parentOf(thread: Thread, checkpoint: Checkpointed | undefined): Checkpointed | undefined {
  const { ns, parentId } = checkpoint?.item ?? {}
  return ns === undefined || parentId === undefined ? undefined : thread.get(ns, parentId)
}

// All of them, at once where none is waited for.
function allOf<T>(values: readonly (T | Promise<T>)[]): readonly T[] | Promise<readonly T[]> {
  return values.some((value) => value instanceof Promise) ? Promise.all(values) : (values as readonly T[])
}

function storedOf(dumped: Dumped | Stored, channel: string, base?: Checkpointed): Stored {
  return 'type' in dumped ? dumped : withoutShared(dumped, channel, base)
}

// Threads by their newest item, so that what was made of the items before need not be made again. An item stands at one place of one list, as it has no id by
// which it could be replaced: those before it are what they were.
const THREADS = new WeakMap<ThreadItem, Thread>()

function threadOf(items: readonly ThreadItem[]): Thread {
  let length = items.length
  let known: Thread | undefined
  for (; length > 0; length--) {
    known = THREADS.get(items[length - 1]!)
    if (known) break
  }
  // It may have grown since, with what is not in these items.
  const thread = known?.length === length ? known : Thread.of(items.slice(0, length))
  for (let i = length; i < items.length; i++) thread.add(items[i]!)
  const last = items.at(-1)
  if (last) THREADS.set(last, thread)
  return thread
}

/** What items of a thread have in common; what is in them is the saver's own. */
const threadItems: StandardSchema<ThreadItem, ThreadItem> = {
  '~standard': {
    version: 1,
    vendor: 'turnlog',
    validate(value) {
      const { kind, ns, checkpointId } = (typeof value === 'object' && value !== null ? value : {}) as Partial<
        Record<string, unknown>
      >
      return (kind === 'checkpoint' || kind === 'writes') && typeof ns === 'string' && typeof checkpointId === 'string'
        ? { value: value as ThreadItem }
        : { issues: [{ message: 'an item of a thread is a checkpoint or writes to one' }] }
    }
  }
}
