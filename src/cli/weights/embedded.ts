/** What `weights accuracy` and `weights population` begin with: the recognisers that are named, and what they make of people's photos. */
import { Embedder } from '../../attack/embedder.ts'
import { keepTuning } from '../../attack/kept-tuning.ts'
import { loadDetector, loadRecogniser, recognisersOf } from '../../attack/node.ts'
import type { Surrogate } from '../../attack/objective.ts'
import { type EmbeddedFaces, embedFaces } from '../../evaluate/accuracy.ts'
import type { PersonPhoto } from '../../evaluate/protocol.ts'
import { mtcnnNetworks } from '../../models/mtcnn.ts'
import { knownNetworks } from '../../weights/node.ts'
import type { RecogniserEntry, Weights } from '../../weights/registry.ts'
import { openGpu } from '../driver-noise.ts'
import { chosenRecognisers } from '../models.ts'
import { listOf } from '../options.ts'
import { openedPhotos } from '../people.ts'

export interface LoadedRecognisers {
  entries: readonly RecogniserEntry[]
  recognisers: readonly Surrogate[]
  detector: Weights
}

/** The recognisers of `--models`, all unless told, with the detector. Throws UsageError for a name that is none. */
export async function loadRecognisers(models: string | undefined): Promise<LoadedRecognisers> {
  const networks = await knownNetworks()
  const entries = chosenRecognisers(recognisersOf(networks), '--models', listOf(models))
  const [detector, ...recognisers] = await Promise.all([loadDetector(networks), ...entries.map(loadRecogniser)])
  return { entries, recognisers, detector }
}

/** Opens the GPU and embeds the faces of the photos. */
export async function embeddedBy(
  { recognisers, detector: weights }: LoadedRecognisers,
  { photos, gpu: name, signal }: { photos: readonly PersonPhoto[]; gpu: string | undefined; signal: AbortSignal },
): Promise<EmbeddedFaces> {
  using gpu = await openGpu(name)
  keepTuning(gpu)
  using detector = await mtcnnNetworks(gpu, weights)
  using embedder = await Embedder.compile(gpu, recognisers)
  return await embedFaces(detector, embedder, openedPhotos(photos, signal))
}
