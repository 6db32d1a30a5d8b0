import { signal } from '@preact/signals'
import type { About, Edit, Edited, Failure } from '../wire.ts'

const NO_ANSWER = 'NO_ANSWER'

/** An answer that is none: what is wrong, in a sentence. */
export class ApiError extends Error {
  readonly code: string
  /** Of HTTP; 0 where the server did not answer. */
  readonly status: number

  constructor(status: number, code: string, message: string) {
    super(message)
    this.status = status
    this.code = code
  }

  /** Whether it may go by itself: the server or the store is away. */
  get isPassing(): boolean {
    return this.code === NO_ANSWER || this.status === 503
  }
}

/** What keeps all of the page from going on, if something does: shown above everything, and gone when it works again. */
export const trouble = signal<ApiError | undefined>(undefined)

/** What the server said of itself. */
export const about = signal<About | undefined>(undefined)

type Query = Readonly<Record<string, string | number | undefined>>

/** The address of a call. */
export function urlOf(path: string, query: Query = {}): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined)
  return `api/${path}?${new URLSearchParams(given.map(([key, value]) => [key, String(value)]))}`
}

/**
 * Asks the server. Where it or the store is away, says so in {@link trouble} and asks again until there is an answer, or `stopped` is aborted.
 *
 * @throws {ApiError} with which asking again would not help; the signal's reason
 */
export async function get<T>(path: string, query: Query = {}, stopped?: AbortSignal): Promise<T> {
  let isRetried = false
  try {
    for (let wait = FIRST_WAIT_MS; ; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
      try {
        const answer = await call<T>(urlOf(path, query), { signal: stopped ?? null })
        trouble.value = undefined
        return answer
      } catch (error) {
        if (!(error instanceof ApiError) || !error.isPassing) throw error
        if (!isRetried) retried++
        isRetried = true
        trouble.value = error
        await rest(wait, stopped)
      }
    }
  } finally {
    // Where nothing tries any more, nothing would say that it works again.
    if (isRetried && --retried === 0) trouble.value = undefined
  }
}

/** How many requests are made again and again. */
let retried = 0

/** Makes a change. Not made again by itself: whether it was made is not known where there is no answer. @throws {ApiError} */
export function post(edit: Edit): Promise<Edited> {
  const headers = { 'content-type': 'application/json' }
  return call<Edited>('api/edit', { method: 'POST', headers, body: JSON.stringify(edit) })
}

const FIRST_WAIT_MS = 500
const LONGEST_WAIT_MS = 5_000

async function call<T>(url: string, options: RequestInit): Promise<T> {
  let answer: Response
  try {
    answer = await fetch(url, options)
  } catch {
    options.signal?.throwIfAborted()
    throw noAnswer()
  }
  const body: unknown = await answer.json().catch(() => {
    // The half of an answer is none. A failure is one without its words, too.
    options.signal?.throwIfAborted()
    if (answer.ok) throw noAnswer()
  })
  if (answer.ok) return body as T
  const { code = 'UNEXPECTED', message = `The inspector answered with status ${answer.status}` } =
    (body as Failure | undefined)?.error ?? {}
  throw new ApiError(answer.status, code, message)
}

function noAnswer(): ApiError {
  return new ApiError(
    0,
    NO_ANSWER,
    'The inspector does not answer. Is it still running? This page goes on when it is back.'
  )
}

function rest(ms: number, stopped: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (): void => {
      clearTimeout(timer)
      reject(stopped!.reason as Error)
    }
    const timer = setTimeout(() => {
      stopped?.removeEventListener('abort', end)
      resolve()
    }, ms)
    stopped?.addEventListener('abort', end)
  })
}

/** What is told by {@link listen}, by the name of the event. */
export type Listeners = Readonly<Record<string, (data: unknown, id: string) => void>>

/**
 * Listens to what the server sends as it comes, until the function is called that it gives. The browser connects again by itself, and goes on after
 * what it had last; `onState` is told whether there is a connection. There is none while the page is hidden: a browser has six for all tabs together.
 */
export function listen(
  path: string,
  query: Query,
  listeners: Listeners,
  onState?: (isConnected: boolean) => void
): () => void {
  let source: EventSource | undefined
  let after = query['after']
  let timer: ReturnType<typeof setTimeout> | undefined
  const close = (): void => {
    clearTimeout(timer)
    source?.close()
    source = undefined
  }
  const open = (): void => {
    close()
    const mine = (source = new EventSource(urlOf(path, { ...query, after })))
    for (const [name, listener] of Object.entries(listeners)) {
      mine.addEventListener(name, (event: MessageEvent<string>) => {
        if (event.lastEventId !== '') after = event.lastEventId
        listener(event.data === '' ? undefined : JSON.parse(event.data), event.lastEventId)
      })
    }
    mine.addEventListener('open', () => onState?.(true))
    mine.addEventListener('error', () => {
      onState?.(false)
      // Where there was an answer, but another one, the browser does not try again.
      if (source === mine && mine.readyState === EventSource.CLOSED) timer = setTimeout(open, LONGEST_WAIT_MS)
    })
  }
  const look = (): void => {
    if (!document.hidden) {
      if (!source) open()
    } else if (source) {
      close()
      onState?.(false)
    }
  }
  document.addEventListener('visibilitychange', look)
  look()
  return () => {
    document.removeEventListener('visibilitychange', look)
    close()
  }
}
