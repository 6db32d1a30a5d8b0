import { isTurnlogError } from '../errors.ts'
import type { ForkOrigin } from '../event.ts'
import type { Log, Logs } from './log.ts'
import type { Tree, TreeSession } from './wire.ts'
import { titleOf } from './lines.ts'

/** How many sessions a tree shows. */
const MOST = 200

/** All sessions that have one origin with this one: parents before their forks, in order of their creation. */
export async function treeOf(logs: Logs, userId: string, sessionId: string): Promise<Tree> {
  const root = await originOf(logs.of(userId, sessionId))
  const sessions: TreeSession[] = []
  const waiting = [root]
  const seen = new Set<string>()
  while (waiting.length > 0 && sessions.length < MOST) {
    const next = waiting.shift()!
    const key = JSON.stringify([next.userId, next.sessionId])
    if (seen.has(key)) continue
    seen.add(key)
    const log = logs.of(next.userId, next.sessionId)
    sessions.push(await sessionIn(log))
    for (const fork of await log.with((history) => history.forks(log.ref)))
      waiting.push({ userId: fork.userId, sessionId: fork.id })
  }
  return { sessions, more: waiting.length > 0 }
}

// The oldest ancestor of which anything is known.
async function originOf(log: Log): Promise<Pick<ForkOrigin, 'userId' | 'sessionId'>> {
  let origin: Pick<ForkOrigin, 'userId' | 'sessionId'> = log
  const seen = new Set<string>()
  for (let parent: ForkOrigin | undefined = await parentOf(log); parent && seen.size < MOST;) {
    const key = JSON.stringify([parent.userId, parent.sessionId])
    // A session may be named as one that was purged, and be its descendant.
    if (seen.has(key)) break
    seen.add(key)
    origin = parent
    parent = await parentOf(log.sibling(parent)).catch((error: unknown) => {
      if (isTurnlogError(error, 'SESSION_NOT_FOUND')) return undefined
      throw error
    })
  }
  return origin
}

async function parentOf(log: Log): Promise<ForkOrigin | undefined> {
  const session = await log.session()
  if (session) return session.forkedFrom
  const created = await log.event(1)
  return created.type === 'created' ? created.data.forkedFrom : undefined
}

async function sessionIn(log: Log): Promise<TreeSession> {
  const { userId, sessionId: id } = log
  try {
    const latest = await log.latest()
    const session = await log.session()
    const rewinds = await log.rewinds()
    const title = session && titleOf(session.metadata)
    const forkedFrom = session ? session.forkedFrom : await parentOf(log)
    return {
      userId,
      id,
      version: latest,
      latest,
      count: session?.messages.length ?? 0,
      ...(title !== undefined && title !== null && { title }),
      ...(forkedFrom && { forkedFrom }),
      ...(!session && { isDeleted: true as const }),
      rewinds: rewinds.map(({ version, toVersion = 0, rewind = 'rewind' }) => ({ version, toVersion, kind: rewind }))
    }
  } catch (error) {
    if (!isTurnlogError(error, 'SESSION_NOT_FOUND')) throw error
    return { userId, id, version: 0, latest: 0, count: 0, isGone: true, rewinds: [] }
  }
}
