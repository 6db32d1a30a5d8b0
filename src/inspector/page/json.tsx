import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import type { Json } from '../../json.ts'
import type { Cut } from '../wire.ts'
import { Line, Text } from './text.tsx'
import { cutAt, Rest, type Whence } from './whole-text.tsx'

/** Properties of {@link JsonView}. */
export interface JsonViewProps {
  readonly value: Json
  /** What was cut from it. */
  readonly cuts?: readonly Cut[]
  readonly whence: Whence
  /** Where the value is in what the server cuts. */
  readonly path?: Cut['path']
  /** How deep it is open at first. */
  readonly depth?: number
}

/** So many entries are shown at once. */
const ENTRIES = 50

/** A JSON value: lists and objects open and close. */
export function JsonView({ value, cuts = [], whence, path = [], depth = 4 }: JsonViewProps): VNode {
  return (
    <div class="json">
      <Value value={value} cuts={cuts} whence={whence} path={path} depth={depth} at={[]} />
    </div>
  )
}

interface ValueProps extends Required<JsonViewProps> {
  /** Where it is in the whole value. */
  readonly at: Cut['path']
}

function Value(props: ValueProps): VNode {
  const { value, cuts, whence, path, at } = props
  if (typeof value === 'object' && value !== null) return <Entries {...props} value={value} />
  if (typeof value !== 'string')
    return <span class={`json-${value === null ? 'null' : typeof value}`}>{String(value)}</span>
  const cut = cutAt(cuts, at)
  const rest = cut && <Rest cut={{ ...cut, path: [...path, ...at] }} whence={whence} />
  if (cut?.what === 'image') return <>{rest}</>
  const isLine = value.length < 200 && !value.includes('\n')
  return (
    <span class="json-string">
      {isLine ? <Line text={JSON.stringify(value)} /> : <Text text={value} isBeginning={cut !== undefined} />}
      {rest}
    </span>
  )
}

function Entries(props: ValueProps & { readonly value: Exclude<Json, string | number | boolean | null> }): VNode {
  const { value, cuts, whence, path, at, depth } = props
  const [isOpen, setOpen] = useState(at.length < depth)
  const [most, setMost] = useState(ENTRIES)
  const isList = Array.isArray(value)
  const entries = Object.entries(value) as [string, Json][]
  const [begin, end] = isList ? ['[', ']'] : ['{', '}']
  const cut = cutAt(cuts, at)
  if (entries.length === 0 && !cut) return <span class="quiet">{begin + end}</span>
  if (!cut && isShort(entries)) return <Short entries={entries} isList={isList} />
  const count = cut?.size ?? entries.length
  const word = isList ? (count === 1 ? 'entry' : 'entries') : count === 1 ? 'key' : 'keys'
  return (
    <>
      <button type="button" class="json-toggle" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        {begin}
        {!isOpen && (
          <>
            <span class="quiet">
              {' '}
              {count.toLocaleString('en')} {word}{' '}
            </span>
            {end}
          </>
        )}
      </button>
      {isOpen && (
        <>
          <ul>
            {entries.slice(0, most).map(([key, each]) => (
              <li key={key}>
                {!isList && <Key text={key} />}
                <Value {...props} value={each} at={[...at, isList ? Number(key) : key]} />
              </li>
            ))}
            {entries.length > most && (
              <li>
                <button type="button" class="more" onClick={() => setMost(most + ENTRIES)}>
                  Show {Math.min(ENTRIES, entries.length - most)} more
                </button>
              </li>
            )}
            {cut && (
              <li>
                <Rest cut={{ ...cut, path: [...path, ...at] }} whence={whence} has={entries.length} />
              </li>
            )}
          </ul>
          {end}
        </>
      )}
    </>
  )
}

function Key({ text }: { readonly text: string }): VNode {
  return (
    <>
      <span class="json-key">
        <Line text={text} />
      </span>
      {': '}
    </>
  )
}

/** How long what is shown on one line may be. */
const SHORT = 90

// Whether a list or object has room on a line, and nothing to open.
function isShort(entries: readonly (readonly [string, Json])[]): boolean {
  let left = SHORT
  for (const [key, value] of entries) {
    if (typeof value === 'object' && value !== null) return false
    left -= key.length + (typeof value === 'string' ? value.length + 2 : String(value).length) + 4
    if (left < 0) return false
  }
  return true
}

function Short({ entries, isList }: { readonly entries: readonly [string, Json][]; readonly isList: boolean }): VNode {
  return (
    <span class="json-short">
      {isList ? '[' : '{ '}
      {entries.map(([key, value], n) => (
        <span key={key}>
          {!isList && <Key text={key} />}
          <span class={`json-${value === null ? 'null' : typeof value}`}>
            <Line text={JSON.stringify(value)} />
          </span>
          {n < entries.length - 1 && ', '}
        </span>
      ))}
      {isList ? ']' : ' }'}
    </span>
  )
}

/** A text that is JSON, as its value; `undefined` where it is none, or where it is a mere word or number. */
export function parsedJson(text: string): Json | undefined {
  if (!/^\s*[[{]/.test(text)) return undefined
  try {
    return JSON.parse(text) as Json
  } catch {
    return undefined
  }
}
