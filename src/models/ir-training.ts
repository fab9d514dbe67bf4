/** The IR networks as they are trained: statistics of the batch, and parameters that the caller keeps. */
import { batchNormTraining, conv2d, linear, prelu, reshape } from '../kernels/index.ts'
import { expectShape, formatShape, type Tensor } from '../kernels/op.ts'
import { type IrArchitecture, type IrLayers, irOf } from './ir.ts'
import type { ParameterSource } from './learned.ts'

export interface IrTrained {
  /** [N,embedding], not normalised */
  embedding: Tensor
  /** Running statistics after the step, by name: `updates` of the tensors that hold them. */
  running: ReadonlyMap<string, Tensor>
}

/** Slope of a PReLU before training: PyTorch's. */
const SLOPE = 0.25

/**
 * The network of `ir` in training: batch normalisation takes the statistics of the batch and gives back the running ones after it.
 * Without dropout, which face.evoLVe has before the matrix.
 *
 * @param x faces aligned to ArcFace's template, RGB in -1..1, [N,3,H,W] with N from 2; `ir` takes what was trained at 112x112
 * @throws ShapeError where x is no such batch
 */
export function irTraining(x: Tensor, parameter: ParameterSource, architecture: IrArchitecture): IrTrained {
  expectShape(
    x.shape.length === 4 && x.shape[0] > 1 && x.shape[1] === 3,
    `irTraining: x must be [N,3,H,W] with N from 2, not ${formatShape(x.shape)}`,
  )
  const { layers, running } = trainingLayers(parameter)
  return { embedding: irOf(x, layers, architecture), running }
}

/** Layers whose parameters are called after them, and the running statistics of those recorded so far. */
function trainingLayers(parameter: ParameterSource): { layers: IrLayers; running: ReadonlyMap<string, Tensor> } {
  const running = new Map<string, Tensor>()
  const layers: IrLayers = {
    members: 1,

    convolution(x, key, { out, kernel = 1, stride = 1 }) {
      const shape = [out, x.shape[1], kernel, kernel]
      const weights = parameter({ name: `${key}.weight`, shape, initial: 'xavier', learned: true })
      return x.recorder.scope(key, () => conv2d(x, weights, undefined, { stride, padding: (kernel - 1) / 2 }))
    },

    convolutionNorm: (x, key, norm, options) => layers.norm(layers.convolution(x, key, options), norm),

    norm(x, key) {
      const per = (name: string, initial: number, learned: boolean): Tensor =>
        parameter({ name: `${key}.${name}`, shape: [x.shape[1]], initial, learned })
      const weight = per('weight', 1, true)
      const bias = per('bias', 0, true)
      const mean = per('running_mean', 0, false)
      const variance = per('running_var', 1, false)
      const normed = x.recorder.scope(key, () => batchNormTraining(x, weight, bias, mean, variance))
      running.set(`${key}.running_mean`, normed.runningMean)
      running.set(`${key}.running_var`, normed.runningVariance)
      return normed.output
    },

    prelu(x, key) {
      const width = x.shape[1]
      const slope = parameter({ name: `${key}.weight`, shape: [width], initial: SLOPE, learned: true })
      return x.recorder.scope(key, () => prelu(x, reshape(slope, [width, 1, 1])))
    },

    fullyConnected(x, key, out) {
      const matrix = parameter({ name: `${key}.weight`, shape: [out, x.shape[1]], initial: 'xavier', learned: true })
      const bias = parameter({ name: `${key}.bias`, shape: [out], initial: 0, learned: true })
      return x.recorder.scope(key, () => linear(x, matrix, bias))
    },
  }
  return { layers, running }
}
