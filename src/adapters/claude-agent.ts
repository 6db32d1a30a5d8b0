import type {
  foldSessionSummary,
  SessionKey,
  SessionStore,
  SessionStoreEntry,
  SessionSummaryEntry
} from '@anthropic-ai/claude-agent-sdk'
import { idOf, knownOptions, misuse, objectOf, type OptionKeys } from '../arguments.ts'
import type { SessionRef } from '../calls.ts'
import { isTurnlogError, turnlogError, type TurnlogErrorOf } from '../errors.ts'
import type { Json, JsonObject } from '../json.ts'
import { invalid, plain, type StandardSchema } from '../message.ts'
import type { SessionHistoryService } from '../service.ts'
import type { Session } from '../session.ts'
import { CLAUDE_AGENT_FORMAT } from './messages/claude-agent.ts'
import { warnIfUntested } from './shared/framework.ts'
import { makeSession, readSession, serviceOf, type AnyHistory } from './shared/sessions.ts'
import { thawed } from './shared/thawed.ts'

export { CLAUDE_AGENT_FORMAT, fromMessages, toMessages } from './messages/claude-agent.ts'
export type { Carried, Dropped } from './shared/pieces.ts'

/** Options of {@link TurnlogSessionStore}. */
export interface TurnlogSessionStoreOptions {
  /** Any service; of a store that lasts, sessions can be resumed after a restart, on any machine that reaches it. */
  readonly history: AnyHistory
  /** Whose sessions they are. Those of two users do not see each other, also where `projectKey` and `sessionId` are the same. */
  readonly userId: string
}

const OPTIONS: OptionKeys<TurnlogSessionStoreOptions> = { history: true, userId: true }

/**
 * A `SessionStore` of the Claude Agent SDK (`@anthropic-ai/claude-agent-sdk` 0.3) that keeps transcripts in turnlog, and only there. The SDK calls that
 * interface **alpha**: this is tested with 0.3, and another version is warned of.
 *
 * An `append` is one commit, with the summary that `listSessionSummaries` gives; only what a store does not take at once (1 MB in NATS) is stored in several, and
 * where it would not take one of the entries alone, none is. Before the first
 * the session is made; where the process ends in between, it is as if never written. An entry whose
 * `uuid` the session has is left out, so a batch may be given again; entries without one are appended each time, as the interface has it. Appends of one
 * store object to one key are stored in order of the calls; of several processes, in order of their commits, none lost. While somebody holds a turn of the
 * session they wait.
 *
 * `delete` hides: first the transcripts of subagents, then the main one, and then those of subagents that another process has begun meanwhile, one commit each; where it
 * fails in between, it can be called again. What it has hidden is at its version in {@link history}, until it is purged.
 *
 * Each transcript is a session of its own: {@link refOf} names it, for `rewind`, `fork`, `getSession` with `at` and the others of {@link history}.
 *
 * Methods reject with `COMMIT_TOO_LARGE` where the store cannot take an entry alone; `INVALID_MESSAGE` where an entry is none or JSON cannot carry it, with its path; `FORMAT_MISMATCH` where another adapter has written the session;
 * a `TypeError` for keys that are none or too long; and as those of the service.
 *
 * @example
 * const sessionStore = new TurnlogSessionStore({ history, userId: 'ada' })
 * for await (const message of query({ prompt: 'Hello', options: { sessionStore } })) continue
 */
export class TurnlogSessionStore implements Required<SessionStore> {
  readonly userId: string
  /** The service as one of transcript entries. What it appends is in no summary until the next `append`. */
  readonly history: SessionHistoryService<SessionStoreEntry>
  // Only the order of calls that are under way: nothing that a restart would lose.
  readonly #order = new Map<string, Promise<void>>()
  // The uuids, so that a long session is not read through with each append. A snapshot that is not here is: after a restart nothing differs.
  readonly #known = new WeakMap<Session<SessionStoreEntry>, Set<string>>()

  constructor(options: TurnlogSessionStoreOptions) {
    const { history, userId } = knownOptions(objectOf(options, 'options'), OPTIONS)
    this.userId = idOf('userId', userId)
    this.history = serviceOf(history, entries, CLAUDE_AGENT_FORMAT)
    warnIfUntested('@anthropic-ai/claude-agent-sdk', '0.3')
  }

  /**
   * The session that has the transcript of `key`. Main transcripts of a project are the sessions of the user `<userId>/<projectKey>`, and those of the
   * subagents of one session the sessions of `<userId>/<projectKey>/<sessionId>`: so neither list reads what is not in it. `%` and, in users, `/` are
   * written `%25` and `%2F`; no two keys have the same. A fork needs an id that a key has: `refOf({ projectKey, sessionId }).id` for any `sessionId`; under
   * another (`try 100%`) no key finds it, and it is not listed.
   */
  refOf(key: SessionKey): SessionRef {
    const { projectKey, sessionId, subpath } = objectOf(key, 'key', 'a key with projectKey and sessionId')
    const project = [this.userId, text('key.projectKey', projectKey)]
    const id = text('key.sessionId', sessionId)
    if (subpath === undefined) return { userId: userOf(project), id: idOf('key.sessionId', escaped(id)) }
    if (subpath === '') throw misuse('key.subpath', 'left out for the main transcript, not empty', subpath)
    const path = text('key.subpath', subpath)
    return { userId: userOf([...project, id]), id: idOf('key.subpath', escaped(path)) }
  }

  /**
   * The version at which a transcript ends with the entry of that `uuid`: to fork there, to rewind to it, to read it as it was. `undefined` where the log has no such entry. Reads the
   * log. What a fork begins with is in the log of its parent.
   *
   * @example
   * const at = await store.versionOf(key, uuid)
   * await store.history.fork(store.refOf(key), { at, sessionId: randomUUID() })
   */
  async versionOf(key: SessionKey, uuid: string): Promise<number | undefined> {
    const { userId, id } = this.refOf(key)
    let version: number | undefined
    for await (const event of this.history.readEvents(userId, id))
      if (event.type === 'message-appended' && event.data.message.uuid === uuid) version = event.version
    return version
  }

  async append(key: SessionKey, added: SessionStoreEntry[]): Promise<void> {
    const ref = this.refOf(key)
    if (!Array.isArray(added)) throw misuse('entries', 'a list', added)
    const copies = added.map((entry, i) => checked(plain(entry, [i]), i))
    await this.#inOrder(ref, () => this.#append(key, ref, copies))
  }

  /** The entries as copies that are the caller's; `null` where none were ever appended, or they were deleted. */
  async load(key: SessionKey): Promise<SessionStoreEntry[] | null> {
    const session = await readSession(this.history, this.refOf(key))
    if (!session || !(markOf(session) || session.messages.length > 0)) return null
    return session.messages.map(thawed)
  }

  async listSessions(projectKey: string): Promise<{ sessionId: string; mtime: number }[]> {
    const listed = await this.#listed([this.userId, text('projectKey', projectKey)])
    return listed.map(({ id, updatedAt }) => ({ sessionId: unescaped(id), mtime: Math.floor(updatedAt) }))
  }

  /** The summaries, with the time of `listSessions`: they are stored in the commit of what they summarize, so none is stale. */
  async listSessionSummaries(projectKey: string): Promise<SessionSummaryEntry[]> {
    const listed = await this.#listed([this.userId, text('projectKey', projectKey)])
    return listed.flatMap((session) => {
      const data = markOf(session)?.summary
      return data
        ? [{ sessionId: unescaped(session.id), mtime: Math.floor(session.updatedAt), data: thawed(data) }]
        : []
    })
  }

  async delete(key: SessionKey): Promise<void> {
    const ref = this.refOf(key)
    await this.#inOrder(ref, async () => {
      if (key.subpath === undefined) await this.#deleteBelow(key)
      await this.history.deleteSession(ref.userId, ref.id)
      // What another process has begun meanwhile.
      if (key.subpath === undefined) await this.#deleteBelow(key)
    })
  }

  async listSubkeys({ projectKey, sessionId }: { projectKey: string; sessionId: string }): Promise<string[]> {
    const scope = [this.userId, text('key.projectKey', projectKey), text('key.sessionId', sessionId)]
    return (await this.#listed(scope)).map(({ id }) => unescaped(id))
  }

  async #deleteBelow(key: SessionKey): Promise<void> {
    for (const subpath of await this.listSubkeys(key)) await this.delete({ ...key, subpath })
  }

  async #append(key: SessionKey, ref: SessionRef, added: readonly SessionStoreEntry[]): Promise<void> {
    for (;;) {
      // Where nothing comes after it, as the process ends, it has no mark, and is as if it was never written.
      const session = (await readSession(this.history, ref)) ?? (await makeSession(this.history, ref))
      if (!session) continue
      const known = this.#known.get(session) ?? plus(new Set(), session.messages)
      const fresh = withoutKnown(added, known)
      if (markOf(session) && fresh.length === 0) return
      const mark = key.subpath === undefined ? await markAfter(session, fresh, key) : {}
      try {
        // The mark first: whatever version one rewinds to or forks at, it is there wherever an entry is.
        const set = { [CLAUDE_AGENT_FORMAT]: mark }
        const changes = [{ type: 'metadata', set } as const, { type: 'append', messages: fresh } as const]
        const after = await this.history.commit(ref, changes, { expectedVersion: session.version, onBusy: 'wait' })
        this.#known.delete(session)
        this.#known.set(after!, plus(known, fresh))
        return
      } catch (error) {
        if (isTurnlogError(error, 'COMMIT_TOO_LARGE') && fresh.length > 1) {
          // Before any part: the SDK gives the batch again, and what has no uuid would be there each time.
          checkEach(fresh, mark, error)
          const half = Math.ceil(fresh.length / 2)
          await this.#append(key, ref, fresh.slice(0, half))
          return this.#append(key, ref, fresh.slice(half))
        }
        // Another has written: what is known and the summary are of what there is now.
        if (!isTurnlogError(error, 'VERSION_CONFLICT')) throw error
      }
    }
  }

  async #listed(scope: readonly string[]): Promise<Session<SessionStoreEntry>[]> {
    const listed = await this.history.listSessions(userOf(scope))
    return listed.filter(
      (session) =>
        session.format === CLAUDE_AGENT_FORMAT && markOf(session) && escaped(unescaped(session.id)) === session.id
    )
  }

  async #inOrder(ref: SessionRef, work: () => Promise<void>): Promise<void> {
    const name = JSON.stringify([ref.userId, ref.id])
    const done = (this.#order.get(name) ?? Promise.resolve()).then(work)
    const settled = done.catch(() => undefined)
    this.#order.set(name, settled)
    try {
      await done
    } finally {
      if (this.#order.get(name) === settled) this.#order.delete(name)
    }
  }
}

// Of what the whole commit had around its entries, about what one alone would have: events of the mark and of the entry.
function checkEach(fresh: readonly SessionStoreEntry[], mark: Mark, whole: TurnlogErrorOf<'COMMIT_TOO_LARGE'>): void {
  const sizes = fresh.map((message) => bytesOf({ message }))
  const marked = bytesOf({ set: { [CLAUDE_AGENT_FORMAT]: mark }, unset: [] })
  const event = (whole.size - marked - sizes.reduce((sum, size) => sum + size, 0)) / (fresh.length + 1)
  const { limit } = whole
  for (const [i, bytes] of sizes.entries()) {
    const size = Math.ceil(bytes + marked + 2 * event)
    if (size <= limit) continue
    const { type, uuid } = fresh[i]!
    const what = `The entry ${JSON.stringify(uuid ?? `of type ${type}`)} comes to about ${size} bytes`
    throw turnlogError('COMMIT_TOO_LARGE', `${what}, and the store takes ${limit} at once`, { size, limit })
  }
}

function bytesOf(value: object): number {
  return Buffer.byteLength(JSON.stringify(value))
}

/** What the metadata of a session that was written to has under the name of the format; of a main transcript, all of it. */
interface Mark {
  /** The session that the summary is of, and its version: a fork has the mark of its parent. */
  readonly id?: string
  readonly version?: number
  /** What the SDK keeps in a summary; of no meaning here. */
  readonly summary?: JsonObject
}

function markOf({ metadata }: Session<SessionStoreEntry>): Mark | undefined {
  return metadata[CLAUDE_AGENT_FORMAT] as Mark | undefined
}

let sdk: Promise<{ readonly foldSessionSummary: typeof foldSessionSummary }> | undefined

// Where anything was written by other ways, such as a rewind into the midst of a batch, it is made anew from all.
async function markAfter(
  session: Session<SessionStoreEntry>,
  fresh: readonly SessionStoreEntry[],
  key: SessionKey
): Promise<Mark> {
  // Whoever has a key to append to has the SDK; and an import costs each time.
  sdk ??= import('@anthropic-ai/claude-agent-sdk')
  const { foldSessionSummary: fold } = await sdk
  const mark = markOf(session)
  const isOfAll = mark?.summary !== undefined && mark.id === session.id && mark.version === session.version
  const previous = isOfAll ? { sessionId: key.sessionId, mtime: 0, data: mark.summary } : undefined
  const { data } = fold(previous, key, isOfAll ? [...fresh] : [...session.messages, ...fresh])
  // An event for the mark itself, and one for each entry.
  return { id: session.id, version: session.version + 1 + fresh.length, summary: data as JsonObject }
}

// Into the same set, which is that of the newer snapshot only.
function plus(uuids: Set<string>, added: readonly SessionStoreEntry[]): Set<string> {
  for (const { uuid } of added) if (typeof uuid === 'string') uuids.add(uuid)
  return uuids
}

function withoutKnown(added: readonly SessionStoreEntry[], known: ReadonlySet<string>): readonly SessionStoreEntry[] {
  const taken = new Set<string>()
  return added.filter(({ uuid }) => {
    if (typeof uuid !== 'string') return true
    if (known.has(uuid) || taken.has(uuid)) return false
    taken.add(uuid)
    return true
  })
}

const entries: StandardSchema<SessionStoreEntry, SessionStoreEntry> = {
  '~standard': {
    version: 1,
    vendor: 'turnlog',
    validate: (value) =>
      isEntry(value) ? { value } : { issues: [{ message: 'an entry is an object whose type is a string' }] }
  }
}

function isEntry(value: unknown): value is SessionStoreEntry {
  return typeof (value as Partial<SessionStoreEntry> | null)?.type === 'string'
}

function checked(copy: Json, place: number): SessionStoreEntry {
  if (isEntry(copy)) return copy
  throw invalid('an entry is an object whose type is a string', [place])
}

function text(name: string, value: unknown): string {
  if (typeof value === 'string') return value
  throw misuse(name, 'a string', value)
}

function userOf(scope: readonly string[]): string {
  const user = scope.map((part) => part.replaceAll('%', '%25').replaceAll('/', '%2F')).join('/')
  return idOf('userId with the key', user)
}

// Sessions have ids that are neither empty nor begin or end with white space.
function escaped(name: string): string {
  if (name === '') return '%'
  return name.replaceAll('%', '%25').replaceAll(/^\s+|\s+$/g, (blank) => encodeURIComponent(blank))
}

function unescaped(id: string): string {
  if (id === '%') return ''
  try {
    return decodeURIComponent(id)
  } catch {
    // Nothing that was escaped here: a fork whose id somebody has chosen that no key has.
    return id
  }
}
