// What programs that write until they are killed have in common: they say on their standard output what they do, a line of JSON each.
import { writeSync } from 'node:fs'

/** Ms of the machine's monotonic clock, which all processes share. */
export function now() {
  return Number(process.hrtime.bigint()) / 1e6
}

export function say(what) {
  // The pipe is full while its reader is busy; a line is written whole or not at all.
  const line = `${JSON.stringify(what)}\n`
  for (let written = 0; written < line.length;) {
    try {
      written += writeSync(1, line.slice(written))
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error
    }
  }
}

/** Numbers from 0 to 1 that look random, the same for the same seed. */
export function generator(state) {
  return () => {
    // As whole numbers of 32 bits: beyond 2 ** 53 it would lose its low bits, and come round after some thousands.
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
