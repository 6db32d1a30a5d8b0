import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { compile } from '../compiled.ts'

/** What the resident memory of a process with 1,000 active sessions of 20 messages may come to. */
export const BOUND = 300 * 2 ** 20

/** Runs memory.mjs over the compiled source, in a process of its own. Sizes are bytes; `compared` counts sessions that came back. */
export function memoryOfSessions(
  sessions: number,
  calls: number,
  stderr: 'inherit' | 'pipe' = 'pipe'
): { readonly base: number; readonly peak: number; readonly bytes: number; readonly compared: number } {
  const compiled = compile()
  try {
    const program = fileURLToPath(new URL('memory.mjs', import.meta.url))
    // As Node 20 has it: the young objects of newer ones may take twice as much, which is 100 MB more, whatever runs.
    const args = ['--max-semi-space-size=16', program, compiled.path, String(sessions), String(calls)]
    const output = execFileSync(process.execPath, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', stderr] })
    return JSON.parse(output) as ReturnType<typeof memoryOfSessions>
  } finally {
    compiled.remove()
  }
}
