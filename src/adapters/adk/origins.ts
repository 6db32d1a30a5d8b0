import type { Event } from '@google/adk'
import type { SessionEvent } from '../../event.ts'

/** Where a message is from: its place, the one before it, and the version before its commit, if that is one of this log. */
export interface Origin {
  readonly place: number
  readonly previous: Origin | undefined
  readonly before: number | undefined
}

// The last of so many messages that a session began with.
export function inherited(length: number): Origin | undefined {
  return length === 0 ? undefined : { place: length - 1, previous: undefined, before: undefined }
}

export function originAfter(
  { type, data, version }: SessionEvent<Event>,
  origins: readonly (Origin | undefined)[],
  before: number
): Origin | undefined {
  let last = origins[version - 1]
  switch (type) {
    case 'created':
    case 'deleted':
      return undefined
    case 'message-appended':
      return { place: last ? last.place + 1 : 0, previous: last, before }
    case 'messages-truncated':
      while (last && last.place >= data.length)
        last = last.before === undefined ? inherited(data.length) : last.previous
      return last
    case 'rewound':
      return origins[data.toVersion]
    default:
      return last
  }
}
