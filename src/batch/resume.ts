/** Which photos need no more work, by what ledgers say and by what is on the disk. */
import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type { Known, Records } from './records.ts'
import type { Content } from './rows.ts'

const CHUNK_BYTES = 2 ** 20

/** A file's SHA-256 and length. Rejects with the system's error. */
export async function contentOf(path: string | Buffer): Promise<Content> {
  await using file = await open(path)
  const hash = createHash('sha256')
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
  let bytes = 0
  for (;;) {
    const { bytesRead } = await file.read(chunk, 0, CHUNK_BYTES)
    if (bytesRead === 0) return { sha256: hash.digest('hex'), bytes }
    hash.update(chunk.subarray(0, bytesRead))
    bytes += bytesRead
  }
}

/**
 * What was written about a photo of this content, made with these settings, where that still holds: its result lies there with the bytes
 * that were written, or it has none and another try would end as the last. Undefined where there is work to do.
 *
 * @param folder of the ledgers
 */
export async function settledBy(
  records: Records,
  photo: string,
  { sha256 }: Content,
  settings: string,
  folder: string,
): Promise<Known | undefined> {
  for (const known of records.of(photo).toReversed()) {
    if (known.settings !== settings || known.sha256 !== sha256) continue
    if (known.output ? await isThere(join(folder, known.output.path), known.output) : known.final) return known
  }
  return undefined
}

/** What was written about a result at a path, where it is still that result: it was made of another photo or with other settings. */
export async function writerOf(
  records: Records,
  photo: string,
  path: string,
  folder: string,
): Promise<Known | undefined> {
  for (const known of records.of(photo).toReversed()) {
    if (known.output?.path === path && (await isThere(join(folder, path), known.output))) return known
  }
  return undefined
}

async function isThere(path: string, { sha256, bytes }: Content): Promise<boolean> {
  try {
    const there = await contentOf(path)
    return there.bytes === bytes && there.sha256 === sha256
  } catch {
    return false
  }
}
