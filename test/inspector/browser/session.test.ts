import type { Page } from 'playwright-core'
import { describe, expect } from 'vitest'
import { isTurnlogError, type SessionHistoryService } from '../../../src/index.ts'
import { because, chromiumMissing, expectAccessible, it, tabTo } from './kit.ts'
import { LAST, tellingOf, trips } from './trips.ts'

const BAD = { userId: 'ada', id: 'bad' }

describe.skipIf(chromiumMissing !== undefined)(`a session${because}`, () => {
  it('is found, scrubbed through and compared by mouse', async ({ setStage }) => {
    const { page, history } = await setStage({ fill: trips })
    await page.getByRole('link', { name: 'ada' }).click()
    await page.getByRole('searchbox').fill('reward 0')
    await page.getByRole('status').filter({ hasText: '1 session' }).waitFor()
    await page.getByRole('link', { name: 'A train to Oslo' }).click()
    await page.getByRole('heading', { name: 'A train to Oslo', level: 1 }).waitFor()
    await expectVersion(page, history, LAST)

    // To the middle, and back by dragging.
    const slider = page.getByRole('slider', { name: 'Version' })
    const { x, y, width, height } = (await slider.boundingBox())!
    const at = (version: number): number => x + ((version - 0.5) / LAST) * width
    await page.mouse.click(at(16), y + height / 2)
    await expectVersion(page, history, 16)
    await page.mouse.move(at(16), y + height / 2)
    await page.mouse.down()
    for (const version of [14, 12, 10]) await page.mouse.move(at(version), y + height / 2)
    await page.mouse.up()
    await expectVersion(page, history, 10)
    await page.getByRole('button', { name: 'Next version' }).click()
    await expectVersion(page, history, 11)
    // What went wrong is found without knowing where.
    await page.getByRole('button', { name: 'Next notable event' }).click()
    await expectVersion(page, history, 19)
    await page.getByRole('status').filter({ hasText: 'the output of a tool is an error' }).waitFor()

    await page.getByRole('link', { name: 'Compare' }).click()
    const counts = page.getByRole('status').filter({ hasText: 'same' })
    await counts.filter({ hasText: '1 only right' }).waitFor()
    await page
      .getByRole('group', { name: 'What to compare with' })
      .getByRole('button', { name: 'Newest version' })
      .click()
    await counts.filter({ hasText: '13 same' }).waitFor()
    await page.getByRole('button', { name: 'Another session' }).click()
    const picker = page.getByRole('dialog', { name: 'Compare with another session' })
    await picker.getByRole('button', { name: 'A train to Oslo' }).click()
    await counts.filter({ hasText: '16 same' }).waitFor()
    expect(new URL(page.url()).searchParams.get('otherSession')).toBe('good')
  })

  it('that is long is shown by its end before the rest is read', async ({ setStage }) => {
    const { page, goto } = await setStage({
      allowEdit: true,
      fill: async (history) => {
        const session = await history.createSession('ada', 'long')
        const said = Array.from({ length: 10_000 }, (_, i) => ({ role: 'user' as const, content: `message ${i + 1}.` }))
        await history.appendMessage(session, said)
      }
    })
    let answer: () => void = () => undefined
    const isWanted = new Promise<void>((resolve) => (answer = resolve))
    await page.route('**/api/moment?**', async (route) => {
      if (!route.request().url().includes('brief=1')) await isWanted
      await route.continue()
    })
    for (const view of ['conversation', 'json']) await goto(`user=ada&session=long&view=${view}`)
    await goto('user=ada&session=long')
    const feed = page.getByRole('feed')
    await feed.getByText('message 10000.').waitFor()
    expect(await page.getByRole('slider').getAttribute('aria-valuenow')).toBe('10001')
    // Neither are they the first, nor may anything be done with them.
    await feed.locator('[aria-setsize="24"]').first().waitFor()
    expect(await page.getByRole('button', { name: 'Fork' }).count()).toBe(0)
    answer()
    await feed.locator('[aria-setsize="10000"]').first().waitFor()
    await feed.getByText('message 10000.').waitFor()
    await page.getByRole('button', { name: 'Fork' }).first().waitFor()
    await page.getByRole('group', { name: 'Conversation' }).focus()
    await page.keyboard.press('Home')
    await feed.getByText('message 1.').waitFor()
    expect(await feed.getByText('message 9977.').count()).toBe(0)
  })

  it('is found, scrubbed through and compared by keyboard', async ({ setStage }) => {
    const { page, history } = await setStage({ fill: trips })
    await page.getByRole('list', { name: 'Users' }).waitFor()
    await page.keyboard.press('ArrowDown')
    await page.getByRole('link', { name: 'ada' }).and(page.locator(':focus')).waitFor()
    await page.keyboard.press('Enter')
    await page.getByRole('list', { name: 'Sessions' }).waitFor()
    await page.keyboard.press('/')
    await page.keyboard.type('reward 0')
    await page.getByRole('status').filter({ hasText: '1 session' }).waitFor()
    await page.keyboard.press('ArrowDown')
    await page.getByRole('link', { name: 'A train to Oslo' }).and(page.locator(':focus')).waitFor()
    await page.keyboard.press('Enter')
    await expectVersion(page, history, LAST)

    await tabTo(page, page.getByRole('slider', { name: 'Version' }))
    await page.keyboard.press('Home')
    await expectVersion(page, history, 1)
    for (let version = 1; version < 16; version++) await page.keyboard.press('ArrowRight')
    await expectVersion(page, history, 16)
    await page.keyboard.press('ArrowLeft')
    await expectVersion(page, history, 15)
    await page.keyboard.press(']')
    await expectVersion(page, history, 19)
    await page.keyboard.press('PageDown')
    await expectVersion(page, history, 16)
    await page.keyboard.press('End')
    await expectVersion(page, history, LAST)
    await tabTo(page, page.getByRole('spinbutton', { name: 'Version' }))
    await page.keyboard.press('Control+A')
    await page.keyboard.type('19')
    await page.keyboard.press('Enter')
    await expectVersion(page, history, 19)

    await tabTo(page, page.getByRole('link', { name: 'Compare' }))
    await page.keyboard.press('Enter')
    const counts = page.getByRole('status').filter({ hasText: 'same' })
    await counts.filter({ hasText: '1 only right' }).waitFor()
    await tabTo(page, page.getByRole('button', { name: 'Another session' }))
    await page.keyboard.press('Enter')
    await page.getByRole('dialog').getByRole('button', { name: 'A train to Oslo' }).waitFor()
    await page.keyboard.press('ArrowDown')
    await page.keyboard.press('Enter')
    await counts.filter({ hasText: '16 same' }).waitFor()
    await page.keyboard.press('n')
    await page.keyboard.press('1')
    await page.getByRole('feed', { name: 'Conversation' }).waitFor()
  })

  it('is looked at as events, as JSON and as a tree', async ({ setStage }) => {
    const { page, goto } = await setStage({ fill: trips })
    await goto('user=ada&session=bad&at=31')
    await page.getByRole('link', { name: 'Events' }).click()
    const events = page.getByRole('list', { name: 'Events' })
    await events.getByRole('link', { name: 'rewound' }).waitFor()
    await page.getByRole('heading', { name: 'Event 31 rewound' }).waitFor()
    await events.getByRole('link', { name: 'metadata-changed' }).click()
    await page.getByRole('heading', { name: 'Event 22 metadata-changed' }).waitFor()
    await page.getByRole('link', { name: 'Raw JSON' }).click()
    await page.getByRole('feed', { name: 'Items as they are stored' }).getByText('call_8').first().waitFor()
    await page.getByRole('link', { name: 'Conversation' }).click()
    await page.getByRole('complementary').getByText('cross').waitFor()
  })

  it('stands in the tree of its forks and rewinds, each a link', async ({ setStage }) => {
    const { page, goto, history } = await setStage({
      fill: async (service) => {
        await trips(service)
        await service.fork(BAD, { at: 12, sessionId: 'fork' })
      },
      withAxe: true
    })
    await goto('user=ada&session=bad&view=tree')
    const tree = page.getByRole('list', { name: 'Session bad' })
    await tree.getByText('you are here').waitFor()
    await tree.getByRole('link', { name: 'rewound to version 14' }).waitFor()
    await expectAccessible(page, 'a tree')
    await tree.getByRole('link', { name: 'fork of bad@12' }).click()
    await page.getByRole('heading', { name: 'A train to Oslo', level: 1 }).waitFor()
    expect(new URL(page.url()).searchParams.get('session')).toBe('fork')
    await page.getByRole('link', { name: 'Compare this with bad@12' }).click()
    await page.getByRole('status').filter({ hasText: 'Nothing differs' }).waitFor()
    expect(await history.forks(BAD)).toHaveLength(1)
  })

  it('has an actor, which is told of', async ({ setStage }) => {
    const { page, history } = await setStage({ fill: trips })
    await page.getByRole('link', { name: 'Actors' }).click()
    await page.getByRole('cell', { name: 'ada/bad' }).waitFor()
    await history.createSession('ada', 'later')
    await page.getByRole('cell', { name: 'ada/later' }).waitFor()
    await page.getByRole('searchbox').fill('ada/bad')
    await page.getByRole('cell', { name: 'ada/later' }).waitFor({ state: 'detached' })
    await page.getByRole('link', { name: 'ada/bad' }).click()
    await expectVersion(page, history, LAST)
  })

  it('is played', async ({ setStage }) => {
    const { page, goto, history } = await setStage({ fill: trips })
    await goto('user=ada&session=bad&at=27')
    await expectVersion(page, history, 27)
    await page.getByRole('combobox', { name: 'Speed' }).selectOption('5 a second')
    await page.getByRole('slider').focus()
    await page.keyboard.press(' ')
    await page.getByRole('button', { name: 'Pause' }).waitFor()
    await expectVersion(page, history, LAST)
    await page.getByRole('button', { name: 'Play' }).waitFor()
  })

  it('is followed where it grows, and stays where it was put', async ({ setStage }) => {
    // What was asked of it when it was purged.
    const { page, another, goto, history } = await setStage({ fill: trips, expectedComplaints: /status of 404/ })
    const other = await another()
    await goto('user=ada&session=bad')
    await page.getByRole('status').filter({ hasText: 'Following' }).waitFor()
    await other.appendMessage(BAD, { role: 'assistant', content: 'At 6:10, as another process says.' })
    await page.getByRole('article').getByText('as another process says').waitFor()
    await expectVersion(page, history, LAST + 1)

    await page.keyboard.press('ArrowLeft')
    await expectVersion(page, history, LAST)
    await other.appendMessage(BAD, [{ content: 'One more.' }, { content: 'Two more.' }])
    const news = page.getByRole('button', { name: /new events/ })
    await news.waitFor()
    await expectVersion(page, history, LAST)
    await news.click()
    await page.getByRole('article').getByText('Two more.').waitFor()
    await expectVersion(page, history, LAST + 3)
    await other.deleteSession('ada', 'bad')
    await page.getByRole('heading', { name: 'Deleted' }).waitFor()
    await other.purgeSession('ada', 'bad')
    await page.getByRole('alert').filter({ hasText: 'Purged' }).waitFor()
  })

  it('has an address for every view, which is shared and gone back to', async ({ setStage }) => {
    const { page, tab, history } = await setStage({ fill: trips })
    await page.getByRole('link', { name: 'ada' }).click()
    await page.getByRole('link', { name: 'A train to Oslo' }).first().click()
    await expectVersion(page, history, LAST)
    await page.getByRole('link', { name: 'Events' }).click()
    await page.getByRole('list', { name: 'Events' }).getByRole('link', { name: '12', exact: false }).first().click()
    await page.getByRole('link', { name: 'Compare' }).click()
    await page.getByRole('region', { name: 'Right side' }).waitFor()
    const version = Number(await page.getByRole('slider').getAttribute('aria-valuenow'))

    const other = await tab()
    await other.goto(page.url())
    await other.getByRole('region', { name: 'Right side' }).getByText(`version ${version} of ${LAST}`).waitFor()

    await page.goBack()
    await page.getByRole('heading', { name: `Event ${version} ` }).waitFor()
    await page.goBack()
    await page.getByRole('heading', { name: `Event ${LAST} ` }).waitFor()
    await page.goForward()
    await page.getByRole('heading', { name: `Event ${version} ` }).waitFor()
    await page.reload()
    await page.getByRole('heading', { name: `Event ${version} ` }).waitFor()
  })

  it('finds a text in the conversation', async ({ setStage }) => {
    const { page, goto } = await setStage({ fill: trips })
    await goto('user=ada&session=good')
    await page.getByRole('feed').waitFor()
    await page.keyboard.press('/')
    await page.keyboard.type('answer 1:')
    await page.getByRole('status').filter({ hasText: '1 of 1' }).waitFor()
    await page.locator('mark').first().waitFor()
  })

  it('is gone through to its ends by Home and End, however the list grows', async ({ setStage }) => {
    const { page, goto } = await setStage({ fill: unevenSession })
    await goto('user=ada&session=uneven')
    const list = page.getByRole('group', { name: 'Conversation' })
    await page.getByRole('article').getByText('message 399 ').waitFor()
    await list.focus()
    for (const [key, text] of [
      ['Home', 'message 0 '],
      ['End', 'message 399 ']
    ] as const) {
      await page.keyboard.press(key)
      await page.getByRole('article').getByText(text).waitFor()
      const leftOver = (): Promise<number> =>
        list.evaluate(
          ({ scrollTop, scrollHeight, clientHeight }, isEnd) =>
            Math.round(isEnd ? scrollHeight - clientHeight - scrollTop : scrollTop),
          key === 'End'
        )
      await expect.poll(leftOver, SOON).toBe(0)
    }
  })

  it('keeps the focus where keys go on', async ({ setStage }) => {
    const { page, goto, history } = await setStage({ fill: trips, allowEdit: true })
    await goto('user=ada')
    await page.getByRole('link', { name: 'A train to Oslo' }).first().waitFor()
    await page.getByRole('link', { name: 'A train to Oslo' }).first().focus()
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { level: 1, name: 'A train to Oslo' }).and(page.locator(':focus')).waitFor()
    await page.keyboard.press('Home')
    await expectVersion(page, history, 1)
    await page.keyboard.press(']')
    await expectVersion(page, history, 19)

    // Its button can no longer be used, and the keys go on from the slider.
    await page.getByRole('button', { name: 'Rewind to here' }).focus()
    await page.keyboard.press('Enter')
    await page.getByRole('dialog').getByRole('textbox').and(page.locator(':focus')).waitFor()
    await page.keyboard.press('Enter')
    await expectVersion(page, history, LAST + 1)
    await page.getByRole('slider').and(page.locator(':focus')).waitFor()
    await page.keyboard.press('[')
    await expectVersion(page, history, LAST - 1)

    await page.getByRole('button', { name: 'Fork from here' }).focus()
    await page.keyboard.press('Enter')
    await page.getByRole('dialog').getByRole('textbox').and(page.locator(':focus')).waitFor()
    await page.keyboard.type('forked')
    await page.keyboard.press('Enter')
    await page
      .getByRole('link', { name: `bad at version ${LAST - 1}` })
      .first()
      .waitFor()
    await page.getByRole('heading', { level: 1 }).and(page.locator(':focus')).waitFor()
  })

  it('has what comes on its timeline at once', async ({ setStage }) => {
    const { page, another, goto, history } = await setStage({ fill: trips })
    const other = await another()
    await goto('user=ada&session=bad')
    await page.getByRole('status').filter({ hasText: 'Following' }).waitFor()
    await page.locator('.track .arcs[d]').waitFor()
    // The overview is not asked for again.
    await page.route(/api\/outline/, (route) => route.abort())
    const arcs = (): Promise<number> =>
      page.locator('.track .arcs').evaluate((path) => (path.getAttribute('d') ?? '').split('C').length - 1)
    await expect.poll(arcs, SOON).toBe(1)
    await other.rewind(BAD, 10)
    await expectVersion(page, history, LAST + 1)
    await expect.poll(arcs, SOON).toBe(2)
    await other.appendMessage(BAD, { content: 'Once more.' })
    await expectVersion(page, history, LAST + 2)
    await page.keyboard.press('[')
    await expectVersion(page, history, LAST + 1)
  })

  it('says of a fork where its past is', async ({ setStage }) => {
    const { page, goto, history } = await setStage({
      fill: async (service) => {
        await trips(service)
        await service.fork(BAD, { at: 20, sessionId: 'fork' })
      }
    })
    await goto('user=ada&session=fork')
    const said = page.getByRole('status').filter({ hasText: 'fork of' })
    await said.filter({ hasText: 'bad at version 20, with 19 messages' }).waitFor()
    await page.getByRole('article').first().waitFor()
    expect(await page.getByText('added by this event').count()).toBe(0)
    await said.getByRole('link', { name: 'bad at version 20' }).click()
    await expectVersion(page, history, 20)
  })

  it('says that there is none, or no such version, and what to do', async ({ setStage }) => {
    const { page, another, goto, history } = await setStage({
      fill: trips,
      expectedComplaints: /status of 404/,
      withAxe: true,
      withClock: true
    })
    await goto('user=ada&session=nowhere')
    await page.getByRole('heading', { name: 'There is no such session' }).waitFor()
    await expectAccessible(page, 'an unknown session')
    await goto('user=ada&session=bad&at=1000')
    await page.getByRole('heading', { name: 'There is no such version' }).waitFor()
    await page.getByRole('link', { name: 'To the newest version' }).click()
    await expectVersion(page, history, LAST)
    // It comes when it is made.
    await goto('user=ada&session=nowhere')
    await page.getByRole('heading', { name: 'There is no such session' }).waitFor()
    await (await another()).createSession('ada', 'nowhere')
    await page.clock.fastForward(10_000)
    await page.getByRole('heading', { name: 'nowhere', level: 1 }).waitFor()
  })

  it('goes on by itself when the store or the inspector was away', async ({ setStage }) => {
    const { page, another, goto, history, setAway, startServer, stopServer } = await setStage({
      fill: trips,
      expectedComplaints: /status of 503|net::ERR_/,
      withClock: true
    })
    const other = await another()
    await goto('user=ada&session=bad&at=20')
    await expectVersion(page, history, 20)
    setAway(true)
    await page.keyboard.press('ArrowLeft')
    await page.getByRole('alert').filter({ hasText: 'The store is away' }).waitFor()
    setAway(false)
    await page.clock.fastForward(10_000)
    await page.getByRole('alert').waitFor({ state: 'detached' })
    await expectVersion(page, history, 19)

    await page.keyboard.press('End')
    await page.getByRole('status').filter({ hasText: 'Following' }).waitFor()
    await stopServer()
    await page.getByRole('status').filter({ hasText: 'Connecting' }).waitFor()
    await page.getByRole('alert').filter({ hasText: 'The inspector does not answer' }).waitFor()
    await other.appendMessage(BAD, { content: 'Said meanwhile.' })
    await startServer()
    await page.getByRole('article').getByText('Said meanwhile.').waitFor()
    await page.getByRole('status').filter({ hasText: 'Following' }).waitFor()
    await page.getByRole('alert').waitFor({ state: 'detached' })
  })

  it('can be used by everybody', async ({ setStage }) => {
    const { page, goto } = await setStage({ fill: trips, withAxe: true })
    for (const [view, role, name] of [
      ['conversation', 'feed', 'Conversation'],
      ['events', 'list', 'Events'],
      ['json', 'feed', 'Items as they are stored'],
      ['diff', 'region', 'Right side'],
      ['tree', 'main', '']
    ] as const) {
      await goto(`user=ada&session=bad&at=19&view=${view}`)
      await page.getByRole(role, name === '' ? {} : { name }).waitFor()
      await page.getByText('open call').or(page.getByText('problem')).first().waitFor()
      await expectAccessible(page, view)
    }
  })

  it('has few of its 20,000 messages in the document', async ({ setStage }) => {
    const { page, goto } = await setStage({ fill: longSession })
    await goto('user=ada&session=long')
    await page.getByRole('article').getByText('message 19999', { exact: true }).waitFor()
    for (const key of ['PageUp', 'Home', 'PageDown', 'ArrowRight']) {
      await page.keyboard.press(key)
      const version = Number(await page.getByRole('slider').getAttribute('aria-valuenow'))
      if (version > 1)
        await page
          .getByRole('article')
          .getByText(`message ${version - 2}`, { exact: true })
          .waitFor()
    }
    expect(await page.locator('*').count()).toBeLessThan(2_500)
    await page.getByRole('link', { name: 'Events' }).click()
    await page.getByRole('list', { name: 'Events' }).waitFor()
    expect(await page.getByRole('listitem').count()).toBeLessThan(100)
  })
})

/** So that a test says what it waits for in vain. */
const SOON = { timeout: 6_000 }

/** That a version is shown, with the messages that it has. */
async function expectVersion(page: Page, history: SessionHistoryService, version: number): Promise<void> {
  await expect.poll(() => page.getByRole('slider').getAttribute('aria-valuenow'), SOON).toBe(String(version))
  const session = await history.getSession('ada', 'bad', { at: version }).catch((error: unknown) => {
    if (isTurnlogError(error)) return null
    throw error
  })
  const messages = session?.messages ?? []
  if (messages.length === 0) return page.getByRole('heading', { name: 'No messages yet' }).waitFor()
  await expect
    .poll(async () => {
      const shown = await page
        .getByRole('feed', { name: 'Conversation' })
        .getByRole('article')
        .evaluateAll((articles) =>
          articles.map((article) => ({
            place: Number(article.getAttribute('aria-posinset')),
            of: Number(article.getAttribute('aria-setsize')),
            text: article.textContent ?? ''
          }))
        )
      const wrong = shown.filter(({ place, of, text }) => {
        const message = messages[place - 1]
        return of !== messages.length || !message || !text.includes(tellingOf(message))
      })
      return { wrong, isAtEnd: shown.some(({ place }) => place === messages.length) }
    }, SOON)
    .toEqual({ wrong: [], isAtEnd: true })
}

// Its messages are of very different heights.
async function unevenSession(history: SessionHistoryService): Promise<void> {
  const session = await history.createSession('ada', 'uneven')
  await history.appendMessage(
    session,
    Array.from(
      { length: 400 },
      (_, n) => ({ role: 'user', content: `message ${n} ${'a word or two '.repeat((n * 37) % 110)}` }) as const
    )
  )
}

async function longSession(history: SessionHistoryService): Promise<void> {
  const session = await history.createSession('ada', 'long')
  for (let n = 0; n < 20_000; n += 1_000)
    await history.appendMessage(
      session,
      Array.from({ length: 1_000 }, (_, i) => ({ role: 'user', content: `message ${n + i}` }) as const)
    )
}
