/** Embeddings of aligned faces, as a face recognition service would compute them: one crop, no mirror image. */
import type { Gpu } from '../device/gpu.ts'
import { alignmentOf, type Landmarks } from '../faces/alignment.ts'
import { cropFace } from '../faces/crop.ts'
import { compile, graph, type Plan } from '../graph/index.ts'
import { PlanCache } from '../graph/plan-cache.ts'
import { normalize } from '../kernels/index.ts'
import type { Pixels } from '../pixels/pixels.ts'
import type { Surrogate } from './objective.ts'

/** A face to embed, and the photo it is in. */
export interface PhotoFace {
  photo: Pixels
  landmarks: Landmarks
}

/** Unit embeddings of one face, by recogniser. */
export type FaceEmbeddings = Map<string, Float32Array>

/**
 * Faces that a network takes in one run where there are more than half as many; else it takes one after another. Eight cost a software
 * adapter 0.5 to 0.8 of eight runs (dlib, the others), and a second plan holds the weights a second time.
 */
const BATCH = 8

export class Embedder implements Disposable {
  private readonly gpu: Gpu
  private readonly recognisers: readonly Surrogate[]
  /** Compiled plans by recogniser and batch; that of a whole batch is compiled when it is first needed. */
  private readonly plans = new PlanCache()

  /** Networks are compiled when they are first needed. */
  constructor(gpu: Gpu, recognisers: readonly Surrogate[]) {
    this.gpu = gpu
    this.recognisers = recognisers
  }

  /** Compiles a network each. */
  static async compile(gpu: Gpu, recognisers: readonly Surrogate[]): Promise<Embedder> {
    const embedder = new Embedder(gpu, recognisers)
    await Promise.all(recognisers.map((recogniser) => embedder.planFor(recogniser, 1)))
    return embedder
  }

  /** Compiles what embeds one face, in the background. What fails does so again when it is needed. */
  async prepare(): Promise<void> {
    await Promise.allSettled(this.recognisers.map((recogniser) => this.planFor(recogniser, 1, true)))
  }

  /** Unit embeddings of one face, by recogniser. Throws FaceGeometryError for landmarks that give no crop. */
  async embed(photo: Pixels, landmarks: Landmarks): Promise<FaceEmbeddings> {
    const [embeddings] = await this.embedFaces([{ photo, landmarks }])
    return embeddings
  }

  /** Unit embeddings of several faces of a photo, in their order; otherwise as `embed`. */
  embedAll(photo: Pixels, landmarks: readonly Landmarks[]): Promise<FaceEmbeddings[]> {
    return this.embedFaces(landmarks.map((points) => ({ photo, landmarks: points })))
  }

  /**
   * Unit embeddings of faces of any photos, in their order. All networks are started before the first result is waited for. The
   * embeddings of a face are the same whatever comes with it, but for the rounding of float32 (a batch may take other kernels).
   * The crops of all are in memory at once, 0.4 MB a face. Throws FaceGeometryError where the landmarks of one give no crop.
   */
  async embedFaces(faces: readonly PhotoFace[]): Promise<FaceEmbeddings[]> {
    const batches = batchesOf(faces.length)
    const plans = await Promise.all(
      this.recognisers.map((recogniser) => Promise.all(batches.map(({ size }) => this.planFor(recogniser, size)))),
    )
    // All crops first: landmarks that give none are found out before anything runs.
    const crops = batches.map(({ from, to, size }) => this.cropsOf(faces.slice(from, to), size))
    const embeddings = faces.map((): FaceEmbeddings => new Map())
    const reads: Promise<void>[] = []
    for (const [index, { from, to }] of batches.entries()) {
      for (const [k, { network }] of this.recognisers.entries()) {
        const plan = plans[k][index]
        // No wait between these three: calls that overlap share the plan.
        plan.write('crops', crops[index][k])
        plan.run()
        const read = plan.read('embedding').then((values) => {
          for (let i = from; i < to; i++) {
            const at = (i - from) * network.embedding
            embeddings[i].set(network.id, values.slice(at, at + network.embedding))
          }
        })
        reads.push(read)
      }
    }
    await Promise.all(reads)
    return embeddings
  }

  [Symbol.dispose](): void {
    this.plans.clear()
  }

  /** For each recogniser [size,3,side,side] in 0..1, black where there are fewer faces; one array for all that see the same crop. */
  private cropsOf(faces: readonly PhotoFace[], size: number): Float32Array[] {
    const made = new Map<string, Float32Array>()
    return this.recognisers.map(({ network: { alignment, size: side } }) => {
      const key = `${alignment} ${side}`
      const known = made.get(key)
      if (known) return known
      const elements = 3 * side * side
      const crops = new Float32Array(size * elements)
      for (const [i, { photo, landmarks }] of faces.entries()) {
        crops.set(cropFace(photo, alignmentOf(alignment, landmarks), side), i * elements)
      }
      made.set(key, crops)
      return crops
    })
  }

  private planFor({ network, weights }: Surrogate, size: number, background = false): Promise<Plan> {
    return this.plans.get(`${network.id} ${size}`, () => {
      const g = graph()
      const crops = g.input('crops', [size, 3, network.size, network.size])
      const embedding = g.scope(network.id, () => normalize(network.build(crops, weights)))
      return compile(this.gpu, { embedding }, { background })
    })
  }
}

/** Consecutive faces `from` to `to` (not included) that go into one run of `size`. */
function batchesOf(count: number): { from: number; to: number; size: number }[] {
  const batches: { from: number; to: number; size: number }[] = []
  for (let from = 0; from < count; ) {
    const size = count - from > BATCH / 2 ? BATCH : 1
    const to = Math.min(count, from + size)
    batches.push({ from, to, size })
    from = to
  }
  return batches
}
