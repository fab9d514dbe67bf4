/** What the containers of pictures say about themselves in their first bytes: brands of ISO media, directories of TIFF. */

/** The brands of an ISO base media file (ISO 14496-12, section 4.3), the major one first; `head` starts with its ftyp box. */
export function brandsOf(head: Uint8Array): string[] {
  const data = new DataView(head.buffer, head.byteOffset, head.byteLength)
  const end = Math.min(head.length, Math.max(16, data.getUint32(0)), 1024)
  const brands: string[] = []
  for (let at = 8; at + 4 <= end; at += 4) {
    // The minor version stands between the major brand and the compatible ones.
    if (at !== 12) brands.push(String.fromCharCode(...head.subarray(at, at + 4)))
  }
  return brands.length > 0 ? brands : ['']
}

const MAKERS: Readonly<Record<string, string>> = {
  dng: 'DNG',
  nef: 'Nikon NEF',
  nrw: 'Nikon NRW',
  arw: 'Sony ARW',
  sr2: 'Sony SR2',
  srf: 'Sony SRF',
  srw: 'Samsung SRW',
  cr2: 'Canon CR2',
  pef: 'Pentax PEF',
  '3fr': 'Hasselblad 3FR',
  fff: 'Hasselblad FFF',
  iiq: 'Phase One IIQ',
  kdc: 'Kodak KDC',
  dcr: 'Kodak DCR',
  erf: 'Epson ERF',
  mef: 'Mamiya MEF',
  rwl: 'Leica RWL',
}

const NEW_SUBFILE_TYPE = 0x00fe
const MAKE = 0x010f
const SUB_IFDS = 0x014a
const DNG_VERSION = 0xc612

/**
 * The family of camera raw that a TIFF file belongs to, or undefined for an ordinary TIFF. Told by Canon's mark, by
 * DNGVersion, by the name, and by a first directory that is a camera's thumbnail with the real picture in directories
 * below it.
 */
export function rawFamily(head: Uint8Array, name: string): string | undefined {
  if (head[8] === 0x43 && head[9] === 0x52) return MAKERS.cr2
  const named = MAKERS[/\.([^./\\]+)$/.exec(name)?.[1].toLowerCase() ?? '']
  const tags = firstDirectory(head)
  if (tags.has(DNG_VERSION)) return MAKERS.dng
  if (named) return named
  const thumbnail = ((tags.get(NEW_SUBFILE_TYPE) ?? 0) & 1) === 1
  return thumbnail && tags.has(MAKE) && tags.has(SUB_IFDS) ? 'made by a camera' : undefined
}

/** Tags of the first directory with their value field as a number, as far as `head` holds it (TIFF 6.0, section 2). */
function firstDirectory(head: Uint8Array): Map<number, number> {
  const tags = new Map<number, number>()
  if (head.length < 10) return tags
  const data = new DataView(head.buffer, head.byteOffset, head.byteLength)
  const little = data.getUint16(0) === 0x4949
  if (data.getUint16(2, little) !== 42) return tags
  const at = data.getUint32(4, little)
  if (at + 2 > head.length) return tags
  const count = data.getUint16(at, little)
  for (let i = 0; i < count; i++) {
    const entry = at + 2 + 12 * i
    if (entry + 12 > head.length) break
    const short = data.getUint16(entry + 2, little) === 3
    tags.set(
      data.getUint16(entry, little),
      short ? data.getUint16(entry + 8, little) : data.getUint32(entry + 8, little),
    )
  }
  return tags
}
