import type { AppendResult, Commit } from '../../store.ts'
import { ServerError, storeError } from './connections.ts'
import { encode, type EncodedCommit } from './encode.ts'
import { LARGEST_GROUP, type LogWriter, type Outcome } from './writer.ts'

/** Characters of commits that share a statement, beyond the first. */
const LARGEST_STATEMENT = 8_000_000

/** One call of `append`, with what is still to be answered. */
interface Call {
  readonly results: (AppendResult | undefined)[]
  /** Logs of which a commit of the call was not stored, and the place of the first such. */
  readonly broken: Map<string, number>
  readonly resolve: (results: readonly AppendResult[]) => void
  left: number
}

/** A commit that waits to be written, and where its result goes. */
interface Waiting {
  readonly commit: EncodedCommit
  readonly call: Call
  readonly place: number
  /** Names the session. */
  readonly name: string
}

/** Commits of one call that build upon each other: all are stored, or none. */
interface Group {
  readonly members: Waiting[]
  /** Another commit of that session waits; what comes after it has to, too. */
  isClosed: boolean
}

/**
 * What is to be written: commits of many sessions in one statement, one statement at a time. What came while one was under way is in
 * the next one.
 */
export class WriteQueue {
  readonly #writer: LogWriter
  #waiting: Waiting[] = []
  #isWriting = false
  #onIdle: (() => void)[] = []

  constructor(writer: LogWriter) {
    this.#writer = writer
  }

  append(commits: readonly Commit[]): Promise<readonly AppendResult[]> {
    return new Promise((resolve) => {
      const call: Call = { results: commits.map(() => undefined), broken: new Map(), resolve, left: commits.length }
      if (commits.length === 0) resolve([])
      for (const [place, commit] of commits.entries()) {
        try {
          const encoded = encode(commit)
          this.#waiting.push({ commit: encoded, call, place, name: encoded.name })
        } catch (error) {
          // More than a string can hold.
          answer({ call, place, commit }, { status: 'failed', error, outcome: 'not-stored' })
        }
      }
      this.#schedule()
    })
  }

  /** Resolves when all is written. */
  async end(): Promise<void> {
    while (this.#isWriting) await new Promise<void>((resolve) => this.#onIdle.push(resolve))
  }

  // After all that is called in this turn of the event loop, so that it comes together.
  #schedule(): void {
    if (this.#isWriting || this.#waiting.length === 0) return
    this.#isWriting = true
    setImmediate(() => void this.#write())
  }

  async #write(): Promise<void> {
    while (this.#waiting.length > 0) {
      const groups = this.#take()
      const [begins, follows] = [groups.filter(isBegin), groups.filter((group) => !isBegin(group))]
      for (const kind of [follows, begins]) if (kind.length > 0) await this.#writeGroups(kind)
      // Callers hear, and what they ask for next can come along.
      await new Promise((resolve) => setImmediate(resolve))
    }
    this.#isWriting = false
    for (const resolve of this.#onIdle.splice(0)) resolve()
  }

  // A session is at most once in a statement: what builds on its commit waits, unless it can be one with it; so does a fork of it.
  #take(): Group[] {
    const groups = new Map<string, Group>()
    const logs = new Set<string>()
    const later: Waiting[] = []
    let size = 0
    let taken = 0
    for (const waiting of this.#waiting) {
      const { commit, name } = waiting
      if (taken > 0 && (size + commit.size > LARGEST_STATEMENT || groups.size >= LARGEST_GROUP)) break
      taken++
      if (isBroken(waiting)) {
        answer(waiting, { status: 'conflict' })
        continue
      }
      const group = groups.get(name)
      const waitsForParent = commit.parent !== undefined && logs.has(commit.parent.logId)
      logs.add(commit.logId)
      if (!group && !waitsForParent) groups.set(name, { members: [waiting], isClosed: false })
      else if (group && !group.isClosed && buildsOn(group.members.at(-1)!, waiting)) group.members.push(waiting)
      else {
        later.push(waiting)
        if (group) group.isClosed = true
        // Whatever comes of that session comes after it.
        else groups.set(name, { members: [], isClosed: true })
        continue
      }
      size += commit.size
    }
    this.#waiting = [...later, ...this.#waiting.slice(taken)]
    return [...groups.values()].filter(({ members }) => members.length > 0)
  }

  async #writeGroups(groups: readonly Group[]): Promise<void> {
    let outcomes: readonly Outcome[]
    try {
      outcomes = await this.#writer.append(groups.map(({ members }) => joined(members)))
    } catch (error) {
      const { code, outcome } = error instanceof ServerError ? error : new ServerError(error, 'not-stored')
      // Where it is the fault of one, the others are not to pay for it.
      const isAlone = groups.length === 1 && groups[0]!.members.length === 1
      if (outcome === 'not-stored' && code !== '' && !OF_ALL.test(code) && !isAlone) return this.#writeOneByOne(groups)
      const failure = storeError(error)
      for (const { members } of groups) settle(members, { status: 'failed', error: failure, outcome })
      return
    }
    for (const [i, { members }] of groups.entries()) settle(members, RESULTS[outcomes[i]!])
  }

  async #writeOneByOne(groups: readonly Group[]): Promise<void> {
    for (const { members } of groups) {
      for (const member of members) {
        if (isBroken(member)) answer(member, { status: 'conflict' })
        else await this.#writeGroups([{ members: [member], isClosed: true }])
      }
    }
  }
}

/** Failures that every statement would meet: of the connection, the server, its disk, the role or the tables. */
const OF_ALL = /^(08|25|28|3D|40|42|53|55|57|58|XX)/

const RESULTS: Readonly<Record<Outcome, AppendResult>> = {
  stored: Object.freeze({ status: 'stored' }),
  conflict: Object.freeze({ status: 'conflict' }),
  orphaned: Object.freeze({ status: 'orphaned' })
}

function isBegin({ members }: Group): boolean {
  return members[0]!.commit.expectedVersion === 0
}

/** What builds on something that was not stored. */
function isBroken({ commit, call, place }: Waiting): boolean {
  return place > (call.broken.get(commit.logId) ?? Infinity)
}

function buildsOn(before: Waiting, { commit, call }: Waiting): boolean {
  const { logId, version } = before.commit
  return before.call === call && commit.logId === logId && commit.expectedVersion === version && !commit.parent
}

/** Commits that build on each other, as one. */
function joined(members: readonly Waiting[]): EncodedCommit {
  const [first, end] = [members[0]!.commit, members.at(-1)!.commit]
  if (first === end) return first
  const { expectedVersion, parent } = first
  return { ...end, expectedVersion, parent, events: members.flatMap(({ commit }) => commit.events) }
}

/** A result for all; of a failure or conflict, the first has it, and what builds on it conflicts. */
function settle(members: readonly Waiting[], result: AppendResult): void {
  for (const [i, member] of members.entries()) {
    const isUncertain = result.status === 'failed' && result.outcome === 'unknown'
    answer(member, i === 0 || result.status === 'stored' || isUncertain ? result : { status: 'conflict' })
  }
}

function answer(
  { call, place, commit }: { readonly call: Call; readonly place: number; readonly commit: { readonly logId: string } },
  result: AppendResult
): void {
  call.results[place] = result
  const { broken } = call
  if (result.status !== 'stored') broken.set(commit.logId, Math.min(place, broken.get(commit.logId) ?? Infinity))
  if (--call.left === 0) call.resolve(call.results as AppendResult[])
}
