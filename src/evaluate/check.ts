/** Whether recognisers still take a protected photo's faces for the same person: one pair of photos, or one photo and many. */
import { type Embedder, type FaceEmbeddings, similarityOf } from '../attack/embedder.ts'
import { FaceGeometryError, type Landmarks } from '../faces/alignment.ts'
import { detectFaces, type Face, type MtcnnNetworks } from '../faces/mtcnn.ts'
import { mostOverlapping } from '../faces/overlap.ts'
import type { Pixels } from '../faces/pixels.ts'

/** A recogniser that judges. Held-out ones were not attacked when the photo was protected: they say more about others that were not. */
export interface Judge {
  id: string
  heldOut: boolean
  /** Cosine similarity at and above which it takes two faces for the same person. */
  threshold: number
}

export interface CheckNetworks {
  detector: MtcnnNetworks
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
  /** How its counterpart was found; `old-place` where none was, so that the place was measured where the face had been. */
  matchedBy: 'overlap' | 'similarity' | 'old-place' | null
  /** One a judge; none where `matchedBy` is null, because there was nothing to compare. */
  verdicts: readonly PairVerdict[]
  /** Some judge takes both for the same person. */
  matches: boolean
}

export interface PairCheck {
  /** The faces before, best first; none where none is found. */
  faces: readonly PairFace[]
  /** Faces after that belong to none before. */
  unmatchedAfter: number
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
}

/**
 * Compares the faces of a photo before and after protection. In photos of one size the counterpart of a face is what overlaps it most;
 * in others, pair after pair, the face most similar by the mean of all judges. A face that is not found after is measured at its old
 * place, if the photos have one shape; its verdicts are empty otherwise.
 * Throws FaceGeometryError for landmarks that give no crop.
 */
export async function checkPair(networks: CheckNetworks, before: Pixels, after: Pixels): Promise<PairCheck> {
  const { detector, embedder, judges } = networks
  const [faces, others] = [await detectFaces(detector, before), await detectFaces(detector, after)]
  if (faces.length === 0) return { faces: [], unmatchedAfter: others.length }
  const [seen, seenAfter] = [await embeddingsOf(embedder, before, faces), await embeddingsOf(embedder, after, others)]
  const sameSize = before.width === after.width && before.height === after.height
  const pairs = sameSize ? byOverlap(faces, others) : bySimilarity(judges, seen, seenAfter)
  const scale = sameShape(before, after)
  const checked: PairFace[] = []
  for (const [i, face] of faces.entries()) {
    const j = pairs[i]
    const there =
      j !== undefined
        ? seenAfter[j]
        : scale && (await embedder.embed(after, face.landmarks.map(([x, y]) => [x * scale, y * scale]) as Landmarks))
    const verdicts = there ? judges.map((judge) => verdictOn(judge, similarityBy(judge, seen[i], there))) : []
    checked.push({
      box: face.box,
      boxAfter: j === undefined ? null : others[j].box,
      matchedBy: j !== undefined ? (sameSize ? 'overlap' : 'similarity') : there ? 'old-place' : null,
      verdicts,
      matches: verdicts.some(({ matches }) => matches),
    })
  }
  return { faces: checked, unmatchedAfter: others.length - pairs.filter((j) => j !== undefined).length }
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
  const faces = await detectFaces(detector, photo)
  if (faces.length === 0) return { faces: [], photos: 0, withoutFace: [] }
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
  return { faces: checked, photos: files.length, withoutFace }
}

const embeddingsOf = (embedder: Embedder, photo: Pixels, faces: readonly Face[]): Promise<FaceEmbeddings[]> =>
  embedder.embedAll(
    photo,
    faces.map(({ landmarks }) => landmarks),
  )

/** The faces of a photo, without those whose landmarks give no crop. */
async function embeddingsOrNone({ detector, embedder }: CheckNetworks, photo: Pixels): Promise<FaceEmbeddings[]> {
  const found: FaceEmbeddings[] = []
  for (const { landmarks } of await detectFaces(detector, photo)) {
    try {
      found.push(await embedder.embed(photo, landmarks))
    } catch (error) {
      if (!(error instanceof FaceGeometryError)) throw error
    }
  }
  return found
}

/** For each face the index of its counterpart. No face is the counterpart of two; better faces choose first. */
function byOverlap(faces: readonly Face[], others: readonly Face[]): (number | undefined)[] {
  const free = new Set(others)
  return faces.map((face) => {
    const counterpart = mostOverlapping(face, [...free])
    if (!counterpart) return undefined
    free.delete(counterpart)
    return others.indexOf(counterpart)
  })
}

/** The same by similarity: the most similar pair of all first, then that of those left, ... */
function bySimilarity(
  judges: readonly Judge[],
  faces: readonly FaceEmbeddings[],
  others: readonly FaceEmbeddings[],
): (number | undefined)[] {
  const pairs = faces.flatMap((face, i) =>
    others.map((other, j) => ({
      i,
      j,
      total: judges.reduce((sum, judge) => sum + similarityBy(judge, face, other), 0),
    })),
  )
  const counterparts = faces.map((): number | undefined => undefined)
  const taken = new Set<number>()
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
