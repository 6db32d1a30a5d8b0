import type { UIMessage, UIMessageStreamOnEndCallback, UIMessageStreamOnStepEndCallback } from 'ai'
import { idOf, knownOptions, objectOf, oneOf, optionsOf, positive, type OptionKeys } from '../arguments.ts'
import type { WriteOptions } from '../calls.ts'
import { clockOf, type Clock } from '../clock.ts'
import { isTurnlogError, turnlogError } from '../errors.ts'
import type { StandardSchema } from '../message.ts'
import type { SessionHistoryService } from '../service.ts'
import type { Session } from '../session.ts'
import type { Turn } from '../turn.ts'
import { changesOf, checkMessage, replacedOf, uiMessages, type Wish } from './ai-sdk/merge.ts'
import { AI_SDK_FORMAT } from './messages/ai-sdk.ts'
import { warnIfUntested } from './shared/framework.ts'
import { readSession, serviceOf, type AnyHistory } from './shared/sessions.ts'
import { thawed } from './shared/thawed.ts'

export {
  createResumableStreamContext,
  type ResumableStreamContext,
  type ResumableStreamContextOptions
} from './ai-sdk/resumable-streams.ts'
export { AI_SDK_FORMAT, AI_SDK_STREAM_FORMAT, fromMessages, toMessages } from './messages/ai-sdk.ts'
export type { Carried, Dropped } from './shared/pieces.ts'

/** Options of {@link uiMessageStore}. Copied; later changes have no effect. */
export interface UIMessageStoreOptions {
  /**
   * Whose chats they are, unless `open` says otherwise.
   * @default 'default'
   */
  readonly userId?: string | undefined
  /**
   * How long `follow` waits between two writes of an answer that grows, in ms.
   * @default 500
   */
  readonly everyMs?: number | undefined
  /**
   * What `everyMs` is measured with.
   * @default that of the system
   */
  readonly clock?: Partial<Clock> | undefined
}

const OPTIONS: OptionKeys<UIMessageStoreOptions> = { userId: true, everyMs: true, clock: true }

/** Chats of the AI SDK in turnlog. */
export interface UIMessageStore<UI extends UIMessage = UIMessage> {
  /** The service as one of UI messages: `getSession` at a version, `fork`, `rewind`, `beginTurn` and metadata go through it. */
  readonly history: SessionHistoryService<UI, UI>
  readonly userId: string
  /**
   * The chat of that id; nothing is read or made yet. Of a user, or in a turn of `history.beginTurn`: then all that it writes is part of that.
   */
  open(
    chatId: string,
    options?: { readonly userId?: string | undefined; readonly turn?: Turn<UI, UI> | undefined }
  ): UIChat<UI>
}

/** What a client sends: the body of `DefaultChatTransport`, or one that has only the last message. Other keys are ignored. */
export interface ChatRequest<UI extends UIMessage = UIMessage> {
  readonly message?: UI | undefined
  readonly messages?: readonly UI[] | undefined
  /** @default 'submit-message' */
  readonly trigger?: 'submit-message' | 'regenerate-message' | 'resume-stream' | undefined
  /** What is to be answered anew, or was edited. */
  readonly messageId?: string | null | undefined
}

/** Options of what a {@link UIChat} writes. With `expectedVersion` nothing is merged with what others have written: that is `VERSION_CONFLICT`. */
export type ChatWriteOptions = Omit<WriteOptions, 'idempotencyKey'>

/** Messages that an edit or a new answer has taken away. */
export interface ReplacedMessages<UI extends UIMessage = UIMessage> {
  /** The version of session `sessionId` at which they were last there; the session is another one in a fork. */
  readonly version: number
  readonly sessionId: string
  readonly messages: UI[]
}

/**
 * One chat. It keeps nothing itself: each call reads what the log has and writes upon that, so tabs, processes and restarts make no
 * difference. Each write is one commit (two where the chat is begun by it), and goes on from what others have written meanwhile:
 *
 * - A message whose id is new is appended. What a list lacks stays.
 * - The last message of a list, or one alone, replaces the one of its id; an answer that is behind the stored one (an earlier state of it, as a tab may have it)
 *   changes nothing. Any other message of a list changes only where it is an answer that has grown, such as by an approval.
 * - What was taken away by an edit or a new answer is not brought back by a list that still has it.
 *
 * What a client sends is stored as it comes: what is in its parts is for `validateUIMessages` of the SDK to judge.
 *
 * Calls reject with `INVALID_MESSAGE` where a message is none or JSON cannot carry it (the path begins with its place in the list; nothing is stored),
 * `FORMAT_MISMATCH` where another adapter has written the session, and as `commit` of the service.
 */
export interface UIChat<UI extends UIMessage = UIMessage> {
  readonly userId: string
  readonly id: string
  /** The messages, oldest first, as copies that are the caller's; of a chat that is not there none. `at`: as of a version or time. */
  load(options?: { readonly at?: number | Date | undefined }): Promise<UI[]>
  /** Stores one message or a list, as told above, and gives the chat as a snapshot; `null` where there is none, and nothing to store. */
  save(message: UI | readonly UI[], options?: ChatWriteOptions): Promise<Session<UI> | null>
  /**
   * Stores what a client asks, and gives the messages to answer. `submit-message`: its messages; with the `messageId` of a user's message that one
   * is edited, and what came after it is taken away. `regenerate-message`: the message of `messageId` (by default the last one) and all after it are taken away; of a user's
   * message what came after. What is taken away stays readable: `replaced`.
   *
   * @throws `VERSION_CONFLICT` also where the message to answer anew has been taken away before, as by another tab
   */
  receive(request: ChatRequest<UI>, options?: ChatWriteOptions): Promise<UI[]>
  /** What edits and new answers have taken away, oldest first. What was purged with the chat that a fork came from is left out. */
  replaced(): Promise<ReplacedMessages<UI>[]>
  /**
   * For `onStepEnd` of `toUIMessageStream` and `createUIMessageStream`, `onUIMessageStepEnd` of agents: stores the answer so far. The stream does not wait for
   * that: `onEnd` does, and stores it again where it has failed.
   */
  readonly onStepEnd: UIMessageStreamOnStepEndCallback<UI>
  /** For `onEnd` of the same: stores the answer, also what there is of one that was aborted or failed. One that says nothing is not stored. */
  readonly onEnd: UIMessageStreamOnEndCallback<UI>
  /**
   * Stores an answer while it grows: at most every `everyMs`, the newest state, and the last one in any case. `states` is what `readUIMessageStream` gives.
   * Where `states` fails, what there was is stored, and it rejects with that error.
   *
   * @example
   * const [shown, stored] = stream.tee()
   * const following = chat.follow(readUIMessageStream({ stream: stored }))
   */
  follow(states: AsyncIterable<UI>): Promise<void>
}

/**
 * Keeps the chats of the AI SDK (`ai` 7) in turnlog, each as a session of its UI messages. `history` is any service.
 *
 * @example
 * const chat = uiMessageStore(history).open(chatId)
 * const messages = await chat.receive(await request.json())
 * const result = streamText({ model, messages: await convertToModelMessages(messages) })
 * const { onStepEnd, onEnd } = chat
 * return createUIMessageStreamResponse({
 *   stream: toUIMessageStream({ stream: result.stream, originalMessages: messages, generateMessageId: generateId, onStepEnd, onEnd })
 * })
 */
export function uiMessageStore<UI extends UIMessage = UIMessage>(
  history: AnyHistory,
  options?: UIMessageStoreOptions
): UIMessageStore<UI> {
  const given = knownOptions(optionsOf(options), OPTIONS)
  const userId = idOf('userId', given.userId ?? 'default')
  const everyMs = positive('everyMs', given.everyMs ?? 500)
  const clock = clockOf(given.clock)
  warnIfUntested('ai', '7')
  const typed = serviceOf(history, uiMessages as unknown as StandardSchema<UI, UI>, AI_SDK_FORMAT)
  return {
    history: typed,
    userId,
    open(chatId, chatOptions) {
      const { userId: owner = userId, turn } = knownOptions(optionsOf(chatOptions), CHAT_OPTIONS)
      const key = { userId: idOf('userId', owner), id: idOf('chatId', chatId).trim() }
      return new Chat<UI>(key, { history: typed, turn, everyMs, clock })
    }
  }
}

const CHAT_OPTIONS = { userId: true, turn: true } as const

interface Surroundings<UI extends UIMessage> {
  readonly history: SessionHistoryService<UI, UI>
  readonly turn: Turn<UI, UI> | undefined
  readonly everyMs: number
  readonly clock: Clock
}

class Chat<UI extends UIMessage> implements UIChat<UI> {
  readonly userId: string
  readonly id: string
  readonly #history: SessionHistoryService<UI, UI>
  readonly #turn: Turn<UI, UI> | undefined
  readonly #everyMs: number
  readonly #clock: Clock
  /** What steps have to store, as far as they have ended. */
  #steps: Promise<unknown> = Promise.resolve()

  constructor({ userId, id }: { userId: string; id: string }, { history, turn, everyMs, clock }: Surroundings<UI>) {
    this.userId = userId
    this.id = id
    this.#history = history
    this.#turn = turn
    this.#everyMs = everyMs
    this.#clock = clock
  }

  async load(options: { readonly at?: number | Date | undefined } = {}): Promise<UI[]> {
    return copied(await this.#session(options.at))
  }

  async save(message: UI | readonly UI[], options?: ChatWriteOptions): Promise<Session<UI> | null> {
    return this.#write({ messages: checked(message) }, options)
  }

  async receive(request: ChatRequest<UI>, options?: ChatWriteOptions): Promise<UI[]> {
    const { message, messages, trigger, messageId } = objectOf(request, 'request')
    const given = checked(message ?? messages ?? [])
    const wanted = oneOf('trigger', trigger ?? 'submit-message', TRIGGERS)
    if (wanted === 'resume-stream') return this.load()
    const id = messageId === undefined || messageId === null ? undefined : idOf('messageId', messageId)
    const lengthOf = wanted === 'submit-message' ? edited(given, id) : regenerated<UI>(id)
    return copied(await this.#write({ messages: given, lengthOf }, options))
  }

  async replaced(): Promise<ReplacedMessages<UI>[]> {
    const session = await this.#read()
    const all = (session ? replacedOf(session) : []).map(async ({ sessionId, version, ids }) => {
      const then = await this.#past(sessionId, version)
      const there = new Set(ids)
      return { sessionId, version, messages: copied(then).filter(({ id }) => there.has(id)) }
    })
    return (await Promise.all(all)).filter(({ messages }) => messages.length > 0)
  }

  readonly onStepEnd: UIMessageStreamOnStepEndCallback<UI> = ({ messages }) => {
    const wish = { messages: answered(messages), isAnswer: true }
    // In order, and nobody waits for it but the end, which has all of it, too: what fails here fails there, or matters no more.
    this.#steps = this.#steps.then(() => this.#write(wish)).catch(() => undefined)
  }

  readonly onEnd: UIMessageStreamOnEndCallback<UI> = async ({ messages }) => {
    await this.#steps
    await this.#write({ messages: answered(messages), isAnswer: true })
  }

  async follow(states: AsyncIterable<UI>): Promise<void> {
    let newest: UI | undefined
    let timer: unknown
    let writing: Promise<void> | undefined
    let nextAt = this.#clock.now() + this.#everyMs
    const write = async (): Promise<void> => {
      const message = newest
      newest = undefined
      nextAt = this.#clock.now() + this.#everyMs
      if (message && !isEmpty(message)) await this.#write({ messages: checked(message) })
    }
    const writeInTime = (): void => {
      if (writing || timer !== undefined || newest === undefined) return
      const waitMs = nextAt - this.#clock.now()
      if (waitMs > 0) {
        timer = this.#clock.setTimeout(() => {
          timer = undefined
          writeInTime()
        }, waitMs)
        return
      }
      const failed = newest
      writing = write()
        // Whether it matters is known with the last one: that has all that was to be stored.
        .catch(() => void (newest ??= failed))
        .finally(() => {
          writing = undefined
          writeInTime()
        })
    }
    try {
      for await (const state of states) {
        newest = state
        writeInTime()
      }
    } finally {
      this.#clock.clearTimeout(timer)
      // Nothing is to begin again once this one is stored.
      timer = 'none'
      await writing
      await write()
    }
  }

  // As it is for readers: whether a chat that is not there is made is for `missing` to say.
  async #session(at?: number | Date): Promise<Session<UI> | null> {
    try {
      return await this.#history.getSession(this.userId, this.id, { at })
    } catch (error) {
      if (isTurnlogError(error, 'SESSION_NOT_FOUND')) return null
      throw error
    }
  }

  #read(): Promise<Session<UI> | null> {
    return readSession(this.#history, this)
  }

  async #past(sessionId: string, version: number): Promise<Session<UI> | null> {
    try {
      return await this.#history.getSession(this.userId, sessionId, { at: version })
    } catch (error) {
      if (isTurnlogError(error, 'VERSION_NOT_FOUND') || isTurnlogError(error, 'FORMAT_MISMATCH')) return null
      throw error
    }
  }

  // Where another writes meanwhile, what is stored is made of what there is then; unless the caller expects a version.
  async #write(wish: Wish<UI>, given: ChatWriteOptions = {}): Promise<Session<UI> | null> {
    let { expectedVersion = 'any' } = given
    const isPatient = expectedVersion === 'any' || expectedVersion === 'exists'
    for (;;) {
      const session = await this.#read()
      const changes = changesOf(session ?? { ...ABSENT, id: this.id }, wish)
      if (!session) {
        // Where they are refused nothing is made, either.
        if (changes.length === 0) return null
        const made = await this.#make(expectedVersion === 'any' ? 'none' : expectedVersion, isPatient)
        if (!isPatient) expectedVersion = made!.version
        continue
      }
      if (isPatient && changes.length === 0) return session
      const options = { ...given, expectedVersion: isPatient ? session.version : expectedVersion }
      try {
        const written = this.#turn
          ? await this.#turn.commit(changes, { expectedVersion: options.expectedVersion, signal: given.signal })
          : await this.#history.commit(this, changes, options)
        if (written) return written
        // It was read as it was before it expired.
        await this.#make('none', true)
      } catch (error) {
        if (!isPatient || !isTurnlogError(error, 'VERSION_CONFLICT')) throw error
      }
    }
  }

  async #make(
    expectedVersion: NonNullable<WriteOptions['expectedVersion']>,
    isPatient: boolean
  ): Promise<Session<UI> | undefined> {
    try {
      return await this.#history.createSession(this.userId, this.id, { expectedVersion })
    } catch (error) {
      // Another was faster.
      if (isPatient && expectedVersion === 'none' && isTurnlogError(error, 'VERSION_CONFLICT')) return undefined
      throw error
    }
  }
}

const TRIGGERS = ['submit-message', 'regenerate-message', 'resume-stream'] as const

function checked<UI extends UIMessage>(given: UI | readonly UI[]): readonly UI[] {
  const messages = Array.isArray(given) ? (given as readonly UI[]) : [given as UI]
  messages.forEach((message, i) => checkMessage(message, [i]))
  return messages
}

const ABSENT = { messages: [], metadata: {}, version: 0 }

// A run that has come to nothing has no answer.
function answered<UI extends UIMessage>(messages: readonly UI[]): readonly UI[] {
  const last = messages.at(-1)
  return last && isEmpty(last) ? messages.slice(0, -1) : messages
}

function isEmpty({ role, parts }: UIMessage): boolean {
  return (
    role === 'assistant' &&
    Array.isArray(parts) &&
    parts.every((part) => (part as { type?: unknown } | null)?.type === 'step-start')
  )
}

function copied<UI extends UIMessage>(session: Session<UI> | null): UI[] {
  return session ? session.messages.map(thawed) : []
}

// The same text again is an edit, too: it is to be answered anew.
function edited<UI extends UIMessage>(given: readonly UI[], id: string | undefined): Wish<UI>['lengthOf'] {
  const message = given.at(-1)
  if (id === undefined || message?.id !== id || message.role !== 'user') return undefined
  return (session) => {
    const i = session.messages.findLastIndex((each) => each.id === id)
    if (i < 0) checkPresent(session, id)
    return i < 0 ? session.messages.length : i + 1
  }
}

function regenerated<UI extends UIMessage>(id: string | undefined): NonNullable<Wish<UI>['lengthOf']> {
  return (session) => {
    const { messages } = session
    const i = id === undefined ? messages.length - 1 : messages.findLastIndex((message) => message.id === id)
    if (i >= 0) return messages[i]!.role === 'assistant' ? i : i + 1
    // It may never have been stored: an answer whose run failed before it had begun.
    if (id !== undefined) checkPresent(session, id)
    return messages.length
  }
}

function checkPresent(session: Pick<Session, 'metadata' | 'version'>, id: string): void {
  const taken = replacedOf(session).findLast(({ ids }) => ids.includes(id))
  if (!taken) return
  const message = `Message ${JSON.stringify(id)} has been taken away before, by another request`
  throw turnlogError('VERSION_CONFLICT', message, { expected: taken.version, actual: session.version })
}
