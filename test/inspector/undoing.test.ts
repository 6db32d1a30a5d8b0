import { describe, expect } from 'vitest'
import { isTurnlogError, type SessionHistoryService } from '../../src/index.ts'
import { outlookOf } from '../../src/inspector/page/undoing.ts'
import { it, S1 } from './kit.ts'

const ADA = { userId: 'ada', id: 's1' }
const ONE = { content: 'one' }
const TWO = { content: 'two' }

describe('what is said of an undo or redo before it is done', () => {
  it.for<[what: string, write: (history: SessionHistoryService) => Promise<unknown>]>([
    ['nothing', async () => undefined],
    ['a commit', (history) => history.appendMessage(ADA, [ONE, TWO])],
    [
      'two commits',
      async (history) => {
        await history.appendMessage(ADA, ONE)
        await history.appendMessage(ADA, [ONE, TWO])
      }
    ],
    [
      'a turn',
      async (history) => {
        await history.appendMessage(ADA, ONE)
        const turn = await history.beginTurn(ADA)
        await turn.append(ONE)
        await turn.append(TWO)
        await turn.end()
      }
    ],
    [
      'a rewind',
      async (history) => {
        await history.appendMessage(ADA, [ONE, TWO])
        await history.rewind(ADA, 2)
      }
    ],
    [
      'an undo',
      async (history) => {
        await history.appendMessage(ADA, [ONE, TWO])
        await history.undo(ADA)
      }
    ],
    [
      'a redo, then a commit',
      async (history) => {
        await history.appendMessage(ADA, ONE)
        await history.undo(ADA)
        await history.redo(ADA)
        await history.appendMessage(ADA, TWO)
      }
    ],
    [
      'one that was deleted and began anew',
      async (history) => {
        await history.appendMessage(ADA, ONE)
        await history.deleteSession('ada', 's1')
        await history.createSession('ada', 's1')
      }
    ]
  ])('%s', async ([, write], { begin }) => {
    for (const kind of ['undo', 'redo'] as const) {
      const { history, asked } = await begin()
      await history.createSession('ada', 's1')
      await write(history)
      const { events } = await asked.get('events', S1)
      const outlook = outlookOf(kind, events, (await asked.get('outline', S1)).marks)
      const done = await history[kind](ADA).then(
        async ({ version }) => ({ to: (await asked.get('event', { ...S1, version })).line.toVersion }),
        (error: unknown) => (isTurnlogError(error) && error.code.startsWith('NOTHING') ? 'nothing' : error)
      )
      if (outlook !== 'unknown') expect(outlook, kind).toEqual(done)
      await history.stop()
    }
  })
})
