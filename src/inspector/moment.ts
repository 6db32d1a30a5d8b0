import { hashJson, type JsonObject } from '../json.ts'
import type { SessionEvent } from '../event.ts'
import type { Session } from '../session.ts'
import { metadataChanges } from './compare.ts'
import { cutJson } from './cut.ts'
import { titleOf, turnOf } from './lines.ts'
import type { Log, Newest } from './log.ts'
import { itemsOf, short, shownOf } from './messages.ts'
import type { EventShown, Moment } from './wire.ts'

// A session at a version, as the page shows it.

/** Of an event, or of the metadata: bytes that are shown. */
const EVENT_BYTES = 20_000
const METADATA_BYTES = 10_000

/** The state at a version or time, by default the newest. @throws `VERSION_NOT_FOUND` */
export async function stateOf(
  log: Log,
  at: number | Date | undefined
): Promise<{ readonly newest: Newest; readonly version: number; readonly session: Session<unknown> | null }> {
  const newest = await log.newest()
  const version = await log.versionOf(at, newest)
  return { newest, version, session: version === newest.latest ? newest.session : await log.at(version) }
}

/** The moment of a version or time, by default the newest, with `count` messages from `from` on, or around what its event changed. */
export async function momentOf(
  log: Log,
  at: number | Date | undefined,
  from: number | undefined,
  count: number
): Promise<Moment> {
  const { newest, version, session } = await stateOf(log, at)
  const before = await log.before(version)
  const { event, shown } = await eventOf(log, version)
  const reading = await log.reading(session)
  const change = await log.change(event, before, session)
  const all = shownOf(reading).length
  const middle = Math.min(change.at, all) + Math.ceil(change.added / 2)
  const first = from ?? Math.max(0, Math.min(middle - Math.floor(count / 2), all - count))
  // One of a newer release may be passed over, and is not given; then what follows is told by its version.
  const newestEvent = version === newest.latest ? event : await log.event(newest.latest).catch(() => undefined)
  const { forkedFrom, turn } = session ?? {}
  const title = session ? titleOf(session.metadata) : undefined
  return {
    userId: log.userId,
    id: log.sessionId,
    version,
    latest: newest.latest,
    ...(newestEvent && { latestId: sentId(newestEvent) }),
    ...(newest.damagedAt !== undefined && { damagedAt: newest.damagedAt }),
    isLive: session !== null,
    // Of one that is deleted, it is that of the state before.
    createdAt: (session ?? before)?.createdAt ?? (await log.event(1)).at,
    updatedAt: event.at,
    format: short(session?.format ?? ''),
    ...(title !== undefined && { title }),
    ...(forkedFrom && { forkedFrom }),
    ...(turn && { turn: turnOf(turn) }),
    metadata: cutJson(session?.metadata ?? {}, METADATA_BYTES),
    count: all,
    event: shown,
    change: { ...change, metadata: metadataChanges(before, session) },
    window: { from: first, items: itemsOf(reading, first, count) }
  }
}

/** An event, and what is shown of it. */
export async function eventOf(
  log: Log,
  version: number
): Promise<{ readonly event: SessionEvent<unknown>; readonly shown: EventShown }> {
  const event = await log.event(version)
  const line = await log.lines()(event)
  return { event, shown: { ...cutJson(event as unknown as JsonObject, EVENT_BYTES), line } }
}

/** Tells an event from one of a log that was begun anew, which its version alone does not. An id may have line feeds in it. */
export function sentId({ version, id: eventId }: SessionEvent<unknown>): string {
  return `${version}-${hashJson(eventId).slice(0, 16)}`
}
