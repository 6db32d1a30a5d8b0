import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { createSessionHistory, type SessionEvent, type SessionHistoryService } from '../../src/index.ts'
import { openDatabase } from '../../src/stores/sqlite/database.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { compile } from '../compiled.ts'

const ROUNDS = process.env['TURNLOG_SOAK'] ? 300 : 20
const ROUNDS_OF_FILE = 20

const compiled = compile()
const directory = mkdtempSync(join(tmpdir(), 'turnlog-crash-'))
afterAll(() => {
  compiled.remove()
  rmSync(directory, { recursive: true })
})

/** What writers have said. */
interface Said {
  /** Keys by session, in the order in which they were acknowledged, with the version after each and how many messages it has. */
  readonly did: Map<string, { readonly key: string; readonly version: number; readonly parts: number }[]>
  readonly tried: Map<string, { readonly session: string; readonly parts: number }>
  readonly forked: string[]
  readonly purged: string[]
}

interface Line {
  readonly tries?: string
  readonly did?: string
  readonly session: string
  readonly parts: number
  readonly version: number
  readonly forked?: string
  readonly purged?: string
}

function nothing(): Said {
  return { did: new Map(), tried: new Map(), forked: [], purged: [] }
}

/** A writer, and a promise of how often it has said something so far, each time asked. */
function startWriter(path: string, name: string, seed: number, said: Said) {
  const program = fileURLToPath(new URL('sqlite-writer.mjs', import.meta.url))
  const child = spawn(process.execPath, [
    '--disable-warning=ExperimentalWarning',
    program,
    compiled.path,
    path,
    name,
    String(seed)
  ])
  let errors = ''
  child.stderr.on('data', (chunk) => (errors += String(chunk)))
  let lines = 0
  let reached: { readonly lines: number; readonly resolve: () => void } | undefined
  createInterface({ input: child.stdout }).on('line', (text) => {
    const line = JSON.parse(text) as Line
    if (line.tries !== undefined) said.tried.set(line.tries, line)
    if (line.did !== undefined) {
      const ofSession = said.did.get(line.session) ?? []
      said.did.set(line.session, ofSession)
      ofSession.push({ key: line.did, version: line.version, parts: line.parts })
    }
    if (line.forked !== undefined) said.forked.push(line.forked)
    if (line.purged !== undefined) said.purged.push(line.purged)
    if (++lines >= (reached?.lines ?? Infinity)) reached!.resolve()
  })
  const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>
  return {
    child,
    closed,
    errors: () => errors,
    /** Resolves when it has said so much, or has ended. */
    async says(count: number): Promise<void> {
      if (lines < count)
        await Promise.race([new Promise<void>((resolve) => (reached = { lines: count, resolve })), closed])
    }
  }
}

/** All that was acknowledged is there, once, in order, and nothing by half. */
async function check(history: SessionHistoryService, said: Said): Promise<void> {
  for (const session of new Set([...said.tried.values()].map((tried) => tried.session))) {
    const events: SessionEvent[] = []
    for await (const event of history.readEvents('ada', session)) events.push(event)
    expect(events.map(({ version }) => version)).toEqual(events.map((_, i) => i + 1))
    const ids = events.flatMap((event) => (event.type === 'message-appended' ? [event.data.message.id] : []))
    expect(new Set(ids).size).toBe(ids.length)
    const place = new Map(ids.map((id, i) => [id, i]))
    // Whole: each part is followed by the next.
    for (const [i, id] of ids.entries()) {
      const [key, part, parts] = id.split('/')
      expect(said.tried.has(key!)).toBe(true)
      if (Number(part) + 1 < Number(parts)) expect(ids[i + 1]).toBe(`${key}/${Number(part) + 1}/${parts}`)
      if (Number(part) > 0) expect(ids[i - 1]).toBe(`${key}/${Number(part) - 1}/${parts}`)
    }
    let last = -1
    const acknowledged = (said.did.get(session) ?? []).toSorted((a, b) => a.version - b.version)
    for (const { key, parts, version } of acknowledged) {
      const at = place.get(`${key}/${parts - 1}/${parts}`)
      expect(at, `${key} was acknowledged`).toBeDefined()
      expect(events[version - 1]).toMatchObject({ data: { message: { id: `${key}/${parts - 1}/${parts}` } } })
      expect(at).toBeGreaterThan(last)
      last = at!
    }
    const snapshot = await history.getSession('ada', session)
    if (events.length > 0) {
      expect(snapshot?.version).toBe(events.length)
      expect(snapshot?.messages.map(({ id }) => id)).toEqual(ids)
    }
  }
  const listed = await history.listSessions('ada')
  for (const { id, version } of listed) expect((await history.getSession('ada', id))?.version).toBe(version)
  for (const fork of said.forked) expect((await history.getSession('bob', fork))?.messages).toHaveLength(2)
  for (const parent of said.purged) expect(await history.getSession('bob', parent)).toBeNull()
}

async function inspect(path: string): Promise<{ integrity: unknown; garbage: number; strays: number }> {
  const database = await openDatabase(path, { mustExist: true })
  const [{ integrity_check: integrity }] = database.prepare('PRAGMA integrity_check').all() as [
    { integrity_check: string }
  ]
  const count = (sql: string): number => (database.prepare(sql).get() as { n: number }).n
  const garbage = count('SELECT count(*) AS n FROM turnlog_garbage')
  // Events that no session has, or that are beyond what forks need of a purged one.
  const strays = count(
    `SELECT count(*) AS n FROM turnlog_events LEFT JOIN turnlog_sessions ON key = turnlog_events.session
     WHERE key IS NULL OR turnlog_events.version > turnlog_sessions.version`
  )
  database.close()
  return { integrity, garbage, strays }
}

describe('a writer that is killed', () => {
  it(
    `has stored what it acknowledged, once, in order, and nothing by half, ${ROUNDS} times in a row`,
    // Not to say how long it may take: on a machine that does much else it takes many times as long.
    { timeout: 20_000 * ROUNDS },
    async () => {
      let path = ''
      let said = nothing()
      for (let round = 1; round <= ROUNDS; round++) {
        // All of a file is read after each death: with one file for all of them, most of the time would go there.
        if (round % ROUNDS_OF_FILE === 1) {
          path = join(directory, `killed-${round}.db`)
          said = nothing()
        }
        const writer = startWriter(path, `w${round}`, round, said)
        await writer.says(1 + ((round * 37) % 90))
        writer.child.kill('SIGKILL')
        expect([await writer.closed, writer.errors()]).toEqual([[null, 'SIGKILL'], ''])

        const history = await createSessionHistory({
          store: sqliteStore({ path }),
          missing: { get: 'null', append: 'create' }
        })
        await check(history, said)
        // What was not acknowledged may be stored or not: with its key it can be asked for again.
        const all = new Set([...said.did.values()].flat().map(({ key }) => key))
        const doubtful = [...said.tried].filter(([key]) => key.startsWith(`w${round}-`) && !all.has(key))
        for (const [key, { session, parts }] of doubtful) {
          const messages = Array.from({ length: parts }, (_, i) => ({
            id: `${key}/${i}/${parts}`,
            role: 'user' as const,
            content: key
          }))
          const again = await history.appendMessage({ userId: 'ada', id: session }, messages, { idempotencyKey: key })
          const list = said.did.get(session) ?? []
          said.did.set(session, list)
          list.push({ key, version: again!.version, parts })
        }
        await check(history, said)
        await history.stop()
        expect(await inspect(path)).toEqual({ integrity: 'ok', garbage: 0, strays: 0 })
        if (round % ROUNDS_OF_FILE > 0) continue
        expect([...said.did.values()].flat().length).toBeGreaterThan(10 * ROUNDS_OF_FILE)
        expect(said.purged.length).toBeGreaterThan(ROUNDS_OF_FILE / 4)
      }
    }
  )

  it('harms no other that writes to the same sessions of the same file', { timeout: 60_000 }, async () => {
    const path = join(directory, 'two.db')
    const said = nothing()
    const survivor = startWriter(path, 'survivor', 7, said)
    for (let round = 1; round <= 4; round++) {
      const victim = startWriter(path, `victim${round}`, round, said)
      await victim.says(40)
      victim.child.kill('SIGKILL')
      await victim.closed
      await survivor.says(round * 150)
    }
    survivor.child.stdin.end()
    expect([await survivor.closed, survivor.errors()]).toEqual([[0, null], ''])
    const history = await createSessionHistory({ store: sqliteStore({ path }), missing: { get: 'null' } })
    await check(history, said)
    await history.stop()
    expect(await inspect(path)).toEqual({ integrity: 'ok', garbage: 0, strays: 0 })
  })
})
