import { createInterface } from 'node:readline'
import type { Session } from '../session.ts'
import { historyOf, Interrupted, pointOf, sessionOf, UsageError, type Context } from './context.ts'
import { counted, print, printJson, visible } from './output.ts'

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
  { yes, json }: Options & { readonly yes?: boolean }
): Promise<void> {
  const { history } = context
  if (sessionId !== undefined) {
    // So that one that is deleted already is an error.
    await sessionOf(context, userId, sessionId, { last: 1 })
    await history.deleteSession(userId, sessionId)
    return json ? printJson({ deleted: 1 }) : print('deleted; its log stays until it is purged')
  }
  const listed = await history.listSessions(userId)
  if (listed.length === 0) throw new Error(`User ${JSON.stringify(userId)} has no sessions`)
  const all = `${counted(listed.length, 'session')} of user ${visible(userId, { isLine: true })}`
  const isMeant = yes ?? (await isConfirmed(`Delete ${all}?`, `this deletes ${all}`))
  const deleted = isMeant ? await history.deleteUserSessions(userId) : 0
  if (json) return printJson({ deleted })
  print(
    isMeant ? `${counted(deleted, 'session')} deleted; their logs stay until they are purged` : 'nothing was deleted'
  )
}

/** Erases a session's log. */
export async function purge(
  context: Context,
  userId: string,
  sessionId: string,
  { yes, json }: Options & { readonly yes?: boolean }
): Promise<void> {
  await historyOf(context, userId, sessionId)
  const name = visible(sessionId, { isLine: true })
  const isMeant = yes ?? (await isConfirmed(`Erase session ${name} for good?`, 'purge erases for good'))
  if (isMeant) await context.history.purgeSession(userId, sessionId)
  if (json) return printJson({ purged: isMeant ? 1 : 0 })
  print(isMeant ? 'erased' : 'nothing was erased')
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
  print(`${visible(id, { isLine: true })} is at version ${version}, with ${counted(messages.length, 'message')}`)
}
