import { parentPort, workerData } from 'node:worker_threads'
import { openDatabase, type SqliteDatabase } from './database.ts'
import { JobError, LogWriter, prepareFile, type Job, type JobResult, type WriterOptions } from './writer.ts'

// The thread that writes what is more than a commit: it may take long, and wait for other writers.

/** What the thread is started with. */
export interface WorkerInput extends WriterOptions {
  readonly path: string
}

/** What it says: that it runs, and then, to each job, what that came to. */
export type WorkerAnswer = 'ready' | { readonly result: JobResult } | { readonly failure: JobFailure }

/** A {@link JobError} as it crosses from one thread to another. */
export type JobFailure = Pick<JobError, 'code' | 'message' | 'outcome'>

const { path, ...options } = workerData as WorkerInput
const port = parentPort!
let database: SqliteDatabase | undefined
let writer: LogWriter | undefined

port.on('message', (job: Job | 'close') => void (job === 'close' ? close() : perform(job)))
port.postMessage('ready' satisfies WorkerAnswer)

async function perform(job: Job): Promise<void> {
  let answer: WorkerAnswer
  try {
    answer = { result: (writer ??= await open()).run(job) }
  } catch (error) {
    // The file may not be there; a job says itself what became of it.
    const { code, message, outcome } = error instanceof JobError ? error : new JobError(error, 'not-stored')
    answer = { failure: { code, message, outcome } }
  }
  port.postMessage(answer)
}

async function open(): Promise<LogWriter> {
  database = await openDatabase(path, { mustExist: true })
  prepareFile(database, options)
  return new LogWriter(database)
}

function close(): void {
  database?.close()
  port.close()
}
