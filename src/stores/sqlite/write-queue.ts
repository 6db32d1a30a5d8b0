import type { AppendResult, Commit } from '../../store.ts'
import { later, RETRY_MS } from './database.ts'
import { WriterThread } from './writer-thread.ts'
import { JobError, type EncodedCommit, type Job, type JobResult, type LogWriter, type Outcome } from './writer.ts'

/** What is written on the calling thread is one commit of at most so many characters; what is more goes to the worker. */
const SMALL_COMMIT = 65_536

/** Commits that share a transaction, at most. */
const LARGEST_BATCH = 1_000

/** Batches that are written before input and output get their turn. */
const BATCHES_IN_TURN = 8

/** After so many commits on the calling thread, which does not checkpoint, the worker is asked to. */
const COMMITS_BETWEEN_CHECKPOINTS = 250

/** How often it is tried to cut the write-ahead log after a purge. */
const CUTS = 10

/** What the queue writes to. */
export interface WriteTarget {
  /** `undefined`: a connection of the caller's, which no other thread can use. */
  readonly path: string | undefined
  readonly synchronous: 'full' | 'normal'
  readonly busyTimeoutMs: number
  /** The connection of the calling thread. */
  readonly connected: () => WritingConnection | Promise<WritingConnection>
}

interface WritingConnection {
  readonly writer: LogWriter
}

/** A commit that waits to be written, and where its outcome goes. */
interface Waiting {
  readonly commits: readonly EncodedCommit[]
  readonly resolve: (outcomes: readonly Outcome[]) => void
  readonly reject: (failure: unknown) => void
}

/** A batch that is with the writer: how many calls it has, and what tells them what has become of their commits. */
interface Begun {
  readonly size: number
  readonly answers: Promise<readonly (() => void)[]>
}

/**
 * What is to be written, one batch at a time: so the two connections of a process never wait for each other. All that came
 * while a batch was being written is the next one.
 */
export class WriteQueue {
  readonly #target: WriteTarget
  #appends: Waiting[] = []
  #jobs: {
    readonly job: Job
    readonly resolve: (result: JobResult) => void
    readonly reject: (failure: unknown) => void
  }[] = []
  #isScheduled = false
  #isWriting = false
  /** The batch that is being written, and the one that the thread has got already. */
  #current: Begun | undefined
  #ahead: Begun | undefined
  #answering = 0
  #onIdle: (() => void)[] = []
  #thread: WriterThread | undefined
  #isThreadStale = false
  /** A thread cannot be started here: its file is not beside this one, as in a bundle. */
  #hasNoThread = false
  #hasHadThread = false
  #batchesInTurn = 0
  #commitsSinceCheckpoint = 0
  #checkpointing: Promise<unknown> | undefined
  #hasCheckpointed = false
  #isReclaiming: Promise<void> | undefined
  /** What was purged may still be in the write-ahead log. */
  #isToBeCut = false

  constructor(target: WriteTarget) {
    this.#target = target
  }

  async append(commits: readonly Commit[]): Promise<AppendResult[]> {
    const encoded: EncodedCommit[] = []
    const results: (AppendResult | undefined)[] = []
    const broken = new Set<string>()
    for (const commit of commits) {
      try {
        if (broken.has(commit.logId)) results.push({ status: 'conflict' })
        else {
          encoded.push(encode(commit))
          results.push(undefined)
        }
      } catch (error) {
        // More than a string can hold.
        broken.add(commit.logId)
        results.push({ status: 'failed', error, outcome: 'not-stored' })
      }
    }
    const outcomes =
      encoded.length === 0
        ? []
        : await new Promise<readonly Outcome[]>((resolve, reject) => {
            this.#appends.push({ commits: encoded, resolve, reject })
            this.#schedule()
          })
    let answered = 0
    return results.map((result) => result ?? RESULTS[outcomes[answered++]!])
  }

  run(job: Job): Promise<JobResult> {
    return new Promise((resolve, reject) => {
      this.#jobs.push({ job, resolve, reject })
      this.#schedule()
    })
  }

  /**
   * Removes the rows of what was purged, in steps between which others write, and what the write-ahead log has of them. As long as
   * somebody reads that, it is left to later checkpoints.
   */
  reclaim(): Promise<void> {
    const work = async (): Promise<void> => {
      while ((await this.run({ type: 'reclaim' })).hasMore);
      this.#isToBeCut = true
      for (let tries = CUTS; this.#isToBeCut && tries > 0; tries--) {
        if (tries < CUTS) await later(RETRY_MS)
        this.#isToBeCut = (await this.run({ type: 'checkpoint', cuts: true })).hasMore!
      }
    }
    const done = (this.#isReclaiming ?? Promise.resolve()).catch(() => undefined).then(work)
    this.#isReclaiming = done
    return done
  }

  /** Gives up the worker's connection, after what it is doing; the next batch makes another. */
  restart(): void {
    this.#isThreadStale = true
  }

  /** Resolves when all is written and the worker has ended. */
  async end(): Promise<void> {
    while (!this.#isIdle) await new Promise<void>((resolve) => this.#onIdle.push(resolve))
    // Who closes last empties it; others may stay.
    if (this.#isToBeCut) await this.run({ type: 'checkpoint', cuts: true }).catch(() => undefined)
    this.#isToBeCut = false
    await this.#endThread()
  }

  async #endThread(): Promise<void> {
    const thread = this.#thread
    this.#thread = undefined
    this.#isThreadStale = false
    await thread?.end()
  }

  get #isIdle(): boolean {
    const isWorking = this.#isWriting || this.#isScheduled || this.#answering > 0 || this.#checkpointing !== undefined
    return !isWorking && this.#appends.length === 0 && this.#jobs.length === 0
  }

  // After all that is called in this turn of the event loop, so that it comes together. Some batches in a row may do without a turn of
  // their own, which is dear for one small commit after the other; then input and output get theirs.
  #schedule(): void {
    if (this.#isScheduled || (this.#isWriting && !this.#canGoAhead)) return
    this.#isScheduled = true
    const write = (): void => {
      this.#isScheduled = false
      if (this.#isWriting) this.#goAhead()
      else if (!this.#writeAtOnce()) void this.#write()
    }
    if (++this.#batchesInTurn < BATCHES_IN_TURN) return queueMicrotask(() => process.nextTick(write))
    this.#batchesInTurn = 0
    setImmediate(write)
  }

  // One small commit after the other: of what each costs beside SQLite, every step counts.
  #writeAtOnce(): boolean {
    if (this.#appends.length !== 1 || this.#jobs.length > 0 || this.#isCheckpointDue) return false
    const { commits, resolve, reject } = this.#appends[0]!
    try {
      const result = this.#here({ type: 'append', commits })
      if (!result) return false
      resolve(result.outcomes!)
    } catch (failure) {
      reject(failure)
    }
    this.#appends = []
    if (this.#onIdle.length > 0 && this.#isIdle) this.#tellIdle()
    return true
  }

  async #write(): Promise<void> {
    this.#isWriting = true
    let answers: readonly (() => void)[] = []
    for (;;) {
      await this.#checkpointIfDue()
      this.#current = this.#ahead ?? this.#begin()
      this.#ahead = undefined
      // Those of the batch before hear when the next is on its way: this thread goes on with them while the other one writes.
      if (this.#current) for (const answer of answers) answer()
      else this.#answer(answers)
      const job = this.#jobs.shift()
      if (!this.#current && !job) break
      answers = this.#current ? await this.#current.answers : []
      // Messages of a thread that is quick enough would keep everything else waiting.
      if (this.#current && this.#current.size > 1) await new Promise((resolve) => setImmediate(resolve))
      if (job) await this.#perform(job.job).then(job.resolve, job.reject)
    }
    this.#isWriting = false
    if (this.#isIdle) this.#tellIdle()
  }

  #begin(): Begun | undefined {
    const batch = this.#appends.splice(0, LARGEST_BATCH)
    return batch.length > 0 ? { size: batch.length, answers: this.#writeBatch(batch) } : undefined
  }

  // What the thread finds when it is done with a batch need not wait for this thread to hear of that. But what comes in bit by bit is
  // better written together.
  #goAhead(): void {
    if (this.#canGoAhead) this.#ahead = this.#begin()
  }

  get #canGoAhead(): boolean {
    const isThreadAtWork = this.#current !== undefined && this.#thread?.isRunning === true && !this.#isThreadStale
    const isWorth = this.#appends.length > 1 && 2 * this.#appends.length >= (this.#current?.size ?? 0)
    return isThreadAtWork && isWorth && this.#current!.size > 1 && !this.#ahead && !this.#checkpointing
  }

  // What tells the callers what has become of their commits.
  async #writeBatch(batch: readonly Waiting[]): Promise<readonly (() => void)[]> {
    try {
      const { outcomes } = await this.#perform({ type: 'append', commits: batch.flatMap(({ commits }) => commits) })
      let answered = 0
      return batch.map(({ commits, resolve }) => {
        const own = outcomes!.slice(answered, (answered += commits.length))
        return () => resolve(own)
      })
    } catch (failure) {
      // Where it is the fault of one, which SQLite does not tell, the others are not to pay for it.
      const isOfOne = failure instanceof JobError && failure.outcome === 'not-stored' && !OF_ALL.has(failure.code)
      if (isOfOne && batch.length > 1) return this.#writeOneByOne(batch)
      return batch.map(
        ({ reject }) =>
          () =>
            reject(failure)
      )
    }
  }

  async #writeOneByOne(batch: readonly Waiting[]): Promise<readonly (() => void)[]> {
    const answers: (() => void)[] = []
    for (const each of batch) answers.push(...(await this.#writeBatch([each])))
    return answers
  }

  // Where nobody else waits, half of the callers hear a little later: what the others ask for next can be written meanwhile.
  #answer(answers: readonly (() => void)[]): void {
    const half = answers.length >> 1
    for (const answer of answers.slice(half)) answer()
    if (half === 0) return
    this.#answering++
    const rest = (): void => {
      this.#answering--
      for (const answer of answers.slice(0, half)) answer()
      if (this.#isIdle) this.#tellIdle()
    }
    setImmediate(() => setImmediate(rest))
  }

  #tellIdle(): void {
    for (const resolve of this.#onIdle.splice(0)) resolve()
  }

  // First beside the commits that go on here; then, with nobody writing, the rest, so that the log of the file can begin anew.
  async #checkpointIfDue(): Promise<void> {
    if (!this.#isCheckpointDue) return
    if (this.#checkpointing) {
      // A slow disk: the log of the file is not to grow by more meanwhile.
      if (this.#commitsSinceCheckpoint < 3 * COMMITS_BETWEEN_CHECKPOINTS) return
      await this.#checkpointing
    }
    if (this.#hasCheckpointed) {
      this.#hasCheckpointed = false
      this.#commitsSinceCheckpoint = 0
      const cuts = this.#isToBeCut
      const { hasMore = cuts } = await this.#perform({ type: 'checkpoint', cuts }).catch(() => ({ hasMore: cuts }))
      this.#isToBeCut = hasMore
      return
    }
    this.#checkpointing = this.#perform({ type: 'checkpoint' }).then(
      () => (this.#hasCheckpointed = true),
      // The log of the file grows until the next time.
      () => (this.#commitsSinceCheckpoint = 0)
    )
    void this.#checkpointing.finally(() => {
      this.#checkpointing = undefined
      if (this.#isIdle) this.#tellIdle()
    })
  }

  get #isCheckpointDue(): boolean {
    return this.#commitsSinceCheckpoint >= COMMITS_BETWEEN_CHECKPOINTS
  }

  async #perform(job: Job): Promise<JobResult> {
    const { path, synchronous, busyTimeoutMs } = this.#target
    // What the thread has got already it writes meanwhile: neither connection is to find the file locked by the other.
    const done = this.#ahead ? undefined : this.#here(job)
    if (done) return done
    if (path === undefined || this.#hasNoThread) return this.#performHere(job)
    if (this.#checkpointing) await this.#checkpointing
    if (this.#isThreadStale) await this.#endThread()
    // It may have died while it had nothing to do.
    if (this.#thread?.hasEnded) this.#thread = undefined
    this.#thread ??= new WriterThread({ path, synchronous, busyTimeoutMs, checkpoints: true })
    const thread = this.#thread
    if (!thread.isRunning && !(await thread.isReady)) {
      // Where there was one before, the next one may do better.
      this.#hasNoThread = !this.#hasHadThread
      return this.#performHere(job)
    }
    this.#hasHadThread = true
    if (job.type === 'append') this.#commitsSinceCheckpoint = 0
    try {
      return await thread.run(job)
    } finally {
      if (thread.hasEnded && this.#thread === thread) this.#thread = undefined
    }
  }

  async #performHere(job: Job): Promise<JobResult> {
    const deadline = performance.now() + this.#target.busyTimeoutMs
    for (;;) {
      try {
        return this.#run(await this.#target.connected(), job)
      } catch (error) {
        if (!isBusy(error) || performance.now() > deadline) throw error
      }
      await later(RETRY_MS)
    }
  }

  // Something small, if it can be done at once. For another process the worker may wait; this thread may not.
  #here(job: Job): JobResult | undefined {
    if (!isSmall(job)) return undefined
    const connection = this.#target.connected()
    if (connection instanceof Promise) {
      connection.catch(() => undefined)
      return undefined
    }
    try {
      return this.#run(connection, job)
    } catch (error) {
      if (isBusy(error)) return undefined
      throw error
    }
  }

  #run({ writer }: WritingConnection, job: Job): JobResult {
    const result = writer.run(job)
    if (this.#target.path !== undefined && job.type !== 'checkpoint') this.#commitsSinceCheckpoint++
    return result
  }
}

/** Result codes of failures that every batch would meet. */
const OF_ALL: ReadonlySet<string> = new Set(['BUSY', 'READONLY', 'FULL', 'CANTOPEN', 'NOTADB'])

const RESULTS: Readonly<Record<Outcome, AppendResult>> = {
  stored: Object.freeze({ status: 'stored' }),
  conflict: Object.freeze({ status: 'conflict' }),
  orphaned: Object.freeze({ status: 'orphaned' })
}

function encode({ key, logId, expectedVersion, events, summary, parent }: Commit): EncodedCommit {
  return {
    userId: key.userId,
    sessionId: key.sessionId,
    logId,
    expectedVersion,
    version: expectedVersion + events.length,
    updatedAt: summary.updatedAt,
    deleted: summary.deleted,
    summary: JSON.stringify(summary),
    events: events.map((event) => JSON.stringify(event)),
    parent: parent && { logId: parent.logId, version: parent.version }
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof JobError && error.code === 'BUSY'
}

function isSmall(job: Job): boolean {
  if (job.type === 'touch') return true
  if (job.type !== 'append' || job.commits.length > 1) return false
  let size = 0
  for (const body of job.commits[0]!.events) if ((size += body.length + 100) > SMALL_COMMIT) return false
  return true
}
