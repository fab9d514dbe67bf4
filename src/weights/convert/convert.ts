import { WeightsError } from '../errors.ts'
import type { ManifestEntry, Tensor } from '../registry.ts'
import { writeSafetensors } from '../safetensors.ts'
import { convertDlib } from './dlib.ts'
import { convertMtcnn } from './mtcnn.ts'
import { convertSirius } from './sirius.ts'

const CONVERTERS: Record<string, (files: ReadonlyMap<string, Uint8Array>) => Map<string, Tensor>> = {
  mtcnn: convertMtcnn,
  mobilefacenet: convertSirius,
  'dlib-resnet-29': convertDlib,
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
  const metadata = { network: entry.id, source: `${name}@${version}`, licence: entry.licence }
  return writeSafetensors(converter(files), metadata, entry.file)
}
