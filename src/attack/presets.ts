/** The constants of the attack: as published, and as this project sets them for photos that people keep. */

export interface Preset {
  name: string
  /** Steps of signed gradient ascent. */
  steps: number
  /** Change of a pixel value (0..1) in one step. */
  stepSize: number
  /** Most further rounds of a face that a recogniser which is attacked still matches: a quarter of the steps each, and longer and longer ones. */
  rounds: number
  /** The first x' is x plus uniform noise in ±this. */
  noise: number
  /** Weight of LPIPS against the feature distance (c_sim; Cherepanova et al. 2021, appendix). */
  lpipsWeight: number
  /**
   * What LPIPS looks at: the mean of the face crop and of the whole area worked on, as published, or the crop alone, which takes a third
   * of the arithmetic out of a step.
   */
  lpipsOf: 'both' | 'crop'
  /** Gaussian blur of the second branch, in pixels of the area worked on; undefined attacks the plain branch alone. */
  blur: { size: number; sigma: number } | undefined
  /** 0: every pixel changes by the whole step, as published; above, pixels that matter less than this times the mean change less. */
  softness: number
  /** What the part of a step that changes colour, not light, is multiplied by; 1, as published, treats them alike. */
  chroma: number
  /** Steps get smaller, linearly down to a tenth. */
  decay: boolean
  /**
   * Every step draws one view for each surrogate: plain or blurred, mirrored or not, and the crop turned, enlarged and moved up to these:
   * degrees, part of one, crop pixels. Undefined: all four views of the aligned crop in every step, as published.
   */
  drawn: { degrees: number; scale: number; shift: number } | undefined
  /** Features are taken relative to those of many people: their mean is subtracted, where the population is known. */
  centred: boolean
  /** Weight of the way towards the photo's own direction (directions.ts), against that away from the photo's features. */
  towards: number
  /** Squared distance (0..4; 2 is no likeness) beyond which the own features repel no more; 0: no limit. */
  awayLimit: number
  /**
   * Weight of the likeness with earlier protected photos of the same person (apart.ts), against that with the photo's own features; 0 knows
   * none.
   */
  apart: number
  /** Part of the change that stays in perfectly flat areas; 1 treats all alike. */
  flat: number
  /**
   * `photo`: LPIPS and changes cover the whole photo at its own size, as published. `face`: only a soft-edged region around
   * each face changes, at a bounded resolution; the rest of the photo keeps its bits.
   */
  area: 'photo' | 'face'
  /** How the result becomes 8 bit: `floor` as the published code does, or `nearest`. */
  rounding: 'floor' | 'nearest'
}

/** LowKey as published (ICLR 2021): 50 steps of 0.0025, c_sim 0.05, 7x7 blur with sigma 3, the whole photo. */
const paper: Preset = {
  name: 'paper',
  steps: 50,
  stepSize: 0.0025,
  rounds: 0,
  noise: 0.005,
  lpipsWeight: 0.05,
  lpipsOf: 'both',
  blur: { size: 7, sigma: 3 },
  softness: 0,
  chroma: 1,
  decay: false,
  drawn: undefined,
  centred: false,
  towards: 0,
  awayLimit: 0,
  apart: 0,
  flat: 1,
  area: 'photo',
  rounding: 'floor',
}

/**
 * LowKey with what helped against recognisers that were not attacked, at the same visible change (docs/results.md): soft steps that
 * get smaller and change light more than colour, one drawn view a step, features relative to the population's mean, a direction for each
 * photo, less in flat areas, and the face alone. Strengths differ in the size of a step, by one and a half each; the strongest also drives
 * features beyond no likeness.
 */
const face = (name: string, stepSize: number, awayLimit: number): Preset => ({
  ...paper,
  name,
  steps: 32,
  stepSize,
  noise: 0.001,
  lpipsWeight: 0.02,
  lpipsOf: 'crop',
  softness: 20,
  chroma: 0.3,
  decay: true,
  drawn: { degrees: 6, scale: 0.06, shift: 3 },
  centred: true,
  towards: 0.6,
  awayLimit,
  apart: 1,
  flat: 0.2,
  area: 'face',
  rounding: 'nearest',
})

export type PresetName = 'auto' | 'low' | 'medium' | 'high' | 'paper' | 'small' | 'no-blur'

/** By the name that `--strength` takes. `auto` is medium, and goes on while a recogniser that is attacked still matches. */
export const presets: Readonly<Record<PresetName, Preset>> = {
  auto: { ...face('auto', 0.032, 2), rounds: 8 },
  low: face('low', 0.0213, 2),
  medium: face('medium', 0.032, 2),
  high: face('high', 0.048, 2.6),
  paper,
  // The small attack of the paper: LPIPS weighs five times as much.
  small: { ...paper, name: 'small', lpipsWeight: 0.25 },
  'no-blur': { ...paper, name: 'no-blur', blur: undefined },
}

/** What the mean over embedding dimensions divides by in the published code, kept for networks of other embedding sizes. */
export const FEATURE_DIVISOR = 512
