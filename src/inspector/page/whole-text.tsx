import { signal } from '@preact/signals'
import type { VNode } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Cut, Source, Text as Piece } from '../wire.ts'
import { place } from './address.ts'
import { get, urlOf } from './client.ts'
import { Dialog } from './dialog.tsx'
import { asApiError } from './loaded.tsx'
import { Text } from './text.tsx'

/** What a value is a part of, so that the server finds what was cut from it. */
export interface Whence {
  readonly user: string
  readonly session: string
  readonly at: number
  readonly of: Source
  /** Of the message. */
  readonly index?: number | undefined
}

/** So many UTF-16 code units come at once. */
const PIECE_LENGTH = 30_000

const opened = signal<{ readonly whence: Whence; readonly cut: Cut } | undefined>(undefined)

/** What was cut at a path, if something was. */
export function cutAt(cuts: readonly Cut[], path: Cut['path']): Cut | undefined {
  return cuts.find(({ path: other }) => other.length === path.length && other.every((key, i) => key === path[i]))
}

/** The cuts of a part of a value, by their paths in it. */
export function cutsIn(cuts: readonly Cut[], path: Cut['path']): Cut[] {
  return cuts.flatMap((cut) =>
    cut.path.length >= path.length && path.every((key, i) => key === cut.path[i])
      ? [{ ...cut, path: cut.path.slice(path.length) }]
      : []
  )
}

/** The address at which what was cut is, as a `file` or an `image`. */
function urlOfCut(what: 'file' | 'image', whence: Whence, path: Cut['path']): string {
  return urlOf(what, { ...whence, path: JSON.stringify(path) })
}

/** Says what is not shown of a value, and opens it. */
export function Rest({
  cut,
  whence,
  has
}: {
  readonly cut: Cut
  readonly whence: Whence
  readonly has?: number
}): VNode {
  const size = cut.size.toLocaleString('en')
  if (cut.what === 'image')
    return (
      <img
        src={urlOfCut('image', whence, cut.path)}
        alt={`A picture of ${sizeOf((cut.size * 3) / 4)}`}
        loading="lazy"
      />
    )
  if (cut.what !== 'text')
    return (
      <span class="quiet">
        {has === undefined ? '' : `${has.toLocaleString('en')} `}of {size} entries are shown
      </span>
    )
  return (
    <button type="button" class="more" aria-haspopup="dialog" onClick={() => (opened.value = { whence, cut })}>
      Show all ({size} characters)
    </button>
  )
}

/** The dialog in which a long text is read, piece by piece; on every page with messages. */
export function WholeText(): VNode | null {
  const { user, session } = place.value
  // It belongs to what is looked at, and does not come again over another.
  useEffect(() => () => void (opened.value = undefined), [user, session])
  return opened.value ? <Pieces key={JSON.stringify(opened.value)} {...opened.value} /> : null
}

function Pieces({ whence, cut }: { readonly whence: Whence; readonly cut: Cut }): VNode {
  const top = useRef<HTMLDivElement>(null)
  // Where each piece begins, as far as is known: they do not end between the halves of a character.
  const [starts, setStarts] = useState<readonly number[]>([0])
  const [number, setNumber] = useState(0)
  const [piece, setPiece] = useState<Piece | string>()
  const offset = starts[number] ?? 0

  useEffect(() => {
    const left = new AbortController()
    get<Piece>('text', { ...whence, path: JSON.stringify(cut.path), offset }, left.signal).then(
      (next) => {
        setPiece(next)
        setStarts((known) => [...known.slice(0, number + 1), next.offset + next.text.length])
        top.current?.scrollTo(0, 0)
      },
      (error: unknown) => {
        if (!left.signal.aborted) setPiece(asApiError(error).message)
      }
    )
    return () => left.abort()
  }, [offset])

  const end = typeof piece === 'object' ? piece.offset + piece.text.length : 0
  const pieces = Math.ceil(cut.size / PIECE_LENGTH)
  return (
    <Dialog
      class="whole-text"
      title={`${cut.size.toLocaleString('en')} characters`}
      onClose={() => (opened.value = undefined)}
    >
      <div class="body" ref={top} tabIndex={0} role="group" aria-label="The text">
        {piece === undefined ? (
          <p class="quiet">Loading…</p>
        ) : typeof piece === 'string' ? (
          <p role="alert">{piece}</p>
        ) : (
          <Text key={piece.offset} text={piece.text} isOpen />
        )}
      </div>
      <div class="foot">
        <button type="button" disabled={number === 0} onClick={() => setNumber(number - 1)}>
          Previous
        </button>
        <button
          type="button"
          disabled={typeof piece !== 'object' || piece.offset !== offset || end >= piece.length}
          onClick={() => setNumber(number + 1)}
        >
          Next
        </button>
        <span class="quiet" role="status">
          {typeof piece === 'object' &&
            `${(piece.offset + 1).toLocaleString('en')} to ${end.toLocaleString('en')}, part ${number + 1} of ${pieces}`}
        </span>
        <a class="button" href={urlOfCut('file', whence, cut.path)} download="text.txt">
          Download
        </a>
      </div>
    </Dialog>
  )
}

/** Bytes, for people. */
export function sizeOf(bytes: number): string {
  if (bytes < 1_000) return `${Math.round(bytes)} B`
  return bytes < 1_000_000 ? `${(bytes / 1_000).toFixed(1)} kB` : `${(bytes / 1_000_000).toFixed(1)} MB`
}
