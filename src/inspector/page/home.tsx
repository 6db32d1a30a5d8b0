import type { VNode } from 'preact'

export function Home(): VNode {
  return <h1>Sessions</h1>
}
