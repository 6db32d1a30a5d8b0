import { createHash } from 'node:crypto'
import { keyString, type SessionKey } from '../../store.ts'

/** Where a log is: a subject, and the stream that has it. */
export interface Place {
  readonly stream: string
  readonly subject: string
}

/** How many places are remembered. */
const REMEMBERED = 100_000

/** The names of streams and subjects. Ids are hashed: they may be any strings, and longer than a subject may be. */
export class Layout {
  readonly #prefix: string
  readonly #streams: number
  readonly #places = new Map<string, Place>()

  constructor(prefix: string, streams: number) {
    this.#prefix = prefix
    this.#streams = streams
  }

  /** The streams of the logs. */
  get streams(): readonly { readonly name: string; readonly subjects: string }[] {
    return Array.from({ length: this.#streams }, (_, i) => {
      return { name: `${this.#prefix}-${i}`, subjects: `${this.#prefix}.log.${i}.*.*` }
    })
  }

  /** The stream with a pointer from each log to each fork that holds a copy of its beginning. */
  get pointers(): { readonly name: string; readonly subjects: string } {
    return { name: `${this.#prefix}-forks`, subjects: `${this.#prefix}.fork.*.*.*.*` }
  }

  place(key: SessionKey): Place {
    const name = keyString(key)
    const known = this.#places.get(name)
    if (known) return known
    const user = hash(key.userId)
    const i = this.#streamOf(user)
    const place = {
      stream: `${this.#prefix}-${i}`,
      subject: `${this.#prefix}.log.${i}.${user.toString('base64url')}.${hash(key.sessionId).toString('base64url')}`
    }
    remember(this.#places, name, place)
    return place
  }

  /** All logs of a user. */
  ofUser(userId: string): Place {
    const user = hash(userId)
    const i = this.#streamOf(user)
    return { stream: `${this.#prefix}-${i}`, subject: `${this.#prefix}.log.${i}.${user.toString('base64url')}.*` }
  }

  /** The place of a log whose subject is known. */
  placeAt(subject: string): Place {
    const [, i] = subject.slice(this.#prefix.length + 1).split('.')
    return { stream: `${this.#prefix}-${i}`, subject }
  }

  /** The pointer from a log to a fork; without one, from it to any. */
  pointer(logId: string, fork?: Place): Place {
    const rest = fork ? this.#logPart(fork.subject) : '*.*.*'
    const subject = `${this.#prefix}.fork.${hash(logId).toString('base64url')}.${rest}`
    return { stream: this.pointers.name, subject }
  }

  /** The fork that a pointer leads to. */
  forkAt(pointer: string): Place {
    const rest = pointer.slice(`${this.#prefix}.fork.`.length).split('.').slice(1).join('.')
    return this.placeAt(`${this.#prefix}.log.${rest}`)
  }

  /** Where those who watch are told that the log there was purged; without one, of all. It is not stored. */
  purged(place?: Place): string {
    return `${this.#prefix}.purged.${place ? this.#logPart(place.subject) : '*.*.*'}`
  }

  /** The log that such a notice is of. */
  purgedAt(subject: string): string {
    return `${this.#prefix}.log.${subject.slice(`${this.#prefix}.purged.`.length)}`
  }

  #logPart(subject: string): string {
    return subject.slice(`${this.#prefix}.log.`.length)
  }

  #streamOf(user: Buffer): number {
    return user.readUInt32BE() % this.#streams
  }
}

/** Sets what is remembered, and forgets what was first remembered where that is too much. */
export function remember<T>(map: Map<string, T>, key: string, value: T): void {
  map.set(key, value)
  if (map.size > REMEMBERED) for (const oldest of map.keys()) return void map.delete(oldest)
}

// Unpaired surrogates would be one in UTF-8.
function hash(id: string): Buffer {
  return createHash('sha256').update(id, 'utf16le').digest()
}
