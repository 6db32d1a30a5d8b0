import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createSessionHistory, diff, type Session } from '../src/index.ts'
import { ADA, openAda, text, textsOf } from './service/kit.ts'

/** A snapshot with these messages, as far as a difference is concerned. */
function snapshot(
  messages: readonly unknown[],
  metadata: object = {}
): Pick<Session<unknown>, 'messages' | 'metadata'> {
  return { messages, metadata: metadata as Session['metadata'] }
}

describe('diff', () => {
  it('of two versions of a session is what came after those they begin with alike', async () => {
    const history = await openAda()
    const before = (await history.appendMessage(ADA, [text('1'), text('2')]))!
    const after = (await history.commit(ADA, [
      { type: 'truncate', length: 1 },
      { type: 'append', messages: [text('3'), text('4')] }
    ]))!
    const { common, a, b, metadata } = diff(before, after)
    expect([common, textsOf({ messages: a }), textsOf({ messages: b }), metadata]).toEqual([1, ['2'], ['3', '4'], {}])
    expect(diff(after, before)).toEqual({ common: 1, a: b, b: a, metadata: {} })
    expect(diff(before, before)).toEqual({ common: 2, a: [], b: [], metadata: {} })
  })

  it('of two forks, of a session and its fork, and of sessions without an ancestor', async () => {
    const history = await openAda()
    await history.appendMessage(ADA, [text('1'), text('2')])
    const [one, other] = [await history.fork(ADA), await history.fork(ADA, { at: 2 })]
    const a = (await history.appendMessage(one, text('a')))!
    const b = (await history.appendMessage(other, text('b')))!
    expect(diff(a, b).common).toBe(1)
    expect(textsOf({ messages: diff(a, b).a })).toEqual(['2', 'a'])
    expect(diff((await history.getSession('ada', 's1'))!, a)).toMatchObject({ common: 2, a: [] })
    expect(diff(await history.createSession('ada'), a)).toMatchObject({ common: 0, a: [] })
  })

  it('tells which keys of the metadata differ, with the value in each that has one', () => {
    const { metadata } = diff(
      snapshot([], { same: { x: [1] }, only: 1, both: { x: 1, y: 2 }, none: null }),
      snapshot([], JSON.parse('{"same":{"x":[1]},"__proto__":5,"both":{"x":2,"y":2},"toString":"x"}') as object)
    )
    expect(Object.entries(metadata)).toEqual([
      ['only', { a: 1 }],
      ['both', { a: { x: 1, y: 2 }, b: { x: 2, y: 2 } }],
      ['none', { a: null }],
      ['__proto__', { b: 5 }],
      ['toString', { b: 'x' }]
    ])
  })

  it('takes messages for alike that are equal as JSON, whatever the order of their keys', () => {
    const made = [{ id: 'x', content: [{ text: 'a', type: 'text' }] }]
    const read = [{ content: [{ type: 'text', text: 'a' }], id: 'x' }]
    expect(diff(snapshot(made), snapshot(read)).common).toBe(1)
  })

  it('is plain data', () => {
    const difference = diff(snapshot([{ id: 'a' }], { x: 1 }), snapshot([{ id: 'b' }]))
    expect(Object.keys(difference)).toEqual(['common', 'a', 'b', 'metadata'])
    expect(JSON.parse(JSON.stringify(difference))).toEqual(difference)
    expect(structuredClone(difference)).toEqual({
      common: 0,
      a: [{ id: 'a' }],
      b: [{ id: 'b' }],
      metadata: { x: { a: 1 } }
    })
  })

  it('leaves what it was given as it is', () => {
    const [a, b] = [snapshot([{ id: 'a' }]), snapshot([{ id: 'b' }])]
    const copies = structuredClone([a, b])
    diff(a, b)
    expect([a, b]).toEqual(copies)
  })

  it('agrees with a naive loop, whichever side is first', () => {
    const message = fc.record({ id: fc.constantFrom('a', 'b'), n: fc.nat(1) })
    const messages = fc.array(message, { maxLength: 6 })
    const metadata = fc.dictionary(fc.constantFrom('x', 'y', '__proto__'), fc.nat(1))
    fc.assert(
      fc.property(messages, messages, messages, metadata, metadata, (shared, ownA, ownB, metaA, metaB) => {
        const [a, b] = [snapshot([...shared, ...ownA], metaA), snapshot([...shared, ...structuredClone(ownB)], metaB)]
        const { common, a: onlyA, b: onlyB, metadata: values } = diff(a, b)
        let alike = 0
        while (
          alike < Math.min(a.messages.length, b.messages.length) &&
          JSON.stringify(a.messages[alike]) === JSON.stringify(b.messages[alike])
        )
          alike++
        expect(common).toBe(alike)
        expect([...a.messages.slice(0, common), ...onlyA]).toEqual(a.messages)
        expect([...a.messages.slice(0, common), ...onlyB]).toEqual(b.messages)
        for (const key of ['x', 'y', '__proto__']) {
          const [inA, inB] = [a, b].map(({ metadata: all }) => (Object.hasOwn(all, key) ? all[key] : undefined))
          expect(Object.hasOwn(values, key)).toBe(inA !== inB)
        }
      }),
      { numRuns: 1_000 }
    )
  })
})

describe('a difference, printed', () => {
  it('counts what is in common, and shows the rest a line each', async () => {
    const history = await createSessionHistory()
    const session = await history.createSession('ada', 's1')
    const a = (await history.appendMessage(session, [
      { role: 'user', content: 'Is there a flight?' },
      { role: 'assistant', content: 'It is\nfull.' }
    ]))!
    const b = (await history.commit(session, [
      { type: 'rewind', toVersion: 2 },
      { type: 'append', messages: [{ type: 'plugin_call', content: [{ type: 'data', data: { name: 'search' } }] }] },
      { type: 'metadata', set: { title: 'Flights', n: 1 } }
    ]))!
    expect(String(diff(a, b))).toBe(
      [
        '  1 message in common',
        '- assistant: It is full.',
        '+ plugin_call: {"name":"search"}',
        '+ metadata.title: "Flights"',
        '+ metadata.n: 1'
      ].join('\n')
    )
    expect(String(diff(a, a))).toBe('  2 messages in common; no difference')
  })

  it('names what differs in messages of one id that say the same', async () => {
    const history = await createSessionHistory()
    const session = await history.createSession('ada', 's1')
    const same = { id: 'm', role: 'user', content: 'same' } as const
    const a = (await history.putMessage(session, same))!
    const b = (await history.putMessage(session, { ...same, status: 'completed', usage: { tokens: 5 } }))!
    const lines = ['  0 messages in common', '- user: same', '+ user: same (status, usage)']
    expect(String(diff(a, b))).toBe(lines.join('\n'))
    const long = { id: 'm', content: [{ text: 'x'.repeat(300) }] }
    const [, , after] = String(
      diff(snapshot([long]), snapshot([{ ...long, content: [{ text: 'x'.repeat(301) }] }]))
    ).split('\n')
    expect(after).toMatch(/^\+ message: x{191}… \(content\)$/)
    expect(String(diff(snapshot([{ n: 1 }]), snapshot([{ n: 1 }, { n: 1 }])))).toBe(
      '  1 message in common\n+ message: {"n":1}'
    )
  })

  it('shortens what is long, and leaves no blanks at the end', () => {
    const long = [{ role: 'user', content: [{ text: `${'x'.repeat(193)}🙂${'x'.repeat(500)}` }] }]
    const difference = diff(
      snapshot(long),
      snapshot([{ role: 'user', content: [{ text: ' ' }] }], { note: 'y'.repeat(500) })
    )
    const [, before, after, note] = String(difference).split('\n')
    expect(before).toBe(`- user: ${'x'.repeat(193)}…`)
    expect(after).toBe('+ user:')
    expect(note).toMatch(/^\+ metadata\.note: "y+…$/)
    expect(note!.length).toBe(201)
  })

  it('has a line for each, whatever names and texts are made of', () => {
    const ends = ['\n', '\r\n', '\u0085', '\u2028', '\u2029', '\v', '\f']
    for (const end of ends) {
      const forged = `a${end}+ user: forged`
      const difference = diff(
        snapshot([
          { role: forged, content: [{ text: forged }] },
          { id: 'm', text: 'x' }
        ]),
        snapshot([{ id: 'm', text: 'x', [forged]: 1 }], { [forged]: forged, 'my.key_1': 1 })
      )
      const lines = String(difference).split(/[\n\v\f\r\u0085\u2028\u2029]/)
      expect(lines, JSON.stringify(end)).toHaveLength(6)
      expect(lines.filter((line) => line.startsWith('+ user'))).toEqual([])
      expect(lines.at(-1)).toBe('+ metadata.my.key_1: 1')
    }
    expect(String(diff(snapshot([]), snapshot([], { 'a\n+ b': 1 })))).toContain('\n+ metadata."a\\n+ b": 1')
    const long = 'x'.repeat(300)
    const same = { id: 'm', content: [{ text: long }] }
    expect(String(diff(snapshot([same]), snapshot([{ ...same, 'a\nb': 1 }])))).toMatch(/ \("a\\nb"\)$/)
  })

  it('shows any message, also of another format than ours', () => {
    const messages = [null, 'text', 5, [], {}, { content: [] }, { content: [null] }, { role: 'user', content: null }]
    const [first, ...lines] = String(diff(snapshot(messages), snapshot([]))).split('\n')
    expect(first).toBe('  0 messages in common')
    expect(lines).toHaveLength(messages.length)
    for (const line of lines) expect(line).toMatch(/^- (message|user): ./)
  })
})

it.each<[unknown, unknown, string]>([
  [undefined, snapshot([]), 'a must be a session, with messages and metadata; it is undefined'],
  [snapshot([]), null, 'b must be a session, with messages and metadata; it is null'],
  [snapshot([]), { messages: 5 }, 'b must be a session, with messages and metadata; it is { messages: 5 }'],
  [{ messages: [] }, snapshot([]), 'a.metadata must be an object; it is undefined']
])('diff(%j, %j) is misuse', (a, b, shown) => {
  expect(() => diff(a as ReturnType<typeof snapshot>, b as ReturnType<typeof snapshot>)).toThrow(new TypeError(shown))
})
