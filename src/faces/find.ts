/** The faces of a photo in any orientation: what the commands and the experiments take for its faces. */

import type { Pixels } from '../pixels/pixels.ts'
import { cropBeyond, type Landmarks } from './alignment.ts'
import { detectFaces, type Face, type MtcnnNetworks, smallestFace } from './mtcnn.ts'
import { mostOverlapping, overlapping } from './overlap.ts'
import { apart, lookAgain, rollOf, type SecondLook } from './second-look.ts'
import { type Turn, turned, turnedBack, turns } from './turning.ts'
import { detectFacesYunet, type YunetNetworks } from './yunet.ts'

/** The networks that look for faces; the second detector where there is one. */
export interface FaceNetworks {
  mtcnn: MtcnnNetworks
  yunet?: YunetNetworks
}

export interface FoundFace extends Face {
  /** Degrees by which the face is turned clockwise from upright, -180..180. */
  roll: number
  /** A second look finds the landmarks where they are. Else recognisers may see the face otherwise than it was measured. */
  sure: boolean
  /** Part of the aligned crop that lies beyond the photo's border, 0..1. */
  beyond: number
}

/** What may be a face. */
export type WeakFace = Pick<Face, 'box' | 'score'>

export interface FoundFaces {
  /** Best first. */
  faces: FoundFace[]
  /** What may be faces and is not taken for some, best first. */
  weak: WeakFace[]
  /** Sides in pixels of the smallest faces that were looked for: upright ones, and those in the other orientations. */
  smallest: { upright: number; turned: number }
}

export interface FindOptions {
  /** How the photo is turned to look for faces. Default: all four. */
  turns?: readonly Turn[]
  signal?: AbortSignal
}

/** Pixels of the first level of the pyramid of a turned photo: larger photos are looked through more coarsely than upright. */
const TURNED_PIXELS = 3e5
const SMALLEST = 20
const PNET = 12

/** MTCNN's own threshold: upright faces from here are faces. */
const FACE = 0.8
/** What lies on its side is a face from this probability, of both looks. Between this and the next it may be one. */
const TURNED_FACE = 0.9
const MAYBE = 0.6
/** YuNet's score from which it is believed where the O-Net sees no face. */
const YUNET_FACE = 0.85

/** Candidates with landmarks this close, in distances between the eyes, say the same of a face. */
const AGREE = 0.25
/** A face found in a turned photo is upright there within this many degrees. */
const UPRIGHT_WITHIN = 60
/** What a candidate counts whose landmarks had to be turned: less than one that stood upright (2.2 at .9, 9.2 at most). */
const TURNED_COUNTS = 2

/** What one pass over the photo took for a face. */
interface Candidate extends Face {
  turn: Turn
  detector: 'mtcnn' | 'yunet'
  look: SecondLook
}

/**
 * Finds the faces of a photo whatever their orientation. The photo is looked through in four orientations; landmarks are looked at
 * twice (`lookAgain`); what overlaps is one face, with the landmarks on which most of what was seen agrees. Upright faces have the
 * box, score and landmarks of `detectFaces`.
 * Throws RangeError for an image whose bytes do not fit its size, the signal's reason, and as the networks do.
 */
export async function findFaces(networks: FaceNetworks, photo: Pixels, options: FindOptions = {}): Promise<FoundFaces> {
  const { signal, turns: asked = turns } = options
  const { width, height } = photo
  const smallest = {
    upright: smallestFace(width, height),
    turned: Math.max(SMALLEST, PNET * Math.sqrt((width * height) / TURNED_PIXELS)),
  }
  const found: Omit<Candidate, 'look'>[] = []
  for (const turn of asked) {
    signal?.throwIfAborted()
    const seen = turned(photo, turn)
    const minFace = turn === 0 ? smallest.upright : smallest.turned
    for (const face of await detectFaces(networks.mtcnn, seen, { minFace, minScore: MAYBE }))
      found.push({ ...turnedBack(face, turn, photo), turn, detector: 'mtcnn' })
    if (!networks.yunet) continue
    for (const face of await detectFacesYunet(networks.yunet, seen))
      found.push({ ...turnedBack(face, turn, photo), turn, detector: 'yunet' })
  }
  const looks = await lookAgain(
    networks.mtcnn,
    photo,
    found.map(({ landmarks }) => landmarks),
  )
  const candidates = found.flatMap((each, i): Candidate[] => {
    const look = looks[i]
    return look ? [{ ...each, look }] : []
  })
  const faces: FoundFace[] = []
  const weak: WeakFace[] = []
  for (const cluster of clustersOf(candidates)) {
    const winner = winnerOf(cluster)
    const { box, score } = winner
    if (isFace(winner, cluster)) faces.push(faceOf(winner, photo))
    else if (cluster.some(({ look, detector }) => detector === 'yunet' || look.score > MAYBE)) weak.push({ box, score })
  }
  const best = (a: WeakFace, b: WeakFace) => b.score - a.score
  // A box inside that of a face is no other one.
  const apartFromFaces = weak.filter((each) => !faces.some((face) => overlapping(face, each)))
  return { faces: faces.sort(best), weak: apartFromFaces.sort(best), smallest }
}

/** Candidates that are of one face, best first. What one detector saw in one orientation as two faces stays two. */
function clustersOf(candidates: readonly Candidate[]): Candidate[][] {
  const clusters: Candidate[][] = []
  for (const candidate of candidates.toSorted((a, b) => b.score - a.score)) {
    const { turn, detector } = candidate
    const free = clusters.filter((each) => each.every((other) => other.turn !== turn || other.detector !== detector))
    const near = free.filter((cluster) => cluster.some((other) => overlapping(candidate, other)))
    const own =
      mostOverlapping(
        candidate,
        near.map(([first]) => first),
      ) ?? near[0]?.[0]
    const cluster = clusters.find(([first]) => first === own)
    if (cluster) cluster.push(candidate)
    else clusters.push([candidate])
  }
  return clusters
}

/** It stood upright in the photo as it was turned. */
function stoodUpright({ turn, look }: Candidate): boolean {
  const off = (((rollOf(look.landmarks) + turn) % 360) + 540) % 360
  return Math.abs(off - 180) <= UPRIGHT_WITHIN
}

/** What a candidate's landmarks weigh: the logarithm of its odds where it stood upright, less where it had to be turned. */
function weightOf(candidate: Candidate): number {
  const { score, look } = candidate
  if (look.score < MAYBE) return 0
  const probability = Math.min(score, 0.9999)
  const odds = stoodUpright(candidate) ? Math.log(probability / (1 - probability)) : TURNED_COUNTS
  return look.settled ? odds : odds / 2
}

/** The candidate whose landmarks most of what was seen agrees with; of those that agree one that was upright and needed no repair. */
function winnerOf(cluster: readonly Candidate[]): Candidate {
  const support = cluster.map(({ look }) =>
    cluster.reduce(
      (sum, other) => (apart(other.look.landmarks, look.landmarks) < AGREE ? sum + weightOf(other) : sum),
      0,
    ),
  )
  const most = cluster[support.indexOf(Math.max(...support))]
  const agreeing = cluster.filter(({ look }) => apart(look.landmarks, most.look.landmarks) < AGREE)
  const rank = (each: Candidate) =>
    (each.look.settled ? 8 : 0) +
    (each.detector === 'mtcnn' ? 4 : 0) +
    (each.turn === 0 && each.look.moved === 0 ? 2 : 0) +
    (stoodUpright(each) ? 1 : 0)
  return agreeing.reduce((a, b) => (rank(b) > rank(a) || (rank(b) === rank(a) && b.score > a.score) ? b : a))
}

function isFace({ look }: Candidate, cluster: readonly Candidate[]): boolean {
  const seen = (detector: Candidate['detector'], least: number, where: (each: Candidate) => boolean) =>
    cluster.some((each) => each.detector === detector && each.score > least && where(each))
  const confirmed = look.settled && look.score > TURNED_FACE
  return (
    seen('mtcnn', FACE, ({ turn }) => turn === 0) ||
    (confirmed && seen('mtcnn', TURNED_FACE, stoodUpright)) ||
    (confirmed && seen('yunet', MAYBE, () => true)) ||
    seen('yunet', YUNET_FACE, stoodUpright)
  )
}

function faceOf({ box, score, landmarks: first, look }: Candidate, photo: Pixels): FoundFace {
  // Landmarks that do not stay are no better than the first.
  const landmarks: Landmarks = look.settled ? look.landmarks : first
  const sure = look.settled && look.score > MAYBE
  return { box, score, landmarks, roll: rollOf(landmarks), sure, beyond: cropBeyond(photo, landmarks) }
}

/** What is said of a photo without a face: what was tried. */
export function noFaceMessage({ smallest, weak }: Pick<FoundFaces, 'smallest' | 'weak'>): string {
  const [upright, turned] = [Math.ceil(smallest.upright), Math.ceil(smallest.turned)]
  const others =
    turned === upright
      ? 'are looked for, upright, on either side and upside down'
      : `are looked for, and of ${turned} on either side and upside down`
  const maybe =
    weak.length === 0
      ? ''
      : `; ${weak.length === 1 ? 'one place' : `${weak.length} places`} may be a face, but not surely`
  return `no face found (frontal faces of at least ${upright} pixels ${others}${maybe})`
}
