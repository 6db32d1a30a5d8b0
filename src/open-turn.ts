import { turnlogError } from './errors.ts'
import type { Fact, SessionEvent } from './event.ts'
import type { Json } from './json.ts'

/** A turn that is open: who may write to a session. */
export interface OpenTurn {
  readonly id: string
  /** Who holds it, as its holder says. */
  readonly owner?: string
  /** Milliseconds since the Unix epoch. */
  readonly startedAt: number
  /** When it ends if its holder writes no more; each event of the turn puts it off. In ms since the Unix epoch. */
  readonly expiresAt: number
}

/** An open turn as a state has it: with the version at which it began, and as others may see it. */
export interface TurnState extends OpenTurn {
  readonly ttlMs: number
  readonly version: number
  readonly shown: OpenTurn
}

/** The turn that is open after `event`. */
export function turnAfter(turn: TurnState | undefined, event: SessionEvent<Json>): TurnState | undefined {
  switch (event.type) {
    case 'created':
    case 'deleted':
    case 'turn-ended':
      return undefined
    case 'turn-started': {
      const { turnId: id, owner, ttlMs } = event.data
      // Of a turn that is renewed the beginning stays.
      const isOpen = turn?.id === id
      const [startedAt, version] = isOpen ? [turn.startedAt, turn.version] : [event.at, event.version]
      return turnState(id, owner, startedAt, ttlMs, version, event.at)
    }
    default:
      if (event.turnId !== turn?.id || !turn) return turn
      return turnState(turn.id, turn.owner, turn.startedAt, turn.ttlMs, turn.version, event.at)
  }
}

// Written out, and the owner assigned: V8 makes dictionaries of objects that spreads have made.
function turnState(
  id: string,
  owner: string | undefined,
  startedAt: number,
  ttlMs: number,
  version: number,
  now: number
): TurnState {
  const expiresAt = Math.min(now + ttlMs, LAST_TIME)
  const shown: { -readonly [K in keyof OpenTurn]: OpenTurn[K] } = { id, startedAt, expiresAt }
  if (owner !== undefined) shown.owner = owner
  const state = { id, owner, startedAt, expiresAt, ttlMs, version, shown: Object.freeze(shown) }
  return Object.freeze(state) as TurnState
}

/** A turn that its holder has ended: how, and the version since. */
export interface EndedTurn {
  readonly id: string
  readonly outcome: 'completed' | 'aborted'
  readonly version: number
}

/** The last turn that its holder has ended, after `event`. */
export function endedTurnAfter(
  last: EndedTurn | undefined,
  { type, data, version }: SessionEvent<Json>
): EndedTurn | undefined {
  if (type !== 'turn-ended') return last
  const { turnId: id, outcome } = data
  return outcome === 'completed' || outcome === 'aborted' ? Object.freeze({ id, outcome, version }) : last
}

/**
 * What a write that is not the turn's own has to say first: that it is over, if there is one.
 *
 * @throws `TURN_BUSY` where it is not, and is not taken over
 */
export function endOfOther(turn: TurnState | undefined, now: number, takesOver = false): Fact<Json>[] {
  if (!turn) return []
  const { id: turnId, owner, expiresAt } = turn
  if (now < expiresAt && !takesOver) {
    const holder = owner === undefined ? 'A turn' : `A turn of ${JSON.stringify(owner)}`
    const message = `${holder} is open until ${new Date(expiresAt).toISOString()} or longer`
    throw turnlogError('TURN_BUSY', message, { turnId, expiresAt, ...(owner !== undefined && { owner }) })
  }
  return [{ type: 'turn-ended', data: { turnId, outcome: now < expiresAt ? 'taken-over' : 'expired' } }]
}

/**
 * Lets the holder of a turn go on, also after it has expired, as long as nobody else has written.
 *
 * @throws `TURN_ENDED` where its holder has ended it, `TURN_FENCED`
 */
export function checkHolder(
  { turn, endedTurn }: { readonly turn: TurnState | undefined; readonly endedTurn: EndedTurn | undefined },
  turnId: string
): void {
  if (turn?.id === turnId) return
  if (endedTurn?.id === turnId) throw turnlogError('TURN_ENDED', 'The turn was ended by its holder', { turnId })
  throw turnlogError('TURN_FENCED', 'The turn is over: somebody else has written, or holds a turn, since', { turnId })
}

/** The last time that a `Date` can be, in ms since the Unix epoch. */
const LAST_TIME = 8_640_000_000_000_000

/** Who holds a turn. */
export interface TurnHolder {
  /** The turn is no longer open, whoever ended it; or, where there is a reason, nobody will tell any more. */
  noticeEnd(reason?: unknown): void
}
