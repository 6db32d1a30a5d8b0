// A process that appends to eight sessions of its own in an SQLite file: node growth-writer.mjs PATH NAME
// Each line that it hears is a number of appends; when they are stored it says so. Plain JavaScript: it starts in a tenth of the time.
import { createInterface } from 'node:readline'
import { createSessionHistory } from '../../dist/index.js'
import { sqliteStore } from '../../dist/stores/sqlite.js'

const [, , path, name] = process.argv
const history = await createSessionHistory({ store: sqliteStore({ path }), missing: { append: 'create' } })

for await (const line of createInterface({ input: process.stdin })) {
  let left = Number(line)
  await Promise.all(
    Array.from({ length: 8 }, async (_, loop) => {
      while (left-- > 0) {
        const text = `${left}: `.padEnd(220, 'The agent looks up the booking and asks the traveller. ')
        const message = { role: 'user', content: [{ type: 'text', text }] }
        await history.appendMessage({ userId: name, id: `s${loop}` }, message)
      }
    })
  )
  console.log('done')
}
await history.stop()
