/** What folders hold, by what the files are: photos, what is left alone and why, and that nothing goes without a word. */
import { execFileSync } from 'node:child_process'
import { chmodSync, linkSync, mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { beforeAll, describe, expect, test } from 'vitest'
import { type ListOptions, listPhotos } from '../../src/cli/listing.ts'
import { isResultName, textOf } from '../../src/cli/paths.ts'
import { shown } from '../../src/images/index.ts'
import { room } from '../support/cli.ts'

let jpeg: Buffer
beforeAll(async () => {
  const create = { width: 8, height: 8, channels: 3 as const, background: '#557799' }
  jpeg = await sharp({ create }).jpeg().toBuffer()
})

const PSD = Buffer.from('8BPS\0\x01\0\0\0\0\0\0\0\x03\0\0\0\x08\0\0\0\x08\0\x08\0\x03', 'latin1')
const MOV = Buffer.from('\0\0\0\x14ftypqt  \0\0\0\0qt  ', 'latin1')
const APPLE_DOUBLE = Buffer.from('\0\x05\x16\x07\0\x02\0\0Mac OS X        ', 'latin1')

/** Files of a new folder: `photo` stands for a JPEG, text for itself. */
function folderWith(files: Record<string, Buffer | string | 'photo'>): string {
  const folder = room('listing')
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true })
    writeFileSync(join(folder, name), content === 'photo' ? jpeg : content)
  }
  return folder
}

async function list(folder: string, options: Partial<ListOptions> = {}) {
  const { inputs, failed, left, results, notes } = await listPhotos([folder], { suffixes: ['.cloaked'], ...options })
  const short = (text: string) => text.replaceAll(`${folder}/`, '')
  return {
    inputs: inputs.map(({ name }) => short(name)),
    below: inputs.map(({ below }) => below),
    failed: failed.map(({ error }) => short(error.message)),
    left: left.map(({ name, problem, advice, photos }) => `${short(name)} ${problem}: ${advice} (${photos})`),
    results: results.map(short),
    notes: notes.map(short),
  }
}

describe('a folder', () => {
  test('gives every photo whatever its name, and says what everything else is', async () => {
    const folder = folderWith({
      ...{
        'a.JPG': 'photo',
        'download.jfif': 'photo',
        'wa.jpg_large': 'photo',
        bare: 'photo',
        'renamed.heic': 'photo',
      },
      ...{ 'layers.psd': PSD, 'page.jpg': '<html>not found</html>', 'none.png': '', 'clip.mov': MOV },
      ...{ '._a.JPG': APPLE_DOUBLE, 'notes.txt': 'words', 'Thumbs.db': Buffer.from([0xd0, 0xcf, 0x11, 0xe0, 0, 1, 2]) },
      ...{ 'a.cloaked.JPG': 'photo', '.secret.jpg': 'photo', 'album.jpg/one.jpg': 'photo', 'deep/er/two.jpg': 'photo' },
      ...{ '@eaDir/a.JPG/thumb.jpg': 'photo', '.git/config': 'words', 'words/only.txt': 'words' },
    })
    symlinkSync('a.JPG', join(folder, 'link.jpg'))
    symlinkSync('/nowhere/photo.jpg', join(folder, 'lost.jpg'))
    symlinkSync('circle.jpg', join(folder, 'circle.jpg'))
    symlinkSync('deep', join(folder, 'shortcut'))
    linkSync(join(folder, 'a.JPG'), join(folder, 'twin.jpg'))
    const found = await list(folder)
    expect(found.inputs).toEqual([
      'a.JPG',
      'bare',
      'download.jfif',
      'renamed.heic',
      'twin.jpg',
      'wa.jpg_large',
      'link.jpg',
    ])
    expect(found.failed).toEqual([])
    expect(found.results).toEqual(['a.cloaked.JPG'])
    expect(found.left).toEqual([
      '.secret.jpg is hidden: --hidden includes it (1)',
      'album.jpg is a folder with 1 photo (one.jpg), not looked into: --recursive includes it (1)',
      'circle.jpg is a link that leads in a circle: name the photo itself (1)',
      'deep is a folder with 1 photo (er/two.jpg), not looked into: --recursive includes it (1)',
      expect.stringMatching(/^layers\.psd is a Photoshop document, which is not read: .*magick.* \(1\)$/),
      'lost.jpg is a link to /nowhere/photo.jpg, which is not there: connect the disk it lies on, or delete the link (1)',
      expect.stringMatching(/^none\.png is empty: .* \(1\)$/),
      expect.stringMatching(/^page\.jpg is called a photo, but holds text.* \(1\)$/),
    ])
    expect(found.notes).toEqual([
      '.git is a hidden folder, not looked into; --hidden includes it',
      'shortcut is a link to a folder, not looked into; --recursive includes it',
      '1 video left as found (clip.mov): faces in it are not protected',
      '@eaDir: a folder that programs keep, not looked into; name it to include it',
      '1 earlier result left out (a.cloaked.JPG)',
      expect.stringMatching(/^3 other files are no photos \(.*1 macOS metadata \(AppleDouble\).*1 text.*\)$/),
    ])
  })

  test('with --hidden, --recursive and --again has all of them, and keeps the tree', async () => {
    const folder = folderWith({
      ...{
        'a.jpg': 'photo',
        '.b.jpg': 'photo',
        '.hidden/c.jpg': 'photo',
        'sub/d.jpg': 'photo',
        'sub/e/f.jpg': 'photo',
      },
      ...{ 'g.cloaked.jpg': 'photo', 'sub/out/h.jpg': 'photo' },
    })
    const options = { recursive: true, hidden: true, again: true, except: join(folder, 'sub/out') }
    const found = await list(folder, options)
    expect(found.left).toEqual([])
    expect(Object.fromEntries(found.inputs.map((name, i) => [name, found.below[i]]))).toEqual({
      ...{ '.b.jpg': '', '.hidden/c.jpg': '.hidden', 'a.jpg': '', 'g.cloaked.jpg': '' },
      ...{ 'sub/d.jpg': 'sub', 'sub/e/f.jpg': 'sub/e' },
    })
  })

  test('follows links to folders once, and ends loops', async () => {
    const folder = folderWith({ 'a/one.jpg': 'photo', 'z/two.jpg': 'photo' })
    const other = folderWith({ 'three.jpg': 'photo' })
    symlinkSync('..', join(folder, 'a/up'))
    symlinkSync('z', join(folder, 'b'))
    symlinkSync(other, join(folder, 'c'))
    symlinkSync(other, join(folder, 'd'))
    symlinkSync(join(other, 'three.jpg'), join(folder, 'z/again.jpg'))
    const found = await list(folder, { recursive: true })
    expect(found.inputs).toEqual(['a/one.jpg', 'z/two.jpg', 'z/again.jpg'])
    expect(found.left).toEqual([])
    expect(found.notes.join('\n')).toMatch(/^a\/up leads to .*, which was looked into$/m)
    expect(found.notes.join('\n')).toMatch(/^b leads to z, which was looked into$/m)
    expect(found.notes.join('\n')).toMatch(/^d leads to c, which was looked into$/m)
    expect(found.notes.join('\n')).toMatch(/^c\/three\.jpg is z\/again\.jpg once more; it counts once$/m)
  })

  test('has names of every kind: 255 bytes, line breaks, and bytes that are not UTF-8', async () => {
    const long = `${'ü'.repeat(125)}x.jpg`
    const folder = folderWith({ [long]: 'photo', 'new\nline.jpg': 'photo' })
    expect(Buffer.byteLength(long)).toBe(255)
    const latin = Buffer.concat([Buffer.from(`${folder}/M`), Buffer.from([0xfc]), Buffer.from('ller.jpg')])
    renameSync(join(folder, 'new\nline.jpg'), join(folder, 'old\nline.jpg'))
    writeFileSync(latin, jpeg)
    const found = await list(folder)
    expect(found.inputs.sort()).toEqual(['Müller.jpg', 'old\nline.jpg', long].sort())
    const { inputs } = await listPhotos([folder], { suffixes: [] })
    expect(inputs.find(({ path }) => path)?.path?.equals(latin)).toBe(true)
    expect(textOf(latin)).toBe(`${folder}/Müller.jpg`)
  })

  test.skipIf(process.getuid?.() === 0)('says what it may not read', async () => {
    const folder = folderWith({ 'a.jpg': 'photo', 'sub/b.jpg': 'photo' })
    chmodSync(join(folder, 'a.jpg'), 0)
    chmodSync(join(folder, 'sub'), 0)
    const found = await list(folder, { recursive: true })
    expect(found.inputs).toEqual([])
    expect(found.left[0]).toMatch(/^a\.jpg may not be read: check its permissions/)
    expect(found.left[1]).toMatch(/^sub is a folder that may not be read: /)
    chmodSync(join(folder, 'sub'), 0o755)
  })
})

describe('files that are named', () => {
  test('fail before any work where they are missing, no photos, results or named twice', async () => {
    const folder = folderWith({ 'a.jpg': 'photo', 'x.cloaked.jpg': 'photo', 'notes.txt': 'words', 'l.psd': PSD })
    execFileSync('mkfifo', [join(folder, 'pipe')])
    const names = ['a.jpg', './a.jpg', 'none.jpg', 'M\ufffdller.jpg', 'notes.txt', 'l.psd', 'x.cloaked.jpg', 'pipe']
    const listing = await listPhotos(
      names.map((name) => `${folder}/${name}`),
      { suffixes: ['.cloaked'] },
    )
    // A pipe can be read only once; what it holds is seen when its turn comes.
    expect(listing.inputs.map(({ name, format }) => [name.slice(folder.length + 1), format])).toEqual([
      ['a.jpg', 'jpeg'],
      ['pipe', undefined],
    ])
    expect(listing.failed.map(({ error }) => error.message.replace(`${folder}/`, ''))).toEqual([
      'none.jpg does not exist: check the path',
      expect.stringMatching(/^M\ufffdller\.jpg does not exist, or has a name that is not UTF-8: name its folder/),
      'notes.txt is not a photo in a known format (text): name a photo',
      expect.stringMatching(/^l\.psd is a Photoshop document/),
      'x.cloaked.jpg is an earlier result, by its name: protect the photo it was made of, or add --again',
    ])
    expect(listing.notes.join('\n')).toMatch(/\.\/a\.jpg is \S*\/a\.jpg once more; it counts once/)
  })
})

test('shown writes out what would rewrite a terminal', () => {
  expect(shown('a\x1b]0;x\x07\nb\x9b1m\u202egpj.exe')).toBe('a\\x1b]0;x\\x07\\x0ab\\x9b1m\\u202egpj.exe')
  expect(shown('Jürgen & 猫 1.jpg')).toBe('Jürgen & 猫 1.jpg')
})

test('a result is known by the end of its name', () => {
  expect(isResultName('a.cloaked.jpg', ['-x', '.cloaked'])).toBe(true)
  expect(isResultName('a-x', ['-x'])).toBe(true)
  expect(isResultName('a.cloaked.jpg', ['', '-x'])).toBe(false)
})
