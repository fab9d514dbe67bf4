/** Paths as text and as bytes, and what their names say. */
import { isUtf8 } from 'node:buffer'
import { type BigIntStats, readdirSync, type Stats, statfsSync, statSync } from 'node:fs'
import { basename, dirname, extname, join, resolve } from 'node:path'

/** A path; bytes where it is not UTF-8, which text cannot hold. */
export type FilePath = string | Buffer

/** A path as text. Names that are not UTF-8 come from times and systems that wrote Latin-1 more than anything else. */
export const textOf = (path: FilePath): string => (typeof path === 'string' ? path : path.toString('latin1'))

/** A path from bytes: text where they are UTF-8. */
export const pathOfBytes = (bytes: Buffer): FilePath => (isUtf8(bytes) ? bytes.toString() : bytes)

/** The path of an entry of a folder. */
export function joined(folder: FilePath, entry: FilePath): FilePath {
  if (typeof folder === 'string' && typeof entry === 'string') return join(folder, entry)
  return Buffer.concat([Buffer.from(folder), Buffer.from('/'), Buffer.from(entry)])
}

/** What is added to the names of protected photos, unless told otherwise. */
export const RESULT_SUFFIX = '.cloaked'

/** What a file is the same as, whatever it is called. */
export const keyOf = ({ dev, ino }: Stats | BigIntStats): string => `${dev}:${ino}`

/** Whether a file's name says that it is a result of this program. */
export function isResultName(name: string, suffixes: readonly string[]): boolean {
  const stem = basename(name, extname(name))
  return suffixes.some((suffix) => suffix !== '' && stem.endsWith(suffix))
}

/** What is at a path; undefined where there is nothing, or nothing that can be looked at. */
export function lookedAt(path: FilePath): BigIntStats | undefined {
  try {
    return statSync(path, { bigint: true, throwIfNoEntry: false })
  } catch {
    return undefined
  }
}

/** Whether two paths are one file, also through links, and where the disk does not tell capital letters from small ones. */
export function sameFile(a: FilePath, b: FilePath): boolean {
  const [one, other] = [a, b].map(lookedAt)
  if (!one || !other) return resolve(textOf(a)) === resolve(textOf(b))
  return keyOf(one) === keyOf(other)
}

/** A file's name as disks that do not tell capital letters from small ones compare it. */
export const folded = (name: string): string => name.normalize('NFC').toLowerCase()

/** File systems that do not tell capital letters from small ones: FAT, exFAT, NTFS, SMB, HFS+ (statfs(2)). */
const FOLDING = [0x4d44, 0x2011bab0, 0x5346544e, 0x7366746e, 0x65735546, 0xff534d42, 0xfe534d42, 0x517b, 0x482b]

/** Whether a folder's disk does not tell capital letters from small ones, as far as it can be seen without writing to it. */
export function foldsNames(folder: string): boolean {
  if (process.platform === 'darwin' || process.platform === 'win32') return true
  try {
    if (FOLDING.includes(statfsSync(folder).type)) return true
    const known = readdirSync(folder).find((name) => name.toUpperCase() !== name)
    return known !== undefined && sameFile(join(folder, known), join(folder, known.toUpperCase()))
  } catch {
    return folder !== dirname(folder) && foldsNames(dirname(folder))
  }
}
