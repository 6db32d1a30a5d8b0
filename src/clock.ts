import { optionsOf } from './arguments.ts'

/** Time, as turnlog uses it. xstate's `SimulatedClock` is one. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number
  setTimeout(callback: () => void, ms: number): unknown
  clearTimeout(timer: unknown): void
}

/** A clock that takes from the system what `given` leaves out. */
export function clockOf(clock?: Partial<Clock>): Clock {
  const given = optionsOf(clock, 'clock')
  return {
    now: () => (given.now ? given.now() : Date.now()),
    setTimeout: (callback, ms) => (given.setTimeout ? given.setTimeout(callback, ms) : setTimeout(callback, ms)),
    clearTimeout: (timer) =>
      given.clearTimeout ? given.clearTimeout(timer) : clearTimeout(timer as NodeJS.Timeout | undefined)
  }
}

/** A timer that does not keep the process alive; for a time longer than a timer can wait, it fires early. */
export function backgroundTimer(clock: Clock, callback: () => void, ms: number): unknown {
  const timer = clock.setTimeout(callback, Math.min(ms, LONGEST_TIMEOUT_MS))
  if (typeof timer === 'object' && timer !== null && 'unref' in timer) (timer as NodeJS.Timeout).unref()
  return timer
}

/** Node's timers fire at once beyond this. */
export const LONGEST_TIMEOUT_MS = 2 ** 31 - 1

/** How often a store that cannot tell of changes is asked for them. */
export const POLL_MS = 200
