import { randomBytes } from 'node:crypto'
import { createReadStream, createWriteStream, existsSync } from 'node:fs'
import { readFile, rename, rm } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import type { TurnlogError } from '../errors.ts'
import { sessionExists } from '../session.ts'
import { UsageError, type Context } from './context.ts'
import { conversationLine, metadataOf, readConversations, type Conversation } from './conversations.ts'
import { print, printJson, say, visible, withProgress } from './output.ts'

/** Options of `import`. */
export interface ImportOptions {
  readonly user?: string
  readonly session?: string
  readonly skipInvalid?: boolean
  readonly skipExisting?: boolean
  readonly json?: boolean
}

/** Who conversations are of that name nobody. */
export const IMPORT_USER = 'imported'

/** Stores what is in files: exports, or conversations. */
export async function importFiles(context: Context, files: readonly string[], options: ImportOptions): Promise<void> {
  const imported: { userId: string; id: string; version: number }[] = []
  for (const file of files) imported.push(...(await importFile(context, file, options)))
  if (options.json) return printJson(imported)
  const users = new Set(imported.map(({ userId }) => userId))
  for (const user of users) {
    const sessions = imported.filter(({ userId }) => userId === user)
    const [first] = sessions
    print(
      `${sessions.length} sessions of user ${visible(user, { isLine: true })}, such as ${visible(first!.id, { isLine: true })}`
    )
  }
  if (imported.length === 0) print('nothing was imported')
}

async function importFile(
  context: Context,
  file: string,
  { user, session, skipInvalid = false, skipExisting = false }: ImportOptions
): Promise<{ userId: string; id: string; version: number }[]> {
  const name = file === '-' ? 'stdin' : file
  const onInvalid = skipInvalid
    ? (error: TurnlogError): void => say(`turnlog: left out: ${visible(error.message, { isLine: true })}`)
    : undefined
  const bytes = file === '-' ? await buffer(process.stdin) : undefined
  if (await isExport(bytes ?? file)) {
    const source = bytes ? [bytes] : createReadStream(file)
    const given = { file: name, userId: user, sessionId: session, onInvalid }
    const sessions = await context.history.importSession(source, given)
    return sessions.map(({ userId, id, version }) => ({ userId, id, version }))
  }
  const text = bytes ? bytes.toString('utf8') : await readFile(file, 'utf8')
  const found = readConversations(text, name, onInvalid)
  if (session !== undefined && found.length > 1)
    throw new UsageError(`--session names one session, but ${name} has ${found.length}`)
  const userId = user ?? IMPORT_USER
  const wanted: Conversation[] = []
  for (const conversation of found) {
    const id = session ?? conversation.id
    if (wanted.some((other) => other.id === id))
      throw new UsageError(`${name} names session ${JSON.stringify(id)} twice`)
    const exists = (await context.store.head({ userId, sessionId: id })) !== null
    if (exists && !skipExisting) throw sessionExists({ userId, id })
    if (!exists) wanted.push({ ...conversation, id })
  }
  return withProgress('import', wanted.length, async (advance) => {
    const stored = []
    for (const conversation of wanted) {
      const ref = { userId, id: conversation.id }
      const changes = [
        { type: 'metadata' as const, set: metadataOf(conversation) },
        { type: 'append' as const, messages: conversation.messages }
      ]
      // One commit: a conversation is there whole, or not at all.
      const made = await context.history.commit(ref, changes, { expectedVersion: 'none' })
      stored.push({ ...ref, version: made!.version })
      advance()
    }
    return stored
  })
}

async function isExport(file: string | Buffer): Promise<boolean> {
  const head = '{"turnlog":'
  if (typeof file !== 'string') return file.toString('utf8', 0, head.length) === head
  for await (const chunk of createReadStream(file, { end: head.length - 1 })) return String(chunk) === head
  return false
}

/** Options of `export`. */
export interface ExportOptions {
  readonly output?: string
  readonly force?: boolean
  readonly format: 'turnlog' | 'openai'
}

/** Writes sessions of a user to a file or the standard output. */
export async function exportSessions(
  context: Context,
  userId: string,
  sessionId: string | undefined,
  { output, force = false, format }: ExportOptions
): Promise<void> {
  const lines =
    format === 'turnlog'
      ? context.history.exportSession(userId, sessionId)
      : conversationLines(context, userId, sessionId)
  if (output === undefined) return pipeline(lines, process.stdout, { end: false })
  if (existsSync(output) && !force) throw new UsageError(`${output} exists; --force replaces it`)
  // Beside it, and then put in its place: it is never there by half.
  const temporary = `${output}.${randomBytes(4).toString('hex')}.tmp`
  try {
    await pipeline(lines, createWriteStream(temporary, { flags: 'wx', flush: true }))
    await rename(temporary, output)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

async function* conversationLines(
  { history }: Context,
  userId: string,
  sessionId: string | undefined
): AsyncGenerator<string> {
  const ids =
    sessionId === undefined ? (await history.listSessions(userId)).map(({ id }) => id).sort(inOrder) : [sessionId]
  for (const id of ids) {
    const session = await history.getSession(userId, id)
    if (session) yield conversationLine(session)
    else if (sessionId !== undefined) throw new UsageError(`User ${userId} has no session ${id}`)
  }
}

// As people count: run-2 before run-10.
function inOrder(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true })
}
