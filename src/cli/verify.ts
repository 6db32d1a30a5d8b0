import { isTurnlogError } from '../errors.ts'
import { catchUp, FoldedLog } from '../folded-log.ts'
import { copyJson, equalJson } from '../json.ts'
import { toSummary } from '../session.ts'
import type { Head, SessionKey, Summary } from '../store.ts'
import { soundEvents } from '../transfer.ts'
import { headsOf, noSessions, type Context } from './context.ts'
import { counted, paint, print, printJson, visibleLine, withProgress } from './output.ts'

/** What `verify` has found: a log, or a list, that is not as it must be. */
interface Damage {
  readonly userId: string
  readonly sessionId?: string
  readonly code: string
  /** The first event that cannot be right. */
  readonly version?: number
  readonly message: string
}

/** Reads everything, and tells what is damaged. Gives whether nothing is. */
export async function verify(
  context: Context,
  userId: string | undefined,
  { json }: { readonly json?: boolean }
): Promise<boolean> {
  const { signal } = context
  const damaged: Damage[] = []
  const attempt = async (of: Pick<Damage, 'userId' | 'sessionId'>, check: () => Promise<void>): Promise<void> => {
    signal.throwIfAborted()
    try {
      await check()
    } catch (error) {
      damaged.push({ ...of, ...damageOf(error) })
    }
  }
  /** By user, the versions of the live sessions. */
  const live = new Map<string, Map<string, number>>()
  let [logs, events] = [0, 0]
  const total = process.stderr.isTTY ? await lengthOf(headsOf(context, userId)) : 0
  await withProgress('verify', total, async (advance) => {
    for await (const head of headsOf(context, userId)) {
      const { version, summary } = head
      const key = { userId: summary.userId, sessionId: summary.sessionId }
      logs++
      if (!summary.deleted)
        live.set(key.userId, (live.get(key.userId) ?? new Map<string, number>()).set(key.sessionId, version))
      let read = 0
      const onRead = (to: number): void => void (read = to)
      await attempt(key, async () => {
        try {
          await verifySession(context, key, onRead)
        } catch (error) {
          if (isTurnlogError(error, 'CORRUPT_LOG')) await readSound(context, head, onRead)
          throw error
        }
      })
      events += read
      advance()
    }
    if (logs === 0 && userId !== undefined) throw noSessions(userId)
    // All at once: whoever has sessions still, as they were, had them then.
    let users: Promise<ReadonlySet<string>> | undefined
    const listed = (): Promise<ReadonlySet<string>> => (users ??= context.store.listUsers().then((ids) => new Set(ids)))
    for (const [user, versions] of live)
      await attempt({ userId: user }, async () => verifyLists(context, user, versions, await listed()))
  })
  if (json) printJson({ sessions: logs, events, damaged })
  else {
    for (const { userId: user, sessionId, code, message } of damaged) {
      const of = sessionId === undefined ? `the list of ${user}` : `${user} ${sessionId}`
      print(`${paint('red', code)}: ${visibleLine(`${of}: ${message}`)}`)
    }
    const found = damaged.length === 0 ? 'all sound' : `${damaged.length} damaged`
    print(`${counted(logs, 'session')} with ${counted(events, 'event')} read; ${found}`)
  }
  return damaged.length === 0
}

/** Two things that the store says cannot both be so. */
class Contradiction extends Error {}

function damageOf(error: unknown): Pick<Damage, 'code' | 'version' | 'message'> {
  const { message } = error as Error
  if (error instanceof Contradiction) return { code: 'CONTRADICTION', message }
  // Of the store as a whole: then nothing more can be said of any session.
  if (!isTurnlogError(error) || error.code === 'STORE_UNAVAILABLE') throw error
  return { code: error.code, ...(isTurnlogError(error, 'CORRUPT_LOG') && { version: error.version }), message }
}

// Reads each event of a log once: its checksum, its place, and what it folds into. What the store says of the session
// without its log has to be what that comes to. Tells how far it has come.
async function verifySession(
  { store, signal }: Context,
  key: SessionKey,
  onRead: (version: number) => void
): Promise<void> {
  let log = new FoldedLog(key, null)
  let head: Head | null
  // Somebody may be writing to it.
  do {
    log = await catchUp(store, log, ({ version }) => {
      signal.throwIfAborted()
      onRead(version)
    })
    head = await store.head(key)
  } while (!log.endsAt(head))
  // Purged meanwhile.
  if (!head) return onRead(0)
  if (head.version !== head.summary.version || !isEqual(head.summary, toSummary(log.state)))
    throw new Contradiction(`What the store says of ${named(key)} is not what its log comes to`)
}

// Of a log that is damaged, what comes before that.
async function readSound({ store, signal }: Context, head: Head, onRead: (version: number) => void): Promise<void> {
  for await (const { state } of soundEvents(store, head, signal, () => undefined)) onRead(state.version)
}

// What is listed has to be what the sessions are, and all that are live: those that were at `versions` and still are.
async function verifyLists(
  { store }: Context,
  userId: string,
  versions: ReadonlyMap<string, number>,
  users: ReadonlySet<string>
): Promise<void> {
  const listed = await store.list(userId)
  const left = new Set(versions.keys())
  let isAnyLeft = false
  for (const summary of listed) {
    const { sessionId } = summary
    left.delete(sessionId)
    const head = await store.head({ userId, sessionId })
    if (head?.version === summary.version && !isEqual(head.summary, summary))
      throw new Contradiction(`What the store lists of ${named(summary)} is not what it is`)
  }
  for (const sessionId of versions.keys()) {
    const head = await store.head({ userId, sessionId })
    if (!head || head.version !== versions.get(sessionId)) continue
    isAnyLeft = true
    if (left.has(sessionId)) throw new Contradiction(`The store does not list ${named({ userId, sessionId })}`)
  }
  if (isAnyLeft && !users.has(userId)) throw new Contradiction(`The store does not list user ${JSON.stringify(userId)}`)
}

function isEqual(a: Summary, b: Summary): boolean {
  return equalJson(copyJson(a), copyJson(b))
}

function named({ userId, sessionId }: SessionKey): string {
  return `session ${JSON.stringify(sessionId)} of user ${JSON.stringify(userId)}`
}

async function lengthOf(items: AsyncIterable<unknown>): Promise<number> {
  let length = 0
  for await (const _ of items) length++
  return length
}
