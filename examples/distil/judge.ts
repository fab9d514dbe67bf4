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
  uniformNoise,
} from 'lowkey-gpu'
import { place, plainMaps } from './batches.ts'
import { CANVAS, type Canvases, canvasOf } from './crops.ts'
import { changed, climbed, crops } from './trainer.ts'

export interface Judgement {
  /** Part of the faces whose most similar other one is the same person's. */
  rank1: number
  equalErrorRate: number
  /** One false match in a thousand, and the part of true ones there. */
  threshold: number
  trueMatchRate: number
  pairs: { genuine: number; impostor: number }
  /** By the radius, of 255: mean cosine of a face's embedding with that of the face under attack. */
  underAttack: Record<string, number>
  attackedFaces: number
}

const BATCH = 8
/** An attack has so many steps, of a quarter of the radius each, from a random start. */
const ATTACK_STEPS = 10
/** Faces that are attacked, spread over all. */
const ATTACKED = 32

export interface Judged {
  network: Recogniser
  weights: LayerWeights
}

/** Folders are people. */
export async function judge(gpu: Gpu, judged: Judged, faces: Canvases, radii: readonly number[]): Promise<Judgement> {
  const rows = await embed(gpu, judged, faces)
  const people = faces.names.map((name) => name.split('/')[0])
  const { rank1, equalErrorRate, threshold, trueMatchRate, genuinePairs, impostorPairs }: Accuracy = accuracyOf(
    rows,
    people,
  )
  const count = Math.min(ATTACKED, faces.names.length)
  const attacked = Array.from({ length: count }, (_, i) => Math.floor((i * faces.names.length) / count))
  const underAttack: Record<string, number> = {}
  for (const radius of radii)
    underAttack[radius] = await similarityUnderAttack(gpu, judged, faces, attacked, radius / 255)
  return {
    rank1,
    equalErrorRate,
    threshold,
    trueMatchRate,
    pairs: { genuine: genuinePairs, impostor: impostorPairs },
    underAttack,
    attackedFaces: count,
  }
}

/** Canvases of some faces, [8,3,128,128] in 0..1; black where there are fewer. */
function planesOf(faces: Canvases, some: readonly number[]): Float32Array {
  const planes = new Float32Array(BATCH * 3 * CANVAS * CANVAS)
  some.forEach((photo, i) => {
    place(canvasOf(faces, photo), planes, i)
  })
  return planes
}

/** Unit embeddings, a row a face, by the network as it is used later. */
async function embed(gpu: Gpu, { network, weights }: Judged, faces: Canvases): Promise<Float32Array[]> {
  const g = graph()
  const canvases = g.input('canvases', [BATCH, 3, CANVAS, CANVAS])
  const maps = g.constant(plainMaps(network.alignment, BATCH), [BATCH, 6])
  using plan = await compile(gpu, { rows: normalize(network.build(crops(canvases, maps, network), weights)) })
  const rows: Float32Array[] = []
  for (const some of batches([...faces.names.keys()])) {
    const { rows: values } = await plan.run({ canvases: planesOf(faces, some) })
    some.forEach((_, i) => {
      rows.push(values.slice(i * network.embedding, (i + 1) * network.embedding))
    })
  }
  return rows
}

/** Mean cosine of embeddings with those of the faces changed by up to `radius`, of 1, so that it gets as small as the attack finds. */
async function similarityUnderAttack(
  gpu: Gpu,
  { network, weights }: Judged,
  faces: Canvases,
  attacked: readonly number[],
  radius: number,
): Promise<number> {
  const g = graph()
  const canvases = g.fixed('canvases', [BATCH, 3, CANVAS, CANVAS])
  const maps = g.constant(plainMaps(network.alignment, BATCH), [BATCH, 6])
  const x = crops(canvases, maps, network)
  const change = g.input('change', x.shape)
  const under = changed(x, change)
  const cosines = sum(mul(normalize(network.build(under, weights)), normalize(network.build(x, weights))), [1])
  const [gradient] = grad(sum(mul(cosines, -1)), [under])
  const updates: [typeof change, ReturnType<typeof climbed>][] = [
    [change, climbed(change, gradient, radius / 4, radius)],
  ]
  using plan = await compile(gpu, { cosines }, { updates })
  let total = 0
  for (const [k, some] of batches(attacked).entries()) {
    plan.write('canvases', planesOf(faces, some))
    plan.write(
      'change',
      uniformNoise(
        k + 1,
        x.shape.reduce((a, b) => a * b),
        radius,
      ),
    )
    for (let step = 0; step <= ATTACK_STEPS; step++) plan.run()
    const values = await plan.read('cosines')
    for (const cosine of values.subarray(0, some.length)) total += cosine
  }
  return total / attacked.length
}

const batches = (faces: readonly number[]): number[][] =>
  Array.from({ length: Math.ceil(faces.length / BATCH) }, (_, i) => faces.slice(i * BATCH, (i + 1) * BATCH))
