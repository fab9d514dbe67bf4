/**
 * Fawkes 1.0, the baseline that LowKey is measured against: crops, descent (fawkes-objective.ts) and cloaks. The extractors are those of
 * this project, the published ones were trained by its authors. Apart from that its program differs in this: it skips faces under 30
 * pixels, it resizes by bicubic interpolation in 8 bit with the contrast of each crop stretched, and where its best step moved the features
 * little it may take the last one although DSSIM is above the threshold.
 */
import type { Gpu } from '../device/gpu.ts'
import type { Face } from '../faces/mtcnn.ts'
import { compile, graph, type Plan } from '../graph/index.ts'
import { uniformNoise } from '../graph/noise.ts'
import { elements } from '../kernels/op.ts'
import { checkPixels, type Pixels } from '../pixels/pixels.ts'
import { extractorsOf, type FawkesMode, FIRST_MODIFIER, PADDING, SIDE, TANH_SCALE } from './fawkes-modes.ts'
import { modifierShape, recordFawkes } from './fawkes-objective.ts'
import { AttackError } from './loop.ts'
import type { Surrogate } from './objective.ts'
import type { Region } from './region.ts'
import { addChange, resamplePlanes, workingPlanes } from './resample.ts'
import { takeSteps } from './stepping.ts'

export { type FawkesMode, fawkesModes } from './fawkes-modes.ts'

export interface FawkesOptions {
  /** Seed of the first modifiers; the same seed on the same adapter gives the same photo. */
  seed?: number
  /** Called after some of the steps, with how many are done and to do over all faces. */
  onProgress?: (done: number, total: number) => void
  /** Ends the run between steps with the signal's reason. */
  signal?: AbortSignal
}

export class FawkesAttack implements Disposable {
  readonly mode: FawkesMode
  readonly plan: Plan
  private readonly grey: boolean
  /** Ends when the photo that was asked for last is done, or has failed. */
  private busy: Promise<unknown> = Promise.resolve()

  private constructor(mode: FawkesMode, plan: Plan, grey: boolean) {
    this.mode = mode
    this.plan = plan
    this.grey = grey
  }

  /**
   * Compiles the descent for one face of any size, against the first of the surrogates: as many as the mode has extractors, or all where
   * there are fewer. With `grey` the change is the same in all three channels, so that a grey photo stays grey.
   * Throws RangeError where no surrogate is given, PlanMemoryError where it does not fit the device.
   */
  static async compile(
    gpu: Gpu,
    surrogates: readonly Surrogate[],
    mode: FawkesMode,
    { grey = false }: { grey?: boolean } = {},
  ): Promise<FawkesAttack> {
    const extractors = extractorsOf(mode, surrogates)
    if (extractors.length === 0) throw new RangeError(`${mode.name}: there is no recogniser to attack`)
    const { updates } = recordFawkes(graph(), extractors, mode, grey)
    return new FawkesAttack(mode, await compile(gpu, {}, { updates }), grey)
  }

  /**
   * A copy of the photo in which every face is cloaked; outside the faces' boxes all bits stay. The cloaks of boxes that overlap are
   * added up. The photo must stay as it is until this ends. Calls that overlap are done one after another, in their order: they share a plan.
   * Throws RangeError for bytes that do not fit the photo's size and for a face outside of it, AttackError where a number is not finite,
   * and the signal's reason when interrupted.
   */
  run(photo: Pixels, faces: readonly Face[], options: FawkesOptions = {}): Promise<Pixels> {
    const done = this.busy.then(() => this.runAlone(photo, faces, options))
    this.busy = done.catch(() => {})
    return done
  }

  private async runAlone(photo: Pixels, faces: readonly Face[], options: FawkesOptions): Promise<Pixels> {
    checkPixels('fawkes', photo)
    const { seed = 1, onProgress, signal } = options
    const { steps } = this.mode
    const result: Pixels = { ...photo, rgb: photo.rgb.slice() }
    const squares = faces.map((face) => squareAround(photo, face))
    for (const [index, square] of squares.entries()) {
      const change = await this.cloak(squarePlanes(photo, square), seed + index, {
        onProgress: (done) => onProgress?.(index * steps + done, squares.length * steps),
        signal,
      })
      addCloak(result, square, change)
    }
    return result
  }

  /** The change of planes [3,112,112] in 0..1. */
  private async cloak(
    planes: Float32Array,
    seed: number,
    { onProgress, signal }: { onProgress: (done: number) => void; signal?: AbortSignal },
  ): Promise<Float32Array> {
    const { plan } = this
    const { steps } = this.mode
    const count = elements(modifierShape(this.grey))
    const one = Float32Array.of(1)
    plan.write(
      'source',
      planes.map((value) => Math.atanh((value - 0.5) * TANH_SCALE)),
    )
    plan.write('modifier', uniformNoise(seed, count, FIRST_MODIFIER))
    for (const name of ['weight', 'side', 'first']) plan.write(name, one)
    plan.write('best', new Float32Array(1))
    plan.write('kept', new Float32Array(planes.length))
    this.writeAverages(count)
    const send = (step: number) => {
      plan.run()
      if (step > 0) return
      // After its first step the published program puts the modifier into a new variable, and Adadelta begins anew.
      plan.write('first', new Float32Array(1))
      this.writeAverages(count)
    }
    await takeSteps(plan.gpu, steps, send, { onProgress, signal })
    const [modifier, kept] = await Promise.all([plan.read('modifier'), plan.read('kept')])
    if (![modifier, kept].every((values) => values.every(Number.isFinite))) {
      throw new AttackError(
        `${this.mode.name} gave numbers that are not finite on ${plan.gpu.capabilities.description}; nothing was written`,
      )
    }
    return kept
  }

  private writeAverages(count: number): void {
    for (const name of ['gradientSquare', 'stepSquare']) this.plan.write(name, new Float32Array(count))
  }

  [Symbol.dispose](): void {
    this.plan.destroy()
  }
}

/** A face's box in the photo, and the square of photo pixels in which it is cloaked. */
interface Square {
  box: Region
  side: number
  /** Where the box begins in the square. */
  left: number
  top: number
}

/** The box, in whole pixels and inside the photo, amid a square that is PADDING wider than its longer side. */
function squareAround(photo: Pixels, { box: [x1, y1, x2, y2] }: Face): Square {
  const inside = (value: number, limit: number) => Math.min(limit, Math.max(0, Math.round(value)))
  const [left, top] = [inside(x1, photo.width), inside(y1, photo.height)]
  const [width, height] = [inside(x2, photo.width) - left, inside(y2, photo.height) - top]
  if (!(width > 0 && height > 0)) {
    throw new RangeError(
      `fawkes: the box (${[x1, y1, x2, y2].map(Math.round).join(', ')}) of a face has no pixel in a photo of ${photo.width}x${photo.height}`,
    )
  }
  const side = Math.max(width, height) + PADDING
  return {
    box: { left, top, width, height, workWidth: width, workHeight: height },
    side,
    left: Math.floor((side - width) / 2),
    top: Math.floor((side - height) / 2),
  }
}

/** The square of the photo as planes [3,112,112] in 0..1: the box on its mean colour. */
function squarePlanes(photo: Pixels, square: Square): Float32Array {
  const { box, side } = square
  const inner = workingPlanes(photo, box)
  const planes = new Float32Array(3 * side * side)
  for (let channel = 0; channel < 3; channel++) {
    const pixels = inner.subarray(channel * box.width * box.height, (channel + 1) * box.width * box.height)
    const mean = pixels.reduce((total, value) => total + value, 0) / pixels.length
    planes.fill(mean, channel * side * side, (channel + 1) * side * side)
  }
  for (const [ofBox, ofSquare] of rows(square)) {
    planes.set(inner.subarray(ofBox, ofBox + box.width), ofSquare)
  }
  return resamplePlanes(planes, 3, [side, side], [SIDE, SIDE])
}

/** Adds to the photo what the change [3,112,112] is in the box. */
function addCloak(photo: Pixels, square: Square, change: Float32Array): void {
  const { box, side } = square
  const planes = resamplePlanes(change, 3, [SIDE, SIDE], [side, side])
  const inner = new Float32Array(3 * box.width * box.height)
  for (const [ofBox, ofSquare] of rows(square)) {
    inner.set(planes.subarray(ofSquare, ofSquare + box.width), ofBox)
  }
  addChange(photo, box, inner, 'nearest')
}

/** Where the rows of the box begin, of all three planes: among the box's pixels, and among the square's. */
function* rows({ box, side, left, top }: Square): Generator<[ofBox: number, ofSquare: number]> {
  for (let channel = 0; channel < 3; channel++) {
    for (let y = 0; y < box.height; y++) {
      yield [(channel * box.height + y) * box.width, (channel * side + top + y) * side + left]
    }
  }
}
