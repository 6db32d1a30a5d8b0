import { Worker } from 'node:worker_threads'
import type { JobFailure, WorkerAnswer, WorkerInput } from './turnlog-sqlite-worker.ts'
import { pack } from './packed.ts'
import { JobError, type Job, type JobResult } from './writer.ts'

/** The worker thread, as it is seen from here. Keeps the process alive only while it works. */
export class WriterThread {
  readonly #worker: Worker | undefined
  readonly #exited: Promise<void>
  /** Whether it runs, or never will. */
  readonly isReady: Promise<boolean>
  /** Who is to hear what has become of the jobs that the thread has, in their order. */
  readonly #asked: { readonly resolve: (result: JobResult) => void; readonly reject: (failure: unknown) => void }[] = []
  isRunning = false
  hasEnded = false

  constructor(input: WorkerInput) {
    let worker: Worker
    try {
      // Beside this file, and of its kind: the source in tests, else what was compiled. Some bundles have no URL.
      const file = `./turnlog-sqlite-worker.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`
      worker = new Worker(new URL(file, import.meta.url), { workerData: input, name: 'turnlog-sqlite' })
    } catch {
      this.isReady = Promise.resolve(false)
      this.#exited = Promise.resolve()
      this.hasEnded = true
      return
    }
    this.#worker = worker
    this.isReady = new Promise((resolve) => {
      worker.on('message', (answer: WorkerAnswer) => {
        if (answer === 'ready') {
          this.isRunning = true
          resolve(true)
        } else if ('result' in answer) this.#asked.shift()?.resolve(answer.result)
        else this.#asked.shift()?.reject(asError(answer.failure))
      })
      worker.on('exit', () => resolve(false))
    })
    worker.on('error', (error) => this.#fail(error))
    this.#exited = new Promise((resolve) =>
      worker.on('exit', () => {
        this.#fail(new Error('The thread that writes has ended'))
        resolve()
      })
    )
  }

  /** Jobs are done in the order in which they are given. */
  async run(job: Job): Promise<JobResult> {
    if (this.hasEnded) throw new JobError(new Error('The thread that writes has ended'), 'not-stored')
    this.#worker!.ref()
    try {
      return await new Promise((resolve, reject) => {
        const packed = job.type === 'append' ? pack(job.commits) : undefined
        if (packed) this.#worker!.postMessage(packed, [packed.numbers.buffer])
        else this.#worker!.postMessage(job)
        this.#asked.push({ resolve, reject })
      })
    } finally {
      if (this.#asked.length === 0) this.#worker!.unref()
    }
  }

  end(): Promise<void> {
    if (!this.hasEnded) {
      this.hasEnded = true
      this.#worker!.ref()
      this.#worker!.postMessage('close')
    }
    return this.#exited
  }

  #fail(error: unknown): void {
    this.hasEnded = true
    // What it was doing may be done.
    for (const { reject } of this.#asked.splice(0)) reject(new JobError(error, 'unknown'))
  }
}

function asError({ message, code, outcome }: JobFailure): JobError {
  return Object.assign(new JobError(message, outcome), { code })
}
