import { knownOptions, misuse, objectOf, requiredWholeNumber, type OptionKeys } from '../arguments.ts'
import { isTurnlogError, turnlogError } from '../errors.ts'
import type { StoredEvent } from '../event.ts'
import {
  keyString,
  newestFirst,
  type AppendResult,
  type Commit,
  type EventStore,
  type Head,
  type Page,
  type ReadRange,
  type SessionKey,
  type Summary
} from '../store.ts'
import { Connection, type NatsConnection } from './nats/connection.ts'
import { Forks } from './nats/forks.ts'
import { Layout, remember, type Place } from './nats/layout.ts'
import { hasLog, knownIn, Logs, NONE, type LogEnd } from './nats/logs.ts'
import { newestOfEach } from './nats/pull.ts'
import { seqIn, type Ending, type Link, type NewNote, type Stored } from './nats/records.ts'
import { prepareStreams } from './nats/streams.ts'
import { Watchers } from './nats/watchers.ts'

export type { NatsConnection, NatsMessage, NatsSubscription } from './nats/connection.ts'

/** Options of {@link natsStore}: servers, or a connection. */
export type NatsStoreOptions = NatsSettings &
  (
    | {
        /** Addresses of one or more servers of a cluster, such as `nats://localhost:4222`. Connects by `@nats-io/transport-node`. */
        readonly servers: string | readonly string[]
        /** What else `connect` takes: credentials, TLS, a name. */
        readonly connect?: object | undefined
        readonly connection?: undefined
      }
    | {
        /** A connection of yours: it stays yours to close. Let it reconnect without end, or the store ends with it. */
        readonly connection: NatsConnection
        readonly servers?: undefined
        readonly connect?: undefined
      }
  )

/** Settings of {@link natsStore}. */
export interface NatsSettings {
  /**
   * What names of streams and subjects begin with: 1 to 32 letters, digits, `-` and `_`. Two stores of one prefix are one.
   * @default 'turnlog'
   */
  readonly prefix?: string | undefined
  /**
   * How many servers have each stream that is made: 1 to 5. With 1, acknowledged means that it survives the death of the process;
   * whether that of the machine, is for the server's `sync_interval` to say. With 3, it is on two of them. Of streams that are there it
   * has to be what they have.
   * @default what they have; 1 where there are none
   */
  readonly replicas?: number | undefined
  /**
   * Over how many streams users are spread, from 1 to 1,000; a list costs by the sessions of a whole stream. Set for good when the
   * first store is opened.
   * @default those that there are; 1 where there are none
   */
  readonly streams?: number | undefined
  /**
   * How long a call waits for an answer, or for a connection where there is none, in ms, before it fails with `STORE_UNAVAILABLE`.
   * @default 5_000
   */
  readonly timeoutMs?: number | undefined
}

/**
 * A store in NATS JetStream, server 2.9 or later. Acknowledged means stored by the server, with replicas by most of them. Any number
 * of services and processes may share it.
 *
 * Each session has a subject, each commit is a message; what a list shows is in the headers. So the metadata of a session travels
 * with every commit. A commit has to fit in the server's `max_payload` (1 MB unless configured); a larger one is
 * `COMMIT_TOO_LARGE`. A fork copies what it shares.
 *
 * @throws `TypeError`; when it is opened `STORE_UNAVAILABLE`, `STORE_TOO_NEW`
 * @example
 * const history = await createSessionHistory({ store: natsStore({ servers: 'nats://localhost:4222' }) })
 */
export function natsStore(options: NatsStoreOptions): EventStore {
  const {
    servers,
    connection,
    connect,
    prefix = 'turnlog',
    replicas,
    streams,
    timeoutMs = 5_000
  } = knownOptions(objectOf(options, 'options', 'an object with servers or connection'), OPTIONS)
  if ((servers === undefined) === (connection === undefined))
    throw misuse('natsStore', 'given servers or connection', options)
  const addresses = servers === undefined ? undefined : addressesOf(servers)
  if (connection !== undefined && (typeof connection.publish !== 'function' || typeof connection.status !== 'function'))
    throw misuse('connection', 'a connection by @nats-io/transport-node', connection)
  if (typeof prefix !== 'string' || !/^[\w-]{1,32}$/.test(prefix))
    throw misuse('prefix', 'of 1 to 32 letters, digits, - and _', prefix)
  return new NatsStore({
    servers: addresses,
    connection,
    options: connect && objectOf(connect, 'connect'),
    prefix,
    replicas: replicas === undefined ? undefined : requiredWholeNumber('replicas', replicas, 1, 5),
    streams: streams === undefined ? undefined : requiredWholeNumber('streams', streams, 1, 1_000),
    timeoutMs: requiredWholeNumber('timeoutMs', timeoutMs, 1, 2 ** 31 - 1)
  })
}

function addressesOf(servers: unknown): string[] {
  const all: unknown = typeof servers === 'string' ? [servers] : servers
  if (!Array.isArray(all) || all.length === 0) throw misuse('servers', 'one or more addresses', servers)
  return all.map((each: unknown) => {
    if (typeof each !== 'string' || each === '') throw misuse('servers', 'one or more addresses', servers)
    // The driver would leave them out without a word.
    if (each.includes('@'))
      throw misuse('servers', 'without credentials: they go into connect, as { user, pass } or { token }', servers)
    return each
  })
}

const OPTIONS: OptionKeys<NatsStoreOptions> = {
  servers: true,
  connection: true,
  connect: true,
  prefix: true,
  replicas: true,
  streams: true,
  timeoutMs: true
}

interface Settings {
  readonly servers: readonly string[] | undefined
  readonly connection: NatsConnection | undefined
  readonly options: object | undefined
  readonly prefix: string
  readonly replicas: number | undefined
  readonly streams: number | undefined
  readonly timeoutMs: number
}

/** Room in a message for what is not events: its summary with metadata, as much as that, and the server's headers. */
const HEADROOM = 16 * 2 ** 10

const STORED: AppendResult = Object.freeze({ status: 'stored' })
const CONFLICT: AppendResult = Object.freeze({ status: 'conflict' })
const ORPHANED: AppendResult = Object.freeze({ status: 'orphaned' })

/** What there is from `open` to `close`. */
interface Opened {
  readonly connection: Connection
  readonly layout: Layout
  readonly logs: Logs
  readonly forks: Forks
  readonly watchers: Watchers
  readonly replicated: ReadonlyMap<string, boolean>
}

class NatsStore implements EventStore {
  readonly supports: EventStore['supports']
  readonly #settings: Settings
  #opened: Opened | undefined
  /** `open` and `close` take effect one after the other. */
  #turnover: Promise<unknown> = Promise.resolve()
  /** Where the logs are that were met. */
  readonly #places = new Map<string, Place>()
  /** Ids of logs with their subjects, and of users. */
  readonly #heads = new Rest<readonly [string, string]>()
  readonly #users = new Rest<string>()

  constructor(settings: Settings) {
    this.#settings = settings
    const largest = (): number | undefined => {
      const most = this.#opened?.connection.maxPayload
      return most === undefined ? undefined : most - Math.min(HEADROOM, Math.floor(most / 4))
    }
    this.supports = {
      durable: true,
      shared: true,
      push: true,
      // The server says it, once there is a connection.
      get maxCommitBytes() {
        return largest()
      }
    } as EventStore['supports']
  }

  open(): Promise<void> {
    return this.#afterTurnover(async () => {
      if (this.#opened) return
      const connection = await Connection.open(this.#settings)
      try {
        const { prefix, replicas, streams } = this.#settings
        const { count, replicated } = await prepareStreams(connection, { prefix, replicas, streams })
        const layout = new Layout(prefix, count)
        const logs = new Logs(connection, replicated)
        const forks = new Forks(connection, logs, layout)
        const watchers = new Watchers(connection, layout, logs)
        // Another server may lead now, and have lost what this one has acknowledged.
        connection.onReconnect(() => logs.forgetAll())
        this.#opened = { connection, layout, logs, forks, watchers, replicated }
      } catch (error) {
        await connection.close()
        throw error
      }
    })
  }

  close(): Promise<void> {
    return this.#afterTurnover(async () => {
      const opened = this.#opened
      this.#opened = undefined
      opened?.watchers.end()
      opened?.logs.close()
      await opened?.connection.close()
    })
  }

  async health(): Promise<boolean> {
    const opened = this.#opened
    if (!opened) return false
    const { connection, layout } = opened
    const asked = layout.streams.map(({ name, subjects }) =>
      connection.api(
        `STREAM.MSG.GET.${name}`,
        { last_by_subj: subjects.replaceAll('*', 'none') },
        'not-stored',
        HEALTH_MS
      )
    )
    const answers = await Promise.allSettled(asked)
    // That there is no such message is an answer.
    return (
      this.#opened === opened && answers.every((each) => each.status === 'fulfilled' || !isTurnlogError(each.reason))
    )
  }

  async head(key: SessionKey): Promise<Head | null> {
    const { layout, logs } = this.#open()
    const place = layout.place(key)
    const end = await logs.end(place)
    return hasLog(end) ? this.#headOf(place, end.newest.note) : null
  }

  async append(commits: readonly Commit[]): Promise<readonly AppendResult[]> {
    this.#open()
    const results: AppendResult[] = []
    // Commits of one session go one after the other, those of several at once; a fork waits for its parent.
    const lanes = new Map<string, Promise<void>>()
    const broken = new Set<string>()
    const store = async (batch: Batch): Promise<void> => {
      const result = broken.has(batch.commits[0]!.logId) ? CONFLICT : await this.#appendBatch(batch)
      if (result === 'apart') {
        for (const [i, commit] of batch.commits.entries())
          for (const one of batchesOf([commit], 0)) await store({ ...one, places: [batch.places[i]!] })
        return
      }
      if (result.status !== 'stored') broken.add(batch.commits[0]!.logId)
      for (const place of batch.places) results[place] = result
    }
    for (const batch of batchesOf(commits, this.supports.maxCommitBytes!)) {
      const { key, parent } = batch.commits[0]!
      const name = keyString(key)
      const before: Promise<unknown> | undefined = parent ? Promise.all(lanes.values()) : lanes.get(name)
      lanes.set(name, before ? before.then(() => store(batch)) : store(batch))
    }
    await Promise.all(lanes.values())
    return results
  }

  async *read(logId: string, { from = 1, to = Infinity, signal }: ReadRange = {}): AsyncGenerator<StoredEvent[]> {
    signal?.throwIfAborted()
    const opened = this.#open()
    if (to < from) return
    const found = await this.#find(logId)
    signal?.throwIfAborted()
    if (!found) return
    const pages =
      found.kind === 'log'
        ? opened.logs.from(found.place, from, found.end)
        : opened.forks.parts(found.place, found.base, found.end)
    for await (const page of pages) {
      signal?.throwIfAborted()
      this.#open()
      const { events, isLast } = eventsIn(page, logId, from, to)
      if (events.length > 0) yield events
      if (isLast) return
    }
  }

  async list(
    userId: string,
    { limit = Infinity, after }: Page<Pick<Summary, 'updatedAt' | 'sessionId'>> = {}
  ): Promise<Summary[]> {
    const { layout } = this.#open()
    const live = new Map<string, Summary>()
    for await (const { place, note } of this.#ends(layout.ofUser(userId))) {
      const { summary } = note
      if (!summary.deleted && (!after || newestFirst(after, summary) < 0)) live.set(place.subject, summary)
      else live.delete(place.subject)
    }
    return Array.from(live.values()).sort(newestFirst).slice(0, limit)
  }

  async listUsers({ limit = Infinity, after }: Page<string> = {}): Promise<string[]> {
    let order = this.#users.from(after)
    if (!order) {
      const live = new Map<string, string>()
      for await (const { place, note } of this.#allEnds()) {
        const { userId, deleted } = note.summary
        if (!deleted && (after === undefined || userId > after)) live.set(place.subject, userId)
        else live.delete(place.subject)
      }
      order = Array.from(new Set(live.values())).sort()
    }
    const page = order.splice(0, limit)
    this.#users.keep(page.at(-1), order)
    return page
  }

  async forks(logId: string): Promise<Summary[]> {
    const { forks } = this.#open()
    const { holders } = await forks.of(logId)
    return holders.flatMap(({ end }) => (end.newest.note.fork?.parent === logId ? [end.newest.note.summary] : []))
  }

  async heads({ limit = Infinity, after }: Page<string> = {}): Promise<Head[]> {
    const { layout, logs } = this.#open()
    let order = this.#heads.from(after)
    if (!order) {
      const subjects = new Map<string, string>()
      for await (const { place, note } of this.#allEnds())
        if (after === undefined || note.logId > after) subjects.set(note.logId, place.subject)
      order = Array.from(subjects).sort(([a], [b]) => (a < b ? -1 : 1))
    }
    const heads: Head[] = []
    while (order.length > 0 && heads.length < limit) {
      const step = order.splice(0, Math.min(limit - heads.length, HEADS_AT_ONCE))
      const found = await Promise.all(
        step.map(async ([logId, subject]) => {
          const place = layout.placeAt(subject)
          const end = await logs.end(place)
          return hasLog(end) && end.newest.note.logId === logId ? this.#headOf(place, end.newest.note) : []
        })
      )
      heads.push(...found.flat())
    }
    this.#heads.keep(heads.at(-1)?.logId, order)
    return heads
  }

  async touch(logId: string, at: number): Promise<void> {
    const { logs } = this.#open()
    const found = await this.#find(logId)
    if (found?.kind !== 'log') return
    const { place } = found
    for (let end = found.end; hasLog(end);) {
      const { note } = end.newest
      if (note.logId !== logId || note.touchedAt! >= at) return
      const touched: NewNote = { ...note, kind: 'touch', after: end.at, touchedAt: at }
      if ((await logs.put(place, end.last, touched)) !== undefined) return
      const again = await logs.end(place)
      if (!hasLog(again)) return
      end = again
    }
  }

  async purge(key: SessionKey, end?: Pick<Head, 'logId' | 'version'>): Promise<void> {
    const { connection, layout, logs, forks } = this.#open()
    const place = layout.place(key)
    for (;;) {
      const found = await logs.end(place)
      if (!hasLog(found)) {
        // Another began it and did not end it.
        if (found.newest?.note.kind === 'purged') await logs.erase(place, found.last)
        return
      }
      const { logId, summary, fork } = found.newest.note
      if (end && (end.logId !== logId || end.version !== summary.version)) return
      if (!(await logs.clear(place, found))) continue
      if (fork) await forks.removePointers(fork, place)
      this.#places.delete(logId)
      connection.publish(layout.purged(place))
      return
    }
  }

  async *watch(key: SessionKey, signal: AbortSignal): AsyncGenerator<number> {
    const { layout, watchers } = this.#open()
    yield* watchers.watch(layout.place(key), signal)
  }

  /** `apart`: the commits may fit if they are not one message. */
  async #appendBatch(batch: Batch): Promise<AppendResult | 'apart'> {
    try {
      return await this.#write(batch)
    } catch (error) {
      if (isTurnlogError(error, 'COMMIT_TOO_LARGE') && batch.commits.length > 1) return 'apart'
      const { layout, logs } = this.#opened ?? {}
      if (layout && logs) logs.forget(layout.place(batch.commits[0]!.key))
      const outcome = isTurnlogError(error, 'STORE_UNAVAILABLE') ? error.outcome : 'not-stored'
      return { status: 'failed', error, outcome }
    }
  }

  // The commits of one log, each of which builds on the one before.
  async #write({ commits, texts }: Batch): Promise<AppendResult> {
    const { layout, logs, forks } = this.#open()
    const { key, logId, expectedVersion, parent, events } = commits[0]!
    const place = layout.place(key)
    const { summary } = commits.at(-1)!
    const body = Buffer.from(texts.length === 1 ? texts[0]! : `[${texts.map((text) => text.slice(1, -1)).join()}]`)
    const commit = (after: Link, known?: Pick<Ending, 'touchedAt' | 'fork'>): NewNote => {
      const { touchedAt, fork } = known ?? {}
      return { kind: 'commit', after, logId, from: expectedVersion + 1, summary, touchedAt, fork }
    }
    if (parent) {
      const end = await logs.end(place)
      if (hasLog(end)) return CONFLICT
      const origin = await this.#find(parent.logId)
      if (origin?.kind !== 'log' || origin.end.newest.note.summary.version < parent.version) return ORPHANED
      const copy = await forks.copy(origin.place, origin.end, parent.version, place, end)
      if (copy === 'orphaned') return ORPHANED
      if (copy === 'conflict') return CONFLICT
      const last = copy.parts.at(-1)!
      const stored = await logs.put(
        place,
        seqIn(last),
        commit(last, { touchedAt: undefined, fork: copy.fork }),
        body,
        events[0]!.id
      )
      if (stored === undefined) {
        await forks.remove(place, copy)
        return CONFLICT
      }
      remember(this.#places, logId, place)
      return STORED
    }

    // What is known may be old: then the server says so, and it is looked at.
    let known = logs.known(place) ?? NONE
    for (let isFresh = false; ; isFresh = true) {
      if (known.version === expectedVersion && (known.logId === logId || expectedVersion === 0)) {
        const stored = await logs.put(place, known.last, commit(known.at, known), body, events[0]!.id)
        if (stored !== undefined) {
          if (expectedVersion === 0) remember(this.#places, logId, place)
          return STORED
        }
      } else if (isFresh) return CONFLICT
      known = knownIn(await logs.end(place))
    }
  }

  async #find(
    logId: string
  ): Promise<
    | { readonly kind: 'log'; readonly place: Place; readonly end: LogEnd }
    | { readonly kind: 'copy'; readonly place: Place; readonly base: number; readonly end: LogEnd }
    | undefined
  > {
    const { logs, forks } = this.#open()
    const logAt = async (place: Place | undefined) => {
      const end = place && (await logs.end(place))
      if (!place || !end || !hasLog(end) || end.newest.note.logId !== logId) return undefined
      remember(this.#places, logId, place)
      return { kind: 'log', place, end } as const
    }
    const known = await logAt(this.#places.get(logId))
    if (known) return known
    this.#places.delete(logId)
    const { origin, holders } = await forks.of(logId)
    if (!origin) {
      for await (const { place, note } of this.#allEnds()) {
        const found = note.logId === logId ? await logAt(place) : undefined
        if (found) return found
      }
      return undefined
    }
    const whole = await logAt(origin)
    if (whole) return whole
    // It was purged: the longest copy of those that forks have.
    let longest = 0
    let copy: { readonly kind: 'copy'; readonly place: Place; readonly base: number; readonly end: LogEnd } | undefined
    for (const { place, end } of holders) {
      const { base, ancestors } = end.newest.note.fork!
      const { version } = ancestors.find((each) => each.logId === logId)!
      if (version > longest) copy = { kind: 'copy', place, base, end }
      longest = Math.max(longest, version)
    }
    return copy
  }

  async *#allEnds(): AsyncGenerator<{ readonly place: Place; readonly note: Ending }> {
    for (const { name, subjects } of this.#open().layout.streams) yield* this.#ends({ stream: name, subject: subjects })
  }

  /** The ends of the logs whose subjects fit, by their headers alone. With replicas, one may come again, newer. */
  async *#ends(all: Place): AsyncGenerator<{ readonly place: Place; readonly note: Ending }> {
    const { connection, layout, logs, replicated } = this.#open()
    const pages = replicated.get(all.stream) ? logs.newestOfEach(all) : newestOfEach(connection, all)
    for await (const page of pages) {
      for (const { subject, seq, note } of page) {
        const place = layout.placeAt(subject)
        if (note.kind === 'commit' || note.kind === 'touch') yield { place, note }
        // Somebody's purge has ended before its time.
        else if (note.kind === 'purged') logs.erasePurged(place, seq).catch(() => undefined)
      }
    }
  }

  #headOf(place: Place, { logId, summary, touchedAt }: Ending): Head {
    remember(this.#places, logId, place)
    return { logId, version: summary.version, summary, ...(touchedAt !== undefined && { touchedAt }) }
  }

  #open(): Opened {
    if (this.#opened) return this.#opened
    throw turnlogError('STORE_UNAVAILABLE', 'The NATS store is closed', { outcome: 'not-stored' })
  }

  #afterTurnover(work: () => Promise<void>): Promise<void> {
    const done = this.#turnover.then(work)
    this.#turnover = done.catch(() => undefined)
    return done
  }
}

/** How long `health` waits for an answer. */
const HEALTH_MS = 900

/** How many heads are asked for at once. */
const HEADS_AT_ONCE = 256

/**
 * What comes after the last page of a list of everything: who asks for page after page goes on with that, as it was when he began. The server
 * has no order to go on in, and to begin anew costs by all sessions.
 */
class Rest<T> {
  #after: string | undefined
  #rest: T[] | undefined

  from(after: string | undefined): T[] | undefined {
    return after !== undefined && after === this.#after ? this.#rest : undefined
  }

  keep(after: string | undefined, rest: T[]): void {
    this.#after = after
    this.#rest = rest
  }
}

interface Batch {
  readonly commits: Commit[]
  /** Where their results go. */
  readonly places: number[]
  /** Their events, as JSON. */
  readonly texts: string[]
  /** At most so many bytes. */
  bytes: number
}

// Commits that follow each other in one log become one message, as far as one can hold them: each of them would fail with the one
// before in any case.
function batchesOf(commits: readonly Commit[], mostBytes: number): Iterable<Batch> {
  const batches = new Set<Batch>()
  const newestOf = new Map<string, Batch>()
  for (const [i, commit] of commits.entries()) {
    const name = keyString(commit.key)
    const text = JSON.stringify(commit.events)
    const bytes = 3 * text.length
    const batch = newestOf.get(name)
    const before = batch?.commits.at(-1)
    const follows = before?.logId === commit.logId && before.summary.version === commit.expectedVersion
    if (batch && follows && batch.bytes + bytes <= mostBytes) {
      batch.commits.push(commit)
      batch.places.push(i)
      batch.texts.push(text)
      batch.bytes += bytes
    } else {
      const begun = { commits: [commit], places: [i], texts: [text], bytes }
      batches.add(begun)
      newestOf.set(name, begun)
    }
  }
  return batches
}

function eventsIn(
  page: readonly Stored[],
  logId: string,
  from: number,
  to: number
): { events: StoredEvent[]; isLast: boolean } {
  const events: StoredEvent[] = []
  for (const { note, body } of page) {
    if ((note.kind !== 'commit' && note.kind !== 'part') || note.logId !== logId) continue
    const end = note.kind === 'part' ? note.to : note.summary.version
    if (end < from) continue
    if (note.from > to) return { events, isLast: true }
    const all = JSON.parse(Buffer.from(body).toString()) as StoredEvent[]
    for (const event of all) if (event.version >= from && event.version <= to) events.push(event)
    if (end >= to) return { events, isLast: true }
  }
  return { events, isLast: false }
}
