import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  createReadStream,
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync
} from 'node:fs'
import { join } from 'node:path'
import { text as textOfStream } from 'node:stream/consumers'
import { beforeAll, describe, expect, it } from 'vitest'
import { PROGRAM } from '../compiled.ts'
import { asProcess, directory, LINE, output, start, turnlog, write } from './kit.ts'

describe('export --output', () => {
  const store = 'sqlite:files.db'

  beforeAll(async () => {
    await output(store, 'import', write('files.jsonl', `${LINE}\n`), '--user', 'ada')
  })

  it('writes to what is no file as it is', async () => {
    expect(await output(store, 'export', 'ada', '-o', '/dev/null')).toBe('/dev/null: 1 session\n')
    expect(statSync('/dev/null').isCharacterDevice()).toBe(true)
    execFileSync('mkfifo', [join(directory, 'pipe')])
    const read = textOfStream(createReadStream(join(directory, 'pipe')))
    await output(store, 'export', 'ada', '-o', 'pipe')
    expect(await read).toBe(await output(store, 'export', 'ada', '-o', '-'))
    expect(statSync(join(directory, 'pipe')).isFIFO()).toBe(true)
  })

  it('keeps links and modes of what it replaces', async () => {
    write('secret.jsonl', 'old')
    chmodSync(join(directory, 'secret.jsonl'), 0o600)
    symlinkSync('secret.jsonl', join(directory, 'link.jsonl'))
    symlinkSync('later.jsonl', join(directory, 'dangling.jsonl'))
    expect(await turnlog(store, ['export', 'ada', '-o', 'link.jsonl'])).toMatchObject({ code: 2 })
    const { out } = await turnlog(store, ['export', 'ada'])
    await output(store, 'export', 'ada', '-o', 'link.jsonl', '--force')
    await output(store, 'export', 'ada', '-o', 'dangling.jsonl')
    for (const name of ['secret.jsonl', 'later.jsonl']) expect(readFileSync(join(directory, name), 'utf8')).toBe(out)
    expect(lstatSync(join(directory, 'link.jsonl')).isSymbolicLink()).toBe(true)
    expect(statSync(join(directory, 'secret.jsonl')).mode & 0o777).toBe(0o600)
    expect(await turnlog(store, ['export', 'ada', '-o', '.', '--force'])).toMatchObject({ code: 2 })
  })

  it('leaves no half of a file when it is interrupted', async () => {
    write('whole.txt', 'old')
    // The signal has come before the file is open.
    const before = `
      import fs from 'node:fs/promises'
      import { syncBuiltinESMExports } from 'node:module'
      const { open } = fs
      fs.open = async (...args) => {
        const file = await open(...args)
        const told = new Promise((resolve) => process.once('SIGINT', resolve))
        // Waiting for a signal alone keeps no process.
        const alive = setInterval(() => undefined, 1000)
        process.kill(process.pid, 'SIGINT')
        await told
        clearInterval(alive)
        return file
      }
      syncBuiltinESMExports()`
    const args = ['export', 'ada', '-o', 'whole.txt', '--force']
    expect(await asProcess(store, args, before)).toEqual({ code: 130, out: '', err: 'turnlog: interrupted\n' })
    expect(readFileSync(join(directory, 'whole.txt'), 'utf8')).toBe('old')
    expect(readdirSync(directory).filter((name) => name.endsWith('.tmp'))).toEqual([])
  })

  it('and what goes to a pipe end quietly where nobody reads on', async () => {
    const own = 'sqlite:long.db'
    const long = Array.from({ length: 500 }, () => ({ role: 'user', content: 'x'.repeat(2000) }))
    await output(own, 'import', write('long.json', JSON.stringify(long)), '--user', 'ada')
    for (const args of [
      ['export'],
      ['export', 'ada', '--format', 'openai'],
      ['log', 'ada', 'long', '--json'],
      ['show', 'ada', 'long']
    ]) {
      const child = start(own, args)
      const errors = textOfStream(child.stderr)
      const over = once(child, 'close')
      await once(child.stdout, 'data')
      child.stdout.destroy()
      expect([await over, await errors]).toEqual([[0, null], ''])
    }
  })

  it.skipIf(!existsSync('/dev/full'))('says in a line what the disk says (skipped without /dev/full)', async () => {
    expect(await turnlog(store, ['export', 'ada', '-o', '/dev/full'])).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^turnlog: ENOSPC.*\n$/)
    })
    const command = [process.execPath, PROGRAM, 'users'].map((each) => `'${each}'`).join(' ')
    const child = spawn('sh', ['-c', `${command} > /dev/full`], {
      cwd: directory,
      env: { ...process.env, TURNLOG_STORE: store }
    })
    expect(await textOfStream(child.stderr)).toMatch(/^turnlog: ENOSPC.*\n$/)
  })
})
