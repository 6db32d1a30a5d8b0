import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect } from 'vitest'
import { because, chromiumMissing, expectAccessible, it } from './kit.ts'

describe.skipIf(chromiumMissing !== undefined)(`the door${because}`, () => {
  it('lets in whoever has the link, and keeps the token from the address and from scripts', async ({ setStage }) => {
    const { page, tab, origin } = await setStage()
    expect(page.url()).toBe(`${origin}/`)
    await page.getByRole('banner').waitFor()
    expect(await page.evaluate('document.cookie')).toBe('')
    const other = await tab()
    await other.goto(origin)
    await other.getByRole('banner').waitFor()
  })

  it('asks for the token where there is none, and takes no wrong one', async ({ setStage }) => {
    const { page, origin } = await setStage({ expectedComplaints: /status of 401/, withAxe: true })
    await page.context().clearCookies()
    await page.goto(`${origin}/?user=ada&session=s1`)
    const heading = page.getByRole('heading', { name: 'The inspector needs its token' })
    await heading.waitFor()
    await expectAccessible(page, 'the page that asks for the token')
    await page.getByRole('textbox', { name: 'token' }).fill('another token of the tests')
    await page.getByRole('button', { name: 'Open' }).click()
    await page.waitForURL(/token=another/)
    await heading.waitFor()
    // By keyboard alone.
    await page.getByRole('textbox', { name: 'token' }).focus()
    await page.keyboard.type('a token of the tests')
    await page.keyboard.press('Enter')
    await page.getByRole('banner').waitFor()
    expect(page.url()).toBe(`${origin}/`)
  })

  it('runs no inline code, takes no inline style, loads nothing from elsewhere', async ({ setStage }) => {
    const { page } = await setStage({ expectedComplaints: /content security policy|Trusted|pixel.png/i })
    const refused = async (by: RegExp, script: string): Promise<void> => {
      const refusal = page.waitForEvent('console', (message) => by.test(message.text()))
      await Promise.all([refusal, page.evaluate(`(() => { ${script} })()`).catch(() => undefined)])
    }
    await page.getByRole('banner').waitFor()
    await refused(
      /TrustedScript/,
      `const script = document.createElement('script'); script.text = 'window.pwned = 1'; document.body.append(script)`
    )
    await refused(/TrustedHTML/, `document.body.innerHTML = '<img src=x onerror="window.pwned = 1">'`)
    await refused(/TrustedScript/, `document.body.setAttribute('onclick', 'window.pwned = 1')`)
    await refused(/style-src/, `document.body.setAttribute('style', 'color: red')`)
    await refused(/img-src/, `new Image().src = 'https://example.com/pixel.png'`)
    await refused(/connect-src/, `void fetch('https://example.com/').catch(() => undefined)`)
    await refused(/script-src/, `location.href = 'javascript:window.pwned = 1'`)
  })

  it('does not come into a page of another site', async ({ setStage }) => {
    const { page, origin } = await setStage({ expectedComplaints: /./ })
    const elsewhere = createServer((_, answer) => {
      answer.setHeader('content-type', 'text/html')
      answer.end(
        `<!doctype html><title>elsewhere</title><iframe src="${origin}"></iframe><a href="${origin}">there</a>`
      )
    }).listen(0, '127.0.0.1')
    try {
      await once(elsewhere, 'listening')
      // Another site to the browser, though the same machine.
      await page.goto(`http://localhost:${(elsewhere.address() as AddressInfo).port}`)
      const [, frame] = page.frames()
      expect(await frame?.evaluate('location.href').catch(() => 'about:blank')).not.toBe(`${origin}/`)
      // A link from there brings no cookie, and says what to do.
      await page.getByRole('link', { name: 'there' }).click()
      await page.getByRole('heading', { name: 'The inspector needs its token' }).waitFor()
      await page.getByRole('link', { name: 'open this page again' }).click()
      await page.getByRole('banner').waitFor()
    } finally {
      elsewhere.closeAllConnections()
      elsewhere.close()
    }
  })
})
