import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import type { Browser, Page } from 'playwright-core'
import { createSessionHistory } from '../../dist/index.js'
import { startInspector } from '../../dist/inspector.js'
import { sqliteStore } from '../../dist/stores/sqlite.js'
import { launchChromium } from '../inspector/browser/chromium.ts'
import { median } from './rounds.ts'
import { roleOf, textOf } from './subjects.ts'
import type { Row, Workload } from './workloads.ts'

const EVENTS = 100_000
const VIEWS = ['conversation', 'events', 'json', 'diff', 'tree']
const PAGE = fileURLToPath(new URL('../../dist/inspector/page', import.meta.url))

export const inspectorWorkloads: readonly Workload[] = [{ name: 'inspector', run: inspector }]

// The built page, in a browser, over a session of 100,000 events in SQLite.
async function inspector({ isQuick }: { readonly isQuick: boolean }): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), 'turnlog-bench-'))
  const path = join(directory, 'sessions.db')
  await fill(path)
  const browser = await launchChromium()
  try {
    const [cold, whole, warm]: [number[], number[], number[]] = [[], [], []]
    for (let round = 0; round < (isQuick ? 2 : 5); round++) {
      await withPage(browser, path, async (page, origin) => {
        cold.push(await firstView(page, origin))
        whole.push(await page.evaluate<number>(`painted(${EVENTS}, ${EVENTS - 1})`))
        warm.push(await firstView(page, origin))
      })
    }
    let walked = { steps: [0], nodes: 0, largest: 0, bytes: 0 }
    await withPage(browser, path, async (page, origin) => {
      walked = await walk(browser, page, origin, isQuick ? 40 : 100)
    })
    const { steps, nodes, largest, bytes } = walked
    const p95 = steps.toSorted((a, b) => a - b)[Math.floor(steps.length * 0.95)]!
    const scripts = readdirSync(PAGE, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.js'))
    const script = scripts.reduce((sum, file) => sum + gzipSync(readFileSync(join(PAGE, file))).length, 0)
    const row = (
      measure: string,
      unit: Row['unit'],
      results: Row['results'],
      value: number,
      most: number,
      also = ''
    ): Row => ({
      measure,
      unit,
      results,
      target: `at most ${most.toLocaleString('en')} ${unit}`,
      reached: `${Math.round(value).toLocaleString('en')} ${unit}${also}`,
      isMet: value <= most
    })
    return [
      row('inspector: first view, server just started', 'ms', { turnlog: cold }, median(cold), 1_500),
      {
        measure: 'inspector: and all of it counted',
        unit: 'ms',
        results: { turnlog: whole },
        reached: `${Math.round(median(whole)).toLocaleString('en')} ms`
      },
      row('inspector: first view, again', 'ms', { turnlog: warm }, median(warm), 1_500),
      row('inspector: a step of the timeline', 'ms', { turnlog: steps }, p95, 50, ' at the 95th percentile'),
      row('inspector: elements, in the view of most', '', { turnlog: [nodes] }, nodes, 3_000),
      row('inspector: the largest answer', 'bytes', { turnlog: [largest] }, largest, 200_000),
      row('inspector: the script, compressed', 'bytes', { turnlog: [script] }, script, 150_000),
      row('inspector: memory of the tab, after all views', 'bytes', { turnlog: [bytes] }, bytes, 200_000_000)
    ]
  } finally {
    await browser.close()
    rmSync(directory, { recursive: true })
  }
}

async function fill(path: string): Promise<void> {
  const history = await createSessionHistory({ store: sqliteStore({ path }) })
  const session = await history.createSession('user', 'long')
  // The first event is `created`.
  for (let made = 1; made < EVENTS; made += 999) {
    const messages = Array.from({ length: Math.min(999, EVENTS - made) }, (_, k) => ({
      role: roleOf(made + k),
      content: [{ type: 'text' as const, text: `message of version ${made + k + 1}: ${textOf(made + k)}` }]
    }))
    await history.appendMessage(session, messages)
  }
  await history.stop()
}

/** A page of a server that has just been started. */
async function withPage(
  browser: Browser,
  path: string,
  work: (page: Page, origin: string) => Promise<void>
): Promise<void> {
  const history = await createSessionHistory({ store: sqliteStore({ path }) })
  const server = await startInspector(history)
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 } })
  await context.addInitScript(MEASURE)
  const page = await context.newPage()
  await page.goto(server.url)
  await work(page, new URL(server.url).origin)
  await context.close()
  await server.stop()
  await history.stop()
}

/** From the navigation until the newest message is painted. */
async function firstView(page: Page, origin: string): Promise<number> {
  await page.goto(`${origin}/?user=user&session=long`)
  return page.evaluate<number>(`painted(${EVENTS})`)
}

async function walk(
  browser: Browser,
  page: Page,
  origin: string,
  count: number
): Promise<{ readonly steps: number[]; readonly nodes: number; readonly largest: number; readonly bytes: number }> {
  let largest = 0
  page.on('response', (response) => {
    // What is followed has no end.
    if (!response.url().includes('/api/') || response.url().includes('/follow')) return
    void response.body().then(
      ({ length }) => (largest = Math.max(largest, length)),
      () => undefined
    )
  })
  await firstView(page, origin)
  const steps: number[] = []
  for (let n = 0; n < count; n++) {
    // From one place to another, and there step by step.
    if (n % 20 === 0) {
      const version = EVENTS - 1 - Math.floor(((n / count) * EVENTS) / 1.1)
      await page.goto(`${origin}/?user=user&session=long&at=${version}`)
      await page.evaluate(`painted(${version})`)
    }
    steps.push(await page.evaluate<number>(`step('ArrowLeft')`))
  }
  let nodes = 0
  for (const view of VIEWS) {
    await page.goto(`${origin}/?user=user&session=long&at=50000&view=${view}`)
    await page.getByRole('slider').waitFor()
    for (const key of ['PageDown', 'PageUp', 'ArrowRight']) await page.keyboard.press(key)
    await settled(page)
    nodes = Math.max(nodes, Number(await page.evaluate(`document.querySelectorAll('*').length`)))
  }
  await page.goto(`${origin}/?user=user&session=long`)
  await page.evaluate(`painted(${EVENTS})`)
  // All in one document: nothing is loaded anew.
  for (const key of ['2', '3', '4', '5', '1']) {
    await page.keyboard.press(key)
    for (const scroll of [1, 1, 1, 1]) await page.mouse.wheel(0, scroll * 5_000)
    await settled(page)
  }
  return { steps, nodes, largest, bytes: await memoryOf(browser, page) }
}

async function settled(page: Page): Promise<void> {
  while ((await page.locator('.skeleton, [aria-busy="true"]').count()) > 0) await page.waitForTimeout(20)
}

/** What the process of the tab has for itself: code, documents, pictures and heap. */
async function memoryOf(browser: Browser, page: Page): Promise<number> {
  const client = await browser.newBrowserCDPSession()
  const { processInfo } = await client.send('SystemInfo.getProcessInfo')
  const sizes = processInfo
    .filter(({ type }) => type === 'renderer')
    .map(({ id }) => {
      const [, kilobytes = '0'] = /Private_Dirty: +(\d+)/.exec(readFileSync(`/proc/${id}/smaps_rollup`, 'utf8')) ?? []
      return Number(kilobytes) * 1024
    })
  await page.evaluate('0')
  return Math.max(...sizes)
}

// A frame that has it is drawn, and the next task comes when that is done.
const MEASURE = `
function isShown(version, count) {
  const feed = document.querySelector('[role=feed]')
  if (count && !feed?.querySelector('[aria-setsize="' + count + '"]')) return false
  return (feed?.textContent.includes('message of version ' + version + ':') ?? false) &&
    document.querySelector('[role=slider]')?.getAttribute('aria-valuenow') === String(version)
}
function painted(version, count) {
  return new Promise((resolve) => {
    const observer = new MutationObserver(look)
    function look() {
      if (!isShown(version, count)) return
      observer.disconnect()
      requestAnimationFrame(() => {
        const { port1, port2 } = new MessageChannel()
        port1.onmessage = () => resolve(performance.now())
        port2.postMessage(0)
      })
    }
    observer.observe(document, { subtree: true, childList: true, characterData: true, attributes: true })
    look()
  })
}
async function step(key) {
  const version = Number(document.querySelector('[role=slider]').getAttribute('aria-valuenow')) - 1
  const start = performance.now()
  document.body.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }))
  return (await painted(version)) - start
}
Object.assign(globalThis, { painted, step })
`
