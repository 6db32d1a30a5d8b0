import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { z } from 'zod'
import { DEFAULT_FORMAT } from '../adapters/shared/reading.ts'
import { noSessionThen } from '../content.ts'
import { openStore } from '../open-store.ts'
import type { InspectionObserver } from '../options.ts'
import type { SessionHistoryService } from '../service.ts'
import { createSessionHistory } from '../session-history.ts'
import { sessionNotFound, type Session } from '../session.ts'
import type { EventStore, Head } from '../store.ts'
import { resultCode } from '../stores/sqlite/database.ts'
import { kindOfFile } from '../stores/sqlite/kind.ts'
import { counted, say, visibleLine } from './output.ts'

/** What every command works with. */
export interface Context {
  readonly store: EventStore
  /** Sessions of the default message; `get` and writes make none. */
  readonly history: SessionHistoryService
  /** The file of the store, where it is one. */
  readonly path: string | undefined
  /**
   * Aborted by the first SIGINT or SIGTERM, with {@link Interrupted} as its reason; a second one ends the process. Whoever never
   * asks for it dies of the first, as any process does.
   */
  readonly signal: AbortSignal
}

/** A service that sees sessions of whatever messages. */
export type AnyHistory = SessionHistoryService<unknown, unknown>

/** The command was used wrongly. */
export class UsageError extends Error {}

/** The command was told to stop. */
export class Interrupted extends Error {
  readonly exitCode: number

  constructor(signal: NodeJS.Signals) {
    super('interrupted')
    this.exitCode = 128 + constants.signals[signal]
  }
}

let interruption: AbortController | undefined

/** What {@link Context} has as its signal. */
export function interruptedBySignals(): AbortSignal {
  if (interruption) return interruption.signal
  const controller = (interruption = new AbortController())
  const stop = (signal: NodeJS.Signals): void => {
    const interrupted = new Interrupted(signal)
    if (controller.signal.aborted) process.exit(interrupted.exitCode)
    controller.abort(interrupted)
  }
  process.on('SIGINT', stop).on('SIGTERM', stop)
  return controller.signal
}

/** Why the command was told to stop, if it was: then whatever else has failed has failed for that. */
export function interruptionOf(): Interrupted | undefined {
  return interruption?.signal.aborted ? (interruption.signal.reason as Interrupted) : undefined
}

/**
 * The store of an address, not yet open, and its file where it is one.
 *
 * @throws {UsageError} where the address names none
 */
export async function storeAt(
  url: string,
  { makes = false }: { readonly makes?: boolean } = {}
): Promise<Pick<Context, 'store' | 'path'>> {
  let store: EventStore
  try {
    store = openStore(url)
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
  const path = /^sqlite:(.*)$/s.exec(url)?.[1]
  if (path !== undefined) await checkFile(path, makes)
  else if (makes && url === 'memory:') say('turnlog: the store is in memory: nothing of it is left when this ends')
  return { store, path }
}

/** Opens the store, runs the command, and closes the store. */
export async function withHistory<T>(
  url: string | undefined,
  work: (context: Context) => Promise<T>,
  { makes = false, inspect }: { readonly makes?: boolean; readonly inspect?: InspectionObserver } = {}
): Promise<T> {
  if (!url)
    throw new UsageError(
      'where are the sessions? give --store sqlite:PATH, postgres://… or nats://…, or set TURNLOG_STORE'
    )
  const { store, path } = await storeAt(url, { makes })
  const history = await createSessionHistory({
    store,
    missing: { get: 'null', append: makes ? 'create' : 'throw' },
    // Of what is in files already, the limit keeps nobody from anything.
    maxMessageBytes: Infinity,
    inspect,
    logger: { warn: (message) => say(visibleLine(message)) }
  })
  try {
    return await work({
      store,
      history,
      path,
      get signal() {
        return interruptedBySignals()
      }
    })
  } finally {
    await history.stop()
  }
}

// A name that was mistyped would make an empty file, or tables in a database that is somebody else's.
async function checkFile(path: string, makes: boolean): Promise<void> {
  if (!existsSync(path)) {
    if (makes) return
    throw new Error(`there is no file ${path}`)
  }
  let kind: Awaited<ReturnType<typeof kindOfFile>>
  try {
    kind = await kindOfFile(path)
  } catch (error) {
    // In a database that is in use for so long nothing is made. What else keeps it from being read, the store says itself.
    if (resultCode(error) === 'BUSY') throw error
    return
  }
  if (kind !== 'store' && !(makes && kind === 'empty')) throw new Error(`${path} is no turnlog store`)
}

/**
 * The service for a session's messages, of whatever format they are.
 *
 * @throws `SESSION_NOT_FOUND` where there is no log of that name
 */
export async function historyOf({ store, history }: Context, userId: string, sessionId: string): Promise<AnyHistory> {
  const head = await store.head({ userId, sessionId })
  if (!head) throw sessionNotFound({ userId, id: sessionId })
  const { format } = head.summary
  // What is stored is taken as it is.
  const any = history as unknown as AnyHistory
  return format === DEFAULT_FORMAT ? any : history.withMessage(z.unknown(), { format })
}

/**
 * A session, now or at a version or time.
 *
 * @throws `SESSION_NOT_FOUND`
 */
export async function sessionOf(
  context: Context,
  userId: string,
  sessionId: string,
  options: { readonly at?: number | Date | undefined; readonly last?: number | undefined } = {}
): Promise<Session<unknown>> {
  const session = await (await historyOf(context, userId, sessionId)).getSession(userId, sessionId, options)
  if (session) return session
  const { at } = options
  const head = at === undefined ? null : await context.store.head({ userId, sessionId })
  // There is one, but there was none then.
  if (head) throw typeof at === 'number' ? noSessionThen(at, head.version) : noSessionThen(0, head.version, at)
  throw sessionNotFound({ userId, id: sessionId })
}

/**
 * Makes sure that a user has sessions, as one whose name was mistyped has none.
 *
 * @throws {Error} where there are none, or only deleted ones
 */
export async function checkUser(context: Context, userId: string): Promise<void> {
  if ((await context.history.listSessions(userId, { limit: 1 })).length > 0) return
  let deleted = 0
  for await (const { summary } of headsOf(context, userId)) if (summary.deleted) deleted++
  throw noSessions(userId, deleted)
}

/** The error for a user who has no sessions but so many that are deleted. */
export function noSessions(userId: string, deleted = 0): Error {
  const but = deleted === 0 ? '' : `, but ${counted(deleted, 'deleted one')}`
  return new Error(`User ${JSON.stringify(userId)} has no sessions${but}`)
}

/**
 * A version, or a date in the form of ISO 8601: `2026-11-22`, `2026-11-22T10:00`, `2026-11-22 10:00:05.123`; in the local time zone,
 * unless it ends with one.
 */
export function pointOf(text: string): number | Date {
  if (/^\d+$/.test(text)) return Number(text)
  const [, year, month, day, hour = '00:00', zone = ''] = DATE.exec(text) ?? []
  const date = new Date(`${year}-${month}-${day}T${hour}${zone.toUpperCase()}`)
  // Date takes the 31st of each month.
  const isThere = Number(day) <= new Date(Number(year), Number(month), 0).getDate()
  if (isThere && !Number.isNaN(date.getTime())) return date
  throw new UsageError(`${JSON.stringify(text)} is neither a version nor a date such as 2026-11-22T10:00`)
}

const DATE = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(Z|[+-]\d\d:\d\d)?)?$/i

/** The session that `SESSION`, `SESSION@VERSION` or `SESSION@DATE` stands for; one that is called so, with an @, comes first. */
export async function versionedOf(context: Context, userId: string, text: string): Promise<Session<unknown>> {
  const [, id, point] = /^(.+)@([^@]+)$/s.exec(text) ?? []
  if (id === undefined || point === undefined || (await context.store.head({ userId, sessionId: text })))
    return sessionOf(context, userId, text)
  let at: number | Date
  try {
    at = pointOf(point)
  } catch {
    return sessionOf(context, userId, text)
  }
  return sessionOf(context, userId, id, { at })
}

/** A whole number. */
export function countOf(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new UsageError(`${JSON.stringify(text)} is not a whole number`)
  return Number(text)
}

/** All logs, also of deleted sessions, or those of a user. */
export async function* headsOf({ store }: Pick<Context, 'store'>, userId?: string): AsyncGenerator<Head> {
  for (let after: string | undefined; ;) {
    const page = await store.heads({ limit: PAGE, ...(after !== undefined && { after }) })
    for (const head of page) if (userId === undefined || head.summary.userId === userId) yield head
    if (page.length < PAGE) return
    after = page.at(-1)!.logId
  }
}

const PAGE = 1000
