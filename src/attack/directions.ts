/**
 * Where the features of a protected photo are drawn to. Photos that are only driven away from their own features all end up on the
 * same side and still match each other; so each photo is given a direction of its own. Directions must lie among real faces' features
 * (random vectors do not transfer), and must be nobody's: they are drawn from the spread of many people's features, as a normal
 * distribution with their mean and main components. One draw gives a coherent direction for all recognisers, because components
 * were found for all of them together.
 */
import { fnv1a } from '../graph/hash.ts'
import { uniformNoise } from '../graph/noise.ts'

/** How unit embeddings of many people are spread in the space of one recogniser. */
export interface Population {
  mean: Float32Array
  /** [count,embedding], row k scaled by the standard deviation along it; row k of every recogniser belongs to the same draw. */
  components: Float32Array
}

/**
 * `count` independent numbers of normal distribution, from a seed (Box and Muller 1958).
 */
export function normalNoise(seed: number, count: number): Float32Array {
  const uniform = uniformNoise(seed, 2 * count, 0.5)
  return Float32Array.from({ length: count }, (_, i) => {
    // Never zero: the 24-bit numbers are moved by half a step.
    const radius = Math.sqrt(-2 * Math.log(uniform[2 * i] + 0.5 + 2 ** -25))
    return radius * Math.cos(2 * Math.PI * uniform[2 * i + 1])
  })
}

/** The unit direction that a draw of normal numbers (one a component) stands for; seen from the mean where features are `centred`. */
export function directionOf({ mean, components }: Population, draw: Float32Array, centred = false): Float32Array {
  const direction = centred ? new Float64Array(mean.length) : Float64Array.from(mean)
  const length = mean.length
  const count = Math.min(draw.length, components.length / length)
  for (let k = 0; k < count; k++) {
    for (let i = 0; i < length; i++) direction[i] += draw[k] * components[k * length + i]
  }
  const norm = Math.hypot(...direction)
  return Float32Array.from(direction, (v) => v / norm)
}

/** A unit embedding as the unit vector from the mean of many people's. */
export function fromMean({ mean }: Pick<Population, 'mean'>, embedding: Float32Array): Float32Array {
  const moved = Float64Array.from(embedding, (v, i) => v - mean[i])
  const norm = Math.hypot(...moved)
  return Float32Array.from(moved, (v) => v / norm)
}

/** Components that a draw has numbers for; populations may keep fewer. */
export const MOST_COMPONENTS = 128

/**
 * The draw of a photo: the same photo and seed always give the same one, other photos another. Planes are [3,height,width] in 0..1.
 */
export const directionDraw = (planes: Float32Array, seed: number): Float32Array => directionDraws(planes, seed, 1)[0]

/** Several draws of a photo to choose from; the first is `directionDraw`. */
export function directionDraws(planes: Float32Array, seed: number, count: number): Float32Array[] {
  const levels = planes.map((value) => Math.round(255 * value))
  const first = fnv1a(levels, 0x811c9dc5 ^ seed)
  return Array.from({ length: count }, (_, k) => normalNoise((first ^ Math.imul(k, 0x9e3779b1)) >>> 0, MOST_COMPONENTS))
}
