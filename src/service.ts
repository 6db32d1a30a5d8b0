// A reader of the types may have no lib that knows `AsyncDisposable`.
/// <reference lib="esnext.disposable" preserve="true" />

import type { Change, InputOf, SessionRef, WriteOptions } from './calls.ts'
import type { EngineOptions } from './options.ts'
import type { ExpectedVersion, TurnlogError } from './errors.ts'
import type { SessionEvent } from './event.ts'
import type { Message, SchemaInput, SchemaOutput, StandardSchema } from './message.ts'
import type { Session } from './session.ts'
import type { Turn, TurnOptions } from './turn.ts'

/** Options of `createSessionHistory`. Copied; later changes have no effect. */
export interface SessionHistoryOptions<S extends StandardSchema = never> extends EngineOptions {
  /**
   * The schema of the messages: any Standard Schema that validates synchronously. What it answers is what is stored, and
   * the types follow it. Sessions are of the format `'custom'` then; {@link SessionHistoryService.withMessage} names formats.
   * @default messageSchema
   */
  readonly message?: S | undefined
}

/**
 * The history of many sessions. Every call is a promise; writes to one session take effect in the order in which they
 * were made, and one that has resolved is stored. Writes give the session as it is after them; reads see what was stored
 * before they were made, and do not wait for writes that are under way.
 *
 * Beside the errors named, every call rejects with `STORE_UNAVAILABLE` when the store fails, `CORRUPT_LOG` or
 * `UNKNOWN_EVENT` when the log cannot be read, `STOPPED` after `stop`, and a `TypeError` for arguments that make no sense. Those
 * that write also with `TOO_MANY_CONFLICTS` when other processes are faster for about ten seconds, and `COMMIT_TOO_LARGE` when the
 * store does not take so much at once.
 * Of a log that is damaged, what is before the damage is still given to those who ask for that: by `at`, or event by event.
 */
export interface SessionHistoryService<M = Message, Input = InputOf<M>> extends AsyncDisposable {
  /** Opens the store. Nothing happens where the service is started. */
  start(): Promise<void>
  /** Refuses new calls with `STOPPED`, finishes those that were accepted, and closes the store. */
  stop(): Promise<void>
  /** Whether a call made now would find a working store; known within a second. */
  health(): Promise<boolean>

  /**
   * Begins a session, or starts over one that exists: its log goes on, with no messages. `sessionId` is trimmed; blank or
   * absent gives a fresh one.
   *
   * @throws `VERSION_CONFLICT`; with `expectedVersion: 'none'` where there is a session
   */
  createSession(
    userId: string,
    sessionId?: string,
    options?: { readonly metadata?: object | undefined; readonly expectedVersion?: ExpectedVersion | undefined }
  ): Promise<Session<M>>

  /**
   * The session as it is, or as it was `at` a version or time; `null` where there was none. `last` leaves all but so many of
   * the newest messages out. Where there is none and `at` is not given, `missing` says what then, by default the service's option `missing.get`.
   * With `countsAsUse: false` it does not renew the time of `retention`.
   *
   * @throws `VERSION_NOT_FOUND` where `at` is a version that the log does not have yet; `FORMAT_MISMATCH`; `SESSION_NOT_FOUND`
   */
  getSession(
    userId: string,
    sessionId: string,
    options?: {
      readonly at?: number | Date | undefined
      readonly last?: number | undefined
      readonly missing?: 'create' | 'null' | 'throw' | undefined
      readonly countsAsUse?: boolean | undefined
    }
  ): Promise<Session<M> | null>

  /**
   * The sessions of a user, newest activity first, without messages. A page at a time with `limit`, and `after` as the
   * last session of the page before; all by default.
   */
  listSessions(
    userId: string,
    options?: { readonly limit?: number | undefined; readonly after?: Pick<Session, 'id' | 'updatedAt'> | undefined }
  ): Promise<Session<M>[]>

  /** The users who have sessions, in an order of the store's own; `after` is the last of the page before. */
  listUsers(options?: { readonly limit?: number | undefined; readonly after?: string | undefined }): Promise<string[]>

  /**
   * Appends a message, or a list of them as one commit. Where there is no session the option `missing.append` says what
   * then; `null` is one way. If `session.messages` is an array that can be changed, it is extended, too, once all is stored.
   *
   * @throws `INVALID_MESSAGE`, `VERSION_CONFLICT`, `IDEMPOTENCY_CONFLICT`, `FORMAT_MISMATCH`, `SESSION_NOT_FOUND`
   */
  appendMessage(
    session: SessionRef,
    message: Input | readonly Input[],
    options?: WriteOptions
  ): Promise<Session<M> | null>

  /**
   * Appends a message, or replaces the last one of the same `id`, whole. Nothing happens where it is equal.
   *
   * @throws as `appendMessage`; `INVALID_MESSAGE` also where the message has no `id`
   */
  putMessage(session: SessionRef, message: Input, options?: WriteOptions): Promise<Session<M> | null>

  /**
   * Sets keys of the metadata to any JSON, each whole, and removes those in `unset`.
   *
   * @throws as `appendMessage`
   */
  updateMetadata(
    session: SessionRef,
    changes: { readonly set?: object | undefined; readonly unset?: readonly string[] | undefined },
    options?: WriteOptions
  ): Promise<Session<M> | null>

  /**
   * Several changes, all or none, each upon the one before.
   *
   * @throws as `appendMessage`
   */
  commit(session: SessionRef, changes: readonly Change<Input>[], options?: WriteOptions): Promise<Session<M> | null>

  /**
   * Sets messages and metadata back to what they were at a version, by an event more: nothing is lost, and it can be undone.
   * From a deleted session to a version before, it brings the session back.
   *
   * @throws as `appendMessage`; `VERSION_NOT_FOUND` also for a version at which there was no session; `SESSION_NOT_FOUND`
   */
  rewind(
    session: SessionRef,
    toVersion: number,
    options?: WriteOptions & { readonly reason?: string | undefined }
  ): Promise<Session<M>>

  /**
   * Goes one step back: before the newest commit, or before the puts of one message that follow each other, or before all
   * that a turn wrote. A rewind is a step; starting over and deleting begin afresh. Can be repeated, and redone.
   *
   * @throws `NOTHING_TO_UNDO`, `SESSION_NOT_FOUND`, and as `appendMessage`
   */
  undo(session: SessionRef, options?: WriteOptions): Promise<Session<M>>

  /**
   * Takes back an undo, as long as nothing else was written since. Can be repeated.
   *
   * @throws `NOTHING_TO_REDO`, `SESSION_NOT_FOUND`, and as `appendMessage`
   */
  redo(session: SessionRef, options?: WriteOptions): Promise<Session<M>>

  /**
   * A new session of the same user that begins with the messages and metadata that this one had `at` a version or time, by
   * default now. Copies nothing, and lives on when its parent is deleted or purged. `sessionId` as with `createSession`.
   *
   * @throws `SESSION_EXISTS` where a session of that id exists, or was deleted and not purged; `VERSION_NOT_FOUND`;
   * `SESSION_NOT_FOUND`, also where the parent is purged meanwhile and no older fork keeps that version; `FORMAT_MISMATCH`
   */
  fork(
    session: SessionRef,
    options?: { readonly at?: number | Date | undefined; readonly sessionId?: string | undefined }
  ): Promise<Session<M>>

  /**
   * The forks of a session, in order of their creation, without messages; not those that were deleted or purged, or have
   * started over.
   */
  forks(session: SessionRef): Promise<Session<M>[]>

  /**
   * Begins a turn: the right to write, for one run of an agent.
   *
   * @throws `TURN_BUSY` where another one is open, unless `onBusy` says otherwise; `SESSION_NOT_FOUND`
   * @example
   * await using turn = await history.beginTurn(session, { owner: 'planner' })
   * await turn.append({ role: 'assistant', content: 'One moment' })
   * await turn.end()
   */
  beginTurn(session: SessionRef, options?: TurnOptions): Promise<Turn<M, Input>>

  /**
   * The events of a session's log, also of a deleted one; both ends are inclusive. None where there is no log. Where the session
   * is purged meanwhile, what was read before is still delivered. Each iteration reads anew.
   *
   * @throws while it is iterated over: the signal's reason where `signal` is aborted; `FORMAT_MISMATCH` with the first `created`
   * of another format, or at once where `from` is above 1 and the session is of another one now
   */
  readEvents(
    userId: string,
    sessionId: string,
    options?: {
      readonly from?: number | undefined
      readonly to?: number | undefined
      readonly signal?: AbortSignal | undefined
    }
  ): AsyncIterable<SessionEvent<M>>

  /**
   * The events of a session's log from a version on, by default 1, and then each that is stored, by whatever process: none
   * left out, none twice. A session that does not exist is waited for; `deleted` is delivered, and what comes after it.
   * Ends when the session is purged, `signal` is aborted or the service stops, without an error; when it is purged, what was
   * read before is still delivered. A session that is begun anew after that has another log, from version 1 on, which whoever
   * resumes can tell by the ids of events. A slow reader holds nobody up and fills no memory: it reads the log.
   *
   * @throws `FORMAT_MISMATCH` as `readEvents`; `STOPPED` only where it begins after `stop`
   */
  subscribe(
    userId: string,
    sessionId: string,
    options?: { readonly from?: number | undefined; readonly signal?: AbortSignal | undefined }
  ): AsyncIterable<SessionEvent<M>>

  /** Hides a session; its log stays. Nothing happens where there is none. */
  deleteSession(userId: string, sessionId: string): Promise<void>

  /** Deletes the sessions of a user, one commit each, and tells how many it deleted. */
  deleteUserSessions(userId: string): Promise<number>

  /** Erases a session's log for good. Nothing happens where there is none. */
  purgeSession(userId: string, sessionId: string): Promise<void>

  /**
   * Sessions as lines of JSONL, each with its line feed: a header, every event as it is stored, and a last line with their
   * number and the SHA-256 of all before. One session, also a deleted one, or all that a user has, in order of their ids.
   * Messages may be of any format; sessions that are deleted are exported only by name. Each session is of the moment in which
   * it is begun. A fork gets what it inherited into its first event, which is then read as a whole; of others a page is held.
   *
   * @throws `SESSION_NOT_FOUND` where one is named that has no log, or is purged meanwhile
   * @example
   * await writeFile('ada.jsonl', history.exportSession('ada'))
   */
  exportSession(
    userId: string,
    sessionId?: string,
    options?: { readonly signal?: AbortSignal | undefined }
  ): AsyncIterable<string>

  /**
   * Stores the sessions of an export as they were: the same events, versions, times and ids, so that exporting them gives
   * the same bytes. `source` is text or UTF-8, in pieces that may end anywhere, such as a file's stream. It is read to its
   * end and checked, and held in memory, before anything is stored; then each session is one commit. Messages are taken as
   * they are, of whatever format and size. Gives the sessions as
   * `listSessions` does, in order of the file; those that are deleted are stored and not given.
   *
   * `file` is what errors call it. `userId` and, for a file of one session, `sessionId` (trimmed) replace those of the file;
   * ids of events and commits are then made anew. An imported fork has its messages itself: it is not among the `forks` of its
   * parent, though `forkedFrom` still names that.
   *
   * Without `onInvalid`, one line that is not sound refuses all of the file. With it, what is sound is stored: of each session
   * the events before the first line that is not, without a last commit that may not be whole. It is told of each line that
   * is left, and of a header or last line that is missing or wrong; what it throws refuses all.
   *
   * With `onExisting: 'skip'`, sessions that exist, or were deleted and not purged, are left as they are, and not given. Once
   * `signal` is aborted nothing more is stored.
   *
   * @default file 'input', onExisting 'throw'
   * @throws `INVALID_IMPORT`: nothing is stored; also with `onInvalid` where the format is of a newer release, or two sessions
   * of the file would have one name. `SESSION_EXISTS` where a session of that id exists, or was deleted and not purged: nothing
   * is stored, unless it was begun while the file was being stored. That and a failing store leave the sessions before it
   * stored.
   */
  importSession(
    source: AsyncIterable<string | Uint8Array> | Iterable<string | Uint8Array>,
    options?: {
      readonly file?: string | undefined
      readonly userId?: string | undefined
      readonly sessionId?: string | undefined
      readonly onInvalid?: ((error: TurnlogError) => void) | undefined
      readonly onExisting?: 'throw' | 'skip' | undefined
      readonly signal?: AbortSignal | undefined
    }
  ): Promise<Session<M>[]>

  /**
   * The same sessions and the same store, with messages of another type. Sessions that are made through it are of that
   * `format`, and it refuses others with `FORMAT_MISMATCH`. `maxMessages` is in place of that of `retention`: a whole number, or `Infinity` for
   * all, as is needed where what is stored are not messages but records, of which none may be missing.
   */
  withMessage<S extends StandardSchema>(
    schema: S,
    options: { readonly format: string; readonly maxMessages?: number | undefined }
  ): SessionHistoryService<SchemaOutput<S>, SchemaInput<S>>
}
