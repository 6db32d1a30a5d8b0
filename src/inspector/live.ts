import type { Context } from 'hono'
import { streamSSE, type SSEStreamingApi } from 'hono/streaming'
import { isTurnlogError } from '../errors.ts'
import type { ActorLog } from './actors.ts'
import { batches } from './batches.ts'
import { failureOf } from './failure.ts'
import type { Log } from './log.ts'
import { sentId } from './moment.ts'
import type { Actors, EventLine, Followed } from './wire.ts'

/** How many events are sent at once: each line may have 1,500 bytes. */
const FRAME = 60

/** Sends what comes as it comes, until the reader leaves or the server stops. */
export function live(
  c: Context,
  stopped: AbortSignal,
  send: (sse: SSEStreamingApi, ended: AbortSignal) => Promise<void>
): Response {
  return streamSSE(c, async (sse) => {
    const left = new AbortController()
    sse.onAbort(() => left.abort())
    const ended = AbortSignal.any([stopped, left.signal])
    // Says that the line is whole, also where nothing comes.
    const beat = setInterval(() => void sse.writeSSE({ event: 'beat', data: '' }), 15_000)
    try {
      await send(sse, ended)
    } catch (error) {
      if (ended.aborted) return
      const { code, message } = failureOf(error)
      await sse.writeSSE({ event: 'failure', data: JSON.stringify({ error: { code, message } }) })
    } finally {
      clearInterval(beat)
    }
  })
}

/** Sends the events of a log: see `Followed`. */
export async function follow(
  sse: SSEStreamingApi,
  log: Log,
  lastSent: string | undefined,
  from: number,
  ended: AbortSignal
): Promise<void> {
  const { latest } = await log.newest()
  // Also where nothing is new: then it is known that it follows.
  await sse.writeSSE({ event: 'following', data: '{}' })
  const sent = Number(/^(\d{1,15})-/.exec(lastSent ?? '')?.[1] ?? 0)
  // Where another event is in that place now, the session was purged, and begun anew.
  const isStill = sent === 0 || (sent <= latest && sentId(await log.event(sent)) === lastSent)
  if (isStill) {
    const line = log.lines()
    for await (const batch of batches(log.live(sent > 0 ? sent + 1 : from, ended), FRAME)) {
      const events: EventLine[] = []
      for (const event of batch) events.push(await line(event))
      const last = batch.at(-1)!
      const data: Followed = { events, latest: last.version }
      await sse.writeSSE({ event: 'events', id: sentId(last), data: JSON.stringify(data) })
    }
  }
  if (ended.aborted) return
  // What is followed ends also where the service stops, or the store is away.
  await log.newest().catch((error: unknown) => {
    if (!isTurnlogError(error, 'SESSION_NOT_FOUND') && !isTurnlogError(error, 'CORRUPT_LOG')) throw error
  })
  await sse.writeSSE({ event: 'gone', data: '{}' })
}

/** Sends what actors do: see `Actors`. */
export async function sendActors(sse: SSEStreamingApi, actors: ActorLog, ended: AbortSignal): Promise<void> {
  let after = 0
  let wake: () => void = () => undefined
  const off = actors.listen(() => wake())
  ended.addEventListener('abort', () => wake())
  try {
    while (!ended.aborted) {
      const news = new Promise<void>((resolve) => (wake = resolve))
      const state: Actors = actors.state(after)
      after = state.events.at(-1)?.number ?? after
      await sse.writeSSE({ event: 'actors', data: JSON.stringify(state) })
      await news
      // What comes at once goes together.
      await sse.sleep(100)
    }
  } finally {
    off()
  }
}
