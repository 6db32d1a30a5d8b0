import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { addAbortSignal, type Readable } from 'node:stream'
import { DEFAULT_FORMAT, readerOf } from '../adapters/shared/reading.ts'
import { checkFormat } from '../content.ts'
import { isTurnlogError, turnlogError, type TurnlogError, type TurnlogErrorOf } from '../errors.ts'
import { sessionExists, sessionNotFound, toSession, type Session } from '../session.ts'
import type { EventStore, Head } from '../store.ts'
import { EXPORT_MARK, joinedExports, soundEvents, type SoundEvent } from '../transfer.ts'
import { headsOf, noSessions, sessionOf, UsageError, type Context } from './context.ts'
import { conversationLine, metadataOf, readConversations, type Conversation } from './conversations.ts'
import { writeFile, writeOut } from './files.ts'
import { counted, print, printJson, say, visibleLine, withProgress } from './output.ts'

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
  /** It is in the store, but nobody sees it. */
  readonly deleted?: true
}

/**
 * Stores what is in files: exports, or conversations. Where one fails, what is stored by then stays, and is told of. Gives whether
 * nothing was left out as invalid.
 */
export async function importFiles(
  context: Context,
  files: readonly string[],
  options: ImportOptions
): Promise<boolean> {
  if (options.session !== undefined && files.length > 1)
    throw new UsageError(`--session names one session, and there are ${files.length} files`)
  const imported: Imported[] = []
  const leftOut = new LeftOut()
  for (const file of files) {
    const before = imported.length
    try {
      await importFile(context, file, options, (session) => imported.push(session), leftOut)
      leftOut.tell()
    } catch (error) {
      leftOut.tell()
      tellStored(imported.length, imported.length - before, file)
      if (imported.length > 0) report(imported, options)
      throw error
    }
  }
  report(imported, options)
  return leftOut.isEmpty
}

// After a failure in `file`, of which `here` of all the sessions are.
function tellStored(all: number, here: number, file: string): void {
  if (all === 0) return
  const which =
    here === 0 ? ' of the files before' : here < all ? ` (${here} of ${visibleLine(file)})` : ` of ${visibleLine(file)}`
  const [are, those] = all === 1 ? ['is', 'it'] : ['are', 'those']
  say(`turnlog: ${counted(all, 'session')}${which} ${are} stored; --skip-existing leaves ${those}`)
}

function report(imported: readonly Imported[], { json }: ImportOptions): void {
  if (json) return printJson(imported)
  for (const [isDeleted, what] of [
    [false, 'session'],
    [true, 'deleted session']
  ] as const) {
    const such = imported.filter(({ deleted = false }) => deleted === isDeleted)
    for (const user of new Set(such.map(({ userId }) => userId))) {
      const [first, ...others] = such.filter(({ userId }) => userId === user)
      const like = others.length === 0 ? ':' : ', such as'
      print(`${counted(others.length + 1, what)} of user ${visibleLine(user)}${like} ${visibleLine(first!.id)}`)
    }
  }
  if (imported.length === 0) print('nothing was imported')
}

/** Tells of lines that were left out; of those that follow each other with one and the same fault, once. */
class LeftOut {
  isEmpty = true
  #held: { readonly file: string; readonly first: number; readonly fault: string; last: number } | undefined

  add({ file, line, message }: TurnlogErrorOf<'INVALID_IMPORT'>): void {
    this.isEmpty = false
    const fault = message.slice(`${file}:${line}: `.length)
    if (this.#held?.fault === fault && this.#held.file === file) {
      this.#held.last = line
      return
    }
    this.tell()
    this.#held = { file, first: line, fault, last: line }
  }

  tell(): void {
    if (!this.#held) return
    const { file, first, last, fault } = this.#held
    const lines = first === last ? `${first}` : `${first} to ${last}`
    say(`turnlog: left out: ${visibleLine(`${file}:${lines}: ${fault}`)}`)
    this.#held = undefined
  }
}

type OnInvalid = ((error: TurnlogError) => void) | undefined

async function importFile(
  context: Context,
  file: string,
  options: ImportOptions,
  onStored: (session: Imported) => void,
  leftOut: LeftOut
): Promise<void> {
  const { user, session, skipInvalid = false, skipExisting = false } = options
  const { signal, store } = context
  const name = file === '-' ? 'stdin' : file
  const onInvalid: OnInvalid = skipInvalid
    ? (error) => leftOut.add(error as TurnlogErrorOf<'INVALID_IMPORT'>)
    : undefined
  const found = await withProgress('read', file === '-' ? 0 : await sizeOf(file), async (advance) => {
    const stream: Readable = file === '-' ? process.stdin : createReadStream(file)
    const { isExport, source } = await begun(addAbortSignal(signal, stream), name, advance)
    if (!isExport) return readConversations(source, name, onInvalid)
    const onExisting = skipExisting ? 'skip' : 'throw'
    const given = { file: name, userId: user, sessionId: session, onInvalid, onExisting, signal } as const
    await observed(store, onStored, () => context.history.importSession(source, given))
    return undefined
  })
  if (found) await storeConversations(context, name, found, options, onInvalid, onStored)
}

// What is stored while `work` runs, in order. The library gives the live sessions, and only once all are stored.
async function observed(
  store: EventStore,
  onStored: (session: Imported) => void,
  work: () => Promise<unknown>
): Promise<void> {
  const append = store.append.bind(store)
  store.append = async (commits) => {
    const results = await append(commits)
    for (const [i, { key, expectedVersion, summary }] of commits.entries()) {
      if (results[i]!.status !== 'stored' || expectedVersion !== 0) continue
      const { version, deleted } = summary
      onStored({ userId: key.userId, id: key.sessionId, version, ...(deleted && { deleted }) })
    }
    return results
  }
  try {
    await work()
  } finally {
    store.append = append
  }
}

async function storeConversations(
  { store: events, history, signal }: Context,
  name: string,
  found: readonly Conversation[],
  { user: userId = IMPORT_USER, session, skipExisting = false }: ImportOptions,
  onInvalid: OnInvalid,
  onStored: (session: Imported) => void
): Promise<void> {
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
  await withProgress('store', wanted.size, async (advance) => {
    const store = async ([id, conversation]: readonly [string, Conversation]): Promise<Imported> => {
      const content = conversation.content()
      const changes = [
        { type: 'metadata' as const, set: metadataOf(content) },
        { type: 'append' as const, messages: content.messages }
      ]
      // One commit: a conversation is there whole, or not at all.
      const made = await history.commit({ userId, id }, changes, { expectedVersion: 'none' })
      advance()
      return { userId, id, version: made!.version }
    }
    const all = [...wanted]
    // What is stored at once shares the waiting for the disk.
    for (let i = 0; i < all.length; i += AT_ONCE) {
      signal.throwIfAborted()
      const results = await Promise.allSettled(all.slice(i, i + AT_ONCE).map(store))
      for (const result of results) if (result.status === 'fulfilled') onStored(result.value)
      const failed = results.find((result) => result.status === 'rejected')
      if (failed) throw failed.reason
    }
  })
}

const AT_ONCE = 64

async function sizeOf(file: string): Promise<number> {
  const { size } = await stat(file)
  return size
}

/** Looks at how a stream begins; `source` gives all of it. */
async function begun(
  stream: Readable,
  file: string,
  advance: (by: number) => void
): Promise<{ readonly isExport: boolean; readonly source: AsyncIterable<Uint8Array> }> {
  const pieces = (stream as AsyncIterable<Buffer>)[Symbol.asyncIterator]()
  const first: Buffer[] = []
  for (let length = 0; length < MARKED_EXPORT.length;) {
    const next = await pieces.next()
    if (next.done) break
    first.push(next.value)
    length += next.value.length
    advance(next.value.length)
  }
  const beginning = Buffer.concat(first)
  // An export is taken as it was written, to the byte; a conversation may have a mark.
  if (beginning.indexOf(MARKED_EXPORT) === 0) {
    const message = `${file}:1: it begins with a byte order mark, which no export has: something has changed the file`
    throw turnlogError('INVALID_IMPORT', message, { file, line: 1 })
  }
  return {
    isExport: beginning.indexOf(EXPORT_MARK) === 0,
    source: (async function* () {
      yield* first
      for (let next = await pieces.next(); !next.done; next = await pieces.next()) {
        advance(next.value.length)
        yield next.value
      }
    })()
  }
}

const MARKED_EXPORT = Buffer.from(`\ufeff${EXPORT_MARK}`)

/** Options of `export`. */
export interface ExportOptions {
  readonly output?: string
  readonly force?: boolean
  readonly format: 'turnlog' | 'openai'
  readonly deleted?: boolean
  readonly skipDamaged?: boolean
  readonly json?: boolean
}

/**
 * Writes a session, those of a user or of all users to a file or the standard output. Gives whether nothing was damaged; without
 * `skipDamaged` what is damaged is an error.
 *
 * @throws `SESSION_NOT_FOUND` where the one that is named is not there
 */
export async function exportSessions(
  context: Context,
  userId: string | undefined,
  sessionId: string | undefined,
  { output = '-', force = false, format, deleted = false, skipDamaged = false, json }: ExportOptions
): Promise<boolean> {
  if (deleted && format === 'openai')
    throw new UsageError('a deleted session has no messages: --deleted goes with --format turnlog')
  // Before anything is written.
  const { heads, left } = await headsToExport(context, userId, sessionId, { deleted, skipDamaged })
  if (heads.length === 0 && userId !== undefined)
    throw sessionId === undefined ? noSessions(userId, left) : sessionNotFound({ userId, id: sessionId })
  const order = format === 'openai' ? asPeopleCount : byUnits
  heads.sort((a, b) => order(a.summary.userId, b.summary.userId) || order(a.summary.sessionId, b.summary.sessionId))
  let sessions = 0
  const damaged: Damage[] = []
  const isShown = output === '-' && process.stdout.isTTY
  await withProgress('export', isShown || sessionId !== undefined ? 0 : heads.length, async (advance) => {
    const write = { context, format, onDamage: (damage: Damage) => void damaged.push(damage) }
    const exports = (async function* () {
      for (const head of heads) {
        // It may have been deleted or purged since.
        if (sessionId === undefined && !skipDamaged && !(await isThere(context, head, deleted))) continue
        sessions++
        yield skipDamaged ? soundLines(head, write) : linesOf(head, write)
        advance()
      }
    })()
    const lines = format === 'openai' ? flat(exports) : joinedExports(exports)
    if (output === '-') await writeOut(lines, context.signal)
    else await writeFile(output, lines, { force, spared: context.path, signal: context.signal })
  })
  for (const { code, message, written } of damaged) {
    const what = written === 0 ? 'nothing of it is written' : `its events up to version ${written} are written`
    say(`turnlog: ${code}: ${visibleLine(message)}: ${what}`)
  }
  if (left > 0 && sessionId === undefined)
    say(
      `turnlog: ${counted(left, 'deleted session')} left out${format === 'turnlog' ? '; --deleted takes them, too' : ''}`
    )
  if (output !== '-') {
    // Of some nothing could be read.
    sessions -= damaged.filter(({ written }) => written === 0).length
    if (json) printJson({ file: output, sessions, ...(skipDamaged && { damaged }) })
    else print(`${visibleLine(output)}: ${counted(sessions, 'session')}`)
  }
  return damaged.length === 0
}

/** What an export with `--skip-damaged` could not write all of. */
interface Damage {
  readonly userId: string
  readonly sessionId: string
  readonly code: string
  readonly message: string
  /** The version up to which it is written; 0: nothing is. */
  readonly written: number
}

// All that are live, or asked for; `left`: how many are not.
async function headsToExport(
  context: Context,
  userId: string | undefined,
  sessionId: string | undefined,
  { deleted, skipDamaged }: { readonly deleted: boolean; readonly skipDamaged: boolean }
): Promise<{ readonly heads: Head[]; readonly left: number }> {
  if (sessionId !== undefined && !skipDamaged) {
    const head = await context.store.head({ userId: userId!, sessionId })
    return { heads: head ? [head] : [], left: 0 }
  }
  const heads: Head[] = []
  let left = 0
  for await (const { logId, version, summary } of headsOf(context, userId)) {
    // By its name also one that is deleted.
    const isMeant = sessionId === undefined ? deleted || !summary.deleted : summary.sessionId === sessionId
    // Without the metadata: there may be very many.
    if (isMeant) heads.push({ logId, version, summary: { ...summary, metadata: {} } })
    else if (summary.deleted) left++
  }
  return { heads, left }
}

async function isThere({ store }: Context, { summary }: Head, deleted: boolean): Promise<boolean> {
  const head = await store.head(summary)
  return head !== null && (deleted || !head.summary.deleted)
}

interface Writing {
  readonly context: Context
  readonly format: ExportOptions['format']
  readonly onDamage: (damage: Damage) => void
}

async function* linesOf(
  { summary: { userId, sessionId } }: Head,
  { context, format }: Writing
): AsyncGenerator<string> {
  const { history } = context
  try {
    if (format === 'turnlog') {
      yield* history.exportSession(userId, sessionId)
      return
    }
    yield conversationLine(await readAsMessages(await sessionOf(context, userId, sessionId)))
  } catch (error) {
    if (!isTurnlogError(error, 'CORRUPT_LOG')) throw error
    const message = `${error.message}; --skip-damaged writes what is sound`
    const { version } = error
    throw turnlogError('CORRUPT_LOG', message, { userId, sessionId, version }, { cause: error })
  }
}

async function* soundLines(head: Head, { context, format, onDamage }: Writing): AsyncGenerator<string> {
  const { userId, sessionId } = head.summary
  let damage: TurnlogError | undefined
  let last: SoundEvent | undefined
  for await (const event of soundEvents(context.store, head, context.signal, (error) => (damage = error))) {
    last = event
    if (format === 'turnlog') yield event.line
  }
  if (format === 'openai' && last?.state.isLive) {
    yield conversationLine(await readAsMessages(toSession(last.state)))
  }
  if (damage) {
    const { code, message } = damage
    onDamage({ userId, sessionId, code, message, written: last?.state.version ?? 0 })
  }
}

// Of what an adapter has written, what it reads as.
async function readAsMessages(session: Session<unknown>): Promise<Session> {
  const messages = (await readerOf(session.format))(session.messages)
  if (!messages) checkFormat(session, DEFAULT_FORMAT)
  return { ...session, messages: messages ?? [] }
}

async function* flat(exports: AsyncIterable<AsyncIterable<string>>): AsyncGenerator<string> {
  for await (const lines of exports) yield* lines
}

function byUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

// run-2 before run-10.
function asPeopleCount(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true })
}
