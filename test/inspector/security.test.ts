import { connect } from 'node:net'
import { describe, expect } from 'vitest'
import { createSessionHistory } from '../../src/index.ts'
import { ActorLog, startInspector, type InspectorOptions } from '../../src/inspector.ts'
import { eventsOf } from '../service/kit.ts'
import { it, S1, TOKEN, type Answer, type Asked } from './kit.ts'

const ASSET = async (asked: Asked): Promise<string> => {
  const { body } = await asked.ask('/')
  return /(?:src|href)="\.?(\/assets\/[^"]+)"/.exec(body)![1]!
}

const ROUTES = [
  '/api/about',
  '/api/users',
  '/api/sessions?user=ada',
  '/api/moment?user=ada&session=s1',
  '/api/follow?user=ada&session=s1',
  '/api/actors',
  '/api/image?user=ada&session=s1&at=1&of=event&path=[]',
  '/api/file?user=ada&session=s1&at=1&of=event&path=[]',
  '/api/nothing',
  '/',
  '/index.html',
  '/nothing'
]

/** Sends bytes as they are, and gives all that comes back. */
function raw(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.end(text))
    let answer = ''
    socket.on('data', (piece) => (answer += piece.toString()))
    socket.on('close', () => resolve(answer))
    socket.on('error', reject)
  })
}

function codeOf({ status, body }: Answer): [number, string] {
  return [status, (JSON.parse(body) as { error: { code: string } }).error.code]
}

describe('the token', () => {
  it('is needed for the page, its assets, the API and what is sent as it comes', async ({ begin }) => {
    const { asked } = await begin({ inspector: { actors: new ActorLog(), allowEdit: true } })
    for (const path of [...ROUTES, await ASSET(asked)]) {
      expect(codeOf(await asked.ask(path, { isKnown: false })), path).toEqual([401, 'UNAUTHORIZED'])
      for (const value of ['', 'wrong', `${TOKEN}x`, TOKEN.slice(0, -1)]) {
        const cookie = `turnlog_${asked.port}=${encodeURIComponent(value)}`
        expect((await asked.ask(path, { isKnown: false, headers: { cookie } })).status, path).toBe(401)
      }
    }
    expect(codeOf(await asked.post({ type: 'delete', ...S1, expectedVersion: 1 }, { isKnown: false }))).toEqual([
      401,
      'UNAUTHORIZED'
    ])
    // Of another server on this host.
    const headers = { cookie: `turnlog_1=${encodeURIComponent(TOKEN)}` }
    expect((await asked.ask('/', { isKnown: false, headers })).status).toBe(401)
    expect((await asked.ask(`/api/users?token=${encodeURIComponent(TOKEN)}`, { isKnown: false })).status).toBe(401)
  })

  it('of the first link goes into a cookie, and out of the address', async ({ begin }) => {
    const { asked } = await begin()
    const { pathname, search } = new URL(asked.inspector.url)
    const first = await asked.ask(`${pathname}${search}&user=a%2Fb&session=x%26y`, { isKnown: false })
    expect(first).toMatchObject({ status: 303, headers: { location: '/?user=a%2Fb&session=x%26y' } })
    expect(first.headers['set-cookie']).toEqual([`${asked.cookie}; Path=/; HttpOnly; SameSite=Strict`])
    const page = await asked.ask('/', {
      isKnown: false,
      headers: { cookie: first.headers['set-cookie']![0]!.split(';')[0]! }
    })
    expect(page.status).toBe(200)
    const given = search.slice(1)
    for (const path of [
      '//evil.example/',
      '/\\evil.example/',
      '/%2F/evil.example',
      '/.//evil.example',
      'http://evil.example/'
    ]) {
      const { status, headers } = await asked.ask(`${path}?${given}`, { isKnown: false })
      expect([path, status < 300 || status >= 400 || /^\/(?:\?|$)/.test(headers.location!)]).toEqual([path, true])
    }
    expect((await asked.ask(`/?${given}&next=//evil.example`, { isKnown: false })).headers.location).toBe(
      '/?next=%2F%2Fevil.example'
    )
    expect((await asked.ask('/?token=wrong', { isKnown: false })).headers['set-cookie']).toBeUndefined()
    expect((await asked.ask(`/?${given}`, { isKnown: false, method: 'HEAD' })).status).toBe(401)
  })

  it('is asked for by a page where a browser asks, which says nothing else', async ({ begin }) => {
    const { asked } = await begin()
    const headers = { accept: 'text/html,*/*' }
    const { status, body, headers: answered } = await asked.ask('/?user=ada', { isKnown: false, headers })
    expect([status, answered['content-type'], answered['cache-control']]).toEqual([
      401,
      'text/html; charset=UTF-8',
      'no-store'
    ])
    expect(body).not.toMatch(/<script|style=|ada/)
  })

  it('is a random one by default', async () => {
    const history = await createSessionHistory()
    await using one = await startInspector(history)
    await using other = await startInspector(history)
    const [a, b] = [one, other].map(({ url }) => new URL(url).searchParams.get('token')!)
    expect(a).toMatch(/^[\w-]{32}$/)
    expect(a).not.toBe(b)
    await history.stop()
  })
})

describe('the host', () => {
  it.for([
    'evil.example',
    'evil.example:PORT',
    'localhost.evil.example',
    'evil.example@127.0.0.1:PORT',
    '127.0.0.1:PORT@evil.example',
    '127.0.0.1:PORT#evil.example',
    '127.0.0.1:PORT?evil.example',
    '127.0.0.1:PORT/evil.example',
    '127.0.0.1.evil.example',
    '127.0.0.1:PORT, evil.example',
    '2130706433',
    '0x7f.1',
    '[evil.example]',
    'box.example:PORT.evil.example'
  ])('%j is refused', async (host, { begin }) => {
    const { asked } = await begin({ inspector: { allowedHosts: ['box.example'] } })
    for (const path of ['/api/users', '/', `/?token=${encodeURIComponent(TOKEN)}`]) {
      const { status, headers } = await asked.ask(path, { headers: { host: host.replace('PORT', String(asked.port)) } })
      expect([path, status >= 400, headers['set-cookie']]).toEqual([path, true, undefined])
    }
  })

  it.for([
    'localhost',
    'LOCALHOST:1',
    '127.0.0.1',
    '192.168.1.7:80',
    '[::1]:9',
    '[fe80::1]',
    'box.example',
    'Box.Example:443'
  ])('%s is let in', async (host, { begin }) => {
    const { asked } = await begin({ inspector: { allowedHosts: ['box.Example'] } })
    expect((await asked.ask('/api/users', { headers: { host } })).status).toBe(200)
  })

  it('that is not named is refused', async ({ begin }) => {
    const { asked } = await begin()
    for (const version of ['1.0', '1.1']) {
      const answer = await raw(asked.port, `GET /api/users HTTP/${version}\r\nCookie: ${asked.cookie}\r\n\r\n`)
      expect(answer).toMatch(/^HTTP\/1\.1 (?:400|403) /)
      expect(answer).not.toContain('"users"')
    }
    const twice = `GET /api/users HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\nCookie: ${asked.cookie}\r\n\r\n`
    expect(await raw(asked.port, twice)).not.toContain('"users"')
    const empty = `GET /api/users HTTP/1.1\r\nHost:\r\nCookie: ${asked.cookie}\r\nConnection: close\r\n\r\n`
    expect(await raw(asked.port, empty)).toMatch(/^HTTP\/1\.1 4/)
  })
})

describe('another site', () => {
  it('changes nothing', async ({ begin }) => {
    const { asked, history } = await begin({ inspector: { allowEdit: true } })
    await history.createSession('ada', 's1')
    const edit = { type: 'delete', ...S1, expectedVersion: 1 }
    for (const origin of [
      'null',
      'http://evil.example',
      `http://evil.example:${asked.port}`,
      `http://127.0.0.1:1`,
      'about:blank',
      'x',
      '',
      `ftp://127.0.0.1:${asked.port}`
    ])
      expect((await asked.refused(edit, { headers: { origin } })).slice(0, 2), origin).toEqual([403, 'FOREIGN_ORIGIN'])
    const body = JSON.stringify(edit)
    const headers = { 'content-type': 'application/json' }
    expect(codeOf(await asked.ask('/api/edit', { method: 'POST', body, headers }))).toEqual([403, 'FOREIGN_ORIGIN'])
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data',
      'application/jsonp',
      ''
    ])
      expect((await asked.refused(edit, { headers: { 'content-type': type } })).slice(0, 2), type).toEqual([
        400,
        'INVALID_REQUEST'
      ])
    expect(await eventsOf(history)).toHaveLength(1)
  })

  it('reads nothing, of another port of this host neither', async ({ begin }) => {
    const { asked } = await begin()
    for (const site of ['cross-site', 'same-site'])
      for (const path of ROUTES.filter((each) => each.startsWith('/api/')))
        expect(codeOf(await asked.ask(path, { headers: { 'sec-fetch-site': site } })), path).toEqual([
          403,
          'FOREIGN_ORIGIN'
        ])
    for (const site of ['same-origin', 'none'])
      expect((await asked.ask('/api/users', { headers: { 'sec-fetch-site': site } })).status).toBe(200)
    // A link from elsewhere leads to the page.
    expect((await asked.ask('/', { headers: { 'sec-fetch-site': 'cross-site' } })).status).toBe(200)
    const { headers } = await asked.ask('/api/users', { headers: { origin: 'http://evil.example' } })
    expect(Object.keys(headers).filter((name) => name.startsWith('access-control'))).toEqual([])
  })
})

describe('every answer', () => {
  it('has the headers that keep it harmless', async ({ begin }) => {
    const { asked, history } = await begin({ inspector: { actors: new ActorLog() } })
    const png = `data:image/png;base64,${Buffer.from('picture').toString('base64')}`
    await history.createSession('ada', 's1', { metadata: { png, html: '<script>alert(1)</script>' } })
    const known = (path: string): Promise<Answer> => asked.ask(path)
    const at = 'user=ada&session=s1&at=1&of=metadata'
    const answers: [string, Answer][] = []
    for (const path of [
      '/api/about',
      '/api/users',
      '/api/nothing',
      '/api/moment',
      '/api/moment?user=ada&session=none',
      '/',
      '/nothing',
      await ASSET(asked)
    ])
      answers.push([path, await known(path)])
    answers.push(['/api/image', await known(`/api/image?${at}&path=["png"]`)])
    answers.push(['/api/file', await known(`/api/file?${at}&path=["html"]`)])
    for (const path of ['/', '/api/users'])
      answers.push([`${path} without a token`, await asked.ask(path, { isKnown: false })])
    answers.push(['/api/ of another host', await asked.ask('/api/users', { headers: { host: 'evil.example' } })])
    answers.push(['/api/ by PUT', await asked.ask('/api/users', { method: 'PUT' })])
    answers.push(['/api/edit', await asked.post({})])
    for (const [path, { headers }] of answers) {
      expect(headers, path).toMatchObject({
        'x-content-type-options': 'nosniff',
        'x-frame-options': 'DENY',
        'referrer-policy': 'no-referrer',
        'cross-origin-resource-policy': 'same-origin',
        'cross-origin-opener-policy': 'same-origin',
        'cache-control': 'no-store'
      })
      expect(headers['x-powered-by'], path).toBeUndefined()
      expect(headers['content-security-policy'], path).toBe(
        path.startsWith('/api/')
          ? "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
          : "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
      )
    }
    const by = Object.fromEntries(answers)
    expect(by['/api/image']).toMatchObject({ status: 200, body: 'picture', headers: { 'content-type': 'image/png' } })
    expect(by['/api/file']).toMatchObject({
      status: 200,
      body: '<script>alert(1)</script>',
      headers: { 'content-type': 'text/plain; charset=utf-8', 'content-disposition': 'attachment; filename="text.txt"' }
    })
    for (const path of ['/api/follow?user=ada&session=s1', '/api/actors']) {
      const left = new AbortController()
      const { headers } = await fetch(asked.origin + path, { headers: { cookie: asked.cookie }, signal: left.signal })
      expect([
        headers.get('content-type'),
        headers.get('x-content-type-options'),
        headers.get('cache-control')
      ]).toEqual(['text/event-stream', 'nosniff', 'no-store'])
      expect(headers.get('content-security-policy')).toContain('sandbox')
      left.abort()
    }
  })

  it('is none to methods that there are not', async ({ begin }) => {
    const { asked } = await begin({ inspector: { allowEdit: true } })
    for (const method of ['PUT', 'DELETE', 'OPTIONS', 'PATCH', 'HEAD'])
      for (const path of [
        '/api/users',
        '/api/edit',
        '/api/follow?user=ada&session=s1',
        ...(method === 'HEAD' ? [] : ['/'])
      ])
        expect((await asked.ask(path, { method })).status, `${method} ${path}`).toBe(405)
    expect((await asked.ask('/api/users', { method: 'TRACE' })).status).toBeGreaterThanOrEqual(400)
    expect(await asked.ask('/', { method: 'HEAD' })).toMatchObject({ status: 200, body: '' })
    expect(codeOf(await asked.ask('/api/users', { method: 'POST', headers: { origin: asked.origin } }))).toEqual([
      404,
      'NOT_FOUND'
    ])
  })

  it('is of the page alone: no path leads out of its folder', async ({ begin }) => {
    const { asked } = await begin()
    for (const path of [
      '/../actors.js',
      '/..%2factors.js',
      '/%2e%2e/actors.js',
      '/assets/../../../../package.json',
      '/assets/%2e%2e%2f%2e%2e%2f%2e%2e%2fpackage.json',
      '//etc/passwd',
      '/..\\..\\package.json',
      '/%5c..%5cpackage.json',
      '/%00',
      '/index.html%00.js',
      '/assets',
      '/assets/',
      '/%',
      '/%ff'
    ])
      expect((await asked.ask(path)).status, path).toBeGreaterThanOrEqual(400)
  })
})

describe('read-only, as it is by default,', () => {
  it('refuses each edit and appends nothing', async ({ begin }) => {
    const { asked, history } = await begin()
    const session = await history.createSession('ada', 's1')
    await history.appendMessage(session, { role: 'user', content: 'one' })
    const edits = [
      { type: 'fork', ...S1, at: 1 },
      { type: 'rewind', ...S1, toVersion: 1, expectedVersion: 2 },
      { type: 'undo', ...S1, expectedVersion: 2 },
      { type: 'redo', ...S1, expectedVersion: 2 },
      { type: 'metadata', ...S1, set: { a: 1 }, unset: [], expectedVersion: 2 },
      { type: 'delete', ...S1, expectedVersion: 1 },
      { type: 'none' }
    ]
    for (const edit of edits) expect((await asked.refused(edit)).slice(0, 2)).toEqual([403, 'READ_ONLY'])
    expect(await eventsOf(history)).toHaveLength(2)
    expect(await history.forks(session)).toEqual([])
    expect(JSON.parse((await asked.ask('/api/about')).body)).toMatchObject({ allowEdit: false, actors: false })
  })
})

describe('options', () => {
  it.for<[unknown, RegExp]>([
    [{ host: '0.0.0.0' }, /token must be given/],
    [{ host: '::' }, /token must be given/],
    [{ host: 'box.example' }, /token must be given/],
    [{ host: '127.1' }, /token must be given/],
    [{ host: '' }, /host must be/],
    [{ host: 5 }, /host must be/],
    [{ host: '0.0.0.0', token: 'short' }, /at least 16 characters/],
    [{ token: 'fifteen letters' }, /at least 16 characters/],
    [{ token: '' }, /at least 16 characters/],
    [{ token: 5 }, /at least 16 characters/],
    [{ token: `${'x'.repeat(16)}\ud800` }, /printable ASCII/],
    [{ token: `${'x'.repeat(16)}é` }, /printable ASCII/],
    [{ token: `${'x'.repeat(16)}\n` }, /printable ASCII/],
    [{ token: 'x'.repeat(513) }, /at most 512/],
    [{ port: -1 }, /port must be a whole number from 0 to 65535/],
    [{ port: 65_536 }, /port must be/],
    [{ port: '80' }, /port must be/],
    [{ allowedHosts: 'box.example' }, /allowedHosts must be a list/],
    [{ allowedHosts: ['box.example:80'] }, /allowedHosts must be names without ports/],
    [{ allowEdit: 'yes' }, /allowEdit must be/],
    [{ store: 5 }, /store must be/],
    [{ actors: {} }, /actors must be an ActorLog/],
    [{ allowedit: true }, /allowedit is no option: is allowEdit meant\?/],
    [{ readOnly: true }, /readOnly is no option/],
    ['x', /options must be/]
  ])('%j are refused', async ([options, message]) => {
    const history = await createSessionHistory()
    await expect(startInspector(history, options as InspectorOptions)).rejects.toThrow(message)
    await expect(startInspector(history, options as InspectorOptions)).rejects.toBeInstanceOf(TypeError)
    await history.stop()
  })

  it('of a host and a token let others in, by a link that this machine knows', async ({ begin }) => {
    const { asked } = await begin({ inspector: { host: '0.0.0.0' } })
    expect(asked.origin).toBe(`http://127.0.0.1:${asked.port}`)
    expect((await asked.ask('/api/users')).status).toBe(200)
    expect(codeOf(await asked.ask('/api/users', { isKnown: false }))).toEqual([401, 'UNAUTHORIZED'])
  })

  it('of a token of any characters that it may have open the page', async ({ begin }) => {
    const token = Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i))
      .join('')
      .padEnd(512, '%;')
    const { asked } = await begin({ inspector: { token } })
    const { pathname, search } = new URL(asked.inspector.url)
    const { status, headers } = await asked.ask(pathname + search, { isKnown: false })
    expect(status).toBe(303)
    const cookie = headers['set-cookie']![0]!.split(';')[0]!
    expect((await asked.ask('/api/about', { isKnown: false, headers: { cookie } })).status).toBe(200)
  })

  it('of a port that is in use are an error of Node', async ({ begin }) => {
    const { asked, history } = await begin()
    await expect(startInspector(history, { port: asked.port })).rejects.toMatchObject({ code: 'EADDRINUSE' })
  })

  it('do not change after they were given, and stop can be repeated', async ({ begin }) => {
    const allowedHosts = ['box.example']
    const { asked } = await begin({ inspector: { allowedHosts } })
    allowedHosts.push('evil.example')
    expect(codeOf(await asked.ask('/api/users', { headers: { host: 'evil.example' } }))).toEqual([403, 'UNKNOWN_HOST'])
    await Promise.all([asked.inspector.stop(), asked.inspector.stop()])
    await asked.inspector.stop()
    await expect(asked.ask('/api/users')).rejects.toThrow(/ECONNREFUSED|socket hang up|ECONNRESET/)
  })
})
