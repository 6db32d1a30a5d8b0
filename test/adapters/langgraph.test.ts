import {
  AIMessage,
  AIMessageChunk,
  ChatMessage,
  HumanMessage,
  RemoveMessage,
  SystemMessage,
  ToolMessage,
  type BaseMessage
} from '@langchain/core/messages'
import { RunnableLambda, RunnableWithMessageHistory } from '@langchain/core/runnables'
import { FakeListChatModel } from '@langchain/core/utils/testing'
import {
  Annotation,
  DeltaChannel,
  END,
  MemorySaver,
  messagesDeltaReducer,
  MessagesAnnotation,
  Send,
  START,
  StateGraph
} from '@langchain/langgraph'
import {
  emptyCheckpoint,
  JsonPlusSerializer,
  uuid6,
  type Checkpoint,
  type CheckpointMetadata
} from '@langchain/langgraph-checkpoint'
import { describe, expect, it } from 'vitest'
import {
  fromMessages,
  toMessages,
  TurnlogChatMessageHistory,
  TurnlogSaver,
  type ThreadItem
} from '../../src/adapters/langgraph.ts'
import { createSessionHistory, memoryStore, messageSchema, type SessionHistoryService } from '../../src/index.ts'
import { fails, misuses } from '../service/kit.ts'
import { freshStore, STORES } from './kit.ts'
import { scenario, Scripted, sum, textsOf } from './langgraph-scenario.ts'

const config = { configurable: { thread_id: 'trip' } }
const TRIP = { userId: 'ada', id: 'trip' }
const metadata: CheckpointMetadata = { source: 'loop', step: 0, parents: {} }
const ask = (text: string) => ({ messages: [new HumanMessage(text)] })

const begin = async () => {
  const history = await createSessionHistory()
  return { history, saver: new TurnlogSaver({ history, userId: 'ada' }) }
}

/** A graph whose only step is a model that answers from a list. */
const chat = (checkpointer: TurnlogSaver, ...responses: string[]) => {
  const model = new FakeListChatModel({ responses })
  return new StateGraph(MessagesAnnotation)
    .addNode('model', async ({ messages }) => ({ messages: [await model.invoke(messages)] }))
    .addEdge(START, 'model')
    .addEdge('model', END)
    .compile({ checkpointer })
}

const messagesOf = async (saver: TurnlogSaver, place: object = config): Promise<string[]> =>
  textsOf(((await saver.getTuple(place))?.checkpoint.channel_values['messages'] ?? []) as BaseMessage[])

/** Puts a checkpoint of channels that have all changed. */
const put = (saver: TurnlogSaver, values: Record<string, unknown>, place: object = config) => {
  const versions = Object.fromEntries(Object.keys(values).map((channel) => [channel, saver.getNextVersion(undefined)]))
  const checkpoint: Checkpoint = {
    ...emptyCheckpoint(),
    id: uuid6(0),
    channel_values: values,
    channel_versions: versions
  }
  return saver.put(place, checkpoint, metadata, versions)
}

/** Two checkpointers over one store, as in two processes; what `meddle.first` does comes before the first thing that the first of them stores next. */
const beginTwo = async () => {
  const store = memoryStore()
  const meddle: { first: (() => Promise<unknown>) | undefined } = { first: undefined }
  const meddled = Object.assign(Object.create(store) as typeof store, {
    append: async (...given: Parameters<typeof store.append>) => {
      const { first } = meddle
      meddle.first = undefined
      await first?.()
      return store.append(...given)
    }
  })
  const open = async (over: typeof store) =>
    new TurnlogSaver({ history: await createSessionHistory({ store: over }), userId: 'ada' })
  return { saver: await open(meddled), other: await open(store), meddle }
}

/** What a promise that nobody listens to is rejected with while `act` runs. */
const unheard = async (act: () => Promise<unknown>): Promise<unknown[]> => {
  const reasons: unknown[] = []
  const note = (reason: unknown) => void reasons.push(reason)
  const others = process.listeners('unhandledRejection')
  process.removeAllListeners('unhandledRejection').on('unhandledRejection', note)
  try {
    await act()
    await soon()
  } finally {
    process.removeAllListeners('unhandledRejection')
    for (const other of others) process.on('unhandledRejection', other)
  }
  return reasons
}

/** After all that has only to be gone on with. */
const soon = () => new Promise((resolve) => setImmediate(resolve))

const itemsOf = async (history: SessionHistoryService): Promise<readonly ThreadItem[]> =>
  (await new TurnlogSaver({ history, userId: 'ada' }).history.getSession('ada', 'trip'))!.messages

describe.each(STORES)('a checkpointer over %s', (kind) => {
  it('goes through what it does in every store', () => scenario(freshStore(kind)))

  it('has two branches of a thread each read back its own messages, and after a restart', async () => {
    const open = freshStore(kind)
    const history = await open()
    const saver = new TurnlogSaver({ history, userId: 'ada' })
    await chat(saver, 'Hello.').invoke(ask('Hi'), config)
    const { config: fork } = (await saver.getTuple(config))!
    const ends = []
    for (const name of ['left', 'right', 'left again']) {
      await chat(saver, `${name} 1`).invoke(ask(`go ${name}`), fork)
      ends.push({ name, end: (await saver.getTuple(config))!.config })
    }
    // Each goes on, by turns.
    for (const place of ends) {
      await chat(saver, `${place.name} 2`).invoke(ask('on'), place.end)
      place.end = (await saver.getTuple(config))!.config
    }
    await history.stop()
    const later = await open()
    const restarted = new TurnlogSaver({ history: later, userId: 'ada' })
    for (const { name, end } of ends)
      expect(await messagesOf(restarted, end)).toEqual(['Hi', 'Hello.', `go ${name}`, `${name} 1`, 'on', `${name} 2`])
    await later.stop()
  })
})

describe('a checkpointer', () => {
  it('keeps branches apart whose versions are numbers, too', async () => {
    const { saver } = await begin()
    const numbered = (values: Record<string, unknown>, version: number): Checkpoint => ({
      ...emptyCheckpoint(),
      id: uuid6(0),
      channel_values: values,
      channel_versions: { messages: version, other: 1 }
    })
    const root = await saver.put(config, numbered({ messages: ['root'], other: 0 }, 1), metadata, {
      messages: 1,
      other: 1
    })
    const ends = []
    for (const name of ['left', 'right']) {
      const next = await saver.put(root, numbered({ messages: ['root', name] }, 2), metadata, { messages: 2 })
      ends.push({ name, end: await saver.put(next, numbered({}, 2), metadata, {}) })
    }
    for (const { name, end } of ends)
      expect((await saver.get(end))?.channel_values).toEqual({ messages: ['root', name], other: 0 })
  })

  it('gives versions that sort, are unlike those of other branches, and go on from those of other savers', async () => {
    const { saver } = await begin()
    const versions: string[] = []
    for (let i = 0, current: string | undefined; i < 200; i++) {
      current = String(saver.getNextVersion(current))
      versions.push(current)
    }
    expect(versions.toSorted()).toEqual(versions)
    expect(versions.toSorted((a, b) => a.localeCompare(b))).toEqual(versions)
    expect(saver.getNextVersion(versions[0])).not.toBe(saver.getNextVersion(versions[0]))
    expect(saver.getNextVersion(7)).toBe(8)
    const foreign = '00000000000000000000000000000009.0.4711'
    expect(saver.getNextVersion(foreign) > (foreign as never)).toBe(true)
  })

  it('copies a checkpoint with its values', async () => {
    const { saver } = await begin()
    const graph = chat(saver, 'Hello.', 'At 22:47.')
    await graph.invoke(ask('Hi'), config)
    await graph.invoke(ask('When?'), config)
    const { config: end } = (await saver.getTuple(config))!
    const copy = await graph.updateState(end, null, '__copy__')
    expect(await messagesOf(saver, copy)).toEqual(['Hi', 'Hello.', 'When?', 'At 22:47.'])
  })

  it('stores of a list that grows, or is changed, what changed', async () => {
    const { history, saver } = await begin()
    const text = 'x'.repeat(100)
    const messages = Array.from(
      { length: 10_000 },
      (_, i) => new HumanMessage({ id: `m${i}`, content: `${i} ${text}` })
    )
    let place = await put(saver, { messages, unchanged: text.repeat(1000) })
    const sizes: number[] = []
    const states: BaseMessage[][] = [messages]
    const change = async (values: BaseMessage[]) => {
      states.push(values)
      const { checkpoint } = (await saver.getTuple(place))!
      const versions = { messages: saver.getNextVersion(checkpoint.channel_versions['messages']) }
      const channel_versions = { ...checkpoint.channel_versions, ...versions }
      const next = { ...checkpoint, id: uuid6(0), channel_values: { ...checkpoint.channel_values, messages: values } }
      place = await saver.put(place, { ...next, channel_versions }, metadata, versions)
      sizes.push(JSON.stringify((await itemsOf(history)).at(-1)).length)
    }
    const grown = [...messages, new AIMessage({ id: 'new', content: 'grown' })]
    await change(grown)
    await change(grown.with(5000, new AIMessage({ id: 'm5000', content: 'edited' })))
    await change(grown.slice(9000))
    await change([])
    expect(Math.max(...sizes)).toBeLessThan(1500)
    const read: BaseMessage[][] = []
    for await (const { checkpoint } of saver.list(config)) {
      expect(checkpoint.channel_values['unchanged']).toBe(text.repeat(1000))
      read.push(checkpoint.channel_values['messages'] as BaseMessage[])
    }
    expect(read.map((list) => list.map(({ id, content }) => [id, content]))).toEqual(
      states.toReversed().map((list) => list.map(({ id, content }) => [id, content]))
    )
  })

  it('stores what is sent to a task without the state that it has with it', async () => {
    const { history, saver } = await begin()
    const State = Annotation.Root({
      ...MessagesAnnotation.spec,
      seen: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] })
    })
    const graph = new StateGraph(State)
      .addNode('look', (state: typeof State.State & { at: number }) => ({
        seen: [`${state.at} of ${state.messages.length}`]
      }))
      .addConditionalEdges(START, ({ messages }) => [1, 2].map((at) => new Send('look', { messages, at })))
      .compile({ checkpointer: saver })
    const messages = Array.from({ length: 500 }, (_, i) => new HumanMessage(`message ${i} ${'x'.repeat(100)}`))
    await graph.invoke({ messages }, config)
    const before = (await itemsOf(history)).length
    const { seen } = await graph.invoke({}, config)
    expect(seen).toEqual(['1 of 500', '2 of 500', '1 of 500', '2 of 500'])
    const added = (await itemsOf(history)).slice(before)
    expect(JSON.stringify(added)).toContain('"node":"look"')
    expect(JSON.stringify(added).length).toBeLessThan(10_000)
    for await (const { pendingWrites = [] } of saver.list(config, { limit: added.length })) {
      for (const [, channel, value] of pendingWrites as [string, string, { args: { messages: unknown[] } }][])
        if (channel === '__pregel_tasks') expect(value.args.messages).toHaveLength(500)
    }
  })

  it('stores a message as it is when it is put, also where it was changed in place', async () => {
    const { saver } = await begin()
    const messages = [
      new HumanMessage('one'),
      new AIMessage({ content: [{ type: 'text', text: 'two' }], tool_calls: sum(1, 2) })
    ]
    const first = await put(saver, { messages, list: [{ deep: { er: 1 } }, 2] })
    const loaded = (await saver.get(first))!.channel_values as {
      messages: AIMessage[]
      list: { deep: { er: number } }[]
    }
    loaded.messages[0]!.content = 'ONE'
    loaded.messages[1]!.tool_calls![0]!.args['a'] = 7
    loaded.list[0]!.deep.er = 8
    const putting = put(saver, loaded, first)
    // What is changed while it is being put has no effect.
    loaded.messages[0]!.content = 'too late'
    loaded.messages.push(new AIMessage('too late'))
    const second = await putting
    const read = (await saver.get(second))!.channel_values as typeof loaded
    expect(textsOf(read.messages)).toEqual(['ONE', 'add({"a":7,"b":2})'])
    expect(read.list).toEqual([{ deep: { er: 8 } }, 2])
    const before = (await saver.get(first))!.channel_values as typeof loaded
    expect(before.messages).toEqual((await new MemorySaverTwin(messages).read()) as AIMessage[])
    expect(before.list).toEqual([{ deep: { er: 1 } }, 2])
  })

  it("gives back what LangGraph's serializer gives back", async () => {
    const { saver } = await begin()
    const serde = new JsonPlusSerializer()
    const values = {
      bytes: new Uint8Array([1, 2, 255]),
      map: new Map([['a', new Set([1])]]),
      list: [
        undefined,
        null,
        -0,
        'x',
        new Uint8Array([3]),
        /a/g,
        new Error('e'),
        [new HumanMessage('in a list')],
        { lc: 3 }
      ],
      date: new Date(0),
      nothing: undefined,
      text: 'a\u0000\u2028"',
      proto: JSON.parse('{"a":{"__proto__x":1}}') as unknown
    }
    const place = await put(saver, values)
    const { channel_values: read } = (await saver.get(place))!
    for (const [channel, value] of Object.entries(values))
      expect(read[channel]).toEqual(await serde.loadsTyped(...(await serde.dumpsTyped(value))))
    expect(read['bytes']).toBeInstanceOf(Uint8Array)
  })

  it("gives back each message of LangChain as LangGraph's serializer does", async () => {
    const { saver } = await begin()
    const serde = new JsonPlusSerializer()
    const content = [{ type: 'text', text: 'parts' }]
    const response_metadata = { model_name: 'm', usage: { total_tokens: 3 } }
    const used = { usage_metadata: { input_tokens: 1, output_tokens: 2, total_tokens: 3 } } as object
    const tool_call_chunks = [{ type: 'tool_call_chunk', name: 'add', args: '{"a":', index: 0, id: 'c' }] as const
    const messages = [
      new AIMessage({ content, tool_calls: sum(1, 2), id: 'a', response_metadata, ...used }),
      new AIMessageChunk({ content: '', tool_call_chunks: [...tool_call_chunks], ...used }),
      new ChatMessage('said', 'narrator'),
      new HumanMessage({ content: 'named', name: 'ada', additional_kwargs: { some_key: { anotherKey: [1, null] } } }),
      new HumanMessage({ content: 'escaped', additional_kwargs: { lc: 1, type: 'secret', id: ['KEY'] } }),
      new HumanMessage({ content: 'lacking', additional_kwargs: { a: undefined } }),
      new HumanMessage({ content: 'odd', odd_field: 1, oddField2: 2 } as object),
      new SystemMessage({ content: 'system', name: undefined } as object),
      new ToolMessage({ content: '3', tool_call_id: 'c', artifact: { rows: [1] }, status: 'error' }),
      new RemoveMessage({ id: 'a' })
    ]
    const read = (await saver.get(await put(saver, { messages })))!.channel_values['messages']
    const expected = await serde.loadsTyped(...(await serde.dumpsTyped(messages)))
    expect(read).toStrictEqual(expected)
    expect(keysOf(read)).toEqual(keysOf(expected))
  })

  it('takes a serializer of the user, with what it makes', async () => {
    const history = await createSessionHistory()
    const plain = new JsonPlusSerializer()
    const flipped = (bytes: Uint8Array): Uint8Array => bytes.map((byte) => byte ^ 255)
    const serde = {
      dumpsTyped: async (value: unknown): Promise<[string, Uint8Array]> => [
        'secret',
        flipped((await plain.dumpsTyped(value))[1])
      ],
      loadsTyped: (_: string, data: Uint8Array | string) => plain.loadsTyped('json', flipped(data as Uint8Array))
    }
    const saver = new TurnlogSaver({ history, userId: 'ada', serde })
    await chat(saver, 'Hello.').invoke(ask('my secret'), config)
    expect(await messagesOf(saver)).toEqual(['my secret', 'Hello.'])
    expect(JSON.stringify(await itemsOf(history))).not.toContain('my secret')
  })

  it('rejects a history of a delta channel that cannot be read, and nothing else', async () => {
    const plain = new JsonPlusSerializer()
    const serde = {
      dumpsTyped: (value: unknown) => plain.dumpsTyped(value),
      loadsTyped: async (): Promise<never> => {
        throw new Error('no key')
      }
    }
    const saver = new TurnlogSaver({ history: await createSessionHistory(), userId: 'ada', serde })
    const seed = await put(saver, { list: ['a'] })
    await saver.putWrites(seed, [['list', ['b']]], 'task')
    const place = await put(saver, { other: 1 }, seed)
    const reasons = await unheard(() =>
      expect(saver.getDeltaChannelHistory({ config: place, channels: ['list'] })).rejects.toThrow('no key')
    )
    expect(reasons).toEqual([])
  })

  it('refuses what cannot be carried, with its path, and stores nothing', async () => {
    const { history, saver } = await begin()
    const path = ['checkpoint', 'channel_values', 'list', 1]
    await fails(() => put(saver, { list: [1, { big: 1n }] }), 'INVALID_MESSAGE', { path })
    await fails(() => put(saver, { big: { of: 1n } }), 'INVALID_MESSAGE', {
      path: ['checkpoint', 'channel_values', 'big']
    })
    const place = { configurable: { thread_id: 'trip', checkpoint_ns: '', checkpoint_id: 'c' } }
    await fails(
      () =>
        saver.putWrites(
          place,
          [
            ['a', 1],
            ['b', [2n]]
          ],
          'task'
        ),
      'INVALID_MESSAGE',
      { path: ['writes', 1, 1, 0] }
    )
    let deep: object = {}
    for (let i = 0; i < 20_000; i++) deep = { deep }
    const list = ['checkpoint', 'channel_values', 'list']
    await fails(() => put(saver, { list: deep }), 'INVALID_MESSAGE', { path: list })
    await fails(() => put(saver, { list: [1, deep] }), 'INVALID_MESSAGE', { path: [...list, 1] })
    await fails(() => saver.putWrites(place, [['a', deep]], 'task'), 'INVALID_MESSAGE', { path: ['writes', 0, 1] })
    expect(await history.listSessions('ada')).toEqual([])
  })

  it('refuses threads that are none', async () => {
    const { saver } = await begin()
    for (const [thread_id, shown] of [
      [' ', 'not blank'],
      [' a', 'white space'],
      [7, 'a string'],
      ['a'.repeat(513), 'at most 512']
    ] as const) {
      const place = { configurable: { thread_id } }
      await misuses(() => saver.getTuple(place), shown)
      await misuses(() => put(saver, {}, place), shown)
    }
    await misuses(() => saver.getTuple({ configurable: { thread_id: 'a', checkpoint_id: 7 } }), 'checkpoint_id')
    await misuses(() => new TurnlogSaver({ history: {} as never, userId: 'ada' }), 'history')
    await misuses(() => new TurnlogSaver({ history: saver.history, userId: 'ada', user: 1 } as never), 'userId')
    const long = { configurable: { thread_id: '__proto__' + 'é'.repeat(500) } }
    await put(saver, { a: 1 }, long)
    expect((await saver.get(long))?.channel_values).toEqual({ a: 1 })
  })

  it('makes no session where nothing is written, and leaves those of others alone', async () => {
    const { history, saver } = await begin()
    expect(await saver.getTuple(config)).toBeUndefined()
    await saver.deleteThread('trip')
    expect(await history.listSessions('ada')).toEqual([])
    await history.createSession('ada', 'trip')
    const mismatch = { expected: 'langgraph', actual: 'message' }
    await fails(() => saver.getTuple(config), 'FORMAT_MISMATCH', mismatch)
    await fails(() => put(saver, { a: 1 }), 'FORMAT_MISMATCH', mismatch)
    await fails(() => saver.deleteThread('trip'), 'FORMAT_MISMATCH', mismatch)
    await put(saver, { a: 1 }, { configurable: { thread_id: 'other' } })
    const threads = []
    for await (const { config: place } of saver.list({})) threads.push(place.configurable?.['thread_id'])
    expect(threads).toEqual(['other'])
  })

  it('stores a repeated call once', async () => {
    const { history, saver } = await begin()
    const versions = { a: saver.getNextVersion(undefined) }
    const checkpoint = { ...emptyCheckpoint(), channel_values: { a: [1] }, channel_versions: versions }
    const place = await saver.put(config, checkpoint, metadata, versions)
    await saver.putWrites(
      place,
      [
        ['a', 2],
        ['b', 3]
      ],
      'task'
    )
    await saver.putWrites(place, [['__error__', 'first']], 'task')
    const { length } = await itemsOf(history)
    await saver.put(config, checkpoint, metadata, versions)
    await saver.putWrites(
      place,
      [
        ['a', 'another'],
        ['b', 3]
      ],
      'task'
    )
    expect(await itemsOf(history)).toHaveLength(length)
    // An error takes the place of the one before.
    await saver.putWrites(place, [['__error__', 'second']], 'task')
    const { pendingWrites } = (await saver.getTuple(config))!
    expect(pendingWrites).toEqual([
      ['task', '__error__', 'second'],
      ['task', 'a', 2],
      ['task', 'b', 3]
    ])
  })

  it('stores an interrupt that is repeated once, and another in its place', async () => {
    const { history, saver } = await begin()
    const place = await put(saver, { a: 1 })
    const interrupts = async (...values: unknown[]) => {
      const writes = values.map((value): [string, unknown] => ['__interrupt__', value])
      await saver.putWrites(place, writes, 'task')
      const { pendingWrites } = (await saver.getTuple(config))!
      return [(await itemsOf(history)).length, ...pendingWrites!.map(([, , value]) => value)]
    }
    expect(await interrupts({ value: 'ok?' })).toEqual([2, { value: 'ok?' }])
    expect(await interrupts({ value: 'ok?' })).toEqual([2, { value: 'ok?' }])
    expect(await interrupts('first', { value: 'ok?' })).toEqual([2, { value: 'ok?' }])
    expect(await interrupts({ value: 'sure?' })).toEqual([3, { value: 'sure?' }])
    expect(await interrupts({ value: 'ok?' })).toEqual([4, { value: 'ok?' }])
  })

  it('takes channels whatever their names', async () => {
    const { saver } = await begin()
    const place = await put(saver, { a: 1 })
    for (const channel of ['constructor', 'toString', '__proto__'])
      await saver.putWrites(place, [[channel, 1]], `task of ${channel}`)
    const { pendingWrites } = (await saver.getTuple(config))!
    expect(pendingWrites!.map(([, channel]) => channel).toSorted()).toEqual(['__proto__', 'constructor', 'toString'])
  })

  it('stores again what is there no more', async () => {
    const { saver } = await begin()
    const place = await put(saver, { a: 1 })
    const { version } = (await saver.history.getSession('ada', 'trip'))!
    await saver.putWrites(place, [['a', 2]], 'task')
    await saver.history.rewind(TRIP, version)
    await saver.putWrites(place, [['a', 2]], 'task')
    expect((await saver.getTuple(config))!.pendingWrites).toEqual([['task', 'a', 2]])
    await saver.history.deleteSession('ada', 'trip')
    await put(saver, { a: 3 }, place)
    expect((await saver.get(config))!.channel_values).toEqual({ a: 3 })
  })

  it('stores a write again that is rewound before the others of its call are stored', async () => {
    const { saver, other, meddle } = await beginTwo()
    const place = await put(saver, { a: 1 })
    const { version } = (await other.history.getSession('ada', 'trip'))!
    await saver.putWrites(place, [['a', 2]], 'task')
    meddle.first = () => other.history.rewind(TRIP, version)
    const writes: [string, number][] = [
      ['a', 2],
      ['b', 3]
    ]
    await saver.putWrites(place, writes, 'task')
    expect((await other.getTuple(config))!.pendingWrites).toEqual(writes.map((write) => ['task', ...write]))
    // And where another has rewound it before.
    await other.history.rewind(TRIP, version)
    await saver.putWrites(place, writes, 'task')
    expect((await other.getTuple(config))!.pendingWrites).toEqual(writes.map((write) => ['task', ...write]))
  })

  it('takes a thread that was purged and begun again for what it is', async () => {
    const { saver, other } = await beginTwo()
    const grow = async (by: TurnlogSaver, ...lists: string[][]) => {
      let place: object = config
      for (const list of lists) place = await put(by, { list }, place)
      return place
    }
    const end = await grow(saver, ['a', 'b'], ['a', 'b', 'c'])
    await other.history.purgeSession('ada', 'trip')
    await grow(other, ['q'], ['q', 'r'])
    // Of a run that was under way.
    await put(saver, { list: ['a', 'b', 'c', 'd'] }, end)
    const lists = []
    for await (const { checkpoint } of other.list(config)) lists.push(checkpoint.channel_values['list'])
    expect(lists).toEqual([['a', 'b', 'c', 'd'], ['q', 'r'], ['q']])
  })

  it('lists what is whole, where something is not', async () => {
    const { saver } = await begin()
    const first = await put(saver, { list: ['a', 'b'] })
    const second = await put(saver, { list: ['a', 'b', 'c'] }, first)
    const { messages } = (await saver.history.getSession('ada', 'trip'))!
    const other = await saver.history.createSession('ada', 'other')
    await saver.history.appendMessage(other, messages.slice(-1))
    await put(saver, { list: ['x'] }, { configurable: { thread_id: 'other' } })
    const inOther = { configurable: { ...second.configurable, thread_id: 'other' } }
    const listed = async (place: object) => {
      const lists = []
      for await (const { checkpoint } of saver.list(place, { limit: 2 })) lists.push(checkpoint.channel_values['list'])
      return lists
    }
    expect(await listed({ configurable: { thread_id: 'other' } })).toEqual([['x']])
    await fails(() => listed(inOther), 'CORRUPT_LOG')
    await fails(() => saver.getTuple(inOther), 'CORRUPT_LOG')
  })

  it('rejects what cannot be stored, and nothing else, while another put is under way', async () => {
    const { saver, meddle } = await beginTwo()
    const place = { configurable: { thread_id: 'trip', checkpoint_ns: '', checkpoint_id: 'c' } }
    let results: PromiseSettledResult<unknown>[] = []
    const reasons = await unheard(async () => {
      meddle.first = soon
      const putting = [
        put(saver, { a: 1 }),
        saver.putWrites(place, [['a', { big: 1n }]], 'task'),
        put(saver, { big: { of: 1n } }),
        put(saver, { a: 2 })
      ]
      results = await Promise.allSettled(putting)
    })
    expect(reasons).toEqual([])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected', 'fulfilled'])
  })

  it('deletes a thread after what is being stored in it', async () => {
    const { saver } = await begin()
    const place = { configurable: { thread_id: 'trip', checkpoint_ns: '', checkpoint_id: 'c' } }
    for (const store of [() => put(saver, { a: 1 }), () => saver.putWrites(place, [['a', 2]], 'task')]) {
      const storing = store()
      await saver.deleteThread('trip')
      await storing
      expect(await saver.history.listSessions('ada')).toEqual([])
    }
    // And what comes after it begins the thread anew.
    await Promise.all([put(saver, { a: 1 }), saver.deleteThread('trip'), put(saver, { a: 3 })])
    expect((await saver.history.getSession('ada', 'trip'))!.messages).toHaveLength(1)
  })

  it('stores all that is put at once', async () => {
    const { saver } = await begin()
    const places = await Promise.all(Array.from({ length: 20 }, (_, i) => put(saver, { list: [0, i] })))
    await Promise.all(places.map((place, i) => saver.putWrites(place, [['list', i]], `task ${i}`)))
    for (const [i, place] of places.entries()) {
      const { checkpoint, pendingWrites } = (await saver.getTuple(place))!
      expect(checkpoint.channel_values).toEqual({ list: [0, i] })
      expect(pendingWrites).toEqual([[`task ${i}`, 'list', i]])
    }
  })

  it('stores in one commit what comes together, and reads it before it is stored', async () => {
    const { saver } = await begin()
    const first = await put(saver, { list: ['a'] })
    // Each is made of the one before it.
    const writing = saver.putWrites(first, [['list', ['a', 'b']]], 'task')
    const putting = put(saver, { list: ['a', 'b'] }, first)
    const { pendingWrites } = (await saver.getTuple(first))!
    expect(pendingWrites).toEqual([['task', 'list', ['a', 'b']]])
    const second = await putting
    await writing
    const id = uuid6(1)
    const third = { ...emptyCheckpoint(), id, channel_values: { list: ['a', 'b', 'c'] }, channel_versions: { list: 1 } }
    const place = { configurable: { ...second.configurable, checkpoint_id: id } }
    await Promise.all([
      saver.put(second, third, metadata),
      saver.putWrites(place, [['list', ['a', 'b', 'c', 'd']]], 'task')
    ])
    expect((await saver.get(second))!.channel_values).toEqual({ list: ['a', 'b'] })
    const tuple = (await saver.getTuple(place))!
    expect(tuple.checkpoint.channel_values).toEqual({ list: ['a', 'b', 'c'] })
    expect(tuple.pendingWrites).toEqual([['task', 'list', ['a', 'b', 'c', 'd']]])
    const commits = new Map<string, number>()
    for await (const { type, commitId } of saver.history.readEvents('ada', 'trip'))
      if (type === 'message-appended') commits.set(commitId, (commits.get(commitId) ?? 0) + 1)
    expect([...commits.values()]).toEqual([1, 2, 2])
  })

  it('rejects of what comes together only what cannot be stored', async () => {
    const history = await createSessionHistory({ maxMessageBytes: 2000 })
    const saver = new TurnlogSaver({ history, userId: 'ada' })
    const values = [1, 'x'.repeat(3000), 3].map((a) => put(saver, { a }))
    const results = await Promise.allSettled(values)
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect((await saver.history.getSession('ada', 'trip'))!.messages).toHaveLength(2)
  })

  it('hides a thread that is deleted, and has it again', async () => {
    const { saver } = await begin()
    await chat(saver, 'Hello.').invoke(ask('Hi'), config)
    const { version } = (await saver.history.getSession('ada', 'trip'))!
    await saver.deleteThread('trip')
    expect(await saver.getTuple(config)).toBeUndefined()
    await chat(saver, 'Who are you?').invoke(ask('Hi again'), config)
    expect(await messagesOf(saver)).toEqual(['Hi again', 'Who are you?'])
    await saver.history.rewind(TRIP, version)
    expect(await messagesOf(saver)).toEqual(['Hi', 'Hello.'])
  })

  it('tells with what version a thread got a checkpoint', async () => {
    const { saver } = await begin()
    expect(await saver.versionOf(config)).toBeUndefined()
    await chat(saver, 'Hello.').invoke(ask('Hi'), config)
    const { config: end } = (await saver.getTuple(config))!
    const at = (await saver.versionOf(end))!
    await chat(saver, 'At 22:47.').invoke(ask('When?'), config)
    expect(await saver.versionOf(end)).toBe(at)
    expect(toMessages((await saver.history.getSession('ada', 'trip', { at }))!.messages)).toHaveLength(2)
    await saver.history.fork(TRIP, { at, sessionId: 'fork' })
    const inFork = { configurable: { ...end.configurable, thread_id: 'fork' } }
    expect(await saver.versionOf(inFork)).toBe(1)
    expect(await saver.versionOf({ configurable: { ...end.configurable, checkpoint_id: 'none' } })).toBeUndefined()
  })

  it('has all that a thread consists of, however little of it snapshots of the service show', async () => {
    const history = await createSessionHistory({ retention: { maxMessages: 1 } })
    const saver = new TurnlogSaver({ history, userId: 'ada' })
    const list = [{ a: 1 }, { b: 2 }, { c: 3 }]
    const first = await put(saver, { list: list.slice(0, 2) })
    await put(saver, { list }, first)
    expect((await saver.getTuple(config))?.checkpoint.channel_values).toEqual({ list })
  })

  it('says so where a checkpoint lacks what it was made of', async () => {
    const saver = new TurnlogSaver({ history: await createSessionHistory(), userId: 'ada' })
    const first = await put(saver, { list: [{ a: 1 }, { b: 2 }] })
    await put(saver, { list: [{ a: 1 }, { b: 2 }, { c: 3 }] }, first)
    const { messages } = (await saver.history.getSession('ada', 'trip'))!
    const other = await saver.history.createSession('ada', 'other')
    await saver.history.appendMessage(other, messages.slice(-1))
    await fails(() => saver.getTuple({ configurable: { thread_id: 'other' } }), 'CORRUPT_LOG', {
      userId: 'ada',
      sessionId: 'other'
    })
  })
})

describe("LangGraph's runner", () => {
  it('streams, and a run that is aborted can be gone on with', async () => {
    const { saver } = await begin()
    const aborting = new AbortController()
    let count = 0
    const graph = new StateGraph(MessagesAnnotation)
      .addNode('first', () => ({ messages: [new AIMessage('first')] }))
      .addNode('second', async (_, { signal }) => {
        if (++count > 1) return { messages: [new AIMessage('second')] }
        aborting.abort(new Error('enough'))
        throw signal?.reason
      })
      .addEdge(START, 'first')
      .addEdge('first', 'second')
      .compile({ checkpointer: saver })
    const chunks: string[] = []
    const streaming = async () => {
      const stream = await graph.stream(ask('Go'), { ...config, streamMode: 'updates', signal: aborting.signal })
      for await (const chunk of stream) chunks.push(...Object.keys(chunk))
    }
    await expect(streaming()).rejects.toThrow()
    expect(chunks).toEqual(['first'])
    await graph.invoke(null, config)
    expect(await messagesOf(saver)).toEqual(['Go', 'first', 'second'])
  })

  it('has subgraphs in the same thread', async () => {
    const { history, saver } = await begin()
    const inner = new StateGraph(MessagesAnnotation)
      .addNode('inside', ({ messages }) => ({ messages: [new AIMessage(`inside of ${messages.length}`)] }))
      .addEdge(START, 'inside')
      .compile({ checkpointer: true })
    const graph = new StateGraph(MessagesAnnotation)
      .addNode('sub', inner)
      .addNode('after', () => ({ messages: [new AIMessage('after')] }))
      .addEdge(START, 'sub')
      .addEdge('sub', 'after')
      .compile({ checkpointer: saver })
    await graph.invoke(ask('Go'), config)
    await graph.invoke(ask('Again'), config)
    expect(await messagesOf(saver)).toEqual(['Go', 'inside of 1', 'after', 'Again', 'inside of 4', 'after'])
    const namespaces = new Set<unknown>()
    for await (const { config: place } of saver.list(config)) namespaces.add(place.configurable?.['checkpoint_ns'])
    expect(namespaces).toEqual(new Set(['', 'sub']))
    expect(await history.listSessions('ada')).toHaveLength(1)
  })

  it('has the same with delta channels', async () => {
    const { saver } = await begin()
    const State = Annotation.Root({
      messages: new DeltaChannel<BaseMessage[], BaseMessage[]>(messagesDeltaReducer as never, { snapshotFrequency: 3 })
    } as never) as unknown as typeof MessagesAnnotation
    const graph = new StateGraph(State)
      .addNode('model', ({ messages }) => ({
        messages: [new AIMessage({ id: `a${messages.length}`, content: `${messages.length}` })]
      }))
      .addEdge(START, 'model')
      .compile({ checkpointer: saver })
    for (let i = 0; i < 6; i++)
      await graph.invoke({ messages: [new HumanMessage({ id: `h${i}`, content: `go ${i}` })] }, config)
    const lines = [0, 1, 2, 3, 4, 5].flatMap((i) => [`go ${i}`, `${2 * i + 1}`])
    const { values } = await graph.getState(config)
    expect(textsOf((values as { messages: BaseMessage[] }).messages)).toEqual(lines)
    const shown = toMessages((await saver.history.getSession('ada', 'trip'))!.messages)
    expect(shown.map(({ content }) => content?.[0]?.text)).toEqual(lines)
  })

  it('lists a history as MemorySaver does', async () => {
    const shown = async (checkpointer: TurnlogSaver | MemorySaver) => {
      const model = new Scripted(['one', 'two'])
      const graph = new StateGraph(MessagesAnnotation)
        .addNode('model', async ({ messages }) => ({ messages: [await model.invoke(messages)] }))
        .addEdge(START, 'model')
        .compile({ checkpointer })
      await graph.invoke(ask('Hi'), config)
      await graph.invoke(ask('On'), config)
      const states = []
      for await (const { values, next, metadata: about, tasks } of graph.getStateHistory(config))
        states.push([
          textsOf((values as { messages?: BaseMessage[] }).messages ?? []),
          next,
          about,
          tasks.map(({ name }) => name)
        ])
      return states
    }
    expect(await shown((await begin()).saver)).toEqual(await shown(new MemorySaver()))
  })
})

describe('messages of a thread', () => {
  const messages = [
    new HumanMessage({
      id: '1',
      content: [
        { type: 'text', text: 'What is it?' },
        { type: 'image_url', image_url: { url: 'https://x.y/z.png' } }
      ]
    }),
    new AIMessage({
      id: '2',
      content: [
        { type: 'reasoning', reasoning: 'hm' },
        { type: 'text', text: 'Let me look.' }
      ],
      tool_calls: sum(1, 2),
      usage_metadata: { input_tokens: 1, output_tokens: 2, total_tokens: 3 } as never
    }),
    new ToolMessage({ id: '3', content: '3', tool_call_id: 'c1', name: 'add' }),
    new AIMessage({ id: '4', content: '', additional_kwargs: { refusal: 'No.' } })
  ]

  it('are what a person would read, and the same in a chat history', async () => {
    const { history, saver } = await begin()
    await put(saver, { messages })
    const shown = toMessages(await itemsOf(history))
    for (const message of shown) expect(messageSchema['~standard'].validate(message)).not.toHaveProperty('issues')
    expect(shown).toMatchObject([
      {
        id: '1',
        role: 'user',
        content: [
          { type: 'text', text: 'What is it?' },
          { type: 'image', image_url: 'https://x.y/z.png' }
        ]
      },
      { id: '2_reasoning', type: 'reasoning', role: 'assistant', content: [{ text: 'hm' }] },
      {
        id: '2',
        type: 'function_call',
        role: 'assistant',
        content: [{ text: 'Let me look.' }, { data: { call_id: 'c1', name: 'add', arguments: '{"a":1,"b":2}' } }],
        metadata: { langgraph: { usage_metadata: { total_tokens: 3 } } }
      },
      {
        id: '3',
        type: 'function_call_output',
        role: 'tool',
        content: [{ data: { call_id: 'c1', name: 'add', output: '3' } }]
      },
      { id: '4', content: [{ type: 'refusal', refusal: 'No.' }] }
    ])
    const chats = new TurnlogChatMessageHistory({ history, userId: 'ada' })
    await chats.addMessages(messages)
    const stored = toMessages((await chats.history.getSession('ada', chats.id))!.messages)
    const inOther = JSON.parse(JSON.stringify(shown).replaceAll('"langgraph":', '"langchain":')) as unknown
    expect(stored).toEqual(inOther)
    expect(toMessages([])).toEqual([])
  })

  it('are its state, where it has no messages', async () => {
    const { history, saver } = await begin()
    await put(saver, { 'topic': 'trains', 'count': 2, 'branch:to:x': null })
    expect(toMessages(await itemsOf(history))).toMatchObject([
      { type: 'state', content: [{ data: { topic: 'trains', count: 2 } }] }
    ])
  })

  it('go on as messages of LangChain, with what is dropped named', async () => {
    const { history, saver } = await begin()
    await put(saver, { messages })
    const { items, dropped } = fromMessages(toMessages(await itemsOf(history)))
    expect(textsOf(items)).toEqual(['What is it?', 'add({"a":1,"b":2})', '= 3', ''])
    expect(items.map(({ id, type }) => [id, type])).toEqual([
      ['1', 'human'],
      ['2', 'ai'],
      ['3', 'tool'],
      ['4', 'ai']
    ])
    expect(items[3]!.additional_kwargs).toEqual({ refusal: 'No.' })
    expect(dropped).toEqual([
      { path: [2, 'metadata', 'langgraph'], what: 'what langgraph alone knows of it' },
      { path: [1, 'content', 0], what: 'reasoning' }
    ])
    const graph = chat(saver, 'Goodbye.')
    const other = { configurable: { thread_id: 'other' } }
    await graph.invoke({ messages: items }, other)
    expect((await messagesOf(saver, other)).at(-1)).toBe('Goodbye.')
  })

  it('are left out where nothing of them can be carried', () => {
    const file = { type: 'file' as const, filename: 'x.pdf' }
    const call = { type: 'data' as const, data: { call_id: 'c', name: 'look', arguments: '{}' } }
    const message = (role: 'assistant' | 'system' | 'user', content: (typeof file | typeof call)[]) => ({
      id: role,
      object: 'message' as const,
      type: content.length > 1 ? 'function_call' : 'message',
      status: 'completed' as const,
      role,
      content
    })
    const { items, dropped } = fromMessages([
      message('user', [file]),
      message('system', [file]),
      message('assistant', [file]),
      message('assistant', [file, call])
    ])
    expect(items.map(({ content }) => content)).toEqual([''])
    expect(dropped).toEqual(
      ['user', 'system', 'assistant', 'assistant'].map((role, i) => ({
        path: [i, 'content', 0],
        what: `file of the ${role}`
      }))
    )
  })

  it('have calls that are answered together in one message', () => {
    const call = (i: number) => ({
      id: `m${i}`,
      object: 'message' as const,
      type: 'function_call',
      status: 'completed' as const,
      role: 'assistant' as const,
      content: [{ type: 'data' as const, data: { call_id: `c${i}`, name: 'look', arguments: i === 2 ? '[' : '{}' } }]
    })
    const { items } = fromMessages([call(1), call(2), call(3)])
    expect(items).toHaveLength(1)
    const [{ tool_calls = [], invalid_tool_calls = [] }] = items as [AIMessage]
    expect([tool_calls.map(({ id }) => id), invalid_tool_calls.map(({ id }) => id)]).toEqual([['c1', 'c3'], ['c2']])
  })
})

describe.each(STORES)('a chat history over %s', (kind) => {
  it('has a turn as one commit, clears without losing, and goes on after a restart', async () => {
    const open = freshStore(kind)
    const history = await open()
    const chats = (service: SessionHistoryService) =>
      new TurnlogChatMessageHistory({ history: service, userId: 'ada', sessionId: 'trip' })
    const runnable = (service: SessionHistoryService, ...answers: string[]) =>
      // oxlint-disable-next-line typescript/no-deprecated -- what uses it
      new RunnableWithMessageHistory({
        runnable: RunnableLambda.from((messages: BaseMessage[]) =>
          new FakeListChatModel({ responses: answers }).invoke(messages)
        ),
        getMessageHistory: () => chats(service)
      })
    const session = { configurable: { sessionId: 'trip' } }
    expect(await chats(history).getMessages()).toEqual([])
    expect(await history.listSessions('ada')).toEqual([])
    await runnable(history, 'Hello.').invoke([new HumanMessage('Hi')], session)
    await runnable(history, 'At 22:47.').invoke([new HumanMessage('When?')], session)
    const commits = new Set<string>()
    for await (const event of chats(history).history.readEvents('ada', 'trip'))
      if (event.type === 'message-appended') commits.add(event.commitId)
    expect(commits.size).toBe(2)
    await history.stop()
    const later = await open()
    const restarted = chats(later)
    expect(textsOf(await restarted.getMessages())).toEqual(['Hi', 'Hello.', 'When?', 'At 22:47.'])
    await restarted.clear()
    expect(await restarted.getMessages()).toEqual([])
    await restarted.history.undo(restarted)
    expect(textsOf(await restarted.getMessages())).toEqual(['Hi', 'Hello.', 'When?', 'At 22:47.'])
    await later.stop()
  })
})

describe('a chat history', () => {
  it('refuses what it could not give back, and sessions of others', async () => {
    const { history, saver } = await begin()
    const chats = new TurnlogChatMessageHistory({ history, userId: 'ada', sessionId: 'trip' })
    const removing = [new HumanMessage('a'), new RemoveMessage({ id: 'x' })]
    await fails(() => chats.addMessages(removing), 'INVALID_MESSAGE', { path: [1, 'type'] })
    const big = new HumanMessage({ content: 'a', additional_kwargs: { big: 1n } })
    await fails(() => chats.addMessage(big), 'INVALID_MESSAGE', { path: [0, 'data', 'additional_kwargs', 'big'] })
    expect(await history.listSessions('ada')).toEqual([])
    await put(saver, { a: 1 })
    await fails(() => chats.getMessages(), 'FORMAT_MISMATCH', { expected: 'langchain', actual: 'langgraph' })
    await misuses(() => new TurnlogChatMessageHistory({ history, userId: '' }), 'userId')
  })
})

/** What messages come back as from the saver that LangGraph ships. */
class MemorySaverTwin {
  readonly #messages: readonly BaseMessage[]

  constructor(messages: readonly BaseMessage[]) {
    this.#messages = messages
  }

  async read(): Promise<unknown> {
    const saver = new MemorySaver()
    const checkpoint = { ...emptyCheckpoint(), channel_values: { messages: this.#messages } }
    return (await saver.get(await saver.put(config, checkpoint, metadata)))!.channel_values['messages']
  }
}

// Of all objects in it, in their order.
function keysOf(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).map(([key, member]) => [key, keysOf(member)])
}
