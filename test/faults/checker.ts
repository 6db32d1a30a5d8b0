/** A call that appended messages, in one commit. Times are ms of a clock that all processes share. */
export interface Append {
  readonly process: string
  readonly session: string
  /** The messages, in order. No two appends have one in common. */
  readonly ids: readonly string[]
  readonly from: number
  /** When it was answered; `Infinity`: never. */
  readonly to: number
  readonly outcome: 'stored' | 'not-stored' | 'unknown'
  /** How many messages the session had afterwards, where it was stored. */
  readonly length?: number
  /** What was said of an outcome that is another. */
  readonly why?: string
}

/** A call that gave the messages of a session. */
export interface Read {
  readonly process: string
  readonly session: string
  readonly ids: readonly string[]
  readonly from: number
  readonly to: number
}

/** All that processes have done to the sessions of a store, each with a service of its own. */
export interface History {
  readonly appends: readonly Append[]
  readonly reads: readonly Read[]
}

/**
 * How new a read has to be, by section 6 of the design. `real-time`: it has all that was acknowledged to anybody, or read by anybody,
 * before it began. `prefix`: all that was acknowledged to its own service, or read through it.
 */
export type Freshness = 'real-time' | 'prefix'

/** What a store must not do. */
export type FaultKind =
  /** What was acknowledged is not there. */
  | 'lost'
  /** A message is there twice. */
  | 'twice'
  /** What was answered with "not stored" is there. */
  | 'stored after all'
  /** A message that nobody has appended. */
  | 'made up'
  /** A commit is there, or was read, by half, or with another in its midst. */
  | 'torn'
  /** It is elsewhere than its answer said. */
  | 'moved'
  /** What was acknowledged before it began stands after it. */
  | 'out of order'
  /** A read that is not what the session was at any time. */
  | 'no prefix'
  /** A read of what was appended only after it was answered. */
  | 'from the future'
  /** A read that lacks what it must have. */
  | 'stale'

export interface Fault {
  readonly kind: FaultKind
  readonly session: string
  readonly what: string
}

/**
 * What is wrong with a history, judged by what the sessions have come to: `finals`, the messages of each. Takes about n log n. A
 * history without a fault could be that of one list per session, changed by one append at a time.
 */
export function faultsIn(
  { appends, reads }: History,
  finals: ReadonlyMap<string, readonly string[]>,
  freshness: Freshness
): Fault[] {
  const faults: Fault[] = []
  const [appendsOf, readsOf] = [bySession(appends), bySession(reads)]
  for (const session of new Set([...finals.keys(), ...appendsOf.keys(), ...readsOf.keys()])) {
    const final = finals.get(session) ?? []
    const note = (kind: FaultKind, what: string): void => void faults.push({ kind, session, what })
    judge(final, appendsOf.get(session) ?? [], readsOf.get(session) ?? [], freshness, note)
  }
  return faults
}

/** How many processes raced at most: had appends to one session under way at one time, all of which were acknowledged. */
export function racersIn({ appends }: History): number {
  let most = 0
  for (const one of appends) {
    // Where the most are under way, one of them has just begun.
    const rivals = appends.filter(
      ({ session, from, to, outcome }) =>
        session === one.session && outcome === 'stored' && from <= one.from && one.from < to
    )
    most = Math.max(most, new Set(rivals.map(({ process }) => process)).size)
  }
  return most
}

function bySession<Call extends { readonly session: string }>(calls: readonly Call[]): Map<string, Call[]> {
  const found = new Map<string, Call[]>()
  for (const call of calls) {
    const ofIt = found.get(call.session)
    if (ofIt) ofIt.push(call)
    else found.set(call.session, [call])
  }
  return found
}

type Note = (kind: FaultKind, what: string) => void

function judge(
  final: readonly string[],
  appends: readonly Append[],
  reads: readonly Read[],
  freshness: Freshness,
  note: Note
): void {
  const places = new Map<string, number>()
  for (const [place, id] of final.entries()) {
    if (places.has(id)) note('twice', `${id}, at ${places.get(id)} and ${place}`)
    else places.set(id, place)
  }
  judgeAppends(final, places, appends, note)
  judgeOrder(places, appends, note)
  judgeReads(final, places, appends, reads, note)
  if (freshness === 'real-time') return judgeFreshness(appends, reads, note)
  for (const process of new Set(reads.map((read) => read.process))) {
    const isOfIt = (call: { readonly process: string }): boolean => call.process === process
    judgeFreshness(appends.filter(isOfIt), reads.filter(isOfIt), note)
  }
}

// Each by itself: it is there or not, whole, and where it was said to be.
function judgeAppends(
  final: readonly string[],
  places: ReadonlyMap<string, number>,
  appends: readonly Append[],
  note: Note
): void {
  const known = new Set(appends.flatMap(({ ids }) => ids))
  for (const id of final) if (!known.has(id)) note('made up', id)
  for (const append of appends) {
    const { ids, outcome, length } = append
    const found = ids.filter((id) => places.has(id))
    if (found.length === 0) {
      if (outcome === 'stored') note('lost', shown(append))
      continue
    }
    const first = places.get(found[0]!)!
    if (outcome === 'not-stored') note('stored after all', shown(append))
    else if (!ids.every((id, i) => final[first + i] === id)) note('torn', `${shown(append)} in the end`)
    else if (length !== undefined && first + ids.length !== length)
      note('moved', `${shown(append)} ends at ${first + ids.length}`)
  }
}

// Of two, where one was acknowledged before the other began, it stands before it.
function judgeOrder(places: ReadonlyMap<string, number>, appends: readonly Append[], note: Note): void {
  const there = appends.filter(({ ids }) => places.has(ids[0]!))
  const ended = there.filter(({ outcome }) => outcome === 'stored').toSorted((a, b) => a.to - b.to)
  let next = 0
  let last: Append | undefined
  for (const append of there.toSorted((a, b) => a.from - b.from)) {
    for (; next < ended.length && ended[next]!.to < append.from; next++) {
      const each = ended[next]!
      if (!last || places.get(each.ids[0]!)! > places.get(last.ids[0]!)!) last = each
    }
    if (last && places.get(last.ids[0]!)! > places.get(append.ids[0]!)!)
      note('out of order', `${shown(append)} stands before ${shown(last)}`)
  }
}

// Each by itself: it is what the session was at some time before it was answered.
function judgeReads(
  final: readonly string[],
  places: ReadonlyMap<string, number>,
  appends: readonly Append[],
  reads: readonly Read[],
  note: Note
): void {
  // Between two messages of one commit no read may end.
  const inside = new Set<number>()
  const begun = new Map<string, number>()
  for (const { ids, from } of appends) {
    for (const id of ids) begun.set(id, from)
    const first = places.get(ids[0]!)
    if (first !== undefined) for (let i = 1; i < ids.length; i++) inside.add(first + i)
  }
  // When the youngest of the first messages was begun, by how many they are.
  const youngest = [-Infinity]
  for (const id of final) youngest.push(Math.max(youngest.at(-1)!, begun.get(id) ?? -Infinity))
  for (const read of reads) {
    const different = read.ids.findIndex((id, place) => final[place] !== id)
    if (different >= 0)
      note('no prefix', `${shown(read)}: ${read.ids[different]} where ${final[different]} is in the end`)
    else if (inside.has(read.ids.length)) note('torn', shown(read))
    else if (youngest[read.ids.length]! > read.to) note('from the future', shown(read))
  }
}

function judgeFreshness(appends: readonly Append[], reads: readonly Read[], note: Note): void {
  const seen = [
    ...appends.flatMap((append) => (append.length === undefined ? [] : [{ call: append, length: append.length }])),
    ...reads.map((call) => ({ call, length: call.ids.length }))
  ].toSorted((a, b) => a.call.to - b.call.to)
  let next = 0
  let longest: (typeof seen)[number] | undefined
  for (const read of reads.toSorted((a, b) => a.from - b.from)) {
    for (; next < seen.length && seen[next]!.call.to < read.from; next++)
      if (!longest || seen[next]!.length > longest.length) longest = seen[next]
    if (longest && longest.length > read.ids.length)
      note('stale', `${shown(read)} after ${shown(longest.call)}, which had ${longest.length}`)
  }
}

function shown(call: Append | Read): string {
  const what =
    'outcome' in call
      ? `append of ${call.ids.join()} (${[call.outcome, call.why].filter(Boolean).join(': ')})`
      : `read of ${call.ids.length}`
  return `${call.process}'s ${what} from ${call.from.toFixed(3)} to ${call.to.toFixed(3)}`
}
