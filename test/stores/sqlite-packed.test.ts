import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { pack, unpack } from '../../src/stores/sqlite/packed.ts'
import type { EncodedCommit } from '../../src/stores/sqlite/writer.ts'

const text = fc.string({ unit: 'binary' })
const version = fc.nat()

const commit = fc
  .record({
    userId: text,
    sessionId: text,
    logId: text,
    expectedVersion: version,
    updatedAt: fc.maxSafeNat(),
    deleted: fc.boolean(),
    summary: text,
    events: fc.array(text),
    parent: fc.option(fc.record({ logId: text, version }, { noNullPrototype: true }), { nil: undefined })
  })
  .map((given): EncodedCommit => ({ ...given, version: given.expectedVersion + given.events.length }))

it('commits come out of their packing as they went in', () => {
  fc.assert(
    fc.property(fc.array(commit), (commits) => {
      expect(unpack(structuredClone(pack(commits)!))).toStrictEqual(commits)
    })
  )
})
