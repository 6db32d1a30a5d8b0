import { describe, expect, it } from 'vitest'
import { type Branch, layoutOf, type TreeLayout } from '../../src/inspector/page/tree-layout.ts'
import type { TreeSession } from '../../src/inspector/wire.ts'

describe('the drawing of a tree', () => {
  it('is a straight line where nothing was forked or rewound', () => {
    const layout = layoutOf({ sessions: [session('a', 5)] })
    expect(drawn(layout)).toEqual(['a@1', 'a@5'])
    expect(layout).toMatchObject({ rows: 2, lanes: 1, hidden: 0 })
    expect(layout.edges).toHaveLength(1)
  })

  it('has a fork beside the version that it is of, before the line goes on', () => {
    const layout = layoutOf({ sessions: [session('a', 9), session('b', 3, { of: 'a', at: 4 })] })
    expect(drawn(layout)).toEqual(['a@1', 'a@4', '  b@1', '  b@3', 'a@9'])
  })

  it('has what a rewind left behind beside the version that it went back to', () => {
    const layout = layoutOf({ sessions: [session('a', 8, undefined, [[7, 3]])] })
    expect(drawn(layout)).toEqual(['a@1', 'a@3', '  a@6 left', 'a@7', 'a@8'])
  })

  it('follows what a session has now, also where a redo went back to what was left', () => {
    const layout = layoutOf({
      sessions: [
        session('a', 9, undefined, [
          [7, 3],
          [8, 6],
          [9, 7]
        ])
      ]
    })
    // 9 is what was at 7, which is what was at 3; what was at 8 was what was at 6.
    expect(drawn(layout)).toEqual(['a@1', 'a@3', '  a@6 left', '  a@8 left', 'a@7', 'a@9'])
  })

  it('shows where the reader is', () => {
    const layout = layoutOf({ sessions: [session('a', 9)] }, { userId: 'ada', id: 'a', version: 6 })
    expect(drawn(layout)).toEqual(['a@1', 'a@6', 'a@9'])
    expect(layout.branches[0]!.nodes[1]!.roles).toEqual(['current'])
  })

  it('begins anew where the origin is not known, and shows those that name each other', () => {
    const layout = layoutOf({
      sessions: [
        session('b', 2, { of: 'gone', at: 4 }),
        session('c', 2, { of: 'd', at: 1 }),
        session('d', 2, { of: 'c', at: 1 })
      ]
    })
    expect(drawn(layout)).toEqual(['b@1', 'b@2', 'c@1', '  d@1', '  d@2', 'c@2'])
  })

  it('has no more rows than nodes, and no line that crosses another', () => {
    const sessions = Array.from({ length: 60 }, (_, n) =>
      session(`s${n}`, 40, n === 0 ? undefined : { of: `s${Math.floor((n - 1) / 3)}`, at: (n * 7) % 40 }, [
        [10, 4],
        [20, 12],
        [30, 9]
      ])
    )
    const { rows, edges, lanes, branches } = layoutOf({ sessions })
    expect(nodesOf(branches).map(({ row }) => row)).toEqual(Array.from({ length: rows }, (_, n) => n))
    const taken = new Map<string, string>()
    for (const {
      from,
      to,
      session: { id },
      kind
    } of edges) {
      expect(to.lane - from.lane === 0 || to.lane - from.lane === 1).toBe(true)
      if (to.lane !== from.lane) continue
      for (let row = from.row + 1; row < to.row; row++) {
        const place = `${row} ${to.lane}`
        expect(taken.get(place)).toBeUndefined()
        taken.set(place, `${id} ${kind}`)
      }
    }
    for (const { row, lane } of nodesOf(branches)) expect(taken.has(`${row} ${lane}`)).toBe(false)
    expect(lanes).toBeLessThan(20)
  })

  it('shows the newest of many rewinds', () => {
    const rewinds = Array.from({ length: 1_000 }, (_, n): [number, number] => [n * 2 + 4, n * 2 + 1])
    const { hidden, rows } = layoutOf({ sessions: [session('a', 3_000, undefined, rewinds)] })
    expect(hidden).toBe(700)
    expect(rows).toBeLessThan(1_000)
  })
})

function session(
  id: string,
  latest: number,
  fork?: { readonly of: string; readonly at: number },
  rewinds: readonly [version: number, toVersion: number][] = []
): TreeSession {
  return {
    userId: 'ada',
    id,
    version: latest,
    latest,
    count: latest,
    ...(fork && {
      forkedFrom: { userId: 'ada', sessionId: fork.of, version: fork.at }
    }),
    rewinds: rewinds.map(([version, toVersion]) => ({ version, toVersion, kind: 'rewind' as const }))
  }
}

function nodesOf(branches: readonly Branch[]): TreeLayout['branches'][number]['nodes'][number][] {
  return branches.flatMap(({ nodes }) => nodes.flatMap((node) => [node, ...nodesOf(node.sides)]))
}

// The rows as text, each in its lane.
function drawn({ branches }: TreeLayout): string[] {
  const lines = (branch: Branch): string[] =>
    branch.nodes.flatMap(({ session: { id }, version, lane, sides }) => [
      `${'  '.repeat(lane)}${id}@${version}${branch.kind === 'left' ? ' left' : ''}`,
      ...sides.flatMap(lines)
    ])
  return branches.flatMap(lines)
}
