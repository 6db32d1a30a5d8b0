import assert from 'node:assert/strict'
import type { EventStore } from './store.ts'
import { forks, purging } from './testing/forks.ts'
import type { Test, Tests } from './testing/kit.ts'
import { listingHeads, listingSessions, listingUsers, touching } from './testing/lists.ts'
import { appending, contents, heads, names, reading } from './testing/logs.ts'
import { closed, durability, opening, sharing } from './testing/objects.ts'
import { sharedWatching, watching } from './testing/watching.ts'

/**
 * What the suite needs of a test runner: vitest, jest, mocha, `node:test` and `bun:test` have it. It asserts with
 * `node:assert`, so an `expect` may be there but is not used.
 */
export interface TestRunner {
  readonly describe: (title: string, define: () => void) => unknown
  readonly it: ((title: string, test: () => Promise<void>) => unknown) & {
    /** How skipped tests are reported; without it they pass, by their title as skipped. */
    readonly skip?: (title: string, test: () => Promise<void>) => unknown
  }
  readonly expect?: unknown
}

/** Which store is tested, and how the suite gets one. */
export interface EventStoreTestOptions {
  /** Stands in the title of the suite. */
  readonly name: string
  /**
   * Makes a store that is empty and not yet open: one for each test, and one when the tests are defined, which is only
   * asked what it supports and is never opened.
   */
  readonly create: () => EventStore
  /**
   * Makes another object, not yet open, over the data of `store`, which is closed or, if it is shared, may be open.
   * Required of a store that is durable; of one that is only shared, what needs a second object is skipped without it.
   */
  readonly reopen?: (store: EventStore) => EventStore
  /** Removes the data of a store that `create` made, after its test. All objects over the data are closed by then. */
  readonly dispose?: (store: EventStore) => void | Promise<void>
  /**
   * What the store is excused from: the title of a test or of a group of tests, and the reason, which is shown.
   *
   * @default {} What it does not support, by its own `supports`, is skipped in any case, with that as the reason.
   */
  readonly skip?: Readonly<Record<string, string>>
}

/**
 * Defines the tests that every {@link EventStore} has to pass; their titles are the specification. They store commits of
 * up to 64 KB, and one of the smaller of 1 MB and `maxCommitBytes`. A hint of `watch` that never comes is a test that
 * never ends: the time limit is the runner's.
 *
 * @throws `TypeError` where `skip` gives no reason or names no test.
 *
 * @example
 * import { describe, it } from 'vitest'
 * import { testEventStore } from 'turnlog/testing'
 *
 * testEventStore({ describe, it }, { name: 'myStore', create: () => myStore() })
 */
export function testEventStore({ describe, it }: TestRunner, options: EventStoreTestOptions): void {
  const skip = new Map(Object.entries(options.skip ?? {}))
  const groups = groupsFor(options.create().supports, options.reopen !== undefined)
  const titles = new Set(groups.flatMap(({ title, tests }) => [title, ...Object.keys(tests)]))
  for (const [title, reason] of skip) {
    if (!titles.has(title)) throw new TypeError(`The option skip names ${JSON.stringify(title)}: there is no such test`)
    if (!reason.trim()) throw new TypeError(`The option skip gives no reason for ${JSON.stringify(title)}`)
  }

  describe(`${options.name} as an event store`, () => {
    for (const { title: groupTitle, lacks, tests } of groups) {
      describe(groupTitle, () => {
        for (const [title, test] of Object.entries(tests)) {
          const reason = lacks ?? skip.get(groupTitle) ?? skip.get(title)
          if (reason === undefined) it(title, () => runTest(test, options))
          else if (it.skip) it.skip(`${title} (skipped: ${reason})`, () => runTest(test, options))
          else it(`${title} (skipped: ${reason})`, async () => undefined)
        }
      })
    }
  })
}

interface Group {
  readonly title: string
  readonly tests: Tests
  /** What the store does not support and the tests need. */
  readonly lacks?: string | undefined
}

function groupsFor({ durable, shared, push }: EventStore['supports'], canReopen: boolean): readonly Group[] {
  const silent = push ? undefined : 'the store does not push'
  const alone = !shared ? 'the store is not shared' : canReopen ? undefined : 'the option reopen is not given'
  return [
    { title: 'opening and closing', tests: opening },
    { title: 'a closed store', tests: closed },
    { title: 'appending', tests: appending },
    { title: 'content', tests: contents },
    { title: 'heads', tests: heads },
    { title: 'reading', tests: reading },
    { title: 'listing sessions', tests: listingSessions },
    { title: 'listing users', tests: listingUsers },
    { title: 'listing heads', tests: listingHeads },
    { title: 'touching', tests: touching },
    { title: 'forks', tests: forks },
    { title: 'purging', tests: purging },
    { title: 'names', tests: names },
    { title: 'watching', tests: watching, lacks: silent },
    {
      title: 'a new object over the same data',
      tests: durability,
      lacks: durable ? undefined : 'the store is not durable'
    },
    { title: 'two objects over the same data', tests: sharing, lacks: alone },
    { title: 'watching between two objects', tests: sharedWatching, lacks: alone ?? silent }
  ]
}

async function runTest(test: Test, { create, reopen, dispose }: EventStoreTestOptions): Promise<void> {
  const store = create()
  const created = [store]
  const objects = [store]
  try {
    await store.open()
    await test(store, {
      create() {
        const another = create()
        created.push(another)
        objects.push(another)
        return another
      },
      reopen() {
        assert(reopen, 'the suite needs the option reopen')
        const again = reopen(store)
        objects.push(again)
        return again
      }
    })
  } finally {
    for (const object of objects) await object.close()
    for (const object of created) await dispose?.(object)
  }
}
