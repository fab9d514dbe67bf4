/** What the ledgers of a folder of results say, and whether the results are what they say. */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import sharp from 'sharp'
import { expect } from 'vitest'

export interface Row {
  row: string
  photo?: string
  outcome?: string
  output?: { path: string; sha256: string; bytes: number }
  error?: { code: number; retry: boolean }
  code?: number
  notDone?: number
  before?: number
  shard?: { index: number; count: number; engine?: string }
}

/** The rows of each ledger of a folder, one ledger a start of a task. A last line that was cut short by a kill is left out. */
export function ledgersIn(folder: string): Row[][] {
  if (!existsSync(folder)) return []
  const names = readdirSync(folder).filter((name) => /^lowkey-ledger.*\.jsonl$/.test(name))
  return names.map((name) =>
    readFileSync(join(folder, name), 'utf8')
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Row),
  )
}

/**
 * The files of results below a folder, relative to it: everything but ledgers, logs, and what a task without power could not remove of what it
 * was writing.
 */
export const resultsIn = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/\.(jsonl|log)$|^\.lowkey-.*\.part$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort()

/**
 * Every photo is protected once, none twice, none half, and the ledgers say so. Of a photo whose task was killed between the file and the line
 * about it, the line before (`saving`) says it.
 */
export async function expectEachOnce(folder: string, photos: readonly string[]): Promise<void> {
  const result = (photo: string): string => photo.replace(/\.png$/, '.cloaked.png')
  expect(resultsIn(folder)).toEqual(photos.map(result).sort())
  const rows = ledgersIn(folder).flat()
  for (const photo of photos) {
    const path = result(photo)
    const bytes = readFileSync(join(folder, path))
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    const protectedRows = rows.filter((row) => row.photo === photo && row.row === 'photo')
    const said =
      protectedRows.length > 0 ? protectedRows : rows.filter((row) => row.photo === photo && row.row === 'saving')
    expect(protectedRows.length, `${photo}: ${JSON.stringify(protectedRows)}`).toBeLessThanOrEqual(1)
    expect(said.at(-1), photo).toMatchObject({ outcome: 'protected', output: { path, sha256, bytes: bytes.length } })
    const { info } = await sharp(bytes).raw().toBuffer({ resolveWithObject: true })
    expect(info, photo).toMatchObject({ width: 160, height: 200 })
  }
}
