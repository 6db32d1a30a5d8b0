import { DEFAULT_FORMAT } from '../adapters/shared/reading.ts'
import { hashJson, type JsonObject } from '../json.ts'
import type { SessionEvent } from '../event.ts'
import type { Session } from '../session.ts'
import { metadataChanges } from './compare.ts'
import { cutJson } from './cut.ts'
import { titleOf, turnOf } from './lines.ts'
import type { Log, Newest } from './log.ts'
import { itemsOf, short, shownOf, type Reading } from './messages.ts'
import type { EventShown, Item, Moment } from './wire.ts'

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
    ...about(session),
    count: all,
    event: shown,
    change: { ...change, metadata: metadataChanges(before, session) },
    window: { from: first, items: itemsOf(reading, first, count) }
  }
}

/**
 * The newest moment of a long log from its end, before the rest is read; `undefined` where that is no quicker, or where the end does not tell what the last event
 * did.
 */
export async function briefMomentOf(log: Log, count: number): Promise<Moment | undefined> {
  const session = await log.end(count)
  // Others have messages whose other half may be further up.
  if (session?.format !== DEFAULT_FORMAT) return undefined
  const { version, createdAt, updatedAt } = session
  // It may have been purged meanwhile, and begun anew.
  const event = await log.event(version).catch(() => undefined)
  if (event?.at !== updatedAt || !TOLD_BY_ITSELF.has(event.type)) return undefined
  const items = newestOf(await log.reading(session))
  if (items.length === 0) return undefined
  const added = event.type === 'message-appended' ? 1 : 0
  return {
    userId: log.userId,
    id: log.sessionId,
    version,
    latest: version,
    latestId: sentId(event),
    isLive: true,
    createdAt,
    updatedAt: event.at,
    ...about(session),
    isBrief: true,
    count: items.length,
    event: await shownEvent(log, event, DEFAULT_FORMAT),
    change: { at: items.length - added, removed: 0, added, metadata: [] },
    window: { from: 0, items }
  }
}

/** Events that need no state before them to be understood. */
const TOLD_BY_ITSELF = new Set<string>(['message-appended', 'turn-started', 'turn-ended'])

// As many of the last as there is room for and are not cut, as if they were all; nothing refers to a place.
function newestOf(reading: Reading): Item[] {
  const { length } = shownOf(reading)
  let from = 0
  let items = itemsOf(reading, from, length)
  while (from + items.length < length) {
    from = length - items.length
    items = itemsOf(reading, from, length)
  }
  const whole = items.slice(items.findLastIndex(({ cuts }) => cuts.length > 0) + 1)
  return whole.map(({ message, raw, cuts, problem }, index) => ({
    index,
    ...(message && { message }),
    ...(raw !== undefined && { raw }),
    cuts,
    ...(problem !== undefined && { problem })
  }))
}

function about(
  session: Session<unknown> | null
): Pick<Moment, 'format' | 'title' | 'forkedFrom' | 'turn' | 'metadata'> {
  const { forkedFrom, turn, format = '', metadata = {} } = session ?? {}
  const title = titleOf(metadata)
  return {
    format: short(format),
    ...(title !== undefined && { title }),
    ...(forkedFrom && { forkedFrom }),
    ...(turn && { turn: turnOf(turn) }),
    metadata: cutJson(metadata, METADATA_BYTES)
  }
}

/** An event, and what is shown of it. */
export async function eventOf(
  log: Log,
  version: number
): Promise<{ readonly event: SessionEvent<unknown>; readonly shown: EventShown }> {
  const event = await log.event(version)
  return { event, shown: await shownEvent(log, event) }
}

async function shownEvent(log: Log, event: SessionEvent<unknown>, format?: string): Promise<EventShown> {
  return { ...cutJson(event as unknown as JsonObject, EVENT_BYTES), line: await log.lines(format)(event) }
}

/** Tells an event from one of a log that was begun anew, which its version alone does not. An id may have line feeds in it. */
export function sentId({ version, id: eventId }: SessionEvent<unknown>): string {
  return `${version}-${hashJson(eventId).slice(0, 16)}`
}
