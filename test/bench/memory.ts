import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Kept } from './memory-run.ts'
import { median } from './rounds.ts'
import type { Row, Workload } from './workloads.ts'

export const memoryWorkloads: readonly Workload[] = [{ name: 'memory', run: memory }]

/** Processes of their own, each with two heap snapshots: what their difference comes to, and what it is made of. */
async function memory({ isQuick }: { readonly isQuick: boolean }): Promise<Row[]> {
  const repeat = (what: string): Kept[] => Array.from({ length: isQuick ? 1 : 3 }, () => keptBy(what))
  const [sessions, messages, events] = [repeat('sessions'), repeat('messages'), repeat('events')]
  const message = median(messages.map(({ snapshots }) => snapshots))
  const beyond = events.map(({ snapshots }) => snapshots - message)
  const [perSession, perEvent] = [median(sessions.map(({ snapshots }) => snapshots)), median(beyond)]
  return [
    {
      measure: 'memory of an active session, no messages',
      unit: 'bytes',
      results: { turnlog: sessions.map(({ snapshots }) => snapshots) },
      target: '6 KB',
      reached: `${shown(perSession)} bytes by heap snapshots; ${agreement(sessions)}`,
      isMet: perSession <= 6_144
    },
    partsRow('what such a session is made of', sessions),
    {
      measure: `memory of an event, beyond its message (${shown(message)})`,
      unit: 'bytes',
      results: { turnlog: beyond },
      target: '800 bytes',
      reached: `${shown(perEvent)} bytes by heap snapshots; ${agreement(events)}`,
      isMet: perEvent <= 800
    },
    partsRow('what an event is made of, with its message', events),
    partsRow('what a message alone is made of', messages)
  ]
}

/** How far the two ways of counting are apart. */
function agreement(kept: readonly Kept[]): string {
  const apart = median(kept.map(({ snapshots, heapUsed }) => 100 * (heapUsed / snapshots - 1)))
  return `heapUsed ${apart >= 0 ? '+' : '−'}${Math.abs(apart).toFixed(1)} %`
}

/** The ten largest parts. */
function partsRow(measure: string, kept: readonly Kept[]): Row {
  const names = [...new Set(kept.flatMap(({ parts }) => Object.keys(parts)))]
  const series = names.map((name): [string, number[]] => [name, kept.map(({ parts }) => parts[name] ?? 0)])
  const largest = series.toSorted(([, a], [, b]) => median(b) - median(a)).slice(0, 10)
  const sum = largest.reduce((total, [, values]) => total + median(values), 0)
  const all = median(kept.map(({ snapshots }) => snapshots))
  const reached = `the ten largest: ${shown(sum)} of ${shown(all)} bytes`
  return { measure, unit: 'bytes', results: Object.fromEntries(largest), reached }
}

function keptBy(what: string): Kept {
  const script = fileURLToPath(new URL('memory-run.ts', import.meta.url))
  const args = ['--expose-gc', '--import', 'tsx', script, what]
  return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' })) as Kept
}

function shown(bytes: number): string {
  return Math.round(bytes).toLocaleString('en')
}
