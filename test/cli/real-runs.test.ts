import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { type Session } from '../../src/index.ts'
import { directory, output, outputOfProcess } from './kit.ts'

const DATA = fileURLToPath(new URL('../../../shared/data/tau-airline.jsonl', import.meta.url))

describe('what a new user does with real conversations', () => {
  it.skipIf(!existsSync(DATA) && !process.env['CI'])(
    'imports them, looks at them, forks, rewinds and exports: all comes back equal (skipped without ../shared/data)',
    { timeout: 60_000 },
    async () => {
      const store = 'sqlite:journey.db'
      // Each a process of its own where it moves much; of the others others tell that they run as one.
      expect(await outputOfProcess(store, 'import', DATA, '--user', 'ada')).toContain('100 sessions')
      expect(JSON.parse(await output(store, 'users', '--json'))).toEqual(['ada'])
      const listed = JSON.parse(await output(store, 'sessions', 'ada', '--json')) as Session[]
      expect(listed).toHaveLength(100)
      const lines = readFileSync(DATA, 'utf8').trim().split('\n')
      const exported = (await outputOfProcess(store, 'export', 'ada', '--format', 'openai')).trim().split('\n')
      expect(exported.map((each) => JSON.parse(each) as unknown)).toEqual(
        lines.map((each) => JSON.parse(each) as unknown)
      )

      expect(await output(store, 'show', 'ada', 'tau-airline-1', '--last', '2')).toContain('assistant')
      expect(await output(store, 'fork', 'ada', 'tau-airline-1', '--at', '5', '--as', 'again')).toContain(
        'with 3 messages'
      )
      expect(await output(store, 'diff', 'ada', 'tau-airline-1', 'again')).toContain('3 messages in common')
      expect(await output(store, 'rewind', 'ada', 'tau-airline-1', '4', '--reason', 'too far')).toContain(
        'with 2 messages'
      )
      expect(await output(store, 'log', 'ada', 'tau-airline-1')).toContain('rewind to 4: too far')
      expect(await output(store, 'verify')).toContain('all sound')

      await output(store, 'export', 'ada', '--output', 'ada.jsonl')
      await outputOfProcess('sqlite:copy.db', 'import', 'ada.jsonl')
      await output('sqlite:copy.db', 'export', 'ada', '-o', 'again.jsonl')
      // Byte by byte expect takes ten seconds.
      expect(readFileSync(join(directory, 'again.jsonl')).equals(readFileSync(join(directory, 'ada.jsonl')))).toBe(true)
    }
  )
})
