import type { Page } from 'playwright-core'
import { describe, expect } from 'vitest'
import { because, chromiumMissing, expectAccessible, it, tabTo } from './kit.ts'
import { LAST, trips } from './trips.ts'

const AT_10 = 'user=ada&session=bad&at=10'

describe.skipIf(chromiumMissing !== undefined)(`editing${because}`, () => {
  it('is not there unless it was asked for', async ({ setStage }) => {
    const { page, goto, history } = await setStage({ fill: trips, expectedComplaints: /status of 403/ })
    await goto(AT_10)
    await page.getByText('Read-only:').waitFor()
    for (const name of ['Fork', 'Rewind', 'Undo', 'Redo', 'Metadata', 'Delete'])
      expect(await page.getByRole('button', { name }).count(), name).toBe(0)
    const body = JSON.stringify({ type: 'delete', user: 'ada', session: 'bad' })
    const headers = { 'content-type': 'application/json' }
    const request = JSON.stringify({ method: 'POST', body, headers })
    expect(await page.evaluate(`fetch('/api/edit', ${request}).then(({ status }) => status)`)).toBe(403)
    expect(await history.getSession('ada', 'bad')).toMatchObject({ version: LAST })
  })

  it('forks, rewinds, takes back, and says before what it appends, by mouse', async ({ setStage }) => {
    const { page, goto, history } = await setStage({ fill: trips, allowEdit: true, withAxe: true })
    await goto(AT_10)
    await page.getByRole('button', { name: 'Fork from here' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByText('a new session of 1 event, which begins with the 9 messages').waitFor()
    await expectAccessible(page, 'the dialog of a fork')
    await dialog.getByRole('textbox', { name: 'Id of the new session' }).fill('another try')
    await dialog.getByRole('button', { name: 'Fork' }).click()
    await page.waitForURL(/session=another/)
    await page.getByRole('link', { name: 'fork of bad at 10' }).waitFor()
    const fork = await history.getSession('ada', 'another try', { missing: 'null' })
    expect(fork?.messages).toEqual((await history.getSession('ada', 'bad', { at: 10 }))?.messages)

    await page.getByRole('link', { name: 'fork of bad at 10' }).click()
    await expectNow(page, 10)
    await page.getByRole('button', { name: 'Rewind to here' }).click()
    await dialog.getByText('Appends 1 event: rewound to version 10').waitFor()
    await dialog.getByRole('textbox', { name: 'Reason' }).fill('from the browser')
    await dialog.getByRole('button', { name: 'Rewind' }).click()
    await expectNow(page, LAST + 1)
    await page.getByRole('status').filter({ hasText: 'rewind to version 10: from the browser' }).waitFor()
    expect((await history.getSession('ada', 'bad'))?.messages).toEqual(fork?.messages)

    await page.getByRole('button', { name: 'Undo' }).click()
    await dialog.getByRole('button', { name: 'Undo' }).click()
    await expectNow(page, LAST + 2)
    await page.getByRole('button', { name: 'Redo' }).click()
    await dialog.getByRole('button', { name: 'Redo' }).click()
    await expectNow(page, LAST + 3)
    expect((await history.getSession('ada', 'bad'))?.messages).toEqual(fork?.messages)

    await page.getByRole('button', { name: 'Delete' }).click()
    await dialog.getByText('Appends 1 event: deleted').waitFor()
    await dialog.getByRole('button', { name: 'Delete' }).click()
    await page.getByRole('heading', { name: 'Deleted' }).waitFor()
    expect(await history.getSession('ada', 'bad', { missing: 'null' })).toBeNull()
  })

  it('forks and rewinds by keyboard', async ({ setStage }) => {
    const { page, goto, history } = await setStage({ fill: trips, allowEdit: true })
    await goto(AT_10)
    await expectNow(page, 10)
    await tabTo(page, page.getByRole('button', { name: 'Rewind to here' }))
    await page.keyboard.press('Enter')
    await page.getByRole('textbox', { name: 'Reason' }).and(page.locator(':focus')).waitFor()
    // Nothing is done by what closes it.
    await page.keyboard.press('Escape')
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    await page.keyboard.press('Enter')
    await page.keyboard.type('by hand')
    await page.keyboard.press('Enter')
    await expectNow(page, LAST + 1)
    expect((await history.getSession('ada', 'bad'))?.messages).toHaveLength(9)

    await page.keyboard.press('ArrowLeft')
    await expectNow(page, LAST)
    await tabTo(page, page.getByRole('button', { name: 'Fork from here' }))
    await page.keyboard.press('Enter')
    await page.getByRole('textbox', { name: 'Id' }).and(page.locator(':focus')).waitFor()
    await page.keyboard.type('typed')
    await page.keyboard.press('Enter')
    await page.waitForURL(/session=typed/)
    expect((await history.getSession('ada', 'typed', { missing: 'null' }))?.forkedFrom).toMatchObject({ version: LAST })
  })

  it('writes nothing over what others have written meanwhile, unless it is said again', async ({ setStage }) => {
    const { page, goto, history } = await setStage({
      fill: trips,
      allowEdit: true,
      expectedComplaints: /status of 409/
    })
    await goto(AT_10)
    await page.getByRole('button', { name: 'Rewind to here' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByText('Appends 1 event').waitFor()
    await history.appendMessage({ userId: 'ada', id: 'bad' }, { content: 'Meanwhile.' })
    await dialog.getByRole('button', { name: 'Rewind' }).click()
    await dialog.getByRole('alert').filter({ hasText: 'somebody else has written' }).waitFor()
    expect(await history.getSession('ada', 'bad')).toMatchObject({ version: LAST + 1 })
    await dialog.getByRole('button', { name: 'Rewind all the same' }).click()
    await expectNow(page, LAST + 2)
    await page.getByRole('button', { name: 'Fork from here' }).click()
    await dialog.getByRole('textbox', { name: 'Id of the new session' }).fill('good')
    await dialog.getByRole('button', { name: 'Fork' }).click()
    await dialog.getByRole('alert').filter({ hasText: 'Give the new one another id' }).waitFor()
  })
})

async function expectNow(page: Page, version: number): Promise<void> {
  await expect
    .poll(() => page.getByRole('slider').getAttribute('aria-valuetext'), { timeout: 8_000 })
    .toMatch(new RegExp(`^version ${version} of \\d+: `))
}
