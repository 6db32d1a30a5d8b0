import type { ComponentChildren, VNode } from 'preact'
import { useState } from 'preact/hooks'
import type { Json, JsonObject } from '../../json.ts'
import type { ContentPart, Message } from '../../message.ts'
import type { Item } from '../wire.ts'
import type { SessionPlace } from './address.ts'
import { JsonView, parsedJson } from './json.tsx'
import { beginningOf, Line, sought, Text } from './text.tsx'
import { cutAt, cutsIn, Rest, sizeOf, type Whence } from './whole-text.tsx'

/** Properties of {@link ItemView}. */
export interface ItemViewProps {
  readonly item: Item
  /** Of which session and version it is. */
  readonly at: SessionPlace & { readonly at: number }
  /** As it is stored, as JSON. */
  readonly isRaw?: boolean
  /** Other messages, as far as they are here: then the output of a tool stands at its call. */
  readonly near?: ((index: number) => Item | undefined) | undefined
  /** At which version those are as they are. */
  readonly sinceOf?: ((index: number) => number | undefined) | undefined
  /** Goes to another message. */
  readonly onJump?: ((index: number) => void) | undefined
  /** Whether an output is what the event at hand has added. */
  readonly isNew?: ((index: number) => boolean) | undefined
  /** Another way to show a text than as it is: where it is compared with another. */
  readonly mark?: ((text: string, path: readonly (string | number)[]) => ComponentChildren | undefined) | undefined
}

/** A message: who speaks, what is said, which tools are called and what comes of it. All of it is shown as text. */
export function ItemView(props: ItemViewProps): VNode {
  const { item, at, isRaw = false } = props
  const { message, raw, index, cuts, problem } = item
  const whence: Whence = {
    user: at.user,
    session: at.session,
    at: at.at,
    of: isRaw ? 'item' : 'message',
    index
  }
  if (isRaw || !message)
    return (
      <div class="item raw">
        <Head index={index} role="item" problem={problem} />
        <JsonView value={raw ?? (message as unknown as Json)} cuts={cuts} whence={whence} depth={7} />
      </div>
    )
  return <MessageView {...props} message={message} whence={whence} />
}

interface Context extends ItemViewProps {
  readonly message: Message
  readonly whence: Whence
}

function MessageView(props: Context): VNode {
  const { item, message, whence } = props
  const { content, type, role, status, error, usage } = message
  const parts = Array.isArray(content) ? content : []
  const contentCut = cutAt(item.cuts, ['content'])
  const call = item.calls?.[0]
  // Shown at its call, if that is on the page.
  const isCompact = props.near !== undefined && call !== undefined && parts.length === 1
  return (
    <div class={`item ${role ?? 'other'} ${classOf(type)} ${isCompact ? 'compact' : ''}`}>
      <Head
        index={item.index}
        role={role ?? type}
        type={type === 'message' || type === role ? undefined : type}
        status={status === 'created' || status === 'completed' ? undefined : status}
        problem={item.problem}
      >
        {usage && <Usage usage={usage as JsonObject} />}
      </Head>
      <div class="content">
        {parts.map((part, n) =>
          part ? <Part key={n} {...props} part={part} n={n} isCompact={isCompact} /> : <p class="quiet">null</p>
        )}
        {parts.length === 0 && !message.message && !error && <p class="quiet">No content</p>}
        {contentCut && (
          <p>
            <Rest cut={contentCut} whence={whence} has={parts.length} />
          </p>
        )}
        {typeof message.message === 'string' && message.message !== '' && (
          <div class={type === 'error' ? 'fault' : ''}>
            {message.code && <code>{<Line text={message.code} />} </code>}
            <LongText {...props} text={message.message} path={['message']} />
          </div>
        )}
        {error && <Fault {...props} error={error} path={['error']} />}
      </div>
    </div>
  )
}

interface HeadProps {
  readonly index: number
  readonly role: string
  readonly type?: string | undefined
  readonly status?: string | undefined
  readonly problem?: string | undefined
  readonly children?: ComponentChildren
}

function Head({ index, role, type, status, problem, children }: HeadProps): VNode {
  return (
    <div class="head">
      <span class="role">
        <Line text={role} />
      </span>
      {type !== undefined && (
        <span class="badge">
          <Line text={type} />
        </span>
      )}
      {status !== undefined && <span class={`badge status ${status}`}>{<Line text={status} />}</span>}
      {problem !== undefined && (
        <span class="badge problem">
          <Line text={problem} />
        </span>
      )}
      {children}
      <span class="index">#{index + 1}</span>
    </div>
  )
}

interface PartProps extends Context {
  readonly part: ContentPart
  readonly n: number
  readonly isCompact: boolean
}

function Part(props: PartProps): VNode {
  const { part, n, item, whence } = props
  return (
    <>
      <PartBody {...props} />
      {part.status && part.status !== 'created' && part.status !== 'completed' && (
        <span class={`badge status ${part.status}`}>{part.status}</span>
      )}
      {part.error && <Fault {...props} error={part.error} path={['content', n, 'error']} />}
      {cutAt(item.cuts, ['content', n]) && (
        <p>
          <Rest cut={cutAt(item.cuts, ['content', n])!} whence={whence} />
        </p>
      )}
    </>
  )
}

function PartBody(props: PartProps): VNode {
  const { part, n, message } = props
  const path = ['content', n]
  switch (part.type) {
    case 'text':
      return message.type === 'reasoning' ? (
        <Reasoning>
          <LongText {...props} text={part.text ?? ''} path={[...path, 'text']} />
        </Reasoning>
      ) : (
        <LongText {...props} text={part.text ?? ''} path={[...path, 'text']} />
      )
    case 'refusal':
      return (
        <div class="refusal">
          <strong>Refused</strong>
          <LongText {...props} text={part.refusal ?? ''} path={[...path, 'refusal']} />
        </div>
      )
    case 'data':
      return <Data {...props} data={(part.data ?? {}) as JsonObject} />
    case 'image':
      return <Address {...props} what="Image" text={part.image_url} path={[...path, 'image_url']} />
    case 'video':
      return <Address {...props} what="Video" text={part.video_url} path={[...path, 'video_url']} />
    case 'audio':
      return <Address {...props} what={`Audio ${part.format ?? ''}`} text={part.data} path={[...path, 'data']} />
    case 'file':
      return (
        <Address
          {...props}
          what={`File ${part.filename ?? part.file_id ?? ''}`}
          text={(part.file_url ?? '') === '' ? part.file_data : part.file_url}
          path={[...path, (part.file_url ?? '') === '' ? 'file_data' : 'file_url']}
        />
      )
    default:
      // Of a newer release.
      return <JsonView value={part} cuts={cutsIn(props.item.cuts, path)} whence={props.whence} path={path} />
  }
}

function LongText({
  text,
  path,
  item,
  whence,
  mark
}: Context & { readonly text: string; readonly path: readonly (string | number)[] }): VNode {
  const cut = cutAt(item.cuts, path)
  return (
    <div class="said">
      {cut?.what !== 'image' && (mark?.(text, path) ?? <Text text={text} isBeginning={cut !== undefined} />)}
      {cut && <Rest cut={cut} whence={whence} />}
    </div>
  )
}

// Of what stands on a line.
function RestOf({ item, whence, path }: Context & { readonly path: readonly (string | number)[] }): VNode | null {
  const cut = cutAt(item.cuts, path)
  return cut ? <Rest cut={cut} whence={whence} /> : null
}

// What is elsewhere is not loaded: who has written the message would learn who reads it.
function Address({
  what,
  text,
  path,
  item,
  whence
}: PartProps & {
  readonly what: string
  readonly text: string | null | undefined
  readonly path: readonly (string | number)[]
}): VNode {
  const cut = cutAt(item.cuts, path)
  if (cut?.what === 'image')
    return (
      <p class="picture">
        <Rest cut={cut} whence={whence} />
      </p>
    )
  const isData = text?.startsWith('data:') ?? false
  return (
    <div class="box">
      <strong>
        <Line text={what.trim()} />
      </strong>{' '}
      {(text ?? '') === '' ? (
        <span class="quiet">without content</span>
      ) : cut || isData || text!.length > 300 ? (
        <span class="quiet">
          {isData && <Line text={`${/^data:[^;,]{0,80}/.exec(text!)?.[0].slice(5) ?? ''}, `} />}
          {sizeOf(cut?.size ?? text!.length)}
        </span>
      ) : (
        <span class="address">
          <Line text={text!} />
        </span>
      )}
      {cut && <Rest cut={cut} whence={whence} />}
    </div>
  )
}

// A tool call, the output of one, or anything else.
function Data(props: PartProps & { readonly data: JsonObject }): VNode {
  const { data, message, item, whence, n, near, isNew } = props
  const { name, arguments: given, input } = data
  const path = ['content', n, 'data']
  if (message.type.endsWith('_call_output') || data['output'] !== undefined) return <Output {...props} />
  if (!message.type.endsWith('_call') && given === undefined)
    return <JsonView value={data} cuts={cutsIn(item.cuts, path)} whence={whence} path={path} />
  const place = item.outputs?.[n]
  const output = place && near?.(place.message)
  const key = given === undefined ? 'input' : 'arguments'
  return (
    <div class="call">
      <div class="call-head">
        <span aria-hidden="true">→ </span>
        <strong>
          <Line text={typeof name === 'string' ? name : 'a tool'} />
        </strong>
        <RestOf {...props} path={[...path, 'name']} />
        <CallId data={data} />
        {!place && near && <span class="badge open">no output yet</span>}
      </div>
      <Payload {...props} value={given ?? input ?? null} path={[...path, key]} />
      {place && output?.message && (
        <div class={`call-output ${isNew?.(place.message) ? 'is-new' : ''}`}>
          <div class="call-head">
            <span aria-hidden="true">← </span>output
            <Jump {...props} index={place.message} />
            {output.problem !== undefined && (
              <span class="badge problem">
                <Line text={output.problem} />
              </span>
            )}
          </div>
          <OutputPayload
            {...props}
            item={output}
            message={output.message}
            whence={{ ...whence, index: output.index, at: props.sinceOf?.(output.index) ?? whence.at }}
            n={place.part}
          />
        </div>
      )}
      {place && !output && (
        <p class="quiet">
          ← output in <Jump {...props} index={place.message} />
        </p>
      )}
    </div>
  )
}

function Output(props: PartProps & { readonly data: JsonObject }): VNode {
  const { data, item, n, isCompact, near } = props
  const { name, output } = data
  const call = item.calls?.[n]
  return (
    <div class="output">
      <div class="call-head">
        <span aria-hidden="true">← </span>
        <strong>
          <Line text={typeof name === 'string' ? name : 'output'} />
        </strong>
        <RestOf {...props} path={['content', n, 'data', 'name']} />
        <CallId data={data} />
        {call && (
          <span class="quiet">
            {isCompact ? 'shown at its call, ' : 'of '}
            <Jump {...props} index={call.message} />
          </span>
        )}
        {!call && near && <span class="badge">its call is not near</span>}
      </div>
      {isCompact ? (
        <p class="preview">
          {output === '' ? (
            'empty'
          ) : (
            <Line text={previewOf(typeof output === 'string' ? output : JSON.stringify(output ?? null))} />
          )}
        </p>
      ) : (
        <OutputPayload {...props} />
      )}
    </div>
  )
}

/** So much stands before what is looked for, on a line that has room for little. */
const BEFORE = 24

// The beginning; or what is looked for, where it is further on.
function previewOf(text: string): string {
  const at = sought.value === '' ? -1 : text.toLowerCase().indexOf(sought.value.toLowerCase())
  const from = Math.max(0, at - BEFORE)
  return `${from > 0 ? '…' : ''}${text.slice(from, from + 300)}`
}

function OutputPayload(props: PartProps): VNode {
  const { message, n } = props
  const part = Array.isArray(message.content) ? message.content[n] : undefined
  const data = (part?.type === 'data' ? (part.data ?? {}) : {}) as JsonObject
  return <Payload {...props} value={data['output'] ?? null} path={['content', n, 'data', 'output']} />
}

// Arguments and outputs are often JSON in a text.
function Payload(props: PartProps & { readonly value: Json; readonly path: readonly (string | number)[] }): VNode {
  const { value, path, item, whence } = props
  const cut = cutAt(item.cuts, path)
  const marked = props.mark?.(typeof value === 'string' ? value : JSON.stringify(value, null, 2), path)
  if (marked !== undefined && !cut) return <div class="said">{marked}</div>
  const parsed = typeof value === 'string' && !cut ? parsedJson(value) : undefined
  if (value === '' && !cut) return <p class="said quiet">empty</p>
  if (typeof value === 'string' && parsed === undefined) return <LongText {...props} text={value} path={path} />
  return (
    <JsonView
      value={parsed ?? value}
      cuts={parsed ? [] : cutsIn(item.cuts, path)}
      whence={whence}
      path={path}
      depth={2}
    />
  )
}

function CallId({ data }: { readonly data: JsonObject }): VNode | null {
  const id = data['call_id']
  return typeof id === 'string' ? (
    <code class="call-id quiet">
      <Line text={beginningOf(id, 80)} />
    </code>
  ) : null
}

function Jump({ index, onJump }: { readonly index: number; readonly onJump?: ItemViewProps['onJump'] }): VNode {
  return onJump ? (
    <button type="button" class="jump" onClick={() => onJump(index)}>
      message {index + 1}
    </button>
  ) : (
    <>message {index + 1}</>
  )
}

function Reasoning({ children }: { readonly children: ComponentChildren }): VNode {
  const [isOpen, setOpen] = useState(true)
  return (
    <div class="reasoning">
      <button type="button" class="more" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        Reasoning
      </button>
      {isOpen && children}
    </div>
  )
}

interface FaultProps extends Context {
  readonly error: { readonly code: string; readonly message: string }
  readonly path: readonly (string | number)[]
}

function Fault({ error, path, ...props }: FaultProps): VNode {
  return (
    <div class="fault">
      <strong>
        Error <Line text={error.code} />
      </strong>
      <RestOf {...props} path={[...path, 'code']} />
      <LongText {...props} text={error.message} path={[...path, 'message']} />
    </div>
  )
}

function Usage({ usage }: { readonly usage: JsonObject }): VNode {
  const counts = Object.entries(usage).filter(([, value]) => typeof value === 'number')
  return (
    <span class="usage quiet">
      <Line
        text={counts
          .slice(0, 4)
          .map(([key, value]) => `${key.replaceAll('_', ' ')} ${value as number}`)
          .join(' · ')}
      />
    </span>
  )
}

function classOf(type: string): string {
  return /^[a-z0-9_-]{1,40}$/i.test(type) ? `type-${type}` : ''
}
