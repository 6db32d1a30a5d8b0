import './edit.css'
import type { ComponentChildren, VNode } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Edit, Edited, EventPage, Moment, Outline } from '../wire.ts'
import { change, go, sessionPlace } from './address.ts'
import { about, type ApiError, get, post } from './client.ts'
import { Dialog } from './dialog.tsx'
import { asApiError } from './loaded.tsx'
import { MetadataFields } from './metadata-fields.tsx'
import { latest as latestNow, wanted } from './session-state.ts'
import { Line, plain } from './text.tsx'
import { type Outlook, outlookOf } from './undoing.ts'

type Kind = Edit['type']

/** What can be done with the session at its version, where the inspector may write; each says first what it will append. */
export function EditMenu({ moment }: { readonly moment: Moment }): VNode | null {
  // As it was when it was asked for, however the timeline goes on.
  const [open, setOpen] = useState<{ readonly kind: Kind; readonly moment: Moment }>()
  if (!about.value) return null
  if (!about.value.allowEdit)
    return (
      <span class="edit-menu quiet small">
        <span>
          Read-only: <code>--allow-edit</code> lets you fork and rewind from here
        </span>
      </span>
    )
  const { version, isLive } = moment
  // Whoever follows goes on with the newest: until that is here, this is it.
  const latest = wanted.value === undefined ? moment.latest : latestNow.value
  // At a version of the past it is not known: then the answer says so.
  const isGone = !isLive && version === latest
  const button = (kind: Kind, text: ComponentChildren, title: string, isPossible = true): VNode => (
    <button
      type="button"
      class={kind === 'fork' || kind === 'rewind' ? '' : kind === 'delete' ? 'plain danger' : 'plain'}
      title={title}
      aria-haspopup="dialog"
      disabled={!isPossible}
      onClick={() => setOpen({ kind, moment })}
    >
      {text}
    </button>
  )
  return (
    <div class="edit-menu" role="group" aria-label="Change the session">
      {button(
        'fork',
        <>{FORK} Fork from here</>,
        `A new session that begins as this one is at version ${version}`,
        isLive
      )}
      {button(
        'rewind',
        <>{REWIND} Rewind to here</>,
        `Sets this session back to version ${version}`,
        isLive && version < latest
      )}
      {button('undo', 'Undo', 'Takes back what was written last', !isGone && latest > 1)}
      {button('redo', 'Redo', 'Takes back an undo', !isGone)}
      {button('metadata', 'Metadata', 'Sets and removes keys of the metadata', !isGone)}
      {button('delete', 'Delete', 'Hides the session; its log stays', !isGone)}
      {open && <EditDialog {...open} onClose={() => setOpen(undefined)} />}
    </div>
  )
}

function icon(path: string): VNode {
  return (
    <svg
      width="14"
      height="14"
      viewBox="0 0 14 14"
      fill="none"
      stroke="currentColor"
      stroke-width="1.6"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      <path d={path} />
    </svg>
  )
}

const FORK = icon('M3.5 1v12M3.5 8.5c0-3 7-1.5 7-5.5M8.5 4.5l2-2 2 2')
const REWIND = icon('M4.5 2 2 4.5 4.5 7M2 4.5h6a4 4 0 0 1 0 8H4')

interface EditDialogProps {
  readonly kind: Kind
  readonly moment: Moment
  readonly onClose: () => void
}

function EditDialog({ kind, moment, onClose }: EditDialogProps): VNode {
  const { userId: user, id: session, version, latest, count } = moment
  const [as, setAs] = useState('')
  const [reason, setReason] = useState('')
  const [keys, setKeys] = useState<Pick<Edit & { type: 'metadata' }, 'set' | 'unset'>>()
  /** The newest version that was shown: another, once it was said that there is one. */
  const [expectedVersion, setExpected] = useState(latest)
  const [state, setState] = useState<{ readonly isSending?: boolean; readonly error?: ApiError; readonly sent?: Edit }>(
    {}
  )
  const { isSending = false, error } = state
  const outlook = useOutlook(kind, moment, expectedVersion)
  const isOpen = useRef(true)
  useEffect(
    () => () => {
      isOpen.current = false
    },
    []
  )
  const edit = editOf()
  const messages = count === 1 ? 'one message' : `${count.toLocaleString('en')} messages`

  function editOf(): Edit | undefined {
    const ref = { user, session }
    switch (kind) {
      case 'fork':
        return { type: kind, ...ref, at: version, ...(as.trim() !== '' && { as: as.trim() }) }
      case 'rewind':
        return {
          type: kind,
          ...ref,
          toVersion: version,
          expectedVersion,
          ...(reason.trim() !== '' && { reason: reason.trim() })
        }
      case 'undo':
      case 'redo':
        return { type: kind, ...ref, expectedVersion }
      case 'metadata':
        return keys && { type: kind, ...ref, ...keys, expectedVersion }
      case 'delete':
        return { type: kind, ...ref, expectedVersion }
    }
  }

  const send = async (): Promise<void> => {
    if (!edit || isSending) return
    setState({ isSending: true })
    let edited: Edited
    try {
      edited = await post(edit)
    } catch (thrown) {
      const failed = asApiError(thrown)
      setState({ error: failed, sent: edit })
      if (failed.code === 'VERSION_CONFLICT') {
        // So that whoever does it all the same does it to what is there now.
        const now = await get<Moment>('moment', { user, session, count: 1 }).catch(() => undefined)
        if (now) setExpected(now.latest)
      }
      return
    }
    // Whoever has gone on meanwhile is not taken away from there.
    const here = sessionPlace.peek()
    if (!isOpen.current || here?.user !== user || here.session !== session) return
    onClose()
    if (edited.id === session && edited.userId === user) change({ at: undefined })
    else go({ page: 'session', user: edited.userId, session: edited.id, view: 'conversation' })
  }

  return (
    <Dialog title={TITLES[kind](version)} onClose={onClose} class={kind === 'metadata' ? 'metadata-dialog' : ''}>
      <form
        class={`edit-form ${kind === 'delete' ? 'is-dangerous' : ''}`}
        onSubmit={(event) => {
          event.preventDefault()
          void send()
        }}
      >
        {kind === 'metadata' && <MetadataFields moment={moment} onNewest={setExpected} onChange={setKeys} />}
        <p class="appends">{says()}</p>
        {kind === 'fork' && (
          <div class="field">
            <label for="fork-id">Id of the new session</label>
            <input
              id="fork-id"
              autofocus
              maxLength={512}
              spellcheck={false}
              autocomplete="off"
              placeholder="one is made up where this stays empty"
              value={as}
              aria-invalid={error?.code === 'SESSION_EXISTS' ? 'true' : undefined}
              onInput={({ currentTarget }) => setAs(currentTarget.value)}
            />
          </div>
        )}
        {kind === 'rewind' && (
          <div class="field">
            <label for="rewind-reason">Reason, kept with the event</label>
            <input
              id="rewind-reason"
              autofocus
              maxLength={10_000}
              placeholder="optional"
              value={reason}
              onInput={({ currentTarget }) => setReason(currentTarget.value)}
            />
          </div>
        )}
        {moment.turn && kind !== 'fork' && (
          <p class="small">
            A turn{' '}
            {moment.turn.owner !== undefined && (
              <>
                of <Line text={moment.turn.owner} />{' '}
              </>
            )}
            is open. As long as it is, others are refused, most likely this, too.
          </p>
        )}
        {error && (
          <div class="wrong" role="alert">
            {whatIsWrong(error, state.sent, expectedVersion)}
          </div>
        )}
        <div class="dialog-end">
          <button type="button" autofocus={kind === 'delete'} onClick={onClose}>
            Cancel
          </button>
          <button
            type="submit"
            class={`primary ${kind === 'delete' ? 'danger' : ''}`}
            autofocus={kind === 'undo' || kind === 'redo'}
            disabled={!edit || isSending || outlook === 'nothing'}
          >
            {isSending
              ? 'Writing …'
              : error?.code === 'VERSION_CONFLICT'
                ? `${BUTTONS[kind]} all the same`
                : BUTTONS[kind]}
          </button>
        </div>
      </form>
    </Dialog>
  )

  function says(): ComponentChildren {
    switch (kind) {
      case 'fork':
        return (
          <>
            Makes a new session of 1 event, which begins with the {messages} and the metadata that this one has at
            version {version}. This one stays as it is.
          </>
        )
      case 'rewind':
        return (
          <>
            Appends 1 event: rewound to version {version}. The session then has the {messages} again that it had there.{' '}
            {stays(version + 1, expectedVersion)} in the log, and the rewind can be undone.
          </>
        )
      case 'undo':
        return (
          <>
            {outlook === 'nothing'
              ? 'There is nothing to undo: nothing was written since the session began.'
              : typeof outlook === 'object'
                ? `Appends 1 event, which sets the session back to version ${outlook.to}, before what was written last.`
                : 'Appends 1 event, which goes back one step: before the newest call that wrote, or all of its turn, that is not undone yet.'}
            {outlook !== 'nothing' && ' The log keeps it, and Redo brings it back.'}
          </>
        )
      case 'redo':
        return (
          <>
            {outlook === 'nothing'
              ? 'There is nothing to redo: what was written last is no undo.'
              : typeof outlook === 'object'
                ? `Appends 1 event, which sets the session to version ${outlook.to} again, where it was before the undo.`
                : 'Appends 1 event, which goes on one step: to where the session was before the newest undo, if nothing else was written since.'}
          </>
        )
      case 'delete':
        return (
          <>
            Appends 1 event: deleted. No list shows the session from then on. Its log of{' '}
            {latestNow.value.toLocaleString('en')} {latestNow.value === 1 ? 'version' : 'versions'} stays, unless the
            service is set to purge what is deleted; until then, rewinding to a version brings it back.
          </>
        )
      case 'metadata':
        return keys ? (
          <>
            Appends 1 event after version {expectedVersion}: {named('sets', Object.keys(keys.set))}
            {Object.keys(keys.set).length > 0 && keys.unset.length > 0 && '; '}
            {named('removes', keys.unset)}. What the keys were stays in the log.
          </>
        ) : (
          <>Appends 1 event with the keys that are set or removed. So far none is.</>
        )
    }
  }
}

/** What the newest events tell of an undo or redo; nothing yet while they are asked for. */
function useOutlook(kind: Kind, { userId: user, id: session }: Moment, latest: number): Outlook | undefined {
  const [outlook, setOutlook] = useState<Outlook>()
  useEffect(() => {
    if (kind !== 'undo' && kind !== 'redo') return
    const left = new AbortController()
    const from = Math.max(1, latest - NEWEST + 1)
    const where = { user, session, from }
    Promise.all([
      get<EventPage>('events', { ...where, count: NEWEST }, left.signal),
      get<Outline>('outline', { ...where, buckets: 1 }, left.signal)
    ]).then(
      ([{ events }, { marks }]) => {
        const isAll = events[0]?.version === from && events.at(-1)?.version === latest
        if (!left.signal.aborted) setOutlook(isAll ? outlookOf(kind, events, marks) : 'unknown')
      },
      // Then it is said in general.
      () => undefined
    )
    return () => left.abort()
  }, [kind, user, session, latest])
  return outlook
}

const NEWEST = 100

const TITLES: { readonly [kind in Kind]: (version: number) => string } = {
  fork: (version) => `Fork from version ${version}`,
  rewind: (version) => `Rewind to version ${version}`,
  undo: () => 'Undo',
  redo: () => 'Redo',
  metadata: () => 'Change the metadata',
  delete: () => 'Delete the session'
}

const BUTTONS: { readonly [kind in Kind]: string } = {
  fork: 'Fork',
  rewind: 'Rewind',
  undo: 'Undo',
  redo: 'Redo',
  metadata: 'Change',
  delete: 'Delete'
}

function stays(from: number, to: number): string {
  return from === to ? `Version ${to} stays` : `Versions ${from} to ${to} stay`
}

function named(verb: string, keys: readonly string[]): ComponentChildren {
  if (keys.length === 0) return null
  return (
    <>
      {verb}{' '}
      {keys.map((key, n) => (
        <>
          {n > 0 && ', '}
          <code>
            <Line text={key} />
          </code>
        </>
      ))}
    </>
  )
}

function whatIsWrong(error: ApiError, sent: Edit | undefined, newest: number): ComponentChildren {
  switch (error.code) {
    case 'VERSION_CONFLICT':
      return `Nothing was written: somebody else has written meanwhile. The session is at version ${newest} now. Close this to look at it first, or do it all the same.`
    case 'TURN_BUSY':
      return `Nothing was written: a turn is open, and only its holder may write. Try again when it has ended. (${error.message})`
    case 'SESSION_EXISTS':
      return `Nothing was made: there is, or was, a session called “${sent?.type === 'fork' ? plain(sent.as ?? '') : ''}”. Give the new one another id.`
    case 'NOTHING_TO_UNDO':
      return 'There is nothing to undo: nothing was written since the session began, or all of it is undone already.'
    case 'NOTHING_TO_REDO':
      return 'There is nothing to redo: nothing was undone, or something was written since.'
    case 'SESSION_NOT_FOUND':
      return 'The session is deleted, or purged. If it is deleted, rewinding to one of its versions brings it back.'
    default:
      return error.isPassing
        ? `${error.message} Whether it was written is not known: look at the newest version before you do it again.`
        : `Nothing was written. ${error.message}`
  }
}
