import { isMainThread } from 'node:worker_threads'
import { register } from 'tsx/esm/api'

// tsx lets the main thread run TypeScript, and no other. What is preloaded runs in each.
if (!isMainThread) register()
