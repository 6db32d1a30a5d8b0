import type { VNode } from 'preact'
import type { Facts, MetadataChange, Moment, Shown } from '../wire.ts'
import type { Json, JsonObject } from '../../json.ts'
import { hrefOf } from './address.ts'
import { isFork } from './events.tsx'
import { JsonView } from './json.tsx'
import { facts, jumpTo, latest, moment as shown, target } from './session-state.ts'
import { Line } from './text.tsx'
import { timeOf } from './time.tsx'
import { sizeOf, type Whence } from './whole-text.tsx'

/** What the session is called, where it comes from, and how it stands. */
export function Heading({ moment }: { readonly moment: Moment }): VNode {
  const { title, id, forkedFrom, turn, isLive, format, version, damagedAt } = moment
  return (
    <div class="heading">
      <h1 tabIndex={-1}>
        <Line text={title ?? id} />
      </h1>
      <p class="small quiet line">
        {title !== undefined && (
          <code class="foldable">
            <Line text={id} />
          </code>
        )}
        <span class="foldable">
          version <strong>{version.toLocaleString('en')}</strong> of {latest.value.toLocaleString('en')}
        </span>
        <span class="foldable">begun {timeOf(moment.createdAt)}</span>
        {moment.updatedAt !== moment.createdAt && <span class="foldable">this version {timeOf(moment.updatedAt)}</span>}
        {format !== '' && format !== 'message' && (
          <span class="badge">
            <Line text={format} />
          </span>
        )}
        {forkedFrom && (
          <a
            class="badge accent"
            href={hrefOf({
              user: forkedFrom.userId,
              session: forkedFrom.sessionId,
              at: forkedFrom.version,
              view: 'conversation'
            })}
          >
            fork of <Line text={forkedFrom.sessionId} /> at {forkedFrom.version}
          </a>
        )}
        {turn && (
          <span class="badge warm">
            {turn.owner === undefined ? (
              'a turn is open'
            ) : (
              <>
                a turn of <Line text={turn.owner} /> is open
              </>
            )}
          </span>
        )}
        {!isLive && <span class="badge bad">deleted</span>}
        {damagedAt !== undefined && (
          <span class="badge bad" title="What comes after it cannot be read">
            the log is damaged from version {damagedAt.toLocaleString('en')} on
          </span>
        )}
      </p>
    </div>
  )
}

/** The counts over all messages; problems and open calls lead to where they are. */
export function Counts(): VNode {
  const known = facts.value
  if (!known) return <p class="counts small quiet">Counting…</p>
  const { messages, bytes, toolCalls, tokens, version } = known
  return (
    <p class="counts small quiet">
      <Next name={['problem', 'problems']} count={known.problems.length} places={known.problems} isBad />
      <Next name={['open call', 'open calls']} count={known.openCount} places={known.open} />
      <Count n={messages} name={['message', 'messages']} />
      <span class="foldable">{sizeOf(bytes)}</span>
      {toolCalls > 0 && (
        <span class="foldable">
          <Count n={toolCalls} name={['tool call', 'tool calls']} />
        </span>
      )}
      {tokens && (
        <span class="foldable" title={`${tokens.input} in, ${tokens.output} out`}>
          <strong>{tokens.total.toLocaleString('en')}</strong> tokens
        </span>
      )}
      {version !== shown.value?.version && <span>at version {version.toLocaleString('en')}</span>}
    </p>
  )
}

type Name = readonly [one: string, many: string]

function Count({ n, name }: { readonly n: number; readonly name: Name }): VNode {
  return (
    <span>
      <strong>{n.toLocaleString('en')}</strong> {name[n === 1 ? 0 : 1]}
    </span>
  )
}

interface NextProps {
  readonly name: Name
  readonly count: number
  readonly places: readonly { readonly message: number }[]
  readonly isBad?: boolean
}

// Each time to the next of them.
function Next({ name, count, places, isBad = false }: NextProps): VNode | null {
  const first = places[0]
  if (!first) return null
  const next = (): void => {
    const at = target.peek() ?? -1
    jumpTo((places.find(({ message }) => message > at) ?? first).message)
  }
  const many = isBad && count >= 100 ? '+' : ''
  return (
    <button type="button" class={`badge ${isBad ? 'bad' : 'warm'}`} title={`Go to the next`} onClick={next}>
      {count.toLocaleString('en')}
      {many} {name[count === 1 ? 0 : 1]} ↓
    </button>
  )
}

/** Metadata, problems, open calls and counts, beside the conversation. */
export function Aside({ moment }: { readonly moment: Moment }): VNode {
  const known = facts.value
  return (
    <aside aria-label="About this version" tabIndex={0}>
      <Metadata moment={moment} />
      {known && <Places title="Problems" places={known.problems.map(({ message, what }) => ({ message, what }))} />}
      {known && (
        <Places
          title="Calls without output"
          places={known.open.map(({ message, name }) => ({ message, what: name ?? 'a tool' }))}
        />
      )}
      {known && <Roles facts={known} />}
    </aside>
  )
}

function Metadata({ moment }: { readonly moment: Moment }): VNode {
  const { metadata, change, userId, id, version } = moment
  const whence: Whence = { user: userId, session: id, at: version, of: 'metadata' }
  // What a fork begins with is not new.
  const changed = new Map(isFork(moment) ? [] : change.metadata.map((each) => [each.key, each]))
  const keys = Object.keys(metadata.value)
  const gone = change.metadata.filter(({ b }) => !b)
  return (
    <section aria-labelledby="metadata">
      <h2 id="metadata">Metadata</h2>
      {keys.length === 0 && gone.length === 0 && <p class="quiet small">None at this version</p>}
      <dl>
        {keys.map((key) => (
          <Entry key={key} name={key} metadata={metadata} whence={whence} changed={changed.get(key)} />
        ))}
        {gone.map(({ key, a }) => (
          <div key={key} class="entry is-gone">
            <dt>
              <Line text={key} /> <span class="badge">removed</span>
            </dt>
            <dd>
              {a && (
                <del>
                  <JsonView
                    value={a.value}
                    whence={{ ...whence, at: version - 1 }}
                    path={[key]}
                    cuts={a.cuts}
                    depth={1}
                  />
                </del>
              )}
            </dd>
          </div>
        ))}
      </dl>
    </section>
  )
}

interface EntryProps {
  readonly name: string
  readonly metadata: Shown<JsonObject>
  readonly whence: Whence
  readonly changed: MetadataChange | undefined
}

function Entry({ name, metadata, whence, changed }: EntryProps): VNode {
  const cuts = metadata.cuts.flatMap((cut) => (cut.path[0] === name ? [{ ...cut, path: cut.path.slice(1) }] : []))
  return (
    <div class={`entry ${changed ? 'is-new' : ''}`}>
      <dt>
        <Line text={name} /> {changed && <span class="badge">{changed.a ? 'changed' : 'added'}</span>}
      </dt>
      {changed?.a && (
        <dd>
          <del>
            <JsonView
              value={changed.a.value}
              cuts={changed.a.cuts}
              whence={{ ...whence, at: whence.at - 1 }}
              path={[name]}
              depth={1}
            />
          </del>
        </dd>
      )}
      <dd>
        <JsonView value={metadata.value[name] as Json} cuts={cuts} whence={whence} path={[name]} depth={1} />
      </dd>
    </div>
  )
}

function Places({
  title,
  places
}: {
  readonly title: string
  readonly places: readonly { readonly message: number; readonly what: string }[]
}): VNode | null {
  if (places.length === 0) return null
  return (
    <section>
      <h2>
        {title} <span class="quiet">{places.length === 100 ? '100+' : places.length}</span>
      </h2>
      <ul class="places">
        {places.slice(0, 20).map(({ message, what }, n) => (
          <li key={n}>
            <button type="button" class="plain" onClick={() => jumpTo(message)}>
              <span class="quiet">#{message + 1}</span> <Line text={what} />
            </button>
          </li>
        ))}
      </ul>
      {places.length > 20 && <p class="quiet small">The first 20 of them</p>}
    </section>
  )
}

function Roles({ facts: { roles, tokens } }: { readonly facts: Facts }): VNode | null {
  const entries = Object.entries(roles)
  if (entries.length === 0) return null
  return (
    <section>
      <h2>Counts</h2>
      <table>
        <tbody>
          {entries.slice(0, 20).map(([role, count]) => (
            <tr key={role}>
              <th scope="row">
                <Line text={role} />
              </th>
              <td>{count.toLocaleString('en')}</td>
            </tr>
          ))}
          {tokens &&
            (['input', 'output', 'total'] as const).map((name) => (
              <tr key={name}>
                <th scope="row">{name} tokens</th>
                <td>{tokens[name].toLocaleString('en')}</td>
              </tr>
            ))}
        </tbody>
      </table>
    </section>
  )
}
