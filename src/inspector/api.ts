import { Hono, type Context } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { stream } from 'hono/streaming'
import { z } from 'zod'
import { isTurnlogError } from '../errors.ts'
import type { Json } from '../json.ts'
import type { Session } from '../session.ts'
import type { ActorLog } from './actors.ts'
import { align, metadataChanges, rowsOf, type Alignment } from './compare.ts'
import { atPath, beginningOf, bytesOfJson, fitting, pictureOf } from './cut.ts'
import { edit, edited } from './edits.ts'
import { failure, InvalidRequest } from './failure.ts'
import { follow, live, sendActors } from './live.ts'
import { isSought, sessionLine, titleOf } from './lines.ts'
import { type Log, Logs, type AnyHistory } from './log.ts'
import { areSame, factsOf, itemsOf, placesOf, rawItemsOf, shownOf, type Reading } from './messages.ts'
import { briefMomentOf, eventOf, momentOf, stateOf } from './moment.ts'
import { id, named, PAGE, parsed, point, whole, windowed } from './query.ts'
import { treeOf } from './tree.ts'
import type {
  About,
  Diff,
  DiffSide,
  Edited,
  EventLine,
  EventPage,
  EventShown,
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

/** How many users and sessions are looked at for one answer to a search. */
const LOOKED_AT = 5_000
/** Of a list of users, sessions or events: ids may be long. */
const LIST_BYTES = 150_000
/** UTF-16 code units of a text in one answer: six bytes each at worst. */
const TEXT_LENGTH = 30_000

const sought = z.string().max(1_000, 'longer than 1,000 characters')
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
    const { user, session, at, from, count, brief } = ask(
      c,
      z.object({ ...named, at: point.optional(), ...windowed, brief: z.literal('1').optional() })
    )
    const log = logs.of(user, session)
    const end = brief && at === undefined && from === undefined ? await briefMomentOf(log, count) : undefined
    return c.json<Moment>(end ?? (await momentOf(log, at, from, count)))
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
