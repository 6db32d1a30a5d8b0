import { existsSync } from 'node:fs'
import { chromium, type Browser } from 'playwright-core'

const PROGRAM = '/usr/bin/chromium'

/** Why there is no browser to test with; `undefined`: there is. In CI that is a failure. */
export const chromiumMissing: string | undefined = existsSync(PROGRAM) ? undefined : missing()

/** Starts Debian's Chromium. */
export function launchChromium(): Promise<Browser> {
  // Its own sandbox does not work for root.
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : []
  return chromium.launch({ executablePath: PROGRAM, args })
}

function missing(): string {
  const reason = `Chromium is not installed (there is no ${PROGRAM}): apt-get install chromium`
  if (process.env['CI']) throw new Error(reason)
  return reason
}
