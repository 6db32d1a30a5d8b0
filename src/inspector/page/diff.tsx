import './diff.css'
import type { VNode } from 'preact'
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks'
import type { Diff, DiffRow, DiffSide, Item, MetadataChange, Moment } from '../wire.ts'
import { change, go, hrefOf, place, type SessionPlace } from './address.ts'
import { type ApiError, get } from './client.ts'
import { differenceAt, entriesOf } from './diff-entries.ts'
import { JsonView } from './json.tsx'
import { asApiError, FailureNote, Skeleton, useKeys } from './loaded.tsx'
import { ItemView } from './message.tsx'
import { Picker } from './picker.tsx'
import { latest as latestNow } from './session-state.ts'
import { Line } from './text.tsx'
import { type ScrollWish, VirtualList } from './virtual-list.tsx'
import { markedValue, marksOf } from './words.tsx'

/** The session at a version beside another version, or another session: by default the version before, or what it was forked from. */
export function DiffView({ moment }: { readonly moment: Moment }): VNode {
  const { userId: user, id: session, version } = moment
  const { other } = place.value
  const against = other ?? (version > 1 ? { user, session, at: version - 1 } : originOf(moment))
  const key = against && JSON.stringify([against.user, against.session, against.at, user, session, version])
  const [answer, setAnswer] = useState<{ readonly key: string; readonly diff?: Diff; readonly error?: ApiError }>()
  const [times, setTimes] = useState(0)
  useEffect(() => {
    if (!against || key === undefined) return
    const left = new AbortController()
    get<Diff>('diff', { ...queryOf(against, moment), count: ASKED }, left.signal).then(
      (diff) => !left.signal.aborted && setAnswer({ key, diff }),
      (error: unknown) => !left.signal.aborted && setAnswer({ key, error: asApiError(error) })
    )
    return () => left.abort()
  }, [key, times])
  const isFresh = answer?.key === key
  const diff = answer?.diff
  return (
    <div class="diff">
      <Sides moment={moment} against={against} diff={isFresh ? diff : undefined} />
      {!against ? (
        <div class="empty">
          <h2>This is the first version</h2>
          <p>There is none before it. Choose above what to compare it with.</p>
        </div>
      ) : isFresh && answer?.error ? (
        <FailureNote error={answer.error} onRetry={() => setTimes(times + 1)} />
      ) : diff ? (
        <Rows key={`${diff.a.userId}/${diff.a.id}/${diff.b.userId}/${diff.b.id}`} diff={diff} isFresh={isFresh} />
      ) : (
        <Skeleton />
      )}
    </div>
  )
}

const ASKED = 40

function originOf({ forkedFrom }: Moment): SessionPlace | undefined {
  return forkedFrom && { user: forkedFrom.userId, session: forkedFrom.sessionId, at: forkedFrom.version }
}

function queryOf(
  a: SessionPlace,
  b: Pick<Moment, 'userId' | 'id' | 'version'>
): Record<string, string | number | undefined> {
  return {
    user: a.user,
    session: a.session,
    at: a.at,
    otherUser: b.userId,
    otherSession: b.id,
    otherAt: b.version
  }
}

/** What is compared, and what else could be. */
function Sides({
  moment,
  against,
  diff
}: {
  readonly moment: Moment
  readonly against: SessionPlace | undefined
  readonly diff: Diff | undefined
}): VNode {
  const [isPicking, setPicking] = useState(false)
  const { userId: user, id: session, version, title } = moment
  const latest = latestNow.value
  const { other } = place.value
  const set = (to: SessionPlace | undefined): void => change({ other: to })
  const origin = originOf(moment)
  const isSame = (one: SessionPlace): boolean =>
    against?.user === one.user && against.session === one.session && against.at === one.at
  const newest = { user, session, at: latest }
  const isOwn = against?.user === user && against.session === session
  const leftLatest = isOwn ? latest : diff?.a.latest
  const leftVersion = against?.at ?? diff?.a.version
  return (
    <div class="diff-sides">
      <section class="diff-side" aria-label="Left side">
        <span class="diff-name">
          <span class="diff-label quiet">Left</span>
          {against ? (
            <a href={hrefOf({ user: against.user, session: against.session, at: against.at })}>
              <Line text={against.session} />
            </a>
          ) : (
            <span class="quiet">nothing chosen</span>
          )}
          {against && (
            <VersionField
              key={`${against.user}/${against.session}`}
              value={leftVersion}
              latest={leftLatest}
              onChange={(at) => set({ user: against.user, session: against.session, at })}
            />
          )}
        </span>
        {!isOwn && diff?.a.title !== undefined && (
          <span class="diff-title quiet small">
            <Line text={diff.a.title} />
          </span>
        )}
        <span class="diff-choices" role="group" aria-label="What to compare with">
          <button
            type="button"
            aria-pressed={other === undefined && version > 1}
            disabled={version <= 1}
            onClick={() => set(undefined)}
          >
            Version before
          </button>
          {version < latest && (
            <button type="button" aria-pressed={isSame(newest)} onClick={() => set(newest)}>
              Newest version
            </button>
          )}
          {origin && (
            <button type="button" aria-pressed={isSame(origin)} onClick={() => set(origin)}>
              Origin of the fork
            </button>
          )}
          <button type="button" aria-haspopup="dialog" onClick={() => setPicking(true)}>
            Another session …
          </button>
        </span>
      </section>
      <button
        type="button"
        class="swap"
        title="Swap sides"
        aria-label="Swap sides"
        disabled={!diff}
        onClick={() =>
          diff &&
          go({
            view: 'diff',
            user: diff.a.userId,
            session: diff.a.id,
            at: diff.a.version,
            other: { user, session, at: version }
          })
        }
      >
        ⇄
      </button>
      <section class="diff-side" aria-label="Right side">
        <span class="diff-name">
          <span class="diff-label quiet">Right</span>
          <b>
            <Line text={session} />
          </b>
          <span class="quiet">
            version {version} of {latest}
          </span>
        </span>
        {!isOwn && title !== undefined && (
          <span class="diff-title quiet small">
            <Line text={title} />
          </span>
        )}
        <span class="quiet small">The version at which the timeline stands</span>
      </section>
      {isPicking && (
        <Picker
          moment={moment}
          onClose={() => setPicking(false)}
          onPick={(line) => {
            setPicking(false)
            set({ user: line.userId, session: line.id, at: line.version })
          }}
        />
      )}
    </div>
  )
}

function VersionField({
  value,
  latest,
  onChange
}: {
  readonly value: number | undefined
  readonly latest: number | undefined
  readonly onChange: (version: number) => void
}): VNode {
  const input = useRef<HTMLInputElement>(null)
  const shown = useRef(value)
  useEffect(() => {
    const field = input.current!
    // What is being typed stays.
    const isTyping = field === document.activeElement && field.value !== String(shown.current ?? '')
    if (value === undefined || isTyping) return
    field.value = String(value)
    shown.current = value
  }, [value])
  const commit = (field: HTMLInputElement): void => {
    const given = Math.round(field.valueAsNumber)
    if (!Number.isFinite(given)) field.value = String(value ?? '')
    else {
      const version = Math.max(1, Math.min(given, latest ?? given))
      field.value = String(version)
      shown.current = version
      if (version !== value) onChange(version)
    }
  }
  return (
    <label class="diff-version">
      <span class="quiet">version</span>
      <input
        ref={input}
        type="number"
        aria-label="Version of the left side"
        min={1}
        max={latest}
        defaultValue={String(value ?? '')}
        onChange={({ currentTarget }) => commit(currentTarget)}
      />
      {latest !== undefined && <span class="quiet">of {latest}</span>}
    </label>
  )
}

function Rows({ diff, isFresh }: { readonly diff: Diff; readonly isFresh: boolean }): VNode {
  const { places, counts, metadata, length } = diff
  const [opened, setOpened] = useState<ReadonlySet<number>>(new Set())
  const [wish, setWish] = useState<ScrollWish>()
  /** Which of the rows that differ the reader has gone to. */
  const [difference, setDifference] = useState<number>()
  const { rowAt, see } = useRows(diff)
  const name = `${diff.a.version} ${diff.b.version} ${diff.a.latest}`
  const entries = useMemo(() => {
    const shown = entriesOf(
      diff,
      opened,
      places.length < MOST_PLACES ? undefined : places.at(-1)! + diff.lengths.at(-1)!
    )
    return metadata.length > 0 ? [{ metadata }, ...shown] : shown
  }, [diff, opened])
  const entryOf = (row: number): number => entries.findIndex((entry) => 'row' in entry && entry.row === row)

  // Anew for another comparison.
  useEffect(() => {
    setOpened(new Set())
    setDifference(undefined)
    setWish({ index: 0, align: 'start' })
  }, [name])

  const differing = counts.changed + counts.a + counts.b
  // Of very many, those that are known.
  const reachable = diff.lengths.reduce((sum, each) => sum + each, 0)
  const currentRow = difference === undefined ? undefined : differenceAt(diff, difference)
  const step = (by: 1 | -1): void => {
    if (reachable === 0) return
    const next = ((difference ?? (by > 0 ? -1 : 0)) + by + reachable) % reachable
    setDifference(next)
    setWish({ index: entryOf(differenceAt(diff, next)!), align: 'start' })
  }
  useKeys((event) => {
    if (event.shiftKey || (event.key !== 'n' && event.key !== 'p')) return
    event.preventDefault()
    step(event.key === 'n' ? 1 : -1)
  })
  const onRange = useCallback(
    (first: number, last: number) => {
      see(entries.slice(first, last + 1).flatMap((entry) => ('row' in entry ? [entry.row] : [])))
    },
    [entries, see]
  )
  const keyAt = useCallback((index: number) => keyOf(entries[index]!), [entries])
  return (
    <>
      <div class="diff-bar">
        <span class="diff-counts" role="status">
          {differing === 0 && metadata.length === 0 ? (
            <b>
              Nothing differs
              {counts.same > 0 &&
                `: ${counts.same === 1 ? 'one message is' : `all ${counts.same.toLocaleString('en')} messages are`} the same`}
            </b>
          ) : (
            <>
              {KINDS.map(
                (kind) =>
                  counts[kind] > 0 && (
                    <span key={kind} class={`count ${kind}`}>
                      <b>{LABELS[kind][0]}</b> {counts[kind].toLocaleString('en')} {LABELS[kind][1]}
                    </span>
                  )
              )}
              {metadata.length > 0 && (
                <span class="count">
                  {metadata.length} {metadata.length === 1 ? 'key' : 'keys'} of the metadata
                </span>
              )}
            </>
          )}
        </span>
        {places.length > 0 && (
          <span class="diff-steps">
            <span class="quiet small">
              {difference === undefined
                ? counted(differing)
                : `difference ${(difference + 1).toLocaleString('en')} of ${differing.toLocaleString('en')}`}
              {reachable < differing && ` (the first ${reachable.toLocaleString('en')} can be gone through)`}
            </span>
            <button type="button" aria-keyshortcuts="p" title="Previous difference (p)" onClick={() => step(-1)}>
              ↑ Previous
            </button>
            <button type="button" aria-keyshortcuts="n" title="Next difference (n)" onClick={() => step(1)}>
              ↓ Next
            </button>
          </span>
        )}
      </div>
      <div class={`diff-rows ${isFresh ? '' : 'is-old'}`} aria-busy={!isFresh}>
        {length === 0 && metadata.length === 0 ? (
          <div class="empty">
            <p>Neither side has messages.</p>
          </div>
        ) : (
          <VirtualList
            count={entries.length}
            estimate={130}
            label="Rows side by side"
            keyOf={keyAt}
            scrollTo={wish}
            onRange={onRange}
          >
            {(index) => {
              const entry = entries[index]
              if (!entry) return null
              if ('metadata' in entry) return <Metadata changes={entry.metadata} diff={diff} />
              if ('row' in entry) return <Row row={rowAt(entry.row)} diff={diff} isCurrent={entry.row === currentRow} />
              return (
                <button
                  type="button"
                  class="diff-fold"
                  aria-expanded="false"
                  onClick={({ currentTarget }) => {
                    // It goes itself, but who pressed it goes on from here.
                    currentTarget.closest<HTMLElement>('.virtual')?.focus({ preventScroll: true })
                    setOpened(new Set([...opened, entry.fold]))
                  }}
                >
                  <span aria-hidden="true">⋯</span> {entry.count.toLocaleString('en')} messages are the same: show them
                </button>
              )
            }}
          </VirtualList>
        )}
      </div>
    </>
  )
}

function counted(differing: number): string {
  return differing === 1 ? 'one difference' : `${differing.toLocaleString('en')} differences`
}

const MOST_PLACES = 1_000

function keyOf(entry: { readonly row: number } | { readonly fold: number } | { readonly metadata: unknown }): string {
  return 'row' in entry ? `r${entry.row}` : 'fold' in entry ? `f${entry.fold}` : 'm'
}

/** The rows that are in view, fetched as they come there. */
function useRows(diff: Diff): {
  readonly rowAt: (row: number) => DiffRow | undefined
  readonly see: (rows: readonly number[]) => void
} {
  const [, draw] = useState(0)
  const kept = useRef<{ readonly diff: Diff; readonly rows: Map<number, DiffRow>; readonly left: AbortController }>(
    undefined
  )
  if (kept.current?.diff !== diff) {
    kept.current?.left.abort()
    const rows = new Map(diff.rows.map((row, n) => [diff.from + n, row]))
    kept.current = { diff, rows, left: new AbortController() }
  }
  const seen = useRef<readonly number[]>([])
  const isAsking = useRef<Diff>(undefined)
  const load = useCallback(async (): Promise<void> => {
    const { diff: asked, rows, left } = kept.current!
    const missing = seen.current.find((row) => !rows.has(row))
    if (missing === undefined || isAsking.current === asked) return
    isAsking.current = asked
    try {
      const { a, b } = asked
      const query = queryOf({ user: a.userId, session: a.id, at: a.version }, b)
      const more = await get<Diff>('diff', { ...query, from: missing, count: ASKED }, left.signal)
      for (const [n, row] of more.rows.entries()) rows.set(more.from + n, row)
      draw((n) => n + 1)
      isAsking.current = undefined
      if (more.rows.length > 0) await load()
    } catch {
      // Whoever scrolls on asks again.
      if (isAsking.current === asked) isAsking.current = undefined
    }
  }, [])
  const see = useCallback(
    (rows: readonly number[]) => {
      seen.current = rows
      void load()
    },
    [diff]
  )
  useEffect(() => () => kept.current?.left.abort(), [])
  return { rowAt: (row) => kept.current!.rows.get(row), see }
}

const LABELS = {
  same: ['=', 'same'],
  changed: ['~', 'changed'],
  a: ['−', 'only left'],
  b: ['+', 'only right']
} as const

const KINDS = ['same', 'changed', 'a', 'b'] as const

function Row({
  row,
  diff,
  isCurrent
}: {
  readonly row: DiffRow | undefined
  readonly diff: Diff
  readonly isCurrent: boolean
}): VNode {
  if (!row)
    return (
      <div class="diff-row" aria-busy="true">
        <span class="skeleton" />
      </div>
    )
  const { kind, a, b } = row
  if (kind === 'same') return <Same item={a!} side={diff.a} />
  const [sign, label] = LABELS[kind]
  const mark = kind === 'changed' && a?.message && b?.message && a.message.role === b.message.role
  return (
    <div class={`diff-row ${kind} ${isCurrent ? 'is-current' : ''}`}>
      <span class="sign">
        <b aria-hidden="true">{sign}</b> {label}
      </span>
      {a ? (
        <div class="cell a">
          <ItemView item={a} at={placeOf(diff.a)} mark={mark ? marksOf(b, 'a') : undefined} />
        </div>
      ) : (
        <div class="cell none" />
      )}
      {b ? (
        <div class="cell b">
          <ItemView item={b} at={placeOf(diff.b)} mark={mark ? marksOf(a, 'b') : undefined} />
        </div>
      ) : (
        <div class="cell none" />
      )}
    </div>
  )
}

// Once for both sides, and only its beginning: it is there to see where one is.
function Same({ item, side }: { readonly item: Item; readonly side: DiffSide }): VNode {
  const [isOpen, setOpen] = useState(false)
  const cell = useRef<HTMLDivElement>(null)
  const [isLong, setLong] = useState(false)
  useLayoutEffect(() => {
    const { scrollHeight = 0, clientHeight = 0 } = cell.current ?? {}
    if (!isOpen) setLong(scrollHeight > clientHeight + 8)
  }, [item, isOpen])
  return (
    <div class="diff-row same">
      <span class="sign">
        <b aria-hidden="true">=</b> same
        {(isLong || isOpen) && (
          <button type="button" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
            {isOpen ? 'Show less' : 'Show all of it'}
          </button>
        )}
      </span>
      <div ref={cell} class={`cell ${isOpen ? '' : 'is-short'} ${isLong && !isOpen ? 'fades' : ''}`}>
        <ItemView item={item} at={placeOf(side)} />
      </div>
    </div>
  )
}

function placeOf({ userId, id, version }: DiffSide): SessionPlace & { readonly at: number } {
  return { user: userId, session: id, at: version }
}

function Metadata({ changes, diff }: { readonly changes: readonly MetadataChange[]; readonly diff: Diff }): VNode {
  return (
    <div class="diff-metadata">
      <h2>Metadata</h2>
      {changes.map(({ key, a, b }) => (
        <div key={key} class={`diff-row ${a && b ? 'changed' : a ? 'a' : 'b'}`}>
          <span class="sign">
            <b aria-hidden="true">{a && b ? '~' : a ? '−' : '+'}</b>{' '}
            <code>
              <Line text={key} />
            </code>{' '}
            {a && b ? 'changed' : a ? 'only left' : 'only right'}
          </span>
          <div class={`cell ${a ? 'a' : 'none'}`}>
            {a && ((b && marked(a, b, 'a')) ?? <Value shown={a} name={key} side={diff.a} />)}
          </div>
          <div class={`cell ${b ? 'b' : 'none'}`}>
            {b && ((a && marked(b, a, 'b')) ?? <Value shown={b} name={key} side={diff.b} />)}
          </div>
        </div>
      ))}
    </div>
  )
}

function marked(
  one: NonNullable<MetadataChange['a']>,
  other: NonNullable<MetadataChange['a']>,
  side: 'a' | 'b'
): VNode | undefined {
  return one.cuts.length > 0 || other.cuts.length > 0 ? undefined : markedValue(one.value, other.value, side)
}

function Value({
  shown,
  name,
  side
}: {
  readonly shown: NonNullable<MetadataChange['a']>
  readonly name: string
  readonly side: DiffSide
}): VNode {
  const whence = { ...placeOf(side), of: 'metadata', index: 0 } as const
  return <JsonView value={shown.value} cuts={shown.cuts} whence={whence} path={[name]} />
}
