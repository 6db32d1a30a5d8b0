import type { Results } from './rounds.ts'

/** A row of the table. The first result is ours. */
export interface Row {
  readonly measure: string
  readonly unit: 'µs' | 'ms' | '/s' | 'bytes' | 'MB' | ''
  readonly results: Results
  /** What was to be reached, if anything was. */
  readonly target?: string
  /** What is held against the target, and how it came out; without a target, what the row comes to in a word. */
  readonly reached: string
  /** Where there is a target. */
  readonly isMet?: boolean
  /** Who does not take part in it, and why; what else has to be known of it. */
  readonly notes?: readonly string[]
  /** The point of a chart that the row is: rows of one chart differ in `x`, and have a line for each of their results. */
  readonly chart?: { readonly name: string; readonly x: number }
}
