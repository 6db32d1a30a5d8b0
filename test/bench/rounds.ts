/** What one contender does in a round: gives the µs that one operation took. */
export type Contender = () => Promise<number>

/** The results of a contender, one per round. */
export type Results<Name extends string = string> = Readonly<Record<Name, readonly number[]>>

/**
 * Lets the contenders take turns, `count` rounds long, after one round that does not count. Each round begins with another
 * contender, so that what drifts, drifts for all.
 */
export async function rounds<Name extends string>(
  count: number,
  contenders: Readonly<Record<Name, Contender>>
): Promise<Results<Name>> {
  return take(count, contenders, (_, error) => {
    throw error
  })
}

/**
 * The same among others' software: one of those after the first that fails has no result, and does not end it. A contender says
 * with a {@link LeftOut} that it does not take part.
 */
export async function contest(
  count: number,
  contenders: Readonly<Record<string, Contender>>
): Promise<{ readonly results: Results; readonly notes: readonly string[] }> {
  const [ours] = Object.keys(contenders)
  const notes: string[] = []
  const results = await take(count, contenders, (name, error) => {
    if (name === ours || !(error instanceof Error)) throw error
    const [why] = error.message.split('\n')
    notes.push(error instanceof LeftOut ? `${name} is left out: ${why}` : `${name} failed: ${why}`)
  })
  return { results, notes }
}

/** Why a contender does not take part, from itself. */
export class LeftOut extends Error {}

async function take<Name extends string>(
  count: number,
  contenders: Readonly<Record<Name, Contender>>,
  onFailure: (name: Name, error: unknown) => void
): Promise<Results<Name>> {
  const names = Object.keys(contenders) as Name[]
  const results = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>
  for (let round = -1; round < count; round++) {
    for (let turn = 0; turn < names.length; turn++) {
      const name = names[(round + 1 + turn) % names.length]!
      if (!(name in results)) continue
      try {
        const result = await contenders[name]()
        if (round >= 0) results[name].push(result)
      } catch (error) {
        onFailure(name, error)
        delete results[name]
      }
    }
  }
  return results
}

/**
 * µs per operation of `work`, which does `count` of them. What preparing it has left of young objects is collected before. Not
 * the old ones: V8 throws compiled code away when a full collection finds nothing of what it was compiled for alive, which
 * in a program that goes on is rare, and here would come before every turn.
 */
export async function timed(count: number, work: () => Promise<unknown>): Promise<number> {
  globalThis.gc?.({ type: 'minor' })
  const start = process.hrtime.bigint()
  await work()
  return Number(process.hrtime.bigint() - start) / 1000 / count
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** Round by round, as a round's results were taken at about the same time. */
export function ratios(a: readonly number[], b: readonly number[]): number[] {
  return a.map((value, i) => value / b[i]!)
}

/** `b` of cost ~ point^b: the slope of the line through the logarithms, by least squares. */
export function exponentOf(points: readonly number[], costs: readonly number[]): number {
  const [xs, ys] = [points.map(Math.log), costs.map(Math.log)]
  const [x0, y0] = [mean(xs), mean(ys)]
  const xy = mean(xs.map((x, i) => (x - x0) * (ys[i]! - y0)))
  return xy / mean(xs.map((x) => (x - x0) ** 2))
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

/** Round by round the least of those of `names` that have results; none if none has. */
export function fastest(results: Results, names: readonly string[]): readonly number[] {
  const all = names.flatMap((name) => (results[name] === undefined ? [] : [results[name]]))
  return all[0]?.map((_, round) => Math.min(...all.map((values) => values[round]!))) ?? []
}

export function perSecond(micros: Results): Results {
  return Object.fromEntries(Object.entries(micros).map(([name, values]) => [name, values.map((value) => 1e6 / value)]))
}
