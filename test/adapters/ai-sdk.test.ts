import { describe, expect, it } from 'vitest'
import { scenario } from './ai-sdk-scenario.ts'
import { freshStore, STORES } from './kit.ts'

describe.each(STORES)('a chat of the AI SDK over %s', (kind) => {
  it('goes through the scenario', () => scenario(freshStore(kind)))
})
