import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const EXAMPLES = join(ROOT, 'examples')

/**
 * Compiles the source into a folder of its own, as it ships: what runs it needs nothing else. At the top of the tree, where it finds
 * what the package depends on. Types are for `npm run check`: without them it takes a quarter of the time.
 */
export function compile(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(ROOT, 'tmp-dist-'))
  tsc('-p', join(ROOT, 'src'), '--declaration', 'false', '--declarationMap', 'false', '--outDir', path)
  return { path, remove: () => rmSync(path, { recursive: true }) }
}

/** The source, compiled once for all tests by global-setup.ts, and the examples over it. */
export const COMPILED: string = process.env['TURNLOG_COMPILED'] ?? ''
export const COMPILED_EXAMPLES: string = join(COMPILED, 'examples')

/** The command: what a process of its own runs. */
export const PROGRAM: string = join(COMPILED, 'cli.js')

/** Adds the examples, over the compiled package: they start in a third of the time. */
export function compileExamples(dist: string): void {
  const path = join(dist, 'examples')
  const sources = readdirSync(EXAMPLES).filter((file) => file.endsWith('.ts'))
  const options = ['--module', 'nodenext', '--target', 'es2022', '--verbatimModuleSyntax', '--rootDir', EXAMPLES]
  // What they import is the package, which is found when they run, and not before.
  tsc('--ignoreConfig', '--noResolve', ...options, '--outDir', path, ...sources.map((file) => join(EXAMPLES, file)))
  cpSync(join(EXAMPLES, 'conversation.jsonl'), join(path, 'conversation.jsonl'))
  // Not in the package themselves, which is installed beside them.
  writeFileSync(join(path, 'package.json'), '{ "type": "module" }')
  const installed = join(path, 'node_modules/turnlog')
  mkdirSync(installed, { recursive: true })
  cpSync(join(ROOT, 'package.json'), join(installed, 'package.json'))
  symlinkSync(dist, join(installed, 'dist'))
}

function tsc(...options: readonly string[]): void {
  execFileSync(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '--noCheck', ...options])
}
