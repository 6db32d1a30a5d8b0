import { createRequire, syncBuiltinESMExports } from 'node:module'
import { sep } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

// Threads of the source run it compiled: what would let them run TypeScript takes each of them several times as long to start as all the rest.

const threads = createRequire(import.meta.url)('node:worker_threads')
const source = fileURLToPath(new URL('../src', import.meta.url)) + sep
const compiled = process.env['TURNLOG_COMPILED']

threads.Worker = class extends threads.Worker {
  constructor(file, options) {
    const path = file instanceof URL && file.protocol === 'file:' ? fileURLToPath(file) : ''
    const isSource = compiled !== undefined && path.startsWith(source) && path.endsWith('.ts')
    super(isSource ? pathToFileURL(`${compiled}${sep}${path.slice(source.length, -2)}js`) : file, options)
  }
}
syncBuiltinESMExports()
