import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  createSessionHistory,
  isTurnlogError,
  memoryStore,
  type Change,
  type EventStore,
  type ExpectedVersion,
  type Json,
  type Message,
  type Session,
  type SessionEvent,
  type SessionHistoryService,
  type SessionRef,
  type Turn,
  type WriteOptions
} from '../src/index.ts'
import { clockOf, eventsOf, hooked, warnings } from './service/kit.ts'

/** What a session is, to someone who copies everything. */
interface Content {
  readonly messages: readonly Message[]
  readonly metadata: Readonly<Record<string, unknown>>
}

/** What can be undone: what came after version `from`, up to `until`. */
interface Step {
  readonly from: number
  readonly until: number
  /** The message that it puts, if it does nothing else. */
  readonly putId: string | undefined
  readonly turn: number | undefined
}

/** One version as the model has it: its content (`null`: deleted), what can be undone, and what can be redone. */
interface Version {
  readonly content: Content | null
  readonly done: readonly Step[]
  readonly undone: readonly { readonly to: number; readonly step: Step }[]
}

/** A log as the model has it. */
interface ModelLog {
  readonly versions: readonly Version[]
  /** What each idempotency key stored. */
  readonly keys: ReadonlyMap<string, { readonly content: string; readonly version: number }>
  /** The turn that is open, and the version at which it began. */
  readonly turn: { readonly id: number; readonly version: number; readonly hasExpired: boolean } | undefined
}

/** A turn as its holder has it. */
interface ModelTurn {
  readonly id: number
  hasEnded: boolean
}

type Command = { readonly session: number } & (
  | { readonly type: 'create'; readonly expected: Expected }
  | { readonly type: 'delete' | 'purge' | 'read' | 'undo' | 'redo' }
  | { readonly type: 'tick' }
  | { readonly type: 'at'; readonly at: number }
  | { readonly type: 'fork'; readonly at: number | undefined; readonly to: number }
  | { readonly type: 'begin'; readonly takesOver: boolean }
  | { readonly type: 'renew' | 'end' | 'abort' | 'keep'; readonly turn: number }
  | { readonly type: 'turn-write'; readonly turn: number; readonly changes: readonly Change[] }
  | {
      readonly type: 'write'
      readonly changes: readonly Change[]
      readonly expected: Expected
      readonly key: string | undefined
      /** By the call that is short for it, where there is one. */
      readonly isShort: boolean
    }
)

/** Relative to the version that the log is at: a fixed one would hardly ever fit. */
type Expected = { readonly offset: number } | 'any' | 'none' | 'exists'

/** Two of each user: a fork is of the same user. */
const SESSIONS: readonly SessionRef[] = [
  { userId: 'ada', id: 's1' },
  { userId: 'ada', id: 's2' },
  { userId: 'bob', id: 's1' },
  { userId: 'bob', id: 's2' }
]

const TTL_MS = 1_000

const json = fc.constantFrom<Json>(
  null,
  0,
  '',
  'x',
  [],
  [1, { y: [] }],
  { x: { '': null } },
  JSON.parse('{"__proto__":1}') as Json
)

const message: fc.Arbitrary<Message> = fc
  .record({
    id: fc.constantFrom('a', 'a', 'a', 'b', '__proto__'),
    metadata: fc.oneof(fc.constant(null), fc.dictionary(fc.constantFrom('x', 'y', '__proto__'), json, { maxKeys: 2 }))
  })
  .map((given) => structuredCopy({ object: 'message', type: 'message', status: 'created' as const, ...given }))

const change: fc.Arbitrary<Change> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ type: fc.constant('append' as const), messages: fc.array(message, { maxLength: 3 }) })
  },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('put' as const), message }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('truncate' as const), length: fc.nat(5) }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('rewind' as const), toVersion: fc.nat(10) }) },
  {
    weight: 2,
    arbitrary: fc
      .record({
        set: fc.dictionary(fc.constantFrom('x', 'y', '__proto__'), json, { maxKeys: 2 }),
        unset: fc.subarray(['x', 'z', 'constructor', '__proto__'])
      })
      .map(({ set, unset }) => ({
        type: 'metadata' as const,
        set: structuredCopy(set),
        unset: unset.filter((key) => !Object.hasOwn(set, key))
      }))
  }
)

// The first one most of the time: what happens happens to the same log.
const place = fc.constantFrom(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3)
const someChanges = fc.oneof(
  change.map((only) => [only]),
  fc.array(change, { maxLength: 3 })
)
const fromEnd = fc.constantFrom(0, 0, 0, 0, 1)
const expectation: fc.Arbitrary<Expected> = fc.oneof(
  { weight: 6, arbitrary: fc.constant('any' as const) },
  { weight: 2, arbitrary: fc.record({ offset: fc.constantFrom(0, 0, -1, 1) }) },
  { weight: 1, arbitrary: fc.constantFrom('none' as const, 'exists' as const) }
)

function typed<T extends Command['type']>(...types: T[]): fc.Arbitrary<T> {
  return fc.constantFrom(...types)
}

const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 1, arbitrary: fc.record({ type: typed('create'), session: place, expected: expectation }) },
  { weight: 1, arbitrary: fc.record({ type: typed('delete', 'delete', 'purge'), session: place }) },
  { weight: 2, arbitrary: fc.record({ type: typed('read', 'read', 'tick'), session: place }) },
  { weight: 1, arbitrary: fc.record({ type: typed('at'), session: place, at: fc.nat(15) }) },
  { weight: 8, arbitrary: fc.record({ type: typed('undo', 'undo', 'redo'), session: place }) },
  {
    weight: 2,
    arbitrary: fc.record({
      type: typed('fork'),
      session: place,
      at: fc.option(fc.nat(8), { nil: undefined, freq: 2 }),
      to: fc.nat(1)
    })
  },
  { weight: 3, arbitrary: fc.record({ type: typed('begin'), session: place, takesOver: fc.boolean() }) },
  {
    weight: 3,
    arbitrary: fc.record({
      type: typed('renew', 'end', 'end', 'abort', 'abort', 'keep'),
      session: place,
      turn: fromEnd
    })
  },
  {
    weight: 3,
    arbitrary: fc.record({ type: typed('turn-write'), session: place, turn: fromEnd, changes: someChanges })
  },
  {
    weight: 10,
    arbitrary: fc.record({
      type: typed('write'),
      session: place,
      changes: someChanges,
      expected: expectation,
      key: fc.option(fc.constantFrom('k1', 'k2', '__proto__'), { nil: undefined, freq: 4 }),
      isShort: fc.boolean()
    })
  }
)

/** Puts, undo, redo and turns of one session: what makes the steps. */
const editing: fc.Arbitrary<Command> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ type: typed('undo', 'undo', 'redo'), session: fc.constant(0) }) },
  {
    weight: 6,
    arbitrary: fc
      .oneof(
        fc.tuple(change),
        fc.tuple(change.filter(({ type }) => type === 'put')),
        fc.tuple(
          change.filter(({ type }) => type === 'put'),
          change
        )
      )
      .map((changes) => ({
        type: 'write' as const,
        session: 0,
        changes,
        expected: 'any' as const,
        key: undefined,
        isShort: true
      }))
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: typed('begin'), session: fc.constant(0), takesOver: fc.constant(true) })
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: typed('turn-write'), session: fc.constant(0), turn: fromEnd, changes: someChanges })
  },
  {
    weight: 2,
    arbitrary: fc.record({
      type: typed('renew', 'end', 'end', 'end', 'abort', 'keep'),
      session: fc.constant(0),
      turn: fc.constant(0)
    })
  }
)

/** Calls, after one that makes the session that most of them are about. */
function sequence(minLength: number, maxLength: number, calls = command): fc.Arbitrary<Command[]> {
  const first: Command = { type: 'create', session: 0, expected: 'any' }
  return fc.array(calls, { minLength, maxLength, size: 'max' }).map((commands) => [first, ...commands])
}

// Others each time: with the faults, which CI runs too, more than 10,000 sequences in all, and a tenth of them with all other tests.
const MORE = Number(process.env['TURNLOG_TIMES'] ?? 1)

describe('a service and a naive model', () => {
  it.each(['warn', 'create', 'throw'] as const)(
    'agree on every sequence of calls (missing.append: %j)',
    async (append) => {
      await fc.assert(
        fc.asyncProperty(sequence(8, 24), fc.integer({ min: 1, max: 3 }), fc.boolean(), (commands, active, isShared) =>
          compare(commands, append, active, isShared ? 1 : 'alone')
        ),
        { numRuns: 270 * MORE }
      )
    },
    60_000 * MORE
  )

  it(
    'agree on long sequences of calls of two services, with one session of each in memory',
    async () => {
      await fc.assert(
        fc.asyncProperty(sequence(0, 80), (commands) => compare(commands, 'warn', 1, 2)),
        { numRuns: 70 * MORE }
      )
    },
    60_000 * MORE
  )

  it(
    'agree on what can be undone and redone',
    async () => {
      await fc.assert(
        fc.asyncProperty(sequence(8, 40, editing), (commands) => compare(commands, 'warn', 1, 'alone')),
        { numRuns: 130 * MORE }
      )
    },
    60_000 * MORE
  )
})

describe('concurrent histories', () => {
  it(
    'of two services: every acknowledged append once, in real-time order, and every read a prefix',
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.integer(), fc.integer({ min: 1, max: 4 }), async (seed, active) => {
          await race(seed, 2, active)
        }),
        { numRuns: 20 * MORE }
      )
    },
    60_000 * MORE
  )

  it(
    'of one service: every acknowledged append once, in real-time order, and every read a prefix',
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.integer(), fc.integer({ min: 1, max: 4 }), async (seed, active) => {
          await race(seed, 1, active)
        }),
        { numRuns: 20 * MORE }
      )
    },
    60_000 * MORE
  )
})

/** A service, the turns that were begun through it, and what each session is expected to be. */
async function compare(
  commands: readonly Command[],
  append: 'warn' | 'create' | 'throw',
  active: number,
  services: number | 'alone'
): Promise<void> {
  let now = 1
  const inner = memoryStore()
  // Of a store that is not shared, a service need not ask how new a log is: then it has to know by itself.
  const store = { ...inner, supports: { ...inner.supports, shared: services !== 'alone' } }
  const histories = await Promise.all(
    Array.from({ length: services === 'alone' ? 1 : services }, () =>
      createSessionHistory({
        store,
        maxActiveSessions: active,
        missing: { get: 'null', append },
        logger: warnings(),
        clock: clockOf(() => now)
      })
    )
  )
  const model = new Model(append)
  const turns = SESSIONS.map((): Turn[] => [])
  const handedOut: { readonly snapshot: Session; readonly text: string }[] = []
  for (const [i, each] of commands.entries()) {
    if (each.type === 'tick') {
      now += TTL_MS
      model.tick()
      continue
    }
    const versionBefore = model.logs[each.session]!.versions.length
    const result = model.after(each)
    const outcome = await actual(histories[i % histories.length]!, each, versionBefore, turns[each.session]!)
    if (outcome && typeof outcome === 'object') {
      handedOut.push({ snapshot: outcome, text: JSON.stringify(outcome) })
      const { version, messages, metadata } = outcome
      same({ version, content: { messages, metadata } }, result)
    } else same(outcome, result)
  }
  for (const { snapshot, text } of handedOut) {
    const { messages, ...others } = snapshot
    expect(JSON.stringify({ ...others, messages })).toBe(text)
  }
  const copy = await createSessionHistory({ missing: { get: 'null', append }, logger: warnings() })
  for (const [i, { versions }] of model.logs.entries()) {
    const ref = SESSIONS[i]!
    await compareLog(histories[0]!, ref, versions)
    // Once is enough: how an absent session is answered is not in the logs.
    if (versions.length === 0 || append !== 'throw') continue
    const file = await exportOf(histories[0]!, ref)
    await copy.importSession(file)
    await compareLog(copy, ref, versions)
    same(await exportOf(copy, ref), file)
  }
  await copy.stop()
  await Promise.all(histories.map((history) => history.stop()))
}

async function exportOf(history: SessionHistoryService, { userId, id }: SessionRef): Promise<string[]> {
  const lines: string[] = []
  for await (const line of history.exportSession(userId, id)) lines.push(line)
  return lines
}

/** Every version ever stored is as the model has it, and as a fold of the events has it. */
async function compareLog(
  history: SessionHistoryService,
  ref: SessionRef,
  versions: readonly Version[]
): Promise<void> {
  const events = await eventsOf(history, ref)
  same(
    events.map(({ version }) => version),
    versions.map((_, i) => i + 1)
  )
  const folded: (Content | null)[] = []
  for (const [i, event] of events.entries()) {
    const past = await history.getSession(ref.userId, ref.id, { at: i + 1 })
    const { content } = versions[i]!
    same(past && { messages: past.messages, metadata: past.metadata }, content)
    // What a fork begins with is in the log of its parent, which may be gone.
    const isFork = event.type === 'created' && event.data.forkedFrom !== undefined
    folded.push(isFork ? content : foldedWith(folded, event))
    same(folded[i], content)
  }
}

/** What a call comes to: a version and its content, `null`, or the code of an error. */
type Result = { readonly version: number; readonly content: Content } | string | null

// Of one identity: going back to what is the very same stores nothing.
const NO_MESSAGES: readonly Message[] = []
const NO_METADATA = {}

/** The sessions and the turns, each call copied in full. */
class Model {
  readonly logs: ModelLog[] = SESSIONS.map(() => NO_LOG)
  readonly #turns: ModelTurn[][] = SESSIONS.map(() => [])
  readonly #append: 'warn' | 'create' | 'throw'
  #lastTurn = 0

  constructor(append: 'warn' | 'create' | 'throw') {
    this.#append = append
  }

  /** All turns expire. */
  tick(): void {
    for (const [i, log] of this.logs.entries()) {
      if (log.turn) this.logs[i] = { ...log, turn: { ...log.turn, hasExpired: true } }
    }
  }

  after(given: Exclude<Command, { type: 'tick' }>): Result {
    try {
      const [log, result] = this.#decided(this.logs[given.session]!, given)
      this.logs[given.session] = log
      return result
    } catch (error) {
      if (typeof error === 'string') return error
      throw error
    }
  }

  // Throws the code of the error that the call fails with.
  #decided(log: ModelLog, given: Command): [ModelLog, Result] {
    const { versions } = log
    const current = versions.at(-1)?.content ?? null
    const isMet = (wanted: Expected): boolean =>
      wanted === 'any' ||
      (wanted === 'none'
        ? !current
        : wanted === 'exists'
          ? current !== null
          : Math.max(0, versions.length + wanted.offset) === versions.length)
    switch (given.type) {
      case 'tick':
      case 'read':
        return [log, resultAt(log, versions.length)]
      case 'at':
        if (given.at > versions.length) throw 'VERSION_NOT_FOUND'
        return [log, resultAt(log, given.at)]
      case 'create':
        if (!isMet(given.expected)) throw 'VERSION_CONFLICT'
        return answered(begun(log, { messages: NO_MESSAGES, metadata: NO_METADATA }))
      case 'delete':
        return [current ? begun(log, null) : log, null]
      case 'purge':
        return [NO_LOG, null]
      case 'fork': {
        const parent = versions[(given.at ?? versions.length) - 1]
        if (versions.length === 0 || (given.at === undefined && !current)) throw 'SESSION_NOT_FOUND'
        if (!parent?.content) throw 'VERSION_NOT_FOUND'
        const target = given.session - (given.session % 2) + given.to
        if (this.logs[target]!.versions.length > 0) throw 'SESSION_EXISTS'
        const [child, result] = answered(begun(NO_LOG, parent.content))
        this.logs[target] = child
        return [target === given.session ? child : log, result]
      }
      case 'undo':
      case 'redo':
        if (!current) throw 'SESSION_NOT_FOUND'
        return answered(stepped(withoutOther(log), given.type))
      case 'write': {
        const content = canonical(given.changes)
        const use = given.key === undefined ? undefined : log.keys.get(given.key)
        if (use && use.content !== content) throw 'IDEMPOTENCY_CONFLICT'
        if (use) return [log, resultAt(log, use.version)]
        if (!isMet(given.expected)) throw 'VERSION_CONFLICT'
        const [written, result] = this.#written(log, given, undefined)
        if (written === log || given.key === undefined) return [written, result]
        const keys = new Map(log.keys).set(given.key, { content, version: written.versions.length })
        return [{ ...written, keys }, result]
      }
      case 'begin': {
        if (!current) throw 'SESSION_NOT_FOUND'
        const free = withoutOther(log, given.takesOver)
        const id = ++this.#lastTurn
        this.#turns[given.session]!.push({ id, hasEnded: false })
        const next = unchanged({ ...free, turn: undefined })
        return answered({ ...next, turn: { id, version: next.versions.length, hasExpired: false } })
      }
      case 'turn-write': {
        const held = this.#heldTurn(given, log)
        if (!held) return [log, null]
        return this.#written(log, given, held.id)
      }
      case 'renew':
        return this.#heldTurn(given, log) ? answered(unchanged(log, { hasExpired: false })) : [log, null]
      case 'end':
      case 'abort':
      case 'keep': {
        const held = this.#heldTurn(given, log)
        if (!held) return [log, null]
        held.hasEnded = true
        const began = versions[log.turn!.version - 1]!
        // What the turn has written makes a version of its own, also with the same content; nothing else does.
        const goesBack = given.type === 'abort' && versions.at(-1) !== began
        const back = goesBack ? { ...log, versions: [...versions, began] } : log
        return answered({ ...unchanged(back), turn: undefined })
      }
    }
  }

  // `undefined` where no turn was begun of that session; then nothing is called either.
  #heldTurn({ session, turn }: Command & { turn: number }, log: ModelLog): ModelTurn | undefined {
    const held = this.#turns[session]!.at(-1 - turn)
    if (!held) return undefined
    if (held.hasEnded) throw 'TURN_ENDED'
    if (log.turn?.id === held.id) return held
    throw 'TURN_FENCED'
  }

  #written(
    log: ModelLog,
    { changes: all }: { changes: readonly Change[] },
    turnId: number | undefined
  ): [ModelLog, Result] {
    const { versions } = log
    const current = versions.at(-1)?.content ?? null
    const pastOf = ({ toVersion }: Change & { type: 'rewind' }): Content => {
      const content = versions[toVersion - 1]?.content
      if (!content) throw 'VERSION_NOT_FOUND'
      return content
    }
    const [first, ...others] = all
    if (current) {
      const added = applied(current, all, pastOf)
      if (added.length === 0) return [log, resultAt(log, versions.length)]
      return answered(committed(turnId === undefined ? withoutOther(log) : log, added, turnId))
    }
    if (first?.type === 'rewind' && versions.length > 0) {
      const back = pastOf(first)
      return answered(committed(begun(log, back), applied(back, others, pastOf), undefined))
    }
    if (this.#append === 'throw') throw 'SESSION_NOT_FOUND'
    if (this.#append === 'warn') return [log, null]
    const empty = { messages: NO_MESSAGES, metadata: NO_METADATA }
    return answered(committed(begun(log, empty), applied(empty, all, pastOf), undefined))
  }
}

const NO_LOG: ModelLog = { versions: [], keys: new Map(), turn: undefined }

function resultAt({ versions }: ModelLog, version: number): Result {
  const content = versions[version - 1]?.content
  return content ? { version, content } : null
}

function answered(log: ModelLog): [ModelLog, Result] {
  return [log, resultAt(log, log.versions.length)]
}

/** Nothing to undo, nothing to redo, no turn. */
function begun(log: ModelLog, content: Content | null): ModelLog {
  return { ...log, versions: [...log.versions, { content, done: [], undone: [] }], turn: undefined }
}

/** One more version, like the last. */
function unchanged(log: ModelLog, turnNow: { readonly hasExpired?: boolean } = {}): ModelLog {
  return {
    ...log,
    versions: [...log.versions, log.versions.at(-1)!],
    turn: log.turn && { ...log.turn, ...turnNow }
  }
}

/** Without the turn of somebody else, where that is over. */
function withoutOther(log: ModelLog, takesOver = false): ModelLog {
  if (!log.turn) return log
  if (!log.turn.hasExpired && !takesOver) throw 'TURN_BUSY'
  return { ...unchanged(log), turn: undefined }
}

function stepped(log: ModelLog, kind: 'undo' | 'redo'): ModelLog {
  const { versions } = log
  const { done, undone } = versions.at(-1)!
  const [step, back] = [done.at(-1), undone.at(-1)]
  if (kind === 'undo') {
    if (!step) throw 'NOTHING_TO_UNDO'
    const { content } = versions[step.from - 1]!
    const now = { content, done: done.slice(0, -1), undone: [...undone, { to: versions.length, step }] }
    return { ...log, versions: [...versions, now] }
  }
  if (!back) throw 'NOTHING_TO_REDO'
  const { content } = versions[back.to - 1]!
  return { ...log, versions: [...versions, { content, done: [...done, back.step], undone: undone.slice(0, -1) }] }
}

/** With these versions as one commit: a step of its own, or the next part of one. */
function committed(log: ModelLog, added: readonly Applied[], turnId: number | undefined): ModelLog {
  if (added.length === 0) return log
  const from = log.versions.length
  const { done } = log.versions.at(-1)!
  const top = done.at(-1)
  const [putId] = added.map((one) => one.putId)
  const isPut = turnId === undefined && putId !== undefined && added.every((one) => one.putId === putId)
  const goesOn =
    top && (turnId === undefined ? isPut && top.putId === putId && top.until === from : top.turn === turnId)
  const step = (until: number): Step =>
    goesOn ? { ...top, until } : { from, until, putId: isPut ? putId : undefined, turn: turnId }
  const below = goesOn ? done.slice(0, -1) : done
  const versions = added.map(({ content }, i) => ({ content, done: [...below, step(from + i + 1)], undone: [] }))
  return { ...log, versions: [...log.versions, ...versions], turn: log.turn && { ...log.turn, hasExpired: false } }
}

/** A version that a change leads to. */
interface Applied {
  readonly content: Content
  readonly putId: string | undefined
}

function applied(
  content: Content,
  all: readonly Change[],
  pastOf: (change: Change & { type: 'rewind' }) => Content
): Applied[] {
  const versions: Applied[] = []
  for (const each of all) {
    const now = versions.at(-1)?.content ?? content
    const putId = each.type === 'put' ? (each.message as Message).id : undefined
    for (const next of changed(now, each, pastOf)) versions.push({ content: next, putId })
  }
  return versions
}

/** The versions that a change leads to, one after the other. */
function changed(content: Content, given: Change, pastOf: (change: Change & { type: 'rewind' }) => Content): Content[] {
  const { messages, metadata } = content
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
    case 'truncate': {
      if (given.length >= messages.length) return []
      return [{ messages: given.length === 0 ? NO_MESSAGES : messages.slice(0, given.length), metadata }]
    }
    case 'rewind': {
      const past = pastOf(given)
      return past.messages === messages && past.metadata === metadata ? [] : [past]
    }
    case 'metadata': {
      const next = Object.fromEntries([
        ...Object.entries(metadata).filter(([key]) => !given.unset!.includes(key)),
        ...Object.entries(given.set as Record<string, unknown>)
      ])
      return canonical(next) === canonical(metadata) ? [] : [{ messages, metadata: next }]
    }
  }
}

async function actual(
  history: SessionHistoryService,
  given: Exclude<Command, { type: 'tick' }>,
  versionBefore: number,
  turns: Turn[]
): Promise<Session | string | null> {
  const ref = SESSIONS[given.session]!
  const version = (wanted: Expected): ExpectedVersion =>
    typeof wanted === 'string' ? wanted : Math.max(0, versionBefore + wanted.offset)
  const held = 'turn' in given ? turns.at(-1 - given.turn) : undefined
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
      case 'undo':
        return await history.undo(ref)
      case 'redo':
        return await history.redo(ref)
      case 'fork': {
        const { id: sessionId } = SESSIONS[given.session - (given.session % 2) + given.to]!
        return await history.fork(ref, { sessionId, ...(given.at !== undefined && { at: given.at }) })
      }
      case 'begin': {
        const turn = await history.beginTurn(ref, { ttlMs: TTL_MS, onBusy: given.takesOver ? 'takeover' : 'throw' })
        turns.push(turn)
        return turn.session
      }
      case 'turn-write':
        return (await held?.commit(given.changes)) ?? null
      case 'renew':
        return (await held?.renew()) ?? null
      case 'end':
        return (await held?.end()) ?? null
      case 'abort':
      case 'keep':
        return (await held?.abort({ keep: given.type === 'keep' })) ?? null
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

/** What an event makes of the versions before it. */
function foldedWith(past: readonly (Content | null)[], { type, data }: SessionEvent): Content | null {
  const content = past.at(-1) ?? { messages: [], metadata: {} }
  const { messages, metadata } = content
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
    case 'rewound':
      return past[data.toVersion - 1] ?? null
    case 'turn-started':
    case 'turn-ended':
      return content
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

/** Expects values to be equal as JSON; many are, so the cheap way first. */
function same(found: unknown, wanted: unknown): void {
  if (JSON.stringify(found) !== JSON.stringify(wanted)) expect(structuredCopy(found)).toEqual(wanted)
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
