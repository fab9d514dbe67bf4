/** The constants of the attack: as published, and as this project sets them for photos that people keep. */

export interface Preset {
  name: string
  /** One sentence for `--help`. */
  summary: string
  /** Steps of signed gradient ascent. */
  steps: number
  /** Change of a pixel value (0..1) in one step. */
  stepSize: number
  /** The first x' is x plus uniform noise in ±this. */
  noise: number
  /** Weight of LPIPS against the feature distance (c_sim; Cherepanova et al. 2021, appendix). */
  lpipsWeight: number
  /** Gaussian blur of the second branch, in pixels of the area worked on; undefined attacks the plain branch alone. */
  blur: { size: number; sigma: number } | undefined
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
  summary: 'LowKey to the letter: the whole photo may change',
  steps: 50,
  stepSize: 0.0025,
  noise: 0.005,
  lpipsWeight: 0.05,
  blur: { size: 7, sigma: 3 },
  area: 'photo',
  rounding: 'floor',
}

const face = (name: string, lpipsWeight: number, summary: string): Preset => ({
  ...paper,
  name,
  summary,
  lpipsWeight,
  area: 'face',
  rounding: 'nearest',
})

/** By the name that `--strength` takes. They differ in the weight of LPIPS: a smaller weight allows a more visible change. */
export const presets: Readonly<Record<string, Preset>> = {
  low: face('low', 0.05, 'least visible'),
  medium: face('medium', 0.02, 'the default'),
  high: face('high', 0.008, 'strongest, a change that can be seen'),
  paper,
}

/** What the mean over embedding dimensions divides by in the published code, kept for networks of other embedding sizes. */
export const FEATURE_DIVISOR = 512
