import { createRequire } from 'node:module'
import type Driver from 'better-sqlite3'

// The peers' packages bring a copy of their own, which is not compiled: all who use this driver here use turnlog's.
const require = createRequire(new URL('../../package.json', import.meta.url))

export const Database = require('better-sqlite3') as typeof Driver
export type Database = Driver.Database
