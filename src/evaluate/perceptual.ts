/** LPIPS of a protected photo as a person sees it: half its faces, half the photo. */
import type { Perceptual } from '../attack/objective.ts'
import { resamplePlanes } from '../attack/resample.ts'
import type { Gpu } from '../device/gpu.ts'
import { align112, type Landmarks } from '../faces/alignment.ts'
import { cropFace } from '../faces/crop.ts'
import { compile, graph, type Plan } from '../graph/index.ts'
import { PlanCache } from '../graph/plan-cache.ts'
import { add, sum } from '../kernels/index.ts'
import { lpipsDistances, lpipsTaps } from '../models/lpips.ts'
import type { Pixels } from '../pixels/pixels.ts'

/** Photos with a longer side, in pixels, are reduced to it: nobody sees single pixels of larger ones. */
const LONGEST_SIDE = 1024

/** Compiled sizes that are kept: photos of a set are of few sizes. */
const KEPT_SIZES = 4

const CROP = 112

export class LpipsMeter implements Disposable {
  private readonly gpu: Gpu
  private readonly perceptual: Perceptual
  private readonly plans = new PlanCache(KEPT_SIZES)

  constructor(gpu: Gpu, perceptual: Perceptual) {
    this.gpu = gpu
    this.perceptual = perceptual
  }

  /**
   * Half the mean distance of the aligned faces (112x112, where they are in the first photo) and half the distance of the photos,
   * which are reduced to 1024 pixels a side first.
   * @param faces one at least
   * @throws ShapeError for photos of different sizes, or under 31 pixels a side
   */
  async distance(before: Pixels, after: Pixels, faces: readonly Landmarks[]): Promise<number> {
    let crops = 0
    for (const landmarks of faces) {
      const map = align112(landmarks)
      crops += await this.of(cropFace(before, map, CROP), cropFace(after, map, CROP), CROP, CROP)
    }
    const fit = Math.min(1, LONGEST_SIDE / Math.max(before.width, before.height))
    const size = [Math.round(before.width * fit), Math.round(before.height * fit)] as const
    const planes = [before, after].map((photo) => resamplePlanes(planesOf(photo), 3, [photo.width, photo.height], size))
    return (crops / faces.length + (await this.of(planes[0], planes[1], ...size))) / 2
  }

  /** LPIPS of planes [3,height,width] in 0..1. */
  private async of(a: Float32Array, b: Float32Array, width: number, height: number): Promise<number> {
    const plan = await this.plans.get(`${width}x${height}`, () => this.compile(width, height))
    plan.write('a', a)
    plan.write('b', b)
    plan.run()
    return (await plan.read('distance'))[0]
  }

  private compile(width: number, height: number): Promise<Plan> {
    const { weights, trunk } = this.perceptual
    const g = graph()
    const [a, b] = ['a', 'b'].map((name) => lpipsTaps(g.input(name, [1, 3, height, width]), weights, trunk))
    const distance = lpipsDistances(a, b, weights)
      .map((layer) => sum(layer))
      .reduce(add)
    return compile(this.gpu, { distance })
  }

  [Symbol.dispose](): void {
    this.plans.clear()
  }
}

/** [3,height,width] in 0..1. */
function planesOf({ width, height, rgb }: Pixels): Float32Array {
  const size = width * height
  const planes = new Float32Array(3 * size)
  for (let i = 0; i < size; i++) {
    for (let channel = 0; channel < 3; channel++) planes[channel * size + i] = rgb[3 * i + channel] / 255
  }
  return planes
}
