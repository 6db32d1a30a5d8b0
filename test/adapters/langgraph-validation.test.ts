import { deltaChannelHistoryTests, validate } from '@langchain/langgraph-checkpoint-validation'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { TurnlogSaver } from '../../src/adapters/langgraph.ts'
import type { SessionHistoryService } from '../../src/index.ts'
import { freshStore, STORES } from './kit.ts'

// LangGraph's own suite, which takes these to be there.
Object.assign(globalThis, { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it })

for (const kind of STORES) {
  const open = freshStore(kind)
  let history: SessionHistoryService
  let users = 0
  beforeAll(async () => {
    history = await open()
  })
  afterAll(() => history.stop())
  const initializer = {
    checkpointerName: `TurnlogSaver on ${kind}`,
    // Each of a user of its own: one who has no threads yet.
    createCheckpointer: () => new TurnlogSaver({ history, userId: `user ${users++}` })
  }
  validate(initializer)
  deltaChannelHistoryTests(initializer)
}
