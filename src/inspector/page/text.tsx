import { signal } from '@preact/signals'
import type { ComponentChild, VNode } from 'preact'
import { useState } from 'preact/hooks'

/** What is looked for in the conversation: marked wherever a text has it. */
export const sought = signal('')

/** A text is collapsed if it is longer than so many UTF-16 code units, or has more lines. */
const LONG = 1_600
const MANY_LINES = 24

/** Properties of {@link Text}. */
export interface TextProps {
  readonly text: string
  /** Whether all of it is shown at first, however long it is. */
  readonly isOpen?: boolean
  /** Whether it is the beginning of one that is opened otherwise: then it says nothing of what is not shown. */
  readonly isBeginning?: boolean
}

/**
 * A text as it is: nothing in it is a link, or HTML, or Markdown. It has its own direction, and what cannot be seen, or changes how the rest is read,
 * is shown as a mark.
 */
export function Text({ text, isOpen = false, isBeginning = false }: TextProps): VNode {
  const [isWhole, setWhole] = useState(isOpen)
  const end = isWhole ? text.length : endOfBeginning(text)
  // Not a few words alone.
  const isLong = end < text.length * 0.9
  const word = sought.value.toLowerCase()
  const isFoundLater = word !== '' && isLong && text.toLowerCase().indexOf(word, Math.max(0, end - word.length)) >= 0
  const isCut = isLong && !isFoundLater
  return (
    <div class="text">
      <div dir="auto">{visible(isCut ? text.slice(0, end) : text, word)}</div>
      {(isCut || isWhole !== isOpen) && !isBeginning && (
        <button type="button" class="more" aria-expanded={!isCut} onClick={() => setWhole(isCut)}>
          {isCut ? `Show ${(text.length - end).toLocaleString('en')} more characters` : 'Show less'}
        </button>
      )}
    </div>
  )
}

/** A text on a line, among others. */
export function Line({ text }: { readonly text: string }): VNode {
  return <bdi>{visible(text, sought.value.toLowerCase())}</bdi>
}

/** What a text looks like: marks in place of characters that cannot be seen; `word`, in lower case, is marked where it occurs. */
export function visible(text: string, word = ''): ComponentChild[] {
  const shown: ComponentChild[] = []
  let end = 0
  for (const { 0: hidden, index } of text.matchAll(HIDDEN)) {
    if (index > end) shown.push(...found(text.slice(end, index), word))
    shown.push(<Hidden characters={hidden} />)
    end = index + hidden.length
  }
  if (end < text.length) shown.push(...found(text.slice(end), word))
  return shown
}

// Controls (but for line ends and tabs), what turns the direction of text, is of no width, or is half of a character. Joiners are left alone where
// they belong: in pictographs, and between letters of scripts that join; so are what chooses among forms of a character, after one that has some,
// and blanks within Braille.
const JOINED = String.raw`\p{Script=Arabic}\p{Script=Devanagari}\p{Script=Bengali}\p{Script=Malayalam}\p{Script=Sinhala}`
const HIDDEN = new RegExp(
  String.raw`(?:[\u0000-\u0008\u000B-\u001F\u007F-\u009F\u00AD\u034F\u061C\u115F\u1160\u17B4\u17B5\u180B-\u180E\u200B\u200E\u200F` +
    String.raw`\u2028-\u202E\u2060-\u206F\u3164\uFEFF\uFFA0\uFFF0-\uFFFB\p{Surrogate}\u{E0000}-\u{E0FFF}]` +
    String.raw`|(?<![\p{Script=Han}\p{Sm}\p{Script=Myanmar}])[\uFE00-\uFE0D]|(?<![\p{Emoji}\p{Extended_Pictographic}])[\uFE0E\uFE0F]` +
    String.raw`|(?<![\u2800-\u28FF])\u2800+(?![\u2800-\u28FF])` +
    String.raw`|(?<![${JOINED}\u{1F3FB}-\u{1F3FF}]|\p{Extended_Pictographic}\uFE0F?)[\u200C\u200D])+`,
  'gu'
)

/** A text where there can be no marks, as in a title: what cannot be seen, or changes how the rest is read, is named. */
export function plain(text: string): string {
  return text.replace(HIDDEN, (hidden) => `[${nameOf(hidden)}]`)
}

function Hidden({ characters }: { readonly characters: string }): VNode {
  return (
    <span class="hidden-character" title="Characters that cannot be seen">
      {nameOf(characters)}
    </span>
  )
}

// Many of a kind are one mark.
function nameOf(characters: string): string {
  const names: [string, number][] = []
  for (const character of characters) {
    const name = `U+${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}`
    const last = names.at(-1)
    if (last?.[0] === name) last[1]++
    else names.push([name, 1])
  }
  const said = names.slice(0, 8).map(([name, times]) => (times === 1 ? name : `${name} ×${times}`))
  if (names.length > 8) said.push(`and ${names.length - 8} more`)
  return said.join(' ')
}

function found(text: string, word: string): ComponentChild[] {
  if (word === '') return [text]
  const shown: ComponentChild[] = []
  // Of some letters the small one is longer: then places are not the same, and nothing is marked.
  const lower = text.toLowerCase()
  let end = 0
  for (let at = lower.indexOf(word); at >= 0 && lower.length === text.length; at = lower.indexOf(word, end)) {
    if (at > end) shown.push(text.slice(end, at))
    end = at + word.length
    shown.push(<mark>{text.slice(at, end)}</mark>)
  }
  shown.push(text.slice(end))
  return shown
}

/** As much of a text's beginning, without half a character at its end. */
export function beginningOf(text: string, most: number): string {
  return text.slice(0, most < text.length && isHigh(text.charCodeAt(most - 1)) ? most - 1 : most)
}

function endOfBeginning(text: string): number {
  let end = Math.min(text.length, LONG)
  let line = -1
  for (let lines = 0; lines < MANY_LINES; lines++) {
    line = text.indexOf('\n', line + 1)
    if (line < 0 || line >= end) return end < text.length && isHigh(text.charCodeAt(end - 1)) ? end - 1 : end
  }
  end = line
  return end
}

function isHigh(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff
}
