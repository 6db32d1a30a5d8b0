import type { VNode } from 'preact'

export function Actors(): VNode {
  return <h1>Actors</h1>
}
