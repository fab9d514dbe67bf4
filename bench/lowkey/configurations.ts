/** What is measured: the paper's ensemble, this project's, and one so small that what is left is overhead. */

import { loadDetector, loadNetworks, loadPerceptual } from '../../src/attack/node.ts'
import type { Perceptual, Surrogate } from '../../src/attack/objective.ts'
import { type Preset, presets } from '../../src/attack/presets.ts'
import type { Pixels } from '../../src/pixels/pixels.ts'
import { knownNetworks } from '../../src/weights/node.ts'
import type { Weights } from '../../src/weights/registry.ts'
import { photoOfSize, portrait } from './photos.ts'
import { seededRecogniser } from './seeded.ts'

/** What a configuration works with. */
export interface Networks {
  detector: Weights
  lpips: Perceptual
  surrogates: readonly Surrogate[]
  /** Recognisers that judge the result beside them; none unless told. */
  heldOut?: readonly Surrogate[]
  /** What the surrogates' weights were drawn from, if they were. */
  drawn?: readonly { architecture: string; seed: number }[]
}

export interface Configuration {
  name: string
  description: string
  preset: Preset
  /** Reads or draws the weights. */
  networks: () => Promise<Networks>
  photo: () => Promise<Pixels>
  /** It is the algorithm, the ensemble and the number of steps that took the paper 32 s. */
  published: boolean
  /** Left out on an adapter that is the processor, unless it is asked for by its name: seconds to minutes a step. */
  large: boolean
}

/** IR-152 and ResNet-152, each trained twice (ArcFace and CosFace): LowKey's ensemble (Cherepanova et al. 2021, section 4.1). */
export const PAPER_ENSEMBLE = ['ir-152', 'ir-152', 'resnet-152', 'resnet-152'] as const

/** An IR network of a unit a stage, with an eighth to a sixteenth of the channels. */
const TINY = 'ir-1x8-1x16-1x24-1x32-e64'

const PAPER_SIZES = [
  ['250', 250, 250],
  ['512', 512, 512],
  ['1080p', 1920, 1080],
  ['12mp', 4000, 3000],
] as const

/** Detector and LPIPS as installed, and recognisers with drawn weights; equal architectures get different ones. */
async function seededNetworks(architectures: readonly string[]): Promise<Networks> {
  const known = await knownNetworks()
  const [detector, lpips] = await Promise.all([loadDetector(known), loadPerceptual(known)])
  return {
    detector,
    lpips,
    surrogates: architectures.map((id, seed) => seededRecogniser(id, seed)),
    drawn: architectures.map((architecture, seed) => ({ architecture, seed })),
  }
}

export const configurations: readonly Configuration[] = [
  {
    name: 'small',
    description:
      'a network of four units with 8 to 32 channels, on a photo of 128x128: LPIPS and dispatches are what is left',
    preset: presets.medium,
    networks: () => seededNetworks([TINY]),
    photo: () => photoOfSize(128, 128),
    published: false,
    large: false,
  },
  {
    name: 'embedded',
    description: 'what `lowkey-gpu protect` does unless told otherwise, on a photo of 512x512',
    preset: presets.medium,
    networks: () => loadNetworks(),
    photo: portrait,
    published: false,
    large: false,
  },
  ...PAPER_SIZES.map(
    ([name, width, height]): Configuration => ({
      name: `paper-${name}`,
      description: `LowKey as published, IR-152 and ResNet-152 twice, on a photo of ${width}x${height}`,
      preset: presets.paper,
      networks: () => seededNetworks(PAPER_ENSEMBLE),
      photo: () => photoOfSize(width, height),
      published: true,
      large: name !== '250',
    }),
  ),
]

/**
 * Configurations by name; `paper` names all its sizes.
 * @throws RangeError for a name that there is none of
 */
export function named(names: readonly string[]): Configuration[] {
  return names.flatMap((name) => {
    const found = configurations.filter((each) => each.name === name || each.name.startsWith(`${name}-`))
    if (found.length === 0)
      throw new RangeError(
        `there is no configuration ${name}, but ${configurations.map((each) => each.name).join(', ')}`,
      )
    return found
  })
}
