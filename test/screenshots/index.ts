// The pictures of the README, of the real runs in ../shared/data: npm run screenshots
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import { createSessionHistory } from '../../src/index.ts'
import { startInspector } from '../../src/inspector.ts'
import { sqliteStore } from '../../src/stores/sqlite.ts'
import { launchChromium } from '../inspector/browser/chromium.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const MOST_BYTES = 200_000

const directory = mkdtempSync(join(tmpdir(), 'turnlog-screenshots-'))
const path = join(directory, 'runs.db')
const args = ['--import', 'tsx', 'src/cli.ts', 'import', '../shared/data/tau-airline.jsonl', '--user', 'ada']
execFileSync(process.execPath, [...args, '--store', `sqlite:${path}`], { cwd: ROOT })

const history = await createSessionHistory({ store: sqliteStore({ path }) })
const inspector = await startInspector(history, { store: 'sqlite:runs.db', allowEdit: true })
const { origin } = new URL(inspector.url)
const browser = await launchChromium()
await shoot('session', 'light', 'user=ada&session=tau-airline-62&at=30')
await shoot('diff', 'dark', 'user=ada&session=tau-airline-62&view=diff&otherSession=tau-airline-12', async (page) => {
  await page.getByText('place 1 of').waitFor()
  for (const place of [1, 2]) {
    await page.keyboard.press('n')
    await page.getByText(`place ${place} of`).waitFor()
  }
})
await browser.close()
await inspector.stop()
await history.stop()
rmSync(directory, { recursive: true })

async function shoot(
  name: string,
  colorScheme: 'light' | 'dark',
  query: string,
  prepare: (page: Page) => Promise<void> = async () => undefined
): Promise<void> {
  const page = await browser.newPage({ colorScheme, reducedMotion: 'reduce', viewport: { width: 1280, height: 800 } })
  await page.goto(inspector.url)
  await page.goto(`${origin}/?${query}`)
  await page.getByRole('slider').waitFor()
  await prepare(page)
  while ((await page.locator('[aria-busy="true"], .skeleton').count()) > 0) await page.waitForTimeout(50)
  // They come a moment later.
  await page.getByText('Counting…').waitFor({ state: 'detached' })
  const file = join(ROOT, 'test/screenshots', `${name}.png`)
  await page.screenshot({ path: file })
  const { size } = statSync(file)
  if (size > MOST_BYTES) throw new Error(`${file} has ${size} bytes, of at most ${MOST_BYTES}`)
  console.log(`${name}.png: ${size} bytes`)
  await page.close()
}
