/** A result that is protected again: noticed by what the file says of itself, whatever it is called. */
import { mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { expect, test } from 'vitest'
import { readPhoto } from '../../src/images/index.ts'
import { room } from '../support/cli.ts'
import { capturedOutput, standIn } from '../support/stand-in.ts'

const printed = capturedOutput()

/** A folder with a clean photo; under 8 it has no face, for the stand-in. */
async function folderWith(name: string, grey: number): Promise<string> {
  const folder = room('again')
  const create = { width: 64, height: 64, channels: 3 as const, background: { r: grey, g: grey, b: grey } }
  const format = name.endsWith('.jpg') ? 'jpeg' : name.endsWith('.webp') ? 'webp' : 'png'
  writeFileSync(join(folder, name), await sharp({ create }).toFormat(format).toBuffer())
  return folder
}

test.each(['a.png', 'a.jpg', 'a.webp'])(
  '%s renamed is refused by name, left out of a folder, and taken with --again',
  async (name) => {
    const folder = await folderWith(name, 90)
    expect(await standIn(join(folder, name))).toBe(0)
    const renamed = join(folder, `holiday-${name}`)
    renameSync(join(folder, name.replace('.', '.cloaked.')), renamed)
    printed.stderr = ''
    expect(await standIn(renamed, '-o', join(folder, 'out/'))).toBe(1)
    expect(printed.stderr).toMatch(/holiday-a\.\w+ is an earlier result, by what it says of itself: protect the photo/)
    expect(readdirSync(folder)).not.toContain('out')
    expect(await standIn(folder, '-o', join(folder, 'out'))).toBe(0)
    const counts = '1 protected, 0 without a face, 0 failed, 0 left alone, besides 1 earlier result'
    expect(printed.stderr).toMatch(new RegExp(`^1 photo: ${counts}$`, 'm'))
    expect(await standIn(renamed, '--again')).toBe(0)
  },
)

test('--no-mark leaves nothing to know it by but the name', async () => {
  const folder = await folderWith('a.png', 90)
  expect(await standIn(join(folder, 'a.png'), '--no-mark')).toBe(0)
  renameSync(join(folder, 'a.cloaked.png'), join(folder, 'b.png'))
  expect((await readPhoto(join(folder, 'b.png'))).cloaked).toBeUndefined()
  expect(await standIn(join(folder, 'b.png'))).toBe(0)
})

test('an unprotected copy of a JPEG keeps its pixels, and is no result', async () => {
  const folder = await folderWith('a.jpg', 3)
  mkdirSync(join(folder, 'out'))
  expect(await standIn(join(folder, 'a.jpg'), '-o', join(folder, 'out'), '--on-no-face', 'copy')).toBe(0)
  const [before, after] = [await readPhoto(join(folder, 'a.jpg')), await readPhoto(join(folder, 'out/a.jpg'))]
  expect(after.rgb).toEqual(before.rgb)
  expect(after.cloaked).toBeUndefined()
})
