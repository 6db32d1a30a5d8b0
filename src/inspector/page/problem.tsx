import type { VNode } from 'preact'
import { Line } from './text.tsx'

/** A problem among others on a line: in a word or two, with the whole of it as its title. */
export function Problem({ what }: { readonly what: string }): VNode {
  const brief = briefOf(what)
  return brief === what ? (
    <span class="badge bad">{what}</span>
  ) : (
    <span class="badge bad" title={what}>
      <span aria-hidden="true">{brief}</span>
      <span class="visually-hidden">
        <Line text={what} />
      </span>
    </span>
  )
}

function briefOf(what: string): string {
  if (what === 'the output of a tool is an error') return 'tool error'
  if (what === 'a refusal') return 'refusal'
  return what.startsWith('error: ') || what === 'an error' ? 'error' : what
}
