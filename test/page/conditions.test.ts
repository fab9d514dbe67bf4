/** The page where things are not as they should be: no network allowed, no mouse, no WebGPU, a device that is lost; and the hosted build. */
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import manifest from '../../package.json' with { type: 'json' }
import { severalFiles } from '../../src/page/assemble.ts'
import { type Browser, NoBrowserError, WEBGPU_SWITCHES } from '../support/browser.ts'
import {
  addressOf,
  browserOrReason,
  buildPage,
  pageRoom,
  pressButton,
  serving,
  settled,
  untilIdle,
  untilOpened,
  writePhonePhoto,
} from '../support/page.ts'
import { everything, LONG } from '../support/scope.ts'

const folder = pageRoom()
const log = join(folder, 'net.json')
const started = await browserOrReason([...WEBGPU_SWITCHES, `--log-net-log=${log}`])
const unavailable = started instanceof NoBrowserError
const browser = started as Browser
const QUICK = '#models=sirius&steps=2'
const photo = join(folder, 'me.jpg')
let built: Awaited<ReturnType<typeof buildPage>>
let open = true

const close = async () => {
  if (unavailable || !open) return
  open = false
  await browser.close()
}

beforeAll(async () => {
  if (unavailable) return
  built = await buildPage(folder)
  await writePhonePhoto(photo)
  await browser.saveTo(join(folder, 'saved'))
})
afterAll(close)

describe.skipIf(unavailable)(`the page in a browser${unavailable ? ` (${started.message})` : ''}`, () => {
  test('every connection is refused by the policy, from the page and from its worker', async () => {
    const host = await serving(new Map([['index.html', built.bytes]]))
    const page = await browser.open(host.address + QUICK)
    await settled(page)
    const before = host.asked.length
    const attempts = (address: string) => `(async () => {
      const tried = {
        fetch: () => fetch('${address}fetch'),
        // It returns true all the same; what the host was asked for tells.
        beacon: () => Promise.reject(navigator.sendBeacon?.('${address}beacon')),
        socket: () => new Promise((resolve, reject) => {
          const socket = new WebSocket('${address.replace('http', 'ws')}socket')
          socket.onopen = resolve
          socket.onerror = reject
        }),
        events: () => new Promise((resolve, reject) => {
          const events = new EventSource('${address}events')
          events.onopen = resolve
          events.onerror = reject
        }),
        request: () => new Promise((resolve, reject) => {
          const request = new XMLHttpRequest()
          request.onload = resolve
          request.onerror = reject
          request.open('POST', '${address}request')
          request.send('x')
        }),
        script: () => typeof importScripts === 'function' ? importScripts('${address}script') : Promise.reject(),
        image: () => new Promise((resolve, reject) => {
          if (typeof Image === 'undefined') return reject()
          const image = new Image()
          image.onload = resolve
          image.onerror = reject
          image.src = '${address}image'
        }),
      }
      const open = []
      for (const [name, attempt] of Object.entries(tried)) {
        try {
          await attempt()
          open.push(name)
        } catch {}
      }
      return open
    })()`
    expect(await page.evaluate(attempts(host.address))).toEqual([])
    expect(await page.evaluateInWorker(attempts(host.address))).toEqual([])
    expect(host.asked.length).toBe(before)
    expect(page.complaints.join('\n')).toContain("connect-src 'none'")
    expect(page.complaints.filter((text) => text.includes('Content Security Policy')).length).toBeGreaterThan(6)
    await page.close()
    host.close()
  })

  test.skipIf(!everything)(
    `served over HTTP as UTF-8, it is read as it is, and works with the server gone${LONG}`,
    async () => {
      const host = await serving(new Map([['index.html', built.bytes]]))
      const page = await browser.open(host.address + QUICK)
      await settled(page)
      host.close()
      await page.drop([photo])
      await untilOpened(page, 1)
      await pressButton(page, 'Protect 1 photo')
      await page.until(`document.querySelector('.card[data-state=done]')`)
      expect(host.asked.filter((path) => path !== '/favicon.ico')).toEqual(['/'])
      expect(page.complaints.filter((text) => !text.includes('favicon'))).toEqual([])
      // Unsaved results: the browser asks before they are gone.
      await page.press('Tab')
      const left = page.evaluate(`location.href = 'about:blank'`)
      expect((await page.answerDialog(false)).type).toBe('beforeunload')
      await left
      expect(await page.evaluate(`!!document.querySelector('.card[data-state=done]')`)).toBe(true)
      await page.close()
    },
  )

  test.skipIf(!everything)(
    `by keyboard alone: choose, switch a face, choose a strength, protect, compare, save${LONG}`,
    async () => {
      const page = await browser.open(addressOf(built.file, QUICK))
      await settled(page)
      const focused = () =>
        page.evaluate<string>(
          `document.activeElement.innerText || document.activeElement.getAttribute('aria-label') || document.activeElement.value`,
        )
      const tabTo = async (text: string) => {
        for (let i = 0; i < 40; i++) {
          await page.press('Tab')
          if ((await focused()).startsWith(text)) return
        }
        throw new Error(`Tab does not reach "${text}"`)
      }
      await tabTo('How can I check that?')
      await page.press('Enter')
      expect(await page.evaluate(`document.querySelector('details').open`)).toBe(true)
      await tabTo('Choose photos')
      await page.chooseInDialog(() => page.press('Enter'), [photo])
      await untilOpened(page, 1)
      await tabTo('auto')
      await page.press('ArrowRight')
      expect(await page.evaluate(`document.querySelector('[name=strength]:checked').value`)).toBe('low')
      for (let i = 0; i < 20 && !(await page.evaluate(`document.activeElement.matches('.faces input')`)); i++)
        await page.press('Tab')
      await page.press('Space')
      expect(await page.evaluate(`document.querySelector('.status').textContent`)).toContain('stays as it is')
      expect(await page.evaluate(`document.activeElement.matches('.faces input')`)).toBe(true)
      await page.press('Space')
      await tabTo('Protect 1 photo')
      await page.press('Enter')
      await page.until(`document.querySelector('.card[data-state=done]')`)
      await page.evaluate(`document.querySelector('.card').focus()`)
      await tabTo('How much of the protected photo is shown')
      await page.press('ArrowRight', 'ArrowRight')
      expect(await page.evaluate(`document.querySelector('.stage').style.getPropertyValue('--cut')`)).toBe('52%')
      await tabTo('Save')
      await page.press('Enter')
      await page.until(`document.querySelector('.said').textContent.startsWith('Saved as me.cloaked.jpg')`)
      await page.close()
    },
  )

  test.skipIf(!everything)(
    `at 320 pixels, by day and by night, nothing reaches over the edge and axe-core objects to nothing${LONG}`,
    async () => {
      const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
      const page = await browser.open(addressOf(built.file, QUICK), { width: 320, height: 640, dark: true })
      await settled(page)
      await page.drop([photo])
      await untilOpened(page, 1)
      for (const dark of [true, false]) {
        await page.setView({ width: 320, height: 640, dark })
        expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(320)
        await page.evaluate(`${axe}; undefined`)
        expect(
          await page.evaluate(
            'axe.run().then(({ violations }) => violations.flatMap(({ id, nodes }) => nodes.map((n) => id + n.html)))',
          ),
        ).toEqual([])
      }
      await page.close()
    },
  )

  test.skipIf(!everything)(`a device that is lost: the photo begins anew, and is done${LONG}`, async () => {
    const page = await browser.open(addressOf(built.file, '#models=sirius&steps=6'))
    await settled(page)
    await page.drop([photo])
    await untilOpened(page, 1)
    await pressButton(page, 'Protect 1 photo')
    await page.until(`document.querySelector('.card .status').textContent.startsWith('Changing the face')`)
    await browser.crashGpu()
    await page.until(`document.querySelector('.card .status').textContent.startsWith('The graphics device was lost')`)
    await untilIdle(page)
    expect(await page.evaluate(`document.querySelector('.card').dataset.state`)).toBe('done')
    await page.close()
  })

  test.skipIf(!everything)(
    `hosted as several files: they are checked, and a service worker keeps them for when the host is gone${LONG}`,
    async () => {
      const files = await severalFiles(built.parts, manifest.version)
      expect(files.get('index.html')!.length).toBeLessThan(5000)
      const host = await serving(files)
      const first = await browser.open(host.address + QUICK)
      await settled(first)
      await first.evaluate('navigator.serviceWorker.ready.then(() => true)')
      await first.until(
        `caches.keys().then((names) => Promise.all(names.map(async (name) => (await (await caches.open(name)).keys()).length))).then((n) => n[0] === ${files.size})`,
      )
      host.close()
      await first.close()
      const second = await browser.open(host.address + QUICK)
      await settled(second)
      expect(await second.evaluate(`!!document.querySelector('.unable')`)).toBe(false)
      await second.drop([photo])
      await untilOpened(second, 1)
      expect(await second.evaluate(`document.querySelector('.card').dataset.state`)).toBe('ready')
      await second.close()
    },
  )

  test.skipIf(!everything)(`hosted files that were changed are refused${LONG}`, async () => {
    const files = new Map(await severalFiles(built.parts, manifest.version))
    const networks = files.get('networks.bin')!.slice()
    networks[networks.length >> 1] ^= 1
    files.set('networks.bin', networks)
    const host = await serving(files)
    const page = await browser.open(host.address)
    await settled(page)
    expect(await page.evaluate(`document.querySelector('.unable').textContent`)).toContain(
      'A part of this page is damaged',
    )
    await page.close()
    host.close()
  })

  test('the browser’s own log of its network has the pages and their files, and nothing else', async () => {
    await close()
    expect(existsSync(log)).toBe(true)
    const { constants, events } = JSON.parse(readFileSync(log, 'utf8')) as {
      constants: { logSourceType: Record<string, number> }
      events: { source: { type: number }; params?: { url?: string } }[]
    }
    const requests = events.filter(
      ({ source, params }) => source.type === constants.logSourceType.URL_REQUEST && params?.url,
    )
    const hosts = new Set(
      requests
        .map(({ params }) => new URL(params!.url!))
        .filter(({ protocol }) => /^(http|ws)/.test(protocol))
        .map(({ hostname }) => hostname),
    )
    expect([...hosts]).toEqual(['127.0.0.1'])
    const paths = new Set(requests.map(({ params }) => new URL(params!.url!).pathname))
    for (const refused of ['fetch', 'beacon', 'socket', 'events', 'request', 'script', 'image'])
      expect(paths).not.toContain(`/${refused}`)
    expect(paths).toContain(everything ? '/networks.bin' : '/')
  })
})

describe('without WebGPU', () => {
  for (const [what, host, says] of [
    ['no adapter, as Chromium on Linux without its flag', '127.0.0.1', 'offers no graphics device'],
    ['over http, where browsers switch it off', 'lowkey.test', 'came over an unprotected connection'],
  ] as const) {
    test(`${what}: the page says so, and names the command line`, async ({ skip }) => {
      const other = await browserOrReason([
        ...(host === '127.0.0.1' ? ['--disable-gpu', '--disable-software-rasterizer'] : WEBGPU_SWITCHES),
        `--host-resolver-rules=MAP lowkey.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1`,
      ])
      if (other instanceof NoBrowserError) return skip(other.message)
      const server = await serving(new Map([['index.html', built.bytes]]))
      try {
        const page = await other.open(server.address.replace('127.0.0.1', host))
        await settled(page)
        const text = await page.evaluate<string>(`document.querySelector('.unable').innerText`)
        expect(text).toContain(says)
        expect(text).toContain('npx lowkey-gpu protect')
        if (host === '127.0.0.1') expect(text).toContain('Safari 26')
        expect(page.complaints.filter((each) => !/favicon|WebGPU Context Provider/.test(each))).toEqual([])
      } finally {
        await other.close()
        server.close()
      }
    })
  }
})
