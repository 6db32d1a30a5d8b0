import { describe, expect, it } from 'vitest'
import { createSessionHistory, isTurnlogError, memoryStore, type SessionHistoryService } from '../src/index.ts'
import { turnlogError } from '../src/errors.ts'
import type { AppendResult, EventStore, StoredEvent } from '../src/index.ts'
import { gatedStore, type GatedStore } from './stores/gated.ts'

const SESSION = { userId: 'ada', id: 's' }

/** A service over a store that can be held back, with a session that has one message, `m0`. */
async function begin(
  inner?: EventStore
): Promise<{ history: SessionHistoryService; store: GatedStore; append: typeof appendTo }> {
  const store = gatedStore(inner)
  const history = await createSessionHistory({ store, logger: { warn: () => undefined } })
  await history.createSession('ada', 's')
  await appendTo(history, 'm0')
  store.calls.length = 0
  return { history, store, append: appendTo }
}

function appendTo(
  history: SessionHistoryService,
  id: string,
  options = {}
): ReturnType<SessionHistoryService['appendMessage']> {
  return history.appendMessage(SESSION, { id }, options)
}

async function idsIn(history: SessionHistoryService): Promise<string[]> {
  return (await history.getSession('ada', 's'))!.messages.map(({ id }) => id)
}

async function errorOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => expect.unreachable('it should have failed'),
    (error: unknown) => error
  )
}

describe('a session actor', () => {
  it('stores all that arrived while a batch was with the store as the next batch, in order of arrival', async () => {
    const { history, store } = await begin()
    const gate = store.hold('append')
    const appends = Array.from({ length: 100 }, (_, i) => appendTo(history, `m${i + 1}`))
    await gate.reached
    gate.open()
    const sessions = await Promise.all(appends)
    expect(store.calls.filter(({ method }) => method === 'append').map(({ count }) => count)).toEqual([1, 99])
    expect(sessions.map((session) => session?.version)).toEqual(Array.from({ length: 100 }, (_, i) => i + 3))
    expect(await idsIn(history)).toEqual(Array.from({ length: 101 }, (_, i) => `m${i}`))
  })

  it('answers reads while a batch is with the store, as of the last that is stored', async () => {
    const { history, store } = await begin()
    const gate = store.hold('append')
    const appended = appendTo(history, 'm1')
    await gate.reached
    expect(await idsIn(history)).toEqual(['m0'])
    expect((await history.getSession('ada', 's', { at: 1 }))?.messages).toEqual([])
    gate.open()
    expect((await appended)?.version).toBe(3)
    expect(await idsIn(history)).toEqual(['m0', 'm1'])
  })

  it('gives everybody the same snapshot of one version', async () => {
    const { history } = await begin()
    const [first, second] = await Promise.all([history.getSession('ada', 's'), history.getSession('ada', 's')])
    expect(first).toBe(second)
  })

  it('purges once what came before is stored, and before what comes after', async () => {
    const { history, store } = await begin()
    const gate = store.hold('append')
    const before = appendTo(history, 'm1')
    const more = appendTo(history, 'm2')
    const purged = history.purgeSession('ada', 's')
    const after = appendTo(history, 'm3')
    await gate.reached
    gate.open()
    expect([(await before)?.version, (await more)?.version]).toEqual([3, 4])
    await purged
    expect(await after).toBeNull()
    expect(await history.createSession('ada', 's')).toMatchObject({ version: 1 })
  })

  describe('when the store fails', () => {
    it('rejects what was not stored, and goes on', async () => {
      const { history, store } = await begin()
      const cause = new Error('disk on fire')
      store.fail('append', 'before', cause)
      expect(await errorOf(appendTo(history, 'lost'))).toMatchObject({
        code: 'STORE_UNAVAILABLE',
        outcome: 'unknown',
        cause
      })
      expect(await idsIn(history)).toEqual(['m0'])
      expect((await appendTo(history, 'm1'))?.version).toBe(3)
    })

    it('finds a commit whose answer was lost, and stores it once', async () => {
      const { history, store } = await begin()
      store.fail('append', 'after', new Error('cut'))
      expect((await appendTo(history, 'm1'))?.version).toBe(3)
      expect(await idsIn(history)).toEqual(['m0', 'm1'])
    })

    it('tells for each commit of a batch whose answer was lost', async () => {
      const { history, store } = await begin()
      const gate = store.hold('append')
      const first = appendTo(history, 'm1')
      store.fail('append', 'after', new Error('cut'))
      const others = ['m2', 'm3'].map((id) => appendTo(history, id))
      const nothing = history.putMessage(SESSION, { id: 'm3' })
      await gate.reached
      gate.open()
      expect((await Promise.all([first, ...others, nothing])).map((session) => session?.version)).toEqual([3, 4, 5, 5])
      expect(await idsIn(history)).toEqual(['m0', 'm1', 'm2', 'm3'])
    })

    it('says what the store says of the outcome', async () => {
      const { history, store } = await begin()
      const error = turnlogError('STORE_UNAVAILABLE', 'full', { outcome: 'not-stored' })
      store.fail('append', 'before', error)
      expect(await errorOf(appendTo(history, 'm1'))).toBe(error)
      expect(store.calls.filter(({ method }) => method === 'head')).toEqual([])
      expect((await appendTo(history, 'm2'))?.version).toBe(3)
    })

    it('rejects those who wait when the log cannot be read, and serves those who come later', async () => {
      const { history, store } = await begin()
      store.fail('append', 'before', new Error('gone'))
      store.fail('head', 'before', new Error('still gone'))
      const gate = store.hold('append')
      const lost = errorOf(appendTo(history, 'm1'))
      await Promise.resolve()
      gate.open()
      const waiting = [errorOf(appendTo(history, 'm2'))]
      expect(await lost).toMatchObject({ code: 'STORE_UNAVAILABLE', outcome: 'unknown' })
      expect(await waiting[0]).toMatchObject({ code: 'STORE_UNAVAILABLE', outcome: 'not-stored' })
      expect(await idsIn(history)).toEqual(['m0'])
      expect((await appendTo(history, 'm3'))?.version).toBe(3)
    })

    it('rejects a read that cannot ask how new the log is', async () => {
      const { history, store } = await begin()
      store.fail('head', 'before', new Error('away'))
      expect(await errorOf(history.getSession('ada', 's'))).toMatchObject({
        code: 'STORE_UNAVAILABLE',
        outcome: 'not-stored'
      })
      expect(await idsIn(history)).toEqual(['m0'])
    })

    it('rejects what stores nothing where it cannot be verified', async () => {
      const { history, store } = await begin()
      store.fail('head', 'before', new Error('away'))
      expect(await errorOf(appendTo(history, 'm0', { expectedVersion: 7 }))).toMatchObject({
        code: 'STORE_UNAVAILABLE'
      })
      expect(await errorOf(appendTo(history, 'm0', { expectedVersion: 7 }))).toMatchObject({ code: 'VERSION_CONFLICT' })
    })

    it('rejects a purge, and knows afterwards whether it took place', async () => {
      const { history, store } = await begin()
      store.fail('purge', 'after', new Error('cut'))
      expect(await errorOf(history.purgeSession('ada', 's'))).toMatchObject({
        code: 'STORE_UNAVAILABLE',
        outcome: 'unknown'
      })
      expect(await appendTo(history, 'm1')).toBeNull()
    })

    it('does not store twice what gets there late', async () => {
      // The commit is not there when the actor looks, and lands just before the next one.
      const inner = memoryStore()
      const { history, store } = await begin(inner)
      let late: (() => Promise<unknown>) | undefined
      const append = store.append
      store.append = async (commits) => {
        if (late) {
          store.append = append
          await late()
          return append(commits)
        }
        late = () => inner.append(commits)
        throw new Error('no answer')
      }
      expect(await errorOf(appendTo(history, 'late'))).toMatchObject({ outcome: 'unknown' })
      expect((await appendTo(history, 'm1'))?.version).toBe(4)
      expect(await idsIn(history)).toEqual(['m0', 'late', 'm1'])
    })

    it('answers each commit by its own result', async () => {
      const { history, store } = await begin()
      const gate = store.hold('append')
      const first = appendTo(history, 'm1')
      await gate.reached
      const append = store.append
      const refused = new Error('too large')
      store.append = async (commits) => {
        store.append = append
        const [one] = await append(commits.slice(0, 1))
        const failed = { status: 'failed', error: refused, outcome: 'not-stored' } as const
        return [one!, failed, ...commits.slice(2).map(() => ({ status: 'conflict' }) as const)]
      }
      const [stored, failed, again] = ['m2', 'm3', 'm4'].map((id) => appendTo(history, id))
      const reason = errorOf(failed!)
      gate.open()
      await first
      expect((await stored)?.version).toBe(4)
      expect(await reason).toMatchObject({ code: 'STORE_UNAVAILABLE', outcome: 'not-stored', cause: refused })
      expect((await again)?.version).toBe(5)
      expect(await idsIn(history)).toEqual(['m0', 'm1', 'm2', 'm4'])
    })

    it('looks up the commit whose own result is unknown', async () => {
      const { history, store } = await begin()
      const append = store.append
      store.append = async (commits) => {
        store.append = append
        await append(commits)
        return commits.map(() => ({ status: 'failed', error: new Error('?'), outcome: 'unknown' }) as const)
      }
      expect((await appendTo(history, 'm1'))?.version).toBe(3)
    })

    it.each<[string, unknown]>([
      ['no results', []],
      ['too many', [{ status: 'stored' }, { status: 'stored' }]],
      ['no list', undefined],
      ['what is no result', [undefined]]
    ])('takes an answer with %s for none, and reads what is there', async (_, answer) => {
      const { history, store } = await begin()
      const append = store.append
      store.append = async (commits) => {
        store.append = append
        await append(commits)
        return answer as readonly AppendResult[]
      }
      expect((await appendTo(history, 'm1'))?.version).toBe(3)
      expect(await idsIn(history)).toEqual(['m0', 'm1'])
    })

    it('fails like any other where the store throws instead of rejecting', async () => {
      const { history, store } = await begin()
      const { append } = store
      store.append = () => {
        store.append = append
        throw new Error('at once')
      }
      expect(await errorOf(appendTo(history, 'm1'))).toMatchObject({
        code: 'STORE_UNAVAILABLE',
        message: expect.stringContaining('at once')
      })
      expect((await appendTo(history, 'm2'))?.version).toBe(3)
    })

    it('names the version from which a log is damaged, leaves other sessions alone, and can purge it', async () => {
      const inner = memoryStore()
      const { history, store } = await begin(inner)
      await appendTo(history, 'm1')
      await history.stop()
      await history.start()
      const { read } = inner
      store.read = async function* (logId, range) {
        for await (const page of read(logId, range)) {
          yield page.map((event): StoredEvent =>
            event.version === 2 && event.sessionId === 's' ? { ...event, version: 7 } : event
          )
        }
      }
      const corrupt = { code: 'CORRUPT_LOG', userId: 'ada', sessionId: 's', version: 2 }
      expect(await errorOf(history.getSession('ada', 's'))).toMatchObject(corrupt)
      expect(await errorOf(appendTo(history, 'm2'))).toMatchObject(corrupt)
      expect((await history.createSession('ada', 'other')).version).toBe(1)
      await history.purgeSession('ada', 's')
      expect((await history.createSession('ada', 's')).version).toBe(1)
    })

    it('takes missing events for a damaged log', async () => {
      const { history, store } = await begin()
      await history.stop()
      await history.start()
      store.read = async function* () {}
      expect(await errorOf(history.getSession('ada', 's'))).toMatchObject({ code: 'CORRUPT_LOG', version: 1 })
    })
  })

  describe('when another service writes to the same log', () => {
    async function two(): Promise<{ one: SessionHistoryService; other: SessionHistoryService; store: GatedStore }> {
      const inner = memoryStore()
      const { history: one, store } = await begin(inner)
      return { one, other: await createSessionHistory({ store: inner }), store }
    }

    it('reads what the other has written', async () => {
      const { one, other } = await two()
      await appendTo(other, 'theirs')
      expect(await idsIn(one)).toEqual(['m0', 'theirs'])
      await other.purgeSession('ada', 's')
      await other.createSession('ada', 's')
      expect(await history(one)).toEqual([1, []])
    })

    it('stores an unconditional write upon it', async () => {
      const { one, other } = await two()
      await appendTo(other, 'theirs')
      expect((await appendTo(one, 'ours'))?.version).toBe(4)
      expect(await idsIn(other)).toEqual(['m0', 'theirs', 'ours'])
    })

    it('gives a conditional one its conflict, also where that was decided on what is old', async () => {
      const { one, other } = await two()
      await appendTo(other, 'theirs')
      expect(await errorOf(appendTo(one, 'ours', { expectedVersion: 2 }))).toMatchObject({
        code: 'VERSION_CONFLICT',
        actual: 3
      })
      await appendTo(other, 'more')
      expect((await appendTo(one, 'ours', { expectedVersion: 4 }))?.version).toBe(5)
    })

    it('sees a session that the other has made, before it says that there is none', async () => {
      const { one, other } = await two()
      await one.deleteSession('ada', 's')
      await other.createSession('ada', 's')
      expect((await appendTo(one, 'm1'))?.version).toBe(5)
    })

    it('sees a key that the other has used', async () => {
      const { one, other } = await two()
      const first = await appendTo(other, 'm1', { idempotencyKey: 'k' })
      expect(await appendTo(one, 'm1', { idempotencyKey: 'k' })).toEqual(first)
      expect(await idsIn(one)).toEqual(['m0', 'm1'])
    })

    it('decides anew all that followed a conflict in its batch', async () => {
      const { one, other, store } = await two()
      const gate = store.hold('append')
      const first = appendTo(one, 'a')
      const rest = [
        appendTo(one, 'b'),
        one.putMessage(SESSION, { id: 'b' }),
        appendTo(one, 'c', { expectedVersion: 4 })
      ]
      const conflict = errorOf(rest[2]!)
      await gate.reached
      await appendTo(other, 'theirs')
      gate.open()
      expect((await first)?.version).toBe(4)
      expect((await rest[0])?.version).toBe(5)
      expect((await rest[1])?.version).toBe(5)
      expect(await conflict).toMatchObject({ code: 'VERSION_CONFLICT', actual: 5 })
      expect(await idsIn(other)).toEqual(['m0', 'theirs', 'a', 'b'])
    })

    async function history(service: SessionHistoryService): Promise<[number, string[]]> {
      const session = (await service.getSession('ada', 's'))!
      return [session.version, session.messages.map(({ id }) => id)]
    }
  })

  describe('with a signal', () => {
    it('forgets a write that is cancelled while it waits', async () => {
      const { history, store } = await begin()
      const gate = store.hold('append')
      const first = appendTo(history, 'm1')
      const controller = new AbortController()
      const second = errorOf(appendTo(history, 'm2', { signal: controller.signal }))
      await gate.reached
      controller.abort(new Error('never mind'))
      expect(await second).toMatchObject({ message: 'never mind' })
      gate.open()
      await first
      expect(await idsIn(history)).toEqual(['m0', 'm1'])
    })

    it('finishes a write that is with the store', async () => {
      const { history, store } = await begin()
      const gate = store.hold('append')
      const controller = new AbortController()
      const appended = appendTo(history, 'm1', { signal: controller.signal })
      await gate.reached
      controller.abort()
      gate.open()
      expect((await appended)?.version).toBe(3)
    })

    it('does not begin one that is cancelled already', async () => {
      const { history, store } = await begin()
      const reason = new Error('before')
      expect(await errorOf(appendTo(history, 'm1', { signal: AbortSignal.abort(reason) }))).toBe(reason)
      expect(store.calls).toEqual([])
    })
  })

  it.each<[string, object]>([
    ['the clock gives no time', { clock: { now: () => Number.NaN } }],
    ['the clock throws', { clock: { now: () => raise('clock') } }],
    ['an id is blank', { ids: { event: () => '' } }],
    ['the ids throw', { ids: { event: () => raise('ids') } }]
  ])('rejects the call and lives on where %s', async (_, broken) => {
    let isBroken = true
    const now = (): number => (isBroken && 'clock' in broken ? (broken.clock as { now(): number }).now() : 1000)
    const event = (): string =>
      isBroken && 'ids' in broken ? (broken.ids as { event(): string }).event() : String(count++)
    let count = 0
    const history = await createSessionHistory({ clock: { now }, ids: { event } })
    const error = await errorOf(history.createSession('ada', 's'))
    expect(error).toBeInstanceOf(Error)
    expect(isTurnlogError(error)).toBe(false)
    isBroken = false
    expect((await history.createSession('ada', 's')).version).toBe(1)
  })
})

function raise(message: string): never {
  throw new Error(message)
}
