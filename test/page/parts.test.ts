/** What a page is made of: bytes as text, packed networks, names, pictures, and the file itself. */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import sharp from 'sharp'
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { readPhoto } from '../../src/images/index.ts'
import { jpegQuality } from '../../src/images/jpeg-quality.ts'
import { encodeJpeg, encodePng, prepareJpeg } from '../../src/page/encode.ts'
import { resultName, resultNames } from '../../src/page/names.ts'
import { overridesOf } from '../../src/page/overrides.ts'
import { inflated, packNetworks, unpackNetworks } from '../../src/page/pack.ts'
import { partDone, Remaining, WakingClock } from '../../src/page/remaining.ts'
import { fromText16, toText16 } from '../../src/page/text16.ts'
import { Turns } from '../../src/page/turns.ts'
import { loadWeights } from '../../src/weights/node.ts'
import { buildPage, pageRoom } from '../support/page.ts'
import { random } from '../support/random.ts'

function noise(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  const next = random(seed)
  return Uint8Array.from({ length }, () => 256 * next())
}

describe('bytes as 16-bit text', () => {
  test('come back, whatever they are: every unit, even and odd lengths', () => {
    const every = new Uint8Array(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer)
    for (const bytes of [
      every,
      every.subarray(0, 131071),
      new Uint8Array(),
      Uint8Array.of(0),
      Uint8Array.of(33, 0, 60, 0),
    ])
      expect(fromText16(toText16(bytes))).toEqual(new Uint8Array(bytes))
  })

  test('have nothing in them that HTML or Unicode changes', () => {
    const text = toText16(new Uint8Array(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer))
    // Every unit but those that are escaped, which are two.
    expect(text).not.toMatch(/[<\0\r\n\u007f-\u009f\ufeff\ufffe\uffff\ufdd0-\ufdef]/)
    expect(text).not.toMatch(/[\ud800-\udfff]/)
  })

  test('a text cut off at its beginning is refused', () => {
    expect(() => fromText16('')).toThrow('damaged')
    expect(() => fromText16('x')).toThrow('damaged')
  })
})

describe('packed networks', () => {
  test('are within half precision of the files, and LPIPS, which is in half precision, is the same', async () => {
    const ids = ['sirius', 'lpips-alex-scratch', 'mtcnn', 'dlib', 'faceplugin']
    const weights = await Promise.all(ids.map((id) => loadWeights(id)))
    const pack = await packNetworks(weights, Uint8Array.of(1, 2, 3))
    // Together 16.2 MB in half precision; what others quantised is smaller.
    expect(pack.length).toBeLessThan(12.8e6)
    const { networks, populations } = await unpackNetworks(new Uint8Array(pack))
    expect([...populations]).toEqual([1, 2, 3])
    expect([...networks.keys()]).toEqual(ids)
    for (const each of weights) {
      const unpacked = networks.get(each.id)!
      expect(unpacked.metadata).toEqual(each.metadata)
      expect(unpacked.entry).toEqual(each.entry)
      expect(unpacked.names()).toEqual(each.names())
      let worst = 0
      for (const name of each.names()) {
        const [a, b] = [each.tensor(name), unpacked.tensor(name, each.tensor(name).shape)]
        const largest = a.data.reduce((most, v) => Math.max(most, Math.abs(v)), 0)
        for (let i = 0; i < a.data.length; i++)
          worst = Math.max(worst, Math.abs(a.data[i] - b.data[i]) / (largest || 1))
      }
      expect(worst, each.id).toBeLessThanOrEqual(each.id.startsWith('lpips') ? 0 : 2 ** -11)
    }
  })

  test('a pack that was cut short or changed is refused', async () => {
    const pack = new Uint8Array(await packNetworks([await loadWeights('sirius')], new Uint8Array(9)))
    await expect(unpackNetworks(pack.slice(0, -5))).rejects.toThrow('damaged')
    await expect(unpackNetworks(pack.slice(7))).rejects.toThrow('damaged')
    await expect(unpackNetworks(new Uint8Array())).rejects.toThrow('damaged')
  })
})

test('results keep names; what would be one name keeps its extension, and what is still one is numbered', () => {
  expect(resultName('me.JPG', 'jpeg')).toBe('me.cloaked.JPG')
  expect(resultName('me.heic', 'jpeg')).toBe('me.cloaked.jpg')
  expect(resultName('a.b/me', 'png')).toBe('a.b/me.cloaked.png')
  expect(resultName('me.jpg', 'png')).toBe('me.cloaked.png')
  const names = ['x/IMG_1.HEIC', 'x/img_1.jpg', 'y/IMG_1.jpg', 'me.png', 'me.png']
  expect(resultNames(names.map((name) => ({ name, format: name.endsWith('png') ? 'png' : 'jpeg' })))).toEqual([
    'x/IMG_1.HEIC.cloaked.jpg',
    'x/img_1.jpg.cloaked.jpg',
    'y/IMG_1.cloaked.jpg',
    'me.png.cloaked.png',
    'me.png.cloaked (2).png',
  ])
})

test('what the address says for experts; other words are no matter', () => {
  expect(overridesOf('#models=sirius,dlib&steps=3&seed=0')).toEqual({ models: ['sirius', 'dlib'], steps: 3, seed: 0 })
  expect(overridesOf('#steps=many&seed=-1&top')).toEqual({})
})

test('the part that is done never goes back', () => {
  const parts = ['decode', 'detect', 'compile', 'attack', 'measure', 'encode'].map((phase) => partDone(phase, 25, 50))
  expect(parts.toSorted((a, b) => a - b)).toEqual(parts)
})

describe('the time left', () => {
  afterEach(() => vi.useRealTimers())

  test('follows from the steps; a sleep counts for nothing, and is told', () => {
    vi.useFakeTimers({ toFake: ['performance', 'setInterval', 'clearInterval'] })
    let slept = 0
    const clock = new WakingClock(() => slept++)
    const remaining = new Remaining(clock)
    remaining.start(1)
    expect(remaining.ofPhoto('attack', 0, 50)).toBeUndefined()
    vi.advanceTimersByTime(10_000)
    // 10 of 50 steps in 10 s: 40 s for the others, 5 s for what follows.
    expect(remaining.ofPhoto('attack', 10, 50)).toBeCloseTo(45, 0)
    // An hour in which no timer ran.
    const { now } = performance
    performance.now = () => now.call(performance) + 3_600_000
    vi.advanceTimersByTime(1000)
    expect(slept).toBe(1)
    expect(remaining.ofPhoto('attack', 11, 50)).toBeCloseTo(44, 0)
    vi.advanceTimersByTime(39_000)
    remaining.end()
    remaining.start(2)
    expect(remaining.ofPhoto('detect', 0, 0)).toBeCloseTo(100, 0)
  })
})

test('requests to the worker wait for each other, and are not made when nobody wants them any more', async () => {
  const sent: number[] = []
  const made: number[] = []
  const failed: unknown[] = []
  const turns = new Turns((message) => sent.push((message as { id: number }).id))
  let second = true
  const ask = (id: number, isWanted = () => true) =>
    turns.ask(
      id,
      isWanted,
      async () => {
        made.push(id)
        if (id === 3) throw new Error('cannot be decoded')
        return { type: 'cancel', id }
      },
      (error) => failed.push(error),
    )
  ask(1)
  ask(2, () => second)
  ask(3)
  ask(4)
  await vi.waitFor(() => expect(sent).toEqual([1]))
  expect([made, turns.current]).toEqual([[1], 1])
  second = false
  turns.answered(7)
  turns.answered(1)
  await vi.waitFor(() => expect(sent).toEqual([1, 4]))
  expect(made).toEqual([1, 3, 4])
  expect(failed).toHaveLength(1)
})

describe('pictures', () => {
  const [width, height] = [37, 23]
  const rgb = noise(3 * width * height)
  const alpha = noise(width * height, 2)

  beforeAll(async () => {
    const wasm = createRequire(import.meta.url).resolve('@jsquash/jpeg/codec/enc/mozjpeg_enc.wasm')
    await prepareJpeg(new Uint8Array(await readFile(wasm)))
  })

  test('PNG: exactly the samples, the mark, and no metadata', async () => {
    const png = await encodePng({ width, height, rgb }, true)
    const photo = await readPhoto(png, 'test.png')
    expect([photo.width, photo.height, photo.cloaked, photo.alpha]).toEqual([width, height, true, undefined])
    expect(photo.rgb).toEqual(rgb)
    const clear = await readPhoto(await encodePng({ width, height, rgb, alpha }, false), 'test.png')
    expect(clear.alpha).toEqual(alpha)
    expect(clear.rgb).toEqual(rgb)
    expect(clear.cloaked).toBeUndefined()
  })

  test('PNG is smaller than the samples where a picture is smooth', async () => {
    const smooth = Uint8Array.from({ length: 3 * 200 * 200 }, (_, i) => (Math.floor(i / 3) % 200) + (i % 3))
    expect((await encodePng({ width: 200, height: 200, rgb: smooth }, false)).length).toBeLessThan(2000)
  })

  test('JPEG: colours at full resolution, the quality asked for, the mark; grey has one channel', async () => {
    const jpeg = await encodeJpeg({ width, height, rgb }, true, 93)
    const metadata = await sharp(jpeg).metadata()
    expect([metadata.chromaSubsampling, metadata.exif, metadata.channels]).toEqual(['4:4:4', undefined, 3])
    const photo = await readPhoto(jpeg, 'test.jpg')
    expect(photo.cloaked).toBe(true)
    expect(photo.quality).toBe(93)
    expect(jpegQuality(photo)).toBe(93)
    const grey = rgb.map((_, i) => rgb[i - (i % 3)])
    expect((await sharp(await encodeJpeg({ width, height, rgb: grey }, false, 93)).metadata()).channels).toBe(1)
    const white = await encodeJpeg({ width, height, rgb, alpha: new Uint8Array(width * height) }, false, 93)
    expect(Math.min(...(await readPhoto(white, 'white.jpg')).rgb)).toBeGreaterThan(250)
  })
})

describe('the file', () => {
  const folder = pageRoom()
  let page: Awaited<ReturnType<typeof buildPage>>
  let text: string
  beforeAll(async () => {
    page = await buildPage(folder)
    text = new TextDecoder('utf-16le').decode(page.bytes)
  })

  test('is UTF-16 with its mark and at most 15 MB', () => {
    expect([...page.bytes.subarray(0, 2)]).toEqual([0xff, 0xfe])
    expect(page.bytes.length).toBeLessThan(15e6)
  })

  test('has a policy before all else, which allows its script and styles by their hashes and no connection', () => {
    const [first] = text.match(/<head>\n(.*)\n/)!.slice(1)
    expect(first).toMatch(
      /^<meta http-equiv="Content-Security-Policy" content="default-src 'none'; connect-src 'none'; /,
    )
    const hash = (content: string) => `'sha256-${createHash('sha256').update(content).digest('base64')}'`
    const scripts = Array.from(text.matchAll(/<script>(.*?)<\/script>/gs), ([, code]) => code)
    expect(scripts).toHaveLength(1)
    expect(first).toContain(`script-src ${hash(scripts[0])} 'wasm-unsafe-eval';`)
    expect(first).toContain(`style-src ${hash(text.match(/<style>(.*?)<\/style>/s)![1])};`)
    expect(first).not.toMatch(/https?:|'self'|\*|unsafe-inline|'unsafe-eval'/)
  })

  test('names no address that is loaded', () => {
    const code = text.match(/<script>(.*?)<\/script>/s)![1]
    expect(code).not.toMatch(/\bsrc="?https?:|import\("|importScripts\(/)
  })

  test('holds its parts as they were', async () => {
    for (const [name, bytes] of page.parts.data) {
      const block = text.match(new RegExp(`<script id="${name}" type="application/octet-stream">(.*?)</script>`, 's'))!
      expect(Buffer.compare(fromText16(block[1]), bytes), name).toBe(0)
    }
    expect(new TextDecoder().decode(await inflated(page.parts.data.get('worker')!))).toContain('requestAdapter')
  })
})
