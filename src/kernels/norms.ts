/** Normalisations made of other operations. */
import { add, div, mul, sqrt, square, sub } from './elementwise.ts'
import { elements, expectShape, formatShape, type Tensor } from './op.ts'
import { mean } from './reduce.ts'
import { reshape } from './reshape.ts'

/** x over the root of its mean square along the last axis. */
const byRoot = (x: Tensor, epsilon: number): Tensor => div(x, sqrt(add(mean(square(x), [x.shape.length - 1]), epsilon)))

/** The last axis with mean 0 and variance 1. */
function standard(x: Tensor, epsilon: number): Tensor {
  expectShape(x.shape.length > 0, `layerNorm: x ${formatShape(x.shape)} has no last axis`)
  return byRoot(sub(x, mean(x, [x.shape.length - 1])), epsilon)
}

const scaled = (x: Tensor, weight?: Tensor, bias?: Tensor): Tensor => {
  const weighed = weight ? mul(x, weight) : x
  return bias ? add(weighed, bias) : weighed
}

/**
 * Layer normalisation along the last axis (Ba, Kiros and Hinton 2016), as PyTorch's layer_norm.
 * @param weight [C], bias [C]; 1 and 0 if left out
 */
export const layerNorm = (x: Tensor, weight?: Tensor, bias?: Tensor, epsilon = 1e-5): Tensor =>
  scaled(standard(x, epsilon), weight, bias)

/** x / sqrt(mean(x^2) + epsilon) * weight along the last axis (Zhang and Sennrich 2019), as PyTorch's rms_norm. */
export const rmsNorm = (x: Tensor, weight?: Tensor, epsilon = 1e-6): Tensor => scaled(byRoot(x, epsilon), weight)

/**
 * Group normalisation (Wu and He 2018), as PyTorch's group_norm: channels in groups, each with mean 0 and variance 1 in each image.
 * @param x [N,C,...]
 * @param weight [C], bias [C]; 1 and 0 if left out
 * @throws ShapeError where the channels are no multiple of the groups
 */
export function groupNorm(x: Tensor, groups: number, weight?: Tensor, bias?: Tensor, epsilon = 1e-5): Tensor {
  const [n, channels, ...rest] = x.shape
  expectShape(
    x.shape.length >= 2 && Number.isInteger(groups) && channels % groups === 0,
    `groupNorm: the channels of x ${formatShape(x.shape)} are no ${groups} groups`,
  )
  const perChannel = (values?: Tensor) => values && reshape(values, [channels, ...rest.map(() => 1)])
  const grouped = reshape(x, [n, groups, elements(x.shape) / n / groups])
  return scaled(reshape(standard(grouped, epsilon), x.shape), perChannel(weight), perChannel(bias))
}
