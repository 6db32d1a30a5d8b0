import { styleText } from 'node:util'
import { SingleBar } from 'cli-progress'

/** Colours as of `styleText`. */
export type Style = Parameters<typeof styleText>[0]

/** Colours a text where it goes to a terminal, or `FORCE_COLOR` is set; never where `NO_COLOR` is. */
export function paint(style: Style, text: string): string {
  const { NO_COLOR, FORCE_COLOR } = process.env
  const isWanted = FORCE_COLOR ? FORCE_COLOR !== '0' : process.stdout.isTTY
  return isWanted && !NO_COLOR ? styleText(style, text) : text
}

/**
 * A text that can do nothing to a terminal: control characters, and those that turn the direction of writing, are shown by
 * their numbers. Line feeds and tabs stay.
 */
export function visible(text: string): string {
  return text.replace(HIDDEN, shownByNumber)
}

/** The same, as one line: line feeds and tabs are shown by their numbers, too. */
export function visibleLine(text: string): string {
  return text.replace(HIDDEN_IN_LINE, shownByNumber)
}

function shownByNumber(char: string): string {
  return `\\u{${char.codePointAt(0)!.toString(16)}}`
}

// oxlint-disable-next-line no-control-regex -- they are what is looked for
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/gu
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const HIDDEN_IN_LINE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/gu

/** The beginning of a text, as one line of at most so many columns. */
export function line(text: string, width = 60): string {
  return cutTo(visibleLine(text.replaceAll(/\s+/g, ' ').trim()), width)
}

/** A time for people, in the local time zone, to the second or to the millisecond. */
export function time(at: number, { isExact = false }: { readonly isExact?: boolean } = {}): string {
  const date = new Date(at)
  if (Number.isNaN(date.getTime())) return String(at)
  return date.toLocaleString('sv') + (isExact ? `.${String(date.getMilliseconds()).padStart(3, '0')}` : '')
}

/** Prints a line. */
export function print(text = ''): void {
  process.stdout.write(`${text}\n`)
}

/** Prints a value as JSON for programs. */
export function printJson(value: unknown): void {
  process.stdout.write(jsonLine(value))
}

/** A value as JSON, with a line feed; for a terminal of characters that can do nothing to it. */
export function jsonLine(value: unknown): string {
  const json = JSON.stringify(value)
  return `${process.stdout.isTTY ? harmlessJson(json) : json}\n`
}

/** The same JSON in other characters, which can do nothing to a terminal. For programs JSON is given as it is. */
export function harmlessJson(json: string): string {
  return json.replace(HIDDEN, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** A number of things. */
export function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}

/**
 * Prints rows under their headings, or that there are none; without columns in which nothing is. On a terminal that is too narrow
 * for them, cells are cut short.
 */
export function printTable(head: readonly string[], rows: readonly (readonly string[])[], none: string): void {
  if (rows.length === 0) return print(none)
  const filled = head.flatMap((_, i) => (rows.some((row) => row[i] !== '') ? [i] : []))
  const [titles, ...cells] = [head, ...rows].map((row) => filled.map((i) => row[i]!)) as [string[], ...string[][]]
  const widths = fitting(
    titles.map((title, i) => cells.reduce((most, row) => Math.max(most, widthOf(row[i]!)), widthOf(title)))
  )
  const rowOf = (row: readonly string[], style: (cell: string) => string = String): string => {
    const padded = row.map((cell, i) => {
      const cut = cutTo(cell, widths[i]!)
      return style(cut) + ' '.repeat(widths[i]! - widthOf(cut))
    })
    return ` ${padded.join('   ')}`.trimEnd()
  }
  print([rowOf(titles, (title) => paint('bold', title)), ...cells.map((row) => rowOf(row))].join('\n'))
}

/** Widths of columns that fit on the terminal side by side: those to the right give way first, and none takes more than half. */
function fitting(widths: readonly number[]): number[] {
  // A space before the first, and three between two.
  const room = columns() - 3 * widths.length + 2
  let over = sum(widths) - room
  if (over <= 0) return [...widths]
  const fitted = widths.map((width) => Math.min(width, Math.max(NARROWEST, Math.floor(room / 2))))
  over = sum(fitted) - room
  for (let i = fitted.length - 1; i >= 0 && over > 0; i--) {
    const less = Math.min(over, Math.max(0, fitted[i]! - NARROWEST))
    fitted[i]! -= less
    over -= less
  }
  return fitted
}

const NARROWEST = 6

/** How wide the terminal is; what goes elsewhere has all the room there is. */
export function columns(): number {
  return process.stdout.isTTY ? process.stdout.columns || 80 : Infinity
}

/** The beginning of one line that is so many columns wide. */
function cutTo(text: string, width: number): string {
  let used = 0
  let kept = 0
  for (const { segment, index } of SEGMENTER.segment(text)) {
    used += widthOfSegment(segment)
    if (used > width) return `${text.slice(0, kept)}…`
    if (used < width) kept = index + segment.length
  }
  return text
}

function widthOf(text: string): number {
  return /^[\x20-\x7e]*$/.test(text)
    ? text.length
    : sum(Array.from(SEGMENTER.segment(text), ({ segment }) => widthOfSegment(segment)))
}

// As terminals have it: two columns for what East Asian scripts and emoji are made of.
function widthOfSegment(segment: string): number {
  return WIDE.test(segment) ? 2 : /^\p{Mark}+$|^[\u00ad\u200b-\u200d\u2060\ufeff]+$/u.test(segment) ? 0 : 1
}

const WIDE =
  /^[\p{Script=Han}\p{Script=Hangul}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Bopomofo}\u3000-\u303e\uff01-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}|\ufe0f/u
const SEGMENTER = new Intl.Segmenter()

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0)
}

/** Says on the standard error what is no result. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

/** Runs work that tells how far it has come; with a bar where the standard error is a terminal. */
export async function withProgress<T>(
  what: string,
  total: number,
  work: (advance: (by?: number) => void) => Promise<T>
): Promise<T> {
  if (!process.stderr.isTTY || total < 2) return work(() => undefined)
  const bar = new SingleBar({ format: `  ${what} {bar} {percentage} %`, stream: process.stderr, clearOnComplete: true })
  bar.start(total, 0)
  try {
    return await work((by = 1) => bar.increment(by))
  } finally {
    bar.stop()
  }
}
