/** Which faces of a photo are protected, and what is left alone. */
import { cropBeyond } from '../faces/alignment.ts'
import {
  type FaceNetworks,
  type FoundFace,
  type FoundFaces,
  findFaces,
  noFaceMessage,
  type WeakFace,
} from '../faces/find.ts'
import { type Area, faceInArea } from '../faces/in-box.ts'
import { areaOf, overlapping } from '../faces/overlap.ts'
import { rollOf } from '../faces/second-look.ts'
import type { Pixels } from '../pixels/pixels.ts'

/** No face was found, so there is nothing to protect. */
export class NoFaceError extends Error {
  override name = 'NoFaceError'
  /** Places that may be faces. */
  readonly weak: readonly WeakFace[]

  constructor(message: string, weak: readonly WeakFace[] = []) {
    super(message)
    this.weak = weak
  }
}

/** Faces were chosen that there are not. */
export class FaceChoiceError extends Error {
  override name = 'FaceChoiceError'
}

export interface FaceChoice {
  /** All, the largest, or those of these numbers, counted from 1 as `chooseFaces` orders them. Default: all. */
  faces?: 'all' | 'largest' | readonly number[]
  /** Areas with a face that the detector does not find. Where only these are given, all faces are protected too. */
  boxes?: readonly Area[]
}

export interface ChosenFace extends FoundFace {
  /** Its number, from 1: faces that were found from left to right, then those of the boxes. */
  number: number
  /** How it is known: found, or in a box that was given, there seen at a second look or guessed. */
  by: 'detector' | 'box' | 'guess'
}

/** What is not protected. */
export interface LeftAlone {
  /** Faces that were found and not chosen. */
  notChosen: ChosenFace[]
  /** Places that may be faces. */
  weak: WeakFace[]
}

export interface Choice {
  faces: ChosenFace[]
  left: LeftAlone
  /** Sides in pixels of the smallest faces that were looked for. */
  smallest: FoundFaces['smallest']
}

/**
 * Looks for the faces of a photo and chooses.
 * Throws NoFaceError where there is none, FaceChoiceError for a number that no face has, RangeError for a box beyond the photo.
 */
export async function chooseFaces(
  networks: FaceNetworks,
  photo: Pixels,
  { faces: which = 'all', boxes = [] }: FaceChoice = {},
  signal?: AbortSignal,
): Promise<Choice> {
  const found = await findFaces(networks, photo, { signal })
  const all = numbered(found)
  const pointed: ChosenFace[] = []
  for (const area of boxes) pointed.push(await pointedFace(networks, photo, area, all.length + pointed.length + 1))
  if (all.length + pointed.length === 0) throw new NoFaceError(noFaceMessage(found), found.weak)
  // A box around a face that was found chooses it.
  const meant = pointed.map((face) => all.find((other) => overlapping(other, face)) ?? face)
  const chosen = Array.isArray(which)
    ? all.filter(({ number }) => which.includes(number))
    : chosenBy(which as 'all' | 'largest', all)
  if (Array.isArray(which)) checkNumbers(which, all.length)
  const faces = [...new Set([...chosen, ...meant])]
  const weak = found.weak.filter((place) => !faces.some((face) => overlapping(face, place)))
  const notChosen = all.filter((face) => !faces.includes(face))
  return { faces, left: { notChosen, weak }, smallest: found.smallest }
}

/** From left to right, by the middle of the box. */
function numbered({ faces }: FoundFaces): ChosenFace[] {
  const middle = ({ box: [x1, y1, x2, y2] }: FoundFace) => [x1 + x2, y1 + y2]
  return faces
    .toSorted((a, b) => middle(a)[0] - middle(b)[0] || middle(a)[1] - middle(b)[1])
    .map((face, i) => ({ ...face, number: i + 1, by: 'detector' }))
}

function chosenBy(which: 'all' | 'largest', faces: readonly ChosenFace[]): ChosenFace[] {
  if (which === 'all' || faces.length === 0) return [...faces]
  return [faces.reduce((a, b) => (areaOf(b) > areaOf(a) ? b : a))]
}

function checkNumbers(numbers: readonly number[], count: number): void {
  const missing = numbers.find((number) => !(Number.isInteger(number) && number >= 1 && number <= count))
  if (missing === undefined) return
  const there = count === 0 ? 'no face was found' : count === 1 ? 'one was found' : `${count} were found`
  throw new FaceChoiceError(`there is no face ${missing}: ${there} (--faces list shows them)`)
}

async function pointedFace({ mtcnn }: FaceNetworks, photo: Pixels, area: Area, number: number): Promise<ChosenFace> {
  const { landmarks, score, guessed } = await faceInArea(mtcnn, photo, area)
  const [x, y, width, height] = area
  return {
    number,
    box: [x, y, x + width - 1, y + height - 1],
    score,
    landmarks,
    roll: rollOf(landmarks),
    sure: !guessed,
    beyond: cropBeyond(photo, landmarks),
    by: guessed ? 'guess' : 'box',
  }
}

/** Part of a face's crop beyond the border from which the face is cut by it. */
export const CUT = 0.15

/** Pixels a side under which faces are found by chance, if at all. */
export const SMALL = 20
export const isSmall = ({ box: [x1, y1, x2, y2] }: Pick<ChosenFace, 'box'>): boolean =>
  Math.max(x2 - x1, y2 - y1) + 1 < SMALL

/** What should be known of the faces that are protected, and of what is left alone; one sentence each. */
export function warningsOf({ faces, left }: Pick<Choice, 'faces' | 'left'>): string[] {
  const warnings = faces.flatMap((face) => {
    const name = `face ${face.number} at ${position(face)}`
    const said: string[] = []
    if (Math.abs(face.roll) > 135) said.push(`${name} is upside down; it was found by turning the photo`)
    else if (Math.abs(face.roll) > 45) said.push(`${name} lies on its side; it was found by turning the photo`)
    if (face.by === 'guess') {
      said.push(`${name}: no face was recognised in this box; it is protected as if a frontal, upright face filled it`)
    } else if (!face.sure) {
      said.push(
        `${name}: its eyes, nose and mouth are not certain (a profile, something before it?); others may see it otherwise`,
      )
    }
    if (isSmall(face)) {
      said.push(`${name} is under ${SMALL} pixels wide; it is protected, but others as small may not have been found`)
    }
    if (face.beyond > CUT) said.push(`${name} is cut by the photo's border; what is left of it is protected`)
    return said
  })
  const { notChosen, weak } = left
  if (notChosen.length > 0) {
    const which = notChosen.map(({ number }) => number).join(', ')
    warnings.push(
      notChosen.length === 1
        ? `a face was not chosen (${which}), and stays unprotected`
        : `${notChosen.length} faces were not chosen (${which}), and stay unprotected`,
    )
  }
  if (weak.length > 0) {
    const places = weak.map(position).join(', ')
    warnings.push(
      `${weak.length === 1 ? 'a place' : `${weak.length} places`} may be a face, and stay${weak.length === 1 ? 's' : ''} unprotected: ` +
        `${places}; --box x,y,width,height protects one`,
    )
  }
  return warnings
}

/** A face's box in a sentence. */
export const position = ({ box }: WeakFace): string => `(${box.map(Math.round).join(', ')})`
