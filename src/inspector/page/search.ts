import { effect, signal, untracked } from '@preact/signals'
import type { Found } from '../wire.ts'
import { place } from './address.ts'
import { ask, jumpTo, moment, target } from './session-state.ts'
import { sought } from './text.tsx'

/** What was found in the conversation: places of messages. */
export const found = signal<(Found & { readonly at: number; readonly text: string }) | undefined>(undefined)

/** Which of them the reader is at. */
export const foundAt = signal(-1)

// It is asked when the reader has typed, and again when the timeline rests.
const TYPING_MS = 200
const REST_MS = 500

let search = new AbortController()

effect(() => {
  const text = place.value.page === 'session' ? (place.value.search ?? '').trim() : ''
  // Before all of them are here, their places are not known.
  const version = moment.value?.isBrief ? undefined : moment.value?.version
  search.abort()
  search = new AbortController()
  const { signal: stopped } = search
  untracked(() => {
    sought.value = text
    if (text === '' || version === undefined) {
      found.value = undefined
      foundAt.value = -1
      return
    }
    const isOther = found.value?.text !== text
    setTimeout(
      () => {
        if (stopped.aborted) return
        findAll(version, text, stopped).then(
          (next) => {
            if (stopped.aborted) return
            found.value = { ...next, at: version, text }
            // The same message as before, where it is among them.
            foundAt.value = target.peek() === undefined ? -1 : next.messages.indexOf(target.peek()!)
            if (isOther && next.messages.length > 0) goToFound(1)
          },
          () => undefined
        )
      },
      isOther ? TYPING_MS : REST_MS
    )
  })
})

// Until there is something, or all was looked at: a long session is looked through in parts.
async function findAll(at: number, text: string, stopped: AbortSignal): Promise<Found> {
  let part = await ask<Found>('find', { at, text }, stopped)
  while (part.messages.length === 0 && part.next !== undefined)
    part = await ask<Found>('find', { at, text, from: part.next }, stopped)
  return part
}

/** Goes to the next message that has what is looked for, or to the one before. */
export function goToFound(direction: 1 | -1): void {
  const places = found.peek()?.messages ?? []
  if (places.length === 0) return
  const next = foundAt.peek() < 0 && direction < 0 ? places.length - 1 : foundAt.peek() + direction
  foundAt.value = (next + places.length) % places.length
  jumpTo(places[foundAt.peek()]!)
}
