/** `lowkey-gpu page`: the page at a local address, and as a file. */
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { lowkey, room } from '../support/cli.ts'

test('serves the page, and nothing else, until it is interrupted', async () => {
  let answered: Promise<unknown[]> | undefined
  const { code, stdout, stderr, created } = await lowkey(['page', '--no-open'], {
    cwd: room(),
    during: (child) => {
      child.stdout!.on('data', (text) => {
        const address = String(text).trim()
        const ask = async () => {
          const page = await fetch(address)
          const other = await fetch(`${address}package.json`)
          const posted = await fetch(address, { method: 'POST', body: 'x' })
          return [
            page.status,
            (await page.arrayBuffer()).byteLength,
            page.headers.get('content-type'),
            other.status,
            posted.status,
          ]
        }
        answered = ask().finally(() => child.kill('SIGINT'))
      })
    },
  })
  const [status, bytes, type, other, posted] = await answered!
  expect([status, type, other, posted]).toEqual([200, 'text/html', 404, 405])
  expect(bytes).toBeGreaterThan(12e6)
  expect(code).toBe(0)
  expect(stdout).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/\n$/)
  expect(stderr).toContain('until Ctrl+C')
  expect(created).toEqual([])
})

test('writes the page to a file, whole, and replaces none unless told', async () => {
  const cwd = room()
  const written = await lowkey(['page', '-o', 'page.html'], { cwd })
  expect([written.code, written.stdout, written.created]).toEqual([0, 'page.html\n', ['page.html']])
  expect(readFileSync(join(cwd, 'page.html')).subarray(0, 40).toString('utf16le')).toMatch(/^\ufeff<!doctype html>/)
  const size = statSync(join(cwd, 'page.html')).size
  const again = await lowkey(['page', '-o', 'page.html'], { cwd })
  expect(again.code).toBe(1)
  expect(again.stderr).toContain('page.html')
  writeFileSync(join(cwd, 'page.html'), 'old')
  expect((await lowkey(['page', '-o', 'page.html', '--overwrite'], { cwd, replaces: ['page.html'] })).code).toBe(0)
  expect(statSync(join(cwd, 'page.html')).size).toBe(size)
})

test('what cannot be is refused before anything is put together', async () => {
  const cwd = room()
  const taken = createServer()
  await new Promise<void>((done) => taken.listen(0, '127.0.0.1', done))
  const { port } = taken.address() as { port: number }
  for (const [args, says] of [
    [['me.jpg'], 'page takes no names'],
    [['--port', 'x'], '--port takes a whole number'],
    [['--port', String(port), '--no-open'], 'is taken'],
    [['-o', 'page.txt'], 'ends in .html'],
    [['-o', 'page.html', '--port', '80'], 'opens nothing'],
    [['--overwrite'], 'goes with --output'],
  ] as const) {
    const { code, stderr, created } = await lowkey(['page', ...args], { cwd })
    expect([code, stderr], args.join(' ')).toEqual([2, expect.stringContaining(says)])
    expect(created).toEqual([])
  }
  const nowhere = await lowkey(['page', '-o', 'none/page.html'], { cwd })
  expect(nowhere.code).toBe(1)
  expect(nowhere.created).toEqual([])
  taken.close()
})
