import { once } from 'node:events'
import { withoutCredentials } from '../arguments.ts'
import { ActorLog, startInspector, type Inspector } from '../inspector.ts'
import type { AnyHistory } from '../inspector/log.ts'
import { UsageError, withHistory } from './context.ts'
import { print, visibleLine } from './output.ts'

export interface InspectOptions {
  readonly port?: number
  readonly host?: string
  readonly token?: string
  readonly allowHost?: readonly string[]
  readonly allowEdit?: boolean
}

/** Serves the page until Ctrl-C. */
export async function inspect(url: string | undefined, options: InspectOptions): Promise<void> {
  const actors = new ActorLog()
  await withHistory(
    url,
    async ({ history, signal }) => {
      const store = withoutCredentials(url ?? '')
      await using inspector = await started(history, store, actors, options)
      print(
        `${visibleLine(store)} is shown at\n\n  ${visibleLine(inspector.url)}\n\n${options.allowEdit ? 'It can be changed there. ' : ''}Ctrl-C ends it.`
      )
      if (!signal.aborted) await once(signal, 'abort')
    },
    { inspect: actors }
  )
}

async function started(
  history: AnyHistory,
  store: string,
  actors: ActorLog,
  { port, host, token, allowHost: allowedHosts, allowEdit }: InspectOptions
): Promise<Inspector> {
  // As of the others, an empty variable is none.
  const { TURNLOG_TOKEN: named } = process.env
  const given = token ?? (named === '' ? undefined : named)
  try {
    return await startInspector(history, { port, host, token: given, allowedHosts, allowEdit, store, actors })
  } catch (error) {
    // Before it listens nothing was done: what it does not like is what it was given.
    if (error instanceof TypeError) throw new UsageError(error.message)
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EADDRINUSE')
      throw new Error(`port ${port} is in use: --port takes another, and without it any that is free`, { cause: error })
    throw error
  }
}
