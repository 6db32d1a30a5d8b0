import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BrowserContextOptions, Locator, Page } from 'playwright-core'
import { afterAll, expect, it as plainIt } from 'vitest'
import { createSessionHistory, type EventStore, type SessionHistoryService } from '../../../src/index.ts'
import { turnlogError } from '../../../src/errors.ts'
import { ActorLog, startInspector, type Inspector, type InspectorOptions } from '../../../src/inspector.ts'
import { sqliteStore } from '../../../src/stores/sqlite.ts'
import { chromiumMissing, launchChromium } from './chromium.ts'

export { chromiumMissing } from './chromium.ts'

/** What a title says of a test that is skipped: Vitest shows no other reason. */
export const because = chromiumMissing === undefined ? '' : ` (skipped: ${chromiumMissing})`

// One for all tests of a file, each of which has a profile of its own.
const browser = chromiumMissing === undefined ? await launchChromium() : undefined
afterAll(() => browser?.close())

/** What a stage is set with. */
export interface StageOptions extends InspectorOptions {
  /** Writes what there is to look at. */
  readonly fill?: (history: SessionHistoryService) => Promise<unknown>
  readonly browser?: BrowserContextOptions
  /** What the console may say: browsers report every answer that is an error. */
  readonly expectedComplaints?: RegExp
  /** Whether {@link expectAccessible} is asked. */
  readonly withAxe?: boolean
  /** Whether a test puts the page's clock forward: `page.clock.fastForward`. */
  readonly withClock?: boolean
}

/** A store in an SQLite file, a service over it, an inspector, and a page in a browser that has been let in. */
export interface Stage {
  readonly page: Page
  readonly history: SessionHistoryService
  /** That of the server, without the token. */
  readonly origin: string
  readonly inspector: Inspector
  /** Lets every call to the store fail, or work again. */
  setAway(isAway: boolean): void
  /** Another service over the same file, as another process has it. */
  another(): Promise<SessionHistoryService>
  /** Ends the inspector. */
  stopServer(): Promise<void>
  /** Starts it again, on the same port and with the same token. */
  startServer(): Promise<void>
  /** A further tab. */
  tab(): Promise<Page>
  /** Loads the page at a place: `user=ada&session=s1`. */
  goto(query?: string): Promise<void>
}

/** A test with stages of its own. Fails when a page of it complains: an error, a violation of the content security policy, a request to elsewhere, a script that a message brought. */
export const it = plainIt.extend<{ readonly setStage: (options?: StageOptions) => Promise<Stage> }>({
  // oxlint-disable-next-line no-empty-pattern -- Vitest reads from it what a fixture needs.
  setStage: async ({}, use) => {
    const complaints: string[] = []
    const closing: (() => Promise<unknown>)[] = []
    await use((options) => setStage(options, complaints, closing))
    for (const close of closing.toReversed()) await close()
    expect(complaints, 'complaints of the page').toEqual([])
  }
})

async function setStage(
  {
    fill,
    browser: contextOptions,
    expectedComplaints,
    withAxe = false,
    withClock = false,
    ...options
  }: StageOptions = {},
  complaints: string[],
  closing: (() => Promise<unknown>)[]
): Promise<Stage> {
  const directory = mkdtempSync(join(tmpdir(), 'turnlog-inspector-'))
  closing.push(async () => rmSync(directory, { recursive: true }))
  const path = join(directory, 'sessions.db')
  const { store, setAway } = withAbsences(sqliteStore({ path }))
  const actors = new ActorLog()
  const serve = async (): Promise<SessionHistoryService> => {
    const history = await createSessionHistory({ store: sqliteStore({ path }) })
    closing.push(() => history.stop())
    return history
  }
  const history = await createSessionHistory({ store, inspect: actors })
  closing.push(() => history.stop())
  await fill?.(history)

  const given: InspectorOptions = { store: 'sqlite:sessions.db', actors, token: 'a token of the tests', ...options }
  let inspector = await startInspector(history, given)
  closing.push(() => inspector.stop())
  const { origin, port } = new URL(inspector.url)
  const context = await browser!.newContext({ reducedMotion: 'reduce', ...contextOptions })
  closing.push(() => context.close())
  context.setDefaultTimeout(10_000)
  await context.addInitScript(COMPLAIN)
  // Not as an element of the page, which its policy would refuse.
  if (withClock) await context.clock.install()
  if (withAxe) await context.addInitScript((await import('axe-core')).default.source)

  const watched = (page: Page): Page => {
    const complain = (what: string): void => {
      if (!expectedComplaints?.test(what)) complaints.push(what)
    }
    page.on('pageerror', (error) => complain(error.stack ?? error.message))
    page.on('console', (message) => {
      if (['error', 'warning', 'assert'].includes(message.type()))
        complain(`${message.type()}: ${message.text()} (${message.location().url})`)
    })
    page.on('dialog', (dialog) => {
      complain(`a dialog: ${dialog.message()}`)
      void dialog.dismiss()
    })
    page.on('request', (request) => {
      if (new URL(request.url()).origin !== origin) complain(`a request to ${request.url().slice(0, 200)}`)
    })
    return page
  }
  context.on('page', watched)
  const page = await context.newPage()
  await page.goto(inspector.url)
  return {
    page,
    history,
    origin,
    inspector,
    setAway,
    another: serve,
    stopServer: () => inspector.stop(),
    startServer: async () => {
      inspector = await startInspector(history, { ...given, port: Number(port) })
    },
    tab: () => context.newPage(),
    goto: async (query = '') => void (await page.goto(`${origin}/?${query}`))
  }
}

// In every document before its own scripts: says what only the document is told of. Nothing of the page sets `pwned`: what does was brought by a message.
const COMPLAIN = `
document.addEventListener('securitypolicyviolation', (event) =>
  console.error('refused by the content security policy: ' + event.violatedDirective + ' ' + event.blockedURI + ' ' + event.sample))
Object.defineProperty(window, 'pwned', { set: () => console.error('pwned'), get: () => undefined })
`

/** A store that can be away. */
function withAbsences(inner: EventStore): { readonly store: EventStore; setAway(isAway: boolean): void } {
  let away = false
  const refusal = (): Error => turnlogError('STORE_UNAVAILABLE', 'The store is away', { outcome: 'not-stored' })
  const store = new Proxy(inner, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      const call = value.bind(target) as (...given: readonly unknown[]) => unknown
      if (name === 'open' || name === 'close' || name === 'watch') return call
      return (...given: readonly unknown[]) => {
        if (!away) return call(...given)
        if (name === 'health') return Promise.resolve(false)
        return name === 'read' ? refusing(refusal()) : Promise.reject(refusal())
      }
    }
  })
  return { store, setAway: (isAway) => void (away = isAway) }
}

// oxlint-disable-next-line require-yield -- one that fails at once
async function* refusing(error: Error): AsyncGenerator<never> {
  throw error
}

/** None of axe's rules is broken, and contrasts are enough in dark colours, too. */
export async function expectAccessible(page: Page, where: string): Promise<void> {
  expect(await violationsOf(page), where).toEqual([])
  await page.emulateMedia({ colorScheme: 'dark' })
  expect(await violationsOf(page, `runOnly: ['color-contrast']`), `${where}, dark`).toEqual([])
  await page.emulateMedia({ colorScheme: 'light' })
}

async function violationsOf(page: Page, options = ''): Promise<unknown> {
  const violations = await page.evaluate<readonly Violation[]>(
    `axe.run(document, { resultTypes: ['violations'], ${options} }).then(({ violations }) => violations)`
  )
  return violations.map(({ id, help, nodes }) => ({
    id,
    help,
    nodes: nodes.slice(0, 3).map(({ html, failureSummary }) => `${html.slice(0, 200)}: ${failureSummary}`)
  }))
}

interface Violation {
  readonly id: string
  readonly help: string
  readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[]
}

/** Presses Tab until an element has the focus, as whoever has no mouse does. */
export async function tabTo(page: Page, element: Locator): Promise<void> {
  const focused = element.and(page.locator(':focus'))
  for (let presses = 0; presses < 150; presses++) {
    if ((await focused.count()) > 0) return
    await page.keyboard.press('Tab')
  }
  throw new Error(`Tab does not come to ${element.toString()}`)
}
