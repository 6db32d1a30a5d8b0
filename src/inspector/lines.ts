import type { Json, JsonObject } from '../json.ts'
import type { Session } from '../session.ts'
import { short } from './messages.ts'
import type { SessionLine } from './wire.ts'

/** How many facts a line has. */
const FACTS = 6

/** A session on a line of a list. */
export function sessionLine(session: Session<unknown>): SessionLine {
  const { userId, id, version, createdAt, updatedAt, metadata, format, forkedFrom, turn } = session
  const title = titleOf(metadata)
  return {
    userId,
    id,
    version,
    createdAt,
    updatedAt,
    ...(title !== undefined && { title }),
    facts: factsOf(metadata).slice(0, FACTS),
    format: short(format),
    ...(forkedFrom && { forkedFrom }),
    ...(turn && { turn: turnOf(turn) })
  }
}

/** A turn as it is shown. */
export function turnOf({ owner, expiresAt }: NonNullable<Session['turn']>): NonNullable<SessionLine['turn']> {
  return { ...(owner !== undefined && { owner: short(owner) }), expiresAt }
}

/** What a session is called in its metadata. */
export function titleOf({ title }: JsonObject): string | undefined {
  return typeof title === 'string' && title.trim() !== '' ? short(title) : undefined
}

// Whatever fits on a line; an import keeps what a file says of a conversation under `facts`.
function factsOf(metadata: JsonObject): (readonly [string, string])[] {
  return Object.entries(metadata)
    .slice(0, 100)
    .flatMap(([key, value]): (readonly [string, string])[] => {
      if (key === 'title') return []
      if (key === 'facts' && isObject(value)) return factsOf(value)
      return typeof value === 'object' ? [] : [[short(key).slice(0, 40), short(String(value)).slice(0, 60)]]
    })
}

function isObject(value: Json): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Whether a session is one that is searched for: by text in its id, title, or any fact; or by exactly a fact, as `reward=0` or `reward:0`. */
export function isSought(line: SessionLine, search: string): boolean {
  const sought = search.trim().toLowerCase()
  const facts = line.facts.map(([key, value]) => `${key} ${value}`)
  const isText = [line.id, line.title ?? '', line.format, ...facts].some((text) => text.toLowerCase().includes(sought))
  return isText || line.facts.some((fact) => ['=', ':'].some((sign) => fact.join(sign).trim().toLowerCase() === sought))
}
