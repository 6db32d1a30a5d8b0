import { describe, expect, it } from 'vitest'
import {
  createSessionHistory,
  memoryStore,
  type Clock,
  type EventStore,
  type SessionHistoryService
} from '../../src/index.ts'
import { ADA, eventsOf, fails, hooked, openAda, text, textsOf, warnings, type Hooks } from './kit.ts'

/** Two services over one store, as two processes have it. Each time the first is about to store something, `intrude` comes before it. */
interface Race {
  readonly one: SessionHistoryService
  readonly other: SessionHistoryService
  readonly inner: EventStore
  readonly hooks: Hooks
  /** How many commits the first has handed to the store. */
  readonly tries: () => number
  /** For how many ms the first has rested, each time. */
  readonly rests: readonly number[]
  intrude: (() => Promise<unknown>) | undefined
}

async function race(): Promise<Race> {
  const inner = memoryStore()
  const hooks: Hooks = {}
  const rests: number[] = []
  let tries = 0
  const clock: Clock = {
    now: () => 1_000,
    setTimeout: (callback, ms) => {
      // Not those of the registry, for what is idle.
      if (ms <= 1_000) rests.push(ms)
      return ms <= 1_000 ? setImmediate(callback) : undefined
    },
    clearTimeout: (timer) => clearImmediate(timer as NodeJS.Immediate | undefined)
  }
  const one = await openAda({ store: hooked(hooks, inner), clock })
  const other = await createSessionHistory({ store: inner, logger: warnings() })
  const self: Race = { one, other, inner, hooks, tries: () => tries, rests, intrude: undefined }
  hooks.append = async (commits) => {
    tries += commits.length
    await self.intrude?.()
    return inner.append(commits)
  }
  return self
}

/** Lets another win the next `times` times. */
function lose(self: Race, times: number): void {
  let lost = 0
  self.intrude = async () => {
    if (lost < times) await self.other.appendMessage(ADA, text(`theirs ${++lost}`))
  }
}

describe('a write that others overtake', () => {
  it('is tried again at once', async () => {
    const self = await race()
    lose(self, 1)
    expect(await self.one.appendMessage(ADA, text('ours'))).toMatchObject({ version: 3 })
    expect([self.tries(), self.rests]).toEqual([2, []])
  })

  it('then after rests of any length below a bound that doubles, up to a quarter of a second', async () => {
    const self = await race()
    lose(self, 40)
    expect(textsOf(await self.one.appendMessage(ADA, text('ours')))).toHaveLength(41)
    expect(self.rests).toHaveLength(39)
    for (const [i, ms] of self.rests.entries()) {
      expect(ms).toBeGreaterThanOrEqual(0)
      expect(ms).toBeLessThanOrEqual(Math.min(250, 2 ** i))
    }
    // Not all alike: two who have met would meet again.
    expect(new Set(self.rests.slice(-10)).size).toBeGreaterThan(1)
    expect(Math.max(...self.rests)).toBeGreaterThan(25)
  })

  it('gives up after 100 conflicts, and says so; the session goes on', async () => {
    const self = await race()
    lose(self, 200)
    await fails(() => self.one.appendMessage(ADA, text('ours')), 'TOO_MANY_CONFLICTS', { conflicts: 100 })
    expect(self.tries()).toBe(100)
    self.intrude = undefined
    expect(await self.one.appendMessage(ADA, text('ours'))).toMatchObject({ version: 102 })
    expect(await eventsOf(self.other)).toHaveLength(102)
  })

  it('gives up alone: what came after it has tries of its own, and stays behind it', async () => {
    const self = await race()
    lose(self, 100)
    const first = self.one.appendMessage(ADA, text('first'))
    const failing = fails(() => first, 'TOO_MANY_CONFLICTS')
    await new Promise((resolve) => setImmediate(resolve))
    const second = await self.one.appendMessage(ADA, text('second'))
    await failing
    expect(textsOf(second).at(-1)).toBe('second')
    expect(textsOf(second)).not.toContain('first')
  })

  it('keeps those that came after it behind it, and no read waiting', async () => {
    const self = await race()
    const timers: (() => void)[] = []
    const clock: Clock = {
      now: () => 1_000,
      setTimeout: (callback, ms) => (ms <= 1_000 ? timers.push(callback) : undefined),
      clearTimeout: () => undefined
    }
    const resting = await createSessionHistory({ store: hooked(self.hooks, self.inner), clock, logger: warnings() })
    lose(self, 2)
    const first = resting.appendMessage(ADA, text('first'))
    while (timers.length === 0) await new Promise((resolve) => setImmediate(resolve))
    const second = resting.appendMessage(ADA, text('second'))
    expect(textsOf(await resting.getSession('ada', 's1'))).toEqual(['theirs 1', 'theirs 2'])
    await self.other.appendMessage(ADA, text('theirs 3'))
    expect(textsOf(await resting.getSession('ada', 's1'))).toEqual(['theirs 1', 'theirs 2', 'theirs 3'])
    const tries = self.tries()
    timers[0]!()
    expect(await first).toMatchObject({ version: 5 })
    expect(textsOf(await second)).toEqual(['theirs 1', 'theirs 2', 'theirs 3', 'first', 'second'])
    // Together, and upon what there was at the end of the rest.
    expect(self.tries() - tries).toBe(2)
  })

  it('can be cancelled while it rests', async () => {
    const self = await race()
    const timers: (() => void)[] = []
    const clock: Clock = {
      now: () => 1_000,
      setTimeout: (callback, ms) => (ms <= 1_000 ? timers.push(callback) : undefined),
      clearTimeout: () => undefined
    }
    const resting = await createSessionHistory({ store: hooked(self.hooks, self.inner), clock, logger: warnings() })
    lose(self, 2)
    const controller = new AbortController()
    const call = resting.appendMessage(ADA, text('never'), { signal: controller.signal })
    const cancelled = expect(call).rejects.toThrow('enough')
    while (timers.length === 0) await new Promise((resolve) => setImmediate(resolve))
    controller.abort(new Error('enough'))
    await cancelled
    timers[0]!()
    expect(textsOf(await resting.appendMessage(ADA, text('next')))).toEqual(['theirs 1', 'theirs 2', 'next'])
  })

  it('is finished by stop', async () => {
    const self = await race()
    lose(self, 5)
    const call = self.one.appendMessage(ADA, text('ours'))
    await self.one.stop()
    expect(await call).toMatchObject({ version: 7 })
  })

  it('that expects a version is not tried again: what it met is its answer', async () => {
    const self = await race()
    lose(self, 100)
    await fails(() => self.one.appendMessage(ADA, text('ours'), { expectedVersion: 1 }), 'VERSION_CONFLICT', {
      expected: 1,
      actual: 2
    })
    expect([self.tries(), self.rests]).toEqual([1, []])
  })

  it('that expects no session is not tried again where there is one', async () => {
    const self = await race()
    self.intrude = () => self.other.createSession('ada', 'new')
    await fails(() => self.one.createSession('ada', 'new', { expectedVersion: 'none' }), 'VERSION_CONFLICT', {
      actual: 1
    })
    expect([self.tries(), self.rests]).toEqual([1, []])
  })
})

describe('an answer that stores nothing', () => {
  it('is given however fast others write: what was read after the call came is new enough', async () => {
    const self = await race()
    const { head } = self.inner
    let heads = 0
    // Whenever the store is asked how new its log is, it has grown.
    self.hooks.head = async (key) => {
      if (++heads < 50) await self.other.appendMessage(ADA, text(`theirs ${heads}`))
      return head(key)
    }
    await fails(() => self.one.appendMessage(ADA, text('ours'), { expectedVersion: 99 }), 'VERSION_CONFLICT')
    expect(heads).toBeLessThan(5)
  })
})

describe('an answer that was lost', () => {
  it('is found by the id of the event, though others have written since', async () => {
    const self = await race()
    self.hooks.append = async (commits) => {
      delete self.hooks.append
      await self.inner.append(commits)
      for (const each of ['a', 'b']) await self.other.appendMessage(ADA, text(each))
      throw new Error('cut')
    }
    expect(textsOf(await self.one.appendMessage(ADA, text('ours')))).toEqual(['ours'])
    expect(textsOf(await self.other.getSession('ada', 's1'))).toEqual(['ours', 'a', 'b'])
  })

  it('is unknown where the log is gone that it may have been in', async () => {
    const self = await race()
    self.hooks.append = async (commits) => {
      delete self.hooks.append
      await self.inner.append(commits)
      await self.other.purgeSession('ada', 's1')
      await self.other.createSession('ada', 's1')
      throw new Error('cut')
    }
    await fails(() => self.one.appendMessage(ADA, text('ours')), 'STORE_UNAVAILABLE', { outcome: 'unknown' })
    expect(await self.one.appendMessage(ADA, text('next'))).toMatchObject({ version: 2 })
  })
})

describe('a log that another has purged and begun again', () => {
  it.each([0, 1, 2, 3])(
    'is noticed by its id when something is written, with %i messages instead of 1',
    async (count) => {
      const self = await race()
      const before = await self.one.appendMessage(ADA, text('old'))
      await self.other.purgeSession('ada', 's1')
      await self.other.createSession('ada', 's1')
      for (let i = 0; i < count; i++) await self.other.appendMessage(ADA, text(`new ${i}`))
      const session = await self.one.appendMessage(ADA, text('ours'))
      expect(session).toMatchObject({ version: count + 2 })
      expect(textsOf(session)).toEqual([...Array.from({ length: count }, (_, i) => `new ${i}`), 'ours'])
      expect(before).toMatchObject({ version: 2 })
    }
  )

  it('does not have the keys of the one before', async () => {
    const self = await race()
    const options = { idempotencyKey: 'k' }
    await self.one.appendMessage(ADA, text('old'), options)
    await self.other.purgeSession('ada', 's1')
    await self.other.createSession('ada', 's1')
    expect(textsOf(await self.one.appendMessage(ADA, text('new'), options))).toEqual(['new'])
  })

  it('does not know of turns in the one before', async () => {
    const self = await race()
    const turn = await self.one.beginTurn(ADA)
    await self.other.purgeSession('ada', 's1')
    await self.other.createSession('ada', 's1')
    await fails(() => turn.append(text('old')), 'TURN_FENCED')
    expect(await eventsOf(self.other)).toHaveLength(1)
  })
})

describe('a store that takes only so much at once', () => {
  async function small(maxCommitBytes: number): Promise<Race> {
    const self = await race()
    const supports = { ...self.inner.supports, maxCommitBytes }
    const store = { ...hooked(self.hooks, self.inner), supports }
    return { ...self, one: await createSessionHistory({ store, logger: warnings() }) }
  }

  it('is not handed more: COMMIT_TOO_LARGE says how much it is and may be, and nothing is stored', async () => {
    const { one, other, tries } = await small(2_000)
    const before = tries()
    const { size } = (await fails(() => one.appendMessage(ADA, text('x'.repeat(2_000))), 'COMMIT_TOO_LARGE', {
      limit: 2_000
    })) as { size?: number }
    expect(size).toBeGreaterThan(2_000)
    expect(size).toBeLessThan(2_500)
    expect(tries()).toBe(before)
    expect(await eventsOf(other)).toHaveLength(1)
  })

  it('counts the bytes of all events of a commit as JSON in UTF-8: exactly the limit is taken', async () => {
    const messages = [
      { id: 'a', ...text('é'.repeat(50)) },
      { id: 'b', ...text('😀') }
    ]
    const { one: wide, inner } = await small(1_000_000)
    await wide.appendMessage(ADA, messages)
    const stored = []
    const { logId } = (await inner.head({ userId: 'ada', sessionId: 's1' }))!
    for await (const page of inner.read(logId, { from: 2 })) stored.push(...page)
    const size = Buffer.byteLength(JSON.stringify(stored))
    const { one: exact } = await small(size)
    expect(await exact.appendMessage(ADA, messages)).toMatchObject({ version: 3 })
    const { one: less } = await small(size - 1)
    await fails(() => less.appendMessage(ADA, messages), 'COMMIT_TOO_LARGE', { limit: size - 1, size })
  })

  it('harms no other call of the batch', async () => {
    const { one } = await small(2_000)
    const outcomes = await Promise.allSettled(
      ['a', 'x'.repeat(2_000), 'b'].map((each) => one.appendMessage(ADA, text(each)))
    )
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(textsOf(await one.getSession('ada', 's1'))).toEqual(['a', 'b'])
  })
})

describe('health', () => {
  it('is false within a second where the store gives no answer', async () => {
    const timers: { readonly callback: () => void; readonly ms: number }[] = []
    const cleared: unknown[] = []
    const hooks: Hooks = {}
    const history = await createSessionHistory({
      store: hooked(hooks),
      clock: {
        setTimeout: (callback, ms) => timers.push({ callback, ms }),
        clearTimeout: (timer) => void cleared.push(timer)
      }
    })
    expect(await history.health()).toBe(true)
    expect(cleared).toContain(timers.length)
    timers.length = 0
    hooks.health = () => new Promise(() => undefined)
    const health = history.health()
    expect(timers).toHaveLength(1)
    expect(timers[0]!.ms).toBeLessThan(1_000)
    timers[0]!.callback()
    expect(await health).toBe(false)
  })
})
