import { hashesOf, hashOf, arrayOf, type EncodedCommit } from './encode.ts'
import { ServerError, type Connections, type PostgresValue } from './connections.ts'
import type { Names } from './schema.ts'
import type { Head, SessionKey } from '../../store.ts'

/** Whether a commit was stored. */
export type Outcome = 'stored' | 'conflict' | 'orphaned'

/** Writes to the tables. */
export class LogWriter {
  readonly #connections: Connections
  readonly #names: Names
  readonly #statements: ReturnType<typeof statementsFor>

  constructor(connections: Connections, names: Names) {
    this.#connections = connections
    this.#names = names
    this.#statements = statementsFor(names)
  }

  /**
   * Commits of sessions that are all different, each answered at its place.
   *
   * @throws {ServerError} where nothing is known of any, or nothing was stored
   */
  async append(commits: readonly EncodedCommit[]): Promise<Outcome[]> {
    const outcomes: Outcome[] = commits.map(() => 'conflict')
    const begins = commits.some(({ expectedVersion }) => expectedVersion === 0)
    if (commits.length > 1 && begins && commits.some(({ expectedVersion }) => expectedVersion > 0))
      throw new TypeError('Either all of the commits begin a log, or none')
    const { follow, begin } = this.#statements
    const { channel } = this.#names
    const all = (valueOf: (commit: EncodedCommit) => PostgresValue): string => arrayOf(commits.map(valueOf))
    const places: number[] = []
    const versions: number[] = []
    const bodies: string[] = []
    for (const [place, { expectedVersion, events }] of commits.entries()) {
      for (const [i, body] of events.entries()) {
        places.push(place)
        versions.push(expectedVersion + i + 1)
        bodies.push(body)
      }
    }
    const values = [
      channel,
      arrayOf(places),
      arrayOf(versions),
      arrayOf(bodies),
      arrayOf(commits.map((_, place) => place)),
      all(({ owner }) => owner),
      all(({ session }) => session),
      all(({ logId }) => JSON.stringify(logId)),
      all(({ version }) => version),
      all(({ updatedAt }) => updatedAt),
      all(({ deleted }) => deleted),
      all(({ summary }) => summary),
      ...(begins
        ? [
            all(({ place }) => place),
            all(({ name }) => name),
            all(({ logId }) => hashOf(logId)),
            all(({ parent }) => (parent ? hashOf(parent.logId) : null)),
            all(({ parent }) => parent?.version ?? null)
          ]
        : [all(({ expectedVersion }) => expectedVersion)])
    ]
    const [answer] = await this.#persistently(() =>
      this.#connections.askPrepared<{ stored: number[] | null; orphaned?: number[] | null }>(
        begins ? begin : follow,
        values
      )
    )
    for (const place of answer?.stored ?? []) outcomes[place] = 'stored'
    for (const place of answer?.orphaned ?? []) outcomes[place] = 'orphaned'
    return outcomes
  }

  async touch(logId: string, at: number): Promise<void> {
    await this.#persistently(() =>
      this.#connections.ask(this.#statements.touch, [hashOf(logId), JSON.stringify(logId), at])
    )
  }

  async purge(key: SessionKey, end: Pick<Head, 'logId' | 'version'> | undefined): Promise<void> {
    const { named, unname, release, needed, cut, remove, trunk, notify } = this.#statements
    const { owner, session } = hashesOf(key)
    await this.#persistently(() =>
      this.#connections.transaction(async (connection) => {
        const [found] = await connection.ask<{ log_id: string; version: number }>(named, [owner, session])
        if (!found) return false
        const logId = JSON.parse(found.log_id) as string
        if (end && (end.logId !== logId || end.version !== found.version)) return false
        await connection.ask(unname, [owner, session])
        await connection.ask(notify, [this.#names.channel, owner, session])
        interface Log {
          readonly log: Buffer
          readonly key: string
          readonly parent: Buffer | null
          readonly is_named: boolean
        }
        // Locked from here on, so that no fork of it begins.
        let [log] = await connection.ask<Log>(release, [hashOf(logId)])
        while (log && !log.is_named) {
          const [{ kept } = { kept: 0 }] = await connection.ask<{ kept: number }>(needed, [log.log])
          await connection.ask(cut, [log.key, kept])
          if (kept > 0) {
            await connection.ask(this.#statements.keep, [log.log, kept])
            break
          }
          await connection.ask(remove, [log.log])
          // Of a log that nobody needs any more, its own beginning goes, too, unless it is needed or has a name. It is locked in any case:
          // if it is being purged as well, whoever has the lock last finds that nobody needs it.
          ;[log] = log.parent ? await connection.ask<Log>(trunk, [log.parent]) : []
        }
        return true
      })
    )
  }

  // Whom the server chooses to give way to another is to try again: nothing was stored.
  async #persistently<T>(ask: () => Promise<T>): Promise<T> {
    for (let tries = 10; ; tries--) {
      try {
        return await ask()
      } catch (error) {
        if (!(error instanceof ServerError && error.code === DEADLOCK) || tries === 0) throw error
      }
    }
  }
}

const DEADLOCK = '40P01'

/** Eight of a session's bytes: enough for a hint, and 400 of them in what NOTIFY takes. */
const TAG = "encode(substr(owner, 1, 4) || substr(session, 1, 4), 'hex')"

/** The most commits that a statement may have: what NOTIFY tells has at most 8,000 bytes. */
export const LARGEST_GROUP = 400

function statementsFor({ sessions, logs, events }: Names): Record<StatementName, string> {
  const notified = `CASE WHEN count(*) > 0 THEN pg_notify($1, string_agg(${TAG}, '')) END`
  const given = 'unnest($2::integer[], $3::integer[], $4::text[]) AS event (nr, version, body)'
  return {
    // Rows are locked in the order of their keys before any is changed: two groups never wait for each other. A row that was changed while
    // this waited for it is looked at anew.
    follow: `
      WITH given AS (
        SELECT * FROM unnest($5::integer[], $6::bytea[], $7::bytea[], $8::text[], $9::integer[], $10::double precision[], $11::boolean[],
          $12::text[], $13::integer[]) AS given (nr, owner, session, log_id, version, updated, deleted, summary, expected)
      ), locked AS (
        SELECT given.* FROM given JOIN ${sessions} AS log USING (owner, session)
        WHERE log.log_id = given.log_id AND log.version = given.expected
        ORDER BY owner, session FOR UPDATE OF log
      ), followed AS (
        UPDATE ${sessions} AS log
        SET version = locked.version, updated = locked.updated, deleted = locked.deleted, summary = locked.summary
        FROM locked WHERE log.owner = locked.owner AND log.session = locked.session
          AND log.log_id = locked.log_id AND log.version = locked.expected
        RETURNING nr, log.key, log.owner, log.session
      ), written AS (
        INSERT INTO ${events} (key, version, body) SELECT key, event.version, body FROM followed JOIN ${given} USING (nr)
      )
      SELECT array_agg(nr) AS stored, ${notified} FROM followed`,
    // A parent is locked against being purged meanwhile; what it is after that counts.
    begin: `
      WITH given AS (
        SELECT * FROM unnest($5::integer[], $6::bytea[], $7::bytea[], $8::text[], $9::integer[], $10::double precision[], $11::boolean[],
          $12::text[], $13::bytea[], $14::text[], $15::bytea[], $16::bytea[], $17::integer[])
          AS given (nr, owner, session, log_id, version, updated, deleted, summary, place, name, log, parent, base)
      ), parents AS (
        SELECT nr FROM given JOIN ${logs} AS trunk ON trunk.log = given.parent
        WHERE trunk.kept >= given.base
          OR (trunk.owner IS NOT NULL AND EXISTS (SELECT FROM ${events} AS last WHERE last.key = trunk.key AND last.version = given.base))
        ORDER BY trunk.log FOR SHARE OF trunk
      ), begun AS (
        INSERT INTO ${sessions} (owner, session, version, updated, deleted, place, log_id, name, summary)
        SELECT owner, session, version, updated, deleted, place, log_id, name, summary FROM given
        WHERE parent IS NULL OR nr IN (SELECT nr FROM parents) ORDER BY owner, session
        ON CONFLICT DO NOTHING RETURNING owner, session, key
      ), placed AS (
        SELECT given.*, key FROM begun JOIN given USING (owner, session)
      ), noted AS (
        INSERT INTO ${logs} (log, key, owner, session, parent, base)
        SELECT log, key, owner, session, parent, base FROM placed
      ), written AS (
        INSERT INTO ${events} (key, version, body) SELECT key, event.version, body FROM placed JOIN ${given} USING (nr)
      )
      SELECT array_agg(nr) AS stored, ${notified}, (
        SELECT array_agg(nr) FROM given
        WHERE parent IS NOT NULL AND nr NOT IN (SELECT nr FROM parents)
          AND NOT EXISTS (SELECT FROM ${sessions} AS named WHERE named.owner = given.owner AND named.session = given.session)
      ) AS orphaned FROM placed`,
    touch: `
      UPDATE ${sessions} AS session SET touched = $3
      FROM ${logs} AS log
      WHERE log.log = $1 AND session.owner = log.owner AND session.session = log.session AND session.log_id = $2
        AND (touched IS NULL OR touched < $3)`,
    named: `SELECT log_id, version FROM ${sessions} WHERE owner = $1 AND session = $2 FOR UPDATE`,
    unname: `DELETE FROM ${sessions} WHERE owner = $1 AND session = $2`,
    notify: `SELECT pg_notify($1, ${TAG}) FROM (SELECT $2::bytea AS owner, $3::bytea AS session) AS purged`,
    release: `UPDATE ${logs} SET owner = NULL, session = NULL, kept = 0 WHERE log = $1 RETURNING log, key, parent, false AS is_named`,
    needed: `SELECT coalesce(max(base), 0) AS kept FROM ${logs} WHERE parent = $1`,
    cut: `DELETE FROM ${events} WHERE key = $1 AND version > $2`,
    keep: `UPDATE ${logs} SET kept = $2 WHERE log = $1`,
    remove: `DELETE FROM ${logs} WHERE log = $1`,
    trunk: `SELECT log, key, parent, owner IS NOT NULL AS is_named FROM ${logs} WHERE log = $1 FOR UPDATE`
  }
}

type StatementName =
  | 'follow'
  | 'begin'
  | 'touch'
  | 'named'
  | 'unname'
  | 'notify'
  | 'release'
  | 'needed'
  | 'cut'
  | 'keep'
  | 'remove'
  | 'trunk'
