import type { VNode } from 'preact'
import { hrefOf, place } from './address.ts'
import { about, trouble } from './client.ts'

/** What stands above every page: where the reader is, and what is wrong. */
export function Header(): VNode {
  const { user, session, page } = place.value
  return (
    <header>
      <a class="skip" href="#main">
        To the content
      </a>
      <nav aria-label="Where you are">
        <a href={hrefOf({})} class="brand">
          turnlog
        </a>
        {user !== undefined && (
          <a href={hrefOf({ user })} aria-current={session === undefined ? 'page' : undefined}>
            <bdi>{user}</bdi>
          </a>
        )}
        {session !== undefined && (
          <a href={hrefOf({ user, session })} aria-current="page">
            <bdi>{session}</bdi>
          </a>
        )}
      </nav>
      <span class="store">
        <bdi>{about.value?.store}</bdi>
        {about.value?.allowEdit === false && <span class="badge">read-only</span>}
      </span>
      <a href={hrefOf({ page: 'actors' })} aria-current={page === 'actors' ? 'page' : undefined}>
        Actors
      </a>
      {trouble.value && (
        <p role="alert" class="trouble">
          {trouble.value.message}
        </p>
      )}
    </header>
  )
}
