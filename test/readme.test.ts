import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { contentPartSchema, createSessionHistory, eventSchema, isTurnlogError, messageSchema } from '../src/index.ts'
import type { TestRunner } from '../src/testing.ts'
import { natsMissing, natsServer } from './servers/nats.ts'
import { postgresMissing, postgresServer } from './servers/postgres.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const README = read('README.md')
const PACKAGE = JSON.parse(read('package.json')) as {
  readonly version: string
  readonly license: string
  readonly engines: { readonly node: string }
  readonly exports: object
  readonly scripts: object
  readonly dependencies: object
}

/** What stands in the README for a server of the tests. */
const SERVERS = [
  { address: 'postgres://app:secret@localhost/app', isMissing: postgresMissing, start: () => postgresServer() },
  { address: 'nats://localhost:4222', isMissing: natsMissing, start: () => natsServer() }
]

describe('the programs of the README', () => {
  const programs = programsOf(README)
  let directory: string
  const servers: AsyncDisposable[] = []

  // In the tree, so that they find the package, and zod, by name.
  beforeAll(async () => {
    directory = mkdtempSync(join(ROOT, 'test/readme-'))
    const urls = new Map<string, string>()
    for (const { address, isMissing, start } of SERVERS) {
      if (isMissing !== undefined) continue
      const server = await start()
      servers.push(server)
      urls.set(address, server.url)
    }
    for (const { name, code, checking } of programs) {
      writeFileSync(join(directory, `${name}.ts`), code)
      let here = checking
      for (const [address, url] of urls) here = here.replaceAll(address, url)
      writeFileSync(join(directory, `${name}.checking.ts`), `// @ts-nocheck\n${here}`)
    }
    const tsconfig = { extends: '../../tsconfig.json', include: ['.'] }
    writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify(tsconfig))
    // Files that they write are theirs.
    process.chdir(directory)
  }, 60_000)
  afterAll(async () => {
    process.chdir(ROOT)
    rmSync(directory, { recursive: true })
    for (const server of servers) await server[Symbol.asyncDispose]()
  })

  it.for(programs)('$title', async ({ name, results, skipped }, { skip }) => {
    skip(skipped !== undefined, skipped)
    const checker = new Checker()
    Object.assign(globalThis, { readme: checker })
    await import(pathToFileURL(join(directory, `${name}.checking.ts`)).href)
    for (const test of checker.tests) await test()
    expect(checker.results + checker.tests.length).toBeGreaterThanOrEqual(Math.max(results, 1))
  })

  it('pass the type check', async () => {
    const compiler = join(ROOT, 'node_modules/typescript/bin/tsc')
    const options = ['-p', directory, '--noUnusedLocals', 'false']
    const check = promisify(execFile)(process.execPath, [compiler, ...options])
    await expect(check.catch((error: unknown) => error)).resolves.toMatchObject({ stdout: '' })
  })

  it('begin with one of at most 20 lines, blank ones and comments aside', () => {
    const lines = programs[0]!.code.split('\n').filter((line) => line.trim() && !line.startsWith('//'))
    expect(lines.length).toBeLessThanOrEqual(20)
  })
})

describe('the tables of the README', () => {
  it('name every operation, with its options', async () => {
    const history = await createSessionHistory()
    const documented = new Map<string, Set<string>>()
    for (const [calls = ''] of table('Operations')) {
      for (const [, name = '', parameters = ''] of calls.matchAll(/`([^`(]+)\(([^`]*)\)`/g)) {
        const method: unknown = Reflect.get(history, name === '[Symbol.asyncDispose]' ? Symbol.asyncDispose : name)
        expect(method, name).toBeTypeOf('function')
        documented.set(name, new Set(optional(parameters)))
      }
    }
    documented.delete('[Symbol.asyncDispose]')
    expect(documented).toEqual(operationsOf(read('src/service.ts')))
  })

  it('name every option of a write', () => {
    const [, sentence = ''] = /Write options `W`: ([^]*?)\n\n/.exec(README) ?? []
    const named = Array.from(members(interfaceOf('WriteOptions', read('src/calls.ts'))).keys())
    for (const name of named) expect(sentence).toContain(`\`${name}\``)
  })

  it('name every option of a turn', () => {
    const [, sentence = ''] = /Options `T`: ([^]*?)\n\n/.exec(README) ?? []
    const named = Array.from(members(interfaceOf('TurnOptions', read('src/turn.ts'))).keys())
    for (const name of named) expect(sentence).toContain(`\`${name}\``)
  })

  it('name every option, with its default', () => {
    const documented = table('Options').map(([name, , given]) => [plain(name), plain(given)])
    const engine = interfaceOf('EngineOptions', read('src/options.ts'))
    const service = interfaceOf('SessionHistoryOptions', read('src/service.ts'))
    const options = new Map([...members(engine), ...members(service)])
    expect(new Map(documented as [string, string][])).toEqual(options)
  })

  it('name every option of the inspector, with its default', () => {
    const documented = table('Inspector', '| option')
    const options = members(interfaceOf('InspectorOptions', read('src/inspector.ts')))
    expect(new Map(documented.map(([name, , given]) => [plain(name), plain(given)]))).toEqual(options)
  })

  it('name every error, with its fields', () => {
    const documented = table('Errors').map(([code, fields]) => [plain(code), plain(fields).replace(', cause', '')])
    const source = interfaceOf('TurnlogErrorFields', read('src/errors.ts'))
    const codes = Array.from(source.matchAll(/^ {2}([A-Z_]+): (.*)$/gm), ([, code, fields = '']) => [
      code,
      Array.from(fields.matchAll(/readonly (\w+\??):/g), ([, field]) => field).join(', ')
    ])
    expect(documented).toEqual(codes)
  })

  it('name every type of event, with its data', () => {
    const documented = table('Events').map(([type, data]) => [plain(type), plain(data)])
    const types = eventSchema.options.map(({ shape }) => {
      const fields = Object.entries(shape.data.shape as Record<string, { isOptional(): boolean }>)
      return [shape.type.value, fields.map(([name, field]) => (field.isOptional() ? `${name}?` : name)).join(', ')]
    })
    expect(documented).toEqual(types)
  })

  it('name every field of an event', () => {
    const [, sentence = ''] = /Every event has ([^]*?)\n\n/.exec(README) ?? []
    const named = Array.from(sentence.matchAll(/`(\w+)`/g), ([, name]) => name)
    expect(new Set(named)).toEqual(new Set(Object.keys(eventSchema.options[0].shape)))
  })

  it('name every field of a message, with its default', async () => {
    const documented = table('Messages').flatMap(([names = '', , given]) =>
      Array.from(names.matchAll(/`(\w+)`/g), ([, name]) => [name, plain(given).replaceAll("'", '')])
    )
    expect(new Set(documented.map(([name]) => name))).toEqual(new Set(Object.keys(messageSchema.shape)))
    const history = await createSessionHistory({ ids: { message: () => 'msg_ and a fresh id' } })
    const session = await history.appendMessage(await history.createSession('ada'), {})
    expect(session?.messages).toEqual([Object.fromEntries(documented.filter(([, given]) => given !== 'absent'))])
  })

  it('name every status, role and part', () => {
    const rows = new Map(table('Messages').map(([name, type]) => [plain(name), plain(type)]))
    expect(rows.get('status')?.split(', ')).toEqual(messageSchema.shape.status.unwrap().options)
    expect(rows.get('role')?.split(/, | or /)).toEqual([...messageSchema.shape.role.unwrap().unwrap().options, 'null'])
    const [, sentence = ''] = /Parts are of type ([^]*?)\. /.exec(README) ?? []
    const parts = Array.from(sentence.matchAll(/`(\w+)`\s\(([^)]*)\)/g), ([, type, fields]) => [type, plain(fields)])
    const common = new Set(['type', 'object', 'index', 'delta', 'msg_id', 'sequence_number', 'status', 'error'])
    const schemas = contentPartSchema.options.map(({ shape }) => [
      shape.type.value,
      Object.keys(shape)
        .filter((field) => !common.has(field))
        .join(', ')
    ])
    expect(parts).toEqual(schemas)
  })
})

describe('the README', () => {
  it('names every path that the package exports', () => {
    const paths = Object.keys(PACKAGE.exports).filter((path) => !path.endsWith('.json'))
    for (const path of paths) expect(README).toContain(`from 'turnlog${path.slice(1)}'`)
  })

  it('says what the package says: version, Node, dependencies, licence, scripts', () => {
    const dependencies = Object.keys(PACKAGE.dependencies)
    expect(README).toContain(`turnlog-${PACKAGE.version}.tgz`)
    expect(README).toContain(`Node ${/\d+\.\d+/.exec(PACKAGE.engines.node)?.[0]} or later`)
    expect(README).toContain(`depends on ${dependencies.slice(0, -1).join(', ')} and ${dependencies.at(-1)}`)
    expect(README).toContain(`[${PACKAGE.license}](LICENSE)`)
    for (const [, script] of README.matchAll(/npm run (\w+)/g)) expect(PACKAGE.scripts).toHaveProperty(script!)
  })

  it('links to what there is', () => {
    const headings = Array.from(README.matchAll(/^#+ (.*)$/gm), ([, text = '']) =>
      text
        .toLowerCase()
        .replaceAll(/[^\w -]/g, '')
        .replaceAll(' ', '-')
    )
    for (const [, target = ''] of README.matchAll(/\]\(([^)]+)\)/g)) {
      if (target.startsWith('#')) expect(headings).toContain(target.slice(1))
      else if (!target.startsWith('https://')) expect(existsSync(join(ROOT, target)), target).toBe(true)
    }
  })
})

// Programs

interface Program {
  readonly name: string
  readonly title: string
  /** Why it cannot be run here. */
  readonly skipped: string | undefined
  /** As it stands in the README. */
  readonly code: string
  /** The same, handing what its comments promise to a `Checker`. */
  readonly checking: string
  readonly results: number
}

/** The ts blocks of a text: one that begins with an import begins a program, any other goes on with the one before. */
function programsOf(text: string): Program[] {
  const programs: { name: string; code: string }[] = []
  for (const { index, 1: code = '' } of text.matchAll(/^```ts\n([^]*?)^```$/gm)) {
    const name = `line-${text.slice(0, index).split('\n').length + 1}`
    if (code.startsWith('import ')) programs.push({ name, code })
    else programs.at(-1)!.code += code
  }
  return programs.map(({ name, code }) => {
    const skipped = SERVERS.find(({ address }) => code.includes(address))?.isMissing
    const title = `${name} gives what it says${skipped === undefined ? '' : ` (skipped: ${skipped})`}`
    return { name, code, title, skipped, ...withChecks(code) }
  })
}

/**
 * `EXPRESSION // => VALUE` is equal to it, or to what is given of it where the value has a `…`; `EXPRESSION // => throws
 * CODE` rejects with that. An expression may be what `console.log` gets, lines that are indented go on with the line
 * before, and the comment may stand on the next line.
 */
function withChecks(code: string): Pick<Program, 'checking' | 'results'> {
  const lines: string[] = []
  let results = 0
  for (const line of code.split('\n')) {
    const [, rest = line, promise] = /^(.*?) ?\/\/ => (.*)$/.exec(line) ?? []
    let statement = rest
    while (promise !== undefined && (statement === '' || /^\s/.test(statement)))
      statement = `${lines.pop()}\n${statement}`
    lines.push(promise === undefined ? line : checkOf(statement.trim(), promise))
    if (promise !== undefined) results++
  }
  const runner = 'const { describe, it } = readme.runner()'
  return { checking: lines.join('\n').replace("import { describe, it } from 'vitest'", runner), results }
}

function checkOf(statement: string, promise: string): string {
  const [, expression = statement] = /^console\.log\(([^]*)\)$/.exec(statement) ?? []
  const [, code] = /^throws (\w+)$/.exec(promise) ?? []
  const call = `async () => (${expression}), ${JSON.stringify(`${statement} // => ${promise}`)}`
  if (code) return `await readme.throws(${call}, '${code}')`
  const value = `() => (${promise.replaceAll(/,? …/g, '')})`
  return `await readme.${promise.includes('…') ? 'matches' : 'equals'}(${call}, ${value})`
}

class Checker {
  results = 0
  readonly tests: (() => Promise<void>)[] = []

  async equals(actual: () => Promise<unknown>, line: string, expected: () => unknown): Promise<void> {
    this.results++
    expect(await actual(), line).toEqual(expected())
  }

  async matches(actual: () => Promise<unknown>, line: string, expected: () => object): Promise<void> {
    this.results++
    expect(await actual(), line).toMatchObject(expected())
  }

  async throws(act: () => Promise<unknown>, line: string, code: string): Promise<void> {
    this.results++
    const error = await act().catch((thrown: unknown) => thrown)
    expect(isTurnlogError(error) ? error.code : error, line).toBe(code)
  }

  runner(): TestRunner {
    return { describe: (_, define) => define(), it: (_, test) => this.tests.push(test) }
  }
}

// Tables, and what they are compared with

/** The rows of the first table after a heading, or of the first that begins so. */
function table(heading: string, begin = '|'): string[][] {
  const head = begin.replaceAll('|', String.raw`\|`)
  const rows = new RegExp(`^## ${heading}\\n[^]*?^${head}.*\\n\\| --- .*\\n((?:^\\|.*\\n)+)`, 'm').exec(README)?.[1]
  if (!rows) throw new Error(`There is no table after ${heading}`)
  return rows
    .trimEnd()
    .split('\n')
    .map((row) =>
      row
        .slice(2, -2)
        .split(' | ')
        .map((cell) => cell.trim())
    )
}

function plain(cell = ''): string {
  return cell.replaceAll('`', '').replaceAll(/\s+/g, ' ').trim()
}

function optional(parameters: string): string[] {
  return Array.from(parameters.matchAll(/(\w+)\?/g), ([, name = '']) => name).filter((name) => name !== 'sessionId')
}

/** The text of an interface between its braces. */
function interfaceOf(name: string, source: string): string {
  const [, body] = new RegExp(`^export interface ${name}\\b[^]*?\\{\\n([^]*?)^\\}`, 'm').exec(source) ?? []
  if (body === undefined) throw new Error(`There is no interface ${name}`)
  return body
}

/** The methods of the service, each with its options. */
function operationsOf(source: string): Map<string, Set<string>> {
  const body = interfaceOf('SessionHistoryService', source)
  return new Map(
    Array.from(
      body.matchAll(/^ {2}(\w+)(?:<.*>)?\(([^]*?)\): (?:Promise|Async|Session)/gm),
      ([, name = '', parameters = '']) => [name, new Set(optional(parameters).filter((option) => option !== 'options'))]
    )
  )
}

/** Each property of an interface, as a path, with its `@default`; those that hold others are left out. */
function members(body: string): Map<string, string> {
  const found = new Map<string, string>()
  let outer = ''
  for (const [, doc = '', indent = '', name = '', type = ''] of body.matchAll(
    /\/\*\*((?:(?!\*\/)[^])*)\*\/\n( +)readonly (\w+)\?: (.*)$/gm
  )) {
    if (indent.length === 2) outer = name
    if (type === '{') continue
    const [, given = 'none'] = /@default ([^]*?)\n/.exec(doc) ?? []
    found.set(indent.length === 2 ? name : `${outer}.${name}`, plain(given))
  }
  return found
}

function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8')
}
