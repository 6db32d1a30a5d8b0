import { describe, expect, it } from 'vitest'
import { scenario } from './adk-scenario.ts'
import { freshStore, STORES } from './kit.ts'

describe.each(STORES)('the session service of ADK over %s', (kind) => {
  it('goes through its scenario', () => scenario(freshStore(kind)))
})
