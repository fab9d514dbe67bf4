/** Downloads of published weights, from a server of this test's own. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { WeightsDamagedError } from '../../src/weights/errors.ts'
import { type Downloadable, downloadFile } from '../../src/weights/fetch.ts'
import { parseManifest } from '../../src/weights/manifest.ts'
import { loadManifest, weightsFolder } from '../../src/weights/node.ts'
import { FetchError, OfflineError } from '../../src/weights/npm.ts'
import { lowkey, room } from '../support/cli.ts'
import { uniform } from '../support/random.ts'
import { dataBeside, isAtHand } from '../support/scope.ts'

const content = Buffer.from(uniform(1, 50_000).buffer)
const hash = createHash('sha256').update(content).digest('hex')

type Handler = (request: IncomingMessage, response: ServerResponse) => void
let server: Server
let handle: Handler
/** Requests that came, with what range they asked for. */
let requests: (string | undefined)[]
let port: number

beforeAll(async () => {
  server = createServer((request, response) => {
    requests.push(request.headers.range)
    handle(request, response)
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  port = (server.address() as AddressInfo).port
})
afterAll(() => server.close())

const folders: string[] = []
let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lowkey-fetch-'))
  folders.push(folder)
  requests = []
  handle = whole
})
afterEach(() => vi.unstubAllEnvs())
afterAll(() => {
  for (const each of folders) rmSync(each, { recursive: true, force: true })
})

const wanted: Downloadable = {
  file: 'net.pth',
  url: 'https://weights.test/net.pth',
  sha256: hash,
  bytes: content.length,
}

/** Asks this test's server instead of those that are named. */
const local: typeof globalThis.fetch = (input, init) =>
  fetch(String(input).replace(/^https:\/\/[^/]+/, `http://127.0.0.1:${port}`), init)

const download = (what: Partial<Downloadable> = {}, options = {}) =>
  downloadFile({ ...wanted, ...what }, folder, { fetch: local, ...options })

/** Gives the file, or what of it was asked for. */
const whole: Handler = (request, response) => {
  const start = /^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1]
  if (start === undefined) {
    response.writeHead(200, { 'content-length': content.length })
    response.end(content)
  } else if (Number(start) >= content.length) {
    response.writeHead(416, { 'content-range': `bytes */${content.length}` })
    response.end()
  } else {
    const part = content.subarray(Number(start))
    response.writeHead(206, {
      'content-range': `bytes ${start}-${content.length - 1}/${content.length}`,
      'content-length': part.length,
    })
    response.end(part)
  }
}

/** Sends so many bytes of an answer and hangs up. */
const breaksOff =
  (after: number): Handler =>
  (_, response) => {
    response.writeHead(200, { 'content-length': content.length })
    response.write(content.subarray(0, after), () => setTimeout(() => response.destroy(), 100))
  }

const part = () => join(folder, 'net.pth.part')

describe('a download', () => {
  test('is whole when it has its name, and is not repeated', async () => {
    const seen: [number, number | undefined][] = []
    const path = await download({}, { onProgress: (done: number, total?: number) => seen.push([done, total]) })
    expect(path).toBe(join(folder, 'net.pth'))
    expect(readFileSync(path)).toEqual(content)
    expect(readdirSync(folder)).toEqual(['net.pth'])
    expect(seen.at(-1)).toEqual([content.length, content.length])
    expect(await download()).toBe(path)
    expect(requests).toEqual([undefined])
  })

  test('is checked by as many digits as are known, and without a known length', async () => {
    expect(await download({ sha256: hash.slice(0, 8), bytes: null })).toBe(join(folder, 'net.pth'))
    await expect(
      downloadFile({ ...wanted, file: 'b.pth', sha256: '01234567', bytes: null }, folder, { fetch: local }),
    ).rejects.toThrow(WeightsDamagedError)
  })

  test('that was interrupted is kept, and goes on from where it ended', async () => {
    handle = breaksOff(80_000)
    const error = await download().catch((e: Error) => e)
    expect(error).toBeInstanceOf(FetchError)
    expect((error as Error).message).toMatch(
      /^net\.pth: cannot be downloaded from https:.*; \d+ bytes are kept, and the same command/,
    )
    const kept = readFileSync(part())
    expect(kept.length).toBeGreaterThan(0)
    expect(kept).toEqual(content.subarray(0, kept.length))
    expect(existsSync(join(folder, 'net.pth'))).toBe(false)
    handle = whole
    expect(readFileSync(await download())).toEqual(content)
    expect(requests).toEqual([undefined, `bytes=${kept.length}-`])
    expect(readdirSync(folder)).toEqual(['net.pth'])
  })

  test('begins anew where the server knows no ranges, or gives another one', async () => {
    for (const answer of [
      (response: ServerResponse) => response.writeHead(200, { 'content-length': content.length }),
      (response: ServerResponse) =>
        response.writeHead(206, { 'content-range': `bytes 0-${content.length - 1}/${content.length}` }),
    ]) {
      writeFileSync(part(), content.subarray(0, 1000))
      handle = (_, response) => answer(response).end(content)
      expect(readFileSync(await download())).toEqual(content)
      rmSync(join(folder, 'net.pth'))
    }
  })

  test('of which all is there already is only checked; a longer or another part is thrown away', async () => {
    writeFileSync(part(), content)
    await download()
    expect(requests).toEqual([])
    rmSync(join(folder, 'net.pth'))
    writeFileSync(part(), Buffer.concat([content, content]))
    await download()
    expect(requests).toEqual([undefined])
    // Without a known length the server says that nothing comes after it.
    rmSync(join(folder, 'net.pth'))
    writeFileSync(part(), Buffer.concat([content, content]))
    expect(readFileSync(await download({ bytes: null }))).toEqual(content)
    expect(requests).toEqual([undefined, `bytes=${2 * content.length}-`, undefined])
    // The right length, but other bytes: refused once, right the next time.
    rmSync(join(folder, 'net.pth'))
    writeFileSync(part(), Buffer.alloc(1000))
    await expect(download()).rejects.toThrow(WeightsDamagedError)
    expect(readdirSync(folder)).toEqual([])
    expect(readFileSync(await download())).toEqual(content)
  })

  test('of another file is deleted', async () => {
    handle = (_, response) => response.end(Buffer.concat([content.subarray(1), Buffer.of(0)]))
    await expect(download()).rejects.toThrow(WeightsDamagedError)
    await expect(download()).rejects.toThrow(
      /^net\.pth: what https:\/\/weights\.test\/net\.pth sent has SHA-256 [0-9a-f]{64}, not/,
    )
    handle = (_, response) => response.end('<html>')
    await expect(download()).rejects.toThrow(/sent is 6 bytes long, not 200000; it was deleted/)
    expect(readdirSync(folder)).toEqual([])
  })

  test('that is too long is broken off: by what is announced, and by what comes', async () => {
    let sent = 0
    handle = (_, response) => {
      response.writeHead(200, { 'content-length': 2 ** 40 })
      response.write(content)
    }
    await expect(download()).rejects.toThrow(/sends at least 1099511627776 bytes, and the file has at most 200000/)
    // Without a length, an endless stream.
    handle = (_, response) => {
      const more = () => {
        sent += content.length
        if (!response.destroyed && sent < 1e9) response.write(content, more)
      }
      more()
    }
    await expect(download()).rejects.toThrow(/sends at least \d+ bytes, and the file has at most 200000/)
    expect(sent).toBeLessThan(2e7)
    expect(readdirSync(folder)).toEqual([])
  })

  test('follows addresses to https alone, and not without end', async () => {
    handle = (request, response) => {
      if (request.url !== '/net.pth') return whole(request, response)
      response.writeHead(302, { location: 'https://cdn.test/elsewhere' })
      response.end()
    }
    expect(readFileSync(await download())).toEqual(content)
    rmSync(join(folder, 'net.pth'))
    handle = (_, response) => response.writeHead(301, { location: 'http://cdn.test/x' }).end()
    await expect(download()).rejects.toThrow(/leads to http:\/\/cdn\.test\/x, which is not https/)
    handle = (_, response) => response.writeHead(302, { location: '/net.pth' }).end()
    await expect(download()).rejects.toThrow(/from one address to another without end/)
    requests = []
    await expect(download({ url: 'http://weights.test/net.pth' })).rejects.toThrow(/is not an https address/)
    expect(requests).toEqual([])
  })

  test('says what the server said, or that there is none', async () => {
    handle = (_, response) => response.writeHead(404).end('gone')
    await expect(download()).rejects.toThrow(/^net\.pth: https:\/\/weights\.test\/net\.pth answers 404 Not Found$/)
    const nowhere: typeof fetch = (_, init) => fetch('http://127.0.0.1:9/x', init)
    await expect(download({}, { fetch: nowhere })).rejects.toThrow(FetchError)
    await expect(download({}, { fetch: nowhere })).rejects.toThrow(
      /cannot be downloaded from https:.* \(.*(ECONNREFUSED|bad port)/,
    )
    expect(readdirSync(folder)).toEqual([])
  })

  test('gives a silent server up, and ends when it is told to', async () => {
    handle = (_, response) => {
      response.writeHead(200, { 'content-length': content.length })
      response.write(content.subarray(0, 1000))
    }
    await expect(download({}, { patience: 200 })).rejects.toThrow(/nothing came for 0 seconds.*1000 bytes are kept/)
    const controller = new AbortController()
    const stopped = download({}, { signal: controller.signal })
    setTimeout(() => controller.abort(new Error('enough')), 100)
    await expect(stopped).rejects.toThrow('enough')
  })

  test('is refused without a network, but for what is there', async () => {
    vi.stubEnv('LOWKEY_OFFLINE', '1')
    await expect(download()).rejects.toThrow(OfflineError)
    await expect(download()).rejects.toThrow(/is not in .*, and LOWKEY_OFFLINE is set/)
    writeFileSync(join(folder, 'net.pth'), content)
    expect(await download()).toBe(join(folder, 'net.pth'))
    expect(requests).toEqual([])
  })

  test('into a folder that cannot be made is an error about it', async () => {
    writeFileSync(join(folder, 'file'), '')
    await expect(downloadFile(wanted, join(folder, 'file'), { fetch: local })).rejects.toThrow(
      /net\.pth: cannot be downloaded/,
    )
  })
})

describe('the manifest', () => {
  test("lists LowKey's four networks, face.evoLVe's and both trunks of LPIPS", async () => {
    const { published } = await loadManifest()
    const lowKeys = published.filter(({ id }) => id.startsWith('lowkey-'))
    expect(lowKeys.map(({ architecture, file }) => [architecture, file])).toEqual([
      ['ir-152', 'Backbone_IR_152_Arcface_Epoch_112.pth'],
      ['ir-152', 'Backbone_IR_152_Cosface_Epoch_70.pth'],
      ['resnet-152', 'Backbone_ResNet_152_Arcface_Epoch_65.pth'],
      ['resnet-152', 'Backbone_ResNet_152_Cosface_Epoch_68.pth'],
    ])
    expect(published.some(({ id }) => id === 'evolve-ir-50-ms1m')).toBe(true)
    for (const { file, sha256, bytes, url } of published) {
      // torchvision's names end with the first digits.
      const digits = /-([0-9a-f]{8})\.pth$/.exec(file)?.[1]
      if (digits) expect(sha256?.startsWith(digits), file).toBe(true)
      expect((sha256 === null) === (bytes === null), file).toBe(true)
      if (url) expect(sha256).not.toBeNull()
    }
  })
})

describe('a manifest', () => {
  const text = readFileSync(join(weightsFolder(), 'manifest.json'), 'utf8')
  const edited = (edit: (published: Record<string, unknown>[], networks: Record<string, unknown>[]) => void) => {
    const copy = JSON.parse(text)
    edit(copy.published, copy.networks)
    return JSON.stringify(copy)
  }
  test.each([
    [
      'an address that is not https',
      edited((p) => (p[0].url = 'http://a.test/b.pth')),
      /published\[0\]\.url cannot be "http:/,
    ],
    ['an address with a query', edited((p) => (p[0].url = 'https://a.test/b?c')), /published\[0\]\.url/],
    ['seven digits of a checksum', edited((p) => (p[0].sha256 = '0123456')), /published\[0\]\.sha256/],
    ['a file in another folder', edited((p) => (p[0].file = '../b.pth')), /published\[0\]\.file/],
    ['a field too many', edited((p) => (p[0].path = 'x')), /published\[0\]\.path is not a known field/],
    ['the id of a network', edited((p, n) => (p[0].id = n[0].id)), /describes network "mtcnn" twice/],
    ['no list', edited(() => {}).replace('"published":[', '"published":["x",'), /published\[0\] is not an object/],
  ])('with %s is refused', (_, json, message) => {
    expect(() => parseManifest(json, 'm.json')).toThrow(message)
  })
})

describe('weights fetch', () => {
  const cwd = room('fetch')
  const run = (...args: string[]) =>
    lowkey(['weights', 'fetch', ...args], { cwd, env: { LOWKEY_OFFLINE: '1', LOWKEY_HOME: join(cwd, 'home') } })

  test('says where files without a checksum are to be had by hand', async () => {
    const outcome = await run('lowkey-ir-152-arcface')
    expect(outcome).toMatchObject({ code: 5, stdout: '', created: [] })
    expect(outcome.stderr).toMatch(
      /no checksum is known of Backbone_IR_152_Arcface_Epoch_112\.pth, so it is not downloaded\. It is to be had from .*LowKey.*then run: lowkey-gpu weights import Backbone_IR_152_Arcface_Epoch_112\.pth --name lowkey-ir-152-arcface/,
    )
  })

  test('downloads nothing with LOWKEY_OFFLINE', async () => {
    const outcome = await run('alexnet')
    expect(outcome).toMatchObject({ code: 5, stdout: '', created: [] })
    expect(outcome.stderr).toMatch(/alexnet-owt-7be5be79\.pth: is not in .*downloads, and LOWKEY_OFFLINE is set/)
  })

  const lin = dataBeside('weights/lpips/v0.1-alex.pth')

  test.skipIf(!isAtHand(lin))('imports a file that is in its place already, and deletes it then', async () => {
    mkdirSync(join(cwd, 'home/downloads'), { recursive: true })
    writeFileSync(join(cwd, 'home/downloads/alex.pth'), readFileSync(lin))
    const outcome = await lowkey(['weights', 'fetch', 'lpips-lin-alex'], {
      ...{ cwd, env: { LOWKEY_OFFLINE: '1', LOWKEY_HOME: join(cwd, 'home') } },
      replaces: ['home/downloads/alex.pth'],
    })
    expect(outcome).toMatchObject({
      code: 0,
      stdout: `${join(cwd, 'home/weights/lpips-lin-alex.safetensors')}\n`,
      created: ['home/weights/lpips-lin-alex.json', 'home/weights/lpips-lin-alex.safetensors'],
    })
    expect(outcome.stderr).toMatch(/lpips-alex still lacks AlexNet/)
    expect(existsSync(join(cwd, 'home/downloads/alex.pth'))).toBe(false)
    expect(await run('lpips-lin-alex', 'sirius')).toMatchObject({ code: 0, stderr: '', created: [] })
  })

  test('names what it does not know', async () => {
    const outcome = await run('arcface')
    expect(outcome).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/nothing is known of "arcface"; there are .*sirius, .*alexnet/),
    })
  })
})
