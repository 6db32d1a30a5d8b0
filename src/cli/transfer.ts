import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { addAbortSignal, type Readable } from 'node:stream'
import { turnlogError, type TurnlogError } from '../errors.ts'
import { sessionExists, sessionNotFound } from '../session.ts'
import { EXPORT_MARK, joinedExports } from '../transfer.ts'
import { headsOf, historyOf, UsageError, type Context } from './context.ts'
import { conversationLine, metadataOf, readConversations, type Conversation } from './conversations.ts'
import { writeFile, writeOut } from './files.ts'
import { counted, print, printJson, say, visible, withProgress } from './output.ts'

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

interface Imported {
  readonly userId: string
  readonly id: string
  readonly version: number
}

/** Stores what is in files: exports, or conversations. */
export async function importFiles(context: Context, files: readonly string[], options: ImportOptions): Promise<void> {
  if (options.session !== undefined && files.length > 1)
    throw new UsageError(`--session names one session, and there are ${files.length} files`)
  const imported: Imported[] = []
  for (const file of files) imported.push(...(await importFile(context, file, options)))
  if (options.json) return printJson(imported)
  const users = new Set(imported.map(({ userId }) => userId))
  for (const user of users) {
    const sessions = imported.filter(({ userId }) => userId === user)
    const [first] = sessions
    const such = sessions.length === 1 ? ':' : ', such as'
    print(
      `${counted(sessions.length, 'session')} of user ${visible(user, { isLine: true })}${such} ${visible(first!.id, { isLine: true })}`
    )
  }
  if (imported.length === 0) print('nothing was imported')
}

async function importFile(context: Context, file: string, options: ImportOptions): Promise<readonly Imported[]> {
  const { user, session, skipInvalid = false, skipExisting = false } = options
  const { signal } = context
  const name = file === '-' ? 'stdin' : file
  const onInvalid = skipInvalid
    ? (error: TurnlogError): void => say(`turnlog: left out: ${visible(error.message, { isLine: true })}`)
    : undefined
  const found = await withProgress('read', file === '-' ? 0 : await sizeOf(file), async (advance) => {
    const stream: Readable = file === '-' ? process.stdin : createReadStream(file)
    const { isExport, source } = await begun(addAbortSignal(signal, stream), advance)
    if (!isExport) return readConversations(source, name, onInvalid)
    const onExisting = skipExisting ? 'skip' : 'throw'
    const given = { file: name, userId: user, sessionId: session, onInvalid, onExisting, signal } as const
    const sessions = await context.history.importSession(source, given)
    return { imported: sessions.map(({ userId, id, version }) => ({ userId, id, version })) }
  })
  return 'imported' in found ? found.imported : storeConversations(context, name, found, options, onInvalid)
}

async function storeConversations(
  { store: events, history, signal }: Context,
  name: string,
  found: readonly Conversation[],
  { user: userId = IMPORT_USER, session, skipExisting = false }: ImportOptions,
  onInvalid: ((error: TurnlogError) => void) | undefined
): Promise<readonly Imported[]> {
  if (session !== undefined && found.length > 1)
    throw new UsageError(`--session names one session, but ${name} has ${found.length}`)
  const wanted = new Map<string, Conversation>()
  const existing = new Set<string>()
  for (const conversation of found) {
    const id = session ?? conversation.id
    if (wanted.has(id) || existing.has(id)) {
      const { line } = conversation
      const message = `${name}:${line}: a conversation before it is called ${JSON.stringify(id)}, too`
      const error = turnlogError('INVALID_IMPORT', message, { file: name, line })
      if (!onInvalid) throw error
      onInvalid(error)
    } else if ((await events.head({ userId, sessionId: id })) === null) wanted.set(id, conversation)
    else if (skipExisting) existing.add(id)
    else throw sessionExists({ userId, id })
  }
  const stored = new Map<string, Imported>()
  const tell = (): void =>
    say(`turnlog: ${stored.size} of ${counted(wanted.size, 'conversation')} are stored; --skip-existing leaves those`)
  signal.addEventListener('abort', tell)
  await withProgress('store', wanted.size, async (advance) => {
    const store = async ([id, conversation]: readonly [string, Conversation]): Promise<void> => {
      const content = conversation.content()
      const changes = [
        { type: 'metadata' as const, set: metadataOf(content) },
        { type: 'append' as const, messages: content.messages }
      ]
      // One commit: a conversation is there whole, or not at all.
      const made = await history.commit({ userId, id }, changes, { expectedVersion: 'none' })
      stored.set(id, { userId, id, version: made!.version })
      advance()
    }
    const all = [...wanted]
    // What is stored at once shares the waiting for the disk.
    for (let i = 0; i < all.length; i += AT_ONCE) {
      signal.throwIfAborted()
      await Promise.all(all.slice(i, i + AT_ONCE).map(store))
    }
  })
  signal.removeEventListener('abort', tell)
  return Array.from(wanted.keys(), (id) => stored.get(id)!)
}

const AT_ONCE = 64

async function sizeOf(file: string): Promise<number> {
  const { size } = await stat(file)
  return size
}

/** Looks at how a stream begins; `source` gives all of it. */
async function begun(
  stream: Readable,
  advance: (by: number) => void
): Promise<{ readonly isExport: boolean; readonly source: AsyncIterable<Uint8Array> }> {
  const pieces = (stream as AsyncIterable<Buffer>)[Symbol.asyncIterator]()
  const first: Buffer[] = []
  for (let length = 0; length < EXPORT_MARK.length;) {
    const next = await pieces.next()
    if (next.done) break
    first.push(next.value)
    length += next.value.length
    advance(next.value.length)
  }
  return {
    isExport: Buffer.concat(first).subarray(0, EXPORT_MARK.length).equals(Buffer.from(EXPORT_MARK)),
    source: (async function* () {
      yield* first
      for (let next = await pieces.next(); !next.done; next = await pieces.next()) {
        advance(next.value.length)
        yield next.value
      }
    })()
  }
}

/** Options of `export`. */
export interface ExportOptions {
  readonly output?: string
  readonly force?: boolean
  readonly format: 'turnlog' | 'openai'
  readonly json?: boolean
}

/**
 * Writes a session, those of a user or of all users to a file or the standard output.
 *
 * @throws `SESSION_NOT_FOUND` where the one that is named is not there
 */
export async function exportSessions(
  context: Context,
  userId: string | undefined,
  sessionId: string | undefined,
  { output = '-', force = false, format, json }: ExportOptions
): Promise<void> {
  // Before anything is written.
  if (sessionId !== undefined) await historyOf(context, userId!, sessionId)
  else if (userId !== undefined && (await context.history.listSessions(userId, { limit: 1 })).length === 0)
    throw new Error(`User ${JSON.stringify(userId)} has no sessions`)
  const total = sessionId === undefined && process.stderr.isTTY ? await liveCount(context, userId) : 0
  let sessions = 0
  await withProgress('export', output === '-' && process.stdout.isTTY ? 0 : total, async (advance) => {
    const lines = linesOf(context, userId, sessionId, format, () => {
      sessions++
      advance()
    })
    if (output === '-') await writeOut(lines, context.signal)
    else await writeFile(output, lines, { force, spared: context.path, signal: context.signal })
  })
  if (output === '-') return
  if (json) printJson({ file: output, sessions })
  else print(`${visible(output, { isLine: true })}: ${counted(sessions, 'session')}`)
}

async function liveCount(context: Context, userId: string | undefined): Promise<number> {
  let count = 0
  for await (const { summary } of headsOf(context, userId)) if (!summary.deleted) count++
  return count
}

function linesOf(
  context: Context,
  userId: string | undefined,
  sessionId: string | undefined,
  format: ExportOptions['format'],
  onSession: () => void
): AsyncGenerator<string> {
  const { history } = context
  // By the name, also one that is deleted.
  const order = format === 'openai' ? asPeopleCount : undefined
  const refs = sessionId === undefined ? refsOf(context, userId, order) : one({ userId: userId!, sessionId })
  if (format === 'openai') return conversationLines(context, refs, onSession)
  return joinedExports(
    (async function* () {
      for await (const ref of refs) {
        onSession()
        yield history.exportSession(ref.userId, ref.sessionId)
      }
    })()
  )
}

interface Ref {
  readonly userId: string
  readonly sessionId: string
}

async function* one(ref: Ref): AsyncGenerator<Ref> {
  yield ref
}

/** The live sessions of a user, or of all: by users, then by sessions; by default in the order of an export of the library. */
async function* refsOf(
  { store, history }: Context,
  userId: string | undefined,
  order: ((a: string, b: string) => number) | undefined
): AsyncGenerator<Ref> {
  const users = userId === undefined ? [...(await history.listUsers())].sort(order) : [userId]
  for (const user of users) {
    const listed = await history.listSessions(user)
    for (const sessionId of listed.map(({ id }) => id).sort(order)) {
      const head = await store.head({ userId: user, sessionId })
      // It may have been deleted or purged since.
      if (head && !head.summary.deleted) yield { userId: user, sessionId }
    }
  }
}

async function* conversationLines(
  { history }: Context,
  refs: AsyncIterable<Ref>,
  onSession: () => void
): AsyncGenerator<string> {
  for await (const { userId, sessionId } of refs) {
    const session = await history.getSession(userId, sessionId)
    if (!session) throw sessionNotFound({ userId, id: sessionId })
    onSession()
    yield conversationLine(session)
  }
}

// run-2 before run-10.
function asPeopleCount(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true })
}
