/** A photo in, a protected photo out: detection, the attack on every face, and what it achieved. */
import type { Gpu } from '../device/gpu.ts'
import type { Affine, Landmarks } from '../faces/alignment.ts'
import { detectFaces, type Face, type MtcnnNetworks, smallestFace } from '../faces/mtcnn.ts'
import { areaOf, mostOverlapping } from '../faces/overlap.ts'
import type { Pixels } from '../faces/pixels.ts'
import type { CompileOptions, HalfOptions } from '../graph/index.ts'
import { elements } from '../kernels/op.ts'
import { mtcnnNetworks } from '../models/mtcnn.ts'
import type { Recogniser } from '../models/recognisers.ts'
import type { Weights } from '../weights/registry.ts'
import { directionDraw } from './directions.ts'
import { Embedder, type FaceEmbeddings, similarityOf } from './embedder.ts'
import { Attack, AttackError } from './loop.ts'
import { uniformNoise } from './noise.ts'
import { changeShape, type Perceptual, type Surrogate } from './objective.ts'
import type { Preset } from './presets.ts'
import { alignmentOf, faceRegion, type Region, samplingMatrix, softMask, wholePhoto } from './region.ts'
import { addChange, workingPlanes } from './resample.ts'
import { textureOf } from './texture.ts'

/** No face was found, so there is nothing to protect. */
export class NoFaceError extends Error {
  override name = 'NoFaceError'
}

/** The networks of a run. Held-out recognisers are not attacked: they show how far the protection carries. */
export interface ProtectorNetworks {
  detector: Weights
  lpips: Perceptual
  surrogates: readonly Surrogate[]
  heldOut: readonly Surrogate[]
}

export interface ProtectOptions extends HalfOptions {
  preset: Preset
  /** Exactly so many steps, in the place of the preset's number and its further rounds. */
  steps?: number
  faces?: 'all' | 'largest'
  /** The photo is grey and stays so. */
  grey?: boolean
  /** Seed of the initial noise; the same seed on the same adapter gives the same photo. */
  seed?: number
  onProgress?: (progress: Progress) => void
  signal?: AbortSignal
}

export interface Progress {
  phase: 'detect' | 'compile' | 'attack' | 'measure'
  /** Of `attack`: steps done and to do, over all faces; of `compile`: shaders, where the driver has to compile any. Else zeros. */
  done: number
  total: number
}

/** Cosine similarity of the face with the clean photo's, before (with itself) and after protection. */
export interface RecogniserReport {
  id: string
  heldOut: boolean
  /** Similarity at and above which the recogniser takes two faces for the same person. */
  threshold: number
  before: number
  after: number
}

export interface FaceReport {
  /** x1, y1, x2, y2 in pixels of the photo. */
  box: Face['box']
  landmarks: Landmarks
  recognisers: RecogniserReport[]
  /** Further rounds that the face took because a recogniser still matched it; 0 unless the preset has rounds. */
  rounds: number
}

export interface Protection {
  photo: Pixels
  faces: FaceReport[]
  /**
   * Visibility of the change where it is greatest: LPIPS (mean of face crop and surroundings) and PSNR in dB of the area worked
   * on, the worst of all faces; of the 8-bit result.
   */
  lpips: number
  psnr: number
  /** Seconds by phase, and in all. */
  seconds: { detect: number; compile: number; attack: number; measure: number; total: number }
  warnings: string[]
}

/** A face with the area in which it is protected. */
interface Target {
  region: Region
  faces: readonly Face[]
  mask?: Float32Array
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
  private readonly embedder: Embedder
  /** Objectives compiled last, the latest used at the end; faces of one working size share them. */
  private readonly attacks = new Map<string, Attack>()
  /** Ends when the photo that was asked for last is done, or has failed. */
  private busy: Promise<unknown> = Promise.resolve()

  private constructor(gpu: Gpu, networks: ProtectorNetworks, detector: MtcnnNetworks & Disposable, embedder: Embedder) {
    this.gpu = gpu
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
    return new Protector(gpu, networks, await mtcnnNetworks(gpu, networks.detector), embedder)
  }

  /** The faces that `protect` would protect, best first. Throws NoFaceError where there is none. */
  async find(photo: Pixels, which: 'all' | 'largest' = 'all'): Promise<Face[]> {
    const found = await detectFaces(this.detector, photo)
    if (found.length === 0) {
      const smallest = Math.ceil(smallestFace(photo.width, photo.height))
      throw new NoFaceError(`no face found (frontal faces of at least ${smallest} pixels are looked for)`)
    }
    return which === 'largest' ? [found.reduce((a, b) => (areaOf(b) > areaOf(a) ? b : a))] : found
  }

  /**
   * Protects every face of the photo. The photo given stays as it is, and must stay so until this ends. Calls that overlap are done one
   * after another, in their order: they share what is compiled.
   * Throws NoFaceError, RangeError for a photo under 64 pixels a side, PlanMemoryError where the area does not fit the device,
   * AttackError for a result that is no photo, and the signal's reason when interrupted.
   */
  protect(photo: Pixels, options: ProtectOptions): Promise<Protection> {
    const done = this.busy.then(() => this.protectAlone(photo, options))
    this.busy = done.catch(() => {})
    return done
  }

  private async protectAlone(photo: Pixels, options: ProtectOptions): Promise<Protection> {
    const { preset, signal, onProgress, seed = 1, grey = false } = options
    const steps = options.steps ?? preset.steps
    const clock = stopwatch()
    const warnings: string[] = []
    const report = (phase: Progress['phase'], done = 0, total = 0) => onProgress?.({ phase, done, total })

    signal?.throwIfAborted()
    report('detect')
    const faces = await this.find(photo, options.faces)
    signal?.throwIfAborted()
    clock.lap('detect')

    const result: Pixels = { ...photo, data: photo.data.slice() }
    const targets = this.targets(photo, faces, preset)
    const mostRounds = options.steps === undefined ? preset.rounds : 0
    const rounds = faces.map(() => 0)
    let clean: FaceEmbeddings[] | undefined
    let taken = 0
    let planned = targets.length * steps
    let lpips = 0
    let psnr = Number.POSITIVE_INFINITY
    for (const [index, { region, faces: members, mask }] of targets.entries()) {
      report('compile')
      const attack = await this.attackFor(region, members.length, grey, preset, {
        products: options.products,
        storage: options.storage,
        onProgress: (done, total) => report('compile', done, total),
      })
      clock.lap('compile')
      const original = workingPlanes(photo, region)
      const images = {
        clean: original,
        base: workingPlanes(result, region),
        mask,
        matrices: this.matrices(region, members),
        draws: members.map((_, k) => directionDraw(original, seed + index + k)),
      }
      attack.load(images)
      report('attack', taken, planned)
      // The recognisers that judge the result are made ready while the attack runs.
      void this.embedder.prepare()
      const before = mostRounds > 0 ? result.data.slice() : result.data
      let delta = uniformNoise(seed + index, elements(changeShape(attack.shape)), preset.noise)
      for (let round = 0; ; round++) {
        const count = round === 0 ? steps : Math.ceil(steps * ROUND_PART)
        delta = await attack.run({
          steps: count,
          stepScale: round === 0 ? 1 : roundScale(round),
          start: delta,
          seed: seed + index + ROUND_SEED * round,
          signal,
          onProgress: (done) => report('attack', taken + done, planned),
        })
        taken += count
        if (round > 0) result.data.set(before)
        addChange(result, region, visibleChange(delta, original.length, mask), preset.rounding)
        for (const member of members) rounds[faces.indexOf(member)] = round
        if (round === mostRounds) break
        clean ??= await this.embedder.embedAll(photo, landmarksOf(faces))
        const seen = await this.embedder.embedAll(result, landmarksOf(members))
        if (members.every((member, k) => this.isClear(clean![faces.indexOf(member)], seen[k]))) break
        planned += Math.ceil(steps * ROUND_PART)
      }
      clock.lap('attack')
      report('measure')
      const protectedPlanes = workingPlanes(result, region)
      checkResult(original, protectedPlanes)
      attack.load({ ...images, base: protectedPlanes })
      const value = await attack.evaluate(new Float32Array(delta.length))
      lpips = Math.max(lpips, value.lpips)
      psnr = Math.min(psnr, psnrOf(original, protectedPlanes))
      clock.lap('measure')
    }

    report('measure')
    clean ??= await this.embedder.embedAll(photo, landmarksOf(faces))
    const again = await detectFaces(this.detector, result)
    const reports: FaceReport[] = []
    for (const [index, face] of faces.entries()) {
      const seen = mostOverlapping(face, again)
      if (!seen)
        warnings.push(
          `face ${index + 1} at ${position(face)} is not found any more in the protected photo; it was measured at its old place`,
        )
      const embeddings = await this.embedder.embed(result, (seen ?? face).landmarks)
      const recognisers = this.compare(clean[index], embeddings)
      reports.push({ box: face.box, landmarks: face.landmarks, recognisers, rounds: rounds[index] })
    }
    clock.lap('measure')
    return { photo: result, faces: reports, lpips, psnr, seconds: clock.seconds(), warnings }
  }

  [Symbol.dispose](): void {
    for (const attack of this.attacks.values()) attack[Symbol.dispose]()
    this.embedder[Symbol.dispose]()
    this.detector[Symbol.dispose]()
  }

  private targets(photo: Pixels, faces: readonly Face[], preset: Preset): Target[] {
    if (preset.area === 'photo') return [{ region: wholePhoto(photo.width, photo.height), faces }]
    return faces.map((face) => {
      const region = faceRegion(photo.width, photo.height, face.landmarks)
      return { region, faces: [face], mask: changeMask(photo, region, face, preset.flat) }
    })
  }

  private async attackFor(
    { workWidth, workHeight }: Region,
    faces: number,
    grey: boolean,
    preset: Preset,
    options: Pick<CompileOptions, 'products' | 'storage' | 'onProgress'>,
  ): Promise<Attack> {
    const masked = preset.area === 'face'
    const shape = { width: workWidth, height: workHeight, faces, grey }
    const key = JSON.stringify([shape, preset, options.products, options.storage])
    const known = this.attacks.get(key)
    this.attacks.delete(key)
    for (const [oldest, attack] of this.attacks) {
      if (this.attacks.size < MOST_ATTACKS) break
      attack[Symbol.dispose]()
      this.attacks.delete(oldest)
    }
    const { surrogates, lpips } = this.networks
    const attack = known ?? (await Attack.compile(this.gpu, shape, surrogates, lpips, preset, masked, options))
    this.attacks.set(key, attack)
    return attack
  }

  private matrices(region: Region, faces: readonly Face[]): Map<Recogniser['alignment'], Affine[]> {
    const used = new Set<Recogniser['alignment']>([
      'arcface112',
      ...this.networks.surrogates.map((s) => s.network.alignment),
    ])
    return new Map(
      [...used].map((alignment) => [
        alignment,
        faces.map((face) => samplingMatrix(region, alignmentOf(alignment, face.landmarks))),
      ]),
    )
  }

  /** No recogniser that is attacked is near its threshold. */
  private isClear(clean: FaceEmbeddings, after: FaceEmbeddings): boolean {
    return this.networks.surrogates.every(({ network: { id, threshold } }) => {
      return similarityOf(clean.get(id)!, after.get(id)!) < threshold - MARGIN * (1 - threshold)
    })
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

const position = ({ box }: Face): string => `(${box.map(Math.round).join(', ')})`

/** How much of the change stays where: faded out around the face, and less of it in flat areas where the preset says so. */
function changeMask(photo: Pixels, region: Region, face: Face, flat: number): Float32Array {
  const mask = softMask(region, alignmentOf('arcface112', face.landmarks))
  if (flat === 1) return mask
  const texture = textureOf(workingPlanes(photo, region), region.workWidth, region.workHeight)
  return mask.map((part, i) => part * (flat + (1 - flat) * texture[i]))
}

/** The change as three planes, faded out by the mask. */
function visibleChange(delta: Float32Array, length: number, mask?: Float32Array): Float32Array {
  const change = new Float32Array(length)
  const fade = mask ?? new Float32Array(length / 3).fill(1)
  for (let i = 0; i < length; i++) change[i] = delta[i % delta.length] * fade[i % fade.length]
  return change
}

/** A GPU that computes nonsense must not replace a photo: a face that was there and is black now is refused. */
function checkResult(before: Float32Array, after: Float32Array): void {
  const mean = (planes: Float32Array) => planes.reduce((s, v) => s + v, 0) / planes.length
  if (mean(before) > 0.02 && mean(after) < 0.25 * mean(before)) {
    throw new AttackError('the protected face came out black; nothing was written')
  }
}

function psnrOf(a: Float32Array, b: Float32Array): number {
  let total = 0
  for (let i = 0; i < a.length; i++) total += (a[i] - b[i]) ** 2
  return total === 0 ? Number.POSITIVE_INFINITY : -10 * Math.log10(total / a.length)
}

function stopwatch() {
  const seconds = { detect: 0, compile: 0, attack: 0, measure: 0 }
  const began = performance.now()
  let last = began
  return {
    lap(phase: keyof typeof seconds): void {
      const now = performance.now()
      seconds[phase] += (now - last) / 1000
      last = now
    },
    seconds: () => ({ ...seconds, total: (performance.now() - began) / 1000 }),
  }
}
