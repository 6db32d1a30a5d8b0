import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { init, type CustomSeriesOption, type EChartsOption, type LineSeriesOption } from 'echarts'
import {
  count,
  fileOf,
  grown,
  picturesOf,
  readable,
  THEMES,
  WIDTHS,
  type Line,
  type Panel,
  type Picture,
  type Theme,
  type Width
} from './pictures.ts'
import type { Row } from './row.ts'

interface Colours {
  readonly text: string
  readonly muted: string
  readonly grid: string
  /** Dark or light enough for text: 5 to 1 or more. To whoever sees few colours, marks and labels tell lines apart, too. */
  readonly lines: readonly string[]
}

const COLOURS: Readonly<Record<Theme, Colours>> = {
  light: {
    text: '#1f2328',
    muted: '#59636e',
    grid: '#d1d9e0',
    lines: ['#0060c0', '#bf3f0a', '#00785a', '#a0357f', '#5c4500', '#00718f', '#59636e']
  },
  dark: {
    text: '#f0f6fc',
    muted: '#9198a1',
    grid: '#2f3742',
    lines: ['#58a6ff', '#f5854a', '#3fc79a', '#f08cc8', '#f7dc7c', '#56d4ec', '#9198a1']
  }
}

/** Besides the colour: a mark for each line's points. */
const SYMBOLS = ['circle', 'rect', 'triangle', 'diamond', 'path://M0 0H10L5 9Z', 'circle', 'circle']

const FONT = "-apple-system, BlinkMacSystemFont, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif"

/** In pixels. `wide` is as wide as GitHub shows it, `narrow` as a phone does. */
interface Format {
  readonly width: number
  readonly columns: number
  readonly title: number
  readonly text: number
  /** Of the plot of a panel that has the width for itself, and of others. */
  readonly heights: readonly [full: number, part: number]
}

const FORMATS: Readonly<Record<Width, Format>> = {
  wide: { width: 880, columns: 2, title: 18, text: 14, heights: [330, 200] },
  narrow: { width: 380, columns: 1, title: 16, text: 13, heights: [270, 180] }
}

/** Writes the pictures for which there are rows; gives back the files. */
export function writeCharts(rows: readonly Row[], directory: string): string[] {
  mkdirSync(directory, { recursive: true })
  return picturesOf(rows).flatMap((picture) =>
    THEMES.flatMap((theme) =>
      WIDTHS.map((width) => {
        const file = join(directory, fileOf(picture, theme, width))
        writeFileSync(file, drawn(picture, theme, width))
        return file
      })
    )
  )
}

/** The picture as SVG: no script, no background. */
export function drawn(picture: Picture, theme: Theme, width: Width): string {
  const { option, height } = optionOf(picture, COLOURS[theme], FORMATS[width])
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: FORMATS[width].width, height })
  chart.setOption(option)
  const svg = chart.renderToSVGString()
  chart.dispose()
  return `${lean(svg)}\n`
}

/** Without what is for scripts and pointers, and with the font named once: that is half of it. */
function lean(svg: string): string {
  return svg
    .replaceAll(/ (?:ecmeta_\w+|class|pointer-events)="[^"]*"/g, '')
    .replaceAll(/<style[^]*?<\/style>\n?/g, '')
    .replaceAll(`font-family:${FONT};`, '')
    .replace('<svg ', `<svg font-family="${FONT}" `)
}

/** Where the plot of a panel is. */
interface Plot {
  readonly left: number
  readonly top: number
  readonly width: number
  readonly height: number
}

/** The place of a value on the picture. */
type Place = (x: number, y: number) => readonly [left: number, top: number]

interface Box {
  readonly left: number
  readonly top: number
  readonly right: number
  readonly bottom: number
}

function optionOf(picture: Picture, colours: Colours, format: Format): { option: EChartsOption; height: number } {
  const { title, note, panels } = picture
  const texts: object[] = []
  const write = (text: string, left: number, top: number, style: object): void => {
    texts.push({ type: 'text', silent: true, x: left, y: top, style: { text, fontFamily: FONT, ...style } })
  }

  let top = 4
  // Bold.
  for (const line of wrapped(title, format.width / 1.08, format.title)) {
    write(line, 0, top, { fontSize: format.title, fontWeight: 600, fill: colours.text })
    top += format.title * 1.35
  }
  top += 2
  for (const line of wrapped(note, format.width, format.text)) {
    write(line, 0, top, { fontSize: format.text, fill: colours.muted })
    top += format.text * 1.4
  }
  top += 12

  const option = { grid: [] as object[], xAxis: [] as object[], yAxis: [] as object[], series: [] as object[] }
  for (const row of rowsOf(panels, format.columns)) {
    const gap = 28
    const width = (format.width - gap * (row.length - 1)) / row.length
    const isFull = row.length === 1 && format.columns > 1
    const height = format.heights[panels.length === 1 || isFull ? 0 : 1] - (isFull && panels.length > 1 ? 70 : 0)
    const hasTitles = row.some((panel) => panel.title !== '')
    // Without a title, room for the label of a line that leaves at the top.
    const plotTop = top + format.text * (hasTitles ? 2 : 1.3)
    for (const [i, panel] of row.entries()) {
      const left = i * (width + gap)
      write(panel.title, left, top, { fontSize: format.text, fontWeight: 600, fill: colours.text })
      const labels = panel.lines.map((line) => labelOf(line, panel, isFull))
      const labelWidth = Math.max(...labels.flat().map((text) => widthOf(text, format.text)))
      const axisWidth = 8 + Math.max(...ticksOf(extentOf(panel)).map((y) => widthOf(tick(y, panel.unit), format.text)))
      const plot = { left: left + axisWidth, top: plotTop, width: width - axisWidth - labelWidth - 16, height }
      const place = addPanel(option, panel, plot, colours, format)
      addMark(panel, plot, place, colours, format, texts)
      addLabels(panel, labels, plot, place, colours, format, texts)
    }
    top = plotTop + height + format.text * 4.6
  }
  return {
    height: Math.ceil(top - format.text * 1.2),
    option: {
      ...option,
      animation: false,
      backgroundColor: 'transparent',
      graphic: { elements: texts }
    }
  }
}

/** As many to a row as there are columns; what is over is the first and has a row for itself. */
function rowsOf(panels: readonly Panel[], columns: number): (readonly Panel[])[] {
  const rows: (readonly Panel[])[] = []
  const over = panels.length % columns
  if (over > 0) rows.push(panels.slice(0, over))
  for (let i = over; i < panels.length; i += columns) rows.push(panels.slice(i, i + columns))
  return rows
}

function addPanel(
  option: { grid: object[]; xAxis: object[]; yAxis: object[]; series: object[] },
  panel: Panel,
  plot: Plot,
  colours: Colours,
  format: Format
): Place {
  const index = option.grid.length
  const xs = Array.from(new Set(panel.lines.flatMap(({ points }) => points.map(({ x }) => x)))).sort((a, b) => a - b)
  const [xMin, xMax] = [xs[0]!, xs.length > 1 ? xs.at(-1)! : xs[0]! * 10]
  const [yMin, yMax] = extentOf(panel)
  // All that were measured if they are few, and decades else.
  const xTicks = xs.length <= 5 ? xs : ticksOf([xMin, xMax])
  const long = xTicks.map(count)
  const isTight = widthOf(long.join('    '), format.text) > plot.width
  const xLabels = isTight ? xTicks.map((x) => x.toLocaleString('en', { notation: 'compact' })) : long
  const axis = (min: number, max: number, ticks: readonly number[]): object => ({
    type: 'value',
    gridIndex: index,
    // A logarithmic axis of ECharts has its ticks at powers of its base only.
    min: Math.log10(min),
    max: Math.log10(max),
    axisTick: { show: false, customValues: ticks.map(Math.log10) },
    splitLine: { show: true, lineStyle: { color: colours.grid, width: 1 } }
  })
  const label = { color: colours.muted, fontSize: format.text, fontFamily: FONT }
  option.grid.push({ ...plot, containLabel: false, outerBoundsMode: 'none' })
  option.xAxis.push({
    ...axis(xMin, xMax, xTicks),
    name: panel.axis,
    nameLocation: 'middle',
    nameGap: format.text * 1.9,
    nameTextStyle: label,
    axisLine: { show: true, onZero: false, lineStyle: { color: colours.muted, width: 1 } },
    axisLabel: {
      ...label,
      customValues: xTicks.map(Math.log10),
      formatter: (value: number) => xLabels[xTicks.findIndex((x) => Math.abs(Math.log10(x) - value) < 1e-6)] ?? ''
    }
  })
  option.yAxis.push({
    ...axis(yMin, yMax, ticksOf([yMin, yMax])),
    axisLine: { show: false },
    axisLabel: {
      ...label,
      customValues: ticksOf([yMin, yMax]).map(Math.log10),
      formatter: (value: number) => tick(10 ** value, panel.unit)
    }
  })
  const place: Place = (x, y) => [
    plot.left + (plot.width * Math.log(x / xMin)) / Math.log(xMax / xMin),
    plot.top + plot.height - (plot.height * Math.log(y / yMin)) / Math.log(yMax / yMin)
  ]
  // Ours is drawn last, and lies above.
  for (const line of panel.lines.toReversed()) {
    const color = colours.lines[line.colour % colours.lines.length]!
    const onAxes = { xAxisIndex: index, yAxisIndex: index, silent: true }
    const band: CustomSeriesOption = {
      ...onAxes,
      type: 'custom',
      data: [[Math.log10(line.points[0]!.x), Math.log10(line.points[0]!.median)]],
      renderItem: () => ({
        type: 'polygon',
        shape: {
          points: [
            ...line.points.map(({ x, most }) => [...place(x, most)]),
            ...line.points.toReversed().map(({ x, least }) => [...place(x, least)])
          ]
        },
        style: { fill: color, opacity: 0.16 }
      })
    }
    const series: LineSeriesOption = {
      ...onAxes,
      type: 'line',
      name: line.name,
      data: line.points.map((point) => [Math.log10(point.x), Math.log10(point.median)]),
      clip: false,
      symbol: SYMBOLS[line.colour % SYMBOLS.length]!,
      symbolSize: line.kind === 'ours' ? 7 : 6,
      showAllSymbol: true,
      lineStyle: {
        color,
        width: line.kind === 'ours' ? 3 : 1.75,
        type: line.kind === 'loose' ? [6, 4] : line.kind === 'limit' ? [2, 3] : 'solid'
      },
      itemStyle: { color },
      emphasis: { disabled: true }
    }
    option.series.push(band, series)
  }
  return place
}

/** From the least to the most, and something over; two decades or more, so that noise does not look like growth. */
function extentOf({ lines }: Panel): readonly [number, number] {
  const all = lines.flatMap(({ points }) => points)
  const [least, most] = [Math.min(...all.map((p) => p.least)), Math.max(...all.map((p) => p.most))]
  const over = Math.max(0.1, (2 - Math.log10(most / least)) / 2)
  return [least / 10 ** over, most * 10 ** over]
}

function tick(value: number, unit: Panel['unit']): string {
  return readable(value, unit).replace(/\.0+/, '')
}

/** The powers of ten between. */
function ticksOf([min, max]: readonly [number, number]): number[] {
  const ticks: number[] = []
  for (let power = Math.ceil(Math.log10(min) - 1e-9); power <= Math.log10(max) + 1e-9; power++) ticks.push(10 ** power)
  return ticks
}

/**
 * What stands at the end of a line: its name, and what it came to; in one line if there is room, and two else. Then one that ends
 * before others, amid them, has only its name.
 */
function labelOf({ name, points, exponent }: Line, { unit, lines }: Panel, isFull: boolean): string[] {
  const last = points.at(-1)!
  const said =
    exponent === undefined ? readable(last.median, unit) : `${readable(last.median, unit)}, ${grown(exponent)}`
  if (isFull) return [`${name}  ${said}`]
  return lines.some((other) => other.points.at(-1)!.x > last.x) ? [name] : [name, said]
}

function addMark({ mark }: Panel, plot: Plot, place: Place, colours: Colours, format: Format, texts: object[]): void {
  if (mark === undefined) return
  const [x] = place(mark.x, 1)
  if (x <= plot.left || x >= plot.left + plot.width) return
  const full = `${count(mark.x)}: ${mark.text}`
  const text = widthOf(full, format.text) < x - plot.left ? full : count(mark.x)
  const [top, bottom] = [plot.top, plot.top + plot.height]
  texts.push(
    {
      type: 'line',
      silent: true,
      shape: { x1: x, y1: top, x2: x, y2: bottom },
      style: { stroke: colours.muted, lineWidth: 1, lineDash: [2, 3] }
    },
    {
      type: 'text',
      silent: true,
      x: x - 6,
      y: top,
      style: { text, align: 'right', fontFamily: FONT, fontSize: format.text - 1, fill: colours.muted }
    }
  )
}

/** Each as near to its line's end as it can be without covering another, or a line. */
function addLabels(
  panel: Panel,
  labels: readonly (readonly string[])[],
  plot: Plot,
  place: Place,
  colours: Colours,
  format: Format,
  texts: object[]
): void {
  const lineHeight = format.text * 1.2
  const highest = plot.top - lineHeight
  const ends = panel.lines.map(({ points }) => place(points.at(-1)!.x, points.at(-1)!.median))
  const taken: Box[] = panel.lines.flatMap(({ points }) => boxesAlong(points.map((p) => place(p.x, p.median))))
  const byHeight = panel.lines.map((_, i) => i).sort((a, b) => ends[a]![1] - ends[b]![1])
  const centres = spreadOut(
    byHeight.map((i) => ({
      centre: ends[i]![1],
      height: labels[i]!.length * lineHeight + 2,
      isAtRight: isAtEdge(ends[i]![0], plot)
    })),
    plot
  )
  // Those that end first have places to choose from.
  for (const i of byHeight.toSorted((a, b) => ends[b]![0] - ends[a]![0])) {
    const line = panel.lines[i]!
    const [endX, endY] = ends[i]!
    const label = labels[i]!
    const height = label.length * lineHeight
    const width = Math.max(...label.map((text) => widthOf(text, format.text)))
    // Beside the end; or above what leads to it, where the line ends before others do.
    const beside = { left: endX + 10, centre: centres[byHeight.indexOf(i)]!, cost: 0, reach: 100 }
    const above = { left: endX - width + 4, centre: endY - height / 2 - 7, cost: 22, reach: 6 }
    const box = free(isAtEdge(endX, plot) ? [beside] : [beside, above], ends[i]!, { width, height }, taken, highest)
    taken.push(box)
    const colour = colours.lines[line.colour % colours.lines.length]!
    const centre = (box.top + box.bottom) / 2
    if (box.left > endX && Math.abs(centre - endY) > 5) {
      texts.push({
        type: 'line',
        silent: true,
        shape: { x1: endX + 4, y1: endY, x2: box.left - 2, y2: centre },
        style: { stroke: colour, lineWidth: 1, opacity: 0.7 }
      })
    }
    for (const [row, text] of label.entries()) {
      const isName = row === 0
      texts.push({
        type: 'text',
        silent: true,
        x: box.left,
        y: box.top + row * lineHeight + 1,
        style: {
          text,
          fontFamily: FONT,
          fontSize: isName ? format.text : format.text - 1,
          fontWeight: isName && line.name === 'turnlog' ? 700 : 400,
          fill: colour
        }
      })
    }
  }
}

/** Where a label may stand: there, or at most `reach` above or below. */
interface Spot {
  readonly left: number
  readonly centre: number
  readonly cost: number
  readonly reach: number
}

/** The cheapest place at which nothing is covered. A pixel up or down costs one, and much that something lies between it and the end. */
function free(
  spots: readonly Spot[],
  [endX, endY]: readonly [number, number],
  { width, height }: { readonly width: number; readonly height: number },
  taken: readonly Box[],
  highest: number
): Box {
  const isFree = (box: Box): boolean => !taken.some((other) => areOver(box, other))
  const places = spots.flatMap(({ left, centre, cost, reach }) =>
    Array.from({ length: 2 * reach + 1 }, (_, i) => {
      const middle = centre + i - reach
      const box = { left, top: middle - height / 2, right: left + width, bottom: middle + height / 2 }
      const between = { left: endX + 4, top: Math.min(endY, middle), right: left, bottom: Math.max(endY, middle) }
      const isApart = left > endX && !isFree(between)
      return { box, cost: cost + Math.abs(i - reach) + (isApart ? 60 : 0) }
    })
  )
  places.sort((a, b) => a.cost - b.cost)
  return (places.find(({ box }) => box.top >= highest && isFree(box)) ?? places[0]!).box
}

function isAtEdge(x: number, plot: Plot): boolean {
  return x >= plot.left + plot.width - 1
}

/** From the top down, those at the right edge pushed apart as little as need be. */
function spreadOut(
  labels: readonly { readonly centre: number; readonly height: number; readonly isAtRight: boolean }[],
  plot: Plot
): number[] {
  const centres = labels.map(({ centre }) => centre)
  const last = labels.flatMap(({ isAtRight }, i) => (isAtRight ? [i] : []))
  for (let round = 0; round < 200; round++) {
    for (let k = 1; k < last.length; k++) {
      const [above, below] = [last[k - 1]!, last[k]!]
      const lack = (labels[above]!.height + labels[below]!.height) / 2 - (centres[below]! - centres[above]!)
      if (lack <= 0.1) continue
      centres[above]! -= lack / 2
      centres[below]! += lack / 2
    }
    for (const i of last) {
      const half = labels[i]!.height / 2
      centres[i] = Math.min(Math.max(centres[i]!, plot.top + half - 8), plot.top + plot.height - half + 4)
    }
  }
  return centres
}

function boxesAlong(path: readonly (readonly [number, number])[]): Box[] {
  return path.slice(1).flatMap(([x2, y2], i) => {
    const [x1, y1] = path[i]!
    const steps = Math.max(1, Math.ceil(Math.hypot(x2 - x1, y2 - y1) / 6))
    return Array.from({ length: steps + 1 }, (_, k) => {
      const [x, y] = [x1 + ((x2 - x1) * k) / steps, y1 + ((y2 - y1) * k) / steps]
      return { left: x - 3, top: y - 3, right: x + 3, bottom: y + 3 }
    })
  })
}

function areOver(a: Box, b: Box): boolean {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom
}

/** Breaks a text between words. */
function wrapped(text: string, width: number, size: number): string[] {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const longer = lines.length === 0 ? word : `${lines.at(-1)} ${word}`
    if (lines.length > 0 && widthOf(longer, size) <= width) lines[lines.length - 1] = longer
    else lines.push(word)
  }
  return lines
}

/** About, and rather too much, in Helvetica: the font is the reader's. */
function widthOf(text: string, size: number): number {
  const narrow = text.match(/[fijlrtI.,:;'()| ]/g)?.length ?? 0
  const large = text.match(/[mwMWA-HJ-Z]/g)?.length ?? 0
  return 1.04 * size * (0.3 * narrow + 0.74 * large + 0.55 * (text.length - narrow - large))
}
