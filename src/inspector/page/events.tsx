import { useMemo, useRef } from 'preact/hooks'
import type { VNode } from 'preact'
import type { Json } from '../../json.ts'
import type { EventLine, MetadataChange, Moment } from '../wire.ts'
import { hrefOf } from './address.ts'
import { JsonView } from './json.tsx'
import { Problem } from './problem.tsx'
import { current, events, hrefOfVersion, latest } from './session-state.ts'
import { beginningOf, Line } from './text.tsx'
import { isoOf, timeOf } from './time.tsx'
import { Glyph, kindNameOf } from './track.tsx'
import { VirtualList } from './virtual-list.tsx'
import { sizeOf } from './whole-text.tsx'

/** All events of the log on lines, and the current one whole beside them. */
export function Events({ moment }: { readonly moment: Moment }): VNode {
  const last = useRef(-1)
  const index = current.value - 1
  // From far in the middle; a step scrolls no further than is needed.
  const wish = useMemo(() => {
    const align = Math.abs(index - last.current) === 1 ? ('auto' as const) : ('center' as const)
    last.current = index
    return { index, align }
  }, [index])
  return (
    <div class="split">
      <VirtualList
        class="events"
        label="Events"
        count={latest.value}
        estimate={33}
        current={index}
        scrollTo={wish}
        onRange={events.see}
      >
        {(at) => <EventRow version={at + 1} line={events.get(at)} isCurrent={at === index} />}
      </VirtualList>
      <WholeEvent moment={moment} />
    </div>
  )
}

interface EventRowProps {
  readonly version: number
  readonly line: EventLine | undefined
  readonly isCurrent: boolean
}

function EventRow({ version, line, isCurrent }: EventRowProps): VNode {
  return (
    <a
      class={`event ${isCurrent ? 'is-current' : ''}`}
      href={hrefOfVersion(version)}
      aria-current={isCurrent ? 'true' : undefined}
    >
      <span class="version">{version}</span>
      {line ? (
        <>
          <Glyph kind={line.kind} />
          <span class="type">{line.type}</span>
          <span class="what">
            {line.problem !== undefined && <Problem what={line.problem} />} <Line text={line.what} />
          </span>
          <span class="size quiet">{sizeOf(line.bytes)}</span>
          <time class="quiet" dateTime={isoOf(line.at)}>
            {timeOf(line.at)}
          </time>
        </>
      ) : (
        <span class="skeleton" style={{ width: '40%' }} />
      )}
    </a>
  )
}

/** The event of the version that is shown, as JSON. */
export function WholeEvent({ moment }: { readonly moment: Moment }): VNode {
  const { event, userId, id, version } = moment
  return (
    <section class="whole-event" aria-labelledby="whole-event" tabIndex={0}>
      <h2 id="whole-event">
        Event {version} <span class="quiet small">{event.line.type}</span>
      </h2>
      <JsonView
        key={version}
        value={event.value}
        cuts={event.cuts}
        whence={{ user: userId, session: id, at: version, of: 'event' }}
        depth={8}
      />
    </section>
  )
}

/** What the event at hand did, on a line. */
export function EventAtHand({ moment }: { readonly moment: Moment }): VNode {
  const { line } = moment.event
  const { removed, added, metadata } = moment.change
  if (isFork(moment)) return <Forked moment={moment} />
  const isChanged = isChangedInPlace(moment)
  const did = [
    removed > 0 && !isChanged && `${removed.toLocaleString('en')} taken away`,
    added > 0 &&
      !isChanged &&
      line.kind !== 'user' &&
      line.type !== 'message-appended' &&
      `${added.toLocaleString('en')} set in`
  ].filter((each) => each !== false)
  return (
    <p class="at-hand" role="status">
      <Glyph kind={line.kind} />
      <strong class={`kind-name kind-${line.kind}`}>{isChanged ? 'a message changed' : kindNameOf(line)}</strong>
      {line.kind !== 'metadata' && (
        <span class="what">
          <Line text={line.what} />
        </span>
      )}
      {metadata.length > 0 && <MetadataChanges changes={metadata} />}
      {did.length > 0 && <span class="badge warm">{did.join(', ')}</span>}
      {removed > 0 && <a href={hrefOfVersion(moment.version - 1)}>before it</a>}
      {line.toVersion !== undefined && <a href={hrefOfVersion(line.toVersion)}>version {line.toVersion}</a>}
      {line.problem !== undefined && <Problem what={line.problem} />}
      <time class="quiet small" dateTime={isoOf(line.at)} title={isoOf(line.at)}>
        {timeOf(line.at)}
      </time>
    </p>
  )
}

/** Whether the version that is shown is the first of a fork. */
export function isFork({ event, forkedFrom }: Moment): boolean {
  return event.line.type === 'created' && forkedFrom !== undefined
}

/** Whether the event has only set one message anew, as for a reply that grows. */
export function isChangedInPlace({ event, change }: Moment): boolean {
  return event.line.type === 'message-replaced' && change.removed === 1 && change.added === 1
}

/** The parent of a fork, at the version where it was forked. */
export function Parent({ moment }: { readonly moment: Moment }): VNode | null {
  const { forkedFrom } = moment
  if (!forkedFrom) return null
  const { userId: user, sessionId: session, version: at } = forkedFrom
  return (
    <a href={hrefOf({ user, session, at, view: 'conversation' })}>
      <Line text={session} /> at version {at}
    </a>
  )
}

function Forked({ moment }: { readonly moment: Moment }): VNode {
  const { count, event } = moment
  const { line } = event
  return (
    <p class="at-hand" role="status">
      <Glyph kind={line.kind} />
      <span class="what">
        <strong class={`kind-name kind-${line.kind}`}>fork</strong> of <Parent moment={moment} />, with{' '}
        {count === 1 ? 'one message' : `${count.toLocaleString('en')} messages`}; its past is there
      </span>
      <time class="quiet small" dateTime={isoOf(line.at)} title={isoOf(line.at)}>
        {timeOf(line.at)}
      </time>
    </p>
  )
}

/** So many changes have room on a line. */
const CHANGES = 4

function MetadataChanges({ changes }: { readonly changes: readonly MetadataChange[] }): VNode {
  return (
    <span class="what">
      {changes.slice(0, CHANGES).map(({ key, a, b }) => (
        <span key={key} class="metadata-change">
          <span class="quiet">
            <Line text={key} />
          </span>{' '}
          {a && (
            <del>
              <Line text={shortOf(a.value)} />
            </del>
          )}
          {a && b && ' → '}
          {b && (
            <ins>
              <Line text={shortOf(b.value)} />
            </ins>
          )}
        </span>
      ))}
      {changes.length > CHANGES && <span class="quiet">and {changes.length - CHANGES} more</span>}
    </span>
  )
}

function shortOf(value: Json): string {
  const text = JSON.stringify(value)
  return text.length <= 60 ? text : `${beginningOf(text, 59)}…`
}
