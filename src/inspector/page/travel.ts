import { signal } from '@preact/signals'
import type { Kind, Outline } from '../wire.ts'
import { ask, current, goTo, isPlaying, latest, moment, overview, wanted } from './session-state.ts'

/** How many versions a second can be played. */
export const SPEEDS = [1, 2, 5, 10, 20] as const

export const speed = signal<number>(2)

let playTimer: ReturnType<typeof setTimeout> | undefined

/** Plays the versions one after another from here on, or from the first if this is the newest; or no longer. */
export function togglePlay(): void {
  if (isPlaying.value) return void (isPlaying.value = false)
  if (latest.value <= 1) return
  if (current.value >= latest.value) goTo(1)
  isPlaying.value = true
  play()
}

function play(): void {
  clearTimeout(playTimer)
  playTimer = setTimeout(() => {
    if (!isPlaying.peek()) return
    // Not before the last step is seen.
    if (moment.peek()?.version === current.peek()) goTo(current.peek() + 1)
    if (wanted.peek() === undefined) isPlaying.value = false
    else play()
  }, 1_000 / speed.peek())
}

const NOTABLE: readonly (Kind | 'problem')[] = ['problem', 'rewound', 'turn', 'deleted', 'truncated', 'created']

/** Goes to the next notable event, or to the one before: a problem, rewind, turn, deletion, or start; nowhere if there is none. */
export async function goToNotable(direction: 1 | -1): Promise<void> {
  const outline = overview.peek()
  if (!outline) return
  const from = current.peek()
  const isNotable = (bucket: Outline['buckets'][number] | undefined): boolean =>
    bucket !== undefined && NOTABLE.some((kind) => (bucket[kind] ?? 0) > 0)
  // The newest may not be counted yet.
  const first = Math.min(Math.floor((from - outline.from) / outline.span), outline.buckets.length - 1)
  for (let n = first; n >= 0 && n < outline.buckets.length; n += direction) {
    if (!isNotable(outline.buckets[n])) continue
    const start = outline.from + n * outline.span
    const parts =
      outline.span === 1
        ? { from: start, buckets: [outline.buckets[n]!] }
        : await ask<Outline>('outline', { from: start, to: start + outline.span - 1, buckets: 1_000 }).catch(
            () => undefined
          )
    // It is another session by now, or the reader went elsewhere, or what is wrong is said elsewhere.
    if (!parts || current.peek() !== from) return

    const versions = parts.buckets.flatMap((bucket, i) => (isNotable(bucket) ? [parts.from + i] : []))
    const found =
      direction > 0 ? versions.find((version) => version > from) : versions.findLast((version) => version < from)
    if (found === undefined) continue
    goTo(found, { isStep: true })
    return
  }
}
