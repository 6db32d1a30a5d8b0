import {
  createAgentUIStream,
  createUIMessageStream,
  generateId,
  readUIMessageStream,
  ToolLoopAgent,
  toUIMessageStream,
  type InferUITools,
  type UIMessage
} from 'ai'
import { MockLanguageModelV4 } from 'ai/test'
import { describe, expect, expectTypeOf, it, vi } from 'vitest'
import { uiMessageStore, type UIChat } from '../../src/adapters/ai-sdk.ts'
import { createSessionHistory, type Session, type SessionHistoryService } from '../../src/index.ts'
import { eventsOf, fails, misuses } from '../service/kit.ts'
import { answer, ask, drained, manual, modelOf, settled, partsOf, said, streamOf, tools, user } from './ai-sdk-kit.ts'
import { scenario } from './ai-sdk-scenario.ts'
import { freshStore, STORES, type Open } from './kit.ts'

const replyOf = (text: string, id: string, more: object = {}): UIMessage => ({
  id,
  role: 'assistant',
  parts: [{ type: 'text', text, ...more }]
})

/** As `onEnd` and `onStepEnd` are told it. */
const ending = (messages: readonly UIMessage[], ...more: readonly UIMessage[]): never =>
  ({ messages: [...messages, ...more] }) as never

describe.each(STORES)('a chat of the AI SDK over %s', (kind) => {
  async function begin(): Promise<{ history: SessionHistoryService; chat: UIChat; open: Open }> {
    const open = freshStore(kind)
    const history = await open()
    return { history, open, chat: uiMessageStore(history).open('c') }
  }

  it('goes through the scenario', () => scenario(freshStore(kind)))

  it('grows step by step, each a commit, and is the same after a restart', async () => {
    const { history, open, chat } = await begin()
    await ask(chat, 'What is 1 + 2?', modelOf({ call: 'add', input: { a: 1, b: 2 } }, 'It is 3.'))
    const types = (await eventsOf(uiMessageStore(history).history, { userId: 'default', id: 'c' })).map((e) => e.type)
    // The end has nothing to add to the last step.
    expect(types).toEqual(['created', 'message-appended', 'message-appended', 'message-replaced'])
    const messages = await chat.load()
    expect(messages.map(({ role }) => role)).toEqual(['user', 'assistant'])
    expect(said(await chat.load({ at: 3 }))[1]).toBe('tool-add: = 3')
    await history.stop()

    const later = await open()
    const resumed = uiMessageStore(later).open('c')
    expect(await resumed.load()).toEqual(messages)
    const model = modelOf('You are welcome.')
    await ask(resumed, 'Thanks.', model)
    expect(model.doStreamCalls[0]!.prompt.map(({ role }) => role)).toEqual([
      'user',
      'assistant',
      'tool',
      'assistant',
      'user'
    ])
    expect(said(await resumed.load()).slice(2)).toEqual(['Thanks.', 'You are welcome.'])
    await later.stop()
  })

  it('stores steps beside the stream, in their order, and has all at the end', async () => {
    const { history, chat } = await begin()
    const states = ['a', 'ab', 'abc'].map((text) => [user('Hi', 'u'), replyOf(text, 'r')])
    await chat.save(user('Hi', 'u'))
    void chat.onStepEnd({ messages: states[0] } as never)
    void chat.onStepEnd({ messages: states[1] } as never)
    await chat.onEnd({ messages: states[2] } as never)
    await settled()
    expect(await chat.load()).toEqual(states[2])
    expect(await Promise.all([3, 4].map(async (at) => said(await chat.load({ at })).at(-1)))).toEqual(['a', 'ab'])
    await history.stop()
  })

  it('keeps the partial text of an answer that is aborted, and goes on', async () => {
    const { history, chat } = await begin()
    const controller = new AbortController()
    const model = new MockLanguageModelV4({
      doStream: async () => ({
        // It would go on for ever.
        stream: new ReadableStream({
          start(source) {
            for (const part of partsOf('Once upon a time').slice(0, -2)) source.enqueue(part)
          }
        })
      })
    })
    const messages = await chat.receive({ message: user('A story!') })
    for await (const chunk of await answer(chat, messages, model, { abortSignal: controller.signal }))
      if (chunk.type === 'text-delta' && chunk.delta === 'time') controller.abort()
    expect(said(await chat.load())).toEqual(['A story!', 'Once upon a time'])
    await ask(chat, 'Shorter!', modelOf('The end.'))
    expect(said(await chat.load())).toEqual(['A story!', 'Once upon a time', 'Shorter!', 'The end.'])
    await history.stop()
  })

  it('keeps what a client had when it went away', async () => {
    const { history, chat } = await begin()
    const stream = await answer(chat, await chat.receive({ message: user('Hi') }), modelOf('Hello there'))
    const reader = stream.getReader()
    for (;;) {
      const { value } = await reader.read()
      if (value?.type === 'text-delta') break
    }
    await reader.cancel()
    const [, kept] = said(await chat.load())
    expect('Hello there'.startsWith(kept!) && kept !== '').toBe(true)
    await history.stop()
  })

  it('has no answer of a run that failed before it had begun, and can answer that anew', async () => {
    const { history, chat } = await begin()
    const broken = new MockLanguageModelV4({ doStream: async () => Promise.reject(new Error('no such model')) })
    const chunks = await drained(await answer(chat, await chat.receive({ message: user('Hi') }), broken))
    expect(chunks.some(({ type }) => type === 'error')).toBe(true)
    const { messageId } = chunks.find((chunk) => chunk.type === 'start') as { messageId: string }
    expect(said(await chat.load())).toEqual(['Hi'])
    const again = await chat.receive({ trigger: 'regenerate-message', messageId })
    await drained(await answer(chat, again, modelOf('Hello.')))
    expect(said(await chat.load())).toEqual(['Hi', 'Hello.'])
    await history.stop()
  })

  it('waits for an approval, which the client adds to the same message', async () => {
    const { history, chat } = await begin()
    const model = modelOf({ call: 'pay', input: { euros: 5 } }, 'Paid.')
    await ask(chat, 'Pay 5.', model, { approves: true })
    const asked = await chat.load()
    expect(said(asked)[1]).toBe('tool-pay: approval-requested')
    // The client has written on meanwhile: the message is not the last of its list any more.
    const decided = approved(asked, true)
    await chat.receive({ messages: [...decided, user('Well?', 'later')], messageId: asked[1]!.id })
    expect(said(await chat.load())).toEqual(['Pay 5.', 'tool-pay: approval-responded', 'Well?'])
    // Of a single message, too: here with the decision that it may not.
    await chat.receive({ message: approved(asked, false)[1]!, messageId: asked[1]!.id })
    expect((await chat.load())[1]).toMatchObject({ parts: [{}, { approval: { approved: false } }] })
    await history.stop()
  })

  it('runs a tool that was approved, and does not run it again for a tab that is behind', async () => {
    const { history, chat } = await begin()
    const model = modelOf({ call: 'pay', input: { euros: 5 } }, 'Paid.')
    await ask(chat, 'Pay 5.', model, { approves: true })
    const asked = await chat.load()
    const messageId = asked[1]!.id
    const first = await chat.receive({ messages: approved(asked, true), messageId })
    await drained(await answer(chat, first, model, { approves: true }))
    expect(said(await chat.load())[1]).toBe('tool-pay: = 5 euros paid | Paid.')
    const { version } = (await chat.save([]))!

    const second = await chat.receive({ messages: approved(asked, true), messageId })
    expect(said(second)[1]).toBe('tool-pay: = 5 euros paid | Paid.')
    expect((await chat.save(asked))!.version).toBe(version)
    await history.stop()
  })

  it('keeps an answer that was answered anew, and what an edit has taken away', async () => {
    const { history, chat } = await begin()
    await ask(chat, 'A colour?', modelOf('Red.'))
    await ask(chat, 'Another?', modelOf('Green.'))
    const [first, red, second] = await chat.load()
    const messages = await chat.receive({ trigger: 'regenerate-message', messageId: red!.id, messages: [first!] })
    expect(said(messages)).toEqual(['A colour?'])
    await drained(await answer(chat, messages, modelOf('Blue.')))
    const edit = { ...first!, parts: [{ type: 'text' as const, text: 'A fruit?' }] }
    await drained(await answer(chat, await chat.receive({ message: edit, messageId: edit.id }), modelOf('An apple.')))
    expect(said(await chat.load())).toEqual(['A fruit?', 'An apple.'])

    const replaced = await chat.replaced()
    expect(replaced.map((each) => said(each.messages))).toEqual([['Red.', 'Another?', 'Green.'], ['Blue.']])
    expect(said(await chat.load({ at: replaced[1]!.version }))).toEqual(['A colour?', 'Blue.'])
    const { history: typed } = uiMessageStore(history)
    const fork = await typed.fork(chat, { at: replaced[0]!.version })
    expect(said([...fork.messages])).toEqual(['A colour?', 'Red.', 'Another?', 'Green.'])
    expect(await uiMessageStore(history).open(fork.id).replaced()).toEqual([])
    const now = await typed.fork(chat)
    expect(await uiMessageStore(history).open(now.id).replaced()).toEqual(replaced)

    // A tab that still has all of it says something: only that is new.
    await chat.save([first!, red!, second!, user('Hm.')])
    expect(said(await chat.load())).toEqual(['A fruit?', 'An apple.', 'Hm.'])
    // And what it wants answered anew is gone.
    await fails(() => chat.receive({ trigger: 'regenerate-message', messageId: red!.id }), 'VERSION_CONFLICT')
    await fails(() => chat.receive({ message: second!, messageId: second!.id }), 'VERSION_CONFLICT')
    // By default the last answer; of a user's message what came after.
    await ask(chat, 'And?', modelOf('Nothing.'))
    expect(said(await chat.receive({ trigger: 'regenerate-message' })).at(-1)).toBe('And?')
    expect(said(await chat.receive({ trigger: 'regenerate-message' })).at(-1)).toBe('And?')
    expect(said(await chat.receive({ trigger: 'regenerate-message', messageId: edit.id }))).toEqual(['A fruit?'])
    expect(said(await chat.receive({ trigger: 'resume-stream' }))).toEqual(['A fruit?'])
    await typed.rewind(chat, replaced[0]!.version)
    expect(said(await chat.load())).toEqual(['A colour?', 'Red.', 'Another?', 'Green.'])
    await history.stop()
  })

  it('has what all tabs have said, and what all runs have answered', async () => {
    const { history, chat } = await begin()
    await ask(chat, 'Hi', modelOf('Hello.'))
    const before = await chat.load()
    await Promise.all(
      Array.from({ length: 6 }, async (_, i) => {
        const tab = uiMessageStore(history).open('c')
        const messages = await tab.receive({ messages: [...before, user(`question ${i}`)] })
        await drained(await answer(tab, messages, modelOf({ call: 'add', input: { a: i, b: 0 } }, `answer ${i}`)))
      })
    )
    const all = said(await chat.load())
    expect(all.slice(0, 2)).toEqual(['Hi', 'Hello.'])
    expect(all).toHaveLength(14)
    for (let i = 0; i < 6; i++) {
      const at = all.indexOf(`question ${i}`)
      expect(all.indexOf(`tool-add: = ${i} | answer ${i}`)).toBeGreaterThan(at)
      expect(at).toBeGreaterThan(1)
    }
    await history.stop()
  })

  it('names a conflict to a caller who expects a version', async () => {
    const { history, chat } = await begin()
    const { version } = (await chat.save(user('one'), { expectedVersion: 'none' }))!
    expect(version).toBe(2)
    await fails(() => chat.save(user('two'), { expectedVersion: 'none' }), 'VERSION_CONFLICT', { actual: 2 })
    await chat.save(user('two'))
    await fails(() => chat.save(user('three'), { expectedVersion: version }), 'VERSION_CONFLICT', {
      expected: 2,
      actual: 3
    })
    await fails(() => chat.save([], { expectedVersion: version }), 'VERSION_CONFLICT')
    await fails(
      () => uiMessageStore(history).open('none').save(user('x'), { expectedVersion: 'exists' }),
      'VERSION_CONFLICT'
    )
    await fails(() => uiMessageStore(history).open('none').save(user('x'), { expectedVersion: 3 }), 'VERSION_CONFLICT')
    expect((await chat.save(user('three'), { expectedVersion: 3 }))!.version).toBe(4)
    expect((await uiMessageStore(history).open('new').save(user('x'), { expectedVersion: 0 }))!.version).toBe(2)
    await history.stop()
  })

  it('is of one run alone in a turn', async () => {
    const { history, chat } = await begin()
    await chat.save(user('Hi'))
    const store = uiMessageStore(history)
    const turn = await store.history.beginTurn(chat)
    await fails(() => chat.save(user('me, too')), 'TURN_BUSY')
    const own = store.open('c', { turn })
    await drained(await answer(own, await own.load(), modelOf('Hello.')))
    await turn.abort()
    expect(said(await chat.load())).toEqual(['Hi'])
    await history.stop()
  })

  it('refuses what it cannot keep, before anything is stored', async () => {
    const { history, chat } = await begin()
    const at = (path: (string | number)[]) => ({ path })
    const part = { type: 'data-x' as const, data: { when: new Date(0) } }
    await fails(
      () => chat.save([user('a'), { ...user('b'), parts: [part] }]),
      'INVALID_MESSAGE',
      at([1, 'parts', 0, 'data', 'when'])
    )
    await fails(() => chat.save({ ...user('a'), id: '' }), 'INVALID_MESSAGE', at([0, 'id']))
    await fails(() => chat.save({ ...user('a'), role: 'tool' } as never), 'INVALID_MESSAGE', at([0, 'role']))
    await fails(() => chat.save({ id: 'x', role: 'user', content: 'a' } as never), 'INVALID_MESSAGE', at([0, 'parts']))
    await fails(() => chat.save({ ...user('a'), parts: [null] } as never), 'INVALID_MESSAGE', at([0, 'parts', 0]))
    await fails(() => chat.save(null as never), 'INVALID_MESSAGE', at([0]))
    await misuses(() => chat.receive({ trigger: 'again' } as never), 'trigger')
    for (const none of [null, {}, [], { mesage: {} }]) await misuses(() => chat.receive(none as never), 'request')
    // An answer without an id would be that of each other one.
    const stream = toUIMessageStream({ stream: streamOf<never>([]), originalMessages: [user('a')], onEnd: chat.onEnd })
    await drained(stream)
    expect(await uiMessageStore(history).history.listSessions('default')).toEqual([])
    await chat.save(user('a', 'a'))
    await fails(
      async () => chat.onEnd({ messages: [user('a'), replyOf('b', '')] } as never),
      'INVALID_MESSAGE',
      at([1, 'id'])
    )
    expect(await uiMessageStore(history).history.listSessions('default')).toHaveLength(1)
    expect(said(await chat.load())).toEqual(['a'])
    await history.createSession('default', 'of another')
    const other = uiMessageStore(history).open('of another')
    for (const call of [() => other.load(), () => other.save(user('a')), () => other.receive({ message: user('b') })])
      await fails(call, 'FORMAT_MISMATCH', { expected: 'ai-sdk', actual: 'message' })
    await history.stop()
  })

  it('follows an answer while it grows, at most so often', async () => {
    const { history, chat } = await begin()
    const clock = manual()
    const typed = uiMessageStore(history, { clock, everyMs: 500 })
    const followed = typed.open('c')
    await chat.save(user('Count!'))
    const states = channel<UIMessage>()
    const following = followed.follow(states)
    const now = async (): Promise<string | undefined> => said(await chat.load())[1]
    states.give({ id: 'a', role: 'assistant', parts: [] })
    states.give(replyOf('1', 'a', { state: 'streaming' }))
    await states.taken()
    expect(await now()).toBeUndefined()
    clock.go(499)
    expect(await now()).toBeUndefined()
    states.give(replyOf('1 2', 'a', { state: 'streaming' }))
    await states.taken()
    clock.go(1)
    await expect.poll(now).toBe('1 2')
    states.give(replyOf('1 2 3', 'a', { state: 'streaming' }))
    await states.taken()
    expect(await now()).toBe('1 2')
    clock.go(500)
    await expect.poll(now).toBe('1 2 3')
    states.give(replyOf('1 2 3 4', 'a', { state: 'done' }))
    states.end()
    await following
    expect(await now()).toBe('1 2 3 4')
    expect(clock.timers()).toBe(0)
    // A state that is behind changes nothing; nor does one of an answer that was taken away.
    await followed.follow(givenOnce(replyOf('1 2', 'a', { state: 'streaming' })))
    expect(await now()).toBe('1 2 3 4')
    await chat.receive({ trigger: 'regenerate-message', messageId: 'a' })
    await followed.follow(givenOnce(replyOf('1 2 3 4 5', 'a')))
    expect(await now()).toBeUndefined()
    await history.stop()
  })

  it('follows what the SDK reads of a stream, and has what there was of one that fails', async () => {
    const { history, chat } = await begin()
    const stream = await answer(chat, await chat.receive({ message: user('Hi') }), modelOf('Hello there.'))
    const [shown, stored] = stream.tee()
    await Promise.all([drained(shown), chat.follow(readUIMessageStream({ stream: stored }))])
    expect(said(await chat.load())).toEqual(['Hi', 'Hello there.'])
    const failing = (async function* () {
      yield replyOf('As far as', 'b')
      throw new Error('line is dead')
    })()
    await expect(chat.follow(failing)).rejects.toThrow('line is dead')
    expect(said(await chat.load()).at(-1)).toBe('As far as')
    await fails(() => chat.follow(givenOnce({ ...replyOf('x', 'y'), parts: 'none' } as never)), 'INVALID_MESSAGE')
    await history.stop()
  })

  it('goes with agents, and with streams that are written by hand', async () => {
    const { history } = await begin()
    const chat = uiMessageStore<UIMessage<unknown, { note: string }, InferUITools<typeof tools>>>(history).open('typed')
    const agent = new ToolLoopAgent({ model: modelOf({ call: 'add', input: { a: 1, b: 2 } }, 'It is 3.'), tools })
    await chat.save({ id: 'q', role: 'user', parts: [{ type: 'text', text: '1 + 2?' }] })
    const steps = vi.fn(chat.onStepEnd)
    await drained(
      await createAgentUIStream({
        agent,
        uiMessages: await chat.load(),
        generateMessageId: generateId,
        onUIMessageStepEnd: steps as never,
        onEnd: chat.onEnd as never
      })
    )
    expect(steps).toHaveBeenCalledTimes(2)
    const written = createUIMessageStream<UIMessage<unknown, { note: string }, InferUITools<typeof tools>>>({
      originalMessages: await chat.receive({
        message: { id: 'q2', role: 'user', parts: [{ type: 'text', text: 'Note?' }] }
      }),
      execute: ({ writer }) => writer.write({ type: 'data-note', id: 'n', data: 'noted' }),
      onEnd: chat.onEnd
    })
    await drained(written)
    expect(said(await chat.load())).toEqual(['1 + 2?', 'tool-add: = 3 | It is 3.', 'Note?', 'data-note'])
    await history.stop()
  })

  const tabsOf = (history: SessionHistoryService): [UIChat, UIChat] => {
    const store = uiMessageStore(history)
    return [store.open('c'), store.open('c')]
  }

  it('keeps an edit where the run before it comes to nothing', async () => {
    const { history } = await begin()
    const [tab, other] = tabsOf(history)
    const first = await tab.receive({ message: user('Trian?', 'u1') })
    await other.receive({ message: user('Train?', 'u1'), messageId: 'u1' })
    void tab.onStepEnd(ending(first, { id: 'a1', role: 'assistant', parts: [] }))
    await tab.onEnd(ending(first, { id: 'a1', role: 'assistant', parts: [] }))
    expect(said(await other.load())).toEqual(['Train?'])
    await history.stop()
  })

  it('has no answer to what was edited or answered anew meanwhile', async () => {
    const { history } = await begin()
    const requests: Record<string, (chat: UIChat) => Promise<UIMessage[]>> = {
      'edited': (chat) => chat.receive({ message: user('Bergen?', 'u1'), messageId: 'u1' }),
      'said again': (chat) => chat.receive({ message: user('Oslo?', 'u1'), messageId: 'u1' }),
      'answered anew': (chat) =>
        chat.receive({ trigger: 'regenerate-message', messageId: 'a1', messages: [user('Oslo?', 'u1')] }),
      'put by another': async (chat) => {
        await chat.save(user('Bergen?', 'u1'))
        return chat.load()
      }
    }
    for (const [what, request] of Object.entries(requests)) {
      const tab = uiMessageStore(history).open(what)
      const first = await tab.receive({ message: user('Oslo?', 'u1') })
      const other = uiMessageStore(history).open(what)
      const second = await request(other)
      await tab.onEnd(ending(first, replyOf('first', 'a1')))
      await other.onEnd(ending(second, replyOf('second', 'a2')))
      expect(said(await other.load()).slice(1), what).toEqual(['second'])
      // Of a run that follows, too, and of one whose answer was there before.
      await tab.follow(givenOnce(replyOf('first', 'a3')))
      await uiMessageStore(history).open(what).receive({ trigger: 'regenerate-message' })
      await other.onEnd(ending(second, replyOf('second, and more', 'a2')))
      expect(said(await other.load()).slice(1), what).toEqual([])
    }
    await history.stop()
  })

  it('does not come back by an answer where it was deleted, rewound or begun anew', async () => {
    const { history, chat } = await begin()
    const typed = uiMessageStore(history).history
    const { version } = (await chat.save([user('1', 'u1'), replyOf('one', 'a1')]))!
    const list = await chat.receive({ message: user('2', 'u2') })
    void chat.onStepEnd(ending(list, replyOf('two', 'a2')))
    await settled()
    expect(said(await typed.getSession('default', 'c').then((session) => [...session!.messages]))).toHaveLength(4)
    // Its question is still there, and the answer was taken back.
    await typed.undo(chat)
    await chat.onEnd(ending(list, replyOf('two', 'a2')))
    expect(said(await uiMessageStore(history).open('c').load())).toEqual(['1', 'one', '2'])
    await typed.rewind(chat, version)
    await chat.onEnd(ending(list, replyOf('two', 'a2b')))
    expect(said(await uiMessageStore(history).open('c').load())).toEqual(['1', 'one'])
    await typed.deleteSession('default', 'c')
    void chat.onStepEnd(ending(list, replyOf('two', 'a2')))
    await chat.onEnd(ending(list, replyOf('two', 'a2')))
    await chat.follow(givenOnce(replyOf('two', 'a2')))
    expect(await typed.listSessions('default')).toEqual([])
    await uiMessageStore(history).open('c').save(user('2', 'u2'))
    await chat.onEnd(ending(list, replyOf('two', 'a2')))
    expect(said(await uiMessageStore(history).open('c').load())).toEqual(['2'])
    await history.stop()
  })

  it('answers anew what a tab means that is behind, or says that it cannot', async () => {
    const { history, chat } = await begin()
    await chat.save([user('one?', 'u1'), replyOf('One.', 'a1')])
    const { version } = (await chat.save([user('two?', 'u2'), replyOf('Two.', 'a2')]))!
    const again = (...messages: UIMessage[]): Promise<UIMessage[]> =>
      chat.receive({ trigger: 'regenerate-message', messages })
    await fails(() => again(user('one?', 'u1')), 'VERSION_CONFLICT', { actual: version })
    await fails(() => again(user('one?', 'u1'), replyOf('One.', 'a1')), 'VERSION_CONFLICT')
    // An answer that was never stored, of a list that is behind.
    const unknown = chat.receive({ trigger: 'regenerate-message', messageId: 'x', messages: [user('one?', 'u1')] })
    await fails(() => unknown, 'VERSION_CONFLICT')
    expect((await chat.save([]))!.version).toBe(version)
    await chat.receive({ message: user('three?', 'u1'), messageId: 'u1' })
    await chat.save(replyOf('Three.', 'a3'))
    // What it says the user said is what it was before.
    expect(said(await again(user('one?', 'u1')))).toEqual(['three?'])
    await fails(() => again(user('one?', 'u1'), replyOf('One.', 'a1'), user('two?', 'u2')), 'VERSION_CONFLICT')
    // What never got here is said now, and answered.
    expect(said(await again(user('one?', 'u1'), user('four?', 'u4')))).toEqual(['three?', 'four?'])
    await history.stop()
  })

  it('waits for the turn of another with an answer', async () => {
    const { history, chat } = await begin()
    const list = await chat.receive({ message: user('Hi', 'u1') })
    const turn = await uiMessageStore(history).history.beginTurn(chat)
    void chat.onStepEnd(ending(list, replyOf('Hel', 'a1')))
    const ended = chat.onEnd(ending(list, replyOf('Hello.', 'a1')))
    const following = chat.follow(givenOnce(replyOf('Hello', 'a2')))
    await settled()
    await turn.append(user('first', 'u2'))
    await turn.end()
    await Promise.all([ended, following])
    expect(said(await chat.load()).toSorted()).toEqual(['Hello', 'Hello.', 'Hi', 'first'])
    await history.stop()
  })

  it('is not begun by who reads it, or by a turn of one that is gone', async () => {
    const { history, chat } = await begin()
    const store = uiMessageStore(history)
    expect(await chat.load()).toEqual([])
    expect(await chat.receive({ trigger: 'resume-stream' })).toEqual([])
    expect(await chat.receive({ trigger: 'regenerate-message' })).toEqual([])
    expect(await store.history.listSessions('default')).toEqual([])
    await chat.save(user('Hi', 'u1'))
    const own = store.open('c', { turn: await store.history.beginTurn(chat) })
    const list = await own.load()
    await store.history.deleteSession('default', 'c')
    await own.onEnd(ending(list, replyOf('Hello.', 'a1')))
    await fails(() => own.save(user('And?', 'u2')), 'TURN_FENCED')
    expect(await store.history.listSessions('default')).toEqual([])
    await history.stop()
  })

  it('has what was taken away of itself, and not of another', async () => {
    const { history, open, chat } = await begin()
    const { history: typed } = uiMessageStore(history)
    const replacedBy = async (id: string, service = history): Promise<string[][]> =>
      (await uiMessageStore(service).open(id).replaced()).map(({ messages }) => said(messages))
    await chat.save([user('1', 'u1'), replyOf('mine', 'a1')])
    const { version } = (await chat.save([]))!
    await chat.receive({ trigger: 'regenerate-message', messageId: 'a1' })
    await chat.save(replyOf('grown', 'a2'))
    await chat.save(replyOf('grown up', 'a2'))
    await typed.fork(chat, { sessionId: 'child' })
    const child = uiMessageStore(history).open('child')
    await child.receive({ trigger: 'regenerate-message' })
    await typed.fork(child, { sessionId: 'grandchild' })
    expect(await replacedBy('grandchild')).toEqual([['mine'], ['grown up']])
    // A list of the fork that still has what its parent had, and what itself had.
    const stale = [user('1', 'u1'), replyOf('mine', 'a1'), replyOf('grown up', 'a2'), user('new', 'u9')]
    await uiMessageStore(history).open('grandchild').save(stale)
    expect(said(await uiMessageStore(history).open('grandchild').load())).toEqual(['1', 'new'])

    const lines: string[] = []
    for await (const line of typed.exportSession('default', 'c')) lines.push(line)
    await history.importSession(lines, { userId: 'default', sessionId: 'copy' })
    expect(await replacedBy('copy')).toEqual([['mine']])
    // What the application cuts off, or goes back before, is no new answer.
    await typed.commit({ userId: 'default', id: 'copy' }, [{ type: 'truncate', length: 1 }])
    expect(await replacedBy('copy')).toEqual([['mine']])
    const { version: now } = (await typed.getSession('default', 'copy'))!
    await typed.rewind({ userId: 'default', id: 'copy' }, version)
    expect(await replacedBy('copy')).toEqual([])
    await typed.rewind({ userId: 'default', id: 'copy' }, now)
    expect(await replacedBy('copy')).toEqual([['mine']])
    await typed.createSession('default', 'copy')
    expect(await replacedBy('copy')).toEqual([])

    await typed.purgeSession('default', 'c')
    await chat.save([user('other', 'u1'), replyOf('of another chat', 'a1'), user('x', 'u3')])
    await chat.receive({ message: user('other', 'u1'), messageId: 'u1' })
    expect(await replacedBy('child')).toEqual([['grown up']])
    await history.stop()

    const later = await open()
    await uiMessageStore(later)
      .open('child')
      .save([user('1', 'u1'), replyOf('grown up', 'a2'), user('new', 'u9')])
    expect(said(await uiMessageStore(later).open('child').load())).toEqual(['1', 'new'])
    await later.stop()
  })

  it('grows by as much with each answer that is made anew, and reads its log only where it must', async () => {
    const { history, chat } = await begin()
    await chat.save([user('1', 'u1'), replyOf('one', 'a0')])
    let reads = 0
    const counting = new Proxy(history, {
      get: (target, key) => {
        if (key !== 'withMessage') return Reflect.get(target, key) as unknown
        return (...args: Parameters<SessionHistoryService['withMessage']>) => {
          const typed = target.withMessage(...args)
          const readEvents = typed.readEvents.bind(typed)
          return Object.assign(typed, {
            readEvents: (...more: Parameters<typeof readEvents>) => (reads++, readEvents(...more))
          })
        }
      }
    })
    const store = uiMessageStore(counting)
    const sizes: number[] = []
    for (let i = 0; i < 10; i++) {
      const tab = store.open('c')
      const list = await tab.receive({ trigger: 'regenerate-message', messageId: `a${i}` })
      await tab.onEnd(ending(list, replyOf('again', `a${i + 1}`)))
      let size = 0
      for await (const line of history.exportSession('default', 'c')) size += line.length
      sizes.push(size)
    }
    expect(Math.abs(sizes[9]! - sizes[8]! - (sizes[2]! - sizes[1]!))).toBeLessThan(100)
    const before = reads
    for (let i = 0; i < 5; i++) {
      const tab = store.open('c')
      const list = await tab.receive({ message: user('next', `v${i}`) })
      await tab.onEnd(ending(list, replyOf('answer', `b${i}`)))
      await store.history.updateMetadata(tab, { set: { title: `${i}` } })
    }
    expect(reads - before).toBeLessThanOrEqual(1)
    await history.stop()
  })

  it('tells why what it followed has ended, also where the store fails, too', async () => {
    const { history, chat } = await begin()
    await chat.save(user('Hi', 'u1'))
    const failing = (async function* () {
      yield replyOf('x', 'a')
      await history.stop()
      throw new Error('the real reason')
    })()
    await expect(chat.follow(failing)).rejects.toThrow('the real reason')
  })
})

it.each<[string, stored: object[], given: object[], isStored: boolean]>([
  ['the same', [{ type: 'text', text: 'ab' }], [{ type: 'text', text: 'ab' }], false],
  ['less of a text that streams', [textOf('ab', 'done')], [textOf('a', 'streaming')], false],
  ['as much of it', [textOf('ab', 'done')], [textOf('ab', 'streaming')], false],
  ['more of it', [textOf('a', 'streaming')], [textOf('ab', 'streaming')], true],
  ['another text', [textOf('ab', 'done')], [textOf('b', 'streaming')], true],
  ['less of a text that is done', [textOf('ab', 'done')], [textOf('a', 'done')], true],
  ['fewer parts', [textOf('a', 'done'), textOf('b', 'done')], [textOf('a', 'done')], false],
  ['fewer, and another', [textOf('a', 'done'), textOf('b', 'done')], [textOf('c', 'done')], true],
  ['more parts', [textOf('a', 'done')], [textOf('a', 'done'), textOf('b', 'streaming')], true],
  ['a tool before its output', [toolOf('output-available', { output: 3 })], [toolOf('input-available')], false],
  ['a tool before its error', [toolOf('output-error', { errorText: 'x' })], [toolOf('approval-responded')], false],
  ['a tool with its output', [toolOf('input-available')], [toolOf('output-available', { output: 3 })], true],
  ['another output', [toolOf('output-available', { output: 3 })], [toolOf('output-available', { output: 4 })], true],
  [
    'an output that is preliminary',
    [toolOf('output-available', { output: 3 })],
    [toolOf('output-available', { output: 1, preliminary: true })],
    false
  ],
  [
    'a tool of another call',
    [toolOf('output-available', { output: 3 })],
    [{ ...toolOf('input-available'), toolCallId: 'd' }],
    true
  ],
  [
    'less of an input that streams',
    [toolOf('input-streaming', { rawInput: '{"a"' })],
    [toolOf('input-streaming', { rawInput: '{' })],
    false
  ],
  [
    'more of an input that streams',
    [toolOf('input-streaming', { rawInput: '{' })],
    [toolOf('input-streaming', { rawInput: '{"a"' })],
    true
  ],
  ['other data', [{ type: 'data-x', data: 1 }], [{ type: 'data-x', data: 0 }], true]
])('of an answer that is there, %s is or is not stored', async (_, stored, given, isStored) => {
  const history = await createSessionHistory()
  const chat = uiMessageStore(history).open('c')
  const [before, after] = [stored, given].map((parts) => ({ id: 'a', role: 'assistant', parts }) as UIMessage)
  await chat.save(before!)
  await chat.save(after!)
  expect(await chat.load()).toEqual([isStored ? after : before])
  // Inside a list only what has grown counts; an edit of an answer does not.
  await chat.save([before!, user('b')])
  expect(await chat.load()).toMatchObject([isStored ? after! : before!, {}])
  // What a run has come to is taken in any case.
  await chat.onEnd({ messages: [after!] } as never)
  expect((await chat.load())[0]).toEqual(after)
  await history.stop()
})

it('an answer to a chat that was begun anew since is not of that', async () => {
  const clock = manual()
  const history = await createSessionHistory({ clock })
  const [tab, other] = [1, 2].map(() => uiMessageStore(history).open('c'))
  const list = await tab!.receive({ message: user('Hi', 'u1') })
  await history.deleteSession('default', 'c')
  clock.go(1)
  await other!.save(user('Hi', 'u1'))
  await tab!.onEnd(ending(list, replyOf('Hello.', 'a1')))
  expect(said(await other!.load())).toEqual(['Hi'])
  await history.stop()
})

function textOf(words: string, state: string): object {
  return { type: 'text', text: words, state }
}

function toolOf(state: string, more: object = {}): object {
  return { type: 'tool-add', toolCallId: 'c', state, input: {}, ...more }
}

it('options that there are not are misuse', async () => {
  const history = await createSessionHistory()
  await misuses(async () => uiMessageStore(undefined as never), 'history')
  await misuses(async () => uiMessageStore(history, { user: 'ada' } as never), 'user')
  await misuses(async () => uiMessageStore(history, { everyMs: 0 }), 'everyMs')
  await misuses(async () => uiMessageStore(history).open(' '), 'chatId')
  const store = uiMessageStore(history)
  await store.open('one').save({ id: 'u', role: 'user', parts: [] })
  const turn = await store.history.beginTurn({ userId: 'default', id: 'one' })
  for (const [id, userId] of [
    ['other', 'default'],
    ['one', 'ada']
  ] as const)
    await misuses(async () => store.open(id, { userId, turn }), 'turn')
  await misuses(async () => store.open('one', { turn: {} as never }), 'turn')
  await misuses(async () => uiMessageStore(history).open('c', { at: 1 } as never), 'at')
  await history.stop()
})

it('types are those of the messages', async () => {
  type Mine = UIMessage<{ model: string }, { note: { text: string } }, InferUITools<typeof tools>>
  const history = await createSessionHistory()
  const store = uiMessageStore<Mine>(history)
  expectTypeOf(store.history.getSession).returns.toEqualTypeOf<Promise<Session<Mine> | null>>()
  const chat = store.open('c')
  expectTypeOf(chat.load).returns.toEqualTypeOf<Promise<Mine[]>>()
  expectTypeOf(chat.receive).returns.toEqualTypeOf<Promise<Mine[]>>()
  expectTypeOf(chat.save).parameter(0).toEqualTypeOf<Mine | readonly Mine[]>()
  expectTypeOf(uiMessageStore(history).open('c').load).returns.toEqualTypeOf<Promise<UIMessage[]>>()
  createUIMessageStream<Mine>({ execute: () => undefined, onStepEnd: chat.onStepEnd, onEnd: chat.onEnd })
  // @ts-expect-error: of other data
  void (() => chat.save({ id: 'a', role: 'user', parts: [{ type: 'data-note', data: 1 }] }))
  await history.stop()
})

function approved(messages: readonly UIMessage[], isApproved: boolean): UIMessage[] {
  return messages.map((message) => ({
    ...message,
    parts: message.parts.map((part) =>
      part.type === 'tool-pay' && part.state === 'approval-requested'
        ? ({ ...part, state: 'approval-responded', approval: { ...part.approval, approved: isApproved } } as never)
        : part
    )
  }))
}

/** What is given one by one, to be awaited by its reader. */
function channel<T>(): AsyncIterable<T> & { give(value: T): void; end(): void; taken(): Promise<void> } {
  const given: T[] = []
  let hasEnded = false
  let wake: () => void = () => undefined
  let waits = false
  return {
    give(value) {
      given.push(value)
      wake()
    },
    end() {
      hasEnded = true
      wake()
    },
    // Until its reader has all, and waits for more.
    taken: () => expect.poll(() => given.length === 0 && waits).toBe(true),
    async *[Symbol.asyncIterator]() {
      for (;;) {
        while (given.length > 0) yield given.shift()!
        if (hasEnded) return
        waits = true
        await new Promise<void>((resolve) => (wake = resolve))
        waits = false
      }
    }
  }
}

async function* givenOnce<T>(...values: readonly T[]): AsyncIterable<T> {
  yield* values
}
