import type { UIMessage } from 'ai'
import type { SessionRef } from '../../calls.ts'
import { isTurnlogError } from '../../errors.ts'
import type { EventData } from '../../event.ts'
import type { SessionHistoryService } from '../../service.ts'
import { AI_SDK_FORMAT } from '../messages/ai-sdk.ts'
import { askedOf } from './merge.ts'

/** Messages that an edit or a new answer has taken away. */
export interface ReplacedMessages<UI extends UIMessage = UIMessage> {
  /** The version of session `sessionId` at which they were last there; the session is another one in a fork. */
  readonly version: number
  readonly sessionId: string
  readonly messages: UI[]
}

/** What was taken away up to a version, and the mark of the newest time: it tells whether a log is the one that a fork comes from. */
interface Told<UI extends UIMessage> {
  readonly replaced: readonly ReplacedMessages<UI>[]
  readonly asked: string | undefined
}

/**
 * What edits and new answers have taken away of a chat, oldest first, as its log says it, up to a version. What was rewound past is not; nor is what a
 * parent that was purged had.
 */
export async function replacedOf<UI extends UIMessage>(
  history: SessionHistoryService<UI, UI>,
  chat: SessionRef
): Promise<readonly ReplacedMessages<UI>[]> {
  return (await toldOf(history, chat)).replaced
}

async function toldOf<UI extends UIMessage>(
  history: SessionHistoryService<UI, UI>,
  { userId, id }: SessionRef,
  to?: number
): Promise<Told<UI>> {
  let told: Told<UI> = { replaced: [], asked: undefined }
  let messages: UI[] = []
  // What was told from a version on, for rewinds.
  const past: { readonly version: number; readonly told: Told<UI> }[] = []
  let askedIn = ''
  const messagesAt = async (at: number): Promise<readonly UI[]> =>
    (await history.getSession(userId, id, { at }))?.messages ?? []
  try {
    for await (const { type, data, version, commitId } of history.readEvents(userId, id, { to })) {
      const before = told
      switch (type) {
        case 'created':
          messages = data.forkedFrom || data.messages ? [...(await messagesAt(version))] : []
          told = await inherited(history, { userId, id }, version, data)
          break
        case 'message-appended':
          messages.push(data.message)
          break
        case 'message-replaced':
          messages[messages.findLastIndex((message) => message.id === data.message.id)] = data.message
          break
        case 'metadata-changed':
          if (data.set[AI_SDK_FORMAT] === undefined) break
          askedIn = commitId
          told = { ...told, asked: askedOf({ metadata: data.set }) }
          break
        case 'messages-truncated': {
          const taken = messages.splice(data.length)
          // What the application cuts off is its own affair.
          if (askedIn !== commitId || taken.length === 0) break
          // The mark came before it, in the same commit.
          const entry = { sessionId: id, version: version - 2, messages: taken }
          told = { ...told, replaced: [...told.replaced, entry] }
          break
        }
        case 'rewound':
          messages = [...(await messagesAt(data.toVersion))]
          told = past.findLast((each) => each.version <= data.toVersion)?.told ?? told
          break
        default:
      }
      if (told !== before) past.push({ version, told })
    }
  } catch (error) {
    // It was of another adapter once: what was then is none of ours.
    if (!isTurnlogError(error, 'FORMAT_MISMATCH')) throw error
  }
  return told
}

// A parent may have been purged, and a chat of its name begun since: that has not the mark that the fork has taken along.
async function inherited<UI extends UIMessage>(
  history: SessionHistoryService<UI, UI>,
  { userId, id }: SessionRef,
  version: number,
  { forkedFrom, metadata }: EventData<unknown>['created']
): Promise<Told<UI>> {
  const asked = askedOf({
    metadata: forkedFrom ? ((await history.getSession(userId, id, { at: version }))?.metadata ?? {}) : (metadata ?? {})
  })
  if (!forkedFrom || asked === undefined) return { replaced: [], asked }
  const { sessionId, version: to } = forkedFrom
  const parent = await toldOf(history, { userId: forkedFrom.userId, id: sessionId }, to)
  return { replaced: parent.asked === asked ? parent.replaced : [], asked }
}
