/** How well recognisers tell people apart, on photos of people whose names are known. */
import type { Embedder } from '../attack/embedder.ts'
import { FaceGeometryError } from '../faces/alignment.ts'
import { findFaces } from '../faces/find.ts'
import { detectFaces, type Face, type MtcnnNetworks } from '../faces/mtcnn.ts'
import { similarityOf } from '../models/recognisers.ts'
import type { Pixels } from '../pixels/pixels.ts'

/** A photo in which the face nearest to the centre is the person's. */
export interface LabelledPhoto {
  person: string
  photo: Pixels
}

/** The faces of photos as recognisers see them: who is on the k-th, and its unit embedding by recogniser. */
export interface EmbeddedFaces {
  people: string[]
  embeddings: Map<string, Float32Array[]>
  /** Photos in which no face was found. */
  withoutFace: number
}

/** Finds the face of each photo and embeds it, one crop without mirror image. */
export async function embedFaces(
  detector: MtcnnNetworks,
  embedder: Embedder,
  photos: AsyncIterable<LabelledPhoto>,
): Promise<EmbeddedFaces> {
  const found: EmbeddedFaces = { people: [], embeddings: new Map(), withoutFace: 0 }
  for await (const { person, photo } of photos) {
    const embeddings = await embedCentral(detector, embedder, photo)
    if (!embeddings) {
      found.withoutFace++
      continue
    }
    found.people.push(person)
    for (const [id, embedding] of embeddings) {
      const list = found.embeddings.get(id)
      if (list) list.push(embedding)
      else found.embeddings.set(id, [embedding])
    }
  }
  return found
}

/** The face nearest to the centre of a photo; undefined for no faces. */
export function centralFace(faces: readonly Face[], { width, height }: Pick<Pixels, 'width' | 'height'>) {
  const offCentre = ({ box: [x1, y1, x2, y2] }: Face) => Math.hypot((x1 + x2 - width) / 2, (y1 + y2 - height) / 2)
  return faces.reduce<Face | undefined>((a, b) => (a && offCentre(a) <= offCentre(b) ? a : b), undefined)
}

async function embedCentral(detector: MtcnnNetworks, embedder: Embedder, photo: Pixels) {
  const upright = await detectFaces(detector, photo)
  // The other orientations take three times as long, and most photos need none.
  const faces = upright.length > 0 ? upright : (await findFaces({ mtcnn: detector }, photo)).faces
  const face = centralFace(faces, photo)
  if (!face) return undefined
  try {
    return await embedder.embed(photo, face.landmarks)
  } catch (error) {
    if (error instanceof FaceGeometryError) return undefined
    throw error
  }
}

/** Parts are of one. */
export interface Accuracy {
  faces: number
  people: number
  /** Part of the faces whose most similar other face is the same person's; only people with several faces are looked for. */
  rank1: number
  /** Where as many pairs of one person are missed as pairs of two are taken for one. */
  equalErrorRate: number
  /** Least cosine that at most one in a thousand pairs of different people reaches, and the part of pairs of one person that do. */
  threshold: number
  trueMatchRate: number
  /** Pairs of one person, and of two. */
  genuinePairs: number
  impostorPairs: number
}

/** Pairs of different people that may reach the threshold. */
const FALSE_MATCHES = 1e-3

/**
 * Leave-one-out identification and verification: every face against all others.
 * @param embeddings unit vectors, one a face
 * @param people who is on the k-th face
 * @throws RangeError where there are no two faces of one person, or no two people
 */
export function accuracyOf(embeddings: readonly Float32Array[], people: readonly string[]): Accuracy {
  const count = embeddings.length
  if (people.length !== count) throw new RangeError(`accuracyOf: ${count} embeddings of ${people.length} faces`)
  const nearest = Array.from({ length: count }, () => ({ similarity: Number.NEGATIVE_INFINITY, person: '' }))
  const genuine: number[] = []
  const impostor: number[] = []
  for (let a = 0; a < count; a++) {
    for (let b = 0; b < a; b++) {
      const similarity = similarityOf(embeddings[a], embeddings[b])
      ;(people[a] === people[b] ? genuine : impostor).push(similarity)
      if (similarity > nearest[a].similarity) nearest[a] = { similarity, person: people[b] }
      if (similarity > nearest[b].similarity) nearest[b] = { similarity, person: people[a] }
    }
  }
  if (genuine.length === 0 || impostor.length === 0) {
    throw new RangeError(`accuracyOf: ${count} faces are too few: it takes two of one person, and another person's`)
  }
  const facesOf = new Map<string, number>()
  for (const person of people) facesOf.set(person, (facesOf.get(person) ?? 0) + 1)
  const probes = people.flatMap((person, k) => (facesOf.get(person)! > 1 ? [k] : []))
  const right = probes.filter((k) => nearest[k].person === people[k]).length
  const rising = (a: number, b: number) => a - b
  genuine.sort(rising)
  impostor.sort(rising)
  const threshold = strictThreshold(impostor)
  return {
    faces: count,
    people: facesOf.size,
    rank1: right / probes.length,
    equalErrorRate: equalErrorRate(genuine, impostor),
    threshold,
    trueMatchRate: 1 - below(genuine, threshold) / genuine.length,
    genuinePairs: genuine.length,
    impostorPairs: impostor.length,
  }
}

/** How many of the sorted values are below a limit. */
function below(values: readonly number[], limit: number): number {
  let low = 0
  let high = values.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (values[middle] < limit) low = middle + 1
    else high = middle
  }
  return low
}

/**
 * The least cosine that at most one in a thousand pairs of different people reaches: just above the highest value that too many reach.
 * @param impostor their cosines in rising order, one at least
 */
export function strictThreshold(impostor: ArrayLike<number>): number {
  const allowed = Math.floor(FALSE_MATCHES * impostor.length)
  const first = impostor[impostor.length - 1 - allowed]
  return Math.min(1, first + 1e-6)
}

/** Both errors at every cosine that occurs; the mean of the two where they are closest. */
function equalErrorRate(genuine: readonly number[], impostor: readonly number[]): number {
  let best = { gap: Number.POSITIVE_INFINITY, rate: 1 }
  for (const limit of [...genuine, ...impostor]) {
    const missed = below(genuine, limit) / genuine.length
    const taken = 1 - below(impostor, limit) / impostor.length
    const gap = Math.abs(missed - taken)
    if (gap < best.gap) best = { gap, rate: (missed + taken) / 2 }
  }
  return best.rate
}
