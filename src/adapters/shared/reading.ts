import type { Json } from '../../json.ts'
import type { Message } from '../../message.ts'

/** What the items of a session read as. */
export type Reading = (items: readonly Json[]) => Message[]

// Loaded where one is met. None needs its framework.
const READINGS: { readonly [format: string]: () => Promise<Reading> } = {
  'adk': async () => (await import('../messages/adk.ts')).toMessages as unknown as Reading,
  'claude-agent': async () => (await import('../messages/claude-agent.ts')).toMessages as Reading,
  'ai-sdk': async () => (await import('../messages/ai-sdk.ts')).toMessages as unknown as Reading,
  'ai-sdk-stream': async () => (await import('../messages/ai-sdk.ts')).streamToMessages as unknown as Reading,
  'langchain': async () => (await import('../messages/langgraph.ts')).toMessages as unknown as Reading,
  'langgraph': async () => (await import('../messages/langgraph.ts')).toMessages as unknown as Reading,
  'openai-agents': async () => (await import('../messages/openai-agents.ts')).toMessages as Reading
}

/** How sessions that an adapter has written read as messages; `undefined` of formats that are none of ours. */
export async function readingOf(format: string): Promise<Reading | undefined> {
  return Object.hasOwn(READINGS, format) ? READINGS[format]!() : undefined
}

/** What the default message is called as a format. */
export const DEFAULT_FORMAT = 'message'

/**
 * How items of a format read as messages: those of our adapters, and messages themselves. Of a format that nobody here knows, or items that
 * are not what their adapter writes, `undefined`.
 */
export async function readerOf(format: string): Promise<(items: readonly unknown[]) => readonly Message[] | undefined> {
  if (format === DEFAULT_FORMAT) return (items) => items as readonly Message[]
  const reading = await readingOf(format)
  return (items) => {
    try {
      return reading?.(items as readonly Json[])
    } catch {
      return undefined
    }
  }
}
