import type { SessionEvent } from './event.ts'
import type { Json } from './json.ts'

/**
 * What can be undone and redone. A step is one commit, or the puts of one message that follow each other, or all that one
 * turn wrote. Immutable: each step points to the one below.
 */
export interface Steps {
  readonly undo: Step | undefined
  readonly redo: Undone | undefined
}

/** A step that was taken. */
interface Step {
  /** The version before its first event: undoing goes there. */
  readonly from: number
  /** The version of its last event. */
  readonly until: number
  readonly commitId: string
  readonly turnId: string | undefined
  /** The message that it puts, if that is all it does. */
  readonly putId: string | undefined
  /** The step as it was before the commit at hand, which may turn out not to belong to it. */
  readonly before: Step | undefined
  readonly below: Step | undefined
}

/** A step that was undone. */
interface Undone {
  /** The version before it was undone: redoing goes there. */
  readonly to: number
  readonly step: Step
  readonly below: Undone | undefined
}

/** Nothing to undo, nothing to redo. */
export const NO_STEPS: Steps = Object.freeze({ undo: undefined, redo: undefined })

/** The steps after `event`, in a session that was live before it or not; `past` gives those of an earlier version. */
export function stepsAfter(
  steps: Steps,
  event: SessionEvent<Json>,
  wasLive: boolean,
  past: (version: number) => { readonly steps: Steps }
): Steps {
  switch (event.type) {
    case 'created':
    case 'deleted':
      return NO_STEPS
    case 'turn-started':
    case 'turn-ended':
      return steps
    case 'rewound':
      if (!wasLive) return NO_STEPS
      if (event.data.kind === 'abort') return past(event.data.toVersion).steps
      if (event.data.kind === 'undo' && steps.undo) {
        const undone = { to: event.version - 1, step: steps.undo, below: steps.redo }
        return { undo: steps.undo.below, redo: undone }
      }
      if (event.data.kind === 'redo' && steps.redo) {
        return { undo: steps.redo.step, redo: steps.redo.below }
      }
  }
  return { undo: grown(steps.undo, event), redo: undefined }
}

function grown(top: Step | undefined, event: SessionEvent<Json>): Step {
  const { version: until, commitId, turnId } = event
  const putId = putIdOf(event)
  const isNext = top !== undefined && top.until === until - 1
  if (isNext && top.commitId === commitId) {
    const { from, turnId: ofTurn, before, below } = top
    if (putId === top.putId) return { from, until, commitId, turnId: ofTurn, putId, before, below }
    if (!before) return { from, until, commitId, turnId: ofTurn, putId: undefined, before, below }
    // The commit does more than to put the message of the step that it was taken for a part of.
    return { from: before.until, until, commitId, turnId: ofTurn, putId: undefined, before: undefined, below: before }
  }
  if (top && turnId !== undefined && top.turnId === turnId) {
    const { from, below } = top
    return { from, until, commitId, turnId, putId: undefined, before: undefined, below }
  }
  if (isNext && putId !== undefined && top.putId === putId) {
    return { ...top, until, commitId, before: top.before ? { ...top, before: undefined } : top }
  }
  return { from: until - 1, until, commitId, turnId, putId, before: undefined, below: top }
}

function putIdOf({ type, data }: SessionEvent<Json>): string | undefined {
  const isPut = type === 'message-replaced' || (type === 'message-appended' && data.put)
  return isPut ? (data.message as { readonly id: string }).id : undefined
}
