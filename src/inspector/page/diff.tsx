import type { VNode } from 'preact'
import type { Moment } from '../wire.ts'

/** The session at a version beside another version, or another session. */
export function DiffView({ moment }: { readonly moment: Moment }): VNode {
  return <p>What differs from version {moment.version}</p>
}
