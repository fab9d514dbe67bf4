/** The networks of this machine: what lies in the weights folders, loaded for a run. */
import { assemblies } from '../models/architectures.ts'
import type { LpipsTrunk } from '../models/lpips.ts'
import { recogniser } from '../models/recognisers.ts'
import { YUNET } from '../models/yunet.ts'
import { knownNetworks, loadWeights } from '../weights/node.ts'
import { joinedWeights, type ManifestEntry, type RecogniserEntry, type Weights } from '../weights/registry.ts'
import type { Perceptual, Surrogate } from './objective.ts'
import { loadPopulations } from './populations.ts'
import type { ProtectorNetworks } from './protect.ts'

/** The recognisers attacked unless others are named: all that ship. Imported ones are held out. */
export const DEFAULT_SURROGATES: readonly string[] = ['sirius', 'dlib', 'faceplugin']

const DETECTOR = 'mtcnn'
const LPIPS = 'lpips-alex-scratch'

/** A recogniser was asked for that there is none of. */
export class UnknownModelError extends Error {
  override name = 'UnknownModelError'
}

/**
 * Detector, LPIPS, the surrogates named, and every other recogniser there is, of the manifest or imported, as held out.
 * Throws UnknownModelError for a name that is no recogniser; WeightsMissingError and WeightsDamagedError with what to do.
 */
export async function loadNetworks(surrogates: readonly string[] = DEFAULT_SURROGATES): Promise<ProtectorNetworks> {
  const networks = await knownNetworks()
  const recognisers = recognisersOf(networks)
  const attacked = named(recognisers, surrogates)
  const others = recognisers.filter((entry) => !attacked.includes(entry))
  const [detector, otherDetector, lpips, loaded, ...heldOut] = await Promise.all([
    loadDetector(networks),
    loadOtherDetector(networks),
    loadPerceptual(networks),
    loadSurrogates(attacked),
    ...others.map(loadRecogniser),
  ])
  return { detector, otherDetector, lpips, surrogates: loaded, heldOut }
}

/**
 * What decides the bytes of a result, of what lies on this machine: SHA-256 by the names of the networks that `loadNetworks` would attack,
 * detect and compare with, and of the populations. Held-out recognisers only judge. Nothing is loaded but the populations.
 * Throws as `loadNetworks`, but for missing and damaged files.
 */
export async function networkHashes(
  surrogates: readonly string[] = DEFAULT_SURROGATES,
): Promise<Record<string, string>> {
  const networks = await knownNetworks()
  const attacked = named(recognisersOf(networks), surrogates)
  const embedded = (id: string) => networks.filter((entry) => entry.id === id)
  const yunet = imported(YUNET, networks)
  const used = [
    ...(importedParts('mtcnn', networks) ?? embedded(DETECTOR)),
    ...(yunet ? [yunet] : []),
    ...(importedParts('lpips-alex', networks) ?? embedded(LPIPS)),
    ...attacked,
  ]
  const { sha256: populations } = await loadPopulations(attacked)
  return {
    ...Object.fromEntries(used.map(({ id, sha256 }) => [id, sha256])),
    ...(populations === undefined ? {} : { populations }),
  }
}

/** The recognisers among networks. */
export const recognisersOf = (networks: readonly ManifestEntry[]): RecogniserEntry[] =>
  networks.filter((entry) => entry.role === 'recogniser')

/** The recognisers of these ids, in the order of `recognisers`. Throws UnknownModelError for an id that is none, or for no ids. */
export function named(recognisers: readonly RecogniserEntry[], ids: readonly string[]): RecogniserEntry[] {
  const known = recognisers.map(({ id }) => id)
  const unknown = ids.find((id) => !known.includes(id))
  if (unknown !== undefined)
    throw new UnknownModelError(`there is no recogniser "${unknown}"; there are ${known.join(', ')}`)
  if (ids.length === 0) throw new UnknownModelError(`name at least one recogniser to attack: ${known.join(', ')}`)
  return recognisers.filter(({ id }) => ids.includes(id))
}

/** A recogniser with its weights, to look at faces with. Throws as `loadWeights` and `recogniser` do. */
export async function loadRecogniser(entry: RecogniserEntry): Promise<Surrogate> {
  return { network: recogniser(entry), weights: await loadWeights(entry.id) }
}

/** Recognisers to attack together, with populations that fit together where such are known. Throws as `loadPopulations` too. */
export async function loadSurrogates(entries: readonly RecogniserEntry[]): Promise<Surrogate[]> {
  const [{ known }, ...loaded] = await Promise.all([loadPopulations(entries), ...entries.map(loadRecogniser)])
  return loaded.map((each) => ({ ...each, population: known.get(each.network.id) }))
}

/** MTCNN: the user's own if it was imported, else the embedded one. Throws as `loadWeights` does. */
export async function loadDetector(networks: readonly ManifestEntry[]): Promise<Weights> {
  return (await loadImported('mtcnn', networks)) ?? loadWeights(DETECTOR)
}

/**
 * A second detector, to align faces in another way than the attack does: YuNet if it was imported, for `yunetNetworks`. Undefined where
 * it was not. Throws as `loadWeights` does.
 */
export async function loadOtherDetector(networks: readonly ManifestEntry[]): Promise<Weights | undefined> {
  const entry = imported(YUNET, networks)
  return entry && loadWeights(entry.id)
}

/**
 * LPIPS to optimise: the original on AlexNet if it was imported, else the embedded network. SqueezeNet's is not taken: optimised, it lets
 * painted lips and shadows through. Throws as `loadWeights` does.
 */
export async function loadPerceptual(networks: readonly ManifestEntry[]): Promise<Perceptual> {
  return (await loadImportedPerceptual('alex', networks)) ?? { weights: await loadWeights(LPIPS), trunk: 'alex' }
}

/** LPIPS on one trunk, if it was imported. Throws as `loadWeights` does. */
export async function loadImportedPerceptual(
  trunk: LpipsTrunk,
  networks: readonly ManifestEntry[],
): Promise<Perceptual | undefined> {
  const weights = await loadImported(`lpips-${trunk}`, networks)
  return weights && { weights, trunk }
}

/**
 * LPIPS to optimise and LPIPS to judge the result by, of another trunk: AlexNet's, imported or embedded, and SqueezeNet's where it was
 * imported. (An optimised LPIPS is no judge of itself.) Throws as `loadWeights` does.
 */
export async function loadPerceptualPair(
  networks: readonly ManifestEntry[],
): Promise<{ lpips: Perceptual; heldOut: Perceptual | undefined }> {
  const [lpips, heldOut] = await Promise.all([loadPerceptual(networks), loadImportedPerceptual('squeeze', networks)])
  return { lpips, heldOut }
}

/** A network that was imported in one file or in all of its parts; undefined where one is missing. */
async function loadImported(architecture: string, networks: readonly ManifestEntry[]): Promise<Weights | undefined> {
  const parts = importedParts(architecture, networks)
  if (!parts) return undefined
  const loaded = await Promise.all(parts.map(({ id }) => loadWeights(id)))
  return loaded.length === 1 ? loaded[0] : joinedWeights(loaded)
}

/** The imported network of an architecture: one file, or all of its parts; undefined where one is missing. */
function importedParts(architecture: string, networks: readonly ManifestEntry[]): ManifestEntry[] | undefined {
  const whole = imported(architecture, networks)
  if (whole) return [whole]
  const parts = assemblies[architecture].map((part) => imported(part, networks))
  return parts.every((part) => part !== undefined) ? parts : undefined
}

/** The imported network of an architecture; the latest where there are several. */
function imported(architecture: string, networks: readonly ManifestEntry[]): ManifestEntry | undefined {
  const dateOf = ({ source }: ManifestEntry) => (source.kind === 'import' ? source.date : '')
  return networks
    .filter((entry) => entry.source.kind === 'import' && entry.architecture === architecture)
    .sort((a, b) => (dateOf(a) < dateOf(b) ? 1 : -1))[0]
}
