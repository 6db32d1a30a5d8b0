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

/** The headers of every answer: the page loads nothing from elsewhere, runs no inline code, and stands in no frame. */
export function headers(): MiddlewareHandler {
  const none = ["'none'"]
  const self = ["'self'"]
  return secureHeaders({
    contentSecurityPolicy: {
      defaultSrc: none,
      scriptSrc: self,
      styleSrc: self,
      imgSrc: self,
      connectSrc: self,
      formAction: self,
      baseUri: none,
      frameAncestors: none,
      requireTrustedTypesFor: ["'script'"]
    },
    crossOriginEmbedderPolicy: false,
    referrerPolicy: 'no-referrer',
    // There is no TLS here.
    strictTransportSecurity: false,
    xFrameOptions: 'DENY'
  })
}

/**
 * Lets through who has the token, and asks for the server by its own name. A page of another site has neither: its name for the server is another one
 * (DNS rebinding), it gets no cookie (`SameSite=Strict`), and what it sends says where it comes from (`Origin`).
 */
export function guard({ token, cookie, hosts }: GuardOptions): MiddlewareHandler {
  return async (c, next) => {
    const host = c.req.header('host') ?? ''
    if (!isOwnName(host, hosts))
      return failure(c, 403, 'UNKNOWN_HOST', `This is no server called ${JSON.stringify(host)}`)
    const url = new URL(c.req.url)
    if (c.req.method !== 'GET' && c.req.method !== 'HEAD') {
      const origin = c.req.header('origin')
      if (!origin || !URL.canParse(origin) || new URL(origin).host !== host)
        return failure(c, 403, 'FOREIGN_ORIGIN', 'A change has to come from the page of this server')
    }
    const given = c.req.method === 'GET' && url.pathname === '/' ? url.searchParams.get('token') : null
    if (given !== null && isSame(given, token)) {
      setCookie(c, cookie, token, { httpOnly: true, sameSite: 'Strict', path: '/' })
      url.searchParams.delete('token')
      // So that the token is in no address that is shared.
      return c.redirect(`/${url.search}`, 303)
    }
    if (!isSame(getCookie(c, cookie) ?? '', token)) {
      const isPage = c.req.header('accept')?.includes('text/html') && !url.pathname.startsWith('/api/')
      return isPage
        ? c.html(LOCKED, 401)
        : failure(c, 401, 'UNAUTHORIZED', 'Open the link that the inspector has printed: it has the token')
    }
    return next()
  }
}

function isOwnName(host: string, hosts: readonly string[]): boolean {
  const url = `http://${host}`
  if (!URL.canParse(url)) return false
  const { hostname, pathname, username } = new URL(url)
  if (pathname !== '/' || username !== '') return false
  // Nobody else can answer for an address.
  return hostname === 'localhost' || isIP(hostname.replaceAll(/[[\]]/g, '')) > 0 || hosts.includes(hostname)
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
