import { describe, expect } from 'vitest'
import type { SessionHistoryService } from '../../../src/index.ts'
import { because, chromiumMissing, expectAccessible, it } from './kit.ts'

describe.skipIf(chromiumMissing !== undefined)(`the lists of users and sessions${because}`, () => {
  it('say what to do where there is nothing, and show what comes', async ({ setStage }) => {
    const { page, another } = await setStage({ withAxe: true, withClock: true })
    await page.getByRole('heading', { name: 'There are no sessions yet' }).waitFor()
    await page.getByText('turnlog import runs.jsonl --user ada --store sqlite:sessions.db').waitFor()
    await expectAccessible(page, 'an empty store')
    const other = await another()
    await other.createSession('ada', 'trains', { metadata: { title: 'A train to Oslo' } })
    await page.clock.fastForward(10_000)
    await page.getByRole('link', { name: 'A train to Oslo' }).waitFor()
  })

  it('are searched, opened and left again by mouse', async ({ setStage }) => {
    const { page } = await setStage({ fill: people, withAxe: true })
    await page.getByRole('heading', { name: 'Users' }).waitFor()
    await page.getByRole('searchbox', { name: 'Search users' }).fill('AD')
    await page.getByRole('status').filter({ hasText: '1 user' }).waitFor()
    await page.getByRole('list', { name: 'Users' }).getByRole('link', { name: 'ada' }).click()
    const sessions = page.getByRole('list', { name: 'Sessions' })
    await page.getByRole('status').filter({ hasText: '3 sessions' }).waitFor()
    expect(await sessions.getByRole('link').allTextContents()).toEqual(['A ferry', 'hotels', 'A train to Oslo'])

    const search = page.getByRole('searchbox', { name: 'Search sessions' })
    await search.fill('oslo')
    await page.getByRole('status').filter({ hasText: '1 session' }).waitFor()
    await search.fill('reward 0')
    await sessions.getByRole('link', { name: 'A ferry' }).waitFor()
    await search.fill('nothing of the kind')
    await page.getByRole('heading', { name: 'Nothing matches' }).waitFor()
    await expectAccessible(page, 'a search without result')
    await page.getByRole('button', { name: 'Show all sessions' }).click()
    await sessions.getByRole('link', { name: 'A train to Oslo' }).click()
    await page.waitForURL(/user=ada&session=trains/)
    await page.goBack()
    await sessions.waitFor()
    await page.getByRole('navigation').getByRole('link', { name: 'turnlog' }).click()
    await page.getByRole('heading', { name: 'Users' }).waitFor()
  })

  it('are searched, gone through and opened by keyboard alone', async ({ setStage }) => {
    const { page } = await setStage({ fill: people })
    await page.getByRole('heading', { name: 'Users' }).waitFor()
    const focused = async (name: string): Promise<void> =>
      expect.poll(() => page.evaluate('document.activeElement.textContent')).toBe(name)
    await page.keyboard.press('/')
    await page.keyboard.type('ad')
    await page.getByRole('status').filter({ hasText: '1 user' }).waitFor()
    await page.keyboard.press('ArrowDown')
    await focused('ada')
    await page.keyboard.press('Enter')
    await page.getByRole('list', { name: 'Sessions' }).getByRole('link').first().waitFor()
    await page.keyboard.press('ArrowDown')
    await focused('A ferry')
    await page.keyboard.press('ArrowDown')
    await focused('hotels')
    await page.keyboard.press('End')
    await focused('A train to Oslo')
    await page.keyboard.press('Home')
    await focused('A ferry')
    await page.keyboard.press('End')
    await focused('A train to Oslo')
    await page.keyboard.press('Enter')
    await page.waitForURL(/user=ada&session=trains/)
    await page.goBack()
    await page.getByRole('list', { name: 'Sessions' }).waitFor()
  })

  it('tell the keys, in a dialog that gives the focus back', async ({ setStage }) => {
    const { page } = await setStage({ fill: people, withAxe: true })
    await page.getByRole('button', { name: 'Keys and help' }).focus()
    await page.keyboard.press('?')
    const dialog = page.getByRole('dialog', { name: 'Keys' })
    await dialog.waitFor()
    await expectAccessible(page, 'the help')
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'detached' })
    expect(await page.evaluate('document.activeElement.getAttribute("aria-label")')).toBe('Keys and help')
  })

  it('show thousands page by page, a few of them at a time', async ({ setStage }) => {
    const { page } = await setStage({ fill: crowd })
    const sessions = page.getByRole('list', { name: 'Sessions' })
    await sessions.getByRole('link', { name: 'run-349' }).waitFor()
    expect(await page.getByRole('listitem').count()).toBeLessThan(60)
    // By keyboard to the end of what is here, as often as more comes.
    const last = sessions.getByRole('link', { name: 'run-0', exact: true })
    await page.keyboard.press('ArrowDown')
    await expect
      .poll(async () => {
        await page.keyboard.press('End')
        return last.isVisible()
      })
      .toBe(true)
    expect(await page.getByRole('listitem').count()).toBeLessThan(60)
    await page.getByRole('status').filter({ hasText: '350 sessions' }).waitFor()
  })

  it('do not move under the pointer, and say that there is more', async ({ setStage }) => {
    const { page, another, goto } = await setStage({ fill: people, withClock: true })
    await goto('user=ada')
    await page.getByRole('link', { name: 'A train to Oslo' }).hover()
    await (await another()).createSession('ada', 'meanwhile')
    await page.clock.fastForward(10_000)
    const newer = page.getByRole('button', { name: 'Newer activity' })
    await newer.waitFor()
    expect(await page.getByRole('link', { name: 'meanwhile' }).count()).toBe(0)
    await newer.click()
    await page.getByRole('link', { name: 'meanwhile' }).waitFor()
    await newer.waitFor({ state: 'detached' })
  })

  it('find a deleted session by its id', async ({ setStage }) => {
    const { page, goto } = await setStage({
      fill: async (history) => {
        await people(history)
        await history.deleteSession('ada', 'hotels')
      }
    })
    await goto('user=ada&search=hotels')
    await page.getByRole('listitem').filter({ hasText: 'hotels' }).filter({ hasText: 'deleted' }).waitFor()
  })

  it('say that there is no such user', async ({ setStage }) => {
    const { page, goto } = await setStage({ fill: people, withAxe: true })
    await goto('user=nobody')
    await page.getByRole('heading', { name: 'nobody has no sessions' }).waitFor()
    await expectAccessible(page, 'an unknown user')
    await page.getByRole('link', { name: 'All users' }).click()
    await page.getByRole('heading', { name: 'Users' }).waitFor()
  })

  it('say that the store is away, and go on when it is back', async ({ setStage }) => {
    const { page, setAway, goto } = await setStage({ fill: people, expectedComplaints: /status of 503/, withAxe: true })
    await page.getByRole('list', { name: 'Users' }).waitFor()
    setAway(true)
    await goto('user=ada')
    await page.getByRole('alert').filter({ hasText: 'The store is away' }).waitFor()
    await expectAccessible(page, 'a store that is away')
    setAway(false)
    await page.getByRole('link', { name: 'A train to Oslo' }).waitFor()
    await page.getByRole('alert').waitFor({ state: 'detached' })
  })

  it('say that the inspector is away, and go on when it is back', async ({ setStage }) => {
    const { page, another, stopServer, startServer } = await setStage({
      fill: people,
      expectedComplaints: /net::ERR_/,
      withClock: true
    })
    await page.getByRole('link', { name: 'ada' }).click()
    await page.getByRole('link', { name: 'A train to Oslo' }).waitFor()
    // What is pointed at does not move.
    await page.mouse.move(0, 0)
    await stopServer()
    await page.clock.fastForward(10_000)
    await page.getByRole('alert').filter({ hasText: 'does not answer' }).waitFor()
    await (await another()).createSession('ada', 'meanwhile')
    await startServer()
    await page.clock.fastForward(10_000)
    await page.getByRole('alert').waitFor({ state: 'detached' })
    await page.getByRole('link', { name: 'meanwhile' }).waitFor()
  })

  it('can be used by everybody', async ({ setStage }) => {
    const { page, goto } = await setStage({ fill: people, withAxe: true })
    await page.getByRole('list', { name: 'Users' }).waitFor()
    await expectAccessible(page, 'users')
    await goto('user=ada')
    await page.getByRole('link', { name: 'A train to Oslo' }).waitFor()
    await expectAccessible(page, 'sessions')
    await goto('page=actors')
    await page.getByRole('heading', { name: 'Actors' }).waitFor()
    await expectAccessible(page, 'actors')
  })
})

async function people(history: SessionHistoryService): Promise<void> {
  await history.createSession('ada', 'trains', { metadata: { title: 'A train to Oslo', reward: 1 } })
  const hotels = await history.createSession('ada', 'hotels')
  await history.appendMessage(hotels, { role: 'user', content: 'A room, please.' })
  await history.createSession('ada', 'ferries', { metadata: { title: 'A ferry', reward: 0 } })
  await history.createSession('bob', 'songs')
}

async function crowd(history: SessionHistoryService): Promise<void> {
  for (let i = 0; i < 350; i++) await history.createSession('ada', `run-${i}`)
}
