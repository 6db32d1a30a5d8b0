import { fileURLToPath } from 'node:url'
import { build } from 'vite'
import { compile } from './compiled.ts'

/**
 * What the threads of the source run, compiled once for all tests: see threads.mjs; and the inspector's page, which what is compiled serves, too: its folder
 * is beside both. What is there is written over and not removed first, as other tests may be running.
 */
export default async function setup(): Promise<() => void> {
  const root = fileURLToPath(new URL('../src/inspector/page', import.meta.url))
  await build({ root, logLevel: 'warn', build: { emptyOutDir: false } })
  const compiled = compile()
  process.env['TURNLOG_COMPILED'] = compiled.path
  return () => compiled.remove()
}
