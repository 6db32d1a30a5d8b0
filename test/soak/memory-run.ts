import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** What the resident memory of a process with 1,000 active sessions of 20 messages may come to. */
export const BOUND = 300 * 2 ** 20

/** Runs memory.mjs over the compiled source, in a process of its own. Sizes are bytes; `compared` counts sessions that came back. */
export function memoryOfSessions(
  sessions: number,
  calls: number,
  stderr: 'inherit' | 'pipe' = 'pipe'
): { readonly base: number; readonly peak: number; readonly bytes: number; readonly compared: number } {
  // In the tree, where it finds what the package depends on.
  const dist = mkdtempSync(fileURLToPath(new URL('tmp-dist-', import.meta.url)))
  const [compiler, project] = [at('../../node_modules/typescript/bin/tsc'), at('../../src')]
  try {
    execFileSync(process.execPath, [compiler, '-p', project, '--outDir', dist])
    const args = [at('memory.mjs'), dist, String(sessions), String(calls)]
    const output = execFileSync(process.execPath, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', stderr] })
    return JSON.parse(output) as ReturnType<typeof memoryOfSessions>
  } finally {
    rmSync(dist, { recursive: true })
  }
}

function at(path: string): string {
  return fileURLToPath(new URL(path, import.meta.url))
}
