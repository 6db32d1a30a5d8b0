/** What a measure may come to: at `most` or at `least`. `repeats` where it is no count: it has so many attempts to be within. */
export interface Limit {
  readonly most?: number
  readonly least?: number
  readonly repeats?: number
}

/**
 * The limits of `npm run guard`, each above the promise of the README that it guards by more than the noise. Counts have none; sizes
 * vary by a few percent from run to run, ratios of times by some ten percent, and more on a machine that is busy.
 */
export const LIMITS = {
  // "a turn of an agent at 3,000 turns 100 µs, the same at 100 turns 50 µs": no append copies what is there. Bytes allocated by an
  // append at 4,000 messages, over those at 100.
  appendBytesGrowth: { most: 1.5, repeats: 3 },
  // "one awaited append": bytes that one to a short session allocates, of a message of 220 bytes; about 18,000.
  appendBytes: { most: 25_000, repeats: 3 },
  // "snapshots share what they have in common": bytes that reading all after a write allocates for each message that was there
  // before. A pointer in the new array, and another while it is made; a copied message is 300.
  turnBytesPerMessage: { most: 24, repeats: 3 },
  // The same promise as the first, by the clock, where work allocates nothing: a turn at 8,000 messages over one at 200 (4,000 and 100 turns). To reach: 2.
  turnTimeGrowth: { most: 4, repeats: 3 },
  // "MemorySession 22,800 µs": how many turns at 6,000 messages pass while such a history is copied once by structuredClone. To
  // reach against MemorySession, which does that each turn: 200.
  turnsWhileCopied: { least: 50, repeats: 3 },
  // Reading what has not changed gives one and the same snapshot: how many different ones 100 reads give.
  unchangedSnapshots: { most: 1 },
  // And makes nothing: bytes that a read of 4,000 messages allocates when nothing was written since the last; about 5,500.
  unchangedReadBytes: { most: 12_000, repeats: 3 },
  // "Reading a past version of a session that is in memory replays nothing": events that the store gives
  // for 100 such reads.
  pastReadEvents: { most: 0 },
  // "reading any past version, before `messages` 8.4 µs": bytes that it allocates, of 4,000; about 5,000.
  pastReadBytes: { most: 9_000, repeats: 3 },
  // Each session has one writer, which knows its log: an append asks the store once, for itself.
  appendCalls: { most: 1 },
  // "20,000 appends at once to one session: 31,000/s": calls of the store for 1,000 appends at once.
  burstCalls: { most: 10 },
  // "memory of a session in use: 5.4 KB". To reach: 6 KB.
  sessionBytes: { most: 6_144, repeats: 3 },
  // "of an event, beyond its message: 760 bytes". To reach: 800 bytes. Here with its message, of about 520.
  eventBytes: { most: 1_400, repeats: 3 },
  // A live subscriber reads what is new, not the log: events read for each that is appended to a log of 1,000.
  subscribedEvents: { most: 1 },
  // "one awaited append at a time": statements of an append, BEGIN and COMMIT among them.
  sqliteAppendStatements: { most: 4 },
  // "the service asks for the head before each read", and nothing else where nobody else has written.
  sqliteReadStatements: { most: 1 },
  // "first page of 50 of 10,000 sessions": one statement, with no events read, whatever the sessions contain.
  sqliteListStatements: { most: 1 },
  sqliteListEvents: { most: 0 },
  // "Commits that arrive together share one transaction": transactions for 640 appends from 64 sessions at once.
  sqliteTransactions: { most: 60 },
  // "fork: copies nothing": events read for a fork of a session in memory, and statements.
  sqliteForkEvents: { most: 0 },
  sqliteForkStatements: { most: 8 },
  // "fork of 100,000 messages; its bytes in the file: 815". To reach: 1 KB. Of 1,000 messages: pages are full or empty, so
  // it comes to a few more or less.
  sqliteForkBytes: { most: 1_024 },
  // `last`: only so many of the newest messages, of a session that is not in memory, are read from the end: events read for 10 of 5,000.
  sqliteLastEvents: { most: 64 },
  // "loading a session": statements for 5,000 messages, 500 rows each.
  sqliteLoadStatements: { most: 13 }
} as const satisfies Readonly<Record<string, Limit>>

export type MeasureName = keyof typeof LIMITS
