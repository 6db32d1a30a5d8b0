// oxlint-disable-next-line import/no-unassigned-import -- before all else, it throws where Node is too old
import './node-version.ts'

export { createSessionHistory } from './session-history.ts'
export type { SessionHistoryOptions, SessionHistoryService } from './service.ts'
export type { Change, InputOf, SessionRef, WriteOptions } from './calls.ts'
export type { Turn, TurnOptions, TurnWriteOptions } from './turn.ts'

export { diff } from './diff.ts'
export type { SessionDiff } from './diff.ts'
export { openToolCalls } from './tool-calls.ts'
export type { OpenToolCall } from './tool-calls.ts'

export type { OpenTurn } from './open-turn.ts'
export type { Session } from './session.ts'

export { contentPartSchema, messageSchema } from './message.ts'
export type {
  ContentPart,
  Message,
  MessageInput,
  MessageType,
  SchemaInput,
  SchemaOutput,
  StandardSchema
} from './message.ts'

export { fromOpenAIMessage, toOpenAIMessages } from './openai.ts'
export type { OpenAIMessage, OpenAIPart, OpenAIToolCall } from './openai.ts'

export { eventSchema } from './event.ts'
export type { Envelope, EventData, EventOf, EventType, ForkOrigin, SessionEvent, StoredEvent } from './event.ts'

export { isTurnlogError, TurnlogError } from './errors.ts'
export type { ExpectedVersion, Path, TurnlogErrorCode, TurnlogErrorFields, TurnlogErrorOf } from './errors.ts'

export { memoryStore } from './stores/memory.ts'
export { openStore } from './open-store.ts'
export type { AppendResult, Commit, EventStore, Head, Page, ReadRange, SessionKey, Summary } from './store.ts'

export type { Json, JsonObject } from './json.ts'
export type { Clock } from './clock.ts'
export type { InspectionEvent, InspectionListener, InspectionObserver } from './options.ts'
