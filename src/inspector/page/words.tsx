import { diffWordsWithSpace } from 'diff'
import type { ComponentChild, VNode } from 'preact'
import type { Json } from '../../json.ts'
import type { Item } from '../wire.ts'
import type { ItemViewProps } from './message.tsx'
import { parsedJson } from './json.tsx'
import { visible } from './text.tsx'

/** Beyond so many edits, and so many milliseconds, two texts are taken to be different in all. */
const BOUNDS = { maxEditLength: 400, timeout: 30 }
/** Of two texts that have less in common, marks would say nothing. */
const LEAST_COMMON = 0.25

/** How the texts of an item of a side are shown beside those of another: with the words marked that the other has not. */
export function marksOf(other: Item, side: 'a' | 'b'): ItemViewProps['mark'] {
  return (text, path) => {
    const beside = textAt(other, path)
    if (beside === undefined) return undefined
    const [mine, others] = [pretty(text), pretty(beside)]
    const changes = side === 'a' ? compared(mine, others) : compared(others, mine)
    return changes && <Marked changes={changes} side={side} isCode={mine !== text} />
  }
}

/** A JSON value of a side, with what is marked that the other has not; `undefined` where they have too little in common. */
export function markedValue(value: Json, other: Json, side: 'a' | 'b'): VNode | undefined {
  const [mine, others] = [JSON.stringify(value, null, 2), JSON.stringify(other, null, 2)]
  const changes = side === 'a' ? compared(mine, others) : compared(others, mine)
  return changes && <Marked changes={changes} side={side} isCode />
}

type Changes = readonly { readonly value: string; readonly added: boolean; readonly removed: boolean }[]

function compared(a: string, b: string): Changes | undefined {
  if (a === b) return undefined
  const changes = diffWordsWithSpace(a, b, BOUNDS)
  if (!changes) return undefined
  const common = changes.reduce(
    (sum, { added, removed, value }) => sum + (added || removed ? 0 : value.trim().length),
    0
  )
  return common >= LEAST_COMMON * Math.min(a.length, b.length) ? changes : undefined
}

function Marked({
  changes,
  side,
  isCode
}: {
  readonly changes: Changes
  readonly side: 'a' | 'b'
  readonly isCode: boolean
}): VNode {
  const shown: ComponentChild[] = []
  // Spaces alone only where nothing else differs.
  const hasWords = changes.some(({ value, added, removed }) => (added || removed) && value.trim() !== '')
  for (const { value, added, removed } of changes) {
    const isMarked = (added || removed) && (!hasWords || value.trim() !== '')
    if (!isMarked) {
      if (side === 'a' ? !added : !removed) shown.push(...visible(value))
    } else if (removed && side === 'a') shown.push(<del>{visible(value)}</del>)
    else if (added && side === 'b') shown.push(<ins>{visible(value)}</ins>)
  }
  return (
    <div class={`text words ${isCode ? 'mono' : ''}`}>
      <div dir="auto">{shown}</div>
    </div>
  )
}

// Arguments and outputs are often JSON on one line.
function pretty(text: string): string {
  const value = parsedJson(text)
  return value === undefined ? text : JSON.stringify(value, null, 2)
}

function textAt({ message }: Item, path: readonly (string | number)[]): string | undefined {
  let part: unknown = message
  for (const key of path) {
    if (typeof part !== 'object' || part === null) return undefined
    part = (part as Readonly<Record<string, unknown>>)[key]
  }
  return part === undefined || part === null
    ? undefined
    : typeof part === 'string'
      ? part
      : JSON.stringify(part, null, 2)
}
