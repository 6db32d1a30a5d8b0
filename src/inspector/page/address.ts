import { computed, signal } from '@preact/signals'

// Where the reader is: all of it stands in the address, so that it can be shared, kept, and gone back to.

/** How a session is looked at. */
export const VIEWS = ['conversation', 'events', 'json', 'diff', 'tree'] as const

export type View = (typeof VIEWS)[number]

/** A session, perhaps at a version. */
export interface SessionPlace {
  readonly user: string
  readonly session: string
  readonly at?: number | undefined
}

/** What the address says. */
export interface Place {
  readonly page: 'home' | 'session' | 'actors'
  readonly user?: string | undefined
  readonly session?: string | undefined
  /** The version; the newest, and followed, where it is absent. */
  readonly at?: number | undefined
  readonly view: View
  /** What it is compared with, where the view is `diff`. */
  readonly other?: SessionPlace | undefined
  /** What lists are searched for, or the conversation. */
  readonly search?: string | undefined
}

/** What the address says now. */
export const place = signal<Place>(placeOf(location.search))

/** The session that is looked at, if one is. */
export const sessionPlace = computed<SessionPlace | undefined>(() => {
  const { user, session, at } = place.value
  return user !== undefined && session !== undefined ? { user, session, at } : undefined
})

/** The address of a place: what is not given is as on a page of its own. */
export function hrefOf({ page, user, session, at, view, other, search }: Partial<Place>): string {
  const query = new URLSearchParams()
  const set = (name: string, value: string | number | undefined): void => {
    if (value !== undefined && value !== '') query.set(name, String(value))
  }
  if (page === 'actors') set('page', 'actors')
  set('user', user)
  set('session', session)
  set('at', at)
  if (view !== 'conversation') set('view', view)
  set('otherUser', other?.user === user ? undefined : other?.user)
  set('otherSession', other?.session)
  set('otherAt', other?.at)
  set('search', search)
  return `?${query}`
}

/** Goes to a place, as a step of the browser's history; `replace` where it is no new step, as when the timeline is dragged. */
export function go(to: Partial<Place>, { replace = false }: { readonly replace?: boolean } = {}): void {
  const href = hrefOf(to)
  if (replace) return replaceBy(href)
  flush()
  // Where nothing is asked for, the browser has no question mark.
  if (href !== (location.search || '?')) history.pushState(null, '', href)
  place.value = placeOf(location.search)
}

/** Browsers allow a hundred changes of the address in half a minute. */
const ADDRESS_MS = 350
let pending: string | undefined
let timer: ReturnType<typeof setTimeout> | undefined

// At once, but where there was one a moment ago: then the last of them, in a moment. The page does not wait for it.
function replaceBy(href: string): void {
  place.value = placeOf(href)
  pending = href
  if (timer !== undefined) return
  flush()
  timer = setTimeout(() => {
    timer = undefined
    if (pending !== undefined) replaceBy(pending)
  }, ADDRESS_MS)
}

function flush(): void {
  if (pending !== undefined) history.replaceState(null, '', pending)
  pending = undefined
}

/** As {@link go}, with the rest of the place as it is. */
export function change(to: Partial<Place>, options?: { readonly replace?: boolean }): void {
  go({ ...place.value, ...to }, options)
}

addEventListener('popstate', () => {
  pending = undefined
  place.value = placeOf(location.search)
})

// Links of the page itself are followed without loading it anew, unless another tab is meant.
document.addEventListener('click', (event) => {
  const link = event.target instanceof Element ? event.target.closest('a') : null
  if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return
  if (link.target !== '' || link.origin !== location.origin || link.pathname !== location.pathname) return
  event.preventDefault()
  go(placeOf(link.search))
})

/** Of what the server searches for. */
const LONGEST_SEARCH = 1_000

function placeOf(search: string): Place {
  const query = new URLSearchParams(search)
  // What makes no sense is as if it were absent: there is a page that does.
  const text = (name: string): string | undefined => {
    const given = query.get(name) ?? ''
    return given.trim() === '' ? undefined : given
  }
  const version = (name: string): number | undefined => {
    const given = query.get(name) ?? ''
    return /^0*[1-9]\d{0,14}$/.test(given) ? Number(given) : undefined
  }
  const [user, session, otherSession] = [text('user'), text('session'), text('otherSession')]
  const view = VIEWS.find((each) => each === query.get('view')) ?? 'conversation'
  const isSession = user !== undefined && session !== undefined
  return {
    page: query.get('page') === 'actors' ? 'actors' : isSession ? 'session' : 'home',
    user,
    session,
    at: version('at'),
    view,
    other:
      otherSession === undefined
        ? undefined
        : { user: text('otherUser') ?? user ?? '', session: otherSession, at: version('otherAt') },
    search: text('search')?.slice(0, LONGEST_SEARCH)
  }
}
