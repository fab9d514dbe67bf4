/** Folders of people as they lie on disks: what is nobody, who has no photos, links, earlier results. */
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { beforeAll, describe, expect, test } from 'vitest'
import { peopleOf, strangersOf } from '../../src/cli/people.ts'
import { room } from '../support/cli.ts'
import { capturedOutput } from '../support/stand-in.ts'

const printed = capturedOutput()
const folder = room('people')
const JP2 = Buffer.from('\0\0\0\x14ftypjp2 \0\0\0\0jp2 ', 'latin1') // a picture that is not read

let photo: Buffer
beforeAll(async () => {
  const create = { width: 8, height: 8, channels: 3 as const, background: '#557799' }
  photo = await sharp({ create }).jpeg().toBuffer()
  const files: Record<string, Buffer | string> = {
    ...{ 'Ann/1.jpg': photo, 'Ann/2.JFIF': photo, 'Ann/1.cloaked.jpg': photo, 'Ann/scan.jp2': JP2 },
    ...{ '.git/config': 'words', '@eaDir/1.jpg': photo, '__MACOSX/1.jpg': photo, 'Bob/only.jp2': JP2 },
    ...{ 'Results/a.cloaked.jpg': photo, 'notes.txt': 'words', 'beside.jpg': photo, '.DS_Store': 'x' },
  }
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true })
    writeFileSync(join(folder, name), content)
  }
  mkdirSync(join(folder, 'Empty'))
  symlinkSync('Ann', join(folder, 'Link'))
  symlinkSync('/nowhere', join(folder, 'Gone'))
})

describe('people', () => {
  test('are the folders with photos, through links too; all else is left out, and named', async () => {
    const people = await peopleOf(folder)
    const photos = (person: string) => ['1.jpg', '2.JFIF'].map((name) => join(folder, person, name))
    expect(people).toEqual([
      { person: 'Ann', files: photos('Ann') },
      { person: 'Link', files: photos('Link') },
    ])
    expect(printed.stderr).toMatch(/^lowkey-gpu: \S*Ann\/scan\.jp2 is a JPEG 2000 picture, .*; left out$/m)
    expect(printed.stderr).toMatch(/^lowkey-gpu: 1 earlier result of protect left out, .*: \S*Ann\/1\.cloaked\.jpg$/m)
    expect(printed.stderr).toMatch(
      /^lowkey-gpu: \S*people\S*: left out, because they have no photos: Bob, Empty, Results$/m,
    )
  })

  test('that are strangers are the photos beside them, too', async () => {
    const strangers = await strangersOf(folder)
    expect(strangers.map(({ person }) => person)).toEqual(
      ['Ann', 'Link', 'beside.jpg'].map((name) => join(folder, name)),
    )
    expect(strangers[2].files).toEqual([join(folder, 'beside.jpg')])
    // Folders are people here, and no photos that were left alone.
    expect(printed.stderr).not.toMatch(/not looked into/)
  })

  test('are nobody where no folder has photos', async () => {
    const nobody = room('nobody')
    await expect(peopleOf(nobody)).rejects.toThrow(/there is no folder in it; each person has one/)
    await expect(strangersOf(nobody)).rejects.toThrow(/the folder has no photos/)
    mkdirSync(join(nobody, 'Ann'))
    await expect(peopleOf(nobody)).rejects.toThrow(/no folder in it has photos \(Ann\)/)
    await expect(strangersOf(nobody)).rejects.toThrow(/the folder has no photos/)
    writeFileSync(join(nobody, 'beside.jpg'), photo)
    expect(await strangersOf(nobody)).toHaveLength(1)
    await expect(peopleOf(join(nobody, 'none'))).rejects.toThrow(/none is no folder/)
  })
})
