/**
 * LPIPS v0.1 (Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018): how different
 * two images look, by the features of a network trained on other things. Taps of an image and the distance of taps are
 * separate, so that those of an image that stays the same are computed once.
 */
import { lpipsDistance } from '../kernels/index.ts'
import { expectShape, type Tensor } from '../kernels/op.ts'
import { alexnetTaps } from './alexnet.ts'
import { type NetworkWeights, normalised, type PixelMap, weight } from './layers.ts'
import { anySize, type Family, type Naming, partArchitecture } from './network.ts'
import { squeezenetTaps } from './squeezenet.ts'

/** The networks whose features are compared, by the names of LPIPS' authors. */
const trunks = { alex: alexnetTaps, squeeze: squeezenetTaps }

export type LpipsTrunk = keyof typeof trunks

/** RGB in -1..1, then LPIPS' own shift and scale (ScalingLayer of the authors' code). */
const lpipsInput: PixelMap = { range: [-1, 1], mean: [-0.03, -0.088, -0.188], std: [0.458, 0.448, 0.45] }

/**
 * Features of images at every layer that LPIPS compares.
 *
 * @param x01 RGB in 0..1, [N,3,H,W]; sides from 31 pixels (alex) or 17 (squeeze)
 * @param weights `features.*` of the trunk
 * @returns a map [N,C,h,w] for each layer: five of alex, seven of squeeze
 * @throws ShapeError for images that are too small
 */
export function lpipsTaps(x01: Tensor, weights: NetworkWeights, trunk: LpipsTrunk = 'alex'): Tensor[] {
  return x01.recorder.scope('taps', () => trunks[trunk](normalised(x01, lpipsInput), weights))
}

/**
 * What each layer adds to the distance of two images; their sum is LPIPS.
 *
 * @param a features of one image or batch, from `lpipsTaps`
 * @param b those of the other
 * @param weights `lin{k}.model.1.weight` [1,C,1,1] of the same trunk, not negative
 * @returns a distance [N] for each layer
 * @throws ShapeError where a and b come from images of different sizes
 */
export function lpipsDistances(a: readonly Tensor[], b: readonly Tensor[], weights: NetworkWeights): Tensor[] {
  expectShape(a.length === b.length, `lpips: ${a.length} and ${b.length} layers are of different trunks`)
  return a.map((features, k) => {
    const channels = features.shape[1]
    const lin = weight(features, weights, `lin${k}.model.1.weight`, [1, channels, 1, 1], [channels])
    return lpipsDistance(features, b[k], lin)
  })
}

/** Pixels of a side with which both trunks can be recorded. */
const SIDE = 64

/** The state of lpips.LPIPS(): trunk and weights of the channels, these twice. */
const module: Naming = {
  rename: (name) => name.replace(/^net\.slice\d\./, 'features.'),
  unused: [
    [/^lins\./, 'second copies of the weights of the channels'],
    [/^scaling_layer\./, 'the map of the colours, which is known'],
  ],
}

const classifierOf = (title: string): Naming => ({
  unused: [[/^classifier\./, `${title}'s classifier, which LPIPS does not use`]],
})

/** LPIPS' authors save SqueezeNet's trunk by itself. */
const bare: Naming = { rename: (name) => name.replace(/^(?=\d)/, 'features.') }

const whole = (trunk: LpipsTrunk) => (x: Tensor, weights: NetworkWeights) => {
  const taps = lpipsTaps(x, weights, trunk)
  return lpipsDistances(taps, taps, weights)
}

const architecturesOf = (
  trunk: LpipsTrunk,
  title: string,
  trunkId: string,
  trunkTitle: string,
  namings: readonly Naming[],
) => {
  const common = { input: anySize(lpipsInput), record: whole(trunk), side: SIDE }
  const isChannels = (name: string) => name.startsWith('lin')
  return [
    partArchitecture('perceptual', {
      ...{ ...common, id: trunkId, title: `${trunkTitle}'s convolutions, the trunk of LPIPS-${trunk}`, namings },
      part: (name) => !isChannels(name),
    }),
    partArchitecture('perceptual', {
      ...{ ...common, id: `lpips-lin-${trunk}`, title: `LPIPS v0.1's weights of the channels (${trunk})` },
      part: isChannels,
    }),
    partArchitecture('perceptual', {
      ...{ ...common, id: `lpips-${trunk}`, title: `LPIPS on ${title}`, namings: [{}, module] },
    }),
  ]
}

export const lpipsFamily: Family = {
  published: [
    ...architecturesOf('alex', 'AlexNet', 'alexnet', 'AlexNet', [classifierOf('AlexNet')]),
    ...architecturesOf('squeeze', 'SqueezeNet', 'squeezenet', 'SqueezeNet 1.1', [classifierOf('SqueezeNet'), bare]),
  ],
}
