/** Embeddings of aligned faces, as a face recognition service would compute them: one crop, no mirror image. */
import type { Gpu } from '../device/gpu.ts'
import type { Landmarks } from '../faces/alignment.ts'
import { cropFace } from '../faces/crop.ts'
import type { Pixels } from '../faces/pixels.ts'
import { compile, graph, type Plan } from '../graph/index.ts'
import { normalize } from '../kernels/index.ts'
import type { Surrogate } from './objective.ts'
import { alignmentOf } from './region.ts'

export class Embedder implements Disposable {
  private readonly plans: readonly (Surrogate & { plan: Plan })[]

  private constructor(plans: readonly (Surrogate & { plan: Plan })[]) {
    this.plans = plans
  }

  /** Compiles a network each. */
  static async compile(gpu: Gpu, recognisers: readonly Surrogate[]): Promise<Embedder> {
    const plans = recognisers.map(async ({ network, weights }) => {
      const g = graph()
      const crop = g.input('crop', [1, 3, network.size, network.size])
      const embedding = g.scope(network.id, () => normalize(network.build(crop, weights)))
      return { network, weights, plan: await compile(gpu, { embedding }) }
    })
    return new Embedder(await Promise.all(plans))
  }

  /** Unit embeddings of one face, by recogniser. Throws FaceGeometryError for landmarks that give no crop. */
  async embed(photo: Pixels, landmarks: Landmarks): Promise<Map<string, Float32Array>> {
    const embeddings = new Map<string, Float32Array>()
    for (const { network, plan } of this.plans) {
      plan.write('crop', cropFace(photo, alignmentOf(network.alignment, landmarks), network.size))
      plan.run()
      embeddings.set(network.id, await plan.read('embedding'))
    }
    return embeddings
  }

  [Symbol.dispose](): void {
    for (const { plan } of this.plans) plan.destroy()
  }
}

/** Cosine similarity of two unit embeddings, -1..1. */
export function similarityOf(a: Float32Array, b: Float32Array): number {
  let total = 0
  for (let i = 0; i < a.length; i++) total += a[i] * b[i]
  return Math.min(1, Math.max(-1, total))
}
