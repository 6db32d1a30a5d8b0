import { createHash, timingSafeEqual } from 'node:crypto'
import { isIP } from 'node:net'
import type { MiddlewareHandler } from 'hono'
import { getCookie, setCookie } from 'hono/cookie'
import { secureHeaders } from 'hono/secure-headers'
import { failure } from './failure.ts'

/** What the guard lets through. */
export interface GuardOptions {
  readonly token: string
  /** What the cookie is called: cookies are shared by all ports of a host. */
  readonly cookie: string
  /** Names under which the server may be asked for, beside IP addresses and `localhost`, without ports. */
  readonly hosts: readonly string[]
}

const NONE = ["'none'"]
const SELF = ["'self'"]

/** The headers of the page: it loads nothing from elsewhere, runs no inline code, and stands in no frame. */
export function pageHeaders(): MiddlewareHandler {
  return headers({
    defaultSrc: NONE,
    scriptSrc: SELF,
    styleSrc: SELF,
    imgSrc: SELF,
    connectSrc: SELF,
    formAction: SELF,
    baseUri: NONE,
    frameAncestors: NONE,
    requireTrustedTypesFor: ["'script'"],
    trustedTypes: NONE
  })
}

/** The headers of what is no page: whatever it contains does nothing where a browser is made to show it by itself. */
export function dataHeaders(): MiddlewareHandler {
  return headers({ defaultSrc: NONE, baseUri: NONE, formAction: NONE, frameAncestors: NONE, sandbox: [] })
}

function headers(
  contentSecurityPolicy: NonNullable<NonNullable<Parameters<typeof secureHeaders>[0]>['contentSecurityPolicy']>
): MiddlewareHandler {
  return secureHeaders({
    contentSecurityPolicy,
    referrerPolicy: 'no-referrer',
    // There is no TLS here.
    strictTransportSecurity: false,
    xFrameOptions: 'DENY'
  })
}

/**
 * Lets through who has the token, and asks for the server by its own name. A page of another site has neither: its name for the server is another one
 * (DNS rebinding), it gets no cookie (`SameSite=Strict`), and what it sends says where it comes from (`Origin`, `Sec-Fetch-Site`).
 */
export function guard({ token, cookie, hosts }: GuardOptions): MiddlewareHandler {
  const names = new Set(['localhost', ...hosts.map((host) => host.toLowerCase())])
  return async (c, next) => {
    const { method, path } = c.req
    const isApi = path.startsWith('/api/')
    const host = c.req.header('host') ?? ''
    if (!isOwnName(host, names))
      return failure(c, 403, 'UNKNOWN_HOST', `This is no server called ${JSON.stringify(host.slice(0, 200))}`)
    // HEAD of what is sent as it comes would never end.
    if (method !== 'GET' && method !== 'POST' && (isApi || method !== 'HEAD'))
      return failure(c, 405, 'METHOD_NOT_ALLOWED', `There is no ${method.slice(0, 20)} here`)
    if (isForeign(c.req.header('sec-fetch-site')) && isApi)
      return failure(c, 403, 'FOREIGN_ORIGIN', 'What is asked for has to be asked for by the page of this server')
    if (method === 'POST' && !isOrigin(c.req.header('origin'), host))
      return failure(c, 403, 'FOREIGN_ORIGIN', 'A change has to come from the page of this server')
    const url = new URL(c.req.url)
    const given = method === 'GET' && url.pathname === '/' ? url.searchParams.get('token') : null
    if (given !== null && isSame(given, token)) {
      setCookie(c, cookie, token, { httpOnly: true, sameSite: 'Strict', path: '/' })
      url.searchParams.delete('token')
      // So that the token is in no address that is shared.
      return c.redirect(`/${url.search}`, 303)
    }
    if (isSame(getCookie(c, cookie) ?? '', token)) return next()
    return c.req.header('accept')?.includes('text/html') && !isApi
      ? c.html(LOCKED, 401)
      : failure(c, 401, 'UNAUTHORIZED', 'Open the link that the inspector has printed: it has the token')
  }
}

const HOST = /^(?:\[(?<v6>[\da-f:.]+)\]|(?<name>[\w.-]+))(?::\d{1,5})?$/i

function isOwnName(host: string, names: ReadonlySet<string>): boolean {
  const { v6, name } = HOST.exec(host)?.groups ?? {}
  // Nobody else can answer for an address.
  if (v6 !== undefined) return isIP(v6) === 6
  return name !== undefined && (isIP(name) === 4 || names.has(name.toLowerCase()))
}

// Also of another port of this host, to which the browser sends the cookie.
function isForeign(site: string | undefined): boolean {
  return site !== undefined && site !== 'same-origin' && site !== 'none'
}

// Without the scheme: there may be a proxy before the server that speaks TLS.
function isOrigin(origin: string | undefined, host: string): boolean {
  if (origin === undefined || !URL.canParse(origin)) return false
  const { protocol, host: from } = new URL(origin)
  return /^https?:$/.test(protocol) && from === new URL(`${protocol}//${host}`).host
}

// By hashes, which are of one length: how long it takes says nothing of the token.
function isSame(given: string, token: string): boolean {
  const [a, b] = [given, token].map((text) => createHash('sha256').update(text).digest())
  return timingSafeEqual(a!, b!)
}

const LOCKED = `<!doctype html>
<html lang="en">
<title>turnlog inspector</title>
<meta name="viewport" content="width=device-width">
<main>
<h1>The inspector needs its token</h1>
<p>Open the link that it has printed when it was started: it ends with <code>?token=…</code></p>
<p>If you have done so in this browser already and have followed a link from elsewhere, <a href="">open this page again</a>.</p>
<form method="get" action="/"><label>Or give the token: <input name="token" autocomplete="off" required></label> <button>Open</button></form>
</main>
</html>
`
