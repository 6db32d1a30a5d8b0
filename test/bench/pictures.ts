import { exponentOf, median } from './rounds.ts'
import type { Row } from './row.ts'

// What is to be seen on the pictures, apart from how they are drawn.

/** A picture is drawn for each of both, and is a file for each: see {@link fileOf}. */
export const THEMES = ['light', 'dark'] as const
export const WIDTHS = ['wide', 'narrow'] as const
export type Theme = (typeof THEMES)[number]
export type Width = (typeof WIDTHS)[number]

/** A file of its own, in each form that it is drawn in. */
export interface Picture {
  readonly name: string
  readonly title: string
  /** How it is to be read. */
  readonly note: string
  readonly panels: readonly Panel[]
}

/** A chart, both of whose axes are logarithmic. */
export interface Panel {
  readonly title: string
  /** What `x` counts. */
  readonly axis: string
  readonly unit: Row['unit']
  readonly lines: readonly Line[]
  /** A size at which something changes. */
  readonly mark?: { readonly x: number; readonly text: string }
}

export interface Line {
  readonly name: string
  /** `ours` is set off from peers; `loose` ones do less than the others, `limit` is what nobody can pass. */
  readonly kind: 'ours' | 'peer' | 'loose' | 'limit'
  /** Which colour it has, from 0 on: a name has the same on all pictures. */
  readonly colour: number
  /** By rising `x`. */
  readonly points: readonly Point[]
  /** `b` of value ~ x^b, where that is what is to be seen. */
  readonly exponent?: number
}

export interface Point {
  readonly x: number
  readonly median: number
  readonly least: number
  readonly most: number
}

interface PanelForm extends Pick<Panel, 'title' | 'axis' | 'mark'> {
  /** The name that its rows have. */
  readonly chart: string
  readonly loose?: readonly string[]
}

interface PictureForm extends Pick<Picture, 'name' | 'title' | 'note'> {
  readonly panels: readonly PanelForm[]
  /** All lines are ours: operations, whose growth is told. */
  readonly isGrowth?: boolean
}

/** They hand out the stored objects themselves. */
const LOOSE = ['emmett', 'ChatMessageHistory']

const FORMS: readonly PictureForm[] = [
  {
    name: 'turn',
    title: 'What a turn of an agent costs, by the length of its history',
    note: 'A turn reads all messages and appends two. Median; shaded: least to most. Dashed: hands out its own objects, so that a reader can change the history.',
    panels: [{ chart: 'loop', title: '', axis: 'messages in the history', loose: LOOSE }]
  },
  {
    name: 'append',
    title: 'Awaited appends per second, by the number of sessions written to at once',
    note: 'Higher is better. Median; shaded: least to most. Dashed: hands out its own objects. Dotted: a bare loop over the driver.',
    panels: [
      { chart: 'append-memory', title: 'In memory', axis: 'sessions at once', loose: LOOSE },
      { chart: 'append-sqlite', title: 'In SQLite', axis: 'sessions at once' }
    ]
  },
  {
    name: 'growth',
    title: 'What an operation of turnlog costs, as things grow',
    note: 'A flat line costs the same at any size. Fitted growth beside each: n^0 is flat, n^1 in proportion. Median; shaded: least to most.',
    isGrowth: true,
    panels: [
      {
        chart: 'growth-history',
        title: 'By messages in the session',
        axis: 'messages',
        mark: { x: 16_384, text: 'beyond, V8 maps an array apart' }
      },
      { chart: 'growth-stored', title: 'By sessions in the SQLite file', axis: 'sessions in the file' },
      { chart: 'growth-active', title: 'By sessions in memory', axis: 'sessions in memory' },
      { chart: 'growth-subscribers', title: 'By subscribers, until all have it', axis: 'subscribers' },
      { chart: 'growth-processes', title: 'By processes: appends to one SQLite file', axis: 'processes' }
    ]
  }
]

/** A name that is not here is given a colour by its place. */
const COLOURS: Readonly<Record<string, number>> = {
  turnlog: 0,
  MemorySession: 1,
  ADK: 2,
  emmett: 3,
  MemorySaver: 4,
  SqliteSaver: 4,
  ChatMessageHistory: 5
}

/** Those that there are rows for. */
export function picturesOf(rows: readonly Row[]): Picture[] {
  return FORMS.flatMap(({ panels: forms, isGrowth = false, ...picture }) => {
    const panels = forms.flatMap((form) => panelOf(form, rows, isGrowth) ?? [])
    return panels.length === 0 ? [] : [{ ...picture, panels }]
  })
}

export function fileOf(picture: Picture, theme: Theme, width: Width): string {
  return `${picture.name}${width === 'narrow' ? '-narrow' : ''}-${theme}.svg`
}

/** Whether a picture shows the row. */
export function isPictured({ chart }: Row): boolean {
  return FORMS.some(({ panels }) => panels.some((panel) => panel.chart === chart?.name))
}

/** For those who do not see it: what it is of, and both ends of each line. */
export function altOf({ title, panels }: Picture): string {
  const said = panels.map((panel) => {
    const lines = panel.lines.map(({ name, points, exponent }) => {
      const [first, last] = [points[0]!, points.at(-1)!]
      const [from, to] = [readable(first.median, panel.unit), readable(last.median, panel.unit)]
      const growth = exponent === undefined ? '' : `, ${grown(exponent)}`
      return first === last
        ? `${name} ${from} at ${count(first.x)}`
        : `${name} ${from} at ${count(first.x)}, ${to} at ${count(last.x)}${growth}`
    })
    return `${panel.title === '' ? `By ${panel.axis}` : panel.title}: ${lines.join('; ')}.`
  })
  return `Line chart, both axes logarithmic. ${title}. ${said.join(' ')}`
}

function panelOf(
  { chart, loose = [], ...form }: PanelForm,
  rows: readonly Row[],
  isGrowth: boolean
): Panel | undefined {
  const points = rows.filter((row) => row.chart?.name === chart)
  if (points.length === 0) return undefined
  const names = Array.from(new Set(points.flatMap(({ results }) => Object.keys(results))))
  // What was fitted round by round: a row that is no point, and has the same names.
  const fitted = rows.find(
    ({ measure, unit, results }) =>
      unit === '' && measure.startsWith(`${chart}:`) && names.every((name) => results[name] !== undefined)
  )
  const taken = new Set(names.map((name) => COLOURS[name]))
  let next = 0
  const lines = names.map((name): Line => {
    const line = lineOf(points, name)
    const isLimit = name.startsWith('bare') || name === 'by hand'
    while (COLOURS[name] === undefined && !isLimit && taken.has(next)) next++
    return {
      name,
      kind: isGrowth || name === 'turnlog' ? 'ours' : isLimit ? 'limit' : loose.includes(name) ? 'loose' : 'peer',
      colour: COLOURS[name] ?? (isLimit ? LIMIT_COLOUR : next++),
      points: line,
      ...(isGrowth && line.length > 1 && { exponent: fitted ? median(fitted.results[name]!) : fitOf(line) })
    }
  })
  return { ...form, unit: points[0]!.unit, lines: lines.filter((line) => line.points.length > 0) }
}

const LIMIT_COLOUR = 6

function lineOf(rows: readonly Row[], name: string): Point[] {
  return rows
    .flatMap(({ results, chart }) => {
      const values = results[name] ?? []
      if (values.length === 0) return []
      return [{ x: chart!.x, median: median(values), least: Math.min(...values), most: Math.max(...values) }]
    })
    .toSorted((a, b) => a.x - b.x)
}

function fitOf(points: readonly Point[]): number {
  return exponentOf(
    points.map(({ x }) => x),
    points.map((point) => point.median)
  )
}

/** As in `n^0.04`; no figure is written as minus nothing. */
export function grown(exponent: number): string {
  return `n^${exponent.toFixed(2).replace(/^-(0\.00)$/, '$1')}`
}

/**
 * A value with the unit in which people read it, to two digits, or three where the first is a one: no measure is finer. Small
 * numbers of bytes are counted; what has no unit has two places.
 */
export function readable(value: number, unit: Row['unit']): string {
  if (unit === '') return count(Number(value.toFixed(2)) || 0)
  for (const [factor, larger] of LARGER[unit] ?? []) {
    // What rounds up to a thousand has the next unit.
    if (Number(digits(value / factor)) >= 1) return `${spelt(digits(value / factor))} ${larger}`
  }
  if (unit === 'bytes') return `${count(Math.round(value))} bytes`
  return `${spelt(digits(value))}${unit.startsWith('/') ? '' : ' '}${unit}`
}

/** From the largest on, what is a unit when there is enough of it. */
const LARGER: Readonly<Partial<Record<Row['unit'], readonly (readonly [factor: number, unit: string])[]>>> = {
  µs: [
    [1e6, 's'],
    [1e3, 'ms'],
    [1, 'µs'],
    [1e-3, 'ns']
  ],
  ms: [
    [1e3, 's'],
    [1, 'ms'],
    [1e-3, 'µs']
  ],
  bytes: [
    [1024 ** 3, 'GB'],
    [1024 ** 2, 'MB'],
    [1024, 'KB']
  ],
  MB: [[1024, 'GB']]
}

function digits(value: number): string {
  const two = value.toPrecision(2)
  return /^[0.]*1/.test(two) && /^[0.]*1/.test(value.toPrecision(3)) ? value.toPrecision(3) : two
}

/** Without an exponent, and with the zeros that say how fine it is. */
function spelt(rounded: string): string {
  return rounded.includes('e') || !rounded.includes('.') ? count(Number(rounded)) : rounded
}

/** With a comma between thousands. */
export function count(value: number): string {
  return value.toLocaleString('en', { maximumFractionDigits: 10 })
}
