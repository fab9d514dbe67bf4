/**
 * The golden results' generator of weights and inputs, bit-exact: hashes of uint32 counters, arithmetic in float64, one
 * rounding to float32 at the end. `unit` is `(hash >>> 8) / 2^24`.
 */
import { mix } from '../../src/graph/noise.ts'
import { elements, type Shape } from '../../src/kernels/op.ts'
import type { NetworkWeights } from '../../src/models/layers.ts'

/** `count` numbers in [0, 1), mapped and rounded to float32. `t` is the number of the tensor under its seed. */
function drawn(seed: number, t: number, count: number, map: (unit: number) => number): Float32Array {
  const key = mix(Math.imul(seed, 0x9e3779b9) ^ Math.imul(t, 0x85ebca6b))
  const values = new Float32Array(count)
  for (let i = 0; i < count; i++) values[i] = map((mix(key ^ i) >>> 8) / 16777216)
  return values
}

/** Uniform in [low, high). */
export const drawUniform = (seed: number, t: number, count: number, low: number, high: number): Float32Array =>
  drawn(seed, t, count, (unit) => low + (high - low) * unit)

/** Uniform in [-bound, bound). */
export const drawSymmetric = (seed: number, t: number, count: number, bound: number): Float32Array =>
  drawn(seed, t, count, (unit) => (2 * unit - 1) * bound)

export type Rule = readonly ['sym', bound: number] | readonly ['uni', low: number, high: number]

/** How a weight is drawn: by its name and shape, in this order of precedence. */
export function ruleOf(key: string, shape: Shape): Rule {
  if (key.endsWith('running_mean')) return ['uni', -0.1, 0.1]
  if (key.endsWith('running_var')) return ['uni', 0.5, 1.5]
  if (key.endsWith('bias')) return ['uni', -0.1, 0.1]
  if (shape.length >= 2) {
    const gain = key.startsWith('features.') || /(^|\.)conv[12]\.weight$/.test(key) ? 2 : 1
    return ['sym', Math.sqrt((3 * gain) / elements(shape.slice(1)))]
  }
  // Slopes of PReLUs, then the last batch norm of a unit, then any other.
  if (key === 'input_layer.2.weight' || /res_layer\.2\.weight$/.test(key)) return ['uni', 0.1, 0.4]
  if (/res_layer\.4\.weight$|\.bn3\.weight$/.test(key)) return ['uni', 0.1, 0.3]
  return ['uni', 0.5, 1.5]
}

/** One weight of a seeded network; `t` is its place in the state dictionary without `num_batches_tracked`. */
export function seededTensor(seed: number, t: number, key: string, shape: Shape): Float32Array {
  const [kind, ...range] = ruleOf(key, shape)
  const count = elements(shape)
  return kind === 'sym'
    ? drawSymmetric(seed, t, count, range[0])
    : drawUniform(seed, t, count, range[0], range[1] as number)
}

/** A seeded network: `list` is its state dictionary in order. Tensors are drawn when they are asked for. */
export function seededWeights(
  seed: number,
  list: readonly { key: string; shape: Shape }[],
): NetworkWeights & { names(): string[] } {
  const drawnBefore = new Map<string, { shape: Shape; data: Float32Array }>()
  const numberOf = new Map(list.map(({ key }, t) => [key, t]))
  return {
    names: () => [...numberOf.keys()],
    tensor(name) {
      const t = numberOf.get(name)
      if (t === undefined) throw new Error(`the seeded network has no tensor ${name}`)
      const { shape } = list[t]
      const known = drawnBefore.get(name) ?? { shape, data: seededTensor(seed, t, name, shape) }
      drawnBefore.set(name, known)
      return known
    },
  }
}
