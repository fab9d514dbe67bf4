/** A file of every kind of photo that people have, made here. */
import { bmpInputs } from './bmp.ts'
import { heicInputs } from './heic.ts'
import type { Input } from './input.ts'
import { jpegInputs } from './jpeg.ts'
import { otherInputs } from './others.ts'
import { pngInputs } from './png.ts'
import { tiffInputs } from './tiff.ts'

export type { Input } from './input.ts'

export const inputs: readonly Input[] = [
  ...jpegInputs,
  ...heicInputs,
  ...pngInputs,
  ...otherInputs,
  ...tiffInputs,
  ...bmpInputs,
]
