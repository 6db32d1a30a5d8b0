import { diffArrays } from 'diff'
import { diff } from '../diff.ts'
import { canonical, hashJson, type Json, type JsonObject } from '../json.ts'
import type { Message } from '../message.ts'
import type { Session } from '../session.ts'
import { bytesOfJson, cutJson, fitting } from './cut.ts'
import { isMessage, itemOf, shownOf, type Reading } from './messages.ts'
import { inSlices } from './slices.ts'
import type { Diff, DiffRow, MetadataChange } from './wire.ts'

/** Two lists of messages, put side by side: what each has at a place, `undefined` where it has nothing. */
export interface Alignment {
  readonly rows: readonly { readonly kind: DiffRow['kind']; readonly a?: number; readonly b?: number }[]
  readonly counts: Diff['counts']
  /** Where the first runs that differ begin, and how many rows each has. */
  readonly places: readonly number[]
  readonly lengths: readonly number[]
}

/** What is compared for longer, or has more edits, is set side by side as it comes. */
const LONGEST_MS = 300
const MOST_EDITS = 10_000
/** So many runs that differ are told of. */
const PLACES = 1_000

/**
 * Sets messages side by side. They are alike if they say the same: two runs that say the same words are alike, though each message has an id of its
 * own. What differs between two that are alike is set in pairs. Of messages that it has not seen yet each takes a while, in which others are answered.
 */
export async function align(a: Reading, b: Reading): Promise<Alignment> {
  await lookThrough(shownOf(a), shownOf(b))
  const rows: { kind: DiffRow['kind']; a?: number; b?: number }[] = []
  const counts = { same: 0, changed: 0, a: 0, b: 0 }
  const runs: { readonly at: number; readonly length: number }[] = []
  let [i, j] = [0, 0]
  const differ = (toA: number, toB: number): void => {
    const length = Math.max(toA - i, toB - j)
    if (length > 0) runs.push({ at: rows.length, length })
    while (i < toA && j < toB) rows.push({ kind: 'changed', a: i++, b: j++ })
    while (i < toA) rows.push({ kind: 'a', a: i++ })
    while (j < toB) rows.push({ kind: 'b', b: j++ })
  }
  for (const { atA, atB, count } of runsOf(shownOf(a), shownOf(b))) {
    differ(atA, atB)
    for (let n = 0; n < count; n++) rows.push({ kind: 'same', a: i++, b: j++ })
  }
  differ(shownOf(a).length, shownOf(b).length)
  for (const { kind } of rows) counts[kind]++
  const told = runs.slice(0, PLACES)
  return { rows, counts, places: told.map(({ at }) => at), lengths: told.map(({ length }) => length) }
}

// What the messages say, but for those that both sides begin with: versions and forks share them.
async function lookThrough(a: readonly unknown[], b: readonly unknown[]): Promise<void> {
  let start = 0
  while (start < a.length && a[start] === b[start]) start++
  for (const list of [a, b]) await inSlices(list.slice(start), contentOf)
}

/** Messages that follow each other on both sides, alike. */
interface Run {
  readonly atA: number
  readonly atB: number
  readonly count: number
}

function runsOf(a: readonly unknown[], b: readonly unknown[]): Run[] {
  // Versions and forks share what they have in common: most is at both ends, and the same objects.
  const shorter = Math.min(a.length, b.length)
  let start = 0
  while (start < shorter && areAlike(a[start], b[start])) start++
  let end = 0
  while (end < shorter - start && areAlike(a[a.length - 1 - end], b[b.length - 1 - end])) end++
  const between = runsBetween(a.slice(start, a.length - end), b.slice(start, b.length - end))
  return [
    { atA: 0, atB: 0, count: start },
    ...between.map(({ atA, atB, count }) => ({ atA: atA + start, atB: atB + start, count })),
    { atA: a.length - end, atB: b.length - end, count: end }
  ]
}

function runsBetween(a: readonly unknown[], b: readonly unknown[]): Run[] {
  if (a.length === 0 || b.length === 0) return []
  // Only what both have can be alike: the rest need not be looked at.
  const [inA, inB] = [new Set(a.map(contentOf)), new Set(b.map(contentOf))]
  const placesA = [...a.keys()].filter((at) => inB.has(contentOf(a[at])))
  const placesB = [...b.keys()].filter((at) => inA.has(contentOf(b[at])))
  const changes = diffArrays(
    placesA.map((at) => contentOf(a[at])),
    placesB.map((at) => contentOf(b[at])),
    { maxEditLength: MOST_EDITS, timeout: LONGEST_MS }
  )
  const runs: Run[] = []
  let [i, j] = [0, 0]
  for (const { count, added, removed } of changes ?? []) {
    if (!added && !removed)
      for (let n = 0; n < count; n++) runs.push({ atA: placesA[i + n]!, atB: placesB[j + n]!, count: 1 })
    if (!added) i += count
    if (!removed) j += count
  }
  return runs
}

function areAlike(a: unknown, b: unknown): boolean {
  return a === b || contentOf(a) === contentOf(b)
}

/** A window of the rows. */
export function rowsOf({ rows }: Alignment, a: Reading, b: Reading, from: number, count: number): DiffRow[] {
  const shown: DiffRow[] = []
  let left = ROWS_BYTES
  for (const { kind, a: i, b: j } of rows.slice(from, from + count)) {
    if (left <= 0) break
    const row = {
      kind,
      ...(i !== undefined && { a: itemOf(a, i, ITEM_BYTES) }),
      // Of two that are alike, one is shown in both places.
      ...(j !== undefined && kind !== 'same' && { b: itemOf(b, j, ITEM_BYTES) })
    }
    left -= bytesOfJson(row)
    shown.push(row)
  }
  return shown
}

const ROWS_BYTES = 105_000
const ITEM_BYTES = 12_000

// Messages are frozen, and most are compared more than once. Hashes: the texts would be a second copy of all that was compared.
const contents = new WeakMap<object, string>()

// What a message says, without what only tells it apart from others.
function contentOf(item: unknown): string {
  if (typeof item !== 'object' || item === null) return canonical(item as Json)
  let said = contents.get(item)
  if (said === undefined) contents.set(item, (said = hashJson(withoutNames(item as Json))))
  return said
}

function withoutNames(item: Json): Json {
  if (!isMessage(item)) return item
  const { id: _, sequence_number: __, content, ...said } = item as Message
  const parts = Array.isArray(content) ? content.map(withoutCallId) : content
  return { ...said, ...(content !== undefined && { content: parts }) } as unknown as Json
}

function withoutCallId(part: object | null): object | null {
  const { type, data } = (part ?? {}) as { readonly type?: unknown; readonly data?: JsonObject | null }
  if (type !== 'data' || typeof data !== 'object' || data === null) return part
  const { call_id: _, ...said } = data
  return { ...part, data: said }
}

/** The keys of the metadata whose values differ: as many as there is room for. */
export function metadataChanges(
  a: Pick<Session<unknown>, 'metadata'> | null,
  b: Pick<Session<unknown>, 'metadata'> | null
): MetadataChange[] {
  const [before, after] = [a?.metadata ?? {}, b?.metadata ?? {}]
  if (before === after) return []
  const changes = diff({ metadata: before, messages: [] }, { metadata: after, messages: [] }).metadata
  return fitting(
    Object.entries(changes)
      .slice(0, MOST_CHANGES)
      .map(([key, sides]) => ({
        key: key.slice(0, 200),
        ...(sides.a !== undefined && { a: cutJson(sides.a, METADATA_BYTES) }),
        ...(sides.b !== undefined && { b: cutJson(sides.b, METADATA_BYTES) })
      })),
    ALL_METADATA_BYTES
  ).kept
}

const METADATA_BYTES = 4_000
const ALL_METADATA_BYTES = 20_000
const MOST_CHANGES = 500
