/** The file of a network that was imported, and its entry. */
import { parseImported } from './manifest.ts'
import { type ManifestEntry, sha256, type WeightTensor } from './registry.ts'
import { type WritableTensor, writeSafetensors } from './safetensors.ts'

/** An entry before its file is made, which gives it name, length and checksum. */
export type NewEntry<Entry extends ManifestEntry = ManifestEntry> = Entry extends ManifestEntry
  ? Omit<Entry, 'file' | 'bytes' | 'sha256'>
  : never

/** What a network's file is made of. */
export interface NetworkContents {
  tensors: ReadonlyMap<string, WeightTensor>
  /** Written into the file beside what it says of itself. */
  metadata?: Readonly<Record<string, string>>
}

/** A network as it will lie on the disk. */
export interface PackedNetwork {
  entry: ManifestEntry
  bytes: Uint8Array
}

/**
 * Makes a network's file.
 *
 * @param halves kernels and matrices are stored in half precision; what there is one of a channel stays as it is
 * @throws WeightsError if the entry is not one that would be read again
 */
export async function packNetwork(
  fields: NewEntry,
  { tensors, metadata = {} }: NetworkContents,
  halves: boolean,
): Promise<PackedNetwork> {
  const { id, architecture, source } = fields
  const file = `${id}.safetensors`
  const stored = new Map(
    [...tensors].map(([name, { shape, data }]): [string, WritableTensor] => [
      name,
      { shape, data, dtype: halves && isHalved(shape) ? 'F16' : 'F32' },
    ]),
  )
  const origin = source.kind === 'import' ? source.file : source.kind
  const bytes = writeSafetensors(stored, { network: id, architecture, source: origin, ...metadata }, file)
  const entry = { ...fields, file, bytes: bytes.length, sha256: await sha256(bytes) } as ManifestEntry
  parseImported(JSON.stringify(entry), file)
  return { entry, bytes }
}

const isHalved = (shape: readonly number[]): boolean => shape.length > 1

/** Name of a tensor with numbers beyond half precision, which ends at 65504; undefined if there is none. */
export function beyondHalves(tensors: ReadonlyMap<string, WeightTensor>): string | undefined {
  for (const [name, { shape, data }] of tensors) {
    if (isHalved(shape) && data.some((value) => Math.abs(value) >= 65520)) return name
  }
  return undefined
}
