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
  const until = performance.now() + LONGEST_MS
  const { line, isCut } = await lineOf(logs.of(userId, sessionId), until)
  // The line to the session comes first where there is no room for all.
  let left = BYTES - line.reduce((sum, session) => sum + bytesOfJson(session), 0)
  const inLine = new Map(line.map((session) => [keyOf(nameOf(session)), session]))
  const waiting: { readonly name: Name; readonly summary?: Session<unknown> }[] = [{ name: nameOf(line[0]!) }]
  const sessions = new Map<string, TreeSession>()
  let places = SESSIONS - line.length
  let more = isCut
  for (let next = waiting.shift(); next; next = waiting.shift()) {
    const { name, summary } = next
    const key = keyOf(name)
    if (sessions.has(key)) continue
    const known = inLine.get(key)
    const log = logs.of(name.userId, name.sessionId)
    const isBrief = known ? known.isBrief : performance.now() > until
    const session = summary && isBrief ? briefly(summary) : (known ?? (await sessionIn(log)))
    if (!known) {
      left -= bytesOfJson(session)
      more ||= left < 0 || places === 0
      // Of what is left, only the line.
      if (more) break
      places--
    }
    // Another may have the name of one that was purged: its forks are of another tree.
    const forks = session.isGone ? [] : await forksOf(log)
    const said = isBrief || session.isGone ? {} : await saidIn(log, session, forks, until)
    left -= bytesOfJson(said)
    sessions.set(key, { ...session, ...(left >= 0 && Object.keys(said).length > 0 && { said }) })
    for (const fork of forks) waiting.push({ name: { userId: fork.userId, sessionId: fork.id }, summary: fork })
    // One that was deleted is no fork that is listed, but may be on the way to this one.
    const heir = known && line[line.indexOf(known) + 1]
    if (heir) waiting.push({ name: nameOf(heir) })
  }
  for (const [key, session] of inLine) if (!sessions.has(key)) sessions.set(key, session)
  return { sessions: [...sessions.values()], more }
}

// From the oldest of which anything is known to the session itself; cut where that is too much.
async function lineOf(
  log: Log,
  until: number
): Promise<{ readonly line: readonly TreeSession[]; readonly isCut: boolean }> {
  // Whether it is there at all.
  const line = [await sessionIn(log, true)]
  let left = BYTES - bytesOfJson(line[0])
  for (let child = line[0]!; child.forkedFrom; child = line[0]!) {
    const name = child.forkedFrom
    // A session may be named as one that was purged, and be its descendant.
    if (line.some((each) => keyOf(nameOf(each)) === keyOf(name))) break
    const parent = log.sibling(name)
    const session = await parentIn(parent, child, until)
    left -= bytesOfJson(session)
    if (left < 0 || line.length === SESSIONS) return { line, isCut: true }
    line.unshift(session)
  }
  return { line, isCut: false }
}

async function parentIn(parent: Log, child: TreeSession, until: number): Promise<TreeSession> {
  // A fork that is there is listed, except by another session that has got the name since.
  const isListed =
    child.isDeleted ??
    child.isBrief ??
    (await forksOf(parent)).some((fork) => keyOf(nameOf(fork)) === keyOf(nameOf(child)))
  if (!isListed) return gone(parent)
  return performance.now() > until ? brieflyIn(parent, child.forkedFrom!.version) : sessionIn(parent)
}

function forksOf(log: Log): Promise<Session<unknown>[]> {
  return log.with((history) => history.forks(log.ref))
}

function nameOf({ userId, id }: Pick<TreeSession, 'userId' | 'id'>): Name {
  return { userId, sessionId: id }
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
    return gone(log)
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

function gone({ userId, sessionId: id }: Log): TreeSession {
  return { userId, id, version: 0, latest: 0, count: 0, isGone: true, rewinds: [] }
}

// Of a fork, what its first event tells: its state takes those of its parents. It has had this version.
async function brieflyIn(log: Log, version: number): Promise<TreeSession> {
  const { userId, sessionId: id } = log
  const forkedFrom = await originOf(log).catch((error: unknown) => {
    if (isTurnlogError(error, 'SESSION_NOT_FOUND') || isTurnlogError(error, 'CORRUPT_LOG')) return undefined
    throw error
  })
  if (!forkedFrom) return sessionIn(log)
  return { userId, id, version, latest: version, count: 0, forkedFrom, isBrief: true, rewinds: [] }
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

// By its first event.
async function originOf(log: Log): Promise<ForkOrigin | undefined> {
  const created = await log.event(1)
  return created.type === 'created' ? created.data.forkedFrom : undefined
}
