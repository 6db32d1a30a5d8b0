import { readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { dirname, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { writeCharts } from './charts.ts'
import { withReport, type Report } from './report.ts'
import { median } from './rounds.ts'
import { adk, emmett, memorySession, turnlog } from './subjects.ts'
import { workloads, type Row } from './workloads.ts'

const { values: args } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true, default: [] },
    json: { type: 'string' },
    from: { type: 'string' },
    charts: { type: 'string' },
    readme: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false }
  }
})

const names = workloads.map(({ name }) => name)
const stranger = args.only.find((name) => !names.includes(name))
if (args.help || stranger !== undefined) {
  if (stranger !== undefined) console.error(`There is no ${JSON.stringify(stranger)}\n`)
  console.log(`npm run bench -- [--quick] [--only NAME]... [--json FILE] [--from FILE] [--charts DIR] [--readme]

--quick        fewer rounds; under a minute
--only NAME    one of ${names.join(', ')}; may be repeated
--json FILE    writes every round's result there, too
--from FILE    measures nothing: shows what --json has written there
--charts DIR   writes charts there, for light and dark pages, wide and narrow
--readme       writes the table into README.md, and the charts into test/bench/charts`)
  process.exit(stranger === undefined ? 0 : 2)
}

const earlier = args.from === undefined ? undefined : (JSON.parse(readFileSync(args.from, 'utf8')) as Report)
const about: Omit<Report, 'rows'> = earlier ?? {
  date: new Date().toISOString(),
  command: ['npm run bench', ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])].join(' '),
  machine: `${cpus()[0]?.model ?? 'unknown CPU'}, ${cpus().length} cores, ${process.platform} ${process.arch}`,
  node: process.version,
  versions: Object.fromEntries([turnlog, memorySession, emmett, adk].map(({ name, version }) => [name, version]))
}
const readme = fileURLToPath(new URL('../../README.md', import.meta.url))
const charts = args.charts ?? (args.readme ? fileURLToPath(new URL('charts', import.meta.url)) : undefined)
// What cannot be written is told before all is measured.
if (args.readme) withReported([])

const { date, command, machine, node, versions } = about
for (const [name, value] of Object.entries({ date, command, machine, node, ...versions }))
  console.log(`${name.padEnd(20)}${value}`)
console.log(`
Medians, and least to most, of rounds in which all took turns. What is held against a target is the median of the rounds' ratios.
`)
line('measure', 'who', 'median', 'least–most', 'target', 'reached')

const rows: Row[] = []
for (const row of earlier?.rows ?? []) show(row)
for (const { name, run } of earlier === undefined ? workloads : []) {
  if (args.only.length > 0 && !args.only.includes(name)) continue
  if (process.stderr.isTTY) process.stderr.write(`${name} …\r`)
  const measured = await run({ isQuick: args.quick })
  for (const row of measured) show(row)
}
if (args.json !== undefined) writeFileSync(args.json, `${JSON.stringify({ ...about, rows }, null, 2)}\n`)
if (charts !== undefined) writeCharts(rows, charts)
if (args.readme) writeFileSync(readme, withReported(rows))

const missed = rows.filter(({ isMet }) => isMet === false).length
const met = rows.filter(({ isMet }) => isMet === true).length
console.log(`\n${met} met, ${missed} missed`)

function show(row: Row): void {
  print(row)
  rows.push(row)
}

function withReported(found: readonly Row[]): string {
  const directory = relative(dirname(readme), charts!).replaceAll(sep, '/')
  return withReport(readFileSync(readme, 'utf8'), { ...about, rows: found }, directory)
}

function print({ measure, unit, results, target = '', reached, isMet }: Row): void {
  const verdict = isMet === undefined ? '' : isMet ? 'met: ' : 'MISSED: '
  console.log('─'.repeat(150))
  for (const [i, [name, values]] of Object.entries(results).entries()) {
    const result = `${shown(median(values))} ${unit}`
    const spread = `${shown(Math.min(...values))}–${shown(Math.max(...values))}`
    if (i === 0) line(measure, name, result, spread, target, `${verdict}${reached}`)
    else line('', name, result, spread, '', '')
  }
}

function line(measure: string, who: string, result: string, spread: string, target: string, reached: string): void {
  const cells = [measure.padEnd(42), who.padEnd(14), result.padStart(12), spread.padEnd(16), target.padEnd(30), reached]
  console.log(cells.join('  ').trimEnd())
}

function shown(value: number): string {
  return value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : Math.round(value).toLocaleString('en')
}
