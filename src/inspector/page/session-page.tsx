import './session.css'
import { signal } from '@preact/signals'
import type { VNode } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import type { Moment } from '../wire.ts'
import { change, hrefOf, place, sessionPlace, VIEWS, type SessionPlace, type View } from './address.ts'
import { Conversation, Search } from './conversation.tsx'
import { DiffView } from './diff.tsx'
import { EditMenu } from './edit.tsx'
import { EventAtHand, Events, WholeEvent } from './events.tsx'
import { Aside, Counts, Heading } from './facts.tsx'
import { again, current, failed, goTo, isPlaying, latest, moment } from './session-state.ts'
import { Line } from './text.tsx'
import { Timeline } from './timeline.tsx'
import { goToNotable, togglePlay } from './travel.ts'
import { TreeView } from './tree.tsx'
import { WholeText } from './whole-text.tsx'

const NAMES: { readonly [view in View]: string } = {
  conversation: 'Conversation',
  events: 'Events',
  json: 'Raw JSON',
  diff: 'Compare',
  tree: 'Tree'
}

/** A session at a version: its timeline, what the event at hand did, and its messages, events, differences and forks. */
export function SessionPage(): VNode {
  useEffect(() => {
    document.addEventListener('keydown', onKey)
    return () => {
      document.removeEventListener('keydown', onKey)
      document.title = 'turnlog'
    }
  }, [])
  const shown = moment.value
  const error = failed.value
  useFocus(shown !== undefined)
  return (
    <div class="session">
      {!shown && !error && (
        <h1 class="visually-hidden" tabIndex={-1}>
          <Line text={place.value.session ?? ''} />
        </h1>
      )}
      <div class="session-top" hidden={!shown && error !== undefined}>
        {shown ? (
          <>
            <div class="session-head">
              <Heading moment={shown} />
              <Counts />
            </div>
            <Timeline />
            <div class="event-bar">
              <EventAtHand moment={shown} />
              {!shown.isBrief && <EditMenu moment={shown} />}
            </div>
          </>
        ) : (
          !error && <Waiting />
        )}
        {(shown ?? !error) && <Tabs />}
      </div>
      {error ? <Failed code={error.code} message={error.message} /> : shown && <Shown moment={shown} />}
      <WholeText />
    </div>
  )
}

function Tabs(): VNode {
  const { view, search } = place.value
  return (
    <div class="tabs">
      <nav aria-label="Views">
        {VIEWS.map((each, n) => (
          <a
            key={each}
            href={hrefOf({ ...place.value, view: each })}
            aria-current={each === view ? 'page' : undefined}
            aria-keyshortcuts={String(n + 1)}
          >
            {NAMES[each]}
          </a>
        ))}
      </nav>
      {view === 'conversation' && (
        <>
          <Search text={search ?? ''} />
          <button
            type="button"
            class="plain aside-toggle"
            aria-expanded={isAsideOpen.value}
            onClick={() => (isAsideOpen.value = !isAsideOpen.value)}
          >
            Details
          </button>
        </>
      )}
    </div>
  )
}

function Shown({ moment: shown }: { readonly moment: Moment }): VNode {
  const { view } = place.value
  switch (view) {
    case 'conversation':
      return <Messages moment={shown} />
    case 'events':
      return <Events moment={shown} />
    case 'json':
      return (
        <div class="split">
          <Conversation key="raw" moment={shown} isRaw />
          <WholeEvent moment={shown} />
        </div>
      )
    case 'diff':
      return (
        <div class="view">
          <DiffView moment={shown} />
        </div>
      )
    case 'tree':
      return (
        <div class="view">
          <TreeView moment={shown} />
        </div>
      )
  }
}

/** Whether what is known of the version stands beside its messages. */
const isAsideOpen = signal(matchMedia('(min-width: 1000px)').matches)

function Messages({ moment: shown }: { readonly moment: Moment }): VNode {
  return (
    <div class={`with-aside ${isAsideOpen.value ? 'open' : ''}`}>
      <Conversation moment={shown} />
      {isAsideOpen.value && <Aside moment={shown} />}
    </div>
  )
}

function Waiting(): VNode {
  return (
    <div class="session-waiting" aria-busy="true">
      <p class="visually-hidden" role="status">
        The session is loading
      </p>
      <span class="skeleton" style={{ width: '40%', height: '1.4em' }} />
      <span class="skeleton" style={{ width: '60%' }} />
      <span class="skeleton" style={{ width: '100%', height: '4.5em' }} />
    </div>
  )
}

function Failed({ code, message }: { readonly code: string; readonly message: string }): VNode {
  const { user, session } = place.value
  const title =
    { SESSION_NOT_FOUND: 'There is no such session', VERSION_NOT_FOUND: 'There is no such version', PURGED: 'Purged' }[
      code
    ] ?? 'The session cannot be shown'
  return (
    <div class="failure" role="alert">
      <h1 tabIndex={-1}>{title}</h1>
      <p>{message}</p>
      {code === 'SESSION_NOT_FOUND' && (
        <p>It may have been purged, or its address may be wrong. Once it is made, it is shown here.</p>
      )}
      <p>
        {code === 'VERSION_NOT_FOUND' && (
          <a class="button" href={hrefOf({ user, session, view: 'conversation' })}>
            To the newest version
          </a>
        )}{' '}
        <a class="button" href={hrefOf({ user })}>
          All sessions of <Line text={user ?? ''} />
        </a>{' '}
        <button type="button" onClick={again}>
          Try again
        </button>
      </p>
    </div>
  )
}

/** The session that the document was loaded with: whoever loads one has the focus where browsers put it. */
let loaded = keyOf(sessionPlace.peek())

function keyOf(at: SessionPlace | undefined): string | undefined {
  return at && JSON.stringify([at.user, at.session])
}

// Whoever goes to a session is at its heading; and when what has the focus vanishes or can no longer be used, at the slider, or at the list that it was in.
function useFocus(isShown: boolean): void {
  const key = keyOf(sessionPlace.value)
  const last = useRef<{ readonly element: Element; readonly list: HTMLElement | null }>(undefined)
  useEffect(() => {
    if (key === loaded) return
    loaded = undefined
    last.current = undefined
    focusOn('main h1')
  }, [key])
  useEffect(() => {
    if (loaded === undefined && isLost()) focusOn('main h1')
  }, [isShown])
  useEffect(() => {
    const note = ({ target: element }: FocusEvent): void => {
      if (element instanceof Element && !element.closest('dialog'))
        last.current = { element, list: element.closest<HTMLElement>('.virtual') }
    }
    const observer = new MutationObserver(() => {
      const { element, list } = last.current ?? {}
      if (!element || document.querySelector('dialog[open]')) return
      if (element.isConnected ? !element.matches(':disabled') : !isLost()) return
      if (element !== document.activeElement && !isLost()) return
      last.current = undefined
      if (list?.isConnected) list.focus({ preventScroll: true })
      else focusOn('#slider', 'main h1')
    })
    document.addEventListener('focusin', note)
    observer.observe(document.body, { childList: true, subtree: true, attributeFilter: ['disabled'] })
    return () => {
      loaded = undefined
      document.removeEventListener('focusin', note)
      observer.disconnect()
    }
  }, [])
}

function isLost(): boolean {
  return document.activeElement === null || document.activeElement === document.body
}

function focusOn(...selectors: readonly string[]): void {
  const found = selectors.map((selector) => document.querySelector<HTMLElement>(selector)).find((each) => each !== null)
  found?.focus({ preventScroll: true })
}

/** Where keys are those of a text or a choice. */
const FIELDS = 'input, textarea, select, [contenteditable], dialog'
/** What does something by itself at the space bar. */
const PRESSED = 'button, a, summary, details'

function onKey(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.metaKey || event.ctrlKey || event.altKey) return
  const at = event.target instanceof Element ? event.target : document.body
  if (at.closest(FIELDS) || document.querySelector('dialog[open]')) return
  if (keyed(event.key, at)) event.preventDefault()
}

function keyed(key: string, at: Element): boolean {
  const isSlider = at.id === 'slider'
  // What scrolls has these keys for itself.
  const isFar = isSlider || at === document.body || at.matches('h1')
  const version = current.peek()
  const tenth = Math.max(1, Math.round(latest.peek() / 10))
  const step = (to: number): boolean => {
    isPlaying.value = false
    goTo(to)
    return true
  }
  if (key === 'ArrowLeft' || (isSlider && key === 'ArrowDown')) return step(version - 1)
  if (key === 'ArrowRight' || (isSlider && key === 'ArrowUp')) return step(version + 1)
  if (isFar && key === 'Home') return step(1)
  if (isFar && key === 'End') return step(latest.peek())
  if (isFar && key === 'PageDown') return step(version - tenth)
  // As arrows do, and sliders everywhere: up is more.
  if (isFar && key === 'PageUp') return step(version + tenth)
  if (key === '[' || key === ']') {
    void goToNotable(key === '[' ? -1 : 1)
    return true
  }
  if (key === ' ' && !at.closest(PRESSED)) {
    togglePlay()
    return true
  }
  if (key === '/') {
    if (place.peek().view !== 'conversation') change({ view: 'conversation' })
    requestAnimationFrame(() => document.getElementById('find')?.focus())
    return true
  }
  const view = VIEWS[Number(key) - 1]
  if (view) change({ view })
  return view !== undefined
}
