/** How well a network tells people apart whose other photos it knows. */
import { compile, type Gpu, graph, ir, normalize } from 'lowkey-gpu'
import { type Face, SIDE } from './people.ts'
import { architecture, type Weights } from './trainer.ts'

/** Unit embeddings, a row a face, by the network as it is used later: running statistics instead of the batch's. */
async function embed(gpu: Gpu, examples: readonly Face[], weights: Weights): Promise<Float32Array[]> {
  const batch = 16
  const x = graph().input('faces', [batch, 3, SIDE, SIDE])
  using plan = await compile(gpu, {
    embedding: normalize(ir(x, { tensor: (name) => weights.get(name)! }, architecture)),
  })
  const rows: Float32Array[] = []
  const faces = new Float32Array(batch * 3 * SIDE * SIDE)
  for (let from = 0; from < examples.length; from += batch) {
    const part = examples.slice(from, from + batch)
    part.forEach(({ planes }, i) => {
      faces.set(planes, i * 3 * SIDE * SIDE)
    })
    plan.write('faces', faces)
    plan.run()
    const values = await plan.read('embedding')
    const { embedding } = architecture
    part.forEach((_, i) => {
      rows.push(values.slice(i * embedding, (i + 1) * embedding))
    })
  }
  return rows
}

/** Share of the probes whose most similar face in the gallery is of the same person. */
export async function rank1(
  gpu: Gpu,
  gallery: readonly Face[],
  probes: readonly Face[],
  weights: Weights,
): Promise<number> {
  const rows = await embed(gpu, [...gallery, ...probes], weights)
  const cosine = (a: Float32Array, b: Float32Array): number => a.reduce((sum, v, i) => sum + v * b[i], 0)
  const right = probes.filter(({ person }, p) => {
    const cosines = gallery.map((_, i) => cosine(rows[gallery.length + p], rows[i]))
    return gallery[cosines.indexOf(Math.max(...cosines))].person === person
  })
  return right.length / probes.length
}
