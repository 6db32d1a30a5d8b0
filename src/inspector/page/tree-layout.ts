import type { Tree, TreeSession } from '../wire.ts'

// How a tree of forks and rewinds is drawn: as an outline, one node a row. The versions that a session has now are a straight line, in a lane of its
// own; what a rewind left behind, and each fork, branches off to the next lane, and ends before the line goes on. So no lines cross.

/** Why a version is shown. */
export type Role = 'begin' | 'fork' | 'target' | 'rewound' | 'left' | 'newest' | 'current'

/** A version of a session that is worth a row. */
export interface TreeNode {
  readonly session: TreeSession
  readonly version: number
  readonly row: number
  readonly lane: number
  readonly roles: readonly Role[]
  /** Where it is a rewind, what it did. */
  readonly rewind?: TreeSession['rewinds'][number]
  /** What branches off here, in the rows that follow. */
  readonly sides: readonly Branch[]
}

/** A line of versions, downwards. */
export interface Branch {
  readonly session: TreeSession
  /** `left`: versions that a rewind left behind. */
  readonly kind: 'session' | 'left'
  readonly nodes: readonly TreeNode[]
}

/** A line that is drawn: straight down, or to the lane beside. */
export interface TreeEdge {
  readonly from: { readonly row: number; readonly lane: number }
  readonly to: { readonly row: number; readonly lane: number }
  readonly session: TreeSession
  readonly kind: Branch['kind']
}

/** Properties of a drawing. */
export interface TreeLayout {
  /** More than one where the origin of some is not known. */
  readonly branches: readonly Branch[]
  readonly edges: readonly TreeEdge[]
  readonly rows: number
  readonly lanes: number
  /** How many rewinds are left out: of each session the newest are shown. */
  readonly hidden: number
}

/** What the reader is at. */
export interface TreePlace {
  readonly userId: string
  readonly id: string
  readonly version: number
}

const MOST_REWINDS = 300

/** Where everything of a tree is drawn. */
export function layoutOf({ sessions }: Pick<Tree, 'sessions'>, at?: TreePlace): TreeLayout {
  const byKey = new Map(sessions.map((session) => [keyOf(session.userId, session.id), session]))
  const forksOf = new Map<TreeSession, TreeSession[]>()
  const origins: TreeSession[] = []
  for (const session of sessions) {
    const { forkedFrom } = session
    const parent = forkedFrom && byKey.get(keyOf(forkedFrom.userId, forkedFrom.sessionId))
    if (!parent || parent === session) origins.push(session)
    else forksOf.set(parent, [...(forksOf.get(parent) ?? []), session])
  }
  const edges: TreeEdge[] = []
  const seen = new Set<TreeSession>()
  let rows = 0
  let lanes = 0
  let hidden = 0

  const sessionBranch = (session: TreeSession, lane: number): Branch => {
    seen.add(session)
    const forks = (forksOf.get(session) ?? []).filter((fork) => !seen.has(fork))
    const line = lineOf(session, forks, at)
    hidden += line.hidden
    const branch = (first: number, kind: Branch['kind'], on: number): Branch => {
      lanes = Math.max(lanes, on + 1)
      const nodes: TreeNode[] = []
      let before: TreeEdge['from'] | undefined
      for (let version: number | undefined = first; version !== undefined; version = line.next(version)) {
        const row = rows++
        const from = { row, lane: on }
        if (before) edges.push({ from: before, to: from, session, kind })
        before = from
        const sides: Branch[] = []
        const beside = (make: () => Branch): void => {
          const to = { row: rows, lane: on + 1 }
          const side = make()
          sides.push(side)
          edges.push({ from, to, session: side.session, kind: side.kind })
        }
        for (const side of line.sides(version)) beside(() => branch(side, 'left', on + 1))
        for (const fork of line.forks(version)) beside(() => sessionBranch(fork, on + 1))
        const rewind = line.rewind(version)
        nodes.push({ session, version, row, lane: on, roles: line.roles(version), ...(rewind && { rewind }), sides })
      }
      return { session, kind, nodes }
    }
    return branch(line.first, 'session', lane)
  }

  const branches = origins.map((origin) => sessionBranch(origin, 0))
  // Those that are each other's forks, as far as can be told by their names.
  for (const session of sessions) if (!seen.has(session)) branches.push(sessionBranch(session, 0))
  return { branches, edges, rows, lanes, hidden }
}

interface Line {
  readonly first: number
  readonly hidden: number
  readonly next: (version: number) => number | undefined
  readonly sides: (version: number) => readonly number[]
  readonly forks: (version: number) => readonly TreeSession[]
  readonly rewind: (version: number) => TreeSession['rewinds'][number] | undefined
  readonly roles: (version: number) => readonly Role[]
}

// The versions of a session that have a row, and which follows which: a rewind follows the version that it went back to.
function lineOf(session: TreeSession, forks: readonly TreeSession[], at: TreePlace | undefined): Line {
  const latest = Math.max(1, session.latest)
  const inside = (version: number): number => Math.max(1, Math.min(version, latest))
  const roles = new Map<number, Role[]>()
  const add = (version: number, role: Role): void => {
    const known = roles.get(version)
    if (!known) roles.set(version, [role])
    else if (!known.includes(role)) known.push(role)
  }
  const rewinds = new Map(session.rewinds.slice(-MOST_REWINDS).map((rewind) => [rewind.version, rewind]))
  const forksAt = new Map<number, TreeSession[]>()
  add(1, 'begin')
  for (const fork of forks) {
    const version = inside(fork.forkedFrom?.version ?? 1)
    forksAt.set(version, [...(forksAt.get(version) ?? []), fork])
    add(version, 'fork')
  }
  for (const { version, toVersion } of rewinds.values()) {
    add(inside(toVersion), 'target')
    if (version - 1 > toVersion) add(version - 1, 'left')
    add(version, 'rewound')
  }
  add(latest, 'newest')
  if (at && at.userId === session.userId && at.id === session.id && at.version <= latest) add(at.version, 'current')

  const versions = [...roles.keys()].sort((a, b) => a - b)
  const parents = new Map<number, number>()
  const children = new Map<number, number[]>()
  for (const [n, version] of versions.entries()) {
    if (n === 0) continue
    const rewind = rewinds.get(version)
    const parent = rewind ? inside(Math.min(rewind.toVersion, version - 1)) : versions[n - 1]!
    parents.set(version, parent)
    children.set(parent, [...(children.get(parent) ?? []), version])
  }
  // What the session has now.
  const live = new Set<number>()
  for (let version: number | undefined = latest; version !== undefined; version = parents.get(version))
    live.add(version)
  const next = (version: number): number | undefined => {
    const following = children.get(version) ?? []
    return following.find((child) => live.has(child)) ?? (live.has(version) ? undefined : following[0])
  }
  return {
    first: 1,
    hidden: session.rewinds.length - rewinds.size,
    next,
    sides: (version) => (children.get(version) ?? []).filter((child) => child !== next(version)),
    forks: (version) => forksAt.get(version) ?? [],
    rewind: (version) => rewinds.get(version),
    roles: (version) => roles.get(version) ?? []
  }
}

function keyOf(userId: string, id: string): string {
  return JSON.stringify([userId, id])
}
