import type { ActorRefFrom } from 'xstate'
import { fromContext } from './actor-logic.ts'
import { isTurnlogError, turnlogError } from './errors.ts'
import type { StoredEvent } from './event.ts'
import { catchUp, FoldedLog } from './folded-log.ts'
import { bytesOver, type Json } from './json.ts'
import { hasExpired, isWorthNoting, noteUse, type RetentionRules } from './retention.ts'
import { expired, sessionNotFound, type Command, type Past, type Session, type SessionState } from './session.ts'
import { LONGEST_TIMEOUT_MS, POLL_MS, type Clock } from './clock.ts'
import { prepare, type Import, type Prepared } from './prepare.ts'
import type { TurnHolder } from './open-turn.ts'
import { storeFailure, type AppendResult, type Commit, type EventStore, type Head, type SessionKey } from './store.ts'

/** What a session actor needs of the world. */
export interface SessionEnvironment {
  readonly store: EventStore
  readonly clock: Clock
  readonly newEventId: () => string
  readonly retention: RetentionRules
  /** Is told by how much the memory that sessions take has changed, about. */
  readonly onMemory?: (bytes: number) => void
  /** Is told of a session that has expired, where what was asked does not store that. */
  readonly onExpired?: (key: SessionKey) => void
}

/** A command. */
export interface WriteRequest extends Reply<Written> {
  readonly type: 'write'
  readonly command: Command | Import
  readonly signal: AbortSignal | undefined
  /** The store has it, or has had it: it can no longer be cancelled. */
  isSent: boolean
  /** How often the store has answered with a conflict. */
  conflicts: number
  /** Its place in the order in which writes and purges came; given by the actor. */
  arrival: number
  /** Waits for the end of a turn that is open, instead of failing with `TURN_BUSY`. */
  readonly waits: boolean
  /** How many of the newest messages the snapshot has that is answered. */
  readonly maxMessages: number
  /** Set by the actor while the request waits for a turn to end: is told when `signal` has cancelled it. */
  onCancel: (() => void) | undefined
  /** Of a write in a turn: who is told when that is over. */
  readonly holder: TurnHolder | undefined
}

/** A question for the log and its state at a version or time, by default now; answered without waiting for writes. */
export interface ReadRequest {
  readonly type: 'read'
  readonly at: number | Date | undefined
  /** Whether it renews the time for which the session is kept. */
  readonly isUse: boolean
  readonly resolve: (log: FoldedLog, state: SessionState) => void
  readonly reject: (reason: unknown) => void
}

/** Erases the log, once the writes that came before are stored. */
export interface PurgeRequest extends Reply<void> {
  readonly type: 'purge'
  /** Only where the log ends so. */
  readonly end: Pick<Head, 'logId' | 'version'> | undefined
  /** As of a write. */
  arrival: number
}

/** Tells the actor that it will be stopped: what waits for a turn to end is rejected, and the holder of a turn is told. */
export interface ReleaseRequest {
  readonly type: 'release'
  readonly reason: unknown
}

/** What is asked of a session actor, to be answered. */
export type SessionCall = WriteRequest | ReadRequest | PurgeRequest

/** What may be sent to a session actor. */
export type SessionRequest = SessionCall | ReleaseRequest

/** What a command came to: the session after it (`null` where there is none), and whether it has stored something. */
export interface Written {
  readonly session: Session<Json> | null
  readonly hasStored: boolean
}

/** Where an answer goes. Only the first one counts. */
export interface Reply<T> {
  readonly resolve: (value: T) => void
  readonly reject: (reason: unknown) => void
}

/** The actor of one session: the only writer of its log in this process. Never ends by itself. */
export type SessionActor = ActorRefFrom<typeof sessionLogic>

export const sessionLogic = fromContext(
  (context: SessionContext, event: ActorEvent, self) => context.after(event, self),
  ({ key, environment }: { key: SessionKey; environment: SessionEnvironment }) =>
    new SessionContext(new SessionMailbox(key, environment))
)

type ActorEvent = SessionRequest | StoreAnswer | Wake | Cancelled | Rested

type AnswerTarget = { send(event: StoreAnswer | Wake | Cancelled | Rested): void }

/** The log may have grown, or a turn may have expired. */
type Wake = { readonly type: 'wake' }

/** Somebody who waited for a turn to end has been rejected. */
type Cancelled = { readonly type: 'cancelled' }

/** Writes may be tried again, after others have won. */
type Rested = { readonly type: 'rested' }

type StoreAnswer =
  | {
      readonly type: 'loaded'
      readonly log: FoldedLog
      readonly commitIds: ReadonlySet<string>
      readonly since: number
    }
  | { readonly type: 'head'; readonly check: Check; readonly head: Head | null }
  | { readonly type: 'head-failed'; readonly check: Check; readonly error: unknown }
  | { readonly type: 'stored'; readonly results: readonly AppendResult[] }
  | { readonly type: 'verified'; readonly head: Head | null }
  | { readonly type: 'purged' }
  | { readonly type: 'failed'; readonly during: 'load' | 'store' | 'verify' | 'purge'; readonly error: unknown }

/** Reads for which the store has been asked how new the log is, and what it said, once it has. */
interface Check {
  readonly readers: readonly ReadRequest[]
  head?: Head | null
}

/** What a request has come to: a commit to store and the states after its events, or an answer that stores nothing. */
type Decided = { readonly request: WriteRequest } & (
  | Prepared
  | { readonly answer: number | null }
  | { readonly error: unknown }
)

/**
 * After so many conflicts in a row, each of which somebody else has won, a write gives up. Who wins one time in ten fails so once in
 * 40,000 writes; with the rests between, it takes about ten seconds.
 */
const MAX_CONFLICTS = 100

/** The longest rest after a second conflict, and after many. */
const FIRST_REST_MS = 1
const LONGEST_REST_MS = 250

/** What inspectors see of a session actor: made anew with each event, so that they see how it changes. */
class SessionContext {
  readonly status: Status
  readonly version: number
  /** How many writes and purges wait for their turn. */
  readonly waiting: number
  readonly #mailbox: SessionMailbox

  constructor(mailbox: SessionMailbox) {
    this.status = mailbox.status
    this.version = mailbox.version
    this.waiting = mailbox.waiting
    this.#mailbox = mailbox
  }

  /** Whether the actor may be stopped without anybody noticing. */
  get isIdle(): boolean {
    return this.#mailbox.isIdle
  }

  /** About how much memory its log takes. */
  get bytes(): number {
    return this.#mailbox.bytes
  }

  after(event: ActorEvent, self: AnswerTarget): SessionContext {
    this.#mailbox.receive(event, self)
    return new SessionContext(this.#mailbox)
  }
}

/**
 * - `unloaded`: nothing is known of the log, or not how new that is.
 * - `loading`: what is new in the log is being read.
 * - `ready`: the log is known, and nothing is under way.
 * - `storing`: a batch is with the store.
 * - `purging`: the log is being erased.
 */
type Status = 'unloaded' | 'loading' | 'ready' | 'storing' | 'purging'

/**
 * What a session actor knows and does. Writes are decided in order of arrival; all that arrived while a batch was with the
 * store is the next batch. The state moves only after the store has said yes.
 */
class SessionMailbox {
  status: Status = 'unloaded'
  #log: FoldedLog
  #arrivals = 0
  /** What is to be done, in order of arrival. */
  #queue: (WriteRequest | PurgeRequest)[] = []
  /** The purge that is with the store. */
  #purging: PurgeRequest | undefined
  /** What is with the store; after an unknown outcome, until the log has been read again, what may be in it. */
  #batch: readonly Decided[] = []
  #doubt: unknown
  /** Reads that came since the store was last asked how new its log is. */
  #readers: ReadRequest[] = []
  #check: Check | undefined
  /** What waits for the end of a turn, in order of arrival. */
  #parked: WriteRequest[] = []
  /** For the end of which turn they wait: all for one, as they are decided anew when it is over. */
  #awaited: string | undefined
  /** Ends the timer and the watch of those who wait. */
  #endWait: (() => void) | undefined
  #released: ReleaseRequest | undefined
  /** The turn that is written in through this actor, as long as it is open. */
  #held: { readonly turnId: string; readonly holder: TurnHolder } | undefined
  #time: number | undefined
  /** The log has been read in this very event: it is known when others have last used it. */
  #isFresh = false
  /** What arrived up to this one came before that: an answer to it is as new as it has to be. */
  #readSince = 0
  /** Until its end writes wait, as others have won more than once. There is one only while something is in the queue. */
  #rest: { readonly timer: unknown } | undefined
  /** What the registry knows of the memory that the log takes. */
  bytes = 0
  readonly #environment: SessionEnvironment
  /** Where the store's answers go: xstate tells with each event. */
  #self!: AnswerTarget

  constructor(key: SessionKey, environment: SessionEnvironment) {
    this.#log = new FoldedLog(key, null)
    this.#environment = environment
  }

  get version(): number {
    return this.#log.version
  }

  get waiting(): number {
    return this.#queue.length + this.#parked.length
  }

  get isIdle(): boolean {
    const isResting = this.status === 'ready' || this.status === 'unloaded'
    const waiting = this.#queue.length + this.#readers.length + this.#parked.length
    return isResting && waiting === 0 && !this.#check && !this.#isTurnHeld
  }

  // Once its turn has expired, a holder knows already.
  get #isTurnHeld(): boolean {
    const { turn } = this.#log.state
    return this.#held !== undefined && turn !== undefined && this.#environment.clock.now() < turn.expiresAt
  }

  // One time an event: those who wait for a turn to expire and those who come then must see it alike.
  get #now(): number {
    return (this.#time ??= this.#environment.clock.now())
  }

  receive(event: ActorEvent, self: AnswerTarget): void {
    this.#self = self
    this.#time = undefined
    this.#isFresh = event.type === 'loaded'
    try {
      this.#handle(event)
      this.#noticeTurn()
      this.#proceed()
      this.#awaitTurn()
    } catch (error) {
      // A throw from here would end the actor and leave everybody waiting. A store whose answers make no sense can do it.
      this.#rejectAll(error, 'unknown')
      this.#stopWait()
    }
    const grown = this.#log.bytes - this.bytes
    if (grown === 0) return
    this.bytes = this.#log.bytes
    this.#environment.onMemory?.(grown)
  }

  #handle(event: ActorEvent): void {
    switch (event.type) {
      case 'write':
      case 'purge':
        event.arrival = ++this.#arrivals
        this.#queue.push(event)
        break
      case 'read':
        this.#readers.push(event)
        break
      case 'release':
        this.#released = event
        for (const { reject } of this.#parked.splice(0)) reject(event.reason)
        this.#held?.holder.noticeEnd(event.reason)
        break
      case 'wake':
        this.#unpark()
        break
      case 'cancelled':
        this.#parked = this.#parked.filter(({ signal }) => !signal?.aborted)
        break
      case 'rested':
        this.#rest = undefined
        if (this.status === 'ready') this.status = 'unloaded'
        break
      case 'loaded':
        this.#readSince = event.since
        this.#loaded(event.log, event.commitIds)
        break
      case 'head':
        event.check.head = event.head
        this.#log.noteTouch(event.head)
        break
      case 'head-failed':
        for (const { reject } of event.check.readers) reject(storeFailure(event.error, 'not-stored'))
        if (event.check === this.#check) this.#check = undefined
        break
      case 'stored':
        this.#stored(event.results)
        break
      case 'verified':
        this.#verified(event.head)
        break
      case 'purged':
        this.#purged()
        break
      case 'failed':
        this.#failed(event.during, event.error)
    }
  }

  // Starts what can be started.
  #proceed(): void {
    // What waits may be settled on the spot; then the next is begun.
    while (this.status === 'ready' && this.#queue.length > 0 && !this.#rest) {
      if (this.#queue[0]!.type === 'purge') this.#purge()
      // Another process may have read it since.
      else if (!this.#isFresh && this.#isExpired(this.#log.state)) this.#load()
      else this.#store()
    }
    if (this.status === 'unloaded') {
      if (this.#queue[0]?.type === 'purge') this.#purge()
      else if (this.#queue.length > 0 || this.#readers.length > 0 || this.#check) {
        // Loading asks how new the log is: that serves those who wait to read, too.
        this.#check ??= { readers: this.#readers.splice(0), head: null }
        this.#load()
      }
    }
    this.#serveReaders()
  }

  #serveReaders(): void {
    if (this.status !== 'ready' && this.status !== 'storing') return
    if (this.#check?.head !== undefined) {
      if (this.#log.reaches(this.#check.head)) {
        this.#answer(this.#check.readers)
        this.#check = undefined
        // What is with the store may be what is missing here; then its answer settles it.
      } else if (this.status === 'ready') return this.#load()
    }
    if (this.#check || this.#readers.length === 0) return
    const readers = this.#readers.splice(0)
    const { store } = this.#environment
    if (!store.supports.shared) return this.#answer(readers)
    const check: Check = (this.#check = { readers })
    this.#ask(
      () => store.head(this.#log.key),
      (head) => ({ type: 'head', check, head }),
      (error) => ({ type: 'head-failed', check, error })
    )
  }

  #answer(readers: readonly ReadRequest[]): void {
    for (const { at, isUse, resolve, reject } of readers) {
      try {
        const state = this.#log.at(at)
        // The past of what has expired may be read, and does not bring it back.
        const isOver = this.#isExpired(this.#log.state)
        // Before the answer: as long as nobody has that, the service is not stopped.
        if (isOver) this.#environment.onExpired?.(this.#log.key)
        resolve(this.#log, isOver && at === undefined ? expired(state) : state)
        if (!isOver && isUse) this.#noteRead()
      } catch (error) {
        reject(error)
      }
    }
  }

  #noteRead(): void {
    const { state, touchedAt } = this.#log
    const { retention } = this.#environment
    if (retention.ttlMs === Infinity || !isWorthNoting(Math.max(state.updatedAt, touchedAt), this.#now, retention))
      return
    this.#noteUse()
  }

  #noteUse(): void {
    const { state, logId } = this.#log
    if (logId === null || !state.isLive) return
    this.#log.touchedAt = this.#now
    noteUse(this.#environment.store, logId, this.#now)
  }

  #isExpired(state: SessionState): boolean {
    const { retention } = this.#environment
    if (retention.ttlMs === Infinity || !state.isLive) return false
    return hasExpired(Math.max(state.updatedAt, this.#log.touchedAt), this.#now, retention)
  }

  #load(): void {
    this.status = 'loading'
    const commitIds = new Set<string>()
    const since = this.#arrivals
    const note = this.#doubt ? ({ commitId }: StoredEvent): unknown => commitIds.add(commitId) : undefined
    this.#ask(
      () => catchUp(this.#environment.store, this.#log, note),
      (log) => ({ type: 'loaded', log, commitIds, since }),
      (error) => ({ type: 'failed', during: 'load', error })
    )
  }

  #loaded(log: FoldedLog, commitIds: ReadonlySet<string>): void {
    this.status = 'ready'
    this.#log = log
    if (this.#check?.head !== undefined) {
      this.#answer(this.#check.readers)
      this.#check = undefined
    }
    if (this.#doubt) this.#resolveDoubt((commit) => commitIds.has(commit.events[0]!.commitId))
  }

  // Decides what is to be done, each upon the state that those before it lead to, and hands the commits to the store.
  #store(): void {
    const purge = this.#queue.findIndex(({ type }) => type === 'purge')
    const requests = (purge < 0 ? this.#queue : this.#queue.slice(0, purge)) as readonly WriteRequest[]
    this.#queue = purge < 0 ? [] : this.#queue.slice(purge)
    const batch: Decided[] = []
    const commits: Commit[] = []
    let { state, logId } = this.#log
    const pending: SessionState[] = []
    const past: Past = (version) => pending[version - this.#log.version - 1] ?? this.#log.at(version)
    let awaited = this.#parked.length > 0 ? this.#awaited : undefined
    for (const [place, request] of requests.entries()) {
      const decided = this.#decide(request, state, logId, past)
      batch.push(decided)
      if (!('commit' in decided)) {
        awaited ??= awaitedBy(decided)
        continue
      }
      request.isSent = true
      commits.push(decided.commit)
      logId = decided.commit.logId
      state = decided.states.at(-1)!
      // One by one: as arguments of one push, there may be too many.
      for (const each of decided.states) pending.push(each)
      // Those who wait for the end of that turn come before all that came after them.
      if (awaited !== undefined && awaited !== state.turn?.id) {
        this.#enqueue(requests.slice(place + 1))
        break
      }
    }
    const { store } = this.#environment
    const isKnown = this.#isFresh && batch.every(({ request }) => request.arrival <= this.#readSince)
    if (commits.length === 0 && (isKnown || !store.supports.shared)) return this.#settle(batch)
    this.status = 'storing'
    this.#batch = batch
    if (commits.length > 0) {
      this.#ask(
        () => store.append(commits),
        (results) => ({ type: 'stored', results }),
        (error) => ({ type: 'failed', during: 'store', error })
      )
    } else {
      // What was decided is true only if nobody else has written since.
      this.#ask(
        () => store.head(this.#log.key),
        (head) => ({ type: 'verified', head }),
        (error) => ({ type: 'failed', during: 'verify', error })
      )
    }
  }

  #decide(request: WriteRequest, state: SessionState, logId: string | null, past: Past): Decided {
    const { command, signal } = request
    let isExpired = false
    let decided: Decided
    try {
      if (signal?.aborted) throw signal.reason
      isExpired = this.#isExpired(state)
      const circumstances = { now: this.#now, past, isExpired }
      const prepared = prepare(command, state, logId, circumstances, this.#environment.newEventId)
      if ('commit' in prepared) this.#assertFits(prepared.commit)
      decided = { request, ...prepared }
    } catch (error) {
      decided = { request, error }
    }
    // Who is to store that has failed to, and would fail again and again.
    const isToBeStored = isExpired && !('commit' in decided) && command.type !== 'expire'
    if (isToBeStored) this.#environment.onExpired?.(this.#log.key)
    return decided
  }

  #assertFits({ events }: Commit): void {
    const { maxCommitBytes: limit = Infinity } = this.#environment.store.supports
    if (limit === Infinity) return
    const size = bytesOver(events as readonly object[] as Json, limit)
    if (size === 0) return
    const { userId, sessionId } = this.#log.key
    const what = `What is to be stored at once of session ${JSON.stringify(sessionId)} of user ${JSON.stringify(userId)}`
    const message = `${what} has ${size} bytes, and the store takes ${limit}`
    throw turnlogError('COMMIT_TOO_LARGE', message, { size, limit })
  }

  #stored(results: readonly AppendResult[]): void {
    const batch = this.#batch
    const commits = batch.filter((decided) => 'commit' in decided).length
    const given: unknown = results
    if (!Array.isArray(given) || results.length !== commits || !results.every((result) => result?.status)) {
      return this.#failed('store', new Error(`The store did not give ${commits} results for ${commits} commits`))
    }
    this.status = 'ready'
    this.#batch = []
    // What stores nothing is true if the commit before or after it was stored.
    let settled = 0
    let answered = 0
    for (const [place, decided] of batch.entries()) {
      if (!('commit' in decided)) continue
      if (results[answered]!.status !== 'stored')
        return this.#notStored(batch.slice(settled), place - settled, results.slice(answered))
      answered++
      if (this.#log.logId === null) {
        const { command } = decided.request
        const inherited = command.type === 'fork' ? command.inherited : undefined
        this.#log = new FoldedLog(this.#log.key, decided.commit.logId, inherited)
      }
      this.#log.add(decided.states, decided.commit.events)
      this.#settle(batch.slice(settled, place + 1))
      settled = place + 1
    }
    this.#settle(batch.slice(settled))
  }

  // `results` are those of the commits from `first` on. Each is answered by its own; what met a conflict, or stored nothing,
  // is decided anew.
  #notStored(unsettled: readonly Decided[], first: number, results: readonly AppendResult[]): void {
    const again: Decided[] = unsettled.slice(0, first)
    const doubtful: Decided[] = []
    let answered = 0
    let doubt: unknown
    let conflicts = 0
    for (const decided of unsettled.slice(first)) {
      const result = 'commit' in decided ? results[answered++]! : undefined
      const { request } = decided
      if (!result) again.push(decided)
      else if (result.status === 'conflict' && ++request.conflicts < MAX_CONFLICTS) {
        conflicts = Math.max(conflicts, request.conflicts)
        again.push(decided)
      } else if (result.status === 'stored' || (result.status === 'failed' && result.outcome === 'unknown')) {
        doubtful.push(decided)
        doubt ??=
          result.status === 'failed'
            ? result.error
            : new Error('The store has stored a commit after one that it has not')
      } else {
        request.reject(notStored(result, request))
      }
    }
    this.#requeue(again)
    if (doubtful.length > 0) this.#failed('store', doubt, doubtful)
    else if (conflicts > 1) this.#restAfter(conflicts)
    // At once: it tells who has expected something else, and mostly the next try wins.
    else if (conflicts > 0) this.#load()
  }

  // Any time up to twice as long as the last: those who met each other are not to meet again. The log is read after it, not before.
  #restAfter(conflicts: number): void {
    const longest = Math.min(LONGEST_REST_MS, FIRST_REST_MS * 2 ** (conflicts - 2))
    const rested = (): void => this.#self.send({ type: 'rested' })
    this.#rest = { timer: this.#environment.clock.setTimeout(rested, Math.random() * longest) }
  }

  #settle(batch: readonly Decided[]): void {
    const parked = this.#parked.length
    for (const decided of batch) {
      const { request } = decided
      if ('error' in decided) {
        const awaited = awaitedBy(decided)
        if (awaited === undefined) request.reject(decided.error)
        else if (this.#released) request.reject(this.#released.reason)
        else this.#park(request, awaited)
      } else if ('commit' in decided) this.#acknowledge(request, decided)
      else request.resolve({ session: this.#session(decided.answer, request), hasStored: false })
    }
    // Some may have come before those who wait already, and have been decided later.
    if (this.#parked.length > parked) inOrder(this.#parked)
  }

  #acknowledge(request: WriteRequest, { states }: Prepared): void {
    this.#hold(request)
    // However old it is, it is in use from now on; also for those who keep nothing for so long.
    if (request.command.type === 'import') this.#noteUse()
    request.resolve({ session: this.#session(states.at(-1)!.version, request), hasStored: true })
  }

  #session(version: number | null, { maxMessages }: WriteRequest): Session<Json> | null {
    return version === null ? null : this.#log.session(this.#log.at(version), maxMessages)
  }

  // With each write: the actor may have been started anew since the turn began.
  #hold({ command, holder }: WriteRequest): void {
    if (!holder || command.type === 'end-turn' || !('turnId' in command) || command.turnId === undefined) return
    if (this.#held?.turnId === command.turnId) return
    this.#held?.holder.noticeEnd()
    this.#held = { turnId: command.turnId, holder }
    if (this.#released) holder.noticeEnd(this.#released.reason)
  }

  // Tells the holder of a turn, and those who wait for its end, when it is over.
  #noticeTurn(): void {
    const { turn } = this.#log.state
    if (this.#held && this.#held.turnId !== turn?.id) {
      this.#held.holder.noticeEnd()
      this.#held = undefined
    }
    if (this.#parked.length > 0 && (turn?.id !== this.#awaited || this.#now >= turn!.expiresAt)) this.#unpark()
  }

  #park(request: WriteRequest, turnId: string): void {
    // It may have been cancelled while the store was asked.
    if (request.signal?.aborted) return request.reject(request.signal.reason)
    this.#awaited = turnId
    request.onCancel = () => this.#self.send({ type: 'cancelled' })
    this.#parked.push(request)
  }

  // To be decided anew.
  #unpark(): void {
    for (const request of this.#parked) request.onCancel = undefined
    this.#enqueue(this.#parked.splice(0))
    this.#stopWait()
  }

  // Back to their places among what came before and after.
  #enqueue(requests: readonly WriteRequest[]): void {
    if (requests.length > 0) this.#queue = inOrder([...requests, ...this.#queue])
  }

  // Waits for the turn to expire, or for another process to end it; an end from here is noticed at once.
  #awaitTurn(): void {
    if (this.#parked.length === 0) return this.#stopWait()
    if (this.#endWait) return
    const { clock, store } = this.#environment
    const { turn } = this.#log.state
    const controller = new AbortController()
    const wake = (): void => this.#self.send({ type: 'wake' })
    const left = turn ? turn.expiresAt - this.#now : 0
    const isPolled = store.supports.shared && !store.watch
    const timer = clock.setTimeout(wake, Math.max(1, Math.min(left, isPolled ? POLL_MS : LONGEST_TIMEOUT_MS)))
    this.#endWait = () => {
      clock.clearTimeout(timer)
      controller.abort()
    }
    if (store.supports.shared && store.watch) void this.#watch(controller.signal, wake)
  }

  #stopWait(): void {
    this.#endWait?.()
    this.#endWait = undefined
  }

  async #watch(signal: AbortSignal, wake: () => void): Promise<void> {
    const { store } = this.#environment
    try {
      for await (const version of store.watch!(this.#log.key, signal))
        if (version !== this.#log.version && !signal.aborted) return wake()
    } catch {
      // The store is away; the turn expires all the same.
    }
  }

  // To be decided anew, before all that came later.
  #requeue(batch: readonly Decided[]): void {
    for (const { request } of batch) request.isSent = false
    this.#enqueue(batch.map(({ request }) => request))
  }

  #verified(head: Head | null): void {
    const batch = this.#batch
    this.status = 'ready'
    this.#batch = []
    if (this.#log.endsAt(head)) return this.#settle(batch)
    this.#requeue(batch)
    this.#load()
  }

  #purge(): void {
    this.status = 'purging'
    this.#purging = this.#queue.shift() as PurgeRequest
    const { store } = this.#environment
    const { end } = this.#purging
    this.#ask(
      () => store.purge(this.#log.key, end),
      () => ({ type: 'purged' }),
      (error) => ({ type: 'failed', during: 'purge', error })
    )
  }

  #purged(): void {
    const end = this.#purging?.end
    // Where the log has turned out to be another, it has to be read again; nothing has happened to that.
    this.status = end ? 'unloaded' : 'ready'
    if (!end || (end.logId === this.#log.logId && end.version === this.#log.version))
      this.#log = new FoldedLog(this.#log.key, null)
    this.#purging?.resolve()
    this.#purging = undefined
  }

  #failed(during: 'load' | 'store' | 'verify' | 'purge', cause: unknown, batch = this.#batch): void {
    switch (during) {
      case 'load':
        return this.#rejectAll(cause, 'not-stored')

      case 'store': {
        const doubt = storeFailure(cause, 'unknown')
        this.#batch = batch
        this.#doubt = doubt
        if (!isTurnlogError(doubt, 'STORE_UNAVAILABLE') || doubt.outcome === 'unknown') return this.#load()
        this.status = 'ready'
        return this.#resolveDoubt(() => false)
      }

      case 'verify':
        this.status = 'ready'
        this.#batch = []
        for (const { request } of batch) request.reject(storeFailure(cause, 'not-stored'))
        return

      case 'purge':
        this.status = 'unloaded'
        this.#purging?.reject(storeFailure(cause, 'unknown'))
        this.#purging = undefined
    }
  }

  // For what was never sent `outcome` holds; the batch, if there is one, may be stored or not.
  #rejectAll(cause: unknown, outcome: 'not-stored' | 'unknown'): void {
    this.status = 'unloaded'
    const doubt = this.#doubt ?? storeFailure(cause, 'unknown')
    for (const { request } of this.#batch) request.reject(request.isSent ? doubt : storeFailure(cause, outcome))
    const waiting = [...(this.#check?.readers ?? []), ...this.#readers, ...this.#parked, ...this.#queue]
    for (const { reject } of waiting) reject(storeFailure(cause, outcome))
    this.#purging?.reject(storeFailure(cause, 'unknown'))
    if (this.#rest) this.#environment.clock.clearTimeout(this.#rest.timer)
    this.#rest = undefined
    this.#purging = undefined
    this.#batch = []
    this.#doubt = undefined
    this.#check = undefined
    this.#readers = []
    this.#parked = []
    this.#queue = []
  }

  // Answers those whose commits may be stored or not, now that the log tells, or cannot be asked.
  #resolveDoubt(isStored: (commit: Commit) => boolean): void {
    const batch = this.#batch
    const doubt = this.#doubt
    this.#batch = []
    this.#doubt = undefined
    for (const decided of batch) {
      if (!('commit' in decided)) continue
      if (isStored(decided.commit)) this.#acknowledge(decided.request, decided)
      else decided.request.reject(doubt)
    }
    this.#requeue(batch.filter((decided) => !('commit' in decided)))
  }

  #ask<A>(ask: () => Promise<A>, answer: (value: A) => StoreAnswer, failure: (error: unknown) => StoreAnswer): void {
    let asked: Promise<A>
    try {
      asked = Promise.resolve(ask())
    } catch (error) {
      asked = Promise.reject(error)
    }
    asked.then(
      (value) => this.#self.send(answer(value)),
      (error: unknown) => this.#self.send(failure(error))
    )
  }
}

/** Why a commit was not stored, and is not tried again. */
function notStored(result: Exclude<AppendResult, { status: 'stored' }>, { command, conflicts }: WriteRequest): unknown {
  if (result.status === 'conflict') {
    const message = `Others have written to the session first, ${conflicts} times in a row; nothing of the call was stored`
    return turnlogError('TOO_MANY_CONFLICTS', message, { conflicts })
  }
  if (result.status === 'orphaned' && command.type === 'fork') {
    return sessionNotFound({ userId: command.origin.userId, id: command.origin.sessionId })
  }
  const cause = result.status === 'failed' ? result.error : new Error(`The commit met "${result.status}"`)
  return storeFailure(cause, 'not-stored')
}

/** The turn for whose end a request has to wait; `undefined` where it does not wait. */
function awaitedBy(decided: Decided): string | undefined {
  if (!('error' in decided) || !decided.request.waits) return undefined
  return isTurnlogError(decided.error, 'TURN_BUSY') ? decided.error.turnId : undefined
}

function inOrder<R extends { readonly arrival: number }>(requests: R[]): R[] {
  return requests.sort((a, b) => a.arrival - b.arrival)
}
