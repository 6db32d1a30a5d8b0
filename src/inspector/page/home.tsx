import './home.css'
import type { ComponentChildren, VNode } from 'preact'
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import type { SessionLine, SessionPage, UserPage } from '../wire.ts'
import { change, go, hrefOf, place } from './address.ts'
import { about, get, type ApiError } from './client.ts'
import { asApiError, FailureNote, Skeleton, useEvery, useGet } from './loaded.tsx'
import { Line, plain } from './text.tsx'
import { Time } from './time.tsx'
import { type ScrollWish, VirtualList } from './virtual-list.tsx'

const REFRESH_MS = 4_000

/** All users; or the sessions of one: of the only one where there are no others. */
export function Home(): VNode {
  const { user } = place.value
  useEffect(() => {
    document.title = user === undefined ? 'turnlog' : `${plain(user)} · turnlog`
  }, [user])
  return user === undefined ? <Start /> : <Sessions key={user} user={user} />
}

function Start(): VNode {
  const { value, error, reload } = useGet<UserPage>('users', {})
  useEvery(REFRESH_MS, reload)
  // Whoever reads the sessions of the only one goes on to, when another comes.
  const only = useRef<string>(undefined)
  if (value?.users.length === 1) only.current ??= value.users[0]
  if (only.current !== undefined) return <Sessions key={only.current} user={only.current} isOnly />
  if (error) return <FailureNote error={error} onRetry={reload} />
  if (!value)
    return (
      <Frame heading="Sessions">
        <Skeleton />
      </Frame>
    )
  return value.users.length === 0 ? <NoUsers /> : <Users />
}

function NoUsers(): VNode {
  return (
    <div class="empty">
      <h1>There are no sessions yet</h1>
      <p>
        Whatever an agent writes to this store shows up here by itself. Conversations that are there already can be
        imported from a file of JSON lines:
      </p>
      <pre>{importing('ada')}</pre>
    </div>
  )
}

// What is in an address may have been put there by anyone: in a command it is one word, whatever it is.
function importing(user: string): string {
  const word = (text: string): string => (/^[\w.:/@-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`)
  const store = about.value?.store
  const where = store === undefined || /\s/.test(store) ? '' : ` --store ${word(store)}`
  return `turnlog import runs.jsonl --user ${word(user)}${where}`
}

function Users(): VNode {
  const search = place.value.search ?? ''
  const list = usePages<string>(
    async (after, signal) => {
      const page = await get<UserPage>('users', { search, after }, signal)
      return { entries: page.users, after: page.after }
    },
    ['users', search],
    (user) => user
  )
  return (
    <Frame
      heading="Users"
      count={<Count list={list} one="user" many="users" />}
      search={<Search label="Search users" value={search} />}
    >
      <Entries
        list={list}
        label="Users"
        estimate={57}
        none={
          <div class="empty">
            <h2>No user is called so</h2>
            <p>No user’s id contains “{<Line text={search} />}”.</p>
            <button type="button" onClick={() => change({ search: undefined }, { replace: true })}>
              Show all users
            </button>
          </div>
        }
      >
        {(user) => (
          <div class="user-line">
            <span class="face" aria-hidden="true">
              {String.fromCodePoint(user.toUpperCase().codePointAt(0)!)}
            </span>
            <a href={hrefOf({ user })}>
              <Line text={user} />
            </a>
          </div>
        )}
      </Entries>
    </Frame>
  )
}

function Sessions({ user, isOnly = false }: { readonly user: string; readonly isOnly?: boolean }): VNode {
  const search = place.value.search ?? ''
  const list = usePages<SessionLine>(
    async (after, signal) => {
      const page = await get<SessionPage>('sessions', { user, search, after }, signal)
      return { entries: page.sessions, after: page.after }
    },
    ['sessions', user, search],
    ({ id }) => id
  )
  return (
    <Frame
      heading={
        <>
          Sessions <span class="quiet">of {<Line text={user} />}</span>
        </>
      }
      count={<Count list={list} one="session" many="sessions" />}
      search={
        <Search label="Search sessions by title, id or fact" hint="Title, id, or fact, as reward=0" value={search} />
      }
    >
      <Entries
        list={list}
        label="Sessions"
        estimate={68}
        none={
          search === '' ? (
            <div class="empty">
              <h2>
                <Line text={user} /> has no sessions
              </h2>
              <p>
                There is no such user, or all sessions were deleted. What is written from now on shows up here by
                itself.
              </p>
              <pre>{<Line text={importing(user)} />}</pre>
              {!isOnly && <a href={hrefOf({})}>All users</a>}
            </div>
          ) : (
            <div class="empty">
              <h2>Nothing matches “{<Line text={search} />}”</h2>
              <p>
                Titles, ids and facts are searched, and “reward=0” finds exactly that fact. Not what is said in the
                conversations.
              </p>
              <button type="button" onClick={() => change({ search: undefined }, { replace: true })}>
                Show all sessions
              </button>
            </div>
          )
        }
      >
        {(line) => <SessionEntry line={line} />}
      </Entries>
    </Frame>
  )
}

function SessionEntry({ line }: { readonly line: SessionLine }): VNode {
  const { userId, id, version, updatedAt, title, facts, format, forkedFrom, turn, isDeleted } = line
  return (
    <div class={`session-line ${isDeleted ? 'is-deleted' : ''}`}>
      <a class="open" href={hrefOf({ user: userId, session: id })}>
        <Line text={title ?? id} />
      </a>
      <span class="when">
        <Time at={updatedAt} />
      </span>
      <span class="more-facts">
        {title !== undefined && (
          <span class="id mono">
            <Line text={id} />
          </span>
        )}
        {isDeleted && <span class="badge bad">deleted</span>}
        {turn && (
          <span class="badge accent">
            {turn.owner === undefined ? 'turn open' : <>turn of {<Line text={turn.owner} />}</>}
          </span>
        )}
        {forkedFrom && (
          <span class="badge warm">
            fork of{' '}
            <span class="mono">
              <Line text={`${forkedFrom.sessionId}@${forkedFrom.version}`} />
            </span>
          </span>
        )}
        {facts.map(([key, value]) => (
          <button
            key={key}
            type="button"
            class="chip"
            // Reached by searching, too; not a stop on the way to the next session.
            tabIndex={-1}
            title={plain(`Show those with exactly ${key} ${value}`)}
            onClick={() => go({ user: userId, search: `${key}=${value}` })}
          >
            <Line text={key} /> <b>{<Line text={value} />}</b>
          </button>
        ))}
        {format !== 'message' && format !== '' && <span class="badge">{<Line text={format} />}</span>}
      </span>
      <span class="when">version {version.toLocaleString('en')}</span>
    </div>
  )
}

function Frame({
  heading,
  count,
  search,
  children
}: {
  readonly heading: ComponentChildren
  readonly count?: ComponentChildren
  readonly search?: ComponentChildren
  readonly children: ComponentChildren
}): VNode {
  return (
    <div class="home-page">
      <div class="home-head">
        <h1>{heading}</h1>
        <span class="quiet small" role="status">
          {count}
        </span>
        {search}
      </div>
      <div class="lines">{children}</div>
    </div>
  )
}

function Count({
  list,
  one,
  many
}: {
  readonly list: Pick<Pages<unknown>, 'entries' | 'cursor'>
  readonly one: string
  readonly many: string
}): VNode | null {
  if (!list.entries) return null
  const { length } = list.entries
  return (
    <>
      {length.toLocaleString('en')}
      {list.cursor !== undefined && '+'} {length === 1 && list.cursor === undefined ? one : many}
    </>
  )
}

/** A field whose text stands in the address. */
function Search({
  label,
  hint = label,
  value
}: {
  readonly label: string
  /** What stands in the field as long as it is empty. */
  readonly hint?: string
  readonly value: string
}): VNode {
  const field = useRef<HTMLInputElement>(null)
  const [typed, setTyped] = useState(value)
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined)
  // Changed from elsewhere: by a link, or the browser's way back.
  useEffect(() => {
    clearTimeout(timer.current)
    setTyped(value)
  }, [value])
  useEffect(() => {
    const listener = (event: KeyboardEvent): void => {
      if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey) return
      if (event.target instanceof Element && event.target.closest('input, textarea, dialog')) return
      event.preventDefault()
      field.current?.focus()
      field.current?.select()
    }
    document.addEventListener('keydown', listener)
    return () => document.removeEventListener('keydown', listener)
  }, [])
  // Whoever leaves has not searched where he is then.
  useEffect(() => () => clearTimeout(timer.current), [])
  const set = (text: string): void => {
    clearTimeout(timer.current)
    setTyped(text)
    change({ search: text === '' ? undefined : text }, { replace: true })
  }
  return (
    <form
      class="list-search"
      role="search"
      onSubmit={(event) => {
        event.preventDefault()
        set(typed)
        document.querySelector<HTMLAnchorElement>('.lines [role="listitem"] a')?.focus()
      }}
    >
      <input
        ref={field}
        type="search"
        aria-label={label}
        aria-keyshortcuts="/"
        placeholder={hint}
        value={typed}
        maxLength={1_000}
        spellcheck={false}
        autocomplete="off"
        onInput={({ currentTarget }) => {
          const text = currentTarget.value
          setTyped(text)
          clearTimeout(timer.current)
          timer.current = setTimeout(() => set(text), SETTLED_MS)
        }}
        onKeyDown={(event) => {
          if (event.key === 'Escape' && typed !== '') set('')
        }}
      />
      {typed === '' ? (
        <kbd aria-hidden="true">/</kbd>
      ) : (
        <button type="button" aria-label="Clear the search" onClick={() => (set(''), field.current?.focus())}>
          ✕
        </button>
      )}
    </form>
  )
}

const SETTLED_MS = 200

/** A list that is read page by page, and kept up to date. */
interface Pages<T> {
  /** Absent as long as there was no answer. */
  readonly entries?: readonly T[] | undefined
  /** Where the next page begins; absent where all is here. */
  readonly cursor: string | undefined
  readonly error?: ApiError | undefined
  /** Whether it is that of the question asked now. */
  readonly isFresh: boolean
  /** Whether others are there now, or in another order: shown by `showNews`. */
  readonly hasNews: boolean
  readonly keyOf: (entry: T) => string
  readonly more: () => void
  readonly reload: () => void
  readonly showNews: () => void
  /** Keeps the list as it is for whoever comes back, with the first entry in view and the one that had the focus. */
  readonly leave: (first: number, at: number) => void
  readonly leftAt: () => { readonly first: number; readonly at: number } | undefined
}

interface PagesState<T> {
  readonly question: string
  readonly entries: readonly T[]
  readonly after?: string | undefined
  readonly news?: PageOf<T> | undefined
  readonly error?: ApiError | undefined
}

/** The list that was left last, and where in it: whoever comes back soon goes on there. */
let left:
  | { readonly state: PagesState<unknown>; readonly first: number; readonly at: number; readonly since: number }
  | undefined

const LEFT_MS = 600_000

function isLeft(question: string): boolean {
  return left?.state.question === question && Date.now() - left.since < LEFT_MS
}

interface PageOf<T> {
  readonly entries: readonly T[]
  readonly after?: string | undefined
}

/**
 * What is read again replaces what is shown where it is; what would move anything waits until it is asked for.
 */
function usePages<T>(
  ask: (after: string | undefined, signal: AbortSignal) => Promise<PageOf<T>>,
  asked: readonly string[],
  keyOf: (entry: T) => string
): Pages<T> {
  const question = JSON.stringify(asked)
  const [state, setState] = useState<PagesState<T> | undefined>(() =>
    isLeft(question) ? (left!.state as PagesState<T>) : undefined
  )
  const [times, setTimes] = useState(0)
  const asking = useRef<AbortController>(undefined)
  const run = (after: string | undefined, take: (page: PageOf<T>) => void): void => {
    const ended = new AbortController()
    asking.current?.abort()
    asking.current = ended
    ask(after, ended.signal)
      .then(
        (page) => !ended.signal.aborted && take(page),
        (error: unknown) =>
          // What is there stays.
          !ended.signal.aborted &&
          setState((before) => ({
            ...(before?.question === question ? before : { question, entries: [] }),
            error: asApiError(error)
          }))
      )
      .finally(() => {
        if (asking.current === ended) asking.current = undefined
      })
  }
  useEffect(() => {
    if (times > 0 || state?.question !== question)
      run(undefined, ({ entries, after }) => setState({ question, entries, after }))
    return () => asking.current?.abort()
  }, [question, times])
  useEvery(REFRESH_MS, () => {
    // What is being asked comes first.
    if (asking.current || !state || state.question !== question) return
    run(undefined, (page) =>
      setState((before) => {
        if (!before || before.question !== question) return before
        // Where nothing is, nothing moves.
        if (before.entries.length === 0 && page.entries.length > 0)
          return { question, entries: page.entries, after: page.after }
        const fresh = new Map(page.entries.map((entry) => [keyOf(entry), entry]))
        const entries = before.entries.map((entry) => fresh.get(keyOf(entry)) ?? entry)
        const first = entries.slice(0, page.entries.length)
        const isSameOrder =
          page.entries.every((entry, n) => first[n] !== undefined && keyOf(entry) === keyOf(first[n])) &&
          (page.after !== undefined || entries.length === page.entries.length)
        return { ...before, error: undefined, entries, news: isSameOrder ? undefined : page }
      })
    )
  })
  const { entries, after, news, error } = state ?? {}
  return {
    entries,
    error,
    keyOf,
    cursor: after,
    isFresh: state?.question === question,
    hasNews: news !== undefined,
    more: () => {
      if (asking.current || after === undefined) return
      run(after, (page) =>
        setState((before) => {
          const known = new Set(before?.entries.map(keyOf))
          const added = page.entries.filter((entry) => !known.has(keyOf(entry)))
          return { ...before, question, entries: [...(before?.entries ?? []), ...added], after: page.after }
        })
      )
    },
    reload: () => setTimes((before) => before + 1),
    showNews: () => news && setState({ question, entries: news.entries, after: news.after }),
    leave: (first, at) => {
      if (state && !state.error) left = { state, first, at, since: Date.now() }
    },
    leftAt: () => (isLeft(question) ? left : undefined)
  }
}

/** How many entries the server gives at once. */
const PAGE = 100

/** The entries of a list, gone through by arrow keys. */
function Entries<T>({
  list,
  label,
  estimate,
  none,
  children
}: {
  readonly list: Pages<T>
  readonly label: string
  readonly estimate: number
  readonly none: ComponentChildren
  readonly children: (entry: T) => ComponentChildren
}): VNode {
  const { entries, error, isFresh, hasNews, cursor, more, reload, showNews, keyOf } = list
  const [wish, setWish] = useState<ScrollWish>()
  const [range, setRange] = useState({ first: 0, last: 0 })
  const onRange = useCallback((first: number, last: number) => setRange({ first, last }), [])
  const frame = useRef<HTMLDivElement>(null)
  const at = useRef(-1)
  const seen = useRef({ list, first: range.first })
  seen.current = { list, first: range.first }
  useEffect(() => {
    const before = list.leftAt()
    if (before) {
      at.current = before.at
      setWish({ index: before.first, align: 'start' })
    }
    return () => seen.current.list.leave(seen.current.first, at.current)
  }, [])
  const count = entries?.length ?? 0

  const move = (to: number): void => {
    const index = Math.max(0, Math.min(to, count - 1))
    at.current = index
    setWish({ index })
    // It may have to be scrolled to before it is there.
    const focus = (tries: number): void => {
      const link = frame.current?.querySelector<HTMLElement>(`[data-index="${index}"] a`)
      if (link) link.focus({ preventScroll: true })
      else if (tries > 0) requestAnimationFrame(() => focus(tries - 1))
    }
    requestAnimationFrame(() => focus(20))
  }
  const latest = useRef(move)
  latest.current = move
  useEffect(() => {
    const listener = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || !frame.current) return
      const { target } = event
      if (!(target instanceof Element) || target.closest('dialog, textarea, select')) return
      const entry = target.closest('[data-index]')
      const here = entry && frame.current.contains(entry) ? Number(entry.getAttribute('data-index')) : undefined
      const isSearching = target.matches('input')
      const to =
        event.key === 'ArrowDown'
          ? here === undefined
            ? isSearching
              ? 0
              : Math.max(0, at.current)
            : here + 1
          : event.key === 'ArrowUp' && here !== undefined
            ? here - 1
            : event.key === 'Home' && here !== undefined
              ? 0
              : event.key === 'End' && here !== undefined
                ? Infinity
                : undefined
      if (to === undefined) return
      event.preventDefault()
      if (to < 0) document.querySelector<HTMLInputElement>('.list-search input')?.focus()
      else latest.current(to)
    }
    document.addEventListener('keydown', listener)
    return () => document.removeEventListener('keydown', listener)
  }, [])

  useEffect(() => {
    // The second page also for the count: most often it is the last.
    if (entries && !error && (range.last >= count - 20 || count <= PAGE)) more()
  }, [range.last, count, isFresh, cursor])

  // At the top, with nobody on it, it may move.
  useLayoutEffect(() => {
    const { current } = frame
    if (
      hasNews &&
      range.first === 0 &&
      current &&
      !current.matches(':hover') &&
      !current.contains(document.activeElement)
    )
      showNews()
  }, [hasNews, range.first])

  const keyAt = useCallback((index: number) => keyOf(entries![index]!), [entries])
  if (error && count === 0) return <FailureNote error={error} onRetry={reload} />
  if (!entries) return <Skeleton lines={9} />
  // While more is sought for, nothing may be found yet.
  if (count === 0 && isFresh && cursor === undefined) return <>{none}</>
  return (
    <div class={`lines-inside ${isFresh ? '' : 'is-old'}`} ref={frame} aria-busy={!isFresh}>
      {hasNews && (
        <button
          type="button"
          class="newer primary"
          onClick={() => {
            showNews()
            setWish({ index: 0, align: 'start' })
          }}
        >
          ↑ Newer activity
        </button>
      )}
      {error && (
        <p class="list-trouble" role="alert">
          {error.message}{' '}
          <button type="button" onClick={reload}>
            Try again
          </button>
        </p>
      )}
      {count === 0 && <p class="loading-more">Searching …</p>}
      <VirtualList
        count={count}
        hasMore={cursor !== undefined}
        estimate={estimate}
        label={label}
        keyOf={keyAt}
        scrollTo={wish}
        onRange={onRange}
      >
        {(index) => entries[index] !== undefined && children(entries[index])}
      </VirtualList>
    </div>
  )
}
