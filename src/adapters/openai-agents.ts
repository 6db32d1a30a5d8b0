import type {
  AgentInputItem,
  protocol,
  SessionHistoryRewriteArgs,
  SessionHistoryReplaceSuffixTransaction,
  SessionHistoryRewriteAwareSession,
  SessionHistoryTransaction,
  SessionHistoryTransactionArgs,
  SessionHistoryTransactionAwareSession
} from '@openai/agents-core'
import { idOf, knownOptions, misuse, objectOf, type OptionKeys } from '../arguments.ts'
import type { Change, WriteOptions } from '../calls.ts'
import { isTurnlogError, turnlogError } from '../errors.ts'
import { freshId } from '../ids.ts'
import { equalJson, type Json } from '../json.ts'
import { invalid, plain, type StandardSchema } from '../message.ts'
import type { SessionHistoryService } from '../service.ts'
import type { Session } from '../session.ts'
import { OPENAI_AGENTS_FORMAT } from './messages/openai-agents.ts'
import { warnIfUntested } from './shared/framework.ts'
import { makeSession, readSession, serviceOf, type AnyHistory } from './shared/sessions.ts'
import { thawed } from './shared/thawed.ts'

export { fromMessages, OPENAI_AGENTS_FORMAT, toMessages } from './messages/openai-agents.ts'
export type { Carried, Dropped } from './shared/pieces.ts'

/** Options of {@link TurnlogSession}. */
export interface TurnlogSessionOptions {
  /** Any service; of a store that lasts, what a run has added is there after a restart. */
  readonly history: AnyHistory
  readonly userId: string
  /** The session to go on with, or to begin. @default a fresh id */
  readonly sessionId?: string | undefined
}

const OPTIONS: OptionKeys<TurnlogSessionOptions> = { history: true, userId: true, sessionId: true }

/**
 * A session of the OpenAI Agents SDK (`@openai/agents-core` 0.20) that keeps its items in turnlog, and only there. Making one does nothing yet: the
 * session is made by what is first written.
 *
 * What the SDK adds in one call is one commit. What it takes away (`popItem`, `clearSession`, compaction) is a truncation: the items before it stay
 * readable at their versions. It has `userId` and `id`, so it can be given to `rewind`, `fork`, `undo` and the others of {@link history}. While somebody
 * holds a turn of it, what it writes is `TURN_BUSY`.
 *
 * `applyHistoryTransaction` is there, too: `operationId` is an idempotency key for the life of the session. With it the SDK keeps a tool call whose answer an
 * output guardrail has blocked.
 *
 * Methods reject with `INVALID_MESSAGE` where an item is none or JSON cannot carry it, `FORMAT_MISMATCH` where another adapter has written the session, and as
 * those of the service.
 *
 * @example
 * await run(agent, 'A train to Oslo?', { session: new TurnlogSession({ history, userId: 'ada' }) })
 */
export class TurnlogSession implements SessionHistoryRewriteAwareSession, SessionHistoryTransactionAwareSession {
  readonly userId: string
  readonly id: string
  /** The service as one of items: `at`, `rewind`, `fork` and turns of this session go through it. */
  readonly history: SessionHistoryService<AgentInputItem>

  constructor(options: TurnlogSessionOptions) {
    const { history, userId, sessionId } = knownOptions(objectOf(options, 'options'), OPTIONS)
    warnIfUntested('@openai/agents-core', '0.20')
    this.userId = idOf('userId', userId)
    this.id = sessionId === undefined ? freshId() : idOf('sessionId', sessionId).trim()
    this.history = serviceOf(history, items, OPENAI_AGENTS_FORMAT)
  }

  async getSessionId(): Promise<string> {
    return this.id
  }

  /** The items, oldest first, as copies that are the caller's; with `limit`, the newest so many. */
  async getItems(limit?: number): Promise<AgentInputItem[]> {
    const session = await this.#read()
    const all = session?.messages ?? []
    const count = limit === undefined ? all.length : Math.min(all.length, Math.max(0, Math.floor(limit)))
    return all.slice(all.length - count).map(thawed)
  }

  async addItems(added: AgentInputItem[]): Promise<void> {
    const messages = copies('items', added)
    if (messages.length > 0) await this.#commit([{ type: 'append', messages }])
  }

  async popItem(): Promise<AgentInputItem | undefined> {
    return this.#change((messages) => {
      const last = messages.at(-1)
      if (!last) return { answer: undefined }
      return { answer: thawed(last), changes: [{ type: 'truncate', length: messages.length - 1 }] }
    })
  }

  /** Takes all items away. They stay in the log, and the session is the same. */
  async clearSession(): Promise<void> {
    await this.#change((messages) => ({
      answer: undefined,
      ...(messages.length > 0 && { changes: [{ type: 'truncate', length: 0 }] })
    }))
  }

  async replaceHistoryWithCompaction(replacement: AgentInputItem[]): Promise<void> {
    await this.#commit([
      { type: 'truncate', length: 0 },
      { type: 'append', messages: copies('replacement', replacement) }
    ])
  }

  async applyHistoryMutations({ mutations }: SessionHistoryRewriteArgs): Promise<void> {
    await this.#change((messages) => {
      let rewritten: readonly AgentInputItem[] = messages
      for (const { callId, replacement } of mutations) rewritten = withCallReplaced(rewritten, callId, replacement)
      return { answer: undefined, changes: rewriting(messages, rewritten) }
    })
  }

  async applyHistoryTransaction(args: SessionHistoryTransactionArgs): Promise<void> {
    const { operationId: idempotencyKey, transaction } = await checked(args)
    if (transaction.type === 'append_items') {
      await this.#commit(remembered([{ type: 'append', messages: transaction.items }], args), { idempotencyKey })
      return
    }
    for (;;) {
      const session = await this.#read()
      const changes = suffixReplaced(session?.messages ?? [], transaction)
      if (changes && !session) {
        await makeSession(this.history, this)
        continue
      }
      try {
        if (changes && session) {
          await this.#commit(remembered(changes, args), { idempotencyKey, expectedVersion: session.version })
          return
        }
      } catch (error) {
        if (isTurnlogError(error, 'VERSION_CONFLICT')) continue
        if (!isTurnlogError(error, 'IDEMPOTENCY_CONFLICT')) throw error
      }
      // It may have been applied before: then it is held against what the session was at that time.
      const applied = await this.#versionOf(idempotencyKey)
      if (applied === undefined) throw mismatch(session?.version ?? 0)
      const before = await this.#at(applied - 1)
      const then = suffixReplaced(before?.messages ?? [], transaction)
      if (!then) throw usedBefore(idempotencyKey)
      await this.#commit(remembered(then, args), { idempotencyKey })
      return
    }
  }

  #read(): Promise<Session<AgentInputItem> | null> {
    return readSession(this.history, this)
  }

  #at(version: number): Promise<Session<AgentInputItem> | null> {
    return this.history.getSession(this.userId, this.id, { at: version })
  }

  // The session is made by the first who writes to it, whatever `missing` says.
  async #commit(changes: readonly Change<AgentInputItem>[], options: WriteOptions = {}): Promise<void> {
    const { expectedVersion = 'exists' } = options
    for (;;) {
      try {
        // `null` where it has expired since it was read.
        if (await this.history.commit(this, changes, { ...options, expectedVersion })) return
      } catch (error) {
        if (expectedVersion !== 'exists' || !isTurnlogError(error, 'VERSION_CONFLICT')) throw error
      }
      await makeSession(this.history, this)
    }
  }

  // A change of what is there: where another writes meanwhile, it is made of what there is then.
  async #change<A>(make: (items: readonly AgentInputItem[]) => Made<A>): Promise<A> {
    for (;;) {
      const session = await this.#read()
      const { answer, changes } = make(session?.messages ?? [])
      if (!session || !changes || changes.length === 0) return answer
      try {
        if (await this.history.commit(this, changes, { expectedVersion: session.version })) return answer
      } catch (error) {
        if (!isTurnlogError(error, 'VERSION_CONFLICT')) throw error
      }
    }
  }

  async #versionOf(idempotencyKey: string): Promise<number | undefined> {
    for await (const event of this.history.readEvents(this.userId, this.id))
      if (event.idempotencyKey === idempotencyKey) return event.version
    return undefined
  }
}

interface Made<A> {
  readonly answer: A
  readonly changes?: readonly Change<AgentInputItem>[]
}

/** What the SDK's items have in common: they are objects with a type, or messages that have a role. */
const items: StandardSchema<AgentInputItem, AgentInputItem> = {
  '~standard': {
    version: 1,
    vendor: 'turnlog',
    validate: (value) => (isItem(value) ? { value } : { issues: [{ message: NO_ITEM }] })
  }
}

// Checked here, so that a path begins with the place in the caller's list.
function copies(name: string, given: readonly AgentInputItem[]): readonly AgentInputItem[] {
  if (!Array.isArray(given)) throw misuse(name, 'a list of items', given)
  return given.map((item: AgentInputItem, i) => {
    const copy = plain(item, [i])
    if (isItem(copy)) return copy
    throw invalid(NO_ITEM, [i])
  })
}

function isItem(value: unknown): value is AgentInputItem {
  const { type, role } = (value ?? {}) as { type?: unknown; role?: unknown }
  return typeof type === 'string' || (type === undefined && typeof role === 'string')
}

const NO_ITEM = 'an item has a type, or is a message with a role'

// As the SDK does it: the first of that call is replaced, further ones go.
function withCallReplaced(
  all: readonly AgentInputItem[],
  callId: string,
  replacement: AgentInputItem
): readonly AgentInputItem[] {
  const isOfCall = (item: AgentInputItem): boolean => item.type === 'function_call' && item.callId === callId
  const first = all.findIndex(isOfCall)
  return all.flatMap((item, i) => (i === first ? [replacement] : isOfCall(item) ? [] : [item]))
}

// From the first that differs on.
function rewriting(
  old: readonly AgentInputItem[],
  rewritten: readonly AgentInputItem[]
): readonly Change<AgentInputItem>[] {
  const start = rewritten.findIndex((item, i) => !equalJson(item as Json, old[i] as Json | undefined))
  const length = start < 0 ? rewritten.length : start
  if (length === old.length && start < 0) return []
  return [
    { type: 'truncate', length },
    { type: 'append', messages: rewritten.slice(length) }
  ]
}

function suffixReplaced(
  all: readonly AgentInputItem[],
  { expectedSuffix, replacement }: SessionHistoryReplaceSuffixTransaction
): readonly Change<AgentInputItem>[] | undefined {
  const start = all.length - expectedSuffix.length
  if (start < 0 || !equalJson(all.slice(start) as Json[], expectedSuffix as Json[])) return undefined
  return [
    { type: 'truncate', length: start },
    { type: 'append', messages: replacement }
  ]
}

function usedBefore(idempotencyKey: string): Error {
  const message = `The operation ${JSON.stringify(idempotencyKey)} was applied with another transaction`
  return turnlogError('IDEMPOTENCY_CONFLICT', message, { idempotencyKey })
}

function mismatch(actual: number): Error {
  const message = 'The end of the session is not what the transaction expects'
  return turnlogError('VERSION_CONFLICT', message, { expected: 'any', actual })
}

// What changes nothing records no key, and an operation is to be known again, whatever it was.
function remembered(
  changes: readonly Change<AgentInputItem>[],
  { operationId, transaction }: SessionHistoryTransactionArgs
): readonly Change<AgentInputItem>[] {
  const isNothing =
    transaction.type === 'append_items'
      ? transaction.items.length === 0
      : transaction.expectedSuffix.length === 0 && transaction.replacement.length === 0
  return isNothing ? [{ type: 'metadata', set: { [OPENAI_AGENTS_FORMAT]: { operationId } } }] : changes
}

let sdk: Promise<{ readonly protocol: typeof protocol }> | undefined

// Before anything is recorded: as the SDK's own sessions have it, nothing that the interface does not name is let through.
async function checked(args: SessionHistoryTransactionArgs): Promise<SessionHistoryTransactionArgs> {
  const { operationId, transaction } = objectOf(args, 'args')
  if (typeof operationId !== 'string' || operationId.trim() === '')
    throw misuse('operationId', 'a string that is not blank', operationId)
  const given = objectOf(transaction, 'transaction')
  const fields = FIELDS.get(given.type)
  if (fields === undefined) throw misuse('transaction', 'of type append_items or replace_suffix', transaction)
  const isComplete = fields.every((key) => Array.isArray((given as Partial<Record<string, unknown>>)[key]))
  if (!isComplete || Object.keys(given).length !== fields.length + 1)
    throw misuse('transaction', `a type and the lists ${fields.join(' and ')}`, transaction)
  const copy = plain(given, ['transaction']) as unknown as SessionHistoryTransaction
  // Who has a transaction to apply has the SDK; and an import costs each time.
  sdk ??= import('@openai/agents-core')
  const { ModelItem } = (await sdk).protocol
  for (const key of fields)
    for (const [i, item] of (copy as unknown as Record<string, readonly unknown[]>)[key]!.entries()) {
      const { error } = ModelItem.safeParse(item)
      if (error) throw invalid('the SDK has no such item', ['transaction', key, i])
    }
  return { operationId, transaction: copy }
}

const FIELDS: ReadonlyMap<unknown, readonly string[]> = new Map([
  ['append_items', ['items']],
  ['replace_suffix', ['expectedSuffix', 'replacement']]
])
