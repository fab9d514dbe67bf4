import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { classify, classifyFile, HEAD_BYTES, isPictureName } from '../../src/images/index.ts'

const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'latin1'))
const kindOf = (text: string, name = '') => {
  const found = classify(bytes(text), name)
  return found.kind === 'photo' ? found.format : found.kind
}
const media = (major: string, ...compatible: string[]) =>
  `\0\0\0${String.fromCharCode(16 + 4 * compatible.length)}ftyp${major}\0\0\0\0${compatible.join('')}`

/** A TIFF whose first directory has the given tags (SHORT or LONG, one value each). */
function tiff(tags: [number, number][], big = false): string {
  const data = Buffer.alloc(10 + 12 * tags.length + 4)
  const u16 = (v: number, at: number) => (big ? data.writeUInt16BE(v, at) : data.writeUInt16LE(v, at))
  const u32 = (v: number, at: number) => (big ? data.writeUInt32BE(v, at) : data.writeUInt32LE(v, at))
  data.write(big ? 'MM' : 'II', 'latin1')
  u16(42, 2)
  u32(8, 4)
  u16(tags.length, 8)
  tags.forEach(([tag, value], i) => {
    u16(tag, 10 + 12 * i)
    u16(4, 12 + 12 * i)
    u32(1, 14 + 12 * i)
    u32(value, 18 + 12 * i)
  })
  return data.toString('latin1')
}

test.each([
  ['png', '\x89PNG\r\n\x1a\n....', 'a.heic'],
  ['jpeg', '\xff\xd8\xff\xe0', 'IMG_0002.HEIC'],
  ['jpeg', '\xff\xd8\xff\xe1', 'wa.jpg_large'],
  ['jpeg', '\xff\xd8\xff\xdb', 'README'],
  ['webp', 'RIFF\x10\0\0\0WEBPVP8 ', 'x.jpg'],
  ['gif', 'GIF89a', ''],
  ['tiff', tiff([[0x100, 5]]), 'scan.tif'],
  ['tiff', 'MM\0+\0\x08\0\0', 'big.tif'],
  ['avif', media('avif', 'mif1'), ''],
  ['avif', media('mif1', 'avif'), ''],
  ['avif', media('avis', 'msf1'), ''],
  ['heic', media('heic', 'mif1', 'heic'), 'IMG_1.jpg'],
  ['heic', media('mif1', 'MiHE', 'heix'), ''],
  ['heic', media('msf1', 'hevc'), ''],
  ['jxl', '\xff\x0a\xfa\x7f', ''],
  ['jxl', '\0\0\0\x0cJXL \r\n\x87\n', ''],
  ['bmp', `BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0`, 'scan.bmp'],
  ['video', media('isom', 'iso2', 'avc1', 'mp41'), 'VID_1.mp4'],
  ['video', media('qt  '), 'IMG_1.MOV'],
  ['video', '\0\0\0\x08wide\0\0\0\0mdat', 'old.mov'],
  ['video', '\x1a\x45\xdf\xa3\x01', 'x.mkv'],
  ['video', 'RIFF\0\0\0\0AVI LIST', 'x.avi'],
  ['video', '\0\0\x01\xba', 'x.mpg'],
  ['video', `G${'\0'.repeat(187)}`.repeat(3), 'x.mts'],
  ['sidecar', '\0\x05\x16\x07\0\x02\0\0Mac OS X', '._IMG_0001.JPG'],
  ['sidecar', '<?xpacket begin="" id=""?><x:xmpmeta>', 'IMG_1.xmp'],
  ['sidecar', '<?xml version="1.0"?><plist>', 'IMG_1.AAE'],
  ['other', 'shopping list', 'notes.txt'],
  ['other', '', 'empty'],
  ['other', '%PDF-1.7', 'scan.pdf'],
  ['other', 'SQLite format 3\0', 'Photos.db'],
  ['other', 'BMX bikes are fine', 'text'],
  ['other', media('M4A '), 'memo.m4a'],
  ['unreadable', '', 'IMG_1.jpg'],
  ['unreadable', '<html><body>404', 'IMG_1.jpg'],
  ['unreadable', '\0\0\0\0\0\0', 'IMG_1.png'],
])('%s: %j (%s)', (kind, head, name) => expect(kindOf(head, name)).toBe(kind))

test.each([
  ['\0\0\0\x0cjP  \r\n\x87\n', 'x.jp2', 'is a JPEG 2000 picture, which is not read', 'magick FILE.jp2 FILE.png'],
  ['8BPS\0\x01', 'x.psd', 'is a Photoshop document, which is not read', 'magick FILE.psd[0] FILE.png'],
  ['<svg xmlns="http://www.w3.org/2000/svg">', 'x.svg', 'is an SVG drawing', 'rsvg-convert FILE.svg -o FILE.png'],
  ['<?xml version="1.0"?>\n<!-- a -->\n<svg>', 'x', 'is an SVG drawing', 'rsvg-convert'],
  ['\0\0\x01\0\x01\0', 'favicon.ico', 'is an icon (ICO)', 'magick FILE.ico FILE.png'],
  ['II\xbc\x01', 'x.jxr', 'is a JPEG XR picture', 'JxrDecApp'],
  ['P6\n4 4\n255\n', 'x.ppm', 'is a Netpbm picture', 'magick'],
  [`${'\0'.repeat(128)}DICM`, 'x', 'is a DICOM picture', 'dcmj2pnm'],
  ['gimp xcf v011', 'x.xcf', 'is a GIMP document', 'export it from GIMP'],
])('names what is not read, with what converts it: %j', (head, name, problem, advice) => {
  expect(classify(bytes(head), name)).toMatchObject({
    kind: 'unreadable',
    problem: expect.stringContaining(problem),
    advice: expect.stringContaining(advice),
  })
})

test.each([
  ['Canon CR3', media('crx '), 'x'],
  ['Canon CR2', 'II*\0\x10\0\0\0CR\x02\0', 'x'],
  ['Nikon NEF', tiff([[0x100, 160]], true), 'DSC_1.NEF'],
  ['Sony ARW', tiff([[0x100, 160]]), 'DSC1.arw'],
  ['DNG', tiff([[0xc612, 0x401]]), 'x.tif'],
  [
    'made by a camera',
    tiff([
      [0xfe, 1],
      [0x10f, 8],
      [0x14a, 8],
    ]),
    'x',
  ],
  ['Fujifilm RAF', 'FUJIFILMCCD-RAW 0201', 'x'],
  ['Panasonic RW2', 'IIU\0\x18\0\0\0', 'x'],
  ['Olympus ORF', 'IIRO\x08\0\0\0', 'x'],
])('camera raw is told from TIFF: %s', (family, head, name) => {
  expect(classify(bytes(head), name)).toMatchObject({
    kind: 'unreadable',
    rawPreview: true,
    problem: expect.stringContaining(`(${family})`),
  })
})

test('takes files of any length, also cut in the middle of what it looks at', () => {
  const heads = [
    tiff([[0xc612, 1]]),
    media('mif1', 'heic'),
    '\0\0\0\x0cJXL \r\n\x87\n',
    'BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28',
  ]
  for (const head of heads)
    for (let n = 0; n <= head.length; n++) expect(classify(bytes(head.slice(0, n))).kind).toBeTruthy()
})

test('reads only the start of a file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lowkey-sniff-'))
  try {
    writeFileSync(join(folder, 'a.jpg'), Buffer.concat([bytes(media('isom')), Buffer.alloc(3 * HEAD_BYTES)]))
    expect(await classifyFile(join(folder, 'a.jpg'))).toEqual({ kind: 'video', what: 'MP4 video' })
    await expect(classifyFile(join(folder, 'none'))).rejects.toMatchObject({ code: 'ENOENT' })
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('knows pictures by name', () => {
  for (const name of ['a.JFIF', 'b.jpe', 'wa.jpg_large', 'x.HEIC', 'IMG_1.dng', 'a/b.svg'])
    expect(isPictureName(name)).toBe(true)
  for (const name of ['jpg', 'a.txt', 'a.jpg.txt', '.png/notes']) expect(isPictureName(name)).toBe(false)
})
