import type { VNode } from 'preact'
import type { EventLine, Kind, Outline } from '../wire.ts'

/** Kinds in the order in which they are drawn and told of, and what they are called. */
export const KIND_NAMES: { readonly [kind in Kind]: string } = {
  user: 'user',
  assistant: 'assistant',
  tool: 'tool',
  system: 'system',
  message: 'another message',
  replaced: 'a message replaced',
  truncated: 'messages cut off',
  metadata: 'metadata',
  turn: 'a turn',
  rewound: 'a rewind',
  created: 'the start, or a fork',
  deleted: 'deleted'
}

/** What an event is called. */
export function kindNameOf({ kind, what }: Pick<EventLine, 'kind' | 'what'>): string {
  return kind === 'created' ? (what.startsWith('fork of ') ? 'a fork' : 'the start') : KIND_NAMES[kind]
}

/** What stands in which lane: who speaks is told by place, and not by colour alone. */
const LANES: { readonly [kind in Kind]: 0 | 1 | 2 | 3 } = {
  user: 0,
  assistant: 1,
  tool: 2,
  system: 3,
  message: 3,
  replaced: 3,
  truncated: 3,
  metadata: 3,
  turn: 3,
  rewound: 3,
  created: 3,
  deleted: 3
}

/** Names of the lanes. */
export const LANE_NAMES = ['User', 'Assistant', 'Tools', 'Other'] as const

/** How high the parts of a track are, in pixels. */
export interface TrackSize {
  /** Above the lanes: where rewinds and problems are. */
  readonly top: number
  readonly lane: number
}

/** The height of a track. */
export function heightOf({ top, lane }: TrackSize): number {
  return top + LANE_NAMES.length * (lane + 1)
}

/** Properties of {@link Track}. */
export interface TrackProps extends TrackSize {
  readonly outline: Outline
  /** The versions that are drawn. */
  readonly from: number
  readonly to: number
  readonly width: number
}

/** The events of some versions: each a shape in the lane of who speaks; of many, how many there are. */
export function Track({ outline, from, to, width, top, lane }: TrackProps): VNode {
  const count = to - from + 1
  const x = (version: number): number => ((version - from) / count) * width
  const step = (outline.span / count) * width
  const shapes = new Map<Kind | 'problem', string>()
  const draw = (kind: Kind | 'problem', path: string): void => void shapes.set(kind, (shapes.get(kind) ?? '') + path)
  for (const [n, bucket] of outline.buckets.entries()) {
    const version = outline.from + n * outline.span
    if (version + outline.span <= from || version > to) continue
    const [left, right] = [Math.round(x(version)), Math.round(x(version) + step)]
    const wide =
      outline.span > 1 ? Math.max(1, right - left) : Math.max(1, Math.min(right - left - (step > 3 ? 1 : 0), 18))
    const center = outline.span === 1 ? left + (right - left) / 2 : left + wide / 2
    for (const [name, times] of Object.entries(bucket) as [Kind | 'problem', number][]) {
      if (name === 'problem') {
        draw(name, problemShape(center, top))
        continue
      }
      const bottom = top + LANES[name] * (lane + 1) + lane
      const share = outline.span === 1 ? 1 : Math.max(0.25, Math.min(1, (times / outline.span) * 2))
      draw(
        name,
        shapeOf(name, center - wide / 2, bottom, wide, Math.max(2, Math.round(lane * share)), outline.span === 1)
      )
    }
  }
  return (
    <svg width={width} height={heightOf({ top, lane })} aria-hidden="true" class="track">
      <path class="bands" d={bandsOf(outline, from, to, x, top, lane)} />
      {[...shapes].map(([kind, path]) => (
        <path key={kind} class={`kind-${kind}`} d={path} />
      ))}
      <path class="arcs" d={arcsOf(outline, from, to, x, count, width, top)} />
    </svg>
  )
}

/** One shape, as the legend shows it. */
export function Glyph({ kind }: { readonly kind: Kind | 'problem' }): VNode {
  const path = kind === 'problem' ? problemShape(8, 12) : shapeOf(kind, 3, 13, 10, 10, true)
  return (
    <svg width={16} height={16} aria-hidden="true" class="track glyph">
      <path class={`kind-${kind}`} d={path} />
    </svg>
  )
}

// From `x` on, standing on `y`. Where each event has its own place, each kind has its own shape, too.
function shapeOf(kind: Kind, x: number, y: number, w: number, h: number, isSingle: boolean): string {
  if (!isSingle || w < 5) {
    // Narrow ones are told apart by their height.
    const part = { system: 1, created: 1, deleted: 1, rewound: 1, replaced: 0.75, message: 0.6, truncated: 0.75 }
    const high = isSingle
      ? Math.max(2, Math.round(h * ((part as { [kind in Kind]?: number })[kind] ?? (isSpeaker(kind) ? 1 : 0.45))))
      : h
    return `M${x} ${y}h${w}v${-high}h${-w}z`
  }
  const [half, middle] = [w / 2, h / 2]
  switch (kind) {
    case 'user':
      return `M${x} ${y}h${w}v${-h}h${-w}z`
    case 'assistant':
      return rounded(x, y, w, h)
    case 'tool':
      // A slanted one.
      return `M${x} ${y}h${w - 3}l3 ${-h}h${3 - w}z`
    case 'system':
      return `M${x} ${y}h${w}v-3h${-w}zM${x} ${y - h + 3}h${w}v-3h${-w}z`
    case 'message':
      return `M${x} ${y - middle + 2}h${w}v-4h${-w}z`
    case 'replaced':
      return `M${x} ${y}h${w}v${-h}h${-w}zM${x + 2} ${y - 2}v${4 - h}h${w - 4}v${h - 4}z`
    case 'truncated':
      return `M${x} ${y - h}h${w}l${-half} ${h}z`
    case 'metadata':
      return `M${x + half} ${y}l${Math.min(half, middle)} ${-middle}l${-Math.min(half, middle)} ${-middle}l${-Math.min(half, middle)} ${middle}z`
    case 'rewound':
      return `M${x + w} ${y}v${-h}l${-w} ${middle}z`
    case 'turn':
      return `M${x + half - 1} ${y}h2v${-h}h-2zM${x + half - 3} ${y}h6v-2h-6zM${x + half - 3} ${y - h + 2}h6v-2h-6z`
    case 'created':
      return `M${x} ${y}h2v${-h}h-2zM${x + 2} ${y - h}l${w - 2} ${h / 3}l${2 - w} ${h / 3}z`
    case 'deleted':
      return cross(x + half, y - middle, Math.min(half, middle))
  }
}

function isSpeaker(kind: Kind): boolean {
  return LANES[kind] < 3
}

function rounded(x: number, y: number, w: number, h: number): string {
  const r = Math.min(4, w / 2, h / 2)
  return `M${x + r} ${y}h${w - 2 * r}q${r} 0 ${r} ${-r}v${2 * r - h}q0 ${-r} ${-r} ${-r}h${2 * r - w}q${-r} 0 ${-r} ${r}v${h - 2 * r}q0 ${r} ${r} ${r}z`
}

function cross(x: number, y: number, r: number): string {
  const t = 1.5
  return `M${x - r} ${y - r + t}l${t} ${-t}L${x} ${y - t}L${x + r - t} ${y - r}l${t} ${t}L${x + t} ${y}L${x + r} ${y + r - t}l${-t} ${t}L${x} ${y + t}L${x - r + t} ${y + r}l${-t} ${-t}L${x - t} ${y}z`
}

// A small triangle that points to the event below it.
function problemShape(x: number, top: number): string {
  return `M${x - 4} ${top - 9}h8l-4 7z`
}

/** So many marks an outline has at most. */
const MARKS = 500

// Turns, from where one begins to where it ends.
function bandsOf(
  { marks }: Outline,
  from: number,
  to: number,
  x: (version: number) => number,
  top: number,
  lane: number
): string {
  const height = LANE_NAMES.length * (lane + 1)
  let [path, begin] = ['', undefined as number | undefined]
  // Of what was before the first of the newest marks nothing is known.
  const known = marks.length < MARKS ? from : Math.max(from, marks[0]!.version)
  const band = (start: number, end: number): void => {
    const [left, right] = [Math.max(x(start), x(from)), Math.min(x(end), x(to + 1))]
    if (right > left) path += `M${left} ${top}H${right}v${height}H${left}z`
  }
  for (const { version, turn } of marks) {
    if (turn === 'begins') begin ??= version
    if (turn === 'ends') {
      band(begin ?? known, version + 1)
      begin = undefined
    }
  }
  if (begin !== undefined) band(begin, to + 1)
  return path
}

// Rewinds, from the event to the version that it goes back to.
function arcsOf(
  { marks }: Outline,
  from: number,
  to: number,
  x: (version: number) => number,
  count: number,
  width: number,
  top: number
): string {
  let path = ''
  const middle = width / count / 2
  for (const { version, toVersion } of marks) {
    if (toVersion === undefined || version < from || toVersion > to) continue
    const [start, end] = [Math.min(x(version) + middle, width), Math.max(x(toVersion) + middle, 0)]
    const high = Math.min(top - 3, 4 + (start - end) / 6)
    path += `M${start} ${top}C${start} ${top - high * 1.3} ${end} ${top - high * 1.3} ${end} ${top - 1}`
    if (toVersion >= from) path += `m-3 -4l3 4l4 -3`
  }
  return path
}
