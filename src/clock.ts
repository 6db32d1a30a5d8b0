/** Time, as turnlog uses it. xstate's `SimulatedClock` is one. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number
  setTimeout(callback: () => void, ms: number): unknown
  clearTimeout(timer: unknown): void
}

/** A clock that takes from the system what `given` leaves out. */
export function clockOf(given: Partial<Clock> = {}): Clock {
  return {
    now: () => (given.now ? given.now() : Date.now()),
    setTimeout: (callback, ms) => (given.setTimeout ? given.setTimeout(callback, ms) : setTimeout(callback, ms)),
    clearTimeout: (timer) =>
      given.clearTimeout ? given.clearTimeout(timer) : clearTimeout(timer as NodeJS.Timeout | undefined)
  }
}
