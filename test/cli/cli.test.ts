/** The command line as users meet it: a process, its files, exit codes and words. `lowkey` watches every file it could harm. */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import sharp from 'sharp'
import { beforeAll, describe, expect, test } from 'vitest'
import { duration, ProgressLine } from '../../src/cli/progress.ts'
import { type Invocation, installation, lowkey, type Outcome, room, says } from '../support/cli.ts'

const repository = resolve(import.meta.dirname, '../..')
const { version } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as { version: string }
const root = process.getuid?.() === 0

/** `protect`, on the adapter that the tests are to use. */
function protect(args: readonly string[], invocation: Invocation): Promise<Outcome> {
  const gpu = process.env.LOWKEY_GPU
  return lowkey(['protect', ...(gpu ? ['--gpu', gpu] : []), ...args], invocation)
}

/** One object a line. */
const rows = ({ stdout }: Outcome) =>
  stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))

// The photos: one real face, about 42 by 57 pixels, in every dress.
const WIDTH = 160
const HEIGHT = 200
const photos = room('photos')
const shot = (name: string): string => join(photos, name)
/** Marks in the metadata of turned.jpg, to be found in the bytes of a file. */
const ARTIST = 'Ada Example'
const PLACE = 'SECRET-PLACE'

beforeAll(async () => {
  const face = await sharp(join(repository, 'examples/astronaut.png'))
    .extract({ left: 80, top: 0, width: 320, height: 400 })
    .resize(WIDTH, HEIGHT)
    .png()
    .toBuffer()
  writeFileSync(shot('face.png'), face)
  await sharp(face).jpeg({ quality: 95, chromaSubsampling: '4:2:0' }).toFile(shot('face.jpg'))
  await sharp(face).webp({ quality: 95 }).toFile(shot('face.webp'))
  await sharp(face).toColourspace('b-w').png().toFile(shot('grey.png'))
  const opacity = Buffer.from(Array.from({ length: WIDTH * HEIGHT }, (_, i) => 55 + (i % 201)))
  const plane = { width: WIDTH, height: HEIGHT, channels: 1 as const }
  await sharp(face).joinChannel(opacity, { raw: plane }).png().toFile(shot('alpha.png'))
  // Stored lying on its side, as cameras do: orientation 6 says to turn it clockwise. With a colour profile.
  await sharp(await sharp(face).rotate(-90).png().toBuffer())
    .jpeg({ quality: 95 })
    .withExif({ IFD0: { Artist: ARTIST }, IFD3: { GPSMapDatum: PLACE, GPSLatitudeRef: 'N' } })
    .withMetadata({ orientation: 6 })
    .toFile(shot('turned.jpg'))
  const plain = { width: WIDTH, height: 120, channels: 3 as const, background: '#557799' }
  await sharp({ create: plain }).png().toFile(shot('blank.png'))
  const jpeg = readFileSync(shot('face.jpg'))
  writeFileSync(shot('cut.jpg'), jpeg.subarray(0, jpeg.length / 2))
  writeFileSync(shot('words.png'), 'this is no photo\n')
})

/** A folder with copies of the photos named, under other names where given as [photo, name]. */
function roomWith(...names: (string | [photo: string, name: string])[]): string {
  const folder = room()
  for (const name of names) {
    const [photo, as] = typeof name === 'string' ? [name, name] : name
    copyFileSync(shot(photo), join(folder, as))
  }
  return folder
}

interface Raster {
  data: Buffer
  width: number
  height: number
  channels: number
}
async function decode(file: string | Uint8Array): Promise<Raster> {
  const { data, info } = await sharp(file).raw().toBuffer({ resolveWithObject: true })
  return { data, width: info.width, height: info.height, channels: info.channels }
}

/** Pixels that differ, split by whether they lie in the box grown by its own size on every side. */
function changes(before: Raster, after: Raster, [x1, y1, x2, y2]: number[]): { near: number; far: number } {
  expect([after.width, after.height, after.channels]).toEqual([before.width, before.height, before.channels])
  const count = { near: 0, far: 0 }
  for (let i = 0; i < before.data.length; i++) {
    if (before.data[i] === after.data[i]) continue
    const pixel = Math.floor(i / before.channels)
    const [x, y] = [pixel % before.width, Math.floor(pixel / before.width)]
    const near = x > 2 * x1 - x2 && x < 2 * x2 - x1 && y > 2 * y1 - y2 && y < 2 * y2 - y1
    count[near ? 'near' : 'far']++
  }
  return count
}

describe('protect, on a photo', () => {
  const folder = room()
  const file = (name: string): string => join(folder, name)
  const steps = ['--steps', '2']
  let plain: Outcome
  let json: Outcome
  // Two runs that most of the following looks at: the second asks for the same with other words.
  beforeAll(async () => {
    copyFileSync(shot('face.png'), file('face.png'))
    plain = await protect(['face.png', ...steps, '--compare', 'pictures/compare.png'], { cwd: folder })
    json = await protect(['face.png', ...steps, '--seed', '1', '--json', '-o', 'new/again.png'], { cwd: folder })
  })

  test('writes the result beside the photo, prints its path and nothing else', async () => {
    expect(plain).toMatchObject({ code: 0, stdout: 'face.cloaked.png\n' })
    expect(plain.created).toEqual(['face.cloaked.png', 'pictures/compare.png'])
    const { format, width, height, channels } = await sharp(file('face.cloaked.png')).metadata()
    expect({ format, width, height, channels }).toEqual({ format: 'png', width: WIDTH, height: HEIGHT, channels: 3 })
  })

  test('tells progress, every recogniser before and after, the visible change, seconds and adapter on stderr', () => {
    const similarity = String.raw`0\.\d{3}`
    expect(plain.stderr).toMatch(/^face\.png: step \d of 2 \(\d+%\)/m)
    expect(plain.stderr).toMatch(/^face\.png: step 2 of 2 \(100%\), \d+ s left$/m)
    expect(plain.stderr).toMatch(/^face\.png -> face\.cloaked\.png$/m)
    expect(plain.stderr).toMatch(/^ +recogniser +role +before +after +threshold$/m)
    const outcome = '(no match any more|STILL MATCHES)'
    for (const start of ['sirius +attacked', 'dlib +attacked', 'faceplugin +attacked']) {
      expect(plain.stderr).toMatch(new RegExp(`^ +${start} +1\\.000 +${similarity} +${similarity} +${outcome}$`, 'm'))
    }
    expect(plain.stderr).toMatch(/^visible change: LPIPS 0\.\d{4}, PSNR \d+\.\d dB/m)
    expect(plain.stderr).toMatch(/^\d+\.\d s \(detect .*\) on \S+/m)
  })

  test('changes pixels around the face and not one elsewhere', async () => {
    const [row] = rows(json)
    const { near, far } = changes(
      await decode(shot('face.png')),
      await decode(file('face.cloaked.png')),
      row.faces[0].box,
    )
    expect(near).toBeGreaterThan(1000)
    expect(far).toBe(0)
  })

  test('writes a picture of before, after and difference', async () => {
    const { format, width, height } = await sharp(file('pictures/compare.png')).metadata()
    expect(format).toBe('png')
    expect(width).toBeGreaterThanOrEqual(3 * WIDTH)
    expect(height).toBeGreaterThan(HEIGHT)
  })

  test('with --json prints one object with the documented fields', () => {
    expect(json.code).toBe(0)
    expect(json.stdout.match(/\n/g)).toHaveLength(1)
    const [row] = rows(json)
    const fields = 'input output width height adapter seconds lpips psnr faces left smallest warnings'
    expect(Object.keys(row)).toEqual(fields.split(' '))
    expect(row).toMatchObject({
      input: 'face.png',
      output: 'new/again.png',
      width: WIDTH,
      height: HEIGHT,
      warnings: [],
    })
    expect(row.adapter).toMatch(/\w/)
    expect(row.seconds).toBeGreaterThan(0)
    expect(row.lpips).toBeGreaterThan(0)
    expect(row.lpips).toBeLessThan(0.1)
    expect(row.psnr).toBeGreaterThan(35)
    expect(row.psnr).toBeLessThan(70)
    expect(row.faces).toHaveLength(1)
    const [face] = row.faces
    expect(Object.keys(face)).toEqual(
      'box landmarks recognisers rounds number by roll beyond foundAgain sure'.split(' '),
    )
    expect(face.landmarks).toHaveLength(5)
    const [x1, y1, x2, y2] = face.box
    for (const [x, y] of face.landmarks) {
      expect(x > x1 && x < x2 && y > y1 && y < y2).toBe(true)
    }
    expect(face.recognisers.map((r: { id: string; heldOut: boolean }) => [r.id, r.heldOut])).toEqual([
      ['sirius', false],
      ['dlib', false],
      ['faceplugin', false],
    ])
    for (const recogniser of face.recognisers) {
      expect(Object.keys(recogniser)).toEqual(['id', 'heldOut', 'threshold', 'before', 'after'])
      expect(recogniser.threshold).toBeGreaterThan(0.3)
      expect(recogniser.threshold).toBeLessThan(1)
      expect(recogniser.before).toBeCloseTo(1, 5)
      expect(recogniser.after).toBeLessThan(0.9999)
      expect(recogniser.after).toBeGreaterThan(-1)
    }
  })

  test('gives the same bytes for the same seed, also under another name', () => {
    expect(json.created).toEqual(['new/again.png'])
    expect(readFileSync(file('new/again.png')).equals(readFileSync(file('face.cloaked.png')))).toBe(true)
  })

  test('gives other bytes for another seed; is quiet; goes on when nobody reads what it prints', async () => {
    const args = ['face.png', ...steps, '--seed', '2', '-q', '-o', 'other.png']
    const { code, stderr, created } = await protect(args, { cwd: folder, closed: ['stdout'] })
    expect({ code, stderr, created }).toEqual({ code: 0, stderr: '', created: ['other.png'] })
    expect(readFileSync(file('other.png')).equals(readFileSync(file('face.cloaked.png')))).toBe(false)
  })

  test('refuses to replace a result that exists, and replaces it with --overwrite', async () => {
    const target = readFileSync(file('face.cloaked.png'))
    const refused = await protect(['face.png', ...steps], { cwd: folder })
    expect(refused).toMatchObject({ code: 1, stdout: '', created: [] })
    expect(refused.stderr).toMatch(/face\.cloaked\.png exists already: --overwrite/)
    writeFileSync(file('face.cloaked.png'), 'an older result')
    const done = await protect(['face.png', ...steps, '--overwrite'], { cwd: folder, replaces: ['face.cloaked.png'] })
    expect(done).toMatchObject({ code: 0, stdout: 'face.cloaked.png\n', created: [] })
    expect(readFileSync(file('face.cloaked.png')).equals(target)).toBe(true)
  })

  test('reads standard input and writes standard output, where nothing but the photo goes', async () => {
    const input = readFileSync(shot('face.png'))
    const { code, stdoutBytes, created } = await protect(['-', '-o', '-', ...steps, '--json'], { cwd: folder, input })
    expect({ code, created }).toEqual({ code: 0, created: [] })
    expect(stdoutBytes.equals(readFileSync(file('face.cloaked.png')))).toBe(true)
  })

  test('fails where standard output takes no photo', async () => {
    const { code, stderr, created } = await protect(['face.png', '-o', '-', '--steps', '1', '-q'], {
      cwd: folder,
      closed: ['stdout'],
    })
    expect({ code, created }).toEqual({ code: 1, created: [] })
    expect(stderr).toMatch(/^lowkey-gpu: face\.png: cannot be written to standard output \(.*EPIPE.*\)\n$/)
  })
})

describe('protect, on a folder', () => {
  const folder = room()
  const names = ['Jürgen & 猫 1.JPEG', 'alpha.png', 'cut.jpg', 'face.webp', 'grey.png', 'turned.jpg']
  let run: Outcome
  const out = (name: string): string => join(folder, 'out', name)
  beforeAll(async () => {
    for (const name of names) copyFileSync(shot(name.startsWith('J') ? 'face.jpg' : name), join(folder, name))
    // Left out, and said: an earlier result, as far as its name tells, other files, and folders below.
    copyFileSync(shot('words.png'), join(folder, 'a.cloaked.png'))
    writeFileSync(join(folder, 'notes.txt'), 'words')
    mkdirSync(join(folder, 'below'))
    copyFileSync(shot('face.png'), join(folder, 'below/face.png'))
    run = await protect(['.', '-o', 'out', '--steps', '1', '--json'], { cwd: folder })
  }, 900_000)

  test('protects every photo in it but the broken one, which it names; exit code 1', () => {
    expect(run.code).toBe(1)
    expect(run.created).toEqual([
      'out/Jürgen & 猫 1.cloaked.JPEG',
      'out/alpha.cloaked.png',
      'out/face.cloaked.webp',
      'out/grey.cloaked.png',
      'out/turned.cloaked.jpg',
    ])
    expect(run.stderr).toMatch(/^lowkey-gpu: cut\.jpg is damaged or cut short/m)
    expect(run.stderr).toMatch(
      /^2 of 6, alpha\.png: step 1 of 1 \(100%\), \d\S* photos a minute, \d+ (s|min \d+ s) left$/m,
    )
    expect(run.stderr).toMatch(/^6 worked on in \d+\.\d s, \d\S* a minute$/m)
    expect(run.stderr).toMatch(/^note: 1 earlier result left out \(a\.cloaked\.png\)$/m)
    expect(run.stderr).toMatch(/^note: 1 other file is no photo \(1 text\)$/m)
    expect(run.stderr).toMatch(
      /^lowkey-gpu: below is a folder with 1 photo \(face\.png\), not looked into: --recursive /m,
    )
    const closing = '7 photos: 5 protected, 0 without a face, 1 failed, 1 left alone, besides 1 earlier result'
    expect(run.stderr.trimEnd().split('\n').at(-1)).toBe(closing)
    const seen = rows(run)
    const summary = { photos: 7, protected: 5, withoutFace: 0, failed: 1, leftAlone: 1, notDone: 0, earlierResults: 1 }
    expect(seen.pop()).toMatchObject({
      summary,
      notes: [/1 earlier/, /1 other/].map((text) => expect.stringMatching(text)),
    })
    expect(seen.pop()).toMatchObject({ input: 'below', leftAlone: { photos: 1 } })
    expect(seen.map(({ input }) => input)).toEqual(names)
    expect(seen[2]).toEqual({
      input: 'cut.jpg',
      error: { code: 1, message: expect.stringMatching(/^cut\.jpg is damaged/) },
    })
    for (const [i, row] of seen.entries()) if (i !== 2) expect(row.faces).toHaveLength(1)
  })

  test('writes JPEG without halving the resolution of colours, whatever the photo had', async () => {
    expect((await sharp(shot('face.jpg')).metadata()).chromaSubsampling).toBe('4:2:0')
    const { format, chromaSubsampling } = await sharp(out('Jürgen & 猫 1.cloaked.JPEG')).metadata()
    expect({ format, chromaSubsampling }).toEqual({ format: 'jpeg', chromaSubsampling: '4:4:4' })
  })

  test('writes WebP without loss: far from the face not one pixel changes', async () => {
    expect((await sharp(out('face.cloaked.webp')).metadata()).format).toBe('webp')
    const { near, far } = changes(
      await decode(shot('face.webp')),
      await decode(out('face.cloaked.webp')),
      rows(run)[3].faces[0].box,
    )
    expect(near).toBeGreaterThan(1000)
    expect(far).toBe(0)
  })

  test('keeps grey photos grey, in one channel', async () => {
    const { space, channels } = await sharp(out('grey.cloaked.png')).metadata()
    expect({ space, channels }).toEqual({ space: 'b-w', channels: 1 })
    const single = async (file: string) => decode(await sharp(file).toColourspace('b-w').png().toBuffer())
    const { near, far } = changes(
      await single(shot('grey.png')),
      await single(out('grey.cloaked.png')),
      rows(run)[4].faces[0].box,
    )
    expect(near).toBeGreaterThan(300)
    expect(far).toBe(0)
  })

  test('keeps opacity as it was', async () => {
    const opacity = async (file: string) => (await sharp(file).extractChannel('alpha').raw().toBuffer()).toString('hex')
    expect(await opacity(out('alpha.cloaked.png'))).toBe(await opacity(shot('alpha.png')))
  })

  test('turns photos upright and drops their metadata', async () => {
    expect(readFileSync(shot('turned.jpg')).includes(PLACE)).toBe(true)
    const { width, height, orientation, exif, icc, xmp, iptc } = await sharp(out('turned.cloaked.jpg')).metadata()
    expect({ width, height }).toEqual({ width: WIDTH, height: HEIGHT })
    expect([undefined, 1]).toContain(orientation)
    expect({ exif, icc, xmp, iptc }).toEqual({ exif: undefined, icc: undefined, xmp: undefined, iptc: undefined })
    const bytes = readFileSync(out('turned.cloaked.jpg'))
    expect(bytes.includes(PLACE) || bytes.includes(ARTIST)).toBe(false)
    // Upright in its pixels: it is the photo that was turned, but for JPEG and the protection.
    const [a, b] = [await decode(shot('face.png')), await decode(out('turned.cloaked.jpg'))]
    const error = a.data.reduce((sum, value, i) => sum + Math.abs(value - b.data[i]), 0) / a.data.length
    expect(error).toBeLessThan(6)
  })

  test('with --keep-metadata keeps the author and never the place; takes a name that looks like an option', async () => {
    const cwd = roomWith(['turned.jpg', '-von Jürgen.jpg'])
    const run = await protect(['./-von Jürgen.jpg', '--keep-metadata', '--steps', '1'], { cwd })
    expect(run).toMatchObject({ code: 0, stdout: './-von Jürgen.cloaked.jpg\n', created: ['-von Jürgen.cloaked.jpg'] })
    const bytes = readFileSync(join(cwd, '-von Jürgen.cloaked.jpg'))
    const { exif, orientation } = await sharp(bytes).metadata()
    expect(exif?.includes(ARTIST)).toBe(true)
    expect([undefined, 1]).toContain(orientation)
    expect(bytes.includes(PLACE)).toBe(false)
  })
})

describe('protect, on what it cannot protect', () => {
  test.each([
    ['words.png', /words\.png is called a photo, but holds text/],
    ['cut.jpg', /cut\.jpg is damaged or cut short/],
    ['nothing.png', /nothing\.png does not exist/],
  ])('%s: exit code 1, the file named, nothing written', async (name, message) => {
    const cwd = roomWith('words.png', 'cut.jpg')
    const run = await protect([name, '-o', 'out/x.png'], { cwd })
    expect(run).toMatchObject({ code: 1, stdout: '', created: [], stderr: expect.stringMatching(message) })
    expect(existsSync(join(cwd, 'out'))).toBe(false)
    expect(run.stderr.trimEnd().split('\n')).toHaveLength(1)
  })

  test('a photo too small: says how large it must be', async () => {
    const cwd = room()
    const around = { left: 41, top: 27, width: 60, height: 63 }
    await sharp(shot('face.png')).extract(around).toFile(join(cwd, 'tight.png'))
    const run = await protect(['tight.png'], { cwd })
    expect(run).toMatchObject({ code: 1, stdout: '', created: [] })
    expect(run.stderr).toMatch(/^lowkey-gpu: tight\.png: a photo of 60x63 pixels is too small: .* at least 64$/m)
  })

  test('standard input that is no photo: names it', async () => {
    const run = await protect(['-'], { cwd: room(), input: Buffer.from('words') })
    expect(run).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/^lowkey-gpu: standard input is not a photo/),
    })
  })

  test('no face: exit code 3, nothing written; 1 when another photo failed otherwise', async () => {
    const cwd = roomWith('blank.png', ['blank.png', 'also.png'], 'words.png')
    const one = await protect(['blank.png', '-o', 'out'], { cwd })
    expect(one).toMatchObject({
      code: 3,
      stdout: '',
      created: [],
      stderr: expect.stringMatching(/blank\.png: no face found/),
    })
    expect(existsSync(join(cwd, 'out'))).toBe(false)
    const two = await protect(['blank.png', 'also.png', '--json'], { cwd })
    expect(two.code).toBe(3)
    expect(
      rows(two)
        .slice(0, -1)
        .map(({ input, error }) => [input, error.code]),
    ).toEqual([
      ['blank.png', 3],
      ['also.png', 3],
    ])
    expect(rows(two)[2].summary).toMatchObject({ photos: 2, withoutFace: 2, failed: 0 })
    expect((await protect(['blank.png', 'words.png'], { cwd })).code).toBe(1)
  })

  test('no face with --on-no-face skip: exit code 0, nothing written', async () => {
    const cwd = roomWith('blank.png')
    const run = await protect(['blank.png', '--on-no-face', 'skip'], { cwd })
    expect(run).toMatchObject({
      code: 0,
      stdout: '',
      created: [],
      stderr: expect.stringMatching(/no face.*; skipped$/m),
    })
  })

  test('no face with --on-no-face copy: the photo itself, never under the name of a protected one', async () => {
    const cwd = roomWith('blank.png', ['blank.png', 'x.cloaked.png'])
    const args = ['blank.png', 'x.cloaked.png', '-o', 'out', '--on-no-face', 'copy', '--again', '--json']
    const run = await protect(args, { cwd })
    expect(run).toMatchObject({ code: 0, created: ['out/blank.png'] })
    expect((await decode(join(cwd, 'out/blank.png'))).data.equals((await decode(shot('blank.png'))).data)).toBe(true)
    expect(run.stderr).toMatch(/^blank\.png: no face.*; copied unprotected to out\/blank\.png$/m)
    expect(run.stderr).toMatch(/^x\.cloaked\.png: no face.*; skipped$/m)
    expect(rows(run).slice(0, -1)).toEqual([
      { input: 'blank.png', output: 'out/blank.png', faces: [], warnings: [expect.stringMatching(/no face/)] },
      { input: 'x.cloaked.png', output: null, faces: [], warnings: [expect.stringMatching(/no face/)] },
    ])
  })

  test('--on-no-face copy replaces no input, nothing that exists, and does not stop the others', async () => {
    const cwd = room()
    for (const name of ['a', 'b', 'out']) mkdirSync(join(cwd, name))
    for (const name of ['a/same.png', 'out/same.png', 'b/other.png', 'a/there.png'])
      copyFileSync(shot('blank.png'), join(cwd, name))
    symlinkSync('../out/same.png', join(cwd, 'b/link.png'))
    writeFileSync(join(cwd, 'out/there.png'), 'mine')
    const args = ['a/same.png', 'a/there.png', 'b/link.png', 'b/other.png', '-o', 'out', '--on-no-face', 'copy']
    const run = await protect(args, { cwd })
    expect(run).toMatchObject({ code: 1, created: ['out/link.png', 'out/other.png'] })
    expect(run.stderr).toMatch(/^lowkey-gpu: a\/same\.png: out\/same\.png is an input/m)
    expect(run.stderr).toMatch(/^lowkey-gpu: a\/there\.png: out\/there\.png exists already/m)
  })
})

describe('protect, where it writes', () => {
  test('never over an input, also with --overwrite and through links', async () => {
    const cwd = roomWith('face.png')
    symlinkSync('face.png', join(cwd, 'link.png'))
    linkSync(join(cwd, 'face.png'), join(cwd, 'hard.png'))
    mkdirSync(join(cwd, 'sub'))
    symlinkSync('..', join(cwd, 'sub/up'))
    const attempts = [
      ['face.png', '-o', 'face.png'],
      ['face.png', '-o', 'link.png'],
      ['face.png', '-o', 'sub/up/face.png'],
      ['face.png', '-o', 'hard.png'],
      ['link.png', '-o', 'face.png'],
      ['face.png', '--suffix', ''],
      ['face.png', '-o', 'x.png', '--compare', 'face.png'],
    ]
    for (const args of attempts) {
      const run = await protect([...args, '--overwrite'], { cwd })
      expect(run, args.join(' ')).toMatchObject({ code: 2, stdout: '', created: [] })
      expect(run.stderr, args.join(' ')).toMatch(/ is an input; results never replace inputs/)
    }
  })

  test('not over a link that leads nowhere, a folder, or the result itself', async () => {
    const cwd = roomWith('face.png')
    symlinkSync('nowhere.png', join(cwd, 'dangling.png'))
    mkdirSync(join(cwd, 'folder.png'))
    const dangling = await protect(['face.png', '-o', 'dangling.png'], { cwd })
    expect(dangling).toMatchObject({
      code: 1,
      created: [],
      stderr: expect.stringMatching(/dangling\.png exists already/),
    })
    const picture = await protect(['face.png', '--compare', 'folder.png', '--overwrite'], { cwd })
    expect(picture).toMatchObject({ code: 1, created: [], stderr: expect.stringMatching(/folder\.png is a folder/) })
    const both = await protect(['face.png', '-o', 'x.png', '--compare', './x.png'], { cwd })
    expect(both).toMatchObject({
      code: 2,
      created: [],
      stderr: expect.stringMatching(/--compare names the file of the result/),
    })
  })

  test('into a folder that cannot be: exit code 1 before the work', async () => {
    const cwd = roomWith('face.png')
    writeFileSync(join(cwd, 'file'), 'a file')
    for (const output of ['file/x.png', 'file/deep/x.png', 'file', 'file/']) {
      const run = await protect(['face.png', '-o', output], { cwd })
      expect(run, output).toMatchObject({ code: 1, stdout: '', created: [] })
      expect(run.stderr, output).toMatch(
        /^lowkey-gpu: (face\.png: )?file\S* cannot be a folder: \S*\/file is a file\n$/,
      )
    }
  })

  test.skipIf(root)('into a folder that may not be written: exit code 1 before the work', async () => {
    const cwd = roomWith('face.png')
    mkdirSync(join(cwd, 'locked'))
    chmodSync(join(cwd, 'locked'), 0o555)
    const run = await protect(['face.png', '-o', 'locked/new/x.png'], { cwd })
    expect(run).toMatchObject({
      code: 1,
      stdout: '',
      created: [],
      stderr: expect.stringMatching(/cannot be written to \(EACCES\)/),
    })
  })

  test('--dry-run finds faces, names the files and writes nothing; two results of one name are refused', async () => {
    const cwd = roomWith('face.png', 'blank.png')
    for (const name of ['a', 'b']) {
      mkdirSync(join(cwd, name))
      copyFileSync(shot('face.jpg'), join(cwd, name, 'same.jpg'))
    }
    const run = await protect(['face.png', 'a', 'blank.png', '-o', 'out', '--dry-run', '--overwrite'], { cwd })
    expect(run).toMatchObject({ code: 1, created: [] })
    expect(run.stdout).toBe(
      'face.png: 1 face, would write out/face.cloaked.png\na/same.jpg: 1 face, would write out/same.cloaked.jpg\n',
    )
    expect(run.stderr).toMatch(/^lowkey-gpu: blank\.png: no face found/m)
    expect(run.stderr).toMatch(/^3 photos: 2 would be protected, 1 without a face, 0 failed, 0 left alone$/m)
    expect(existsSync(join(cwd, 'out'))).toBe(false)
    const both = await protect(['face.png', 'a', 'b', '-o', 'out'], { cwd })
    expect(both).toMatchObject({ code: 2, stdout: '', created: [] })
    expect(both.stderr).toMatch(
      /^lowkey-gpu: a\/same\.jpg and b\/same\.jpg would both become out\/same\.cloaked\.jpg: /,
    )
    const json = await protect(['face.png', '--dry-run', '--json', '-f', 'webp', '--suffix=-x'], { cwd })
    expect(rows(json)).toMatchObject([
      { input: 'face.png', output: 'face-x.webp', width: WIDTH, height: HEIGHT, dryRun: true },
    ])
    expect(rows(json)[0].faces).toHaveLength(1)
  })
})

describe('interruption', () => {
  const endless = ['face.png', '--steps', '10000', '-o', 'out/x.png', '--compare', 'out/compare.png']
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    test(`${signal} ends the attack after the step in progress: exit code 130, nothing written`, async () => {
      const cwd = roomWith('face.png')
      const during: Invocation['during'] = (child) => {
        says(child, /step \d+ of 10000/).then(() => child.kill(signal))
      }
      const run = await protect(endless, { cwd, during })
      expect(run).toMatchObject({ code: 130, stdout: '', created: [] })
      expect(run.stderr).toMatch(/^lowkey-gpu: interrupted$/m)
      expect(existsSync(join(cwd, 'out'))).toBe(false)
    })
  }

  test('photos done before it stay, whole, and are the only ones', async () => {
    const cwd = roomWith('face.png', ['face.png', 'second.png'], ['face.png', 'third.png'])
    const during: Invocation['during'] = (child) => {
      says(child, /^face\.cloaked\.png$/m).then(() => child.kill('SIGINT'))
    }
    const run = await protect(['face.png', 'second.png', 'third.png', '--steps', '3'], { cwd, during })
    expect(run.code).toBe(130)
    // The second may have been done as well when the signal came.
    expect(run.created.length === 1 || run.created.length === 2).toBe(true)
    expect(run.stdout).toBe(run.created.map((name) => `${name}\n`).join(''))
    expect(run.created[0]).toBe('face.cloaked.png')
    for (const name of run.created) expect((await decode(join(cwd, name))).width).toBe(WIDTH)
    expect(run.stderr).toMatch(
      /^3 photos: [12] protected, 0 without a face, 0 failed, 0 left alone, [12] not done\nlowkey-gpu: interrupted$/m,
    )
  })

  test('ends the wait for standard input', async () => {
    const started = room()
    const during: Invocation['during'] = async (child) => {
      await sleep(2000)
      child.kill('SIGINT')
    }
    const run = await protect(['-'], { cwd: started, input: 'open', during })
    expect(run).toMatchObject({ code: 130, stdout: '', created: [] })
  })

  test('a second signal ends the process at once', async () => {
    const cwd = roomWith('face.png')
    // Decoding 30 megapixels takes a while, in which the first signal has to wait.
    await sharp(shot('face.png'))
      .resize(5000, 6250, { kernel: 'nearest' })
      .png({ compressionLevel: 1 })
      .toFile(join(cwd, 'large.png'))
    let between: number | null | undefined
    let second = 0
    const during: Invocation['during'] = async (child) => {
      await says(child, /face\.png: 1 face/)
      child.kill('SIGINT')
      await sleep(20)
      between = child.exitCode
      second = performance.now()
      child.kill('SIGINT')
    }
    const run = await protect(['face.png', 'large.png', '--dry-run'], { cwd, during })
    expect(run).toMatchObject({ code: 130, stdout: 'face.png: 1 face, would write face.cloaked.png\n', created: [] })
    // Nothing was waited for, or 'interrupted' were said.
    expect(between).toBe(null)
    expect(run.stderr).toBe('')
    expect(performance.now() - second).toBeLessThan(3000)
  })
})

describe('usage', () => {
  const cwd = room()
  beforeAll(() => {
    for (const name of ['a.png', 'b.png']) copyFileSync(shot('face.png'), join(cwd, name))
    mkdirSync(join(cwd, 'empty'))
  })

  test.each<[string[], RegExp]>([
    [['frobnicate'], /there is no command "frobnicate"; there are protect, check, doctor, evaluate, weights/],
    [['protect'], /name a photo, a folder, or - for standard input/],
    [['protect', '--nosuch', 'a.png'], /Unknown option '--nosuch'/],
    [
      ['protect', 'a.png', '-s', 'extreme'],
      /--strength takes auto, low, medium, high, paper, small, no-blur; got "extreme"/,
    ],
    [['protect', 'a.png', '-f', 'bmp'], /--format takes png, jpeg, webp; got "bmp"/],
    [['protect', 'a.png', '--steps', '0'], /--steps takes a whole number from 1 to 10000; got "0"/],
    [['protect', 'a.png', '--steps', '1.5'], /--steps takes a whole number/],
    [['protect', 'a.png', '--seed=-1'], /--seed takes a whole number from 0 to 4294967295; got "-1"/],
    [['protect', 'a.png', '--faces', 'two'], /--faces takes all, largest, list; got "two"/],
    [
      ['protect', 'a.png', '--models', 'sirius,nosuch'],
      /--models: there is no recogniser "nosuch"; there are sirius, dlib/,
    ],
    [['protect', 'a.png', '--suffix', '../x'], /--suffix takes a part of a file name/],
    [['protect', 'a.png', '--on-no-face', 'copy'], /--on-no-face copy needs --output FOLDER/],
    [['protect', 'a.png', '--on-no-face', 'copy', '-o', 'out', '--suffix', ''], /--on-no-face copy needs a --suffix/],
    [['protect', 'a.png', '-o'], /argument missing/],
    [['protect', 'a.png', '-o', 'x.gif'], /--output x\.gif: results are \.png, \.jpg or \.webp/],
    [['protect', 'a.png', '-o', 'x.png', '-f', 'webp'], /--format webp does not fit --output x\.png/],
    [['protect', 'a.png', 'b.png', '-o', 'x.png'], /--output x\.png is a file, which takes a single photo/],
    [['protect', 'a.png', 'b.png', '-o', '-'], /standard output takes a single photo/],
    [['protect', '-', 'a.png'], /standard output takes a single photo/],
    [['protect', '-', '-', '-o', 'out'], /- is standard input, which holds a single photo/],
    [['protect', 'a.png', 'b.png', '--compare', 'c.png'], /--compare takes a single photo/],
    [['protect', 'a.png', '--compare', '-'], /--compare takes a file/],
    [['protect', 'empty'], /empty: the folder has no photos/],
    [['doctor', 'a.png'], /doctor takes no names; got "a\.png"/],
    [['weights'], /weights takes list, .*, population or path; got nothing/],
    [['weights', 'eat'], /weights takes list, .* or path; got "eat"/],
    [['weights', 'list', 'more'], /takes no further names, got "more"/],
  ])('%j: exit code 2', async (args, message) => {
    const run = await lowkey(args, { cwd })
    expect(run).toMatchObject({ code: 2, stdout: '', created: [] })
    expect(run.stderr).toMatch(message)
    expect(run.stderr.trimEnd().split('\n').length).toBeLessThanOrEqual(2)
  })

  test.each<[string[]]>([
    [['--help']],
    [['-h']],
    [['help']],
    [['protect', '--help']],
    [['protect', 'a.png', '-h']],
    [['doctor', '--help']],
    [['weights', '-h']],
  ])('%j: help on stdout, exit code 0', async (args) => {
    const run = await lowkey(args, { cwd })
    expect(run).toMatchObject({ code: 0, stderr: '', created: [] })
    expect(run.stdout).toMatch(/^Usage: lowkey-gpu/m)
  })

  test('tells every option of protect', async () => {
    const { stdout } = await lowkey(['protect', '--help'], { cwd })
    const options =
      'output strength format suffix overwrite recursive hidden files-from null again models hold-out faces on-no-face ' +
      'seed steps keep-metadata keep-times compare gpu json quiet dry-run'
    for (const option of options.split(' ')) expect(stdout).toMatch(new RegExp(`--${option}\\b`))
  })

  test('without a command: the help on stderr, exit code 2', async () => {
    const run = await lowkey([], { cwd })
    expect(run).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(/^Usage: lowkey-gpu COMMAND/m) })
  })

  test('--version', async () => {
    expect(await lowkey(['--version'], { cwd })).toMatchObject({ code: 0, stdout: `${version}\n`, stderr: '' })
  })
})

describe('the GPU', () => {
  const cwd = room()
  test('--gpu list names the adapters, and any of them can be asked for', async () => {
    const run = await lowkey(['protect', '--gpu', 'list'], { cwd })
    expect(run).toMatchObject({ code: 0, stderr: '' })
    const lines = run.stdout.trimEnd().split('\n')
    for (const line of lines) expect(line).toMatch(/^\S.* \((vulkan|metal|d3d12)(, software)?\)$/)
    const name = lines[0].replace(/ \([^()]*\)$/, '')
    const doctor = await lowkey(['doctor', '--gpu', name], { cwd })
    expect(doctor.code).toBe(0)
  })

  test('--gpu of no adapter: exit code 4, with the names there are', async () => {
    const photo = roomWith('face.png')
    const run = await lowkey(['protect', 'face.png', '--gpu', 'voodoo'], { cwd: photo })
    expect(run).toMatchObject({ code: 4, stdout: '', created: [] })
    expect(run.stderr).toMatch(/^lowkey-gpu: no adapter's name contains 'voodoo'\. There are\n {2}\S/)
  })

  test.skipIf(process.platform !== 'linux')(
    'none at all: exit code 4, what was looked for and how to get one',
    async () => {
      const photo = roomWith('face.png')
      const script = join(installation({ without: ['@sparticuz'] }), 'src/cli/main.ts')
      const env = { VK_DRIVER_FILES: '/nonexistent.json', VK_ICD_FILENAMES: '/nonexistent.json' }
      const run = await lowkey(['protect', 'face.png'], { cwd: photo, script, env })
      expect(run).toMatchObject({ code: 4, stdout: '', created: [] })
      expect(run.stderr).toMatch(/^lowkey-gpu: no GPU and no software driver was found\. Looked for\n/)
      for (const name of ['Debian 12 ', 'Debian 13 ', 'Ubuntu ']) expect(run.stderr).toContain(name)
      expect(run.stderr).toContain('mesa-vulkan-drivers')
      expect(await lowkey(['protect', '--gpu', 'list'], { cwd, script, env })).toMatchObject({
        code: 4,
        stdout: 'no adapter\n',
      })
      // doctor tells the rest all the same.
      const doctor = await lowkey(['doctor', '--json'], { cwd, script, env })
      expect(doctor).toMatchObject({ code: 4, stderr: expect.stringMatching(/no GPU and no software driver/) })
      expect(rows(doctor)).toMatchObject([{ adapters: [], adapter: null, selfTest: null, pictures: { ok: true } }])
    },
  )
})

describe('doctor', () => {
  const cwd = room()
  test('shows adapter, weights, picture support and the self-test', async () => {
    const { code, stdout, stderr } = await lowkey(['doctor'], { cwd })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(new RegExp(`^lowkey-gpu ${version}, Node v`))
    expect(stdout).toMatch(/^Used: \S/m)
    expect(stdout).toMatch(/^ {2}f16 (yes|no), subgroups /m)
    for (const id of ['mtcnn', 'sirius', 'dlib', 'lpips-alex-scratch'])
      expect(stdout).toMatch(new RegExp(`^ {2}${id} +ok$`, 'm'))
    expect(stdout).toMatch(/^Pictures: JPEG, PNG, HEIC, WebP/m)
    expect(stdout).toMatch(/^Self-test: passed \(/m)
  })

  test('--json is one object', async () => {
    const run = await lowkey(['doctor', '--json'], { cwd })
    expect(run).toMatchObject({ code: 0, stderr: '' })
    const [row, ...more] = rows(run)
    expect(more).toEqual([])
    expect(row).toMatchObject({ version, node: process.version, pictures: { ok: true }, selfTest: { ok: true } })
    expect(row.adapters.length).toBeGreaterThan(0)
    expect(row.capabilities.maxInvocations).toBeGreaterThanOrEqual(256)
    expect(row.selfTest.error).toBeLessThan(1e-4)
    expect(row.selfTest.gflops).toBeGreaterThan(0)
  })

  test('without sharp: exit code 1 and what to install; protect says it too', async () => {
    const photo = roomWith('face.png')
    const script = join(installation({ without: ['sharp'] }), 'src/cli/main.ts')
    const run = await lowkey(['doctor'], { cwd, script })
    expect(run).toMatchObject({ code: 1, stdout: expect.stringMatching(/^Pictures: .*npm install sharp/m) })
    const refused = await lowkey(['protect', 'face.png'], { cwd: photo, script })
    expect(refused).toMatchObject({
      code: 1,
      created: [],
      stderr: expect.stringMatching(/face\.png: .*npm install sharp/),
    })
  })
})

describe('weights', () => {
  const cwd = room()
  const ids = ['mtcnn', 'sirius', 'dlib', 'faceplugin', 'lpips-alex-scratch']

  test('list, verify and path', async () => {
    const list = await lowkey(['weights', 'list'], { cwd })
    expect(list).toMatchObject({ code: 0, stderr: '' })
    for (const id of ids)
      expect(list.stdout).toMatch(new RegExp(`^${id} +(detector|recogniser|perceptual) +ready +\\S+ +\\S`, 'm'))
    const verify = await lowkey(['weights', 'verify'], { cwd })
    expect(verify.code).toBe(0)
    expect(verify.stdout.trimEnd().split('\n')).toHaveLength(ids.length + 1)
    for (const line of verify.stdout.trimEnd().split('\n'))
      expect(line).toMatch(/^ok {7}\S.*\.safetensors {2}[0-9a-f]{64}$/)
    const json = await lowkey(['weights', 'verify', '--json'], { cwd })
    expect(rows(json).map(({ id, ok }) => [id, ok])).toEqual([...ids, 'populations'].map((id) => [id, true]))
    const path = await lowkey(['weights', 'path'], { cwd, env: { LOWKEY_HOME: '/somewhere' } })
    expect(path).toMatchObject({ code: 0, stdout: `/somewhere/weights\n${join(repository, 'weights')}\n` })
  })

  test('ends without complaint when nobody reads what it prints', async () => {
    for (const closed of [['stdout'], ['stdout', 'stderr']] as const) {
      expect(await lowkey(['weights', 'list'], { cwd, closed })).toMatchObject({ code: 0, stderr: '' })
    }
    expect((await lowkey(['frobnicate'], { cwd, closed: ['stderr'] })).code).toBe(2)
  })

  test('missing: exit code 5 and the command that brings them, unless LOWKEY_HOME has them', async () => {
    const photo = roomWith('face.png')
    const package_ = installation({ weightsWithout: ['sirius.safetensors'] })
    const script = join(package_, 'src/cli/main.ts')
    const run = await lowkey(['protect', 'face.png'], { cwd: photo, script })
    expect(run).toMatchObject({ code: 5, stdout: '', created: [] })
    expect(run.stderr).toMatch(/^lowkey-gpu: sirius\.safetensors: is missing .*npm run weights/)
    expect(run.stderr).toContain(join(package_, 'weights'))
    const verify = await lowkey(['weights', 'verify'], { cwd, script })
    expect(verify).toMatchObject({
      code: 5,
      stdout: expect.stringMatching(/^problem {2}sirius: is missing: .*npm run weights/m),
    })
    const list = await lowkey(['weights', 'list'], { cwd, script })
    expect(list).toMatchObject({ code: 0, stdout: expect.stringMatching(/^sirius +recogniser +missing or damaged/m) })
    const home = room('home')
    mkdirSync(join(home, 'weights'))
    symlinkSync(join(repository, 'weights/sirius.safetensors'), join(home, 'weights/sirius.safetensors'))
    expect((await lowkey(['weights', 'verify'], { cwd, script, env: { LOWKEY_HOME: home } })).code).toBe(0)
  })

  test('damaged by one bit: exit code 5 and the file named; a good one elsewhere is taken', async () => {
    const photo = roomWith('face.png')
    const package_ = installation({ weightsWithout: ['sirius.safetensors'] })
    const script = join(package_, 'src/cli/main.ts')
    const bytes = readFileSync(join(repository, 'weights/sirius.safetensors'))
    bytes[bytes.length >> 1] ^= 1
    const damaged = join(package_, 'weights/sirius.safetensors')
    writeFileSync(damaged, bytes)
    const run = await lowkey(['protect', 'face.png'], { cwd: photo, script })
    expect(run).toMatchObject({ code: 5, stdout: '', created: [] })
    expect(run.stderr).toContain(`lowkey-gpu: ${damaged}: `)
    expect(run.stderr).toMatch(/npm run weights/)
    const doctor = await lowkey(['doctor'], { cwd, script })
    expect(doctor.code).toBe(5)
    expect(doctor.stdout).toMatch(/^ {2}sirius +.*npm run weights/m)
    expect(doctor.stdout).toMatch(/^ {2}dlib +ok$/m)
    const home = room('home')
    mkdirSync(join(home, 'weights'))
    symlinkSync(join(repository, 'weights/sirius.safetensors'), join(home, 'weights/sirius.safetensors'))
    expect((await lowkey(['weights', 'verify'], { cwd, script, env: { LOWKEY_HOME: home } })).code).toBe(0)
  })

  test('without a manifest: exit code 5', async () => {
    const package_ = installation({ weightsWithout: ['manifest.json'] })
    const run = await lowkey(['weights', 'list'], { cwd, script: join(package_, 'src/cli/main.ts') })
    expect(run).toMatchObject({
      code: 5,
      stdout: '',
      stderr: expect.stringMatching(/weights\/manifest\.json.*reinstall/),
    })
  })
})

/** The system's own Node where it is the oldest line supported, which cannot run the sources; else the one that runs the tests. */
function oldestNode(): string {
  for (const node of ['/usr/bin/node', '/usr/local/bin/node']) {
    if (existsSync(node) && execFileSync(node, ['--version'], { encoding: 'utf8' }).startsWith('v20.')) return node
  }
  return process.execPath
}

describe('the bundle of npm run build', () => {
  const cwd = room()
  const node = oldestNode()
  let package_: string
  let script: string
  beforeAll(() => {
    copyFileSync(shot('face.png'), join(cwd, 'face.png'))
    package_ = installation()
    execFileSync(process.execPath, ['build/build.ts'], { cwd: package_, stdio: 'pipe' })
    script = join(package_, 'dist/cli.js')
  })

  test('runs on the oldest Node there is here', async () => {
    expect(await lowkey(['--version'], { cwd, script, node })).toMatchObject({
      code: 0,
      stdout: `${version}\n`,
      stderr: '',
    })
    const path = await lowkey(['weights', 'path'], { cwd, script, node })
    expect(path.stdout.split('\n')).toContain(join(package_, 'weights'))
    const doctor = await lowkey(['doctor', '--json'], { cwd, script, node })
    expect(doctor).toMatchObject({ code: 0, stderr: '' })
    const nodeVersion = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim()
    expect(rows(doctor)).toMatchObject([{ version, node: nodeVersion, selfTest: { ok: true }, pictures: { ok: true } }])
    const found = await lowkey(['protect', 'face.png', '--dry-run'], { cwd, script, node })
    expect(found).toMatchObject({ code: 0, stdout: 'face.png: 1 face, would write face.cloaked.png\n', stderr: '' })
  })

  test.skipIf(process.platform === 'win32')('is executable', () => {
    expect(execFileSync(script, ['--version'], { encoding: 'utf8' })).toBe(`${version}\n`)
  })
})

describe('the progress line', () => {
  /** What a stream that is or is no terminal would be sent. */
  function fake(isTTY: boolean, columns = 80) {
    const written: string[] = []
    const stream = { isTTY, columns, write: (text: string) => written.push(text) > 0 }
    return { stream: stream as unknown as NodeJS.WriteStream, written }
  }

  test('is written over on a terminal, shows phase, bar and step, and can be removed', () => {
    const { stream, written } = fake(true)
    const line = new ProgressLine(false, stream)
    line.start('a.png')
    line.update({ phase: 'detect', done: 0, total: 0 })
    line.update({ phase: 'attack', done: 25, total: 50 })
    line.clear()
    expect(written).toEqual([
      '\r\x1b[Ka.png: looking for faces ...',
      '\r\x1b[Ka.png: [############------------] step 25 of 50',
      '\r\x1b[K',
    ])
  })

  test('estimates the time left from the steps since the first report', async () => {
    const { stream, written } = fake(true)
    const line = new ProgressLine(false, stream)
    line.start('a.png')
    line.update({ phase: 'attack', done: 1, total: 1001 })
    await sleep(50)
    line.update({ phase: 'attack', done: 2, total: 1001 })
    const [, left] = written[1].match(/step 2 of 1001, (\d+) s left$/) ?? []
    expect(Number(left)).toBeGreaterThanOrEqual(49)
    expect(Number(left)).toBeLessThan(60)
  })

  test('never wraps', () => {
    const { stream, written } = fake(true, 30)
    const line = new ProgressLine(false, stream)
    line.start('a-very-long-name-of-a-photo.png')
    line.update({ phase: 'measure', done: 0, total: 0 })
    expect(written[0].replace('\r\x1b[K', '').length).toBeLessThan(30)
  })

  test('is a line every ten percent elsewhere, and nothing when quiet', () => {
    const { stream, written } = fake(false)
    const line = new ProgressLine(false, stream)
    line.start('a.png')
    line.update({ phase: 'detect', done: 0, total: 0 })
    for (let done = 1; done <= 50; done++) line.update({ phase: 'attack', done, total: 50 })
    line.clear()
    expect(written).toHaveLength(11)
    expect(written[0]).toBe('a.png: step 1 of 50 (2%)\n')
    expect(written[10]).toMatch(/^a\.png: step 50 of 50 \(100%\), 0 s left\n$/)
    const silent = fake(true)
    const quiet = new ProgressLine(true, silent.stream)
    quiet.start('a.png')
    quiet.update({ phase: 'attack', done: 1, total: 2 })
    quiet.clear()
    expect(silent.written).toEqual([])
  })

  test('says durations as people do', () => {
    expect([0, 39.6, 125, 3599.7, 4200].map(duration)).toEqual(['0 s', '40 s', '2 min 5 s', '1 h 0 min', '1 h 10 min'])
  })
})
