/** Files of weights as users have them: which format one is in, and its tensors. */
import { convertDlib } from './convert/dlib.ts'
import { convertMtcnn } from './convert/mtcnn.ts'
import { convertSirius } from './convert/sirius.ts'
import { WeightsError } from './errors.ts'
import { readNpy, readNpz } from './npy.ts'
import type { StoredTensor } from './numbers.ts'
import type { WeightTensor } from './registry.ts'
import { readSafetensors } from './safetensors.ts'
import { readTfjs } from './tfjs.ts'
import { readTorch } from './torch.ts'
import { readZip } from './zip.ts'

/** The file is in none of the formats that are read. */
export class UnknownFormatError extends WeightsError {
  override name = 'UnknownFormatError'
}

export interface WeightFileContents {
  /** Name of the format. */
  format: string
  tensors: ReadonlyMap<string, StoredTensor>
}

/** Gives a file that lies beside the one that is read; undefined if there is none of that name. */
export type FileBeside = (name: string) => Promise<Uint8Array | undefined>

type Format = 'PyTorch' | 'numpy' | 'zip' | 'safetensors' | 'TensorFlow Lite' | 'TensorFlow.js' | 'web page'

/**
 * Reads a file by what it is, whatever its name: PyTorch's, safetensors, numpy's, and of TensorFlow's those that a converter
 * knows (sirius' `MobileFaceNet.tflite`, face-api.js' manifests of MTCNN and of dlib's network). Tensors may be views of `bytes`, so
 * these must not be written to afterwards.
 *
 * @param file the file's name, for messages
 * @throws UnknownFormatError where it is none of these, else the reader's error (all WeightsErrors)
 */
export async function readWeightFile(bytes: Uint8Array, file: string, beside: FileBeside): Promise<WeightFileContents> {
  const format = formatOf(bytes)
  switch (format) {
    case 'zip':
      return isTorchArchive(bytes, file)
        ? { format: 'PyTorch', tensors: readTorch(bytes, file) }
        : { format: 'numpy', tensors: await readNpz(bytes, file) }
    case 'PyTorch':
      return { format, tensors: readTorch(bytes, file) }
    case 'numpy':
      return { format, tensors: readNpy(bytes, file) }
    case 'safetensors':
      return { format, tensors: readSafetensors(bytes, file).tensors }
    case 'TensorFlow Lite':
      return { format, tensors: floats(convertSirius(new Map([[file, bytes]]), file)) }
    case 'TensorFlow.js':
      return { format, tensors: floats(await readFaceApi(bytes, file, beside)) }
    case 'web page':
      throw new UnknownFormatError(file, 'is a web page instead of weights: the download went wrong')
    default:
      throw new UnknownFormatError(
        file,
        'is in none of the formats that are read: PyTorch (.pth, .pt), safetensors, numpy (.npy, .npz), ONNX (.onnx)',
      )
  }
}

function formatOf(bytes: Uint8Array): Format | undefined {
  const starts = (...values: number[]) => values.every((value, i) => bytes[i] === value)
  const text = new TextDecoder('latin1').decode(bytes.subarray(0, 16))
  if (starts(0x50, 0x4b)) return 'zip'
  if (starts(0x93, 0x4e, 0x55)) return 'numpy'
  if (starts(0x80)) return 'PyTorch'
  if (text.slice(4, 8) === 'TFL3') return 'TensorFlow Lite'
  if (text.trimStart().startsWith('<')) return 'web page'
  if (/^\s*\[/.test(text)) return 'TensorFlow.js'
  // The length of the header, below 16 MiB, and the header.
  if (bytes.length > 8 && bytes[8] === 0x7b && bytes.subarray(4, 8).every((byte) => byte === 0)) return 'safetensors'
  return undefined
}

/** Archives of PyTorch and of numpy begin alike. */
function isTorchArchive(bytes: Uint8Array, file: string): boolean {
  try {
    return ![...readZip(bytes, file).keys()].some((name) => name.endsWith('.npy'))
  } catch {
    // PyTorch does not compress; what is wrong with the archive is for its reader to say.
    return false
  }
}

/** face-api.js' networks by a tensor of theirs, with the name under which their converter looks for the manifest. */
const FACE_API = [
  { tensor: 'pnet/conv1/weights', manifest: 'mtcnn_model-weights_manifest.json', convert: convertMtcnn },
  {
    tensor: 'conv32_down/conv/filters',
    manifest: 'face_recognition_model-weights_manifest.json',
    convert: convertDlib,
  },
]

async function readFaceApi(
  bytes: Uint8Array,
  file: string,
  beside: FileBeside,
): Promise<ReadonlyMap<string, WeightTensor>> {
  const files = new Map<string, Uint8Array>()
  for (const name of shardNames(bytes)) {
    const shard = await beside(name)
    if (!shard) throw new WeightsError(file, `names ${name}, which is not beside it`)
    files.set(name, shard)
  }
  const tensors = readTfjs(bytes, files, file)
  const known = FACE_API.find(({ tensor }) => tensors.has(tensor))
  if (!known)
    throw new WeightsError(file, "is neither of face-api.js' networks that are known: MTCNN and face recognition")
  return known.convert(new Map([...files, [known.manifest, bytes]]))
}

/** The shards that a manifest names, as far as they can lie beside it; the reader says what is wrong with it. */
function shardNames(manifest: Uint8Array): string[] {
  let groups: unknown
  try {
    groups = JSON.parse(new TextDecoder().decode(manifest))
  } catch {
    return []
  }
  const paths = Array.isArray(groups)
    ? groups.flatMap((group) => (group as { paths?: unknown } | null)?.paths ?? [])
    : []
  return paths.filter((path): path is string => typeof path === 'string' && /^[\w-][\w.-]*$/.test(path))
}

/** What a converter gives, as a reader would. */
const floats = (tensors: ReadonlyMap<string, WeightTensor>): ReadonlyMap<string, StoredTensor> =>
  new Map([...tensors].map(([name, { shape, data }]) => [name, { dtype: 'F32', shape, data }]))
