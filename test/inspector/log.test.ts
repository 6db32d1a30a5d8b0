import { describe, expect } from 'vitest'
import { Logs, type AnyHistory } from '../../src/inspector/log.ts'
import { ADA, text } from '../service/kit.ts'
import { it } from './kit.ts'

describe('a log', () => {
  it('that grows meanwhile has no later version at a time than the newest that was asked for', async ({ begin }) => {
    const { history } = await begin()
    await history.createSession('ada', 's1')
    const log = new Logs(history as AnyHistory).of('ada', 's1')
    const newest = await log.newest()
    await history.appendMessage(ADA, text('later'))
    expect(await log.versionOf(new Date(Date.now() + 1_000_000), newest)).toBe(1)
  })
})
