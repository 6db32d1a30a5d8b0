import {
  defaultKeyExtractor,
  elementScroll,
  measureElement,
  observeElementOffset,
  observeElementRect,
  Virtualizer
} from '@tanstack/virtual-core'
import type { ComponentChildren, VNode } from 'preact'
import { useEffect, useLayoutEffect, useReducer, useRef } from 'preact/hooks'

/** Where a list is to be scrolled to: another object is another wish. */
export interface ScrollWish {
  readonly index: number
  /** @default 'auto': no further than is needed to see it */
  readonly align?: 'auto' | 'start' | 'center' | 'end'
}

/** Properties of {@link VirtualList}. */
export interface VirtualListProps {
  readonly count: number
  /** Whether there are others that are not here yet. */
  readonly hasMore?: boolean | undefined
  /** How high an entry is, in pixels, as long as it was not seen. */
  readonly estimate: number
  readonly children: (index: number) => ComponentChildren
  /** What the list is called. */
  readonly label: string
  /**
   * `feed`: entries are articles.
   * @default 'list'
   */
  readonly role?: 'list' | 'feed' | undefined
  readonly class?: string | undefined
  /** By default its place. Where it is another function, all entries are measured again: it has to be the same one from one drawing to the next. */
  readonly keyOf?: ((index: number) => string | number) | undefined
  /** Which entry is the current one. */
  readonly current?: number | undefined
  /** Scrolled to when it becomes another object. */
  readonly scrollTo?: ScrollWish | undefined
  /** Told which entries are in view, whenever it is others. */
  readonly onRange?: ((first: number, last: number) => void) | undefined
}

/** A list that scrolls by itself, and of which only what is in view is in the document. Entries are as high as they are. */
export function VirtualList(props: VirtualListProps): VNode {
  const { count, estimate, children, label, role = 'list', keyOf, current, scrollTo, onRange } = props
  const scroller = useRef<HTMLDivElement>(null)
  const [, draw] = useReducer((n: number, _: undefined) => n + 1, 0)
  const options = {
    count,
    estimateSize: () => estimate,
    getItemKey: keyOf ?? defaultKeyExtractor,
    getScrollElement: () => scroller.current,
    observeElementRect,
    observeElementOffset,
    scrollToFn: elementScroll,
    measureElement,
    overscan: 4,
    onChange: () => draw(undefined)
  }
  const kept = useRef<Virtualizer<HTMLDivElement, HTMLDivElement>>(null)
  const list = (kept.current ??= new Virtualizer<HTMLDivElement, HTMLDivElement>(options))
  list.setOptions(options)
  // Before what is drawn is seen. They are what the library has for frameworks, and called so by its own.
  // oxlint-disable no-underscore-dangle
  useLayoutEffect(() => list._didMount(), [list])
  useLayoutEffect(() => list._willUpdate())
  // oxlint-enable no-underscore-dangle
  // Kept in place while entries become as high as they are, until the reader scrolls.
  const held = useRef<ScrollWish>(undefined)
  useLayoutEffect(() => {
    held.current = scrollTo
  }, [scrollTo])
  const height = list.getTotalSize()
  useLayoutEffect(() => {
    const wish = held.current
    if (wish && wish.index >= 0 && wish.index < count) list.scrollToIndex(wish.index, { align: wish.align ?? 'auto' })
  }, [scrollTo, height])
  const hold = (wish: ScrollWish): void => {
    held.current = wish
    list.scrollToIndex(wish.index, { align: wish.align ?? 'auto' })
  }
  const free = (): void => {
    held.current = undefined
    list.cancelScroll()
  }
  const onKey = (event: KeyboardEvent): void => {
    const isPlain = !event.metaKey && !event.ctrlKey && !event.altKey && !event.shiftKey
    const isEnd = event.key === 'End'
    if (event.defaultPrevented || !isPlain || (!isEnd && event.key !== 'Home') || isField(event.target)) return free()
    // The browser would go to where the end is now, and the list grows while it is drawn.
    event.preventDefault()
    hold(isEnd ? { index: count - 1, align: 'end' } : { index: 0, align: 'start' })
  }

  const { startIndex = 0, endIndex = -1 } = list.range ?? {}
  useEffect(() => {
    if (endIndex >= startIndex) onRange?.(startIndex, endIndex)
  }, [startIndex, endIndex, onRange])

  return (
    <div
      class={`virtual ${props.class ?? ''}`}
      ref={scroller}
      tabIndex={0}
      role="group"
      aria-label={label}
      onWheel={free}
      onTouchMove={free}
      onPointerDown={free}
      onKeyDown={onKey}
    >
      <div role={role} aria-label={label} style={{ position: 'relative', height: `${height}px` }}>
        {list.getVirtualItems().map(({ key, index, start }) => (
          <div
            key={key}
            ref={list.measureElement}
            data-index={index}
            role={role === 'feed' ? 'article' : 'listitem'}
            aria-setsize={props.hasMore ? -1 : count}
            aria-posinset={index + 1}
            aria-current={index === current ? 'true' : undefined}
            style={{ position: 'absolute', insetInline: '0', top: '0', transform: `translateY(${start}px)` }}
          >
            {children(index)}
          </div>
        ))}
      </div>
    </div>
  )
}

function isField(at: EventTarget | null): boolean {
  return at instanceof Element && at.matches('input, textarea, select')
}
