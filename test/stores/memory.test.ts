import { describe, expect, it } from 'vitest'
import { memoryStore } from '../../src/stores/memory.ts'
import { testEventStore } from '../../src/testing.ts'
testEventStore({ describe, it, expect }, { name: 'memoryStore', create: memoryStore })
