import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createReadStream } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import {
  fromOpenAIMessage,
  memoryStore,
  toOpenAIMessages,
  type EventStore,
  type OpenAIMessage,
  type Session,
  type SessionHistoryService,
  type SessionRef,
  type StoredEvent,
  type TurnlogError
} from '../../src/index.ts'
import {
  ADA,
  deferred,
  eventsOf,
  failureOf,
  fails,
  foreignSignal,
  hooked,
  misuses,
  open,
  openAda,
  text,
  textsOf,
  type Hooks
} from './kit.ts'

type Service<M = never> = SessionHistoryService<M, M> | SessionHistoryService

const HEADER = '{"turnlog":"export","formatVersion":1}\n'

/** The text of an export. */
async function exported(history: Service, userId = 'ada', sessionId?: string, signal?: AbortSignal): Promise<string> {
  const lines: string[] = []
  for await (const line of history.exportSession(userId, sessionId, { signal })) {
    expect(line.indexOf('\n')).toBe(line.length - 1)
    lines.push(line)
  }
  return lines.join('')
}

/** Each with its line feed. */
function linesOf(file: string): string[] {
  return file.split(/(?<=\n)/)
}

/** A file with these lines of events, and the first and last line that belong to them. */
function fileOf(events: readonly (string | object)[]): string {
  const body = events.map((event) => (typeof event === 'string' ? event : `${JSON.stringify(event)}\n`))
  return sealed([HEADER, ...body])
}

function sealed(lines: readonly string[]): string {
  const sha256 = createHash('sha256').update(lines.join('')).digest('hex')
  return `${lines.join('')}${JSON.stringify({ turnlog: 'end', events: lines.length - 1, sha256 })}\n`
}

function eventsIn(file: string): StoredEvent[] {
  return linesOf(file)
    .slice(1, -1)
    .map((line) => JSON.parse(line) as StoredEvent)
}

/** All that a store has. */
async function contentsOf(store: EventStore): Promise<unknown> {
  const heads = await store.heads()
  return Promise.all(
    heads.map(async (head) => {
      const events: StoredEvent[] = []
      for await (const page of store.read(head.logId)) events.push(...page)
      return { head, events }
    })
  )
}

/** Expects that a file comes out of another service as it went in, and gives that service. */
async function comesBack(file: string, userId = 'ada', sessionId?: string): Promise<SessionHistoryService> {
  const copy = await open()
  await copy.importSession([file])
  expect(await exported(copy, userId, sessionId)).toBe(file)
  return copy
}

/** Imports what is sound, and gives the lines that were told of as left. */
async function salvage(
  file: string | Uint8Array,
  history: SessionHistoryService
): Promise<{
  readonly left: readonly number[]
  readonly sessions: readonly Session[]
  readonly errors: readonly TurnlogError[]
}> {
  const errors: TurnlogError[] = []
  const sessions = await history.importSession([file], { file: 'f', onInvalid: (error) => void errors.push(error) })
  for (const error of errors) expect(error).toMatchObject({ code: 'INVALID_IMPORT', file: 'f' })
  return { left: errors.map((error) => (error as TurnlogError & { line: number }).line), sessions, errors }
}

/** Expects that a file is refused at a line, and nothing is stored. */
async function refuses(file: string | Uint8Array, line: number, shown = ''): Promise<TurnlogError> {
  const store = memoryStore()
  const history = await openAda({ store })
  const before = await contentsOf(store)
  const error = await fails(() => history.importSession([file], { file: 'a.jsonl' }), 'INVALID_IMPORT', {
    file: 'a.jsonl',
    line
  })
  expect(error.message).toContain(`a.jsonl:${line}: `)
  expect(error.message).toContain(shown)
  expect(await contentsOf(store)).toEqual(before)
  return error
}

/** A session of every type of event, at version 16 or so. */
async function everyType(
  history: SessionHistoryService,
  ref: SessionRef = { userId: 'ada', id: 'all' }
): Promise<void> {
  await history.createSession(ref.userId, ref.id, { metadata: { title: 'T' } })
  await history.appendMessage(ref, [text('1'), text('2')], { idempotencyKey: 'k' })
  await history.putMessage(ref, { id: 'p', ...text('3') })
  await history.putMessage(ref, { id: 'p', ...text('4') })
  await history.commit(ref, [{ type: 'truncate', length: 2 }])
  await history.updateMetadata(ref, { set: { tags: ['a'] }, unset: ['title'] })
  await history.undo(ref)
  await history.rewind(ref, 3, { reason: 'because' })
  const turn = await history.beginTurn(ref, { owner: 'o' })
  await turn.append(text('in turn'))
  await turn.abort()
  await history.deleteSession(ref.userId, ref.id)
  await history.createSession(ref.userId, ref.id)
  await history.appendMessage(ref, text('again'))
}

/** Two sessions of single events and a commit of three: lines 2 to 7 are of "a", lines 8 to 10 of "b". */
async function twoSessions(): Promise<string> {
  let ids = 0
  const history = await open({ ids: { event: () => `e${ids++}`, message: () => `m${ids++}` } })
  const a = await history.createSession('ada', 'a')
  await history.appendMessage(a, text('1'))
  await history.appendMessage(a, [text('2'), text('3'), text('4')])
  await history.appendMessage(a, text('5'))
  const b = await history.createSession('ada', 'b')
  await history.appendMessage(b, text('6'))
  await history.appendMessage(b, text('7'))
  return exported(history)
}

describe('exportSession', () => {
  it('gives a header, every event as it is stored, and a last line with their number and the SHA-256 of all before', async () => {
    const history = await openAda()
    await history.appendMessage(ADA, text('hello'))
    const file = await exported(history, 'ada', 's1')
    const lines = linesOf(file)
    expect(lines).toHaveLength(4)
    expect(lines[0]).toBe(HEADER)
    expect(eventsIn(file)).toEqual(await eventsOf(history))
    const sha256 = createHash('sha256').update(lines.slice(0, -1).join('')).digest('hex')
    expect(lines[3]).toBe(`{"turnlog":"end","events":2,"sha256":"${sha256}"}\n`)
  })

  it("of a user gives all live sessions in order of their ids, and nobody else's", async () => {
    const history = await open()
    for (const id of ['b', 'a', 'ä', 'B', '10', '9', 'gone']) await history.createSession('ada', id)
    await history.createSession('bob', 'c')
    await history.deleteSession('ada', 'gone')
    const sessions = eventsIn(await exported(history)).map(({ sessionId }) => sessionId)
    expect(sessions).toEqual(['10', '9', 'B', 'a', 'b', 'ä'])
  })

  it('gives a deleted session by name, and SESSION_NOT_FOUND where there is no log, before any line', async () => {
    const history = await openAda()
    await history.deleteSession('ada', 's1')
    expect(eventsIn(await exported(history, 'ada', 's1')).map(({ type }) => type)).toEqual(['created', 'deleted'])
    const [iterator] = [history.exportSession('ada', 'none')[Symbol.asyncIterator]()]
    await fails(() => iterator.next(), 'SESSION_NOT_FOUND', { userId: 'ada', sessionId: 'none' })
    await history.purgeSession('ada', 's1')
    await fails(() => exported(history, 'ada', 's1'), 'SESSION_NOT_FOUND')
  })

  it('of a user without sessions gives a file of no events, which can be imported', async () => {
    const history = await open()
    const file = await exported(history)
    expect(file).toBe(sealed([HEADER]))
    expect(await history.importSession([file])).toEqual([])
  })

  it('is of the moment in which a session is begun', async () => {
    const history = await openAda()
    const lines = history.exportSession('ada', 's1')[Symbol.asyncIterator]()
    await lines.next()
    await lines.next()
    await history.appendMessage(ADA, text('later'))
    expect(JSON.parse((await lines.next()).value as string)).toMatchObject({ turnlog: 'end', events: 1 })
  })

  it('reads pages, and goes on only when it is asked', async () => {
    let pages = 0
    const inner = memoryStore()
    const history = await openAda({
      store: hooked(
        {
          async *read(logId, range) {
            for await (const page of inner.read(logId, range))
              for (const event of page) {
                pages++
                yield [event]
              }
          }
        },
        inner
      )
    })
    await history.appendMessage(
      ADA,
      Array.from({ length: 100 }, (_, i) => text(`${i}`))
    )
    pages = 0
    const lines = history.exportSession('ada', 's1')[Symbol.asyncIterator]()
    for (let i = 0; i < 4; i++) await lines.next()
    expect(pages).toBe(3)
    await lines.return?.()
  })

  it('ends with the reason of its signal, and with STOPPED', async () => {
    const history = await openAda()
    await history.appendMessage(ADA, text('1'))
    const controller = new AbortController()
    const lines = history.exportSession('ada', 's1', { signal: controller.signal })[Symbol.asyncIterator]()
    await lines.next()
    await lines.next()
    controller.abort(new Error('enough'))
    expect(await failureOf(() => lines.next())).toMatchObject({ message: 'enough' })
    const aborted = history.exportSession('ada', undefined, { signal: AbortSignal.abort('no') })
    expect(await failureOf(() => aborted[Symbol.asyncIterator]().next())).toBe('no')
    const other = history.exportSession('ada')[Symbol.asyncIterator]()
    await other.next()
    await other.next()
    await history.stop()
    await fails(() => other.next(), 'STOPPED')
    await fails(() => exported(history), 'STOPPED')
  })

  it('takes a signal of another library, and does not go on after a stop and a start', async () => {
    const { signal, listeners, abort } = foreignSignal()
    const history = await openAda()
    await history.appendMessage(ADA, text('1'))
    const begin = (): AsyncIterator<string> => history.exportSession('ada', 's1', { signal })[Symbol.asyncIterator]()
    expect(await exported(history, 'ada', 's1', signal)).toContain('"end"')
    const left = begin()
    await left.next()
    await left.return?.()
    expect(listeners.size).toBe(0)
    const lines = begin()
    await lines.next()
    abort()
    expect(await failureOf(() => lines.next())).toBe(signal.reason)
    expect(await failureOf(() => begin().next())).toBe(signal.reason)
    expect(listeners.size).toBe(0)
    const stopped = history.exportSession('ada', 's1')[Symbol.asyncIterator]()
    await stopped.next()
    await history.stop()
    await history.start()
    await fails(() => stopped.next(), 'STOPPED')
  })

  it('tells of a failing store, of a log with a hole, and of a purge meanwhile', async () => {
    const hooks: Hooks = {}
    const store = memoryStore()
    const history = await openAda({ store: hooked(hooks, store) })
    await history.appendMessage(ADA, [text('1'), text('2')])
    hooks.read = () => {
      throw new Error('disk')
    }
    await fails(() => exported(history, 'ada', 's1'), 'STORE_UNAVAILABLE', { outcome: 'not-stored' })
    hooks.read = async function* (logId, range) {
      for await (const page of store.read(logId, range)) yield page.filter(({ version }) => version !== 2)
    }
    await fails(() => exported(history, 'ada', 's1'), 'CORRUPT_LOG', { version: 2 })
    hooks.read = async function* (logId) {
      await history.purgeSession('ada', 's1')
      yield* store.read(logId)
    }
    await fails(() => exported(history, 'ada', 's1'), 'SESSION_NOT_FOUND')
  })

  it('refuses arguments that make no sense', async () => {
    const history = await open()
    await misuses(() => history.exportSession(''), 'userId')
    await misuses(() => history.exportSession('ada', ' '), 'sessionId')
    await misuses(() => history.exportSession('ada', 's', { signal: 5 as never }), 'signal')
  })
})

describe('an export comes back as it was', () => {
  it('every type of event, with turns, start-overs and deletions', async () => {
    const history = await open()
    await everyType(history)
    const file = await exported(history, 'ada', 'all')
    expect(new Set(eventsIn(file).map(({ type }) => type)).size).toBe(9)
    const copy = await comesBack(file, 'ada', 'all')
    const ref = { userId: 'ada', id: 'all' }
    expect(await eventsOf(copy, ref)).toEqual(await eventsOf(history, ref))
    const { version } = (await history.getSession('ada', 'all'))!
    for (let at = 0; at <= version; at++)
      expect(await copy.getSession('ada', 'all', { at })).toEqual(await history.getSession('ada', 'all', { at }))
  })

  it('a user of many sessions; what is given is as in a list, in order of the file', async () => {
    const history = await open()
    for (const id of ['c', 'a', 'b']) await everyType(history, { userId: 'ada', id })
    const file = await exported(history)
    const copy = await open()
    const sessions = await copy.importSession([file])
    expect(sessions.map(({ id }) => id)).toEqual(['a', 'b', 'c'])
    expect(await copy.listSessions('ada')).toEqual(await history.listSessions('ada'))
    expect(new Set(sessions)).toEqual(new Set(await copy.listSessions('ada')))
    expect(sessions.every(Object.isFrozen)).toBe(true)
    expect(await exported(copy)).toBe(file)
  })

  it('a deleted session, which is stored and not given, and can be brought back', async () => {
    const history = await openAda()
    await history.appendMessage(ADA, text('1'))
    await history.deleteSession('ada', 's1')
    const file = await exported(history, 'ada', 's1')
    const copy = await open()
    expect(await copy.importSession([file])).toEqual([])
    expect(await copy.listSessions('ada')).toEqual([])
    expect(await exported(copy, 'ada', 's1')).toBe(file)
    expect(textsOf(await copy.rewind(ADA, 2))).toEqual(['1'])
  })

  it('an open turn, which goes on to be open', async () => {
    const history = await openAda()
    await history.beginTurn(ADA, { owner: 'o', ttlMs: 1e9 })
    const copy = await comesBack(await exported(history, 'ada', 's1'), 'ada', 's1')
    await fails(() => copy.appendMessage(ADA, text('1')), 'TURN_BUSY', { owner: 'o' })
    await copy.beginTurn(ADA, { onBusy: 'takeover' })
  })

  it('idempotency keys: the same key and content gives the session as of then', async () => {
    const history = await openAda()
    const call = [ADA, text('once'), { idempotencyKey: 'k' }] as const
    const then = await history.appendMessage(...call)
    await history.appendMessage(ADA, text('later'))
    const copy = await comesBack(await exported(history, 'ada', 's1'), 'ada', 's1')
    expect(await copy.appendMessage(...call)).toEqual(then)
    await fails(() => copy.appendMessage(ADA, text('other'), { idempotencyKey: 'k' }), 'IDEMPOTENCY_CONFLICT')
  })

  it('what can be undone and redone', async () => {
    const history = await openAda()
    for (const n of ['1', '2', '3']) await history.appendMessage(ADA, text(n))
    await history.undo(ADA)
    const copy = await comesBack(await exported(history, 'ada', 's1'), 'ada', 's1')
    expect(textsOf(await copy.redo(ADA))).toEqual(['1', '2', '3'])
    for (const n of [2, 1, 0]) expect((await copy.undo(ADA)).messages).toHaveLength(n)
    await fails(() => copy.undo(ADA), 'NOTHING_TO_UNDO')
  })

  it('hostile content', async () => {
    const values: unknown[] = [
      JSON.parse('{"__proto__":{"a":1},"constructor":2,"toString":"x","":null}'),
      'a\u0000b\ud800c\udc00\u2028\u2029\r\n\ufeff\u007f"\\',
      ['', [], {}, [[]], null, false, 0],
      [5e-324, Number.MAX_VALUE, 2 ** 53 + 2, 0.1, -1e-7, -0],
      { 10: 'b', 2: 'a', x: 'c' },
      { toJSON: 'x', turnlog: 'end' },
      '{"turnlog":"end"}\n',
      '😀'.repeat(1000)
    ]
    const history = await open()
    const userId = '\u2028 "ada" \u0000'
    const session = await history.createSession(userId, '__proto__', { metadata: { values } })
    for (const value of values) await history.appendMessage(session, { content: JSON.stringify(value), custom: value })
    await history.updateMetadata(session, { set: JSON.parse('{"__proto__":[1]}') as object, unset: ['values'] })
    const file = await exported(history, userId)
    const copy = await comesBack(file, userId)
    expect(JSON.stringify(await copy.getSession(userId, '__proto__'))).toBe(
      JSON.stringify(await history.getSession(userId, '__proto__'))
    )
  })

  it('messages nested as deep as they may be', async () => {
    let deep: unknown = 'end'
    for (let i = 0; i < 990; i++) deep = [deep]
    const history = await openAda()
    await history.appendMessage(ADA, { custom: deep })
    await comesBack(await exported(history, 'ada', 's1'), 'ada', 's1')
  })

  it('any JSON at all', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.jsonValue({ stringUnit: 'binary' }), { maxLength: 5 }), async (values) => {
        const history = (await open()).withMessage(z.unknown(), { format: 'any' })
        const session = await history.createSession('ada', 's', { metadata: { values } })
        await history.appendMessage(session, values)
        const file = await exported(history as Service)
        await comesBack(file)
      }),
      { numRuns: 100 }
    )
  })

  it('sessions of any format, through a service of any', async () => {
    const history = await open()
    const scores = history.withMessage(z.number().int(), { format: 'score' })
    await scores.appendMessage(await scores.createSession('ada', 'game'), [3, 5])
    const copy = await comesBack(await exported(history))
    await fails(() => copy.getSession('ada', 'game'), 'FORMAT_MISMATCH')
    const game = await copy.withMessage(z.number().int(), { format: 'score' }).getSession('ada', 'game')
    expect(game?.messages).toEqual([3, 5])
  })

  it('events that this release does not know and may pass over, to the last of their fields', async () => {
    const store = memoryStore()
    const history = await openAda({ store })
    await history.appendMessage(ADA, text('1'))
    const head = (await store.head({ userId: 'ada', sessionId: 's1' }))!
    const { logId, summary } = head
    const newer = { at: 5000, userId: 'ada', sessionId: 's1', skippable: true, idempotencyKey: 'k', contentHash: 'h' }
    const events = [
      {
        id: 'n1',
        ...newer,
        version: 3,
        type: 'message-pinned',
        data: { pin: [1] },
        schemaVersion: 1,
        commitId: 'n1',
        new: 1
      },
      { id: 'n2', ...newer, version: 4, type: 'deleted', data: { when: 1 }, schemaVersion: 7, commitId: 'n1' }
    ]
    const key = { userId: 'ada', sessionId: 's1' }
    const commit = { key, logId, expectedVersion: 2, events, summary: { ...summary, version: 4, updatedAt: 5000 } }
    expect(await store.append([commit])).toEqual([{ status: 'stored' }])
    const file = await exported(history, 'ada', 's1')
    expect(eventsIn(file)[2]).toHaveProperty('new', 1)
    const copy = await comesBack(file, 'ada', 's1')
    expect(textsOf(await copy.getSession('ada', 's1'))).toEqual(['1'])
    expect((await copy.appendMessage(ADA, text('2')))?.version).toBe(5)
  })

  it('an event of a newer release that may not be passed over is exported, and refused', async () => {
    const event = { ...eventsIn(await twoSessions())[0]!, type: 'message-pinned' }
    const error = await refuses(fileOf([event]), 2, 'message-pinned')
    expect(error.cause).toMatchObject({ code: 'UNKNOWN_EVENT' })
    const store = memoryStore()
    const history = await open({ store })
    const { userId, sessionId } = event
    const summary = {
      userId,
      sessionId,
      version: 1,
      createdAt: 0,
      updatedAt: event.at,
      deleted: false,
      format: '',
      metadata: {}
    }
    await store.append([{ key: { userId, sessionId }, logId: 'l', expectedVersion: 0, events: [event], summary }])
    expect(await exported(history, userId, sessionId)).toBe(fileOf([event]))
  })

  it('a long session, whose log is a new one', async () => {
    const store = memoryStore()
    const history = await openAda()
    await history.appendMessage(
      ADA,
      Array.from({ length: 20_000 }, (_, i) => text(`${i}`))
    )
    const file = await exported(history)
    const copy = await open({ store })
    await copy.importSession([file])
    expect(await exported(copy)).toBe(file)
    const [head] = await store.heads()
    expect(file).not.toContain(head!.logId)
    expect(head!.summary).toMatchObject({ version: 20_001 })
  })

  it('through SQLite, there and back', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'turnlog-'))
    const history = await open()
    for (const id of ['a', 'b']) await everyType(history, { userId: 'ada', id })
    await history.fork({ userId: 'ada', id: 'a' }, { sessionId: 'fork' })
    const file = await exported(history)
    const disk = await open({ store: sqliteStore({ path: join(directory, 'a.db') }) })
    await disk.importSession([file])
    await disk.importSession([file], { userId: 'bob' })
    expect(await exported(disk)).toBe(file)
    await comesBack(await exported(disk, 'bob'), 'bob')
    await fails(() => disk.importSession([file]), 'SESSION_EXISTS')
    await disk.stop()
    rmSync(directory, { recursive: true })
  })

  it('through a file on disk', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'turnlog-'))
    const path = join(directory, 'ada.jsonl')
    const history = await open()
    await everyType(history)
    await writeFile(path, history.exportSession('ada'))
    const copy = await open()
    await copy.importSession(createReadStream(path, { highWaterMark: 7 }), { file: path })
    await copy.importSession(createReadStream(path, 'utf8'), { userId: 'bob' })
    expect(await exported(copy)).toBe(readFileSync(path, 'utf8'))
    writeFileSync(path, readFileSync(path, 'utf8').slice(0, -1))
    await fails(() => copy.importSession(createReadStream(path), { file: path }), 'INVALID_IMPORT', { file: path })
    rmSync(directory, { recursive: true })
  })
})

describe('a fork', () => {
  async function family(): Promise<SessionHistoryService> {
    const history = await open()
    const parent = await history.createSession('ada', 'parent', { metadata: { title: 'T' } })
    await history.appendMessage(
      parent,
      Array.from({ length: 70 }, (_, i) => text(`${i}`))
    )
    const child = await history.fork(parent, { at: 67, sessionId: 'child' })
    await history.appendMessage(child, text('child'))
    await history.updateMetadata(child, { set: { by: 'child' } })
    const grandchild = await history.fork(child, { at: 2, sessionId: 'grandchild' })
    await history.appendMessage(grandchild, text('grandchild'))
    return history
  }
  const ids = ['child', 'grandchild', 'parent']

  it('is exported whole: what it inherited is in its first event', async () => {
    const history = await family()
    const file = await exported(history)
    const begun = eventsIn(file).filter(({ version }) => version === 1)
    expect(begun.map(({ sessionId }) => sessionId)).toEqual(ids)
    expect(file).not.toContain('parentLogId')
    expect(begun[0]?.data).toMatchObject({
      format: 'message',
      forkedFrom: { userId: 'ada', sessionId: 'parent', version: 67 },
      metadata: { title: 'T' }
    })
    const { messages } = (await history.getSession('ada', 'child', { at: 1 }))!
    expect(begun[0]?.data['messages']).toEqual(messages)
    expect(begun[1]?.data['messages']).toHaveLength(67)
    expect(begun[2]?.data).not.toHaveProperty('messages')
  })

  it.each([false, true])('comes back equal at each version (parents purged: %j)', async (isPurged) => {
    const history = await family()
    const whole = await exported(history)
    if (isPurged) for (const id of ['parent', 'child']) await history.purgeSession('ada', id)
    const file = await exported(history, 'ada', 'grandchild')
    const copy = await comesBack(file, 'ada', 'grandchild')
    for (const at of [0, 1, 2])
      expect(await copy.getSession('ada', 'grandchild', { at })).toEqual(
        await history.getSession('ada', 'grandchild', { at })
      )
    const all = await comesBack(whole)
    for (const id of isPurged ? ['grandchild'] : ids)
      expect(await all.getSession('ada', id)).toEqual(await history.getSession('ada', id))
  })

  it('once imported is frozen, goes back to version 1, is forked, and comes back after its actor was stopped', async () => {
    const file = await exported(await family(), 'ada', 'child')
    const copy = await open({ maxActiveSessions: 1 })
    await copy.importSession([file])
    const child = { userId: 'ada', id: 'child' }
    const begun = (await copy.getSession('ada', 'child', { at: 1 }))!
    expect(
      [begun, begun.messages, begun.messages[0], begun.messages[0]?.content, begun.metadata].every(Object.isFrozen)
    ).toBe(true)
    expect((await copy.undo(child)).metadata).toEqual({ title: 'T' })
    expect((await copy.undo(child)).messages).toEqual(begun.messages)
    await fails(() => copy.undo(child), 'NOTHING_TO_UNDO')
    await copy.createSession('ada', 'other')
    expect((await copy.rewind(child, 2)).messages).toHaveLength(67)
    const back = await copy.rewind(child, 1)
    expect(back).toMatchObject({ metadata: { title: 'T' }, forkedFrom: { sessionId: 'parent' } })
    expect(back.messages).toEqual(begun.messages)
    const fork = await copy.fork(child, { at: 1, sessionId: 'fork' })
    expect(fork.messages).toEqual(begun.messages)
    expect((await copy.forks(child)).map(({ id }) => id)).toEqual(['fork'])
    await copy.purgeSession('ada', 'child')
    await copy.appendMessage(fork, text('more'))
    await copy.createSession('ada', 'other')
    const again = await comesBack(await exported(copy, 'ada', 'fork'), 'ada', 'fork')
    expect(await again.getSession('ada', 'fork')).toEqual(await copy.getSession('ada', 'fork'))
    expect(await again.forks(child)).toEqual([])
  })

  it('is given by readEvents with its messages, and can start over with none', async () => {
    const copy = await open()
    await copy.importSession([await exported(await family(), 'ada', 'child')])
    const [event] = await eventsOf(copy, { userId: 'ada', id: 'child' }, { to: 1 })
    expect(event?.type === 'created' && event.data.messages).toHaveLength(66)
    expect((await copy.createSession('ada', 'child')).messages).toEqual([])
  })

  it('of nothing comes back, too', async () => {
    const history = await openAda()
    await history.fork(ADA, { sessionId: 'child' })
    const copy = await comesBack(await exported(history, 'ada', 'child'), 'ada', 'child')
    expect(await copy.getSession('ada', 'child')).toEqual(await history.getSession('ada', 'child'))
  })
})

const FILE = fileURLToPath(new URL('../../../shared/data/tau-airline.jsonl', import.meta.url))
const title = '100 real runs come back as they were'

if (!existsSync(FILE) && !process.env['CI']) it.skip(`${title} (skipped: there is no ${FILE})`)
else {
  it(title, async () => {
    const history = await open()
    const runs = readFileSync(FILE, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { messages: OpenAIMessage[] })
    expect(runs).toHaveLength(100)
    for (const [i, { messages }] of runs.entries()) {
      const session = await history.createSession('ada', `run ${i}`)
      await history.appendMessage(
        session,
        messages.map((message) => fromOpenAIMessage(message))
      )
    }
    const file = await exported(history)
    const copy = await open({ maxActiveSessions: 5 })
    const bytes = Buffer.from(file)
    await copy.importSession(
      Array.from({ length: Math.ceil(bytes.length / 65_536) }, (_, i) => bytes.subarray(i * 65_536, (i + 1) * 65_536))
    )
    expect(await exported(copy)).toBe(file)
    for (const [i, { messages }] of runs.entries())
      expect(toOpenAIMessages((await copy.getSession('ada', `run ${i}`))!.messages)).toEqual(messages)
  })
}

describe('importSession', () => {
  it('takes text or bytes in pieces of any size, also within a character', async () => {
    const history = await openAda()
    await history.appendMessage(ADA, text('ä😀\u2028\ud83d'))
    const file = await exported(history)
    const bytes = Buffer.from(file)
    const pieces = <T>(all: { slice(a: number, b: number): T; length: number }, size: number): T[] =>
      Array.from({ length: Math.ceil(all.length / size) }, (_, i) => all.slice(i * size, (i + 1) * size))
    for (const size of [1, 2, 3, 5, 64, 1000]) {
      for (const source of [pieces(file, size), pieces(bytes, size)]) {
        const copy = await open()
        await copy.importSession(source)
        expect(await exported(copy)).toBe(file)
      }
    }
    for (let at = 0; at <= bytes.length; at++) {
      const copy = await open()
      await copy.importSession([bytes.subarray(0, at), '', new Uint8Array(), bytes.subarray(at)])
      expect(await exported(copy)).toBe(file)
    }
    const copy = await open()
    await copy.importSession(file)
    expect(await exported(copy)).toBe(file)
  })

  it('does not keep pieces, whose memory may be used again', async () => {
    const file = Buffer.from(await twoSessions())
    const piece = new Uint8Array(10)
    const copy = await open()
    await copy.importSession(
      (function* () {
        for (let at = 0; at < file.length; at += 10) {
          const size = Math.min(10, file.length - at)
          piece.set(file.subarray(at, at + size))
          yield piece.subarray(0, size)
        }
      })()
    )
    expect(await exported(copy)).toBe(file.toString())
  })

  it('stores a session as one commit to the store, through its actor: who reads and who follows sees all of it', async () => {
    const hooks: Hooks = {}
    const store = memoryStore()
    const commits: number[] = []
    hooks.append = async (given) => {
      commits.push(...given.map(({ events }) => events.length))
      return store.append(given)
    }
    const history = await open({ store: hooked(hooks, store), missing: { get: 'null' } })
    expect(await history.getSession('ada', 'a')).toBeNull()
    const seen: number[] = []
    const followed = (async () => {
      for await (const { version } of history.subscribe('ada', 'a')) if (seen.push(version) === 6) return
    })()
    await history.importSession([await twoSessions()])
    await followed
    expect(seen).toEqual([1, 2, 3, 4, 5, 6])
    expect(commits).toEqual([6, 3])
    expect(textsOf(await history.getSession('ada', 'a'))).toEqual(['1', '2', '3', '4', '5'])
    await history.appendMessage({ userId: 'ada', id: 'a' }, text('6'))
  })

  it('under another name makes ids anew, consistently, and changes nothing else', async () => {
    const history = await open()
    await everyType(history)
    const file = await exported(history, 'ada', 'all')
    const lines = linesOf(file).length - 2
    const [one] = await history.importSession([file], { sessionId: ' copy ' })
    expect(one).toMatchObject({ userId: 'ada', id: 'copy', version: lines })
    await history.importSession([file], { userId: 'bob' })
    await history.importSession([file], { userId: 'bob', sessionId: 'copy' })
    const original = await eventsOf(history, { userId: 'ada', id: 'all' })
    const known = new Set(original.map(({ id }) => id))
    for (const ref of [
      { userId: 'ada', id: 'copy' },
      { userId: 'bob', id: 'all' },
      { userId: 'bob', id: 'copy' }
    ]) {
      const events = await eventsOf(history, ref)
      for (const [i, { id, commitId, userId, sessionId, ...others }] of events.entries()) {
        const { id: oldId, commitId: oldCommit, userId: _, sessionId: __, ...old } = original[i]!
        expect(others).toEqual(old)
        expect({ userId, id: sessionId }).toEqual(ref)
        expect(known.has(id)).toBe(false)
        known.add(id)
        expect(commitId).toBe(events[original.findIndex((event) => event.id === oldCommit)]?.id)
        expect(commitId === id).toBe(oldCommit === oldId)
      }
      const { userId, id, ...copied } = (await history.getSession(ref.userId, ref.id))!
      expect({ userId, id }).toEqual(ref)
      expect(copied).toEqual(expect.objectContaining({ version: lines }))
      await comesBack(await exported(history, userId, id), userId, id)
    }
    expect(known.size).toBe(4 * lines)
  })

  it('under its own name, said again, keeps ids', async () => {
    const history = await openAda()
    const file = await exported(history)
    const copy = await open()
    await copy.importSession([file], { userId: 'ada', sessionId: 's1' })
    expect(await exported(copy)).toBe(file)
  })

  it('refuses one name for two sessions, also when it takes what is sound', async () => {
    const file = await twoSessions()
    const store = memoryStore()
    const history = await open({ store })
    const onInvalid = (): void => undefined
    for (const options of [{ sessionId: 'x' }, { sessionId: 'x', onInvalid }])
      await fails(() => history.importSession([file], options), 'INVALID_IMPORT', { line: 8, file: 'input' })
    const bobs = await open()
    await bobs.createSession('bob', 'a')
    const both = fileOf([...linesOf(file).slice(1, -1), ...linesOf(await exported(bobs, 'bob')).slice(1, -1)])
    await fails(() => history.importSession([both], { userId: 'eve', onInvalid }), 'INVALID_IMPORT', { line: 11 })
    expect(await contentsOf(store)).toEqual([])
    expect(await history.importSession([both])).toHaveLength(3)
  })

  it('refuses a session that exists, or was deleted and not purged, before anything is stored', async () => {
    const store = memoryStore()
    const history = await open({ store })
    const file = await twoSessions()
    await history.createSession('ada', 'b')
    await history.deleteSession('ada', 'b')
    const before = await contentsOf(store)
    await fails(() => history.importSession([file]), 'SESSION_EXISTS', { userId: 'ada', sessionId: 'b' })
    expect(await contentsOf(store)).toEqual(before)
    await history.purgeSession('ada', 'b')
    await history.importSession([file])
    await fails(() => history.importSession([file]), 'SESSION_EXISTS', { sessionId: 'a' })
    expect(await exported(history)).toBe(file)
  })

  it("leaves sessions that exist, or were deleted, as they are with onExisting: 'skip'", async () => {
    const store = memoryStore()
    const history = await open({ store })
    const file = await twoSessions()
    await history.createSession('ada', 'b')
    await history.deleteSession('ada', 'b')
    const before = await history.exportSession('ada', 'b')[Symbol.asyncIterator]().next()
    expect((await history.importSession([file], { onExisting: 'skip' })).map(({ id }) => id)).toEqual(['a'])
    expect(await history.exportSession('ada', 'b')[Symbol.asyncIterator]().next()).toEqual(before)
    expect(await history.getSession('ada', 'b', { at: 2 })).toBeNull()
    expect(await history.importSession([file], { onExisting: 'skip' })).toEqual([])
    await expect(history.importSession([file], { onExisting: 'replace' as 'skip' })).rejects.toThrow(TypeError)
  })

  it('stores nothing more once its signal is aborted', async () => {
    const store = memoryStore()
    const history = await open({ store })
    const lines = linesOf(await twoSessions())
    const stopped = new AbortController()
    const reason = new Error('enough')
    const source = function* (): Generator<string> {
      yield* lines.slice(0, -1)
      stopped.abort(reason)
      yield lines.at(-1)!
    }
    await expect(history.importSession(source(), { signal: stopped.signal })).rejects.toBe(reason)
    await expect(history.importSession(lines, { signal: stopped.signal })).rejects.toBe(reason)
    expect(await contentsOf(store)).toEqual([])
  })

  it.each([1, 2])('of one file twice at once, through %d services, stores it once', async (services) => {
    const store = memoryStore()
    const file = await twoSessions()
    const all = await Promise.all(Array.from({ length: services }, () => open({ store })))
    const results = await Promise.allSettled([0, 1, 2, 3].map((i) => all[i % services]!.importSession([file])))
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const result of results)
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'SESSION_EXISTS' })
    expect(await exported(all[0]!)).toBe(file)
  })

  it('and a session that begins meanwhile: one of them is first, and whole', async () => {
    const hooks: Hooks = {}
    const store = memoryStore()
    const history = await open({ store: hooked(hooks, store) })
    const other = await open({ store })
    hooks.append = async (commits) => {
      delete hooks.append
      await other.createSession('ada', 'b', { metadata: { by: 'other' } })
      return store.append(commits)
    }
    await fails(async () => history.importSession([await twoSessions()]), 'SESSION_EXISTS', { sessionId: 'b' })
    expect((await history.getSession('ada', 'a'))?.version).toBe(6)
    expect(await history.getSession('ada', 'b')).toMatchObject({ version: 1, metadata: { by: 'other' } })
  })

  it('tells of a failing store, with the outcome', async () => {
    const hooks: Hooks = {}
    const store = memoryStore()
    const history = await open({ store: hooked(hooks, store) })
    const file = await twoSessions()
    hooks.head = () => Promise.reject(new Error('disk'))
    await fails(() => history.importSession([file]), 'STORE_UNAVAILABLE', { outcome: 'not-stored' })
    delete hooks.head
    hooks.append = async (commits) =>
      commits.map(() => ({ status: 'failed', error: new Error('disk'), outcome: 'not-stored' as const }))
    await fails(() => history.importSession([file]), 'STORE_UNAVAILABLE', { outcome: 'not-stored' })
    expect(await contentsOf(store)).toEqual([])
    hooks.append = async (commits) => {
      await store.append(commits)
      throw new Error('the answer was lost')
    }
    // What is found in the log was stored.
    expect(await history.importSession([file])).toHaveLength(2)
    expect(await exported(history)).toBe(file)
  })

  it('passes on what its source throws, closes it after the first line that is not sound, and stores nothing', async () => {
    const store = memoryStore()
    const history = await open({ store })
    const [header = ''] = linesOf(await twoSessions())
    let isClosed = false
    async function* source(error?: Error): AsyncGenerator<string> {
      try {
        yield header
        if (error) throw error
        yield 'no\n'
        yield 'more\n'
        throw new Error('read on')
      } finally {
        isClosed = true
      }
    }
    expect(await failureOf(() => history.importSession(source(new Error('no such file'))))).toMatchObject({
      message: 'no such file'
    })
    isClosed = false
    await fails(() => history.importSession(source()), 'INVALID_IMPORT', { line: 2 })
    expect(isClosed).toBe(true)
    expect(await contentsOf(store)).toEqual([])
  })

  it('does not hold up stop while it reads, and is finished once it stores', async () => {
    const file = await twoSessions()
    const gate = deferred()
    const history = await open()
    const importing = history.importSession(
      (async function* () {
        yield file
        await gate.promise
      })()
    )
    await history.stop()
    gate.resolve()
    await fails(() => importing, 'STOPPED')
    await fails(() => history.importSession([file]), 'STOPPED')
    await history.start()
    const begun = deferred()
    const hooks: Hooks = {}
    const store = memoryStore()
    const other = await open({ store: hooked(hooks, store) })
    hooks.head = async (key) => {
      begun.resolve()
      return store.head(key)
    }
    const finished = other.importSession([file])
    await begun.promise
    await other.stop()
    expect(await finished).toHaveLength(2)
  })

  it('refuses arguments that make no sense', async () => {
    const history = await open()
    await misuses(() => history.importSession(5 as never), 'source')
    await misuses(() => history.importSession([5] as never), 'source')
    await misuses(() => history.importSession('backups/ada.jsonl'), 'createReadStream(path)')
    await misuses(() => history.importSession([], { file: 5 as never }), 'file')
    await misuses(() => history.importSession([], { userId: '' }), 'userId')
    await misuses(() => history.importSession([], { sessionId: ' ' }), 'sessionId')
    await misuses(() => history.importSession([], { onInvalid: 'log' as never }), 'onInvalid')
  })
})

describe('a damaged file is refused whole, with the line', () => {
  it('cut off anywhere', async () => {
    const bytes = Buffer.from(await twoSessions())
    const history = await open()
    for (let end = 0; end < bytes.length; end++) {
      const cut = bytes.subarray(0, end)
      const line = cut.filter((byte) => byte === 10).length + 1
      await fails(() => history.importSession([cut]), 'INVALID_IMPORT', { line, file: 'input' })
    }
    expect(await exported(history)).toBe(sealed([HEADER]))
  })

  it('with a line cut anywhere', async () => {
    const lines = linesOf(await twoSessions())
    const history = await open()
    for (const [i, line] of lines.entries()) {
      for (let end = 0; end < line.length - 1; end++) {
        const cut = [...lines.slice(0, i), `${line.slice(0, end)}\n`, ...lines.slice(i + 1)].join('')
        await fails(() => history.importSession([cut]), 'INVALID_IMPORT', { line: i + 1 })
      }
    }
    expect(await exported(history)).toBe(sealed([HEADER]))
  })

  it('with any byte changed, missing or doubled', async () => {
    const bytes = Buffer.from(await twoSessions())
    const history = await open()
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), fc.nat(2), async (at, by, kind) => {
        const damaged = Buffer.from(bytes)
        damaged[at] = (damaged[at]! + by) % 256
        const start = bytes.subarray(0, at + (kind === 2 ? 1 : 0))
        const file = kind === 0 ? damaged : Buffer.concat([start, bytes.subarray(at + (kind === 1 ? 1 : 0))])
        await fails(() => history.importSession([file]), 'INVALID_IMPORT')
      }),
      { numRuns: 1000 }
    )
    expect(await exported(history)).toBe(sealed([HEADER]))
  })

  it('with lines swapped, doubled or missing, also under a hash that is right', async () => {
    const lines = linesOf(await twoSessions())
    const history = await open()
    for (let i = 1; i < lines.length - 1; i++) {
      const without = lines.toSpliced(i, 1)
      const doubled = lines.toSpliced(i, 0, lines[i]!)
      for (const damaged of [without, doubled]) {
        await fails(() => history.importSession([damaged.join('')]), 'INVALID_IMPORT')
        // The last event of a session is not missed by the others.
        if (damaged === without && (i === 6 || i === 9 || i === 10)) continue
        await fails(() => history.importSession([sealed(damaged.slice(0, -1))]), 'INVALID_IMPORT', {
          line: damaged === doubled ? i + 2 : i + 1
        })
      }
      for (let j = i + 1; j < lines.length - 1; j++) {
        const swapped = lines.with(i, lines[j]!).with(j, lines[i]!)
        await fails(() => history.importSession([swapped.join('')]), 'INVALID_IMPORT')
        await fails(() => history.importSession([sealed(swapped.slice(0, -1))]), 'INVALID_IMPORT')
      }
    }
    expect(await exported(history)).toBe(sealed([HEADER]))
  })

  const at = async (line: number): Promise<Record<string, never>> =>
    JSON.parse(linesOf(await twoSessions())[line - 1]!) as Record<string, never>
  const LAST = 11

  it.each<[string, (lines: string[]) => string, number, string]>([
    ['empty', () => '', 1, 'empty'],
    ['a line feed', () => '\n', 1, 'first line'],
    ['a byte order mark', (lines) => `\ufeff${lines.join('')}`, 1, 'first line'],
    ['no header', (lines) => sealed(lines.slice(1, -1)), 1, 'first line'],
    [
      'a newer format',
      (lines) => lines.join('').replace('"formatVersion":1', '"formatVersion":2'),
      1,
      'format version 1 of exports, and this is 2'
    ],
    ['no format', (lines) => lines.join('').replace(',"formatVersion":1', ''), 1, 'format version'],
    ['another header', (lines) => lines.join('').replace('"export"', '"dump"'), 1, 'first line'],
    ['lines that end with \\r\\n', (lines) => lines.join('').replaceAll('\n', '\r\n'), 1, 'ends with CR LF'],
    ['an empty line', (lines) => sealed([...lines.slice(0, 3), '\n', ...lines.slice(3, -1)]), 4, 'not JSON'],
    ['a line of other JSON', (lines) => sealed([...lines.slice(0, 3), '[]\n']), 4, 'not a JSON object'],
    ['a line that is not UTF-8 as text', (lines) => sealed(lines.slice(0, 3)).replace('"1"', '"\ud800"'), 3, 'UTF-8'],
    ['white space', (lines) => sealed([...lines.slice(0, 3), lines[3]!.replace('{', '{ ')]), 4, 'JSON.stringify'],
    [
      'a number that JSON.parse changes',
      (lines) => sealed([lines[0]!, lines[1]!.replace('"format":', '"metadata":{"n":1e400},"format":')]),
      2,
      'JSON.stringify'
    ],
    [
      'a key twice',
      (lines) => sealed([lines[0]!, lines[1]!.replace('"format":', '"format":"x","format":')]),
      2,
      'JSON.stringify'
    ],
    ['a second header', (lines) => sealed([...lines.slice(0, 3), HEADER]), 4, 'last line'],
    ['no last line', (lines) => lines.slice(0, -1).join(''), LAST, 'ends before'],
    ['a wrong count', (lines) => lines.join('').replace('"events":9', '"events":8'), LAST, '8 events'],
    ['a wrong hash', (lines) => lines.join('').replace(/"sha256":"./, '"sha256":"x'), LAST, 'SHA-256'],
    ['an edited message', (lines) => lines.join('').replace('"6"', '"7"'), LAST, 'SHA-256'],
    ['a last line with more in it', (lines) => lines.join('').replace(/}\n$/, ',"x":1}\n'), LAST, 'last line'],
    ['something after the last line', (lines) => `${lines.join('')}\n`, LAST + 1, 'after the last line'],
    ['another export after the last line', (lines) => lines.join('') + lines.join(''), LAST + 1, 'after the last line']
  ])('%s', async (_, damage, line, shown) => {
    await refuses(damage(linesOf(await twoSessions())), line, shown)
  })

  it('binary', async () => {
    await refuses(
      Uint8Array.from({ length: 1000 }, (_, i) => (i * 7919) % 256),
      1
    )
    await refuses(Buffer.concat([Buffer.from(HEADER), Buffer.from([0xff, 10])]), 2, 'UTF-8')
  })

  it('nested deeper than any program can follow', async () => {
    await refuses(sealed([HEADER, `{"a":${'['.repeat(1e5)}${']'.repeat(1e5)}}\n`]), 2, 'nested too deep')
  })

  it.each<[string, number, Record<string, unknown>, string]>([
    ['no id', 4, { id: undefined }, 'id'],
    ['an id that is none', 4, { id: '\ud800', commitId: '\ud800' }, 'id'],
    ['a user id that is none', 4, { userId: ' ' }, 'userId'],
    ['a user id that is a number', 4, { userId: 5 }, 'userId'],
    ['a version that is no number', 4, { version: '3' }, 'version'],
    ['an earlier time', 4, { at: 1 }, 'earlier'],
    ['a time that is none', 4, { at: 9e15 }, 'later than any'],
    ['a negative time', 2, { at: -1 }, 'earlier'],
    ['data that are no object', 4, { data: [] }, 'data'],
    ['other data than its type has', 4, { type: 'deleted', data: { reason: 5 } }, 'reason'],
    ['no message', 4, { data: {} }, 'message'],
    ['an idempotency key that is none', 4, { idempotencyKey: '' }, 'idempotencyKey'],
    ['a newer schema version', 4, { schemaVersion: 2 }, 'newer release'],
    ['a type that objects inherit', 4, { type: '__proto__' }, 'newer release'],
    ['the commit of another', 7, { commitId: 'x' }, 'commit'],
    ['a reply to no message', 4, { type: 'message-replaced', data: { message: { id: 'none' } } }, 'does not fit'],
    ['a rewind to what comes later', 4, { type: 'rewound', data: { toVersion: 5, kind: 'rewind' } }, 'does not fit'],
    ['no beginning', 2, { type: 'message-appended', data: { message: {} } }, 'no session'],
    [
      'a parent elsewhere',
      2,
      { data: { format: 'message', forkedFrom: { userId: 'a', sessionId: 'b', version: 1 }, parentLogId: 'l' } },
      'another log'
    ]
  ])('an event with %s', async (_, line, changes, shown) => {
    const lines = linesOf(await twoSessions())
    const event = { ...(await at(line)), ...changes }
    await refuses(
      sealed([...lines.slice(0, line - 1), `${JSON.stringify(event)}\n`, ...lines.slice(line, -1)]),
      line,
      shown
    )
  })

  it('a message in place of one that has no id', async () => {
    const [first, second] = [await at(2), await at(3)]
    for (const message of [{ content: [] }, { id: 5 }, null, [], 'text']) {
      const appended = { ...second, data: { message } }
      const replaced = { ...second, id: 'z', commitId: 'z', version: 3, type: 'message-replaced', data: { message } }
      await refuses(fileOf([first, appended, replaced]), 4, 'message')
    }
  })

  it('a truncation that says that it has dropped what it has not', async () => {
    const [first, second] = [await at(2), await at(3)]
    const truncated = (data: object): object => ({
      ...second,
      id: 'z',
      commitId: 'z',
      version: 3,
      type: 'messages-truncated',
      data
    })
    await refuses(fileOf([first, second, truncated({ length: 0, dropped: 2 })]), 4, 'does not fit')
    await refuses(fileOf([first, second, truncated({ length: 1, dropped: -1 })]), 4, 'dropped')
    const history = await open()
    for (const [i, data] of [{ length: 0 }, { length: 0, dropped: 1 }, { length: 5 }].entries())
      await history.importSession([fileOf([first, second, truncated(data)])], { userId: `user ${i}` })
  })

  it('an event after the session was deleted', async () => {
    const [first, second] = [await at(2), await at(3)]
    const deleted = { ...second, type: 'deleted', data: {} }
    const after = { ...second, id: 'z', commitId: 'z', version: 3 }
    await refuses(fileOf([first, deleted, after]), 4, 'no session')
    await refuses(fileOf([first, deleted, { ...after, type: 'deleted', data: {} }]), 4, 'no session')
  })

  it('an id twice, also in two sessions', async () => {
    const lines = linesOf(await twoSessions())
    const { id } = await at(3)
    const event = { ...(await at(9)), id, commitId: id }
    await refuses(fileOf([...lines.slice(1, 8), event]), 9, 'same id')
  })

  it('names the cause', async () => {
    const error = await refuses(`${HEADER}{"a":\n`, 2, 'not JSON')
    expect(error.cause).toBeInstanceOf(SyntaxError)
    const gone = { ...(await at(4)), type: 'rewound', data: { toVersion: 9, kind: 'undo' } }
    const lines = linesOf(await twoSessions())
    expect((await refuses(fileOf([lines[1]!, lines[2]!, gone]), 4)).cause).toMatchObject({
      code: 'CORRUPT_LOG',
      version: 3
    })
  })
})

describe('with onInvalid', () => {
  it('a sound file is imported as ever, and nothing is told', async () => {
    const history = await open()
    const file = await twoSessions()
    expect(await salvage(file, history)).toMatchObject({ left: [], sessions: [{ id: 'a' }, { id: 'b' }] })
    expect(await exported(history)).toBe(file)
  })

  // What stays of "a" and of "b", and which lines are left.
  it.each<[string, (lines: string[]) => string[], number, number, number[]]>([
    ['an unreadable line: the commit before it may go on in it', (l) => l.with(6, '?\n'), 2, 3, [4, 5, 6, 7, 11]],
    ['one after a commit of its own', (l) => l.with(3, '?\n'), 1, 3, [3, 4, 5, 6, 7, 11]],
    [
      'a line that can be read and begins a commit',
      (l) => l.with(6, l[6]!.replace('"at":', '"at":"",')),
      2,
      3,
      [4, 5, 6, 7, 11]
    ],
    [
      'an event that does not fit, and begins a commit',
      (l) => l.with(6, l[6]!.replace('"message":', '"massage":')),
      5,
      3,
      [7, 11]
    ],
    [
      'an event that does not fit, within a commit',
      (l) => l.with(4, l[4]!.replace('"message":', '"massage":')),
      2,
      3,
      [4, 5, 6, 7, 11]
    ],
    ['a line missing', (l) => l.toSpliced(3, 1), 1, 3, [3, 4, 5, 6, 10]],
    ['lines swapped', (l) => l.with(3, l[4]!).with(4, l[3]!), 1, 3, [3, 4, 5, 6, 7, 11]],
    ['the beginning missing', (l) => l.toSpliced(1, 1), 0, 3, [2, 3, 4, 5, 6, 10]],
    ['the beginning of the second missing', (l) => l.toSpliced(7, 1), 6, 0, [8, 9, 10]],
    ['a session in two parts', (l) => [...l.slice(0, 6), ...l.slice(7, 10), l[6]!, l[10]!], 5, 3, [10, 11]],
    [
      'a commit in two parts',
      (l) => [...l.slice(0, 5), ...l.slice(7, 10), l[5]!, l[6]!, l[10]!],
      2,
      3,
      [4, 5, 9, 10, 11].sort((a, b) => a - b)
    ],
    ['no header', (l) => l.slice(1), 6, 3, [1, 10]],
    ['a header that cannot be read', (l) => l.with(0, '{"turnlog":"ex\n'), 6, 3, [1, 11]],
    ['an older header', (l) => l.with(0, '{"turnlog":"export","formatVersion":0}\n'), 6, 3, [1, 11]],
    ['no last line: the last commit may go on', (l) => l.slice(0, -1), 6, 2, [10, 11]],
    ['a last line that is cut', (l) => l.with(10, '{"turnlog":"end","ev'), 6, 3, [11]],
    ['a last line that is wrong', (l) => l.with(10, l[10]!.replace('"events":9', '"events":1')), 6, 3, [11]],
    ['a last event that is cut', (l) => [...l.slice(0, 9), l[9]!.slice(0, 100)], 6, 1, [9, 10, 11]],
    ['lines after the last', (l) => [...l, '\n', l[5]!], 6, 3, [12, 13]],
    ['an edited message', (l) => l.with(3, l[3]!.replace('"2"', '"3"')), 6, 3, [11]],
    ['nothing', () => [], 0, 0, [1]],
    ['nothing but damage', () => ['?\n', '??\n', '???'], 0, 0, [1, 2, 3, 4]]
  ])('takes what is sound: %s', async (_, damage, a, b, left) => {
    const file = await twoSessions()
    const events = eventsIn(file)
    const store = memoryStore()
    const history = await open({ store, missing: { get: 'null' } })
    const { left: told, sessions, errors } = await salvage(damage(linesOf(file)).join(''), history)
    expect([...told].sort((x, y) => x - y)).toEqual(left)
    expect(new Set(told).size).toBe(told.length)
    for (const { message } of errors) expect(message).toMatch(/^f:\d+: \w/)
    expect(sessions.map(({ id, version }) => [id, version])).toEqual(
      [
        ['a', a],
        ['b', b]
      ].filter(([, version]) => version !== 0)
    )
    const [ofA, ofB] = await Promise.all(['a', 'b'].map((id) => eventsOf(history, { userId: 'ada', id })))
    // An edited message is one that nobody can tell.
    const isKnown = (event: object): object => ({ ...event, data: {} })
    expect(ofA!.map(isKnown)).toEqual(events.slice(0, a).map(isKnown))
    expect(ofB).toEqual(events.slice(6, 6 + b))
    if (a > 0) expect((await history.appendMessage({ userId: 'ada', id: 'a' }, text('on')))?.version).toBe(a + 1)
  })

  it('keeps a commit that says that it is whole', async () => {
    const history = await openAda()
    await history.appendMessage(ADA, [text('1'), text('2')], { idempotencyKey: 'k' })
    const lines = linesOf(await exported(history))
    const copy = await open()
    expect(await salvage([...lines.slice(0, 4), '?\n'].join(''), copy)).toMatchObject({
      left: [5, 6],
      sessions: [{ version: 3 }]
    })
    expect(textsOf(await copy.appendMessage(ADA, [text('1'), text('2')], { idempotencyKey: 'k' }))).toEqual(['1', '2'])
  })

  it('never takes a part of a commit, wherever the file is cut', async () => {
    const history = await open()
    await everyType(history)
    const file = await exported(history)
    const bytes = Buffer.from(file)
    const events = eventsIn(file)
    for (let end = 0; end < bytes.length; end += 13) {
      const copy = await open()
      const { sessions, left } = await salvage(bytes.subarray(0, end), copy)
      expect(left.length).toBeGreaterThan(0)
      const version = sessions[0]?.version ?? (await eventsOf(copy, { userId: 'ada', id: 'all' })).length
      const [last, next] = [events[version - 1], events[version]]
      expect(last === undefined || last.commitId !== next?.commitId).toBe(true)
      const whole = bytes.subarray(0, end).filter((byte) => byte === 10).length - 1
      expect(version).toBeLessThanOrEqual(Math.max(whole, 0))
      expect(version).toBeGreaterThanOrEqual(Math.min(whole, events.length) - 3)
    }
  })

  it('whatever is damaged, what is stored is a beginning of what was exported, and what is not is told', async () => {
    const file = await twoSessions()
    const bytes = Buffer.from(file)
    const events = eventsIn(file)
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 3 }),
        async (changes) => {
          const damaged = Buffer.from(bytes)
          for (const [place, byte] of changes) damaged[place] = byte
          if (damaged.equals(bytes)) return
          const store = memoryStore()
          const history = await open({ store })
          const errors: unknown[] = []
          try {
            await history.importSession([damaged], { onInvalid: (error) => errors.push(error) })
          } catch (error) {
            // A newer format.
            expect(error).toMatchObject({ code: 'INVALID_IMPORT' })
            errors.push(error)
          }
          expect(errors.length).toBeGreaterThan(0)
          let stored = 0
          for (const { logId } of await store.heads())
            for await (const page of store.read(logId)) {
              stored += page.length
              expect(page.map(({ version }) => version)).toEqual(page.map((_, i) => i + 1))
            }
          expect(stored).toBeLessThanOrEqual(events.length)
        }
      ),
      { numRuns: 300 }
    )
  })

  it('takes no line of a newer format, and throws', async () => {
    const store = memoryStore()
    const history = await open({ store })
    const file = (await twoSessions()).replace('"formatVersion":1', '"formatVersion":2')
    const onInvalid = (): never => {
      throw new Error('told')
    }
    await fails(() => history.importSession([file], { onInvalid }), 'INVALID_IMPORT', { line: 1 })
    expect(await contentsOf(store)).toEqual([])
  })

  it('stores nothing where it throws, or a session exists', async () => {
    const store = memoryStore()
    const history = await open({ store })
    const file = await twoSessions()
    const onInvalid = (): never => {
      throw new Error('told')
    }
    expect(await failureOf(() => history.importSession([`${file}?`], { onInvalid }))).toMatchObject({ message: 'told' })
    await history.createSession('ada', 'b')
    const before = await contentsOf(store)
    await fails(() => history.importSession([`${file}?`], { onInvalid: () => undefined }), 'SESSION_EXISTS')
    expect(await contentsOf(store)).toEqual(before)
  })
})
