import assert from 'node:assert/strict'
import type { StoredEvent } from '../event.ts'
import { copyJson, type Json, type JsonObject } from '../json.ts'
import type { Commit, EventStore, ReadRange, SessionKey, Summary } from '../store.ts'

/** Tests by title. */
export type Tests = Readonly<Record<string, Test>>

/** Gets an empty store that is open, and a way to further objects, which are not. */
export type Test = (store: EventStore, more: Record<'create' | 'reopen', () => EventStore>) => Promise<void>

// What several groups do

/** What every call does while the store is closed. */
export function rejectsWhileClosed(name: string, call: (store: EventStore, first: Commit) => Promise<unknown>): Tests {
  return {
    [`rejects ${name} before open and after close, and changes nothing`]: async (store, { create }) => {
      const first = begin(TRIP)
      await assert.rejects(call(create(), first), 'before open')
      await put(store, first)
      await store.close()
      await assert.rejects(call(store, first), 'after close')
      await store.open()
      await assertLog(store, first)
    }
  }
}

/** Rivals expect one version, round after round; in every other round each of them comes with a commit that builds on it. */
export async function race(stores: readonly EventStore[]): Promise<void> {
  const won: Commit[] = []
  for (let round = 0; round < 20; round++) {
    const rivals = Array.from({ length: 16 }, () => {
      const newest = won.at(-1)
      return chain(newest ? follow(newest) : begin(TRIP), 1 + (round % 2))
    })
    const statuses = await Promise.all(rivals.map((commits, i) => append(at(stores, i % stores.length), ...commits)))
    const winners = rivals.filter((_, i) => statuses[i]?.[0] === 'stored')
    assert.equal(winners.length, 1, `${winners.length} commits are stored that all expect version ${won.length}`)
    for (const [i, commits] of rivals.entries()) {
      const wanted = commits.map(() => (winners.includes(commits) ? 'stored' : 'conflict'))
      assert.deepEqual(statuses[i], wanted)
    }
    won.push(...winners.flat())
  }
  for (const store of stores) await assertLog(store, ...won)
}

/** 3000 events, in more pages than one for most. */
export async function putLongLog(store: EventStore): Promise<Commit[]> {
  const commits = chain(begin(TRIP, { count: 250 }), 12, { count: 250 })
  await put(store, ...commits)
  return commits
}

// Asking the store

/** How each of the commits ended. */
export async function append(store: EventStore, ...commits: readonly Commit[]): Promise<string[]> {
  const results = await store.append(commits)
  return results.map((result) => (result.status === 'failed' ? `failed: ${String(result.error)}` : result.status))
}

/** Appends what must be stored. */
export async function put(store: EventStore, ...commits: readonly Commit[]): Promise<void> {
  const wanted = commits.map(() => 'stored')
  assert.deepEqual(await append(store, ...commits), wanted)
}

export async function readAll(store: EventStore, logId: string, range?: ReadRange): Promise<StoredEvent[]> {
  const events: StoredEvent[] = []
  for await (const page of store.read(logId, range)) {
    assert.notEqual(page.length, 0, 'a page is empty')
    events.push(...page)
  }
  return events
}

/** Ends with the store, unless a signal is given. */
export function watch(
  store: EventStore,
  key: SessionKey,
  signal: AbortSignal = new AbortController().signal
): AsyncIterator<number> {
  const hints = store.watch?.(key, signal)
  assert(hints, 'the store has no watch')
  return hints[Symbol.asyncIterator]()
}

/** Takes hints up to one of `version`, and gives them. */
export async function hintOf(hints: AsyncIterator<number>, version: number): Promise<number[]> {
  const taken: number[] = []
  while (taken.at(-1) !== version) {
    const next = await hints.next()
    assert(!next.done, `watch ended before it told of version ${version}`)
    taken.push(next.value)
    assert(taken.length < 1000, `watch does not tell of version ${version}`)
  }
  return taken
}

export async function assertEnded(next: Promise<IteratorResult<number>>): Promise<void> {
  const { done } = await next
  assert.equal(done, true, 'watch goes on')
}

/** The log of these commits has their events, all of them and no others, and ends as the last of them says. */
export async function assertLog(store: EventStore, ...commits: readonly Commit[]): Promise<void> {
  const newest = last(commits)
  const events = commits.flatMap((commit) => commit.events)
  await assertHead(store, newest)
  assertEvents(await readAll(store, newest.logId), events)
}

export async function assertHead(store: EventStore, { key, logId, summary }: Commit): Promise<void> {
  assert.deepEqual(await store.head(key), { logId, version: summary.version, summary })
}

/** The name is free, and nothing is left of the log that it had. */
export async function assertNoLog(store: EventStore, { key, logId }: Commit): Promise<void> {
  assert.equal(await store.head(key), null)
  assertEvents(await readAll(store, logId), [])
}

/** Versions first: where these differ, the rest would be thousands of lines. */
export function assertEvents(
  actual: readonly StoredEvent[],
  expected: readonly StoredEvent[],
  of = 'of the log'
): void {
  const [versions, wanted] = [actual, expected].map((events) => events.map(({ version }) => version).join())
  assert(versions === wanted, `the events ${of} are ${abridged(versions)} and not ${abridged(wanted)}`)
  for (const [i, event] of actual.entries()) assert.deepEqual(event, expected[i])
}

function abridged(versions = ''): string {
  return versions.length > 100 ? `${versions.slice(0, 50)} … ${versions.slice(-50)}` : versions || 'none'
}

// Making commits

/** What a commit says. Unless said otherwise: one event with a text of its own, a millisecond after the commit before. */
interface Content {
  readonly count?: number
  /** One event each. */
  readonly messages?: readonly Json[]
  readonly at?: number
  readonly deleted?: boolean
  readonly metadata?: JsonObject
}

/** Any time will do, as long as it is not that of the clock. */
export const START = 1_700_000_000_000

export const TRIP: SessionKey = { userId: 'ada', sessionId: 'trip' }
export const WORK: SessionKey = { userId: 'ada', sessionId: 'work' }
export const BOB: SessionKey = { userId: 'bob', sessionId: 'trip' }

// Split at spaces, so that what holds none of them takes no line for each.
export const HOSTILE_NAMES = [
  '__proto__ constructor toString hasOwnProperty null undefined true NaN 0 -1 1: 1:a a A',
  "a.b . .. * > $ / \\ // ../../etc/passwd : :: # ? & = % %00 %2F _ ?1 $1 :id ' \" ` '; {} [] ${x}",
  '\u0000 a\u0000 a\u0000b \n a\nb \r\n \t \u007f \u2028 \ufeff \uffff \ue000 😀 👩‍👩‍👧 é e\u0301 ß ss',
  `${'x'.repeat(512)} ${'漢'.repeat(512)} ${'漢'.repeat(511)}字 ${'\u0000'.repeat(512)} ${'😀'.repeat(256)}`
]
  .flatMap((line) => line.split(' '))
  .concat('a b', 'a  b', ' a', 'a ')

/** All are properties of its own, as JSON has them. */
export const HOSTILE_OBJECT = JSON.parse(
  '{ "__proto__": { "x": true }, "constructor": { "prototype": 1 }, "toString": null, "length": -1, "": { "": "" },' +
    ' "10": 1, "9": 2, "a.b": "$1", "\\u0000": "\\u0000", "\\ud800": [] }'
) as JsonObject

export const HOSTILE_VALUES: readonly Json[] = [
  '| |x|\u0000|a\u0000b|\\u0000|\ud800|\udc00\ud800|😀|\ufeff|\u2028|\uffff|e\u0301|\'|"|\\|%s|{}|[]|null|1'.split('|'),
  '\n|\r\n|\t| a |2026-01-01T00:00:00.000Z|</script>|\u001b[31m'.split('|'),
  [null, true, false, 0, -1, 0.1, 1e21, 1e-7, 5e-324, Number.MAX_VALUE, Number.MAX_SAFE_INTEGER],
  [[], [[]], [null, [null]], {}, { a: {} }, HOSTILE_OBJECT, [HOSTILE_OBJECT], nested(500)]
].flat()

type Fork = Commit & Required<Pick<Commit, 'parent'>>

let made = 0

/** The first commit of a new log. */
export function begin(key: SessionKey, content: Content = {}): Commit {
  return make(key, `log${++made}`, undefined, content)
}

/** The commit after another of the same log. */
export function follow({ key, logId, summary }: Commit, content: Content = {}): Commit {
  return make(key, logId, summary, content)
}

/** The first commit of a fork. */
export function fork(parent: Commit, version: number, key: SessionKey, content: Content = {}): Fork {
  const commit = begin(key, { at: parent.summary.updatedAt, ...content })
  const summary = { ...commit.summary, forkedFrom: { ...parent.key, version } }
  return copyJson({ ...commit, summary, parent: { logId: parent.logId, version } }) as unknown as Fork
}

/** `first` and those that follow it. */
export function chain(first: Commit, length: number, content?: Content): Commit[] {
  const commits = [first]
  while (commits.length < length) commits.push(follow(last(commits), content))
  return commits
}

function make(key: SessionKey, logId: string, before: Summary | undefined, content: Content): Commit {
  const { count = 1, messages = Array.from({ length: count }, () => `text ${++made}`), deleted = false } = content
  const time = content.at ?? (before ? before.updatedAt + 1 : START)
  const expectedVersion = before?.version ?? 0
  const version = expectedVersion + messages.length
  const ids = messages.map(() => `event${++made}`)
  const events = messages.map((message, i) => ({
    id: at(ids, i),
    ...key,
    version: expectedVersion + i + 1,
    type: deleted && expectedVersion + i + 1 === version ? 'deleted' : 'message-appended',
    at: time,
    data: { message },
    schemaVersion: 1,
    commitId: at(ids, 0)
  }))
  const summary = {
    ...key,
    version,
    createdAt: before?.createdAt ?? time,
    updatedAt: time,
    deleted,
    format: 'test',
    metadata: content.metadata ?? {}
  }
  return copyJson({ key, logId, expectedVersion, events, summary }) as unknown as Commit
}

function nested(depth: number): Json {
  let value: Json = ''
  for (let i = 0; i < depth; i++) value = i % 2 === 0 ? [value] : { value }
  return value
}

/** As `maxCommitBytes` counts. */
export function sizeOf({ events }: Commit): number {
  return Buffer.byteLength(JSON.stringify(events))
}

// Small things

/** Changes everything that can be changed in a value and what it holds. */
export function vandalize(value: unknown): void {
  if (typeof value !== 'object' || value === null) return
  for (const key of Object.keys(value)) {
    vandalize(Reflect.get(value, key))
    Reflect.set(value, key, 'changed')
    Reflect.deleteProperty(value, key)
  }
  Reflect.set(value, 'added', true)
}

export function idsOf(summaries: readonly Summary[]): string[] {
  return summaries.map(({ sessionId }) => sessionId)
}

export function summariesOf(commits: readonly Commit[]): Summary[] {
  return commits.map(({ summary }) => summary)
}

export function at<T>(list: readonly T[], index: number): T {
  const item = list[index]
  assert(item !== undefined, `there is nothing at ${index} of ${list.length}`)
  return item
}

export function last<T>(list: readonly T[]): T {
  return at(list, list.length - 1)
}
