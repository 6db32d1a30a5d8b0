import { isTurnlogError } from '../errors.ts'
import type { ForkOrigin } from '../event.ts'
import type { Session } from '../session.ts'
import { beginningOf, bytesOfJson } from './cut.ts'
import { titleOf } from './lines.ts'
import type { Log, Logs } from './log.ts'
import { shownOf } from './messages.ts'
import type { Tree, TreeSession } from './wire.ts'

/** How many sessions and bytes a tree has at most, and how many rewinds each session. */
const SESSIONS = 200
const BYTES = 150_000
const REWINDS = 200
/** After so long, what is left of the tree is only named. */
const LONGEST_MS = 1_000

type Name = Pick<ForkOrigin, 'userId' | 'sessionId'>

/** All sessions that have one origin with this one: parents before their forks, in order of their creation. */
export async function treeOf(logs: Logs, userId: string, sessionId: string): Promise<Tree> {
  const ancestors = await ancestorsOf(logs.of(userId, sessionId))
  const waiting: { readonly name: Name; readonly summary?: Session<unknown> }[] = [{ name: ancestors[0]! }]
  const known = new Set<string>()
  const sessions: TreeSession[] = []
  const until = performance.now() + LONGEST_MS
  let left = BYTES
  for (let next = waiting.shift(); next; next = waiting.shift()) {
    const { name, summary } = next
    if (known.has(keyOf(name))) continue
    known.add(keyOf(name))
    const log = logs.of(name.userId, name.sessionId)
    const isBrief = summary !== undefined && performance.now() > until
    const session = isBrief ? briefly(summary) : await sessionIn(log)
    const forks = await log.with((history) => history.forks(log.ref))
    const said = isBrief || session.isGone ? {} : await saidIn(log, session, forks, until)
    left -= bytesOfJson(session) + bytesOfJson(said)
    if (left < 0 || sessions.length === SESSIONS) return { sessions, more: true }
    sessions.push({ ...session, ...(Object.keys(said).length > 0 && { said }) })
    for (const fork of forks) waiting.push({ name: { userId: fork.userId, sessionId: fork.id }, summary: fork })
    // One that was deleted is no fork that is listed, but may be on the way to this one.
    const heir = ancestors[ancestors.findIndex((each) => keyOf(each) === keyOf(name)) + 1]
    if (heir && keyOf(ancestors[0]!) !== keyOf(heir)) waiting.push({ name: heir })
  }
  return { sessions, more: false }
}

// From the oldest of which anything is known to the session itself.
async function ancestorsOf(log: Log): Promise<Name[]> {
  const names: Name[] = [log]
  // Whether it is there at all.
  let parent = (await sessionIn(log, true)).forkedFrom
  // A session may be named as one that was purged, and be its descendant.
  while (parent && names.length < SESSIONS && !names.some((name) => keyOf(name) === keyOf(parent!))) {
    names.unshift(parent)
    parent = (await sessionIn(log.sibling(parent))).forkedFrom
  }
  return names.map(({ userId, sessionId }) => ({ userId, sessionId }))
}

function keyOf({ userId, sessionId }: Name): string {
  return JSON.stringify([userId, sessionId])
}

async function sessionIn(log: Log, mustBeThere = false): Promise<TreeSession> {
  const { userId, sessionId: id } = log
  try {
    const { latest, session } = await log.newest()
    const rewinds = await log.rewinds()
    const title = session && titleOf(session.metadata)
    const forkedFrom = session ? session.forkedFrom : await originOf(log)
    return {
      userId,
      id,
      version: latest,
      latest,
      count: shownOf(await log.reading(session)).length,
      ...(typeof title === 'string' && { title }),
      ...(forkedFrom && { forkedFrom }),
      ...(!session && { isDeleted: true as const }),
      rewinds: rewinds
        .slice(-REWINDS)
        .map(({ version, toVersion = 0, rewind = 'rewind' }) => ({ version, toVersion, kind: rewind })),
      ...(rewinds.length > REWINDS && { earlierRewinds: rewinds.length - REWINDS })
    }
  } catch (error) {
    if (mustBeThere || !(isTurnlogError(error, 'SESSION_NOT_FOUND') || isTurnlogError(error, 'CORRUPT_LOG')))
      throw error
    return { userId, id, version: 0, latest: 0, count: 0, isGone: true, rewinds: [] }
  }
}

/** What is said at the newest of the rows of a session, of so many at most, each so long. */
const SAID = 40
const SAID_LENGTH = 80

async function saidIn(
  log: Log,
  { latest, rewinds }: TreeSession,
  forks: readonly Session<unknown>[],
  until: number
): Promise<NonNullable<TreeSession['said']>> {
  const ends = rewinds.flatMap(({ version, toVersion }) => [toVersion, version - 1])
  const versions = [...ends, ...forks.flatMap(({ forkedFrom }) => forkedFrom?.version ?? []), latest]
  // What a rewind or a fork did is on its row already.
  const known = new Set([1, ...rewinds.map(({ version }) => version)])
  const asked = new Set(versions.filter((version) => !known.has(version)).slice(-SAID))
  const said = await log.said(asked, until)
  return Object.fromEntries(
    [...said].filter(([, what]) => what !== '').map(([version, what]) => [version, beginningOf(what, SAID_LENGTH)])
  )
}

function briefly({ userId, id, version, metadata, forkedFrom }: Session<unknown>): TreeSession {
  const title = titleOf(metadata)
  return {
    userId,
    id,
    version,
    latest: version,
    count: 0,
    ...(title !== undefined && { title }),
    ...(forkedFrom && { forkedFrom }),
    isBrief: true,
    rewinds: []
  }
}

// Of one that is deleted.
async function originOf(log: Log): Promise<ForkOrigin | undefined> {
  const created = await log.event(1)
  return created.type === 'created' ? created.data.forkedFrom : undefined
}
