import type { VNode } from 'preact'
import type { Moment } from '../wire.ts'

/** The forks and rewinds of all that has one origin with the session. */
export function TreeView({ moment }: { readonly moment: Moment }): VNode {
  return <p>Forks of {moment.id}</p>
}
