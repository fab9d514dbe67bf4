/**
 * Weights as TensorFlow.js and face-api.js store them: a JSON manifest of groups, each a list of tensors in the order in
 * which their bytes follow one another through the group's shards. A tensor quantised to uint8 stands for
 * `byte * scale + min`. https://github.com/tensorflow/tfjs/blob/master/tfjs-core/src/io/types.ts
 */
import { WeightsError } from './errors.ts'
import type { WeightTensor } from './registry.ts'

/** A manifest or shard that does not fit this description. */
export class TfjsError extends WeightsError {
  override name = 'TfjsError'
}

const RANK_LIMIT = 8

/**
 * Reads all tensors of a manifest, dequantised to f32 (computed in f64, rounded once, as TensorFlow.js does).
 * Shapes are TensorFlow's: convolution [kh, kw, in, out], matrix [in, out].
 *
 * @param manifest the bytes of the JSON manifest
 * @param shards the shards by the names that the manifest gives them
 * @param file the manifest's name, for messages
 * @throws TfjsError if the manifest is not understood, a shard is missing, or the bytes are too few or too many
 */
export function readTfjs(
  manifest: Uint8Array,
  shards: ReadonlyMap<string, Uint8Array>,
  file: string,
): Map<string, WeightTensor> {
  const tensors = new Map<string, WeightTensor>()
  const groups = parseGroups(manifest, file)
  const paths = groups.flatMap((group) => group.paths)
  if (new Set(paths).size !== paths.length) throw new TfjsError(file, 'names a shard twice')
  for (const group of groups) {
    const bytes = joinShards(group.paths, shards, file)
    let at = 0
    for (const weight of group.weights) {
      const { name, shape, quantization } = parseWeight(weight, file)
      if (tensors.has(name)) throw new TfjsError(file, `holds tensor "${name}" twice`)
      const length = shape.reduce((product, n) => product * n, 1)
      const size = quantization ? length : 4 * length
      if (!(at + size <= bytes.length)) {
        throw new TfjsError(
          file,
          `tensor "${name}" [${shape}] takes ${size} bytes, its shards have ${bytes.length - at} left`,
        )
      }
      const data = new Float32Array(length)
      if (quantization) {
        for (let i = 0; i < length; i++) data[i] = bytes[at + i] * quantization.scale + quantization.min
      } else new Uint8Array(data.buffer).set(bytes.subarray(at, at + size))
      tensors.set(name, { shape, data })
      at += size
    }
    if (at !== bytes.length) throw new TfjsError(file, `its tensors take ${at} bytes, the shards have ${bytes.length}`)
  }
  return tensors
}

function parseGroups(manifest: Uint8Array, file: string): { paths: string[]; weights: unknown[] }[] {
  let groups: unknown
  try {
    groups = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(manifest))
  } catch (cause) {
    throw new TfjsError(file, 'is not JSON', { cause })
  }
  if (!Array.isArray(groups)) throw new TfjsError(file, 'is not a list of groups')
  return groups.map((group) => {
    const { paths, weights } = isRecord(group) ? group : {}
    if (!Array.isArray(paths) || !paths.every((path) => typeof path === 'string') || !Array.isArray(weights)) {
      throw new TfjsError(file, 'has a group without a list of paths and a list of weights')
    }
    return { paths, weights }
  })
}

function joinShards(paths: string[], shards: ReadonlyMap<string, Uint8Array>, file: string): Uint8Array {
  const parts = paths.map((path) => {
    const shard = shards.get(path)
    if (!shard) throw new TfjsError(file, `names shard ${path}, which is not there`)
    return shard
  })
  if (parts.length === 1) return parts[0]
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    joined.set(part, at)
    at += part.length
  }
  return joined
}

interface Weight {
  name: string
  shape: number[]
  quantization?: { scale: number; min: number }
}

function parseWeight(weight: unknown, file: string): Weight {
  if (!isRecord(weight) || typeof weight.name !== 'string') throw new TfjsError(file, 'has a tensor without a name')
  const { name, shape, dtype, quantization } = weight
  const fail = (problem: string): never => {
    throw new TfjsError(file, `tensor "${name}": ${problem}`)
  }
  if (dtype !== 'float32') fail(`dtype ${JSON.stringify(dtype)} is not float32`)
  if (!Array.isArray(shape) || shape.length > RANK_LIMIT || !shape.every((n) => Number.isSafeInteger(n) && n >= 1)) {
    return fail(`shape ${JSON.stringify(shape)} is not a list of at most ${RANK_LIMIT} whole numbers >= 1`)
  }
  if (quantization === undefined) return { name, shape }
  const { dtype: stored, scale, min } = isRecord(quantization) ? quantization : {}
  if (stored !== 'uint8') return fail(`is quantised to ${JSON.stringify(stored)}, not to uint8`)
  if (typeof scale !== 'number' || typeof min !== 'number' || !Number.isFinite(scale) || !Number.isFinite(min)) {
    return fail('its quantization has no finite scale and min')
  }
  return { name, shape, quantization: { scale, min } }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
