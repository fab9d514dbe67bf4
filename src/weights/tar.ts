/**
 * Reads a tar archive as npm packs it: ustar headers of 512 bytes, pax records for long names, files padded to 512.
 * https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html
 */
import { WeightsError } from './errors.ts'

/** An archive that is damaged, or lacks a file. */
export class TarError extends WeightsError {
  override name = 'TarError'
}

const BLOCK = 512

/**
 * Takes files out of an (uncompressed) tar archive, as views of its bytes. Nothing is written anywhere, so names in the
 * archive cannot lead out of a folder; only regular files count.
 *
 * @param paths the names wanted, `package/...` in an npm tarball
 * @param file the archive's name, for messages
 * @throws TarError if the archive is damaged or cut short, or holds a wanted name twice or not at all
 */
export function readTar(bytes: Uint8Array, paths: readonly string[], file: string): Map<string, Uint8Array> {
  const found = new Map<string, Uint8Array>()
  let paxPath: string | undefined
  let at = 0
  while (at < bytes.length) {
    const header = bytes.subarray(at, at + BLOCK)
    if (header.length < BLOCK) throw new TarError(file, `ends inside the header at byte ${at}`)
    // Two blocks of zeros end the archive; one is enough to know.
    if (header.every((byte) => byte === 0)) break
    checkSum(header, at, file)
    const size = octal(header, 124, 12, at, file)
    const data = bytes.subarray(at + BLOCK, at + BLOCK + size)
    if (data.length < size) throw new TarError(file, `ends inside the file at byte ${at}`)
    const type = String.fromCharCode(header[156])
    if (type === 'x') paxPath = paxRecord(data, 'path', file) ?? paxPath
    else {
      const path = paxPath ?? ustarPath(header)
      paxPath = undefined
      if ((type === '0' || type === '\0') && paths.includes(path)) {
        if (found.has(path)) throw new TarError(file, `holds ${path} twice`)
        found.set(path, data)
      }
    }
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK
  }
  for (const path of paths) if (!found.has(path)) throw new TarError(file, `has no file ${path}`)
  return found
}

/** The header's own sum of its bytes, with the field that holds it taken as eight spaces. */
function checkSum(header: Uint8Array, at: number, file: string): void {
  let sum = 0
  for (let i = 0; i < BLOCK; i++) sum += i >= 148 && i < 156 ? 0x20 : header[i]
  if (sum !== octal(header, 148, 8, at, file)) throw new TarError(file, `the header at byte ${at} is damaged`)
}

function octal(header: Uint8Array, start: number, length: number, at: number, file: string): number {
  const digits = text(header.subarray(start, start + length)).trim()
  if (!/^[0-7]+$/.test(digits)) throw new TarError(file, `the header at byte ${at} is damaged`)
  return Number.parseInt(digits, 8)
}

function ustarPath(header: Uint8Array): string {
  const name = text(header.subarray(0, 100))
  const prefix = text(header.subarray(257, 262)) === 'ustar' ? text(header.subarray(345, 500)) : ''
  return prefix ? `${prefix}/${name}` : name
}

/** Bytes up to the first NUL. */
function text(bytes: Uint8Array): string {
  const end = bytes.indexOf(0)
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end))
}

/** A pax header is a list of `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record. */
function paxRecord(data: Uint8Array, key: string, file: string): string | undefined {
  let value: string | undefined
  for (let at = 0; at < data.length; ) {
    const space = data.indexOf(0x20, at)
    const digits = space < at || space > at + 12 ? '' : new TextDecoder().decode(data.subarray(at, space))
    const length = /^[0-9]+$/.test(digits) ? Number(digits) : 0
    if (length <= space - at || length === 0 || at + length > data.length) {
      throw new TarError(file, 'has a damaged pax header')
    }
    const record = new TextDecoder().decode(data.subarray(space + 1, at + length - 1))
    if (record.startsWith(`${key}=`)) value = record.slice(key.length + 1)
    at += length
  }
  return value
}
