import { createUIMessageStreamResponse, readUIMessageStream, type UIMessage, type UIMessageChunk } from 'ai'
import { createResumableStreamContext as withRedis, type Publisher, type Subscriber } from 'resumable-stream/generic'
import { describe, expect, expectTypeOf, it, vi } from 'vitest'
import {
  createResumableStreamContext,
  uiMessageStore,
  type ResumableStreamContext,
  type ResumableStreamContextOptions
} from '../../src/adapters/ai-sdk.ts'
import { createSessionHistory, memoryStore, type EventStore, type SessionHistoryService } from '../../src/index.ts'
import { turnlogError } from '../../src/errors.ts'
import { eventsOf, fails, misuses } from '../service/kit.ts'
import { answer, drained, manual, modelOf, said, settled, user } from './ai-sdk-kit.ts'
import { freshStore, STORES } from './kit.ts'

const USER = 'resumable-stream'

/** What is told of a stream in the tests that both pass. */
interface Both {
  readonly name: string
  make(): Promise<{
    readonly streams: ResumableStreamContext
    readonly kept: Promise<unknown>[]
    stop(): Promise<void>
  }>
}

const BOTH: readonly Both[] = [
  ...STORES.map((kind): Both => ({
    name: kind,
    make: async () => {
      const history = await freshStore(kind)()
      const kept: Promise<unknown>[] = []
      const waitUntil = (promise: Promise<unknown>): void => void kept.push(promise)
      return { streams: createResumableStreamContext({ history, waitUntil }), kept, stop: () => history.stop() }
    }
  })),
  {
    name: 'resumable-stream itself',
    make: async () => {
      const kept: Promise<unknown>[] = []
      const waitUntil = (promise: Promise<unknown>): void => void kept.push(promise)
      return { streams: withRedis({ ...likeRedis(), waitUntil }), kept, stop: async () => undefined }
    }
  }
]

describe.each(BOTH)('resumable streams over $name', ({ make }) => {
  it('know none, one under way, and one that has ended', async () => {
    const { streams, kept, stop } = await make()
    expect(await streams.hasExistingStream('s')).toBeNull()
    expect(await streams.resumeExistingStream('s')).toBeUndefined()
    const source = channel()
    const begun = await streams.createNewResumableStream('s', source.make)
    expect(await streams.hasExistingStream('s')).toBe(true)
    source.give('a')
    source.end()
    expect(await textOf(begun)).toBe('a')
    await Promise.all(kept)
    expect(kept).toHaveLength(1)
    expect(await streams.hasExistingStream('s')).toBe('DONE')
    expect(await streams.resumeExistingStream('s')).toBeNull()
    expect(await streams.resumableStream('s', source.make)).toBeNull()
    expect(source.made()).toBe(1)
    expect(await streams.hasExistingStream('t')).toBeNull()
    await stop()
  })

  it('are begun once, and resumed by all others, from wherever they were', async () => {
    const { streams, kept, stop } = await make()
    const source = channel()
    const begun = reading(await streams.resumableStream('s', source.make, 5))
    source.give('ab')
    source.give('cd')
    await begun.until('abcd')
    const others = [undefined, 0, 1, 2, 3, 4, Number.NaN].map(async (skip) => {
      const resumed = await streams.resumableStream('s', source.make, skip)
      return { skip, text: reading(resumed) }
    })
    const all = await Promise.all(others)
    const existing = reading(await streams.resumeExistingStream('s', 3))
    source.give('ef')
    source.give('')
    source.give('g')
    source.end()
    expect(await begun.all()).toBe('abcdefg')
    for (const { skip, text } of all) expect(await text.all(), `${skip}`).toBe('abcdefg'.slice(skip))
    expect(await existing.all()).toBe('defg')
    expect(source.made()).toBe(1)
    await Promise.all(kept)
    await stop()
  })

  it('come to their end where nobody reads them any more', async () => {
    const { streams, kept, stop } = await make()
    const source = channel()
    const begun = (await streams.createNewResumableStream('s', source.make))!
    source.give('a')
    await begun.cancel()
    source.give('b')
    const resumed = reading(await streams.resumeExistingStream('s'))
    const left = (await streams.resumeExistingStream('s'))!.getReader()
    expect((await left.read()).value).toMatch(/^a/)
    await left.cancel()
    source.give('c')
    source.end()
    expect(await resumed.all()).toBe('abc')
    await Promise.all(kept)
    expect(await streams.hasExistingStream('s')).toBe('DONE')
    await stop()
  })

  it('may be begun anew under the same id', async () => {
    const { streams, kept, stop } = await make()
    const [first, second] = [channel(), channel()]
    first.give('old')
    first.end()
    expect(await textOf(await streams.createNewResumableStream('s', first.make))).toBe('old')
    await Promise.all(kept)
    const begun = await streams.createNewResumableStream('s', second.make)
    expect(await streams.hasExistingStream('s')).toBe(true)
    second.give('new')
    const resumed = reading(await streams.resumeExistingStream('s'))
    second.end()
    expect(await textOf(begun)).toBe('new')
    expect(await resumed.all()).toBe('new')
    await Promise.all(kept)
    await stop()
  })
})

describe('resumable streams over the log', () => {
  interface Made {
    readonly store?: EventStore
    readonly clock?: ReturnType<typeof manual>
    readonly options?: Partial<ResumableStreamContextOptions>
  }

  async function make({ store = memoryStore(), clock = manual(), options = {} }: Made = {}): Promise<{
    readonly history: SessionHistoryService
    readonly streams: ResumableStreamContext
    readonly clock: ReturnType<typeof manual>
  }> {
    const history = await createSessionHistory({ store, clock, logger: { warn: () => undefined } })
    return { history, clock, streams: createResumableStreamContext({ history, clock, ...options }) }
  }

  const errorOf = (stream: ReadableStream<string> | null | undefined): Promise<unknown> =>
    textOf(stream).then(
      (text) => text,
      (error: unknown) => (error as Error).message
    )

  it('fit where those of resumable-stream do', async () => {
    const { streams, history } = await make()
    expectTypeOf(streams).toExtend<ReturnType<typeof withRedis>>()
    await history.stop()
  })

  it('are stored in groups: what comes while a commit is under way is one', async () => {
    const store = memoryStore()
    const gate = gated(store)
    const { streams, history } = await make({ store: gate.store })
    const source = channel()
    const begun = reading(await streams.createNewResumableStream('s', source.make))
    gate.shut()
    for (let i = 0; i < 100; i++) source.give(`${i} `)
    const all = Array.from({ length: 100 }, (_, i) => `${i} `).join('')
    // Whoever has begun it waits for no store.
    await begun.until(all)
    gate.open()
    source.end()
    const resumed = await streams.resumeExistingStream('s')
    if (resumed) expect(await textOf(resumed)).toBe(all)
    await expect.poll(() => streams.hasExistingStream('s')).toBe('DONE')
    const events = await eventsOf(raw(history), { userId: USER, id: 's' })
    expect(events.map(({ type }) => type)).toEqual([
      'created',
      'message-appended',
      'message-appended',
      'metadata-changed'
    ])
    expect(events[3]!.commitId).toBe(events[2]!.commitId)
    await history.stop()
  })

  it('leave out what a reader had, also where it is not stored yet', async () => {
    const { streams, history } = await make()
    const source = channel()
    const begun = reading(await streams.createNewResumableStream('s', source.make))
    source.give('abcd')
    await reading(await streams.resumeExistingStream('s')).until('abcd')
    const resumed = reading(await streams.resumeExistingStream('s', 6))
    source.give('e')
    source.give('fgh')
    source.end()
    expect(await resumed.all()).toBe('gh')
    expect(await begun.all()).toBe('abcdefgh')
    await history.stop()
  })

  it('are stored in commits of a size that stores take, and characters stay whole', async () => {
    const { streams, history } = await make()
    const source = channel()
    const begun = reading(await streams.createNewResumableStream('s', source.make))
    const resumed = reading(await streams.resumeExistingStream('s'))
    const text = `x${'🚂'.repeat(100_000)}`
    source.give(text)
    source.end()
    expect((await begun.all()) === text && (await resumed.all()) === text).toBe(true)
    await expect.poll(() => streams.hasExistingStream('s')).toBe('DONE')
    const { messages } = (await raw(history).getSession(USER, 's'))!
    const pieces = (messages as { text: string }[]).map((message) => message.text)
    expect(pieces.join('') === text).toBe(true)
    expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThanOrEqual(65_536)
    expect(pieces.every((piece) => piece.isWellFormed())).toBe(true)
    await history.stop()
  })

  it('break off for their readers where their producer is gone, and only then', async () => {
    const store = memoryStore()
    const { streams, history, clock } = await make({ store, options: { ttlMs: 3_000 } })
    const source = channel()
    const begun = reading(await streams.createNewResumableStream('s', source.make))
    source.give('so far')
    await begun.until('so far')
    const other = await make({ store, clock })
    const resumed = reading(await other.streams.resumeExistingStream('s'))
    await resumed.until('so far')
    // Silent for long, but alive.
    for (let i = 0; i < 10; i++) {
      const { version } = (await raw(history).getSession(USER, 's'))!
      clock.go(1_000)
      await expect.poll(async () => (await raw(history).getSession(USER, 's'))!.version).toBe(version + 1)
    }
    // Its process is gone.
    await history.stop()
    clock.go(2_000)
    const late = reading(await other.streams.resumeExistingStream('s'))
    await late.until('so far')
    clock.go(1_500)
    await expect(resumed.all()).rejects.toThrow('Stream "s" has broken off')
    await expect(late.all()).rejects.toThrow('Stream "s" has broken off')
    expect(await other.streams.hasExistingStream('s')).toBe(true)
    // Who comes later gets what there is, and the same error.
    const later = reading(await other.streams.resumableStream('s', source.make))
    await later.until('so far')
    await expect
      .poll(() => {
        clock.go(0)
        return later.failed()
      })
      .toBe(true)
    await expect(later.all()).rejects.toThrow('broken off')
    await other.history.stop()
  })

  it('go on where the store has failed for a while, and have all once', async () => {
    const { store, failing } = unsteady(memoryStore())
    const { streams, history, clock } = await make({ store, options: { ttlMs: 3_000 } })
    const source = channel()
    const begun = reading(await streams.createNewResumableStream('s', source.make))
    source.give('one ')
    await begun.until('one ')
    const textNow = async (): Promise<string> =>
      ((await raw(history).getSession(USER, 's'))!.messages as { text: string }[]).map(({ text }) => text).join('')
    await expect.poll(textNow).toBe('one ')
    // A sign of life, a text, one that is stored although it fails, and one that comes late.
    for (const [i, how] of (['sign', 'before', 'after', 'late'] as const).entries()) {
      const before = failing.count
      failing.how = how === 'sign' ? 'before' : how
      if (how === 'sign') clock.go(1_000)
      else source.give(`${i} `)
      await expect
        .poll(() => {
          clock.go(100)
          return failing.count
        })
        .toBe(before + 1)
      await expect
        .poll(async () => {
          clock.go(100)
          return textNow()
        })
        .toBe(['one ', '1 ', '2 ', '3 '].slice(0, i + 1).join(''))
      await settled()
    }
    source.end()
    await expect
      .poll(async () => {
        clock.go(100)
        return streams.hasExistingStream('s')
      })
      .toBe('DONE')
    expect(await textNow()).toBe('one 1 2 3 ')
    expect(await begun.all()).toBe('one 1 2 3 ')
    await history.stop()
  })

  it('are warned of where the store fails for long, and are stored no further', async () => {
    const { store, failing } = unsteady(memoryStore())
    const kept: Promise<unknown>[] = []
    const options = { ttlMs: 3_000, waitUntil: (promise: Promise<unknown>) => void kept.push(promise) }
    const { streams, history, clock } = await make({ store, options })
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    const source = channel()
    const begun = reading(await streams.createNewResumableStream('s', source.make))
    failing.how = 'always'
    source.give('a')
    await expect
      .poll(() => {
        clock.go(300)
        return warned.mock.calls.map(([, given]) => (given as { code?: string }).code)
      })
      .toEqual(['TURNLOG_STREAM_NOT_STORED'])
    warned.mockRestore()
    await Promise.all(kept)
    source.give('b')
    source.end()
    expect(await begun.all()).toBe('ab')
    await history.stop()
  })

  it('leave nothing behind of readers who stop reading, once they have ended', async () => {
    // Not that of the service, which has timers of its own.
    const clock = manual()
    const { streams, history } = await make({ options: { ttlMs: 3_000, clock } })
    const source = channel()
    await streams.createNewResumableStream('s', source.make)
    source.give('a')
    for (let i = 0; i < 3; i++) {
      const resumed = (await streams.resumeExistingStream('s'))!.getReader()
      await resumed.read()
    }
    source.give('b')
    source.give('c')
    source.end()
    await expect.poll(() => streams.hasExistingStream('s')).toBe('DONE')
    expect(clock.timers()).toBe(3)
    await expect
      .poll(async () => {
        clock.go(3_000)
        await settled()
        return clock.timers()
      })
      .toBe(0)
    await history.stop()
  })

  it('cancel a source that gives what is no text', async () => {
    const { streams, history } = await make()
    const cancelled = vi.fn()
    const bytes = new ReadableStream({
      start: (controller) => controller.enqueue(new Uint8Array(2)),
      cancel: cancelled
    })
    expect(await errorOf(await streams.createNewResumableStream('s', () => bytes))).toMatch('must be a string')
    expect(cancelled).toHaveBeenCalledOnce()
    await history.stop()
  })

  it('fail for their readers where their source does, with its error, and count as ended then', async () => {
    const { streams, history } = await make()
    const source = channel()
    const begun = reading(await streams.createNewResumableStream('s', source.make))
    source.give('a')
    await begun.until('a')
    const resumed = reading(await streams.resumeExistingStream('s'))
    await resumed.until('a')
    source.fail(new Error('overloaded'))
    await expect(begun.all()).rejects.toThrow('overloaded')
    await expect(resumed.all()).rejects.toThrow('overloaded')
    expect(await streams.hasExistingStream('s')).toBe('DONE')
    expect(await streams.resumeExistingStream('s')).toBeNull()
    await expect(
      streams.createNewResumableStream('t', () => {
        throw new Error('no source')
      })
    ).rejects.toThrow('no source')
    await expect.poll(() => streams.hasExistingStream('t')).toBe('DONE')
    const bytes = new ReadableStream({
      start: (controller) => controller.enqueue(new Uint8Array(2))
    })
    expect(await errorOf(await streams.createNewResumableStream('u', () => bytes))).toMatch('must be a string')
    await history.stop()
  })

  it('end for their readers where they are begun anew, deleted, purged, or the service stops', async () => {
    const { streams, history } = await make()
    const endings: Record<string, (id: string) => Promise<unknown>> = {
      'begun anew': (id) => streams.createNewResumableStream(id, channel().make),
      'deleted': (id) => history.deleteSession(USER, id),
      'broken off': (id) => history.purgeSession(USER, id),
      'has broken off': () => history.stop()
    }
    for (const [what, end] of Object.entries(endings)) {
      const source = channel()
      const begun = reading(await streams.createNewResumableStream(what, source.make))
      source.give('a')
      await begun.until('a')
      const resumed = reading(await streams.resumeExistingStream(what))
      await resumed.until('a')
      await end(what)
      await expect(resumed.all(), what).rejects.toThrow(what)
      // Whoever has begun it has no harm.
      source.give('b')
      source.end()
      expect(await begun.all(), what).toBe('ab')
      if (what !== 'begun anew') continue
      // And what it gives goes nowhere else.
      await settled()
      expect(await streams.hasExistingStream(what)).toBe(true)
      expect((await raw(history).getSession(USER, what))!.messages).toEqual([])
    }
  })

  it('are begun by one of many, in whatever process', async () => {
    const store = memoryStore()
    const all = await Promise.all(Array.from({ length: 3 }, () => make({ store })))
    const source = channel()
    const begun = await Promise.all(
      all.flatMap(({ streams }) => [1, 2].map(() => streams.resumableStream('s', source.make)))
    )
    source.give('abc')
    source.end()
    expect(await Promise.all(begun.map(textOf))).toEqual(Array.from({ length: 6 }, () => 'abc'))
    expect(source.made()).toBe(1)
    for (const { history } of all) await history.stop()
  })

  it('are resumed by a client of the SDK, with the chat beside them', async () => {
    const { streams, history } = await make()
    const chat = uiMessageStore(history).open('c')
    const messages = await chat.receive({ message: user('Hi') })
    const response = createUIMessageStreamResponse({
      stream: await answer(chat, messages, modelOf('Hello there.')),
      async consumeSseStream({ stream }) {
        await streams.createNewResumableStream('s', () => stream)
        await uiMessageStore(history).history.updateMetadata(chat, { set: { activeStreamId: 's' } })
      }
    })
    await expect.poll(() => streams.hasExistingStream('s')).not.toBeNull()
    const resumed = await streams.resumeExistingStream('s')
    const text = await response.text()
    expect(text).toContain('data: [DONE]')
    if (resumed) {
      expect(await textOf(resumed)).toBe(text)
      let last: UIMessage | undefined
      for await (const state of readUIMessageStream({ stream: chunksOf(text) })) last = state
      expect(said([last!])).toEqual(['Hello there.'])
    }
    expect(said(await chat.load())).toEqual(['Hi', 'Hello there.'])
    await expect.poll(() => streams.hasExistingStream('s')).toBe('DONE')
    await history.stop()
  })

  it('refuse misuse, and what is no stream', async () => {
    const { streams, history } = await make()
    await misuses(async () => createResumableStreamContext(undefined as never), 'options')
    await misuses(async () => createResumableStreamContext({ history: {} } as never), 'history')
    await misuses(async () => createResumableStreamContext({ history, waitUntil: 1 } as never), 'waitUntil')
    await misuses(async () => createResumableStreamContext({ history, ttlMs: 0 }), 'ttlMs')
    await misuses(async () => createResumableStreamContext({ history, publisher: {} } as never), 'publisher')
    await misuses(() => streams.createNewResumableStream('s', undefined as never), 'makeStream')
    await misuses(() => streams.resumeExistingStream(''), 'streamId')
    await history.createSession(USER, 'chat')
    const source = channel()
    await fails(() => streams.createNewResumableStream('chat', source.make), 'FORMAT_MISMATCH')
    await fails(() => streams.resumableStream('chat', source.make), 'FORMAT_MISMATCH')
    await fails(() => streams.hasExistingStream('chat'), 'FORMAT_MISMATCH', { expected: 'ai-sdk-stream' })
    await history.stop()
  })
})

function raw(history: SessionHistoryService): SessionHistoryService<unknown> {
  return history.withMessage(
    { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } },
    { format: 'ai-sdk-stream' }
  )
}

function chunksOf(text: string): ReadableStream<UIMessageChunk> {
  const lines = text.split('\n\n').filter((line) => line.startsWith('data: {'))
  return new ReadableStream({
    start(controller) {
      for (const line of lines) controller.enqueue(JSON.parse(line.slice(6)) as UIMessageChunk)
      controller.close()
    }
  })
}

async function textOf(stream: ReadableStream<string> | null | undefined): Promise<string> {
  return (await drained(stream!)).join('')
}

/** Reads a stream from now on. */
function reading(stream: ReadableStream<string> | null | undefined): {
  until(text: string): Promise<void>
  all(): Promise<string>
  failed(): boolean
} {
  let text = ''
  let hasFailed = false
  const done = (async () => {
    for await (const chunk of stream!) text += chunk
  })().catch((error: unknown) => {
    hasFailed = true
    throw error
  })
  done.catch(() => undefined)
  return {
    until: (wanted) => expect.poll(() => text).toBe(wanted),
    all: () => done.then(() => text),
    failed: () => hasFailed
  }
}

/** A source that gives what it is told. */
function channel(): {
  make(): ReadableStream<string>
  made(): number
  give(text: string): void
  end(): void
  fail(error: Error): void
} {
  let made = 0
  let controller!: ReadableStreamDefaultController<string>
  const stream = new ReadableStream<string>({
    start(given) {
      controller = given
    }
  })
  return {
    make: () => {
      made++
      return stream
    },
    made: () => made,
    give: (text) => controller.enqueue(text),
    end: () => controller.close(),
    fail: (error) => controller.error(error)
  }
}

/** A store of which one append fails, before it is stored, after that, or before it is and then is; or each. */
function unsteady(store: EventStore): {
  readonly store: EventStore
  readonly failing: { how: 'not' | 'before' | 'after' | 'late' | 'always'; count: number }
} {
  const failing = { how: 'not' as 'not' | 'before' | 'after' | 'late' | 'always', count: 0 }
  let late: (() => Promise<unknown>) | undefined
  const append: EventStore['append'] = async (...args) => {
    const { how } = failing
    await late?.()
    late = undefined
    if (how === 'not') return store.append(...args)
    if (how !== 'always') failing.how = 'not'
    failing.count++
    if (how === 'after') await store.append(...args)
    if (how === 'late') late = () => store.append(...args)
    throw turnlogError('STORE_UNAVAILABLE', 'no answer', { outcome: 'unknown' })
  }
  const proxy = new Proxy(store, {
    get: (target, key) => {
      const value: unknown = key === 'append' ? append : Reflect.get(target, key)
      return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
    }
  })
  return { store: proxy, failing }
}

/** A store whose appends wait while it is shut. */
function gated(store: EventStore): { readonly store: EventStore; shut(): void; open(): void } {
  let gate = Promise.resolve()
  let open = (): void => undefined
  const append: EventStore['append'] = async (...args) => {
    await gate
    return store.append(...args)
  }
  const proxy = new Proxy(store, {
    get: (target, key) => {
      const value: unknown = key === 'append' ? append : Reflect.get(target, key)
      return typeof value === 'function' ? (value as (...args: unknown[]) => unknown).bind(target) : value
    }
  })
  return {
    store: proxy,
    shut: () => (gate = new Promise((resolve) => (open = resolve))) as unknown as void,
    open: () => open()
  }
}

/** What resumable-stream asks of Redis. */
function likeRedis(): { publisher: Publisher; subscriber: Subscriber } {
  const values = new Map<string, string>()
  const listeners = new Map<string, (message: string) => void>()
  return {
    publisher: {
      connect: async () => undefined,
      publish: async (to, message) => {
        listeners.get(to)?.(message)
        return listeners.has(to) ? 1 : 0
      },
      set: async (key, value) => values.set(key, value) && 'OK',
      get: async (key) => values.get(key) ?? null,
      incr: async (key) => {
        const next = Number(values.get(key) ?? 0) + 1
        if (Number.isNaN(next)) throw new Error('ERR value is not an integer or out of range')
        values.set(key, String(next))
        return next
      }
    },
    subscriber: {
      connect: async () => undefined,
      subscribe: async (to, callback) => void listeners.set(to, callback),
      unsubscribe: async (from) => void listeners.delete(from)
    }
  }
}
