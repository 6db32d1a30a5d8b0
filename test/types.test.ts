import type { Database as BetterSqlite3 } from 'better-sqlite3'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { z } from 'zod'
import {
  createSessionHistory,
  type fromOpenAIMessage,
  isTurnlogError,
  memoryStore,
  messageSchema,
  toOpenAIMessages,
  type Change,
  type ContentPart,
  type EventOf,
  type EventStore,
  type ExpectedVersion,
  type ForkOrigin,
  type InputOf,
  type Json,
  type JsonObject,
  type Message,
  type MessageInput,
  type MessageType,
  type OpenAIMessage,
  type Path,
  type SchemaInput,
  type SchemaOutput,
  type Session,
  type SessionEvent,
  type SessionHistoryOptions,
  type SessionHistoryService,
  type StandardSchema,
  type TurnlogError,
  type TurnlogErrorCode,
  type TurnlogErrorOf,
  type WriteOptions
} from '../src/index.ts'
import { startInspector, type ActorLog } from '../src/inspector.ts'
import type { SqliteDatabase } from '../src/stores/sqlite.ts'

// What is expected here is checked by `npm run check`; vitest only runs it.

/** Input and output differ by a default and a transform. */
const note = z.object({
  body: z.string(),
  stars: z.number().default(3),
  day: z.string().transform((day) => Number(day))
})
interface NoteInput {
  body: string
  stars?: number | undefined
  day: string
}
interface Note {
  body: string
  stars: number
  day: number
}

/** True of `any`, also deep inside, to a depth of 6; the reason of an AbortSignal is not ours. */
type HasAny<T, Depth extends readonly unknown[] = []> = 0 extends 1 & T
  ? true
  : Depth['length'] extends 6
    ? false
    : T extends AbortSignal | Date
      ? false
      : T extends (...args: infer A) => infer R
        ? HasAny<A, [...Depth, 1]> | HasAny<R, [...Depth, 1]>
        : T extends readonly (infer E)[] | Promise<infer E> | AsyncIterable<infer E>
          ? HasAny<E, [...Depth, 1]>
          : T extends object
            ? { [K in keyof T]-?: HasAny<T[K], [...Depth, 1]> }[keyof T]
            : false

/** Fails to compile where there is an `any` in `T`. */
function expectNoAny<T>(..._: true extends HasAny<T> ? ['there is an any in it'] : []): void {}

describe('createSessionHistory', () => {
  it('without options is of the default Message', () => {
    expectTypeOf(createSessionHistory()).resolves.toEqualTypeOf<SessionHistoryService>()
    expectTypeOf<ReturnType<typeof createSessionHistory>>().resolves.toExtend<SessionHistoryService>()
    expectTypeOf<SessionHistoryService>().toEqualTypeOf<SessionHistoryService<Message, MessageInput>>()
    expectTypeOf(createSessionHistory({ maxActiveSessions: 5 })).resolves.toEqualTypeOf<SessionHistoryService>()
    const options: SessionHistoryOptions = {}
    expectTypeOf(createSessionHistory(options)).resolves.toEqualTypeOf<SessionHistoryService>()
  })

  it('with a zod schema takes its input and gives its output', async () => {
    const history = await createSessionHistory({ message: note })
    expectTypeOf(history).toEqualTypeOf<SessionHistoryService<SchemaOutput<typeof note>, SchemaInput<typeof note>>>()
    const session = await history.createSession('ada', 's1')
    expectTypeOf(session.messages).toEqualTypeOf<readonly Note[]>()
    const appended = await history.appendMessage(session, { body: 'x', day: '5' })
    expectTypeOf(appended).toEqualTypeOf<Session<Note> | null>()
    expectTypeOf<Parameters<typeof history.appendMessage>[1]>().toEqualTypeOf<NoteInput | readonly NoteInput[]>()
    expectTypeOf<Parameters<typeof history.putMessage>[1]>().toEqualTypeOf<NoteInput>()
    expectTypeOf<Parameters<typeof history.commit>[1]>().toEqualTypeOf<readonly Change<NoteInput>[]>()
    expectTypeOf(history.readEvents('ada', 's1')).toEqualTypeOf<AsyncIterable<SessionEvent<Note>>>()
    expectTypeOf(history.exportSession('ada')).toEqualTypeOf<AsyncIterable<string>>()
    expectTypeOf(history.importSession).returns.resolves.toEqualTypeOf<Session<Note>[]>()
    expectTypeOf<NodeJS.ReadStream>().toExtend<Parameters<typeof history.importSession>[0]>()
    expectTypeOf(history.listSessions('ada')).resolves.toEqualTypeOf<Session<Note>[]>()
    // @ts-expect-error: a note has a body
    await expect(history.appendMessage(session, { day: '5' })).rejects.toThrow()
    // @ts-expect-error: the day is given as a string, though it is read as a number
    await expect(history.appendMessage(session, { body: 'x', day: 5 })).rejects.toThrow()
    expect(appended?.messages).toEqual([{ body: 'x', stars: 3, day: 5 }])
  })

  it('with a hand-written Standard Schema takes its input and gives its output', () => {
    type Schema = StandardSchema<string, { text: string }>
    expectTypeOf<SchemaInput<Schema>>().toEqualTypeOf<string>()
    expectTypeOf<SchemaOutput<Schema>>().toEqualTypeOf<{ text: string }>()
    expectTypeOf<typeof createSessionHistory<Schema>>().returns.resolves.toEqualTypeOf<
      SessionHistoryService<{ text: string }, string>
    >()
  })

  it('refuses options that there are not', async () => {
    // @ts-expect-error: there is no such option
    await expect(createSessionHistory({ stor: memoryStore() })).rejects.toThrow(TypeError)
    // @ts-expect-error: there is no such choice
    await expect(createSessionHistory({ missing: { get: 'warn' } })).rejects.toThrow(TypeError)
  })
})

describe('SessionHistoryService', () => {
  it('gives sessions of the default Message', () => {
    expectTypeOf<SessionHistoryService['createSession']>().returns.resolves.toEqualTypeOf<Session>()
    expectTypeOf<SessionHistoryService['getSession']>().returns.resolves.toEqualTypeOf<Session | null>()
    expectTypeOf<SessionHistoryService['appendMessage']>().returns.resolves.toEqualTypeOf<Session | null>()
    expectTypeOf<SessionHistoryService['putMessage']>().returns.resolves.toEqualTypeOf<Session | null>()
    expectTypeOf<SessionHistoryService['updateMetadata']>().returns.resolves.toEqualTypeOf<Session | null>()
    expectTypeOf<SessionHistoryService['commit']>().returns.resolves.toEqualTypeOf<Session | null>()
    expectTypeOf<SessionHistoryService['listSessions']>().returns.resolves.toEqualTypeOf<Session[]>()
    expectTypeOf<SessionHistoryService['listUsers']>().returns.resolves.toEqualTypeOf<string[]>()
    expectTypeOf<SessionHistoryService['deleteUserSessions']>().returns.resolves.toEqualTypeOf<number>()
    expectTypeOf<SessionHistoryService['deleteSession']>().returns.resolves.toEqualTypeOf<void>()
    expectTypeOf<SessionHistoryService['purgeSession']>().returns.resolves.toEqualTypeOf<void>()
    expectTypeOf<SessionHistoryService['health']>().returns.resolves.toEqualTypeOf<boolean>()
    expectTypeOf<SessionHistoryService['readEvents']>().returns.toEqualTypeOf<AsyncIterable<SessionEvent>>()
    expectTypeOf<SessionHistoryService>().toExtend<AsyncDisposable>()
  })

  it('has no any in the parameters and results of its calls', () => {
    expectNoAny<{ deep: readonly [{ hidden: unknown }, Promise<readonly unknown[]>] }>()
    // oxlint-disable-next-line typescript/no-explicit-any -- what is looked for
    expectTypeOf<true>().toExtend<HasAny<(a: { b: readonly any[] }) => void>>()
    type Service = SessionHistoryService<Note, NoteInput>
    expectNoAny<Service['createSession']>()
    expectNoAny<Service['getSession']>()
    expectNoAny<Service['listSessions']>()
    expectNoAny<Service['listUsers']>()
    expectNoAny<Service['appendMessage']>()
    expectNoAny<Service['putMessage']>()
    expectNoAny<Service['updateMetadata']>()
    expectNoAny<Service['commit']>()
    expectNoAny<Service['readEvents']>()
    expectNoAny<Service['exportSession']>()
    expectNoAny<Parameters<Service['importSession']>[1]>()
    expectNoAny<ReturnType<Service['importSession']>>()
    expectNoAny<Service['deleteSession']>()
    expectNoAny<Service['deleteUserSessions']>()
    expectNoAny<Service['purgeSession']>()
    expectNoAny<Service['health']>()
    expectNoAny<Parameters<Service['withMessage']>>()
  })

  it('has no any in what it takes and gives by default, nor in the functions beside it', () => {
    expectNoAny<Session>()
    expectNoAny<Message>()
    expectNoAny<MessageInput>()
    expectNoAny<SessionEvent>()
    expectNoAny<Change>()
    expectNoAny<WriteOptions>()
    expectNoAny<typeof fromOpenAIMessage>()
    expectNoAny<typeof toOpenAIMessages>()
    expectNoAny<typeof memoryStore>()
    expectNoAny<EventStore>()
    expectNoAny<Omit<SessionHistoryOptions, 'inspect' | 'message'>>()
    expectTypeOf(isTurnlogError).parameter(0).toBeUnknown()
  })

  it('takes for a session anything with userId and id', () => {
    type Given = Parameters<SessionHistoryService['appendMessage']>[0]
    expectTypeOf<{ userId: string; id: string; messages: string[] }>().toExtend<Given>()
    expectTypeOf<Session<Note>>().toExtend<Given>()
    expectTypeOf<{ id: string }>().not.toExtend<Given>()
  })

  it('takes options of writes', () => {
    expectTypeOf<WriteOptions['expectedVersion']>().toEqualTypeOf<ExpectedVersion | undefined>()
    expectTypeOf<5>().toExtend<ExpectedVersion>()
    expectTypeOf<'some'>().not.toExtend<ExpectedVersion>()
    expectTypeOf<AbortSignal>().toExtend<NonNullable<WriteOptions['signal']>>()
    type Options = NonNullable<Parameters<SessionHistoryService['getSession']>[2]>
    expectTypeOf<Options['at']>().toEqualTypeOf<number | Date | undefined>()
    expectTypeOf<Options['last']>().toEqualTypeOf<number | undefined>()
  })

  it('takes changes of five types', () => {
    expectTypeOf<Change['type']>().toEqualTypeOf<'append' | 'put' | 'truncate' | 'rewind' | 'metadata'>()
    expectTypeOf<{ type: 'append'; messages: [{ role: 'user'; content: 'x' }] }>().toExtend<Change>()
    expectTypeOf<{ type: 'append'; message: object }>().not.toExtend<Change>()
    expectTypeOf<{ type: 'truncate' }>().not.toExtend<Change>()
    expectTypeOf<{ type: 'rewind'; toVersion: 3 }>().toExtend<Change>()
    expectTypeOf<{ type: 'rewind' }>().not.toExtend<Change>()
    expectTypeOf<{ type: 'explode' }>().not.toExtend<Change>()
  })
})

describe('withMessage', () => {
  it('gives the service of another message type', async () => {
    const history = await createSessionHistory()
    const notes = history.withMessage(note, { format: 'note' })
    expectTypeOf(notes.createSession('ada', 'n')).resolves.toEqualTypeOf<Session<Note>>()
    expectTypeOf<Parameters<typeof notes.putMessage>[1]>().toEqualTypeOf<NoteInput>()
    const back = notes.withMessage(messageSchema, { format: 'message' })
    expectTypeOf(back.createSession('ada', 'm')).resolves.toExtend<Session>()
    // @ts-expect-error: a format is needed
    expect(() => history.withMessage(note, {})).toThrow(TypeError)
  })
})

describe('Session', () => {
  it('is read-only', () => {
    expectTypeOf<Session>().toEqualTypeOf<Readonly<Session>>()
    expectTypeOf<Session['messages']>().toEqualTypeOf<readonly Message[]>()
    expectTypeOf<Session['metadata']>().toEqualTypeOf<JsonObject>()
    expectTypeOf<Session['forkedFrom']>().toEqualTypeOf<ForkOrigin | undefined>()
    expectTypeOf<Session<Note>['messages'][number]>().toEqualTypeOf<Note>()
    expectTypeOf<Session['updatedAt']>().toEqualTypeOf<number>()
  })
})

describe('Message', () => {
  it('has what is filled in, and what may be absent', () => {
    expectTypeOf<Message['id']>().toEqualTypeOf<string>()
    expectTypeOf<Message['object']>().toEqualTypeOf<string>()
    expectTypeOf<Message['role']>().toEqualTypeOf<'assistant' | 'system' | 'user' | 'tool' | null | undefined>()
    expectTypeOf<NonNullable<Message['content']>>().toExtend<readonly ContentPart[]>()
    expectTypeOf<MessageType>().toExtend<Message['type']>()
    expectTypeOf<string>().toExtend<Message['type']>()
    expectTypeOf<ContentPart['type']>().toEqualTypeOf<
      'text' | 'image' | 'data' | 'audio' | 'video' | 'file' | 'refusal'
    >()
  })

  it('may be given with less: {} is one, and content may be a string', () => {
    expectTypeOf<Record<never, never>>().toExtend<MessageInput>()
    expectTypeOf<{ role: 'user'; content: 'Hello' }>().toExtend<MessageInput>()
    expectTypeOf<{ role: 'boss' }>().not.toExtend<MessageInput>()
    expectTypeOf<{ content: 5 }>().not.toExtend<MessageInput>()
    expectTypeOf<Message>().toExtend<MessageInput>()
    expectTypeOf<InputOf<Message>>().toEqualTypeOf<MessageInput>()
    expectTypeOf<InputOf<Note>>().toEqualTypeOf<Note>()
    expectTypeOf<ReturnType<typeof fromOpenAIMessage>>().toExtend<MessageInput>()
    expectTypeOf(toOpenAIMessages).returns.toEqualTypeOf<OpenAIMessage[]>()
  })
})

describe('SessionEvent', () => {
  it('is narrowed by its type', () => {
    const read = (event: SessionEvent<Note>): unknown => {
      switch (event.type) {
        case 'created':
          expectTypeOf(event.data.format).toEqualTypeOf<string>()
          expectTypeOf(event.data.metadata).toEqualTypeOf<JsonObject | undefined>()
          return expectTypeOf(event).toEqualTypeOf<EventOf<'created', Note>>()
        case 'message-appended':
        case 'message-replaced':
          return expectTypeOf(event.data.message).toEqualTypeOf<Note>()
        case 'messages-truncated':
          return expectTypeOf(event.data.length).toEqualTypeOf<number>()
        case 'metadata-changed':
          expectTypeOf(event.data.set).toEqualTypeOf<JsonObject>()
          return expectTypeOf(event.data.unset).toEqualTypeOf<readonly string[]>()
        case 'rewound':
          expectTypeOf(event.data.toVersion).toEqualTypeOf<number>()
          return expectTypeOf(event.data.kind).toEqualTypeOf<'rewind' | 'undo' | 'redo' | 'abort'>()
        case 'turn-started':
          expectTypeOf(event.data.owner).toEqualTypeOf<string | undefined>()
          return expectTypeOf(event.data.ttlMs).toEqualTypeOf<number>()
        case 'turn-ended':
          return expectTypeOf(event.data.outcome).toEqualTypeOf<'completed' | 'aborted' | 'expired' | 'taken-over'>()
        case 'deleted':
          return expectTypeOf(event.data).toEqualTypeOf<{ readonly reason?: string }>()
        default:
          return expectTypeOf(event).toBeNever()
      }
    }
    expect(read).toBeTypeOf('function')
  })

  it('has the envelope whatever its type', () => {
    expectTypeOf<SessionEvent['version']>().toEqualTypeOf<number>()
    expectTypeOf<SessionEvent['at']>().toEqualTypeOf<number>()
    expectTypeOf<SessionEvent['commitId']>().toEqualTypeOf<string>()
    expectTypeOf<SessionEvent['idempotencyKey']>().toEqualTypeOf<string | undefined>()
    expectTypeOf<EventOf<'message-appended'>['data']['message']>().toEqualTypeOf<Message>()
  })
})

describe('isTurnlogError', () => {
  it('narrows the fields by the code', () => {
    const read = (error: unknown): void => {
      if (isTurnlogError(error, 'VERSION_CONFLICT')) {
        expectTypeOf(error).toExtend<TurnlogError>()
        expectTypeOf(error.code).toEqualTypeOf<'VERSION_CONFLICT'>()
        expectTypeOf(error.expected).toEqualTypeOf<ExpectedVersion>()
        expectTypeOf(error.actual).toEqualTypeOf<number>()
      }
      if (isTurnlogError(error, 'INVALID_MESSAGE')) expectTypeOf(error.path).toEqualTypeOf<Path>()
      if (isTurnlogError(error, 'STORE_UNAVAILABLE')) {
        expectTypeOf(error.outcome).toEqualTypeOf<'not-stored' | 'unknown'>()
      }
      if (isTurnlogError(error, 'FORMAT_MISMATCH')) expectTypeOf(error.expected).toEqualTypeOf<string>()
      if (isTurnlogError(error)) {
        expectTypeOf(error.code).toEqualTypeOf<TurnlogErrorCode>()
        // @ts-expect-error: of which code it is, is not known yet
        expect(error.path).toBeUndefined()
        if (error.code === 'IDEMPOTENCY_CONFLICT') expectTypeOf(error.idempotencyKey).toEqualTypeOf<string>()
      }
    }
    expect(() => read(new Error('another'))).not.toThrow()
    expectTypeOf<TurnlogErrorOf<'NOT_A_STORE'>['missing']>().toEqualTypeOf<readonly string[]>()
    // @ts-expect-error: there is no such code
    expect(isTurnlogError(new Error('x'), 'NO_SUCH_CODE')).toBe(false)
  })
})

describe('Json', () => {
  it('is what JSON can carry', () => {
    expectTypeOf<{ a: [1, 'b', null, { c: true }] }>().toExtend<Json>()
    expectTypeOf<Date>().not.toExtend<Json>()
    expectTypeOf<undefined>().not.toExtend<Json>()
    expectTypeOf<() => void>().not.toExtend<Json>()
    expectTypeOf<readonly Json[]>().not.toExtend<JsonObject>()
  })
})

describe('SqliteDatabase', () => {
  it('is what the drivers give', () => {
    expectTypeOf<BetterSqlite3>().toExtend<SqliteDatabase>()
    // node:sqlite, of which Node 20 has no types: what its documentation says.
    expectTypeOf<{
      exec(sql: string): void
      prepare(sql: string): {
        run(...values: (null | number | bigint | string | NodeJS.ArrayBufferView)[]): {
          changes: number | bigint
          lastInsertRowid: number | bigint
        }
        get(
          ...values: (null | number | bigint | string | NodeJS.ArrayBufferView)[]
        ): Record<string, unknown> | undefined
        all(...values: (null | number | bigint | string | NodeJS.ArrayBufferView)[]): Record<string, unknown>[]
      }
      close(): void
    }>().toExtend<SqliteDatabase>()
  })
})

describe('startInspector', () => {
  it('takes a service of whatever messages', async () => {
    expectTypeOf<SessionHistoryService>().toExtend<Parameters<typeof startInspector>[0]>()
    expectTypeOf<SessionHistoryService<Note, NoteInput>>().toExtend<Parameters<typeof startInspector>[0]>()
    expectTypeOf<ActorLog>().toExtend<NonNullable<SessionHistoryOptions['inspect']>>()
    const history = await createSessionHistory({ message: note })
    await using inspector = await startInspector(history)
    expectTypeOf(inspector.url).toEqualTypeOf<string>()
    expect(inspector.url).toMatch(/^http:/)
    await history.stop()
  })
})
