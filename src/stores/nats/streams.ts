import { misuse } from '../../arguments.ts'
import { turnlogError } from '../../errors.ts'
import { CODES, isDenial, JetStreamError, refused, type Connection } from './connection.ts'
import { Layout } from './layout.ts'

/** The form of what is stored. */
const FORM = 1

/** Over how many streams the logs are spread, and by stream whether it has replicas. */
export interface Prepared {
  readonly count: number
  readonly replicated: ReadonlyMap<string, boolean>
}

interface StreamInfo {
  readonly config: { readonly description?: string; readonly num_replicas: number }
  readonly cluster?: { readonly leader?: string }
}

/**
 * Makes the streams that are not there.
 *
 * @throws `STORE_TOO_NEW`, `STORE_UNAVAILABLE`; `TypeError` where there are not as many as `streams`, or not with as many `replicas`
 */
export async function prepareStreams(
  connection: Connection,
  { prefix, replicas, streams }: { prefix: string; replicas: number | undefined; streams: number | undefined }
): Promise<Prepared> {
  const replicated = new Map<string, boolean>()
  const there = await ledInfoOf(connection, new Layout(prefix, 1).streams[0]!.name)
  const count = (there && countIn(there)) ?? streams ?? 1
  if (streams !== undefined && streams !== count)
    throw misuse('streams', `${count}, as it was when ${JSON.stringify(prefix)} was first opened`, streams)
  const layout = new Layout(prefix, count)
  for (const { name, subjects, ...more } of [...layout.streams, { ...layout.pointers, max_msgs_per_subject: 1 }]) {
    const info =
      (await ledInfoOf(connection, name)) ??
      (await create(connection, {
        name,
        subjects: [subjects],
        description: `turnlog ${FORM}, over ${count}`,
        num_replicas: replicas ?? there?.config.num_replicas ?? 1,
        storage: 'file',
        retention: 'limits',
        discard: 'new',
        ...more
      }))
    const { num_replicas: has } = info.config
    if (replicas !== undefined && replicas !== has)
      throw misuse('replicas', `${has}, as the stream ${JSON.stringify(name)} has`, replicas)
    replicated.set(name, has > 1)
  }
  return { count, replicated }
}

function countIn({ config }: StreamInfo): number | undefined {
  const [, form, count] = /^turnlog (\d+), over (\d+)$/.exec(config.description ?? '') ?? []
  if (form === undefined) throw misuse('prefix', 'one that other streams do not have', config.description)
  if (Number(form) > FORM) {
    const message = `The streams were made by a newer release: their form is ${form}, this release knows ${FORM}`
    throw turnlogError('STORE_TOO_NEW', message, { found: Number(form), known: FORM })
  }
  return Number(count)
}

async function infoOf(connection: Connection, name: string, timeoutMs: number): Promise<StreamInfo | undefined> {
  try {
    return await connection.api<StreamInfo>(`STREAM.INFO.${name}`, {}, 'not-stored', timeoutMs)
  } catch (error) {
    if (error instanceof JetStreamError && error.code === CODES.noStream) return undefined
    throw refused(error)
  }
}

// Another may have just made it: a stream that is not led yet, or a cluster that looks for a leader, leaves calls unanswered.
async function ledInfoOf(connection: Connection, name: string): Promise<StreamInfo | undefined> {
  const end = performance.now() + LEADER_MS
  for (;;) {
    try {
      const info = await infoOf(connection, name, ANSWER_MS)
      if (!info || info.config.num_replicas === 1 || info.cluster?.leader || performance.now() > end) return info
    } catch (error) {
      if (performance.now() > end || isDenial((error as Error).cause)) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

/** How long a leader is waited for, and how long one answer. */
const LEADER_MS = 10_000
const ANSWER_MS = 1_000

async function create(
  connection: Connection,
  config: { readonly name: string; readonly [setting: string]: unknown }
): Promise<StreamInfo> {
  try {
    return await connection.api<StreamInfo>(`STREAM.CREATE.${config.name}`, config)
  } catch (error) {
    // Another was faster, with other settings.
    const there = await ledInfoOf(connection, config.name).catch(() => undefined)
    if (there) return there
    throw refused(error)
  }
}
