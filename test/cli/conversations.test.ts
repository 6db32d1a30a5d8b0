import { describe, expect, it } from 'vitest'
import { conversationLine, readConversations } from '../../src/cli/conversations.ts'
import { fromOpenAIMessage, type Session } from '../../src/index.ts'
import { LINE, TALK } from './kit.ts'

describe('conversations', () => {
  it('come back as the lines that they were, whatever was said beside the messages', async () => {
    const lines = [{ title: 'mine', n: 1, messages: TALK }, { facts: { a: 1 }, messages: [] }, { messages: TALK }]
    const text = lines.map((each) => JSON.stringify(each)).join('\n')
    const found = await readConversations([text], 'x.jsonl')
    expect(found.map(({ id }) => id)).toEqual(['x-1', 'x-2', 'x-3'])
    expect(found[0]?.content().messages).toHaveLength(TALK.length)
    expect(found[0]?.content().messages[1]).toEqual(fromOpenAIMessage(TALK[1]!))
    const session = {
      id: 's',
      metadata: { facts: { n: 1 } },
      messages: found[2]!.content().messages
    } as unknown as Session
    expect(JSON.parse(conversationLine(session))).toEqual({ n: 1, messages: TALK })
  })
})

describe('conversations of a file', () => {
  const named = async (file: string, ...pieces: (string | Uint8Array)[]): Promise<string[]> =>
    (await readConversations(pieces, file)).map((each) => `${each.id}:${each.line}`)

  it('are called as they say; else after the file and the line, or the file where it is one conversation', async () => {
    expect(await named('x.jsonl', LINE)).toEqual(['x-1:1'])
    expect(await named('x.jsonl', `\n${LINE}\n\n${LINE}`)).toEqual(['x-2:2', 'x-4:4'])
    expect(await named('x.json', LINE)).toEqual(['x:1'])
    expect(await named('x.JSON', LINE, '\n', LINE)).toEqual(['x-1:1', 'x-2:2'])
    expect(await named('x.jsonl', JSON.stringify(TALK, null, 2))).toEqual(['x:1'])
    expect(await named('x.jsonl', '{"id":"a","messages":[]}\n{"session_id":" ","messages":[]}')).toEqual([
      'a:1',
      'x-2:2'
    ])
  })

  it('are read by lines, in whatever pieces, with marks and line ends of other systems', async () => {
    const bytes = Buffer.from(`\ufeff${LINE}\r\n${LINE.replace('Oslo', '京都')}\r\n`)
    const found = await readConversations(
      Array.from(bytes, (byte) => Uint8Array.of(byte)),
      'x.jsonl'
    )
    expect(found.map(({ content }) => JSON.stringify(content().messages[1]?.content))).toEqual([
      expect.stringContaining('A train to Oslo?'),
      expect.stringContaining('A train to 京都?')
    ])
  })
})
