import type { Results } from './rounds.ts'
import { adapterWorkloads } from './adapters.ts'
import { growthWorkloads } from './growth.ts'
import { inspectorWorkloads } from './inspector.ts'
import { memoryWorkloads } from './memory.ts'
import { natsWorkloads } from './nats.ts'
import { postgresWorkloads } from './postgres.ts'
import { sqliteWorkloads } from './sqlite.ts'
import { appendWorkloads } from './workloads/appends.ts'
import { loopWorkloads } from './workloads/loop.ts'
import { mixedWorkloads } from './workloads/mixed.ts'
import { pastWorkloads } from './workloads/past.ts'
import { peerFileWorkloads } from './workloads/peer-files.ts'

/** One measure, with its target. */
export interface Workload {
  /** For `--only`. */
  readonly name: string
  readonly run: (options: Options) => Promise<Row[]>
}

export interface Options {
  readonly isQuick: boolean
  /** A file of real runs, if there is one. */
  readonly runs?: string
}

/** A row of the table. The first result is ours. */
export interface Row {
  readonly measure: string
  readonly unit: 'µs' | 'ms' | '/s' | 'bytes' | 'MB' | ''
  readonly results: Results
  /** What was to be reached, if anything was. */
  readonly target?: string
  /** What is held against the target, and how it came out; without a target, what the row comes to in a word. */
  readonly reached: string
  /** Where there is a target. */
  readonly isMet?: boolean
  /** Who does not take part in it, and why; what else has to be known of it. */
  readonly notes?: readonly string[]
  /** The point of a chart that the row is: rows of one chart differ in `x`, and have a line for each of their results. */
  readonly chart?: { readonly name: string; readonly x: number }
}

export const workloads: readonly Workload[] = [
  ...loopWorkloads,
  ...appendWorkloads,
  ...pastWorkloads,
  ...peerFileWorkloads,
  ...mixedWorkloads,
  ...memoryWorkloads,
  ...growthWorkloads,
  ...sqliteWorkloads,
  ...postgresWorkloads,
  ...natsWorkloads,
  ...adapterWorkloads,
  ...inspectorWorkloads
]
