import { useSignal } from '@preact/signals'
import type { VNode } from 'preact'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import type { Kind, Outline } from '../wire.ts'
import { place } from './address.ts'
import {
  current,
  detail,
  goTo,
  isListening,
  isPlaying,
  latest,
  moment,
  news,
  overview,
  pointedAt,
  wanted
} from './session-state.ts'
import { Problem } from './problem.tsx'
import { beginningOf, Line } from './text.tsx'
import { goToNotable, speed, SPEEDS, togglePlay } from './travel.ts'
import { Glyph, heightOf, KIND_NAMES, kindNameOf, LANE_NAMES, Track, type TrackSize } from './track.tsx'

/** Sizes of the tracks: where each event is seen, and where there are too many. */
const FINE: TrackSize = { top: 18, lane: 13 }
const COARSE: TrackSize = { top: 12, lane: 6 }
/** The same where there is little room. */
const LOW_FINE: TrackSize = { top: 15, lane: 9 }
const LOW_COARSE: TrackSize = { top: 11, lane: 3 }
const NARROW = 640
/** How wide an event is where there are too many for all to be seen. */
const EVENT_WIDTH = 11
/** Up to so many events are seen singly in one track. */
const FEW = 150

/** All versions of the session, on which the reader goes from one to another. */
export function Timeline(): VNode {
  const frame = useRef<HTMLDivElement>(null)
  const [width, setWidth] = useState(0)
  useLayoutEffect(() => {
    const measure = (): void => setWidth(Math.floor(frame.current!.clientWidth))
    const observer = new ResizeObserver(measure)
    observer.observe(frame.current!)
    measure()
    return () => observer.disconnect()
  }, [])
  const all = overview.value
  const isFew = latest.value <= FEW
  const isNarrow = width < NARROW
  const [fine, coarse] = isNarrow ? [LOW_FINE, LOW_COARSE] : [FINE, COARSE]
  return (
    <section class="timeline" aria-label="Timeline">
      <div class="tracks">
        <div
          class="lanes"
          aria-hidden="true"
          style={{ paddingTop: `${(isFew ? 0 : heightOf(coarse) + 7) + fine.top}px` }}
        >
          {LANE_NAMES.map((name) => (
            <span key={name} style={{ height: `${fine.lane + 1}px` }}>
              {name}
            </span>
          ))}
        </div>
        <Slider>
          <div ref={frame} class={`frame ${isFew ? 'few' : 'many'} ${isNarrow ? 'low' : ''}`}>
            {all && width > 0 ? (
              isFew ? (
                <Lane outline={all} from={1} to={latest.value} width={width} size={fine} />
              ) : (
                <>
                  <Lane outline={all} from={1} to={latest.value} width={width} size={coarse} frame={nearBy(width)} />
                  <Near width={width} size={fine} />
                </>
              )
            ) : (
              <span class="skeleton" />
            )}
          </div>
        </Slider>
      </div>
      <Controls />
    </section>
  )
}

function Slider({ children }: { readonly children: VNode }): VNode {
  const shown = moment.value
  const said = shown?.version === current.value ? `: ${kindNameOf(shown.event.line)}, ${shown.event.line.what}` : ''
  return (
    <div
      id="slider"
      class="slider"
      role="slider"
      tabIndex={0}
      aria-label="Version"
      aria-orientation="horizontal"
      aria-valuemin={1}
      aria-valuemax={Math.max(1, latest.value)}
      aria-valuenow={Math.max(1, current.value)}
      aria-valuetext={`version ${current.value} of ${latest.value}${said}`}
    >
      {children}
    </div>
  )
}

// The events around the current one, each wide enough to be met.
function Near({ width, size }: { readonly width: number; readonly size: TrackSize }): VNode {
  const known = detail.value
  const { from, to } = nearBy(width)
  // What it has of the versions is drawn, until it has all.
  return known ? (
    <Lane outline={known} from={from} to={to} width={width} size={size} isNear />
  ) : (
    <span class="skeleton" style={{ height: `${heightOf(size)}px` }} />
  )
}

function nearBy(width: number): { readonly from: number; readonly to: number } {
  const count = Math.max(1, Math.min(Math.floor(width / EVENT_WIDTH), latest.value))
  const middle = current.value - Math.floor(count / 2)
  const from = Math.max(1, Math.min(middle, latest.value - count + 1))
  return { from, to: from + count - 1 }
}

interface LaneProps {
  readonly outline: Outline
  readonly from: number
  readonly to: number
  readonly width: number
  readonly size: TrackSize
  readonly isNear?: boolean
  /** Which of the versions are seen nearer below. */
  readonly frame?: { readonly from: number; readonly to: number }
}

// A track that is clicked and dragged on.
function Lane({ outline, from, to, width, size, isNear = false, frame }: LaneProps): VNode {
  const pointed = useSignal<number | undefined>(undefined)
  const dragged = useSignal<{ readonly from: number; readonly to: number } | undefined>(undefined)
  const count = to - from + 1
  const left = (version: number): number => ((version - from) / count) * width
  const versionAt = (event: PointerEvent): number => {
    // What is dragged on does not move away under the pointer.
    const { from: first, to: last } = dragged.peek() ?? { from, to }
    const { left: start, width: wide } = (event.currentTarget as Element).getBoundingClientRect()
    const share = Math.max(0, Math.min(1, (event.clientX - start) / wide))
    return Math.min(last, first + Math.floor(share * (last - first + 1)))
  }
  const version = Math.max(from, Math.min(current.value, to))
  const shown = dragged.value ?? { from, to }
  const wide = Math.max(3, Math.ceil(width / count))
  return (
    <div
      class={`lane ${isNear ? 'near' : ''}`}
      style={{ height: `${heightOf(size)}px` }}
      onPointerDown={(event) => {
        if (event.button !== 0) return
        isPlaying.value = false
        event.currentTarget.setPointerCapture(event.pointerId)
        dragged.value = { from, to }
        goTo(versionAt(event), { isStep: true })
      }}
      onPointerMove={(event) => {
        const at = versionAt(event)
        if (dragged.peek()) {
          if (at !== current.peek()) goTo(at)
        } else if (at !== pointed.peek()) pointed.value = at
      }}
      onPointerUp={() => (dragged.value = undefined)}
      onPointerCancel={() => (dragged.value = undefined)}
      onPointerLeave={() => (pointed.value = undefined)}
    >
      <Drawing outline={outline} from={shown.from} to={shown.to} width={width} {...size} />
      {frame && (
        <div
          class="near-frame"
          style={{ left: `${left(frame.from)}px`, width: `${left(frame.to + 1) - left(frame.from)}px` }}
        />
      )}
      <div
        class="thumb"
        style={{
          width: `${wide}px`,
          transform: `translateX(${Math.min(((version - shown.from) / count) * width, width - wide)}px)`
        }}
      />
      {pointed.value !== undefined && <Tip version={pointed.value} x={left(pointed.value) + wide / 2} width={width} />}
    </div>
  )
}

// Drawn again only where it is another.
function Drawing(props: Parameters<typeof Track>[0]): VNode {
  const kept = useRef<{ readonly key: string; readonly outline: Outline; readonly node: VNode }>(undefined)
  const { outline, from, to, width } = props
  const key = `${from} ${to} ${width}`
  if (kept.current?.key !== key || kept.current.outline !== outline)
    kept.current = { key, outline, node: <Track {...props} /> }
  return kept.current.node
}

function Tip({ version, x, width }: { readonly version: number; readonly x: number; readonly width: number }): VNode {
  useEffect(() => pointedAt.see(version - 1, version - 1), [version])
  const line = pointedAt.get(version - 1)
  const isLeft = x > width / 2
  return (
    <div class="tip" aria-hidden="true" style={isLeft ? { right: `${width - x}px` } : { left: `${x}px` }}>
      <strong>{version}</strong>{' '}
      {line && (
        <>
          <span class={`kind-name kind-${line.kind}`}>{kindNameOf(line)}</span>{' '}
          <Line text={beginningOf(line.what, 120)} />
          {line.problem !== undefined && <Problem what={line.problem} />}
        </>
      )}
    </div>
  )
}

function Controls(): VNode {
  const version = current.value
  const last = latest.value
  const step = (to: number) => () => {
    isPlaying.value = false
    goTo(to)
  }
  return (
    <div class="controls">
      <div class="buttons" role="group" aria-label="Steps">
        <Button
          name="First version"
          keys="Home"
          isOff={version <= 1}
          onClick={step(1)}
          icon="M4 3h2v10H4zM14 3v10L7 8z"
        />
        <Button
          name="Notable event before"
          keys="["
          isOff={version <= 1}
          onClick={() => void goToNotable(-1)}
          icon="M8 3v10L2 8zM14 3v10L8 8z"
        />
        <Button name="Version before" keys="←" isOff={version <= 1} onClick={step(version - 1)} icon="M11 3v10L5 8z" />
        <Button
          name={isPlaying.value ? 'Pause' : 'Play'}
          keys="Space"
          isOff={last <= 1}
          onClick={togglePlay}
          icon={isPlaying.value ? 'M4 3h3v10H4zM9 3h3v10H9z' : 'M4 2.5v11l9-5.5z'}
        />
        <Button name="Next version" keys="→" isOff={version >= last} onClick={step(version + 1)} icon="M5 3v10l6-5z" />
        <Button
          name="Next notable event"
          keys="]"
          isOff={version >= last}
          onClick={() => void goToNotable(1)}
          icon="M2 3v10l6-5zM8 3v10l6-5z"
        />
        <Button
          name="Newest version"
          keys="End"
          isOff={wanted.value === undefined}
          onClick={step(last)}
          icon="M10 3h2v10h-2zM2 3v10l7-5z"
        />
      </div>
      <VersionField />
      <label class="speed">
        <span class="quiet">Speed</span>{' '}
        <select value={String(speed.value)} onChange={(event) => (speed.value = Number(event.currentTarget.value))}>
          {SPEEDS.map((each) => (
            <option key={each} value={String(each)}>
              {each} a second
            </option>
          ))}
        </select>
      </label>
      <Tail />
      <Legend />
    </div>
  )
}

interface ButtonProps {
  readonly name: string
  readonly keys: string
  readonly isOff: boolean
  readonly onClick: () => void
  readonly icon: string
}

function Button({ name, keys, isOff, onClick, icon }: ButtonProps): VNode {
  return (
    <button
      type="button"
      class="plain icon"
      aria-label={name}
      title={`${name} (${keys})`}
      aria-disabled={isOff}
      onClick={() => isOff || onClick()}
    >
      <svg width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">
        <path fill="currentColor" d={icon} />
      </svg>
    </button>
  )
}

function VersionField(): VNode {
  const field = useRef<HTMLInputElement>(null)
  const version = String(current.value)
  // What is typed stays until it is done.
  useLayoutEffect(() => {
    if (document.activeElement !== field.current) field.current!.value = version
  }, [version])
  const take = (isStep: boolean): void => {
    const given = Number(field.current!.value)
    if (Number.isFinite(given) && given >= 1) goTo(given, { isStep })
    field.current!.value = String(current.peek())
  }
  // The browser tells of the change before it submits.
  const isEntered = useRef(false)
  return (
    <form
      class="version-field"
      onSubmit={(event) => {
        event.preventDefault()
        take(true)
        isEntered.current = false
      }}
    >
      <label>
        <span class="quiet">Version</span>{' '}
        <input
          name="version"
          aria-label="Version"
          type="number"
          inputMode="numeric"
          min={1}
          max={Math.max(1, latest.value)}
          ref={field}
          style={{ width: `${Math.max(3, String(latest.value).length) + 3.2}ch` }}
          onKeyDown={({ key }) => (isEntered.current = key === 'Enter')}
          onChange={() => take(isEntered.current)}
          onBlur={() => (field.current!.value = String(current.peek()))}
        />
      </label>{' '}
      <span class="quiet">of {latest.value.toLocaleString('en')}</span>
    </form>
  )
}

// Whether it follows, and what is new where it does not.
function Tail(): VNode {
  if (wanted.value === undefined)
    return (
      <span class={`tail ${isListening.value ? 'on' : ''}`} role="status">
        {isListening.value ? 'Following' : moment.value?.damagedAt === undefined ? 'Connecting…' : 'Damaged after it'}
      </span>
    )
  const count = news.value
  return (
    <button
      type="button"
      class={`tail ${count > 0 ? 'primary' : ''}`}
      onClick={() => {
        // It goes itself, but who pressed it goes on from here.
        document.getElementById('slider')?.focus({ preventScroll: true })
        goTo(latest.value, { isStep: true })
      }}
    >
      {count > 0 ? `${count.toLocaleString('en')} new ${count === 1 ? 'event' : 'events'}` : 'To the newest'}
    </button>
  )
}

function Legend(): VNode {
  const kinds = Object.keys(KIND_NAMES) as Kind[]
  const details = useRef<HTMLDetailsElement>(null)
  const { view } = place.value
  useEffect(() => {
    details.current!.open = false
  }, [view])
  useEffect(() => {
    const element = details.current!
    const close = ({ target }: Event): void => {
      if (target instanceof Node && !element.contains(target)) element.open = false
    }
    const onKey = (event: KeyboardEvent): void => {
      if (event.key !== 'Escape' || !element.open) return
      event.preventDefault()
      element.open = false
      if (element.contains(document.activeElement)) element.querySelector('summary')!.focus()
    }
    document.addEventListener('pointerdown', close)
    document.addEventListener('focusin', close)
    document.addEventListener('keydown', onKey)
    return () => {
      document.removeEventListener('pointerdown', close)
      document.removeEventListener('focusin', close)
      document.removeEventListener('keydown', onKey)
    }
  }, [])
  return (
    <details class="legend" ref={details}>
      <summary>Legend</summary>
      <div class="panel">
        <ul>
          {kinds.map((kind) => (
            <li key={kind}>
              <Glyph kind={kind} /> {KIND_NAMES[kind]}
            </li>
          ))}
          <li>
            <Glyph kind="problem" /> a problem
          </li>
        </ul>
        <p class="small">An arc goes from a rewind to the version it went back to; a band is a turn.</p>
        <p class="small">
          <kbd>←</kbd> <kbd>→</kbd> step, <kbd>[</kbd> <kbd>]</kbd> go to what is notable, <kbd>Home</kbd>{' '}
          <kbd>End</kbd> <kbd>Page ↓</kbd> <kbd>Page ↑</kbd> go far, <kbd>Space</kbd> plays, <kbd>1</kbd> to{' '}
          <kbd>5</kbd> change the view, <kbd>/</kbd> searches.
        </p>
      </div>
    </details>
  )
}
