import { execFileSync } from 'node:child_process'
import { median } from './rounds.ts'
import { adapterWorkloads } from './adapters.ts'
import { inspectorWorkloads } from './inspector.ts'
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
  { name: 'memory', run: memory },
  ...sqliteWorkloads,
  ...postgresWorkloads,
  ...natsWorkloads,
  ...adapterWorkloads,
  ...inspectorWorkloads
]

/** Processes of their own, see memory.ts: what is left on the heap after a full collection. */
async function memory({ isQuick }: { readonly isQuick: boolean }): Promise<Row[]> {
  const repeat = (what: string): number[] => Array.from({ length: isQuick ? 1 : 5 }, () => heapOf(what))
  const sessions = repeat('sessions')
  const perSession = median(sessions)
  const messages = median(repeat('messages'))
  const events = repeat('events').map((bytes) => bytes - messages)
  const perEvent = median(events)
  return [
    {
      measure: 'memory of an active session, no messages',
      unit: 'bytes',
      results: { turnlog: sessions },
      target: '6 KB',
      reached: `${Math.round(perSession).toLocaleString('en')} bytes`,
      isMet: perSession <= 6144
    },
    {
      measure: `and of an event, beyond its message (${Math.round(messages)})`,
      unit: 'bytes',
      results: { turnlog: events },
      target: '800 bytes',
      reached: `${Math.round(perEvent).toLocaleString('en')} bytes`,
      isMet: perEvent <= 800
    }
  ]
}

function heapOf(what: string): number {
  const script = new URL('memory.ts', import.meta.url).pathname
  return Number(execFileSync(process.execPath, ['--expose-gc', '--import', 'tsx', script, what], { encoding: 'utf8' }))
}
