import type { AppendResult, Commit } from '../../store.ts'
import { later, RETRY_MS } from './database.ts'
import { WriterThread } from './writer-thread.ts'
import { JobError, type EncodedCommit, type Job, type JobResult, type LogWriter, type Outcome } from './writer.ts'

/** What is written on the calling thread is one commit of at most so many characters; what is more goes to the worker. */
const SMALL_COMMIT = 65_536

/** Commits that share a transaction, at most. */
const LARGEST_BATCH = 1_000

/** After so many commits on the calling thread, which does not checkpoint, the worker is asked to. */
const COMMITS_BETWEEN_CHECKPOINTS = 250

/** What the queue writes to. */
export interface WriteTarget {
  /** `undefined`: a connection of the caller's, which no other thread can use. */
  readonly path: string | undefined
  readonly synchronous: 'full' | 'normal'
  readonly busyTimeoutMs: number
  /** The writer of the calling thread. */
  readonly writer: () => Promise<LogWriter>
}

/** A commit that waits to be written, and where its outcome goes. */
interface Waiting {
  readonly commits: readonly EncodedCommit[]
  readonly resolve: (outcomes: readonly Outcome[]) => void
  readonly reject: (failure: unknown) => void
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
  #answering = 0
  #onIdle: (() => void)[] = []
  #thread: WriterThread | undefined
  /** A thread cannot be started here: its file is not beside this one, as in a bundle. */
  #hasNoThread = false
  #commitsSinceCheckpoint = 0
  #isReclaiming: Promise<void> | undefined

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

  /** Removes the rows of what was purged, in steps between which others write. */
  reclaim(): Promise<void> {
    const work = async (): Promise<void> => {
      while ((await this.run({ type: 'reclaim' })).hasMore);
    }
    const done = (this.#isReclaiming ?? Promise.resolve()).catch(() => undefined).then(work)
    this.#isReclaiming = done
    return done
  }

  /** Gives up the worker's connection; the next batch makes another. */
  restart(): void {
    void this.#thread?.end()
    this.#thread = undefined
  }

  /** Resolves when all is written and the worker has ended. */
  async end(): Promise<void> {
    while (this.#isBusy) await new Promise<void>((resolve) => this.#onIdle.push(resolve))
    await this.#thread?.end()
    this.#thread = undefined
  }

  get #isBusy(): boolean {
    return (
      this.#isWriting || this.#isScheduled || this.#answering > 0 || this.#appends.length > 0 || this.#jobs.length > 0
    )
  }

  // In setImmediate, so that all that is called in one turn of the event loop comes together, and input and output go on.
  #schedule(): void {
    if (this.#isScheduled || this.#isWriting) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      void this.#write()
    })
  }

  async #write(): Promise<void> {
    this.#isWriting = true
    await this.#writeAppends()
    const next = this.#jobs.shift()
    if (next) await this.#perform(next.job).then(next.resolve, next.reject)
    if (this.#commitsSinceCheckpoint > COMMITS_BETWEEN_CHECKPOINTS) {
      this.#commitsSinceCheckpoint = 0
      // The log of the file grows until the next time.
      await this.#perform({ type: 'checkpoint' }).catch(() => undefined)
    }
    this.#isWriting = false
    if (this.#appends.length > 0 || this.#jobs.length > 0) this.#schedule()
    else if (!this.#isBusy) this.#idle()
  }

  async #writeAppends(): Promise<void> {
    const batch = this.#appends.splice(0, LARGEST_BATCH)
    if (batch.length === 0) return
    try {
      const { outcomes } = await this.#perform({ type: 'append', commits: batch.flatMap(({ commits }) => commits) })
      let answered = 0
      const answers = batch.map(({ commits, resolve }) => {
        const own = outcomes!.slice(answered, (answered += commits.length))
        return () => resolve(own)
      })
      this.#answer(answers)
    } catch (failure) {
      for (const { reject } of batch) reject(failure)
    }
  }

  // Half of the callers now, the others after the next batch has gone to the thread: else this thread would wait while that one
  // writes, and that one while the callers prepare what comes next.
  #answer(answers: readonly (() => void)[]): void {
    const half = answers.length >> 1
    for (const answer of answers.slice(half)) answer()
    if (half === 0) return
    this.#answering++
    const rest = (): void => {
      this.#answering--
      for (const answer of answers.slice(0, half)) answer()
      if (!this.#isBusy) this.#idle()
    }
    setImmediate(() => setImmediate(rest))
  }

  #idle(): void {
    for (const resolve of this.#onIdle.splice(0)) resolve()
  }

  async #perform(job: Job): Promise<JobResult> {
    const { path, synchronous, busyTimeoutMs } = this.#target
    if (path === undefined || this.#hasNoThread) return this.#performHere(job)
    if (isSmall(job)) {
      try {
        const result = (await this.#target.writer()).run(job)
        this.#commitsSinceCheckpoint++
        return result
      } catch (error) {
        // The worker may wait for the other process; this thread may not.
        if (!(error instanceof JobError) || error.code !== 'BUSY') throw error
      }
    }
    this.#thread ??= new WriterThread({ path, synchronous, busyTimeoutMs, checkpoints: true })
    const thread = this.#thread
    if (!(await thread.isReady)) {
      this.#hasNoThread = true
      return this.#performHere(job)
    }
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
        return (await this.#target.writer()).run(job)
      } catch (error) {
        if (!(error instanceof JobError) || error.code !== 'BUSY' || performance.now() > deadline) throw error
      }
      await later(RETRY_MS)
    }
  }
}

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

function isSmall(job: Job): boolean {
  if (job.type === 'touch') return true
  if (job.type !== 'append' || job.commits.length > 1) return false
  let size = 0
  for (const body of job.commits[0]!.events) if ((size += body.length + 100) > SMALL_COMMIT) return false
  return true
}
