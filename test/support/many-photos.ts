/** Small photos for tests of many: parts of the portrait, one face each, all different. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import sharp from 'sharp'
import { portrait } from './portrait.ts'

/** Options with which a photo takes seconds on a processor: what is tested is who does it, not how well. */
export const CHEAP = ['--strength', 'low', '--models', 'sirius'] as const

/** Writes these files, PNG of 160 x 200 pixels with a face each, into a folder; makes the folders in it. */
export async function writePhotos(folder: string, names: readonly string[]): Promise<void> {
  const face = await portrait().png().toBuffer()
  for (const [index, name] of names.entries()) {
    const path = join(folder, name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(
      path,
      await sharp(face)
        .modulate({ brightness: 1 + index / 100 })
        .png()
        .toBuffer(),
    )
  }
}
