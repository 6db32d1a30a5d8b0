import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeHeapSnapshot } from 'node:v8'
import { createSessionHistory } from '../../dist/index.js'
import { roleOf, textOf } from './subjects.ts'

// What sessions, events or messages alone have added to the heap, as JSON of a `Kept`: node --expose-gc memory-run.ts WHAT. Everything
// is loaded and warm before the first snapshot is taken, and the messages alone are made as a service gives them back: frozen,
// with an id, from the same texts.

/** Bytes for each of what was made. */
export interface Kept {
  /** By the self sizes in two heap snapshots, without compiled code. */
  readonly snapshots: number
  /** By what V8 says is in use after a full collection, beside it. */
  readonly heapUsed: number
  /** The same by what it is made of: constructors, and kinds of what has none. Those of at least a byte. */
  readonly parts: Readonly<Record<string, number>>
}

const SESSIONS = 1_000
const EVENTS = 10_000
const PER_SESSION = 2_000

const works: Record<string, { readonly count: number; readonly fill: () => Promise<unknown> }> = {
  sessions: {
    count: SESSIONS,
    async fill() {
      const history = await createSessionHistory()
      for (let i = 0; i < SESSIONS; i++) await history.createSession('user')
      return history
    }
  },
  events: {
    count: EVENTS,
    async fill() {
      const history = await createSessionHistory()
      for (let i = 0; i < EVENTS; i += PER_SESSION) {
        const session = await history.createSession('user')
        for (let k = 0; k < PER_SESSION; k++) {
          const content = [{ type: 'text' as const, text: textOf(i + k) }]
          await history.appendMessage(session, { role: roleOf(k), content })
        }
      }
      return history
    }
  },
  messages: {
    count: EVENTS,
    async fill() {
      const messages: object[] = []
      for (let i = 0; i < EVENTS; i++) {
        const part = Object.freeze({ type: 'text', text: textOf(i) })
        const id = Buffer.from(`msg_${String(i).padStart(21, '0')}`).toString('latin1')
        const content = Object.freeze([part])
        const known = { id, object: 'message', type: 'message', status: 'created', role: roleOf(i), content }
        messages.push(Object.freeze(known))
      }
      return messages
    }
  }
}

const { count, fill } = works[process.argv[2] ?? '']!
const directory = mkdtempSync(join(tmpdir(), 'turnlog-heap-'))
try {
  // What is compiled and cached once for all is no matter of how many there are.
  const kept = [await fill()]
  const [before, after] = [join(directory, 'before.heapsnapshot'), join(directory, 'after.heapsnapshot')]
  writeHeapSnapshot(before)
  const used = heapUsed()
  kept.push(await fill())
  const bytes = heapUsed() - used
  writeHeapSnapshot(after)
  const parts = difference(partsOf(after), partsOf(before))
  const large = [...parts].map(([name, size]): [string, number] => [name, size / count]).filter(([, size]) => size >= 1)
  const snapshots = [...parts.values()].reduce((sum, size) => sum + size, 0) / count
  const result: Kept = {
    snapshots,
    heapUsed: kept.length === 2 ? bytes / count : NaN,
    parts: Object.fromEntries(large)
  }
  console.log(JSON.stringify(result))
} finally {
  rmSync(directory, { recursive: true })
}

function heapUsed(): number {
  for (let i = 0; i < 3; i++) globalThis.gc!()
  return process.memoryUsage().heapUsed
}

/** A snapshot as V8 writes it, as far as it is used here: rows of numbers, one after the other. */
interface Snapshot {
  readonly snapshot: {
    readonly meta: {
      readonly node_fields: readonly string[]
      readonly node_types: readonly [readonly string[]]
      readonly edge_fields: readonly string[]
      readonly edge_types: readonly [readonly string[]]
    }
  }
  readonly nodes: readonly number[]
  readonly edges: readonly number[]
  readonly strings: readonly string[]
}

/** The self sizes of a snapshot, in bytes, by what it is that has them. */
function partsOf(file: string): Map<string, number> {
  const { snapshot, nodes, edges, strings } = JSON.parse(readFileSync(file, 'utf8')) as Snapshot
  const { node_fields: fields, edge_fields: edgeFields } = snapshot.meta
  const [typeNames, edgeTypeNames] = [snapshot.meta.node_types[0], snapshot.meta.edge_types[0]]
  const [type, name, size, edgeCount] = ['type', 'name', 'self_size', 'edge_count'].map((each) => fields.indexOf(each))
  // Plain objects, and arrays of V8's own, are told apart by what holds them: by the first name that they have there.
  const holders = new Map<number, string>()
  for (let node = 0, edge = 0; node < nodes.length; node += fields.length) {
    for (let i = 0; i < nodes[node + edgeCount!]!; i++, edge += edgeFields.length) {
      const [kind, nameOrIndex, to] = [edgeTypeNames[edges[edge]!], edges[edge + 1]!, edges[edge + 2]!]
      if (kind !== 'property' && kind !== 'internal') continue
      const holder = strings[nameOrIndex]!
      // Names of the places of V8's own arrays tell nothing.
      if (!/^\d/.test(holder) && !holders.has(to)) holders.set(to, holder)
    }
  }
  const parts = new Map<string, number>()
  for (let node = 0; node < nodes.length; node += fields.length) {
    const kind = typeNames[nodes[node + type!]!]!
    // Not on the heap; and what was compiled, which is no matter of how many there are.
    if (kind === 'native' || kind === 'code') continue
    const part = partOf(kind, strings[nodes[node + name!]!]!, holders.get(node))
    parts.set(part, (parts.get(part) ?? 0) + nodes[node + size!]!)
  }
  return parts
}

function partOf(kind: string, name: string, holder: string | undefined): string {
  switch (kind) {
    case 'object':
      return name === 'Object' ? held(name, holder) : name
    case 'closure':
      return `function ${name}`
    case 'array':
      return name || held('array', holder)
    case 'hidden':
      return name || held(kind, holder)
    case 'string':
    case 'concatenated string':
    case 'sliced string':
      return 'string'
    default:
      return kind
  }
}

function held(what: string, holder: string | undefined): string {
  return holder === undefined ? what : `${what} .${holder}`
}

function difference(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): Map<string, number> {
  return new Map([...a].map(([name, size]) => [name, size - (b.get(name) ?? 0)]))
}
