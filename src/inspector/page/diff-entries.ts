// What a comparison shows of its rows: those that differ, a few around them, and the others folded.

/** A row; or a stretch of rows that are the same, folded. */
export type DiffEntry = { readonly row: number } | { readonly fold: number; readonly count: number }

/** The row of the `n`th difference, from 0 on: each row that differs is one. `undefined` beyond those that are known. */
export function differenceAt(
  { places, lengths }: { readonly places: readonly number[]; readonly lengths: readonly number[] },
  n: number
): number | undefined {
  let before = 0
  for (const [run, place] of places.entries()) {
    const length = lengths[run]!
    if (n < before + length) return place + n - before
    before += length
  }
  return undefined
}

/** So many rows that are the same are left around those that differ. */
const AROUND = 2
/** Fewer are not worth folding. */
const LEAST = 3

/**
 * The entries of a comparison of `length` rows, of which runs differ: the first row of each at `places`, how many at `lengths`. `opened` are the
 * first rows of folds that are open. Beyond `known`, the first row of which nothing is known, all rows are shown.
 */
export function entriesOf(
  {
    length,
    places,
    lengths
  }: { readonly length: number; readonly places: readonly number[]; readonly lengths: readonly number[] },
  opened: ReadonlySet<number>,
  known = length
): DiffEntry[] {
  const entries: DiffEntry[] = []
  const show = (from: number, to: number): void => {
    for (let row = from; row < to; row++) entries.push({ row })
  }
  const same = (from: number, to: number): void => {
    const first = from === 0 ? 0 : from + AROUND
    const last = to === length ? length : to - AROUND
    if (last - first < LEAST || opened.has(first)) return show(from, to)
    show(from, first)
    entries.push({ fold: first, count: last - first })
    show(last, to)
  }
  let row = 0
  for (const [n, place] of places.entries()) {
    same(row, place)
    row = place + lengths[n]!
    show(place, row)
  }
  if (known >= length) same(row, length)
  else show(row, length)
  return entries
}
