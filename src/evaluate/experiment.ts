/** The whole experiment: who is protected how, what every recogniser makes of it, and how visible it is. */

import { basename } from 'node:path'
import { startClock } from '../device/stopwatch.ts'
import type { Face } from '../faces/mtcnn.ts'
import { PhotoError } from '../images/index.ts'
import { Comparison } from './comparison.ts'
import type { Detector, Keyed } from './features.ts'
import {
  type CleanPhoto,
  type GalleryRun,
  type GallerySetup,
  type ProtectedGallery,
  pixelsOf,
  protectGallery,
} from './gallery.ts'
import { handlings } from './handling.ts'
import type { Method } from './methods.ts'
import type { Split } from './protocol.ts'
import type { Evaluation, Handling, MatrixResult, PhotoResult, PresetResult } from './results.ts'
import { seeCentral } from './sight.ts'

export interface ExperimentSetup extends GallerySetup {
  split: Split
  methods: readonly Method[]
  /** Recognisers that are attacked. */
  surrogates: readonly string[]
  /** Recognisers that judge, with their own thresholds; `features` embeds with exactly these. */
  victims: readonly { id: string; threshold: number }[]
  /** Whether protected photos are also handled as services handle them. */
  robustness: boolean
  /** Factors by which photos are enlarged; 1 is always done. */
  scales: readonly number[]
  /** Whether the first method is also run against each surrogate alone. */
  matrix: boolean
  onProgress(progress: ExperimentProgress): void
}

export interface ExperimentProgress {
  what: string
  done: number
  total: number
  /** Seconds left for all of it, where some of it has been timed. */
  left: number | undefined
}

/** What `runExperiment` finds; the rest of an `Evaluation` is about the invocation. */
export type Findings = Omit<Evaluation, 'format' | 'version' | 'date' | 'command' | 'adapter' | 'programVersion'>

/** People of whom the report has pictures, for each method. */
const PICTURES = 4

/**
 * Runs all of it. What was made in the same folder before is taken up.
 * @throws TooFewPhotosError where the photos show too few people, OutputError, and the signal's reason when interrupted
 */
export async function runExperiment(setup: ExperimentSetup): Promise<Findings> {
  const { detector, otherDetector, robustness } = setup
  const clean = await look(setup, detector, 'looking at clean photos')
  const other =
    robustness && otherDetector ? await look(setup, otherDetector, 'looking with the other detector, too') : undefined
  return new Experiment(setup, clean, other).run()
}

/** The clean photos by their part in the experiment, as one detector sees them, and what every victim makes of them. */
interface CleanPhotos {
  probes: CleanPhoto[]
  gallery: CleanPhoto[]
  others: CleanPhoto[]
  withoutFace: number
  comparisons: Comparison[]
}

async function look(setup: ExperimentSetup, detector: Keyed<Detector>, what: string): Promise<CleanPhotos> {
  const { split, features, victims, onWarning } = setup
  const parts = ['probes', 'gallery', 'others'] as const
  const seen: Record<(typeof parts)[number], CleanPhoto[]> = { probes: [], gallery: [], others: [] }
  let withoutFace = 0
  const all = parts.flatMap((part) => split[part].map((photo) => ({ part, photo })))
  const seconds = startClock()
  for (const [done, { part, photo }] of all.entries()) {
    const left = done > 0 ? (seconds() / done) * (all.length - done) : undefined
    step(setup, { what, done, total: all.length, left })
    try {
      const sight = await seeCentral(features, detector, await pixelsOf(photo))
      if (!sight)
        throw new PhotoError(photo.file, 'shows no face that is found', 'take one that shows it from the front')
      seen[part].push({ ...photo, ...sight })
    } catch (error) {
      if (!(error instanceof PhotoError)) throw error
      withoutFace++
      onWarning(`left out: ${error.message}`)
    }
  }
  return { ...seen, withoutFace, comparisons: victims.map(({ id, threshold }) => new Comparison(id, threshold, seen)) }
}

/** Between two photos: the place to be interrupted. */
function step({ signal, onProgress }: ExperimentSetup, progress: ExperimentProgress): void {
  signal.throwIfAborted()
  onProgress(progress)
}

class Experiment {
  private readonly setup: ExperimentSetup
  private readonly clean: CleanPhotos
  private readonly comparisons: readonly Comparison[]
  /** As the other detector sees them; undefined where there is none. */
  private readonly other: CleanPhotos | undefined
  private readonly otherFaces: ReadonlyMap<string, Face>
  /** Of the photos to protect. */
  private readonly pace = { done: 0, total: 0, timed: 0, seconds: 0 }

  constructor(setup: ExperimentSetup, clean: CleanPhotos, other: CleanPhotos | undefined) {
    this.setup = setup
    this.clean = clean
    this.comparisons = clean.comparisons
    this.other = other
    this.otherFaces = new Map(other?.gallery.map(({ file, face }) => [file, face]))
  }

  async run(): Promise<Findings> {
    const { split, methods, surrogates, matrix, scales } = this.setup
    const further = scales.filter((scale) => scale !== 1)
    const alone = matrix && surrogates.length > 1 ? surrogates : []
    this.pace.total = (methods.length * (1 + further.length) + alone.length) * this.clean.gallery.length
    const presets: Record<string, PresetResult> = {}
    for (const method of methods) {
      presets[method.name] = await this.presetResult(method)
      for (const scale of further) await this.addScale(presets[method.name], method, scale)
    }
    const { probes, gallery, others, withoutFace } = this.clean
    return {
      people: split.people.length,
      galleryPerPerson: Math.max(...split.people.map((name) => gallery.filter((p) => p.person === name).length)),
      probes: probes.length,
      distractors: others.length,
      withoutFace,
      victims: this.comparisons.map(({ facts }) => facts),
      presets,
      matrix: matrix ? await this.matrixResult(presets[methods[0].name]) : null,
    }
  }

  private async presetResult(method: Method): Promise<PresetResult> {
    const { robustness } = this.setup
    const surrogates = method.attacks(this.setup.surrogates)
    const asked: Handling[] = robustness ? (Object.keys(handlings) as (keyof typeof handlings)[]) : []
    if (this.other) asked.push('other-detector')
    const run = { method, surrogates, scale: 1, handlings: asked, pictures: PICTURES }
    const { seen, details, handled, pictures } = await this.protect(run)
    const mean = (value: (photo: PhotoResult) => number) =>
      details.reduce((sum, photo) => sum + value(photo), 0) / Math.max(1, details.length)
    const victims = this.comparisons.map((comparison, k) => {
      const result = comparison.result(seen, !surrogates.includes(comparison.facts.id))
      for (const [handling, faces] of handled) {
        const judge = handling === 'other-detector' ? this.other!.comparisons[k] : comparison
        result.handlings[handling] = judge.against(faces)
      }
      return result
    })
    return {
      people: new Set(details.map(({ person }) => person)).size,
      photos: details.length,
      lpips: mean((photo) => photo.lpips),
      lpipsHeldOut: details.some((photo) => photo.lpipsHeldOut === null) ? null : mean((photo) => photo.lpipsHeldOut!),
      ssim: mean((photo) => photo.ssim),
      psnr: mean((photo) => photo.psnr),
      secondsPerPhoto: mean((photo) => photo.seconds),
      surrogates,
      victims: Object.fromEntries(victims.map((victim) => [victim.id, victim])),
      details,
      scales: this.setup.scales.length > 0 ? { 1: this.atScale(seen) } : {},
      pictures,
    }
  }

  /** The same people enlarged. */
  private async addScale(result: PresetResult, method: Method, scale: number): Promise<void> {
    const { surrogates } = result
    const { seen, details } = await this.protect({ method, surrogates, scale, handlings: [], pictures: 0 })
    if (details.length === 0) return
    result.details = [...result.details, ...details]
    result.scales = { ...result.scales, [scale]: this.atScale(seen) }
  }

  private atScale(seen: ProtectedGallery['seen']): PresetResult['scales'][string] {
    const rows = this.comparisons.map((comparison) => {
      const { identification, verification } = comparison.against(seen)
      return [comparison.facts.id, { rank1: identification.rank1, meanCosine: verification.meanCosine }]
    })
    return Object.fromEntries(rows)
  }

  /** The first method against each surrogate alone, and against all of them, which is known already. */
  private async matrixResult(together: PresetResult): Promise<MatrixResult> {
    const { methods, surrogates } = this.setup
    const victims = this.comparisons.map(({ facts }) => facts.id)
    const attacked = together.surrogates
    const rows = [
      {
        name: attacked.join(' + '),
        surrogates: attacked,
        handled: victims.map((id) => together.victims[id].protected),
      },
    ]
    for (const surrogate of surrogates.length > 1 ? surrogates : []) {
      const run = { method: methods[0], surrogates: [surrogate], scale: 1, handlings: [], pictures: 0 }
      const { seen } = await this.protect(run)
      const handled = this.comparisons.map((comparison) => comparison.against(seen))
      rows.splice(-1, 0, { name: surrogate, surrogates: [surrogate], handled })
    }
    return {
      preset: methods[0].name,
      attackers: rows.map(({ name, surrogates }) => ({ name, surrogates })),
      victims,
      rank1: rows.map(({ handled }) => handled.map(({ identification }) => identification.rank1)),
      meanCosine: rows.map(({ handled }) => handled.map(({ verification }) => verification.meanCosine)),
      acceptedStrict: rows.map(({ handled }) => handled.map(({ verification }) => verification.acceptedStrict)),
    }
  }

  private protect(run: GalleryRun): Promise<ProtectedGallery> {
    const { pace } = this
    const name = [run.method.name, ...(run.scale === 1 ? [] : [`enlarged ${run.scale} times`])].join(' ')
    return protectGallery(this.setup, run, this.clean.gallery, this.otherFaces, {
      onPhoto: ({ file }) => {
        const left = pace.timed > 0 ? (pace.seconds / pace.timed) * (pace.total - pace.done) : undefined
        step(this.setup, { what: `${name}: ${basename(file)}`, done: pace.done++, total: pace.total, left })
      },
      onMade: (seconds) => {
        pace.timed++
        pace.seconds += seconds
      },
    })
  }
}
