/** How well a recogniser tells people apart whose photos nothing was learned from, and how far small changes carry its embeddings. */
import {
  type Accuracy,
  accuracyOf,
  compile,
  type Gpu,
  grad,
  graph,
  type LayerWeights,
  mul,
  normalize,
  type Recogniser,
  sum,
  type Tensor,
  uniformNoise,
} from 'lowkey-gpu'
import { place, plainMaps } from './batches.ts'
import { CANVAS, type Canvases, canvasOf, everyOf } from './crops.ts'
import { changed, climbed, crops } from './trainer.ts'

export interface Judgement extends Accuracy {
  /** By the radius, of 255: mean cosine of a face's embedding with that of the face under attack. */
  underAttack: Record<string, number>
  attackedFaces: number
}

export interface Judged {
  network: Recogniser
  weights: LayerWeights
}

/** An attack has so many steps, of a quarter of the radius each, from a random start. */
const ATTACK_STEPS = 10

/** By canvases whose folders are people. */
export const accuracy = (rows: readonly Float32Array[], { names }: Canvases): Accuracy =>
  accuracyOf(
    rows,
    names.map((name) => name.split('/')[0]),
  )

/** Unit embeddings, a row a face, by the network as it is used later; `batch` faces at once. */
export async function embed(gpu: Gpu, judged: Judged, faces: Canvases, batch: number): Promise<Float32Array[]> {
  const { embedding } = judged.network
  const g = graph()
  const canvases = g.input('canvases', [batch, 3, CANVAS, CANVAS])
  using plan = await compile(gpu, { rows: unitRows(judged, plainCrops(canvases, judged)) })
  const rows: Float32Array[] = []
  for (const some of parts([...faces.names.keys()], batch)) {
    const values = await plan.run({ canvases: planesOf(faces, some, batch) })
    for (const i of some.keys()) rows.push(values.rows.slice(i * embedding, (i + 1) * embedding))
  }
  return rows
}

/**
 * Mean cosine of embeddings with those of the faces changed by up to `radius`, of 255, so that it gets as small as the attack finds; of so
 * many faces, spread over all.
 */
export async function similarityUnderAttack(
  gpu: Gpu,
  judged: Judged,
  faces: Canvases,
  { attacked, batch, radius }: { attacked: number; batch: number; radius: number },
): Promise<number> {
  const most = radius / 255
  const g = graph()
  const canvases = g.fixed('canvases', [batch, 3, CANVAS, CANVAS])
  const x = plainCrops(canvases, judged)
  const change = g.input('change', x.shape)
  const under = changed(x, change)
  const cosines = sum(mul(unitRows(judged, under), unitRows(judged, x)), [1])
  const [gradient] = grad(sum(mul(cosines, -1)), [under])
  using plan = await compile(gpu, { cosines }, { updates: [[change, climbed(change, gradient, most / 4, most)]] })
  const chosen = everyOf([...faces.names.keys()], attacked)
  let total = 0
  for (const [k, some] of parts(chosen, batch).entries()) {
    plan.write('canvases', planesOf(faces, some, batch))
    plan.write('change', uniformNoise(k + 1, batch * 3 * judged.network.size ** 2, most))
    for (let step = 0; step <= ATTACK_STEPS; step++) plan.run()
    const values = await plan.read('cosines')
    for (const cosine of values.subarray(0, some.length)) total += cosine
  }
  return total / chosen.length
}

const unitRows = ({ network, weights }: Judged, x: Tensor): Tensor => normalize(network.build(x, weights))

/** Faces as a recogniser is given them, nothing varied. */
function plainCrops(canvases: Tensor, { network }: Judged): Tensor {
  const [batch] = canvases.shape
  return crops(canvases, canvases.recorder.constant(plainMaps(network.alignment, batch), [batch, 6]), network)
}

/** Canvases of some faces, [batch,3,128,128] in 0..1; black where there are fewer. */
function planesOf(faces: Canvases, some: readonly number[], batch: number): Float32Array {
  const planes = new Float32Array(batch * 3 * CANVAS * CANVAS)
  for (const [i, photo] of some.entries()) place(canvasOf(faces, photo), planes, i)
  return planes
}

const parts = (faces: readonly number[], size: number): number[][] =>
  Array.from({ length: Math.ceil(faces.length / size) }, (_, i) => faces.slice(i * size, (i + 1) * size))
