/**
 * The IR networks of AdaFace (github.com/mk-minchul/AdaFace) and of TFace: as face.evoLVe's (ir.ts), but with a normalisation between the
 * first convolution of a unit and its activation, and a last normalisation that only centres and scales.
 */
import { add, flatten } from '../kernels/index.ts'
import type { Tensor } from '../kernels/op.ts'
import type { LayerWeights } from './ensemble.ts'
import { asDeclared, shortcut } from './ir.ts'
import { channelNorm, channelPrelu, convolutionNorm, fullyConnected } from './layers.ts'
import { crops, expectCrops, type RecogniserArchitecture, recogniserArchitecture, symmetric } from './network.ts'
import type { TensorShapes } from './recording.ts'
import { eachUnit, type SizedStages, stagedFamily, stageIds, stagesIn } from './stages.ts'

/**
 * The network in inference.
 *
 * @param x faces aligned to ArcFace's template, B, G, R in -1..1, [N,3,112,112]
 * @returns embeddings [N,embedding], not normalised; of an ensemble those of its members side by side
 * @throws ShapeError for another size, or where the weights are those of another architecture
 */
export function adaface(x: Tensor, weights: LayerWeights, stages: SizedStages): Tensor {
  expectCrops('adaface', x, 112)
  let y = convolutionNorm(x, weights, 'input_layer.0', 'input_layer.1', {
    out: stages.channels[0],
    kernel: 3,
    padding: 1,
  })
  y = channelPrelu(y, weights, 'input_layer.2')
  y = eachUnit(stages, y, (x, { number, channels, stride }) => unit(x, weights, `body.${number}`, channels, stride))
  y = flatten(channelNorm(y, weights, 'output_layer.0'))
  y = fullyConnected(y, weights, 'output_layer.3', { out: stages.embedding })
  return channelNorm(y, weights, 'output_layer.4', { affine: false })
}

function unit(x: Tensor, weights: LayerWeights, key: string, out: number, stride: number): Tensor {
  const layer = (i: number) => `${key}.res_layer.${i}`
  const convolved = { out, kernel: 3, padding: 1 }
  let y = channelNorm(x, weights, layer(0))
  y = channelPrelu(convolutionNorm(y, weights, layer(1), layer(2), convolved), weights, layer(3))
  y = convolutionNorm(y, weights, layer(4), layer(5), { ...convolved, stride })
  return add(y, shortcut(x, weights, `${key}.shortcut_layer`, out, stride))
}

const START = 'adaface-ir-'

const ids = stageIds(START, {
  18: [2, 2, 2, 2],
  34: [3, 4, 6, 3],
  50: [3, 4, 14, 3],
  101: [3, 13, 30, 3],
})

const described = (id: string, stages: SizedStages): RecogniserArchitecture =>
  recogniserArchitecture({
    id,
    title: ids.published.has(id)
      ? `IR-${id.slice(START.length)} of AdaFace`
      : `AdaFace's IR of ${stages.units.join('/')} units`,
    input: { ...crops(112, symmetric), colours: 'BGR' },
    embedding: stages.embedding,
    alignment: 'arcface112',
    build: (x, weights) => adaface(x, weights, stages),
    inFiles: asDeclared,
  })

function sizesIn(shapes: TensorShapes): SizedStages | undefined {
  const stages = stagesIn(shapes, /^body\.(\d{1,3})\./, (i) => `body.${i}.res_layer.1.weight`)
  return stages && { ...stages, embedding: shapes.get('output_layer.3.weight')?.[0] ?? 512 }
}

export const adafaceFamily = stagedFamily(ids, described, sizesIn)
