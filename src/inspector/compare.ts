import { diffArrays } from 'diff'
import { diff } from '../diff.ts'
import { canonical, type Json, type JsonObject } from '../json.ts'
import type { Session } from '../session.ts'
import { cutJson } from './cut.ts'
import { itemOf, type Reading } from './messages.ts'
import type { Diff, DiffRow, MetadataChange } from './wire.ts'

/** Two lists of messages, put side by side: what each has at a place, `undefined` where it has nothing. */
export interface Alignment {
  readonly rows: readonly { readonly kind: DiffRow['kind']; readonly a?: number; readonly b?: number }[]
  readonly counts: Diff['counts']
  readonly places: readonly number[]
  readonly lengths: readonly number[]
}

/** Beyond so many edits, what is between is set side by side as it comes. */
const MOST_EDITS = 2_000
/** So many runs that differ are told of. */
const PLACES = 1_000

/**
 * Sets messages side by side. They are alike if they say the same: two runs that say the same words are alike, though each message has an id of its
 * own. What differs between two that are alike is set in pairs.
 */
export function align(a: Reading, b: Reading): Alignment {
  // Versions of a session share their messages: of what is the same object, nothing need be written out to be compared.
  const [x, y] = [a.messages ?? a.items, b.messages ?? b.items]
  let shared = 0
  while (shared < Math.min(x.length, y.length) && x[shared] === y[shared]) shared++
  const [left, right] = [contentsOf(a, shared), contentsOf(b, shared)]
  const rows: { kind: DiffRow['kind']; a?: number; b?: number }[] = []
  for (let n = 0; n < shared; n++) rows.push({ kind: 'same', a: n, b: n })
  let [i, j] = [shared, shared]
  const set = (removed: number, added: number): void => {
    const pairs = Math.min(removed, added)
    for (let n = 0; n < pairs; n++) rows.push({ kind: 'changed', a: i++, b: j++ })
    for (let n = pairs; n < removed; n++) rows.push({ kind: 'a', a: i++ })
    for (let n = pairs; n < added; n++) rows.push({ kind: 'b', b: j++ })
  }
  const isOneSided = left.length === 0 || right.length === 0
  const changes =
    (isOneSided ? undefined : diffArrays(left, right, { maxEditLength: MOST_EDITS })) ?? onlyEnds(left, right)
  for (let n = 0; n < changes.length; n++) {
    const { count, added, removed } = changes[n]!
    if (!added && !removed) for (let k = 0; k < count; k++) rows.push({ kind: 'same', a: i++, b: j++ })
    else if (removed && changes[n + 1]?.added) set(count, changes[++n]!.count)
    else if (added && changes[n + 1]?.removed) set(changes[++n]!.count, count)
    else set(removed ? count : 0, added ? count : 0)
  }
  const counts = { same: 0, changed: 0, a: 0, b: 0 }
  for (const { kind } of rows) counts[kind]++
  const places: number[] = []
  const lengths: number[] = []
  for (const [row, { kind }] of rows.entries()) {
    if (kind === 'same') continue
    if ((rows[row - 1]?.kind ?? 'same') !== 'same') lengths[lengths.length - 1]!++
    else if (places.length === PLACES) break
    else {
      places.push(row)
      lengths.push(1)
    }
  }
  return { rows, counts, places, lengths }
}

interface Edit {
  readonly count: number
  readonly added: boolean
  readonly removed: boolean
}

function onlyEnds(a: readonly string[], b: readonly string[]): Edit[] {
  const shorter = Math.min(a.length, b.length)
  let start = 0
  while (start < shorter && a[start] === b[start]) start++
  let end = 0
  while (end < shorter - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++
  const same = (count: number): Edit => ({ count, added: false, removed: false })
  return [
    same(start),
    { count: a.length - start - end, added: false, removed: true },
    { count: b.length - start - end, added: true, removed: false },
    same(end)
  ]
}

/** A window of the rows. */
export function rowsOf({ rows }: Alignment, a: Reading, b: Reading, from: number, count: number): DiffRow[] {
  const shown: DiffRow[] = []
  let left = ROWS_BYTES
  for (const { kind, a: i, b: j } of rows.slice(from, from + count)) {
    if (left <= 0 && shown.length > 0) break
    const row = {
      kind,
      ...(i !== undefined && { a: itemOf(a, i, ITEM_BYTES) }),
      // Of two that are alike, one is shown in both places.
      ...(j !== undefined && kind !== 'same' && { b: itemOf(b, j, ITEM_BYTES) })
    }
    left -= Buffer.byteLength(JSON.stringify(row))
    shown.push(row)
  }
  return shown
}

const ROWS_BYTES = 140_000
const ITEM_BYTES = 12_000

// What each message from `first` on says, without what only tells it apart from others.
function contentsOf({ messages, items }: Reading, first: number): string[] {
  if (!messages) return items.slice(first).map((item) => canonical(item))
  return messages.slice(first).map(({ id: _, sequence_number: __, content, ...said }) => {
    const parts = Array.isArray(content) ? content.map(withoutCallId) : content
    return canonical({ ...said, ...(content !== undefined && { content: parts }) } as unknown as Json)
  })
}

function withoutCallId(part: object): object {
  const { type, data } = part as { readonly type?: unknown; readonly data?: JsonObject | null }
  if (type !== 'data' || !data) return part
  const { call_id: _, ...said } = data
  return { ...part, data: said }
}

/** The keys of the metadata whose values differ. */
export function metadataChanges(
  a: Pick<Session<unknown>, 'metadata'> | null,
  b: Pick<Session<unknown>, 'metadata'> | null
): MetadataChange[] {
  const bare = (session: typeof a): Pick<Session<unknown>, 'metadata' | 'messages'> => ({
    metadata: session?.metadata ?? {},
    messages: []
  })
  return Object.entries(diff(bare(a), bare(b)).metadata)
    .map(([key, sides]) => ({
      key: key.slice(0, 200),
      ...(sides.a !== undefined && { a: cutJson(sides.a, METADATA_BYTES) }),
      ...(sides.b !== undefined && { b: cutJson(sides.b, METADATA_BYTES) })
    }))
    .slice(0, 100)
}

const METADATA_BYTES = 4_000
