/**
 * Photos of one person are protected as a set: each further one is driven away from the earlier ones as they were protected, too, or they
 * would match each other. What is known of earlier photos are the embeddings of their faces before and after, in memory alone: those of a clean
 * face are a biometric template.
 */

import { similarityOf } from '../models/recognisers.ts'
import { directionDraw, directionDraws, directionOf, fromMean } from './directions.ts'
import type { FaceEmbeddings } from './embedder.ts'
import { isCentred, isDirected, type Surrogate } from './objective.ts'
import type { Preset } from './presets.ts'

/** A face that was protected. */
export interface EarlierFace {
  /** What its photo is called. */
  photo: string
  /** Its unit embeddings, as it was and in the result, at the same landmarks; at least of every recogniser that is attacked. */
  clean: FaceEmbeddings
  result: FaceEmbeddings
}

/** How many earlier faces the objective has at once, the nearest. */
export const SLOTS = 8

/**
 * Directions from which the farthest is taken. Its greatest cosine to two earlier ones is -.22 in the mean of three recognisers, of which two
 * decide; of 16 draws -.12, of one .09. To eight it is .06, .09 and .30.
 */
const DRAWS = 256

/**
 * Faces that were protected, in their order. Hand one to `Protector.protect` with each of several photos: it takes from it what the person's
 * later photos are to be unlike, and adds the photo's own faces.
 */
export class ProtectedFaces {
  private readonly faces: EarlierFace[] = []

  get size(): number {
    return this.faces.length
  }

  /** The very same face, protected anew, takes the place of its former result. */
  add(...faces: readonly EarlierFace[]): void {
    for (const face of faces) {
      const former = this.faces.findIndex(({ clean }) => isSameFace(clean, face.clean))
      if (former < 0) this.faces.push(face)
      else this.faces[former] = face
    }
  }

  /**
   * Earlier faces of the same person: at least half of the recognisers accept the two as they were. Where the very same face was protected before, only
   * those before it, so that a copy of a photo comes to the same result.
   * @param also further ones that come after all of these
   */
  ofPerson(clean: FaceEmbeddings, recognisers: readonly Surrogate[], also: readonly EarlierFace[] = []): EarlierFace[] {
    const copy = this.faces.findIndex((face) => isSameFace(face.clean, clean))
    const before = copy < 0 ? [...this.faces, ...also] : this.faces.slice(0, copy)
    return before.filter((face) => 2 * accepting(face.clean, clean, recognisers).length >= recognisers.length)
  }
}

/** Bit for bit the same in every recogniser that knows both. */
const isSameFace = (a: FaceEmbeddings, b: FaceEmbeddings): boolean =>
  [...a].every(([id, values]) => b.get(id)?.every((value, i) => value === values[i]) ?? true)

/** Ids of the recognisers that take two faces for one person's. */
export const accepting = (a: FaceEmbeddings, b: FaceEmbeddings, recognisers: readonly Surrogate[]): string[] =>
  recognisers
    .filter(({ network: { id, threshold } }) => similarityOf(a.get(id)!, b.get(id)!) >= threshold)
    .map(({ network }) => network.id)

/** Of the earlier faces those whose results are most like a face, as far as there are slots. */
export function nearest(
  earlier: readonly EarlierFace[],
  face: FaceEmbeddings,
  recognisers: readonly Surrogate[],
): FaceEmbeddings[] {
  // Thresholds differ, so likeness is measured in parts of the way from the threshold to 1.
  const likeness = ({ result }: EarlierFace) =>
    Math.max(
      ...recognisers.map(({ network: { id, threshold } }) => {
        return (similarityOf(result.get(id)!, face.get(id)!) - threshold) / (1 - threshold)
      }),
    )
  return earlier
    .map((each) => ({ result: each.result, like: likeness(each) }))
    .sort((a, b) => b.like - a.like)
    .slice(0, SLOTS)
    .map(({ result }) => result)
}

/**
 * The draw of a photo's direction, of several the one that is farthest from the earlier results of the same person: their greatest mean cosine
 * over the recognisers is least. Without earlier ones the photo's first, `directionDraw`.
 */
export function farthestDraw(
  clean: Float32Array,
  seed: number,
  earlier: readonly EarlierFace[],
  surrogates: readonly Surrogate[],
  preset: Preset,
): Float32Array {
  const directed = surrogates.filter((surrogate) => isDirected([surrogate], preset))
  if (earlier.length === 0 || directed.length === 0) return directionDraw(clean, seed)
  const spaces = directed.map((surrogate) => {
    const { network, population } = surrogate
    const centred = isCentred([surrogate], preset)
    const used = earlier.map(({ result }) => {
      const features = result.get(network.id)!
      return centred ? fromMean(population!, features) : features
    })
    return { used, direction: (draw: Float32Array) => directionOf(population!, draw, centred) }
  })
  const nearness = (draw: Float32Array): number => {
    const cosines = spaces.map(({ used, direction }) => {
      const unit = direction(draw)
      return used.map((features) => similarityOf(unit, features))
    })
    return Math.max(...earlier.map((_, k) => cosines.reduce((total, row) => total + row[k], 0) / cosines.length))
  }
  const draws = directionDraws(clean, seed, DRAWS)
  const near = draws.map(nearness)
  return draws[near.indexOf(Math.min(...near))]
}
