import { createInterface } from 'node:readline'
import { isTurnlogError } from '../errors.ts'
import { sessionNotFound, type Session } from '../session.ts'
import {
  checkUser,
  headsOf,
  historyOf,
  Interrupted,
  noSessions,
  pointOf,
  sessionOf,
  UsageError,
  type Context
} from './context.ts'
import { counted, print, printJson, say, visibleLine, withProgress } from './output.ts'

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

/** Deletes a session, or all of a user. Gives whether all that were to be deleted were. */
export async function remove(
  context: Context,
  userId: string,
  sessionId: string | undefined,
  { yes, json }: Options & { readonly yes?: boolean }
): Promise<boolean> {
  const { history } = context
  if (sessionId !== undefined) {
    // So that one that is deleted already is an error.
    await sessionOf(context, userId, sessionId, { last: 1 })
    await history.deleteSession(userId, sessionId)
    if (json) printJson({ deleted: 1 })
    else print('deleted; its log stays until it is purged')
    return true
  }
  await checkUser(context, userId)
  const ids = (await history.listSessions(userId)).map(({ id }) => id)
  const isMeant = yes ?? (await isConfirmedOf(userId, ids.length, 'delete'))
  let [deleted, damaged] = [0, 0]
  if (isMeant)
    await withProgress('delete', ids.length, async (advance) => {
      for (const id of ids) {
        context.signal.throwIfAborted()
        try {
          await history.deleteSession(userId, id)
          deleted++
        } catch (error) {
          // What cannot be read cannot be written to. The others can.
          if (!isTurnlogError(error, 'CORRUPT_LOG') && !isTurnlogError(error, 'UNKNOWN_EVENT')) throw error
          say(`turnlog: ${error.code}: ${visibleLine(error.message)}: it is not deleted, but can be purged`)
          damaged++
        }
        advance()
      }
    })
  if (json) printJson({ deleted })
  else
    print(
      isMeant ? `${counted(deleted, 'session')} deleted; their logs stay until they are purged` : 'nothing was deleted'
    )
  return damaged === 0
}

/** Erases a session's log, or all of a user, also of deleted sessions. */
export async function purge(
  context: Context,
  userId: string,
  sessionId: string | undefined,
  { yes, json }: Options & { readonly yes?: boolean }
): Promise<void> {
  const ids = sessionId === undefined ? await idsOf(context, userId) : [sessionId]
  if (sessionId !== undefined && !(await hasLog(context, userId, sessionId)))
    throw sessionNotFound({ userId, id: sessionId })
  if (ids.length === 0) throw noSessions(userId)
  const isMeant =
    yes ??
    (sessionId === undefined
      ? await isConfirmedOf(userId, ids.length, 'erase')
      : await isConfirmed(`Erase session ${visibleLine(sessionId)} for good?`, 'purge erases for good'))
  let purged = 0
  if (isMeant)
    await withProgress('purge', ids.length, async (advance) => {
      for (const id of ids) {
        context.signal.throwIfAborted()
        await context.history.purgeSession(userId, id)
        purged++
        advance()
      }
    })
  if (json) return printJson({ purged })
  print(isMeant ? (sessionId === undefined ? `${counted(purged, 'session')} erased` : 'erased') : 'nothing was erased')
}

async function idsOf(context: Context, userId: string): Promise<string[]> {
  const ids: string[] = []
  for await (const { summary } of headsOf(context, userId)) ids.push(summary.sessionId)
  return ids
}

// Also one of which nothing can be read.
async function hasLog({ store }: Context, userId: string, sessionId: string): Promise<boolean> {
  try {
    return (await store.head({ userId, sessionId })) !== null
  } catch (error) {
    if (isTurnlogError(error, 'CORRUPT_LOG')) return true
    throw error
  }
}

function isConfirmedOf(userId: string, count: number, verb: 'delete' | 'erase'): Promise<boolean> {
  const all = `${counted(count, 'session')} of user ${visibleLine(userId)}`
  const [question, what] = verb === 'delete' ? ['Delete', 'this deletes'] : ['Erase for good', 'this erases for good']
  return isConfirmed(`${question} ${all}?`, `${what} ${all}`)
}

/** Asks on the terminal; whoever just closes it has not said yes. */
async function isConfirmed(question: string, what: string): Promise<boolean> {
  if (!process.stdin.isTTY) throw new UsageError(`${what}: --yes says so where nobody can be asked`)
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await new Promise<string>((resolve, reject) => {
      terminal.once('close', () => resolve('')).once('SIGINT', () => reject(new Interrupted('SIGINT')))
      terminal.question(`${question} [y/N] `, resolve)
    })
    return /^y(es)?$/i.test(answer.trim())
  } finally {
    terminal.close()
  }
}

function printResult(session: Session<unknown>, json: boolean | undefined): void {
  const { userId, id, version, messages } = session
  if (json) return printJson({ userId, id, version, messages: messages.length })
  print(`${visibleLine(id)} is at version ${version}, with ${counted(messages.length, 'message')}`)
}
