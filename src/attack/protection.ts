/** What `Protector.protect` says while it works, and of its result. */
import type { Landmarks } from '../faces/alignment.ts'
import type { Face } from '../faces/mtcnn.ts'
import type { Pixels } from '../pixels/pixels.ts'
import type { ChosenFace, LeftAlone } from './choose.ts'

export interface Progress {
  phase: 'detect' | 'compile' | 'attack' | 'measure'
  /** Of `attack`: steps done and to do, over all faces; of `compile`: shaders, where the driver has to compile any. Else zeros. */
  done: number
  total: number
  /** The face that is worked on, from 1, and how many there are; only where there are several, one after another. */
  face?: number
  faces?: number
}

/** Cosine similarity of the face with the clean photo's, before (with itself) and after protection. */
export interface RecogniserReport {
  id: string
  heldOut: boolean
  /** Similarity at and above which the recogniser takes two faces for the same person. */
  threshold: number
  before: number
  after: number
}

export interface FaceReport {
  /** x1, y1, x2, y2 in pixels of the photo. */
  box: Face['box']
  landmarks: Landmarks
  recognisers: RecogniserReport[]
  /** Further rounds that the face took because a recogniser still matched it; 0 unless the preset has rounds. */
  rounds: number
  /** As `ChosenFace` has them. */
  number: number
  by: ChosenFace['by']
  roll: number
  beyond: number
  /** It is found again in the result. If not, it was measured at its old place, which is no verdict. */
  foundAgain: boolean
  /** Its landmarks are certain before and after. If not, others may see it otherwise than it was measured. */
  sure: boolean
  /** Earlier protected photos of the same person; only where it was protected apart from such. */
  apart?: Apartness
}

/** How a protected face compares with the earlier ones of the same person. */
export interface Apartness {
  /** How many there are. */
  from: number
  /** Those that attacked recognisers still take for the same person, at its old place: what the photo is called, and which recognisers. */
  matches: { photo: string; recognisers: string[] }[]
}

export interface Protection {
  photo: Pixels
  faces: FaceReport[]
  /** What was found, or may be a face, and is not protected. */
  left: LeftAlone
  /** Sides in pixels of the smallest faces that were looked for: upright ones, and those on their side or upside down. */
  smallest: { upright: number; turned: number }
  /**
   * Visibility of the change where it is greatest: LPIPS of what the preset says (`lpipsOf`) and PSNR in dB of the area worked on, the
   * worst of all faces; of the 8-bit result.
   */
  lpips: number
  psnr: number
  /** Seconds by phase, and in all. */
  seconds: { detect: number; compile: number; attack: number; measure: number; total: number }
  warnings: string[]
}
