import { idOf, misuse } from './arguments.ts'
import { schemaVersionOf, type Envelope, type Fact, type SessionEvent, type StoredEvent } from './event.ts'
import type { Json } from './json.ts'
import {
  decide,
  evolve,
  initialState,
  sessionExists,
  toSummary,
  type Circumstances,
  type Command,
  type Past,
  type SessionState
} from './session.ts'
import type { Commit } from './store.ts'

/** A commit that is ready to be stored, and the states after each of its events. */
export interface Prepared {
  readonly commit: Commit
  readonly states: readonly SessionState[]
}

/** Stores a log that was made elsewhere as it is, from its first event on, where there is none. */
export interface Import {
  readonly type: 'import'
  /** One or more, of the session that is asked; they have been checked, and are frozen. */
  readonly events: readonly StoredEvent[]
  /** What the log comes to after each of the events. */
  readonly states: readonly SessionState[]
}

/**
 * What a command comes to: the commit to store, or the version that answers it without one. Pure but for the ids that it
 * takes: nothing is stored, and `state` stays as it is. `logId` is `null` where the commit begins a log.
 *
 * @throws what {@link decide} throws; `SESSION_EXISTS` for an import; `TypeError` where the clock or the ids give what they must not
 */
export function prepare(
  command: Command | Import,
  state: SessionState,
  logId: string | null,
  circumstances: Circumstances,
  newEventId: () => string
): Prepared | { readonly answer: number | null } {
  if (command.type === 'import') return prepareImport(command, state, newEventId)
  const decision = decide(state, command, circumstances)
  if ('answer' in decision) return decision
  const events = stamp(decision.facts, state, command, circumstances.now, newEventId)
  const key = Object.freeze({ userId: state.userId, sessionId: state.id })
  // What a fork inherits is the state before its first event.
  const begun = command.type === 'fork' ? initialState(key, command.inherited) : state
  const states: SessionState[] = []
  const past: Past = (version) =>
    version === begun.version ? begun : (states[version - begun.version - 1] ?? circumstances.past(version))
  for (const event of events) states.push(evolve(states.at(-1) ?? begun, event, past))
  const commit: Commit = {
    key,
    logId: logId ?? events[0]!.id,
    expectedVersion: begun.version,
    events: Object.freeze(events) as Commit['events'],
    summary: toSummary(states.at(-1)!)
  }
  if (command.type !== 'fork') return { commit: Object.freeze(commit), states }
  const parent = Object.freeze({ logId: command.parentLogId, version: command.origin.version })
  return { commit: Object.freeze({ ...commit, parent }), states }
}

// What makes an event new is not asked for: it has a place, a time and an id. New is the log.
function prepareImport({ events, states }: Import, state: SessionState, newEventId: () => string): Prepared {
  if (state.version > 0) throw sessionExists(state)
  const commit: Commit = Object.freeze({
    key: Object.freeze({ userId: state.userId, sessionId: state.id }),
    logId: idOf('ids.event()', newEventId()),
    expectedVersion: 0,
    events,
    summary: toSummary(states.at(-1)!)
  })
  return { commit, states }
}

/** An event while it is made. */
type Stamped = { -readonly [K in keyof Envelope]: Envelope[K] } & Pick<Fact<Json>, 'type' | 'data'>

// Facts become events: with a place in the log, a time that never goes back, and what the caller said of the call.
function stamp(
  facts: readonly Fact<Json>[],
  state: SessionState,
  command: Command,
  now: number,
  newEventId: () => string
): SessionEvent<Json>[] {
  const idempotency = command.type === 'commit' ? command.idempotency : undefined
  const turnId = 'turnId' in command ? command.turnId : undefined
  const at = Math.max(Math.floor(now), state.updatedAt)
  if (!Number.isSafeInteger(at)) throw misuse('clock.now()', 'a number of ms', at)
  const { userId, id: sessionId } = state
  let { version } = state
  let commitId: string | undefined
  return facts.map(({ type, data }) => {
    const id = idOf('ids.event()', newEventId())
    commitId ??= id
    version++
    const schemaVersion = schemaVersionOf(type)
    Object.freeze(data)
    const envelope: Stamped = { id, userId, sessionId, version, type, at, data, schemaVersion, commitId }
    if (idempotency) {
      envelope.idempotencyKey = idempotency.key
      if (version === state.version + facts.length) envelope.contentHash = idempotency.contentHash
    }
    if (turnId !== undefined) envelope.turnId = turnId
    return Object.freeze(envelope) as SessionEvent<Json>
  })
}
