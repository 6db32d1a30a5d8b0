import { deepStrictEqual } from 'node:assert/strict'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { isTurnlogError, type Path, type TurnlogErrorOf } from '../src/errors.ts'
import { copyJson, type Json } from '../src/json.ts'
import { checkSize, defaultFormat, messageSchema, plain, schemaFormat, type StandardSchema } from '../src/message.ts'

const filledIn = { id: 'msg_1', object: 'message', type: 'message', status: 'created' }

const types = [
  'message',
  'function_call',
  'function_call_output',
  'plugin_call',
  'plugin_call_output',
  'component_call',
  'component_call_output',
  'mcp_list_tools',
  'mcp_approval_request',
  'mcp_call',
  'mcp_approval_response',
  'mcp_call_output',
  'reasoning',
  'heartbeat',
  'error',
  'a2ui_response',
  'a2ui_action'
]
const statuses = [
  'created',
  'in_progress',
  'completed',
  'canceled',
  'failed',
  'rejected',
  'unknown',
  'queued',
  'incomplete'
]
const roles = ['assistant', 'system', 'user', 'tool']

// What each field takes beside being absent, and what it does not.
const fields: { field: string; taken: unknown[]; refused: [value: unknown, ...path: Path][] }[] = [
  { field: 'id', taken: ['', 'x'], refused: [[null], [1]] },
  { field: 'object', taken: ['', 'thing'], refused: [[null], [1]] },
  { field: 'type', taken: [...types, '', 'my_own'], refused: [[null], [1]] },
  { field: 'status', taken: statuses, refused: [[null], ['done'], ['']] },
  { field: 'role', taken: [null, ...roles], refused: [['developer'], ['']] },
  {
    field: 'content',
    taken: [null, [], [{ type: 'text', text: 'Hi' }]],
    refused: [[1], [{}], [['Hi'], 0], [[{}], 0, 'type'], [[{ type: 'text' }, { type: 'x' }], 1, 'type']]
  },
  { field: 'code', taken: [null, '', '500'], refused: [[500]] },
  { field: 'message', taken: [null, '', 'It broke.'], refused: [[{}]] },
  { field: 'usage', taken: [null, {}, { tokens: 1 }], refused: [[1], [[]]] },
  { field: 'metadata', taken: [null, {}, { a: { b: [] } }], refused: [['x'], [[]]] },
  { field: 'sequence_number', taken: [null, 0, -1], refused: [[0.5], ['1'], [1e300]] },
  {
    field: 'error',
    taken: [null, { code: 'c', message: 'm' }, { code: '', message: '', more: 1 }],
    refused: [['x'], [{ message: 'm' }, 'code'], [{ code: 1, message: 'm' }, 'code'], [{ code: 'c' }, 'message']]
  }
]

const inEveryPart: { field: string; taken: unknown[]; refused: unknown[] }[] = [
  { field: 'object', taken: ['content', ''], refused: [1] },
  { field: 'index', taken: [0], refused: [0.5, '0'] },
  { field: 'delta', taken: [false, true], refused: [0] },
  { field: 'msg_id', taken: ['msg_1'], refused: [1] },
  { field: 'sequence_number', taken: [1], refused: [0.5] },
  { field: 'status', taken: statuses, refused: ['done'] },
  { field: 'error', taken: [{ code: 'c', message: 'm' }], refused: ['x'] }
]

const parts: { type: string; strings: string[] }[] = [
  { type: 'text', strings: ['text'] },
  { type: 'image', strings: ['image_url'] },
  { type: 'data', strings: [] },
  { type: 'audio', strings: ['data', 'format'] },
  { type: 'video', strings: ['video_url'] },
  { type: 'file', strings: ['file_url', 'file_id', 'filename', 'file_data'] },
  { type: 'refusal', strings: ['refusal'] }
]

describe('a Message', () => {
  it('given {}, then id, object, type and status are filled in, and nothing else', () => {
    expect(complete({})).toStrictEqual(filledIn)
    expect(Object.keys(complete({ role: 'user' }))).toStrictEqual([...Object.keys(filledIn), 'role'])
  })

  it.each(fields.flatMap(({ field, taken }) => taken.map((value) => ({ field, value }))))(
    'given $field $value, then it is stored as given',
    ({ field, value }) => {
      expect(complete({ [field]: value })).toStrictEqual({ ...filledIn, [field]: value })
    }
  )

  it.each(
    fields.flatMap(({ field, refused }) => refused.map(([value, ...at]) => ({ field, value, path: [field, ...at] })))
  )('given $field $value, then INVALID_MESSAGE at $path', ({ field, value, path }) => {
    expect(refusal(() => complete({ [field]: value }, ['messages', 2])).path).toStrictEqual(['messages', 2, ...path])
  })

  it.each([null, 'Hello', 1, true, [], [{}]])('given %j, then INVALID_MESSAGE', (value) => {
    expect(refusal(() => complete(value, [3])).path).toStrictEqual([3])
  })

  it.each(['Hello', ''])('given the string content %j, then one text part', (content) => {
    expect(complete({ role: 'user', content })).toStrictEqual({
      ...filledIn,
      role: 'user',
      content: [{ type: 'text', text: content }]
    })
  })

  it('keeps unknown fields, also __proto__, wherever they are', () => {
    const given = JSON.parse(
      `{ "id": "x", "mine": { "deep": [null] }, "__proto__": { "a": 1 }, "metadata": { "__proto__": 2 },
         "content": [{ "type": "text", "mine": 1, "__proto__": 3 }, { "type": "data", "data": { "__proto__": null } }] }`
    ) as object
    deepStrictEqual(complete(given), { ...filledIn, ...given })
  })

  it.each([
    { content: 'Hello' },
    { content: [{ type: 'text', error: { code: 'c', message: 'm' } }], metadata: { a: [{}] } }
  ])('given %j, then what is stored is frozen all through', (given) => {
    expectFrozen(complete(given))
  })

  it('takes its id from newId only where none is given', () => {
    let made = 0
    const format = defaultFormat(() => `id_${++made}`)
    const ids = [{}, { id: 'mine' }, {}].map((given) => (format.complete(copyJson(given), []) as { id: string }).id)
    expect(ids).toStrictEqual(['id_1', 'mine', 'id_2'])
  })

  it('accepts what messageSchema accepts, also where it is quick about it', () => {
    const { complete: completed } = defaultFormat(() => 'msg_1')
    const odd = fc.oneof(
      fc.constantFrom(null, '', 'text', 'user', 'completed', 3, true),
      fc.constant({ type: 'text', text: 'x' })
    )
    const part = fc.oneof(
      { weight: 4, arbitrary: fc.record({ type: fc.constant('text'), text: fc.string() }) },
      fc.record({ type: fc.constantFrom('text', 'image', 'data', 'nonsense'), text: odd }, { requiredKeys: [] }),
      fc.record({ type: fc.constant('text'), text: fc.string(), index: odd }),
      odd
    )
    const rarely = <T>(usual: fc.Arbitrary<T>): fc.Arbitrary<unknown> =>
      fc.oneof({ weight: 8, arbitrary: usual }, { weight: 1, arbitrary: odd })
    const message = fc.record(
      {
        id: rarely(fc.string()),
        object: rarely(fc.string()),
        type: rarely(fc.string()),
        status: rarely(fc.constantFrom(...messageSchema.shape.status.unwrap().options)),
        role: rarely(fc.constantFrom('user', 'assistant', 'system', 'tool')),
        content: rarely(fc.array(part, { maxLength: 3 })),
        code: odd,
        other: odd
      },
      { requiredKeys: ['role', 'content'], noNullPrototype: true }
    )
    const accepted = { true: 0, false: 0 }
    fc.assert(
      fc.property(fc.oneof({ weight: 20, arbitrary: message }, { weight: 1, arbitrary: odd }), (given) => {
        const isValid = messageSchema.safeParse(given).success
        let isComplete = true
        try {
          completed(copyJson(given), [])
        } catch (error) {
          if (!isTurnlogError(error, 'INVALID_MESSAGE')) throw error
          isComplete = false
        }
        expect(isComplete).toBe(isValid)
        accepted[`${isValid}`]++
      }),
      { numRuns: 2_000 }
    )
    // Neither is rare.
    expect(Math.min(accepted.true, accepted.false)).toBeGreaterThan(200)
  })

  it('is what messageSchema makes of the same input', () => {
    const given = { id: 'x', role: 'user', content: 'Hello', mine: 1, code: null }
    expect(complete(given)).toStrictEqual(messageSchema.parse(given))
    expect(messageSchema.parse({}).id).toMatch(/^msg_.{21}$/)
  })
})

describe('a content part', () => {
  it.each(parts)('given a $type part with nothing, then nothing is filled in', ({ type }) => {
    expect(completePart({ type })).toStrictEqual({ type })
  })

  it.each(parts.flatMap(({ type, strings }) => strings.map((field) => ({ type, field }))))(
    'given $type.$field, then a string or null is stored, and a number refused',
    ({ type, field }) => {
      for (const value of ['', 'x', null])
        expect(completePart({ type, [field]: value })).toStrictEqual({ type, [field]: value })
      expect(refusal(() => completePart({ type, [field]: 1 })).path).toStrictEqual(['content', 1, field])
    }
  )

  it('given data.data, then an object or null is stored, and all else refused', () => {
    const call = { call_id: 'a', name: 'f', arguments: '{}' }
    for (const data of [call, {}, null])
      expect(completePart({ type: 'data', data })).toStrictEqual({ type: 'data', data })
    for (const data of ['x', 1, []]) {
      expect(refusal(() => completePart({ type: 'data', data })).path).toStrictEqual(['content', 1, 'data'])
    }
  })

  it.each(parts.flatMap(({ type }) => inEveryPart.map((row) => ({ type, ...row }))))(
    'given $type.$field, then it is stored as given or refused',
    ({ type, field, taken, refused }) => {
      for (const value of [...taken, null]) {
        expect(completePart({ type, [field]: value })).toStrictEqual({ type, [field]: value })
      }
      for (const value of refused) {
        expect(refusal(() => completePart({ type, [field]: value })).path).toStrictEqual(['content', 1, field])
      }
    }
  )

  it('given a fault in the error of a part, then INVALID_MESSAGE at that depth', () => {
    const error = refusal(() => complete({ content: [{ type: 'text', error: { code: 1, message: 'm' } }] }, [0]))
    expect(error.path).toStrictEqual([0, 'content', 0, 'error', 'code'])
    expect(error.message).toMatch(/^Refused at \[0\]\.content\[0\]\.error\.code: ./)
  })
})

describe('schemaFormat', () => {
  it.each([[{}], [null], [undefined], [{ '~standard': {} }], [() => true]])(
    'refuses %o, which is no Standard Schema',
    (schema) => {
      expect(() => schemaFormat(schema as never, 'custom')).toThrow(TypeError)
    }
  )

  const dated = z.object({ at: z.string().transform((text) => text.trim()), tags: z.array(z.string()).default([]) })

  it('given zod, then what it answers is stored, frozen', () => {
    const format = schemaFormat(dated, 'dated')
    const stored = format.complete(copyJson({ at: ' now ', dropped: 1 }), [])
    expect(format.name).toBe('dated')
    expect(stored).toStrictEqual({ at: 'now', tags: [] })
    expectFrozen(stored)
  })

  it('given a schema that answers what it was given, then that is stored', () => {
    const copy = copyJson({ any: 1 })
    expect(
      schemaFormat(
        answering((value) => ({ value })),
        'any'
      ).complete(copy, [])
    ).toBe(copy)
  })

  it('given an answer that JSON cannot carry, then INVALID_MESSAGE at its path', () => {
    const schema = z.object({ at: z.string().transform((text) => new Date(text)) })
    expect(refusal(() => schemaFormat(schema, 'x').complete(copyJson({ at: '2026' }), [1])).path).toStrictEqual([
      1,
      'at'
    ])
  })

  const symbol = Symbol('s')
  it.each<{ given: string; issues: unknown[]; path: Path }>([
    { given: 'a path of keys', issues: [{ message: 'no', path: ['a', 0] }], path: [7, 'a', 0] },
    { given: 'a path of segments', issues: [{ message: 'no', path: [{ key: 'a' }, { key: 0 }] }], path: [7, 'a', 0] },
    { given: 'a symbol in the path', issues: [{ message: 'no', path: [symbol] }], path: [7, 'Symbol(s)'] },
    { given: 'no path', issues: [{ message: 'no' }], path: [7] },
    { given: 'no issue', issues: [], path: [7] },
    {
      given: 'several issues',
      issues: [
        { message: 'no', path: ['first'] },
        { message: 'nor this', path: ['second', 'deeper'] }
      ],
      path: [7, 'first']
    }
  ])('given another Standard Schema that refuses with $given, then INVALID_MESSAGE at $path', ({ issues, path }) => {
    const format = schemaFormat(
      answering(() => ({ issues: issues as { message: string }[] })),
      'strict'
    )
    expect(refusal(() => format.complete(copyJson({}), [7])).path).toStrictEqual(path)
  })

  it('given a union, then the path is that of the branch that got furthest', () => {
    const schema = z.object({
      body: z.union([z.string(), z.object({ rows: z.array(z.union([z.number(), z.object({ n: z.number() })])) })])
    })
    const format = schemaFormat(schema, 'union')
    const error = refusal(() => format.complete(copyJson({ body: { rows: [1, { n: 'x' }] } }), []))
    expect(error.path).toStrictEqual(['body', 'rows', 1, 'n'])
  })

  it.each([
    { given: 'zod with an async rule', schema: z.string().refine(() => Promise.resolve(true)) },
    { given: 'a promise that rejects', schema: answering(() => Promise.reject(new Error('late'))) }
  ])('given $given, then a TypeError', ({ schema }) => {
    const format = schemaFormat(schema, 'async')
    expect(() => format.complete('x', [])).toThrow(TypeError)
  })
})

describe('plain', () => {
  it('gives a frozen copy', () => {
    expectFrozen(plain({ a: [{}] }, []))
  })

  it('given what JSON cannot carry, then INVALID_MESSAGE at its path', () => {
    const error = refusal(() => plain({ content: [{ at: new Date(0) }] }, ['messages', 0]))
    expect(error.path).toStrictEqual(['messages', 0, 'content', 0, 'at'])
    expect(error.message).toBe('Refused at messages[0].content[0].at: an instance of Date is not a plain object')
  })

  it('lets errors of others through', () => {
    const broken = new Proxy(
      {},
      {
        ownKeys: () => {
          throw new RangeError('mine')
        }
      }
    )
    expect(() => plain(broken, [])).toThrow(RangeError)
  })
})

describe('checkSize', () => {
  it('given exactly the limit, then it passes; given one byte more, then INVALID_MESSAGE with both sizes', () => {
    const message = { text: 'é' }
    checkSize(message, 13, [0])
    const error = refusal(() => checkSize(message, 12, [0]))
    expect(error).toMatchObject({ path: [0], size: 13, limit: 12 })
  })
})

function complete(given: unknown, path: Path = []): { readonly [key: string]: Json } {
  return defaultFormat(() => 'msg_1').complete(copyJson(given), path) as { readonly [key: string]: Json }
}

function completePart(part: object): unknown {
  const { content } = complete({ content: [{ type: 'text' }, part] }) as unknown as { content: unknown[] }
  return content[1]
}

function answering(validate: StandardSchema['~standard']['validate']): StandardSchema {
  return { '~standard': { version: 1, vendor: 'by hand', validate } }
}

function refusal(call: () => unknown): TurnlogErrorOf<'INVALID_MESSAGE'> {
  try {
    call()
  } catch (error) {
    if (isTurnlogError(error, 'INVALID_MESSAGE')) return error
    throw error
  }
  throw new Error('it was not refused')
}

function expectFrozen(value: Json): void {
  expect(Object.isFrozen(value)).toBe(true)
  if (typeof value === 'object' && value !== null) Object.values(value).forEach(expectFrozen)
}
