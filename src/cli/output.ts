import { styleText } from 'node:util'
import { SingleBar } from 'cli-progress'
import Table from 'cli-table3'

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
 * their numbers. Line feeds and tabs stay, unless it has to be one line.
 */
export function visible(text: string, { isLine = false }: { readonly isLine?: boolean } = {}): string {
  const hidden = isLine ? HIDDEN_IN_LINE : HIDDEN
  return text.replace(hidden, (char) => `\\u{${char.codePointAt(0)!.toString(16)}}`)
}

// oxlint-disable-next-line no-control-regex -- they are what is looked for
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/gu
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const HIDDEN_IN_LINE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]/gu

/** The beginning of a text, as one line of at most so many columns. */
export function line(text: string, width = 60): string {
  return cutTo(visible(text.replaceAll(/\s+/g, ' ').trim(), { isLine: true }), width)
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

/** Prints rows under their headings, or that there are none. On a terminal that is too narrow for them, cells are cut short. */
export function printTable(head: readonly string[], rows: readonly (readonly string[])[], none: string): void {
  if (rows.length === 0) return print(none)
  const widths = fitting(head.map((name, i) => Math.max(widthOf(name), ...rows.map((row) => widthOf(row[i]!)))))
  const cut = (row: readonly string[]): string[] => row.map((cell, i) => cutTo(cell, widths[i]!))
  const table = new Table({
    head: cut(head).map((name) => paint('bold', name)),
    style: { head: [], border: [], compact: true },
    chars: BORDERS
  })
  table.push(...rows.map(cut))
  print(table.toString().replaceAll(/ +$/gm, ''))
}

/** Widths of columns that fit on the terminal side by side: the widest give way. */
function fitting(widths: readonly number[]): number[] {
  const fitted = [...widths]
  // Around each cell there is a space, and one between two.
  for (let over = sum(widths) + 3 * widths.length - 1 - columns(); over > 0; over--) {
    const widest = fitted.indexOf(Math.max(...fitted))
    if (fitted[widest]! <= NARROWEST) break
    fitted[widest]!--
  }
  return fitted
}

const NARROWEST = 6

/** How wide the terminal is; what goes elsewhere has all the room there is. */
export function columns(): number {
  return process.stdout.isTTY ? process.stdout.columns || 80 : Infinity
}

/** The beginning of one line that is so many columns wide. */
export function cutTo(text: string, width: number): string {
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

const BORDERS = Object.fromEntries(
  'top top-mid top-left top-right bottom bottom-mid bottom-left bottom-right left left-mid mid mid-mid right right-mid middle'
    .split(' ')
    .map((name) => [name, name === 'middle' ? ' ' : ''])
)

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
