import { batch, computed, effect, signal, untracked } from '@preact/signals'
import type { About, EventLine, EventPage, Facts, Item, Moment, Outline, Window } from '../wire.ts'
import { change, hrefOf, place, sessionPlace } from './address.ts'
import { ApiError, get, listen } from './client.ts'
import { asApiError } from './loaded.tsx'
import { plain } from './text.tsx'
import type { ScrollWish } from './virtual-list.tsx'
import { PROVISIONAL, Windows } from './windows.ts'

// The session that is looked at. There is one at a time, and the address says which.

/** The version that the reader wants to see; the newest, and followed, where it is `undefined`. What is shown may be some milliseconds behind. */
export const wanted = signal<number | undefined>(undefined)

/** What is shown. */
export const moment = signal<Moment | undefined>(undefined)

/** The newest version of the log. */
export const latest = signal(0)

/** The version that the reader is at. */
export const current = computed(() => wanted.value ?? latest.value)

/** Why the version that is wanted cannot be shown. */
export const failed = signal<ApiError | undefined>(undefined)

/** How many events are newer than when the reader was last at the newest. */
export const news = computed(() => (wanted.value === undefined ? 0 : Math.max(0, latest.value - newestSeen.value)))
const newestSeen = signal(0)

/** Whether the versions are played one after another. */
export const isPlaying = signal(false)

/** Whether what is appended is heard of. */
export const isListening = signal(false)

/** The whole log, in buckets. */
export const overview = signal<Outline | undefined>(undefined)

/** The events around the current one, each by itself; the overview itself where it is short. */
export const detail = signal<Outline | undefined>(undefined)

/** Counts over the messages of a version: that which is shown, or the one before it until those are here. */
export const facts = signal<(Facts & { readonly version: number }) | undefined>(undefined)

/** Where the conversation is to be scrolled to. */
export const scrollWish = signal<ScrollWish | undefined>(undefined)

/** A message that was jumped to. */
export const target = signal<number | undefined>(undefined)

/** The messages at the version that is shown. */
export const messages = new Windows<Item>((from, count, stopped) => itemsOf(from, count, stopped))

/** The same as they are stored. */
export const rawItems = new Windows<Item>((from, count, stopped) => itemsOf(from, count, stopped, 1))

/** The events; the first is at 0. */
export const events = new Windows<EventLine>(eventsOf)

/** Those that the reader points at on the timeline. */
export const pointedAt = new Windows<EventLine>(eventsOf)

async function eventsOf(from: number, count: number, stopped: AbortSignal): Promise<readonly EventLine[]> {
  return (await get<EventPage>('events', { ...here(), from: from + 1, count }, stopped)).events
}

async function itemsOf(from: number, count: number, stopped: AbortSignal, raw?: 1): Promise<readonly Item[]> {
  const { version, isBrief } = moment.peek()!
  // Their places are not known yet.
  if (isBrief) return []
  return (await get<Window>('messages', { ...here(), at: version, from, count, raw }, stopped)).items
}

/** Messages that come with a moment: a screen of them. */
const SHOWN = 24
/** A request that takes longer is given up when another version is wanted. */
const PATIENCE_MS = 250
/** Browsers allow a hundred changes of the address in half a minute. */
const ADDRESS_MS = 350
/** What has come ahead is taken if it is not older. */
const AHEAD_MS = 10_000
const FACTS_MS = 500
/** What is wanted at rest is asked for after so long also where there is none. */
const LONGEST_MS = 2_000
const OUTLINE_MS = 1_000
const AGAIN_MS = 5_000
/** How many events the detail has on either side, and how near to its end it is fetched anew. */
const DETAIL = 400
const MARGIN = 120

// Of the session that is looked at: ended when it is another.
let session: { readonly user: string; readonly session: string } | undefined
let left = new AbortController()
/** What the address said last. */
let addressed: number | undefined

/** Asks about the session that is looked at; ended when it is another. */
export function ask<T>(
  path: string,
  query: Readonly<Record<string, string | number>>,
  stopped?: AbortSignal
): Promise<T> {
  return get<T>(path, { ...here(), ...query }, stopped ? AbortSignal.any([left.signal, stopped]) : left.signal)
}

function here(): { readonly user: string; readonly session: string } {
  return session!
}

function leave(): void {
  left.abort()
  left = new AbortController()
  session = flight = ahead = undefined
  isPlaying.value = false
  batch(() => {
    moment.value = failed.value = overview.value = detail.value = facts.value = scrollWish.value = undefined
    target.value = addressed = wanted.value = undefined
    latest.value = newestSeen.value = 0
    isListening.value = false
    for (const windows of [messages, rawItems, events, pointedAt]) windows.clear()
  })
}

function enter(at: { readonly user: string; readonly session: string; readonly at?: number | undefined }): void {
  session = { user: at.user, session: at.session }
  addressed = wanted.value = at.at
  document.title = `${plain(at.session)} · turnlog`
  want()
}

/** Tries again after a failure, from the beginning. */
export function again(): void {
  const at = sessionPlace.peek()
  leave()
  if (at) enter(at)
}

/** Goes to a version: one step of the browser's history if `isStep`, as for a link. The newest is followed from then on. */
export function goTo(version: number, { isStep = false }: { readonly isStep?: boolean } = {}): void {
  // Nothing is known yet: the version of the address would be lost.
  if (latest.peek() === 0) return
  const at = Math.max(1, Math.min(Math.round(version), latest.value))
  wanted.value = at >= latest.value ? undefined : at
  if (wanted.value === undefined) newestSeen.value = latest.value
  want()
  address(isStep)
}

/** The address of a version of the session; of the newest without one. */
export function hrefOfVersion(at: number | undefined): string {
  return hrefOf({ ...place.value, at })
}

let addressTimer: ReturnType<typeof setTimeout> | undefined

function address(isStep: boolean): void {
  const write = (): void => {
    addressed = wanted.peek()
    change({ at: addressed }, { replace: !isStep })
  }
  if (isStep) return write()
  if (addressTimer !== undefined) return
  write()
  const { signal: ended } = left
  addressTimer = setTimeout(() => {
    addressTimer = undefined
    if (!ended.aborted && addressed !== wanted.peek()) write()
  }, ADDRESS_MS)
}

let flight:
  | { readonly version: number | undefined; readonly since: number; readonly control: AbortController }
  | undefined

// One request at a time; when it is answered, the version that is wanted by then. So a timeline that is dragged shows as many versions as there is time for.
function want(isTail = false): void {
  if (flight) {
    if (flight.version !== wanted.peek() && performance.now() - flight.since > PATIENCE_MS) flight.control.abort()
    return
  }
  const { signal: ended } = left
  const version = wanted.peek()
  const control = new AbortController()
  const mine = (flight = { version, since: performance.now(), control })
  const both = AbortSignal.any([ended, control.signal])
  const settled = (): void => {
    if (flight === mine) flight = undefined
    if (ended.aborted) return
    const shown = moment.peek()
    if (failed.peek() && version === wanted.peek()) return
    if (version !== undefined && version === wanted.peek() && shown) lookAhead(version, both)
    const isBehind = shown !== undefined && (shown.isBrief === true || shown.version < latest.peek())
    if (version !== wanted.peek() || (version === undefined && isBehind)) want(isTail)
  }
  const isAhead = version !== undefined && ahead?.version === version && mine.since - ahead.since < AHEAD_MS
  // At first the newest messages suffice: of a long log all the rest takes its time.
  const brief = version === undefined && !moment.peek() ? 1 : undefined
  const query = { ...here(), at: version, count: SHOWN, brief }
  const answer = isAhead ? ahead!.answer : get<Moment>('moment', query, both)
  answer
    .then(
      (next) => {
        if (!both.aborted) show(next, isTail)
      },
      (error: unknown) => {
        if (both.aborted) return
        fail(asApiError(error))
      }
    )
    .finally(settled)
}

// Whoever steps goes on in the same direction: what comes next is here before it is asked for.
let ahead: { readonly version: number; readonly since: number; readonly answer: Promise<Moment> } | undefined
let lastShown = 0

function lookAhead(version: number, stopped: AbortSignal): void {
  const next = version < lastShown ? version - 1 : version + 1
  lastShown = version
  if (next < 1 || next >= latest.peek()) return
  const answer = get<Moment>('moment', { ...here(), at: next, count: SHOWN }, stopped)
  ahead = { version: next, since: performance.now(), answer }
  // Then it is asked for again, by whoever wants it.
  answer.catch(() => (ahead = undefined))
}

function show(next: Moment, isTail: boolean): void {
  const last = moment.peek()
  const before = last?.isBrief ? undefined : last
  const { change: what, count, window } = next
  const stamp = next.isBrief ? PROVISIONAL : next.version
  batch(() => {
    failed.value = undefined
    moment.value = next
    if (!before || next.latest > latest.value) latest.value = next.latest
    grow([next.event.line])
    if (wanted.value === undefined || !before) newestSeen.value = latest.value
    target.value = undefined
    if (last?.isBrief && last.latestId !== next.latestId) for (const windows of [events, pointedAt]) windows.clear()
    messages.become(count, stamp)
    rawItems.become(count, stamp)
    events.become(latest.value, 0)
    pointedAt.become(latest.value, 0)
    messages.put(window.from, window.items)
    // Whoever reads further up is left there when something is appended.
    if (!isTail || !before || lastSeen >= before.count - 1) {
      const index = Math.min(what.at + Math.max(0, what.added - 1), count - 1)
      scrollWish.value = { index, align: index === count - 1 ? 'end' : 'center' }
    }
  })
  document.title = `${plain(next.title ?? next.id)} · ${next.version} · turnlog`
  if (next.isBrief) return
  if (!before) follow()
  outlineSoon(before ? OUTLINE_MS : 0)
  detailSoon()
  factsSoon()
}

function fail(error: ApiError): void {
  failed.value = error
  isPlaying.value = false
  if (error.code === 'SESSION_NOT_FOUND' || error.code === 'PURGED') void awaitSession()
}

let awaited: AbortSignal | undefined

// It may be made yet, or again.
async function awaitSession(): Promise<void> {
  const { signal: ended } = left
  if (awaited === ended) return
  awaited = ended
  while (!ended.aborted) {
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS))
    if (ended.aborted) return
    try {
      await get<EventPage>('events', { ...here(), count: 1 }, ended)
      return again()
    } catch (error) {
      if (error instanceof ApiError && error.code === 'SESSION_NOT_FOUND') continue
      if (awaited === ended) awaited = undefined
      return
    }
  }
}

let lastSeen = 0

/** Says which messages are in view. */
export function seeMessages(first: number, last: number): void {
  lastSeen = last
  messages.see(first, last)
}

function follow(): void {
  let wasAway = false
  const close = listen(
    'follow',
    { ...here(), from: latest.peek() + 1, after: moment.peek()?.latestId },
    {
      events(data) {
        const page = data as EventPage
        grow(page.events)
        if (page.latest <= latest.peek()) return
        latest.value = page.latest
        events.become(page.latest, 0)
        pointedAt.become(page.latest, 0)
        outlineSoon(OUTLINE_MS)
        if (wanted.peek() === undefined) want(true)
      },
      following() {
        isListening.value = true
        // What has happened meanwhile is told; but it may be another log by now.
        if (wasAway) want(true)
        wasAway = false
      },
      gone() {
        close()
        fail(new ApiError(404, 'PURGED', 'This session was purged while you looked at it: nothing of it is left.'))
      },
      failure(data) {
        const { code, message } = (data as { error: { code: string; message: string } }).error
        if (code !== 'SESSION_NOT_FOUND') return
        close()
        fail(new ApiError(404, code, message))
      }
    },
    (isConnected) => {
      if (isConnected) return
      isListening.value = false
      wasAway = true
      void sayTrouble()
    }
  )
  left.signal.addEventListener('abort', close)
}

let isAskingWhy = false

// That nothing is heard any more says not why: what is asked for does, and says when it is over, too.
async function sayTrouble(): Promise<void> {
  if (isAskingWhy) return
  isAskingWhy = true
  await get<About>('about').catch(() => undefined)
  isAskingWhy = false
}

// What is asked for after a while, once; with `isAtRest`, after the last time that it was wanted.
function soon(load: (stopped: AbortSignal) => Promise<void>, isAtRest = false): (ms: number) => void {
  let timer: ReturnType<typeof setTimeout> | undefined
  let since = 0
  let isAsking = false
  let isWanted = false
  const run = async (): Promise<void> => {
    const { signal: ended } = left
    isAsking = true
    isWanted = false
    try {
      await load(ended)
    } catch {
      // The moment says what is wrong.
    } finally {
      isAsking = false
    }
    if (isWanted && !ended.aborted) start(OUTLINE_MS)
  }
  const start = (ms: number): void => {
    if (timer !== undefined && !isAtRest && ms > 0) return
    if (timer === undefined) since = performance.now()
    clearTimeout(timer)
    timer = setTimeout(
      () => {
        timer = undefined
        if (isAsking) isWanted = true
        else if (session) void run()
      },
      Math.min(ms, Math.max(0, since + LONGEST_MS - performance.now()))
    )
  }
  return start
}

/** How many buckets an outline may grow to, until it is counted anew. */
const GROWN = 2_000

// What comes is on the timeline at once, without asking for all of it again.
function grow(lines: readonly EventLine[]): void {
  batch(() => {
    const [all, near] = [overview.peek(), detail.peek()]
    const grown = all && grownBy(all, lines)
    overview.value = grown
    detail.value = near && near === all ? grown : near && grownBy(near, lines)
  })
}

function grownBy(outline: Outline, lines: readonly EventLine[]): Outline {
  const { from, span } = outline
  const buckets = [...outline.buckets]
  const marks = [...outline.marks]
  let [to, toAt] = [outline.to, outline.toAt]
  for (const line of lines) {
    const { version, kind, type, at, problem, toVersion } = line
    if (version !== to + 1 || buckets.length >= GROWN) continue
    const n = Math.floor((version - from) / span)
    const bucket = buckets[n] ?? {}
    buckets[n] = {
      ...bucket,
      [kind]: (bucket[kind] ?? 0) + 1,
      ...(problem !== undefined && { problem: (bucket.problem ?? 0) + 1 })
    }
    const turn = type === 'turn-started' ? 'begins' : type === 'turn-ended' ? 'ends' : undefined
    if (turn || toVersion !== undefined)
      marks.push({ version, kind, ...(turn && { turn }), ...(toVersion !== undefined && { toVersion }) })
    to = version
    toAt = at
  }
  return to === outline.to ? outline : { ...outline, latest: Math.max(outline.latest, to), to, toAt, buckets, marks }
}

const outlineSoon = soon(async (stopped) => {
  if (overview.peek()?.latest === latest.peek()) return
  const next = await get<Outline>('outline', { ...here(), buckets: DETAIL }, stopped)
  if (stopped.aborted) return
  batch(() => {
    overview.value = next
    if (next.span === 1) detail.value = next
  })
  detailSoon()
})

const detailLoads = soon(async (stopped) => {
  if (hasDetail()) return
  const version = current.peek()
  const [from, to] = [Math.max(1, version - DETAIL), version + DETAIL]
  const next = await get<Outline>('outline', { ...here(), from, to, buckets: 1_000 }, stopped)
  if (!stopped.aborted) detail.value = next
})

function detailSoon(): void {
  if (overview.peek() && !hasDetail()) detailLoads(0)
}

function hasDetail(): boolean {
  const [known, version, last] = [detail.peek(), current.peek(), latest.peek()]
  if (!known) return false
  const isNearStart = known.from > 1 && version < known.from + MARGIN
  const isNearEnd = known.to < last && version > known.to - MARGIN
  return !isNearStart && !isNearEnd
}

const factsLoad = soon(async (stopped) => {
  const shown = moment.peek()
  if (!shown || facts.peek()?.version === shown.version) return
  const next = await get<Facts>('facts', { ...here(), at: shown.version }, stopped)
  if (!stopped.aborted) facts.value = { ...next, version: shown.version }
}, true)

function factsSoon(): void {
  if (facts.peek()?.version !== moment.peek()?.version) factsLoad(FACTS_MS)
}

/** Scrolls the conversation to a message. */
export function jumpTo(index: number): void {
  batch(() => {
    target.value = index
    scrollWish.value = { index, align: 'center' }
    if (place.value.view !== 'conversation') change({ view: 'conversation' })
  })
}

// The last: it begins at once.
effect(() => {
  const at = sessionPlace.value
  untracked(() => {
    if (at && session && at.user === session.user && at.session === session.session) {
      if (at.at === addressed) return
      addressed = wanted.value = at.at
      isPlaying.value = false
      want()
      return
    }
    leave()
    if (at) enter(at)
  })
})
