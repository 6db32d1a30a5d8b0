// npm run guard: whether the promises of the README hold that can be counted, or are so far off that a clock shows it on any machine.
import { compile } from '../compiled.ts'
import { Kit, type Turnlog } from './kit.ts'
import { LIMITS, type Limit, type MeasureName } from './limits.ts'
import { MEASURES, warmUp, type Measure } from './measures.ts'

const names = Object.keys(LIMITS) as MeasureName[]
const asked = process.argv.slice(2)
const stranger = asked.find((name) => !names.includes(name as MeasureName))
if (stranger !== undefined) {
  console.error(`There is no ${JSON.stringify(stranger)}: npm run guard -- [NAME]..., of ${names.join(', ')}`)
  process.exit(2)
}

const compiled = compile()
try {
  const turnlog = await load(compiled.path)
  await warmUp(new Kit(turnlog))
  let failures = 0
  console.log('A limit is also held against what breaks the promise, to see that it tells.\n')
  row('measure', 'is', 'limit', 'if broken')
  for (const name of names) {
    if (asked.length > 0 && !asked.includes(name)) continue
    const limit: Limit = LIMITS[name]
    const measure = MEASURES[name]
    const value = await within(limit, measure, turnlog)
    const broken = await measure.run(new Kit(turnlog, measure.flaw))
    const verdict = isWithin(limit, value) ? (isWithin(limit, broken) ? 'TELLS NOTHING' : '') : 'BROKEN'
    if (verdict) failures++
    row(name, shown(value), limit.most === undefined ? `>= ${limit.least}` : `<= ${limit.most}`, shown(broken), verdict)
  }
  console.log(failures === 0 ? '\nall kept' : `\n${failures} broken: what each guards is in test/guard/limits.ts`)
  if (failures > 0) process.exitCode = 1
} finally {
  compiled.remove()
}

/** What is no count is measured again before it is believed to be broken. */
async function within(limit: Limit, measure: Measure, turnlog: Turnlog): Promise<number> {
  let value = NaN
  for (let attempt = 0; attempt < (limit.repeats ?? 1) && !isWithin(limit, value); attempt++)
    value = await measure.run(new Kit(turnlog))
  return value
}

function isWithin({ most = Infinity, least = -Infinity }: Limit, value: number): boolean {
  return value <= most && value >= least
}

async function load(dist: string): Promise<Turnlog> {
  const modules = ['index.js', 'stores/sqlite.js'].map((file): Promise<object> => import(`${dist}/${file}`))
  const [core, sqlite] = await Promise.all(modules)
  return { ...core, ...sqlite } as Turnlog
}

function shown(value: number): string {
  return Number.isInteger(value) || value >= 1_000 ? Math.round(value).toLocaleString('en') : value.toFixed(2)
}

function row(...[name, value, limit, broken, verdict = '']: string[]): void {
  const cells = [name!.padEnd(24), value!.padStart(10), limit!.padStart(12), broken!.padStart(12), verdict]
  console.log(cells.join('  ').trimEnd())
}
