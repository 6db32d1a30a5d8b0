import { expect } from 'vitest'
import { createResumableStreamContext, uiMessageStore } from '../../src/adapters/ai-sdk.ts'
import { answer, ask, drained, modelOf, said, user } from './ai-sdk-kit.ts'
import type { Scenario } from './kit.ts'

/** Several turns with tools, one that fails, an approval over a restart, a new answer, a fork, and a stream that is resumed. */
export const scenario: Scenario = async (open) => {
  const history = await open()
  const chat = uiMessageStore(history).open('trip', { userId: 'ada' })
  expect(await chat.replaced()).toEqual([])
  await ask(chat, 'What is 1 + 2?', modelOf({ call: 'add', input: { a: 1, b: 2 } }, 'It is 3.'))
  await ask(chat, 'And then?', modelOf({ text: 'Then I ', error: new Error('overloaded') }))
  expect(said(await chat.load())).toEqual(['What is 1 + 2?', 'tool-add: = 3 | It is 3.', 'And then?', 'Then I '])

  // It asks whether it may pay, and the process ends.
  const pay = modelOf({ call: 'pay', input: { euros: 5 } }, 'Paid.')
  await ask(chat, 'Pay 5.', pay, { approves: true })
  const streams = createResumableStreamContext({ history, keyPrefix: 'streams' })
  const begun = await streams.resumableStream('one', () => endless(['a', 'b']))
  const reader = begun!.getReader()
  expect([await reader.read(), await reader.read()].map(({ value }) => value)).toEqual(['a', 'b'])
  const follower = (await streams.resumeExistingStream('one'))!.getReader()
  let followed = ''
  while (followed !== 'ab') followed += (await follower.read()).value
  await history.stop()
  await expect(follower.read()).rejects.toThrow('broken off')

  const later = await open()
  const store = uiMessageStore(later)
  const resumed = store.open('trip', { userId: 'ada' })
  const messages = await resumed.load()
  const last = messages.at(-1)!
  for (const part of last.parts)
    if (part.type === 'tool-pay' && part.state === 'approval-requested')
      Object.assign(part, { state: 'approval-responded', approval: { ...part.approval, approved: true } })
  const approved = await resumed.receive({ messages, messageId: last.id })
  await drained(await answer(resumed, approved, pay, { approves: true }))
  expect(said(await resumed.load()).slice(-2)).toEqual(['Pay 5.', 'tool-pay: = 5 euros paid | Paid.'])

  // Another answer to the first question; the old one, and what came after it, stay readable.
  const [question, first] = await resumed.load()
  const again = await resumed.receive({ trigger: 'regenerate-message', messageId: first!.id, messages: [question!] })
  await drained(await answer(resumed, again, modelOf('Three.')))
  expect(said(await resumed.load())).toEqual(['What is 1 + 2?', 'Three.'])
  const [replaced] = await resumed.replaced()
  expect(said(replaced!.messages).slice(0, 2)).toEqual(['tool-add: = 3 | It is 3.', 'And then?'])
  const fork = await store.history.fork(resumed, { at: replaced!.version })
  const other = store.open(fork.id, { userId: 'ada' })
  await ask(other, 'Thanks.', modelOf('Welcome.'))
  expect(said(await other.load()).slice(-3)).toEqual(['tool-pay: = 5 euros paid | Paid.', 'Thanks.', 'Welcome.'])

  // Two tabs at once.
  await Promise.all(['x', 'y', 'z'].map((text) => resumed.save(user(text))))
  expect(
    said(await resumed.load())
      .slice(2)
      .toSorted()
  ).toEqual(['x', 'y', 'z'])

  const streamsNow = createResumableStreamContext({ history: later, keyPrefix: 'streams' })
  expect(await streamsNow.hasExistingStream('one')).toBe(true)
  const left = (await streamsNow.resumeExistingStream('one', 1))!.getReader()
  expect((await left.read()).value).toBe('b')
  await left.cancel()
  expect(await drained((await streamsNow.createNewResumableStream('two', () => endless(['c'], true)))!)).toEqual(['c'])
  await expect.poll(() => streamsNow.hasExistingStream('two')).toBe('DONE')
  expect(await streamsNow.resumeExistingStream('two')).toBeNull()
  expect(await streamsNow.resumeExistingStream('three')).toBeUndefined()
  await later.stop()
}

function endless(chunks: readonly string[], ends = false): ReadableStream<string> {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk)
      if (ends) controller.close()
    }
  })
}
