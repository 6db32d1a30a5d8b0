import { randomBytes } from 'node:crypto'
import { rmSync, type Stats } from 'node:fs'
import { open, readlink, realpath, rename, stat, type FileHandle } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { isatty } from 'node:tty'
import { UsageError } from './context.ts'
import { harmlessJson } from './output.ts'

/** How a file is written. */
export interface WriteFileOptions {
  /** Whether a file that is there is replaced. */
  readonly force: boolean
  /** A file that is not to be replaced in any case. */
  readonly spared: string | undefined
  readonly signal: AbortSignal
}

/** Writes lines of JSON to the standard output; not their bytes, but the same JSON, where that is a terminal. */
export async function writeOut(lines: AsyncIterable<string>, signal: AbortSignal): Promise<void> {
  await pipeline(process.stdout.isTTY ? harmless(lines) : lines, process.stdout, { end: false, signal })
}

/**
 * Writes lines of JSON to a file: whole, or not at all. One that is replaced keeps its mode, and a link still leads to it. What
 * is no file, such as a pipe or a device, is written to as it is.
 */
export async function writeFile(
  path: string,
  lines: AsyncIterable<string>,
  { force, spared, signal }: WriteFileOptions
): Promise<void> {
  const target = await targetOf(path)
  const known = await statOf(target)
  if (known?.isDirectory()) throw new UsageError(`${path} is a directory`)
  if (known && !known.isFile()) return writeTo(await open(target, 'w'), lines, signal)
  if (known && !force) throw new UsageError(`${path} exists; --force replaces it`)
  if (known && spared !== undefined && isSame(known, await statOf(spared)))
    throw new UsageError(`${path} is the store itself`)
  // Beside it, and then put in its place: it is never there by half.
  const temporary = join(dirname(target), `.turnlog-${randomBytes(8).toString('hex')}.tmp`)
  const remove = (): void => rmSync(temporary, { force: true })
  process.once('exit', remove)
  try {
    const handle = await open(temporary, 'wx')
    if (known) await handle.chmod(known.mode & 0o7777)
    await writeTo(handle, lines, signal)
    signal.throwIfAborted()
    await rename(temporary, target)
  } finally {
    remove()
    process.off('exit', remove)
  }
}

async function writeTo(handle: FileHandle, lines: AsyncIterable<string>, signal: AbortSignal): Promise<void> {
  const isTerminal = isatty(handle.fd)
  const isFile = (await handle.stat()).isFile()
  await pipeline(isTerminal ? harmless(lines) : lines, handle.createWriteStream({ flush: isFile }), { signal })
}

async function* harmless(lines: AsyncIterable<string>): AsyncGenerator<string> {
  for await (const line of lines) yield harmlessJson(line)
}

// What a link leads to, also where that is not there yet.
async function targetOf(path: string): Promise<string> {
  try {
    return await realpath(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  const next = await readlink(path).catch(() => undefined)
  return next === undefined ? path : targetOf(resolve(dirname(path), next))
}

async function statOf(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

function isSame(a: Stats, b: Stats | undefined): boolean {
  return a.dev === b?.dev && a.ino === b.ino
}
