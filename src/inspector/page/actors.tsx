import './actors.css'
import type { VNode } from 'preact'
import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import type { ActorEvent, ActorLine, Actors as Update } from '../wire.ts'
import { change, hrefOf, place } from './address.ts'
import { about, listen } from './client.ts'
import { Skeleton } from './loaded.tsx'
import { Line, plain } from './text.tsx'
import { isoOf, isTime } from './time.tsx'
import { VirtualList } from './virtual-list.tsx'

/** The actors of the service that run, and what they were sent last. */
export function Actors(): VNode {
  useEffect(() => {
    document.title = 'Actors · turnlog'
    return () => {
      document.title = 'turnlog'
    }
  }, [])
  return about.value?.actors === false ? <NoActors /> : <Running />
}

function NoActors(): VNode {
  return (
    <div class="empty">
      <h1>The actors cannot be seen from here</h1>
      <p>
        Each session that is in use is run by an actor. To watch them, start the inspector in the process that they run
        in, with an actor log:
      </p>
      <pre>{`import { ActorLog, startInspector } from 'turnlog/inspector'

const actors = new ActorLog()
const history = await createSessionHistory({ store, inspect: actors })
const inspector = await startInspector(history, { actors })`}</pre>
    </div>
  )
}

interface Seen {
  readonly running: number
  readonly actors: readonly ActorLine[]
  /** The newest first. */
  readonly events: readonly ActorEvent[]
}

/** So many events are kept. */
const KEPT = 2_000

function Running(): VNode {
  const [isPaused, setPaused] = useState(false)
  const [shown, setShown] = useState<Seen>()
  const [isConnected, setConnected] = useState(false)
  const newest = useRef<Seen>(undefined)
  const paused = useRef(isPaused)
  paused.current = isPaused
  // Whoever reads further down is left there.
  const isBelow = useRef(false)
  const show = (): void =>
    setShown((before) => (isBelow.current && before ? { ...newest.current!, events: before.events } : newest.current))
  const onRange = useCallback((first: number) => {
    isBelow.current = first > 0
    if (first === 0 && !paused.current && newest.current) show()
  }, [])
  useEffect(() => {
    // After a while without a connection it begins anew, perhaps with those of another process.
    let isNew = true
    return listen(
      'actors',
      {},
      {
        actors(data) {
          const { running, actors, events } = data as Update
          const before = isNew ? [] : (newest.current?.events ?? [])
          isNew = false
          newest.current = { running, actors, events: [...events.toReversed(), ...before].slice(0, KEPT) }
          if (!paused.current) show()
        }
      },
      (is) => {
        setConnected(is)
        if (!is) isNew = true
      }
    )
  }, [])
  const search = place.value.search ?? ''
  const sought = search.trim().toLowerCase()
  const has = (...texts: readonly string[]): boolean => texts.some((text) => text.toLowerCase().includes(sought))
  const actors = shown?.actors.filter(({ id, ref, status }) => has(id, ref, status)) ?? []
  const events = shown?.events.filter(({ id, ref, type }) => has(id, ref, type)) ?? []
  const keyAt = useCallback((index: number) => events[index]!.number, [shown, search])
  const find = (text: string): void => change({ search: text === '' ? undefined : text }, { replace: true })
  return (
    <div class="actors-page">
      <div class="actors-head">
        <div>
          <h1>Actors</h1>
          <p class="quiet small">
            Each session that is in use is run by an actor of its own, which takes what is written one after another;
            the registry starts them and lets them go when they rest.
          </p>
        </div>
        <span class="quiet small" role="status">
          {isPaused ? 'Paused' : isConnected ? 'Live' : 'Connecting …'}
        </span>
        <span class="list-search">
          <input
            type="search"
            aria-label="Filter by id, status or event"
            placeholder="Filter by id, status or event"
            spellcheck={false}
            autocomplete="off"
            value={search}
            onInput={({ currentTarget }) => find(currentTarget.value)}
          />
          {search !== '' && (
            <button type="button" aria-label="Clear the filter" onClick={() => find('')}>
              ✕
            </button>
          )}
        </span>
        <button
          type="button"
          aria-pressed={isPaused}
          onClick={() => {
            setPaused(!isPaused)
            if (isPaused) show()
          }}
        >
          {isPaused ? 'Go on' : 'Pause'}
        </button>
      </div>
      <div class="actors-panes">
        <section class="panel actors-pane" aria-labelledby="running-actors">
          <h2 id="running-actors">
            Running <span class="quiet small">{shown && countOf(actors.length, shown.running, search !== '')}</span>
          </h2>
          <div class="actors-scroll" tabIndex={0} role="group" aria-labelledby="running-actors">
            {!shown ? (
              <Skeleton lines={4} />
            ) : actors.length === 0 ? (
              <p class="empty">
                {search === '' ? 'No actor runs: no session is in use.' : `No actor matches “${search}”.`}
              </p>
            ) : (
              <table>
                <thead>
                  <tr>
                    <th scope="col">Actor</th>
                    <th scope="col">Status</th>
                    <th scope="col" class="number">
                      Version
                    </th>
                    <th scope="col" class="number">
                      Waiting
                    </th>
                    <th scope="col" class="number">
                      Events
                    </th>
                  </tr>
                </thead>
                <tbody>
                  {actors.map((actor) => (
                    <Actor key={actor.ref} actor={actor} />
                  ))}
                </tbody>
              </table>
            )}
          </div>
        </section>
        <section class="panel actors-pane" aria-labelledby="actor-events">
          <h2 id="actor-events">
            Events <span class="quiet small">{shown && `the newest first, ${events.length.toLocaleString('en')}`}</span>
          </h2>
          {shown && events.length === 0 ? (
            <p class="empty">{search === '' ? 'Nothing has happened yet.' : `No event matches “${search}”.`}</p>
          ) : (
            <VirtualList count={events.length} estimate={30} label="Events" onRange={onRange} keyOf={keyAt}>
              {(index) => events[index] && <EventLine event={events[index]} />}
            </VirtualList>
          )}
        </section>
      </div>
    </div>
  )
}

function countOf(shown: number, running: number, isFiltered: boolean): string {
  if (isFiltered) return `${shown.toLocaleString('en')} of ${running.toLocaleString('en')}`
  return shown < running
    ? `${running.toLocaleString('en')}, of which the ${shown.toLocaleString('en')} that did something last`
    : running.toLocaleString('en')
}

function Actor({ actor }: { readonly actor: ActorLine }): VNode {
  const { ref, id, status, version, waiting, events } = actor
  const [user, session, ...more] = id.split('/')
  // Where ids have slashes, which is which cannot be told.
  const isSession = session !== undefined && more.length === 0
  const state =
    (waiting ?? 0) > 0 || ['loading', 'storing', 'purging'].includes(status)
      ? 'is-busy'
      : status === ''
        ? ''
        : 'is-ready'
  return (
    <tr>
      <td>
        {isSession ? (
          <a href={hrefOf({ user, session })}>
            <Line text={id} />
          </a>
        ) : (
          <Line text={id} />
        )}{' '}
        <span class="quiet mono">{<Line text={ref} />}</span>
      </td>
      <td>
        <span class={`state-dot ${state}`} aria-hidden="true" />
        {status === '' ? 'runs' : <Line text={status} />}
      </td>
      <td class="number">{version?.toLocaleString('en')}</td>
      <td class="number">{waiting?.toLocaleString('en')}</td>
      <td class="number">{events.toLocaleString('en')}</td>
    </tr>
  )
}

const CLOCK = new Intl.DateTimeFormat('en', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  fractionalSecondDigits: 3,
  hourCycle: 'h23'
})

function EventLine({ event }: { readonly event: ActorEvent }): VNode {
  const { at, id, type } = event
  return (
    <div class="actor-event">
      <time dateTime={isoOf(at)}>{isTime(at) ? CLOCK.format(at) : String(at)}</time>
      <b title={plain(type)}>
        <Line text={type} />
      </b>
      <span title={plain(id)}>
        <Line text={id} />
      </span>
    </div>
  )
}
