import { mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'vite'
import { compile, compileExamples } from './compiled.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** What the threads and processes of the tests run, compiled once for all of them: see threads.mjs and compiled.ts; and the inspector's page, which is served by what is compiled, too. */
export default async function setup(): Promise<() => void> {
  await buildPage()
  const compiled = compile()
  compileExamples(compiled.path)
  process.env['TURNLOG_COMPILED'] = compiled.path
  return () => compiled.remove()
}

// Where `npm run build` has it, which the source and what is compiled, both at the top of the tree, see as ../dist. In its place at once: other tests may be
// running.
async function buildPage(): Promise<void> {
  const page = join(ROOT, 'dist/inspector/page')
  const fresh = mkdtempSync(join(ROOT, 'tmp-page-'))
  await build({ root: join(ROOT, 'src/inspector/page'), logLevel: 'warn', build: { outDir: fresh } })
  mkdirSync(dirname(page), { recursive: true })
  rmSync(page, { recursive: true, force: true })
  renameSync(fresh, page)
}
