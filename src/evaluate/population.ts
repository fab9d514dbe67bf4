/** How the embeddings of many people are spread, in the spaces of several recognisers at once. */
import type { Population } from '../attack/directions.ts'

/**
 * Mean and main components of unit embeddings, found for all recognisers together: every component is one vector in the joined
 * space of all of them, cut into parts, so that one draw of numbers stands for the same change of face everywhere.
 * @param faces unit embeddings of the same faces, in the same order, by recogniser
 * @param count components to keep, at most one fewer than there are faces
 * @throws RangeError where lists differ in length or there are too few faces
 */
export function populationsOf(
  faces: ReadonlyMap<string, readonly Float32Array[]>,
  count: number,
): Map<string, Population> {
  const lists = [...faces]
  const people = lists[0]?.[1].length ?? 0
  if (lists.some(([, list]) => list.length !== people))
    throw new RangeError('populationsOf: every recogniser must have seen the same faces')
  if (people <= count) throw new RangeError(`populationsOf: ${people} faces are too few for ${count} components`)
  const centred = new Map(lists.map(([id, list]) => [id, centre(list)]))
  // The components of n faces in a space of any size follow from the n x n products of the faces with each other.
  const products = new Float64Array(people * people)
  for (const { rows } of centred.values()) {
    for (let a = 0; a < people; a++) {
      for (let b = 0; b <= a; b++) {
        let total = 0
        for (let i = 0; i < rows[a].length; i++) total += rows[a][i] * rows[b][i]
        products[a * people + b] += total
        if (a !== b) products[b * people + a] += total
      }
    }
  }
  const vectors = mainVectors(products, people, count)
  return new Map(
    [...centred].map(([id, { mean, rows }]) => {
      const length = mean.length
      const components = new Float32Array(count * length)
      for (const [k, vector] of vectors.entries()) {
        for (let a = 0; a < people; a++) {
          // Projecting the rows on a unit vector over faces gives a component whose length is sqrt(people) standard deviations.
          const by = vector[a] / Math.sqrt(people)
          for (let i = 0; i < length; i++) components[k * length + i] += by * rows[a][i]
        }
      }
      return [id, { mean: Float32Array.from(mean), components }]
    }),
  )
}

function centre(list: readonly Float32Array[]): { mean: Float64Array; rows: Float64Array[] } {
  const mean = new Float64Array(list[0].length)
  for (const row of list) for (let i = 0; i < mean.length; i++) mean[i] += row[i] / list.length
  return { mean, rows: list.map((row) => Float64Array.from(row, (v, i) => v - mean[i])) }
}

/** Passes of the orthogonal iteration; components that are nearly alike may be mixed, which a draw does not notice. */
const PASSES = 200

/** Unit eigenvectors of the largest eigenvalues of a symmetric matrix [n,n], by orthogonal iteration. */
function mainVectors(matrix: Float64Array, n: number, count: number): Float64Array[] {
  let vectors: Float64Array[] = Array.from({ length: count }, (_, k) =>
    Float64Array.from({ length: n }, (_, i) => Math.sin(1 + i * (k + 1))),
  )
  for (let pass = 0; pass < PASSES; pass++) {
    vectors = orthonormal(
      vectors.map((vector) =>
        Float64Array.from({ length: n }, (_, row) => {
          let total = 0
          for (let i = 0; i < n; i++) total += matrix[row * n + i] * vector[i]
          return total
        }),
      ),
    )
  }
  return vectors
}

/** Gram and Schmidt, each part taken away twice against rounding. */
function orthonormal(vectors: readonly Float64Array[]): Float64Array[] {
  const done: Float64Array[] = []
  for (const vector of vectors) {
    for (const other of [...done, ...done]) {
      const along = vector.reduce((s, v, i) => s + v * other[i], 0)
      for (let i = 0; i < vector.length; i++) vector[i] -= along * other[i]
    }
    const norm = Math.hypot(...vector) || 1
    done.push(vector.map((v) => v / norm))
  }
  return done
}
