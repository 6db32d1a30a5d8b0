import { deepStrictEqual } from 'node:assert/strict'
import { runInNewContext } from 'node:vm'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Path } from '../src/errors.ts'
import { bytesOver, copyJson, equalJson, formatPath, hashJson, NotJson, type Json } from '../src/json.ts'

describe('copyJson', () => {
  it.each<{ given: string; value: unknown; copy: Json }>([
    { given: 'null', value: null, copy: null },
    { given: 'a string with \\u0000 and a lone surrogate', value: 'a\u0000\ud800', copy: 'a\u0000\ud800' },
    { given: 'the largest number', value: Number.MAX_VALUE, copy: Number.MAX_VALUE },
    { given: '-0', value: [-0], copy: [0] },
    { given: 'a property that is undefined', value: { a: undefined, b: { c: undefined } }, copy: { b: {} } },
    { given: 'an object without a prototype', value: Object.assign(Object.create(null), { a: 1 }), copy: { a: 1 } },
    { given: 'plain data of another realm', value: runInNewContext('({ a: [{ b: 1 }] })'), copy: { a: [{ b: 1 }] } },
    {
      given: 'a property that is not enumerable',
      value: Object.defineProperty({ a: 1 }, 'b', { value: 2 }),
      copy: { a: 1 }
    },
    { given: 'a list with a name on it', value: Object.assign([1], { name: 'x' }), copy: [1] },
    {
      given: 'keys that objects inherit',
      value: { constructor: 1, toString: null },
      copy: { constructor: 1, toString: null }
    }
  ])('given $given, then a copy as JSON gives it back', ({ value, copy }) => {
    expect(copyJson(value)).toStrictEqual(copy)
    expect(JSON.stringify(copyJson(value))).toBe(JSON.stringify(value))
  })

  it('keeps the order of keys', () => {
    expect(Object.keys(copyJson({ b: 1, a: 2, 1: 3 }) as object)).toStrictEqual(['1', 'b', 'a'])
  })

  it('takes __proto__ for a key like any other', () => {
    const value = JSON.parse('{"__proto__":{"admin":true},"a":{"__proto__":1}}') as object
    const copy = copyJson(value) as Record<string, Json>
    deepStrictEqual(copy, value)
    expect(Object.getPrototypeOf(copy)).toBe(Object.prototype)
    expect(copy['admin']).toBeUndefined()
  })

  it('shares nothing, and is frozen all through', () => {
    const inner = { list: [{ a: 1 }] }
    const copy = copyJson({ inner }) as { inner: { list: { a: number }[] } }
    inner.list[0]!.a = 2
    expect(copy).toStrictEqual({ inner: { list: [{ a: 1 }] } })
    for (const value of [copy, copy.inner, copy.inner.list, copy.inner.list[0]])
      expect(Object.isFrozen(value)).toBe(true)
  })

  it('copies what occurs twice, twice', () => {
    const shared = { a: 1 }
    expect(copyJson([shared, shared, { shared }])).toStrictEqual([{ a: 1 }, { a: 1 }, { shared: { a: 1 } }])
  })

  const cyclic: { list: unknown[] } = { list: [0] }
  cyclic.list.push({ back: cyclic.list })
  class Point {
    readonly x = 1
  }

  it.each<{ given: string; value: unknown; path: Path }>([
    { given: 'undefined', value: undefined, path: [] },
    { given: 'a function', value: { a: [() => 1] }, path: ['a', 0] },
    { given: 'a symbol', value: { a: Symbol('x') }, path: ['a'] },
    { given: 'a key that is a symbol', value: { a: { [Symbol('x')]: 1 } }, path: ['a'] },
    { given: 'a bigint', value: [1n], path: [0] },
    { given: 'NaN', value: { 'a b': Number.NaN }, path: ['a b'] },
    { given: 'an infinity', value: [0, -Infinity], path: [1] },
    { given: 'undefined in a list', value: [1, undefined], path: [1] },
    { given: 'a hole in a list', value: { a: Object.assign([], { 2: 1 }) }, path: ['a', 0] },
    {
      given: 'a getter',
      value: {
        get a() {
          throw new Error('it must not run')
        }
      },
      path: ['a']
    },
    { given: 'a getter in a list', value: Object.defineProperty([1, 2], 1, { get: () => 2 }), path: [1] },
    { given: 'a cycle', value: { cyclic }, path: ['cyclic', 'list', 1, 'back'] },
    { given: 'a date', value: { at: new Date(0) }, path: ['at'] },
    { given: 'a date of another realm', value: { at: runInNewContext('new Date(0)') as unknown }, path: ['at'] },
    { given: 'a map', value: [new Map()], path: [0] },
    { given: 'a boxed string', value: [Object('x') as unknown], path: [0] },
    { given: 'bytes', value: { data: new Uint8Array(1) }, path: ['data'] },
    { given: 'an instance of a class', value: { __proto__: null, p: new Point() }, path: ['p'] },
    { given: 'an object that inherits', value: Object.create({ a: 1 }), path: [] },
    { given: 'toJSON', value: { toJSON: () => 1 }, path: ['toJSON'] }
  ])('given $given, then NotJson at $path', ({ value, path }) => {
    expect(notJson(value).path).toStrictEqual(path)
  })

  it('says what it refused, and where', () => {
    expect(notJson({ a: [new Point()] }).message).toBe('an instance of Point is not a plain object at a[0]')
  })

  it('given 1000 levels below the outermost, then a copy; given one more, then NotJson', () => {
    expect(JSON.stringify(copyJson(nested(1001)))).toBe(JSON.stringify(nested(1001)))
    expect(notJson(nested(1002)).path).toHaveLength(1001)
  })

  it('gives what JSON.parse(JSON.stringify(value)) gives', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        deepStrictEqual(copyJson(value), JSON.parse(JSON.stringify(value)))
      }),
      { numRuns: 1000 }
    )
  })
})

describe('equalJson', () => {
  it.each<[Json | undefined, Json | undefined, boolean]>([
    [1, 1, true],
    [1, '1', false],
    [null, undefined, false],
    [undefined, undefined, true],
    [null, {}, false],
    ['', null, false],
    [{ a: 1, b: [{ c: null }] }, { b: [{ c: null }], a: 1 }, true],
    [{ a: 1 }, { a: 1, b: 1 }, false],
    [{ a: 1, b: 1 }, { a: 1 }, false],
    [{ a: 1 }, { b: 1 }, false],
    [[1, 2], [2, 1], false],
    [[1], [1, 2], false],
    [[], {}, false],
    [{}, [], false],
    [['a'], { 0: 'a' }, false],
    [{ toString: null }, {}, false],
    [JSON.parse('{"__proto__":{}}') as Json, {}, false],
    [JSON.parse('{"__proto__":{}}') as Json, { a: {} }, false],
    [JSON.parse('{"__proto__":{"a":1}}') as Json, JSON.parse('{"__proto__":{"a":1}}') as Json, true]
  ])('given %j and %j, then %j', (a, b, equal) => {
    expect(equalJson(a, b)).toBe(equal)
    expect(equalJson(b, a)).toBe(equal)
  })
})

describe('hashJson', () => {
  it('is the SHA-256 of the canonical JSON', () => {
    // printf '{"":[],"a":[1,null,{"c":"é","d":true}],"b":0.1}' | sha256sum
    expect(hashJson({ 'b': 0.1, 'a': [1, null, { d: true, c: 'é' }], '': [] })).toBe(
      '25d4e80ac9415d84bb2aeeae780f57d3f8f30f5b8bf58628b30687602b5a4be5'
    )
  })

  it('given equal values, then equal hashes; given others, then others', () => {
    fc.assert(
      fc.property(json(), json(), (a, b) => {
        expect(hashJson(a)).toBe(hashJson(reversed(a)))
        expect(hashJson(a) === hashJson(b)).toBe(equalJson(a, b))
      }),
      { numRuns: 500 }
    )
  })
})

describe('bytesOver', () => {
  const longest = -1.2345678901234567e-6

  it.each<{ given: string; value: Json }>([
    { given: 'null', value: null },
    { given: 'the longest number', value: longest },
    { given: 'a list of the longest numbers', value: Array.from({ length: 20 }, () => longest) },
    { given: 'a longest number under an empty key', value: { '': longest } },
    { given: 'control characters, as keys and values', value: { '\u0000\u0001': '\u0000\u001f"\\' } },
    { given: 'lone surrogates', value: ['\ud800', '\udfff'] },
    { given: 'two, three and four bytes a character', value: ['é', '€', '😀'] },
    { given: 'nothing', value: [{}, [], ''] }
  ])('given $given, then its size if that is over the limit', ({ value }) => {
    const size = Buffer.byteLength(JSON.stringify(value))
    expect([size - 1, size, size + 1].map((limit) => bytesOver(value, limit))).toStrictEqual([size, 0, 0])
  })

  it('given anything, then its size if that is over the limit', () => {
    fc.assert(
      fc.property(json(), fc.nat(200), (value, limit) => {
        const size = Buffer.byteLength(JSON.stringify(value))
        expect(bytesOver(value, limit)).toBe(size > limit ? size : 0)
        expect(bytesOver(value, size)).toBe(0)
        expect(bytesOver(value, size - 1)).toBe(size)
      }),
      { numRuns: 1000 }
    )
  })
})

describe('formatPath', () => {
  it.each<[Path, string]>([
    [[], 'the value'],
    [['a'], 'a'],
    [[0, 'content', 2, 'text'], '[0].content[2].text'],
    [['a', 'b c', '0', '', '__proto__', '$x'], 'a["b c"]["0"][""].__proto__.$x']
  ])('given %j, then %s', (path, text) => {
    expect(formatPath(path)).toBe(text)
  })
})

function json(): fc.Arbitrary<Json> {
  return fc.jsonValue().map(copyJson)
}

function notJson(value: unknown): NotJson {
  try {
    copyJson(value)
  } catch (error) {
    if (error instanceof NotJson) return error
    throw error
  }
  throw new Error('it was copied')
}

function nested(levels: number): Json {
  let value: Json = []
  for (let i = 1; i < levels; i++) value = i % 2 ? { a: value } : [value]
  return value
}

function reversed(value: Json): Json {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return (value as Json[]).map(reversed)
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([key, member]) => [key, reversed(member)])
  )
}
