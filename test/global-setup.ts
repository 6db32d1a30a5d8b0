import { compile } from './compiled.ts'

/** What the threads of the source run, compiled once for all tests: see threads.mjs. */
export default function setup(): () => void {
  const compiled = compile()
  process.env['TURNLOG_COMPILED'] = compiled.path
  return () => compiled.remove()
}
