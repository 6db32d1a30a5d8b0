import { Hono, type Context } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { stream, streamSSE, type SSEStreamingApi } from 'hono/streaming'
import { z } from 'zod'
import { idOf } from '../arguments.ts'
import { isTurnlogError, turnlogError } from '../errors.ts'
import type { SessionEvent } from '../event.ts'
import { hashJson, type Json, type JsonObject } from '../json.ts'
import { sessionNotFound, type Session } from '../session.ts'
import type { ActorLog } from './actors.ts'
import { batches } from './batches.ts'
import { align, metadataChanges, rowsOf, type Alignment } from './compare.ts'
import { atPath, beginningOf, bytesOfJson, cutJson, fitting, pictureOf } from './cut.ts'
import { failure, failureOf, InvalidRequest } from './failure.ts'
import { isSought, sessionLine, titleOf, turnOf } from './lines.ts'
import { type Log, Logs, type AnyHistory, type Newest } from './log.ts'
import { areSame, factsOf, itemsOf, placesOf, rawItemsOf, short, shownOf, type Reading } from './messages.ts'
import { treeOf } from './tree.ts'
import type {
  About,
  Actors,
  Diff,
  DiffSide,
  Edited,
  EventLine,
  EventPage,
  EventShown,
  Followed,
  Found,
  Moment,
  SessionLine,
  SessionPage,
  Text,
  UserPage,
  Window
} from './wire.ts'

/** What the API works with. */
export interface ApiOptions {
  readonly about: About
  readonly actors: ActorLog | undefined
  /** Aborted when the server stops: ends what is sent as it comes. */
  readonly signal: AbortSignal
}

// An answer has at most so many things.
const PAGE = 100
/** How many events are sent at once: each line may have 1,500 bytes. */
const FRAME = 60
/** How many users and sessions are looked at for one answer to a search. */
const LOOKED_AT = 5_000
/** Of an event, or of the metadata: bytes that are shown. */
const EVENT_BYTES = 20_000
const METADATA_BYTES = 10_000
/** Of a list of users, sessions or events: ids may be long. */
const LIST_BYTES = 150_000
/** UTF-16 code units of a text in one answer: six bytes each at worst. */
const TEXT_LENGTH = 30_000

const id = z.string().transform((text, context) => {
  try {
    return idOf('id', text)
  } catch (error) {
    context.addIssue({ code: 'custom', message: (error as Error).message })
    return z.NEVER
  }
})
const whole = (least: number) =>
  z
    .string()
    .regex(/^\d{1,15}$/, 'not a whole number')
    .transform(Number)
    .pipe(z.int().min(least, `less than ${least}`))
const versionNumber = z.int().min(1)
const sought = z.string().max(1_000, 'longer than 1,000 characters')
const named = { user: id, session: id }
// A version, or a date.
const point = z.union(
  [whole(1), z.iso.datetime({ offset: true }).transform((text) => new Date(text))],
  'neither a version nor a date'
)
const windowed = {
  from: whole(0).optional(),
  count: whole(1)
    .prefault('40')
    .transform((count) => Math.min(count, PAGE))
}
const source = {
  ...named,
  at: whole(1),
  of: z.enum(['message', 'item', 'event', 'metadata']),
  index: whole(0).prefault('0'),
  path: z.string().transform((text, context): (string | number)[] => {
    try {
      return z.array(z.union([z.string(), z.number()])).parse(JSON.parse(text))
    } catch {
      context.addIssue({ code: 'custom', message: 'not a path as JSON' })
      return z.NEVER
    }
  })
}

const edit = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('fork'), ...named, at: versionNumber, as: id.optional() }),
  z.strictObject({
    type: z.literal('rewind'),
    ...named,
    toVersion: versionNumber,
    expectedVersion: versionNumber,
    reason: z.string().max(10_000).optional()
  }),
  z.strictObject({ type: z.enum(['undo', 'redo']), ...named, expectedVersion: versionNumber }),
  z.strictObject({
    type: z.literal('metadata'),
    ...named,
    // JSON it is: it was parsed.
    set: z.custom<JsonObject>((value) => typeof value === 'object' && value !== null, 'not an object'),
    unset: z.array(z.string()),
    expectedVersion: versionNumber
  }),
  z.strictObject({ type: z.literal('delete'), ...named, expectedVersion: versionNumber })
])

/** The HTTP API: the service's own calls, in pieces that a page has room for. Reads make no session and do not count as use of one. */
export function api(history: AnyHistory, { about, actors, signal }: ApiOptions): Hono {
  const logs = new Logs(history)
  const app = new Hono()
  const ask = <S extends z.ZodType>(c: Context, schema: S): z.output<S> => parsed(schema, c.req.query())

  app.get('/about', (c) => c.json<About>(about))

  app.get('/users', async (c) => {
    const { search, after } = ask(c, z.object({ search: sought.default(''), after: id.optional() }))
    return c.json<UserPage>(await usersOf(history, search, after))
  })

  app.get('/sessions', async (c) => {
    const { user, search, after } = ask(
      c,
      z.object({ user: id, search: sought.default(''), after: z.string().optional() })
    )
    return c.json<SessionPage>(await sessionsOf(logs, history, user, search, after))
  })

  app.get('/moment', async (c) => {
    const { user, session, at, from, count } = ask(c, z.object({ ...named, at: point.optional(), ...windowed }))
    return c.json<Moment>(await momentOf(logs.of(user, session), at, from, count))
  })

  app.get('/messages', async (c) => {
    const {
      user,
      session,
      at,
      from = 0,
      count,
      raw
    } = ask(c, z.object({ ...named, at: whole(1), ...windowed, raw: z.literal('1').optional() }))
    const log = logs.of(user, session)
    const reading = await log.reading(await log.at(at))
    const items = raw ? rawItemsOf(reading, from, count) : itemsOf(reading, from, count)
    return c.json<Window>({ from, items })
  })

  app.get('/facts', async (c) => {
    const { user, session, at } = ask(c, z.object({ ...named, at: whole(1) }))
    const log = logs.of(user, session)
    return c.json(await factsOf(await log.reading(await log.at(at))))
  })

  app.get('/find', async (c) => {
    const { user, session, at, text, from } = ask(
      c,
      z.object({ ...named, at: whole(1), text: sought.min(1, 'empty'), from: whole(0).prefault('0') })
    )
    const log = logs.of(user, session)
    const { places, next } = placesOf(await log.reading(await log.at(at)), text, from, 1_000)
    return c.json<Found>({ messages: places, ...(next !== undefined && { next }) })
  })

  app.get('/event', async (c) => {
    const { user, session, version } = ask(c, z.object({ ...named, version: whole(1) }))
    return c.json<EventShown>((await eventOf(logs.of(user, session), version)).shown)
  })

  app.get('/events', async (c) => {
    const { user, session, from = 1, count } = ask(c, z.object({ ...named, ...windowed }))
    const log = logs.of(user, session)
    const { latest } = await log.newest()
    const first = Math.max(1, from)
    const events: EventLine[] = []
    const line = log.lines()
    if (first <= latest)
      for await (const event of log.events(first, Math.min(latest, first + count - 1))) events.push(await line(event))
    return c.json<EventPage>({ events: fitting(events, LIST_BYTES).kept, latest })
  })

  app.get('/outline', async (c) => {
    const { user, session, from, to, buckets } = ask(
      c,
      z.object({ ...named, from: whole(1).prefault('1'), to: whole(1).optional(), buckets: whole(1).prefault('400') })
    )
    return c.json(await logs.of(user, session).outline(from, to ?? Infinity, buckets))
  })

  app.get('/text', async (c) => {
    const { offset, ...where } = ask(c, z.object({ ...source, offset: whole(0).prefault('0') }))
    const text = await textAt(logs, where)
    return c.json<Text>({
      text: beginningOf(text.slice(offset, offset + TEXT_LENGTH + 1), TEXT_LENGTH),
      offset,
      length: text.length
    })
  })

  app.get('/file', async (c) => {
    const text = await textAt(logs, ask(c, z.object(source)))
    c.header('Content-Type', 'text/plain; charset=utf-8')
    c.header('Content-Disposition', 'attachment; filename="text.txt"')
    return stream(c, async (answer) => {
      // Not as one string of bytes beside the text.
      for (let at = 0; at < text.length;) {
        const piece = beginningOf(text.slice(at, at + TEXT_LENGTH), TEXT_LENGTH - 1)
        at += piece.length
        await answer.write(piece)
      }
    })
  })

  app.get('/image', async (c) => {
    const picture = pictureOf(await textAt(logs, ask(c, z.object(source))))
    if (!picture) throw new InvalidRequest('There is no picture at that path')
    c.header('Content-Type', picture.type)
    return c.body(new Uint8Array(picture.bytes))
  })

  const alignedAs = keptAlignments()
  app.get('/diff', async (c) => {
    const given = ask(
      c,
      z.object({
        ...named,
        at: point.optional(),
        otherUser: id,
        otherSession: id,
        otherAt: point.optional(),
        ...windowed
      })
    )
    const [a, b] = await Promise.all([
      sideOf(logs.of(given.user, given.session), given.at),
      sideOf(logs.of(given.otherUser, given.otherSession), given.otherAt)
    ])
    const alignment = await alignedAs(a, b)
    const { counts, places, lengths, rows } = alignment
    const from = given.from ?? Math.max(0, (places[0] ?? 0) - 3)
    return c.json<Diff>({
      a: a.side,
      b: b.side,
      counts,
      metadata: metadataChanges(a.session, b.session),
      length: rows.length,
      places,
      lengths,
      from,
      rows: rowsOf(alignment, a.reading, b.reading, from, given.count)
    })
  })

  app.get('/tree', async (c) => {
    const { user, session } = ask(c, z.object(named))
    return c.json(await treeOf(logs, user, session))
  })

  app.get('/follow', (c) => {
    const { user, session, from, after } = ask(
      c,
      z.object({ ...named, from: whole(1).prefault('1'), after: z.string().max(100).optional() })
    )
    // Where the browser has lost the connection, it says what it had last; where the page has closed it, the page does.
    const last = c.req.header('last-event-id') ?? after
    return live(c, signal, (sse, ended) => follow(sse, logs.of(user, session), last, from, ended))
  })

  app.get('/actors', (c) => {
    if (!actors)
      return failure(c, 404, 'NOT_FOUND', 'The service was not started with an actor log as its option inspect')
    return live(c, signal, (sse, ended) => sendActors(sse, actors, ended))
  })

  app.post(
    '/edit',
    bodyLimit({ maxSize: 1_000_000, onError: (c) => failure(c, 400, 'INVALID_REQUEST', 'The request is too large') }),
    async (c) => {
      if (!about.allowEdit)
        return failure(c, 403, 'READ_ONLY', 'The inspector was started without --allow-edit: it only reads')
      if (!/^application\/json\b/.test(c.req.header('content-type') ?? ''))
        throw new InvalidRequest('The request has to be JSON')
      const body: unknown = await c.req.json().catch(() => {
        throw new InvalidRequest('The request is no JSON')
      })
      return c.json<Edited>(await edited(logs, parsed(edit, body)))
    }
  )

  return app
}

function parsed<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const [issue] = result.error.issues
  const name = issue?.path.map((key) => String(key)).join('.') ?? ''
  throw new InvalidRequest(`${name === '' ? 'The request' : name}: ${issue?.message ?? 'cannot be read'}`)
}

async function usersOf(history: AnyHistory, search: string, after: string | undefined): Promise<UserPage> {
  const wanted = search.trim().toLowerCase()
  const users: string[] = []
  let left = LIST_BYTES
  let last = after
  for (let seen = 0; seen < LOOKED_AT;) {
    const page = await history.listUsers({ limit: PAGE, after: last })
    for (const user of page) {
      if (user.toLowerCase().includes(wanted)) {
        left -= bytesOfJson(user) + 1
        if (left < 0 || users.length === PAGE) return { users, ...(last !== undefined && { after: last }) }
        users.push(user)
      }
      last = user
    }
    if (page.length < PAGE) return { users }
    seen += page.length
  }
  return { users, ...(last !== undefined && { after: last }) }
}

async function sessionsOf(
  logs: Logs,
  history: AnyHistory,
  user: string,
  search: string,
  cursor: string | undefined
): Promise<SessionPage> {
  let after = cursor === undefined ? undefined : cursorOf(cursor)
  // By its name also one that is deleted, which no list has.
  const sessions = after === undefined && search.trim() !== '' ? await deletedOf(logs, user, search.trim()) : []
  const page = (): SessionPage => ({ sessions, ...(after && { after: JSON.stringify(after) }) })
  let left = LIST_BYTES
  for (let seen = 0; seen < LOOKED_AT;) {
    const found = await history.listSessions(user, { limit: PAGE, after })
    for (const session of found) {
      const line = sessionLine(session)
      if (isSought(line, search)) {
        left -= bytesOfJson(line) + 1
        if (left < 0 || sessions.length === PAGE) return page()
        sessions.push(line)
      }
      after = { id: session.id, updatedAt: session.updatedAt }
    }
    if (found.length < PAGE) return { sessions }
    seen += found.length
  }
  return page()
}

function cursorOf(text: string): { readonly id: string; readonly updatedAt: number } {
  try {
    return z.strictObject({ id, updatedAt: z.int().min(0) }).parse(JSON.parse(text))
  } catch {
    throw new InvalidRequest('after: is not what a page before has given')
  }
}

async function deletedOf(logs: Logs, userId: string, name: string): Promise<SessionLine[]> {
  if (!id.safeParse(name).success) return []
  const log = logs.of(userId, name)
  try {
    const { latest, session, isExpired } = await log.newest()
    if (session && !isExpired) return []
    const [first, last] = [await log.event(1), await log.event(latest)]
    const [createdAt, updatedAt] = [first.at, last.at]
    return [{ userId, id: name, version: latest, createdAt, updatedAt, facts: [], format: '', isDeleted: true }]
  } catch (error) {
    if (isTurnlogError(error, 'SESSION_NOT_FOUND') || isTurnlogError(error, 'CORRUPT_LOG')) return []
    throw error
  }
}

// The state at a version or time, by default the newest.
async function stateOf(
  log: Log,
  at: number | Date | undefined
): Promise<{ readonly newest: Newest; readonly version: number; readonly session: Session<unknown> | null }> {
  const newest = await log.newest()
  const version = await log.versionOf(at, newest)
  return { newest, version, session: version === newest.latest ? newest.session : await log.at(version) }
}

async function momentOf(
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

async function eventOf(
  log: Log,
  version: number
): Promise<{ readonly event: SessionEvent<unknown>; readonly shown: EventShown }> {
  const event = await log.event(version)
  const line = await log.lines()(event)
  return { event, shown: { ...cutJson(event as unknown as JsonObject, EVENT_BYTES), line } }
}

async function textAt(
  logs: Logs,
  { user, session, at, of, index, path }: z.output<z.ZodObject<typeof source>>
): Promise<string> {
  const log = logs.of(user, session)
  const text = atPath(await valueOf(log, at, of, index), path)
  if (typeof text !== 'string') throw new InvalidRequest('There is no text at that path')
  return text
}

async function valueOf(log: Log, at: number, of: z.output<typeof source.of>, index: number): Promise<Json | undefined> {
  if (of === 'event') return (await log.event(at)) as unknown as Json
  const session = await log.at(at)
  if (of === 'metadata') return session?.metadata
  const reading = await log.reading(session)
  return (of === 'message' ? shownOf(reading) : reading.items)[index] as Json | undefined
}

/** What is compared. */
interface Side {
  readonly side: DiffSide
  readonly session: Session<unknown> | null
  readonly reading: Reading
}

async function sideOf(log: Log, at: number | Date | undefined): Promise<Side> {
  const { newest, version, session } = await stateOf(log, at)
  const reading = await log.reading(session)
  const title = session ? titleOf(session.metadata) : undefined
  const side = {
    userId: log.userId,
    id: log.sessionId,
    version,
    latest: newest.latest,
    ...(title !== undefined && { title }),
    count: shownOf(reading).length
  }
  return { side, session, reading }
}

// Whoever scrolls asks for the same again: the last is kept, by the messages themselves, as those of a version may be others after a purge.
function keptAlignments(): (a: Side, b: Side) => Promise<Alignment> {
  let last: { readonly a: Reading; readonly b: Reading; readonly alignment: Promise<Alignment> } | undefined
  return ({ reading: a }, { reading: b }) => {
    if (!last || !areSame(shownOf(last.a), shownOf(a)) || !areSame(shownOf(last.b), shownOf(b)))
      last = { a, b, alignment: align(a, b) }
    return last.alignment
  }
}

// What is sent as it comes, until the reader leaves or the server stops.
function live(
  c: Context,
  stopped: AbortSignal,
  send: (sse: SSEStreamingApi, ended: AbortSignal) => Promise<void>
): Response {
  return streamSSE(c, async (sse) => {
    const left = new AbortController()
    sse.onAbort(() => left.abort())
    const ended = AbortSignal.any([stopped, left.signal])
    // Says that the line is whole, also where nothing comes.
    const beat = setInterval(() => void sse.writeSSE({ event: 'beat', data: '' }), 15_000)
    try {
      await send(sse, ended)
    } catch (error) {
      if (ended.aborted) return
      const { code, message } = failureOf(error)
      await sse.writeSSE({ event: 'failure', data: JSON.stringify({ error: { code, message } }) })
    } finally {
      clearInterval(beat)
    }
  })
}

async function follow(
  sse: SSEStreamingApi,
  log: Log,
  lastSent: string | undefined,
  from: number,
  ended: AbortSignal
): Promise<void> {
  const { latest } = await log.newest()
  // Also where nothing is new: then it is known that it follows.
  await sse.writeSSE({ event: 'following', data: '{}' })
  const sent = Number(/^(\d{1,15})-/.exec(lastSent ?? '')?.[1] ?? 0)
  // Where another event is in that place now, the session was purged, and begun anew.
  const isStill = sent === 0 || (sent <= latest && sentId(await log.event(sent)) === lastSent)
  if (isStill) {
    const line = log.lines()
    for await (const batch of batches(log.live(sent > 0 ? sent + 1 : from, ended), FRAME)) {
      const events: EventLine[] = []
      for (const event of batch) events.push(await line(event))
      const last = batch.at(-1)!
      const data: Followed = { events, latest: last.version }
      await sse.writeSSE({ event: 'events', id: sentId(last), data: JSON.stringify(data) })
    }
  }
  if (ended.aborted) return
  // What is followed ends also where the service stops, or the store is away.
  await log.newest().catch((error: unknown) => {
    if (!isTurnlogError(error, 'SESSION_NOT_FOUND') && !isTurnlogError(error, 'CORRUPT_LOG')) throw error
  })
  await sse.writeSSE({ event: 'gone', data: '{}' })
}

// By its version alone one cannot tell it from one of a log that was begun anew. An id may have line feeds in it.
function sentId({ version, id: eventId }: SessionEvent<unknown>): string {
  return `${version}-${hashJson(eventId).slice(0, 16)}`
}

async function sendActors(sse: SSEStreamingApi, actors: ActorLog, ended: AbortSignal): Promise<void> {
  let after = 0
  let wake: () => void = () => undefined
  const off = actors.listen(() => wake())
  ended.addEventListener('abort', () => wake())
  try {
    while (!ended.aborted) {
      const news = new Promise<void>((resolve) => (wake = resolve))
      const state: Actors = actors.state(after)
      after = state.events.at(-1)?.number ?? after
      await sse.writeSSE({ event: 'actors', data: JSON.stringify(state) })
      await news
      // What comes at once goes together.
      await sse.sleep(100)
    }
  } finally {
    off()
  }
}

function hasMoved(expected: number, actual: number): Error {
  const message = `Expected version ${expected}; the log is at version ${actual}`
  return turnlogError('VERSION_CONFLICT', message, { expected, actual })
}

async function edited(logs: Logs, change: z.output<typeof edit>): Promise<Edited> {
  const log = logs.of(change.user, change.session)
  const { ref } = log
  // Of what is absent, some calls say nothing, and some would make it.
  const { latest, session, isExpired } = await log.newest()
  try {
    switch (change.type) {
      case 'fork': {
        const options = { at: change.at, sessionId: change.as }
        const fork = await log.with((history) => history.fork(ref, options))
        return { userId: fork.userId, id: fork.id, version: fork.version }
      }
      case 'rewind': {
        const { toVersion, expectedVersion, reason } = change
        const { version } = await log.with((history) => history.rewind(ref, toVersion, { expectedVersion, reason }))
        return { ...ref, version }
      }
      case 'undo':
      case 'redo': {
        const { type, expectedVersion } = change
        const { version } = await log.with((history) => history[type](ref, { expectedVersion }))
        return { ...ref, version }
      }
      case 'metadata': {
        if (!session || isExpired) throw sessionNotFound(ref)
        const { set, unset, expectedVersion } = change
        const after = await log.with((history) => history.updateMetadata(ref, { set, unset }, { expectedVersion }))
        return { ...ref, version: after?.version ?? latest }
      }
      case 'delete':
        // The service deletes whatever there is: what was written since it was shown would be hidden unseen.
        if (latest !== change.expectedVersion) throw hasMoved(change.expectedVersion, latest)
        await log.with((history) => history.deleteSession(log.userId, log.sessionId))
        return { ...ref, version: (await log.newest()).latest }
    }
  } catch (error) {
    throw error instanceof TypeError ? new InvalidRequest(error.message) : error
  }
}
