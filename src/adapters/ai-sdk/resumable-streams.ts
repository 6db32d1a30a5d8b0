import { randomUUID } from 'node:crypto'
import { idOf, knownOptions, misuse, objectOf, requiredWholeNumber, type OptionKeys } from '../../arguments.ts'
import { backgroundTimer, clockOf, type Clock } from '../../clock.ts'
import { isTurnlogError } from '../../errors.ts'
import type { SessionEvent } from '../../event.ts'
import type { StandardSchema } from '../../message.ts'
import type { SessionHistoryService } from '../../service.ts'
import type { Session } from '../../session.ts'
import { readSession, serviceOf, type AnyHistory } from '../shared/sessions.ts'
import { AI_SDK_STREAM_FORMAT } from '../messages/ai-sdk.ts'

/** Options of {@link createResumableStreamContext}. Copied; later changes have no effect. */
export interface ResumableStreamContextOptions {
  /** Any service; with a store that processes share, a stream is resumed in whichever of them. */
  readonly history: AnyHistory
  /** Keeps the process alive until a promise is resolved, which none of these fails; `null` where nobody has to be told. */
  readonly waitUntil?: ((promise: Promise<unknown>) => void) | null | undefined
  /**
   * The user id that the sessions of streams have.
   * @default 'resumable-stream'
   */
  readonly keyPrefix?: string | undefined
  /**
   * After how many ms without a sign of life of its producer a stream counts as broken off: a whole number from 1. A producer that waits
   * for its source gives one every third of that.
   * @default 30_000
   */
  readonly ttlMs?: number | undefined
  /**
   * What that is measured with; the service's should be the same.
   * @default that of the system
   */
  readonly clock?: Partial<Clock> | undefined
}

const OPTIONS: OptionKeys<ResumableStreamContextOptions> = {
  history: true,
  waitUntil: true,
  keyPrefix: true,
  ttlMs: true,
  clock: true
}

/**
 * What `resumable-stream` 2 gives its users, with the same answers. Streams are of text; a stream reaches its end also where whoever
 * began it reads no more. `skipCharacters`: how many characters (UTF-16 code units) from the beginning are left out.
 */
export interface ResumableStreamContext {
  /** Begins the stream where there is none of that id, and then runs `makeStream`; resumes it where there is; `null` where it has ended. */
  resumableStream(
    streamId: string,
    makeStream: () => ReadableStream<string>,
    skipCharacters?: number
  ): Promise<ReadableStream<string> | null>
  /** The stream from its beginning, and on as it grows; `null` where it has ended, `undefined` where there is none. */
  resumeExistingStream(streamId: string, skipCharacters?: number): Promise<ReadableStream<string> | null | undefined>
  /** Begins the stream. One of that id that is under way is stored no more, and those who follow it get an error. */
  createNewResumableStream(
    streamId: string,
    makeStream: () => ReadableStream<string>,
    skipCharacters?: number
  ): Promise<ReadableStream<string> | null>
  /** `true` where it is under way or has broken off, `'DONE'` where it has ended, `null` where there is none. */
  hasExistingStream(streamId: string): Promise<null | true | 'DONE'>
}

/**
 * Streams that can be resumed, without Redis: in place of `createResumableStreamContext` of `resumable-stream` 2. Each stream is a
 * session: what arrives while a commit is under way is the next one. Any number of readers replay it from the log and follow it; what they
 * got is stored.
 *
 * Where its producer is gone (the process was killed, the store failed), readers get what was stored and then an error, at the latest `ttlMs` after its last sign
 * of life. Where its source fails, they get its error; later it counts as ended. Whoever began a stream gets its text at once, and whatever happens to the store.
 *
 * Streams stay in the log: `history.purgeSession(keyPrefix, streamId)` erases one, and it is unknown then.
 *
 * @example
 * const streams = createResumableStreamContext({ history, waitUntil: after })
 * await streams.createNewResumableStream(streamId, () => stream)
 */
export function createResumableStreamContext(options: ResumableStreamContextOptions): ResumableStreamContext {
  const {
    history,
    waitUntil,
    keyPrefix = 'resumable-stream',
    ttlMs,
    clock
  } = knownOptions(objectOf(options, 'options'), OPTIONS)
  if (waitUntil !== undefined && waitUntil !== null && typeof waitUntil !== 'function')
    throw misuse('waitUntil', 'a function or null', waitUntil)
  return new Streams({
    history: serviceOf(history, pieces, AI_SDK_STREAM_FORMAT),
    userId: idOf('keyPrefix', keyPrefix),
    ttlMs: requiredWholeNumber('ttlMs', ttlMs ?? 30_000, 1),
    clock: clockOf(clock),
    waitUntil: waitUntil ?? (() => undefined)
  })
}

/** A piece of the text. */
interface Piece {
  readonly text: string
}

interface Surroundings {
  readonly history: SessionHistoryService<Piece>
  readonly userId: string
  readonly ttlMs: number
  readonly clock: Clock
  readonly waitUntil: (promise: Promise<unknown>) => void
}

/** The longest text of one commit, in UTF-16 code units: what stores take at once is limited. */
const LONGEST = 65_536

class Streams implements ResumableStreamContext {
  readonly #around: Surroundings

  constructor(around: Surroundings) {
    this.#around = around
  }

  async resumableStream(
    streamId: string,
    makeStream: () => ReadableStream<string>,
    skipCharacters?: number
  ): Promise<ReadableStream<string> | null> {
    try {
      return await this.#begin(streamId, makeStream, 'none')
    } catch (error) {
      if (!isTurnlogError(error, 'VERSION_CONFLICT')) throw error
    }
    // Between the two it may have been purged: then it has ended, too.
    return (await this.resumeExistingStream(streamId, skipCharacters)) ?? null
  }

  async resumeExistingStream(
    streamId: string,
    skipCharacters?: number
  ): Promise<ReadableStream<string> | null | undefined> {
    const session = await this.#read(streamId)
    if (!session) return undefined
    return hasEnded(session) ? null : streamOf(this.#around, session, skipCharacters)
  }

  async createNewResumableStream(
    streamId: string,
    makeStream: () => ReadableStream<string>
  ): Promise<ReadableStream<string> | null> {
    // What is no stream is not begun anew as one.
    await this.#read(streamId)
    return this.#begin(streamId, makeStream, 'any')
  }

  async hasExistingStream(streamId: string): Promise<null | true | 'DONE'> {
    const session = await this.#read(streamId)
    return session && (hasEnded(session) ? 'DONE' : true)
  }

  #read(streamId: string): Promise<Session<Piece> | null> {
    const { history, userId } = this.#around
    return readSession(history, { userId, id: idOf('streamId', streamId).trim() })
  }

  async #begin(
    streamId: string,
    makeStream: () => ReadableStream<string>,
    expectedVersion: 'none' | 'any'
  ): Promise<ReadableStream<string>> {
    const { history, userId, ttlMs, waitUntil } = this.#around
    if (typeof makeStream !== 'function') throw misuse('makeStream', 'a function', makeStream)
    const id = idOf('streamId', streamId).trim()
    // Stored with it, as a reader may be another process, with other options.
    const session = await history.createSession(userId, id, {
      // Named, as another may be begun under the same id.
      metadata: { state: 'streaming', ttlMs, run: randomUUID() },
      expectedVersion
    })
    const recorder = new Recorder(this.#around, session)
    waitUntil(recorder.done)
    let source: ReadableStreamDefaultReader<string>
    try {
      source = makeStream().getReader()
    } catch (error) {
      recorder.end(error)
      throw error
    }
    return produced(source, recorder)
  }
}

// What the source gives, to whoever has begun the stream and to the log. It is read to its end, whether or not anybody reads.
function produced(source: ReadableStreamDefaultReader<string>, recorder: Recorder): ReadableStream<string> {
  let isRead = true
  return new ReadableStream<string>({
    start(controller) {
      const read = async (): Promise<void> => {
        try {
          for (;;) {
            const { done, value } = await source.read()
            if (done) break
            recorder.add(value)
            if (isRead) controller.enqueue(value)
          }
        } catch (error) {
          recorder.end(error ?? new Error('The source of the stream has failed'))
          // Of one that has failed itself that says nothing new.
          void source.cancel(error).catch(() => undefined)
          if (isRead) controller.error(error)
          return
        }
        recorder.end()
        if (isRead) controller.close()
      }
      void read()
    },
    cancel() {
      isRead = false
    }
  })
}

/**
 * Stores a stream as it comes. What fails is tried again for `ttlMs`; then that is over, and nothing else: readers notice that nothing comes any more.
 */
class Recorder {
  readonly done: Promise<void>
  readonly #around: Surroundings
  readonly #id: string
  readonly #run: unknown
  #version: number
  #pending = ''
  #end: { readonly state: 'done' } | { readonly state: 'failed'; readonly error: string } | undefined
  #isWriting = false
  #isOver = false
  #timer: unknown
  #resolve: () => void = () => undefined

  constructor(around: Surroundings, { id, version, metadata }: Session<Piece>) {
    this.#around = around
    this.#id = id
    this.#run = metadata['run']
    this.#version = version
    this.done = new Promise((resolve) => (this.#resolve = resolve))
    this.#signLater()
  }

  add(text: string): void {
    // As a source of anything else would have it: what is no text is not hidden in one.
    if (typeof text !== 'string') throw misuse('A chunk of a stream', 'a string', text)
    if (this.#isOver) return
    this.#pending += text
    void this.#write()
  }

  end(error?: unknown): void {
    this.#end = error === undefined ? { state: 'done' } : { state: 'failed', error: messageOf(error) }
    void this.#write()
  }

  async #write(): Promise<void> {
    if (this.#isWriting || this.#isOver) return
    this.#isWriting = true
    const { userId, clock } = this.#around
    try {
      while (this.#pending !== '' || this.#end) {
        const text = beginning(this.#pending)
        const isLast = this.#end !== undefined && text.length === this.#pending.length
        this.#pending = this.#pending.slice(text.length)
        // The end is in one commit with what was said last, so nobody sees the one without the other.
        const isOwn = await this.#commit([
          ...(text === '' ? [] : [{ type: 'append' as const, messages: [{ text }] }]),
          ...(isLast ? [{ type: 'metadata' as const, set: this.#end! }] : [])
        ])
        if (!isOwn) return this.#close()
        if (isLast) break
      }
      if (this.#end) this.#close()
      else {
        clock.clearTimeout(this.#timer)
        this.#signLater()
      }
    } catch (error) {
      warn(`Stream ${JSON.stringify(this.#id)} of ${JSON.stringify(userId)} is stored no further`, error)
      this.#close()
    } finally {
      this.#isWriting = false
    }
  }

  // Whether it is stored, once; `false` where the stream is another's by now, or nobody's. Its only writer knows the version that comes next.
  async #commit(changes: Parameters<SessionHistoryService<Piece>['commit']>[1]): Promise<boolean> {
    const { history, userId, clock, ttlMs } = this.#around
    const until = clock.now() + ttlMs
    for (let isSure = true; ; isSure = false) {
      try {
        // What has failed may be stored for all that: then the version says so.
        const now = isSure ? undefined : await this.#now()
        if (now === null) return false
        const isStored = now !== undefined && now.version > this.#version
        const options = { expectedVersion: this.#version }
        const session = isStored ? now : await history.commit({ userId, id: this.#id }, changes, options)
        if (!session) return false
        this.#version = session.version
        return true
      } catch (error) {
        if (isTurnlogError(error, 'STOPPED') || isTurnlogError(error, 'SESSION_NOT_FOUND')) return false
        const isConflict = isTurnlogError(error, 'VERSION_CONFLICT')
        if (isConflict && isSure) return false
        // One that came late has stored it: that is looked at again.
        if (isConflict) continue
        if (!isTurnlogError(error, 'STORE_UNAVAILABLE') || clock.now() >= until) throw error
        await new Promise<void>(
          (resolve) => void backgroundTimer(clock, resolve, Math.min(1_000, Math.ceil(ttlMs / 10)))
        )
      }
    }
  }

  /** The session, as long as it is that of this stream. */
  async #now(): Promise<Session<Piece> | null> {
    const { history, userId } = this.#around
    const session = await readSession(history, { userId, id: this.#id })
    return session && session.metadata['run'] === this.#run ? session : null
  }

  #signLater(): void {
    const { clock, ttlMs } = this.#around
    this.#timer = backgroundTimer(clock, () => void this.#sign(), Math.ceil(ttlMs / 3))
  }

  async #sign(): Promise<void> {
    if (this.#isWriting || this.#isOver) return
    this.#isWriting = true
    try {
      if (await this.#commit([{ type: 'metadata', set: { aliveAt: this.#around.clock.now() } }])) this.#signLater()
      else this.#close()
    } catch {
      // Nothing is lost by it, as yet.
      this.#signLater()
    } finally {
      this.#isWriting = false
    }
    void this.#write()
  }

  #close(): void {
    this.#isOver = true
    this.#pending = ''
    this.#around.clock.clearTimeout(this.#timer)
    this.#resolve()
  }
}

// The text of a session from a character on, and what is yet to come of it.
function streamOf(
  around: Surroundings,
  session: Session<Piece>,
  skipCharacters: number | undefined
): ReadableStream<string> {
  const controller = new AbortController()
  // As there: what is no number leaves nothing out.
  let skip = Math.max(0, Math.floor(skipCharacters ?? 0) || 0)
  const pieces = follow(around, session, controller)
  return new ReadableStream<string>({
    async pull(stream) {
      for (;;) {
        const { done, value } = await pieces.next()
        if (done) {
          stream.close()
          return
        }
        const text = value.slice(skip)
        skip -= value.length - text.length
        if (text === '') continue
        stream.enqueue(text)
        return
      }
    },
    async cancel() {
      controller.abort()
      await pieces.return()
    }
  })
}

async function* follow(
  { history, userId, clock }: Surroundings,
  session: Session<Piece>,
  controller: AbortController
): AsyncGenerator<string, void, void> {
  const { id, version, messages, metadata } = session
  const replayed = messages.map(({ text }) => text).join('')
  if (replayed !== '') yield replayed
  const ttlMs = Number(metadata['ttlMs'])
  let lastAt = session.updatedAt
  let isGone = false
  let timer: unknown
  const wait = (ms: number): void => {
    timer = backgroundTimer(clock, () => void look(), ms)
  }
  const look = async (): Promise<void> => {
    const restMs = lastAt + ttlMs - clock.now()
    if (restMs > 0) return wait(restMs)
    // What is stored may not have got here yet; and a store that cannot say so now may later.
    const now = await readSession(history, { userId, id }).catch((error: unknown) =>
      isTurnlogError(error, 'STOPPED') ? 'stopped' : 'unknown'
    )
    // The end is on its way to whoever still reads.
    if (controller.signal.aborted || now === 'stopped') return
    if (now === 'unknown') return wait(ttlMs)
    if (now && hasEnded(now)) return
    if (now) lastAt = Math.max(lastAt, now.updatedAt)
    if (clock.now() < lastAt + ttlMs) return wait(ttlMs)
    isGone = true
    controller.abort()
  }
  wait(Math.max(0, lastAt + ttlMs - clock.now()))
  try {
    for await (const event of history.subscribe(userId, id, { from: version + 1, signal: controller.signal })) {
      lastAt = Math.max(lastAt, event.at)
      const step = stepOf(event)
      if (step.text !== undefined) yield step.text
      if (step.isEnd) return
    }
    if (isGone || !controller.signal.aborted) throw new Error(`Stream ${JSON.stringify(id)} has broken off`)
  } finally {
    clock.clearTimeout(timer)
    controller.abort()
  }
}

function stepOf(event: SessionEvent<Piece>): { readonly text?: string; readonly isEnd?: boolean } {
  switch (event.type) {
    case 'message-appended':
      return { text: event.data.message.text }
    case 'metadata-changed': {
      const { state, error } = event.data.set
      if (state === 'failed') throw new Error(typeof error === 'string' ? error : 'The source of the stream has failed')
      return { isEnd: state === 'done' }
    }
    case 'created':
    case 'deleted':
      throw new Error(
        `Stream ${JSON.stringify(event.sessionId)} was ${event.type === 'created' ? 'begun anew' : 'deleted'}`
      )
    default:
      return {}
  }
}

function hasEnded({ metadata }: Session<Piece>): boolean {
  return metadata['state'] !== 'streaming'
}

// Surrogates stay together.
function beginning(text: string): string {
  if (text.length <= LONGEST) return text
  const isPair = /[\uD800-\uDBFF]/.test(text.charAt(LONGEST - 1))
  return text.slice(0, isPair ? LONGEST - 1 : LONGEST)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function warn(message: string, error: unknown): void {
  process.emitWarning(`${message}: ${messageOf(error)}`, { code: 'TURNLOG_STREAM_NOT_STORED' })
}

const pieces: StandardSchema<Piece, Piece> = {
  '~standard': {
    version: 1,
    vendor: 'turnlog',
    validate(value) {
      return typeof (value as Partial<Piece> | null)?.text === 'string'
        ? { value: value as Piece }
        : { issues: [{ message: 'a piece of a stream has a text' }] }
    }
  }
}
