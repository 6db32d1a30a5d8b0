import { readFileSync } from 'node:fs'
import { afterEach, expect, it, vi } from 'vitest'
import { installedVersion, warnIfUntested } from '../../src/adapters/shared/framework.ts'

afterEach(() => vi.restoreAllMocks())

it('the version of a framework is found, whatever its package exports', () => {
  const { version } = JSON.parse(
    readFileSync(new URL('../../node_modules/@openai/agents-core/package.json', import.meta.url), 'utf8')
  ) as { version: string }
  expect(installedVersion('@openai/agents-core')).toBe(version)
  expect(installedVersion('@nobody/has-this')).toBeUndefined()
})

it('a version that was not tested is warned of once, with both', () => {
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
  warnIfUntested('of-today', '0.20', () => '0.20.7')
  warnIfUntested('not-installed', '0.20', () => undefined)
  expect(warn).not.toHaveBeenCalled()
  const versionOf = vi.fn(() => '0.20.1')
  for (let i = 0; i < 3; i++) warnIfUntested('of-tomorrow', '0.2', versionOf)
  expect(versionOf).toHaveBeenCalledTimes(1)
  warnIfUntested('another', '7', () => '8.0.0-beta.1')
  expect(warn.mock.calls.map(([message]) => message)).toEqual([
    'of-tomorrow 0.20.1 is installed, and this adapter of turnlog was tested with 0.2.x; it may work',
    'another 8.0.0-beta.1 is installed, and this adapter of turnlog was tested with 7.x; it may work'
  ])
  expect(warn.mock.calls[0]![1]).toEqual({ code: 'TURNLOG_UNTESTED_VERSION' })
})
