import type { Message, MessageInput, SessionHistoryService } from '../../../src/index.ts'

/** How far the run of {@link trips} goes. */
export const LAST = 32

/**
 * Two runs of one task by ada: `good`, and `bad`, which has gone wrong at version 19 and was rewound at its end. And a session of bob.
 */
export async function trips(history: SessionHistoryService): Promise<void> {
  const title = 'A train to Oslo'
  const good = await history.createSession('ada', 'good', { metadata: { title, task_id: 7, reward: 1 } })
  for (const message of run(9)) await history.appendMessage(good, message)
  const bad = await history.createSession('ada', 'bad', { metadata: { title, task_id: 7, reward: 0 } })
  const messages = run(14, 8)
  for (const message of messages.slice(0, 20)) await history.appendMessage(bad, message)
  await history.updateMetadata(bad, { set: { mood: 'cross' } })
  for (const message of messages.slice(20)) await history.appendMessage(bad, message)
  await history.rewind(bad, 14, { reason: 'the wrong train' })
  await history.appendMessage(bad, { role: 'user', content: 'The early one, then.' })
  const songs = await history.createSession('bob', 'songs', { metadata: { title: 'Songs' } })
  await history.appendMessage(songs, { role: 'user', content: 'A song, please.' })
}

// Questions and answers, of which the `wrong` one is another, and a tool fails.
function run(count: number, wrong = -1): MessageInput[] {
  return Array.from({ length: count }, (_, n): MessageInput[] =>
    n === 3 || n === wrong
      ? [
          call(n, 'find_trains', { to: 'Oslo', at: `${n}:47` }),
          output(n, n === wrong ? 'Error: there is no such train' : `["${n}:47"]`)
        ]
      : [
          { role: 'user', content: `Question ${n}: a train at ${n}?` },
          {
            role: 'assistant',
            content: `Answer ${n}: ${n >= wrong && wrong > 0 ? 'there is none' : `at ${n}:47`}.`,
            usage: { input_tokens: 100, output_tokens: 10 }
          }
        ]
  ).flat()
}

function call(n: number, name: string, given: object): MessageInput {
  const data = { call_id: `call_${n}`, name, arguments: JSON.stringify(given) }
  return { type: 'function_call', role: 'assistant', content: [{ type: 'data', data }] }
}

function output(n: number, text: string): MessageInput {
  const data = { call_id: `call_${n}`, output: text }
  return { type: 'function_call_output', role: 'tool', content: [{ type: 'data', data }] }
}

/** Something of a message that is in what the page shows of it. */
export function tellingOf({ content }: Message): string {
  const [part] = Array.isArray(content) ? content : []
  if (part?.type === 'text') return part.text ?? ''
  const { name, output: given } = (part?.type === 'data' ? (part.data ?? {}) : {}) as { name?: string; output?: string }
  return name ?? given ?? ''
}
