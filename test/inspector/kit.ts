import { mkdtempSync, rmSync } from 'node:fs'
import { request, type IncomingHttpHeaders } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it as plainIt } from 'vitest'
import {
  createSessionHistory,
  memoryStore,
  type EventStore,
  type SessionHistoryOptions,
  type SessionHistoryService,
  type StandardSchema
} from '../../src/index.ts'
import { startInspector, type Inspector, type InspectorOptions } from '../../src/inspector.ts'
import type {
  Diff,
  Edit,
  Edited,
  EventPage,
  EventShown,
  Facts,
  Failure,
  Found,
  Moment,
  Outline,
  SessionPage,
  Text,
  Tree,
  UserPage,
  Window
} from '../../src/inspector/wire.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'

export const TOKEN = 'a token of the tests'

/** No answer for a view is larger. */
export const LARGEST = 200_000

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

export interface Question {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** Whether it has the cookie; by default it does. */
  readonly isKnown?: boolean
}

/** What the API answers, by its path. */
interface Answers {
  users: UserPage
  sessions: SessionPage
  moment: Moment
  messages: Window
  facts: Facts
  event: EventShown
  events: EventPage
  outline: Outline
  text: Text
  diff: Diff
  tree: Tree
  find: Found
}

type Query = Readonly<Record<string, string | number | undefined>>

/** A running inspector, and ways to ask it. */
export class Asked {
  readonly inspector: Inspector
  readonly origin: string
  readonly port: number
  readonly cookie: string

  constructor(inspector: Inspector, token = TOKEN) {
    const { origin, port } = new URL(inspector.url)
    this.inspector = inspector
    this.origin = origin
    this.port = Number(port)
    this.cookie = `turnlog_${port}=${encodeURIComponent(token)}`
  }

  /** As it is sent: nothing is made of the path or the headers. */
  ask(path: string, { method = 'GET', headers = {}, body, isKnown = true }: Question = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const known = isKnown ? { cookie: this.cookie } : {}
      // A connection each: a server closes one that was idle for a while, maybe just when it is used again.
      const agent = false
      const options = { host: '127.0.0.1', port: this.port, path, method, agent, headers: { ...known, ...headers } }
      const asked = request(options, (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (piece: string) => (text += piece))
        response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, body: text }))
        response.on('error', reject)
      })
      asked.on('error', reject)
      asked.end(body)
    })
  }

  /** What the API answers to a view, which is neither an error nor too large. */
  async get<P extends keyof Answers>(path: P, query: Query = {}): Promise<Answers[P]> {
    const { status, body } = await this.ask(`/api/${path}?${stringOf(query)}`)
    expect({ status, body: status === 200 ? '' : body }).toEqual({ status: 200, body: '' })
    expect(body.length).toBeLessThan(LARGEST)
    expect(Buffer.byteLength(body)).toBeLessThan(LARGEST)
    return JSON.parse(body) as Answers[P]
  }

  /** The status and code of an answer that is an error; and its message. */
  async failed(path: string, query: Query = {}): Promise<[status: number, code: string, message: string]> {
    const { status, body } = await this.ask(`/api/${path}?${stringOf(query)}`)
    const { error } = JSON.parse(body) as Failure
    return [status, error.code, error.message]
  }

  /** Posts JSON, as the page does. */
  post(body: unknown, question: Question = {}): Promise<Answer> {
    return this.ask('/api/edit', {
      method: 'POST',
      body: JSON.stringify(body),
      ...question,
      headers: { 'origin': this.origin, 'content-type': 'application/json', ...question.headers }
    })
  }

  /** An edit that is made. */
  async edit(edit: Edit): Promise<Edited> {
    const { status, body } = await this.post(edit)
    expect({ status, body }).toMatchObject({ status: 200 })
    return JSON.parse(body) as Edited
  }

  /** An edit that is not made. */
  async refused(edit: unknown, question?: Question): Promise<[status: number, code: string, message: string]> {
    const { status, body } = await this.post(edit, question)
    const { error } = JSON.parse(body) as Failure
    return [status, error.code, error.message]
  }

  /** What is sent as it comes. Left when the iteration is. */
  async *events(path: string, query: Query = {}, headers: Readonly<Record<string, string>> = {}): AsyncGenerator<Sent> {
    const left = new AbortController()
    try {
      const url = `${this.origin}/api/${path}?${stringOf(query)}`
      const { body } = await fetch(url, { headers: { cookie: this.cookie, ...headers }, signal: left.signal })
      let rest = ''
      for await (const piece of body!.pipeThrough(new TextDecoderStream())) {
        const frames = (rest + piece).split('\n\n')
        rest = frames.pop()!
        for (const frame of frames) yield sent(frame)
      }
    } finally {
      left.abort()
    }
  }
}

/** A server-sent event. */
export interface Sent {
  readonly event: string
  readonly id: string | undefined
  readonly data: unknown
}

function sent(frame: string): Sent {
  const field = (name: string): string | undefined => new RegExp(`^${name}: (.*)$`, 'm').exec(frame)?.[1]
  const data = field('data') ?? ''
  return { event: field('event')!, id: field('id'), data: data === '' ? undefined : (JSON.parse(data) as unknown) }
}

/** As it stands in an address. */
export function stringOf(query: Query): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined)
  return new URLSearchParams(given.map(([key, value]): [string, string] => [key, String(value)])).toString()
}

export interface Given {
  readonly store?: EventStore
  readonly service?: SessionHistoryOptions
  readonly inspector?: InspectorOptions
}

/** A service and its inspector, which is asked. */
export interface World {
  readonly history: SessionHistoryService
  readonly asked: Asked
}

/** A test with services and inspectors of its own, stopped after it, and with fresh SQLite files. */
export const it = plainIt.extend<{
  readonly begin: (given?: Given) => Promise<World>
  readonly file: string
}>({
  // oxlint-disable-next-line no-empty-pattern -- Vitest reads from it what a fixture needs.
  begin: async ({}, use) => {
    const stops: (() => Promise<unknown>)[] = []
    await use(async ({ store = memoryStore(), service = {}, inspector: options = {} } = {}) => {
      const history = await createSessionHistory({ store, logger: { warn: () => undefined }, ...service })
      stops.unshift(() => history.stop())
      const inspector = await startInspector(history, { token: TOKEN, ...options })
      stops.unshift(() => inspector.stop())
      return { history, asked: new Asked(inspector, options.token) }
    })
    for (const stop of stops) await stop()
  },
  // oxlint-disable-next-line no-empty-pattern -- as above
  file: async ({}, use) => {
    const directory = mkdtempSync(join(tmpdir(), 'turnlog-inspector-'))
    await use(join(directory, 'sessions.db'))
    rmSync(directory, { recursive: true })
  }
})

/** Where sessions of the tests are. */
export const STORES = {
  memory: () => memoryStore(),
  SQLite: (file: string) => sqliteStore({ path: file })
} as const

/** What takes whatever it is given. */
export const ANYTHING: StandardSchema = {
  '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value }) }
}

/** The name of a session as parameters. */
export const S1 = { user: 'ada', session: 's1' } as const
