import type { Page } from 'playwright-core'
import { describe, expect } from 'vitest'
import type { MessageInput, SessionHistoryService } from '../../../src/index.ts'
import { because, chromiumMissing, expectAccessible, it } from './kit.ts'

/** Each would run, load or become an element where it is not shown as text. */
const ATTACKS = [
  '<script>window.pwned = 1</script>',
  '</script><script>window.pwned = 2</script>',
  '<img src=x onerror="window.pwned = 3">',
  '"><svg onload="window.pwned = 4"><a xlink:href="javascript:window.pwned=5">svg</a></svg>',
  '<iframe srcdoc="<script>parent.pwned = 6</script>"></iframe>',
  '[a link](javascript:window.pwned=7) ![an image](https://example.com/pixel.png)',
  'javascript:window.pwned=8',
  '<a href="javascript:window.pwned=9" onclick="window.pwned=10">go</a>',
  '<style>* { display: none }</style><base href="https://example.com/"><meta http-equiv="refresh" content="0;url=https://example.com/">',
  '<form action="https://example.com/"><input name="token" autofocus onfocus="window.pwned=11"></form>',
  '{{constructor.constructor("window.pwned=12")()}} ${window.pwned=13}',
  '\u202Eevil\u202C \u2066isolated\u2069 zero\u200Bwidth \u0000\u0007\u001B[31mred',
  '__proto__',
  'https://example.com/?looks=like&a=link'
]

const TURNED = '\u202Eadmin<b>\u202C'
const USER = 'javascript:window.pwned=20"><img src=x onerror=window.pwned=21>'
const SESSION = `../..\\?&=#%2e%00<script>window.pwned=22</script>${TURNED}`

const VIEWS = ['conversation', 'events', 'json', 'diff', 'tree'] as const

describe.skipIf(chromiumMissing !== undefined)(`a hostile conversation${because}`, () => {
  it('is text and nothing else in lists, and among the actors', async ({ setStage }) => {
    const { page, goto } = await setStage({ fill: hostile, withAxe: true })
    await page.getByRole('heading', { name: 'Users' }).waitFor()
    await page.getByText('javascript:window.pwned=20').first().waitFor()
    await expectTextOnly(page)
    await page.getByRole('link', { name: 'javascript:window.pwned=20' }).click()
    await page.getByRole('list', { name: 'Sessions' }).getByRole('link').first().waitFor()
    await expectTextOnly(page)
    await expectAccessible(page, 'sessions')
    await page.getByRole('link', { name: 'window.pwned = 1' }).first().click()
    await page.getByRole('slider').waitFor()
    expect(new URL(page.url()).searchParams.get('session')).toBe(SESSION)
    await expectAccessible(page, 'a session')
    await goto('page=actors')
    await page.getByRole('heading', { name: 'Actors' }).waitFor()
    await expectTextOnly(page)
  })

  it.for(VIEWS)('is text and nothing else, seen as %s', async (view, { setStage }) => {
    const { page, goto } = await setStage({ fill: hostile })
    await goto(new URLSearchParams({ user: USER, session: SESSION, view }).toString())
    await page.getByRole('slider').waitFor()
    await page.getByRole('heading', { level: 1 }).waitFor()
    for (const key of ['PageUp', 'ArrowLeft', '[', 'End']) {
      await page.keyboard.press(key)
      await expectSettled(page)
      await expectTextOnly(page)
    }
  })

  it('has its words on the page', async ({ setStage }) => {
    const { page, goto } = await setStage({ fill: hostile })
    await goto(new URLSearchParams({ user: USER, session: SESSION, at: '2' }).toString())
    for (let n = 0; n < ATTACKS.length; n++) {
      await expectSettled(page)
      const words = ATTACKS[n]!.split(/[^\u0020-\u007E]+/).filter((word) => word.trim() !== '')
      for (const word of words) await page.getByRole('article').getByText(word).first().waitFor()
      await page.keyboard.press('ArrowRight')
    }
  })

  it('does not turn what stands beside it around', async ({ setStage }) => {
    const { page, goto } = await setStage({ fill: hostile })
    await goto(new URLSearchParams({ user: USER, session: 'turned' }).toString())
    // Shown as marks, not obeyed.
    await page.getByRole('article').getByText('U+202E').waitFor()
    expect(await page.getByRole('article').first().textContent()).not.toContain('\u202E')
    for (const name of ['heading', 'navigation'] as const)
      expect(await page.getByRole(name).first().locator('bdi').count(), name).toBeGreaterThan(0)
  })

  it('of 10 MB comes in pieces', async ({ setStage }) => {
    const { page, goto } = await setStage({ fill: longText })
    const sizes: number[] = []
    page.on('response', (response) => {
      if (response.url().includes('/api/') && !response.headers()['content-type']?.includes('event-stream'))
        void response.body().then(
          ({ length }) => sizes.push(length),
          () => undefined
        )
    })
    await goto(new URLSearchParams({ user: USER, session: 'long' }).toString())
    await page.getByRole('slider').waitFor()
    for (const [n, view] of [...VIEWS.entries(), [0, VIEWS[0]] as const]) {
      await page.keyboard.press(String(n + 1))
      await expectSettled(page)
      expect(Number(await page.evaluate('document.body.textContent.length')), view).toBeLessThan(60_000)
    }
    await page.getByRole('button', { name: /Show all \(\d+,\d{3},\d{3} characters\)/ }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByText('<b>line 0</b>').first().waitFor()
    await dialog.getByRole('button', { name: 'Next' }).click()
    await dialog.getByText('part 2 of').waitFor()
    await expectTextOnly(page)
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'detached' })
    expect(Math.max(...sizes)).toBeLessThanOrEqual(200_000)
  })

  it('shows pictures that it carries, and fetches none', async ({ setStage }) => {
    const { page, goto } = await setStage({ fill: hostile })
    await goto(new URLSearchParams({ user: USER, session: 'pictures' }).toString())
    await page.getByRole('img', { name: /picture/ }).waitFor()
    await expect
      .poll(() => page.evaluate(`Array.from(document.images, ({ naturalWidth }) => naturalWidth)`))
      .toEqual([1])
    await page.getByText('https://example.com/pixel.png').waitFor()
  })
})

/** No element has come from a message; the kit fails where anything ran, or was asked of elsewhere. */
async function expectTextOnly(page: Page): Promise<void> {
  const strangers = await page.evaluate(`Array.from(document.querySelectorAll(
    'script:not([src]), iframe, object, embed, base, meta[http-equiv], style, svg a, video, audio, form[action^="http"], [onerror], [onload], [onclick], [onfocus]'
  ), ({ outerHTML }) => outerHTML)`)
  expect(strangers).toEqual([])
  const addresses = await page.evaluate<readonly string[]>(
    `Array.from(document.querySelectorAll('a, img'), (element) => element.href || element.src)`
  )
  expect(addresses.filter((address) => !address.startsWith(new URL(page.url()).origin))).toEqual([])
}

// What was asked for is there.
async function expectSettled(page: Page): Promise<void> {
  await expect.poll(() => page.locator('[aria-busy="true"], .skeleton').count(), { timeout: 8_000 }).toBe(0)
}

async function hostile(history: SessionHistoryService): Promise<void> {
  const metadata = JSON.parse(
    `{ "title": ${JSON.stringify(ATTACKS[0])}, "__proto__": { "pwned": 1 }, "constructor": ${JSON.stringify(ATTACKS[2])},
       "<b>": [${JSON.stringify(ATTACKS[3])}], "toString": "x", "reward": 0 }`
  ) as Record<string, string>
  const session = await history.createSession(USER, SESSION, { metadata })
  for (const text of ATTACKS) await history.appendMessage(session, { role: 'user', content: text })
  for (const text of ATTACKS) await history.appendMessage(session, everywhere(text))
  await history.rewind(session, 5, { reason: ATTACKS[2] })
  await history.fork(session, { at: 4, sessionId: ATTACKS[2] })
  const turn = await history.beginTurn(session, { owner: ATTACKS[7] })
  await turn.end()

  await history.createSession(ATTACKS[0]!, 'another user')
  const turned = await history.createSession(USER, 'turned', { metadata: { title: TURNED } })
  await history.appendMessage(turned, { role: 'user', content: `before ${TURNED} after \uD83D\uDE00 \u05D0\u05D1` })

  const pictures = await history.createSession(USER, 'pictures')
  const image = (image_url: string) => ({ type: 'image', image_url }) as const
  await history.appendMessage(pictures, {
    role: 'user',
    content: [
      image(PIXEL),
      image('https://example.com/pixel.png'),
      image('javascript:window.pwned=30'),
      image('data:image/svg+xml,<svg xmlns="http://www.w3.org/2000/svg" onload="window.pwned=31"/>'),
      image('data:text/html,<script>window.pwned=32</script>'),
      { type: 'file', filename: '"><script>window.pwned=33</script>', file_url: 'javascript:window.pwned=34' }
    ]
  })
}

async function longText(history: SessionHistoryService): Promise<void> {
  const long = await history.createSession(USER, 'long')
  const lines = Array.from({ length: 560_000 }, (_, n) => `<b>line ${n}</b>\n`).join('')
  await history.appendMessage(long, { role: 'user', content: lines })
}

const PIXEL =
  'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='

// In every place where a message has a text.
function everywhere(text: string): MessageInput {
  const data = JSON.parse(
    `{ "__proto__": ${JSON.stringify(text)}, "hasOwnProperty": 1, ${JSON.stringify(text)}: ${JSON.stringify(text)} }`
  ) as Record<string, string>
  return {
    id: text,
    type: text,
    role: 'assistant',
    code: text,
    message: text,
    status: 'failed',
    error: { code: text, message: text },
    usage: { [text]: text, input_tokens: 1 },
    metadata: data,
    content: [
      { type: 'text', text, error: { code: text, message: text } },
      { type: 'refusal', refusal: text },
      { type: 'data', data: { ...data, call_id: text, name: text, arguments: text } },
      { type: 'data', data: { call_id: text, output: text } },
      { type: 'image', image_url: text },
      { type: 'video', video_url: text },
      { type: 'audio', data: text, format: text },
      { type: 'file', file_url: text, filename: text, file_id: text }
    ]
  }
}
