import type { EventLine, Outline } from '../wire.ts'

/** What an undo or redo would come to, as far as the newest events tell. */
export type Outlook = { readonly to: number } | 'nothing' | 'unknown'

/**
 * Where an undo would go back to, or a redo. What is undone is a commit, or all that one turn wrote; what the events at hand do not tell, the service says
 * when it is asked.
 *
 * @param events the newest of the log, up to the last, in order
 * @param marks of the outline of those
 */
export function outlookOf(
  kind: 'undo' | 'redo',
  events: readonly Pick<EventLine, 'version' | 'type' | 'commitId' | 'turnId'>[],
  marks: Outline['marks']
): Outlook {
  // That a turn begins or ends is no step.
  const written = events.filter(({ type }) => type !== 'turn-started' && type !== 'turn-ended')
  const last = written.at(-1)
  if (!last) return 'unknown'
  const rewind = (version: number): string | undefined => marks.find((mark) => mark.version === version)?.rewind
  const lastRewind = last.type === 'rewound' ? (rewind(last.version) ?? 'abort') : undefined
  if (kind === 'redo') {
    if (lastRewind === 'undo') return { to: last.version - 1 }
    return lastRewind === undefined || lastRewind === 'rewind' ? 'nothing' : 'unknown'
  }
  if (last.type === 'created') return 'nothing'
  // Puts of one message that follow each other are one step; and what is below an undo is not known from here.
  if (last.type === 'message-replaced' || (lastRewind !== undefined && lastRewind !== 'rewind')) return 'unknown'
  let first = last
  for (const event of written.slice(0, -1).toReversed()) {
    const isOfCommit = event.commitId === first.commitId && event.version === first.version - 1
    const isOfTurn = last.turnId !== undefined && event.turnId === last.turnId
    if (event.type === 'created' || (!isOfCommit && !isOfTurn)) return { to: first.version - 1 }
    if (event.type === 'message-replaced' || event.type === 'rewound') return 'unknown'
    first = event
  }
  return 'unknown'
}
