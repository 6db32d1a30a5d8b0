import { statSync } from 'node:fs'
import { nameOneStore } from '../open-store.ts'
import { headsOf, interruptedBySignals, noSessions, storeAt, UsageError, type Context } from './context.ts'
import { counted, print, printJson, say, visible, withProgress } from './output.ts'
import { StoreCopy } from './store-copy.ts'

/**
 * Copies every log of one store to another, or those of a user, and reads them back. Gives whether all of them are there as they
 * are in the source.
 */
export async function copy(
  fromUrl: string,
  toUrl: string,
  userId: string | undefined,
  { verify, json }: { readonly verify: boolean; readonly json?: boolean }
): Promise<boolean> {
  const from = await storeAt(fromUrl)
  const to = await storeAt(toUrl, { makes: true })
  if (nameOneStore(fromUrl, toUrl) || isSameFile(from.path, to.path)) throw new UsageError(SAME)
  const signal = interruptedBySignals()
  try {
    await from.store.open()
    await to.store.open()
    const copying = new StoreCopy(from.store, to.store, { userId, verify, signal })
    const { counts } = copying
    const { sessions, isAny } = await sizeOf(from, userId)
    if (!isAny && userId !== undefined) throw noSessions(userId)
    try {
      await withProgress('copy', sessions, (advance) => copying.copy(advance))
      await withProgress(verify ? 'verify' : 'finish', verify ? sessions : 0, (advance) => copying.finish(advance))
    } catch (error) {
      const { copied, continued, same } = counts
      say(
        `turnlog: ${counted(copied + continued + same, 'session')} copied so far; the same command goes on from there`
      )
      throw error
    }
    report(counts, { verify, json })
    return counts.refused.length === 0
  } finally {
    await Promise.allSettled([from.store.close(), to.store.close()])
  }
}

const SAME = 'FROM and TO are the same store'

function report(
  { copied, continued, same, events, refused, verified }: StoreCopy['counts'],
  { verify, json }: { readonly verify: boolean; readonly json: boolean | undefined }
): void {
  if (json) return printJson({ copied, continued, same, events, refused, ...(verify && { verified }) })
  for (const { userId, sessionId, code, message } of refused) {
    const text = visible(`${userId} ${sessionId}: ${message}`, { isLine: true })
    say(`turnlog: ${code === undefined ? '' : `${code}: `}${text}`)
  }
  const parts = [
    `${counted(copied, 'session')} copied`,
    ...(continued > 0 ? [`${continued} continued`] : []),
    ...(same > 0 ? [`${same} there already`] : []),
    ...(refused.length > 0 ? [`${refused.length} not as they should be`] : [])
  ]
  print(`${parts.join(', ')}; ${counted(events, 'event')} stored`)
  if (verify)
    print(`${counted(verified.sessions, 'session')} with ${counted(verified.events, 'event')} read back: as they were`)
}

// Counted as far as it is shown.
async function sizeOf(
  { store }: Pick<Context, 'store'>,
  userId: string | undefined
): Promise<{ readonly sessions: number; readonly isAny: boolean }> {
  let sessions = 0
  for await (const _ of headsOf({ store }, userId)) {
    sessions++
    if (!process.stderr.isTTY) break
  }
  return { sessions, isAny: sessions > 0 }
}

function isSameFile(a: string | undefined, b: string | undefined): boolean {
  if (a === undefined || b === undefined) return false
  const [of, other] = [a, b].map((path) => statSync(path, { bigint: true, throwIfNoEntry: false }))
  return of !== undefined && of.dev === other?.dev && of.ino === other.ino
}
