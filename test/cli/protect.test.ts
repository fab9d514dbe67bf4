/**
 * `protect` as users meet it, on photos, folders and what it cannot protect: a process, its files, exit codes and words. `lowkey` watches
 * every file it could harm.
 */
import { copyFileSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { beforeAll, describe, expect, test } from 'vitest'
import { type Outcome, room } from '../support/cli.ts'
import {
  ARTIST,
  decode,
  HEIGHT,
  makePhotos,
  PLACE,
  protect,
  type Raster,
  roomWith,
  rows,
  shot,
  WIDTH,
} from '../support/real-photos.ts'
import { everything, LONG } from '../support/scope.ts'

beforeAll(makePhotos)

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

  const quiet = 'gives other bytes for another seed; is quiet; goes on when nobody reads what it prints'
  test.skipIf(!everything)(`${quiet}${LONG}`, async () => {
    const args = ['face.png', ...steps, '--seed', '2', '-q', '-o', 'other.png']
    const { code, stderr, created } = await protect(args, { cwd: folder, closed: ['stdout'] })
    expect({ code, stderr, created }).toEqual({ code: 0, stderr: '', created: ['other.png'] })
    expect(readFileSync(file('other.png')).equals(readFileSync(file('face.cloaked.png')))).toBe(false)
  })

  test('refuses to replace a result that exists', async () => {
    const refused = await protect(['face.png', ...steps], { cwd: folder })
    expect(refused).toMatchObject({ code: 1, stdout: '', created: [] })
    expect(refused.stderr).toMatch(/face\.cloaked\.png exists already: --overwrite/)
  })

  test.skipIf(!everything)(`replaces a result that exists with --overwrite${LONG}`, async () => {
    const target = readFileSync(file('face.cloaked.png'))
    writeFileSync(file('face.cloaked.png'), 'an older result')
    const done = await protect(['face.png', ...steps, '--overwrite'], { cwd: folder, replaces: ['face.cloaked.png'] })
    expect(done).toMatchObject({ code: 0, stdout: 'face.cloaked.png\n', created: [] })
    expect(readFileSync(file('face.cloaked.png')).equals(target)).toBe(true)
  })

  test.skipIf(!everything)(
    `reads standard input and writes standard output, where nothing but the photo goes${LONG}`,
    async () => {
      const input = readFileSync(shot('face.png'))
      const { code, stdoutBytes, created } = await protect(['-', '-o', '-', ...steps, '--json'], { cwd: folder, input })
      expect({ code, created }).toEqual({ code: 0, created: [] })
      expect(stdoutBytes.equals(readFileSync(file('face.cloaked.png')))).toBe(true)
    },
  )

  test.skipIf(!everything)(`fails where standard output takes no photo${LONG}`, async () => {
    const { code, stderr, created } = await protect(
      ['face.png', '-o', '-', '--models', 'sirius', '--steps', '1', '-q'],
      {
        cwd: folder,
        closed: ['stdout'],
      },
    )
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
    // One recogniser: this is about photos, and every size of face compiles an attack of its own.
    run = await protect(['.', '-o', 'out', '--models', 'sirius', '--steps', '1', '--json'], { cwd: folder })
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
    const faces = { protected: 5, cut: 0, small: 0, uncertain: 0, notChosen: 0, mayBe: 0 }
    const counts = { photos: 7, protected: 5, withoutFace: 0, failed: 1, leftAlone: 1, notDone: 0, earlierResults: 1 }
    const summary = { ...counts, faces }
    expect(seen.pop()).toMatchObject({
      summary,
      notes: [/1 earlier/, /1 other/].map((text) => expect.stringMatching(text)),
    })
    expect(seen.pop()).toMatchObject({ input: 'below', leftAlone: { photos: 1 } })
    expect(seen.map(({ input }) => input)).toEqual(names)
    expect(seen[2]).toEqual({
      input: 'cut.jpg',
      error: { code: 1, message: expect.stringMatching(/^cut\.jpg is damaged/), retry: false },
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

  test.skipIf(!everything)(
    `with --keep-metadata keeps the author and never the place; takes a name that looks like an option${LONG}`,
    async () => {
      const cwd = roomWith(['turned.jpg', '-von Jürgen.jpg'])
      const few = ['--models', 'sirius', '--steps', '1']
      const run = await protect(['./-von Jürgen.jpg', '--keep-metadata', ...few], { cwd })
      expect(run).toMatchObject({
        code: 0,
        stdout: './-von Jürgen.cloaked.jpg\n',
        created: ['-von Jürgen.cloaked.jpg'],
      })
      const bytes = readFileSync(join(cwd, '-von Jürgen.cloaked.jpg'))
      const { exif, orientation } = await sharp(bytes).metadata()
      expect(exif?.includes(ARTIST)).toBe(true)
      expect([undefined, 1]).toContain(orientation)
      expect(bytes.includes(PLACE)).toBe(false)
    },
  )
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

  test.skipIf(!everything)(`a photo too small: says how large it must be${LONG}`, async () => {
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

  test.skipIf(!everything)(
    `no face: exit code 3, nothing written; 1 when another photo failed otherwise${LONG}`,
    async () => {
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
    },
  )

  test.skipIf(!everything)(`no face with --on-no-face skip: exit code 0, nothing written${LONG}`, async () => {
    const cwd = roomWith('blank.png')
    const run = await protect(['blank.png', '--on-no-face', 'skip'], { cwd })
    expect(run).toMatchObject({
      code: 0,
      stdout: '',
      created: [],
      stderr: expect.stringMatching(/no face.*; skipped$/m),
    })
  })

  test.skipIf(!everything)(
    `no face with --on-no-face copy: the photo itself, never under the name of a protected one${LONG}`,
    async () => {
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
    },
  )

  test.skipIf(!everything)(
    `--on-no-face copy replaces no input, nothing that exists, and does not stop the others${LONG}`,
    async () => {
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
    },
  )
})
