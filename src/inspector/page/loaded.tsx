import type { VNode } from 'preact'
import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import { ApiError, get, type urlOf } from './client.ts'

/** What a view asks the server for. */
export interface Loaded<T> {
  /** Of the newest question that was answered; absent where the newest that was answered has failed. */
  readonly value?: T | undefined
  readonly error?: ApiError | undefined
  /** Whether the value is that of the question asked now. */
  readonly isFresh: boolean
  readonly reload: () => void
  /** As `reload`, unless it is being asked already: what is asked every few seconds may take longer. */
  readonly refresh: () => void
}

type Query = NonNullable<Parameters<typeof urlOf>[1]>

/**
 * Asks the server whenever the question is another; what it has answered before stays until there is a new answer. Without a query nothing is asked.
 */
export function useGet<T>(path: string, query: Query | undefined): Loaded<T> {
  const key = JSON.stringify([path, query])
  const [answer, setAnswer] = useState<{ readonly key: string; readonly value?: T; readonly error?: ApiError }>()
  const [times, setTimes] = useState(0)
  const isAsking = useRef(false)
  useEffect(() => {
    if (!query) return
    const left = new AbortController()
    const take = (got: { readonly value: T } | { readonly error: ApiError }): void => {
      if (left.signal.aborted) return
      isAsking.current = false
      setAnswer({ key, ...got })
    }
    isAsking.current = true
    get<T>(path, query, left.signal).then(
      (value) => take({ value }),
      (error: unknown) => take({ error: asApiError(error) })
    )
    return () => {
      isAsking.current = false
      left.abort()
    }
  }, [key, times])
  const reload = useCallback(() => setTimes((before) => before + 1), [])
  const refresh = useCallback(() => {
    if (!isAsking.current) reload()
  }, [])
  return { value: answer?.value, error: answer?.error, isFresh: answer?.key === key, reload, refresh }
}

/** Whatever was thrown, as something that can be shown. */
export function asApiError(error: unknown): ApiError {
  return error instanceof ApiError ? error : new ApiError(0, 'UNEXPECTED', String(error))
}

/** Does something every few milliseconds, as long as the page can be seen; also when it comes into view again. */
export function useEvery(ms: number, act: () => void): void {
  const newest = useRef(act)
  newest.current = act
  useEffect(() => {
    const tick = (): void => {
      if (document.visibilityState === 'visible') newest.current()
    }
    const timer = setInterval(tick, ms)
    document.addEventListener('visibilitychange', tick)
    return () => {
      clearInterval(timer)
      document.removeEventListener('visibilitychange', tick)
    }
  }, [ms])
}

/** Keys that are pressed anywhere on the page, but for those that are written with, or belong to a control. */
export function useKeys(act: (event: KeyboardEvent) => void): void {
  const newest = useRef(act)
  newest.current = act
  useEffect(() => {
    const listener = (event: KeyboardEvent): void => {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isWriting(event.target)) return
      newest.current(event)
    }
    document.addEventListener('keydown', listener)
    return () => document.removeEventListener('keydown', listener)
  }, [])
}

function isWriting(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest('input, textarea, select, dialog, [contenteditable]') !== null
}

/** What went wrong, where something else would stand. */
export function FailureNote({
  error,
  onRetry
}: {
  readonly error: ApiError
  readonly onRetry?: (() => void) | undefined
}): VNode {
  return (
    <div class="failure" role="alert">
      <h2>{error.status === 404 ? 'This is not there' : 'That did not work'}</h2>
      <p>{error.message}</p>
      {onRetry && (
        <button type="button" onClick={onRetry}>
          Try again
        </button>
      )}
    </div>
  )
}

/** Lines that will be there soon. */
export function Skeleton({ lines = 6 }: { readonly lines?: number }): VNode {
  return (
    <div class="skeletons" role="status">
      <span class="visually-hidden">Loading</span>
      {Array.from({ length: lines }, (_, n) => (
        <div key={n} aria-hidden="true">
          <span class="skeleton" style={{ width: `${38 + ((n * 29) % 47)}%` }} />
          <span class="skeleton" style={{ width: `${14 + ((n * 17) % 21)}%` }} />
        </div>
      ))}
    </div>
  )
}
