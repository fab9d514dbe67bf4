/** The constants of Fawkes 1.0, the baseline, as its program sets them. */

/** The settings of a strength. */
export interface FawkesMode {
  name: string
  /** Structural dissimilarity, (1 - SSIM) / 2 of the crop of 112 pixels, up to which a change costs nothing. */
  threshold: number
  steps: number
  /** Learning rate of Adadelta, in tanh-space. */
  learningRate: number
  /** How many feature extractors are attacked at once. */
  extractors: number
}

/** The three modes of Fawkes 1.0. */
export const fawkesModes = {
  low: { name: 'fawkes-low', threshold: 0.004, steps: 40, learningRate: 25, extractors: 1 },
  mid: { name: 'fawkes-mid', threshold: 0.012, steps: 75, learningRate: 20, extractors: 2 },
  high: { name: 'fawkes-high', threshold: 0.017, steps: 150, learningRate: 15, extractors: 2 },
} as const satisfies Readonly<Record<string, FawkesMode>>

/** Of those to be attacked, the first: as many as the mode has extractors, or all where there are fewer. */
export const extractorsOf = <S>({ extractors }: FawkesMode, surrogates: readonly S[]): readonly S[] =>
  surrogates.slice(0, extractors)

/** Side in pixels of the square in which a face is cloaked. */
export const SIDE = 112

/** The square is this many pixels of the photo wider than the longer side of the face's box; what the box leaves has its mean colour. */
export const PADDING = 30

/** Keeps what is mapped by artanh away from -1 and 1: pixel values v in 0..1 become artanh((v - 1/2) * this). */
export const TANH_SCALE = 2 - 1e-6

/** The first modifier is uniform in plus and minus this. */
export const FIRST_MODIFIER = 1e-4

/** By how much the first step also moves along the sign of the gradient, which is almost zero where nothing has changed yet. */
export const FIRST_STEP = 0.01

/** Most that a pixel value (0..1) changes. */
export const LARGEST_CHANGE = 15 / 255

/** Weight of the squared excess of dissimilarity. */
export const PENALTY = 1e6

/** Multiples of the threshold under and above which the weight of the features changes; the upper one also bounds what is kept. */
export const NEAR_THRESHOLD = [0.9, 1.1] as const

/** The weight doubles only up to, and halves only down to one over, this number: from 1 on it stays within 256 and 1/256. */
export const WEIGHT_LIMIT = 129
