import { once } from 'node:events'
import { withoutCredentials } from '../arguments.ts'
import { ActorLog, startInspector } from '../inspector.ts'
import { interruptedBySignals, UsageError, withHistory } from './context.ts'
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
  const { port, host, allowHost: allowedHosts, allowEdit } = options
  const token = options.token ?? process.env['TURNLOG_TOKEN']
  const actors = new ActorLog()
  await withHistory(
    url,
    async ({ history }) => {
      const store = url && withoutCredentials(url)
      const inspector = await startInspector(history, {
        port,
        host,
        token,
        allowedHosts,
        allowEdit,
        store,
        actors
      }).catch((error: unknown) => {
        // Before it listens nothing was done: what it does not like is what it was given.
        throw error instanceof TypeError ? new UsageError(error.message) : error
      })
      const signal = interruptedBySignals()
      print(
        `${visibleLine(store ?? '')} is shown at\n\n  ${visibleLine(inspector.url)}\n\n${allowEdit ? 'It can be changed there. ' : ''}Ctrl-C ends it.`
      )
      if (!signal.aborted) await once(signal, 'abort')
      await inspector.stop()
    },
    { inspect: actors }
  )
}
