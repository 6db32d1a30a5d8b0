import { describe, it } from 'vitest'
import { freshStore, STORES } from './kit.ts'
import { scenario } from './langgraph-scenario.ts'
describe.each(STORES)('LangGraph on %s', (kind) => {
  it('goes through the scenario', () => scenario(freshStore(kind)))
})
