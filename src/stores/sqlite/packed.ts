import type { EncodedCommit } from './writer.ts'

/**
 * Commits as they cross to another thread: all strings as one, and all numbers in one list. What is sent is paid for by
 * the object and the string, not by the byte.
 */
export interface PackedCommits {
  readonly text: string
  /** Of each commit: expected version, time, whether deleted, the parent's version or -1, the number of events; then the lengths of its strings. */
  readonly numbers: Float64Array<ArrayBuffer>
}

/** `undefined`: it would be more than a string can hold. */
export function pack(commits: readonly EncodedCommit[]): PackedCommits | undefined {
  const texts: string[] = []
  const numbers: number[] = []
  for (const { userId, sessionId, logId, summary, parent, events, expectedVersion, updatedAt, deleted } of commits) {
    const strings = [userId, sessionId, logId, summary, parent?.logId ?? '', ...events]
    numbers.push(expectedVersion, updatedAt, Number(deleted), parent?.version ?? -1, events.length)
    for (const string of strings) {
      texts.push(string)
      numbers.push(string.length)
    }
  }
  let length = 0
  for (const text of texts) length += text.length
  return length > LONGEST_TEXT ? undefined : { text: texts.join(''), numbers: new Float64Array(numbers) }
}

export function unpack({ text, numbers }: PackedCommits): EncodedCommit[] {
  const commits: EncodedCommit[] = []
  let at = 0
  let place = 0
  const number = (): number => numbers[at++]!
  const string = (): string => {
    const start = place
    place += number()
    return text.slice(start, place)
  }
  while (at < numbers.length) {
    const [expectedVersion, updatedAt, deleted, parentVersion, count] = [
      number(),
      number(),
      number(),
      number(),
      number()
    ]
    const [userId, sessionId, logId, summary, parentLogId] = [string(), string(), string(), string(), string()]
    commits.push({
      userId,
      sessionId,
      logId,
      expectedVersion,
      version: expectedVersion + count,
      updatedAt,
      deleted: deleted === 1,
      summary,
      events: Array.from({ length: count }, string),
      parent: parentVersion < 0 ? undefined : { logId: parentLogId, version: parentVersion }
    })
  }
  return commits
}

/** Characters; V8's strings end at about four times as many. */
const LONGEST_TEXT = 2 ** 27
