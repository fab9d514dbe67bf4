/** Whether recognisers still take a protected photo's faces for the same person: one pair of photos, or one photo and many. */
import type { Embedder, FaceEmbeddings } from '../attack/embedder.ts'
import { FaceGeometryError, type Landmarks } from '../faces/alignment.ts'
import { type FaceNetworks, type FoundFaces, findFaces } from '../faces/find.ts'
import type { Face } from '../faces/mtcnn.ts'
import { mostOverlapping } from '../faces/overlap.ts'
import { similarityOf } from '../models/recognisers.ts'
import type { Pixels } from '../pixels/pixels.ts'
import { changeOf, type FaceChange, inPlace } from './face-change.ts'
import { likeness, thumbnailOf } from './likeness.ts'

/** A recogniser that judges. Held-out ones were not attacked when the photo was protected: they say more about others that were not. */
export interface Judge {
  id: string
  heldOut: boolean
  /** Cosine similarity at and above which it takes two faces for the same person. */
  threshold: number
}

export interface CheckNetworks {
  detector: FaceNetworks
  /** Of all judges. */
  embedder: Embedder
  /** Reports keep their order. */
  judges: readonly Judge[]
}

/** What a judge says of two faces. */
export interface PairVerdict extends Judge {
  /** Cosine, -1..1. */
  similarity: number
  matches: boolean
}

export interface PairFace {
  /** x1, y1, x2, y2 in the photo before. */
  box: Face['box']
  /** Its box in the photo after; null where no face was found for it. */
  boxAfter: Face['box'] | null
  /**
   * How its counterpart was found: the same picture at its place, or the face most similar to it anywhere. `old-place` where there is none
   * and the picture is still there: what recognisers say of the place is reported, and it is no verdict, for they were shown no face.
   * Null where there was nothing to compare.
   */
  matchedBy: 'overlap' | 'similarity' | 'old-place' | null
  /** One a judge; none where `matchedBy` is null. */
  verdicts: readonly PairVerdict[]
  /** Some judge takes both for the same person. */
  matches: boolean
  /** The landmarks of both are certain (`FoundFace`). */
  sure: boolean
  /** What was done to the face between the photos, where they are one picture; null where they are not, or it was not found. */
  change: FaceChange | null
}

export interface PairCheck {
  /** The faces before, best first; none where none is found. */
  faces: readonly PairFace[]
  /** Faces after that belong to none before. */
  unmatchedAfter: number
  /** What was looked for, and what may be a face, in both photos. */
  before: FoundFaces
  after: FoundFaces
}

/** What a judge says of a face and the photos of a folder. Of a photo with several faces the most similar counts. */
export interface FolderVerdict extends Judge {
  best: number
  mean: number
  /** File of the most similar photo. */
  nearest: string
  /** Photos that it takes for the same person's. */
  matching: number
  matches: boolean
}

export interface FolderFace {
  box: Face['box']
  verdicts: readonly FolderVerdict[]
  matches: boolean
}

export interface FolderCheck {
  /** The faces of the photo, best first; none where none is found. */
  faces: readonly FolderFace[]
  /** Photos of the folder with a face, and those without, which count for nothing. */
  photos: number
  withoutFace: readonly string[]
  /** What was looked for in the photo. */
  found: FoundFaces
}

/** Correlation of two places from which they are the same picture. */
const SAME_PLACE = 0.8

/**
 * Compares the faces of a photo before and after protection, wherever they are: first with the face at the same place (in photos of one
 * shape) if the picture there is the same, then, pair after pair, with the face most similar by the mean of all judges. A face that is
 * left over while no face after is, is measured at its old place if the picture there is still the same.
 * Throws FaceGeometryError for landmarks that give no crop.
 */
export async function checkPair(networks: CheckNetworks, before: Pixels, after: Pixels): Promise<PairCheck> {
  const { detector, embedder, judges } = networks
  const foundBefore = await findFaces(detector, before)
  const foundAfter = await findFaces(detector, after)
  const [faces, others] = [foundBefore.faces, foundAfter.faces]
  const looked = { before: foundBefore, after: foundAfter }
  if (faces.length === 0) return { faces: [], unmatchedAfter: others.length, ...looked }
  const [seen, seenAfter] = [await embeddingsOf(embedder, before, faces), await embeddingsOf(embedder, after, others)]
  const scale = sameShape(before, after)
  const thumbnails = faces.map(({ landmarks }) => thumbnailOf(before, landmarks))
  // Landmarks of faces whose place shows the same picture as before, by face.
  const places = faces.map(({ landmarks }, i) => {
    const there = scale && (landmarks.map(([x, y]) => [x * scale, y * scale]) as Landmarks)
    return there && likeness(thumbnails[i], thumbnailOf(after, there)) >= SAME_PLACE ? there : undefined
  })
  const stayed = byOverlap(faces, others, scale ?? 1, places)
  const pairs = bySimilarity(judges, seen, seenAfter, stayed)
  const unmatchedAfter = others.length - pairs.filter((j) => j !== undefined).length
  const checked: PairFace[] = []
  for (const [i, face] of faces.entries()) {
    const j = pairs[i]
    const place = unmatchedAfter === 0 ? places[i] : undefined
    const there = j !== undefined ? seenAfter[j] : place && (await embedder.embed(after, place))
    // Where landmarks are not certain the place as it was counts too: of two ways to see a face the one that recognises it.
    const sure = face.sure && (j === undefined || others[j].sure)
    const known = stayed[i] === undefined || sure ? undefined : places[i]
    const ways = [there, known && (await embedder.embed(after, known))].filter((way) => way !== undefined)
    const verdicts = there
      ? judges.map((judge) => verdictOn(judge, Math.max(...ways.map((way) => similarityBy(judge, seen[i], way)))))
      : []
    const matchedBy = j === undefined ? 'old-place' : stayed[i] === undefined ? 'similarity' : 'overlap'
    checked.push({
      box: face.box,
      boxAfter: j === undefined ? null : others[j].box,
      matchedBy: there ? matchedBy : null,
      verdicts,
      matches: verdicts.some(({ matches }) => matches),
      sure,
      change: j === undefined ? null : changeAt(i, j),
    })
  }
  return { faces: checked, unmatchedAfter, ...looked }

  function changeAt(i: number, j: number): FaceChange | null {
    if (stayed[i] !== undefined) return inPlace(scale!)
    const { landmarks } = others[j]
    return changeOf(faces[i].landmarks, thumbnails[i], landmarks, thumbnailOf(after, landmarks), scale)
  }
}

/**
 * Compares each face of a photo with the photos of a folder, which are read one after another.
 * Throws FaceGeometryError for landmarks of the photo that give no crop; such faces of the folder are left out.
 */
export async function checkFolder(
  networks: CheckNetworks,
  photo: Pixels,
  folder: AsyncIterable<{ file: string; photo: Pixels }>,
): Promise<FolderCheck> {
  const { detector, embedder, judges } = networks
  const found = await findFaces(detector, photo)
  const { faces } = found
  if (faces.length === 0) return { faces: [], photos: 0, withoutFace: [], found }
  const seen = await embeddingsOf(embedder, photo, faces)
  const files: string[] = []
  const withoutFace: string[] = []
  // Similarities by face and judge, one a photo.
  const similarities = faces.map(() => judges.map((): number[] => []))
  for await (const { file, photo: other } of folder) {
    const present = await embeddingsOrNone(networks, other)
    if (present.length === 0) {
      withoutFace.push(file)
      continue
    }
    files.push(file)
    for (const [i, face] of seen.entries()) {
      for (const [k, judge] of judges.entries()) {
        similarities[i][k].push(Math.max(...present.map((there) => similarityBy(judge, face, there))))
      }
    }
  }
  const checked = faces.map(({ box }, i): FolderFace => {
    const verdicts = files.length > 0 ? judges.map((judge, k) => folderVerdict(judge, similarities[i][k], files)) : []
    return { box, verdicts, matches: verdicts.some(({ matches }) => matches) }
  })
  return { faces: checked, photos: files.length, withoutFace, found }
}

const embeddingsOf = (embedder: Embedder, photo: Pixels, faces: readonly Face[]): Promise<FaceEmbeddings[]> =>
  embedder.embedAll(
    photo,
    faces.map(({ landmarks }) => landmarks),
  )

/** The faces of a photo, without those whose landmarks give no crop. */
async function embeddingsOrNone({ detector, embedder }: CheckNetworks, photo: Pixels): Promise<FaceEmbeddings[]> {
  const found: FaceEmbeddings[] = []
  for (const { landmarks } of (await findFaces(detector, photo)).faces) {
    try {
      found.push(await embedder.embed(photo, landmarks))
    } catch (error) {
      if (!(error instanceof FaceGeometryError)) throw error
    }
  }
  return found
}

/**
 * For each face whose place shows the same picture the index of its counterpart there, in a photo that is larger by `scale`. No face is
 * the counterpart of two; better faces choose first.
 */
function byOverlap(
  faces: readonly Face[],
  others: readonly Face[],
  scale: number,
  places: readonly (Landmarks | undefined)[],
): (number | undefined)[] {
  const free = new Set(others)
  return faces.map(({ box }, i) => {
    if (!places[i]) return undefined
    const [x1, y1, x2, y2] = box.map((side) => side * scale)
    const counterpart = mostOverlapping({ box: [x1, y1, x2, y2] }, [...free])
    if (!counterpart) return undefined
    free.delete(counterpart)
    return others.indexOf(counterpart)
  })
}

/** What is left without a counterpart, by similarity: the most similar pair of all first, then that of those left, ... */
function bySimilarity(
  judges: readonly Judge[],
  faces: readonly FaceEmbeddings[],
  others: readonly FaceEmbeddings[],
  known: readonly (number | undefined)[],
): (number | undefined)[] {
  const pairs = faces.flatMap((face, i) =>
    others.map((other, j) => ({
      i,
      j,
      total: judges.reduce((sum, judge) => sum + similarityBy(judge, face, other), 0),
    })),
  )
  const counterparts = [...known]
  const taken = new Set(known)
  for (const { i, j } of pairs.sort((a, b) => b.total - a.total)) {
    if (counterparts[i] !== undefined || taken.has(j)) continue
    counterparts[i] = j
    taken.add(j)
  }
  return counterparts
}

const similarityBy = ({ id }: Judge, a: FaceEmbeddings, b: FaceEmbeddings): number =>
  similarityOf(a.get(id)!, b.get(id)!)

const verdictOn = (judge: Judge, similarity: number): PairVerdict => ({
  ...judge,
  similarity,
  matches: similarity >= judge.threshold,
})

function folderVerdict(judge: Judge, similarities: readonly number[], files: readonly string[]): FolderVerdict {
  const best = Math.max(...similarities)
  const matching = similarities.filter((similarity) => similarity >= judge.threshold).length
  return {
    ...judge,
    best,
    mean: similarities.reduce((sum, similarity) => sum + similarity, 0) / similarities.length,
    nearest: files[similarities.indexOf(best)],
    matching,
    matches: matching > 0,
  }
}

/** Pixels after to a pixel before, where one photo is the other resized (to whole pixels); undefined for photos of another shape. */
function sameShape(before: Pixels, after: Pixels): number | undefined {
  const scale = Math.sqrt((after.width * after.height) / (before.width * before.height))
  const fits = (a: number, b: number) => Math.abs(a * scale - b) <= 1
  return fits(before.width, after.width) && fits(before.height, after.height) ? scale : undefined
}
