import type { UIMessage, UIMessageStreamOnEndCallback, UIMessageStreamOnStepEndCallback } from 'ai'
import { idOf, knownOptions, misuse, objectOf, oneOf, optionsOf, positive, type OptionKeys } from '../arguments.ts'
import type { Change, SessionRef, WriteOptions } from '../calls.ts'
import { clockOf, type Clock } from '../clock.ts'
import { isTurnlogError } from '../errors.ts'
import type { StandardSchema } from '../message.ts'
import type { SessionHistoryService } from '../service.ts'
import type { Session } from '../session.ts'
import type { Turn } from '../turn.ts'
import { answered, askedOf, checkMessage, regenerated, submitted, uiMessages, type Known } from './ai-sdk/merge.ts'
import { replacedOf, type ReplacedMessages } from './ai-sdk/replaced.ts'
import { AI_SDK_FORMAT } from './messages/ai-sdk.ts'
import { warnIfUntested } from './shared/framework.ts'
import { isObject } from './shared/loose.ts'
import { readSession, serviceOf, type AnyHistory } from './shared/sessions.ts'
import { thawed } from './shared/thawed.ts'

export {
  createResumableStreamContext,
  type ResumableStreamContext,
  type ResumableStreamContextOptions
} from './ai-sdk/resumable-streams.ts'
export type { ReplacedMessages } from './ai-sdk/replaced.ts'
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

/**
 * One chat, for one request at a time. Each call reads what the log has and writes upon that, so tabs, processes and restarts make no
 * difference. Each write is one commit (two where the chat is begun by it), and goes on from what others have written meanwhile:
 *
 * - A message whose id is new is appended. What a list lacks stays.
 * - The last message of a list, or one alone, replaces the one of its id; an answer that is behind the stored one (an earlier state of it, as a tab may have it)
 *   changes nothing. Any other message of a list changes only where it is an answer that has grown, such as by an approval.
 * - What was taken away by an edit or a new answer is not brought back by a list that still has it.
 * - An answer (`onStepEnd`, `onEnd`, `follow`) is stored alone, once the turn of another has ended, and never begins a chat. It replaces
 *   the one of its id; a new one is appended only where what it answers is in the chat, as it was when this object last gave it (`receive`,
 *   `load`, `save`), and nothing was edited or asked for anew since. So a request and its answer belong to one object.
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
   * is edited, and what came after it is taken away. `regenerate-message`: the message of `messageId` and all after it are taken away; of a user's
   * message what came after. Without `messageId` it is the answer after the messages that were sent; without those, too, the last one.
   * What is taken away stays readable: `replaced`.
   *
   * @throws `VERSION_CONFLICT` also where what is to be edited or answered anew has been taken away before, as by another tab, or where
   * others have gone on after it
   */
  receive(request: ChatRequest<UI>, options?: ChatWriteOptions): Promise<UI[]>
  /**
   * What edits and new answers have taken away, oldest first; it reads the log. What was rewound, and what was purged with the chat that a
   * fork came from, is left out.
   */
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
      checkTurn(turn, key)
      return new Chat<UI>(key, { history: typed, turn, everyMs, clock })
    }
  }
}

const CHAT_OPTIONS = { userId: true, turn: true } as const

// What is written in the turn of another session would be that one's.
function checkTurn(turn: { readonly session: SessionRef } | undefined, { userId, id }: SessionRef): void {
  if (turn === undefined) return
  const { session } = objectOf(turn, 'turn', 'a turn of this chat') as { readonly session?: SessionRef }
  if (session?.userId !== userId || session.id !== id) throw misuse('turn', 'a turn of this chat', turn)
}

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
  /** The chat as it was given last: what is answered next is that. */
  #seen: Session<UI> | undefined
  /** The answer that was stored last. */
  #answerId: string | undefined
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

  async load({ at }: { readonly at?: number | Date | undefined } = {}): Promise<UI[]> {
    if (at === undefined) return copied(this.#saw(await this.#read()))
    return copied(await this.#history.getSession(this.userId, this.id, { at }))
  }

  async save(message: UI | readonly UI[], options?: ChatWriteOptions): Promise<Session<UI> | null> {
    const list = checked(message)
    return this.#saw(await this.#write(idsOf(list), (chat) => submitted(chat, list), options))
  }

  async receive(request: ChatRequest<UI>, options?: ChatWriteOptions): Promise<UI[]> {
    const { message, messages, trigger, messageId } = objectOf(request, 'request')
    const list = checked(message ?? messages ?? [])
    const wanted = oneOf('trigger', trigger ?? 'submit-message', TRIGGERS)
    if (wanted === 'resume-stream') return this.load()
    if (wanted === 'submit-message' && message === undefined && messages === undefined)
      throw misuse('request', 'a body with a message or messages', request)
    const id = messageId === undefined || messageId === null ? undefined : idOf('messageId', messageId)
    const changesOf = wanted === 'submit-message' ? submitted : regenerated
    const ids = [...idsOf(list), ...(id === undefined ? [] : [id])]
    return copied(this.#saw(await this.#write(ids, (chat) => changesOf(chat, list, id), options)))
  }

  async replaced(): Promise<ReplacedMessages<UI>[]> {
    const all = await replacedOf(this.#history, this)
    return all.map((replaced) => thawed(replaced))
  }

  readonly onStepEnd: UIMessageStreamOnStepEndCallback<UI> = ({ messages }) => {
    // In order, and nobody waits for it but the end, which has all of it, too: what fails here fails there, or matters no more.
    this.#steps = this.#steps.then(() => this.#answer(messages, true)).catch(() => undefined)
  }

  readonly onEnd: UIMessageStreamOnEndCallback<UI> = async ({ messages }) => {
    await this.#steps
    await this.#answer(messages, true)
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
      if (message) await this.#answer([message], false)
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
    let failure: { readonly error: unknown } | undefined
    try {
      for await (const state of states) {
        newest = state
        writeInTime()
      }
    } catch (error) {
      failure = { error }
    }
    this.#clock.clearTimeout(timer)
    // Nothing is to begin again once this one is stored.
    timer = 'none'
    await writing
    try {
      await write()
    } catch (error) {
      failure ??= { error }
    }
    if (failure) throw failure.error
  }

  #read(): Promise<Session<UI> | null> {
    return readSession(this.#history, this)
  }

  #saw(session: Session<UI> | null): Session<UI> | null {
    this.#seen = session ?? undefined
    return session
  }

  // The last of the messages is the answer; those before it are what its run began with. While another holds a turn, it waits.
  async #answer(messages: readonly UI[], isFinal: boolean): Promise<void> {
    const message = messages.at(-1)
    // A run that has come to nothing has no answer.
    if (!message || isEmpty(message)) return
    const path = [messages.length - 1]
    checkMessage(message, path)
    const seen = this.#seen
    const before = messages.at(-2) ?? seen?.messages.findLast(({ id }) => id !== message.id)
    const written = await this.#write(
      [message.id],
      (chat) => answered(chat, { message, path, before, seen, wasStored: this.#answerId === message.id, isFinal }),
      { onBusy: 'wait' },
      false
    )
    if (written?.messages.some(({ id }) => id === message.id)) this.#answerId = message.id
  }

  // What was taken away is asked for only where it matters: where a message is not there.
  async #known(session: Session<UI>, ids: readonly string[]): Promise<Known<UI> & Session<UI>> {
    const mark = session.metadata[AI_SDK_FORMAT]
    if (askedOf(session) === undefined || !isObject(mark)) return { ...session, gone: NONE }
    const there = new Set(idsOf(session.messages))
    if (ids.every((id) => there.has(id))) return { ...session, gone: NONE }
    const known = goneOf.get(mark)
    if (known) return { ...session, gone: known }
    const replaced = await replacedOf(this.#history, this)
    const gone = new Set(replaced.flatMap(({ messages }) => idsOf(messages)))
    goneOf.set(mark, gone)
    return { ...session, gone }
  }

  // Where another writes meanwhile, what is stored is made of what there is then; unless the caller expects a version.
  async #write(
    ids: readonly string[],
    changesOf: (chat: Known<UI> & Session<UI>) => Change<UI>[],
    given: ChatWriteOptions = {},
    begins = true
  ): Promise<Session<UI> | null> {
    let { expectedVersion = 'any' } = given
    const isPatient = expectedVersion === 'any' || expectedVersion === 'exists'
    for (;;) {
      const session = await this.#read()
      if (!session && !begins) return null
      // Where they are refused nothing is made, either.
      const changes = changesOf(session ? await this.#known(session, ids) : { ...ABSENT, ...this.#key() })
      if (!session) {
        if (changes.length === 0) return null
        // What a turn was to be part of is gone.
        if (this.#turn) return this.#turn.commit(changes, { signal: given.signal })
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
        if (!begins) return null
        await this.#make('none', true)
      } catch (error) {
        if (!isPatient || !isTurnlogError(error, 'VERSION_CONFLICT')) throw error
      }
    }
  }

  #key(): { readonly userId: string; readonly id: string } {
    return { userId: this.userId, id: this.id }
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

const NONE: ReadonlySet<string> = new Set()

const ABSENT = { messages: [], metadata: {}, version: 0, createdAt: 0, updatedAt: 0, format: AI_SDK_FORMAT, gone: NONE }

// Each mark names one state of that, whatever is written after it; what is lost of it is read again.
const goneOf = new WeakMap<object, ReadonlySet<string>>()

function idsOf(messages: readonly UIMessage[]): string[] {
  return messages.map(({ id }) => id)
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
