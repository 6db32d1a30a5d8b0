import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { dirname, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { writeCharts } from './charts.ts'
import { adkSqlite } from './peers/adk.ts'
import { emmett, emmettSqlite } from './peers/emmett.ts'
import { chatHistory } from './peers/langchain.ts'
import { memorySaver, sqliteSaver } from './peers/langgraph.ts'
import { memorySession } from './peers/openai.ts'
import { withReport, type Report } from './report.ts'
import { median } from './rounds.ts'
import { turnlog, versionOf } from './subjects.ts'
import { workloads, type Row } from './workloads.ts'

const { values: args } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true, default: [] },
    list: { type: 'boolean', default: false },
    runs: { type: 'string' },
    json: { type: 'string' },
    from: { type: 'string' },
    charts: { type: 'string' },
    readme: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false }
  }
})

const names = workloads.map(({ name }) => name)
// A name is that one; what is no name stands for all that begin with it.
const isMeant = (name: string, only: string): boolean =>
  name === only || (!names.includes(only) && name.startsWith(only))
const stranger = args.only.find((only) => !names.some((name) => isMeant(name, only)))
if (args.help || stranger !== undefined) {
  if (stranger !== undefined) console.error(`There is no ${JSON.stringify(stranger)}\n`)
  console.log(`npm run bench -- [--quick] [--only NAME]... [--runs FILE] [--json FILE] [--charts DIR] [--readme]
npm run bench -- --from FILE [--charts DIR] [--readme]

--quick        fewer rounds, and fewer sessions where there are a million: some minutes
--only NAME    one of those that --list has, or all that begin so; may be repeated
--list         what there is
--runs FILE    real runs, one a line: { messages }, in OpenAI's chat format; by default ../shared/data/tau-airline.jsonl
--json FILE    writes every round's result there, too
--from FILE    measures nothing: shows what --json has written there
--charts DIR   writes charts there, for light and dark pages, wide and narrow
--readme       writes the table into README.md, and the charts into test/bench/charts`)
  process.exit(stranger === undefined ? 0 : 2)
}
if (args.list) {
  console.log(names.join('\n'))
  process.exit()
}

const shared = fileURLToPath(new URL('../../../shared/data/tau-airline.jsonl', import.meta.url))
const runs = args.runs ?? (existsSync(shared) ? shared : undefined)
const [cpu] = cpus()
const versions = {
  turnlog: turnlog.version,
  MemorySession: `@openai/agents-core ${memorySession.version}`,
  ADK: `@google/adk ${adkSqlite.version}`,
  emmett: `@event-driven-io/emmett ${emmett.version}, emmett-sqlite ${emmettSqlite.version}`,
  MemorySaver: `@langchain/langgraph-checkpoint ${memorySaver.version}`,
  SqliteSaver: `@langchain/langgraph-checkpoint-sqlite ${sqliteSaver.version}`,
  ChatMessageHistory: `@langchain/core ${chatHistory.version}`,
  bare: ['better-sqlite3', 'pg', '@nats-io/jetstream'].map((name) => `${name} ${versionOf(name)}`).join(', ')
}
const earlier = args.from === undefined ? undefined : (JSON.parse(readFileSync(args.from, 'utf8')) as Report)
const about: Omit<Report, 'rows'> = earlier ?? {
  date: new Date().toISOString(),
  command: ['npm run bench', ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])].join(' '),
  machine: `${cpu?.model ?? 'unknown CPU'}, ${cpus().length} cores, ${process.platform} ${process.arch}`,
  node: process.version,
  versions
}
const readme = fileURLToPath(new URL('../../README.md', import.meta.url))
const charts = args.charts ?? (args.readme ? fileURLToPath(new URL('charts', import.meta.url)) : undefined)
// What cannot be written is told before all is measured.
if (args.readme) withReported([])

const { date, command, machine, node } = about
for (const [name, value] of Object.entries({ date, command, machine, node, ...about.versions }))
  console.log(`${name.padEnd(20)}${value}`)
console.log(`
Medians, and least to most, of rounds in which all took turns. What is held against a target is the median of the rounds' ratios.
`)
line('measure', 'who', 'median', 'least–most', 'target', 'reached')

const rows: Row[] = []
for (const row of earlier?.rows ?? []) show(row)
const measurable = earlier === undefined ? workloads : []
const chosen = measurable.filter(({ name }) => args.only.length === 0 || args.only.some((only) => isMeant(name, only)))
for (const [i, { name, run }] of chosen.entries()) {
  process.stderr.write(`${name} (${i + 1} of ${chosen.length}) …${process.stderr.isTTY ? '\x1b[K\r' : '\n'}`)
  const measured = await run({ isQuick: args.quick, ...(runs !== undefined && { runs }) })
  if (process.stderr.isTTY) process.stderr.write('\x1b[K')
  for (const row of measured) show(row)
}
if (args.json !== undefined) writeFileSync(args.json, `${JSON.stringify({ ...about, rows }, null, 2)}\n`)
if (charts !== undefined) writeCharts(rows, charts)
if (args.readme) writeFileSync(readme, withReported(rows))

const missed = rows.filter(({ isMet }) => isMet === false).length
const met = rows.filter(({ isMet }) => isMet === true).length
console.log(`\n${met} met, ${missed} missed`)

// A peer that failed may have left something open.
process.exit()

function show(row: Row): void {
  print(row)
  rows.push(row)
}

/** The README with that. */
function withReported(found: readonly Row[]): string {
  const directory = relative(dirname(readme), charts!).replaceAll(sep, '/')
  return withReport(readFileSync(readme, 'utf8'), { ...about, rows: found }, directory)
}

function print({ measure, unit, results, target = '', reached, isMet, notes = [] }: Row): void {
  const verdict = isMet === undefined ? '' : isMet ? 'met: ' : 'MISSED: '
  console.log('─'.repeat(150))
  for (const [i, [name, values]] of Object.entries(results).entries()) {
    const result = `${shown(median(values))} ${unit}`
    const spread = `${shown(Math.min(...values))}–${shown(Math.max(...values))}`
    if (i === 0) line(measure, name, result, spread, target, `${verdict}${reached}`)
    else line('', name, result, spread, '', '')
  }
  for (const note of notes) console.log(`${' '.repeat(44)}${note}`)
}

function line(measure: string, who: string, result: string, spread: string, target: string, reached: string): void {
  const cells = [measure.padEnd(42), who.padEnd(32), result.padStart(12), spread.padEnd(17), target.padEnd(28), reached]
  console.log(cells.join('  ').trimEnd())
}

function shown(value: number): string {
  return value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : Math.round(value).toLocaleString('en')
}
