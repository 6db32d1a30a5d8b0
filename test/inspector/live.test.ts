import { describe, expect } from 'vitest'
import { memoryStore, type SessionHistoryService } from '../../src/index.ts'
import { ActorLog } from '../../src/inspector.ts'
import { batches } from '../../src/inspector/batches.ts'
import type { Actors, EventPage } from '../../src/inspector/wire.ts'
import { turnlogError } from '../../src/errors.ts'
import { ADA, hooked, text } from '../service/kit.ts'
import { ANYTHING, it, S1, STORES, type Sent } from './kit.ts'

/** The next that is not a beat. */
async function next(sent: AsyncGenerator<Sent>): Promise<Sent> {
  for (;;) {
    const { value, done } = await sent.next()
    if (done) return { event: 'end', id: undefined, data: undefined }
    if (value.event !== 'beat') return value
  }
}

/** The versions of the next events, until so many have come. */
async function versions(sent: AsyncGenerator<Sent>, count: number): Promise<number[]> {
  const all: number[] = []
  while (all.length < count) {
    const { event, data } = await next(sent)
    expect({ event, data }).toMatchObject({ event: 'events' })
    all.push(...(data as EventPage).events.map(({ version }) => version))
  }
  return all
}

async function begun(history: SessionHistoryService, count = 1): Promise<void> {
  await history.createSession('ada', 's1')
  if (count > 0)
    await history.appendMessage(
      ADA,
      Array.from({ length: count }, (_, i) => text(`m${i}`))
    )
}

describe('following', () => {
  it('gives what is there at once, and then what another process appends', async ({ begin, file }) => {
    const { history, asked } = await begin({ store: STORES.SQLite(file) })
    const { history: other } = await begin({ store: STORES.SQLite(file) })
    await begun(history, 249)
    const sent = asked.events('follow', S1)
    expect(await next(sent)).toMatchObject({ event: 'following', data: {} })
    const frames: EventPage[] = []
    while (frames.at(-1)?.latest !== 250) {
      const { event, id, data } = await next(sent)
      expect(event).toBe('events')
      frames.push(data as EventPage)
      expect(id).toMatch(new RegExp(`^${(data as EventPage).latest}-[0-9a-f]{16}$`))
    }
    expect(frames.flatMap(({ events }) => events.map(({ version }) => version))).toEqual(
      Array.from({ length: 250 }, (_, i) => i + 1)
    )
    // Not one by one.
    expect(frames.length).toBeLessThan(30)
    expect(Math.max(...frames.map(({ events }) => events.length))).toBeLessThanOrEqual(100)
    await other.appendMessage(ADA, [text('new'), text('newer')])
    expect(await versions(sent, 2)).toEqual([251, 252])
    await other.deleteSession('ada', 's1')
    expect((await next(sent)).data).toMatchObject({ latest: 253, events: [{ kind: 'deleted' }] })
    // It starts over with messages of another format.
    const notes = other.withMessage(ANYTHING, { format: 'notes' })
    await notes.appendMessage(await notes.createSession('ada', 's1'), { note: 'n' })
    expect(await versions(sent, 2)).toEqual([254, 255])
    await sent.return(undefined)
    const later = asked.events('follow', { ...S1, from: 254 })
    await next(later)
    expect(((await next(later)).data as EventPage).events[0]).toMatchObject({ version: 254, what: 'notes' })
    await later.return(undefined)
  })

  it('of a log that was begun with one format after another is told from each version', async ({ begin }) => {
    const { history, asked } = await begin()
    for (const format of ['message', 'notes', 'message', 'other', 'notes', 'message']) {
      const service = format === 'message' ? history : history.withMessage(ANYTHING, { format })
      await service.appendMessage(await service.createSession('ada', 's1'), text(format))
    }
    const all = Array.from({ length: 12 }, (_, i) => i + 1)
    for (const from of all) {
      const rest = all.slice(from - 1)
      expect((await asked.get('events', { ...S1, from })).events.map(({ version }) => version)).toEqual(rest)
      const sent = asked.events('follow', { ...S1, from })
      await next(sent)
      expect(await versions(sent, rest.length)).toEqual(rest)
      await sent.return(undefined)
    }
    expect(await asked.get('outline', S1)).toMatchObject({ latest: 12 })
    expect((await asked.get('tree', S1)).sessions).toMatchObject([{ id: 's1', version: 12, count: 1 }])
    expect((await asked.get('event', { ...S1, version: 10 })).line).toMatchObject({
      version: 10,
      what: expect.any(String)
    })
  })

  it('goes on after what the browser had last, and tells where that is of another log', async ({ begin }) => {
    const { history, asked } = await begin()
    await begun(history, 2)
    const first = asked.events('follow', S1)
    await next(first)
    let { id, data } = await next(first)
    while ((data as EventPage).latest < 3) ({ id, data } = await next(first))
    await first.return(undefined)
    await history.appendMessage(ADA, text('later'))
    const again = asked.events('follow', { ...S1, from: 1 }, { 'last-event-id': id! })
    await next(again)
    expect(await versions(again, 1)).toEqual([4])
    await again.return(undefined)
    for (const odd of ['', 'x', '-1', '99999999999999999999-x']) {
      const sent = asked.events('follow', { ...S1, from: 4 }, { 'last-event-id': odd })
      await next(sent)
      expect(await versions(sent, 1)).toEqual([4])
      await sent.return(undefined)
    }
    await history.purgeSession('ada', 's1')
    await begun(history, 5)
    for (const known of [id!, '77-0123456789abcdef']) {
      const sent = asked.events('follow', S1, { 'last-event-id': known })
      await next(sent)
      expect([await next(sent), await next(sent)]).toMatchObject([{ event: 'gone' }, { event: 'end' }])
    }
  })

  it('goes on after the newest event of a moment, and tells where that is of another log', async ({ begin }) => {
    const { history, asked } = await begin()
    await begun(history, 4)
    const { latestId } = await asked.get('moment', S1)
    expect((await asked.get('moment', { ...S1, at: 2 })).latestId).toBe(latestId)
    await history.appendMessage(ADA, text('later'))
    const sent = asked.events('follow', { ...S1, from: 6, after: latestId })
    await next(sent)
    expect(await versions(sent, 1)).toEqual([6])
    await sent.return(undefined)
    await history.purgeSession('ada', 's1')
    await begun(history, 6)
    const other = asked.events('follow', { ...S1, from: 6, after: latestId })
    await next(other)
    expect([await next(other), await next(other)]).toMatchObject([{ event: 'gone' }, { event: 'end' }])
  })

  it('ends when the session is purged, and tells of what is not there or fails', async ({ begin }) => {
    let isAway = false
    const inner = memoryStore()
    const store = hooked(
      {
        head: (key) =>
          isAway
            ? Promise.reject(
                turnlogError('STORE_UNAVAILABLE', 'postgres://ada:secret@db is away', { outcome: 'not-stored' })
              )
            : inner.head(key)
      },
      inner
    )
    const { history, asked } = await begin({ store })
    const none = asked.events('follow', S1)
    expect([await next(none), await next(none)]).toMatchObject([
      { event: 'failure', data: { error: { code: 'SESSION_NOT_FOUND' } } },
      { event: 'end' }
    ])
    await begun(history)
    const sent = asked.events('follow', { ...S1, from: 2 })
    await next(sent)
    expect(await versions(sent, 1)).toEqual([2])
    await history.purgeSession('ada', 's1')
    expect([await next(sent), await next(sent)]).toMatchObject([{ event: 'gone' }, { event: 'end' }])
    await begun(history)
    isAway = true
    const failing = asked.events('follow', S1)
    const { event, data } = await next(failing)
    expect({ event, data }).toMatchObject({ event: 'failure', data: { error: { code: 'STORE_UNAVAILABLE' } } })
    expect(JSON.stringify(data)).not.toContain('secret')
    for (const path of ['moment', 'outline', 'tree', 'events'])
      expect((await asked.failed(path, S1)).slice(0, 2), path).toEqual([503, 'STORE_UNAVAILABLE'])
    isAway = false
    expect(await asked.get('moment', S1)).toMatchObject({ latest: 2 })
  })

  it('fails where the service stops: nothing was purged', async ({ begin }) => {
    const { history, asked } = await begin()
    await begun(history)
    const sent = asked.events('follow', { ...S1, from: 2 })
    await next(sent)
    expect(await versions(sent, 1)).toEqual([2])
    await history.stop()
    expect([await next(sent), await next(sent)]).toMatchObject([
      { event: 'failure', data: { error: { code: 'STOPPED' } } },
      { event: 'end' }
    ])
  })

  it('ends with the server, and the service goes on', async ({ begin }) => {
    const { history, asked } = await begin({ inspector: { actors: new ActorLog() } })
    await begun(history)
    const sent = asked.events('follow', { ...S1, from: 3 })
    const actors = asked.events('actors')
    await Promise.all([next(sent), next(actors)])
    const ends = [next(sent), next(actors)].map((each) =>
      each.then(
        ({ event }) => event,
        () => 'cut off'
      )
    )
    await asked.inspector.stop()
    for (const end of await Promise.all(ends)) expect(['end', 'cut off']).toContain(end)
    await history.appendMessage(ADA, text('on'))
    expect((await history.getSession('ada', 's1'))?.version).toBe(3)
    await history.stop()
  })
})

describe('actors', () => {
  it('appear, tell of their events, and go', async ({ begin }) => {
    const log = new ActorLog()
    const { history, asked } = await begin({
      service: { inspect: log, maxActiveSessions: 1 },
      inspector: { actors: log }
    })
    const sent = asked.events('actors')
    const until = async (isEnough: (state: Actors) => boolean): Promise<Actors> => {
      for (;;) {
        const { event, data } = await next(sent)
        expect(event).toBe('actors')
        seen.push(...(data as Actors).events.map(({ number }) => number))
        if (isEnough(data as Actors)) return data as Actors
      }
    }
    const seen: number[] = []
    await until(({ actors }) => actors.some(({ id }) => id === 'registry'))
    await begun(history)
    const { actors, running } = await until((state) =>
      state.actors.some(({ id, version }) => id.includes('s1') && version === 2)
    )
    const session = actors.find(({ id }) => id.includes('s1'))!
    expect(session).toMatchObject({ id: expect.stringMatching(/ada.*s1/), version: 2, status: 'ready' })
    expect(session.events).toBeGreaterThan(0)
    expect(running).toBe(actors.length)
    // There is room for one.
    await history.createSession('ada', 's2')
    await until((state) => !state.actors.some(({ ref }) => ref === session.ref))
    // Each event is told once, in order.
    expect(seen).toEqual(seen.map((_, i) => seen[0]! + i))
    await sent.return(undefined)
  })

  it('are kept in bounds', () => {
    const log = new ActorLog()
    for (let i = 0; i < 3_000; i++)
      log.next({
        type: '@xstate.event',
        actorRef: { sessionId: `x:${i}`, id: `ada/${'\u0001'.repeat(1_000)}${i}` },
        event: { type: 'request' },
        snapshot: undefined
      } as never)
    const { running, actors, events } = log.state(0)
    expect(running).toBe(3_000)
    expect(events.at(-1)).toMatchObject({ number: 3_000 })
    expect(actors[0]).toMatchObject({ ref: 'x:2999' })
    expect(JSON.stringify({ actors, events }).length).toBeLessThan(200_000)
    expect(log.state(2_999).events.map(({ number }) => number)).toEqual([3_000])
    expect(log.state(3_000).events).toEqual([])
  })

  it('of a service that was not watched are none', async ({ begin }) => {
    const { asked } = await begin()
    expect(await asked.failed('actors')).toMatchObject([404, 'NOT_FOUND', expect.stringContaining('inspect')])
  })
})

describe('batches', () => {
  const collect = async (source: AsyncIterable<number>, most = 3): Promise<(number[] | string)[]> => {
    const all: (number[] | string)[] = []
    try {
      for await (const batch of batches(source, most)) all.push(batch)
    } catch (error) {
      all.push((error as Error).message)
    }
    return all
  }

  it('are what is there at once, in order, and nothing is waited for', async () => {
    let go: () => void = () => undefined
    const later = new Promise<void>((resolve) => (go = resolve))
    async function* source(): AsyncGenerator<number> {
      yield* [1, 2, 3, 4, 5]
      await later
      yield 6
      throw new Error('then it fails')
    }
    const seen: number[][] = []
    const rest: (number[] | string)[] = []
    try {
      for await (const batch of batches(source(), 3)) {
        seen.push(batch)
        if (batch.includes(5)) go()
      }
    } catch (error) {
      rest.push((error as Error).message)
    }
    expect([...seen, ...rest]).toEqual([[1, 2, 3], [4, 5], [6], 'then it fails'])
    expect(await collect((async function* (): AsyncGenerator<number> {})())).toEqual([])
  })

  it('let go of their source when they are left', async () => {
    let isLeft = false
    async function* source(): AsyncGenerator<number> {
      try {
        for (let i = 0; ; i++) yield i
      } finally {
        isLeft = true
      }
    }
    for await (const batch of batches(source(), 2)) if (batch.includes(4)) break
    expect(isLeft).toBe(true)
  })

  it('end where they are left while the source waits for what does not come', async () => {
    async function* source(): AsyncGenerator<number> {
      yield 1
      await new Promise(() => undefined)
    }
    await expect(
      (async () => {
        for await (const batch of batches(source(), 2)) throw new Error(`no more after ${batch.join()}`)
      })()
    ).rejects.toThrow('no more after 1')
  })
})
