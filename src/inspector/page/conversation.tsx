import { useEffect, useMemo, useRef } from 'preact/hooks'
import type { VNode } from 'preact'
import type { Change, Item, Moment } from '../wire.ts'
import { change } from './address.ts'
import { isChangedInPlace, isFork, Parent } from './events.tsx'
import { ItemView } from './message.tsx'
import { hrefOfVersion, jumpTo, latest, messages, rawItems, scrollWish, seeMessages, target } from './session-state.ts'
import { found, foundAt, goToFound } from './search.ts'
import { VirtualList } from './virtual-list.tsx'

/** The messages at the version that is shown; `isRaw`: as they are stored. */
export function Conversation({ moment, isRaw = false }: { readonly moment: Moment; readonly isRaw?: boolean }): VNode {
  const { count, change: what, version } = moment
  const items = isRaw ? rawItems : messages
  // What is not looked at is not fetched.
  useEffect(() => () => items.see(0, -1), [items])
  if (count === 0)
    return (
      <div class="empty">
        <Removed what={what} version={version} />
        <h2>{moment.isLive ? 'No messages yet' : 'Deleted'}</h2>
        <p>
          {moment.isLive
            ? `At version ${version} the session has no messages.`
            : `The session was deleted at version ${version}. The versions before it are still there.`}
        </p>
      </div>
    )
  const isInherited = isFork(moment)
  const isChanged = isChangedInPlace(moment)
  const isNew = (index: number): boolean => !isInherited && index >= what.at && index < what.at + what.added
  return (
    <VirtualList
      class="conversation"
      label={isRaw ? 'Items as they are stored' : 'Conversation'}
      role="feed"
      count={count}
      estimate={110}
      current={what.added > 0 && !isInherited ? what.at : undefined}
      scrollTo={scrollWish.value}
      onRange={isRaw ? rawItems.see : seeMessages}
    >
      {(index) => (
        <Row
          index={index}
          item={items.get(index)}
          at={(moment.isBrief ? undefined : items.sinceOf(index)) ?? version}
          isProvisional={moment.isBrief === true}
          user={moment.userId}
          session={moment.id}
          isRaw={isRaw}
          isNew={isNew(index)}
          hasNewOutput={isNew}
          removed={
            isInherited && index === 0 ? (
              <Inherited moment={moment} />
            ) : what.removed > 0 && !isChanged && (index === what.at || (what.at >= count && index === count - 1)) ? (
              <Removed what={what} version={version} />
            ) : undefined
          }
          isRemovedAfter={what.at >= count}
          how={isChanged ? 'changed by this event' : what.removed > 0 ? 'in its place' : 'added by this event'}
        />
      )}
    </VirtualList>
  )
}

interface RowProps {
  readonly index: number
  readonly item: Item | undefined
  readonly user: string
  readonly session: string
  /** A version at which it is as it is. */
  readonly at: number
  readonly isRaw: boolean
  /** Neither its place nor what belongs to it is known yet. */
  readonly isProvisional: boolean
  readonly isNew: boolean
  readonly hasNewOutput: (index: number) => boolean
  readonly removed: VNode | undefined
  readonly isRemovedAfter: boolean
  /** What the event did where it is new. */
  readonly how: string
}

function Row(props: RowProps): VNode {
  const { index, item, user, session, at, isRaw, isProvisional, isNew, hasNewOutput, removed, isRemovedAfter, how } =
    props
  const isTarget = target.value === index
  const outputs = Object.values(item?.outputs ?? {})
  const newOutput = outputs.find(({ message }) => hasNewOutput(message))?.message
  // Drawn again only where it is another: a step of the timeline changes few of those in view.
  const view = useMemo(
    () =>
      item && (
        <ItemView
          item={item}
          at={{ user, session, at }}
          isRaw={isRaw}
          near={isRaw || isProvisional ? undefined : nearby}
          sinceOf={isRaw ? undefined : sinceOf}
          onJump={isRaw ? undefined : jumpTo}
          isNew={(message) => message === newOutput}
        />
      ),
    [item, user, session, at, isRaw, isProvisional, newOutput]
  )
  return (
    <div class={`row ${isNew ? 'is-new' : ''} ${isTarget ? 'is-target' : ''} ${isProvisional ? 'is-provisional' : ''}`}>
      {!isRemovedAfter && removed}
      {isNew && <span class="what-new">{how}</span>}
      {view ?? (
        <div class="item waiting" aria-busy="true">
          <span class="skeleton" style={{ width: '5rem' }} />
          <span class="skeleton" style={{ width: '70%' }} />
          <span class="skeleton" style={{ width: '45%' }} />
        </div>
      )}
      {isRemovedAfter && removed}
    </div>
  )
}

function nearby(index: number): Item | undefined {
  return messages.get(index)
}

function sinceOf(index: number): number | undefined {
  return messages.sinceOf(index)
}

function Removed({ what, version }: { readonly what: Change; readonly version: number }): VNode | null {
  if (what.removed === 0) return null
  return (
    <p class="removed">
      {what.removed === 1 ? 'A message was' : `${what.removed.toLocaleString('en')} messages were`}{' '}
      {what.added > 0 ? 'replaced' : 'taken away'} here:{' '}
      <a href={hrefOfVersion(version - 1)}>look at version {version - 1}</a>
    </p>
  )
}

function Inherited({ moment }: { readonly moment: Moment }): VNode {
  const { count } = moment
  return (
    <p class="inherited">
      {count === 1 ? 'This message is' : `These ${count.toLocaleString('en')} messages are`} of{' '}
      <Parent moment={moment} />: how they came about is told there.
    </p>
  )
}

/** Looks for a text in the conversation. */
export function Search({ text }: { readonly text: string }): VNode {
  const field = useRef<HTMLInputElement>(null)
  // As it is typed, until it is in the address.
  useEffect(() => {
    if (field.current && document.activeElement !== field.current) field.current.value = text
  }, [text])
  const known = found.value
  const isKnown = known?.text === text.trim() && text.trim() !== ''
  const count = known?.messages.length ?? 0
  const many = known?.next === undefined ? '' : '+'
  return (
    <form
      class="find"
      role="search"
      onSubmit={(event) => {
        event.preventDefault()
        goToFound(1)
      }}
    >
      <input
        ref={field}
        id="find"
        type="search"
        placeholder="Find in the conversation"
        aria-label="Find in the conversation"
        defaultValue={text}
        onInput={(event) => change({ search: event.currentTarget.value }, { replace: true })}
        onKeyDown={(event) => {
          if (event.key !== 'Enter' || !event.shiftKey) return
          event.preventDefault()
          goToFound(-1)
        }}
      />
      {text.trim() !== '' && (
        <>
          <span class="small quiet" role="status">
            {!isKnown
              ? '…'
              : count === 0
                ? `nothing found${known.at < latest.value ? ` at version ${known.at}` : ''}`
                : `${foundAt.value + 1} of ${count.toLocaleString('en')}${many}`}
          </span>
          <button
            type="button"
            class="plain icon"
            aria-label="Match before"
            title="Match before (Shift+Enter)"
            onClick={() => goToFound(-1)}
          >
            ↑
          </button>
          <button type="submit" class="plain icon" aria-label="Next match" title="Next match (Enter)">
            ↓
          </button>
        </>
      )}
    </form>
  )
}
