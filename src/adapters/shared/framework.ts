import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const looked = new Set<string>()

/**
 * Warns, once in a process, where the version of a framework that is installed beside turnlog is none that its adapter was tested with. What is
 * not found is not warned of.
 *
 * @param tested the versions, by what they begin with: `0.20` is each 0.20.x, `7` each 7.x.y
 */
export function warnIfUntested(
  framework: string,
  tested: string,
  versionOf: (name: string) => string | undefined = installedVersion
): void {
  // A file is read, and adapters are made for each request.
  if (looked.has(framework)) return
  looked.add(framework)
  const installed = versionOf(framework)
  if (installed === undefined || installed.startsWith(`${tested}.`)) return
  const message = `${framework} ${installed} is installed, and this adapter of turnlog was tested with ${tested}.x; it may work`
  process.emitWarning(message, { code: 'TURNLOG_UNTESTED_VERSION' })
}

/** The version of a package as it is found from here. Its `exports` need not have its package.json. */
export function installedVersion(name: string): string | undefined {
  for (const folder of createRequire(import.meta.url).resolve.paths(name) ?? []) {
    try {
      const { version } = JSON.parse(readFileSync(join(folder, name, 'package.json'), 'utf8')) as { version?: unknown }
      if (typeof version === 'string') return version
    } catch {
      // Not in this folder.
    }
  }
  return undefined
}
