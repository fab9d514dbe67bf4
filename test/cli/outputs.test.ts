/** Where results go: what is refused before any work, names and folders, permissions, times, and that no place is ever written. */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { describe, expect, test } from 'vitest'
import { UsageError } from '../../src/cli/exit.ts'
import { checkFolder, Outputs } from '../../src/cli/outputs.ts'
import { listedPaths } from '../../src/cli/protect/files-from.ts'
import { type Destination, resultOf, resultsOf } from '../../src/cli/protect/results.ts'
import { makeFolder } from '../../src/files/folders.ts'
import { OutputError, readPhoto, writeFileAtomically } from '../../src/images/index.ts'
import { lowkey, room } from '../support/cli.ts'
import { everything, LONG } from '../support/scope.ts'
import { capturedOutput, standIn } from '../support/stand-in.ts'

const printed = capturedOutput()
const linux = process.platform === 'linux'

/** A photo of one grey; under 8 it has no face, for the stand-in. */
async function paint(file: string, grey: number, side = 64): Promise<void> {
  mkdirSync(join(file, '..'), { recursive: true })
  const create = { width: side, height: side, channels: 3 as const, background: { r: grey, g: grey, b: grey } }
  const bytes = await sharp({ create })
    .toFormat(/jpe?g$/i.test(file) ? 'jpeg' : 'png')
    .toBuffer()
  writeFileSync(file, bytes)
}

describe('before a GPU is opened, and in a dry run', () => {
  // Whoever opens a GPU ends with code 4: there is none of this name.
  const protect = (cwd: string, ...args: string[]) => lowkey(['protect', '--gpu', 'no such adapter', ...args], { cwd })

  const long = 'x'.repeat(251)
  test.each<[what: string, args: string[], code: number, message: RegExp]>([
    ['a photo that is not there', ['none.png'], 1, /^lowkey-gpu: none\.png does not exist: check the path$/m],
    [
      'a link to a disk that is not there',
      ['a.png', '-o', 'usb'],
      1,
      /usb is a link to \/nowhere\/usb, which is not there/,
    ],
    ['a folder below such a link', ['a.png', '-o', 'usb/out/x.png'], 1, /usb is a link to \/nowhere\/usb, which is/],
    ['a name that is too long', [`${long}.png`], 1, /\.\.\. has 263 bytes, and 255 are allowed; choose another/],
    ['a folder of such a name', ['a.png', '-o', `${long}/${long}yyyyy/`], 1, /has 256 bytes, and 255 are allowed/],
    ['a result that exists', ['a.png', '-o', 'b.png'], 1, /b\.png exists already: --overwrite/],
    [
      'pictures that are not written',
      ['a.png', '-o', 'x.jp2'],
      2,
      /--output x\.jp2: results are \.png, \.jpg or \.webp/,
    ],
    ['two photos with one result', ['a.png', 'sub/a.png', '-o', 'out'], 2, /a\.png and sub\/a\.png would both become/],
  ])('%s', async (_, args, code, message) => {
    const cwd = room('outputs')
    for (const name of ['a.png', 'b.png', 'sub/a.png', `${long}.png`]) await paint(join(cwd, name), 90)
    symlinkSync('/nowhere/usb', join(cwd, 'usb'))
    // The same in both; each takes a process.
    const more = code === 1 ? ['--dry-run'] : []
    const run = await protect(cwd, ...args, ...more)
    expect(run, run.stderr).toMatchObject({ code, stdout: '', created: [] })
    expect(run.stderr).toMatch(message)
    expect(readdirSync(cwd).sort()).toEqual(['a.png', 'b.png', 'sub', 'usb', `${long}.png`].sort())
  })

  test.skipIf(!linux)("the system's own folders, in which Node would make folders for ever", async () => {
    const cwd = room('outputs')
    await paint(join(cwd, 'a.png'), 90)
    for (const output of ['/proc/out/', '/proc/self/out/x.png', '/sys/out/']) {
      const run = await protect(cwd, 'a.png', '-o', output)
      expect(run).toMatchObject({ code: 1, stdout: '', created: [] })
    }
    expect(() => makeFolder('/proc/lowkey/deep')).toThrow(/ENOENT|EACCES/)
  })

  test.skipIf(!everything)(
    `passes what can be, .jfif and .jpe among them, and makes nothing before${LONG}`,
    async () => {
      const cwd = room('outputs')
      await paint(join(cwd, 'a.png'), 90)
      for (const output of ['x.jfif', 'x.JPE', 'new/er/', 'folder.jp2/']) {
        const dry = output === 'new/er/' ? [] : ['--dry-run']
        const run = await protect(cwd, 'a.png', '-o', output, ...dry)
        expect(run, run.stderr).toMatchObject({ code: 4, created: [] })
      }
      expect(readdirSync(cwd)).toEqual(['a.png'])
    },
  )
})

describe('results', () => {
  const to = (name: string, own: string, more: Partial<Destination> = {}) =>
    resultOf({ name }, own, { output: undefined, folder: false, suffix: '.cloaked', format: undefined, ...more })

  test('are called after the photo, by what it is', () => {
    expect(to('in/a.JPG', 'jpeg')).toEqual({ path: 'in/a.cloaked.JPG', format: 'jpeg' })
    expect(to('wa.jpg_large', 'jpeg')).toEqual({ path: 'wa.cloaked.jpg', format: 'jpeg' })
    expect(to('download.jfif', 'jpeg')).toEqual({ path: 'download.cloaked.jpg', format: 'jpeg' })
    expect(to('bare', 'png')).toEqual({ path: 'bare.cloaked.png', format: 'png' })
    expect(to('IMG.HEIC', 'heic')).toEqual({ path: 'IMG.cloaked.jpg', format: 'jpeg' })
    expect(to('a.tif', 'tiff')).toEqual({ path: 'a.cloaked.png', format: 'png' })
    expect(to('a.png', 'png', { output: 'x.jfif' })).toEqual({ path: 'x.jfif', format: 'jpeg' })
  })

  test('lie in the folders that the photos lie in', () => {
    const input = { name: 'in/sub/deep/a.png', folder: 'in', below: 'sub/deep' }
    const destination = { output: 'out', folder: true, suffix: '-x', format: 'webp' as const }
    expect(resultOf(input, 'png', destination)).toEqual({ path: 'out/sub/deep/a-x.webp', format: 'webp' })
  })

  test('of photos that differ in the extension keep it; others of one name are refused', () => {
    const destination = { output: 'out', folder: true, suffix: '.cloaked', format: undefined }
    const paths = (files: [string, string][], folds = false) => {
      const inputs = files.map(([name, format]) => ({ name, format: format as 'jpeg' }))
      return [...resultsOf(inputs, destination, () => folds).values()].map(({ path }) => path)
    }
    expect(
      paths([
        ['i/1.HEIC', 'heic'],
        ['i/1.jpg', 'jpeg'],
        ['i/2.heic', 'heic'],
      ]),
    ).toEqual(['out/1.HEIC.cloaked.jpg', 'out/1.cloaked.jpg', 'out/2.cloaked.jpg'])
    const twins: [string, string][] = [
      ['i/a.jpg', 'jpeg'],
      ['i/A.jpg', 'jpeg'],
    ]
    expect(paths(twins)).toEqual(['out/a.cloaked.jpg', 'out/A.cloaked.jpg'])
    expect(() => paths(twins, true)).toThrow(/i\/a\.jpg and i\/A\.jpg would both become out\/a\.cloaked\.jpg/)
    expect(() =>
      paths(
        [
          ['i/é.jpg', 'jpeg'],
          ['i/e\u0301.jpg', 'jpeg'],
        ],
        true,
      ),
    ).toThrow(UsageError)
  })

  test('have the permissions of their photos, and their times if asked for', async () => {
    const folder = room('outputs')
    const time = new Date('2019-06-01T12:00:00Z')
    for (const [name, mode] of [
      ['private.png', 0o600],
      ['shared.png', 0o664],
    ] as const) {
      await paint(join(folder, name), 90)
      chmodSync(join(folder, name), mode)
      utimesSync(join(folder, name), time, time)
    }
    const umask = process.umask(0o022)
    try {
      expect(await standIn(folder, '-o', join(folder, 'out'))).toBe(0)
      expect(await standIn(folder, '-o', join(folder, 'timed'), '--keep-times')).toBe(0)
    } finally {
      process.umask(umask)
    }
    const info = (path: string) => statSync(join(folder, path))
    expect(info('out/private.cloaked.png').mode & 0o777).toBe(0o600)
    expect(info('out/shared.cloaked.png').mode & 0o777).toBe(0o644)
    expect(info('out/private.cloaked.png').mtime.getTime()).toBeGreaterThan(time.getTime())
    expect(info('timed/private.cloaked.png').mtime).toEqual(time)
  })

  test('are not written where the disk has taken another for them meanwhile', async () => {
    const folder = room('outputs')
    await paint(join(folder, 'a.png'), 90)
    const outputs = new Outputs([], { overwrite: true, dryRun: false, keepTimes: false })
    await outputs.write(join(folder, 'x.png'), Buffer.from('one'), { name: join(folder, 'a.png') })
    symlinkSync('x.png', join(folder, 'X.png'))
    const second = outputs.write(join(folder, 'X.png'), Buffer.from('two'), { name: join(folder, 'a.png') })
    await expect(second).rejects.toThrow(/X\.png is the result of another photo already/)
    expect(readFileSync(join(folder, 'x.png'), 'utf8')).toBe('one')
  })

  test('leave no folder behind that was made for nothing', async () => {
    const folder = room('outputs')
    await paint(join(folder, 'in/blank.png'), 0)
    expect(await standIn(join(folder, 'in/blank.png'), '-o', join(folder, 'new/out/'))).toBe(3)
    expect(existsSync(join(folder, 'new'))).toBe(false)
  })
})

describe('a photo without a face, or too large for what is asked', () => {
  test('a copy in another format has its extension, and is said', async () => {
    const folder = room('outputs')
    await paint(join(folder, 'blank.png'), 0)
    await sharp(join(folder, 'blank.png')).tiff().toFile(join(folder, 'scan.tif'))
    const out = join(folder, 'out')
    expect(await standIn(join(folder, 'scan.tif'), '-o', out, '--on-no-face', 'copy')).toBe(0)
    expect(readdirSync(out)).toEqual(['scan.png'])
    expect((await readPhoto(join(out, 'scan.png'))).rgb[0]).toBe(0)
    expect(printed.stderr).toMatch(/no face found; copied unprotected to \S*out\/scan\.png$/m)
  })

  test('a side longer than the format allows is refused before the work', async () => {
    const folder = room('outputs')
    const create = { width: 16384, height: 64, channels: 3 as const, background: '#888888' }
    await sharp({ create }).png().toFile(join(folder, 'pano.png'))
    for (const more of [[], ['--dry-run']]) {
      expect(await standIn(join(folder, 'pano.png'), '-f', 'webp', ...more)).toBe(1)
      expect(printed.stderr).toMatch(
        /pano\.png: a photo of 16384 x 64 pixels is too large for webp, which ends at 16383/,
      )
    }
  })

  test('--strength paper says how large a photo the adapter takes', async () => {
    const folder = room('outputs')
    await paint(join(folder, 'large.png'), 90, 3400)
    expect(await standIn(join(folder, 'large.png'), '--strength', 'paper')).toBe(1)
    expect(printed.stderr).toMatch(
      /a photo of 11\.6 megapixels is too large for --strength paper on stand.in, which takes at most 11\.1: scale it down/,
    )
  })
})

describe('places', () => {
  const SECRET = 'SECRET-PLACE'
  const SERIAL = 'SERIAL-4711'

  test.each([
    [[]],
    [['--keep-metadata']],
    [['--on-no-face', 'skip']],
    [['-f', 'png']],
    [['-f', 'webp', '--keep-metadata']],
  ])('are in no file that is written with %j', async (options) => {
    const folder = room('outputs')
    for (const [name, grey] of [
      ['face.jpg', 90],
      ['blank.jpg', 0],
    ] as const) {
      const create = { width: 64, height: 64, channels: 3 as const, background: { r: grey, g: grey, b: grey } }
      const xmp = `<x:xmpmeta xmlns:x="adobe:ns:meta/"><a>${SECRET}</a></x:xmpmeta>`
      const bytes = await sharp({ create })
        .jpeg()
        .withExif({
          IFD0: { Artist: 'Ada' },
          IFD2: { BodySerialNumber: SERIAL },
          IFD3: { GPSMapDatum: SECRET, GPSLatitudeRef: 'N', GPSLatitude: '48/1 8/1 0/1' },
        })
        .withXmp(xmp)
        .toBuffer()
      writeFileSync(join(folder, name), bytes)
      expect(bytes.includes(SECRET) && bytes.includes(SERIAL)).toBe(true)
    }
    const copy = options.includes('--on-no-face') ? [] : ['--on-no-face', 'copy']
    expect(await standIn(folder, '-o', join(folder, 'out'), ...copy, ...options)).toBe(0)
    const written = readdirSync(join(folder, 'out'))
    expect(written).toHaveLength(copy.length > 0 ? 2 : 1)
    for (const name of written) {
      const bytes = readFileSync(join(folder, 'out', name))
      expect(bytes.includes(SECRET) || bytes.includes(SERIAL), name).toBe(false)
      const { exif } = await sharp(bytes).metadata()
      // 0x8825 is the tag that leads to places.
      expect(exif?.includes(Buffer.from([0x88, 0x25])) || exif?.includes(Buffer.from([0x25, 0x88])), name).toBeFalsy()
    }
  })
})

describe('--files-from and --recursive', () => {
  const signal = new AbortController().signal

  test('takes names by the line or by zero bytes, and such that are not UTF-8', async () => {
    const folder = room('outputs')
    const list = join(folder, 'list')
    writeFileSync(list, 'a.png\n\nb c.png\r\nlast.png')
    expect(await listedPaths(list, false, signal)).toEqual(['a.png', 'b c.png', 'last.png'])
    writeFileSync(list, Buffer.from('new\nline.png\0M\xfcller.png\0', 'latin1'))
    const [line, latin] = await listedPaths(list, true, signal)
    expect(line).toBe('new\nline.png')
    expect(latin).toEqual(Buffer.from('M\xfcller.png', 'latin1'))
    writeFileSync(list, '\n')
    await expect(listedPaths(list, false, signal)).rejects.toThrow(/the list is empty/)
    await expect(listedPaths(join(folder, 'none'), false, signal)).rejects.toThrow(/none does not exist/)
  })

  test('protects what is listed, a name in bytes too, and counts it', async () => {
    const folder = room('outputs')
    await paint(join(folder, 'a.png'), 90)
    const latin = Buffer.concat([Buffer.from(`${folder}/M`), Buffer.from([0xfc]), Buffer.from('ller.png')])
    copyFileSync(join(folder, 'a.png'), latin)
    const list = join(folder, 'list')
    writeFileSync(list, Buffer.concat([Buffer.from(`${join(folder, 'a.png')}\0`), latin, Buffer.from('\0')]))
    expect(await standIn('--files-from', list, '-0', '-o', join(folder, 'out'))).toBe(0)
    expect(readdirSync(join(folder, 'out')).sort()).toEqual(['Müller.cloaked.png', 'a.cloaked.png'])
    expect((await readPhoto(join(folder, 'out/Müller.cloaked.png'))).rgb[0]).toBe(91)
    expect(printed.stderr).toMatch(/^2 photos: 2 protected, 0 without a face, 0 failed, 0 left alone$/m)
  })

  test('mirrors the tree, leaves its own output out, and says the same again', async () => {
    const folder = room('outputs')
    for (const name of ['a.png', 'b/a.png', 'b/c/a.png']) await paint(join(folder, name), 90)
    await paint(join(folder, 'b/blank.png'), 0)
    const args = [folder, '-r', '-o', join(folder, 'out'), '--on-no-face', 'copy']
    expect(await standIn(...args)).toBe(0)
    const files = readdirSync(join(folder, 'out'), { recursive: true, encoding: 'utf8' }).filter((name) =>
      /png$/.test(name),
    )
    expect(files.sort()).toEqual(['a.cloaked.png', 'b/a.cloaked.png', 'b/blank.png', 'b/c/a.cloaked.png'])
    expect(printed.stderr).toMatch(/^4 photos: 3 protected, 1 without a face, 0 failed, 0 left alone$/m)
    printed.stderr = ''
    expect(await standIn(...args, '--overwrite')).toBe(0)
    expect(printed.stderr).toMatch(/^4 photos: 3 protected, 1 without a face, 0 failed, 0 left alone$/m)
  })
})

describe('folders', () => {
  test('are made with those above them, also by two at once', () => {
    const folder = room('outputs')
    expect(makeFolder(join(folder, 'a/b/c'))).toEqual(['a', 'a/b', 'a/b/c'].map((name) => join(folder, name)))
    expect(makeFolder(join(folder, 'a/b/d'))).toEqual([join(folder, 'a/b/d')])
    expect(makeFolder(folder)).toEqual([])
    writeFileSync(join(folder, 'file'), '')
    expect(() => makeFolder(join(folder, 'file/x'))).toThrow(/EEXIST|ENOTDIR/)
  })

  test('that lead in a circle, or nowhere, are refused', () => {
    const folder = room('outputs')
    symlinkSync('circle', join(folder, 'circle'))
    expect(() => checkFolder(join(folder, 'circle/x'))).toThrow(/a link on the way leads in a circle/)
    symlinkSync('gone', join(folder, 'link'))
    expect(() => checkFolder(join(folder, 'link'))).toThrow(OutputError)
    expect(() => checkFolder(join(folder, 'new/er'))).not.toThrow()
  })

  test.skipIf(!linux)('a full disk is said', async () => {
    const folder = room('outputs')
    // The process may write no longer files than this.
    const script = `
      import { writeFileAtomically } from ${JSON.stringify(join(import.meta.dirname, '../../src/images/index.ts'))}
      process.on('SIGXFSZ', () => {})
      await writeFileAtomically('x.png', Buffer.alloc(1e6)).catch((error) => console.log(error.message))`
    writeFileSync(join(folder, 'write.ts'), script)
    const shell = 'ulimit -f 8; exec "$0" write.ts'
    const said = execFileSync('bash', ['-c', shell, process.execPath], { cwd: folder, encoding: 'utf8' })
    expect(said).toMatch(/^x\.png cannot be written: the disk or `ulimit -f` allows no file as large \(EFBIG\)$/m)
    expect(readdirSync(folder)).toEqual(['write.ts'])
    expect(typeof writeFileAtomically).toBe('function')
  })
})
