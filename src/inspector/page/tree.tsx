import './tree.css'
import type { ComponentChildren, VNode } from 'preact'
import { useEffect, useMemo, useRef } from 'preact/hooks'
import type { Moment, Tree, TreeSession } from '../wire.ts'
import { hrefOf } from './address.ts'
import { FailureNote, Skeleton, useEvery, useGet } from './loaded.tsx'
import { Line, plain } from './text.tsx'
import { type Branch, layoutOf, type TreeEdge, type TreeNode } from './tree-layout.ts'

const REFRESH_MS = 3_000
const ROW = 36
const LANE = 26

/** The forks and rewinds of all that has one origin with the session, drawn as an outline of which each node is a link. */
export function TreeView({ moment }: { readonly moment: Moment }): VNode {
  const { userId: user, id: session, latest } = moment
  const { value, error, reload, refresh } = useGet<Tree>('tree', { user, session })
  // Others append to the forks, and fork.
  useEvery(REFRESH_MS, refresh)
  const known = useRef(latest)
  useEffect(() => {
    if (known.current !== latest) reload()
    known.current = latest
  }, [latest])
  // Most often it is what it was, and nothing is drawn anew.
  const tree = useMemo(() => value, [JSON.stringify(value)])
  if (error && !value) return <FailureNote error={error} onRetry={reload} />
  if (!value) return <Skeleton />
  return <Drawing tree={tree!} moment={moment} />
}

function Drawing({ tree, moment }: { readonly tree: Tree; readonly moment: Moment }): VNode {
  const layout = useMemo(() => layoutOf(tree, moment), [tree, moment.version, moment.id, moment.userId])
  const { branches, edges, rows, lanes, hidden } = layout
  const scroller = useRef<HTMLDivElement>(null)
  const colours = useMemo(() => new Map(tree.sessions.map((each, n) => [each, COLOURS[n % COLOURS.length]!])), [tree])
  const colourOf = (session: TreeSession): string => colours.get(session) ?? COLOURS[0]
  useEffect(() => {
    // Only up and down: where it begins is to be seen.
    const { current: frame } = scroller
    const row = frame?.querySelector('.is-current')
    if (!frame || !row) return
    const [seen, here] = [frame.getBoundingClientRect(), row.getBoundingClientRect()]
    if (here.top < seen.top || here.bottom > seen.bottom) frame.scrollTop += here.top - seen.top - seen.height / 2
  }, [moment.version, moment.id])
  const onKeyDown = (event: KeyboardEvent): void => {
    const links = [...(scroller.current?.querySelectorAll<HTMLElement>('a.tree-node') ?? [])]
    const here = links.findIndex((link) => link.parentElement!.contains(document.activeElement))
    const to = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: links.length - 1 }[event.key]
    if (to === undefined || here < 0 || event.ctrlKey || event.metaKey || event.altKey) return
    event.preventDefault()
    // The timeline has the same keys.
    event.stopPropagation()
    links[to]?.focus()
  }
  const rewinds = tree.sessions.reduce((sum, each) => sum + each.rewinds.length, 0)
  return (
    <div class="tree-view">
      <p class="tree-sum quiet small">
        {tree.sessions.length === 1 && rewinds === 0
          ? 'Never forked, never rewound: one straight line. Forks and rewinds show up here as branches.'
          : `${counted(tree.sessions.length, 'session')} of one origin, ${counted(rewinds, 'rewind')}. Each line goes on down; what branches off stands below where it does: forks, and, dashed, what a rewind left behind.`}
        {tree.more && ' There are more sessions than are shown: those beyond the first 200 are left out.'}
        {hidden > 0 && ` Of the rewinds, ${hidden} older ones are left out.`}
      </p>
      <div class="tree-scroll" ref={scroller} onKeyDown={onKeyDown}>
        <div class="tree-canvas" style={{ minHeight: `${rows * ROW}px` }}>
          <svg width={lanes * LANE + 12} height={rows * ROW} aria-hidden="true">
            {/* Those to the side below, so that lines are of one colour. */}
            {[...edges]
              .sort((a, b) => Number(a.from.lane === a.to.lane) - Number(b.from.lane === b.to.lane))
              .map((edge) => (
                <path
                  key={`${edge.from.row}-${edge.to.row}`}
                  class={edge.kind}
                  d={pathOf(edge)}
                  style={{ stroke: colourOf(edge.session) }}
                />
              ))}
            {nodesOf(branches).map((node) => (
              <Dot key={node.row} node={node} colour={colourOf(node.session)} />
            ))}
          </svg>
          {branches.map((branch) => (
            <BranchList key={keyOf(branch)} branch={branch} moment={moment} colourOf={colourOf} />
          ))}
        </div>
      </div>
    </div>
  )
}

const COLOURS = [
  'var(--user)',
  'var(--assistant)',
  'var(--system)',
  'var(--tool)',
  'var(--metadata)',
  'var(--rewound)'
] as const

// Not by their rows: what comes anew above leaves the focus where it is.
function keyOf({ session: { userId, id }, kind, nodes }: Branch): string {
  return JSON.stringify([userId, id, kind, kind === 'left' && nodes[0]!.version])
}

function BranchList({
  branch,
  moment,
  colourOf,
  above
}: {
  readonly branch: Branch
  readonly moment: Moment
  readonly colourOf: (session: TreeSession) => string
  /** The title that stands above already. */
  readonly above?: string | undefined
}): VNode {
  const { session, kind } = branch
  return (
    <ul aria-label={plain(kind === 'left' ? `Left behind in ${session.id}` : `Session ${session.id}`)}>
      {branch.nodes.map((node, n) => (
        <li key={n === 0 ? 'first' : node.roles.includes('newest') ? 'newest' : node.version}>
          <Row
            node={node}
            moment={moment}
            isFirst={n === 0 && kind === 'session'}
            isLeft={kind === 'left'}
            title={session.title === above ? undefined : session.title}
            colour={colourOf(session)}
          />
          {node.sides.map((side) => (
            <BranchList key={keyOf(side)} branch={side} moment={moment} colourOf={colourOf} above={session.title} />
          ))}
        </li>
      ))}
    </ul>
  )
}

function Row({
  node,
  moment,
  isFirst,
  isLeft,
  title,
  colour
}: {
  readonly node: TreeNode
  readonly moment: Moment
  readonly isFirst: boolean
  readonly isLeft: boolean
  readonly title: string | undefined
  readonly colour: string
}): VNode {
  const { session, version, lane, roles } = node
  const { userId: user, id, isGone, isDeleted, latest } = session
  const isCurrent = roles.includes('current')
  const name = (
    <>
      {isFirst && (
        <b style={{ color: colour }}>
          <Line text={id} />
        </b>
      )}{' '}
      {isFirst && title !== undefined && (
        <span class="tree-title">
          <Line text={title} />
        </span>
      )}
    </>
  )
  if (isGone)
    return (
      <div class="tree-row" style={{ paddingInlineStart: `${(lane + 1) * LANE + 8}px` }}>
        {name} <span class="badge bad">purged</span> <span class="quiet">only its name is known</span>
      </div>
    )
  return (
    <div
      class={`tree-row ${isCurrent ? 'is-current' : ''} ${isLeft ? 'is-left' : ''}`}
      style={{ paddingInlineStart: `${(lane + 1) * LANE + 8}px` }}
    >
      <a
        class="tree-node"
        href={hrefOf({ user, session: id, at: version === latest ? undefined : version, view: 'tree' })}
        aria-current={isCurrent ? 'true' : undefined}
      >
        <span class="tree-head">
          {name}{' '}
          <span class="mono tree-version">
            {!isFirst && <span class="visually-hidden">{plain(id)}</span>}@{version}
          </span>{' '}
          {isDeleted && version === latest && <span class="badge bad">deleted</span>}
          {isCurrent && <span class="badge accent">you are here</span>}
        </span>{' '}
        <span class="quiet tree-what">
          {whatOf(node, isLeft)}{' '}
          {session.said?.[version] !== undefined && (
            <span class="tree-said">
              <Line text={session.said[version]} />
            </span>
          )}
        </span>
      </a>
      {!isCurrent && (
        <a
          class="tree-compare small"
          href={hrefOf({
            user: moment.userId,
            session: moment.id,
            at: moment.version,
            view: 'diff',
            other: { user, session: id, at: version }
          })}
        >
          Compare<span class="visually-hidden"> this with {plain(`${id}@${version}`)}</span>
        </a>
      )}
    </div>
  )
}

function whatOf({ roles, rewind, session, version, sides }: TreeNode, isLeft: boolean): ComponentChildren {
  const said: string[] = []
  const { forkedFrom } = session
  if (roles.includes('begin'))
    said.push(forkedFrom ? `fork of ${forkedFrom.sessionId}@${forkedFrom.version}` : 'begins')
  if (rewind) said.push(`${REWINDS[rewind.kind]} to version ${rewind.toVersion}`)
  const forks = sides.filter(({ kind }) => kind === 'session').length
  if (forks > 0) said.push(forks === 1 ? 'forked' : `forked ${forks} times`)
  if (roles.includes('target')) said.push('gone back to')
  if (roles.includes('left') && isLeft) said.push('left behind')
  if (roles.includes('newest') && version === session.latest && !session.isDeleted)
    said.push(`newest, ${counted(session.count, 'message')}`)
  return <Line text={said.join(' · ')} />
}

const REWINDS = { rewind: 'rewound', undo: 'undone', redo: 'redone', abort: 'turn aborted, back' } as const

function counted(count: number, what: string): string {
  return count === 1 ? `one ${what}` : `${count.toLocaleString('en')} ${what}s`
}

function Dot({ node, colour }: { readonly node: TreeNode; readonly colour: string }): VNode {
  const { x, y } = pointOf(node)
  const { roles, session, version } = node
  if (session.isGone || (session.isDeleted && version === session.latest))
    return <path class="cross" d={`M${x - 5} ${y - 5}l10 10m0-10l-10 10`} />
  if (node.rewind) return <rect x={x - 5} y={y - 5} width="10" height="10" rx="2" style={{ stroke: colour }} />
  const isCurrent = roles.includes('current')
  return (
    <>
      {isCurrent && <circle class="halo" cx={x} cy={y} r="9" />}
      <circle
        cx={x}
        cy={y}
        r={roles.includes('begin') || roles.includes('newest') || isCurrent ? 5.5 : 4}
        style={{ stroke: colour, fill: roles.includes('newest') || isCurrent ? colour : 'var(--panel)' }}
      />
    </>
  )
}

function nodesOf(branches: readonly Branch[]): TreeNode[] {
  return branches.flatMap(({ nodes }) => nodes.flatMap((node) => [node, ...nodesOf(node.sides)]))
}

function pointOf({ row, lane }: TreeEdge['from']): { readonly x: number; readonly y: number } {
  return { x: (lane + 0.5) * LANE + 4, y: (row + 0.5) * ROW }
}

function pathOf({ from, to }: TreeEdge): string {
  const [a, b] = [pointOf(from), pointOf(to)]
  if (a.x === b.x) return `M${a.x} ${a.y}V${b.y}`
  const bend = b.y - ROW * 0.75
  return `M${a.x} ${a.y}V${bend}C${a.x} ${b.y - 4} ${a.x + 4} ${b.y} ${b.x} ${b.y}`
}
