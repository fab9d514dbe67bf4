/**
 * IResNet, the network of InsightFace's arcface_torch (github.com/deepinsight/insightface, recognition/arcface_torch): ArcFace's improved
 * residual network with a normalisation between convolution and activation, and a convolution in the shortcut wherever the image is halved.
 */
import { add, flatten } from '../kernels/index.ts'
import type { Tensor } from '../kernels/op.ts'
import type { LayerWeights } from './ensemble.ts'
import { channelNorm, channelPrelu, convolutionNorm, fullyConnected } from './layers.ts'
import {
  crops,
  expectCrops,
  type Naming,
  type RecogniserArchitecture,
  recogniserArchitecture,
  symmetric,
} from './network.ts'
import { countOf, type TensorShapes } from './recording.ts'
import { eachUnit, type SizedStages, stagedFamily, stageIds } from './stages.ts'

/**
 * The network in inference.
 *
 * @param x faces aligned to ArcFace's template, RGB in -1..1, [N,3,112,112]
 * @returns embeddings [N,embedding], not normalised; of an ensemble those of its members side by side
 * @throws ShapeError for another size, or where the weights are those of another architecture
 */
export function iresnet(x: Tensor, weights: LayerWeights, stages: SizedStages): Tensor {
  expectCrops('iresnet', x, 112)
  let y = convolutionNorm(x, weights, 'conv1', 'bn1', { out: stages.channels[0], kernel: 3, padding: 1 })
  y = channelPrelu(y, weights, 'prelu')
  y = eachUnit(stages, y, (x, { place, channels, stride }) => unit(x, weights, `layer${place}`, channels, stride))
  y = flatten(channelNorm(y, weights, 'bn2'))
  return channelNorm(fullyConnected(y, weights, 'fc', { out: stages.embedding }), weights, 'features')
}

function unit(x: Tensor, weights: LayerWeights, key: string, out: number, stride: number): Tensor {
  const convolved = { out, kernel: 3, padding: 1 }
  // The first normalisation comes before padding, so it cannot go into the kernels as the others do.
  let y = channelNorm(x, weights, `${key}.bn1`)
  y = channelPrelu(convolutionNorm(y, weights, `${key}.conv1`, `${key}.bn2`, convolved), weights, `${key}.prelu`)
  y = convolutionNorm(y, weights, `${key}.conv2`, `${key}.bn3`, { ...convolved, stride })
  if (stride === 1) return add(y, x)
  return add(y, convolutionNorm(x, weights, `${key}.downsample.0`, `${key}.downsample.1`, { out, stride }))
}

const ids = stageIds('iresnet-', {
  18: [2, 2, 2, 2],
  34: [3, 4, 6, 3],
  50: [3, 4, 14, 3],
  100: [3, 13, 30, 3],
  200: [6, 26, 60, 6],
})

/** As arcface_torch saves it, and FRBench's IR, which calls the first and last layers otherwise. */
const namings: readonly Naming[] = [
  {},
  {
    rename: (name) =>
      name
        .replace(/^input_layer\.0\./, 'conv1.')
        .replace(/^input_layer\.1\./, 'bn1.')
        .replace(/^input_layer\.2\./, 'prelu.')
        .replace(/^bn_o1\./, 'bn2.')
        .replace(/^bn_o2\./, 'features.'),
  },
]

const described = (id: string, stages: SizedStages): RecogniserArchitecture =>
  recogniserArchitecture({
    id,
    title: ids.published.has(id)
      ? `IResNet-${id.slice('iresnet-'.length)} of InsightFace`
      : `IResNet of ${stages.units.join('/')} units`,
    input: crops(112, symmetric),
    embedding: stages.embedding,
    alignment: 'arcface112',
    build: (x, weights) => iresnet(x, weights, stages),
    namings,
  })

function sizesIn(shapes: TensorShapes): SizedStages | undefined {
  const unitsOf = (stage: number) => countOf(shapes, new RegExp(`^layer${stage}\\.(\\d{1,3})\\.`))
  const channelsOf = (stage: number) => shapes.get(`layer${stage}.0.conv1.weight`)?.[0] ?? 32 * 2 ** stage
  const stages: SizedStages = {
    units: [unitsOf(1), unitsOf(2), unitsOf(3), unitsOf(4)],
    channels: [channelsOf(1), channelsOf(2), channelsOf(3), channelsOf(4)],
    embedding: shapes.get('fc.weight')?.[0] ?? 512,
  }
  return Math.min(...stages.units) > 0 ? stages : undefined
}

export const iresnetFamily = stagedFamily(ids, described, sizesIn)
