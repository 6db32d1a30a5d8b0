import type { VNode } from 'preact'
import type { Moment } from '../wire.ts'

/** What can be done with the session at its version, where the inspector may write. */
export function EditMenu({ moment }: { readonly moment: Moment }): VNode {
  return <span class="edit-menu">{moment.version}</span>
}
