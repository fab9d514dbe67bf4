/** One photo from the pixels to the file, in the phases that are measured: what `Protector` does, without further rounds. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { directionDraw } from '../../src/attack/directions.ts'
import { Embedder } from '../../src/attack/embedder.ts'
import { Attack } from '../../src/attack/loop.ts'
import { changeShape } from '../../src/attack/objective.ts'
import type { Preset } from '../../src/attack/presets.ts'
import { faceRegion, type Region, samplingMatrix, softMask, wholePhoto } from '../../src/attack/region.ts'
import { addChange, workingPlanes } from '../../src/attack/resample.ts'
import type { Gpu } from '../../src/device/gpu.ts'
import { alignmentOf } from '../../src/faces/alignment.ts'
import { detectFaces, type Face, type MtcnnNetworks } from '../../src/faces/mtcnn.ts'
import { uniformNoise } from '../../src/graph/noise.ts'
import { encodePhoto } from '../../src/images/index.ts'
import { elements } from '../../src/kernels/op.ts'
import { mtcnnNetworks } from '../../src/models/mtcnn.ts'
import type { Pixels } from '../../src/pixels/pixels.ts'
import type { Networks } from './configurations.ts'
import { timed } from './timing.ts'

/** In the order in which they come; seconds each. */
export const PHASES = ['load', 'compile', 'detect', 'prepare', 'steps', 'measure', 'save'] as const
export type Phase = (typeof PHASES)[number]
export type PhaseSeconds = Record<Phase, number>

export const noSeconds = (): PhaseSeconds => ({
  load: 0,
  compile: 0,
  detect: 0,
  prepare: 0,
  steps: 0,
  measure: 0,
  save: 0,
})

/** An area that is attacked by itself, with the faces in it. */
interface Target {
  region: Region
  faces: readonly Face[]
  mask?: Float32Array
}

export interface PhotoRun {
  seconds: PhaseSeconds
  faces: number
  /** Working size of the area attacked last. */
  work: { width: number; height: number }
}

/** Compiled networks that photos are run with one after another, as `Protector` is used for a folder. */
export class PhotoRunner implements Disposable {
  private readonly gpu: Gpu
  private readonly networks: Networks
  private readonly preset: Preset
  private readonly detector: MtcnnNetworks & Disposable
  private readonly embedder: Embedder
  private compiled: { key: string; attack: Attack } | undefined

  private constructor(gpu: Gpu, networks: Networks, preset: Preset, detector: MtcnnNetworks & Disposable) {
    this.gpu = gpu
    this.networks = networks
    this.preset = preset
    this.detector = detector
    this.embedder = new Embedder(gpu, [...networks.surrogates, ...(networks.heldOut ?? [])])
  }

  /** Compiles the detector; the objective follows with the first photo, whose faces decide its size. */
  static async create(gpu: Gpu, networks: Networks, preset: Preset): Promise<PhotoRunner> {
    return new PhotoRunner(gpu, networks, preset, await mtcnnNetworks(gpu, networks.detector))
  }

  /** The objective compiled last. Throws where no photo was run before. */
  get attack(): Attack {
    if (!this.compiled) throw new Error('no photo was run, so there is no objective')
    return this.compiled.attack
  }

  /**
   * Protects every face of a photo with so many steps and writes it to a file that is deleted again.
   * @throws Error where no face is found; what compilation throws where an area does not fit the device
   */
  async run(photo: Pixels, steps: number): Promise<PhotoRun> {
    const seconds = noSeconds()
    const during = async <T>(phase: Phase, work: () => T | Promise<T>): Promise<T> => {
      const { seconds: taken, value } = await timed(work)
      seconds[phase] += taken
      return value
    }
    const faces = await during('detect', () => detectFaces(this.detector, photo))
    if (faces.length === 0) throw new Error(`no face was found in a photo of ${photo.width}x${photo.height}`)
    const result: Pixels = { ...photo, rgb: photo.rgb.slice() }
    const targets = this.targets(photo, faces)
    for (const target of targets) {
      const attack = await during('compile', () => this.attackFor(target))
      const start = await during('prepare', () => this.prepare(attack, photo, result, target))
      void this.embedder.prepare()
      const delta = await during('steps', () => attack.run({ steps, start }))
      await during('save', () => addChange(result, target.region, visible(delta, target.mask), this.preset.rounding))
      await during('measure', async () => {
        await this.prepare(attack, photo, result, target)
        await attack.evaluate(new Float32Array(delta.length))
      })
    }
    await during('measure', async () => {
      await detectFaces(this.detector, result)
      const landmarks = faces.map((face) => face.landmarks)
      await this.embedder.embedAll(photo, landmarks)
      for (const points of landmarks) await this.embedder.embed(result, points)
    })
    await during('save', () => save(result))
    const { workWidth, workHeight } = targets[targets.length - 1].region
    return { seconds, faces: faces.length, work: { width: workWidth, height: workHeight } }
  }

  [Symbol.dispose](): void {
    this.compiled?.attack[Symbol.dispose]()
    this.embedder[Symbol.dispose]()
    this.detector[Symbol.dispose]()
  }

  private targets(photo: Pixels, faces: readonly Face[]): Target[] {
    if (this.preset.area === 'photo') return [{ region: wholePhoto(photo.width, photo.height), faces }]
    return faces.map((face) => {
      const region = faceRegion(photo.width, photo.height, face.landmarks)
      return { region, faces: [face], mask: softMask(region, alignmentOf('arcface112', face.landmarks)) }
    })
  }

  private async attackFor({ region, faces, mask }: Target): Promise<Attack> {
    const shape = { width: region.workWidth, height: region.workHeight, faces: faces.length, grey: false }
    const key = JSON.stringify(shape)
    if (this.compiled?.key !== key) {
      this.compiled?.attack[Symbol.dispose]()
      this.compiled = undefined
      const { surrogates, lpips } = this.networks
      const attack = await Attack.compile(this.gpu, {
        shape,
        surrogates,
        perceptual: lpips,
        preset: this.preset,
        masked: mask !== undefined,
      })
      this.compiled = { key, attack }
    }
    return this.compiled.attack
  }

  /** Puts the area on the device with what stays the same in every step; gives the first change. */
  private async prepare(attack: Attack, photo: Pixels, result: Pixels, target: Target): Promise<Float32Array> {
    const { region, faces, mask } = target
    const alignments = new Set([
      'arcface112' as const,
      ...this.networks.surrogates.map(({ network }) => network.alignment),
    ])
    const clean = workingPlanes(photo, region)
    attack.load({
      clean,
      base: workingPlanes(result, region),
      mask,
      draws: faces.map((_, k) => directionDraw(clean, 1 + k)),
      matrices: new Map(
        [...alignments].map((alignment) => [
          alignment,
          faces.map((face) => samplingMatrix(region, alignmentOf(alignment, face.landmarks))),
        ]),
      ),
    })
    await this.gpu.wait()
    return uniformNoise(1, elements(changeShape(attack.shape)), this.preset.noise)
  }
}

/** A change [3,height,width], faded out by a mask [height,width]. */
function visible(delta: Float32Array, mask: Float32Array | undefined): Float32Array {
  return mask ? delta.map((v, i) => v * mask[i % mask.length]) : delta
}

async function save({ width, height, rgb }: Pixels): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'lowkey-bench-'))
  try {
    const bytes = await encodePhoto({ width, height, rgb, grey: false, format: 'png' }, { format: 'png' })
    await writeFile(join(folder, 'photo.png'), bytes)
  } finally {
    await rm(folder, { recursive: true })
  }
}
