/** A folder as phones, messengers and cameras leave it: each of its eleven photos is protected, or said to be left alone and why. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { lowkey, type Outcome, room } from '../support/cli.ts'
import { bitmapOf } from '../support/inputs/bmp.ts'
import { fixture } from '../support/inputs/picture.ts'
import { PORTRAIT, portrait } from '../support/portrait.ts'

const cwd = room('eleven')
const folder = join(cwd, 'in')
const gpu = process.env.LOWKEY_GPU ? ['--gpu', process.env.LOWKEY_GPU] : []
const protect = (...args: string[]) => lowkey(['protect', ...gpu, ...args], { cwd })

/** A little-endian TIFF directory with DNGVersion (50706) and Make: what marks a camera's raw file. */
function dng(): Buffer {
  const bytes = Buffer.alloc(80)
  bytes.write('II*\0', 'latin1')
  bytes.writeUInt32LE(8, 4)
  bytes.writeUInt16LE(1, 8)
  bytes.writeUInt16LE(50706, 10)
  bytes.writeUInt16LE(1, 12)
  bytes.writeUInt32LE(4, 14)
  bytes.set([1, 4, 0, 0], 18)
  return bytes
}

beforeAll(async () => {
  mkdirSync(join(folder, 'sub'), { recursive: true })
  const face = portrait()
  const jpeg = await face.clone().jpeg({ quality: 92 }).toBuffer()
  const write = (name: string, bytes: Buffer | string) => writeFileSync(join(folder, name), bytes)
  for (const name of ['IMG_0001.JPG', 'download.jfif', 'photo.jpe', 'wa.jpg_large', 'sub/inside.jpg']) write(name, jpeg)
  // A camera's two views: two JPEGs, one after the other.
  write('DSCF1.MPO', Buffer.concat([jpeg, jpeg]))
  write('anim.gif', await face.clone().gif().toBuffer())
  write('scan.bmp', bitmapOf(await face.clone().raw().toBuffer(), PORTRAIT))
  write('IMG_0002.HEIC', fixture('face.heic'))
  write('new.jxl', fixture('face.jxl'))
  write('IMG_1.dng', dng())
  // And what lies beside them.
  write('._IMG_0001.JPG', Buffer.from('\0\x05\x16\x07\0\x02\0\0Mac OS X        ', 'latin1'))
  write('IMG_0001.MOV', Buffer.from('\0\0\0\x14ftypqt  \0\0\0\0qt  ', 'latin1'))
  write('notes.txt', 'words')
})

describe('eleven files', () => {
  let run: Outcome
  beforeAll(async () => {
    run = await protect('in', '-o', 'out', '--steps', '1', '--json')
  }, 900_000)

  const rows = () =>
    run.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))

  test('are each protected, or named with the reason', () => {
    const [summary, ...others] = rows().reverse()
    const ends = Object.fromEntries(
      others.map(({ input, output, error, leftAlone }) => [
        input.slice('in/'.length),
        output ?? error?.message ?? `${leftAlone.problem}: ${leftAlone.advice}`,
      ]),
    )
    const protectedOnes = {
      'IMG_0001.JPG': 'out/IMG_0001.cloaked.JPG',
      'DSCF1.MPO': 'out/DSCF1.cloaked.jpg',
      'download.jfif': 'out/download.cloaked.jpg',
      'photo.jpe': 'out/photo.cloaked.jpg',
      'wa.jpg_large': 'out/wa.cloaked.jpg',
      'anim.gif': 'out/anim.cloaked.png',
      'IMG_0002.HEIC': 'out/IMG_0002.cloaked.jpg',
      'new.jxl': 'out/new.cloaked.png',
      'scan.bmp': 'out/scan.cloaked.png',
    }
    expect(ends).toMatchObject({
      ...protectedOnes,
      'IMG_1.dng': expect.stringMatching(/raw file \(DNG\), which is developed, not read/),
      sub: 'is a folder with 1 photo (inside.jpg), not looked into: --recursive includes it',
    })
    expect(Object.keys(ends)).toHaveLength(11)
    expect(run.created).toEqual(expect.arrayContaining(Object.values(protectedOnes)))
    expect(summary.summary).toEqual({
      ...{ photos: 11, protected: 9, withoutFace: 0, failed: 0, leftAlone: 2 },
      ...{ notDone: 0, earlierResults: 0 },
      faces: expect.objectContaining({ notChosen: 0, mayBe: 0 }),
    })
  })

  test('make the exit code 1 and the last line, and the others are counted', () => {
    expect(run.code).toBe(1)
    const lines = run.stderr.trimEnd().split('\n')
    expect(lines.at(-1)).toMatch(/^11 photos: 9 protected, 0 without a face, 0 failed, 2 left alone(; of 9 faces .*)?$/)
    expect(run.stderr).toMatch(/^note: 1 video left as found \(in\/IMG_0001\.MOV\): faces in it are not protected$/m)
    expect(run.stderr).toMatch(/^note: 2 other files are no photos \(1 macOS metadata \(AppleDouble\), 1 text\)$/m)
    for (const name of ['IMG_1.dng', 'sub']) {
      expect(run.stderr).toMatch(new RegExp(`^lowkey-gpu: in/${name} `, 'm'))
    }
  })

  test('are found again beside their results, with the one below', async () => {
    const again = await protect('in', '-o', 'out', '--recursive', '--dry-run', '--quiet')
    expect(again.code).toBe(1)
    expect(again.stdout).toBe('in/sub/inside.jpg: 1 face, would write out/sub/inside.cloaked.jpg\n')
    expect(again.stderr).toMatch(/^lowkey-gpu: in\/IMG_0001\.JPG: out\/IMG_0001\.cloaked\.JPG exists already/m)
    expect(again.stderr.trimEnd().split('\n').at(-1)).toMatch(
      /^11 photos: 1 would be protected, .* 1 left alone(; .*)?$/,
    )
  })

  test('refuses what is a result: the folder of results, and one of them', async () => {
    const results = await protect('out')
    expect(results).toMatchObject({ code: 2, stdout: '' })
    expect(results.stderr).toMatch(
      /^lowkey-gpu: out: the folder has only earlier results \(9 earlier results\); --again /,
    )
    const one = await protect('out/wa.cloaked.jpg')
    expect(one).toMatchObject({ code: 1, stdout: '', created: [] })
    expect(one.stderr).toBe(
      'lowkey-gpu: out/wa.cloaked.jpg is an earlier result, by its name: protect the photo it was made of, or add --again\n',
    )
    expect(readFileSync(join(cwd, 'out/wa.cloaked.jpg')).length).toBeGreaterThan(1000)
  })
})
