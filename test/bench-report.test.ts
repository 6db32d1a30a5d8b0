import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { altOf, picturesOf, readable, THEMES, WIDTHS, type Picture, type Theme, type Width } from './bench/pictures.ts'
import { withReport, type Report } from './bench/report.ts'
import type { Row } from './bench/row.ts'

const README = `# turnlog

<!-- bench -->
What was measured before: $1, $&
<!-- /bench -->

What it means.
`

const rows: readonly Row[] = [
  ...[10, 1_000].map((x): Row => ({
    measure: `a turn at ${x} messages`,
    unit: 'µs',
    // The slow one is left out in the end.
    results: { turnlog: [40, 50, 60], emmett: [10], ...(x < 100 && { ADK: [2_000 * x] }) },
    reached: '3 ×',
    ...(x === 1_000 && { target: '2 ×', isMet: true, notes: ['ADK is left out: a turn takes 2 s'] }),
    chart: { name: 'loop', x }
  })),
  ...[1_000, 100].map((x): Row => ({
    measure: `with ${x} sessions`,
    unit: 'µs',
    results: { 'append': [8], 'read one of them': [x / 100] },
    reached: '',
    chart: { name: 'growth-active', x }
  })),
  { measure: 'a fork', unit: 'ms', results: { turnlog: [0.6] }, target: '0.5 ms', reached: '0.60 ms', isMet: false },
  { measure: 'of a | b', unit: 'bytes', results: { 'turnlog': [815], 'by hand': [5_500] }, reached: '' }
]

const report: Report = {
  date: '2026-11-28T21:00:00.000Z',
  command: 'npm run bench -- --readme',
  machine: 'a machine, 2 cores',
  node: 'v20.20.2',
  versions: { turnlog: '0.1.0', ADK: '@google/adk 2.0.0' },
  rows
}

describe('the README', () => {
  const written = withReport(README, report, 'charts')

  it('has the block replaced, and nothing else', () => {
    expect(written.startsWith('# turnlog\n\n<!-- bench -->\n')).toBe(true)
    expect(written.endsWith('\n<!-- /bench -->\n\nWhat it means.\n')).toBe(true)
    expect(written).not.toContain('before')
    expect(withReport(written, report, 'charts')).toBe(written)
  })

  it.for([
    README.replace('<!-- bench -->', ''),
    README.replace('<!-- /bench -->', ''),
    `${README}<!-- /bench -->`,
    `${README}${README}`,
    `<!-- /bench --> <!-- bench -->`
  ])('must have the marks: %j', (readme) => {
    expect(() => withReport(readme, report, 'charts')).toThrow('each once')
  })

  it('says where and with what it was measured', () => {
    for (const said of [
      '`npm run bench -- --readme`',
      '2026-11-28',
      'a machine, 2 cores',
      'Node 20.20.2',
      '@google/adk 2.0.0'
    ])
      expect(written).toContain(said)
  })

  it('has a table of targets, and of what is on no chart', () => {
    expect(tables(written)[0]).toEqual([
      '| measure | turnlog | compared with | asked | reached |',
      '| --- | --- | --- | --- | --- |',
      '| a turn at 1000 messages | 50 µs | emmett 10.0 µs | 2 × | 3 × |',
      '| a fork | 600 µs | | 0.5 ms | missed: 0.60 ms |',
      '| of a \\| b | 815 bytes | by hand 5.4 KB | | |'
    ])
  })

  it('has the figures of each chart, too, and who is left out', () => {
    expect(tables(written).slice(1)).toEqual([
      [
        '| | turnlog | emmett | ADK | reached |',
        '| --- | --- | --- | --- | --- |',
        '| a turn at 10 messages | 50 µs | 10.0 µs | 20 ms | 3 × |',
        '| a turn at 1000 messages | 50 µs | 10.0 µs | | 3 × |'
      ],
      [
        '| | append | read one of them |',
        '| --- | --- | --- |',
        '| with 1000 sessions | 8.0 µs | 10.0 µs |',
        '| with 100 sessions | 8.0 µs | 1.00 µs |'
      ]
    ])
    expect(written).toContain('- a turn at 1000 messages: ADK is left out: a turn takes 2 s')
  })

  it('shows a chart for each width and theme, and says what is on it', () => {
    for (const name of ['turn', 'growth'])
      for (const theme of THEMES)
        for (const width of ['', '-narrow']) expect(written).toContain(`"charts/${name}${width}-${theme}.svg"`)
    expect(written).not.toContain('append-light.svg')
    expect(written).toContain('turnlog 50 µs at 10, 50 µs at 1,000; emmett 10.0 µs at 10')
  })
})

describe('the pictures', () => {
  it('are those that there are rows for', () => {
    expect(picturesOf(rows).map(({ name, panels }) => [name, panels.length])).toEqual([
      ['turn', 1],
      ['growth', 1]
    ])
    expect(picturesOf([])).toEqual([])
  })

  it('have a line for each name, by rising size, with what its rounds came to', () => {
    const [line, , adk] = picturesOf(rows)[0]!.panels[0]!.lines
    expect(line).toMatchObject({ name: 'turnlog', kind: 'ours' })
    expect(line?.points[1]).toEqual({ x: 1_000, median: 50, least: 40, most: 60 })
    expect(adk?.points).toHaveLength(1)
  })

  it('tell how what grows does', () => {
    const [append, read] = picturesOf(rows)[1]!.panels[0]!.lines
    expect(append?.exponent).toBeCloseTo(0)
    expect(read?.exponent).toBeCloseTo(1)
    expect(altOf(picturesOf(rows)[1]!)).toContain('read one of them 1.00 µs at 100, 10.0 µs at 1,000, n^1.00')
  })

  it('take the exponent that was fitted round by round', () => {
    const results = { 'append': [0.1, 0.2, 0.4], 'read one of them': [1] }
    const fitted: Row = { measure: 'growth-active: b of cost ~ n^b', unit: '', results, reached: '' }
    expect(picturesOf([...rows, fitted])[1]!.panels[0]!.lines[0]!.exponent).toBe(0.2)
  })

  const isInstalled = hasECharts()
  it.for(THEMES.flatMap((theme) => WIDTHS.map((width) => [theme, width] as const)))(
    'are drawn: %s, %s',
    async ([theme, width], { skip }) => {
      skip(!isInstalled, 'ECharts is not installed: npm --prefix test/bench install')
      // The top has no types of it.
      const path = './bench/charts.ts'
      const { drawn } = (await import(path)) as { drawn: (picture: Picture, theme: Theme, width: Width) => string }
      for (const picture of picturesOf(rows)) {
        const svg = drawn(picture, theme, width)
        expect(svg).toMatch(/^<svg [^]*<\/svg>\n$/)
        for (const { name } of picture.panels.flatMap(({ lines }) => lines)) expect(svg).toContain(`>${name}`)
        expect(svg).not.toMatch(/script|<image|href="|NaN|undefined|\bon\w+=/)
        // Its only background is none.
        expect(svg.match(/<rect [^>]*>/g)).toEqual([expect.stringContaining('fill="none"')])
        expect(Buffer.byteLength(svg)).toBeLessThan(40_000)
      }
      const [light, dark] = THEMES.map((each) => drawn(picturesOf(rows)[0]!, each, width))
      expect(light).not.toBe(dark)
    }
  )
})

describe('a value', () => {
  it.for([
    [0.43, 'µs', '430 ns'],
    [4.44, 'µs', '4.4 µs'],
    [12.34, 'µs', '12.3 µs'],
    [98.7, 'µs', '99 µs'],
    [328, 'µs', '330 µs'],
    [999.6, 'µs', '1.00 ms'],
    [22_800, 'µs', '23 ms'],
    [1_250, 'ms', '1.25 s'],
    [0.42, 'ms', '420 µs'],
    [21_400, '/s', '21,000/s'],
    [5_510, 'bytes', '5.4 KB'],
    [815, 'bytes', '815 bytes'],
    [280, 'MB', '280 MB'],
    [-0.001, '', '0'],
    [0.196, '', '0.2'],
    [1_234, '', '1,234']
  ] as const)('%d %s is read as %s', ([value, unit, text]) => {
    expect(readable(value, unit)).toBe(text)
  })
})

/** The lines of each. */
function tables(markdown: string): string[][] {
  return (markdown.match(/(?:^\|.*\n?)+/gm) ?? []).map((table) => table.trimEnd().split('\n'))
}

function hasECharts(): boolean {
  try {
    createRequire(fileURLToPath(new URL('bench/package.json', import.meta.url))).resolve('echarts')
    return true
  } catch {
    return false
  }
}
