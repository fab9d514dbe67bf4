/** Photos out: formats, atomic writing, quality, and where there is no sharp. */
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import sharp from 'sharp'
import { describe, expect, test, vi } from 'vitest'
import { psnr } from '../../src/evaluate/visibility.ts'
import {
  encodePhoto,
  maxChange,
  OutputError,
  pendingFiles,
  readPhoto,
  writeFileAtomically,
} from '../../src/images/index.ts'
import { failure, folder, greatestDifference, noise, photo, threefold } from '../support/made-photos.ts'

describe('photos out', () => {
  const width = 37
  const height = 23
  const pixels = width * height
  const decoded = async (bytes: Uint8Array) => new Uint8Array(await sharp(bytes).raw().toBuffer())

  test.each(['png', 'webp'] as const)('%s holds exactly the given pixels', async (format) => {
    const rgb = noise(3 * pixels)
    expect(await decoded(await encodePhoto(photo(width, height, rgb), { format }))).toEqual(rgb)
    const alpha = noise(pixels, 2).map((a, i) => (i % 4 === 0 ? 0 : a))
    const read = await readPhoto(await encodePhoto(photo(width, height, rgb, { alpha }), { format }))
    expect(read.rgb).toEqual(rgb)
    expect(read.alpha).toEqual(alpha)
  })

  test('jpeg keeps the resolution of colours, at quality 98', async () => {
    const rgb = noise(3 * pixels)
    const jpeg = await encodePhoto(photo(width, height, rgb), { format: 'jpeg' })
    expect(await sharp(jpeg).metadata()).toMatchObject({ format: 'jpeg', chromaSubsampling: '4:4:4' })
    // The coarsest step for noise of all frequencies at q98 is 5; 4:2:0 would change this picture by more than 100.
    const error = (await decoded(jpeg)).reduce((sum, v, i) => sum + (v - rgb[i]) ** 2, 0) / rgb.length
    expect(Math.sqrt(error)).toBeLessThan(2.5)
  })

  test('jpeg lays a photo with alpha on white', async () => {
    const rgb = Uint8Array.from({ length: 3 * 64 }, (_, i) => [40, 90, 200][i % 3])
    const at = async (opacity: number) => {
      const alpha = new Uint8Array(64).fill(opacity)
      return [...(await decoded(await encodePhoto(photo(8, 8, rgb, { alpha }), { format: 'jpeg' }))).subarray(0, 3)]
    }
    expect(greatestDifference(await at(255), [40, 90, 200])).toBeLessThanOrEqual(2)
    expect(greatestDifference(await at(0), [255, 255, 255])).toBeLessThanOrEqual(2)
    expect(greatestDifference(await at(51), [212, 222, 244])).toBeLessThanOrEqual(2)
  })

  test('grey stays grey, in one channel where the format has that', async () => {
    const grey = noise(pixels)
    const alpha = noise(pixels, 2)
    const one = photo(width, height, threefold(grey), { grey: true })
    expect(await sharp(await encodePhoto(one, { format: 'png' })).metadata()).toMatchObject({
      space: 'b-w',
      channels: 1,
    })
    expect(await sharp(await encodePhoto(one, { format: 'jpeg' })).metadata()).toMatchObject({
      space: 'b-w',
      channels: 1,
    })
    expect((await sharp(await encodePhoto({ ...one, alpha }, { format: 'png' })).metadata()).channels).toBe(2)
    for (const format of ['png', 'webp'] as const) {
      const read = await readPhoto(await encodePhoto({ ...one, alpha }, { format }))
      expect([read.grey, read.rgb, read.alpha]).toEqual([true, threefold(grey), alpha])
    }
    const unequal = photo(1, 1, new Uint8Array([255, 128, 0]), { grey: true })
    expect([...(await readPhoto(await encodePhoto(unequal, { format: 'png' }))).rgb]).toEqual([151, 151, 151])
  })

  test('is the same bytes every time', async () => {
    for (const format of ['png', 'jpeg', 'webp'] as const) {
      const given = photo(width, height, noise(3 * pixels))
      expect(await encodePhoto(given, { format })).toEqual(await encodePhoto(given, { format }))
    }
  })

  test('refuses arrays that do not fit, and sides a format cannot hold', async () => {
    await expect(encodePhoto(photo(4, 4, new Uint8Array(47)), { format: 'png' })).rejects.toThrow(
      'photo: rgb has 47 bytes, 4 x 4 pixels need 48',
    )
    const short = photo(4, 4, new Uint8Array(48), { alpha: new Uint8Array(15) })
    await expect(encodePhoto(short, { format: 'png' })).rejects.toThrow(/alpha has 15 bytes/)
    const long = photo(16384, 1, new Uint8Array(3 * 16384))
    await expect(encodePhoto(long, { format: 'webp' })).rejects.toThrow(/too large for webp.*choose png/)
    expect((await sharp(await encodePhoto(long, { format: 'jpeg' })).metadata()).width).toBe(16384)
  })
})

describe('writing a file', () => {
  const bytes = noise(5000)
  const place = (name: string) => {
    const inside = mkdtempSync(join(folder, `${name}-`))
    return { inside, path: join(inside, 'result.png') }
  }

  test('leaves the file, and nothing else', async () => {
    const { inside, path } = place('plain')
    await writeFileAtomically(path, bytes, { overwrite: false })
    expect(readdirSync(inside)).toEqual(['result.png'])
    expect(new Uint8Array(readFileSync(path))).toEqual(bytes)
    expect(pendingFiles.size).toBe(0)
    expect(process.listeners('exit').some((listener) => listener.name === 'removePendingFiles')).toBe(false)
  })

  test('never replaces a file unless it may', async () => {
    const { inside, path } = place('exists')
    writeFileSync(path, 'mine')
    const error = await failure(writeFileAtomically(path, bytes, { overwrite: false }))
    expect(error).toBeInstanceOf(OutputError)
    expect(error).toMatchObject({ problem: 'exists', path })
    expect(readFileSync(path, 'utf8')).toBe('mine')
    await writeFileAtomically(path, bytes, { overwrite: true })
    expect(new Uint8Array(readFileSync(path))).toEqual(bytes)
    expect(readdirSync(inside)).toEqual(['result.png'])
  })

  test('a dangling link is something that exists', async () => {
    const { inside, path } = place('link')
    symlinkSync(join(inside, 'elsewhere'), path)
    expect(await failure(writeFileAtomically(path, bytes))).toMatchObject({ problem: 'exists' })
    expect(existsSync(join(inside, 'elsewhere'))).toBe(false)
  })

  test('of many writers to one name exactly one wins, whole', async () => {
    const { inside, path } = place('race')
    const all = await Promise.allSettled(
      Array.from({ length: 8 }, (_, i) => writeFileAtomically(path, new Uint8Array(1 << 20).fill(i))),
    )
    expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const result of all)
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ problem: 'exists' })
    expect(new Set(readFileSync(path)).size).toBe(1)
    expect(readdirSync(inside)).toEqual(['result.png'])
  })

  test('folders that are missing, or no folders, or where a folder stands', async () => {
    const { inside, path } = place('folders')
    const missing = join(inside, 'none', 'result.png')
    expect(await failure(writeFileAtomically(missing, bytes))).toMatchObject({
      name: 'OutputError',
      problem: 'no-folder',
    })
    writeFileSync(path, 'mine')
    const below = join(path, 'result.png')
    expect(await failure(writeFileAtomically(below, bytes))).toMatchObject({ problem: 'no-folder' })
    for (const overwrite of [false, true]) {
      expect(await failure(writeFileAtomically(inside, bytes, { overwrite }))).toMatchObject({ problem: 'is-folder' })
    }
    expect(readdirSync(inside)).toEqual(['result.png'])
  })

  test('a folder that may not be written to', async () => {
    const { inside, path } = place('readonly')
    chmodSync(folder, 0o755)
    chmodSync(inside, 0o555)
    // To the superuser every folder is writable.
    const root = process.geteuid?.() === 0
    if (root) process.seteuid!(65534)
    const error = await failure(writeFileAtomically(path, bytes))
    if (root) process.seteuid!(0)
    expect(error).toMatchObject({ name: 'OutputError', problem: 'unwritable' })
    expect(error.message).toContain(`the folder ${inside} is not writable (EACCES)`)
    expect(readdirSync(inside)).toEqual([])
  })

  test('a name of the greatest length', async () => {
    const path = join(place('long').inside, 'n'.repeat(255))
    await writeFileAtomically(path, bytes)
    expect(existsSync(path)).toBe(true)
  })

  test('on a disk without hard links: the same, and no empty file where it fails', async () => {
    const denied = (name: string) => () => {
      throw Object.assign(new Error(name), { code: 'EPERM' })
    }
    const onSuchDisk = async (faults: Record<string, () => never>) => {
      vi.resetModules()
      vi.doMock('node:fs', async (original) => ({ ...(await original<typeof import('node:fs')>()), ...faults }))
      const { writeFileAtomically } = await import('../../src/images/write.ts')
      vi.doUnmock('node:fs')
      return writeFileAtomically
    }
    const { inside, path } = place('fat')
    const write = await onSuchDisk({ linkSync: denied('link') })
    await write(path, bytes)
    expect(new Uint8Array(readFileSync(path))).toEqual(bytes)
    expect(await failure(write(path, noise(9)))).toMatchObject({ problem: 'exists' })
    expect(new Uint8Array(readFileSync(path))).toEqual(bytes)
    const other = join(inside, 'other.png')
    const all = await Promise.allSettled([1, 2, 3, 4].map((i) => write(other, new Uint8Array(1 << 18).fill(i))))
    expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect(new Set(readFileSync(other)).size).toBe(1)
    const neither = await onSuchDisk({ linkSync: denied('link'), renameSync: denied('rename') })
    expect(await failure(neither(join(inside, 'third.png'), bytes))).toMatchObject({ problem: 'unwritable' })
    expect(readdirSync(inside).sort()).toEqual(['other.png', 'result.png'])
  })

  test.each([
    ['SIGINT', `process.on('SIGINT', () => process.exit(130)); process.kill(process.pid, 'SIGINT')`, 130],
    ['process.exit', 'process.exit(3)', 3],
    ['an uncaught error', `queueMicrotask(() => { throw new Error('boom') })`, 1],
  ])('%s in the middle leaves nothing behind', (_, ending, status) => {
    const { inside, path } = place('interrupt')
    const script = join(folder, 'interrupt.mjs')
    const module = pathToFileURL(resolve('src/images/write.ts')).href
    writeFileSync(
      script,
      `import { readdirSync } from 'node:fs'
       import { pendingFiles, writeFileAtomically } from ${JSON.stringify(module)}
       void writeFileAtomically(${JSON.stringify(path)}, new Uint8Array(2 ** 26), { overwrite: false })
       console.log(pendingFiles.size, readdirSync(${JSON.stringify(inside)}).length)
       ${ending}`,
    )
    const child = spawnSync(process.execPath, [script], { encoding: 'utf8' })
    expect(child.stdout).toBe('1 1\n')
    expect(child.status).toBe(status)
    expect(readdirSync(inside)).toEqual([])
  })
})

describe('quality', () => {
  test('psnr and the greatest change', () => {
    const a = photo(2, 1, new Uint8Array([10, 20, 30, 40, 50, 60]))
    const b = photo(2, 1, new Uint8Array([10, 20, 30, 40, 56, 52]))
    expect(psnr(a, a)).toBe(Infinity)
    expect(maxChange(a, a)).toBe(0)
    // (36 + 64) / 6 squared
    expect(psnr(a, b)).toBeCloseTo(10 * Math.log10(65025 / (100 / 6)), 12)
    expect(maxChange(a, b)).toBe(8)
    const black = photo(1, 1, new Uint8Array(3))
    expect(psnr(black, photo(1, 1, new Uint8Array([255, 255, 255])))).toBe(0)
    expect(() => psnr(a, black)).toThrow('psnr: the photos differ in size, 2 x 1 and 1 x 1')
  })
})

describe('without sharp', () => {
  /** The same sources in a place of their own, with what stands in for the package. */
  function run(stand: string | undefined, code: string): string {
    const place = mkdtempSync(join(folder, 'without-'))
    cpSync('src/images', join(place, 'images'), { recursive: true })
    writeFileSync(join(place, 'package.json'), '{"type": "module"}')
    if (stand !== undefined) {
      mkdirSync(join(place, 'node_modules/sharp'), { recursive: true })
      writeFileSync(join(place, 'node_modules/sharp/package.json'), '{"main": "index.mjs"}')
      writeFileSync(join(place, 'node_modules/sharp/index.mjs'), stand)
    }
    writeFileSync(join(place, 'run.mjs'), `import * as images from './images/index.ts'\n${code}`)
    const child = spawnSync(process.execPath, [join(place, 'run.mjs')], { encoding: 'utf8' })
    expect(child.stderr).toBe('')
    return child.stdout
  }
  const png = 'Buffer.from("89504e470d0a1a0a00", "hex")'
  const tell = '.catch((error) => console.log(error.name, error.message))'

  test('says how to install it', () => {
    expect(run(undefined, `await images.readPhoto(${png})${tell}`)).toMatch(
      /^ImageSupportError reading and writing photos needs the package sharp, which is not installed: run `npm install sharp@0\.35`/,
    )
    const photo = '{ width: 1, height: 1, rgb: new Uint8Array(3), grey: true, format: "png" }'
    expect(run(undefined, `await images.encodePhoto(${photo}, { format: 'png' })${tell}`)).toMatch(/^ImageSupportError/)
  })

  test('says so where its native part is missing', () => {
    const stand = 'throw new Error("Could not load the sharp module\\nPossible solutions:")'
    const out = run(stand, `await images.readPhoto(${png})${tell}`)
    expect(out).toContain(`does not start on ${process.platform}-${process.arch}`)
    expect(out).toContain('(Could not load the sharp module)\n')
  })
})
