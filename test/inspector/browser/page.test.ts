import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'

const PAGE = fileURLToPath(new URL('../../../dist/inspector/page', import.meta.url))
const files = readdirSync(PAGE, { recursive: true, encoding: 'utf8' })

describe('the page as it ships', () => {
  it('has scripts of at most 150 KB, compressed', () => {
    const scripts = files.filter((file) => file.endsWith('.js'))
    const sizes = scripts.map((file) => gzipSync(readFileSync(join(PAGE, file))).length)
    expect(scripts.length).toBeGreaterThan(0)
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(150_000)
  })

  it('has nothing inline, and loads nothing from elsewhere', () => {
    const html = readFileSync(join(PAGE, 'index.html'), 'utf8')
    expect(html).not.toMatch(/<style|\son\w+=|\sstyle=|<script(?![^>]*\ssrc=)/)
    const loaded = Array.from(html.matchAll(/(?:src|href)="([^"]+)"/g), ([, path = '']) => path)
    for (const path of loaded) expect(files).toContain(path.replace(/^\.\//, ''))
    for (const file of files.filter((name) => name.endsWith('.css')))
      expect(readFileSync(join(PAGE, file), 'utf8')).not.toMatch(/@import|url\((?!["']?\.\/)/)
  })
})
