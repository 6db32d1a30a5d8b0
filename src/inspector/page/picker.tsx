import type { VNode } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { JsonObject } from '../../json.ts'
import type { Moment, SessionLine, SessionPage } from '../wire.ts'
import { Dialog } from './dialog.tsx'
import { FailureNote, Skeleton, useGet } from './loaded.tsx'
import { beginningOf, Line } from './text.tsx'
import { Time } from './time.tsx'

/** Properties of {@link Picker}. */
export interface PickerProps {
  /** What the other session is for: those of the same title or task come first. */
  readonly moment: Moment
  readonly onPick: (line: SessionLine) => void
  readonly onClose: () => void
}

/** Chooses another session of the same user. */
export function Picker({ moment, onPick, onClose }: PickerProps): VNode {
  const [search, setSearch] = useState('')
  const [typed, setTyped] = useState('')
  useEffect(() => {
    const timer = setTimeout(() => setSearch(typed), SETTLED_MS)
    return () => clearTimeout(timer)
  }, [typed])
  const { userId: user, id, title, metadata } = moment
  const task = taskOf(metadata.value)
  const all = useGet<SessionPage>('sessions', { user, search })
  // What is most like it may be far down the list.
  const ofTask = useGet<SessionPage>('sessions', task && { user, search: `${task[0]}=${task[1]}` })
  const ofTitle = useGet<SessionPage>(
    'sessions',
    title === undefined ? undefined : { user, search: beginningOf(title, 200) }
  )
  const isLike = (line: SessionLine): boolean =>
    (title !== undefined && line.title === title) ||
    (task !== undefined && line.facts.some(([key, value]) => key === task[0] && value === task[1])) ||
    (line.forkedFrom?.sessionId === id && line.forkedFrom.userId === user) ||
    line.id === moment.forkedFrom?.sessionId
  const byId = new Map<string, SessionLine>()
  const found = all.value?.sessions ?? []
  const like = search === '' ? [...(ofTask.value?.sessions ?? []), ...(ofTitle.value?.sessions ?? []), ...found] : found
  for (const line of like) if (line.id !== id && isLike(line)) byId.set(line.id, line)
  const others = found.filter((line) => line.id !== id && !byId.has(line.id))
  const list = useRef<HTMLDivElement>(null)
  const isEmpty = byId.size === 0 && others.length === 0
  return (
    <Dialog title="Compare with another session" onClose={onClose} class="picker">
      <input
        type="search"
        aria-label="Search sessions by title, id or fact"
        placeholder="Search by title, id or fact"
        autofocus
        spellcheck={false}
        autocomplete="off"
        value={typed}
        onInput={({ currentTarget }) => setTyped(currentTarget.value)}
        onKeyDown={(event) => {
          const [first] = list.current?.querySelectorAll('button') ?? []
          if (event.key === 'ArrowDown') first?.focus()
          else if (event.key === 'Enter' && typed === search && all.isFresh) first?.click()
          else return
          event.preventDefault()
        }}
      />
      <div
        class="picker-list"
        ref={list}
        tabIndex={-1}
        aria-busy={!all.isFresh}
        onKeyDown={(event) => {
          const by = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0
          if (by === 0) return
          event.preventDefault()
          const buttons = [...(list.current?.querySelectorAll('button') ?? [])]
          buttons[buttons.indexOf(document.activeElement as HTMLButtonElement) + by]?.focus()
        }}
      >
        {all.error && all.isFresh ? (
          <FailureNote error={all.error} onRetry={all.reload} />
        ) : !all.value ? (
          <Skeleton lines={5} />
        ) : isEmpty ? (
          <p class="quiet picker-none">
            {search === '' ? 'This user has no other session.' : `No other session matches “${search}”.`}
          </p>
        ) : (
          <>
            <Group heading="Most like it" lines={[...byId.values()]} onPick={onPick} />
            <Group heading={byId.size > 0 ? 'Others' : 'Sessions'} lines={others} onPick={onPick} />
            {all.value.after !== undefined && <p class="quiet small picker-none">There are more: search for them.</p>}
          </>
        )}
      </div>
    </Dialog>
  )
}

const SETTLED_MS = 150

function Group({
  heading,
  lines,
  onPick
}: {
  readonly heading: string
  readonly lines: readonly SessionLine[]
  readonly onPick: (line: SessionLine) => void
}): VNode | null {
  if (lines.length === 0) return null
  return (
    <section>
      <h3 class="quiet">{heading}</h3>
      <ul>
        {lines.map((line) => (
          <li key={line.id}>
            <button type="button" onClick={() => onPick(line)}>
              <b>
                <Line text={line.title ?? line.id} />
              </b>
              <span class="picker-facts">
                <span class="mono">
                  <Line text={line.id} />
                </span>
                {line.facts.map(([key, value]) => (
                  <span key={key} class="chip">
                    <Line text={key} /> <b>{<Line text={value} />}</b>
                  </span>
                ))}
                <span class="quiet">
                  version {line.version}, <Time at={line.updatedAt} />
                </span>
              </span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  )
}

// What the run was about, in whatever words: `task_id`, `taskId`, `task`.
function taskOf(metadata: JsonObject): readonly [string, string] | undefined {
  const { facts } = metadata
  const within = typeof facts === 'object' && facts !== null && !Array.isArray(facts) ? (facts as JsonObject) : {}
  for (const [key, value] of [...Object.entries(metadata), ...Object.entries(within)])
    if (/^task/i.test(key) && (typeof value === 'string' || typeof value === 'number'))
      return [key, beginningOf(String(value), 60)]
  return undefined
}
