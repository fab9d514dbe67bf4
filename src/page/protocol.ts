/** What the page and its worker say to each other. */
import type { PresetName } from '../attack/presets.ts'
import type { PhotoFormat } from '../images/photo.ts'
import type { Pixels } from '../pixels/pixels.ts'

/** Strengths that the page offers. */
export type Strength = Extract<PresetName, 'auto' | 'low' | 'medium' | 'high'>

/** Bytes of a part of the page: as they are, or as text (text16.ts) where the page carries them in itself. */
export type PartData = ArrayBuffer | string

/** 8-bit sRGB samples, upright, three a pixel. */
export interface Rgb extends Pixels {
  rgb: Uint8Array<ArrayBuffer>
  /** One byte a pixel, where the photo is not opaque. */
  alpha?: Uint8Array<ArrayBuffer>
}

/** For experts and tests: what the address says behind `#`. */
export interface Overrides {
  /** Recognisers attacked, in the place of all that the page has. */
  models?: string[]
  /** Exactly so many steps a face. */
  steps?: number
  seed?: number
}

export interface FoundFaceInfo {
  /** From 1, from left to right. */
  number: number
  /** Left, top, width and height as parts of the photo's size, 0..1. */
  place: [number, number, number, number]
}

/** What was done to one face, as `check` says it. */
export interface FaceOutcome {
  number: number
  /** Whether some recogniser still takes the two for one person; null where the face is not found any more. */
  matches: boolean | null
  /** How many earlier photos of the same person it was kept apart from. */
  earlier: number
  recognisers: { id: string; similarity: number; threshold: number }[]
}

/** Pictures of a part of the photo: PNG or JPEG files of one size. */
export interface View {
  /** The face's number; absent: the whole photo. */
  face?: number
  before: Blob
  after: Blob
  /** Grey where nothing changed; differences eight times as large as they are. */
  difference: Blob
  width: number
  height: number
}

/** Why a photo was not protected, by what can be done about it. */
export type Failure =
  | { kind: 'unreadable'; problem: string }
  | { kind: 'no-face'; smallest: number; maybe: number }
  | { kind: 'too-small' }
  | { kind: 'earlier-result' }
  | { kind: 'memory'; width: number; height: number; megabytes: number }
  | { kind: 'device-lost' }
  | { kind: 'cancelled' }
  | { kind: 'other'; message: string }

/** Why nothing can be protected in this browser. */
export type Inability = 'insecure' | 'no-webgpu' | 'no-adapter' | 'wrong-numbers' | 'wrong-pixels' | 'damaged' | 'other'

export type ToWorker =
  | { type: 'start'; networks: PartData; jpeg: PartData; overrides: Overrides }
  | { type: 'open'; id: number; file: File; decoded?: Rgb }
  | {
      type: 'protect'
      id: number
      file: File
      kind: PhotoFormat
      decoded?: Rgb
      faces: number[]
      strength: Strength
      format: 'jpeg' | 'png'
    }
  | { type: 'cancel'; id: number }

export type FromWorker =
  | { type: 'ready'; adapter: string; software: boolean }
  | { type: 'unable'; reason: Inability; detail: string }
  | {
      type: 'opened'
      id: number
      width: number
      height: number
      preview: Blob
      faces: FoundFaceInfo[]
      /** Places that may be faces. */
      maybe: number
    }
  | {
      type: 'progress'
      id: number
      phase: 'decode' | 'detect' | 'compile' | 'attack' | 'measure' | 'encode'
      done: number
      total: number
      face: number
      faces: number
    }
  | {
      type: 'protected'
      id: number
      result: Blob
      views: View[]
      faces: FaceOutcome[]
      warnings: string[]
      /** The area worked on was reduced, because memory did not suffice for its own size. */
      reduced: boolean
      seconds: number
    }
  | { type: 'failed'; id: number; failure: Failure }
  /** The device was lost while it worked on a photo, which begins anew. */
  | { type: 'restarted'; id: number }
