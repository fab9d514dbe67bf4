/** How the embeddings of many people are spread, in the spaces of several recognisers at once. */
import { normalNoise, type Population } from '../attack/directions.ts'
import type { EmbeddedFaces } from './accuracy.ts'

/** Unit embeddings of the same faces, in the same order, by recogniser. */
export type FacesByRecogniser = ReadonlyMap<string, readonly Float32Array[]>

/** Passes of the iteration. More turn the components among themselves, which a draw from all of them does not notice. */
const PASSES = 40

/**
 * Mean and main components of unit embeddings, found for all recognisers together: every component is one vector in the joined
 * space of all of them, cut into parts, so that one draw of numbers stands for the same change of face everywhere. Each recogniser
 * has the same say in them, however closely its embeddings lie together.
 * @param count components to keep, fewer than there are faces
 * @throws RangeError where lists differ in length or there are too few faces
 */
export function populationsOf(faces: FacesByRecogniser, count: number): Map<string, Population> {
  const spaces = [...faces].map(([id, list]) => ({ id, ...spread(list) }))
  const people = spaces[0]?.rows.length ?? 0
  if (spaces.some(({ rows }) => rows.length !== people))
    throw new RangeError('populationsOf: every recogniser must have seen the same faces')
  if (people <= count) throw new RangeError(`populationsOf: ${people} faces are too few for ${count} components`)

  const joined = Array.from({ length: people }, (_, face) =>
    Float64Array.from(spaces.flatMap(({ rows, deviation }) => Array.from(rows[face], (v) => v / (deviation || 1)))),
  )
  // Orthogonal iteration over faces: of weights of the faces to directions in the joined space, and back.
  let weights: Float64Array[] = Array.from({ length: count }, (_, k) => Float64Array.from(normalNoise(k, people)))
  for (let pass = 0; pass < PASSES; pass++) {
    const directions = orthonormal(weights).map((weight) => combined(joined, weight))
    weights = directions.map((direction) => Float64Array.from(joined, (row) => dot(row, direction)))
  }
  // Faces combined by unit weights give sqrt(people) standard deviations.
  const shares = orthonormal(weights).map((weight) => weight.map((v) => v / Math.sqrt(people)))
  return new Map(
    spaces.map(({ id, mean, rows }): [string, Population] => {
      const components = new Float32Array(count * mean.length)
      for (const [k, share] of shares.entries()) components.set(combined(rows, share), k * mean.length)
      return [id, { mean: Float32Array.from(mean), components }]
    }),
  )
}

/** Mean of vectors, what they differ by from it, and how far they lie from it (root of the mean square). */
function spread(list: readonly Float32Array[]) {
  const vectors = list.map((vector) => Float64Array.from(vector))
  const mean = combined(vectors, new Float64Array(list.length).fill(1 / list.length))
  const rows = vectors.map((row) => row.map((v, i) => v - mean[i]))
  const deviation = Math.sqrt(rows.reduce((sum, row) => sum + dot(row, row), 0) / list.length)
  return { mean, rows, deviation }
}

/** The sum of vectors, each by its weight. */
function combined(vectors: readonly Float64Array[], weights: Float64Array): Float64Array {
  const total = new Float64Array(vectors[0]?.length ?? 0)
  for (let k = 0; k < vectors.length; k++) {
    const [vector, weight] = [vectors[k], weights[k]]
    for (let i = 0; i < total.length; i++) total[i] += weight * vector[i]
  }
  return total
}

function dot(a: Float64Array, b: Float64Array): number {
  let total = 0
  for (let i = 0; i < a.length; i++) total += a[i] * b[i]
  return total
}

const length = (vector: Float64Array): number => Math.sqrt(dot(vector, vector))

/** Less of a vector than this is rounding. */
const ROUNDING = 1e-9

/** Gram and Schmidt, each part taken away twice against rounding. Changes the vectors; of one that depends on others zeros remain. */
function orthonormal(vectors: readonly Float64Array[]): Float64Array[] {
  const done: Float64Array[] = []
  for (const vector of vectors) {
    const before = length(vector)
    for (const other of [...done, ...done]) {
      const along = dot(vector, other)
      for (let i = 0; i < vector.length; i++) vector[i] -= along * other[i]
    }
    const norm = length(vector)
    done.push(norm > ROUNDING * before ? vector.map((v) => v / norm) : new Float64Array(vector.length))
  }
  return done
}

/** One unit embedding a person, by recogniser: the direction of the mean over their photos. */
export function averagedByPerson({
  people,
  embeddings,
}: Pick<EmbeddedFaces, 'people' | 'embeddings'>): FacesByRecogniser {
  const averaged = (list: readonly Float32Array[]): Float32Array[] => {
    const totals = new Map<string, Float64Array>()
    for (const [photo, person] of people.entries()) {
      const total = totals.get(person)
      if (total) for (let i = 0; i < total.length; i++) total[i] += list[photo][i]
      else totals.set(person, Float64Array.from(list[photo]))
    }
    return Array.from(totals.values(), unit)
  }
  return new Map([...embeddings].map(([id, list]) => [id, averaged(list)]))
}

const unit = (vector: Float64Array): Float32Array => {
  const norm = length(vector) || 1
  return Float32Array.from(vector, (v) => v / norm)
}
