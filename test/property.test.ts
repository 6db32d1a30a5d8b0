import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  createSessionHistory,
  isTurnlogError,
  memoryStore,
  type Change,
  type EventStore,
  type ExpectedVersion,
  type Message,
  type Session,
  type SessionEvent,
  type SessionHistoryService,
  type SessionRef,
  type WriteOptions
} from '../src/index.ts'
import { clockOf, eventsOf, hooked, warnings } from './service/kit.ts'

/** What a session is, to someone who copies everything. */
interface Content {
  readonly messages: Message[]
  readonly metadata: Record<string, unknown>
}

/** A log as the model has it: what each version is (`null`: deleted), and what each key stored. */
interface ModelLog {
  versions: (Content | null)[]
  keys: Map<string, { content: string; version: number }>
}

type Command =
  | { readonly type: 'create' | 'delete' | 'purge' | 'read'; readonly session: number; readonly expected: Expected }
  | { readonly type: 'at'; readonly session: number; readonly at: number }
  | {
      readonly type: 'write'
      readonly session: number
      readonly changes: readonly Change[]
      readonly expected: Expected
      readonly key: string | undefined
      /** By the call that is short for it, where there is one. */
      readonly isShort: boolean
    }

/** Relative to the version that the log is at: a fixed one would hardly ever fit. */
type Expected = { readonly offset: number } | 'any' | 'none' | 'exists'

const SESSIONS: readonly SessionRef[] = [
  { userId: 'ada', id: 's1' },
  { userId: 'ada', id: 's2' },
  { userId: 'bob', id: 's1' }
]

const message: fc.Arbitrary<Message> = fc
  .record({
    id: fc.constantFrom('a', 'b', 'c', '__proto__'),
    metadata: fc.oneof(
      fc.constant(null),
      fc.dictionary(fc.constantFrom('x', 'y', '__proto__'), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 2 })
    )
  })
  .map((given) => withoutNegativeZero({ object: 'message', type: 'message', status: 'created' as const, ...given }))

const change: fc.Arbitrary<Change> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ type: fc.constant('append' as const), messages: fc.array(message, { maxLength: 3 }) })
  },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('put' as const), message }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('truncate' as const), length: fc.nat(5) }) },
  {
    weight: 2,
    arbitrary: fc
      .record({
        set: fc.dictionary(fc.constantFrom('x', 'y', '__proto__'), fc.jsonValue({ maxDepth: 1 }), { maxKeys: 2 }),
        unset: fc.subarray(['x', 'z', 'constructor', '__proto__'])
      })
      .map(({ set, unset }) => ({
        type: 'metadata' as const,
        set: withoutNegativeZero(set),
        unset: unset.filter((key) => !Object.hasOwn(set, key))
      }))
  }
)

const place = fc.nat(SESSIONS.length - 1)
const expected: fc.Arbitrary<Expected> = fc.oneof(
  { weight: 6, arbitrary: fc.constant('any' as const) },
  { weight: 2, arbitrary: fc.record({ offset: fc.constantFrom(0, 0, -1, 1) }) },
  { weight: 1, arbitrary: fc.constantFrom('none' as const, 'exists' as const) }
)

const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ type: fc.constant('create' as const), session: place, expected }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constantFrom('delete' as const, 'purge' as const), session: place, expected })
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('read' as const), session: place, expected }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('at' as const), session: place, at: fc.nat(25) }) },
  {
    weight: 8,
    arbitrary: fc.record({
      type: fc.constant('write' as const),
      session: place,
      changes: fc.array(change, { maxLength: 3 }),
      expected,
      key: fc.option(fc.constantFrom('k1', 'k2', '__proto__'), { nil: undefined, freq: 4 }),
      isShort: fc.boolean()
    })
  }
)

describe('a service and a naive model', () => {
  it.each(['warn', 'create', 'throw'] as const)(
    'agree on every sequence of calls (missing.append: %j)',
    async (append) => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(command, { maxLength: 30 }),
          fc.integer({ min: 1, max: 3 }),
          fc.boolean(),
          async (commands, active, isShared) => compare(commands, append, active, isShared)
        ),
        { numRuns: 350 }
      )
    }
  )
})

describe('concurrent histories', () => {
  it('of two services: every acknowledged append once, in real-time order, and every read a prefix', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.integer({ min: 1, max: 4 }), async (seed, active) => {
        await race(seed, 2, active)
      }),
      { numRuns: 40 }
    )
  })

  it('of one service: every acknowledged append once, in real-time order, and every read a prefix', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.integer({ min: 1, max: 4 }), async (seed, active) => {
        await race(seed, 1, active)
      }),
      { numRuns: 40 }
    )
  })
})

async function compare(
  commands: readonly Command[],
  append: 'warn' | 'create' | 'throw',
  active: number,
  isShared: boolean
): Promise<void> {
  const inner = memoryStore()
  const history = await createSessionHistory({
    // Of a store that is not shared, a service need not ask how new a log is: then it has to know by itself.
    store: { ...inner, supports: { ...inner.supports, shared: isShared } },
    maxActiveSessions: active,
    missing: { get: 'null', append },
    logger: warnings(),
    clock: clockOf(() => 1)
  })
  const logs = SESSIONS.map((): ModelLog => ({ versions: [], keys: new Map() }))
  const handedOut: { readonly snapshot: Session; readonly copy: Session }[] = []
  for (const each of commands) {
    const { log, result } = modelled(logs[each.session]!, each, append)
    const ref = SESSIONS[each.session]!
    const outcome = await actual(history, ref, each, logs[each.session]!)
    logs[each.session] = log
    if (typeof result === 'string') expect(outcome).toBe(result)
    else if (result === null) expect(outcome).toBeNull()
    else expect(contentOf(outcome as Session)).toEqual(result)
    if (outcome && typeof outcome === 'object') handedOut.push({ snapshot: outcome, copy: structuredClone(outcome) })
  }
  for (const { snapshot, copy } of handedOut) expect(structuredClone(snapshot)).toEqual(copy)
  for (const [i, { versions }] of logs.entries()) await compareLog(history, SESSIONS[i]!, versions)
  await history.stop()
}

/** Every version ever stored is as the model has it, and as a fold of the events has it. */
async function compareLog(
  history: SessionHistoryService,
  ref: SessionRef,
  versions: readonly (Content | null)[]
): Promise<void> {
  const events = await eventsOf(history, ref)
  expect(events.map(({ version }) => version)).toEqual(versions.map((_, i) => i + 1))
  let folded: Content | null = null
  for (const [i, event] of events.entries()) {
    folded = foldedWith(folded, event)
    const past = await history.getSession(ref.userId, ref.id, { at: i + 1 })
    expect(past && contentOf(past).content).toEqual(versions[i])
    expect(folded).toEqual(versions[i])
  }
}

/** What a call comes to: a version and its content, `null`, or the code of an error. */
type Result = { readonly version: number; readonly content: Content } | string | null

function modelled(
  log: ModelLog,
  given: Command,
  append: 'warn' | 'create' | 'throw'
): { readonly log: ModelLog; readonly result: Result } {
  const { versions } = log
  const current = versions.at(-1) ?? null
  const same = (result: Result): { log: ModelLog; result: Result } => ({ log, result })
  const at = (version: number): Result => {
    const content = versions[version - 1]
    return content ? { version, content } : null
  }
  const isMet = (wanted: Expected): boolean =>
    wanted === 'any' ||
    (wanted === 'none'
      ? !current
      : wanted === 'exists'
        ? current !== null
        : Math.max(0, versions.length + wanted.offset) === versions.length)
  switch (given.type) {
    case 'read':
      return same(at(versions.length))
    case 'at':
      return same(given.at > versions.length ? 'VERSION_NOT_FOUND' : at(given.at))
    case 'create': {
      if (!isMet(given.expected)) return same('VERSION_CONFLICT')
      const content = { messages: [], metadata: {} }
      return { log: { ...log, versions: [...versions, content] }, result: { version: versions.length + 1, content } }
    }
    case 'delete':
      return current ? { log: { ...log, versions: [...versions, null] }, result: null } : same(null)
    case 'purge':
      return { log: { versions: [], keys: new Map() }, result: null }
    case 'write': {
      const content = canonical(given.changes)
      const use = given.key === undefined ? undefined : log.keys.get(given.key)
      if (use) return same(use.content === content ? at(use.version) : 'IDEMPOTENCY_CONFLICT')
      if (!isMet(given.expected)) return same('VERSION_CONFLICT')
      if (!current && append !== 'create') return same(append === 'throw' ? 'SESSION_NOT_FOUND' : null)
      const added: Content[] = current ? [] : [{ messages: [], metadata: {} }]
      for (const each of given.changes) added.push(...changed(added.at(-1) ?? current!, each))
      if (added.length === 0) return same(at(versions.length))
      const all = [...versions, ...added]
      const keys = new Map(log.keys)
      if (given.key !== undefined) keys.set(given.key, { content, version: all.length })
      return { log: { versions: all, keys }, result: { version: all.length, content: added.at(-1)! } }
    }
  }
}

/** The versions that a change leads to, one after the other. */
function changed(content: Content, given: Change): Content[] {
  const { messages, metadata } = structuredCopy(content)
  switch (given.type) {
    case 'append':
      return given.messages.map((_, i) => ({
        messages: [...messages, ...(given.messages.slice(0, i + 1) as Message[])],
        metadata
      }))
    case 'put': {
      const put = given.message as Message
      const index = messages.findLastIndex(({ id }) => id === put.id)
      if (index < 0) return [{ messages: [...messages, put], metadata }]
      if (canonical(messages[index]) === canonical(put)) return []
      return [{ messages: messages.with(index, put), metadata }]
    }
    case 'truncate':
      return given.length < messages.length ? [{ messages: messages.slice(0, given.length), metadata }] : []
    case 'metadata': {
      const next = Object.fromEntries([
        ...Object.entries(metadata).filter(([key]) => !given.unset!.includes(key) && !Object.hasOwn(given.set!, key)),
        ...Object.entries(given.set as Record<string, unknown>)
      ])
      return canonical(next) === canonical(metadata) ? [] : [{ messages, metadata: next }]
    }
  }
}

async function actual(
  history: SessionHistoryService,
  ref: SessionRef,
  given: Command,
  { versions }: ModelLog
): Promise<Session | string | null> {
  const version = (wanted: Expected): ExpectedVersion =>
    typeof wanted === 'string' ? wanted : Math.max(0, versions.length + wanted.offset)
  try {
    switch (given.type) {
      case 'read':
        return await history.getSession(ref.userId, ref.id)
      case 'at':
        return await history.getSession(ref.userId, ref.id, { at: given.at })
      case 'create':
        return await history.createSession(ref.userId, ref.id, { expectedVersion: version(given.expected) })
      case 'delete':
        await history.deleteSession(ref.userId, ref.id)
        return null
      case 'purge':
        await history.purgeSession(ref.userId, ref.id)
        return null
      case 'write': {
        const options: WriteOptions = {
          expectedVersion: version(given.expected),
          ...(given.key !== undefined && { idempotencyKey: given.key })
        }
        const [only, ...others] = given.changes
        if (!given.isShort || !only || others.length > 0) return await history.commit(ref, given.changes, options)
        if (only.type === 'append') return await history.appendMessage(ref, only.messages, options)
        if (only.type === 'put') return await history.putMessage(ref, only.message, options)
        if (only.type === 'metadata') return await history.updateMetadata(ref, only, options)
        return await history.commit(ref, given.changes, options)
      }
    }
  } catch (error) {
    if (isTurnlogError(error)) return error.code
    throw error
  }
}

function foldedWith(content: Content | null, { type, data }: SessionEvent): Content | null {
  const { messages, metadata } = content ?? { messages: [], metadata: {} }
  switch (type) {
    case 'created':
      return { messages: [], metadata: { ...data.metadata } }
    case 'message-appended':
      return { messages: [...messages, data.message], metadata }
    case 'message-replaced':
      return {
        messages: messages.with(
          messages.findLastIndex(({ id }) => id === data.message.id),
          data.message
        ),
        metadata
      }
    case 'messages-truncated':
      return { messages: messages.slice(0, data.length), metadata }
    case 'metadata-changed':
      return {
        messages,
        metadata: Object.fromEntries(
          Object.entries({ ...metadata, ...data.set }).filter(([key]) => !data.unset.includes(key))
        )
      }
    case 'deleted':
      return null
  }
}

/**
 * Appends and reads at once, over a store whose calls take a random number of promise hops before and after they take
 * effect. What is checked is linearizability, for a list that is only appended to.
 */
async function race(seed: number, services: number, active: number): Promise<void> {
  const random = randomOf(seed)
  const hop = async (): Promise<void> => {
    for (let hops = random(8); hops > 0; hops--) await Promise.resolve()
  }
  const store = delayed(memoryStore(), hop)
  const histories = await Promise.all(
    Array.from({ length: services }, () =>
      createSessionHistory({ store, maxActiveSessions: active, missing: { append: 'create' }, logger: warnings() })
    )
  )
  let time = 0
  const appended: { readonly ids: string[]; readonly began: number; readonly ended: number }[] = []
  const reads: { readonly ids: string[]; readonly began: number; readonly ended: number }[] = []
  const idsOf = (session: Session | null): string[] => session!.messages.map(({ id }) => id)
  const ref = { userId: 'ada', id: 's1' }
  const client = async (name: number): Promise<void> => {
    const history = histories[name % services]!
    for (let i = 0; i < 8; i++) {
      for (let hops = random(20); hops > 0; hops--) await Promise.resolve()
      const began = time++
      const what = random(10)
      if (what < 6) {
        const ids = Array.from({ length: 1 + random(2) }, (_, n) => `${name}.${i}.${n}`)
        const session = await history.appendMessage(
          ref,
          ids.map((id) => ({ id }))
        )
        appended.push({ ids, began, ended: time++ })
        reads.push({ ids: idsOf(session), began, ended: time++ })
        expect(idsOf(session).slice(-ids.length)).toEqual(ids)
      } else if (what < 9) {
        const session = await history.getSession('ada', 's1')
        reads.push({ ids: idsOf(session), began, ended: time++ })
      } else {
        await history.getSession('ada', `other ${name}`)
      }
    }
  }
  await Promise.all(Array.from({ length: 6 }, (_, name) => client(name)))
  const final = idsOf(await histories[0]!.getSession('ada', 's1'))
  const places = new Map(final.map((id, i) => [id, i]))
  expect(places.size).toBe(final.length)
  expect([...places.keys()].toSorted()).toEqual(appended.flatMap(({ ids }) => ids).toSorted())
  const placed = appended.map(({ ids, began, ended }) => ({
    place: places.get(ids[0]!)!,
    last: places.get(ids.at(-1)!)!,
    began,
    ended
  }))
  for (const one of placed) {
    for (const other of placed) if (one.ended < other.began) expect(one.last).toBeLessThan(other.place)
  }
  for (const { ids, began, ended } of reads) {
    expect(ids).toEqual(final.slice(0, ids.length))
    // Not older than an append that was acknowledged before the read began, nor newer than one that began after it.
    for (const append of placed) {
      if (append.ended < began) expect(ids.length).toBeGreaterThan(append.last)
      if (ended < append.began) expect(ids.length).toBeLessThanOrEqual(append.place)
    }
  }
  for (const one of reads) {
    for (const other of reads) if (one.ended < other.began) expect(one.ids.length).toBeLessThanOrEqual(other.ids.length)
  }
  const events = await eventsOf(histories.at(-1)!, ref)
  expect(events.map(({ version }) => version)).toEqual(events.map((_, i) => i + 1))
  await Promise.all(histories.map((history) => history.stop()))
}

function delayed(inner: EventStore, hop: () => Promise<void>): EventStore {
  const around = async <A>(call: () => Promise<A>): Promise<A> => {
    await hop()
    const answer = await call()
    await hop()
    return answer
  }
  return {
    ...hooked(
      {
        head: (key) => around(() => inner.head(key)),
        append: (commits) => around(() => inner.append(commits)),
        read: async function* (logId, range) {
          await hop()
          for await (const page of inner.read(logId, range)) {
            await hop()
            yield page
          }
        }
      },
      inner
    ),
    supports: { ...inner.supports, shared: true }
  }
}

/** Whole numbers below `limit`, the same for the same seed. @see https://en.wikipedia.org/wiki/Xorshift */
function randomOf(seed: number): (limit: number) => number {
  let state = seed | 1
  return (limit) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % limit
  }
}

function contentOf({ version, messages, metadata }: Session): { version: number; content: Content } {
  return structuredCopy({ version, content: { messages: [...messages], metadata } })
}

function structuredCopy<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T
}

/** One text for all values that are equal as JSON. */
function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  const members = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${canonical(member)}`).join()}}`
}

// JSON has no -0: what is stored is 0.
function withoutNegativeZero<T>(value: T): T {
  return structuredCopy(value)
}
