import type { VNode } from 'preact'

const RELATIVE = new Intl.RelativeTimeFormat('en', { numeric: 'auto' })
const EXACT = new Intl.DateTimeFormat('en', { dateStyle: 'medium', timeStyle: 'long' })
// As the reader's language has it.
const TIME = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' })
const DAY = new Intl.DateTimeFormat('en', { dateStyle: 'medium' })

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY_MS = 24 * HOUR

/** How long ago a time is; exactly when it is, it says when pointed at. */
export function Time({ at }: { readonly at: number }): VNode {
  if (!isTime(at)) return <span>{String(at)}</span>
  return (
    <time dateTime={isoOf(at)} title={EXACT.format(at)}>
      {ago(at, Date.now())}
    </time>
  )
}

/** A time, for programs; empty where it is none. */
export function isoOf(at: number): string {
  return isTime(at) ? new Date(at).toISOString() : ''
}

/** A time, for people. */
export function timeOf(at: number): string {
  return isTime(at) ? TIME.format(at) : String(at)
}

/** Whether a number is a time: beyond these there are no dates. */
export function isTime(at: number): boolean {
  return Math.abs(at) <= 8.64e15
}

function ago(at: number, now: number): string {
  const past = now - at
  if (Math.abs(past) < MINUTE) return 'just now'
  if (Math.abs(past) < HOUR) return RELATIVE.format(-Math.round(past / MINUTE), 'minute')
  if (Math.abs(past) < DAY_MS) return RELATIVE.format(-Math.round(past / HOUR), 'hour')
  if (Math.abs(past) < 7 * DAY_MS) return RELATIVE.format(-Math.round(past / DAY_MS), 'day')
  return DAY.format(at)
}
