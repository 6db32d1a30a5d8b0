import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import { hrefOf, place } from './address.ts'
import { about, trouble } from './client.ts'
import { Dialog } from './dialog.tsx'
import { useKeys } from './loaded.tsx'
import { Line, plain, visible } from './text.tsx'

/** What stands above every page: where the reader is, and what is wrong. */
export function Header(): VNode {
  const { user, session, page } = place.value
  const [isHelping, setHelping] = useState(false)
  useKeys((event) => {
    if (event.key !== '?') return
    event.preventDefault()
    setHelping(true)
  })
  return (
    <header>
      <a class="skip" href="#main" onClick={toContent}>
        To the content
      </a>
      <nav aria-label="Where you are">
        <ol class="crumbs">
          <li>
            <a
              href={hrefOf({})}
              class="brand"
              aria-current={page === 'home' && user === undefined ? 'page' : undefined}
            >
              <Mark />
              turnlog
            </a>
          </li>
          {page === 'actors' && (
            <li>
              <a href={hrefOf({ page })} aria-current="page">
                Actors
              </a>
            </li>
          )}
          {page !== 'actors' && user !== undefined && (
            <li>
              <a href={hrefOf({ user })} aria-current={session === undefined ? 'page' : undefined}>
                <Line text={user} />
              </a>
            </li>
          )}
          {page !== 'actors' && session !== undefined && (
            <li>
              <a href={hrefOf({ user, session })} aria-current="page">
                <Line text={session} />
              </a>
            </li>
          )}
        </ol>
      </nav>
      <span class="store">
        {about.value?.store !== undefined && <bdi title={plain(about.value.store)}>{visible(about.value.store)}</bdi>}
        {about.value?.allowEdit === false && (
          <span class="badge" title="Started without --allow-edit: nothing is changed from here">
            read-only
          </span>
        )}
      </span>
      <span class="header-links">
        <a class="button plain" href={hrefOf({ page: 'actors' })} aria-current={page === 'actors' ? 'page' : undefined}>
          Actors
        </a>
        <button type="button" class="plain" aria-label="Keys and help" onClick={() => setHelping(true)}>
          <kbd>?</kbd>
        </button>
      </span>
      {trouble.value && (
        <p role="alert" class="trouble">
          <span class="pulse" aria-hidden="true" />
          <span>
            {trouble.value.message} <span class="quiet">Trying again by itself …</span>
          </span>
        </p>
      )}
      {isHelping && <Help onClose={() => setHelping(false)} />}
    </header>
  )
}

// The address stays as it is.
function toContent(event: MouseEvent): void {
  event.preventDefault()
  const main = document.getElementById('main')!
  main.tabIndex = -1
  main.focus()
}

/** A line that turns back and goes on: history that forks. */
function Mark(): VNode {
  return (
    <svg
      width="20"
      height="20"
      viewBox="0 0 20 20"
      fill="none"
      stroke="currentColor"
      stroke-width="2"
      aria-hidden="true"
    >
      <path d="M5 2.5v15M5 12c0-4 9-2 9-6.5" stroke-linecap="round" />
      <circle cx="14" cy="4.5" r="2" fill="var(--accent)" stroke="var(--accent)" />
      <circle cx="5" cy="12" r="2" fill="var(--panel)" />
    </svg>
  )
}

const KEYS: readonly (readonly [where: string, keys: readonly (readonly [keys: readonly string[], what: string])[]])[] =
  [
    [
      'Everywhere',
      [
        [['?'], 'this help'],
        [['/'], 'search'],
        [['Esc'], 'close what is open']
      ]
    ],
    [
      'Lists of users and sessions',
      [
        [['↑', '↓'], 'move through the list'],
        [['Home', 'End'], 'first and last'],
        [['Enter'], 'open']
      ]
    ],
    [
      'A session',
      [
        [['←', '→'], 'a version back, a version on'],
        [['Home', 'End'], 'first version, newest version'],
        [['PgDn', 'PgUp'], 'a tenth of all versions back, or on'],
        [['[', ']'], 'the problem, rewind or turn before, or next'],
        [['Space'], 'play, pause'],
        [['1', '…', '5'], 'conversation, events, JSON, compare, tree']
      ]
    ],
    [
      'Compare',
      [
        [['n'], 'next difference'],
        [['p'], 'previous difference']
      ]
    ]
  ]

function Help({ onClose }: { readonly onClose: () => void }): VNode {
  return (
    <Dialog title="Keys" onClose={onClose} class="help">
      {KEYS.map(([where, keys]) => (
        <section key={where}>
          <h3>{where}</h3>
          <dl>
            {keys.map(([names, what]) => (
              <div key={what}>
                <dt>
                  {names.map((name) => (
                    <kbd key={name}>{name}</kbd>
                  ))}
                </dt>
                <dd>{what}</dd>
              </div>
            ))}
          </dl>
        </section>
      ))}
      <p class="quiet small">turnlog {about.value?.version}. Every view has its own address, which can be shared.</p>
    </Dialog>
  )
}
