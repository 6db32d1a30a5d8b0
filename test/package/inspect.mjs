// turnlog inspect, as it is installed: the page is in the package, all that it loads is there, and Ctrl-C ends it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'

const inspect = spawn(process.execPath, ['node_modules/turnlog/dist/cli.js', 'inspect', 'memory:'], {
  stdio: ['ignore', 'pipe', 'inherit']
})
const ended = once(inspect, 'close')
let printed = ''
for await (const text of inspect.stdout.setEncoding('utf8')) {
  printed += text
  if (printed.includes('Ctrl-C')) break
}
const link = /http:\S+/.exec(printed)[0]
const entry = await fetch(link, { redirect: 'manual' })
const headers = { cookie: entry.headers.get('set-cookie').split(';')[0] }
const page = await (await got('/')).text()
const loaded = Array.from(page.matchAll(/(?:src|href)="([^"]+)"/g), ([, path]) => path)
for (const path of loaded) await got(path)
if (!loaded.some((path) => path.endsWith('.js'))) throw new Error(`The page has no script: ${page}`)
await got('/api/about')
inspect.kill('SIGINT')
const [code] = await ended
if (code !== 0) throw new Error(`It ended with ${code}`)
console.log('turnlog inspect:', loaded.join(' '))

async function got(path) {
  const answer = await fetch(new URL(path, link), { headers })
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
  return answer
}
