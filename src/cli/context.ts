import { existsSync } from 'node:fs'
import { z } from 'zod'
import { storeOfEnvironment, openStore } from '../open-store.ts'
import type { SessionHistoryService } from '../service.ts'
import { createSessionHistory } from '../session-history.ts'
import { sessionNotFound, type Session } from '../session.ts'
import type { EventStore } from '../store.ts'
import { say, visible } from './output.ts'

/** What every command works with. */
export interface Context {
  readonly store: EventStore
  /** Sessions of the default message; `get` and writes make none. */
  readonly history: SessionHistoryService
}

/** A service that sees sessions of whatever messages. */
export type AnyHistory = SessionHistoryService<unknown, unknown>

/** The command was used wrongly. */
export class UsageError extends Error {}

/** Opens the store, runs the command, and closes the store. */
export async function withHistory<T>(
  url: string | undefined,
  work: (context: Context) => Promise<T>,
  { makes = false }: { readonly makes?: boolean } = {}
): Promise<T> {
  let store: EventStore
  try {
    store = url === undefined ? storeOfEnvironment() : openStore(url)
  } catch (error) {
    throw new UsageError(`${(error as Error).message}: give --store, or set TURNLOG_STORE`)
  }
  // A name that was mistyped would make an empty file.
  const path = /^sqlite:(.*)$/s.exec(url ?? '')?.[1]
  if (!makes && path !== undefined && !existsSync(path)) throw new Error(`there is no file ${path}`)
  const history = await createSessionHistory({
    store,
    missing: { get: 'null', append: makes ? 'create' : 'throw' },
    logger: { warn: (message) => say(visible(message, { isLine: true })) }
  })
  try {
    return await work({ store, history })
  } finally {
    await history.stop()
  }
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

const DEFAULT_FORMAT = 'message'

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
  if (!session) throw sessionNotFound({ userId, id: sessionId })
  return session
}

/** A version, or a date. */
export function pointOf(text: string): number | Date {
  if (/^\d+$/.test(text)) return Number(text)
  const date = new Date(text)
  if (Number.isNaN(date.getTime())) throw new UsageError(`${JSON.stringify(text)} is neither a version nor a date`)
  return date
}

/** A whole number. */
export function countOf(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new UsageError(`${JSON.stringify(text)} is not a whole number`)
  return Number(text)
}

/** `SESSION` or `SESSION@VERSION`. */
export function versionedOf(text: string): { readonly id: string; readonly at?: number } {
  const [, id, at] = /^(.+)@(\d+)$/s.exec(text) ?? []
  return id === undefined ? { id: text } : { id, at: Number(at) }
}
