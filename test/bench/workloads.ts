import { adapterWorkloads } from './adapters.ts'
import { growthWorkloads } from './growth.ts'
import { inspectorWorkloads } from './inspector.ts'
import { memoryWorkloads } from './memory.ts'
import { natsWorkloads } from './nats.ts'
import { postgresWorkloads } from './postgres.ts'
import type { Row } from './row.ts'
import { sqliteWorkloads } from './sqlite.ts'
import { appendWorkloads } from './workloads/appends.ts'
import { loopWorkloads } from './workloads/loop.ts'
import { mixedWorkloads } from './workloads/mixed.ts'
import { pastWorkloads } from './workloads/past.ts'
import { peerFileWorkloads } from './workloads/peer-files.ts'

export type { Row } from './row.ts'

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
