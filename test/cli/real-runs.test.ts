import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { type Session } from '../../src/index.ts'
import { directory, outputOfProcess } from './kit.ts'

const DATA = fileURLToPath(new URL('../../../shared/data/tau-airline.jsonl', import.meta.url))

describe('what a new user does with real conversations', () => {
  it.skipIf(!existsSync(DATA) && !process.env['CI'])(
    'imports them, looks at them, forks, rewinds and exports: all comes back equal (skipped without ../shared/data)',
    { timeout: 60_000 },
    async () => {
      const store = 'sqlite:journey.db'
      expect(await outputOfProcess(store, 'import', DATA, '--user', 'ada')).toContain('100 sessions')
      expect(JSON.parse(await outputOfProcess(store, 'users', '--json'))).toEqual(['ada'])
      const listed = JSON.parse(await outputOfProcess(store, 'sessions', 'ada', '--json')) as Session[]
      expect(listed).toHaveLength(100)
      const lines = readFileSync(DATA, 'utf8').trim().split('\n')
      const exported = (await outputOfProcess(store, 'export', 'ada', '--format', 'openai')).trim().split('\n')
      expect(exported.map((each) => JSON.parse(each) as unknown)).toEqual(
        lines.map((each) => JSON.parse(each) as unknown)
      )

      expect(await outputOfProcess(store, 'show', 'ada', 'tau-airline-1', '--last', '2')).toContain('assistant')
      expect(await outputOfProcess(store, 'fork', 'ada', 'tau-airline-1', '--at', '5', '--as', 'again')).toContain(
        'with 3 messages'
      )
      expect(await outputOfProcess(store, 'diff', 'ada', 'tau-airline-1', 'again')).toContain('3 messages in common')
      expect(await outputOfProcess(store, 'rewind', 'ada', 'tau-airline-1', '4', '--reason', 'too far')).toContain(
        'with 2 messages'
      )
      expect(await outputOfProcess(store, 'log', 'ada', 'tau-airline-1')).toContain('rewind to 4: too far')
      expect(await outputOfProcess(store, 'verify')).toContain('all sound')

      await outputOfProcess(store, 'export', 'ada', '--output', 'ada.jsonl')
      await outputOfProcess('sqlite:copy.db', 'import', 'ada.jsonl')
      await outputOfProcess('sqlite:copy.db', 'export', 'ada', '-o', 'again.jsonl')
      expect(readFileSync(join(directory, 'again.jsonl'))).toEqual(readFileSync(join(directory, 'ada.jsonl')))
    }
  )
})
