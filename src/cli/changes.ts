import { createInterface } from 'node:readline/promises'
import type { Session } from '../session.ts'
import { historyOf, pointOf, UsageError, type Context } from './context.ts'
import { print, printJson, visible } from './output.ts'

/** What all of these take. */
interface Options {
  readonly json?: boolean
}

/** Forks a session. */
export async function fork(
  context: Context,
  userId: string,
  sessionId: string,
  { at, as, json }: Options & { readonly at?: string; readonly as?: string }
): Promise<void> {
  const history = await historyOf(context, userId, sessionId)
  const options = { at: at === undefined ? undefined : pointOf(at), sessionId: as }
  printResult(await history.fork({ userId, id: sessionId }, options), json)
}

/** Sets a session back to a version. */
export async function rewind(
  context: Context,
  userId: string,
  sessionId: string,
  toVersion: number,
  { reason, json }: Options & { readonly reason?: string }
): Promise<void> {
  const history = await historyOf(context, userId, sessionId)
  printResult(await history.rewind({ userId, id: sessionId }, toVersion, { reason }), json)
}

/** Goes a step back or forth. */
export async function step(
  context: Context,
  kind: 'undo' | 'redo',
  userId: string,
  sessionId: string,
  { json }: Options
): Promise<void> {
  const history = await historyOf(context, userId, sessionId)
  printResult(await history[kind]({ userId, id: sessionId }), json)
}

/** Deletes a session, or all of a user. */
export async function remove(
  context: Context,
  userId: string,
  sessionId: string | undefined,
  { json }: Options
): Promise<void> {
  let deleted: number
  if (sessionId === undefined) deleted = await context.history.deleteUserSessions(userId)
  else {
    await historyOf(context, userId, sessionId)
    await context.history.deleteSession(userId, sessionId)
    deleted = 1
  }
  if (json) return printJson({ deleted })
  print(deleted === 1 ? 'deleted; its log stays until it is purged' : `${deleted} sessions deleted; their logs stay`)
}

/** Erases a session's log. */
export async function purge(
  context: Context,
  userId: string,
  sessionId: string,
  { yes, json }: Options & { readonly yes?: boolean }
): Promise<void> {
  await historyOf(context, userId, sessionId)
  if (!yes && !(await isConfirmed(`Erase session ${visible(sessionId, { isLine: true })} for good?`)))
    return print('nothing was erased')
  await context.history.purgeSession(userId, sessionId)
  if (json) return printJson({ purged: 1 })
  print('erased')
}

async function isConfirmed(question: string): Promise<boolean> {
  if (!process.stdin.isTTY) throw new UsageError('purge erases for good: --yes says so where nobody can be asked')
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const answer = await terminal.question(`${question} [y/N] `)
  terminal.close()
  return /^y(es)?$/i.test(answer.trim())
}

function printResult(session: Session<unknown>, json: boolean | undefined): void {
  const { userId, id, version, messages } = session
  if (json) return printJson({ userId, id, version, messages: messages.length })
  print(`${visible(id, { isLine: true })} is at version ${version}, with ${messages.length} messages`)
}
