/** A photo in, a protected photo out: detection, the attack on every face, and what it achieved. */
import type { Gpu } from '../device/gpu.ts'
import type { Landmarks } from '../faces/alignment.ts'
import { type FaceNetworks, type FoundFace, findFaces } from '../faces/find.ts'
import type { Face, MtcnnNetworks } from '../faces/mtcnn.ts'
import { mostOverlapping } from '../faces/overlap.ts'
import { type Turn, turnUpright } from '../faces/turning.ts'
import type { YunetNetworks } from '../faces/yunet.ts'
import type { CompileOptions, HalfOptions } from '../graph/index.ts'
import { uniformNoise } from '../graph/noise.ts'
import { PlanCache } from '../graph/plan-cache.ts'
import { elements } from '../kernels/op.ts'
import { mtcnnNetworks } from '../models/mtcnn.ts'
import { similarityOf } from '../models/recognisers.ts'
import { yunetNetworks } from '../models/yunet.ts'
import { type Pixels, signalToNoise } from '../pixels/pixels.ts'
import type { Weights } from '../weights/registry.ts'
import { accepting, type EarlierFace, farthestDraw, nearest, type ProtectedFaces, SLOTS } from './apart.ts'
import { checkResult, visibleChange } from './change.ts'
import { type ChosenFace, chooseFaces, type FaceChoice, position, warningsOf } from './choose.ts'
import { Embedder, type FaceEmbeddings } from './embedder.ts'
import { cropSamples, faceJob, targetsOf } from './face-job.ts'
import { stopwatch } from './laps.ts'
import { Attack } from './loop.ts'
import { changeShape, type ObjectiveShape, type Perceptual, type Surrogate } from './objective.ts'
import type { Preset } from './presets.ts'
import type { Apartness, FaceReport, Progress, Protection, RecogniserReport } from './protection.ts'
import type { Region } from './region.ts'
import { addChange, workingPlanes } from './resample.ts'

export { FaceChoiceError, NoFaceError } from './choose.ts'
export type { Apartness, FaceReport, Progress, Protection, RecogniserReport } from './protection.ts'

/** The networks of a run. Held-out recognisers are not attacked: they show how far the protection carries. */
export interface ProtectorNetworks {
  detector: Weights
  /** YuNet, which finds more faces where it is there. */
  otherDetector?: Weights
  lpips: Perceptual
  surrogates: readonly Surrogate[]
  heldOut: readonly Surrogate[]
}

export interface ProtectOptions extends HalfOptions, FaceChoice {
  preset: Preset
  /** Exactly so many steps, in the place of the preset's number and its further rounds. */
  steps?: number
  /** The photo is grey and stays so. */
  grey?: boolean
  /** Seed of the initial noise; the same seed on the same adapter gives the same photo. */
  seed?: number
  /**
   * Working pixels per pixel of the 112x112 crop, at most; 1.5 unless told. Memory grows with its square: where that does not suffice, a
   * smaller number works on the face more coarsely, and enlarges the change.
   */
  finest?: number
  /**
   * Photos that were protected earlier: faces are kept apart from those of the same people in them, as the preset says (`apart`), and are added
   * to them. Several photos of one person, protected one after another with the same object, so match each other less.
   */
  apartFrom?: ProtectedFaces
  /** What the photo is called where a later one is said to match it. */
  name?: string
  onProgress?: (progress: Progress) => void
  signal?: AbortSignal
}

/**
 * Part of the way from the threshold to 1 by which a face must lie below the threshold, or it takes another round: a service cuts faces
 * out a little differently.
 */
const MARGIN = 0.05

/** A further round has this part of the steps: small rounds end soon after the face is clear, and change no more than it takes. */
const ROUND_PART = 0.25

/** What the steps of a round are multiplied by: 1 at first, more and more for faces that take many rounds. */
const roundScale = (round: number): number => (round + 2) / 3

/** Between the seeds of rounds: more than there are faces in a photo, whose seeds lie side by side. */
const ROUND_SEED = 0x10000

/** A compiled objective takes about 150 MiB; faces come in a few working sizes. */
const MOST_ATTACKS = 3

export class Protector implements Disposable {
  private readonly gpu: Gpu
  private readonly networks: ProtectorNetworks
  private readonly detector: MtcnnNetworks & Disposable
  private readonly yunet: (YunetNetworks & Disposable) | undefined
  private readonly embedder: Embedder
  /** Objectives compiled last, the latest used at the end; faces of one working size share them. */
  private readonly attacks = new PlanCache<Attack>(MOST_ATTACKS)
  /** Ends when the photo that was asked for last is done, or has failed. */
  private busy: Promise<unknown> = Promise.resolve()

  private constructor(
    gpu: Gpu,
    networks: ProtectorNetworks,
    detector: MtcnnNetworks & Disposable,
    yunet: (YunetNetworks & Disposable) | undefined,
    embedder: Embedder,
  ) {
    this.gpu = gpu
    this.yunet = yunet
    this.networks = networks
    this.detector = detector
    this.embedder = embedder
  }

  /**
   * Compiles the detector. The objective follows with the first photo, whose faces decide its size, and the recognisers when that photo is
   * protected and they are to judge it.
   */
  static async create(gpu: Gpu, networks: ProtectorNetworks): Promise<Protector> {
    const embedder = new Embedder(gpu, [...networks.surrogates, ...networks.heldOut])
    const [detector, yunet] = await Promise.all([
      mtcnnNetworks(gpu, networks.detector),
      networks.otherDetector && yunetNetworks(gpu, networks.otherDetector),
    ])
    return new Protector(gpu, networks, detector, yunet, embedder)
  }

  /** The faces that `protect` would protect, from left to right. Throws as `chooseFaces`. */
  find = async (photo: Pixels, faces: FaceChoice['faces'] = 'all') => (await this.choose(photo, { faces })).faces

  /** The faces that `protect` would protect, and what it would leave alone. Throws as `chooseFaces`. */
  choose(photo: Pixels, choice: FaceChoice = {}) {
    return chooseFaces(this.finders, photo, choice)
  }

  /**
   * Protects the faces of the photo, all unless told otherwise. The photo given stays as it is, and must stay so until this ends. Calls that overlap are done one
   * after another, in their order: they share what is compiled.
   * Throws NoFaceError and FaceChoiceError as `chooseFaces`, RangeError for a photo under 64 pixels a side, PlanMemoryError where the area does not fit the device,
   * AttackError for a result that is no photo, and the signal's reason when interrupted.
   */
  protect(photo: Pixels, options: ProtectOptions): Promise<Protection> {
    return this.inTurn(() => this.protectAlone(photo, options))
  }

  /**
   * Adds the faces of a photo that was protected earlier, with the same choice of faces, to those that later ones are kept apart from. `result`
   * is of the size of `photo`. Throws RangeError where it is not, and as `chooseFaces`.
   */
  remember(
    photo: Pixels,
    result: Pixels,
    { apartFrom, name = '', ...choice }: FaceChoice & Pick<ProtectOptions, 'name'> & { apartFrom: ProtectedFaces },
  ): Promise<void> {
    return this.inTurn(async () => {
      if (photo.width !== result.width || photo.height !== result.height)
        throw new RangeError(
          `remember: a result of ${result.width}x${result.height} of a photo of ${photo.width}x${photo.height}`,
        )
      const { faces } = await chooseFaces(this.finders, photo, choice)
      const clean = await this.embedder.embedAll(photo, landmarksOf(faces))
      for (const [k, { landmarks }] of faces.entries())
        apartFrom.add({ photo: name, clean: clean[k], result: await this.embedder.embed(result, landmarks) })
    })
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.busy.then(work)
    this.busy = done.catch(() => {})
    return done
  }

  private async protectAlone(photo: Pixels, options: ProtectOptions): Promise<Protection> {
    const { preset, signal, onProgress, seed = 1, grey = false, name = '' } = options
    const steps = options.steps ?? preset.steps
    const clock = stopwatch()
    const warnings: string[] = []
    const report = (phase: Progress['phase'], done = 0, total = 0, face?: number) =>
      onProgress?.({ phase, done, total, ...(face === undefined ? {} : { face, faces: faces.length }) })

    signal?.throwIfAborted()
    report('detect')
    const choice = await chooseFaces(this.finders, photo, options, signal)
    const { faces } = choice
    warnings.push(...warningsOf(choice))
    signal?.throwIfAborted()
    clock.lap('detect')

    const result: Pixels = { ...photo, rgb: photo.rgb.slice() }
    const targets = targetsOf(photo, faces, preset, options.finest)
    const mostRounds = options.steps === undefined ? preset.rounds : 0
    const rounds = faces.map(() => 0)
    const apartFrom = preset.apart > 0 ? options.apartFrom : undefined
    /** Faces of this photo that are done. */
    const done: EarlierFace[] = []
    const apart = new Map<ChosenFace, Apartness>()
    let clean: FaceEmbeddings[] | undefined
    if (apartFrom && (apartFrom.size > 0 || faces.length > 1))
      clean = await this.embedder.embedAll(photo, landmarksOf(faces))
    let taken = 0
    let planned = targets.length * steps
    let lpips = 0
    let psnr = Number.POSITIVE_INFINITY
    for (const [index, target] of targets.entries()) {
      const { region, faces: members } = target
      const places = members.map((member) => faces.indexOf(member))
      const earlier = places.map((place) =>
        apartFrom && clean ? apartFrom.ofPerson(clean[place], this.networks.surrogates, done) : [],
      )
      const slots = earlier.some(({ length }) => length > 0) ? SLOTS : 0
      report('compile')
      const shape = { faces: members.length, grey, slots, samples: cropSamples(target, preset) }
      const attack = await this.attackFor(region, shape, preset, {
        products: options.products,
        storage: options.storage,
        onProgress: (done, total) => report('compile', done, total),
      })
      clock.lap('compile')
      const alignments = this.networks.surrogates.map(({ network }) => network.alignment)
      const draw = (planes: Float32Array, seed: number, k: number) =>
        farthestDraw(planes, seed, earlier[k], this.networks.surrogates, preset)
      const { images } = faceJob(photo, target, { preset, alignments, seed: seed + index, draw })
      const { clean: original, mask } = images
      // Faces before this one may have changed what is around it.
      const base = index === 0 ? original : workingPlanes(result, region)
      const nearestTo = (like: readonly FaceEmbeddings[]) =>
        earlier.map((list, k) => nearest(list, like[k], this.networks.surrogates))
      attack.load({
        ...images,
        base,
        apartFrom: slots > 0 ? nearestTo(places.map((place) => clean![place])) : undefined,
      })
      const turn = targets.length > 1 ? places[0] + 1 : undefined
      report('attack', taken, planned, turn)
      // The recognisers that judge the result are made ready while the attack runs.
      void this.embedder.prepare()
      const before = mostRounds > 0 ? result.rgb.slice() : result.rgb
      let seen: FaceEmbeddings[] = []
      let delta = uniformNoise(seed + index, elements(changeShape(attack.shape)), preset.noise)
      for (let round = 0; ; round++) {
        const count = round === 0 ? steps : Math.ceil(steps * ROUND_PART)
        delta = await attack.run({
          steps: count,
          stepScale: round === 0 ? 1 : roundScale(round),
          start: delta,
          seed: seed + index + ROUND_SEED * round,
          signal,
          onProgress: (done) => report('attack', taken + done, planned, turn),
        })
        taken += count
        if (round > 0) result.rgb.set(before)
        addChange(result, region, visibleChange(delta, original.length, mask), preset.rounding)
        for (const place of places) rounds[place] = round
        if (round === mostRounds && !apartFrom) break
        clean ??= await this.embedder.embedAll(photo, landmarksOf(faces))
        seen = await this.embedder.embedAll(result, landmarksOf(members))
        const unlike = places.map((place, k) => [clean![place], ...earlier[k].map((face) => face.result)])
        if (round === mostRounds || unlike.every((others, k) => others.every((other) => this.isClear(other, seen[k]))))
          break
        if (slots > 0) attack.setApart(nearestTo(seen))
        planned += Math.ceil(steps * ROUND_PART)
      }
      if (apartFrom) {
        for (const [k, member] of members.entries()) {
          if (earlier[k].length > 0) apart.set(member, this.apartness(seen[k], earlier[k]))
          done.push({ photo: name, clean: clean![places[k]], result: seen[k] })
        }
      }
      clock.lap('attack')
      report('measure')
      const protectedPlanes = workingPlanes(result, region)
      checkResult(original, protectedPlanes)
      attack.setBase(protectedPlanes)
      const value = await attack.evaluate(new Float32Array(delta.length))
      lpips = Math.max(lpips, value.lpips)
      psnr = Math.min(psnr, signalToNoise(original, protectedPlanes, 1))
      clock.lap('measure')
    }

    report('measure')
    clean ??= await this.embedder.embedAll(photo, landmarksOf(faces))
    const again = await this.findAgain(result, faces)
    const reports: FaceReport[] = []
    for (const [index, face] of faces.entries()) {
      const seen = again[index]
      const { number, by, roll, beyond, box, landmarks } = face
      if (!seen) {
        warnings.push(
          `face ${number} at ${position(face)} is not found any more in the protected photo; it was measured at its old place, ` +
            'and another detector may find it and see it otherwise',
        )
      }
      const sure = face.sure && (seen?.sure ?? true)
      let recognisers = this.compare(clean[index], await this.embedder.embed(result, (seen ?? face).landmarks))
      if (seen && !sure) {
        // Of two ways to see it the one that recognises it better.
        const inPlace = this.compare(clean[index], await this.embedder.embed(result, landmarks))
        recognisers = recognisers.map((row, k) => ({ ...row, after: Math.max(row.after, inPlace[k].after) }))
      }
      const foundAgain = seen !== undefined
      const seenAs = { foundAgain, sure, ...(apart.has(face) ? { apart: apart.get(face) } : {}) }
      reports.push({ box, landmarks, recognisers, rounds: rounds[index], number, by, roll, beyond, ...seenAs })
      for (const match of apart.get(face)?.matches ?? []) {
        warnings.push(
          `face ${number} at ${position(face)} still matches the same person's in ${match.photo}, protected earlier (${match.recognisers.join(', ')})`,
        )
      }
    }
    apartFrom?.add(...done)
    clock.lap('measure')
    return {
      photo: result,
      faces: reports,
      left: choice.left,
      smallest: choice.smallest,
      lpips,
      psnr,
      seconds: clock.seconds(),
      warnings,
    }
  }

  [Symbol.dispose](): void {
    this.attacks.clear()
    this.embedder[Symbol.dispose]()
    this.detector[Symbol.dispose]()
    this.yunet?.[Symbol.dispose]()
  }

  private get finders(): FaceNetworks {
    return { mtcnn: this.detector, yunet: this.yunet }
  }

  /**
   * The faces again in the protected photo, which is turned as they lie; in all orientations where that does not show one of them, for it
   * may lean between two.
   */
  private async findAgain(photo: Pixels, faces: readonly ChosenFace[]): Promise<(FoundFace | undefined)[]> {
    const needed = [...new Set<Turn>([0, ...faces.map(({ roll }) => turnUpright(roll))])]
    const seen = async (turns?: readonly Turn[]) => {
      const { faces: found } = await findFaces(this.finders, photo, { turns })
      return faces.map((face) => mostOverlapping(face, found))
    }
    const first = await seen(needed)
    return first.includes(undefined) && needed.length < 4 ? await seen() : first
  }

  private attackFor(
    { workWidth, workHeight }: Region,
    members: Omit<ObjectiveShape, 'width' | 'height'>,
    preset: Preset,
    options: Pick<CompileOptions, 'products' | 'storage' | 'onProgress'>,
  ): Promise<Attack> {
    const masked = preset.area === 'face'
    const shape = { width: workWidth, height: workHeight, ...members }
    const key = JSON.stringify([shape, preset, options.products, options.storage])
    const { surrogates, lpips } = this.networks
    return this.attacks.get(key, () =>
      Attack.compile(this.gpu, { shape, surrogates, perceptual: lpips, preset, masked }, options),
    )
  }

  /** No recogniser that is attacked is near its threshold. */
  private isClear(clean: FaceEmbeddings, after: FaceEmbeddings): boolean {
    return this.networks.surrogates.every(({ network: { id, threshold } }) => {
      return similarityOf(clean.get(id)!, after.get(id)!) < threshold - MARGIN * (1 - threshold)
    })
  }

  /** How a face in its old place compares with the earlier ones of the same person. */
  private apartness(face: FaceEmbeddings, earlier: readonly EarlierFace[]): Apartness {
    const matches = earlier.flatMap(({ photo, result }) => {
      const recognisers = accepting(face, result, this.networks.surrogates)
      return recognisers.length > 0 ? [{ photo, recognisers }] : []
    })
    return { from: earlier.length, matches }
  }

  private compare(clean: Map<string, Float32Array>, after: Map<string, Float32Array>): RecogniserReport[] {
    const rows = (networks: readonly Surrogate[], heldOut: boolean) =>
      networks.map(({ network: { id, threshold } }) => {
        const reference = clean.get(id)!
        return {
          id,
          heldOut,
          threshold,
          before: similarityOf(reference, reference),
          after: similarityOf(reference, after.get(id)!),
        }
      })
    return [...rows(this.networks.surrogates, false), ...rows(this.networks.heldOut, true)]
  }
}

const landmarksOf = (faces: readonly Face[]): Landmarks[] => faces.map((face) => face.landmarks)
