import type { VNode } from 'preact'

export function SessionPage(): VNode {
  return <h1>Session</h1>
}
