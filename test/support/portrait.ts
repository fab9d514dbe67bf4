/** The portrait that the repository has, cut to the face: for tests that need a real one and little time. */
import { join } from 'node:path'
import sharp, { type Sharp } from 'sharp'

export const PORTRAIT = { width: 160, height: 200 }

/** Of 320x400 pixels, the face about 84 by 114. */
export const largePortrait = (): Sharp =>
  sharp(join(import.meta.dirname, '../../examples/astronaut.png')).extract({
    left: 80,
    top: 0,
    width: 320,
    height: 400,
  })

/** Of 160x200 pixels, the face about 42 by 57. */
export const portrait = (): Sharp => largePortrait().resize(PORTRAIT.width, PORTRAIT.height)
