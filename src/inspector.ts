import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { isIP, type AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { createAdaptorServer } from '@hono/node-server'
import { serveStatic } from '@hono/node-server/serve-static'
import { Hono, type MiddlewareHandler } from 'hono'
import { knownOptions, misuse, optionsOf, requiredWholeNumber, type OptionKeys } from './arguments.ts'
import { ActorLog } from './inspector/actors.ts'
import { api } from './inspector/api.ts'
import { failure, failureOf } from './inspector/failure.ts'
import { dataHeaders, guard, pageHeaders } from './inspector/guard.ts'
import type { AnyHistory } from './inspector/log.ts'

export { ActorLog } from './inspector/actors.ts'

/** Options of {@link startInspector}. */
export interface InspectorOptions {
  /**
   * The port to listen on, from 0 to 65535; 0: any that is free.
   * @default 0
   */
  readonly port?: number | undefined
  /**
   * The address or name to listen on. Any other than that of this machine alone needs a `token` of yours.
   * @default '127.0.0.1'
   */
  readonly host?: string | undefined
  /**
   * What whoever opens the page has to have: 16 to 512 characters of printable ASCII, as it stands in a link and in a cookie.
   * @default a random one
   */
  readonly token?: string | undefined
  /**
   * Names under which the server may be asked for, beside `host`, `localhost` and any IP address: `box.example`, without ports.
   * @default []
   */
  readonly allowedHosts?: readonly string[] | undefined
  /**
   * Whether the page may fork, rewind, undo, redo, delete, and change metadata.
   * @default false
   */
  readonly allowEdit?: boolean | undefined
  /** What the page calls the store. Without credentials. */
  readonly store?: string | undefined
  /** What was given to the service as `inspect`: then the page shows its actors. */
  readonly actors?: ActorLog | undefined
}

/** An inspector that is running. */
export interface Inspector extends AsyncDisposable {
  /** The page's address, with the token. */
  readonly url: string
  /** Closes the server and what is connected to it, at once; the service goes on. Can be repeated. */
  stop(): Promise<void>
}

const OPTIONS: OptionKeys<InspectorOptions> = {
  port: true,
  host: true,
  token: true,
  allowedHosts: true,
  allowEdit: true,
  store: true,
  actors: true
}

/** The page as `npm run build` leaves it: from here the same way in the source and as it ships. */
const PAGE = fileURLToPath(new URL('../dist/inspector/page', import.meta.url))

/** What a browser keeps in a cookie, and sends back as it is. */
const TOKEN = /^[\x20-\x7e]{16,512}$/

/**
 * Serves a web page on which the sessions of a service are looked at: their conversations at any version, what each event changed, what tells two
 * versions or sessions apart, and the tree of their forks. It only reads, unless `allowEdit` is set; what it reads does not count as use of a session.
 * Only what has expired by `retention` is deleted when it comes upon it, as by every read.
 * Who has the token can read all of the store. `stop` it before the service.
 *
 * @throws `TypeError` for options that make no sense, also where others could reach it and no `token` is given; an error of Node's, such as
 * `EADDRINUSE`, where it cannot listen
 * @example
 * const inspector = await startInspector(history)
 * console.log(`The sessions are at ${inspector.url}`)
 */
export async function startInspector(history: AnyHistory, given?: InspectorOptions): Promise<Inspector> {
  const options = knownOptions(optionsOf(given), OPTIONS)
  const { host = '127.0.0.1', allowEdit = false, store, actors } = options
  const port = requiredWholeNumber('port', options.port ?? 0, 0, 65_535)
  if (options.token !== undefined && (typeof options.token !== 'string' || !TOKEN.test(options.token)))
    throw new TypeError('token must be a text of at least 16 characters and at most 512, of printable ASCII')
  if (typeof host !== 'string' || host === '') throw misuse('host', 'an address or a name', host)
  if (!isLocal(host) && options.token === undefined)
    throw new TypeError(`host is ${JSON.stringify(host)}, which others can reach: then token must be given, too`)
  const allowedHosts = hostsOf(options.allowedHosts)
  if (typeof allowEdit !== 'boolean') throw misuse('allowEdit', 'true or false', allowEdit)
  if (store !== undefined && typeof store !== 'string') throw misuse('store', 'a text', store)
  if (actors !== undefined && !(actors instanceof ActorLog)) throw misuse('actors', 'an ActorLog', actors)
  if (!existsSync(PAGE)) throw new Error(`The page is not built: there is no ${PAGE} (npm run build)`)

  const token = options.token ?? randomBytes(24).toString('base64url')
  const stopped = new AbortController()
  const about = { version, allowEdit, actors: actors !== undefined, ...(store !== undefined && { store }) }
  const app = new Hono()
  const server = createAdaptorServer({ fetch: (request, env) => app.fetch(request, env) })
  // The cookie is called after the port. Nothing is asked before this goes on.
  const address = await listening(server, port, host)
  const guarded = guard({ token, cookie: `turnlog_${address.port}`, hosts: [host, ...allowedHosts] })
  app.use('/api/*', dataHeaders(), noStore, guarded)
  app.route('/api', api(history, { about, actors, signal: stopped.signal }))
  app.use('/*', pageHeaders(), noStore, guarded, serveStatic({ root: PAGE }))
  app.notFound((c) => failure(c, 404, 'NOT_FOUND', `There is nothing at ${c.req.path.slice(0, 200)}`))
  app.onError((error, c) => {
    const { status, code, message } = failureOf(error)
    return failure(c, status, code, message)
  })

  const stop = (): Promise<void> =>
    new Promise((resolve) => {
      stopped.abort()
      server.close(() => resolve())
      if ('closeAllConnections' in server) server.closeAllConnections()
    })
  return {
    url: `http://${nameFor(host)}:${address.port}/?token=${encodeURIComponent(token)}`,
    stop,
    [Symbol.asyncDispose]: stop
  }
}

const { version } = createRequire(import.meta.url)('../package.json') as { version: string }

// Neither in the cache of the browser nor in that of a proxy: whoever has lost the token sees nothing.
const noStore: MiddlewareHandler = async (c, next) => {
  await next()
  c.res.headers.set('Cache-Control', 'no-store')
}

function hostsOf(given: readonly string[] = []): readonly string[] {
  if (!Array.isArray(given)) throw misuse('allowedHosts', 'a list of names', given)
  for (const name of given as readonly unknown[])
    if (typeof name !== 'string' || !/^[\w.-]+$/.test(name)) throw misuse('allowedHosts', 'names without ports', name)
  return [...(given as readonly string[])]
}

// By what a browser of this machine finds the server.
function nameFor(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  return isIP(host) === 6 ? `[${host === '::' ? '::1' : host}]` : host
}

function isLocal(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host)
}

function listening(server: ReturnType<typeof createAdaptorServer>, port: number, host: string): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve(server.address() as AddressInfo)
    })
  })
}
