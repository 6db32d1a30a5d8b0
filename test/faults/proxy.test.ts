import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { proxyTo, type Proxy } from './proxy.ts'

// Gives back what it gets, and keeps it.
let received = ''
const server = createServer((socket) => {
  socket.on('error', () => undefined)
  socket.on('data', (chunk) => {
    received += String(chunk)
    socket.write(chunk)
  })
})

beforeAll(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})
afterAll(() => void server.close())

async function link(): Promise<{ proxy: Proxy; socket: Socket; heard: () => string }> {
  received = ''
  const proxy = await proxyTo((server.address() as AddressInfo).port)
  const socket = connect({ port: proxy.port, host: '127.0.0.1' })
  let heard = ''
  socket.on('data', (chunk) => (heard += String(chunk))).on('error', () => undefined)
  await once(socket, 'connect')
  return { proxy, socket, heard: () => heard }
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve))
}

it('passes what is said, and cuts at a command', async () => {
  const { proxy, socket, heard } = await link()
  await using _ = proxy
  socket.write('hello')
  await until(() => heard() === 'hello')
  proxy.cut()
  await once(socket, 'close')
})

it.each([0, 1, 3])('cuts between a request and its answer, of which %i bytes come through', async (bytes) => {
  const { proxy, socket, heard } = await link()
  await using _ = proxy
  socket.write('one')
  await until(() => heard() === 'one')
  const cut = proxy.cutAfter(bytes)
  socket.write('four')
  await once(socket, 'close')
  await cut
  expect(received).toBe('onefour')
  expect(heard()).toBe(`one${'four'.slice(0, bytes)}`)
})

it('counts the bytes of several answers', async () => {
  const { proxy, socket, heard } = await link()
  await using _ = proxy
  const cut = proxy.cutAfter(5)
  socket.write('one')
  await until(() => heard() === 'one')
  socket.write('two')
  await once(socket, 'close')
  await cut
  expect(heard()).toBe('onetw')
})

it('passes nothing while it holds, and then everything, in order; also of a connection that is made meanwhile', async () => {
  const { proxy, socket, heard } = await link()
  await using _ = proxy
  socket.write('a')
  await until(() => heard() === 'a')
  proxy.hold()
  socket.write('b')
  const late = connect({ port: proxy.port, host: '127.0.0.1' })
  late.on('error', () => undefined)
  await once(late, 'connect')
  late.write('c')
  for (let i = 0; i < 100; i++) await new Promise((resolve) => setImmediate(resolve))
  expect([received, heard()]).toEqual(['a', 'a'])
  socket.write('d')
  proxy.release()
  await until(() => heard() === 'abd')
  await once(late, 'data')
  late.destroy()
  socket.destroy()
})

it('delays each direction, and keeps the order when that is over', async () => {
  const { proxy, socket, heard } = await link()
  await using _ = proxy
  proxy.delay(20)
  const from = performance.now()
  socket.write('a')
  await until(() => received === 'a')
  proxy.delay(0)
  socket.write('b')
  await until(() => heard() === 'ab')
  // Timers count whole milliseconds, and may be one early.
  expect(performance.now() - from).toBeGreaterThan(19)
  socket.destroy()
})
