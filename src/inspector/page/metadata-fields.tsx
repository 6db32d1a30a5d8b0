import type { VNode } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Json, JsonObject } from '../../json.ts'
import type { Moment } from '../wire.ts'
import { FailureNote, Skeleton, useGet } from './loaded.tsx'
import { Line, plain } from './text.tsx'

interface Field {
  /** What it is here, also when it is renamed. */
  readonly number: number
  readonly key: string
  readonly text: string
  /** As it is stored; absent where the key is new. */
  readonly before?: string
  readonly isRemoved?: boolean
  /** Not all of it is here, so it can only be removed. */
  readonly isCut?: boolean
}

/** Properties of {@link MetadataFields}. */
export interface MetadataFieldsProps {
  readonly moment: Moment
  /** Told of the version whose metadata are shown. */
  readonly onNewest: (version: number) => void
  /** Told what is set and removed; `undefined` where that is nothing, or something is wrong. */
  readonly onChange: (keys: { readonly set: JsonObject; readonly unset: readonly string[] } | undefined) => void
}

/** The metadata of the newest version, to be changed key by key; values are JSON. */
export function MetadataFields({ moment, onNewest, onChange }: MetadataFieldsProps): VNode {
  // Whatever version is looked at, it is the newest that is changed.
  const newest = useGet<Moment>('moment', { user: moment.userId, session: moment.id, count: 1 })
  const [fields, setFields] = useState<readonly Field[]>()
  const last = useRef<HTMLInputElement>(null)
  useEffect(() => {
    if (!newest.value || fields) return
    onNewest(newest.value.latest)
    setFields(fieldsOf(newest.value.metadata))
  }, [newest.value])
  if (newest.error) return <FailureNote error={newest.error} onRetry={newest.reload} />
  if (!fields) return <Skeleton lines={2} />
  const set = (next: readonly Field[]): void => {
    setFields(next)
    onChange(next.some((field) => wrong(field, next) !== undefined) ? undefined : changesOf(next))
  }
  const put = (field: Field): void => set(fields.map((each) => (each.number === field.number ? field : each)))
  return (
    <>
      {newest.value?.metadata.cuts.some(({ path }) => path.length === 0) && (
        <p class="quiet small">There are more keys than are shown here.</p>
      )}
      {fields.length === 0 && <p class="quiet">There are no metadata yet.</p>}
      <ul class="keys" aria-label="Keys">
        {fields.map((field) => (
          <FieldView
            key={field.number}
            field={field}
            fault={wrong(field, fields)}
            last={last}
            onChange={put}
            onDrop={() => set(fields.filter((each) => each !== field))}
          />
        ))}
      </ul>
      <div>
        <button
          type="button"
          onClick={() => {
            set([
              ...fields,
              { number: fields.reduce((most, { number }) => Math.max(most, number), 0) + 1, key: '', text: '' }
            ])
            setTimeout(() => last.current?.focus())
          }}
        >
          + Add a key
        </button>
      </div>
    </>
  )
}

function FieldView({
  field,
  fault,
  last,
  onChange,
  onDrop
}: {
  readonly field: Field
  readonly fault: string | undefined
  readonly last: { current: HTMLInputElement | null }
  readonly onChange: (field: Field) => void
  readonly onDrop: () => void
}): VNode {
  const { number, key, text, before, isRemoved = false, isCut = false } = field
  const isNew = before === undefined
  const note = `metadata-note-${number}`
  const says = isRemoved
    ? 'Will be removed'
    : (fault ?? (isCut ? 'Too long to be changed here: it can only be removed' : undefined))
  return (
    <li class={isRemoved ? 'is-removed' : ''}>
      {isNew ? (
        <input
          ref={last}
          aria-label="Key"
          placeholder="key"
          value={key}
          spellcheck={false}
          autocomplete="off"
          onInput={({ currentTarget }) => onChange({ ...field, key: currentTarget.value })}
        />
      ) : (
        <span class="key">
          <Line text={key} />
        </span>
      )}
      <textarea
        aria-label={isNew ? 'Value, as JSON' : `Value of ${plain(key)}, as JSON`}
        aria-describedby={says === undefined ? undefined : note}
        aria-invalid={fault !== undefined && !isRemoved ? 'true' : undefined}
        placeholder='JSON, such as "text", 1, true, {"a": 1}'
        rows={Math.min(8, text.split('\n').length)}
        value={text}
        disabled={isRemoved || isCut}
        spellcheck={false}
        onInput={({ currentTarget }) => onChange({ ...field, text: currentTarget.value })}
      />
      {isNew ? (
        <button type="button" class="plain" aria-label={`Leave out ${plain(key)}`} onClick={onDrop}>
          ✕
        </button>
      ) : (
        <button
          type="button"
          class="plain"
          aria-label={`${isRemoved ? 'Keep' : 'Remove'} ${plain(key)}`}
          onClick={() => onChange({ ...field, isRemoved: !isRemoved })}
        >
          {isRemoved ? 'Keep' : 'Remove'}
        </button>
      )}
      {says !== undefined && (
        <span class={`note ${fault !== undefined && !isRemoved ? 'bad' : 'quiet'}`} id={note}>
          {says}
        </span>
      )}
    </li>
  )
}

function fieldsOf({ value, cuts }: Moment['metadata']): Field[] {
  return Object.entries(value).map(([key, each], number) => {
    const text = JSON.stringify(each, null, 2)
    const isCut = cuts.some(({ path }) => path[0] === key)
    return { number, key, text, before: text, isCut }
  })
}

function wrong({ key, text, isRemoved, isCut, before, number }: Field, all: readonly Field[]): string | undefined {
  if (isRemoved || isCut) return undefined
  // One that is only begun is not wrong yet, but is not ready, either.
  if (before === undefined && key.trim() === '') return 'A key is missing'
  if (all.some((other) => other.number !== number && other.key === key)) return 'There is such a key already'
  if (text.trim() === '') return 'A value is missing'
  return parsed(text) === undefined ? 'Not JSON yet; a text stands in double quotes' : undefined
}

function changesOf(
  fields: readonly Field[]
): { readonly set: JsonObject; readonly unset: readonly string[] } | undefined {
  const set: [string, Json][] = []
  const unset: string[] = []
  for (const { key, text, before, isRemoved, isCut } of fields) {
    if (isRemoved) unset.push(key)
    else if (!isCut && (before === undefined || JSON.stringify(parsed(text)) !== JSON.stringify(parsed(before))))
      set.push([key, parsed(text)!])
  }
  return set.length === 0 && unset.length === 0 ? undefined : { set: Object.fromEntries(set), unset }
}

function parsed(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json
  } catch {
    return undefined
  }
}
