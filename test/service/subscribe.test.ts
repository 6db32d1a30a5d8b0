import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { SimulatedClock } from 'xstate'
import { z } from 'zod'
import {
  createSessionHistory,
  memoryStore,
  type EventStore,
  type SessionEvent,
  type SessionHistoryService,
  type SessionRef
} from '../../src/index.ts'
import {
  ADA,
  clockOf,
  eventsOf,
  failureOf,
  fails,
  foreignSignal,
  hasty,
  hooked,
  misuses,
  open,
  openAda,
  text,
  warnings
} from './kit.ts'

/** Follows a session and keeps what it gets; `ended` resolves when there is no more. */
function follow(
  history: SessionHistoryService,
  { userId, id }: SessionRef = ADA,
  options?: { from?: number; signal?: AbortSignal }
): { readonly events: SessionEvent[]; readonly ended: Promise<void> } {
  const events: SessionEvent[] = []
  const read = async (): Promise<void> => {
    for await (const event of history.subscribe(userId, id, options)) events.push(event)
  }
  return { events, ended: read() }
}

/** Lets happen what can happen without time going on. */
async function quiet(): Promise<void> {
  for (let i = 0; i < 300; i++) await Promise.resolve()
}

function versionsOf(events: readonly SessionEvent[]): number[] {
  return events.map(({ version }) => version)
}

function upTo(count: number, from = 1): number[] {
  return Array.from({ length: count - from + 1 }, (_, i) => from + i)
}

function withoutWatch(inner: EventStore = memoryStore()): EventStore {
  const { watch: _, ...rest } = inner
  return { ...rest, supports: { ...inner.supports, push: false } }
}

describe('subscribe', () => {
  it('gives what there is, then what comes', async () => {
    const history = await openAda()
    await history.appendMessage(ADA, text('1'))
    const { events } = follow(history)
    await quiet()
    expect(versionsOf(events)).toEqual([1, 2])
    await history.appendMessage(ADA, [text('2'), text('3')])
    await quiet()
    expect(versionsOf(events)).toEqual([1, 2, 3, 4])
    expect(events).toEqual(await eventsOf(history))
    expect(Object.isFrozen(events[3]?.data)).toBe(true)
  })

  it.each([1, 2, 3, 4, 9])('begins at version %j where asked to', async (from) => {
    const history = await openAda()
    await history.appendMessage(ADA, [text('1'), text('2')])
    const { events } = follow(history, ADA, { from })
    await quiet()
    expect(versionsOf(events)).toEqual(upTo(3, from))
    for (let i = 0; i < 8; i++) {
      await history.appendMessage(ADA, text(`${i}`))
      await quiet()
    }
    expect(versionsOf(events)).toEqual(upTo(11, from))
  })

  it('is resumable by version, with no gap and no duplicate', async () => {
    const history = await openAda()
    const seen: SessionEvent[] = []
    for (let i = 0; i < 5; i++) {
      await history.appendMessage(ADA, [text('a'), text('b'), text('c')])
      for await (const event of history.subscribe('ada', 's1', { from: (seen.at(-1)?.version ?? 0) + 1 })) {
        seen.push(event)
        if (seen.length === 2 + 3 * i) break
      }
    }
    expect(versionsOf(seen)).toEqual(upTo(14))
  })

  it('waits for a session that there is not, and creates none', async () => {
    const history = await open()
    const { events } = follow(history)
    await quiet()
    expect(await history.listSessions('ada')).toEqual([])
    await history.createSession('ada', 's1')
    await history.appendMessage(ADA, text('1'))
    await quiet()
    expect(versionsOf(events)).toEqual([1, 2])
  })

  it('gives every type of event: of turns, rewinds, forks, and a deletion, after which it goes on', async () => {
    const history = await openAda()
    const { events } = follow(history)
    await history.beginTurn(ADA).then(async (turn) => {
      await turn.append(text('1'))
      await turn.abort()
    })
    await history.deleteSession('ada', 's1')
    await quiet()
    await history.rewind(ADA, 3)
    await history.createSession('ada', 's1')
    await quiet()
    expect(events.map(({ type }) => type)).toEqual([
      'created',
      'turn-started',
      'message-appended',
      'rewound',
      'turn-ended',
      'deleted',
      'rewound',
      'created'
    ])
  })

  it('of a fork gives the events of the fork', async () => {
    const history = await openAda()
    await history.appendMessage(ADA, text('1'))
    const child = await history.fork(ADA)
    const { events } = follow(history, child)
    await history.appendMessage(child, text('2'))
    await history.appendMessage(ADA, text('not here'))
    await quiet()
    expect(events.map(({ type }) => type)).toEqual(['created', 'message-appended'])
  })

  it('misses nothing and gives nothing twice while two services write at once', async () => {
    const store = memoryStore()
    const one = await openAda({ store, clock: hasty() })
    const other = await open({ store, clock: hasty() })
    const followers = [follow(one), follow(other), follow(one, ADA, { from: 20 })]
    const writing = Array.from({ length: 40 }, async (_, i) => {
      for (let hop = 0; hop < (i * 7) % 30; hop++) await Promise.resolve()
      await (i % 2 === 0 ? one : other).appendMessage(ADA, i % 5 === 0 ? [text('a'), text('b')] : text('c'))
    })
    for (let i = 0; i < 5; i++) {
      await quiet()
      followers.push(follow(i % 2 === 0 ? one : other))
    }
    await Promise.all(writing)
    await quiet()
    const all = await eventsOf(one)
    expect(all).toHaveLength(49)
    for (const [i, { events }] of followers.entries()) expect(events).toEqual(i === 2 ? all.slice(19) : all)
  })

  it('goes on while the session is dropped from memory and brought back', async () => {
    const history = await openAda({ maxActiveSessions: 1 })
    const { events } = follow(history)
    for (let i = 0; i < 5; i++) {
      await history.appendMessage(ADA, text(`${i}`))
      await history.createSession('ada', `other ${i}`)
    }
    await quiet()
    expect(versionsOf(events)).toEqual(upTo(6))
  })

  it('gives a slow reader everything, in order, and holds nobody up', async () => {
    const history = await openAda()
    const events = history.subscribe('ada', 's1')[Symbol.asyncIterator]()
    await events.next()
    for (let i = 0; i < 2_500; i++) await history.appendMessage(ADA, text(`${i}`))
    for (let version = 2; version <= 2_501; version++) {
      const { value } = (await events.next()) as { value: SessionEvent }
      if (value.version !== version) expect(value.version).toBe(version)
    }
    await events.return?.()
  })

  it('reads the log page by page for a slow reader, instead of keeping what comes', async () => {
    const inner = memoryStore()
    let pages = 0
    const store = hooked(
      {
        read: async function* (logId, range) {
          for await (const page of inner.read(logId, range)) {
            pages++
            yield page
          }
        }
      },
      inner
    )
    const history = await openAda({ store })
    await history.appendMessage(
      ADA,
      Array.from({ length: 5_000 }, () => text('x'))
    )
    const events = history.subscribe('ada', 's1')[Symbol.asyncIterator]()
    await events.next()
    for (let i = 0; i < 100; i++) await history.appendMessage(ADA, text(`${i}`))
    expect(pages).toBe(1)
    await events.return?.()
  })
})

describe('a subscription ends', () => {
  it('when the session is purged, also where it is created again at once', async () => {
    const history = await openAda()
    const [early, late] = [follow(history), follow(history, ADA, { from: 50 })]
    await quiet()
    await history.purgeSession('ada', 's1')
    await history.createSession('ada', 's1')
    await Promise.all([early.ended, late.ended])
    expect(versionsOf(early.events)).toEqual([1])
    expect(late.events).toEqual([])
  })

  it('when it is purged by another service', async () => {
    const store = memoryStore()
    const one = await openAda({ store })
    const other = await open({ store })
    const { ended } = follow(one)
    await quiet()
    await other.purgeSession('ada', 's1')
    await ended
  })

  it('when its signal is aborted: without an error, at any time', async () => {
    const history = await openAda()
    const controller = new AbortController()
    const live = follow(history, ADA, { signal: controller.signal })
    const waiting = follow(history, { userId: 'ada', id: 'none' }, { signal: controller.signal })
    await quiet()
    controller.abort(new Error('enough'))
    await Promise.all([live.ended, waiting.ended])
    await history.appendMessage(ADA, text('1'))
    await quiet()
    expect(versionsOf(live.events)).toEqual([1])
    const aborted = follow(history, ADA, { signal: AbortSignal.abort() })
    await aborted.ended
    expect(aborted.events).toEqual([])
  })

  it('when a signal of another library is aborted', async () => {
    const history = await openAda()
    const { signal, abort } = foreignSignal()
    const { events, ended } = follow(history, ADA, { signal })
    await quiet()
    abort()
    await ended
    expect(versionsOf(events)).toEqual([1])
    expect(await failureOf(() => eventsOf(history, ADA, { signal }))).toBe(signal.reason)
  })

  it('and listens to no signal any more, however it ends', async () => {
    const history = await openAda()
    const { signal, listeners, abort } = foreignSignal()
    for await (const _ of history.subscribe('ada', 's1', { signal })) break
    for await (const _ of history.readEvents('ada', 's1', { signal })) break
    await eventsOf(history, ADA, { signal })
    expect(listeners.size).toBe(0)
    const purged = follow(history, ADA, { signal })
    const waiting = follow(history, { userId: 'ada', id: 'none' }, { signal })
    await quiet()
    expect(listeners.size).toBe(2)
    await history.purgeSession('ada', 's1')
    await purged.ended
    expect(listeners.size).toBe(1)
    abort()
    await waiting.ended
    expect(listeners.size).toBe(0)
  })

  it('at once when it is returned, with the next that is under way', async () => {
    const history = await openAda()
    for (const id of ['s1', 'none']) {
      const events = history.subscribe('ada', id)[Symbol.asyncIterator]()
      if (id === 's1') await events.next()
      const [pending, more] = [events.next(), events.next()]
      await quiet()
      expect(await events.return?.()).toEqual({ done: true, value: undefined })
      expect(await Promise.all([pending, more, events.next()])).toMatchObject([
        { done: true },
        { done: true },
        { done: true }
      ])
    }
    const unread = history.subscribe('ada', 's1')[Symbol.asyncIterator]()
    expect(await unread.return?.()).toEqual({ done: true, value: undefined })
    expect(await unread.next()).toMatchObject({ done: true })
  })

  it('when a stream of it is destroyed or cancelled', async () => {
    const history = await openAda()
    const readable = Readable.from(history.subscribe('ada', 's1'))
    const closed = new Promise((resolve) => readable.once('close', resolve))
    await new Promise((resolve) => readable.once('data', resolve))
    readable.destroy()
    await closed
    const reader = ReadableStream.from(history.subscribe('ada', 's1')).getReader()
    await reader.read()
    const pending = reader.read()
    await reader.cancel()
    expect(await pending).toMatchObject({ done: true })
  })

  it('when its signal is aborted by the reader, in the middle of what there is', async () => {
    const history = await openAda()
    await history.appendMessage(ADA, [text('1'), text('2'), text('3')])
    const controller = new AbortController()
    const versions: number[] = []
    for await (const { version } of history.subscribe('ada', 's1', { signal: controller.signal })) {
      versions.push(version)
      if (version === 2) controller.abort()
    }
    expect(versions).toEqual([1, 2])
  })

  it('when the service stops, and stop does not wait for it', async () => {
    const history = await openAda()
    const { events, ended } = follow(history)
    const absent = follow(history, { userId: 'ada', id: 'none' })
    await quiet()
    await history.stop()
    await Promise.all([ended, absent.ended])
    expect(versionsOf(events)).toEqual([1])
    await history.start()
    await history.appendMessage(ADA, text('1'))
    await quiet()
    expect(versionsOf(events)).toEqual([1])
  })

  it('when the service stops, also where that has started again by the time that it is read on', async () => {
    const history = await openAda()
    await history.appendMessage(ADA, [text('1'), text('2')])
    const [followed, read] = [history.subscribe('ada', 's1'), history.readEvents('ada', 's1')].map((events) =>
      events[Symbol.asyncIterator]()
    )
    await Promise.all([followed!.next(), read!.next()])
    await history.stop()
    await history.start()
    expect(await followed!.next()).toEqual({ done: true, value: undefined })
    await fails(() => read!.next(), 'STOPPED')
  })

  it('when its service stops, although another one has the store open', async () => {
    const store = memoryStore()
    const one = await openAda({ store })
    const other = await open({ store })
    const [ends, goesOn] = [follow(one), follow(other)]
    await quiet()
    await one.stop()
    await ends.ended
    await other.appendMessage(ADA, text('1'))
    await quiet()
    expect(versionsOf(ends.events)).toEqual([1])
    expect(versionsOf(goesOn.events)).toEqual([1, 2])
  })

  it('when the reader breaks: nothing watches any more', async () => {
    const inner = memoryStore()
    let watching = 0
    const store = hooked(
      {
        watch: async function* (key, signal) {
          watching++
          try {
            yield* inner.watch!(key, signal)
          } finally {
            watching--
          }
        }
      },
      inner
    )
    const history = await openAda({ store })
    for await (const { version } of history.subscribe('ada', 's1')) {
      expect(watching).toBe(1)
      if (version === 1) break
    }
    await quiet()
    expect(watching).toBe(0)
    await history.appendMessage(ADA, text('1'))
  })

  it('with STOPPED where it begins after stop', async () => {
    const history = await openAda()
    await history.stop()
    await fails(() => follow(history).ended, 'STOPPED')
  })

  it('with FORMAT_MISMATCH where the messages are of another format', async () => {
    const history = await openAda()
    const notes = history.withMessage(z.object({ body: z.string() }), { format: 'note' })
    const error = await failureOf(async () => {
      for await (const _ of notes.subscribe('ada', 's1')) expect.unreachable()
    })
    expect(error).toMatchObject({ code: 'FORMAT_MISMATCH', expected: 'note', actual: 'message' })
  })

  it('with FORMAT_MISMATCH where another format begins, as readEvents does', async () => {
    const history = await openAda()
    const notes = history.withMessage(z.object({ body: z.string() }), { format: 'note' })
    await notes.createSession('ada', 's1')
    for (const [service, from, seen] of [
      [history, 1, [1]],
      [history, 2, []],
      [notes, 1, []],
      [notes, 2, [2]]
    ] as const) {
      const read = async (events: AsyncIterable<SessionEvent<unknown>>): Promise<unknown[]> => {
        const got: unknown[] = []
        try {
          for await (const { version } of events) got.push(version)
        } catch (error) {
          got.push((error as { code: unknown }).code)
        }
        return got
      }
      const controller = new AbortController()
      const stored = await read(service.readEvents('ada', 's1', { from }))
      const following = read(service.subscribe('ada', 's1', { from, signal: controller.signal }))
      await quiet()
      controller.abort()
      expect(stored.filter((one) => typeof one === 'number')).toEqual(seen)
      expect(await following).toEqual(stored)
    }
  })

  it('with the failure of the store', async () => {
    const inner = memoryStore()
    const history = await openAda({
      store: hooked(
        {
          read: async function* () {
            yield* []
            throw new Error('broken')
          }
        },
        inner
      )
    })
    await fails(() => follow(history).ended, 'STORE_UNAVAILABLE')
  })

  it('at once where from is no version: that is misuse', async () => {
    const history = await openAda()
    for (const from of [0, -1, 1.5, '1']) {
      await misuses(() => history.subscribe('ada', 's1', { from: from as number }), 'from')
    }
    await misuses(() => history.subscribe('', 's1'), 'userId')
  })
})

describe('of a store that cannot tell of changes, a subscription', () => {
  it('asks by the clock', async () => {
    const clock = new SimulatedClock()
    const store = withoutWatch()
    const options = {
      store,
      logger: warnings(),
      clock: {
        now: () => clock.now(),
        setTimeout: (callback: () => void, ms: number) => clock.setTimeout(callback, ms),
        clearTimeout: (timer: unknown) => clock.clearTimeout(timer as number)
      }
    }
    const one = await createSessionHistory(options)
    const other = await createSessionHistory(options)
    const { events, ended } = follow(one)
    await quiet()
    await other.createSession('ada', 's1')
    for (let i = 0; i < 50; i++) {
      await other.appendMessage(ADA, text(`${i}`))
      await quiet()
      expect(events.length).toBeLessThan(i + 2)
      clock.increment(1_000)
      await quiet()
      expect(versionsOf(events)).toEqual(upTo(i + 2))
    }
    await other.purgeSession('ada', 's1')
    clock.increment(1_000)
    await ended
  })

  it('ends with its signal and with the service, and leaves no timer and no listener behind', async () => {
    const timers = new Map<number, () => void>()
    let last = 0
    const clock = {
      ...clockOf(() => 1),
      setTimeout: (callback: () => void) => {
        timers.set(++last, callback)
        return last
      },
      clearTimeout: (timer: unknown) => void timers.delete(timer as number)
    }
    const history = await openAda({ store: withoutWatch(), clock, idleMs: Infinity })
    const controller = new AbortController()
    const { signal } = controller
    const warned: string[] = []
    const note = ({ name }: Error): void => void warned.push(name)
    process.on('warning', note)
    const { ended } = follow(history, ADA, { signal })
    const stopped = follow(history)
    for (let i = 0; i < 100; i++) {
      await quiet()
      for (const [timer, callback] of timers) {
        timers.delete(timer)
        callback()
      }
    }
    await quiet()
    expect(timers.size).toBe(2)
    controller.abort()
    await ended
    expect(timers.size).toBe(1)
    await history.stop()
    await stopped.ended
    expect(timers.size).toBe(0)
    await new Promise<void>((resolve) => void setImmediate(resolve))
    process.off('warning', note)
    expect(warned).toEqual([])
  })
})
