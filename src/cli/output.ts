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

/** The beginning of a text, as one line. */
export function line(text: string, length = 60): string {
  const whole = visible(text.replaceAll(/\s+/g, ' ').trim(), { isLine: true })
  const characters = Array.from(whole)
  return characters.length > length ? `${characters.slice(0, length - 1).join('')}…` : whole
}

/** A time for people, in the local time zone. */
export function time(at: number): string {
  const date = new Date(at)
  return Number.isNaN(date.getTime()) ? String(at) : date.toLocaleString('sv')
}

/** Prints a line. */
export function print(text = ''): void {
  process.stdout.write(`${text}\n`)
}

/** Prints a value as JSON for programs. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value))
}

/** Prints rows under their headings, or that there are none. */
export function printTable(head: readonly string[], rows: readonly (readonly string[])[], none: string): void {
  if (rows.length === 0) return print(none)
  const table = new Table({
    head: head.map((name) => paint('bold', name)),
    style: { head: [], border: [], compact: true },
    chars: BORDERS
  })
  table.push(...rows.map((row) => [...row]))
  print(table.toString().replaceAll(/ +$/gm, ''))
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
