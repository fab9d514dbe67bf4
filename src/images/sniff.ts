/*
 * What a file is, by its first bytes. Names tell nothing about most files (messengers, browsers and cameras call a JPEG
 * .heic, .jfif, .jpg_large or nothing at all); they help only where the bytes of two kinds are the same (camera raw is
 * TIFF inside) and to notice a file that is called a photo and is none.
 */
import { magick } from './advice.ts'
import { brandsOf, rawFamily } from './containers.ts'
import type { PhotoFormat } from './photo.ts'

/** What a file is to somebody who wants photos protected. Texts are the rest of a sentence that starts with the file. */
export type FileClass =
  /** A photo that `readPhoto` takes, if it is sound. */
  | { kind: 'photo'; format: PhotoFormat }
  /**
   * A picture that is not read, or a file that is called a photo and is none: 'is a Photoshop document, which is not
   * read'. `rawPreview`: a camera's raw file, which `readPhoto` takes with the option of that name.
   */
  | { kind: 'unreadable'; problem: string; advice: string; rawPreview?: true }
  /** `what` without an article: 'MP4 or QuickTime video'. Faces in it stay as they are. */
  | { kind: 'video'; what: string }
  /** What programs put beside photos: 'macOS metadata (AppleDouble)', 'XMP sidecar'. It holds no picture. */
  | { kind: 'sidecar'; what: string }
  /** Certainly no photo: 'text', 'PDF document', 'data'. */
  | { kind: 'other'; what: string }

/** Bytes from the start of a file that `classify` looks at; fewer are enough where the file is shorter. */
export const HEAD_BYTES = 4096

const PHOTO_NAME =
  /\.(png|apng|jpe?g|jpe|jfif|pjpeg|mpo|jps|jpg_large|webp|avifs?|tiff?|gif|hei[cf]s?|hif|jxl|bmp|dib)$/i
const OTHER_PICTURE_NAME =
  /\.(jp2|j2k|jpf|jpx|jxr|wdp|hdp|psd|psb|xcf|kra|ora|svgz?|ico|cur|icns|tga|exr|hdr|p[bgpna]m|pcx|qoi|dds|eps|ps|ai|wmf|emf|djvu?|dcm|fits?|livp|afphoto|dng|cr[23w]|nef|nrw|arw|sr[2fw]|raf|rw[2l]|orf|pef|x3f|3fr|fff|iiq|mrw|kdc|dcr|erf|mef|mos|gpr)$/i

/** Whether a file's name says that it is a picture, of a kind that is read or not. */
export function isPictureName(name: string): boolean {
  return PHOTO_NAME.test(name) || OTHER_PICTURE_NAME.test(name)
}

/**
 * Classifies a file by its first bytes.
 *
 * @param head the first HEAD_BYTES bytes of the file, or all of it
 * @param name the file's name; used only as said above
 */
export function classify(head: Uint8Array, name = ''): FileClass {
  const text = latin1(head, 0, 64)
  if (head.length === 0) return empty(name)
  if (text.startsWith('\0\x05\x16\x07') || text.startsWith('\0\x05\x16\0')) {
    return { kind: 'sidecar', what: 'macOS metadata (AppleDouble)' }
  }
  return (
    photoOf(head, text, name) ??
    isoMedia(head, text) ??
    rawOf(text, name) ??
    pictureOf(head, text, name) ??
    videoOf(head, text) ??
    rest(head, text, name)
  )
}

function photoOf(head: Uint8Array, text: string, name: string): FileClass | undefined {
  const photo = (format: PhotoFormat): FileClass => ({ kind: 'photo', format })
  if (text.startsWith('\x89PNG\r\n\x1a\n')) return photo('png')
  if (text.startsWith('\xff\xd8\xff\xf7')) return unread('a JPEG-LS picture', 'convert', 'jls')
  if (text.startsWith('\xff\xd8\xff')) return photo('jpeg')
  if (text.startsWith('RIFF') && text.startsWith('WEBP', 8)) return photo('webp')
  if (text.startsWith('GIF87a') || text.startsWith('GIF89a')) return photo('gif')
  if (/^(II[*+]\0|MM\0[*+])/.test(text)) {
    const family = rawFamily(head, name)
    return family ? raw(family) : photo('tiff')
  }
  if (text.startsWith('\xff\x0a') || text.startsWith('\0\0\0\x0cJXL \r\n\x87\n')) return photo('jxl')
  // BM, then the size of one of the headers that Windows and OS/2 have written.
  if (text.startsWith('BM') && head.length >= 18 && [12, 16, 40, 52, 56, 64, 108, 124].includes(head[14])) {
    if (head[15] === 0 && head[16] === 0 && head[17] === 0) return photo('bmp')
  }
  return undefined
}

const HEVC_BRANDS = /^(heic|heix|heim|heis|hevc|hevx|hevm|hevs)$/
const AV1_BRANDS = /^(avif|avis)$/
const PICTURE_BRANDS =
  /^(mif[123]|msf1|miaf|MiH[ABE]|MiPr|MiAB|heif|1pic|jpeg|jpgs|j2ki|j2is|vvic|vvis|avci|avcs|unif)$/

/** ISO base media (ISO 14496-12): HEIF and AVIF (ISO 23008-12), Canon's CR3, and all that is MP4 or QuickTime. */
function isoMedia(head: Uint8Array, text: string): FileClass | undefined {
  if (!text.startsWith('ftyp', 4)) return undefined
  const [major, ...compatible] = brandsOf(head)
  if (major === 'crx ') return raw('Canon CR3')
  if (/^M4[AB] $|^F4A /.test(major)) return { kind: 'other', what: 'audio' }
  // A picture's own brand comes first; `mif1` and its like can be either, and the compatible brands tell.
  const brands = [major, ...compatible]
  if (HEVC_BRANDS.test(major)) return { kind: 'photo', format: 'heic' }
  if (AV1_BRANDS.test(major)) return { kind: 'photo', format: 'avif' }
  if (PICTURE_BRANDS.test(major)) {
    const avif = brands.some((brand) => AV1_BRANDS.test(brand)) && !brands.some((brand) => HEVC_BRANDS.test(brand))
    return { kind: 'photo', format: avif || compatible.length === 0 ? 'avif' : 'heic' }
  }
  if (/^jp[2xm] /.test(major)) return unread('a JPEG 2000 picture', 'convert', 'jp2')
  return { kind: 'video', what: major === 'qt  ' ? 'QuickTime video' : 'MP4 video' }
}

const RAW_NAMES: Readonly<Record<string, string>> = { crw: 'Canon CRW', mos: 'Leaf MOS', gpr: 'GoPro GPR' }

function rawOf(text: string, name: string): FileClass | undefined {
  if (text.startsWith('FUJIFILMCCD-RAW')) return raw('Fujifilm RAF')
  if (/^(IIR[OS]|MMOR)/.test(text)) return raw('Olympus ORF')
  if (text.startsWith('IIU\0')) return raw('Panasonic RW2')
  if (text.startsWith('FOVb')) return raw('Sigma X3F')
  if (text.startsWith('\0MRM')) return raw('Minolta MRW')
  if (text.startsWith('II\x1a\0\0\0HEAPCCDR')) return raw('Canon CRW')
  const known = RAW_NAMES[extension(name)]
  return known ? raw(known) : undefined
}

function pictureOf(head: Uint8Array, text: string, name: string): FileClass | undefined {
  if (text.startsWith('\0\0\0\x0cjP  \r\n') || text.startsWith('\xff\x4f\xff\x51')) {
    return unread('a JPEG 2000 picture', 'convert', 'jp2')
  }
  if (text.startsWith('8BPS')) return unread('a Photoshop document', 'convert', 'psd[0]')
  if (text.startsWith('gimp xcf')) return unread('a GIMP document', 'export it from GIMP as PNG')
  if (text.startsWith('II\xbc')) return unread('a JPEG XR picture', 'JxrDecApp -i FILE.jxr -o FILE.tif')
  if (text.startsWith('\x76\x2f\x31\x01')) return unread('an OpenEXR picture (HDR)', 'convert', 'exr')
  if (/^#\?(RADIANCE|RGBE)/.test(text)) return unread('a Radiance HDR picture', 'convert', 'hdr')
  if (/^P[1-7FfH][\s]/.test(text)) return unread('a Netpbm picture', 'convert', 'ppm')
  if (text.startsWith('qoif')) return unread('a QOI picture', 'convert', 'qoi')
  if (text.startsWith('DDS ')) return unread('a DDS texture', 'convert', 'dds')
  if (text.startsWith('icns')) return unread('an icon (ICNS)', 'convert', 'icns')
  if (/^00000[12]00(?!00)..00/.test(hex(head))) return unread('an icon (ICO)', 'convert', 'ico')
  if (text.startsWith('\x8aMNG') || text.startsWith('\x8bJNG')) return unread('an MNG or JNG picture', 'convert', 'mng')
  if (text.startsWith('BPG\xfb')) return unread('a BPG picture', 'bpgdec -o FILE.png FILE.bpg')
  if (text.startsWith('FLIF')) return unread('a FLIF picture', 'flif -d FILE.flif FILE.png')
  if (text.startsWith('AT&TFORM')) return unread('a DjVu document', 'ddjvu -format=tiff FILE.djvu FILE.tif')
  if (/^(%!PS|\xc5\xd0\xd3\xc6)/.test(text)) return unread('a PostScript document', 'convert', 'eps')
  if (text.startsWith('\xd7\xcd\xc6\x9a') || text.startsWith(' EMF', 40))
    return unread('a Windows metafile', 'convert', 'emf')
  if (latin1(head, 128, 4) === 'DICM') return unread('a DICOM picture', 'dcmj2pnm +on FILE.dcm FILE.png')
  if (text.startsWith('SIMPLE  =')) return unread('a FITS picture', 'convert', 'fits')
  if (/^0a0[0-5]010[1248]/.test(hex(head))) return unread('a PCX picture', 'convert', 'pcx')
  if (text.startsWith('\x01\xda')) return unread('an SGI picture', 'convert', 'sgi')
  if (text.startsWith('\0\xffKA')) return unread('an Affinity document', 'export it from Affinity as PNG')
  if (text.startsWith('PK\x03\x04')) {
    if (/image\/openraster|application\/x-krita/.test(latin1(head, 30, 64))) {
      return unread('a Krita or OpenRaster document', 'export it from Krita as PNG')
    }
    if (extension(name) === 'livp') return unread('a packed Live Photo (LIVP)', 'unzip FILE.livp')
  }
  if (text.startsWith('\x1f\x8b') && extension(name) === 'svgz') return svg()
  const start = latin1(head, 0, 1024).replace(/^\xef\xbb\xbf/, '')
  if (/^\s*(<\?xml[^>]*>\s*)?(<!--[\s\S]*?-->\s*)*(<!DOCTYPE\s+svg|<svg[\s>])/i.test(start)) return svg()
  return undefined
}

const svg = (): FileClass => unread('an SVG drawing', 'rsvg-convert FILE.svg -o FILE.png')

function videoOf(head: Uint8Array, text: string): FileClass | undefined {
  const video = (what: string): FileClass => ({ kind: 'video', what })
  if (/^(moov|mdat|wide|free|skip|pnot)/.test(text.slice(4, 8))) return video('QuickTime video')
  if (text.startsWith('\x1a\x45\xdf\xa3')) return video('Matroska or WebM video')
  if (text.startsWith('RIFF') && text.startsWith('AVI ', 8)) return video('AVI video')
  if (text.startsWith('\x30\x26\xb2\x75\x8e\x66\xcf\x11')) return video('Windows Media video')
  if (text.startsWith('FLV\x01')) return video('Flash video')
  if (/^000001b[a3]/.test(hex(head))) return video('MPEG video')
  if (text.startsWith('.RMF')) return video('RealMedia video')
  if (text.startsWith('OggS') && /theora|fishead/.test(latin1(head, 0, 128))) return video('Ogg video')
  for (const [start, step] of [
    [0, 188],
    [4, 192],
  ]) {
    if ([0, 1, 2].every((i) => head[start + i * step] === 0x47)) return video('MPEG transport stream')
  }
  return undefined
}

function rest(head: Uint8Array, text: string, name: string): FileClass {
  const start = latin1(head, 0, 1024)
  if (
    /^\s*(\xef\xbb\xbf)?\s*(<\?xpacket|<x:xmpmeta|<\?xml[^>]*>\s*<x:xmpmeta)/.test(start) ||
    extension(name) === 'xmp'
  ) {
    return { kind: 'sidecar', what: 'XMP sidecar' }
  }
  if (extension(name) === 'aae') return { kind: 'sidecar', what: 'edits of Apple Photos (AAE)' }
  if (isPictureName(name)) {
    const what = isText(head) ? 'text (a web page or an error message, perhaps)' : 'no picture that is known here'
    return {
      kind: 'unreadable',
      problem: `is called a photo, but holds ${what}`,
      advice: 'copy or download it again, or open it in an image editor and save it as JPEG or PNG',
    }
  }
  if (text.startsWith('%PDF')) return { kind: 'other', what: 'PDF document' }
  if (text.startsWith('PK\x03\x04')) return { kind: 'other', what: 'ZIP archive or office document' }
  if (text.startsWith('SQLite format 3\0')) return { kind: 'other', what: 'database' }
  if (/^(ID3|fLaC|OggS|\xff[\xfb\xf3\xf2])/.test(text) || (text.startsWith('RIFF') && text.startsWith('WAVE', 8))) {
    return { kind: 'other', what: 'audio' }
  }
  return { kind: 'other', what: isText(head) ? 'text' : 'data' }
}

function empty(name: string): FileClass {
  if (!isPictureName(name)) return { kind: 'other', what: 'empty file' }
  return { kind: 'unreadable', problem: 'is empty', advice: 'copy or download it again' }
}

function raw(family: string): FileClass {
  return {
    kind: 'unreadable',
    problem: `is a camera's raw file (${family}), which is developed, not read`,
    advice: 'develop it (`darktable-cli FILE FILE.jpg`), or take the preview in it with --raw-preview',
    rawPreview: true,
  }
}

/** `command`: what makes a picture of it that is read; 'convert' stands for ImageMagick's, given the extension. */
function unread(what: string, command: string, extension = ''): FileClass {
  const words =
    command === 'convert' ? magick(`FILE.${extension} FILE.png`) : /FILE/.test(command) ? `\`${command}\`` : command
  const advice = /FILE/.test(words) ? `convert it first: ${words}` : words
  return { kind: 'unreadable', problem: `is ${what}, which is not read`, advice }
}

/** No control characters but those of text, in UTF-8 or Latin-1; UTF-16 by its mark. */
function isText(head: Uint8Array): boolean {
  if (/^(\xff\xfe|\xfe\xff)/.test(latin1(head, 0, 2))) return true
  return head.every((byte) => byte >= 32 || (byte >= 7 && byte <= 13) || byte === 27)
}

function extension(name: string): string {
  return /\.([^./\\]+)$/.exec(name)?.[1].toLowerCase() ?? ''
}

function hex(bytes: Uint8Array): string {
  return [...bytes.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

function latin1(bytes: Uint8Array, start: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(start, start + length))
}
