/** The IR networks as they are trained: statistics of the batch, and parameters that the caller keeps. */
import {
  add,
  batchNormTraining,
  conv2d,
  flatten,
  linear,
  maxPool2d,
  mean,
  mul,
  prelu,
  relu,
  reshape,
  sigmoid,
} from '../kernels/index.ts'
import { expectShape, formatShape, type Shape, type Tensor } from '../kernels/op.ts'
import type { IrArchitecture } from './ir.ts'

/** Something that a network learns, or averages over its batches. */
export interface Parameter {
  /** As face.evoLVe calls it, and `ir` finds it. */
  name: string
  shape: Shape
  /** The value that all its elements begin with; 'xavier' for kernels and matrices, whose beginning is random (see `xavierBound`). */
  initial: number | 'xavier'
  /** Whether gradients change it. Running statistics are not learned but averaged. */
  learned: boolean
}

/** Gives the tensor that holds a parameter, of the parameter's shape. It is asked once for each use. */
export type ParameterSource = (parameter: Parameter) => Tensor

export interface IrTrained {
  /** [N,embedding], not normalised */
  embedding: Tensor
  /** Running statistics after the step, by name: `updates` of the tensors that hold them. */
  running: ReadonlyMap<string, Tensor>
}

/** Slope of a PReLU before training: PyTorch's. */
const SLOPE = 0.25

/** Factor by which squeeze-and-excitation narrows the channels (face.evoLVe, backbone/model_irse.py). */
const REDUCTION = 16

/**
 * Kernels and matrices of this shape begin uniform in ± this bound (Glorot and Bengio 2010), as face.evoLVe's do.
 * @param shape [out,in] or [out,in,h,w]
 */
export function xavierBound([outputs, inputs, ...window]: Shape): number {
  const area = window.reduce((product, extent) => product * extent, 1)
  return Math.sqrt(6 / ((outputs + inputs) * area))
}

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
  const { units, channels, embedding, squeezeExcitation } = architecture
  const { convolution, norm, activation, running } = layers(parameter)
  let y = activation(norm(convolution(x, 'input_layer.0', channels[0], 3), 'input_layer.1'), 'input_layer.2')
  let index = 0
  units.forEach((count, stage) => {
    for (let i = 0; i < count; i++) {
      y = unit(y, `body.${index++}`, channels[stage], i === 0 ? 2 : 1)
    }
  })
  y = flatten(norm(y, 'output_layer.0'))
  const shape = [embedding, y.shape[1]]
  const matrix = parameter({ name: 'output_layer.3.weight', shape, initial: 'xavier', learned: true })
  const bias = parameter({ name: 'output_layer.3.bias', shape: [embedding], initial: 0, learned: true })
  y = x.recorder.scope('output_layer.3', () => linear(y, matrix, bias))
  return { embedding: norm(y, 'output_layer.4'), running }

  function unit(input: Tensor, key: string, width: number, stride: number): Tensor {
    const layer = (k: number) => `${key}.res_layer.${k}`
    let residual = activation(convolution(norm(input, layer(0)), layer(1), width, 3), layer(2))
    residual = norm(convolution(residual, layer(3), width, 3, stride), layer(4))
    if (squeezeExcitation) residual = mul(residual, excitation(residual, layer(5)))
    if (input.shape[1] !== width) {
      const shortcut = `${key}.shortcut_layer`
      return add(residual, norm(convolution(input, `${shortcut}.0`, width, 1, stride), `${shortcut}.1`))
    }
    return add(residual, stride === 1 ? input : maxPool2d(input, { kernel: 1, stride }))
  }

  function excitation(input: Tensor, key: string): Tensor {
    const width = input.shape[1]
    const squeezed = relu(convolution(mean(input, [2, 3]), `${key}.fc1`, Math.floor(width / REDUCTION), 1))
    return sigmoid(convolution(squeezed, `${key}.fc2`, width, 1))
  }
}

/** Layers whose parameters are called after them, and the running statistics of those recorded so far. */
function layers(parameter: ParameterSource) {
  const running = new Map<string, Tensor>()
  return {
    running,

    /** Without bias; padded so that stride 1 keeps the size. */
    convolution(y: Tensor, key: string, width: number, kernel: 1 | 3, stride = 1): Tensor {
      const shape = [width, y.shape[1], kernel, kernel]
      const weights = parameter({ name: `${key}.weight`, shape, initial: 'xavier', learned: true })
      return y.recorder.scope(key, () => conv2d(y, weights, undefined, { stride, padding: (kernel - 1) / 2 }))
    },

    activation(y: Tensor, key: string): Tensor {
      const width = y.shape[1]
      const slope = parameter({ name: `${key}.weight`, shape: [width], initial: SLOPE, learned: true })
      return y.recorder.scope(key, () => prelu(y, reshape(slope, [width, 1, 1])))
    },

    norm(y: Tensor, key: string): Tensor {
      const per = (name: string, initial: number, learned: boolean): Tensor =>
        parameter({ name: `${key}.${name}`, shape: [y.shape[1]], initial, learned })
      const weight = per('weight', 1, true)
      const bias = per('bias', 0, true)
      const mean = per('running_mean', 0, false)
      const variance = per('running_var', 1, false)
      const normed = y.recorder.scope(key, () => batchNormTraining(y, weight, bias, mean, variance))
      running.set(`${key}.running_mean`, normed.runningMean)
      running.set(`${key}.running_var`, normed.runningVariance)
      return normed.output
    },
  }
}
