import { fromTransition, type TransitionActorLogic } from 'xstate'

/**
 * xstate's `fromTransition` for actors of which only the context changes: their snapshots are written out, as copying one for each event
 * takes longer than handing the event over.
 */
export function fromContext<Context, Event extends { readonly type: string }, Input>(
  after: (context: Context, event: Event, self: { send(event: Event): void }) => Context,
  initial: (input: Input) => Context
): TransitionActorLogic<Context, Event, Input> {
  const logic = fromTransition<Context, Event, never, Input>(
    (context, event, { self }) => after(context, event, self),
    ({ input }) => initial(input)
  )
  return {
    ...logic,
    transition: ({ context }, event, { self }) => ({
      status: 'active',
      output: undefined,
      error: undefined,
      context: after(context, event, self)
    })
  }
}
