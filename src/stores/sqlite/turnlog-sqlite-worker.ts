import { parentPort, workerData } from 'node:worker_threads'
import { fileAt, openDatabase, type SqliteDatabase } from './database.ts'
import { hushSqliteWarning } from './hushed.ts'
import { unpack, type PackedCommits } from './packed.ts'
import { JobError, LogWriter, prepareFile, type Job, type JobResult, type WriterOptions } from './writer.ts'

// The thread that writes what is more than a commit: it may take long, and wait for other writers. The name of this file is one
// that no other has: the folder of a bundle may well have a worker of somebody else's.

/** What the thread is started with. */
export interface WorkerInput extends WriterOptions {
  readonly path: string
}

/** What it says: that it runs, and then, to each job, what that came to. */
export type WorkerAnswer = 'ready' | { readonly result: JobResult } | { readonly failure: JobFailure }

/** A {@link JobError} as it crosses from one thread to another. */
export type JobFailure = Pick<JobError, 'code' | 'message' | 'outcome'>

// The thread that has started this one has said it, or had reason not to.
hushSqliteWarning()

const { path, ...options } = workerData as WorkerInput
const port = parentPort!
let connection:
  | { readonly database: SqliteDatabase; readonly writer: LogWriter; readonly file: string | undefined }
  | undefined

// One after the other: the first has to connect.
let performing: Promise<void> = Promise.resolve()
port.on('message', (job: Job | PackedCommits | 'close') => {
  performing = performing.then(() => {
    if (job === 'close') return end()
    return perform('type' in job ? job : { type: 'append', commits: unpack(job) })
  })
})
port.postMessage('ready' satisfies WorkerAnswer)

async function perform(job: Job): Promise<void> {
  let answer: WorkerAnswer
  try {
    if (connection && connection.file !== fileAt(path)) disconnect()
    connection ??= await connect()
    answer = { result: connection.writer.run(job) }
  } catch (error) {
    // The file may not be there; a job says itself what became of it.
    const { code, message, outcome } = error instanceof JobError ? error : new JobError(error, 'not-stored')
    answer = { failure: { code, message, outcome } }
  }
  port.postMessage(answer)
}

async function connect(): Promise<NonNullable<typeof connection>> {
  const database = await openDatabase(path, { mustExist: true })
  try {
    prepareFile(database, options)
    return { database, writer: new LogWriter(database), file: fileAt(path) }
  } catch (error) {
    database.close()
    throw error
  }
}

function disconnect(): void {
  connection?.database.close()
  connection = undefined
}

function end(): void {
  try {
    disconnect()
  } finally {
    port.close()
  }
}
