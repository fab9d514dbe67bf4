/** `lowkey-gpu evaluate`: how well methods protect the people of a folder, and how visible that is. */
import { cpus } from 'node:os'
import { join } from 'node:path'
import { Embedder } from '../../attack/embedder.ts'
import { keepTuning } from '../../attack/kept-tuning.ts'
import {
  loadDetector,
  loadOtherDetector,
  loadPerceptualPair,
  loadRecogniser,
  loadSurrogates,
  recognisersOf,
} from '../../attack/node.ts'
import type { Perceptual, Surrogate } from '../../attack/objective.ts'
import type { ProtectorNetworks } from '../../attack/protect.ts'
import { adapterName, type Gpu } from '../../device/node.ts'
import { type ExperimentSetup, type Findings, runExperiment } from '../../evaluate/experiment.ts'
import { Features, type Keyed } from '../../evaluate/features.ts'
import { codeOf, keyOf, keyOfNumbers } from '../../evaluate/identity.ts'
import { LpipsMeter } from '../../evaluate/perceptual.ts'
import { type Split, splitPeople, TooFewPhotosError } from '../../evaluate/protocol.ts'
import { renderReport } from '../../evaluate/report/report.ts'
import type { Evaluation } from '../../evaluate/results.ts'
import type { Meters } from '../../evaluate/visibility.ts'
import { findFaces } from '../../faces/find.ts'
import { detectFacesYunet } from '../../faces/yunet.ts'
import { writeFileAtomically } from '../../images/index.ts'
import { mtcnnNetworks } from '../../models/mtcnn.ts'
import { yunetNetworks } from '../../models/yunet.ts'
import type { Pixels } from '../../pixels/pixels.ts'
import { cacheFolder, knownNetworks } from '../../weights/node.ts'
import type { ManifestEntry, RecogniserEntry, Weights } from '../../weights/registry.ts'
import { openGpu } from '../driver-noise.ts'
import { Exit, Interrupted, UsageError } from '../exit.ts'
import { attackedRecognisers, chosenRecognisers } from '../models.ts'
import { checkFolder, makeOutputFolder } from '../outputs.ts'
import { peopleOf, strangersOf } from '../people.ts'
import { commit, version } from '../version.ts'
import { type Options, readOptions } from './options.ts'
import { EvaluationProgress } from './progress.ts'
import { summary } from './summary.ts'

/** Runs the command; resolves with the exit code. */
export async function evaluate(args: string[], signal: AbortSignal): Promise<number> {
  const options = readOptions(args)
  const split = await splitOf(options)
  checkFolder(options.out)
  const loaded = await loadAll(options)
  using gpu = await openGpu(options.gpu)
  keepTuning(gpu)
  const progress = new EvaluationProgress(options.quiet)
  const findings = await experiment(gpu, loaded, options, split, signal, progress)
  progress.clear()
  const evaluation: Evaluation = {
    format: 'lowkey-gpu evaluation',
    version: 1,
    date: new Date().toISOString(),
    command: ['lowkey-gpu', 'evaluate', ...args].join(' '),
    adapter: adapterName(gpu.capabilities),
    programVersion: version,
    ...machine(),
    ...findings,
  }
  makeOutputFolder(options.out)
  const write = (file: string, content: string) =>
    writeFileAtomically(join(options.out, file), Buffer.from(`${content}\n`), { overwrite: true })
  await write('evaluation.json', JSON.stringify(evaluation))
  await write('report.html', renderReport(evaluation))
  process.stdout.write(options.json ? `${withoutPictures(evaluation)}\n` : `${summary(evaluation).join('\n')}\n`)
  return Exit.done
}

/** What the figures were measured with, beside the adapter. */
function machine(): Pick<Evaluation, 'processor' | 'node' | 'commit'> {
  const cores = cpus()
  return {
    processor: `${cores[0]?.model.trim() ?? 'unknown'}, ${cores.length} cores`,
    node: process.version,
    commit: commit(),
  }
}

/** As JSON, for other programs: megabytes of pictures are in the file. */
const withoutPictures = (evaluation: Evaluation): string =>
  JSON.stringify(evaluation, (key, value: unknown) => (key === 'pictures' ? [] : value))

async function splitOf({ folder, distractors, people, galleryPerPerson }: Options): Promise<Split> {
  const photos = await peopleOf(folder)
  const strangers = distractors === undefined ? [] : await strangersOf(distractors)
  try {
    return splitPeople(photos, strangers, { people, galleryPerPerson })
  } catch (error) {
    throw error instanceof TooFewPhotosError ? new UsageError(`${folder}: ${error.message}`) : error
  }
}

interface Loaded {
  /** All recognisers in use. */
  recognisers: ReadonlyMap<string, { entry: RecogniserEntry; surrogate: Surrogate }>
  models: readonly string[]
  victims: readonly string[]
  detector: Weights
  otherDetector: Weights | undefined
  lpips: Perceptual
  heldOut: Perceptual | undefined
}

async function loadAll(options: Options): Promise<Loaded> {
  const networks = await knownNetworks()
  const all = recognisersOf(networks)
  const models = attackedRecognisers(all, options.attacked)
  const victims = chosenRecognisers(all, '--victims', options.victims)
  const onlyLooking = victims.filter((entry) => !models.includes(entry))
  const [detector, otherDetector, { lpips, heldOut }, attacked, ...looking] = await Promise.all([
    loadDetector(networks),
    options.robustness ? loadOtherDetector(networks) : undefined,
    loadPerceptualPair(networks),
    loadSurrogates(models),
    ...onlyLooking.map(loadRecogniser),
  ])
  const ids = (entries: readonly ManifestEntry[]) => entries.map(({ id }) => id)
  const loaded = [...attacked, ...looking]
  const recognisers = new Map(
    [...models, ...onlyLooking].map((entry, i) => [entry.id, { entry, surrogate: loaded[i] }]),
  )
  return { recognisers, models: ids(models), victims: ids(victims), detector, otherDetector, lpips, heldOut }
}

async function experiment(
  gpu: Gpu,
  loaded: Loaded,
  options: Options,
  split: Split,
  signal: AbortSignal,
  progress: EvaluationProgress,
): Promise<Findings> {
  const { recognisers, detector, otherDetector, lpips, heldOut } = loaded
  const of = (id: string) => recognisers.get(id)!
  using mtcnn = await mtcnnNetworks(gpu, detector)
  using yunet = otherDetector && (await yunetNetworks(gpu, otherDetector))
  using embedder = await Embedder.compile(
    gpu,
    loaded.victims.map((id) => of(id).surrogate),
  )
  using lpipsMeter = new LpipsMeter(gpu, lpips)
  using heldOutMeter = heldOut && new LpipsMeter(gpu, heldOut)
  const meters: Keyed<Meters> = {
    value: { lpips: lpipsMeter, heldOut: heldOutMeter },
    key: keyOf(weightsKey(lpips), heldOut ? weightsKey(heldOut) : null, codeOf('evaluate', isMeasuring, version)),
  }
  const detectorKey = ({ entry: { sha256 } }: Weights, ...files: readonly string[]) =>
    keyOf(
      sha256,
      codeOf('faces', (name) => [...files, 'boxes.ts', 'resize.ts'].includes(name), version),
    )
  const alignment = codeOf('faces', (file) => ['alignment.ts', 'crop.ts'].includes(file), version)
  const features = new Features(
    join(cacheFolder(), 'features'),
    embedder,
    loaded.victims.map((id) => ({ id, key: keyOf(alignment, recogniserKey(of(id).entry)) })),
  )
  const setup: ExperimentSetup = {
    gpu,
    split,
    methods: options.methods,
    surrogates: loaded.models,
    victims: loaded.victims.map((id) => of(id).surrogate.network),
    features,
    detector: {
      value: async (photo: Pixels) => (await findFaces({ mtcnn }, photo)).faces,
      key: detectorKey(detector, 'mtcnn.ts', 'find.ts', 'second-look.ts', 'turning.ts', 'overlap.ts', 'crop.ts'),
    },
    otherDetector: yunet && {
      value: (photo: Pixels) => detectFacesYunet(yunet, photo),
      key: detectorKey(otherDetector, 'yunet.ts'),
    },
    networks: (ids): Keyed<ProtectorNetworks> => ({
      value: { detector, lpips, surrogates: ids.map((id) => of(id).surrogate), heldOut: [] },
      key: keyOf(detector.entry.sha256, weightsKey(lpips), ...ids.map((id) => attackedKey(of(id)))),
    }),
    meters,
    seed: options.seed,
    robustness: options.robustness,
    scales: options.scales,
    matrix: options.matrix,
    photos: join(options.out, 'photos'),
    codeOf: (method) => codeOf('attack', method.isCode, version),
    signal,
    onProgress: (step) => progress.update(step),
    onWarning: (text) => progress.say(text),
  }
  try {
    return await runExperiment(setup)
  } catch (error) {
    progress.clear()
    if (signal.aborted) throw new Interrupted()
    throw error instanceof TooFewPhotosError ? new UsageError(`${options.folder}: ${error.message}`) : error
  }
}

/** Files of src/evaluate that say how visible a change is. */
const isMeasuring = (file: string): boolean => ['perceptual.ts', 'ssim.ts', 'visibility.ts'].includes(file)

/** All that decides what a recogniser makes of a photo. */
const recogniserKey = ({ sha256, architecture, alignment, input }: RecogniserEntry): string =>
  keyOf(sha256, architecture, alignment, input)

/** The same for one that is attacked, in the direction of its population where there is one. */
const attackedKey = ({ entry, surrogate: { population } }: { entry: RecogniserEntry; surrogate: Surrogate }): string =>
  keyOf(recogniserKey(entry), population ? [population.mean, population.components].map(keyOfNumbers) : null)

/** What `loadPerceptualPair` gives is what was read from a file. */
const weightsKey = ({ weights, trunk }: Perceptual): string => keyOf(trunk, (weights as Weights).entry.sha256)
