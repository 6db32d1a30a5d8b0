import { median } from './rounds.ts'
import { altOf, fileOf, isPictured, picturesOf, readable, type Picture, type Theme, type Width } from './pictures.ts'
import type { Row } from './row.ts'

/** What a run of the bench comes to: the form of `--json`. */
export interface Report {
  /** In ISO 8601. */
  readonly date: string
  readonly command: string
  readonly machine: string
  readonly node: string
  /** By the name that it has in the rows. */
  readonly versions: Readonly<Record<string, string>>
  readonly rows: readonly Row[]
}

const BEGIN = '<!-- bench -->'
const END = '<!-- /bench -->'

/**
 * The README with what is between its marks `<!-- bench -->` and `<!-- /bench -->` replaced, and nothing else. The pictures are in
 * `directory`, as the README names it.
 *
 * @throws An Error if it does not have both marks, once and in this order.
 */
export function withReport(readme: string, report: Report, directory: string): string {
  const [before, rest, ...more] = readme.split(BEGIN)
  const [old, after, ...others] = rest?.split(END) ?? []
  if (old === undefined || after === undefined || more.length + others.length > 0 || before!.includes(END))
    throw new Error(`The README must have ${BEGIN} and then ${END}, each once`)
  return `${before}${BEGIN}\n\n${blockOf(report, directory)}\n\n${END}${after}`
}

function blockOf({ rows, ...about }: Report, directory: string): string {
  const pictures = picturesOf(rows)
  const inTable = rows.filter((row) => !isPictured(row) || row.target !== undefined)
  const parts = [
    introOf(about),
    ...pictures.map((picture) => pictureOf(picture, directory)),
    tableOf(inTable),
    figuresOf(rows.filter(isPictured)),
    notesOf(rows)
  ]
  return parts.filter((part) => part !== '').join('\n\n')
}

function introOf({ date, command, machine, node, versions }: Omit<Report, 'rows'>): string {
  const others = Object.entries(versions).map(([name, version]) => `${name}: ${version}`)
  return `\`${command}\` on ${date.slice(0, 10)}: ${escaped(machine)}, Node ${node.replace(/^v/, '')}. Medians of rounds in which all took turns.
Versions: ${escaped(others.join('; '))}.`
}

function pictureOf(picture: Picture, directory: string): string {
  const source = (media: string, theme: Theme, width: Width): string =>
    `  <source media="${media}" srcset="${directory}/${fileOf(picture, theme, width)}">`
  return [
    '<picture>',
    source('(prefers-color-scheme: dark) and (max-width: 600px)', 'dark', 'narrow'),
    source('(prefers-color-scheme: dark)', 'dark', 'wide'),
    source('(max-width: 600px)', 'light', 'narrow'),
    `  <img alt="${attribute(altOf(picture))}" src="${directory}/${fileOf(picture, 'light', 'wide')}">`,
    '</picture>'
  ].join('\n')
}

function tableOf(rows: readonly Row[]): string {
  return table(
    ['measure', 'turnlog', 'compared with', 'asked', 'reached'],
    rows.map(({ measure, unit, results, target = '', reached, isMet }) => {
      const said = Object.entries(results).map(([name, values]) => {
        return name === 'turnlog' ? valueOf(values, unit) : `${name} ${valueOf(values, unit)}`
      })
      // Else it is about us alone: each result is one of ours.
      const isComparison = Object.keys(results)[0]?.startsWith('turnlog') ?? false
      const ours = isComparison ? 1 : said.length
      const verdict = isMet === false ? 'missed: ' : ''
      return [measure, said.slice(0, ours).join('; '), said.slice(ours).join('; '), target, `${verdict}${reached}`]
    })
  )
}

/** What the pictures show: of each chart a table, with a column for each of its lines. */
function figuresOf(rows: readonly Row[]): string {
  const tables = Array.from(grouped(rows, ({ chart }) => chart!.name).values(), (points) => {
    const names = Array.from(new Set(points.flatMap(({ results }) => Object.keys(results))))
    const isSaid = points.some(({ reached }) => reached !== '')
    return table(
      ['', ...names, ...(isSaid ? ['reached'] : [])],
      points.map(({ measure, unit, results, reached }) => [
        measure,
        ...names.map((name) => valueOf(results[name] ?? [], unit)),
        ...(isSaid ? [reached] : [])
      ])
    )
  })
  return folded('The figures of the charts', tables.join('\n\n'))
}

/** Each once, after all that it is about. */
function notesOf(rows: readonly Row[]): string {
  const notes = rows.flatMap(({ measure, notes: its = [] }) => its.map((note) => ({ measure, note })))
  const lines = Array.from(
    grouped(notes, ({ note }) => note),
    ([note, about]) => {
      return `- ${escaped(about.map(({ measure }) => measure).join('; '))}: ${escaped(note)}`
    }
  )
  return folded('Notes', lines.join('\n'))
}

function folded(summary: string, text: string): string {
  return text === '' ? '' : `<details><summary>${summary}</summary>\n\n${text}\n\n</details>`
}

function grouped<T>(values: readonly T[], by: (value: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const value of values) groups.set(by(value), [...(groups.get(by(value)) ?? []), value])
  return groups
}

function valueOf(values: readonly number[], unit: Row['unit']): string {
  return values.length === 0 ? '' : readable(median(values), unit)
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return ''
  const line = (cells: readonly string[]): string =>
    `|${cells.map((cell) => (cell === '' ? ' |' : ` ${cell} |`)).join('')}`
  return [head, head.map(() => '---'), ...rows.map((cells) => cells.map(escaped))].map(line).join('\n')
}

/** Text in a line of Markdown, where it means nothing else. */
function escaped(text: string): string {
  return text.replaceAll(/\s+/g, ' ').replaceAll(/[\\|`*_<>[\]]/g, '\\$&')
}

function attribute(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('<', '&lt;')
}
